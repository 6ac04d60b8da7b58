//! A parallel flash memory with Intel's command set: where a PC's firmware and its variables are.
//!
//! Sources: JEDEC JESD68.01 (Common Flash Interface); Intel AP-646 (order 292204), command set
//! 0001h; Intel StrataFlash J3 datasheet (order 290667), for what a command does.
//!
//! The chip is eight bits wide: a wider access is as many cycles as it has bytes. Blocks are of one
//! size. Whatever a command starts is done at once. Blocks can be locked without effect.

use serde::{Deserialize, Serialize};

use crate::{Cx, Device, LoadError, Mmio, Saved, remarks::Remarks, saved::hex};

/// The chip's name.
const NAME: &str = "cfi-flash";

// Commands.
const PROGRAM: u8 = 0x40;
const PROGRAM_ALSO: u8 = 0x10;
const ERASE: u8 = 0x20;
const CLEAR_STATUS: u8 = 0x50;
const LOCK: u8 = 0x60;
const READ_STATUS: u8 = 0x70;
const READ_IDENTIFIER: u8 = 0x90;
const READ_QUERY: u8 = 0x98;
const SUSPEND: u8 = 0xb0;
/// Behind other commands, and alone to resume.
const CONFIRM: u8 = 0xd0;
const WRITE_BUFFER: u8 = 0xe8;
const READ_ARRAY: u8 = 0xff;

// Status: ready; erasing, programming has failed (both: a wrong sequence); the block is locked.
const READY: u8 = 1 << 7;
const ERASE_FAILED: u8 = 1 << 5;
const PROGRAM_FAILED: u8 = 1 << 4;
const LOCKED: u8 = 1 << 1;
const WRONG_SEQUENCE: u8 = ERASE_FAILED | PROGRAM_FAILED;
const STATUS_BITS: u8 = READY | WRONG_SEQUENCE | LOCKED;

/// Intel, and one of its chips.
const MANUFACTURER: u8 = 0x89;
const CHIP: u8 = 0x18;
/// Bytes of the write buffer, a power of two: as many as a count in one byte can be.
const BUFFER_LEN: usize = 256;
/// Where the query's table starts.
const QUERY_START: usize = 0x10;

/// The cells of a flash memory: the seam between the chip and the board, which may show them to
/// vCPUs as ROM while [`CfiFlash::shows_array`], and keeps them when the machine is off.
pub trait FlashCells: Send {
    /// Bytes of them; never changes.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether they cannot be written.
    fn is_read_only(&self) -> bool {
        false
    }
    /// Copies cells out, from `at` on; all of them are there.
    fn load(&self, at: usize, data: &mut [u8]);
    /// Replaces cells from `at` on; all of them are there. What was stored outlives the machine.
    /// False if that cannot be had: the cells are as they were.
    #[must_use]
    fn store(&mut self, at: usize, data: &[u8]) -> bool;
}

/// Cells in a vector, which do not outlive anything: for tests, and for firmware without variables.
impl FlashCells for Vec<u8> {
    fn len(&self) -> usize {
        Self::len(self)
    }
    fn load(&self, at: usize, data: &mut [u8]) {
        data.copy_from_slice(&self[at..at + data.len()]);
    }
    fn store(&mut self, at: usize, data: &[u8]) -> bool {
        self[at..at + data.len()].copy_from_slice(data);
        true
    }
}

/// What reading shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Shown {
    Array,
    Status,
    Identifier,
    Query,
}

/// What the next write is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Expected {
    Command,
    /// What is to be programmed, and where.
    Program,
    /// The confirmation, in the block to be erased.
    Erase,
    /// Which kind of lock.
    Lock,
    /// How many bytes come into the write buffer, less one.
    Count,
    /// One of them.
    Data,
    /// The confirmation behind the last one.
    Write,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    shown: Shown,
    expected: Expected,
    status: u8,
    /// How many bytes the write buffer is to have.
    count: u16,
    /// Where they go, once the first has come.
    start: Option<u32>,
    /// Those that have come, in the order of their places; erased ones for those that have not.
    #[serde(with = "hex")]
    buffer: Vec<u8>,
    /// How many have come.
    filled: u16,
}

impl State {
    fn new() -> Self {
        Self {
            shown: Shown::Array,
            expected: Expected::Command,
            status: READY,
            count: 0,
            start: None,
            buffer: Vec::new(),
            filled: 0,
        }
    }

