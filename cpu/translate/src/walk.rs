//! Accesses that walk: in a loop, from addresses that only additions change.
//!
//! They mostly stay in the page in which they were the last time ([`trine_x86::Cursor`]). What is
//! found here is a guess, of which nothing depends but speed.

use crate::ir::{Bin, Op, Region, Val};

/// For each block the general registers that only additions of what was not loaded change on the
/// shortest way from the block back to itself; 0 if there is none. Those in `late` are loaded.
#[must_use]
pub fn steady(region: &Region, late: u32) -> Vec<u32> {
    let of = |block| cycle(region, block).map_or(0, |blocks| unchanged(region, &blocks, late));
    (0..region.blocks.len()).map(of).collect()
}

/// Whether an address is made of such registers and constants only.
#[must_use]
pub fn walks(ops: &[Op], at: Val, steady: u32) -> bool {
    let is = |reg: u8| steady >> (reg & 31) & 1 != 0;
    match ops[at.index()] {
        Op::Imm(_) => true,
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
        for to in region.blocks[block].inside.into_iter().flatten() {
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

/// Registers that nothing in `blocks` changes but additions to them; and not the ones in `late`.
fn unchanged(region: &Region, blocks: &[usize], late: u32) -> u32 {
    let mut steady = 0xffff & !late;
    for block in blocks {
        for step in &region.steps[region.blocks[*block].steps.clone()] {
            let ops = &region.ops[step.ops.clone()];
            for op in ops {
                if let Op::Set(_, reg, v) = *op
                    && !adds(ops, v, reg)
                {
                    steady &= !(1 << (reg & 31));
                }
            }
        }
    }
    steady
}

/// Whether a value is the register's, or a sum of it and something.
fn adds(ops: &[Op], v: Val, register: u8) -> bool {
    match ops[v.index()] {
        Op::Get(_, reg) => reg == register,
        Op::Address { base, index, .. } => {
            base == Some(register)
                || index.is_some_and(|(reg, shift)| reg == register && shift == 0)
        }
        Op::Bin(Bin::Add, _, a, b) => adds(ops, a, register) || adds(ops, b, register),
        Op::Bin(Bin::Sub, _, a, _) => adds(ops, a, register),
        _ => false,
    }
}
