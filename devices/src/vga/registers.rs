//! The registers of an IBM VGA, as ports show them.
//!
//! Source: IBM VGA/XGA Technical Reference (1992), section 2, "VGA function"; what it leaves out
//! (registers 22h to 26h of the CRT controller) from the FreeVGA project's documents.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use super::{dac::Dac, timing::Timing};

/// Registers of the sequencer.
pub(super) mod seq {
    pub const CLOCKING: usize = 1;
    pub const MAP_MASK: usize = 2;
    pub const CHARACTER_MAP: usize = 3;
    pub const MEMORY_MODE: usize = 4;
    /// Clocking mode: characters are 8 dots wide, not 9.
    pub const EIGHT_DOTS: u8 = 1 << 0;
    /// Clocking mode: every dot lasts two dot clocks.
    pub const HALF_CLOCK: u8 = 1 << 3;
    pub const SCREEN_OFF: u8 = 1 << 5;
    /// Memory mode: addresses go to planes in sequence, not even ones to 0 and 2, odd ones to 1 and 3.
    pub const SEQUENTIAL: u8 = 1 << 2;
    /// Memory mode: the two low bits of an address select the plane.
    pub const CHAIN_4: u8 = 1 << 3;
    pub const WRITABLE: [u8; 5] = [0x03, 0x3d, 0x0f, 0x3f, 0x0e];
}

/// Registers of the graphics controller.
pub(super) mod gc {
    pub const SET_RESET: usize = 0;
    pub const ENABLE_SET_RESET: usize = 1;
    pub const COLOR_COMPARE: usize = 2;
    pub const ROTATE: usize = 3;
    pub const READ_MAP: usize = 4;
    pub const MODE: usize = 5;
    pub const MISCELLANEOUS: usize = 6;
    pub const COLOR_DONT_CARE: usize = 7;
    pub const BIT_MASK: usize = 8;
    /// Mode: reads compare colors.
    pub const READ_COMPARES: u8 = 1 << 3;
    /// Mode: the low bit of an address selects the plane that is read.
    pub const READ_ODD_EVEN: u8 = 1 << 4;
    /// Mode: pixels of two bits, from even and odd planes in turn.
    pub const SHIFT_INTERLEAVED: u8 = 1 << 5;
    /// Mode: pixels of eight bits.
    pub const SHIFT_256: u8 = 1 << 6;
    /// Miscellaneous: graphics, not text.
    pub const GRAPHICS: u8 = 1 << 0;
    /// Miscellaneous: the low bit of an address is replaced by a higher one.
    pub const CHAIN_ODD_EVEN: u8 = 1 << 1;
    pub const WRITABLE: [u8; 9] = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff];
}

/// Registers of the CRT controller.
pub(super) mod crtc {
    pub const HORIZONTAL_TOTAL: usize = 0x00;
    pub const HORIZONTAL_DISPLAY_END: usize = 0x01;
    pub const VERTICAL_TOTAL: usize = 0x06;
    pub const OVERFLOW: usize = 0x07;
    pub const PRESET_ROW_SCAN: usize = 0x08;
    pub const MAXIMUM_SCAN_LINE: usize = 0x09;
    pub const CURSOR_START: usize = 0x0a;
    pub const CURSOR_END: usize = 0x0b;
    pub const START_ADDRESS: usize = 0x0c;
    pub const CURSOR_LOCATION: usize = 0x0e;
    pub const RETRACE_START: usize = 0x10;
    pub const RETRACE_END: usize = 0x11;
    pub const VERTICAL_DISPLAY_END: usize = 0x12;
    pub const OFFSET: usize = 0x13;
    pub const UNDERLINE: usize = 0x14;
    pub const MODE_CONTROL: usize = 0x17;
    pub const LINE_COMPARE: usize = 0x18;
    /// Overflow: bit 8 of the line compare register, which protection leaves open.
    pub const OVERFLOW_LINE_COMPARE: u8 = 1 << 4;
    /// Maximum scan line: every line is shown twice.
    pub const DOUBLE_SCAN: u8 = 1 << 7;
    pub const CURSOR_OFF: u8 = 1 << 5;
    /// Vertical retrace end: registers 0 to 7 are read-only.
    pub const PROTECT: u8 = 1 << 7;
    /// Underline location: addresses are of doublewords.
    pub const DOUBLEWORD: u8 = 1 << 6;
    /// Mode control: the row scan counter's bit 0 is not address bit 13, its bit 1 not bit 14.
    pub const MAP_13: u8 = 1 << 0;
    pub const MAP_14: u8 = 1 << 1;
    /// Mode control: the vertical counter counts every other line.
    pub const HALF_LINES: u8 = 1 << 2;
    /// Mode control: in word mode, address bit 0 is bit 15 of the counter, not bit 13.
    pub const WRAP_15: u8 = 1 << 5;
    pub const BYTE_MODE: u8 = 1 << 6;
    /// Mode control: the retraces are generated.
    pub const RUNNING: u8 = 1 << 7;
    pub const WRITABLE: [u8; 25] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0x3f, 0x7f, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xef, 0xff,
    ];
    /// Read-only: the memory's latch, the attribute controller's flip-flop and its index.
    pub const LATCH: u8 = 0x22;
    pub const FLIP_FLOP: u8 = 0x24;
    pub const ATTRIBUTE_INDEX: u8 = 0x26;
}

