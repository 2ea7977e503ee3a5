//! A device in another process, from attach to detach.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::access_map::AccessMap;
use crate::bar_memory::{BarMemory, MappedBy};
use crate::config_space::ConfigSpace;
use crate::control::{self, IntxAction};
use crate::description::Description;
use crate::dial;
use crate::error::{Error, Step};
use crate::guest_memory::Region;
use crate::health::{Event, Health};
use crate::interrupt::Intx;
use crate::line::{self, Acknowledge, Line};
use crate::link::socket::{Connection, SocketPort};
use crate::options::{Endpoint, ProxyOptions, Transport};
use crate::peer::{Emulator, EmulatorCommand};
use crate::port::Port;
use crate::ram::RamMap;
use crate::vcpu_port::{VcpuPort, set_mapper, withdraw_memories};
use crate::watch::Watch;

/// The VMM's handle of one attached device. The vCPUs' accesses go through their [`VcpuPort`]s, on
/// any thread.
///
/// Its methods may be called at any time from any thread, and wait for the emulator for at most the
/// deadline. Dropping it hangs up: the emulator lets go of the guest's memory, and the ports answer
/// like those of a dead device. An emulator that the proxy has started is killed.
#[derive(Debug)]
pub struct Proxy {
    /// Ends before the connection closes.
    _watch: Watch,
    connection: Arc<Connection>,
    health: Arc<Health>,
    description: Description,
    config: Arc<Mutex<ConfigSpace>>,
    map: Arc<AccessMap>,
    transport: Transport,
    ram: RamMap,
    line: Mutex<Acknowledge>,
    emulator: Mutex<Option<Emulator>>,
}

impl Proxy {
    /// Attaches to a running emulator: agrees on the protocol, learns what the device is, and makes
    /// one port for each vCPU.
    ///
    /// # Errors
    /// There is no emulator, it does not answer within the deadline, it breaks the protocol, or its
    /// device is not a PCI function with a type 0 header. Nothing remains of the attempt.
    pub fn connect(
        endpoint: Endpoint,
        options: ProxyOptions,
    ) -> Result<(Self, Vec<VcpuPort>), Error> {
        options.check()?;
        let socket = dial::connected(endpoint, options.deadline)?;
        Self::attach(socket, None, options)
    }

    /// Starts an emulator and attaches to it. The proxy watches the process, and ends it when it is
    /// dropped.
    ///
    /// # Errors
    /// The emulator cannot be started, it ends at once ([`Error::Ended`] has its last words), or as
    /// [`Proxy::connect`]; it is not running then.
    pub fn spawn(
        command: EmulatorCommand,
        options: ProxyOptions,
    ) -> Result<(Self, Vec<VcpuPort>), Error> {
        options.check()?;
        let deadline = options.deadline;
        let (mut emulator, socket) = command.spawn()?;
        match Self::attach(socket, Some(emulator.pidfd()), options) {
            Ok((mut proxy, ports)) => {
                proxy.emulator = Mutex::new(Some(emulator));
                Ok((proxy, ports))
            }
            Err(error) => Err(emulator.explain(error, deadline)),
        }
    }

    fn attach(
        socket: OwnedFd,
        process: Option<BorrowedFd<'_>>,
        options: ProxyOptions,
    ) -> Result<(Self, Vec<VcpuPort>), Error> {
        const STEP: &str = "preparing the connection";
        let health = Arc::new(Health::new(Some(socket.try_clone().step(STEP)?)).step(STEP)?);
        let connection = Arc::new(Connection::new(
            socket,
            options.deadline,
            Arc::clone(&health),
        ));
        let agreement = control::negotiate(&connection, options.transport == Transport::Ring)?;
        let description = control::describe(&connection)?;
        let config = ConfigSpace::new(
            &description.header,
            control::bar_sizes(&description.regions),
        )?;
        let config = Arc::new(Mutex::new(config));
        let port = |port: Box<dyn Port>, counters| {
            let (config, health) = (Arc::clone(&config), Arc::clone(&health));
            VcpuPort::new(port, counters, config, description.config_size, health)
        };
        let mut map = Arc::<AccessMap>::default();
        let (transport, ports) = if agreement.ring {
            let rings =
                control::ring::attach(&connection, agreement, options.vcpus, options.ring_slots)?;
            let (entries, memories) = {
                let config = config.lock().unwrap_or_else(PoisonError::into_inner);
                control::ring::access_map(&connection, &description.regions, config.bars())?
            };
            config
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .share(memories);
            map = Arc::new(entries);
            let ports = rings
                .into_iter()
                .map(|ring| {
                    let counters = ring.counters();
                    port(Box::new(ring), Some(counters)).with_access_map(Arc::clone(&map))
                })
                .collect();
            (Transport::Ring, ports)
        } else {
            if options.transport == Transport::Ring {
                tracing::warn!(
                    "the emulator has no rings: every access is a message on its socket"
                );
            }
            let ports = (0..options.vcpus)
                .map(|_| port(Box::new(SocketPort::new(Arc::clone(&connection))), None))
                .collect();
            (Transport::Socket, ports)
        };
        let (its_config, its_map) = (Arc::clone(&config), Arc::clone(&map));
        // The guest finds all ones there, too.
        let dead = move || withdraw_memories(&its_config, &its_map);
        let watch = Watch::start(connection.socket(), process, Arc::clone(&health), dead)
            .step("starting the watch thread")?;
        let proxy = Self {
            _watch: watch,
            connection,
            health,
            description,
            config,
            map,
            transport,
            ram: RamMap::new(options.unsealed_memory),
            line: Mutex::default(),
            emulator: Mutex::new(None),
        };
        Ok((proxy, ports))
    }

