//! Integers wider than the host's: shifts that keep a sticky bit, and long division.

use crate::Rounding;

/// `x >> n` with the lowest bit set if any bit shifted out was.
#[inline(always)]
pub(crate) fn shift_right_jam(x: u64, n: u32) -> u64 {
    match n {
        0 => x,
        1..=63 => x >> n | u64::from(x << (64 - n) != 0),
        _ => u64::from(x != 0),
    }
}

/// `x >> n` with the lowest bit set if any bit shifted out was.
#[inline(always)]
pub(crate) fn shift_right_jam_128(x: u128, n: u32) -> u128 {
    match n {
        0 => x,
        1..=127 => x >> n | u128::from(x << (128 - n) != 0),
        _ => u128::from(x != 0),
    }
}

/// `hi * 2^64 / d` and the remainder, for `hi < d` and `d` with its top bit set.
///
/// Two steps of schoolbook division with 32-bit digits (Knuth volume 2, algorithm D): a 128-bit
/// `/` is a slow library call on most hosts.
#[inline]
pub(crate) fn divide_by_normalized(hi: u64, lo: u64, d: u64) -> (u64, u64) {
    debug_assert!(hi < d && d >> 63 == 1, "the divisor is normalized and larger");
    let (q1, r1) = digit(hi, lo >> 32, d);
    let (q0, r0) = digit(r1, lo & 0xffff_ffff, d);
    (q1 << 32 | q0, r0)
}

/// One 32-bit digit of `r * 2^32 + next` over `d`, and what remains.
#[inline(always)]
fn digit(r: u64, next: u64, d: u64) -> (u64, u64) {
    let (d1, d0) = (d >> 32, d & 0xffff_ffff);
    let mut q = r / d1;
    let mut rest = r % d1;
    // The estimate is at most two too large.
    while q >> 32 != 0 || q.wrapping_mul(d0) > (rest << 32 | next) {
        q -= 1;
        rest += d1;
        if rest >> 32 != 0 {
            break;
        }
    }
    let low = (r << 32 | next).wrapping_sub(q.wrapping_mul(d));
    (q, low)
}

/// `sig * 2^-dropped` rounded to an integer, and whether that was inexact. `dropped` is not zero,
/// and `sig` leaves the top bit free.
pub(crate) fn round_magnitude(
    rounding: Rounding,
    negative: bool,
    sig: u128,
    dropped: u32,
) -> (u128, bool) {
    // Two bits of fraction tell below, at and above a half.
    let quarters = match dropped {
        1 => sig << 1,
        _ => shift_right_jam_128(sig, dropped - 2),
    };
    let (kept, fraction) = (quarters >> 2, quarters & 3);
    let up = match rounding {
        Rounding::NearestEven => fraction > 2 || fraction == 2 && kept & 1 != 0,
        Rounding::Down => negative && fraction != 0,
        Rounding::Up => !negative && fraction != 0,
        Rounding::TowardZero => false,
    };
    (kept + u128::from(up), fraction != 0)
}
