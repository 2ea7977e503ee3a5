//! The chip's registers that the driver and its SCRIPTS use (53C895A technical manual, section 4.3).

/// SCSI Control 0.
pub const SCNTL0: u8 = 0x00;
/// SCSI Control 2.
pub const SCNTL2: u8 = 0x02;
/// SCSI Chip ID.
pub const SCID: u8 = 0x04;
/// SCSI First Byte Received.
pub const SFBR: u8 = 0x08;
/// DMA Status.
pub const DSTAT: u8 = 0x0c;
/// Data Structure Address.
pub const DSA: u8 = 0x10;
/// Interrupt Status 0.
pub const ISTAT0: u8 = 0x14;
/// Chip Test 2; reading it clears ISTAT0.SIGP.
pub const CTEST2: u8 = 0x1a;
/// Temporary; RETURN jumps to it.
pub const TEMP: u8 = 0x1c;
/// DMA SCRIPTS Pointer; writing it starts the SCRIPTS processor.
pub const DSP: u8 = 0x2c;
/// DMA SCRIPTS Pointer Save; an INT instruction's code.
pub const DSPS: u8 = 0x30;
/// Scratch Register A.
pub const SCRATCHA: u8 = 0x34;
/// DMA Mode.
pub const DMODE: u8 = 0x38;
/// DMA Interrupt Enable.
pub const DIEN: u8 = 0x39;
/// DMA Control.
pub const DCNTL: u8 = 0x3b;
/// SCSI Interrupt Enable 0.
pub const SIEN0: u8 = 0x40;
/// SCSI Interrupt Enable 1.
pub const SIEN1: u8 = 0x41;
/// SCSI Interrupt Status 0.
pub const SIST0: u8 = 0x42;
/// SCSI Interrupt Status 1.
pub const SIST1: u8 = 0x43;
/// SCSI Timer 0.
pub const STIME0: u8 = 0x48;
/// Response ID 0.
pub const RESPID0: u8 = 0x4a;
/// SCSI Test 3.
pub const STEST3: u8 = 0x4f;
/// SCSI Input Data Latch.
pub const SIDL: u8 = 0x50;
/// Chip Control 0.
pub const CCNTL0: u8 = 0x56;
/// Scratch Register B.
pub const SCRATCHB: u8 = 0x5c;
/// Phase Mismatch Jump Address 1.
pub const PMJAD1: u8 = 0xc0;
/// Phase Mismatch Jump Address 2.
pub const PMJAD2: u8 = 0xc4;
/// Remaining Byte Count.
pub const RBC: u8 = 0xc8;
/// Updated Address.
pub const UA: u8 = 0xcc;
/// Entry Storage Address.
pub const ESA: u8 = 0xd0;
/// Instruction Address.
pub const IA: u8 = 0xd4;

/// Bits of [`ISTAT0`].
pub mod istat0 {
    /// A DMA interrupt is pending: read DSTAT.
    pub const DIP: u8 = 0x01;
    /// A SCSI interrupt is pending: read SIST0 and SIST1.
    pub const SIP: u8 = 0x02;
    /// An INTFLY was executed; written as 1 it is cleared.
    pub const INTF: u8 = 0x04;
    /// Signal Process: the driver has work for the SCRIPTS.
    pub const SIGP: u8 = 0x20;
    /// Software Reset.
    pub const SRST: u8 = 0x40;
}

/// Selection or reselection time-out, in [`SIST1`].
pub const SIST1_STO: u8 = 0x04;
