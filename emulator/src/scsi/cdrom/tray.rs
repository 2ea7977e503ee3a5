//! Step 8, SCSI: the tray: open or closed, with a disc or without (MMC-5 chapter 6).

use crate::scsi::sense::Sense;

/// The event class of the medium, as a number and as a mask.
const MEDIA: u8 = 4;
const MEDIA_MASK: u8 = 1 << MEDIA;

/// Bytes of the header with one event.
const EVENT: u32 = 8;

/// What GET EVENT STATUS NOTIFICATION tells once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    NoChange = 0,
    NewMedia = 2,
    MediaRemoval = 3,
}

/// The tray.
#[derive(Debug)]
pub(super) struct Tray {
    open: bool,
    /// There is a disc in it.
    disc: bool,
    event: Event,
    /// The disc may be another one; the initiator has not been told.
    attention: bool,
}

impl Tray {
    /// As it is after power-on.
    pub(super) fn closed(disc: bool) -> Self {
        Self {
            open: false,
            disc,
            event: if disc {
                Event::NewMedia
            } else {
                Event::NoChange
            },
            attention: false,
        }
    }

    /// Whether there is a disc that can be read.
    pub(super) fn ready(&self) -> Result<(), Sense> {
        match (self.open, self.disc) {
            (true, _) => Err(Sense::TRAY_OPEN),
            (false, false) => Err(Sense::NO_MEDIUM),
            (false, true) => Ok(()),
        }
    }

    /// Opens or closes it. Only opening can be prevented.
    pub(super) fn move_to(&mut self, open: bool, locked: bool) -> Result<(), Sense> {
        if open == self.open {
            return Ok(());
        }
        if open && locked {
            return Err(Sense::REMOVAL_PREVENTED);
        }
        self.open = open;
        if self.disc {
            self.event = if open {
                Event::MediaRemoval
            } else {
                Event::NewMedia
            };
            self.attention = !open;
        }
        Ok(())
    }

    /// The disc has become another one.
    pub(super) fn disc_changed(&mut self) {
        if !self.open {
            self.event = Event::NewMedia;
            self.attention = true;
        }
    }

    /// Whether the initiator must be told that the disc may be another one; it counts as told then.
    pub(super) fn take_attention(&mut self) -> bool {
        std::mem::take(&mut self.attention)
    }

    /// The answer to GET EVENT STATUS NOTIFICATION. An event that fits the allocation length is not told again.
    pub(super) fn event_status(&mut self, classes: u8, allocation: u32) -> Vec<u8> {
        if classes & MEDIA_MASK == 0 {
            // NEA: none of the classes exists here.
            return vec![0x00, 0x02, 0x80, MEDIA_MASK];
        }
        let mut bytes = vec![0x00, 0x06, MEDIA, MEDIA_MASK];
        let status = u8::from(self.disc && !self.open) << 1 | u8::from(self.open);
        bytes.extend([self.event as u8, status, 0, 0]);
        if allocation >= EVENT {
            self.event = Event::NoChange;
        }
        bytes
    }

    /// The answer to MECHANISM STATUS: idle, one slot that has no table.
    pub(super) fn mechanism_status(&self) -> Vec<u8> {
        vec![0, u8::from(self.open) << 4, 0, 0, 0, 1, 0, 0]
    }
}
