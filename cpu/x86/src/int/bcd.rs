//! Decimal adjustments: AAA, AAS, AAM, AAD, DAA and DAS.
//!
//! Flags that the manual calls undefined are as Intel's CPUs leave them.
//! Source: SDM vol. 2; vol. 1, section 7.3.5.

use super::{AH, RAX};
use crate::{Core, Insn, Raised, Width, rflags, vector};

/// ZF, SF and PF of AL with CF and AF as given; OF cleared.
fn set_flags(core: &mut Core, al: u64, cf: bool, af: bool) {
    core.flags.logic(Width::W8, al);
    let bits = if cf { rflags::CF } else { 0 } | if af { rflags::AF } else { 0 };
    core.flags.set_masked(rflags::CF | rflags::AF, bits);
}

/// AAA.
pub(crate) fn aaa(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    let ax = core.get(Width::W16, RAX);
    let adjust = ax & 0xf > 9 || core.flags.af();
    let ax = if adjust { ax.wrapping_add(0x106) } else { ax };
    core.set(Width::W16, RAX, ax & 0xff0f);
    set_flags(core, ax & 0xf, adjust, adjust);
    Ok(())
}

/// AAS.
pub(crate) fn aas(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    let ax = core.get(Width::W16, RAX);
    let adjust = ax & 0xf > 9 || core.flags.af();
    let ax = if adjust { ax.wrapping_sub(0x106) } else { ax };
    core.set(Width::W16, RAX, ax & 0xff0f);
    set_flags(core, ax & 0xf, adjust, adjust);
    Ok(())
}

/// AAM: #DE for a base of 0.
pub(crate) fn aam(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let al = core.get(Width::W8, RAX);
    let base = u64::from(i.imm as u8);
    let (Some(high), Some(low)) = (al.checked_div(base), al.checked_rem(base)) else {
        return Err(core.fault(vector::DE));
    };
    core.set(Width::W8, AH, high);
    core.set(Width::W8, RAX, low);
    set_flags(core, low, false, false);
    Ok(())
}

/// AAD.
pub(crate) fn aad(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let (al, ah) = (core.get(Width::W8, RAX), core.get(Width::W8, AH));
    let product = (ah * u64::from(i.imm as u8)) & 0xff;
    let value = (al + product) & 0xff;
    core.set(Width::W16, RAX, value);
    core.flags.add(Width::W8, al, product, value);
    Ok(())
}

/// DAA.
pub(crate) fn daa(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    let al = core.get(Width::W8, RAX);
    let (low, high) = (al & 0xf > 9 || core.flags.af(), al > 0x99 || core.flags.cf());
    let value = al + if low { 6 } else { 0 } + if high { 0x60 } else { 0 };
    core.set(Width::W8, RAX, value & 0xff);
    set_flags(core, value & 0xff, high, low);
    Ok(())
}

/// DAS.
pub(crate) fn das(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    let al = core.get(Width::W8, RAX);
    let (low, high) = (al & 0xf > 9 || core.flags.af(), al > 0x99 || core.flags.cf());
    let borrow = low && al < 6;
    let value = al.wrapping_sub(if low { 6 } else { 0 }).wrapping_sub(if high { 0x60 } else { 0 });
    core.set(Width::W8, RAX, value & 0xff);
    set_flags(core, value & 0xff, high || borrow, low);
    Ok(())
}
