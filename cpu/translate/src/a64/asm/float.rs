//! Scalar floating point.
//!
//! Source: Arm ARM, C7.2; encodings in C4.1, "Data Processing -- Scalar Floating-Point and Advanced
//! SIMD".

use super::{Asm, Cond, OrZero, Size, VReg};

/// A floating-point format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Precision {
    /// 32 bits.
    S = 0,
    /// 64 bits.
    D = 1,
    /// 16 bits, of conversions only.
    H = 3,
}

impl Precision {
    /// `ftype`, in its place.
    fn bits(self) -> u32 {
        (self as u32) << 22
    }

    /// The same of an instruction that takes no half precision without `FEAT_FP16`.
    fn full(self) -> u32 {
        assert_ne!(self, Self::H, "half precision is for conversions");
        self.bits()
    }
}

/// How a number becomes an integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Rounding {
    /// To the nearest, ties to even.
    Nearest,
    /// Towards plus infinity.
    Up,
    /// Towards minus infinity.
    Down,
    /// Towards zero.
    Zero,
}

fn vvv(d: VReg, n: VReg, m: VReg) -> u32 {
    m.code() << 16 | n.code() << 5 | d.code()
}

/// Methods on three registers: name, title, encoding for single precision.
macro_rules! three {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C7.2, ", $title, ".")]
                pub fn $name(&mut self, p: Precision, d: VReg, n: VReg, m: VReg) {
                    self.put($base | p.full() | vvv(d, n, m));
                }
            )*
        }
    };
}

three! {
    fmul, "FMUL (scalar)", 0x1e20_0800;
    fdiv, "FDIV (scalar)", 0x1e20_1800;
    fadd, "FADD (scalar)", 0x1e20_2800;
    fsub, "FSUB (scalar)", 0x1e20_3800;
    fmax, "FMAX (scalar): of two zeros the positive; a NaN if either is one", 0x1e20_4800;
    fmin, "FMIN (scalar): of two zeros the negative; a NaN if either is one", 0x1e20_5800;
    fmaxnm, "FMAXNM (scalar): the number if one is a quiet NaN", 0x1e20_6800;
    fminnm, "FMINNM (scalar): the number if one is a quiet NaN", 0x1e20_7800;
    fnmul, "FNMUL (scalar): minus the product", 0x1e20_8800;
}

/// Methods on two registers: name, title, encoding for single precision.
macro_rules! two {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C7.2, ", $title, ".")]
                pub fn $name(&mut self, p: Precision, d: VReg, n: VReg) {
                    self.put($base | p.full() | vvv(d, n, VReg::new(0)));
                }
            )*
        }
    };
}

two! {
    fmov, "FMOV (register)", 0x1e20_4000;
    fabs, "FABS (scalar)", 0x1e20_c000;
    fneg, "FNEG (scalar)", 0x1e21_4000;
    fsqrt, "FSQRT (scalar)", 0x1e21_c000;
    frintn, "FRINTN (scalar): to the nearest integer, ties to even", 0x1e24_4000;
    frintp, "FRINTP (scalar): to an integer towards plus infinity", 0x1e24_c000;
    frintm, "FRINTM (scalar): to an integer towards minus infinity", 0x1e25_4000;
    frintz, "FRINTZ (scalar): to an integer towards zero", 0x1e25_c000;
    frintx, "FRINTX (scalar): to an integer as FPCR says, inexact if it was none", 0x1e27_4000;
    frinti, "FRINTI (scalar): to an integer as FPCR says", 0x1e27_c000;
}

/// Methods on four registers: name, title, encoding for single precision.
macro_rules! four {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C7.2, ", $title, ", rounded once.")]
                pub fn $name(&mut self, p: Precision, d: VReg, n: VReg, m: VReg, a: VReg) {
                    self.put($base | p.full() | a.code() << 10 | vvv(d, n, m));
                }
            )*
        }
    };
}

