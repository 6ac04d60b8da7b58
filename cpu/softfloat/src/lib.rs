//! IEEE 754 and x87 arithmetic in software: f32, f64 and 80-bit extended, by the rules of the x86.
//!
//! Values are bit patterns (`u32` is a binary32, `u64` a binary64, [`F80`] the 80-bit extended
//! format), never host floats, so the results are the same on every host. [`sse`] has the
//! operations on f32 and f64 with the NaN, DAZ and FTZ rules of SSE; [`x87`] has the operations
//! on F80 with the rules of the x87. Both take an [`Env`]: rounding, masks and the flags raised.
//!
//! Source: Intel SDM volume 1, chapters 4.8, 4.9, 8 and 11, and volume 2's instruction pages.
//!
//! # Use
//!
//! Make an [`Env`] for each instruction ([`Env::from_mxcsr`], [`Env::from_control_word`]), do the
//! operation on each element, merge [`Env::reported`] into MXCSR or the status word, then look at
//! [`Env::unmasked`]: when a [`Flags::PRE_COMPUTATION`] exception is in it, and for SSE when any
//! is, the instruction delivers no result and the values returned mean nothing. Flags only ever
//! accumulate; no operation reads them.
//!
//! ```
//! use trine_softfloat::{Env, Flags, sse};
//!
//! let mut env = Env::from_mxcsr(0x1f80);
//! let third: u32 = sse::div(&mut env, 0x3f80_0000, 0x4040_0000);
//! assert_eq!((third, env.reported()), (0x3eaa_aaab, Flags::PE));
//! ```
#![forbid(unsafe_code)]

mod env;
pub mod sse;
mod wide;
pub mod x87;

pub use env::{Env, Flags, Precision, Relation, Rounding};
pub use x87::F80;
