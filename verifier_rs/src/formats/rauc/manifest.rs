//! RAUC's manifest: groups and keys as rauc's docs/reference.rst ("Manifest") and GLib's key files give them.

use std::collections::BTreeMap;

const MAX_LINES: usize = 10_000;

type Group = BTreeMap<String, String>;

/// An image that the bundle installs.
#[derive(Debug, PartialEq, Eq)]
pub struct Image {
    pub slot: String,
    pub filename: Option<String>,
    pub sha256: Option<String>,
    pub size: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Manifest {
    groups: BTreeMap<String, Group>,
}

impl Manifest {
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut manifest = Manifest::default();
        let mut present: Option<String> = None;
        for (place, line) in text.split('\n').enumerate() {
            let bad = |why: &str| format!("line {}: {why}", place.saturating_add(1));
            if place >= MAX_LINES {
                return Err(format!("more than {MAX_LINES} lines"));
            }
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.chars().any(char::is_control) {
                return Err(bad("a control character"));
            }
            if let Some(name) = line.strip_prefix('[') {
                let name = name.strip_suffix(']').ok_or_else(|| bad("a group without ]"))?;
                if manifest.groups.insert(name.to_owned(), Group::new()).is_some() {
                    return Err(bad(&format!("the group [{name}] appears twice")));
                }
                present = Some(name.to_owned());
                continue;
            }
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| bad("neither [group] nor key=value"))?;
            let key = key.trim_end();
            let group = present.as_ref().and_then(|name| manifest.groups.get_mut(name));
            let group = group.ok_or_else(|| bad("a key before the first group"))?;
            if group
                .insert(key.to_owned(), value.trim_start().to_owned())
                .is_some()
            {
                return Err(bad(&format!("the key {key:?} appears twice")));
            }
        }
        Ok(manifest)
    }

    pub fn get(&self, group: &str, key: &str) -> Option<&str> {
        self.groups.get(group)?.get(key).map(String::as_str)
    }

    pub fn images(&self) -> Vec<Image> {
        let groups = self.groups.iter();
        groups
            .filter_map(|(name, group)| {
                let text = |key: &str| group.get(key).cloned();
                Some(Image {
                    slot: name.strip_prefix("image.")?.to_owned(),
                    filename: text("filename"),
                    sha256: text("sha256"),
                    size: text("size").and_then(|size| size.parse().ok()),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_and_what_is_refused() {
        let manifest =
            Manifest::parse(b"# note\n[update]\ncompatible = A B\n\n[image.root]\nsize=5\n").unwrap();
        assert_eq!(manifest.get("update", "compatible"), Some("A B"));
        assert_eq!(manifest.images()[0].size, Some(5));
        for (text, words) in [
            (&b"a=1"[..], "before the first group"),
            (b"[a]\nb=1\nb=2", "\"b\" appears twice"),
            (b"[a]\n[a]", "[a] appears twice"),
            (b"[a\n", "without ]"),
            (b"[a]\nb", "neither"),
            (b"[a]\nb=\x00", "control"),
            (b"\xff", "UTF-8"),
        ] {
            let why = Manifest::parse(text).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }
}
