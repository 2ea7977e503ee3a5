//! Steps 1 and 2, from a guest's exit to its device, for a VMM that passes no vCPU number.
//!
//! A [`SharedPort`] binds each thread to one of its ports, a *lane*, at the thread's first access.
//! A lane has a lock. While there are as many lanes as threads, nobody else takes that lock, and
//! taking it is two atomic operations on a cache line that stays with the thread's CPU. Threads
//! beyond that share lanes and wait for each other.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use outrigger_ring::Width;

use crate::counters::Counters;
use crate::error::Error;
use crate::vcpu_port::VcpuPort;

/// A way to a device for any thread: `Clone`, `Send` and `Sync`. All clones reach the same device
/// over the same lanes.
///
/// The accesses of one thread take effect in program order, and a read sees every write that was
/// posted before it, by whichever thread. The methods are those of [`VcpuPort`]. They wait for
/// another thread only if there are more threads than lanes: give
/// [`ProxyOptions::vcpus`](crate::ProxyOptions::vcpus) one for each vCPU, and one more for the
/// VMM's other threads.
///
/// ```no_run
/// use outrigger_proxy::{Endpoint, Proxy, ProxyOptions, SharedPort};
///
/// # fn main() -> Result<(), outrigger_proxy::Error> {
/// let options = ProxyOptions { vcpus: 5, ..ProxyOptions::default() };
/// let (proxy, ports) = Proxy::connect(Endpoint::Path("lsi0.sock".into()), options)?;
/// let port = SharedPort::new(ports)?;
/// // Any thread, with `&self`: four bytes at offset 0x14 of BAR 1.
/// let mut data = [0; 4];
/// port.read(1, 0x14, &mut data);
/// # drop(proxy);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SharedPort(Arc<Lanes>);

#[derive(Debug)]
struct Lanes {
    first: Mutex<VcpuPort>,
    others: Vec<Mutex<VcpuPort>>,
    /// Threads that were bound so far.
    bound: AtomicUsize,
}

thread_local! {
    /// The lanes that this thread is bound to, one for each device that it has accessed.
    static BOUND: RefCell<Vec<(Weak<Lanes>, usize)>> = const { RefCell::new(Vec::new()) };
}

impl SharedPort {
    /// One lane for each of these ports, which are all of one device.
    ///
    /// # Errors
    /// [`Error::Option`]: there is no port, or they belong to several devices.
    pub fn new(ports: Vec<VcpuPort>) -> Result<Self, Error> {
        let refused = |value: usize, mend| Error::Option {
            name: "ports",
            value: u64::try_from(value).unwrap_or(u64::MAX),
            mend,
        };
        let count = ports.len();
        let mut ports = ports.into_iter();
        let first = ports
            .next()
            .ok_or_else(|| refused(0, "a device needs at least one port"))?;
        let others: Vec<_> = ports.collect();
        if !others.iter().all(|port| port.same_device(&first)) {
            return Err(refused(count, "they must be of one device"));
        }
        Ok(Self(Arc::new(Lanes {
            first: Mutex::new(first),
            others: others.into_iter().map(Mutex::new).collect(),
            bound: AtomicUsize::new(0),
        })))
    }

    /// As [`VcpuPort::read`].
    pub fn read(&self, region: u8, offset: u64, data: &mut [u8]) {
        self.lane().read(region, offset, data);
    }

    /// As [`VcpuPort::write`].
    pub fn write(&self, region: u8, offset: u64, data: &[u8]) {
        self.lane().write(region, offset, data);
    }

    /// As [`VcpuPort::mmio_read`].
    #[must_use = "an address that this device does not decode may be another's"]
    pub fn mmio_read(&self, address: u64, data: &mut [u8]) -> bool {
        self.lane().mmio_read(address, data)
    }

    /// As [`VcpuPort::mmio_write`].
    #[must_use = "an address that this device does not decode may be another's"]
    pub fn mmio_write(&self, address: u64, data: &[u8]) -> bool {
        self.lane().mmio_write(address, data)
    }

    /// As [`VcpuPort::pio_read`].
    #[must_use = "a port that this device does not decode may be another's"]
    pub fn pio_read(&self, port: u16, data: &mut [u8]) -> bool {
        self.lane().pio_read(port, data)
    }

    /// As [`VcpuPort::pio_write`].
    #[must_use = "a port that this device does not decode may be another's"]
    pub fn pio_write(&self, port: u16, data: &[u8]) -> bool {
        self.lane().pio_write(port, data)
    }

    /// As [`VcpuPort::config_read`].
    #[must_use]
    pub fn config_read(&self, offset: u16, width: Width) -> u64 {
        self.lane().config_read(offset, width)
    }

