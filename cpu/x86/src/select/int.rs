//! Integer instructions.

use iced_x86::{Code as C, Mnemonic as M};

use crate::{
    insn::{Insn, Width},
    int::{
        alu, bcd, bits,
        bits::{Blsi, Blsmsk, Blsr},
        branch, data, exchange, flag, muldiv, shift,
        shift::{Sar, Shl, Shr},
        stack, string, unary,
    },
    operand::{Imm, Mem, Reg, Target},
    sem::{
        Checked, Pick,
        size::{B8, B16, B32, B64},
    },
};

// Locked operations are all reached as if checked: a check is little beside the lock.
macro_rules! binary {
    ($p:expr, $i:expr, $op:ident) => {{
        let (p, i) = ($p, $i);
        if i.lock() {
            width!(i, W => if i.has_immediate() {
                hot!(p, false, true, alu::binary_locked::<S, alu::$op, W, Checked, Imm>)
            } else {
                hot!(p, false, true, alu::binary_locked::<S, alu::$op, W, Checked, Reg<1>>)
            })
        } else if i.has_immediate() {
            width!(i, W => target!(i, 0, T => {
                operand!(p, true, T, alu::binary::<S, alu::$op, W, T, Imm>)
            }))
        } else if i.is_memory(1) {
            width!(i, W => reach!(i, R => {
                hot!(p, false, false, alu::binary::<S, alu::$op, W, Reg<0>, Mem<R>>)
            }))
        } else {
            width!(i, W => target!(i, 0, T => {
                operand!(p, true, T, alu::binary::<S, alu::$op, W, T, Reg<1>>)
            }))
        }
    }};
}

/// `$body` with `$R` the source in operand `$n`: a register, flat memory or checked memory.
macro_rules! source {
    ($i:expr, $n:literal, $R:ident => $body:expr) => {
        target!($i, $n, $R => $body)
    };
}

/// `$body` with `$W` the operand size, which is not 8 bits.
macro_rules! wide {
    ($i:expr, $W:ident => $body:expr) => {
        match $i.width() {
            Width::W8 | Width::W16 => {
                type $W = B16;
                $body
            }
            Width::W32 => {
                type $W = B32;
                $body
            }
            Width::W64 => {
                type $W = B64;
                $body
            }
        }
    };
}

/// `$body` with `$W` the operand size, which is 32 or 64 bits.
macro_rules! wider {
    ($i:expr, $W:ident => $body:expr) => {
        if $i.width() == Width::W64 {
            type $W = B64;
            $body
        } else {
            type $W = B32;
            $body
        }
    };
}

/// `$body` with `$K` how the stack is reached.
macro_rules! stack {
    ($i:expr, $K:ident => $body:expr) => {
        match ($i.mode.flat(), $i.mode.stack()) {
            (true, Width::W64) => {
                type $K = stack::Flat64;
                $body
            }
            (true, Width::W32) => {
                type $K = stack::Flat32;
                $body
            }
            _ => {
                type $K = stack::AnyStack;
                $body
            }
        }
    };
}

/// `$body` with `$CC` the condition in the opcode.
macro_rules! condition {
    ($i:expr, $CC:ident => $body:expr) => {
        condition!(@ $i, $CC, $body, 1 0, 2 1, 3 2, 4 3, 5 4, 6 5, 7 6, 8 7, 9 8, 10 9, 11 10,
            12 11, 13 12, 14 13, 15 14; 15)
    };
    (@ $i:expr, $CC:ident, $body:expr, $($named:literal $cc:literal),*; $last:literal) => {
        // The decoder's numbers start at 1, in the order of the opcodes.
        match $i.code.condition_code() as u8 {
            $($named => {
                const $CC: u8 = $cc;
                $body
            })*
            _ => {
                const $CC: u8 = $last;
                $body
            }
        }
    };
}

macro_rules! unary {
    ($p:expr, $i:expr, $op:ident) => {{
        let (p, i) = ($p, $i);
        if i.lock() {
            width!(i, W => {
                hot!(p, false, true, unary::unary_locked::<S, unary::$op, W, Checked>)
            })
        } else {
            width!(i, W => target!(i, 0, T => {
                operand!(p, true, T, unary::unary::<S, unary::$op, W, T>)
            }))
        }
    }};
}

