//! Rounding and packing of results.
//!
//! Source: Intel SDM volume 1, sections 4.8.4, 8.1.5 and 8.5.4 to 8.5.6.

use super::F80;
use super::f80::EXPONENT_MAX;
use crate::wide::shift_right_jam_128;
use crate::{Env, Flags, Precision, Rounding};

/// What an unmasked overflow subtracts from the exponent and an unmasked underflow adds.
pub(super) const EXPONENT_ADJUST: i32 = 24576;

/// A magnitude rounded to the precision: the significand at the top of 64 bits.
struct Rounded {
    sig: u64,
    carry: bool,
    inexact: bool,
    up: bool,
}

impl Precision {
    /// The bits at the bottom of a 64-bit significand that are not kept.
    fn dropped_bits(self) -> u32 {
        match self {
            Self::Single24 => 40,
            Self::Double53 => 11,
            Self::Extended64 => 0,
        }
    }
}

/// Rounds a significand of 128 bits.
fn round_significand(
    rounding: Rounding,
    negative: bool,
    sig: u128,
    precision: Precision,
) -> Rounded {
    let dropped = 64 + precision.dropped_bits();
    let unit = 1u128 << dropped;
    let rest = sig & (unit - 1);
    let inexact = rest != 0;
    let up = match rounding {
        Rounding::NearestEven => {
            let half = unit >> 1;
            rest > half || rest == half && sig & unit != 0
        }
        Rounding::Down => negative && inexact,
        Rounding::Up => !negative && inexact,
        Rounding::TowardZero => false,
    };
    let (sum, carry) = (sig - rest).overflowing_add(if up { unit } else { 0 });
    let sig = if carry { 1 << 63 } else { (sum >> 64) as u64 };
    Rounded { sig, carry, inexact, up }
}

/// Rounds and packs a number: `sig` has its top bit set and a value from 1 to 2, its lowest bit
/// stands for all that is below it, and `exp` is the biased exponent.
#[inline(always)]
pub(super) fn round(
    env: &mut Env,
    precision: Precision,
    negative: bool,
    exp: i32,
    sig: u128,
) -> F80 {
    if precision == Precision::Extended64 && (exp as u32).wrapping_sub(1) < 0x7ffd {
        return round_in_range(env, negative, exp, sig);
    }
    round_any(env, precision, negative, exp, sig)
}

/// Rounds to any precision, with overflow and underflow.
#[inline(never)]
fn round_any(env: &mut Env, precision: Precision, negative: bool, exp: i32, sig: u128) -> F80 {
    let rounded = round_significand(env.rounding, negative, sig, precision);
    let rounded_exp = exp + i32::from(rounded.carry);
    env.rounded_up = rounded.up;
    if exp < 1 && (rounded_exp < 1 || env.masks.contains(Flags::UE)) {
        return underflow(env, precision, negative, exp, sig, rounded);
    }
    if rounded.inexact {
        env.raise(Flags::PE);
    }
    if rounded_exp >= EXPONENT_MAX {
        return overflow(env, precision, negative, rounded_exp, rounded.sig);
    }
    F80::with_sign(negative, rounded_exp, rounded.sig)
}

/// Rounds to 64 bits what neither overflows nor underflows.
#[inline(always)]
fn round_in_range(env: &mut Env, negative: bool, exp: i32, sig: u128) -> F80 {
    let (kept, rest) = ((sig >> 64) as u64, sig as u64);
    let up = match env.rounding {
        Rounding::NearestEven => rest > 1 << 63 || rest == 1 << 63 && kept & 1 != 0,
        Rounding::Down => negative && rest != 0,
        Rounding::Up => !negative && rest != 0,
        Rounding::TowardZero => false,
    };
    env.rounded_up = up;
    if rest != 0 {
        env.raise(Flags::PE);
    }
    match kept.checked_add(u64::from(up)) {
        Some(kept) => F80::with_sign(negative, exp, kept),
        None => F80::with_sign(negative, exp + 1, 1 << 63),
    }
}

/// Delivers what a masked underflow does, a denormal or zero, or the adjusted exponent.
#[cold]
fn underflow(
    env: &mut Env,
    precision: Precision,
    negative: bool,
    exp: i32,
    sig: u128,
    rounded: Rounded,
) -> F80 {
    // Tiny is judged after rounding, as if the exponent had no bound.
    let rounded_exp = exp + i32::from(rounded.carry);
    let tiny = rounded_exp < 1;
    if tiny && !env.masks.contains(Flags::UE) {
        env.raise(Flags::UE);
        let adjusted = rounded_exp + EXPONENT_ADJUST;
        if adjusted < 1 {
            // Only FSCALE comes here: a massive underflow.
            env.raise(Flags::PE);
            env.rounded_up = false;
            return F80::zero(negative);
        }
        if rounded.inexact {
            env.raise(Flags::PE);
        }
        return F80::with_sign(negative, adjusted, rounded.sig);
    }
    let sig = shift_right_jam_128(sig, 1u32.wrapping_sub(exp as u32));
    let rounded = round_significand(env.rounding, negative, sig, precision);
    env.rounded_up = rounded.up;
    if rounded.inexact {
        env.raise(if tiny { Flags::UE | Flags::PE } else { Flags::PE });
    }
    F80::with_sign(negative, (rounded.sig >> 63) as i32, rounded.sig)
}

/// Delivers what a masked overflow does, an infinity or the largest number, or the adjusted
/// exponent.
#[cold]
fn overflow(env: &mut Env, precision: Precision, negative: bool, exp: i32, sig: u64) -> F80 {
    env.raise(Flags::OE);
    if !env.masks.contains(Flags::OE) {
        let adjusted = exp - EXPONENT_ADJUST;
        if adjusted >= EXPONENT_MAX {
            // Only FSCALE comes here: a massive overflow.
            env.raise(Flags::PE);
            env.rounded_up = true;
            return F80::infinity(negative);
        }
        return F80::with_sign(negative, adjusted, sig);
    }
    env.raise(Flags::PE);
    let to_infinity = match env.rounding {
        Rounding::NearestEven => true,
        Rounding::Down => negative,
        Rounding::Up => !negative,
        Rounding::TowardZero => false,
    };
    env.rounded_up = to_infinity;
    if to_infinity {
        F80::infinity(negative)
    } else {
        F80::with_sign(negative, EXPONENT_MAX - 1, u64::MAX << precision.dropped_bits())
    }
}
