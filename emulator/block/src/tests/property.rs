use proptest::prelude::*;

use super::*;

const SIZE: usize = 256 << 10;
const BLOCKS: u64 = (SIZE / 512) as u64;

#[derive(Clone, Debug)]
struct Step {
    op: Op,
    block: u64,
    blocks: u64,
    /// Where its pieces of guest RAM start, and after how many bytes it goes to the next.
    places: Vec<(u64, u32)>,
    owned: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let op = prop_oneof![
        4 => Just(Op::Read),
        4 => any::<bool>().prop_map(|fua| Op::Write { fua }),
        1 => Just(Op::Flush),
        1 => any::<bool>().prop_map(|unmap| Op::WriteZeroes { unmap }),
    ];
    // Half of all are aligned for O_DIRECT.
    let range = (0..BLOCKS, 1..=40_u64, any::<bool>()).prop_map(|(block, blocks, aligned)| {
        let (block, blocks) = if aligned {
            (block & !7, blocks.next_multiple_of(8))
        } else {
            (block, blocks)
        };
        (block, blocks.min(BLOCKS - block))
    });
    let place =
        (0..RAM_SIZE - SIZE as u64, 1..9000_u32, any::<bool>()).prop_map(|(at, cut, aligned)| {
            if aligned {
                (at & !0xfff, cut.next_multiple_of(4096))
            } else {
                (at, cut)
            }
        });
    (
        op,
        range,
        prop::collection::vec(place, 1..6),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(op, (block, blocks), places, owned)| Step {
            op,
            block,
            blocks,
            places,
            owned,
        })
}

/// Cuts `length` bytes into pieces at the step's places; pieces do not overlap, or a read's result would depend on
/// the order.
fn pieces(step: &Step, length: u64) -> Vec<(u64, u32)> {
    let mut pieces: Vec<(u64, u32)> = Vec::new();
    let mut left = length;
    for (index, &(at, cut)) in step.places.iter().enumerate() {
        let last = index + 1 == step.places.len();
        let count = if last { left } else { left.min(cut.into()) };
        let clash = pieces
            .iter()
            .any(|&(a, l)| at < a + u64::from(l) && a < at + left);
        if count > 0 && !clash {
            pieces.push((at, u32::try_from(count).unwrap()));
            left -= count;
        }
    }
    if left > 0 {
        pieces.clear();
        pieces.push((step.places[0].0, u32::try_from(length).unwrap()));
    }
    pieces
}

fn ram(gate: &Gate) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(RAM_SIZE).unwrap()];
    gate.read(RAM_START, &mut bytes).unwrap();
    bytes
}

fn check(name: &str, backend: &mut Backend, steps: &[Step]) -> Result<(), TestCaseError> {
    let gate = fixture::gate(&RAM);
    let mut model_ram: Vec<u8> = pattern(usize::try_from(RAM_SIZE).unwrap())
        .iter()
        .map(|b| !b)
        .collect();
    gate.write(RAM_START, &model_ram).unwrap();
    let mut model = pattern(SIZE);
    for step in steps {
        let (offset, length) = (step.block * 512, step.blocks * 512);
        let range = usize::try_from(offset).unwrap()..usize::try_from(offset + length).unwrap();
        let pieces = pieces(step, length);
        let direction = if step.op == Op::Read {
            Direction::ToGuest
        } else {
            Direction::FromGuest
        };
        let data = match step.op {
            Op::Flush | Op::Discard | Op::WriteZeroes { .. } => Data::None,
            Op::Write { .. } if step.owned => Data::Owned(vec![0xa5; range.len()]),
            Op::Read if step.owned => Data::Owned(vec![0; range.len()]),
            _ => guest(&gate, direction, &pieces),
        };
        let done = run(backend, request(step.op, offset, length, data));
        prop_assert!(done.result.is_ok(), "{} {:?} {:?}", name, step, done);
        match (step.op, done.data) {
            (Op::Read, Data::Owned(bytes)) => {
                prop_assert!(bytes == model[range], "{} {:?}", name, step)
            }
            (Op::Write { .. }, Data::Owned(_)) => model[range].fill(0xa5),
            (Op::WriteZeroes { .. }, _) => model[range].fill(0),
            (Op::Flush | Op::Discard, _) => {}
            (op, _) => {
                let mut at = range.start;
                for (place, count) in pieces {
                    let place = usize::try_from(place).unwrap();
                    let (disk, ram) = (
                        &mut model[at..at + count as usize],
                        &mut model_ram[place..place + count as usize],
                    );
                    if op == Op::Read {
                        ram.copy_from_slice(disk)
                    } else {
                        disk.copy_from_slice(ram)
                    }
                    at += count as usize;
                }
            }
        }
    }
    prop_assert!(ram(&gate) == model_ram, "{}: guest RAM", name);
    let done = run(
        backend,
        request(Op::Read, 0, SIZE as u64, Data::Owned(vec![0; SIZE])),
    );
    prop_assert!(
        matches!(done.data, Data::Owned(bytes) if bytes == model),
        "{}: disk",
        name
    );
    Ok(())
}

proptest! {
    // A case opens every kind of backend anew and flushes it, which takes a second: 600 take ten minutes.
    #![proptest_config(ProptestConfig { cases: (ProptestConfig::default().cases / 32 * 3).min(600), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_backend_is_a_byte_vector(steps in prop::collection::vec(step(), 1..24)) {
        for (name, mut backend) in backends(&pattern(SIZE)) {
            check(&name, &mut backend, &steps)?;
        }
    }
}
