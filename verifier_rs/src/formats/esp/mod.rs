//! Images of Espressif's chips (ESP32 and after it), as esp-idf's "App Image Format" and `esp_app_format.h` lay them
//! out: a header, segments, a checksum, a SHA-256; behind them the signature sector of Secure Boot v2.

mod blocks;
mod verify;

use crate::error::Result;
use crate::formats;
use crate::formats::fields::{bytes, le16, le32, text};
use crate::source::{Source, hex};

use blocks::Block;

const MAGIC: u8 = 0xe9;
const HEADER: usize = 24;
const HEADER_U64: u64 = 24;
const SEGMENT_HEADER: u64 = 8;
const MAX_SEGMENTS: u8 = 16;
/// What the loader takes for one segment.
const MAX_SEGMENT: u32 = 16 * 1024 * 1024;
const SECTOR: u64 = 4096;
const SHA256: u64 = 32;
/// A Secure Boot v1 signature: a version and r‖s on P-256.
const V1_SIGNATURE: u64 = 68;
const APP_MAGIC: u32 = 0xabcd_5432;
const APP_DESCRIPTOR: usize = 256;
const BOOTLOADER_MAGIC: u8 = 0x50;

const CHIPS: [(u16, &str); 14] = [
    (0, "ESP32"),
    (2, "ESP32-S2"),
    (5, "ESP32-C3"),
    (9, "ESP32-S3"),
    (12, "ESP32-C2"),
    (13, "ESP32-C6"),
    (16, "ESP32-H2"),
    (18, "ESP32-P4"),
    (20, "ESP32-C61"),
    (23, "ESP32-C5"),
    (25, "ESP32-H21"),
    (28, "ESP32-H4"),
    (31, "ESP32-E22"),
    (32, "ESP32-S31"),
];
const FLASH_MODES: [&str; 6] = ["QIO", "QOUT", "DIO", "DOUT", "fast read", "slow read"];

/// One segment: where it is loaded, and where its content lies in the file.
struct Segment {
    address: u32,
    from: u64,
    to: u64,
}

