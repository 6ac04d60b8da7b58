//! How a viewer wants its pixels.
//!
//! Source: RFC 6143, sections 7.4 (PIXEL_FORMAT), 7.5.1 (SetPixelFormat), 7.6.2 (SetColorMapEntries) and
//! 7.7.5 (CPIXEL).

/// Bytes of a PIXEL_FORMAT.
pub(super) const FORMAT_LEN: usize = 16;

/// A pixel format: how many bytes, in which order, and what each of the 256 levels of red, green and
/// blue becomes in a pixel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PixelFormat {
    bytes: usize,
    is_big_endian: bool,
    levels: Box<[[u32; 256]; 3]>,
    /// The bytes of a pixel that a CPIXEL has.
    compact: std::ops::Range<usize>,
    has_color_map: bool,
}

/// A part of PIXEL_FORMAT, for each of red, green and blue.
#[derive(Clone, Copy)]
struct Layout {
    max: [u16; 3],
    shift: [u8; 3],
}

/// What we offer: 0RGB in 32 bits, little endian.
const OURS: Layout = Layout { max: [255; 3], shift: [16, 8, 0] };
/// What the 256 entries of a color map are: three bits of blue, three of green, two of red.
const MAPPED: Layout = Layout { max: [7, 7, 3], shift: [0, 3, 6] };

impl PixelFormat {
    /// What ServerInit says.
    pub(super) fn ours() -> (Self, [u8; FORMAT_LEN]) {
        let wire = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
        (Self::with(OURS, 4, 24, false), wire)
    }

    /// The format that SetPixelFormat asks for; `None` if there is no such thing.
    pub(super) fn parse(wire: &[u8; FORMAT_LEN]) -> Option<Self> {
        let [bits, depth, big, true_color, rest @ ..] = wire;
        if !matches!(bits, 8 | 16 | 32) {
            return None;
        }
        let bytes = usize::from(bits / 8);
        if *true_color == 0 {
            // Other sizes of indices into a map of 256 make no sense.
            let mapped = Self { has_color_map: true, ..Self::with(MAPPED, bytes, 8, *big != 0) };
            return (bytes == 1).then_some(mapped);
        }
        let word = |n: usize| u16::from_be_bytes([rest[2 * n], rest[2 * n + 1]]);
        let layout = Layout { max: [0, 1, 2].map(word), shift: [rest[6], rest[7], rest[8]] };
        let is_possible = |(max, shift): (u16, u8)| {
            let width = (u32::from(max) + 1).trailing_zeros();
            let is_mask = max & max.wrapping_add(1) == 0;
            max > 0 && is_mask && u32::from(shift) + width <= u32::from(*bits)
        };
        let is_valid = layout.max.into_iter().zip(layout.shift).all(is_possible);
        is_valid.then(|| Self::with(layout, bytes, *depth, *big != 0))
    }

    fn with(layout: Layout, bytes: usize, depth: u8, is_big_endian: bool) -> Self {
        let level = |color: usize, level: usize| {
            let max = u32::from(layout.max[color]);
            (level as u32 * max + 127) / 255 << layout.shift[color]
        };
        let levels = Box::new([0, 1, 2].map(|color| std::array::from_fn(|n| level(color, n))));
        let used = (0..3).fold(0, |used, color| used | level(color, 255));
        let compact = compact(used, bytes, depth, is_big_endian);
        Self { bytes, is_big_endian, levels, compact, has_color_map: false }
    }

    /// What SetColorMapEntries has to say before this format can be used: red, green and blue of
    /// each entry.
    pub(super) fn color_map(&self) -> Option<Vec<[u16; 3]>> {
        let part = |n: u16, color: usize| {
            let max = MAPPED.max[color];
            let value = n >> MAPPED.shift[color] & max;
            (u32::from(value) * 0xffff / u32::from(max)) as u16
        };
        self.has_color_map.then(|| (0..256).map(|n| [0, 1, 2].map(|c| part(n, c))).collect())
    }

    fn pixel(&self, dot: u32) -> [u8; 4] {
        let [_, red, green, blue] = dot.to_be_bytes().map(usize::from);
        let [reds, greens, blues] = &*self.levels;
        let value = reds[red] | greens[green] | blues[blue];
        if self.is_big_endian {
            (value << (32 - 8 * self.bytes)).to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    /// Appends a PIXEL.
    pub(super) fn put(&self, dot: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pixel(dot)[..self.bytes]);
    }

    /// Appends a CPIXEL.
    pub(super) fn put_compact(&self, dot: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pixel(dot)[self.compact.clone()]);
    }

    /// Bytes of a PIXEL.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Bytes of a CPIXEL.
    pub(super) fn compact_len(&self) -> usize {
        self.compact.len()
    }
}

