//! The only room that names PyO3: arguments in, frozen results out, errors into the classes of portal.errors.

mod batches;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use sha2::{Digest, Sha256};

use crate::cms::timestamp;
use crate::confined::{self, worker::TrustText};
use crate::content::{self, yara::RuleFile};
use crate::error::Error;
use crate::keys::{self, Strength, ed25519};
use crate::openpgp::certificate::Certificate;
use crate::outcome::Outcome;
use crate::pool::pool;
use crate::source::{self, Progress, hex};
use crate::trust::{self, Purpose};
use crate::verdict::TimeSource;
use crate::{file, hasher};

import_exception!(portal.errors, RulesError);
import_exception!(portal.errors, TrustError);
import_exception!(portal.errors, UnreadableFile);
import_exception!(portal.errors, VerifierFault);
import_exception!(portal.errors, VerifierStateError);

impl From<Error> for PyErr {
    fn from(error: Error) -> PyErr {
        let message = error.to_string();
        match error {
            // With an errno, a message and a name Python picks the right class of the OSError family itself.
            Error::Io { path, source } => match source.raw_os_error() {
                Some(errno) => {
                    let text = source.to_string();
                    let text = text.split(" (os error").next().unwrap_or_default().to_owned();
                    PyOSError::new_err((errno, text, path.into_os_string()))
                }
                None => PyOSError::new_err(message),
            },
            Error::Unreadable(_) | Error::Cancelled => UnreadableFile::new_err(message),
            Error::State(_) => VerifierStateError::new_err(message),
            Error::Trust(_) => TrustError::new_err(message),
            Error::Rules(_) => RulesError::new_err(message),
            Error::Argument(_) => PyValueError::new_err(message),
            Error::Fault(_) => VerifierFault::new_err(message),
        }
    }
}

/// Run `work` without the GIL. Every 100 ms signals are checked and `callback` is told how far the work is;
/// an exception from either ends the work and comes out unchanged.
fn detached<T: Send>(
    py: Python<'_>,
    callback: Option<&Py<PyAny>>,
    work: impl FnOnce(&mut Progress<'_>) -> crate::error::Result<T> + Send,
) -> PyResult<T> {
    let mut raised: Option<PyErr> = None;
    let result = py.detach(|| {
        let mut report = |done: u64| {
            let told = Python::attach(|py| {
                py.check_signals()?;
                callback.map(|call| call.call1(py, (done,))).transpose()
            });
            told.map(|_| ()).map_err(|error| {
                raised = Some(error);
                Error::Cancelled
            })
        };
        work(&mut Progress::new(&mut report))
    });
    match raised {
        Some(error) => Err(error),
        None => Ok(result?),
    }
}

/// Length and digests (lower-case hexadecimal) of a run of bytes.
#[pyclass(frozen, get_all, module = "portal._verifier")]
struct Digests {
    size: u64,
    sha256: String,
    blake3: String,
}

impl From<hasher::Digests> for Digests {
    fn from(digests: hasher::Digests) -> Self {
        Digests {
            size: digests.size,
            sha256: hex(&digests.sha256),
            blake3: hex(&digests.blake3),
        }
    }
}

fn state_key(key: &[u8]) -> PyResult<&[u8; 32]> {
    key.try_into()
        .map_err(|_| PyValueError::new_err(format!("key: expected 32 bytes, found {}", key.len())))
}

/// Where the state of a hasher is.
enum Place {
    Here(Box<hasher::Hasher>),
    /// On another thread, which sends it back when it is done.
    Away(Receiver<Box<hasher::Hasher>>),
    /// That thread failed.
    Lost,
}

/// SHA-256 and BLAKE3 of what it is fed; `export_state` and `resume` carry it between processes.
#[pyclass(frozen, module = "portal._verifier")]
struct Hasher {
    place: Mutex<Place>,
}

impl Hasher {
    fn of(hasher: hasher::Hasher) -> Self {
        Hasher {
            place: Mutex::new(Place::Here(Box::new(hasher))),
        }
    }

    /// Run `work` on the state, once it is here, without the GIL.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut hasher::Hasher) -> crate::error::Result<T> + Send,
    ) -> PyResult<T> {
        Ok(py.detach(|| match &mut *self.back()? {
            Place::Here(hasher) => work(hasher),
            _ => Err(lost()),
        })?)
    }

    /// Wait for the state. A poisoned lock means that an update panicked half-way: such a state must not be used.
    fn back(&self) -> crate::error::Result<MutexGuard<'_, Place>> {
        let mut place = self.place.lock().map_err(|_: PoisonError<_>| lost())?;
        if let Place::Away(sender) = &*place {
            *place = sender.recv().map_or(Place::Lost, Place::Here);
        }
        Ok(place)
    }
}

