//! How the CRT controller walks through the planes, and what the attribute controller gets of it.
//!
//! Source: IBM VGA/XGA Technical Reference, section 2, "CRT controller registers" and "Attribute
//! controller"; FreeVGA, "VGA text mode operation" and "CRTC addressing".

use std::ops::Range;

use crate::vga::{
    registers::{Registers, atc, crtc, gc, seq},
    timing::{character_dots, shown_lines},
};

/// Bytes of a VGA's four planes.
pub(super) const PLANES: usize = 4 << 16;
/// Of a plane of glyphs, the bytes of one.
const GLYPH: usize = 32;
/// Where the eight fonts are in plane 2, by the bits of the character map select register.
const FONTS: [usize; 8] = [0x0000, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000];

/// How bytes become dots.
#[derive(Clone, PartialEq, Debug)]
enum Kind {
    Text(Text),
    /// A bit from each plane.
    Planar,
    /// Two bits from plane 0 or 1, two from plane 2 or 3.
    Interleaved,
    /// All planes in turn.
    Packed,
}

#[derive(Clone, PartialEq, Debug)]
struct Text {
    /// 8 or 9.
    dots: usize,
    /// Where the glyphs are, for characters with attribute bit 3 clear and set.
    fonts: [usize; 2],
    /// Attribute bit 7 blinks, and the characters that do are hidden now.
    blink: Option<bool>,
    /// Where the cursor is and which lines of a character it has, while it is to be seen.
    cursor: Option<(u16, Range<u8>)>,
    underline: u8,
    /// The ninth dot of line characters is that of the eighth.
    has_line_graphics: bool,
}

/// All that counts in showing planes.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Scan {
    kind: Kind,
    columns: u16,
    lines: u32,
    /// Dots have twice the width.
    half_clock: bool,
    /// Shifts from a line of the raster to one of the vertical counter, and of the row scan counter.
    half_lines: bool,
    double_scan: bool,
    start: u16,
    /// Counts from one row to the next.
    pitch: u16,
    preset: u32,
    row_lines: u32,
    line_compare: u32,
    pan: u8,
    pans_top_only: bool,
    mode_control: u8,
    is_doubleword: bool,
}

/// Where a line begins in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ScanLine {
    /// The address counter at its first character.
    pub counter: u16,
    /// The line within a row of characters.
    pub row_scan: u8,
    /// It is below the line compare.
    pub is_split: bool,
}

impl Scan {
    pub(super) fn of(registers: &Registers, frame: u64) -> Self {
        let crtc = &registers.crtc;
        let bit = |register: usize, bit: u32| u32::from(crtc[register] >> bit & 1);
        let preset = crtc[crtc::PRESET_ROW_SCAN];
        let maximum = crtc[crtc::MAXIMUM_SCAN_LINE];
        let line_compare = u32::from(crtc[crtc::LINE_COMPARE])
            | bit(crtc::OVERFLOW, 4) << 8
            | bit(crtc::MAXIMUM_SCAN_LINE, 6) << 9;
        let byte_pan = u16::from(preset >> 5 & 3);
        Self {
            kind: Kind::of(registers, frame),
            columns: u16::from(crtc[crtc::HORIZONTAL_DISPLAY_END]) + 1,
            lines: shown_lines(registers),
            half_clock: registers.sequencer[seq::CLOCKING] & seq::HALF_CLOCK != 0,
            half_lines: crtc[crtc::MODE_CONTROL] & crtc::HALF_LINES != 0,
            double_scan: maximum & crtc::DOUBLE_SCAN != 0,
            start: registers.crtc_word(crtc::START_ADDRESS).wrapping_add(byte_pan),
            pitch: u16::from(crtc[crtc::OFFSET]) * 2,
            preset: u32::from(preset & 0x1f),
            row_lines: u32::from(maximum & 0x1f) + 1,
            line_compare,
            pan: registers.attribute[atc::PEL_PANNING],
            pans_top_only: registers.attribute[atc::MODE_CONTROL] & atc::PAN_TOP_ONLY != 0,
            mode_control: crtc[crtc::MODE_CONTROL],
            is_doubleword: crtc[crtc::UNDERLINE] & crtc::DOUBLEWORD != 0,
        }
    }

