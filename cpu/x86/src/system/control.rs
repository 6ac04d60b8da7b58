//! Control registers: MOV CR, LMSW, SMSW, CLTS, XGETBV, XSETBV, RDPKRU, WRPKRU.
//!
//! Sources: SDM vol. 2, these instructions; vol. 3A, sections 2.5, 2.6, 5.1.1, 5.4.1 and 11.8.5.

use crate::{
    Core, Feature as F, Insn, Raised, Seg, cr0, cr4, efer,
    insn::Width,
    segment::{LONG, is_canonical},
    system::descriptor::SYSTEM_TYPE,
    xsave,
};

/// The bits that CR0 has.
const CR0: u64 = cr0::PE
    | cr0::MP
    | cr0::EM
    | cr0::TS
    | cr0::ET
    | cr0::NE
    | cr0::WP
    | cr0::AM
    | cr0::NW
    | cr0::CD
    | cr0::PG;

/// MOV from CRn.
pub(crate) fn mov_from_cr(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let value = match i.ops[1] {
        0 => core.control.cr0,
        2 => core.control.cr2,
        3 => core.control.cr3,
        4 => core.control.cr4,
        8 if i.mode.is_64() => {
            core.require_cpl0()?;
            u64::from(core.bus.task_priority(core.access()))
        }
        _ => return Err(core.ud()),
    };
    core.require_cpl0()?;
    let w = if i.mode.is_64() { Width::W64 } else { Width::W32 };
    core.set(w, i.ops[0], value & w.mask());
    Ok(())
}

/// MOV to CRn.
pub(crate) fn mov_to_cr(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    if !(matches!(i.ops[0], 0 | 2..=4) || i.ops[0] == 8 && i.mode.is_64()) {
        return Err(core.ud());
    }
    core.require_cpl0()?;
    let w = if i.mode.is_64() { Width::W64 } else { Width::W32 };
    let value = core.get(w, i.ops[1]);
    match i.ops[0] {
        0 => core.set_cr0(value),
        2 => {
            core.control.cr2 = value;
            Ok(())
        }
        3 => core.set_cr3(value),
        4 => core.set_cr4(value),
        _ => {
            if value > 15 {
                return Err(core.gp(0));
            }
            core.bus.set_task_priority(core.access(), value as u8);
            core.leave_block = true;
            Ok(())
        }
    }
}

/// LMSW: sets MP, EM and TS of CR0 to what they are in the operand, and PE if it is.
pub(crate) fn lmsw(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.require_cpl0()?;
    let source = core.source_16(i, 0)?;
    let kept = core.control.cr0 & !(cr0::MP | cr0::EM | cr0::TS);
    core.set_cr0(kept | source & 0xf)
}

/// SMSW.
pub(crate) fn smsw(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.require_no_umip()?;
    let value = core.control.cr0;
    if i.is_memory(0) {
        let offset = core.address(i);
        core.store(Width::W16, i.seg(), offset, value & 0xffff)
    } else {
        core.set(i.width(), i.ops[0], value & i.width().mask());
        Ok(())
    }
}

/// CLTS.
pub(crate) fn clts(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    core.require_cpl0()?;
    core.control.cr0 &= !cr0::TS;
    Ok(())
}

/// XGETBV.
pub(crate) fn xgetbv(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    if core.control.cr4 & cr4::OSXSAVE == 0 {
        return Err(core.ud());
    }
    let value = match core.get(Width::W32, 1) {
        0 => core.control.xcr0,
        1 if core.model.has(F::Xsavec) => xsave::in_use(core, core.control.xcr0),
        _ => return Err(core.gp(0)),
    };
    core.set(Width::W32, 0, value & 0xffff_ffff);
    core.set(Width::W32, 2, value >> 32);
    Ok(())
}

/// XSETBV.
pub(crate) fn xsetbv(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    if core.control.cr4 & cr4::OSXSAVE == 0 {
        return Err(core.ud());
    }
    core.require_cpl0()?;
    let value = core.get(Width::W32, 2) << 32 | core.get(Width::W32, 0);
    if core.get(Width::W32, 1) != 0 || !xsave::is_valid_xcr0(&core.model, value) {
        return Err(core.gp(0));
    }
    core.control.xcr0 = value;
    Ok(())
}

