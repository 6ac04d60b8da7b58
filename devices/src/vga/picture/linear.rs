//! The modes of the Bochs interface: lines of pixels in a frame buffer.

use std::ops::Range;

use super::scan::planar;
use crate::vga::vbe::Mode;

/// The bytes of line `y`.
pub(super) fn source(mode: &Mode, y: usize) -> Range<usize> {
    let width = usize::from(mode.width);
    let len = match mode.bits {
        4 => (width + usize::from(mode.skip)).div_ceil(8) * 4,
        bits => width * usize::from(bits.div_ceil(8)),
    };
    let start = mode.start + y * mode.pitch;
    start..start + len
}

/// Draws a line from its bytes.
pub(super) fn draw(mode: &Mode, bytes: &[u8], colors: &[u32], line: &mut Vec<u32>) {
    match mode.bits {
        4 => {
            let words = bytes.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
            let dots = words.flat_map(|word| planar(u32::from_le_bytes(word)));
            let dots = dots.map(|color| colors[usize::from(color)]);
            line.extend(dots.skip(usize::from(mode.skip)).take(usize::from(mode.width)));
        }
        8 => line.extend(bytes.iter().map(|color| colors[usize::from(*color)])),
        15 | 16 => {
            let words = bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
            let is_555 = mode.bits == 15;
            line.extend(words.map(|word| {
                let read = if mode.is_big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
                high_color(u32::from(read(word)), is_555)
            }));
        }
        24 if mode.is_big_endian => {
            line.extend(bytes.chunks_exact(3).map(|b| u32::from_be_bytes([0, b[0], b[1], b[2]])));
        }
        24 => line.extend(bytes.chunks_exact(3).map(|b| u32::from_le_bytes([b[0], b[1], b[2], 0]))),
        _ => {
            let words = bytes.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
            let read = if mode.is_big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
            line.extend(words.map(|word| read(word) & 0x00ff_ffff));
        }
    }
}

/// A pixel of 5, 5 (or 6) and 5 bits; the missing low bits are the highest ones again.
fn high_color(pixel: u32, is_555: bool) -> u32 {
    let green_bits = if is_555 { 5 } else { 6 };
    let part = |shift: u32, bits: u32| {
        let value = pixel >> shift & ((1 << bits) - 1);
        value << (8 - bits) | value >> (2 * bits - 8)
    };
    part(5 + green_bits, 5) << 16 | part(5, green_bits) << 8 | part(0, 5)
}
