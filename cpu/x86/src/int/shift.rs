//! Shifts and rotates: SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD, SHRD, and SHLX, SHRX, SARX, RORX.
//!
//! A count of 0 changes no flag. What the manual leaves undefined is as Intel's present CPUs have
//! it: after counts above 1, OF is what it would be after a count of 1, but a rotate of a register
//! by an immediate above 1 does not touch it. Early models leave the latter as the 80386 does,
//! whose test suites print it ([`crate::CpuModel::is_early`]).
//! Source: SDM vol. 2.

use super::RCX;
use crate::{
    insn::{Insn, Width},
    operand::{Source, Target},
    sem::{Flag, Sem, Size},
};

/// Where the count comes from.
pub(crate) trait Count: 'static {
    /// The count, masked to 5 bits (6 for 64-bit operands).
    fn read<S: Sem>(s: &mut S, i: &Insn, w: Width) -> S::Value;
    /// Whether decoding knows that the masked count is 0, or not 0.
    fn known(i: &Insn, w: Width) -> Option<bool>;
    /// Whether decoding knows that the masked count is above 1.
    fn above_one(i: &Insn, w: Width) -> bool;
}

#[inline(always)]
const fn count_mask(w: Width) -> u64 {
    if matches!(w, Width::W64) { 63 } else { 31 }
}

/// An immediate count.
pub(crate) struct ByImm;
impl Count for ByImm {
    #[inline(always)]
    fn read<S: Sem>(s: &mut S, i: &Insn, w: Width) -> S::Value {
        s.imm(i64::from(i.imm) as u64 & count_mask(w))
    }
    #[inline(always)]
    fn known(i: &Insn, w: Width) -> Option<bool> {
        Some(i64::from(i.imm) as u64 & count_mask(w) == 0)
    }
    #[inline(always)]
    fn above_one(i: &Insn, w: Width) -> bool {
        i64::from(i.imm) as u64 & count_mask(w) > 1
    }
}

/// The count in CL.
pub(crate) struct ByCl;
impl Count for ByCl {
    #[inline(always)]
    fn read<S: Sem>(s: &mut S, _: &Insn, w: Width) -> S::Value {
        let count = s.get(Width::W8, RCX);
        let mask = s.imm(count_mask(w));
        s.and(count, mask)
    }
    #[inline(always)]
    fn known(_: &Insn, _: Width) -> Option<bool> {
        None
    }
    #[inline(always)]
    fn above_one(_: &Insn, _: Width) -> bool {
        false
    }
}

/// Runs `set` unless the count is 0.
#[inline(always)]
fn unless_zero<S: Sem, N: Count>(
    s: &mut S,
    i: &Insn,
    w: Width,
    count: S::Value,
    set: impl FnOnce(&mut S),
) -> Result<(), S::Stop> {
    match N::known(i, w) {
        Some(true) => Ok(()),
        Some(false) => {
            set(s);
            Ok(())
        }
        None => s.when(count, |s| {
            set(s);
            Ok(())
        }),
    }
}

/// A shift or rotate.
pub(crate) trait Shift: 'static {
    /// Of a register by an immediate above 1, OF stays.
    const IMMEDIATE_KEEPS_OF: bool = false;
    /// The result, which is `a` if `n` is 0.
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value) -> S::Value;
    /// The flags, if `n` is not 0.
    fn flags<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value, r: S::Value);
    /// For rotates: OF as the last step leaves it, given the result and the flags so far.
    fn last_overflow<S: Sem>(_: &mut S, _: Width, _: S::Value) -> Option<S::Value> {
        None
    }
}

/// OF after one step to the left: the bit that came out is not the new sign.
#[inline(always)]
fn left_overflow<S: Sem>(s: &mut S, w: Width, r: S::Value) -> S::Value {
    let carry = s.flag(Flag::Cf);
    top_changes(s, w, r, carry)
}

/// Bit `n` of `a`; 0 if it has none.
#[inline(always)]
fn bit<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value) -> S::Value {
    let shifted = s.shr(w, a, n);
    let one = s.imm(1);
    s.and(shifted, one)
}

