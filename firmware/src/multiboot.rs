//! The Multiboot entries: a header near the start of the file says where the image goes, and the
//! kernel finds the boot information through EBX.
//!
//! Sources: the Multiboot Specification 0.6.96, chapter 3, and the Multiboot2 Specification 2.0,
//! chapter 3. The image is an ELF file, or says by itself where it is to be loaded (the "a.out
//! kludge"), which has precedence. Where there are both headers, version 2 has it: its kernels
//! learn where the RSDP is.

mod v1;
mod v2;

#[cfg(test)]
mod tests;

use trine_guest::Gpa;

use crate::{
    boot::{self, Boot, BootError, CODE_SELECTOR, DATA_SELECTOR, Entry, EntryMode, check_apart},
    description::Description,
    elf::{Elf, ProgramHeader},
    linux::{CMDLINE_ROOM, cmdline_segment},
    modules::{Module, Placed},
    tables::tables,
};

/// Where the boot information is placed, with all it points to but the command line.
const START_INFO_AT: Gpa = Gpa(0x6000);
/// There is this much room for it.
const START_INFO_ROOM: usize = 0x1000;

/// A command line's first word is the kernel's file, by convention, and so is a module's.
const KERNEL_WORD: &str = "kernel";
const MODULE_WORD: &str = "module";
const LOADER_NAME: &[u8] = b"Trine\0";

/// A header in a file, by its offset there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    V1(usize),
    V2(usize),
}

/// The header in `file`, if there is one.
pub(crate) fn find(file: &[u8]) -> Option<Header> {
    v2::find(file).map(Header::V2).or_else(|| v1::find(file).map(Header::V1))
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

/// What starts a Multiboot image.
pub(crate) fn boot(
    file: &[u8],
    header: Header,
    modules: &[Module],
    cmdline: &str,
    machine: &Description,
) -> Result<Boot, BootError> {
    let image = match header {
        Header::V1(at) => v1::image(file, at, machine)?,
        Header::V2(at) => v2::image(file, at, machine)?,
    };
    let line = after_word(KERNEL_WORD, cmdline);
    let cmdline = cmdline_segment(&line, CMDLINE_ROOM)?;
    let modules = Placed::find(modules, image.range, machine)?;
    let tables = tables(machine)?;
    let (magic, start_info) = match header {
        Header::V1(_) => (v1::LOADER_MAGIC, v1::start_info(machine, cmdline.0, &modules)?),
        Header::V2(_) => (
            v2::LOADER_MAGIC,
            v2::start_info(machine, &line, &modules, tables.rsdp_bytes(), &image)?,
        ),
    };
    if start_info.len() > START_INFO_ROOM {
        return Err(BootError::StartInfo);
    }
    log::debug!("Multiboot: kernel at {:x?}, entry {:#x}", image.range, image.entry);

    let (gdt, gdt_segment) = boot::gdt(EntryMode::Protected32);
    let mut segments = tables.segments;
    segments.extend([gdt_segment, (START_INFO_AT, start_info), cmdline]);
    segments.extend(modules.segments());
    // The zeros behind a part are the kernel's, too.
    let mut ranges: Vec<_> = segments.iter().map(|(at, b)| (at.0, b.len() as u64)).collect();
    ranges.extend(image.parts.iter().map(|part| (part.at, part.len)));
    ranges.sort_unstable();
    check_apart(&ranges, machine)?;
    segments.extend(image.parts.iter().map(|part| (Gpa(part.at), part.bytes.to_vec())));
    let entry = Entry::Protected32 {
        eip: image.entry,
        eax: magic,
        esi: 0,
        ebx: START_INFO_AT.0 as u32,
        gdt,
        cs: CODE_SELECTOR,
        ds: DATA_SELECTOR,
        tr: 0,
    };
    Boot::placed(segments, entry, machine)
}

/// A line behind a word that stands for a file.
fn after_word(word: &str, line: &str) -> String {
    if line.is_empty() { word.to_owned() } else { format!("{word} {line}") }
}

/// An image that is an ELF file.
/// Its entry is `entry`, if the header has one of its own.
fn by_elf<'a>(
    file: &'a [u8],
    entry: Option<u32>,
    machine: &Description,
) -> Result<Image<'a>, BootError> {
    if !file.starts_with(b"\x7fELF") {
        return Err(BootError::Damaged(
            "its Multiboot header has no addresses, and it is no ELF file",
        ));
    }
    let elf = Elf::read(file)?;
    let loads = elf.loads(machine)?;
    let entry = entry.map_or(elf.entry, u64::from);
    let is_inside = |h: &ProgramHeader| (h.physical..h.end()).contains(&entry);
    let entry = u32::try_from(entry).ok().filter(|_| loads.iter().any(is_inside));
    let entry = entry.ok_or(BootError::Damaged("its entry lies outside the program"))?;
    let part =
        |h: &ProgramHeader| Ok(Part { at: h.physical, bytes: h.bytes(file)?, len: h.memory_size });
    let parts = loads.iter().map(part);
    let start = loads.first().map_or(0, |h| h.physical);
    let end = loads.last().map_or(0, ProgramHeader::end);
    Ok(Image { parts: parts.collect::<Result<_, BootError>>()?, range: (start, end), entry })
}

/// Where an image goes by the addresses in its header, and how far its bytes and its zeros reach; 0
/// is the file's end, and no zeros.
struct Addresses {
    header: u32,
    load: u32,
    load_end: u32,
    bss_end: u32,
    entry: u32,
}

/// An image that is loaded where its header, which is at `header` in the file, says.
fn by_addresses<'a>(
    file: &'a [u8],
    header: usize,
    addresses: &Addresses,
    machine: &Description,
) -> Result<Image<'a>, BootError> {
    let Addresses { header: header_at, load: load_at, load_end, bss_end, entry } = *addresses;
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