macro_rules! shift {
    ($p:expr, $i:expr, $op:ident) => {{
        let (p, i) = ($p, $i);
        width!(i, W => target!(i, 0, T => if i.has_immediate() {
            operand!(p, true, T,
                shift::shift::<S, shift::$op, W, T, shift::ByImm>)
        } else {
            operand!(p, true, T,
                shift::shift::<S, shift::$op, W, T, shift::ByCl>)
        }))
    }};
}

macro_rules! double {
    ($p:expr, $i:expr, $op:ident) => {{
        let (p, i) = ($p, $i);
        wide!(i, W => target!(i, 0, T => if i.has_immediate() {
            operand!(p, true, T,
                shift::double::<S, shift::$op, W, T, shift::ByImm>)
        } else {
            operand!(p, true, T,
                shift::double::<S, shift::$op, W, T, shift::ByCl>)
        }))
    }};
}

macro_rules! bit {
    ($p:expr, $i:expr, $op:ident) => {{
        let (p, i) = ($p, $i);
        if i.lock() {
            wide!(i, W => hot!(p, false, true, bits::bit_locked::<S, bits::$op, W, Checked>))
        } else if i.has_immediate() {
            wide!(i, W => target!(i, 0, T => {
                operand!(p, true, T,
                    bits::bit_within::<S, bits::$op, W, T, Imm>)
            }))
        } else if i.has_memory() {
            wide!(i, W => reach!(i, R => hot!(p, false, true, bits::bit_beyond::<S, bits::$op, W, R>)))
        } else {
            wide!(i, W => hot!(p, false, false,
                bits::bit_within::<S, bits::$op, W, Reg<0>, Reg<1>>))
        }
    }};
}

/// Rows of one source and register targets, in 16, 32 and 64 bits.
macro_rules! from_source {
    ($p:expr, $i:expr, $n:literal, $($f:ident)::+ $(, $arg:tt)*) => {{
        let (p, i) = ($p, $i);
        wide!(i, W => source!(i, $n, R => operand!(p, false, R, $($f)::+::<S $(, $arg)*, W, R>)))
    }};
}

/// The same in 32 and 64 bits, for what is encoded with VEX: #UD outside of protected mode.
macro_rules! vex {
    ($p:expr, $i:expr, $n:literal, $($f:ident)::+ $(, $arg:tt)*) => {{
        let (p, i) = ($p, $i);
        if !i.mode.protected() {
            return Err(p);
        }
        wider!(i, W => source!(i, $n, R => {
            hot!(p, false, false, $($f)::+::<S $(, $arg)*, W, R>)
        }))
    }};
}

/// String instructions: repeated ones are cold. `both`: they have a source and ES; `es`: only that;
/// `source`: only a source.
macro_rules! string {
    ($p:expr, $i:expr, $rep:ident, $once:ident, $stores:literal, $kind:ident) => {
        if $i.rep() || $i.repne() {
            cold!($p, string::$rep, ends)
        } else {
            width!($i, W => string!(@$kind $p, $i, $once, $stores, W))
        }
    };
    (@both $p:expr, $i:expr, $once:ident, $stores:literal, $W:ident) => {
        if $i.flat() {
            reach!($i, R => hot!($p, false, $stores, string::$once::<S, $W, R, R>))
        } else {
            reach!($i, $i.mode.flat(), E => {
                hot!($p, false, $stores, string::$once::<S, $W, Checked, E>)
            })
        }
    };
    (@es $p:expr, $i:expr, $once:ident, $stores:literal, $W:ident) => {
        reach!($i, $i.mode.flat(), E => hot!($p, false, $stores, string::$once::<S, $W, E>))
    };
    (@source $p:expr, $i:expr, $once:ident, $stores:literal, $W:ident) => {
        reach!($i, R => hot!($p, false, $stores, string::$once::<S, $W, R>))
    };
}

pub(super) fn pick<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    arithmetic(i, p)
        .or_else(|p| movement(i, p))
        .or_else(|p| branches(i, p))
        .or_else(|p| stacks(i, p))
        .or_else(|p| shifts(i, p))
        .or_else(|p| exchanges(i, p))
        .or_else(|p| strings(i, p))
        .or_else(|p| manipulation(i, p))
        .or_else(|p| flags_and_hints(i, p))
}

