//! Floating-point arithmetic on XMM and YMM registers.
//!
//! An instruction works under an environment made from MXCSR. The flags of all its lanes go to
//! MXCSR together, even if one of them is unmasked; then nothing else is written.
//!
//! Sources: SDM vol. 1, sections 10.2.3 and 11.5; vol. 2, the instructions of the same names.

use trine_softfloat::{
    Env, Relation, Rounding,
    sse::{self, Float},
};

use super::{
    Bank,
    lanes::{Lane, build, lane, map, map2},
    scalar_source,
};
use crate::{Core, Insn, Raised, Width, cr4, rflags, vector};

/// A floating-point lane: `u32` is single precision, `u64` double.
pub(crate) trait Real: Float + Lane {
    /// Its width.
    const W: Width;
}

impl Real for u32 {
    const W: Width = Width::W32;
}

impl Real for u64 {
    const W: Width = Width::W64;
}

/// The environment that MXCSR describes.
#[inline(always)]
pub(crate) fn environment(core: &Core) -> Env {
    Env::from_mxcsr(core.simd.mxcsr)
}

/// Merges the flags into MXCSR; #XM if one of them is unmasked.
#[inline(always)]
pub(crate) fn settle(core: &mut Core, env: &Env) -> Result<(), Raised> {
    if !env.unmasked().is_empty() {
        return Err(unmasked(core, env));
    }
    core.simd.mxcsr |= u32::from(env.flags.bits());
    Ok(())
}

#[cold]
fn unmasked(core: &mut Core, env: &Env) -> Raised {
    core.simd.mxcsr |= u32::from(env.reported().bits());
    let known = core.control.cr4 & cr4::OSXMMEXCPT != 0;
    core.fault(if known { vector::XM } else { vector::UD })
}

/// Sets `dst` to the first source with another low lane.
#[inline(always)]
pub(crate) fn set_low<B: Bank<2>, F: Real>(core: &mut Core, i: &Insn, value: F) {
    let [low, high] = B::get(core, i.ops[B::FIRST]);
    B::set(core, i.ops[0], [low & !F::W.mask() | value.bits(), high]);
}

/// `dst = f(first, second)` in the low lane; the others are the first source's.
#[inline(always)]
pub(crate) fn scalar<B: Bank<2>, F: Real>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn(&mut Env, F, F) -> F,
) -> Result<(), Raised> {
    B::enter(core)?;
    let b = F::of(scalar_source(core, i, B::FIRST + 1, F::W)?);
    let a = F::of(B::get(core, i.ops[B::FIRST])[0]);
    let mut env = environment(core);
    let result = f(&mut env, a, b);
    settle(core, &env)?;
    set_low::<B, F>(core, i, result);
    Ok(())
}

/// `dst = f(first, second)` as a whole.
#[inline(always)]
pub(crate) fn vector<B: Bank<Q>, const Q: usize>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn(&mut Env, [u64; Q], [u64; Q]) -> [u64; Q],
) -> Result<(), Raised> {
    B::enter(core)?;
    let b = B::source(core, i, B::FIRST + 1)?;
    let a = B::get(core, i.ops[B::FIRST]);
    let mut env = environment(core);
    let result = f(&mut env, a, b);
    settle(core, &env)?;
    B::set(core, i.ops[0], result);
    Ok(())
}

/// `dst = f(first, second)` in each lane.
#[inline(always)]
pub(crate) fn packed<B: Bank<Q>, const Q: usize, F: Real>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn(&mut Env, F, F) -> F,
) -> Result<(), Raised> {
    vector::<B, Q>(core, i, |env, a, b| map2(a, b, |x, y| f(env, x, y)))
}

/// `dst = f(src)` in each lane.
#[inline(always)]
pub(crate) fn single<B: Bank<Q>, const Q: usize, F: Real>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn(&mut Env, F) -> F,
) -> Result<(), Raised> {
    B::enter(core)?;
    let b = B::source(core, i, 1)?;
    let mut env = environment(core);
    let result = map(b, |x| f(&mut env, x));
    settle(core, &env)?;
    B::set(core, i.ops[0], result);
    Ok(())
}

