//! Tests that cross crates, and what they share.
#![forbid(unsafe_code)]

pub mod console;
pub mod folder;
pub mod grub;
pub mod hopper;
pub mod initramfs;
pub mod rom;
pub mod screen;
pub mod seat;
pub mod tftp;
pub mod vmlinux;
