//! FPATAN.
//!
//! Source: Intel SDM volume 2, FPATAN.

use super::f80::{Kind, denormal_operand, special};
use super::working::{Working, alternating_series};
use super::{F80, Operand};
use crate::Env;

/// Pi.
const PI: Working = Working::new(1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1);

/// Below this exponent of the quotient y/x the angle is the quotient, but inexact.
const TINY: i32 = -40;

/// 1/(2k+1) as a fraction of 2^128.
const COEFFICIENTS: [u128; 12] = {
    let mut c = [u128::MAX; 12];
    let mut k = 1;
    while k < 12 {
        c[k] /= 2 * k as u128 + 1;
        k += 1;
    }
    c
};

/// The arctangents of k/32, as fractions of 2^128.
const ARCTANGENTS: [u128; 33] = [
    0x0000_0000_0000_0000_0000_0000_0000_0000,
    0x07ff_556e_ea5d_892a_13bc_ebbb_6ed4_6310,
    0x0ffa_addb_967e_f4e3_6cb2_792d_c0e2_e0d5,
    0x17ee_1826_02f1_0e8c_126a_cfcf_099f_06ce,
    0x1fd5_ba9a_ac2f_6dc6_5912_f313_e7d1_11de,
    0x27ad_ddd1_8cc4_d8b0_d1d8_6749_40d8_3fa1,
    0x2f72_f697_9cb6_044d_1ec2_d3e2_0727_1d21,
    0x3721_aea5_24c1_4408_bd88_6970_72d5_4bc0,
    0x3eb6_ebf2_5901_bac5_5b71_e7bd_7de8_85f9,
    0x462f_d68c_2fc5_e098_6523_a458_dfc4_14c6,
    0x4d89_dcdc_1faf_2f34_e2d5_da4c_693d_7994,
    0x54c2_b665_4735_276d_4cdb_fbbd_fbec_f460,
    0x5bd8_6507_937b_c239_c551_9091_6e7f_2241,
    0x62c9_34e5_286c_95b6_d0ba_3748_fa85_146e,
    0x6993_bb0f_308f_f2db_213e_4af4_800f_389b,
    0x7036_d325_3b27_be33_e318_f6cb_3cc6_5c01,
    0x76b1_9c15_86ed_3da2_b7f2_22f6_5e1d_4681,
    0x7d03_742d_5050_5f2e_3369_1e3e_aee4_7661,
    0x832b_f4a6_d986_7e2a_4b6a_09cb_61a5_15c0,
    0x892a_ecdf_de95_47b5_0944_78fc_472b_4afb,
    0x8f00_5d5e_f7f5_9f9b_5c83_5e16_65c4_3747,
    0x94ac_72c9_8471_86f6_18c4_f393_f78a_32f8,
    0x9a2f_80e6_71bd_da20_4226_f8e2_204f_f3bc,
    0x9f89_fdc4_f4b7_a1ec_f8b4_9264_4f07_01df,
    0xa4bc_7d19_34f7_0924_19a8_7f2a_457d_ac9e,
    0xa9c7_abdc_4830_f5c8_916a_84b5_be79_33f5,
    0xaeac_4c38_b4d8_c080_1472_5e2f_3e52_070a,
    0xb36b_31c9_1f04_3691_5901_4174_4462_f939,
    0xb805_3e2b_c231_9e73_cb2d_a552_10a4_443d,
    0xbc7b_5dea_e98a_f280_d411_3006_e80f_b290,
    0xc0ce_85b8_ac52_6640_89dd_62c4_6e92_fa24,
    0xc4ff_affa_bf8f_bd54_8cb4_3d10_bc9e_0221,
    0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1,
];

/// The arctangent of at most 1/64.
fn small_arctangent(u: Working) -> Working {
    let sum = alternating_series(&COEFFICIENTS, u.mul(u).fraction());
    u.mul(Working::from_integer(false, -128, sum))
}

