//! Near control flow: JMP, Jcc, LOOPcc, JCXZ, CALL, RET, and BOUND.
//!
//! A transfer checks its target before it changes any register; a fault that follows undoes it with
//! the rest of the instruction. CALL stores the return address first: a bad target's fault leaves it
//! on the stack, below the pointer, as it does on Intel's CPUs.
//! Source: SDM vol. 1, section 6.4; vol. 2.

use super::{
    RCX, RSP,
    stack::{Stack, store_pushed, top},
};
use crate::{
    Core, Raised,
    insn::Insn,
    operand::Source,
    sem::{Flag, Sem, Size},
    vector,
};

/// JMP rel.
#[inline(always)]
pub(crate) fn jmp<S: Sem, W: Size>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    s.branch(W::W, i, None)
}

/// JMP r/m.
#[inline(always)]
pub(crate) fn jmp_indirect<S: Sem, W: Size, R: Source>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let target = R::read(s, i, W::W)?;
    s.jump(W::W, i, target)
}

/// Jcc.
#[inline(always)]
pub(crate) fn jcc<S: Sem, const CC: u8, W: Size>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let condition = s.condition(CC);
    s.branch(W::W, i, Some(condition))
}

/// JCXZ, JECXZ and JRCXZ.
#[inline(always)]
pub(crate) fn jcxz<S: Sem>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let count = s.get(i.address_width(), RCX);
    let zero = s.imm(0);
    let condition = s.equal(count, zero);
    s.branch(i.width(), i, Some(condition))
}

/// LOOP (`ZF` 2), LOOPE (1) and LOOPNE (0): while the count is not 0 and ZF is as wanted.
#[inline(always)]
pub(crate) fn loop_while<S: Sem, const ZF: u8>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let aw = i.address_width();
    let count = s.get(aw, RCX);
    let one = s.imm(1);
    let count = s.sub(aw, count, one);
    let zero = s.imm(0);
    let done = s.equal(count, zero);
    let mut condition = s.xor(done, one);
    if ZF < 2 {
        let zf = s.flag(Flag::Zf);
        let wanted = s.imm(u64::from(ZF));
        let same = s.equal(zf, wanted);
        condition = s.and(condition, same);
    }
    s.branch(i.width(), i, Some(condition))?;
    s.set(aw, RCX, count);
    Ok(())
}

/// CALL rel.
#[inline(always)]
pub(crate) fn call<S: Sem, W: Size, K: Stack>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let next = s.next_ip(W::W, i);
    let sp = store_pushed::<S, K>(s, i, W::W, next)?;
    s.branch(W::W, i, None)?;
    s.set(K::width(i), RSP, sp);
    Ok(())
}

/// CALL r/m.
#[inline(always)]
pub(crate) fn call_indirect<S: Sem, W: Size, K: Stack, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let target = R::read(s, i, W::W)?;
    let next = s.next_ip(W::W, i);
    let sp = store_pushed::<S, K>(s, i, W::W, next)?;
    s.jump(W::W, i, target)?;
    s.set(K::width(i), RSP, sp);
    Ok(())
}

/// RET and RET imm16.
#[inline(always)]
pub(crate) fn ret<S: Sem, W: Size, K: Stack>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let (target, mut sp) = top::<S, K>(s, i, W::W)?;
    s.jump(W::W, i, target)?;
    if i.has_immediate() {
        let extra = s.imm(u64::from(i.imm as u16));
        sp = s.add(K::width(i), sp, extra);
    }
    s.set(K::width(i), RSP, sp);
    Ok(())
}

/// BOUND: #BR if the signed index is outside of the two bounds in memory.
pub(crate) fn bound(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let w = i.width();
    let offset = core.address(i);
    let second = offset.wrapping_add(w.bytes()) & i.address_width().mask();
    let signed = |value: u64| w.sign_extend(value) as i64;
    let lower = signed(core.load(w, i.seg(), offset)?);
    let index = signed(core.get(w, i.ops[0]));
    if index < lower {
        return Err(core.fault(vector::BR));
    }
    let upper = signed(core.load(w, i.seg(), second)?);
    if index > upper { Err(core.fault(vector::BR)) } else { Ok(()) }
}
