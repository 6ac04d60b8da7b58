//! The controller against AHCI 1.3.1 and against what Linux's libata does.

use trine_guest::Gpa;

use super::*;
use crate::{
    Bench, Signal,
    disk::samples::{LATENCY_NS, Scratched, numbered},
    stress::{Driven, Random, drive},
};

/// Where the driver has the command list, received frames, tables and data.
const LIST: u64 = 0x1000;
const FRAMES: u64 = 0x2000;
const TABLES: u64 = 0x3000;
const TABLE_LEN: u64 = 0x200;
const DATA: u64 = 0x2_0000;

/// A command's way and kind, in its header.
const WRITE: u32 = 1 << 6;
const PACKET: u32 = 1 << 5;

struct Rig {
    bench: Bench,
    ahci: Ahci,
    port: u64,
}

impl Rig {
    fn cold(drives: Vec<Option<AtaDrive>>) -> Self {
        let bench = Bench::new();
        let mut ahci = Ahci::new(bench.backplane.line(11), drives);
        ahci.config.write(4, &[0x06, 0x00]);
        Self { bench, ahci, port: 0 }
    }

    /// One drive on port 0, ready for commands, all interrupts enabled.
    fn new(drive: AtaDrive) -> Self {
        let mut r = Self::cold(vec![Some(drive)]);
        r.start();
        r
    }

    fn disk(disk: impl Disk + 'static) -> Self {
        Self::new(AtaDrive::disk(Box::new(disk)))
    }

    fn start(&mut self) {
        self.write(GHC, GHC_INTERRUPTS);
        for (register, value) in
            [(0x00, LIST), (0x04, 0), (0x08, FRAMES), (0x0c, 0), (0x30, u64::from(u32::MAX))]
        {
            self.write_port(register, value as u32);
        }
        self.write_port(0x10, u32::MAX);
        self.write_port(0x14, u32::MAX);
        self.write_port(0x18, 0x11);
        self.write(IS, u32::MAX);
        self.bench.said();
    }

    fn write(&mut self, offset: u64, value: u32) {
        self.bench.with(|cx| self.ahci.bar_write(cx, 5, offset, &value.to_le_bytes()));
    }

    fn read(&mut self, offset: u64) -> u32 {
        let mut data = [0xff; 4];
        self.bench.with(|cx| self.ahci.bar_read(cx, 5, offset, &mut data));
        u32::from_le_bytes(data)
    }

    fn write_port(&mut self, register: u64, value: u32) {
        self.write(PORTS + PORT_LEN * self.port + register, value);
    }

    fn read_port(&mut self, register: u64) -> u32 {
        self.read(PORTS + PORT_LEN * self.port + register)
    }

    fn store(&mut self, at: u64, data: &[u8]) {
        self.bench.ram.write(Gpa(at), data).expect("RAM");
    }

    fn load<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut data = [0; N];
        self.bench.ram.read(Gpa(at), &mut data).expect("RAM");
        data
    }

    /// Puts a command into a slot: header flags, frame, regions.
    fn prepare(&mut self, slot: u64, flags: u32, frame: [u8; 20], regions: &[(u64, u32)]) {
        let table = TABLES + slot * TABLE_LEN;
        let header = [5 | flags | (regions.len() as u32) << 16, 0, table as u32, 0];
        let bytes: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
        self.store(LIST + 32 * slot, &bytes);
        self.store(table, &frame);
        for (n, (at, len)) in regions.iter().enumerate() {
            let entry = [*at as u32, (*at >> 32) as u32, 0, len - 1];
            let bytes: Vec<u8> = entry.into_iter().flat_map(u32::to_le_bytes).collect();
            self.store(table + 0x80 + 16 * n as u64, &bytes);
        }
    }

    fn issue(&mut self, slots: u32) {
        self.write_port(0x38, slots);
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.ahci.next_event().is_none() {
                return;
            }
            self.bench.run_ns(&mut self.ahci, LATENCY_NS);
        }
        panic!("the drive stays busy");
    }

    /// Executes one command in slot 0 and acknowledges it as Linux does; returns PxIS, PxTFD.
    fn run(&mut self, flags: u32, frame: [u8; 20], regions: &[(u64, u32)]) -> (u32, u32) {
        self.prepare(0, flags, frame, regions);
        self.issue(1);
        self.settle();
        let result = (self.read_port(0x10), self.read_port(0x20));
        self.write_port(0x10, u32::MAX);
        self.write(IS, u32::MAX);
        result
    }

    fn has_interrupted(&mut self) -> bool {
        let said = self.bench.said();
        said.iter().any(|signal| matches!(signal, Signal::Level { wire: 11, level: true }))
    }

    /// Stops the port, clears what is wrong, starts it.
    fn recover(&mut self) {
        self.write_port(0x18, 0x10);
        assert_eq!(self.read_port(0x18) & 1 << 15, 0, "stopped");
        self.write_port(0x30, u32::MAX);
        self.write_port(0x10, u32::MAX);
        self.write(IS, u32::MAX);
        self.write_port(0x18, 0x11);
    }
}

