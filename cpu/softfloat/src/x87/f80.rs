//! The 80-bit extended format and the operands of x87 instructions.
//!
//! Source: Intel SDM volume 1, sections 4.8.3 and 8.2.

use crate::sse::{Float, float};
use crate::{Env, Flags};

/// The exponent field of infinities and NaNs.
pub(super) const EXPONENT_MAX: i32 = 0x7fff;
/// The bias of the exponent field.
pub(super) const BIAS: i32 = 0x3fff;
/// The bit that tells quiet NaNs from signalling ones.
pub(super) const QUIET: u64 = 1 << 62;

/// A value of the 80-bit double extended-precision format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct F80 {
    /// Bit 15: the sign. Bits 14:0: the biased exponent (bias 16383).
    pub sign_exp: u16,
    /// The significand with its explicit integer bit, bit 63.
    pub significand: u64,
}

impl F80 {
    /// +0.
    pub const ZERO: Self = Self { sign_exp: 0, significand: 0 };
    /// 1.0.
    pub const ONE: Self = Self { sign_exp: 0x3fff, significand: 1 << 63 };
    /// +infinity.
    pub const INFINITY: Self = Self { sign_exp: 0x7fff, significand: 1 << 63 };
    /// The real indefinite: the negative quiet NaN that a masked invalid operation delivers.
    pub const INDEFINITE: Self = Self { sign_exp: 0xffff, significand: 3 << 62 };

    /// From its fields; the exponent is within the field.
    pub(super) const fn with_sign(negative: bool, exp: i32, significand: u64) -> Self {
        Self { sign_exp: (negative as u16) << 15 | exp as u16 & 0x7fff, significand }
    }

    /// A zero of the given sign.
    pub(super) const fn zero(negative: bool) -> Self {
        Self::with_sign(negative, 0, 0)
    }

    /// An infinity of the given sign.
    pub(super) const fn infinity(negative: bool) -> Self {
        Self::with_sign(negative, EXPONENT_MAX, 1 << 63)
    }

    /// From the ten bytes of memory, little endian.
    #[inline]
    pub const fn from_bytes(b: [u8; 10]) -> Self {
        Self {
            sign_exp: u16::from_le_bytes([b[8], b[9]]),
            significand: u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
        }
    }

    /// The ten bytes of memory, little endian.
    #[inline]
    pub const fn to_bytes(self) -> [u8; 10] {
        let s = self.significand.to_le_bytes();
        let e = self.sign_exp.to_le_bytes();
        [s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], e[0], e[1]]
    }

    /// Whether the sign bit is set.
    #[inline]
    pub const fn is_negative(self) -> bool {
        self.sign_exp >> 15 != 0
    }

    /// FCHS: the sign inverted, of any encoding; raises nothing.
    #[inline]
    #[must_use]
    pub const fn negate(self) -> Self {
        Self { sign_exp: self.sign_exp ^ 0x8000, significand: self.significand }
    }

    /// FABS: the sign cleared, of any encoding; raises nothing.
    #[inline]
    #[must_use]
    pub const fn abs(self) -> Self {
        Self { sign_exp: self.sign_exp & 0x7fff, significand: self.significand }
    }

    /// What kind of value this is, as FXAM tells it.
    pub const fn classify(self) -> Class {
        let exp = self.sign_exp & 0x7fff;
        match (exp, self.significand >> 63) {
            (0, 0) if self.significand == 0 => Class::Zero,
            (0, _) => Class::Denormal,
            (_, 0) => Class::Unsupported,
            (0x7fff, _) if self.significand << 1 == 0 => Class::Infinity,
            (0x7fff, _) => Class::Nan,
            _ => Class::Normal,
        }
    }
}

/// What FXAM tells of a register that is not empty. (Pseudo-denormals are [`Class::Denormal`].)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// An unnormal, pseudo-NaN or pseudo-infinity.
    Unsupported,
    /// A NaN, quiet or signalling.
    Nan,
    /// A normal finite number.
    Normal,
    /// An infinity.
    Infinity,
    /// A zero.
    Zero,
    /// A denormal or pseudo-denormal.
    Denormal,
}

impl Class {
    /// The condition codes C3, C2 and C0 as FXAM sets them, at their places in the status word
    /// (bits 14, 10 and 8). C1 is the sign, even of an empty register, whose codes are 0x4100.
    pub const fn condition_codes(self) -> u16 {
        match self {
            Self::Unsupported => 0,
            Self::Nan => 0x0100,
            Self::Normal => 0x0400,
            Self::Infinity => 0x0500,
            Self::Zero => 0x4000,
            Self::Denormal => 0x4400,
        }
    }
}

/// What an operand is to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Zero,
    /// Normal or denormal: `sig` has its top bit set.
    Finite,
    Infinity,
    /// Quiet or signalling: `sig` is the significand.
    Nan,
    Unsupported,
}

/// An operand of an x87 operation, unpacked: a register, or a memory operand in its own format,
/// which is how a denormal f32 raises DE in `FADD m32` although it is a normal F80.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    pub(super) kind: Kind,
    pub(super) negative: bool,
    /// The biased exponent; below 1 for a denormal.
    pub(super) exp: i32,
    pub(super) sig: u64,
    /// Whether it raises DE.
    pub(super) denormal: bool,
}

impl Operand {
    /// An f32 in memory (FADD m32fp and its like; FLD is [`super::from_f32`]).
    #[inline]
    pub fn from_f32(bits: u32) -> Self {
        Self::from_float(bits)
    }

