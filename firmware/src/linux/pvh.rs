//! The PVH entry of an ELF kernel: the note `XEN_ELFNOTE_PHYS32_ENTRY` names a 32-bit entry, which
//! finds `hvm_start_info` through EBX (Xen's `docs/misc/pvh.pandoc` and
//! `xen/include/public/arch-x86/hvm/start_info.h`).

use trine_guest::Gpa;

use super::{CMDLINE_ROOM, cmdline_segment, initrd_at};
use crate::{
    boot::{
        self, Boot, BootError, CODE_SELECTOR, DATA_SELECTOR, Entry, EntryMode, TSS_SELECTOR,
        check_apart,
    },
    description::{Description, GIB4, MIB},
    e820::memory_map,
    record::{Record, u8_at, u16_at, u32_at, u64_at},
    tables::tables,
};

/// Where the start info is placed, with the memory map and the module list behind it.
const START_INFO_AT: Gpa = Gpa(0x6000);
/// There is this much room for it.
const START_INFO_ROOM: usize = 0x1000;
/// Its size in version 1.
const START_INFO_LEN: usize = 56;
const START_INFO_MAGIC: u32 = 0x336e_c578;

const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

/// The most program headers that are looked at.
const HEADERS_MAX: u16 = 128;

/// A program header.
#[derive(Clone, Copy, Debug)]
struct ProgramHeader {
    kind: u32,
    offset: u64,
    physical: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

impl ProgramHeader {
    fn read(file: &[u8], at: usize, is_64_bit: bool) -> Option<Self> {
        let field = |offset: usize| at.checked_add(offset);
        let long = |offset| u64_at(file, field(offset)?);
        let short = |offset| u32_at(file, field(offset)?);
        Some(if is_64_bit {
            Self {
                kind: short(0)?,
                offset: long(8)?,
                physical: long(24)?,
                file_size: long(32)?,
                memory_size: long(40)?,
                align: long(48)?,
            }
        } else {
            Self {
                kind: short(0)?,
                offset: short(4)?.into(),
                physical: short(12)?.into(),
                file_size: short(16)?.into(),
                memory_size: short(20)?.into(),
                align: short(28)?.into(),
            }
        })
    }

    /// The part of the file it stands for.
    fn bytes<'a>(&self, file: &'a [u8]) -> Result<&'a [u8], BootError> {
        let wraps = BootError::Damaged("a part of it lies beyond all addresses");
        let end = self.offset.checked_add(self.file_size).ok_or(wraps)?;
        let range = usize::try_from(self.offset).ok().zip(usize::try_from(end).ok());
        range.and_then(|(start, end)| file.get(start..end)).ok_or(BootError::Truncated {
            part: "program",
            needed: end,
            have: file.len() as u64,
        })
    }
}

/// An ELF file for x86.
struct Elf {
    is_64_bit: bool,
    headers: Vec<ProgramHeader>,
}

impl Elf {
    fn read(file: &[u8]) -> Result<Self, BootError> {
        let have = file.len() as u64;
        let cut = |part, needed| BootError::Truncated { part, needed, have };
        let is_64_bit = match u8_at(file, 4) {
            Some(1) => false,
            Some(2) => true,
            _ => return Err(BootError::Damaged("it is neither 32-bit nor 64-bit ELF")),
        };
        let header_len: usize = if is_64_bit { 64 } else { 52 };
        if file.len() < header_len {
            return Err(cut("ELF header", header_len as u64));
        }
        if u8_at(file, 5) != Some(1) || !matches!(u16_at(file, 18), Some(EM_386 | EM_X86_64)) {
            return Err(BootError::NotX86);
        }
        let (table, entry_len, entries) = if is_64_bit {
            (u64_at(file, 32), u16_at(file, 54), u16_at(file, 56))
        } else {
            (u32_at(file, 28).map(u64::from), u16_at(file, 42), u16_at(file, 44))
        };
        let table = table.unwrap_or(0);
        let (entry_len, entries) = (entry_len.unwrap_or(0), entries.unwrap_or(0));
        if entries == 0 || usize::from(entry_len) < if is_64_bit { 56 } else { 32 } {
            return Err(BootError::Damaged("it has no program headers"));
        }
        let needed = table.saturating_add(u64::from(entry_len) * u64::from(entries));
        let read = |index: u16| {
            let offset = u64::from(index) * u64::from(entry_len);
            let at = usize::try_from(table.checked_add(offset)?).ok()?;
            ProgramHeader::read(file, at, is_64_bit)
        };
        // A bound on the work: a kernel has about five.
        if entries > HEADERS_MAX {
            return Err(BootError::Damaged("it has too many program headers"));
        }
        let headers: Option<Vec<_>> = (0..entries).map(read).collect();
        let headers = headers.ok_or(cut("program header table", needed))?;
        Ok(Self { is_64_bit, headers })
    }

