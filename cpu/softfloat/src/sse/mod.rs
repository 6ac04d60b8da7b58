//! f32 and f64 arithmetic by the rules of SSE, written once over [`Float`].
//!
//! A NaN result is the first operand that is a NaN, made quiet, or the real indefinite where no
//! operand is one. `env.daz` and `env.ftz` are obeyed as each instruction obeys them.
//!
//! Source: Intel SDM volume 1, sections 4.8.3.5, 4.9.2, 10.2.3 and 11.5.

mod approx;
mod arith;
mod compare;
mod convert;
pub(crate) mod float;

pub use approx::{reciprocal, reciprocal_sqrt};
pub use arith::{add, div, mul, mul_add, sqrt, sub};
pub use compare::{compare, compare_signalling, max, min};
pub use convert::{
    f16_to_f32, f32_to_f16, f32_to_f64, f64_to_f32, from_i32, from_i64, round_to_integral, to_i32,
    to_i64,
};
pub use float::Float;