/// The sign bit of `a`.
#[inline(always)]
fn sign<S: Sem>(s: &mut S, w: Width, a: S::Value) -> S::Value {
    let n = s.imm(u64::from(w.bits() - 1));
    s.shr(w, a, n)
}

/// `total` - `n`: huge if `n` is the larger.
#[inline(always)]
fn minus<S: Sem>(s: &mut S, total: u32, n: S::Value) -> S::Value {
    let total = s.imm(u64::from(total));
    s.sub(Width::W64, total, n)
}

/// `n` - 1: huge if `n` is 0.
#[inline(always)]
fn less_one<S: Sem>(s: &mut S, n: S::Value) -> S::Value {
    let one = s.imm(1);
    s.sub(Width::W64, n, one)
}

/// Whether the two top bits of `a` differ: OF if it is shifted left.
#[inline(always)]
fn tops_differ<S: Sem>(s: &mut S, w: Width, a: S::Value) -> S::Value {
    let one = s.imm(1);
    let next = s.shl(w, a, one);
    let both = s.xor(a, next);
    sign(s, w, both)
}

/// Whether the top bit of `a` is not `new`, which is shifted in from above: OF then.
#[inline(always)]
fn top_changes<S: Sem>(s: &mut S, w: Width, a: S::Value, new: S::Value) -> S::Value {
    let top = sign(s, w, a);
    s.xor(top, new)
}

/// SHL and SAL.
pub(crate) struct Shl;
impl Shift for Shl {
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value) -> S::Value {
        s.shl(w, a, n)
    }
    #[inline(always)]
    fn flags<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value, r: S::Value) {
        let last = minus(s, w.bits(), n);
        let cf = bit(s, w, a, last);
        let of = tops_differ(s, w, a);
        s.flags_shift(w, r, cf, of);
    }
}

/// SHR.
pub(crate) struct Shr;
impl Shift for Shr {
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value) -> S::Value {
        s.shr(w, a, n)
    }
    #[inline(always)]
    fn flags<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value, r: S::Value) {
        let last = less_one(s, n);
        let cf = bit(s, w, a, last);
        let of = sign(s, w, a);
        s.flags_shift(w, r, cf, of);
    }
}

/// SAR.
pub(crate) struct Sar;
impl Shift for Sar {
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value) -> S::Value {
        s.sar(w, a, n)
    }
    #[inline(always)]
    fn flags<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value, r: S::Value) {
        let last = less_one(s, n);
        let shifted = s.sar(w, a, last);
        let one = s.imm(1);
        let cf = s.and(shifted, one);
        let of = s.imm(0);
        s.flags_shift(w, r, cf, of);
    }
}

/// A rotate's distance: the count modulo the width.
#[inline(always)]
fn distance<S: Sem>(s: &mut S, w: Width, n: S::Value) -> S::Value {
    let mask = s.imm(u64::from(w.bits() - 1));
    s.and(n, mask)
}

/// ROL.
pub(crate) struct Rol;
impl Shift for Rol {
    const IMMEDIATE_KEEPS_OF: bool = true;
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value) -> S::Value {
        let n = distance(s, w, n);
        let rest = minus(s, w.bits(), n);
        let high = s.shl(w, a, n);
        let low = s.shr(w, a, rest);
        s.or(high, low)
    }
    #[inline(always)]
    fn flags<S: Sem>(s: &mut S, w: Width, a: S::Value, _: S::Value, r: S::Value) {
        let one = s.imm(1);
        let cf = s.and(r, one);
        let of = tops_differ(s, w, a);
        s.flags_rotate(cf, of);
    }
    #[inline(always)]
    fn last_overflow<S: Sem>(s: &mut S, w: Width, r: S::Value) -> Option<S::Value> {
        Some(left_overflow(s, w, r))
    }
}

/// ROR.
pub(crate) struct Ror;
impl Shift for Ror {
    const IMMEDIATE_KEEPS_OF: bool = true;
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value) -> S::Value {
        let n = distance(s, w, n);
        let rest = minus(s, w.bits(), n);
        let low = s.shr(w, a, n);
        let high = s.shl(w, a, rest);
        s.or(high, low)
    }
    #[inline(always)]
    fn flags<S: Sem>(s: &mut S, w: Width, a: S::Value, _: S::Value, r: S::Value) {
        let cf = sign(s, w, r);
        let one = s.imm(1);
        let lowest = s.and(a, one);
        let of = top_changes(s, w, a, lowest);
        s.flags_rotate(cf, of);
    }
    #[inline(always)]
    fn last_overflow<S: Sem>(s: &mut S, w: Width, r: S::Value) -> Option<S::Value> {
        Some(tops_differ(s, w, r))
    }
}

