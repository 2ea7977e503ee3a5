//! A device's memory as memory slots: a guest that reaches it does not exit, wherever it has put it.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use super::assembly::Assembly;
use super::*;
use outrigger_proxy::{BarMemory, MapMemory};

const CODE: u32 = 0x1000;
/// The guest finds here what it is to count up.
const ADDRESS: u32 = 0x2000;
const RAM: u64 = 0x10_0000;
const BAR: u64 = 0xfe00_2000;
const ELSEWHERE: u64 = 0xfe80_0000;

/// Counts the word up whose address is at ADDRESS, reports it, and begins again.
fn program() -> Vec<u8> {
    let mut code = Assembly::default();
    code.word(&[0x8b, 0x1d], ADDRESS) // mov ebx, [ADDRESS]
        .bytes(&[0x8b, 0x03]) // mov eax, [ebx]
        .bytes(&[0x40]) // inc eax
        .bytes(&[0x89, 0x03]) // mov [ebx], eax
        .report()
        .back(0xeb, 0);
    code.0
}

struct Rig {
    vcpu: Vcpu,
    board: Board,
    ram: Ram,
    slots: Slots,
    memory: BarMemory,
}

impl Rig {
    fn new() -> Self {
        let ram = Ram::new(RAM).unwrap();
        ram.write(CODE.into(), &program()).unwrap();
        let intx = Intx::new().unwrap();
        let vm = Arc::new(Vm::new(&ram, 11, &intx).unwrap());
        let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&file, 0x2000).unwrap();
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&file, seals).unwrap();
        Self {
            vcpu: vm.vcpu(0, CODE, CODE).unwrap(),
            board: empty_board(),
            ram,
            slots: vm.slots(),
            memory: BarMemory::new(2, 0, 0x2000, file).unwrap(),
        }
    }

    /// Has the guest count the word at `address` up: what it found there and whether it exited to user space for it.
    fn count_up(&mut self, address: u64) -> (u32, bool) {
        let at = u32::try_from(address).unwrap();
        self.ram.store(ADDRESS, at).unwrap();
        let exits = |board: &mut Board| {
            let exits = board.exits();
            (exits.memory_reads, exits.memory_writes)
        };
        let before = exits(&mut self.board);
        let End::Reported(word) = self.vcpu.run(&mut self.board, &AtomicBool::new(false)) else {
            panic!("the guest does not get there")
        };
        let after = exits(&mut self.board);
        let one = (before.0 + 1, before.1 + 1);
        assert!([before, one].contains(&after), "{before:?} {after:?}");
        (word.wrapping_sub(1), after == one)
    }

    /// The word in the memory itself.
    fn word(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.memory
            .file()
            .read_exact_at(&mut bytes, offset)
            .unwrap();
        u32::from_le_bytes(bytes)
    }
}

#[test]
fn mapped_memory_costs_no_exit_wherever_it_is() {
    if let Some(reason) = kvm_unavailable() {
        outrigger_skip::skipped(reason);
        return;
    }
    let mut rig = Rig::new();
    let nobody = (u32::MAX, true);
    assert_eq!(rig.count_up(BAR), nobody);
    rig.slots.map(&rig.memory, BAR).unwrap();
    assert_eq!(rig.count_up(BAR), (0, false));
    assert_eq!(rig.count_up(BAR), (1, false));
    assert_eq!(rig.word(0), 2);
    // The other side writes it too.
    rig.memory.file().write_all_at(&[40], 0x1ffc).unwrap();
    assert_eq!(rig.count_up(BAR + 0x1ffc), (40, false));
    // It moves, with its contents.
    rig.slots.unmap(&rig.memory).unwrap();
    assert_eq!(rig.count_up(BAR), nobody);
    rig.slots.map(&rig.memory, ELSEWHERE).unwrap();
    assert_eq!(rig.count_up(BAR), nobody);
    assert_eq!(rig.count_up(ELSEWHERE), (2, false));
    assert_eq!(rig.word(0), 3);
    rig.slots.unmap(&rig.memory).unwrap();
    assert_eq!(rig.count_up(ELSEWHERE), nobody);
}

#[test]
fn memory_over_ram_is_refused_and_leaves_the_ram_as_it_is() {
    if let Some(reason) = kvm_unavailable() {
        outrigger_skip::skipped(reason);
        return;
    }
    let mut rig = Rig::new();
    let over = RAM - 0x1000;
    let refused = rig.slots.map(&rig.memory, over).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(rig.count_up(over), (0, false));
    assert_eq!(rig.word(0), 0);
    rig.slots.map(&rig.memory, BAR).unwrap();
    assert_eq!(rig.count_up(BAR), (0, false));
}

#[test]
fn a_machine_that_has_gone_has_nothing_to_map_into() {
    if let Some(reason) = kvm_unavailable() {
        outrigger_skip::skipped(reason);
        return;
    }
    let Rig {
        vcpu,
        mut slots,
        memory,
        ..
    } = Rig::new();
    slots.map(&memory, BAR).unwrap();
    drop(vcpu);
    slots.unmap(&memory).unwrap();
}
