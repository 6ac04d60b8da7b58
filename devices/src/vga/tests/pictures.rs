//! Graphics modes: where the pixels of a known pattern end up.

use super::{
    Card, color,
    modes::{MODE_4, MODE_6, MODE_10, MODE_11, MODE_12, MODE_13, MODE_D, MODE_E, MODE_F, Standard},
};
use crate::Rect;

const A: u64 = 0xa_0000;
const B8: u64 = 0xb_8000;

/// Writes `value` to the planes in `map` only.
fn store_planes(card: &mut Card, address: u64, map: u8, value: u8) {
    card.set(0x3c4, 2, map);
    card.store(address, &[value]);
    card.set(0x3c4, 2, 0x0f);
}

#[test]
fn mode_13_shows_bytes_as_two_by_two_dots() {
    let mut card = Card::in_mode(&MODE_13);
    assert_eq!(card.size(), (640, 400));
    card.store(A + 320 * 7 + 5, &[200]);
    card.store(A + 320 * 199 + 319, &[17]);
    for (x, y) in [(10, 14), (11, 14), (10, 15), (11, 15)] {
        assert_eq!(card.dot(x, y), color(200), "{x} {y}");
    }
    for (x, y) in [(9, 14), (12, 14), (10, 13), (10, 16)] {
        assert_eq!(card.dot(x, y), color(0), "{x} {y}");
    }
    assert_eq!((card.dot(639, 399), card.dot(637, 399)), (color(17), color(0)));
    // The PEL mask counts here as well.
    card.out(0x3c6, 0x0f);
    assert_eq!(card.dot(10, 14), color(200 & 0x0f));
}

#[test]
fn sixteen_color_modes_show_a_bit_from_each_plane() {
    let ega = MODE_12.attribute;
    let cga = MODE_D.attribute;
    for (mode, size, pitch, scale, palette) in [
        (&MODE_D, (640, 400), 40, (2, 2), cga),
        (&MODE_E, (640, 400), 80, (1, 2), cga),
        (&MODE_10, (640, 350), 80, (1, 1), ega),
        (&MODE_12, (640, 480), 80, (1, 1), ega),
    ] {
        let mut card = Card::in_mode(mode);
        assert_eq!(card.size(), size);
        // Pixel 8 * 3 + n of line 5 gets color n, then 8 + n.
        for (plane, byte) in [0x55_u8, 0x33, 0x0f, 0x00].into_iter().enumerate() {
            store_planes(&mut card, A + 5 * pitch + 3, 1 << plane, byte);
            let byte = if plane == 3 { 0xff } else { byte };
            store_planes(&mut card, A + 5 * pitch + 4, 1 << plane, byte);
        }
        for (n, index) in palette.into_iter().take(16).enumerate() {
            let (x, y) = ((24 + n) * scale.0, 5 * scale.1);
            let wanted = color(index);
            assert_eq!(card.dot(x, y), wanted, "color {n} of {size:?}");
            assert_eq!(card.dot(x + scale.0 - 1, y + scale.1 - 1), wanted);
        }
        assert_eq!(card.dot(24 * scale.0 - 1, 5 * scale.1), color(0));
        assert_eq!(card.dot(25 * scale.0, 5 * scale.1 + scale.1), color(0));
    }
}

#[test]
fn monochrome_modes_use_a_plane_or_two() {
    let mut card = Card::in_mode(&MODE_11);
    card.store(A + 80 * 479 + 79, &[0x01]);
    assert_eq!(card.size(), (640, 480));
    assert_eq!((card.dot(639, 479), card.dot(638, 479)), (color(0x3f), color(0)));
    let mut card = Card::in_mode(&MODE_F);
    store_planes(&mut card, A, 1, 0xc0);
    store_planes(&mut card, A, 4, 0xa0);
    assert_eq!(card.size(), (640, 350));
    // Colors 5, 1, 4 and 0 of its palette.
    let dots = [0, 1, 2, 3].map(|x| card.dot(x, 0));
    assert_eq!(dots, [color(0x18), color(8), color(0x18), color(0)]);
    // Half a second later, color 4 is color 12: what has plane 2 only, blinks.
    card.bench.now = card.bench.now.after_ns(16 * 1_000_000_000 / 70);
    let dots = [0, 1, 2, 3].map(|x| card.dot(x, 0));
    assert_eq!(dots, [color(0x18), color(8), color(0), color(0)]);
}