    pub(super) fn has_256_colors(&self) -> bool {
        self.kind == Kind::Packed
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Text(_))
    }

    /// Characters of a line.
    pub(super) fn columns(&self) -> usize {
        usize::from(self.columns)
    }

    /// Where the text cursor is, while it is to be seen.
    pub(super) fn cursor(&self) -> Option<u16> {
        match &self.kind {
            Kind::Text(text) => text.cursor.as_ref().map(|(at, _)| *at),
            _ => None,
        }
    }

    /// All character cells in rows from the top: the counter, and the bytes of planes 0 and 1.
    pub(super) fn cells(&self, planes: &[u8]) -> Vec<(u16, [u8; 2])> {
        let mut rows: Vec<_> = (0..self.lines as usize).map(|y| self.line(y)).collect();
        rows.dedup_by_key(|line| (line.counter, line.is_split));
        let row = |line: ScanLine| {
            (0..self.columns).map(move |column| {
                let counter = line.counter.wrapping_add(column);
                let [code, attribute, ..] = self.word(planes, counter, line.row_scan);
                (counter, [code, attribute])
            })
        };
        rows.into_iter().flat_map(row).collect()
    }

    /// Dots of a line, lines.
    pub(super) fn size(&self) -> (usize, usize) {
        let dots = match &self.kind {
            Kind::Text(text) => text.dots,
            _ => 8,
        };
        let width = usize::from(self.columns) * dots << u8::from(self.half_clock);
        (width, self.lines as usize)
    }

    /// How many dots wide a pixel is.
    pub(super) fn repeat(&self) -> usize {
        1 << (u8::from(self.half_clock) + u8::from(self.has_256_colors()))
    }

    /// Pixels that line `y` is shifted to the left.
    pub(super) fn pan(&self, y: usize) -> usize {
        let is_panned = !(self.pans_top_only && self.line(y).is_split);
        let pan = usize::from(if is_panned { self.pan } else { 0 });
        match &self.kind {
            // With nine dots, 8 is no shift and 0 is one dot.
            Kind::Text(text) if text.dots == 9 && is_panned => (pan + 1) % 9,
            Kind::Text(text) if text.dots == 9 => 0,
            Kind::Packed => (pan & 7) / 2,
            _ => pan & 7,
        }
    }

    /// Where line `y` of the raster begins.
    pub(super) fn line(&self, y: usize) -> ScanLine {
        let count = y as u32 >> u8::from(self.half_lines);
        // The counter starts again on the line behind the one that is compared.
        let below = count.checked_sub(self.line_compare + 1);
        let (line, start, preset) = match below {
            Some(line) => (line, 0, 0),
            None => (count, self.start, self.preset),
        };
        let line = (line >> u8::from(self.double_scan)) + preset;
        let row = (line / self.row_lines) as u16;
        ScanLine {
            counter: start.wrapping_add(row.wrapping_mul(self.pitch)),
            row_scan: (line % self.row_lines) as u8,
            is_split: below.is_some(),
        }
    }

    /// The plane address that the counter means. Doublewords are counted as chain-4 lays them out.
    fn address(&self, counter: u16, row_scan: u8) -> u16 {
        if self.is_doubleword {
            return counter;
        }
        let has = |bit| self.mode_control & bit != 0;
        let mut address = if has(crtc::BYTE_MODE) {
            counter
        } else {
            counter << 1 | counter >> (if has(crtc::WRAP_15) { 15 } else { 13 }) & 1
        };
        if !has(crtc::MAP_13) {
            address = address & !(1 << 13) | u16::from(row_scan & 1) << 13;
        }
        if !has(crtc::MAP_14) {
            address = address & !(1 << 14) | u16::from(row_scan >> 1 & 1) << 14;
        }
        address
    }

    /// The word of the planes that the counter means.
    fn word(&self, planes: &[u8], counter: u16, row_scan: u8) -> [u8; 4] {
        let at = 4 * usize::from(self.address(counter, row_scan));
        planes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
    }

    /// The bytes that line `y` is drawn from, and perhaps some more.
    pub(super) fn source(&self, y: usize) -> Range<usize> {
        if self.is_text() {
            return 0..PLANES;
        }
        let ScanLine { counter, row_scan, .. } = self.line(y);
        let first = self.address(counter, row_scan);
        let last = self.address(counter.wrapping_add(self.columns), row_scan);
        if last < first {
            return 0..PLANES;
        }
        4 * usize::from(first)..4 * (usize::from(last) + 1)
    }

    /// The colors of line `y`, and of one character more: there may be panning.
    pub(super) fn draw(&self, y: usize, planes: &[u8], indices: &mut Vec<u8>) {
        let ScanLine { counter, row_scan, .. } = self.line(y);
        indices.clear();
        for column in 0..=self.columns {
            let counter = counter.wrapping_add(column);
            let word = self.word(planes, counter, row_scan);
            match &self.kind {
                Kind::Text(text) => {
                    let [character, attribute, ..] = word;
                    let glyph = text.font(attribute) + GLYPH * usize::from(character);
                    let at = 4 * (glyph + usize::from(row_scan)) + 2;
                    let glyph = planes.get(at).copied().unwrap_or_default();
                    text.draw(word, counter, row_scan, glyph, indices);
                }
                Kind::Planar => indices.extend(planar(u32::from_le_bytes(word))),
                Kind::Interleaved => indices.extend(interleaved(word)),
                Kind::Packed => indices.extend(word),
            }
        }
    }
}

