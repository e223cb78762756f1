//! The entry of every parser that reads what strangers wrote. libFuzzer calls them (`./run fuzz`), and so does
//! `tests/replay.rs` with the seeds and the inputs that once broke something (`./run test`).
//!
//! A new target: a file here with `pub fn run(data: &[u8])`, two lines below, and at least one small real
//! sample in `corpus/NAME/` (at most 64 KiB each).

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::LazyLock;

use _verifier::file::Request;
use _verifier::formats::{self, Format};
use _verifier::pass::Pass;
use _verifier::source::{Progress, Source};
use _verifier::trust::{Purpose, Trust};
use rustix::fs::{MemfdFlags, memfd_create};

mod certificate;
mod cms;
mod content;
mod crl;
mod detached;
mod dfu;
mod dsse;
mod elf;
mod esp32;
mod fit;
mod hss;
mod intel_hex;
mod key;
mod mcuboot;
mod mender;
mod minisign;
mod openpgp;
mod rauc;
mod sigstore;
mod srec;
mod ssh;
mod statement;
mod swupdate;
mod timestamp;
mod trust;
mod uf2;

/// Name and entry of each.
pub type Target = (&'static str, fn(&[u8]));

pub const ALL: &[Target] = &[
    ("certificate", certificate::run),
    ("cms", cms::run),
    ("content", content::run),
    ("crl", crl::run),
    ("detached", detached::run),
    ("dsse", dsse::run),
    ("dfu", dfu::run),
    ("elf", elf::run),
    ("esp32", esp32::run),
    ("fit", fit::run),
    ("hss", hss::run),
    ("intel_hex", intel_hex::run),
    ("key", key::run),
    ("mcuboot", mcuboot::run),
    ("mender", mender::run),
    ("minisign", minisign::run),
    ("openpgp", openpgp::run),
    ("ssh", ssh::run),
    ("rauc", rauc::run),
    ("sigstore", sigstore::run),
    ("statement", statement::run),
    ("swupdate", swupdate::run),
    ("srec", srec::run),
    ("timestamp", timestamp::run),
    ("trust", trust::run),
    ("uf2", uf2::run),
];

/// The bytes as a file to parse, without a file system.
pub fn source(data: &[u8]) -> Source {
    let mut file = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("memory for a file"));
    file.write_all(data).expect("memory for its bytes");
    Source::from_file(file, Path::new("fuzz")).expect("a regular file")
}

/// Everything that is done with a file of this format: read, judge, and write the report.
pub fn verified(data: &[u8], format: Format) {
    static APPROVED: LazyLock<Trust> = LazyLock::new(approved);
    let source = source(data);
    let request = Request {
        path: Path::new("fuzz"),
        trust: &APPROVED,
        purpose: Purpose::Firmware,
        signature: None,
        certificates: None,
        timestamp: None,
        declared_sha256: None,
        at: 0.0,
        received: None,
        known: None,
    };
    if let Ok(mut container) = formats::parse(format, &source).expect("memory can be read") {
        let mut pass = Pass::default();
        container.plan(&mut pass, &APPROVED);
        pass.run(&source, &mut Progress::new(&mut |_| Ok(())))
            .expect("memory can be read");
        container
            .judge(&pass, &source, &request)
            .expect("memory can be read");
    }
}

/// One approved key of each kind, those that signed the seeds among them.
pub fn approved() -> Trust {
    Trust::parse(include_str!("../corpus/trust/approved.json")).expect("a trust file")
}
