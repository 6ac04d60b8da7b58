//! VMCALL and VMMCALL: what a hypervisor answers.
//!
//! Where CPUID tells of a hypervisor, these instructions call it: VMCALL on Intel's CPUs, VMMCALL
//! on AMD's. Under KVM the host's kernel answers, whoever asks; so that a guest finds the same with
//! every engine, we speak as it does. Source: Linux, `Documentation/virt/kvm/x86/hypercalls.rst`.

use crate::{Core, Insn, Raised, Vendor, insn::Width};

/// Results: no such call, not allowed, no such argument.
const ENOSYS: i64 = -1000;
const EPERM: i64 = -1;
const EINVAL: i64 = -22;

/// Calls: look whether an interrupt waits; send an interrupt to a set of CPUs.
const VAPIC_POLL_IRQ: u64 = 1;
const SEND_IPI: u64 = 10;

/// The interrupt command register's delivery mode and vector, which a call gives; the rest of it
/// would be the destination's.
const ICR_DELIVERY: u64 = 0x7ff;
const ICR_DESTINATION: u64 = 0xc_0800;

/// VMCALL.
pub(crate) fn vmcall(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    hypercall(core, i, Vendor::Intel)
}

/// VMMCALL.
pub(crate) fn vmmcall(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    hypercall(core, i, Vendor::Amd)
}

fn hypercall(core: &mut Core, i: &Insn, vendor: Vendor) -> Result<(), Raised> {
    if core.model.vendor() != vendor {
        return Err(core.ud());
    }
    let w = if i.mode.is_64() { Width::W64 } else { Width::W32 };
    let [number, low, high, first, icr] = [0, 3, 1, 2, 6].map(|register| core.get(w, register));
    let result = match number {
        _ if core.cpl != 0 => EPERM,
        VAPIC_POLL_IRQ => 0,
        SEND_IPI if icr & ICR_DESTINATION != 0 => EINVAL,
        SEND_IPI => {
            let wide = u32::from(w == Width::W64) * 32 + 32;
            let set = u128::from(low) | u128::from(high) << wide;
            send(core, set, first, (icr & ICR_DELIVERY) as u32)
        }
        _ => ENOSYS,
    };
    core.set(w, 0, result as u64 & w.mask());
    Ok(())
}

/// Sends an interrupt to each CPU of `set`, whose bit 0 is APIC ID `first`; how many there are.
fn send(core: &mut Core, set: u128, first: u64, icr: u32) -> i64 {
    let first = first as u32;
    let ids = (0..128).filter(|bit| set >> bit & 1 != 0).filter_map(|bit| first.checked_add(bit));
    let by = core.access();
    ids.filter(|id| core.bus.send_interrupt(by, *id, icr)).count() as i64
}
