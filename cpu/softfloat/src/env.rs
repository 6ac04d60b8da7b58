//! The environment of an operation: rounding, precision, masks and flags.
//!
//! Source: Intel SDM volume 1, sections 8.1.3 to 8.1.5 (x87) and 10.2.3 (MXCSR).

use core::ops::{BitAnd, BitOr, BitOrAssign, Not, Sub};

/// Rounding control, in the encoding of the control word's and MXCSR's RC field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Rounding {
    /// To the nearest, ties to the even significand (RC = 0).
    #[default]
    NearestEven = 0,
    /// Toward negative infinity (RC = 1).
    Down = 1,
    /// Toward positive infinity (RC = 2).
    Up = 2,
    /// Toward zero, truncation (RC = 3).
    TowardZero = 3,
}

impl Rounding {
    /// The rounding of a two-bit RC field; higher bits are ignored.
    #[inline]
    pub const fn from_bits(rc: u8) -> Self {
        match rc & 3 {
            0 => Self::NearestEven,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::TowardZero,
        }
    }
}

/// Precision control of the x87: how many bits of significand add, sub, mul, div and sqrt keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 24 bits (PC = 0).
    Single24,
    /// 53 bits (PC = 2).
    Double53,
    /// 64 bits (PC = 3, and the reserved 1, which the hardware treats alike).
    #[default]
    Extended64,
}

impl Precision {
    /// The precision of a two-bit PC field; higher bits are ignored.
    #[inline]
    pub const fn from_bits(pc: u8) -> Self {
        match pc & 3 {
            0 => Self::Single24,
            2 => Self::Double53,
            _ => Self::Extended64,
        }
    }
}

/// The six floating-point exceptions, at their positions in the x87 status word and in MXCSR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// No exception.
    pub const NONE: Self = Self(0);
    /// Invalid operation.
    pub const IE: Self = Self(1);
    /// Denormal operand.
    pub const DE: Self = Self(2);
    /// Division by zero.
    pub const ZE: Self = Self(4);
    /// Overflow.
    pub const OE: Self = Self(8);
    /// Underflow.
    pub const UE: Self = Self(16);
    /// Precision: the result is inexact.
    pub const PE: Self = Self(32);
    /// All six.
    pub const ALL: Self = Self(63);
    /// The exceptions found before the operation is done: unmasked, they leave the destination
    /// as it was.
    pub const PRE_COMPUTATION: Self = Self(7);

    /// The flags of the low six bits.
    #[inline]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 63)
    }

    /// The bits, IE lowest.
    #[inline]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` are set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether none is set.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Flags {
    type Output = Self;
    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Flags {
    type Output = Self;
    #[inline]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Sub for Flags {
    type Output = Self;
    /// The flags of `self` that are not in `other`.
    #[inline]
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl Not for Flags {
    type Output = Self;
    #[inline]
    fn not(self) -> Self {
        Self(!self.0 & 63)
    }
}

/// What a comparison found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// The first operand is less than the second.
    Less,
    /// They are equal (+0 equals -0).
    Equal,
    /// The first operand is greater.
    Greater,
    /// At least one operand is a NaN (or an unsupported encoding).
    Unordered,
}

impl Relation {
    /// The condition codes of FCOM and FUCOM, C3, C2 and C0, at their places in the status word
    /// (bits 14, 10 and 8). C1 is cleared.
    pub const fn condition_codes(self) -> u16 {
        match self {
            Self::Greater => 0,
            Self::Less => 0x0100,
            Self::Equal => 0x4000,
            Self::Unordered => 0x4500,
        }
    }

    /// ZF, PF and CF as COMISS and FCOMI set them, at their places in EFLAGS (bits 6, 2 and 0).
    pub const fn eflags(self) -> u32 {
        match self {
            Self::Greater => 0,
            Self::Less => 0x01,
            Self::Equal => 0x40,
            Self::Unordered => 0x45,
        }
    }
}

