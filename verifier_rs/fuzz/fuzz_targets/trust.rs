use _verifier::trust::Trust;

pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Trust::parse(text);
    }
}
