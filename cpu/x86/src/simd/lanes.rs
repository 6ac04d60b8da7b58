//! Lanes, and the lane functions that treat each lane by itself: integer arithmetic, comparison
//! and logic.
//!
//! Source: SDM vol. 2, the instructions of the same names.

/// What a lane may be.
pub(crate) trait Lane: Copy + Default {
    /// Its bits.
    const BITS: u32;
    /// The lane that the low bits of `word` are.
    fn of(word: u64) -> Self;
    /// Its bits, zero-extended.
    fn bits(self) -> u64;
}

macro_rules! lane {
    ($($t:ty, $u:ty;)*) => {
        $(impl Lane for $t {
            const BITS: u32 = <$t>::BITS;
            #[inline(always)]
            fn of(word: u64) -> Self {
                word as $t
            }
            #[inline(always)]
            fn bits(self) -> u64 {
                u64::from(self as $u)
            }
        })*
    };
}
lane!(u8, u8; i8, u8; u16, u16; i16, u16; u32, u32; i32, u32; u64, u64; i64, u64;);

/// Lane `n`.
#[inline(always)]
pub(crate) fn lane<L: Lane, const Q: usize>(v: &[u64; Q], n: usize) -> L {
    let per_word = (64 / L::BITS) as usize;
    L::of(v[n / per_word] >> (n % per_word * L::BITS as usize))
}

/// Lanes from their numbers.
#[inline(always)]
pub(crate) fn build<L: Lane, const Q: usize>(mut f: impl FnMut(usize) -> L) -> [u64; Q] {
    let per_word = (64 / L::BITS) as usize;
    let mut out = [0; Q];
    for (q, word) in out.iter_mut().enumerate() {
        for k in 0..per_word {
            *word |= f(q * per_word + k).bits() << (k * L::BITS as usize);
        }
    }
    out
}

/// Each lane of `a` and `b` through `f`.
#[inline(always)]
pub(crate) fn map2<L: Lane, M: Lane, const Q: usize>(
    a: [u64; Q],
    b: [u64; Q],
    mut f: impl FnMut(L, L) -> M,
) -> [u64; Q] {
    build::<M, Q>(|n| f(lane(&a, n), lane(&b, n)))
}

/// Each lane of `a` through `f`.
#[inline(always)]
pub(crate) fn map<L: Lane, M: Lane, const Q: usize>(
    a: [u64; Q],
    mut f: impl FnMut(L) -> M,
) -> [u64; Q] {
    build::<M, Q>(|n| f(lane(&a, n)))
}

/// Bytes in the part of a register that shuffles, packs and the like keep to: 16, or 8 of MMX.
#[inline(always)]
pub(crate) const fn part(q: usize) -> usize {
    if q == 1 { 8 } else { 16 }
}

/// Functions of two lanes.
macro_rules! lanes {
    ($($(#[$doc:meta])* $name:ident: $t:ty, |$a:ident, $b:ident| $f:expr;)*) => {
        $($(#[$doc])*
        #[inline]
        pub(crate) fn $name<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
            map2(a, b, |$a: $t, $b: $t| $f)
        })*
    };
}

/// Functions of one lane.
macro_rules! single {
    ($($name:ident: $t:ty, |$a:ident| $f:expr;)*) => {
        $(#[inline]
        pub(crate) fn $name<const Q: usize>(a: [u64; Q]) -> [u64; Q] {
            map(a, |$a: $t| $f)
        })*
    };
}

/// `a` with its sign multiplied by that of `b`.
macro_rules! sign {
    ($a:expr, $b:expr) => {
        match $b.signum() {
            -1 => $a.wrapping_neg(),
            0 => 0,
            _ => $a,
        }
    };
}

lanes! {
    paddb: u8, |a, b| a.wrapping_add(b);
    paddw: u16, |a, b| a.wrapping_add(b);
    paddd: u32, |a, b| a.wrapping_add(b);
    paddq: u64, |a, b| a.wrapping_add(b);
    psubb: u8, |a, b| a.wrapping_sub(b);
    psubw: u16, |a, b| a.wrapping_sub(b);
    psubd: u32, |a, b| a.wrapping_sub(b);
    psubq: u64, |a, b| a.wrapping_sub(b);
    paddsb: i8, |a, b| a.saturating_add(b);
    paddsw: i16, |a, b| a.saturating_add(b);
    psubsb: i8, |a, b| a.saturating_sub(b);
    psubsw: i16, |a, b| a.saturating_sub(b);
    paddusb: u8, |a, b| a.saturating_add(b);
    paddusw: u16, |a, b| a.saturating_add(b);
    psubusb: u8, |a, b| a.saturating_sub(b);
    psubusw: u16, |a, b| a.saturating_sub(b);
    pavgb: u8, |a, b| ((u16::from(a) + u16::from(b) + 1) >> 1) as u8;
    pavgw: u16, |a, b| ((u32::from(a) + u32::from(b) + 1) >> 1) as u16;
    pminub: u8, |a, b| a.min(b);
    pminuw: u16, |a, b| a.min(b);
    pminud: u32, |a, b| a.min(b);
    pminsb: i8, |a, b| a.min(b);
    pminsw: i16, |a, b| a.min(b);
    pminsd: i32, |a, b| a.min(b);
    pmaxub: u8, |a, b| a.max(b);
    pmaxuw: u16, |a, b| a.max(b);
    pmaxud: u32, |a, b| a.max(b);
    pmaxsb: i8, |a, b| a.max(b);
    pmaxsw: i16, |a, b| a.max(b);
    pmaxsd: i32, |a, b| a.max(b);
    pcmpgtb: i8, |a, b| if a > b { -1i8 } else { 0 };
    pcmpgtw: i16, |a, b| if a > b { -1i16 } else { 0 };
    pcmpgtd: i32, |a, b| if a > b { -1i32 } else { 0 };
    pcmpgtq: i64, |a, b| if a > b { -1i64 } else { 0 };
    psignb: i8, |a, b| sign!(a, b);
    psignw: i16, |a, b| sign!(a, b);
    psignd: i32, |a, b| sign!(a, b);
    /// PAND, ANDPS, ANDPD.
    and: u64, |a, b| a & b;
    /// PANDN, ANDNPS, ANDNPD.
    and_not: u64, |a, b| !a & b;
    /// POR, ORPS, ORPD.
    or: u64, |a, b| a | b;
    /// PXOR, XORPS, XORPD.
    xor: u64, |a, b| a ^ b;
}

/// All ones in the lanes where `a` and `b` are equal.
#[inline(always)]
fn equal<L: Lane, const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    // Per word: the top bit of a lane stays clear only if the lane's difference is zero.
    let lanes = u64::MAX >> (64 - L::BITS);
    let top = (u64::MAX / lanes) << (L::BITS - 1);
    std::array::from_fn(|q| {
        let x = a[q] ^ b[q];
        let differs = ((x & !top) + !top) | x;
        ((!differs & top) >> (L::BITS - 1)) * lanes
    })
}

macro_rules! equal {
    ($($name:ident: $t:ty;)*) => {
        $(#[inline]
        pub(crate) fn $name<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
            equal::<$t, Q>(a, b)
        })*
    };
}

equal! {
    pcmpeqb: u8;
    pcmpeqw: u16;
    pcmpeqd: u32;
    pcmpeqq: u64;
}

single! {
    pabsb: i8, |a| a.unsigned_abs();
    pabsw: i16, |a| a.unsigned_abs();
    pabsd: i32, |a| a.unsigned_abs();
}
