//! Moves of MMX, XMM and YMM registers among themselves and to and from memory.
//!
//! Source: SDM vol. 2, MOVAPS and its like, MASKMOVDQU, MASKMOVQ, EMMS, VZEROALL.

use super::{
    Bank, Mm, Xmm, enter_avx, enter_both, enter_mmx, lanes::lane, load_aligned, load_unaligned,
    scalar_source, store, store_word,
};
use crate::{Core, Insn, Raised, Width, fxsave::xmm_count};

/// All of a register from memory or another: MOVAPS, MOVAPD, MOVDQA, MOVNTDQA; not `ALIGNED`:
/// MOVUPS, MOVUPD, MOVDQU, LDDQU.
pub(crate) fn load<B: Bank<Q>, const Q: usize, const ALIGNED: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    let value = match () {
        () if !i.is_memory(1) => B::get(core, i.ops[1]),
        () if ALIGNED => load_aligned(core, i)?,
        () => load_unaligned(core, i)?,
    };
    B::set(core, i.ops[0], value);
    Ok(())
}

/// All of a register to a register or memory: the same, and MOVNTPS, MOVNTPD, MOVNTDQ.
pub(crate) fn store_all<B: Bank<Q>, const Q: usize, const ALIGNED: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    let value = B::get(core, i.ops[1]);
    if i.is_memory(0) {
        return store(core, i, value, ALIGNED);
    }
    B::set(core, i.ops[0], value);
    Ok(())
}

/// MOVSS into a register: from memory it clears the rest, from a register it leaves it.
pub(crate) fn movss<B: Bank<2>>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    B::enter(core)?;
    let n = if i.has_memory() { 1 } else { B::FIRST + 1 };
    let value = scalar_source(core, i, n, Width::W32)?;
    let old = B::get(core, i.ops[B::FIRST]);
    let new = if i.has_memory() { [value, 0] } else { [old[0] & !0xffff_ffff | value, old[1]] };
    B::set(core, i.ops[0], new);
    Ok(())
}

/// MOVSD into a register: from memory it clears the rest, from a register it leaves it.
pub(crate) fn movsd<B: Bank<2>>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    B::enter(core)?;
    let n = if i.has_memory() { 1 } else { B::FIRST + 1 };
    let value = scalar_source(core, i, n, Width::W64)?;
    let high = if i.has_memory() { 0 } else { B::get(core, i.ops[B::FIRST])[1] };
    B::set(core, i.ops[0], [value, high]);
    Ok(())
}

/// MOVSS to memory or, of legacy forms, a register.
pub(crate) fn movss_store<B: Bank<2>>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    B::enter(core)?;
    let value = B::get(core, i.ops[1])[0] & 0xffff_ffff;
    if i.has_memory() {
        return store_word(core, i, Width::W32, value);
    }
    let old = B::get(core, i.ops[0]);
    B::set(core, i.ops[0], [old[0] & !0xffff_ffff | value, old[1]]);
    Ok(())
}

/// MOVSD to memory or, of legacy forms, a register; with `CLEAR`, MOVQ, which clears the rest of a
/// register.
pub(crate) fn store_low<B: Bank<2>, const CLEAR: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    let value = B::get(core, i.ops[1])[0];
    if i.has_memory() {
        return store_word(core, i, Width::W64, value);
    }
    let high = if CLEAR { 0 } else { B::get(core, i.ops[0])[1] };
    B::set(core, i.ops[0], [value, high]);
    Ok(())
}

/// MOVQ into an XMM register.
pub(crate) fn movq<B: Bank<2>>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    B::enter(core)?;
    let value = scalar_source(core, i, 1, Width::W64)?;
    B::set(core, i.ops[0], [value, 0]);
    Ok(())
}

/// Memory into quadword `N`, the other as it is: MOVLPS, MOVLPD, MOVHPS, MOVHPD.
pub(crate) fn load_half<B: Bank<2>, const N: usize>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    let mut value = B::get(core, i.ops[B::FIRST]);
    value[N] = scalar_source(core, i, B::FIRST + 1, Width::W64)?;
    B::set(core, i.ops[0], value);
    Ok(())
}

