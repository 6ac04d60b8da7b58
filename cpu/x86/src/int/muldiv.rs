//! MUL, IMUL, DIV, IDIV and MULX.
//!
//! Source: SDM vol. 2.

use super::{AH, RAX, RDX};
use crate::{
    Core, Raised,
    insn::{Insn, Width},
    operand::Source,
    sem::{Sem, Size},
    vector,
};

/// Whether `a` and `b` differ.
#[inline(always)]
fn differ<S: Sem>(s: &mut S, a: S::Value, b: S::Value) -> S::Value {
    let same = s.equal(a, b);
    let one = s.imm(1);
    s.xor(same, one)
}

/// The flags of a multiplication: CF and OF say that the upper half matters. SF and PF, undefined
/// by the manual, are those of the lower half, and ZF is 0 even if that is.
#[inline(always)]
fn product_flags<S: Sem>(s: &mut S, w: Width, low: S::Value, matters: S::Value) {
    // 3 is positive, of even parity as 0 is, and not 0.
    let three = s.imm(3);
    let shown = s.select(low, low, three);
    s.flags_shift(w, shown, matters, matters);
}

/// The accumulator pair: AX for bytes, else RDX and RAX.
#[inline(always)]
fn set_product<S: Sem>(s: &mut S, w: Width, low: S::Value, high: S::Value) {
    s.set(w, RAX, low);
    s.set(w, if w == Width::W8 { AH } else { RDX }, high);
}

/// MUL.
#[inline(always)]
pub(crate) fn mul<S: Sem, W: Size, R: Source>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let b = R::read(s, i, W::W)?;
    let a = s.get(W::W, RAX);
    let low = s.mul(W::W, a, b);
    let high = s.mul_high_unsigned(W::W, a, b);
    let zero = s.imm(0);
    let matters = differ(s, high, zero);
    product_flags(s, W::W, low, matters);
    set_product(s, W::W, low, high);
    Ok(())
}

/// Whether `high` is more than the sign of `low`.
#[inline(always)]
fn overflows<S: Sem>(s: &mut S, w: Width, low: S::Value, high: S::Value) -> S::Value {
    let all = s.imm(u64::from(w.bits()));
    let sign = s.sar(w, low, all);
    differ(s, high, sign)
}

/// IMUL of the accumulator.
#[inline(always)]
pub(crate) fn imul<S: Sem, W: Size, R: Source>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let b = R::read(s, i, W::W)?;
    let a = s.get(W::W, RAX);
    let low = s.mul(W::W, a, b);
    let high = s.mul_high_signed(W::W, a, b);
    let matters = overflows(s, W::W, low, high);
    product_flags(s, W::W, low, matters);
    set_product(s, W::W, low, high);
    Ok(())
}

/// IMUL of two sources to a register.
#[inline(always)]
pub(crate) fn imul_to<S: Sem, W: Size, A: Source, B: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let a = A::read(s, i, W::W)?;
    let b = B::read(s, i, W::W)?;
    let low = s.mul(W::W, a, b);
    let high = s.mul_high_signed(W::W, a, b);
    let matters = overflows(s, W::W, low, high);
    product_flags(s, W::W, low, matters);
    s.set(W::W, i.ops[0], low);
    Ok(())
}

/// MULX: RDX times operand 2 to operand 1 (low) and then operand 0 (high).
#[inline(always)]
pub(crate) fn mulx<S: Sem, W: Size, R: Source>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let b = R::read(s, i, W::W)?;
    let a = s.get(W::W, RDX);
    let low = s.mul(W::W, a, b);
    let high = s.mul_high_unsigned(W::W, a, b);
    s.set(W::W, i.ops[1], low);
    s.set(W::W, i.ops[0], high);
    Ok(())
}

/// The operand of a cold instruction that is a register or memory.
fn operand(core: &mut Core, i: &Insn) -> Result<u64, Raised> {
    if i.has_memory() {
        let offset = core.address(i);
        core.load(i.width(), i.seg(), offset)
    } else {
        Ok(core.get(i.width(), i.ops[0]))
    }
}

fn dividend(core: &Core, w: Width) -> u128 {
    match w {
        Width::W8 => u128::from(core.get(Width::W16, RAX)),
        _ => u128::from(core.get(w, RDX)) << w.bits() | u128::from(core.get(w, RAX)),
    }
}

fn set_quotient(core: &mut Core, w: Width, quotient: u64, remainder: u64) {
    core.set(w, RAX, quotient & w.mask());
    core.set(w, if w == Width::W8 { AH } else { RDX }, remainder & w.mask());
}

/// DIV. No flag changes.
pub(crate) fn div(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let w = i.width();
    let divisor = u128::from(operand(core, i)?);
    let dividend = dividend(core, w);
    let Some(quotient) = dividend.checked_div(divisor) else {
        return Err(core.fault(vector::DE));
    };
    if quotient > u128::from(w.mask()) {
        return Err(core.fault(vector::DE));
    }
    let remainder = dividend.checked_rem(divisor).unwrap_or(0);
    set_quotient(core, w, quotient as u64, remainder as u64);
    Ok(())
}

/// IDIV. No flag changes.
pub(crate) fn idiv(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let w = i.width();
    let divisor = i128::from(w.sign_extend(operand(core, i)?) as i64);
    let unused = 128 - 2 * w.bits();
    let dividend = (dividend(core, w) << unused) as i128 >> unused;
    let Some(quotient) = dividend.checked_div(divisor) else {
        return Err(core.fault(vector::DE));
    };
    if quotient != i128::from(w.sign_extend(quotient as u64 & w.mask()) as i64) {
        return Err(core.fault(vector::DE));
    }
    let remainder = dividend.checked_rem(divisor).unwrap_or(0);
    set_quotient(core, w, quotient as u64, remainder as u64);
    Ok(())
}
