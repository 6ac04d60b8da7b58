//! The controller with an 8237, against the datasheet and against what Linux's floppy driver and
//! BIOSes do.

use trine_guest::Gpa;

use super::*;
use crate::{
    Bench, I8237, Inputs, RamDisk, Signal,
    disk::samples,
    stress::{Driven, Random, drive},
};

const IRQ: u32 = 6;
const DREQ: u32 = 2;
/// A turn of a disk in a drive that is no faster than a real one.
const TURN_NS: u64 = 200_000_000;

/// A disk of so many sectors, each of which starts with its number.
fn numbered(sectors: u32) -> Option<Box<dyn Disk>> {
    Some(Box::new(samples::numbered(sectors)))
}

/// Controller, DMA, and the wires between them.
struct Pc {
    bench: Bench,
    fdc: I82077,
    dma: I8237,
    irqs: u32,
}

impl Pc {
    fn cold(media: [Option<Box<dyn Disk>>; 2]) -> Self {
        let bench = Bench::new();
        let lines = [IRQ, DREQ].map(|wire| bench.backplane.line(wire));
        let [irq, dreq] = lines;
        let fdc = I82077::new(irq, dreq, media, 1);
        let mut pc = Self { bench, fdc, dma: I8237::new(), irqs: 0 };
        for (reg, value) in [(0x36, 0xc0), (0x34, 0x00)] {
            pc.bench.port_out(&mut pc.dma, reg, value);
        }
        pc
    }

    /// As a BIOS: reset, four drives polled, SPECIFY, 500 kbit/s, motor 0 on, head at cylinder 0.
    fn new(disk: Option<Box<dyn Disk>>) -> Self {
        let mut pc = Self::cold([disk, None]);
        pc.out(I82077::DOR, 0x1c);
        pc.run(1_000_000);
        assert_eq!(pc.take_irqs(), 1);
        for drive in 0..4 {
            assert_eq!(pc.command(&[0x08], 2), [0xc0 | drive, 0]);
        }
        pc.out(I82077::DIR, 0);
        pc.command(&[0x03, 0xdf, 0x02], 0);
        pc.command(&[0x07, 0], 0);
        pc.run(TURN_NS);
        assert_eq!(pc.command(&[0x08], 2), [0x20, 0]);
        pc.take_irqs();
        pc
    }

    fn out(&mut self, reg: u16, value: u8) {
        self.bench.port_out(&mut self.fdc, reg, value);
        self.carry();
    }

    fn read(&mut self, reg: u16) -> u8 {
        let byte = self.bench.port_in::<1>(&mut self.fdc, reg)[0];
        self.carry();
        byte
    }

    /// What the board does with what was said.
    fn carry(&mut self) {
        loop {
            for signal in self.bench.said() {
                match signal {
                    Signal::Level { wire: DREQ, level } => {
                        self.bench.with(|cx| self.dma.input(cx, 2, level));
                    }
                    Signal::Level { wire: IRQ, level } => self.irqs += u32::from(level),
                    other => panic!("{other:?}"),
                }
            }
            let Some(channel) = self.dma.granted() else { return };
            self.bench.with(|cx| self.dma.transfer(cx, channel, &mut self.fdc));
        }
    }

    fn run(&mut self, ns: u64) {
        let end = self.bench.now.after_ns(ns);
        while let Some(at) = self.fdc.next_event().filter(|at| *at <= end) {
            self.bench.now = self.bench.now.max(at);
            self.bench.with(|cx| self.fdc.advance(cx));
            self.carry();
        }
        self.bench.now = end;
    }

    fn take_irqs(&mut self) -> u32 {
        std::mem::take(&mut self.irqs)
    }

    /// Runs until the controller has nothing left to do; returns how long that took.
    fn settle(&mut self) -> u64 {
        let start = self.bench.now;
        while let Some(at) = self.fdc.next_event() {
            self.run(at.since(self.bench.now));
        }
        self.bench.now.since(start)
    }

