//! Step 1, guest exit: one vCPU.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kvm_bindings::{KVM_MP_STATE_RUNNABLE, kvm_dtable, kvm_mp_state, kvm_regs, kvm_segment};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::{Vm, failed};
use crate::board::Board;
use crate::error::VmmError;
use crate::guest::layout::{GDT, IDT};
use crate::prepare::{CODE_SELECTOR, DATA_SELECTOR, GDT_BYTES, IDT_BYTES};

/// How a vCPU's run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It wrote this word to the report port.
    Reported(u32),
    /// The host stopped it.
    Stopped,
    /// It cannot go on.
    Broken(String),
}

/// One vCPU.
#[derive(Debug)]
pub(crate) struct Vcpu {
    fd: VcpuFd,
    // Declared after the descriptor: the machine, with the guest's memory, must not go before it.
    vm: Arc<Vm>,
}

impl Vcpu {
    pub(super) fn new(vm: Arc<Vm>, id: usize, entry: u32, stack: u32) -> Result<Self, VmmError> {
        let number = u64::try_from(id).unwrap_or(u64::MAX);
        let fd = vm
            .fd
            .create_vcpu(number)
            .map_err(failed("creating a vCPU"))?;
        fd.set_cpuid2(&vm.cpuid).map_err(failed("setting CPUID"))?;
        let mut sregs = fd
            .get_sregs()
            .map_err(failed("reading segment registers"))?;
        let data = kvm_segment {
            base: 0,
            limit: u32::MAX,
            selector: DATA_SELECTOR,
            type_: 3,
            present: 1,
            dpl: 0,
            db: 1,
            s: 1,
            l: 0,
            g: 1,
            avl: 0,
            unusable: 0,
            padding: 0,
        };
        sregs.cs = kvm_segment {
            selector: CODE_SELECTOR,
            type_: 11,
            ..data
        };
        (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
        sregs.gdt = kvm_dtable {
            base: GDT.into(),
            limit: GDT_BYTES - 1,
            padding: [0; 3],
        };
        sregs.idt = kvm_dtable {
            base: IDT.into(),
            limit: IDT_BYTES - 1,
            padding: [0; 3],
        };
        // Protected mode, and the numeric error bit that is always 1.
        sregs.cr0 |= 0x21;
        fd.set_sregs(&sregs)
            .map_err(failed("setting segment registers"))?;
        let regs = kvm_regs {
            rip: entry.into(),
            rsp: stack.into(),
            rax: number,
            rflags: 2,
            ..kvm_regs::default()
        };
        fd.set_regs(&regs).map_err(failed("setting registers"))?;
        // With in-kernel interrupt controllers all vCPUs but the first would wait for a start-up interrupt.
        fd.set_mp_state(kvm_mp_state {
            mp_state: KVM_MP_STATE_RUNNABLE,
        })
        .map_err(failed("making a vCPU runnable"))?;
        Ok(Self { fd, vm })
    }

    /// Runs until the guest reports, `stop` is set and the thread kicked, or KVM cannot go on.
    pub(crate) fn run(&mut self, board: &mut Board, stop: &AtomicBool) -> End {
        while !stop.load(Ordering::Acquire) {
            let exit = match self.fd.run() {
                Ok(exit) => exit,
                Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {
                    board.exits().interrupted += 1;
                    continue;
                }
                Err(error) => return End::Broken(error.to_string()),
            };
            let accesses = board.accesses();
            match exit {
                VcpuExit::MmioRead(address, data) => {
                    board.exits().memory_reads += 1;
                    board.memory_read(address, data);
                }
                VcpuExit::MmioWrite(address, data) => {
                    board.exits().memory_writes += 1;
                    board.memory_write(address, data);
                }
                VcpuExit::IoIn(port, data) => {
                    board.exits().port_reads += 1;
                    board.port_read(port, data);
                }
                VcpuExit::IoOut(port, data) => {
                    board.exits().port_writes += 1;
                    board.port_write(port, data);
                    if let Some(word) = board.reported() {
                        return End::Reported(word);
                    }
                }
                VcpuExit::Intr => board.exits().interrupted += 1,
                other => return End::Broken(format!("{other:?}")),
            }
            if board.accesses() != accesses {
                self.vm.wiring.accessed();
            }
        }
        End::Stopped
    }
}
