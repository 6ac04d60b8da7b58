//! Real mode, protected mode without paging, virtual-8086 mode.

use super::{
    Bench, CODE, CODE0, CODE3, DATA0, DATA3, FREE, GDT, IDT, LDT, STACK0, STACK3, TASK, TSS,
};
use crate::{
    CpuState, Seg, cr0, cr4,
    insn::Width,
    rflags,
    state::{Activity, Table},
    system::{far, idle, interrupt, iret, load, port, tables},
    vector,
};

const HANDLER: u64 = 0x6000;

/// A bench in virtual-8086 mode with CS = 500h and SP = 7000h.
fn vm86(iopl: u64, cr4: u64) -> Bench {
    let mut b = Bench::new(false);
    b.core.control.cr4 = cr4;
    let frame =
        [0x10, 0x500, rflags::VM | 2 | iopl << 12, 0x7000, 0x700, 0x111, 0x222, 0x333, 0x444];
    b.core.regs[4] = STACK0 - 36;
    for (n, word) in frame.into_iter().enumerate() {
        b.put32(STACK0 - 36 + 4 * n as u64, word as u32);
    }
    b.ok(iret::iret, &[0xcf]);
    b
}

#[test]
fn iret_enters_virtual_8086_mode_and_an_interrupt_leaves_it() {
    let mut b = vm86(0, 0);
    assert!(b.core.vm86());
    assert_eq!((b.core.rip, b.core.cpl, b.core.regs[4]), (0x10, 3, 0x7000));
    let selectors = Seg::ALL.map(|seg| b.selector(seg));
    assert_eq!(selectors, [0x111, 0x500, 0x700, 0x222, 0x333, 0x444]);
    assert_eq!(b.core.segments.seg[Seg::Gs as usize].base, 0x4440);
    assert_eq!(b.core.mode.code(), Width::W16);
    b.gate(0x20, CODE0, HANDLER, 0x8e, 0);
    b.core.deliver_interrupt(0x20).unwrap();
    assert!(!b.core.vm86());
    assert_eq!((b.core.rip, b.core.cpl, b.core.regs[4]), (HANDLER, 0, STACK0 - 36));
    let frame: Vec<u32> = (0..9).map(|n| b.get32(STACK0 - 36 + 4 * n)).collect();
    assert_eq!(frame, [0x10, 0x500, 0x20002, 0x7000, 0x700, 0x111, 0x222, 0x333, 0x444]);
    assert_eq!(Seg::ALL.map(|seg| b.selector(seg)), [0, CODE0, DATA0, 0, 0, 0]);
    // A handler at another level than 0 will not do.
    let mut b = vm86(0, 0);
    b.gate(0x20, CODE3, HANDLER, 0x8e, 0);
    b.gate(vector::GP, CODE0, HANDLER, 0x8e, 0);
    b.core.deliver_interrupt(0x20).unwrap();
    assert_eq!(b.get32(b.core.regs[4]), u32::from(CODE3 & !3) | 1);
}

#[test]
fn the_redirection_map_sends_int_n_to_the_program() {
    let mut b = vm86(0, cr4::VME);
    b.put32(4 * 0x21, 0x600_0010);
    b.put(TSS + 0x60, 0x0100_u64 << 48);
    b.put(TSS + 0xe0, !(1 << 0x21));
    b.core.system_flags |= rflags::VIF;
    b.ok(interrupt::int_n, &[0xcd, 0x21]);
    assert!(b.core.vm86());
    assert_eq!((b.core.rip, b.selector(Seg::Cs), b.core.regs[4]), (0x10, 0x600, 0x6ffa));
    // IP, CS, FLAGS with IF for VIF and IOPL 3.
    assert_eq!(b.get(0x7000 + 0x6ffa) & 0xffff_ffff_ffff, 0x3202_0500_0012);
    assert_eq!(b.core.system_flags & rflags::VIF, 0);
    // The next one is not redirected, and IOPL is below 3.
    b.faults(interrupt::int_n, &[0xcd, 0x22], vector::GP, Some(0));
    // IRET takes IF back to VIF.
    b.ok(iret::iret, &[0xcf]);
    assert_eq!((b.core.rip, b.core.rflags()), (0x12, 2 | rflags::VM | rflags::VIF));
}