/// RDPKRU.
pub(crate) fn rdpkru(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    if core.control.cr4 & cr4::PKE == 0 {
        return Err(core.ud());
    }
    if core.get(Width::W32, 1) != 0 {
        return Err(core.gp(0));
    }
    core.set(Width::W32, 0, u64::from(core.control.pkru));
    core.set(Width::W32, 2, 0);
    Ok(())
}

/// WRPKRU.
pub(crate) fn wrpkru(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    if core.control.cr4 & cr4::PKE == 0 {
        return Err(core.ud());
    }
    if core.get(Width::W32, 1) != 0 || core.get(Width::W32, 2) != 0 {
        return Err(core.gp(0));
    }
    core.control.pkru = core.get(Width::W32, 0) as u32;
    // What the keys allow is in the entries.
    core.flush_tlb();
    Ok(())
}

impl Core {
    /// #GP(0) for SGDT, SIDT, SLDT, SMSW and STR at CPL above 0 with CR4.UMIP.
    pub(crate) fn require_no_umip(&mut self) -> Result<(), Raised> {
        if self.control.cr4 & cr4::UMIP != 0 { self.require_cpl0() } else { Ok(()) }
    }

    /// Operand `n`: 16 bits of a register or of memory.
    pub(crate) fn source_16(&mut self, i: &Insn, n: usize) -> Result<u64, Raised> {
        if i.is_memory(n) {
            let offset = self.address(i);
            self.load(Width::W16, i.seg(), offset)
        } else {
            Ok(self.get(Width::W16, i.ops[n]))
        }
    }

    /// Loads CR0.
    pub(crate) fn set_cr0(&mut self, value: u64) -> Result<(), Raised> {
        let old = self.control.cr0;
        let new = value & CR0 | cr0::ET;
        let has = |bit| new & bit != 0;
        if value >> 32 != 0 || has(cr0::PG) && !has(cr0::PE) || has(cr0::NW) && !has(cr0::CD) {
            return Err(self.gp(0));
        }
        let changed = old ^ new;
        if changed & cr0::PG != 0 {
            self.check_paging_switch(has(cr0::PG))?;
        }
        let will_be_long = has(cr0::PG) && self.control.efer & efer::LME != 0;
        let pae = has(cr0::PG) && self.control.cr4 & cr4::PAE != 0 && !will_be_long;
        if pae && changed & (cr0::PG | cr0::CD | cr0::NW) != 0 {
            self.load_pdptes(self.control.cr3)?;
        }
        self.control.cr0 = new;
        self.control.efer &= !efer::LMA;
        if will_be_long {
            self.control.efer |= efer::LMA;
        }
        if changed & (cr0::PG | cr0::PE | cr0::WP) != 0 {
            self.flush_tlb();
        }
        self.refresh();
        Ok(())
    }

    /// What has to be so before CR0.PG changes.
    fn check_paging_switch(&mut self, on: bool) -> Result<(), Raised> {
        let cs_long = self.segments.seg[Seg::Cs as usize].rights & LONG != 0;
        let refused = if on {
            // TSS types below 8 are the 286's.
            let tss_16 = self.segments.tr.rights & SYSTEM_TYPE < 8;
            self.control.efer & efer::LME != 0
                && (self.control.cr4 & cr4::PAE == 0 || cs_long || tss_16)
        } else {
            self.mode.is_64() || self.control.cr4 & cr4::PCIDE != 0
        };
        if refused { Err(self.gp(0)) } else { Ok(()) }
    }

    /// Loads CR3.
    pub(crate) fn set_cr3(&mut self, value: u64) -> Result<(), Raised> {
        let pcide = self.control.cr4 & cr4::PCIDE != 0;
        // Bit 63 promises that translations under the new PCID are still good. Ours carry no PCID,
        // so only what belongs to the same tables may stay.
        let keep = pcide && value >> 63 != 0;
        let new = if keep { value & !(1 << 63) } else { value };
        let high = u64::MAX << self.model.physical_bits();
        if self.long_mode() {
            if new & high != 0 {
                return Err(self.gp(0));
            }
        } else if self.control.cr0 & cr0::PG != 0 && self.control.cr4 & cr4::PAE != 0 {
            self.load_pdptes(new)?;
        }
        let same = self.control.cr3 == new;
        self.control.cr3 = new;
        if !(keep && same) {
            self.flush_tlb_local();
        }
        Ok(())
    }

