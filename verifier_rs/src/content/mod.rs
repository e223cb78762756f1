//! What is inside an image: one look through all of its bytes, as facts for a reviewer.
//!
//! Apart from the verification of signatures, so that no verdict on those waits for it or depends on it. Memory is
//! bounded whatever the file; nothing is written, unpacked to disk or looked up. Compressed and encrypted parts are
//! not looked into, and the report says how much of the file looks like that.

mod anchors;
mod certificates;
mod credentials;
mod entropy;
mod finding;
mod keys;
pub mod known;
mod magic;
mod material;
mod notable;
mod pem;
mod sbom;
mod scan;
mod text;
pub mod yara;

use std::collections::HashSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use finding::Check;
use finding::{Found, KNOWN_BAD, Level, PROFILE, not_applicable};

use crate::content::scan::Scan;
use crate::content::yara::RuleFile;
use crate::error::{Error, Result};
use crate::outcome::{Finding, Outcome, worst};
use crate::source::{Progress, Sink, Source, hex, unhex};
use crate::time;

const VERSION: u32 = 1;
/// From this share of dense bytes on, a check that found nothing says how little that means.
const MOSTLY: u64 = 50;

/// What the caller looks for besides: digests that are known to be bad, and YARA rules.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// SHA-256 of whole files, certificates (DER) or public keys (SubjectPublicKeyInfo).
    pub known_bad: HashSet<[u8; 32]>,
    pub files: Vec<RuleFile>,
}

impl Rules {
    /// Digests as 64 hexadecimal digits each.
    pub fn new(known_bad: &[String], files: Vec<RuleFile>) -> Result<Self> {
        let known_bad = known_bad
            .iter()
            .map(|text| unhex(text).map_err(|error| Error::Rules(error.to_string())))
            .collect::<Result<_>>()?;
        Ok(Rules { known_bad, files })
    }
}

pub struct ContentReport {
    pub outcome: Outcome,
    pub checks: Vec<Check>,
    /// Everything, as the one JSON document of this room.
    pub document: Value,
}

/// Look through the whole image. `at` is the time that counts for certificates.
pub fn examine(
    source: &Source,
    rules: &Rules,
    at: f64,
    progress: &mut Progress<'_>,
) -> Result<ContentReport> {
    // Rules that do not compile are told before anything is read.
    let compiled = match rules.files.as_slice() {
        [] => None,
        files => Some(yara::compile(files)?),
    };
    let scan = scan::scan(source, progress)?;
    let material = material::collect(source, &scan)?;
    let members = magic::members(source, &scan)?;
    let strings = notable::strings(source, &scan)?;
    let (sbom, documents) = sbom::examine(source, &scan)?;
    let mut checks = vec![
        material.private_keys(),
        certificates::check(&material.certificates, at),
        material.test_keys(known::examine(source, &scan)?),
        credentials::examine(source, &scan)?,
        known_bad(source, rules, &material, progress)?,
        yara::examine(source, compiled.as_deref(), progress)?,
        sbom,
        profile(source, &scan, &members),
    ];
    complete(&mut checks, &scan);
    source.ensure_unchanged()?;
    let outcome = worst(checks.iter().map(|check| check.finding.outcome)).unwrap_or(Outcome::NotRun);
    let (certificates, public_keys) = material.json(at);
    let document = json!({
        "version": VERSION,
        "at": time::format(at),
        "size": source.size(),
        "outcome": outcome.name(),
        "checks": checks.iter().map(Check::json).collect::<Vec<_>>(),
        "findings": checks.iter().flat_map(Check::findings).collect::<Vec<_>>(),
        "certificates": certificates,
        "public_keys": public_keys,
        "sbom": documents,
        "profile": {
            "entropy": {
                "bits_per_byte": scan.entropy.overall(),
                "bucket_bytes": scan.entropy.bucket,
                "buckets": scan.entropy.bits(),
                "dense_percent": scan.entropy.dense(),
            },
            "strings": strings,
            "members": members.listed,
            "member_counts": members.counts,
        },
        "rules": compiled.map_or(0, |compiled| compiled.rules),
        "published_keys": known::keys().len(),
    });
    Ok(ContentReport {
        outcome,
        checks,
        document,
    })
}

