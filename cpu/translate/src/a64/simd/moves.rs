//! Moves: between registers and memory, and between vector and general registers.

use iced_x86::{Mnemonic as M, OpCodeOperandKind as K};
use trine_x86::Insn;

use super::{
    super::{
        T1,
        asm::{
            Arrangement::{B16, D2, H8, S4},
            Asm, Lane, Precision, Reg, Shift, Size,
        },
    },
    Operands, V, Way,
};

/// How `insn` is done, if it is a move.
pub(super) fn way(insn: &Insn) -> Option<Way> {
    let mnemonic = insn.code.mnemonic();
    if insn.is_memory(0) {
        return store(mnemonic);
    }
    if insn.has_memory()
        && let Some(way) = load(mnemonic)
    {
        return Some(way);
    }
    between(insn, mnemonic)
}

fn store(mnemonic: M) -> Option<Way> {
    Some(match mnemonic {
        M::Movups
        | M::Movupd
        | M::Movdqu
        | M::Movaps
        | M::Movapd
        | M::Movdqa
        | M::Movntps
        | M::Movntpd
        | M::Movntdq
        | M::Movss
        | M::Movsd
        | M::Movd
        | M::Movq
        | M::Movlps
        | M::Movlpd => Way::Store,
        M::Movhps | M::Movhpd => Way::StoreHigh,
        M::Pextrb => Way::ToMemory(|a, to, o| a.umov(to, o.s, Lane::B(u32::from(o.imm & 15)))),
        M::Pextrw => Way::ToMemory(|a, to, o| a.umov(to, o.s, Lane::H(u32::from(o.imm & 7)))),
        M::Pextrd | M::Extractps => {
            Way::ToMemory(|a, to, o| a.umov(to, o.s, Lane::S(u32::from(o.imm & 3))))
        }
        M::Pextrq => Way::ToMemory(|a, to, o| a.umov(to, o.s, Lane::D(u32::from(o.imm & 1)))),
        _ => return None,
    })
}

fn load(mnemonic: M) -> Option<Way> {
    Some(match mnemonic {
        M::Movups
        | M::Movupd
        | M::Movdqu
        | M::Lddqu
        | M::Movaps
        | M::Movapd
        | M::Movdqa
        | M::Movntdqa
        | M::Movss
        | M::Movsd
        | M::Movd
        | M::Movq => Way::Load,
        M::Movlps | M::Movlpd => Way::Vector(|a, o| a.ins_lane(o.d, Lane::D(0), o.s, Lane::D(0))),
        M::Movhps | M::Movhpd => Way::Vector(|a, o| a.ins_lane(o.d, Lane::D(1), o.s, Lane::D(0))),
        _ => return None,
    })
}

fn between(insn: &Insn, mnemonic: M) -> Option<Way> {
    let kinds = insn.code.op_code().op_kinds();
    let is_general = |n: usize| matches!(kinds[n], K::r32_or_mem | K::r64_or_mem);
    Some(match mnemonic {
        M::Movups | M::Movupd | M::Movdqu | M::Movaps | M::Movapd | M::Movdqa => {
            Way::Vector(|a, o| a.mov_v(o.d, o.s))
        }
        M::Movss => Way::Vector(|a, o| a.ins_lane(o.d, Lane::S(0), o.s, Lane::S(0))),
        M::Movsd => Way::Vector(|a, o| a.ins_lane(o.d, Lane::D(0), o.s, Lane::D(0))),
        M::Movhlps => Way::Vector(|a, o| a.ins_lane(o.d, Lane::D(0), o.s, Lane::D(1))),
        M::Movlhps => Way::Vector(|a, o| a.ins_lane(o.d, Lane::D(1), o.s, Lane::D(0))),
        M::Movddup => Way::Vector(|a, o| a.dup_lane(true, o.d, o.s, Lane::D(0))),
        M::Movsldup => Way::Vector(|a, o| a.trn1(S4, o.d, o.s, o.s)),
        M::Movshdup => Way::Vector(|a, o| a.trn2(S4, o.d, o.s, o.s)),
        M::Movd if is_general(1) => Way::From(|a, o, from| a.fmov_from_general(Size::W, o.d, from)),
        M::Movd => Way::To(|a, to, o| a.fmov_to_general(Size::W, to, o.s)),
        M::Movq if is_general(1) => Way::From(|a, o, from| a.fmov_from_general(Size::X, o.d, from)),
        M::Movq if is_general(0) => Way::To(|a, to, o| a.fmov_to_general(Size::X, to, o.s)),
        // The upper half becomes zero.
        M::Movq => Way::Vector(|a, o| a.fmov(Precision::D, o.d, o.s)),
        M::Pinsrb => Way::From(|a, o, from| a.ins(o.d, Lane::B(u32::from(o.imm & 15)), from)),
        M::Pinsrw => Way::From(|a, o, from| a.ins(o.d, Lane::H(u32::from(o.imm & 7)), from)),
        M::Pinsrd => Way::From(|a, o, from| a.ins(o.d, Lane::S(u32::from(o.imm & 3)), from)),
        M::Pinsrq => Way::From(|a, o, from| a.ins(o.d, Lane::D(u32::from(o.imm & 1)), from)),
        M::Pextrb => Way::To(|a, to, o| a.umov(to, o.s, Lane::B(u32::from(o.imm & 15)))),
        M::Pextrw => Way::To(|a, to, o| a.umov(to, o.s, Lane::H(u32::from(o.imm & 7)))),
        M::Pextrd | M::Extractps => {
            Way::To(|a, to, o| a.umov(to, o.s, Lane::S(u32::from(o.imm & 3))))
        }
        M::Pextrq => Way::To(|a, to, o| a.umov(to, o.s, Lane::D(u32::from(o.imm & 1)))),
        M::Pmovmskb => Way::To(mask_of_bytes),
        M::Movmskps => Way::To(|a, to, o| {
            a.ushr_v(S4, V[0], o.s, 31);
            a.usra_v(D2, V[0], V[0], 31);
            a.umov(to, V[0], Lane::B(0));
            a.umov(T1, V[0], Lane::B(8));
            a.orr_shifted(Size::W, to, to, T1, Shift::Lsl(2));
        }),
        M::Movmskpd => Way::To(|a, to, o| {
            a.ushr_v(D2, V[0], o.s, 63);
            a.umov(to, V[0], Lane::B(0));
            a.umov(T1, V[0], Lane::B(8));
            a.orr_shifted(Size::W, to, to, T1, Shift::Lsl(1));
        }),
        _ => return None,
    })
}

/// PMOVMSKB: the top bits of bytes are brought together by twos, fours and eights.
fn mask_of_bytes(a: &mut Asm, to: Reg, o: Operands) {
    a.ushr_v(B16, V[0], o.s, 7);
    a.usra_v(H8, V[0], V[0], 7);
    a.usra_v(S4, V[0], V[0], 14);
    a.usra_v(D2, V[0], V[0], 28);
    a.umov(to, V[0], Lane::B(0));
    a.umov(T1, V[0], Lane::B(8));
    a.orr_shifted(Size::W, to, to, T1, Shift::Lsl(8));
}
