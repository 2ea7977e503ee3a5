//! Data phases in pieces of any size, through guest RAM and through the initiator's own hands.

use proptest::prelude::*;

use super::{NEXUS, RAM, Rig};
use crate::scsi::{Attribute, TaskId, Want};
use outrigger_block::{Backend, DelayHandle, Hold};
use outrigger_device::dma::Fault;

const BLOCKS: usize = 256;

fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| u8::try_from(((n * 7) ^ (n >> 8)) & 0xff).unwrap_or(0))
        .collect()
}

/// A disk whose requests wait.
fn held_back(bytes: Vec<u8>) -> (Rig, DelayHandle) {
    let backend = Backend::memory(bytes, false);
    let (backend, handle) = Backend::delay(backend, Hold::UntilReleased).expect("a delay");
    (Rig::new(backend), handle)
}

impl Rig {
    /// Lets the backend go on until the task does not wait.
    fn wait(&mut self, handle: &DelayHandle, task: TaskId) {
        for _ in 0..1000 {
            if self.bus.want(task) != Want::Wait {
                return;
            }
            assert!(handle.held() <= 1, "one request of a task at a time");
            handle.release(1);
            self.bus.poll(std::time::Instant::now());
        }
        panic!("the task waits for ever");
    }
}

#[test]
fn single_bytes_far_apart_go_in_portions() {
    let bytes = pattern(BLOCKS * 512);
    let (mut rig, handle) = held_back(bytes.clone());
    let task = rig.bus.begin(NEXUS, Attribute::Simple, &[8, 0, 0, 1, 3, 0]);
    let mut waits = 0;
    for place in 0..1536u64 {
        rig.bus.transfer(&rig.dma, task, place * 2, 1).expect("RAM");
        if rig.bus.want(task) == Want::Wait {
            waits += 1;
            rig.wait(&handle, task);
        }
    }
    assert_eq!(waits, 3);
    assert_eq!(rig.finish(task).status, 0);
    let mut ram = vec![0; 3072];
    rig.dma.read(0, &mut ram).expect("RAM");
    let every_other: Vec<_> = ram.iter().copied().step_by(2).collect();
    assert_eq!(every_other, bytes[512..2048]);
}

#[test]
fn a_fault_moves_nothing() {
    let mut rig = Rig::new(Backend::memory(pattern(BLOCKS * 512), false));
    for cdb in [
        [8, 0, 0, 0, 1, 0],
        [10, 0, 0, 0, 1, 0],
        [0x12, 0, 0, 0, 36, 0],
        [0x15, 0x10, 0, 0, 24, 0],
    ] {
        let task = rig.bus.begin(NEXUS, Attribute::Simple, &cdb);
        let want = rig.bus.want(task);
        assert_eq!(
            rig.bus.transfer(&rig.dma, task, RAM - 8, 16),
            Err(Fault::Unmapped(RAM))
        );
        assert_eq!(rig.bus.want(task), want);
        rig.dma.set_bus_master(false);
        assert_eq!(
            rig.bus.transfer(&rig.dma, task, 0, 16),
            Err(Fault::NotBusMaster)
        );
        rig.dma.set_bus_master(true);
        assert_eq!(rig.bus.want(task), want);
        rig.bus.finish(task);
    }
}

#[test]
fn bytes_of_the_medium_are_waited_for() {
    let bytes = pattern(BLOCKS * 512);
    let (mut rig, handle) = held_back(bytes.clone());
    let task = rig.bus.begin(NEXUS, Attribute::Simple, &[8, 0, 0, 1, 2, 0]);
    rig.bus.transfer(&rig.dma, task, 0, 5).expect("RAM");
    let mut byte = [0];
    assert_eq!(rig.bus.transfer_bytes(task, &mut byte), 0);
    assert_eq!(rig.bus.want(task), Want::Wait);
    rig.wait(&handle, task);
    assert_eq!(rig.bus.want(task), Want::DataIn(1019));
    assert_eq!(
        (rig.bus.transfer_bytes(task, &mut byte), byte[0]),
        (1, bytes[512 + 5])
    );
    rig.bus.transfer(&rig.dma, task, 6, 1018).expect("RAM");
    rig.wait(&handle, task);
    assert_eq!(rig.bus.want(task), Want::Status(0));
    rig.bus.finish(task);
    let mut ram = vec![0; 1024];
    rig.dma.read(0, &mut ram).expect("RAM");
    assert_eq!(
        (&ram[..5], &ram[6..]),
        (&bytes[512..517], &bytes[518..1536])
    );
}

/// How the initiator moves the next bytes of a data phase.
#[derive(Clone, Copy, Debug)]
enum Move {
    Guest(u32),
    Own(u16),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        (1u32..5000).prop_map(Move::Guest),
        (1u16..600).prop_map(Move::Own),
        Just(Move::Own(1))
    ];
    proptest::collection::vec(one, 1..20)
}

