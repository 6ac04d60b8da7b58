//! Conversions of F80 to and from the other formats, integers and packed decimal.

use super::F80;
use crate::{Env, Rounding};

/// FLD m32fp: raises DE for a denormal and IE for a signalling NaN, which becomes quiet.
pub fn from_f32(env: &mut Env, bits: u32) -> F80 {
    let _ = (env, bits);
    todo!()
}

/// FLD m64fp: raises DE for a denormal and IE for a signalling NaN, which becomes quiet.
pub fn from_f64(env: &mut Env, bits: u64) -> F80 {
    let _ = (env, bits);
    todo!()
}

/// FST m32fp. With an unmasked IE, OE or UE the instruction stores nothing.
pub fn to_f32(env: &mut Env, a: F80) -> u32 {
    let _ = (env, a);
    todo!()
}

/// FST m64fp. With an unmasked IE, OE or UE the instruction stores nothing.
pub fn to_f64(env: &mut Env, a: F80) -> u64 {
    let _ = (env, a);
    todo!()
}

/// FILD m16int: exact.
pub fn from_i16(value: i16) -> F80 {
    from_i64(i64::from(value))
}

/// FILD m32int: exact.
pub fn from_i32(value: i32) -> F80 {
    from_i64(i64::from(value))
}

/// FILD m64int: exact.
pub fn from_i64(value: i64) -> F80 {
    todo!("{value}")
}

/// FIST m16int with `env.rounding`, FISTTP with [`Rounding::TowardZero`]; `i16::MIN` and IE if the
/// value does not fit.
pub fn to_i16(env: &mut Env, a: F80, rounding: Rounding) -> i16 {
    let _ = (env, a, rounding);
    todo!()
}

/// FIST m32int with `env.rounding`, FISTTP with [`Rounding::TowardZero`]; `i32::MIN` and IE if the
/// value does not fit.
pub fn to_i32(env: &mut Env, a: F80, rounding: Rounding) -> i32 {
    let _ = (env, a, rounding);
    todo!()
}

/// FISTP m64int with `env.rounding`, FISTTP with [`Rounding::TowardZero`]; `i64::MIN` and IE if the
/// value does not fit.
pub fn to_i64(env: &mut Env, a: F80, rounding: Rounding) -> i64 {
    let _ = (env, a, rounding);
    todo!()
}

/// FBLD: from 18 packed decimal digits and a sign byte; exact. Digits above nine count as they
/// stand (the SDM leaves them undefined).
pub fn from_bcd(bytes: [u8; 10]) -> F80 {
    todo!("{bytes:?}")
}

/// FBSTP: to 18 packed decimal digits, rounded by `env.rounding`; the packed decimal indefinite
/// and IE if it does not fit.
pub fn to_bcd(env: &mut Env, a: F80) -> [u8; 10] {
    let _ = (env, a);
    todo!()
}
