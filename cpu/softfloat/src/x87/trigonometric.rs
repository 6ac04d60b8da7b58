//! FSIN, FCOS, FSINCOS and FPTAN.
//!
//! The argument is reduced by a pi of 66 bits, as the hardware does, so that near its multiples
//! the results are the hardware's and not the mathematical ones.
//!
//! Source: Intel SDM volume 1, section 8.3.8; volume 2, the pages of the instructions.

use super::f80::{BIAS, Kind, denormal_operand, invalid, special};
use super::working::{Working, alternating_series, multiply_high};
use super::{F80, Operand};
use crate::Env;

/// Pi to 66 bits, times 2^64; and so half of pi times 2^65.
const PI: u128 = 0x3_243f_6a88_85a3_08d3;

/// Below this exponent the sine and tangent are the operand and the cosine is 1, but inexact.
const TINY: i32 = -68;

/// 1/(2k)! in even places and 1/(2k+1)! in odd ones, as fractions of 2^128, for the cosine and
/// the sine.
const COEFFICIENTS: [[u128; 18]; 2] = {
    let mut c = [[u128::MAX; 18]; 2];
    let mut n = 2;
    let mut factorial = u128::MAX;
    while n < 36 {
        factorial /= n as u128;
        c[n & 1][n >> 1] = factorial;
        n += 1;
    }
    c
};

/// An argument in terms of quarter turns.
struct Reduced {
    /// What remains, at most an eighth of a turn.
    rest: Working,
    /// The quarter turns of the magnitude, of which two bits count.
    quarters: u8,
    negative: bool,
}

/// What an argument leads to.
enum Argument {
    /// The result is known: a NaN, or the operand.
    Known(F80),
    /// C2: out of range.
    OutOfRange,
    Zero(bool),
    Infinity,
    Number(Reduced),
}

fn argument(env: &mut Env, x: F80) -> Argument {
    env.rounded_up = false;
    let x = Operand::from(x);
    if let Some(result) = special(env, [x]) {
        return Argument::Known(result);
    }
    if denormal_operand(env, [x]) {
        return Argument::Known(x.pack());
    }
    match x.kind {
        Kind::Infinity => Argument::Infinity,
        Kind::Zero => Argument::Zero(x.negative),
        _ if x.exp >= BIAS + 63 => Argument::OutOfRange,
        _ => Argument::Number(reduce(x)),
    }
}

/// Reduces an argument below 2^63.
fn reduce(x: Operand) -> Reduced {
    let exp = x.exp - BIAS;
    let unreduced = Working { negative: false, ..Working::from_operand(x) };
    if exp < -1 {
        return Reduced { rest: unreduced, quarters: 0, negative: x.negative };
    }
    // In units of 2^-65.
    let units = u128::from(x.sig) << (exp + 2);
    let (quarters, rest) = ((units / PI) as u8, units % PI);
    let (quarters, negative, rest) = if rest > PI / 2 {
        (quarters.wrapping_add(1), true, PI - rest)
    } else {
        (quarters, false, rest)
    };
    let rest = match rest {
        // No F80 is a multiple of the odd 66-bit number.
        0 => unreduced,
        _ => Working::from_integer(negative, -65, rest),
    };
    Reduced { rest, quarters: quarters & 3, negative: x.negative }
}

/// The sine of at most an eighth of a turn.
fn sine_of(rest: Working) -> Working {
    let square = rest.mul(rest).fraction();
    let factor = alternating_series(&COEFFICIENTS[1], square);
    rest.mul(Working::from_integer(false, -128, factor))
}

/// The cosine of at most an eighth of a turn.
fn cosine_of(rest: Working) -> Working {
    let fraction = rest.fraction();
    let cosine = alternating_series(&COEFFICIENTS[0], multiply_high(fraction, fraction));
    Working::from_integer(false, -128, cosine)
}

/// The cotangent of at most an eighth of a turn.
fn cotangent_of(rest: Working) -> Working {
    if rest.exp < -62 && rest.sig == 1 << 127 {
        // A power of two but for a part of less than 2^-127, by which it is smaller.
        return Working { exp: -rest.exp - 1, sig: u128::MAX, ..rest };
    }
    cosine_of(rest).div(sine_of(rest))
}

/// The sine of the argument and a number of quarter turns more.
fn sine_after(env: &mut Env, x: &Reduced, more: u8) -> F80 {
    let quarters = x.quarters.wrapping_add(more) & 3;
    // The cosine (one quarter turn more) is even.
    let turned = quarters & 2 != 0;
    let negative = turned != (x.negative && more == 0);
    let tiny = x.quarters == 0 && x.rest.exp < TINY;
    if quarters & 1 != 0 {
        let cosine = if tiny { Working::new(0, 1 << 127) } else { cosine_of(x.rest) };
        deliver(env, Working { negative, ..cosine }, tiny)
    } else {
        let sine = if tiny { x.rest } else { sine_of(x.rest) };
        deliver(env, Working { negative: sine.negative != negative, ..sine }, tiny)
    }
}

