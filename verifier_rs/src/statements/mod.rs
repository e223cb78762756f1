//! Signed statements: who signed what about which bytes.

pub mod batch;
pub mod dsse;
pub mod envelope;
pub mod in_toto;
pub mod signers;

use std::result::Result;

use crate::error;
use crate::formats::Format;
use crate::json;
use crate::signatures::Detached;
use crate::source::Source;

/// A statement is held in memory whole.
pub const MAX_STATEMENT: usize = 16 * 1024 * 1024;
const MAX_SHOWN: usize = 200;

/// Which kind of statement a file is, by its own bytes; `start` is how it begins.
pub fn detect(source: &Source, start: &[u8]) -> error::Result<Option<Format>> {
    if !start.trim_ascii_start().starts_with(b"{") {
        return Ok(None);
    }
    Ok(recognise(&begin(source)?))
}

/// As much of the file as a statement may have.
fn begin(source: &Source) -> error::Result<Vec<u8>> {
    let length = usize::try_from(source.size()).map_or(MAX_STATEMENT, |size| size.min(MAX_STATEMENT));
    let mut bytes = vec![0; length];
    let got = source.read_some(&mut bytes, 0)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// The whole file, if it is no longer than a statement may be.
pub fn whole(source: &Source) -> error::Result<Result<Vec<u8>, String>> {
    if source.size() > u64::try_from(MAX_STATEMENT).unwrap_or(u64::MAX) {
        return Ok(Err(format!(
            "it has {} bytes, expected at most {MAX_STATEMENT}",
            source.size()
        )));
    }
    Ok(Ok(begin(source)?))
}

fn recognise(content: &[u8]) -> Option<Format> {
    let keys = json::first_keys(content);
    let has = |name: &str| keys.iter().any(|key| key == name);
    (has("payloadType") && (has("payload") || has("signatures"))).then_some(Format::Dsse)
}

/// A statement given as the signature of another file; `None` where the bytes are none.
pub fn detached(content: &[u8]) -> Option<Result<Box<dyn Detached>, String>> {
    if !content.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    match recognise(content)? {
        Format::Dsse => Some(envelope::detached(content)),
        _ => None,
    }
}

/// Text of a stranger as it may be shown: not long, and without control characters.
pub fn shown(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut out: String = text.chars().take(MAX_SHOWN).map(clean).collect();
    if out.len() < text.len() && text.chars().nth(MAX_SHOWN).is_some() {
        out.push('…');
    }
    out
}