    /// What the device is.
    #[must_use]
    pub const fn description(&self) -> &Description {
        &self.description
    }

    /// How accesses travel.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// Hands over `size` bytes of guest RAM at guest-physical `address` for the device's DMA: those
    /// at `offset` of `file`, which the VMM maps shared. All three are multiples of 4096. It may be
    /// called at any time, while the guest runs and does I/O: once it has returned, the device
    /// reaches the range. The descriptor may be closed then.
    ///
    /// # Errors
    /// [`Error::Memory`]: the range is not made of whole pages, overlaps one that the device has,
    /// or is not sealed against shrinking where that is asked for
    /// ([`UnsealedMemory`](crate::UnsealedMemory)). Or the emulator refuses it, or the connection
    /// fails.
    pub fn add_ram(
        &self,
        address: u64,
        size: u64,
        file: impl AsFd,
        offset: u64,
    ) -> Result<(), Error> {
        let region = Region {
            address,
            size,
            offset,
        };
        self.ram.add(&self.connection, &[(region, file.as_fd())])
    }

    /// Takes back one range that [`Proxy::add_ram`] has handed over, whole. It may be called while
    /// the guest does I/O: when it returns, no DMA to the range is in flight, and later DMA to it
    /// fails in the device.
    ///
    /// # Errors
    /// [`Error::Memory`]: the device has no range of exactly this address and size. Or the
    /// connection fails.
    pub fn remove_ram(&self, address: u64, size: u64) -> Result<(), Error> {
        self.ram.remove(&self.connection, address, size)
    }

    /// Hands over the guest's RAM for the device's DMA, as `vm-memory` has it. All or nothing: if
    /// one region is refused, those before it are taken back.
    ///
    /// Each region must be backed by a file that the VMM maps shared, such as a memfd;
    /// [`crate::guest_memory`] has one to give. May be called again for memory that is added later.
    ///
    /// # Errors
    /// A region has no file, or as for [`Proxy::add_ram`].
    #[cfg(feature = "vm-memory")]
    pub fn attach_memory<M: vm_memory::GuestMemoryBackend>(&self, memory: &M) -> Result<(), Error> {
        let regions = crate::guest_memory::shared_regions(memory)?;
        let regions: Vec<_> = regions
            .iter()
            .map(|(region, file)| (*region, file.as_fd()))
            .collect();
        self.ram.add(&self.connection, &regions)
    }

    /// Takes back all RAM that was handed over. When it returns, no DMA is in flight.
    ///
    /// # Errors
    /// The connection fails; what was not taken back before the error remains handed over.
    pub fn detach_memory(&self) -> Result<(), Error> {
        self.ram.remove_all(&self.connection)
    }

