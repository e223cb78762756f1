//! What the kernel takes from a child beside its resource limits: the file system, the network, other processes, and
//! every system call that parsing does not need. On kernels without Landlock or seccomp the rest still holds.

use std::collections::BTreeMap;
use std::io;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};

/// The newest interface that this list of rights was read against.
const NEWEST: ABI = ABI::V9;

/// No new privileges by any program, and nobody of the same user may look into this process or trace it.
pub fn close_up() -> io::Result<()> {
    set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Landlock without a single rule: no path, no port, no abstract socket, no signal to others. Holds for this thread and
/// those that it starts from here on. Returns the version that is on.
pub fn landlock() -> Option<u32> {
    let on = || {
        Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?
            .restrict_self()
    };
    let status = on().ok()?;
    match status.ruleset {
        RulesetStatus::NotEnforced => None,
        _ => ABI::from(status.landlock).to_string().parse().ok(),
    }
}

/// Allow what computing over an open file and answering over an open socket takes; any other call kills the process.
/// Holds for all threads.
pub fn seccomp() -> bool {
    program().is_some_and(|program| apply_filter_all_threads(&program).is_ok())
}

fn program() -> Option<BpfProgram> {
    let filter = SeccompFilter::new(
        allowed()?,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into().ok()?,
    );
    filter.ok()?.try_into().ok()
}

fn allowed() -> Option<BTreeMap<i64, Vec<SeccompRule>>> {
    let free = [
        // The file and the socket.
        libc::SYS_read,
        libc::SYS_pread64,
        libc::SYS_preadv,
        libc::SYS_preadv2,
        libc::SYS_readv,
        libc::SYS_lseek,
        libc::SYS_fstat,
        libc::SYS_fadvise64,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_write, // last words
        libc::SYS_writev,
        libc::SYS_close,
        // Memory.
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        // Threads that run already, and their clocks.
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_getrandom,
        libc::SYS_restart_syscall,
        // Ending.
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let mut allowed: BTreeMap<i64, Vec<SeccompRule>> =
        free.into_iter().map(|call| (call, Vec::new())).collect();
    let bits = |argument, mask: i32, value: i32| {
        let (mask, value) = (u64::try_from(mask).ok()?, u64::try_from(value).ok()?);
        SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(mask),
            value,
        )
        .ok()
    };
    // Memory of its own that cannot be executed: no file, no code.
    let data = || bits(2, libc::PROT_EXEC, 0);
    let anonymous = bits(3, libc::MAP_ANONYMOUS | libc::MAP_SHARED, libc::MAP_ANONYMOUS)?;
    allowed.insert(
        libc::SYS_mmap,
        vec![SeccompRule::new(vec![data()?, anonymous]).ok()?],
    );
    allowed.insert(libc::SYS_mprotect, vec![SeccompRule::new(vec![data()?]).ok()?]);
    // Only to abort: out of memory must be told apart from an attack.
    let abort = u64::try_from(libc::SIGABRT).ok()?;
    let abort = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, abort).ok()?;
    allowed.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![abort]).ok()?]);
    Some(allowed)
}
