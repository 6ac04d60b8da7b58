//! FMA: a product and a sum with one rounding.
//!
//! Source: SDM vol. 1, section 14.5; vol. 2C, VFMADD132PD to VFNMSUB231SS.

use trine_softfloat::{Env, sse};

use super::{
    Bank, Vex, enter_avx,
    float::{Real, environment, settle},
    lanes::{build, lane},
    scalar_source,
};
use crate::{Core, Insn, Raised};

/// What an instruction does besides multiplying and adding, as bits of a constant parameter.
pub(crate) mod kind {
    /// VFMADD.
    pub(crate) const ADD: u8 = 0;
    /// VFMSUB.
    pub(crate) const SUB: u8 = super::SUBTRACT_EVEN | super::SUBTRACT_ODD;
    /// VFNMADD.
    pub(crate) const NEGATE_ADD: u8 = super::NEGATE;
    /// VFNMSUB.
    pub(crate) const NEGATE_SUB: u8 = super::NEGATE | SUB;
    /// VFMADDSUB.
    pub(crate) const ADD_SUB: u8 = super::SUBTRACT_EVEN;
    /// VFMSUBADD.
    pub(crate) const SUB_ADD: u8 = super::SUBTRACT_ODD;
}

/// The product is negated.
const NEGATE: u8 = 1;
/// The third operand of even lanes is subtracted.
const SUBTRACT_EVEN: u8 = 2;
/// The third operand of odd lanes is subtracted.
const SUBTRACT_ODD: u8 = 4;

/// `x` with its sign changed if `negate`, but not a NaN's.
#[inline(always)]
fn signed<F: Real>(x: F, negate: bool) -> F {
    let is_nan = x.bits() & !F::SIGN > F::INFINITY;
    F::of(x.bits() ^ if negate && !is_nan { F::SIGN } else { 0 })
}

/// Lane `n` of the result, of lanes of the three operands. `ORDER` names the operands as the
/// mnemonic does: two factors, then what is added.
#[inline(always)]
fn fused<F: Real, const ORDER: u32, const KIND: u8>(env: &mut Env, n: usize, of: [F; 3]) -> F {
    let operand = |digit: u32| of[digit as usize - 1];
    let (a, b, c) = (operand(ORDER / 100), operand(ORDER / 10 % 10), operand(ORDER % 10));
    let subtract = KIND & [SUBTRACT_EVEN, SUBTRACT_ODD][n % 2] != 0;
    sse::mul_add(env, signed(a, KIND & NEGATE != 0), b, signed(c, subtract))
}

/// In each lane.
pub(crate) fn packed<const Q: usize, F: Real, const ORDER: u32, const KIND: u8>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    enter_avx(core)?;
    let c: [u64; Q] = Vex::source(core, i, 2)?;
    let (a, b): ([u64; Q], [u64; Q]) = (Vex::get(core, i.ops[0]), Vex::get(core, i.ops[1]));
    let mut env = environment(core);
    let result = build::<F, Q>(|n| {
        fused::<F, ORDER, KIND>(&mut env, n, [lane(&a, n), lane(&b, n), lane(&c, n)])
    });
    settle(core, &env)?;
    Vex::set(core, i.ops[0], result);
    Ok(())
}

/// In the low lane; the others stay.
pub(crate) fn scalar<F: Real, const ORDER: u32, const KIND: u8>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    enter_avx(core)?;
    let c = F::of(scalar_source(core, i, 2, F::W)?);
    let (a, b): ([u64; 2], [u64; 2]) = (Vex::get(core, i.ops[0]), Vex::get(core, i.ops[1]));
    let mut env = environment(core);
    let result = fused::<F, ORDER, KIND>(&mut env, 0, [F::of(a[0]), F::of(b[0]), c]);
    settle(core, &env)?;
    Vex::set(core, i.ops[0], [a[0] & !F::W.mask() | result.bits(), a[1]]);
    Ok(())
}
