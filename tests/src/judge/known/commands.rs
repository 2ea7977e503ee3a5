//! Rules about what the disks answer.

use super::Right;
use crate::judge::commands::{Answer, Command};

/// A command, and what became of it on both sides.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The command.
    pub command: &'a Command,
    /// Ours.
    pub ours: &'a Answer,
    /// QEMU's.
    pub theirs: &'a Answer,
}

impl Exchange<'_> {
    fn code(&self) -> u8 {
        self.command.cdb[0]
    }

    /// Both went well, as far as their statuses go.
    fn is_good(&self) -> bool {
        self.ours.status == 0 && self.theirs.status == 0
    }

    /// The data are the same but for these places.
    fn differs_only_at(&self, places: &[usize]) -> bool {
        let (ours, theirs) = (self.ours.data(), self.theirs.data());
        let pairs = ours.iter().zip(theirs).enumerate();
        ours.len() == theirs.len()
            && pairs
                .filter(|(_, (ours, theirs))| ours != theirs)
                .all(|(place, _)| places.contains(&place))
    }

    /// QEMU's data are ours, and zeros.
    fn is_filled_up(&self) -> bool {
        let (ours, theirs) = (self.ours.data(), self.theirs.data());
        let rest = theirs.strip_prefix(ours);
        rest.is_some_and(|rest| rest.iter().all(|&byte| byte == 0))
    }

    /// QEMU's data are ours but for these places, and zeros.
    fn begins_but_for(&self, places: &[usize]) -> bool {
        let (ours, theirs) = (self.ours.data(), self.theirs.data());
        let ours = ours.iter().copied().chain(std::iter::repeat(0));
        let mut pairs = theirs.iter().zip(ours).enumerate();
        self.ours.moved <= self.theirs.moved
            && pairs.all(|(place, (theirs, ours))| *theirs == ours || places.contains(&place))
    }

    /// Only QEMU refuses it.
    fn only_theirs_fails(&self) -> bool {
        self.ours.status == 0 && self.theirs.status == 2
    }
}

