//! Step 8, SCSI: GET CONFIGURATION: profiles and features (MMC-5 chapters 5 and 6).

use super::SECTOR;

/// The profile of a CD-ROM.
pub(super) const CD_ROM: u16 = 0x0008;
/// The profile of a DVD-ROM.
pub(super) const DVD_ROM: u16 = 0x0010;

/// RT: only what is current.
const CURRENT: u8 = 1;
/// RT: only the feature that is named.
const ONE: u8 = 2;

/// A feature descriptor.
struct Feature {
    code: u16,
    version: u8,
    /// Always current.
    persistent: bool,
    current: bool,
    data: Vec<u8>,
}

/// The answer: features from `first` on, or those that are current, or that one.
pub(super) fn answer(profile: u16, block_size: u32, select: u8, first: u16) -> Vec<u8> {
    let mut list = Vec::new();
    for feature in features(profile, block_size) {
        let wanted = match select {
            CURRENT => feature.code >= first && feature.current,
            ONE => feature.code == first,
            _ => feature.code >= first,
        };
        if wanted {
            list.extend(feature.code.to_be_bytes());
            list.extend([
                feature.version << 2
                    | u8::from(feature.persistent) << 1
                    | u8::from(feature.current),
                u8::try_from(feature.data.len()).unwrap_or(0),
            ]);
            list.extend(feature.data);
        }
    }
    // It counts what follows it: the rest of the header too.
    let length = u32::try_from(4 + list.len()).unwrap_or(0);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(profile.to_be_bytes());
    bytes.extend(list);
    bytes
}

fn features(profile: u16, block_size: u32) -> [Feature; 7] {
    let always = |code, version, data: &[u8]| Feature {
        code,
        version,
        persistent: true,
        current: true,
        data: data.to_vec(),
    };
    let with_disc = |code, version, current, data: &[u8]| Feature {
        code,
        version,
        persistent: false,
        current,
        data: data.to_vec(),
    };
    let (cd, dvd) = (profile == CD_ROM, profile == DVD_ROM);
    // What is read from the disc at a time: a sector; of a DVD the 16 that its error correction joins.
    let sectors = if dvd { 16 } else { 1 };
    let blocking = u8::try_from(sectors * SECTOR / block_size.max(1)).unwrap_or(u8::MAX);
    let [_, _, high, low] = block_size.to_be_bytes();
    [
        // Profile list.
        always(
            0x0000,
            0,
            &[0, 0x10, u8::from(dvd), 0, 0, 0x08, u8::from(cd), 0],
        ),
        // Core: SCSI family; DBE.
        always(0x0001, 2, &[0, 0, 0, 1, 1, 0, 0, 0]),
        // Morphing: no asynchronous events, no operational changes.
        always(0x0002, 1, &[0, 0, 0, 0]),
        // Removable medium: tray; load, eject, lock.
        always(0x0003, 2, &[0x39, 0, 0, 0]),
        // Random readable: block size, blocking; there is an error recovery page.
        with_disc(0x0010, 0, cd || dvd, &[0, 0, high, low, 0, blocking, 1, 0]),
        // CD read: no C2 pointers, no CD text.
        with_disc(0x001e, 2, cd, &[0, 0, 0, 0]),
        // DVD read.
        with_disc(0x001f, 0, dvd, &[]),
    ]
}
