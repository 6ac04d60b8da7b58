//! Lane functions that move lanes about: shuffles, packs, unpacks, blends, extensions.
//!
//! Source: SDM vol. 2, the instructions of the same names.

use super::lanes::{Lane, build, lane, part};

/// The lanes of the low or high halves of `a` and `b` in turn, part by part.
#[inline(always)]
fn interleave<L: Lane, const Q: usize>(a: [u64; Q], b: [u64; Q], high: bool) -> [u64; Q] {
    let per_part = part(Q) / (L::BITS / 8) as usize;
    build::<L, Q>(|n| {
        let (start, k) = (n / per_part * per_part, n % per_part);
        let from = start + k / 2 + if high { per_part / 2 } else { 0 };
        lane(if k % 2 == 0 { &a } else { &b }, from)
    })
}

macro_rules! unpack {
    ($($name:ident: $t:ty, $high:literal;)*) => {
        $(#[inline]
        pub(crate) fn $name<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
            interleave::<$t, Q>(a, b, $high)
        })*
    };
}

unpack! {
    punpcklbw: u8, false;
    punpcklwd: u16, false;
    punpckldq: u32, false;
    punpcklqdq: u64, false;
    punpckhbw: u8, true;
    punpckhwd: u16, true;
    punpckhdq: u32, true;
    punpckhqdq: u64, true;
}

/// The lanes of `a`, then those of `b`, each saturated to half its width, part by part.
macro_rules! pack {
    ($($name:ident: $from:ty => $to:ty;)*) => {
        $(#[inline]
        pub(crate) fn $name<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
            let per_part = part(Q) / size_of::<$to>();
            build::<$to, Q>(|n| {
                let (start, k) = (n / per_part * per_part / 2, n % per_part);
                let half = per_part / 2;
                let (v, k) = if k < half { (&a, k) } else { (&b, k - half) };
                let value: $from = lane(v, start + k);
                value.clamp(<$to>::MIN.into(), <$to>::MAX.into()) as $to
            })
        })*
    };
}

pack! {
    packsswb: i16 => i8;
    packuswb: i16 => u8;
    packssdw: i32 => i16;
    packusdw: i32 => u16;
}

/// The bytes of `a` that `b` names; zero where bit 7 is set.
#[inline]
pub(crate) fn pshufb<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    let per_part = part(Q);
    build::<u8, Q>(|n| {
        let from: u8 = lane(&b, n);
        if from & 0x80 != 0 {
            return 0;
        }
        lane(&a, n / per_part * per_part + usize::from(from) % per_part)
    })
}

/// 16 (or 8) bytes of `a` above `b`, from byte `imm` up.
#[inline]
pub(crate) fn palignr<const Q: usize>(a: [u64; Q], b: [u64; Q], imm: u8) -> [u64; Q] {
    let per_part = part(Q);
    build::<u8, Q>(|n| {
        let (start, from) = (n / per_part * per_part, n % per_part + usize::from(imm));
        match from / per_part {
            0 => lane(&b, start + from),
            1 => lane(&a, start + from - per_part),
            _ => 0,
        }
    })
}

/// Field `n` of two bits.
#[inline(always)]
fn field(imm: u8, n: usize) -> usize {
    usize::from(imm >> (2 * (n % 4)) & 3)
}

/// Words that `imm` names, of each quadword.
#[inline]
pub(crate) fn pshufw<const Q: usize>(b: [u64; Q], imm: u8) -> [u64; Q] {
    build::<u16, Q>(|n| lane(&b, n / 4 * 4 + field(imm, n)))
}

/// As PSHUFW of the low quadwords; the high ones as they are.
#[inline]
pub(crate) fn pshuflw<const Q: usize>(b: [u64; Q], imm: u8) -> [u64; Q] {
    let shuffled = pshufw(b, imm);
    std::array::from_fn(|q| if q % 2 == 0 { shuffled[q] } else { b[q] })
}

/// As PSHUFW of the high quadwords; the low ones as they are.
#[inline]
pub(crate) fn pshufhw<const Q: usize>(b: [u64; Q], imm: u8) -> [u64; Q] {
    let shuffled = pshufw(b, imm);
    std::array::from_fn(|q| if q % 2 == 1 { shuffled[q] } else { b[q] })
}