    /// Sends a command and reads `len` bytes of its result, as a driver that looks at MSR.
    fn command(&mut self, bytes: &[u8], len: usize) -> Vec<u8> {
        for byte in bytes {
            assert_eq!(self.read(I82077::MSR) & 0xc0, 0x80, "it takes {bytes:x?}");
            self.out(I82077::FIFO, *byte);
        }
        self.settle_transfer(len);
        self.result(len)
    }

    fn settle_transfer(&mut self, len: usize) {
        if len > 2 {
            self.settle();
        }
    }

    fn result(&mut self, len: usize) -> Vec<u8> {
        let result = (0..len)
            .map(|n| {
                assert_eq!(self.read(I82077::MSR) & 0xd0, 0xd0, "byte {n} of the result");
                self.read(I82077::FIFO)
            })
            .collect();
        assert_eq!(self.read(I82077::MSR) & 0xd0, 0x80, "that was all");
        result
    }

    /// Channel 2 for `len` bytes at 8000h.
    fn program_dma(&mut self, mode: u8, len: usize) {
        let [count, more, ..] = (len - 1).to_le_bytes();
        for (reg, value) in [
            (0xa, 6),
            (0xc, 0),
            (0xb, mode),
            (4, 0x00),
            (4, 0x80),
            (0x11, 0),
            (5, count),
            (5, more),
            (0xa, 2),
        ] {
            self.bench.port_out(&mut self.dma, reg, value);
        }
    }

    /// The numbers of the sectors that are in RAM from 8000h on.
    fn numbers(&self, sectors: usize) -> Vec<u32> {
        let number = |n: usize| {
            let mut bytes = [0; 4];
            self.bench.ram.read(Gpa(0x8000 + 512 * n as u64), &mut bytes).expect("RAM");
            u32::from_le_bytes(bytes)
        };
        (0..sectors).map(number).collect()
    }
}

#[test]
fn a_track_takes_a_turn_and_both_sides_take_two() {
    let mut pc = Pc::new(numbered(2880));
    pc.program_dma(0x46, 36 * 512);
    let start = pc.bench.now;
    let result = pc.command(&[0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff], 7);
    assert_eq!(result, [0x04, 0, 0, 1, 0, 1, 2], "the next sector is cylinder 1's");
    assert_eq!(pc.numbers(36), (0..36).collect::<Vec<_>>());
    assert_eq!(pc.take_irqs(), 1);
    let turns = (pc.bench.now.since(start) + TURN_NS / 36) / TURN_NS;
    assert!((2..=3).contains(&turns), "{} ns", pc.bench.now.since(start));
}

#[test]
fn terminal_count_ends_a_transfer_where_it_is() {
    let mut pc = Pc::new(numbered(2880));
    pc.program_dma(0x46, 1024);
    let result = pc.command(&[0x46, 4, 0, 1, 5, 2, 18, 0x1b, 0xff], 7);
    assert_eq!(result, [0x04, 0, 0, 0, 1, 7, 2]);
    assert_eq!(pc.numbers(2), [22, 23]);
    // Without MT the end of the track is the end, and without TC that is an error.
    pc.program_dma(0x46, 4096);
    let result = pc.command(&[0x46, 0, 0, 0, 18, 2, 18, 0x1b, 0xff], 7);
    assert_eq!(result, [0x40, 0x80, 0, 1, 0, 1, 2]);
}

