//! Each limit of a confined child, tried for real: this very program is the child, and does what an attacker would.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use _verifier::confined::worker::TrustText;
use _verifier::confined::{Children, Confinement, Fault, Program, Setup, Task, child};
use _verifier::error::{Error, Result};
use _verifier::pool::pool;
use _verifier::source::Progress;
use rayon::prelude::*;
use rustix::fs::{MemfdFlags, memfd_create};
use sha2::{Digest, Sha256};

const TRUST: &str = r#"{"version": 1, "keys": []}"#;
const MIB: u64 = 1024 * 1024;
const MARK: &str = "LOTGATE_TEST_CHILD";

/// cargo leaves descriptors open for what it starts.
const CLOSE_AND_RUN: &str = r#"for n in /proc/self/fd/*; do
    n=${n##*/}
    [ "$n" -le 2 ] || eval "exec $n>&-"
done
exec "$0" "$@""#;

/// Not a test: the child. Without its mark it does nothing.
#[test]
fn the_child() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    match child::serve(&mut |job, out| attack(job.request, &job.file, out)) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

fn attack(request: &[u8], file: &File, out: &child::Outbox<'_>) -> Result<Vec<u8>> {
    let request = String::from_utf8(request.to_vec()).unwrap();
    let (what, argument) = request.split_once(' ').unwrap_or((&request, ""));
    let denied = |result: std::io::Result<()>| match result {
        Ok(()) => Ok(b"allowed".to_vec()),
        Err(error) => Ok(format!("denied {:?}", error.kind()).into_bytes()),
    };
    match what {
        "read" => {
            let mut bytes = vec![0; 64];
            let n = file.read_at(&mut bytes, 0).unwrap();
            bytes.truncate(n);
            Ok(bytes)
        }
        "parts" => {
            out.part(b"one")?;
            out.part(b"two")?;
            Ok(b"three".to_vec())
        }
        "threads" => {
            // Blocks that each thread frees again: an allocator may be tempted to look into /proc then.
            let sum: usize = pool()?.install(|| {
                (0..200_usize)
                    .into_par_iter()
                    .map(|n| (0..40).map(|_| vec![n as u8; 100_000]).collect::<Vec<_>>().len())
                    .sum()
            });
            Ok(sum.to_string().into_bytes())
        }
        "open" => denied(File::open(argument).map(drop)),
        "list" => denied(std::fs::read_dir("/").map(drop)),
        "create" => denied(File::create(argument).map(drop)),
        "connect" => denied(std::net::TcpStream::connect("127.0.0.1:9").map(drop)),
        "socket" => denied(std::os::unix::net::UnixStream::pair().map(drop)),
        "fork" => denied(Command::new("/bin/true").spawn().map(drop)),
        "exec" => {
            use std::os::unix::process::CommandExt;
            denied(Err(Command::new("/bin/true").exec()))
        }
        "thread" => denied(std::thread::Builder::new().spawn(|| {}).map(drop)),
        "signal" => {
            let parent = rustix::process::getppid().unwrap();
            denied(rustix::process::test_kill_process(parent).map_err(Into::into))
        }
        "shared-memory" => denied(
            memfd_create("x", MemfdFlags::empty())
                .map(drop)
                .map_err(Into::into),
        ),
        "allocate" => Ok(std::hint::black_box(vec![1_u8; 8 << 30])[..1].to_vec()),
        "gather" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![7_u8; 1 << 16]);
            }
        }
        "spin" => {
            let mut n = 1_u64;
            while n != 0 {
                n = std::hint::black_box(n.wrapping_mul(3));
            }
            Ok(Vec::new())
        }
        "sleep" => {
            std::thread::sleep(Duration::from_secs(30));
            Ok(Vec::new())
        }
        "progress" => {
            for n in 1..=300 {
                std::thread::sleep(Duration::from_millis(100));
                out.progress(n)?;
            }
            Ok(Vec::new())
        }
        "chatter" => loop {
            out.part(&[0; 100_000])?;
        },
        "shout" => loop {
            eprintln!("{argument}");
        },
        "recurse" => Ok(vec![recurse(std::hint::black_box(1))]),
        "panic" => panic!("on purpose"),
        "abort" => std::process::abort(),
        "exit" => std::process::exit(7),
        "refuse" => Err(Error::Unreadable("not today".to_owned())),
        "error" => Err(Error::io(Path::new("x"))(std::io::Error::from_raw_os_error(5))),
        other => unreachable!("{other}"),
    }
}

#[expect(unconditional_recursion, reason = "to overflow the stack")]
fn recurse(n: u8) -> u8 {
    let here = std::hint::black_box([n; 4096]);
    recurse(here[17]).wrapping_add(here[18])
}

struct Fixture {
    children: Children,
    file: File,
}

