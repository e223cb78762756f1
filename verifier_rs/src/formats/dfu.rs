//! Files for USB Device Firmware Upgrade: the suffix of DFU 1.1 (appendix B) behind any content, and DfuSe of ST
//! (UM0391), whose content says at which addresses it belongs.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::formats::addresses::{Collector, plain};
use crate::formats::fields::{bytes, le16, le32, text};
use crate::formats::loaded::Loaded;
use crate::formats::{Format, Parsed};
use crate::source::{Source, hex};

const SUFFIX: u64 = 16;
const SIGNATURE: [u8; 4] = *b"UFD\x10";
const ST: &[u8; 5] = b"DfuSe";
const PREFIX: u64 = 11;
const TARGET: u64 = 274;
const ELEMENT: u64 = 8;
const MAX_ELEMENTS: u32 = 1024;
const CHUNK: u64 = 64 * 1024;
const DFU: u16 = 0x0100;
const DFUSE: u16 = 0x011a;

/// By its first bytes or by its last.
pub fn begins(source: &Source, start: &[u8]) -> Result<bool> {
    if start.starts_with(ST) {
        return Ok(true);
    }
    let mut tail = [0; 16];
    let got = source.read_some(&mut tail, source.size().saturating_sub(SUFFIX))?;
    Ok(got == tail.len() && source.size() > SUFFIX && bytes(&tail, 8) == Some(SIGNATURE))
}

pub fn parse(source: &Source) -> Result<Parsed> {
    let Some(end) = source.size().checked_sub(SUFFIX) else {
        return Ok(Err("it is cut: expected a suffix of 16 bytes".to_owned()));
    };
    let suffix = source.read_exact(end, 16)?;
    if bytes(&suffix, 8) != Some(SIGNATURE) {
        return Ok(Err(
            "expected the suffix \"UFD\" in the last 16 bytes: the file is cut".to_owned(),
        ));
    }
    // 1. the CRC over everything before it.
    let recorded = le32(&suffix, 12).unwrap_or_default();
    let computed = crc(source)?;
    if recorded != computed {
        return Ok(Err(format!(
            "the CRC is 0x{computed:08x}, the suffix records 0x{recorded:08x}"
        )));
    }
    let id = |at: usize| match le16(&suffix, at) {
        Some(0xffff) | None => "any".to_owned(),
        Some(id) => format!("0x{id:04x}"),
    };
    let kind = le16(&suffix, 6).unwrap_or_default();
    let mut claims = Map::new();
    claims.insert("vendor_id".to_owned(), json!(id(4)));
    claims.insert("product_id".to_owned(), json!(id(2)));
    claims.insert("device_version".to_owned(), json!(id(0)));
    claims.insert(
        "dfu_version".to_owned(),
        json!(format!("{}.{:02x}", kind >> 8, kind & 0xff)),
    );
    // 2. what is before the suffix: elements with addresses, or content that only the device knows how to take.
    let mut collector = Collector::default();
    let mut start = [0; 5];
    source.read_some(&mut start, 0)?;
    let read = match (kind, start == *ST) {
        (DFUSE, true) => targets(source, end, &mut collector)?.map(|targets| {
            claims.insert("targets".to_owned(), targets.into());
        }),
        (DFU, false) => collector.apart(0, end, 0),
        _ => Err(format!(
            "its suffix says DFU version {}.{:02x}, which does not fit its begin; expected 1.00, or 1.1a for DfuSe",
            kind >> 8,
            kind & 0xff
        )),
    };
    Ok(match read {
        Ok(()) => Loaded::parsed(Format::Dfu, collector, plain, claims),
        Err(why) => Err(why),
    })
}

/// CRC-32 of all but its own four bytes, not inverted at its end as others are.
fn crc(source: &Source) -> Result<u32> {
    let mut state = crc32fast::Hasher::new();
    let end = source.size().saturating_sub(4);
    let mut at = 0;
    while at < end {
        let length = end.saturating_sub(at).min(CHUNK);
        state.update(&source.read_exact(at, usize::try_from(length).unwrap_or_default())?);
        at = at.saturating_add(length);
    }
    Ok(!state.finalize())
}

type Read<T> = Result<std::result::Result<T, String>>;

/// The targets of a DfuSe file, each with its elements; they fill it up to `end`.
fn targets(source: &Source, end: u64, collector: &mut Collector) -> Read<Vec<Value>> {
    if end < PREFIX {
        return Ok(Err("the prefix is cut".to_owned()));
    }
    let prefix = source.read_exact(0, 11)?;
    let (version, count) = (
        prefix.get(5).copied(),
        prefix.get(10).copied().unwrap_or_default(),
    );
    let size = u64::from(le32(&prefix, 6).unwrap_or_default());
    if version != Some(1) || size != end {
        return Ok(Err(format!(
            "the prefix has version {} and announces {size} bytes; expected version 1 and {end} bytes",
            version.unwrap_or_default()
        )));
    }
    let mut rows = Vec::new();
    let mut at = PREFIX;
    let mut total = 0_u32;
    for number in 0..count {
        let wrong = |what: String| Ok(Err(format!("target {number} at offset {at}: {what}")));
        let first = at.saturating_add(TARGET);
        if first > end {
            return wrong("its prefix is cut".to_owned());
        }
        let head = source.read_exact(at, 274)?;
        let length = u64::from(le32(&head, 266).unwrap_or_default());
        let elements = le32(&head, 270).unwrap_or_default();
        let last = first.saturating_add(length);
        total = total.saturating_add(elements);
        if !head.starts_with(b"Target") {
            return wrong(format!(
                "expected \"Target\", found {}",
                hex(head.get(..6).unwrap_or_default())
            ));
        }
        if last > end || total > MAX_ELEMENTS {
            return wrong(format!(
                "{length} bytes in {elements} element(s) are more than the file or the limit ({MAX_ELEMENTS}) has"
            ));
        }
        let mut next = first;
        for _ in 0..elements {
            next = match element(source, next, last, collector)? {
                Ok(next) => next,
                Err(why) => return wrong(why),
            };
        }
        if next != last {
            return wrong(format!("its elements end at offset {next}, it ends at {last}"));
        }
        let named = le32(&head, 7).is_some_and(|named| named != 0);
        let name = head.get(11..266).and_then(text).filter(|_| named);
        rows.push(json!({
            "name": name, "alternate_setting": head.get(6), "elements": elements, "bytes": length,
        }));
        at = last;
    }
    if at != end {
        return Ok(Err(format!(
            "something stands between the last target, which ends at offset {at}, and the suffix at {end}"
        )));
    }
    Ok(Ok(rows))
}

fn element(source: &Source, at: u64, last: u64, collector: &mut Collector) -> Read<u64> {
    let from = at.saturating_add(ELEMENT);
    if from > last {
        return Ok(Err(format!("the element at offset {at} is cut")));
    }
    let head = source.read_exact(at, 8)?;
    let address = u64::from(le32(&head, 0).unwrap_or_default());
    let length = u64::from(le32(&head, 4).unwrap_or_default());
    let to = from.saturating_add(length);
    if to > last {
        return Ok(Err(format!(
            "the element at offset {at} announces {length} bytes, its target ends at {last}"
        )));
    }
    if address.saturating_add(length) > 1 << 32 {
        return Ok(Err(format!(
            "{length} bytes at address 0x{address:08x} run over the end of 4 GiB"
        )));
    }
    Ok(collector.apart(address, length, from).map(|()| to))
}
