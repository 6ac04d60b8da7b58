//! What the instructions of a block leave behind in general registers, as far as it is constant:
//! whoever comes later in the block need not read it from the guest's state.

use trine_x86::{Width, slot};

use crate::ir::{Op, Val};

/// The constant bits of the general registers.
#[derive(Clone, Default)]
pub struct Known([Bits; 16]);

/// Of a register: a bit of `value` is its bit if it is set in `mask`, and else 0.
#[derive(Clone, Copy, Default)]
struct Bits {
    value: u64,
    mask: u64,
}

impl Known {
    /// What a value of a step is that begins with this knowledge, if it is constant.
    #[must_use]
    pub fn constant(&self, ops: &[Op], v: Val) -> Option<u64> {
        let sets = |of: u8| {
            let is = |op: &Op| matches!(op, Op::Set(_, reg, _) if reg & 31 == of & 31);
            ops[..v.index()].iter().any(is)
        };
        match ops[v.index()] {
            Op::Imm(value) => Some(value),
            Op::Get(w, reg) if !sets(reg) => self.get(w, reg),
            _ => None,
        }
    }

    /// A register, if all of it is constant.
    #[must_use]
    pub fn get(&self, w: Width, reg: u8) -> Option<u64> {
        let Bits { value, mask } = *self.0.get(usize::from(reg & 31))?;
        let shift = shift(reg);
        (mask >> shift & w.mask() == w.mask()).then_some(value >> shift & w.mask())
    }

    /// What is known behind a step.
    #[must_use]
    pub fn behind(&self, ops: &[Op]) -> Self {
        let (mut known, mut conditional) = (self.clone(), 0);
        for (n, op) in ops.iter().enumerate() {
            match *op {
                Op::When(_, end) => conditional = usize::from(end),
                Op::Set(w, reg, v) => {
                    let value = self.constant(ops, v).filter(|_| n >= conditional);
                    known.set(w, reg, value);
                }
                _ => {}
            }
        }
        known
    }

    fn set(&mut self, w: Width, reg: u8, value: Option<u64>) {
        let Some(bits) = self.0.get_mut(usize::from(reg & 31)) else { return };
        // 32 bits are written as 64.
        let w = if w == Width::W32 { Width::W64 } else { w };
        let written = w.mask() << shift(reg);
        bits.mask &= !written;
        bits.value &= !written;
        if let Some(value) = value {
            bits.mask |= written;
            bits.value |= value << shift(reg) & written;
        }
    }
}

fn shift(reg: u8) -> u32 {
    if reg & slot::HIGH == 0 { 0 } else { 8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AH: u8 = slot::HIGH;

    #[test]
    fn parts_are_known_as_far_as_they_were_written() {
        let known = Known::default().behind(&[
            Op::Imm(0x1234),
            Op::Set(Width::W16, 0, Val(0)),
            Op::Imm(0x77),
            Op::Set(Width::W8, AH, Val(2)),
            Op::Imm(0xffff_fffe),
            Op::Set(Width::W32, 9, Val(4)),
        ]);
        assert_eq!(known.get(Width::W16, 0), Some(0x7734));
        assert_eq!(known.get(Width::W8, AH), Some(0x77));
        assert_eq!(known.get(Width::W32, 0), None);
        assert_eq!(known.get(Width::W64, 9), Some(0xffff_fffe));
        let ops = [Op::Get(Width::W8, 0), Op::Set(Width::W8, AH, Val(0)), Op::Get(Width::W8, AH)];
        assert_eq!(known.constant(&ops, Val(2)), None, "it has changed in this step");
        assert_eq!(known.behind(&ops).get(Width::W16, 0), Some(0x3434));
    }

    #[test]
    fn what_may_not_happen_is_not_known() {
        let ops = [
            Op::Imm(1),
            Op::Set(Width::W64, 3, Val(0)),
            Op::Condition(4),
            Op::When(Val(2), 5),
            Op::Set(Width::W8, 3, Val(0)),
            Op::Set(Width::W64, 4, Val(0)),
        ];
        let known = Known::default().behind(&ops);
        assert_eq!(known.get(Width::W16, 3), None);
        assert_eq!(known.get(Width::W64, 4), Some(1));
    }
}
