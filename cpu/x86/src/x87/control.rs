//! Control and stack instructions: FNINIT, FNCLEX, control and status words, FXCH, FCMOVcc, FFREE,
//! FINCSTP, FDECSTP, FNOP.
//!
//! Source: SDM vol. 2, the instructions' pages; vol. 1, section 8.3.12.

use trine_softfloat::x87::F80;

use super::{
    exception::StackFault,
    stack::{B, C1, ES, EXCEPTIONS, SF},
};
use crate::{Core, Insn, Raised, Width};

/// FNINIT.
pub(crate) fn init(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    core.x87_available()?;
    core.x87.init();
    Ok(())
}

/// FNCLEX.
pub(crate) fn clear_exceptions(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    core.x87_available()?;
    core.x87.status &= !(EXCEPTIONS | SF | ES | B);
    Ok(())
}

/// FNENI, FNDISI and FNSETPM, which mean nothing since the 387.
pub(crate) fn ignored(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    core.x87_available()
}

/// FNOP.
pub(crate) fn nop(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    Ok(())
}

/// FLDCW.
pub(crate) fn load_control(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    let control = core.load(Width::W16, i.seg(), core.address(i))?;
    core.x87.set_control(control as u16);
    Ok(())
}

/// FNSTCW.
pub(crate) fn store_control(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_available()?;
    core.store(Width::W16, i.seg(), core.address(i), core.x87.control.into())
}

/// FNSTSW to memory.
pub(crate) fn store_status(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_available()?;
    core.store(Width::W16, i.seg(), core.address(i), core.x87.status.into())
}

/// FNSTSW AX.
pub(crate) fn status_to_ax(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    core.x87_available()?;
    core.set(Width::W16, 0, core.x87.status.into());
    Ok(())
}

/// FXCH.
pub(crate) fn exchange(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    let other = i.ops[1];
    let empty = [x.is_empty(0), x.is_empty(other)];
    if empty != [false; 2] {
        if !x.stack_fault(i, StackFault::Underflow) {
            return Ok(());
        }
    } else {
        x.status &= !C1;
    }
    let a = if empty[0] { F80::INDEFINITE } else { x.st(0) };
    let b = if empty[1] { F80::INDEFINITE } else { x.st(other) };
    x.set_st(0, b);
    x.set_st(other, a);
    Ok(())
}

/// FCMOVcc; `CC` is a condition as Jcc's opcode encodes it.
pub(crate) fn conditional_move<const CC: u8>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let holds = core.flags.condition(CC);
    let x = &mut core.x87;
    let source = i.ops[1];
    if x.is_empty(0) || x.is_empty(source) {
        if x.stack_fault(i, StackFault::Underflow) {
            x.set_st(0, F80::INDEFINITE);
        }
        return Ok(());
    }
    if holds {
        x.set_st(0, x.st(source));
    }
    Ok(())
}

/// FFREE, and FFREEP, which pops.
pub(crate) fn free<const POP: bool>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    core.x87.status &= !C1;
    core.x87.free(i.ops[0]);
    if POP {
        core.x87.pop();
    }
    Ok(())
}

/// FINCSTP and FDECSTP: adds to TOP.
pub(crate) fn rotate<const STEP: u8>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    x.status &= !C1;
    x.set_top(x.top().wrapping_add(STEP));
    Ok(())
}
