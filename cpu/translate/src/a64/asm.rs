//! An assembler for A64: a method for each instruction, typed operands, labels.
//!
//! [`Asm`] appends words to a buffer. Its methods bear the instructions' mnemonics; where one
//! mnemonic has several forms, the form's name comes behind (`add`, `add_shifted`, `add_extended`,
//! `add_imm`). Operands that the architecture cannot encode are not representable where that is
//! cheap to say in types: register 31 is the zero register in [`OrZero`] and the stack pointer in
//! [`OrSp`], and an immediate has to become an [`ArithmeticImm`] or a [`LogicalImm`] first. What
//! remains (an offset that no form of a load can hold, a shift by more than the width) is a bug of
//! the caller and panics.
//!
//! A branch goes to a [`Label`], bound before or after. [`Asm::finish`] gives the words, or says
//! which branch does not reach.
//!
//! Source: Arm Architecture Reference Manual for A-profile, DDI 0487 ("Arm ARM"): C6.2 and C7.2
//! describe the instructions in the order of the alphabet under the names that each method gives;
//! C4.1 has the encodings by family, in the order of these modules.

mod atomic;
mod branch;
mod float;
mod immediate;
mod integer;
mod memory;
mod register;
mod system;
mod vector;

#[cfg(test)]
mod golden;

use thiserror::Error;

pub use self::{
    atomic::{Access, Order},
    branch::branch_word,
    float::{Precision, Rounding},
    immediate::{ArithmeticImm, LogicalImm},
    integer::{Extend, Shift},
    memory::{Address, VSize},
    register::*,
    system::{Barrier, Landing, SystemRegister},
    vector::{Arrangement, Lane},
};

/// Which view of the general registers an instruction works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// 32 bits; a result clears the upper half of its register.
    W,
    /// 64 bits.
    X,
}

impl Size {
    /// The bit `sf`, in its place.
    const fn sf(self) -> u32 {
        (self as u32) << 31
    }

    /// 32 or 64.
    #[must_use]
    pub const fn bits(self) -> u32 {
        32 << self as u32
    }
}

/// A condition on NZCV, for conditional branches, selects and compares (Arm ARM, C1.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Cond {
    /// Z: equal.
    Eq,
    /// Not Z: not equal.
    Ne,
    /// C, HS: unsigned higher or same.
    Cs,
    /// Not C, LO: unsigned lower.
    Cc,
    /// N: minus.
    Mi,
    /// Not N: plus or zero.
    Pl,
    /// V: overflow.
    Vs,
    /// Not V.
    Vc,
    /// C and not Z: unsigned higher.
    Hi,
    /// Not C, or Z: unsigned lower or same.
    Ls,
    /// N equals V: signed greater or equal.
    Ge,
    /// N differs from V: signed less.
    Lt,
    /// Not Z, and N equals V: signed greater.
    Gt,
    /// Z, or N differs from V: signed less or equal.
    Le,
    /// Always.
    Al,
}

impl Cond {
    const ALL: [Self; 15] = [
        Self::Eq,
        Self::Ne,
        Self::Cs,
        Self::Cc,
        Self::Mi,
        Self::Pl,
        Self::Vs,
        Self::Vc,
        Self::Hi,
        Self::Ls,
        Self::Ge,
        Self::Lt,
        Self::Gt,
        Self::Le,
        Self::Al,
    ];

    /// The condition that holds where this one does not.
    ///
    /// # Panics
    /// If it is [`Cond::Al`], which always does.
    #[must_use]
    pub const fn inverse(self) -> Self {
        assert!(!matches!(self, Self::Al), "AL has no inverse");
        Self::ALL[self as usize ^ 1]
    }

    const fn code(self) -> u32 {
        self as u32
    }
}

/// A place in the code, bound once by [`Asm::bind`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label(u32);

/// Where in a word the distance to a label goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    /// B and BL: 26 bits of words.
    Imm26,
    /// B.cond, CBZ and loads of literals: 19 bits of words.
    Imm19,
    /// TBZ: 14 bits of words.
    Imm14,
    /// ADR: 21 bits of bytes.
    Adr,
}

/// A word that waits for its label.
#[derive(Clone, Copy, Debug)]
struct FixUp {
    at: usize,
    label: Label,
    field: Field,
}

/// Why there is no code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum AsmError {
    /// A branch, ADR or load of a literal is too far from its label.
    #[error("the instruction at word {at} does not reach word {target}")]
    Reach {
        /// Its index.
        at: usize,
        /// Its label's index.
        target: usize,
    },
}

/// Code in the making: words in order of execution, each an instruction or datum.
#[derive(Debug, Default)]
pub struct Asm {
    words: Vec<u32>,
    /// The index of the word that each label names, once that is known.
    labels: Vec<Option<usize>>,
    fix_ups: Vec<FixUp>,
}

impl Asm {
    /// No code yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many words there are: the index of the next one.
    #[must_use]
    pub fn here(&self) -> usize {
        self.words.len()
    }

