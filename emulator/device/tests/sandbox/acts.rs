//! The acts: what is denied, how, and what must go on working.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use caps::CapSet;
use outrigger_device::dma::{Gate, Mapping};
use outrigger_device::sandbox::Surroundings;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use super::sys::{self, call};

/// How an act ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// It works.
    Works,
    /// It fails with one of these errors.
    Fails(&'static [i32]),
    /// The kernel ends the process.
    Fatal,
    /// A signal ends the process; what it says on stderr is one line, which begins like this.
    Dies(i32, &'static str),
}

/// When an act is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The host is left, but there is no system call filter: the layers below it alone.
    Left,
    /// The sandbox is closed.
    Closed,
}

/// What a process has open when it enters.
pub(crate) struct Prepared {
    pub(crate) image: File,
    /// With guest RAM at 0 whose file has been cut short since.
    pub(crate) guest_ram: Gate,
    pub(crate) doorbell: OwnedFd,
    pub(crate) listener: UnixListener,
    pub(crate) client: UnixStream,
    pub(crate) port: u16,
    _port: TcpListener,
}

impl Prepared {
    pub(crate) fn new() -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path)?;
        let port = TcpListener::bind("127.0.0.1:0")?;
        let ram = rustix::fs::memfd_create("ram", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&ram, 8192)?;
        let mut guest_ram = Gate::new();
        let mapping = Mapping {
            address: 0,
            size: 8192,
            fd: ram.try_clone()?,
            offset: 0,
            readable: true,
            writable: true,
        };
        guest_ram.map(mapping).map_err(io::Error::other)?;
        guest_ram.set_bus_master(true);
        rustix::fs::ftruncate(&ram, 0)?;
        Ok(Self {
            image: tempfile::tempfile()?,
            guest_ram,
            doorbell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
            client: UnixStream::connect(&path)?,
            listener,
            port: port.local_addr()?.port(),
            _port: port,
        })
    }
}

pub(crate) struct Act {
    pub(crate) name: &'static str,
    pub(crate) moment: Moment,
    pub(crate) expected: Expected,
    /// Why it cannot be tried on this host.
    pub(crate) needs: fn(&Surroundings) -> Option<String>,
    pub(crate) run: fn(&Prepared) -> io::Result<()>,
}

const fn closed(
    name: &'static str,
    expected: Expected,
    run: fn(&Prepared) -> io::Result<()>,
) -> Act {
    Act {
        name,
        moment: Moment::Closed,
        expected,
        needs: |_| None,
        run,
    }
}

const fn left(
    name: &'static str,
    expected: Expected,
    needs: fn(&Surroundings) -> Option<String>,
    run: fn(&Prepared) -> io::Result<()>,
) -> Act {
    Act {
        name,
        moment: Moment::Left,
        expected,
        needs,
        run,
    }
}

const DENIED: Expected = Expected::Fails(&[libc::EPERM]);

fn namespaces(surroundings: &Surroundings) -> Option<String> {
    surroundings.namespaces.clone().err()
}

fn empty_root(surroundings: &Surroundings) -> Option<String> {
    surroundings.empty_root.clone().err()
}

fn landlock(surroundings: &Surroundings) -> Option<String> {
    surroundings.landlock.clone().err()
}

const PATH: &std::ffi::CStr = c"/etc/passwd";

fn address(of: &std::ffi::CStr) -> usize {
    of.as_ptr().addr()
}

fn bits(flags: i32) -> usize {
    usize::try_from(flags).unwrap_or(0)
}

/// A call whose arguments do not matter.
fn bare(number: i64) -> io::Result<()> {
    call(number, [0; 6])
}

fn not(unwanted: bool, what: &str) -> io::Result<()> {
    if unwanted {
        Err(io::Error::other(what.to_owned()))
    } else {
        Ok(())
    }
}

fn fallocate(prepared: &Prepared, mode: i32) -> io::Result<()> {
    let fd = bits(prepared.image.as_raw_fd());
    call(libc::SYS_fallocate, [fd, bits(mode), 0, 4096, 0, 0])
}

/// Sends the calling thread a signal.
fn own_signal(signal: i32) -> io::Result<()> {
    let process = bits(std::process::id().cast_signed());
    let thread = bits(rustix::thread::gettid().as_raw_nonzero().get());
    call(libc::SYS_tgkill, [process, thread, bits(signal), 0, 0, 0])
}

