//! The binary interchange formats: fields, classes, NaNs, unpacking and rounding.
//!
//! Source: Intel SDM volume 1, sections 4.8 and 4.9.

use crate::wide::shift_right_jam;
use crate::{Env, Flags, Rounding};

mod sealed {
    pub trait Sealed {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// A binary floating-point format, named by the integer that holds its bit pattern: `u16` is
/// binary16, `u32` is binary32 and `u64` is binary64.
pub trait Float: Copy + Eq + core::fmt::Debug + sealed::Sealed {
    /// Bits of the fraction field.
    const FRACTION_BITS: u32;
    /// Bits of the exponent field.
    const EXPONENT_BITS: u32;
    /// The exponent field of infinities and NaNs.
    const EXPONENT_MAX: i32 = (1 << Self::EXPONENT_BITS) - 1;
    /// The bias of the exponent field.
    const BIAS: i32 = (1 << (Self::EXPONENT_BITS - 1)) - 1;
    /// The sign bit.
    const SIGN: u64 = 1 << (Self::FRACTION_BITS + Self::EXPONENT_BITS);
    /// The integer bit, implicit in the format.
    const INTEGER: u64 = 1 << Self::FRACTION_BITS;
    /// The fraction field.
    const FRACTION: u64 = Self::INTEGER - 1;
    /// The bit that tells quiet NaNs from signalling ones.
    const QUIET: u64 = 1 << (Self::FRACTION_BITS - 1);
    /// +infinity.
    const INFINITY: u64 = (Self::EXPONENT_MAX as u64) << Self::FRACTION_BITS;
    /// The negative quiet NaN that a masked invalid operation delivers.
    const INDEFINITE: u64 = Self::SIGN | Self::INFINITY | Self::QUIET;

