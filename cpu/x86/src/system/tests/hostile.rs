//! Random instructions and events on random tables: nothing panics, and what faults leaves no
//! trace.

use super::{Bench, CODE0, Cold, GDT, IDT, LDT, STACK0, TSS};
use crate::{
    CpuState, Decoded, Decoder, Seg, cr4, rflags,
    state::{Activity, Segment, Table},
    system::{control, debug, far, flag, idle, interrupt, iret, load, msr, port, syscall, tables},
};

/// Instructions with the bytes that decode to them; registers decide the rest.
const INSNS: &[(Cold, &[u8])] = &[
    (control::mov_to_cr, &[0x0f, 0x22, 0xc0]),
    (control::mov_to_cr, &[0x0f, 0x22, 0xd8]),
    (control::mov_to_cr, &[0x0f, 0x22, 0xe0]),
    (control::lmsw, &[0x0f, 0x01, 0xf0]),
    (control::xsetbv, &[0x0f, 0x01, 0xd1]),
    (debug::mov_to_dr, &[0x0f, 0x23, 0xf8]),
    (msr::rdmsr, &[0x0f, 0x32]),
    (msr::wrmsr, &[0x0f, 0x30]),
    (load::mov_to_sreg, &[0x8e, 0xd0]),
    (load::mov_to_sreg, &[0x8e, 0xd8]),
    (load::pop_sreg, &[0x0f, 0xa9]),
    (load::push_sreg, &[0x0f, 0xa0]),
    (load::lss, &[0x0f, 0xb2, 0x03]),
    (far::jmp_far, &[0xff, 0x2b]),
    (far::call_far, &[0xff, 0x1b]),
    (far::ret_far, &[0xcb]),
    (far::ret_far, &[0xca, 0xf8, 0xff]),
    (iret::iret, &[0xcf]),
    (iret::iret, &[0x66, 0xcf]),
    (interrupt::int_n, &[0xcd, 0x11]),
    (interrupt::int3, &[0xcc]),
    (interrupt::int1, &[0xf1]),
    (flag::popf, &[0x9d]),
    (flag::pushf, &[0x9c]),
    (flag::sti, &[0xfb]),
    (port::input, &[0xed]),
    (port::ins, &[0xf3, 0x6d]),
    (port::outs, &[0xf3, 0x6e]),
    (tables::lldt, &[0x0f, 0x00, 0xd0]),
    (tables::ltr, &[0x0f, 0x00, 0xd8]),
    (tables::lar, &[0x0f, 0x02, 0xc3]),
    (tables::lsl, &[0x0f, 0x03, 0xc3]),
    (tables::verw, &[0x0f, 0x00, 0xe8]),
    (tables::lgdt, &[0x0f, 0x01, 0x13]),
    (idle::invlpg, &[0x0f, 0x01, 0x3b]),
    (syscall::sysenter, &[0x0f, 0x34]),
    (syscall::sysexitd, &[0x0f, 0x35]),
    (syscall::sysretd, &[0x0f, 0x07]),
];

/// Marsaglia's xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll().is_multiple_of(n)
    }

    /// Values that matter: small ones, selectors, pointers to the tables, ends of ranges, anything.
    fn value(&mut self) -> u64 {
        const ENDS: [u64; 6] =
            [0, 0xffff, 0xffff_ffff, u64::MAX, 0x7fff_ffff_ffff, 0xffff_8000_0000_0000];
        match self.roll() % 6 {
            0 => self.roll() % 0x100,
            1 => [GDT, IDT, TSS, LDT, STACK0][(self.roll() % 5) as usize] + self.roll() % 0x40,
            2 => ENDS[(self.roll() % 6) as usize].wrapping_add(self.roll() % 8).wrapping_sub(4),
            3 => 1 << (self.roll() % 64),
            4 => self.roll() % 0x4_0000,
            _ => self.roll(),
        }
    }

    /// A descriptor that is present more often than not, mostly with base and limit of use.
    fn descriptor(&mut self) -> u64 {
        let kind = self.roll() & 0x1f | (self.roll() & 3) << 5 | u64::from(!self.one_in(6)) << 7;
        let flags = self.roll() & 0xf;
        let selector = (self.roll() % 0x20) << 3 | self.roll() & 7;
        match self.roll() % 4 {
            0 => self.roll(),
            1 => self.roll() & 0x1fff | selector << 16 | kind << 40 | (self.roll() & 7) << 32,
            _ => 0xffff | TSS << 16 | kind << 40 | flags << 52 | (self.roll() & 0xf) << 48,
        }
    }

    fn segment(&mut self) -> Segment {
        Segment {
            selector: self.value() as u16,
            base: self.value() & 0xffff_ffff,
            limit: self.value() as u32,
            rights: self.roll() as u32 & 0xf0ff | u32::from(self.one_in(8)) << 16,
        }
    }
}

