//! What every region has to keep, whatever engine runs it: the rules at the head of
//! [`trine_x86::Sem`], what the instruction table says, and where values may be used.

use trine_x86::{Insn, Pick, Semantics, Width, pick};

use crate::ir::{Bin, Op, Region, Setter, Step, Val, Work};

/// Checks a region's steps.
///
/// # Panics
/// If one breaks a rule, with the instruction and the operation.
pub(super) fn check(region: &Region) {
    for step in &region.steps {
        if !matches!(step.work, Work::Cold { .. }) {
            let ops = &region.ops[step.ops.clone()];
            let what = format!("{:?} in {:?}: {ops:?}", step.insn.code, step.insn.mode);
            check_values(ops, &what);
            check_order(step, ops, &what);
            check_table(step, ops, &what);
        }
    }
}

/// Values are made before they are used, and not used behind the conditional body that makes them.
fn check_values(ops: &[Op], what: &str) {
    let mut bodies = Vec::new();
    for (n, op) in ops.iter().enumerate() {
        op.uses(|Val(v)| {
            let v = usize::from(v);
            assert!(v < n, "{op:?} uses what comes later, in {what}");
            assert!(ops[v].makes_value(), "{op:?} uses {:?}, in {what}", ops[v]);
            let inside = bodies.iter().any(|&(from, to)| from < v && v < to && to <= n);
            assert!(!inside, "{op:?} uses a value of a conditional body, in {what}");
        });
        if let Op::When(_, end) = *op {
            let end = usize::from(end);
            assert!(n < end && end <= ops.len(), "a conditional body ends at {end}, in {what}");
            bodies.push((n, end));
        }
    }
}

/// Nothing has changed when an instruction stops. (A jump takes effect with its end; and what CALL,
/// ENTER and PUSHA have pushed stays below the stack pointer, as in hardware.)
fn check_order(step: &Step, ops: &[Op], what: &str) {
    let (mut stored, mut changed, mut opened) = (false, false, None);
    for (n, op) in ops.iter().enumerate() {
        if op.stops() {
            assert!(step.stops, "{op:?} stops, which nobody knows, in {what}");
            assert!(!changed, "{op:?} may stop after a change, in {what}");
            let jumps = matches!(op, Op::Jump(_) | Op::Stop);
            assert!(jumps || !stored, "{op:?} may stop after a store, in {what}");
        }
        match *op {
            Op::Store(..) => stored = true,
            Op::Open(..) => {
                assert!(opened.is_none(), "two places are open, in {what}");
                opened = Some(n);
            }
            Op::Commit(_, Val(place), _) => {
                assert_eq!(
                    opened,
                    Some(usize::from(place)),
                    "{op:?} of what is not open, in {what}"
                );
                changed = true;
            }
            Op::Set(..) | Op::Update(..) | Op::CompareExchange(..) | Op::SetFlags(..) => {
                changed = true;
            }
            _ => {}
        }
    }
}

/// What the instruction table says of stores and of where instructions lead is true.
fn check_table(step: &Step, ops: &[Op], what: &str) {
    let row = pick(&step.insn, Table);
    for op in ops {
        let completes = !op.stops() && !matches!(op, Op::Commit(..) | Op::Branch(_));
        assert!(completes || !row.plain, "the table knows of nothing like {op:?} in {what}");
        match *op {
            Op::Store(..) | Op::Commit(..) | Op::Update(..) | Op::CompareExchange(..) => {
                assert!(row.stores, "the table knows of no store in {what}");
            }
            Op::Jump(_) | Op::Branch(None) => {
                assert!(row.ends, "the table knows of no jump in {what}");
            }
            Op::Branch(Some(_)) => {
                assert!(row.ends || row.conditional, "the table knows of no branch in {what}");
            }
            _ => {}
        }
    }
}

/// The row of an instruction.
struct Row {
    stores: bool,
    ends: bool,
    conditional: bool,
    plain: bool,
}

struct Table;

impl Pick for Table {
    type Out = Row;

    fn pick<T: Semantics>(self) -> Row {
        Row { stores: T::STORES, ends: T::ENDS, conditional: T::CONDITIONAL, plain: T::PLAIN }
    }
}

/// A value has zeros above its width.
///
/// # Panics
/// If it has not.
pub(super) fn check_width(w: Width, value: u64, insn: &Insn) {
    assert!(value <= w.mask(), "{value:#x} is wider than {w:?}, in {:?}", insn.code);
}

/// So have those that an operation uses at a width.
///
/// # Panics
/// If they have not.
pub(super) fn check_arguments(op: &Op, [a, b, c]: [u64; 3], insn: &Insn) {
    let check = |w: Width, values: &[u64]| values.iter().for_each(|v| check_width(w, *v, insn));
    match *op {
        // Counts may be as large as they like.
        Op::Bin(Bin::Shl | Bin::Shr | Bin::Sar | Bin::Rol, w, ..) => check(w, &[a]),
        Op::Bin(_, w, ..) => check(w, &[a, b]),
        Op::Un(_, w, _) => check(w, &[a]),
        Op::Store(w, ..) | Op::Commit(w, ..) | Op::Update(w, ..) => check(w, &[b]),
        Op::CompareExchange(w, ..) => check(w, &[b, c]),
        Op::SetFlags(w, Setter::Add { .. } | Setter::Sub { .. }) => check(w, &[a, b, c]),
        Op::SetFlags(w, Setter::Logic { .. } | Setter::Inc { .. } | Setter::Dec { .. }) => {
            check(w, &[a]);
        }
        Op::SetFlags(w, Setter::Shift { .. }) => {
            check(w, &[a]);
            assert!(b < 2 && c < 2, "a flag is 0 or 1, in {:?}", insn.code);
        }
        Op::SetFlags(_, Setter::Rotate { .. }) => {
            assert!(a < 2 && b < 2, "a flag is 0 or 1, in {:?}", insn.code);
        }
        Op::SetFlags(_, Setter::One { .. }) => {
            assert!(a < 2, "a flag is 0 or 1, in {:?}", insn.code);
        }
        _ => {}
    }
}
