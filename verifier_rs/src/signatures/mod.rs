//! A detached signature: what kind of file it is, by its own bytes, and what it proves about another file.

pub mod cms;
pub mod raw;

use serde_json::{Map, Value};

use crate::file::Request;
use crate::outcome::Finding;
use crate::pass::Pass;
use crate::statements;
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

/// Read a signature file. The form follows from its own bytes; which keys and methods count never does.
pub fn read(content: &[u8], request: &Request<'_>) -> Result<Box<dyn Detached>, String> {
    if content.is_empty() {
        return Err("the signature file is empty".to_owned());
    }
    if let Some(statement) = statements::detached(content) {
        return statement;
    }
    if crate::cms::looks_like(content) {
        return Ok(Box::new(cms::Cms::read(content)?));
    }
    if content.starts_with(b"-----BEGIN ") {
        return Err("the signature file is PEM; expected the raw signature or its plain base64".to_owned());
    }
    Ok(Box::new(raw::Raw::read(content, request.trust)?))
}
