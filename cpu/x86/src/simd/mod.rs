//! MMX, SSE to SSE4.2, AVX, AVX2, FMA, F16C, AES-NI, PCLMULQDQ, GFNI and SHA.
//!
//! What an instruction computes is a *lane function*: a pure function over `[u64; Q]`, where `Q` is
//! 1 for an MMX register, 2 for an XMM register and 4 for a YMM register. Lane functions know
//! nothing of registers, memory or faults: legacy and VEX forms share them. The functions in this
//! file are the shapes of instructions: they check, fetch, apply a lane function, and commit. What
//! legacy and VEX forms do differently is a [`Bank`]'s.
//!
//! Sources: SDM vol. 1, chapters 9 to 14; vol. 2A, sections 2.3 (VEX) and 2.7 (exception classes);
//! vol. 3A, chapters 13 and 14.

pub(crate) mod aes;
pub(crate) mod arrange;
pub(crate) mod clmul;
pub(crate) mod convert;
pub(crate) mod float;
pub(crate) mod fma;
pub(crate) mod gather;
pub(crate) mod gfni;
pub(crate) mod lanes;
pub(crate) mod masked;
pub(crate) mod moves;
pub(crate) mod multiply;
pub(crate) mod permute;
pub(crate) mod sha;
pub(crate) mod shift;
pub(crate) mod string;
pub(crate) mod transfer;

use crate::{Core, Insn, Place, Raised, Seg, Width, cr0, cr4, vector, xcr0};

/// A register file as a type: where a register of `Q` quadwords is.
pub(crate) trait Bank<const Q: usize> {
    /// Which operand is the first source; the second follows. Legacy forms overwrite the first.
    const FIRST: usize;
    /// The exceptions that come before any memory access.
    fn enter(core: &mut Core) -> Result<(), Raised>;
    /// A register.
    fn get(core: &Core, reg: u8) -> [u64; Q];
    /// Replaces a register.
    fn set(core: &mut Core, reg: u8, value: [u64; Q]);
    /// What an instruction does to the rest of the state once it can no longer fault.
    fn used(core: &mut Core);
    /// What an instruction does before it stores a register, and leaves done if that faults.
    fn storing(_: &mut Core) {}
    /// Operand `n`: a register, or memory (aligned, where that is asked of legacy forms).
    fn source(core: &mut Core, i: &Insn, n: usize) -> Result<[u64; Q], Raised>;
}

/// The MMX registers, which are the x87's.
pub(crate) struct Mm;

impl Bank<1> for Mm {
    const FIRST: usize = 0;

    #[inline(always)]
    fn enter(core: &mut Core) -> Result<(), Raised> {
        enter_mmx(core)
    }

    #[inline(always)]
    fn get(core: &Core, reg: u8) -> [u64; 1] {
        [core.x87.mm(reg)]
    }

    #[inline(always)]
    fn set(core: &mut Core, reg: u8, value: [u64; 1]) {
        core.x87.set_mm(reg, value[0]);
    }

    #[inline(always)]
    fn used(core: &mut Core) {
        core.x87.enter_mmx();
    }

    /// Intel's CPUs clear TOP first.
    #[inline(always)]
    fn storing(core: &mut Core) {
        core.x87.status &= !(7 << 11);
    }

    #[inline(always)]
    fn source(core: &mut Core, i: &Insn, n: usize) -> Result<[u64; 1], Raised> {
        if i.is_memory(n) {
            return Ok([load_word(core, i, Width::W64)?]);
        }
        Ok(Self::get(core, i.ops[n]))
    }
}

/// The XMM registers, the low halves of YMM. Legacy instructions leave the high halves alone.
pub(crate) struct Xmm;

impl Bank<2> for Xmm {
    const FIRST: usize = 0;

    #[inline(always)]
    fn enter(core: &mut Core) -> Result<(), Raised> {
        enter_sse(core)
    }

    #[inline(always)]
    fn get(core: &Core, reg: u8) -> [u64; 2] {
        let ymm = &core.simd.ymm[usize::from(reg & 15)];
        [ymm[0], ymm[1]]
    }

    #[inline(always)]
    fn set(core: &mut Core, reg: u8, value: [u64; 2]) {
        core.simd.ymm[usize::from(reg & 15)][..2].copy_from_slice(&value);
    }

    #[inline(always)]
    fn used(_: &mut Core) {}

    #[inline(always)]
    fn source(core: &mut Core, i: &Insn, n: usize) -> Result<[u64; 2], Raised> {
        if i.is_memory(n) {
            return load_aligned(core, i);
        }
        Ok(Self::get(core, i.ops[n]))
    }
}

