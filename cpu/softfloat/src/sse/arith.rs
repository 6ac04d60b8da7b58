//! Add, subtract, multiply, divide, square root and fused multiply-add.
//!
//! Each has a path for normal operands and a cold one that sorts out the rest in the order of
//! SDM volume 1, section 4.9.2: NaN, invalid, division by zero, denormal operand.

use super::Float;
use super::float::{
    Finite, HostOp, by_host, daz, denormal_operand, infinity, invalid, is_infinite, is_negative,
    is_normal, is_zero, propagate_nan, round, unpack, unpack_normal, zero,
};
use crate::wide::{divide_by_normalized, shift_right_jam, shift_right_jam_128};
use crate::{Env, Flags, Rounding};

/// a + b (ADDSS, ADDSD).
#[inline]
pub fn add<F: Float>(env: &mut Env, a: F, b: F) -> F {
    if is_normal(a) && is_normal(b) {
        if let Some(sum) = by_host(env, HostOp::Add, a, b) {
            return sum;
        }
        return add_finite(env, unpack_normal(a), unpack_normal(b));
    }
    add_special(env, a, b, false)
}

/// a - b (SUBSS, SUBSD).
#[inline]
pub fn sub<F: Float>(env: &mut Env, a: F, b: F) -> F {
    if is_normal(a) && is_normal(b) {
        if let Some(difference) = by_host(env, HostOp::Sub, a, b) {
            return difference;
        }
        let b = unpack_normal(b);
        return add_finite(env, unpack_normal(a), Finite { negative: !b.negative, ..b });
    }
    add_special(env, a, b, true)
}

#[inline(always)]
fn add_finite<F: Float>(env: &mut Env, a: Finite, b: Finite) -> F {
    // The larger exponent first; both with their top bits at bit 61.
    let (a, b) = if a.exp < b.exp { (b, a) } else { (a, b) };
    let shift = 61 - F::FRACTION_BITS;
    let x = a.sig << shift;
    let y = shift_right_jam(b.sig << shift, (a.exp - b.exp) as u32);
    let (negative, sig) = if a.negative == b.negative {
        (a.negative, x + y)
    } else if x > y {
        (a.negative, x - y)
    } else if x < y {
        (b.negative, y - x)
    } else {
        return zero(env.rounding == Rounding::Down);
    };
    let zeros = sig.leading_zeros();
    round(env, negative, a.exp + 2 - zeros as i32, sig << (zeros - 1))
}

#[cold]
fn add_special<F: Float>(env: &mut Env, a: F, b: F, subtract: bool) -> F {
    if let Some(nan) = propagate_nan(env, [a, b]) {
        return nan;
    }
    let (a, b) = (daz(env, a), daz(env, b));
    let b_negative = is_negative(b) != subtract;
    if is_infinite(a) && is_infinite(b) && is_negative(a) != b_negative {
        return invalid(env);
    }
    if denormal_operand(env, [a, b]) {
        return a;
    }
    if is_infinite(a) {
        return a;
    }
    if is_infinite(b) {
        return infinity(b_negative);
    }
    match (is_zero(a), is_zero(b)) {
        (true, true) if is_negative(a) == b_negative => a,
        (true, true) => zero(env.rounding == Rounding::Down),
        // A sum with zero is exact, but may be tiny.
        (true, false) => round_finite(env, Finite { negative: b_negative, ..unpack(b) }),
        (false, true) => round_finite(env, unpack(a)),
        _ => add_finite(env, unpack(a), Finite { negative: b_negative, ..unpack(b) }),
    }
}

/// Packs an exact value of the format, for what a tiny one raises or flushes.
fn round_finite<F: Float>(env: &mut Env, a: Finite) -> F {
    round(env, a.negative, a.exp, a.sig << (62 - F::FRACTION_BITS))
}

/// a * b (MULSS, MULSD).
#[inline]
pub fn mul<F: Float>(env: &mut Env, a: F, b: F) -> F {
    if is_normal(a) && is_normal(b) {
        if let Some(product) = by_host(env, HostOp::Mul, a, b) {
            return product;
        }
        return mul_finite(env, unpack_normal(a), unpack_normal(b));
    }
    mul_special(env, a, b)
}

#[inline(always)]
fn mul_finite<F: Float>(env: &mut Env, a: Finite, b: Finite) -> F {
    let shift = 63 - F::FRACTION_BITS;
    let product = u128::from(a.sig << shift) * u128::from(b.sig << shift);
    let sig = (product >> 64) as u64 | u64::from(product as u64 != 0);
    let exp = a.exp + b.exp - F::BIAS;
    let negative = a.negative != b.negative;
    if sig >> 63 != 0 {
        round(env, negative, exp + 1, shift_right_jam(sig, 1))
    } else {
        round(env, negative, exp, sig)
    }
}

