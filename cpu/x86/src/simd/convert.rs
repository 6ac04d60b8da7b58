//! Conversions between integers and floating-point formats.
//!
//! Source: SDM vol. 2, CVTDQ2PD to CVTTSS2SI, VCVTPH2PS, VCVTPS2PH.

use trine_softfloat::{Env, Rounding, sse};

use super::{
    Bank, Mm, Vex, Xmm, element, enter_avx, enter_mmx, enter_sse,
    float::{Real, environment, set_low, settle},
    lanes::{build, lane},
    load_word, part_source, scalar_source, store,
};
use crate::{Core, Insn, Raised, Width};

/// CVTSI2SS, CVTSI2SD; `WIDE` is from 64 bits.
pub(crate) fn from_general<B: Bank<2>, F: Real, const WIDE: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    let w = if WIDE { Width::W64 } else { Width::W32 };
    let n = B::FIRST + 1;
    let value = if i.is_memory(n) { load_word(core, i, w)? } else { core.get(w, i.ops[n]) };
    let mut env = environment(core);
    let result: F = sse::from_i64(&mut env, w.sign_extend(value) as i64);
    settle(core, &env)?;
    set_low::<B, _>(core, i, result);
    Ok(())
}

/// CVTSS2SI, CVTSD2SI; `TRUNCATE`: CVTTSS2SI, CVTTSD2SI; `WIDE` is to 64 bits.
pub(crate) fn to_general<B: Bank<2>, F: Real, const WIDE: bool, const TRUNCATE: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
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
pub(crate) fn cvtss2sd<B: Bank<2>>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    B::enter(core)?;
    let value = scalar_source(core, i, B::FIRST + 1, Width::W32)? as u32;
    let mut env = environment(core);
    let result = sse::f32_to_f64(&mut env, value);
    settle(core, &env)?;
    set_low::<B, _>(core, i, result);
    Ok(())
}

/// CVTSD2SS.
pub(crate) fn cvtsd2ss<B: Bank<2>>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    B::enter(core)?;
    let value = scalar_source(core, i, B::FIRST + 1, Width::W64)?;
    let mut env = environment(core);
    let result = sse::f64_to_f32(&mut env, value);
    settle(core, &env)?;
    set_low::<B, _>(core, i, result);
    Ok(())
}

// Lane functions.

fn single<const Q: usize>(v: &[u64; Q], n: usize) -> u32 {
    lane(v, n)
}

/// CVTDQ2PS.
pub(crate) fn dq2ps<const Q: usize>(env: &mut Env, v: [u64; Q]) -> [u64; Q] {
    build(|n| sse::from_i32::<u32>(env, lane(&v, n)))
}

/// CVTDQ2PD: from the low half.
pub(crate) fn dq2pd<const Q: usize>(env: &mut Env, v: [u64; Q]) -> [u64; Q] {
    build(|n| sse::from_i32::<u64>(env, lane(&v, n)))
}

/// CVTPS2PD: from the low half.
pub(crate) fn ps2pd<const Q: usize>(env: &mut Env, v: [u64; Q]) -> [u64; Q] {
    build(|n| sse::f32_to_f64(env, single(&v, n)))
}

/// CVTPD2PS: to the low half.
pub(crate) fn pd2ps<const Q: usize>(env: &mut Env, v: [u64; Q]) -> [u64; 2] {
    build(|n| if n < Q { sse::f64_to_f32(env, v[n]) } else { 0 })
}

/// CVTPS2DQ, CVTTPS2DQ.
pub(crate) fn ps2dq<const TRUNCATE: bool, const Q: usize>(env: &mut Env, v: [u64; Q]) -> [u64; Q] {
    let rounding = rounding(env, TRUNCATE);
    build(|n| sse::to_i32(env, single(&v, n), rounding))
}

