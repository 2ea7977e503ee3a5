//! VMDK images: those that `qemu-img` makes in each of its forms, and those that only VMware's products make.

use std::fs;
use std::os::unix::fs::{FileExt, symlink};

use super::*;
use crate::vmdk;

fn try_open(folder: &Folder, name: &str, options: FormatOptions) -> Result<Backend, String> {
    let file = ImageFile::open(&folder.path(name), options).map_err(|it| it.to_string())?;
    let opened = vmdk(file, options).map_err(|it| it.to_string())?;
    Ok(Backend::format(opened).unwrap())
}

fn open(folder: &Folder, name: &str) -> Backend {
    try_open(folder, name, READ_ONLY).unwrap()
}

/// Writes a descriptor with these lines between the usual ones.
fn describe(folder: &Folder, name: &str, lines: &str) {
    let text = format!("# Disk DescriptorFile\nversion=1\nCID=1\n{lines}\n");
    fs::write(folder.path(name), text).unwrap();
}

/// Reads at random places what the model has there.
#[track_caller]
fn reads_as(backend: &mut Backend, model: &[u8], dice: &mut Dice) {
    assert_eq!(backend.geometry().bytes, model.len() as u64);
    assert!(read(backend, 0, model.len()).unwrap() == model, "all of it");
    for _ in 0..100 {
        let blocks = model.len() as u64 / 512;
        let at = dice.below(blocks);
        let count = 1 + dice.below((blocks - at).min(300));
        let bytes = read(backend, at * 512, usize::try_from(count * 512).unwrap()).unwrap();
        let start = usize::try_from(at * 512).unwrap();
        assert!(bytes == model[start..][..bytes.len()], "{count} at {at}");
    }
}

/// Bytes with zeroes between them, and some that deflate does not make shorter.
fn model(dice: &mut Dice, length: usize) -> Vec<u8> {
    let mut model = vec![0; length];
    for piece in model.chunks_mut(48 << 10) {
        match dice.below(3) {
            0 => {}
            1 => piece.fill_with(|| dice.roll().to_le_bytes()[3]),
            _ => piece.copy_from_slice(&dice.bytes(piece.len())),
        }
    }
    model
}

#[test]
fn each_form_that_qemu_img_makes() {
    let Some(folder) = Folder::new() else { return };
    let mut dice = Dice(3);
    // The last grain is not whole.
    let model = model(&mut dice, 5 * MIB + 512 * 77);
    fs::write(folder.path("base.raw"), &model).unwrap();
    for form in [
        "monolithicSparse",
        "monolithicFlat",
        "twoGbMaxExtentSparse",
        "twoGbMaxExtentFlat",
        "streamOptimized",
    ] {
        folder.img(&format!(
            "convert -q -f raw -O vmdk -o subformat={form} base.raw {form}.vmdk"
        ));
        for direct in [false, true] {
            let options = FormatOptions {
                direct,
                ..READ_ONLY
            };
            let mut backend = try_open(&folder, &format!("{form}.vmdk"), options).unwrap();
            reads_as(&mut backend, &model, &mut dice);
            let refused = write(&mut backend, 0, vec![0; 512]);
            assert!(matches!(refused, Err(BlockError::ReadOnly)));
        }
        // A monolithic image does not need its old name.
        if !form.contains("Flat") && !form.contains("twoGb") {
            fs::rename(folder.path(&format!("{form}.vmdk")), folder.path("renamed")).unwrap();
            reads_as(&mut open(&folder, "renamed"), &model, &mut dice);
        }
    }
}

#[test]
fn a_disk_in_many_pieces_of_all_kinds() {
    let Some(folder) = Folder::new() else { return };
    let mut dice = Dice(9);
    let first = model(&mut dice, MIB);
    let second = model(&mut dice, 3 * MIB);
    fs::write(
        folder.path("first part.vmdk"),
        [&[9; 4096][..], &first].concat(),
    )
    .unwrap();
    fs::write(folder.path("second.raw"), &second).unwrap();
    folder.img("convert -q -f raw -O vmdk -o subformat=twoGbMaxExtentSparse second.raw s.vmdk");
    describe(
        &folder,
        "disk.vmdk",
        "createType=\"custom\"\n\
         RDONLY 2048 VMFS \"first part.vmdk\" 8\nRW 7 ZERO\nRW 0 ZERO\n\
         RW 6144 SPARSE \"s-s001.vmdk\"\nRW 1 ZERO",
    );
    let model = [&first, &[0; 7 * 512][..], &second, &[0; 512][..]].concat();
    reads_as(&mut open(&folder, "disk.vmdk"), &model, &mut dice);

    // A part that may not be read fails alone.
    describe(
        &folder,
        "hole.vmdk",
        "RW 2048 FLAT \"first part.vmdk\" 8\nNOACCESS 8",
    );
    let mut backend = open(&folder, "hole.vmdk");
    assert!(read(&mut backend, 0, MIB).unwrap() == first);
    assert!(matches!(
        read(&mut backend, MIB as u64 - 512, 1024),
        Err(BlockError::Io { offset: Some(at), .. }) if at == MIB as u64
    ));
}