#[cold]
fn mul_special<F: Float>(env: &mut Env, a: F, b: F) -> F {
    if let Some(nan) = propagate_nan(env, [a, b]) {
        return nan;
    }
    let (a, b) = (daz(env, a), daz(env, b));
    if is_infinite(a) && is_zero(b) || is_zero(a) && is_infinite(b) {
        return invalid(env);
    }
    if denormal_operand(env, [a, b]) {
        return a;
    }
    let negative = is_negative(a) != is_negative(b);
    if is_infinite(a) || is_infinite(b) {
        infinity(negative)
    } else if is_zero(a) || is_zero(b) {
        zero(negative)
    } else {
        mul_finite(env, unpack(a), unpack(b))
    }
}

/// a / b (DIVSS, DIVSD).
#[inline]
pub fn div<F: Float>(env: &mut Env, a: F, b: F) -> F {
    if is_normal(a) && is_normal(b) {
        if let Some(quotient) = by_host(env, HostOp::Div, a, b) {
            return quotient;
        }
        return div_finite(env, unpack_normal(a), unpack_normal(b));
    }
    div_special(env, a, b)
}

#[inline(always)]
fn div_finite<F: Float>(env: &mut Env, a: Finite, b: Finite) -> F {
    let negative = a.negative != b.negative;
    let exp = a.exp - b.exp + F::BIAS;
    // A quotient with its top bit at bit 63 or 62, for a/b >= 1 or below.
    let sig = if F::FRACTION_BITS < 32 {
        let numerator = a.sig << (62 - F::FRACTION_BITS);
        let quotient = numerator / b.sig;
        let sticky = !numerator.is_multiple_of(b.sig);
        quotient << (F::FRACTION_BITS + 1) | u64::from(sticky)
    } else {
        let divisor = b.sig << (63 - F::FRACTION_BITS);
        let (q, rest) = divide_by_normalized(a.sig << (62 - F::FRACTION_BITS), 0, divisor);
        q | u64::from(rest != 0)
    };
    if sig >> 63 != 0 {
        round(env, negative, exp, shift_right_jam(sig, 1))
    } else {
        round(env, negative, exp - 1, sig)
    }
}

#[cold]
fn div_special<F: Float>(env: &mut Env, a: F, b: F) -> F {
    if let Some(nan) = propagate_nan(env, [a, b]) {
        return nan;
    }
    let (a, b) = (daz(env, a), daz(env, b));
    if is_infinite(a) && is_infinite(b) || is_zero(a) && is_zero(b) {
        return invalid(env);
    }
    let negative = is_negative(a) != is_negative(b);
    if is_zero(b) && !is_infinite(a) {
        env.raise(Flags::ZE);
        return infinity(negative);
    }
    if denormal_operand(env, [a, b]) {
        return a;
    }
    if is_infinite(a) {
        infinity(negative)
    } else if is_infinite(b) || is_zero(a) {
        zero(negative)
    } else {
        div_finite(env, unpack(a), unpack(b))
    }
}

/// The square root (SQRTSS, SQRTSD).
#[inline]
pub fn sqrt<F: Float>(env: &mut Env, a: F) -> F {
    if is_normal(a) && !is_negative(a) {
        if let Some(root) = by_host(env, HostOp::Sqrt, a, a) {
            return root;
        }
        return sqrt_finite(env, unpack_normal(a));
    }
    sqrt_special(env, a)
}

fn sqrt_finite<F: Float>(env: &mut Env, a: Finite) -> F {
    let exp = a.exp - F::BIAS;
    let odd = (exp & 1) as u32;
    let sig = if F::FRACTION_BITS < 32 {
        let radicand = a.sig << (60 - F::FRACTION_BITS + odd);
        let root = radicand.isqrt();
        root << 32 | u64::from(root * root != radicand)
    } else {
        let radicand = u128::from(a.sig) << (124 - F::FRACTION_BITS + odd);
        let root = radicand.isqrt();
        root as u64 | u64::from(root * root != radicand)
    };
    round(env, false, (exp >> 1) + F::BIAS, sig)
}

#[cold]
fn sqrt_special<F: Float>(env: &mut Env, a: F) -> F {
    if let Some(nan) = propagate_nan(env, [a]) {
        return nan;
    }
    let a = daz(env, a);
    if is_zero(a) {
        return a;
    }
    if is_negative(a) {
        return invalid(env);
    }
    if is_infinite(a) || denormal_operand(env, [a]) {
        return a;
    }
    sqrt_finite(env, unpack(a))
}

