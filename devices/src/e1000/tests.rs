//! The controller as its manual has it, and as drivers use it: Linux's e1000, FreeBSD's em, iPXE's
//! intel.

use trine_guest::{Gpa, VmTime};

use super::*;
use crate::{Bench, Offload, Signal, link::end::End};

mod hostile;
mod receiving;
mod registers;
mod transmitting;

const OWN: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
const IRQ: u32 = 11;
const HIGH: Signal = Signal::Level { wire: IRQ, level: true };
const LOW: Signal = Signal::Level { wire: IRQ, level: false };

// Where the driver has its rings and buffers, and how many.
const SENDING: u64 = 0x1_0000;
const RECEIVING: u64 = 0x2_0000;
const ENTRIES: u64 = 16;
const DATA: u64 = 0x4_0000;
const BUFFERS: u64 = 0x8_0000;
const BUFFER_LEN: u64 = 0x4000;

// Registers.
const CTRL: u32 = 0x0000;
const STATUS: u32 = 0x0008;
const MDIC: u32 = 0x0020;
const ICR: u32 = 0x00c0;
const ITR: u32 = 0x00c4;
const ICS: u32 = 0x00c8;
const IMS: u32 = 0x00d0;
const IMC: u32 = 0x00d8;
const RCTL: u32 = 0x0100;
const TCTL: u32 = 0x0400;
const RDH: u32 = 0x2810;
const RDT: u32 = 0x2818;
const RDTR: u32 = 0x2820;
const TDH: u32 = 0x3810;
const TDT: u32 = 0x3818;

/// RCTL as a driver has it: on, broadcasts, check sequences taken off, buffers of 2048 bytes.
const RCTL_ON: u32 = 1 << 1 | 1 << 15 | 1 << 26;
const CTRL_VME: u32 = 1 << 30;

struct Rig {
    bench: Bench,
    chip: E1000,
    end: End,
    /// Frames that came to the link, and that the chip has received, in random tests.
    sent: u32,
    received: u32,
}

impl Rig {
    /// After power-on, as firmware leaves it.
    fn cold() -> Self {
        let (bench, end) = (Bench::new(), End::default());
        let chip = chip(&bench, &end);
        let mut rig = Self { bench, chip, end, sent: 0, received: 0 };
        rig.command(0x07);
        rig
    }

    /// With a driver: rings, buffers for receiving, and a link.
    fn new() -> Self {
        let mut rig = Self::cold();
        rig.start();
        rig
    }

    fn start(&mut self) {
        self.command(0x07);
        self.wait_ns(1_000_000);
        for (block, ring) in [(0x2800, RECEIVING), (0x3800, SENDING)] {
            for (register, value) in
                [(0x00, ring as u32), (0x04, 0), (0x08, 16 * ENTRIES as u32), (0x10, 0), (0x18, 0)]
            {
                self.write(block + register, value);
            }
        }
        (0..ENTRIES).for_each(|n| self.empty(n));
        self.write(RCTL, RCTL_ON);
        self.write(TCTL, 1 << 1);
        self.write(RDT, ENTRIES as u32 - 1);
        self.read(ICR);
        self.write(IMS, u32::MAX);
        self.bench.said();
    }

    /// Makes receive descriptor `n` a new one.
    fn empty(&mut self, n: u64) {
        let buffer = BUFFERS + n * BUFFER_LEN;
        self.put(RECEIVING + 16 * n, &buffer.to_le_bytes());
        self.put(RECEIVING + 16 * n + 8, &[0; 8]);
    }

    fn command(&mut self, value: u8) {
        self.config_write(0x04, &[value, 0]);
    }

    fn config_write(&mut self, offset: u8, data: &[u8]) {
        self.chip.config.write(offset, data);
        self.bench.with(|cx| self.chip.config_written(cx, offset, data.len() as u8));
    }

    fn read(&mut self, register: u32) -> u32 {
        let mut data = [0xff; 4];
        self.bench.with(|cx| self.chip.bar_read(cx, 0, register.into(), &mut data));
        u32::from_le_bytes(data)
    }

