//! Step 4, ring: the device's end of a session, all channels together.

mod snapshots;
mod turn;

use crate::consumer::Consumer;
use crate::doorbell::Doorbell;
use crate::error::{Error, Violation};
use crate::mailbox::MailboxServer;
use crate::memory::{OwnLines, PeerLines};
use crate::message::{Message, Request};
use crate::mirror::{MirrorServer, Mirrored, Serve, Unmirrored};
use crate::read_to_clear::SnapshotServer;
use crate::statistics::Statistics;
use crate::sync::{Ordering, fence};
pub(crate) use turn::{Turn, Waiting};

/// Rounds over all channels before a turn comes back with nothing: a caller that polls reads the
/// clock in between.
#[cfg(not(loom))]
const LOOKS: u32 = crate::wait::LOOKS;
#[cfg(loom)]
const LOOKS: u32 = 1;

/// One channel, the answering end.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) consumer: Consumer,
    pub(crate) mailbox: MailboxServer,
    /// "The client sleeps": the number of its sleep, 0 while awake.
    pub(crate) client: PeerLines,
    /// What the client counts.
    pub(crate) claims: PeerLines,
    pub(crate) doorbell: Doorbell,
    /// The client's last sleep that was rung for.
    pub(crate) rung: u64,
    /// The position that must be reached before the request at hand.
    pub(crate) target: u64,
}

impl Channel {
    /// After something was published to the client: rings its doorbell if it sleeps and that sleep
    /// was not rung for.
    #[inline]
    fn wake(&mut self, statistics: &mut Statistics) {
        // SYNC: pairs with the fence in `Sleeper::wait`.
        fence(Ordering::SeqCst);
        let sleep = self.client.at(0).glance();
        if sleep != 0 && sleep != self.rung {
            self.rung = sleep;
            self.doorbell.ring();
            statistics.doorbells_sent += 1;
        } else {
            statistics.doorbells_suppressed += 1;
        }
    }

    #[inline]
    fn publish(&mut self, statistics: &mut Statistics) {
        if self.consumer.publish() {
            self.wake(statistics);
        }
    }

    fn is_at_target(&self) -> bool {
        self.consumer.head() >= self.target
    }
}

/// A session, the answering end: the device worker's. One thread uses it at a time.
///
/// The worker calls [`Server::turn`] for as long as there is something, and before it sleeps on the
/// doorbell (the server as a descriptor, or an event loop that watches it) it calls
/// [`Server::prepare_sleep`]. Best is an epoll instance that watches it edge-triggered, as then a
/// sleep is one system call. After an error the session is over: drop it.
#[derive(Debug)]
pub struct Server {
    pub(crate) channels: Vec<Channel>,
    /// "The worker sleeps". Word 0 of the body: the CPU that the worker is bound to.
    pub(crate) flag: OwnLines,
    pub(crate) statistics_line: OwnLines,
    pub(crate) doorbell: Doorbell,
    pub(crate) cpu: u64,
    /// Sleeps so far.
    pub(crate) sleeps: u64,
    pub(crate) mirror: MirrorServer,
    pub(crate) snapshots: SnapshotServer,
    pub(crate) statistics: Statistics,
    /// How much more the turn may do.
    pub(crate) turn: Turn,
    /// What waits until the writes that come before it are applied.
    pub(crate) waiting: Option<Waiting>,
    /// The channel whose mailbox is looked at next.
    pub(crate) next: usize,
    pub(crate) failed: Option<Error>,
}

impl Server {
    /// Takes what is there, a bounded portion, and calls `serve` for each request in order; what it
    /// returns for a read is the reply (bits above the access's width are cut off). Returns whether
    /// there was anything.
    ///
    /// Bounded by 1024 requests and one more, and by [`Serve::is_time_up`]. A read behind more
    /// posted writes than that is answered in a later turn. Does not wait.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: a client broke the protocol. The session is over and repeats the error.
    pub fn turn(&mut self, serve: impl FnMut(Request) -> u64) -> Result<bool, Error> {
        self.turn_with(&mut Unmirrored(serve))
    }

