//! One look at every byte: where anchors are, and how the bytes are distributed.
//!
//! Pieces of the file are looked at beside each other; each reads a little into the next one, so that nothing is
//! missed where they meet. What lies at a place is read later, from the file, by the reader of its kind.

use memchr::memchr_iter;
use rayon::prelude::*;

use crate::content::anchors::{Anchors, GROUPS, Kind, anchors};
use crate::content::entropy::{self, Counts};
use crate::content::notable;
use crate::error::{Error, Result};
use crate::pool::pool;
use crate::source::{Progress, Source};

/// Small enough for the cache of a core: a piece is looked at twice.
const PIECE: usize = 256 * 1024;
const PIECE_U64: u64 = 256 * 1024;
/// Pieces that are in memory at once, at most.
const MAX_PIECES: usize = 64;
/// Places of one group that are looked at; an image that has more is told as not looked through.
pub const MAX_PLACES: usize = 20_000;

pub struct Place {
    pub offset: u64,
    pub kind: Kind,
}

pub struct Scan {
    /// In the order of the file.
    pub places: Vec<Place>,
    /// How many places of each group were left out.
    pub left_out: [u64; GROUPS],
    pub entropy: entropy::Map,
}

impl Scan {
    pub fn of(&self, wanted: impl Fn(Kind) -> bool) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(move |place| wanted(place.kind))
    }
}

/// What one piece shows.
struct Part {
    places: Vec<Place>,
    left_out: [u64; GROUPS],
    counts: Vec<(u64, Counts)>,
}

pub fn scan(source: &Source, progress: &mut Progress<'_>) -> Result<Scan> {
    let anchors = anchors()?;
    let pool = pool()?;
    let size = source.size();
    let mut scan = Scan {
        places: Vec::new(),
        left_out: [0; GROUPS],
        entropy: entropy::Map::of(size),
    };
    let bucket = scan.entropy.bucket;
    let mut kept = [0_usize; GROUPS];
    let room = PIECE.saturating_add(anchors.longest);
    let most = usize::try_from(size).unwrap_or(usize::MAX).min(room);
    let pieces = usize::try_from(size.div_ceil(PIECE_U64)).unwrap_or(usize::MAX);
    let together = pool
        .current_num_threads()
        .saturating_mul(8)
        .clamp(1, MAX_PIECES)
        .min(pieces.max(1));
    let mut buffers = vec![vec![0_u8; most]; together];
    let mut at = 0_u64;
    while at < size {
        let tasks: Vec<(u64, &mut Vec<u8>)> = buffers
            .iter_mut()
            .enumerate()
            .map(|(place, buffer)| {
                let skip = u64::try_from(place).unwrap_or(0).saturating_mul(PIECE_U64);
                (at.saturating_add(skip), buffer)
            })
            .filter(|(offset, _)| *offset < size)
            .collect();
        let parts: Vec<Result<Part>> = pool.install(|| {
            tasks
                .into_par_iter()
                .map(|(offset, buffer)| look(source, anchors, bucket, offset, buffer))
                .collect()
        });
        let before = at;
        for part in parts {
            let part = part?;
            for (bucket, counts) in &part.counts {
                scan.entropy.add(*bucket, counts);
            }
            for (sum, more) in scan.left_out.iter_mut().zip(part.left_out) {
                *sum = sum.saturating_add(more);
            }
            for place in part.places {
                let group = place.kind.group();
                let (Some(kept), Some(left_out)) = (kept.get_mut(group), scan.left_out.get_mut(group)) else {
                    continue;
                };
                if *kept < MAX_PLACES {
                    *kept = kept.saturating_add(1);
                    scan.places.push(place);
                } else {
                    *left_out = left_out.saturating_add(1);
                }
            }
            at = at.saturating_add(PIECE_U64).min(size);
        }
        progress.advance(at.saturating_sub(before))?;
    }
    Ok(scan)
}

fn look(source: &Source, anchors: &Anchors, bucket: u64, offset: u64, buffer: &mut [u8]) -> Result<Part> {
    let left = source.size().saturating_sub(offset);
    let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
    let data = buffer.get_mut(..want).unwrap_or_default();
    if source.read_some(data, offset)? != want {
        source.ensure_unchanged()?;
        return Err(Error::Unreadable(format!(
            "expected {want} more bytes at offset {offset}, found the end of the file"
        )));
    }
    let data = &*data;
    let own = data.get(..data.len().min(PIECE)).unwrap_or_default();
    let mut part = Part {
        places: Vec::new(),
        left_out: [0; GROUPS],
        counts: Vec::new(),
    };
    let mut kept = [0_usize; GROUPS];
    let mut keep = |start: usize, kind: Kind| {
        if start >= own.len() {
            return; // it belongs to the next piece
        }
        let group = kind.group();
        let (Some(kept), Some(left_out)) = (kept.get_mut(group), part.left_out.get_mut(group)) else {
            return;
        };
        if *kept < MAX_PLACES {
            *kept = kept.saturating_add(1);
            let offset = offset.saturating_add(u64::try_from(start).unwrap_or(0));
            part.places.push(Place { offset, kind });
        } else {
            *left_out = left_out.saturating_add(1);
        }
    };
    anchors.find(data, &mut keep);
    // An address has one certain byte only; its neighbours decide whether it is worth a look.
    for at in memchr_iter(b'@', own) {
        let beside = |place: Option<usize>| {
            place
                .and_then(|place| data.get(place))
                .is_some_and(u8::is_ascii_alphanumeric)
        };
        if beside(at.checked_sub(1)) && beside(at.checked_add(1)) {
            keep(at, Kind::Notable(notable::ADDRESS));
        }
    }
    part.places.sort_by_key(|place| place.offset);
    let mut rest = own;
    let mut position = offset;
    while !rest.is_empty() {
        let number = position.checked_div(bucket).unwrap_or(0);
        let end = number.saturating_add(1).saturating_mul(bucket);
        let take = usize::try_from(end.saturating_sub(position))
            .unwrap_or(usize::MAX)
            .min(rest.len());
        let (now, later) = rest.split_at_checked(take).unwrap_or((rest, &[]));
        part.counts.push((number, entropy::count(now)));
        position = position.saturating_add(u64::try_from(take).unwrap_or(0));
        rest = later;
    }
    Ok(part)
}
