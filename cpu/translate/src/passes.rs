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

/// The general registers that somewhere get what was loaded, or what follows from it: addresses made
/// of them are known late.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn loaded(region: &Region) -> u32 {
    let mut registers = 0;
    loop {
        let before = registers;
        for step in &region.steps {
            registers |= loaded_by(&region.ops[step.ops.clone()], registers);
        }
        if registers == before {
            return registers;
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn loaded_by(ops: &[Op], mut registers: u32) -> u32 {
    let mut late = vec![false; ops.len()];
    for (n, op) in ops.iter().enumerate() {
        let is = |reg: u8| registers >> (reg & 31) & 1 != 0;
        late[n] = match *op {
            Op::Load(..) | Op::Open(..) => true,
            Op::Get(_, reg) => is(reg),
            Op::Address { base, index, .. } => {
                base.is_some_and(is) || index.is_some_and(|(reg, _)| is(reg))
            }
            _ => {
                let mut any = false;
                op.uses(|v| any |= late[v.index()]);
                any
            }
        };
        // A stack pointer that is restored has been known for long.
        if let Op::Set(_, reg, v) = *op
            && late[v.index()]
            && reg & 31 < 16
            && reg & 31 != trine_x86::slot::RSP
        {
            registers |= 1 << (reg & 31);
        }
    }
    registers
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
