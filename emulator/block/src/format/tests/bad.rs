//! Images that are refused, and what is said of them.

use super::*;

/// What is said when the image is opened.
fn refusal(folder: &Folder, name: &str) -> String {
    match folder.qcow2(name, READ_WRITE) {
        Ok(_) => panic!("{name} was opened"),
        Err(error) => error.to_string(),
    }
}

fn patch(folder: &Folder, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options()
        .write(true)
        .open(folder.path("disk.qcow2"))
        .unwrap();
    file.write_all_at(bytes, at).unwrap();
}

#[test]
fn headers_that_make_no_sense() {
    let Some(folder) = Folder::new() else { return };
    for (at, bytes, said) in [
        (0, &b"QFI!"[..], "it is not a qcow2 image"),
        (
            4,
            &[0, 0, 0, 9],
            "it is qcow2 version 9, and only 2 and 3 are known",
        ),
        (
            20,
            &[0, 0, 0, 60],
            "the image is corrupt: clusters of 2^60 bytes",
        ),
        (
            24,
            &[0xff; 8],
            "the image is corrupt: a size of 18446744073709551615 bytes",
        ),
        (24, &[0; 8], "the disk in the image is empty"),
        (
            24,
            &[0, 0, 0, 0, 0, 1, 0, 1],
            "the disk in the image, 65537 bytes, is not a multiple of 512",
        ),
        (32, &[0, 0, 0, 2], "it is encrypted"),
        (
            36,
            &[0xff; 4],
            "the image is corrupt: an L1 table of 4294967295 entries for 1048576 bytes",
        ),
        (
            36,
            &[0; 4],
            "the image is corrupt: an L1 table of 0 entries for 1048576 bytes",
        ),
        (
            40,
            &[0x7f; 8],
            "the image is corrupt: its L1 table is at byte 9187201950435737471",
        ),
        (
            40,
            &[0, 0x7f, 0, 0, 0, 0, 0, 0],
            "the image is truncated: its L1 table would be beyond the file's end",
        ),
        (
            48,
            &[0; 8],
            "the image is corrupt: its refcount table is at byte 0",
        ),
        (
            56,
            &[0xff; 4],
            "the image is corrupt: a refcount table of 4294967295 clusters",
        ),
        (72, &[0, 0, 0, 0, 0, 0, 0, 1], "it was not closed cleanly"),
        (72, &[0, 0, 0, 0, 0, 0, 0, 2], "it is marked as corrupt"),
        (
            72,
            &[0x80, 0, 0, 0, 0, 0, 0, 0],
            "it has unknown features (0x8000000000000000)",
        ),
        (
            96,
            &[0, 0, 0, 7],
            "the image is corrupt: refcounts of 2^7 bits",
        ),
        (
            100,
            &[0, 0, 0, 1],
            "the image is corrupt: a header of 1 bytes",
        ),
    ] {
        folder.img("create -q -f qcow2 disk.qcow2 1M");
        patch(&folder, at, bytes);
        assert_eq!(refusal(&folder, "disk.qcow2"), said);
    }
    std::fs::write(folder.path("disk.qcow2"), b"").unwrap();
    assert_eq!(refusal(&folder, "disk.qcow2"), "it is not a qcow2 image");
}

/// What is allocated in such an image would overwrite its own tables.
#[test]
fn refcounts_that_leave_something_out() {
    let Some(folder) = Folder::new() else { return };
    for bits in [1, 4, 16, 64] {
        let create = format!("create -q -f qcow2 -o refcount_bits={bits} disk.qcow2 1M");
        folder.img(&create);
        folder.qcow2("disk.qcow2", READ_WRITE).unwrap();
        let image = std::fs::read(folder.path("disk.qcow2")).unwrap();
        let word = |at: usize| u64::from_be_bytes(image[at..at + 8].try_into().unwrap());
        let table = word(48);
        let block = word(usize::try_from(table).unwrap());
        // Clusters 0 to 3 are header, refcount table, refcount block and L1 table.
        for (cluster, name) in [(0, "header"), (1, "refcount table"), (3, "L1 table")] {
            folder.img(&create);
            let bit = cluster * bits;
            let at = usize::try_from(block + bit / 8).unwrap();
            let mut bytes = image[at..at + usize::try_from(bits).unwrap().div_ceil(8)].to_vec();
            match &mut bytes[..] {
                [byte] => *byte &= !(((1_u16 << bits) - 1) << (bit % 8)).to_le_bytes()[0],
                bytes => bytes.fill(0),
            }
            patch(&folder, block + bit / 8, &bytes);
            assert_eq!(
                refusal(&folder, "disk.qcow2"),
                format!("the image is corrupt: its refcounts leave out its {name}")
            );
            // Nothing is allocated in it.
            folder.qcow2("disk.qcow2", READ_ONLY).unwrap();
        }
        folder.img(&create);
        patch(&folder, table, &[0; 8]);
        assert_eq!(
            refusal(&folder, "disk.qcow2"),
            "the image is corrupt: its refcounts leave out its header"
        );
    }
}

#[test]
fn other_variants_of_the_format() {
    let Some(folder) = Folder::new() else { return };
    for (options, said) in [
        ("compression_type=zstd", "it is compressed by zstd"),
        ("extended_l2=on", "it has extended L2 entries"),
    ] {
        folder.img(&format!("create -q -f qcow2 -o {options} disk.qcow2 1M"));
        assert_eq!(refusal(&folder, "disk.qcow2"), said);
    }
}

