//! One file against the approved keys: what it is, whether it is signed, by whom, and whether that counts.

use std::path::Path;

use serde_json::{Map, Value};

use crate::beside::{Beside, Known};
use crate::confined::{Confinement, Fault};
use crate::content::known;
use crate::error::{Error, Result};
use crate::formats::{self, Format, Reading};
use crate::hasher::Digests;
use crate::outcome::{Finding, Outcome, worst};
use crate::pass::Pass;
use crate::signatures;
use crate::source::{Progress, Source, fixed, hex};
use crate::trust::{Hash, Purpose, Trust};
use crate::verdict::{Moment, Verdict};
use crate::x509::Certificate;

/// What to verify and by what. It crosses to the confined process by `confined::work`, member by member.
#[derive(Clone)]
pub struct Request<'a> {
    pub path: &'a Path,
    pub trust: &'a Trust,
    pub purpose: Purpose,
    /// The content of a detached signature file.
    pub signature: Option<&'a [u8]>,
    /// Certificates (PEM) that came along: the signer's first, and those between it and a root.
    pub certificates: Option<&'a [u8]>,
    /// A time stamp (RFC 3161) over the file or over its signature.
    pub timestamp: Option<&'a [u8]>,
    /// SHA-256 in hexadecimal, as the sender declared it.
    pub declared_sha256: Option<&'a str>,
    /// When the evidence was received (seconds since 1970): the time that counts where no time stamp proves another.
    pub at: f64,
    /// What was computed while the bytes arrived: a file whose inside is not read is not hashed once more.
    pub received: Option<Digests>,
    /// What `verify` learns on its way; `None` when it is called.
    pub known: Option<Known<'a>>,
}

impl Request<'_> {
    /// The time by which signatures are judged.
    pub fn moment(&self) -> Moment {
        let proven = self.known.and_then(|known| known.moment);
        proven.cloned().unwrap_or_else(|| Moment::receipt(self.at))
    }

    /// Certificates that chains may go over.
    pub fn candidates(&self) -> &[Certificate] {
        self.known.map(|known| known.certificates).unwrap_or_default()
    }
}

pub struct Check {
    pub id: String,
    pub finding: Finding,
}

/// What one file turned out to be; `report::document` is what the outside sees of it.
pub struct FileReport {
    pub purpose: Purpose,
    pub digests: Digests,
    pub format: Format,
    pub outcome: Outcome,
    pub checks: Vec<Check>,
    pub verdicts: Vec<Verdict>,
    /// What the file says about itself.
    pub claims: Map<String, Value>,
    /// The form of the detached signature, where one was given and could be read.
    pub signature_form: Option<&'static str>,
    /// What the detached signature says about itself.
    pub signature_claims: Map<String, Value>,
    pub moment: Moment,
    /// How it was confined; `None` where it was verified in this very process.
    pub confinement: Option<Confinement>,
    /// What the file did to the process that read it.
    pub fault: Option<Fault>,
}

/// Verify one file. Errors are for files that cannot be read at all; everything else is in the report.
pub fn verify(request: &Request<'_>, progress: &mut Progress<'_>) -> Result<FileReport> {
    let source = Source::open(request.path)?;
    verify_source(request, &source, progress)
}

