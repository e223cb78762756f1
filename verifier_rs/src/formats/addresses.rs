//! What a file puts at which addresses: pieces as they come, then segments without gaps and without overlaps.
//!
//! Only addresses and places are held in memory, never content: a jump of 4 GiB costs as much as none.

use crate::error::Result;
use crate::source::Source;

/// Runs of records whose addresses follow each other; ordinary files have a handful.
const MAX_PIECES: usize = 65_536;
const MAX_SEGMENTS: usize = 1_024;

/// Records in the order of the file whose addresses follow each other.
struct Piece {
    address: u64,
    length: u64,
    /// Where in the file its first record begins.
    at: u64,
}

/// Content without gaps.
pub struct Segment {
    pub address: u64,
    pub size: u64,
    pieces: Vec<Piece>,
}

/// Collects what the records of a file say, in the order of the file.
#[derive(Default)]
pub struct Collector {
    pieces: Vec<Piece>,
}

impl Collector {
    /// A record of `length` bytes for `address`, which begins at `at` in the file.
    pub fn add(&mut self, address: u64, length: u64, at: u64) -> std::result::Result<(), String> {
        if length == 0 {
            return Ok(());
        }
        if let Some(last) = self.pieces.last_mut()
            && last.address.checked_add(last.length) == Some(address)
        {
            last.length = last.length.saturating_add(length);
            return Ok(());
        }
        self.apart(address, length, at)
    }

    /// As `add`, for content that is read from its own place, wherever the one before it ended.
    pub fn apart(&mut self, address: u64, length: u64, at: u64) -> std::result::Result<(), String> {
        if length == 0 {
            return Ok(());
        }
        if self.pieces.len() >= MAX_PIECES {
            return Err(format!(
                "its addresses jump more than {MAX_PIECES} times; write the records in the order of their addresses"
            ));
        }
        self.pieces.push(Piece { address, length, at });
        Ok(())
    }

    /// The segments in the order of their addresses; content given twice is refused, the same content too.
    pub fn segments(mut self) -> std::result::Result<Vec<Segment>, String> {
        self.pieces.sort_unstable_by_key(|piece| piece.address);
        let mut segments: Vec<Segment> = Vec::new();
        for piece in self.pieces {
            if let Some(last) = segments.last_mut() {
                let end = last.address.saturating_add(last.size);
                if piece.address < end {
                    return Err(format!(
                        "the byte at address 0x{:08x} is given twice",
                        piece.address
                    ));
                }
                if piece.address == end {
                    last.size = last.size.saturating_add(piece.length);
                    last.pieces.push(piece);
                    continue;
                }
            }
            if segments.len() >= MAX_SEGMENTS {
                return Err(format!("more than {MAX_SEGMENTS} separate address ranges"));
            }
            segments.push(Segment {
                address: piece.address,
                size: piece.length,
                pieces: vec![piece],
            });
        }
        if segments.is_empty() {
            return Err("it holds no content, only records about it".to_owned());
        }
        Ok(segments)
    }
}

/// Calls back with the content of each record from a place in the file on, until it gets `false`.
pub type Walk = fn(&Source, u64, &mut dyn FnMut(&[u8]) -> bool) -> Result<()>;

/// The walk through content that lies in the file as it is.
pub fn plain(source: &Source, at: u64, each: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
    const MOST: u64 = 256 * 1024;
    // Little at first, as most pieces are short.
    let mut length = 4096_u64;
    let mut at = at;
    while at < source.size() {
        let next = source.size().saturating_sub(at).min(length);
        let data = source.read_exact(at, usize::try_from(next).unwrap_or_default())?;
        if !each(&data) {
            break;
        }
        at = at.saturating_add(next);
        length = length.saturating_mul(4).min(MOST);
    }
    Ok(())
}

impl Segment {
    /// The content in the order of the addresses, record by record.
    pub fn content(&self, source: &Source, walk: Walk, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        for piece in &self.pieces {
            let mut left = piece.length;
            walk(source, piece.at, &mut |data| {
                let length = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                each(data.get(..length).unwrap_or_default());
                left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
                left > 0
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(pieces: &[(u64, u64)]) -> std::result::Result<Vec<(u64, u64)>, String> {
        let mut collector = Collector::default();
        for (address, length) in pieces {
            collector.add(*address, *length, 0)?;
        }
        let segments = collector.segments()?;
        Ok(segments
            .iter()
            .map(|segment| (segment.address, segment.size))
            .collect())
    }

    #[test]
    fn neighbours_become_one_segment_in_any_order() {
        let expected = Ok(vec![(0x100, 48), (0x200, 16)]);
        assert_eq!(collected(&[(0x100, 16), (0x110, 32), (0x200, 16)]), expected);
        assert_eq!(
            collected(&[(0x200, 16), (0x120, 16), (0x100, 16), (0x110, 16)]),
            expected
        );
    }

    #[test]
    fn overlaps_are_refused_by_the_address_that_is_given_twice() {
        for pieces in [
            &[(0x100, 16), (0x10f, 1)][..],
            &[(0x100, 16), (0x100, 16)],
            &[(0x180, 1), (0x100, 0x100)],
        ] {
            assert!(collected(pieces).unwrap_err().contains("given twice"));
        }
    }

    #[test]
    fn budgets() {
        let sparse: Vec<_> = (0..1_024).map(|n| (n * 4, 1)).collect();
        assert_eq!(collected(&sparse).unwrap().len(), 1_024);
        let sparse: Vec<_> = (0..1_025).map(|n| (n * 4, 1)).collect();
        assert!(collected(&sparse).unwrap_err().contains("1024 separate"));
        let backwards: Vec<_> = (0..65_537).rev().map(|n| (n, 1)).collect();
        assert!(collected(&backwards).unwrap_err().contains("65536 times"));
        assert!(collected(&[(5, 0)]).unwrap_err().contains("no content"));
    }
}
