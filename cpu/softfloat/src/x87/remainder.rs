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
    /// The three low bits of the quotient's magnitude, or 0 if the reduction is incomplete;
    /// `None` where there is none: a NaN, invalid operands, an unmasked DE.
    pub quotient: Option<u8>,
    /// C2: the reduction is incomplete, the exponent difference having been too large.
    pub incomplete: bool,
}

impl Remainder {
    /// The status word with the condition codes as the instruction leaves them: C2 says whether
    /// the reduction is incomplete, and C0, C3 and C1 are bits 2, 1 and 0 of the quotient. Without
    /// a quotient C0 and C3 stay and C1 is cleared.
    pub const fn condition_codes(&self, status: u16) -> u16 {
        let c2 = (self.incomplete as u16) << 10;
        match self.quotient {
            None => status & !0x0600 | c2,
            Some(q) => {
                let q = q as u16;
                status & !0x4700 | c2 | (q >> 2 & 1) << 8 | (q >> 1 & 1) << 14 | (q & 1) << 9
            }
        }
    }
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
    let undivided = |value| Remainder { value, quotient: None, incomplete: false };
    let complete = |value| Remainder { value, quotient: Some(0), incomplete: false };
    if let Some(result) = special(env, [a, b]) {
        return undivided(result);
    }
    if a.kind == Kind::Infinity || b.kind == Kind::Zero {
        return undivided(invalid(env));
    }
    if denormal_operand(env, [a, b]) {
        return undivided(a.pack());
    }
    if a.kind == Kind::Zero || b.kind == Kind::Infinity {
        return complete(a.pack());
    }
    let difference = a.exp - b.exp;
    if difference >= 64 {
        // The hardware reduces by 32 to 63 bits at a time, such that the rest is a multiple of 32.
        let step = (difference & 31 | 32) as u32;
        let (rest, _) = divide(a.sig, b.sig, step);
        let value = deliver(env, a.negative, a.exp - step as i32, rest);
        return Remainder { value, quotient: Some(0), incomplete: true };
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
    Remainder { value, quotient: Some((quotient & 7) as u8), incomplete: false }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x87::from_i32;

    fn env() -> Env {
        Env::default()
    }

    #[test]
    fn the_quotient_is_truncated_or_nearest() {
        // 11 = 3 * 3 + 2 = 4 * 3 - 1.
        let (eleven, three) = (from_i32(11), from_i32(3));
        let truncated = remainder(&mut env(), eleven, three);
        assert_eq!((truncated.value, truncated.quotient), (from_i32(2), Some(3)));
        let nearest = remainder_nearest(&mut env(), eleven, three);
        assert_eq!((nearest.value, nearest.quotient), (from_i32(-1), Some(4)));
        // A tie goes to the even quotient: 10 = 2 * 4 + 2, 14 = 4 * 4 - 2.
        let four = from_i32(4);
        assert_eq!(remainder_nearest(&mut env(), from_i32(10), four).value, from_i32(2));
        assert_eq!(remainder_nearest(&mut env(), from_i32(14), four).value, from_i32(-2));
    }

    #[test]
    fn a_zero_remainder_has_the_sign_of_the_dividend() {
        let rest = remainder(&mut env(), from_i32(-12), from_i32(3));
        assert_eq!((rest.value, rest.quotient), (F80::ZERO.negate(), Some(4)));
    }

    #[test]
    fn a_large_difference_takes_several_steps() {
        // 2^16383 modulo 7: the powers of two go 1, 2, 4 modulo 7, and 16383 is a multiple of 3.
        let mut value = F80 { sign_exp: 0x7ffe, significand: 1 << 63 };
        for step in 0.. {
            let rest = remainder(&mut env(), value, from_i32(7));
            value = rest.value;
            if !rest.incomplete {
                break;
            }
            assert!(step < 600, "each step takes at least 32 bits");
        }
        assert_eq!(value, F80::ONE);
    }

    #[test]
    fn condition_codes() {
        let codes = |quotient, incomplete| {
            Remainder { value: F80::ZERO, quotient, incomplete }.condition_codes(0xffff)
        };
        assert_eq!(codes(None, false), 0xf9ff);
        assert_eq!(codes(Some(0), true), 0xbcff);
        assert_eq!(codes(Some(0b101), false), 0xbbff);
        assert_eq!(codes(Some(0b010), false), 0xf8ff);
    }
}
