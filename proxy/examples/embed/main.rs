//! A VMM that has its device in another process: rust-vmm's crates, one vCPU, and the proxy between them.
//!
//! ```text
//! cargo build -p outrigger-emulator
//! cargo run -p outrigger-proxy --example embed -- target/debug/outrigger-emulator
//! ```
//!
//! The guest is a dozen instructions in real mode. It reads a register of the chip through each of its two register BARs, and
//! stores a byte in SCRIPTS RAM. A real VMM differs in having more of everything; what it does with
//! the proxy is this.

use std::error::Error;

use kvm_ioctls::{Kvm, VcpuExit, VcpuFd};
use outrigger_proxy::{
    EmulatorCommand, Intx, MappedBy, Proxy, ProxyOptions, VcpuPort, Width, guest_memory,
};
use vm_memory::{Bytes, GuestAddress};

mod sys;

use sys::Machine;

/// RAM ends here; the BARs are above, where real mode reaches them.
const RAM: u64 = 0x8_0000;
/// BAR 0: the registers as ports.
const PORTS: u16 = 0xc000;
/// BAR 1: the registers in memory.
const REGISTERS: u64 = 0xd_0000;
/// BAR 2: SCRIPTS RAM.
const SCRIPTS_RAM: u64 = 0xc_0000;
/// The interrupt line that INTA is wired to.
const LINE: u32 = 11;

/// The guest prints a byte by writing it to this port, and ends by writing to the next.
const PRINT: u16 = 0xf4;
const END: u16 = 0xf5;

/// The guest, at 0x1000.
const PROGRAM: [u8; 29] = [
    0xb8, 0x00, 0xd0, // mov ax, 0xd000
    0x8e, 0xd8, // mov ds, ax
    0xa0, 0x14, 0x00, // mov al, [0x14]        ISTAT0, in BAR 1
    0xe6, 0xf4, // out PRINT, al
    0xb8, 0x00, 0xc0, // mov ax, 0xc000
    0x8e, 0xd8, // mov ds, ax
    0xc6, 0x06, 0x10, 0x00, 0x5a, // mov byte [0x10], 0x5a   in BAR 2
    0xba, 0x00, 0xc0, // mov dx, PORTS
    0xec, // in al, dx             SCNTL0, in BAR 0
    0xe6, 0xf4, // out PRINT, al
    0xe6, 0xf5, // out END, al
    0xf4, // hlt
];

/// What the guest's exits came to.
#[derive(Debug, Default)]
struct Exits {
    memory: u32,
    port: u32,
    printed: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let program = std::env::args().nth(1);
    let program = program.ok_or("usage: embed path/to/outrigger-emulator")?;

    // 1. Guest RAM that the emulator can map: `GuestMemoryMmap`, each region backed by a shared file.
    let memory = guest_memory::allocate(&[(0, RAM)])?;
    memory.write_slice(&PROGRAM, GuestAddress(0x1000))?;

    // 2. The virtual machine, with that RAM and the interrupt controllers.
    let machine = Machine::new(&Kvm::new()?, &memory)?;

    // 3. The device: a process, and a port for each vCPU. It gets the RAM for its DMA.
    let command = EmulatorCommand::new(program, "lsi0").args(["--device", "lsi53c895a,id=lsi0"]);
    let (proxy, ports) = Proxy::spawn(command, ProxyOptions::default())?;
    proxy.attach_memory(&memory)?;

    // 4. Its interrupt goes from the emulator into KVM; the VMM is not asked.
    let intx = Intx::new()?;
    machine
        .vm()
        .register_irqfd_with_resample(intx.trigger(), intx.resample(), LINE)?;
    proxy.enable_interrupt(&intx)?;

    // 5. Its memory becomes memory of the guest, wherever the guest puts it.
    proxy.map_memory(MappedBy::Mapper(Box::new(machine.slots())));

    // 6. The vCPU's loop. Firmware would place the BARs; here it is done for the guest.
    let [mut port] = <[VcpuPort; 1]>::try_from(ports).map_err(|_| "one vCPU, one port")?;
    place_bars(&mut port);
    let mut vcpu = machine.vcpu(0x1000)?;
    let exits = run(&mut vcpu, &mut port)?;

    // 7. In a VMM's event loop, when `proxy.event_fd()` is readable: the device has died.
    if let Some(event) = proxy.take_event() {
        return Err(format!("the device is gone: {event:?}").into());
    }

    let mut byte = [0];
    let decoded = port.mmio_read(SCRIPTS_RAM + 0x10, &mut byte);
    println!("printed: {:02x?}", exits.printed);
    println!("exits: {} to memory, {} to ports", exits.memory, exits.port);
    println!("SCRIPTS RAM as the emulator has it: {decoded} {byte:02x?}");
    println!("crossings: {}", port.counters().crossings);
    proxy.detach()?;
    Ok(())
}

/// What firmware does: addresses into the BARs, then decoding and bus mastering on.
fn place_bars(port: &mut VcpuPort) {
    port.config_write(0x10, Width::Dword, PORTS.into());
    port.config_write(0x14, Width::Dword, REGISTERS);
    port.config_write(0x18, Width::Dword, SCRIPTS_RAM);
    port.config_write(0x04, Width::Word, 0x7);
}

/// Until the guest ends. An address that the device does not decode is the next device's, here nobody's: reads give all ones.
fn run(vcpu: &mut VcpuFd, port: &mut VcpuPort) -> Result<Exits, Box<dyn Error>> {
    let mut exits = Exits::default();
    loop {
        match vcpu.run() {
            Ok(VcpuExit::MmioRead(address, data)) => {
                exits.memory += 1;
                if !port.mmio_read(address, data) {
                    data.fill(0xff);
                }
            }
            Ok(VcpuExit::MmioWrite(address, data)) => {
                exits.memory += 1;
                let _ = port.mmio_write(address, data);
            }
            Ok(VcpuExit::IoIn(at, data)) => {
                exits.port += 1;
                if !port.pio_read(at, data) {
                    data.fill(0xff);
                }
            }
            Ok(VcpuExit::IoOut(PRINT, data)) => exits.printed.extend_from_slice(data),
            Ok(VcpuExit::IoOut(END, _)) => return Ok(exits),
            Ok(VcpuExit::IoOut(at, data)) => {
                exits.port += 1;
                let _ = port.pio_write(at, data);
            }
            // A signal of this process.
            Err(error) if error.errno() == libc::EINTR => {}
            Ok(other) => return Err(format!("{other:?}").into()),
            Err(error) => return Err(error.into()),
        }
    }
}
