//! Command lines, and what they mean.

mod refusals;

use super::blockdev::{Aio, Locking, Source};
use super::export::Socket;
use super::*;

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn config(blockdevs: &[&str], devices: &[&str], exports: &[&str]) -> Result<Config, OptionError> {
    Config::new(&strings(blockdevs), &strings(devices), &strings(exports))
}

const FILE: &str = "file,node-name=disk0,filename=disk.img";
const LSI: &str = "lsi53c895a,id=lsi0";
const HD: &str = "scsi-hd,bus=lsi0.0,scsi-id=0,drive=disk0";
const EXPORT: &str = "vfio-user,device=lsi0,path=/run/lsi0.sock";

#[test]
fn a_whole_machine() {
    let config = config(
        &[
            "driver=file,node-name=disk0,filename=a,,b=c.img,read-only=on,cache.direct=on,aio=threads",
            r#"{"driver":"file","node-name":"disk1","filename":"a,,b.img","cache":{"direct":false},"aio":"io_uring"}"#,
            "memory,node-name=disk2,size=64M",
        ],
        &[
            "lsi53c895a,id=lsi0",
            r#"{"driver":"lsi53c810","id":"lsi1"}"#,
            "scsi-hd,bus=lsi0.0,scsi-id=15,lun=7,drive=disk0,serial=s1,vendor=V,product=P Q,ver=1.0,\
             wwn=0x5000c50012345678,logical_block_size=512,physical_block_size=4096,rotation_rate=7200,write-cache=off,id=hd",
            r#"{"driver":"scsi-hd","bus":"lsi1.0","drive":"disk1","wwn":77,"write-cache":true}"#,
            "scsi-hd,bus=lsi1.0,drive=disk2",
        ],
        &["type=vfio-user,device=lsi0,path=/run/lsi0.sock", "vfio-user,device=lsi1,fd=3"],
    )
    .unwrap();

    let sources: Vec<_> = config
        .blockdevs
        .iter()
        .map(|node| (&node.source, node.read_only))
        .collect();
    let file = |name: &str, direct, aio| Source::File {
        filename: name.into(),
        direct,
        aio: Some(aio),
        locking: Locking::Auto,
    };
    assert_eq!(
        sources,
        [
            (&file("a,b=c.img", true, Aio::Threads), true),
            (&file("a,,b.img", false, Aio::IoUring), false),
            (&Source::Memory { size: 64 << 20 }, false),
        ]
    );
    let controllers: Vec<_> = config
        .controllers
        .iter()
        .map(|it| (it.driver.name, it.bus()))
        .collect();
    assert_eq!(
        controllers,
        [
            ("lsi53c895a", "lsi0.0".to_owned()),
            ("lsi53c810", "lsi1.0".to_owned())
        ]
    );
    let places: Vec<_> = config
        .units
        .iter()
        .map(|disk| {
            (
                disk.bus.as_deref(),
                disk.scsi_id,
                disk.lun,
                disk.drive.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            (Some("lsi0.0"), Some(15), 7, Some("disk0")),
            (Some("lsi1.0"), Some(0), 0, Some("disk1")),
            (Some("lsi1.0"), Some(1), 0, Some("disk2")),
        ]
    );
    assert_eq!(
        config.units[0].model,
        device::Model {
            vendor: Some("V".into()),
            product: Some("P Q".into()),
            revision: Some("1.0".into()),
            serial: Some("s1".into()),
            wwn: Some(0x5000_c500_1234_5678),
            logical_block_size: Some(512),
            physical_block_size: Some(4096),
            rotation_rate: Some(7200),
            write_cache: Some(false),
        }
    );
    assert_eq!(config.units[1].model.wwn, Some(77));
    assert_eq!(config.units[1].model.write_cache, Some(true));
    let sockets: Vec<_> = config
        .exports
        .iter()
        .map(|export| (export.device.as_str(), &export.socket))
        .collect();
    assert_eq!(
        sockets,
        [
            ("lsi0", &Socket::Path("/run/lsi0.sock".into())),
            ("lsi1", &Socket::Descriptor(3))
        ]
    );
}

#[test]
fn drives_for_discs() {
    let config = config(
        &["memory,node-name=iso0,size=64M,read-only=on"],
        &[
            "lsi53c895a,id=lsi0",
            "scsi-cd,scsi-id=2,drive=iso0,serial=c1,rerror=ignore,werror=report",
            "scsi-cd,vendor=V,logical_block_size=512",
        ],
        &["vfio-user,device=lsi0,fd=3"],
    )
    .unwrap();
    let [cdrom, empty] = config.units.as_slice() else {
        panic!("{:?}", config.units);
    };
    assert_eq!((cdrom.kind, cdrom.scsi_id), (device::Kind::Cdrom, Some(2)));
    assert_eq!(cdrom.drive.as_deref(), Some("iso0"));
    assert_eq!(cdrom.model.serial.as_deref(), Some("c1"));
    let block_sizes = [cdrom, empty].map(|unit| unit.model.logical_block_size);
    assert_eq!(block_sizes, [None, Some(512)]);
    let ignored = (device::OnError::Ignore, device::OnError::Report);
    assert_eq!((cdrom.read_error, cdrom.write_error), ignored);
    assert_eq!((empty.kind, empty.scsi_id), (device::Kind::Cdrom, Some(0)));
    assert_eq!(
        (&empty.drive, empty.read_error),
        (&None, device::OnError::Report)
    );
}

#[test]
fn errors_of_the_medium() {
    use device::OnError::{Enospc, Ignore, Report, Stop};
    for (more, expected) in [
        ("", (Report, Enospc)),
        (",rerror=auto,werror=auto", (Report, Enospc)),
        (",rerror=stop,werror=stop", (Stop, Stop)),
        (",rerror=report,werror=enospc", (Report, Enospc)),
        (",rerror=ignore,werror=ignore", (Ignore, Ignore)),
        (",werror=report", (Report, Report)),
    ] {
        let config = config(
            &["memory,node-name=disk0,size=64M"],
            &["lsi53c895a,id=lsi0", &format!("scsi-hd,drive=disk0{more}")],
            &["vfio-user,device=lsi0,fd=3"],
        );
        let unit = &config.unwrap().units[0];
        assert_eq!((unit.read_error, unit.write_error), expected, "{more}");
    }
}

#[test]
fn a_lone_bus_and_the_lowest_free_id_are_the_default() {
    let config = config(
        &[
            "memory,node-name=a,size=512",
            "memory,node-name=b,size=512",
            "memory,node-name=c,size=1k",
        ],
        &[
            LSI,
            "scsi-hd,drive=a",
            "scsi-hd,drive=b,scsi-id=0",
            "scsi-hd,drive=c",
        ],
        &[EXPORT],
    )
    .unwrap();
    let ids: Vec<_> = config.units.iter().map(|disk| disk.scsi_id).collect();
    assert_eq!(ids, [Some(1), Some(0), Some(2)]);
}
