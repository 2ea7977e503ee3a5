//! qcow2 images as others than today's `qemu-img` write them: other header lengths and extensions, other versions, data in
//! another file.

use std::fs;
use std::os::unix::fs::FileExt;

use super::*;

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Puts a header extension before the others; there is room in the first cluster.
fn with_extension(image: &mut [u8], kind: u32, data: &[u8]) {
    let start = match word(image, 4) {
        2 => 72,
        _ => word(image, 100) as usize,
    };
    let mut extension = kind.to_be_bytes().to_vec();
    extension.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    extension.extend(data);
    extension.resize(extension.len().next_multiple_of(8), 0);
    let more = extension.len();
    image.copy_within(start..32 << 10, start + more);
    image[start..start + more].copy_from_slice(&extension);
    // The backing file's name has moved.
    let name = u64::from_be_bytes(image[8..16].try_into().unwrap());
    if name != 0 {
        image[8..16].copy_from_slice(&(name + more as u64).to_be_bytes());
    }
}

#[test]
fn headers_of_other_writers() {
    let Some(folder) = Folder::new() else { return };
    let mut dice = Dice(21);
    let base = dice.bytes(MIB);
    fs::write(folder.path("base.raw"), &base).unwrap();
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, &str, Change); 7] = [
        // libvirt's and old QEMU's images have version 2, and Red Hat's extension for the format.
        ("compat=0.10", "version 2", |_| {}),
        ("compat=0.10", "unknown extension in version 2", |image| {
            with_extension(image, 0x1234_5678, b"what somebody needs");
        }),
        ("compat=1.1", "unknown extension", |image| {
            with_extension(image, 0x6f77_6e21, &[7; 129]);
        }),
        ("compat=1.1", "a long table of feature names", |image| {
            let mut table = vec![0_u8, 60];
            table.extend([b'x'; 46]);
            table.extend([9, 9]);
            table.extend([b'y'; 46]);
            with_extension(image, 0x6803_f857, &table);
        }),
        // Version 3 as it was first written down: nothing after the header's length.
        ("compat=1.1", "a header of 104 bytes", |image| {
            image.copy_within(112..32 << 10, 104);
            image[100..104].copy_from_slice(&104_u32.to_be_bytes());
            let name = u64::from_be_bytes(image[8..16].try_into().unwrap());
            image[8..16].copy_from_slice(&(name - 8).to_be_bytes());
        }),
        // One that has fields which nobody knows yet.
        ("compat=1.1", "a header of 160 bytes", |image| {
            image.copy_within(112..32 << 10, 160);
            image[112..160].fill(0);
            image[100..104].copy_from_slice(&160_u32.to_be_bytes());
            let name = u64::from_be_bytes(image[8..16].try_into().unwrap());
            image[8..16].copy_from_slice(&(name + 48).to_be_bytes());
        }),
        ("compat=1.1", "unknown compatible features", |image| {
            image[80] = 0x40;
        }),
    ];
    for (options, name, change) in changes {
        folder.img(&format!(
            "create -q -f qcow2 -o {options} -b base.raw -F raw disk.qcow2 2M"
        ));
        let mut image = fs::read(folder.path("disk.qcow2")).unwrap();
        change(&mut image);
        fs::write(folder.path("disk.qcow2"), image).unwrap();
        let mut model = base.clone();
        model.resize(2 * MIB, 0);
        for _ in 0..2 {
            let opened = folder.qcow2("disk.qcow2", READ_WRITE);
            let opened = opened.unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut backend = Backend::format(opened).unwrap();
            assert!(read(&mut backend, 0, 2 * MIB).unwrap() == model, "{name}");
            exercise(&mut backend, &mut model, &mut dice, 30);
            drop(backend);
            folder.holds("disk.qcow2", &model);
        }
    }
}

#[test]
fn every_width_of_refcounts_and_size_of_clusters() {
    let Some(folder) = Folder::new() else { return };
    let mut dice = Dice(22);
    for (refcounts, clusters) in [
        (1, "4k"),
        (2, "1k"),
        (4, "512"),
        (8, "8k"),
        (16, "1M"),
        (32, "32k"),
        (64, "2k"),
        (64, "2M"),
    ] {
        let options = format!("refcount_bits={refcounts},cluster_size={clusters}");
        folder.img(&format!("create -q -f qcow2 -o {options} disk.qcow2 4M"));
        let mut model = vec![0; 4 * MIB];
        let mut backend = folder.backend("disk.qcow2", READ_WRITE);
        exercise(&mut backend, &mut model, &mut dice, 40);
        drop(backend);
        folder.holds("disk.qcow2", &model);
    }
}