/// The bytes of a pixel that a CPIXEL has, if its bits in `used` hold color.
fn compact(used: u32, bytes: usize, depth: u8, is_big_endian: bool) -> std::ops::Range<usize> {
    let (is_low, is_high) = (used <= 0x00ff_ffff, used & 0xff == 0);
    if bytes != 4 || depth > 24 || !(is_low || is_high) {
        0..bytes
    } else if if is_big_endian { is_high } else { is_low } {
        0..3
    } else {
        1..4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PIXEL_FORMAT with true color.
    fn wire(bits: u8, depth: u8, big: u8, max: [u16; 3], shift: [u8; 3]) -> [u8; FORMAT_LEN] {
        let mut wire = [0; FORMAT_LEN];
        wire[..4].copy_from_slice(&[bits, depth, big, 1]);
        for n in 0..3 {
            wire[4 + 2 * n..][..2].copy_from_slice(&max[n].to_be_bytes());
            wire[10 + n] = shift[n];
        }
        wire
    }

    fn pixel(format: &PixelFormat, dot: u32) -> (Vec<u8>, Vec<u8>) {
        let (mut whole, mut compact) = (Vec::new(), Vec::new());
        format.put(dot, &mut whole);
        format.put_compact(dot, &mut compact);
        (whole, compact)
    }

    #[test]
    fn ours_is_what_its_wire_form_says() {
        let (format, wire) = PixelFormat::ours();
        assert_eq!(PixelFormat::parse(&wire), Some(format.clone()));
        let (whole, compact) = pixel(&format, 0x0012_3456);
        assert_eq!((&*whole, &*compact), (&[0x56, 0x34, 0x12, 0][..], &[0x56, 0x34, 0x12][..]));
    }

    #[test]
    fn pixels_have_the_order_and_the_bits_that_were_asked_for() {
        let rows: [([u8; FORMAT_LEN], &[u8], &[u8]); 7] = [
            (wire(32, 24, 1, [255; 3], [16, 8, 0]), &[0, 0xff, 0x80, 0], &[0xff, 0x80, 0]),
            (wire(32, 24, 0, [255; 3], [24, 16, 8]), &[0, 0, 0x80, 0xff], &[0, 0x80, 0xff]),
            (wire(32, 24, 1, [255; 3], [24, 16, 8]), &[0xff, 0x80, 0, 0], &[0xff, 0x80, 0]),
            // A depth of 32 has no short form.
            (wire(32, 32, 0, [255; 3], [0, 8, 16]), &[0xff, 0x80, 0, 0], &[0xff, 0x80, 0, 0]),
            (wire(16, 16, 0, [31, 63, 31], [11, 5, 0]), &[0x00, 0xfc], &[0x00, 0xfc]),
            (wire(16, 16, 1, [31, 63, 31], [11, 5, 0]), &[0xfc, 0x00], &[0xfc, 0x00]),
            (wire(8, 8, 0, [7, 7, 3], [0, 3, 6]), &[0x27], &[0x27]),
        ];
        for (wire, whole, compact) in rows {
            let format = PixelFormat::parse(&wire).expect("a format");
            let got = pixel(&format, 0x00ff_8000);
            assert_eq!((&*got.0, &*got.1), (whole, compact), "{wire:?}");
            assert_eq!((format.len(), format.compact_len()), (whole.len(), compact.len()));
            assert_eq!(format.color_map(), None);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            wire(24, 24, 0, [255; 3], [16, 8, 0]),
            wire(0, 0, 0, [255; 3], [0; 3]),
            wire(32, 24, 0, [254, 255, 255], [16, 8, 0]),
            wire(32, 24, 0, [0, 255, 255], [16, 8, 0]),
            wire(32, 24, 0, [255; 3], [25, 8, 0]),
            wire(32, 24, 0, [255; 3], [255, 8, 0]),
            wire(8, 8, 0, [0xffff; 3], [0; 3]),
        ] {
            assert_eq!(PixelFormat::parse(&wrong), None, "{wrong:?}");
        }
        // Planes of a map with more than 256 entries.
        assert_eq!(PixelFormat::parse(&[16; FORMAT_LEN].map(|b| b * u8::from(b == 1))), None);
    }

    #[test]
    fn a_color_map_has_the_colors_of_its_indices() {
        let mut wire = [0; FORMAT_LEN];
        (wire[0], wire[1]) = (8, 8);
        let format = PixelFormat::parse(&wire).expect("indices of 8 bits");
        let map = format.color_map().expect("it has a map");
        for dot in [0x00_0000, 0xff_0000, 0x00_ff00, 0x00_00ff, 0xff_ffff] {
            let index = usize::from(pixel(&format, dot).0[0]);
            let [_, red, green, blue] = dot.to_be_bytes().map(|b: u8| u16::from(b) * 0x101);
            assert_eq!(map[index], [red, green, blue], "{dot:06x}");
        }
        assert_eq!(map.len(), 256);
    }
}