/// The distance of RCL and RCR: the carry flag is one more bit of the operand.
#[inline(always)]
fn distance_with_carry<S: Sem>(s: &mut S, w: Width, n: S::Value) -> S::Value {
    if w > Width::W16 {
        return n;
    }
    let bits = s.imm(u64::from(w.bits()) + 1);
    s.pure(|n, bits| n.checked_rem(bits).unwrap_or(0), n, bits)
}

/// RCL.
pub(crate) struct Rcl;
impl Shift for Rcl {
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value) -> S::Value {
        let n = distance_with_carry(s, w, n);
        let carry = s.flag(Flag::Cf);
        let before = less_one(s, n);
        let rest = minus(s, w.bits() + 1, n);
        let high = s.shl(w, a, n);
        let middle = s.shl(w, carry, before);
        let low = s.shr(w, a, rest);
        let r = s.or(high, middle);
        s.or(r, low)
    }
    #[inline(always)]
    fn flags<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value, _: S::Value) {
        let n = distance_with_carry(s, w, n);
        let carry = s.flag(Flag::Cf);
        let last = minus(s, w.bits(), n);
        let out = bit(s, w, a, last);
        let cf = s.select(n, out, carry);
        let old = s.flag(Flag::Of);
        let new = tops_differ(s, w, a);
        let of = s.select(n, new, old);
        s.flags_rotate(cf, of);
    }
    #[inline(always)]
    fn last_overflow<S: Sem>(s: &mut S, w: Width, r: S::Value) -> Option<S::Value> {
        Some(left_overflow(s, w, r))
    }
}

/// RCR.
pub(crate) struct Rcr;
impl Shift for Rcr {
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value) -> S::Value {
        let n = distance_with_carry(s, w, n);
        let carry = s.flag(Flag::Cf);
        let after = minus(s, w.bits(), n);
        let rest = minus(s, w.bits() + 1, n);
        let low = s.shr(w, a, n);
        let middle = s.shl(w, carry, after);
        let high = s.shl(w, a, rest);
        let r = s.or(low, middle);
        s.or(r, high)
    }
    #[inline(always)]
    fn flags<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value, _: S::Value) {
        let n = distance_with_carry(s, w, n);
        let carry = s.flag(Flag::Cf);
        let last = less_one(s, n);
        let out = bit(s, w, a, last);
        let cf = s.select(n, out, carry);
        let old = s.flag(Flag::Of);
        let new = top_changes(s, w, a, carry);
        let of = s.select(n, new, old);
        s.flags_rotate(cf, of);
    }
    #[inline(always)]
    fn last_overflow<S: Sem>(s: &mut S, w: Width, r: S::Value) -> Option<S::Value> {
        Some(tops_differ(s, w, r))
    }
}

/// `target = target shifted by count`.
#[inline(always)]
pub(crate) fn shift<S: Sem, O: Shift, W: Size, T: Target, N: Count>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let n = N::read(s, i, W::W);
    let (place, a) = T::open(s, i, W::W)?;
    let r = O::apply(s, W::W, a, n);
    let special = !T::MEMORY && N::above_one(i, W::W);
    unless_zero::<S, N>(s, i, W::W, n, |s| {
        let of = s.flag(Flag::Of);
        O::flags(s, W::W, a, n, r);
        if special && i.is_early() {
            if let Some(of) = O::last_overflow(s, W::W, r) {
                s.set_flag(Flag::Of, of);
            }
        } else if special && O::IMMEDIATE_KEEPS_OF {
            s.set_flag(Flag::Of, of);
        }
    })?;
    T::commit(s, i, W::W, place, r);
    Ok(())
}

