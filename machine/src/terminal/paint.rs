//! Draws a page on a terminal, by what has changed.
//!
//! Source: ECMA-48 (cursor position, SGR); xterm's control sequences for 256 and 2^24 colors.

use std::fmt::Write;

use super::glyphs::{Glyph, Page};

/// How many colors a terminal has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Colors {
    /// 256: sixteen that are the user's, and a cube.
    Indexed,
    /// All of them.
    True,
}

/// The sixteen colors of a PC's text mode, in the order in which terminals number theirs.
const SIXTEEN: [u32; 16] = [
    0x000000, 0xaa0000, 0x00aa00, 0xaa5500, 0x0000aa, 0xaa00aa, 0x00aaaa, 0xaaaaaa, 0x555555,
    0xff5555, 0x55ff55, 0xffff55, 0x5555ff, 0xff55ff, 0x55ffff, 0xffffff,
];

/// Knows what is on the terminal.
pub(super) struct Painter {
    colors: Colors,
    shown: Option<Page>,
}

impl Painter {
    pub(super) fn new(colors: Colors) -> Self {
        Self { colors, shown: None }
    }

    /// Somebody else has drawn there.
    pub(super) fn forget(&mut self) {
        self.shown = None;
    }

    /// What to write to the terminal so that it shows `page`.
    pub(super) fn paint(&mut self, page: Page) -> String {
        let mut out = String::new();
        let before = self.shown.take().filter(|shown| {
            shown.columns == page.columns && shown.rows().count() == page.rows().count()
        });
        if before.as_ref() == Some(&page) {
            self.shown = before;
            return out;
        }
        out.push_str("\x1b[?25l\x1b[0m");
        if before.is_none() {
            out.push_str("\x1b[2J");
        }
        let mut pen = None;
        for (row, glyphs) in page.rows().enumerate() {
            let old = before.as_ref().and_then(|before| before.rows().nth(row));
            let mut at = None;
            for (column, glyph) in glyphs.iter().enumerate() {
                if old.is_some_and(|old| old[column] == *glyph) {
                    continue;
                }
                if at != Some(column) {
                    put(&mut out, format_args!("\x1b[{};{}H", row + 1, column + 1));
                }
                at = Some(column + 1);
                self.put_glyph(&mut out, &mut pen, *glyph);
            }
        }
        out.push_str("\x1b[0m");
        if let Some((column, row)) = page.cursor {
            put(&mut out, format_args!("\x1b[{};{}H\x1b[?25h", row + 1, column + 1));
        }
        self.shown = Some(page);
        out
    }

    fn put_glyph(&self, out: &mut String, pen: &mut Option<(u32, u32, bool)>, glyph: Glyph) {
        let wanted = (glyph.foreground, glyph.background, glyph.blinks);
        if *pen != Some(wanted) {
            let blinks = if glyph.blinks { "5" } else { "25" };
            put(out, format_args!("\x1b[{blinks}"));
            self.put_color(out, glyph.foreground, 30);
            self.put_color(out, glyph.background, 40);
            out.push('m');
            *pen = Some(wanted);
        }
        // A terminal would obey these, or show a cell twice as wide.
        let is_plain = !glyph.character.is_control();
        out.push(if is_plain { glyph.character } else { ' ' });
    }

    /// A parameter that selects a color; `base` is 30 for glyphs, 40 for what is around them.
    fn put_color(&self, out: &mut String, color: u32, base: usize) {
        let [_, red, green, blue] = color.to_be_bytes();
        match SIXTEEN.iter().position(|known| *known == color) {
            Some(n @ 0..8) => put(out, format_args!(";{}", base + n)),
            Some(n) => put(out, format_args!(";{}", base + 60 + n - 8)),
            None if self.colors == Colors::True => {
                put(out, format_args!(";{};2;{red};{green};{blue}", base + 8));
            }
            None => {
                let [red, green, blue] = [red, green, blue].map(step);
                let index = 16 + 36 * red + 6 * green + blue;
                put(out, format_args!(";{};5;{index}", base + 8));
            }
        }
    }
}

