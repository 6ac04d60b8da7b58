//! Stores: FST, FSTP, FIST, FISTP, FISTTP and FBSTP.
//!
//! A store that an unmasked exception suppresses does not look at memory at all: not even its page
//! faults are raised (found so on hardware).
//!
//! Source: SDM vol. 2, FST, FIST, FISTTP and FBSTP.

use trine_softfloat::{Env, Flags, Rounding, x87::F80};

use super::{
    exception::StackFault,
    operand::{Integer, Target},
    stack::C1,
};
use crate::{Core, Insn, Raised};

/// The exceptions that, unmasked, keep a store from memory.
const NOT_STORED: u8 =
    Flags::IE.bits() | Flags::DE.bits() | Flags::ZE.bits() | Flags::OE.bits() | Flags::UE.bits();

/// FST and FSTP, FIST and FISTP, FBSTP to memory.
pub(crate) fn memory<F: Target, const POP: bool>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    deliver::<F, POP>(core, i, F::pack)
}

/// FISTTP.
pub(crate) fn truncated<F: Integer>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    deliver::<F, true>(core, i, |env, value| F::round(env, value, Rounding::TowardZero))
}

#[inline(always)]
fn deliver<F: Target, const POP: bool>(
    core: &mut Core,
    i: &Insn,
    pack: impl FnOnce(&mut Env, F80) -> F::Bits,
) -> Result<(), Raised> {
    core.x87_ready()?;
    let offset = core.address(i);
    if core.x87.is_empty(0) {
        return underflow::<F, POP>(core, i, offset);
    }
    let mut env = Env::from_control_word(core.x87.control);
    let bits = pack(&mut env, core.x87.st(0));
    let stored = env.unmasked().bits() & NOT_STORED == 0;
    if stored {
        F::store(core, i, offset, bits)?;
    }
    core.x87_operand(i, offset);
    core.x87.settle(i, &env);
    if POP && stored {
        core.x87.pop();
    }
    Ok(())
}

#[cold]
fn underflow<F: Target, const POP: bool>(
    core: &mut Core,
    i: &Insn,
    offset: u64,
) -> Result<(), Raised> {
    let masked = core.x87.control & super::stack::IE != 0;
    if masked {
        F::store(core, i, offset, F::INDEFINITE)?;
    }
    core.x87_operand(i, offset);
    core.x87.stack_fault(i, StackFault::Underflow);
    if POP && masked {
        core.x87.pop();
    }
    Ok(())
}

/// FST ST(i) and FSTP ST(i).
pub(crate) fn register<const POP: bool>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    let value = if !x.is_empty(0) {
        x.status &= !C1;
        x.st(0)
    } else if x.stack_fault(i, StackFault::Underflow) {
        F80::INDEFINITE
    } else {
        return Ok(());
    };
    x.set_st(i.ops[0], value);
    if POP {
        x.pop();
    }
    Ok(())
}

/// FSTPNCE ("no check for empty"): an alias of FSTP ST(i) that takes ST(0) as it is.
pub(crate) fn unchecked(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    core.x87_instruction(i);
    let x = &mut core.x87;
    x.status &= !C1;
    if !x.is_empty(0) {
        x.set_st(i.ops[0], x.st(0));
    }
    x.pop();
    Ok(())
}