/// A shift that takes its new bits from a second operand.
pub(crate) trait Double: 'static {
    /// The result, which is `a` if `n` is 0, and the last bit shifted out.
    fn apply<S: Sem>(
        s: &mut S,
        w: Width,
        a: S::Value,
        b: S::Value,
        n: S::Value,
    ) -> (S::Value, S::Value);
    /// OF.
    fn overflow<S: Sem>(s: &mut S, w: Width, a: S::Value, b: S::Value) -> S::Value;
}

/// 16-bit operands in a row, as the CPU sees them for counts up to 31: a, b, and a again.
#[inline(always)]
fn row<S: Sem>(s: &mut S, a: S::Value, b: S::Value) -> S::Value {
    let (by16, by32) = (s.imm(16), s.imm(32));
    let high = s.shl(Width::W64, a, by32);
    let middle = s.shl(Width::W64, b, by16);
    let upper = s.or(high, middle);
    s.or(upper, a)
}

/// SHLD.
pub(crate) struct Shld;
impl Double for Shld {
    #[inline(always)]
    fn apply<S: Sem>(
        s: &mut S,
        w: Width,
        a: S::Value,
        b: S::Value,
        n: S::Value,
    ) -> (S::Value, S::Value) {
        if w == Width::W16 {
            let row = row(s, a, b);
            let down = minus(s, 32, n);
            let r = s.shr(Width::W64, row, down);
            let last = minus(s, 48, n);
            return (s.truncate(w, r), bit(s, Width::W64, row, last));
        }
        let rest = minus(s, w.bits(), n);
        let high = s.shl(w, a, n);
        let low = s.shr(w, b, rest);
        (s.or(high, low), bit(s, w, a, rest))
    }
    #[inline(always)]
    fn overflow<S: Sem>(s: &mut S, w: Width, a: S::Value, _: S::Value) -> S::Value {
        tops_differ(s, w, a)
    }
}

/// SHRD.
pub(crate) struct Shrd;
impl Double for Shrd {
    #[inline(always)]
    fn apply<S: Sem>(
        s: &mut S,
        w: Width,
        a: S::Value,
        b: S::Value,
        n: S::Value,
    ) -> (S::Value, S::Value) {
        let last = less_one(s, n);
        if w == Width::W16 {
            let row = row(s, a, b);
            let r = s.shr(Width::W64, row, n);
            return (s.truncate(w, r), bit(s, Width::W64, row, last));
        }
        let rest = minus(s, w.bits(), n);
        let low = s.shr(w, a, n);
        let high = s.shl(w, b, rest);
        (s.or(low, high), bit(s, w, a, last))
    }
    #[inline(always)]
    fn overflow<S: Sem>(s: &mut S, w: Width, a: S::Value, b: S::Value) -> S::Value {
        let one = s.imm(1);
        let lowest = s.and(b, one);
        top_changes(s, w, a, lowest)
    }
}

/// SHLD and SHRD.
#[inline(always)]
pub(crate) fn double<S: Sem, O: Double, W: Size, T: Target, N: Count>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let n = N::read(s, i, W::W);
    let (place, a) = T::open(s, i, W::W)?;
    let b = s.get(W::W, i.ops[1]);
    let (r, cf) = O::apply(s, W::W, a, b, n);
    unless_zero::<S, N>(s, i, W::W, n, |s| {
        let of = O::overflow(s, W::W, a, b);
        s.flags_shift(W::W, r, cf, of);
    })?;
    T::commit(s, i, W::W, place, r);
    Ok(())
}

/// SHLX, SHRX and SARX: the count is operand 2, no flag changes.
#[inline(always)]
pub(crate) fn shift_flagless<S: Sem, O: Shift, W: Size, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let a = R::read(s, i, W::W)?;
    let count = s.get(W::W, i.ops[2]);
    let mask = s.imm(count_mask(W::W));
    let n = s.and(count, mask);
    let r = O::apply(s, W::W, a, n);
    s.set(W::W, i.ops[0], r);
    Ok(())
}

/// RORX.
#[inline(always)]
pub(crate) fn rorx<S: Sem, W: Size, R: Source>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let a = R::read(s, i, W::W)?;
    let n = ByImm::read(s, i, W::W);
    let r = Ror::apply(s, W::W, a, n);
    s.set(W::W, i.ops[0], r);
    Ok(())
}
