//! A bench with an IDE controller on it, and a driver that is as careful as the best.

use trine_guest::Gpa;

use super::{AtaDrive, Piix3Ide};
pub(super) use crate::disk::samples::{LATENCY_NS, Scratched, numbered, numbers};
use crate::{Bench, Disk, PciFunction, Ports, Timed};

/// Status bits.
pub(super) const BSY: u8 = 0x80;
pub(super) const DRQ: u8 = 0x08;
pub(super) const ERR: u8 = 0x01;

pub(super) struct Rig {
    pub(super) bench: Bench,
    pub(super) ide: Piix3Ide,
    /// The first register of the channel in use.
    pub(super) base: u16,
}

impl Rig {
    /// Drives on the primary channel.
    pub(super) fn new(drives: [Option<AtaDrive>; 2]) -> Self {
        let bench = Bench::new();
        let lines = [bench.backplane.line(14), bench.backplane.line(15)];
        let mut ide = Piix3Ide::new(lines, [drives, [None, None]]);
        Piix3Ide::enable(ide.config_mut());
        Self { bench, ide, base: Piix3Ide::PRIMARY }
    }

    /// One disk.
    pub(super) fn disk(disk: impl Disk + 'static) -> Self {
        Self::new([Some(AtaDrive::disk(Box::new(disk))), None])
    }

    pub(super) fn out(&mut self, register: u16, value: u8) {
        self.bench.port_out(&mut self.ide, self.base + register, value);
    }

    pub(super) fn read(&mut self, register: u16) -> u8 {
        self.bench.port_in::<1>(&mut self.ide, self.base + register)[0]
    }

    /// Alternate Status.
    pub(super) fn status(&mut self) -> u8 {
        self.read(Piix3Ide::PRIMARY_CONTROL)
    }

    /// INTRQ since the last call; Status is read then.
    pub(super) fn interrupt(&mut self) -> bool {
        let risen = self
            .bench
            .said()
            .iter()
            .any(|signal| matches!(signal, crate::Signal::Level { wire: 14, level: true }));
        if risen {
            self.read(7);
        }
        risen
    }

    /// Lets the disk answer; fails if it never does.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.ide.next_event().is_none() {
                return;
            }
            self.bench.run_ns(&mut self.ide, LATENCY_NS);
        }
        panic!("the drive stays busy");
    }

    /// Features, count, low, mid, high and device, as 28-bit commands have them; then the command.
    pub(super) fn command(&mut self, opcode: u8, registers: [u8; 6]) {
        for (register, value) in [6, 1, 2, 3, 4, 5].into_iter().zip([
            registers[5],
            registers[0],
            registers[1],
            registers[2],
            registers[3],
            registers[4],
        ]) {
            self.out(register, value);
        }
        self.out(7, opcode);
    }

    /// A command about `count` sectors from `sector` on, with 28 bits of address.
    pub(super) fn lba28(&mut self, opcode: u8, sector: u32, count: u8) {
        let [low, mid, high, top] = sector.to_le_bytes();
        self.command(opcode, [0, count, low, mid, high, 0xe0 | top]);
    }

    /// The same with 48 bits: the upper bytes go first.
    pub(super) fn lba48(&mut self, opcode: u8, sector: u64, count: u16) {
        let [a, b, c, d, e, f, ..] = sector.to_le_bytes();
        let [count, more] = count.to_le_bytes();
        for (register, value) in [(6, 0xe0), (2, more), (3, d), (4, e), (5, f)] {
            self.out(register, value);
        }
        self.command(opcode, [0, count, a, b, c, 0xe0]);
    }

    /// Reads `len` bytes from the Data register, 4 at a time.
    pub(super) fn data(&mut self, len: usize) -> Vec<u8> {
        (0..len / 4).flat_map(|_| self.bench.port_in::<4>(&mut self.ide, self.base)).collect()
    }

    /// Writes to the Data register, 2 bytes at a time.
    pub(super) fn put(&mut self, data: &[u8]) {
        for word in data.chunks(2) {
            self.bench.with(|cx| self.ide.port_out(cx, self.base, word));
        }
    }

    /// Reads all blocks of a PIO command, each of `block` bytes; returns how many there were too.
    pub(super) fn pio_in(&mut self, block: usize) -> (Vec<u8>, u32) {
        let (mut data, mut blocks) = (Vec::new(), 0);
        loop {
            self.settle();
            if self.status() & DRQ == 0 {
                return (data, blocks);
            }
            assert!(self.interrupt(), "an interrupt for each block");
            data.extend(self.data(block));
            blocks += 1;
        }
    }

    // The bus master

    pub(super) fn master_out(&mut self, offset: u64, data: &[u8]) {
        self.bench.with(|cx| self.ide.bar_write(cx, 4, offset, data));
    }

    pub(super) fn master_status(&mut self) -> u8 {
        let mut status = [0xff];
        self.bench.with(|cx| self.ide.bar_read(cx, 4, 2, &mut status));
        status[0]
    }

    /// A table at 1000h with these regions, the last of them marked, and the bus master started.
    pub(super) fn start_dma(&mut self, is_to_memory: bool, regions: &[(u32, u16)]) {
        for (n, (at, len)) in regions.iter().enumerate() {
            let end = if n + 1 == regions.len() { 1 << 31 } else { 0 };
            let entry = [at.to_le_bytes(), (u32::from(*len) | end).to_le_bytes()].concat();
            self.bench.ram.write(Gpa(0x1000 + 8 * n as u64), &entry).expect("RAM");
        }
        self.master_out(0, &[0]);
        self.master_out(4, &0x1000_u32.to_le_bytes());
        self.master_out(2, &[0x06]);
        self.master_out(0, &[if is_to_memory { 0x09 } else { 0x01 }]);
    }

    pub(super) fn ram(&self, at: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.bench.ram.read(Gpa(at), &mut data).expect("RAM");
        data
    }
}
