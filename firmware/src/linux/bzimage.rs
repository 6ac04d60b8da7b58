//! The Linux boot protocol for x86 (`Documentation/arch/x86/boot.rst`): setup header, zero page,
//! 32-bit and 64-bit entry. The real-mode part of the kernel is not run.

use trine_guest::Gpa;

use super::cmdline_segment;
use crate::{
    boot::{
        self, Boot, BootError, CODE_SELECTOR, DATA_SELECTOR, Entry, EntryMode, Gdt, PAGE_TABLES_AT,
        STACK_END,
    },
    description::{Description, MIB, TextScreen},
    e820::memory_map,
    modules::module_at,
    record::{Record, u8_at, u16_at, u32_at, u64_at},
    tables::tables,
};

/// Where `boot_params` is placed.
const BOOT_PARAMS_AT: Gpa = Gpa(0x7000);
/// Its size: a page.
const BOOT_PARAMS_LEN: usize = 0x1000;
/// The setup header lies at the same offset in the file and in `boot_params`.
const HEADER_AT: usize = 0x1f1;
/// Where the room for the setup header in `boot_params` ends.
const HEADER_MAX: usize = 0x290;
/// The oldest protocol supported: the first with `cmdline_size`.
const OLDEST: u16 = 0x206;
/// The 64-bit entry, from where the kernel is loaded.
const ENTRY_64: u64 = 0x200;
/// `e820_table` in `boot_params` has room for this many ranges.
const E820_MAX: usize = 128;

/// Bits of `loadflags`.
const LOADED_HIGH: u8 = 1;
const CAN_USE_HEAP: u8 = 1 << 7;
/// Bit of `xloadflags`: the kernel is 64-bit and has the 64-bit entry.
const XLF_KERNEL_64: u16 = 1;

/// What the setup header says that we need.
struct SetupHeader {
    version: u16,
    /// Where the header ends in the file.
    end: usize,
    /// Where the protected-mode kernel lies in the file.
    kernel: std::ops::Range<usize>,
    load_flags: u8,
    code32_start: u32,
    initrd_addr_max: u32,
    kernel_alignment: u32,
    relocatable: bool,
    xload_flags: u16,
    cmdline_size: u32,
    /// From protocol 2.10 on: where the kernel would like to run and how much memory it needs
    /// there.
    preferred: Option<(u64, u32)>,
}

impl SetupHeader {
    fn read(file: &[u8]) -> Result<Self, BootError> {
        let cut =
            BootError::Truncated { part: "setup header", needed: 0x268, have: file.len() as u64 };
        let version = u16_at(file, 0x206).ok_or(cut.clone())?;
        if version < OLDEST {
            return Err(BootError::OldProtocol(version));
        }
        Self::fields(file, version).ok_or(cut)?
    }

    /// The fields of a header of a supported version; `None` where the file ends within it.
    fn fields(file: &[u8], version: u16) -> Option<Result<Self, BootError>> {
        // The offset of a jump over the header says where it ends.
        let end = 0x202 + usize::from(u8_at(file, 0x201)?);
        let needed = match version {
            ..0x20a => 0x23c,
            0x20a..0x20c => 0x264,
            _ => 0x268,
        };
        if end < needed {
            return Some(Err(BootError::Damaged("its setup header is too short for its version")));
        }
        let setup_sectors = match u8_at(file, HEADER_AT)? {
            0 => 4,
            sectors => usize::from(sectors),
        };
        let start = 512 * (setup_sectors + 1);
        // Its length is in units of 16 bytes, and not every builder fills the last one.
        const UNIT: u64 = 16;
        let have = file.len() as u64;
        let stop = start as u64 + u64::from(u32_at(file, 0x1f4)?) * UNIT;
        if stop >= have + UNIT {
            return Some(Err(BootError::Truncated { part: "kernel", needed: stop, have }));
        }
        if end > start {
            return Some(Err(BootError::Damaged("its setup header reaches into the kernel")));
        }
        let preferred = (version >= 0x20a).then_some((u64_at(file, 0x258)?, u32_at(file, 0x260)?));
        Some(Ok(Self {
            version,
            end,
            kernel: start..stop.min(have) as usize,
            load_flags: u8_at(file, 0x211)?,
            code32_start: u32_at(file, 0x214)?,
            initrd_addr_max: u32_at(file, 0x22c)?,
            kernel_alignment: u32_at(file, 0x230)?,
            relocatable: u8_at(file, 0x234)? != 0,
            xload_flags: if version >= 0x20c { u16_at(file, 0x236)? } else { 0 },
            cmdline_size: u32_at(file, 0x238)?,
            preferred,
        }))
    }

