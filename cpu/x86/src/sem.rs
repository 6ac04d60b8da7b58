//! What instructions are written in.
//!
//! An instruction's meaning is a function generic over [`Sem`]. Where `Value` is `u64` it is the
//! interpreter; where it is a node of an intermediate representation it is the translator's
//! lifter. What the two can disagree on is the primitives below, not the instructions.
//!
//! Rules for semantics:
//! - *Check, compute, commit.* Everything that can fault comes first; nothing of the guest's state
//!   changes before the last thing that can.
//! - No Rust `if` on a `Value`. Run-time choice is [`Sem::select`] or [`Sem::when`]; Rust's `if` is
//!   for what decoding knows (width, operand kind, mode) and folds away.
//! - A `Value` of width `w` has zeros above `w`. Every primitive that takes a width gives such a
//!   value back and may rely on getting one.

use crate::{
    core::Core,
    fault::Raised,
    insn::{Insn, Seg, Width},
};

/// A width as a type: instructions are compiled once for each.
pub trait Size: 'static {
    /// The width.
    const W: Width;
}

/// 8, 16, 32 and 64 bits.
#[expect(missing_docs, reason = "their names say it")]
pub mod size {
    use super::{Size, Width};
    pub struct B8;
    pub struct B16;
    pub struct B32;
    pub struct B64;
    impl Size for B8 {
        const W: Width = Width::W8;
    }
    impl Size for B16 {
        const W: Width = Width::W16;
    }
    impl Size for B32 {
        const W: Width = Width::W32;
    }
    impl Size for B64 {
        const W: Width = Width::W64;
    }
}

/// How a memory operand is reached, as a type: most are flat, and flat ones cost nothing.
pub trait Reach: 'static {
    /// No segment base, limit, type or alignment check is needed.
    const FLAT: bool;
    /// The width of its address, if the type knows it.
    const ADDRESS: Option<Width>;
    /// Its address may have an index.
    const INDEXED: bool = true;

    /// The width of its address.
    #[inline(always)]
    #[must_use]
    fn address_width(i: &Insn) -> Width {
        match Self::ADDRESS {
            Some(width) => width,
            None => i.address_width(),
        }
    }
}

/// Through a segment that is known to be flat, with an address of 64 bits that has no index.
pub struct Flat64;
impl Reach for Flat64 {
    const FLAT: bool = true;
    const ADDRESS: Option<Width> = Some(Width::W64);
    const INDEXED: bool = false;
}
/// The same with an index.
pub struct Indexed64;
impl Reach for Indexed64 {
    const FLAT: bool = true;
    const ADDRESS: Option<Width> = Some(Width::W64);
}
/// Through a segment that is known to be flat, with an address of 32 bits.
pub struct Flat32;
impl Reach for Flat32 {
    const FLAT: bool = true;
    const ADDRESS: Option<Width> = Some(Width::W32);
}
/// Through any segment, with all checks.
pub struct Checked;
impl Reach for Checked {
    const FLAT: bool = false;
    const ADDRESS: Option<Width> = None;
}

/// An arithmetic flag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the manual's own names")]
pub enum Flag {
    Cf = 0,
    Pf = 2,
    Af = 4,
    Zf = 6,
    Sf = 7,
    Of = 11,
}

impl Flag {
    /// Its bit in RFLAGS.
    #[inline(always)]
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// A locked read-modify-write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the instructions' own names")]
pub enum Rmw {
    Xchg,
    Add,
    Sub,
    And,
    Or,
    Xor,
    /// Adds the operand and the carry flag as it is when the operation begins.
    Adc,
    /// Subtracts the operand and the carry flag.
    Sbb,
    /// Two's complement of what is there; the operand is ignored.
    Neg,
}

impl Rmw {
    /// What it makes of `old`; `carry` is the carry flag, 0 or 1. Bits above the width of `old` are
    /// the caller's to drop.
    #[inline(always)]
    #[must_use]
    pub fn eval(self, old: u64, operand: u64, carry: u64) -> u64 {
        match self {
            Self::Xchg => operand,
            Self::Add => old.wrapping_add(operand),
            Self::Sub => old.wrapping_sub(operand),
            Self::And => old & operand,
            Self::Or => old | operand,
            Self::Xor => old ^ operand,
            Self::Adc => old.wrapping_add(operand).wrapping_add(carry),
            Self::Sbb => old.wrapping_sub(operand).wrapping_sub(carry),
            Self::Neg => old.wrapping_neg(),
        }
    }
}

/// A pure function of two words, called as it is by every engine.
pub type Pure = fn(u64, u64) -> u64;

/// A whole instruction as a plain function over the core: what is cold or large. RIP already points
/// behind the instruction when it is called; control transfers change it. It is either complete or
/// raises a fault without a trace.
#[derive(Clone, Copy)]
pub struct Cold {
    /// For disassembly and statistics.
    pub name: &'static str,
    /// The function.
    pub run: fn(&mut Core, &Insn) -> Result<(), Raised>,
}

/// The primitives.
pub trait Sem: Sized {
    /// A word of up to 64 bits.
    type Value: Copy;
    /// A memory operand that has been read and proved writable.
    type Place: Copy;
    /// What `?` carries: a fault in the interpreter, nothing when lifting.
    type Stop;

