//! Conversions between integers and floating-point formats.
//!
//! Source: SDM vol. 2A, CVTDQ2PD to CVTTSS2SI.

use trine_softfloat::{Env, Rounding, sse};

use super::{
    Bank, Mm, Xmm, enter_mmx, enter_sse,
    float::{Real, environment, set_low, settle},
    lanes::{build, lane},
    load_word, scalar_source,
};
use crate::{Core, Insn, Raised, Width};

/// CVTSI2SS, CVTSI2SD; `WIDE` is from 64 bits.
pub(crate) fn from_general<F: Real, const WIDE: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    enter_sse(core)?;
    let w = if WIDE { Width::W64 } else { Width::W32 };
    let value = if i.is_memory(1) { load_word(core, i, w)? } else { core.get(w, i.ops[1]) };
    let mut env = environment(core);
    let result: F = sse::from_i64(&mut env, w.sign_extend(value) as i64);
    settle(core, &env)?;
    set_low(core, i.ops[0], result);
    Ok(())
}

/// CVTSS2SI, CVTSD2SI; `TRUNCATE`: CVTTSS2SI, CVTTSD2SI; `WIDE` is to 64 bits.
pub(crate) fn to_general<F: Real, const WIDE: bool, const TRUNCATE: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    enter_sse(core)?;
    let value = F::of(scalar_source(core, i, 1, F::W)?);
    let mut env = environment(core);
    let rounding = rounding(&env, TRUNCATE);
    let result = if WIDE {
        sse::to_i64(&mut env, value, rounding) as u64
    } else {
        u64::from(sse::to_i32(&mut env, value, rounding) as u32)
    };
    settle(core, &env)?;
    core.set(Width::W64, i.ops[0], result);
    Ok(())
}

fn rounding(env: &Env, truncate: bool) -> Rounding {
    if truncate { Rounding::TowardZero } else { env.rounding }
}

/// CVTSS2SD.
pub(crate) fn cvtss2sd(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter_sse(core)?;
    let value = scalar_source(core, i, 1, Width::W32)? as u32;
    let mut env = environment(core);
    let result = sse::f32_to_f64(&mut env, value);
    settle(core, &env)?;
    set_low(core, i.ops[0], result);
    Ok(())
}

/// CVTSD2SS.
pub(crate) fn cvtsd2ss(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter_sse(core)?;
    let value = scalar_source(core, i, 1, Width::W64)?;
    let mut env = environment(core);
    let result = sse::f64_to_f32(&mut env, value);
    settle(core, &env)?;
    set_low(core, i.ops[0], result);
    Ok(())
}

// Lane functions.

fn single(v: &[u64; 2], n: usize) -> u32 {
    lane(v, n)
}

/// CVTDQ2PS, CVTPI2PS.
pub(crate) fn dq2ps(env: &mut Env, v: [u64; 2]) -> [u64; 2] {
    build(|n| sse::from_i32::<u32>(env, lane(&v, n)))
}

/// CVTDQ2PD, CVTPI2PD.
pub(crate) fn dq2pd(env: &mut Env, v: [u64; 2]) -> [u64; 2] {
    build(|n| sse::from_i32::<u64>(env, lane(&v, n)))
}

/// CVTPS2PD.
pub(crate) fn ps2pd(env: &mut Env, v: [u64; 2]) -> [u64; 2] {
    build(|n| sse::f32_to_f64(env, single(&v, n)))
}

/// CVTPD2PS.
pub(crate) fn pd2ps(env: &mut Env, v: [u64; 2]) -> [u64; 2] {
    build(|n| if n < 2 { sse::f64_to_f32(env, v[n]) } else { 0 })
}

/// CVTPS2DQ, CVTTPS2DQ.
pub(crate) fn ps2dq<const TRUNCATE: bool>(env: &mut Env, v: [u64; 2]) -> [u64; 2] {
    let rounding = rounding(env, TRUNCATE);
    build(|n| sse::to_i32(env, single(&v, n), rounding))
}

/// CVTPD2DQ, CVTTPD2DQ.
pub(crate) fn pd2dq<const TRUNCATE: bool>(env: &mut Env, v: [u64; 2]) -> [u64; 2] {
    let rounding = rounding(env, TRUNCATE);
    build(|n| if n < 2 { sse::to_i32(env, v[n], rounding) } else { 0 })
}

/// `dst = f(src)` of 128 bits.
#[inline(always)]
pub(crate) fn packed(
    core: &mut Core,
    i: &Insn,
    f: impl Fn(&mut Env, [u64; 2]) -> [u64; 2],
) -> Result<(), Raised> {
    enter_sse(core)?;
    let b = Xmm::source(core, i, 1)?;
    let mut env = environment(core);
    let result = f(&mut env, b);
    settle(core, &env)?;
    Xmm::set(core, i.ops[0], result);
    Ok(())
}

/// `dst = f(src)` where the source is the low 64 bits: CVTPS2PD, CVTDQ2PD.
#[inline(always)]
pub(crate) fn widened(
    core: &mut Core,
    i: &Insn,
    f: impl Fn(&mut Env, [u64; 2]) -> [u64; 2],
) -> Result<(), Raised> {
    enter_sse(core)?;
    let b = scalar_source(core, i, 1, Width::W64)?;
    let mut env = environment(core);
    let result = f(&mut env, [b, 0]);
    settle(core, &env)?;
    Xmm::set(core, i.ops[0], result);
    Ok(())
}

/// CVTPI2PS (the high half stays) and, `DOUBLE`, CVTPI2PD. With a memory operand the x87 state
/// is not touched.
pub(crate) fn from_mmx<const DOUBLE: bool>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter_sse(core)?;
    if !i.has_memory() {
        enter_mmx(core)?;
    }
    let b = Mm::source(core, i, 1)?[0];
    let mut env = environment(core);
    let result = if DOUBLE { dq2pd(&mut env, [b, 0]) } else { dq2ps(&mut env, [b, 0]) };
    // Even when the result is then withheld.
    if !i.has_memory() {
        Mm::used(core);
    }
    settle(core, &env)?;
    let high = if DOUBLE { result[1] } else { Xmm::get(core, i.ops[0])[1] };
    Xmm::set(core, i.ops[0], [result[0], high]);
    Ok(())
}

/// CVTPS2PI, CVTTPS2PI and, `DOUBLE`, CVTPD2PI, CVTTPD2PI.
pub(crate) fn to_mmx<const DOUBLE: bool, const TRUNCATE: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    enter_sse(core)?;
    enter_mmx(core)?;
    let b =
        if DOUBLE { Xmm::source(core, i, 1)? } else { [scalar_source(core, i, 1, Width::W64)?, 0] };
    let mut env = environment(core);
    let result =
        if DOUBLE { pd2dq::<TRUNCATE>(&mut env, b) } else { ps2dq::<TRUNCATE>(&mut env, b) };
    // Even when the result is then withheld.
    Mm::used(core);
    settle(core, &env)?;
    Mm::set(core, i.ops[0], [result[0]]);
    Ok(())
}
