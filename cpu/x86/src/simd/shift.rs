//! Lane functions that shift.
//!
//! Source: SDM vol. 2B, PSLLW to PSRLDQ; vol. 2C, VPSLLVD to VPSRLVQ.

use super::lanes::{Lane, map, map2};

/// Shifts that give zeros when the count is the lane's width or more.
macro_rules! logical {
    ($($name:ident: $t:ty, $f:ident;)*) => {
        $(#[inline]
        pub(crate) fn $name<const Q: usize>(a: [u64; Q], count: u64) -> [u64; Q] {
            if count >= u64::from(<$t as Lane>::BITS) {
                return [0; Q];
            }
            map(a, |a: $t| a.$f(count as u32))
        })*
    };
}

logical! {
    psllw: u16, wrapping_shl;
    pslld: u32, wrapping_shl;
    psllq: u64, wrapping_shl;
    psrlw: u16, wrapping_shr;
    psrld: u32, wrapping_shr;
    psrlq: u64, wrapping_shr;
}

/// Shifts that give signs when the count is the lane's width or more.
macro_rules! arithmetic {
    ($($name:ident: $t:ty;)*) => {
        $(#[inline]
        pub(crate) fn $name<const Q: usize>(a: [u64; Q], count: u64) -> [u64; Q] {
            let count = count.min(u64::from(<$t as Lane>::BITS - 1)) as u32;
            map(a, |a: $t| a >> count)
        })*
    };
}

arithmetic! {
    psraw: i16;
    psrad: i32;
}

/// Each 16 bytes as a number through `f`.
#[inline(always)]
fn parts<const Q: usize>(a: [u64; Q], f: impl Fn(u128) -> u128) -> [u64; Q] {
    let mut out = a;
    for part in out.chunks_exact_mut(2) {
        let value = f(u128::from(part[0]) | u128::from(part[1]) << 64);
        part[0] = value as u64;
        part[1] = (value >> 64) as u64;
    }
    out
}

/// Bytes up, in each 16.
#[inline]
pub(crate) fn pslldq<const Q: usize>(a: [u64; Q], count: u64) -> [u64; Q] {
    parts(a, |v| v.checked_shl(8 * count as u32).unwrap_or(0))
}

/// Bytes down, in each 16.
#[inline]
pub(crate) fn psrldq<const Q: usize>(a: [u64; Q], count: u64) -> [u64; Q] {
    parts(a, |v| v.checked_shr(8 * count as u32).unwrap_or(0))
}

/// Shifts of each lane by its own count.
macro_rules! variable {
    ($($name:ident: $t:ty, |$a:ident, $count:ident| $f:expr;)*) => {
        $(#[inline]
        pub(crate) fn $name<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
            map2(a, b, |$a: $t, $count: $t| $f)
        })*
    };
}

variable! {
    vpsllvd: u32, |a, n| a.checked_shl(n).unwrap_or(0);
    vpsllvq: u64, |a, n| if n < 64 { a << n } else { 0 };
    vpsrlvd: u32, |a, n| a.checked_shr(n).unwrap_or(0);
    vpsrlvq: u64, |a, n| if n < 64 { a >> n } else { 0 };
    vpsravd: i32, |a, n| a >> (n as u32).min(31);
}
