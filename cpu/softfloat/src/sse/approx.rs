//! The approximations RCPSS and RSQRTSS.
//!
//! The SDM promises a relative error below 1.5 * 2^-12 and leaves the rest open. Intel processors
//! take the interval of the operand among 2048, and deliver the function of the interval's middle
//! rounded to 13 significant bits: checked for every interval against the hardware.

use super::float::{exponent, infinity, is_infinite, is_nan, is_negative, quiet, zero};
use crate::sse::Float;

/// The bits of the result's fraction below those that are looked up.
const DROPPED_BITS: u32 = 11;

/// RCPSS: an approximation of 1/x within 1.5 * 2^-12. Raises nothing; denormals count as zeros.
pub fn reciprocal(x: u32) -> u32 {
    if is_nan(x) {
        return quiet(x);
    }
    let negative = is_negative(x);
    if exponent(x) == 0 {
        return infinity(negative);
    }
    let exp = 2 * u32::BIAS - 1 - exponent(x);
    if is_infinite(x) || exp <= 0 {
        return zero(negative);
    }
    let interval = x >> 12 & 0x7ff;
    // 2^13 / (1 + (interval + 1/2) / 2^11), rounded.
    let divisor = 4096 + 2 * interval + 1;
    let value = ((1 << 26) + divisor) / (2 * divisor);
    x & 0x8000_0000 | (exp as u32) << 23 | (value & 0xfff) << DROPPED_BITS
}

/// RSQRTSS: an approximation of 1/sqrt(x) within 1.5 * 2^-12. Raises nothing; denormals count as
/// zeros.
pub fn reciprocal_sqrt(x: u32) -> u32 {
    if is_nan(x) {
        return quiet(x);
    }
    if exponent(x) == 0 {
        return infinity(is_negative(x));
    }
    if is_negative(x) {
        return u32::INDEFINITE as u32;
    }
    if is_infinite(x) {
        return 0;
    }
    let exp = exponent(x) - u32::BIAS;
    let odd = (exp & 1) as u32;
    let interval = u64::from(x >> 13 & 0x3ff);
    // 2^13 / sqrt((1 + (interval + 1/2) / 2^10) * 2^odd), with one bit more, then rounded.
    let square = (1u64 << 39) / ((2048 + 2 * interval + 1) << odd);
    let value = square.isqrt().div_ceil(2);
    let result_exp = (u32::BIAS - 1 - (exp >> 1)) as u32;
    result_exp << 23 | (value as u32 & 0xfff) << DROPPED_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_range() {
        // As an Intel processor gives them.
        for (x, rcp, rsqrt) in [
            (0x0000_0000, 0x7f80_0000, 0x7f80_0000),
            (0x8000_0001, 0xff80_0000, 0xff80_0000),
            (0x0080_0000, 0x7e7f_f000, 0x5eff_f000),
            (0x8080_0000, 0xfe7f_f000, 0xffc0_0000),
            (0x3f80_0000, 0x3f7f_f000, 0x3f7f_f000),
            (0x7e80_0000, 0x0000_0000, 0x1fff_f000),
            (0x7eff_ffff, 0x0000_0000, 0x1fb5_0800),
            (0x7f7f_ffff, 0x0000_0000, 0x1f80_0800),
            (0x7f80_0000, 0x0000_0000, 0x0000_0000),
            (0xff80_0000, 0x8000_0000, 0xffc0_0000),
            (0x7f80_0001, 0x7fc0_0001, 0x7fc0_0001),
        ] {
            assert_eq!(reciprocal(x), rcp, "rcp {x:08x}");
            assert_eq!(reciprocal_sqrt(x), rsqrt, "rsqrt {x:08x}");
        }
    }
}
