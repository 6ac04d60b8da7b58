//! The stage of the host's CPU: what a user's program on Linux sees of memory and descriptors.
//!
//! The program owns the linear addresses 10000h to 1FFFFh, page by page as [`trine_native::page`]
//! says; nothing else is there. The supervisor's tables lie in the upper half of linear space. Its
//! segments are Linux's, its local descriptor table is [`trine_native::LDT`], so that the same
//! selectors mean the same.
//!
//! Sources: Linux, `arch/x86/include/asm/segment.h` and `arch/x86/kernel/idt.c`; SDM vol. 3A,
//! sections 3.5, 4.5 and 6.14.

use trine_engine::{CpuModel, CpuState};
use trine_guest::{Gpa, Ram};
use trine_native::{LDT, Page, WINDOW, page};
use trine_x86::{Segment, Table, cr0, cr4, efer, rflags};

/// The supervisor's linear addresses are this many above the physical ones.
pub(crate) const SUPERVISOR: u64 = 0xffff_8000_0000_0000;
pub(crate) const RAM_BYTES: u64 = 0x4_0000;
const GDT: u64 = 0x2_0000;
const LOCAL: u64 = 0x2_0800;
const IDT: u64 = 0x2_1000;
const TSS: u64 = 0x2_2000;
/// Each exception's handler is a HLT, 16 bytes apart.
const HANDLERS: u64 = 0x2_3000;
const PAGES: u64 = 0x2_4000;
/// Where the supervisor's stack begins.
const STACK: u64 = 0x3_0000;
/// Vectors that have a handler.
const VECTORS: u64 = 32;

const SUPERVISOR_CODE: u16 = 0x10;
const USER_DATA: u16 = 0x2b;
/// 64-bit code of users.
pub(crate) const USER_CODE64: u16 = 0x33;
/// 32-bit code of users.
pub(crate) const USER_CODE32: u16 = 0x23;
/// 16-bit code in the local table, of the whole window.
pub(crate) const LOCAL_CODE16: u16 = 0x1f;
/// 16-bit data in the local table, of the whole window.
pub(crate) const LOCAL_DATA16: u16 = 0x27;
const TASK: u16 = 0x40;
const LOCAL_TABLE: u16 = 0x50;

/// The global table, but for the system descriptors.
const DESCRIPTORS: [u64; 16] = [
    0,
    0x00cf_9b00_0000_ffff,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    // The number of the CPU and its node, for LSL.
    0x0040_f500_0000_0000,
];

/// Writes the tables.
pub(crate) fn tables(ram: &Ram) {
    let put = |at: u64, value: u64| ram.write(Gpa(at), &value.to_le_bytes()).expect("in RAM");
    for (n, descriptor) in DESCRIPTORS.iter().enumerate() {
        put(GDT + 8 * n as u64, *descriptor);
    }
    system_descriptor(&put, TASK, TSS, 0x206f, 0x8b);
    system_descriptor(&put, LOCAL_TABLE, LOCAL, 8 * LDT.len() as u64 - 1, 0x82);
    for (n, descriptor) in LDT.iter().enumerate() {
        put(LOCAL + 8 * n as u64, *descriptor);
    }
    for n in 0..VECTORS {
        // #BP and #OF are a user's to raise.
        let rights: u64 = if n == 3 || n == 4 { 0xee00 } else { 0x8e00 };
        let at = SUPERVISOR + HANDLERS + 16 * n;
        let low = at & 0xffff | u64::from(SUPERVISOR_CODE) << 16 | rights << 32;
        put(IDT + 16 * n, low | (at >> 16 & 0xffff) << 48);
        put(IDT + 16 * n + 8, at >> 32);
        ram.write(Gpa(HANDLERS + 16 * n), &[0xf4]).expect("in RAM");
    }
    put(TSS + 4, SUPERVISOR + STACK);
    // The I/O map lies beyond the limit: no port is allowed.
    put(TSS + 0x60, 0xffff_0000_0000_0000);
    page_tables(&put);
}

fn system_descriptor(put: &impl Fn(u64, u64), selector: u16, base: u64, limit: u64, rights: u64) {
    let base = SUPERVISOR + base;
    let at = GDT + u64::from(selector & !7);
    put(at, limit | (base & 0xff_ffff) << 16 | rights << 40 | (base >> 24 & 0xff) << 56);
    put(at + 8, base >> 32);
}

/// Bits of an entry: present, writable, user, accessed and dirty, no execute.
const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const A: u64 = 0x60;
const NX: u64 = 1 << 63;

