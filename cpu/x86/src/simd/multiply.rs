//! Lane functions that multiply, and those that add across lanes.
//!
//! Source: SDM vol. 2, the instructions of the same names.

use super::lanes::{build, lane, map2, part};

/// The low half of each product.
#[inline]
pub(crate) fn pmullw<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    map2(a, b, |a: u16, b: u16| a.wrapping_mul(b))
}

/// The high half of each signed product.
#[inline]
pub(crate) fn pmulhw<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    map2(a, b, |a: i16, b: i16| ((i32::from(a) * i32::from(b)) >> 16) as i16)
}

/// The high half of each unsigned product.
#[inline]
pub(crate) fn pmulhuw<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    map2(a, b, |a: u16, b: u16| ((u32::from(a) * u32::from(b)) >> 16) as u16)
}

/// Each product of 1.15 fixed-point numbers, rounded.
#[inline]
pub(crate) fn pmulhrsw<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    map2(a, b, |a: i16, b: i16| ((((i32::from(a) * i32::from(b)) >> 14) + 1) >> 1) as i16)
}

/// The low half of each product.
#[inline]
pub(crate) fn pmulld<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    map2(a, b, |a: u32, b: u32| a.wrapping_mul(b))
}

/// The product of the low halves of each quadword.
#[inline]
pub(crate) fn pmuludq<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    map2(a, b, |a: u64, b: u64| (a & 0xffff_ffff) * (b & 0xffff_ffff))
}

/// The signed product of the low halves of each quadword.
#[inline]
pub(crate) fn pmuldq<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    map2(a, b, |a: i64, b: i64| i64::from(a as i32) * i64::from(b as i32))
}

/// The sum of two products for each doubleword.
#[inline]
pub(crate) fn pmaddwd<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    build(|n| {
        let product = |n| i32::from(lane::<i16, Q>(&a, n)) * i32::from(lane::<i16, Q>(&b, n));
        product(2 * n).wrapping_add(product(2 * n + 1))
    })
}

/// The saturated sum of two products, unsigned by signed, for each word.
#[inline]
pub(crate) fn pmaddubsw<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    build(|n| {
        let product = |n| i16::from(lane::<u8, Q>(&a, n)).wrapping_mul(lane::<i8, Q>(&b, n).into());
        product(2 * n).saturating_add(product(2 * n + 1))
    })
}

/// The sum of absolute differences of the bytes of each quadword.
#[inline]
pub(crate) fn psadbw<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    std::array::from_fn(|q| {
        let bytes = a[q].to_le_bytes().into_iter().zip(b[q].to_le_bytes());
        bytes.map(|(a, b)| u64::from(a.abs_diff(b))).sum()
    })
}

/// Eight sums of four absolute differences: of four bytes of `b` and of eight places in `a`.
pub(crate) fn mpsadbw<const Q: usize>(a: [u64; Q], b: [u64; Q], imm: u8) -> [u64; Q] {
    build(|n| {
        // Each part of a wider register has three bits of its own.
        let (start, n) = (n / 8 * 16, n % 8);
        let imm = usize::from(imm) >> (start / 16 * 3);
        let (of_a, of_b) = (start + (imm >> 2 & 1) * 4 + n, start + (imm & 3) * 4);
        (0..4)
            .map(|k| {
                let (a, b): (u8, u8) = (lane(&a, of_a + k), lane(&b, of_b + k));
                u16::from(a.abs_diff(b))
            })
            .sum::<u16>()
    })
}

/// The least unsigned word and its place.
pub(crate) fn phminposuw(b: [u64; 2]) -> [u64; 2] {
    let mut least = (u16::MAX, 0);
    for n in 0..8 {
        let word: u16 = lane(&b, n);
        if word < least.0 {
            least = (word, n as u64);
        }
    }
    [u64::from(least.0) | least.1 << 16, 0]
}

/// Neighbours of `a`, then neighbours of `b`, through a function, part by part.
macro_rules! horizontal {
    ($($name:ident: $t:ty, $f:ident;)*) => {
        $(#[inline]
        pub(crate) fn $name<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
            let per_part = part(Q) / size_of::<$t>();
            build::<$t, Q>(|n| {
                let (start, k) = (n / per_part * per_part, n % per_part);
                let (v, k) = if k < per_part / 2 { (&a, k) } else { (&b, k - per_part / 2) };
                let (x, y): ($t, $t) = (lane(v, start + 2 * k), lane(v, start + 2 * k + 1));
                x.$f(y)
            })
        })*
    };
}

horizontal! {
    phaddw: u16, wrapping_add;
    phaddd: u32, wrapping_add;
    phaddsw: i16, saturating_add;
    phsubw: u16, wrapping_sub;
    phsubd: u32, wrapping_sub;
    phsubsw: i16, saturating_sub;
}

/// VPDPBUSD and, `SATURATE`, VPDPBUSDS: four products, unsigned by signed, added to each
/// doubleword of `sum`.
pub(crate) fn vpdpbusd<const Q: usize, const SATURATE: bool>(
    sum: [u64; Q],
    a: [u64; Q],
    b: [u64; Q],
) -> [u64; Q] {
    accumulate::<Q, SATURATE>(sum, |n| {
        let product = |k| i32::from(lane::<u8, Q>(&a, k)) * i32::from(lane::<i8, Q>(&b, k));
        (4 * n..4 * n + 4).map(|k| i64::from(product(k))).sum()
    })
}

/// VPDPWSSD and, `SATURATE`, VPDPWSSDS: two signed products added to each doubleword of `sum`.
pub(crate) fn vpdpwssd<const Q: usize, const SATURATE: bool>(
    sum: [u64; Q],
    a: [u64; Q],
    b: [u64; Q],
) -> [u64; Q] {
    accumulate::<Q, SATURATE>(sum, |n| {
        let product = |k| i64::from(lane::<i16, Q>(&a, k)) * i64::from(lane::<i16, Q>(&b, k));
        product(2 * n) + product(2 * n + 1)
    })
}

/// What `f` gives for each doubleword, added to that of `sum`.
#[inline(always)]
fn accumulate<const Q: usize, const SATURATE: bool>(
    sum: [u64; Q],
    f: impl Fn(usize) -> i64,
) -> [u64; Q] {
    build::<i32, Q>(|n| {
        let total = i64::from(lane::<i32, Q>(&sum, n)) + f(n);
        if SATURATE { total.clamp(i32::MIN.into(), i32::MAX.into()) as i32 } else { total as i32 }
    })
}