#[test]
fn a_call_gate_copies_parameters_to_the_inner_stack() {
    let mut b = Bench::new(false);
    let gate = HANDLER & 0xffff | u64::from(CODE0) << 16 | 0xec02 << 32;
    b.put(GDT + u64::from(FREE), gate);
    b.set_level(3);
    b.put(STACK3, 0x2222_2222_1111_1111);
    let call = [0x9a, 0, 0, 0, 0, FREE as u8 | 3, 0];
    b.ok(far::call_far, &call);
    assert_eq!((b.core.rip, b.core.cpl, b.core.regs[4]), (HANDLER, 0, STACK0 - 24));
    let frame: Vec<u32> = (0..6).map(|n| b.get32(STACK0 - 24 + 4 * n)).collect();
    let (cs, ss) = (u32::from(CODE3), u32::from(DATA3));
    assert_eq!(frame, [CODE as u32 + 7, cs, 0x1111_1111, 0x2222_2222, STACK3 as u32, ss]);
    assert_eq!(b.selector(Seg::Ss), DATA0);
    b.ok(far::ret_far, &[0xca, 8, 0]);
    assert_eq!((b.core.rip, b.core.cpl, b.core.regs[4]), (CODE + 7, 3, STACK3 + 8));
    // Checks, in their order.
    b.core.rip = CODE;
    b.put(GDT + u64::from(FREE), gate & !(0x60 << 40));
    b.faults(far::call_far, &call, vector::GP, Some(FREE.into()));
    b.put(GDT + u64::from(FREE), gate & !(0x80 << 40));
    b.faults(far::call_far, &call, vector::NP, Some(FREE.into()));
    b.put(GDT + u64::from(FREE), gate ^ u64::from(CODE0 ^ DATA0) << 16);
    b.faults(far::call_far, &call, vector::GP, Some(DATA0.into()));
    b.put(GDT + u64::from(FREE), gate);
    b.put(TSS + 4, STACK0);
    b.faults(far::call_far, &call, vector::TS, Some(0));
    b.put(TSS + 4, STACK0 | u64::from(DATA3) << 32);
    b.faults(far::call_far, &call, vector::TS, Some(u32::from(DATA3 & !3)));
    b.core.segments.tr.limit = 8;
    b.faults(far::call_far, &call, vector::TS, Some(TASK.into()));
    // JMP does not change the level.
    b.faults(far::jmp_far, &[0xea, 0, 0, 0, 0, FREE as u8 | 3, 0], vector::GP, Some(8));
}

#[test]
fn a_gate_of_sixteen_bits() {
    let mut b = Bench::new(false);
    b.gate(0x30, CODE0, 0x1234_6000, 0xe6, 0);
    b.set_level(3);
    b.core.set_rflags(0x202);
    b.ok(interrupt::int_n, &[0xcd, 0x30]);
    assert_eq!((b.core.rip, b.core.regs[4]), (0x6000, STACK0 - 10));
    assert_eq!(b.get(STACK0 - 10), 0x8000_0202_001b_5002);
    assert_eq!(b.core.rflags(), 2);
}

#[test]
fn the_dpl_of_a_gate_counts_for_instructions_only() {
    let mut b = Bench::new(false);
    b.gate(0x30, CODE0, HANDLER, 0x8e, 0);
    b.set_level(3);
    b.faults(interrupt::int_n, &[0xcd, 0x30], vector::GP, Some(0x30 * 8 + 2));
    b.core.deliver_interrupt(0x30).unwrap();
    assert_eq!(b.core.rip, HANDLER);
}

