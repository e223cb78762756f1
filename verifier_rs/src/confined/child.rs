//! Inside a child: give up everything, then answer requests until the parent is gone.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::wire::{self, Frame, Kind};
use super::worker::Setup;
use super::{limits, sandbox};
use crate::error::{Error, Result};
use crate::pool;
use crate::trust::Trust;

/// How many trust files a child keeps; its parent keeps the same count.
pub const KEPT_TRUST: usize = 8;

/// What a child says of itself once it is confined.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    pub landlock: Option<u32>,
    pub seccomp: bool,
    /// Seconds of CPU used so far.
    pub cpu: u64,
}

/// One request.
pub struct Job<'a> {
    pub request: &'a [u8],
    pub trust: &'a Trust,
    pub file: File,
}

/// The head of a request; the rest of its body is for the work itself.
#[derive(Serialize, Deserialize)]
pub struct Head {
    /// Which of the trust files sent before.
    pub trust: [u8; 32],
}

/// The way back to the parent.
pub struct Outbox<'a> {
    socket: &'a OwnedFd,
}

impl Outbox<'_> {
    pub fn progress(&self, done: u64) -> Result<()> {
        self.send(Kind::Progress, &done.to_le_bytes())
    }

    pub fn part(&self, part: &[u8]) -> Result<()> {
        self.send(Kind::Part, part)
    }

    fn send(&self, kind: Kind, body: &[u8]) -> Result<()> {
        // A parent that is gone wants nothing any more.
        wire::send(self.socket, kind, body, None).map_err(|_| Error::Cancelled)
    }
}

/// An error on its way to the parent.
#[derive(Serialize, Deserialize)]
pub struct Refusal {
    kind: String,
    text: String,
    errno: Option<i32>,
}

impl Refusal {
    fn of(error: &Error) -> Self {
        let (kind, errno) = match error {
            Error::Io { source, .. } => ("io", source.raw_os_error()),
            Error::Unreadable(_) => ("unreadable", None),
            Error::State(_) => ("state", None),
            Error::Trust(_) => ("trust", None),
            Error::Rules(_) => ("rules", None),
            Error::Argument(_) => ("argument", None),
            Error::Fault(_) => ("fault", None),
            Error::Cancelled => ("cancelled", None),
        };
        Refusal {
            kind: kind.to_owned(),
            text: error.to_string(),
            errno,
        }
    }

    /// The error again, on the other side.
    pub fn error(self, name: &std::path::Path) -> Error {
        match (self.kind.as_str(), self.errno) {
            ("io", Some(errno)) => Error::io(name)(io::Error::from_raw_os_error(errno)),
            ("state", _) => Error::State(self.text),
            ("trust", _) => Error::Trust(self.text),
            ("rules", _) => Error::Rules(self.text),
            ("argument", _) => Error::Argument(self.text),
            ("fault", _) => Error::Fault(self.text),
            _ => Error::Unreadable(self.text),
        }
    }
}

/// Serve the parent at the other end of standard input. Returns when the parent is gone.
pub fn serve(work: &mut dyn FnMut(Job<'_>, &Outbox<'_>) -> Result<Vec<u8>>) -> io::Result<()> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    nothing_inherited(&socket)?;
    let Some((frame, None)) = wire::receive(&socket)? else {
        return Ok(());
    };
    let setup: Setup = serde_json::from_slice(&frame.body)?;
    let ready = confine(&setup)?;
    wire::send(&socket, Kind::Ready, &serde_json::to_vec(&ready)?, None)?;

    let mut kept: VecDeque<([u8; 32], Trust)> = VecDeque::new();
    while let Some((frame, file)) = wire::receive(&socket)? {
        match (frame.kind, file) {
            (Kind::Trust, None) => match read_trust(&frame) {
                Ok(trust) => {
                    kept.truncate(KEPT_TRUST.saturating_sub(1));
                    kept.push_front((Sha256::digest(&frame.body).into(), trust));
                }
                Err(error) => refuse(&socket, &error)?,
            },
            (Kind::Request, Some(file)) => answer(&socket, &frame, File::from(file), &kept, work)?,
            _ => return Err(io::Error::other("expected a request with its file")),
        }
    }
    Ok(())
}

