//! Conversions of F80 to and from the other formats, integers and packed decimal.
//!
//! Source: Intel SDM volume 2, FLD, FST, FILD, FIST, FISTTP, FBLD and FBSTP.

use super::f80::{BIAS, Kind, QUIET, denormal_operand};
use super::{F80, Operand};
use crate::sse::{Float, float};
use crate::wide::{round_magnitude, shift_right_jam};
use crate::{Env, Flags, Rounding};

/// FLD m32fp: raises DE for a denormal and IE for a signalling NaN, which becomes quiet.
pub fn from_f32(env: &mut Env, bits: u32) -> F80 {
    load(env, Operand::from_f32(bits))
}

/// FLD m64fp: raises DE for a denormal and IE for a signalling NaN, which becomes quiet.
pub fn from_f64(env: &mut Env, bits: u64) -> F80 {
    load(env, Operand::from_f64(bits))
}

fn load(env: &mut Env, a: Operand) -> F80 {
    env.rounded_up = false;
    if a.is_signalling() {
        env.raise(Flags::IE);
    }
    denormal_operand(env, [a]);
    a.pack()
}

/// FST m32fp. With an unmasked IE, OE or UE the instruction stores nothing.
pub fn to_f32(env: &mut Env, a: F80) -> u32 {
    store(env, Operand::from(a))
}

/// FST m64fp. With an unmasked IE, OE or UE the instruction stores nothing.
pub fn to_f64(env: &mut Env, a: F80) -> u64 {
    store(env, Operand::from(a))
}

fn store<F: Float>(env: &mut Env, a: Operand) -> F {
    env.rounded_up = false;
    match a.kind {
        Kind::Zero => float::zero(a.negative),
        Kind::Infinity => float::infinity(a.negative),
        Kind::Unsupported => float::invalid(env),
        Kind::Nan => {
            if a.sig & QUIET == 0 {
                env.raise(Flags::IE);
            }
            let fraction = (a.sig << 1) >> (64 - F::FRACTION_BITS);
            let sign = if a.negative { F::SIGN } else { 0 };
            F::from_bits(sign | F::INFINITY | F::QUIET | fraction)
        }
        Kind::Finite => {
            let mut own = Env { flags: Flags::NONE, daz: false, ftz: false, ..*env };
            let exp = a.exp - BIAS + F::BIAS;
            let result: F = float::round(&mut own, a.negative, exp, shift_right_jam(a.sig, 1));
            if own.unmasked().intersects(Flags::OE | Flags::UE) {
                // Nothing is stored, so nothing was rounded.
                env.raise(own.flags - Flags::PE);
            } else {
                env.raise(own.flags);
                env.rounded_up = is_larger(result, a);
            }
            result
        }
    }
}

/// Whether a stored value is larger in magnitude than what it was rounded from.
fn is_larger<F: Float>(stored: F, a: Operand) -> bool {
    if float::is_infinite(stored) {
        return true;
    }
    if float::is_zero(stored) {
        return false;
    }
    let finite = float::unpack(stored);
    (finite.exp - F::BIAS + BIAS, finite.sig << (63 - F::FRACTION_BITS)) > (a.exp, a.sig)
}

/// FILD m16int: exact.
pub fn from_i16(value: i16) -> F80 {
    from_i64(i64::from(value))
}

/// FILD m32int: exact.
pub fn from_i32(value: i32) -> F80 {
    from_i64(i64::from(value))
}

/// FILD m64int: exact.
pub fn from_i64(value: i64) -> F80 {
    from_magnitude(value < 0, value.unsigned_abs())
}

/// An integer of the given sign, which a zero keeps.
pub(super) fn from_magnitude(negative: bool, magnitude: u64) -> F80 {
    if magnitude == 0 {
        return F80::zero(negative);
    }
    let zeros = magnitude.leading_zeros();
    F80::with_sign(negative, BIAS + 63 - zeros as i32, magnitude << zeros)
}

/// FIST m16int with `env.rounding`, FISTTP with [`Rounding::TowardZero`]; `i16::MIN` and IE if the
/// value does not fit.
pub fn to_i16(env: &mut Env, a: F80, rounding: Rounding) -> i16 {
    to_integer(env, a, rounding, 1 << 15).map_or(i16::MIN, |value| value as i16)
}

/// FIST m32int with `env.rounding`, FISTTP with [`Rounding::TowardZero`]; `i32::MIN` and IE if the
/// value does not fit.
pub fn to_i32(env: &mut Env, a: F80, rounding: Rounding) -> i32 {
    to_integer(env, a, rounding, 1 << 31).map_or(i32::MIN, |value| value as i32)
}

/// FISTP m64int with `env.rounding`, FISTTP with [`Rounding::TowardZero`]; `i64::MIN` and IE if the
/// value does not fit.
pub fn to_i64(env: &mut Env, a: F80, rounding: Rounding) -> i64 {
    to_integer(env, a, rounding, 1 << 63).unwrap_or(i64::MIN)
}

