//! A table: scalar floating point.

use super::{
    super::{
        Cond,
        Precision::{D, H, S},
        Rounding,
        Size::{W, X},
        *,
    },
    Row, rows,
};

pub(super) const ROWS: &[Row] = rows! {
    0x1e22_0820 "fmul s0, s1, s2" => fmul(S, V0, V1, V2);
    0x1e62_1820 "fdiv d0, d1, d2" => fdiv(D, V0, V1, V2);
    0x1e7f_2bdd "fadd d29, d30, d31" => fadd(D, V29, V30, V31);
    0x1e22_3820 "fsub s0, s1, s2" => fsub(S, V0, V1, V2);
    0x1e62_4820 "fmax d0, d1, d2" => fmax(D, V0, V1, V2);
    0x1e22_5820 "fmin s0, s1, s2" => fmin(S, V0, V1, V2);
    0x1e62_6820 "fmaxnm d0, d1, d2" => fmaxnm(D, V0, V1, V2);
    0x1e22_7820 "fminnm s0, s1, s2" => fminnm(S, V0, V1, V2);
    0x1e62_8820 "fnmul d0, d1, d2" => fnmul(D, V0, V1, V2);
    0x1e60_4020 "fmov d0, d1" => fmov(D, V0, V1);
    0x1e20_c020 "fabs s0, s1" => fabs(S, V0, V1);
    0x1e61_4020 "fneg d0, d1" => fneg(D, V0, V1);
    0x1e61_c020 "fsqrt d0, d1" => fsqrt(D, V0, V1);
    0x1e24_4020 "frintn s0, s1" => frintn(S, V0, V1);
    0x1e64_c020 "frintp d0, d1" => frintp(D, V0, V1);
    0x1e25_4020 "frintm s0, s1" => frintm(S, V0, V1);
    0x1e65_c020 "frintz d0, d1" => frintz(D, V0, V1);
    0x1e27_4020 "frintx s0, s1" => frintx(S, V0, V1);
    0x1e67_c020 "frinti d0, d1" => frinti(D, V0, V1);
    0x1f42_0c20 "fmadd d0, d1, d2, d3" => fmadd(D, V0, V1, V2, V3);
    0x1f02_8c20 "fmsub s0, s1, s2, s3" => fmsub(S, V0, V1, V2, V3);
    0x1f62_0c20 "fnmadd d0, d1, d2, d3" => fnmadd(D, V0, V1, V2, V3);
    0x1f22_8c20 "fnmsub s0, s1, s2, s3" => fnmsub(S, V0, V1, V2, V3);
    0x9e62_0020 "scvtf d0, x1" => scvtf(D, V0, X, X1);
    0x1e22_0020 "scvtf s0, w1" => scvtf(S, V0, W, X1);
    0x1e63_0020 "ucvtf d0, w1" => ucvtf(D, V0, W, X1);
    0x9e60_0020 "fcvtns x0, d1" => fcvts(Rounding::Nearest, X, X0, D, V1);
    0x1e28_0020 "fcvtps w0, s1" => fcvts(Rounding::Up, W, X0, S, V1);
    0x9e30_0020 "fcvtms x0, s1" => fcvts(Rounding::Down, X, X0, S, V1);
    0x1e78_0020 "fcvtzs w0, d1" => fcvts(Rounding::Zero, W, X0, D, V1);
    0x9e61_0020 "fcvtnu x0, d1" => fcvtu(Rounding::Nearest, X, X0, D, V1);
    0x9e69_0020 "fcvtpu x0, d1" => fcvtu(Rounding::Up, X, X0, D, V1);
    0x1e71_0020 "fcvtmu w0, d1" => fcvtu(Rounding::Down, W, X0, D, V1);
    0x1e39_0020 "fcvtzu w0, s1" => fcvtu(Rounding::Zero, W, X0, S, V1);
    0x1e22_c020 "fcvt d0, s1" => fcvt(D, V0, S, V1);
    0x1e62_4020 "fcvt s0, d1" => fcvt(S, V0, D, V1);
    0x1e23_c020 "fcvt h0, s1" => fcvt(H, V0, S, V1);
    0x1ee2_4020 "fcvt s0, h1" => fcvt(S, V0, H, V1);
    0x1ee2_c020 "fcvt d0, h1" => fcvt(D, V0, H, V1);
    0x1e26_0020 "fmov w0, s1" => fmov_to_general(W, X0, V1);
    0x9e66_0020 "fmov x0, d1" => fmov_to_general(X, X0, V1);
    0x1e27_03e0 "fmov s0, wzr" => fmov_from_general(W, V0, ZR);
    0x9e67_0020 "fmov d0, x1" => fmov_from_general(X, V0, X1);
    0x1e62_2020 "fcmp d1, d2" => fcmp(D, V1, V2);
    0x1e20_2028 "fcmp s1, #0.0" => fcmp_zero(S, V1);
    0x1e22_2030 "fcmpe s1, s2" => fcmpe(S, V1, V2);
    0x1e62_4c20 "fcsel d0, d1, d2, mi" => fcsel(D, V0, V1, V2, Cond::Mi);
};