/// Doublewords that `imm` names.
#[inline]
pub(crate) fn pshufd<const Q: usize>(b: [u64; Q], imm: u8) -> [u64; Q] {
    build::<u32, Q>(|n| lane(&b, n / 4 * 4 + field(imm, n)))
}

/// Two doublewords of `a`, two of `b`.
#[inline]
pub(crate) fn shufps<const Q: usize>(a: [u64; Q], b: [u64; Q], imm: u8) -> [u64; Q] {
    build::<u32, Q>(|n| lane(if n % 4 < 2 { &a } else { &b }, n / 4 * 4 + field(imm, n)))
}

/// A quadword of `a`, one of `b`. A wider register takes two more bits for each part.
#[inline]
pub(crate) fn shufpd<const Q: usize>(a: [u64; Q], b: [u64; Q], imm: u8) -> [u64; Q] {
    std::array::from_fn(|q| {
        let from = q / 2 * 2 + usize::from(imm >> q & 1);
        if q % 2 == 0 { a[from] } else { b[from] }
    })
}

/// Doublewords with even numbers, twice each.
#[inline]
pub(crate) fn movsldup<const Q: usize>(b: [u64; Q]) -> [u64; Q] {
    b.map(|word| (word & 0xffff_ffff) * 0x1_0000_0001)
}

/// Doublewords with odd numbers, twice each.
#[inline]
pub(crate) fn movshdup<const Q: usize>(b: [u64; Q]) -> [u64; Q] {
    b.map(|word| (word >> 32) * 0x1_0000_0001)
}

/// Lanes of `b` where the top bit of the mask's lane is set, else of `a`.
macro_rules! blend_variable {
    ($($name:ident: $t:ty;)*) => {
        $(#[inline]
        pub(crate) fn $name<const Q: usize>(a: [u64; Q], b: [u64; Q], mask: [u64; Q]) -> [u64; Q] {
            build::<$t, Q>(|n| {
                let chosen: $t = lane(&mask, n);
                lane(if chosen >> (<$t>::BITS - 1) != 0 { &b } else { &a }, n)
            })
        })*
    };
}

blend_variable! {
    pblendvb: u8;
    blendvps: u32;
    blendvpd: u64;
}

/// Lanes of `b` where the immediate's bit is set, else of `a`.
macro_rules! blend {
    ($($name:ident: $t:ty;)*) => {
        $(#[inline]
        pub(crate) fn $name<const Q: usize>(a: [u64; Q], b: [u64; Q], imm: u8) -> [u64; Q] {
            build::<$t, Q>(|n| lane(if imm >> (n % 8) & 1 != 0 { &b } else { &a }, n))
        })*
    };
}

blend! {
    pblendw: u16;
    blendps: u32;
    blendpd: u64;
}

/// The lowest lanes, made wider.
macro_rules! extend {
    ($($name:ident: $from:ty => $to:ty;)*) => {
        $(#[inline]
        pub(crate) fn $name<const Q: usize>(b: [u64; Q]) -> [u64; Q] {
            build::<$to, Q>(|n| <$to>::from(lane::<$from, Q>(&b, n)))
        })*
    };
}

extend! {
    pmovsxbw: i8 => i16;
    pmovsxbd: i8 => i32;
    pmovsxbq: i8 => i64;
    pmovsxwd: i16 => i32;
    pmovsxwq: i16 => i64;
    pmovsxdq: i32 => i64;
    pmovzxbw: u8 => u16;
    pmovzxbd: u8 => u32;
    pmovzxbq: u8 => u64;
    pmovzxwd: u16 => u32;
    pmovzxwq: u16 => u64;
    pmovzxdq: u32 => u64;
}

/// One bit for each lane: its top bit.
#[inline]
pub(crate) fn signs<L: Lane, const Q: usize>(v: [u64; Q]) -> u64 {
    let per_word = (64 / L::BITS) as usize;
    (0..Q).fold(0, |bits, q| {
        let word = if L::BITS == 8 {
            // The multiplication gathers bit 0 of byte n at bit 56 + n.
            ((v[q] >> 7 & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080)) >> 56
        } else {
            (0..per_word).fold(0, |b, n| b | (v[q] >> ((n + 1) * L::BITS as usize - 1) & 1) << n)
        };
        bits | word << (q * per_word)
    })
}
