//! The exact line that each bad option is answered with.

use super::*;

#[test]
fn bad_blockdevs() {
    let cases = [
        ("", "an item has no key; write KEY=VALUE,KEY=VALUE"),
        ("file,,x", "no driver 'file,x'; did you mean 'file'?"),
        ("file,=x", "an item has no key; write KEY=VALUE,KEY=VALUE"),
        ("file,", "an item has no key; write KEY=VALUE,KEY=VALUE"),
        (
            "file,on",
            "'on' has no value; write 'on=VALUE', and ',,' for a comma within a value",
        ),
        ("filename=x", "no 'driver'; add driver=file"),
        (
            "driver=fiel,node-name=d",
            "no driver 'fiel'; did you mean 'file'?",
        ),
        (
            "luks,node-name=d",
            "no driver 'luks'; known: file, memory, null-co, nbd, raw, qcow2, vmdk",
        ),
        (
            "file,nodename=d",
            "no key 'nodename'; did you mean 'node-name'?",
        ),
        (
            "file,colour=red",
            "no key 'colour'; known: driver, node-name, read-only, discard, detect-zeroes, filename, cache.direct, aio, locking",
        ),
        ("file,node-name=d", "no 'filename'; add filename=disk.img"),
        ("file,filename=d", "no 'node-name'; add node-name=disk0"),
        (
            "file,filename=,node-name=d",
            "filename cannot be ''; give a name, such as disk.img",
        ),
        (
            "file,filename=d,node-name=d,filename=e",
            "'filename' is given twice; leave one out",
        ),
        (
            "file,filename=d,node-name=d,read-only=maybe",
            "no read-only 'maybe'; known: on, off",
        ),
        (
            "file,filename=d,node-name=d,aio=uring",
            "no aio 'uring'; did you mean 'io_uring'?",
        ),
        ("memory,node-name=d", "no 'size'; add size=64M"),
        (
            "memory,node-name=d,size=0",
            "size cannot be '0'; give a multiple of 512, more than 0",
        ),
        (
            "memory,node-name=d,size=513",
            "size cannot be '513'; give a multiple of 512, more than 0",
        ),
        (
            "memory,node-name=d,size=99999999T",
            "size cannot be '99999999T'; give a number of bytes, such as 65536 or 64M",
        ),
        (
            "memory,node-name=d,size=\u{663}",
            "size cannot be '\u{663}'; give a number of bytes, such as 65536 or 64M",
        ),
        (
            "{\"driver\":1",
            "bad JSON: EOF while parsing an object at line 1 column 11; \
             give one object of strings, numbers, true and false",
        ),
        (
            "{\"driver\":null}",
            "bad JSON: 'driver' is null or a list; give one object of strings, numbers, true and false",
        ),
    ];
    for (text, expected) in cases {
        let error = config(&[text], &[], &[]).unwrap_err();
        let space = if text.is_empty() { "" } else { " " };
        assert_eq!(
            error.to_string(),
            format!("--blockdev{space}{text}: {expected}")
        );
    }
    let error = config(&[FILE, FILE], &[], &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("--blockdev {FILE}: node-name 'disk0' is taken; choose another")
    );
    let error = config(&["file,a\nb"], &[], &[]).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
}

