//! Conversions between formats and to and from integers.

use super::Float;
use super::float::{
    daz, denormal_operand, exponent, infinity, is_denormal, is_infinite, is_nan, is_negative,
    is_signalling, is_zero, propagate_nan, round, unpack, zero,
};
use crate::wide::{round_magnitude, shift_right_jam};
use crate::{Env, Flags, Rounding};

/// Rounds to an integral value (ROUNDSS, ROUNDSD). `suppress_inexact` is bit 3 of the immediate.
/// Pass `env.rounding` where the immediate says so.
pub fn round_to_integral<F: Float>(
    env: &mut Env,
    a: F,
    rounding: Rounding,
    suppress_inexact: bool,
) -> F {
    if let Some(nan) = propagate_nan(env, [a]) {
        return nan;
    }
    let a = daz(env, a);
    if is_zero(a) || exponent(a) >= F::BIAS + F::FRACTION_BITS as i32 {
        return a;
    }
    let finite = unpack(a);
    // The value is sig * 2^-dropped.
    let dropped = (F::BIAS + F::FRACTION_BITS as i32 - finite.exp) as u32;
    let (kept, inexact) =
        round_magnitude(rounding, finite.negative, u128::from(finite.sig), dropped);
    if inexact && !suppress_inexact {
        env.raise(Flags::PE);
    }
    let kept = kept as u64;
    if kept == 0 {
        return zero(finite.negative);
    }
    let sign = if finite.negative { F::SIGN } else { 0 };
    let top = 63 - kept.leading_zeros();
    let fraction = kept << (F::FRACTION_BITS - top) & F::FRACTION;
    let exp = (F::BIAS + top as i32) as u64;
    F::from_bits(sign | exp << F::FRACTION_BITS | fraction)
}

/// The value rounded to an integer within `limit`, the magnitude of the least one.
fn to_integer<F: Float>(env: &mut Env, a: F, rounding: Rounding, limit: u64) -> Option<i64> {
    let a = daz(env, a);
    // 2^64 and above, infinities and NaNs are out of every range.
    if exponent(a) >= F::BIAS + 64 {
        env.raise(Flags::IE);
        return None;
    }
    if is_zero(a) {
        return Some(0);
    }
    let finite = unpack(a);
    let dropped = F::BIAS + F::FRACTION_BITS as i32 - finite.exp;
    let (magnitude, inexact) = if dropped <= 0 {
        (u128::from(finite.sig) << -dropped, false)
    } else {
        round_magnitude(rounding, finite.negative, u128::from(finite.sig), dropped as u32)
    };
    if magnitude > u128::from(limit) || magnitude == u128::from(limit) && !finite.negative {
        env.raise(Flags::IE);
        return None;
    }
    if inexact {
        env.raise(Flags::PE);
    }
    let magnitude = magnitude as u64;
    Some(if finite.negative { magnitude.wrapping_neg() } else { magnitude } as i64)
}

/// To a 32-bit integer; `i32::MIN` (the integer indefinite) and IE if it does not fit. Pass
/// `env.rounding` for CVTSS2SI, [`Rounding::TowardZero`] for CVTTSS2SI.
pub fn to_i32<F: Float>(env: &mut Env, a: F, rounding: Rounding) -> i32 {
    to_integer(env, a, rounding, 1 << 31).map_or(i32::MIN, |value| value as i32)
}

/// To a 64-bit integer; `i64::MIN` (the integer indefinite) and IE if it does not fit. Pass
/// `env.rounding` for CVTSD2SI, [`Rounding::TowardZero`] for CVTTSD2SI.
pub fn to_i64<F: Float>(env: &mut Env, a: F, rounding: Rounding) -> i64 {
    to_integer(env, a, rounding, 1 << 63).unwrap_or(i64::MIN)
}

/// From a 32-bit integer (CVTSI2SS, CVTDQ2PS, CVTSI2SD).
#[inline]
pub fn from_i32<F: Float>(env: &mut Env, value: i32) -> F {
    from_i64(env, i64::from(value))
}

