//! Long mode.

use super::{Bench, CODE, CODE0, CODE3, DATA0, DATA3, GDT, STACK0, STACK3, TASK, TSS};
use crate::{
    Exception, Seg, cr0, cr4, efer,
    insn::Width,
    msr, rflags,
    state::{Activity, Shadow},
    system::{control, cpuid, descriptor::error_code, far, iret, load, msr as registers, syscall},
    vector,
};

const HANDLER: u64 = 0x6000;

#[test]
fn an_interrupt_of_user_code_switches_stacks_and_returns() {
    let mut b = Bench::new(true);
    b.gate(0x80, CODE0, HANDLER, 0x8e, 0);
    b.set_level(3);
    b.core.set_rflags(0x202 | rflags::TF | rflags::NT);
    b.core.regs[4] = STACK3 + 3;
    b.core.events.shadow = Shadow::Sti;
    b.core.events.activity = Activity::Halted;
    b.core.deliver_interrupt(0x80).unwrap();
    assert_eq!((b.core.rip, b.core.cpl, b.core.regs[4]), (HANDLER, 0, STACK0 - 40));
    assert_eq!(b.selector(Seg::Cs), CODE0);
    assert_eq!(b.selector(Seg::Ss), 0, "SS is null");
    assert_eq!(b.core.rflags(), 2, "IF, TF and NT are clear");
    assert_eq!(b.core.events.activity, Activity::Running);
    assert_eq!(b.core.events.shadow, Shadow::None);
    assert_eq!(b.core.counters.interrupts, 1);
    let frame: Vec<u64> = (0..5).map(|n| b.get(STACK0 - 40 + 8 * n)).collect();
    let flags = 0x202 | rflags::TF | rflags::NT;
    assert_eq!(frame, [CODE, CODE3.into(), flags, STACK3 + 3, DATA3.into()]);
    // Back again.
    b.ok(iret::iret, &[0x48, 0xcf]);
    assert_eq!((b.core.rip, b.core.cpl, b.core.regs[4]), (CODE, 3, STACK3 + 3));
    assert_eq!(b.core.rflags(), flags);
    assert_eq!((b.selector(Seg::Cs), b.selector(Seg::Ss)), (CODE3, DATA3));
}

#[test]
fn a_fault_of_the_kernel_aligns_its_stack_and_keeps_ss() {
    let mut b = Bench::new(true);
    b.gate(vector::GP, CODE0, HANDLER, 0x8f, 0);
    b.core.regs[4] = STACK0 - 4;
    b.core.set_rflags(0x202);
    b.core.gp(0x1234);
    b.core.deliver_raised().unwrap();
    assert_eq!(b.core.regs[4], STACK0 - 16 - 48);
    let frame: Vec<u64> = (0..6).map(|n| b.get(STACK0 - 64 + 8 * n)).collect();
    let flags = 0x202 | rflags::RF;
    assert_eq!(frame, [0x1234, CODE, CODE0.into(), flags, STACK0 - 4, DATA0.into()]);
    assert_eq!(b.selector(Seg::Ss), DATA0);
    assert_eq!(b.core.rflags(), 0x202, "a trap gate leaves IF");
}

#[test]
fn an_interrupt_stack_is_used_at_any_level() {
    let mut b = Bench::new(true);
    b.gate(vector::NMI, CODE0, HANDLER, 0x8e, 2);
    b.put(TSS + 0x24 + 8, 0x7008);
    b.core.deliver_nmi().unwrap();
    assert_eq!(b.core.regs[4], 0x7000 - 40);
    assert!(b.core.events.nmi_blocked);
    b.ok(iret::iret, &[0x48, 0xcf]);
    assert!(!b.core.events.nmi_blocked);
    assert_eq!((b.core.rip, b.core.regs[4]), (CODE, STACK0));
    // Beyond the limit of the TSS there is none.
    b.core.segments.tr.limit = 0x2a;
    b.gate(vector::TS, CODE0, HANDLER, 0x8e, 0);
    b.core.deliver_nmi().unwrap();
    assert_eq!(b.get(b.core.regs[4]), u64::from(error_code(TASK) | 1));
}