/// XMM and YMM registers as VEX forms use them: a result clears all of the register above it, and
/// memory need not be aligned.
pub(crate) struct Vex;

impl<const Q: usize> Bank<Q> for Vex {
    const FIRST: usize = 1;

    #[inline(always)]
    fn enter(core: &mut Core) -> Result<(), Raised> {
        enter_avx(core)
    }

    #[inline(always)]
    fn get(core: &Core, reg: u8) -> [u64; Q] {
        let ymm = &core.simd.ymm[usize::from(reg & 15)];
        std::array::from_fn(|q| ymm[q])
    }

    #[inline(always)]
    fn set(core: &mut Core, reg: u8, value: [u64; Q]) {
        let ymm = &mut core.simd.ymm[usize::from(reg & 15)];
        *ymm = std::array::from_fn(|q| if q < Q { value[q] } else { 0 });
    }

    #[inline(always)]
    fn used(_: &mut Core) {}

    #[inline(always)]
    fn source(core: &mut Core, i: &Insn, n: usize) -> Result<[u64; Q], Raised> {
        if i.is_memory(n) {
            return load_unaligned(core, i);
        }
        Ok(Self::get(core, i.ops[n]))
    }
}

/// #UD and #NM of an instruction on XMM registers.
#[inline(always)]
pub(crate) fn enter_sse(core: &mut Core) -> Result<(), Raised> {
    let (cr0, cr4) = (core.control.cr0, core.control.cr4);
    if cr0 & (cr0::EM | cr0::TS) | !cr4 & cr4::OSFXSR != 0 {
        return Err(unavailable(core));
    }
    Ok(())
}

#[cold]
fn unavailable(core: &mut Core) -> Raised {
    if core.control.cr0 & cr0::EM != 0 || core.control.cr4 & cr4::OSFXSR == 0 {
        return core.ud();
    }
    core.fault(vector::NM)
}

/// #UD and #NM of a VEX form. CR0.EM and CR4.OSFXSR have no say.
#[inline(always)]
pub(crate) fn enter_avx(core: &mut Core) -> Result<(), Raised> {
    const ENABLED: u64 = xcr0::SSE | xcr0::AVX;
    let c = &core.control;
    let known = c.cr4 & cr4::OSXSAVE != 0 && c.xcr0 & ENABLED == ENABLED;
    if !known || !core.mode.protected() {
        return Err(core.ud());
    }
    if c.cr0 & cr0::TS != 0 {
        return Err(core.fault(vector::NM));
    }
    Ok(())
}

/// #UD, #NM and #MF of an instruction on MMX registers.
#[inline(always)]
pub(crate) fn enter_mmx(core: &mut Core) -> Result<(), Raised> {
    if core.control.cr0 & (cr0::EM | cr0::TS) != 0 {
        return Err(unavailable_mmx(core));
    }
    core.x87_wait()
}

#[cold]
fn unavailable_mmx(core: &mut Core) -> Raised {
    if core.control.cr0 & cr0::EM != 0 {
        return core.ud();
    }
    core.fault(vector::NM)
}

/// Both of them: an instruction on MMX and XMM registers.
#[inline(always)]
pub(crate) fn enter_both(core: &mut Core) -> Result<(), Raised> {
    enter_sse(core)?;
    enter_mmx(core)
}

/// A word of the memory operand.
#[inline(always)]
pub(crate) fn load_word(core: &mut Core, i: &Insn, w: Width) -> Result<u64, Raised> {
    let offset = core.address(i);
    if i.flat() {
        return core.load_linear(w, core.class, i.seg(), offset);
    }
    core.load(w, i.seg(), offset)
}

/// Stores a word to the memory operand.
#[inline(always)]
pub(crate) fn store_word(core: &mut Core, i: &Insn, w: Width, value: u64) -> Result<(), Raised> {
    let offset = core.address(i);
    if i.flat() {
        return core.store_linear(w, core.class, i.seg(), offset, value);
    }
    core.store(w, i.seg(), offset, value)
}

/// Quadwords at an offset in the memory operand's segment.
#[inline(always)]
fn load<const Q: usize>(core: &mut Core, i: &Insn, offset: u64) -> Result<[u64; Q], Raised> {
    if i.flat()
        && let Some(at) = core.readable(core.class, offset, 8 * Q as u64)
    {
        return Ok(std::array::from_fn(|q| core.load_ram(Width::W64, at + 8 * q as u64)));
    }
    load_slow(core, i.seg(), offset)
}

