//! The system call filter: an allow-list, a list of what only an attacker tries, and of what is better missing.
//!
//! Three filters are installed; the kernel takes the strictest of their answers. What is on no list fails with EPERM
//! instead of ending the process: a library's harmless whim must not take a guest's disk away. What only an
//! attacker tries (another program, another process, new code, the network) ends the process at once. What a library
//! tries and can do without answers that it does not exist.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::SandboxError;

/// What serving needs, whatever the arguments.
const ALLOWED: &[i64] = &[
    // Clients come; their messages and descriptors (guest RAM, eventfds) come in, replies and the ring's memory go out.
    libc::SYS_accept4,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_close,
    // Doorbells, interrupts, wake descriptors; the log.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_eventfd2,
    // Waiting.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_ctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // The clock, where the vDSO cannot tell it; how many CPUs there are to spin on.
    libc::SYS_clock_gettime,
    libc::SYS_sched_getaffinity,
    // Image I/O, by io_uring or by threads. No descriptor of anything but the images can be had for it.
    libc::SYS_io_uring_enter,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    // The ring's shared memory is made when a client attaches; a client's file is measured before it is mapped.
    libc::SYS_memfd_create,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_munmap,
    // The allocator.
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Seeds of hash tables.
    libc::SYS_getrandom,
    // A thread that was started just before: the C library and Rust set it up before its own code runs. (It also
    // takes its name, by prctl, below.)
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_gettid,
    // Whom `abort` sends its signal to.
    libc::SYS_getpid,
    // The end of a signal handler, of a thread, of the process.
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What `fcntl` may be asked. Not F_SETFL: O_NONBLOCK belongs to the open file, which the peer shares; cleared on a
/// doorbell it would make the peer's next write wait for ever.
const FCNTL_COMMANDS: &[i32] = &[
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GET_SEALS,
    libc::F_ADD_SEALS,
];

/// What `fallocate` may be asked: to free and to zero ranges of images. Not to take ranges out of a file: that cuts it
/// short.
const FALLOCATE_MODES: &[i32] = &[
    libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
    libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE,
    libc::FALLOC_FL_ZERO_RANGE,
];

/// What answers that it does not exist. A file of guest RAM that is cut short makes the VMM fault, so nothing here may do
/// that to any file; nor is it needed: what the process makes itself it makes by writing, and the library for image formats,
/// which asks for it to let an image grow, writes zeroes when it is told that there is no such call.
const MISSING: &[i64] = &[libc::SYS_ftruncate];

/// How the process ends itself: `abort`, and the handlers of faults. They restore the action of the signal, and send it again.
const OWN_SIGNALS: &[i32] = &[
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGSEGV,
    libc::SIGILL,
    libc::SIGFPE,
];

/// What ends the process, whatever the arguments.
const FATAL: &[i64] = &[
    // Another program.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Another process, or another process's memory.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    // The network, and other processes' sockets.
    libc::SYS_socket,
    libc::SYS_connect,
    // The kernel itself. A new io_uring instance would have none of the restrictions of those that were made before.
    libc::SYS_io_uring_setup,
    libc::SYS_bpf,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
];

/// Puts the filters on every thread.
pub(super) fn install() -> Result<(), SandboxError> {
    let allowed = program(
        allow_list()?,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        SeccompAction::Allow,
    )?;
    let fatal = program(
        fatal_list()?,
        SeccompAction::Allow,
        SeccompAction::KillProcess,
    )?;
    let missing = program(
        MISSING.iter().map(|call| (*call, Vec::new())).collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
    )?;
    // The list of what is allowed comes last: it does not allow another filter.
    seccompiler::apply_filter_all_threads(&fatal)?;
    seccompiler::apply_filter_all_threads(&missing)?;
    seccompiler::apply_filter_all_threads(&allowed)?;
    Ok(())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn program(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, SandboxError> {
    let filter = SeccompFilter::new(
        rules,
        otherwise,
        matched,
        std::env::consts::ARCH.try_into()?,
    )?;
    Ok(filter.try_into()?)
}

fn allow_list() -> Result<Rules, SandboxError> {
    // Of two filters that refuse a call, the kernel takes the errno of the last: MISSING has to pass here.
    let passed = ALLOWED.iter().chain(MISSING);
    let mut rules: Rules = passed.map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_fcntl, one_of(1, FCNTL_COMMANDS)?);
    rules.insert(libc::SYS_fallocate, one_of(1, FALLOCATE_MODES)?);
    rules.insert(libc::SYS_prctl, one_of(0, &[libc::PR_SET_NAME])?);
    rules.insert(libc::SYS_rt_sigaction, one_of(0, OWN_SIGNALS)?);
    // To a thread of this process, and of no other.
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let to_itself = OWN_SIGNALS.iter().map(|signal| {
        let conditions = vec![equals(0, own)?, equals(2, *signal)?];
        Ok(SeccompRule::new(conditions)?)
    });
    let to_itself: Result<_, SandboxError> = to_itself.collect();
    rules.insert(libc::SYS_tgkill, to_itself?);
    // Memory, but none that can be executed.
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![rule(2, SeccompCmpOp::MaskedEq(executable), 0)?]);
    }
    Ok(rules)
}

fn fatal_list() -> Result<Rules, SandboxError> {
    let mut rules: Rules = FATAL.iter().map(|call| (*call, Vec::new())).collect();
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    for call in [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
        rules.insert(
            call,
            vec![rule(2, SeccompCmpOp::MaskedEq(executable), executable)?],
        );
    }
    // A thread would share everything; without this flag it is a process. (clone3 hides its flags from the
    // filter, so it just fails.)
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    rules.insert(
        libc::SYS_clone,
        vec![rule(0, SeccompCmpOp::MaskedEq(thread), 0)?],
    );
    Ok(rules)
}

/// A rule for each of the values that the argument may have.
fn one_of(argument: u8, values: &[i32]) -> Result<Vec<SeccompRule>, SandboxError> {
    let rules = values
        .iter()
        .map(|value| Ok(SeccompRule::new(vec![equals(argument, *value)?])?));
    rules.collect()
}

fn equals(argument: u8, value: i32) -> Result<SeccompCondition, SandboxError> {
    // As the kernel's filter sees an argument of 32 bits.
    let value = u64::from(value.cast_unsigned());
    let width = SeccompCmpArgLen::Dword;
    Ok(SeccompCondition::new(
        argument,
        width,
        SeccompCmpOp::Eq,
        value,
    )?)
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, SandboxError> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}