    fn is_possible(&self) -> bool {
        self.status & !STATUS_BITS == 0
            && usize::from(self.count) <= BUFFER_LEN
            && self.buffer.len() == usize::from(self.count)
            && self.filled <= self.count
    }
}

/// The chip. Its window is as long as its cells.
pub struct CfiFlash {
    cells: Box<dyn FlashCells>,
    block_len: usize,
    query: Vec<u8>,
    remarks: Remarks,
    state: State,
}

impl CfiFlash {
    /// A chip with these cells, in blocks of `block_len` bytes.
    ///
    /// # Panics
    /// If blocks are not a power of two from 256 bytes to 8 MiB, or there are none, a part of one or
    /// more than 65,536 of them: the board is built wrongly.
    #[must_use]
    pub fn new(cells: Box<dyn FlashCells>, block_len: usize) -> Self {
        let is_size = block_len.is_power_of_two() && (256..=8 << 20).contains(&block_len);
        assert!(is_size, "a block cannot have {block_len} bytes");
        let blocks = cells.len() / block_len;
        let is_whole = cells.len().is_multiple_of(block_len) && (1..=1 << 16).contains(&blocks);
        assert!(is_whole, "{} bytes are not blocks of {block_len}", cells.len());
        let query = query(cells.len(), blocks, block_len);
        Self { cells, block_len, query, remarks: Remarks::new(NAME, 16), state: State::new() }
    }

    /// Whether reading shows the cells, so that they can be shown without asking the chip.
    #[must_use]
    pub fn shows_array(&self) -> bool {
        self.state.shown == Shown::Array
    }

    fn read(&self, at: usize) -> u8 {
        match self.state.shown {
            Shown::Array => {
                let mut byte = [0xff];
                if at < self.cells.len() {
                    self.cells.load(at, &mut byte);
                }
                byte[0]
            }
            Shown::Status => self.state.status,
            Shown::Identifier => match at % self.block_len & 0xff {
                0 => MANUFACTURER,
                1 => CHIP,
                // A block that is not locked, among others.
                _ => 0,
            },
            Shown::Query => {
                let row = (at & 0xff).checked_sub(QUERY_START);
                row.and_then(|row| self.query.get(row)).copied().unwrap_or(0)
            }
        }
    }

    fn write(&mut self, at: usize, value: u8) {
        match std::mem::replace(&mut self.state.expected, Expected::Command) {
            Expected::Command => self.command(value),
            Expected::Program => self.program(at, &[value]),
            Expected::Erase if value == CONFIRM => self.erase(at / self.block_len),
            // Blocks lock and unlock as one likes.
            Expected::Lock if matches!(value, 0x01 | 0x2f | CONFIRM) => self.state.status |= READY,
            Expected::Count => {
                let count = u16::from(value) + 1;
                let buffer = vec![u8::MAX; count.into()];
                let expected = Expected::Data;
                self.state =
                    State { expected, count, start: None, buffer, filled: 0, ..self.state };
            }
            Expected::Data => self.fill(at, value),
            Expected::Write if value == CONFIRM => {
                let State { start, buffer, .. } = self.take_buffer();
                if let Some(start) = start {
                    self.program(start as usize, &buffer);
                }
            }
            Expected::Erase | Expected::Lock | Expected::Write => self.refuse(),
        }
    }

    /// The first cycle of a command.
    fn command(&mut self, command: u8) {
        let state = &mut self.state;
        (state.shown, state.expected) = match command {
            READ_ARRAY => (Shown::Array, Expected::Command),
            READ_IDENTIFIER => (Shown::Identifier, Expected::Command),
            READ_QUERY => (Shown::Query, Expected::Command),
            READ_STATUS => (Shown::Status, Expected::Command),
            PROGRAM | PROGRAM_ALSO => (Shown::Status, Expected::Program),
            ERASE => (Shown::Status, Expected::Erase),
            LOCK => (Shown::Status, Expected::Lock),
            WRITE_BUFFER => {
                state.status |= READY;
                (Shown::Status, Expected::Count)
            }
            CLEAR_STATUS => {
                // A real chip stays ready. OVMF takes a chip for flash only if it now reads 0, as
                // emulators have it; it is ready again when it has done something.
                state.status = 0;
                (Shown::Array, Expected::Command)
            }
            // Nothing is under way that could be suspended or resumed.
            SUSPEND | CONFIRM => {
                state.status |= READY;
                (Shown::Status, Expected::Command)
            }
            _ => {
                self.remarks.say(format_args!("command {command:02x}"));
                (Shown::Array, Expected::Command)
            }
        };
    }

