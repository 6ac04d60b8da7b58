//! Opcodes, prefixes and lengths.

use iced_x86::{InstructionInfoFactory, OpAccess, OpKind};

use super::Verdict;
use crate::single_step::{
    access::accesses,
    case::{Case, Expectation},
};

/// #UD.
const UD: u8 = 6;
/// #NM.
const NM: u8 = 7;

pub(super) fn alias(case: &Case<'_>, _: &mut Expectation) -> Verdict {
    // `Expectation::recorded` has put the documented opcode into the code.
    if case.alias.is_some() { Verdict::Changed } else { Verdict::Unchanged }
}

pub(super) fn lock(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    let changes_memory = || {
        let mut info = InstructionInfoFactory::new();
        let written = info.info(&case.insn).op0_access();
        case.insn.op0_kind() == OpKind::Memory
            && matches!(written, OpAccess::Write | OpAccess::ReadWrite)
    };
    if !case.prefixes.lock || case.insn.op_code().can_use_lock_prefix() && changes_memory() {
        return Verdict::Unchanged;
    }
    want.fault(case, UD);
    Verdict::Final
}

pub(super) fn length(case: &Case<'_>, _: &mut Expectation) -> Verdict {
    if case.insn.len() > 10 && case.test.interrupted.is_some() {
        return Verdict::Skip(
            "it is too long for an 80286 only, which says nothing of what it does",
        );
    }
    Verdict::Unchanged
}

pub(super) fn undefined(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    let known_as_undefined = case.test.interrupted.is_some_and(|i| i.vector == UD);
    if case.valid || known_as_undefined {
        return Verdict::Unchanged;
    }
    want.fault(case, UD);
    Verdict::Final
}

/// MOV to and from segment registers 4 and 5, which are ES and CS on the 8086 and nothing on the
/// 80286.
pub(super) fn fs_and_gs(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    if !matches!(case.opcode, 0x8c | 0x8e) || !matches!(case.reg(), 4 | 5) {
        return Verdict::Unchanged;
    }
    let memory = accesses(case);
    if let Some(fault) = memory.iter().find_map(|a| a.fault()) {
        want.fault(case, fault);
        return Verdict::Final;
    }
    want.unchanged(case);
    // FS and GS hold 0.
    if case.opcode == 0x8c {
        match memory.first() {
            Some(a) => want.word(case, case.segment(a.segment), a.offset, 0),
            None => want.set(case.insn.op0_register(), 0),
        }
    }
    Verdict::Changed
}

pub(super) fn escape(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    if !matches!(case.opcode, 0xd8..=0xdf) {
        return Verdict::Unchanged;
    }
    want.fault(case, NM);
    Verdict::Final
}
