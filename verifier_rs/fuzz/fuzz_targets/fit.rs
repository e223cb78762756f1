use _verifier::formats::Format;

pub fn run(data: &[u8]) {
    super::verified(data, Format::Fit);
}
