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
    let offset = s.address(i);
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
    let offset = s.address(i);
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

/// CMPXCHG. Memory is written in any case.
#[inline(always)]
pub(crate) fn cmpxchg<S: Sem, W: Size, T: Target>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let (place, old) = T::open(s, i, W::W)?;
    let expected = s.get(W::W, RAX);
    let new = s.get(W::W, i.ops[1]);
    let equal = s.equal(expected, old);
    let value = s.select(equal, new, old);
    // The accumulator first: the target may be the same register, and then wins.
    compared(s, W::W, expected, old, equal);
    T::commit(s, i, W::W, place, value);
    Ok(())
}

/// LOCK CMPXCHG.
#[inline(always)]
pub(crate) fn cmpxchg_locked<S: Sem, W: Size, M: Reach>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let offset = s.address(i);
    let expected = s.get(W::W, RAX);
    let new = s.get(W::W, i.ops[1]);
    let old = s.compare_exchange::<M>(W::W, i, i.seg(), offset, expected, new)?;
    let equal = s.equal(expected, old);
    compared(s, W::W, expected, old, equal);
    Ok(())
}

/// CMPXCHG8B, always as one atomic step.
pub(crate) fn cmpxchg8b(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let place = place(core, i, 8)?;
    let pair =
        |core: &Core, high, low| core.get(Width::W32, high) << 32 | core.get(Width::W32, low);
    let expected = pair(core, RDX, RAX);
    let new = pair(core, RCX, RBX);
    let old = core.update_place::<u64>(
        place,
        |old| if old == expected { new } else { old },
        (
            |bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()),
            |value, bytes| bytes.copy_from_slice(&value.to_le_bytes()),
        ),
    );
    core.flags.set_masked(rflags::ZF, if old == expected { rflags::ZF } else { 0 });
    if old != expected {
        core.set(Width::W32, RAX, old & 0xffff_ffff);
        core.set(Width::W32, RDX, old >> 32);
    }
    Ok(())
}

/// CMPXCHG16B: #GP(0) if the operand is not aligned.
pub(crate) fn cmpxchg16b(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let lin = core.linear(i.seg(), core.address(i), 16, true)?;
    if lin & 15 != 0 {
        return Err(core.gp(0));
    }
    let place = place(core, i, 16)?;
    let pair = |core: &Core, high: u8, low: u8| {
        u128::from(core.get(Width::W64, high)) << 64 | u128::from(core.get(Width::W64, low))
    };
    let expected = pair(core, RDX, RAX);
    let new = pair(core, RCX, RBX);
    let old = core.update_place::<u128>(
        place,
        |old| if old == expected { new } else { old },
        (
            |bytes| u128::from_le_bytes(bytes.try_into().unwrap_or_default()),
            |value, bytes| bytes.copy_from_slice(&value.to_le_bytes()),
        ),
    );
    core.flags.set_masked(rflags::ZF, if old == expected { rflags::ZF } else { 0 });
    if old != expected {
        core.set(Width::W64, RAX, old as u64);
        core.set(Width::W64, RDX, (old >> 64) as u64);
    }
    Ok(())
}

fn place(core: &mut Core, i: &Insn, size: u64) -> Result<Place, Raised> {
    let lin = core.linear(i.seg(), core.address(i), size, true)?;
    let place = core.place(core.class, i.seg(), lin, size)?;
    core.watch(lin, size, true);
    Ok(place)
}