fn arithmetic<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
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
        M::Inc => unary!(p, i, Inc),
        M::Dec => unary!(p, i, Dec),
        M::Neg => unary!(p, i, Neg),
        M::Not => unary!(p, i, Not),
        M::Mul => width!(i, W => source!(i, 0, R => {
            hot!(p, false, false, muldiv::mul::<S, W, R>)
        })),
        M::Imul => return Ok(imul(i, p)),
        M::Div => cold!(p, muldiv::div),
        M::Idiv => cold!(p, muldiv::idiv),
        M::Aaa => cold!(p, bcd::aaa),
        M::Aas => cold!(p, bcd::aas),
        M::Aam => cold!(p, bcd::aam),
        M::Aad => cold!(p, bcd::aad),
        M::Daa => cold!(p, bcd::daa),
        M::Das => cold!(p, bcd::das),
        _ => return Err(p),
    })
}

fn imul<P: Pick>(i: &Insn, p: P) -> P::Out {
    match i.code {
        C::Imul_rm8 | C::Imul_rm16 | C::Imul_rm32 | C::Imul_rm64 => {
            width!(i, W => source!(i, 0, R => hot!(p, false, false, muldiv::imul::<S, W, R>)))
        }
        C::Imul_r16_rm16 | C::Imul_r32_rm32 | C::Imul_r64_rm64 => wide!(i, W => {
            source!(i, 1, R => operand!(p, false, R, muldiv::imul_to::<S, W, Reg<0>, R>))
        }),
        _ => wide!(i, W => {
            source!(i, 1, R => operand!(p, false, R, muldiv::imul_to::<S, W, R, Imm>))
        }),
    }
}

fn movement<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code.mnemonic() {
        M::Mov => return mov(i, p),
        M::Movnti => wider!(i, W => reach!(i, R => {
            hot!(p, false, true, data::mov::<S, W, Mem<R>, Reg<1>>)
        })),
        M::Movzx | M::Movsx | M::Movsxd => return extensions(i, p),
        M::Lea => wide!(i, W => reach!(i, true, R => {
            operand!(p, false, Reg<0>, data::lea::<S, W, R>)
        })),
        M::Xlatb => reach!(i, R => hot!(p, false, false, data::xlat::<S, R>)),
        M::Bswap => wide!(i, W => operand!(p, false, Reg<0>, data::bswap::<S, W>)),
        M::Movbe if i.is_memory(0) => wide!(i, W => reach!(i, R => {
            hot!(p, false, true, data::movbe::<S, W, Mem<R>, Reg<1>>)
        })),
        M::Movbe => wide!(i, W => reach!(i, R => {
            hot!(p, false, false, data::movbe::<S, W, Reg<0>, Mem<R>>)
        })),
        M::Cbw => hot!(p, false, false, data::extend::<S, B8, B16>),
        M::Cwde => hot!(p, false, false, data::extend::<S, B16, B32>),
        M::Cdqe => hot!(p, false, false, data::extend::<S, B32, B64>),
        M::Cwd => hot!(p, false, false, data::spread_sign::<S, B16>),
        M::Cdq => hot!(p, false, false, data::spread_sign::<S, B32>),
        M::Cqo => hot!(p, false, false, data::spread_sign::<S, B64>),
        M::Cmova
        | M::Cmovae
        | M::Cmovb
        | M::Cmovbe
        | M::Cmove
        | M::Cmovg
        | M::Cmovge
        | M::Cmovl
        | M::Cmovle
        | M::Cmovne
        | M::Cmovno
        | M::Cmovnp
        | M::Cmovns
        | M::Cmovo
        | M::Cmovp
        | M::Cmovs => condition!(i, CC => wide!(i, W => source!(i, 1, R => {
            hot!(p, false, false, data::cmov::<S, CC, W, R>)
        }))),
        M::Seta
        | M::Setae
        | M::Setb
        | M::Setbe
        | M::Sete
        | M::Setg
        | M::Setge
        | M::Setl
        | M::Setle
        | M::Setne
        | M::Setno
        | M::Setnp
        | M::Setns
        | M::Seto
        | M::Setp
        | M::Sets => condition!(i, CC => target!(i, 0, T => {
            hot!(p, false, <T as Target>::MEMORY, data::setcc::<S, CC, T>)
        })),
        _ => return Err(p),
    })
}

