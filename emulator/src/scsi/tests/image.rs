//! A disk whose blocks are in a file, many tasks at once, whatever engine moves the bytes.

use std::io::Write;
use std::os::unix::fs::MetadataExt;

use super::{NEXUS, Nexus, Rig};
use crate::scsi::{Attribute, Want};
use outrigger_block::{Backend, Engine, FileOptions};

const BLOCKS: u8 = 64;

fn rig(engine: Engine, direct: bool) -> Option<Rig> {
    let mut file = tempfile::tempfile().expect("a file");
    for block in 0..BLOCKS {
        file.write_all(&[block; 512]).expect("room");
    }
    let options = FileOptions {
        read_only: false,
        direct,
        engine,
    };
    // Not every kernel and file system has every engine.
    Backend::file(file, options).ok().map(Rig::new)
}

impl Rig {
    /// Takes what the backend says until a task wants reselection.
    fn wait_for_reselection(&mut self) {
        while !self.bus.wants_reselection() {
            self.wait_for_backend();
        }
    }

    /// Every block by a tagged task of its own, `code` being READ or WRITE (6).
    fn all_blocks(&mut self, code: u8) {
        for tag in 0..BLOCKS {
            let nexus = Nexus {
                tag: Some(tag),
                ..NEXUS
            };
            let task = self
                .bus
                .begin(nexus, Attribute::Simple, &[code, 0, 0, tag, 1, 0]);
            self.gather(task, tag);
            self.bus.disconnect(task);
        }
        for _ in 0..BLOCKS {
            self.wait_for_reselection();
            let (task, _) = self.bus.reselection().expect("a task");
            assert_eq!(self.bus.want(task), Want::Status(0));
            self.bus.finish(task);
        }
        assert_eq!(self.bus.tasks(), 0);
    }
}

#[test]
fn many_tasks_at_once() {
    for engine in [Engine::IoUring, Engine::Threads] {
        for direct in [false, true] {
            let Some(mut rig) = rig(engine, direct) else {
                continue;
            };
            rig.all_blocks(8);
            for block in 0..BLOCKS {
                assert_eq!(rig.block(block), [block; 512]);
                rig.dma
                    .write(u64::from(block) * 512, &[!block; 512])
                    .expect("RAM");
            }
            rig.all_blocks(10);
            rig.dma.write(0, &[0; BLOCKS as usize * 512]).expect("RAM");
            rig.all_blocks(8);
            assert!((0..BLOCKS).all(|block| rig.block(block) == [!block; 512]));
        }
    }
}

#[test]
fn a_reset_with_everything_in_flight() {
    for engine in [Engine::IoUring, Engine::Threads] {
        for direct in [false, true] {
            let Some(mut rig) = rig(engine, direct) else {
                continue;
            };
            for tag in 0..BLOCKS {
                let nexus = Nexus {
                    tag: Some(tag),
                    ..NEXUS
                };
                let task = rig
                    .bus
                    .begin(nexus, Attribute::Simple, &[8, 0, 0, tag, 1, 0]);
                rig.gather(task, tag);
                rig.bus.disconnect(task);
                if tag == BLOCKS / 2 {
                    rig.bus.kick();
                }
            }
            rig.bus.reset();
            let before: Vec<_> = (0..BLOCKS).map(|block| rig.block(block)).collect();
            rig.bus.poll(std::time::Instant::now());
            rig.bus.kick();
            let after: Vec<_> = (0..BLOCKS).map(|block| rig.block(block)).collect();
            assert!(before == after && rig.bus.tasks() == 0);
            assert_eq!(rig.sense(&[0; 6])[12..14], [0x29, 2]);
            rig.all_blocks(8);
        }
    }
}

#[test]
fn unmapped_blocks_give_their_space_back() {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&vec![1; 1 << 20]).expect("room");
    let own = file.try_clone().expect("a descriptor");
    let options = FileOptions {
        read_only: false,
        direct: false,
        engine: Engine::Auto,
    };
    let mut rig = Rig::new(Backend::file(file, options).expect("a backend"));
    let blocks = || own.metadata().expect("metadata").blocks();
    if rig.data(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0])[14] == 0 {
        // A file system without holes: then UNMAP is not offered.
        assert_eq!(
            rig.refusal(&[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0]),
            (5, 0x20, 0)
        );
        return;
    }
    let before = blocks();
    // The first half by UNMAP, the third quarter by WRITE SAME.
    let mut list = [0; 24];
    list[..16].copy_from_slice(&[0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    list[18] = 4;
    assert_eq!(
        rig.run_out(&[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], &list)
            .status,
        0
    );
    let half = blocks();
    assert!(half < before, "{half} < {before}");
    let same = [0x93, 9, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0];
    assert_eq!(rig.run(&same).status, 0);
    assert!(blocks() < half, "{} < {half}", blocks());
    assert_eq!(rig.data(&[8, 0, 4, 0, 1, 0]), [0; 512]);
    assert_eq!(rig.data(&[8, 0, 6, 0, 1, 0]), [1; 512]);
}