    /// An f64 in memory.
    #[inline]
    pub fn from_f64(bits: u64) -> Self {
        Self::from_float(bits)
    }

    #[inline(always)]
    fn from_float<F: Float>(a: F) -> Self {
        let bits = a.to_bits();
        let magnitude = bits & (F::SIGN - 1);
        let field = magnitude >> F::FRACTION_BITS;
        if field != 0 && magnitude < F::INFINITY {
            let sig = 1 << 63 | magnitude << (63 - F::FRACTION_BITS);
            let (negative, exp) = (bits & F::SIGN != 0, field as i32 - F::BIAS + BIAS);
            return Self { kind: Kind::Finite, negative, exp, sig, denormal: false };
        }
        Self::from_special_float(a)
    }

    /// Any number but a normal one.
    #[cold]
    fn from_special_float<F: Float>(a: F) -> Self {
        let negative = float::is_negative(a);
        let shift = 63 - F::FRACTION_BITS;
        let integer = 1 << 63;
        let (kind, exp, sig) = if float::is_nan(a) {
            (Kind::Nan, EXPONENT_MAX, integer | a.to_bits() << shift)
        } else if float::is_infinite(a) {
            (Kind::Infinity, EXPONENT_MAX, integer)
        } else if float::is_zero(a) {
            (Kind::Zero, 0, 0)
        } else {
            let finite = float::unpack(a);
            (Kind::Finite, finite.exp - F::BIAS + BIAS, finite.sig << shift)
        };
        Self { kind, negative, exp, sig, denormal: float::is_denormal(a) }
    }

    /// The operand with the other sign, which a NaN keeps.
    pub(super) fn negated_unless_nan(self) -> Self {
        Self { negative: self.negative != (self.kind != Kind::Nan), ..self }
    }

    /// The value in the register format; a NaN made quiet.
    pub(super) fn pack(self) -> F80 {
        match self.kind {
            Kind::Zero => F80::zero(self.negative),
            Kind::Infinity => F80::infinity(self.negative),
            Kind::Nan => F80::with_sign(self.negative, EXPONENT_MAX, self.sig | QUIET),
            Kind::Unsupported => F80::INDEFINITE,
            Kind::Finite if self.exp > 0 => F80::with_sign(self.negative, self.exp, self.sig),
            Kind::Finite => {
                let sig = self.sig.checked_shr(1u32.wrapping_sub(self.exp as u32)).unwrap_or(0);
                F80::with_sign(self.negative, 0, sig)
            }
        }
    }

    /// Whether the operand is a finite number, not zero, that raises no DE.
    #[inline(always)]
    pub(super) fn is_normal(self) -> bool {
        self.kind == Kind::Finite && !self.denormal
    }

    /// Whether the operand is a signalling NaN.
    pub(super) fn is_signalling(self) -> bool {
        self.kind == Kind::Nan && self.sig & QUIET == 0
    }
}

impl From<F80> for Operand {
    #[inline]
    fn from(a: F80) -> Self {
        let field = i32::from(a.sign_exp & 0x7fff);
        if field != 0 && field != EXPONENT_MAX && a.significand >> 63 != 0 {
            let (negative, sig) = (a.is_negative(), a.significand);
            return Self { kind: Kind::Finite, negative, exp: field, sig, denormal: false };
        }
        Self::from_special(a)
    }
}

impl Operand {
    /// Any operand but a normal number.
    #[cold]
    fn from_special(a: F80) -> Self {
        let field = i32::from(a.sign_exp & 0x7fff);
        let zeros = a.significand.leading_zeros();
        let (kind, exp, sig) = match a.classify() {
            Class::Zero => (Kind::Zero, 0, 0),
            Class::Normal => (Kind::Finite, field, a.significand),
            Class::Denormal => (Kind::Finite, 1 - zeros as i32, a.significand << zeros),
            Class::Infinity => (Kind::Infinity, field, a.significand),
            Class::Nan => (Kind::Nan, field, a.significand),
            Class::Unsupported => (Kind::Unsupported, field, a.significand),
        };
        let denormal = kind == Kind::Finite && field == 0;
        Self { kind, negative: a.is_negative(), exp, sig, denormal }
    }
}

/// What the operands decide without arithmetic: an unsupported encoding or a NaN. In x87's order:
/// a quiet NaN before a signalling one, then the larger significand, then the positive one.
#[inline]
pub(super) fn special<const N: usize>(env: &mut Env, operands: [Operand; N]) -> Option<F80> {
    if operands.iter().any(|a| a.kind == Kind::Unsupported) {
        return Some(invalid(env));
    }
    let nans = operands.into_iter().filter(|a| a.kind == Kind::Nan);
    let nan = nans.max_by_key(|a| (!a.is_signalling(), a.sig, !a.negative))?;
    if operands.iter().any(|a| a.is_signalling()) {
        env.raise(Flags::IE);
    }
    Some(nan.pack())
}

/// Raises IE and delivers the real indefinite.
pub(super) fn invalid(env: &mut Env) -> F80 {
    env.raise(Flags::IE);
    F80::INDEFINITE
}

/// Raises DE if any operand is a denormal; true if that is unmasked and the operation ends.
pub(super) fn denormal_operand<const N: usize>(env: &mut Env, operands: [Operand; N]) -> bool {
    operands.iter().any(|a| a.denormal) && env.raise_denormal()
}
