//! Disks of each kind of image, read through the real emulator by a guest's hands.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use outrigger_proxy::{Endpoint, Transport};
use outrigger_tests::emulator::{Emulator, export};
use outrigger_tests::front::{Attached, options};
use outrigger_tests::place::Place;
use outrigger_tests::random::pattern;
use outrigger_tests::registers::{Data, cdb10};

const BYTES: usize = 1 << 20;

/// Runs `qemu-img` in the directory; whether it succeeds.
fn img(directory: &Path, arguments: &str) -> bool {
    let status = Command::new("qemu-img")
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .stdout(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// What a guest reads from the disk on this node.
fn read_through_emulator(place: &Place, node: &str) -> Vec<u8> {
    let path = place.path("lsi.sock");
    let mut arguments: Vec<String> = ["--device", "lsi53c895a,id=lsi0", "--blockdev", node]
        .map(str::to_owned)
        .to_vec();
    arguments.extend(["--device", "scsi-hd,drive=d"].map(str::to_owned));
    arguments.extend(export("lsi0", &path));
    let emulator = Emulator::start(&arguments, &[&path]);
    let mut device = Attached::connect(Endpoint::Path(path), options(Transport::Ring));
    device.set_up();
    device.clear_attention(0);
    let mut disk = Vec::new();
    for block in (0..BYTES / 512).step_by(128) {
        let cdb = cdb10(0x28, u32::try_from(block).unwrap(), 128);
        assert_eq!(
            device.command(0, &cdb, Data::In(128 * 512)),
            Ok(0),
            "{node}"
        );
        disk.extend(device.data(128 * 512));
    }
    drop(device);
    emulator.terminate();
    disk
}

#[test]
fn a_guest_reads_each_kind_of_image() {
    let place = Place::new();
    let disk = pattern(BYTES);
    let raw = place.image("disk.raw", &disk).path;
    let directory = raw.parent().unwrap();
    if !img(directory, "--version") {
        outrigger_skip::skipped("qemu-img is not installed");
        return;
    }
    let image = |format: &str, more: &str| {
        let made = format!("convert -f raw -O {format} {more} disk.raw disk.{format}");
        assert!(img(directory, &made), "{made}");
    };
    let node = |format: &str| {
        let file = place.path(&format!("disk.{format}"));
        let file = file.display();
        format!("{format},node-name=d,read-only=on,file.driver=file,file.filename={file}")
    };
    for (format, more) in [
        ("qcow2", ""),
        ("qcow2", "-c"),
        ("qcow2", "-o compat=0.10"),
        ("qcow2", "-o data_file=data.raw"),
        ("vmdk", "-o subformat=monolithicSparse"),
        ("vmdk", "-o subformat=monolithicFlat"),
        ("vmdk", "-o subformat=twoGbMaxExtentSparse"),
        ("vmdk", "-o subformat=streamOptimized"),
    ] {
        image(format, more);
        assert!(
            read_through_emulator(&place, &node(format)) == disk,
            "{format} {more}"
        );
    }
    // As ESXi and as Workstation on Windows describe the same bytes.
    let blocks = BYTES / 512;
    for (text, ends) in [
        (
            format!(
                "# Disk DescriptorFile\nversion=3\nencoding=\"UTF-8\"\nCID=5a1e0c77\nparentCID=ffffffff\n\
                 isNativeSnapshot=\"no\"\ncreateType=\"vmfs\"\n\n# Extent description\n\
                 RW {blocks} VMFS \"disk.raw\"\n\n# Change Tracking File\nchangeTrackPath=\"disk-ctk.vmdk\"\n\n\
                 # The Disk Data Base\n#DDB\n\nddb.thinProvisioned = \"1\"\n"
            ),
            "\n",
        ),
        (
            format!(
                "# Disk DescriptorFile\nversion=1\nencoding=\"windows-1252\"\nCID=1c2d3e4f\nparentCID=ffffffff\n\
                 parentFileNameHint=\"\"\ncreateType=\"monolithicFlat\"\n\nRW {blocks} FLAT \"disk.raw\" 0\n"
            ),
            "\r\n",
        ),
    ] {
        fs::write(place.path("disk.vmdk"), text.replace('\n', ends)).unwrap();
        assert!(
            read_through_emulator(&place, &node("vmdk")) == disk,
            "{text}"
        );
    }
}

/// What is refused ends with a command, and its copy has the same disk.
#[test]
fn a_guest_reads_the_copy_that_a_refusal_names() {
    let place = Place::new();
    let disk = pattern(BYTES);
    let raw = place.image("disk.raw", &disk).path;
    let directory = raw.parent().unwrap();
    if !img(directory, "--version") {
        outrigger_skip::skipped("qemu-img is not installed");
        return;
    }
    let file = place.path("disk.qcow2").display().to_string();
    let node = format!("qcow2,node-name=d,file.driver=file,file.filename={file}");
    for more in ["-c -o compression_type=zstd", "-o extended_l2=on"] {
        assert!(img(
            directory,
            &format!("convert -f raw -O qcow2 {more} disk.raw disk.qcow2")
        ));
        let mut arguments: Vec<String> = ["--device", "lsi53c895a,id=lsi0", "--blockdev", &node]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(["--device", "scsi-hd,drive=d"].map(str::to_owned));
        arguments.extend(export("lsi0", &place.path("lsi.sock")));
        let refused = outrigger_tests::emulator::output(&arguments);
        assert_eq!(refused.status.code(), Some(2));
        let said = String::from_utf8(refused.stderr).unwrap();
        let (_, command) = said.trim_end().rsplit_once("convert it: ").expect(&said);
        let status = Command::new("sh").args(["-c", command]).status().unwrap();
        assert!(status.success(), "{command}");
        let copy = node.replace("disk.qcow2", "disk.converted.qcow2");
        assert!(read_through_emulator(&place, &copy) == disk, "{command}");
    }
}

/// Written by the guest through a descriptor whose file has no name any more.
#[test]
fn a_guest_writes_what_is_behind_a_descriptor() {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileExt;
    let place = Place::new();
    let image = place.image("disk.raw", &pattern(BYTES)).path;
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(&image)
        .unwrap();
    fs::remove_file(&image).unwrap();
    // Inherited by the emulator, and by what other tests start meanwhile.
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let path = place.path("lsi.sock");
    let node = format!("file,node-name=d,filename=/dev/fd/{}", file.as_raw_fd());
    let mut arguments: Vec<String> = ["--device", "lsi53c895a,id=lsi0", "--blockdev", &node]
        .map(str::to_owned)
        .to_vec();
    arguments.extend(["--device", "scsi-hd,drive=d"].map(str::to_owned));
    arguments.extend(export("lsi0", &path));
    let emulator = Emulator::start(&arguments, &[&path]);
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC).unwrap();
    let mut device = Attached::connect(Endpoint::Path(path), options(Transport::Ring));
    device.set_up();
    device.clear_attention(0);
    device.put_data(&[0x5a; 4096]);
    assert_eq!(
        device.command(0, &cdb10(0x2a, 8, 8), Data::Out(4096)),
        Ok(0)
    );
    drop(device);
    emulator.terminate();
    let mut written = [0; 4096];
    file.read_exact_at(&mut written, 4096).unwrap();
    assert!(written == [0x5a; 4096]);
}
