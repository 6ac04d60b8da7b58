//! FYL2X and FYL2XP1.
//!
//! Source: Intel SDM volume 2, FYL2X and FYL2XP1. What the SDM leaves undefined, operands of
//! FYL2XP1 out of range, is as Intel processors have it.

use super::f80::{BIAS, Kind, denormal_operand, invalid, special};
use super::working::{Working, series};
use super::{F80, Operand};
use crate::{Env, Flags};

/// Twice the binary logarithm of e.
const TWICE_LOG2_E: Working = Working::new(1, 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e88);

/// The number 2.
const TWO: Working = Working::new(1, 1 << 127);

/// The significand of the square root of 2, to 64 bits.
const SQRT_2: u64 = 0xb504_f333_f9de_6484;

/// 1/(2k+1) as a fraction of 2^127.
const COEFFICIENTS: [u128; 26] = {
    let mut c = [1 << 127; 26];
    let mut k = 1;
    while k < 26 {
        c[k] /= 2 * k as u128 + 1;
        k += 1;
    }
    c
};

/// log2((1 + s)/(1 - s)) = 2/ln(2) * s * (1 + s^2/3 + s^4/5 + ...) for |s| up to 0.18.
fn log2_of_ratio(s: Working) -> Working {
    let sum = series(&COEFFICIENTS, s.mul(s).fraction());
    s.mul(Working::from_integer(false, -127, sum)).mul(TWICE_LOG2_E)
}

/// The binary logarithm of a positive number; `None` if that is 0.
fn log2_of(x: Working) -> Option<Working> {
    // A significand from sqrt(1/2) to sqrt(2).
    let above = (x.sig >> 64) as u64 > SQRT_2;
    let power = x.exp + i32::from(above);
    let m = Working { exp: if above { -1 } else { 0 }, ..x };
    let minus_one = Working { negative: true, ..Working::new(0, 1 << 127) };
    let one = Working::new(0, 1 << 127);
    let fraction = match (m.add(minus_one), m.add(one)) {
        (Some(numerator), Some(denominator)) => Some(log2_of_ratio(numerator.div(denominator))),
        _ => None,
    };
    let integer =
        (power != 0).then(|| Working::from_integer(power < 0, 0, power.unsigned_abs().into()));
    match (integer, fraction) {
        (Some(integer), Some(fraction)) => integer.add(fraction),
        (integer, fraction) => integer.or(fraction),
    }
}

/// y times a logarithm, rounded.
fn multiply(env: &mut Env, y: Operand, log: Working) -> F80 {
    let product = Working::from_operand(y).mul(log);
    // The logarithm of a power of two is a small integer and the product exact. The hardware takes
    // it for inexact all the same, and for less than it is if the logarithm is negative.
    let exact = log.sig << 16 == 0;
    match (exact, log.negative) {
        (true, false) => product.deliver_as_it_is(env),
        (true, true) => {
            let sig = product.sig - 1;
            let shift = sig.leading_zeros();
            let exp = product.exp - shift as i32;
            Working { sig: sig << shift, exp, ..product }.deliver(env)
        }
        _ => product.deliver(env),
    }
}

/// FYL2X: y * log2(x), with x = ST(0) and y = ST(1).
pub fn log2(env: &mut Env, x: F80, y: F80) -> F80 {
    env.rounded_up = false;
    let (x, y) = (Operand::from(x), Operand::from(y));
    if let Some(result) = special(env, [x, y]) {
        return result;
    }
    if x.kind == Kind::Zero {
        return match y.kind {
            Kind::Zero => invalid(env),
            Kind::Infinity => F80::infinity(!y.negative),
            _ => {
                env.raise(Flags::ZE);
                F80::infinity(!y.negative)
            }
        };
    }
    if x.negative {
        return invalid(env);
    }
    let one = x.exp == BIAS && x.sig == 1 << 63;
    if x.kind == Kind::Infinity && y.kind == Kind::Zero || one && y.kind == Kind::Infinity {
        return invalid(env);
    }
    if denormal_operand(env, [x, y]) {
        return x.pack();
    }
    let negative = y.negative != (x.exp < BIAS);
    if x.kind == Kind::Infinity || y.kind == Kind::Infinity {
        return F80::infinity(negative);
    }
    if y.kind == Kind::Zero {
        return F80::zero(negative);
    }
    match log2_of(Working::from_operand(x)) {
        Some(log) => multiply(env, y, log),
        None => F80::zero(y.negative),
    }
}

/// FYL2XP1: y * log2(x + 1), with x = ST(0) and y = ST(1).
pub fn log2_plus_1(env: &mut Env, x: F80, y: F80) -> F80 {
    env.rounded_up = false;
    let (x, y) = (Operand::from(x), Operand::from(y));
    if let Some(result) = special(env, [x, y]) {
        return result;
    }
    let (infinite, zero) = (Kind::Infinity, Kind::Zero);
    if x.kind == infinite && (x.negative || y.kind == zero) || x.kind == zero && y.kind == infinite
    {
        return invalid(env);
    }
    if denormal_operand(env, [x, y]) {
        return x.pack();
    }
    let negative = x.negative != y.negative;
    if x.kind == infinite || y.kind == infinite {
        return F80::infinity(negative);
    }
    if x.kind == zero || y.kind == zero {
        return F80::zero(negative);
    }
    if x.negative && x.exp >= BIAS {
        // At -1 and below there is no logarithm; the operand stays.
        env.raise(Flags::PE);
        return x.pack();
    }
    let x = Working::from_operand(x);
    let one = Working::new(0, 1 << 127);
    // 1 + x = (1 + s)/(1 - s) with s = x/(2 + x) keeps the precision of a small x.
    let log = if x.exp < -3 {
        x.add(TWO).map(|sum| log2_of_ratio(x.div(sum)))
    } else {
        x.add(one).and_then(log2_of)
    };
    match log {
        Some(log) => multiply(env, y, log),
        None => F80::zero(negative),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x87::from_i32;

    #[test]
    fn powers_of_two_have_exact_logarithms() {
        let mut env = Env::default();
        assert_eq!(log2(&mut env, from_i32(1 << 20), from_i32(3)), from_i32(60));
        // The hardware takes them for inexact.
        assert_eq!(env.flags, Flags::PE);
    }

    #[test]
    fn zeros_and_negative_numbers() {
        let mut env = Env::default();
        assert_eq!(log2(&mut env, F80::ZERO, F80::ONE), F80::INFINITY.negate());
        assert_eq!(env.flags, Flags::ZE);
        env.flags = Flags::NONE;
        assert_eq!(log2(&mut env, from_i32(-1), F80::ONE), F80::INDEFINITE);
        assert_eq!(log2(&mut env, F80::ZERO, F80::ZERO), F80::INDEFINITE);
        assert_eq!(log2(&mut env, F80::ONE, F80::INFINITY), F80::INDEFINITE);
        assert_eq!(env.flags, Flags::IE);
    }

    #[test]
    fn a_small_operand_keeps_its_precision() {
        // log2(1 + 2^-200) = 2^-200 / ln(2), rounded.
        let x = F80 { sign_exp: 0x3fff - 200, significand: 1 << 63 };
        let result = log2_plus_1(&mut Env::default(), x, F80::ONE);
        let expected = F80 { sign_exp: 0x3fff - 200, significand: 0xb8aa_3b29_5c17_f0bc };
        assert_eq!(result, expected);
    }
}
