//! What is done to a region before code is made of it.
//!
//! - *Dead flags*: going backwards, a step learns which flags anybody may look at behind it. Most
//!   steps set flags that the next one sets again; those are never computed. An instruction that
//!   may stop looks at all of them, since the interpreter, or a fault's handler, will see them.
//! - *Dead values*: what only dead flags used is not computed either.
//!
//! Constants are folded as soon as they are lifted.

use trine_x86::rflags::ARITHMETIC;

#[cfg(doc)]
use crate::ir::Block;
use crate::ir::{Op, Region, Step, Work, flags_of_condition};

/// All passes.
pub fn optimise(region: &mut Region) {
    flags(region);
    for n in 0..region.steps.len() {
        let Step { ops, live, .. } = region.steps[n].clone();
        dead(&mut region.ops[ops], live);
    }
}

/// Fills in [`Step::live`] and [`Block::live_in`].
///
/// Between two blocks the budget may end, and then everybody may look at the flags.
fn flags(region: &mut Region) {
    for block in &mut region.blocks {
        let mut live = ARITHMETIC;
        for s in block.steps.clone().rev() {
            region.steps[s].live = live;
            let step = &region.steps[s];
            let (reads, sets) = effects(&region.ops[step.ops.clone()]);
            let stops = step.stops || matches!(step.work, Work::Cold { .. });
            live = live & !sets | reads | if stops { ARITHMETIC } else { 0 };
        }
        block.live_in = live;
    }
}

/// The flags that operations read, and those that they set whatever happens.
fn effects(ops: &[Op]) -> (u64, u64) {
    let (mut reads, mut sets, mut conditional) = (0, 0, 0);
    for (n, op) in ops.iter().enumerate() {
        match *op {
            Op::Flag(flag) => reads |= flag.bit(),
            Op::Flags => reads |= ARITHMETIC,
            Op::Condition(cc) => reads |= flags_of_condition(cc),
            Op::SetFlags(_, setter) if n >= conditional => sets |= setter.sets(),
            // Where it is not executed, the old ones stay.
            Op::SetFlags(..) => {}
            Op::When(_, end) => conditional = usize::from(end),
            _ => {}
        }
    }
    (reads, sets)
}

/// Removes from one step what nobody looks at.
fn dead(ops: &mut [Op], mut live: u64) {
    let mut used = vec![false; ops.len()];
    for n in (0..ops.len()).rev() {
        let remove = match ops[n] {
            Op::SetFlags(_, setter) => setter.sets() & live == 0,
            Op::When(_, end) => ops[n + 1..usize::from(end)].iter().all(|op| matches!(op, Op::Nop)),
            ref op => op.is_pure() && !used[n],
        };
        if remove {
            ops[n] = Op::Nop;
            continue;
        }
        match ops[n] {
            Op::Flag(flag) => live |= flag.bit(),
            Op::Flags => live |= ARITHMETIC,
            Op::Condition(cc) => live |= flags_of_condition(cc),
            _ => {}
        }
        ops[n].uses(|v| used[v.index()] = true);
    }
}