#[cold]
fn load_slow<const Q: usize>(core: &mut Core, seg: Seg, offset: u64) -> Result<[u64; Q], Raised> {
    let bytes: [[u8; 8]; Q] = {
        let lin = core.linear(seg, offset, 8 * Q as u64, false)?;
        let mut bytes = [[0; 8]; Q];
        core.load_linear_bytes(core.class, seg, lin, bytes.as_flattened_mut())?;
        bytes
    };
    Ok(bytes.map(u64::from_le_bytes))
}

/// The linear address of `w` at an offset in the memory operand's segment, for an element that is
/// not checked for alignment.
pub(crate) fn element(
    core: &mut Core,
    i: &Insn,
    offset: u64,
    w: Width,
    write: bool,
) -> Result<u64, Raised> {
    let lin = core.linear(i.seg(), offset, 1, write)?;
    core.linear(i.seg(), offset.wrapping_add(w.bytes() - 1), 1, write)?;
    Ok(lin)
}

/// The quadwords of the memory operand, wherever they are.
#[inline]
pub(crate) fn load_unaligned<const Q: usize>(
    core: &mut Core,
    i: &Insn,
) -> Result<[u64; Q], Raised> {
    let offset = core.address(i);
    load(core, i, offset)
}

/// The quadwords of the memory operand, which must be aligned to their size.
#[inline]
pub(crate) fn load_aligned<const Q: usize>(core: &mut Core, i: &Insn) -> Result<[u64; Q], Raised> {
    let offset = core.address(i);
    check_aligned(core, i.seg(), offset, 8 * Q as u64)?;
    load(core, i, offset)
}

/// Stores quadwords to the memory operand.
#[inline]
pub(crate) fn store<const Q: usize>(
    core: &mut Core,
    i: &Insn,
    v: [u64; Q],
    aligned: bool,
) -> Result<(), Raised> {
    let offset = core.address(i);
    if aligned {
        check_aligned(core, i.seg(), offset, 8 * Q as u64)?;
    }
    if i.flat()
        && let Some(at) = core.writable(core.class, offset, 8 * Q as u64)
    {
        for (at, word) in (at..).step_by(8).zip(v) {
            core.commit(Width::W64, Place::Ram(at), word);
        }
        return Ok(());
    }
    let lin = core.linear(i.seg(), offset, 8 * Q as u64, true)?;
    core.store_linear_bytes(core.class, i.seg(), lin, v.map(u64::to_le_bytes).as_flattened())
}

#[inline(always)]
fn check_aligned(core: &mut Core, seg: Seg, offset: u64, size: u64) -> Result<(), Raised> {
    let base = core.segments.seg[seg as usize].base;
    // In 64-bit mode only FS and GS have a base.
    let base = if core.mode.is_64() && (seg as u8) < Seg::Fs as u8 { 0 } else { base };
    if base.wrapping_add(offset) & (size - 1) != 0 {
        // On Intel's CPUs this comes before limits and canonical addresses, #SS included.
        return Err(core.gp(0));
    }
    Ok(())
}

/// The low `w` of XMM operand `n`, or memory of that width.
#[inline(always)]
pub(crate) fn scalar_source(core: &mut Core, i: &Insn, n: usize, w: Width) -> Result<u64, Raised> {
    if i.is_memory(n) {
        return load_word(core, i, w);
    }
    Ok(core.simd.ymm[usize::from(i.ops[n] & 15)][0] & w.mask())
}

/// Operand `n`: a register, or memory of `size` bytes (up to 16, a power of two).
#[inline(always)]
pub(crate) fn part_source<B: Bank<Q>, const Q: usize>(
    core: &mut Core,
    i: &Insn,
    n: usize,
    size: usize,
) -> Result<[u64; Q], Raised> {
    if !i.is_memory(n) {
        return Ok(B::get(core, i.ops[n]));
    }
    let mut out = [0; Q];
    match size {
        1 => out[0] = load_word(core, i, Width::W8)?,
        2 => out[0] = load_word(core, i, Width::W16)?,
        4 => out[0] = load_word(core, i, Width::W32)?,
        8 => out[0] = load_word(core, i, Width::W64)?,
        _ => {
            let words = load_unaligned::<2>(core, i)?;
            out.iter_mut().zip(words).for_each(|(out, word)| *out = word);
        }
    }
    Ok(out)
}

/// `dst = f(first, second)`.
#[inline(always)]
pub(crate) fn binary<B: Bank<Q>, const Q: usize>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn([u64; Q], [u64; Q]) -> [u64; Q],
) -> Result<(), Raised> {
    B::enter(core)?;
    let b = B::source(core, i, B::FIRST + 1)?;
    B::used(core);
    let a = B::get(core, i.ops[B::FIRST]);
    B::set(core, i.ops[0], f(a, b));
    Ok(())
}