fn page_tables(put: &impl Fn(u64, u64)) {
    let table = |n: u64| PAGES + n * 0x1000;
    // The root; then, for the user's half and the supervisor's, one table of each level.
    for (slot, first, user) in [(0, 1, U), (0x100, 4, 0)] {
        put(table(0) + 8 * slot, table(first) | P | W | user | A);
        put(table(first), table(first + 1) | P | W | user | A);
        put(table(first + 1), table(first + 2) | P | W | user | A);
    }
    for n in 0..RAM_BYTES >> 12 {
        put(table(6) + 8 * n, n << 12 | P | W | A);
    }
    for n in WINDOW >> 12..2 * WINDOW >> 12 {
        let bits = match page(n << 12) {
            Page::Code => P | U | A,
            Page::Data => P | U | W | A | NX,
            Page::ReadOnly => P | U | A | NX,
            Page::Absent => 0,
        };
        put(table(3) + 8 * n, n << 12 | bits);
    }
}

/// The state in which a user's program in 64-bit code begins. Other code takes another CS.
pub(crate) fn state(model: &CpuModel) -> CpuState {
    let mut s = CpuState::reset(model, 0);
    s.gpr = [0; 16];
    s.rip = WINDOW;
    s.rflags = rflags::FIXED | rflags::IF;
    s.x87.control = 0x37f;
    s.control.cr0 = cr0::PG | cr0::AM | cr0::WP | cr0::NE | cr0::ET | cr0::MP | cr0::PE;
    s.control.cr3 = PAGES;
    s.control.cr4 =
        cr4::PAE | cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::OSXSAVE | cr4::FSGSBASE | cr4::UMIP;
    s.control.efer = efer::SCE | efer::LME | efer::LMA | efer::NXE;
    s.control.xcr0 = 7;
    s.segments.gdtr = Table { base: SUPERVISOR + GDT, limit: 8 * 16 - 1 };
    s.segments.idtr = Table { base: SUPERVISOR + IDT, limit: 0xfff };
    s.segments.tr = Segment { selector: TASK, base: SUPERVISOR + TSS, limit: 0x206f, rights: 0x8b };
    let limit = 8 * LDT.len() as u32 - 1;
    s.segments.ldtr =
        Segment { selector: LOCAL_TABLE, base: SUPERVISOR + LOCAL, limit, rights: 0x82 };
    s.segments.seg = [segment(USER_DATA); 6];
    s.segments.seg[1] = segment(USER_CODE64);
    for null in [4, 5] {
        s.segments.seg[null] = segment(0);
    }
    s
}

/// The segment register that loading `selector` gives.
pub(crate) fn segment(selector: u16) -> Segment {
    let table: &[u64] = if selector & 4 == 0 { &DESCRIPTORS } else { &LDT };
    let d = table.get(usize::from(selector >> 3)).copied().unwrap_or(0);
    if selector & 0xfffc == 0 || d == 0 {
        return Segment { selector, rights: 0x1_0000, ..Segment::default() };
    }
    let limit = (d & 0xffff | d >> 32 & 0xf_0000) as u32;
    Segment {
        selector,
        base: d >> 16 & 0xff_ffff | d >> 32 & 0xff00_0000,
        limit: if d >> 55 & 1 != 0 { limit << 12 | 0xfff } else { limit },
        rights: (d >> 40 & 0xf0ff) as u32,
    }
}

/// An exception's frame on the supervisor's stack (SDM vol. 3A, figure 6-9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) vector: u8,
    /// 0 where the exception has none.
    pub(crate) error: u32,
    pub(crate) rip: u64,
    pub(crate) cs: u16,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u16,
}

/// The exception that brought the program to its end, if `after` is that of a CPU in a handler.
pub(crate) fn frame(ram: &Ram, after: &CpuState) -> Option<Frame> {
    let handler = after.rip.checked_sub(SUPERVISOR + HANDLERS)?;
    if handler >= VECTORS * 16 {
        return None;
    }
    let vector = (handler / 16) as u8;
    let has_error = matches!(vector, 8 | 10..=14 | 17 | 21);
    let at = after.gpr[4].checked_sub(SUPERVISOR)?;
    let word = |n: u64| {
        let mut bytes = [0; 8];
        ram.read(Gpa(at + 8 * (n + u64::from(has_error))), &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    let mut error = [0; 4];
    if has_error {
        ram.read(Gpa(at), &mut error).ok()?;
    }
    Some(Frame {
        vector,
        error: u32::from_le_bytes(error),
        rip: word(0)?,
        cs: word(1)? as u16,
        rflags: word(2)?,
        rsp: word(3)?,
        ss: word(4)? as u16,
    })
}
