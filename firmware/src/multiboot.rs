//! The Multiboot entry: a header in the first 8 KiB of the file says where it goes, and the kernel
//! finds the boot information through EBX.
//!
//! Source: the Multiboot Specification 0.6.96, chapter 3. The image is an ELF file, or says by
//! itself where it is to be loaded (the address fields, "a.out kludge"), which has precedence.

#[cfg(test)]
mod tests;

use trine_guest::Gpa;

use crate::{
    boot::{self, Boot, BootError, CODE_SELECTOR, DATA_SELECTOR, Entry, EntryMode, check_apart},
    description::{Description, GIB4, MIB},
    e820::{EBDA_AT, memory_map},
    elf::{Elf, ProgramHeader},
    linux::{CMDLINE_ROOM, cmdline_segment, initrd_at},
    record::{Record, u32_at},
    tables::tables,
};

const HEADER_MAGIC: u32 = 0x1bad_b002;
/// What EAX holds for the kernel.
const LOADER_MAGIC: u32 = 0x2bad_b002;
/// The header lies within so many bytes.
const SEARCHED: usize = 8192;

/// Header flags: modules begin on pages (ours always do), memory information is wanted (it is
/// always there), a video mode would be nice (the kernel sees that there is none).
const PAGES: u32 = 1 << 0;
const MEMORY: u32 = 1 << 1;
const VIDEO: u32 = 1 << 2;
/// The header's address fields are valid.
const ADDRESSES: u32 = 1 << 16;
/// A loader has to refuse a header with an unknown flag among these.
const REQUIRED: u32 = 0xffff;

/// Where the boot information is placed, with all it points to but the command line.
const START_INFO_AT: Gpa = Gpa(0x6000);
/// There is this much room for it.
const START_INFO_ROOM: usize = 0x1000;
/// Its size up to and without the video fields, which are not there.
const START_INFO_LEN: usize = 72;
/// Its flags: lower and upper memory, command line, modules, memory map, the loader's name.
const HAS_MEMORY: u32 = 1 << 0;
const HAS_CMDLINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MAP: u32 = 1 << 6;
const HAS_LOADER_NAME: u32 = 1 << 9;

/// A command line's first word is the kernel's file, by convention, and so is a module's.
const KERNEL_WORD: &str = "kernel";
const MODULE_WORD: &[u8] = b"initrd\0";
const LOADER_NAME: &[u8] = b"Trine\0";

/// The offset of the Multiboot header in `file`, if there is one.
pub(crate) fn find(file: &[u8]) -> Option<usize> {
    (0..SEARCHED - 8).step_by(4).find(|at| {
        let field = |n: usize| u32_at(file, at + 4 * n);
        let sum = field(1).zip(field(2)).map(|(flags, check)| flags.wrapping_add(check));
        field(0) == Some(HEADER_MAGIC) && sum == Some(HEADER_MAGIC.wrapping_neg())
    })
}

/// A part of an image: where it goes, its bytes, and its length with the zeros behind them.
struct Part<'a> {
    at: u64,
    bytes: &'a [u8],
    len: u64,
}

/// What an image is made of.
struct Image<'a> {
    parts: Vec<Part<'a>>,
    /// The first address that is the image's, and the one behind its last.
    range: (u64, u64),
    entry: u32,
}

/// What starts a Multiboot image whose header is at `header`.
pub(crate) fn boot(
    file: &[u8],
    header: usize,
    initrd: Option<&[u8]>,
    cmdline: &str,
    machine: &Description,
) -> Result<Boot, BootError> {
    let flags = u32_at(file, header.saturating_add(4)).unwrap_or(0);
    if flags & REQUIRED & !(PAGES | MEMORY | VIDEO) != 0 {
        return Err(BootError::MultibootFlags(flags));
    }
    if flags & VIDEO != 0 {
        log::info!("the kernel would like a video mode; this machine has no screen");
    }
    let image = if flags & ADDRESSES != 0 {
        by_addresses(file, header, machine)?
    } else {
        by_elf(file, machine)?
    };
    let line = if cmdline.is_empty() {
        KERNEL_WORD.to_string()
    } else {
        format!("{KERNEL_WORD} {cmdline}")
    };
    let cmdline = cmdline_segment(&line, CMDLINE_ROOM)?;
    let module = match initrd {
        None => None,
        Some(bytes) => {
            let at = initrd_at(bytes.len(), GIB4 - 1, image.range, machine)?;
            Some((at, bytes.to_vec()))
        }
    };
    let place = module.as_ref().map(|(at, bytes)| (*at, bytes.len() as u64));
    let start_info = start_info(machine, cmdline.0, place)?;
    log::debug!("Multiboot: kernel at {:x?}, entry {:#x}", image.range, image.entry);

    let (gdt, gdt_segment) = boot::gdt(EntryMode::Protected32);
    let mut segments = tables(machine)?.segments;
    segments.extend([gdt_segment, (START_INFO_AT, start_info), cmdline]);
    segments.extend(module);
    // The zeros behind a part are the kernel's, too.
    let mut ranges: Vec<_> = segments.iter().map(|(at, b)| (at.0, b.len() as u64)).collect();
    ranges.extend(image.parts.iter().map(|part| (part.at, part.len)));
    ranges.sort_unstable();
    check_apart(&ranges, machine)?;
    segments.extend(image.parts.iter().map(|part| (Gpa(part.at), part.bytes.to_vec())));
    let entry = Entry::Protected32 {
        eip: image.entry,
        eax: LOADER_MAGIC,
        esi: 0,
        ebx: START_INFO_AT.0 as u32,
        gdt,
        cs: CODE_SELECTOR,
        ds: DATA_SELECTOR,
        tr: 0,
    };
    Boot::placed(segments, entry, machine)
}

