//! FSCALE and FXTRACT.

use super::F80;
use crate::Env;

/// FSCALE: a (ST0) times two to the power of b (ST1) truncated to an integer.
pub fn scale(env: &mut Env, a: F80, b: F80) -> F80 {
    let _ = (env, a, b);
    todo!()
}

/// FXTRACT: the exponent (which replaces ST0) and the significand (which is pushed).
pub fn extract(env: &mut Env, a: F80) -> (F80, F80) {
    let _ = (env, a);
    todo!()
}