    /// What there is; branches to labels that were not bound yet lack their distance.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// A label that names no place yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() as u32 - 1)
    }

    /// A label for the next word.
    pub fn bound(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    /// Makes `label` name the next word.
    ///
    /// # Panics
    /// If it names a word already.
    pub fn bind(&mut self, label: Label) {
        let here = self.here();
        let place = &mut self.labels[label.0 as usize];
        assert!(place.is_none(), "a label is bound once");
        *place = Some(here);
    }

    /// The index of the word that `label` names, if it is bound.
    #[must_use]
    pub fn place(&self, label: Label) -> Option<usize> {
        self.labels[label.0 as usize]
    }

    /// Appends a word of data, such as a literal.
    pub fn word(&mut self, word: u32) {
        self.words.push(word);
    }

    /// Appends a quadword of data, little endian.
    pub fn quad(&mut self, quad: u64) {
        self.word(quad as u32);
        self.word((quad >> 32) as u32);
    }

    /// Puts the distances to labels in their places, and gives all words.
    ///
    /// # Errors
    /// If something does not reach its label.
    ///
    /// # Panics
    /// If a label that was used was never bound.
    pub fn finish(&mut self) -> Result<&[u32], AsmError> {
        for FixUp { at, label, field } in self.fix_ups.drain(..) {
            let target = self.labels[label.0 as usize].expect("a label that is used is bound");
            let words = target as i64 - at as i64;
            let bits = field.encode(words).ok_or(AsmError::Reach { at, target })?;
            self.words[at] |= bits;
        }
        Ok(&self.words)
    }

    /// Forgets all words and labels, but keeps the memory for the next.
    pub fn clear(&mut self) {
        self.words.clear();
        self.labels.clear();
        self.fix_ups.clear();
    }

    fn put(&mut self, word: u32) {
        self.words.push(word);
    }

    /// Appends a word whose `field` is the distance to `label`.
    fn put_label(&mut self, word: u32, label: Label, field: Field) {
        self.fix_ups.push(FixUp { at: self.here(), label, field });
        self.put(word);
    }
}

impl Field {
    /// A distance of so many words, in its place; `None` if it does not fit.
    fn encode(self, words: i64) -> Option<u32> {
        let (distance, width, shift) = match self {
            Self::Imm26 => (words, 26, 0),
            Self::Imm19 => (words, 19, 5),
            Self::Imm14 => (words, 14, 5),
            Self::Adr => {
                let bytes = signed(words * 4, 21)?;
                return Some((bytes & 3) << 29 | (bytes >> 2) << 5);
            }
        };
        Some(signed(distance, width)? << shift)
    }
}

/// The low `width` bits of `value`, if it is a signed number of so many.
const fn signed(value: i64, width: u32) -> Option<u32> {
    let half = 1 << (width - 1);
    if value < -half || value >= half {
        return None;
    }
    Some((value & (2 * half - 1)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_before_and_behind() {
        let mut a = Asm::new();
        let (start, end) = (a.bound(), a.label());
        type Call<'a> = &'a dyn Fn(&mut Asm);
        let rows: [(u32, Call); 12] = [
            (0xb400_0161, &|a| a.cbz(Size::X, X1, end)),
            (0x3500_0142, &|a| a.cbnz(Size::W, X2, end)),
            (0x3600_0123, &|a| a.tbz(X3, 0, end)),
            (0xb740_0104, &|a| a.tbnz(X4, 40, end)),
            (0x1000_00e5, &|a| a.adr(X5, end)),
            (0x5800_00c6, &|a| a.ldr_literal(Size::X, X6, end)),
            (0x1c00_00a7, &|a| a.ldr_v_literal(VSize::S, V7, end)),
            (0x9400_0004, &|a| a.bl(end)),
            (0x17ff_fff8, &|a| a.b(start)),
            (0x54ff_fee1, &|a| a.b_cond(Cond::Ne, start)),
            // adrp x8, the page before
            (0xf0ff_ffe8, &|a| a.adrp(X8, -1)),
            (0x9cff_fea9, &|a| {
                a.bind(end);
                a.ldr_v_literal(VSize::Q, V9, start);
            }),
        ];
        rows.iter().for_each(|(_, put)| put(&mut a));
        assert_eq!((a.place(start), a.place(end)), (Some(0), Some(11)));
        let words = a.finish().expect("all is near").to_vec();
        for (n, (word, row)) in words.iter().zip(rows).enumerate() {
            assert_eq!(*word, row.0, "row {n}: {word:x}");
        }
        a.clear();
        assert_eq!(a.finish(), Ok(&[][..]));
    }

    #[test]
    fn what_does_not_reach_is_an_error() {
        for (words, reaches) in [(0x1fff, true), (0x2000, false)] {
            let mut a = Asm::new();
            let far = a.label();
            a.tbz(X0, 0, far);
            for _ in 1..words {
                a.nop();
            }
            a.bind(far);
            let error = AsmError::Reach { at: 0, target: words };
            assert_eq!(a.finish().err(), (!reaches).then_some(error));
        }
        assert_eq!(branch_word(0x800_0000), None);
        assert_eq!(branch_word(-0x800_0000), Some(0x1600_0000));
        assert_eq!(branch_word(2), None);
    }

    #[test]
    fn conditions_have_inverses() {
        assert_eq!(Cond::Eq.inverse(), Cond::Ne);
        assert_eq!(Cond::Le.inverse(), Cond::Gt);
        assert_eq!(Cond::Hi.inverse().inverse(), Cond::Hi);
    }
}