/// As ESX Server keeps a snapshot or a thin disk, which no tool here makes; `qemu-img` reads it as we do.
#[test]
fn a_sparse_extent_of_esx_server() {
    let Some(folder) = Folder::new() else { return };
    let mut dice = Dice(4);
    let model = model(&mut dice, 3 * MIB);
    let blocks = u32::try_from(model.len() / 512).unwrap();
    // Header, directory of one table, table of 4096 grains of one block each, grains.
    let (directory, table, data) = (4_u32, 5_u32, 5 + 4096 * 4 / 512);
    let entries = blocks.div_ceil(4096);
    let mut file = vec![0; (data + 32 * entries) as usize * 512];
    let put = |file: &mut Vec<u8>, at: u32, word: u32| {
        file[at as usize..][..4].copy_from_slice(&word.to_le_bytes());
    };
    file[..4].copy_from_slice(b"COWD");
    for (index, word) in [1, 3, blocks, 1, directory, entries]
        .into_iter()
        .enumerate()
    {
        put(&mut file, 4 + 4 * u32::try_from(index).unwrap(), word);
    }
    for index in 0..entries {
        put(&mut file, directory * 512 + 4 * index, table + 32 * index);
    }
    for (index, block) in (0..).zip(model.chunks(512)) {
        if block.iter().any(|byte| *byte != 0) {
            let at = u32::try_from(file.len() / 512).unwrap();
            file.extend(block);
            put(&mut file, table * 512 + 4 * index, at);
        }
    }
    fs::write(folder.path("disk-delta.vmdk"), file).unwrap();
    describe(
        &folder,
        "disk.vmdk",
        &format!(
            "parentCID=ffffffff\ncreateType=\"vmfsSparse\"\nRW {blocks} VMFSSPARSE \"disk-delta.vmdk\""
        ),
    );
    reads_as(&mut open(&folder, "disk.vmdk"), &model, &mut dice);
    folder.img("convert -q -f vmdk -O raw disk.vmdk theirs.raw");
    assert!(fs::read(folder.path("theirs.raw")).unwrap() == model);
}

/// As VMware's tools write an OVA's disk: in one pass, so that the directory and the header that is true are at the end.
#[test]
fn a_stream_with_its_header_at_the_end() {
    const GRAIN: usize = 128 * 512;
    let Some(folder) = Folder::new() else { return };
    let mut dice = Dice(5);
    let model = model(&mut dice, 40 * GRAIN + 512 * 3);
    let sectors = model.len() / 512;
    let header = |directory: u64, descriptor: bool| {
        let mut header = b"KDMV".to_vec();
        for word in [3, 3 << 16 | 1] {
            header.extend(u32::to_le_bytes(word));
        }
        let place = if descriptor { (1, 2) } else { (0, 0) };
        for word in [sectors as u64, 128, place.0, place.1] {
            header.extend(word.to_le_bytes());
        }
        header.extend(512_u32.to_le_bytes());
        for word in [0, directory, 128_u64] {
            header.extend(word.to_le_bytes());
        }
        header.extend(b"\0\n \r\n\x01\0");
        header.resize(512, 0);
        header
    };
    let marker = |sectors: u64, kind: u32| {
        let mut marker = sectors.to_le_bytes().to_vec();
        marker.extend([0; 4]);
        marker.extend(kind.to_le_bytes());
        marker.resize(512, 0);
        marker
    };
    let mut file = header(u64::MAX, true);
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=7bcd4a01\nparentCID=ffffffff\n\
         createType=\"streamOptimized\"\n\n# Extent description\nRDONLY {sectors} SPARSE \"x.vmdk\"\n"
    );
    file.extend(text.as_bytes());
    file.resize(128 * 512, 0);
    let mut table = vec![0; 512];
    for (index, grain) in model.chunks(GRAIN).enumerate() {
        if grain.iter().all(|byte| *byte == 0) {
            continue;
        }
        table[index] = u32::try_from(file.len() / 512).unwrap();
        let mut whole = grain.to_vec();
        whole.resize(GRAIN, 0);
        let compressed = miniz_oxide::deflate::compress_to_vec_zlib(&whole, 6);
        file.extend((index as u64 * 128).to_le_bytes());
        file.extend(u32::try_from(compressed.len()).unwrap().to_le_bytes());
        file.extend(compressed);
        file.resize(file.len().next_multiple_of(512), 0);
    }
    file.extend(marker(4, 1));
    let at = u32::try_from(file.len() / 512).unwrap();
    file.extend(table.iter().flat_map(|entry| entry.to_le_bytes()));
    file.extend(marker(1, 2));
    let directory = file.len() as u64 / 512;
    file.extend(at.to_le_bytes());
    file.resize(file.len().next_multiple_of(512), 0);
    file.extend(marker(1, 3));
    file.extend(header(directory, true));
    file.extend(marker(0, 0));
    fs::write(folder.path("disk.vmdk"), &file).unwrap();
    reads_as(&mut open(&folder, "disk.vmdk"), &model, &mut dice);
    folder.img("convert -q -f vmdk -O raw disk.vmdk theirs.raw");
    assert!(fs::read(folder.path("theirs.raw")).unwrap()[..model.len()] == model);

    // A download that ended early.
    fs::write(folder.path("disk.vmdk"), &file[..file.len() / 2]).unwrap();
    let said = try_open(&folder, "disk.vmdk", READ_ONLY)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        said,
        "the image is truncated: its footer would be beyond the file's end"
    );
}

