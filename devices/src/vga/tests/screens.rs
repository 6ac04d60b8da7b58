//! Text modes: glyphs, attributes, fonts, cursor, and the text itself.

use super::{
    Card, color,
    modes::{MODE_1, MODE_3, MODE_7, MODE_13, Standard},
};
use crate::{Display, Rect};

const B8: u64 = 0xb_8000;
/// Frames of 70 Hz, in nanoseconds.
const FRAME_NS: u64 = 14_268_235;

/// Line `row` of the glyph of character `code` in the test font: no two are alike nearby.
fn glyph(code: u8, row: u8) -> u8 {
    code.rotate_left(u32::from(row)) ^ row.wrapping_mul(29)
}

/// Loads the test font, xor `twist`, into one of the eight fonts.
fn load_font(card: &mut Card, font_at: u64, twist: u8) {
    let planar = [(0x3c4, 2, 4), (0x3c4, 4, 6), (0x3ce, 5, 0), (0x3ce, 6, 4)];
    let before = planar.map(|(port, index, _)| (port, index, card.get(port, index)));
    for (port, index, value) in planar {
        card.set(port, index, value);
    }
    for code in 0..=255 {
        let rows: Vec<u8> = (0..32).map(|row| glyph(code, row) ^ twist).collect();
        for (at, part) in (0..).step_by(16).zip(rows.chunks(16)) {
            card.store(0xa_0000 + font_at + 32 * u64::from(code) + at, part);
        }
    }
    for (port, index, value) in before {
        card.set(port, index, value);
    }
}

/// A card in a text mode with the test font and spaces without a glyph.
fn text_mode(mode: &Standard) -> Card {
    let mut card = Card::in_mode(mode);
    load_font(&mut card, 0, 0);
    card
}

/// The dots of line `y` of the cell in column 0 of `width` dots.
fn cell(card: &mut Card, width: usize, y: usize) -> Vec<u32> {
    card.draw();
    card.vga.picture().line(y)[..width].to_vec()
}

/// What they should be.
fn dots(bits: u16, width: usize, fore: u8, back: u8) -> Vec<u32> {
    let dot = |n: usize| if bits >> (width - 1 - n) & 1 != 0 { fore } else { back };
    (0..width).map(|n| color(dot(n))).collect()
}

#[test]
fn characters_have_nine_dots_and_attributes() {
    let mut card = text_mode(&MODE_3);
    card.set(0x3d4, 0x0a, 0x20);
    card.store(B8, &[b'A', 0x1e]);
    assert_eq!(card.size(), (720, 400));
    // Yellow (palette register 14: 3Eh) on blue (register 1).
    for row in 0..16 {
        let bits = u16::from(glyph(b'A', row)) << 1;
        assert_eq!(cell(&mut card, 9, row.into()), dots(bits, 9, 0x3e, 0x01), "row {row}");
    }
    // Line characters continue into the ninth dot, unless that is switched off.
    card.store(B8, &[0xc4]);
    let bits = u16::from(glyph(0xc4, 3)) << 1;
    assert_eq!(bits & 2, 2, "the test font's eighth dot");
    assert_eq!(cell(&mut card, 9, 3), dots(bits | 1, 9, 0x3e, 0x01));
    card.set_attribute(0x10, 0x08);
    assert_eq!(cell(&mut card, 9, 3), dots(bits, 9, 0x3e, 0x01));
    // Eight dots, in 640 columns of them.
    card.set(0x3c4, 1, 1);
    card.set_attribute(0x13, 0);
    assert_eq!(card.size(), (640, 400));
    assert_eq!(cell(&mut card, 8, 3), dots(bits >> 1, 8, 0x3e, 0x01));
}

#[test]
fn forty_columns_and_fifty_rows() {
    let mut card = text_mode(&MODE_1);
    card.set(0x3d4, 0x0a, 0x20);
    card.store(B8 + 80 + 2, &[b'Q', 0x07]);
    assert_eq!(card.size(), (720, 400));
    let bits = u16::from(glyph(b'Q', 5)) << 1;
    let wanted: Vec<u32> = dots(bits, 9, 7, 0).into_iter().flat_map(|dot| [dot, dot]).collect();
    card.draw();
    assert_eq!(card.vga.picture().line(16 + 5)[18..36], wanted);
    // Rows of 8, 14 and 9 lines, which are 50, 28 (of 400 lines), 43 (of 350) and 44.
    for (lines, end, rows) in [(8, 0x8f, 50), (14, 0x87, 28), (8, 0x57, 43), (16, 0x8f, 25)] {
        card.set(0x3d4, 9, 0x40 | (lines - 1));
        card.set(0x3d4, 0x12, end);
        assert_eq!(card.vga.text().expect("text").rows().len(), rows);
    }
}

#[test]
fn blinking_and_bright_backgrounds() {
    let mut card = text_mode(&MODE_3);
    card.set(0x3d4, 0x0a, 0x20);
    card.store(B8, &[b'B', 0x9a]);
    let bits = u16::from(glyph(b'B', 4)) << 1;
    assert_eq!(cell(&mut card, 9, 4), dots(bits, 9, 0x3a, 0x01));
    card.bench.now = card.bench.now.after_ns(16 * FRAME_NS);
    assert_eq!(card.draw(), [Rect { x: 0, y: 0, width: 8, height: 16 }], "hidden");
    assert_eq!(cell(&mut card, 9, 4), dots(0, 9, 0x3a, 0x01));
    card.bench.now = card.bench.now.after_ns(16 * FRAME_NS);
    assert_eq!(cell(&mut card, 9, 4), dots(bits, 9, 0x3a, 0x01));
    card.bench.now = card.bench.now.after_ns(16 * FRAME_NS);
    card.set_attribute(0x10, 0x04);
    assert_eq!(cell(&mut card, 9, 4), dots(bits, 9, 0x3a, 0x39), "a bright background");
}