#[test]
fn seeks_take_their_steps_and_interrupt() {
    let mut pc = Pc::new(numbered(2880));
    pc.command(&[0x0f, 0, 40], 0);
    assert_eq!(pc.read(I82077::MSR), 0x81, "drive 0 is seeking");
    assert_eq!(pc.settle(), 40 * 3_000_000, "3 ms for each cylinder");
    assert_eq!((pc.take_irqs(), pc.read(I82077::MSR)), (1, 0x80));
    assert_eq!(pc.command(&[0x08], 2), [0x20, 40]);
    assert_eq!(pc.command(&[0x08], 1), [0x80], "nothing to sense");
    pc.program_dma(0x46, 512);
    let result = pc.command(&[0x46, 4, 40, 1, 1, 2, 18, 0x1b, 0xff], 7);
    assert_eq!((result[0], pc.numbers(1)[0]), (0x04, 40 * 36 + 18));
    // Of another cylinder than the one the head is at.
    let result = pc.command(&[0x46, 4, 41, 1, 1, 2, 18, 0x1b, 0xff], 7);
    assert_eq!(result[..3], [0x44, 0x04, 0x10]);
    // CONFIGURE with implied seeks finds it.
    pc.command(&[0x13, 0, 0x57, 0], 0);
    pc.program_dma(0x46, 512);
    let result = pc.command(&[0x46, 4, 41, 1, 1, 2, 18, 0x1b, 0xff], 7);
    assert_eq!((result[0], pc.numbers(1)[0]), (0x24, 41 * 36 + 18));
    pc.command(&[0xcf, 0, 2], 0);
    pc.settle();
    assert_eq!(pc.command(&[0x08], 2), [0x20, 43], "relative, inwards");
    pc.command(&[0x8f, 0, 40], 0);
    pc.settle();
    assert_eq!(pc.command(&[0x08], 2), [0x20, 3]);
    pc.command(&[0x07, 1], 0);
    pc.settle();
    assert_eq!(pc.command(&[0x08], 2), [0x21, 0]);
    pc.command(&[0x07, 2], 0);
    pc.settle();
    assert_eq!(pc.command(&[0x08], 2), [0x72, 0], "there is no drive 2");
}

#[test]
fn sectors_are_written_and_verified() {
    let mut pc = Pc::new(numbered(2880));
    pc.bench.ram.write(Gpa(0x8000), &[0xee; 1024]).expect("RAM");
    pc.program_dma(0x4a, 1024);
    let result = pc.command(&[0x45, 0, 0, 0, 3, 2, 18, 0x1b, 0xff], 7);
    assert_eq!(result, [0, 0, 0, 0, 0, 5, 2]);
    pc.bench.ram.write(Gpa(0x8000), &[0; 2048]).expect("RAM");
    pc.program_dma(0x46, 2048);
    pc.command(&[0x46, 0, 0, 0, 2, 2, 18, 0x1b, 0xff], 7);
    assert_eq!(pc.numbers(4), [1, 0xeeee_eeee, 0xeeee_eeee, 4]);
    let result = pc.command(&[0xd6, 0x80, 0, 0, 1, 2, 18, 0x1b, 20], 7);
    assert_eq!(result, [0x04, 0, 0, 0, 1, 3, 2], "VERIFY of twenty sectors");
    // SCAN EQUAL: sector 2 holds what RAM does now.
    let mut sector = [1; 512];
    sector[1..4].fill(0);
    pc.bench.ram.write(Gpa(0x8000), &sector.repeat(2)).expect("RAM");
    pc.program_dma(0x4a, 1024);
    let result = pc.command(&[0x51, 0, 0, 0, 1, 2, 18, 0x1b, 1], 7);
    assert_eq!((result[0], result[2], result[5]), (0, 0x08, 2), "found in the second");
}

#[test]
fn tracks_are_formatted() {
    let mut pc = Pc::new(numbered(2880));
    let ids: Vec<u8> = (1..=18).flat_map(|sector| [0, 1, sector, 2]).collect();
    pc.bench.ram.write(Gpa(0x8000), &ids).expect("RAM");
    pc.program_dma(0x4a, ids.len());
    let result = pc.command(&[0x4d, 4, 2, 18, 0x54, 0xf6], 7);
    assert_eq!(result[..3], [0x04, 0, 0]);
    pc.program_dma(0x46, 36 * 512);
    pc.command(&[0xc6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff], 7);
    let numbers = pc.numbers(36);
    assert_eq!((numbers[17], numbers[18], numbers[35]), (17, 0xf6f6_f6f6, 0xf6f6_f6f6));
}