#[test]
fn bad_devices() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["lsi53c895,id=lsi0"],
            "no driver 'lsi53c895'; did you mean 'lsi53c895a'?",
        ),
        (
            &["e1000,id=n"],
            "no driver 'e1000'; known: lsi53c895a, lsi53c810, scsi-hd, scsi-cd",
        ),
        (&["lsi53c895a"], "no 'id'; add id=lsi0"),
        (
            &["lsi53c895a,id=lsi0,drive=disk0"],
            "no key 'drive'; did you mean 'driver'?",
        ),
        (
            &[LSI, "lsi53c810,id=lsi0"],
            "id 'lsi0' is taken; choose another",
        ),
        (
            &[LSI, "scsi-hd,drive=disk0,id=lsi0"],
            "id 'lsi0' is taken; choose another",
        ),
        (&[LSI, "scsi-hd,bus=lsi0.0"], "no 'drive'; add drive=disk0"),
        (
            &[LSI, "scsi-hd,bus=lsi0.0,drve=disk0"],
            "no key 'drve'; did you mean 'drive'?",
        ),
        (
            &[LSI, "scsi-hd,bus=lsi0,drive=disk0"],
            "no bus 'lsi0'; did you mean 'lsi0.0'?",
        ),
        (
            &["scsi-hd,bus=lsi0.0,drive=disk0"],
            "no bus 'lsi0.0'; define it with --device lsi53c895a,id=ID",
        ),
        (
            &[LSI, "lsi53c810,id=lsi1", "scsi-hd,drive=disk0"],
            "no 'bus'; add bus=lsi0.0",
        ),
        (
            &[LSI, "scsi-hd,drive=disk1"],
            "no drive 'disk1'; did you mean 'disk0'?",
        ),
        (
            &[LSI, HD, "scsi-hd,scsi-id=1,drive=disk0"],
            "drive 'disk0' is taken; choose another",
        ),
        (
            &[LSI, HD, "scsi-hd,scsi-id=0,drive=disk1"],
            "scsi-id '0 (lun 0)' is taken; choose another",
        ),
        (
            &[LSI, "scsi-hd,drive=disk0,scsi-id=16"],
            "scsi-id cannot be '16'; give a number from 0 to 15",
        ),
        (
            &[LSI, "scsi-hd,drive=disk0,scsi-id=7"],
            "scsi-id cannot be '7'; give 0 to 15, but not 7 (the controller's own)",
        ),
        (
            &["lsi53c810,id=lsi0", "scsi-hd,drive=disk0,scsi-id=8"],
            "scsi-id cannot be '8'; give 0 to 6 on this bus (7 is the controller's own)",
        ),
        (
            &[LSI, "scsi-hd,drive=disk0,lun=8"],
            "lun cannot be '8'; give a number from 0 to 7",
        ),
        (
            &[LSI, "scsi-hd,drive=disk0,vendor=123456789"],
            "vendor cannot be '123456789'; give at most 8 printable ASCII characters",
        ),
        (
            &[LSI, "scsi-hd,drive=disk0,ver=é"],
            "ver cannot be 'é'; give at most 4 printable ASCII characters",
        ),
        (
            &[LSI, "scsi-hd,drive=disk0,logical_block_size=520"],
            "logical_block_size cannot be '520'; give a power of two from 512 to 4096",
        ),
        (
            &[
                LSI,
                "scsi-hd,drive=disk0,logical_block_size=4k,physical_block_size=2K",
            ],
            "physical_block_size cannot be '2K'; give at least the logical block size",
        ),
        (
            &[LSI, "scsi-hd,drive=disk0,write-cache=auto"],
            "no write-cache 'auto'; known: on, off",
        ),
        (
            &[LSI, "scsi-hd,drive=disk0,rotation_rate=65536"],
            "rotation_rate cannot be '65536'; give a number from 0 to 65535",
        ),
        (
            &[LSI, "scsi-hd,drive=disk0,werror=full"],
            "no werror 'full'; known: report, ignore, enospc, stop, auto",
        ),
        (
            &[LSI, "scsi-cd,drive=disk0,rerror=enospc"],
            "no rerror 'enospc'; known: report, ignore, stop, auto",
        ),
        (
            &[LSI, "scsi-hd,drive=disk0,rerror=ignored"],
            "no rerror 'ignored'; did you mean 'ignore'?",
        ),
        (
            &[LSI, "scsi-cd,drive=disk0,write-cache=on"],
            "no key 'write-cache'; known: driver, id, bus, scsi-id, lun, drive, serial, vendor, product, ver, wwn, \
             rerror, werror, logical_block_size",
        ),
        (
            &[LSI, "scsi-cd,drive=disk0,logical_block_size=4096"],
            "logical_block_size cannot be '4096'; give a power of two from 512 to 2048",
        ),
        (
            &[LSI, "scsi-cd,drive="],
            "drive cannot be ''; give a name, such as disk0",
        ),
        (
            &[LSI, "scsi-dc,drive=disk0"],
            "no driver 'scsi-dc'; did you mean 'scsi-cd'?",
        ),
    ];
    for (devices, expected) in cases {
        let error = config(&[FILE], devices, &[EXPORT]).unwrap_err();
        let last = devices.last().unwrap();
        assert_eq!(error.to_string(), format!("--device {last}: {expected}"));
    }
    let error = config(&[], &[LSI, HD], &[EXPORT]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("--device {HD}: no drive 'disk0'; define it with --blockdev")
    );

    let nodes: Vec<_> = (0..8)
        .map(|n| format!("memory,node-name=m{n},size=512"))
        .collect();
    let disks: Vec<_> = (0..8).map(|n| format!("scsi-hd,drive=m{n}")).collect();
    let devices: Vec<_> = [String::from("lsi53c810,id=lsi0")]
        .into_iter()
        .chain(disks)
        .collect();
    let error = Config::new(&nodes, &devices, &[EXPORT.to_owned()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--device scsi-hd,drive=m7: bus 'lsi0.0' is full; put the disk on another controller"
    );
}

