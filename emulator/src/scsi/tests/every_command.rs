//! Any CDB, on each kind of unit, ends in a status; and what is reported to be there is there.

use proptest::prelude::*;

use super::{NEXUS, RAM, Rig};
use crate::scsi::cdb::catalog;
use crate::scsi::unit::Kind;
use crate::scsi::{Attribute, Bus, Want};
use outrigger_block::Backend;

fn rig(kind: Kind) -> Rig {
    let backend = Backend::memory(vec![0; 64 * 2048], kind == Kind::Cdrom);
    match kind {
        Kind::Disk => Rig::new(backend),
        Kind::Cdrom => Rig::cdrom(Some(backend)),
    }
}

/// Takes a command to its end, whatever it moves: its status.
fn status(rig: &mut Rig, cdb: &[u8]) -> Option<u8> {
    let task = rig.bus.begin(NEXUS, Attribute::Simple, cdb);
    for _ in 0..100_000 {
        match rig.bus.want(task) {
            Want::DataIn(count) | Want::DataOut(count) => {
                let count = count.min(u32::try_from(RAM).expect("small RAM"));
                rig.bus.transfer(&rig.dma, task, 0, count).expect("RAM");
            }
            Want::Status(status) => {
                rig.bus.finish(task);
                return Some(status);
            }
            Want::Wait => {
                rig.bus.kick();
                rig.bus.poll(std::time::Instant::now());
            }
            Want::Gone => return None,
        }
    }
    None
}

/// A CDB that is at least nearly one of those there are, or anything.
fn cdb(kind: Kind) -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<_> = catalog::entries(kind).map(|entry| entry.usage).collect();
    let near = (
        proptest::sample::select(known),
        proptest::collection::vec(any::<u8>(), 16),
        any::<bool>(),
    )
        .prop_map(|(usage, random, sparse)| {
            let bytes = usage.iter().zip(random).enumerate();
            bytes
                .map(|(at, (usage, random))| match at {
                    0 => *usage,
                    // A service action stands in the usage as itself.
                    1 if matches!(usage >> 5, 0) => *usage,
                    _ if sparse && random & 3 != 0 => 0,
                    _ => random & usage,
                })
                .collect()
        });
    prop_oneof![4 => near, 1 => proptest::collection::vec(any::<u8>(), 1..17)]
}

proptest! {
    #[test]
    fn any_cdb_on_a_disk_ends_in_a_status(cdbs in proptest::collection::vec(cdb(Kind::Disk), 1..8), data in any::<u8>()) {
        any_cdb(Kind::Disk, &cdbs, data)?;
    }

    #[test]
    fn any_cdb_on_a_drive_ends_in_a_status(cdbs in proptest::collection::vec(cdb(Kind::Cdrom), 1..8), data in any::<u8>()) {
        any_cdb(Kind::Cdrom, &cdbs, data)?;
    }
}

fn any_cdb(kind: Kind, cdbs: &[Vec<u8>], data: u8) -> Result<(), TestCaseError> {
    let mut rig = rig(kind);
    rig.dma.write(0, &[data; 4096]).expect("RAM");
    for cdb in cdbs {
        let status = status(&mut rig, cdb);
        prop_assert!(
            matches!(status, Some(0 | 2 | 0x18)),
            "{cdb:02x?}: {status:?}"
        );
        prop_assert_eq!(rig.bus.tasks(), 0);
    }
    Ok(())
}

/// Each kind's report lists what is not refused as unknown, and only that.
#[test]
fn the_report_is_true() {
    for kind in [Kind::Disk, Kind::Cdrom] {
        let mut rig = rig(kind);
        let report = rig.data(&[0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0]);
        let (length, descriptors) = report.split_at(4);
        assert_eq!(
            usize::from(length[3]) + 256 * usize::from(length[2]),
            descriptors.len()
        );
        for code in 0..=255u8 {
            let listed: Vec<_> = descriptors
                .chunks(8)
                .filter(|descriptor| descriptor[0] == code)
                .collect();
            for action in 0..32u8 {
                let mut cdb = [0; 16];
                cdb[0] = code;
                // 0x1f is nobody's service action.
                let has_actions = listed.iter().any(|descriptor| descriptor[5] & 1 == 1);
                if has_actions {
                    cdb[1] = action;
                } else if action > 0 {
                    break;
                }
                let known = listed.iter().any(|it| !has_actions || it[3] == action);
                let refused = status(&mut rig, &cdb) == Some(2) && {
                    let sense = rig.data(&[3, 0, 0, 0, 18, 0]);
                    sense[12] == 0x20 || (sense[12..18] == [0x24, 0, 0, 0xcc, 0, 1] && has_actions)
                };
                assert_eq!(refused, !known, "{kind:?} {code:02x} {action:02x}");
            }
            for descriptor in listed {
                assert_eq!(
                    Some(usize::from(descriptor[7])),
                    Bus::cdb_length(code),
                    "{code:02x}"
                );
            }
        }
    }
}