/// The arctangent of lesser/greater, two magnitudes, and whether it is just the quotient.
fn arctangent_of_ratio(lesser: Operand, greater: Operand) -> (Working, bool) {
    let magnitude = |a| Working { negative: false, ..Working::from_operand(a) };
    let difference = greater.exp - lesser.exp;
    if difference > 6 {
        let quotient = magnitude(lesser).div(magnitude(greater));
        let tiny = quotient.exp < TINY;
        return (if tiny { quotient } else { small_arctangent(quotient) }, tiny);
    }
    // With c = k/32 near the quotient l/g: atan(l/g) = atan(c) + atan((l - c*g) / (g + c*l)).
    let g = u128::from(greater.sig) << 6;
    let l = u128::from(lesser.sig) << (6 - difference);
    let k = (64 * l / g).div_ceil(2);
    let numerator = 32 * l as i128 - (k * g) as i128;
    let arctangent = ARCTANGENTS[(k as usize).min(32)];
    let table = (k != 0).then(|| Working::from_integer(false, -128, arctangent));
    let small = (numerator != 0).then(|| {
        let numerator = Working::from_integer(numerator < 0, 0, numerator.unsigned_abs());
        small_arctangent(numerator.div(Working::from_integer(false, 0, 32 * g + k * l)))
    });
    let sum = match (table, small) {
        (Some(table), Some(small)) => table.add(small),
        (table, small) => table.or(small),
    };
    // The sum is never zero: the small one is at most a quarter of the other.
    (sum.unwrap_or(PI), false)
}

/// A multiple of pi by quarters, with a sign.
fn quarters_of_pi(env: &mut Env, quarters: u32, negative: bool) -> F80 {
    let eighth = Working { exp: PI.exp - 2, ..PI };
    let angle = eighth.mul(Working::from_integer(negative, 0, quarters.into()));
    angle.deliver(env)
}

/// FPATAN: the angle of the point (x, y), with y = ST(1) and x = ST(0).
pub fn arctangent(env: &mut Env, y: F80, x: F80) -> F80 {
    env.rounded_up = false;
    let (x, y) = (Operand::from(x), Operand::from(y));
    if let Some(result) = special(env, [x, y]) {
        return result;
    }
    if denormal_operand(env, [x, y]) {
        return x.pack();
    }
    let quarters = match (y.kind, x.kind) {
        (Kind::Infinity, Kind::Infinity) => Some(if x.negative { 3 } else { 1 }),
        (Kind::Infinity, _) => Some(2),
        (Kind::Zero, _) | (_, Kind::Infinity) => Some(if x.negative { 4 } else { 0 }),
        (_, Kind::Zero) => Some(2),
        _ => None,
    };
    match quarters {
        Some(0) => F80::zero(y.negative),
        Some(quarters) => quarters_of_pi(env, quarters, y.negative),
        None => arctangent_finite(env, y, x),
    }
}

fn arctangent_finite(env: &mut Env, y: Operand, x: Operand) -> F80 {
    let steep = (y.exp, y.sig) > (x.exp, x.sig);
    let (angle, tiny) = if steep { arctangent_of_ratio(x, y) } else { arctangent_of_ratio(y, x) };
    let half = Working { exp: PI.exp - 1, ..PI };
    let subtracted = Working { negative: true, ..angle };
    let angle = match (steep, x.negative) {
        (false, false) => {
            let angle = Working { negative: y.negative, ..angle };
            return if tiny { angle.deliver_as_it_is(env) } else { angle.deliver(env) };
        }
        (false, true) => PI.add(subtracted),
        (true, false) => half.add(subtracted),
        (true, true) => half.add(angle),
    };
    // At least a quarter of pi remains.
    Working { negative: y.negative, ..angle.unwrap_or(PI) }.deliver(env)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x87::{Constant, constant, from_i32};
    use crate::{Flags, Rounding};

    #[test]
    fn the_eight_directions() {
        let pi = constant(Constant::Pi, Rounding::NearestEven);
        let quarters = |n: u16| F80 { sign_exp: pi.sign_exp - n, ..pi };
        let three_quarters = F80 { sign_exp: 0x4000, significand: 0x96cb_e3f9_990e_91a8 };
        for (y, x, angle) in [
            (0, 1, F80::ZERO),
            (1, 1, quarters(2)),
            (1, 0, quarters(1)),
            (1, -1, three_quarters),
            (0, -1, pi),
            (-1, -1, three_quarters.negate()),
            (-1, 0, quarters(1).negate()),
            (-1, 1, quarters(2).negate()),
        ] {
            let mut env = Env::default();
            assert_eq!(arctangent(&mut env, from_i32(y), from_i32(x)), angle, "{y} {x}");
            assert_eq!(env.flags.contains(Flags::PE), angle != F80::ZERO);
        }
    }
}