#[test]
fn gates_are_checked() {
    let mut b = Bench::new(true);
    b.gate(vector::GP, CODE0, HANDLER, 0x8e, 0);
    b.gate(vector::NP, CODE0, HANDLER, 0x8e, 0);
    let code_of = |b: &mut Bench, vector: u8| {
        b.core.regs[4] = STACK0;
        b.core.rip = CODE;
        b.core.deliver_interrupt(vector).unwrap();
        b.get(b.core.regs[4])
    };
    // An empty entry; EXT because the interrupt came from outside.
    assert_eq!(code_of(&mut b, 0x40), 0x40 * 8 + 3);
    b.gate(0x41, CODE0, HANDLER, 0x0e, 0);
    assert_eq!(code_of(&mut b, 0x41), 0x41 * 8 + 3, "not present");
    b.gate(0x42, DATA0, HANDLER, 0x8e, 0);
    assert_eq!(code_of(&mut b, 0x42), u64::from(DATA0) | 1, "not code");
    b.gate(0x43, 0, HANDLER, 0x8e, 0);
    assert_eq!(code_of(&mut b, 0x43), 1, "null");
    b.gate(0x44, CODE0, 0x8000_0000_0000, 0x8e, 0);
    assert_eq!(code_of(&mut b, 0x44), 1, "not canonical");
    b.gate(0x45, CODE0, HANDLER, 0x85, 0);
    assert_eq!(code_of(&mut b, 0x45), 0x45 * 8 + 3, "no task gates in long mode");
    b.core.segments.idtr.limit = 0x45 * 16 + 14;
    b.gate(0x45, CODE0, HANDLER, 0x8e, 0);
    assert_eq!(code_of(&mut b, 0x45), 0x45 * 8 + 3, "beyond the table");
}

#[test]
fn faults_add_up_to_double_and_triple_faults() {
    let mut b = Bench::new(true);
    // A page fault, for which there is no handler: #GP for it makes a double fault.
    b.gate(vector::DF, CODE0, HANDLER, 0x8e, 1);
    b.put(TSS + 0x24, 0x7000);
    let page_fault = Exception { vector: vector::PF, code: Some(2), payload: 0xdead_b000 };
    b.core.raise(page_fault);
    b.core.deliver_raised().unwrap();
    assert_eq!(b.core.control.cr2, 0xdead_b000);
    assert_eq!((b.core.rip, b.core.regs[4]), (HANDLER, 0x7000 - 48));
    assert_eq!(b.get(0x7000 - 48), 0);
    assert_eq!(b.core.counters.exceptions, 2);
    // Without that one too it is over.
    b.gate(vector::DF, 0, HANDLER, 0x8e, 1);
    b.core.raise(page_fault);
    let fault = b.core.deliver_raised().unwrap_err();
    let vectors: Vec<u8> = fault.chain.iter().map(|e| e.vector).collect();
    assert_eq!(vectors, [vector::PF, vector::GP, vector::DF, vector::GP]);
    assert_eq!((fault.rip, fault.cs, fault.cr2), (HANDLER, CODE0, 0xdead_b000));
    assert!(b.is_shut_down());
    assert!(
        fault
            .to_string()
            .contains("#PF(0x2) at 0xdeadb000, then #GP(0x73), then #DF(0x0), then #GP")
    );
}

