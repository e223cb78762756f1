//! A detached signature: what kind of file it is, by its own bytes, and what it proves about another file.

pub mod certified;
pub mod cms;
mod comment;
pub mod minisign;
mod named;
pub mod openpgp;
pub mod raw;
pub mod signify;
pub mod sigstore;
pub mod ssh;
mod streams;

use serde_json::{Map, Value};

use crate::file::Request;
use crate::outcome::Finding;
use crate::pass::Pass;
use crate::statements;
use crate::trust::Trust;
use crate::verdict::Verdict;

/// A signature file that could be read.
pub trait Detached {
    /// What form it has, as reports name it.
    fn form(&self) -> &'static str;
    /// Ask for what has to be computed while the signed file (of `size` bytes) is read.
    fn plan(&mut self, pass: &mut Pass, size: u64);
    /// One verdict for each signature in it.
    fn judge(&self, pass: &Pass, request: &Request<'_>) -> Vec<Verdict>;
    /// Further checks of this form: `("builder", …)` becomes `firmware.builder`.
    fn checks(&self, _: &Pass, _: &Request<'_>) -> Vec<(&'static str, Finding)> {
        Vec::new()
    }
    /// What it says about itself.
    fn claims(&self) -> Map<String, Value> {
        Map::new()
    }
}

type Readable = Result<Box<dyn Detached>, String>;

/// One form: whether a file begins like it, and how it is read.
struct Form {
    detect: fn(&[u8]) -> bool,
    read: fn(&[u8], &Trust) -> Readable,
}

/// In the order in which they are looked for; what is none of them is a raw signature.
const FORMS: &[Form] = &[
    Form {
        detect: crate::cms::looks_like,
        read: |content, _| Ok(Box::new(cms::Cms::read(content)?)),
    },
    Form {
        detect: openpgp::detect,
        read: |content, _| {
            Ok(Box::new(openpgp::OpenPgp::new(openpgp::Signatures::parse(
                content,
            )?)))
        },
    },
    Form {
        detect: ssh::detect,
        read: |content, _| Ok(Box::new(ssh::Ssh::new(ssh::Blob::parse(content)?))),
    },
    Form {
        detect: minisign::detect,
        read: |content, trust| {
            let lines = minisign::Lines::parse(content)?;
            Ok(Box::new(minisign::Minisign::new(lines, trust)))
        },
    },
    Form {
        detect: signify::detect,
        read: |content, trust| {
            let lines = signify::Lines::parse(content)?;
            Ok(Box::new(signify::Signify::new(lines, trust)))
        },
    },
];

/// Read a signature file. The form follows from its own bytes; which keys and methods count never does.
pub fn read(content: &[u8], request: &Request<'_>) -> Readable {
    if content.is_empty() {
        return Err("the signature file is empty".to_owned());
    }
    if let Some(statement) = statements::detached(content, request.trust) {
        return statement;
    }
    if let Some(form) = FORMS.iter().find(|form| (form.detect)(content)) {
        return (form.read)(content, request.trust);
    }
    if content.starts_with(b"-----BEGIN ") {
        return Err("the signature file is PEM; expected the raw signature or its plain base64".to_owned());
    }
    Ok(Box::new(raw::Raw::read(
        content,
        request.trust,
        request.candidates().first(),
    )?))
}
