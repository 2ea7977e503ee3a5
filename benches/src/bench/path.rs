//! What an access costs a guest under KVM: its exit, and what comes on top over each front.
//!
//! A guest of four instructions reads or writes one register in a loop. What answers it is exchanged: nothing at all
//! (the exit itself), or the device over each front. The difference is what the front adds.

mod sys;

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use outrigger_proxy::VcpuPort;
use outrigger_ring::Width;
use outrigger_vmm::{Ram, kvm_unavailable};

use super::clock::{Timed, time};
use super::cpus::Cpus;
use crate::front::{Front, Pinning, Source, connect};

/// Where the guest's code is.
const CODE: u64 = 0x1000;
/// Where the device's registers are.
const REGISTERS: u32 = 0xfe00_0000;
/// SCRATCHA: a register without effects.
const OFFSET: u32 = 0x34;
const RAM_BYTES: u64 = 64 << 20;

/// What the guest does in its loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// A read of four bytes: it waits.
    Read,
    /// A write of four bytes: posted.
    Write,
}

impl Act {
    pub(crate) const ALL: [Self; 2] = [Self::Read, Self::Write];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "posted write",
        }
    }

    /// `mov eax, [ebx]` or `mov [ebx], eax`, then back to it.
    const fn code(self) -> [u8; 4] {
        match self {
            Self::Read => [0x8b, 0x03, 0xeb, 0xfc],
            Self::Write => [0x89, 0x03, 0xeb, 0xfc],
        }
    }
}

/// One figure per round.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) act: Act,
    /// `None`: the exit alone.
    pub(crate) front: Option<Front>,
    pub(crate) nanoseconds: Vec<f64>,
    pub(crate) last: Option<Timed>,
}

const BUDGET: Duration = Duration::from_millis(200);

/// Measures each combination once per round, in turn. `None` where there is no KVM.
pub(crate) fn measure(
    cpus: Cpus,
    rounds: usize,
    mut say: impl FnMut(&str),
) -> Result<Option<Vec<Found>>> {
    if kvm_unavailable().is_some() {
        return Ok(None);
    }
    let fronts = std::iter::once(None).chain(Front::ALL.map(Some));
    let mut found: Vec<Found> = fronts
        .flat_map(|front| {
            Act::ALL.map(|act| Found {
                act,
                front,
                nanoseconds: Vec::new(),
                last: None,
            })
        })
        .collect();
    for round in 1..=rounds {
        say(&format!("path, round {round} of {rounds}"));
        for figure in &mut found {
            let timed = one(cpus, figure.act, figure.front)?;
            figure.nanoseconds.push(timed.nanoseconds);
            match &mut figure.last {
                Some(last) => last.single.add(&timed.single)?,
                None => figure.last = Some(timed),
            }
        }
    }
    Ok(Some(found))
}

fn one(cpus: Cpus, act: Act, front: Option<Front>) -> Result<Timed> {
    let Some(front) = front else {
        return cpus.alone(|| {
            let mut guest = Guest::new(act)?;
            time(BUDGET, || guest.exit(|_, _| true, |_, _| true))
        });
    };
    let ram = Ram::new(RAM_BYTES)?;
    let (_device, ports) = connect(
        front,
        Pinning::Apart,
        &[Source::Memory { bytes: 1 << 20 }],
        &ram,
    )?;
    let mut port = ports.into_iter().next().ok_or_else(|| anyhow!("no port"))?;
    place(&mut port);
    cpus.alone(|| {
        let port = std::cell::RefCell::new(port);
        let mut guest = Guest::new(act)?;
        let timed = time(BUDGET, || {
            guest.exit(
                |address, data| port.borrow_mut().mmio_read(address, data),
                |address, data| port.borrow_mut().mmio_write(address, data),
            )
        })?;
        // What was posted has taken effect, and the device still answers.
        let mut register = [0; 4];
        if !port
            .borrow_mut()
            .mmio_read(u64::from(REGISTERS + OFFSET), &mut register)
            || port.borrow().is_dead()
        {
            bail!("the device died");
        }
        Ok(timed)
    })
}

/// Puts the register BAR where the guest looks for it.
fn place(port: &mut VcpuPort) {
    const BAR_1: u16 = 0x14;
    const COMMAND: u16 = 0x04;
    const MEMORY_SPACE: u64 = 2;
    port.config_write(BAR_1, Width::Dword, REGISTERS.into());
    port.config_write(COMMAND, Width::Word, MEMORY_SPACE);
}

/// A virtual machine with one vCPU that does nothing else.
struct Guest {
    // Dropped in this order: what uses the memory goes first.
    vcpu: VcpuFd,
    _vm: VmFd,
    _ram: Ram,
}

impl Guest {
    fn new(act: Act) -> Result<Self> {
        let ram = Ram::new(1 << 20)?;
        ram.write(CODE, &act.code())?;
        let vm = Kvm::new()?.create_vm()?;
        sys::map_ram(&vm, &ram)?;
        let vcpu = vm.create_vcpu(0)?;
        let mut sregs = vcpu.get_sregs()?;
        // Flat 32-bit protected mode.
        for segment in [&mut sregs.cs, &mut sregs.ds, &mut sregs.es, &mut sregs.ss] {
            segment.base = 0;
            segment.limit = u32::MAX;
            segment.g = 1;
            segment.db = 1;
        }
        sregs.cr0 |= 1;
        vcpu.set_sregs(&sregs)?;
        let mut regs = vcpu.get_regs()?;
        regs.rip = CODE;
        regs.rbx = u64::from(REGISTERS + OFFSET);
        regs.rflags = 2;
        vcpu.set_regs(&regs)?;
        Ok(Self {
            vcpu,
            _vm: vm,
            _ram: ram,
        })
    }

    /// Runs to the next exit and answers it.
    fn exit(
        &mut self,
        read: impl FnOnce(u64, &mut [u8]) -> bool,
        write: impl FnOnce(u64, &[u8]) -> bool,
    ) -> Result<()> {
        let decoded = match self.vcpu.run() {
            Ok(VcpuExit::MmioRead(address, data)) => read(address, data),
            Ok(VcpuExit::MmioWrite(address, data)) => write(address, data),
            Ok(other) => bail!("the guest left its loop: {other:?}"),
            Err(error) => bail!("KVM_RUN: {error}"),
        };
        if !decoded {
            bail!("the device does not decode its register");
        }
        Ok(())
    }
}
