//! How a child can fail a file. None of these is ever a pass.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// By a signal, a panic, or by ending without an answer.
    Crashed(String),
    /// The limit that was reached.
    TimedOut(String),
    OutOfMemory(String),
    /// It called for something that a parser has no use for.
    RefusedCall,
    /// Its answer was longer than any answer may be.
    TooMuchOutput(u64),
}

impl Fault {
    /// The name that machines know it by.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Crashed(_) => "crashed",
            Fault::TimedOut(_) => "timed_out",
            Fault::OutOfMemory(_) => "out_of_memory",
            Fault::RefusedCall => "refused_call",
            Fault::TooMuchOutput(_) => "too_much_output",
        }
    }

    /// What happened, as a sentence for people.
    pub fn reason(&self) -> String {
        let what = match self {
            Fault::Crashed(how) => format!("The process that read it crashed: {how}."),
            Fault::TimedOut(limit) => format!("Reading it took more than {limit}, so it was stopped."),
            Fault::OutOfMemory(limit) => format!("Reading it needed more memory than {limit}, so it was stopped."),
            Fault::RefusedCall => "The process that read it tried to do what no parser needs (such as open a file, \
                                   connect or start a program) and was killed by the kernel: the file is an attack, \
                                   or the verifier has a fault."
                .to_owned(),
            Fault::TooMuchOutput(limit) => {
                format!("The process that read it answered with more than {limit} bytes, so it was stopped.")
            }
        };
        format!("{what} Nothing was verified; report this with the file.")
    }

    /// What the end of a process says, together with its last words.
    pub fn of(status: ExitStatus, words: &str, memory: u64, cpu: u64) -> Self {
        const SIGABRT: i32 = 6;
        const SIGXCPU: i32 = 24;
        const SIGSYS: i32 = 31;
        match status.signal() {
            Some(SIGSYS) => Fault::RefusedCall,
            Some(SIGXCPU) => Fault::TimedOut(format!("{cpu} s of computing")),
            Some(SIGABRT) if words.contains("memory allocation of ") => {
                Fault::OutOfMemory(format!("{} MiB", memory >> 20))
            }
            Some(9) => Fault::Crashed(
                "it was killed (signal 9) from outside: by a person, or because the machine ran out of memory"
                    .to_owned(),
            ),
            Some(signal) => Fault::Crashed(format!("signal {signal}{}", name(signal))),
            None => Fault::Crashed(format!(
                "it ended without an answer (status {})",
                status.code().unwrap_or(-1)
            )),
        }
    }
}

/// The usual names, where they are the same on all machines.
fn name(signal: i32) -> &'static str {
    match signal {
        4 => ", illegal instruction",
        6 => ", abort",
        7 => ", bus error",
        8 => ", arithmetic",
        11 => ", invalid memory access",
        15 => ", told to end",
        _ => "",
    }
}
