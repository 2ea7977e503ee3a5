//! Step 8, bus phases: who is connected, which phase the target asks for, and what it does when ACK falls.
//!
//! The target's side of SPI-4 lives here, above [`scsi::Bus`](crate::scsi::Bus), which knows tasks but no
//! phases. The chip observes a [`Line`], moves bytes, and releases ACK; nothing here touches memory.

use std::collections::VecDeque;
use std::fmt;

use super::message::{self, Message};
use crate::scsi::{Attribute, Bus, Nexus, TaskId, Want};

/// An information transfer phase: MSG, C/D and I/O as bits 2 to 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Initiator to target.
    #[default]
    DataOut,
    /// Target to initiator.
    DataIn,
    /// The CDB.
    Command,
    /// The status byte.
    Status,
    /// Reserved.
    ReservedOut,
    /// Reserved.
    ReservedIn,
    /// Messages to the target.
    MessageOut,
    /// Messages from the target.
    MessageIn,
}

impl Phase {
    /// From bits 2 to 0.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 7 {
            0 => Self::DataOut,
            1 => Self::DataIn,
            2 => Self::Command,
            3 => Self::Status,
            4 => Self::ReservedOut,
            5 => Self::ReservedIn,
            6 => Self::MessageOut,
            _ => Self::MessageIn,
        }
    }

    /// Bits 2 to 0.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// The I/O signal: towards the initiator.
    #[must_use]
    pub const fn is_in(self) -> bool {
        self.bits() & 1 != 0
    }

    /// DATA IN or DATA OUT.
    #[must_use]
    pub const fn is_data(self) -> bool {
        matches!(self, Self::DataIn | Self::DataOut)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DataOut => "DATA_OUT",
            Self::DataIn => "DATA_IN",
            Self::Command => "COMMAND",
            Self::Status => "STATUS",
            Self::ReservedOut => "RES4",
            Self::ReservedIn => "RES5",
            Self::MessageOut => "MSG_OUT",
            Self::MessageIn => "MSG_IN",
        })
    }
}

/// What the chip sees on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Bus free.
    Free,
    /// Connected, but the target does not ask for a transfer now.
    Quiet,
    /// REQ with a phase.
    Request(Phase),
}

/// How the bus became free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freed {
    /// After DISCONNECT or COMMAND COMPLETE.
    Announced,
    /// Otherwise: after a management message, or because the task is gone.
    Abrupt,
}

/// What follows when ACK falls after a message's last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    Disconnect,
    Complete,
    Free,
}

/// A message on its way to the initiator.
#[derive(Clone, Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    then: Then,
}

/// How many messages a target queues; an initiator that provokes more gets a bus free.
const QUEUE_LIMIT: usize = 16;

/// A nexus in progress.
#[derive(Debug)]
pub(super) struct Connection {
    target: u8,
    lun: Option<u8>,
    tag: Option<u8>,
    attribute: Attribute,
    may_disconnect: bool,
    /// The target wants (more) message bytes.
    wants_message: bool,
    /// Selected without ATN, and nothing transferred since: MESSAGE OUT or COMMAND, as the initiator likes.
    undecided: bool,
    partial: Vec<u8>,
    outgoing: VecDeque<Outgoing>,
    /// Wholly sent, ACK still up.
    unacknowledged: Option<Outgoing>,
    last: Option<Outgoing>,
    cdb: Vec<u8>,
    task: Option<TaskId>,
    /// Data have moved since the last SAVE DATA POINTERS.
    moved: bool,
    /// Half of the current bus word has been used (wide DATA IN).
    pub(super) odd_in: bool,
    /// The same for DATA OUT.
    pub(super) odd_out: bool,
}

impl Connection {
    fn new(target: u8) -> Self {
        Self {
            target,
            lun: None,
            tag: None,
            attribute: Attribute::Simple,
            may_disconnect: false,
            wants_message: false,
            undecided: false,
            partial: Vec::new(),
            outgoing: VecDeque::new(),
            unacknowledged: None,
            last: None,
            cdb: Vec::new(),
            task: None,
            moved: false,
            odd_in: false,
            odd_out: false,
        }
    }

    /// The task, once the CDB is there.
    pub(super) fn task(&self) -> Option<TaskId> {
        self.task
    }

    fn nexus(&self) -> Nexus {
        Nexus {
            target: self.target,
            lun: self.lun.unwrap_or(0),
            tag: self.tag,
        }
    }

