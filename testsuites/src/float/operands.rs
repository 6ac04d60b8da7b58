//! Operands that find mistakes: special values, patterns, and values that stand in some relation to
//! another operand or to the limits of a format. In the manner of Berkeley TestFloat's, whose
//! documentation (doc/testfloat_gen.html) says which classes matter.

use crate::noise::Noise;

/// A binary format: bits of its exponent, and bits of its fraction (without the integer bit, which
/// only the 80-bit format has, as the fraction's neighbour).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Format {
    exponent: u32,
    fraction: u32,
}

pub(super) const F16: Format = Format { exponent: 5, fraction: 10 };
pub(super) const F32: Format = Format { exponent: 8, fraction: 23 };
pub(super) const F64: Format = Format { exponent: 11, fraction: 52 };
pub(super) const F80: Format = Format { exponent: 15, fraction: 63 };

/// The fields of a value.
#[derive(Clone, Copy)]
struct Fields {
    negative: bool,
    exponent: i64,
    fraction: u64,
}

impl Format {
    fn bias(self) -> i64 {
        (1 << (self.exponent - 1)) - 1
    }

    /// The exponent of infinities and NaNs.
    fn top(self) -> i64 {
        (1 << self.exponent) - 1
    }

    fn fraction_mask(self) -> u64 {
        (1 << self.fraction) - 1
    }

    fn pack(self, f: Fields) -> u128 {
        let exponent = f.exponent.clamp(0, self.top());
        let mut bits = u128::from(f.fraction & self.fraction_mask());
        let mut place = self.fraction;
        if self == F80 {
            bits |= u128::from(exponent != 0) << place;
            place += 1;
        }
        bits | (exponent as u128) << place | u128::from(f.negative) << (place + self.exponent)
    }

    fn unpack(self, bits: u128) -> Fields {
        let place = self.fraction + u32::from(self == F80);
        Fields {
            negative: bits >> (place + self.exponent) & 1 != 0,
            exponent: (bits >> place) as i64 & self.top(),
            fraction: bits as u64 & self.fraction_mask(),
        }
    }
}

/// A fraction of `bits` bits: mostly few ones, few zeros, or long runs of them.
fn fraction(noise: &mut Noise, bits: u32) -> u64 {
    let mask = (1_u64 << bits) - 1;
    let at = noise.below(u64::from(bits));
    let value = match noise.below(12) {
        0 => 0,
        1 => mask,
        2 => 1 << at,
        3 => mask << at,
        4 => mask >> at,
        5 => 1 << at | 1 << noise.below(u64::from(bits)),
        6 => (1_u64 << at).wrapping_sub(noise.below(4)),
        7 => noise.draw() & mask << at,
        8 => tie(noise, bits),
        _ => noise.draw(),
    };
    value & mask
}

/// A fraction near half a unit in the last place of a narrower format.
fn tie(noise: &mut Noise, bits: u32) -> u64 {
    let kept = noise.pick(&[10, 23, 52, bits / 2, bits - 1]).min(bits - 1);
    let unit = 1_u64 << (bits - kept);
    let whole = noise.draw() & !(unit - 1);
    let off = noise.pick(&[0, 0, 0, 1, 2, 1_u64.wrapping_neg(), 2_u64.wrapping_neg(), unit / 2]);
    (whole | unit / 2).wrapping_add(off)
}

/// Zeros, the ends of every range, one, infinities and NaNs.
fn special(noise: &mut Noise, format: Format) -> Fields {
    let (top, bias, mask) = (format.top(), format.bias(), format.fraction_mask());
    let quiet = 1 << (format.fraction - 1);
    let payload = noise.draw() >> noise.below(64) & mask;
    let (exponent, fraction) = noise.pick(&[
        (0, 0),
        (0, 1),
        (0, mask),
        (1, 0),
        (1, 1),
        (top - 1, mask),
        (top - 1, 0),
        (bias, 0),
        (bias, 1),
        (bias - 1, mask),
        (bias - 1, 0),
        (bias + 1, 0),
        (top, 0),
        (top, 0),
        (top, quiet),
        (top, quiet | payload),
        (top, payload & !quiet | 1),
        (top, mask),
    ]);
    Fields { negative: noise.once_in(2), exponent, fraction }
}

/// An integer close to where integers end, and not always one.
fn boundary(noise: &mut Noise, format: Format) -> Fields {
    let power = noise.pick(&[0, 7, 8, 15, 16, 31, 32, 52, 53, 59, 60, 62, 63, 64]);
    // 10^18, the end of packed BCD.
    let value = match noise.below(5) {
        0 => 1_000_000_000_000_000_000,
        _ => 1_u128 << power,
    };
    // In units of 1/8, so that halves and what is near them come up.
    let value = (value << 3).wrapping_add_signed(noise.below(41) as i128 - 20).max(1);
    let high = 127 - value.leading_zeros();
    let fraction = match format.fraction.checked_sub(high) {
        Some(up) => (value << up) as u64,
        None => (value >> (high - format.fraction)) as u64,
    };
    let exponent = format.bias() + i64::from(high) - 3;
    Fields { negative: noise.once_in(2), exponent, fraction }
}

