//! Shifts and rotations.

use super::Verdict;
use crate::single_step::{
    Kind,
    access::accesses,
    case::{CX, Case, Expectation, FLAGS},
};

/// FLAGS that shifts set.
const ARITHMETIC: u16 = 0x8d5;
const CF: u16 = 1;
const OF: u16 = 0x800;

/// The count of a shift: as it stands, not masked.
fn count_of(case: &Case<'_>) -> Option<u16> {
    match case.opcode {
        0xd0 | 0xd1 => Some(1),
        0xd2 | 0xd3 => Some(case.regs[CX] & 0xff),
        0xc0 | 0xc1 if case.kind == Kind::I80286 => Some(case.insn.immediate8().into()),
        _ => None,
    }
}

/// Takes the destination and the flags out of the comparison.
fn undefine(case: &Case<'_>, want: &mut Expectation) {
    want.defined[FLAGS] &= !ARITHMETIC;
    match accesses(case).first() {
        None => want.undefine_register(case.insn.op0_register()),
        Some(a) => {
            let bits = if a.size == 1 { 0xff } else { 0xffff };
            want.undefine_word(case, case.address(case.segment(a.segment), a.offset), bits);
        }
    }
}

pub(super) fn count(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    if !matches!(case.opcode, 0xd2 | 0xd3) || count_of(case).is_none_or(|n| n < 32) {
        return Verdict::Unchanged;
    }
    undefine(case, want);
    Verdict::Final
}

pub(super) fn setmo(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    if !matches!(case.opcode, 0xd0..=0xd3) || case.reg() != 6 {
        return Verdict::Unchanged;
    }
    undefine(case, want);
    Verdict::Final
}

/// The set's masks are for any count. With a count of 0 no flag changes, with 1 OF is defined.
pub(super) fn flags(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    let Some(count) = count_of(case).map(|n| n & 31) else { return Verdict::Unchanged };
    match count {
        0 => want.defined[FLAGS] = 0xffff,
        1 => want.defined[FLAGS] |= OF | CF,
        _ => {
            want.defined[FLAGS] |= CF;
            want.defined[FLAGS] &= !OF;
        }
    }
    Verdict::Changed
}