/// Registers of the attribute controller.
pub(super) mod atc {
    pub const MODE_CONTROL: usize = 0x10;
    pub const PLANE_ENABLE: usize = 0x12;
    pub const PEL_PANNING: usize = 0x13;
    pub const COLOR_SELECT: usize = 0x14;
    /// Index: the palette is the screen's, not the CPU's.
    pub const PALETTE_SOURCE: u8 = 1 << 5;
    /// Mode control: the ninth dot of line characters is that of the eighth.
    pub const LINE_GRAPHICS: u8 = 1 << 2;
    /// Mode control: attribute bit 7 is blinking, not a bright background.
    pub const BLINK: u8 = 1 << 3;
    /// Mode control: panning stops at the line compare.
    pub const PAN_TOP_ONLY: u8 = 1 << 5;
    /// Mode control: bits 5 and 4 of a color come from the color select register.
    pub const P54_SELECT: u8 = 1 << 7;
    pub const WRITABLE: [u8; 21] = [
        0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
        0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f,
    ];
}

/// Miscellaneous output: the CRT controller is at 3D4h and not at 3B4h.
const MISC_COLOR: u8 = 1 << 0;
/// Miscellaneous output: the CPU may access the video memory.
const MISC_RAM: u8 = 1 << 1;
/// Miscellaneous output: the page of 64 KiB that odd/even addressing uses.
const MISC_HIGH_PAGE: u8 = 1 << 5;
const MISC_WRITABLE: u8 = 0xef;
const FEATURE_WRITABLE: u8 = 1 << 3;
/// Input status 0: the monitor's sense line.
const STATUS_0_SENSE: u8 = 1 << 4;

/// All of them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Registers {
    pub misc: u8,
    feature: u8,
    /// Video subsystem enable (3C3h).
    is_enabled: bool,
    sequencer_index: u8,
    pub sequencer: [u8; 5],
    graphics_index: u8,
    pub graphics: [u8; 9],
    crtc_index: u8,
    pub crtc: [u8; 25],
    /// With the palette's source in bit 5.
    attribute_index: u8,
    /// The next write to 3C0h is data.
    attribute_data: bool,
    pub attribute: [u8; 21],
    pub dac: Dac,
    /// The four planes at the last address that was read.
    pub latch: u32,
}

impl Registers {
    /// Registers by their ports, counted from 3B0h.
    const CRTC_INDEX_MONO: u16 = 0x04;
    const CRTC_DATA_MONO: u16 = 0x05;
    const STATUS_1_MONO: u16 = 0x0a;
    const ATTRIBUTE: u16 = 0x10;
    const ATTRIBUTE_READ: u16 = 0x11;
    /// Miscellaneous output to write, input status 0 to read.
    const STATUS_0: u16 = 0x12;
    const ENABLE: u16 = 0x13;
    const SEQUENCER_INDEX: u16 = 0x14;
    const SEQUENCER_DATA: u16 = 0x15;
    const DAC_MASK: u16 = 0x16;
    /// DAC: index for reading to write, its state to read.
    const DAC_READ_INDEX: u16 = 0x17;
    const DAC_WRITE_INDEX: u16 = 0x18;
    const DAC_DATA: u16 = 0x19;
    const FEATURE_READ: u16 = 0x1a;
    const MISC_READ: u16 = 0x1c;
    const GRAPHICS_INDEX: u16 = 0x1e;
    const GRAPHICS_DATA: u16 = 0x1f;
    const CRTC_INDEX: u16 = 0x24;
    const CRTC_DATA: u16 = 0x25;
    const STATUS_1: u16 = 0x2a;

