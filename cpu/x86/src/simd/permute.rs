//! Lane functions that came with AVX and AVX2: permutations and broadcasts; and the moves of 128
//! bits out of a YMM register.
//!
//! Source: SDM vol. 2C, VBROADCAST, VEXTRACTF128, VINSERTF128, VPERM2F128, VPERMD to VPERMQ.

use super::{
    Bank, Vex, enter_avx,
    lanes::{Lane, build, lane},
    store,
};
use crate::{Core, Insn, Raised};

/// The lowest lane in all lanes.
#[inline]
pub(crate) fn broadcast<L: Lane, const Q: usize>(b: [u64; Q]) -> [u64; Q] {
    let low: L = lane(&b, 0);
    build(|_| low)
}

/// VBROADCASTF128, VBROADCASTI128.
pub(crate) fn broadcast128(b: [u64; 4]) -> [u64; 4] {
    [b[0], b[1], b[0], b[1]]
}

/// VPERMILPS: doublewords of `a` that `b` names, in each 16 bytes.
#[inline]
pub(crate) fn vpermilps<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    build::<u32, Q>(|n| lane(&a, n / 4 * 4 + lane::<u32, Q>(&b, n) as usize % 4))
}

/// VPERMILPD: quadwords of `a` that bit 1 of each of `b` names, in each 16 bytes.
#[inline]
pub(crate) fn vpermilpd<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    std::array::from_fn(|q| a[q / 2 * 2 + (b[q] >> 1 & 1) as usize])
}

/// VPERMILPD: quadwords of `b` that the immediate names, in each 16 bytes.
#[inline]
pub(crate) fn vpermilpd_imm<const Q: usize>(b: [u64; Q], imm: u8) -> [u64; Q] {
    std::array::from_fn(|q| b[q / 2 * 2 + usize::from(imm >> q & 1)])
}

/// VPERMD, VPERMPS: doublewords of `b` that `a` names.
pub(crate) fn vpermd(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    build::<u32, 4>(|n| lane(&b, lane::<u32, 4>(&a, n) as usize % 8))
}

/// VPERMQ, VPERMPD: quadwords that the immediate names.
pub(crate) fn vpermq(b: [u64; 4], imm: u8) -> [u64; 4] {
    std::array::from_fn(|q| b[usize::from(imm >> (2 * q) & 3)])
}

/// VPERM2F128, VPERM2I128: halves of `a` and `b` that the immediate names, or zeros.
pub(crate) fn vperm2f128(a: [u64; 4], b: [u64; 4], imm: u8) -> [u64; 4] {
    std::array::from_fn(|q| {
        let control = imm >> (q / 2 * 4);
        let from = if control & 2 == 0 { &a } else { &b };
        if control & 8 != 0 { 0 } else { from[usize::from(control & 1) * 2 + q % 2] }
    })
}

/// VINSERTF128, VINSERTI128: `b` for the half of the first source that the immediate names.
pub(crate) fn insert(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter_avx(core)?;
    let b: [u64; 2] = Vex::source(core, i, 2)?;
    let mut value: [u64; 4] = Vex::get(core, i.ops[1]);
    let at = 2 * (i.imm as usize & 1);
    value[at..at + 2].copy_from_slice(&b);
    Vex::set(core, i.ops[0], value);
    Ok(())
}

/// VEXTRACTF128, VEXTRACTI128: the half that the immediate names.
pub(crate) fn extract(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter_avx(core)?;
    let value: [u64; 4] = Vex::get(core, i.ops[1]);
    let at = 2 * (i.imm as usize & 1);
    let half = [value[at], value[at + 1]];
    if i.is_memory(0) {
        return store(core, i, half, false);
    }
    Vex::set(core, i.ops[0], half);
    Ok(())
}
