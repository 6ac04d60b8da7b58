//! The chip as OVMF's variable driver and Linux's MTD drivers use it.

use std::sync::{Arc, Mutex};

use super::*;
use crate::{
    Bench,
    stress::{Random, Subject, stress},
};

const BLOCK: usize = 0x1000;
const LEN: usize = 0x8_4000;

/// Cells that somebody else can look at, as a board's file.
#[derive(Clone)]
struct Cells {
    bytes: Arc<Mutex<Vec<u8>>>,
    is_read_only: bool,
    /// Nothing more can be stored.
    is_worn: bool,
}

impl FlashCells for Cells {
    fn len(&self) -> usize {
        self.bytes.lock().unwrap().len()
    }
    fn is_read_only(&self) -> bool {
        self.is_read_only
    }
    fn load(&self, at: usize, data: &mut [u8]) {
        self.bytes.lock().unwrap().load(at, data);
    }
    fn store(&mut self, at: usize, data: &[u8]) -> bool {
        assert!(!self.is_read_only);
        !self.is_worn && self.bytes.lock().unwrap().store(at, data)
    }
}

struct Rig {
    bench: Bench,
    flash: CfiFlash,
    cells: Cells,
}

impl Rig {
    /// A chip as large as OVMF's variables, full of zeros.
    fn new(is_read_only: bool) -> Self {
        Self::with_cells(is_read_only, false)
    }

    fn with_cells(is_read_only: bool, is_worn: bool) -> Self {
        let cells = Cells { bytes: Arc::new(Mutex::new(vec![0; LEN])), is_read_only, is_worn };
        let flash = CfiFlash::new(Box::new(cells.clone()), BLOCK);
        Self { bench: Bench::new(), flash, cells }
    }

    fn write(&mut self, at: usize, value: u8) {
        self.bench.with(|cx| self.flash.mmio_write(cx, at as u64, &[value]));
    }

    fn read(&mut self, at: usize) -> u8 {
        let mut data = [0xee];
        self.bench.with(|cx| self.flash.mmio_read(cx, at as u64, &mut data));
        data[0]
    }

    /// What is in the cells.
    fn cells(&self, at: usize, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.cells.load(at, &mut data);
        data
    }

    // OVMF's QemuFlash.c

    /// Looks for a byte that no command's status could be, and for what the memory does with
    /// commands there.
    fn is_detected(&mut self) -> bool {
        let is_free = |byte: u8| ![0x50, 0x70, 0x00].contains(&byte);
        let Some(at) = (0..BLOCK).find(|at| is_free(self.read(*at))) else { return false };
        let before = self.read(at);
        self.write(at, 0x50);
        if self.read(at) == 0x50 {
            return false;
        }
        self.write(at, 0x70);
        let after = self.read(at);
        self.write(at, 0xff);
        after != before && after == 0
    }

    fn store(&mut self, at: usize, data: &[u8]) {
        for (at, byte) in (at..).zip(data) {
            self.write(at, 0x10);
            self.write(at, *byte);
        }
        self.write(at + data.len() - 1, 0xff);
    }

    fn erase(&mut self, block: usize) {
        self.write(block * BLOCK, 0x20);
        self.write(block * BLOCK, 0xd0);
    }

    /// Linux's cfi_cmdset_0001: a piece by way of the buffer, and the status afterwards.
    fn store_by_buffer(&mut self, at: usize, data: &[u8]) -> u8 {
        self.write(at, 0xe8);
        assert_eq!(self.read(at), 0x80, "the buffer is free");
        self.write(at, (data.len() - 1) as u8);
        for (at, byte) in (at..).zip(data) {
            self.write(at, *byte);
        }
        self.write(at, 0xd0);
        self.read(at)
    }

    /// The status, which is then cleared.
    fn status(&mut self) -> u8 {
        self.write(0, 0x70);
        let status = self.read(0);
        self.write(0, 0x50);
        status
    }
}

