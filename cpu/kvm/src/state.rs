//! Registers: between [`CpuState`] and what KVM has.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst: KVM_SET_REGS, KVM_SET_SREGS, KVM_SET_XCRS,
//! KVM_SET_DEBUGREGS, KVM_SET_VCPU_EVENTS.

use kvm_bindings::{
    KVM_VCPUEVENT_VALID_NMI_PENDING, KVM_VCPUEVENT_VALID_SHADOW, KVM_X86_SHADOW_INT_MOV_SS,
    KVM_X86_SHADOW_INT_STI, kvm_debugregs, kvm_dtable, kvm_regs, kvm_segment, kvm_sregs2,
    kvm_vcpu_events, kvm_xcrs,
};
use kvm_ioctls::VcpuFd;
use trine_engine::{CpuModel, CpuState, EngineError};
use trine_x86::{Feature, Segment, Shadow, Table};

use crate::{
    msrs, sregs,
    vm::{Vm, failed},
    xsave,
};

/// Segment rights: present, null.
const PRESENT: u32 = 1 << 7;
const UNUSABLE: u32 = 1 << 16;

/// What the board knows of a CPU and KVM wants to know too.
#[derive(Clone, Copy)]
pub(crate) struct Outside {
    /// IA32_APIC_BASE.
    pub(crate) apic_base: u64,
    /// CR8.
    pub(crate) priority: u8,
}

/// Gives KVM all of `state` that it keeps, and what is `outside` if KVM does not know that already.
/// Events that are in delivery are forgotten.
pub(crate) fn store(
    vcpu: &VcpuFd,
    vm: &Vm,
    model: &CpuModel,
    state: &CpuState,
    outside: Option<Outside>,
) -> Result<(), EngineError> {
    let s = |what| move |e: kvm_ioctls::Error| failed(what, e.errno());
    let mut sregs = sregs::load(vcpu, vm)?;
    store_system(state, outside, &mut sregs);
    sregs::store(vcpu, vm, &sregs)?;
    vcpu.set_regs(&general(state)).map_err(s("KVM_SET_REGS"))?;
    if model.has(Feature::Xsave) {
        let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
        xcrs.xcrs[0].value = state.control.xcr0;
        vcpu.set_xcrs(&xcrs).map_err(s("KVM_SET_XCRS"))?;
    }
    let mut area = vcpu.get_xsave().map_err(s("KVM_GET_XSAVE"))?;
    xsave::store(state, model, &mut area);
    // SAFETY: none of the state components that need more than the structure's 4096 bytes was asked
    // for (that takes a call of arch_prctl).
    unsafe { vcpu.set_xsave(&area) }.map_err(s("KVM_SET_XSAVE"))?;
    msrs::store(vcpu, model, &state.msrs)?;
    let debug = kvm_debugregs {
        db: state.debug.address,
        dr6: state.debug.dr6,
        dr7: state.debug.dr7,
        ..Default::default()
    };
    vcpu.set_debug_regs(&debug).map_err(s("KVM_SET_DEBUGREGS"))?;
    vcpu.set_vcpu_events(&events(state)).map_err(s("KVM_SET_VCPU_EVENTS"))
}

/// Takes from KVM what it keeps; the rest of `state` stays. Returns the events that are in delivery.
pub(crate) fn load(
    vcpu: &VcpuFd,
    vm: &Vm,
    model: &CpuModel,
    state: &mut CpuState,
) -> Result<kvm_vcpu_events, EngineError> {
    let s = |what| move |e: kvm_ioctls::Error| failed(what, e.errno());
    let regs = vcpu.get_regs().map_err(s("KVM_GET_REGS"))?;
    load_general(&regs, state);
    load_system(&sregs::load(vcpu, vm)?, state);
    if model.has(Feature::Xsave) {
        let xcrs = vcpu.get_xcrs().map_err(s("KVM_GET_XCRS"))?;
        state.control.xcr0 = xcrs.xcrs[0].value;
    }
    xsave::load(&vcpu.get_xsave().map_err(s("KVM_GET_XSAVE"))?, model, state);
    msrs::load(vcpu, model, &mut state.msrs)?;
    let debug = vcpu.get_debug_regs().map_err(s("KVM_GET_DEBUGREGS"))?;
    state.debug.address = debug.db;
    (state.debug.dr6, state.debug.dr7) = (debug.dr6, debug.dr7);
    let events = vcpu.get_vcpu_events().map_err(s("KVM_GET_VCPU_EVENTS"))?;
    state.events.shadow = match u32::from(events.interrupt.shadow) {
        0 => Shadow::None,
        shadow if shadow & KVM_X86_SHADOW_INT_MOV_SS != 0 => Shadow::MovSs,
        _ => Shadow::Sti,
    };
    state.events.nmi_blocked = events.nmi.masked != 0;
    state.events.nmi_pending = events.nmi.pending != 0;
    Ok(events)
}

