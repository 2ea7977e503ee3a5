//! Step 4, ring: one vCPU's end of a session.

use std::sync::Arc;

use crate::doorbell::Doorbell;
use crate::error::{Error, Violation};
use crate::mailbox::MailboxClient;
use crate::memory::PeerLines;
use crate::message::{Access, Message, Request, Width};
use crate::mirror::{Effect, MirrorClient};
use crate::producer::Producer;
use crate::read_to_clear::Summary;
use crate::statistics::{Count, Counters, Statistics, Tally};
use crate::sync::{AtomicU64, Ordering, fence};
use crate::wait::{Sleeper, Waited};

/// So many messages share a ticket at most. No more than the smallest ring has slots: `Server`
/// relies on it.
const TICKET_SPAN: usize = 16;

/// One channel of a session, the asking end: a vCPU's way to the device. One thread uses it at a
/// time.
///
/// Accesses through it take effect in program order. Those of several clients of a session take
/// effect in an order that respects causality: if one vCPU's write was posted before it told
/// another vCPU of it, the other one's later writes and reads come after that write. After an error
/// other than [`Error::Access`] the client is dead and repeats that error.
#[derive(Debug)]
pub struct Client {
    pub(crate) producer: Producer,
    pub(crate) mailbox: MailboxClient,
    pub(crate) sleeper: Sleeper,
    /// "The worker sleeps": the number of its sleep, 0 while awake.
    pub(crate) worker: PeerLines,
    pub(crate) worker_statistics: PeerLines,
    /// The worker's.
    pub(crate) doorbell: Doorbell,
    /// The worker's last sleep that this client rang for.
    pub(crate) rung: u64,
    /// Orders the posted writes of a session's clients; one client alone needs none.
    pub(crate) tickets: Option<Arc<AtomicU64>>,
    pub(crate) mirror: MirrorClient,
    pub(crate) failed: Option<Error>,
    pub(crate) tally: Tally,
}