#[test]
fn bitmaps_are_given_up_and_nothing_else() {
    let Some(folder) = Folder::new() else { return };
    let mut dice = Dice(23);
    folder.img("create -q -f qcow2 disk.qcow2 4M");
    folder.img("bitmap --add disk.qcow2 backup");
    let mut model = vec![0; 4 * MIB];
    let mut backend = folder.backend("disk.qcow2", READ_WRITE);
    exercise(&mut backend, &mut model, &mut dice, 40);
    drop(backend);
    // A bitmap that has not seen what was written is not to be believed: its mark is gone.
    let bytes = fs::read(folder.path("disk.qcow2")).unwrap();
    assert_eq!(bytes[95] & 1, 0, "autoclear features");
    folder.img("check -q -r leaks -f qcow2 disk.qcow2");
    folder.holds("disk.qcow2", &model);
}

#[test]
fn data_in_another_file() {
    let Some(folder) = Folder::new() else { return };
    let mut dice = Dice(24);
    for options in [
        "",
        ",data_file_raw=on",
        ",cluster_size=4k",
        ",preallocation=metadata",
    ] {
        folder.img(&format!(
            "create -q -f qcow2 -o data_file=data.raw{options} disk.qcow2 4M"
        ));
        let mut model = vec![0; 4 * MIB];
        for _ in 0..2 {
            let mut backend = folder.backend("disk.qcow2", READ_WRITE);
            assert!(
                read(&mut backend, 0, 4 * MIB).unwrap() == model,
                "{options}"
            );
            exercise(&mut backend, &mut model, &mut dice, 40);
            drop(backend);
            folder.holds("disk.qcow2", &model);
        }
        fs::remove_file(folder.path("data.raw")).unwrap();
        let said = folder
            .qcow2("disk.qcow2", READ_WRITE)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(
            said.to_string(),
            "its data file 'data.raw': No such file or directory (os error 2)"
        );
    }
    // Only beside the image: it is written by the image's word.
    fs::create_dir(folder.path("sub")).unwrap();
    folder.img("create -q -f qcow2 -o data_file=sub/data.raw disk.qcow2 1M");
    let said = folder
        .qcow2("disk.qcow2", READ_WRITE)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        said.to_string(),
        "its data are in another file, 'sub/data.raw', which is not beside it"
    );
    // Given, it may be anywhere.
    let open = |name: &str| ImageFile::open(&folder.path(name), READ_WRITE).unwrap();
    let given = |name: &str| {
        let data = Some(open("sub/data.raw"));
        qcow2(open(name), Backing::AsNamed, data, READ_WRITE)
    };
    let mut backend = Backend::format(given("disk.qcow2").unwrap()).unwrap();
    write(&mut backend, 0, vec![5; 4096]).unwrap();
    drop(backend);
    let mut start = [0; 4096];
    let file = fs::File::open(folder.path("sub/data.raw")).unwrap();
    file.read_exact_at(&mut start, 0).unwrap();
    assert!(start == [5; 4096]);
    folder.img("create -q -f qcow2 plain.qcow2 1M");
    let said = given("plain.qcow2").map(|_| ()).unwrap_err().to_string();
    assert_eq!(said, "its data are in the image itself");
}

#[test]
fn what_an_image_stands_on_may_be_of_any_size() {
    let Some(folder) = Folder::new() else { return };
    let mut dice = Dice(25);
    for bytes in [0, 1, 1000, MIB + 1] {
        let mut model = dice.bytes(bytes);
        fs::write(folder.path("base.raw"), &model).unwrap();
        folder.img("create -q -f qcow2 -b base.raw -F raw disk.qcow2 2M");
        model.resize(2 * MIB, 0);
        let mut backend = folder.backend("disk.qcow2", READ_WRITE);
        assert!(read(&mut backend, 0, 2 * MIB).unwrap() == model, "{bytes}");
        exercise(&mut backend, &mut model, &mut dice, 20);
        drop(backend);
        folder.holds("disk.qcow2", &model);
    }
}