fn general(state: &CpuState) -> kvm_regs {
    let [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15] = state.gpr;
    let (rip, rflags) = (state.rip, state.rflags);
    kvm_regs {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rsp,
        rbp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip,
        rflags,
    }
}

fn load_general(r: &kvm_regs, state: &mut CpuState) {
    state.gpr = [
        r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12,
        r.r13, r.r14, r.r15,
    ];
    (state.rip, state.rflags) = (r.rip, r.rflags);
}

fn store_system(state: &CpuState, outside: Option<Outside>, sregs: &mut kvm_sregs2) {
    let [es, cs, ss, ds, fs, gs] = state.segments.seg.map(segment);
    (sregs.es, sregs.cs, sregs.ss, sregs.ds, sregs.fs, sregs.gs) = (es, cs, ss, ds, fs, gs);
    (sregs.ldt, sregs.tr) = (segment(state.segments.ldtr), segment(state.segments.tr));
    (sregs.gdt, sregs.idt) = (table(state.segments.gdtr), table(state.segments.idtr));
    let c = &state.control;
    (sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4) = (c.cr0, c.cr2, c.cr3, c.cr4);
    sregs.efer = c.efer;
    if let Some(outside) = outside {
        (sregs.cr8, sregs.apic_base) = (u64::from(outside.priority), outside.apic_base);
    }
    (sregs.flags, sregs.pdptrs) =
        if sregs::is_pae(sregs) { (sregs::HAS_PDPTES, c.pdpte) } else { (0, [0; 4]) };
}

fn load_system(sregs: &kvm_sregs2, state: &mut CpuState) {
    let all = [sregs.es, sregs.cs, sregs.ss, sregs.ds, sregs.fs, sregs.gs];
    state.segments.seg = all.map(segment_back);
    state.segments.ldtr = segment_back(sregs.ldt);
    state.segments.tr = segment_back(sregs.tr);
    let back = |t: kvm_dtable| Table { base: t.base, limit: t.limit };
    (state.segments.gdtr, state.segments.idtr) = (back(sregs.gdt), back(sregs.idt));
    let c = &mut state.control;
    (c.cr0, c.cr2, c.cr3, c.cr4) = (sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4);
    c.efer = sregs.efer;
    if sregs.flags & sregs::HAS_PDPTES != 0 {
        c.pdpte = sregs.pdptrs;
    }
}

fn segment(s: Segment) -> kvm_segment {
    let bit = |n: u32| (s.rights >> n & 1) as u8;
    kvm_segment {
        base: s.base,
        limit: s.limit,
        selector: s.selector,
        type_: (s.rights & 15) as u8,
        s: bit(4),
        dpl: (s.rights >> 5 & 3) as u8,
        present: bit(7),
        avl: bit(12),
        l: bit(13),
        db: bit(14),
        g: bit(15),
        unusable: bit(16),
        padding: 0,
    }
}

fn segment_back(s: kvm_segment) -> Segment {
    let mut rights = u32::from(s.type_ & 15)
        | u32::from(s.s) << 4
        | u32::from(s.dpl) << 5
        | u32::from(s.avl) << 12
        | u32::from(s.l) << 13
        | u32::from(s.db) << 14
        | u32::from(s.g) << 15;
    if s.present != 0 {
        rights |= PRESENT;
    }
    if s.unusable != 0 {
        rights |= UNUSABLE;
    }
    Segment { selector: s.selector, base: s.base, limit: s.limit, rights }
}

fn table(t: Table) -> kvm_dtable {
    kvm_dtable { base: t.base, limit: t.limit, ..Default::default() }
}

fn events(state: &CpuState) -> kvm_vcpu_events {
    let shadow = match state.events.shadow {
        Shadow::None => 0,
        Shadow::Sti => KVM_X86_SHADOW_INT_STI,
        Shadow::MovSs => KVM_X86_SHADOW_INT_MOV_SS,
    };
    let mut events = kvm_vcpu_events {
        flags: KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
        ..Default::default()
    };
    events.interrupt.shadow = shadow as u8;
    events.nmi.masked = u8::from(state.events.nmi_blocked);
    events.nmi.pending = u8::from(state.events.nmi_pending);
    events
}
