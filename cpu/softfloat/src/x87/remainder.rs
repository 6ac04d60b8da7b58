//! The partial remainders FPREM and FPREM1.

use super::F80;
use crate::Env;

/// What a partial remainder delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// The new ST(0).
    pub value: F80,
    /// The three low bits of the quotient's magnitude (bit 2 goes to C0, bit 1 to C3, bit 0 to
    /// C1); 0 if the reduction is incomplete.
    pub quotient: u8,
    /// C2: the reduction is incomplete, the exponent difference having been too large.
    pub incomplete: bool,
}

/// FPREM: the remainder of a / b with the quotient truncated.
pub fn remainder(env: &mut Env, a: F80, b: F80) -> Remainder {
    let _ = (env, a, b);
    todo!()
}

/// FPREM1: the IEEE remainder of a / b, with the quotient rounded to the nearest.
pub fn remainder_nearest(env: &mut Env, a: F80, b: F80) -> Remainder {
    let _ = (env, a, b);
    todo!()
}