/// An image that is an ELF file.
fn by_elf<'a>(file: &'a [u8], machine: &Description) -> Result<Image<'a>, BootError> {
    if !file.starts_with(b"\x7fELF") {
        return Err(BootError::Damaged(
            "its Multiboot header has no addresses, and it is no ELF file",
        ));
    }
    let elf = Elf::read(file)?;
    let loads = elf.loads(machine)?;
    let is_inside = |h: &ProgramHeader| (h.physical..h.end()).contains(&elf.entry);
    let entry = u32::try_from(elf.entry).ok().filter(|_| loads.iter().any(is_inside));
    let entry = entry.ok_or(BootError::Damaged("its entry lies outside the program"))?;
    let part =
        |h: &ProgramHeader| Ok(Part { at: h.physical, bytes: h.bytes(file)?, len: h.memory_size });
    let parts = loads.iter().map(part);
    let start = loads.first().map_or(0, |h| h.physical);
    let end = loads.last().map_or(0, ProgramHeader::end);
    Ok(Image { parts: parts.collect::<Result<_, BootError>>()?, range: (start, end), entry })
}

/// An image that is loaded where its header says.
fn by_addresses<'a>(
    file: &'a [u8],
    header: usize,
    machine: &Description,
) -> Result<Image<'a>, BootError> {
    let field = |n: usize| {
        let cut = BootError::Truncated {
            part: "Multiboot header",
            needed: (header + 32) as u64,
            have: file.len() as u64,
        };
        u32_at(file, header + 4 * n).ok_or(cut)
    };
    let (header_at, load_at) = (field(3)?, field(4)?);
    let (load_end, bss_end, entry) = (field(5)?, field(6)?, field(7)?);
    let damaged = Err(BootError::Damaged("the addresses in its Multiboot header contradict"));
    // The file's bytes from here on go to `load_at`.
    let offset = header_at.checked_sub(load_at).and_then(|n| header.checked_sub(n as usize));
    let Some(bytes) = offset.and_then(|offset| file.get(offset..)) else { return damaged };
    let bytes = match load_end {
        0 => bytes,
        end => {
            let Some(len) = end.checked_sub(load_at) else { return damaged };
            bytes.get(..len as usize).ok_or(BootError::Truncated {
                part: "program",
                needed: (file.len() - bytes.len()) as u64 + u64::from(len),
                have: file.len() as u64,
            })?
        }
    };
    let start = u64::from(load_at);
    let loaded = start + bytes.len() as u64;
    let end = if bss_end == 0 { loaded } else { u64::from(bss_end) };
    if end < loaded || !(start..loaded).contains(&u64::from(entry)) {
        return damaged;
    }
    if end > machine.low_ram {
        return Err(BootError::KernelTooLarge { needed: end, low_ram: machine.low_ram });
    }
    Ok(Image {
        parts: vec![Part { at: start, bytes, len: end - start }],
        range: (start, end),
        entry,
    })
}

/// The boot information (section 3.3) with the module list, the memory map and strings behind it.
fn start_info(
    machine: &Description,
    cmdline: Gpa,
    module: Option<(Gpa, u64)>,
) -> Result<Vec<u8>, BootError> {
    let map = memory_map(machine)?;
    let mut info = Record::zeroed(START_INFO_LEN);
    let place = |info: &Record| START_INFO_AT.0 as u32 + info.len() as u32;
    let modules_at = place(&info);
    if let Some((at, len)) = module {
        let word_at = modules_at + 16;
        info.push_u32(at.0 as u32).push_u32((at.0 + len) as u32).push_u32(word_at).push_u32(0);
        info.push(MODULE_WORD).push(&[0; 1]);
    }
    let map_at = place(&info);
    for range in &map {
        info.push_u32(20).push_u64(range.at.0).push_u64(range.len).push_u32(range.kind as u32);
    }
    let map_len = place(&info) - map_at;
    let name_at = place(&info);
    info.push(LOADER_NAME);
    if info.len() > START_INFO_ROOM {
        return Err(BootError::Description("its memory map is too long"));
    }
    info.set_u32(0, HAS_MEMORY | HAS_CMDLINE | HAS_MODULES | HAS_MAP | HAS_LOADER_NAME)
        .set_u32(4, (EBDA_AT >> 10) as u32)
        .set_u32(8, (machine.low_ram.saturating_sub(MIB) >> 10) as u32)
        .set_u32(16, cmdline.0 as u32)
        .set_u32(20, module.is_some().into())
        .set_u32(24, if module.is_some() { modules_at } else { 0 })
        .set_u32(44, map_len)
        .set_u32(48, map_at)
        .set_u32(64, name_at);
    Ok(info.into_bytes())
}
