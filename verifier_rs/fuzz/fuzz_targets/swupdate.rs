use _verifier::formats::swupdate::{libconfig, package};

pub fn run(data: &[u8]) {
    let _ = package(&super::source(data));
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = libconfig::parse(text);
    }
}
