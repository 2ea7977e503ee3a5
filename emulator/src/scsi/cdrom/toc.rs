//! Step 8, SCSI: READ TOC/PMA/ATIP, READ SUB-CHANNEL and READ HEADER of a disc with one data track (MMC-5 chapter 6).

use crate::scsi::sense::Sense;

/// ADR: position; CONTROL: data track.
const ADR_CONTROL: u8 = 0x14;
/// The track number of the lead-out.
const LEAD_OUT: u8 = 0xaa;

/// How addresses are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    /// As minute, second and frame, not as a logical block.
    pub(super) msf: bool,
    pub(super) blocks_per_sector: u32,
}

impl Addresses {
    /// The answer to READ TOC/PMA/ATIP of a disc with so many sectors.
    pub(super) fn table(self, sectors: u64, format: u8, track: u8) -> Result<Vec<u8>, Sense> {
        match format {
            0 => self.tracks(sectors, track),
            1 => Ok(self.sessions()),
            2 => Ok(raw(sectors)),
            _ => Err(Sense::invalid_field(2, Some(3))),
        }
    }

    /// Tracks from `first` on, then the lead-out.
    fn tracks(self, sectors: u64, first: u8) -> Result<Vec<u8>, Sense> {
        if first > 1 && first != LEAD_OUT {
            return Err(Sense::invalid_field(6, None));
        }
        let mut bytes = vec![1, 1];
        if first <= 1 {
            bytes.extend([0, ADR_CONTROL, 1, 0]);
            bytes.extend(self.address(0));
        }
        bytes.extend([0, ADR_CONTROL, LEAD_OUT, 0]);
        bytes.extend(self.address(sectors));
        Ok(with_length(&bytes))
    }

    /// The last session, which is the only one, begins with track 1.
    fn sessions(self) -> Vec<u8> {
        let mut bytes = vec![1, 1, 0, ADR_CONTROL, 1, 0];
        bytes.extend(self.address(0));
        with_length(&bytes)
    }

    /// The answer to READ SUB-CHANNEL. No audio is ever played.
    pub(super) fn subchannel(self, q: bool, format: u8) -> Result<Vec<u8>, Sense> {
        let data = match format {
            1..=3 if !q => Vec::new(),
            // Current position: the beginning of track 1.
            1 => {
                let mut data = vec![1, ADR_CONTROL, 1, 1];
                data.extend(self.address(0));
                data.extend([0; 4]);
                data
            }
            // Media catalogue number and ISRC: there are none.
            2 => {
                let mut data = vec![2];
                data.resize(20, 0);
                data
            }
            3 => {
                let mut data = vec![3, ADR_CONTROL, 1];
                data.resize(20, 0);
                data
            }
            _ if q => return Err(Sense::invalid_field(3, None)),
            _ => Vec::new(),
        };
        let length = u8::try_from(data.len()).unwrap_or(0);
        let mut bytes = vec![0, 0, 0, length];
        bytes.extend(data);
        Ok(bytes)
    }

    /// The answer to READ HEADER (SCSI-2 section 14.2): the sector with this block has mode 1, and this is its address.
    pub(super) fn header(self, block: u64) -> Vec<u8> {
        let mut bytes = vec![1, 0, 0, 0];
        bytes.extend(self.address(block / u64::from(self.blocks_per_sector.max(1))));
        bytes
    }

    /// A sector's address: its first logical block (SCSI-2 section 14.1.1), or minute, second and frame.
    fn address(self, sector: u64) -> [u8; 4] {
        if self.msf {
            return time(sector);
        }
        let block = sector.saturating_mul(self.blocks_per_sector.into());
        u32::try_from(block).unwrap_or(u32::MAX).to_be_bytes()
    }
}

/// What stands in the lead-in: first track, last track, lead-out, and the track; always in minutes.
fn raw(sectors: u64) -> Vec<u8> {
    let [_, minute, second, frame] = time(sectors);
    let mut bytes = vec![1, 1];
    for (point, place) in [
        (0xa0, [1, 0, 0]),
        (0xa1, [1, 0, 0]),
        (0xa2, [minute, second, frame]),
        (0x01, [0, 2, 0]),
    ] {
        bytes.extend([1, ADR_CONTROL, 0, point, 0, 0, 0, 0]);
        bytes.extend(place);
    }
    with_length(&bytes)
}

/// Minute, second and frame of a sector, counted from 2 seconds before the first one.
fn time(sector: u64) -> [u8; 4] {
    let frames = sector.saturating_add(150);
    let minute = u8::try_from(frames / (60 * 75)).unwrap_or(u8::MAX);
    let small = |number: u64| u8::try_from(number).unwrap_or(0);
    [0, minute, small(frames / 75 % 60), small(frames % 75)]
}

/// Two bytes that say how many follow, then these.
fn with_length(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(0);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(data);
    bytes
}