    /// Where the kernel is loaded, and the memory it needs from then on until it has found out what
    /// memory there is (start and end).
    fn place(&self, machine: &Description) -> Result<(u64, (u64, u64)), BootError> {
        let payload = self.kernel.len() as u64;
        let standard = u64::from(self.code32_start);
        let (preferred, init_size) = self.preferred.unwrap_or((standard, 0));
        let beyond = BootError::Damaged("it wants to run beyond 4 GiB");
        let (load, run) = if self.relocatable {
            // A relocatable kernel runs where it is loaded, on its alignment, and moves itself to
            // the preferred address if it was loaded below that: so best load it there.
            let alignment = u64::from(self.kernel_alignment);
            if !alignment.is_power_of_two() {
                return Err(BootError::Damaged("its alignment is not a power of two"));
            }
            let aligned = preferred.checked_next_multiple_of(alignment).ok_or(beyond.clone())?;
            (aligned, aligned)
        } else {
            (standard, preferred)
        };
        let run_end = run.checked_add(u64::from(init_size)).ok_or(beyond.clone())?;
        let load_end = load.checked_add(payload).ok_or(beyond)?;
        let (start, end) = (load.min(run), load_end.max(run_end));
        if start < MIB {
            return Err(BootError::Damaged("it wants to be loaded below 1 MiB"));
        }
        if end > machine.low_ram {
            return Err(BootError::KernelTooLarge { needed: end, low_ram: machine.low_ram });
        }
        Ok((load, (start, end)))
    }

    fn is_64_bit(&self) -> bool {
        self.xload_flags & XLF_KERNEL_64 != 0
    }
}

/// What starts a bzImage.
pub(super) fn boot(
    file: &[u8],
    initrd: &[u8],
    cmdline: &str,
    machine: &Description,
    cpu: EntryMode,
) -> Result<Boot, BootError> {
    let header = SetupHeader::read(file)?;
    if header.load_flags & LOADED_HIGH == 0 {
        return Err(BootError::NotLoadedHigh);
    }
    let mode = match (header.is_64_bit(), cpu) {
        (true, EntryMode::Protected32) => return Err(BootError::NeedsLongMode),
        (true, EntryMode::Long64) => EntryMode::Long64,
        (false, _) => EntryMode::Protected32,
    };
    let kernel = file.get(header.kernel.clone()).unwrap_or_default();
    if kernel.len() as u64 <= ENTRY_64 {
        return Err(BootError::Damaged("there is no code in it"));
    }
    let (load, kernel_area) = header.place(machine)?;
    let cmdline = cmdline_segment(cmdline, u64::from(header.cmdline_size))?;
    let initrd = match initrd {
        [] => None,
        bytes => {
            let max = u64::from(header.initrd_addr_max);
            Some((module_at(bytes.len(), max, kernel_area, machine)?, bytes.to_vec()))
        }
    };
    let tables = tables(machine)?;

    let mut params = zero_page(machine)?;
    let copied = header.end.min(HEADER_MAX);
    params.set(HEADER_AT, file.get(HEADER_AT..copied).unwrap_or_default());
    fill_header(&mut params, &header, load);
    params.set_u32(0x228, cmdline.0.0 as u32);
    if let Some((at, bytes)) = &initrd {
        params.set_u32(0x218, at.0 as u32).set_u32(0x21c, bytes.len() as u32);
    }
    if let Some(rsdp) = tables.rsdp {
        params.set_u64(0x070, rsdp.0);
    }
    log::debug!(
        "bzImage, protocol {}.{:02}: kernel at {load:#x}, needs up to {:#x}, initrd at {:x?}",
        header.version >> 8,
        header.version & 0xff,
        kernel_area.1,
        initrd.as_ref().map(|(at, _)| at.0)
    );

    let (gdt, gdt_segment) = boot::gdt(mode);
    let mut segments = tables.segments;
    segments.extend([gdt_segment, (BOOT_PARAMS_AT, params.into_bytes()), cmdline]);
    segments.push((Gpa(load), kernel.to_vec()));
    segments.extend(initrd);
    if mode == EntryMode::Long64 {
        segments.push(boot::page_tables());
    }
    Boot::placed(segments, entry(mode, load, gdt), machine)
}