four! {
    fmadd, "FMADD: `a` plus the product", 0x1f00_0000;
    fmsub, "FMSUB: `a` minus the product", 0x1f00_8000;
    fnmadd, "FNMADD: minus `a` minus the product", 0x1f20_0000;
    fnmsub, "FNMSUB: minus `a` plus the product", 0x1f20_8000;
}

/// Methods between a general register and a number: name, title, encoding.
macro_rules! from_integer {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C7.2, ", $title, " (scalar, integer), rounded as FPCR says.")]
                pub fn $name(&mut self, p: Precision, d: VReg, size: Size, n: impl Into<OrZero>) {
                    self.put($base | size.sf() | p.full() | n.into().code() << 5 | d.code());
                }
            )*
        }
    };
}

from_integer! {
    scvtf, "SCVTF", 0x1e22_0000;
    ucvtf, "UCVTF", 0x1e23_0000;
}

impl Asm {
    /// FCVTNS, FCVTPS, FCVTMS, FCVTZS (scalar): to a signed integer; what is too large saturates,
    /// and a NaN is zero.
    pub fn fcvts(&mut self, r: Rounding, size: Size, d: impl Into<OrZero>, p: Precision, n: VReg) {
        let how = size.sf() | p.full() | (r as u32) << 19;
        self.put(0x1e20_0000 | how | n.code() << 5 | d.into().code());
    }

    /// FCVTNU, FCVTPU, FCVTMU, FCVTZU (scalar): to an unsigned integer.
    pub fn fcvtu(&mut self, r: Rounding, size: Size, d: impl Into<OrZero>, p: Precision, n: VReg) {
        let how = size.sf() | p.full() | (r as u32) << 19;
        self.put(0x1e21_0000 | how | n.code() << 5 | d.into().code());
    }

    /// FCVT: from one format to another.
    ///
    /// # Panics
    /// If they are the same.
    pub fn fcvt(&mut self, to: Precision, d: VReg, from: Precision, n: VReg) {
        assert_ne!(to, from, "a conversion changes the format");
        self.put(0x1e22_4000 | from.bits() | (to as u32) << 15 | n.code() << 5 | d.code());
    }

    /// FMOV (general): the low bits of `n` as they are, 32 for [`Size::W`].
    pub fn fmov_to_general(&mut self, size: Size, d: impl Into<OrZero>, n: VReg) {
        let wide = size.sf() | (size as u32) << 22;
        self.put(0x1e26_0000 | wide | n.code() << 5 | d.into().code());
    }

    /// FMOV (general): `n` as it is; the rest of `d` becomes zero.
    pub fn fmov_from_general(&mut self, size: Size, d: VReg, n: impl Into<OrZero>) {
        let wide = size.sf() | (size as u32) << 22;
        self.put(0x1e27_0000 | wide | n.into().code() << 5 | d.code());
    }

    /// FCMP: NZCV is 0110 if equal, 1000 if less, 0010 if greater, 0011 if one is a NaN.
    pub fn fcmp(&mut self, p: Precision, n: VReg, m: VReg) {
        self.put(0x1e20_2000 | p.full() | vvv(VReg::new(0), n, m));
    }

    /// FCMP, with zero.
    pub fn fcmp_zero(&mut self, p: Precision, n: VReg) {
        self.put(0x1e20_2008 | p.full() | n.code() << 5);
    }

    /// FCMPE: FCMP for which a quiet NaN, too, is an invalid operation.
    pub fn fcmpe(&mut self, p: Precision, n: VReg, m: VReg) {
        self.put(0x1e20_2010 | p.full() | vvv(VReg::new(0), n, m));
    }

    /// FCSEL: `n` if `cond` holds, else `m`.
    pub fn fcsel(&mut self, p: Precision, d: VReg, n: VReg, m: VReg, cond: Cond) {
        self.put(0x1e20_0c00 | p.full() | cond.code() << 12 | vvv(d, n, m));
    }
}
