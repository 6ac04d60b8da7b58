//! The display adapter as a BIOS leaves it: 80 by 25 characters, mode 3.
//!
//! Source: IBM VGA/XGA Technical Reference (1992), section 2, "BIOS values".

use trine_devices::{Cx, Mmio, Ports, Vga};
use trine_firmware::{FONT_8X16, TextScreen};

/// What a kernel is told of the screen.
pub const TEXT_SCREEN: TextScreen =
    TextScreen { mode: 3, columns: 80, rows: 25, character_height: 16, cursor: (0, 0) };

// Registers, counted from 3B0h.
const ATTRIBUTE: u16 = 0x10;
const MISC: u16 = 0x12;
const SEQUENCER: u16 = 0x14;
const DAC_MASK: u16 = 0x16;
const DAC_WRITE_INDEX: u16 = 0x18;
const DAC_DATA: u16 = 0x19;
const GRAPHICS: u16 = 0x1e;
const CRTC: u16 = 0x24;
const STATUS_1: u16 = 0x2a;

const MISC_VALUE: u8 = 0x67;
const SEQUENCER_VALUES: [u8; 5] = [3, 0, 3, 0, 2];
const CRTC_VALUES: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e,
    0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
];
const GRAPHICS_VALUES: [u8; 9] = [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff];
const ATTRIBUTE_VALUES: [u8; 21] = [
    0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0, 0x0f, 8, 0,
];
/// In the attribute controller's index: the screen is on.
const SCREEN_ON: u8 = 0x20;
/// A color's index in the attribute controller's palette has two bits for each of red, green and
/// blue, of which the one in the low half is worth twice as much.
const fn ega_color(index: u8) -> [u8; 3] {
    const fn level(index: u8, bit: u8) -> u8 {
        0x2a * (index >> bit & 1) + 0x15 * (index >> (bit + 3) & 1)
    }
    [level(index, 2), level(index, 1), level(index, 0)]
}

/// A blank in light gray.
const BLANK: [u8; 2] = [b' ', 7];
/// Bytes between glyphs in plane 2.
const GLYPH: u64 = 32;

/// Sets the mode, with its font and its colors, and clears the screen.
pub(super) fn set_text_mode(vga: &mut Vga, cx: &mut Cx<'_>) {
    vga.port_out(cx, MISC, &[MISC_VALUE]);
    // The CRT controller's first registers are locked by one behind them.
    indexed(vga, cx, CRTC, &[(0x11, 0)]);
    for (port, values) in
        [(SEQUENCER, &SEQUENCER_VALUES[..]), (CRTC, &CRTC_VALUES), (GRAPHICS, &GRAPHICS_VALUES)]
    {
        let values: Vec<(u8, u8)> = (0..).zip(values.iter().copied()).collect();
        indexed(vga, cx, port, &values);
    }
    // Reading the status has the attribute controller expect an index.
    vga.port_in(cx, STATUS_1, &mut [0]);
    for (index, value) in (0..).zip(ATTRIBUTE_VALUES) {
        vga.port_out(cx, ATTRIBUTE, &[index]);
        vga.port_out(cx, ATTRIBUTE, &[value]);
    }
    vga.port_out(cx, ATTRIBUTE, &[SCREEN_ON]);
    vga.port_out(cx, DAC_MASK, &[0xff]);
    vga.port_out(cx, DAC_WRITE_INDEX, &[0]);
    for byte in (0..64).flat_map(ega_color) {
        vga.port_out(cx, DAC_DATA, &[byte]);
    }
    load_font(vga, cx);
    let screen = BLANK.repeat(80 * 25);
    vga.mmio_write(cx, 0x1_8000, &screen);
}

/// Stores the font into plane 2, as for characters 16 lines high.
fn load_font(vga: &mut Vga, cx: &mut Cx<'_>) {
    // Plane 2 alone, one byte after the other, at A0000h.
    indexed(vga, cx, SEQUENCER, &[(2, 4), (4, 7)]);
    indexed(vga, cx, GRAPHICS, &[(5, 0), (6, 4)]);
    for code in 0..=255 {
        vga.mmio_write(cx, GLYPH * u64::from(code), FONT_8X16.glyph(code));
    }
    indexed(vga, cx, SEQUENCER, &[(2, SEQUENCER_VALUES[2]), (4, SEQUENCER_VALUES[4])]);
    indexed(vga, cx, GRAPHICS, &[(5, GRAPHICS_VALUES[5]), (6, GRAPHICS_VALUES[6])]);
}

/// Writes registers behind the index at `port`: each index, and what goes there.
fn indexed(vga: &mut Vga, cx: &mut Cx<'_>, port: u16, registers: &[(u8, u8)]) {
    for (index, value) in registers {
        vga.port_out(cx, port, &[*index]);
        vga.port_out(cx, port + 1, &[*value]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use trine_devices::{Display, PlainMemory};

    use trine_guest::{Ram, VmTime};

    use super::*;

    #[test]
    fn characters_have_their_glyphs_and_colors() {
        let ram = Arc::new(Ram::flat(1 << 12).expect("a page"));
        let mut vga = Vga::new(Box::new(PlainMemory::new(256 << 10)), &[], (640, 480));
        let mut cx = Cx { now: VmTime::ZERO, ram: &ram, vcpu: 0 };
        set_text_mode(&mut vga, &mut cx);
        // A white A on blue in the second cell.
        vga.mmio_write(&mut cx, 0x1_8002, b"A\x1f");
        vga.draw(VmTime::ZERO);
        let picture = vga.picture();
        assert_eq!((picture.width(), picture.height()), (720, 400));
        for (y, bits) in FONT_8X16.glyph(b'A').iter().enumerate() {
            for x in 0..8 {
                let color = if bits << x & 0x80 != 0 { 0xff_ffff } else { 0x00_00aa };
                assert_eq!(picture.line(y)[9 + x], color, "{x}, {y}");
            }
        }
        assert_eq!(picture.line(0)[18], 0);
        assert_eq!(vga.text().expect("a text mode").lines()[0], " A");
    }
}
