use _verifier::cms::{SignedData, claims};

pub fn run(data: &[u8]) {
    if let Ok(signed) = SignedData::parse(data) {
        let _ = claims::of(&signed);
    }
}
