//! Comparisons and classification: FCOM, FUCOM, FICOM, FCOMI, FUCOMI, FTST, FXAM.
//!
//! Source: SDM vol. 2, the instructions' pages.

use trine_softfloat::{
    Env, Relation,
    x87::{self, F80, Operand},
};

use super::{
    exception::StackFault,
    operand::Arithmetic,
    stack::{C0, C1, C2, C3},
};
use crate::{Core, Insn, Raised, rflags, state::X87};

/// The condition codes of a comparison but C1.
const CODES: u16 = C0 | C2 | C3;

/// Compares, and says whether no unmasked exception keeps the instruction from popping. With QUIET
/// a quiet NaN raises nothing.
#[inline(always)]
fn relation<const QUIET: bool>(x: &mut X87, i: &Insn, a: Operand, b: Operand) -> (Relation, bool) {
    let mut env = Env::from_control_word(x.control);
    let relation =
        if QUIET { x87::compare(&mut env, a, b) } else { x87::compare_signalling(&mut env, a, b) };
    (relation, x.settle(i, &env))
}

/// Sets the condition codes; pops if there is no unmasked exception.
#[inline(always)]
fn conclude<const POPS: u8>(x: &mut X87, (relation, delivered): (Relation, bool)) {
    x.status = x.status & !CODES | relation.condition_codes();
    if delivered {
        for _ in 0..POPS {
            x.pop();
        }
    }
}

/// FCOM, FCOMP, FCOMPP, FUCOM, FUCOMP and FUCOMPP.
pub(crate) fn registers<const QUIET: bool, const POPS: u8>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    // The two that pop twice have no operands to name.
    let source = if POPS == 2 { 1 } else { i.ops[1] };
    let found = if x.is_empty(0) || x.is_empty(source) {
        (Relation::Unordered, x.stack_fault(i, StackFault::Underflow))
    } else {
        let (a, b) = (x.st(0).into(), x.st(source).into());
        relation::<QUIET>(x, i, a, b)
    };
    conclude::<POPS>(x, found);
    Ok(())
}

/// FCOM, FCOMP, FICOM and FICOMP with memory.
pub(crate) fn memory<F: Arithmetic, const POPS: u8>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    core.x87_ready()?;
    let offset = core.address(i);
    let bits = F::load(core, i, offset)?;
    core.x87_operand(i, offset);
    let x = &mut core.x87;
    let found = if x.is_empty(0) {
        (Relation::Unordered, x.stack_fault(i, StackFault::Underflow))
    } else {
        let a = x.st(0).into();
        relation::<false>(x, i, a, F::operand(bits))
    };
    conclude::<POPS>(x, found);
    Ok(())
}

/// FTST.
pub(crate) fn test(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    let found = if x.is_empty(0) {
        (Relation::Unordered, x.stack_fault(i, StackFault::Underflow))
    } else {
        let a = x.st(0).into();
        relation::<false>(x, i, a, F80::ZERO.into())
    };
    conclude::<0>(x, found);
    Ok(())
}

/// FCOMI, FCOMIP, FUCOMI and FUCOMIP.
pub(crate) fn flags<const QUIET: bool, const POP: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    let source = i.ops[1];
    let (relation, delivered) = if x.is_empty(0) || x.is_empty(source) {
        (Relation::Unordered, x.stack_fault(i, StackFault::Underflow))
    } else {
        // Unlike the others it leaves C1 alone.
        let c1 = x.status & C1;
        let (a, b) = (x.st(0).into(), x.st(source).into());
        let found = relation::<QUIET>(x, i, a, b);
        x.status |= c1;
        found
    };
    core.flags.set_bits(u64::from(relation.eflags()) & rflags::ARITHMETIC);
    if delivered && POP {
        core.x87.pop();
    }
    Ok(())
}

/// FXAM.
pub(crate) fn examine(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    let value = x.st(0);
    let codes = if x.is_empty(0) { C3 | C0 } else { value.classify().condition_codes() };
    let c1 = if value.is_negative() { C1 } else { 0 };
    x.status = x.status & !(CODES | C1) | codes | c1;
    Ok(())
}