impl Rig {
    /// Takes a data phase in such pieces, guest RAM from 1 MiB on; `data` are what is sent, or what came.
    fn move_all(
        &mut self,
        handle: &DelayHandle,
        task: TaskId,
        moves: &[Move],
        data: &mut Vec<u8>,
    ) -> u8 {
        let base = 1 << 20;
        let mut guest = Vec::new();
        let mut at = 0;
        let mut turns = moves.iter().cycle();
        for _ in 0..300_000 {
            let want = self.bus.want(task);
            match (want, turns.next()) {
                (Want::DataIn(left) | Want::DataOut(left), Some(Move::Guest(count))) => {
                    let count = left.min(*count);
                    let next = at + count as usize;
                    if let Want::DataOut(_) = want {
                        let bytes = data.get(at..next).unwrap_or_default();
                        self.dma.write(base + at as u64, bytes).expect("RAM");
                    } else {
                        data.resize(data.len().max(next), 0);
                        guest.push(at..next);
                    }
                    self.bus
                        .transfer(&self.dma, task, base + at as u64, count)
                        .expect("RAM");
                    at = next;
                }
                (Want::DataIn(left) | Want::DataOut(left), Some(Move::Own(count))) => {
                    let count = usize::from(*count).min(left as usize);
                    data.resize(data.len().max(at + count), 0);
                    at += self.bus.transfer_bytes(task, &mut data[at..at + count]);
                }
                (Want::Wait, _) => self.wait(handle, task),
                (Want::Status(status), _) => {
                    self.bus.finish(task);
                    for range in guest {
                        self.dma
                            .read(base + range.start as u64, &mut data[range])
                            .expect("RAM");
                    }
                    return status;
                }
                (want, _) => panic!("{want:?}"),
            }
        }
        panic!("the task does not end");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    /// Reads, writes and comparing verifies against a vector of bytes.
    #[test]
    fn media_agree_with_a_model(steps in proptest::collection::vec(
        (0u8..3, 0u8..250, 1u8..40, moves(), any::<u8>()), 1..12,
    )) {
        let mut model = pattern(BLOCKS * 512);
        let (mut rig, handle) = held_back(model.clone());
        for (kind, lba, count, moves, seed) in steps {
            let count = count.min(u8::try_from(BLOCKS - usize::from(lba)).unwrap_or(u8::MAX));
            let range = usize::from(lba) * 512..(usize::from(lba) + usize::from(count)) * 512;
            let code = [0x28, 0x2a, 0x2f][usize::from(kind)];
            let cdb = [code, if kind == 2 { 2 } else { 0 }, 0, 0, 0, lba, 0, 0, count, 0];
            let task = rig.bus.begin(NEXUS, Attribute::Simple, &cdb);
            let mut data = Vec::new();
            if kind == 1 {
                data = model[range.clone()].iter().map(|byte| byte ^ seed).collect();
                model[range.clone()].copy_from_slice(&data);
            } else if kind == 2 {
                data = model[range.clone()].to_vec();
            }
            let status = rig.move_all(&handle, task, &moves, &mut data);
            prop_assert_eq!(status, 0);
            prop_assert_eq!(&data, &model[range]);
            prop_assert_eq!(rig.bus.tasks(), 0);
        }
    }

    /// Any CDB, transferred in any way, ends in a status.
    #[test]
    fn any_command_ends(steps in proptest::collection::vec(
        (proptest::collection::vec(any::<u8>(), 0..17), any::<prop::sample::Index>(), any::<bool>(), moves()), 1..12,
    )) {
        const KNOWN: [u8; 32] = [
            0x00, 0x03, 0x04, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x1d, 0x1e, 0x25, 0x28, 0x2a, 0x2f, 0x35,
            0x41, 0x42, 0x55, 0x5a, 0x88, 0x8a, 0x8f, 0x91, 0x93, 0x9e, 0xa0, 0xa8, 0xaa, 0xaf, 0xff, 0x7f,
        ];
        let (mut rig, handle) = held_back(vec![0; BLOCKS * 512]);
        for (mut cdb, known, small, moves) in steps {
            if let Some(first) = cdb.first_mut() {
                *first = *known.get(&KNOWN);
            }
            if small {
                // Likely to be within the disk, and without flags.
                for byte in cdb.iter_mut().skip(1).take(4) {
                    *byte = 0;
                }
            }
            let task = rig.bus.begin(NEXUS, Attribute::Simple, &cdb);
            let mut data = vec![0; 1 << 17];
            let status = rig.move_all(&handle, task, &moves, &mut data);
            prop_assert!(status == 0 || status == 2);
            prop_assert_eq!(rig.bus.tasks(), 0);
        }
    }
}
