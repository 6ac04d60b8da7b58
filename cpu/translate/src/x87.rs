//! x87 instructions that a backend may leave to the host's own of the same name.
//!
//! While the FPU may be used and none of its exceptions is unmasked ([`is_usable`], a part of the
//! state for which code is made), none ever becomes pending, and such an instruction does nothing
//! but what it does to the register stack, the status word, memory or a few flags. So the host's
//! stack, status and control word can be the guest's, with its precision, rounding, denormals,
//! stack faults and sticky flags. What the host's FPU must not tell is who used it last: the
//! pointers to the last instruction and operand are kept in the core ([`Part::Last`]).
//!
//! The transcendental functions are not among these instructions: real CPUs differ in their last
//! bits, from each other and from Trine. Nor are those that are rare.
//!
//! Sources: SDM vol. 1, chapter 8; vol. 2, the instructions' pages.

use iced_x86::Mnemonic as M;
use trine_x86::{Core, Insn, cr0};

use crate::ir::Val;

/// The control word: all exceptions masked.
pub const MASKED: u16 = 0x3f;

/// Whether x87 instructions of a vCPU as it is now raise neither #NM nor #MF, now or later.
#[must_use]
pub fn is_usable(core: &Core) -> bool {
    let masked = core.x87.control & MASKED == MASKED && !core.x87.is_pending();
    masked && core.control.cr0 & (cr0::EM | cr0::TS) == 0
}

/// Room for a state of the host's FPU, as x86's FXSAVE wants it.
#[repr(C, align(16))]
pub struct Room([u8; 512]);

impl Default for Room {
    fn default() -> Self {
        Self([0; 512])
    }
}

/// What an instruction becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// FWAIT: nothing is pending.
    Nothing,
    /// FNSTSW and FNSTCW: a word to memory or, without a memory operand, to AX.
    Store(Part),
    /// FLDCW.
    LoadControl,
    /// What the host's instruction does.
    Host(Shape),
}

/// What an instruction on the register stack has to do with anything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shape {
    /// Bytes of its memory operand.
    pub bytes: u8,
    /// That is stored to.
    pub store: bool,
    /// It does not become the last instruction.
    pub control: bool,
    /// The condition, as in the opcode of Jcc, under which it moves.
    pub condition: Option<u8>,
    /// It compares, with ZF, PF and CF as the result; the other flags become 0.
    pub compares: bool,
}

/// What an operation does with the x87.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// What the step's instruction does to the register stack and the status word: its memory
    /// operand's linear address, and the value on which it depends whether it moves. The value is
    /// that of the flags of a comparison.
    Host(Shape, Option<Val>, Option<Val>),
    /// The status word.
    Status,
    /// The control word.
    Control,
    /// Sets the control word. Stops if that unmasks an exception.
    SetControl(Val),
    /// The step's instruction is the last one, and, if there is one, the offset of its memory
    /// operand.
    Last(Option<Val>),
}

impl Part {
    /// The values it uses.
    pub fn uses(&self, each: impl FnMut(Val)) {
        match *self {
            Self::Host(_, a, b) => a.into_iter().chain(b).for_each(each),
            Self::SetControl(a) => Some(a).into_iter().for_each(each),
            Self::Last(a) => a.into_iter().for_each(each),
            Self::Status | Self::Control => {}
        }
    }

    /// Whether it may stop the instruction.
    #[must_use]
    pub fn stops(&self) -> bool {
        matches!(self, Self::Host(_, Some(_), _) | Self::SetControl(_))
    }
}

impl Way {
    /// That of an instruction; `None` if it is none of those, or if its memory operand needs more
    /// checks than the translator's.
    #[must_use]
    pub fn of(insn: &Insn) -> Option<Self> {
        let checked = insn.has_memory() && !insn.flat() && !(insn.mode.is_64() && insn.mode.flat());
        if checked {
            return None;
        }
        match insn.code.mnemonic() {
            M::Wait => return Some(Self::Nothing),
            M::Fnstsw => return Some(Self::Store(Part::Status)),
            M::Fnstcw => return Some(Self::Store(Part::Control)),
            M::Fldcw => return Some(Self::LoadControl),
            _ => {}
        }
        let memory = insn.code.op_code().memory_size().size();
        let shape = Shape {
            bytes: if insn.has_memory() { memory as u8 } else { 0 },
            ..shape(insn.code.mnemonic())?
        };
        Some(Self::Host(shape))
    }
}

/// That of the instructions of a name, but for the size of operands.
fn shape(mnemonic: M) -> Option<Shape> {
    let plain = Shape::default();
    let moves = |condition| Shape { condition: Some(condition), ..plain };
    Some(match mnemonic {
        M::Fld
        | M::Fild
        | M::Fld1
        | M::Fldl2t
        | M::Fldl2e
        | M::Fldpi
        | M::Fldlg2
        | M::Fldln2
        | M::Fldz
        | M::Fxch
        | M::Ffree
        | M::Fincstp
        | M::Fdecstp
        | M::Fnop => plain,
        M::Fadd
        | M::Faddp
        | M::Fiadd
        | M::Fsub
        | M::Fsubp
        | M::Fisub
        | M::Fsubr
        | M::Fsubrp
        | M::Fisubr
        | M::Fmul
        | M::Fmulp
        | M::Fimul
        | M::Fdiv
        | M::Fdivp
        | M::Fidiv
        | M::Fdivr
        | M::Fdivrp
        | M::Fidivr
        | M::Fchs
        | M::Fabs
        | M::Fsqrt
        | M::Frndint => plain,
        M::Fcom
        | M::Fcomp
        | M::Fcompp
        | M::Fucom
        | M::Fucomp
        | M::Fucompp
        | M::Ficom
        | M::Ficomp
        | M::Ftst
        | M::Fxam => plain,
        M::Fst | M::Fstp | M::Fist | M::Fistp | M::Fisttp => Shape { store: true, ..plain },
        M::Fcomi | M::Fcomip | M::Fucomi | M::Fucomip => Shape { compares: true, ..plain },
        M::Fnclex => Shape { control: true, ..plain },
        M::Fcmovb => moves(0x2),
        M::Fcmovnb => moves(0x3),
        M::Fcmove => moves(0x4),
        M::Fcmovne => moves(0x5),
        M::Fcmovbe => moves(0x6),
        M::Fcmovnbe => moves(0x7),
        M::Fcmovu => moves(0xa),
        M::Fcmovnu => moves(0xb),
        _ => return None,
    })
}