#[test]
fn cga_modes_have_odd_lines_elsewhere() {
    let mut card = Card::in_mode(&MODE_4);
    assert_eq!(card.size(), (640, 400));
    card.store(B8, &[0b00_01_10_11]);
    card.store(B8 + 0x2000 + 80 + 1, &[0b11_00_00_01]);
    let palette = [0, 0x13, 0x15, 0x17];
    let line: Vec<u32> = (0..4).map(|x| card.dot(2 * x + 1, 1)).collect();
    assert_eq!(line, palette.map(color));
    // The second odd line is line 3: 6 and 7 of the raster.
    let line: Vec<u32> = (4..8).map(|x| card.dot(2 * x, 6)).collect();
    assert_eq!(line, [3, 0, 0, 1].map(|n| color(palette[n])));
    assert_eq!((card.dot(8, 5), card.dot(8, 8)), (color(0), color(0)));
    let mut card = Card::in_mode(&MODE_6);
    card.store(B8 + 79, &[0x01]);
    card.store(B8 + 0x2000, &[0x80]);
    assert_eq!(card.size(), (640, 400));
    assert_eq!(
        (card.dot(639, 0), card.dot(638, 1), card.dot(0, 2)),
        (color(0x17), color(0), color(0x17))
    );
}

/// Mode X as Abrash made it: 320 by 240, unchained.
fn mode_x() -> Standard {
    let mut mode = MODE_13.clone();
    mode.misc = 0xe3;
    mode.sequencer[4] = 0x06;
    for (index, value) in [
        (0x06, 0x0d),
        (0x07, 0x3e),
        (0x09, 0x41),
        (0x10, 0xea),
        (0x11, 0xac),
        (0x12, 0xdf),
        (0x14, 0x00),
        (0x15, 0xe7),
        (0x16, 0x06),
        (0x17, 0xe3),
    ] {
        mode.crtc[index] = value;
    }
    mode
}

#[test]
fn mode_x_has_a_pixel_in_each_plane_and_pages() {
    let mut card = Card::in_mode(&mode_x());
    assert_eq!(card.size(), (640, 480));
    let pixel = |card: &mut Card, page: u64, x: u64, y: u64, value| {
        store_planes(card, A + page + 80 * y + x / 4, 1 << (x % 4), value);
    };
    pixel(&mut card, 0, 101, 239, 33);
    assert_eq!((card.dot(202, 478), card.dot(203, 479)), (color(33), color(33)));
    assert_eq!((card.dot(200, 478), card.dot(204, 478)), (color(0), color(0)));
    // The second page starts at 19200, and panning goes by pixels.
    pixel(&mut card, 19200, 7, 0, 44);
    card.set(0x3d4, 0x0c, (19200_u16 >> 8) as u8);
    card.set(0x3d4, 0x0d, 19200_u16 as u8);
    assert_eq!(card.dot(14, 0), color(44));
    card.set_attribute(0x13, 4);
    assert_eq!((card.dot(10, 0), card.dot(14, 0)), (color(44), color(0)));
    // One address further on is four pixels further on.
    card.set(0x3d4, 0x0d, 19201_u16 as u8);
    assert_eq!(card.dot(2, 0), color(44));
}

#[test]
fn the_split_screen_starts_again_at_address_0() {
    let mut card = Card::in_mode(&MODE_12);
    store_planes(&mut card, A, 0x01, 0x80);
    store_planes(&mut card, A + 80, 0x02, 0x80);
    store_planes(&mut card, A + 0x4000, 0x04, 0x80);
    card.set(0x3d4, 0x0c, 0x40);
    // The line compare is 300: bits 7 to 0, bit 8 in overflow, bit 9 in maximum scan line.
    card.set(0x3d4, 0x18, (300_u16 & 0xff) as u8);
    card.set(0x3d4, 0x09, 0x00);
    card.set(0x3d4, 0x11, 0);
    card.set(0x3d4, 0x07, 0x3e);
    let palette = |n: usize| color(MODE_12.attribute[n]);
    assert_eq!([0, 300, 301, 302].map(|y| card.dot(0, y)), [4, 0, 1, 2].map(palette));
    // Panning moves both halves, or only the upper one.
    card.set_attribute(0x13, 3);
    store_planes(&mut card, A, 0x0f, 0x10);
    store_planes(&mut card, A + 0x4000, 0x0f, 0x10);
    assert_eq!([0, 301].map(|y| card.dot(0, y)), [15, 15].map(palette));
    card.set_attribute(0x10, 0x21);
    assert_eq!([(0, 0), (0, 301), (3, 301)].map(|(x, y)| card.dot(x, y)), [15, 0, 15].map(palette));
}