/// MOV of general registers, memory and immediates; those of other registers are not ours.
fn mov<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code {
        C::Mov_r64_imm64 => operand!(p, false, Reg<0>, data::mov_wide::<S>),
        C::Mov_AL_moffs8 | C::Mov_AX_moffs16 | C::Mov_EAX_moffs32 | C::Mov_RAX_moffs64 => {
            width!(i, W => reach!(i, R => {
                hot!(p, false, false, data::mov_from_offset::<S, W, R>)
            }))
        }
        C::Mov_moffs8_AL | C::Mov_moffs16_AX | C::Mov_moffs32_EAX | C::Mov_moffs64_RAX => {
            width!(i, W => reach!(i, R => {
                hot!(p, false, true, data::mov_to_offset::<S, W, R>)
            }))
        }
        C::Mov_r8_imm8
        | C::Mov_r16_imm16
        | C::Mov_r32_imm32
        | C::Mov_rm8_imm8
        | C::Mov_rm16_imm16
        | C::Mov_rm32_imm32
        | C::Mov_rm64_imm32 => {
            width!(i, W => target!(i, 0, T => {
                operand!(p, true, T, data::mov::<S, W, T, Imm>)
            }))
        }
        C::Mov_rm8_r8 | C::Mov_rm16_r16 | C::Mov_rm32_r32 | C::Mov_rm64_r64 => {
            width!(i, W => target!(i, 0, T => {
                operand!(p, true, T, data::mov::<S, W, T, Reg<1>>)
            }))
        }
        C::Mov_r8_rm8 | C::Mov_r16_rm16 | C::Mov_r32_rm32 | C::Mov_r64_rm64 => {
            width!(i, W => source!(i, 1, R => {
                operand!(p, false, R, data::mov::<S, W, Reg<0>, R>)
            }))
        }
        _ => return Err(p),
    })
}

fn extensions<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code {
        C::Movzx_r16_rm8 | C::Movzx_r32_rm8 | C::Movzx_r64_rm8 => {
            from_source!(p, i, 1, data::movzx, B8)
        }
        C::Movzx_r16_rm16 | C::Movzx_r32_rm16 | C::Movzx_r64_rm16 => {
            from_source!(p, i, 1, data::movzx, B16)
        }
        C::Movsx_r16_rm8 | C::Movsx_r32_rm8 | C::Movsx_r64_rm8 => {
            from_source!(p, i, 1, data::movsx, B8)
        }
        C::Movsx_r16_rm16 | C::Movsx_r32_rm16 | C::Movsx_r64_rm16 | C::Movsxd_r16_rm16 => {
            from_source!(p, i, 1, data::movsx, B16)
        }
        C::Movsxd_r32_rm32 | C::Movsxd_r64_rm32 => from_source!(p, i, 1, data::movsx, B32),
        _ => return Err(p),
    })
}

fn branches<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code {
        C::Jmp_rel8_16
        | C::Jmp_rel8_32
        | C::Jmp_rel8_64
        | C::Jmp_rel16
        | C::Jmp_rel32_32
        | C::Jmp_rel32_64 => wide!(i, W => hot!(p, true, false, branch::jmp::<S, W>)),
        C::Jmp_rm16 | C::Jmp_rm32 | C::Jmp_rm64 => wide!(i, W => source!(i, 0, R => {
            hot!(p, true, false, branch::jmp_indirect::<S, W, R>)
        })),
        C::Call_rel16 | C::Call_rel32_32 | C::Call_rel32_64 => wide!(i, W => stack!(i, K => {
            hot!(p, true, true, branch::call::<S, W, K>)
        })),
        C::Call_rm16 | C::Call_rm32 | C::Call_rm64 => {
            wide!(i, W => stack!(i, K => source!(i, 0, R => {
                hot!(p, true, true, branch::call_indirect::<S, W, K, R>)
            })))
        }
        C::Retnw | C::Retnd | C::Retnq | C::Retnw_imm16 | C::Retnd_imm16 | C::Retnq_imm16 => {
            wide!(i, W => stack!(i, K => hot!(p, true, false, branch::ret::<S, W, K>)))
        }
        C::Bound_r16_m1616 | C::Bound_r32_m3232 => cold!(p, branch::bound),
        code => match code.mnemonic() {
            M::Ja
            | M::Jae
            | M::Jb
            | M::Jbe
            | M::Je
            | M::Jg
            | M::Jge
            | M::Jl
            | M::Jle
            | M::Jne
            | M::Jno
            | M::Jnp
            | M::Jns
            | M::Jo
            | M::Jp
            | M::Js => condition!(i, CC => wide!(i, W => {
                conditional!(p, branch::jcc::<S, CC, W>)
            })),
            M::Jcxz | M::Jecxz | M::Jrcxz => conditional!(p, branch::jcxz::<S>),
            M::Loop => conditional!(p, branch::loop_while::<S, 2>),
            M::Loope => conditional!(p, branch::loop_while::<S, 1>),
            M::Loopne => conditional!(p, branch::loop_while::<S, 0>),
            _ => return Err(p),
        },
    })
}

