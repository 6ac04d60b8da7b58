//! Functions of the stack's top: sign, rounding, scaling, remainders, roots, transcendentals.
//!
//! Source: SDM vol. 2, the instructions' pages; vol. 1, sections 8.3.5 and 8.3.10.

use trine_softfloat::{
    Env,
    x87::{self, F80, Remainder},
};

use super::{
    exception::StackFault,
    stack::{C1, C2},
};
use crate::{Core, Insn, Raised};

/// A function of ST(0).
pub(crate) trait Unary: 'static {
    /// The result; `None` if the operand is out of range.
    fn apply(env: &mut Env, a: F80) -> Option<F80>;
}

/// A function of ST(0) and ST(1).
pub(crate) trait Binary: 'static {
    /// The result.
    fn apply(env: &mut Env, st0: F80, st1: F80) -> F80;
}

/// A function of ST(0) with two results.
pub(crate) trait Twofold: 'static {
    /// What replaces ST(0), and what is pushed; `None` if the operand is out of range.
    fn apply(env: &mut Env, a: F80) -> Option<(F80, F80)>;
}

/// FPREM or FPREM1.
pub(crate) trait Partial: 'static {
    /// One step.
    fn apply(env: &mut Env, a: F80, b: F80) -> Remainder;
}

macro_rules! function {
    ($Kind:ident $Name:ident($($operand:ident),*) -> $Result:ty, |$env:ident| $result:expr) => {
        pub(crate) struct $Name;
        impl $Kind for $Name {
            #[inline(always)]
            fn apply($env: &mut Env, $($operand: F80),*) -> $Result {
                $result
            }
        }
    };
}

function!(Unary SquareRoot(a) -> Option<F80>, |env| Some(x87::sqrt(env, a)));
function!(Unary Round(a) -> Option<F80>, |env| Some(x87::round_to_integral(env, a)));
function!(Unary Exponential(a) -> Option<F80>, |env| Some(x87::exp2_minus_1(env, a)));
function!(Unary Sine(a) -> Option<F80>, |env| x87::sine(env, a));
function!(Unary Cosine(a) -> Option<F80>, |env| x87::cosine(env, a));
function!(Binary Scale(st0, st1) -> F80, |env| x87::scale(env, st0, st1));
function!(Binary Logarithm(st0, st1) -> F80, |env| x87::log2(env, st0, st1));
function!(Binary LogarithmPlus1(st0, st1) -> F80, |env| x87::log2_plus_1(env, st0, st1));
function!(Binary Arctangent(st0, st1) -> F80, |env| x87::arctangent(env, st1, st0));
function!(Twofold SineCosine(a) -> Option<(F80, F80)>, |env| x87::sine_cosine(env, a));
function!(Twofold Tangent(a) -> Option<(F80, F80)>, |env| x87::tangent(env, a));
function!(Twofold Extract(a) -> Option<(F80, F80)>, |env| Some(x87::extract(env, a)));
function!(Partial Truncated(a, b) -> Remainder, |env| x87::remainder(env, a, b));
function!(Partial Nearest(a, b) -> Remainder, |env| x87::remainder_nearest(env, a, b));

/// FSQRT, FRNDINT, F2XM1; FSIN and FCOS, which have a range.
pub(crate) fn unary<O: Unary, const RANGE: bool>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    if RANGE {
        x.status &= !C2;
    }
    if x.is_empty(0) {
        if x.stack_fault(i, StackFault::Underflow) {
            x.set_st(0, F80::INDEFINITE);
        }
        return Ok(());
    }
    let mut env = Env::from_control_word(x.control);
    match O::apply(&mut env, x.st(0)) {
        Some(result) => {
            if x.settle(i, &env) {
                x.set_st(0, result);
            }
        }
        None => x.status = x.status & !C1 | C2,
    }
    Ok(())
}

/// FSCALE (ST(0) is replaced); FYL2X, FYL2XP1 and FPATAN (ST(1) is replaced, and ST(0) popped).
pub(crate) fn binary<O: Binary, const POP: bool>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    let result = if !x.is_empty(0) && !x.is_empty(1) {
        let mut env = Env::from_control_word(x.control);
        let result = O::apply(&mut env, x.st(0), x.st(1));
        if !x.settle(i, &env) {
            return Ok(());
        }
        result
    } else if x.stack_fault(i, StackFault::Underflow) {
        F80::INDEFINITE
    } else {
        return Ok(());
    };
    if POP {
        x.pop();
    }
    x.set_st(0, result);
    Ok(())
}

/// FSINCOS and FPTAN, which have a range, and FXTRACT: one result replaces ST(0), the other is
/// pushed.
pub(crate) fn twofold<O: Twofold, const RANGE: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    if RANGE {
        x.status &= !C2;
    }
    let fault = if x.is_empty(0) {
        StackFault::Underflow
    } else if !x.is_empty(7) {
        StackFault::Overflow
    } else {
        let mut env = Env::from_control_word(x.control);
        match O::apply(&mut env, x.st(0)) {
            Some((replacement, pushed)) => {
                if x.settle(i, &env) {
                    x.set_st(0, replacement);
                    x.push(pushed);
                }
            }
            None => x.status = x.status & !C1 | C2,
        }
        return Ok(());
    };
    if x.stack_fault(i, fault) {
        x.set_st(0, F80::INDEFINITE);
        x.push(F80::INDEFINITE);
    }
    Ok(())
}

/// FPREM and FPREM1.
pub(crate) fn partial<O: Partial>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    if x.is_empty(0) || x.is_empty(1) {
        x.status &= !C2;
        if x.stack_fault(i, StackFault::Underflow) {
            x.set_st(0, F80::INDEFINITE);
        }
        return Ok(());
    }
    let mut env = Env::from_control_word(x.control);
    let rest = O::apply(&mut env, x.st(0), x.st(1));
    let delivered = x.settle(i, &env);
    x.status = rest.condition_codes(x.status);
    if delivered {
        x.set_st(0, rest.value);
    }
    Ok(())
}

/// FCHS.
pub(crate) fn change_sign(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    sign(core, i, F80::negate)
}

/// FABS.
pub(crate) fn absolute(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    sign(core, i, F80::abs)
}

#[inline(always)]
fn sign(core: &mut Core, i: &Insn, f: impl FnOnce(F80) -> F80) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    if !x.is_empty(0) {
        x.status &= !C1;
        x.set_st(0, f(x.st(0)));
    } else if x.stack_fault(i, StackFault::Underflow) {
        x.set_st(0, F80::INDEFINITE);
    }
    Ok(())
}
