//! A batch of attestations in a confined child: verdicts come back a block of lines at a time.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::child::{Job, Outbox};
use super::fault::Fault;
use super::limits::Confinement;
use super::pool::{Children, Task};
use super::work::{Work, encoded, opened};
use super::worker::TrustText;
use crate::error::{Error, Result};
use crate::outcome::{Finding, Outcome};
use crate::source::{Progress, Source};
use crate::statements::batch::{self, BatchReport, Chunk, Passed, Verdict};
use crate::statements::dsse::Subject;
use crate::trust::Purpose;

/// Bytes of envelopes that a second of CPU gets through at the very least: each may have to be tried with every key.
const PACE: u64 = 64 * 1024;
/// How much longer than the file its verdicts may be: a short line that fails needs many words.
const OUTPUT_FACTOR: u64 = 512;
const OUTPUT_BASE: u64 = 1024 * 1024;

#[derive(Serialize, Deserialize)]
pub struct BatchWork {
    name: String,
    purpose: String,
    at: u64,
}

/// A `batch::Chunk` on its way: columns as base64 of little-endian numbers.
#[derive(Serialize, Deserialize)]
struct Part {
    first: u64,
    count: u64,
    failures: Vec<Failure>,
    /// lines, signers, keys, subjects, sha256, name_ends, kinds
    columns: [String; 7],
    names: String,
    predicate_types: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Failure {
    line: u64,
    failed: bool,
    reason: String,
    subjects: Vec<(String, String)>,
    key_ids: Vec<String>,
    predicate_type: String,
}

/// The end of the answer.
#[derive(Serialize, Deserialize)]
struct Last {
    total: u64,
    passed: u64,
    failed: u64,
    unreadable: u64,
    outcome: Outcome,
    reason: String,
}

pub fn perform(work: &BatchWork, job: Job<'_>, out: &Outbox<'_>) -> Result<Vec<u8>> {
    let source = Source::from_file(job.file, Path::new(&work.name))?;
    let mut tell = |done| out.progress(done);
    let mut sink = |chunk: Chunk| out.part(&encoded(&Part::of(chunk))?);
    let report = batch::verify(
        &source,
        job.trust,
        Purpose::parse(&work.purpose)?,
        f64::from_bits(work.at),
        &mut sink,
        &mut Progress::new(&mut tell),
    )?;
    encoded(&Last {
        total: report.total,
        passed: report.passed,
        failed: report.failed,
        unreadable: report.unreadable,
        outcome: report.finding.outcome,
        reason: report.finding.reason,
    })
}

/// What is asked.
pub struct Batch<'a> {
    pub path: &'a Path,
    pub trust: TrustText<'a>,
    /// How many keys the trust file has.
    pub keys: usize,
    pub purpose: Purpose,
    pub at: f64,
}