/// The nearest of the cube's six steps: 0, 95, 135, 175, 215 and 255.
fn step(level: u8) -> usize {
    match level {
        0..48 => 0,
        48..115 => 1,
        _ => (usize::from(level) - 35) / 40,
    }
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Nothing is wrong with a string.
    let _ = out.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use trine_devices::{Cell, Rect, Text};

    use super::*;
    use crate::seat::{
        Monitor,
        fake::{FakeSeat, text},
    };

    fn page(lines: &[&str]) -> Page {
        Page::of_text(&text(lines), (20, 5))
    }

    /// A terminal that shows what it is sent.
    fn terminal() -> vt100::Parser {
        let size = |n| std::num::NonZeroU16::new(n).expect("not 0");
        vt100::Parser::new(size(5), size(20), 0)
    }

    #[test]
    fn a_terminal_shows_the_page() {
        let (mut painter, mut terminal) = (Painter::new(Colors::True), terminal());
        for lines in
            [&["Trine ☺ ╔═╗", "", "C:\\>"][..], &["Trine ☻", "x"], &["Trine ☻", "y"], &[""]]
        {
            terminal.process(painter.paint(page(lines)).as_bytes());
            let shown: Vec<String> =
                terminal.screen().rows(0, 20).map(|row| row.trim_end().to_owned()).collect();
            let want: Vec<&str> = lines.iter().copied().chain([""; 5]).take(5).collect();
            assert_eq!(shown, want);
            assert_eq!(terminal.screen().cursor_position(), (0, 0));
        }
        assert!(!terminal.screen().hide_cursor());
    }

    #[test]
    fn only_what_has_changed_is_sent() {
        let mut painter = Painter::new(Colors::True);
        painter.paint(page(&["abcdef", "ghijkl"]));
        assert_eq!(painter.paint(page(&["abcdef", "ghijkl"])), "");
        let sent = painter.paint(page(&["abcdef", "ghXjkl"]));
        let want = "\x1b[?25l\x1b[0m\x1b[2;3H\x1b[25;37;40mX\x1b[0m\x1b[1;1H\x1b[?25h";
        assert_eq!(sent, want);
        painter.forget();
        assert!(painter.paint(page(&["abcdef", "ghXjkl"])).contains("abcdef"));
    }

    #[test]
    fn colors_blinking_and_the_cursor() {
        let cell = |character, foreground, background, blinks| Cell {
            character,
            code: 0,
            attribute: 0,
            foreground,
            background,
            blinks,
        };
        let cells = vec![
            cell('r', 0x00aa_0000, 0x0000_00aa, false),
            cell('y', 0x00ff_ff55, 0, true),
            cell('t', 0x0012_3456, 0x00ff_00ff, false),
        ];
        let screen = Text::new(3, cells, Some((2, 0)));
        for (colors, foreground, background) in [
            (Colors::True, vt100::Color::Rgb(0x12, 0x34, 0x56), vt100::Color::Rgb(255, 0, 255)),
            (Colors::Indexed, vt100::Color::Idx(16 + 6 + 1), vt100::Color::Idx(16 + 180 + 5)),
        ] {
            let mut terminal = terminal();
            let sent = Painter::new(colors).paint(Page::of_text(&screen, (20, 5)));
            terminal.process(sent.as_bytes());
            let cell = |column| terminal.screen().cell(0, column).expect("a cell");
            let got = [0, 1, 2].map(|n| (cell(n).fgcolor(), cell(n).bgcolor()));
            use vt100::Color::Idx;
            let want = [(Idx(1), Idx(4)), (Idx(11), Idx(0)), (foreground, background)];
            assert_eq!(got, want);
            assert!(sent.contains("\x1b[5;93;40my"), "{sent:?}");
            assert_eq!(terminal.screen().cursor_position(), (0, 2));
        }
    }

    #[test]
    fn a_picture_has_no_cursor_and_fits() {
        let seat = FakeSeat::new(40, 40);
        seat.paint(Rect { x: 0, y: 0, width: 40, height: 20 }, 0x0012_3456);
        let page = Monitor::new(seat).see(|canvas| Page::of_picture(canvas, (20, 5)));
        let mut terminal = terminal();
        terminal.process(Painter::new(Colors::True).paint(page).as_bytes());
        assert!(terminal.screen().hide_cursor());
        let cell = terminal.screen().cell(0, 9).expect("a cell");
        assert_eq!((cell.contents(), cell.fgcolor()), ("▀", vt100::Color::Rgb(0x12, 0x34, 0x56)));
        assert_eq!(terminal.screen().cell(0, 10).expect("a cell").contents(), " ");
    }
}
