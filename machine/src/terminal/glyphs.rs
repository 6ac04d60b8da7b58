//! The guest's screen as a terminal can show it: a glyph in each cell.

use trine_devices::Text;

use crate::seat::Canvas;

/// A cell of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Glyph {
    pub(super) character: char,
    /// Colors, as 0RGB.
    pub(super) foreground: u32,
    pub(super) background: u32,
    pub(super) blinks: bool,
}

impl Glyph {
    pub(super) const BLANK: Self =
        Self { character: ' ', foreground: GRAY, background: 0, blinks: false };
}

const GRAY: u32 = 0x00aa_aaaa;
/// The upper half of a cell: two dots above each other.
const HALF: char = '▀';

/// What a terminal of so many columns and rows is to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Page {
    pub(super) columns: usize,
    glyphs: Vec<Glyph>,
    /// Column and row.
    pub(super) cursor: Option<(usize, usize)>,
}

impl Page {
    fn blank((columns, rows): (usize, usize)) -> Self {
        Self { columns, glyphs: vec![Glyph::BLANK; columns * rows], cursor: None }
    }

    /// Row by row.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[Glyph]> {
        self.glyphs.chunks(self.columns.max(1))
    }

    fn set(&mut self, column: usize, row: usize, glyph: Glyph) {
        if column < self.columns
            && let Some(place) = self.glyphs.get_mut(row * self.columns + column)
        {
            *place = glyph;
        }
    }

    /// A text mode's screen, or what of it there is room for: the part around the cursor.
    pub(super) fn of_text(text: &Text, size: (usize, usize)) -> Self {
        let mut page = Self::blank(size);
        let hidden = text.rows().len().saturating_sub(size.1);
        let below = text.cursor().map_or(0, |(_, row)| (row + 1).saturating_sub(size.1));
        let top = below.min(hidden);
        for (row, cells) in text.rows().skip(top).enumerate() {
            for (column, cell) in cells.iter().enumerate() {
                let glyph = Glyph {
                    character: cell.character,
                    foreground: cell.foreground,
                    background: cell.background,
                    blinks: cell.blinks,
                };
                page.set(column, row, glyph);
            }
        }
        let cursor = text.cursor().map(|(column, row)| (column, row.wrapping_sub(top)));
        page.cursor = cursor.filter(|(column, row)| *column < size.0 && *row < size.1);
        page
    }

    /// A picture, as large as it can be with two dots to a cell, and not larger than it is.
    pub(super) fn of_picture(canvas: &Canvas, size: (usize, usize)) -> Self {
        let mut page = Self::blank(size);
        let (width, height) = canvas.size();
        let (columns, lines) = fit((width, height), (size.0, 2 * size.1));
        let mean = |column: usize, line: usize| {
            let x = column * width / columns..((column + 1) * width).div_ceil(columns);
            let y = line * height / lines..((line + 1) * height).div_ceil(lines);
            let dots = y.flat_map(|y| &canvas.pixels()[y * width..][x.clone()]);
            let (mut sums, mut count) = ([0_u64; 3], 0);
            for dot in dots {
                let [_, colors @ ..] = dot.to_be_bytes();
                sums.iter_mut().zip(colors).for_each(|(sum, color)| *sum += u64::from(color));
                count += 1;
            }
            let [red, green, blue] = sums.map(|sum| (sum / count.max(1)) as u8);
            u32::from_be_bytes([0, red, green, blue])
        };
        for row in 0..lines.div_ceil(2) {
            for column in 0..columns {
                let foreground = mean(column, 2 * row);
                let is_last = 2 * row + 1 == lines;
                let background = if is_last { 0 } else { mean(column, 2 * row + 1) };
                let glyph = Glyph { character: HALF, foreground, background, blinks: false };
                page.set(column, row, glyph);
            }
        }
        page
    }
}

/// The size of a picture that has to fit into a room, with its proportions.
fn fit((width, height): (usize, usize), room: (usize, usize)) -> (usize, usize) {
    let (columns, lines) = (width.min(room.0), height.min(room.1));
    let is_wide = columns * height <= lines * width;
    let (columns, lines) = if is_wide {
        (columns, columns * height / width.max(1))
    } else {
        (lines * width / height.max(1), lines)
    };
    (columns.max(1), lines.max(1))
}

#[cfg(test)]
mod tests {
    use trine_devices::Rect;

    use super::*;
    use crate::seat::{
        Monitor,
        fake::{FakeSeat, text},
    };

    fn characters(page: &Page) -> Vec<String> {
        page.rows().map(|row| row.iter().map(|glyph| glyph.character).collect()).collect()
    }

    #[test]
    fn text_is_cut_to_the_terminal_around_the_cursor() {
        let screen = text(&["first", "second", "third"]);
        let page = Page::of_text(&screen, (8, 4));
        assert_eq!(characters(&page), ["first   ", "second  ", "third   ", "        "]);
        assert_eq!(page.cursor, Some((0, 0)));
        assert_eq!(characters(&Page::of_text(&screen, (3, 2))), ["fir", "sec"]);
        let cells = screen.rows().flatten().copied().collect();
        let page = Page::of_text(&Text::new(6, cells, Some((4, 2))), (3, 2));
        assert_eq!(characters(&page), ["sec", "thi"]);
        assert_eq!(page.cursor, None, "it is to the right of what is seen");
        assert_eq!(Page::of_text(&screen, (0, 0)).rows().count(), 0);
    }

    #[test]
    fn two_dots_share_a_cell() {
        let seat = FakeSeat::new(4, 3);
        seat.paint(Rect { x: 1, y: 0, width: 1, height: 1 }, 0x11_2233);
        seat.paint(Rect { x: 2, y: 1, width: 1, height: 2 }, 0xff_ffff);
        let page = Monitor::new(seat).see(|canvas| Page::of_picture(canvas, (10, 10)));
        let rows: Vec<&[Glyph]> = page.rows().collect();
        let colors = |row: usize, column: usize| {
            let Glyph { character, foreground, background, .. } = rows[row][column];
            (character, foreground, background)
        };
        assert_eq!(colors(0, 1), (HALF, 0x11_2233, 0));
        assert_eq!(colors(0, 2), (HALF, 0, 0xff_ffff));
        assert_eq!(colors(1, 2), (HALF, 0xff_ffff, 0));
        assert_eq!((rows[0][4], rows[2][0]), (Glyph::BLANK, Glyph::BLANK));
    }

    #[test]
    fn pictures_keep_their_proportions() {
        assert_eq!(fit((640, 480), (80, 48)), (64, 48));
        assert_eq!(fit((640, 400), (80, 100)), (80, 50));
        assert_eq!(fit((10, 10), (80, 48)), (10, 10));
        assert_eq!(fit((4096, 1), (80, 48)), (80, 1));
        assert_eq!(fit((640, 480), (0, 0)), (1, 1));
        // A large one is averaged: half of each cell is white.
        let seat = FakeSeat::new(640, 480);
        seat.paint_with(Rect { x: 0, y: 0, width: 640, height: 480 }, |x, _| {
            if x % 2 == 0 { 0xff_ffff } else { 0 }
        });
        let page = Monitor::new(seat).see(|canvas| Page::of_picture(canvas, (80, 24)));
        let first = page.rows().next().expect("a row")[0];
        assert_eq!((first.foreground, first.background), (0x7f_7f7f, 0x7f_7f7f));
    }
}
