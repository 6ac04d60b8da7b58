//! The upper four bits of FLAGS.

use super::Verdict;
use crate::single_step::case::{Case, Expectation, FLAGS, HIGH_FLAGS, SP, SS};

/// FLAGS.IOPL and NT, which a modern CPU has in real mode, too.
const IOPL_NT: u16 = 0x7000;

pub(super) fn high_bits(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    want.regs[FLAGS] &= !HIGH_FLAGS;
    let interrupts = matches!(case.opcode, 0x9c | 0xcc | 0xcd | 0xce);
    if !interrupts {
        return Verdict::Unchanged;
    }
    // The upper byte of what was pushed first.
    let at = case.address(case.regs[SS], case.regs[SP].wrapping_sub(1));
    for byte in want.ram.iter_mut().filter(|b| case.kind.wrap(b.at) == at) {
        byte.value &= !(HIGH_FLAGS >> 8) as u8;
    }
    Verdict::Changed
}

pub(super) fn loaded(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    let depth = match case.opcode {
        0x9d => 0,
        0xcf => 4,
        _ => return Verdict::Unchanged,
    };
    want.regs[FLAGS] |= case.stacked(depth) & IOPL_NT;
    Verdict::Changed
}
