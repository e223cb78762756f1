//! One child as its parent sees it: started, asked, and buried.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio, id};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde::{Deserialize, Serialize};

use super::child::{KEPT_TRUST, Ready, Refusal};
use super::fault::Fault;
use super::limits::{self, Confinement, Limits};
use super::wire::{self, Inbox, Kind, Step};
use crate::error::{Error, Result};
use crate::source::Progress;

/// How often a parent that waits looks at the clock, the signals and the caller.
const TICK: Duration = Duration::from_millis(50);
/// An interpreter starts in a fraction of a second; on a machine that is out of breath in some.
const START: Duration = Duration::from_secs(30);
/// How long a child that closed its socket may take to be gone.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a child may take to read what it is sent.
const LISTEN: Duration = Duration::from_secs(20);
const MAX_WORDS: u64 = 4096;

/// The program that a child is: it must call `child::serve`.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: OsString,
    pub arguments: Vec<OsString>,
    /// All of its environment.
    pub environment: Vec<(OsString, OsString)>,
}

/// How a child confines itself. Only tests leave anything out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    pub threads: usize,
    pub memory: u64,
    /// For any file; large ones get more.
    pub cpu_seconds: u64,
    pub wall_seconds: u64,
    pub landlock: bool,
    pub seccomp: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            threads: std::thread::available_parallelism().map_or(1, |count| count.get()),
            memory: limits::MEMORY,
            cpu_seconds: limits::CPU_BASE,
            wall_seconds: limits::WALL_BASE,
            landlock: true,
            seccomp: true,
        }
    }
}

/// A trust file and its digest.
#[derive(Clone, Copy)]
pub struct TrustText<'a> {
    pub text: &'a str,
    pub sha256: &'a [u8; 32],
}

/// What is asked of a child.
pub struct Question<'a> {
    pub trust: TrustText<'a>,
    pub request: &'a [u8],
    pub file: &'a File,
    /// Stands in errors.
    pub name: &'a Path,
    pub limits: Limits,
}

/// What became of it.
pub enum Reply {
    Done(Vec<u8>),
    /// The child's own error: it lives on.
    Refused(Error),
    /// The caller, or a part of the caller's, asked to stop.
    Stopped(Error),
    Fault(Fault),
    /// It was dead before it was asked: ask another.
    Gone,
}

impl Reply {
    /// Whether the child may be asked again.
    pub fn alive(&self) -> bool {
        matches!(self, Reply::Done(_) | Reply::Refused(_))
    }
}

pub struct Worker {
    process: Child,
    /// The process that started it: a fork of that one must neither kill nor await it.
    parent: u32,
    socket: UnixStream,
    words: PipeReader,
    ready: Ready,
    known: VecDeque<[u8; 32]>,
    pub served: u32,
}

impl Worker {
    pub fn start(program: &Program, setup: &Setup) -> Result<Self> {
        Self::begin(program, setup).map_err(|error| {
            Error::Fault(format!(
                "The confined process that reads files cannot be started ({error}). Nothing was verified."
            ))
        })
    }

