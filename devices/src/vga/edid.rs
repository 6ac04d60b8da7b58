//! The monitor's description of itself: an EDID block of 128 bytes.
//!
//! Source: VESA Enhanced EDID Standard, release A revision 2 (EDID 1.4), section 3.

/// Bytes of the block.
pub(super) const SIZE: usize = 128;

/// Lines and dots outside the picture, as in CVT with reduced blanking: enough for any panel.
const HORIZONTAL_BLANK: u32 = 160;
const VERTICAL_BLANK: u32 = 40;
const FRAMES_HZ: u32 = 60;
/// Dots per metre at 96 to the inch.
const DOTS_PER_M: u32 = 3780;

/// The block of a monitor that prefers `width` by `height` dots (each below 4096) at 60 Hz.
pub(super) fn block(width: u16, height: u16) -> [u8; SIZE] {
    let [width, height] = [width, height].map(|dots| u32::from(dots.min(4095)));
    let [width_mm, height_mm] = [width, height].map(|dots| dots * 1000 / DOTS_PER_M);
    let mut block = [0; SIZE];
    block[..8].copy_from_slice(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
    // The maker: five bits for each letter of "TRN"; then product 1 and no serial number.
    block[8..12].copy_from_slice(&[0x52, 0x4e, 0x01, 0x00]);
    // Week and year (since 1990) of its making; EDID 1.4.
    block[16..20].copy_from_slice(&[1, 36, 1, 4]);
    // Digital with 8 bits a color; its size in cm; gamma 2.2; sRGB, the first timing is preferred.
    let [width_cm, height_cm] = [width_mm, height_mm].map(|mm| (mm / 10).min(255) as u8);
    block[20..25].copy_from_slice(&[0xa0, width_cm, height_cm, 120, 0x06]);
    // The chromaticities of sRGB.
    block[25..35].copy_from_slice(&[0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54]);
    // Established timings: 640x480, 800x600 and 1024x768 at 60 Hz.
    block[35..38].copy_from_slice(&[0x21, 0x08, 0x00]);
    // No standard timings.
    block[38..54].fill(0x01);
    block[54..72].copy_from_slice(&timing(width, height, width_mm, height_mm));
    block[72..90].copy_from_slice(&text(0xfc, b"Trine"));
    block[90..108].copy_from_slice(&limits());
    // An empty descriptor.
    block[108 + 3] = 0x10;
    let sum = block.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    block[SIZE - 1] = sum.wrapping_neg();
    block
}

/// A detailed timing descriptor.
fn timing(width: u32, height: u32, width_mm: u32, height_mm: u32) -> [u8; 18] {
    let [h_blank, v_blank] = [HORIZONTAL_BLANK, VERTICAL_BLANK];
    let clock_10_khz = (width + h_blank) * (height + v_blank) / 10_000 * FRAMES_HZ;
    let [clock_low, clock_high] = (clock_10_khz.min(0xffff) as u16).to_le_bytes();
    let halves = |a: u32, b: u32| ((a >> 8) << 4 | b >> 8) as u8;
    [
        clock_low,
        clock_high,
        width as u8,
        h_blank as u8,
        halves(width, h_blank),
        height as u8,
        v_blank as u8,
        halves(height, v_blank),
        // Front porches of 48 dots and 3 lines, sync pulses of 32 dots and 6 lines.
        48,
        32,
        3 << 4 | 6,
        0,
        width_mm as u8,
        height_mm as u8,
        halves(width_mm, height_mm),
        0,
        0,
        // Separate syncs, horizontal positive.
        0x1a,
    ]
}

/// A display descriptor with a text.
fn text(tag: u8, text: &[u8]) -> [u8; 18] {
    let mut descriptor = [0x20; 18];
    descriptor[..5].copy_from_slice(&[0, 0, 0, tag, 0]);
    descriptor[5..5 + text.len()].copy_from_slice(text);
    descriptor[5 + text.len()] = b'\n';
    descriptor
}

/// What it can take: 50 to 125 Hz, lines at 30 to 160 kHz, dots at up to 1,200 MHz.
fn limits() -> [u8; 18] {
    let mut descriptor = text(0xfd, b"");
    descriptor[5..11].copy_from_slice(&[50, 125, 30, 160, 120, 0x01]);
    descriptor[11] = b'\n';
    descriptor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_timing_is_what_was_asked_for() {
        for (width, height) in [(1280, 800), (640, 480), (4095, 4095), (u16::MAX, 1)] {
            let block = block(width, height);
            assert_eq!(block.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
            let shown =
                |low: usize, high: usize| u32::from(block[low]) | u32::from(block[high] >> 4) << 8;
            let wanted = [width, height].map(|dots| u32::from(dots.min(4095)));
            assert_eq!([shown(56, 58), shown(59, 61)], wanted);
        }
        // (1280 + 160) * (800 + 40) dots, 60 times a second, in units of 10 kHz.
        let block = block(1280, 800);
        assert_eq!(u16::from_le_bytes([block[54], block[55]]), 7200);
    }
}