    /// A byte of the write buffer comes.
    fn fill(&mut self, at: usize, value: u8) {
        let state = &mut self.state;
        let start = *state.start.get_or_insert(at as u32);
        let place = at.checked_sub(start as usize).and_then(|n| state.buffer.get_mut(n));
        let Some(place) = place else { return self.refuse() };
        *place = value;
        state.filled += 1;
        let is_full = state.filled == state.count;
        state.expected = if is_full { Expected::Write } else { Expected::Data };
    }

    /// Empties the write buffer.
    fn take_buffer(&mut self) -> State {
        let State { shown, expected, status, .. } = self.state;
        let empty = State { shown, expected, status, ..State::new() };
        std::mem::replace(&mut self.state, empty)
    }

    /// That was not the command's next cycle.
    fn refuse(&mut self) {
        self.take_buffer();
        self.state.expected = Expected::Command;
        self.state.status |= READY | WRONG_SEQUENCE;
    }

    /// Programs cells from `at` on: ones can become zeros.
    fn program(&mut self, at: usize, data: &[u8]) {
        self.state.status |= READY;
        if self.cells.is_read_only() {
            self.state.status |= PROGRAM_FAILED | LOCKED;
        } else if at.checked_add(data.len()).is_none_or(|end| end > self.cells.len()) {
            self.state.status |= PROGRAM_FAILED;
        } else {
            let mut cells = vec![0; data.len()];
            self.cells.load(at, &mut cells);
            for (cell, byte) in cells.iter_mut().zip(data) {
                *cell &= byte;
            }
            if !self.cells.store(at, &cells) {
                self.state.status |= PROGRAM_FAILED;
            }
        }
    }

    fn erase(&mut self, block: usize) {
        self.state.status |= READY;
        if self.cells.is_read_only() {
            self.state.status |= ERASE_FAILED | LOCKED;
        } else if block >= self.cells.len() / self.block_len
            || !self.cells.store(block * self.block_len, &vec![u8::MAX; self.block_len])
        {
            self.state.status |= ERASE_FAILED;
        }
    }
}

/// The query's table from 10h on (JESD68.01, section 4.3): identification, system interface,
/// geometry, and Intel's extension. Times are powers of two of microseconds or milliseconds.
fn query(len: usize, blocks: usize, block_len: usize) -> Vec<u8> {
    let [blocks_low, blocks_high, ..] = (blocks - 1).to_le_bytes();
    let [size_low, size_high, ..] = (block_len / 256).to_le_bytes();
    let len_log2 = len.next_power_of_two().ilog2() as u8;
    let mut table = b"QRY".to_vec();
    // 13h: command set 0001h, its extension at 31h; no second one.
    table.extend([0x01, 0x00, 0x31, 0x00, 0x00, 0x00, 0x00, 0x00]);
    // 1Bh: 4.5 to 5.5 V, no VPP; a byte 128 us, the buffer too, a block 1 s; at most 16 times that.
    table.extend([0x45, 0x55, 0x00, 0x00, 0x07, 0x07, 0x0a, 0x00, 0x04, 0x04, 0x04, 0x00]);
    // 27h: how large; eight bits wide; the buffer; one kind of blocks, how many and how large.
    table.extend([len_log2, 0x00, 0x00, BUFFER_LEN.ilog2() as u8, 0x00, 0x01]);
    table.extend([blocks_low, blocks_high, size_low, size_high]);
    // 31h: version 1.0, no optional features, block status, no protection registers.
    table.extend(b"PRI10");
    table.extend([0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x50, 0x00, 0x00]);
    table
}

impl Device for CfiFlash {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.state = State::new();
    }

    /// The cells are not part of it, as a disk's contents are not.
    fn save(&self) -> Saved {
        Saved::pack(NAME, &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(NAME)?;
        if !state.is_possible() {
            let reason = "it cannot be in the midst of such a command".to_owned();
            return Err(LoadError::Damaged { device: NAME, reason });
        }
        self.state = state;
        Ok(())
    }

    fn as_mmio(&mut self) -> Option<&mut dyn Mmio> {
        Some(self)
    }
}

impl Mmio for CfiFlash {
    fn mmio_read(&mut self, _cx: &mut Cx<'_>, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset as usize..).zip(data) {
            *byte = self.read(at);
        }
    }

    fn mmio_write(&mut self, _cx: &mut Cx<'_>, offset: u64, data: &[u8]) {
        for (at, byte) in (offset as usize..).zip(data) {
            self.write(at, *byte);
        }
    }
}

#[cfg(test)]
mod tests;
