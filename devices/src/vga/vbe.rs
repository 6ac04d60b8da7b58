//! The Bochs display interface: linear modes behind an index and a data register.
//!
//! Source: the VBE display software interface of the Bochs project ("VBE DISPI", versions B0C0h to
//! B0C5h), and what Linux's bochs-drm and SeaBIOS's VGA BIOS expect of it.

use serde::{Deserialize, Serialize};

/// The newest version of the interface.
const ID: u16 = 0xb0c5;
/// The largest picture.
pub(super) const WIDTH_MAX: u16 = 4096;
pub(super) const HEIGHT_MAX: u16 = 4096;
const BITS_MAX: u16 = 32;

const ENABLED: u16 = 1 << 0;
/// Resolutions and depth read as the largest ones possible.
const GET_CAPABILITIES: u16 = 1 << 1;
const EIGHT_BIT_DAC: u16 = 1 << 5;
const LINEAR: u16 = 1 << 6;
/// The video memory keeps its contents when a mode is enabled.
const NO_CLEAR: u16 = 1 << 7;
const ENABLE_WRITABLE: u16 = ENABLED | GET_CAPABILITIES | EIGHT_BIT_DAC | LINEAR | NO_CLEAR;

/// Registers by their indices.
mod index {
    pub const ID: u16 = 0;
    pub const WIDTH: u16 = 1;
    pub const HEIGHT: u16 = 2;
    pub const BITS: u16 = 3;
    pub const ENABLE: u16 = 4;
    pub const BANK: u16 = 5;
    pub const VIRTUAL_WIDTH: u16 = 6;
    pub const VIRTUAL_HEIGHT: u16 = 7;
    pub const X_OFFSET: u16 = 8;
    pub const Y_OFFSET: u16 = 9;
    pub const MEMORY_64K: u16 = 10;
}

/// The registers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Dispi {
    pub index: u16,
    id: u16,
    width: u16,
    height: u16,
    bits: u16,
    enable: u16,
    bank: u16,
    virtual_width: u16,
    x_offset: u16,
    y_offset: u16,
    /// Pixels of more than a byte are big endian (QEMU's extension).
    pub is_big_endian: bool,
}

/// A mode that is enabled, with everything inside the video memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mode {
    pub width: u16,
    pub height: u16,
    /// 4 (planar), 8 (palette), 15, 16, 24 or 32.
    pub bits: u16,
    /// Bytes of video memory from one line to the next.
    pub pitch: usize,
    /// The byte of video memory at which the picture starts.
    pub start: usize,
    /// Pixels of the first byte (of 4 planes) that lie left of the picture.
    pub skip: u8,
    pub is_big_endian: bool,
}

/// Bytes of video memory that a line of `width` pixels takes.
fn line_len(width: u16, bits: u16) -> usize {
    let width = usize::from(width);
    match bits {
        4 => width / 8 * 4,
        _ => width * usize::from(bits.div_ceil(8)),
    }
}

impl Dispi {
    pub(super) fn new() -> Self {
        Self {
            index: 0,
            id: ID,
            width: 0,
            height: 0,
            bits: 8,
            enable: 0,
            bank: 0,
            virtual_width: 0,
            x_offset: 0,
            y_offset: 0,
            is_big_endian: false,
        }
    }

    /// Whether the guest could have made them so, with `memory` bytes of video memory.
    pub(super) fn is_valid(&self, memory: usize) -> bool {
        let mut settled = self.clone();
        settled.settle(memory);
        settled == *self
            && (ID & !7..=ID).contains(&self.id)
            && self.enable & !ENABLE_WRITABLE == 0
            && is_depth(self.bits)
            && self.width <= WIDTH_MAX
            && self.height <= HEIGHT_MAX
            && u64::from(self.bank) << 16 < memory.max(1 << 16) as u64
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enable & ENABLED != 0
    }

    /// Bits of a component of the DAC.
    pub(super) fn dac_bits(&self) -> u8 {
        if self.enable & EIGHT_BIT_DAC != 0 { 8 } else { 6 }
    }

    /// The bank that the window at A0000h shows, in units of 64 KiB, if a mode is enabled.
    pub(super) fn bank(&self) -> Option<u32> {
        self.is_enabled().then_some(u32::from(self.bank))
    }

