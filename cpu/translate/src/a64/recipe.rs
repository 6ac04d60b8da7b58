//! Which recipe the flags that an instruction sets leave behind.

use trine_x86::Width;

use super::{RECIPE_SPILLS, emit::Emitter};
use crate::{
    flags::{Kind, Recipe, Src},
    ir::{Bin, Op, Setter, Val},
};

impl Emitter<'_> {
    /// Where a value will be when the step has ended, without being put aside.
    pub(super) fn lasting(&self, v: Val, w: Width) -> Option<Src> {
        let ops = self.ops();
        let last_set = |reg: u8| {
            ops.iter().rev().find_map(|op| match *op {
                Op::Set(ws, r, value) if r & 31 == reg & 31 => Some((ws, r, value)),
                _ => None,
            })
        };
        match ops[v.index()] {
            Op::Imm(value) => return Some(Src::Imm(value & w.mask())),
            Op::Get(held, reg) if held >= w && last_set(reg).is_none() => {
                return Some(Src::Reg(reg));
            }
            _ => {}
        }
        ops.iter().find_map(|op| match *op {
            Op::Set(ws, reg, value)
                if value == v && ws >= w && last_set(reg) == Some((ws, reg, v)) =>
            {
                Some(Src::Reg(reg))
            }
            _ => None,
        })
    }

    /// Whether `r` is just a + b or a - b.
    fn is_plain(&self, op: Bin, w: Width, [a, b, r]: [Val; 3]) -> bool {
        match self.ops()[r.index()] {
            Op::Bin(o, _, x, y) => o == op && x == a && y == b,
            // Folded: a + 0, or two constants.
            Op::Imm(r) => match (self.ops()[a.index()], self.ops()[b.index()]) {
                (Op::Imm(x), Op::Imm(y)) => r == op.eval(w, x, y),
                _ => false,
            },
            _ => r == a && matches!(self.ops()[b.index()], Op::Imm(0)),
        }
    }

    /// The recipe for a setter's flags, with the values that have to be put aside for it; `None` if
    /// there is none.
    pub(super) fn recipe_for(
        &self,
        w: Width,
        setter: Setter,
    ) -> Option<(Recipe, [Option<Val>; 2])> {
        let recipe = |kind, x: Option<Src>, y: Option<Src>, vals: [Val; 2]| {
            let put = [x.is_none().then_some(vals[0]), y.is_none().then_some(vals[1])];
            let x = x.unwrap_or(Src::Spill(RECIPE_SPILLS));
            let y = y.unwrap_or(Src::Spill(RECIPE_SPILLS + 1));
            Some((Recipe { kind, w, x, y, over: None }, put))
        };
        match setter {
            Setter::Add { a, b, r } if self.is_plain(Bin::Add, w, [a, b, r]) => {
                let [at_a, at_b, at_r] = [a, b, r].map(|v| self.lasting(v, w));
                match (at_a, at_b, at_r) {
                    (Some(_), Some(_), _) => recipe(Kind::Add, at_a, at_b, [a, b]),
                    (_, Some(_), Some(_)) => recipe(Kind::Sum, at_r, at_b, [r, b]),
                    (Some(_), _, Some(_)) => recipe(Kind::Sum, at_r, at_a, [r, a]),
                    _ => recipe(Kind::Add, at_a, at_b, [a, b]),
                }
            }
            Setter::Sub { a, b, r } if self.is_plain(Bin::Sub, w, [a, b, r]) => {
                let [at_a, at_b, at_r] = [a, b, r].map(|v| self.lasting(v, w));
                match (at_a, at_b, at_r) {
                    (Some(_), Some(_), _) => recipe(Kind::Sub, at_a, at_b, [a, b]),
                    (_, Some(_), Some(_)) => recipe(Kind::Difference, at_r, at_b, [r, b]),
                    (Some(_), _, Some(_)) => recipe(Kind::Remainder, at_a, at_r, [a, r]),
                    _ => recipe(Kind::Sub, at_a, at_b, [a, b]),
                }
            }
            Setter::Shift { r, .. } => match self.ops()[r.index()] {
                Op::Bin(op @ (Bin::Shl | Bin::Shr | Bin::Sar), ws, a, n)
                    if ws == w && self.is_count(n, w) =>
                {
                    let kind = match op {
                        Bin::Shl => Kind::Shl,
                        Bin::Shr => Kind::Shr,
                        _ => Kind::Sar,
                    };
                    recipe(kind, self.lasting(a, w), self.lasting(n, Width::W8), [a, n])
                }
                _ => None,
            },
            Setter::Logic { r } => {
                recipe(Kind::Logic, self.lasting(r, w), Some(Src::Imm(0)), [r, r])
            }
            _ => None,
        }
    }

    /// Whether a value is a constant count of a shift whose flags follow from its operands.
    fn is_count(&self, n: Val, w: Width) -> bool {
        matches!(self.ops()[n.index()], Op::Imm(n) if n != 0 && n < u64::from(w.bits()))
    }

    /// The operands of a setter that are used when it is reached.
    pub(super) fn setter_uses(&self, setter: Setter, w: Width, each: &mut dyn FnMut(Val)) {
        match self.recipe_for(w, setter) {
            Some(_) if self.early => {}
            Some((_, put)) => put.into_iter().flatten().for_each(each),
            None => setter.uses(each),
        }
    }
}