fn read_trust(frame: &Frame) -> Result<Trust> {
    let text = str::from_utf8(&frame.body).map_err(|_| Error::Trust("trust file: not UTF-8".to_owned()))?;
    Trust::parse(text)
}

fn refuse(socket: &OwnedFd, error: &Error) -> io::Result<()> {
    let body = serde_json::to_vec(&Refusal::of(error))?;
    wire::send(socket, Kind::Refused, &body, None)
}

fn answer(
    socket: &OwnedFd,
    frame: &Frame,
    file: File,
    kept: &VecDeque<([u8; 32], Trust)>,
    work: &mut dyn FnMut(Job<'_>, &Outbox<'_>) -> Result<Vec<u8>>,
) -> io::Result<()> {
    let Some((named, request)) = frame.body.split_first_chunk::<32>() else {
        return Err(io::Error::other("the request is cut"));
    };
    let Some((_, trust)) = kept.iter().find(|(digest, _)| digest == named) else {
        return Err(io::Error::other(
            "the request names a trust file that was not sent",
        ));
    };
    let job = Job { request, trust, file };
    let done = catch_unwind(AssertUnwindSafe(|| work(job, &Outbox { socket })));
    match done {
        Ok(Ok(mut body)) => {
            body.extend_from_slice(&cpu().to_le_bytes());
            wire::send(socket, Kind::Done, &body, None)
        }
        Ok(Err(Error::Cancelled)) => Err(io::Error::other("the parent is gone")),
        Ok(Err(error)) => refuse(socket, &error),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("a panic without words");
            wire::send(socket, Kind::Panicked, text.as_bytes(), None)?;
            // Whatever it left half-done must not meet the next file.
            Err(io::Error::other("a panic"))
        }
    }
}

/// Only standard input (the socket), output and error, and the copy of the socket, may be open.
fn nothing_inherited(socket: &OwnedFd) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let known = [0, 1, 2, socket.as_raw_fd()];
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else {
        return Ok(()); // without /proc there is nothing to look into; whoever started this closed them
    };
    let mut strangers = 0_u32;
    for entry in open {
        let name = entry?.file_name();
        let number: Option<i32> = name.to_str().and_then(|name| name.parse().ok());
        if number.is_none_or(|number| !known.contains(&number)) {
            strangers = strangers.saturating_add(1);
        }
    }
    // One is this very directory.
    if strangers <= 1 {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "{} descriptors were inherited",
            strangers.saturating_sub(1)
        )))
    }
}

/// In this order: threads inherit Landlock, so they come after it; limits and the filter would forbid threads.
fn confine(setup: &Setup) -> io::Result<Ready> {
    set_hook(Box::new(|_| {})); // the parent is told what a panic says; a trace would read files
    // What these look up once, they look up now: the processor's features, the clock's address, the number of cores.
    aws_lc_rs::init();
    cpu();
    let _ = regex::bytes::Regex::new("").map(|regex| regex.is_match(b""));
    sandbox::close_up()?;
    let landlock = if setup.landlock { sandbox::landlock() } else { None };
    pool::start(setup.threads).map_err(|error| io::Error::other(error.to_string()))?;
    limits::apply(setup.memory)?;
    let seccomp = setup.seccomp && sandbox::seccomp();
    Ok(Ready {
        landlock,
        seccomp,
        cpu: cpu(),
    })
}

/// Seconds of CPU that this process has used, rounded up.
fn cpu() -> u64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let used = Duration::try_from(used).unwrap_or_default();
    used.as_secs().saturating_add(1)
}