impl Kind {
    fn of(registers: &Registers, frame: u64) -> Self {
        let mode = registers.graphics[gc::MODE];
        if registers.graphics[gc::MISCELLANEOUS] & gc::GRAPHICS == 0 {
            Self::Text(Text::of(registers, frame))
        } else if mode & gc::SHIFT_256 != 0 {
            Self::Packed
        } else if mode & gc::SHIFT_INTERLEAVED != 0 {
            Self::Interleaved
        } else {
            Self::Planar
        }
    }
}

impl Text {
    fn of(registers: &Registers, frame: u64) -> Self {
        let map = registers.sequencer[seq::CHARACTER_MAP];
        let font = |low: u8, high: u8| FONTS[usize::from(map >> low & 3 | (map >> high & 1) << 2)];
        let mode_control = registers.attribute[atc::MODE_CONTROL];
        let crtc = &registers.crtc;
        let [first, last] = [crtc[crtc::CURSOR_START], crtc[crtc::CURSOR_END]];
        // The cursor blinks every 16 frames, characters every 32.
        let is_shown = first & crtc::CURSOR_OFF == 0 && frame & 8 == 0;
        let skew = u16::from(last >> 5 & 3);
        let location = registers.crtc_word(crtc::CURSOR_LOCATION).wrapping_add(skew);
        Self {
            dots: character_dots(registers) as usize,
            fonts: [font(0, 4), font(2, 5)],
            blink: registers.blinks().then_some(frame & 16 != 0),
            cursor: is_shown.then_some((location, first & 0x1f..(last & 0x1f) + 1)),
            underline: crtc[crtc::UNDERLINE] & 0x1f,
            has_line_graphics: mode_control & atc::LINE_GRAPHICS != 0,
        }
    }

    fn font(&self, attribute: u8) -> usize {
        self.fonts[usize::from(attribute >> 3 & 1)]
    }

    /// The dots of a line of a character.
    fn draw(&self, word: [u8; 4], counter: u16, row: u8, glyph: u8, indices: &mut Vec<u8>) {
        let [character, attribute, ..] = word;
        let mut dots = u16::from(glyph) << 1;
        if self.has_line_graphics && matches!(character, 0xc0..=0xdf) {
            dots |= u16::from(glyph & 1);
        }
        let is_underlined = attribute & 0x77 == 0x01 && row == self.underline;
        let has_cursor =
            self.cursor.as_ref().is_some_and(|(at, rows)| *at == counter && rows.contains(&row));
        if is_underlined || has_cursor {
            dots = 0x1ff;
        }
        let [mut back, fore] = [attribute >> 4, attribute & 0x0f];
        if let Some(is_hidden) = self.blink {
            if is_hidden && attribute & 0x80 != 0 && !has_cursor {
                dots = 0;
            }
            back &= 7;
        }
        let colors = (0..self.dots).map(|dot| if dots >> (8 - dot) & 1 != 0 { fore } else { back });
        indices.extend(colors);
    }
}

/// The colors of eight dots: bit n of each is plane n's.
pub(super) fn planar(word: u32) -> [u8; 8] {
    let planes = word.to_le_bytes().map(|plane| SPREAD[usize::from(plane)]);
    (planes[0] | planes[1] << 1 | planes[2] << 2 | planes[3] << 3).to_le_bytes()
}

/// The colors of eight dots of a CGA: four from planes 0 and 2, four from planes 1 and 3.
fn interleaved(word: [u8; 4]) -> [u8; 8] {
    std::array::from_fn(|dot| {
        let [low, high] = [word[dot / 4], word[dot / 4 + 2]];
        let shift = 6 - 2 * (dot % 4);
        low >> shift & 3 | (high >> shift & 3) << 2
    })
}

/// A byte's bits, the highest first, each in a byte of its own.
const SPREAD: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            table[byte] |= ((byte as u64) >> (7 - bit) & 1) << (8 * bit);
            bit += 1;
        }
        byte += 1;
    }
    table
};
