//! Step 8, a nexus in progress: the target's side of the phases and messages (SPI-4).

use std::collections::VecDeque;

use super::message::{self, Message};
use super::phase::{Line, Phase};
use crate::scsi::{Attribute, Bus, Management, Nexus, TaskId, Want};

/// What follows when ACK falls after a message's last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    Disconnect,
    Complete,
    Free,
}

/// A message on its way to the initiator.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) bytes: Vec<u8>,
    pub(super) sent: usize,
    pub(super) then: Then,
}

/// How many messages a target queues; an initiator that provokes more gets a bus free.
pub(super) const QUEUE_LIMIT: usize = 16;

/// A nexus in progress.
#[derive(Debug)]
pub(in crate::lsi) struct Connection {
    pub(super) target: u8,
    pub(super) lun: Option<u8>,
    pub(super) tag: Option<u8>,
    pub(super) attribute: Attribute,
    pub(super) may_disconnect: bool,
    /// The target wants (more) message bytes.
    pub(super) wants_message: bool,
    /// Selected without ATN, and nothing transferred since: MESSAGE OUT or COMMAND, as the initiator likes.
    pub(super) undecided: bool,
    pub(super) partial: Vec<u8>,
    pub(super) outgoing: VecDeque<Outgoing>,
    /// Wholly sent, ACK still up.
    pub(super) unacknowledged: Option<Outgoing>,
    pub(super) last: Option<Outgoing>,
    pub(super) cdb: Vec<u8>,
    pub(super) task: Option<TaskId>,
    /// Data have moved since the last SAVE DATA POINTERS.
    pub(super) moved: bool,
    /// The byte of DATA IN that is on the bus: somebody has looked at it, nobody has taken it.
    pub(super) offered: Option<u8>,
    /// Half of the current bus word has been used (wide DATA IN).
    pub(super) odd_in: bool,
    /// The same for DATA OUT.
    pub(super) odd_out: bool,
}

impl Connection {
    pub(super) fn new(target: u8) -> Self {
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
            offered: None,
            odd_in: false,
            odd_out: false,
        }
    }

    /// The task, once the CDB is there.
    pub(super) fn task(&self) -> Option<TaskId> {
        self.task
    }

    pub(super) fn nexus(&self) -> Nexus {
        Nexus {
            target: self.target,
            lun: self.lun.unwrap_or(0),
            tag: self.tag,
        }
    }

    pub(super) fn say(&mut self, bytes: Vec<u8>, then: Then) {
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

    /// What MESSAGE IN has on the bus.
    pub(super) fn next_message_byte(&self) -> Option<u8> {
        let message = self.outgoing.front()?;
        message.bytes.get(message.sent).copied()
    }

    /// Notes that data moved.
    pub(super) fn data_moved(&mut self) {
        self.moved = true;
    }
}

/// Whether the target stays after a message.
pub(super) enum Heard {
    GoOn,
    Free,
}

impl Connection {
    pub(super) fn line(&mut self, bus: &mut Bus, asked: Option<Phase>, attention: bool) -> Line {
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
            _ if self.offered.is_some() => Line::Request(Phase::DataIn),
            Want::DataIn(_) => Line::Request(Phase::DataIn),
            Want::DataOut(_) => Line::Request(Phase::DataOut),
            Want::Status(_) => Line::Request(Phase::Status),
            // Not in the middle of a word: the chip has its second byte, or awaits it.
            Want::Wait if self.may_disconnect && !self.odd_in && !self.odd_out => {
                if std::mem::take(&mut self.moved) {
                    self.say(vec![message::SAVE_POINTERS], Then::GoOn);
                }
                self.say(vec![message::DISCONNECT], Then::Disconnect);
                Line::Request(Phase::MessageIn)
            }
            Want::Wait => {
                bus.refuse_disconnect(task);
                match bus.want(task) {
                    Want::Status(_) => Line::Request(Phase::Status),
                    _ => Line::Quiet,
                }
            }
            Want::Gone => Line::Free,
        }
    }

    pub(super) fn hear(&mut self, bus: &mut Bus, message: Message, wide: bool) -> Heard {
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
                    bus.manage(self.nexus(), Management::AbortTask);
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