fn lost() -> Error {
    Error::State("the hasher failed earlier; begin again".to_owned())
}

#[pymethods]
impl Hasher {
    #[new]
    fn new() -> Self {
        Hasher::of(hasher::Hasher::new())
    }

    fn update(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        self.with(py, |hasher| hasher.update(data))
    }

    /// `update` on another thread; waits only for what was fed before.
    fn update_later(&self, py: Python<'_>, data: PyBackedBytes) -> PyResult<()> {
        Ok(py.detach(|| {
            let (done, back) = channel();
            let pool = pool()?;
            let mut place = self.back()?;
            let Place::Here(mut hasher) = std::mem::replace(&mut *place, Place::Lost) else {
                return Err(lost());
            };
            *place = Place::Away(back);
            pool.spawn(move || {
                if hasher.update(&data).is_ok() {
                    let _ = done.send(hasher); // nobody waits for a hasher that was dropped
                }
            });
            Ok(())
        })?)
    }

    #[pyo3(signature = (path, offset, length, progress=None))]
    fn update_from_file(
        &self,
        py: Python<'_>,
        path: PathBuf,
        offset: u64,
        length: u64,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        // Into a copy: a failure half-way leaves the hasher as it was.
        let mut copy = self.with(py, |hasher| Ok(hasher.clone()))?;
        let copy = detached(py, progress.as_ref(), |progress| {
            copy.update_from_file(&path, offset, length, progress)?;
            Ok(copy)
        })?;
        self.with(py, |hasher| {
            *hasher = copy;
            Ok(())
        })
    }

    fn read_back(&self, py: Python<'_>, path: PathBuf) -> PyResult<bool> {
        self.with(py, |hasher| {
            let mut nobody = |_| Ok(());
            hasher.read_back(&path, &mut Progress::new(&mut nobody))
        })
    }

    #[getter]
    fn size(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |hasher| Ok(hasher.size()))
    }

    fn digests(&self, py: Python<'_>) -> PyResult<Digests> {
        Ok(self.with(py, |hasher| Ok(hasher.digests()))?.into())
    }

    fn export_state<'py>(&self, py: Python<'py>, key: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let key = state_key(key)?;
        let state = self.with(py, |hasher| Ok(hasher.export_state(key)))?;
        Ok(PyBytes::new(py, &state))
    }

    #[staticmethod]
    fn resume(state: &[u8], key: &[u8]) -> PyResult<Self> {
        Ok(Hasher::of(hasher::Hasher::resume(state, state_key(key)?)?))
    }
}

#[pyfunction]
#[pyo3(signature = (path, progress=None))]
fn hash_file(py: Python<'_>, path: PathBuf, progress: Option<Py<PyAny>>) -> PyResult<Digests> {
    let digests = detached(py, progress.as_ref(), |progress| {
        source::hash_file(&path, progress)
    })?;
    Ok(digests.into())
}

/// A key of a trust file, as far as people need to see it.
#[pyclass(frozen, get_all, module = "portal._verifier")]
struct TrustKey {
    id: String,
    algorithm: String,
    fingerprint: String,
    mcuboot_key_hash: String,
    purposes: Vec<String>,
}

/// The approved keys.
#[pyclass(frozen, module = "portal._verifier")]
struct Trust {
    inner: trust::Trust,
    /// As it was read, for the confined processes.
    text: String,
    sha256: [u8; 32],
}

impl Trust {
    fn text(&self) -> TrustText<'_> {
        TrustText {
            text: &self.text,
            sha256: &self.sha256,
        }
    }
}

