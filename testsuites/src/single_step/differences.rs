//! Where a modern CPU rightly differs from the 8086 or the 80286: a table, and what each row
//! changes of what is expected.
//!
//! The rows stand in the order in which a CPU looks at things: decoding, limits, the instruction
//! itself, FLAGS. A row that says all there is to say ends the list.
//!
//! Sources: SDM vol. 3B, chapter 23 (architecture compatibility); vol. 3A, section 21.1 (real
//! mode); vol. 2, the instructions' pages; the READMEs of the sets.

mod bcd;
mod divide;
mod encoding;
mod flags;
mod overrun;
mod shift;
mod stack;

use std::collections::BTreeMap;

use super::{
    Kind,
    case::{Case, Expectation},
};
use Kind::{I8086, I80286};

/// What a row says of a case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing.
    Unchanged,
    /// Something else is expected.
    Changed,
    /// Something else is expected, and no other row matters.
    Final,
    /// Nothing can be compared: why.
    Skip(&'static str),
}

/// A row of the table.
struct Difference {
    /// On which CPUs.
    of: &'static [Kind],
    /// What differs.
    what: &'static str,
    /// Where it is said.
    source: &'static str,
    rule: fn(&Case<'_>, &mut Expectation) -> Verdict,
}

const OLD: &[Kind] = &[I8086, I80286];

/// The table.
const DIFFERENCES: &[Difference] = &[
    Difference {
        of: &[I8086],
        what: "FLAGS bits 15:12 are set in the image",
        source: "SDM vol. 3B, EFLAGS Pushed on the Stack",
        rule: flags::high_bits,
    },
    Difference {
        of: &[I8086],
        what: "60 to 6F are Jcc, C0, C1, C8, C9 are RET: run as 70 to 7F, C2, C3, CA, CB",
        source: "README of the 8086's tests, metadata.json",
        rule: encoding::alias,
    },
    Difference {
        of: OLD,
        what: "LOCK is ignored where it has no meaning: #UD",
        source: "SDM vol. 2, LOCK",
        rule: encoding::lock,
    },
    Difference {
        of: &[I80286],
        what: "an instruction has at most 10 bytes, not 15",
        source: "README of the 80286's tests; SDM vol. 3A, 6.15 (interrupt 13)",
        rule: encoding::length,
    },
    Difference {
        of: &[I8086],
        what: "an instruction that wraps from FFFF to 0: #GP",
        source: "SDM vol. 3B, Segment Wraparound",
        rule: overrun::code,
    },
    Difference {
        of: OLD,
        what: "undefined opcodes do something: #UD",
        source: "SDM vol. 3B, Undefined Opcodes",
        rule: encoding::undefined,
    },
    Difference {
        of: OLD,
        what: "MOV knows FS and GS",
        source: "SDM vol. 2, MOV",
        rule: encoding::fs_and_gs,
    },
    Difference {
        of: OLD,
        what: "escape opcodes without a coprocessor: #NM",
        source: "SDM vol. 3A, 2.5 (CR0.EM)",
        rule: encoding::escape,
    },
    Difference {
        of: OLD,
        what: "a string instruction beyond FFFF: #GP or #SS, and it can be restarted",
        source: "SDM vol. 3B, Segment Wraparound; vol. 2, REP",
        rule: overrun::string,
    },
    Difference {
        of: &[I8086],
        what: "an operand that wraps from FFFF to 0: #GP or #SS",
        source: "SDM vol. 3B, Segment Wraparound",
        rule: overrun::operand,
    },
    Difference {
        of: &[I80286],
        what: "POP to an operand beyond FFFF has popped: SP is as before",
        source: "SDM vol. 3A, 6.5 (faults)",
        rule: stack::pop_memory,
    },
    Difference {
        of: &[I80286],
        what: "POPA beyond FFFF raises #GP before it loads a register, not #SS after some",
        source: "Intel CPUs, as the suite host finds them",
        rule: stack::pop_all,
    },
    Difference {
        of: &[I80286],
        what: "PUSHA beyond FFFF raises #SS and leaves what it pushed before",
        source: "Intel CPUs, as the suite host finds them",
        rule: stack::push_all,
    },
    Difference {
        of: &[I80286],
        what: "three recordings show SS pushed where CS belongs",
        source: "SDM vol. 2, INT and the operation of exceptions",
        rule: stack::misrecorded,
    },
    Difference {
        of: &[I80286],
        what: "beyond FFFF in the stack segment: #SS in place of #GP",
        source: "SDM vol. 3B, Segment Wraparound; vol. 3A, 6.15 (interrupt 12)",
        rule: overrun::stack_segment,
    },
    Difference {
        of: OLD,
        what: "a divide error pushes CS:IP behind the instruction, or FLAGS that it has changed",
        source: "READMEs of both; SDM vol. 3A, 6.15 (interrupt 0)",
        rule: divide::error,
    },
    Difference {
        of: &[I8086],
        what: "IDIV cannot give the most negative quotient, and REP negates it",
        source: "README of the 8086's tests; SDM vol. 2, IDIV",
        rule: divide::signed,
    },
    Difference {
        of: &[I8086],
        what: "shift counts are not masked to 5 bits",
        source: "SDM vol. 2, SAL/SAR/SHL/SHR, IA-32 Architecture Compatibility",
        rule: shift::count,
    },
    Difference {
        of: &[I8086],
        what: "D0 /6 to D3 /6 are SETMO and SETMOC, not SHL",
        source: "README of the 8086's tests",
        rule: shift::setmo,
    },
    Difference {
        of: OLD,
        what: "OF is undefined after a shift by more than 1, and after no other",
        source: "SDM vol. 2, SAL/SAR/SHL/SHR and RCL/RCR/ROL/ROR",
        rule: shift::flags,
    },
    Difference {
        of: &[I8086],
        what: "DAA, DAS, AAA and AAS adjust halves out of range in another way",
        source: "SDM vol. 2, their operation",
        rule: bcd::adjust,
    },
    Difference {
        of: &[I8086],
        what: "PUSH SP pushes the new SP",
        source: "SDM vol. 3B, PUSH SP",
        rule: stack::push_sp,
    },
    Difference {
        of: OLD,
        what: "POPF and IRET do not load IOPL and NT in real mode",
        source: "SDM vol. 3B, EFLAGS Pushed on the Stack",
        rule: flags::loaded,
    },
    Difference {
        of: OLD,
        what: "IP wraps to 0 behind FFFF; EIP goes on to 10000",
        source: "SDM vol. 3B, Segment Wraparound",
        rule: overrun::end_of_code,
    },
];

/// Applies the table to a case; counts each row's uses.
pub fn apply(case: &Case<'_>, want: &mut Expectation, used: &mut BTreeMap<String, u64>) -> Verdict {
    for row in DIFFERENCES.iter().filter(|row| row.of.contains(&case.kind)) {
        let verdict = (row.rule)(case, want);
        if matches!(verdict, Verdict::Changed | Verdict::Final) {
            let key = format!("{} ({})", row.what, row.source);
            *used.entry(key).or_default() += 1;
        }
        if matches!(verdict, Verdict::Final | Verdict::Skip(_)) {
            return verdict;
        }
    }
    Verdict::Unchanged
}