/// A command frame with 48 bits of address.
fn frame(opcode: u8, sector: u64, count: u16) -> [u8; 20] {
    let [a, b, c, d, e, f, ..] = sector.to_le_bytes();
    let [count, more] = count.to_le_bytes();
    [0x27, 0x80, opcode, 0, a, b, c, 0x40, d, e, f, 0, count, more, 0, 0, 0, 0, 0, 0]
}

/// A queued command's.
fn queued(opcode: u8, tag: u8, sector: u64, count: u16) -> [u8; 20] {
    let mut frame = frame(opcode, sector, 0);
    [frame[3], frame[11]] = count.to_le_bytes();
    frame[12] = tag << 3;
    frame
}

fn number(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes)
}

#[test]
fn a_probe_finds_drives_and_empty_ports() {
    let disk = AtaDrive::disk(Box::new(numbered(100)));
    let mut r = Rig::cold(vec![Some(disk), None, Some(AtaDrive::cd(None))]);
    assert_eq!(r.read(CAP) & 0x1f, 2, "three ports");
    assert_eq!((r.read(PI), r.read(VS)), (7, 0x0001_0301));
    r.write(GHC, GHC_RESET | GHC_AHCI);
    assert_eq!(r.read(GHC), GHC_AHCI, "the reset is over, interrupts are off");
    for (port, status, signature, task) in
        [(0, 0x123, 0x0000_0101, 0x0150), (1, 0, u32::MAX, 0x7f), (2, 0x123, 0xeb14_0101, 0x0100)]
    {
        r.port = port;
        assert_eq!(r.read_port(0x28), status);
        assert_eq!(r.read_port(0x24), signature);
        assert_eq!(r.read_port(0x20), task);
    }
    r.port = 0;
    assert_eq!(r.read_port(0x30), 1 << 26 | 1 << 16);
    r.write_port(0x30, u32::MAX);
    // COMRESET.
    r.write_port(0x2c, 0x301);
    assert_eq!((r.read_port(0x28), r.read_port(0x20) & 0x80), (0, 0x80));
    r.write_port(0x2c, 0x300);
    assert_eq!((r.read_port(0x28), r.read_port(0x20)), (0x123, 0x0150));
    assert_eq!(r.read_port(0x10), 1 << 22 | 1 << 6, "PhyRdy, connected");
    r.write_port(0x30, u32::MAX);
    assert_eq!(r.read_port(0x10), 0);
    assert_eq!(r.read(0x700), 0, "there is no port 12");
}

#[test]
fn narrow_and_wide_accesses() {
    let mut r = Rig::cold(vec![None]);
    r.write_port(0x00, 0xffff_ffff);
    assert_eq!(r.read_port(0), 0xffff_fc00);
    r.bench.with(|cx| r.ahci.bar_write(cx, 5, 0x102, &[0x12]));
    assert_eq!(r.read_port(0), 0xff12_fc00);
    r.bench.with(|cx| r.ahci.bar_write(cx, 5, 0x100, &0x12_3456_7800_u64.to_le_bytes()));
    let mut wide = [0; 8];
    r.bench.with(|cx| r.ahci.bar_read(cx, 5, 0x100, &mut wide));
    assert_eq!(u64::from_le_bytes(wide), 0x12_3456_7800);
}

