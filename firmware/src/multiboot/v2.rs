//! Version 2: the header and its tags (sections 3.1.1 to 3.1.13), and the boot information (section
//! 3.6), which is made of tags, too.

use super::{Addresses, Image, LOADER_NAME, MODULE_WORD, after_word, by_addresses, by_elf};
use crate::{
    boot::BootError,
    description::{Description, MIB},
    e820::{EBDA_AT, memory_map},
    modules::Placed,
    record::{Record, u16_at, u32_at},
};

const HEADER_MAGIC: u32 = 0xe852_50d6;
/// What EAX holds for the kernel.
pub(super) const LOADER_MAGIC: u32 = 0x36d7_6289;
/// The header lies within so many bytes, on a multiple of 8.
const SEARCHED: usize = 32768;
/// Its fields before the tags: magic, architecture, length and checksum.
const HEADER_LEN: usize = 16;
/// Architecture: 32-bit protected mode of i386.
const I386: u32 = 0;

/// Tags of the header.
mod wish {
    pub const END: u16 = 0;
    pub const ADDRESS: u16 = 2;
    pub const ENTRY: u16 = 3;
    pub const RELOCATABLE: u16 = 10;
    /// The highest that there is.
    pub const LAST: u16 = RELOCATABLE;
    /// In the flags: who does not know it may go on.
    pub const OPTIONAL: u16 = 1;
}

/// Tags of the boot information.
mod told {
    pub const END: u32 = 0;
    pub const COMMAND_LINE: u32 = 1;
    pub const LOADER_NAME: u32 = 2;
    pub const MODULE: u32 = 3;
    pub const MEMORY: u32 = 4;
    pub const MEMORY_MAP: u32 = 6;
    pub const FRAMEBUFFER: u32 = 8;
    pub const ACPI_2: u32 = 15;
    pub const LOAD_BASE: u32 = 21;
}

/// The offset of the header in `file`, if there is one.
pub(super) fn find(file: &[u8]) -> Option<usize> {
    (0..SEARCHED).step_by(8).find(|at| {
        let field = |n: usize| u32_at(file, at + 4 * n);
        let sum = (0..4).try_fold(0_u32, |sum, n| Some(sum.wrapping_add(field(n)?)));
        field(0) == Some(HEADER_MAGIC) && field(1) == Some(I386) && sum == Some(0)
    })
}

/// The image with a header at `header`.
pub(super) fn image<'a>(
    file: &'a [u8],
    header: usize,
    machine: &Description,
) -> Result<Image<'a>, BootError> {
    let damaged = BootError::Damaged("its Multiboot 2 header ends within a tag");
    let field = |at: usize, n: usize| u32_at(file, at + 8 + 4 * n).ok_or(damaged.clone());
    let len = u32_at(file, header + 8).unwrap_or(0) as usize;
    let end = header.saturating_add(len).min(file.len());
    let (mut addresses, mut entry) = (None, None);
    let mut at = header + HEADER_LEN;
    while at < end {
        let tag = u16_at(file, at).zip(u16_at(file, at + 2)).zip(u32_at(file, at + 4));
        let ((kind, flags), size) = tag.ok_or(damaged.clone())?;
        match kind {
            wish::END => break,
            wish::ADDRESS => {
                addresses = Some([field(at, 0)?, field(at, 1)?, field(at, 2)?, field(at, 3)?]);
            }
            wish::ENTRY => entry = Some(field(at, 0)?),
            // What information it wants it gets if there is such, and text is what the screen shows.
            1..=wish::LAST => {}
            _ if flags & wish::OPTIONAL != 0 => {}
            _ => return Err(BootError::MultibootTag(kind)),
        }
        let size = (size as usize).max(8).next_multiple_of(8);
        at = at.checked_add(size).ok_or(damaged.clone())?;
    }
    match (addresses, entry) {
        (Some([header_at, load, load_end, bss_end]), Some(entry)) => {
            // FFFFFFFFh: from the start of the file.
            let load = if load == u32::MAX { header_at.wrapping_sub(header as u32) } else { load };
            let addresses = Addresses { header: header_at, load, load_end, bss_end, entry };
            by_addresses(file, header, &addresses, machine)
        }
        (Some(_), None) => Err(BootError::Damaged("its Multiboot 2 header has no entry address")),
        (None, _) => by_elf(file, entry, machine),
    }
}

/// The boot information. `rsdp` is what it says of ACPI.
pub(super) fn start_info(
    machine: &Description,
    line: &str,
    modules: &Placed<'_>,
    rsdp: Option<&[u8]>,
    image: &Image<'_>,
) -> Result<Vec<u8>, BootError> {
    let mut info = Record::zeroed(8);
    let string = |text: &str| [text.as_bytes(), &[0]].concat();
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    push(&mut info, told::COMMAND_LINE, &string(line));
    push(&mut info, told::LOADER_NAME, LOADER_NAME);
    for (at, end, line) in modules.all() {
        let place = numbers(&[at as u32, end as u32]);
        let line = string(&after_word(MODULE_WORD, line));
        push(&mut info, told::MODULE, &[place, line].concat());
    }
    let upper = machine.low_ram.saturating_sub(MIB) >> 10;
    push(&mut info, told::MEMORY, &numbers(&[(EBDA_AT >> 10) as u32, upper as u32]));
    let mut map = Record::new();
    map.push_u32(24).push_u32(0);
    for range in memory_map(machine)? {
        map.push_u64(range.at.0).push_u64(range.len).push_u32(range.kind as u32).push_u32(0);
    }
    push(&mut info, told::MEMORY_MAP, map.bytes());
    if let Some(screen) = &machine.screen {
        const TEXT_AT: u64 = 0xb_8000;
        const EGA_TEXT: u8 = 2;
        let (columns, rows) = (u32::from(screen.columns), u32::from(screen.rows));
        let mut screen = Record::new();
        screen.push_u64(TEXT_AT).push_u32(2 * columns).push_u32(columns).push_u32(rows);
        screen.push(&[16, EGA_TEXT, 0, 0]);
        push(&mut info, told::FRAMEBUFFER, screen.bytes());
    }
    if let Some(rsdp) = rsdp {
        push(&mut info, told::ACPI_2, rsdp);
    }
    push(&mut info, told::LOAD_BASE, &numbers(&[image.range.0 as u32]));
    push(&mut info, told::END, &[]);
    let len = info.len() as u32;
    info.set_u32(0, len);
    Ok(info.into_bytes())
}

/// Adds a tag. Each begins on a multiple of 8.
fn push(info: &mut Record, kind: u32, body: &[u8]) {
    info.push_u32(kind).push_u32(8 + body.len() as u32).push(body);
    info.push(&vec![0; info.len().next_multiple_of(8) - info.len()]);
}