/// Verify a file of envelopes in a confined child; see `batch::verify`. What the file does to the child is an error, and
/// so is an answer that contradicts itself: then nothing that came before it counts.
pub fn verify(
    children: &Children,
    asked: &Batch<'_>,
    sink: &mut dyn FnMut(Chunk) -> Result<()>,
    progress: &mut Progress<'_>,
) -> Result<(BatchReport, Confinement)> {
    let began = std::time::Instant::now();
    let path = asked.path;
    let source = Source::open(path)?;
    let work = encoded(&Work::Batch(BatchWork {
        name: path.to_string_lossy().into_owned(),
        purpose: asked.purpose.name().to_owned(),
        at: asked.at.to_bits(),
    }))?;
    let task = Task {
        trust: asked.trust,
        file: opened(&source)?,
        name: path,
        size: source.size(),
        pace: PACE,
        output: source
            .size()
            .saturating_mul(OUTPUT_FACTOR)
            .saturating_add(OUTPUT_BASE),
    };
    let contradiction = || {
        let fault = Fault::Crashed("its answer contradicts itself".to_owned());
        Error::Unreadable(format!("{}: {}", path.display(), fault.reason()))
    };
    let (mut total, mut passed, mut failed) = (0_u64, 0_u64, 0_u64);
    let mut part = |body: Vec<u8>| {
        let part: Option<Part> = serde_json::from_slice(&body).ok();
        let chunk = part
            .and_then(|part| part.chunk(asked.keys))
            .ok_or_else(contradiction)?;
        if chunk.first != total.saturating_add(1) {
            return Err(contradiction());
        }
        total = total.saturating_add(chunk.count);
        passed = passed.saturating_add(count(chunk.passed.lines.len()));
        let fails = chunk.failures.iter();
        failed = failed.saturating_add(count(
            fails
                .filter(|verdict| verdict.finding.outcome == Outcome::Fail)
                .count(),
        ));
        sink(chunk)
    };
    let (answer, confinement) = children.ask(&task, &|_| work.clone(), &mut part, progress)?;
    let body =
        answer.map_err(|fault| Error::Unreadable(format!("{}: {}", path.display(), fault.reason())))?;
    let last: Last = serde_json::from_slice(&body).map_err(|_| contradiction())?;
    let adds_up = (last.total, last.passed, last.failed) == (total, passed, failed);
    if !adds_up || (last.outcome == Outcome::Pass && (total == 0 || passed != total)) {
        return Err(contradiction());
    }
    let report = BatchReport {
        total,
        passed,
        failed,
        unreadable: last.unreadable,
        seconds: began.elapsed().as_secs_f64(),
        finding: Finding::new(last.outcome, last.reason),
    };
    Ok((report, confinement))
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl Part {
    fn of(chunk: Chunk) -> Self {
        let passed = chunk.passed;
        let short =
            |column: &[u16]| STANDARD.encode(column.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>());
        let wide =
            |column: &[u32]| STANDARD.encode(column.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>());
        Part {
            first: chunk.first,
            count: chunk.count,
            failures: chunk.failures.into_iter().map(Failure::of).collect(),
            columns: [
                wide(&passed.lines),
                STANDARD.encode(&passed.signers),
                short(&passed.keys),
                short(&passed.subjects),
                STANDARD.encode(&passed.sha256),
                wide(&passed.name_ends),
                short(&passed.kinds),
            ],
            names: passed.names,
            predicate_types: passed.predicate_types,
        }
    }

    /// The chunk, if its columns fit together: who reads them later relies on it.
    fn chunk(self, keys: usize) -> Option<Chunk> {
        let [lines, signers, places, subjects, sha256, name_ends, kinds] = &self.columns;
        let passed = Passed {
            lines: wide(lines)?,
            signers: STANDARD.decode(signers).ok()?,
            keys: short(places)?,
            subjects: short(subjects)?,
            sha256: STANDARD.decode(sha256).ok()?,
            name_ends: wide(name_ends)?,
            names: self.names,
            kinds: short(kinds)?,
            predicate_types: self.predicate_types,
            ..Passed::default()
        };
        let chunk = Chunk {
            first: self.first,
            count: self.count,
            failures: self.failures.into_iter().map(Failure::verdict).collect(),
            passed,
        };
        chunk.is_sound(keys).then_some(chunk)
    }
}

impl Failure {
    fn of(verdict: Verdict) -> Self {
        Failure {
            line: verdict.line,
            failed: verdict.finding.outcome == Outcome::Fail,
            reason: verdict.finding.reason,
            subjects: verdict
                .subjects
                .into_iter()
                .map(|subject| (subject.name, subject.sha256))
                .collect(),
            key_ids: verdict.key_ids,
            predicate_type: verdict.predicate_type,
        }
    }

    fn verdict(self) -> Verdict {
        let outcome = if self.failed {
            Outcome::Fail
        } else {
            Outcome::Unreadable
        };
        Verdict {
            line: self.line,
            finding: Finding::new(outcome, self.reason),
            subjects: self
                .subjects
                .into_iter()
                .map(|(name, sha256)| Subject { name, sha256 })
                .collect(),
            key_ids: self.key_ids,
            predicate_type: self.predicate_type,
        }
    }
}

fn short(column: &str) -> Option<Vec<u16>> {
    let bytes = STANDARD.decode(column).ok()?;
    let (numbers, []) = bytes.as_chunks() else {
        return None;
    };
    Some(numbers.iter().map(|number| u16::from_le_bytes(*number)).collect())
}

fn wide(column: &str) -> Option<Vec<u32>> {
    let bytes = STANDARD.decode(column).ok()?;
    let (numbers, []) = bytes.as_chunks() else {
        return None;
    };
    Some(numbers.iter().map(|number| u32::from_le_bytes(*number)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;

    fn part() -> Part {
        let passed = Passed {
            lines: vec![0, 2],
            signers: vec![1, 1],
            keys: vec![0, 1],
            subjects: vec![1, 1],
            sha256: vec![7; 64],
            name_ends: vec![2, 4],
            names: "aéb".to_owned(),
            kinds: vec![0, 0],
            predicate_types: vec!["https://example.org".to_owned()],
            ..Passed::default()
        };
        Part::of(Chunk {
            first: 1,
            count: 3,
            failures: vec![Verdict {
                line: 2,
                finding: Finding::new(Outcome::Fail, "why"),
                subjects: Vec::new(),
                key_ids: Vec::new(),
                predicate_type: String::new(),
            }],
            passed,
        })
    }

    #[test]
    fn what_was_packed_comes_out_again() {
        let mut whole = part();
        whole.columns[5] = STANDARD.encode([3, 0, 0, 0, 4, 0, 0, 0]);
        let chunk = whole.chunk(2).unwrap();
        assert_eq!(chunk.passed.lines, [0, 2]);
        assert_eq!(chunk.passed.keys, [0, 1]);
        assert_eq!(chunk.passed.name_ends, [3, 4]);
        assert_eq!(chunk.failures[0].line, 2);
    }

    /// Whoever took a child over may answer what they like; it must not reach those who rely on columns that fit.
    #[test]
    fn columns_that_do_not_fit_together_are_refused() {
        assert!(part().chunk(2).is_none(), "a name that ends within a character");
        for (column, bytes) in [
            (0, vec![0, 0, 0, 0]),
            (0, vec![0, 0, 0, 0, 3, 0, 0, 0]),
            (0, vec![2, 0, 0, 0, 0, 0, 0, 0]),
            (0, vec![0, 0, 0]),
            (1, vec![1, 2]),
            (2, vec![0, 0, 2, 0]),
            (3, vec![1, 0, 2, 0]),
            (4, vec![7; 63]),
            (5, vec![3, 0, 0, 0, 9, 0, 0, 0]),
            (5, vec![4, 0, 0, 0, 3, 0, 0, 0]),
            (6, vec![0, 0, 1, 0]),
        ] {
            let mut bad = part();
            bad.columns[5] = STANDARD.encode([3, 0, 0, 0, 4, 0, 0, 0]);
            bad.columns[column] = STANDARD.encode(&bytes);
            assert!(bad.chunk(2).is_none(), "column {column}: {bytes:?}");
        }
    }
}
