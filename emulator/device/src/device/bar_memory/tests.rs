use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use vm_memory::Bytes as _;

use super::*;

const SIZE: usize = 0x2000;

#[test]
fn sharing_keeps_the_bytes_and_unsharing_takes_them_away() {
    let mut memory = BarMemory::new(SIZE);
    memory.write(0x1ffe, &[1, 2]);
    let fd = memory.share().unwrap().try_clone_to_owned().unwrap();
    let file = File::from(fd);
    let mut bytes = [0; 2];
    file.read_exact_at(&mut bytes, 0x1ffe).unwrap();
    assert_eq!(bytes, [1, 2]);
    // Both ways.
    memory.write(0x10, &[3]);
    file.write_all_at(&[4], 0x11).unwrap();
    file.read_exact_at(&mut bytes, 0x10).unwrap();
    assert_eq!(bytes, [3, 4]);
    memory.read(0x10, &mut bytes);
    assert_eq!(bytes, [3, 4]);
    // Its size is what it is.
    assert!(file.set_len(0x1000).is_err());
    assert!(file.set_len(0x4000).is_err());
    // The same one for whoever asks again, another for the next client.
    let again = File::from(memory.share().unwrap().try_clone_to_owned().unwrap());
    again.write_all_at(&[5], 0x10).unwrap();
    memory.read(0x10, &mut bytes);
    assert_eq!(bytes, [5, 4]);
    memory.unshare();
    memory.read(0x10, &mut bytes);
    assert_eq!(bytes, [0, 0]);
    memory.share().unwrap();
    file.write_all_at(&[6], 0x10).unwrap();
    memory.read(0x10, &mut bytes);
    assert_eq!(bytes, [0, 0]);
}

/// A guest that writes a word over and over: the device sees one of the values, whole.
#[test]
fn a_word_that_changes_is_a_value() {
    let mut memory = BarMemory::new(SIZE);
    let guest = MmapRegion::<()>::build(
        Some(FileOffset::new(
            File::from(memory.share().unwrap().try_clone_to_owned().unwrap()),
            0,
        )),
        SIZE,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_SHARED,
    )
    .unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let words = guest.get_slice(0x40, 8).unwrap();
            for turn in 0_u32.. {
                let value = if turn % 2 == 0 { u32::MAX } else { 0 };
                words
                    .store(value, 4, std::sync::atomic::Ordering::Relaxed)
                    .unwrap();
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..100_000 {
            let mut bytes = [0; 8];
            memory.read(0x40, &mut bytes);
            assert!([[0; 4], [0xff; 4]].contains(&bytes[4..].try_into().unwrap()));
            let mut odd = [0; 5];
            memory.read(0x43, &mut odd);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

proptest! {
    #[test]
    fn shared_or_not_it_is_memory(
        writes in proptest::collection::vec(
            (0..SIZE + 16, proptest::collection::vec(any::<u8>(), 0..80), any::<bool>()),
            0..40,
        ),
    ) {
        let mut model = vec![0; SIZE];
        let mut memory = BarMemory::new(SIZE);
        for (at, bytes, share) in writes {
            if share {
                memory.share().unwrap();
            }
            memory.write(at, &bytes);
            if let Some(model) = model.get_mut(at..).and_then(|m| m.get_mut(..bytes.len())) {
                model.copy_from_slice(&bytes);
            }
            let mut back = vec![0xee; bytes.len()];
            memory.read(at, &mut back);
            let expected = model.get(at..).and_then(|m| m.get(..bytes.len()));
            let zeroes = vec![0; bytes.len()];
            prop_assert_eq!(&back[..], expected.unwrap_or(&zeroes));
        }
        let mut all = vec![0; SIZE];
        memory.read(0, &mut all);
        prop_assert_eq!(all, model);
    }
}
