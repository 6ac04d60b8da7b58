//! States that are easily forgotten when a guest moves from one engine to another.
//!
//! Everything else is in the other tests: one of their engines is a `Hopper`.

use trine_engine::Exit;
use trine_x86::vector;

use crate::{ENGINES, Guest};

/// A copy of the stage's GDT with a TSS behind, and that TSS.
const GDT: u64 = 0x9000;
const NEW_TASK: u64 = 0xa000;
/// Offsets of EIP, EFLAGS, ESP and DS in a TSS (SDM vol. 3A, figure 8-2).
const EIP: u64 = 0x20;
const EFLAGS: u64 = 0x24;
const ESP: u64 = 0x38;
const ES: u64 = 0x48;

/// A task switch whose new task has a bad DS: the fault belongs to the new task, which has not begun.
/// Between the two the guest moves.
#[test]
fn a_fault_between_two_tasks() {
    for make in ENGINES {
        // jmp SELECTOR:0
        let mut g = Guest::new(make, "32", "ea00000000 0000", |_| ());
        let state = g.state();
        let table = state.segments.gdtr;
        let mut gdt = vec![0; usize::from(table.limit) + 1];
        g.ram.read(trine_guest::Gpa(table.base), &mut gdt).expect("in RAM");
        let selector = gdt.len() as u16;
        // 32-bit, available, present, 104 bytes.
        gdt.extend((0x67 | NEW_TASK << 16 | 0x89 << 40).to_le_bytes());
        g.ram.write(trine_guest::Gpa(GDT), &gdt).expect("in RAM");
        g.ram.write(trine_guest::Gpa(0x1005), &selector.to_le_bytes()).expect("in RAM");
        let put = |at: u64, value: u32| {
            g.ram.write(trine_guest::Gpa(NEW_TASK + at), &value.to_le_bytes()).expect("in RAM");
        };
        put(0x1c, state.control.cr3 as u32);
        put(EIP, 0x1100);
        put(EFLAGS, 2);
        put(ESP, 0x8000);
        for (n, segment) in (0..).zip(&state.segments.seg) {
            put(ES + 4 * n, segment.selector.into());
        }
        // Behind the end of the table.
        put(ES + 12, 0x7ff8);
        g.change(|s| {
            s.segments.gdtr.base = GDT;
            s.segments.gdtr.limit = gdt.len() as u16 - 1;
        });
        assert_eq!(g.run(1), Exit::Budget);
        g.change(|_| ());
        let state = g.until_handler(vector::TS);
        assert_eq!(state.segments.tr.selector, selector);
        assert_eq!(g.word(state.gpr[4]) & 0xffff_ffff, 0x7ff8, "the error code");
        assert_eq!(g.word(state.gpr[4] + 4) & 0xffff_ffff, 0x1100, "in the new task");
    }
}
