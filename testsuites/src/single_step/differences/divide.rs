//! DIV, IDIV and AAM.

use super::Verdict;
use crate::single_step::{
    access::operand,
    case::{AX, Case, DX, Expectation},
};

/// #DE.
const DE: u8 = 0;

/// A division as a modern CPU does it: quotient and remainder; `None` is a divide error.
fn divide(case: &Case<'_>) -> Option<(u16, u16)> {
    let wide = case.opcode & 1 != 0;
    let (ax, dx) = (case.regs[AX], case.regs[DX]);
    let divisor = operand(case);
    let dividend = u32::from(dx) << 16 | u32::from(ax);
    match (wide, case.reg() == 7) {
        (false, false) => {
            let quotient = ax.checked_div(divisor)?;
            Some((u8::try_from(quotient).ok()?.into(), ax % divisor))
        }
        (true, false) => {
            let quotient = dividend.checked_div(divisor.into())?;
            Some((u16::try_from(quotient).ok()?, (dividend % u32::from(divisor)) as u16))
        }
        (false, true) => {
            let (n, d) = (i32::from(ax as i16), i32::from(divisor as u8 as i8));
            let quotient = i8::try_from(n.checked_div(d)?).ok()?;
            Some((u16::from(quotient as u8), u16::from((n % d) as u8)))
        }
        (true, true) => {
            let (n, d) = (i64::from(dividend as i32), i64::from(divisor as i16));
            let quotient = i16::try_from(n.checked_div(d)?).ok()?;
            Some((quotient as u16, (n % d) as u16))
        }
    }
}

fn is_division(case: &Case<'_>) -> bool {
    matches!(case.opcode, 0xf6 | 0xf7) && matches!(case.reg(), 6 | 7)
}

pub(super) fn error(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    if case.test.interrupted.is_some_and(|i| i.vector != DE) {
        return Verdict::Unchanged;
    }
    let zero_base = case.opcode == 0xd4 && case.modrm == 0;
    let fails = zero_base || is_division(case) && divide(case).is_none();
    if !fails {
        return Verdict::Unchanged;
    }
    want.fault(case, DE);
    Verdict::Final
}

pub(super) fn signed(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    if !is_division(case) || case.reg() != 7 {
        return Verdict::Unchanged;
    }
    let Some((quotient, remainder)) = divide(case) else { return Verdict::Unchanged };
    let wide = case.opcode & 1 != 0;
    let most_negative = quotient == if wide { 0x8000 } else { 0x80 };
    if !most_negative && !case.prefixes.rep {
        return Verdict::Unchanged;
    }
    want.unchanged(case);
    if wide {
        (want.regs[AX], want.regs[DX]) = (quotient, remainder);
    } else {
        want.regs[AX] = remainder << 8 | quotient;
    }
    Verdict::Changed
}
