//! What minisign and signify have in common: lines of text, a comment, and a signature with the number of its key.

use base64::Engine;

use crate::encoding;
use crate::keys::minisign::COMMENT;
use crate::trust::TrustKey;
use crate::wire::Wire;

/// More than the files of these tools have, with a signed list of checksums in one.
pub const MAX_FILE: usize = 64 * 1024;

/// Algorithm, number of the key, and the signature itself.
#[derive(Clone)]
pub struct Numbered {
    pub algorithm: [u8; 2],
    pub number: [u8; 8],
    pub signature: [u8; 64],
}

impl Numbered {
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let bytes = base64(line, "line 2")?;
        let mut wire = Wire::new(&bytes);
        let parsed = Numbered {
            algorithm: wire.array("the algorithm")?,
            number: wire.array("the number of the key")?,
            signature: wire.array("the signature")?,
        };
        wire.end("line 2, once decoded,")?;
        Ok(parsed)
    }

    /// Whether the signature could be by this key: it has the number that the signature names, or none.
    pub fn could_be_by(&self, key: &TrustKey) -> bool {
        let number = key.hint.as_ref().and_then(|hint| hint.number);
        key.key.ed25519.is_some() && number.is_none_or(|number| number == self.number)
    }
}

/// Whether a file begins as both tools begin theirs.
pub fn detect(content: &[u8]) -> bool {
    content.starts_with(COMMENT.as_bytes())
}

/// The next line without its end, and what follows it.
pub fn line<'a>(content: &'a [u8], what: &str) -> Result<(&'a [u8], &'a [u8]), String> {
    if content.is_empty() {
        return Err(format!("expected {what}, found the end of the file"));
    }
    let mut parts = content.splitn(2, |byte| *byte == b'\n');
    let line = parts.next().unwrap_or_default();
    Ok((
        line.strip_suffix(b"\r").unwrap_or(line),
        parts.next().unwrap_or_default(),
    ))
}

/// What follows `begin` and one space in a line.
pub fn after<'a>(line: &'a [u8], begin: &str) -> Result<&'a [u8], String> {
    line.strip_prefix(begin.as_bytes())
        .and_then(|rest| rest.strip_prefix(b" "))
        .ok_or_else(|| format!("expected a line '{begin} …', found another one"))
}

pub fn base64(line: &[u8], what: &str) -> Result<Vec<u8>, String> {
    encoding::STANDARD
        .decode(line)
        .map_err(|error| format!("the base64 of {what} cannot be decoded ({error})"))
}
