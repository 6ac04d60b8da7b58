//! Instructions on single flags, and those that do nothing: CLC, STC, CMC, CLD, STD, SALC, NOP,
//! PREFETCH, fences, CLFLUSH and kin.
//!
//! Source: SDM vol. 2.

use super::RAX;
use crate::{
    Core, Raised,
    insn::{Insn, Width},
    rflags,
    sem::{Flag, Sem},
};

/// CLC and STC.
#[inline(always)]
pub(crate) fn set_carry<S: Sem, const VALUE: u64>(s: &mut S, _: &Insn) -> Result<(), S::Stop> {
    let value = s.imm(VALUE);
    s.set_flag(Flag::Cf, value);
    Ok(())
}

/// CMC.
#[inline(always)]
pub(crate) fn cmc<S: Sem>(s: &mut S, _: &Insn) -> Result<(), S::Stop> {
    let carry = s.flag(Flag::Cf);
    let one = s.imm(1);
    let inverse = s.xor(carry, one);
    s.set_flag(Flag::Cf, inverse);
    Ok(())
}

/// SALC: AL is all carry.
#[inline(always)]
pub(crate) fn salc<S: Sem>(s: &mut S, _: &Insn) -> Result<(), S::Stop> {
    let carry = s.flag(Flag::Cf);
    let zero = s.imm(0);
    let value = s.sub(Width::W8, zero, carry);
    s.set(Width::W8, RAX, value);
    Ok(())
}

/// CLD.
pub(crate) fn cld(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    core.system_flags &= !rflags::DF;
    Ok(())
}

/// STD.
pub(crate) fn std(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    core.system_flags |= rflags::DF;
    Ok(())
}

/// NOP, PAUSE, PREFETCH, fences, hints. Memory is always coherent and in order here, and a
/// prefetch never faults.
#[inline(always)]
pub(crate) fn nop<S: Sem>(_: &mut S, _: &Insn) -> Result<(), S::Stop> {
    Ok(())
}

/// CLFLUSH, CLFLUSHOPT and CLWB: a load of a byte, for its faults.
pub(crate) fn clflush(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let offset = core.address(i);
    core.load(Width::W8, i.seg(), offset).map(drop)
}