/// a * b + c with one rounding (VFMADD). Invert the sign bit of `a` or `c` for the other forms,
/// except of a NaN. A NaN is propagated in the order a, b, c, which is the order in which the
/// SDM's formula of each form names the operands: 132 is (1, 3, 2), 213 is (2, 1, 3) and 231 is
/// (2, 3, 1).
#[inline]
pub fn mul_add<F: Float>(env: &mut Env, a: F, b: F, c: F) -> F {
    if is_normal(a) && is_normal(b) && is_normal(c) {
        let (a, b, c) = (unpack_normal(a), unpack_normal(b), unpack_normal(c));
        return mul_add_finite(env, a, b, c);
    }
    mul_add_special(env, a, b, c)
}

fn mul_add_finite<F: Float>(env: &mut Env, a: Finite, b: Finite, c: Finite) -> F {
    // The product of two significands, with its top bit at bit 124 or 125.
    let shift = 62 - F::FRACTION_BITS;
    let mut product = u128::from(a.sig << shift) * u128::from(b.sig << shift);
    let mut addend = u128::from(c.sig << shift) << 62;
    let product_negative = a.negative != b.negative;
    let product_exp = a.exp + b.exp - F::BIAS;
    let exp = product_exp.max(c.exp);
    product = shift_right_jam_128(product, (exp - product_exp) as u32);
    addend = shift_right_jam_128(addend, (exp - c.exp) as u32);
    let (negative, sum) = if product_negative == c.negative {
        (c.negative, product + addend)
    } else if product > addend {
        (product_negative, product - addend)
    } else if product < addend {
        (c.negative, addend - product)
    } else {
        return zero(env.rounding == Rounding::Down);
    };
    let zeros = sum.leading_zeros();
    let sum = sum << (zeros - 1);
    let sig = (sum >> 64) as u64 | u64::from(sum as u64 != 0);
    round(env, negative, exp + 3 - zeros as i32, sig)
}