pub(crate) const ACTS: &[Act] = &[
    // The layers below the filter.
    left(
        "without_a_filter_files_are_out_of_reach",
        Expected::Fails(&[libc::ENOENT, libc::EACCES]),
        empty_root,
        |_| File::open("/etc/passwd").map(drop),
    ),
    left(
        "without_a_filter_landlock_denies_the_root",
        Expected::Fails(&[libc::EACCES]),
        landlock,
        |_| std::fs::read_dir("/").map(drop),
    ),
    left(
        "without_a_filter_nothing_can_be_created",
        Expected::Fails(&[libc::EROFS, libc::EACCES]),
        empty_root,
        |_| File::create("/new").map(drop),
    ),
    left(
        "without_a_filter_the_network_is_out_of_reach",
        Expected::Fails(&[libc::ENETUNREACH, libc::EACCES]),
        namespaces,
        |prepared| TcpStream::connect(("127.0.0.1", prepared.port)).map(drop),
    ),
    left(
        "without_a_filter_the_root_cannot_be_changed",
        DENIED,
        |_| None,
        |_| Ok(rustix::process::chroot("/")?),
    ),
    left(
        "no_capability_is_left",
        Expected::Works,
        |_| None,
        |_| {
            for set in [
                CapSet::Effective,
                CapSet::Permitted,
                CapSet::Inheritable,
                CapSet::Ambient,
            ] {
                not(
                    !caps::read(None, set).map_err(io::Error::other)?.is_empty(),
                    "a capability is left",
                )?;
            }
            Ok(())
        },
    ),
    left(
        "no_privilege_can_be_gained",
        Expected::Works,
        |_| None,
        |_| not(!rustix::thread::no_new_privs()?, "no_new_privs is off"),
    ),
    left(
        "no_core_is_dumped",
        Expected::Works,
        |_| None,
        |_| {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Core);
            not(
                limit.current != Some(0) || limit.maximum != Some(0),
                "there is room for a core",
            )
        },
    ),
    // Files.
    closed("open", DENIED, |_| {
        call(libc::SYS_open, [address(PATH), 0, 0, 0, 0, 0])
    }),
    closed("openat", DENIED, |_| File::open("/etc/passwd").map(drop)),
    closed("openat2", DENIED, |_| bare(libc::SYS_openat2)),
    closed("unlink", DENIED, |_| std::fs::remove_file("/etc/passwd")),
    closed("rename", DENIED, |_| {
        std::fs::rename("/etc/passwd", "/etc/x")
    }),
    closed("mount", DENIED, |_| bare(libc::SYS_mount)),
    closed("chroot", DENIED, |_| bare(libc::SYS_chroot)),
    // Programs, processes, threads.
    closed("execve", Expected::Fatal, |_| {
        call(libc::SYS_execve, [address(c"/bin/sh"), 0, 0, 0, 0, 0])
    }),
    closed("execveat", Expected::Fatal, |_| bare(libc::SYS_execveat)),
    closed("fork", Expected::Fatal, |_| bare(libc::SYS_fork)),
    closed("vfork", Expected::Fatal, |_| bare(libc::SYS_vfork)),
    closed("clone_of_a_process", Expected::Fatal, |_| {
        call(libc::SYS_clone, [bits(libc::SIGCHLD), 0, 0, 0, 0, 0])
    }),
    closed("clone_of_a_thread", DENIED, |_| {
        std::thread::Builder::new().spawn(|| ()).map(drop)
    }),
    closed("clone3", DENIED, |_| bare(libc::SYS_clone3)),
    closed("ptrace", Expected::Fatal, |_| bare(libc::SYS_ptrace)),
    closed("process_vm_readv", Expected::Fatal, |_| {
        bare(libc::SYS_process_vm_readv)
    }),
    closed("process_vm_writev", Expected::Fatal, |_| {
        bare(libc::SYS_process_vm_writev)
    }),
    closed("kill", DENIED, |_| call(libc::SYS_kill, [1, 0, 0, 0, 0, 0])),
    closed("pidfd_open", DENIED, |_| {
        call(libc::SYS_pidfd_open, [1, 0, 0, 0, 0, 0])
    }),
    closed("setns", DENIED, |_| bare(libc::SYS_setns)),
    closed("unshare", DENIED, |_| bare(libc::SYS_unshare)),
    closed("setrlimit", DENIED, |_| bare(libc::SYS_prlimit64)),
    // Sockets.
    closed("socket", Expected::Fatal, |_| {
        TcpListener::bind("127.0.0.1:0").map(drop)
    }),
    closed("connect", Expected::Fatal, |prepared| {
        let fd = bits(prepared.client.as_raw_fd());
        call(libc::SYS_connect, [fd, 0, 0, 0, 0, 0])
    }),
    closed("bind", DENIED, |_| bare(libc::SYS_bind)),
    closed("listen", DENIED, |_| bare(libc::SYS_listen)),
    // Descriptors.
    closed("fcntl_setfl", DENIED, |prepared| {
        Ok(rustix::fs::fcntl_setfl(
            &prepared.doorbell,
            rustix::fs::OFlags::empty(),
        )?)
    }),
    closed("fcntl_setown", DENIED, |prepared| {
        let fd = bits(prepared.doorbell.as_raw_fd());
        call(libc::SYS_fcntl, [fd, bits(libc::F_SETOWN), 0, 0, 0, 0])
    }),
    closed("ioctl", DENIED, |prepared| {
        prepared.client.set_nonblocking(true)
    }),
    // Files that others have mapped: one that is cut short makes them fault. The library for image formats takes it that there
    // is no such call.
    closed("ftruncate", Expected::Fails(&[libc::ENOSYS]), |prepared| {
        Ok(rustix::fs::ftruncate(&prepared.image, 0)?)
    }),
    closed("truncate", DENIED, |_| {
        call(libc::SYS_truncate, [address(PATH), 0, 0, 0, 0, 0])
    }),
    closed("fallocate_to_take_a_range_out", DENIED, |prepared| {
        fallocate(prepared, libc::FALLOC_FL_COLLAPSE_RANGE)
    }),
    closed("fallocate_to_put_a_range_in", DENIED, |prepared| {
        fallocate(prepared, libc::FALLOC_FL_INSERT_RANGE)
    }),
    closed(
        "images_can_free_and_zero_ranges",
        Expected::Works,
        |prepared| {
            for mode in [
                libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
                libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE,
            ] {
                match fallocate(prepared, mode) {
                    // Not every file system can.
                    Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                    outcome => outcome?,
                }
            }
            Ok(())
        },
    ),
    // Faults, and how the process ends itself.
    closed(
        "guest_ram_that_is_gone_is_zeroes",
        Expected::Works,
        |prepared| {
            let mut bytes = [1; 8192];
            for _ in 0..2 {
                prepared
                    .guest_ram
                    .read(0, &mut bytes)
                    .map_err(io::Error::other)?;
                prepared
                    .guest_ram
                    .write(0, &[0; 64])
                    .map_err(io::Error::other)?;
            }
            not(bytes != [0; 8192], "it is something else")?;
            not(prepared.guest_ram.lost() != Some(0), "nobody has noted it")
        },
    ),
    closed(
        "a_bad_address",
        Expected::Dies(
            libc::SIGSEGV,
            "outrigger-emulator: SIGSEGV at address 0x10: ",
        ),
        |_| sys::touch_nothing(),
    ),
    closed(
        "a_file_that_is_gone",
        Expected::Dies(libc::SIGBUS, "outrigger-emulator: SIGBUS at address 0x"),
        |prepared| sys::touch_past_the_end(&prepared.image),
    ),
    closed(
        "a_stack_that_overflows",
        Expected::Dies(libc::SIGSEGV, "outrigger-emulator: SIGSEGV at address 0x"),
        |_| not(sys::overflow(0) == 1, "it has no end"),
    ),
    closed(
        "an_illegal_instruction",
        Expected::Dies(libc::SIGILL, "outrigger-emulator: SIGILL at address 0x"),
        |_| sys::illegal_instruction(),
    ),
    closed(
        "a_fault_signal_that_was_sent",
        Expected::Dies(libc::SIGILL, "outrigger-emulator: SIGILL, sent by process "),
        |_| own_signal(libc::SIGILL),
    ),
    closed(
        "a_panic_that_others_would_wait_for",
        Expected::Dies(
            libc::SIGABRT,
            "outrigger-emulator: thread 'an act' panicked at ",
        ),
        |_| outrigger_device::crash::or_abort(|| panic!("on purpose")),
    ),
    closed("abort", Expected::Dies(libc::SIGABRT, ""), |_| {
        std::process::abort()
    }),
    closed("other_signals_to_itself", DENIED, |_| {
        own_signal(libc::SIGTERM)
    }),
    closed("fault_signals_to_others", DENIED, |_| {
        call(libc::SYS_tgkill, [1, 1, bits(libc::SIGSEGV), 0, 0, 0])
    }),
    closed("rt_sigaction", DENIED, |_| {
        call(libc::SYS_rt_sigaction, [bits(libc::SIGTERM), 0, 0, 8, 0, 0])
    }),
    // Code.
    closed("mmap_of_code", Expected::Fatal, |_| {
        let protection = bits(libc::PROT_READ | libc::PROT_EXEC);
        let flags = bits(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        call(libc::SYS_mmap, [0, 4096, protection, flags, usize::MAX, 0])
    }),
    closed("mprotect_to_code", Expected::Fatal, |_| {
        call(libc::SYS_mprotect, [0, 0, bits(libc::PROT_EXEC), 0, 0, 0])
    }),
    closed("pkey_mprotect_to_code", Expected::Fatal, |_| {
        call(
            libc::SYS_pkey_mprotect,
            [0, 0, bits(libc::PROT_EXEC), usize::MAX, 0, 0],
        )
    }),
    // The kernel.
    closed("io_uring_setup", Expected::Fatal, |_| {
        bare(libc::SYS_io_uring_setup)
    }),
    closed("io_uring_register", DENIED, |_| {
        bare(libc::SYS_io_uring_register)
    }),
    closed("bpf", Expected::Fatal, |_| bare(libc::SYS_bpf)),
    closed("init_module", Expected::Fatal, |_| {
        bare(libc::SYS_init_module)
    }),
    closed("finit_module", Expected::Fatal, |_| {
        bare(libc::SYS_finit_module)
    }),
    closed("kexec_load", Expected::Fatal, |_| {
        bare(libc::SYS_kexec_load)
    }),
    closed("keyctl", DENIED, |_| bare(libc::SYS_keyctl)),
    closed("perf_event_open", DENIED, |_| {
        bare(libc::SYS_perf_event_open)
    }),
    closed("userfaultfd", DENIED, |_| bare(libc::SYS_userfaultfd)),
    closed("seccomp", DENIED, |_| bare(libc::SYS_seccomp)),
    closed("prctl", DENIED, |_| bare(libc::SYS_prctl)),
    // What serving needs.
    closed("images_can_be_used", Expected::Works, |prepared| {
        use std::os::unix::fs::FileExt;
        prepared.image.write_all_at(b"block", 512)?;
        rustix::fs::fdatasync(&prepared.image)?;
        let mut bytes = [0; 5];
        prepared.image.read_exact_at(&mut bytes, 512)?;
        not(
            &bytes != b"block",
            "the image does not keep what is written",
        )
    }),
    closed("clients_can_be_served", Expected::Works, |prepared| {
        let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
        let mut client = &prepared.client;
        let mut socket = UnixStream::from(rustix::net::accept_with(&prepared.listener, flags)?);
        socket.write_all(b"reply")?;
        let mut bytes = [0; 5];
        client.read_exact(&mut bytes)?;
        not(&bytes != b"reply", "the reply is not what was sent")
    }),
    closed("a_ring_can_be_made", Expected::Works, |_| {
        let memory =
            rustix::fs::memfd_create("ring", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC)?;
        rustix::io::pwrite(&memory, &[0], 4095)?;
        rustix::fs::fcntl_add_seals(
            &memory,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
        )?;
        eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        sys::map_and_unmap(
            &memory,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED,
        )
    }),
    closed("a_doorbell_rings", Expected::Works, |prepared| {
        rustix::io::write(&prepared.doorbell, &1_u64.to_ne_bytes())?;
        rustix::io::read(&prepared.doorbell, &mut [0; 8])?;
        Ok(())
    }),
];
