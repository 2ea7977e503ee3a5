//! INTx as an irqfd with a resample descriptor: a level that KVM holds until the guest's end of interrupt.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kvm_bindings::{KVM_CAP_SPLIT_IRQCHIP, kvm_enable_cap};
use kvm_ioctls::Cap;
use outrigger_proxy::Width;
use vmm_sys_util::eventfd::EventFd;

use super::assembly::Assembly;
use super::*;
use crate::guest::layout::{CODE, INTERRUPT_LINE, STACK_TOP};
use crate::guest::program::GuestProgram;
use crate::prepare::descriptor_tables;

const RAM: u64 = 0x10_0000;
/// The handler reads here.
const BAR: u32 = 0xfe00_0000;
/// The guest reports that it goes round.
const ROUND: u32 = 0x100;
/// It reports that it is in its interrupt handler, before the end of interrupt.
const HANDLER: u32 = 0x200;
/// It reports an interrupt that it does not expect, or an exception.
const ODD: u32 = 0x300;

/// Goes round with a gap for interrupts; the handler ends the interrupt and goes round again (KVM interprets no IRET in
/// protected mode).
fn program() -> GuestProgram {
    let mut code = Assembly::default();
    // Interrupts from 0x20 on, level-triggered, all but this line masked.
    let line = 1 << INTERRUPT_LINE;
    for (port, value) in [
        (0x20, 0x11),
        (0x21, 0x20),
        (0x21, 4),
        (0x21, 1),
        (0x21, !line),
    ] {
        code.out(port, value);
    }
    code.word(&[0xba], 0x4d0).bytes(&[0xb0, line, 0xee]);
    let round = code.here();
    code.bytes(&[0xfb, 0x90, 0x90, 0xfa]); // sti; nop; nop; cli
    code.word(&[0xb8], ROUND).report().back(0xeb, round);
    let mut handler = |reason, end: bool| {
        let at = u32::try_from(code.here()).unwrap();
        code.bytes(&[0x83, 0xc4, 12]); // add esp, 12
        code.word(&[0xa1], BAR); // mov eax, [BAR]
        code.word(&[0xb8], reason).report();
        if end {
            code.out(0x20, 0x20);
        }
        code.back(0xeb, round);
        at
    };
    let interrupt = handler(HANDLER, true);
    let spurious = handler(ODD, false);
    GuestProgram {
        bytes: code.0.leak(),
        start: 0,
        interrupt,
        spurious,
        exception: spurious,
    }
}

struct Rig {
    vm: Arc<Vm>,
    vcpu: Vcpu,
    board: Board,
    intx: Intx,
}

impl Rig {
    fn new() -> Self {
        Self::with(wiring::irqfd, empty_board())
    }

    fn with(register: Register, board: Board) -> Self {
        let ram = Ram::new(RAM).unwrap();
        let program = program();
        ram.write(CODE.into(), program.bytes).unwrap();
        descriptor_tables(&ram, &program).unwrap();
        let intx = Intx::new().unwrap();
        let vm = Vm::wired(&ram, INTERRUPT_LINE, &intx, register).unwrap();
        let vm = Arc::new(vm);
        let mut rig = Self {
            vcpu: vm.vcpu(0, CODE, STACK_TOP).unwrap(),
            vm,
            board,
            intx,
        };
        assert_eq!(rig.step(), ROUND);
        rig
    }

    /// Runs to the guest's next report.
    fn step(&mut self) -> u32 {
        match self.vcpu.run(&mut self.board, &AtomicBool::new(false)) {
            End::Reported(word) => word,
            end => panic!("{end:?}"),
        }
    }

    /// Runs until the guest is in its handler. KVM delivers an eventfd's signal in its own time.
    fn interrupted(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.step() {
                HANDLER => return,
                word => assert_eq!(word, ROUND),
            }
            assert!(Instant::now() < deadline, "no interrupt comes");
        }
    }

    /// Goes round a hundred times without an interrupt.
    fn quiet(&mut self) {
        for _ in 0..100 {
            assert_eq!(self.step(), ROUND);
        }
    }
}

fn signalled(event: &EventFd) -> bool {
    event.read().is_ok()
}

#[test]
fn the_line_stays_up_until_the_end_of_interrupt() {
    if let Some(reason) = kvm_unavailable() {
        outrigger_skip::skipped(reason);
        return;
    }
    let mut rig = Rig::new();
    rig.quiet();
    for _ in 0..3 {
        rig.intx.trigger().write(1).unwrap();
        rig.interrupted();
        assert!(!signalled(rig.intx.resample()), "not yet acknowledged");
        // The end of interrupt comes before the next report.
        assert_eq!(rig.step(), ROUND);
        assert!(signalled(rig.intx.resample()));
        // Nobody has raised the line again.
        rig.quiet();
        assert!(!signalled(rig.intx.resample()));
    }
}

