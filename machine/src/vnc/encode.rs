//! The encodings in which a rectangle's dots are sent: Raw, Hextile, Zlib and ZRLE.
//!
//! Source: RFC 6143, section 7.7 (Zlib: the RFB community's specification, "Zlib Encoding"). The
//! streams of the last two live as long as their viewer, whatever else it asks for.

mod hextile;
mod zrle;

use flate2::{Compress, Compression, FlushCompress};
use trine_devices::Rect;

use super::pixels::PixelFormat;

/// An encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Encoding {
    #[default]
    Raw,
    Hextile,
    Zlib,
    Zrle,
}

impl Encoding {
    /// All of them.
    #[cfg(test)]
    pub(super) const ALL: [Self; 4] = [Self::Raw, Self::Hextile, Self::Zlib, Self::Zrle];

    /// Its number.
    pub(super) fn number(self) -> i32 {
        match self {
            Self::Raw => 0,
            Self::Hextile => 5,
            Self::Zlib => 6,
            Self::Zrle => 16,
        }
    }

    /// The one with this number.
    pub(super) fn numbered(number: i32) -> Option<Self> {
        match number {
            0 => Some(Self::Raw),
            5 => Some(Self::Hextile),
            6 => Some(Self::Zlib),
            16 => Some(Self::Zrle),
            _ => None,
        }
    }
}

/// What encodes for one viewer.
#[derive(Default)]
pub(super) struct Encoder {
    zlib: Option<Compress>,
    zrle: Option<Compress>,
    /// Before compression.
    plain: Vec<u8>,
}

impl Encoder {
    /// Appends the dots of `rect`, with the rectangle's header. `level` is how hard to compress, 0 to
    /// 9; it counts the first time.
    pub(super) fn encode(
        &mut self,
        (encoding, level): (Encoding, u8),
        format: &PixelFormat,
        rect: Rect,
        dots: &[u32],
        out: &mut Vec<u8>,
    ) {
        put_header(rect, encoding.number(), out);
        self.plain.clear();
        let stream = match encoding {
            Encoding::Raw => return dots.iter().for_each(|dot| format.put(*dot, out)),
            Encoding::Hextile => return hextile::encode(format, rect, dots, out),
            Encoding::Zlib => {
                dots.iter().for_each(|dot| format.put(*dot, &mut self.plain));
                &mut self.zlib
            }
            Encoding::Zrle => {
                zrle::encode(format, rect, dots, &mut self.plain);
                &mut self.zrle
            }
        };
        let new = || Compress::new(Compression::new(u32::from(level.min(9))), true);
        let length_at = out.len();
        out.extend_from_slice(&[0; 4]);
        deflate(stream.get_or_insert_with(new), &self.plain, out);
        let length = (out.len() - length_at - 4) as u32;
        out[length_at..][..4].copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a rectangle's header.
pub(super) fn put_header(rect: Rect, encoding: i32, out: &mut Vec<u8>) {
    for number in [rect.x, rect.y, rect.width, rect.height] {
        out.extend_from_slice(&(number as u16).to_be_bytes());
    }
    out.extend_from_slice(&encoding.to_be_bytes());
}

/// Appends all of `plain` to the stream, so that the other side can read all of it.
fn deflate(stream: &mut Compress, plain: &[u8], out: &mut Vec<u8>) {
    let start = stream.total_in();
    loop {
        out.reserve(plain.len() / 4 + 256);
        let done = (stream.total_in() - start) as usize;
        // Into memory it does not fail; if it did, the viewer would see a short stream and leave.
        let result = stream.compress_vec(&plain[done..], out, FlushCompress::Sync);
        let is_all = stream.total_in() - start == plain.len() as u64;
        if result.is_err() || is_all && out.len() < out.capacity() {
            return;
        }
    }
}

/// Calls `f` with each tile of `side` by `side` dots (less at the right and the bottom): its dots and
/// its width.
fn each_tile(rect: Rect, dots: &[u32], side: usize, mut f: impl FnMut(&[u32], usize)) {
    let mut tile = Vec::with_capacity(side * side);
    for y in (0..rect.height).step_by(side) {
        for x in (0..rect.width).step_by(side) {
            let width = side.min(rect.width - x);
            tile.clear();
            for line in dots.chunks(rect.width).skip(y).take(side) {
                tile.extend_from_slice(&line[x..x + width]);
            }
            f(&tile, width);
        }
    }
}

#[cfg(test)]
mod tests;
