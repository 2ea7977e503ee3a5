//! Step 8, SCSI: standard INQUIRY data and vital product data (SPC-3 sections 6.4 and 7.6, SBC-3 section 6.5).

use super::disk::{DiskOptions, MAX_COMPARE_AND_WRITE, MAX_UNMAP_DESCRIPTORS};
use super::identity::Identity;
use super::unit::Kind;

/// SPC-3.
const VERSION: u8 = 5;

/// Bytes of standard INQUIRY data.
const LENGTH: u8 = 96;

/// INQUIRY of a LUN without a unit: qualifier 3, type 0x1f.
pub(crate) fn absent(page: Option<u8>) -> Vec<u8> {
    match page {
        Some(page) => vec![0x7f, page, 0, 0],
        None => {
            let mut bytes = vec![0x7f, 0, VERSION, 2, 31, 0, 0, 0];
            bytes.resize(36, b' ');
            bytes
        }
    }
}

/// Text in a field of its own, left-aligned, filled with spaces.
fn padded(text: &str, length: usize) -> impl Iterator<Item = u8> + '_ {
    text.bytes().chain(std::iter::repeat(b' ')).take(length)
}

/// Standard INQUIRY data.
pub(crate) fn standard(kind: Kind, identity: &Identity) -> Vec<u8> {
    let (removable, command_set) = match kind {
        Kind::Disk => (0x00, [0x04, 0xc0]),  // SBC-3
        Kind::Cdrom => (0x80, [0x03, 0xa0]), // MMC-4
    };
    // Response data format 2, hierarchical LUNs; WBUS16, SYNC, CMDQUE.
    let mut bytes = vec![
        kind.device_type(),
        removable,
        VERSION,
        0x12,
        LENGTH - 5,
        0x00,
        0x00,
        0x32,
    ];
    bytes.extend(padded(&identity.vendor, 8));
    bytes.extend(padded(&identity.product, 16));
    bytes.extend(padded(&identity.version, 4));
    bytes.resize(58, 0);
    // Version descriptors: SAM-2, SPC-3, the command set.
    bytes.extend([0x00, 0x40, 0x03, 0x00]);
    bytes.extend(command_set);
    bytes.resize(LENGTH.into(), 0);
    bytes
}

/// A VPD page.
fn page(kind: Kind, code: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut bytes = vec![kind.device_type(), code];
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Page 0x00: which pages there are.
pub(crate) fn pages(kind: Kind, identity: &Identity, thin: bool) -> Vec<u8> {
    let mut codes = vec![0x00];
    codes.extend(identity.serial.as_ref().map(|_| 0x80));
    codes.extend([0x83, 0x86]);
    if kind == Kind::Disk {
        codes.extend([0xb0, 0xb1]);
        codes.extend(thin.then_some(0xb2));
    }
    page(kind, 0x00, &codes)
}

/// Page 0x80.
pub(crate) fn serial_number(kind: Kind, identity: &Identity) -> Option<Vec<u8>> {
    identity
        .serial
        .as_ref()
        .map(|serial| page(kind, 0x80, serial.as_bytes()))
}

/// Page 0x83: a T10 designator (vendor, product, serial number or name), and an NAA one.
pub(crate) fn identification(kind: Kind, identity: &Identity) -> Vec<u8> {
    let mut body = Vec::new();
    let mut designate = |code_set: u8, kind: u8, designator: &[u8]| {
        let length = u8::try_from(designator.len()).unwrap_or(u8::MAX);
        body.extend([code_set, kind, 0, length]);
        body.extend(designator);
    };
    let mut name: Vec<u8> = padded(&identity.vendor, 8).collect();
    name.extend(padded(&identity.product, 16));
    let own = identity.serial.as_ref().unwrap_or(&identity.device_id);
    name.extend(own.bytes());
    designate(2, 1, &name);
    if let Some(wwn) = identity.wwn {
        designate(1, 3, &wwn.to_be_bytes());
    }
    page(kind, 0x83, &body)
}

/// Page 0x86: HEADSUP, ORDSUP, SIMPSUP; V_SUP where there is a cache.
pub(crate) fn extended(kind: Kind) -> Vec<u8> {
    let mut body = [0; 0x3c];
    body[1] = 0x07;
    body[2] = u8::from(kind == Kind::Disk);
    page(kind, 0x86, &body)
}

/// Page 0xb0 of a disk. `max_blocks` is the longest transfer.
pub(crate) fn block_limits(options: &DiskOptions, max_blocks: u32, thin: bool) -> Vec<u8> {
    let mut body = [0; 0x3c];
    let physical = options.physical_block_size / options.logical_block_size.max(1);
    let granularity = u16::try_from(physical).unwrap_or(u16::MAX);
    body[0] = 1; // WSNZ
    body[1] = MAX_COMPARE_AND_WRITE;
    body[2..4].copy_from_slice(&granularity.to_be_bytes());
    body[4..8].copy_from_slice(&max_blocks.to_be_bytes());
    if thin {
        body[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
        body[20..24].copy_from_slice(&u32::from(MAX_UNMAP_DESCRIPTORS).to_be_bytes());
        body[24..28].copy_from_slice(&physical.to_be_bytes());
    }
    body[32..40].copy_from_slice(&u64::from(max_blocks).to_be_bytes());
    page(Kind::Disk, 0xb0, &body)
}

/// Page 0xb1.
pub(crate) fn characteristics(options: &DiskOptions) -> Vec<u8> {
    let mut body = [0; 0x3c];
    body[..2].copy_from_slice(&options.rotation_rate.to_be_bytes());
    page(Kind::Disk, 0xb1, &body)
}

/// Page 0xb2: LBPU, LBPWS, LBPWS10; thin provisioned.
pub(crate) fn provisioning() -> Vec<u8> {
    page(Kind::Disk, 0xb2, &[0x00, 0xe0, 0x02, 0x00])
}
