//! The encodings: golden bytes, and what a decoder makes of them.

use flate2::{Decompress, FlushDecompress};

use super::*;
use crate::vnc::decode::{Decoder, pixel_value};

const RED: u32 = 0x00ff_0000;
const BLUE: u32 = 0x0000_00ff;

const fn rect(width: usize, height: usize) -> Rect {
    Rect { x: 0, y: 0, width, height }
}

fn encode(encoding: Encoding, rect: Rect, dots: &[u32]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::default().encode((encoding, 6), &PixelFormat::ours().0, rect, dots, &mut out);
    let header = [0, 0, 0, 0, 0, rect.width as u8, 0, rect.height as u8, 0, 0, 0];
    assert_eq!(out[..11], header);
    assert_eq!(out[11], encoding.number() as u8);
    out.split_off(12)
}

/// What is in the compressed stream, of which the length comes first.
fn inflated(bytes: &[u8]) -> Vec<u8> {
    let (length, rest) = bytes.split_at(4);
    assert_eq!(u32::from_be_bytes(length.try_into().expect("4 bytes")) as usize, rest.len());
    let mut plain = Vec::with_capacity(1 << 20);
    let mut stream = Decompress::new(true);
    stream.decompress_vec(rest, &mut plain, FlushDecompress::Sync).expect("a zlib stream");
    plain
}

#[test]
fn raw_is_the_dots() {
    assert_eq!(
        encode(Encoding::Raw, rect(2, 1), &[RED, 0x0012_3456]),
        [0, 0, 0xff, 0, 0x56, 0x34, 0x12, 0]
    );
    let zlib = encode(Encoding::Zlib, rect(2, 1), &[RED, BLUE]);
    assert_eq!(inflated(&zlib), [0, 0, 0xff, 0, 0xff, 0, 0, 0]);
}

#[test]
fn hextile_has_a_background_and_rectangles() {
    assert_eq!(encode(Encoding::Hextile, rect(4, 4), &[RED; 16]), [2, 0, 0, 0xff, 0]);
    // A blue rectangle of 2 by 2 at (1, 1).
    let mut dots = [RED; 16];
    [5, 6, 9, 10].into_iter().for_each(|at| dots[at] = BLUE);
    let want = [2 | 4 | 8, 0, 0, 0xff, 0, 0xff, 0, 0, 0, 1, 0x11, 0x11];
    assert_eq!(encode(Encoding::Hextile, rect(4, 4), &dots), want);
    // And a black dot at (3, 0).
    dots[3] = 0;
    let mut want = vec![2 | 8 | 16, 0, 0, 0xff, 0, 2, 0, 0, 0, 0, 0x30, 0x00];
    want.extend([0xff, 0, 0, 0, 0x11, 0x11]);
    assert_eq!(encode(Encoding::Hextile, rect(4, 4), &dots), want);
    // What has no background is sent as it is.
    let noise: Vec<u32> = (0..16).collect();
    let bytes = encode(Encoding::Hextile, rect(4, 4), &noise);
    assert_eq!((bytes[0], bytes.len()), (1, 1 + 64));
}

#[test]
fn zrle_has_six_kinds_of_tiles() {
    let zrle = |rect: Rect, dots: &[u32]| inflated(&encode(Encoding::Zrle, rect, dots));
    assert_eq!(zrle(rect(9, 9), &[RED; 81]), [1, 0, 0, 0xff]);
    // Two colors: a bit for each dot, each line from a new byte on.
    let line = [RED, BLUE, RED, BLUE, RED, BLUE, RED, RED, BLUE];
    let want = [2, 0, 0, 0xff, 0xff, 0, 0, 0b0101_0100, 0x80, 0b0101_0100, 0x80];
    assert_eq!(zrle(rect(9, 2), &[line, line].concat()), want);
    // Three to four have two bits, up to 16 have four.
    assert_eq!(
        zrle(rect(5, 4), &[[0, 1, 2, 0, 1]; 4].concat())[..11],
        [3, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0b0001_1000]
    );
    let five: Vec<u32> = (0..5).cycle().take(40).collect();
    let bytes = zrle(rect(40, 1), &five);
    assert_eq!((bytes[0], &bytes[16..18]), (5, &[0x01, 0x23][..]));
    // Long runs: of two colors with a palette, of colors without.
    let mut dots = vec![RED; 300];
    dots.extend([BLUE]);
    dots.resize(64 * 10, RED);
    let want = [130, 0, 0, 0xff, 0xff, 0, 0, 128, 255, 44, 1, 128, 255, 83];
    assert_eq!(zrle(rect(64, 10), &dots), want);
    let many: Vec<u32> = (0..200).flat_map(|n| [n; 20]).collect();
    let bytes = zrle(rect(64, 62), &many[..64 * 62]);
    assert_eq!(bytes[..9], [128, 0, 0, 0, 19, 1, 0, 0, 19]);
    // Noise is sent as it is.
    let noise: Vec<u32> = (0..4096_u32).map(|n| n.wrapping_mul(0x9e37_79b1) >> 8).collect();
    let bytes = zrle(rect(64, 64), &noise);
    assert_eq!((bytes[0], bytes.len()), (0, 1 + 3 * 4096));
}

/// Pictures as they come: text, gradients, noise, plain ones.
fn picture(kind: u32, width: usize, height: usize) -> Vec<u32> {
    let dot = |n: usize| {
        let (x, y) = (n % width, n / width);
        match kind {
            0 => 0x0012_3456,
            1 => [0, 0x00aa_aaaa][(x * 7 ^ y * 3) / 5 % 2],
            2 => (x * 3) as u32 | ((y * 5) as u32 & 0xff) << 8,
            3 => (n as u32).wrapping_mul(0x9e37_79b1) >> 8,
            _ => [RED, BLUE, 0, 0x00ff_ffff, 0x0000_ff00][x / 5 % 5],
        }
    };
    (0..width * height).map(dot).collect()
}

#[test]
fn a_decoder_sees_what_was_encoded() {
    // 8, 16 and 32 bits, and an order of bytes that is not ours.
    let formats: [[u8; 16]; 5] = [
        PixelFormat::ours().1,
        [32, 24, 1, 1, 0, 255, 0, 255, 0, 255, 0, 8, 16, 0, 0, 0],
        [32, 32, 0, 1, 0, 255, 0, 255, 0, 255, 24, 16, 8, 0, 0, 0],
        [16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0],
        [8, 8, 0, 1, 0, 7, 0, 7, 0, 3, 0, 3, 6, 0, 0, 0],
    ];
    for wire in formats {
        let format = PixelFormat::parse(&wire).expect("a format");
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::new(wire));
        for (n, encoding) in Encoding::ALL.into_iter().cycle().take(80).enumerate() {
            let (width, height) = ([1, 16, 17, 64, 65, 130][n % 6], [1, 15, 64, 70, 3][n % 5]);
            let area = Rect { x: n, y: 2 * n, width, height };
            let dots = picture(n as u32 / 4 % 5, width, height);
            let mut bytes = Vec::new();
            encoder.encode((encoding, 6), &format, area, &dots, &mut bytes);
            let mut from = &bytes[..];
            let (decoded_area, pixels) = decoder.rect(&mut from).expect("it can be decoded");
            assert_eq!((decoded_area, from.len()), (area, 0), "{encoding:?}");
            let want: Vec<u32> = dots.iter().map(|dot| pixel_value(&wire, *dot)).collect();
            assert!(pixels == want, "{encoding:?} {wire:?} {width} {height}");
        }
    }
}
