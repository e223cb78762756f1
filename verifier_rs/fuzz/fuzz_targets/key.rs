use _verifier::keys::read_pem;

pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = read_pem(text);
    }
}
