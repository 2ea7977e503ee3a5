//! Hosts and containers that keep something from the emulator: it serves all the same, and says what protects less.
//!
//! The profiles of Docker and podman are written anew from what their documentation says that they deny.

mod environments {
    pub(crate) mod host;
}

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use environments::host::{BARE, Host, LANDLOCK, NAMESPACES, ROOT, Reduced, THREADS};
use libc::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER,
    CLONE_NEWUTS, ENOSYS, EOPNOTSUPP, EPERM,
};
use outrigger_proxy::{Endpoint, Intx, Proxy, ProxyOptions, Transport};
use outrigger_tests::PATIENCE;
use outrigger_tests::confine::{
    Denied, MemoryGroup, denied, denied_flags, deny, keep_capabilities, works,
};
use outrigger_tests::front::options;
use outrigger_vmm::Ram;
use rustix::process::geteuid;
use rustix::thread::CapabilitySet;

/// What is missing here where nothing is kept from the emulator; and what is, where `more` is kept from it.
fn with(here: &Reduced, more: &[&'static str]) -> Reduced {
    let mut all: Reduced = here.iter().chain(more).copied().collect();
    if all.contains(ROOT) && all.contains(LANDLOCK) {
        all.insert(BARE);
    }
    all
}

/// Serves in an environment that `enter` makes for a thread and what it starts.
#[track_caller]
fn in_environment(as_nobody: bool, first: &str, enter: impl FnOnce() + Send) -> Reduced {
    let host = Host::new();
    let started = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let command = host.command(first, as_nobody);
            enter();
            host.start(command)
        });
        thread.join().unwrap()
    });
    let mut running = started.unwrap_or_else(|(code, log)| panic!("{code:?}: {log}"));
    host.serves(&mut running)
}

/// What this host has, for root and for an ordinary user: pairs of `as_nobody` and what is missing anyway.
fn users() -> Vec<(bool, Reduced)> {
    let root = geteuid().is_root();
    let users = if root { &[false, true][..] } else { &[true] };
    (users.iter())
        .map(|as_nobody| (*as_nobody, in_environment(*as_nobody, "", || ())))
        .collect()
}

/// Denies these calls, and compares with a host that has all.
fn without(calls: &[Denied], as_root: &[&'static str], as_user: &[&'static str]) {
    for (as_nobody, here) in users() {
        let more = match as_nobody {
            false => as_root,
            true => as_user,
        };
        let found = in_environment(as_nobody, "", || deny(calls).unwrap());
        assert_eq!(found, with(&here, more), "as nobody: {as_nobody}");
    }
}

const IO_URING: [i64; 3] = [
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];
const LANDLOCK_CALLS: [i64; 3] = [
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
];

#[test]
fn no_io_uring() {
    // As the sysctl kernel.io_uring_disabled and Docker have it, and as an old kernel and podman do.
    for errno in [EPERM, ENOSYS] {
        without(&[denied(errno, &IO_URING)], &[THREADS], &[THREADS]);
    }
}

#[test]
fn no_user_namespaces() {
    let user = [CLONE_NEWUSER as u64];
    for errno in [EPERM, libc::ENOSPC] {
        let calls = [libc::SYS_unshare, libc::SYS_clone];
        let calls = calls.map(|call| denied_flags(errno, call, &user));
        // Root needs none.
        without(&calls, &[], &[NAMESPACES, ROOT]);
    }
}

#[test]
fn no_landlock() {
    for errno in [ENOSYS, EOPNOTSUPP] {
        without(&[denied(errno, &LANDLOCK_CALLS)], &[LANDLOCK], &[LANDLOCK]);
    }
}

#[test]
fn no_way_to_close_a_range_of_descriptors() {
    for errno in [ENOSYS, EPERM] {
        let calls = [denied(errno, &[libc::SYS_close_range])];
        // Some that are open by mistake.
        let first = "exec 5</dev/null 6</dev/zero 9</dev/full";
        for (as_nobody, here) in users() {
            let found = in_environment(as_nobody, first, || deny(&calls).unwrap());
            assert_eq!(found, here);
        }
    }
}

/// Flags of new namespaces.
const NAMESPACE_FLAGS: [i32; 7] = [
    CLONE_NEWNS,
    CLONE_NEWCGROUP,
    CLONE_NEWUTS,
    CLONE_NEWIPC,
    CLONE_NEWUSER,
    CLONE_NEWPID,
    CLONE_NEWNET,
];

/// What both profiles deny to a process without CAP_SYS_ADMIN and its kind.
const PRIVILEGED: [i64; 27] = [
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_open_by_handle_at,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_personality,
];

/// The capabilities that both leave to root.
const CONTAINER: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::KILL);