#[test]
fn a_line_that_is_still_up_interrupts_again() {
    if let Some(reason) = kvm_unavailable() {
        outrigger_skip::skipped(reason);
        return;
    }
    let mut rig = Rig::new();
    rig.intx.trigger().write(1).unwrap();
    for _ in 0..5 {
        rig.interrupted();
        assert_eq!(rig.step(), ROUND);
        assert!(signalled(rig.intx.resample()));
        // What an emulator does whose line is still up.
        rig.intx.trigger().write(1).unwrap();
    }
    rig.interrupted();
    assert_eq!(rig.step(), ROUND);
    assert!(signalled(rig.intx.resample()));
    rig.quiet();
}

#[test]
fn two_devices_share_a_line() {
    if let Some(reason) = kvm_unavailable() {
        outrigger_skip::skipped(reason);
        return;
    }
    let mut rig = Rig::new();
    let other = Intx::new().unwrap();
    let line = INTERRUPT_LINE.into();
    rig.vm
        .fd
        .register_irqfd_with_resample(other.trigger(), other.resample(), line)
        .unwrap();
    let both = |rig: &Rig| [signalled(rig.intx.resample()), signalled(other.resample())];
    // Whichever device asks, both are asked afterwards whether their line is still up, and one that is asks again.
    let mine = rig.intx.trigger().try_clone().unwrap();
    for trigger in [&mine, other.trigger(), other.trigger()] {
        trigger.write(1).unwrap();
        rig.interrupted();
        assert_eq!(both(&rig), [false, false]);
        assert_eq!(rig.step(), ROUND);
        assert_eq!(both(&rig), [true, true]);
    }
    rig.quiet();
    assert_eq!(both(&rig), [false, false]);
    rig.vm.fd.unregister_irqfd(other.trigger(), line).unwrap();
}

/// A device with a line that stays up until it was read so many times.
#[derive(Debug)]
struct Asks(Arc<AtomicU32>);

impl Port for Asks {
    fn read(&mut self, access: Access) -> Result<u64, PortError> {
        if access.region == 1 {
            let fewer = |left: u32| left.checked_sub(1);
            let _ = self
                .0
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, fewer);
        }
        Ok(0)
    }

    fn post(&mut self, _: Access, _: u64) -> Result<(), PortError> {
        Ok(())
    }

    fn write(&mut self, _: Access, _: u64) -> Result<(), PortError> {
        Ok(())
    }
}

/// A KVM that refuses the irqfd: the VMM raises the line, and the handler's first look at the device counts as the end.
#[test]
fn without_an_irqfd_the_interrupt_goes_through_the_vmm() {
    if let Some(reason) = kvm_unavailable() {
        outrigger_skip::skipped(reason);
        return;
    }
    let asks = Arc::new(AtomicU32::new(0));
    let mut sizes = [0; 7];
    sizes[1] = 0x400;
    let ports = in_process::attach(vec![Box::new(Asks(Arc::clone(&asks)))], sizes).unwrap();
    let mut port = ports.into_iter().next().unwrap();
    port.config_write(0x14, Width::Dword, BAR.into());
    port.config_write(0x04, Width::Word, 2);
    let board = Board::new(port, Arc::<HostBridge>::default());
    let refuse: Register = |_, _, _| Err(kvm_ioctls::Error::new(libc::EINVAL));
    let mut rig = Rig::with(refuse, board);
    assert!(matches!(rig.vm.wiring, Wiring::ByHand(_)));
    for times in [1, 4] {
        asks.store(times, Ordering::Release);
        rig.intx.trigger().write(1).unwrap();
        for left in (0..times).rev() {
            rig.interrupted();
            assert_eq!(asks.load(Ordering::Acquire), left);
            assert!(signalled(rig.intx.resample()));
            if left > 0 {
                // What an emulator does whose line is still up.
                rig.intx.trigger().write(1).unwrap();
            }
        }
        rig.quiet();
        assert!(!signalled(rig.intx.resample()));
    }
}

/// Without the I/O APIC in the kernel there is nobody there who sees the end of a level: KVM says so, and the VMM takes the
/// trigger and tells the end itself.
#[test]
fn a_split_irqchip_leaves_the_level_to_the_vmm() {
    if let Some(reason) = kvm_unavailable() {
        outrigger_skip::skipped(reason);
        return;
    }
    let vm = uninterrupted(|| Kvm::new().unwrap().create_vm()).unwrap();
    let mut split = kvm_enable_cap {
        cap: KVM_CAP_SPLIT_IRQCHIP,
        ..kvm_enable_cap::default()
    };
    split.args[0] = 24;
    if !vm.check_extension(Cap::SplitIrqchip) || vm.enable_cap(&split).is_err() {
        outrigger_skip::skipped("this KVM has no split interrupt controllers");
        return;
    }
    let intx = Intx::new().unwrap();
    let refused = vm.register_irqfd_with_resample(intx.trigger(), intx.resample(), 5);
    assert_eq!(refused.map_err(|error| error.errno()), Err(libc::EINVAL));
    // Nothing is left behind: the eventfds work as without KVM.
    intx.trigger().write(1).unwrap();
    assert!(intx.take_trigger());
    intx.end_of_interrupt().unwrap();
    assert!(signalled(intx.resample()));
}
