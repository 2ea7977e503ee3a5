//! What the proxy asks of an emulator beside accesses: versions, description, memory, interrupts,
//! reset.
//!
//! Each function is one exchange and checks the values that come back.

use std::os::fd::BorrowedFd;

use outrigger_vfio_user::{
    Capabilities, DeviceFlags, DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags, IrqInfoFlags,
    IrqSetFlags, RegionFlags, RegionQuery, RegionRange, Reply, Request, RingCapability, SetIrqs,
    Version,
};

use crate::bars::SLOTS;
use crate::config_space::HEADER;
use crate::description::{Description, REGIONS, Region};
use crate::error::{Error, Step};
use crate::guest_memory;
use crate::link::socket::{Answer, Connection};
use crate::vcpu_port::CONFIG_REGION;

pub(crate) mod ring;

/// vfio-user 0.1.
const MAJOR: u16 = 0;
const MINOR: u16 = 1;
/// The ring protocol that this proxy speaks.
pub(crate) const RING_VERSION: u32 = 1;
/// Descriptors that a side accepts with a message when it does not say.
const DEFAULT_MSG_FDS: u32 = 1;
/// Descriptors that the proxy accepts with a message.
const MSG_FDS: u32 = 16;
/// INTx among a PCI device's interrupt indices (VFIO_PCI_INTX_IRQ_INDEX).
const INTX: u32 = 0;

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// The emulator serves rings.
    pub(crate) ring: bool,
    /// Descriptors that the emulator accepts with one message.
    pub(crate) msg_fds: usize,
}

/// VERSION: the first exchange.
pub(crate) fn negotiate(connection: &Connection, offer_ring: bool) -> Result<Agreement, Error> {
    const STEP: &str = "negotiating the version";
    let mut offer = Capabilities::default();
    offer.max_msg_fds = Some(MSG_FDS);
    offer.pgsizes = Some(guest_memory::PAGE);
    offer.outrigger_ring = offer_ring.then_some(RingCapability {
        version: RING_VERSION,
    });
    let data = offer.emit();
    let request = Request::Version(Version {
        major: MAJOR,
        minor: MINOR,
        data: &data,
    });
    let answer = connection.request(&request, &[], 0).step(STEP)?;
    let Reply::Version(version) = answer.reply().step(STEP)? else {
        return unexpected(connection, STEP);
    };
    let Version { major, minor, data } = version;
    if major != MAJOR || minor > MINOR {
        return Err(Error::Version { major, minor });
    }
    let theirs = match Capabilities::parse(data) {
        Ok(capabilities) => capabilities,
        Err(error) => return Err(connection.corrupt(error.to_string())).step(STEP),
    };
    let ring = theirs
        .outrigger_ring
        .is_some_and(|ring| ring.version == RING_VERSION);
    let msg_fds = theirs
        .max_msg_fds
        .unwrap_or(DEFAULT_MSG_FDS)
        .clamp(1, MSG_FDS);
    let msg_fds = usize::try_from(msg_fds).unwrap_or(1);
    Ok(Agreement {
        ring: ring && offer_ring,
        msg_fds,
    })
}

/// Everything that the emulator says about its device.
pub(crate) fn describe(connection: &Connection) -> Result<Description, Error> {
    const STEP: &str = "asking what the device is";
    let answer = connection
        .request(&Request::DeviceInfo, &[], 0)
        .step(STEP)?;
    let Reply::DeviceInfo(info) = answer.reply().step(STEP)? else {
        return unexpected(connection, STEP);
    };
    if !info.flags.contains(DeviceFlags::PCI) {
        return Err(Error::Device("it is no PCI device".into()));
    }
    if info.regions <= u32::from(CONFIG_REGION) {
        return Err(Error::Device(format!(
            "it has {} regions and no config space",
            info.regions
        )));
    }
    let mut regions = [Region::default(); REGIONS];
    for (index, region) in (0..info.regions).zip(&mut regions) {
        *region = describe_region(connection, index)?;
    }
    let config = regions.get(usize::from(CONFIG_REGION));
    let config_size = match config.map_or(0, |region| region.size) {
        0x100 => 0x100,
        0x1000 => 0x1000,
        size => {
            return Err(Error::Device(format!(
                "its config space has {size:#x} bytes, not 256 or 4096"
            )));
        }
    };
    let interrupt = info.irqs > INTX && has_interrupt(connection)?;
    let header = read_header(connection)?;
    Ok(Description {
        regions,
        config_size,
        interrupt,
        can_reset: info.flags.contains(DeviceFlags::RESET),
        header,
    })
}

fn describe_region(connection: &Connection, index: u32) -> Result<Region, Error> {
    const STEP: &str = "asking for the device's regions";
    /// The fixed part and the capabilities that a reply may carry; the proxy maps nothing, so it
    /// skips them.
    const ROOM: u32 = 1024;
    let query = Request::RegionInfo(RegionQuery { room: ROOM, index });
    // A region that can be mapped comes with a descriptor, which is closed here.
    let answer = connection.request(&query, &[], 1).step(STEP)?;
    match answer.reply().step(STEP)? {
        Reply::RegionInfo(info) if info.index == index => Ok(Region {
            size: info.size,
            readable: info.flags.contains(RegionFlags::READ),
            writable: info.flags.contains(RegionFlags::WRITE),
        }),
        _ => unexpected(connection, STEP),
    }
}