#[test]
fn ovmf_keeps_its_variables() {
    let mut rig = Rig::new(false);
    assert!(!rig.is_detected(), "there is nothing to look at in zeros");
    for block in 0..LEN / BLOCK {
        rig.erase(block);
    }
    assert_eq!(rig.read(0), 0x80, "status, until somebody wants the array");
    rig.write(0, 0xff);
    assert!(rig.is_detected() && rig.flash.shows_array());
    let header: Vec<u8> = (0..0x64_u8).map(|n| n.wrapping_mul(3)).collect();
    rig.store(0x40, &header);
    assert_eq!((rig.cells(0x3f, 2), rig.cells(0x40, 0x64)), (vec![0xff, 0], header));
    assert_eq!((rig.read(0x40), rig.read(0x41)), (0, 3));
    // A variable's state goes by clearing bits; they come back with the whole block only.
    for state in [0x7f, 0x3f, 0x3e, 0xff] {
        rig.store(BLOCK + 2, &[state]);
    }
    assert_eq!(rig.cells(BLOCK + 1, 3), [0xff, 0x3e, 0xff]);
    rig.erase(1);
    assert_eq!(rig.cells(BLOCK + 1, 3), [0xff; 3]);
    assert_eq!(rig.cells(0x41, 1), [3], "of the others nothing is gone");
    // The next machine finds it again.
    let mut next = CfiFlash::new(Box::new(rig.cells.clone()), BLOCK);
    let mut data = [0; 4];
    rig.bench.with(|cx| next.mmio_read(cx, 0x41, &mut data));
    assert_eq!(data, [3, 6, 9, 12]);
}

#[test]
fn linux_finds_and_writes_it() {
    let mut rig = Rig::new(false);
    rig.write(0x55, 0x98);
    assert!(!rig.flash.shows_array());
    let table: Vec<u8> = (0x10..0x41).map(|at| rig.read(at)).collect();
    assert_eq!((&table[..3], &table[3..7]), (&b"QRY"[..], &[1, 0, 0x31, 0][..]));
    // 2 to the power of 20 or less; blocks of 16 times 256 bytes.
    assert_eq!(table[0x17..0x21], [20, 0, 0, 8, 0, 1, 0x83, 0, 16, 0]);
    assert_eq!(&table[0x21..0x26], b"PRI10");
    assert_eq!([rig.read(0x00), rig.read(0x41), rig.read(0xff)], [0; 3]);
    rig.write(0, 0x90);
    assert_eq!([0, 1, 2, BLOCK, BLOCK + 1].map(|at| rig.read(at)), [0x89, 0x18, 0, 0x89, 0x18]);
    rig.erase(3);
    let data: Vec<u8> = (0..=255).collect();
    assert_eq!(rig.store_by_buffer(3 * BLOCK + 7, &data), 0x80);
    assert_eq!(rig.store_by_buffer(3 * BLOCK, &[9]), 0x80);
    assert_eq!(rig.cells(3 * BLOCK, 8), [9, 255, 255, 255, 255, 255, 255, 0]);
    assert_eq!(rig.cells(3 * BLOCK + 7, 256), data);
    // Locks are opened and closed; nothing is under way to be suspended.
    for value in [0x60, 0xd0, 0x60, 0x01, 0xb0, 0xd0] {
        rig.write(3 * BLOCK, value);
    }
    assert_eq!(rig.status(), 0x80);
    // A wide access is one cycle after the other.
    rig.erase(3);
    rig.bench.with(|cx| rig.flash.mmio_write(cx, 3 * BLOCK as u64, &[0x40, 0x11, 0x40, 0x22]));
    assert_eq!(rig.cells(3 * BLOCK, 4), [0xff, 0x11, 0xff, 0x22]);
}

