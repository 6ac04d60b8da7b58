//! The binary translator.

pub mod a64;