/// What the application's or the boot loader's descriptor says, by the names of the claims.
#[derive(Default)]
struct Descriptor {
    facts: Vec<(&'static str, String)>,
    security_counter: Option<u32>,
}

/// A well-formed image. Nothing in it is proven yet.
pub struct Image {
    chip: u16,
    entry_point: u32,
    flash_mode: u8,
    /// Lowest and highest revision of the chip, in hundredths.
    revisions: (u16, u16),
    segments: Vec<Segment>,
    checksum: u8,
    /// Where the checksum is, the last byte that the SHA-256 behind it covers.
    checked: u64,
    sha256: Option<[u8; 32]>,
    /// The end of what is signed, and the signatures over it.
    signed: u64,
    blocks: Vec<Block>,
    /// Bytes of erased flash behind an unsigned image.
    padding: u64,
    descriptor: Descriptor,
}

/// The first bytes of an image. One byte of magic is little: what the header keeps for later use must be empty too.
pub fn begins(start: &[u8]) -> bool {
    let Some([magic, segments, mode, ..]) = start.first_chunk::<HEADER>() else {
        return false;
    };
    *magic == MAGIC
        && (1..=MAX_SEGMENTS).contains(segments)
        && usize::from(*mode) < FLASH_MODES.len()
        && bytes(start, 19) == Some([0_u8; 4])
        && start.get(23).is_some_and(|appended| *appended <= 1)
        && le32(start, 28).is_some_and(|length| length <= MAX_SEGMENT)
}

/// Read the image in `source`, to be verified when its bytes are hashed.
pub fn parse(source: &Source) -> Result<formats::Parsed> {
    Ok(match image(source)? {
        Ok(image) => Ok(Box::new(verify::Esp::new(image))),
        Err(why) => Err(why),
    })
}

type Parsed<T> = std::result::Result<T, String>;

fn image(source: &Source) -> Result<Parsed<Image>> {
    let size = source.size();
    let mut start = [0; HEADER];
    if source.read_some(&mut start, 0)? < HEADER || start.first() != Some(&MAGIC) {
        return Ok(Err("the header is cut: expected 24 bytes".to_owned()));
    }
    let count = start.get(1).copied().unwrap_or_default();
    // 1. the segments lie in the file, one behind the other.
    let segments = match segments(source, count)? {
        Ok(segments) => segments,
        Err(why) => return Ok(Err(why)),
    };
    // 2. then the checksum, in the last of sixteen bytes, and the SHA-256 where the header says so.
    let end = segments.last().map_or(HEADER_U64, |segment| segment.to);
    let checked = end.saturating_add(16) & !15;
    let appended = start.get(23) == Some(&1);
    let whole = checked.saturating_add(if appended { SHA256 } else { 0 });
    if whole > size {
        return Ok(Err(format!(
            "the image is cut: with its checksum{} it has {whole} bytes, the file has {size}",
            if appended { " and SHA-256" } else { "" }
        )));
    }
    let sum = source.read_exact(checked.saturating_sub(1), 1)?;
    let sha256 = if appended {
        source.read_exact(checked, 32)?.first_chunk().copied()
    } else {
        None
    };
    // 3. behind it nothing, erased flash, or the signature sector where the boot loader looks for it.
    let (signed, blocks, padding) = match behind(source, whole)? {
        Ok(behind) => behind,
        Err(why) => return Ok(Err(why)),
    };
    let descriptor = match segments.first() {
        Some(first) => descriptor(source, first)?,
        None => Descriptor::default(),
    };
    Ok(Ok(Image {
        chip: le16(&start, 12).unwrap_or_default(),
        entry_point: le32(&start, 4).unwrap_or_default(),
        flash_mode: start.get(2).copied().unwrap_or_default(),
        revisions: (
            le16(&start, 15).unwrap_or_default(),
            le16(&start, 17).unwrap_or_default(),
        ),
        segments,
        checksum: sum.first().copied().unwrap_or_default(),
        checked,
        sha256,
        signed,
        blocks,
        padding,
        descriptor,
    }))
}

fn segments(source: &Source, count: u8) -> Result<Parsed<Vec<Segment>>> {
    let size = source.size();
    let mut segments: Vec<Segment> = Vec::new();
    let mut at = HEADER_U64;
    for number in 0..count {
        let mut head = [0; 8];
        if source.read_some(&mut head, at)? < head.len() {
            return Ok(Err(format!(
                "expected the header of segment {number} of {count} at offset {at}, found the end of the file"
            )));
        }
        let address = le32(&head, 0).unwrap_or_default();
        let length = le32(&head, 4).unwrap_or_default();
        let from = at.saturating_add(SEGMENT_HEADER);
        let to = from.saturating_add(u64::from(length));
        if length >= MAX_SEGMENT || !length.is_multiple_of(4) {
            return Ok(Err(format!(
                "segment {number} at offset {at} has {length} bytes; expected a multiple of 4 below 16 MiB"
            )));
        }
        if to > size {
            return Ok(Err(format!(
                "segment {number} at offset {at} is cut: it announces {length} bytes, the file ends at {size}"
            )));
        }
        if address.checked_add(length).is_none() {
            return Ok(Err(format!(
                "segment {number} runs over the end of 4 GiB: {length} bytes at address 0x{address:08x}"
            )));
        }
        // Padding is loaded to address 0, which is nowhere.
        let end = address.saturating_add(length);
        let twice = |other: &Segment| {
            let length = u32::try_from(other.to.saturating_sub(other.from)).unwrap_or(u32::MAX);
            other.address != 0 && other.address < end && address < other.address.saturating_add(length)
        };
        if address != 0 && segments.iter().any(twice) {
            return Ok(Err(format!(
                "segment {number} overlaps another one: {length} bytes at address 0x{address:08x}"
            )));
        }
        segments.push(Segment { address, from, to });
        at = to;
    }
    Ok(Ok(segments))
}

/// Where what is signed ends, the signatures, and how much erased flash follows an image without any.
type Behind = (u64, Vec<Block>, u64);

fn behind(source: &Source, whole: u64) -> Result<Parsed<Behind>> {
    let size = source.size();
    let rest = size.saturating_sub(whole);
    let padded = whole.next_multiple_of(SECTOR);
    if rest == V1_SIGNATURE && source.read_exact(whole, 4)? == [0; 4] {
        return Ok(Err(
            "it carries a Secure Boot v1 signature, which is not supported; sign it for Secure Boot v2, or give a \
             detached signature over the image without it"
                .to_owned(),
        ));
    }
    if let Some(sector) = size.checked_sub(SECTOR)
        && sector >= whole
    {
        let last = source.read_exact(sector, 4096)?;
        if blocks::begins(&last) {
            if sector != padded {
                return Ok(Err(format!(
                    "the signature sector is at offset {sector}; the boot loader looks for it at {padded}, where the \
                     image ends"
                )));
            }
            return Ok(blocks::parse(&last).map(|blocks| (sector, blocks, 0)));
        }
    }
    let mut at = whole;
    while at < size {
        let length = usize::try_from(size.saturating_sub(at))
            .unwrap_or(1 << 16)
            .min(1 << 16);
        let data = source.read_exact(at, length)?;
        if let Some(place) = data.iter().position(|byte| *byte != 0xff) {
            let place = at.saturating_add(u64::try_from(place).unwrap_or_default());
            return Ok(Err(format!(
                "{rest} bytes follow the image, which ends at offset {whole}; the byte at {place} is neither erased \
                 flash nor part of a signature sector at {padded}. Submit each image by itself"
            )));
        }
        at = at.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
    Ok(Ok((size, Vec::new(), rest)))
}

/// esp_app_desc_t or esp_bootloader_desc_t, which open the first segment.
fn descriptor(source: &Source, segment: &Segment) -> Result<Descriptor> {
    let length = usize::try_from(segment.to.saturating_sub(segment.from)).unwrap_or(APP_DESCRIPTOR);
    let read = source.read_exact(segment.from, length.min(APP_DESCRIPTOR))?;
    let fact = |name, at: usize, length: usize| {
        let field = read.get(at..at.saturating_add(length))?;
        let text = text(field).filter(|text| !text.is_empty())?;
        Some((name, text.to_owned()))
    };
    let mut found = Descriptor::default();
    if read.len() == APP_DESCRIPTOR && le32(&read, 0) == Some(APP_MAGIC) {
        let facts = [
            fact("version", 16, 32),
            fact("project", 48, 32),
            fact("build_date", 96, 16),
            fact("build_time", 80, 16),
            fact("idf_version", 112, 32),
            bytes::<32>(&read, 144).map(|digest| ("elf_sha256", hex(&digest))),
        ];
        found.facts = facts.into_iter().flatten().collect();
        found.security_counter = le32(&read, 4);
    } else if read.first() == Some(&BOOTLOADER_MAGIC) && read.get(8..10).is_some_and(is_version) {
        let number = le32(&read, 4).unwrap_or_default();
        let facts = [
            Some(("version", number.to_string())),
            Some(("project", "boot loader".to_owned())),
            fact("build_date", 40, 24),
            fact("idf_version", 8, 32),
        ];
        found.facts = facts.into_iter().flatten().collect();
    }
    Ok(found)
}

fn is_version(text: &[u8]) -> bool {
    matches!(text, [b'v', digit] if digit.is_ascii_digit())
}
