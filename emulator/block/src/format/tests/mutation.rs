//! Images with random damage to their header and tables: they are refused, or work as far as they go; nothing panics past
//! the guard, hangs, or takes memory by the image's word.

use std::time::Duration;

use super::*;

/// Damaged images per test.
const ROUNDS: usize = 300;

/// An image with all kinds of clusters in few bytes.
fn victim(folder: &Folder) -> Vec<u8> {
    let half = Dice(2).bytes(256 << 10);
    std::fs::write(folder.path("half.raw"), &half).unwrap();
    folder.img("convert -q -c -f raw -O qcow2 -o cluster_size=4k half.raw disk.qcow2");
    folder.img("resize -q -f qcow2 disk.qcow2 1M");
    let mut backend = folder.backend("disk.qcow2", READ_WRITE);
    write(&mut backend, 128 << 10, half[..200 << 10].to_vec()).unwrap();
    run(
        &mut backend,
        Op::WriteZeroes { unmap: true },
        500 << 10,
        40 << 10,
        Data::None,
    )
    .unwrap();
    drop(backend);
    std::fs::read(folder.path("disk.qcow2")).unwrap()
}

/// Where header, tables and refcounts are.
fn metadata(image: &[u8]) -> Vec<usize> {
    let word = |at: usize| u64::from_be_bytes(image[at..at + 8].try_into().unwrap());
    let offset = |at: usize| usize::try_from(word(at) & 0x00ff_ffff_ffff_fe00).unwrap();
    let mut places: Vec<usize> = (0..112).collect();
    let (l1, refcounts) = (offset(40), offset(48));
    for table in [l1, refcounts] {
        places.extend(table..table + 16);
        for at in [table, table + 8] {
            let below = offset(at);
            if below != 0 {
                places.extend(below..below + 1024);
            }
        }
    }
    places
}

fn damage(image: &mut [u8], places: &[usize], dice: &mut Dice) {
    for _ in 0..1 + dice.below(6) {
        let at = places[usize::try_from(dice.below(places.len() as u64)).unwrap()];
        let Some(byte) = image.get_mut(at) else {
            continue;
        };
        *byte = match dice.below(4) {
            0 => 0,
            1 => 0xff,
            2 => *byte ^ (1 << dice.below(8)),
            _ => dice.roll().to_le_bytes()[0],
        };
    }
    if dice.below(3) == 0 {
        // A whole entry of a table, at a plausible place.
        let at = places[usize::try_from(dice.below(places.len() as u64)).unwrap()] & !7;
        let entry = (dice.below(4) << 62) | (dice.below(image.len() as u64 / 4096 + 2) * 4096);
        if let Some(word) = image.get_mut(at..at + 8) {
            word.copy_from_slice(&entry.to_be_bytes());
        }
    }
}

/// Uses an image as far as it goes. Whether it could be opened.
fn use_it(folder: &Folder, dice: &mut Dice) -> bool {
    let Ok(opened) = folder.qcow2("damaged.qcow2", READ_WRITE) else {
        return false;
    };
    let mut backend = Backend::format(opened).unwrap();
    let bytes = backend.geometry().bytes;
    for _ in 0..12 {
        let length = 512 * (1 + dice.below(200));
        let offset = 512 * dice.below((bytes / 512).clamp(1, 4096));
        let size = usize::try_from(length).unwrap();
        let (op, data) = match dice.below(5) {
            0 => (Op::Read, Data::Owned(vec![0; size])),
            1 => (Op::Write { fua: true }, Data::Owned(dice.bytes(size))),
            2 => (Op::Discard, Data::None),
            3 => (Op::WriteZeroes { unmap: false }, Data::None),
            _ => (Op::Flush, Data::None),
        };
        let _ = run(&mut backend, op, offset, length, data);
    }
    true
}

#[test]
fn damaged_metadata_do_no_harm() {
    let Some(folder) = Folder::new() else { return };
    let whole = victim(&folder);
    let places = metadata(&whole);
    let (sender, ended) = std::sync::mpsc::channel();
    // Not joined if it hangs: the test fails by the time limit below, which only a hang reaches.
    let worker = std::thread::spawn(move || {
        let mut dice = Dice(0x1234_5678_9abc);
        for round in 0..ROUNDS {
            let mut image = whole.clone();
            damage(&mut image, &places, &mut dice);
            std::fs::write(folder.path("damaged.qcow2"), &image).unwrap();
            let opened = use_it(&folder, &mut dice);
            let _ = sender.send((round, opened));
        }
    });
    let (mut rounds, mut used) = (0, 0);
    while let Ok((round, opened)) = ended.recv_timeout(Duration::from_secs(120)) {
        rounds = round + 1;
        used += usize::from(opened);
    }
    assert_eq!(rounds, ROUNDS, "round {rounds} hangs or panics");
    assert!(used > ROUNDS / 3, "{used} of {ROUNDS} could be opened");
    worker.join().unwrap();
}
