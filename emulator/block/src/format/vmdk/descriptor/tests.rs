use super::*;

fn parse(text: &str) -> Descriptor {
    Descriptor::parse(text.as_bytes()).unwrap()
}

fn flat(sectors: u64, name: &str) -> Extent {
    Extent {
        access: Access::Read,
        sectors,
        kind: Kind::Flat,
        name: name.as_bytes().to_owned(),
        offset: 0,
    }
}

/// In the words of ESXi: a thin disk on VMFS, with changed block tracking.
const ESXI: &str = r#"# Disk DescriptorFile
version=3
encoding="UTF-8"
CID=d5b1e3f0
parentCID=ffffffff
isNativeSnapshot="no"
createType="vmfs"

# Extent description
RW 33554432 VMFS "server-flat.vmdk"

# Change Tracking File
changeTrackPath="server-ctk.vmdk"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "2088"
ddb.longContentID = "0b3a8e5c7f9d4a6e8c2b1f0dd5b1e3f0"
ddb.thinProvisioned = "1"
ddb.uuid = "60 00 C2 9f 3b 8e 64 a1-7c 0d 5e 2f 91 b4 c8 d3"
"#;

#[test]
fn what_vmware_writes() {
    let expected = Descriptor {
        extents: vec![flat(33_554_432, "server-flat.vmdk")],
        ..Descriptor::default()
    };
    assert_eq!(parse(ESXI), expected);
    // As a Windows host writes it, and padded as it is within a sparse extent.
    let crlf = format!("\u{feff}{}{}", ESXI.replace('\n', "\r\n"), "\0".repeat(900));
    assert_eq!(parse(&crlf), expected);
    assert_eq!(parse(&ESXI.replace('=', " \t= ")), expected);
    let mut lower = ESXI.to_lowercase();
    assert_eq!(parse(&lower), expected);
    // The order of the sections is nobody's promise.
    let (head, tail) = lower.split_once("# the disk data base").unwrap();
    lower = format!("{tail}\n{head}");
    assert_eq!(parse(&lower), expected);
    let no_parent = "parentFileNameHint=\"\"\nparentCID=FFFFFFFF\nencoding=\"windows-1252\"\n";
    assert_eq!(parse(&format!("{no_parent}{ESXI}")), expected);
}

#[test]
fn kinds_of_extents() {
    let text = "version=1\n\
        RW 2047 FLAT \"my disk-f001.vmdk\" 128\n\
        rdonly 10 vmfsthin \"a\" 0\n\
        RW  4192256\tSPARSE  \"disk-s001.vmdk\"\n\
        RW 63 ZERO\n\
        NOACCESS 100\n\
        NOACCESS 100 ZERO\n\
        RW 8 VMFSSPARSE \"delta.vmdk\"\n\
        RW 8 VMFSRDM \"disk-rdm.vmdk\"\n\
        RW 156301488 FLAT \"\\\\.\\PhysicalDrive0\" 0 partitionUUID 1234 deviceID \"x y\"\n\
        RWX 8 FLAT \"none\"\n";
    let kind = |kind: &str| Kind::Other(kind.to_owned());
    let kinds: Vec<_> = (parse(text).extents.into_iter())
        .map(|it| {
            let name = String::from_utf8(it.name).unwrap();
            (it.access, it.sectors, it.kind, name, it.offset)
        })
        .collect();
    let expected = [
        (Access::Read, 2047, Kind::Flat, "my disk-f001.vmdk", 128),
        (Access::Read, 10, Kind::Flat, "a", 0),
        (Access::Read, 4_192_256, Kind::Sparse, "disk-s001.vmdk", 0),
        (Access::Read, 63, Kind::Zero, "", 0),
        (Access::No, 100, Kind::Zero, "", 0),
        (Access::No, 100, Kind::Zero, "", 0),
        (Access::Read, 8, Kind::Sparse, "delta.vmdk", 0),
        (Access::Read, 8, kind("VMFSRDM"), "disk-rdm.vmdk", 0),
        (
            Access::Read,
            156_301_488,
            Kind::Flat,
            r"\\.\PhysicalDrive0",
            0,
        ),
    ];
    assert_eq!(
        kinds,
        expected.map(|(access, sectors, kind, name, offset)| {
            (access, sectors, kind, name.to_owned(), offset)
        })
    );
}

#[test]
fn parents_and_encryption() {
    let parent = |text: &str| parse(text).parent;
    let sparse = "version=1\nRW 8 SPARSE \"a\"\n";
    assert_eq!(parent(sparse), None);
    for id in ["ffffffff", "FFFFFFFF", "0", "00000000", "\"ffffffff\"", ""] {
        assert_eq!(parent(&format!("{sparse}parentCID={id}\n")), None, "{id}");
    }
    assert_eq!(
        parent(&format!("{sparse}parentCID=12345678\n")),
        Some(String::new())
    );
    // A flat extent has all data itself.
    assert_eq!(
        parent("version=1\nparentCID=12345678\nRW 8 FLAT \"a\"\n"),
        None
    );
    let hint = "parentFileNameHint=\"base disk.vmdk\"\n";
    assert_eq!(
        parent(&format!("{sparse}{hint}")),
        Some("base disk.vmdk".to_owned())
    );
    assert!(parse("version=1\nencryption.keySafe=\"vmware:key/list\"\n").is_encrypted);
}

#[test]
fn what_is_none() {
    for text in [
        "",
        "\0\0",
        "hello",
        "a=b\n",
        "#!/bin/sh\n",
        "<?xml version=\"1.0\"?>\n",
    ] {
        let parsed = Descriptor::parse(text.as_bytes());
        assert_eq!(parsed, Err(ParseError::NotADescriptor), "{text}");
    }
    for line in [
        "RW",
        "RW many FLAT \"a\"",
        "RW -1 FLAT \"a\"",
        "RW 99999999999999999999 FLAT \"a\"",
        "RW 8",
        "RW 8 FLAT",
        "RW 8 SPARSE \"\"",
        "RW 8 FLAT \"a",
        "RW 8 FLAT \"a\" far",
    ] {
        let parsed = Descriptor::parse(format!("version=1\n{line}\n").as_bytes());
        assert_eq!(parsed, Err(ParseError::Line(line.to_owned())));
    }
}
