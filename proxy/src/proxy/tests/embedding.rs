//! What VMMs of several kinds do: RAM piece by piece, lines of their own, memory that they map
//! themselves.

use super::*;

/// RAM comes and goes one range at a time, from any thread, while vCPUs access the device.
#[test]
fn ram_is_added_and_removed_while_the_guest_runs() {
    for (options, script) in transports() {
        let (fake, attached) = attach(script, options);
        let (proxy, ports) = attached.unwrap();
        let file = guest_memory::memfd(0x4000).unwrap();
        proxy.add_ram(0, 0x2000, &file, 0).unwrap();
        let port = crate::SharedPort::new(ports).unwrap();
        std::thread::scope(|scope| {
            for vcpu in 0..2 {
                let port = port.clone();
                scope.spawn(move || {
                    for value in 0..200 {
                        port.write(1, 4 * vcpu, &[value, 0, 0, 0]);
                        let mut data = [0; 4];
                        port.read(1, 4 * vcpu, &mut data);
                        assert_eq!(data, [value, 0, 0, 0]);
                    }
                });
            }
            for _ in 0..50 {
                proxy.add_ram(0x10_0000, 0x1000, &file, 0x2000).unwrap();
                proxy.remove_ram(0x10_0000, 0x1000).unwrap();
            }
        });
        type Check = fn(&MemoryError) -> bool;
        let refused: [(u64, u64, u64, Check); 4] = [
            (0x1000, 0x1000, 0, |error| {
                matches!(error, MemoryError::Overlap { .. })
            }),
            (0x4000, 0, 0, |error| {
                matches!(error, MemoryError::Unaligned { .. })
            }),
            (0x4000, 0x1000, 1, |error| {
                matches!(error, MemoryError::Unaligned { .. })
            }),
            (u64::MAX - 0xfff, 0x2000, 0, |error| {
                matches!(error, MemoryError::Unaligned { .. })
            }),
        ];
        for (address, size, offset, why) in refused {
            let error = proxy.add_ram(address, size, &file, offset).unwrap_err();
            assert!(
                matches!(&error, Error::Memory(error) if why(error)),
                "{error}"
            );
        }
        // A part of a range is no range.
        let part = proxy.remove_ram(0, 0x1000);
        assert!(matches!(
            part,
            Err(Error::Memory(MemoryError::NotAttached { .. }))
        ));
        proxy.remove_ram(0, 0x2000).unwrap();
        assert!(!port.is_dead());
        proxy.detach().unwrap();
        assert!(port.is_dead());
        assert!(fake.seen().mapped.is_empty());
    }
}

/// The VMM's own eventfds, or a closure, instead of an [`Intx`]; the fake signals nothing, so the
/// test does.
#[test]
fn the_line_goes_where_the_vmm_wants_it() {
    let (fake, attached) = attach(Script::default(), PATIENT);
    let (proxy, _ports) = attached.unwrap();
    let intx = Intx::new().unwrap();
    // Nothing is wired: nothing to acknowledge.
    proxy.end_of_interrupt().unwrap();
    proxy.set_line(Line::Triggered(intx.trigger_fd())).unwrap();
    proxy.end_of_interrupt().unwrap();
    proxy.set_line(Line::Call(Box::new(|_| ()))).unwrap();
    proxy.end_of_interrupt().unwrap();
    proxy.enable_interrupt(&intx).unwrap();
    proxy.disable_interrupt().unwrap();
    proxy.detach().unwrap();
    let seen = fake.seen();
    let eventfds = seen.irq_flags.iter().filter(|flags| flags.bits() & 4 != 0);
    assert_eq!(eventfds.count(), 6);
    // The resample eventfd of the first line, to which the proxy alone has the other descriptor.
    let mut count = [0; 8];
    assert_eq!(rustix::io::read(&seen.fds[0], &mut count), Ok(8));
    assert_eq!(u64::from_ne_bytes(count), 1);
    // No line is up that the closure could lower.
    assert_eq!(
        rustix::io::read(&seen.fds[2], &mut count),
        Err(rustix::io::Errno::AGAIN)
    );
}

/// A VMM that maps memory by itself installs no mapper, and its writes that come to the proxy all
/// the same wait.
#[test]
fn a_vmm_that_maps_by_itself_has_its_writes_in_order() {
    let [_, (options, script)] = transports();
    let (fake, attached) = attach(script, options);
    let (proxy, mut ports) = attached.unwrap();
    let memory = proxy.memories();
    assert_eq!(memory[0].region(), 2);
    let port = &mut ports[0];
    let mut posted = |by| {
        proxy.map_memory(by);
        let before = port.counters();
        port.write(2, 8, &[1, 2, 3, 4]);
        let cost = port.counters().since(before);
        assert_eq!(cost.posted_writes + cost.crossings, 1);
        cost.posted_writes == 1
    };
    assert!(posted(MappedBy::Nobody));
    assert!(!posted(MappedBy::Vmm));
    assert!(posted(MappedBy::Nobody));
    proxy.detach().unwrap();
    fake.seen();
}
