//! Emulators that misbehave: the attempt ends, whatever they do and whenever.

use outrigger_vfio_user::{AccessEntry, DeviceFlags, Treatment};
use proptest::prelude::*;

use super::*;

/// Requests of [`use_it_all`] against a well-behaved emulator: an upper bound for where to put a
/// fault.
fn requests(options: ProxyOptions, script: &Script) -> usize {
    let (fake, socket) = FakeEmulator::start(script.clone());
    use_it_all(socket, options).unwrap();
    fake.seen().requests
}

/// Runs [`use_it_all`] once for each request, transport and fault, with the fault at that request.
fn use_it_all_with(faults: &[Fault], deadline: Duration, check: impl Fn(Result<(), Error>, &str)) {
    for (options, script) in transports() {
        for step in 0..requests(options, &script) {
            for fault in faults {
                let (fake, socket) = FakeEmulator::start(Script {
                    fault: Some((step, fault.clone())),
                    ..script.clone()
                });
                let result = use_it_all(
                    socket,
                    ProxyOptions {
                        deadline,
                        ..options
                    },
                );
                fake.seen();
                check(
                    result,
                    &format!("{fault:?} at {step} over {:?}", options.transport),
                );
            }
        }
    }
}

#[test]
fn faults_end_the_connection_wherever_they_strike() {
    let faults = [
        Fault::WrongId,
        Fault::WrongCommand,
        Fault::CommandInstead,
        Fault::CutOff,
        Fault::Huge,
        Fault::Tiny,
        Fault::NoErrno,
        Fault::Fds(2),
        Fault::Fds(16),
        Fault::Fds(20),
        Fault::HangUp,
    ];
    use_it_all_with(&faults, PATIENT.deadline, |result, what| {
        assert!(result.is_err(), "{what} was not noticed");
    });
}

#[test]
fn silence_ends_with_the_deadline() {
    let options = ProxyOptions {
        deadline: Duration::from_millis(20),
        ..PATIENT
    };
    // Not always an error: a posted write misses no reply.
    use_it_all_with(&[Fault::Silence], options.deadline, |_, _| {});
    let (_fake, attached) = attach(Script::with_fault(0, Fault::Silence), options);
    assert!(matches!(
        attached,
        Err(Error::Connection {
            source: crate::port::PortError::TimedOut,
            ..
        })
    ));
}

#[test]
fn refusals_and_odd_lengths_do_not_harm() {
    let faults = [
        Fault::Refuse(22),
        Fault::Refuse(u32::MAX),
        Fault::Short,
        Fault::Long,
        Fault::Payload(vec![]),
    ];
    use_it_all_with(&faults, PATIENT.deadline, |_, _| {});
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4 * 3))]

    #[test]
    fn any_payload_at_any_step_is_survived(
        step in 0_usize..40,
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        raw in any::<bool>(),
    ) {
        let fault = if raw { Fault::Raw(payload) } else { Fault::Payload(payload) };
        let (fake, socket) = FakeEmulator::start(Script::with_fault(step, fault));
        // Raw bytes may announce more than comes.
        let _ = use_it_all(socket, ProxyOptions { deadline: Duration::from_millis(20), ..PATIENT });
        fake.seen();
    }

    #[test]
    fn any_description_is_survived(
        sizes in proptest::array::uniform9(prop_oneof![Just(0), (0_u32..64).prop_map(|bit| 1 << bit), any::<u64>()]),
        header in proptest::array::uniform32(any::<u8>()),
        regions in 0_u32..9,
        config in prop_oneof![Just(0x100_u64), Just(0x1000), any::<u64>()],
    ) {
        let mut script = Script { sizes, regions: regions + 1, ..Script::default() };
        script.header[0x0e..0x2e].copy_from_slice(&header);
        script.header[0x0e] &= 0x81;
        script.sizes[7] = config;
        let (fake, socket) = FakeEmulator::start(script);
        let _ = use_it_all_loosely(socket);
        fake.seen();
    }
}

/// Attaches and reads, for devices whose BARs may be anywhere.
fn use_it_all_loosely(socket: OwnedFd) -> Result<(), Error> {
    let (proxy, mut ports) = Proxy::connect(Endpoint::Socket(socket), PATIENT)?;
    place_bars(&mut ports[0]);
    let mut data = [0; 8];
    let _ = ports[0].mmio_read(0xfeb0_0000, &mut data);
    let _ = ports[0].pio_read(0xc000, &mut data[..4]);
    proxy.detach()
}

#[test]
fn impossible_devices_are_refused() {
    type Edit = fn(&mut Script);
    let edits: [(&str, Edit); 9] = [
        ("no PCI device", |script| script.flags = DeviceFlags::RESET),
        ("no config space", |script| script.regions = 7),
        ("256 or 4096", |script| script.sizes[7] = 0x80),
        ("no power of two", |script| script.sizes[1] = 0x300),
        ("no power of two", |script| script.sizes[2] = 1 << 40),
        ("reserved type", |script| script.header[0x14] = 2),
        ("64-bit BAR", |script| script.header[0x14] = 4),
        ("not type 0", |script| script.header[0x0e] = 1),
        ("speaks vfio-user 0.2", |script| script.minor = 2),
    ];
    for (reason, edit) in edits {
        let mut script = Script::default();
        edit(&mut script);
        let (fake, attached) = attach(script, PATIENT);
        let error = attached.unwrap_err();
        assert!(error.to_string().contains(reason), "{error} for {reason}");
        fake.seen();
    }
}

/// An access map that cannot be is why the attempt ends, and is named.
#[test]
fn impossible_access_maps_are_refused_at_attach() {
    let memory = |region, offset, size, descriptor| AccessEntry {
        region,
        offset,
        size,
        treatment: Treatment::Memory { descriptor },
    };
    for (reason, entries) in [
        ("not within", vec![memory(2, 0, 0x4000, 0)]),
        ("not within", vec![memory(2, 0, 0, 0)]),
        ("overlap", vec![memory(2, 0, 0x2000, 0); 2]),
        ("no memory BAR", vec![memory(0, 0, 0x100, 0)]),
        ("whole pages", vec![memory(1, 0, 0x400, 0)]),
        ("descriptor", vec![memory(2, 0, 0x2000, 1)]),
        ("another size", vec![memory(2, 0, 0x1000, 0)]),
        ("descriptors that no entry names", vec![]),
        (
            "more than 64",
            (0..65)
                .map(|at| AccessEntry {
                    treatment: Treatment::Other {
                        kind: 9,
                        words: [0; 2],
                    },
                    ..memory(1, at, 1, 0)
                })
                .collect(),
        ),
    ] {
        let (options, script) = transports()[1].clone();
        let script = Script {
            access_map: Some(entries),
            ..script
        };
        let (fake, attached) = attach(script, options);
        let error = attached.unwrap_err();
        assert!(matches!(error, Error::AccessMap(_)), "{error:?}");
        assert!(error.to_string().contains(reason), "{error} for {reason}");
        fake.seen();
    }
}
