//! DAA, DAS, AAA and AAS: the 8086 adjusts by other rules where a half of AL is out of range.

use super::Verdict;
use crate::single_step::case::{AF, AX, CF, Case, Expectation, FLAGS, PF, SF, ZF};

/// What SDM vol. 2 says of the instruction: AX and the flags that are defined after it.
pub(super) fn adjust(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    let (ax, flags) = (case.regs[AX], case.regs[FLAGS]);
    let al = ax & 0xff;
    let low = al & 15 > 9 || flags & AF != 0;
    let high = al > 0x99 || flags & CF != 0;
    // Where the carry of the low half, or a high half of 9 below a low one out of range, matters.
    let differs = match case.opcode {
        0x27 => low && (0x9a..=0x9f).contains(&al) && flags & (AF | CF) == AF,
        0x2f => low && flags & CF == 0 && (al < 6 || (0x9a..=0x9f).contains(&al)),
        0x37 => low && al > 0xf9,
        0x3f => low && al < 6,
        _ => false,
    };
    if !differs {
        return Verdict::Unchanged;
    }
    if matches!(case.opcode, 0x37 | 0x3f) {
        let adjusted =
            if case.opcode == 0x37 { ax.wrapping_add(0x106) } else { ax.wrapping_sub(0x106) };
        want.regs[AX] = adjusted & 0xff0f;
        return Verdict::Changed;
    }
    let by = if low { 6 } else { 0 } + if high { 0x60 } else { 0 };
    let result = if case.opcode == 0x27 { al.wrapping_add(by) } else { al.wrapping_sub(by) } & 0xff;
    want.regs[AX] = ax & 0xff00 | result;
    let carry = high || case.opcode == 0x2f && low && al < 6;
    let parity = result.count_ones().is_multiple_of(2);
    let set = [(CF, carry), (PF, parity), (AF, low), (ZF, result == 0), (SF, result & 0x80 != 0)];
    want.set_flags(&set);
    Verdict::Changed
}
