//! `manifest` and `manifest-augment`: lines of a SHA-256 and a name, as sha256sum writes them.

use std::collections::BTreeMap;

use crate::formats::archive::{MAX_MEMBERS, Names};
use crate::source::unhex;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub digests: BTreeMap<String, [u8; 32]>,
}

impl Manifest {
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
        let body = text.strip_suffix('\n').unwrap_or(text);
        let mut names = Names::default();
        let mut digests = BTreeMap::new();
        for (place, line) in body.split('\n').enumerate() {
            let number = place.saturating_add(1);
            let parts = line.split_once("  ");
            let digest = parts.and_then(|(digest, _)| {
                let lower = digest.bytes().all(|digit| !digit.is_ascii_uppercase());
                unhex(digest).ok().filter(|_| lower)
            });
            let (Some((_, name)), Some(digest)) = (parts, digest) else {
                return Err(format!(
                    "line {number}: expected 64 hexadecimal digits, two blanks and a name"
                ));
            };
            let name = names
                .add(name.as_bytes())
                .map_err(|why| format!("line {number}: {why}"))?;
            digests.insert(name, digest);
            if digests.len() > MAX_MEMBERS {
                return Err(format!("more than {MAX_MEMBERS} lines"));
            }
        }
        Ok(Manifest { digests })
    }
}