#[test]
fn a_stack_that_is_too_small() {
    let mut b = Bench::new(false);
    b.gate(0x30, CODE0, HANDLER, 0x8e, 0);
    b.core.segments.seg[Seg::Ss as usize].limit = 0x7fff;
    b.gate(vector::SS, CODE0, HANDLER, 0x8e, 0);
    b.faults(interrupt::int_n, &[0xcd, 0x30], vector::SS, Some(0));
    // An expand-down segment begins above its limit.
    b.put(GDT + u64::from(FREE), 0x00c0_9700_0000_000f);
    b.core.regs[0] = u64::from(FREE);
    b.ok(load::mov_to_sreg, &[0x8e, 0xd0]);
    assert_eq!(b.core.segments.seg[Seg::Ss as usize].limit, 0xffff);
    b.core.regs[4] = 0x1_000c;
    b.ok(interrupt::int_n, &[0xcd, 0x30]);
    assert_eq!(b.core.regs[4], 0x1_0000);
    b.faults(interrupt::int_n, &[0xcd, 0x30], vector::SS, Some(0));
}

#[test]
fn the_accessed_bit_is_set_in_memory() {
    let mut b = Bench::new(false);
    b.put(GDT + u64::from(FREE), 0x00cf_9200_0000_ffff);
    b.core.regs[0] = u64::from(FREE);
    b.ok(load::mov_to_sreg, &[0x8e, 0xc0]);
    assert_eq!(b.get(GDT + u64::from(FREE)), 0x00cf_9300_0000_ffff);
    assert_eq!(b.core.segments.seg[0].rights, 0xc093);
    // Not present: #NP, for SS #SS.
    b.put(GDT + u64::from(FREE), 0x00cf_1200_0000_ffff);
    b.faults(load::mov_to_sreg, &[0x8e, 0xc0], vector::NP, Some(FREE.into()));
    b.faults(load::mov_to_sreg, &[0x8e, 0xd0], vector::SS, Some(FREE.into()));
}

#[test]
fn local_descriptors() {
    let mut b = Bench::new(false);
    b.put(GDT + u64::from(FREE), 0x0000_8200_4000_000f);
    b.put(LDT + 8, 0x00cf_9300_0000_ffff);
    b.core.regs[0] = 0x0c;
    b.faults(load::mov_to_sreg, &[0x8e, 0xc0], vector::GP, Some(0x0c));
    b.core.regs[0] = u64::from(FREE);
    b.ok(tables::lldt, &[0x0f, 0x00, 0xd0]);
    assert_eq!((b.core.segments.ldtr.base, b.core.segments.ldtr.limit), (LDT, 0xf));
    b.core.regs[0] = 0x0c;
    b.ok(load::mov_to_sreg, &[0x8e, 0xc0]);
    b.core.regs[0] = 0x14;
    b.faults(load::mov_to_sreg, &[0x8e, 0xc0], vector::GP, Some(0x14));
}

#[test]
fn conforming_code_runs_at_its_callers_level() {
    let mut b = Bench::new(false);
    b.put(GDT + u64::from(FREE), 0x00cf_9f00_0000_ffff);
    b.set_level(3);
    b.ok(far::jmp_far, &[0xea, 0, 0x60, 0, 0, FREE as u8, 0]);
    assert_eq!((b.selector(Seg::Cs), b.core.cpl), (FREE | 3, 3));
    // An interrupt through it stays at that level too.
    b.gate(0x30, FREE, HANDLER, 0xee, 0);
    b.ok(interrupt::int_n, &[0xcd, 0x30]);
    assert_eq!((b.core.cpl, b.core.regs[4]), (3, STACK3 - 12));
}

#[test]
fn the_io_map_allows_single_ports() {
    let mut b = Bench::new(false);
    b.put(TSS + 0x60, 0x68_u64 << 48);
    b.put(TSS + 0x68, !(0b1111 << 16));
    b.put(TSS + 0x70, u64::MAX);
    b.set_level(3);
    b.core.regs[2] = 16;
    b.ok(port::input, &[0xed]);
    assert_eq!(b.core.regs[0], 0x1010_1010);
    b.core.regs[2] = 17;
    b.ok(port::input, &[0x66, 0xed]);
    b.faults(port::input, &[0xed], vector::GP, Some(0));
    b.core.regs[2] = 15;
    b.faults(port::input, &[0xec], vector::GP, Some(0));
    // The byte behind the last one has to be there.
    b.core.regs[2] = 16;
    b.core.segments.tr.limit = 0x6a;
    b.faults(port::input, &[0xec], vector::GP, Some(0));
    b.core.segments.tr.limit = 0x6b;
    b.ok(port::input, &[0xec]);
    b.core.segments.tr.rights = 0x83;
    b.faults(port::input, &[0xec], vector::GP, Some(0));
}

