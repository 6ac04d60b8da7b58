//! RDTSC, RDTSCP, RDPMC, RDPID, RDRAND and RDSEED: values from outside the program.
//!
//! Source: SDM vol. 2.

use crate::{Core, Insn, Raised, cr4, insn::Width, rflags};

/// EDX:EAX = `value`.
fn set_edx_eax(core: &mut Core, value: u64) {
    core.set(Width::W32, 0, value & 0xffff_ffff);
    core.set(Width::W32, 2, value >> 32);
}

/// RDTSC.
pub(crate) fn rdtsc(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    if core.control.cr4 & cr4::TSD != 0 {
        core.require_cpl0()?;
    }
    let tsc = core.tsc();
    set_edx_eax(core, tsc);
    Ok(())
}

/// RDTSCP.
pub(crate) fn rdtscp(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    rdtsc(core, i)?;
    core.set(Width::W32, 1, core.msrs.tsc_aux & 0xffff_ffff);
    Ok(())
}

/// RDPMC: there are no counters.
pub(crate) fn rdpmc(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    Err(core.gp(0))
}

/// RDPID.
pub(crate) fn rdpid(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let w = if i.mode.is_64() { Width::W64 } else { Width::W32 };
    core.set(w, i.ops[0], core.msrs.tsc_aux & 0xffff_ffff);
    Ok(())
}

/// RDRAND and RDSEED: there is always entropy.
pub(crate) fn rdrand(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let value = core.bus.random(core.access());
    core.set(i.width(), i.ops[0], value & i.width().mask());
    core.flags.set_bits(rflags::CF);
    Ok(())
}
