//! A device process that is asked to end while a guest of an unmodified QEMU keeps it busy: QEMU goes on.
//!
//! The guest needs no operating system: the code that SeaBIOS boots writes to the device without end, and QEMU does not wait for
//! such writes. So at each moment some are in the socket that nobody has read.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use outrigger_tests::emulator::Emulator;
use outrigger_tests::guest::{Board, Kit, Machine};
use outrigger_tests::place::Place;

/// Code at 0x7c00, which looks for the controller on bus 0, says so, and then writes to SCRATCHA through BAR 1.
const CODE: [u8; 0x60] = [
    0xfa, // cli
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0x0f, 0x01, 0x16, 0x98, 0x7c, // lgdt [GDTR]
    0x0f, 0x20, 0xc0, // mov eax, cr0
    0x0c, 0x01, // or al, 1
    0x0f, 0x22, 0xc0, // mov cr0, eax
    0xea, 0x17, 0x7c, 0x08, 0x00, // jmp 8:protected
    0x66, 0xb8, 0x10, 0x00, // protected: mov ax, 0x10
    0x8e, 0xd8, // mov ds, ax
    0xbb, 0x00, 0x00, 0x00, 0x80, // mov ebx, 0x80000000
    0x89, 0xd8, // scan: mov eax, ebx
    0xba, 0xf8, 0x0c, 0x00, 0x00, // mov edx, 0xcf8
    0xef, // out dx, eax
    0xb2, 0xfc, // mov dl, 0xfc
    0xed, // in eax, dx
    0x3d, 0x00, 0x10, 0x12, 0x00, // cmp eax, 0x00121000
    0x74, 0x08, // je found
    0x81, 0xc3, 0x00, 0x08, 0x00, 0x00, // add ebx, 0x800
    0xeb, 0xe6, // jmp scan
    0x8d, 0x43, 0x14, // found: lea eax, [ebx + 0x14]
    0xb2, 0xf8, // mov dl, 0xf8
    0xef, // out dx, eax
    0xb2, 0xfc, // mov dl, 0xfc
    0xed, // in eax, dx
    0x24, 0xf0, // and al, 0xf0
    0x89, 0xc6, // mov esi, eax
    0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xb0, b'R', // mov al, 'R'
    0xee, // out dx, al
    0xb0, b'\n', // mov al, '\n'
    0xee,  // out dx, al
    0x89, 0x46, 0x34, // write: mov [esi + 0x34], eax
    0x40, // inc eax
    0xa8, 0x3f, // test al, 0x3f
    0x75, 0xf8, // jnz write
    0x8b, 0x56, 0x34, // READ: mov edx, [esi + 0x34]
    0xeb, 0xf3, // jmp write
];
const READ: usize = 0x5b;
const GDT: [[u8; 8]; 3] = [
    [0; 8],
    [0xff, 0xff, 0, 0, 0, 0x9a, 0xcf, 0],
    [0xff, 0xff, 0, 0, 0, 0x92, 0xcf, 0],
];
/// Limit and address of the table, which is at 0x7c80.
const GDTR: [u8; 6] = [0x17, 0, 0x80, 0x7c, 0, 0];

/// A boot sector with the code, which reads back now and then, or never.
fn boot_sector(reads: bool) -> [u8; 512] {
    let mut sector = [0; 512];
    sector[..CODE.len()].copy_from_slice(&CODE);
    if !reads {
        // Three times nop.
        sector[READ..READ + 3].fill(0x90);
    }
    sector[0x80..0x98].copy_from_slice(GDT.as_flattened());
    sector[0x98..0x9e].copy_from_slice(&GDTR);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// Asks QEMU's monitor how the machine is doing.
fn status(monitor: &Path) -> String {
    let mut socket = UnixStream::connect(monitor).expect("a monitor");
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
    for command in ["qmp_capabilities", "query-status"] {
        writeln!(socket, "{{\"execute\":\"{command}\"}}").expect("QEMU lives");
    }
    let answer = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("\"running\"")));
    answer.expect("an answer").expect("an answer")
}

/// Twenty times: half of them with nothing but writes.
#[test]
fn qemu_survives_the_end_of_a_busy_device() {
    let kit = Kit::open().unwrap();
    for round in 0..20 {
        let place = Place::new();
        let image = place.image("disk.img", &[0; 1 << 20]);
        let disk = File::options().write(true).open(&image.path).unwrap();
        disk.write_all_at(&boot_sector(round % 2 == 0), 0).unwrap();
        let (emulator, socket) = Emulator::listening(&place, &[image]);
        let monitor = place.path("qmp");
        let qmp = format!("unix:{},server=on,wait=off", monitor.display());
        let mut machine = Machine::new(Board::Pc, 1)
            .vfio_user(&socket)
            .arguments(["-qmp".to_owned(), qmp])
            .boot(&kit)
            .unwrap();
        machine.wait_for("R").unwrap();
        emulator.terminate();
        let status = status(&monitor);
        assert!(
            status.contains("\"status\": \"running\""),
            "round {round}: {status}\n{}",
            machine.complaints()
        );
    }
}
