//! Lanes in another order, of another width, or from two registers.

use iced_x86::Mnemonic as M;
use trine_x86::Insn;

use super::{
    super::{
        T0,
        asm::{
            Arrangement::{self, B8, B16, D2, H4, H8, S2, S4},
            Asm, Lane, Size, VReg,
        },
    },
    Operands, V, Way, xmm,
};

/// The destination and the source, into the destination.
macro_rules! both {
    ($name:ident $lanes:ident) => {
        Way::Vector(|a, o| a.$name($lanes, o.d, o.d, o.s))
    };
}

/// The destination's lanes, then the source's, half as wide.
macro_rules! pack {
    ($name:ident $low:ident $high:ident) => {
        Way::Vector(|a, o| {
            a.$name($low, V[0], o.d);
            a.$name($high, V[0], o.s);
            a.mov_v(o.d, V[0]);
        })
    };
}

/// How `insn` is done, if it is one of these.
pub(super) fn way(insn: &Insn) -> Option<Way> {
    let mnemonic = insn.code.mnemonic();
    Some(match mnemonic {
        M::Punpcklbw => both!(zip1 B16),
        M::Punpcklwd => both!(zip1 H8),
        M::Punpckldq | M::Unpcklps => both!(zip1 S4),
        M::Punpcklqdq | M::Unpcklpd => both!(zip1 D2),
        M::Punpckhbw => both!(zip2 B16),
        M::Punpckhwd => both!(zip2 H8),
        M::Punpckhdq | M::Unpckhps => both!(zip2 S4),
        M::Punpckhqdq | M::Unpckhpd => both!(zip2 D2),
        M::Pshufd => Way::Vector(pshufd),
        M::Pshuflw => Way::Vector(|a, o| halves(a, o, 0)),
        M::Pshufhw => Way::Vector(|a, o| halves(a, o, 4)),
        M::Shufps => Way::Vector(shufps),
        M::Shufpd => Way::Vector(|a, o| {
            a.dup_lane(true, V[0], o.d, Lane::D(u32::from(o.imm & 1)));
            a.ins_lane(V[0], Lane::D(1), o.s, Lane::D(u32::from(o.imm >> 1 & 1)));
            a.mov_v(o.d, V[0]);
        }),
        M::Pshufb => Way::Vector(|a, o| {
            // A number with the top bit is beyond all bytes, another counts modulo 16.
            a.mov_imm(Size::W, T0, 0x8f);
            a.dup(B16, V[0], T0);
            a.and_v(B16, V[0], V[0], o.s);
            a.tbl(B16, o.d, o.d, V[0]);
        }),
        M::Palignr => Way::Vector(palignr),
        M::Packsswb => pack!(sqxtn B8 B16),
        M::Packssdw => pack!(sqxtn H4 H8),
        M::Packuswb => pack!(sqxtun B8 B16),
        M::Packusdw => pack!(sqxtun H4 H8),
        M::Pmovsxbw => Way::Vector(|a, o| extend(a, o, true, &[B8])),
        M::Pmovsxbd => Way::Vector(|a, o| extend(a, o, true, &[B8, H4])),
        M::Pmovsxbq => Way::Vector(|a, o| extend(a, o, true, &[B8, H4, S2])),
        M::Pmovsxwd => Way::Vector(|a, o| extend(a, o, true, &[H4])),
        M::Pmovsxwq => Way::Vector(|a, o| extend(a, o, true, &[H4, S2])),
        M::Pmovsxdq => Way::Vector(|a, o| extend(a, o, true, &[S2])),
        M::Pmovzxbw => Way::Vector(|a, o| extend(a, o, false, &[B8])),
        M::Pmovzxbd => Way::Vector(|a, o| extend(a, o, false, &[B8, H4])),
        M::Pmovzxbq => Way::Vector(|a, o| extend(a, o, false, &[B8, H4, S2])),
        M::Pmovzxwd => Way::Vector(|a, o| extend(a, o, false, &[H4])),
        M::Pmovzxwq => Way::Vector(|a, o| extend(a, o, false, &[H4, S2])),
        M::Pmovzxdq => Way::Vector(|a, o| extend(a, o, false, &[S2])),
        M::Pblendw => Way::Vector(|a, o| blend(a, o, 8, Lane::H)),
        M::Blendps => Way::Vector(|a, o| blend(a, o, 4, Lane::S)),
        M::Blendpd => Way::Vector(|a, o| blend(a, o, 2, Lane::D)),
        M::Pblendvb => Way::Vector(|a, o| choose(a, o, B16)),
        M::Blendvps => Way::Vector(|a, o| choose(a, o, S4)),
        M::Blendvpd => Way::Vector(|a, o| choose(a, o, D2)),
        _ => return None,
    })
}