    /// The device's BARs, or parts of them, that are memory and nothing else. None over a socket,
    /// and none once the device is dead.
    #[must_use]
    pub fn memories(&self) -> Vec<BarMemory> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        config.memories().cloned().collect()
    }

    /// Says who maps the device's [memories](Proxy::memories) into the guest, from now on. Call it
    /// while no vCPU runs. The old mapper unmaps what it has mapped, as each does when the proxy is
    /// dropped.
    ///
    /// If the device dies, its mapper unmaps them too, soon after and on a thread of the proxy's:
    /// accesses to them exit from then on, and read all ones.
    pub fn map_memory(&self, by: MappedBy) {
        set_mapper(&self.config, &self.map, by);
    }

    /// [`Proxy::set_line`] with the two eventfds of `intx`.
    ///
    /// # Errors
    /// As for [`Proxy::set_line`].
    pub fn enable_interrupt(&self, intx: &Intx) -> Result<(), Error> {
        self.set_line(Line::Resampled {
            trigger: intx.trigger_fd(),
            resample: intx.resample_fd(),
        })
    }

    /// Wires INTx to what the VMM has: eventfds of its own, or a closure. It replaces what was
    /// wired before. The device holds on to the eventfds, of which the VMM may close its copies,
    /// until [`Proxy::disable_interrupt`] or detach.
    ///
    /// # Errors
    /// The device has no INTx; the process is out of descriptors or threads; the emulator refuses;
    /// the connection fails.
    pub fn set_line(&self, line: Line<'_>) -> Result<(), Error> {
        if !self.description.interrupt {
            return Err(Error::NoInterrupt);
        }
        // Held over the exchange: of two calls, the later one's line stays.
        let mut line_now = self.line();
        *line_now = line::wire(&self.connection, line)?;
        Ok(())
    }

    /// The guest has acknowledged the interrupt: the device triggers again if its line is still up.
    /// For [`Line::Triggered`] and [`Line::Call`], whose interrupt controller does not say it by an
    /// eventfd; a VMM that cannot see the acknowledgement calls it after the guest's next access to
    /// the device. Without effect on [`Line::Resampled`]. It sends no message to the emulator.
    ///
    /// # Errors
    /// The emulator has not looked at the line for a very long time.
    pub fn end_of_interrupt(&self) -> Result<(), Error> {
        self.line()
            .acknowledge()
            .step("telling of the end of interrupt")
    }

    fn line(&self) -> MutexGuard<'_, Acknowledge> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the eventfds of INTx back, or ends the calls of its closure.
    ///
    /// # Errors
    /// The emulator refuses; the connection fails.
    pub fn disable_interrupt(&self) -> Result<(), Error> {
        let mut line = self.line();
        control::set_intx(&self.connection, IntxAction::Off)?;
        *line = Acknowledge::ByVmm;
        Ok(())
    }

    /// Masks INTx, or unmasks it; then the device triggers again if its line is up.
    ///
    /// # Errors
    /// The emulator refuses; the connection fails.
    pub fn mask_interrupt(&self, masked: bool) -> Result<(), Error> {
        let action = if masked {
            IntxAction::MaskNow
        } else {
            IntxAction::UnmaskNow
        };
        control::set_intx(&self.connection, action)
    }

    /// Resets the device and its config space, as a bus reset does; RAM and interrupt stay
    /// attached. The caller has stopped the vCPUs: an access that overtakes the reset would find
    /// the device in either state.
    ///
    /// # Errors
    /// The emulator refuses; the connection fails.
    pub fn reset(&self) -> Result<(), Error> {
        // Locked over the exchange, as for a config write: nobody reads one state here and the
        // other there.
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        control::reset(&self.connection)?;
        config.reset();
        Ok(())
    }

    /// Readable while an event waits for [`Proxy::take_event`].
    #[must_use]
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        self.health.notify_fd()
    }

    /// Why the device has died, once. If it has gone with a process that the proxy started, this
    /// waits, for at most the deadline, to learn how that ended.
    ///
    /// The way back is to drop this proxy and its ports, start or find an emulator, and attach
    /// anew; the guest finds the device as after power-on.
    pub fn take_event(&self) -> Option<Event> {
        let event = self.health.take()?;
        if event == Event::Exited(None)
            && let Some(emulator) =
                &mut *self.emulator.lock().unwrap_or_else(PoisonError::into_inner)
        {
            return match emulator.wait(self.connection.deadline()) {
                Ok(status) => Some(Event::Exited(status)),
                Err(error) => {
                    tracing::warn!(%error, "cannot learn how the emulator ended");
                    Some(event)
                }
            };
        }
        Some(event)
    }

    /// The process, if the proxy has started it.
    pub fn emulator(&mut self) -> Option<&mut Emulator> {
        let emulator = self.emulator.get_mut();
        emulator.unwrap_or_else(PoisonError::into_inner).as_mut()
    }

    /// Detaches in good order: interrupt off, memory back, connection closed. An emulator that the
    /// proxy has started then ends by itself; if it has not within the deadline, it is killed. No
    /// event comes of it.
    ///
    /// # Errors
    /// The emulator did not agree; it is detached all the same.
    pub fn detach(mut self) -> Result<(), Error> {
        let silent = if self.description.interrupt {
            self.disable_interrupt()
        } else {
            Ok(())
        };
        let unmapped = self.detach_memory();
        self.health.close();
        let deadline = self.connection.deadline();
        if let Some(emulator) = self.emulator() {
            emulator
                .wait(deadline)
                .step("waiting for the emulator's end")?;
        }
        silent.and(unmapped)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.health.close();
        self.map_memory(MappedBy::Nobody);
    }
}

#[cfg(test)]
mod tests;
