//! Tests that cross crates, and what they share.
#![forbid(unsafe_code)]

pub mod console;
pub mod folder;
pub mod hopper;
pub mod initramfs;
pub mod rom;
pub mod screen;
pub mod vmlinux;