#[pymethods]
impl Trust {
    #[staticmethod]
    fn parse(text: String) -> PyResult<Self> {
        Ok(Trust {
            inner: trust::Trust::parse(&text)?,
            sha256: Sha256::digest(&text).into(),
            text,
        })
    }

    #[getter]
    fn threshold(&self) -> u32 {
        self.inner.threshold
    }

    #[getter]
    fn keys(&self) -> Vec<TrustKey> {
        let keys = self.inner.keys.iter();
        keys.map(|key| TrustKey {
            id: key.id.clone(),
            algorithm: key.key.algorithm.name(),
            fingerprint: key.fingerprint.clone(),
            mcuboot_key_hash: key.key.mcuboot_key_hash(),
            purposes: key
                .purposes
                .iter()
                .map(|purpose| purpose.name().to_owned())
                .collect(),
        })
        .collect()
    }
}

/// A public key or certificate, before anybody approved it.
#[pyclass(frozen, get_all, module = "portal._verifier")]
struct KeyInfo {
    kind: String,
    algorithm: String,
    bits: u32,
    fingerprint: String,
    mcuboot_key_hash: String,
    subject: Option<String>,
    issuer: Option<String>,
    not_before: Option<f64>,
    not_after: Option<f64>,
    strong: bool,
    weakness: String,
    known_as: String,
}

#[pyfunction]
fn inspect_key(pem: &str) -> PyResult<KeyInfo> {
    let read = keys::read(pem).map_err(Error::Trust)?;
    let algorithm = read.key.algorithm;
    let weakest = read.key.weakest();
    let inside = read.key.openpgp.as_deref();
    let validity = inside.and_then(Certificate::validity);
    let certificate = read.certificate;
    Ok(KeyInfo {
        kind: match (&certificate, &read.hint) {
            (Some(_), _) => "certificate",
            (None, Some(hint)) => hint.kind,
            (None, None) => "public_key",
        }
        .to_owned(),
        algorithm: algorithm.name(),
        bits: weakest.bits(),
        fingerprint: read.key.fingerprint(),
        mcuboot_key_hash: read.key.mcuboot_key_hash(),
        subject: certificate
            .as_ref()
            .map(|facts| facts.subject.clone())
            .or_else(|| inside?.user_ids.first().cloned()),
        issuer: certificate.as_ref().map(|facts| facts.issuer.clone()),
        not_before: certificate
            .as_ref()
            .map(|facts| facts.not_before)
            .or(validity.map(|(from, _)| from)),
        not_after: certificate
            .as_ref()
            .map(|facts| facts.not_after)
            .or(validity.and_then(|(_, until)| until)),
        strong: weakest.strength() == Strength::Strong,
        weakness: weakest.weakness(),
        known_as: read.hint.map(|hint| hint.name).unwrap_or_default(),
    })
}

/// Times outside this (years 1970 to 9999) are mistakes, and NaN would compare as anything.
fn moment(at: f64) -> PyResult<f64> {
    if (0.0..253_402_300_800.0).contains(&at) {
        Ok(at)
    } else {
        Err(PyValueError::new_err(format!(
            "at: expected seconds since 1970 (up to the year 9999), found {at}"
        )))
    }
}

/// The confined processes of this one; see `confined`.
#[pyclass(frozen, module = "portal._verifier")]
struct Children {
    inner: confined::Children,
}

#[pymethods]
impl Children {
    /// `command` and `environment` start a process that calls `serve_child`.
    #[new]
    fn new(command: Vec<OsString>, environment: Vec<(OsString, OsString)>) -> PyResult<Self> {
        let mut arguments = command.into_iter();
        let path = arguments
            .next()
            .ok_or_else(|| PyValueError::new_err("command: expected a program"))?;
        let program = confined::Program {
            path,
            arguments: arguments.collect(),
            environment,
        };
        Ok(Children {
            inner: confined::Children::new(program, confined::Setup::default()),
        })
    }
}

/// What a confined process runs. Never returns: no Python runs once it is confined.
#[pyfunction]
fn serve_child(py: Python<'_>) {
    py.detach(|| match confined::work::serve() {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1)
        }
    })
}

