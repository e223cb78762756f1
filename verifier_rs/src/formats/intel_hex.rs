//! Intel HEX (Intel, Hexadecimal Object File Format Specification, revision A, 1988), all six record types.

use serde_json::{Map, json};

use crate::error::Result;
use crate::formats::addresses::Collector;
use crate::formats::hex_lines::{HexLines, MAX_RECORD, each_record, spelled};
use crate::formats::loaded::Loaded;
use crate::formats::{Format, Parsed};
use crate::source::Source;

const TOP: u64 = 1 << 32;

/// A first line that is a record, whether or not its checksum holds.
pub fn matches(start: &[u8]) -> bool {
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut room = [0; MAX_RECORD];
    line.strip_prefix(b":")
        .and_then(|digits| spelled(digits, &mut room))
        .and_then(|(bytes, _)| bytes.split_first())
        .is_some_and(|(count, rest)| rest.len() == usize::from(*count).saturating_add(4))
}

/// Which addresses the records that follow count from.
#[derive(Clone, Copy)]
enum Base {
    Linear(u64),
    /// Of 64 KiB; addresses inside it do not leave it.
    Segment(u64),
}

#[derive(Default)]
struct Reading {
    collector: Collector,
    base: Option<Base>,
    entry: Option<u64>,
    ended: bool,
    records: u64,
}

pub fn parse(source: &Source) -> Result<Parsed> {
    let mut reading = Reading::default();
    if let Err(why) = each_record(source, &mut |text, at| reading.record(text, at))? {
        return Ok(Err(why));
    }
    if !reading.ended {
        return Ok(Err(
            "the last record is no end-of-file record (:00000001FF): the file is cut".to_owned(),
        ));
    }
    let mut claims = Map::new();
    claims.insert("records".to_owned(), json!(reading.records));
    claims.insert("entry_point".to_owned(), json!(reading.entry));
    Ok(Loaded::parsed(Format::IntelHex, reading.collector, walk, claims))
}

impl Reading {
    fn record(&mut self, text: &[u8], at: u64) -> std::result::Result<(), String> {
        // 1. it is a record, whole and undamaged, and none comes after the end.
        if self.ended {
            return Err("something follows the end-of-file record".to_owned());
        }
        let mut room = [0; MAX_RECORD];
        let digits = text
            .strip_prefix(b":")
            .ok_or("a record begins with a colon, this does not")?;
        let (bytes, sum) =
            spelled(digits, &mut room).ok_or("expected pairs of hexadecimal digits after the colon")?;
        let [count, high, low, kind, rest @ ..] = bytes else {
            return Err(format!("a record has at least 5 bytes, this has {}", bytes.len()));
        };
        if rest.len() != usize::from(*count).saturating_add(1) {
            return Err(format!(
                "the record announces {count} bytes of content and has {}",
                rest.len().saturating_sub(1)
            ));
        }
        if sum != 0 {
            return Err(format!(
                "the checksum is wrong: all bytes add up to 0x{sum:02x}, not 0"
            ));
        }
        let data = rest.get(..usize::from(*count)).unwrap_or_default();
        let offset = u64::from(u16::from_be_bytes([*high, *low]));
        self.records = self.records.saturating_add(1);
        // 2. what it says.
        let plain = |expected: usize| {
            if offset == 0 && data.len() == expected {
                Ok(())
            } else {
                Err(format!(
                    "a record of type 0x{kind:02x} has address 0 and {expected} bytes of content, this has address \
                     0x{offset:04x} and {} bytes",
                    data.len()
                ))
            }
        };
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        match kind {
            0 => self.data(offset, data, at)?,
            1 => {
                plain(0)?;
                self.ended = true;
            }
            2 => {
                plain(2)?;
                self.base = Some(Base::Segment(number(data) << 4));
            }
            4 => {
                plain(2)?;
                self.base = Some(Base::Linear(number(data) << 16));
            }
            3 | 5 => {
                plain(4)?;
                let entry = match (kind, data.split_at_checked(2)) {
                    // CS:IP
                    (3, Some((segment, pointer))) => (number(segment) << 4).saturating_add(number(pointer)),
                    _ => number(data),
                };
                if self.entry.replace(entry).is_some() {
                    return Err("a second start address".to_owned());
                }
            }
            other => return Err(format!("record type 0x{other:02x} does not exist")),
        }
        Ok(())
    }

    fn data(&mut self, offset: u64, data: &[u8], at: u64) -> std::result::Result<(), String> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let end = offset.saturating_add(length);
        let base = match self.base.unwrap_or(Base::Linear(0)) {
            Base::Segment(_) if end > 0x1_0000 => {
                return Err(format!(
                    "{length} bytes at address 0x{offset:04x} run over the end of their 64 KiB segment"
                ));
            }
            Base::Segment(base) => base,
            Base::Linear(base) if base.saturating_add(end) > TOP => {
                return Err(format!(
                    "{length} bytes at address 0x{:08x} run over the end of the 4 GiB that addresses reach",
                    base.saturating_add(offset)
                ));
            }
            Base::Linear(base) => base,
        };
        self.collector.add(base.saturating_add(offset), length, at)
    }
}

/// The content of each data record from `at` on, of a file that was read before.
fn walk(source: &Source, at: u64, each: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
    let mut lines = HexLines::from(source, at);
    let mut room = [0; MAX_RECORD];
    while let Some((_, text)) = lines.next()? {
        let digits = text.and_then(|text| text.strip_prefix(b":")).unwrap_or_default();
        if let Some(([_, _, _, 0, rest @ ..], _)) = spelled(digits, &mut room)
            && let Some((_, data)) = rest.split_last()
            && !each(data)
        {
            break;
        }
    }
    Ok(())
}
