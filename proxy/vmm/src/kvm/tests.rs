//! The virtual machine's own tests.

use std::os::fd::AsRawFd;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use outrigger_proxy::Access;

use super::*;
use crate::board::Board;
use crate::board::HostBridge;
use outrigger_proxy::Intx;
use outrigger_proxy::in_process;
use outrigger_proxy::port::{Port, PortError};

mod assembly;
mod interrupts;
mod signals;
mod slots;

/// A device with nothing but its config space.
#[derive(Debug)]
struct Nothing;

impl Port for Nothing {
    fn read(&mut self, _: Access) -> Result<u64, PortError> {
        Ok(0)
    }

    fn post(&mut self, _: Access, _: u64) -> Result<(), PortError> {
        Ok(())
    }

    fn write(&mut self, _: Access, _: u64) -> Result<(), PortError> {
        Ok(())
    }
}

/// Surroundings with nothing in them.
fn empty_board() -> Board {
    let ports = in_process::attach(vec![Box::new(Nothing)], [0; 7]).unwrap();
    let port = ports.into_iter().next().unwrap();
    Board::new(port, Arc::<HostBridge>::default())
}

/// A copy of the descriptor, as a child has it between fork and exec, keeps the machine, but not the interrupt.
#[test]
fn the_interrupt_is_free_for_the_next_machine() {
    if let Some(reason) = kvm_unavailable() {
        outrigger_skip::skipped(reason);
        return;
    }
    let ram = Ram::new(0x10_0000).unwrap();
    let interrupt = Intx::new().unwrap();
    let new = || Vm::new(&ram, 11, &interrupt);
    let first = new().unwrap();
    assert!(matches!(first.wiring, Wiring::Irqfd { .. }));
    let this_process = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let copy = pidfd_getfd(this_process, first.fd.as_raw_fd(), PidfdGetfdFlags::empty()).unwrap();
    drop(first);
    assert!(matches!(new().unwrap().wiring, Wiring::Irqfd { .. }));
    drop(copy);
}

#[test]
fn a_call_that_is_interrupted_is_made_again() {
    let mut interruptions = 3;
    let result = uninterrupted(|| {
        if interruptions > 0 {
            interruptions -= 1;
            return Err(kvm_ioctls::Error::new(libc::EINTR));
        }
        Ok(interruptions)
    });
    assert_eq!(result.ok(), Some(0));
    let busy = uninterrupted(|| Err::<(), _>(kvm_ioctls::Error::new(libc::EBUSY)));
    assert_eq!(busy.map_err(|error| error.errno()), Err(libc::EBUSY));
}
