use _verifier::openpgp;
use _verifier::openpgp::certificate::Certificate;
use _verifier::signatures::openpgp::Signatures;

pub fn run(data: &[u8]) {
    let _ = Signatures::parse(data);
    let _ = Certificate::parse(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = openpgp::read(text);
    }
}
