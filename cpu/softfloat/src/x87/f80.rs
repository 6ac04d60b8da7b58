//! The 80-bit extended format and the operands of x87 instructions.

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
    /// (bits 14, 10 and 8). C1 is the sign. An empty register would be 0x4100.
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

/// An operand of an x87 operation: a register, or a memory operand in its own format, which is
/// how a denormal f32 raises DE in `FADD m32` although it is a normal F80.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    pub(crate) bits: F80,
}

impl Operand {
    /// An f32 in memory (FADD m32fp and its like; FLD is [`super::from_f32`]).
    pub fn from_f32(bits: u32) -> Self {
        todo!("{bits}")
    }

    /// An f64 in memory.
    pub fn from_f64(bits: u64) -> Self {
        todo!("{bits}")
    }
}

impl From<F80> for Operand {
    fn from(bits: F80) -> Self {
        Self { bits }
    }
}
