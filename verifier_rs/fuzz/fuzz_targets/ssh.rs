use _verifier::signatures::ssh::Blob;

pub fn run(data: &[u8]) {
    let _ = Blob::parse(data);
}
