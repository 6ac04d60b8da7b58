//! 80-bit extended arithmetic by the rules of the x87.
//!
//! A NaN result follows SDM volume 1, table 4-7: the one with the larger significand, made quiet.
//! Encodings the x87 does not support (unnormals, pseudo-NaNs, pseudo-infinities) are invalid
//! operands. Each operation that rounds says in [`crate::Env::rounded_up`] what C1 becomes.
//! An unmasked overflow or underflow delivers the result with its exponent adjusted by 24576.
//!
//! Source: Intel SDM volume 1, chapter 8.

mod arctangent;
mod arith;
mod compare;
mod constants;
mod convert;
mod exponential;
mod f80;
mod logarithm;
mod remainder;
mod round;
mod scale;
mod trigonometric;
mod working;

pub use arctangent::arctangent;
pub use arith::{add, div, mul, round_to_integral, sqrt, sub};
pub use compare::{compare, compare_signalling};
pub use constants::{Constant, constant};
pub use convert::{
    from_bcd, from_f32, from_f64, from_i16, from_i32, from_i64, to_bcd, to_f32, to_f64, to_i16,
    to_i32, to_i64,
};
pub use exponential::exp2_minus_1;
pub use f80::{Class, F80, Operand};
pub use logarithm::{log2, log2_plus_1};
pub use remainder::{Remainder, remainder, remainder_nearest};
pub use scale::{extract, scale};
pub use trigonometric::{cosine, sine, sine_cosine, tangent};
