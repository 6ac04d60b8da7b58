//! Comparison.
//!
//! The hardware sets the condition codes even where an unmasked IE or DE follows (it only does not
//! pop), so the relation counts in any case.
//!
//! Source: Intel SDM volume 2, FCOM and FUCOM.

use super::Operand;
use super::f80::{Kind, denormal_operand};
use crate::{Env, Flags, Relation};

/// Compares; only a signalling NaN or an unsupported encoding is invalid (FUCOM, FUCOMI).
pub fn compare(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> Relation {
    relation(env, a.into(), b.into(), false)
}

/// Compares; any NaN is invalid (FCOM, FCOMI, FICOM, FTST).
pub fn compare_signalling(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> Relation {
    relation(env, a.into(), b.into(), true)
}

fn relation(env: &mut Env, a: Operand, b: Operand, signalling: bool) -> Relation {
    env.rounded_up = false;
    let operands = [a, b];
    if operands.iter().any(|a| matches!(a.kind, Kind::Nan | Kind::Unsupported)) {
        let invalid = |a: &Operand| a.kind == Kind::Unsupported || a.is_signalling();
        if signalling || operands.iter().any(invalid) {
            env.raise(Flags::IE);
        }
        return Relation::Unordered;
    }
    denormal_operand(env, operands);
    if a.kind == Kind::Zero && b.kind == Kind::Zero {
        return Relation::Equal;
    }
    match key(a).cmp(&key(b)) {
        core::cmp::Ordering::Less => Relation::Less,
        core::cmp::Ordering::Equal => Relation::Equal,
        core::cmp::Ordering::Greater => Relation::Greater,
    }
}

/// An integer that orders numbers as their values.
fn key(a: Operand) -> i128 {
    let magnitude = match a.kind {
        Kind::Zero => 0,
        // Exponents begin at -63.
        _ => i128::from(a.exp + 64) << 64 | i128::from(a.sig),
    };
    if a.negative { -magnitude } else { magnitude }
}
