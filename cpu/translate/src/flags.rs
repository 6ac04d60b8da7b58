//! The arithmetic flags while translated code runs: not computed, but remembered how to.
//!
//! A [`Recipe`] says from which operation the flags follow and where its operands are: in guest
//! registers that have not changed since, constants, or words that were put aside. It is known at
//! translation and costs nothing at run time. Only where it is not known who comes next (another
//! region) it is written to memory as a number and two words ([`trine_x86::Translated`]), and
//! whoever needs the flags there calls [`settle`].

use trine_x86::{Core, Width, rflags};

use crate::ir::Bin;

/// From what the flags follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// As memory says: a number and two words.
    Memory = 0,
    /// x + y.
    Add,
    /// x is the sum of y and something.
    Sum,
    /// x - y.
    Sub,
    /// x is what remained of something less y.
    Difference,
    /// y is what remained of x.
    Remainder,
    /// The logical result x.
    Logic,
    /// x was incremented to; y is CF.
    Inc,
    /// x was decremented to; y is CF.
    Dec,
    /// x + y + the carry that was put aside ([`CARRY_SPILL`]).
    AddCarry,
    /// x is the sum of y, that carry and something.
    SumCarry,
    /// x - y - that carry.
    SubCarry,
    /// x is what remained of something less y and that carry.
    DifferenceCarry,
    /// x was shifted left by y, which is not 0.
    Shl,
    /// x was shifted right by y.
    Shr,
    /// x was shifted right by y with its sign.
    Sar,
    /// The result x; CF and OF are bits 0 and 1 of y; AF is 0.
    Result,
    /// x is what LAHF would load; OF is 0.
    Compared,
    /// x times y, without sign.
    MulUnsigned,
    /// x times y.
    MulSigned,
}

/// The words of [`trine_x86::Translated::spill`] for operands of a recipe: two from here on.
pub const RECIPE_SPILLS: u8 = 16;

/// The word of [`trine_x86::Translated::spill`] with a carry or borrow that went into the last
/// operation.
pub const CARRY_SPILL: u8 = 18;

impl Kind {
    const ALL: [Self; 20] = [
        Self::Memory,
        Self::Add,
        Self::Sum,
        Self::Sub,
        Self::Difference,
        Self::Remainder,
        Self::Logic,
        Self::Inc,
        Self::Dec,
        Self::AddCarry,
        Self::SumCarry,
        Self::SubCarry,
        Self::DifferenceCarry,
        Self::Shl,
        Self::Shr,
        Self::Sar,
        Self::Result,
        Self::Compared,
        Self::MulUnsigned,
        Self::MulSigned,
    ];
}

/// Where an operand is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Src {
    /// In a guest register (numbers of [`trine_x86::slot`]).
    Reg(u8),
    /// A constant.
    Imm(u64),
    /// In a word of [`trine_x86::Translated::spill`].
    Spill(u8),
    /// CF as memory says: only as second operand of [`Kind::Inc`] and [`Kind::Dec`].
    Memory,
}

/// How to compute the flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recipe {
    /// From what.
    pub kind: Kind,
    /// The operation's width.
    pub w: Width,
    /// The first operand.
    pub x: Src,
    /// The second.
    pub y: Src,
    /// Flags that were set since.
    pub over: Option<Over>,
}

/// Some flags that do not follow from what the others follow from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Over {
    /// Which.
    pub mask: u16,
    /// The word of [`trine_x86::Translated::spill`] that has them at their places in RFLAGS.
    pub spill: u8,
}

impl Recipe {
    /// Memory says how.
    pub const MEMORY: Self =
        Self { kind: Kind::Memory, w: Width::W64, x: Src::Imm(0), y: Src::Imm(0), over: None };

    /// The operand that is the operation's result, if one is: ZF, SF and PF follow from it alone.
    #[must_use]
    pub fn result(&self) -> Option<Src> {
        match self.kind {
            Kind::Sum
            | Kind::Difference
            | Kind::Logic
            | Kind::Inc
            | Kind::Dec
            | Kind::SumCarry
            | Kind::DifferenceCarry
            | Kind::Result => Some(self.x),
            Kind::Remainder => Some(self.y),
            _ => None,
        }
    }