fn stacks<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code {
        C::Push_r16 | C::Push_r32 | C::Push_r64 | C::Push_rm16 | C::Push_rm32 | C::Push_rm64 => {
            wide!(i, W => stack!(i, K => source!(i, 0, R => {
                hot!(p, false, true, stack::push::<S, W, K, R>)
            })))
        }
        C::Push_imm16
        | C::Pushd_imm32
        | C::Pushq_imm32
        | C::Pushw_imm8
        | C::Pushd_imm8
        | C::Pushq_imm8 => wide!(i, W => stack!(i, K => {
            hot!(p, false, true, stack::push::<S, W, K, Imm>)
        })),
        C::Pop_r16 | C::Pop_r32 | C::Pop_r64 | C::Pop_rm16 | C::Pop_rm32 | C::Pop_rm64 => {
            wide!(i, W => stack!(i, K => if i.has_memory() {
                reach!(i, R => hot!(p, false, true, stack::pop_memory::<S, W, K, R>))
            } else {
                hot!(p, false, false, stack::pop::<S, W, K>)
            }))
        }
        C::Leavew | C::Leaved | C::Leaveq => wide!(i, W => stack!(i, K => {
            hot!(p, false, false, stack::leave::<S, W, K>)
        })),
        C::Enterw_imm16_imm8 | C::Enterd_imm16_imm8 | C::Enterq_imm16_imm8 => {
            cold!(p, stack::enter)
        }
        C::Pushaw | C::Pushad => cold!(p, stack::pusha),
        C::Popaw | C::Popad => cold!(p, stack::popa),
        _ => return Err(p),
    })
}

fn shifts<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code.mnemonic() {
        M::Shl | M::Sal => shift!(p, i, Shl),
        M::Shr => shift!(p, i, Shr),
        M::Sar => shift!(p, i, Sar),
        M::Rol => shift!(p, i, Rol),
        M::Ror => shift!(p, i, Ror),
        M::Rcl => shift!(p, i, Rcl),
        M::Rcr => shift!(p, i, Rcr),
        M::Shld => double!(p, i, Shld),
        M::Shrd => double!(p, i, Shrd),
        M::Shlx => vex!(p, i, 1, shift::shift_flagless, Shl),
        M::Shrx => vex!(p, i, 1, shift::shift_flagless, Shr),
        M::Sarx => vex!(p, i, 1, shift::shift_flagless, Sar),
        M::Rorx => vex!(p, i, 1, shift::rorx),
        _ => return Err(p),
    })
}

fn exchanges<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code.mnemonic() {
        M::Xchg if i.has_memory() => width!(i, W => reach!(i, R => {
            hot!(p, false, true, exchange::xchg_memory::<S, W, R>)
        })),
        M::Xchg => width!(i, W => hot!(p, false, false, exchange::xchg::<S, W>)),
        M::Xadd if i.lock() => width!(i, W => {
            hot!(p, false, true, exchange::xadd_locked::<S, W, Checked>)
        }),
        M::Xadd => width!(i, W => target!(i, 0, T => {
            operand!(p, true, T, exchange::xadd::<S, W, T>)
        })),
        M::Cmpxchg if i.lock() => width!(i, W => {
            hot!(p, false, true, exchange::cmpxchg_locked::<S, W, Checked>)
        }),
        M::Cmpxchg => width!(i, W => target!(i, 0, T => {
            operand!(p, true, T, exchange::cmpxchg::<S, W, T>)
        })),
        M::Cmpxchg8b => cold!(p, exchange::cmpxchg8b),
        M::Cmpxchg16b => cold!(p, exchange::cmpxchg16b),
        _ => return Err(p),
    })
}

