//! The register stack: registers relative to TOP, tags, and the MMX registers' side of both.
//!
//! Source: SDM vol. 1, sections 8.1.2, 8.1.3 and 8.1.7; vol. 3A, section 14.2.

use trine_softfloat::x87::{Class, F80};

use crate::state::X87;

/// Invalid operation.
pub(crate) const IE: u16 = 1 << 0;
/// The six exception flags.
pub(crate) const EXCEPTIONS: u16 = 0x3f;
/// Stack fault.
pub(crate) const SF: u16 = 1 << 6;
/// Exception summary.
pub(crate) const ES: u16 = 1 << 7;
/// Condition code 0.
pub(crate) const C0: u16 = 1 << 8;
/// Condition code 1.
pub(crate) const C1: u16 = 1 << 9;
/// Condition code 2.
pub(crate) const C2: u16 = 1 << 10;
/// Condition code 3.
pub(crate) const C3: u16 = 1 << 14;
/// Busy: a copy of ES.
pub(crate) const B: u16 = 1 << 15;

const TOP_SHIFT: u16 = 11;
const TOP: u16 = 7 << TOP_SHIFT;

/// The bits of the control word that can be written.
const CONTROL_WRITABLE: u16 = 0x1f3f;
/// The bit of the control word that reads as 1.
const CONTROL_FIXED: u16 = 1 << 6;

/// The exponent and sign of an x87 register that MMX has written.
const MMX_EXPONENT: u16 = 0xffff;

impl X87 {
    /// TOP: the number of the physical register that is ST(0).
    #[inline(always)]
    #[must_use]
    pub fn top(&self) -> u8 {
        (self.status >> TOP_SHIFT & 7) as u8
    }

    /// Sets TOP, modulo 8.
    #[inline(always)]
    pub fn set_top(&mut self, top: u8) {
        self.status = self.status & !TOP | u16::from(top & 7) << TOP_SHIFT;
    }

    /// The physical register that is ST(`n`).
    #[inline(always)]
    fn physical(&self, n: u8) -> usize {
        usize::from(self.top().wrapping_add(n) & 7)
    }

    /// Whether ST(`n`) is empty.
    #[inline(always)]
    #[must_use]
    pub fn is_empty(&self, n: u8) -> bool {
        self.valid >> self.physical(n) & 1 == 0
    }

    /// ST(`n`), even if it is empty.
    #[inline(always)]
    #[must_use]
    pub fn st(&self, n: u8) -> F80 {
        let (significand, sign_exp) = self.reg[self.physical(n)];
        F80 { sign_exp, significand }
    }

    /// Writes ST(`n`), which then is not empty.
    #[inline(always)]
    pub fn set_st(&mut self, n: u8, value: F80) {
        let at = self.physical(n);
        self.reg[at] = (value.significand, value.sign_exp);
        self.valid |= 1 << at;
    }

    /// Pushes a value.
    #[inline(always)]
    pub fn push(&mut self, value: F80) {
        self.set_top(self.top().wrapping_sub(1));
        self.set_st(0, value);
    }

    /// Pops ST(0): it becomes empty, and ST(1) becomes ST(0).
    #[inline(always)]
    pub fn pop(&mut self) {
        self.free(0);
        self.set_top(self.top().wrapping_add(1));
    }

    /// Makes ST(`n`) empty.
    #[inline(always)]
    pub fn free(&mut self, n: u8) {
        self.valid &= !(1 << self.physical(n));
    }

    /// The tag word as FNSTENV stores it, computed from the registers: two bits for each physical
    /// register, 0 valid, 1 zero, 2 special, 3 empty.
    #[must_use]
    pub fn tag_word(&self) -> u16 {
        self.reg.iter().enumerate().fold(0, |word, (n, &(significand, sign_exp))| {
            let tag = match (F80 { sign_exp, significand }).classify() {
                _ if self.valid >> n & 1 == 0 => 3,
                Class::Normal => 0,
                Class::Zero => 1,
                _ => 2,
            };
            word | tag << (2 * n)
        })
    }

    /// Takes from a tag word what counts: which registers are empty.
    pub fn set_tag_word(&mut self, word: u16) {
        self.valid = (0..8).filter(|n| word >> (2 * n) & 3 != 3).fold(0, |valid, n| valid | 1 << n);
    }

    /// Sets the control word: its reserved bits are fixed, and ES and B follow the masks.
    pub fn set_control(&mut self, control: u16) {
        self.control = control & CONTROL_WRITABLE | CONTROL_FIXED;
        self.summarize();
    }

    /// Derives ES and B from the exception flags and their masks.
    pub fn summarize(&mut self) {
        let pending = self.status & !self.control & EXCEPTIONS != 0;
        self.status = self.status & !(ES | B) | if pending { ES | B } else { 0 };
    }

    /// Whether an unmasked exception is pending.
    #[inline(always)]
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.status & ES != 0
    }

    /// FNINIT's state; the registers keep what is in them.
    pub fn init(&mut self) {
        *self = Self { reg: self.reg, control: 0x37f, ..Self::default() };
    }

    /// MMX register `n`, which is the significand of physical register `n`.
    #[inline(always)]
    #[must_use]
    pub fn mm(&self, n: u8) -> u64 {
        self.reg[usize::from(n & 7)].0
    }

    /// Writes MMX register `n`.
    #[inline(always)]
    pub fn set_mm(&mut self, n: u8, value: u64) {
        self.reg[usize::from(n & 7)] = (value, MMX_EXPONENT);
    }

    /// What every MMX instruction but EMMS does: TOP becomes 0, and no register is empty.
    #[inline(always)]
    pub fn enter_mmx(&mut self) {
        self.status &= !TOP;
        self.valid = 0xff;
    }
}