    // Constants and registers

    /// A constant.
    fn imm(&mut self, value: u64) -> Self::Value;
    /// General register `reg` ([`crate::insn::slot`] numbers; AH to BH for 8 bits).
    fn get(&mut self, w: Width, reg: u8) -> Self::Value;
    /// Writes it: 8 and 16 bits leave the rest, 32 bits clear the upper half.
    fn set(&mut self, w: Width, reg: u8, value: Self::Value);

    // Memory

    /// The memory operand's offset in its segment, of [`Reach::address_width`].
    fn address<R: Reach>(&mut self, i: &Insn) -> Self::Value;
    /// Loads from `seg:offset`.
    ///
    /// # Errors
    /// The access faults.
    fn load<R: Reach>(
        &mut self,
        w: Width,
        i: &Insn,
        seg: Seg,
        offset: Self::Value,
    ) -> Result<Self::Value, Self::Stop>;
    /// Stores. Must be the last thing that can fault.
    ///
    /// # Errors
    /// The access faults, and nothing is stored.
    fn store<R: Reach>(
        &mut self,
        w: Width,
        i: &Insn,
        seg: Seg,
        offset: Self::Value,
        value: Self::Value,
    ) -> Result<(), Self::Stop>;
    /// Loads and proves that a store to the same place will not fault.
    ///
    /// # Errors
    /// The access faults, as a store would.
    fn load_for_write<R: Reach>(
        &mut self,
        w: Width,
        i: &Insn,
        seg: Seg,
        offset: Self::Value,
    ) -> Result<(Self::Place, Self::Value), Self::Stop>;
    /// Stores to a place that was proved writable.
    fn commit(&mut self, w: Width, place: Self::Place, value: Self::Value);
    /// A locked read-modify-write; returns what was there. The flags are the caller's.
    ///
    /// # Errors
    /// The access faults.
    fn update<R: Reach>(
        &mut self,
        w: Width,
        i: &Insn,
        seg: Seg,
        offset: Self::Value,
        op: Rmw,
        operand: Self::Value,
    ) -> Result<Self::Value, Self::Stop>;
    /// A locked compare-and-exchange; returns what was there. It always writes, as the CPU does.
    ///
    /// # Errors
    /// The access faults.
    fn compare_exchange<R: Reach>(
        &mut self,
        w: Width,
        i: &Insn,
        seg: Seg,
        offset: Self::Value,
        expected: Self::Value,
        new: Self::Value,
    ) -> Result<Self::Value, Self::Stop>;

    // Arithmetic

