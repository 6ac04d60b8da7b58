//! Comparison, minimum and maximum.

use super::Float;
use super::float::{daz, denormal_operand, is_nan, is_negative, is_signalling, is_zero};
use crate::{Env, Flags, Relation};

/// Compares; only a signalling NaN is invalid (UCOMISS, and CMPSS with a quiet predicate).
#[inline]
pub fn compare<F: Float>(env: &mut Env, a: F, b: F) -> Relation {
    if is_nan(a) || is_nan(b) {
        if is_signalling(a) || is_signalling(b) {
            env.raise(Flags::IE);
        }
        return Relation::Unordered;
    }
    let (a, b) = (daz(env, a), daz(env, b));
    denormal_operand(env, [a, b]);
    order(a, b)
}

/// Compares; any NaN is invalid (COMISS, and CMPSS with a signalling predicate).
#[inline]
pub fn compare_signalling<F: Float>(env: &mut Env, a: F, b: F) -> Relation {
    if is_nan(a) || is_nan(b) {
        env.raise(Flags::IE);
        return Relation::Unordered;
    }
    compare(env, a, b)
}

/// The order of two numbers.
#[inline]
fn order<F: Float>(a: F, b: F) -> Relation {
    if a == b || is_zero(a) && is_zero(b) {
        return Relation::Equal;
    }
    let less = match (is_negative(a), is_negative(b)) {
        (false, false) => a.to_bits() < b.to_bits(),
        (true, true) => a.to_bits() > b.to_bits(),
        (negative, _) => negative,
    };
    if less { Relation::Less } else { Relation::Greater }
}

/// MINSS: the lesser; the second operand, as it is, if either is a NaN or both are zeros.
#[inline]
pub fn min<F: Float>(env: &mut Env, a: F, b: F) -> F {
    select(env, a, b, Relation::Less)
}

/// MAXSS: the greater; the second operand, as it is, if either is a NaN or both are zeros.
#[inline]
pub fn max<F: Float>(env: &mut Env, a: F, b: F) -> F {
    select(env, a, b, Relation::Greater)
}

/// The first operand if it stands in `relation` to the second, else the second.
#[inline]
fn select<F: Float>(env: &mut Env, a: F, b: F, relation: Relation) -> F {
    let found = compare_signalling(env, a, b);
    if found == relation { daz(env, a) } else { daz(env, b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimum_and_maximum_favour_the_second_operand() {
        let (zero, minus_zero, one, quiet) = (0u32, 1u32 << 31, 0x3f80_0000u32, 0x7fc0_0000u32);
        let mut env = Env::default();
        assert_eq!(min(&mut env, zero, minus_zero), minus_zero);
        assert_eq!(max(&mut env, minus_zero, zero), zero);
        assert_eq!(max(&mut env, zero, minus_zero), minus_zero);
        assert_eq!(env.flags, Flags::NONE);
        assert_eq!(min(&mut env, quiet, one), one);
        assert_eq!(min(&mut env, one, quiet), quiet);
        assert_eq!(env.flags, Flags::IE);
        // Even a signalling NaN stays as it is.
        assert_eq!(max(&mut env, one, 0x7f80_0001), 0x7f80_0001);
    }

    #[test]
    fn only_the_signalling_comparison_minds_quiet_nans() {
        let mut env = Env::default();
        assert_eq!(compare(&mut env, f64::NAN.to_bits(), 0), Relation::Unordered);
        assert_eq!(env.flags, Flags::NONE);
        assert_eq!(compare_signalling(&mut env, f64::NAN.to_bits(), 0), Relation::Unordered);
        assert_eq!(env.flags, Flags::IE);
    }
}