fn scramble(b: &mut Bench, dice: &mut Dice) {
    for n in 0..0x20 {
        let (gdt, idt, ldt) = (dice.descriptor(), dice.descriptor(), dice.descriptor());
        if n > 5 || dice.one_in(16) {
            b.put(GDT + 8 * n, gdt);
        }
        if dice.one_in(4) {
            b.put(IDT + 8 * n, idt);
        } else {
            let vector = if b.core.long_mode() { n / 2 } else { n };
            let kind = 0x8e | (dice.roll() & 3) << 5 | dice.roll() & 1;
            b.gate(vector as u8, CODE0, STACK0, kind as u8, (dice.roll() & 1) as u8);
        }
        b.put(LDT + 8 * n, ldt);
    }
    for n in 0..0x20 {
        let value = dice.value();
        b.put(TSS + 4 * n, value);
        let value = dice.value();
        b.put(STACK0 + 4 * n, value);
    }
    let mut s: CpuState = b.core.state();
    for reg in &mut s.gpr {
        *reg = dice.value();
    }
    if dice.one_in(2) {
        s.gpr[4] = STACK0;
    }
    s.rflags = dice.roll() & 0x3f_7fd5 & !if dice.one_in(4) { 0 } else { rflags::VM } | 2;
    if b.core.long_mode() {
        s.rflags &= !rflags::VM;
    }
    s.control.cr4 |= dice.roll() & (cr4::VME | cr4::PVI | cr4::UMIP | cr4::DE | cr4::TSD);
    for (n, seg) in s.segments.seg.iter_mut().enumerate() {
        if dice.one_in(3) && n != Seg::Cs as usize {
            *seg = dice.segment();
        }
    }
    s.segments.tr.limit = if dice.one_in(3) { dice.value() as u32 } else { 0xfff };
    s.segments.idtr = Table { base: IDT, limit: if dice.one_in(4) { 0x3f } else { 0xff } };
    s.events.activity = Activity::Running;
    b.core.set_state(&s);
}

#[test]
fn nothing_panics_and_faults_leave_no_trace() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut done, mut faulted, mut delivered, mut shut_down) = (0, 0, 0, 0);
    for round in 0..6000 {
        let mut b = Bench::new(round % 2 == 0);
        if dice.one_in(2) {
            b.set_level(3);
        }
        scramble(&mut b, &mut dice);
        let (f, bytes) = INSNS[dice.roll() as usize % INSNS.len()];
        let decoder = Decoder::new(&b.core.model);
        let rip = b.core.rip;
        let Decoded::Insn(insn) = decoder.decode(bytes, b.core.mode, rip, 0) else { continue };
        let before = b.core.state();
        b.core.rip = rip.wrapping_add(u64::from(insn.len));
        match f(&mut b.core, &insn) {
            Ok(()) => done += 1,
            Err(_) => {
                faulted += 1;
                b.core.rip = rip;
                let mut after = b.core.state();
                // IRET lets NMIs in again even if it faults; a watched access is remembered.
                after.events = before.events;
                assert!(after == before, "{bytes:x?} left a trace: {before:?}\n{after:?}");
            }
        }
        for _ in 0..4 {
            let result = match dice.roll() % 4 {
                0 => b.core.deliver_interrupt(dice.roll() as u8 & 0x1f),
                1 => b.core.deliver_nmi(),
                2 => b.core.trap_debug(dice.roll()),
                _ => {
                    let code = dice.roll() as u32 & 0xffff;
                    b.core.fault_code(10 + (dice.roll() % 5) as u8, code);
                    b.core.deliver_raised()
                }
            };
            if result.is_err() {
                shut_down += 1;
                assert!(b.is_shut_down());
                break;
            }
            delivered += 1;
        }
    }
    // The dice were worth rolling.
    let counts = [done, faulted, delivered, shut_down];
    assert!(counts.iter().all(|n| *n > 200), "{counts:?}");
}
