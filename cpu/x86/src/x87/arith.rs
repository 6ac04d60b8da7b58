//! Basic arithmetic: FADD, FSUB, FSUBR, FMUL, FDIV, FDIVR with registers, memory and integers.
//!
//! Source: SDM vol. 2, FADD, FSUB, FSUBR, FMUL, FDIV and FDIVR.

use trine_softfloat::{
    Env,
    x87::{self, F80, Operand},
};

use super::{exception::StackFault, operand::Arithmetic};
use crate::{Core, Insn, Raised};

/// An operation on the destination and the source.
pub(crate) trait Binary: 'static {
    /// The result.
    fn apply(env: &mut Env, destination: Operand, source: Operand) -> F80;
}

macro_rules! binary {
    ($Name:ident, |$env:ident, $destination:ident, $source:ident| $result:expr) => {
        pub(crate) struct $Name;
        impl Binary for $Name {
            #[inline(always)]
            fn apply($env: &mut Env, $destination: Operand, $source: Operand) -> F80 {
                $result
            }
        }
    };
}

binary!(Add, |env, destination, source| x87::add(env, destination, source));
binary!(Sub, |env, destination, source| x87::sub(env, destination, source));
binary!(SubReverse, |env, destination, source| x87::sub(env, source, destination));
binary!(Mul, |env, destination, source| x87::mul(env, destination, source));
binary!(Div, |env, destination, source| x87::div(env, destination, source));
binary!(DivReverse, |env, destination, source| x87::div(env, source, destination));

/// Destination and source are registers, the first and second operand.
pub(crate) fn registers<O: Binary, const POP: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    let (destination, source) = (i.ops[0], i.ops[1]);
    let result = if !x.is_empty(destination) && !x.is_empty(source) {
        let mut env = Env::from_control_word(x.control);
        let result = O::apply(&mut env, x.st(destination).into(), x.st(source).into());
        if !x.settle(i, &env) {
            return Ok(());
        }
        result
    } else if x.stack_fault(i, StackFault::Underflow) {
        F80::INDEFINITE
    } else {
        return Ok(());
    };
    x.set_st(destination, result);
    if POP {
        x.pop();
    }
    Ok(())
}

/// The destination is ST(0), the source in memory.
pub(crate) fn memory<O: Binary, F: Arithmetic>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    let offset = core.address(i);
    let bits = F::load(core, i, offset)?;
    core.x87_operand(i, offset);
    let x = &mut core.x87;
    if x.is_empty(0) {
        if x.stack_fault(i, StackFault::Underflow) {
            x.set_st(0, F80::INDEFINITE);
        }
        return Ok(());
    }
    let mut env = Env::from_control_word(x.control);
    let result = O::apply(&mut env, x.st(0).into(), F::operand(bits));
    if x.settle(i, &env) {
        x.set_st(0, result);
    }
    Ok(())
}
