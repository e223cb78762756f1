//! The one error of the crate. Outcomes of a verification are not errors: they are results.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub type Result<T> = std::result::Result<T, Error>;

/// Why a call could not give a result. Messages say what was expected, what was found and where.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    Io { path: PathBuf, source: io::Error },
    /// The file cannot be read as a whole: not a regular file, or it changed meanwhile.
    Unreadable(String),
    /// A serialised hash state is forged, damaged or of another version.
    State(String),
    /// The trust file or a key in it cannot be used.
    Trust(String),
    /// YARA rules that do not compile, or a list that cannot be used.
    Rules(String),
    /// An argument is outside its range.
    Argument(String),
    /// The verifier itself fails: no confined child can be started.
    Fault(String),
    /// The caller's callback asked to stop; the caller knows why.
    Cancelled,
}

impl Error {
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
        move |source| Error::Io {
            path: path.to_owned(),
            source,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Error::Unreadable(text)
            | Error::State(text)
            | Error::Trust(text)
            | Error::Rules(text)
            | Error::Argument(text)
            | Error::Fault(text) => f.write_str(text),
            Error::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl std::error::Error for Error {}
