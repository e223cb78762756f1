//! What children are asked to do: the request on its way there, the report on its way back.

use std::fs::File;
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::batch::{self, BatchWork};
use super::child::{self, Job, Outbox};
use super::fault::Fault;
use super::limits::Confinement;
use super::pool::{Children, Task};
use super::worker::TrustText;
use crate::content::{self, Rules, yara::RuleFile};
use crate::error::{Error, Result};
use crate::file::{self, Request};
use crate::hasher::Digests;
use crate::report;
use crate::source::{self, Progress, Source};
use crate::trust::Purpose;

/// Bytes of a file that a second of CPU gets through at the very least.
const FILE_PACE: u64 = 16 * 1024 * 1024;
/// The same for a look through all of its bytes.
const CONTENT_PACE: u64 = 2 * 1024 * 1024;
const NO_TRUST: &str = r#"{"version": 1, "keys": []}"#;
/// No report on a file is longer.
const MAX_REPORT: u64 = 16 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
pub(super) enum Work {
    File(Box<FileWork>),
    Content(ContentWork),
    Batch(BatchWork),
}

/// A look through the bytes of an image.
#[derive(Serialize, Deserialize)]
pub(super) struct ContentWork {
    name: String,
    known_bad: Vec<[u8; 32]>,
    /// Name and text.
    rules: Vec<(String, String)>,
    at: u64,
}

/// Bytes in JSON.
type Base64 = String;

/// A `file::Request` without what goes beside it: the trust and the file itself.
#[derive(Serialize, Deserialize)]
pub(super) struct FileWork {
    name: String,
    purpose: String,
    /// The bits of a floating-point number: its decimal digits might come back as its neighbour.
    at: u64,
    signature: Option<Base64>,
    certificates: Option<Base64>,
    timestamp: Option<Base64>,
    declared_sha256: Option<String>,
    received: Option<(u64, [u8; 32], [u8; 32])>,
    confinement: Confinement,
}

/// Serve the parent at the other end of standard input; see `child::serve`.
pub fn serve() -> io::Result<()> {
    child::serve(&mut perform)
}

fn perform(job: Job<'_>, out: &Outbox<'_>) -> Result<Vec<u8>> {
    let work = serde_json::from_slice(job.request).map_err(|error| {
        Error::Fault(format!(
            "The confined process does not understand the request: {error}."
        ))
    })?;
    match work {
        Work::File(work) => perform_file(*work, job, out),
        Work::Content(work) => perform_content(work, job, out),
        Work::Batch(work) => batch::perform(&work, job, out),
    }
}

fn bytes(text: Option<Base64>) -> Result<Option<Vec<u8>>> {
    let bytes = text.map(|text| STANDARD.decode(text)).transpose();
    bytes.map_err(|error| {
        Error::Fault(format!(
            "The confined process does not understand the request: {error}."
        ))
    })
}

fn perform_file(work: FileWork, job: Job<'_>, out: &Outbox<'_>) -> Result<Vec<u8>> {
    let [signature, certificates, timestamp] = [
        bytes(work.signature)?,
        bytes(work.certificates)?,
        bytes(work.timestamp)?,
    ];
    let path = Path::new(&work.name);
    let request = Request {
        path,
        trust: job.trust,
        purpose: Purpose::parse(&work.purpose)?,
        signature: signature.as_deref(),
        certificates: certificates.as_deref(),
        timestamp: timestamp.as_deref(),
        declared_sha256: work.declared_sha256.as_deref(),
        at: f64::from_bits(work.at),
        received: work
            .received
            .map(|(size, sha256, blake3)| Digests { size, sha256, blake3 }),
        known: None,
    };
    let source = Source::from_file(job.file, path)?;
    let mut tell = |done| out.progress(done);
    let mut report = file::verify_source(&request, &source, &mut Progress::new(&mut tell))?;
    report.confinement = Some(work.confinement);
    Ok(document(&report)?.into_bytes())
}

fn perform_content(work: ContentWork, job: Job<'_>, out: &Outbox<'_>) -> Result<Vec<u8>> {
    let files = work.rules.into_iter().map(|(name, text)| RuleFile { name, text });
    let rules = Rules {
        known_bad: work.known_bad.into_iter().collect(),
        files: files.collect(),
    };
    let source = Source::from_file(job.file, Path::new(&work.name))?;
    let mut tell = |done| out.progress(done);
    let report = content::examine(
        &source,
        &rules,
        f64::from_bits(work.at),
        &mut Progress::new(&mut tell),
    )?;
    Ok(report.document.to_string().into_bytes())
}

