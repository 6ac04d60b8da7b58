//! Integer instructions.

use iced_x86::Mnemonic as M;

use crate::{
    insn::Insn,
    int::alu,
    operand::{Imm, Mem, Reg, Target},
    sem::Pick,
};

macro_rules! binary {
    ($p:expr, $i:expr, $op:ident) => {{
        let (p, i) = ($p, $i);
        if i.lock() {
            width!(i, W => reach!(i, R => if i.has_immediate() {
                hot!(p, false, true, alu::binary_locked::<S, alu::$op, W, R, Imm>)
            } else {
                hot!(p, false, true, alu::binary_locked::<S, alu::$op, W, R, Reg<1>>)
            }))
        } else if i.has_immediate() {
            width!(i, W => target!(i, 0, T => {
                hot!(p, false, <T as Target>::MEMORY, alu::binary::<S, alu::$op, W, T, Imm>)
            }))
        } else if i.is_memory(1) {
            width!(i, W => reach!(i, R => {
                hot!(p, false, false, alu::binary::<S, alu::$op, W, Reg<0>, Mem<R>>)
            }))
        } else {
            width!(i, W => target!(i, 0, T => {
                hot!(p, false, <T as Target>::MEMORY, alu::binary::<S, alu::$op, W, T, Reg<1>>)
            }))
        }
    }};
}

pub(super) fn pick<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code.mnemonic() {
        M::Add => binary!(p, i, Add),
        M::Adc => binary!(p, i, Adc),
        M::Sub => binary!(p, i, Sub),
        M::Sbb => binary!(p, i, Sbb),
        M::Cmp => binary!(p, i, Cmp),
        M::And => binary!(p, i, And),
        M::Or => binary!(p, i, Or),
        M::Xor => binary!(p, i, Xor),
        M::Test => binary!(p, i, Test),
        _ => return Err(p),
    })
}
