//! The files that emulators start: the guest with its plan, as an ELF file with a PVH note for
//! `-kernel` and as a disk whose boot sector loads the same bytes to the same addresses for a BIOS;
//! and the guest's unprivileged programs as a native one.
//!
//! The sources are in `guest/`, the assembled images beside them, so that a run needs no assembler.

use std::{fs, path::Path};

/// What nasm makes of `guest/guest.asm`, `guest/boot.asm` and `guest/native.asm`.
pub const GUEST: &[u8] = include_bytes!("../guest/guest.elf");
const BOOT: &[u8] = include_bytes!("../guest/boot.bin");
const NATIVE: &[u8] = include_bytes!("../guest/native.bin");

/// Where the guest's file is loaded, headers and all, and what `guest/layout.inc` says of it:
/// offsets in the file of the word that says whether it boots a kernel, of the plan, and of the
/// programs that need no privilege.
const IMAGE: u32 = 0x10_0000;
const BOOTS_KERNEL: usize = 0x100;
const PLAN: usize = 0x110;
const PLAN_ROOM: usize = 0x6f0;
const PROGRAMS: usize = 0x3000;
/// Offset of `e_entry` in an ELF header of 32 bits.
const ENTRY: usize = 24;
/// Linux `boot_params` and the command line, where the guest wants them.
const PARAMS: u32 = 0x19_0000;
const CMDLINE: u32 = 0x19_1000;
const KERNEL: u32 = 0x100_0000;
const INITRD: u32 = 0xc00_0000;
/// The guest's memory in MiB, and where the kernel's part of it ends: firmware keeps its tables at
/// the top.
pub const MEMORY_MIB: u32 = 256;
const MEMORY_END: u64 = 240 << 20;
/// Without it, Bochs is not usable.
pub const BOCHS_BIOS: &str = "/usr/share/bochs/BIOS-bochs-latest";
/// Once it is up, the guest waits for a line, then switches itself off.
const ARGUMENTS: &str = "console=ttyS0,115200 quiet nokaslr run=read,line";

const SECTOR: usize = 512;
/// What an IDE disk of this size has: 16 heads of 63 sectors.
const CYLINDER: usize = 16 * 63 * SECTOR;
/// Where the boot sector lists the parts.
const LIST: usize = 0x180;

/// Bytes and the address they go to; the first part is the guest.
pub struct Part {
    address: u32,
    bytes: Vec<u8>,
}

/// A failure, told in one line.
pub type Result<T> = std::result::Result<T, String>;

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// The guest that performs `plan`: names of programs, each with `*TURNS`.
pub fn programs(plan: &str) -> Result<Vec<Part>> {
    if plan.len() >= PLAN_ROOM {
        return Err(format!("the plan has more than {PLAN_ROOM} letters"));
    }
    let mut bytes = GUEST.to_vec();
    bytes[PLAN..PLAN + plan.len()].copy_from_slice(plan.as_bytes());
    Ok(vec![Part { address: IMAGE, bytes }])
}

/// A Linux program for x86-64 that performs the plan in its arguments, with the machine code that
/// the guest has.
pub fn native() -> Vec<u8> {
    [NATIVE, &GUEST[PROGRAMS..]].concat()
}

/// The guest that boots a bzImage by the 32-bit entry of the Linux boot protocol (the kernel's
/// `Documentation/arch/x86/boot.rst`).
pub fn linux(kernel: &Path, initrd: &Path) -> Result<Vec<Part>> {
    let mut guest = GUEST.to_vec();
    guest[BOOTS_KERNEL] = 1;
    let kernel_file = read(kernel)?;
    let initrd = read(initrd)?;
    if kernel_file.get(0x202..0x206) != Some(b"HdrS") || kernel_file.len() < 0x400 {
        return Err(format!("{}: not a bzImage", kernel.display()));
    }
    let setup_sectors = match kernel_file[0x1f1] {
        0 => 4,
        n => usize::from(n),
    };
    let Some(protected) = kernel_file.get((setup_sectors + 1) * SECTOR..) else {
        return Err(format!("{}: truncated", kernel.display()));
    };
    let mut params = vec![0; 4096];
    let header_end = (0x202 + usize::from(kernel_file[0x201])).min(0x290);
    params[0x1f1..header_end].copy_from_slice(&kernel_file[0x1f1..header_end]);
    let mut put = |at: usize, bytes: &[u8]| params[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x210, &[0xff]); // type_of_loader: undefined
    put(0x218, &INITRD.to_le_bytes());
    put(0x21c, &(initrd.len() as u32).to_le_bytes());
    put(0x228, &CMDLINE.to_le_bytes());
    // E820: conventional memory, the BIOS, memory above 1 MiB, the firmware's tables.
    let ranges = [
        (0, 0x9_fc00, 1_u32),
        (0x9_fc00, 0x6_0400, 2),
        (0x10_0000, MEMORY_END - 0x10_0000, 1),
        (MEMORY_END, (u64::from(MEMORY_MIB) << 20) - MEMORY_END, 2),
    ];
    put(0x1e8, &[ranges.len() as u8]);
    for (n, (start, len, kind)) in ranges.into_iter().enumerate() {
        let at = 0x2d0 + 20 * n;
        put(at, &u64::to_le_bytes(start));
        put(at + 8, &u64::to_le_bytes(len));
        put(at + 16, &kind.to_le_bytes());
    }
    let cmdline = [ARGUMENTS.as_bytes(), b"\0"].concat();
    Ok(vec![
        Part { address: IMAGE, bytes: guest },
        Part { address: PARAMS, bytes: params },
        Part { address: CMDLINE, bytes: cmdline },
        Part { address: KERNEL, bytes: protected.to_vec() },
        Part { address: INITRD, bytes: initrd },
    ])
}