#[test]
fn identify_comes_by_pio() {
    let mut r = Rig::disk(numbered(5000));
    let result = r.run(0, frame(0xec, 0, 0), &[(DATA, 512)]);
    assert_eq!(result, (0x02, 0x0050), "PIO setup");
    assert!(r.has_interrupted());
    assert_eq!(r.read_port(0x38), 0);
    let words: [u8; 512] = r.load(DATA);
    assert_eq!([words[150], words[152], words[153]], [31, 0x06, 0x01], "a queue of 32");
    assert_eq!(number(r.load(DATA + 200)), 5000);
    assert_eq!(number(r.load(LIST + 4)), 512, "bytes moved");
    let setup: [u8; 20] = r.load(FRAMES + 0x20);
    assert_eq!(
        (setup[0], setup[1], setup[2], setup[15], setup[16..18].to_vec()),
        (0x5f, 0x60, 0x58, 0x50, vec![0, 2])
    );
    let result = r.run(0, frame(0xef, 0, 0), &[]);
    assert_eq!(result, (1 << 30 | 1, 0x0451), "SET FEATURES 00h fails");
    assert_eq!(r.read_port(0x38), 1, "the slot stays issued");
    r.recover();
    assert_eq!(r.run(0, frame(0xe0, 0, 0), &[]), (0x01, 0x0050));
}

#[test]
fn dma_goes_through_regions_there_and_back() {
    let mut r = Rig::disk(numbered(5000));
    // 300 sectors: three pieces, into regions of odd lengths.
    let regions = [(DATA, 2), (DATA + 0x10_00, 0x8000), (0x4_0000, 0x2_0000)];
    let result = r.run(0, frame(0x25, 1000, 300), &regions);
    assert_eq!(result, (0x01, 0x0050));
    assert_eq!(number(r.load(LIST + 4)), 300 * 512);
    assert_eq!(r.load::<2>(DATA), [0xe8, 0x03]);
    assert_eq!(r.load::<2>(DATA + 0x1000), [0, 0]);
    let last = 0x4_0000 + 300 * 512 - 2 - 0x8000 - 512;
    assert_eq!(number(r.load(last)), 1299);
    let frame_in: [u8; 20] = r.load(FRAMES + 0x40);
    assert_eq!(frame_in[..8], [0x34, 0x40, 0x50, 0, 0x13, 0x05, 0, 0xe0]);
    r.store(DATA, &[0x77; 1024]);
    assert_eq!(r.run(WRITE, frame(0x35, 4998, 2), &[(DATA, 1024)]), (0x01, 0x0050));
    assert_eq!(r.run(0, frame(0x25, 4997, 3), &[(DATA, 0x600)]), (0x01, 0x0050));
    assert_eq!(
        [0, 0x200, 0x400].map(|at| number(r.load(DATA + at))),
        [4997, 0x7777_7777, 0x7777_7777]
    );
    // The last region asks for an interrupt.
    r.prepare(0, 0, frame(0x25, 0, 1), &[(DATA, 512)]);
    r.store(TABLES + 0x8c, &(511_u32 | 1 << 31).to_le_bytes());
    r.issue(1);
    r.settle();
    assert_eq!(r.read_port(0x10), 1 << 5 | 1);
}