#[test]
fn a_benign_exception_gives_way() {
    let mut b = Bench::new(true);
    // #UD has no handler; the #GP that this raises is delivered alone.
    b.gate(vector::GP, CODE0, HANDLER, 0x8e, 0);
    b.core.ud();
    b.core.deliver_raised().unwrap();
    assert_eq!(b.core.rip, HANDLER);
    assert_eq!(b.get(b.core.regs[4]), 6 * 8 + 3);
    // A page fault on the way of a contributory one is delivered alone as well.
    let mut b = Bench::new(true);
    b.gate(vector::PF, CODE0, HANDLER, 0x8e, 1);
    b.gate(vector::GP, CODE0, HANDLER, 0x8e, 0);
    b.put(TSS + 0x24, 0x7000);
    b.core.regs[4] = 0x4000_0000_0000;
    b.core.gp(0);
    b.core.deliver_raised().unwrap();
    assert_eq!(b.core.regs[4], 0x7000 - 48);
    assert_eq!(b.get(0x7000 - 48), 2, "a write by the supervisor");
    assert_eq!(b.core.control.cr2, 0x4000_0000_0000 - 8);
}

#[test]
fn debug_traps_set_dr6_and_clear_gd() {
    let mut b = Bench::new(true);
    b.gate(vector::DB, CODE0, HANDLER, 0x8e, 0);
    b.core.debug.dr7 |= crate::dr7::GD;
    b.core.debug.dr6 |= 5;
    b.core.trap_debug(crate::dr6::BS).unwrap();
    assert_eq!(b.core.debug.dr6, 0xffff_0ff0 | crate::dr6::BS);
    assert_eq!(b.core.debug.dr7, 0x400);
    assert_eq!(b.get(STACK0 - 24), 2, "a trap pushes no RF");
}

#[test]
fn syscall_and_sysret() {
    let mut b = Bench::new(true);
    b.core.msrs.star = 0x0013_0008 << 32;
    b.core.msrs.lstar = 0x1234_5000;
    b.core.msrs.fmask = rflags::IF | rflags::DF;
    b.set_level(3);
    b.core.set_rflags(0x602);
    b.ok(syscall::syscall, &[0x0f, 0x05]);
    assert_eq!((b.core.rip, b.core.cpl), (0x1234_5000, 0));
    assert_eq!((b.core.regs[1], b.core.regs[11]), (CODE + 2, 0x602));
    assert_eq!(b.core.rflags(), 2);
    assert_eq!((b.selector(Seg::Cs), b.selector(Seg::Ss)), (0x08, 0x10));
    assert!(b.core.mode.is_64());
    b.ok(syscall::sysretq, &[0x48, 0x0f, 0x07]);
    assert_eq!((b.core.rip, b.core.cpl), (CODE + 2, 3));
    assert_eq!((b.selector(Seg::Cs), b.selector(Seg::Ss)), (0x23, 0x1b));
    assert_eq!(b.core.rflags(), 0x602);
    b.set_level(0);
    b.core.regs[1] = 0x8000_0000_0000;
    b.faults(syscall::sysretq, &[0x48, 0x0f, 0x07], vector::GP, Some(0));
    b.core.regs[1] = 0xffff_ffff_0000_1000;
    b.ok(syscall::sysretd, &[0x0f, 0x07]);
    assert_eq!((b.core.rip, b.core.mode.code()), (0x1000, Width::W32));
    b.core.control.efer &= !efer::SCE;
    b.faults(syscall::syscall, &[0x0f, 0x05], vector::UD, None);
}

#[test]
fn sysenter_and_sysexit() {
    let mut b = Bench::new(true);
    b.core.msrs.sysenter_cs = 0x0b;
    b.core.msrs.sysenter_esp = STACK0;
    b.core.msrs.sysenter_eip = 0xffff_8000_0000_1000;
    b.set_level(3);
    b.core.set_rflags(0x202);
    b.ok(syscall::sysenter, &[0x0f, 0x34]);
    assert_eq!((b.core.rip, b.core.cpl), (0xffff_8000_0000_1000, 0));
    assert_eq!((b.selector(Seg::Cs), b.selector(Seg::Ss)), (0x08, 0x10));
    assert_eq!((b.core.regs[4], b.core.rflags()), (STACK0, 2));
    (b.core.regs[1], b.core.regs[2]) = (STACK3, CODE);
    b.ok(syscall::sysexitq, &[0x48, 0x0f, 0x35]);
    assert_eq!((b.core.rip, b.core.regs[4], b.core.cpl), (CODE, STACK3, 3));
    assert_eq!((b.selector(Seg::Cs), b.selector(Seg::Ss)), (0x2b, 0x33));
    b.faults(syscall::sysexitd, &[0x0f, 0x35], vector::GP, Some(0));
}

