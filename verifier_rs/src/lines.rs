//! A file as blocks of numbered lines, bounded in bytes and in lines.

use std::ops::Range;

use memchr::memchr;

use crate::error::Result;
use crate::source::Source;

const READ: usize = 1024 * 1024;
/// A line that is longer is passed over; the next one is read again.
pub const MAX_LINE: usize = 1024 * 1024;

/// Lines that follow each other, with their bytes.
#[derive(Default)]
pub struct Block {
    /// The number of the first line, from 1.
    pub first: u64,
    text: Vec<u8>,
    lines: Vec<Option<Range<usize>>>,
}

impl Block {
    /// The lines without their ends; `None` for one that is too long.
    pub fn lines(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.lines
            .iter()
            .map(|range| range.clone().and_then(|range| self.text.get(range)))
    }

    pub fn line(&self, nth: usize) -> Option<&[u8]> {
        self.text.get(self.lines.get(nth)?.clone()?)
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
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
            number: 1,
            skipping: false,
            ended: false,
        }
    }

    /// How many bytes of the file were read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Fill `block` (whose memory is used again) until it has `limit` lines or `size` bytes; it stays empty at the
    /// end of the file.
    pub fn next(&mut self, block: &mut Block, size: usize, limit: usize) -> Result<()> {
        block.text.clear();
        block.lines.clear();
        block.first = self.number;
        while block.lines.len() < limit && block.text.len() < size {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            if let Some(length) = memchr(b'\n', rest) {
                self.push(length, block);
                self.start = self.start.saturating_add(1);
            } else if !self.ended {
                self.fill()?;
            } else {
                if self.skipping || !rest.is_empty() {
                    self.push(rest.len(), block);
                }
                break;
            }
        }
        self.number = self
            .number
            .saturating_add(u64::try_from(block.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// The next `length` bytes are a line, or the end of one that is too long.
    fn push(&mut self, length: usize, block: &mut Block) {
        let end = self.start.saturating_add(length);
        let line = self.buffer.get(self.start..end).unwrap_or_default();
        self.start = end;
        let usable = !self.skipping && length <= MAX_LINE;
        self.skipping = false;
        block.lines.push(usable.then(|| {
            let from = block.text.len();
            block.text.extend_from_slice(line);
            from..block.text.len()
        }));
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
