//! What the guest is to do: a list of SCSI requests, and how.

/// Which way a request's data go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the target into guest RAM.
    In,
    /// From guest RAM to the target.
    Out,
}

/// One SCSI request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The target's ID.
    pub target: u8,
    /// The logical unit.
    pub lun: u8,
    /// The CDB, padded with zeroes.
    pub cdb: [u8; 16],
    /// How many of its bytes are sent.
    pub cdb_length: u8,
    /// Where the data are in guest RAM.
    pub address: u32,
    /// Bytes of data; 0 for none. Exactly what the target will transfer.
    pub length: u32,
    /// Which way they go.
    pub direction: Direction,
}

/// Bytes per logical block that the READ and WRITE constructors assume.
const BLOCK: u32 = 512;

impl Request {
    /// A request without data for LUN 0 of `target`.
    #[must_use]
    pub fn without_data(target: u8, cdb: &[u8]) -> Self {
        let mut padded = [0; 16];
        for (to, from) in padded.iter_mut().zip(cdb) {
            *to = *from;
        }
        let cdb_length = u8::try_from(cdb.len().min(16)).unwrap_or(16);
        Self {
            target,
            lun: 0,
            cdb: padded,
            cdb_length,
            address: 0,
            length: 0,
            direction: Direction::In,
        }
    }

    /// A request that reads `length` bytes to `address`.
    #[must_use]
    pub fn data_in(target: u8, cdb: &[u8], address: u32, length: u32) -> Self {
        Self {
            address,
            length,
            direction: Direction::In,
            ..Self::without_data(target, cdb)
        }
    }

    /// A request that writes `length` bytes from `address`.
    #[must_use]
    pub fn data_out(target: u8, cdb: &[u8], address: u32, length: u32) -> Self {
        Self {
            address,
            length,
            direction: Direction::Out,
            ..Self::without_data(target, cdb)
        }
    }

    /// TEST UNIT READY.
    #[must_use]
    pub fn test_unit_ready(target: u8) -> Self {
        Self::without_data(target, &[0; 6])
    }

    /// INQUIRY, `length` bytes (at least 36 are there) to `address`.
    #[must_use]
    pub fn inquiry(target: u8, address: u32, length: u8) -> Self {
        Self::data_in(target, &[0x12, 0, 0, 0, length, 0], address, length.into())
    }

    /// READ CAPACITY (10), 8 bytes to `address`.
    #[must_use]
    pub fn read_capacity(target: u8, address: u32) -> Self {
        Self::data_in(target, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], address, 8)
    }

    /// SYNCHRONIZE CACHE (10) of the whole disk.
    #[must_use]
    pub fn synchronize_cache(target: u8) -> Self {
        Self::without_data(target, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// READ (10) of `blocks` blocks of 512 bytes from block `lba` on, to `address`.
    #[must_use]
    pub fn read(target: u8, lba: u32, blocks: u16, address: u32) -> Self {
        Self::data_in(
            target,
            &Self::cdb10(0x28, lba, blocks),
            address,
            u32::from(blocks) * BLOCK,
        )
    }

    /// WRITE (10) of `blocks` blocks of 512 bytes from block `lba` on, from `address`.
    #[must_use]
    pub fn write(target: u8, lba: u32, blocks: u16, address: u32) -> Self {
        Self::data_out(
            target,
            &Self::cdb10(0x2a, lba, blocks),
            address,
            u32::from(blocks) * BLOCK,
        )
    }

    fn cdb10(operation: u8, lba: u32, blocks: u16) -> [u8; 10] {
        let [a, b, c, d] = lba.to_be_bytes();
        let [high, low] = blocks.to_be_bytes();
        [operation, 0, a, b, c, d, 0, high, low, 0]
    }
}

/// What the vCPUs after the first one do, if there are any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtherVcpus {
    /// There are none.
    #[default]
    None,
    /// So many, at least 1: each submits requests through its own port, under a lock that they share; the first vCPU, which
    /// gets the interrupt, completes them.
    Submit(u32),
    /// There is one, which reads ISTAT0 through its own port until the first one is done.
    Poll,
}

/// A list of requests and how to work through it.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The requests, started in this order. At most [`MAX_REQUESTS`](super::guest::layout::MAX_REQUESTS).
    pub requests: Vec<Request>,
    /// How many may be under way at once, 1 to 64.
    pub depth: u32,
    /// Data are handed to the chip in segments of 2 to this power bytes; a request has at most 16 of them.
    pub segment_shift: u32,
    /// What the vCPUs after the first one do. With it there are at most [`MAX_VCPUS`](super::guest::layout::MAX_VCPUS).
    pub others: OtherVcpus,
    /// How many requests the guest may be ahead of the observer, which sees them in order; 0: no limit. With a
    /// ring of buffers, the number of buffers.
    pub window: u32,
}

impl Workload {
    /// These requests at this depth, on one vCPU, in segments of 64 KiB.
    #[must_use]
    pub const fn new(requests: Vec<Request>, depth: u32) -> Self {
        Self {
            requests,
            depth,
            segment_shift: 16,
            others: OtherVcpus::None,
            window: 0,
        }
    }

    /// The same with further vCPUs.
    #[must_use]
    pub const fn with_others(mut self, others: OtherVcpus) -> Self {
        self.others = others;
        self
    }

    /// The same, with the guest at most `window` requests ahead of the observer.
    #[must_use]
    pub const fn with_window(mut self, window: u32) -> Self {
        self.window = window;
        self
    }

    /// How many vCPUs it needs.
    #[must_use]
    pub const fn vcpus(&self) -> usize {
        match self.others {
            OtherVcpus::None => 1,
            OtherVcpus::Submit(submitters) => 1_usize.saturating_add(submitters as usize),
            OtherVcpus::Poll => 2,
        }
    }
}