impl Fixture {
    fn new(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            threads: 2,
            ..Setup::default()
        };
        change(&mut setup);
        let mut arguments: Vec<OsString> = vec!["--norc".into(), "-c".into(), CLOSE_AND_RUN.into()];
        arguments.push(std::env::current_exe().unwrap().into());
        arguments.extend(["the_child", "--exact", "--nocapture", "--test-threads=1"].map(Into::into));
        let program = Program {
            path: "/bin/bash".into(),
            arguments,
            environment: [(MARK, "1"), ("MALLOC_ARENA_MAX", "1")]
                .map(|(name, value)| (name.into(), value.into()))
                .to_vec(),
        };
        let mut file = File::from(memfd_create("evidence", MemfdFlags::CLOEXEC).unwrap());
        file.write_all(b"what the supplier sent").unwrap();
        Fixture {
            children: Children::new(program, setup),
            file,
        }
    }

    fn all(
        &self,
        what: &str,
        size: u64,
        part: &mut dyn FnMut(Vec<u8>) -> Result<()>,
        report: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<(std::result::Result<Vec<u8>, Fault>, Confinement)> {
        let sha256 = Sha256::digest(TRUST).into();
        let task = Task {
            trust: TrustText {
                text: TRUST,
                sha256: &sha256,
            },
            file: &self.file,
            name: Path::new("evidence"),
            size,
            pace: MIB,
            output: 4 * MIB,
        };
        let request = |_: &Confinement| what.as_bytes().to_vec();
        self.children
            .ask(&task, &request, part, &mut Progress::new(report))
    }

    fn ask(&self, what: &str) -> std::result::Result<String, Fault> {
        let (answer, _) = self.all(what, 1, &mut |_| Ok(()), &mut |_| Ok(())).unwrap();
        answer.map(|body| String::from_utf8(body).unwrap())
    }

    fn fault(&self, what: &str) -> Fault {
        let fault = self.ask(what).unwrap_err();
        assert_eq!(
            self.ask("read").unwrap(),
            "what the supplier sent",
            "after {what}"
        );
        fault
    }
}

#[test]
fn a_child_reads_the_file_it_was_given_and_answers_in_parts() {
    let fixture = Fixture::new(|_| {});
    assert_eq!(fixture.ask("read").unwrap(), "what the supplier sent");
    let mut parts = Vec::new();
    let keep = &mut |part| {
        parts.push(part);
        Ok(())
    };
    let (last, confinement) = fixture.all("parts", 1, keep, &mut |_| Ok(())).unwrap();
    assert_eq!(last.unwrap(), b"three");
    assert_eq!(parts, [b"one", b"two"]);
    assert_eq!(fixture.ask("threads").unwrap(), "8000");
    assert_eq!(confinement.limits.processes, 0);
}

#[test]
fn a_refused_system_call_is_an_outcome_of_its_own() {
    let fixture = Fixture::new(|_| {});
    if !fixture
        .all("read", 1, &mut |_| Ok(()), &mut |_| Ok(()))
        .unwrap()
        .1
        .seccomp
    {
        println!("skipped: this kernel has no seccomp");
        return;
    }
    for what in [
        "open /etc/passwd",
        "list",
        "create /tmp/lotgate-escaped",
        "connect",
        "socket",
        "fork",
        "exec",
        "thread",
        "signal",
        "shared-memory",
    ] {
        assert_eq!(fixture.fault(what), Fault::RefusedCall, "{what}");
    }
    assert!(!Path::new("/tmp/lotgate-escaped").exists());
}

#[test]
fn without_seccomp_landlock_still_keeps_files_and_network_away_and_the_verdict_says_so() {
    let fixture = Fixture::new(|setup| setup.seccomp = false);
    let (_, confinement) = fixture.all("read", 1, &mut |_| Ok(()), &mut |_| Ok(())).unwrap();
    assert!(!confinement.seccomp);
    let Some(version) = confinement.landlock else {
        println!("skipped: this kernel has no Landlock");
        return;
    };
    for what in ["open /etc/passwd", "list", "create /tmp/lotgate-escaped", "exec"] {
        assert_eq!(fixture.ask(what).unwrap(), "denied PermissionDenied", "{what}");
    }
    if version >= 4 {
        assert_eq!(fixture.ask("connect").unwrap(), "denied PermissionDenied");
    }
    if version >= 6 {
        assert_eq!(fixture.ask("signal").unwrap(), "denied PermissionDenied");
    }
}

#[test]
fn with_neither_the_resource_limits_still_hold_and_the_verdict_says_so() {
    let fixture = Fixture::new(|setup| {
        setup.landlock = false;
        setup.seccomp = false;
        setup.memory = 256 * MIB;
        setup.cpu_seconds = 1;
    });
    let (_, confinement) = fixture.all("read", 1, &mut |_| Ok(()), &mut |_| Ok(())).unwrap();
    assert_eq!((confinement.landlock, confinement.seccomp), (None, false));
    assert_eq!(fixture.fault("gather"), Fault::OutOfMemory("256 MiB".to_owned()));
    assert!(matches!(fixture.fault("spin"), Fault::TimedOut(_)));
}

#[test]
fn too_much_memory_is_told_apart_from_a_crash() {
    let fixture = Fixture::new(|setup| setup.memory = 256 * MIB);
    assert_eq!(
        fixture.fault("allocate"),
        Fault::OutOfMemory("256 MiB".to_owned())
    );
    assert_eq!(fixture.fault("gather"), Fault::OutOfMemory("256 MiB".to_owned()));
}

