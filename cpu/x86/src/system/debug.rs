//! MOV to and from debug registers.
//!
//! Source: SDM vol. 3B, sections 18.2.2 to 18.2.6.

use crate::{Core, Exception, Insn, Raised, cr4, dr6, dr7, insn::Width, vector};

/// Bits of DR6 that software may change.
const DR6: u64 = 0xf | dr6::BD | dr6::BS | dr6::BT;
/// Bits of DR7 that software may change.
const DR7: u64 = 0xffff_0000 | dr7::GD | 0x3ff;

/// The register that `number` names, once nothing speaks against touching it.
fn checked(core: &mut Core, number: u8) -> Result<u8, Raised> {
    let number = match number {
        4 | 5 if core.control.cr4 & cr4::DE == 0 => number + 2,
        0..=3 | 6 | 7 => number,
        _ => return Err(core.ud()),
    };
    core.require_cpl0()?;
    if core.debug.dr7 & dr7::GD != 0 {
        return Err(core.raise(Exception { vector: vector::DB, code: None, payload: dr6::BD }));
    }
    Ok(number)
}

/// MOV from DRn.
pub(crate) fn mov_from_dr(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let value = match checked(core, i.ops[1])? {
        6 => core.debug.dr6,
        7 => core.debug.dr7,
        n => core.debug.address[usize::from(n & 3)],
    };
    let w = if i.mode.is_64() { Width::W64 } else { Width::W32 };
    core.set(w, i.ops[0], value & w.mask());
    Ok(())
}

/// MOV to DRn.
pub(crate) fn mov_to_dr(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let number = checked(core, i.ops[0])?;
    let w = if i.mode.is_64() { Width::W64 } else { Width::W32 };
    let value = core.get(w, i.ops[1]);
    if number >= 6 && value >> 32 != 0 {
        return Err(core.gp(0));
    }
    let was_enabled = core.debug.dr7 & dr7::ENABLES != 0;
    match number {
        6 => core.debug.dr6 = value & DR6 | dr6::FIXED,
        7 => core.debug.dr7 = value & DR7 | dr7::FIXED,
        n => core.debug.address[usize::from(n & 3)] = value,
    }
    if number != 6 && (was_enabled || core.debug.dr7 & dr7::ENABLES != 0) {
        // Watched pages have no tags in the TLB.
        core.flush_tlb();
    }
    core.leave_block = true;
    Ok(())
}
