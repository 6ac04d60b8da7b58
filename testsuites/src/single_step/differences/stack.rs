//! The stack.

use iced_x86::{Mnemonic, Register};

use super::Verdict;
use crate::single_step::{
    access::{GP_FAULT, SS_FAULT},
    case::{AX, BP, BX, CS, CX, Case, DI, DX, Expectation, SI, SP, SS},
};

/// SHA-1 of recordings in which the CPU, or its observer, erred.
const MISRECORDED: [&str; 3] = [
    "ba5bb16b5a4306333a359c3abd2169b871ffa42c",
    "7df1d2a948c416f5a4416e2f747d2d357d497570",
    "ab0cea0f2b89ae469a98eaf20dedc9ff2ca08c91",
];

pub(super) fn push_sp(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    if case.insn.mnemonic() != Mnemonic::Push || case.insn.op0_register() != Register::SP {
        return Verdict::Unchanged;
    }
    want.word(case, case.regs[SS], case.regs[SP].wrapping_sub(2), case.regs[SP]);
    Verdict::Changed
}

/// The 80286 has incremented SP when it finds that it cannot store.
pub(super) fn pop_memory(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    let overrun = case.test.interrupted.is_some_and(|i| i.vector == GP_FAULT);
    if case.opcode != 0x8f || !overrun || want.regs[SP] != case.regs[SP].wrapping_sub(4) {
        return Verdict::Unchanged;
    }
    want.fault(case, GP_FAULT);
    Verdict::Changed
}

pub(super) fn misrecorded(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    if !case.hash().is_some_and(|hash| MISRECORDED.contains(&hash.as_str())) {
        return Verdict::Unchanged;
    }
    want.word(case, case.regs[SS], case.regs[SP].wrapping_sub(4), case.regs[CS]);
    Verdict::Changed
}

/// A modern CPU has loaded what it has popped so far, but for SP, which stands.
pub(super) fn pop_all(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    let overrun = case.test.interrupted.is_some_and(|i| i.vector == GP_FAULT);
    if case.opcode != 0x61 || !overrun {
        return Verdict::Unchanged;
    }
    want.fault(case, SS_FAULT);
    for (n, register) in (0..8).zip([DI, SI, BP, SP, BX, DX, CX, AX]) {
        if case.regs[SP].wrapping_add(2 * n) == 0xffff {
            break;
        }
        if register != SP {
            want.regs[register] = case.stacked(2 * n);
        }
    }
    Verdict::Final
}

/// A modern CPU has pushed what it could, and the exception's frame lies over the first three.
pub(super) fn push_all(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    let overrun = case.test.interrupted.is_some_and(|i| i.vector == GP_FAULT);
    if case.opcode != 0x60 || !overrun {
        return Verdict::Unchanged;
    }
    want.fault(case, SS_FAULT);
    let places = (1..=8).map(|n| case.regs[SP].wrapping_sub(2 * n)).take_while(|at| *at != 0xffff);
    for (at, register) in places.zip([AX, CX, DX, BX, SP, BP, SI, DI]).skip(3) {
        want.word(case, case.regs[SS], at, case.regs[register]);
    }
    Verdict::Final
}
