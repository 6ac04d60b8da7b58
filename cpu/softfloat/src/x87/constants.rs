//! The seven constants of the x87.
//!
//! Source: Intel SDM volume 2, FLD1 and its like; volume 1, section 8.3.8.

use super::F80;
use crate::Rounding;

/// A constant that an instruction loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Constant {
    /// 1.0 (FLD1).
    One,
    /// The base-2 logarithm of 10 (FLDL2T).
    Log2Of10,
    /// The base-2 logarithm of e (FLDL2E).
    Log2OfE,
    /// Pi (FLDPI).
    Pi,
    /// The decimal logarithm of 2 (FLDLG2).
    Log10Of2,
    /// The natural logarithm of 2 (FLDLN2).
    LnOf2,
    /// +0.0 (FLDZ).
    Zero,
}

/// The constant, rounded from its internal form; raises nothing, and leaves C1 as 0.
pub fn constant(constant: Constant, rounding: Rounding) -> F80 {
    // The truncated significand, and whether the nearest is the next one.
    let (sign_exp, significand, nearest_is_above) = match constant {
        Constant::One => return F80::ONE,
        Constant::Zero => return F80::ZERO,
        Constant::Log2Of10 => (0x4000, 0xd49a_784b_cd1b_8afe, false),
        Constant::Log2OfE => (0x3fff, 0xb8aa_3b29_5c17_f0bb, true),
        Constant::Pi => (0x4000, 0xc90f_daa2_2168_c234, true),
        Constant::Log10Of2 => (0x3ffd, 0x9a20_9a84_fbcf_f798, true),
        Constant::LnOf2 => (0x3ffe, 0xb172_17f7_d1cf_79ab, true),
    };
    let up = match rounding {
        Rounding::NearestEven => nearest_is_above,
        Rounding::Up => true,
        Rounding::Down | Rounding::TowardZero => false,
    };
    F80 { sign_exp, significand: significand + u64::from(up) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rounding_up_and_nearest_differ_from_truncation() {
        let pi = |rounding| constant(Constant::Pi, rounding).significand;
        assert_eq!(pi(Rounding::NearestEven), 0xc90f_daa2_2168_c235);
        assert_eq!(pi(Rounding::TowardZero), 0xc90f_daa2_2168_c234);
        let log2_of_10 = |rounding| constant(Constant::Log2Of10, rounding).significand;
        assert_eq!(log2_of_10(Rounding::NearestEven), 0xd49a_784b_cd1b_8afe);
        assert_eq!(log2_of_10(Rounding::Up), 0xd49a_784b_cd1b_8aff);
    }
}
