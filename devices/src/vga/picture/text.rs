//! A text mode's screen as text, for terminals and for tests that read it.
//!
//! Source of the characters: code page 437 as IBM's character data architecture registers it, with
//! the pictures that a PC shows for the control codes.

use super::frame::sixteen_colors;
use super::scan::{PLANES, Scan};
use crate::vga::{State, VideoMemory};

/// The characters of code page 437, in rows of 32; what shows nothing is a space.
const CODE_PAGE_437: [&str; 8] = [
    " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼",
    " !\"#$%&'()*+,-./0123456789:;<=>?",
    "@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_",
    "`abcdefghijklmnopqrstuvwxyz{|}~⌂",
    "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒ",
    "áíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐",
    "└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀",
    "αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ",
];

/// A character cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    /// The character that the code stands for with the usual font.
    pub character: char,
    /// The code in the video memory.
    pub code: u8,
    /// The attribute in the video memory.
    pub attribute: u8,
    /// The color of the glyph, as 0RGB.
    pub foreground: u32,
    /// The color around it.
    pub background: u32,
    /// The glyph blinks.
    pub blinks: bool,
}

/// A screen of text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Text {
    columns: usize,
    cells: Vec<Cell>,
    cursor: Option<(usize, usize)>,
}

impl Text {
    /// A screen of these cells, row by row, with its cursor at a column and row.
    ///
    /// # Panics
    /// If the last row is not complete.
    #[must_use]
    pub fn new(columns: usize, cells: Vec<Cell>, cursor: Option<(usize, usize)>) -> Self {
        assert!(cells.len().is_multiple_of(columns.max(1)), "a row is not complete");
        Self { columns, cells, cursor }
    }

    /// What a text mode shows; `None` in a graphics mode, and while the screen is dark.
    pub(in crate::vga) fn of(state: &State, memory: &dyn VideoMemory) -> Option<Self> {
        let registers = &state.registers;
        let is_text = state.dispi.mode().is_none() && registers.shows_memory();
        let scan = is_text.then(|| Scan::of(registers, 0)).filter(Scan::is_text)?;
        let mut planes = vec![0; PLANES];
        memory.load(0, &mut planes);
        let colors = sixteen_colors(registers, state.dispi.dac_bits(), false);
        let has_blinking = registers.blinks();
        let cell = |[code, attribute]: [u8; 2]| Cell {
            character: characters().nth(usize::from(code)).unwrap_or(' '),
            code,
            attribute,
            foreground: colors[usize::from(attribute & 0x0f)],
            background: colors[usize::from(attribute >> 4 & if has_blinking { 7 } else { 15 })],
            blinks: has_blinking && attribute & 0x80 != 0,
        };
        let codes = scan.cells(&planes);
        let columns = scan.columns();
        let cursor = scan.cursor();
        let at = cursor.and_then(|at| codes.iter().position(|(counter, _)| *counter == at));
        Some(Self {
            columns,
            cells: codes.into_iter().map(|(_, code)| cell(code)).collect(),
            cursor: at.map(|at| (at % columns, at / columns)),
        })
    }

    /// Cells of a row.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The rows, from the top.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[Cell]> {
        self.cells.chunks(self.columns.max(1))
    }

    /// Column and row of the cursor, unless it is off or somewhere else.
    #[must_use]
    pub fn cursor(&self) -> Option<(usize, usize)> {
        self.cursor
    }

    /// The rows as text, without the spaces at their ends.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |row: &[Cell]| row.iter().map(|cell| cell.character).collect::<String>();
        self.rows().map(|row| line(row).trim_end().to_owned()).collect()
    }
}

fn characters() -> impl Iterator<Item = char> {
    CODE_PAGE_437.iter().flat_map(|row| row.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_page_has_256_characters() {
        assert!(CODE_PAGE_437.iter().all(|row| row.chars().count() == 32));
        let at = |code| characters().nth(code);
        assert_eq!([at(0x41), at(0xb3), at(0xdb), at(0xff)], ['A', '│', '█', ' '].map(Some));
    }
}
