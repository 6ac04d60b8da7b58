//! Starting a kernel, of Linux or another: what kind of file it is, and where the parts go.
//!
//! Sources: the kernel's `Documentation/arch/x86/boot.rst` for a bzImage, Xen's `docs/misc/pvh` and
//! `public/arch-x86/hvm/start_info.h` for an ELF file with a PVH note,
//! the Multiboot Specifications 0.6.96 and 2.0 for a Multiboot image.

mod bzimage;
mod pvh;

#[cfg(test)]
mod tests;

use trine_guest::Gpa;

use crate::{
    boot::{Boot, BootError, EntryMode},
    description::Description,
    modules::{Module, initrd},
    multiboot,
};

/// Where the command line is placed.
const CMDLINE_AT: Gpa = Gpa(0x2_0000);
/// The longest command line that there is room for, without the zero at its end.
pub(crate) const CMDLINE_ROOM: u64 = 0xffff;

/// What starts `kernel` on `machine`: a bzImage by the Linux boot protocol, a Multiboot image by its
/// header, or an ELF file by PVH, with the tables of [`tables`](crate::tables). `modules` are what makes
/// up the initrd.
///
/// The kernel unpacks itself in the guest, so any compression will do.
///
/// # Errors
/// A damaged, truncated or unsuitable file, or one that does not fit: see [`BootError`].
pub fn linux(
    kernel: &[u8],
    modules: &[Module],
    cmdline: &str,
    machine: &Description,
    cpu: EntryMode,
) -> Result<Boot, BootError> {
    machine.check()?;
    match Kind::of(kernel)? {
        Kind::Multiboot(header) => multiboot::boot(kernel, header, modules, cmdline, machine),
        Kind::BzImage => bzimage::boot(kernel, &initrd(modules)?, cmdline, machine, cpu),
        Kind::Elf => pvh::boot(kernel, modules, cmdline, machine, cpu),
    }
}

/// A kind of kernel file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    BzImage,
    Multiboot(multiboot::Header),
    Elf,
}

impl Kind {
    fn of(file: &[u8]) -> Result<Self, BootError> {
        let starts = |magic: &[u8]| file.starts_with(magic);
        if file.get(0x202..0x206) == Some(b"HdrS") {
            return Ok(Self::BzImage);
        }
        if let Some(header) = multiboot::find(file) {
            return Ok(Self::Multiboot(header));
        }
        if starts(b"\x7fELF") {
            return Ok(Self::Elf);
        }
        // A hint for the files that are easily taken for a kernel.
        Err(BootError::UnknownKernel(if file.is_empty() {
            ": it is empty"
        } else if file.get(0x1fe..0x200) == Some(b"\x55\xaa") {
            ": it is a boot sector, perhaps a disk image or a kernel before Linux 1.3.73"
        } else if starts(b"\x1f\x8b") || starts(b"\xfd7zXZ") || starts(b"\x28\xb5\x2f\xfd") {
            ": it is compressed as a whole, perhaps an initrd"
        } else if starts(b"070701") {
            ": it is a cpio archive, perhaps an initrd"
        } else {
            ""
        }))
    }
}

/// The command line with the zero at its end.
pub(crate) fn cmdline_segment(cmdline: &str, limit: u64) -> Result<(Gpa, Vec<u8>), BootError> {
    let len = cmdline.len() as u64;
    let limit = limit.min(CMDLINE_ROOM);
    if len > limit {
        return Err(BootError::CommandLineTooLong { len, limit });
    }
    if cmdline.contains('\0') {
        return Err(BootError::CommandLineZero);
    }
    let mut bytes = cmdline.as_bytes().to_vec();
    bytes.push(0);
    Ok((CMDLINE_AT, bytes))
}
