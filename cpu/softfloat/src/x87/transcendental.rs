//! The transcendental instructions.

use super::F80;
use crate::Env;

/// F2XM1: 2^x - 1 for x in -1 to 1.
pub fn exp2_minus_1(env: &mut Env, x: F80) -> F80 {
    let _ = (env, x);
    todo!()
}

/// FYL2X: y * log2(x), with x = ST(0) and y = ST(1).
pub fn log2(env: &mut Env, x: F80, y: F80) -> F80 {
    let _ = (env, x, y);
    todo!()
}

/// FYL2XP1: y * log2(x + 1), with x = ST(0) and y = ST(1).
pub fn log2_plus_1(env: &mut Env, x: F80, y: F80) -> F80 {
    let _ = (env, x, y);
    todo!()
}

/// FPATAN: the angle of the point (x, y), with y = ST(1) and x = ST(0).
pub fn arctangent(env: &mut Env, y: F80, x: F80) -> F80 {
    let _ = (env, y, x);
    todo!()
}

/// FSIN. `None` if |x| >= 2^63: C2 is set and ST(0) stays.
pub fn sine(env: &mut Env, x: F80) -> Option<F80> {
    let _ = (env, x);
    todo!()
}

/// FCOS. `None` if |x| >= 2^63: C2 is set and ST(0) stays.
pub fn cosine(env: &mut Env, x: F80) -> Option<F80> {
    let _ = (env, x);
    todo!()
}

/// FSINCOS: the sine, which replaces ST(0), and the cosine, which is pushed. `None` if
/// |x| >= 2^63: C2 is set and nothing is pushed.
pub fn sine_cosine(env: &mut Env, x: F80) -> Option<(F80, F80)> {
    let _ = (env, x);
    todo!()
}

/// FPTAN: the tangent, which replaces ST(0), and what is pushed: 1.0, or the NaN again. `None` if
/// |x| >= 2^63: C2 is set and nothing is pushed.
pub fn tangent(env: &mut Env, x: F80) -> Option<(F80, F80)> {
    let _ = (env, x);
    todo!()
}