/// Rounds a result; a tiny argument's is taken as it is.
fn deliver(env: &mut Env, result: Working, tiny: bool) -> F80 {
    if tiny { result.deliver_as_it_is(env) } else { result.deliver(env) }
}

/// FSIN. `None` if |x| >= 2^63: C2 is set and ST(0) stays.
pub fn sine(env: &mut Env, x: F80) -> Option<F80> {
    Some(match argument(env, x) {
        Argument::OutOfRange => return None,
        Argument::Known(result) => result,
        Argument::Infinity => invalid(env),
        Argument::Zero(negative) => F80::zero(negative),
        Argument::Number(reduced) => sine_after(env, &reduced, 0),
    })
}

/// FCOS. `None` if |x| >= 2^63: C2 is set and ST(0) stays.
pub fn cosine(env: &mut Env, x: F80) -> Option<F80> {
    Some(match argument(env, x) {
        Argument::OutOfRange => return None,
        Argument::Known(result) => result,
        Argument::Infinity => invalid(env),
        Argument::Zero(_) => F80::ONE,
        Argument::Number(reduced) => sine_after(env, &reduced, 1),
    })
}

/// FSINCOS: the sine, which replaces ST(0), and the cosine, which is pushed. `None` if
/// |x| >= 2^63: C2 is set and nothing is pushed.
pub fn sine_cosine(env: &mut Env, x: F80) -> Option<(F80, F80)> {
    Some(match argument(env, x) {
        Argument::OutOfRange => return None,
        Argument::Known(result) => (result, result),
        Argument::Infinity => (invalid(env), invalid(env)),
        Argument::Zero(negative) => (F80::zero(negative), F80::ONE),
        Argument::Number(reduced) => {
            let sine = sine_after(env, &reduced, 0);
            (sine, sine_after(env, &reduced, 1))
        }
    })
}

/// FPTAN: the tangent, which replaces ST(0), and what is pushed: 1.0, or the NaN again. `None` if
/// |x| >= 2^63: C2 is set and nothing is pushed.
pub fn tangent(env: &mut Env, x: F80) -> Option<(F80, F80)> {
    Some(match argument(env, x) {
        Argument::OutOfRange => return None,
        Argument::Known(result) => (result, result),
        Argument::Infinity => (invalid(env), invalid(env)),
        Argument::Zero(negative) => (F80::zero(negative), F80::ONE),
        Argument::Number(Reduced { rest, quarters, negative }) => {
            let tiny = quarters == 0 && rest.exp < TINY;
            let result = match quarters & 1 {
                _ if tiny => rest,
                0 => sine_of(rest).div(cosine_of(rest)),
                _ => {
                    let cotangent = cotangent_of(rest);
                    Working { negative: !cotangent.negative, ..cotangent }
                }
            };
            let result = Working { negative: result.negative != negative, ..result };
            (deliver(env, result, tiny), F80::ONE)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x87::{Constant, constant, from_i64};
    use crate::{Flags, Rounding};

    #[test]
    fn beyond_2_to_63_nothing_is_done() {
        let mut env = Env::default();
        assert_eq!(sine(&mut env, from_i64(i64::MIN)), None);
        assert_eq!(sine_cosine(&mut env, from_i64(i64::MIN)), None);
        assert_eq!(env.flags, Flags::NONE);
        assert!(cosine(&mut env, from_i64(i64::MAX >> 1)).is_some());
    }

    #[test]
    fn the_sine_of_pi_shows_its_66_bits() {
        // FLDPI is a quarter of a unit, 2^-64, above the 66-bit pi; of the exact pi the sine would
        // be 0.92 times that.
        let pi = constant(Constant::Pi, Rounding::NearestEven);
        let expected = F80 { sign_exp: 0xbfff - 64, significand: 1 << 63 };
        assert_eq!(sine(&mut Env::default(), pi), Some(expected));
    }

    #[test]
    fn the_tangent_of_half_a_pi_is_just_below_a_power_of_two() {
        // FLDPI's half is 2^-65 above half of the 66-bit pi.
        let x = F80 { sign_exp: 0x3fff, ..constant(Constant::Pi, Rounding::NearestEven) };
        let near = F80 { sign_exp: 0xbfff + 65, significand: 1 << 63 };
        let below = F80 { sign_exp: 0xbfff + 64, significand: u64::MAX };
        for (rounding, expected) in [
            (Rounding::NearestEven, near),
            (Rounding::Down, near),
            (Rounding::Up, below),
            (Rounding::TowardZero, below),
        ] {
            let mut env = Env { rounding, ..Env::default() };
            assert_eq!(tangent(&mut env, x), Some((expected, F80::ONE)), "{rounding:?}");
        }
    }

    #[test]
    fn infinities_are_invalid() {
        let mut env = Env::default();
        assert_eq!(tangent(&mut env, F80::INFINITY), Some((F80::INDEFINITE, F80::INDEFINITE)));
        assert_eq!(env.flags, Flags::IE);
    }
}