    /// As [`Server::turn`], for a device with mirrored registers: they are shown as they are after
    /// each request.
    ///
    /// # Errors
    /// As [`Server::turn`].
    pub fn turn_with(&mut self, device: &mut impl Serve) -> Result<bool, Error> {
        for _ in 0..LOOKS {
            if self.unless_failed(|server| server.look(device))? {
                return Ok(true);
            }
            #[cfg(not(loom))]
            crate::wait::breathe();
        }
        Ok(false)
    }

    /// As [`Server::turn_with`], for a worker that has other work at hand: looks only once at what
    /// is there, and does not poll.
    ///
    /// # Errors
    /// As [`Server::turn`].
    pub fn look_with(&mut self, device: &mut impl Serve) -> Result<bool, Error> {
        self.unless_failed(|server| server.look(device))
    }

    /// Applies every posted write that is visible now, as before a read: for a request that came
    /// another way and must not overtake them, such as a reset. No snapshot stands any more, until
    /// [`Server::publish_snapshots`]. Bounded by two rings' length for each channel, which can be
    /// much: a worker that has other work calls [`Server::apply_some_with`]. Does not wait.
    ///
    /// # Errors
    /// As [`Server::turn`].
    pub fn apply_posted(&mut self, serve: impl FnMut(Request) -> u64) -> Result<(), Error> {
        self.apply_posted_with(&mut Unmirrored(serve))
    }

    /// As [`Server::apply_posted`], for a device with mirrored registers.
    ///
    /// # Errors
    /// As [`Server::turn`].
    pub fn apply_posted_with(&mut self, device: &mut impl Serve) -> Result<(), Error> {
        while !self.apply_some_with(device)? {}
        Ok(())
    }

    /// Shows a mirrored register's value to the clients. The worker calls it whenever a register
    /// has changed by anything but a request of this session, and before anything that the guest
    /// could learn of the change from: before a later DMA, an interrupt, a reply that came another
    /// way.
    pub fn show(&mut self, register: u32, now: Mirrored) {
        self.snapshots.changed();
        self.mirror.show(register, now, self.statistics.posted);
    }

    /// Shows all mirrored registers: before the first use of a session, and after the device has
    /// changed in another way.
    pub fn show_all(&mut self, device: &impl Serve) {
        for register in (0..).take(self.mirror.registers()) {
            let Some(now) = device.mirrored(register) else {
                return;
            };
            self.show(register, now);
        }
    }

    /// Serves a request, and shows what it has changed before anybody can learn that it was served.
    fn execute(&mut self, device: &mut impl Serve, message: Message) -> u64 {
        let value = device.serve(message.request, message.seen);
        self.show_all(device);
        value
    }