/// An operand of `format`; `near` is the other one, of `other`, if there is one.
pub(super) fn draw(noise: &mut Noise, format: Format, near: Option<(Format, u128)>) -> u128 {
    let (bias, top, bits) = (format.bias(), format.top(), format.fraction);
    let (other, near) = match near {
        Some((other, value)) => (other, other.unpack(value)),
        None => (format, Fields { negative: false, exponent: bias, fraction: noise.draw() }),
    };
    // The other operand's exponent in this format.
    let close = near.exponent - other.bias() + bias;
    let spread = |noise: &mut Noise, n: i64| noise.below(2 * n as u64 + 1) as i64 - n;
    let negative = noise.once_in(2);
    let wide = i64::from(bits) + 3;
    let exponent = match noise.below(16) {
        0 | 1 => {
            let special = format.pack(special(noise, format));
            return odd(noise, format, special);
        }
        2 => 0,
        3 => return format.pack(boundary(noise, format)),
        4 | 5 => {
            // The same but for a few units in the last place: comparisons, cancellation.
            let shift = i64::from(other.fraction) - i64::from(bits);
            let fraction =
                if shift >= 0 { near.fraction >> shift } else { near.fraction << -shift };
            let fraction = fraction.wrapping_add_signed(spread(noise, 3));
            return format.pack(Fields { negative, exponent: close, fraction });
        }
        6 => close + spread(noise, 2),
        7 => close + spread(noise, wide),
        // Where products, quotients and powers leave the format.
        8 => 2 * bias - close + spread(noise, wide),
        9 => noise.pick(&[3 * bias - close, close - bias, close + bias]) + spread(noise, wide),
        10 => noise.pick(&[1, top - 1]) + spread(noise, wide),
        11 | 12 => bias + spread(noise, 70.min(bias)),
        // Where narrower formats end.
        13 => {
            bias + noise.pick(&[-149, -126, 127, -1074, -1022, 1023, -24, -14, 15])
                + spread(noise, 4)
        }
        _ => noise.below(top as u64) as i64,
    };
    let fraction = fraction(noise, bits);
    let exponent = exponent.clamp(0, top - 1);
    let fraction = if exponent == 0 { fraction >> noise.below(u64::from(bits)) } else { fraction };
    odd(noise, format, format.pack(Fields { negative, exponent, fraction }))
}

/// Now and then an encoding of the 80-bit format in which the integer bit is not what it should
/// be: pseudo-denormals and what the x87 does not support.
fn odd(noise: &mut Noise, format: Format, bits: u128) -> u128 {
    if format == F80 && noise.once_in(24) { bits ^ 1 << 63 } else { bits }
}

/// An integer of any size, as often close to a power of two as not.
pub(super) fn integer(noise: &mut Noise) -> u64 {
    let size = noise.below(64);
    match noise.below(4) {
        0 => (1_u64 << size).wrapping_add(noise.below(9)).wrapping_sub(4),
        1 => (u64::MAX << size).wrapping_add(noise.below(9)).wrapping_sub(4),
        2 => noise.draw().cast_signed().wrapping_shr(size as u32).cast_unsigned(),
        _ => noise.draw() >> size,
    }
}

/// Packed BCD of 0 to 18 digits, with anything in the bits that mean nothing. Digits above 9 are
/// undefined.
pub(super) fn bcd(noise: &mut Noise) -> u128 {
    let digits = noise.below(19) as u32;
    let mut value = 0_u128;
    for _ in 0..digits {
        value = value << 4 | u128::from(noise.below(10));
    }
    let sign = u128::from(noise.once_in(2)) << 79;
    value | sign | if noise.once_in(4) { u128::from(noise.below(128)) << 72 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_pack_what_they_unpack() {
        let mut noise = Noise::new(1);
        for format in [F16, F32, F64, F80] {
            let width = format.exponent + format.fraction + 1 + u32::from(format == F80);
            for _ in 0..1000 {
                let value = draw(&mut noise, format, None);
                assert_eq!(value >> width, 0);
                let again = format.pack(format.unpack(value));
                assert!(again == value || format == F80 && (again ^ value) == 1 << 63);
            }
        }
        assert_eq!(F32.unpack(0x3f80_0000).exponent, F32.bias());
        assert_eq!(F80.pack(F80.unpack(0x3fff_8000_0000_0000_0000)), 0x3fff_8000_0000_0000_0000);
    }

    #[test]
    fn every_class_of_number_comes_up() {
        let mut noise = Noise::new(2);
        let mut classes = [0_u32; 5];
        for _ in 0..10_000 {
            let value = f32::from_bits(draw(&mut noise, F32, None) as u32);
            classes[value.classify() as usize] += 1;
        }
        assert!(classes.iter().all(|n| *n > 100), "{classes:?}");
    }
}
