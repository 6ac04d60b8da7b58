//! PUSH, POP, PUSHA, POPA, ENTER and LEAVE.
//!
//! The operand size says how much is pushed, the stack size how wide the stack pointer is.
//! Source: SDM vol. 1, section 6.2; vol. 2.

use super::{RBP, RSP};
use crate::{
    Core, Raised,
    insn::{Insn, Seg, Width},
    operand::Source,
    sem::{self, Checked, Reach, Sem, Size},
};

/// How the stack is reached, as a type.
pub(crate) trait Stack: 'static {
    /// Through SS.
    type Reach: Reach;
    /// The width of the stack pointer.
    fn width(i: &Insn) -> Width;
}

/// The stack of 64-bit mode.
pub(crate) struct Flat64;
impl Stack for Flat64 {
    type Reach = sem::Flat64;
    #[inline(always)]
    fn width(_: &Insn) -> Width {
        Width::W64
    }
}

/// A flat stack with ESP.
pub(crate) struct Flat32;
impl Stack for Flat32 {
    type Reach = sem::Flat32;
    #[inline(always)]
    fn width(_: &Insn) -> Width {
        Width::W32
    }
}

/// Any stack.
pub(crate) struct AnyStack;
impl Stack for AnyStack {
    type Reach = Checked;
    #[inline(always)]
    fn width(i: &Insn) -> Width {
        i.mode.stack()
    }
}

/// Pushes `value`. Must be the last thing that can fault.
#[inline(always)]
pub(super) fn push_value<S: Sem, K: Stack>(
    s: &mut S,
    i: &Insn,
    w: Width,
    value: S::Value,
) -> Result<(), S::Stop> {
    let sp = store_pushed::<S, K>(s, i, w, value)?;
    s.set(K::width(i), RSP, sp);
    Ok(())
}

/// Stores `value` where a push would; returns the stack pointer that belongs to it.
#[inline(always)]
pub(super) fn store_pushed<S: Sem, K: Stack>(
    s: &mut S,
    i: &Insn,
    w: Width,
    value: S::Value,
) -> Result<S::Value, S::Stop> {
    let sw = K::width(i);
    let sp = s.get(sw, RSP);
    let size = s.imm(w.bytes());
    let sp = s.sub(sw, sp, size);
    s.store::<K::Reach>(w, i, Seg::Ss, sp, value)?;
    Ok(sp)
}

/// The top of the stack, and the stack pointer behind it.
#[inline(always)]
pub(super) fn top<S: Sem, K: Stack>(
    s: &mut S,
    i: &Insn,
    w: Width,
) -> Result<(S::Value, S::Value), S::Stop> {
    let sw = K::width(i);
    let sp = s.get(sw, RSP);
    let value = s.load::<K::Reach>(w, i, Seg::Ss, sp)?;
    let size = s.imm(w.bytes());
    let sp = s.add(sw, sp, size);
    Ok((value, sp))
}

/// PUSH. The stack pointer itself is pushed as it was before.
#[inline(always)]
pub(crate) fn push<S: Sem, W: Size, K: Stack, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let value = R::read(s, i, W::W)?;
    push_value::<S, K>(s, i, W::W, value)
}

/// POP of a register. The stack pointer itself gets what was popped.
#[inline(always)]
pub(crate) fn pop<S: Sem, W: Size, K: Stack>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let (value, sp) = top::<S, K>(s, i, W::W)?;
    s.set(K::width(i), RSP, sp);
    s.set(W::W, i.ops[0], value);
    Ok(())
}

/// POP to memory: an address that is based on the stack pointer sees it incremented.
#[inline(always)]
pub(crate) fn pop_memory<S: Sem, W: Size, K: Stack, M: Reach>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let (value, sp) = top::<S, K>(s, i, W::W)?;
    let mut offset = s.address::<M>(i);
    if i.base == RSP {
        let (aw, sw) = (M::address_width(i), K::width(i));
        let old = s.get(aw, RSP);
        let part = if sw < aw {
            let above = s.imm(aw.mask() & !sw.mask());
            let kept = s.and(old, above);
            s.or(kept, sp)
        } else {
            s.truncate(aw, sp)
        };
        let moved = s.sub(aw, part, old);
        offset = s.add(aw, offset, moved);
    }
    s.store::<M>(W::W, i, i.seg(), offset, value)?;
    s.set(K::width(i), RSP, sp);
    Ok(())
}

