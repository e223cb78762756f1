//! Signed statements: who signed what about which bytes.

mod awaited;
pub mod batch;
pub mod cose;
pub mod dsse;
pub mod envelope;
pub mod in_toto;
pub mod jws;
pub mod registered;
mod signers;
mod times;

use std::result::Result;

use serde_json::Value;

use crate::error;
use crate::formats::Format;
use crate::json;
use crate::signatures::{Detached, sigstore};
use crate::source::Source;
use crate::trust::Trust;

/// A statement is held in memory whole.
pub const MAX_STATEMENT: usize = 16 * 1024 * 1024;
const MAX_SHOWN: usize = 200;
/// Rows of a list that are shown.
const MAX_ROWS: usize = 64;

/// Which kind of statement a file is, by its own bytes; `start` is how it begins.
pub fn detect(source: &Source, start: &[u8]) -> error::Result<Option<Format>> {
    if may_be_json(start) {
        return Ok(recognise(&begin(source)?));
    }
    if cose::may_be(start) && (cose::is_tagged(start) || cose::is_whole(&begin(source)?)) {
        return Ok(Some(Format::Cose));
    }
    Ok((jws::may_be_compact(start) && jws::is_compact(&begin(source)?)).then_some(Format::Jws))
}

fn may_be_json(start: &[u8]) -> bool {
    start.trim_ascii_start().starts_with(b"{")
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

/// By the names of the members.
fn recognise(content: &[u8]) -> Option<Format> {
    let keys = json::first_keys(content);
    let has = |name: &str| keys.iter().any(|key| key == name);
    if has("mediaType") && has("verificationMaterial") {
        Some(Format::Sigstore)
    } else if has("payloadType") && (has("payload") || has("signatures")) {
        Some(Format::Dsse)
    } else if (has("protected") && has("signature")) || (has("payload") && has("signatures")) {
        Some(Format::Jws)
    } else {
        None
    }
}

/// A statement given as the signature of another file; `None` where the bytes are none.
pub fn detached(content: &[u8], trust: &Trust) -> Option<Result<Box<dyn Detached>, String>> {
    if may_be_json(content) {
        return match recognise(content) {
            Some(Format::Dsse) => Some(envelope::detached(content)),
            Some(Format::Sigstore) => Some(sigstore::detached(content)),
            Some(Format::Jws) => Some(jws::detached(content, trust)),
            // General JSON serialisation without its payload.
            _ => json::first_keys(content)
                .iter()
                .any(|key| key == "signatures")
                .then(|| jws::detached(content, trust)),
        };
    }
    // A raw signature may begin like anything, so only a whole message is one.
    if cose::may_be(content) && cose::is_whole(content) {
        return Some(cose::detached(content, trust));
    }
    jws::is_compact(content).then(|| jws::detached(content, trust))
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

/// The first members of an object with their plain values; what is nested is only named.
pub fn outline(value: &Value) -> Value {
    let Some(members) = value.as_object() else {
        return Value::Null;
    };
    let plain = |value: &Value| match value {
        Value::String(text) => Value::String(shown(text)),
        Value::Array(items) => Value::String(format!("{} item(s)", items.len())),
        Value::Object(members) => Value::String(format!("{} member(s)", members.len())),
        other => other.clone(),
    };
    let members = members.iter().take(MAX_ROWS);
    Value::Object(members.map(|(name, value)| (shown(name), plain(value))).collect())
}
