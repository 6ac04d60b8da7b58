//! FSCALE and FXTRACT.
//!
//! Source: Intel SDM volume 2, FSCALE and FXTRACT.

use super::convert::from_i32;
use super::f80::{BIAS, Kind, denormal_operand, invalid, special};
use super::round::round;
use super::{F80, Operand};
use crate::{Env, Flags, Precision};

/// FSCALE: a (ST0) times two to the power of b (ST1) truncated to an integer.
pub fn scale(env: &mut Env, a: F80, b: F80) -> F80 {
    env.rounded_up = false;
    let (a, b) = (Operand::from(a), Operand::from(b));
    if let Some(result) = special(env, [a, b]) {
        return result;
    }
    if b.kind == Kind::Infinity {
        let opposite = if b.negative { Kind::Infinity } else { Kind::Zero };
        if a.kind == opposite {
            return invalid(env);
        }
    }
    if denormal_operand(env, [a, b]) {
        return a.pack();
    }
    if a.kind != Kind::Finite || b.kind == Kind::Zero {
        return a.pack();
    }
    if b.kind == Kind::Infinity {
        return if b.negative { F80::zero(a.negative) } else { F80::infinity(a.negative) };
    }
    let exp = a.exp + truncate(b);
    round(env, Precision::Extended64, a.negative, exp, u128::from(a.sig) << 64)
}

/// The integral part of an exponent, kept within what decides any result.
fn truncate(b: Operand) -> i32 {
    let magnitude = match b.exp - BIAS {
        _ if b.kind == Kind::Zero => 0,
        ..0 => 0,
        e @ 0..=16 => (b.sig >> (63 - e)) as i32,
        _ => 1 << 17,
    };
    if b.negative { -magnitude } else { magnitude }
}

/// FXTRACT: the exponent (which replaces ST0) and the significand (which is pushed).
pub fn extract(env: &mut Env, a: F80) -> (F80, F80) {
    env.rounded_up = false;
    let a = Operand::from(a);
    if let Some(result) = special(env, [a]) {
        return (result, result);
    }
    match a.kind {
        Kind::Zero => {
            env.raise(Flags::ZE);
            (F80::infinity(true), a.pack())
        }
        Kind::Infinity => (F80::INFINITY, a.pack()),
        _ => {
            denormal_operand(env, [a]);
            (from_i32(a.exp - BIAS), F80::with_sign(a.negative, BIAS, a.sig))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_truncates_the_exponent() {
        let mut env = Env::default();
        let three_and_a_half = F80 { sign_exp: 0x4000, significand: 0xe << 60 };
        assert_eq!(scale(&mut env, F80::ONE, three_and_a_half), from_i32(8));
        let negated = three_and_a_half.negate();
        assert_eq!(scale(&mut env, from_i32(24), negated), from_i32(3));
        assert_eq!(env.flags, Flags::NONE);
    }

    #[test]
    fn scaling_by_infinities() {
        let mut env = Env::default();
        let minus_infinity = F80::INFINITY.negate();
        assert_eq!(scale(&mut env, F80::ONE.negate(), F80::INFINITY), minus_infinity);
        assert_eq!(scale(&mut env, F80::ONE, minus_infinity), F80::ZERO);
        assert_eq!(env.flags, Flags::NONE);
        assert_eq!(scale(&mut env, F80::ZERO, F80::INFINITY), F80::INDEFINITE);
        assert_eq!(scale(&mut env, F80::INFINITY, minus_infinity), F80::INDEFINITE);
        assert_eq!(env.flags, Flags::IE);
    }

    #[test]
    fn extraction() {
        let mut env = Env::default();
        let half_more = F80 { sign_exp: 0xbfff, significand: 3 << 62 };
        assert_eq!(extract(&mut env, from_i32(-12)), (from_i32(3), half_more));
        assert_eq!(extract(&mut env, F80::ZERO), (F80::INFINITY.negate(), F80::ZERO));
        assert_eq!(env.flags, Flags::ZE);
        let least = F80 { sign_exp: 0, significand: 1 };
        assert_eq!(extract(&mut env, least), (from_i32(-16445), F80::ONE));
    }
}
