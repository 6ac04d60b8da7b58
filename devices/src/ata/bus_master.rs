//! One channel's bus master (Programming Interface for Bus Master IDE Controller, revision 1.0;
//! Intel 82371SB datasheet, section 2.7).
//!
//! Regions of memory come from a table of physical region descriptors. Neither a region nor the
//! table should cross a boundary of 64 KiB: a table goes on at the start of its 64 KiB, but a region
//! just goes on, as EDK II has them anywhere, and later chips take that. A table without an end does
//! no harm, for a drive moves so much and no more.

use serde::{Deserialize, Serialize};
use trine_guest::Gpa;

use super::{AtaDrive, cable::Phase};
use crate::Cx;

/// Command: started.
const START: u8 = 1 << 0;
/// Command: to memory, from the drive.
const TO_MEMORY: u8 = 1 << 3;
/// Status: regions are left.
const ACTIVE: u8 = 1 << 0;
/// Status: something is wrong with the table or with the memory.
const ERROR: u8 = 1 << 1;
/// Status: the drive has interrupted.
const INTERRUPT: u8 = 1 << 2;
/// Status: memory of the firmware's, that the drives can do DMA.
const CAPABLE: u8 = 3 << 5;

/// Descriptor: the table ends here.
const END_OF_TABLE: u32 = 1 << 31;
/// The table does not cross multiples of it, and no region is larger.
const BOUNDARY: u32 = 1 << 16;

/// The registers, by their offset.
const COMMAND: u64 = 0;
const STATUS: u64 = 2;
const TABLE: u64 = 4;

/// Memory that is being read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Region {
    at: u32,
    left: u32,
    is_last: bool,
}

/// The registers of a channel, and how far it is.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct BusMaster {
    command: u8,
    status: u8,
    table: u32,
    /// The next descriptor.
    next: u32,
    region: Region,
}

impl BusMaster {
    /// Whether these can be its registers.
    pub(super) fn is_valid(&self) -> bool {
        self.command & !(START | TO_MEMORY) == 0
            && self.status & !(ACTIVE | ERROR | INTERRUPT | CAPABLE) == 0
            && (self.table | self.next) & 3 == 0
            && self.region.left <= BOUNDARY
    }

    /// Reads a register; what is reserved reads 0.
    pub(super) fn read(&self, offset: u64) -> u8 {
        match offset {
            COMMAND => self.command,
            STATUS => self.status,
            TABLE.. => self.table.to_le_bytes()[(offset & 3) as usize],
            _ => 0,
        }
    }

    pub(super) fn write(&mut self, offset: u64, value: u8) {
        match offset {
            COMMAND => {
                if value & !self.command & START != 0 {
                    self.status |= ACTIVE;
                    (self.next, self.region) = (self.table, Region::default());
                } else if value & START == 0 {
                    self.status &= !ACTIVE;
                }
                self.command = value & (START | TO_MEMORY);
            }
            STATUS => {
                let kept = self.status & !(value & (ERROR | INTERRUPT)) & !CAPABLE;
                self.status = kept | value & CAPABLE;
            }
            TABLE.. => {
                let mut bytes = self.table.to_le_bytes();
                bytes[(offset & 3) as usize] = value;
                self.table = u32::from_le_bytes(bytes) & !3;
            }
            _ => {}
        }
    }

    /// INTRQ has risen.
    pub(super) fn interrupted(&mut self) {
        self.status |= INTERRUPT;
    }

    /// Moves what `drive` has or wants, as far as drive and table go.
    pub(super) fn pump(&mut self, cx: &Cx<'_>, drive: &mut AtaDrive) {
        while self.command & START != 0 && self.status & ACTIVE != 0 {
            let is_to_memory = match drive.phase() {
                Phase::DmaIn => true,
                Phase::DmaOut => false,
                _ => return,
            };
            let is_moved = is_to_memory == (self.command & TO_MEMORY != 0)
                && self.fetch(cx)
                && self.step(cx, drive).is_some();
            if !is_moved {
                self.status = self.status & !ACTIVE | ERROR;
            } else if self.region.left == 0 && self.region.is_last {
                self.status &= !ACTIVE;
            }
        }
    }

    /// Sees to it that there is a region; false if the table is bad.
    fn fetch(&mut self, cx: &Cx<'_>) -> bool {
        if self.region.left != 0 {
            return true;
        }
        let mut descriptor = [0; 8];
        if cx.ram.read(Gpa(u64::from(self.next)), &mut descriptor).is_err() {
            return false;
        }
        let [a, b, c, d, counts @ ..] = descriptor;
        let (at, counts) = (u32::from_le_bytes([a, b, c, d]) & !1, u32::from_le_bytes(counts));
        let left = match counts & (BOUNDARY - 2) {
            0 => BOUNDARY,
            count => count,
        };
        self.region = Region { at, left, is_last: counts & END_OF_TABLE != 0 };
        self.next = self.next & !(BOUNDARY - 1) | self.next.wrapping_add(8) & (BOUNDARY - 1);
        true
    }

    /// Moves as much as region and drive allow; `None` if that is not memory.
    fn step(&mut self, cx: &Cx<'_>, drive: &mut AtaDrive) -> Option<()> {
        let at = Gpa(u64::from(self.region.at));
        let most = self.region.left as usize;
        let count = match drive.phase() {
            Phase::DmaIn => {
                let rest = drive.rest();
                let count = rest.len().min(most);
                cx.ram.write(at, &rest[..count]).ok()?;
                drive.take(cx.now, count);
                count
            }
            _ => {
                let mut data = vec![0; drive.room().min(most)];
                cx.ram.read(at, &mut data).ok()?;
                drive.put(cx.now, &data);
                data.len()
            }
        };
        self.region.at = self.region.at.wrapping_add(count as u32);
        self.region.left -= count as u32;
        // A drive that moves nothing in a phase of moving cannot go on.
        (count != 0).then_some(())
    }
}
