//! The one read of a file: in order, into all digests, beside each other.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use super::{Bytes, Progress, Sink, Source, TICK};
use crate::cache::AsFound;
use crate::error::Result;
use crate::pool::pool;

/// Small enough to stay in the processor's cache until every digest has seen it.
const BUFFER: usize = 256 * 1024;
/// How many pieces are read ahead: as many as are hashed while a busy machine lets a thread wait.
const AHEAD: usize = 6;
/// Up to here memory that is used for the first time costs more than waiting.
const SHORT: u64 = 32 * 1024 * 1024;
const SHORT_BUFFER: usize = 128 * 1024;
const SHORT_AHEAD: usize = 2;
/// Up to here two threads cost more than they save.
const ALONE: u64 = 1024 * 1024;

/// A buffer and how much of it was read.
type Piece = (Arc<Vec<u8>>, usize);

/// Short buffers that were used before, for the next short read: an upload comes as many of them.
static USED: Mutex<Vec<Arc<Vec<u8>>>> = Mutex::new(Vec::new());
const MAX_USED: usize = 16;

/// One of `size` bytes that nobody else has.
fn fresh(size: usize) -> Arc<Vec<u8>> {
    let used = (size == SHORT_BUFFER).then(|| USED.lock().ok()?.pop()).flatten();
    used.unwrap_or_else(|| Arc::new(vec![0; size]))
}

/// Keep those that nobody else has any more.
fn keep(buffers: VecDeque<Arc<Vec<u8>>>) {
    if let Ok(mut used) = USED.lock() {
        for mut buffer in buffers {
            if buffer.len() == SHORT_BUFFER && Arc::get_mut(&mut buffer).is_some() && used.len() < MAX_USED {
                used.push(buffer);
            }
        }
    }
}

impl Source {
    /// Read `from..to` once, in order, into all sinks.
    ///
    /// The slowest digest decides how long all of them take: it alone is made on this thread. Another one reads, up
    /// to `AHEAD` pieces ahead, and makes the others, so that neither waits where the other is held up for a moment.
    pub fn feed(
        &self,
        from: u64,
        to: u64,
        sinks: &mut [&mut Sink],
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        sinks.sort_by_key(|sink| Reverse(sink.cost()));
        let total = to.saturating_sub(from);
        // A thread of the pool must not wait for another of them.
        let alone = total <= ALONE || rayon::current_thread_index().is_some();
        let (slowest, others) = match sinks {
            [slowest, others @ ..] if !alone => (slowest, others),
            _ => return self.feed_here(from, to, sinks, progress),
        };
        let (buffer, ahead) = if total <= SHORT {
            (SHORT_BUFFER, SHORT_AHEAD)
        } else {
            (BUFFER, AHEAD)
        };
        // The one being read, those on their way, the one being hashed.
        let mut buffers = VecDeque::new();
        let into = &mut buffers;
        let done = pool()?.in_place_scope(|scope| {
            let (send, pieces) = sync_channel(ahead);
            scope.spawn(move |_| self.read_ahead(from, to, (into, buffer, ahead), others, &send));
            let mut position = from;
            while position < to {
                match pieces.recv_timeout(TICK) {
                    Ok(piece) => {
                        let (buffer, length): (Arc<Vec<u8>>, usize) = piece?;
                        slowest.update(buffer.get(..length).unwrap_or_default());
                        let length = u64::try_from(length).unwrap_or(u64::MAX);
                        position = position.saturating_add(length);
                        progress.advance(length)?;
                    }
                    Err(RecvTimeoutError::Timeout) => progress.advance(0)?,
                    // It panicked, and the end of the scope passes that on.
                    Err(RecvTimeoutError::Disconnected) => return Err(self.changed()),
                }
            }
            Ok(())
        });
        keep(buffers);
        done
    }

    /// Read pieces, feed them to `sinks` and send them on, until nobody takes them any more.
    fn read_ahead(
        &self,
        from: u64,
        to: u64,
        (buffers, size, ahead): (&mut VecDeque<Arc<Vec<u8>>>, usize, usize),
        sinks: &mut [&mut Sink],
        send: &SyncSender<Result<Piece>>,
    ) {
        // Before the first byte is read: the kernel reads ahead of it.
        let mut as_found = self.as_found(from, to);
        let mut position = from;
        while position < to {
            let again = buffers.len() > ahead.saturating_add(1);
            let mut buffer = again.then(|| buffers.pop_front()).flatten().unwrap_or_default();
            if Arc::get_mut(&mut buffer).is_none_or(|free| free.is_empty()) {
                buffer = fresh(size);
            }
            let room = Arc::get_mut(&mut buffer).map(Vec::as_mut_slice);
            let length = match self.fill(room.unwrap_or_default(), position, to) {
                Ok(length) => length,
                Err(error) => {
                    let _ = send.send(Err(error)); // who no longer listens has an error of their own
                    return;
                }
            };
            position = position.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
            if send.send(Ok((Arc::clone(&buffer), length))).is_err() {
                return;
            }
            let data = buffer.get(..length).unwrap_or_default();
            sinks.par_iter_mut().for_each(|sink| sink.update(data));
            buffers.push_back(buffer);
            if let Some(as_found) = &mut as_found {
                as_found.passed(position);
            }
        }
    }

    /// The same on this thread alone.
    fn feed_here(
        &self,
        from: u64,
        to: u64,
        sinks: &mut [&mut Sink],
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let mut as_found = self.as_found(from, to);
        let total = usize::try_from(to.saturating_sub(from)).unwrap_or(BUFFER);
        let mut buffer = vec![0; total.min(BUFFER)];
        let mut position = from;
        while position < to {
            let length = self.fill(&mut buffer, position, to)?;
            let data = buffer.get(..length).unwrap_or_default();
            sinks.iter_mut().for_each(|sink| sink.update(data));
            let length = u64::try_from(length).unwrap_or(u64::MAX);
            position = position.saturating_add(length);
            if let Some(as_found) = &mut as_found {
                as_found.passed(position);
            }
            progress.advance(length)?;
        }
        Ok(())
    }

    fn as_found(&self, from: u64, to: u64) -> Option<AsFound<'_>> {
        match &self.bytes {
            Bytes::File(file) if self.forgetful => Some(AsFound::new(file, from, to)),
            _ => None,
        }
    }
}
