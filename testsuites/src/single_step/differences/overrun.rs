//! What reaches beyond the last byte of a segment, FFFFh.

use iced_x86::{FlowControl, Register};

use super::Verdict;
use crate::single_step::{
    Kind,
    access::{Access, GP_FAULT, SS_FAULT, first_fault},
    case::{CX, Case, DI, Ending, Expectation, FLAGS, IP, SI},
};

/// FLAGS.DF.
const DF: u16 = 0x400;
/// FLAGS that comparisons set.
const ARITHMETIC: u16 = 0x8d5;

/// Where the instruction ends, as a modern CPU counts: 10000h and more are beyond CS.
fn end(case: &Case<'_>) -> u32 {
    u32::from(case.regs[IP]) + case.insn.len() as u32
}

pub(super) fn code(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    if end(case) <= 0x1_0000 {
        return Verdict::Unchanged;
    }
    want.fault(case, GP_FAULT);
    Verdict::Final
}

pub(super) fn end_of_code(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    let halted = want.ending == Ending::Halt && want.regs[IP] == 0;
    let fell = want.ending == Ending::Instruction
        && case.kind == Kind::I8086
        && case.insn.flow_control() == FlowControl::Next
        && end(case) == 0x1_0000;
    if !halted && !fell {
        return Verdict::Unchanged;
    }
    want.beyond = true;
    Verdict::Changed
}

pub(super) fn operand(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    match first_fault(case) {
        None => Verdict::Unchanged,
        Some(vector) => {
            want.fault(case, vector);
            Verdict::Final
        }
    }
}

pub(super) fn stack_segment(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    let overrun = case.test.interrupted.is_some_and(|i| i.vector == GP_FAULT);
    if !overrun || first_fault(case) != Some(SS_FAULT) {
        return Verdict::Unchanged;
    }
    want.fault(case, SS_FAULT);
    Verdict::Final
}

/// A string instruction, its operands in the order in which a CPU touches them.
struct Strings {
    size: u16,
    source: Option<Register>,
    destination: bool,
    /// CMPS reads its destination first.
    compares: bool,
}

impl Strings {
    fn of(case: &Case<'_>) -> Option<Self> {
        let (source, destination) = match case.opcode {
            0x6c | 0x6d | 0xaa | 0xab | 0xae | 0xaf => (false, true),
            0x6e | 0x6f | 0xac | 0xad => (true, false),
            0xa4..=0xa7 => (true, true),
            _ => return None,
        };
        let segment = match case.insn.segment_prefix() {
            Register::None => Register::DS,
            prefix => prefix,
        };
        let size = 1 + u16::from(case.opcode & 1);
        Some(Self {
            size,
            source: source.then_some(segment),
            destination,
            compares: matches!(case.opcode, 0xa6 | 0xa7),
        })
    }

    /// The fault of an iteration with these pointers.
    fn fault(&self, si: u16, di: u16) -> Option<u8> {
        let source = self.source.map(|segment| Access { segment, offset: si, size: self.size });
        let destination = self.destination.then_some(Access {
            segment: Register::ES,
            offset: di,
            size: self.size,
        });
        let order = if self.compares { [destination, source] } else { [source, destination] };
        order.iter().flatten().find_map(Access::fault)
    }
}

/// The iterations in front of the one that reaches beyond FFFFh remain done, and SI, DI and CX say
/// how many those are.
pub(super) fn string(case: &Case<'_>, want: &mut Expectation) -> Verdict {
    let Some(strings) = Strings::of(case) else { return Verdict::Unchanged };
    let step = if case.regs[FLAGS] & DF == 0 { strings.size } else { strings.size.wrapping_neg() };
    // What CX was after the fault of an 80286 says nothing, but the pointers tell where it was.
    let overrun = case.test.interrupted.is_some_and(|i| i.vector == GP_FAULT);
    let done = match (case.repeats(), case.kind) {
        (_, Kind::I80286) if !overrun => return Verdict::Unchanged,
        (false, _) => 1,
        (true, Kind::I80286) => case.regs[CX],
        (true, Kind::I8086) => case.regs[CX].wrapping_sub(want.regs[CX]),
    };
    let pointer =
        |n: usize, iteration: u16| case.regs[n].wrapping_add(step.wrapping_mul(iteration));
    let first = (0..done).find_map(|n| Some((n, strings.fault(pointer(SI, n), pointer(DI, n))?)));
    let Some((iteration, vector)) = first else { return Verdict::Unchanged };
    want.unchanged(case);
    for n in 0..iteration {
        let (si, di) = (pointer(SI, n), pointer(DI, n));
        want.string_iteration(case, strings.source, si, di);
    }
    if case.repeats() {
        want.regs[CX] = case.regs[CX].wrapping_sub(iteration);
    }
    if strings.source.is_some() {
        want.regs[SI] = pointer(SI, iteration);
    }
    if strings.destination {
        want.regs[DI] = pointer(DI, iteration);
    }
    let compares = matches!(case.opcode, 0xa6 | 0xa7 | 0xae | 0xaf) && iteration > 0;
    want.enter(case, vector);
    if compares {
        // Those of the last comparison, which nobody has recorded.
        want.defined[FLAGS] &= !ARITHMETIC;
        want.undefine_flags_image(case, ARITHMETIC);
    }
    Verdict::Final
}