    /// As [`VcpuPort::config_write`].
    pub fn config_write(&self, offset: u16, width: Width, value: u64) {
        self.lane().config_write(offset, width, value);
    }

    /// Whether the device has failed or was detached.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.lane().is_dead()
    }

    /// What all threads' accesses have cost so far. Waits for accesses that are under way.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let lanes = std::iter::once(&self.0.first).chain(&self.0.others);
        lanes.fold(Counters::default(), |sum, lane| {
            sum.plus(lock(lane).counters())
        })
    }

    /// The calling thread's lane.
    fn lane(&self) -> MutexGuard<'_, VcpuPort> {
        // A thread that is ending, whose memory of its lanes is gone, uses the first.
        let index = BOUND.try_with(|bound| {
            let bound = &mut *bound.borrow_mut();
            let known = |(lanes, _): &&(Weak<Lanes>, usize)| lanes.as_ptr() == Arc::as_ptr(&self.0);
            if let Some((_, index)) = bound.iter().find(known) {
                return *index;
            }
            bound.retain(|(lanes, _)| lanes.strong_count() > 0);
            let next = self.0.bound.fetch_add(1, Ordering::Relaxed);
            let index = next % (self.0.others.len() + 1);
            bound.push((Arc::downgrade(&self.0), index));
            index
        });
        let other = index.ok().and_then(|index| index.checked_sub(1));
        let lane = other.and_then(|index| self.0.others.get(index));
        lock(lane.unwrap_or(&self.0.first))
    }
}

fn lock(lane: &Mutex<VcpuPort>) -> MutexGuard<'_, VcpuPort> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use outrigger_ring::Access;

    use super::*;
    use crate::in_process;
    use crate::port::{Port, PortError};

    /// A lane whose reads give its number.
    #[derive(Debug)]
    struct Numbered(u8);

    impl Port for Numbered {
        fn read(&mut self, access: Access) -> Result<u64, PortError> {
            Ok(if access.region < 6 { self.0.into() } else { 0 })
        }

        fn post(&mut self, _: Access, _: u64) -> Result<(), PortError> {
            Ok(())
        }

        fn write(&mut self, _: Access, _: u64) -> Result<(), PortError> {
            Ok(())
        }
    }

    fn ports(lanes: u8) -> Vec<VcpuPort> {
        let port = |lane| Box::new(Numbered(lane)) as Box<dyn Port>;
        in_process::attach((0..lanes).map(port).collect(), [0x10, 0, 0, 0, 0, 0, 0]).unwrap()
    }

    fn lane_of(port: &SharedPort) -> u8 {
        let mut data = [0xaa];
        port.read(0, 0, &mut data);
        data[0]
    }

    #[test]
    fn each_thread_keeps_its_lane_and_lanes_are_dealt_in_turn() {
        let port = SharedPort::new(ports(3)).unwrap();
        for round in 0..2 {
            for lane in 0..3 {
                let port = port.clone();
                thread::spawn(move || {
                    for _ in 0..10 {
                        assert_eq!(lane_of(&port.clone()), lane, "{round}");
                    }
                })
                .join()
                .unwrap();
            }
        }
        assert_eq!(port.counters().crossings, 60);
    }

    #[test]
    fn a_thread_has_a_lane_with_each_device_and_forgets_those_that_are_gone() {
        let first = SharedPort::new(ports(2)).unwrap();
        let second = SharedPort::new(ports(2)).unwrap();
        thread::spawn({
            let second = second.clone();
            move || lane_of(&second)
        })
        .join()
        .unwrap();
        assert_eq!((lane_of(&first), lane_of(&second)), (0, 1));
        assert_eq!((lane_of(&first), lane_of(&second)), (0, 1));
        drop(first);
        assert_eq!(lane_of(&SharedPort::new(ports(1)).unwrap()), 0);
        assert_eq!(BOUND.with(|bound| bound.borrow().len()), 2);
    }

    #[test]
    fn more_threads_than_lanes_share_them() {
        let port = SharedPort::new(ports(2)).unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|_| assert!(lane_of(&port) < 2)));
            }
        });
        assert_eq!(port.counters().crossings, 8000);
    }

    #[test]
    fn no_port_and_ports_of_several_devices_are_refused() {
        let mixed = ports(1).into_iter().chain(ports(1)).collect();
        for ports in [Vec::new(), mixed] {
            let refused = SharedPort::new(ports).map(drop);
            assert!(matches!(refused, Err(Error::Option { name: "ports", .. })));
        }
    }
}
