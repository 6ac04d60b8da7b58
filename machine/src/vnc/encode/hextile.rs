//! Hextile: tiles of 16 by 16 dots, each a background with rectangles on it, or its dots.
//!
//! Source: RFC 6143, section 7.7.4.

use trine_devices::Rect;

use super::each_tile;
use crate::vnc::pixels::PixelFormat;

const SIDE: usize = 16;
const RAW: u8 = 1;
const BACKGROUND: u8 = 2;
const FOREGROUND: u8 = 4;
const SUBRECTS: u8 = 8;
const COLORED: u8 = 16;

/// A rectangle of one color in a tile.
struct Subrect {
    color: u32,
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

/// Appends the dots of `rect`.
pub(super) fn encode(format: &PixelFormat, rect: Rect, dots: &[u32], out: &mut Vec<u8>) {
    each_tile(rect, dots, SIDE, |tile, width| {
        let start = out.len();
        let background = most_frequent(tile);
        let subrects = subrects(tile, width, background);
        let first = subrects.first().map(|subrect| subrect.color);
        let is_colored = subrects.iter().any(|subrect| Some(subrect.color) != first);
        let each = 2 + if is_colored { format.len() } else { 0 };
        if subrects.len() > 255 || subrects.len() * each >= tile.len() * format.len() {
            out.push(RAW);
            return tile.iter().for_each(|dot| format.put(*dot, out));
        }
        out.push(BACKGROUND);
        format.put(background, out);
        let Some(first) = first else { return };
        out[start] |= SUBRECTS | if is_colored { COLORED } else { FOREGROUND };
        if !is_colored {
            format.put(first, out);
        }
        out.push(subrects.len() as u8);
        for subrect in subrects {
            if is_colored {
                format.put(subrect.color, out);
            }
            out.push((subrect.x << 4 | subrect.y) as u8);
            out.push((subrect.width - 1 << 4 | subrect.height - 1) as u8);
        }
    });
}

/// A color of which there are many: exactly the most frequent one of two.
fn most_frequent(tile: &[u32]) -> u32 {
    let (mut color, mut lead) = (tile.first().copied().unwrap_or(0), 0);
    for dot in tile {
        if lead == 0 {
            color = *dot;
        }
        lead += if *dot == color { 1 } else { -1 };
    }
    color
}

/// The runs of other colors than the background's, each as far down as it goes.
fn subrects(tile: &[u32], width: usize, background: u32) -> Vec<Subrect> {
    let mut is_done = [false; SIDE * SIDE];
    let mut subrects = Vec::new();
    for at in 0..tile.len() {
        let color = tile[at];
        if is_done[at] || color == background {
            continue;
        }
        let (x, y) = (at % width, at / width);
        let is_open = |at: usize| tile[at] == color && !is_done[at];
        let run = (x..width).take_while(|column| is_open(y * width + column)).count();
        let is_whole = |row: &usize| (0..run).all(|n| is_open(row * width + x + n));
        let height = (y..tile.len() / width).take_while(is_whole).count();
        for row in y..y + height {
            is_done[row * width + x..][..run].fill(true);
        }
        subrects.push(Subrect { color, x, y, width: run, height });
    }
    subrects
}