    /// After RESET.
    pub(super) fn new() -> Self {
        Self {
            misc: 0,
            feature: 0,
            is_enabled: true,
            sequencer_index: 0,
            sequencer: [0; 5],
            graphics_index: 0,
            graphics: [0; 9],
            crtc_index: 0,
            crtc: [0; 25],
            attribute_index: 0,
            attribute_data: false,
            attribute: [0; 21],
            dac: Dac::new(),
            latch: 0,
        }
    }

    /// Whether only bits that exist are set.
    pub(super) fn is_valid(&self) -> bool {
        let fits = |registers: &[u8], writable: &[u8]| {
            registers.iter().zip(writable).all(|(register, mask)| register & !mask == 0)
        };
        fits(&[self.misc, self.feature], &[MISC_WRITABLE, FEATURE_WRITABLE])
            && fits(
                &[self.sequencer_index, self.graphics_index, self.crtc_index, self.attribute_index],
                &[0x07, 0x0f, 0x3f, 0x3f],
            )
            && fits(&self.sequencer, &seq::WRITABLE)
            && fits(&self.graphics, &gc::WRITABLE)
            && fits(&self.crtc, &crtc::WRITABLE)
            && fits(&self.attribute, &atc::WRITABLE)
            && self.dac.is_valid()
    }

    /// Whether the CPU reaches the video memory.
    pub(super) fn decodes_memory(&self) -> bool {
        self.is_enabled && self.misc & MISC_RAM != 0
    }

    /// Whether odd/even addressing uses the upper 64 KiB.
    pub(super) fn is_high_page(&self) -> bool {
        self.misc & MISC_HIGH_PAGE == 0
    }

    /// Whether the screen shows what is in memory.
    pub(super) fn shows_memory(&self) -> bool {
        self.attribute_index & atc::PALETTE_SOURCE != 0
            && self.sequencer[seq::CLOCKING] & seq::SCREEN_OFF == 0
    }

    /// Whether attribute bit 7 (in graphics modes: bit 3 of colors) blinks.
    pub(super) fn blinks(&self) -> bool {
        self.attribute[atc::MODE_CONTROL] & atc::BLINK != 0
    }

    /// A 16-bit register of the CRT controller in two parts, the higher one first.
    pub(super) fn crtc_word(&self, index: usize) -> u16 {
        u16::from_be_bytes([self.crtc[index], self.crtc[index + 1]])
    }

    /// Reads the register at `port`, if there is one.
    pub(super) fn read(&mut self, port: u16, now: VmTime, dac_bits: u8) -> Option<u8> {
        let at = |registers: &[u8], index: u8| registers.get(usize::from(index)).copied();
        if !self.is_enabled && port != Self::ENABLE {
            return None;
        }
        Some(match self.at_color_port(port)? {
            Self::ATTRIBUTE => self.attribute_index,
            Self::ATTRIBUTE_READ => {
                at(&self.attribute, self.attribute_index & 0x1f).unwrap_or_default()
            }
            Self::STATUS_0 => STATUS_0_SENSE,
            Self::ENABLE => u8::from(self.is_enabled),
            Self::SEQUENCER_INDEX => self.sequencer_index,
            Self::SEQUENCER_DATA => at(&self.sequencer, self.sequencer_index).unwrap_or_default(),
            Self::DAC_MASK => self.dac.mask,
            Self::DAC_READ_INDEX => self.dac.state(),
            Self::DAC_WRITE_INDEX => self.dac.write_index(),
            Self::DAC_DATA => self.dac.read(dac_bits),
            Self::FEATURE_READ => self.feature,
            Self::MISC_READ => self.misc,
            Self::GRAPHICS_INDEX => self.graphics_index,
            Self::GRAPHICS_DATA => at(&self.graphics, self.graphics_index).unwrap_or_default(),
            Self::CRTC_INDEX => self.crtc_index,
            Self::CRTC_DATA => self.read_crtc(),
            Self::STATUS_1 => {
                self.attribute_data = false;
                Timing::of(self).status_1(now)
            }
            _ => return None,
        })
    }

