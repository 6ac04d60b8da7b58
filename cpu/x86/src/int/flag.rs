//! Instructions on single flags, and those that do nothing: CLC, STC, CMC, CLD, STD, SALC, NOP,
//! PREFETCH, fences, CLFLUSH and kin.
//!
//! Sources: SDM vol. 2; vol. 3A, section 9.2 (memory ordering).

use std::sync::atomic::{Ordering, fence};

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

/// NOP, PAUSE, PREFETCH, LFENCE, SFENCE, hints. Loads are in order among themselves, and so are
/// stores: each access sees to that ([`trine_guest::Word`]). A prefetch never faults.
#[inline(always)]
pub(crate) fn nop<S: Sem>(_: &mut S, _: &Insn) -> Result<(), S::Stop> {
    Ok(())
}

/// MFENCE: stores before it are seen by all before loads after it are done, which the host's CPU
/// does not promise of itself.
pub(crate) fn mfence(_: &mut Core, _: &Insn) -> Result<(), Raised> {
    fence(Ordering::SeqCst);
    Ok(())
}

/// CLFLUSH, CLFLUSHOPT and CLWB: a load of a byte, for its faults.
pub(crate) fn clflush(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let offset = core.address(i);
    core.load(Width::W8, i.seg(), offset).map(drop)
}
