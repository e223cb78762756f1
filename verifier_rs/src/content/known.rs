//! Keys that anybody can sign with: samples and test keys whose private halves are published.
//!
//! `known_keys.tsv` holds fingerprints only, and where each key was published: repository, commit, path.

use std::collections::HashMap;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::content::anchors::Kind;
use crate::content::finding::{Found, Level};
use crate::content::scan::Scan;
use crate::error::Result;
use crate::source::{Source, hex};

const TABLE: &str = include_str!("known_keys.tsv");

/// One published key.
pub struct Known {
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fingerprint: [u8; 32],
    /// What MCUboot's KEYHASH entry holds: 32 bytes, or 48 for P-384.
    pub key_hash: Vec<u8>,
    /// The key without its wrapping (modulus, x‖y, or the 32 bytes): its first bytes, its length, its SHA-256.
    pub raw_start: [u8; 8],
    pub raw_length: usize,
    raw_digest: [u8; 32],
    pub algorithm: &'static str,
    pub name: &'static str,
    pub origin: &'static str,
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn row(line: &'static str) -> Option<Known> {
    let mut cells = line.split('\t');
    Some(Known {
        fingerprint: bytes(cells.next()?)?.try_into().ok()?,
        key_hash: bytes(cells.next()?)?,
        raw_start: bytes(cells.next()?)?.try_into().ok()?,
        raw_length: cells.next()?.parse().ok()?,
        raw_digest: bytes(cells.next()?)?.try_into().ok()?,
        algorithm: cells.next()?,
        name: cells.next()?,
        origin: cells.next()?,
    })
}

/// All of them, in the order of the file.
pub fn keys() -> &'static [Known] {
    static KEYS: OnceLock<Vec<Known>> = OnceLock::new();
    KEYS.get_or_init(|| TABLE.lines().skip(1).filter_map(row).collect())
}

fn index() -> &'static HashMap<Vec<u8>, &'static Known> {
    static INDEX: OnceLock<HashMap<Vec<u8>, &'static Known>> = OnceLock::new();
    INDEX.get_or_init(|| {
        keys()
            .iter()
            .flat_map(|key| [(key.fingerprint.to_vec(), key), (key.key_hash.clone(), key)])
            .collect()
    })
}

/// The published key with this fingerprint, if it is one.
pub fn by_fingerprint(fingerprint: &str) -> Option<&'static Known> {
    let digits = fingerprint.strip_prefix("sha256:").unwrap_or(fingerprint);
    index().get(&bytes(digits)?).copied()
}

/// What a key is published as, if anybody can sign with it. `fingerprint` is `sha256:…` of the
/// SubjectPublicKeyInfo, or the hexadecimal key hash of an MCUboot image.
pub fn is_test_key(fingerprint: &str) -> Option<&'static str> {
    by_fingerprint(fingerprint).map(|known| known.name)
}

/// Published keys, and their hashes, that stand in the image itself.
pub fn examine(source: &Source, scan: &Scan) -> Result<Vec<Found>> {
    let mut found: Vec<Found> = Vec::new();
    let mut named = Vec::new();
    for place in &scan.places {
        let (row, hashed) = match place.kind {
            Kind::Known(row) => (row, false),
            Kind::KnownHash(row) => (row, true),
            _ => continue,
        };
        let Some(known) = keys().get(row) else { continue };
        if named.contains(&(row, hashed)) {
            continue;
        }
        let length = if hashed {
            known.key_hash.len()
        } else {
            known.raw_length
        };
        let mut there = vec![0; length];
        if source.read_some(&mut there, place.offset)? != length {
            continue;
        }
        let same = if hashed {
            there == known.key_hash
        } else {
            Sha256::digest(&there).as_slice() == known.raw_digest
        };
        if same {
            named.push((row, hashed));
            let how = if hashed {
                "the hash of a published key"
            } else {
                "a published key"
            };
            let length = u64::try_from(length).unwrap_or(0);
            found.push(note(known, place.offset, length, how));
        }
    }
    Ok(found)
}

/// That a key found some way is a published one.
pub fn note(known: &Known, offset: u64, length: u64, how: &str) -> Found {
    let what = format!(
        "{how}: {}, {}; anybody can sign with it",
        known.name, known.algorithm
    );
    Found::new(Level::Fail, offset, length, what)
        .with("fingerprint", format!("sha256:{}", hex(&known.fingerprint)))
        .with("name", known.name)
        .with("origin", known.origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_read() {
        assert_eq!(keys().len(), TABLE.lines().count() - 1);
        assert!(keys().len() > 90);
        assert!(
            keys()
                .iter()
                .all(|key| [32, 48].contains(&key.key_hash.len()) && key.origin.contains('@'))
        );
    }

    #[test]
    fn a_key_is_known_by_either_of_its_names() {
        let rsa = keys()
            .iter()
            .find(|key| key.name.contains("root-rsa-2048.pem"))
            .unwrap();
        let name = "MCUboot sample key (root-rsa-2048.pem)";
        assert_eq!(
            is_test_key(&format!("sha256:{}", hex(&rsa.fingerprint))),
            Some(name)
        );
        assert_eq!(is_test_key(&hex(&rsa.key_hash)), Some(name));
        assert_eq!(is_test_key(&"00".repeat(32)), None);
        assert_eq!(is_test_key("sha256:no digest"), None);
    }
}
