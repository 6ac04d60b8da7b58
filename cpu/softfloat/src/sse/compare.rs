//! Comparison, minimum and maximum.

use super::Float;
use crate::{Env, Relation};

/// Compares; only a signalling NaN is invalid (UCOMISS, and CMPSS with a quiet predicate).
pub fn compare<F: Float>(env: &mut Env, a: F, b: F) -> Relation {
    let _ = (env, a, b);
    todo!()
}

/// Compares; any NaN is invalid (COMISS, and CMPSS with a signalling predicate).
pub fn compare_signalling<F: Float>(env: &mut Env, a: F, b: F) -> Relation {
    let _ = (env, a, b);
    todo!()
}

/// MINSS: the second operand if either is a NaN or both are zeros.
pub fn min<F: Float>(env: &mut Env, a: F, b: F) -> F {
    let _ = (env, a, b);
    todo!()
}

/// MAXSS: the second operand if either is a NaN or both are zeros.
pub fn max<F: Float>(env: &mut Env, a: F, b: F) -> F {
    let _ = (env, a, b);
    todo!()
}
