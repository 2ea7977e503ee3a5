//! Both ends of a session on one thread, worked in turn: what a message costs each end, without the wait between them.

use anyhow::{Result, bail};
use outrigger_ring::{Access, Client, Mirrored, Request, Serve, Server, Summary, Width};

use super::transport::ring::{Session, connect};

const ACCESS: Access = Access {
    region: 1,
    offset: 0x14,
    width: Width::Byte,
};

/// As many read-to-clear groups as the chip has, which the register sums up.
const SUMMARIES: [Summary; 2] = [summary(0, 0x01), summary(1, 0x02)];

const fn summary(group: u32, bits: u8) -> Summary {
    Summary {
        group,
        register: 0,
        bits,
    }
}

/// A session without threads.
#[derive(Debug)]
pub struct BothEnds {
    client: Client,
    server: Server,
    device: Register,
}

/// A device that is one register, which is mirrored.
#[derive(Debug)]
struct Register(u8);

impl Serve for Register {
    fn serve(&mut self, request: Request, _: Option<u32>) -> u64 {
        if let Request::Write(_, value) = request {
            self.0 = value.to_le_bytes()[0];
        }
        self.0.into()
    }

    fn mirrored(&self, register: u32) -> Option<Mirrored> {
        (register == 0).then_some(Mirrored {
            value: self.0,
            events: 0,
        })
    }
}

impl BothEnds {
    /// A session that has worked already.
    ///
    /// # Errors
    /// If memory or descriptors run out.
    pub fn new() -> Result<Self> {
        let Session { client, server, .. } = connect(1)?;
        let mut session = Self {
            client,
            server: server.finish()?,
            device: Register(0),
        };
        session.server.show_all(&session.device);
        for value in 1..=16 {
            session.post(1, value)?;
            session.take()?;
            if session.mirrored()? != value {
                bail!("the mirror does not follow");
            }
        }
        Ok(session)
    }

    /// The asking end: this many posted writes of `value` at once.
    ///
    /// # Errors
    /// The ring is full and the worker's end does not take anything out in time.
    pub fn post(&mut self, writes: usize, value: u8) -> Result<()> {
        let write = (ACCESS, value.into());
        Ok(self.client.post_all(std::iter::repeat_n(write, writes))?)
    }

    /// The answering end: takes what was posted.
    ///
    /// # Errors
    /// There is nothing.
    pub fn take(&mut self) -> Result<()> {
        if !self.server.turn_with(&mut self.device)? {
            bail!("nothing was posted");
        }
        Ok(())
    }

    /// The asking end: reads the register without a crossing.
    ///
    /// # Errors
    /// Only the device could tell.
    pub fn mirrored(&mut self) -> Result<u8> {
        match self.client.mirrored(0, &SUMMARIES)? {
            Some(value) => Ok(value),
            None => bail!("only the device can tell"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_do_what_is_measured() {
        let mut session = BothEnds::new().unwrap();
        assert!(session.take().is_err());
        session.post(16, 3).unwrap();
        assert!(session.mirrored().is_err());
        session.take().unwrap();
        assert_eq!(session.mirrored().unwrap(), 3);
    }
}
