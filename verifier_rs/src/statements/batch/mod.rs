//! Many DSSE envelopes, one a line, against the approved keys: in parallel, in bounded memory, in input order.

mod columns;
mod examine;
mod keys;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rayon::Scope;

pub use columns::{Chunk, Passed, Verdict};

use crate::error::{Error, Result};
use crate::lines::{Block, Lines};
use crate::outcome::{Finding, Outcome};
use crate::pool::pool;
use crate::source::{Progress, Source};
use crate::trust::{Purpose, Trust};
use keys::Keys;

/// Lines whose signatures are checked together, at most: the more, the less each costs.
const BLOCK_LINES: usize = 8192;
const BLOCK_BYTES: usize = 10 * 1024 * 1024;
/// Towards the end of a file blocks become smaller, so that all cores end together.
const LEAST_BYTES: usize = 256 * 1024;
/// How often the caller's thread looks up from waiting.
const TICK: Duration = Duration::from_millis(50);

/// How many lines there were and what became of them.
#[derive(Clone, Debug)]
pub struct BatchReport {
    pub total: u64,
    pub passed: u64,
    pub failed: u64,
    pub unreadable: u64,
    pub seconds: f64,
    /// Of all together: a pass only if there is at least one line and every line passed.
    pub finding: Finding,
}

#[derive(Default)]
struct Tally {
    total: u64,
    passed: u64,
    failed: u64,
    unreadable: u64,
}

impl Tally {
    fn add(&mut self, chunk: &Chunk) {
        let failures = u64::try_from(chunk.failures.len()).unwrap_or(u64::MAX);
        let failed = chunk
            .failures
            .iter()
            .filter(|verdict| verdict.finding.outcome == Outcome::Fail);
        let failed = u64::try_from(failed.count()).unwrap_or(u64::MAX);
        let passed = u64::try_from(chunk.passed.len()).unwrap_or(u64::MAX);
        self.total = self.total.saturating_add(chunk.count);
        self.passed = self.passed.saturating_add(passed);
        self.failed = self.failed.saturating_add(failed);
        self.unreadable = self.unreadable.saturating_add(failures.saturating_sub(failed));
    }

    fn finding(&self) -> Finding {
        let Tally {
            total,
            passed,
            failed,
            unreadable,
        } = self;
        if *total == 0 {
            Finding::new(Outcome::Unreadable, "The file has no envelope.")
        } else if passed == total {
            let reason = format!("All {total} envelopes are signed by approved keys.");
            Finding::new(Outcome::Pass, reason)
        } else {
            let outcome = if *failed > 0 {
                Outcome::Fail
            } else {
                Outcome::Unreadable
            };
            let reason = format!(
                "Of {total} envelopes {passed} passed, {failed} failed, {unreadable} could not be read."
            );
            Finding::new(outcome, reason)
        }
    }
}

/// Verify a file of envelopes. `sink` gets the verdicts of up to 8,192 lines at a time, in input order, on the
/// caller's thread; an error from it ends the work. Progress is in bytes of the file.
pub fn verify(
    source: &Source,
    trust: &Trust,
    purpose: Purpose,
    at: f64,
    sink: &mut dyn FnMut(Chunk) -> Result<()>,
    progress: &mut Progress<'_>,
) -> Result<BatchReport> {
    let began = Instant::now();
    let keys = Keys::new(trust, purpose, at);
    let stop = AtomicBool::new(false);
    let tally = pool()?.in_place_scope(|scope| {
        let tally = run(scope, source, &keys, &stop, sink, progress);
        // After an error nobody wants what is still being examined.
        stop.store(true, Ordering::Relaxed);
        tally
    })?;
    source.ensure_unchanged()?;
    Ok(BatchReport {
        total: tally.total,
        passed: tally.passed,
        failed: tally.failed,
        unreadable: tally.unreadable,
        seconds: began.elapsed().as_secs_f64(),
        finding: tally.finding(),
    })
}

/// Read blocks ahead of the threads that examine them, and hand on what they found in the order of the file.
fn run<'scope>(
    scope: &Scope<'scope>,
    source: &Source,
    keys: &'scope Keys<'scope>,
    stop: &'scope AtomicBool,
    sink: &mut dyn FnMut(Chunk) -> Result<()>,
    progress: &mut Progress<'_>,
) -> Result<Tally> {
    let threads = pool()?.current_num_threads();
    let ahead = threads.saturating_mul(2);
    let mut lines = Lines::of(source);
    let mut tally = Tally::default();
    let (done, finished) = channel();
    // Blocks whose memory is free again; verdicts that wait for those before them.
    let mut spare: Vec<Block> = Vec::new();
    let mut waiting = BTreeMap::new();
    let (mut examining, mut ended) = (0_usize, false);
    let mut next = 1;
    loop {
        while !ended && examining.saturating_add(waiting.len()) < ahead {
            let start = lines.offset();
            let rest = usize::try_from(source.size().saturating_sub(start)).unwrap_or(usize::MAX);
            let share = rest.checked_div(ahead).unwrap_or(rest);
            let mut block = spare.pop().unwrap_or_default();
            lines.next(&mut block, share.clamp(LEAST_BYTES, BLOCK_BYTES), BLOCK_LINES)?;
            if block.is_empty() {
                ended = true;
                break;
            }
            examining = examining.saturating_add(1);
            let bytes = lines.offset().saturating_sub(start);
            let done = done.clone();
            scope.spawn(move |_| {
                let stopped = || stop.load(Ordering::Relaxed);
                let chunk = catch_unwind(AssertUnwindSafe(|| examine::examine(keys, &block, &stopped)));
                // Nobody listens any more after an error.
                let _ = done.send((block, bytes, chunk));
            });
        }
        if examining == 0 {
            return Ok(tally);
        }
        match finished.recv_timeout(TICK) {
            Ok((block, bytes, chunk)) => {
                examining = examining.saturating_sub(1);
                let chunk = chunk.unwrap_or_else(|panic| resume_unwind(panic));
                let chunk = chunk.ok_or(Error::Cancelled)?;
                waiting.insert(block.first, (chunk, bytes));
                spare.push(block);
            }
            Err(RecvTimeoutError::Timeout) => progress.advance(0)?,
            Err(RecvTimeoutError::Disconnected) => return Err(Error::Cancelled),
        }
        while let Some((chunk, bytes)) = waiting.remove(&next) {
            next = next.saturating_add(chunk.count);
            tally.add(&chunk);
            sink(chunk)?;
            progress.advance(bytes)?;
        }
    }
}