/// Two bits of an immediate.
fn two_bits(imm: u8, n: u32) -> u32 {
    u32::from(imm >> (2 * n) & 3)
}

/// The source, in another register if it is the destination.
fn apart(a: &mut Asm, o: Operands) -> VReg {
    if o.s != o.d {
        return o.s;
    }
    a.mov_v(V[0], o.s);
    V[0]
}

fn pshufd(a: &mut Asm, o: Operands) {
    match o.imm {
        0x44 => return a.zip1(D2, o.d, o.s, o.s),
        0xee => return a.zip2(D2, o.d, o.s, o.s),
        0x50 => return a.zip1(S4, o.d, o.s, o.s),
        0xfa => return a.zip2(S4, o.d, o.s, o.s),
        0xa0 => return a.trn1(S4, o.d, o.s, o.s),
        0xf5 => return a.trn2(S4, o.d, o.s, o.s),
        0xb1 => return a.rev64_v(S4, o.d, o.s),
        // Lanes that follow each other, in a circle.
        0xe4 | 0x39 | 0x4e | 0x93 => return a.ext(o.d, o.s, o.s, 4 * two_bits(o.imm, 0)),
        _ => {}
    }
    let first = two_bits(o.imm, 0);
    let others = (1..4).map(|n| (n, two_bits(o.imm, n))).filter(|(_, from)| *from != first);
    let s = if others.clone().next().is_some() { apart(a, o) } else { o.s };
    a.dup_lane(true, o.d, s, Lane::S(first));
    others.for_each(|(n, from)| a.ins_lane(o.d, Lane::S(n), s, Lane::S(from)));
}

/// PSHUFLW, and from lane 4 on PSHUFHW.
fn halves(a: &mut Asm, o: Operands, base: u32) {
    let s = apart(a, o);
    if s == o.s {
        a.mov_v(o.d, s);
    }
    for (n, from) in (0..4).map(|n| (n, two_bits(o.imm, n))).filter(|(n, from)| n != from) {
        a.ins_lane(o.d, Lane::H(base + n), s, Lane::H(base + from));
    }
}

fn shufps(a: &mut Asm, o: Operands) {
    match o.imm {
        0x44 => return a.zip1(D2, o.d, o.d, o.s),
        0xee => return a.zip2(D2, o.d, o.d, o.s),
        0x88 => return a.uzp1(S4, o.d, o.d, o.s),
        0xdd => return a.uzp2(S4, o.d, o.d, o.s),
        _ if o.d == o.s => return pshufd(a, o),
        _ => {}
    }
    let from = |n| Lane::S(two_bits(o.imm, n));
    a.dup_lane(true, V[0], o.d, from(0));
    a.ins_lane(V[0], Lane::S(1), o.d, from(1));
    a.ins_lane(V[0], Lane::S(2), o.s, from(2));
    a.ins_lane(V[0], Lane::S(3), o.s, from(3));
    a.mov_v(o.d, V[0]);
}

fn palignr(a: &mut Asm, o: Operands) {
    match u32::from(o.imm) {
        by @ 0..16 => a.ext(o.d, o.s, o.d, by),
        by @ 16..32 => {
            a.movi_zero(V[0]);
            a.ext(o.d, o.d, V[0], by - 16);
        }
        _ => a.movi_zero(o.d),
    }
}

/// The lowest lanes, wider and wider.
fn extend(a: &mut Asm, o: Operands, signed: bool, lanes: &[Arrangement]) {
    let mut from = o.s;
    for lanes in lanes {
        match signed {
            true => a.sshll(*lanes, o.d, from, 0),
            false => a.ushll(*lanes, o.d, from, 0),
        }
        from = o.d;
    }
}

/// Lanes of the source where the immediate has a bit.
fn blend(a: &mut Asm, o: Operands, lanes: u32, lane: fn(u32) -> Lane) {
    for n in (0..lanes).filter(|n| o.imm >> n & 1 != 0) {
        a.ins_lane(o.d, lane(n), o.s, lane(n));
    }
}

/// Lanes of the source where XMM0 is negative.
fn choose(a: &mut Asm, o: Operands, lanes: Arrangement) {
    a.cmlt_zero(lanes, V[0], xmm(0));
    a.bit_v(B16, o.d, o.s, V[0]);
}
