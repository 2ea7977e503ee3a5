//! Step 2, decode: the PCI host bridge, configuration mechanism 1 (PCI 3.0, section 3.2.2.3.2).
//!
//! Bus 0 has two functions: the bridge itself at 00:00.0 and the device at 00:01.0.

use std::sync::atomic::{AtomicU32, Ordering};

use outrigger_proxy::Width;

use outrigger_proxy::VcpuPort;

const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
const CONFIG_DATA_LAST: u16 = 0xcff;
const ENABLE: u32 = 1 << 31;

/// The two ports, which all vCPUs share. As on a real machine, a guest must keep its vCPUs from using them at
/// the same time.
#[derive(Debug, Default)]
pub(crate) struct HostBridge {
    address: AtomicU32,
}

/// Which function CONFIG_ADDRESS names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Bridge,
    Device,
    None,
}

impl HostBridge {
    /// A read of one of the ports; `None` if `port` is none of them, else whether it went to the device.
    pub(super) fn read(&self, device: &mut VcpuPort, port: u16, data: &mut [u8]) -> Option<bool> {
        let (function, offset, width) = match self.decode(port, data.len())? {
            Cycle::Address => {
                data.copy_from_slice(&self.address.load(Ordering::Relaxed).to_le_bytes());
                return Some(false);
            }
            Cycle::Nothing => return Some(false),
            Cycle::Config(function, offset, width) => (function, offset, width),
        };
        let value = match function {
            Function::Device => device.config_read(offset, width),
            Function::Bridge => identity(offset, width),
            Function::None => return Some(false),
        };
        data.iter_mut()
            .zip(value.to_le_bytes())
            .for_each(|(to, from)| *to = from);
        Some(function == Function::Device)
    }

    /// A write to one of the ports; `None` if `port` is none of them, else whether it went to the device.
    pub(super) fn write(&self, device: &mut VcpuPort, port: u16, data: &[u8]) -> Option<bool> {
        let mut bytes = [0; 8];
        bytes
            .iter_mut()
            .zip(data)
            .for_each(|(to, from)| *to = *from);
        let value = u64::from_le_bytes(bytes);
        match self.decode(port, data.len())? {
            Cycle::Address => {
                let [a, b, c, d, ..] = bytes;
                self.address
                    .store(u32::from_le_bytes([a, b, c, d]), Ordering::Relaxed);
            }
            Cycle::Config(Function::Device, offset, width) => {
                device.config_write(offset, width, value);
                return Some(true);
            }
            Cycle::Config(..) | Cycle::Nothing => {}
        }
        Some(false)
    }

    fn decode(&self, port: u16, len: usize) -> Option<Cycle> {
        match port {
            // Only a double word is the address; other widths are ordinary port accesses that nothing decodes.
            CONFIG_ADDRESS => Some(if len == 4 {
                Cycle::Address
            } else {
                Cycle::Nothing
            }),
            CONFIG_DATA..=CONFIG_DATA_LAST => {
                let address = self.address.load(Ordering::Relaxed);
                let within = port - CONFIG_DATA;
                let width = u64::try_from(len).ok().and_then(Width::from_bytes);
                let Some(width) = width.filter(|width| within + u16::from(width.bytes()) <= 4)
                else {
                    return Some(Cycle::Nothing);
                };
                if address & ENABLE == 0 {
                    return Some(Cycle::Nothing);
                }
                let [register, function, bus, _] = address.to_le_bytes();
                let function = match (bus, function) {
                    (0, 0x00) => Function::Bridge,
                    (0, 0x08) => Function::Device,
                    _ => Function::None,
                };
                Some(Cycle::Config(
                    function,
                    u16::from(register & 0xfc) + within,
                    width,
                ))
            }
            _ => None,
        }
    }
}

/// What an access to the ports is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cycle {
    Address,
    Config(Function, u16, Width),
    Nothing,
}

/// The bridge's own config space: the IDs of an Intel 82441FX, class 0600, and else zeroes.
fn identity(offset: u16, width: Width) -> u64 {
    let mut header = [0_u8; 16];
    header[..4].copy_from_slice(&[0x86, 0x80, 0x37, 0x12]);
    header[0x0b] = 0x06;
    let mut value = [0; 8];
    for (to, at) in value
        .iter_mut()
        .zip(offset..offset + u16::from(width.bytes()))
    {
        *to = header.get(usize::from(at)).copied().unwrap_or(0);
    }
    u64::from_le_bytes(value)
}
