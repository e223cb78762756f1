//! The page cache as it was: what a check of stored files reads once must not push out what others need.

use std::fs::File;
use std::io::IoSliceMut;
use std::num::NonZeroU64;

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

const WINDOW: u64 = 32 * 1024 * 1024;
/// How many bytes of a window are asked for to see whether it is in memory.
const PROBES: u64 = 4;

/// Follows a read through a file and gives each window back that was not in memory before.
pub struct AsFound<'a> {
    file: &'a File,
    /// The windows that were not in memory: where they begin, the last one first. All are looked up before anything
    /// is read, because the kernel reads far ahead.
    cold: Vec<u64>,
    end: u64,
}

impl<'a> AsFound<'a> {
    pub fn new(file: &'a File, from: u64, end: u64) -> Self {
        let step = usize::try_from(WINDOW).unwrap_or(usize::MAX);
        let mut cold: Vec<u64> = (from..end)
            .step_by(step)
            .filter(|start| is_cold(file, *start, end))
            .collect();
        cold.reverse();
        AsFound { file, cold, end }
    }

    /// Everything before `position` was read.
    pub fn passed(&mut self, position: u64) {
        while let Some(start) = self.cold.last().copied() {
            let end = start.saturating_add(WINDOW).min(self.end);
            if position < end {
                return;
            }
            // Advice only.
            let length = NonZeroU64::new(end.saturating_sub(start));
            let _ = fadvise(self.file, start, length, Advice::DontNeed);
            self.cold.pop();
        }
    }
}

/// Whether most of a window is not in memory. Where the file system cannot say, it is taken to be.
fn is_cold(file: &File, from: u64, end: u64) -> bool {
    let step = end.saturating_sub(from).min(WINDOW) / PROBES;
    let missing = (0..PROBES).filter(|nth| {
        let mut byte = [0];
        let at = from
            .saturating_add(nth.saturating_mul(step))
            .saturating_add(step / 2);
        let found = preadv2(
            file,
            &mut [IoSliceMut::new(&mut byte)],
            at,
            ReadWriteFlags::NOWAIT,
        );
        matches!(found, Err(Errno::AGAIN))
    });
    u64::try_from(missing.count()).unwrap_or(0).saturating_mul(2) > PROBES
}