fn strings<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    // By code: MOVSD and CMPSD are SSE instructions, too.
    Ok(match i.code {
        C::Movsb_m8_m8 | C::Movsw_m16_m16 | C::Movsd_m32_m32 | C::Movsq_m64_m64 => {
            string!(p, i, movs, movs_once, true, both)
        }
        C::Stosb_m8_AL | C::Stosw_m16_AX | C::Stosd_m32_EAX | C::Stosq_m64_RAX => {
            string!(p, i, stos, stos_once, true, es)
        }
        C::Lodsb_AL_m8 | C::Lodsw_AX_m16 | C::Lodsd_EAX_m32 | C::Lodsq_RAX_m64 => {
            string!(p, i, lods, lods_once, false, source)
        }
        C::Cmpsb_m8_m8 | C::Cmpsw_m16_m16 | C::Cmpsd_m32_m32 | C::Cmpsq_m64_m64 => {
            string!(p, i, cmps, cmps_once, false, both)
        }
        C::Scasb_AL_m8 | C::Scasw_AX_m16 | C::Scasd_EAX_m32 | C::Scasq_RAX_m64 => {
            string!(p, i, scas, scas_once, false, es)
        }
        _ => return Err(p),
    })
}

fn manipulation<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code.mnemonic() {
        M::Bt => bit!(p, i, Bt),
        M::Bts => bit!(p, i, Bts),
        M::Btr => bit!(p, i, Btr),
        M::Btc => bit!(p, i, Btc),
        M::Bsf => from_source!(p, i, 1, bits::scan, false),
        M::Bsr => from_source!(p, i, 1, bits::scan, true),
        M::Tzcnt => from_source!(p, i, 1, bits::count_zeros, false),
        M::Lzcnt => from_source!(p, i, 1, bits::count_zeros, true),
        M::Popcnt => from_source!(p, i, 1, bits::popcnt),
        M::Crc32 => return crc32(i, p),
        M::Adcx => from_source!(p, i, 1, bits::add_with, false),
        M::Adox => from_source!(p, i, 1, bits::add_with, true),
        M::Andn => vex!(p, i, 2, bits::andn),
        M::Blsi => vex!(p, i, 1, bits::lowest_bit, Blsi),
        M::Blsr => vex!(p, i, 1, bits::lowest_bit, Blsr),
        M::Blsmsk => vex!(p, i, 1, bits::lowest_bit, Blsmsk),
        M::Bextr => vex!(p, i, 1, bits::bextr),
        M::Bzhi => vex!(p, i, 1, bits::bzhi),
        M::Pdep => vex!(p, i, 2, bits::scatter, true),
        M::Pext => vex!(p, i, 2, bits::scatter, false),
        M::Mulx => vex!(p, i, 2, muldiv::mulx),
        _ => return Err(p),
    })
}

/// CRC32: the target's width says nothing of the source's.
fn crc32<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code {
        C::Crc32_r32_rm8 | C::Crc32_r64_rm8 => {
            source!(i, 1, R => hot!(p, false, false, bits::crc32::<S, B8, R>))
        }
        C::Crc32_r32_rm16 => source!(i, 1, R => hot!(p, false, false, bits::crc32::<S, B16, R>)),
        C::Crc32_r32_rm32 => source!(i, 1, R => hot!(p, false, false, bits::crc32::<S, B32, R>)),
        C::Crc32_r64_rm64 => source!(i, 1, R => hot!(p, false, false, bits::crc32::<S, B64, R>)),
        _ => return Err(p),
    })
}

fn flags_and_hints<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code.mnemonic() {
        M::Clc => hot!(p, false, false, flag::set_carry::<S, 0>),
        M::Stc => hot!(p, false, false, flag::set_carry::<S, 1>),
        M::Cmc => hot!(p, false, false, flag::cmc::<S>),
        M::Cld => cold!(p, flag::cld),
        M::Std => cold!(p, flag::std),
        M::Lahf => hot!(p, false, false, data::lahf::<S>),
        M::Sahf => hot!(p, false, false, data::sahf::<S>),
        M::Salc => hot!(p, false, false, flag::salc::<S>),
        M::Nop
        | M::Pause
        | M::Endbr32
        | M::Endbr64
        | M::Lfence
        | M::Sfence
        | M::Prefetch
        | M::Prefetchw
        | M::Prefetchnta
        | M::Prefetcht0
        | M::Prefetcht1
        | M::Prefetcht2
        | M::Reservednop => hot!(p, false, false, flag::nop::<S>),
        M::Mfence => cold!(p, flag::mfence),
        M::Clflush | M::Clflushopt | M::Clwb => cold!(p, flag::clflush),
        _ => return Err(p),
    })
}