#[test]
fn bad_exports() {
    let cases: &[(&[&str], &str)] = &[
        (&["device=lsi0,path=/s"], "no 'type'; add type=vfio-user"),
        (
            &["vfio,device=lsi0,path=/s"],
            "no type 'vfio'; known: vfio-user",
        ),
        (&["vfio-user,path=/s"], "no 'device'; add device=lsi0"),
        (
            &["vfio-user,device=lsi0"],
            "no 'path'; add path=/run/lsi0.sock",
        ),
        (
            &["vfio-user,device=lsi0,path="],
            "path cannot be ''; give a name, such as /run/lsi0.sock",
        ),
        (
            &["vfio-user,device=lsi0,path=/s,fd=3"],
            "'path' and 'fd' exclude each other; leave one out",
        ),
        (
            &["vfio-user,device=lsi0,fd=2"],
            "fd cannot be '2'; give a number from 3 to 1048576",
        ),
        (
            &["vfio-user,device=lsi1,path=/s"],
            "no device 'lsi1'; did you mean 'lsi0'?",
        ),
        (
            &["vfio-user,device=x,path=/s"],
            "no device 'x'; known: lsi0",
        ),
        (
            &[EXPORT, "vfio-user,device=lsi0,path=/s"],
            "device 'lsi0' is taken; choose another",
        ),
    ];
    for (exports, expected) in cases {
        let error = config(&[FILE], &[LSI, HD], exports).unwrap_err();
        let last = exports.last().unwrap();
        assert_eq!(error.to_string(), format!("--export {last}: {expected}"));
    }
    let devices = [LSI, "lsi53c810,id=lsi1"];
    for socket in ["path=/s", "fd=3"] {
        let (key, value) = socket.split_once('=').unwrap();
        let first = format!("vfio-user,device=lsi0,{socket}");
        let second = format!("vfio-user,device=lsi1,{socket}");
        let error = config(&[], &devices, &[&first, &second]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("--export {second}: {key} '{value}' is taken; choose another")
        );
    }
    let long = format!("vfio-user,device=lsi0,path=/{}", "x".repeat(107));
    let error = config(&[], &[LSI], &[&long]).unwrap_err().to_string();
    assert!(
        error.ends_with("; give at most 107 bytes, this has 108"),
        "{error}"
    );
    let fits = format!("vfio-user,device=lsi0,path=/{}", "x".repeat(106));
    config(&[], &[LSI], &[&fits]).unwrap();

    let error = config(&[], &[LSI], &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "--device {LSI}: no --export serves 'lsi0'; add --export type=vfio-user,device=lsi0,path=SOCKET"
        )
    );
    let error = config(&[], &[], &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--device: no controller; add --device lsi53c895a,id=lsi0"
    );
}

fn answer(arguments: &[&str]) -> Answer {
    let arguments = ["outrigger-emulator"]
        .iter()
        .chain(arguments)
        .map(std::ffi::OsString::from);
    CommandLine::parse_from(arguments).unwrap_err()
}

#[test]
fn bad_command_lines_are_one_line() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["--blokdev", "x"],
            "unexpected argument '--blokdev' found; a similar argument exists: '--blockdev'",
        ),
        (
            &["disk.img"],
            "unexpected argument 'disk.img' found; see -h",
        ),
        (
            &["--device"],
            "a value is required for '--device <OPTIONS>' but none was supplied; see -h",
        ),
        (
            &["--sandbox", "maybe"],
            "invalid value 'maybe' for '--sandbox <on|off>'; known: on, off",
        ),
    ];
    for (arguments, expected) in cases {
        assert_eq!(
            answer(arguments),
            Answer {
                text: format!("outrigger-emulator: {expected}\n"),
                code: 2
            }
        );
    }
}

#[test]
fn help_teaches_by_example() {
    for flag in ["-h", "--help"] {
        let Answer { text, code } = answer(&[flag]);
        assert_eq!(code, 0);
        for part in [
            "--blockdev",
            "scsi-hd,bus=lsi0.0",
            "vfio-user-pci",
            "--sandbox",
        ] {
            assert!(
                text.contains(part),
                "{flag} says nothing of {part}:\n{text}"
            );
        }
    }
}

proptest::proptest! {
    /// Whatever is typed is parsed or refused, in one line.
    #[test]
    fn nothing_that_is_typed_panics(text in "\\PC{0,40}|[{},=:\"a-z0-9.\\[\\]\n]{0,40}") {
        let keyed = ["", "file,filename=", "memory,node-name=d,size=", "scsi-hd,drive=disk0,wwn="];
        for start in keyed {
            let text = format!("{start}{text}");
            for error in [
                config(&[&text], &[LSI], &[EXPORT]).err(),
                config(&[FILE], &[LSI, &text], &[EXPORT]).err(),
                config(&[], &[LSI], &[&text]).err(),
            ]
            .into_iter()
            .flatten()
            {
                proptest::prop_assert_eq!(error.to_string().lines().count(), 1);
            }
        }
    }
}