#[test]
fn queued_commands_end_in_any_order() {
    let mut r = Rig::disk(numbered(5000));
    for tag in 0..32 {
        let data = DATA + u64::from(tag) * 0x1000;
        if tag == 7 {
            r.store(data, &[0x55; 0x1000]);
            r.prepare(7, WRITE, queued(0x61, 7, 4000, 8), &[(data, 0x1000)]);
        } else {
            r.prepare(
                u64::from(tag),
                0,
                queued(0x60, tag, 10 * u64::from(tag), 8),
                &[(data, 0x1000)],
            );
        }
    }
    r.write_port(0x34, u32::MAX);
    r.issue(u32::MAX);
    assert_eq!((r.read_port(0x34), r.read_port(0x38)), (u32::MAX, 0), "all are queued");
    assert_eq!(r.read_port(0x20), 0x0050, "the drive takes more");
    r.settle();
    assert!(r.has_interrupted());
    assert_eq!((r.read_port(0x34), r.read_port(0x10)), (0, 0x08));
    for tag in (0..32).filter(|tag| *tag != 7) {
        assert_eq!(number(r.load(DATA + tag * 0x1000)), 10 * tag as u32);
        assert_eq!(number(r.load(LIST + 32 * tag + 4)), 0x1000);
    }
    let bits: [u8; 8] = r.load(FRAMES + 0x58);
    assert_eq!((bits[0], bits[2]), (0xa1, 0x50));
    r.write_port(0x10, u32::MAX);
    r.write_port(0x34, 1);
    // 1 MiB less than all of RAM does not fit: 600 sectors in pieces.
    r.prepare(0, 0, queued(0x60, 0, 4000, 600), &[(DATA, 600 * 512)]);
    r.issue(1);
    r.settle();
    assert_eq!((r.read_port(0x34), number(r.load(DATA))), (0, 0x5555_5555));
    assert_eq!(number(r.load(DATA + 599 * 512)), 4599);
}