/// LEAVE.
#[inline(always)]
pub(crate) fn leave<S: Sem, W: Size, K: Stack>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let sw = K::width(i);
    let sp = s.get(sw, RBP);
    let value = s.load::<K::Reach>(W::W, i, Seg::Ss, sp)?;
    let size = s.imm(W::W.bytes());
    let sp = s.add(sw, sp, size);
    s.set(sw, RSP, sp);
    s.set(W::W, RBP, value);
    Ok(())
}

/// PUSHA and PUSHAD. What was pushed before a fault stays below a stack pointer that did not move, as
/// on Intel's CPUs.
pub(crate) fn pusha(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let (w, sw) = (i.width(), i.mode.stack());
    let sp = core.get(sw, RSP);
    for n in 0..8 {
        let at = sp.wrapping_sub(w.bytes() * (u64::from(n) + 1)) & sw.mask();
        let lin = core.linear(Seg::Ss, at, w.bytes(), true)?;
        let place = core.place(core.class, Seg::Ss, lin, w.bytes())?;
        core.watch(lin, w.bytes(), true);
        core.commit(w, place, core.get(w, n));
    }
    core.set(sw, RSP, sp.wrapping_sub(8 * w.bytes()));
    Ok(())
}

/// POPA and POPAD: all but the stack pointer, whose image is skipped. What was popped before a fault
/// stays, as on Intel's CPUs.
pub(crate) fn popa(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let (w, sw) = (i.width(), i.mode.stack());
    let sp = core.get(sw, RSP);
    for (n, register) in (0..8).zip((0..8).rev()) {
        let at = sp.wrapping_add(w.bytes() * n) & sw.mask();
        let value = core.load(w, Seg::Ss, at)?;
        if register != RSP {
            core.set(w, register, value);
        }
    }
    core.set(sw, RSP, sp.wrapping_add(8 * w.bytes()));
    Ok(())
}

/// ENTER. Every word that is pushed, and one at the new top of the stack, must be writable.
pub(crate) fn enter(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let (w, sw) = (i.width(), i.mode.stack());
    let level = u64::from(i.imm2 & 31);
    let size = u64::from(i.imm as u16);
    let (sp, bp) = (core.get(sw, RSP), core.get(sw, RBP));
    let below = |start: u64, n: u64| start.wrapping_sub(w.bytes() * n) & sw.mask();
    // The frame pointer takes as much of it as the operand has, even from a 16-bit stack, and on
    // present CPUs the borrow with it.
    let whole = core.get(Width::W64, RSP);
    let frame = match i.is_early() {
        true => whole & !sw.mask() | below(sp, 1),
        false => whole.wrapping_sub(w.bytes()),
    };
    let top = below(sp, level + 1).wrapping_sub(size) & sw.mask();
    // What was pushed before a fault stays in memory, below a stack pointer that did not move.
    for n in 0..=level {
        let lin = core.linear(Seg::Ss, below(sp, n + 1), w.bytes(), true)?;
        let place = core.place(core.class, Seg::Ss, lin, w.bytes())?;
        let value = match n {
            0 => core.get(w, RBP),
            n if n == level => frame & w.mask(),
            n => core.load(w, Seg::Ss, below(bp, n))?,
        };
        core.watch(lin, w.bytes(), true);
        core.commit(w, place, value);
    }
    let lin = core.linear(Seg::Ss, top, w.bytes(), true)?;
    core.place(core.class, Seg::Ss, lin, w.bytes())?;
    core.set(w, RBP, frame & w.mask());
    core.set(sw, RSP, top);
    Ok(())
}
