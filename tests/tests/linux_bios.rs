//! SeaBIOS, with a driver of its own for the controller, boots from a disk behind an unmodified QEMU's vfio-user client.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use outrigger_tests::emulator::Chip;
use outrigger_tests::guest::{Board, Emulator, Kit, Machine};

/// Real-mode code at 0x7c00: reads 64 sectors from sector 1 on with one int 13h (AH=42h), and prints the text that the last of
/// them begins with on the first serial port.
const CODE: [u8; 0x35] = [
    0xfa, // cli
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0x8e, 0xc0, // mov es, ax
    0x8e, 0xd0, // mov ss, ax
    0xbc, 0x00, 0x7c, // mov sp, 0x7c00
    0xfb, // sti
    0xbe, 0x40, 0x7c, // mov si, PACKET
    0xb4, 0x42, // mov ah, 0x42
    0xcd, 0x13, // int 0x13
    0xbe, 0x00, 0xfe, // mov si, 0xfe00: the last sector
    0x73, 0x03, // jnc print
    0xbe, 0x50, 0x7c, // mov si, FAILURE
    0xac, // print: lodsb
    0x84, 0xc0, // test al, al
    0x74, 0x11, // jz halt
    0x88, 0xc4, // mov ah, al
    0xba, 0xfd, 0x03, // mov dx, 0x3fd
    0xec, // wait: in al, dx
    0xa8, 0x20, // test al, 0x20: room for a byte
    0x74, 0xfb, // jz wait
    0x88, 0xe0, // mov al, ah
    0xb2, 0xf8, // mov dl, 0xf8
    0xee, // out dx, al
    0xeb, 0xea, // jmp print
    0xf4, // halt: hlt
    0xeb, 0xfd, // jmp halt
];
const PACKET: usize = 0x40;
const FAILURE: usize = 0x50;
const SECTORS: u8 = 64;

fn boot_sector() -> [u8; 512] {
    let mut sector = [0; 512];
    sector[..CODE.len()].copy_from_slice(&CODE);
    // Size, sectors, to 0000:8000, from sector 1.
    let packet = [16, 0, SECTORS, 0, 0x00, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    sector[PACKET..][..packet.len()].copy_from_slice(&packet);
    let failure = b"int 13h has failed\r\n\0";
    sector[FAILURE..][..failure.len()].copy_from_slice(failure);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

fn boots(board: Board) {
    let kit = Kit::open().unwrap();
    let place = tempfile::tempdir().unwrap();
    let text = |chip| format!("this is sector {SECTORS}, read on {board} from the {chip}");
    // SeaBIOS knows no 53C810: whatever comes first, it boots from the other.
    let emulators = [Chip::Lsi53c810, Chip::Lsi53c895a].map(|chip| {
        let path = place.path().join(format!("{chip}.img"));
        let disk = File::create(&path).unwrap();
        disk.set_len(16 << 20).unwrap();
        disk.write_all_at(&boot_sector(), 0).unwrap();
        let sector = format!("{}\r\n\0", text(chip));
        disk.write_all_at(sector.as_bytes(), u64::from(SECTORS) * 512)
            .unwrap();
        Emulator::with_chip(chip, &[&path], true).unwrap()
    });
    let mut machine = Machine::new(board, 1);
    for emulator in &emulators {
        machine = machine.vfio_user(&emulator.socket());
    }
    let mut running = machine.boot(&kit).unwrap();
    running.wait_for(&text(Chip::Lsi53c895a)).unwrap();
    for emulator in &emulators {
        assert_eq!(emulator.log(), "", "the emulator has complained");
    }
}

#[test]
fn seabios_boots_on_pc() {
    boots(Board::Pc);
}

#[test]
fn seabios_boots_on_q35() {
    boots(Board::Q35);
}