#[test]
fn a_file_that_lost_its_end() {
    let Some(folder) = Folder::new() else { return };
    folder.img("create -q -f qcow2 disk.qcow2 64M");
    let mut backend = folder.backend("disk.qcow2", READ_WRITE);
    write(&mut backend, 32 << 20, vec![1; MIB]).unwrap();
    drop(backend);
    let whole = std::fs::read(folder.path("disk.qcow2")).unwrap();
    for length in (0..whole.len()).step_by(64 << 10) {
        std::fs::write(folder.path("disk.qcow2"), &whole[..length]).unwrap();
        let said = refusal(&folder, "disk.qcow2");
        assert!(
            length == 0 || said.starts_with("the image is truncated: "),
            "{length}: {said}"
        );
    }
    std::fs::write(folder.path("disk.qcow2"), &whole).unwrap();
    folder.qcow2("disk.qcow2", READ_WRITE).unwrap();
}

#[test]
fn backing_files_that_cannot_be() {
    let Some(folder) = Folder::new() else { return };
    let create = |name: &str, backing: &str, format: &str| {
        folder.img(&format!(
            "create -q -u -f qcow2 -b {backing} -F {format} {name} 1M"
        ));
    };
    create("self.qcow2", "./self.qcow2", "qcow2");
    assert_eq!(
        refusal(&folder, "self.qcow2"),
        "the backing files form a loop"
    );
    create("a.qcow2", "b.qcow2", "qcow2");
    create("b.qcow2", "a.qcow2", "qcow2");
    assert_eq!(refusal(&folder, "a.qcow2"), "the backing files form a loop");
    create("lost.qcow2", "nothing.raw", "raw");
    let said = refusal(&folder, "lost.qcow2");
    assert!(said.contains("nothing.raw': No such file"), "{said}");
    create("remote.qcow2", "nbd:localhost:10809", "raw");
    assert_eq!(
        refusal(&folder, "remote.qcow2"),
        "the backing file 'nbd:localhost:10809' is not a file"
    );
    create("other.qcow2", "base.vdi", "vdi");
    std::fs::write(folder.path("base.vdi"), [0; 512]).unwrap();
    let said = refusal(&folder, "other.qcow2");
    assert!(
        said.ends_with("its format, vdi, is not known here"),
        "{said}"
    );
    std::fs::write(folder.path("base.raw"), vec![0; MIB]).unwrap();
    create("disk.qcow2", "base.raw", "raw");
    // The header extension that names the format becomes one that means nothing.
    let bytes = std::fs::read(folder.path("disk.qcow2")).unwrap();
    let at = (bytes.windows(4))
        .position(|it| it == [0xe2, 0x79, 0x2a, 0xca])
        .unwrap();
    patch(&folder, at as u64, &[1, 2, 3, 4]);
    let said = refusal(&folder, "disk.qcow2");
    assert!(said.contains("has no format"), "{said}");
    // A chain without end in sight.
    create("chain0.qcow2", "base.raw", "raw");
    for link in 1..70 {
        create(
            &format!("chain{link}.qcow2"),
            &format!("chain{}.qcow2", link - 1),
            "qcow2",
        );
    }
    assert_eq!(
        refusal(&folder, "chain69.qcow2"),
        "more than 64 backing files"
    );
    folder.qcow2("chain60.qcow2", READ_WRITE).unwrap();
}

#[test]
fn a_file_that_shrinks_in_use_fails_or_reads_zeroes() {
    let Some(folder) = Folder::new() else { return };
    folder.img("create -q -f qcow2 disk.qcow2 8M");
    let mut backend = folder.backend("disk.qcow2", READ_WRITE);
    write(&mut backend, 0, vec![1; 4 * MIB]).unwrap();
    let file = std::fs::File::options()
        .write(true)
        .open(folder.path("disk.qcow2"))
        .unwrap();
    file.set_len(70_000).unwrap();
    let _ = read(&mut backend, 0, 4 * MIB);
    let _ = write(&mut backend, MIB as u64, vec![2; MIB]);
    let _ = run(&mut backend, Op::Flush, 0, 0, Data::None);
}

#[test]
fn the_first_block_that_cannot_be_read_is_named() {
    let Some(folder) = Folder::new() else { return };
    folder.img("create -q -f qcow2 -o cluster_size=4k disk.qcow2 4M");
    let mut backend = folder.backend("disk.qcow2", READ_WRITE);
    write(&mut backend, 0, vec![1; 4 * MIB]).unwrap();
    drop(backend);
    // The table of the second 2 MiB leads to where no cluster can be.
    let image = std::fs::read(folder.path("disk.qcow2")).unwrap();
    let word = |at: usize| u64::from_be_bytes(image[at..at + 8].try_into().unwrap());
    let table = word(usize::try_from(word(40)).unwrap() + 8) & 0x00ff_ffff_ffff_fe00;
    patch(&folder, table, &(1_u64 << 63 | 0x1200).to_be_bytes());
    let mut backend = folder.backend("disk.qcow2", READ_WRITE);
    let bad = 2 << 20;
    for (offset, length) in [(0, 4 * MIB), (1024, 3 * MIB), (bad - 512, 1024), (bad, 512)] {
        match read(&mut backend, offset, length) {
            Err(BlockError::Io { offset, .. }) => assert_eq!(offset, Some(bad)),
            other => panic!("{offset}, {length}: {other:?}"),
        }
    }
    assert!(read(&mut backend, 0, 2 * MIB).unwrap() == vec![1; 2 * MIB]);
}
