//! coSWID (RFC 9393): CBOR maps with small integers as names, one after the other.

use ciborium::Value;

use crate::content::sbom::{Component, clean};
use crate::source::hex;

/// Nesting of a tag: entity, payload, directory, file, hash.
const MAX_DEPTH: usize = 16;
const MAX_TAGS: usize = 5_000;

const TAG_ID: i128 = 0;
const SOFTWARE_NAME: i128 = 1;
const ENTITY: i128 = 2;
const PAYLOAD: i128 = 6;
const HASH: i128 = 7;
const SOFTWARE_VERSION: i128 = 13;
const DIRECTORY: i128 = 16;
const FILE: i128 = 17;
const PATH_ELEMENTS: i128 = 26;
const ENTITY_NAME: i128 = 31;
const ROLE: i128 = 33;
const SOFTWARE_CREATOR: i128 = 2;
/// A COSE_Sign message around a tag, and the tag of coSWID itself.
const COSE_SIGN: u64 = 98;
const COSWID: u64 = 1_398_229_316;

pub fn read(mut data: &[u8]) -> Result<Vec<Component>, String> {
    let mut components = Vec::new();
    // A section is filled up with zeros.
    while data.iter().any(|byte| *byte != 0) {
        if components.len() >= MAX_TAGS {
            return Err(format!("expected at most {MAX_TAGS} coSWID tags, found more"));
        }
        let tag: Value = ciborium::de::from_reader_with_recursion_limit(&mut data, MAX_DEPTH)
            .map_err(|error| format!("it is no coSWID in CBOR: {}", clean(&error.to_string())))?;
        components.push(component(&map(tag, 0)?));
    }
    if components.is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(components)
}

/// The map inside its tags; a signature around it is not checked here.
fn map(value: Value, depth: usize) -> Result<Value, String> {
    let inner = match value {
        Value::Map(_) => return Ok(value),
        Value::Tag(COSWID, inner) => *inner,
        Value::Tag(COSE_SIGN, inner) => {
            let payload = inner.as_array().and_then(|parts| parts.get(2));
            let bytes = payload
                .and_then(Value::as_bytes)
                .ok_or("its signature holds no payload")?;
            ciborium::de::from_reader_with_recursion_limit(bytes.as_slice(), MAX_DEPTH)
                .map_err(|_| "its signed payload is no CBOR")?
        }
        _ => return Err("expected a coSWID map, found other CBOR".to_owned()),
    };
    if depth >= 3 {
        return Err("it is nested too deep".to_owned());
    }
    map(inner, depth.saturating_add(1))
}

fn get(map: &Value, key: i128) -> Option<&Value> {
    let is = |name: &Value| name.as_integer().is_some_and(|number| i128::from(number) == key);
    let (_, value) = map.as_map()?.iter().find(|(name, _)| is(name))?;
    Some(value)
}

/// One may stand for a list of one.
fn many(map: &Value, key: i128) -> &[Value] {
    match get(map, key) {
        Some(Value::Array(list)) => list,
        Some(one) => std::slice::from_ref(one),
        None => &[],
    }
}

fn text(map: &Value, key: i128) -> String {
    match get(map, key) {
        Some(Value::Text(text)) => clean(text),
        Some(Value::Bytes(bytes)) => hex(bytes.get(..64).unwrap_or(bytes)),
        _ => String::new(),
    }
}

fn component(tag: &Value) -> Component {
    let creator = |entity: &&Value| {
        let mut roles = many(entity, ROLE).iter().filter_map(Value::as_integer);
        roles.any(|role| i128::from(role) == SOFTWARE_CREATOR)
    };
    let entities = many(tag, ENTITY);
    let supplier = entities.iter().find(creator).or_else(|| entities.first());
    let mut hashes = Vec::new();
    for payload in many(tag, PAYLOAD) {
        let nested = many(payload, DIRECTORY)
            .iter()
            .flat_map(|folder| many(folder, PATH_ELEMENTS));
        for holder in std::iter::once(payload).chain(nested) {
            for file in many(holder, FILE) {
                hashes.extend(get(file, HASH).map(digests).unwrap_or_default());
            }
        }
    }
    hashes.truncate(16);
    Component {
        name: text(tag, SOFTWARE_NAME),
        version: text(tag, SOFTWARE_VERSION),
        supplier: supplier
            .map(|entity| text(entity, ENTITY_NAME))
            .unwrap_or_default(),
        identifier: text(tag, TAG_ID),
        hashes,
    }
}

/// One pair of algorithm and digest, or a list of them.
fn digests(value: &Value) -> Vec<(String, String)> {
    let pair = |value: &Value| {
        let [Value::Integer(algorithm), Value::Bytes(digest)] = value.as_array()?.as_slice() else {
            return None;
        };
        let name = match i128::from(*algorithm) {
            1 => "SHA-256".to_owned(),
            7 => "SHA-384".to_owned(),
            8 => "SHA-512".to_owned(),
            other => format!("algorithm {other}"),
        };
        Some((name, hex(digest.get(..64).unwrap_or(digest))))
    };
    match (pair(value), value.as_array()) {
        (Some(one), _) => vec![one],
        (None, Some(list)) => list.iter().filter_map(pair).collect(),
        (None, None) => Vec::new(),
    }
}
