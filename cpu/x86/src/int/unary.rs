//! INC, DEC, NEG and NOT.
//!
//! Source: SDM vol. 2.

use crate::{
    insn::{Insn, Width},
    operand::Target,
    sem::{Reach, Rmw, Sem, Size},
};

/// An operation of one operand.
pub(crate) trait Unary: 'static {
    /// The locked form.
    const LOCKED: Rmw;
    /// The locked form's operand.
    fn operand(w: Width) -> u64;
    /// The result, and the flags.
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value) -> S::Value;
}

/// INC.
pub(crate) struct Inc;
impl Unary for Inc {
    const LOCKED: Rmw = Rmw::Add;
    #[inline(always)]
    fn operand(_: Width) -> u64 {
        1
    }
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value) -> S::Value {
        let one = s.imm(1);
        let r = s.add(w, a, one);
        s.flags_inc(w, r);
        r
    }
}

/// DEC.
pub(crate) struct Dec;
impl Unary for Dec {
    const LOCKED: Rmw = Rmw::Sub;
    #[inline(always)]
    fn operand(_: Width) -> u64 {
        1
    }
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value) -> S::Value {
        let one = s.imm(1);
        let r = s.sub(w, a, one);
        s.flags_dec(w, r);
        r
    }
}

/// NEG.
pub(crate) struct Neg;
impl Unary for Neg {
    const LOCKED: Rmw = Rmw::Neg;
    #[inline(always)]
    fn operand(_: Width) -> u64 {
        0
    }
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value) -> S::Value {
        let zero = s.imm(0);
        let r = s.sub(w, zero, a);
        s.flags_sub(w, zero, a, r);
        r
    }
}

/// NOT, which leaves the flags alone.
pub(crate) struct Not;
impl Unary for Not {
    const LOCKED: Rmw = Rmw::Xor;
    #[inline(always)]
    fn operand(w: Width) -> u64 {
        w.mask()
    }
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value) -> S::Value {
        s.not(w, a)
    }
}

/// `target = op target`.
#[inline(always)]
pub(crate) fn unary<S: Sem, O: Unary, W: Size, T: Target>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let (place, a) = T::open(s, i, W::W)?;
    let r = O::apply(s, W::W, a);
    T::commit(s, i, W::W, place, r);
    Ok(())
}

/// The same with LOCK.
#[inline(always)]
pub(crate) fn unary_locked<S: Sem, O: Unary, W: Size, M: Reach>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let offset = s.address::<M>(i);
    let operand = s.imm(O::operand(W::W));
    let a = s.update::<M>(W::W, i, i.seg(), offset, O::LOCKED, operand)?;
    O::apply(s, W::W, a);
    Ok(())
}