/// CVTPD2DQ, CVTTPD2DQ: to the low half.
pub(crate) fn pd2dq<const TRUNCATE: bool, const Q: usize>(env: &mut Env, v: [u64; Q]) -> [u64; 2] {
    let rounding = rounding(env, TRUNCATE);
    build(|n| if n < Q { sse::to_i32(env, v[n], rounding) } else { 0 })
}

/// `dst = f(src)` of lanes of one size.
#[inline(always)]
pub(crate) fn packed<B: Bank<Q>, const Q: usize>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn(&mut Env, [u64; Q]) -> [u64; Q],
) -> Result<(), Raised> {
    B::enter(core)?;
    let b = B::source(core, i, 1)?;
    let mut env = environment(core);
    let result = f(&mut env, b);
    settle(core, &env)?;
    B::set(core, i.ops[0], result);
    Ok(())
}

/// `dst = f(src)` where half of the source counts: CVTPS2PD, CVTDQ2PD.
#[inline(always)]
pub(crate) fn widened<B: Bank<Q>, const Q: usize>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn(&mut Env, [u64; Q]) -> [u64; Q],
) -> Result<(), Raised> {
    B::enter(core)?;
    let b = part_source::<B, Q>(core, i, 1, 4 * Q)?;
    let mut env = environment(core);
    let result = f(&mut env, b);
    settle(core, &env)?;
    B::set(core, i.ops[0], result);
    Ok(())
}

/// `dst = f(src)` where the result is half as wide: CVTPD2PS, CVTPD2DQ.
#[inline(always)]
pub(crate) fn narrowed<B: Bank<Q> + Bank<2>, const Q: usize>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn(&mut Env, [u64; Q]) -> [u64; 2],
) -> Result<(), Raised> {
    <B as Bank<Q>>::enter(core)?;
    let b: [u64; Q] = B::source(core, i, 1)?;
    let mut env = environment(core);
    let result = f(&mut env, b);
    settle(core, &env)?;
    <B as Bank<2>>::set(core, i.ops[0], result);
    Ok(())
}

/// VCVTPS2PH: the immediate may override the rounding.
pub(crate) fn ps2ph<const Q: usize>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter_avx(core)?;
    let v: [u64; Q] = Vex::get(core, i.ops[1]);
    let mut env = environment(core);
    let imm = i.imm as u8;
    let rounding = if imm & 4 != 0 { env.rounding } else { Rounding::from_bits(imm) };
    let narrow: [u64; 2] =
        build(|n| if n < 2 * Q { sse::f32_to_f16(&mut env, single(&v, n), rounding) } else { 0 });
    // Flags are set even if the store then faults.
    settle(core, &env)?;
    if !i.is_memory(0) {
        Vex::set(core, i.ops[0], narrow);
    } else if Q == 4 {
        store(core, i, narrow, false)?;
    } else {
        let offset = core.address(i);
        let lin = element(core, i, offset, Width::W64, true)?;
        core.store_linear(Width::W64, core.class, i.seg(), lin, narrow[0])?;
    }
    Ok(())
}

/// VCVTPH2PS: DAZ has no say, and 64 bits of memory are not checked for alignment.
pub(crate) fn ph2ps<const Q: usize>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter_avx(core)?;
    let half: [u64; 2] = match i.is_memory(1) {
        true if Q == 2 => {
            let offset = core.address(i);
            let lin = element(core, i, offset, Width::W64, false)?;
            [core.load_linear(Width::W64, core.class, i.seg(), lin)?, 0]
        }
        _ => Vex::source(core, i, 1)?,
    };
    let mut env = environment(core);
    let result: [u64; Q] = build(|n| sse::f16_to_f32(&mut env, lane(&half, n)));
    settle(core, &env)?;
    Vex::set(core, i.ops[0], result);
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
        if DOUBLE { pd2dq::<TRUNCATE, 2>(&mut env, b) } else { ps2dq::<TRUNCATE, 2>(&mut env, b) };
    // Even when the result is then withheld.
    Mm::used(core);
    settle(core, &env)?;
    Mm::set(core, i.ops[0], [result[0]]);
    Ok(())
}
