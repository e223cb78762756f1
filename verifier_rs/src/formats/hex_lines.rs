//! Lines of hexadecimal digits behind a mark, as Intel HEX and SREC have them, read in bounded memory.

use memchr::memchr;

use crate::error::Result;
use crate::source::Source;

/// Little at first: who comes back for one record does not want the whole file.
const FIRST_READ: usize = 4 * 1024;
const MAX_READ: usize = 256 * 1024;
/// The longest record of both formats has 260 bytes: 520 digits and its mark.
const MAX_LINE: usize = 600;
pub const MAX_RECORD: usize = 260;

/// Numbered lines from some place in a file.
pub struct HexLines<'a> {
    source: &'a Source,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins, and where in the buffer the next line does.
    offset: u64,
    start: usize,
    number: u64,
    read: usize,
    ended: bool,
}

/// Where a line stands, for messages and to come back to it.
#[derive(Clone, Copy)]
pub struct Place {
    pub number: u64,
    pub at: u64,
}

/// A line that is not empty, without its end; `None` where it is longer than any record.
pub type Line<'b> = (Place, Option<&'b [u8]>);

impl<'a> HexLines<'a> {
    pub fn from(source: &'a Source, offset: u64) -> Self {
        HexLines {
            source,
            buffer: Vec::new(),
            offset,
            start: 0,
            number: 0,
            read: FIRST_READ,
            ended: false,
        }
    }

    /// The next line with something in it; none at the end of the file.
    pub fn next(&mut self) -> Result<Option<Line<'_>>> {
        loop {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            let (length, whole) = match memchr(b'\n', rest) {
                Some(length) => (length, true),
                None if self.ended && rest.is_empty() => return Ok(None),
                None if self.ended || rest.len() > MAX_LINE => (rest.len(), false),
                None => {
                    self.fill()?;
                    continue;
                }
            };
            let place = Place {
                number: self.number.saturating_add(1),
                at: self
                    .offset
                    .saturating_add(u64::try_from(self.start).unwrap_or(u64::MAX)),
            };
            let from = self.start;
            let to = from.saturating_add(length);
            self.start = to.saturating_add(usize::from(whole));
            self.number = place.number;
            let text = self.buffer.get(from..to).unwrap_or_default();
            if matches!(text, [] | [b'\r']) {
                continue;
            }
            // The borrow must not begin before the loop is left.
            let text = self.buffer.get(from..to).unwrap_or_default();
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            return Ok(Some((place, (text.len() <= MAX_LINE).then_some(text))));
        }
    }

    fn fill(&mut self) -> Result<()> {
        self.offset = self
            .offset
            .saturating_add(u64::try_from(self.start).unwrap_or(u64::MAX));
        self.buffer.drain(..self.start);
        self.start = 0;
        let kept = self.buffer.len();
        self.buffer.resize(kept.saturating_add(self.read), 0);
        let at = self
            .offset
            .saturating_add(u64::try_from(kept).unwrap_or(u64::MAX));
        let room = self.buffer.get_mut(kept..).unwrap_or_default();
        let got = self.source.read_some(room, at)?;
        self.buffer.truncate(kept.saturating_add(got));
        self.ended = got < self.read;
        self.read = self.read.saturating_mul(2).min(MAX_READ);
        Ok(())
    }
}

/// What reading a record came to: why it is wrong.
pub type Read = std::result::Result<(), String>;

/// Give every record and its place to `record`; why the first one that it refuses is wrong, and where.
pub fn each_record(source: &Source, record: &mut dyn FnMut(&[u8], u64) -> Read) -> Result<Read> {
    let mut lines = HexLines::from(source, 0);
    while let Some((place, text)) = lines.next()? {
        let read = text.map_or_else(
            || Err("it is longer than any record".to_owned()),
            |text| record(text, place.at),
        );
        if let Err(why) = read {
            return Ok(Err(format!("line {} (offset {}): {why}", place.number, place.at)));
        }
    }
    Ok(Ok(()))
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit & 15),
        b'a'..=b'f' | b'A'..=b'F' => Some((digit & 15).wrapping_add(9)),
        _ => None,
    }
}

/// The bytes that the digits spell, and their sum; `None` unless every character is a digit and all are in pairs.
pub fn spelled<'b>(digits: &[u8], room: &'b mut [u8; MAX_RECORD]) -> Option<(&'b [u8], u8)> {
    let (pairs, odd) = digits.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    let bytes = room.get_mut(..pairs.len())?;
    let mut sum = 0_u8;
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
        sum = sum.wrapping_add(*byte);
    }
    Some((bytes, sum))
}
