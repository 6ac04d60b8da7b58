//! Data movement: MOV, MOVZX, MOVSX, LEA, XLAT, CMOVcc, SETcc, BSWAP, MOVBE, CBW, CWD and kin.
//!
//! Source: SDM vol. 2.

use super::{AH, RAX, RBX, RDX};
use crate::{
    insn::{Insn, Width},
    operand::{Source, Target},
    sem::{Reach, Sem, Size},
};

/// MOV.
#[inline(always)]
pub(crate) fn mov<S: Sem, W: Size, T: Target, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let value = R::read(s, i, W::W)?;
    T::write(s, i, W::W, value)
}

/// MOV r64, imm64.
#[inline(always)]
pub(crate) fn mov_wide<S: Sem>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let value = s.imm(i.wide());
    s.set(Width::W64, i.ops[0], value);
    Ok(())
}

/// The offset of MOV with an absolute one.
#[inline(always)]
fn moffs<S: Sem, M: Reach>(s: &mut S, i: &Insn) -> S::Value {
    if M::address_width(i) == Width::W64 { s.imm(i.wide()) } else { s.address::<M>(i) }
}

/// MOV from an absolute offset.
#[inline(always)]
pub(crate) fn mov_from_offset<S: Sem, W: Size, M: Reach>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let offset = moffs::<S, M>(s, i);
    let value = s.load::<M>(W::W, i, i.seg(), offset)?;
    s.set(W::W, RAX, value);
    Ok(())
}

/// MOV to an absolute offset.
#[inline(always)]
pub(crate) fn mov_to_offset<S: Sem, W: Size, M: Reach>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let offset = moffs::<S, M>(s, i);
    let value = s.get(W::W, RAX);
    s.store::<M>(W::W, i, i.seg(), offset, value)
}

/// MOVZX from width `F`.
#[inline(always)]
pub(crate) fn movzx<S: Sem, F: Size, W: Size, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let value = R::read(s, i, F::W)?;
    s.set(W::W, i.ops[0], value);
    Ok(())
}

/// MOVSX and MOVSXD from width `F`.
#[inline(always)]
pub(crate) fn movsx<S: Sem, F: Size, W: Size, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let value = R::read(s, i, F::W)?;
    let value = s.sign_extend(F::W, W::W, value);
    s.set(W::W, i.ops[0], value);
    Ok(())
}

/// LEA. The reach says how wide the address is; nothing is reached.
#[inline(always)]
pub(crate) fn lea<S: Sem, W: Size, M: Reach>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let offset = s.address::<M>(i);
    let value = s.truncate(W::W, offset);
    s.set(W::W, i.ops[0], value);
    Ok(())
}

/// XLAT: AL from the table at (E/R)BX.
#[inline(always)]
pub(crate) fn xlat<S: Sem, M: Reach>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let aw = M::address_width(i);
    let base = s.get(aw, RBX);
    let index = s.get(Width::W8, RAX);
    let offset = s.add(aw, base, index);
    let value = s.load::<M>(Width::W8, i, i.seg(), offset)?;
    s.set(Width::W8, RAX, value);
    Ok(())
}

/// CMOVcc: the source is read, and 32 bits clear the upper half, whatever the condition.
#[inline(always)]
pub(crate) fn cmov<S: Sem, const CC: u8, W: Size, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let yes = R::read(s, i, W::W)?;
    let no = s.get(W::W, i.ops[0]);
    let condition = s.condition(CC);
    let value = s.select(condition, yes, no);
    s.set(W::W, i.ops[0], value);
    Ok(())
}

/// SETcc.
#[inline(always)]
pub(crate) fn setcc<S: Sem, const CC: u8, T: Target>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let value = s.condition(CC);
    T::write(s, i, Width::W8, value)
}

/// BSWAP. With a 16-bit operand, where the manual calls the result undefined, it is 0.
#[inline(always)]
pub(crate) fn bswap<S: Sem, W: Size>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let value = if W::W == Width::W16 {
        s.imm(0)
    } else {
        let value = s.get(W::W, i.ops[0]);
        s.byte_swap(W::W, value)
    };
    s.set(W::W, i.ops[0], value);
    Ok(())
}

/// MOVBE.
#[inline(always)]
pub(crate) fn movbe<S: Sem, W: Size, T: Target, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let value = R::read(s, i, W::W)?;
    let value = s.byte_swap(W::W, value);
    T::write(s, i, W::W, value)
}

/// CBW, CWDE and CDQE: from width `F` to `W` in RAX.
#[inline(always)]
pub(crate) fn extend<S: Sem, F: Size, W: Size>(s: &mut S, _: &Insn) -> Result<(), S::Stop> {
    let value = s.get(F::W, RAX);
    let value = s.sign_extend(F::W, W::W, value);
    s.set(W::W, RAX, value);
    Ok(())
}

/// CWD, CDQ and CQO: the sign of RAX to all of RDX.
#[inline(always)]
pub(crate) fn spread_sign<S: Sem, W: Size>(s: &mut S, _: &Insn) -> Result<(), S::Stop> {
    let value = s.get(W::W, RAX);
    let distance = s.imm(u64::from(W::W.bits()));
    let sign = s.sar(W::W, value, distance);
    s.set(W::W, RDX, sign);
    Ok(())
}

/// LAHF.
#[inline(always)]
pub(crate) fn lahf<S: Sem>(s: &mut S, _: &Insn) -> Result<(), S::Stop> {
    let flags = s.flags();
    let flags = s.truncate(Width::W8, flags);
    let fixed = s.imm(2);
    let value = s.or(flags, fixed);
    s.set(Width::W8, AH, value);
    Ok(())
}

/// SAHF.
#[inline(always)]
pub(crate) fn sahf<S: Sem>(s: &mut S, _: &Insn) -> Result<(), S::Stop> {
    use crate::rflags::{AF, CF, PF, SF, ZF};
    let value = s.get(Width::W8, AH);
    s.set_flags(SF | ZF | AF | PF | CF, value);
    Ok(())
}
