//! Motorola S-records (as in the srec manual page of SRecord): S0 to S9, of which S4 is reserved.

use serde_json::{Map, json};

use crate::error::Result;
use crate::formats::addresses::Collector;
use crate::formats::hex_lines::{HexLines, MAX_RECORD, each_record, spelled};
use crate::formats::loaded::Loaded;
use crate::formats::{Format, Parsed};
use crate::source::Source;

/// A first line that is a record, whether or not its checksum holds.
pub fn matches(start: &[u8]) -> bool {
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut room = [0; MAX_RECORD];
    let Some((b"S", [kind, digits @ ..])) = line.split_at_checked(1) else {
        return false;
    };
    kind.is_ascii_digit()
        && spelled(digits, &mut room)
            .and_then(|(bytes, _)| bytes.split_first())
            .is_some_and(|(count, rest)| *count >= 3 && rest.len() == usize::from(*count))
}

#[derive(Default)]
struct Reading {
    collector: Collector,
    header: Option<String>,
    /// S1, S2 and S3 records so far; the S5 or S6 record counts them.
    data_records: u64,
    counted: bool,
    entry: Option<u64>,
    ended: bool,
    any: bool,
}

pub fn parse(source: &Source) -> Result<Parsed> {
    let mut reading = Reading::default();
    if let Err(why) = each_record(source, &mut |text, at| reading.record(text, at))? {
        return Ok(Err(why));
    }
    if !reading.ended && !reading.counted {
        return Ok(Err(
            "it ends without a count (S5, S6) and without an end record (S7, S8, S9): the file is cut"
                .to_owned(),
        ));
    }
    let mut claims = Map::new();
    claims.insert("header".to_owned(), json!(reading.header));
    claims.insert("records".to_owned(), json!(reading.data_records));
    claims.insert("entry_point".to_owned(), json!(reading.entry));
    Ok(Loaded::parsed(Format::Srec, reading.collector, walk, claims))
}

/// How many bytes of address a record of this type has.
fn address_length(kind: u8) -> Option<usize> {
    match kind {
        b'0' | b'1' | b'5' | b'9' => Some(2),
        b'2' | b'6' | b'8' => Some(3),
        b'3' | b'7' => Some(4),
        _ => None,
    }
}

/// Address and content of a record without its mark; its sum is checked by who reads it first.
fn parts(kind: u8, bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (_, rest) = bytes.split_first()?;
    let (address, rest) = rest.split_at_checked(address_length(kind)?)?;
    let (_, data) = rest.split_last()?;
    let address = address
        .iter()
        .fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    Some((address, data))
}

impl Reading {
    fn record(&mut self, text: &[u8], at: u64) -> std::result::Result<(), String> {
        // 1. it is a record, whole and undamaged, and none comes after the end.
        if self.ended {
            return Err("something follows the end record".to_owned());
        }
        let [b'S', kind, digits @ ..] = text else {
            return Err("a record begins with S and a digit, this does not".to_owned());
        };
        let name = char::from(*kind);
        let wanted = address_length(*kind).ok_or_else(|| format!("record type S{name} does not exist"))?;
        let mut room = [0; MAX_RECORD];
        let (bytes, sum) =
            spelled(digits, &mut room).ok_or("expected pairs of hexadecimal digits after the type")?;
        let (count, rest) = bytes.split_first().ok_or("the record is empty")?;
        if rest.len() != usize::from(*count) {
            return Err(format!(
                "the record announces {count} bytes and has {}",
                rest.len()
            ));
        }
        let (address, data) = parts(*kind, bytes)
            .ok_or_else(|| format!("an S{name} record has {wanted} bytes of address and a checksum"))?;
        if sum != 0xff {
            return Err(format!(
                "the checksum is wrong: all bytes add up to 0x{sum:02x}, not 0xff"
            ));
        }
        let first = !std::mem::replace(&mut self.any, true);
        // 2. what it says.
        match kind {
            b'0' if !first => return Err("an S0 record is the first record, this is not".to_owned()),
            b'0' => self.header = Some(String::from_utf8_lossy(data).trim_matches(['\0', ' ']).to_owned()),
            b'1'..=b'3' if self.counted => {
                return Err(format!("an S{name} record follows the record that counts them"));
            }
            b'1'..=b'3' => {
                let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                let top = match kind {
                    b'1' => 1 << 16,
                    b'2' => 1 << 24,
                    _ => 1 << 32,
                };
                if address.saturating_add(length) > top {
                    return Err(format!(
                        "{length} bytes at address 0x{address:08x} run over the end of what an S{name} record reaches"
                    ));
                }
                self.data_records = self.data_records.saturating_add(1);
                self.collector.add(address, length, at)?;
            }
            b'5' | b'6' => {
                if self.counted {
                    return Err("a second record that counts".to_owned());
                }
                if !data.is_empty() || address != self.data_records {
                    return Err(format!(
                        "it counts {address} data records, the file has {} before it",
                        self.data_records
                    ));
                }
                self.counted = true;
            }
            _ => {
                if !data.is_empty() {
                    return Err("an end record has no content".to_owned());
                }
                self.entry = Some(address);
                self.ended = true;
            }
        }
        Ok(())
    }
}

/// The content of each data record from `at` on, of a file that was read before.
fn walk(source: &Source, at: u64, each: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
    let mut lines = HexLines::from(source, at);
    let mut room = [0; MAX_RECORD];
    while let Some((_, text)) = lines.next()? {
        if let Some([b'S', kind @ b'1'..=b'3', digits @ ..]) = text
            && let Some((bytes, _)) = spelled(digits, &mut room)
            && let Some((_, data)) = parts(*kind, bytes)
            && !each(data)
        {
            break;
        }
    }
    Ok(())
}
