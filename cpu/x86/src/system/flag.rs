//! CLI, STI, CLAC, STAC, PUSHF and POPF, with the virtual interrupt flag.
//!
//! Sources: SDM vol. 2, these instructions; vol. 3A, sections 22.3 and 22.4 (VME, PVI).

use crate::{
    Core, Insn, Raised, Seg, cr4,
    insn::Width,
    rflags::{self, AC, ID, IF, IOPL, NT, RF, TF, VIF, VIP, VM},
    state::Shadow,
};

/// What stands behind IF for CLI and STI at the present mode and privilege.
enum Which {
    /// EFLAGS.IF.
    If,
    /// EFLAGS.VIF.
    Vif,
}

/// Which flag CLI and STI touch.
fn which(core: &mut Core) -> Result<Which, Raised> {
    if core.cpl <= core.iopl() && !core.vm86() || core.vm86() && core.iopl() == 3 {
        return Ok(Which::If);
    }
    let virtual_flag = if core.vm86() { cr4::VME } else { cr4::PVI };
    if core.cpl == 3 && core.control.cr4 & virtual_flag != 0 {
        Ok(Which::Vif)
    } else {
        Err(core.gp(0))
    }
}

/// CLI.
pub(crate) fn cli(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    match which(core)? {
        Which::If => core.system_flags &= !IF,
        Which::Vif => core.system_flags &= !VIF,
    }
    Ok(())
}

/// STI.
pub(crate) fn sti(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    match which(core)? {
        Which::If => {
            if core.system_flags & IF == 0 {
                core.events.shadow = Shadow::Sti;
            }
            core.system_flags |= IF;
        }
        Which::Vif => {
            if core.system_flags & VIP != 0 {
                return Err(core.gp(0));
            }
            core.system_flags |= VIF;
        }
    }
    core.leave_block = true;
    Ok(())
}

/// CLAC.
pub(crate) fn clac(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    set_ac(core, false)
}

/// STAC.
pub(crate) fn stac(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    set_ac(core, true)
}

fn set_ac(core: &mut Core, set: bool) -> Result<(), Raised> {
    if core.cpl != 0 {
        return Err(core.ud());
    }
    core.system_flags = core.system_flags & !AC | if set { AC } else { 0 };
    // At CPL 0 nothing else depends on it.
    core.class = core.supervisor_class();
    Ok(())
}

/// Whether V86 code has to do with VIF in place of IF: IOPL below 3, and CR4.VME allows it.
pub(crate) fn vm86_virtual(core: &mut Core, w: Width) -> Result<bool, Raised> {
    if !core.vm86() || core.iopl() == 3 {
        return Ok(false);
    }
    if core.control.cr4 & cr4::VME == 0 || w != Width::W16 {
        return Err(core.gp(0));
    }
    Ok(true)
}

/// FLAGS as V86 code with VME sees them: VIF for IF, and IOPL 3.
pub(crate) fn virtual_flags(flags: u64) -> u64 {
    flags & !IF | IOPL | if flags & VIF != 0 { IF } else { 0 }
}

/// PUSHF.
pub(crate) fn pushf(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let w = i.width();
    let flags = core.rflags();
    let image = if vm86_virtual(core, w)? { virtual_flags(flags) } else { flags & !(RF | VM) };
    let sp = core.sp().wrapping_sub(w.bytes()) & i.mode.stack().mask();
    core.store(w, Seg::Ss, sp, image & w.mask())?;
    core.set_sp(sp);
    Ok(())
}

/// POPF.
pub(crate) fn popf(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let w = i.width();
    let with_vif = vm86_virtual(core, w)?;
    let sp = core.sp();
    let image = core.load(w, Seg::Ss, sp)?;
    if with_vif {
        core.pop_virtual_flags(image)?;
    } else {
        let mask = core.flags_writable(w) & !(VIF | VIP | VM);
        let mask = if core.vm86() { mask & !IOPL } else { mask };
        let keep = core.rflags() & !(mask | if w == Width::W16 { 0 } else { RF });
        core.set_rflags(image & mask & !RF | keep);
    }
    core.set_sp(sp.wrapping_add(w.bytes()));
    core.leave_block = true;
    Ok(())
}

impl Core {
    /// The flags that POPF and IRET of width `w` may change at this privilege.
    pub(crate) fn flags_writable(&self, w: Width) -> u64 {
        let mut mask = rflags::ARITHMETIC | TF | rflags::DF | NT;
        if w != Width::W16 {
            mask |= RF | AC | ID;
        }
        if self.cpl <= self.iopl() {
            mask |= IF;
        }
        if self.cpl == 0 {
            mask |= IOPL;
            if w != Width::W16 {
                mask |= VIF | VIP | VM;
            }
        }
        mask
    }

    /// FLAGS from `image` in V86 mode with VME and IOPL below 3: IF goes to VIF.
    ///
    /// # Errors
    /// #GP(0) where the monitor has to see to it.
    pub(crate) fn pop_virtual_flags(&mut self, image: u64) -> Result<(), Raised> {
        let wants_if = image & IF != 0;
        if wants_if && self.system_flags & VIP != 0 || image & TF != 0 {
            return Err(self.gp(0));
        }
        let mask = rflags::ARITHMETIC | TF | rflags::DF | NT | VIF;
        let image = image & !VIF | if wants_if { VIF } else { 0 };
        let flags = image & mask | self.rflags() & !mask;
        self.set_rflags(flags);
        Ok(())
    }
}
