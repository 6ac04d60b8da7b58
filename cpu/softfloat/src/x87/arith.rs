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

fn sum_finite(env: &mut Env, a: Operand, b: Operand) -> F80 {
    let (a, b) = if a.exp < b.exp { (b, a) } else { (a, b) };
    let x = u128::from(a.sig) << 62;
    let y = shift_right_jam_128(u128::from(b.sig) << 62, a.exp.abs_diff(b.exp));
    let (negative, sig) = if a.negative == b.negative {
        (a.negative, x + y)
    } else if x > y {
        (a.negative, x - y)
    } else if x < y {
        (b.negative, y - x)
    } else {
        return F80::zero(env.rounding == Rounding::Down);
    };
    let zeros = sig.leading_zeros();
    round(env, env.precision, negative, a.exp + 2 - zeros as i32, sig << zeros)
}

/// a * b (FMUL).
pub fn mul(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> F80 {
    product(env, a.into(), b.into())
}

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