#[test]
fn the_cursor_has_a_place_a_shape_and_blinks() {
    let mut card = text_mode(&MODE_3);
    card.store(B8 + 2 * 81, &[0, 0x07]);
    card.set(0x3d4, 0x0e, 0);
    card.set(0x3d4, 0x0f, 81);
    let solid = |card: &mut Card| {
        card.draw();
        let picture = card.vga.picture();
        let is_solid = |y: &usize| picture.line(*y)[9..18].iter().all(|dot| *dot == color(7));
        (16..32).filter(is_solid).map(|y| y - 16).collect::<Vec<_>>()
    };
    assert_eq!(solid(&mut card), [13, 14]);
    card.bench.now = card.bench.now.after_ns(8 * FRAME_NS);
    assert!(solid(&mut card).is_empty());
    card.bench.now = card.bench.now.after_ns(8 * FRAME_NS);
    card.set(0x3d4, 0x0a, 0x02);
    card.set(0x3d4, 0x0b, 0x04);
    assert_eq!(solid(&mut card), [2, 3, 4]);
    assert_eq!(card.vga.text().expect("text").cursor(), Some((1, 1)));
    card.set(0x3d4, 0x0a, 0x08);
    assert!(solid(&mut card).is_empty(), "it ends before it starts");
    card.set(0x3d4, 0x0a, 0x22);
    assert!(solid(&mut card).is_empty());
    assert_eq!(card.vga.text().expect("text").cursor(), None);
}

#[test]
fn a_monochrome_screen_underlines() {
    let mut card = text_mode(&MODE_7);
    card.set(0x3b4, 0x0a, 0x20);
    card.store(0xb_0000, &[b'U', 0x01]);
    let bits = u16::from(glyph(b'U', 15)) << 1;
    assert_eq!(cell(&mut card, 9, 15), dots(0x1ff, 9, 0x08, 0));
    card.store(0xb_0001, &[0x07]);
    assert_eq!(cell(&mut card, 9, 15), dots(bits, 9, 0x08, 0));
    card.store(0xb_0001, &[0x70]);
    assert_eq!(cell(&mut card, 9, 15), dots(bits, 9, 0, 0x08), "reversed");
}

#[test]
fn two_fonts_of_eight_make_512_characters() {
    let mut card = text_mode(&MODE_3);
    card.set(0x3d4, 0x0a, 0x20);
    for (font, at) in
        [0x0000, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000].into_iter().enumerate()
    {
        load_font(&mut card, at, 0x11 * font as u8);
        // Attribute bit 3 clear: bits 0, 1 and 4; set: bits 2, 3 and 5.
        let font = font as u8;
        for (attribute, fore, map) in [
            (0x07, 0x07, font & 3 | (font & 4) << 2),
            (0x0f, 0x3f, (font & 3) << 2 | (font & 4) << 3),
        ] {
            card.set(0x3c4, 3, map);
            card.store(B8, &[b'x', attribute]);
            let bits = u16::from(glyph(b'x', 6) ^ (0x11 * font)) << 1;
            assert_eq!(cell(&mut card, 9, 6), dots(bits, 9, fore, 0), "font {font}");
        }
    }
}

#[test]
fn smooth_scrolling_pans_by_dots_and_lines() {
    let mut card = text_mode(&MODE_3);
    card.set(0x3d4, 0x0a, 0x20);
    card.store(B8, &[b'p', 0x07, b'q', 0x07]);
    card.draw();
    let before = card.vga.picture().line(4).to_vec();
    // With nine dots 8 is no panning, 0 is one dot.
    for (register, dots) in [(0, 1), (7, 8)] {
        card.set_attribute(0x13, register);
        card.draw();
        let after = card.vga.picture().line(4);
        assert_eq!(after[..18 - dots], before[dots..18], "{register}");
    }
    card.set_attribute(0x13, 8);
    card.set(0x3d4, 8, 4);
    card.draw();
    assert_eq!(card.vga.picture().line(0), before);
    // Byte panning goes by characters.
    card.set(0x3d4, 8, 0x24);
    card.draw();
    assert_eq!(card.vga.picture().line(0)[..9], before[9..18]);
}

#[test]
fn the_text_can_be_read() {
    let mut card = text_mode(&MODE_3);
    for (n, code) in "Trine \u{1}: ".bytes().chain([0xc9, 0xcd, 0xbb, 0x81, 0xff]).enumerate() {
        card.store(B8 + 160 * 24 + 2 * n as u64, &[code, 0x4e]);
    }
    let text = card.vga.text().expect("a text mode");
    assert_eq!((text.columns(), text.rows().len()), (80, 25));
    let lines = text.lines();
    assert_eq!((lines[23].as_str(), lines[24].as_str()), ("", "Trine ☺: ╔═╗ü"));
    let cell = text.rows().last().expect("a last row")[0];
    assert_eq!((cell.character, cell.code, cell.attribute, cell.blinks), ('T', b'T', 0x4e, false));
    assert_eq!((cell.foreground, cell.background), (color(0x3e), color(4)));
    // The start address scrolls by rows.
    card.set(0x3d4, 0x0d, 80);
    assert_eq!(card.vga.text().expect("text").lines()[23], "Trine ☺: ╔═╗ü");
    card.set_mode(&MODE_13);
    assert_eq!(card.vga.text(), None);
}
