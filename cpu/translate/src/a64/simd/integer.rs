//! Lanes of integers, and bitwise operations.

use iced_x86::{Mnemonic as M, OpCodeOperandKind as K};
use trine_x86::Insn;

use super::{
    super::{
        T0, T1,
        asm::{
            Arrangement::{B16, D2, H4, H8, S2, S4},
            Asm, Cond, Lane, LogicalImm, Reg, Shift, Size, VReg,
        },
    },
    Operands, V, Way,
};

/// The destination and the source, into the destination.
macro_rules! both {
    ($name:ident $lanes:ident) => {
        Way::Vector(|a, o| a.$name($lanes, o.d, o.d, o.s))
    };
}

/// The source alone.
macro_rules! one {
    ($name:ident $lanes:ident) => {
        Way::Vector(|a, o| a.$name($lanes, o.d, o.s))
    };
}

/// How `insn` is done, if it is one of these.
pub(super) fn way(insn: &Insn) -> Option<Way> {
    let mnemonic = insn.code.mnemonic();
    match insn.code.op_code().op_kinds().get(1) {
        Some(K::imm8) => shift_by_immediate(mnemonic),
        _ => plain(mnemonic).or_else(|| product(mnemonic)).or_else(|| shift(mnemonic)),
    }
}

/// Those that NEON has.
fn plain(mnemonic: M) -> Option<Way> {
    Some(match mnemonic {
        M::Pand | M::Andps | M::Andpd => both!(and_v B16),
        M::Por | M::Orps | M::Orpd => both!(orr_v B16),
        M::Pxor | M::Xorps | M::Xorpd => both!(eor_v B16),
        M::Pandn | M::Andnps | M::Andnpd => Way::Vector(|a, o| a.bic_v(B16, o.d, o.s, o.d)),
        M::Paddb => both!(add_v B16),
        M::Paddw => both!(add_v H8),
        M::Paddd => both!(add_v S4),
        M::Paddq => both!(add_v D2),
        M::Psubb => both!(sub_v B16),
        M::Psubw => both!(sub_v H8),
        M::Psubd => both!(sub_v S4),
        M::Psubq => both!(sub_v D2),
        M::Paddsb => both!(sqadd_v B16),
        M::Paddsw => both!(sqadd_v H8),
        M::Paddusb => both!(uqadd_v B16),
        M::Paddusw => both!(uqadd_v H8),
        M::Psubsb => both!(sqsub_v B16),
        M::Psubsw => both!(sqsub_v H8),
        M::Psubusb => both!(uqsub_v B16),
        M::Psubusw => both!(uqsub_v H8),
        M::Pcmpeqb => both!(cmeq_v B16),
        M::Pcmpeqw => both!(cmeq_v H8),
        M::Pcmpeqd => both!(cmeq_v S4),
        M::Pcmpeqq => both!(cmeq_v D2),
        M::Pcmpgtb => both!(cmgt_v B16),
        M::Pcmpgtw => both!(cmgt_v H8),
        M::Pcmpgtd => both!(cmgt_v S4),
        M::Pcmpgtq => both!(cmgt_v D2),
        M::Pminub => both!(umin_v B16),
        M::Pminuw => both!(umin_v H8),
        M::Pminud => both!(umin_v S4),
        M::Pminsb => both!(smin_v B16),
        M::Pminsw => both!(smin_v H8),
        M::Pminsd => both!(smin_v S4),
        M::Pmaxub => both!(umax_v B16),
        M::Pmaxuw => both!(umax_v H8),
        M::Pmaxud => both!(umax_v S4),
        M::Pmaxsb => both!(smax_v B16),
        M::Pmaxsw => both!(smax_v H8),
        M::Pmaxsd => both!(smax_v S4),
        M::Pavgb => both!(urhadd_v B16),
        M::Pavgw => both!(urhadd_v H8),
        M::Phaddw => both!(addp_v H8),
        M::Phaddd => both!(addp_v S4),
        M::Pabsb => one!(abs_v B16),
        M::Pabsw => one!(abs_v H8),
        M::Pabsd => one!(abs_v S4),
        M::Ptest => Way::Test(test),
        _ => return None,
    })
}

/// Products, and sums of several lanes.
fn product(mnemonic: M) -> Option<Way> {
    Some(match mnemonic {
        M::Pmullw => both!(mul_v H8),
        M::Pmulld => both!(mul_v S4),
        M::Pmulhw => Way::Vector(|a, o| {
            a.smull_v(H4, V[0], o.d, o.s);
            a.smull_v(H8, V[1], o.d, o.s);
            a.uzp2(H8, o.d, V[0], V[1]);
        }),
        M::Pmulhuw => Way::Vector(|a, o| {
            a.umull_v(H4, V[0], o.d, o.s);
            a.umull_v(H8, V[1], o.d, o.s);
            a.uzp2(H8, o.d, V[0], V[1]);
        }),
        M::Pmaddwd => Way::Vector(|a, o| {
            a.smull_v(H4, V[0], o.d, o.s);
            a.smull_v(H8, V[1], o.d, o.s);
            a.addp_v(S4, o.d, V[0], V[1]);
        }),
        M::Pmuludq => Way::Vector(|a, o| {
            a.xtn(S2, V[0], o.d);
            a.xtn(S2, V[1], o.s);
            a.umull_v(S2, o.d, V[0], V[1]);
        }),
        M::Pmuldq => Way::Vector(|a, o| {
            a.xtn(S2, V[0], o.d);
            a.xtn(S2, V[1], o.s);
            a.smull_v(S2, o.d, V[0], V[1]);
        }),
        M::Psadbw => Way::Vector(|a, o| {
            a.uabd_v(B16, V[0], o.d, o.s);
            a.uaddlp(B16, V[0], V[0]);
            a.uaddlp(H8, V[0], V[0]);
            a.uaddlp(S4, o.d, V[0]);
        }),
        _ => return None,
    })
}

