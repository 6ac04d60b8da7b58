//! A buffer as the driver describes it: a chain of descriptors, walked once and checked.

use trine_guest::{Gpa, Ram};

use super::QueueError;
use crate::segment::{self, Segment, len_of, pieces};

/// Bytes of a descriptor (VIRTIO 1.2, section 2.7.5).
const DESCRIPTOR: u64 = 16;
/// The most descriptors of an indirect table. The specification allows as many as the queue has
/// entries; Linux makes tables as long as the device's own limits allow.
const INDIRECT_MAX: u32 = 1024;

// Flags of a descriptor.
const NEXT: u16 = 1 << 0;
const WRITE: u16 = 1 << 1;
const INDIRECT: u16 = 1 << 2;

/// A buffer: what the device reads, and where it writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    /// Its first descriptor, by which the driver knows it.
    pub head: u16,
    /// For the device to read.
    pub readable: Vec<Segment>,
    /// For the device to write.
    pub writable: Vec<Segment>,
}

/// A descriptor as it lies in RAM.
struct Descriptor {
    at: Gpa,
    len: u32,
    flags: u16,
    next: u16,
}

impl Descriptor {
    fn read(ram: &Ram, table: Gpa, index: u16) -> Result<Self, QueueError> {
        let at = table.offset(DESCRIPTOR * u64::from(index));
        let mut bytes = [0; DESCRIPTOR as usize];
        ram.read(at, &mut bytes).map_err(|_| QueueError::NotRam(at))?;
        let all = u128::from_le_bytes(bytes);
        Ok(Self {
            at: Gpa(all as u64),
            len: (all >> 64) as u32,
            flags: (all >> 96) as u16,
            next: (all >> 112) as u16,
        })
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

impl Chain {
    /// Walks the chain that begins with descriptor `head` of a table of `size` descriptors.
    ///
    /// # Errors
    /// If it has no end, leaves its table, or a part of it is not in RAM.
    pub(super) fn walk(
        ram: &Ram,
        table: Gpa,
        size: u16,
        head: u16,
        indirect: bool,
    ) -> Result<Self, QueueError> {
        let mut chain = Self { head, readable: Vec::new(), writable: Vec::new() };
        let (mut table, mut entries, mut index) = (table, u32::from(size), head);
        let (mut may_go_indirect, mut seen) = (indirect, 0);
        loop {
            if u32::from(index) >= entries {
                return Err(QueueError::NoDescriptor(index));
            }
            seen += 1;
            if seen > entries {
                return Err(QueueError::Endless);
            }
            let descriptor = Descriptor::read(ram, table, index)?;
            if descriptor.has(INDIRECT) {
                (table, entries) = (descriptor.at, descriptor.len / DESCRIPTOR as u32);
                let is_whole = descriptor.len.is_multiple_of(DESCRIPTOR as u32);
                let is_possible = is_whole && (1..=INDIRECT_MAX).contains(&entries);
                if !may_go_indirect || !is_possible || descriptor.has(NEXT) {
                    return Err(QueueError::Indirect);
                }
                (may_go_indirect, seen, index) = (false, 0, 0);
                continue;
            }
            chain.add(ram, &descriptor)?;
            if !descriptor.has(NEXT) {
                return Ok(chain);
            }
            index = descriptor.next;
        }
    }

    fn add(&mut self, ram: &Ram, descriptor: &Descriptor) -> Result<(), QueueError> {
        let &Descriptor { at, len, .. } = descriptor;
        if len == 0 {
            return Ok(());
        }
        if !is_ram(ram, at, len) {
            return Err(QueueError::NotRam(at));
        }
        if descriptor.has(WRITE) {
            self.writable.push(Segment { at, len });
        } else if self.writable.is_empty() {
            self.readable.push(Segment { at, len });
        } else {
            return Err(QueueError::Order);
        }
        Ok(())
    }

    /// Bytes to read.
    #[must_use]
    pub fn readable_len(&self) -> u64 {
        len_of(&self.readable)
    }

    /// Bytes to write.
    #[must_use]
    pub fn writable_len(&self) -> u64 {
        len_of(&self.writable)
    }

    /// Reads from byte `from` of the readable part on. Returns how many bytes there were.
    pub fn read(&self, ram: &Ram, from: u64, data: &mut [u8]) -> usize {
        segment::read(pieces(&self.readable, from, data.len() as u64), ram, data)
    }

    /// Where bytes `from` to `from + len - 1` of the readable part lie, as far as there are so many.
    #[must_use]
    pub fn part(&self, from: u64, len: u64) -> Vec<Segment> {
        pieces(&self.readable, from, len).collect()
    }

    /// Writes from byte `from` of the writable part on. Returns for how many bytes there was room.
    pub fn write(&self, ram: &Ram, from: u64, data: &[u8]) -> usize {
        let mut done = 0;
        for Segment { at, len } in pieces(&self.writable, from, data.len() as u64) {
            let len = len as usize;
            if ram.write(at, &data[done..done + len]).is_err() {
                break;
            }
            done += len;
        }
        done
    }
}

/// Whether `len` bytes at `at` are all in RAM.
fn is_ram(ram: &Ram, at: Gpa, len: u32) -> bool {
    let (mut at, mut left) = (at, u64::from(len));
    while left > 0 {
        let Some(spot) = ram.spot(at) else { return false };
        let part = left.min(spot.run);
        (at, left) = (at.offset(part), left - part);
    }
    true
}
