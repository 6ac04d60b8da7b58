//! Memory accesses of a block that share one look into the TLB.
//!
//! Code likes to access several words at small distances from a register: a frame, a record, the
//! stack. Between two writes of other than constants to that register, one look is enough, if all
//! of it lies in one page. [`Shared`] says what the first access has to look for, and where the
//! others are.

use std::ops::Range;

use trine_x86::Width;

use crate::ir::{Bin, Op, Region, Step, Val, Work};

/// The most bytes that are looked up together.
const SPAN: i64 = 512;

/// An access that shares.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// The register from which it is reached, as it is when the step begins.
    pub base: u8,
    /// The distance from it.
    pub disp: i32,
    /// What the first of them looks for.
    pub look: Option<Span>,
}

/// Bytes that are looked up together.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The distance of the first one from the register.
    pub start: i32,
    /// How many they are.
    pub bytes: u32,
    /// Some of them are stored to.
    pub write: bool,
    /// But not by the first access.
    pub later: bool,
}

/// Accesses off a register that has changed by constants only.
#[derive(Default)]
struct Group {
    base: u8,
    /// From the register as it was when the group began: first byte, and behind the last.
    range: Range<i64>,
    write: bool,
    begins_with_write: bool,
    /// Operations, with what was added to the register by then, and the distance from it now.
    members: Vec<(usize, i64, i64)>,
}

/// What is known about a register.
#[derive(Clone, Copy, Default)]
struct Register {
    /// The group of its accesses.
    group: Option<usize>,
    /// What was added since that began.
    added: i64,
}

/// The accesses of `steps` that share, with the numbers of their operations in the region.
#[must_use]
pub fn accesses(region: &Region, steps: Range<usize>) -> Vec<(usize, Shared)> {
    let mut finder = Finder { registers: [Register::default(); 16], groups: Vec::new() };
    for step in &region.steps[steps] {
        finder.step(step, &region.ops[step.ops.clone()]);
    }
    let mut found = Vec::new();
    for group in finder.groups.into_iter().filter(|group| group.members.len() > 1) {
        for (n, &(op, added, disp)) in group.members.iter().enumerate() {
            let look = (n == 0).then(|| Span {
                start: (group.range.start - added) as i32,
                bytes: (group.range.end - group.range.start) as u32,
                write: group.write,
                later: group.write && !group.begins_with_write,
            });
            found.push((op, Shared { base: group.base, disp: disp as i32, look }));
        }
    }
    found.sort_unstable_by_key(|(op, _)| *op);
    found
}

struct Finder {
    registers: [Register; 16],
    groups: Vec<Group>,
}

impl Finder {
    fn step(&mut self, step: &Step, ops: &[Op]) {
        if matches!(step.work, Work::Cold { .. }) {
            // It may do anything, to the TLB, too.
            self.registers = [Register::default(); 16];
            return;
        }
        let natural = if step.insn.mode.is_64() { Width::W64 } else { Width::W32 };
        let (mut changed, mut added, mut conditional) = (0_u32, [0; 16], 0);
        for (n, op) in ops.iter().enumerate() {
            if let Op::When(_, end) = *op {
                conditional = usize::from(end);
            }
            if let Some((at, bytes, write)) = access(op)
                && n >= conditional
                && let Some((base, disp)) = based(ops, at, natural)
                && changed >> base & 1 == 0
            {
                self.access(step.ops.start + n, base, disp, i64::from(bytes), write);
            }
            if let Op::Set(w, reg, v) = *op {
                let base = reg & 31;
                if base >= 16 {
                    continue;
                }
                let by = match based(ops, v, natural) {
                    Some((from, by)) if from == reg && w == natural => Some(by),
                    _ => None,
                };
                match by {
                    Some(by) if changed >> base & 1 == 0 && n >= conditional => {
                        added[usize::from(base)] = by;
                    }
                    _ => self.registers[usize::from(base)] = Register::default(),
                }
                changed |= 1 << base;
            }
        }
        for (register, by) in self.registers.iter_mut().zip(added) {
            register.added += by;
            if register.added.abs() > SPAN {
                *register = Register::default();
            }
        }
    }

    fn access(&mut self, op: usize, base: u8, disp: i64, bytes: i64, write: bool) {
        if i32::try_from(disp).is_err() {
            return;
        }
        let register = &mut self.registers[usize::from(base)];
        let start = register.added + disp;
        if let Some(group) = register.group.map(|n| &mut self.groups[n]) {
            let range = start.min(group.range.start)..(start + bytes).max(group.range.end);
            if range.end - range.start <= SPAN {
                group.range = range;
                group.write |= write;
                group.members.push((op, register.added, disp));
                return;
            }
        }
        *register = Register { group: Some(self.groups.len()), added: 0 };
        let range = disp..disp + bytes;
        let members = vec![(op, 0, disp)];
        self.groups.push(Group { base, range, write, begins_with_write: write, members });
    }
}

/// An operation's address, its bytes, and whether it stores.
fn access(op: &Op) -> Option<(Val, u32, bool)> {
    let bytes = |w: Width| w.bytes() as u32;
    match *op {
        Op::Load(w, at) => Some((at, bytes(w), false)),
        Op::Store(w, at, _)
        | Op::Open(w, at)
        | Op::Update(w, at, ..)
        | Op::CompareExchange(w, at, ..) => Some((at, bytes(w), true)),
        Op::Vector(shape, Some(at), _) => Some((at, u32::from(shape.bytes), shape.store)),
        _ => None,
    }
}

/// A value as a register and a distance.
fn based(ops: &[Op], v: Val, natural: Width) -> Option<(u8, i64)> {
    let constant = |v: Val| match ops[v.index()] {
        Op::Imm(value) => Some(natural.sign_extend(value).cast_signed()),
        _ => None,
    };
    match ops[v.index()] {
        Op::Get(w, reg) if w == natural && reg < 16 => Some((reg, 0)),
        Op::Address { w, base: Some(reg), index: None, disp } if w == natural && reg < 16 => {
            Some((reg, natural.sign_extend(disp.cast_unsigned()).cast_signed()))
        }
        Op::Bin(op @ (Bin::Add | Bin::Sub), w, a, b) if w == natural => {
            let ((reg, disp), by) = (based(ops, a, natural)?, constant(b)?);
            Some((reg, if op == Bin::Add { disp.checked_add(by)? } else { disp.checked_sub(by)? }))
        }
        _ => None,
    }
}