    /// The physical address that the PVH note names.
    fn pvh_entry(&self, file: &[u8]) -> Result<u32, BootError> {
        for header in self.headers.iter().filter(|header| header.kind == PT_NOTE) {
            let entry = note(header.bytes(file)?, header.align);
            if let Some(entry) = entry {
                return u32::try_from(entry)
                    .map_err(|_| BootError::Damaged("its PVH entry lies beyond 4 GiB"));
            }
        }
        Err(BootError::NoPvhEntry)
    }

    /// The parts to load, in ascending order, after making sure that they lie in RAM and apart: so
    /// what is copied is never more than RAM holds, whatever the headers say.
    fn loads(&self, machine: &Description) -> Result<Vec<ProgramHeader>, BootError> {
        let mut loads: Vec<_> = self
            .headers
            .iter()
            .copied()
            .filter(|header| header.kind == PT_LOAD && header.memory_size > 0)
            .collect();
        if loads.is_empty() {
            return Err(BootError::Damaged("there is nothing in it to load"));
        }
        if loads.iter().any(|header| header.file_size > header.memory_size) {
            return Err(BootError::Damaged("a part of it is larger in the file than in memory"));
        }
        if loads.iter().any(|header| header.physical < MIB) {
            return Err(BootError::Damaged("it wants to be loaded below 1 MiB"));
        }
        loads.sort_by_key(|header| header.physical);
        let end = loads.iter().map(|h| h.physical.saturating_add(h.memory_size)).max();
        let end = end.unwrap_or(0);
        if end > machine.low_ram && loads.iter().all(|header| header.physical < GIB4) {
            return Err(BootError::KernelTooLarge { needed: end, low_ram: machine.low_ram });
        }
        let ranges: Vec<_> = loads.iter().map(|h| (h.physical, h.memory_size)).collect();
        check_apart(&ranges, machine)?;
        Ok(loads)
    }
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
    initrd: Option<&[u8]>,
    cmdline: &str,
    machine: &Description,
    cpu: EntryMode,
) -> Result<Boot, BootError> {
    let elf = Elf::read(file)?;
    if elf.is_64_bit && cpu == EntryMode::Protected32 {
        return Err(BootError::NeedsLongMode);
    }
    let eip = elf.pvh_entry(file)?;
    let loads = elf.loads(machine)?;
    let end_of = |header: &ProgramHeader| header.physical + header.memory_size;
    let start = loads.first().map_or(0, |header| header.physical);
    let end = loads.last().map_or(0, end_of);
    if !loads.iter().any(|header| (header.physical..end_of(header)).contains(&u64::from(eip))) {
        return Err(BootError::Damaged("its PVH entry lies outside the program"));
    }
    let cmdline = cmdline_segment(cmdline, CMDLINE_ROOM)?;
    let initrd = match initrd {
        None => None,
        Some(bytes) => {
            let at = initrd_at(bytes.len(), GIB4 - 1, (start, end), machine)?;
            Some((at, bytes.to_vec()))
        }
    };
    let tables = tables(machine)?;
    let module = initrd.as_ref().map(|(at, bytes)| (*at, bytes.len() as u64));
    let start_info = start_info(machine, cmdline.0, module, tables.rsdp)?;
    log::debug!("PVH: kernel from {start:#x} to {end:#x}, entry {eip:#x}, initrd {module:x?}");

    let (gdt, gdt_segment) = boot::gdt(EntryMode::Protected32);
    let mut segments = tables.segments;
    segments.extend([gdt_segment, (START_INFO_AT, start_info), cmdline]);
    for header in &loads {
        segments.push((Gpa(header.physical), header.bytes(file)?.to_vec()));
    }
    segments.extend(initrd);
    let entry = Entry::Protected32 {
        eip,
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
    module: Option<(Gpa, u64)>,
    rsdp: Option<Gpa>,
) -> Result<Vec<u8>, BootError> {
    let map = memory_map(machine)?;
    let map_at = START_INFO_AT.0 + START_INFO_LEN as u64;
    let modules_at = map_at + 24 * map.len() as u64;
    let mut info = Record::zeroed(START_INFO_LEN);
    info.set_u32(0, START_INFO_MAGIC)
        .set_u32(4, 1) // version
        .set_u32(12, module.is_some().into())
        .set_u64(16, if module.is_some() { modules_at } else { 0 })
        .set_u64(24, cmdline.0)
        .set_u64(32, rsdp.map_or(0, |at| at.0))
        .set_u64(40, map_at)
        .set_u32(48, map.len() as u32);
    for range in &map {
        info.push_u64(range.at.0).push_u64(range.len).push_u32(range.kind as u32).push_u32(0);
    }
    if let Some((at, len)) = module {
        info.push_u64(at.0).push_u64(len).push_u64(0).push_u64(0);
    }
    if info.len() > START_INFO_ROOM {
        return Err(BootError::Description("its memory map is too long"));
    }
    Ok(info.into_bytes())
}
