//! IEEE 754 and x87 arithmetic in software: f32, f64 and 80-bit extended.
#![forbid(unsafe_code)]
