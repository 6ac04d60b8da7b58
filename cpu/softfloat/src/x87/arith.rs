//! Add, subtract, multiply, divide, square root and round to integer.

use super::{F80, Operand};
use crate::Env;

/// a + b (FADD, FIADD).
pub fn add(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> F80 {
    let _ = (env, a.into(), b.into());
    todo!()
}

/// a - b (FSUB; FSUBR with the operands exchanged).
pub fn sub(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> F80 {
    let _ = (env, a.into(), b.into());
    todo!()
}

/// a * b (FMUL).
pub fn mul(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> F80 {
    let _ = (env, a.into(), b.into());
    todo!()
}

/// a / b (FDIV; FDIVR with the operands exchanged).
pub fn div(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> F80 {
    let _ = (env, a.into(), b.into());
    todo!()
}

/// The square root (FSQRT).
pub fn sqrt(env: &mut Env, a: F80) -> F80 {
    let _ = (env, a);
    todo!()
}

/// Rounds to an integral value by `env.rounding` (FRNDINT).
pub fn round_to_integral(env: &mut Env, a: F80) -> F80 {
    let _ = (env, a);
    todo!()
}
