//! The fonts that a VGA BIOS loads: code page 437 with 8, 14 and 16 lines.
//!
//! Source and license are in `font/README.md`.

/// Glyphs of one height.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Font {
    /// Lines of a glyph.
    pub height: usize,
    /// All 256 glyphs in order: a byte for each line from the top, the leftmost dot in bit 7.
    pub glyphs: &'static [u8],
}

/// For 43 and 50 rows of text, and for the graphics modes of 200 lines.
pub const FONT_8X8: Font = Font { height: 8, glyphs: include_bytes!("../font/8x8.bin") };
/// For text and graphics of 350 lines.
pub const FONT_8X14: Font = Font { height: 14, glyphs: include_bytes!("../font/8x14.bin") };
/// For text of 400 lines and graphics of 480.
pub const FONT_8X16: Font = Font { height: 16, glyphs: include_bytes!("../font/8x16.bin") };

impl Font {
    /// The lines of the glyph of `code`.
    #[must_use]
    pub fn glyph(&self, code: u8) -> &'static [u8] {
        self.glyphs.chunks_exact(self.height).nth(code.into()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FONTS: [Font; 3] = [FONT_8X8, FONT_8X14, FONT_8X16];

    #[test]
    fn every_font_has_256_glyphs_of_its_height() {
        for font in FONTS {
            assert_eq!(font.glyphs.len(), 256 * font.height);
            for code in 0..=255 {
                let is_blank = font.glyph(code).iter().all(|line| *line == 0);
                assert_eq!(is_blank, matches!(code, 0x00 | 0x20 | 0xff), "{code:02x}");
            }
        }
    }

    #[test]
    fn no_two_glyphs_look_alike() {
        for font in FONTS {
            for code in 0..=255 {
                let twin = (0..code).find(|other| font.glyph(*other) == font.glyph(code));
                let is_space = matches!(code, 0x00 | 0x20 | 0xff);
                assert!(is_space || twin.is_none(), "{code:02x} {twin:02x?}");
            }
        }
    }

    #[test]
    fn line_graphics_meet_across_cells() {
        for font in FONTS {
            let ends = |code: u8| {
                let glyph = font.glyph(code);
                (glyph.first().copied(), glyph.last().copied())
            };
            // A line, a double line, and the corners that go on below and above.
            let [(top, bottom), (top_2, bottom_2)] = [ends(0xb3), ends(0xba)];
            assert!(top == bottom && top_2 == bottom_2 && top != Some(0));
            assert_eq!([0xda, 0xbf, 0xc2, 0xc3].map(|code| ends(code).1), [bottom; 4]);
            assert_eq!([0xc9, 0xbb, 0xcb, 0xcc].map(|code| ends(code).1), [bottom_2; 4]);
            assert_eq!([0xc0, 0xd9, 0xc1, 0xb4].map(|code| ends(code).0), [top; 4]);
            let full = vec![0xff; font.height];
            assert_eq!(font.glyph(0xdb), full);
            let [upper, lower] = [font.glyph(0xdf), font.glyph(0xdc)];
            assert!(upper.iter().zip(lower).all(|(upper, lower)| upper ^ lower == 0xff));
        }
    }
}