/// PTEST: ZF is whether no bit is common, CF whether the source has none that the destination has
/// not.
fn test(a: &mut Asm, to: Reg, o: Operands) {
    a.and_v(B16, V[0], o.d, o.s);
    a.bic_v(B16, V[1], o.s, o.d);
    for (v, to) in [(V[0], T0), (V[1], to)] {
        a.umaxv(S4, v, v);
        a.fmov_to_general(Size::W, to, v);
    }
    let zero = super::super::twelve(0);
    a.cmp_imm(Size::W, to, zero);
    a.cset(Size::W, to, Cond::Eq);
    a.cmp_imm(Size::W, T0, zero);
    a.cset(Size::W, T0, Cond::Eq);
    a.orr_shifted(Size::W, to, to, T0, Shift::Lsl(trine_x86::rflags::ZF.trailing_zeros()));
}

type Lanes = super::super::asm::Arrangement;

fn left(a: &mut Asm, lanes: Lanes, bits: u32, o: Operands) {
    match u32::from(o.imm) {
        by if by < bits => a.shl_v(lanes, o.d, o.d, by),
        _ => a.movi_zero(o.d),
    }
}

fn right(a: &mut Asm, lanes: Lanes, bits: u32, o: Operands) {
    match u32::from(o.imm) {
        0 => {}
        by if by < bits => a.ushr_v(lanes, o.d, o.d, by),
        _ => a.movi_zero(o.d),
    }
}

fn right_signed(a: &mut Asm, lanes: Lanes, bits: u32, o: Operands) {
    match u32::from(o.imm) {
        0 => {}
        by => a.sshr_v(lanes, o.d, o.d, by.min(bits)),
    }
}

fn shift_by_immediate(mnemonic: M) -> Option<Way> {
    Some(match mnemonic {
        M::Psllw => Way::Vector(|a, o| left(a, H8, 16, o)),
        M::Pslld => Way::Vector(|a, o| left(a, S4, 32, o)),
        M::Psllq => Way::Vector(|a, o| left(a, D2, 64, o)),
        M::Psrlw => Way::Vector(|a, o| right(a, H8, 16, o)),
        M::Psrld => Way::Vector(|a, o| right(a, S4, 32, o)),
        M::Psrlq => Way::Vector(|a, o| right(a, D2, 64, o)),
        M::Psraw => Way::Vector(|a, o| right_signed(a, H8, 16, o)),
        M::Psrad => Way::Vector(|a, o| right_signed(a, S4, 32, o)),
        M::Pslldq => Way::Vector(|a, o| match u32::from(o.imm) {
            0 => {}
            by @ 1..16 => {
                a.movi_zero(V[0]);
                a.ext(o.d, V[0], o.d, 16 - by);
            }
            _ => a.movi_zero(o.d),
        }),
        M::Psrldq => Way::Vector(|a, o| match u32::from(o.imm) {
            by @ 0..16 => {
                a.movi_zero(V[0]);
                a.ext(o.d, o.d, V[0], by);
            }
            _ => a.movi_zero(o.d),
        }),
        _ => return None,
    })
}

/// The count in the low 64 bits of the source, in all lanes, of which shifts look at the lowest
/// byte: as it is or, `right`, its negative. Above 127 it is 127, which is as far.
fn count(a: &mut Asm, lanes: Lanes, right: bool, s: VReg) -> VReg {
    a.umov(T0, s, Lane::D(0));
    a.lsr_imm(Size::X, T1, T0, 7);
    a.neg(Size::X, T1, T1);
    a.orr_shifted(Size::X, T0, T0, T1, Shift::Asr(63));
    a.and_imm(Size::X, T0, T0, LogicalImm::new(Size::X, 127).expect("a run of ones"));
    if right {
        a.neg(Size::X, T0, T0);
    }
    a.dup(lanes, V[0], T0);
    V[0]
}

/// Shifts by a count that is in a vector register.
fn shift(mnemonic: M) -> Option<Way> {
    macro_rules! shift {
        ($name:ident $lanes:ident $right:literal) => {
            Way::Vector(|a, o| {
                let by = count(a, $lanes, $right, o.s);
                a.$name($lanes, o.d, o.d, by);
            })
        };
    }
    Some(match mnemonic {
        M::Psllw => shift!(ushl_v H8 false),
        M::Pslld => shift!(ushl_v S4 false),
        M::Psllq => shift!(ushl_v D2 false),
        M::Psrlw => shift!(ushl_v H8 true),
        M::Psrld => shift!(ushl_v S4 true),
        M::Psrlq => shift!(ushl_v D2 true),
        M::Psraw => shift!(sshl_v H8 true),
        M::Psrad => shift!(sshl_v S4 true),
        _ => return None,
    })
}
