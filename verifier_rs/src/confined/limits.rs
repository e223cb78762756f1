//! What a child may use. Resource limits work on every kernel; Landlock and seccomp (`sandbox`) come on top.

use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::worker::Setup;

const MIB: u64 = 1024 * 1024;

/// Memory that a child may write to. The verifier needs a few buffers of 1 MiB; a batch of attestations below 300.
pub const MEMORY: u64 = 1024 * MIB;
/// Address space beyond that memory: the interpreter's and libraries' own pages, stacks, reserves never touched.
const ADDRESS_SPACE_MORE: u64 = 1024 * MIB;
const STACK: u64 = 8 * MIB;
/// Standard input (the socket) and its copy, output, error, the file; one to spare.
const OPEN_FILES: u64 = 6;

/// Seconds of CPU and of waiting for any file, however small.
pub const CPU_BASE: u64 = 20;
pub const WALL_BASE: u64 = 60;
/// How much longer a child may be waited for than it may compute: the machine may be busy, the disk slow.
const WALL_FACTOR: u64 = 4;

/// What one request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub memory_bytes: u64,
    pub cpu_seconds: u64,
    pub wall_seconds: u64,
    pub output_bytes: u64,
    pub processes: u64,
    pub written_bytes: u64,
    pub open_files: u64,
}

impl Limits {
    /// For `size` bytes of which a second of CPU must get through `pace`.
    pub fn of(setup: &Setup, size: u64, pace: u64, output: u64) -> Self {
        let work = size.checked_div(pace).unwrap_or(size);
        Limits {
            memory_bytes: setup.memory,
            cpu_seconds: setup.cpu_seconds.saturating_add(work),
            wall_seconds: setup
                .wall_seconds
                .saturating_add(work.saturating_mul(WALL_FACTOR)),
            output_bytes: output,
            processes: 0,
            written_bytes: 0,
            open_files: OPEN_FILES,
        }
    }

    pub fn wall(&self) -> Duration {
        Duration::from_secs(self.wall_seconds)
    }
}

/// What confined the process that gave a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The version of Landlock's interface that was on; `None` where the kernel has none.
    pub landlock: Option<u32>,
    pub seccomp: bool,
    pub limits: Limits,
}

/// Take what this process has no use for, for good. Its threads must run already: there will be no others.
pub fn apply(memory: u64) -> io::Result<()> {
    let limits = [
        (Resource::Data, memory),
        (Resource::As, memory.saturating_add(ADDRESS_SPACE_MORE)),
        (Resource::Stack, STACK),
        (Resource::Nproc, 0), // root may have more all the same; seccomp refuses it
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
        (Resource::Nofile, OPEN_FILES),
    ];
    for (resource, value) in limits {
        let limit = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, limit)?;
    }
    Ok(())
}
