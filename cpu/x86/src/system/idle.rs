//! HLT, MONITOR, MWAIT, and the instructions that manage caches and translations: INVD,
//! WBINVD, INVLPG, INVPCID.
//!
//! Source: SDM vol. 2; vol. 3A, section 5.10.4.

use crate::{Core, Insn, Raised, Seg, cr4, insn::Width, segment::is_canonical, state::Activity};

/// HLT.
pub(crate) fn hlt(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    core.require_cpl0()?;
    core.events.activity = Activity::Halted;
    core.leave_block = true;
    Ok(())
}

/// MONITOR.
pub(crate) fn monitor(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    if core.cpl != 0 {
        return Err(core.ud());
    }
    if core.get(Width::W32, 1) != 0 {
        return Err(core.gp(0));
    }
    let offset = core.regs[0] & i.address_width().mask();
    let lin = core.linear(i.seg(), offset, 1, false)?;
    let at = core.translate(core.class, lin, crate::paging::Intent::Read)?;
    core.events.monitor = Some(at.0 & !63);
    Ok(())
}

/// MWAIT. Without anybody who watches the line, a CPU that is not alone must not sleep: another's
/// store would be missed. It then goes on at once, as the CPU may at any time.
pub(crate) fn mwait(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    if core.cpl != 0 {
        return Err(core.ud());
    }
    if core.get(Width::W32, 1) != 0 {
        return Err(core.gp(0));
    }
    if core.events.monitor.take().is_some() && core.model.cpus == 1 {
        core.events.activity = Activity::Halted;
    }
    core.leave_block = true;
    Ok(())
}

/// INVD and WBINVD: there are no caches to see.
pub(crate) fn wbinvd(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    core.require_cpl0()
}

/// INVLPG.
pub(crate) fn invlpg(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.require_cpl0()?;
    let seg = i.seg();
    let offset = core.address(i);
    let base = if i.mode.is_64() && (seg as u8) < Seg::Fs as u8 {
        0
    } else {
        core.segments.seg[seg as usize].base
    };
    let lin = base.wrapping_add(offset);
    core.flush_page(if i.mode.is_64() { lin } else { lin & 0xffff_ffff });
    Ok(())
}

/// INVPCID. Translations carry no PCID here: all but the global ones belong to the current one.
pub(crate) fn invpcid(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.require_cpl0()?;
    let w = if i.mode.is_64() { Width::W64 } else { Width::W32 };
    let kind = core.get(w, i.ops[0]);
    let offset = core.address(i);
    let bytes: [u8; 16] = core.load_array(i.seg(), offset)?;
    let descriptor = u128::from_le_bytes(bytes);
    let (pcid, lin) = (descriptor as u64, (descriptor >> 64) as u64);
    let pcide = core.control.cr4 & cr4::PCIDE != 0;
    let refused = match kind {
        0 => {
            pcid >> 12 != 0 || !pcide && pcid != 0 || !is_canonical(lin, core.widest_linear_bits())
        }
        1 => pcid >> 12 != 0 || !pcide && pcid != 0,
        2 | 3 => pcid >> 12 != 0,
        _ => true,
    };
    if refused {
        return Err(core.gp(0));
    }
    // A load of CR3 leaves no translations of other PCIDs.
    let current = pcid == if pcide { core.control.cr3 & 0xfff } else { 0 };
    match kind {
        0 if current => core.flush_page(lin),
        1 if current => core.flush_tlb_local(),
        0 | 1 => {}
        2 => core.flush_tlb(),
        _ => core.flush_tlb_local(),
    }
    Ok(())
}