#[test]
fn what_is_wrong_is_refused() {
    let mut rig = Rig::new(false);
    rig.erase(0);
    for (sequence, status) in [
        (&[(0, 0x20), (0, 0xff)][..], 0xb0),
        (&[(0, 0x60), (0, 0x99)], 0xb0),
        // A byte outside the buffer, before it, and no confirmation.
        (&[(0, 0xe8), (0, 1), (0, 5), (2, 6)], 0xb0),
        (&[(0, 0xe8), (0, 1), (9, 5), (8, 6)], 0xb0),
        (&[(0, 0xe8), (0, 0), (0, 5), (0, 0xff)], 0xb0),
        // Behind the end: by a byte, by a buffer that begins within.
        (&[(LEN, 0x40), (LEN, 5)], 0x90),
        (&[(LEN - 1, 0xe8), (0, 1), (LEN - 1, 5), (LEN, 6), (0, 0xd0)], 0x90),
        (&[(LEN, 0x20), (LEN, 0xd0)], 0xa0),
    ] {
        rig.status();
        for (at, value) in sequence {
            rig.write(*at, *value);
        }
        assert_eq!(rig.status(), status, "{sequence:x?}");
    }
    assert_eq!((rig.cells(0, 16), rig.cells(LEN - 1, 1)), (vec![0xff; 16], vec![0]));
    rig.write(0, 0xff);
    assert_eq!(rig.read(LEN), 0xff);
    // Commands that there are not.
    for command in [0x00, 0x01, 0xc0, 0xf0] {
        rig.write(0, 0x70);
        rig.write(0, command);
        assert!(rig.flash.shows_array());
    }
    let mut rig = Rig::new(true);
    rig.erase(0);
    assert_eq!(rig.status(), 0xa2);
    rig.store(0, &[1]);
    assert_eq!(rig.status(), 0x92);
}

#[test]
fn what_cannot_be_kept_is_not_done() {
    let mut rig = Rig::with_cells(false, true);
    rig.erase(0);
    assert_eq!(rig.status(), 0xa0);
    rig.store(0, &[1]);
    assert_eq!(rig.status(), 0x90);
    assert_eq!(rig.store_by_buffer(0, &[1, 2]), 0x90);
    assert_eq!(rig.cells(0, BLOCK), vec![0; BLOCK]);
}

#[test]
fn a_command_goes_on_after_a_load() {
    let mut rig = Rig::new(false);
    rig.erase(0);
    for (at, value) in [(0, 0xe8), (0, 2), (5, 1), (7, 3)] {
        rig.write(at, value);
    }
    let saved = rig.flash.save();
    let mut next = CfiFlash::new(Box::new(rig.cells.clone()), BLOCK);
    next.load(&saved).expect("a chip loads what it saved");
    assert_eq!(next.save(), saved);
    rig.flash = next;
    rig.write(6, 2);
    rig.write(0, 0xd0);
    assert_eq!((rig.cells(4, 5), rig.status()), (vec![0xff, 1, 2, 3, 0xff], 0x80));
    for (field, value) in [("count", 257), ("count", 2), ("filled", 4), ("status", 1)] {
        let mut damaged = saved.clone();
        damaged.state[field] = value.into();
        assert!(rig.flash.load(&damaged).is_err(), "{field} {value}");
    }
}

/// Mostly commands, so that they are followed to their end.
fn random_command(flash: &mut CfiFlash, cx: &mut Cx<'_>, random: &mut Random) {
    const COMMANDS: [u8; 14] =
        [0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0x90, 0x98, 0xb0, 0xd0, 0xd0, 0xe8, 0xe8, 0xff];
    let at = random.below(1 << 14);
    let command = COMMANDS[random.below(14) as usize];
    flash.mmio_write(cx, at, &[command]);
    if command == 0xe8 {
        let count = random.below(16);
        flash.mmio_write(cx, at, &[count as u8]);
        for n in 0..=count {
            flash.mmio_write(cx, at + n, &[random.next() as u8]);
        }
        flash.mmio_write(cx, at, &[[0xd0, 0xff][random.below(2) as usize]]);
    }
    flash.mmio_read(cx, at, &mut [0; 16]);
}

fn random_accesses(seed: u64, steps: u32) {
    let fresh = |_: &Bench| CfiFlash::new(Box::new(vec![0xff; 1 << 14]), 1 << 10);
    stress(
        Subject { fresh, window: 1 << 14, pins: 0, vcpus: 1, other: random_command },
        seed,
        steps,
    );
}

#[test]
fn random_guests_do_no_harm() {
    random_accesses(0xf1a5, 100_000);
}

#[test]
#[ignore = "takes ten seconds"]
fn a_million_random_accesses() {
    random_accesses(0xf1a5_0000, 1_000_000);
}
