//! The handlers.
#![expect(
    unsafe_code,
    reason = "no safe wrapper of sigaction with the fault's address is among the dependencies"
)]

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::ptr;

use super::{FAULTS, Fault, Text};
use crate::dma::replace_lost;
use crate::log::write_now;

/// Sets [`handle`] as the action of each signal of [`FAULTS`].
pub(super) fn install() -> io::Result<()> {
    for (signal, _) in FAULTS {
        // On the stack that Rust gives each thread for this: its own may have overflowed.
        let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void) = handle;
        set_action(signal, handler as libc::sighandler_t, flags)?;
    }
    Ok(())
}

fn set_action(
    signal: libc::c_int,
    handler: libc::sighandler_t,
    flags: libc::c_int,
) -> io::Result<()> {
    // SAFETY: all zeroes is an action: no handler, no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: `action` is valid, and the old action is not asked for. The handler is the default
    // one, or `handle`, which has the signature that SA_SIGINFO asks for and does nothing that a
    // handler must not (see there).
    if unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Runs in the middle of anything: it takes no lock and allocates nothing, here and in what it
/// calls, and keeps `errno`.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the address of the calling thread's own `errno`, which nobody else writes meanwhile.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    // SAFETY: with SA_SIGINFO the kernel passes a valid record.
    let info = unsafe { &*info };
    // Not above 0: a process has sent it.
    let raised = info.si_code > 0;
    // SAFETY: for a signal that was sent the record holds the sender.
    let sender = (!raised).then(|| unsafe { info.si_pid() });
    // SAFETY: for a signal that a fault has raised it holds the address.
    let address = raised.then(|| unsafe { info.si_addr() }.addr());
    let fault = Fault {
        signal,
        sender,
        address: address.unwrap_or(0),
        stack_pointer: stack_pointer(context),
    };
    // An address that is not aligned is no matter of memory that is gone.
    let gone = raised && signal == libc::SIGBUS && info.si_code != libc::BUS_ADRALN;
    if !(gone && replace_lost(fault.address)) {
        end(&fault);
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// Says why and sends the signal again, to end the process as it would have without a handler.
fn end(fault: &Fault) {
    // SAFETY: descriptor 2 is open in every Rust program: the runtime opens it where a parent has
    // closed it.
    let stderr = unsafe { BorrowedFd::borrow_raw(libc::STDERR_FILENO) };
    // Where it cannot be written there is nobody to tell.
    let _ = write_now(stderr, Text::of(fault).bytes());
    let restored = set_action(fault.signal, libc::SIG_DFL, 0);
    // It is blocked while its handler runs, and takes effect as soon as that returns.
    // SAFETY: no memory is involved.
    let sent = unsafe { libc::raise(fault.signal) } == 0;
    if restored.is_err() || !sent {
        // SAFETY: ends the process at once, without handlers or destructors.
        unsafe { libc::_exit(128_i32.saturating_add(fault.signal)) }
    }
}

/// The stack pointer of the code that was interrupted.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn stack_pointer(context: *mut c_void) -> Option<usize> {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: with SA_SIGINFO the kernel passes the context that it has saved.
    let registers = unsafe { &(*context).uc_mcontext.gregs };
    let pointer = registers.get(usize::try_from(libc::REG_RSP).ok()?)?;
    usize::try_from(*pointer).ok()
}

/// The stack pointer of the code that was interrupted.
#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
fn stack_pointer(context: *mut c_void) -> Option<usize> {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: with SA_SIGINFO the kernel passes the context that it has saved.
    usize::try_from(unsafe { (*context).uc_mcontext.sp }).ok()
}

/// The stack pointer of the code that was interrupted, which is not known here.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn stack_pointer(_context: *mut c_void) -> Option<usize> {
    None
}
