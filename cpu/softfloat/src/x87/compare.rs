//! Comparison.

use super::Operand;
use crate::{Env, Relation};

/// Compares; only a signalling NaN or an unsupported encoding is invalid (FUCOM, FUCOMI).
pub fn compare(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> Relation {
    let _ = (env, a.into(), b.into());
    todo!()
}

/// Compares; any NaN is invalid (FCOM, FCOMI, FICOM, FTST).
pub fn compare_signalling(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> Relation {
    let _ = (env, a.into(), b.into());
    todo!()
}
