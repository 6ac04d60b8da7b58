//! Add, subtract, multiply, divide, square root and round to integer.
//!
//! Source: Intel SDM volume 2, the result tables of FADD, FSUB, FMUL, FDIV, FSQRT and FRNDINT.

use super::convert::from_magnitude;
use super::f80::{BIAS, Kind, denormal_operand, invalid, special};
use super::round::round;
use super::{F80, Operand};
use crate::wide::{divide_by_normalized, round_magnitude, shift_right_jam_128};
use crate::{Env, Flags, Rounding};

/// a + b (FADD, FIADD).
pub fn add(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> F80 {
    sum(env, a.into(), b.into())
}

/// a - b (FSUB; FSUBR with the operands exchanged).
pub fn sub(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> F80 {
    sum(env, a.into(), b.into().negated_unless_nan())
}

#[inline]
fn sum(env: &mut Env, a: Operand, b: Operand) -> F80 {
    env.rounded_up = false;
    if !(a.is_normal() && b.is_normal())
        && let Some(result) = sum_special(env, a, b)
    {
        return result;
    }
    sum_finite(env, a, b)
}

/// The sum where an operand decides it; `None` of two finite numbers.
#[cold]
fn sum_special(env: &mut Env, a: Operand, b: Operand) -> Option<F80> {
    if let Some(result) = special(env, [a, b]) {
        return Some(result);
    }
    if a.kind == Kind::Infinity && b.kind == Kind::Infinity && a.negative != b.negative {
        return Some(invalid(env));
    }
    if denormal_operand(env, [a, b]) {
        return Some(a.pack());
    }
    Some(match (a.kind, b.kind) {
        (Kind::Infinity, _) => a.pack(),
        (_, Kind::Infinity) => b.pack(),
        (Kind::Zero, Kind::Zero) if a.negative == b.negative => a.pack(),
        (Kind::Zero, Kind::Zero) => F80::zero(env.rounding == Rounding::Down),
        (Kind::Zero, _) => round_exact(env, b),
        (_, Kind::Zero) => round_exact(env, a),
        _ => return None,
    })
}

/// Rounds an operand to the precision.
fn round_exact(env: &mut Env, a: Operand) -> F80 {
    round(env, env.precision, a.negative, a.exp, u128::from(a.sig) << 64)
}

#[inline]
fn sum_finite(env: &mut Env, a: Operand, b: Operand) -> F80 {
    let (a, b) = if a.exp < b.exp { (b, a) } else { (a, b) };
    let distance = a.exp.abs_diff(b.exp);
    let (x, y) = (u128::from(a.sig) << 64, u128::from(b.sig) << 64);
    // Up to 64 nothing is shifted out.
    let y = if distance <= 64 { y >> distance } else { shift_right_jam_128(y, distance) };
    if a.negative == b.negative {
        let (sum, carry) = x.overflowing_add(y);
        let sig = if carry { 1 << 127 | sum >> 1 | sum & 1 } else { sum };
        return round(env, env.precision, a.negative, a.exp + i32::from(carry), sig);
    }
    let (negative, sig) = match x.cmp(&y) {
        core::cmp::Ordering::Greater => (a.negative, x - y),
        core::cmp::Ordering::Less => (b.negative, y - x),
        core::cmp::Ordering::Equal => return F80::zero(env.rounding == Rounding::Down),
    };
    let zeros = sig.leading_zeros();
    round(env, env.precision, negative, a.exp - zeros as i32, sig << zeros)
}

/// a * b (FMUL).
pub fn mul(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> F80 {
    product(env, a.into(), b.into())
}

#[inline]
fn product(env: &mut Env, a: Operand, b: Operand) -> F80 {
    env.rounded_up = false;
    if !(a.is_normal() && b.is_normal())
        && let Some(result) = product_special(env, a, b)
    {
        return result;
    }
    let sig = u128::from(a.sig) * u128::from(b.sig);
    let zeros = sig.leading_zeros();
    let exp = a.exp + b.exp - BIAS + 1 - zeros as i32;
    round(env, env.precision, a.negative != b.negative, exp, sig << zeros)
}

/// The product where an operand decides it; `None` of two finite numbers.
#[cold]
fn product_special(env: &mut Env, a: Operand, b: Operand) -> Option<F80> {
    if let Some(result) = special(env, [a, b]) {
        return Some(result);
    }
    let zero = a.kind == Kind::Zero || b.kind == Kind::Zero;
    let infinite = a.kind == Kind::Infinity || b.kind == Kind::Infinity;
    if zero && infinite {
        return Some(invalid(env));
    }
    if denormal_operand(env, [a, b]) {
        return Some(a.pack());
    }
    let negative = a.negative != b.negative;
    match (infinite, zero) {
        (true, _) => Some(F80::infinity(negative)),
        (_, true) => Some(F80::zero(negative)),
        _ => None,
    }
}

/// a / b (FDIV; FDIVR with the operands exchanged).
pub fn div(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> F80 {
    quotient(env, a.into(), b.into())
}

fn quotient(env: &mut Env, a: Operand, b: Operand) -> F80 {
    env.rounded_up = false;
    if !(a.is_normal() && b.is_normal())
        && let Some(result) = quotient_special(env, a, b)
    {
        return result;
    }
    let below_one = a.sig < b.sig;
    let (hi, lo) = if below_one { (a.sig, 0) } else { (a.sig >> 1, a.sig << 63) };
    let (q, rest) = divide_by_normalized(hi, lo, b.sig);
    let exp = a.exp - b.exp + BIAS - i32::from(below_one);
    let sig = u128::from(q) << 64 | remaining(rest, b.sig);
    round(env, env.precision, a.negative != b.negative, exp, sig)
}

/// The quotient where an operand decides it; `None` of two finite numbers.
#[cold]
fn quotient_special(env: &mut Env, a: Operand, b: Operand) -> Option<F80> {
    if let Some(result) = special(env, [a, b]) {
        return Some(result);
    }
    if a.kind == b.kind && (a.kind == Kind::Zero || a.kind == Kind::Infinity) {
        return Some(invalid(env));
    }
    let negative = a.negative != b.negative;
    if b.kind == Kind::Zero && a.kind == Kind::Finite {
        env.raise(Flags::ZE);
        return Some(F80::infinity(negative));
    }
    if denormal_operand(env, [a, b]) {
        return Some(a.pack());
    }
    match (a.kind, b.kind) {
        (Kind::Infinity, _) => Some(F80::infinity(negative)),
        (Kind::Zero, _) | (_, Kind::Infinity) => Some(F80::zero(negative)),
        _ => None,
    }
}

/// The fraction that a remainder stands for, as far as rounding needs it: zero, below, at or above
/// a half of 2^64.
fn remaining(rest: u64, divisor: u64) -> u128 {
    let half = match (rest.cmp(&(divisor - rest)), rest) {
        (_, 0) => return 0,
        (core::cmp::Ordering::Less, _) => return 1,
        (core::cmp::Ordering::Equal, _) => 0,
        (core::cmp::Ordering::Greater, _) => 1,
    };
    1 << 63 | half
}

/// The square root (FSQRT).
pub fn sqrt(env: &mut Env, a: F80) -> F80 {
    env.rounded_up = false;
    let a = Operand::from(a);
    if let Some(result) = special(env, [a]) {
        return result;
    }
    if a.kind == Kind::Zero {
        return a.pack();
    }
    if a.negative {
        return invalid(env);
    }
    if denormal_operand(env, [a]) || a.kind == Kind::Infinity {
        return a.pack();
    }
    let exp = a.exp - BIAS;
    let radicand = u128::from(a.sig) << (63 + (exp & 1));
    let root = radicand.isqrt();
    let rest = radicand - root * root;
    // (root + 1/2)^2 = root^2 + root + 1/4 lies between integers: a half is never hit.
    let fraction = if rest > root { 3 << 62 } else { u128::from(rest != 0) };
    round(env, env.precision, false, (exp >> 1) + BIAS, root << 64 | fraction)
}

/// Rounds to an integral value by `env.rounding` (FRNDINT).
pub fn round_to_integral(env: &mut Env, a: F80) -> F80 {
    env.rounded_up = false;
    let a = Operand::from(a);
    if let Some(result) = special(env, [a]) {
        return result;
    }
    if denormal_operand(env, [a]) || a.kind != Kind::Finite || a.exp >= BIAS + 63 {
        return a.pack();
    }
    let dropped = (BIAS + 63 - a.exp) as u32;
    let (kept, inexact) = round_magnitude(env.rounding, a.negative, u128::from(a.sig), dropped);
    if inexact {
        env.raise(Flags::PE);
        env.rounded_up =
            dropped >= 64 && kept != 0 || dropped < 64 && kept > u128::from(a.sig >> dropped);
    }
    from_magnitude(a.negative, kept as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x87::from_i32;

    const fn nan(significand: u64) -> F80 {
        F80 { sign_exp: 0x7fff, significand }
    }

    fn raised(cw: u16, operation: impl FnOnce(&mut Env) -> F80) -> (F80, Flags) {
        let mut env = Env::from_control_word(cw);
        let result = operation(&mut env);
        (result, env.flags)
    }

    #[test]
    fn the_larger_significand_is_propagated_but_quiet_before_signalling() {
        let sum = |a, b| raised(0x37f, |env| add(env, a, b));
        let (small, large) = (nan(3 << 62 | 1), nan(3 << 62 | 2));
        let (low, high) = (nan(2 << 62 | 1), nan(2 << 62 | 9));
        assert_eq!(sum(small, large), (large, Flags::NONE));
        assert_eq!(sum(large, small), (large, Flags::NONE));
        assert_eq!(sum(high, small), (small, Flags::IE));
        assert_eq!(sum(low, high), (nan(3 << 62 | 9), Flags::IE));
        assert_eq!(sum(low, F80::ONE), (nan(3 << 62 | 1), Flags::IE));
        assert_eq!(sum(small.negate(), small), (small, Flags::NONE));
    }

    #[test]
    fn unsupported_encodings_are_invalid() {
        let unnormal = F80 { sign_exp: 0x3fff, significand: 1 };
        let pseudo_infinity = F80 { sign_exp: 0x7fff, significand: 0 };
        for a in [unnormal, pseudo_infinity, nan(1 << 62)] {
            assert_eq!(raised(0x37f, |env| mul(env, a, F80::ONE)), (F80::INDEFINITE, Flags::IE));
            assert_eq!(raised(0x37f, |env| add(env, nan(3 << 62), a)).0, F80::INDEFINITE);
        }
    }

    #[test]
    fn a_pseudo_denormal_counts_as_its_value() {
        let pseudo = F80 { sign_exp: 0, significand: 1 << 63 };
        let least_normal = F80 { sign_exp: 1, significand: 1 << 63 };
        assert_eq!(raised(0x37f, |env| add(env, pseudo, F80::ZERO)), (least_normal, Flags::DE));
    }

    #[test]
    fn a_denormal_in_memory_raises_denormal_operand() {
        let sum = raised(0x37f, |env| add(env, F80::ZERO, Operand::from_f32(1)));
        assert_eq!(sum, (F80 { sign_exp: 0x3fff - 149, significand: 1 << 63 }, Flags::DE));
    }

    #[test]
    fn precision_control_shortens_the_significand() {
        let third = |cw| raised(cw, |env| div(env, F80::ONE, from_i32(3))).0.significand;
        assert_eq!(third(0x37f), 0xaaaa_aaaa_aaaa_aaab);
        assert_eq!(third(0x27f), 0xaaaa_aaaa_aaaa_a800);
        assert_eq!(third(0x07f), 0xaaaa_ab00_0000_0000);
        assert_eq!(third(0x17f), 0xaaaa_aaaa_aaaa_aaab);
    }

    #[test]
    fn c1_tells_that_the_magnitude_was_rounded_up() {
        let mut env = Env::default();
        let (one, three) = (F80::ONE, from_i32(3));
        div(&mut env, one, three);
        assert!(env.rounded_up);
        div(&mut env, one, from_i32(5));
        assert!(env.rounded_up);
        div(&mut env, from_i32(2), from_i32(7));
        assert!(!env.rounded_up);
        env.rounding = Rounding::Down;
        div(&mut env, one, from_i32(-7));
        assert!(env.rounded_up);
        add(&mut env, one, one);
        assert!(!env.rounded_up);
    }

    #[test]
    fn unmasked_overflow_and_underflow_adjust_the_exponent() {
        let huge = F80 { sign_exp: 0x7ffe, significand: 1 << 63 };
        let least = F80 { sign_exp: 1, significand: 1 << 63 };
        let square = |cw, a| raised(cw, |env| mul(env, a, a));
        assert_eq!(square(0x37f, huge), (F80::INFINITY, Flags::OE | Flags::PE));
        let (result, flags) = square(0x377, huge);
        assert_eq!((i32::from(result.sign_exp), flags), (2 * 0x7ffe - BIAS - 24576, Flags::OE));
        assert_eq!(square(0x37f, least), (F80::ZERO, Flags::UE | Flags::PE));
        let (result, flags) = square(0x36f, least);
        assert_eq!((i32::from(result.sign_exp), flags), (2 - BIAS + 24576, Flags::UE));
    }

    #[test]
    fn square_roots() {
        assert_eq!(raised(0x37f, |env| sqrt(env, from_i32(49))), (from_i32(7), Flags::NONE));
        let (root, flags) = raised(0x37f, |env| sqrt(env, from_i32(2)));
        assert_eq!((root.significand, flags), (0xb504_f333_f9de_6484, Flags::PE));
        let minus_zero = F80::ZERO.negate();
        assert_eq!(raised(0x37f, |env| sqrt(env, minus_zero)), (minus_zero, Flags::NONE));
    }
}
