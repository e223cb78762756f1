//! The byte strings that lead to everything this room looks for, found in one go.

use std::sync::OnceLock;

use crate::content::{credentials, known, magic, notable};
use crate::error::{Error, Result};

/// What a place may be; each kind is then looked at by its own reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `-----BEGIN `
    Pem,
    /// The magic of an unarmoured OpenSSH key.
    OpenSsh,
    /// The first line of a PuTTY key.
    Putty,
    /// The object identifier of a kind of key: PKCS#8, SubjectPublicKeyInfo.
    KeyOid,
    /// PKCS#1: version 0 and a long modulus.
    RsaPrivate,
    /// SEC1: version 1 and a scalar.
    EcPrivate,
    /// The version field of an X.509 v3 certificate.
    Certificate,
    /// The first bytes of a published key, or of its hash: a row of `known`.
    Known(usize),
    KnownHash(usize),
    /// A row of `credentials`, `notable`, `magic`.
    Credential(usize),
    Notable(usize),
    Magic(usize),
    Uswid,
    CycloneDx,
    Spdx,
    SbomSection,
}

impl Kind {
    /// Places are counted, and their number limited, by group: one kind in excess does not hide the others.
    pub fn group(self) -> usize {
        match self {
            Kind::Pem | Kind::OpenSsh | Kind::Putty => 0,
            Kind::KeyOid | Kind::RsaPrivate | Kind::EcPrivate => 1,
            Kind::Certificate => 2,
            Kind::Known(_) | Kind::KnownHash(_) => 3,
            Kind::Credential(_) => 4,
            Kind::Notable(_) => 5,
            Kind::Magic(_) => 6,
            Kind::Uswid | Kind::CycloneDx | Kind::Spdx | Kind::SbomSection => 7,
        }
    }
}

pub const GROUPS: usize = 8;

/// All anchors, and a filter that almost every position of a file is dismissed by.
///
/// The automaton of the aho-corasick crate for so many anchors does not fit the nearest cache: it was measured at
/// less than half of this speed. The filter is one bit for each 16-bit hash of four bytes (8 KiB).
pub struct Anchors {
    filter: Box<[u64; 1024]>,
    /// By the first four bytes, with the bit that tells upper from lower case set.
    all: Vec<(u32, Kind, Vec<u8>)>,
    /// The longest anchor: so far two pieces of a file must overlap.
    pub longest: usize,
}

/// No anchor is shorter.
const PREFIX: usize = 4;

fn folded(bytes: [u8; PREFIX]) -> u32 {
    u32::from_le_bytes(bytes) | 0x2020_2020
}

/// Multiplicative hashing: the upper half of the product depends on all four bytes.
fn slot(folded: u32) -> (usize, u32) {
    let [_, _, low, high] = folded.wrapping_mul(0x9e37_79b1).to_le_bytes();
    let hash = u16::from_le_bytes([low, high]);
    (usize::from(hash >> 6), u32::from(hash & 63))
}

impl Anchors {
    fn new(anchors: Vec<(Kind, Vec<u8>)>) -> Option<Self> {
        let mut filter = Box::new([0_u64; 1024]);
        let mut all = Vec::with_capacity(anchors.len());
        for (kind, bytes) in anchors {
            let prefix = folded(*bytes.first_chunk::<PREFIX>()?);
            let (word, bit) = slot(prefix);
            *filter.get_mut(word)? |= 1_u64.checked_shl(bit)?;
            all.push((prefix, kind, bytes));
        }
        all.sort_by_key(|(prefix, ..)| *prefix);
        let longest = all.iter().map(|(_, _, bytes)| bytes.len()).max()?;
        Some(Anchors { filter, all, longest })
    }

    /// Every place where an anchor begins, in order; words in any case, other bytes as they are.
    pub fn find(&self, data: &[u8], mut seen: impl FnMut(usize, Kind)) {
        for (at, window) in data.windows(PREFIX).enumerate() {
            let [a, b, c, d] = window else { continue };
            let prefix = folded([*a, *b, *c, *d]);
            let (word, bit) = slot(prefix);
            let word = self.filter.get(word).copied().unwrap_or(0);
            if word.wrapping_shr(bit) & 1 == 1 {
                self.confirm(prefix, data.get(at..).unwrap_or_default(), |kind| seen(at, kind));
            }
        }
    }

    #[cold]
    fn confirm(&self, prefix: u32, data: &[u8], mut seen: impl FnMut(Kind)) {
        let first = self.all.partition_point(|(other, ..)| *other < prefix);
        let same = self.all.get(first..).unwrap_or_default().iter();
        for (_, kind, bytes) in same.take_while(|(other, ..)| *other == prefix) {
            let Some(there) = data.get(..bytes.len()) else {
                continue;
            };
            let text = matches!(kind, Kind::Credential(_) | Kind::Notable(_));
            if there == bytes || (text && there.eq_ignore_ascii_case(bytes)) {
                seen(*kind);
            }
        }
    }
}