/// Quadword `N` to memory: MOVLPS, MOVLPD, MOVHPS, MOVHPD.
pub(crate) fn store_half<B: Bank<2>, const N: usize>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    let value = B::get(core, i.ops[1])[N];
    store_word(core, i, Width::W64, value)
}

/// MOVHLPS: the high quadword to the low one.
pub(crate) fn movhlps(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    [b[1], a[1]]
}

/// MOVLHPS: the low quadword to the high one.
pub(crate) fn movlhps(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    [a[0], b[0]]
}

/// MOVDDUP: quadwords with even numbers, twice each.
pub(crate) fn movddup<const Q: usize>(b: [u64; Q]) -> [u64; Q] {
    std::array::from_fn(|q| b[q & !1])
}

/// MOVQ into an MMX register.
pub(crate) fn movq_mmx(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter_mmx(core)?;
    let value = Mm::source(core, i, 1)?;
    Mm::used(core);
    Mm::set(core, i.ops[0], value);
    Ok(())
}

/// MOVQ and MOVNTQ of an MMX register to a register or memory.
pub(crate) fn movq_mmx_store(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter_mmx(core)?;
    let value = Mm::get(core, i.ops[1]);
    if i.has_memory() {
        Mm::storing(core);
        store_word(core, i, Width::W64, value[0])?;
        Mm::used(core);
    } else {
        Mm::used(core);
        Mm::set(core, i.ops[0], value);
    }
    Ok(())
}

/// MOVQ2DQ.
pub(crate) fn movq2dq(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter_both(core)?;
    Mm::used(core);
    let value = Mm::get(core, i.ops[1])[0];
    Xmm::set(core, i.ops[0], [value, 0]);
    Ok(())
}

/// MOVDQ2Q.
pub(crate) fn movdq2q(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter_both(core)?;
    Mm::used(core);
    let value = Xmm::get(core, i.ops[1])[0];
    Mm::set(core, i.ops[0], [value]);
    Ok(())
}

/// Stores to seg:rDI those bytes of `value` whose `mask` byte has bit 7 set. Each quadword has to
/// be writable as a whole, whatever its mask (the manual leaves it open), the highest one first.
fn store_masked<const Q: usize>(
    core: &mut Core,
    i: &Insn,
    value: [u64; Q],
    mask: [u64; Q],
) -> Result<(), Raised> {
    let start = core.regs[7];
    let at = |n: usize| start.wrapping_add(n as u64) & i.address_width().mask();
    for q in (0..Q).rev() {
        let lin = core.linear(i.seg(), at(8 * q), 8, true)?;
        core.place(core.class, i.seg(), lin, 8)?;
    }
    for n in (0..8 * Q).filter(|n| lane::<u8, Q>(&mask, *n) & 0x80 != 0) {
        core.store(Width::W8, i.seg(), at(n), lane::<u8, Q>(&value, n).into())?;
    }
    Ok(())
}

/// MASKMOVQ.
pub(crate) fn maskmovq(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter_mmx(core)?;
    let (value, mask) = (Mm::get(core, i.ops[1]), Mm::get(core, i.ops[2]));
    // Intel's CPUs do so even if the store faults.
    Mm::used(core);
    store_masked(core, i, value, mask)
}

/// MASKMOVDQU.
pub(crate) fn maskmovdqu<B: Bank<2>>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    B::enter(core)?;
    let (value, mask) = (B::get(core, i.ops[1]), B::get(core, i.ops[2]));
    store_masked(core, i, value, mask)
}

/// VZEROUPPER and, `ALL`, VZEROALL: of the registers that the mode has.
pub(crate) fn vzero<const ALL: bool>(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    enter_avx(core)?;
    let count = xmm_count(core);
    for ymm in &mut core.simd.ymm[..count] {
        ymm[if ALL { 0 } else { 2 }..].fill(0);
    }
    Ok(())
}

/// EMMS: all registers empty.
pub(crate) fn emms(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    enter_mmx(core)?;
    Mm::used(core);
    core.x87.valid = 0;
    Ok(())
}
