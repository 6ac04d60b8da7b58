//! The PVH entry of an ELF kernel: the note `XEN_ELFNOTE_PHYS32_ENTRY` names a 32-bit entry, which
//! finds `hvm_start_info` through EBX (Xen's `docs/misc/pvh.pandoc` and
//! `xen/include/public/arch-x86/hvm/start_info.h`).

use trine_guest::Gpa;

use super::{CMDLINE_ROOM, cmdline_segment};
use crate::{
    boot::{self, Boot, BootError, CODE_SELECTOR, DATA_SELECTOR, Entry, EntryMode, TSS_SELECTOR},
    description::{Description, MIB},
    e820::memory_map,
    elf::{Elf, ProgramHeader},
    modules::{Module, Placed},
    record::{Record, u32_at, u64_at},
    tables::tables,
};

/// Where the start info is placed, with the memory map and the module list behind it.
const START_INFO_AT: Gpa = Gpa(0x6000);
/// There is this much room for it.
const START_INFO_ROOM: usize = 0x1000;
/// Its size in version 1.
const START_INFO_LEN: usize = 56;
const START_INFO_MAGIC: u32 = 0x336e_c578;

const PT_NOTE: u32 = 4;
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

/// The physical address that the PVH note of `elf` names.
fn pvh_entry(elf: &Elf, file: &[u8]) -> Result<u32, BootError> {
    for header in elf.headers.iter().filter(|header| header.kind == PT_NOTE) {
        let entry = note(header.bytes(file)?, header.align);
        if let Some(entry) = entry {
            return u32::try_from(entry)
                .map_err(|_| BootError::Damaged("its PVH entry lies beyond 4 GiB"));
        }
    }
    Err(BootError::NoPvhEntry)
}

/// The address in the PVH note among `notes` (System V ABI, "Note Section"): name size, value size,
/// type, then name and value, each padded to the alignment.
fn note(mut notes: &[u8], align: u64) -> Option<u64> {
    let align = if align == 8 { 8 } else { 4 };
    while notes.len() >= 12 {
        let name_len = u32_at(notes, 0)? as usize;
        let value_len = u32_at(notes, 4)? as usize;
        let kind = u32_at(notes, 8)?;
        let value_at = 12usize.checked_add(name_len)?.checked_next_multiple_of(align)?;
        let end = value_at.checked_add(value_len)?;
        let name = notes.get(12..12usize.checked_add(name_len)?)?;
        if name == b"Xen\0" && kind == XEN_ELFNOTE_PHYS32_ENTRY {
            return match value_len {
                4 => u32_at(notes, value_at).map(u64::from),
                8 => u64_at(notes, value_at),
                _ => None,
            };
        }
        notes = notes.get(end.checked_next_multiple_of(align)?..)?;
    }
    None
}

/// What starts an ELF kernel by its PVH entry.
pub(super) fn boot(
    file: &[u8],
    modules: &[Module],
    cmdline: &str,
    machine: &Description,
    cpu: EntryMode,
) -> Result<Boot, BootError> {
    let elf = Elf::read(file)?;
    if elf.is_64_bit && cpu == EntryMode::Protected32 {
        return Err(BootError::NeedsLongMode);
    }
    let eip = pvh_entry(&elf, file)?;
    let loads = elf.loads(machine)?;
    if loads.iter().any(|header| header.physical < MIB) {
        return Err(BootError::Damaged("it wants to be loaded below 1 MiB"));
    }
    let start = loads.first().map_or(0, |header| header.physical);
    let end = loads.last().map_or(0, ProgramHeader::end);
    if !loads.iter().any(|header| (header.physical..header.end()).contains(&u64::from(eip))) {
        return Err(BootError::Damaged("its PVH entry lies outside the program"));
    }
    let cmdline = cmdline_segment(cmdline, CMDLINE_ROOM)?;
    let modules = Placed::find(modules, (start, end), machine)?;
    let tables = tables(machine)?;
    let start_info = start_info(machine, cmdline.0, &modules, tables.rsdp)?;
    log::debug!("PVH: kernel from {start:#x} to {end:#x}, entry {eip:#x}");

    let (gdt, gdt_segment) = boot::gdt(EntryMode::Protected32);
    let mut segments = tables.segments;
    segments.extend([gdt_segment, (START_INFO_AT, start_info), cmdline]);
    for header in &loads {
        segments.push((Gpa(header.physical), header.bytes(file)?.to_vec()));
    }
    segments.extend(modules.segments());
    let entry = Entry::Protected32 {
        eip,
        eax: 0,
        esi: 0,
        ebx: START_INFO_AT.0 as u32,
        gdt,
        cs: CODE_SELECTOR,
        ds: DATA_SELECTOR,
        tr: TSS_SELECTOR,
    };
    Boot::placed(segments, entry, machine)
}

/// `hvm_start_info` version 1, the memory map and the list of modules.
fn start_info(
    machine: &Description,
    cmdline: Gpa,
    modules: &Placed<'_>,
    rsdp: Option<Gpa>,
) -> Result<Vec<u8>, BootError> {
    let map = memory_map(machine)?;
    let map_at = START_INFO_AT.0 + START_INFO_LEN as u64;
    let modules_at = map_at + 24 * map.len() as u64;
    let mut info = Record::zeroed(START_INFO_LEN);
    info.set_u32(0, START_INFO_MAGIC)
        .set_u32(4, 1) // version
        .set_u32(12, modules.len() as u32)
        .set_u64(16, if modules.len() > 0 { modules_at } else { 0 })
        .set_u64(24, cmdline.0)
        .set_u64(32, rsdp.map_or(0, |at| at.0))
        .set_u64(40, map_at)
        .set_u32(48, map.len() as u32);
    for range in &map {
        info.push_u64(range.at.0).push_u64(range.len).push_u32(range.kind as u32).push_u32(0);
    }
    let lines_at = modules_at + 32 * modules.len() as u64;
    let mut lines = Vec::new();
    for (at, end, line) in modules.all() {
        let line_at = if line.is_empty() { 0 } else { lines_at + lines.len() as u64 };
        info.push_u64(at).push_u64(end - at).push_u64(line_at).push_u64(0);
        lines.extend([line.as_bytes(), &[0]].concat());
    }
    info.push(&lines);
    if info.len() > START_INFO_ROOM {
        return Err(BootError::StartInfo);
    }
    Ok(info.into_bytes())
}
