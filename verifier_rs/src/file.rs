//! One file against the approved keys: what it is, whether it is signed, by whom, and whether that counts.

use std::path::Path;

use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::detached::{self, Detached};
use crate::embedded;
use crate::error::{Error, Result};
use crate::format::{self, Format};
use crate::hasher::{Digests, Tree};
use crate::mcuboot::{self, Image, Parsed};
use crate::outcome::{Finding, Outcome, worst};
use crate::signature::Method;
use crate::source::{Progress, Sink, Source, fixed, hex};
use crate::trust::{Hash, Purpose, Trust};

/// What to verify and by what.
pub struct Request<'a> {
    pub path: &'a Path,
    pub trust: &'a Trust,
    pub purpose: Purpose,
    /// The content of a detached signature file.
    pub signature: Option<&'a [u8]>,
    /// SHA-256 in hexadecimal, as the sender declared it.
    pub declared_sha256: Option<&'a str>,
    /// The time that counts (seconds since 1970): when the evidence was received.
    pub at: f64,
    /// What was computed while the bytes arrived: a file whose inside is not read is not hashed once more.
    pub received: Option<Digests>,
}

pub struct Check {
    pub id: String,
    pub finding: Finding,
}

pub struct FileReport {
    pub digests: Digests,
    pub format: Format,
    pub outcome: Outcome,
    pub checks: Vec<Check>,
    /// What the file says about itself, as JSON. Claims, not proof, unless every check passed.
    pub claims: String,
    /// Place in the trust file of the key that made a valid signature.
    pub key: Option<usize>,
}

/// What one signature turned out to be.
pub struct Verdict {
    pub signature: Finding,
    /// Whether its key counts.
    pub key: Finding,
    pub algorithm: Finding,
    /// The key that made it, once that is proven.
    pub signer: Option<usize>,
}

/// Verify one file. Errors are for files that cannot be read at all; everything else is in the report.
pub fn verify(request: &Request<'_>, progress: &mut Progress<'_>) -> Result<FileReport> {
    let declared = request.declared_sha256.map(declared_digest).transpose()?;
    let source = Source::open(request.path)?;
    let format = format::detect(&source)?;
    let image = match format {
        Format::Mcuboot => Some(mcuboot::parse(&source)?),
        Format::McubootBigEndian => Some(Err(
            "the image is big-endian; only little-endian MCUboot images are supported".to_owned(),
        )),
        _ => None,
    };
    let detached = request
        .signature
        .map(|bytes| Detached::read(bytes, request.trust));

    // One pass: first what the image hashes, then the rest of the file.
    let prefix = match &image {
        Some(Ok(image)) => image.hashed,
        _ => 0,
    };
    let mut sinks = vec![Sink::Sha256(Sha256::new()), Sink::Blake3(Tree::default())];
    sinks.extend(wanted(request, &image).into_iter().map(|hash| match hash {
        Hash::Sha384 => Sink::Sha384(Sha384::new()),
        _ => Sink::Sha512(Sha512::new()),
    }));
    let digests = sinks.len();
    if let Some(Ok(detached)) = &detached {
        sinks.extend(detached.sinks());
    }
    let whole = sinks.len();
    let pure = match &image {
        Some(Ok(image)) => embedded::pending(image, request.trust),
        _ => Vec::new(),
    };
    sinks.extend(pure.iter().map(|(_, pending)| Sink::Sha512(pending.hash.clone())));
    if let Some(received) = &request.received
        && received.size != source.size()
    {
        return Err(Error::Unreadable(format!(
            "{}: received were {} bytes, the file has {}",
            request.path.display(),
            received.size,
            source.size()
        )));
    }
    // An image is always read: what it says of itself must come from the very bytes that are hashed.
    let only_named = image.is_none() && sinks.len() == 2;
    let received = request.received.as_ref().filter(|_| only_named);
    let end = if received.is_some() { 0 } else { source.size() };
    source.feed(0, prefix, &mut sinks, progress)?;
    let over_prefix = sinks.get(..digests).unwrap_or_default().to_vec();
    let pure_hashes = sinks.split_off(whole);
    source.feed(prefix, end, &mut sinks, progress)?;
    source.ensure_unchanged()?;

    let over_all = sinks.get(..digests).unwrap_or_default();
    let file = received.cloned().unwrap_or_else(|| Digests {
        size: source.size(),
        sha256: fixed(&digest(over_all, Hash::Sha256)),
        blake3: fixed(&sinks.get(1).map(Sink::digest).unwrap_or_default()),
    });
    let over_file = |hash| match hash {
        Hash::Sha256 => file.sha256.to_vec(),
        _ => digest(over_all, hash),
    };
    let mut verdicts = Vec::new();
    let mut intact = None;
    if let Some(Ok(image)) = &image {
        let computed = image.hash.as_ref().map(|(hash, _)| digest(&over_prefix, *hash));
        intact = image
            .hash
            .as_ref()
            .map(|(_, recorded)| computed.as_ref() == Some(recorded));
        verdicts.extend(embedded::judge(
            image,
            computed.as_deref(),
            pure,
            pure_hashes,
            request,
        ));
    }
    match &detached {
        Some(Ok(detached)) => {
            let states = sinks.get(digests..).unwrap_or_default();
            verdicts.push(detached.judge(&over_file, states, request));
        }
        Some(Err(why)) => verdicts.push(detached::unreadable(why)),
        None => {}
    }
    let findings = [
        ("digest", digest_finding(declared.as_deref(), &file)),
        ("format", format_finding(format, &image, intact, request.purpose)),
        ("signed", signed_finding(&image, &verdicts)),
        (
            "signature",
            combined(
                &verdicts,
                |verdict| &verdict.signature,
                "there is no signature to verify",
            ),
        ),
        ("key", key_finding(&verdicts, request)),
        (
            "algorithm",
            combined(
                &verdicts,
                |verdict| &verdict.algorithm,
                "there is no signature to judge",
            ),
        ),
    ];
    let checks: Vec<_> = findings
        .into_iter()
        .map(|(name, finding)| Check {
            id: format!("{}.{name}", request.purpose.name()),
            finding,
        })
        .collect();
    Ok(FileReport {
        outcome: worst(checks.iter().map(|check| check.finding.outcome)).unwrap_or(Outcome::NotRun),
        claims: embedded::claims(&image, &over_prefix),
        key: verdicts.iter().find_map(|verdict| verdict.signer),
        digests: file,
        format,
        checks,
    })
}