#[test]
fn too_much_time_of_the_processor_or_of_the_clock_is_a_time_out() {
    let fixture = Fixture::new(|setup| setup.cpu_seconds = 1);
    assert_eq!(
        fixture.fault("spin"),
        Fault::TimedOut("1 s of computing".to_owned())
    );
    let fixture = Fixture::new(|setup| setup.wall_seconds = 1);
    assert_eq!(fixture.fault("sleep"), Fault::TimedOut("1 s".to_owned()));
}

#[test]
fn each_request_has_its_own_time_of_the_processor() {
    // Two of a second each do not add up to what a third may not have.
    let fixture = Fixture::new(|setup| setup.cpu_seconds = 2);
    for _ in 0..2 {
        assert!(matches!(fixture.fault("spin"), Fault::TimedOut(_)));
    }
}

#[test]
fn endless_answers_and_endless_words_are_stopped() {
    let fixture = Fixture::new(|setup| setup.wall_seconds = 1);
    assert_eq!(fixture.fault("chatter"), Fault::TooMuchOutput(4 * MIB));
    assert_eq!(fixture.fault("shout x"), Fault::TimedOut("1 s".to_owned()));
}

#[test]
fn crashes_name_how() {
    let fixture = Fixture::new(|_| {});
    let crashed = |what: &str| match fixture.fault(what) {
        Fault::Crashed(how) => how,
        other => panic!("{what}: {other:?}"),
    };
    assert_eq!(crashed("abort"), "signal 6, abort");
    assert_eq!(crashed("exit"), "it ended without an answer (status 7)");
    assert_eq!(crashed("panic"), "it panicked (on purpose)");
    let overflow = crashed("recurse");
    assert!(
        overflow.starts_with("signal 6") || overflow.starts_with("signal 11"),
        "{overflow}"
    );
}

#[test]
fn errors_of_the_work_itself_come_back_as_they_were() {
    let fixture = Fixture::new(|_| {});
    let error = fixture
        .all("refuse", 1, &mut |_| Ok(()), &mut |_| Ok(()))
        .unwrap_err();
    assert!(
        matches!(&error, Error::Unreadable(text) if text == "not today"),
        "{error:?}"
    );
    let error = fixture
        .all("error", 1, &mut |_| Ok(()), &mut |_| Ok(()))
        .unwrap_err();
    assert!(
        matches!(&error, Error::Io { path, source } if path == Path::new("evidence")
        && source.raw_os_error() == Some(5)),
        "{error:?}"
    );
}

#[test]
fn progress_is_told_and_a_cancel_is_quick() {
    let fixture = Fixture::new(|_| {});
    fixture.ask("read").unwrap();
    let mut told = Vec::new();
    let mut asked = None;
    let cancelled = fixture.all("progress", 1, &mut |_| Ok(()), &mut |done| {
        told.push(done);
        if done < 5 {
            return Ok(());
        }
        asked = Some(Instant::now());
        Err(Error::Cancelled)
    });
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    // How quick is measured by the benchmark; here, that nobody waits for the work.
    assert!(asked.unwrap().elapsed() < Duration::from_secs(2));
    assert!(told.is_sorted() && told.len() > 1, "{told:?}");

    // The same where nothing is told: the parent asks its caller all the same.
    let began = Instant::now();
    let cancelled = fixture.all("sleep", 1, &mut |_| Ok(()), &mut |_| Err(Error::Cancelled));
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(fixture.ask("read").unwrap(), "what the supplier sent");
}

#[test]
fn small_files_do_not_wait_for_large_ones_nor_the_other_way_round() {
    let fixture = Fixture::new(|setup| setup.wall_seconds = 2);
    let large = 17 * MIB;
    std::thread::scope(|scope| {
        // All places for large files are taken, and one more waits.
        for _ in 0..3 {
            scope.spawn(|| fixture.all("sleep", large, &mut |_| Ok(()), &mut |_| Err(Error::Cancelled)));
        }
        for _ in 0..20 {
            assert_eq!(fixture.ask("read").unwrap(), "what the supplier sent");
        }
    });
}

#[test]
fn many_at_once() {
    let fixture = Fixture::new(|_| {});
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for n in 0..20 {
                    match n % 5 {
                        0 => assert!(fixture.ask("panic").is_err()),
                        _ => assert_eq!(fixture.ask("read").unwrap(), "what the supplier sent"),
                    }
                }
            });
        }
    });
}

#[test]
fn a_program_that_cannot_be_started_or_is_another_is_a_fault_of_ours() {
    for program in ["/bin/false", "/nonexistent"] {
        let mut fixture = Fixture::new(|_| {});
        fixture.children = Children::new(
            Program {
                path: program.into(),
                arguments: Vec::new(),
                environment: Vec::new(),
            },
            Setup::default(),
        );
        let error = fixture
            .all("read", 1, &mut |_| Ok(()), &mut |_| Ok(()))
            .unwrap_err();
        assert!(
            matches!(&error, Error::Fault(text) if text.contains("cannot be started")),
            "{error:?}"
        );
    }
}