    /// a + b.
    fn add(&mut self, w: Width, a: Self::Value, b: Self::Value) -> Self::Value;
    /// a - b.
    fn sub(&mut self, w: Width, a: Self::Value, b: Self::Value) -> Self::Value;
    /// a & b.
    fn and(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    /// a | b.
    fn or(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    /// a ^ b.
    fn xor(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    /// !a.
    fn not(&mut self, w: Width, a: Self::Value) -> Self::Value;
    /// a << n; 0 where n is the width or more.
    fn shl(&mut self, w: Width, a: Self::Value, n: Self::Value) -> Self::Value;
    /// a >> n, zeros shifted in; 0 where n is the width or more.
    fn shr(&mut self, w: Width, a: Self::Value, n: Self::Value) -> Self::Value;
    /// a >> n, sign bits shifted in; all sign where n is the width or more.
    fn sar(&mut self, w: Width, a: Self::Value, n: Self::Value) -> Self::Value;
    /// Low half of a * b.
    fn mul(&mut self, w: Width, a: Self::Value, b: Self::Value) -> Self::Value;
    /// High half of the unsigned product.
    fn mul_high_unsigned(&mut self, w: Width, a: Self::Value, b: Self::Value) -> Self::Value;
    /// High half of the signed product.
    fn mul_high_signed(&mut self, w: Width, a: Self::Value, b: Self::Value) -> Self::Value;
    /// Drops the bits above `w`.
    fn truncate(&mut self, w: Width, a: Self::Value) -> Self::Value;
    /// Copies the sign bit of width `from` up to width `to`.
    fn sign_extend(&mut self, from: Width, to: Width, a: Self::Value) -> Self::Value;
    /// Reverses the order of bytes.
    fn byte_swap(&mut self, w: Width, a: Self::Value) -> Self::Value;
    /// Counts ones.
    fn count_ones(&mut self, a: Self::Value) -> Self::Value;
    /// Zeros above the highest one within `w`; `w.bits()` for 0.
    fn leading_zeros(&mut self, w: Width, a: Self::Value) -> Self::Value;
    /// Zeros below the lowest one; `w.bits()` for 0.
    fn trailing_zeros(&mut self, w: Width, a: Self::Value) -> Self::Value;
    /// 1 if a == b, else 0.
    fn equal(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    /// 1 if a < b unsigned, else 0.
    fn below(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    /// `yes` if `condition` is not 0, else `no`.
    fn select(&mut self, condition: Self::Value, yes: Self::Value, no: Self::Value) -> Self::Value;
    /// A pure function.
    fn pure(&mut self, f: Pure, a: Self::Value, b: Self::Value) -> Self::Value;

    // Flags

    /// All six after `result = a + b + carry`.
    fn flags_add(&mut self, w: Width, a: Self::Value, b: Self::Value, result: Self::Value);
    /// All six after `result = a - b - borrow`.
    fn flags_sub(&mut self, w: Width, a: Self::Value, b: Self::Value, result: Self::Value);
    /// ZF, SF and PF of `result`; CF, OF and AF cleared.
    fn flags_logic(&mut self, w: Width, result: Self::Value);
    /// After INC; CF stays.
    fn flags_inc(&mut self, w: Width, result: Self::Value);
    /// After DEC; CF stays.
    fn flags_dec(&mut self, w: Width, result: Self::Value);
    /// ZF, SF and PF of `result`; CF and OF as given (0 or 1); AF cleared.
    fn flags_shift(&mut self, w: Width, result: Self::Value, cf: Self::Value, of: Self::Value);
    /// CF and OF as given; the others stay.
    fn flags_rotate(&mut self, cf: Self::Value, of: Self::Value);
    /// One flag, 0 or 1.
    fn flag(&mut self, flag: Flag) -> Self::Value;
    /// Sets one flag to 0 or 1.
    fn set_flag(&mut self, flag: Flag, value: Self::Value);
    /// The arithmetic flags at their places in RFLAGS.
    fn flags(&mut self) -> Self::Value;
    /// Sets the arithmetic flags in `mask` from their places in `bits`.
    fn set_flags(&mut self, mask: u64, bits: Self::Value);
    /// Condition `cc` (the low four bits of Jcc's opcode), 0 or 1.
    fn condition(&mut self, cc: u8) -> Self::Value;
    /// The direction flag as a step: +1 or -1 (64 bits).
    fn direction(&mut self) -> Self::Value;

    // Control

    /// The address of the next instruction, the low `w` of it.
    fn next_ip(&mut self, w: Width, i: &Insn) -> Self::Value;
    /// Goes to `target`, which a near branch of operand size `w` has computed. The transfer takes
    /// effect with the end of the instruction: a fault that comes after it (CALL's push) undoes it.
    ///
    /// # Errors
    /// #GP if it is outside of CS or not canonical.
    fn jump(&mut self, w: Width, i: &Insn, target: Self::Value) -> Result<(), Self::Stop>;
    /// Goes to the target of a relative branch with operand size `w` where `condition` is not 0,
    /// else to the next instruction. `condition` of `None` is always.
    ///
    /// # Errors
    /// As [`Sem::jump`], if it is taken.
    fn branch(
        &mut self,
        w: Width,
        i: &Insn,
        condition: Option<Self::Value>,
    ) -> Result<(), Self::Stop>;
    /// Runs `body` only if `condition` is not 0.
    ///
    /// # Errors
    /// Those of `body`.
    fn when(
        &mut self,
        condition: Self::Value,
        body: impl FnOnce(&mut Self) -> Result<(), Self::Stop>,
    ) -> Result<(), Self::Stop>;
    /// Runs a cold instruction.
    ///
    /// # Errors
    /// Those of the instruction.
    fn cold(&mut self, cold: Cold, i: &Insn) -> Result<(), Self::Stop>;
}

/// An instruction as a type, so that an engine can build its own function around it.
pub trait Semantics: 'static {
    /// It ends its block: the next instruction is not (always) the one behind it, or the mode in
    /// which to decode may have changed.
    const ENDS: bool;
    /// It may store to memory (so possibly into the block it is in).
    const STORES: bool;
    /// It is a branch that may not be taken; if it is not, the block goes on.
    const CONDITIONAL: bool = false;
    /// It touches nothing but general registers and the arithmetic flags, so it always completes.
    const PLAIN: bool = false;
    /// It is a plain function over the core, which may change anything that an engine looks at
    /// between blocks.
    const COLD: bool;
    /// What it does.
    ///
    /// # Errors
    /// A fault, with nothing changed.
    fn exec<S: Sem>(s: &mut S, i: &Insn) -> Result<(), S::Stop>;
}

/// What an engine makes of an instruction type: its own entry point.
pub trait Pick {
    /// The entry point.
    type Out;
    /// Makes it for `T`.
    fn pick<T: Semantics>(self) -> Self::Out;
}