/// The SHA-2 digest among these sinks.
pub fn digest(sinks: &[Sink], hash: Hash) -> Vec<u8> {
    let fits = |sink: &&Sink| match sink {
        Sink::Sha256(_) => hash == Hash::Sha256,
        Sink::Sha384(_) => hash == Hash::Sha384,
        Sink::Sha512(_) => hash == Hash::Sha512,
        Sink::Blake3(_) => false,
    };
    sinks.iter().find(fits).map(Sink::digest).unwrap_or_default()
}

/// The digests besides SHA-256 that some signature needs; they cost time, so they are made only then.
fn wanted(request: &Request<'_>, image: &Option<Parsed>) -> Vec<Hash> {
    let mut wanted = Vec::new();
    if request.signature.is_some() {
        wanted.extend(request.trust.keys.iter().filter_map(|key| match &key.method {
            Method::Digest { hash, .. } => Some(*hash),
            _ => None,
        }));
    }
    if let Some(Ok(Image {
        hash: Some((hash, _)),
        ..
    })) = image
    {
        wanted.push(*hash);
    }
    [Hash::Sha384, Hash::Sha512]
        .into_iter()
        .filter(|hash| wanted.contains(hash))
        .collect()
}

fn declared_digest(text: &str) -> Result<String> {
    let digest = text.to_ascii_lowercase();
    if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(digest)
    } else {
        Err(Error::Argument(format!(
            "declared SHA-256: expected 64 hexadecimal digits, found {text:?}"
        )))
    }
}

fn digest_finding(declared: Option<&str>, file: &Digests) -> Finding {
    let computed = hex(&file.sha256);
    match declared {
        None => Finding::new(Outcome::NotApplicable, "No digest was declared."),
        Some(declared) if declared == computed => {
            Finding::new(Outcome::Pass, "The declared SHA-256 equals the computed one.")
        }
        Some(declared) => Finding::new(
            Outcome::Fail,
            format!(
                "The declared SHA-256 is {declared}, the computed one is {computed}: these are other bytes than \
                 those that were declared."
            ),
        ),
    }
}

