//! A file as numbered lines, a bounded number of them at a time.

use std::ops::Range;

use memchr::memchr;

use crate::error::Result;
use crate::source::Source;

const READ: usize = 4 * 1024 * 1024;
/// A line that is longer is passed over; the next one is read again.
pub const MAX_LINE: usize = 1024 * 1024;

/// A line: its number from 1, and its bytes without the end of line; `None` where it is too long.
pub struct Line {
    pub number: u64,
    range: Option<Range<usize>>,
}

pub struct Lines<'a> {
    source: &'a Source,
    offset: u64,
    buffer: Vec<u8>,
    start: usize,
    number: u64,
    skipping: bool,
    ended: bool,
}

impl<'a> Lines<'a> {
    pub fn of(source: &'a Source) -> Self {
        Lines {
            source,
            offset: 0,
            buffer: Vec::new(),
            start: 0,
            number: 0,
            skipping: false,
            ended: false,
        }
    }

    /// The bytes of a line that the last call of `next` returned.
    pub fn text(&self, line: &Line) -> Option<&[u8]> {
        self.buffer.get(line.range.clone()?)
    }

    /// How many bytes of the file were read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Up to `limit` further lines; none at the end of the file. Ends the life of the lines before.
    pub fn next(&mut self, limit: usize) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        while lines.len() < limit {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            if let Some(length) = memchr(b'\n', rest) {
                let end = self.start.saturating_add(length);
                self.push(end, &mut lines);
                self.start = end.saturating_add(1);
            } else if self.ended {
                if self.skipping || !rest.is_empty() {
                    self.push(self.buffer.len(), &mut lines);
                }
                self.start = self.buffer.len();
                break;
            } else if lines.is_empty() {
                self.fill()?;
            } else {
                // What was found lies in the buffer, which must stay as it is until it is used.
                break;
            }
        }
        Ok(lines)
    }

    fn push(&mut self, end: usize, lines: &mut Vec<Line>) {
        self.number = self.number.saturating_add(1);
        let range = self.start..end;
        let usable = !self.skipping && range.len() <= MAX_LINE;
        self.skipping = false;
        lines.push(Line {
            number: self.number,
            range: usable.then_some(range),
        });
    }

    fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.skipping || self.buffer.len() > MAX_LINE {
            self.skipping = true;
            self.buffer.clear();
        }
        let kept = self.buffer.len();
        self.buffer.resize(kept.saturating_add(READ), 0);
        let room = self.buffer.get_mut(kept..).unwrap_or_default();
        let got = self.source.read_some(room, self.offset)?;
        self.buffer.truncate(kept.saturating_add(got));
        self.offset = self.offset.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
        self.ended = got < READ;
        Ok(())
    }
}
