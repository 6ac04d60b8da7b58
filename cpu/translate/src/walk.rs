//! Accesses that walk: in a loop (or where a jump may come back, whose target is not known), from
//! addresses that only additions change.
//!
//! They mostly stay in the page in which they were the last time ([`trine_x86::Cursor`]). What is
//! found here is a guess, of which nothing depends but speed.

use trine_x86::slot;

use crate::ir::{Bin, End, Op, Region, Step, Val};

/// For each block the general registers that only additions of such registers and constants change
/// on the shortest way from the block back to itself; 0 if there is none.
#[must_use]
pub fn steady(region: &Region) -> Vec<u32> {
    let of = |block| cycle(region, block).map_or(0, |blocks| unchanged(region, &blocks));
    (0..region.blocks.len()).map(of).collect()
}

/// Whether an address is made of such registers and constants only.
#[must_use]
pub fn walks(ops: &[Op], at: Val, steady: u32) -> bool {
    let is = |reg: u8| steady >> (reg & 31) & 1 != 0;
    match ops[at.index()] {
        Op::Imm(_) | Op::Near(..) => true,
        Op::Get(_, reg) => is(reg),
        Op::Address { base, index, .. } => {
            base.is_none_or(is) && index.is_none_or(|(reg, _)| is(reg))
        }
        Op::Linear { offset, .. } => walks(ops, offset, steady),
        Op::Bin(Bin::Add | Bin::Sub, _, a, b) => walks(ops, a, steady) && walks(ops, b, steady),
        _ => false,
    }
}

/// The blocks on the shortest way from one back to itself.
fn cycle(region: &Region, from: usize) -> Option<Vec<usize>> {
    let mut came_from = vec![None; region.blocks.len()];
    let mut queue = std::collections::VecDeque::from([from]);
    while let Some(block) = queue.pop_front() {
        for to in successors(region, block) {
            if to == from {
                let back = |block: &usize| came_from[*block];
                return Some(std::iter::successors(Some(block), back).collect());
            }
            if came_from[to].is_none() {
                came_from[to] = Some(block);
                queue.push_back(to);
            }
        }
    }
    None
}

/// The blocks that may come next. Behind a jump of an interpreter's kind, that is the first one.
fn successors(region: &Region, block: usize) -> impl Iterator<Item = usize> {
    let block = &region.blocks[block];
    let steps = &region.steps[block.steps.clone()];
    let pushes = |op: &Op| matches!(op, Op::Set(_, slot::RSP, _));
    let is_plain = |step: &Step| !region.ops[step.ops.clone()].iter().any(pushes);
    let jumps = block.end == End::Jump && steps.last().is_some_and(is_plain);
    block.inside.into_iter().flatten().chain(jumps.then_some(0))
}

/// Registers that nothing in `blocks` changes but additions to them, of such registers.
fn unchanged(region: &Region, blocks: &[usize]) -> u32 {
    let mut steady = 0xffff;
    loop {
        let before = steady;
        for block in blocks {
            for step in &region.steps[region.blocks[*block].steps.clone()] {
                let ops = &region.ops[step.ops.clone()];
                for op in ops {
                    if let Op::Set(_, reg, v) = *op
                        && !adds(ops, v, reg, steady)
                    {
                        steady &= !(1 << (reg & 31));
                    }
                }
            }
        }
        if steady == before {
            return steady;
        }
    }
}

/// Whether a value is the register's, or a sum of it and of what is steady.
fn adds(ops: &[Op], v: Val, register: u8, steady: u32) -> bool {
    let is = |reg: u8| steady >> (reg & 31) & 1 != 0;
    match ops[v.index()] {
        Op::Get(_, reg) => reg == register,
        Op::Address { base, index, .. } => {
            let by = |(reg, shift)| reg == register && shift == 0;
            (base == Some(register) || index.is_some_and(by))
                && base.is_none_or(is)
                && index.is_none_or(|(reg, _)| is(reg))
        }
        Op::Bin(op @ (Bin::Add | Bin::Sub), _, a, b) => {
            adds(ops, a, register, steady) && !moves(ops, b, steady)
                || op == Bin::Add && adds(ops, b, register, steady) && !moves(ops, a, steady)
        }
        _ => false,
    }
}

/// Whether a value may be another each time.
fn moves(ops: &[Op], v: Val, steady: u32) -> bool {
    match ops[v.index()] {
        Op::Get(_, reg) => steady >> (reg & 31) & 1 == 0,
        Op::Load(..) | Op::Open(..) | Op::Address { .. } => true,
        op => {
            let mut any = false;
            op.uses(|v| any |= moves(ops, v, steady));
            any
        }
    }
}
