//! The only file that names PyO3: arguments in, frozen results out, errors into the classes of portal.errors.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::Error;
use crate::hasher;
use crate::source::{self, Progress, hex};

import_exception!(portal.errors, TrustError);
import_exception!(portal.errors, UnreadableFile);
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
                    PyOSError::new_err((errno, text, path))
                }
                None => PyOSError::new_err(message),
            },
            Error::Unreadable(_) | Error::Cancelled => UnreadableFile::new_err(message),
            Error::State(_) => VerifierStateError::new_err(message),
            Error::Trust(_) => TrustError::new_err(message),
            Error::Argument(_) => PyValueError::new_err(message),
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

/// SHA-256 and BLAKE3 of what it is fed; `export_state` and `resume` carry it between processes.
#[pyclass(frozen, module = "portal._verifier")]
struct Hasher {
    inner: Mutex<hasher::Hasher>,
}

impl Hasher {
    /// A poisoned lock means that an update panicked half-way: such a state must not be used again.
    fn lock(&self) -> PyResult<MutexGuard<'_, hasher::Hasher>> {
        self.inner.lock().map_err(|_: PoisonError<_>| {
            VerifierStateError::new_err("the hasher failed earlier; begin again")
        })
    }
}

#[pymethods]
impl Hasher {
    #[new]
    fn new() -> Self {
        Hasher {
            inner: Mutex::new(hasher::Hasher::new()),
        }
    }

    fn update(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        Ok(py.detach(|| {
            let mut inner = self
                .inner
                .lock()
                .map_err(|_| Error::State("the hasher failed earlier; begin again".to_owned()))?;
            inner.update(data)
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
        let mut copy = self.lock()?.clone();
        let copy = detached(py, progress.as_ref(), |progress| {
            copy.update_from_file(&path, offset, length, progress)?;
            Ok(copy)
        })?;
        *self.lock()? = copy;
        Ok(())
    }

    #[getter]
    fn size(&self) -> PyResult<u64> {
        Ok(self.lock()?.size())
    }

    fn digests(&self) -> PyResult<Digests> {
        Ok(self.lock()?.digests().into())
    }

    fn export_state<'py>(&self, py: Python<'py>, key: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.lock()?.export_state(state_key(key)?)))
    }

    #[staticmethod]
    fn resume(state: &[u8], key: &[u8]) -> PyResult<Self> {
        Ok(Hasher {
            inner: Mutex::new(hasher::Hasher::resume(state, state_key(key)?)?),
        })
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

/// Panics, on purpose: the tests prove with it that a fault of the verifier is contained.
#[pyfunction]
fn fault() {
    panic!("a fault made on purpose");
}

#[pymodule(gil_used = false)]
mod _verifier {
    #[pymodule_export]
    use super::{Digests, Hasher, fault, hash_file};
}