#[cold]
fn mul_add_special<F: Float>(env: &mut Env, a: F, b: F, c: F) -> F {
    if let Some(nan) = propagate_nan(env, [a, b, c]) {
        return nan;
    }
    let (a, b, c) = (daz(env, a), daz(env, b), daz(env, c));
    let negative = is_negative(a) != is_negative(b);
    let infinite = is_infinite(a) || is_infinite(b);
    if infinite && (is_zero(a) || is_zero(b)) {
        return invalid(env);
    }
    if infinite && is_infinite(c) && negative != is_negative(c) {
        return invalid(env);
    }
    if denormal_operand(env, [a, b, c]) {
        return a;
    }
    if infinite {
        return infinity(negative);
    }
    if is_infinite(c) {
        return c;
    }
    match (is_zero(a) || is_zero(b), is_zero(c)) {
        (true, true) if negative == is_negative(c) => c,
        (true, true) => zero(env.rounding == Rounding::Down),
        (true, false) => round_finite(env, unpack(c)),
        (false, true) => mul_finite(env, unpack(a), unpack(b)),
        _ => mul_add_finite(env, unpack(a), unpack(b), unpack(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: u32 = 0x3f80_0000;
    const SIGNALLING: u32 = 0x7fa0_0001;
    const QUIET: u32 = 0xffc0_0002;
    const DENORMAL: u32 = 1;

    fn raised<T>(mxcsr: u32, operation: impl FnOnce(&mut Env) -> T) -> (T, Flags) {
        let mut env = Env::from_mxcsr(mxcsr);
        let result = operation(&mut env);
        (result, env.flags)
    }

    #[test]
    fn the_first_nan_is_propagated_quiet() {
        let sum = |a, b| raised(0x1f80, |env| add(env, a, b));
        assert_eq!(sum(SIGNALLING, QUIET), (0x7fe0_0001, Flags::IE));
        assert_eq!(sum(QUIET, SIGNALLING), (QUIET, Flags::IE));
        assert_eq!(sum(ONE, QUIET), (QUIET, Flags::NONE));
        assert_eq!(sum(DENORMAL, QUIET), (QUIET, Flags::NONE));
    }

    #[test]
    fn invalid_operations_deliver_the_indefinite() {
        let (infinity, zero) = (0x7f80_0000u32, 0);
        let indefinite = (0xffc0_0000, Flags::IE);
        assert_eq!(raised(0x1f80, |env| sub(env, infinity, infinity)), indefinite);
        assert_eq!(raised(0x1f80, |env| mul(env, infinity, zero)), indefinite);
        assert_eq!(raised(0x1f80, |env| div(env, zero, zero)), indefinite);
        assert_eq!(raised(0x1f80, |env| sqrt(env, ONE | 1 << 31)), indefinite);
        assert_eq!(raised(0x1f80, |env| mul_add(env, infinity, zero, ONE)), indefinite);
    }

    #[test]
    fn division_by_zero_hides_a_denormal_operand() {
        let quotient = raised(0x1f80, |env| div(env, DENORMAL, 0));
        assert_eq!(quotient, (0x7f80_0000, Flags::ZE));
    }

    #[test]
    fn denormals_can_be_zeros_and_tiny_results_flushed() {
        let least_normal = 0x0080_0000u32;
        let half = |mxcsr| raised(mxcsr, |env| mul(env, least_normal, 0x3f00_0000));
        assert_eq!(half(0x1f80), (0x0040_0000, Flags::NONE));
        assert_eq!(half(0x9f80), (0, Flags::UE | Flags::PE));
        // With underflow unmasked it is raised even though the result is exact.
        assert_eq!(half(0x1780).1, Flags::UE);
        let sum = |mxcsr| raised(mxcsr, |env| add(env, DENORMAL, ONE));
        assert_eq!(sum(0x1f80), (ONE, Flags::DE | Flags::PE));
        assert_eq!(sum(0x1fc0), (ONE, Flags::NONE));
    }

    #[test]
    fn tininess_is_detected_after_rounding() {
        // (1 - 2^-24) * 2^-126 rounds to the least normal number: with an unbounded exponent the
        // product of 24 bits is 1 - 2^-24 and tiny; one bit more rounds up and is not.
        let tiny = raised(0x1f80, |env| mul(env, 0x3f7f_ffffu32, 0x0080_0000));
        assert_eq!(tiny, (0x0080_0000, Flags::UE | Flags::PE));
        let not_tiny = raised(0x1f80, |env| mul(env, 0x3f80_0001u32, 0x007f_ffff));
        assert_eq!(not_tiny, (0x0080_0000, Flags::DE | Flags::PE));
    }

    #[test]
    fn a_fused_multiply_add_rounds_once() {
        // (1 + 2^-12)^2 - (1 + 2^-11) = 2^-24.
        let a = 0x3f80_0800u32;
        let exact = raised(0x1f80, |env| mul_add(env, a, a, 0xbf80_1000));
        assert_eq!(exact, (0x3380_0000, Flags::NONE));
    }

    #[test]
    fn an_exact_zero_has_the_sign_of_the_rounding() {
        let difference = |mxcsr| raised(mxcsr, |env| sub(env, ONE, ONE));
        assert_eq!(difference(0x1f80), (0, Flags::NONE));
        assert_eq!(difference(0x3f80), (0x8000_0000, Flags::NONE));
    }
}

#[cfg(test)]
mod host_tests {
    use super::*;

    /// Operands all over the normal range, many of them near its ends and near each other.
    fn operand(seed: &mut u64) -> u64 {
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bits = *seed ^ *seed >> 29;
        let exponent = match bits & 7 {
            0 => 1 + (bits >> 3 & 63),
            1 => 2046 - (bits >> 3 & 63),
            2 => 512 + (bits >> 3 & 3),
            3 => 1534 + (bits >> 3 & 3),
            _ => 1000 + (bits >> 3 & 63),
        };
        let fraction = if bits & 0x200 == 0 { bits >> 12 & 3 } else { bits >> 12 };
        (bits & 1 << 63) | exponent << 52 | (fraction & (u64::FRACTION))
    }

    #[test]
    fn the_host_cannot_be_told_from_us() {
        let mut seed = 1;
        for _ in 0..200_000 {
            let (a, b) = (operand(&mut seed), operand(&mut seed));
            let (c, d) = (to_single(a), to_single(b));
            for op in 0..5 {
                same(|env| double(env, op, a, b));
                same(|env| u64::from(double(env, op, c, d)));
            }
        }
    }

    /// The same sign and fraction, the exponent as far from the ends.
    fn to_single(a: u64) -> u32 {
        let exponent = match a >> 52 & 2047 {
            low @ 0..=64 => low as u32,
            high @ 1983..=2046 => 254 - (2046 - high as u32),
            middle => 96 + (middle as u32 & 63),
        };
        (a >> 32) as u32 & 1 << 31 | exponent.clamp(1, 254) << 23 | a as u32 & 0x7f_ffff
    }

    fn double<F: Float>(env: &mut Env, op: u32, a: F, b: F) -> F {
        match op {
            0 => add(env, a, b),
            1 => sub(env, a, b),
            2 => mul(env, a, b),
            3 => div(env, a, b),
            _ => sqrt(env, a),
        }
    }

    fn same(f: impl Fn(&mut Env) -> u64) {
        let mut plain = Env::from_mxcsr(0x1fa0);
        assert!(plain.plain);
        let mut ours = Env { plain: false, ..plain };
        assert_eq!(f(&mut plain), f(&mut ours));
        assert_eq!(plain.flags | Flags::PE, ours.flags | Flags::PE);
    }
}
