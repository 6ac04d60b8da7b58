//! Hardware task switches.

use super::{
    Bench, CODE, CODE0, CODE3, DATA0, DATA3, FREE, GDT, IDT, STACK3, TASK, TSS, tss_descriptor,
};
use crate::{
    Seg, cr0, dr6, rflags,
    system::{far, interrupt, iret},
    vector,
};

const OTHER: u64 = 0x3400;
const ENTRY: u64 = 0x6000;

/// A bench with a second task, of level `cpl`, in the free place of the GDT.
fn bench(cpl: u8) -> Bench {
    let mut b = Bench::new(false);
    b.put(GDT + u64::from(FREE), tss_descriptor(OTHER, 0x67, 0xe9));
    let (cs, ds) = if cpl == 3 { (CODE3, DATA3) } else { (CODE0, DATA0) };
    b.put32(OTHER + 0x20, ENTRY as u32);
    b.put32(OTHER + 0x24, 0x202);
    for n in 0..8 {
        b.put32(OTHER + 0x28 + 4 * n, if n == 4 { STACK3 as u32 } else { 0x200 + n as u32 });
    }
    for (n, selector) in [ds, cs, ds, ds, 0, 0].into_iter().enumerate() {
        b.put32(OTHER + 0x48 + 4 * n as u64, selector.into());
    }
    b.put(OTHER + 4, 0x1_0000 | u64::from(DATA0) << 32);
    b.put32(OTHER + 0x60, 0);
    b.put32(OTHER + 0x64, 0x68 << 16);
    b
}

/// CALL or JMP to the second task.
fn to(selector: u16, opcode: u8) -> [u8; 7] {
    [opcode, 0, 0, 0, 0, selector as u8, 0]
}

fn busy(b: &Bench, selector: u16) -> bool {
    b.get(GDT + u64::from(selector)) >> 41 & 1 != 0
}

#[test]
fn call_nests_and_iret_returns() {
    let mut b = bench(3);
    b.core.set_rflags(0x46);
    b.core.debug.dr7 = 0x4ff;
    b.ok(far::call_far, &to(FREE, 0x9a));
    assert_eq!((b.core.rip, b.core.cpl, b.core.regs[4]), (ENTRY, 3, STACK3));
    assert_eq!((b.core.regs[0], b.core.regs[7]), (0x200, 0x207));
    assert_eq!(b.core.rflags(), 0x202 | rflags::NT);
    assert_eq!(b.core.segments.tr.selector, FREE);
    assert_eq!(b.get(OTHER) & 0xffff, u64::from(TASK), "the link");
    assert!(busy(&b, TASK) && busy(&b, FREE));
    assert_ne!(b.core.control.cr0 & cr0::TS, 0);
    assert_eq!(b.core.debug.dr7, 0x4aa, "local breakpoints are off");
    let saved = [b.get32(TSS + 0x20), b.get32(TSS + 0x24), b.get32(TSS + 0x28)];
    assert_eq!(saved, [CODE as u32 + 7, 0x46, 0x100]);
    assert_eq!(b.get32(TSS + 0x4c) & 0xffff, u32::from(CODE0));
    b.ok(iret::iret, &[0xcf]);
    assert_eq!((b.core.rip, b.core.cpl, b.core.rflags()), (CODE + 7, 0, 0x46));
    assert_eq!(b.core.regs[..8], [0x100, 0x101, 0x102, 0x103, 0x1_0000, 0x105, 0x106, 0x107]);
    assert!(busy(&b, TASK) && !busy(&b, FREE));
    assert_eq!(b.get32(OTHER + 0x24), 0x202, "NT is clear in what IRET saved");
}

#[test]
fn jmp_leaves_nothing_behind() {
    let mut b = bench(0);
    b.put32(OTHER + 0x64, 0x68 << 16 | 1);
    b.ok(far::jmp_far, &to(FREE, 0xea));
    assert!(!busy(&b, TASK) && busy(&b, FREE));
    assert_eq!((b.core.rip, b.core.rflags()), (ENTRY, 0x202));
    assert_eq!(b.core.events.pending_debug, dr6::BT);
    // It is busy now.
    b.faults(far::jmp_far, &to(FREE, 0xea), vector::GP, Some(FREE.into()));
    b.faults(iret_with_nt, &[0xcf], vector::TS, Some(0));
}

fn iret_with_nt(core: &mut crate::Core, i: &crate::Insn) -> Result<(), crate::Raised> {
    core.system_flags |= rflags::NT;
    iret::iret(core, i)
}

