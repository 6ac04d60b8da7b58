//! Starting a kernel, of Linux or another: what kind of file it is, and where the parts go.
//!
//! Sources: the kernel's `Documentation/arch/x86/boot.rst` for a bzImage, Xen's `docs/misc/pvh` and
//! `public/arch-x86/hvm/start_info.h` for an ELF file with a PVH note,
//! the Multiboot Specification 0.6.96 for a Multiboot image.

mod bzimage;
mod pvh;

#[cfg(test)]
mod tests;

use trine_guest::Gpa;

use crate::{
    boot::{Boot, BootError, EntryMode},
    description::{Description, GIB4, MIB},
    multiboot,
};

/// Where the command line is placed.
const CMDLINE_AT: Gpa = Gpa(0x2_0000);
/// The longest command line that there is room for, without the zero at its end.
pub(crate) const CMDLINE_ROOM: u64 = 0xffff;

/// What starts `kernel` on `machine`: a bzImage by the Linux boot protocol, a Multiboot image by its
/// header, or an ELF file by PVH, with the tables of [`tables`](crate::tables).
///
/// The kernel unpacks itself in the guest, so any compression will do.
///
/// # Errors
/// A damaged, truncated or unsuitable file, or one that does not fit: see [`BootError`].
pub fn linux(
    kernel: &[u8],
    initrd: Option<&[u8]>,
    cmdline: &str,
    machine: &Description,
    cpu: EntryMode,
) -> Result<Boot, BootError> {
    machine.check()?;
    let initrd = initrd.filter(|bytes| !bytes.is_empty());
    match Kind::of(kernel)? {
        Kind::Multiboot(header) => multiboot::boot(kernel, header, initrd, cmdline, machine),
        Kind::BzImage => bzimage::boot(kernel, initrd, cmdline, machine, cpu),
        Kind::Elf => pvh::boot(kernel, initrd, cmdline, machine, cpu),
    }
}

/// A kind of kernel file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    BzImage,
    /// Its header's place in the file.
    Multiboot(usize),
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

/// Where an initrd of `len` bytes goes: on a page, as high as possible in low RAM up to and
/// including `max`, clear of the memory that the kernel needs until it knows better, from
/// `kernel.0` to `kernel.1`. Where there is no room above the kernel, the room below it will do.
pub(crate) fn initrd_at(
    len: usize,
    max: u64,
    kernel: (u64, u64),
    machine: &Description,
) -> Result<Gpa, BootError> {
    const PAGE: u64 = 0x1000;
    let len = len as u64;
    let top = machine.low_ram.min(GIB4).min(max.saturating_add(1));
    let page_up = |at: u64| at.saturating_add(PAGE - 1) & !(PAGE - 1);
    let rooms = [(page_up(kernel.1), top), (MIB, kernel.0.min(top))];
    rooms
        .iter()
        .filter_map(|&(from, to)| {
            let at = to.checked_sub(len)? & !(PAGE - 1);
            (at >= from).then_some(Gpa(at))
        })
        .next()
        .ok_or_else(|| {
            let room = rooms.iter().map(|&(from, to)| to.saturating_sub(from)).max();
            BootError::InitrdTooLarge { len, room: room.unwrap_or(0) }
        })
}