/// SQRTSS, SQRTSD; of SQRTPS and SQRTPD [`sse::sqrt`] is enough.
pub(crate) fn sqrt<F: Real>(env: &mut Env, _: F, b: F) -> F {
    sse::sqrt(env, b)
}

/// RCPSS.
pub(crate) fn rcp(_: &mut Env, _: u32, b: u32) -> u32 {
    sse::reciprocal(b)
}

/// RSQRTSS.
pub(crate) fn rsqrt(_: &mut Env, _: u32, b: u32) -> u32 {
    sse::reciprocal_sqrt(b)
}

/// RCPPS.
pub(crate) fn rcpps<const Q: usize>(b: [u64; Q]) -> [u64; Q] {
    map(b, sse::reciprocal)
}

/// RSQRTPS.
pub(crate) fn rsqrtps<const Q: usize>(b: [u64; Q]) -> [u64; Q] {
    map(b, sse::reciprocal_sqrt)
}

/// For each predicate of CMPPS the relations that satisfy it: less, equal, greater, unordered
/// from bit 0 up. Legacy forms have the first eight.
const PREDICATES: [u8; 16] = [
    0b0010, 0b0001, 0b0011, 0b1000, 0b1101, 0b1110, 0b1100, 0b0111, 0b1010, 0b1001, 0b1011, 0b0000,
    0b0101, 0b0110, 0b0100, 0b1111,
];

/// All ones if `a` and `b` satisfy predicate `imm` (five bits), else zero.
pub(crate) fn compare<F: Real>(env: &mut Env, a: F, b: F, imm: u8) -> F {
    // LT, LE, NLT and NLE, and their like, signal quiet NaNs; bit 4 inverts that.
    let signals = matches!(imm & 3, 1 | 2) != (imm & 16 != 0);
    let relation =
        if signals { sse::compare_signalling(env, a, b) } else { sse::compare(env, a, b) };
    let bit = match relation {
        Relation::Less => 0,
        Relation::Equal => 1,
        Relation::Greater => 2,
        Relation::Unordered => 3,
    };
    F::of(if PREDICATES[usize::from(imm & 15)] >> bit & 1 != 0 { u64::MAX } else { 0 })
}

/// The predicates of a bank: VEX forms have four times as many.
const fn predicates<B: Bank<Q>, const Q: usize>() -> u8 {
    if B::FIRST == 0 { 7 } else { 31 }
}

/// CMPSS, CMPSD.
pub(crate) fn compare_scalar<B: Bank<2>, F: Real>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let imm = i.imm as u8 & predicates::<B, 2>();
    scalar::<B, F>(core, i, |env, a, b| compare(env, a, b, imm))
}

/// CMPPS, CMPPD.
pub(crate) fn compare_packed<B: Bank<Q>, const Q: usize, F: Real>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    let imm = i.imm as u8 & predicates::<B, Q>();
    packed::<B, Q, F>(core, i, |env, a, b| compare(env, a, b, imm))
}

/// COMISS, COMISD and, not `SIGNALLING`, UCOMISS, UCOMISD.
pub(crate) fn compare_flags<B: Bank<2>, F: Real, const SIGNALLING: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    let b = F::of(scalar_source(core, i, 1, F::W)?);
    let a = F::of(B::get(core, i.ops[0])[0]);
    let mut env = environment(core);
    let relation = if SIGNALLING {
        sse::compare_signalling(&mut env, a, b)
    } else {
        sse::compare(&mut env, a, b)
    };
    settle(core, &env)?;
    core.flags.set_bits(match relation {
        Relation::Less => rflags::CF,
        Relation::Equal => rflags::ZF,
        Relation::Greater => 0,
        Relation::Unordered => rflags::ZF | rflags::PF | rflags::CF,
    });
    Ok(())
}

/// ROUNDSS and its like: `imm` says how.
fn round<F: Real>(env: &mut Env, b: F, imm: u8) -> F {
    let rounding = if imm & 4 != 0 { env.rounding } else { Rounding::from_bits(imm) };
    sse::round_to_integral(env, b, rounding, imm & 8 != 0)
}