/// An image may stand on a VMDK image.
#[test]
fn below_a_qcow2_image() {
    let Some(folder) = Folder::new() else { return };
    let mut dice = Dice(6);
    let mut model = model(&mut dice, 2 * MIB);
    fs::write(folder.path("base.raw"), &model).unwrap();
    folder.img("convert -q -f raw -O vmdk -o subformat=streamOptimized base.raw base.vmdk");
    folder.img("create -q -f qcow2 -b base.vmdk -F vmdk top.qcow2");
    let mut backend = folder.backend("top.qcow2", READ_WRITE);
    assert!(read(&mut backend, 0, 2 * MIB).unwrap() == model);
    exercise(&mut backend, &mut model, &mut dice, 40);
    drop(backend);
    folder.holds("top.qcow2", &model);
}

#[test]
fn what_is_refused() {
    let Some(folder) = Folder::new() else { return };
    fs::write(folder.path("flat.vmdk"), [7; 4096]).unwrap();
    fs::create_dir(folder.path("sub")).unwrap();
    fs::write(folder.path("sub/flat.vmdk"), [7; 4096]).unwrap();
    let said = |lines: &str| {
        describe(&folder, "disk.vmdk", lines);
        try_open(&folder, "disk.vmdk", READ_ONLY)
            .map(|_| ())
            .unwrap_err()
    };
    let truncated = "the image is truncated: a part of 'flat.vmdk' would be beyond the file's end";
    let absolute = folder.path("flat.vmdk").display().to_string();
    for (lines, expected) in [
        ("", "the image is corrupt: it has no extents"),
        ("RW 9 FLAT \"flat.vmdk\"", truncated),
        ("RW 8 FLAT \"flat.vmdk\" 1", truncated),
        ("RW 8 FLAT \"flat.vmdk\" 18446744073709551615", truncated),
        (
            "RW 8 FLAT \"none.vmdk\"",
            "its extent 'none.vmdk': No such file or directory (os error 2)",
        ),
        (
            "RW 8 FLAT \"sub\"",
            "its extent 'sub': not a regular file or block device",
        ),
        (
            "RW 8 FLAT \"sub/flat.vmdk\"",
            "its extent 'sub/flat.vmdk' is not beside it",
        ),
        (
            "RW 8 FLAT \"../flat.vmdk\"",
            "its extent '../flat.vmdk' is not beside it",
        ),
        ("RW 8 FLAT \"..\"", "its extent '..' is not beside it"),
        (
            "RW 8 FLAT \"/dev/fd/3\"",
            "its extent '/dev/fd/3' is not beside it",
        ),
        (
            &format!("RW 8 FLAT \"{absolute}\""),
            &format!("its extent '{absolute}' is not beside it"),
        ),
        (
            "RW 8 SESPARSE \"flat.vmdk\"",
            "it has an extent of type SESPARSE",
        ),
        (
            "RW 8 SPARSE \"flat.vmdk\"",
            "the image is corrupt: 'flat.vmdk' is not a sparse extent",
        ),
        ("RW FLAT", "the image is corrupt: the line 'RW FLAT'"),
        (
            "parentFileNameHint=\"base.vmdk\"\nRW 8 FLAT \"flat.vmdk\"",
            "it holds the differences to the image 'base.vmdk'",
        ),
        ("encryption.data=\"x\"", "it is encrypted"),
        (
            "RW 36028797018963968 ZERO",
            "the image is corrupt: an extent of 36028797018963968 blocks",
        ),
    ] {
        assert_eq!(said(lines), expected, "{lines}");
    }
    for bytes in [&b""[..], b"KDM", &[0; 4096], b"hello\n", &[0xff; 700]] {
        fs::write(folder.path("disk.vmdk"), bytes).unwrap();
        let said = try_open(&folder, "disk.vmdk", READ_ONLY)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(said, "it is not a vmdk image");
    }
    // By a link, which the user has made, an extent may be elsewhere.
    symlink("sub/flat.vmdk", folder.path("link.vmdk")).unwrap();
    describe(&folder, "disk.vmdk", "RW 8 FLAT \"link.vmdk\"");
    assert!(read(&mut open(&folder, "disk.vmdk"), 0, 4096).unwrap() == [7; 4096]);
}

