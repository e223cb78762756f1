//! CycloneDX and SPDX 2 as JSON, in the middle of other bytes or alone.

use std::io::BufReader;

use serde::Deserialize;
use serde_json::Value;

use crate::content::sbom::{Component, Document, MAX_DOCUMENT, Read, clean};
use crate::error::Result;
use crate::formats::archive::Window;
use crate::source::Source;

/// So far before its telling member the document may begin.
const BEFORE: u64 = 4096;
/// Opening braces before it that are tried.
const MAX_TRIES: usize = 16;

/// A piece of it that is read at once: most of what is tried is no document, which its first bytes tell.
const PIECE: usize = 4096;

/// The document whose telling member (`"bomFormat"`, `"spdxVersion"`) stands at `offset`. How many bytes it takes to
/// find that out is taken from `room`.
pub fn read_around(source: &Source, offset: u64, room: &mut u64) -> Result<Read> {
    let start = offset.saturating_sub(BEFORE);
    let mut before = vec![0; usize::try_from(offset.saturating_sub(start)).unwrap_or(0)];
    let got = source.read_some(&mut before, start)?;
    before.truncate(got);
    let mut why = None;
    for at in memchr::memrchr_iter(b'{', &before).take(MAX_TRIES) {
        let from = start.saturating_add(u64::try_from(at).unwrap_or(0));
        let limit = u64::try_from(MAX_DOCUMENT).unwrap_or(0).min(*room);
        let mut text = Window::new(source, from, source.size().min(from.saturating_add(limit)));
        let whole = text.size();
        let reader = BufReader::with_capacity(PIECE, &mut text);
        let mut stream = serde_json::Deserializer::from_reader(reader).into_iter::<Value>();
        let read = stream.next();
        let to = from.saturating_add(u64::try_from(stream.byte_offset()).unwrap_or(0));
        drop(stream);
        *room = room.saturating_sub(whole.saturating_sub(text.size()));
        match read {
            Some(Ok(value)) if to > offset && is_document(&value) => {
                return Ok(Some((from, to, document(&value))));
            }
            // The nearest brace that only white space parts from the member begins the document.
            Some(Err(error)) if why.is_none() && blank(before.get(at..).unwrap_or_default()) => {
                why = Some((from, error.to_string()));
            }
            _ => {}
        }
    }
    // The words alone are in every tool that writes such documents.
    Ok(why.map(|(from, why)| (from, offset, Err(format!("it is no whole JSON: {}", clean(&why))))))
}

fn blank(from_brace: &[u8]) -> bool {
    from_brace.iter().skip(1).all(u8::is_ascii_whitespace)
}

fn is_document(value: &Value) -> bool {
    value.get("bomFormat").is_some() || value.get("spdxVersion").is_some()
}

/// A document alone.
pub fn read(data: &[u8]) -> std::result::Result<Document, String> {
    // Zeros fill up what was reserved for it.
    let end = data
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last.saturating_add(1));
    let mut deserializer = serde_json::Deserializer::from_slice(data.get(..end).unwrap_or_default());
    let value = Value::deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| format!("it is no JSON: {}", clean(&error.to_string())))?;
    document(&value)
}

fn document(value: &Value) -> std::result::Result<Document, String> {
    if value.get("bomFormat").and_then(Value::as_str) == Some("CycloneDX") {
        let version = text(value, "specVersion");
        let mut components = Vec::new();
        if let Some(main) = value.pointer("/metadata/component") {
            cyclonedx(main, &mut components);
        }
        for component in list(value, "components") {
            cyclonedx(component, &mut components);
        }
        return Ok(Document {
            form: format!("CycloneDX {version}").trim().to_owned(),
            components,
        });
    }
    if let Some(version) = value.get("spdxVersion").and_then(Value::as_str) {
        let components = list(value, "packages").iter().map(spdx).collect();
        return Ok(Document {
            form: clean(&version.replace('-', " ")),
            components,
        });
    }
    Err("expected CycloneDX or SPDX, found another JSON document".to_owned())
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text(value: &Value, name: &str) -> String {
    clean(value.get(name).and_then(Value::as_str).unwrap_or_default())
}

fn pairs(value: &Value, list_name: &str, algorithm: &str, digest: &str) -> Vec<(String, String)> {
    list(value, list_name)
        .iter()
        .take(16)
        .map(|hash| (text(hash, algorithm), text(hash, digest)))
        .collect()
}

/// A component and those inside it; serde_json limits how deep they nest.
fn cyclonedx(value: &Value, into: &mut Vec<Component>) {
    let supplier = value
        .pointer("/supplier/name")
        .or_else(|| value.pointer("/manufacturer/name"))
        .or_else(|| value.get("publisher"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut names = ["purl", "cpe"].iter().map(|name| text(value, name));
    into.push(Component {
        name: text(value, "name"),
        version: text(value, "version"),
        supplier: clean(supplier),
        identifier: names.find(|text| !text.is_empty()).unwrap_or_default(),
        hashes: pairs(value, "hashes", "alg", "content"),
    });
    for inner in list(value, "components") {
        cyclonedx(inner, into);
    }
}

fn spdx(value: &Value) -> Component {
    let mut locators = list(value, "externalRefs")
        .iter()
        .map(|reference| text(reference, "referenceLocator"));
    Component {
        name: text(value, "name"),
        version: text(value, "versionInfo"),
        supplier: text(value, "supplier")
            .trim_start_matches("Organization: ")
            .to_owned(),
        identifier: locators.find(|locator| !locator.is_empty()).unwrap_or_default(),
        hashes: pairs(value, "checksums", "algorithm", "checksumValue"),
    }
}
