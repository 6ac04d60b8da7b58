//! Which recipe the flags that an instruction sets leave behind: the same for every backend.

use trine_x86::Width;

use crate::{
    flags::{Kind, RECIPE_SPILLS, Recipe, Src},
    ir::{Bin, Op, Setter, Val},
};

/// A recipe, and the values that have to be put aside for its two operands, into the words from
/// [`RECIPE_SPILLS`] on.
pub(crate) type Made = (Recipe, [Option<Val>; 2]);

/// Where a value of a step's operations will be when the step has ended, without being put aside.
pub(crate) fn lasting(ops: &[Op], v: Val, w: Width) -> Option<Src> {
    let last_set = |reg: u8| {
        ops.iter().rev().find_map(|op| match *op {
            Op::Set(ws, r, value) if r & 31 == reg & 31 => Some((ws, r, value)),
            _ => None,
        })
    };
    match ops[v.index()] {
        Op::Imm(value) => return Some(Src::Imm(value & w.mask())),
        Op::Get(held, reg) if held >= w && last_set(reg).is_none() => return Some(Src::Reg(reg)),
        _ => {}
    }
    ops.iter().find_map(|op| match *op {
        Op::Set(ws, reg, value) if value == v && ws >= w && last_set(reg) == Some((ws, reg, v)) => {
            Some(Src::Reg(reg))
        }
        _ => None,
    })
}

/// Whether `r` is just a + b or a - b.
fn is_plain(ops: &[Op], op: Bin, w: Width, [a, b, r]: [Val; 3]) -> bool {
    match ops[r.index()] {
        Op::Bin(o, _, x, y) => o == op && x == a && y == b,
        // Folded: a + 0, or two constants.
        Op::Imm(r) => match (ops[a.index()], ops[b.index()]) {
            (Op::Imm(x), Op::Imm(y)) => r == op.eval(w, x, y),
            _ => false,
        },
        _ => r == a && matches!(ops[b.index()], Op::Imm(0)),
    }
}

/// The recipe for a setter's flags; `None` if there is none. `with_carry` says of a sum or
/// difference that the backend makes it in one piece of its operands and of CF, which it has put
/// aside.
pub(crate) fn recipe_for(
    ops: &[Op],
    w: Width,
    setter: Setter,
    with_carry: impl Fn(Val) -> bool,
) -> Option<Made> {
    let at = |v| lasting(ops, v, w);
    match setter {
        Setter::Add { a, b, r } if is_plain(ops, Bin::Add, w, [a, b, r]) => {
            Some(match (at(a), at(b), at(r)) {
                (None, y @ Some(_), x @ Some(_)) => make(Kind::Sum, w, [x, y], [r, b]),
                (y @ Some(_), None, x @ Some(_)) => make(Kind::Sum, w, [x, y], [r, a]),
                (x, y, _) => make(Kind::Add, w, [x, y], [a, b]),
            })
        }
        Setter::Sub { a, b, r } if is_plain(ops, Bin::Sub, w, [a, b, r]) => {
            Some(match (at(a), at(b), at(r)) {
                (None, y @ Some(_), x @ Some(_)) => make(Kind::Difference, w, [x, y], [r, b]),
                (x @ Some(_), None, y @ Some(_)) => make(Kind::Remainder, w, [x, y], [a, r]),
                (x, y, _) => make(Kind::Sub, w, [x, y], [a, b]),
            })
        }
        Setter::Add { a, b, r } | Setter::Sub { a, b, r } if with_carry(r) => {
            let (whole, part) = match setter {
                Setter::Add { .. } => (Kind::AddCarry, Kind::SumCarry),
                _ => (Kind::SubCarry, Kind::DifferenceCarry),
            };
            Some(match (at(a), at(b), at(r)) {
                (None, y @ Some(_), x @ Some(_)) => make(part, w, [x, y], [r, b]),
                (x, y, _) => make(whole, w, [x, y], [a, b]),
            })
        }
        Setter::Shift { r, .. } => shift(ops, w, r).or_else(|| product(ops, w, r)),
        Setter::Logic { r } => Some(make(Kind::Logic, w, [at(r), Some(Src::Imm(0))], [r, r])),
        Setter::Compare { bits } => {
            Some(make(Kind::Compared, w, [None, Some(Src::Imm(0))], [bits, bits]))
        }
        _ => None,
    }
}

/// The flags of a shift follow from its operands if the count is a constant.
fn shift(ops: &[Op], w: Width, r: Val) -> Option<Made> {
    let Op::Bin(op, ws, a, n) = ops[r.index()] else { return None };
    let kind = match op {
        Bin::Shl => Kind::Shl,
        Bin::Shr => Kind::Shr,
        Bin::Sar => Kind::Sar,
        _ => return None,
    };
    let counted = matches!(ops[n.index()], Op::Imm(n) if n != 0 && n < u64::from(w.bits()));
    let sources = [lasting(ops, a, w), lasting(ops, n, Width::W8)];
    (ws == w && counted).then(|| make(kind, w, sources, [a, n]))
}

/// The flags of a product follow from its factors. `shown` is its lower half, or 3 if that is 0.
fn product(ops: &[Op], w: Width, shown: Val) -> Option<Made> {
    let Op::Select(decides, low, _) = ops[shown.index()] else { return None };
    let Op::Bin(Bin::Mul, _, a, b) = ops[low.index()] else { return None };
    let kind = ops.iter().find_map(|op| match *op {
        Op::Bin(Bin::MulHighUnsigned, _, x, y) if (x, y) == (a, b) => Some(Kind::MulUnsigned),
        Op::Bin(Bin::MulHighSigned, _, x, y) if (x, y) == (a, b) => Some(Kind::MulSigned),
        _ => None,
    });
    let sources = [lasting(ops, a, w), lasting(ops, b, w)];
    kind.filter(|_| decides == low).map(|kind| make(kind, w, sources, [a, b]))
}

fn make(kind: Kind, w: Width, [x, y]: [Option<Src>; 2], vals: [Val; 2]) -> Made {
    let put = [x.is_none().then_some(vals[0]), y.is_none().then_some(vals[1])];
    let x = x.unwrap_or(Src::Spill(RECIPE_SPILLS));
    let y = y.unwrap_or(Src::Spill(RECIPE_SPILLS + 1));
    (Recipe { kind, w, x, y, over: None }, put)
}