/// What parent and child tell each other, as JSON.
pub(super) fn encoded(message: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(message)
        .map_err(|error| Error::Fault(format!("A message between processes cannot be written: {error}.")))
}

fn document(report: &file::FileReport) -> Result<String> {
    report::document(report).map_err(|error| Error::Fault(format!("The report cannot be written: {error}.")))
}

/// Verify a file in a confined child; the report as a JSON document. What the file does to the child is in the report.
pub fn verify_file(
    children: &Children,
    request: &Request<'_>,
    trust: TrustText<'_>,
    progress: &mut Progress<'_>,
) -> Result<String> {
    let source = Source::open(request.path)?;
    let work = |confinement: &Confinement| {
        let work = Work::File(Box::new(FileWork {
            name: request.path.to_string_lossy().into_owned(),
            purpose: request.purpose.name().to_owned(),
            at: request.at.to_bits(),
            signature: request.signature.map(|bytes| STANDARD.encode(bytes)),
            certificates: request.certificates.map(|bytes| STANDARD.encode(bytes)),
            timestamp: request.timestamp.map(|bytes| STANDARD.encode(bytes)),
            declared_sha256: request.declared_sha256.map(str::to_owned),
            received: request
                .received
                .as_ref()
                .map(|known| (known.size, known.sha256, known.blake3)),
            confinement: confinement.clone(),
        }));
        serde_json::to_vec(&work).unwrap_or_default() // which the child does not understand
    };
    let task = Task {
        trust,
        file: opened(&source)?,
        name: request.path,
        size: source.size(),
        pace: FILE_PACE,
        output: MAX_REPORT,
    };
    let (answer, confinement) = ask(children, &task, &work, progress)?;
    match answer {
        Ok(text) => Ok(text),
        Err(fault) => {
            // Hashing parses nothing, so it may be done here: the report must say which bytes it is about.
            let digests = match &request.received {
                Some(known) if known.size == source.size() => known.clone(),
                _ => source::hash(&source, &mut Progress::new(&mut |_| progress.advance(0)))?,
            };
            document(&file::broken(request, digests, fault, confinement)?)
        }
    }
}

/// Look through an image in a confined child; the report as a JSON document. What the image does to the child is an
/// error: there is nothing to report.
pub fn examine_content(
    children: &Children,
    path: &Path,
    rules: &Rules,
    at: f64,
    progress: &mut Progress<'_>,
) -> Result<String> {
    let source = Source::open(path)?;
    let files = rules
        .files
        .iter()
        .map(|file| (file.name.clone(), file.text.clone()));
    let work = Work::Content(ContentWork {
        name: path.to_string_lossy().into_owned(),
        known_bad: rules.known_bad.iter().copied().collect(),
        rules: files.collect(),
        at: at.to_bits(),
    });
    let work = encoded(&work)?;
    let sha256 = Sha256::digest(NO_TRUST).into();
    let task = Task {
        trust: TrustText {
            text: NO_TRUST,
            sha256: &sha256,
        },
        file: opened(&source)?,
        name: path,
        size: source.size(),
        pace: CONTENT_PACE,
        output: MAX_REPORT,
    };
    let (answer, _) = ask(children, &task, &|_| work.clone(), progress)?;
    answer.map_err(|fault| Error::Unreadable(format!("{}: {}", path.display(), fault.reason())))
}

pub(super) fn opened(source: &Source) -> Result<&File> {
    let none = || Error::Fault("What is in memory cannot be given to a confined process.".to_owned());
    source.file().ok_or_else(none)
}

/// Ask for one JSON document.
fn ask(
    children: &Children,
    task: &Task<'_>,
    work: &dyn Fn(&Confinement) -> Vec<u8>,
    progress: &mut Progress<'_>,
) -> Result<(std::result::Result<String, Fault>, Confinement)> {
    let no_parts = &mut |_| Err(Error::Fault("The confined process answered in parts.".to_owned()));
    let (answer, confinement) = children.ask(task, work, no_parts, progress)?;
    let answer = answer.and_then(|body| {
        let text = String::from_utf8(body).ok();
        let text = text.filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        text.ok_or_else(|| Fault::Crashed("its report made no sense".to_owned()))
    });
    Ok((answer, confinement))
}