impl Client {
    /// Sends a posted write: returns when it is on its way. Bits of `value` above the access's
    /// width do not count.
    ///
    /// Waits only if the ring is full.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn post(&mut self, access: Access, value: u64) -> Result<(), Error> {
        self.post_all([(access, value)])
    }

    /// Sends several posted writes, in order: cheaper than one by one, as the worker is looked
    /// after only once. They count as one act: what happens elsewhere while `writes` is asked for
    /// the next one is not known to come before that one.
    ///
    /// # Errors
    /// Any [`Error`]. After [`Error::Access`] the writes in front of the one at fault are on their
    /// way.
    pub fn post_all(
        &mut self,
        writes: impl IntoIterator<Item = (Access, u64)>,
    ) -> Result<(), Error> {
        self.unless_failed(|client| {
            client.mirror.begin();
            let mut ticket = 0;
            let mut count = 0;
            let mut result = Ok(());
            for (index, (access, value)) in writes.into_iter().enumerate() {
                if index % TICKET_SPAN == 0 {
                    ticket = client.ticket();
                }
                result = client.push(Request::Write(access, value), ticket, None);
                if result.is_err() {
                    break;
                }
                count += 1;
            }
            client.mirror.published(None, client.producer.position());
            client.mirror.end(client.producer.position());
            client.tally.add(Count::Posted, count);
            client.kick();
            result
        })
    }

    /// Sends a posted write of one byte that has this effect and no other, so that
    /// [`Client::mirrored`] need not wait for it.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn post_effect(
        &mut self,
        region: u8,
        offset: u64,
        value: u8,
        effect: Effect,
    ) -> Result<(), Error> {
        let access = Access {
            region,
            offset,
            width: Width::Byte,
        };
        self.unless_failed(|client| {
            client.mirror.begin();
            let ticket = client.ticket();
            let (seen, plain) = client.mirror.tag(effect, value);
            let result = client.push(Request::Write(access, value.into()), ticket, seen);
            let end = client.producer.position();
            let known = plain.then_some((effect, value, seen));
            client.mirror.published(known, end);
            client.mirror.end(end);
            client.tally.add(Count::Posted, result.is_ok().into());
            client.kick();
            result
        })
    }

    /// What a read of mirrored register `register` gives now, after all writes that happened before
    /// through any client. `summaries` are those of the device's read-to-clear groups. Does not
    /// wait and is no crossing. `None`: only the device can tell, so read.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or what this client failed with earlier.
    pub fn mirrored(&mut self, register: u32, summaries: &[Summary]) -> Result<Option<u8>, Error> {
        self.unless_failed(|client| {
            let position = client.producer.position();
            let consumed = position - client.producer.outstanding()?;
            let tickets = client.tickets.as_deref();
            let value = client
                .mirror
                .read(register, summaries, position, consumed, tickets)?;
            client.tally.add(Count::Mirrored, value.is_some().into());
            Ok(value)
        })
    }

    /// Claims the snapshot of read-to-clear group `group`, of which the access covers the bytes in
    /// `mask`: what the group had, after all writes that happened before through any client. Does
    /// not wait and is no crossing. `None`: only the device can tell, so read.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or what this client failed with earlier.
    pub fn claim(&mut self, group: u32, mask: u16) -> Result<Option<u16>, Error> {
        self.unless_failed(|client| {
            let position = client.producer.position();
            let consumed = position - client.producer.outstanding()?;
            let tickets = client.tickets.as_deref();
            let value = client
                .mirror
                .claim(group, mask, position, consumed, tickets);
            client.tally.add(Count::Mirrored, value.is_some().into());
            Ok(value)
        })
    }

    /// Reads: waits for the value. Comes after all writes that happened before, through any client.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn read(&mut self, access: Access) -> Result<u64, Error> {
        self.unless_failed(|client| client.cross(Request::Read(access)))
    }

    /// A non-posted write: returns when it has taken effect. Bits of `value` above the access's
    /// width do not count.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn write(&mut self, access: Access, value: u64) -> Result<(), Error> {
        self.unless_failed(|client| client.cross(Request::Write(access, value)))?;
        Ok(())
    }

    /// Waits until all writes posted through this client have taken effect, without a crossing.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn fence(&mut self) -> Result<(), Error> {
        self.unless_failed(|client| client.wait_until(|producer| Ok(producer.outstanding()? == 0)))
    }

    /// This client's counts.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.tally.counters()
    }

    /// What the worker says of itself, as of its last sleep. All channels together.
    #[must_use]
    pub fn worker_statistics(&self) -> Statistics {
        let [
            posted,
            crossings,
            doorbells_sent,
            doorbells_suppressed,
            blocks,
            ..,
        ] = self.worker_statistics.at(0).body();
        Statistics {
            posted,
            crossings,
            doorbells_sent,
            doorbells_suppressed,
            mirrored: 0,
            spins: 0,
            blocks,
        }
    }

    fn unless_failed<T>(
        &mut self,
        call: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = call(self);
        if let Err(error) = &result
            && *error != Error::Access
        {
            self.failed = Some(*error);
        }
        result
    }

    #[inline]
    fn ticket(&self) -> u64 {
        // The order of tickets needs no more than relaxed: those drawn one after the other, in
        // whatever way that is known, are in the order of the counter's own modifications. SYNC:
        // the release and acquire pair with those in `MirrorClient::read`.
        self.tickets
            .as_ref()
            .map_or(0, |tickets| tickets.fetch_add(1, Ordering::AcqRel))
    }

    #[inline]
    fn push(&mut self, request: Request, ticket: u64, seen: Option<u32>) -> Result<(), Error> {
        if !request.access().is_encodable() {
            return Err(Error::Access);
        }
        if !self.producer.has_room()? {
            // The worker may sleep on what this batch has published so far.
            self.kick();
            self.wait_until(Producer::has_room)?;
        }
        self.producer.push(Message {
            request,
            order: ticket,
            seen,
        });
        Ok(())
    }

    #[cold]
    fn wait_until(
        &mut self,
        done: impl Fn(&mut Producer) -> Result<bool, Violation>,
    ) -> Result<(), Error> {
        let peer_cpu = self.worker_cpu();
        let producer = &mut self.producer;
        let ready = || Ok(done(producer)?.then_some(()));
        let ((), waited) = self.sleeper.wait(peer_cpu, ready)?;
        self.count(waited);
        Ok(())
    }

    fn cross(&mut self, request: Request) -> Result<u64, Error> {
        if !request.access().is_encodable() {
            return Err(Error::Access);
        }
        self.mailbox.send(Message {
            request,
            order: self.producer.position(),
            seen: None,
        });
        let peer_cpu = self.worker_cpu();
        // A worker that is awake answers before the fence in `kick` would be over: look for its
        // reply first.
        let mailbox = &mut self.mailbox;
        let glimpsed = self.sleeper.glimpse(peer_cpu, || Ok(mailbox.reply()?))?;
        let value = match glimpsed {
            Some(value) => value,
            None => self.wait_for_reply(peer_cpu)?,
        };
        self.tally.add(Count::Crossings, 1);
        if value & !request.reply_mask() != 0 {
            return Err(Violation::Reply(value).into());
        }
        Ok(value)
    }

    #[cold]
    fn wait_for_reply(&mut self, peer_cpu: u64) -> Result<u64, Error> {
        self.kick();
        let mailbox = &mut self.mailbox;
        let (value, waited) = self.sleeper.wait(peer_cpu, || Ok(mailbox.reply()?))?;
        self.count(waited);
        Ok(value)
    }

    /// Rings the worker's doorbell if it sleeps and this client has not rung for that sleep.
    #[inline]
    pub(crate) fn kick(&mut self) {
        // SYNC: pairs with the fence in `Server::prepare_sleep`. Either this look sees the flag, or the worker, which looks
        // once more after it set the flag, sees what was published.
        fence(Ordering::SeqCst);
        let sleep = self.worker.at(0).glance();
        if sleep != 0 && sleep != self.rung {
            self.rung = sleep;
            self.doorbell.ring();
            self.tally.add(Count::DoorbellsSent, 1);
        } else {
            self.tally.add(Count::DoorbellsSuppressed, 1);
        }
    }

    #[inline]
    fn worker_cpu(&self) -> u64 {
        self.worker.at(0).word::<0>()
    }

    #[inline]
    fn count(&self, waited: Waited) {
        self.tally.add(Count::Spins, waited.spun.into());
        self.tally.add(Count::Blocks, waited.slept);
    }
}