/// ROUNDSS, ROUNDSD.
pub(crate) fn round_scalar<B: Bank<2>, F: Real>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    scalar::<B, F>(core, i, |env, _, b| round(env, b, i.imm as u8))
}

/// ROUNDPS, ROUNDPD.
pub(crate) fn round_packed<B: Bank<Q>, const Q: usize, F: Real>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    single::<B, Q, F>(core, i, |env, b| round(env, b, i.imm as u8))
}

/// Neighbours of `a`, then neighbours of `b`, through `f`, in each 16 bytes.
#[inline(always)]
fn horizontal<F: Real, const Q: usize>(
    a: [u64; Q],
    b: [u64; Q],
    mut f: impl FnMut(F, F) -> F,
) -> [u64; Q] {
    let per_part = 128 / F::BITS as usize;
    build::<F, Q>(|n| {
        let (start, k) = (n / per_part * per_part, n % per_part);
        let (v, k) = if k < per_part / 2 { (&a, k) } else { (&b, k - per_part / 2) };
        f(lane(v, start + 2 * k), lane(v, start + 2 * k + 1))
    })
}

/// HADDPS, HADDPD.
pub(crate) fn hadd<B: Bank<Q>, const Q: usize, F: Real>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    vector::<B, Q>(core, i, |env, a, b| horizontal(a, b, |x: F, y: F| sse::add(env, x, y)))
}

/// HSUBPS, HSUBPD.
pub(crate) fn hsub<B: Bank<Q>, const Q: usize, F: Real>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    vector::<B, Q>(core, i, |env, a, b| horizontal(a, b, |x: F, y: F| sse::sub(env, x, y)))
}

/// ADDSUBPS, ADDSUBPD: even lanes are subtracted, odd ones added.
pub(crate) fn addsub<B: Bank<Q>, const Q: usize, F: Real>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    vector::<B, Q>(core, i, |env, a, b| {
        build::<F, Q>(|n| {
            let (x, y) = (lane(&a, n), lane(&b, n));
            if n % 2 == 0 { sse::sub(env, x, y) } else { sse::add(env, x, y) }
        })
    })
}

/// DPPS, DPPD: the sum of those products that the immediate's high half names, to the lanes that
/// its low half names, in each 16 bytes. Products, sums of neighbours and the last sum are three
/// steps, and an unmasked exception ends the instruction with its step. Each lane of the sums has
/// its own order of operands, which shows in the NaN that it gets.
pub(crate) fn dot_product<B: Bank<Q>, const Q: usize, F: Real>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    let b = B::source(core, i, B::FIRST + 1)?;
    let a = B::get(core, i.ops[B::FIRST]);
    let imm = i.imm as u8;
    let zero = F::of(0);
    let per_part = 128 / F::BITS as usize;
    let products = step::<F, Q>(core, |env, n| {
        let chosen = imm >> (4 + n % per_part) & 1 != 0;
        if chosen { sse::mul::<F>(env, lane(&a, n), lane(&b, n)) } else { zero }
    })?;
    let sums = if F::BITS == 64 {
        step::<F, Q>(core, |env, n| sse::add::<F>(env, lane(&products, n), lane(&products, n ^ 1)))?
    } else {
        let pairs = step::<F, Q>(core, |env, n| {
            sse::add::<F>(env, lane(&products, n ^ 1), lane(&products, n))
        })?;
        step::<F, Q>(core, |env, n| sse::add::<F>(env, lane(&pairs, n), lane(&pairs, n ^ 2)))?
    };
    let result =
        build(|n| if imm >> (n % per_part) & 1 != 0 { lane::<F, Q>(&sums, n) } else { zero });
    B::set(core, i.ops[0], result);
    Ok(())
}

/// Lanes from their numbers, under an environment of their own.
fn step<F: Real, const Q: usize>(
    core: &mut Core,
    f: impl Fn(&mut Env, usize) -> F,
) -> Result<[u64; Q], Raised> {
    let mut env = environment(core);
    let lanes = build(|n| f(&mut env, n));
    settle(core, &env)?;
    Ok(lanes)
}
