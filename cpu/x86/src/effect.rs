//! What instructions do to the arithmetic flags, for engines that leave out flags nobody sees.
//!
//! Only instructions whose [`crate::Semantics::PLAIN`] is set are looked at; what is not listed is
//! taken to need all flags.
//! Source: SDM vol. 1, appendix A.

use iced_x86::Mnemonic as M;

use crate::{
    insn::{Insn, Width},
    rflags::{ARITHMETIC, CF, OF},
};

/// Flags, by their bits in RFLAGS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlagEffect {
    /// Those on which its result depends.
    pub reads: u64,
    /// Those that it may change.
    pub writes: u64,
    /// Those of which nothing is left of what they were.
    pub kills: u64,
}

impl FlagEffect {
    /// Of an instruction that is plain.
    #[must_use]
    pub fn of(i: &Insn) -> Self {
        let all = Self { reads: 0, writes: ARITHMETIC, kills: ARITHMETIC };
        let none = Self { reads: 0, writes: 0, kills: 0 };
        let unknown = Self { reads: ARITHMETIC, writes: ARITHMETIC, kills: 0 };
        match i.code.mnemonic() {
            M::Add | M::Sub | M::And | M::Or | M::Xor | M::Cmp | M::Test | M::Neg => all,
            M::Imul => all,
            M::Adc | M::Sbb => Self { reads: CF, ..all },
            M::Inc | M::Dec => Self { writes: ARITHMETIC & !CF, kills: ARITHMETIC & !CF, ..none },
            M::Shl | M::Sal | M::Shr | M::Sar if i.has_immediate() => match shifts(i) {
                true => all,
                false => none,
            },
            // OF stays, or is what the manual leaves open.
            M::Rol | M::Ror if i.has_immediate() => match shifts(i) {
                true => Self { writes: CF | OF, kills: CF, ..none },
                false => none,
            },
            M::Mov | M::Movzx | M::Movsx | M::Movsxd | M::Lea | M::Not | M::Bswap => none,
            _ => unknown,
        }
    }
}

/// Whether a shift's immediate is not 0 once it is masked.
fn shifts(i: &Insn) -> bool {
    let mask = if i.width() == Width::W64 { 63 } else { 31 };
    i.imm & mask != 0
}
