//! The window at A0000h: how the graphics controller and the sequencer bring the CPU's bytes to the
//! four planes and back.
//!
//! Source: IBM VGA/XGA Technical Reference, section 2, "Graphics controller" and "Sequencer".
//!
//! Four bytes travel at once, one for each plane, as a word whose lowest byte is plane 0's. In
//! chain-4 addressing the planes' bytes of window address *A* lie at plane address *A / 4*, so that
//! what the CPU sees as linear is linear in the video memory; an IBM VGA leaves plane addresses
//! that are no multiple of 4 unused. Only who draws with chaining and reads the same without (or
//! the other way round) could tell.

use super::{
    memory::VideoMemory,
    registers::{Registers, gc, seq},
};

/// Plane addresses of an IBM VGA.
const PLANE: u32 = 1 << 16;

/// Makes every plane a byte of FFh whose bit in `planes` is set.
pub(super) fn spread(planes: u8) -> u32 {
    let bit = |plane: u8| u32::from(planes >> plane & 1) * 0xff << (8 * plane);
    bit(0) | bit(1) | bit(2) | bit(3)
}

/// The same byte for every plane.
fn replicate(byte: u8) -> u32 {
    u32::from(byte) * 0x0101_0101
}

/// Where an access to the window goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    /// The word in the video memory.
    at: usize,
    /// The planes that are addressed, one bit for each.
    planes: u8,
    /// The plane that is read.
    read_plane: u8,
}

/// Where byte `offset` of the window at A0000h is on the map that the graphics controller selects:
/// the offset from the map's start, and whether the map is the one of 128 KiB.
fn mapped(registers: &Registers, offset: u32) -> Option<(u32, bool)> {
    let (start, len) = match registers.graphics[gc::MISCELLANEOUS] >> 2 & 3 {
        0 => (0, 0x2_0000),
        1 => (0, 0x1_0000),
        2 => (0x1_0000, 0x8000),
        _ => (0x1_8000, 0x8000),
    };
    let address = offset.checked_sub(start)?;
    (address < len && registers.decodes_memory()).then_some((address, len == 0x2_0000))
}

/// The access of the CPU to `offset` in the window. `bank` is where it starts in planes that are
/// larger than a VGA's; `None` leaves them as large as they are.
fn place(registers: &Registers, offset: u32, bank: Option<u32>) -> Option<Place> {
    let (address, is_large) = mapped(registers, offset)?;
    let memory_mode = registers.sequencer[seq::MEMORY_MODE];
    let low = (address & 3) as u8;
    let (address, planes, read_plane) = if memory_mode & seq::CHAIN_4 != 0 {
        (address >> 2, 1 << low, low)
    } else {
        let odd = low & 1;
        let steers = memory_mode & seq::SEQUENTIAL == 0;
        let read_map = registers.graphics[gc::READ_MAP] & 3;
        let reads_odd_even = registers.graphics[gc::MODE] & gc::READ_ODD_EVEN != 0;
        let chained = registers.graphics[gc::MISCELLANEOUS] & gc::CHAIN_ODD_EVEN != 0;
        let even = if is_large { address >> 16 & 1 } else { u32::from(registers.is_high_page()) };
        let address = if chained { address & !1 | even } else { address };
        let planes = if steers { 0b0101 << odd } else { 0b1111 };
        (address, planes, if reads_odd_even { read_map & 2 | odd } else { read_map })
    };
    let address = match bank {
        Some(bank) => address % PLANE + bank,
        None => address % PLANE,
    };
    Some(Place { at: 4 * address as usize, planes, read_plane })
}

impl Registers {
    /// The CPU reads byte `offset` of the window; `None` if nobody answers.
    pub(super) fn load(
        &mut self,
        memory: &dyn VideoMemory,
        offset: u32,
        bank: Option<u32>,
    ) -> Option<u8> {
        let place = place(self, offset, bank)?;
        self.latch = memory.load_word(place.at);
        if self.graphics[gc::MODE] & gc::READ_COMPARES == 0 {
            return Some(self.latch.to_le_bytes()[usize::from(place.read_plane)]);
        }
        let cared_for = spread(self.graphics[gc::COLOR_DONT_CARE]);
        let differs = (self.latch ^ spread(self.graphics[gc::COLOR_COMPARE])) & cared_for;
        Some(!differs.to_le_bytes().iter().fold(0, |all, plane| all | plane))
    }

    /// The CPU writes byte `offset` of the window.
    pub(super) fn store(
        &mut self,
        memory: &mut dyn VideoMemory,
        offset: u32,
        bank: Option<u32>,
        value: u8,
    ) {
        let Some(place) = place(self, offset, bank) else { return };
        let planes = spread(place.planes & self.sequencer[seq::MAP_MASK]);
        let word = self.compute(value);
        if planes == u32::MAX {
            memory.store_word(place.at, word);
        } else if planes != 0 {
            let old = memory.load_word(place.at);
            memory.store_word(place.at, old & !planes | word & planes);
        }
    }

    /// What the graphics controller makes of a byte of the CPU's, for all planes.
    fn compute(&self, value: u8) -> u32 {
        let graphics = &self.graphics;
        let rotated = value.rotate_right(u32::from(graphics[gc::ROTATE] & 7));
        let set_reset = spread(graphics[gc::SET_RESET]);
        let mut mask = graphics[gc::BIT_MASK];
        let word = match graphics[gc::MODE] & 3 {
            0 => {
                let enabled = spread(graphics[gc::ENABLE_SET_RESET]);
                replicate(rotated) & !enabled | set_reset & enabled
            }
            1 => return self.latch,
            2 => spread(value),
            _ => {
                mask &= rotated;
                set_reset
            }
        };
        let word = match graphics[gc::ROTATE] >> 3 & 3 {
            0 => word,
            1 => word & self.latch,
            2 => word | self.latch,
            _ => word ^ self.latch,
        };
        let mask = replicate(mask);
        word & mask | self.latch & !mask
    }
}
