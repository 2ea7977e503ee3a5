//! A device in the VMM's own process, behind the same decode and the same ports as one in another
//! process: what isolation is compared with.

use std::sync::{Arc, Mutex};

use outrigger_ring::{Access, Width};

use crate::bars::SLOTS;
use crate::config_space::{ConfigSpace, HEADER};
use crate::error::{Error, Step};
use crate::health::Health;
use crate::port::Port;
use crate::vcpu_port::{CONFIG_REGION, VcpuPort};

/// One [`VcpuPort`] for each of these ports to one device, whose regions 0 to 6 have these sizes
/// (0: none). The header of config space is read through the first port.
///
/// If a port fails later, all of them answer like those of a dead device; there is nobody to send
/// an event.
///
/// # Errors
/// There is no port, a port fails, or the device is not a PCI function with a type 0 header.
pub fn attach(ports: Vec<Box<dyn Port>>, sizes: [u64; SLOTS]) -> Result<Vec<VcpuPort>, Error> {
    const STEP: &str = "reading the device's config space";
    /// 256 bytes, all that such a device has.
    const CONFIG_SIZE: u16 = 0x100;
    let mut ports = ports;
    let Some(first) = ports.first_mut() else {
        return Err(Error::Option {
            name: "ports",
            value: 0,
            mend: "a device needs at least one port",
        });
    };
    let mut header = [0; HEADER];
    for (offset, bytes) in (0_u64..).step_by(4).zip(header.chunks_exact_mut(4)) {
        let access = Access {
            region: CONFIG_REGION,
            offset,
            width: Width::Dword,
        };
        let value = first
            .read(access)
            .map_err(|source| Error::Connection { step: STEP, source })?;
        for (byte, value) in bytes.iter_mut().zip(value.to_le_bytes()) {
            *byte = value;
        }
    }
    let config = Arc::new(Mutex::new(ConfigSpace::new(&header, sizes)?));
    let health = Arc::new(Health::new(None).step(STEP)?);
    let port = |port| {
        VcpuPort::new(
            port,
            None,
            Arc::clone(&config),
            CONFIG_SIZE,
            Arc::clone(&health),
        )
    };
    Ok(ports.into_iter().map(port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::PortError;

    /// Config space of a device with one memory BAR; everything else reads as its own offset.
    #[derive(Debug)]
    struct Plain;

    impl Port for Plain {
        fn read(&mut self, access: Access) -> Result<u64, PortError> {
            Ok(match (access.region, access.offset) {
                (CONFIG_REGION, 0) => 0x12_1000,
                (CONFIG_REGION, _) => 0,
                (_, offset) => offset,
            })
        }

        fn post(&mut self, _: Access, _: u64) -> Result<(), PortError> {
            Err(PortError::PeerGone)
        }

        fn write(&mut self, _: Access, _: u64) -> Result<(), PortError> {
            Ok(())
        }
    }

    #[test]
    fn ports_share_one_decode() {
        let mut ports = attach(
            vec![Box::new(Plain), Box::new(Plain)],
            [0x100, 0, 0, 0, 0, 0, 0],
        )
        .unwrap();
        ports[0].config_write(0x10, Width::Dword, 0xfeb0_0000);
        ports[0].config_write(0x04, Width::Word, 2);
        let mut data = [0; 2];
        assert!(ports[1].mmio_read(0xfeb0_0040, &mut data));
        assert_eq!(data, [0x40, 0]);
        assert_eq!(ports[1].config_read(0, Width::Dword), 0x12_1000);
        assert!(ports[1].mmio_write(0xfeb0_0040, &data));
        assert!(ports[0].is_dead());
        assert!(matches!(
            attach(Vec::new(), [0; SLOTS]),
            Err(Error::Option { .. })
        ));
    }
}
