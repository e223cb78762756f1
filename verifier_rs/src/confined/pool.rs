//! Warm children, and who may use them when.

use std::fs::File;
use std::path::Path;
use std::process::id;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Fault;
use super::limits::{Confinement, Limits};
use super::worker::{Program, Question, Reply, Setup, TrustText, Worker};
use crate::error::{Error, Result};
use crate::source::Progress;

/// From here on a file is large: it has children of its own, so that no small one waits for it, and none for small ones.
const LARGE: u64 = 16 * 1024 * 1024;
/// After so many requests a child is replaced, whatever may have gathered in it.
const MAX_SERVED: u32 = 1000;
/// How often a child that was found dead is replaced before giving up.
const MAX_GONE: u32 = 8;
const TICK: Duration = Duration::from_millis(50);

/// What is asked.
pub struct Task<'a> {
    pub trust: TrustText<'a>,
    pub file: &'a File,
    pub name: &'a Path,
    pub size: u64,
    /// Bytes of the file that a second of CPU must get through.
    pub pace: u64,
    /// How many bytes the answer may have, all its parts together.
    pub output: u64,
}

/// What became of it; the last part of the answer.
pub type Answer = std::result::Result<Vec<u8>, Fault>;

#[derive(Default)]
struct State {
    /// The last one is the warmest.
    idle: Vec<Worker>,
    /// How many work on small files, and on large ones.
    busy: [usize; 2],
    /// Killed, but not gone yet.
    dying: Vec<Worker>,
}

/// The children of this process. A fork of this process must drop its copy and make another.
pub struct Children {
    program: Program,
    setup: Setup,
    /// At most so many at a time work on small files, and as many on large ones.
    width: usize,
    parent: u32,
    state: Mutex<State>,
    freed: Condvar,
}

impl Children {
    pub fn new(program: Program, setup: Setup) -> Self {
        Children {
            width: setup.threads.max(2),
            program,
            setup,
            parent: id(),
            state: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Have a child do what `request` makes of its confinement. An error is the child's own, or the caller's; what
    /// the file did to the child is in the answer.
    pub fn ask(
        &self,
        task: &Task<'_>,
        request: &dyn Fn(&Confinement) -> Vec<u8>,
        part: &mut dyn FnMut(Vec<u8>) -> Result<()>,
        progress: &mut Progress<'_>,
    ) -> Result<(Answer, Confinement)> {
        if self.parent != id() {
            return Err(Error::Fault(
                "The children of another process cannot be asked.".to_owned(),
            ));
        }
        let limits = Limits::of(&self.setup, task.size, task.pace, task.output);
        let place = self.place(task.size, progress)?;
        for _ in 0..MAX_GONE {
            let mut worker = match self.idle(task.trust.sha256) {
                Some(worker) => worker,
                None => Worker::start(&self.program, &self.setup)?,
            };
            let confinement = worker.confinement(limits);
            let question = Question {
                trust: task.trust,
                request: &request(&confinement),
                file: task.file,
                name: task.name,
                limits,
            };
            let reply = worker.ask(&question, part, progress);
            if reply.alive() && worker.served < MAX_SERVED {
                place.give_back(worker);
            } else {
                self.bury(worker);
            }
            return match reply {
                Reply::Done(body) => Ok((Ok(body), confinement)),
                Reply::Fault(fault) => Ok((Err(fault), confinement)),
                Reply::Refused(error) | Reply::Stopped(error) => Err(error),
                Reply::Gone => continue,
            };
        }
        Err(Error::Fault(
            "The confined processes that read files die before they are asked. Nothing was verified."
                .to_owned(),
        ))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wait for a place in the lane for files of this size.
    fn place(&self, size: u64, progress: &mut Progress<'_>) -> Result<Place<'_>> {
        let lane = usize::from(size >= LARGE);
        let mut state = self.state();
        loop {
            if let Some(busy) = state.busy.get_mut(lane)
                && *busy < self.width
            {
                *busy = busy.saturating_add(1);
                return Ok(Place { children: self, lane });
            }
            let (held, timeout) = self
                .freed
                .wait_timeout(state, TICK)
                .unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                drop(held); // the caller's callback may take its time
                progress.advance(0)?;
                state = self.state();
            } else {
                state = held;
            }
        }
    }

    /// A child that waits for work: one that has the trust file, else the warmest.
    fn idle(&self, trust: &[u8; 32]) -> Option<Worker> {
        let mut state = self.state();
        state.dying.retain_mut(Worker::runs);
        loop {
            let known = state.idle.iter().rposition(|worker| worker.knows(trust));
            let last = state.idle.len().checked_sub(1)?;
            let mut worker = state.idle.remove(known.unwrap_or(last));
            if worker.runs() {
                return Some(worker);
            }
        }
    }

    fn bury(&self, mut worker: Worker) {
        if !worker.end() {
            self.state().dying.push(worker);
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        // No lock: in a fork of this process another thread may have held it.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for worker in &mut state.idle {
            worker.end(); // all at once, before the first is awaited
        }
    }
}

/// A place in a lane.
struct Place<'a> {
    children: &'a Children,
    lane: usize,
}

impl Place<'_> {
    /// Keep the child for the next file, unless enough wait already.
    fn give_back(&self, worker: Worker) {
        let spare = {
            let mut state = self.children.state();
            if state.idle.len() <= self.children.width {
                state.idle.push(worker);
                None
            } else {
                Some(worker)
            }
        };
        if let Some(worker) = spare {
            self.children.bury(worker);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.children.state();
        if let Some(busy) = state.busy.get_mut(self.lane) {
            *busy = busy.saturating_sub(1);
        }
        drop(state);
        self.children.freed.notify_all();
    }
}
