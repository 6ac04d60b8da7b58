//! What a boot protocol asks for: bytes to place in RAM and the state in which the CPU starts.

use trine_guest::Gpa;

use crate::{description::Description, record::Record};

/// Everything that has to be done before the first CPU runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// What to place where: in RAM (or ROM), in ascending order, none overlapping another. RAM elsewhere is
    /// taken to be zero, as it is in a new machine; who boots a second time clears it first.
    pub segments: Vec<(Gpa, Vec<u8>)>,
    /// How the first CPU starts.
    pub entry: Entry,
}

/// The state of the first CPU where it differs from the state after reset. In every case interrupts
/// are off and general registers that are not mentioned are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The state after RESET, registers too: nothing has prepared anything.
    Reset,
    /// Real mode; DS, ES, SS, FS and GS are zero, SP is the entry's business.
    Real {
        /// Code segment; its base is 16 times this.
        cs: u16,
        /// Instruction pointer.
        ip: u16,
    },
    /// Protected mode without paging, in flat 32-bit segments.
    Protected32 {
        /// Instruction pointer.
        eip: u32,
        /// For Multiboot, the loader's signature.
        eax: u32,
        /// For Linux, where `boot_params` is.
        esi: u32,
        /// For PVH and Multiboot, where the start info is.
        ebx: u32,
        /// GDTR.
        gdt: Gdt,
        /// Selector of the code segment.
        cs: u16,
        /// Selector of the data segment, for DS, ES, SS, FS and GS.
        ds: u16,
        /// Selector of the TSS, base 0 and limit 0x67, marked busy; 0 where the protocol asks for
        /// none and the task register stays as reset left it.
        tr: u16,
    },
    /// 64-bit mode: CR0.PG, CR4.PAE, EFER.LME and EFER.LMA are set, the first 4 GiB are mapped one
    /// to one.
    Long64 {
        /// Instruction pointer.
        rip: u64,
        /// Where `boot_params` is.
        rsi: u64,
        /// A small stack that may be used.
        rsp: u64,
        /// Where the page tables are.
        cr3: u64,
        /// GDTR.
        gdt: Gdt,
        /// Selector of the code segment.
        cs: u16,
        /// Selector of the data segment, for DS, ES, SS, FS and GS.
        ds: u16,
    },
}

/// The global descriptor table register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gdt {
    /// Where the table is.
    pub base: Gpa,
    /// Offset of its last byte.
    pub limit: u16,
}

/// What the CPU can do, and so how a kernel may be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryMode {
    /// The CPU has no long mode: only the 32-bit entry will do.
    Protected32,
    /// The CPU has long mode: a 64-bit kernel is entered there, any other by the 32-bit entry.
    Long64,
}