fn known_bad(
    source: &Source,
    rules: &Rules,
    material: &material::Material,
    progress: &mut Progress<'_>,
) -> Result<Check> {
    if rules.known_bad.is_empty() {
        return Ok(not_applicable(
            KNOWN_BAD,
            "No list of known bad digests is set up.",
        ));
    }
    let mut sink = Sink::Sha256(Sha256::new());
    source.feed(0, source.size(), &mut [&mut sink], progress)?;
    let mut found = Vec::new();
    let mut compare = |digest: &[u8], offset: u64, length: u64, what: &str| {
        if rules.known_bad.iter().any(|bad| bad == digest) {
            let what = format!("{what} is on the list of known bad digests");
            found.push(Found::new(Level::Fail, offset, length, what).with("sha256", hex(digest)));
        }
    };
    compare(&sink.digest(), 0, source.size(), "the file");
    for seen in &material.certificates {
        compare(&seen.digest, seen.offset, seen.length, "a certificate");
    }
    let public = material
        .public
        .iter()
        .map(|(offset, length, key)| (key.fingerprint.as_str(), *offset, *length));
    let certified = material
        .certificates
        .iter()
        .map(|seen| (seen.key.as_str(), seen.offset, seen.length));
    let private = material
        .private
        .iter()
        .filter_map(|(offset, length, _, key)| Some((key.fingerprint.as_deref()?, *offset, *length)));
    for (fingerprint, offset, length) in public.chain(certified).chain(private) {
        if let Some(Ok(digest)) = fingerprint.strip_prefix("sha256:").map(unhex) {
            compare(&digest, offset, length, "a key");
        }
    }
    let clean = format!(
        "Neither the file nor a certificate or key in it is among {} known bad digests.",
        rules.known_bad.len()
    );
    Ok(Check::of(KNOWN_BAD, found, Finding::new(Outcome::Pass, clean)))
}

/// A description, not a verdict.
fn profile(source: &Source, scan: &Scan, members: &magic::Members) -> Check {
    let dense = scan.entropy.dense();
    let kinds: Vec<String> = members
        .counts
        .iter()
        .map(|(name, count)| format!("{name} ({count})"))
        .collect();
    let inside = if kinds.is_empty() {
        "no file system, archive or executable is recognised in it".to_owned()
    } else {
        format!("recognised in it: {}", kinds.join(", "))
    };
    let looks = if dense >= MOSTLY && kinds.is_empty() {
        " It is opaque: most of it looks encrypted or compressed, and what that holds was not looked at."
    } else {
        ""
    };
    let reason = format!(
        "{} bytes, {:.2} bits per byte, {dense} % of them look compressed or encrypted; {inside}.{looks}",
        source.size(),
        scan.entropy.overall()
    );
    not_applicable(PROFILE, reason)
}

/// What was not looked at must not count as clean: too many places, and bytes that cannot be read.
fn complete(checks: &mut [Check], scan: &Scan) {
    let dense = scan.entropy.dense();
    for check in checks {
        let groups: &[usize] = match check.id {
            finding::PRIVATE_KEYS => &[0, 1],
            finding::CERTIFICATES => &[0, 2],
            finding::TEST_KEYS => &[0, 1, 2, 3],
            finding::CREDENTIALS => &[4],
            finding::SBOM => &[7],
            _ => continue,
        };
        let left_out: u64 = groups.iter().filter_map(|group| scan.left_out.get(*group)).sum();
        if left_out > 0 {
            let words = format!(
                "{left_out} places were not looked at, because there are more than {} of them.",
                scan::MAX_PLACES
            );
            let grave = matches!(check.finding.outcome, Outcome::Fail);
            let before = if check.found.is_empty() {
                String::new()
            } else {
                format!(" {}", check.finding.reason)
            };
            let outcome = if grave { Outcome::Fail } else { Outcome::Unreadable };
            check.finding = Finding::new(outcome, format!("{words}{before}"));
        } else if dense >= MOSTLY && check.finding.outcome == Outcome::Pass && check.id != finding::SBOM {
            check
                .finding
                .reason
                .push_str(&format!(" {dense} % of the bytes look compressed or encrypted."));
        }
    }
}