#[test]
fn a_call_gate_of_sixteen_bytes() {
    let mut b = Bench::new(true);
    let gate = HANDLER | u64::from(CODE0) << 16 | 0xec00 << 32;
    b.put(GDT + 0x40, gate);
    b.put(GDT + 0x48, 0);
    b.set_level(3);
    // CALL m16:32 through selector 43h.
    b.put(0x5800, 0x43 << 32);
    b.core.regs[3] = 0x5800;
    b.ok(far::call_far, &[0xff, 0x1b]);
    assert_eq!((b.core.rip, b.core.cpl, b.core.regs[4]), (HANDLER, 0, STACK0 - 32));
    let frame: Vec<u64> = (0..4).map(|n| b.get(STACK0 - 32 + 8 * n)).collect();
    assert_eq!(frame, [CODE + 2, CODE3.into(), STACK3, DATA3.into()]);
    b.ok(far::ret_far, &[0x48, 0xcb]);
    assert_eq!((b.core.rip, b.core.cpl, b.core.regs[4]), (CODE + 2, 3, STACK3));
    // The type field of the upper half has to be 0.
    b.put(GDT + 0x48, 0x100 << 32);
    b.faults(far::call_far, &[0xff, 0x1b], vector::GP, Some(0x40));
}

#[test]
fn into_long_mode_and_out() {
    let mut b = Bench::new(false);
    b.core.control.cr3 = super::PAGES;
    b.core.regs[0] = 0x8000_0011;
    b.core.regs[1] = u64::from(msr::EFER);
    b.core.control.efer = efer::LME;
    b.faults(control::mov_to_cr, &[0x0f, 0x22, 0xc0], vector::GP, Some(0));
    b.core.control.cr4 = cr4::PAE;
    b.ok(control::mov_to_cr, &[0x0f, 0x22, 0xc0]);
    assert!(b.core.long_mode() && !b.core.mode.is_64());
    assert_eq!(b.core.control.efer, efer::LME | efer::LMA);
    // LME must not change now.
    (b.core.regs[0], b.core.regs[2]) = (0, 0);
    b.faults(registers::wrmsr, &[0x0f, 0x30], vector::GP, Some(0));
    b.put(GDT + u64::from(CODE0), 0x00af_9b00_0000_ffff);
    b.ok(far::jmp_far, &[0xea, 0, 0x60, 0, 0, 8, 0]);
    assert!(b.core.mode.is_64());
    // From compatibility mode, paging can be turned off again.
    b.put(GDT + u64::from(CODE0), 0x00cf_9b00_0000_ffff);
    b.put(0x5800, 0x8_0000_6000);
    b.core.regs[3] = 0x5800;
    b.ok(far::jmp_far, &[0xff, 0x2b]);
    b.core.regs[0] = 0x11;
    b.ok(control::mov_to_cr, &[0x0f, 0x22, 0xc0]);
    assert_eq!((b.core.control.efer, b.core.control.cr0), (efer::LME, cr0::PE | cr0::ET));
}

#[test]
fn the_time_stamp_counter_and_its_deadline() {
    let mut b = Bench::new(true);
    let write = |b: &mut Bench, msr: u32, value: u64| {
        (b.core.regs[1], b.core.regs[0], b.core.regs[2]) =
            (msr.into(), value & 0xffff_ffff, value >> 32);
        b.ok(registers::wrmsr, &[0x0f, 0x30]);
    };
    write(&mut b, msr::TSC, 5_000_000_000);
    assert_eq!(b.core.tsc(), 5_000_000_000);
    assert_eq!(b.core.msrs.tsc_adjust, 4_999_000_000);
    write(&mut b, msr::TSC_ADJUST, 0);
    assert_eq!(b.core.tsc(), 1_000_000);
    write(&mut b, msr::TSC_DEADLINE, 1_000_500);
    write(&mut b, msr::TSC_DEADLINE, 7);
    write(&mut b, msr::TSC_DEADLINE, 0);
    let at = |ns| Some(trine_guest::VmTime(ns));
    let n = msr::TSC_DEADLINE;
    let want = [(n, 1_000_500, at(1_000_500)), (n, 7, at(1_000_000)), (n, 0, None)];
    assert_eq!(*b.desk.msrs.lock().unwrap(), want);
}

