//! Shifts and rotations.

use super::Verdict;
use crate::single_step::{
    Kind,
    access::operand,
    case::{AF, CF, CX, Case, Expectation, FLAGS, OF, PF, SF, ZF},
};

/// The count of a shift: as it stands, not masked.
fn count_of(case: &Case<'_>) -> Option<u16> {
    match case.opcode {
        0xd0 | 0xd1 => Some(1),
        0xd2 | 0xd3 => Some(case.regs[CX] & 0xff),
        0xc0 | 0xc1 if case.kind == Kind::I80286 => Some(case.insn.immediate8().into()),
        _ => None,
    }
}

/// A shift or rotation by its number in `ModR/M`, a bit at a time: result and carry.
fn shifted(number: u8, bits: u32, value: u16, count: u16, carry: bool) -> (u16, bool) {
    let top = 1_u32 << (bits - 1);
    let (mut value, mut carry) = (u32::from(value), carry);
    for _ in 0..count {
        let (high, low) = (value & top != 0, value & 1 != 0);
        let (left, right) = (value << 1 & (top << 1).wrapping_sub(1), value >> 1);
        (value, carry) = match number {
            0 => (left | u32::from(high), high),
            1 => (right | if low { top } else { 0 }, low),
            2 => (left | u32::from(carry), high),
            3 => (right | if carry { top } else { 0 }, low),
            5 => (right, low),
            7 => (right | value & top, low),
            _ => (left, high),
        };
    }
    (value as u16, carry)
}

/// Expects what a modern CPU does, with a count of 5 bits.
fn expect(case: &Case<'_>, want: &mut Expectation, count: u16) {
    let (value, flags) = (operand(case), case.regs[FLAGS]);
    let bits = if case.opcode & 1 == 0 { 8 } else { 16 };
    let (result, carry) = shifted(case.reg(), bits, value, count & 31, flags & CF != 0);
    want.unchanged(case);
    want.defined[FLAGS] = 0xffff;
    want.operand(case, result);
    if count & 31 == 0 {
        return;
    }
    want.defined[FLAGS] &= !OF;
    let mut set = vec![(CF, carry)];
    if case.reg() >= 4 {
        want.defined[FLAGS] &= !AF;
        let parity = (result & 0xff).count_ones().is_multiple_of(2);
        set.extend([(PF, parity), (ZF, result == 0), (SF, result >> (bits - 1) & 1 != 0)]);
    }
    want.set_flags(&set);
}

pub(super) fn count(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    match count_of(case) {
        Some(count @ 32..) if case.kind == Kind::I8086 => {
            expect(case, want, count);
            Verdict::Changed
        }
        _ => Verdict::Unchanged,
    }
}

/// On a modern CPU number 6 is SHL once more.
pub(super) fn setmo(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    match count_of(case) {
        Some(count) if case.reg() == 6 => {
            expect(case, want, count);
            Verdict::Changed
        }
        _ => Verdict::Unchanged,
    }
}

/// The set's masks are for any count. With a count of 0 no flag changes, with 1 OF is defined.
pub(super) fn flags(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    let Some(count) = count_of(case).map(|n| n & 31) else { return Verdict::Unchanged };
    match count {
        0 => want.defined[FLAGS] = 0xffff,
        // SETMO's OF is no shift's.
        1 if case.reg() == 6 && case.kind == Kind::I8086 => {}
        1 => want.defined[FLAGS] |= OF | CF,
        _ => {
            want.defined[FLAGS] |= CF;
            want.defined[FLAGS] &= !OF;
        }
    }
    Verdict::Changed
}
