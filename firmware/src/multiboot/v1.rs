//! Version 1: the header (section 3.1) and the boot information (section 3.3).

use trine_guest::Gpa;

use super::{
    Addresses, Image, LOADER_NAME, MODULE_WORD, START_INFO_AT, after_word, by_addresses, by_elf,
};
use crate::{
    boot::BootError,
    description::{Description, MIB},
    e820::{EBDA_AT, memory_map},
    modules::Placed,
    record::{Record, u32_at},
};

const HEADER_MAGIC: u32 = 0x1bad_b002;
/// What EAX holds for the kernel.
pub(super) const LOADER_MAGIC: u32 = 0x2bad_b002;
/// The header lies within so many bytes.
const SEARCHED: usize = 8192;

/// Header flags: modules begin on pages (ours always do), memory information is wanted (it is
/// always there), a video mode would be nice (the screen shows text).
pub(super) const PAGES: u32 = 1 << 0;
pub(super) const MEMORY: u32 = 1 << 1;
const VIDEO: u32 = 1 << 2;
/// The header's address fields are valid.
pub(super) const ADDRESSES: u32 = 1 << 16;
/// A loader has to refuse a header with an unknown flag among these.
const REQUIRED: u32 = 0xffff;

/// The size of the information up to and without the video fields, which are not there.
const START_INFO_LEN: usize = 72;
/// Its flags: lower and upper memory, command line, modules, memory map, the loader's name.
const HAS_MEMORY: u32 = 1 << 0;
const HAS_CMDLINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MAP: u32 = 1 << 6;
const HAS_LOADER_NAME: u32 = 1 << 9;

/// The offset of the header in `file`, if there is one.
pub(super) fn find(file: &[u8]) -> Option<usize> {
    (0..SEARCHED - 8).step_by(4).find(|at| {
        let field = |n: usize| u32_at(file, at + 4 * n);
        let sum = field(1).zip(field(2)).map(|(flags, check)| flags.wrapping_add(check));
        field(0) == Some(HEADER_MAGIC) && sum == Some(HEADER_MAGIC.wrapping_neg())
    })
}

/// The image with a header at `header`.
pub(super) fn image<'a>(
    file: &'a [u8],
    header: usize,
    machine: &Description,
) -> Result<Image<'a>, BootError> {
    let flags = u32_at(file, header.saturating_add(4)).unwrap_or(0);
    if flags & REQUIRED & !(PAGES | MEMORY | VIDEO) != 0 {
        return Err(BootError::MultibootFlags(flags));
    }
    if flags & ADDRESSES == 0 {
        return by_elf(file, None, machine);
    }
    let field = |n: usize| {
        let cut = BootError::Truncated {
            part: "Multiboot header",
            needed: (header + 32) as u64,
            have: file.len() as u64,
        };
        u32_at(file, header + 4 * n).ok_or(cut)
    };
    let addresses = Addresses {
        header: field(3)?,
        load: field(4)?,
        load_end: field(5)?,
        bss_end: field(6)?,
        entry: field(7)?,
    };
    by_addresses(file, header, &addresses, machine)
}

/// The boot information with the module list, the memory map and strings behind it.
pub(super) fn start_info(
    machine: &Description,
    cmdline: Gpa,
    modules: &Placed<'_>,
) -> Result<Vec<u8>, BootError> {
    let map = memory_map(machine)?;
    let mut info = Record::zeroed(START_INFO_LEN);
    let place = |info: &Record| START_INFO_AT.0 as u32 + info.len() as u32;
    let modules_at = place(&info);
    let lines_at = modules_at + 16 * modules.len() as u32;
    let mut lines = Vec::new();
    for (at, end, line) in modules.all() {
        info.push_u32(at as u32).push_u32(end as u32);
        info.push_u32(lines_at + lines.len() as u32).push_u32(0);
        lines.extend([after_word(MODULE_WORD, line).as_bytes(), &[0]].concat());
    }
    lines.resize(lines.len().next_multiple_of(4), 0);
    info.push(&lines);
    let map_at = place(&info);
    for range in &map {
        info.push_u32(20).push_u64(range.at.0).push_u64(range.len).push_u32(range.kind as u32);
    }
    let map_len = place(&info) - map_at;
    let name_at = place(&info);
    info.push(LOADER_NAME);
    info.set_u32(0, HAS_MEMORY | HAS_CMDLINE | HAS_MODULES | HAS_MAP | HAS_LOADER_NAME)
        .set_u32(4, (EBDA_AT >> 10) as u32)
        .set_u32(8, (machine.low_ram.saturating_sub(MIB) >> 10) as u32)
        .set_u32(16, cmdline.0 as u32)
        .set_u32(20, modules.len() as u32)
        .set_u32(24, if modules.len() > 0 { modules_at } else { 0 })
        .set_u32(44, map_len)
        .set_u32(48, map_at)
        .set_u32(64, name_at);
    Ok(info.into_bytes())
}