/// An ELF file with the parts as segments and a note that names the PVH entry (System V ABI; Xen's
/// `docs/misc/pvh.pandoc`).
pub fn elf(parts: &[Part]) -> Vec<u8> {
    const HEADER: usize = 52;
    const PROGRAM_HEADER: usize = 32;
    let entry = &GUEST[ENTRY..ENTRY + 4];
    let mut note = Vec::new();
    for word in [4, 4, 18] {
        note.extend(u32::to_le_bytes(word)); // name and value length, XEN_ELFNOTE_PHYS32_ENTRY
    }
    note.extend(b"Xen\0");
    note.extend(entry);

    let headers = parts.len() + 1;
    let mut out = b"\x7fELF\x01\x01\x01".to_vec();
    out.resize(16, 0);
    for half in [2_u16, 3] {
        out.extend(half.to_le_bytes()); // an executable for the 80386
    }
    out.extend(u32::to_le_bytes(1));
    out.extend(entry);
    for word in [HEADER as u32, 0, 0] {
        out.extend(word.to_le_bytes());
    }
    for half in [HEADER, PROGRAM_HEADER, headers, 40, 0, 0] {
        out.extend((half as u16).to_le_bytes());
    }
    let mut at = HEADER + headers * PROGRAM_HEADER;
    let mut program_header = |kind: u32, address: u32, len: usize, flags: u32| {
        let (offset, len) = (at as u32, len as u32);
        for word in [kind, offset, address, address, len, len, flags, 4] {
            out.extend(word.to_le_bytes());
        }
        at += len as usize;
    };
    program_header(4, 0, note.len(), 4);
    for part in parts {
        program_header(1, part.address, part.bytes.len(), 7);
    }
    out.extend(note);
    for part in parts {
        out.extend(&part.bytes);
    }
    out
}

/// A disk with the boot sector and the parts.
pub fn disk(parts: &[Part]) -> Vec<u8> {
    let mut out = BOOT.to_vec();
    for (n, part) in parts.iter().enumerate() {
        let sectors = part.bytes.len().div_ceil(SECTOR);
        for (m, word) in
            [part.address, (out.len() / SECTOR) as u32, sectors as u32].into_iter().enumerate()
        {
            let at = LIST + 12 * n + 4 * m;
            out[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        out.extend(&part.bytes);
        out.resize(out.len().next_multiple_of(SECTOR), 0);
    }
    // Room behind, as the BIOS of Bochs counts cylinders.
    out.resize((out.len() + CYLINDER).next_multiple_of(CYLINDER), 0);
    out
}

/// How many cylinders a disk made by [`disk`] has.
pub fn cylinders(disk: &[u8]) -> usize {
    disk.len() / CYLINDER
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn images_are_what_their_sources_say() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/guest/");
        for (name, image) in [("guest", GUEST), ("boot", BOOT), ("native", NATIVE)] {
            let out = format!("trine-benches-{name}-{}", std::process::id());
            let out = std::env::temp_dir().join(out);
            let nasm = Command::new("nasm")
                .args(["-Wall", "-f", "bin", "-I", folder, "-o"])
                .arg(&out)
                .arg(format!("{folder}{name}.asm"))
                .output();
            let Ok(nasm) = nasm else {
                eprintln!("skipped: nasm is not installed");
                return;
            };
            assert!(nasm.status.success(), "{}", String::from_utf8_lossy(&nasm.stderr));
            assert!(nasm.stderr.is_empty(), "{}", String::from_utf8_lossy(&nasm.stderr));
            let assembled = fs::read(&out).unwrap();
            fs::remove_file(&out).unwrap();
            assert!(assembled == image, "the image is not what nasm makes of {name}.asm");
        }
    }

    #[test]
    fn the_layout_is_that_of_the_guest() {
        assert_eq!(NATIVE.len(), PROGRAMS);
        assert_eq!(&GUEST[PROGRAMS..PROGRAMS + 4], b"mix\0");
        assert!(GUEST[BOOTS_KERNEL..PLAN + PLAN_ROOM].iter().all(|&byte| byte == 0));
        assert_ne!(GUEST[PLAN + PLAN_ROOM + 16..][..8], [0; 8], "the GDT's first descriptor");
        let parts = programs("fib*3").unwrap();
        assert!(parts[0].bytes[PLAN..].starts_with(b"fib*3\0"));
        assert!(programs(&"x".repeat(PLAN_ROOM)).is_err());
    }
}
