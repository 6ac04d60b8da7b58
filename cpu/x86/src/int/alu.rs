//! ADD, OR, ADC, SBB, AND, SUB, XOR, CMP and TEST.
//!
//! Source: SDM vol. 2.

use crate::{
    insn::{Insn, Width},
    operand::{Source, Target},
    sem::{Flag, Reach, Rmw, Sem, Size},
};

/// An operation of two operands.
pub(crate) trait Binary: 'static {
    /// Whether the result is written (not by CMP and TEST).
    const WRITES: bool = true;
    /// The locked form, for operations that have one.
    const LOCKED: Rmw = Rmw::Xchg;
    /// The result, and the flags.
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value, b: S::Value) -> S::Value;
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident ($writes:literal, $locked:ident) |$s:ident, $w:ident, $a:ident, $b:ident| $body:block)*) => {
        $($(#[$doc])* pub(crate) struct $name;
        impl Binary for $name {
            const WRITES: bool = $writes;
            const LOCKED: Rmw = Rmw::$locked;
            #[inline(always)]
            fn apply<S: Sem>($s: &mut S, $w: Width, $a: S::Value, $b: S::Value) -> S::Value $body
        })*
    };
}

binary! {
    Add(true, Add) |s, w, a, b| {
        let r = s.add(w, a, b);
        s.flags_add(w, a, b, r);
        r
    }
    Adc(true, Adc) |s, w, a, b| {
        let carry = s.flag(Flag::Cf);
        let r = s.add(w, a, b);
        let r = s.add(w, r, carry);
        s.flags_add(w, a, b, r);
        r
    }
    Sub(true, Sub) |s, w, a, b| {
        let r = s.sub(w, a, b);
        s.flags_sub(w, a, b, r);
        r
    }
    Sbb(true, Sbb) |s, w, a, b| {
        let borrow = s.flag(Flag::Cf);
        let r = s.sub(w, a, b);
        let r = s.sub(w, r, borrow);
        s.flags_sub(w, a, b, r);
        r
    }
    Cmp(false, Xchg) |s, w, a, b| {
        let r = s.sub(w, a, b);
        s.flags_sub(w, a, b, r);
        r
    }
    And(true, And) |s, w, a, b| {
        let r = s.and(a, b);
        s.flags_logic(w, r);
        r
    }
    Or(true, Or) |s, w, a, b| {
        let r = s.or(a, b);
        s.flags_logic(w, r);
        r
    }
    Xor(true, Xor) |s, w, a, b| {
        let r = s.xor(a, b);
        s.flags_logic(w, r);
        r
    }
    Test(false, Xchg) |s, w, a, b| {
        let r = s.and(a, b);
        s.flags_logic(w, r);
        r
    }
}

/// `target = target op source`.
#[inline(always)]
pub(crate) fn binary<S: Sem, O: Binary, W: Size, T: Target, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let b = R::read(s, i, W::W)?;
    if O::WRITES {
        let (place, a) = T::open(s, i, W::W)?;
        let r = O::apply(s, W::W, a, b);
        T::commit(s, i, W::W, place, r);
    } else {
        let a = T::read(s, i, W::W)?;
        O::apply(s, W::W, a, b);
    }
    Ok(())
}

/// The same with LOCK: one atomic step, then the flags from what was there.
#[inline(always)]
pub(crate) fn binary_locked<S: Sem, O: Binary, W: Size, M: Reach, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let b = R::read(s, i, W::W)?;
    let offset = s.address::<M>(i);
    let a = s.update::<M>(W::W, i, i.seg(), offset, O::LOCKED, b)?;
    O::apply(s, W::W, a, b);
    Ok(())
}