    /// The bits that CR4 may have.
    pub(crate) fn cr4_allowed(&self) -> u64 {
        const BITS: [(F, u64); 20] = [
            (F::Vme, cr4::VME | cr4::PVI),
            (F::Tsc, cr4::TSD),
            (F::De, cr4::DE),
            (F::Pse, cr4::PSE),
            (F::Pae, cr4::PAE),
            (F::Mce, cr4::MCE),
            (F::Pge, cr4::PGE),
            (F::Mmx, cr4::PCE),
            (F::Fxsr, cr4::OSFXSR),
            (F::Sse, cr4::OSXMMEXCPT),
            (F::Umip, cr4::UMIP),
            (F::La57, cr4::LA57),
            (F::Fsgsbase, cr4::FSGSBASE),
            (F::Pcid, cr4::PCIDE),
            (F::Xsave, cr4::OSXSAVE),
            (F::Smep, cr4::SMEP),
            (F::Smap, cr4::SMAP),
            (F::Pku, cr4::PKE),
            (F::Pks, cr4::PKS),
            (F::Lm, cr4::PAE),
        ];
        BITS.iter().fold(0, |all, (f, bits)| if self.model.has(*f) { all | bits } else { all })
    }

    /// Loads CR4.
    pub(crate) fn set_cr4(&mut self, new: u64) -> Result<(), Raised> {
        let old = self.control.cr4;
        let changed = old ^ new;
        let long = self.long_mode();
        let lost = |bit| changed & bit != 0 && new & bit == 0;
        let gained = |bit| changed & bit != 0 && new & bit != 0;
        let refused = new & !self.cr4_allowed() != 0
            || long && (lost(cr4::PAE) || changed & cr4::LA57 != 0)
            || gained(cr4::PCIDE) && (!long || self.control.cr3 & 0xfff != 0);
        if refused {
            return Err(self.gp(0));
        }
        let paging = self.control.cr0 & cr0::PG != 0;
        let form = cr4::PAE | cr4::PSE | cr4::PGE | cr4::SMEP;
        if paging && !long && new & cr4::PAE != 0 && changed & form != 0 {
            self.load_pdptes(self.control.cr3)?;
        }
        self.control.cr4 = new;
        let rights = form | cr4::SMAP | cr4::PKE | cr4::PKS | cr4::PCIDE | cr4::LA57;
        if changed & rights != 0 {
            self.flush_tlb();
        }
        self.refresh();
        Ok(())
    }
}

/// RDFSBASE and RDGSBASE.
fn read_base(core: &mut Core, i: &Insn, seg: Seg) -> Result<(), Raised> {
    if !i.mode.is_64() || core.control.cr4 & cr4::FSGSBASE == 0 {
        return Err(core.ud());
    }
    let base = core.segments.seg[seg as usize].base;
    core.set(i.width(), i.ops[0], base & i.width().mask());
    Ok(())
}

/// WRFSBASE and WRGSBASE.
fn write_base(core: &mut Core, i: &Insn, seg: Seg) -> Result<(), Raised> {
    if !i.mode.is_64() || core.control.cr4 & cr4::FSGSBASE == 0 {
        return Err(core.ud());
    }
    let base = core.get(i.width(), i.ops[0]);
    if !is_canonical(base, core.linear_bits()) {
        return Err(core.gp(0));
    }
    core.segments.seg[seg as usize].base = base;
    Ok(())
}

/// RDFSBASE.
pub(crate) fn rdfsbase(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    read_base(core, i, Seg::Fs)
}

/// RDGSBASE.
pub(crate) fn rdgsbase(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    read_base(core, i, Seg::Gs)
}

/// WRFSBASE.
pub(crate) fn wrfsbase(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    write_base(core, i, Seg::Fs)
}

/// WRGSBASE.
pub(crate) fn wrgsbase(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    write_base(core, i, Seg::Gs)
}

/// SWAPGS.
pub(crate) fn swapgs(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    if !i.mode.is_64() {
        return Err(core.ud());
    }
    core.require_cpl0()?;
    let gs = &mut core.segments.seg[Seg::Gs as usize].base;
    std::mem::swap(gs, &mut core.msrs.kernel_gs_base);
    Ok(())
}
