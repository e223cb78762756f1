use _verifier::signatures::{minisign, signify};

pub fn run(data: &[u8]) {
    let _ = minisign::Lines::parse(data);
    let _ = signify::Lines::parse(data);
}