/// As `verify`, for a file that is open.
pub fn verify_source(
    request: &Request<'_>,
    source: &Source,
    progress: &mut Progress<'_>,
) -> Result<FileReport> {
    let declared = request.declared_sha256.map(declared_digest).transpose()?;
    let size = source.size();
    let format = formats::detect(source)?;
    let mut container = formats::parse(format, source)?;
    let mut beside = Beside::read(request);
    let with = |known| Request {
        known: Some(known),
        ..request.clone()
    };
    let certificates = std::mem::take(&mut beside.certificates);
    let known = |moment| Known {
        certificates: &certificates,
        moment,
    };
    let mut detached = request
        .signature
        .map(|bytes| signatures::read(bytes, &with(known(None))));
    if let Some(received) = &request.received
        && received.size != size
    {
        return Err(Error::Unreadable(format!(
            "{}: received were {} bytes, the file has {size}",
            request.path.display(),
            received.size
        )));
    }

    // One pass over the file for everything that anybody wants of it.
    let mut pass = Pass::default();
    let sha256 = pass.digest(0, size, Hash::Sha256);
    let blake3 = pass.blake3(0, size);
    let basic = pass.len();
    if let Ok(container) = &mut container {
        container.plan(&mut pass, request.trust);
    }
    if let Some(Ok(detached)) = &mut detached {
        detached.plan(&mut pass, size);
    }
    beside.plan(&mut pass, size);
    // What a file says of itself must come from the very bytes that are hashed, so one that is read inside is hashed.
    let unread = format.closed() && pass.len() == basic;
    let digests = match request.received.as_ref().filter(|_| unread) {
        Some(received) => {
            pass.given(sha256, received.sha256.to_vec());
            received.clone()
        }
        None => {
            pass.run(source, progress)?;
            Digests {
                size,
                sha256: fixed(&pass.bytes(sha256)),
                blake3: fixed(&pass.bytes(blake3)),
            }
        }
    };
    let stamped = beside.judge(&pass, request);
    let inside = with(known(stamped.file.as_ref()));
    let reading = match &container {
        Ok(container) => Some(container.judge(&pass, source, &inside)?),
        Err(_) => None,
    };
    source.ensure_unchanged()?;
    let outside = with(known(stamped.signature.as_ref()));
    let by_file = match &detached {
        Some(Ok(detached)) => detached.judge(&pass, &outside),
        Some(Err(why)) => vec![Verdict::unreadable(
            "The detached signature",
            why,
            outside.moment(),
        )],
        None => Vec::new(),
    };
    let by_signature = match &detached {
        Some(Ok(detached)) => detached.checks(&pass, &outside),
        _ => Vec::new(),
    };
    let (format_finding, unsigned, further, embedded, claims) = match (reading, &container) {
        (Some(reading), _) => {
            let Reading {
                format,
                verdicts,
                unsigned,
                checks,
                claims,
            } = reading;
            (format, unsigned, checks, verdicts, claims)
        }
        (None, Err(why)) => (
            Finding::new(
                Outcome::Unreadable,
                format!(
                    "The file begins like {} but cannot be read as one: {why}.",
                    format.title()
                ),
            ),
            Finding::new(
                Outcome::NotRun,
                "The image is damaged, so its signature cannot be found; no detached one was given.",
            ),
            Vec::new(),
            Vec::new(),
            Map::new(),
        ),
        (None, Ok(_)) => return Err(Error::Unreadable("the container was not judged".to_owned())),
    };
    let signed = signed_finding(embedded.len(), by_file.len(), unsigned);
    let mut verdicts = embedded;
    verdicts.extend(by_file);
    verdicts.iter_mut().for_each(refuse_published);
    let mut findings = vec![
        ("digest", digest_finding(declared.as_deref(), &digests)),
        ("format", format_finding),
        ("signed", signed),
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
    let stamps = verdicts.iter().filter_map(|verdict| verdict.timestamp.clone());
    let stamps: Vec<Finding> = stamps.chain(stamped.finding.clone()).collect();
    // The first speaks where none of them says anything about the file.
    if let Some(finding) = Finding::worst(stamps.clone()).or_else(|| stamps.into_iter().next()) {
        findings.push(("timestamp", finding));
    }
    findings.append(&mut beside.findings);
    findings.extend(further);
    // A file and its signature may both name a builder: one check says both.
    for (name, finding) in by_signature {
        match findings.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => {
                let both = [known.clone(), finding];
                *known = Finding::worst(both).unwrap_or_else(|| known.clone());
            }
            None => findings.push((name, finding)),
        }
    }
    let checks = checks(request, findings);
    let (signature_form, signature_claims) = match &detached {
        Some(Ok(detached)) => (Some(detached.form()), detached.claims()),
        _ => (None, Map::new()),
    };
    Ok(FileReport {
        purpose: request.purpose,
        outcome: worst(checks.iter().map(|check| check.finding.outcome)).unwrap_or(Outcome::NotRun),
        digests,
        format,
        checks,
        verdicts,
        claims,
        signature_form,
        signature_claims,
        moment: inside.moment(),
        confinement: None,
        fault: None,
    })
}

/// The report on a file that broke the process that read it: nothing but its digests is known.
pub fn broken(
    request: &Request<'_>,
    digests: Digests,
    fault: Fault,
    confinement: Confinement,
) -> Result<FileReport> {
    let declared = request.declared_sha256.map(declared_digest).transpose()?;
    let mut findings = vec![
        ("digest", digest_finding(declared.as_deref(), &digests)),
        ("format", Finding::new(Outcome::Unreadable, fault.reason())),
    ];
    findings.extend(["signed", "signature", "key", "algorithm"].map(|name| {
        (
            name,
            Finding::new(Outcome::NotRun, "Not checked: the file could not be read."),
        )
    }));
    let checks = checks(request, findings);
    Ok(FileReport {
        purpose: request.purpose,
        outcome: worst(checks.iter().map(|check| check.finding.outcome)).unwrap_or(Outcome::NotRun),
        digests,
        format: Format::Opaque,
        checks,
        verdicts: Vec::new(),
        claims: Map::new(),
        signature_form: None,
        signature_claims: Map::new(),
        moment: Moment::receipt(request.at),
        confinement: Some(confinement),
        fault: Some(fault),
    })
}

fn checks(request: &Request<'_>, findings: Vec<(&'static str, Finding)>) -> Vec<Check> {
    let named = |(name, finding)| Check {
        id: format!("{}.{name}", request.purpose.name()),
        finding,
    };
    findings.into_iter().map(named).collect()
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

fn signed_finding(embedded: usize, detached: usize, unsigned: Finding) -> Finding {
    let text = match (embedded, detached) {
        (0, 0) => return unsigned,
        (0, _) => "A detached signature was given.".to_owned(),
        (n, 0) => format!("The image carries {n} signature(s)."),
        (n, _) => format!("The image carries {n} signature(s), and a detached one was given."),
    };
    Finding::new(Outcome::Pass, text)
}

/// Approved by mistake, or before it was published: a key that anybody can sign with proves nothing.
fn refuse_published(verdict: &mut Verdict) {
    let Some(signer) = &verdict.signer else { return };
    if let Some(name) = known::is_test_key(&signer.fingerprint) {
        verdict.key = Finding::new(
            Outcome::Fail,
            format!(
                "The key {:?} is published as \"{name}\": anybody can sign with it. Distrust it, and sign with a key \
                 of your own.",
                signer.id
            ),
        );
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
    // A key under two ids is one key.
    let mut signers: Vec<_> = verdicts
        .iter()
        .filter_map(|verdict| Some(&verdict.signer.as_ref()?.fingerprint))
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
