//! Step 8, the chip's end of the bus: selection, reselection, and the bytes of messages, commands and status.
//!
//! The target's side lives above [`scsi::Bus`](crate::scsi::Bus), which knows tasks but no phases. The chip
//! observes a [`Line`], moves bytes, and releases ACK; nothing here touches memory.

use super::connection::{Connection, Heard, QUEUE_LIMIT, Then};
use super::message;
use super::phase::{Freed, Line, Phase};
use crate::scsi::{Bus, Management};

/// The initiator's end of the bus.
#[derive(Debug, Default)]
pub(super) struct Link {
    connection: Option<Connection>,
    /// A selection that nobody answers is in progress.
    pub(super) unanswered: bool,
    /// The ATN signal.
    pub(super) atn: bool,
    /// The phase seen with the last REQ (SSTAT1).
    pub(super) latched: Phase,
    /// The bus is 16 bits wide for the chip.
    wide: bool,
}

impl Link {
    pub(super) fn new(wide: bool) -> Self {
        Self {
            wide,
            ..Self::default()
        }
    }

    pub(super) fn connected(&self) -> bool {
        self.connection.is_some()
    }

    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// ACK is up behind the last byte of a message.
    pub(super) fn acknowledging(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|c| c.unacknowledged.is_some())
    }

    /// SELECT. Whether somebody answers is decided by the bus; nobody shows as `unanswered`.
    pub(super) fn select(&mut self, bus: &Bus, target: u8, atn: bool) {
        self.atn = atn;
        if !bus.responds(target) {
            self.unanswered = true;
            return;
        }
        let mut connection = Connection::new(target);
        connection.wants_message = atn;
        connection.undecided = !atn;
        self.connection = Some(connection);
    }

    /// The oldest task that waits to reselect does so. Returns its target's ID.
    pub(super) fn reselect(&mut self, bus: &mut Bus) -> Option<u8> {
        let (task, nexus) = bus.reselection()?;
        let mut connection = Connection::new(nexus.target);
        connection.lun = Some(nexus.lun);
        connection.tag = nexus.tag;
        connection.may_disconnect = true;
        connection.task = Some(task);
        connection.say(vec![message::IDENTIFY | nexus.lun & 7], Then::GoOn);
        if let Some(tag) = nexus.tag {
            connection.say(vec![message::SIMPLE_TAG, tag], Then::GoOn);
        }
        self.connection = Some(connection);
        self.atn = false;
        Some(nexus.target)
    }

    /// What the bus shows. `asked` is the phase that the script asks for, which matters only to a target
    /// that was selected without ATN.
    pub(super) fn line(&mut self, bus: &mut Bus, asked: Option<Phase>) -> Line {
        let attention = self.atn;
        let Some(c) = self.connection.as_mut() else {
            return Line::Free;
        };
        let line = c.line(bus, asked, attention);
        if let Line::Request(phase) = line {
            self.latched = phase;
        }
        line
    }

    /// ACK falls: the target does what its last message announced.
    pub(super) fn release(&mut self, bus: &mut Bus) -> Option<Freed> {
        let c = self.connection.as_mut()?;
        let sent = c.unacknowledged.take()?;
        let then = sent.then;
        c.last = Some(sent);
        match then {
            Then::GoOn => return None,
            // An initiator with something to say is heard first; the task asks again afterwards.
            Then::Disconnect if self.atn => return None,
            Then::Disconnect => {
                if let Some(task) = c.task {
                    bus.disconnect(task);
                }
            }
            Then::Complete => {
                if let Some(task) = c.task {
                    bus.finish(task);
                }
            }
            Then::Free => {
                self.free();
                return Some(Freed::Abrupt);
            }
        }
        self.free();
        Some(Freed::Announced)
    }

    /// The target lets the bus go.
    pub(super) fn free(&mut self) {
        self.connection = None;
        self.atn = false;
    }

    /// The next byte of MESSAGE IN; ACK stays up after a message's last byte.
    pub(super) fn message_in(&mut self) -> Option<u8> {
        let c = self.connection.as_mut()?;
        let front = c.outgoing.front_mut()?;
        let byte = front.bytes.get(front.sent).copied()?;
        front.sent += 1;
        if front.sent == front.bytes.len() {
            c.unacknowledged = c.outgoing.pop_front();
        }
        Some(byte)
    }

    /// The status byte goes out; COMMAND COMPLETE follows.
    pub(super) fn status_taken(&mut self) {
        if let Some(c) = self.connection.as_mut() {
            c.say(vec![message::COMMAND_COMPLETE], Then::Complete);
        }
    }

    /// Bytes of COMMAND; the task begins when the CDB is whole. Surplus bytes are not looked at.
    pub(super) fn command(&mut self, bus: &mut Bus, bytes: &[u8]) {
        let Some(c) = self.connection.as_mut() else {
            return;
        };
        c.undecided = false;
        c.cdb.extend_from_slice(bytes);
        let Some(&operation_code) = c.cdb.first() else {
            return;
        };
        // A target that does not know the length takes what comes.
        let length = Bus::cdb_length(operation_code).unwrap_or(c.cdb.len().max(Bus::SHORTEST_CDB));
        if let Some(cdb) = c.cdb.get(..length) {
            // SCSI-2, section 7.2.2: without IDENTIFY the CDB names the logical unit.
            if c.lun.is_none() {
                c.lun = cdb.get(1).map(|b| b >> 5);
            }
            c.task = Some(bus.begin(c.nexus(), c.attribute, cdb));
            c.cdb.clear();
        }
    }

    /// Bytes of MESSAGE OUT, with ATN down after the last.
    pub(super) fn message_out(&mut self, bus: &mut Bus, bytes: &[u8]) -> Option<Freed> {
        self.atn = false;
        let wide = self.wide;
        let c = self.connection.as_mut()?;
        c.undecided = false;
        c.wants_message = false;
        c.partial.extend_from_slice(bytes);
        let mut taken = 0;
        while let Some((message, length)) = c.partial.get(taken..).and_then(message::parse) {
            taken += length;
            let Heard::GoOn = c.hear(bus, message, wide) else {
                self.free();
                return Some(Freed::Abrupt);
            };
            if c.outgoing.len() > QUEUE_LIMIT {
                self.abandon(bus);
                return Some(Freed::Abrupt);
            }
        }
        c.partial.drain(..taken.min(c.partial.len()));
        c.wants_message = !c.partial.is_empty();
        None
    }

    /// The nexus is lost: its task is aborted and the bus is free.
    pub(super) fn abandon(&mut self, bus: &mut Bus) {
        if let Some(c) = self.connection.as_ref()
            && c.task.is_some()
        {
            bus.manage(c.nexus(), Management::AbortTask);
        }
        self.free();
    }
}