    fn read_crtc(&self) -> u8 {
        match self.crtc_index {
            crtc::LATCH => self.latch.to_le_bytes()[usize::from(self.graphics[gc::READ_MAP] & 3)],
            crtc::FLIP_FLOP => u8::from(self.attribute_data) << 7,
            crtc::ATTRIBUTE_INDEX => self.attribute_index,
            index => self.crtc.get(usize::from(index)).copied().unwrap_or_default(),
        }
    }

    /// Writes the register at `port`; false if there is none.
    pub(super) fn write(&mut self, port: u16, value: u8, dac_bits: u8) -> bool {
        let set = |registers: &mut [u8], writable: &[u8], index: u8| {
            if let Some(register) = registers.get_mut(usize::from(index)) {
                *register = value & writable[usize::from(index)];
            }
        };
        if !self.is_enabled && port != Self::ENABLE {
            return false;
        }
        match self.at_color_port(port) {
            Some(Self::ATTRIBUTE) => self.write_attribute(value),
            Some(Self::STATUS_0) => self.misc = value & MISC_WRITABLE,
            Some(Self::ENABLE) => self.is_enabled = value & 1 != 0,
            Some(Self::SEQUENCER_INDEX) => self.sequencer_index = value & 0x07,
            Some(Self::SEQUENCER_DATA) => {
                set(&mut self.sequencer, &seq::WRITABLE, self.sequencer_index);
            }
            Some(Self::DAC_MASK) => self.dac.mask = value,
            Some(Self::DAC_READ_INDEX) => self.dac.set_read_index(value),
            Some(Self::DAC_WRITE_INDEX) => self.dac.set_write_index(value),
            Some(Self::DAC_DATA) => self.dac.write(value, dac_bits),
            Some(Self::GRAPHICS_INDEX) => self.graphics_index = value & 0x0f,
            Some(Self::GRAPHICS_DATA) => {
                set(&mut self.graphics, &gc::WRITABLE, self.graphics_index);
            }
            Some(Self::CRTC_INDEX) => self.crtc_index = value & 0x3f,
            Some(Self::CRTC_DATA) => self.write_crtc(value),
            // Written, it is the feature control register.
            Some(Self::STATUS_1) => self.feature = value & FEATURE_WRITABLE,
            _ => return false,
        }
        true
    }

    fn write_attribute(&mut self, value: u8) {
        self.attribute_data = !self.attribute_data;
        if self.attribute_data {
            self.attribute_index = value & 0x3f;
            return;
        }
        let index = usize::from(self.attribute_index & 0x1f);
        // The screen has the palette: the CPU cannot reach it.
        let is_taken = index < atc::MODE_CONTROL && self.attribute_index & atc::PALETTE_SOURCE != 0;
        if let Some(register) = self.attribute.get_mut(index).filter(|_| !is_taken) {
            *register = value & atc::WRITABLE[index];
        }
    }

    fn write_crtc(&mut self, value: u8) {
        let index = usize::from(self.crtc_index);
        let is_protected = self.crtc[crtc::RETRACE_END] & crtc::PROTECT != 0;
        let writable = match index {
            crtc::OVERFLOW if is_protected => crtc::OVERFLOW_LINE_COMPARE,
            ..crtc::OVERFLOW if is_protected => 0,
            _ => crtc::WRITABLE.get(index).copied().unwrap_or_default(),
        };
        if let Some(register) = self.crtc.get_mut(index) {
            *register = *register & !writable | value & writable;
        }
    }

    /// `port` with the CRT controller and input status 1 where a color adapter has them; `None` if
    /// they are at the other place now.
    fn at_color_port(&self, port: u16) -> Option<u16> {
        let is_color = self.misc & MISC_COLOR != 0;
        match port {
            Self::CRTC_INDEX_MONO | Self::CRTC_DATA_MONO | Self::STATUS_1_MONO => {
                (!is_color).then_some(port + 0x20)
            }
            Self::CRTC_INDEX | Self::CRTC_DATA | Self::STATUS_1 => is_color.then_some(port),
            _ => Some(port),
        }
    }
}