#[test]
fn cpuid_shows_the_registers_and_the_topology() {
    let mut b = Bench::new(true);
    assert_eq!(b.core.cpuid(1, 0)[2] & 1 << 27, 0);
    b.core.control.cr4 |= cr4::OSXSAVE | cr4::PKE;
    assert_ne!(b.core.cpuid(1, 0)[2] & 1 << 27, 0);
    assert_ne!(b.core.cpuid(7, 0)[2] & 1 << 4, 0);
    assert_ne!(b.core.cpuid(1, 0)[3] & 1 << 9, 0, "the local APIC is enabled");
    b.core.control.xcr0 = 3;
    assert_eq!(b.core.cpuid(0xd, 0), [0x207, 576, 2696, 0]);
    // SYSCALL shows in 64-bit mode only.
    assert_ne!(b.core.cpuid(0x8000_0001, 0)[3] & 1 << 11, 0);
    let model = crate::CpuModel::named("max").unwrap().with_cpus(6);
    assert_eq!(model.cpuid(0xb, 0, 5), [0, 1, 0x100, 5]);
    assert_eq!(model.cpuid(0xb, 1, 5), [3, 6, 0x201, 5]);
    assert_eq!(model.cpuid(1, 0, 5)[1], 5 << 24 | 8 << 16 | 8 << 8);
    assert_eq!(model.cpuid(4, 0, 5)[0] >> 26, 7);
    // Beyond the last leaf: the last one.
    let pentium = crate::CpuModel::named("pentium").unwrap();
    assert_eq!(pentium.cpuid(0x8000_0000, 0, 0), pentium.cpuid(1, 0, 0));
    assert_eq!(pentium.cpuid(0, 0, 0)[0], 1);
    let f: super::Cold = cpuid::cpuid;
    b.core.regs[0] = 0x8000_0008;
    b.ok(f, &[0x0f, 0xa2]);
    assert_eq!(b.core.regs[0], 0x3028);
}

#[test]
fn models_have_the_registers_of_their_time() {
    let mut b = Bench::new(false);
    b.core.model = std::sync::Arc::new(crate::CpuModel::named("pentium").unwrap());
    let mut reads = |number: u32| {
        b.core.regs[1] = number.into();
        b.core.rip = CODE;
        b.run(registers::rdmsr, &[0x0f, 0x32]).is_ok()
    };
    assert!(reads(0) && reads(msr::TSC) && reads(msr::APIC_BASE));
    let later = [msr::PAT, msr::MTRRCAP, msr::EFER, msr::SYSENTER_CS, msr::MISC_ENABLE, msr::XSS];
    assert!(!later.into_iter().any(&mut reads));
    // CR4 has the bits of the model too: no PAE, no OSFXSR.
    assert_eq!(b.core.cr4_allowed(), 0x5f);
}

#[test]
fn the_stack_segment_holds_back_what_comes_next() {
    let mut b = Bench::new(true);
    b.core.regs[0] = u64::from(DATA0);
    b.ok(load::mov_to_sreg, &[0x8e, 0xd0]);
    assert_eq!(b.core.events.shadow, Shadow::MovSs);
    b.core.events.shadow = Shadow::None;
    b.ok(crate::system::flag::sti, &[0xfb]);
    assert_eq!(b.core.events.shadow, Shadow::Sti);
    b.core.events.shadow = Shadow::None;
    b.ok(crate::system::flag::sti, &[0xfb]);
    assert_eq!(b.core.events.shadow, Shadow::None, "IF was set already");
}
