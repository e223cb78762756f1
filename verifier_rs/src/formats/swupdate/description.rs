//! sw-description: what a package installs, as swupdate's doc/source/sw-description.rst describes it.

use serde_json::{Map, Value};

use crate::formats::swupdate::libconfig;
use crate::json::Checked;
use crate::source::unhex;

const MAX_ENTRIES: usize = 4096;
const MAX_DEPTH: usize = 32;

/// One thing to install. A member may be named by several, for one of several places each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands in the description: "stable.copy1.images".
    pub section: String,
    pub filename: String,
    /// Of the member as it is stored: compressed or encrypted as it may be.
    pub sha256: Option<[u8; 32]>,
    pub version: Option<String>,
    /// Where it goes: a device, a path or a volume.
    pub target: Option<String>,
    pub kind: Option<String>,
    pub compressed: Option<String>,
    pub encrypted: bool,
}

#[derive(Debug, Default)]
pub struct Description {
    pub version: Option<String>,
    pub description: Option<String>,
    /// Hardware revisions that it is for; of all boards, if it names several.
    pub hardware: Vec<String>,
    pub entries: Vec<Entry>,
    /// It carries a program of its own (embedded-script).
    pub script: bool,
}

/// Read the text, which is libconfig or JSON.
pub fn parse(bytes: &[u8]) -> Result<Description, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        "sw-description is not text; if it is encrypted, submit the package before encryption".to_owned()
    })?;
    let root = if text.trim_start().starts_with('{') {
        let _: Checked = serde_json::from_str(text).map_err(|error| format!("sw-description: {error}"))?;
        serde_json::from_str(text).map_err(|error| format!("sw-description: {error}"))?
    } else {
        libconfig::parse(text).map_err(|why| format!("sw-description, {why}"))?
    };
    let Some(Value::Object(software)) = root.get("software") else {
        return Err("sw-description has no group \"software\"".to_owned());
    };
    let mut description = Description {
        version: text_of(software, "version"),
        description: text_of(software, "description"),
        ..Description::default()
    };
    group(software, "", 0, &mut description)?;
    description.hardware.sort();
    description.hardware.dedup();
    Ok(description)
}

fn text_of(group: &Map<String, Value>, name: &str) -> Option<String> {
    match group.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn group(
    group: &Map<String, Value>,
    section: &str,
    depth: usize,
    into: &mut Description,
) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!(
            "sw-description: more than {MAX_DEPTH} groups inside each other"
        ));
    }
    if let Some(filename) = group.get("filename") {
        into.entries.push(entry(group, filename, section)?);
        if into.entries.len() > MAX_ENTRIES {
            return Err(format!("sw-description: more than {MAX_ENTRIES} entries"));
        }
    }
    into.script |= group.contains_key("embedded-script");
    for (name, value) in group {
        match (name.as_str(), value) {
            ("hardware-compatibility", Value::Array(revisions)) => {
                let revisions = revisions.iter().filter_map(Value::as_str);
                into.hardware.extend(revisions.map(str::to_owned));
            }
            // What stands there is a handler's own.
            ("properties", _) => {}
            _ => {
                let below = if section.is_empty() {
                    name.clone()
                } else {
                    format!("{section}.{name}")
                };
                values(value, &below, depth, into)?;
            }
        }
    }
    Ok(())
}

fn values(value: &Value, section: &str, depth: usize, into: &mut Description) -> Result<(), String> {
    let below = depth.saturating_add(1);
    match value {
        Value::Object(members) => group(members, section, below, into),
        Value::Array(elements) if below <= MAX_DEPTH => elements
            .iter()
            .try_for_each(|element| values(element, section, below, into)),
        _ => Ok(()),
    }
}

fn entry(group: &Map<String, Value>, filename: &Value, section: &str) -> Result<Entry, String> {
    let Value::String(filename) = filename else {
        return Err(format!("sw-description, {section}: a filename is not a string"));
    };
    let sha256 = match group.get("sha256") {
        None => None,
        Some(value) => {
            let digest = value.as_str().and_then(|text| unhex(text).ok());
            Some(digest.ok_or_else(|| {
                format!("sw-description, {section}: the sha256 of {filename:?} is not 64 hexadecimal digits: {value}")
            })?)
        }
    };
    let compressed = match group.get("compressed") {
        // Before there was a choice, `true` meant zlib.
        Some(Value::Bool(true)) => Some("zlib".to_owned()),
        Some(Value::String(name)) => Some(name.clone()),
        _ => None,
    };
    let first = |names: &[&str]| names.iter().find_map(|name| text_of(group, name));
    Ok(Entry {
        section: section.to_owned(),
        filename: filename.clone(),
        sha256,
        version: text_of(group, "version"),
        target: first(&["path", "device", "volume", "partition"]),
        kind: text_of(group, "type"),
        compressed,
        encrypted: matches!(group.get("encrypted"), Some(Value::Bool(true) | Value::String(_))),
    })
}