    fn begin(program: &Program, setup: &Setup) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let (words, their_words) = io::pipe()?;
        rustix::io::ioctl_fionbio(&words, true)?;
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(LISTEN))?;
        let process = Command::new(&program.path)
            .args(&program.arguments)
            .env_clear()
            .envs(program.environment.iter().cloned())
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(their_words))
            .process_group(0) // Ctrl-C in a terminal is for the parent
            .spawn()?;
        let mut worker = Worker {
            process,
            parent: id(),
            socket,
            words,
            ready: Ready {
                landlock: None,
                seccomp: false,
                cpu: 0,
            },
            known: VecDeque::new(),
            served: 0,
        };
        wire::send(&worker.socket, Kind::Setup, &serde_json::to_vec(setup)?, None)?;
        let began = Instant::now();
        let mut inbox = Inbox::default();
        while began.elapsed() < START {
            match inbox.next(&worker.socket)? {
                Step::Quiet => {}
                Step::Frame(frame) if frame.kind == Kind::Ready => {
                    worker.ready = serde_json::from_slice(&frame.body)?;
                    return Ok(worker);
                }
                Step::Frame(_) => return Err(io::Error::other("its first words were others than expected")),
                Step::Closed => {
                    let status = worker
                        .wait()
                        .map_or_else(|| "no status".to_owned(), |status| status.to_string());
                    return Err(io::Error::other(format!(
                        "{status}: {}",
                        worker.last_words().trim()
                    )));
                }
            }
        }
        Err(io::Error::other("it did not answer in time"))
    }

    pub fn confinement(&self, limits: Limits) -> Confinement {
        Confinement {
            landlock: self.ready.landlock,
            seccomp: self.ready.seccomp,
            limits,
        }
    }

    pub fn knows(&self, trust: &[u8; 32]) -> bool {
        self.known.contains(trust)
    }

    /// Whether the process still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Ask, and wait for the answer. `part` gets what comes before the last part.
    pub fn ask(
        &mut self,
        question: &Question<'_>,
        part: &mut dyn FnMut(Vec<u8>) -> Result<()>,
        progress: &mut Progress<'_>,
    ) -> Reply {
        if self.tell(question).is_err() {
            return Reply::Gone;
        }
        self.served = self.served.saturating_add(1);
        let mut inbox = Inbox::default();
        let mut waited = Duration::ZERO;
        let mut told = 0_u64;
        loop {
            let began = Instant::now();
            let step = inbox.next(&self.socket);
            waited = waited.saturating_add(began.elapsed());
            if inbox.received > question.limits.output_bytes {
                return Reply::Fault(Fault::TooMuchOutput(question.limits.output_bytes));
            }
            let by = match step {
                Ok(Step::Quiet) => 0,
                Ok(Step::Frame(frame)) => match frame.kind {
                    Kind::Progress => {
                        let done = frame
                            .body
                            .first_chunk()
                            .map_or(told, |done| u64::from_le_bytes(*done));
                        let by = done.saturating_sub(told);
                        told = done.max(told);
                        by
                    }
                    Kind::Part => match part(frame.body) {
                        Ok(()) => 0,
                        Err(error) => return Reply::Stopped(error),
                    },
                    Kind::Done => return self.done(frame.body),
                    Kind::Refused => return self.refused(&frame.body, question.name),
                    Kind::Panicked => {
                        let text: String = String::from_utf8_lossy(&frame.body).chars().take(500).collect();
                        return Reply::Fault(Fault::Crashed(format!("it panicked ({text})")));
                    }
                    _ => return nonsense(),
                },
                Ok(Step::Closed) => return Reply::Fault(self.autopsy(question.limits)),
                Err(_) => return nonsense(),
            };
            if let Err(error) = progress.advance(by) {
                return Reply::Stopped(error);
            }
            if waited > question.limits.wall() {
                let limit = question.limits.wall_seconds;
                return Reply::Fault(Fault::TimedOut(format!("{limit} s")));
            }
        }
    }

    fn tell(&mut self, question: &Question<'_>) -> io::Result<()> {
        let sha256 = question.trust.sha256;
        if !self.knows(sha256) {
            wire::send(&self.socket, Kind::Trust, question.trust.text.as_bytes(), None)?;
            self.known.truncate(KEPT_TRUST.saturating_sub(1));
            self.known.push_front(*sha256);
        }
        // From outside, so that the child cannot raise it. Where the system does not let us, the wall clock stands.
        let cpu = self.ready.cpu.saturating_add(question.limits.cpu_seconds);
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        let limit = Rlimit {
            current: Some(cpu),
            maximum: None,
        };
        let _ = prlimit(pid, Resource::Cpu, limit);
        let mut body = Vec::with_capacity(question.request.len().saturating_add(32));
        body.extend_from_slice(sha256);
        body.extend_from_slice(question.request);
        wire::send(&self.socket, Kind::Request, &body, Some(question.file.as_fd()))
    }

    fn done(&mut self, mut body: Vec<u8>) -> Reply {
        let Some((rest, cpu)) = body.split_last_chunk::<8>() else {
            return nonsense();
        };
        self.ready.cpu = self.ready.cpu.max(u64::from_le_bytes(*cpu));
        let length = rest.len();
        body.truncate(length);
        Reply::Done(body)
    }

    fn refused(&self, body: &[u8], name: &Path) -> Reply {
        match serde_json::from_slice::<Refusal>(body) {
            Ok(refusal) => Reply::Refused(refusal.error(name)),
            Err(_) => nonsense(),
        }
    }

    /// How the child ended.
    fn autopsy(&mut self, limits: Limits) -> Fault {
        match self.wait() {
            Some(status) => Fault::of(
                status,
                &self.last_words(),
                limits.memory_bytes,
                limits.cpu_seconds,
            ),
            None => Fault::Crashed("it closed its door and went on".to_owned()),
        }
    }

    fn wait(&mut self) -> Option<ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < FAREWELL {
            match self.process.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                Err(_) => return None, // somebody else in this process waited for it
            }
        }
        None
    }

    /// What it wrote to standard error, as far as anybody reads it.
    fn last_words(&mut self) -> String {
        let mut words = Vec::new();
        let mut limited = (&self.words).take(MAX_WORDS);
        let _ = limited.read_to_end(&mut words); // ends with an error where another process holds the pipe open
        String::from_utf8_lossy(&words).into_owned()
    }

    /// Kill it; whether it is gone already.
    pub fn end(&mut self) -> bool {
        if self.parent != id() {
            return true;
        }
        let _ = self.process.kill();
        !self.runs()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.end() {
            self.wait();
        }
    }
}

fn nonsense() -> Reply {
    Reply::Fault(Fault::Crashed("its answer made no sense".to_owned()))
}
