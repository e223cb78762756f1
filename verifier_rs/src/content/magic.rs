//! What is embedded: file systems, archives, boot images, by their own bytes, each confirmed beyond its first ones.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::content::anchors::Kind;
use crate::content::scan::Scan;
use crate::error::Result;
use crate::source::Source;

pub struct Rule {
    pub name: &'static str,
    pub anchors: &'static [&'static [u8]],
    /// Whether the bytes from the anchor on can be such a thing.
    confirm: fn(&[u8]) -> bool,
}

/// Members that are listed by offset; how many there are of each kind is said in any case.
const MAX_LISTED: usize = 256;
const HEAD: usize = 64;

pub const RULES: &[Rule] = &[
    Rule {
        name: "SquashFS",
        anchors: &[b"hsqs", b"sqsh"],
        confirm: |head| matches!(head.get(28..32), Some([4, 0, 0, 0] | [0, 4, 0, 0])),
    },
    Rule {
        name: "cpio archive",
        anchors: &[b"070701", b"070702", b"070707"],
        confirm: |head| {
            head.get(6..46)
                .is_some_and(|field| field.iter().all(u8::is_ascii_hexdigit))
        },
    },
    Rule {
        name: "gzip stream",
        anchors: &[b"\x1f\x8b\x08\x00", b"\x1f\x8b\x08\x08"],
        confirm: |head| matches!(head.get(8), Some(0 | 2 | 4)) && matches!(head.get(9), Some(0..=13 | 255)),
    },
    Rule {
        name: "XZ stream",
        anchors: &[b"\xfd7zXZ\x00"],
        confirm: |head| matches!(head.get(6..8), Some([0, 0 | 1 | 4 | 10])),
    },
    Rule {
        name: "LZMA stream",
        anchors: &[
            b"\x5d\x00\x00\x80\x00",
            b"\x5d\x00\x00\x00\x01",
            b"\x5d\x00\x00\x40\x00",
            b"\x5d\x00\x00\x00\x02",
            b"\x6d\x00\x00\x80\x00",
        ],
        confirm: |head| {
            little(head, 5, 8).is_some_and(|size| size == u64::MAX || (size > 0 && size < 1 << 31))
        },
    },
    Rule {
        name: "Zstandard frame",
        anchors: &[b"\x28\xb5\x2f\xfd"],
        confirm: |head| head.get(4).is_some_and(|flags| flags & 0x18 == 0),
    },
    Rule {
        name: "LZ4 frame",
        anchors: &[b"\x04\x22\x4d\x18"],
        confirm: |head| head.get(4).is_some_and(|flags| flags >> 6 == 1 && flags & 2 == 0),
    },
    Rule {
        name: "bzip2 stream",
        anchors: &[b"1AY&SY"],
        confirm: |_| true,
    },
    Rule {
        name: "ELF object",
        anchors: &[b"\x7fELF"],
        confirm: |head| matches!(head.get(4..7), Some([1 | 2, 1 | 2, 1])),
    },
    Rule {
        name: "device tree or FIT image",
        anchors: &[b"\xd0\x0d\xfe\xed"],
        confirm: |head| {
            big(head, 20).is_some_and(|version| (16..=17).contains(&version))
                && big(head, 4).is_some_and(|size| size >= 40)
        },
    },
    Rule {
        name: "U-Boot uImage",
        anchors: &[b"\x27\x05\x19\x56"],
        confirm: |head| {
            matches!(
                (head.get(28), head.get(29), head.get(30), head.get(31)),
                (Some(1..=40), Some(1..=40), Some(1..=50), Some(0..=10))
            )
        },
    },
    Rule {
        name: "UBI volume",
        anchors: &[b"UBI#\x01"],
        confirm: |_| true,
    },
    Rule {
        name: "UBIFS node",
        anchors: &[b"\x31\x18\x10\x06"],
        confirm: |head| matches!(head.get(20), Some(6)),
    },
    Rule {
        name: "cramfs",
        anchors: &[b"Compressed ROMFS"],
        confirm: |_| true,
    },
    Rule {
        name: "romfs",
        anchors: &[b"-rom1fs-"],
        confirm: |_| true,
    },
    Rule {
        name: "Android boot image",
        anchors: &[b"ANDROID!"],
        confirm: |_| true,
    },
    Rule {
        name: "Android sparse image",
        anchors: &[b"\x3a\xff\x26\xed\x01\x00"],
        confirm: |_| true,
    },
    Rule {
        name: "ZIP archive member",
        anchors: &[b"PK\x03\x04"],
        confirm: |head| matches!(head.get(4..6), Some([10..=63, 0])),
    },
    Rule {
        name: "tar archive member",
        anchors: &[b"ustar\x0000", b"ustar  \x00"],
        confirm: |_| true,
    },
    Rule {
        name: "PE executable",
        anchors: &[b"PE\x00\x00"],
        confirm: |head| {
            matches!(
                head.get(4..6),
                Some([0x4c, 1] | [0x64, 0x86] | [0x64, 0xaa] | [0xc4, 1] | [0xbc, 0x0e] | [0x64, 0x50])
            )
        },
    },
    Rule {
        name: "MCUboot image",
        anchors: &[b"\x3d\xb8\xf3\x96"],
        confirm: |head| little(head, 8, 2).is_some_and(|size| size >= 32),
    },
    Rule {
        name: "UEFI firmware volume",
        anchors: &[b"_FVH"],
        confirm: |_| true,
    },
    Rule {
        name: "Berkeley DB or SQLite database",
        anchors: &[b"SQLite format 3\x00"],
        confirm: |_| true,
    },
    Rule {
        name: "Java class or archive manifest",
        anchors: &[b"META-INF/MANIFEST.MF"],
        confirm: |_| true,
    },
    Rule {
        name: "RAR archive",
        anchors: &[b"Rar!\x1a\x07"],
        confirm: |_| true,
    },
    Rule {
        name: "7-Zip archive",
        anchors: &[b"7z\xbc\xaf\x27\x1c"],
        confirm: |_| true,
    },
];

fn little(head: &[u8], at: usize, length: usize) -> Option<u64> {
    let field = head.get(at..at.checked_add(length)?)?;
    Some(
        field
            .iter()
            .rev()
            .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte)),
    )
}

fn big(head: &[u8], at: usize) -> Option<u32> {
    head.get(at..)?
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

pub struct Members {
    /// Name and offset of the first ones.
    pub listed: Vec<Value>,
    /// How many of each kind.
    pub counts: BTreeMap<&'static str, u64>,
}

pub fn members(source: &Source, scan: &Scan) -> Result<Members> {
    let mut members = Members {
        listed: Vec::new(),
        counts: BTreeMap::new(),
    };
    for place in &scan.places {
        let Kind::Magic(row) = place.kind else { continue };
        let Some(rule) = RULES.get(row) else { continue };
        let mut head = [0; HEAD];
        let got = source.read_some(&mut head, place.offset)?;
        let head = head.get(..got).unwrap_or_default();
        if !(rule.confirm)(head) {
            continue;
        }
        let count = members.counts.entry(rule.name).or_insert(0);
        *count = count.saturating_add(1);
        if members.listed.len() < MAX_LISTED {
            members
                .listed
                .push(json!({"offset": place.offset, "what": rule.name}));
        }
    }
    Ok(members)
}
