//! Conversions between formats and to and from integers.

use super::Float;
use crate::{Env, Rounding};

/// Rounds to an integral value (ROUNDSS, ROUNDSD). `suppress_inexact` is bit 3 of the immediate.
/// Pass `env.rounding` where the immediate says so.
pub fn round_to_integral<F: Float>(
    env: &mut Env,
    a: F,
    rounding: Rounding,
    suppress_inexact: bool,
) -> F {
    let _ = (env, a, rounding, suppress_inexact);
    todo!()
}

/// To a 32-bit integer; `i32::MIN` (the integer indefinite) and IE if it does not fit. Pass
/// `env.rounding` for CVTSS2SI, [`Rounding::TowardZero`] for CVTTSS2SI.
pub fn to_i32<F: Float>(env: &mut Env, a: F, rounding: Rounding) -> i32 {
    let _ = (env, a, rounding);
    todo!()
}

/// To a 64-bit integer; `i64::MIN` (the integer indefinite) and IE if it does not fit. Pass
/// `env.rounding` for CVTSD2SI, [`Rounding::TowardZero`] for CVTTSD2SI.
pub fn to_i64<F: Float>(env: &mut Env, a: F, rounding: Rounding) -> i64 {
    let _ = (env, a, rounding);
    todo!()
}

/// From a 32-bit integer (CVTSI2SS, CVTDQ2PS, CVTSI2SD).
pub fn from_i32<F: Float>(env: &mut Env, value: i32) -> F {
    from_i64(env, i64::from(value))
}

/// From a 64-bit integer (CVTSI2SS, CVTSI2SD).
pub fn from_i64<F: Float>(env: &mut Env, value: i64) -> F {
    let _ = (env, value);
    todo!()
}

/// f32 to f64 (CVTSS2SD).
pub fn f32_to_f64(env: &mut Env, a: u32) -> u64 {
    let _ = (env, a);
    todo!()
}

/// f64 to f32 (CVTSD2SS).
pub fn f64_to_f32(env: &mut Env, a: u64) -> u32 {
    let _ = (env, a);
    todo!()
}

/// binary16 to f32 (VCVTPH2PS): DAZ is ignored and denormals raise nothing.
pub fn f16_to_f32(env: &mut Env, a: u16) -> u32 {
    let _ = (env, a);
    todo!()
}

/// f32 to binary16 (VCVTPS2PH): FTZ is ignored. Pass `env.rounding` where the immediate says so.
pub fn f32_to_f16(env: &mut Env, a: u32, rounding: Rounding) -> u16 {
    let _ = (env, a, rounding);
    todo!()
}
