//! VMDK descriptors and the extents that they name, and sparse images.

use std::sync::Once;

use outrigger_block::{Backend, ImageFile, vmdk};
use outrigger_fuzz::Input;

use crate::image::{OPTIONS, allow_caught_panics, folder, use_it};

/// Opens an image and uses the disk. The first bytes of the input are what is done with it, then comes the image. Beside it
/// there is an extent, `disk-flat.vmdk`, of 64 KiB. A sparse extent of ESX has its descriptor in a file of its own.
///
/// # Panics
/// As `image::use_it`.
pub fn run(input: &[u8]) {
    static EXTENT: Once = Once::new();
    allow_caught_panics();
    EXTENT.call_once(|| {
        std::fs::write(folder().join("disk-flat.vmdk"), vec![0x77; 64 << 10]).expect("room");
    });
    let (requests, text) = input.split_at(input.len().min(REQUESTS));
    let path = folder().join("disk.vmdk");
    std::fs::write(&path, text).expect("room");
    let options = outrigger_block::FormatOptions {
        read_only: true,
        ..OPTIONS
    };
    if let Some(header) = text.strip_prefix(b"COWD") {
        let extent = folder().join("disk-esx.vmdk");
        std::fs::write(&extent, text).expect("room");
        // Its tables have 16 KiB each.
        let file = std::fs::File::options().write(true).open(&extent);
        file.expect("a file").set_len(64 << 10).expect("room");
        let sectors = header.get(8..).and_then(|rest| rest.first_chunk());
        let sectors = u32::from_le_bytes(sectors.copied().unwrap_or_default());
        let descriptor =
            format!("# Disk DescriptorFile\nRW {sectors} VMFSSPARSE \"disk-esx.vmdk\"\n");
        std::fs::write(&path, descriptor).expect("room");
    }
    let Ok(file) = ImageFile::open(&path, options) else {
        return;
    };
    if let Ok(opened) = vmdk(file, options)
        && let Ok(backend) = Backend::format(opened)
    {
        use_it(backend, &mut Input::new(requests));
    }
}

/// Bytes of the input that are not the image.
const REQUESTS: usize = 32;
