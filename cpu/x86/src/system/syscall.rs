//! SYSCALL, SYSRET, SYSENTER and SYSEXIT.
//!
//! Intel's CPUs have the first two in 64-bit mode only, AMD's the last two not in long mode.
//!
//! Sources: SDM vol. 2, these instructions; vol. 3A, section 6.8.7 and 6.8.8; APM vol. 3, SYSCALL
//! and SYSRET.

use crate::{
    Core, Insn, Raised, Seg, Vendor, dr6, efer,
    insn::Width,
    rflags::{self, IF, RF, VM},
    segment::{
        ACCESSED, BIG, CODE, GRANULAR, LONG, NOT_SYSTEM, PRESENT, READABLE, WRITABLE, is_canonical,
    },
    state::Segment,
};

/// Flags that SYSRET takes from R11: all but RF, VM and the reserved ones.
const SYSRET_FLAGS: u64 = 0x003c_7fd7;

/// A flat code segment.
fn flat_code(selector: u16, dpl: u8, long: bool) -> Segment {
    let size = if long { LONG } else { BIG };
    let kind = CODE | READABLE | ACCESSED | NOT_SYSTEM | PRESENT | GRANULAR;
    flat(selector, kind | size | u32::from(dpl) << 5)
}

/// A flat stack segment.
fn flat_stack(selector: u16, dpl: u8) -> Segment {
    let kind = WRITABLE | ACCESSED | NOT_SYSTEM | PRESENT | GRANULAR | BIG;
    flat(selector, kind | u32::from(dpl) << 5)
}

fn flat(selector: u16, rights: u32) -> Segment {
    Segment { selector, base: 0, limit: u32::MAX, rights }
}

fn enter(core: &mut Core, cs: Segment, ss: Segment, ip: u64) {
    core.segments.seg[Seg::Ss as usize] = ss;
    core.enter(cs, ip);
}

/// Whether there are SYSCALL and SYSRET in this mode.
fn has_syscall(core: &Core, i: &Insn) -> bool {
    let here = i.mode.is_64() || core.model.vendor() == Vendor::Amd && core.protected_enabled();
    here && core.control.efer & efer::SCE != 0
}

/// SYSCALL.
pub(crate) fn syscall(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    if !has_syscall(core, i) {
        return Err(core.ud());
    }
    let selector = (core.msrs.star >> 32) as u16 & 0xfffc;
    let ss = flat_stack(selector.wrapping_add(8), 0);
    if !core.long_mode() {
        core.set(Width::W32, 1, core.rip);
        core.system_flags &= !(VM | IF | RF);
        let ip = core.msrs.star & 0xffff_ffff;
        enter(core, flat_code(selector, 0, false), ss, ip);
        return Ok(());
    }
    let flags = core.rflags() & !RF;
    core.regs[1] = core.rip;
    core.regs[11] = flags;
    let flags = flags & !core.msrs.fmask | rflags::FIXED;
    core.set_rflags(flags);
    // A trap after it goes by TF as the mask leaves it.
    core.entered_handler = flags & rflags::TF == 0;
    let ip = if i.mode.is_64() { core.msrs.lstar } else { core.msrs.cstar };
    enter(core, flat_code(selector, 0, true), ss, ip);
    Ok(())
}

/// SYSRET, to 64-bit code.
pub(crate) fn sysretq(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    sysret(core, i, true)
}

/// SYSRET, to compatibility mode.
pub(crate) fn sysretd(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    sysret(core, i, false)
}

fn sysret(core: &mut Core, i: &Insn, long: bool) -> Result<(), Raised> {
    if !has_syscall(core, i) {
        return Err(core.ud());
    }
    core.require_cpl0()?;
    let ip = if long { core.regs[1] } else { core.get(Width::W32, 1) };
    if !is_canonical(ip, core.linear_bits()) {
        return Err(core.gp(0));
    }
    let base = (core.msrs.star >> 48) as u16;
    let cs = base.wrapping_add(if long { 16 } else { 0 }) | 3;
    let ss = base.wrapping_add(8) | 3;
    if core.long_mode() {
        let flags = core.regs[11] & SYSRET_FLAGS | rflags::FIXED;
        core.set_rflags(flags);
        // As after SYSCALL, the trap goes by TF as it is now: it is the system call's.
        core.entered_handler = true;
        if flags & rflags::TF != 0 {
            core.events.pending_debug |= dr6::BS;
        }
    } else {
        core.system_flags |= IF;
    }
    enter(core, flat_code(cs, 3, long), flat_stack(ss, 3), ip);
    Ok(())
}

/// SYSENTER.
pub(crate) fn sysenter(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    require_sysenter(core)?;
    let selector = core.msrs.sysenter_cs as u16 & 0xfffc;
    if !core.protected_enabled() || selector == 0 {
        return Err(core.gp(0));
    }
    let long = core.long_mode();
    let (sp, ip) = (core.msrs.sysenter_esp, core.msrs.sysenter_eip);
    let mask = if long { u64::MAX } else { 0xffff_ffff };
    core.system_flags &= !(VM | IF | RF);
    core.regs[4] = sp & mask;
    let ss = flat_stack(selector.wrapping_add(8), 0);
    enter(core, flat_code(selector, 0, long), ss, ip & mask);
    Ok(())
}

/// SYSEXIT to 64-bit code.
pub(crate) fn sysexitq(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    sysexit(core, true)
}

/// SYSEXIT to 32-bit code.
pub(crate) fn sysexitd(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    sysexit(core, false)
}

/// AMD's CPUs have SYSENTER and SYSEXIT in legacy mode only.
fn require_sysenter(core: &mut Core) -> Result<(), Raised> {
    if core.long_mode() && core.model.vendor() == Vendor::Amd { Err(core.ud()) } else { Ok(()) }
}

fn sysexit(core: &mut Core, long: bool) -> Result<(), Raised> {
    require_sysenter(core)?;
    let base = core.msrs.sysenter_cs as u16 & 0xfffc;
    if !core.protected_enabled() || base == 0 {
        return Err(core.gp(0));
    }
    core.require_cpl0()?;
    let w = if long { Width::W64 } else { Width::W32 };
    let (ip, sp) = (core.get(w, 2), core.get(w, 1));
    let bits = core.linear_bits();
    if !is_canonical(ip, bits) || !is_canonical(sp, bits) {
        return Err(core.gp(0));
    }
    let cs = base.wrapping_add(if long { 32 } else { 16 }) | 3;
    core.regs[4] = sp;
    enter(core, flat_code(cs, 3, long), flat_stack(cs.wrapping_add(8), 3), ip);
    Ok(())
}