fn has_interrupt(connection: &Connection) -> Result<bool, Error> {
    const STEP: &str = "asking for the device's interrupt";
    let answer = connection
        .request(&Request::IrqInfo(INTX), &[], 0)
        .step(STEP)?;
    match answer.reply().step(STEP)? {
        Reply::IrqInfo(info) if info.index == INTX && info.count <= 1 => {
            Ok(info.count == 1 && info.flags.contains(IrqInfoFlags::EVENTFD))
        }
        _ => unexpected(connection, STEP),
    }
}

fn read_header(connection: &Connection) -> Result<[u8; HEADER], Error> {
    const STEP: &str = "reading the device's config space";
    let range = RegionRange {
        region: CONFIG_REGION.into(),
        offset: 0,
        count: 0x100,
    };
    let answer = connection
        .request(&Request::RegionRead(range), &[], 0)
        .step(STEP)?;
    if let Reply::RegionRead(read) = answer.reply().step(STEP)?
        && (read.region, read.offset) == (range.region, range.offset)
        && let Ok(header) = read.data.try_into()
    {
        return Ok(header);
    }
    unexpected(connection, STEP)
}

/// Hands over one region of guest RAM.
pub(crate) fn map(
    connection: &Connection,
    region: guest_memory::Region,
    file: BorrowedFd<'_>,
) -> Result<(), Error> {
    let guest_memory::Region {
        address,
        size,
        offset,
    } = region;
    let flags = DmaMapFlags::READ | DmaMapFlags::WRITE;
    done(
        connection,
        "handing over guest RAM",
        &Request::DmaMap(DmaMap {
            flags,
            offset,
            address,
            size,
        }),
        &[file],
    )
}

/// Takes one region back. No DMA goes there any more once this has returned.
pub(crate) fn unmap(connection: &Connection, address: u64, size: u64) -> Result<(), Error> {
    const STEP: &str = "taking guest RAM back";
    let unmap = DmaUnmap {
        flags: DmaUnmapFlags::empty(),
        address,
        size,
    };
    let answer = connection
        .request(&Request::DmaUnmap(unmap), &[], 0)
        .step(STEP)?;
    match answer.reply().step(STEP)? {
        Reply::DmaUnmap(done) if (done.address, done.size) == (address, size) => Ok(()),
        _ => unexpected(connection, STEP),
    }
}

/// What can be done with INTx.
#[derive(Clone, Copy, Debug)]
pub(crate) enum IntxAction<'a> {
    /// The device signals this eventfd.
    Trigger(BorrowedFd<'a>),
    /// The device looks at its line again when this eventfd is signalled.
    Unmask(BorrowedFd<'a>),
    /// The device is silent until it is unmasked.
    MaskNow,
    /// The device looks at its line again now.
    UnmaskNow,
    /// The device lets go of both eventfds.
    Off,
}

/// SET_IRQS for INTx.
pub(crate) fn set_intx(connection: &Connection, action: IntxAction<'_>) -> Result<(), Error> {
    let (flags, fd, step) = match action {
        IntxAction::Trigger(fd) => (
            IrqSetFlags::DATA_EVENTFD | IrqSetFlags::ACTION_TRIGGER,
            Some(fd),
            "handing over the interrupt eventfd",
        ),
        IntxAction::Unmask(fd) => (
            IrqSetFlags::DATA_EVENTFD | IrqSetFlags::ACTION_UNMASK,
            Some(fd),
            "handing over the resample eventfd",
        ),
        IntxAction::MaskNow => (
            IrqSetFlags::DATA_NONE | IrqSetFlags::ACTION_MASK,
            None,
            "masking the interrupt",
        ),
        IntxAction::UnmaskNow => (
            IrqSetFlags::DATA_NONE | IrqSetFlags::ACTION_UNMASK,
            None,
            "unmasking the interrupt",
        ),
        IntxAction::Off => (
            IrqSetFlags::DATA_NONE | IrqSetFlags::ACTION_TRIGGER,
            None,
            "switching the interrupt off",
        ),
    };
    let count = u32::from(!matches!(action, IntxAction::Off));
    let set = Request::SetIrqs(SetIrqs {
        flags,
        index: INTX,
        start: 0,
        count,
        data: &[],
    });
    done(connection, step, &set, fd.as_slice())
}

/// DEVICE_RESET.
pub(crate) fn reset(connection: &Connection) -> Result<(), Error> {
    done(
        connection,
        "resetting the device",
        &Request::DeviceReset,
        &[],
    )
}

/// A request whose reply says nothing but that it is done.
pub(crate) fn done(
    connection: &Connection,
    step: &'static str,
    request: &Request<'_>,
    fds: &[BorrowedFd<'_>],
) -> Result<(), Error> {
    let answer: Answer = connection.request(request, fds, 0).step(step)?;
    match answer.reply().step(step)? {
        Reply::Done(_) => Ok(()),
        _ => unexpected(connection, step),
    }
}

/// The reply has the right form and says something else than was asked.
pub(crate) fn unexpected<T>(connection: &Connection, step: &'static str) -> Result<T, Error> {
    Err(connection.corrupt("the reply does not belong to the request".into())).step(step)
}

/// The sizes of regions 0 to 6.
pub(crate) fn bar_sizes(regions: &[Region; REGIONS]) -> [u64; SLOTS] {
    std::array::from_fn(|slot| regions.get(slot).map_or(0, |region| region.size))
}
