//! PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM: comparing strings.
//!
//! Source: SDM vol. 2B, section 4.1.

use super::{
    Bank,
    lanes::{build, lane},
    load_unaligned,
};
use crate::{Core, Insn, Raised, Width, rflags};

/// A string: its elements, sign- or zero-extended, and how many of them count.
struct Text {
    elements: [i32; 16],
    len: usize,
}

/// What an immediate says.
struct Control(u8);

impl Control {
    fn is_words(&self) -> bool {
        self.0 & 1 != 0
    }

    /// Elements in a register.
    fn count(&self) -> usize {
        if self.is_words() { 8 } else { 16 }
    }

    /// The string in `v`; of `len` elements, or up to the first zero.
    fn text(&self, v: [u64; 2], len: Option<u64>) -> Text {
        let elements = std::array::from_fn(|n| match self.0 & 3 {
            0 => lane::<u8, 2>(&v, n).into(),
            2 => lane::<i8, 2>(&v, n).into(),
            1 if n < 8 => lane::<u16, 2>(&v, n).into(),
            3 if n < 8 => lane::<i16, 2>(&v, n).into(),
            _ => 0,
        });
        let count = self.count();
        let len = match len {
            Some(len) => len.min(count as u64) as usize,
            None => elements[..count].iter().position(|e| *e == 0).unwrap_or(count),
        };
        Text { elements, len }
    }

    /// IntRes1: for each element of `b` (or each place in it) whether it matches.
    fn matches(&self, a: &Text, b: &Text) -> u32 {
        let count = self.count();
        let any_of = |j: usize| a.elements[..a.len].contains(&b.elements[j]);
        let in_range = |j: usize| {
            let mut pairs = a.elements[..a.len].chunks_exact(2);
            pairs.any(|pair| (pair[0]..=pair[1]).contains(&b.elements[j]))
        };
        let same = |j: usize| a.elements[j] == b.elements[j];
        let found_at = |j: usize| {
            let within = a.len.min(count - j);
            (0..within).all(|i| j + i < b.len && a.elements[i] == b.elements[j + i])
        };
        (0..count).fold(0, |bits, j| {
            let is_match = match self.0 >> 2 & 3 {
                0 => j < b.len && any_of(j),
                1 => j < b.len && in_range(j),
                2 if j < a.len && j < b.len => same(j),
                2 => j >= a.len && j >= b.len,
                _ => found_at(j),
            };
            bits | u32::from(is_match) << j
        })
    }

    /// IntRes2: the polarity applied.
    fn result(&self, a: &Text, b: &Text) -> u32 {
        let all = (1 << self.count()) - 1;
        let found = self.matches(a, b);
        match self.0 >> 4 & 3 {
            1 => found ^ all,
            3 => found ^ ((1 << b.len) - 1),
            _ => found,
        }
    }

    /// The index that goes to ECX.
    fn index(&self, result: u32) -> u32 {
        match result {
            0 => self.count() as u32,
            _ if self.0 & 0x40 != 0 => result.ilog2(),
            _ => result.trailing_zeros(),
        }
    }

    /// The mask that goes to XMM0.
    fn mask(&self, result: u32) -> [u64; 2] {
        if self.0 & 0x40 == 0 {
            return [result.into(), 0];
        }
        if self.is_words() {
            build(|n| if result >> n & 1 != 0 { u16::MAX } else { 0 })
        } else {
            build(|n| if result >> n & 1 != 0 { u8::MAX } else { 0 })
        }
    }
}

/// The length that EAX or EDX gives: its absolute value.
fn explicit(core: &Core, wide: bool, reg: u8) -> u64 {
    if wide {
        (core.get(Width::W64, reg) as i64).unsigned_abs()
    } else {
        u64::from((core.get(Width::W32, reg) as i32).unsigned_abs())
    }
}

/// All of them: lengths are `EXPLICIT` (`WIDE`: 64 bits of them), and the result is an `INDEX`
/// or a mask.
pub(crate) fn compare<B: Bank<2>, const EXPLICIT: bool, const WIDE: bool, const INDEX: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    B::enter(core)?;
    let b = if i.is_memory(1) { load_unaligned(core, i)? } else { B::get(core, i.ops[1]) };
    let a = B::get(core, i.ops[0]);
    let control = Control(i.imm as u8);
    let len = |reg| EXPLICIT.then(|| explicit(core, WIDE, reg));
    let (a, b) = (control.text(a, len(0)), control.text(b, len(2)));
    let result = control.result(&a, &b);
    if INDEX {
        core.set(Width::W32, 1, control.index(result).into());
    } else {
        B::set(core, 0, control.mask(result));
    }
    let count = control.count();
    let flag = |condition, bit| if condition { bit } else { 0 };
    core.flags.set_bits(
        flag(result != 0, rflags::CF)
            | flag(b.len < count, rflags::ZF)
            | flag(a.len < count, rflags::SF)
            | flag(result & 1 != 0, rflags::OF),
    );
    Ok(())
}
