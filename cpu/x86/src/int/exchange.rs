//! XCHG, XADD, CMPXCHG, CMPXCHG8B and CMPXCHG16B.
//!
//! Source: SDM vol. 2.

use super::{RAX, RBX, RCX, RDX};
use crate::{
    Core, Raised,
    insn::{Insn, Width},
    memory::Place,
    operand::Target,
    rflags,
    sem::{Reach, Rmw, Sem, Size},
};

/// XCHG of two registers.
#[inline(always)]
pub(crate) fn xchg<S: Sem, W: Size>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let a = s.get(W::W, i.ops[0]);
    let b = s.get(W::W, i.ops[1]);
    s.set(W::W, i.ops[0], b);
    s.set(W::W, i.ops[1], a);
    Ok(())
}

/// XCHG with memory: locked, with or without the prefix.
#[inline(always)]
pub(crate) fn xchg_memory<S: Sem, W: Size, M: Reach>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let reg = if i.is_memory(0) { i.ops[1] } else { i.ops[0] };
    let offset = s.address::<M>(i);
    let new = s.get(W::W, reg);
    let old = s.update::<M>(W::W, i, i.seg(), offset, Rmw::Xchg, new)?;
    s.set(W::W, reg, old);
    Ok(())
}

/// XADD.
#[inline(always)]
pub(crate) fn xadd<S: Sem, W: Size, T: Target>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let (place, a) = T::open(s, i, W::W)?;
    let b = s.get(W::W, i.ops[1]);
    let r = s.add(W::W, a, b);
    s.flags_add(W::W, a, b, r);
    s.set(W::W, i.ops[1], a);
    T::commit(s, i, W::W, place, r);
    Ok(())
}

/// LOCK XADD.
#[inline(always)]
pub(crate) fn xadd_locked<S: Sem, W: Size, M: Reach>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let offset = s.address::<M>(i);
    let b = s.get(W::W, i.ops[1]);
    let a = s.update::<M>(W::W, i, i.seg(), offset, Rmw::Add, b)?;
    let r = s.add(W::W, a, b);
    s.flags_add(W::W, a, b, r);
    s.set(W::W, i.ops[1], a);
    Ok(())
}

/// What CMPXCHG does to flags and accumulator, after `old` was found in its target. The
/// accumulator is written only if the comparison fails, which shows in the upper half of RAX.
#[inline(always)]
fn compared<S: Sem>(s: &mut S, w: Width, expected: S::Value, old: S::Value, equal: S::Value) {
    let r = s.sub(w, expected, old);
    s.flags_sub(w, expected, old, r);
    if w == Width::W32 {
        let whole = s.get(Width::W64, RAX);
        let value = s.select(equal, whole, old);
        s.set(Width::W64, RAX, value);
    } else {
        s.set(w, RAX, old);
    }
}

/// CMPXCHG. Memory is written in any case; of the registers, only the one that changes, which shows
/// in the upper half of 32-bit ones.
#[inline(always)]
pub(crate) fn cmpxchg<S: Sem, W: Size, T: Target>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let (place, old) = T::open(s, i, W::W)?;
    let expected = s.get(W::W, RAX);
    let new = s.get(W::W, i.ops[1]);
    let equal = s.equal(expected, old);
    // The accumulator first: the target may be the same register, and then wins.
    compared(s, W::W, expected, old, equal);
    if W::W == Width::W32 && !T::MEMORY {
        let whole = s.get(Width::W64, i.ops[0]);
        let value = s.select(equal, new, whole);
        s.set(Width::W64, i.ops[0], value);
    } else {
        let value = s.select(equal, new, old);
        T::commit(s, i, W::W, place, value);
    }
    Ok(())
}

/// LOCK CMPXCHG.
#[inline(always)]
pub(crate) fn cmpxchg_locked<S: Sem, W: Size, M: Reach>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let offset = s.address::<M>(i);
    let expected = s.get(W::W, RAX);
    let new = s.get(W::W, i.ops[1]);
    let old = s.compare_exchange::<M>(W::W, i, i.seg(), offset, expected, new)?;
    let equal = s.equal(expected, old);
    compared(s, W::W, expected, old, equal);
    Ok(())
}

/// A pair of registers as one word of `2 * w` bits.
fn pair(core: &Core, w: Width, high: u8, low: u8) -> u128 {
    u128::from(core.get(w, high)) << w.bits() | u128::from(core.get(w, low))
}

/// ZF, and RDX and RAX if the comparison failed.
fn compared_pair(core: &mut Core, w: Width, expected: u128, old: u128) {
    core.flags.set_masked(rflags::ZF, if old == expected { rflags::ZF } else { 0 });
    if old != expected {
        core.set(w, RAX, old as u64 & w.mask());
        core.set(w, RDX, (old >> w.bits()) as u64 & w.mask());
    }
}

/// CMPXCHG8B, always as one atomic step.
pub(crate) fn cmpxchg8b(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let lin = core.linear(i.seg(), core.address(i), 8, true)?;
    let place = core.place(core.class, i.seg(), lin, 8)?;
    core.watch(lin, 8, true);
    let expected = pair(core, Width::W32, RDX, RAX);
    let new = pair(core, Width::W32, RCX, RBX) as u64;
    let replace = |old| if u128::from(old) == expected { new } else { old };
    let old = core.update_place(Width::W64, place, replace);
    compared_pair(core, Width::W32, expected, u128::from(old));
    Ok(())
}

/// CMPXCHG16B, always as one atomic step: #GP(0) if the operand is not aligned.
pub(crate) fn cmpxchg16b(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let offset = core.address(i);
    // Even where the address is not canonical and SS's.
    if core.based(i.seg(), offset) & 15 != 0 {
        return Err(core.gp(0));
    }
    let lin = core.linear(i.seg(), offset, 1, true)?;
    let place = core.place(core.class, i.seg(), lin, 16)?;
    let expected = pair(core, Width::W64, RDX, RAX);
    let new = pair(core, Width::W64, RCX, RBX);
    let replace = |old| if old == expected { new } else { old };
    let old = if let Place::Ram(at) = place {
        let (old, code) = core.ram.update(at, replace);
        core.leave_block |= code;
        core.watch(lin, 16, true);
        old
    } else {
        // A device or ROM: nobody races for it.
        let mut data = [0; 16];
        core.load_linear_bytes(core.class, i.seg(), lin, &mut data)?;
        core.watch(lin, 16, true);
        let old = u128::from_le_bytes(data);
        core.store_place(place, &replace(old).to_le_bytes());
        old
    };
    compared_pair(core, Width::W64, expected, old);
    Ok(())
}