const OIDS: [&[u8]; 14] = [
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01",     // RSA
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a",     // RSASSA-PSS
    b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",             // EC
    b"\x06\x07\x2a\x86\x48\xce\x38\x04\x01",             // DSA
    b"\x06\x03\x2b\x65\x6e",                             // X25519
    b"\x06\x03\x2b\x65\x6f",                             // X448
    b"\x06\x03\x2b\x65\x70",                             // Ed25519
    b"\x06\x03\x2b\x65\x71",                             // Ed448
    b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x11",     // ML-DSA-44
    b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x12",     // ML-DSA-65
    b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x13",     // ML-DSA-87
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d",     // PBES2
    b"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03", // PKCS#12 3DES
    b"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x06", // PKCS#12 RC2
];

fn all() -> Vec<(Kind, Vec<u8>)> {
    let mut all: Vec<(Kind, Vec<u8>)> = vec![
        (Kind::Pem, b"-----BEGIN ".to_vec()),
        (Kind::OpenSsh, b"openssh-key-v1\0".to_vec()),
        (Kind::Putty, b"PuTTY-User-Key-File-".to_vec()),
        (Kind::RsaPrivate, b"\x02\x01\x00\x02\x82".to_vec()),
        (Kind::RsaPrivate, b"\x02\x01\x00\x02\x81".to_vec()),
        (Kind::EcPrivate, b"\x02\x01\x01\x04\x1c".to_vec()),
        (Kind::EcPrivate, b"\x02\x01\x01\x04\x20".to_vec()),
        (Kind::EcPrivate, b"\x02\x01\x01\x04\x30".to_vec()),
        (Kind::EcPrivate, b"\x02\x01\x01\x04\x42".to_vec()),
        (Kind::Certificate, b"\xa0\x03\x02\x01\x02\x02".to_vec()),
        (Kind::Uswid, crate::content::sbom::USWID_MAGIC.to_vec()),
        (Kind::CycloneDx, b"\"bomFormat\"".to_vec()),
        (Kind::Spdx, b"\"spdxVersion\"".to_vec()),
        (Kind::SbomSection, b".sbom\0\0\0".to_vec()),
    ];
    all.extend(OIDS.iter().map(|oid| (Kind::KeyOid, oid.to_vec())));
    for (row, key) in known::keys().iter().enumerate() {
        all.push((Kind::Known(row), key.raw_start.to_vec()));
        all.push((
            Kind::KnownHash(row),
            key.key_hash.get(..8).unwrap_or_default().to_vec(),
        ));
    }
    for (row, rule) in credentials::RULES.iter().enumerate() {
        all.extend(
            rule.anchors
                .iter()
                .map(|text| (Kind::Credential(row), text.as_bytes().to_vec())),
        );
    }
    for (row, rule) in notable::RULES.iter().enumerate() {
        all.extend(
            rule.anchors
                .iter()
                .map(|text| (Kind::Notable(row), text.as_bytes().to_vec())),
        );
    }
    for (row, rule) in magic::RULES.iter().enumerate() {
        all.extend(
            rule.anchors
                .iter()
                .map(|bytes| (Kind::Magic(row), bytes.to_vec())),
        );
    }
    all
}

/// Made once for the process: some microseconds.
pub fn anchors() -> Result<&'static Anchors> {
    static ANCHORS: OnceLock<Option<Anchors>> = OnceLock::new();
    ANCHORS
        .get_or_init(|| Anchors::new(all()))
        .as_ref()
        .ok_or_else(|| Error::Unreadable("an anchor of the content checks is too short".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_anchor_is_found_wherever_it_stands() {
        let anchors = anchors().unwrap();
        let mut noise = 1_u32;
        let mut data = Vec::new();
        let mut planted = Vec::new();
        for (_, kind, bytes) in &anchors.all {
            for _ in 0..7 {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                data.extend(noise.to_le_bytes());
            }
            data.truncate(data.len() - planted.len() % 4);
            planted.push((data.len(), *kind));
            data.extend(bytes);
        }
        let mut found = Vec::new();
        anchors.find(&data, |at, kind| found.push((at, kind)));
        for place in planted {
            assert!(found.contains(&place), "{place:?}");
        }
    }

    #[test]
    fn words_are_found_in_any_case_and_other_bytes_are_not() {
        let anchors = anchors().unwrap();
        let found = |data: &[u8]| {
            let mut found = Vec::new();
            anchors.find(data, |_, kind| found.push(kind));
            found
        };
        assert!(
            found(b"xPermitROOTlogin yes")
                .iter()
                .any(|kind| matches!(kind, Kind::Credential(_)))
        );
        assert!(found(b"xhsqs").iter().any(|kind| matches!(kind, Kind::Magic(_))));
        assert!(found(b"xHSQS").is_empty());
    }
}