#[test]
fn what_cannot_be_read_is_said() {
    let mut pc = Pc::new(Some(Box::new(samples::numbered(2880).read_only())));
    assert_eq!(pc.command(&[0x04, 0], 1), [0x78], "write-protected, track 0");
    pc.program_dma(0x4a, 512);
    let result = pc.command(&[0x45, 0, 0, 0, 3, 2, 18, 0x1b, 0xff], 7);
    assert_eq!(result[..3], [0x40, 0x02, 0]);
    let result = pc.command(&[0x46, 0, 0, 0, 19, 2, 19, 0x1b, 0xff], 7);
    assert_eq!(result[..3], [0x40, 0x04, 0], "no such sector");
    let id = pc.command(&[0x4a, 4], 7);
    assert_eq!((id[0], id[3], id[4], id[6]), (0x04, 0, 1, 2));
    pc.out(I82077::DIR, 2);
    assert_eq!(pc.command(&[0x4a, 0], 7)[..3], [0x40, 0x01, 0], "another data rate");
    pc.out(I82077::DIR, 0);
    pc.out(I82077::DOR, 0x0c);
    assert_eq!(pc.command(&[0x4a, 0], 7)[..3], [0x40, 0x01, 0], "the motor is off");
    pc.out(I82077::DOR, 0x2d);
    assert_eq!(pc.command(&[0x4a, 1], 7)[..3], [0x41, 0x01, 0], "no disk");
}

#[test]
fn without_dma_each_byte_is_asked_for() {
    let mut pc = Pc::new(numbered(1440));
    pc.out(I82077::DIR, 2);
    pc.command(&[0x03, 0xdf, 0x03], 0);
    for byte in [0x46, 0, 0, 0, 9, 2, 9, 0x1b, 0xff] {
        pc.out(I82077::FIFO, byte);
    }
    assert_eq!(pc.read(I82077::MSR), 0x30);
    pc.settle();
    assert_eq!(pc.take_irqs(), 1);
    for n in 0..512 {
        assert_eq!(pc.read(I82077::MSR), 0xf0, "byte {n}");
        assert_eq!(pc.read(I82077::FIFO), if (1..4).contains(&n) { 0 } else { 8 });
    }
    assert_eq!(pc.result(7)[..3], [0x40, 0x80, 0], "there is no TC");
}

#[test]
fn linux_tells_the_controller_from_others() {
    let mut pc = Pc::new(numbered(2880));
    assert_eq!(pc.command(&[0x10], 1), [0x90]);
    pc.command(&[0x13, 0, 0x1a, 0x05], 0);
    assert_eq!(pc.command(&[0x94], 1), [0x10]);
    pc.command(&[0x12, 0x84], 0);
    assert_eq!(pc.command(&[0x0e], 10), [0, 0, 0, 0, 0xdf, 0x02, 0, 0x84, 0x1a, 0x05]);
    // A locked configuration survives a software reset; without polling there is no interrupt.
    pc.take_irqs();
    pc.out(I82077::MSR, 0x80);
    pc.settle();
    assert_eq!(pc.take_irqs(), 0);
    assert_eq!(pc.command(&[0x14], 1), [0x00]);
    pc.out(I82077::DOR, 0x18);
    assert_eq!(pc.read(I82077::MSR), 0);
    pc.out(I82077::DOR, 0x1c);
    pc.settle();
    assert_eq!(pc.take_irqs(), 1);
    assert_eq!(pc.command(&[0x08], 2), [0xc0, 0]);
    assert_eq!(pc.command(&[0x0e], 10)[8], 0x20);
    assert_eq!(pc.command(&[0x18], 1), [0x80], "PART ID came later");
}

