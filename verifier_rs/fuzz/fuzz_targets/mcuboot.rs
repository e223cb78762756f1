use _verifier::formats::mcuboot;

pub fn run(data: &[u8]) {
    let _ = mcuboot::parse(&super::source(data)).expect("memory can be read");
}
