//! The chips of a PC, one module each.
#![forbid(unsafe_code)]
