//! Batches of attestations: a chunk of verdicts becomes one object with a list of failures and columns of passes.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::confined;
use crate::error::Error;
use crate::python::{Children, Trust, detached, moment};
use crate::statements::batch;
use crate::trust::Purpose;

/// What became of one line that did not pass.
#[pyclass(frozen, get_all, module = "portal._verifier")]
pub struct EnvelopeVerdict {
    line: u64,
    outcome: &'static str,
    reason: String,
    subjects: Vec<(String, String)>,
    key_ids: Vec<String>,
    predicate_type: String,
}

impl From<batch::Verdict> for EnvelopeVerdict {
    fn from(verdict: batch::Verdict) -> Self {
        let subjects = verdict.subjects.into_iter();
        EnvelopeVerdict {
            line: verdict.line,
            outcome: verdict.finding.outcome.name(),
            reason: verdict.finding.reason,
            subjects: subjects.map(|subject| (subject.name, subject.sha256)).collect(),
            key_ids: verdict.key_ids,
            predicate_type: verdict.predicate_type,
        }
    }
}

/// The verdicts on `count` lines from `first` on; portal/_verifier.pyi says what each column holds.
#[pyclass(frozen, get_all, module = "portal._verifier")]
pub struct EnvelopeChunk {
    first: u64,
    count: u64,
    failures: Vec<Py<EnvelopeVerdict>>,
    lines: Py<PyBytes>,
    signers: Py<PyBytes>,
    keys: Py<PyBytes>,
    subjects: Py<PyBytes>,
    sha256: Py<PyBytes>,
    name_ends: Py<PyBytes>,
    names: Py<PyBytes>,
    kinds: Py<PyBytes>,
    predicate_types: Vec<String>,
}

impl EnvelopeChunk {
    fn of(py: Python<'_>, chunk: batch::Chunk) -> PyResult<Self> {
        let failures = chunk.failures.into_iter();
        let passed = chunk.passed;
        let bytes = |column: &[u8]| PyBytes::new(py, column).unbind();
        let wide = |column: &[u32]| bytes(&column.iter().flat_map(|n| n.to_ne_bytes()).collect::<Vec<_>>());
        let short = |column: &[u16]| bytes(&column.iter().flat_map(|n| n.to_ne_bytes()).collect::<Vec<_>>());
        Ok(EnvelopeChunk {
            first: chunk.first,
            count: chunk.count,
            failures: failures
                .map(|verdict| Py::new(py, EnvelopeVerdict::from(verdict)))
                .collect::<PyResult<_>>()?,
            lines: wide(&passed.lines),
            signers: bytes(&passed.signers),
            keys: short(&passed.keys),
            subjects: short(&passed.subjects),
            sha256: bytes(&passed.sha256),
            name_ends: wide(&passed.name_ends),
            names: bytes(passed.names.as_bytes()),
            kinds: short(&passed.kinds),
            predicate_types: passed.predicate_types,
        })
    }
}

#[pyclass(frozen, get_all, module = "portal._verifier")]
pub struct BatchReport {
    total: u64,
    passed: u64,
    failed: u64,
    unreadable: u64,
    seconds: f64,
    outcome: &'static str,
    reason: String,
    /// A JSON object.
    confinement: String,
}

#[pyfunction]
#[pyo3(signature = (children, path, trust, purpose, at, sink=None, progress=None))]
pub fn verify_attestations(
    py: Python<'_>,
    children: &Children,
    path: PathBuf,
    trust: &Trust,
    purpose: &str,
    at: f64,
    sink: Option<Py<PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<BatchReport> {
    let purpose = Purpose::parse(purpose)?;
    let at = moment(at)?;
    let mut raised: Option<PyErr> = None;
    let result = detached(py, progress.as_ref(), |progress| {
        let mut deliver = |chunk: batch::Chunk| {
            let Some(sink) = &sink else { return Ok(()) };
            let told = Python::attach(|py| {
                sink.call1(py, (EnvelopeChunk::of(py, chunk)?,))?;
                Ok(())
            });
            told.map_err(|error| {
                raised = Some(error);
                Error::Cancelled
            })
        };
        confined::batch::verify(
            &children.inner,
            &confined::batch::Batch {
                path: &path,
                trust: trust.text(),
                keys: trust.inner.keys.len(),
                purpose,
                at,
            },
            &mut deliver,
            progress,
        )
    });
    if let Some(error) = raised {
        return Err(error);
    }
    let (report, confinement) = result?;
    Ok(BatchReport {
        total: report.total,
        passed: report.passed,
        failed: report.failed,
        unreadable: report.unreadable,
        seconds: report.seconds,
        outcome: report.finding.outcome.name(),
        reason: report.finding.reason,
        confinement: serde_json::to_string(&confinement).unwrap_or_default(),
    })
}