    fn say(&mut self, bytes: Vec<u8>, then: Then) {
        self.outgoing.push_back(Outgoing {
            bytes,
            sent: 0,
            then,
        });
    }

    /// Says that the last byte of the DATA IN phase was padding.
    pub(super) fn announce_residue(&mut self) {
        self.say(vec![message::IGNORE_WIDE_RESIDUE, 1], Then::GoOn);
    }

    /// Notes that data moved.
    pub(super) fn data_moved(&mut self) {
        self.moved = true;
    }
}

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
        if !bus.responds(target) {
            self.unanswered = true;
            return;
        }
        let mut connection = Connection::new(target);
        connection.wants_message = atn;
        connection.undecided = !atn;
        self.connection = Some(connection);
        self.atn = atn;
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
    pub(super) fn line(&mut self, bus: &Bus, asked: Option<Phase>) -> Line {
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
        let length = Bus::cdb_length(operation_code);
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
            bus.manage(c.nexus(), crate::scsi::Management::AbortTask);
        }
        self.free();
    }
}

/// Whether the target stays after a message.
enum Heard {
    GoOn,
    Free,
}

impl Connection {
    fn line(&mut self, bus: &Bus, asked: Option<Phase>, attention: bool) -> Line {
        if self.outgoing.front().is_some_and(|m| m.sent > 0) {
            return Line::Request(Phase::MessageIn);
        }
        if self.unacknowledged.is_some() {
            return Line::Quiet;
        }
        if attention || self.wants_message {
            return Line::Request(Phase::MessageOut);
        }
        if !self.outgoing.is_empty() {
            return Line::Request(Phase::MessageIn);
        }
        let Some(task) = self.task else {
            let message = self.undecided && asked == Some(Phase::MessageOut);
            return Line::Request(if message {
                Phase::MessageOut
            } else {
                Phase::Command
            });
        };
        match bus.want(task) {
            Want::DataIn(_) => Line::Request(Phase::DataIn),
            Want::DataOut(_) => Line::Request(Phase::DataOut),
            Want::Status(_) => Line::Request(Phase::Status),
            Want::Wait if self.may_disconnect => {
                if std::mem::take(&mut self.moved) {
                    self.say(vec![message::SAVE_POINTERS], Then::GoOn);
                }
                self.say(vec![message::DISCONNECT], Then::Disconnect);
                Line::Request(Phase::MessageIn)
            }
            Want::Wait => Line::Quiet,
            Want::Gone => Line::Free,
        }
    }

    fn hear(&mut self, bus: &mut Bus, message: Message, wide: bool) -> Heard {
        match message {
            Message::Identify {
                lun,
                may_disconnect,
            } => {
                // A running task keeps its logical unit; only the privilege can change.
                if self.task.is_none() {
                    self.lun = Some(lun);
                }
                self.may_disconnect = may_disconnect;
            }
            Message::BadIdentify => self.say(vec![message::REJECT], Then::Free),
            Message::Tag { attribute, tag } => {
                if self.task.is_none() {
                    self.attribute = attribute;
                    self.tag = Some(tag);
                }
            }
            Message::NoOperation => {}
            Message::Manage(function) => {
                bus.manage(self.nexus(), function);
                return Heard::Free;
            }
            // The only message of a target that an initiator can refuse with effect is DISCONNECT.
            Message::Reject => {
                if self.last.as_ref().is_some_and(|m| {
                    m.then == Then::Disconnect || m.bytes == [message::SAVE_POINTERS]
                }) {
                    self.may_disconnect = false;
                    self.outgoing.retain(|m| m.then != Then::Disconnect);
                }
            }
            // No transfer here can be repeated, so the task ends as after an unexpected disconnect.
            Message::InitiatorDetectedError => {
                if self.task.is_some() {
                    bus.manage(self.nexus(), crate::scsi::Management::AbortTask);
                }
                return Heard::Free;
            }
            Message::ParityError => {
                if let Some(mut again) = self.last.take() {
                    again.sent = 0;
                    self.outgoing.push_front(again);
                }
            }
            Message::Synchronous { .. } | Message::Wide { .. } | Message::Parallel { .. } => {
                if let Some(answer) = message::agreement(message, wide) {
                    self.say(answer, Then::GoOn);
                }
            }
            Message::Unknown => self.say(vec![message::REJECT], Then::GoOn),
        }
        Heard::GoOn
    }
}