#[pyfunction]
#[pyo3(signature = (
    children, path, trust, purpose, at, signature=None, certificates=None, timestamp=None, declared_sha256=None,
    received=None, progress=None
))]
#[expect(clippy::too_many_arguments, reason = "portal.verification names them")]
fn verify_file(
    py: Python<'_>,
    children: &Children,
    path: PathBuf,
    trust: &Trust,
    purpose: &str,
    at: f64,
    signature: Option<&[u8]>,
    certificates: Option<&[u8]>,
    timestamp: Option<&[u8]>,
    declared_sha256: Option<&str>,
    received: Option<(u64, &str, &str)>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let received = received
        .map(|(size, sha256, blake3)| {
            Ok::<_, Error>(hasher::Digests {
                size,
                sha256: source::unhex(sha256)?,
                blake3: source::unhex(blake3)?,
            })
        })
        .transpose()?;
    let request = file::Request {
        path: &path,
        trust: &trust.inner,
        purpose: Purpose::parse(purpose)?,
        signature,
        certificates,
        timestamp,
        declared_sha256,
        at: moment(at)?,
        received,
        known: None,
    };
    detached(py, progress.as_ref(), |progress| {
        confined::work::verify_file(&children.inner, &request, trust.text(), progress)
    })
}

/// What a time stamp proves, or why it does not count.
#[pyclass(frozen, get_all, module = "portal._verifier")]
struct StampVerdict {
    outcome: String,
    why: String,
    at: Option<f64>,
    authority: Option<String>,
}

#[pyfunction]
#[pyo3(signature = (token, message, trust, at, nonce=None))]
fn verify_timestamp(
    py: Python<'_>,
    token: &[u8],
    message: &[u8],
    trust: &Trust,
    at: f64,
    nonce: Option<&[u8]>,
) -> PyResult<StampVerdict> {
    let now = moment(at)?;
    let found = py.detach(|| timestamp::verify_over(token, message, &trust.inner, now, nonce));
    Ok(match found {
        Ok(moment) => StampVerdict {
            outcome: Outcome::Pass.name().to_owned(),
            why: String::new(),
            at: Some(moment.at),
            authority: match moment.source {
                TimeSource::Timestamp { authority } => Some(authority),
                TimeSource::Receipt => None,
            },
        },
        Err(refused) => StampVerdict {
            outcome: refused.outcome.name().to_owned(),
            why: refused.why,
            at: None,
            authority: None,
        },
    })
}

/// A look through the bytes of an image: `content::examine` as its JSON document.
#[pyfunction]
#[pyo3(signature = (children, path, known_bad, rule_files, at, progress=None))]
fn examine_content(
    py: Python<'_>,
    children: &Children,
    path: PathBuf,
    known_bad: Vec<String>,
    rule_files: Vec<(String, String)>,
    at: f64,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let files = rule_files.into_iter().map(|(name, text)| RuleFile { name, text });
    let rules = content::Rules::new(&known_bad, files.collect())?;
    let at = moment(at)?;
    detached(py, progress.as_ref(), |progress| {
        confined::work::examine_content(&children.inner, &path, &rules, at, progress)
    })
}

/// What a public key is published as, if anybody can sign with it.
#[pyfunction]
fn published_key(fingerprint: &str) -> Option<&'static str> {
    content::known::is_test_key(fingerprint)
}

/// Panics, on purpose: the tests prove with it that a fault of the verifier is contained.
#[pyfunction]
fn fault() {
    panic!("a fault made on purpose");
}

#[pymodule(gil_used = false)]
mod _verifier {
    #[pymodule_export]
    use super::{
        Children, Digests, Hasher, KeyInfo, StampVerdict, Trust, TrustKey, examine_content, fault, hash_file,
        inspect_key, published_key, serve_child, verify_file, verify_timestamp,
    };

    #[pymodule_export]
    use super::batches::{BatchReport, EnvelopeChunk, EnvelopeVerdict, verify_attestations};

    #[pymodule_export]
    const ED25519_RULE: &str = super::ed25519::RULE;
}
