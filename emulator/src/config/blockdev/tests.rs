//! Nodes within nodes.

use super::*;
use crate::config::Config;

const DEVICES: [&str; 2] = ["lsi53c895a,id=lsi0", "scsi-hd,drive=d"];
const EXPORT: &str = "vfio-user,device=lsi0,path=/run/s";

fn parse(blockdevs: &[&str]) -> Result<Vec<Blockdev>, String> {
    let strings = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    Config::new(&strings(blockdevs), &strings(&DEVICES), &strings(&[EXPORT]))
        .map(|config| config.blockdevs)
        .map_err(|error| error.to_string())
}

fn file(source: &Source) -> &Blockdev {
    let (Source::Qcow2 { file, .. } | Source::Raw { file } | Source::Vmdk { file }) = source else {
        panic!("{source:?} has no file");
    };
    inner(file)
}

fn inner(child: &Child) -> &Blockdev {
    match child {
        Child::Node(node) => node,
        Child::Name(name) => panic!("'{name}' is not linked"),
    }
}

#[test]
fn four_ways_to_say_the_same() {
    let ways: [&[&str]; 4] = [
        &[
            "driver=qcow2,node-name=d,file.driver=file,file.filename=x,file.cache.direct=on,backing=",
        ],
        &["qcow2,node-name=d,cache.direct=on,backing=,file.driver=file,file.filename=x"],
        &[r#"{"driver":"qcow2","node-name":"d","backing":null,
                "file":{"driver":"file","filename":"x","cache":{"direct":true}}}"#],
        &[
            "file,node-name=f,filename=x,cache.direct=on",
            "qcow2,node-name=d,file=f,backing=",
        ],
    ];
    for way in ways {
        let nodes = parse(way).unwrap();
        assert_eq!(nodes.len(), 1, "{way:?}");
        let source = &nodes[0].source;
        assert!(matches!(
            source,
            Source::Qcow2 {
                backing: Backing::None,
                ..
            }
        ));
        let expected = Source::File {
            filename: "x".into(),
            direct: true,
            aio: None,
            locking: Locking::Auto,
        };
        assert_eq!(file(source).source, expected, "{way:?}");
    }
}

#[test]
fn backing_images_are_only_read_and_nest() {
    let nodes = parse(&[
        "qcow2,node-name=d,file.driver=file,file.filename=top,backing.driver=qcow2,\
         backing.file.driver=file,backing.file.filename=middle,backing.file.locking=off,backing.backing=base",
        "raw,node-name=base,file.driver=file,file.filename=base",
    ])
    .unwrap();
    let Source::Qcow2 {
        backing: Backing::Child(middle),
        ..
    } = &nodes[0].source
    else {
        panic!("{nodes:?}");
    };
    let middle = inner(middle);
    assert!(!nodes[0].read_only && middle.read_only && file(&middle.source).read_only);
    let Source::Qcow2 {
        backing: Backing::Child(base),
        ..
    } = &middle.source
    else {
        panic!("{middle:?}");
    };
    assert_eq!(inner(base).node_name, "base");
}

#[test]
fn other_drivers() {
    let one = |text: &str| parse(&[text]).unwrap().remove(0);
    assert_eq!(
        one("null-co,node-name=d,size=1M,read-zeroes=on").source,
        Source::Null {
            size: 1 << 20,
            read_zeroes: true
        }
    );
    assert_eq!(
        one("nbd,node-name=d,server.type=unix,server.path=/s,export=e").source,
        Source::Nbd(Nbd {
            server: Server::Unix("/s".into()),
            export: "e".to_owned()
        })
    );
    let vmdk = one(
        "vmdk,node-name=d,read-only=on,discard=ignore,detect-zeroes=off,file.driver=file,file.filename=x",
    );
    assert!(vmdk.read_only && !vmdk.discard && file(&vmdk.source).read_only);
}

#[test]
fn what_cannot_be() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["qcow2,node-name=d,file.driver=file"],
            "in 'file': no 'filename'; add filename=disk.img",
        ),
        (
            &["qcow2,node-name=d,file.filename=x"],
            "in 'file': no 'driver'; add driver=file",
        ),
        (
            &["qcow2,node-name=d,file.driver=file,file.filename=x,file.fiename=y"],
            "in 'file': no key 'fiename'; did you mean 'filename'?",
        ),
        (
            &["qcow2,node-name=d,file=f,file.driver=file"],
            "'file' is given twice; leave one out",
        ),
        (
            &["qcow2,node-name=d,file=f"],
            "no file 'f'; did you mean 'd'?",
        ),
        (
            &["qcow2,node-name=d,file=d"],
            "node 'd' stands on itself; let file or backing name another node",
        ),
        (
            &["raw,node-name=d,file=e", "raw,node-name=e,file=d"],
            "node 'd' stands on itself; let file or backing name another node",
        ),
        (
            &["vmdk,node-name=d,file=f"],
            "vmdk images can only be read; add read-only=on",
        ),
        (
            &["file,node-name=d,filename=x,detect-zeroes=unmap"],
            "no detect-zeroes 'unmap'; known: off",
        ),
        (
            &["file,node-name=d,filename=x,locking=maybe"],
            "no locking 'maybe'; known: auto, on, off",
        ),
        (
            &["nbd,node-name=d,server.type=inet,server.path=x"],
            "in 'server': no type 'inet'; known: unix",
        ),
        (
            &["nbd,node-name=d,export=x"],
            "no 'server.path'; add server.path=/run/nbd.sock, and server.type=unix",
        ),
        (
            &["null-co,node-name=d,size=9223372036854775808"],
            "size cannot be '9223372036854775808'; give a multiple of 512, more than 0",
        ),
    ];
    for (blockdevs, expected) in cases {
        let said = parse(blockdevs).unwrap_err();
        assert_eq!(said, format!("--blockdev {}: {expected}", blockdevs[0]));
    }
    let taken = [
        "file,node-name=f,filename=x",
        "raw,node-name=d,file=f",
        "raw,node-name=e,file=f",
    ];
    let said = parse(&taken).unwrap_err();
    assert_eq!(
        said,
        format!("--blockdev {}: file 'f' is taken; choose another", taken[2])
    );
    let below = ["file,node-name=d,filename=x", "raw,node-name=e,file=d"];
    let said = parse(&below).unwrap_err();
    assert_eq!(
        said,
        "--device scsi-hd,drive=d: drive 'd' is taken; choose another"
    );
}