/// How a kernel that was loaded at `load` is entered.
fn entry(mode: EntryMode, load: u64, gdt: Gdt) -> Entry {
    match mode {
        EntryMode::Protected32 => Entry::Protected32 {
            eax: 0,
            eip: load as u32,
            esi: BOOT_PARAMS_AT.0 as u32,
            ebx: 0,
            gdt,
            cs: CODE_SELECTOR,
            ds: DATA_SELECTOR,
            tr: 0,
        },
        EntryMode::Long64 => Entry::Long64 {
            rip: load + ENTRY_64,
            rsi: BOOT_PARAMS_AT.0,
            rsp: STACK_END.0,
            cr3: PAGE_TABLES_AT.0,
            gdt,
            cs: CODE_SELECTOR,
            ds: DATA_SELECTOR,
        },
    }
}

/// The fields of the setup header that the boot loader writes, except addresses of other parts.
fn fill_header(params: &mut Record, header: &SetupHeader, load: u64) {
    const NORMAL_VIDEO_MODE: u16 = 0xffff;
    const UNDEFINED_LOADER: u8 = 0xff;
    // The end of setup's heap, less 0x200 as the protocol has it; only real-mode code uses it.
    const HEAP_END: u16 = 0xfe00;
    params
        .set_u16(0x1fa, NORMAL_VIDEO_MODE)
        .set_u8(0x210, UNDEFINED_LOADER)
        .set_u8(0x211, header.load_flags | LOADED_HIGH | CAN_USE_HEAP)
        .set_u32(0x214, load as u32)
        .set_u32(0x218, 0)
        .set_u32(0x21c, 0)
        .set_u16(0x224, HEAP_END);
    if header.version >= 0x209 {
        // No list of further data.
        params.set_u64(0x250, 0);
    }
}

/// `boot_params` before the setup header is copied in (`Documentation/arch/x86/zero-page.rst`).
fn zero_page(machine: &Description) -> Result<Record, BootError> {
    let mut params = Record::zeroed(BOOT_PARAMS_LEN);
    if let Some(screen) = &machine.screen {
        fill_screen(&mut params, screen);
    }
    let above_1m = (machine.low_ram - MIB) / 1024;
    params.set_u16(0x002, above_1m.min(0xfc00) as u16).set_u32(0x1e0, above_1m as u32);
    let map = memory_map(machine)?;
    let entries = map.len().min(E820_MAX);
    params.set_u8(0x1e8, entries as u8);
    for (index, range) in map.iter().take(entries).enumerate() {
        let at = 0x2d0 + 20 * index;
        params.set_u64(at, range.at.0).set_u64(at + 8, range.len);
        params.set_u32(at + 16, range.kind as u32);
    }
    Ok(params)
}

/// `screen_info` for a VGA text mode; all zeros say that there is no screen.
fn fill_screen(params: &mut Record, screen: &TextScreen) {
    params
        .set_u8(0x00, screen.cursor.0)
        .set_u8(0x01, screen.cursor.1)
        .set_u8(0x06, screen.mode)
        .set_u8(0x07, screen.columns)
        .set_u16(0x0a, 3) // EGA BX: 256 KiB of video memory, colour
        .set_u8(0x0e, screen.rows)
        .set_u8(0x0f, 1) // it is a VGA
        .set_u16(0x10, screen.character_height);
}
