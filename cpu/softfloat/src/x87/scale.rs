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
