//! F2XM1.
//!
//! Source: Intel SDM volume 2, F2XM1. What it leaves undefined, operands beyond -1 and 1, is as
//! Intel processors have it.

use super::f80::{BIAS, Kind, denormal_operand, special};
use super::working::{Working, alternating_series, series};
use super::{F80, Operand};
use crate::{Env, Flags};

/// The natural logarithm of 2.
const LN_2: Working = Working::new(-1, 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af);

/// 1/(k+1)! as a fraction of 2^127.
const COEFFICIENTS: [u128; 33] = {
    let mut c = [1 << 127; 33];
    let mut k = 1;
    while k < 33 {
        c[k] = c[k - 1] / (k as u128 + 1);
        k += 1;
    }
    c
};

/// F2XM1: 2^x - 1 for x in -1 to 1. Beyond that the operand stays, as if inexact.
pub fn exp2_minus_1(env: &mut Env, x: F80) -> F80 {
    env.rounded_up = false;
    let x = Operand::from(x);
    if let Some(result) = special(env, [x]) {
        return result;
    }
    if x.kind == Kind::Infinity {
        return if x.negative { F80::ONE.negate() } else { F80::INFINITY };
    }
    if denormal_operand(env, [x]) || x.kind == Kind::Zero {
        return x.pack();
    }
    if x.exp >= BIAS {
        env.raise(Flags::PE);
        let minus_one = x.negative && x.exp == BIAS && x.sig == 1 << 63;
        return if minus_one { F80::with_sign(true, BIAS - 1, 1 << 63) } else { x.pack() };
    }
    // e^t - 1 = t * (1 + t/2! + t^2/3! + ...)
    let t = Working::from_operand(x).mul(LN_2);
    let sum = match t.negative {
        true => alternating_series(&COEFFICIENTS, t.fraction()),
        false => series(&COEFFICIENTS, t.fraction()),
    };
    t.mul(Working::from_integer(false, -127, sum)).deliver(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_range() {
        let mut env = Env::default();
        let half = F80 { sign_exp: 0x3ffe, significand: 1 << 63 };
        assert_eq!(exp2_minus_1(&mut env, F80::ONE), F80::ONE);
        assert_eq!(exp2_minus_1(&mut env, F80::ONE.negate()), half.negate());
        let sqrt_2_minus_1 = F80 { sign_exp: 0x3ffd, significand: 0xd413_cccf_e779_9211 };
        assert_eq!(exp2_minus_1(&mut env, half), sqrt_2_minus_1);
        assert_eq!(env.flags, Flags::PE);
    }
}
