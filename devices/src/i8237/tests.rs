//! The controllers against the 8237A's datasheet and against how a PC programs them.

use trine_guest::Gpa;

use super::{DmaPeer, I8237};
use crate::{Bench, Cx, Device, Inputs};

/// Sends bytes that count up, or keeps what it gets.
struct Card {
    left: usize,
    bytes: Vec<u8>,
    is_source: bool,
    ends: Vec<usize>,
}

impl Card {
    fn new(left: usize, is_source: bool) -> Self {
        Self { left, bytes: Vec::new(), is_source, ends: Vec::new() }
    }
}

impl DmaPeer for Card {
    fn dreq(&self) -> bool {
        self.left > 0
    }

    fn dack(&mut self, _cx: &mut Cx<'_>, bus: &mut u8, tc: bool) {
        if self.is_source {
            *bus = (self.bytes.len() as u8).wrapping_add(1);
        }
        self.bytes.push(*bus);
        self.left -= 1;
        if tc {
            self.ends.push(self.bytes.len());
        }
    }
}

struct Pc {
    bench: Bench,
    dma: I8237,
}

impl Pc {
    /// The second controller's channel 4 in cascade mode, as every BIOS leaves it.
    fn new() -> Self {
        let mut pc = Self { bench: Bench::new(), dma: I8237::new() };
        pc.out(0x20 + 2 * 0xb, 0xc0);
        pc.out(0x20 + 2 * 0xa, 0x00);
        pc
    }

    fn out(&mut self, reg: u16, value: u8) {
        self.bench.port_out(&mut self.dma, reg, value);
    }

    fn read(&mut self, reg: u16) -> u8 {
        self.bench.port_in::<1>(&mut self.dma, reg)[0]
    }

    /// As a floppy driver: channel 2, `len` bytes at `at`.
    fn program(&mut self, mode: u8, at: u32, len: u16) {
        let [low, high, page, _] = at.to_le_bytes();
        let [count, more] = (len - 1).to_le_bytes();
        for (reg, value) in [
            (0xa, 0x06),
            (0xc, 0xff),
            (0xb, mode | 2),
            (4, low),
            (4, high),
            (0x11, page),
            (5, count),
            (5, more),
            (0xa, 0x02),
        ] {
            self.out(reg, value);
        }
    }

    /// The card on channel 2 asks; what the board does then.
    fn serve(&mut self, card: &mut Card) {
        self.bench.with(|cx| self.dma.input(cx, 2, card.dreq()));
        while let Some(channel) = self.dma.granted() {
            assert_eq!(channel, 2);
            self.bench.with(|cx| self.dma.transfer(cx, channel, card));
            self.bench.with(|cx| self.dma.input(cx, 2, card.dreq()));
        }
    }

    fn ram(&self, at: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.bench.ram.read(Gpa(at), &mut data).expect("RAM");
        data
    }
}

#[test]
fn a_channel_moves_bytes_to_memory_until_it_ends() {
    let mut pc = Pc::new();
    pc.program(0x44, 0x2_3456, 4);
    let mut card = Card::new(6, true);
    pc.serve(&mut card);
    assert_eq!(pc.ram(0x2_3455, 6), [0, 1, 2, 3, 4, 0]);
    assert_eq!((card.left, card.ends), (2, vec![4]));
    assert_eq!(pc.read(8), 0x44, "channel 2 has ended and still asks");
    assert_eq!(pc.read(8), 0x40, "a read clears the end");
    pc.out(0xc, 0);
    assert_eq!([pc.read(4), pc.read(4), pc.read(5), pc.read(5)], [0x5a, 0x34, 0xff, 0xff]);
    assert_eq!(pc.read(0xf) & 4, 4, "masked");
}

#[test]
fn from_memory_downwards_and_around_the_page() {
    let mut pc = Pc::new();
    pc.bench.ram.write(Gpa(0x3_0000), &[7]).expect("RAM");
    pc.bench.ram.write(Gpa(0x3_ffff), &[8]).expect("RAM");
    pc.program(0x68, 0x3_0000, 2);
    let mut card = Card::new(2, false);
    pc.serve(&mut card);
    assert_eq!(card.bytes, [7, 8], "the page stays");
}

#[test]
fn autoinitialized_channels_start_again() {
    let mut pc = Pc::new();
    pc.program(0x54, 0x1000, 2);
    let mut card = Card::new(5, true);
    pc.serve(&mut card);
    assert_eq!((pc.ram(0x1000, 3), card.ends), (vec![5, 4, 0], vec![2, 4]));
    // A peer that never stops is stopped.
    let mut card = Card::new(1 << 20, true);
    pc.bench.with(|cx| pc.dma.input(cx, 2, true));
    pc.bench.with(|cx| pc.dma.transfer(cx, 2, &mut card));
    assert_eq!(card.bytes.len(), 1 << 16);
}

#[test]
fn verify_cycles_leave_memory_alone_and_missing_memory_floats() {
    let mut pc = Pc::new();
    pc.program(0x40, 0x1000, 4);
    let mut card = Card::new(4, true);
    pc.serve(&mut card);
    assert_eq!((pc.ram(0x1000, 4), card.ends), (vec![0; 4], vec![4]));
    pc.program(0x48, 0x80_0000, 2);
    let mut card = Card::new(2, false);
    pc.serve(&mut card);
    assert_eq!(card.bytes, [0xff; 2]);
}

#[test]
fn who_is_masked_off_or_behind_a_closed_cascade_waits() {
    let mut pc = Pc::new();
    pc.program(0x44, 0x1000, 4);
    let mut card = Card::new(4, true);
    for (close, open) in [
        ((0x0a, 0x06), (0x0a, 0x02)),
        ((0x08, 0x04), (0x08, 0x00)),
        ((0x34, 0x04), (0x34, 0x00)),
        ((0x0b, 0xc6), (0x0b, 0x46)),
    ] {
        pc.out(close.0, close.1);
        pc.serve(&mut card);
        assert_eq!(card.left, 4, "{close:x?}");
        pc.out(open.0, open.1);
    }
    pc.serve(&mut card);
    assert_eq!(card.left, 0);
    pc.out(0xd, 0);
    assert_eq!(pc.read(0xf) & 0xf, 0xf, "master clear masks");
}

#[test]
fn the_second_controller_moves_words() {
    let mut pc = Pc::new();
    // Channel 5: page 5 (of which bit 0 is not used), address 100h words, two words.
    for (reg, value) in
        [(0x1b, 5), (0x24, 0x00), (0x24, 0x01), (0x26, 1), (0x26, 0), (0x36, 0x45), (0x34, 1)]
    {
        pc.out(reg, value);
    }
    let mut card = Card::new(4, true);
    pc.bench.with(|cx| pc.dma.input(cx, 5, true));
    assert_eq!(pc.dma.granted(), Some(5));
    pc.bench.with(|cx| pc.dma.transfer(cx, 5, &mut card));
    assert_eq!((pc.ram(0x4_0200, 4), card.ends), (vec![1, 2, 3, 4], vec![4]));
    assert_eq!(pc.dma.granted(), None);
    let saved = pc.dma.save();
    let mut twin = I8237::new();
    twin.load(&saved).expect("a chip loads what it saved");
    assert_eq!(twin.save(), saved);
}

#[test]
fn where_there_is_no_register_nothing_answers() {
    let mut pc = Pc::new();
    pc.bench.port_out(&mut pc.dma, 0xffff, 0x12_u8);
    assert_eq!(pc.read(0xffff), 0xff);
}