    fn write(&mut self, register: u32, value: u32) {
        self.bench.with(|cx| self.chip.bar_write(cx, 0, register.into(), &value.to_le_bytes()));
    }

    fn put(&mut self, at: u64, data: &[u8]) {
        self.bench.ram.write(Gpa(at), data).expect("the bench has RAM there");
    }

    fn get(&mut self, at: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.bench.ram.read(Gpa(at), &mut data).expect("the bench has RAM there");
        data
    }

    fn wait_ns(&mut self, ns: u64) {
        self.bench.run_ns(&mut self.chip, ns);
    }

    fn wake(&mut self) {
        self.bench.with(|cx| self.chip.advance(cx));
    }

    /// MDIC: operation 1 writes, 2 reads.
    fn phy(&mut self, operation: u32, register: u32, value: u16) -> u16 {
        self.write(MDIC, operation << 26 | 1 << 21 | register << 16 | u32::from(value));
        let done = self.read(MDIC);
        assert_eq!(done >> 28 & 5, 1, "ready, and no error");
        done as u16
    }
}

fn chip(bench: &Bench, end: &End) -> E1000 {
    let backplane = &bench.backplane;
    E1000::new("e1000", OWN, Box::new(end.clone()), backplane.line(IRQ), backplane.clone())
}

/// A frame to `to` of `len` bytes that carries nothing known.
fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut bytes = to.to_vec();
    bytes.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    bytes.extend((14..len).map(|n| n as u8));
    bytes
}

/// The ones' complement sum.
fn sum(bytes: &[u8]) -> u16 {
    crate::link::fold(crate::link::sum(bytes))
}

/// A frame of TCP (6) or UDP (17) over IPv4 or IPv6 with `payload` bytes. Lengths are right, all
/// checksums 0.
fn datagram(is_ipv4: bool, protocol: u8, payload: usize) -> Vec<u8> {
    let header_len = if protocol == 6 { 20 } else { 8 };
    let len = (header_len + payload) as u16;
    let mut frame = OWN.to_vec();
    frame.extend([2, 0, 0, 0, 0, 1]);
    if is_ipv4 {
        frame.extend([0x08, 0x00, 0x45, 0]);
        frame.extend((20 + len).to_be_bytes());
        frame.extend([0x12, 0x34, 0x40, 0, 64, protocol, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15]);
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(len.to_be_bytes());
        frame.extend([protocol, 64]);
        frame.extend((0..32).map(|n| 0x20 + n));
    }
    frame.extend([0x12, 0x34, 0, 80]);
    if protocol == 6 {
        frame.extend([0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 7, 0x50, 0x99, 1, 2, 0, 0, 0, 0]);
    } else {
        frame.extend(len.to_be_bytes());
        frame.extend([0, 0]);
    }
    frame.extend((0..payload).map(|n| (n * 7) as u8));
    frame
}

/// The start of the transport's header.
fn transport(is_ipv4: bool) -> usize {
    if is_ipv4 { 34 } else { 54 }
}

/// What the checksum of the transport covers besides: addresses, protocol, and the length if it is
/// to be in.
fn pseudo(frame: &[u8], is_ipv4: bool, protocol: u8, len: usize) -> u16 {
    let addresses = &frame[if is_ipv4 { 26..34 } else { 22..54 }];
    let rest = [0, protocol, (len >> 8) as u8, len as u8];
    sum(&[addresses, &rest].concat())
}

fn put_word(frame: &mut [u8], at: usize, value: u16) {
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The same with the right checksums.
fn finished(is_ipv4: bool, protocol: u8, payload: usize) -> Vec<u8> {
    let mut frame = datagram(is_ipv4, protocol, payload);
    let start = transport(is_ipv4);
    if is_ipv4 {
        let sum = !sum(&frame[14..34]);
        put_word(&mut frame, 24, sum);
    }
    let pseudo = pseudo(&frame, is_ipv4, protocol, frame.len() - start);
    let all = [&pseudo.to_be_bytes()[..], &frame[start..]].concat();
    put_word(&mut frame, start + if protocol == 6 { 16 } else { 6 }, !sum(&all));
    frame
}
