//! A viewer's side of the encodings, for tests: written from the specification, not from the encoder.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress};
use trine_devices::Rect;

/// What dot 0RGB is in pixels of this PIXEL_FORMAT.
pub(super) fn pixel_value(wire: &[u8; 16], dot: u32) -> u32 {
    let colors = [dot >> 16 & 0xff, dot >> 8 & 0xff, dot & 0xff];
    (0..3).fold(0, |value, n| {
        let max = u32::from(u16::from_be_bytes([wire[4 + 2 * n], wire[5 + 2 * n]]));
        let level = (f64::from(colors[n]) * f64::from(max) / 255.0).round() as u32;
        value | level << wire[10 + n]
    })
}

pub(super) fn bytes<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn word(from: &mut impl Read) -> io::Result<usize> {
    Ok(u16::from_be_bytes(bytes(from)?).into())
}

fn long(from: &mut impl Read) -> io::Result<usize> {
    Ok(u32::from_be_bytes(bytes(from)?) as usize)
}

/// Decodes what one server sends to one viewer.
pub(super) struct Decoder {
    wire: [u8; 16],
    zlib: Decompress,
    zrle: Decompress,
}

impl Decoder {
    pub(super) fn new(wire: [u8; 16]) -> Self {
        Self { wire, zlib: Decompress::new(true), zrle: Decompress::new(true) }
    }

    fn len(&self) -> usize {
        usize::from(self.wire[0] / 8)
    }

    fn pixel(&self, from: &mut impl Read) -> io::Result<u32> {
        let mut raw = vec![0; self.len()];
        from.read_exact(&mut raw)?;
        if self.wire[2] == 0 {
            raw.reverse();
        }
        Ok(raw.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    /// A CPIXEL: of a pixel with 32 bits, those three bytes that hold color.
    fn compact(&self, from: &mut impl Read) -> io::Result<u32> {
        if self.wire[0] != 32 || self.wire[1] > 24 {
            return self.pixel(from);
        }
        let [a, b, c] = bytes(from)?;
        let is_low = pixel_value(&self.wire, 0x00ff_ffff) <= 0x00ff_ffff;
        let value = match self.wire[2] {
            0 => u32::from_le_bytes([a, b, c, 0]),
            _ => u32::from_be_bytes([0, a, b, c]),
        };
        Ok(if is_low { value } else { value << 8 })
    }

    /// A rectangle of dots.
    pub(super) fn rect(&mut self, from: &mut impl Read) -> io::Result<(Rect, Vec<u32>)> {
        let [x, y, width, height] = [word(from)?, word(from)?, word(from)?, word(from)?];
        let rect = Rect { x, y, width, height };
        let encoding = i32::from_be_bytes(bytes(from)?);
        Ok((rect, self.dots(encoding, rect, from)?))
    }

    /// The dots of a rectangle whose header was read.
    pub(super) fn dots(
        &mut self,
        encoding: i32,
        rect: Rect,
        from: &mut impl Read,
    ) -> io::Result<Vec<u32>> {
        let count = rect.width * rect.height;
        match encoding {
            0 => (0..count).map(|_| self.pixel(from)).collect(),
            5 => tiles(rect, 16, |width, height| self.hextile(from, width, height)),
            6 => {
                let plain = inflate(&mut self.zlib, from)?;
                let mut plain = &plain[..];
                (0..count).map(|_| self.pixel(&mut plain)).collect()
            }
            16 => {
                let plain = inflate(&mut self.zrle, from)?;
                let mut plain = &plain[..];
                let dots = tiles(rect, 64, |width, height| self.zrle(&mut plain, width, height))?;
                assert!(plain.is_empty(), "bytes are left of a rectangle");
                Ok(dots)
            }
            _ => panic!("encoding {encoding} was not asked for"),
        }
    }

    fn hextile(&self, from: &mut impl Read, width: usize, height: usize) -> io::Result<Vec<u32>> {
        let [kind] = bytes(from)?;
        if kind & 1 != 0 {
            return (0..width * height).map(|_| self.pixel(from)).collect();
        }
        assert_ne!(kind & 2, 0, "our server always says the background");
        let mut dots = vec![self.pixel(from)?; width * height];
        let foreground = if kind & 4 != 0 { self.pixel(from)? } else { 0 };
        let count = if kind & 8 != 0 { bytes::<1>(from)?[0] } else { 0 };
        for _ in 0..count {
            let color = if kind & 16 != 0 { self.pixel(from)? } else { foreground };
            let [place, size] = bytes(from)?.map(usize::from);
            for y in place & 15..=(place & 15) + (size & 15) {
                dots[y * width..][place >> 4..=(place >> 4) + (size >> 4)].fill(color);
            }
        }
        Ok(dots)
    }

    fn zrle(&self, from: &mut impl Read, width: usize, height: usize) -> io::Result<Vec<u32>> {
        let [kind] = bytes(from)?;
        let count = width * height;
        let mut dots = Vec::new();
        let palette =
            (0..kind & 127).map(|_| self.compact(from)).collect::<io::Result<Vec<_>>>()?;
        match kind {
            0 => return (0..count).map(|_| self.compact(from)).collect(),
            1 => dots.resize(count, palette[0]),
            2..=16 => {
                let bits = [1, 2, 4][usize::from(kind > 2) + usize::from(kind > 4)];
                for _ in 0..height {
                    let mut line = vec![0; (width * bits).div_ceil(8)];
                    from.read_exact(&mut line)?;
                    let index = |x: usize| {
                        let byte = line[x * bits / 8] >> (8 - bits - x * bits % 8);
                        usize::from(byte) & ((1 << bits) - 1)
                    };
                    dots.extend((0..width).map(|x| palette[index(x)]));
                }
            }
            128 => {
                while dots.len() < count {
                    let color = self.compact(from)?;
                    dots.resize(dots.len() + run(from)?, color);
                }
            }
            130.. => {
                while dots.len() < count {
                    let [index] = bytes(from)?;
                    let length = if index & 128 != 0 { run(from)? } else { 1 };
                    dots.resize(dots.len() + length, palette[usize::from(index & 127)]);
                }
            }
            _ => panic!("no such tile: {kind}"),
        }
        assert_eq!(dots.len(), count);
        Ok(dots)
    }
}

fn run(from: &mut impl Read) -> io::Result<usize> {
    let mut length = 1;
    loop {
        let [byte] = bytes(from)?;
        length += usize::from(byte);
        if byte != 255 {
            return Ok(length);
        }
    }
}

/// Puts tiles together.
fn tiles(
    rect: Rect,
    side: usize,
    mut tile: impl FnMut(usize, usize) -> io::Result<Vec<u32>>,
) -> io::Result<Vec<u32>> {
    let mut dots = vec![0; rect.width * rect.height];
    for y in (0..rect.height).step_by(side) {
        for x in (0..rect.width).step_by(side) {
            let width = side.min(rect.width - x);
            let tile = tile(width, side.min(rect.height - y))?;
            for (n, line) in tile.chunks(width).enumerate() {
                dots[(y + n) * rect.width + x..][..width].copy_from_slice(line);
            }
        }
    }
    Ok(dots)
}

fn inflate(stream: &mut Decompress, from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut packed = vec![0; long(from)?];
    from.read_exact(&mut packed)?;
    let mut plain = Vec::with_capacity(1 << 20);
    let before = stream.total_in();
    stream.decompress_vec(&packed, &mut plain, FlushDecompress::Sync)?;
    assert_eq!(stream.total_in() - before, packed.len() as u64, "all of it is used");
    Ok(plain)
}
