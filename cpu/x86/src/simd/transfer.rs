//! Between general registers (or memory of their sizes) and MMX or XMM registers; MXCSR.
//!
//! Source: SDM vol. 2, MOVD, PINSRB to PINSRW, PEXTRB to PEXTRW, EXTRACTPS, INSERTPS, MOVMSKPS,
//! PMOVMSKB, PTEST, VTESTPS, LDMXCSR, STMXCSR.

use super::{
    Bank,
    arrange::signs,
    lanes::{Lane, build, lane},
    load_word, store_word,
};
use crate::{Core, Insn, Raised, Width, fxsave::mxcsr_mask, rflags};

/// Operand `n`, a general register or memory, of width `w`.
#[inline(always)]
fn general(core: &mut Core, i: &Insn, n: usize, w: Width) -> Result<u64, Raised> {
    if i.is_memory(n) {
        return load_word(core, i, w);
    }
    Ok(core.get(w, i.ops[n]))
}

/// To operand 0: memory of width `w`, or a general register, whose rest is cleared.
#[inline(always)]
fn set_general(core: &mut Core, i: &Insn, w: Width, value: u64) -> Result<(), Raised> {
    if i.is_memory(0) {
        return store_word(core, i, w, value);
    }
    core.set(Width::W64, i.ops[0], value);
    Ok(())
}

/// MOVD and MOVQ into a register, whose rest is cleared. `WIDE` is 64 bits.
pub(crate) fn movd<B: Bank<Q>, const Q: usize, const WIDE: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    let value = general(core, i, 1, if WIDE { Width::W64 } else { Width::W32 })?;
    B::used(core);
    let mut new = [0; Q];
    new[0] = value;
    B::set(core, i.ops[0], new);
    Ok(())
}

/// MOVD and MOVQ from a register.
pub(crate) fn movd_store<B: Bank<Q>, const Q: usize, const WIDE: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    let w = if WIDE { Width::W64 } else { Width::W32 };
    let value = B::get(core, i.ops[1])[0] & w.mask();
    if i.is_memory(0) {
        B::storing(core);
    }
    set_general(core, i, w, value)?;
    B::used(core);
    Ok(())
}

/// PINSRB, PINSRW, PINSRD, PINSRQ.
pub(crate) fn insert<B: Bank<Q>, const Q: usize, L: Lane>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    let value = L::of(general(core, i, B::FIRST + 1, lane_width::<L>())?);
    B::used(core);
    let a = B::get(core, i.ops[B::FIRST]);
    let at = place::<L, Q>(i);
    B::set(core, i.ops[0], build::<L, Q>(|n| if n == at { value } else { lane(&a, n) }));
    Ok(())
}

/// PEXTRB, PEXTRW, PEXTRD, PEXTRQ, EXTRACTPS.
pub(crate) fn extract<B: Bank<Q>, const Q: usize, L: Lane>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    let value = lane::<L, Q>(&B::get(core, i.ops[1]), place::<L, Q>(i)).bits();
    set_general(core, i, lane_width::<L>(), value)?;
    B::used(core);
    Ok(())
}

/// The width of a lane.
pub(super) const fn lane_width<L: Lane>() -> Width {
    match L::BITS {
        8 => Width::W8,
        16 => Width::W16,
        32 => Width::W32,
        _ => Width::W64,
    }
}

/// The lane that the immediate names.
fn place<L: Lane, const Q: usize>(i: &Insn) -> usize {
    usize::from(i.imm as u8) % (Q * 64 / L::BITS as usize)
}

/// INSERTPS: one doubleword of the source (the only one, if it is memory) to one place, then
/// zeros where the immediate says.
pub(crate) fn insertps<B: Bank<2>>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    B::enter(core)?;
    let imm = i.imm as u8;
    let value = if i.has_memory() {
        load_word(core, i, Width::W32)? as u32
    } else {
        lane(&B::get(core, i.ops[B::FIRST + 1]), usize::from(imm >> 6))
    };
    let a = B::get(core, i.ops[B::FIRST]);
    let at = usize::from(imm >> 4 & 3);
    let new = build(|n| match () {
        () if imm >> n & 1 != 0 => 0,
        () if n == at => value,
        () => lane(&a, n),
    });
    B::set(core, i.ops[0], new);
    Ok(())
}

/// MOVMSKPS, MOVMSKPD, PMOVMSKB.
pub(crate) fn mask<B: Bank<Q>, const Q: usize, L: Lane>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    B::used(core);
    let bits = signs::<L, Q>(B::get(core, i.ops[1]));
    core.set(Width::W64, i.ops[0], bits);
    Ok(())
}

/// PTEST and, of the lanes' signs only, VTESTPS and VTESTPD (`BITS` are the bits that count): ZF
/// where the operands have no bit in common, CF where the first has all of the second's.
pub(crate) fn test<B: Bank<Q>, const Q: usize, const BITS: u64>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    let b = B::source(core, i, 1)?;
    let a = B::get(core, i.ops[0]);
    let none = |f: fn(u64, u64) -> u64| a.iter().zip(b).all(|(a, b)| f(*a, b) & BITS == 0);
    let zf = none(|a, b| a & b);
    let cf = none(|a, b| !a & b);
    core.flags.set_bits(if zf { rflags::ZF } else { 0 } | if cf { rflags::CF } else { 0 });
    Ok(())
}

/// LDMXCSR.
pub(crate) fn ldmxcsr<B: Bank<2>>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    B::enter(core)?;
    let value = load_word(core, i, Width::W32)? as u32;
    if value & !mxcsr_mask(&core.model) != 0 {
        return Err(core.gp(0));
    }
    core.simd.mxcsr = value;
    Ok(())
}

/// STMXCSR.
pub(crate) fn stmxcsr<B: Bank<2>>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    B::enter(core)?;
    let offset = core.address(i);
    let value = u64::from(core.simd.mxcsr);
    core.store(Width::W32, i.seg(), offset, value)
}
