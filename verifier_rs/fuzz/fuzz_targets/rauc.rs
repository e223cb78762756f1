use _verifier::formats::rauc::{begins, bundle, manifest::Manifest};

pub fn run(data: &[u8]) {
    let source = super::source(data);
    let _ = begins(&source, data);
    let _ = bundle(&source);
    let _ = Manifest::parse(data);
}
