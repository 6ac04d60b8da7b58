//! AArch64 hosts.

pub mod asm;