    /// Whether the window shows the video memory byte by byte.
    pub(super) fn is_packed(&self) -> bool {
        self.is_enabled() && self.bits > 4
    }

    /// The mode, if one is enabled.
    pub(super) fn mode(&self) -> Option<Mode> {
        let Self { width, height, bits, is_big_endian, .. } = *self;
        let pitch = line_len(self.virtual_width, bits);
        let x = line_len(self.x_offset, bits);
        let start = usize::from(self.y_offset) * pitch + x;
        let skip = if bits == 4 { self.x_offset as u8 & 7 } else { 0 };
        let mode = Mode { width, height, bits, pitch, start, skip, is_big_endian };
        self.is_enabled().then_some(mode)
    }

    /// How many lines of the virtual width the video memory holds.
    fn virtual_height(&self, memory: usize) -> u16 {
        let lines = memory / line_len(self.virtual_width, self.bits).max(1);
        lines.min(usize::from(u16::MAX)) as u16
    }

    /// Brings an enabled mode into the video memory: the width to a multiple of 8, the virtual
    /// width to no less, the height to what fits, the offsets to what leaves the picture inside.
    fn settle(&mut self, memory: usize) {
        if !self.is_enabled() {
            return;
        }
        self.width = (self.width & !7).clamp(8, WIDTH_MAX);
        self.virtual_width = (self.virtual_width & !7).max(self.width);
        if line_len(self.virtual_width, self.bits) > memory {
            self.virtual_width = self.width;
        }
        let lines = self.virtual_height(memory);
        self.height = self.height.clamp(1, lines.clamp(1, HEIGHT_MAX));
        self.x_offset = self.x_offset.min(self.virtual_width - self.width);
        self.y_offset = self.y_offset.min(lines.saturating_sub(self.height));
    }

    /// Reads the register at `index`.
    pub(super) fn read(&self, index: u16, memory: usize) -> u16 {
        let capability = |value, largest| {
            if self.enable & GET_CAPABILITIES != 0 { largest } else { value }
        };
        match index {
            index::ID => self.id,
            index::WIDTH => capability(self.width, WIDTH_MAX),
            index::HEIGHT => capability(self.height, HEIGHT_MAX),
            index::BITS => capability(self.bits, BITS_MAX),
            index::ENABLE => self.enable,
            index::BANK => self.bank,
            index::VIRTUAL_WIDTH => self.virtual_width,
            index::VIRTUAL_HEIGHT => self.virtual_height(memory),
            index::X_OFFSET => self.x_offset,
            index::Y_OFFSET => self.y_offset,
            index::MEMORY_64K => (memory >> 16).min(usize::from(u16::MAX)) as u16,
            _ => 0,
        }
    }

    /// Writes the register at `index`. Returns how many bytes of the video memory are to be cleared.
    pub(super) fn write(&mut self, index: u16, value: u16, memory: usize) -> usize {
        let was_enabled = self.is_enabled();
        match index {
            index::ID if (ID & !7..=ID).contains(&value) => self.id = value,
            index::WIDTH if value <= WIDTH_MAX => self.width = value,
            index::HEIGHT if value <= HEIGHT_MAX => self.height = value,
            // What a guest of the first version writes for 8 bits.
            index::BITS if value == 0 => self.bits = 8,
            index::BITS if is_depth(value) => self.bits = value,
            index::ENABLE => self.enable = value & ENABLE_WRITABLE,
            index::BANK if (usize::from(value) << 16) < memory => self.bank = value,
            index::VIRTUAL_WIDTH => self.virtual_width = value,
            index::X_OFFSET => self.x_offset = value,
            index::Y_OFFSET => self.y_offset = value,
            _ => {}
        }
        if self.is_enabled() && !was_enabled {
            (self.virtual_width, self.x_offset, self.y_offset, self.bank) = (self.width, 0, 0, 0);
        }
        self.settle(memory);
        let clears = self.is_enabled() && !was_enabled && self.enable & NO_CLEAR == 0;
        let len = usize::from(self.height) * line_len(self.virtual_width, self.bits);
        if clears { len.min(memory) } else { 0 }
    }
}

fn is_depth(bits: u16) -> bool {
    matches!(bits, 4 | 8 | 15 | 16 | 24 | 32)
}