#[test]
fn checks_before_the_commit_point_leave_no_trace() {
    let mut b = bench(0);
    b.put(GDT + u64::from(FREE), tss_descriptor(OTHER, 0x66, 0xe9));
    b.faults(far::call_far, &to(FREE, 0x9a), vector::TS, Some(FREE.into()));
    b.put(GDT + u64::from(FREE), tss_descriptor(OTHER, 0x67, 0x69));
    b.faults(far::call_far, &to(FREE, 0x9a), vector::NP, Some(FREE.into()));
    b.faults(far::call_far, &to(FREE | 4, 0x9a), vector::GP, Some((FREE | 4).into()));
    b.put(GDT + u64::from(FREE), tss_descriptor(OTHER, 0x67, 0x89));
    b.set_level(3);
    b.faults(far::call_far, &to(FREE, 0x9a), vector::GP, Some(FREE.into()));
    assert_eq!(b.core.segments.tr.selector, TASK);
    assert!(!busy(&b, FREE));
}

#[test]
fn what_fails_in_the_new_task_is_its_own() {
    let mut b = bench(3);
    b.put32(OTHER + 0x4c, DATA3.into());
    b.ok(far::call_far, &to(FREE, 0x9a));
    assert_eq!(b.core.rip, ENTRY);
    let raised = b.core.raised.unwrap();
    assert_eq!((raised.vector, raised.code), (vector::TS, Some(u32::from(DATA3 & !3))));
    // Its handler runs in the new task.
    b.gate(vector::TS, CODE0, 0x7000, 0x8e, 0);
    b.core.deliver_raised().unwrap();
    assert_eq!((b.core.rip, b.core.cpl), (0x7000, 0));
    assert_eq!(b.core.segments.tr.selector, FREE);
    assert_eq!(b.get32(b.core.regs[4] + 4), ENTRY as u32);
}

#[test]
fn a_task_gate_serves_an_exception() {
    let mut b = bench(0);
    b.put(IDT + 8 * u64::from(vector::GP), u64::from(FREE) << 16 | 0x8500 << 32);
    b.core.gp(0x1230);
    b.core.deliver_raised().unwrap();
    assert_eq!((b.core.rip, b.core.regs[4]), (ENTRY, STACK3 - 4));
    assert_eq!(b.get32(STACK3 - 4), 0x1230);
    assert_eq!(b.get32(TSS + 0x20), CODE as u32);
    assert_eq!(b.get32(TSS + 0x24), 0x1_0002, "with RF, as for any fault");
    assert_ne!(b.core.system_flags & rflags::NT, 0);
    // Through it, an instruction needs the gate's privilege.
    let mut b = bench(0);
    b.put(IDT + 8 * 0x30, u64::from(FREE) << 16 | 0x8500 << 32);
    b.set_level(3);
    b.faults(interrupt::int_n, &[0xcd, 0x30], vector::GP, Some(0x30 * 8 + 2));
    b.put(IDT + 8 * 0x30, u64::from(FREE) << 16 | 0xe500 << 32);
    b.ok(interrupt::int_n, &[0xcd, 0x30]);
    assert_eq!(b.get32(TSS + 0x20), CODE as u32 + 2);
    assert_eq!((b.core.rip, b.core.cpl), (ENTRY, 0));
}

#[test]
fn a_task_of_the_286() {
    let mut b = Bench::new(false);
    b.put(GDT + u64::from(FREE), tss_descriptor(OTHER, 0x2b, 0x81));
    let words = [0x6000, 0x202, 1, 2, 3, 4, 0x7000, 6, 7, 8, DATA0, CODE0, DATA0, DATA0, 0];
    for (n, word) in words.into_iter().enumerate() {
        b.put32(OTHER + 0xe + 2 * n as u64, word.into());
    }
    b.ok(far::jmp_far, &to(FREE, 0xea));
    assert_eq!((b.core.rip, b.core.regs[4] & 0xffff, b.core.regs[0] & 0xffff), (0x6000, 0x7000, 1));
    assert_eq!(b.core.regs[7] & 0xffff, 8);
    assert_eq!((b.selector(Seg::Ds), b.selector(Seg::Fs)), (DATA0, 0));
    assert_eq!(b.core.rflags(), 0x202);
    // And back: it is saved in words.
    b.put32(TSS + 0x20, 0x5555);
    b.put(TSS + 0x4c, u64::from(CODE0) | u64::from(DATA0) << 32);
    b.core.rip = 0x6010;
    b.ok(far::jmp_far, &to(TASK, 0xea));
    assert_eq!(b.core.rip, 0x5555);
    assert_eq!(b.get(OTHER + 0xe) & 0xffff, 0x6017);
}