#[test]
fn an_extent_whose_name_is_not_utf_8() {
    let folder = Folder::without_tools();
    fs::write(folder.path("caf\u{e9}.vmdk"), [7; 4096]).unwrap();
    let text = b"# Disk DescriptorFile\nencoding=\"windows-1252\"\nRW 8 FLAT \"caf\xe9.vmdk\"\n";
    fs::write(folder.path("disk.vmdk"), text).unwrap();
    assert!(read(&mut open(&folder, "disk.vmdk"), 0, 4096).unwrap() == [7; 4096]);
}

/// Random damage to what leads to the data: refused, or an error, or other bytes; nothing else.
#[test]
fn damaged_tables() {
    let Some(folder) = Folder::new() else { return };
    let mut dice = Dice(77);
    let model = model(&mut dice, 2 * MIB);
    fs::write(folder.path("base.raw"), &model).unwrap();
    for form in ["monolithicSparse", "streamOptimized"] {
        folder.img(&format!(
            "convert -q -f raw -O vmdk -o subformat={form} base.raw good.vmdk"
        ));
        let good = fs::read(folder.path("good.vmdk")).unwrap();
        let word = |at: usize| u64::from_le_bytes(good[at..at + 8].try_into().unwrap());
        // In a stream the directory and its tables are before the footer.
        let tables = match usize::try_from(word(56)) {
            Ok(at) if at < good.len() / 512 => at * 512..at * 512 + 4096,
            _ => good.len() - 6144..good.len(),
        };
        for round in 0..300 {
            let mut bytes = good.clone();
            for _ in 0..1 + dice.below(5) {
                let place = match dice.below(3) {
                    0 => usize::try_from(dice.below(80)).unwrap(),
                    1 => tables.start + usize::try_from(dice.below(tables.len() as u64)).unwrap(),
                    _ => usize::try_from(dice.below(good.len() as u64)).unwrap(),
                };
                bytes[place] = match dice.below(3) {
                    0 => 0,
                    1 => 0xff,
                    _ => dice.roll().to_le_bytes()[0],
                };
            }
            if round % 7 == 0 {
                bytes.truncate(usize::try_from(dice.below(good.len() as u64)).unwrap());
            }
            fs::write(folder.path("bad.vmdk"), &bytes).unwrap();
            if let Ok(mut backend) = try_open(&folder, "bad.vmdk", READ_ONLY) {
                let bytes = backend.geometry().bytes.min(4 << 20);
                for at in (0..bytes).step_by(64 << 10) {
                    let _ = read(&mut backend, at, 512);
                }
            }
        }
    }
    // One whose line ends a program has converted.
    folder.img("create -q -f vmdk good.vmdk 1M");
    let file = fs::File::options()
        .write(true)
        .open(folder.path("good.vmdk"))
        .unwrap();
    file.write_all_at(b"\n \n\n", 73).unwrap();
    let flags = [3, 0, 0, 0];
    file.write_all_at(&flags, 8).unwrap();
    let said = try_open(&folder, "good.vmdk", READ_ONLY)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(said, "the image is corrupt: it was transferred as text");
}