    fn unless_failed<T>(
        &mut self,
        call: impl FnOnce(&mut Self) -> Result<T, Violation>,
    ) -> Result<T, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        call(self).map_err(|violation| {
            let error = Error::Corrupt(violation);
            self.failed = Some(error);
            error
        })
    }

    /// Tells every client how much was consumed.
    #[inline]
    fn publish(&mut self) {
        for channel in &mut self.channels {
            channel.publish(&mut self.statistics);
        }
    }

    fn look(&mut self, device: &mut impl Serve) -> Result<bool, Violation> {
        if let Some(Waiting::Command { .. }) = self.waiting {
            // Whoever began it goes on with it.
            return Ok(true);
        }
        self.turn.go_on();
        let mut found = false;
        if let Some(Waiting::Mailbox {
            index,
            message,
            left,
        }) = self.waiting.take()
        {
            self.when_caught_up(index, message, left, device)?;
            found = true;
        }
        for _ in 0..self.channels.len() {
            if self.waiting.is_some() || self.turn.is_over() {
                break;
            }
            let index = self.next;
            let after = index + 1;
            self.next = if after < self.channels.len() {
                after
            } else {
                0
            };
            found |= self.synchronous(index, device)?;
        }
        while self.waiting.is_none() && !self.turn.is_over() {
            let applied = self.apply_run(self.turn.left(), device)?;
            if applied == 0 {
                break;
            }
            self.turn.spend(applied, device);
            found = true;
        }
        if found {
            self.publish_snapshots(device);
            self.publish();
        }
        self.turn.end();
        Ok(found)
    }

    /// Serves the request in channel `index`'s mailbox, if there is one, after all that must come
    /// before it; in a later turn, if that is too much for this one.
    fn synchronous(&mut self, index: usize, device: &mut impl Serve) -> Result<bool, Violation> {
        let Some(channel) = self.channels.get(index) else {
            return Ok(false);
        };
        let Some(body) = channel.mailbox.request()? else {
            return Ok(false);
        };
        let message = Message::decode_waiting(body)?;
        let position = message.order;
        let limit = self.aim();
        // The sender waits for the reply, so the end of its ring stands still, and is what it
        // names.
        let published = self.channels.get(index).map_or(0, |channel| channel.target);
        if position != published {
            return Err(Violation::Position {
                position,
                published,
            });
        }
        self.when_caught_up(index, message, limit, device)?;
        Ok(true)
    }

    /// Serves a mailbox's request if what [`Server::aim`] saw before it is applied, or can be in
    /// this turn.
    fn when_caught_up(
        &mut self,
        index: usize,
        message: Message,
        mut left: u64,
        device: &mut impl Serve,
    ) -> Result<(), Violation> {
        if !self.catch_up(&mut left, device)? {
            self.waiting = Some(Waiting::Mailbox {
                index,
                message,
                left,
            });
            return Ok(());
        }
        self.revoke_snapshots(device)?;
        let value = self.execute(device, message) & message.request.reply_mask();
        self.publish_snapshots(device);
        self.statistics.crossings += 1;
        if let Some(channel) = self.channels.get_mut(index) {
            channel.mailbox.answer(value);
            channel.wake(&mut self.statistics);
        }
        self.turn.spend(1, device);
        Ok(())
    }

    /// Every posted write that is visible now, in any ring, is to be applied by the
    /// [`Server::catch_up`] that follows. Returns how many that can be.
    ///
    /// What is visible is at most a ring's length for each channel. Besides, a write with a lower
    /// ticket than one of those can come in meanwhile, and some with the same ticket: of each
    /// honest client at most those that share one ticket, which are no more than a ring's length.
    /// So an honest session stays below the limit.
    fn aim(&mut self) -> u64 {
        let mut limit = 0;
        for channel in &mut self.channels {
            channel.target = channel.consumer.visible_end();
            limit += 2 * channel.consumer.slots();
        }
        limit
    }

    /// Applies what [`Server::aim`] saw; `left` is how many writes that can still be. `false`: the
    /// turn is over before.
    fn catch_up(&mut self, left: &mut u64, device: &mut impl Serve) -> Result<bool, Violation> {
        while !self.channels.iter().all(Channel::is_at_target) {
            if self.turn.is_over() {
                return Ok(false);
            }
            let applied = self.apply_run(self.turn.left().min(*left), device)?;
            if applied == 0 {
                // More than an honest client has, or what was seen was taken back.
                return Err(Violation::Order);
            }
            *left -= applied;
            self.turn.spend(applied, device);
        }
        Ok(true)
    }

    /// Applies the posted writes that come next of all rings: a run of one ring's, with the same
    /// ticket, and at most so many. Returns how many; 0 if all rings are empty.
    ///
    /// Next is the lowest ticket, once each ring has either shown its next message or was seen
    /// empty *after* all those were seen: a write that happened before one of them is then either
    /// among them, or behind one in its own ring whose ticket is lower still. What shares the
    /// ticket was handed over together, so nothing comes between.
    fn apply_run(&mut self, most: u64, device: &mut impl Serve) -> Result<u64, Violation> {
        // Each further round found a message in a ring that had none: no more rounds than rings,
        // plus one.
        let mut look_again = true;
        while look_again {
            look_again = false;
            for channel in &mut self.channels {
                look_again |= channel.consumer.peek()?;
            }
            look_again &= self.channels.len() > 1;
        }
        let next = self
            .channels
            .iter()
            .enumerate()
            .filter_map(|(index, channel)| Some((channel.consumer.ticket()?, index)))
            .min();
        let Some((ticket, index)) = next else {
            return Ok(0);
        };
        self.revoke_snapshots(device)?;
        let quarter = self.channels.get(index).map(|c| c.consumer.quarter());
        let most = most.min(turn::PORTION);
        let most = quarter.map_or(most, |quarter| most.min(quarter));
        let mut applied = 0;
        while applied < most
            && let Some(channel) = self.channels.get_mut(index)
            && let Some(message) = channel.consumer.take(ticket)?
        {
            applied += 1;
            // Counted first: what is shown then contains it.
            self.statistics.posted += 1;
            self.execute(device, message);
        }
        if let Some(channel) = self.channels.get_mut(index)
            && channel.consumer.owes_much()
        {
            channel.publish(&mut self.statistics);
        }
        Ok(applied)
    }

    /// Tells the clients that the worker is about to sleep: from now on they ring. `false`:
    /// something has come meanwhile, do not sleep. Either way call [`Server::awake`] afterwards.
    #[must_use]
    pub fn prepare_sleep(&mut self) -> bool {
        let Statistics {
            posted,
            crossings,
            doorbells_sent,
            doorbells_suppressed,
            mirrored: _,
            spins: _,
            blocks,
        } = self.statistics;
        let line = self.statistics_line.at(0);
        line.fill([
            posted,
            crossings,
            doorbells_sent,
            doorbells_suppressed,
            blocks,
            0,
            0,
        ]);
        // A new number for each sleep, so that each client rings once for each.
        self.sleeps += 1;
        self.flag.at(0).set(self.sleeps);
        // SYNC: pairs with the fence in `Client::kick`. Either the look below sees what the client has published, or the
        // client, which looks at the flag after it published, sees the flag and rings.
        fence(Ordering::SeqCst);
        let idle = !self.anything() && self.waiting.is_none() && self.failed.is_none();
        self.statistics.blocks += u64::from(idle);
        idle
    }

    /// The worker is awake and looks for itself: no doorbell is needed.
    pub fn awake(&mut self) {
        self.flag.at(0).set(0);
    }

    /// Forgets that the doorbell was rung: for who watches it level-triggered, with `poll`. Who
    /// watches it edge-triggered hears each ring without. Only between [`Server::awake`] and the
    /// next [`Server::prepare_sleep`]: a client rings once for a sleep, so a ring that is drained
    /// within that sleep is lost.
    pub fn drain_doorbell(&self) {
        self.doorbell.drain();
    }

    /// Whether polling before a sleep can pay: not if every client can run only on the worker's own
    /// CPU.
    #[must_use]
    pub fn polling_pays(&self) -> bool {
        let elsewhere = |channel: &Channel| channel.client.at(0).word::<0>() != self.cpu;
        self.cpu == 0 || self.channels.iter().any(elsewhere)
    }

    /// The worker's counts.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// What the clients say of themselves, all channels together: any numbers, if they lie.
    #[must_use]
    pub fn client_statistics(&self) -> Statistics {
        self.channels
            .iter()
            .map(|channel| Statistics::from_words(channel.claims.at(0).body()))
            .fold(Statistics::default(), Statistics::plus)
    }

    fn anything(&self) -> bool {
        self.channels
            .iter()
            .any(|channel| channel.mailbox.anything() || channel.consumer.anything())
    }
}

#[cfg(not(loom))]
impl std::os::fd::AsFd for Server {
    /// The worker's doorbell: readable when a client has rung.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.doorbell.as_fd()
    }
}