/// Why a kernel cannot be booted, in a line for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// The description of the board makes no sense.
    #[error("this machine cannot be described: {0}")]
    Description(&'static str),
    /// The file is not a kernel of a kind we know.
    #[error("the kernel is no bzImage, no Multiboot image and no ELF file{0}")]
    UnknownKernel(&'static str),
    /// The file ends too early.
    #[error("the kernel file is truncated: its {part} ends at {needed} bytes, the file at {have}")]
    Truncated {
        /// What is cut off.
        part: &'static str,
        /// Where that would end.
        needed: u64,
        /// Where the file ends.
        have: u64,
    },
    /// A field of the file has a value that cannot be right.
    #[error("the kernel file is damaged: {0}")]
    Damaged(&'static str),
    /// A bzImage older than what is supported.
    #[error("the kernel has boot protocol {}.{:02}, the oldest supported is 2.06 (Linux 2.6.22)",
        .0 >> 8, .0 & 0xff)]
    OldProtocol(u16),
    /// A kernel of the 16-bit kind that lies below 1 MiB.
    #[error("the kernel is a zImage, which loads below 1 MiB; only a bzImage will do")]
    NotLoadedHigh,
    /// A 64-bit kernel and a 32-bit CPU.
    #[error("the kernel is a 64-bit kernel, this CPU has no long mode")]
    NeedsLongMode,
    /// An ELF file without the note that says how to enter it.
    #[error(
        "the kernel is an ELF file without a PVH entry (CONFIG_PVH) or a Multiboot header; use its bzImage"
    )]
    NoPvhEntry,
    /// A Multiboot 2 header with a tag that must be obeyed and is not known.
    #[error("the kernel's Multiboot 2 header asks for something unknown (tag {0})")]
    MultibootTag(u16),
    /// A Multiboot header that asks for what we do not know.
    #[error("the kernel's Multiboot header has flags {0:#x}, of which some are not known")]
    MultibootFlags(u32),
    /// An ELF file for another machine.
    #[error("the kernel is an ELF file, but not for x86")]
    NotX86,
    /// The command line is longer than the kernel takes.
    #[error("the command line has {len} bytes, the kernel takes {limit}")]
    CommandLineTooLong {
        /// Its length in bytes.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// The command line contains a zero byte, where the kernel would end it.
    #[error("the command line contains a zero byte")]
    CommandLineZero,
    /// The kernel is larger than RAM.
    #[error("the kernel needs RAM up to {needed:#x}, low RAM ends at {low_ram:#x}")]
    KernelTooLarge {
        /// The end of what it needs.
        needed: u64,
        /// The end of low RAM.
        low_ram: u64,
    },
    /// The initrd fits nowhere.
    #[error("the initrd has {len} bytes, only {room} are free where the kernel can reach them")]
    InitrdTooLarge {
        /// Its length in bytes.
        len: u64,
        /// The largest room for it.
        room: u64,
    },
    /// A module has a command line, and the boot protocol has no place for it.
    #[error("an initrd of this kernel takes no arguments; give --initrd the file alone")]
    ModuleLine,
    /// What a kernel is to be told has too many bytes.
    #[error("there are too many modules, or their arguments are too long")]
    StartInfo,
    /// A part of the kernel lies where something else must lie, or outside RAM.
    #[error("the kernel wants memory at {at:#x} that is not free for it")]
    Overlap {
        /// Where.
        at: u64,
    },
    /// A firmware image that fits no ROM.
    #[error("the firmware image has {0} bytes; a ROM has whole pages of 4 KiB from 64K to 16M")]
    RomSize(u64),
    /// There are too many CPUs, or too much of something else, for the place the tables have.
    #[error("the {0} tables do not fit into the 64 KiB they have; use fewer CPUs")]
    TablesTooLarge(&'static str),
}

/// Where the GDT for the entry is placed.
const GDT_AT: Gpa = Gpa(0x500);
/// The selectors of the boot protocol (`__BOOT_CS`, `__BOOT_DS`), and one for a TSS.
pub(crate) const CODE_SELECTOR: u16 = 0x10;
pub(crate) const DATA_SELECTOR: u16 = 0x18;
pub(crate) const TSS_SELECTOR: u16 = 0x20;

/// Where the page tables are placed: PML4, PDPT and four page directories.
pub(crate) const PAGE_TABLES_AT: Gpa = Gpa(0x9000);
/// The stack ends here.
pub(crate) const STACK_END: Gpa = Gpa(0x9000);

/// A GDT with flat segments: 64-bit code where `mode` is long mode, else 32-bit code and a TSS.
pub(crate) fn gdt(mode: EntryMode) -> (Gdt, (Gpa, Vec<u8>)) {
    // Intel SDM vol. 3A, section 3.4.5: present, ring 0, accessed; limit 0xfffff pages.
    let code: u64 = match mode {
        EntryMode::Protected32 => 0x00cf_9b00_0000_ffff,
        EntryMode::Long64 => 0x00af_9b00_0000_ffff,
    };
    let mut table = Record::new();
    table.push_u64(0).push_u64(0).push_u64(code).push_u64(0x00cf_9300_0000_ffff);
    if mode == EntryMode::Protected32 {
        // A busy 32-bit TSS, base 0, limit 0x67.
        table.push_u64(0x0000_8b00_0000_0067);
    }
    let limit = table.len() as u16 - 1;
    (Gdt { base: GDT_AT, limit }, (GDT_AT, table.into_bytes()))
}

/// Page tables that map the first 4 GiB one to one with 2 MiB pages (Intel SDM vol. 3A, section
/// 4.5).
pub(crate) fn page_tables() -> (Gpa, Vec<u8>) {
    const PRESENT_WRITABLE: u64 = 0b11;
    const LARGE: u64 = 1 << 7;
    const PAGE: u64 = 0x1000;
    let base = PAGE_TABLES_AT.0;
    let mut tables = Record::zeroed(6 * PAGE as usize);
    tables.set_u64(0, (base + PAGE) | PRESENT_WRITABLE);
    for directory in 0..4u64 {
        let at = base + PAGE * (2 + directory);
        tables.set_u64((PAGE + 8 * directory) as usize, at | PRESENT_WRITABLE);
    }
    for page in 0..2048u64 {
        tables.set_u64((2 * PAGE + 8 * page) as usize, (page << 21) | LARGE | PRESENT_WRITABLE);
    }
    (PAGE_TABLES_AT, tables.into_bytes())
}

impl Boot {
    /// Sorts the segments and makes sure that they lie in RAM and apart.
    pub(crate) fn placed(
        mut segments: Vec<(Gpa, Vec<u8>)>,
        entry: Entry,
        machine: &Description,
    ) -> Result<Self, BootError> {
        segments.retain(|(_, bytes)| !bytes.is_empty());
        segments.sort_by_key(|(at, _)| *at);
        let ranges: Vec<(u64, u64)> =
            segments.iter().map(|(at, bytes)| (at.0, bytes.len() as u64)).collect();
        check_apart(&ranges, machine)?;
        Ok(Self { segments, entry })
    }
}

/// Makes sure that ranges (address and length, in ascending order) lie in RAM and apart.
pub(crate) fn check_apart(ranges: &[(u64, u64)], machine: &Description) -> Result<(), BootError> {
    let mut free_from = 0;
    for &(at, len) in ranges {
        if at < free_from || !machine.is_ram(at, len) {
            return Err(BootError::Overlap { at });
        }
        free_from = at + len;
    }
    Ok(())
}
