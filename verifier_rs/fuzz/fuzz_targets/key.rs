use _verifier::keys::read;

pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = read(text);
    }
}