/// A rule.
#[derive(Debug)]
pub struct CommandRule {
    /// Its name.
    pub name: &'static str,
    /// Who is right.
    pub right: Right,
    /// The standard's section.
    pub section: &'static str,
    /// The disks are in different states after it.
    pub ends: bool,
    /// When it applies.
    pub when: fn(&Exchange<'_>) -> bool,
}

/// What our disks know and QEMU's do not.
const MORE: [u8; 28] = [
    0x42, 0x44, 0xbb, 0x01, 0x07, 0x0b, 0x1c, 0x2b, 0x34, 0x36, 0x37, 0x3c, 0x4c, 0x4d, 0x56, 0x57,
    0x5e, 0x89, 0x90, 0x91, 0x9e, 0xa3, 0xa4, 0xae, 0xaf, 0xb7, 0x8e, 0x8f,
];

/// All of them. The numbers are those of SPC-4 and SBC-3.
pub const COMMANDS: &[CommandRule] = &[
    CommandRule {
        name: "standard INQUIRY: its own length whatever is asked for; a wide bus",
        right: Right::Ours,
        section: "SPC-4, 6.6.2",
        ends: false,
        when: |x| x.code() == 0x12 && x.command.cdb[1] & 1 == 0 && x.is_good() && !x.is_filled_up(),
    },
    CommandRule {
        name: "data end where they end, QEMU fills up the allocation length",
        right: Right::Ours,
        section: "SPC-4, 4.2.5.6",
        ends: false,
        when: |x| {
            [
                0x03, 0x12, 0x1a, 0x43, 0x46, 0x4a, 0x51, 0x5a, 0x9e, 0xa0, 0xbd,
            ]
            .contains(&x.code())
                && x.is_good()
                && x.is_filled_up()
        },
    },
    CommandRule {
        name: "sense data: INFORMATION, VALID, field pointers",
        right: Right::Ours,
        section: "SPC-4, 4.5.3",
        ends: false,
        when: |x| x.code() == 0x03 && x.differs_only_at(&[0, 3, 4, 5, 6, 15, 16, 17]),
    },
    CommandRule {
        name: "commands that QEMU's disks do not know",
        right: Right::Ours,
        section: "-",
        ends: false,
        when: |x| {
            let unknown = x.code() == 0x03 && x.theirs.buffer[12] == 0x20;
            x.only_theirs_fails() && MORE.contains(&x.code()) || x.is_good() && unknown
        },
    },
    CommandRule {
        name: "mode pages that QEMU's disks have not, and their defaults",
        right: Right::Ours,
        section: "SPC-4, 7.5",
        ends: false,
        when: |x| [0x1a, 0x5a].contains(&x.code()),
    },
    CommandRule {
        name: "SYNCHRONIZE CACHE beyond the end fails, not in QEMU",
        right: Right::Ours,
        section: "SBC-3, 5.22",
        ends: false,
        when: |x| x.code() == 0x35 && x.ours.status == 2 && x.theirs.status == 0,
    },
    CommandRule {
        name: "a LUN in the CDB where IDENTIFY has named one",
        right: Right::Open,
        section: "SCSI-2, 7.2.2",
        ends: true,
        when: |x| x.code() < 0x20 && x.command.cdb[1] & 0xe0 != 0 && x.only_theirs_fails(),
    },
    CommandRule {
        name: "REPORT LUNS of well known logical units has none",
        right: Right::Ours,
        section: "SPC-4, 6.33",
        ends: false,
        when: |x| x.code() == 0xa0 && x.command.cdb[2] != 0,
    },
    CommandRule {
        name: "MODE SELECT without PF",
        right: Right::Open,
        section: "SPC-4, 6.13",
        ends: true,
        when: |x| [0x15, 0x55].contains(&x.code()) && x.only_theirs_fails(),
    },
    CommandRule {
        name: "bits that are reserved or not supported are refused, not by QEMU",
        right: Right::Ours,
        section: "SAM-4, 5.2; SPC-4, 4.2.5",
        ends: true,
        when: |x| x.command.altered && x.ours.status == 2 && x.theirs.status == 0,
    },
    CommandRule {
        name: "vital product data: names, limits, the list of pages",
        right: Right::Open,
        section: "SPC-4, 7.8",
        ends: false,
        when: |x| x.code() == 0x12 && x.command.cdb[1] & 1 != 0,
    },
    CommandRule {
        name: "GET CONFIGURATION: QEMU has few features, and no RT",
        right: Right::Ours,
        section: "MMC-5, 6.6",
        ends: false,
        when: |x| x.code() == 0x46 && x.is_good(),
    },
    CommandRule {
        name: "GET EVENT STATUS: what the length counts, and whether the first disc is new",
        right: Right::Open,
        section: "MMC-5, 6.7.2",
        ends: false,
        when: |x| x.code() == 0x4a && x.is_good() && x.begins_but_for(&[1, 4]),
    },
    CommandRule {
        name: "READ TOC: whether the lead-out may be copied",
        right: Right::Open,
        section: "MMC-5, 6.26",
        ends: false,
        when: |x| x.code() == 0x43 && x.is_good() && x.begins_but_for(&[5, 13]),
    },
    CommandRule {
        name: "READ TOC: the full one has times, whatever MSF says",
        right: Right::Ours,
        section: "MMC-5, 6.26.3",
        ends: false,
        when: |x| {
            let times = [33, 34, 35, 44, 45, 46];
            x.code() == 0x43 && x.command.cdb[2] & 15 == 2 && x.begins_but_for(&times)
        },
    },
    CommandRule {
        name: "READ TOC: the last session has a first track",
        right: Right::Ours,
        section: "MMC-5, 6.26.2",
        ends: false,
        when: |x| {
            let track = [5, 6, 7, 8, 9, 10, 11];
            x.code() == 0x43 && x.command.cdb[2] & 15 == 1 && x.begins_but_for(&track)
        },
    },
    CommandRule {
        name: "READ TOC with the format in its last byte, as the first ATAPI drives had it",
        right: Right::Open,
        section: "SFF-8020",
        ends: true,
        when: |x| x.code() == 0x43 && x.command.cdb[9] & 0xc0 != 0,
    },
    CommandRule {
        name: "allocation lengths above 2 GiB, which QEMU refuses",
        right: Right::Ours,
        section: "SPC-4, 4.2.5.6",
        ends: false,
        when: |x| x.code() == 0xa0 && x.command.cdb[6] & 0x80 != 0 && x.only_theirs_fails(),
    },
    CommandRule {
        name: "READ DISC INFORMATION: a complete disc has no next session",
        right: Right::Ours,
        section: "MMC-5, 6.22.3",
        ends: false,
        when: |x| x.code() == 0x51 && x.is_good(),
    },
    // The sense data after a WRITE.
    CommandRule {
        name: "a CD-ROM drive does not know WRITE, QEMU's is write protected",
        right: Right::Ours,
        section: "MMC-5, 6",
        ends: false,
        when: |x| {
            let codes = [x.ours.buffer[12], x.theirs.buffer[12]];
            x.code() == 0x03 && x.command.out.first() == Some(&0x2a) && codes == [0x20, 0x27]
        },
    },
    // The sense data after a command that neither side knows.
    CommandRule {
        name: "which fault of an unknown command is told: its code, or a field beside it",
        right: Right::Open,
        section: "SPC-4, 4.5",
        ends: false,
        when: |x| {
            let codes = [x.ours.buffer[12], x.theirs.buffer[12]];
            x.code() == 0x03 && x.is_good() && codes == [0x20, 0x24]
        },
    },
    CommandRule {
        name: "which fault of a parameter list is told",
        right: Right::Open,
        section: "SPC-4, 6.13",
        ends: false,
        when: |x| {
            let of = x.command.out.first();
            x.code() == 0x03 && matches!(of, Some(0x15 | 0x55 | 0x42))
        },
    },
    CommandRule {
        name: "which of several faults of a CDB is told",
        right: Right::Open,
        section: "SPC-4, 4.5",
        ends: false,
        when: |x| {
            let keys = [x.ours, x.theirs].map(|answer| answer.buffer[2]);
            x.code() == 0x03 && x.command.altered && keys == [5, 5]
        },
    },
    CommandRule {
        name: "no blocks, right behind the last one",
        right: Right::Open,
        section: "SBC-3, 5.11",
        ends: false,
        when: |x| x.ours.status == 2 && x.theirs.status == 0 && x.ours.moved + x.theirs.moved == 0,
    },
    CommandRule {
        name: "VERIFY compares, not in QEMU",
        right: Right::Ours,
        section: "SBC-3, 5.33",
        ends: false,
        when: |x| {
            x.code() == 0x2f && x.command.cdb[1] & 6 != 0
                || x.code() == 0x03 && x.command.out.first() == Some(&0x2f)
        },
    },
    CommandRule {
        name: "how many data a command takes before it fails",
        right: Right::Open,
        section: "SPI-4",
        ends: false,
        when: |x| x.ours.status == 2 && x.theirs.status == 2 && x.ours.moved != x.theirs.moved,
    },
    CommandRule {
        name: "UNMAP with half a parameter list",
        right: Right::Open,
        section: "SBC-3, 5.28",
        ends: false,
        when: |x| x.code() == 0x42 && x.only_theirs_fails(),
    },
];