fn format_finding(format: Format, image: &Option<Parsed>, intact: Option<bool>, purpose: Purpose) -> Finding {
    match (format, image) {
        (Format::Empty, _) => Finding::new(Outcome::Unreadable, "The file is empty."),
        (_, Some(Err(why))) => Finding::new(
            Outcome::Unreadable,
            format!("The file begins like an MCUboot image but cannot be read as one: {why}."),
        ),
        (_, Some(Ok(image))) if intact == Some(false) && !image.encrypted() => Finding::new(
            Outcome::Fail,
            "A well-formed MCUboot image, but its content does not have the hash that it records: it was damaged \
             or altered.",
        ),
        (_, Some(Ok(image))) => Finding::new(
            Outcome::Pass,
            format!("A well-formed MCUboot image, version {}.", image.version),
        ),
        (Format::Opaque, _) if purpose != Purpose::Firmware => Finding::new(
            Outcome::NotApplicable,
            "Its form is not the business of this check.",
        ),
        (Format::Opaque, _) => Finding::new(
            Outcome::Warn,
            "The format is not known, so nothing inside the file can be examined; only its digest and a detached \
             signature can be checked.",
        ),
        (format, _) => Finding::new(
            Outcome::Pass,
            format!(
                "Recognised as {} by its own bytes; this format carries no signature of its own and its inside is \
                 not examined.",
                format.name()
            ),
        ),
    }
}

fn signed_finding(image: &Option<Parsed>, verdicts: &[Verdict]) -> Finding {
    let embedded = match image {
        Some(Ok(image)) => image.signatures.len(),
        _ => 0,
    };
    if !verdicts.is_empty() {
        let detached = verdicts.len() > embedded;
        let text = match (embedded, detached) {
            (0, _) => "A detached signature was given.".to_owned(),
            (n, false) => format!("The image carries {n} signature(s)."),
            (n, true) => format!("The image carries {n} signature(s), and a detached one was given."),
        };
        return Finding::new(Outcome::Pass, text);
    }
    match image {
        Some(Err(_)) => Finding::new(
            Outcome::NotRun,
            "The image is damaged, so its signature cannot be found; no detached one was given.",
        ),
        Some(Ok(image)) if image.encrypted() => Finding::new(
            Outcome::Fail,
            "The image is encrypted but not signed. Encryption hides the content; it proves nothing about who \
             made it. Sign the image (imgtool sign -k KEY) or give a detached signature.",
        ),
        Some(Ok(_)) => Finding::new(
            Outcome::Fail,
            "The image carries no signature and no detached one was given; its hash alone proves nothing about \
             who made it. Sign it (imgtool sign -k KEY).",
        ),
        None => Finding::new(
            Outcome::Fail,
            "The file carries no signature that can be read, and no detached one was given. Give one made with an \
             approved key.",
        ),
    }
}

fn combined(verdicts: &[Verdict], part: impl Fn(&Verdict) -> &Finding, none: &str) -> Finding {
    Finding::worst(verdicts.iter().map(|verdict| part(verdict).clone()))
        .unwrap_or_else(|| Finding::new(Outcome::NotRun, format!("Not checked: {none}.")))
}

fn key_finding(verdicts: &[Verdict], request: &Request<'_>) -> Finding {
    let found = combined(
        verdicts,
        |verdict| &verdict.key,
        "there is no signature whose key could be looked up",
    );
    if found.outcome != Outcome::Pass {
        return found;
    }
    let keys = &request.trust.keys;
    let mut signers: Vec<_> = verdicts
        .iter()
        .filter_map(|verdict| keys.get(verdict.signer?).map(|key| &key.fingerprint))
        .collect();
    signers.sort();
    signers.dedup();
    let signers = u32::try_from(signers.len()).unwrap_or(u32::MAX);
    if signers < request.trust.threshold {
        return Finding::new(
            Outcome::Fail,
            format!(
                "{} different approved keys must sign, {signers} did.",
                request.trust.threshold
            ),
        );
    }
    found
}
