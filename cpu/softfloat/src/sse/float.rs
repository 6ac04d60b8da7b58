//! The binary interchange formats.

/// A binary floating-point format, named by the integer that holds its bit pattern: `u32` is
/// binary32 and `u64` is binary64.
pub trait Float: Copy + Eq {}
impl Float for u32 {}
impl Float for u64 {}