#[test]
fn a_failed_queue_says_which_command_it_was() {
    let mut r = Rig::disk(Scratched::new(5000));
    for (tag, sector) in [(0, 0), (3, 100), (5, 200)] {
        r.prepare(u64::from(tag), 0, queued(0x60, tag, sector, 1), &[(DATA, 512)]);
    }
    r.write_port(0x34, 0b10_1001);
    r.issue(0b10_1001);
    r.settle();
    assert_eq!(r.read_port(0x10), 1 << 30 | 1 << 3);
    assert_eq!(r.read_port(0x20), 0x4051);
    assert_eq!(r.read_port(0x34), 0b10_1000, "the first was done");
    r.recover();
    // Until the log was read, the queue takes nothing.
    r.write_port(0x34, 1);
    assert_eq!(r.run(0, queued(0x60, 0, 0, 1), &[(DATA, 512)]).1, 0x0451);
    r.recover();
    assert_eq!(r.run(0, frame(0x2f, 0x10, 1), &[(DATA, 512)]), (0x02, 0x0050));
    let log: [u8; 512] = r.load(DATA);
    assert_eq!(log[..5], [3, 0, 0x41, 0x40, 100]);
    assert_eq!(log.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    r.write_port(0x34, 1);
    assert_eq!(r.run(0, queued(0x60, 0, 0, 1), &[(DATA, 512)]), (0x09 & !1, 0x0050));
    // Beyond the end, and with a tag that is not the slot's.
    for command in [queued(0x60, 0, 5000, 1), queued(0x60, 1, 0, 1)] {
        r.write_port(0x34, 1);
        let (status, task) = r.run(0, command, &[(DATA, 512)]);
        assert_eq!((status & 1 << 30, task), (1 << 30, 0x0451));
        r.recover();
    }
}

#[test]
fn packets_are_carried() {
    let mut r = Rig::new(AtaDrive::cd(Some(Box::new(numbered(4000)))));
    let packet = |r: &mut Rig, bytes: &[u8], features: u8, len: u32| {
        let mut command = frame(0xa0, 0, 0);
        (command[3], command[5], command[6]) = (features, 0x00, 0x10);
        r.store(TABLES + 0x40, &[bytes, &[0; 16]].concat()[..16]);
        let regions = [(DATA, len)];
        r.run(PACKET, command, if len == 0 { &[] } else { &regions })
    };
    assert_eq!(packet(&mut r, &[0x00], 0, 0), (1 << 30 | 1, 0x6451), "unit attention");
    r.recover();
    assert_eq!(packet(&mut r, &[0x03, 0, 0, 0, 18], 0, 18), (0x03, 0x0050));
    assert_eq!((r.load::<3>(DATA)[2], r.load::<13>(DATA)[12]), (6, 0x29));
    assert_eq!(packet(&mut r, &[0x28, 0, 0, 0, 0, 16, 0, 0, 3], 1, 6144), (0x01, 0x0050));
    assert_eq!([number(r.load(DATA)), number(r.load(DATA + 4096))], [64, 72]);
    assert_eq!(packet(&mut r, &[0x28, 0, 0, 0, 0, 17, 0, 0, 3], 0, 6144), (0x03, 0x0050));
    assert_eq!(number(r.load(DATA + 4096)), 76, "by PIO, 4096 bytes at a time");
}

#[test]
fn a_soft_reset_takes_two_frames() {
    let mut r = Rig::disk(numbered(100));
    let mut control = frame(0, 0, 0);
    (control[1], control[15]) = (0, 0x04);
    r.prepare(0, 0, control, &[]);
    r.issue(1);
    assert_eq!((r.read_port(0x38), r.read_port(0x20) & 0x80), (0, 0x80));
    control[15] = 0;
    r.prepare(0, 0, control, &[]);
    r.issue(1);
    assert_eq!((r.read_port(0x20), r.read_port(0x24)), (0x0150, 0x101));
}

#[test]
fn what_is_not_memory_stops_the_port() {
    let mut r = Rig::disk(numbered(100));
    let stopped = |r: &mut Rig, what: &str| {
        r.settle();
        assert_eq!(r.read_port(0x10) & 1 << 29, 1 << 29, "{what}");
        r.issue(2);
        assert_ne!(r.read_port(0x38) & 2, 0, "nothing goes on");
        r.recover();
    };
    r.prepare(0, 0, frame(0x25, 0, 1), &[(0x8000_0000, 512)]);
    r.issue(1);
    stopped(&mut r, "data");
    r.store(LIST + 8, &0x8000_0000_u32.to_le_bytes());
    r.issue(1);
    stopped(&mut r, "the table");
    r.write_port(0x00, 0x8000_0000);
    r.issue(1);
    stopped(&mut r, "the list");
    r.write_port(0x00, LIST as u32);
    let mut wrong = frame(0xec, 0, 0);
    wrong[0] = 0x34;
    r.prepare(0, 0, wrong, &[]);
    r.issue(1);
    stopped(&mut r, "a frame of another kind");
    // Regions for less than there is.
    let (status, task) = r.run(0, frame(0x25, 0, 2), &[(DATA, 512)]);
    assert_eq!((status, task), (1 << 24 | 1, 0x0050));
    r.prepare(0, WRITE, frame(0x35, 0, 2), &[(DATA, 512)]);
    r.issue(1);
    r.settle();
    assert_eq!(r.read_port(0x10), 1 << 24);
    r.recover();
    assert_eq!(r.read_port(0x20), 0x0050, "the drive has given the command up");
    assert_eq!(r.run(0, frame(0x25, 0, 1), &[(DATA, 512)]), (0x01, 0x0050));
}

#[test]
fn what_was_queued_goes_on_after_a_load() {
    let mut r = Rig::disk(numbered(5000));
    r.store(DATA, &[0x99; 512]);
    r.prepare(0, WRITE, queued(0x61, 0, 50, 1), &[(DATA, 512)]);
    r.prepare(1, 0, queued(0x60, 1, 60, 300), &[(DATA + 0x1000, 300 * 512)]);
    r.write_port(0x34, 3);
    r.issue(3);
    let mut other = Rig::disk(numbered(5000));
    other.ahci.load(&r.ahci.save()).expect("a chip loads what it saved");
    assert_eq!(other.ahci.next_event(), r.ahci.next_event());
    let mut memory = vec![0; 0x4000];
    r.bench.ram.read(Gpa(LIST), &mut memory).expect("RAM");
    other.store(LIST, &memory);
    other.settle();
    assert_eq!(other.read_port(0x34), 0);
    assert_eq!(number(other.load(DATA + 0x1000 + 299 * 512)), 359);
    other.write_port(0x10, u32::MAX);
    other.run(0, frame(0x25, 50, 1), &[(DATA, 512)]);
    assert_eq!(number(other.load(DATA)), 0x9999_9999);
}

fn full(bench: &Bench) -> Ahci {
    let drives = vec![
        Some(AtaDrive::disk(Box::new(numbered(2000)))),
        Some(AtaDrive::cd(Some(Box::new(numbered(400))))),
        None,
    ];
    let mut ahci = Ahci::new(bench.backplane.line(11), drives);
    ahci.config.write(4, &[0x06, 0x00]);
    ahci
}

/// One thing that a guest might do, mostly something that makes sense.
fn random_access(r: &mut Rig, random: &mut Random) {
    const OPCODES: [u8; 16] = [
        0x25, 0x35, 0x24, 0x34, 0x60, 0x61, 0x60, 0x61, 0xec, 0xa0, 0xa0, 0xa1, 0xe7, 0x2f, 0x06,
        0x90,
    ];
    let value = random.next() as u32;
    match random.below(12) {
        0 => r.write(random.below(0x300) & !3, value >> (value & 31)),
        1 => drop(r.read(random.below(0x300) & !3)),
        2 => {
            let at = random.below(0x1000);
            let data = random.next().to_le_bytes();
            let len = 1 + random.below(8) as usize;
            r.bench.with(|cx| r.ahci.bar_write(cx, 5, at, &data[..len]));
        }
        3 if random.below(4) == 0 => {
            r.port = random.below(3);
            r.start();
        }
        3 => r.recover_quietly(),
        4..9 => {
            let slot = random.below(32);
            let opcode = OPCODES[random.below(16) as usize];
            let count = 1 + random.below(40) as u16;
            let sector = random.below(2000);
            let mut command = if opcode & 0xfe == 0x60 {
                queued(opcode, slot as u8, sector, count)
            } else {
                frame(opcode, sector, count)
            };
            if random.below(30) == 0 {
                command[random.below(20) as usize] = value as u8;
            }
            let packet = [0x28, 0, 0, 0, 0, value as u8 & 127, 0, 0, count as u8, 0, 0, 0];
            r.store(TABLES + slot * TABLE_LEN + 0x40, &packet);
            let at = DATA + u64::from(value) % 0x8_0000;
            let regions = [(at, 2 + value % 0x2000), (DATA, 0x8000), (DATA + 0x2000, 0x1_0000)];
            r.prepare(slot, value & (WRITE | PACKET), command, &regions);
            if opcode & 0xfe == 0x60 {
                r.write_port(0x34, 1 << slot);
            }
            r.issue(1 << slot);
        }
        9 => r.store(LIST + random.below(0x6000), &random.next().to_le_bytes()),
        _ => {
            let ns = random.below(3 * LATENCY_NS);
            r.bench.run_ns(&mut r.ahci, ns);
        }
    }
}

impl Rig {
    /// As a driver after an error, whatever the state.
    fn recover_quietly(&mut self) {
        self.write_port(0x18, 0x10);
        self.write_port(0x10, u32::MAX);
        self.write_port(0x18, 0x11);
    }
}

impl Driven for Rig {
    type Chip = Ahci;

    fn fresh(&self) -> Ahci {
        full(&self.bench)
    }
    fn parts(&mut self) -> (&mut Bench, &mut Ahci) {
        (&mut self.bench, &mut self.ahci)
    }
    fn start(&mut self) {
        self.ahci.config.write(4, &[0x06, 0x00]);
        Self::start(self);
    }
    fn act(&mut self, random: &mut Random) {
        random_access(self, random);
    }
}

fn rig() -> Rig {
    let bench = Bench::new();
    let ahci = full(&bench);
    Rig { bench, ahci, port: 0 }
}

#[test]
fn random_guests_do_no_harm() {
    drive(&mut rig(), 0xa4c1_5eed, 100_000);
}

#[test]
#[ignore = "takes a minute"]
fn a_million_random_accesses() {
    drive(&mut rig(), 0xa4c1_0000, 1_000_000);
}
