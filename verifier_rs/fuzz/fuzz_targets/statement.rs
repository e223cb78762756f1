//! Every kind of statement, as the file that is verified and as the signature of another.

use std::path::Path;
use std::sync::LazyLock;

use _verifier::cbor;
use _verifier::file::{Request, verify_source};
use _verifier::source::Progress;
use _verifier::trust::{Purpose, Trust};

static APPROVED: LazyLock<Trust> = LazyLock::new(super::approved);

pub fn run(data: &[u8]) {
    let request = |signature| Request {
        path: Path::new("fuzz"),
        trust: &APPROVED,
        purpose: Purpose::Attestation,
        signature,
        certificates: None,
        timestamp: None,
        declared_sha256: None,
        at: 1_795_262_400.0,
        received: None,
        known: None,
    };
    for (file, signature) in [(data, None), (b"firmware".as_slice(), Some(data))] {
        let _ = cbor::read(data);
        let mut report = |_| Ok(());
        verify_source(
            &request(signature),
            &super::source(file),
            &mut Progress::new(&mut report),
        )
        .expect("memory can be read");
    }
}
