//! Boot protocols and the tables a guest finds in memory: a description in, bytes out.
//!
//! A PC without a BIOS still has to give its guest what a BIOS would have left behind. This crate
//! writes that: from a [`Description`] of the board, plain data that the machine fills in, it makes
//! the bytes to place in RAM and the state in which the first CPU starts. It touches no RAM and
//! knows no CPU, no device and no host.
//!
//! - [`linux`] starts a Linux kernel: a bzImage by the Linux boot protocol, or an ELF `vmlinux` (or
//!   any other kernel with the note) by PVH, or any Multiboot image.
//! - [`tables`] writes what a guest looks for by itself: ACPI, MP and SMBIOS tables and the BIOS
//!   data area. [`linux`] includes them.
//! - [`firmware_files`] has the same for a firmware that places them itself.
//! - [`memory_map`] says which addresses are RAM, in the terms of the BIOS call E820.
//! - [`bios()`] starts a machine as hardware does, from a BIOS of our own in its ROM.
//! - [`demo`] is the demonstration guest that is built into the program.
//!
//! # Where things lie
//!
//! | address             | what                                                                 |
//! |---------------------|----------------------------------------------------------------------|
//! | `0x0`               | interrupt vectors of real mode                                       |
//! | `0x400`             | BIOS data area                                                       |
//! | `0x500`             | GDT for the entry in protected or long mode                          |
//! | `0x6000`            | PVH, Multiboot: start info, memory map, module list                  |
//! | `0x7000`            | Linux: `boot_params`, the "zero page"                                |
//! | `0x8000`–`0x9000`   | stack                                                                |
//! | `0x9000`–`0xf000`   | page tables: the first 4 GiB, one to one                             |
//! | `0x20000`           | command line                                                         |
//! | `0x9fc00`           | extended BIOS data area, 1 KiB, reserved                             |
//! | `0xe0000`           | ACPI tables except the RSDP; reserved                                |
//! | `0xf0000`           | RSDP, SMBIOS and MP anchors, where a scan for them looks; reserved   |
//! | above 1 MiB         | the kernel where its header wants it, the initrd as high as it may be |
#![forbid(unsafe_code)]

mod acpi;
mod bios;
mod boot;
pub mod demo;
mod description;
mod e820;
mod elf;
mod files;
mod font;
mod linux;
pub mod measure;
mod modules;
mod mp;
mod multiboot;
mod pir;
mod record;
mod rom;
mod smbios;
mod tables;
mod vectors;

#[cfg(test)]
mod board;

pub use acpi::waking_vector;
pub use bios::{BIOS_LEN, bios};
pub use boot::{Boot, BootError, Entry, EntryMode, Gdt};
pub use description::{
    Cpu, Description, Ecam, Hpet, InterruptOverride, IoApic, IoWindow, MemoryWindow, PciRoot,
    PciRoute, Polarity, PowerManagement, ResetRegister, SerialPort, Smbios, TextScreen, Trigger,
    VirtioWindow,
};
pub use e820::{MemoryKind, MemoryRange, memory_map};
pub use files::firmware_files;
pub use font::{FONT_8X8, FONT_8X14, FONT_8X16, Font};
pub use linux::linux;
pub use modules::Module;
pub use rom::{rom, rom_windows};
pub use tables::{Tables, tables};