/// The value rounded to an integer within `limit`, the magnitude of the least one.
fn to_integer(env: &mut Env, a: F80, rounding: Rounding, limit: u64) -> Option<i64> {
    let fits = |negative, magnitude| magnitude < limit || magnitude == limit && negative;
    let (negative, magnitude) = round_to_magnitude(env, a, rounding, fits)?;
    Some(if negative { magnitude.wrapping_neg() } else { magnitude } as i64)
}

/// The sign and magnitude of the value rounded to an integer; IE and `None` if it does not fit.
fn round_to_magnitude(
    env: &mut Env,
    a: F80,
    rounding: Rounding,
    fits: impl Fn(bool, u64) -> bool,
) -> Option<(bool, u64)> {
    env.rounded_up = false;
    let a = Operand::from(a);
    if a.kind == Kind::Zero {
        return Some((a.negative, 0));
    }
    if a.kind != Kind::Finite || a.exp > BIAS + 63 {
        env.raise(Flags::IE);
        return None;
    }
    let dropped = (BIAS + 63 - a.exp) as u32;
    let sig = u128::from(a.sig);
    let (magnitude, inexact) = match dropped {
        0 => (sig, false),
        _ => round_magnitude(rounding, a.negative, sig, dropped),
    };
    let magnitude = u64::try_from(magnitude).ok().filter(|&m| fits(a.negative, m));
    let Some(magnitude) = magnitude else {
        env.raise(Flags::IE);
        return None;
    };
    if inexact {
        env.raise(Flags::PE);
        env.rounded_up = magnitude > a.sig.checked_shr(dropped).unwrap_or(0);
    }
    Some((a.negative, magnitude))
}

/// FBLD: from 18 packed decimal digits and a sign byte; exact. Digits above nine count as they
/// stand (the SDM leaves them undefined).
pub fn from_bcd(bytes: [u8; 10]) -> F80 {
    let digits = bytes[..9].iter().rev();
    let magnitude = digits.fold(0u64, |m, b| m * 100 + u64::from(b >> 4) * 10 + u64::from(b & 15));
    from_magnitude(bytes[9] >> 7 != 0, magnitude)
}

/// FBSTP: to 18 packed decimal digits, rounded by `env.rounding`; the packed decimal indefinite
/// and IE if it does not fit.
pub fn to_bcd(env: &mut Env, a: F80) -> [u8; 10] {
    let rounding = env.rounding;
    let fits = |_, magnitude| magnitude < 1_000_000_000_000_000_000;
    let Some((negative, mut rest)) = round_to_magnitude(env, a, rounding, fits) else {
        return [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];
    };
    let mut bytes = [0; 10];
    for byte in &mut bytes[..9] {
        let two = (rest % 100) as u8;
        *byte = two / 10 * 16 + two % 10;
        rest /= 100;
    }
    bytes[9] = u8::from(negative) << 7;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCD_INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];

    #[test]
    fn packed_decimal() {
        let digits = [0x89, 0x67, 0x45, 0x23, 0x01, 0x89, 0x67, 0x45, 0x23, 0x80];
        let value = from_bcd(digits);
        assert_eq!(value, from_i64(-234_567_890_123_456_789));
        let mut env = Env::default();
        assert_eq!(to_bcd(&mut env, value), digits);
        assert_eq!(to_bcd(&mut env, from_i64(999_999_999_999_999_999))[8], 0x99);
        assert_eq!(env.flags, Flags::NONE);
        assert_eq!(to_bcd(&mut env, from_i64(-1_000_000_000_000_000_000)), BCD_INDEFINITE);
        assert_eq!(env.flags, Flags::IE);
    }

    #[test]
    fn a_signalling_nan_becomes_quiet_both_ways() {
        let mut env = Env::default();
        let loaded = from_f32(&mut env, 0xff80_0001);
        assert_eq!(loaded, F80 { sign_exp: 0xffff, significand: 3 << 62 | 1 << 40 });
        assert_eq!(env.flags, Flags::IE);
        let signalling = F80 { sign_exp: 0x7fff, significand: 1 << 63 | 1 << 40 };
        assert_eq!(to_f32(&mut env, signalling), 0x7fc0_0001);
    }

    #[test]
    fn every_normal_f64_survives_the_register() {
        let mut env = Env::default();
        for a in [1.0f64, -0.1, f64::MAX, f64::MIN_POSITIVE, -f64::EPSILON] {
            let loaded = from_f64(&mut env, a.to_bits());
            assert_eq!(to_f64(&mut env, loaded), a.to_bits());
        }
        assert_eq!(env.flags, Flags::NONE);
    }

    #[test]
    fn integers_that_do_not_fit_are_indefinite() {
        let mut env = Env::default();
        assert_eq!(to_i16(&mut env, from_i32(32768), Rounding::NearestEven), i16::MIN);
        assert_eq!(env.flags, Flags::IE);
        assert_eq!(to_i16(&mut env, from_i32(-32768), Rounding::NearestEven), i16::MIN);
        assert_eq!(to_i64(&mut env, F80::INFINITY, Rounding::NearestEven), i64::MIN);
    }
}
