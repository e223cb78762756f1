//! The threads that share the work, one per core.

use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

struct Owned {
    pid: u32,
    pool: Arc<ThreadPool>,
}

static POOL: Mutex<Option<Owned>> = Mutex::new(None);

/// The pool of this process. A forked child has no threads, and waiting for its parent's would never end,
/// so the pool is made anew where the process id is another.
pub fn pool() -> Result<Arc<ThreadPool>> {
    let mut slot = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = process::id();
    if let Some(owned) = slot.as_ref()
        && owned.pid == pid
    {
        return Ok(Arc::clone(&owned.pool));
    }
    build(&mut slot, 0)
}

/// Make the pool now, with so many threads, and wait until they run: a confined process can start none later.
pub fn start(threads: usize) -> Result<()> {
    let mut slot = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    build(&mut slot, threads)?.broadcast(|_| ());
    Ok(())
}

fn build(slot: &mut Option<Owned>, threads: usize) -> Result<Arc<ThreadPool>> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads) // 0: one per core
        .thread_name(|i| format!("verifier-{i}"))
        .panic_handler(|_| {}) // who waits for the work sees that it ended; the default ends the process
        .build()
        .map_err(|error| Error::Unreadable(format!("the verifier cannot start its threads: {error}")))?;
    let pool = Arc::new(pool);
    let previous = slot.replace(Owned {
        pid: process::id(),
        pool: Arc::clone(&pool),
    });
    // Dropping it would wait for threads that this process does not have.
    std::mem::forget(previous);
    Ok(pool)
}
