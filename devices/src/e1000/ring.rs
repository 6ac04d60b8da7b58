//! Rings of descriptors (sections 3.2.6 and 3.4): those from head on to before tail are the
//! hardware's.

use serde::{Deserialize, Serialize};
use trine_guest::Gpa;

/// Bytes of a descriptor, of every kind.
pub(super) const DESCRIPTOR: usize = 16;

// Registers, from the start of a ring's block.
const BASE_LOW: u32 = 0x00;
const BASE_HIGH: u32 = 0x04;
const LENGTH: u32 = 0x08;
const HEAD: u32 = 0x10;
/// To be written when there are more descriptors.
pub(super) const TAIL: u32 = 0x18;

const BASE_BITS: u64 = !0xf;
const LENGTH_BITS: u32 = 0x000f_ff80;

/// A ring's registers.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Ring {
    base: u64,
    len: u32,
    head: u16,
    tail: u16,
}

impl Ring {
    pub(super) fn is_possible(&self) -> bool {
        self.base & !BASE_BITS == 0 && self.len & !LENGTH_BITS == 0
    }

    /// How many descriptors there are, at most 65,528.
    pub(super) fn entries(&self) -> u32 {
        self.len / DESCRIPTOR as u32
    }

    /// How many of them are the hardware's; none if head or tail lie outside the ring.
    pub(super) fn ready(&self) -> u32 {
        let [head, tail] = [self.head, self.tail].map(u32::from);
        let entries = self.entries();
        match head.max(tail) < entries {
            true if tail >= head => tail - head,
            true => entries - head + tail,
            false => 0,
        }
    }

    /// Where the descriptor `n` after head lies; `n` is below [`Ring::ready`].
    pub(super) fn at(&self, n: u32) -> Gpa {
        let index = (u32::from(self.head) + n) % self.entries().max(1);
        Gpa(self.base).offset(u64::from(index) * DESCRIPTOR as u64)
    }

    /// The hardware is done with `count` descriptors, no more than [`Ring::ready`].
    pub(super) fn advance(&mut self, count: u32) {
        self.head = ((u32::from(self.head) + count) % self.entries().max(1)) as u16;
    }

    pub(super) fn read(&self, register: u32) -> u32 {
        match register {
            BASE_LOW => self.base as u32,
            BASE_HIGH => (self.base >> 32) as u32,
            LENGTH => self.len,
            HEAD => self.head.into(),
            TAIL => self.tail.into(),
            _ => 0,
        }
    }

    pub(super) fn write(&mut self, register: u32, value: u32) {
        match register {
            BASE_LOW => self.base = (self.base >> 32 << 32 | u64::from(value)) & BASE_BITS,
            BASE_HIGH => self.base = u64::from(value) << 32 | self.base & u64::from(u32::MAX),
            LENGTH => self.len = value & LENGTH_BITS,
            HEAD => self.head = value as u16,
            TAIL => self.tail = value as u16,
            _ => {}
        }
    }
}