    /// The bit pattern, zero extended.
    fn to_bits(self) -> u64;
    /// From the low bits of a pattern.
    fn from_bits(bits: u64) -> Self;
    /// What the host's own arithmetic makes of it, rounded to nearest, if it has this format.
    fn by_host(op: HostOp, a: Self, b: Self) -> Option<Self>;
}

/// An operation that hosts have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostOp {
    /// a + b.
    Add,
    /// a - b.
    Sub,
    /// a * b.
    Mul,
    /// a / b.
    Div,
    /// The square root of a.
    Sqrt,
}

/// The host's result for normal operands, where nobody can tell it from ours: only inexactness may
/// have been found, and that was known. A result next to or beyond the ends of the normal range
/// may have more to report.
#[inline(always)]
pub(crate) fn by_host<F: Float>(env: &Env, op: HostOp, a: F, b: F) -> Option<F> {
    if !env.plain {
        return None;
    }
    let result = F::by_host(op, a, b)?;
    let inside = (exponent(result) as u32).wrapping_sub(2) < F::EXPONENT_MAX as u32 - 2;
    inside.then_some(result)
}

macro_rules! host {
    ($f:ty) => {
        |op, a, b| {
            // 32-bit x86 may compute with more precision than the format has.
            if cfg!(target_arch = "x86") {
                return None;
            }
            let (a, b) = (<$f>::from_bits(a), <$f>::from_bits(b));
            let result = match op {
                HostOp::Add => a + b,
                HostOp::Sub => a - b,
                HostOp::Mul => a * b,
                HostOp::Div => a / b,
                HostOp::Sqrt => a.sqrt(),
            };
            Some(result.to_bits())
        }
    };
}

macro_rules! float {
    ($t:ty, $fraction:expr, $exponent:expr, $host:expr) => {
        impl Float for $t {
            const FRACTION_BITS: u32 = $fraction;
            const EXPONENT_BITS: u32 = $exponent;
            #[inline(always)]
            fn to_bits(self) -> u64 {
                u64::from(self)
            }
            #[inline(always)]
            fn from_bits(bits: u64) -> Self {
                bits as $t
            }
            #[inline(always)]
            fn by_host(op: HostOp, a: Self, b: Self) -> Option<Self> {
                $host(op, a, b)
            }
        }
    };
}
float!(u16, 10, 5, |_, _, _| None);
float!(u32, 23, 8, host!(f32));
float!(u64, 52, 11, host!(f64));

/// A finite number other than zero: `sig` has its top bit at `FRACTION_BITS`, and `exp` is the
/// biased exponent, below 1 for what was a denormal.
#[derive(Clone, Copy)]
pub(crate) struct Finite {
    pub(crate) negative: bool,
    pub(crate) exp: i32,
    pub(crate) sig: u64,
}

/// The exponent field.
#[inline(always)]
pub(crate) fn exponent<F: Float>(a: F) -> i32 {
    (a.to_bits() >> F::FRACTION_BITS) as i32 & F::EXPONENT_MAX
}

/// Whether the sign bit is set.
#[inline(always)]
pub(crate) fn is_negative<F: Float>(a: F) -> bool {
    a.to_bits() & F::SIGN != 0
}

/// Whether the operand is normal: neither zero, denormal, infinity nor NaN.
#[inline(always)]
pub(crate) fn is_normal<F: Float>(a: F) -> bool {
    (exponent(a) as u32).wrapping_sub(1) < F::EXPONENT_MAX as u32 - 1
}

/// Whether the operand is a NaN.
#[inline(always)]
pub(crate) fn is_nan<F: Float>(a: F) -> bool {
    a.to_bits() & !F::SIGN > F::INFINITY
}

/// Whether the operand is a signalling NaN.
#[inline]
pub(crate) fn is_signalling<F: Float>(a: F) -> bool {
    is_nan(a) && a.to_bits() & F::QUIET == 0
}

/// Whether the operand is an infinity.
#[inline]
pub(crate) fn is_infinite<F: Float>(a: F) -> bool {
    a.to_bits() & !F::SIGN == F::INFINITY
}

/// Whether the operand is a zero.
#[inline]
pub(crate) fn is_zero<F: Float>(a: F) -> bool {
    a.to_bits() & !F::SIGN == 0
}

/// Whether the operand is a denormal.
#[inline]
pub(crate) fn is_denormal<F: Float>(a: F) -> bool {
    exponent(a) == 0 && !is_zero(a)
}

/// A zero of the given sign.
#[inline]
pub(crate) fn zero<F: Float>(negative: bool) -> F {
    F::from_bits(if negative { F::SIGN } else { 0 })
}

/// An infinity of the given sign.
#[inline]
pub(crate) fn infinity<F: Float>(negative: bool) -> F {
    F::from_bits(F::INFINITY | if negative { F::SIGN } else { 0 })
}

/// The NaN made quiet.
#[inline]
pub(crate) fn quiet<F: Float>(a: F) -> F {
    F::from_bits(a.to_bits() | F::QUIET)
}

/// Raises IE and delivers the real indefinite.
#[inline]
pub(crate) fn invalid<F: Float>(env: &mut Env) -> F {
    env.raise(Flags::IE);
    F::from_bits(F::INDEFINITE)
}

/// The operand as DAZ has it: a denormal becomes a zero of its sign.
#[inline]
pub(crate) fn daz<F: Float>(env: &Env, a: F) -> F {
    if env.daz && exponent(a) == 0 { zero(is_negative(a)) } else { a }
}

/// The NaN that the operands propagate, if one is a NaN: the first, made quiet. A signalling NaN
/// among them raises IE.
#[inline]
pub(crate) fn propagate_nan<F: Float, const N: usize>(
    env: &mut Env,
    operands: [F; N],
) -> Option<F> {
    let first = operands.into_iter().find(|&a| is_nan(a))?;
    if operands.into_iter().any(is_signalling) {
        env.raise(Flags::IE);
    }
    Some(quiet(first))
}

/// Raises DE if any operand is a denormal; true if that is unmasked and the operation ends.
#[inline]
pub(crate) fn denormal_operand<F: Float, const N: usize>(env: &mut Env, operands: [F; N]) -> bool {
    operands.into_iter().any(is_denormal) && env.raise_denormal()
}

/// Unpacks a normal operand.
#[inline(always)]
pub(crate) fn unpack_normal<F: Float>(a: F) -> Finite {
    let sig = a.to_bits() & F::FRACTION | F::INTEGER;
    Finite { negative: is_negative(a), exp: exponent(a), sig }
}

/// Unpacks a normal or denormal operand.
#[inline]
pub(crate) fn unpack<F: Float>(a: F) -> Finite {
    if exponent(a) != 0 {
        return unpack_normal(a);
    }
    let fraction = a.to_bits() & F::FRACTION;
    let shift = fraction.leading_zeros().saturating_sub(63 - F::FRACTION_BITS);
    Finite { negative: is_negative(a), exp: 1 - shift as i32, sig: fraction << shift }
}

/// What is added below the kept bits so that truncation rounds. `mask` covers the dropped bits.
#[inline(always)]
fn increment(rounding: Rounding, negative: bool, mask: u64) -> u64 {
    match rounding {
        Rounding::NearestEven => (mask >> 1) + 1,
        Rounding::Down if negative => mask,
        Rounding::Up if !negative => mask,
        _ => 0,
    }
}

/// The kept bits of `sig`, rounded; `mask` covers the `shift` dropped ones.
#[inline(always)]
fn round_bits(rounding: Rounding, negative: bool, sig: u64, shift: u32) -> u64 {
    let mask = (1u64 << shift) - 1;
    let kept = (sig + increment(rounding, negative, mask)) >> shift;
    let tie = rounding == Rounding::NearestEven && sig & mask == (mask >> 1) + 1;
    kept & !u64::from(tie)
}

/// Rounds and packs `sig * 2^(exp - BIAS - 62)`. `sig` has bit 62 as its top bit, and its lowest
/// bit stands for all that is below it.
#[inline(always)]
pub(crate) fn round<F: Float>(env: &mut Env, negative: bool, exp: i32, sig: u64) -> F {
    let shift = 62 - F::FRACTION_BITS;
    if (exp as u32).wrapping_sub(1) >= F::EXPONENT_MAX as u32 - 2 {
        return round_extreme(env, negative, exp, sig);
    }
    if sig & ((1 << shift) - 1) != 0 {
        env.raise(Flags::PE);
    }
    // A carry out of the significand goes into the exponent, as it should.
    let magnitude =
        (((exp - 1) as u64) << F::FRACTION_BITS) + round_bits(env.rounding, negative, sig, shift);
    F::from_bits(magnitude | if negative { F::SIGN } else { 0 })
}

/// Rounds what overflows, underflows or comes near to it.
#[cold]
fn round_extreme<F: Float>(env: &mut Env, negative: bool, exp: i32, sig: u64) -> F {
    let sign = if negative { F::SIGN } else { 0 };
    let shift = 62 - F::FRACTION_BITS;
    let inexact = sig & ((1 << shift) - 1) != 0;
    let kept = round_bits(env.rounding, negative, sig, shift);
    let carry = i32::from(kept >> (F::FRACTION_BITS + 1) != 0);
    if exp > 0 {
        if inexact {
            env.raise(Flags::PE);
        }
        if exp + carry >= F::EXPONENT_MAX {
            return overflow(env, negative);
        }
        let magnitude = (((exp - 1) as u64) << F::FRACTION_BITS) + kept;
        return F::from_bits(sign | magnitude);
    }
    // Tiny is judged after rounding, as if the exponent had no bound.
    let tiny = exp + carry < 1;
    if tiny && !env.masks.contains(Flags::UE) {
        env.raise(Flags::UE);
        if inexact {
            env.raise(Flags::PE);
        }
        return zero(negative);
    }
    if tiny && env.ftz {
        env.raise(Flags::UE | Flags::PE);
        return zero(negative);
    }
    let sig = shift_right_jam(sig, 1u32.wrapping_sub(exp as u32));
    if sig & ((1 << shift) - 1) != 0 {
        env.raise(if tiny { Flags::UE | Flags::PE } else { Flags::PE });
    }
    F::from_bits(sign | round_bits(env.rounding, negative, sig, shift))
}

/// Raises OE, and PE while it is masked, and delivers an infinity or the largest finite number.
#[cold]
fn overflow<F: Float>(env: &mut Env, negative: bool) -> F {
    env.raise(Flags::OE);
    if env.masks.contains(Flags::OE) {
        env.raise(Flags::PE);
    }
    let to_infinity = match env.rounding {
        Rounding::NearestEven => true,
        Rounding::Down => negative,
        Rounding::Up => !negative,
        Rounding::TowardZero => false,
    };
    let infinite = infinity::<F>(negative);
    if to_infinity { infinite } else { F::from_bits(infinite.to_bits() - 1) }
}