/// Serves in a container with these denied, in which root has few capabilities.
fn in_container(calls: &[Denied]) {
    for (as_nobody, here) in users() {
        let found = in_environment(as_nobody, "", || {
            if geteuid().is_root() {
                // Without CAP_SYS_ADMIN: only a thread without new privileges may bring a filter then, which deny() sees to.
                keep_capabilities(CONTAINER).unwrap();
            }
            deny(calls).unwrap();
        });
        assert_eq!(found, with(&here, &[THREADS, NAMESPACES, ROOT]));
    }
}

#[test]
fn docker() {
    let namespaces: Vec<u64> = NAMESPACE_FLAGS
        .map(|it| u64::from(it.cast_unsigned()))
        .to_vec();
    in_container(&[
        denied(EPERM, &PRIVILEGED),
        denied(EPERM, &IO_URING),
        denied_flags(EPERM, libc::SYS_clone, &namespaces),
        // A filter cannot look at its flags, so callers are to fall back.
        denied(ENOSYS, &[libc::SYS_clone3]),
    ]);
}

#[test]
fn podman() {
    let namespaces: Vec<u64> = NAMESPACE_FLAGS
        .map(|it| u64::from(it.cast_unsigned()))
        .to_vec();
    // What it does not know at all is as on a kernel without it.
    in_container(&[
        denied(EPERM, &PRIVILEGED),
        denied(ENOSYS, &IO_URING),
        denied_flags(EPERM, libc::SYS_clone, &namespaces),
        denied(ENOSYS, &[libc::SYS_clone3, libc::SYS_futex_waitv]),
    ]);
}

#[test]
fn an_unprivileged_user() {
    let found = in_environment(true, "", || ());
    assert!(!found.contains(THREADS), "{found:?}");
}

#[test]
fn a_read_only_root_file_system() {
    if !works("unshare", &["-m", "mount", "--make-rprivate", "/"]) {
        outrigger_skip::skipped("no right to make a mount namespace");
        return;
    }
    let host = Host::new();
    let (as_nobody, here) = users().remove(0);
    let script = "mount --make-rprivate / && mount --bind \"$DIR\" \"$DIR\" && mount -o remount,bind,ro / || exit 3\n\
                  if touch /probe 2>/dev/null; then exit 4; fi";
    let inner = host.command(script, as_nobody);
    let mut command = Command::new("unshare");
    command
        .arg("-m")
        .arg(inner.get_program())
        .args(inner.get_args());
    command
        .env("DIR", host.place.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let started = host.start(command);
    let mut running = started.unwrap_or_else(|(code, log)| panic!("{code:?}: {log}"));
    assert_eq!(host.serves(&mut running), here);
}

#[test]
fn a_control_group_of_32_mib() {
    let group = match MemoryGroup::new(32 << 20) {
        Ok(group) => group,
        Err(error) => {
            outrigger_skip::skipped(format!("no control group with a limit: {error:#}"));
            return;
        }
    };
    let enter = format!("echo $$ > '{}' || exit 3", group.entrance().display());
    let (_, here) = users().remove(0);
    assert_eq!(in_environment(false, &enter, || ()), here);
}

/// As a VMM attaches, up to the interrupt.
fn try_attach(endpoint: Endpoint, options: ProxyOptions) -> Result<(), outrigger_proxy::Error> {
    let (proxy, _ports) = Proxy::connect(endpoint, options)?;
    let ram = Ram::new(1 << 20).unwrap();
    proxy.attach_memory(ram.memory())?;
    proxy.enable_interrupt(&Intx::new().unwrap())
}

#[test]
fn few_descriptors() {
    let mut least = None;
    for limit in 8..64 {
        let host = Host::new();
        let started = host.start(host.command(&format!("ulimit -n {limit}"), false));
        match started {
            Err((code, log)) => {
                assert!(matches!(code, Some(1 | 2)), "{limit}: {code:?}: {log}");
                let last = log.lines().last().unwrap_or_default();
                assert!(last.starts_with("outrigger-emulator: "), "{limit}: {log}");
                assert!(!log.contains("panicked"), "{limit}: {log}");
                assert_eq!(least, None, "it serves with fewer: {log}");
            }
            Ok(mut running) => {
                let endpoint = Endpoint::Path(host.socket());
                let mut quick = options(Transport::Ring);
                quick.deadline = Duration::from_secs(2);
                let attached = try_attach(endpoint, quick);
                match attached {
                    Err(error) => {
                        assert_eq!(running.child.try_wait().unwrap(), None, "{limit}");
                        // It says why, and may still be about to.
                        let start = Instant::now();
                        while !running.log().contains(" WARN ") {
                            let log = running.log();
                            assert!(start.elapsed() < PATIENCE, "{limit}: {error}: {log}");
                            std::thread::yield_now();
                        }
                        assert!(!running.log().contains("panicked"), "{limit}");
                    }
                    Ok(()) => {
                        host.serves(&mut running);
                        least.get_or_insert(limit);
                        break;
                    }
                }
            }
        }
    }
    let least = least.expect("some number is enough");
    eprintln!("{least} descriptors are needed");
    assert!(least <= 32);
}
