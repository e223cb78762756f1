//! What `header.tar.gz` says: the artifact's name, the devices it is for, what it needs and gives, its payloads.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::json::Checked;

/// The header, as far as it means something to a reader.
#[derive(Debug, Default)]
pub struct Header {
    pub name: Option<String>,
    pub group: Option<String>,
    /// Device types.
    pub compatible: Vec<String>,
    pub depends: Map<String, Value>,
    /// Of the artifact and of all payloads.
    pub provides: Map<String, Value>,
    pub payloads: Vec<Payload>,
    pub scripts: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Payload {
    pub kind: Option<String>,
    pub depends: Map<String, Value>,
    pub provides: Map<String, Value>,
}

/// The members of a header whose content is read.
pub fn read_content(name: &str) -> bool {
    name == "header-info" || name.ends_with("/type-info")
}

fn object(content: &[u8], name: &str) -> Result<Map<String, Value>, String> {
    let wrong = |error: serde_json::Error| format!("{name}: {error}");
    let _: Checked = serde_json::from_slice(content).map_err(wrong)?;
    serde_json::from_slice(content).map_err(wrong)
}

fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    object.get(name)?.as_str().map(str::to_owned)
}

fn group(object: &Map<String, Value>, name: &str) -> Map<String, Value> {
    object
        .get(name)
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

impl Header {
    /// Read the members of a header that belongs to `payloads` payloads.
    pub fn parse(members: &BTreeMap<String, Option<Vec<u8>>>, payloads: usize) -> Result<Self, String> {
        let content = |name: &str| members.get(name)?.as_deref();
        let info = content("header-info").ok_or("it has no header-info")?;
        let info = object(info, "header-info")?;
        let listed = info.get("payloads").and_then(Value::as_array);
        let listed = listed.ok_or("header-info: it lists no payloads")?;
        if listed.len() != payloads {
            return Err(format!(
                "header-info lists {} payload(s), the artifact has {payloads}",
                listed.len()
            ));
        }
        let provides = group(&info, "artifact_provides");
        let mut depends = group(&info, "artifact_depends");
        let devices = depends.remove("device_type").unwrap_or_default();
        let devices = devices.as_array().into_iter().flatten();
        let mut header = Header {
            name: text(&provides, "artifact_name"),
            group: text(&provides, "artifact_group"),
            compatible: devices.filter_map(Value::as_str).map(str::to_owned).collect(),
            depends,
            provides,
            payloads: Vec::new(),
            scripts: Vec::new(),
        };
        for (place, payload) in listed.iter().enumerate() {
            let name = format!("headers/{place:04}/type-info");
            let info = content(&name).ok_or_else(|| format!("it has no {name}"))?;
            let info = object(info, &name)?;
            let payload = Payload {
                kind: payload.get("type").and_then(Value::as_str).map(str::to_owned),
                depends: group(&info, "artifact_depends"),
                provides: group(&info, "artifact_provides"),
            };
            header.provides.extend(payload.provides.clone());
            header.payloads.push(payload);
        }
        for name in members.keys() {
            if let Some(script) = name.strip_prefix("scripts/") {
                header.scripts.push(script.to_owned());
            } else if name != "header-info" && !of_payload(name, payloads) {
                return Err(format!("the member {name:?}, which a header does not have"));
            }
        }
        Ok(header)
    }

    /// The release that a device reports after the update: the one version among what it provides.
    pub fn version(&self) -> Option<&str> {
        let mut versions = self
            .provides
            .iter()
            .filter(|(name, _)| name.ends_with(".version"));
        match (versions.next(), versions.next()) {
            (Some((_, version)), None) => version.as_str(),
            _ => None,
        }
    }
}

/// "headers/0000/type-info" and "headers/0000/meta-data", of one of the payloads.
fn of_payload(name: &str, payloads: usize) -> bool {
    let mut parts = name.split('/');
    let (folder, number, file) = (parts.next(), parts.next(), parts.next());
    folder == Some("headers")
        && number.is_some_and(|number| (0..payloads).any(|place| format!("{place:04}") == number))
        && matches!(file, Some("type-info" | "meta-data"))
        && parts.next().is_none()
}