#[test]
fn real_mode_vectors_and_the_shutdown_without_them() {
    let mut b = Bench::new(false);
    let mut s = CpuState::reset(&b.core.model, 0);
    s.segments.idtr = Table { base: 0, limit: 0x3ff };
    s.gpr[4] = 0x7000;
    s.rflags = 0x302;
    b.core.set_state(&s);
    b.put32(4 * 0x10, 0x1234_5678);
    b.ok(interrupt::int_n, &[0xcd, 0x10]);
    assert_eq!((b.core.rip, b.selector(Seg::Cs), b.core.regs[4]), (0x5678, 0x1234, 0x6ffa));
    assert_eq!(b.get(0x6ffa) & 0xffff_ffff_ffff, 0x0302_f000_fff2);
    assert_eq!(b.core.rflags(), 2);
    b.ok(iret::iret, &[0xcf]);
    assert_eq!((b.core.rip, b.core.rflags()), (0xfff2, 0x302));
    b.core.segments.idtr = Table { base: IDT, limit: 0 };
    b.core.ud();
    assert!(b.core.deliver_raised().is_err());
    assert!(b.is_shut_down());
}

#[test]
fn unreal_mode_keeps_limits() {
    let mut b = Bench::new(false);
    b.core.regs[0] = 0x10;
    b.ok(crate::system::control::mov_to_cr, &[0x0f, 0x22, 0xc0]);
    assert_eq!(b.core.control.cr0 & cr0::PE, 0);
    b.core.regs[0] = 0x1000;
    b.ok(load::mov_to_sreg, &[0x8e, 0xd8]);
    let ds = b.core.segments.seg[Seg::Ds as usize];
    assert_eq!((ds.selector, ds.base, ds.limit), (0x1000, 0x1_0000, u32::MAX));
    b.put(0x3_0000, 0x55);
    assert_eq!(b.core.load(Width::W8, Seg::Ds, 0x2_0000), Ok(0x55));
}

#[test]
fn init_and_startup() {
    let mut b = Bench::new(false);
    b.core.msrs.star = 5;
    b.core.x87.control = 0x37f;
    b.core.control.cr0 |= cr0::TS;
    b.core.startup(0x12);
    assert_eq!(b.core.rip, CODE, "only a CPU that waits for it starts up");
    b.core.events.bootstrap = false;
    b.core.init();
    assert_eq!(b.core.events.activity, Activity::WaitForStartup);
    assert_eq!((b.core.control.cr0, b.core.msrs.star, b.core.x87.control), (0x10, 5, 0x37f));
    b.core.startup(0x12);
    let cs = b.core.segments.seg[Seg::Cs as usize];
    assert_eq!((cs.selector, cs.base, b.core.rip), (0x1200, 0x1_2000, 0));
    assert!(b.core.is_running());
    b.core.events.bootstrap = true;
    b.core.init();
    assert_eq!((b.core.rip, b.core.is_running()), (0xfff0, true));
}

#[test]
fn hlt_and_mwait() {
    let mut b = Bench::new(false);
    b.ok(idle::hlt, &[0xf4]);
    assert_eq!((b.core.events.activity, b.core.rip), (Activity::Halted, CODE + 1));
    b.core.events.activity = Activity::Running;
    b.core.regs[1] = 0;
    b.core.regs[0] = 0x6044;
    let i = crate::insn::Insn::new(iced_x86::Code::Monitord, b.core.mode, 3);
    let mut i = i;
    i.set_address(0, Seg::Ds, Width::W32);
    idle::monitor(&mut b.core, &i).unwrap();
    assert_eq!(b.core.events.monitor, Some(0x6040));
    idle::mwait(&mut b.core, &i).unwrap();
    assert_eq!(b.core.events.activity, Activity::Halted);
    // Not armed: no sleep.
    b.core.events.activity = Activity::Running;
    idle::mwait(&mut b.core, &i).unwrap();
    assert!(b.core.is_running());
}
