//! The x86 instruction set: state, decoding and the meaning of every instruction.
#![forbid(unsafe_code)]