    /// Whether memory says all that there is to say.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        self.kind == Kind::Memory && self.over.is_none()
    }

    /// What [`trine_x86::Translated::flags_kind`] is for it.
    #[must_use]
    pub fn number(&self) -> u32 {
        let over = self.over.map_or(0, |over| u32::from(over.mask));
        self.kind as u32 | (self.w as u32) << 8 | over << 16
    }

    /// Writes it to memory, for the registers as they are in `core`.
    pub fn remember(&self, core: &mut Core) {
        if self.is_memory() {
            return;
        }
        if self.kind == Kind::Memory {
            return self.remember_over(core);
        }
        let carry = self.y == Src::Memory && {
            settle(core);
            core.flags.cf()
        };
        let get = |src| match src {
            Src::Reg(reg) => core.get(self.w, reg),
            Src::Imm(value) => value,
            Src::Spill(n) => core.translated.spill[usize::from(n)] & self.w.mask(),
            Src::Memory => u64::from(carry),
        };
        let (x, y) = (get(self.x), get(self.y));
        core.translated.flags_kind = Self { over: None, ..*self }.number();
        core.translated.flags_count = 0;
        core.translated.flags_x = x;
        core.translated.flags_y = y;
        self.remember_over(core);
    }

    /// Adds what was set since to what memory says.
    fn remember_over(&self, core: &mut Core) {
        if let Some(over) = self.over {
            let (mask, t) = (u64::from(over.mask), &mut core.translated);
            t.flags_over = t.flags_over & !mask | t.spill[usize::from(over.spill)] & mask;
            t.flags_kind |= u32::from(over.mask) << 16;
        }
    }
}

/// The kind and the width of a [`Recipe::number`].
fn of_number(number: u32) -> (Kind, Width) {
    let kind = Kind::ALL[(number & 0xff) as usize % Kind::ALL.len()];
    (kind, [Width::W8, Width::W16, Width::W32, Width::W64][(number >> 8 & 3) as usize])
}

/// Computes the flags from what memory says, into [`Core::flags`].
#[inline]
pub fn settle(core: &mut Core) {
    if core.translated.flags_kind | core.translated.flags_count != 0 {
        compute(core);
    }
}

fn compute(core: &mut Core) {
    let t = &mut core.translated;
    let number = std::mem::take(&mut t.flags_kind);
    let count = std::mem::take(&mut t.flags_count);
    let (kind, w) = of_number(number);
    let mask = w.mask();
    let (x, y) = (t.flags_x & mask, t.flags_y & mask);
    let carry = t.spill[usize::from(CARRY_SPILL)] & 1;
    let (over, bits) = (u64::from(number >> 16), t.flags_over);
    let counted = t.flags_counted;
    let flags = &mut core.flags;
    match kind {
        Kind::Memory => {}
        Kind::Add => flags.add(w, x, y, x.wrapping_add(y) & mask),
        Kind::Sum => flags.add(w, x.wrapping_sub(y) & mask, y, x),
        Kind::Sub => flags.sub(w, x, y, x.wrapping_sub(y) & mask),
        Kind::Difference => flags.sub(w, x.wrapping_add(y) & mask, y, x),
        Kind::Remainder => flags.sub(w, x, x.wrapping_sub(y) & mask, y),
        Kind::Logic => flags.logic(w, x),
        Kind::Compared => flags.set_bits(x),
        Kind::Inc | Kind::Dec => {
            flags.set_bits(if y & 1 != 0 { rflags::CF } else { 0 });
            if kind == Kind::Inc { flags.inc(w, x) } else { flags.dec(w, x) }
        }
        Kind::AddCarry => flags.add(w, x, y, x.wrapping_add(y).wrapping_add(carry) & mask),
        Kind::SumCarry => flags.add(w, x.wrapping_sub(y).wrapping_sub(carry) & mask, y, x),
        Kind::SubCarry => flags.sub(w, x, y, x.wrapping_sub(y).wrapping_sub(carry) & mask),
        Kind::DifferenceCarry => flags.sub(w, x.wrapping_add(y).wrapping_add(carry) & mask, y, x),
        Kind::Shl => {
            let cf = Bin::Shr.eval(w, x, u64::from(w.bits()).wrapping_sub(y)) & 1;
            let of = (x ^ x << 1) & w.sign() != 0;
            flags.shift(w, Bin::Shl.eval(w, x, y), cf != 0, of);
        }
        Kind::Shr => {
            let cf = Bin::Shr.eval(w, x, y.wrapping_sub(1)) & 1;
            flags.shift(w, Bin::Shr.eval(w, x, y), cf != 0, x & w.sign() != 0);
        }
        Kind::Sar => {
            let cf = Bin::Sar.eval(w, x, y.wrapping_sub(1)) & 1;
            flags.shift(w, Bin::Sar.eval(w, x, y), cf != 0, false);
        }
        Kind::MulUnsigned | Kind::MulSigned => {
            let low = Bin::Mul.eval(w, x, y);
            let matters = match kind {
                Kind::MulUnsigned => Bin::MulHighUnsigned.eval(w, x, y) != 0,
                _ => Bin::MulHighSigned.eval(w, x, y) != Bin::Sar.eval(w, low, 64),
            };
            // ZF is 0 in any case, SF and PF are those of the lower half.
            flags.shift(w, if low == 0 { 3 } else { low }, matters, matters);
        }
        Kind::Result => flags.shift(w, x, y & 1 != 0, y & 2 != 0),
    }
    match of_number(count) {
        (Kind::Inc, w) => flags.inc(w, counted & w.mask()),
        (Kind::Dec, w) => flags.dec(w, counted & w.mask()),
        _ => {}
    }
    if over != 0 {
        core.flags.set_masked(over, bits);
    }
}