/// `dst = f(dst, src)` of MMX where memory gives only 32 bits.
pub(crate) fn binary_low(
    core: &mut Core,
    i: &Insn,
    f: impl Fn([u64; 1], [u64; 1]) -> [u64; 1],
) -> Result<(), Raised> {
    enter_mmx(core)?;
    let b =
        if i.is_memory(1) { [load_word(core, i, Width::W32)?] } else { Mm::get(core, i.ops[1]) };
    Mm::used(core);
    let a = Mm::get(core, i.ops[0]);
    Mm::set(core, i.ops[0], f(a, b));
    Ok(())
}

/// `dst = f(src)`.
#[inline(always)]
pub(crate) fn unary<B: Bank<Q>, const Q: usize>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn([u64; Q]) -> [u64; Q],
) -> Result<(), Raised> {
    B::enter(core)?;
    let b = B::source(core, i, 1)?;
    B::used(core);
    B::set(core, i.ops[0], f(b));
    Ok(())
}

/// `dst = f(src)` where `size` bytes of the source count, and memory gives no more.
#[inline(always)]
pub(crate) fn widen<B: Bank<Q>, const Q: usize>(
    core: &mut Core,
    i: &Insn,
    size: usize,
    f: impl Fn([u64; Q]) -> [u64; Q],
) -> Result<(), Raised> {
    B::enter(core)?;
    let b = part_source::<B, Q>(core, i, 1, size)?;
    B::set(core, i.ops[0], f(b));
    Ok(())
}

/// `dst = f(first, second, imm8)`.
#[inline(always)]
pub(crate) fn binary_imm<B: Bank<Q>, const Q: usize>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn([u64; Q], [u64; Q], u8) -> [u64; Q],
) -> Result<(), Raised> {
    binary::<B, Q>(core, i, |a, b| f(a, b, i.imm as u8))
}

/// `dst = f(src, imm8)`.
#[inline(always)]
pub(crate) fn unary_imm<B: Bank<Q>, const Q: usize>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn([u64; Q], u8) -> [u64; Q],
) -> Result<(), Raised> {
    unary::<B, Q>(core, i, |b| f(b, i.imm as u8))
}

/// `dst = f(first, count)`: the count is the low quadword of the source.
#[inline(always)]
pub(crate) fn shift<B: Bank<Q>, const Q: usize>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn([u64; Q], u64) -> [u64; Q],
) -> Result<(), Raised> {
    binary::<B, Q>(core, i, |a, b| f(a, b[0]))
}

/// `dst = f(first, imm8)`.
#[inline(always)]
pub(crate) fn shift_imm<B: Bank<Q>, const Q: usize>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn([u64; Q], u64) -> [u64; Q],
) -> Result<(), Raised> {
    B::enter(core)?;
    B::used(core);
    let a = B::get(core, i.ops[B::FIRST]);
    B::set(core, i.ops[0], f(a, u64::from(i.imm as u8)));
    Ok(())
}

/// `dst = f(first, count)` of VEX forms, whose count is 128 bits also with a YMM register.
#[inline(always)]
pub(crate) fn shift_vex<const Q: usize>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn([u64; Q], u64) -> [u64; Q],
) -> Result<(), Raised> {
    enter_avx(core)?;
    let count: [u64; 2] = Vex::source(core, i, 2)?;
    let a = Vex::get(core, i.ops[1]);
    Vex::set(core, i.ops[0], f(a, count[0]));
    Ok(())
}

/// `dst = f(dst, first, second)` of VEX forms.
#[inline(always)]
pub(crate) fn ternary<const Q: usize>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn([u64; Q], [u64; Q], [u64; Q]) -> [u64; Q],
) -> Result<(), Raised> {
    let old = Vex::get(core, i.ops[0]);
    binary::<Vex, Q>(core, i, |a, b| f(old, a, b))
}

/// `dst = f(first, second, fourth operand)` of VEX forms.
#[inline(always)]
pub(crate) fn with_mask<const Q: usize>(
    core: &mut Core,
    i: &Insn,
    f: impl Fn([u64; Q], [u64; Q], [u64; Q]) -> [u64; Q],
) -> Result<(), Raised> {
    let mask = Vex::get(core, i.ops[3]);
    binary::<Vex, Q>(core, i, |a, b| f(a, b, mask))
}

/// `dst = f(dst, src, XMM0)`.
#[inline(always)]
pub(crate) fn with_xmm0(
    core: &mut Core,
    i: &Insn,
    f: impl Fn([u64; 2], [u64; 2], [u64; 2]) -> [u64; 2],
) -> Result<(), Raised> {
    let mask = Xmm::get(core, 0);
    binary::<Xmm, 2>(core, i, |a, b| f(a, b, mask))
}