/// What an operation is done under, and what it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Env {
    /// Rounding control.
    pub rounding: Rounding,
    /// Precision control: only of the x87 add, sub, mul, div and sqrt.
    pub precision: Precision,
    /// The exceptions raised; operations only add to them.
    pub flags: Flags,
    /// The exceptions masked (a set bit is masked). They decide results: an unmasked overflow or
    /// underflow of the x87 delivers a result with an adjusted exponent, and an unmasked
    /// pre-computation exception ends the operation before others are found.
    pub masks: Flags,
    /// Denormals are zeros (SSE only): denormal operands count as zeros of their sign.
    pub daz: bool,
    /// Flush to zero (SSE only): a tiny result becomes zero while underflow is masked.
    pub ftz: bool,
    /// Set by each x87 operation that rounds: whether the last rounding increased the magnitude
    /// (C1).
    pub rounded_up: bool,
    /// Rounding is to nearest, and inexactness is masked and was reported before: the host's own
    /// arithmetic then gives the same as ours for normal operands and results (SSE only).
    pub(crate) plain: bool,
}

impl Default for Env {
    /// Rounding to nearest, extended precision, all exceptions masked, no flags: FNINIT's state.
    fn default() -> Self {
        Self {
            rounding: Rounding::NearestEven,
            precision: Precision::Extended64,
            flags: Flags::NONE,
            masks: Flags::ALL,
            daz: false,
            ftz: false,
            rounded_up: false,
            plain: false,
        }
    }
}

impl Env {
    /// The environment of an x87 control word, with no flags raised.
    #[inline]
    pub const fn from_control_word(cw: u16) -> Self {
        Self {
            rounding: Rounding::from_bits((cw >> 10) as u8),
            precision: Precision::from_bits((cw >> 8) as u8),
            flags: Flags::NONE,
            masks: Flags::from_bits(cw as u8),
            daz: false,
            ftz: false,
            rounded_up: false,
            plain: false,
        }
    }

    /// The environment of an MXCSR, with no flags raised.
    #[inline]
    pub const fn from_mxcsr(mxcsr: u32) -> Self {
        Self {
            rounding: Rounding::from_bits((mxcsr >> 13) as u8),
            precision: Precision::Extended64,
            flags: Flags::NONE,
            masks: Flags::from_bits((mxcsr >> 7) as u8),
            daz: mxcsr & (1 << 6) != 0,
            ftz: mxcsr & (1 << 15) != 0,
            rounded_up: false,
            // RC is 0, PM and PE are 1.
            plain: mxcsr & (3 << 13 | 1 << 12 | 1 << 5) == (1 << 12 | 1 << 5),
        }
    }

    /// The raised exceptions that are not masked: those that fault.
    #[inline]
    pub fn unmasked(&self) -> Flags {
        self.flags - self.masks
    }

    /// The flags that the instruction reports once all elements are done. An unmasked
    /// pre-computation exception of one element keeps the others from being computed, so that
    /// their overflow, underflow and inexactness are not found (SDM volume 1, section 11.5.2).
    #[inline]
    pub fn reported(&self) -> Flags {
        if self.unmasked().intersects(Flags::PRE_COMPUTATION) {
            self.flags & Flags::PRE_COMPUTATION
        } else {
            self.flags
        }
    }

    /// Adds to the flags.
    #[inline]
    pub(crate) fn raise(&mut self, flags: Flags) {
        self.flags |= flags;
    }

    /// Raises DE; true if it is unmasked, so that the operation ends here.
    #[inline]
    pub(crate) fn raise_denormal(&mut self) -> bool {
        self.flags |= Flags::DE;
        !self.masks.contains(Flags::DE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_control_registers() {
        let env = Env::from_control_word(0x0f7b);
        assert_eq!((env.rounding, env.precision), (Rounding::TowardZero, Precision::Extended64));
        assert_eq!(env.masks, Flags::ALL - Flags::ZE);
        assert_eq!(Env::from_control_word(0x037f), Env::default());
        let env = Env::from_mxcsr(0x1f80 | 1 << 15 | 1 << 6 | 2 << 13 | 0x3f);
        assert_eq!((env.rounding, env.daz, env.ftz), (Rounding::Up, true, true));
        assert_eq!((env.masks, env.flags), (Flags::ALL, Flags::NONE));
    }

    #[test]
    fn an_unmasked_pre_computation_exception_hides_the_others() {
        let mut env = Env { masks: Flags::ALL - Flags::IE, ..Env::default() };
        env.raise(Flags::DE | Flags::PE | Flags::OE);
        assert_eq!(env.reported(), Flags::DE | Flags::PE | Flags::OE);
        env.raise(Flags::IE);
        assert_eq!(env.reported(), Flags::DE | Flags::IE);
        assert_eq!(env.unmasked(), Flags::IE);
    }
}
