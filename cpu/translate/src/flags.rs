//! The arithmetic flags while translated code runs: not computed, but remembered how to.
//!
//! A [`Recipe`] says from which operation the flags follow and where its operands are: in guest
//! registers that have not changed since, constants, or words that were put aside. It is known at
//! translation and costs nothing at run time. Only where it is not known who comes next (another
//! region) it is written to memory as a number and two words ([`trine_x86::Translated`]), and
//! whoever needs the flags there calls [`settle`].

use trine_x86::{Core, Width, rflags};

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
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Memory,
        Self::Add,
        Self::Sum,
        Self::Sub,
        Self::Difference,
        Self::Remainder,
        Self::Logic,
        Self::Inc,
        Self::Dec,
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
}

impl Recipe {
    /// Memory says how.
    pub const MEMORY: Self =
        Self { kind: Kind::Memory, w: Width::W64, x: Src::Imm(0), y: Src::Imm(0) };

    /// What [`trine_x86::Translated::flags_kind`] is for it.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.kind as u32 | (self.w as u32) << 8
    }

    /// Writes it to memory, for the registers as they are in `core`.
    pub fn remember(&self, core: &mut Core) {
        if self.kind == Kind::Memory {
            return;
        }
        let get = |src| match src {
            Src::Reg(reg) => core.get(self.w, reg),
            Src::Imm(value) => value,
            Src::Spill(n) => core.translated.spill[usize::from(n)] & self.w.mask(),
        };
        let (x, y) = (get(self.x), get(self.y));
        core.translated.flags_kind = self.number();
        core.translated.flags_x = x;
        core.translated.flags_y = y;
    }
}

/// Computes the flags from what memory says, into [`Core::flags`].
pub fn settle(core: &mut Core) {
    let t = &mut core.translated;
    let number = std::mem::take(&mut t.flags_kind);
    let kind = Kind::ALL[(number & 0xff) as usize % Kind::ALL.len()];
    let w = [Width::W8, Width::W16, Width::W32, Width::W64][(number >> 8 & 3) as usize];
    let mask = w.mask();
    let (x, y) = (t.flags_x & mask, t.flags_y & mask);
    let flags = &mut core.flags;
    match kind {
        Kind::Memory => {}
        Kind::Add => flags.add(w, x, y, x.wrapping_add(y) & mask),
        Kind::Sum => flags.add(w, x.wrapping_sub(y) & mask, y, x),
        Kind::Sub => flags.sub(w, x, y, x.wrapping_sub(y) & mask),
        Kind::Difference => flags.sub(w, x.wrapping_add(y) & mask, y, x),
        Kind::Remainder => flags.sub(w, x, x.wrapping_sub(y) & mask, y),
        Kind::Logic => flags.logic(w, x),
        Kind::Inc | Kind::Dec => {
            flags.set_bits(if y & 1 != 0 { rflags::CF } else { 0 });
            if kind == Kind::Inc { flags.inc(w, x) } else { flags.dec(w, x) }
        }
    }
}
