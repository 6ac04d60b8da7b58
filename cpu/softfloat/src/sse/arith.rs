//! Add, subtract, multiply, divide, square root and fused multiply-add.

use super::Float;
use crate::Env;

/// a + b (ADDSS, ADDSD).
pub fn add<F: Float>(env: &mut Env, a: F, b: F) -> F {
    let _ = (env, b);
    let _ = a;
    todo!()
}

/// a - b (SUBSS, SUBSD).
pub fn sub<F: Float>(env: &mut Env, a: F, b: F) -> F {
    let _ = (env, a, b);
    todo!()
}

/// a * b (MULSS, MULSD).
pub fn mul<F: Float>(env: &mut Env, a: F, b: F) -> F {
    let _ = (env, a, b);
    todo!()
}

/// a / b (DIVSS, DIVSD).
pub fn div<F: Float>(env: &mut Env, a: F, b: F) -> F {
    let _ = (env, a, b);
    todo!()
}

/// The square root (SQRTSS, SQRTSD).
pub fn sqrt<F: Float>(env: &mut Env, a: F) -> F {
    let _ = (env, a);
    todo!()
}

/// a * b + c with one rounding (VFMADD). Negate `a` or `c` by their sign bit for the other forms;
/// a NaN among the operands is propagated in the order a, b, c (VFMADD213's order: pass the
/// operands in the order of the instruction's operands for other forms).
pub fn mul_add<F: Float>(env: &mut Env, a: F, b: F, c: F) -> F {
    let _ = (env, a, b, c);
    todo!()
}
