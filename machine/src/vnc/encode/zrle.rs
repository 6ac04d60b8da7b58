//! ZRLE: tiles of 64 by 64 dots, each in the shortest of six forms, then compressed.
//!
//! Source: RFC 6143, section 7.7.6.

use trine_devices::Rect;

use super::each_tile;
use crate::vnc::pixels::PixelFormat;

const SIDE: usize = 64;
const RAW: u8 = 0;
const SOLID: u8 = 1;
/// Runs of dots; with a palette, its size is added.
const RUNS: u8 = 128;
/// The largest palettes: of indices side by side, and of runs.
const PACKED_MAX: usize = 16;
const PALETTE_MAX: usize = 127;

/// Appends the dots of `rect`.
pub(super) fn encode(format: &PixelFormat, rect: Rect, dots: &[u32], out: &mut Vec<u8>) {
    each_tile(rect, dots, SIDE, |tile, width| {
        let runs = runs(tile);
        let palette = palette(&runs);
        match (shortest(format, tile, width, &runs, palette.as_deref()), palette) {
            (Form::Solid, _) => {
                out.push(SOLID);
                format.put_compact(tile[0], out);
            }
            (Form::Packed, Some(palette)) => put_packed(format, tile, width, &palette, out),
            (Form::PaletteRuns, Some(palette)) => {
                out.push(RUNS + palette.len() as u8);
                palette.iter().for_each(|dot| format.put_compact(*dot, out));
                for (dot, length) in runs {
                    let is_long = if length > 1 { RUNS } else { 0 };
                    out.push(index(&palette, dot) | is_long);
                    if length > 1 {
                        put_length(length, out);
                    }
                }
            }
            (Form::Runs, _) => {
                out.push(RUNS);
                for (dot, length) in runs {
                    format.put_compact(dot, out);
                    put_length(length, out);
                }
            }
            (Form::Raw | Form::Packed | Form::PaletteRuns, _) => {
                out.push(RAW);
                tile.iter().for_each(|dot| format.put_compact(*dot, out));
            }
        }
    });
}

#[derive(Clone, Copy)]
enum Form {
    Raw,
    Solid,
    Packed,
    PaletteRuns,
    Runs,
}

/// The form that takes the fewest bytes.
fn shortest(
    format: &PixelFormat,
    tile: &[u32],
    width: usize,
    runs: &[(u32, usize)],
    palette: Option<&[u32]>,
) -> Form {
    let pixel = format.compact_len();
    let lengths = |is_long: fn(usize) -> bool| {
        let long = runs.iter().filter(move |(_, length)| is_long(*length));
        long.map(|(_, length)| (length - 1) / 255 + 1).sum::<usize>()
    };
    let mut forms =
        vec![(tile.len() * pixel, Form::Raw), (runs.len() * pixel + lengths(|_| true), Form::Runs)];
    if let Some(palette) = palette {
        let colors = palette.len() * pixel;
        if palette.len() == 1 {
            return Form::Solid;
        }
        if palette.len() <= PACKED_MAX {
            let line = (width * index_bits(palette)).div_ceil(8);
            forms.push((colors + tile.len() / width * line, Form::Packed));
        }
        let indices = runs.len() + lengths(|length| length > 1);
        forms.push((colors + indices, Form::PaletteRuns));
    }
    forms.into_iter().min_by_key(|(len, _)| *len).map_or(Form::Raw, |(_, form)| form)
}

/// The dots as colors and how often they follow.
fn runs(tile: &[u32]) -> Vec<(u32, usize)> {
    tile.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}

/// The colors; `None` if there are too many.
fn palette(runs: &[(u32, usize)]) -> Option<Vec<u32>> {
    let mut palette = Vec::new();
    for (dot, _) in runs {
        if !palette.contains(dot) {
            palette.push(*dot);
        }
        if palette.len() > PALETTE_MAX {
            return None;
        }
    }
    Some(palette)
}

fn index(palette: &[u32], dot: u32) -> u8 {
    palette.iter().position(|color| *color == dot).unwrap_or(0) as u8
}

fn index_bits(palette: &[u32]) -> usize {
    match palette.len() {
        0..=2 => 1,
        3..=4 => 2,
        _ => 4,
    }
}

fn put_packed(
    format: &PixelFormat,
    tile: &[u32],
    width: usize,
    palette: &[u32],
    out: &mut Vec<u8>,
) {
    out.push(palette.len() as u8);
    palette.iter().for_each(|dot| format.put_compact(*dot, out));
    let bits = index_bits(palette);
    for line in tile.chunks(width) {
        for dots in line.chunks(8 / bits) {
            let place = |(n, dot): (usize, &u32)| index(palette, *dot) << (8 - bits * (n + 1));
            out.push(dots.iter().enumerate().map(place).fold(0, |byte, part| byte | part));
        }
    }
}

/// A length is one more than the sum of bytes, of which only the last is not 255.
fn put_length(length: usize, out: &mut Vec<u8>) {
    let rest = length - 1;
    out.resize(out.len() + rest / 255, 255);
    out.push((rest % 255) as u8);
}
