//! The seven constants of the x87.

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

/// The constant, rounded from its 66-bit internal form; raises nothing.
pub fn constant(constant: Constant, rounding: Rounding) -> F80 {
    todo!("{constant:?} {rounding:?}")
}
