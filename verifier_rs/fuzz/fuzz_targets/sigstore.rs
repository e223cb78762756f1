use std::path::Path;
use std::sync::LazyLock;

use _verifier::file::Request;
use _verifier::pass::Pass;
use _verifier::signatures::Detached;
use _verifier::signatures::sigstore::Sigstore;
use _verifier::source::Progress;
use _verifier::trust::{Purpose, Trust};

/// With the instance that made the seeds.
static APPROVED: LazyLock<Trust> =
    LazyLock::new(|| Trust::parse(include_str!("../corpus/trust/sigstore.json")).expect("a trust file"));

pub fn run(data: &[u8]) {
    let Ok(mut bundle) = Sigstore::read(data) else {
        return;
    };
    let file = b"firmware".as_slice();
    let request = Request {
        path: Path::new("fuzz"),
        trust: &APPROVED,
        purpose: Purpose::Firmware,
        signature: None,
        certificates: None,
        timestamp: None,
        declared_sha256: None,
        at: 1_795_262_400.0,
        received: None,
        known: None,
    };
    let mut pass = Pass::default();
    bundle.plan(&mut pass, 8);
    pass.run(&super::source(file), &mut Progress::new(&mut |_| Ok(())))
        .expect("memory can be read");
    let _ = (
        bundle.judge(&pass, &request),
        bundle.checks(&pass, &request),
        bundle.claims(),
    );
}
