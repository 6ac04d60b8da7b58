//! The DAC: 256 colors of three components, and the state machine by which the CPU reaches them.
//!
//! Source: IBM VGA/XGA Technical Reference, section 2, "Video digital-to-analog converter".

use serde::{Deserialize, Serialize};

/// Colors of three components, red first.
const SIZE: usize = 3 * 256;

/// What register 3C7h reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Access {
    Write = 0,
    Read = 3,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Dac {
    colors: Vec<u8>,
    /// The PEL mask: these bits of a color's number count.
    pub mask: u8,
    read_index: u8,
    write_index: u8,
    /// The component that is next: 0 to 2.
    component: u8,
    access: Access,
    /// The components of the color that is being written; all three arrive with the last.
    pending: [u8; 2],
}

impl Dac {
    pub(super) fn new() -> Self {
        Self {
            colors: vec![0; SIZE],
            mask: 0xff,
            read_index: 0,
            write_index: 0,
            component: 0,
            access: Access::Write,
            pending: [0; 2],
        }
    }

    pub(super) fn is_valid(&self) -> bool {
        self.colors.len() == SIZE && self.component < 3
    }

    pub(super) fn state(&self) -> u8 {
        self.access as u8
    }

    pub(super) fn write_index(&self) -> u8 {
        self.write_index
    }

    pub(super) fn set_read_index(&mut self, index: u8) {
        (self.read_index, self.component, self.access) = (index, 0, Access::Read);
    }

    pub(super) fn set_write_index(&mut self, index: u8) {
        (self.write_index, self.component, self.access) = (index, 0, Access::Write);
    }

    /// The next component, of `bits` (6 or 8) bits.
    pub(super) fn read(&mut self, bits: u8) -> u8 {
        let value = self.colors[3 * usize::from(self.read_index) + usize::from(self.component)];
        self.component = (self.component + 1) % 3;
        if self.component == 0 {
            self.read_index = self.read_index.wrapping_add(1);
        }
        value & mask(bits)
    }

    /// Writes the next component, of `bits` (6 or 8) bits.
    pub(super) fn write(&mut self, value: u8, bits: u8) {
        let value = value & mask(bits);
        if let Some(pending) = self.pending.get_mut(usize::from(self.component)) {
            *pending = value;
            self.component += 1;
            return;
        }
        let at = 3 * usize::from(self.write_index);
        self.colors[at..at + 3].copy_from_slice(&[self.pending[0], self.pending[1], value]);
        self.write_index = self.write_index.wrapping_add(1);
        self.component = 0;
    }

    /// What color `index` looks like, as 0RGB.
    pub(super) fn color(&self, index: u8, bits: u8) -> u32 {
        let at = 3 * usize::from(index & self.mask);
        let component = |n: usize| {
            let value = self.colors[at + n] & mask(bits);
            u32::from(if bits == 8 { value } else { value << 2 | value >> 4 })
        };
        component(0) << 16 | component(1) << 8 | component(2)
    }
}

fn mask(bits: u8) -> u8 {
    if bits == 8 { 0xff } else { 0x3f }
}
