//! The partial remainders FPREM and FPREM1.
//!
//! Source: Intel SDM volume 2, FPREM and FPREM1.

use super::f80::{Kind, denormal_operand, invalid, special};
use super::round::round;
use super::{F80, Operand};
use crate::{Env, Precision};

/// What a partial remainder delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// The new ST(0).
    pub value: F80,
    /// The three low bits of the quotient's magnitude (bit 2 goes to C0, bit 1 to C3, bit 0 to
    /// C1); 0 if the reduction is incomplete.
    pub quotient: u8,
    /// C2: the reduction is incomplete, the exponent difference having been too large.
    pub incomplete: bool,
}

/// FPREM: the remainder of a / b with the quotient truncated.
pub fn remainder(env: &mut Env, a: F80, b: F80) -> Remainder {
    partial(env, a.into(), b.into(), false)
}

/// FPREM1: the IEEE remainder of a / b, with the quotient rounded to the nearest.
pub fn remainder_nearest(env: &mut Env, a: F80, b: F80) -> Remainder {
    partial(env, a.into(), b.into(), true)
}

fn partial(env: &mut Env, a: Operand, b: Operand, nearest: bool) -> Remainder {
    env.rounded_up = false;
    let complete = |value| Remainder { value, quotient: 0, incomplete: false };
    if let Some(result) = special(env, [a, b]) {
        return complete(result);
    }
    if a.kind == Kind::Infinity || b.kind == Kind::Zero {
        return complete(invalid(env));
    }
    if denormal_operand(env, [a, b]) || a.kind == Kind::Zero || b.kind == Kind::Infinity {
        return complete(a.pack());
    }
    let difference = a.exp - b.exp;
    if difference >= 64 {
        // The hardware reduces by 32 to 63 bits at a time, such that the rest is a multiple of 32.
        let step = (difference & 31 | 32) as u32;
        let (rest, _) = divide(a.sig, b.sig, step);
        let value = deliver(env, a.negative, a.exp - step as i32, rest);
        return Remainder { value, quotient: 0, incomplete: true };
    }
    // Below -1 the quotient is 0 even when rounded to the nearest.
    if difference < -1 || difference < 0 && !nearest {
        return complete(deliver(env, a.negative, a.exp, a.sig));
    }
    let (mut rest, mut quotient, mut negative) = if difference < 0 {
        (a.sig, 0, a.negative)
    } else {
        let (rest, quotient) = divide(a.sig, b.sig, difference as u32);
        (rest, quotient, a.negative)
    };
    let exp = a.exp.min(b.exp);
    if nearest {
        // With a below b by one exponent, b counts twice as much in the unit of a's significand.
        let divisor = u128::from(b.sig) << u32::from(difference < 0);
        let twice = u128::from(rest) << 1;
        if twice > divisor || twice == divisor && quotient & 1 != 0 {
            rest = (divisor - u128::from(rest)) as u64;
            quotient = quotient.wrapping_add(1);
            negative = !negative;
        }
    }
    let value = match rest {
        0 => F80::zero(a.negative),
        _ => deliver(env, negative, exp, rest),
    };
    Remainder { value, quotient: (quotient & 7) as u8, incomplete: false }
}

/// The remainder and the low bits of the quotient of `a * 2^bits / b`, both with their top bit
/// set.
fn divide(a: u64, b: u64, bits: u32) -> (u64, u64) {
    let dividend = u128::from(a) << bits;
    ((dividend % u128::from(b)) as u64, (dividend / u128::from(b)) as u64)
}

/// Packs a remainder, which is exact; it may be tiny.
fn deliver(env: &mut Env, negative: bool, exp: i32, sig: u64) -> F80 {
    if sig == 0 {
        return F80::zero(negative);
    }
    let zeros = sig.leading_zeros();
    let sig = u128::from(sig << zeros) << 64;
    round(env, Precision::Extended64, negative, exp - zeros as i32, sig)
}