/// From a 64-bit integer (CVTSI2SS, CVTSI2SD).
pub fn from_i64<F: Float>(env: &mut Env, value: i64) -> F {
    let magnitude = value.unsigned_abs();
    if magnitude == 0 {
        return zero(false);
    }
    let zeros = magnitude.leading_zeros();
    let sig = shift_right_jam(magnitude << zeros, 1);
    round(env, value < 0, F::BIAS + 63 - zeros as i32, sig)
}

/// The sign of a NaN, and the top of its fraction, in another format; quiet.
fn convert_nan<A: Float, B: Float>(env: &mut Env, a: A) -> B {
    if is_signalling(a) {
        env.raise(Flags::IE);
    }
    let fraction = (a.to_bits() & A::FRACTION) << (64 - A::FRACTION_BITS);
    let sign = if is_negative(a) { B::SIGN } else { 0 };
    B::from_bits(sign | B::INFINITY | B::QUIET | fraction >> (64 - B::FRACTION_BITS))
}

/// A number or infinity in another format.
fn convert_number<A: Float, B: Float>(env: &mut Env, a: A) -> B {
    if is_infinite(a) {
        infinity(is_negative(a))
    } else if is_zero(a) {
        zero(is_negative(a))
    } else {
        let finite = unpack(a);
        let exp = finite.exp - A::BIAS + B::BIAS;
        round(env, finite.negative, exp, finite.sig << (62 - A::FRACTION_BITS))
    }
}

/// A conversion by the rules of CVTSS2SD and CVTSD2SS.
#[inline]
fn convert<A: Float, B: Float>(env: &mut Env, a: A) -> B {
    if is_nan(a) {
        return convert_nan(env, a);
    }
    let a = daz(env, a);
    if denormal_operand(env, [a]) {
        return zero(false);
    }
    convert_number(env, a)
}

/// f32 to f64 (CVTSS2SD).
pub fn f32_to_f64(env: &mut Env, a: u32) -> u64 {
    convert(env, a)
}

/// f64 to f32 (CVTSD2SS).
pub fn f64_to_f32(env: &mut Env, a: u64) -> u32 {
    convert(env, a)
}

/// binary16 to f32 (VCVTPH2PS): DAZ is ignored and denormals raise nothing.
pub fn f16_to_f32(env: &mut Env, a: u16) -> u32 {
    if is_nan(a) { convert_nan(env, a) } else { convert_number(env, a) }
}

/// f32 to binary16 (VCVTPS2PH): FTZ is ignored. Pass `env.rounding` where the immediate says so.
pub fn f32_to_f16(env: &mut Env, a: u32, rounding: Rounding) -> u16 {
    let mut own = Env { rounding, flags: Flags::NONE, ftz: false, ..*env };
    let result = convert(&mut own, a);
    if is_denormal(a) && own.flags.contains(Flags::UE) {
        // Far below the least binary16; the hardware does not look at its bits.
        own.raise(Flags::PE);
    }
    env.raise(own.flags);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_the_integer_indefinite() {
        for (a, value, flags) in [
            (2147483647.5f64, i32::MIN, Flags::IE),
            (2147483647.25, i32::MAX, Flags::PE),
            (-2147483648.5, i32::MIN, Flags::PE),
            (-2147483649.0, i32::MIN, Flags::IE),
            (f64::NAN, i32::MIN, Flags::IE),
            (f64::INFINITY, i32::MIN, Flags::IE),
            (-0.0, 0, Flags::NONE),
        ] {
            let mut env = Env::default();
            let result = to_i32(&mut env, a.to_bits(), Rounding::NearestEven);
            assert_eq!((result, env.flags), (value, flags), "{a}");
        }
    }

    #[test]
    fn binary16_to_f32_and_back_is_the_identity() {
        for a in 0..=u16::MAX {
            let mut env = Env::default();
            let wide = f16_to_f32(&mut env, a);
            let back = f32_to_f16(&mut env, wide, Rounding::NearestEven);
            let expected = if is_nan(a) { a | u16::QUIET as u16 } else { a };
            assert_eq!(back, expected);
        }
    }
}