#[test]
fn a_virtual_screen_has_its_own_pitch() {
    let mut card = Card::in_mode(&MODE_D);
    card.set(0x3d4, 0x13, 40);
    store_planes(&mut card, A + 80, 0x0e, 0x40);
    assert_eq!((card.dot(2, 2), card.dot(0, 2)), (color(MODE_D.attribute[14]), color(0)));
    // Preset row scan begins within the first row: here rows of the raster's two lines.
    let mut card = Card::in_mode(&MODE_13);
    card.store(A + 320, &[9]);
    assert_eq!(card.dot(0, 2), color(9));
    card.set(0x3d4, 8, 1);
    assert_eq!((card.dot(0, 0), card.dot(0, 1)), (color(0), color(9)));
}

#[test]
fn the_vertical_counter_can_count_every_other_line() {
    let mut card = Card::in_mode(&MODE_12);
    store_planes(&mut card, A + 80 * 3, 0x01, 0x80);
    card.set(0x3d4, 0x17, 0xe7);
    assert_eq!(card.size(), (640, 960));
    let lit = color(MODE_12.attribute[1]);
    assert_eq!([5, 6, 7, 8].map(|y| card.dot(0, y)), [color(0), lit, lit, color(0)]);
}

#[test]
fn the_attribute_controller_masks_and_selects() {
    let mut card = Card::in_mode(&MODE_12);
    store_planes(&mut card, A, 0x0f, 0x80);
    assert_eq!(card.dot(0, 0), color(0x3f));
    card.set_attribute(0x12, 0x07);
    assert_eq!(card.dot(0, 0), color(0x07), "plane 3 is not shown");
    card.set_attribute(0x14, 0x0c);
    assert_eq!(card.dot(0, 0), color(0xc7));
    card.set_attribute(0x14, 0x0e);
    card.set_attribute(0x10, 0x81);
    assert_eq!(card.dot(0, 0), color(0xe7));
}

#[test]
fn a_dark_screen_keeps_its_size() {
    let mut card = Card::new();
    assert_eq!(card.size(), (720, 400));
    assert_eq!(card.dot(0, 0), 0);
    card.set_mode(&MODE_13);
    card.store(A, &[5]);
    assert_eq!(card.dot(0, 0), color(5));
    card.set(0x3c4, 1, 0x21);
    assert_eq!((card.size(), card.dot(0, 0)), ((640, 400), 0));
    card.set(0x3c4, 1, 0x01);
    card.read(0x3da);
    card.out(0x3c0, 0);
    assert_eq!((card.size(), card.dot(0, 0)), ((640, 400), 0));
    card.out(0x3c0, 0);
    card.read(0x3da);
    card.out(0x3c0, 0x20);
    assert_eq!(card.dot(0, 0), color(5));
}

#[test]
fn only_what_changes_is_drawn() {
    let mut card = Card::in_mode(&MODE_12);
    assert_eq!(card.draw(), [Rect { x: 0, y: 0, width: 640, height: 480 }]);
    assert_eq!(card.draw(), []);
    store_planes(&mut card, A + 80 * 100 + 10, 0x0f, 0x18);
    store_planes(&mut card, A + 80 * 101 + 11, 0x0f, 0x80);
    store_planes(&mut card, A + 80 * 300, 0x0f, 0x01);
    assert_eq!(
        card.draw(),
        [Rect { x: 83, y: 100, width: 6, height: 2 }, Rect { x: 7, y: 300, width: 1, height: 1 }]
    );
    // The same again changes nothing.
    store_planes(&mut card, A + 80 * 300, 0x0f, 0x01);
    assert_eq!(card.draw(), []);
    // A color of the palette changes where it is.
    card.out(0x3c8, 0x3f);
    for component in [1, 2, 3] {
        card.out(0x3c9, component);
    }
    assert_eq!(card.draw().iter().map(|rect| rect.height).sum::<usize>(), 3);
}

#[test]
fn plane_addresses_wrap() {
    let mut card = Card::in_mode(&MODE_12);
    card.set(0x3d4, 0x0c, 0xff);
    card.set(0x3d4, 0x0d, 0xff);
    store_planes(&mut card, A + 0xffff, 0x01, 0x80);
    store_planes(&mut card, A, 0x02, 0x80);
    let palette = |n: usize| color(MODE_12.attribute[n]);
    assert_eq!([0, 8].map(|x| card.dot(x, 0)), [1, 2].map(palette));
    // That line is drawn again when either end of it changes.
    store_planes(&mut card, A, 0x04, 0x80);
    assert_eq!(card.dot(8, 0), palette(6));
}
