//! Families of operations whose lowering can be turned off, to find the one that is wrong.
//!
//! What is off becomes a call of the shared helper ([`crate::helper::evaluate`]) or, of vector
//! instructions, of the function that the interpreter calls. Guest instructions are no families:
//! PUSH, say, is made of `address`, `alu`, `mov` and `memory`.

use std::{fmt, str::FromStr};

use crate::ir::{Bin, Op, Un};

/// What a backend makes native code of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Family {
    /// Additions, subtractions, bitwise operations and comparisons of values.
    Alu,
    /// Extensions, truncations and selections.
    Mov,
    /// Shifts and rotates.
    Shift,
    /// Multiplications. (Divisions are calls in any case.)
    Mul,
    /// Bits that are counted, and bytes that are swapped.
    Bits,
    /// Effective addresses, segment bases and limits.
    Address,
    /// Loads and stores with their look into the TLB.
    Memory,
    /// One look into the TLB for several accesses. (It takes native loads, stores and locked
    /// operations.)
    Share,
    /// Locked operations.
    Atomic,
    /// The arithmetic flags: recipes, and conditions told by the host's flags.
    Flags,
    /// Jumps from block to block that nobody outside of the code has to be asked for.
    Chain,
    /// Legacy vector instructions on XMM registers.
    Sse,
    /// Vector instructions with a VEX prefix.
    Avx,
    /// x87 instructions.
    X87,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Alu,
        Self::Mov,
        Self::Shift,
        Self::Mul,
        Self::Bits,
        Self::Address,
        Self::Memory,
        Self::Share,
        Self::Atomic,
        Self::Flags,
        Self::Chain,
        Self::Sse,
        Self::Avx,
        Self::X87,
    ];

    /// What `TRINE_TRANSLATE_WITHOUT` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alu => "alu",
            Self::Mov => "mov",
            Self::Shift => "shift",
            Self::Mul => "mul",
            Self::Bits => "bits",
            Self::Address => "address",
            Self::Memory => "memory",
            Self::Share => "share",
            Self::Atomic => "atomic",
            Self::Flags => "flags",
            Self::Chain => "chain",
            Self::Sse => "sse",
            Self::Avx => "avx",
            Self::X87 => "x87",
        }
    }

    /// That of an operation, if a helper can do it.
    pub(crate) fn of(op: &Op) -> Option<Self> {
        Some(match op {
            Op::Bin(Bin::Shl | Bin::Shr | Bin::Sar | Bin::Rol, ..) => Self::Shift,
            Op::Bin(Bin::Mul | Bin::MulHighUnsigned | Bin::MulHighSigned, ..) => Self::Mul,
            Op::Bin(..) | Op::Un(Un::Not, ..) => Self::Alu,
            Op::Un(..) => Self::Bits,
            Op::Truncate(..) | Op::SignExtend(..) | Op::Select(..) => Self::Mov,
            Op::Address { .. } | Op::Linear { .. } => Self::Address,
            Op::Load(..) | Op::Store(..) | Op::Open(..) | Op::Commit(..) => Self::Memory,
            Op::Update(..) | Op::CompareExchange(..) => Self::Atomic,
            Op::SetFlags(..) | Op::Flag(_) | Op::Flags | Op::Condition(_) => Self::Flags,
            _ => return None,
        })
    }
}

/// Some families; none by default.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Families(u32);

impl Families {
    /// Those that `TRINE_TRANSLATE_WITHOUT` names.
    ///
    /// # Errors
    /// A line that says which name is none.
    pub fn from_environment() -> Result<Self, String> {
        const NAME: &str = "TRINE_TRANSLATE_WITHOUT";
        let names = std::env::var(NAME).unwrap_or_default();
        names.parse().map_err(|e| format!("{NAME}: {e}"))
    }

    /// Whether a family is one of them.
    #[must_use]
    pub fn has(self, family: Family) -> bool {
        self.0 >> family as u8 & 1 != 0
    }

    /// Whether an operation's family is one of them.
    pub(crate) fn has_op(self, op: &Op) -> bool {
        self.0 != 0 && Family::of(op).is_some_and(|family| self.has(family))
    }
}

impl FromIterator<Family> for Families {
    fn from_iter<T: IntoIterator<Item = Family>>(families: T) -> Self {
        Self(families.into_iter().fold(0, |all, family| all | 1 << family as u8))
    }
}

/// Names with commas between.
impl FromStr for Families {
    type Err = String;

    fn from_str(names: &str) -> Result<Self, String> {
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let of = |name: &str| {
            let known = Family::ALL.into_iter().find(|family| family.name() == name);
            known.ok_or_else(|| {
                let all = Family::ALL.map(Family::name).join(", ");
                format!("there is no family '{name}', but {all}")
            })
        };
        names.map(of).collect()
    }
}

impl fmt::Debug for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Family::ALL.into_iter().filter(|family| self.has(*family)).map(Family::name);
        f.debug_set().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_others() {
        let some: Families = [Family::Shift, Family::Avx].into_iter().collect();
        assert_eq!("shift, avx".parse(), Ok(some));
        assert_eq!("".parse(), Ok(Families::default()));
        let all = Family::ALL.map(Family::name).join(",");
        assert_eq!(all.parse(), Ok(Family::ALL.into_iter().collect::<Families>()));
        let e = "alu,div".parse::<Families>().unwrap_err();
        assert!(e.starts_with("there is no family 'div', but alu, mov,"), "{e}");
    }
}
