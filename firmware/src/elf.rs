//! ELF files, as far as a boot loader reads them: the entry and the program headers.
//!
//! Source: System V ABI, chapter 5, and its 64-bit edition.

use crate::{
    boot::{BootError, check_apart},
    description::{Description, GIB4},
    record::{u8_at, u16_at, u32_at, u64_at},
};

const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;

/// The most program headers that are looked at.
const HEADERS_MAX: u16 = 128;

/// A program header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgramHeader {
    pub(crate) kind: u32,
    pub(crate) offset: u64,
    pub(crate) physical: u64,
    pub(crate) file_size: u64,
    pub(crate) memory_size: u64,
    pub(crate) align: u64,
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

    /// The physical address behind it. Only for one that [`Elf::loads`] has checked.
    pub(crate) fn end(&self) -> u64 {
        self.physical.saturating_add(self.memory_size)
    }

    /// The part of the file it stands for.
    pub(crate) fn bytes<'a>(&self, file: &'a [u8]) -> Result<&'a [u8], BootError> {
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
pub(crate) struct Elf {
    pub(crate) is_64_bit: bool,
    /// `e_entry`.
    pub(crate) entry: u64,
    pub(crate) headers: Vec<ProgramHeader>,
}

impl Elf {
    pub(crate) fn read(file: &[u8]) -> Result<Self, BootError> {
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
        let word = |at| u32_at(file, at).map(u64::from);
        let (entry, table, entry_len, entries) = if is_64_bit {
            (u64_at(file, 24), u64_at(file, 32), u16_at(file, 54), u16_at(file, 56))
        } else {
            (word(24), word(28), u16_at(file, 42), u16_at(file, 44))
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
        Ok(Self { is_64_bit, entry: entry.unwrap_or(0), headers })
    }

    /// The parts to load, in ascending order, after making sure that they lie in RAM and apart: so
    /// what is copied is never more than RAM holds, whatever the headers say.
    pub(crate) fn loads(&self, machine: &Description) -> Result<Vec<ProgramHeader>, BootError> {
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
        loads.sort_by_key(|header| header.physical);
        let end = loads.iter().map(ProgramHeader::end).max();
        let end = end.unwrap_or(0);
        if end > machine.low_ram && loads.iter().all(|header| header.physical < GIB4) {
            return Err(BootError::KernelTooLarge { needed: end, low_ram: machine.low_ram });
        }
        let ranges: Vec<_> = loads.iter().map(|h| (h.physical, h.memory_size)).collect();
        check_apart(&ranges, machine)?;
        Ok(loads)
    }
}
