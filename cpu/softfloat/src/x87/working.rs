//! Numbers of the working precision of the transcendental instructions: 128-bit significands.
//!
//! Every operation truncates, with a relative error of a few units of 2^-127. A result is rounded
//! once to 64 bits, so it is the correctly rounded one unless the exact value lies within some
//! 2^-58 of an ulp from a rounding boundary.

use super::f80::BIAS;
use super::round::round;
use super::{F80, Operand};
use crate::wide::divide_by_normalized;
use crate::{Env, Flags, Precision};

/// A number other than zero: `sig / 2^127 * 2^exp`, with the top bit of `sig` set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Working {
    pub(super) negative: bool,
    pub(super) exp: i32,
    pub(super) sig: u128,
}

/// The upper half of a product.
#[inline]
pub(super) fn multiply_high(a: u128, b: u128) -> u128 {
    let (a1, a0) = (a >> 64, a & u128::from(u64::MAX));
    let (b1, b0) = (b >> 64, b & u128::from(u64::MAX));
    let low = a0 * b0;
    let (middle1, middle2) = (a1 * b0, a0 * b1);
    let carry = (low >> 64) + u128::from(middle1 as u64) + u128::from(middle2 as u64);
    a1 * b1 + (middle1 >> 64) + (middle2 >> 64) + (carry >> 64)
}

/// `a * 2^128 / b` truncated, for `a < b` and `b` with its top bit set.
fn divide_normalized(a: u128, b: u128) -> u128 {
    let (high, rest) = quotient_digit(a, b);
    let (low, _) = quotient_digit(rest, b);
    u128::from(high) << 64 | u128::from(low)
}

/// One 64-bit digit of `r * 2^64 / b`, and what remains.
fn quotient_digit(r: u128, b: u128) -> (u64, u128) {
    let (r1, r0) = ((r >> 64) as u64, r as u64);
    let (b1, b0) = ((b >> 64) as u64, b as u64);
    let (mut q, mut rest) = if r1 >= b1 {
        // The digit cannot be larger; `rest` is what that leaves of the upper digits.
        (u64::MAX, u128::from(r0) + u128::from(b1))
    } else {
        let (q, rest) = divide_by_normalized(r1, r0, b1);
        (q, u128::from(rest))
    };
    // The estimate is at most two too large.
    while rest >> 64 == 0 && u128::from(q) * u128::from(b0) > rest << 64 {
        q -= 1;
        rest += u128::from(b1);
    }
    (q, (r << 64).wrapping_sub(b.wrapping_mul(u128::from(q))))
}

impl Working {
    /// A normalized significand and an exponent, positive.
    pub(super) const fn new(exp: i32, sig: u128) -> Self {
        Self { negative: false, exp, sig }
    }

    /// `sig * 2^exp`, for a `sig` that is not zero.
    pub(super) fn from_integer(negative: bool, exp: i32, sig: u128) -> Self {
        let zeros = sig.leading_zeros();
        Self { negative, exp: exp + 127 - zeros as i32, sig: sig << zeros }
    }

    /// A finite operand other than zero.
    pub(super) fn from_operand(a: Operand) -> Self {
        Self { negative: a.negative, exp: a.exp - BIAS, sig: u128::from(a.sig) << 64 }
    }

    /// The magnitude as a fraction of 2^128, for a magnitude below 1.
    pub(super) fn fraction(self) -> u128 {
        self.sig.checked_shr((-1 - self.exp) as u32).unwrap_or(0)
    }

    /// A product.
    pub(super) fn mul(self, other: Self) -> Self {
        let negative = self.negative != other.negative;
        let sig = multiply_high(self.sig, other.sig);
        let zeros = sig.leading_zeros();
        Self { negative, exp: self.exp + other.exp + 1 - zeros as i32, sig: sig << zeros }
    }

    /// A quotient.
    pub(super) fn div(self, other: Self) -> Self {
        let negative = self.negative != other.negative;
        let exp = self.exp - other.exp;
        if self.sig < other.sig {
            let sig = divide_normalized(self.sig, other.sig);
            return Self { negative, exp: exp - 1, sig };
        }
        // The quotient is from 1 to 2: its integer bit, then the fraction.
        let fraction = divide_normalized(self.sig - other.sig, other.sig);
        Self { negative, exp, sig: 1 << 127 | fraction >> 1 }
    }

    /// A sum; `None` if it is zero.
    pub(super) fn add(self, other: Self) -> Option<Self> {
        let (a, b) = if self.exp < other.exp { (other, self) } else { (self, other) };
        let shifted = b.sig.checked_shr(a.exp.abs_diff(b.exp)).unwrap_or(0);
        if a.negative == b.negative {
            let (sum, carry) = a.sig.overflowing_add(shifted);
            return Some(if carry {
                Self { sig: 1 << 127 | sum >> 1, exp: a.exp + 1, ..a }
            } else {
                Self { sig: sum, ..a }
            });
        }
        match a.sig.cmp(&shifted) {
            core::cmp::Ordering::Equal => None,
            core::cmp::Ordering::Greater => {
                Some(Self::from_integer(a.negative, a.exp - 127, a.sig - shifted))
            }
            core::cmp::Ordering::Less => {
                Some(Self::from_integer(b.negative, a.exp - 127, shifted - a.sig))
            }
        }
    }

    /// Rounds to F80. The result is inexact even if it does not look so.
    pub(super) fn deliver(self, env: &mut Env) -> F80 {
        self.deliver_exact(env, self.sig | 1)
    }

    /// Rounds to F80 a number that is this one to the last bit, yet counts as inexact.
    pub(super) fn deliver_as_it_is(self, env: &mut Env) -> F80 {
        self.deliver_exact(env, self.sig)
    }

    fn deliver_exact(self, env: &mut Env, sig: u128) -> F80 {
        let mut own = Env { flags: Flags::NONE, ..*env };
        let exp = self.exp + BIAS;
        let result = round(&mut own, Precision::Extended64, self.negative, exp, sig);
        if !own.flags.contains(Flags::PE) {
            own.raise(if exp < 1 { Flags::PE | Flags::UE } else { Flags::PE });
        }
        env.raise(own.flags);
        env.rounded_up = own.rounded_up;
        result
    }
}

/// `c[0] - z * (c[1] - z * (c[2] - ...))`: an alternating series; `z` is a fraction of 2^128.
pub(super) fn alternating_series(coefficients: &[u128], z: u128) -> u128 {
    coefficients.iter().rev().fold(0, |sum, c| c - multiply_high(z, sum))
}

/// `c[0] + z * (c[1] + z * (c[2] + ...))`; `z` is a fraction of 2^128.
pub(super) fn series(coefficients: &[u128], z: u128) -> u128 {
    coefficients.iter().rev().fold(0, |sum, c| c + multiply_high(z, sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_quotients_are_inverse() {
        let a = Working::new(5, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1);
        for sig in
            [1 << 127, u128::MAX, 1 << 127 | 1, a.sig, u128::MAX << 64, u128::MAX >> 1 | 1 << 127]
        {
            let b = Working::new(-3, sig);
            let back = a.div(b).mul(b);
            assert_eq!(back.exp, a.exp);
            assert!(back.sig.abs_diff(a.sig) <= 4, "{sig:x}");
        }
    }

    #[test]
    fn the_upper_half_of_a_product() {
        assert_eq!(multiply_high(u128::MAX, u128::MAX), u128::MAX - 1);
        assert_eq!(multiply_high(1 << 127, 6), 3);
        assert_eq!(multiply_high(u128::from(u64::MAX), u128::from(u64::MAX)), 0);
    }
}
