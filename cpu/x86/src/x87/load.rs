//! Loads: FLD, FILD, FBLD and the constants.
//!
//! Source: SDM vol. 2, FLD, FILD, FBLD, FLD1 and its like; vol. 1, section 8.3.3.

use trine_softfloat::{
    Env, Flags, Rounding,
    x87::{self, Constant, F80},
};

use super::{exception::StackFault, operand::Source};
use crate::{Core, Insn, Raised};

/// FLD m32, m64 and m80, FILD, FBLD.
pub(crate) fn memory<F: Source>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    let offset = core.address(i);
    let bits = F::load(core, i, offset)?;
    core.x87_operand(i, offset);
    let x = &mut core.x87;
    if !x.is_empty(7) {
        overflow(core, i);
        return Ok(());
    }
    let mut env = Env::from_control_word(x.control);
    let value = F::unpack(&mut env, bits);
    // A denormal is loaded even if it raises an exception.
    if x.settle(i, &env) || !env.unmasked().contains(Flags::IE) {
        x.push(value);
    }
    Ok(())
}

/// FLD ST(i).
pub(crate) fn register(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    let source = i.ops[0];
    if x.is_empty(source) {
        if x.stack_fault(i, StackFault::Underflow) {
            x.push(F80::INDEFINITE);
        }
        return Ok(());
    }
    push(core, i, core.x87.st(source));
    Ok(())
}

/// A constant to load.
pub(crate) trait Number: 'static {
    /// Which one.
    const CONSTANT: Constant;
}

macro_rules! number {
    ($($Name:ident)*) => {$(
        pub(crate) struct $Name;
        impl Number for $Name {
            const CONSTANT: Constant = Constant::$Name;
        }
    )*};
}
number!(One Log2Of10 Log2OfE Pi Log10Of2 LnOf2 Zero);

/// FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2 and FLDZ.
pub(crate) fn constant<N: Number>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let rounding = Rounding::from_bits((core.x87.control >> 10) as u8);
    push(core, i, x87::constant(N::CONSTANT, rounding));
    Ok(())
}

/// Pushes a value that raises nothing.
#[inline(always)]
fn push(core: &mut Core, i: &Insn, value: F80) {
    let x = &mut core.x87;
    if !x.is_empty(7) {
        return overflow(core, i);
    }
    x.status &= !super::stack::C1;
    x.push(value);
}

#[cold]
fn overflow(core: &mut Core, i: &Insn) {
    if core.x87.stack_fault(i, StackFault::Overflow) {
        core.x87.push(F80::INDEFINITE);
    }
}
