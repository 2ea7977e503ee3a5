//! qcow2 images: what is in the header and in the tables.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Once;

use outrigger_block::{Backend, Backing, ImageFile, qcow2};
use outrigger_fuzz::Input;

use crate::image::{OPTIONS, allow_caught_panics, folder, use_it};

/// Opens an image and uses it. The first bytes of the input are what is done with it, then comes the image. Beside it are what
/// it can name as its backing image: `b`, of 64 KiB, and `v`, a VMDK of zeroes.
///
/// # Panics
/// As `image::use_it`.
pub fn run(input: &[u8]) {
    static BESIDE: Once = Once::new();
    allow_caught_panics();
    BESIDE.call_once(|| {
        let descriptor = "# Disk DescriptorFile\nRW 64 ZERO\n";
        std::fs::write(folder().join("b"), vec![0x77; 64 << 10]).expect("room");
        std::fs::write(folder().join("v"), descriptor).expect("room");
    });
    let (requests, image) = input.split_at(input.len().min(REQUESTS));
    let path = folder().join("disk.qcow2");
    let file = File::create(&path).expect("a file");
    file.write_all_at(image, 0).expect("room");
    // Tables may name clusters up to here.
    file.set_len((image.len() as u64).max(LEAST)).expect("room");
    drop(file);
    let mut requests = Input::new(requests);
    let backing = match requests.u8() & 7 {
        0 => Backing::None,
        _ => Backing::AsNamed,
    };
    let Ok(file) = ImageFile::open(&path, OPTIONS) else {
        return;
    };
    if let Ok(opened) = qcow2(file, backing, None, OPTIONS)
        && let Ok(backend) = Backend::format(opened)
    {
        use_it(backend, &mut requests);
    }
    // What it allocated is not kept.
    let _ = std::fs::remove_file(&path);
}

/// Bytes of the input that are not the image.
const REQUESTS: usize = 32;
/// Bytes of the file at least.
const LEAST: u64 = 16 << 10;