#[test]
fn a_change_shows_until_the_head_steps() {
    let mut pc = Pc::new(numbered(2880));
    pc.command(&[0x0f, 0, 1], 0);
    pc.settle();
    assert_eq!(pc.read(I82077::DIR) & 0x80, 0);
    let out = pc.bench.with(|cx| pc.fdc.change_medium(cx, 0, None));
    assert_eq!(out.map(|disk| disk.len()), Some(1_474_560));
    assert_eq!(pc.read(I82077::DIR) & 0x80, 0x80);
    pc.command(&[0x0f, 0, 0], 0);
    pc.settle();
    assert_eq!(pc.read(I82077::DIR) & 0x80, 0x80, "there is still no disk");
    assert!(pc.bench.with(|cx| pc.fdc.change_medium(cx, 0, numbered(1440))).is_none());
    assert_eq!(pc.read(I82077::DIR) & 0x80, 0x80);
    pc.command(&[0x0f, 0, 1], 0);
    pc.settle();
    assert_eq!(pc.read(I82077::DIR) & 0x80, 0);
    assert!(pc.bench.with(|cx| pc.fdc.change_medium(cx, 2, numbered(1440))).is_some());
}

/// One thing that a guest might do, mostly something that makes sense.
fn random_access(pc: &mut Pc, random: &mut Random) {
    const OPCODES: [u8; 16] = [
        0xe6, 0xc5, 0x46, 0x4d, 0x0f, 0x07, 0x08, 0x4a, 0x13, 0x03, 0x51, 0x16, 0x0c, 0x12, 0x02, 9,
    ];
    let byte = random.next() as u8;
    match random.below(10) {
        0 => pc.out(random.below(8) as u16, byte),
        1 => pc.program_dma(
            [0x46, 0x4a, 0x42, 0x56][usize::from(byte & 3)],
            1 + usize::from(byte) * 64,
        ),
        2 => {
            for reg in 0..8 {
                pc.read(reg);
            }
        }
        3 => pc.out(I82077::DOR, 0x1c | byte & 0x21),
        4..7 => {
            let opcode = OPCODES[random.below(16) as usize];
            let sector = 1 + random.below(19) as u8;
            let rest = [byte & 5, byte & 1, byte >> 2 & 1, sector, 2, 18, 0x1b, 0xff];
            pc.out(I82077::FIFO, opcode);
            for byte in &rest[..execution::command_len(opcode) - 1] {
                pc.out(I82077::FIFO, *byte);
            }
        }
        7 => {
            let bay = usize::from(byte & 1);
            let change = random.below(16) == 0;
            if change {
                let len = [720, 1440, 360][usize::from(byte >> 1) % 3] << 10;
                let medium: Box<dyn Disk> = Box::new(RamDisk::new(vec![byte; len], 1000));
                drop(pc.bench.with(|cx| pc.fdc.change_medium(cx, bay, Some(medium))));
            }
        }
        _ => pc.run(random.below(TURN_NS)),
    }
}

impl Pc {
    /// Another controller on the same wires, with disks of the same sizes.
    fn twin(&self) -> I82077 {
        let [irq, dreq] = [IRQ, DREQ].map(|wire| self.bench.backplane.line(wire));
        let media = self.fdc.media.each_ref().map(|medium| {
            let len = medium.as_ref().map_or(0, |disk| disk.len());
            Some(Box::new(RamDisk::new(vec![0; len as usize], 1000)) as Box<dyn Disk>)
        });
        I82077::new(irq, dreq, media, 1)
    }
}

impl Driven for Pc {
    type Chip = I82077;

    fn fresh(&self) -> I82077 {
        self.twin()
    }
    fn parts(&mut self) -> (&mut Bench, &mut I82077) {
        (&mut self.bench, &mut self.fdc)
    }
    fn start(&mut self) {
        self.carry();
    }
    fn act(&mut self, random: &mut Random) {
        random_access(self, random);
        self.carry();
    }
}

#[test]
fn random_guests_do_no_harm() {
    drive(&mut Pc::cold([numbered(2880), numbered(1440)]), 0xf10_bb1e, 100_000);
}

#[test]
#[ignore = "takes a minute"]
fn a_million_random_accesses() {
    drive(&mut Pc::cold([numbered(2880), numbered(1440)]), 0xf10_0000, 1_000_000);
}
