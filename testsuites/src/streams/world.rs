//! The world in which streams run: 384 KiB with tables for every mode at once, and handlers that
//! let a stream go on behind whatever faulted.
//!
//! A stream lies in slots of 32 bytes. The handler of an exception moves the saved instruction
//! pointer to the next slot, so that one that faults costs one slot. All tables of all modes exist
//! side by side: a stream changes modes by loading what belongs to the other.
//!
//! Sources: SDM vol. 3A, chapters 3 (segmentation), 4 (paging), 6 (interrupts) and 7 (tasks);
//! vol. 3B, chapter 21 (real and virtual-8086 mode).

use trine_engine::{CpuModel, CpuState};
use trine_x86::{Segment, Table, cr0, cr4, efer, rflags};

use crate::noise::Noise;

/// Bytes of RAM.
pub const RAM_BYTES: u64 = 0x6_0000;
/// The stream.
pub const CODE: u32 = 0x1000;
/// Behind it.
pub const CODE_END: u32 = 0x5000;
/// A handler goes on at a multiple of this.
pub const SLOT: u32 = 32;
/// Data that streams read and write, in pages whose entries they change.
pub const DATA: u32 = 0x6000;
/// Behind it.
pub const DATA_END: u32 = 0xa000;
/// The stack that every stream begins with grows down from here.
pub const STACK: u32 = 0xf000;
/// The stack that handlers get from a TSS.
const STACK0: u32 = 0xff00;

/// Operands of LGDT and LIDT.
pub const GDT_POINTER: u32 = 0xf00;
/// The interrupt table of protected mode.
pub const IDT32_POINTER: u32 = 0xf10;
/// That of long mode.
pub const IDT64_POINTER: u32 = 0xf20;
/// That of real mode.
pub const IVT_POINTER: u32 = 0xf30;

const GDT: u32 = 0x1_0000;
const GDT_LIMIT: u16 = 0x12f;
const LDT: u32 = 0x1_0800;
const IDT32: u32 = 0x1_1000;
const IDT64: u32 = 0x1_2000;
const TSS32: u32 = 0x1_3000;
const TSS64: u32 = 0x1_3400;
const TSS_DOUBLE: u32 = 0x1_3800;
const HANDLERS32: u32 = 0x1_4000;
const HANDLERS64: u32 = 0x1_5000;
const HANDLERS16: u32 = 0x1_6000;
/// What call gates lead to.
const GATED: u32 = 0x1_6800;
/// Tops of the stacks that the interrupt-stack table of long mode names.
const IST: u32 = 0x2_a000;

/// The root of the tables of long mode.
pub const PML4: u32 = 0x2_0000;
/// The last level of the tables of long mode: an entry of 8 bytes for each page.
pub const PT64: u32 = 0x2_3000;
/// The root of PAE's tables.
pub const PAE_ROOT: u32 = 0x2_4000;
/// Their last level.
pub const PT_PAE: u32 = 0x2_6000;
/// The root of 32-bit tables.
pub const PD32: u32 = 0x2_7000;
/// Their last level: an entry of 4 bytes for each page.
pub const PT32: u32 = 0x2_8000;

/// Selectors.
pub mod selector {
    pub const CODE32: u16 = 0x08;
    pub const DATA32: u16 = 0x10;
    pub const CODE64: u16 = 0x18;
    pub const CODE16: u16 = 0x20;
    pub const DATA16: u16 = 0x28;
    pub const USER_CODE32: u16 = 0x33;
    pub const USER_DATA32: u16 = 0x3b;
    pub const USER_CODE64: u16 = 0x43;
    pub const USER_CODE16: u16 = 0x4b;
    pub const USER_DATA16: u16 = 0x53;
    pub const TSS32: u16 = 0x58;
    pub const TSS64: u16 = 0x60;
    pub const TSS_DOUBLE: u16 = 0x70;
    pub const LDT: u16 = 0x78;
    pub const CONFORMING: u16 = 0xa8;
    pub const CALL_GATE: u16 = 0xb8;
    pub const CALL_GATE64: u16 = 0xc0;
    /// Data segments with limits, types and states of every kind, null selectors and the LDT's.
    pub const DATA: [u16; 16] = [
        DATA32,
        DATA32,
        DATA16,
        USER_DATA32,
        USER_DATA16,
        0x8b,
        0x93,
        0x9b,
        0xa3,
        0xb3,
        0xdb,
        0xe3,
        0,
        3,
        7,
        0xf,
    ];
}
use selector::{
    CODE16, CODE32, CODE64, DATA16, DATA32, USER_CODE16, USER_CODE32, USER_CODE64, USER_DATA16,
    USER_DATA32,
};

/// Descriptors from selector 0 on.
const DESCRIPTORS: [u64; 36] = [
    0,
    0x00cf_9a00_0000_ffff,
    0x00cf_9200_0000_ffff,
    0x00af_9a00_0000_ffff,
    0x0000_9a00_0000_ffff,
    0x0000_9200_0000_ffff,
    0x00cf_fa00_0000_ffff,
    0x00cf_f200_0000_ffff,
    0x00af_fa00_0000_ffff,
    0x0000_fa00_0000_ffff,
    0x0000_f200_0000_ffff,
    // 58: TSSs and the LDT; the 16-byte ones of long mode have upper halves of 0.
    0x0000_8901_3000_03ff,
    0x0000_8901_3400_03ff,
    0,
    0x0000_8901_3800_0067,
    0x0000_8201_0800_001f,
    0,
    // 88: base 6000h, limit FFh.
    0x0040_f200_6000_00ff,
    // 90: expand-down above 6FFFh, up to FFFFh.
    0x0000_f600_0000_6fff,
    // 98: read-only.
    0x00cf_f000_0000_ffff,
    // A0: not present.
    0x00cf_7200_0000_ffff,
    // A8: conforming code.
    0x00cf_9e00_0000_ffff,
    // B0: code that cannot be read.
    0x00cf_f800_0000_ffff,
    // B8: a call gate, with one parameter.
    0x0001_ec01_0008_6800,
    // C0: a call gate of long mode, 16 bytes.
    0x0001_ec00_0018_6880,
    0,
    // D0: a task gate for the task of double faults.
    0x0000_e500_0070_0000,
    // D8: base 6000h, limit FFFh, 32 bits.
    0x0040_f200_6000_0fff,
    // E0: expand-down above 8FFFh, up to 4 GiB.
    0x00c0_f600_0000_0008,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
];

/// How a stream begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Real mode.
    Real,
    /// Virtual-8086 mode.
    V86,
    /// 16-bit protected mode at CPL 0 or 3.
    Protected16 {
        /// CPL 3.
        user: bool,
    },
    /// 32-bit protected mode at CPL 0 or 3.
    Protected32 {
        /// CPL 3.
        user: bool,
    },
    /// Compatibility mode, 32 bits.
    Compatibility {
        /// CPL 3.
        user: bool,
    },
    /// 64-bit mode.
    Long {
        /// CPL 3.
        user: bool,
    },
}

impl Mode {
    /// All, with the names of their groups.
    pub const ALL: [(Self, &str); 10] = [
        (Self::Real, "real"),
        (Self::V86, "v86"),
        (Self::Protected16 { user: false }, "16"),
        (Self::Protected16 { user: true }, "16u"),
        (Self::Protected32 { user: false }, "32"),
        (Self::Protected32 { user: true }, "32u"),
        (Self::Compatibility { user: false }, "compatibility"),
        (Self::Compatibility { user: true }, "compatibility-u"),
        (Self::Long { user: false }, "64"),
        (Self::Long { user: true }, "64u"),
    ];

    /// The width of its code.
    pub fn bits(self) -> u32 {
        match self {
            Self::Real | Self::V86 | Self::Protected16 { .. } => 16,
            Self::Protected32 { .. } | Self::Compatibility { .. } => 32,
            Self::Long { .. } => 64,
        }
    }

    /// IA-32e mode.
    pub fn ia32e(self) -> bool {
        matches!(self, Self::Compatibility { .. } | Self::Long { .. })
    }

    /// Real or virtual-8086 mode: segments are 16 bytes apart.
    pub fn old(self) -> bool {
        matches!(self, Self::Real | Self::V86)
    }
}

/// RAM before the stream is put into it.
pub fn image() -> Vec<u8> {
    let mut ram = vec![0; RAM_BYTES as usize];
    pointers(&mut ram);
    for (n, descriptor) in (0..).zip(DESCRIPTORS) {
        put(&mut ram, GDT + 8 * n, &descriptor.to_le_bytes());
    }
    // The LDT: data, and data that CPL 3 may not use.
    put(&mut ram, LDT, &0x00cf_f200_0000_ffff_u64.to_le_bytes());
    put(&mut ram, LDT + 8, &0x00cf_9200_0000_ffff_u64.to_le_bytes());
    handlers32(&mut ram);
    handlers64(&mut ram);
    handlers16(&mut ram);
    tasks(&mut ram);
    pages(&mut ram);
    ram
}

fn put(ram: &mut [u8], at: u32, bytes: &[u8]) {
    let at = at as usize;
    if let Some(place) = ram.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn pointers(ram: &mut [u8]) {
    let mut pointer = |at: u32, limit: u16, base: u32| {
        put(ram, at, &limit.to_le_bytes());
        put(ram, at + 2, &u64::from(base).to_le_bytes());
    };
    pointer(GDT_POINTER, GDT_LIMIT, GDT);
    pointer(IDT32_POINTER, 0x7ff, IDT32);
    pointer(IDT64_POINTER, 0xfff, IDT64);
    pointer(IVT_POINTER, 0x3ff, 0);
}

/// Exceptions with an error code.
const WITH_CODE: u32 = 1 << 8 | 0x1f << 10 | 1 << 17 | 1 << 21;
/// The software interrupt that only returns.
pub const RETURN: u8 = 0x80;
/// The software interrupt that makes its caller a supervisor.
pub const SUPERVISOR: u8 = 0x81;

/// What a handler does.
enum Service {
    /// Goes on at the next slot.
    Skip,
    /// Returns.
    Return,
    /// Disables breakpoints and returns.
    Debug,
    /// Goes on behind the interrupt at CPL 0.
    Rise,
}

impl Service {
    fn of(vector: u32) -> Self {
        match vector {
            1 => Self::Debug,
            2..=4 => Self::Return,
            0..32 => Self::Skip,
            v if v == u32::from(SUPERVISOR) => Self::Rise,
            _ => Self::Return,
        }
    }
}

/// The condition on which a handler believes the address where it shall go on; `width` is that of
/// its register and immediates.
fn next_slot(width: u32, prefix: &[u8]) -> Vec<u8> {
    let imm = |value: u32| value.to_le_bytes()[..width as usize].to_vec();
    let skip_to_bad = [0x73, width as u8 + 3 + prefix.len() as u8];
    let skip_to_good = [0x73, width as u8 + 1];
    [
        prefix,
        // AND AX, -32; ADD AX, 32
        &[0x83, 0xe0, 0xe0],
        prefix,
        &[0x83, 0xc0, 0x20],
        // CMP AX, end; JAE bad; CMP AX, start; JAE good; bad: MOV AX, start; good:
        prefix,
        &[0x3d],
        &imm(CODE_END),
        &skip_to_bad,
        prefix,
        &[0x3d],
        &imm(CODE),
        &skip_to_good,
        &[0xb8],
        &imm(CODE),
    ]
    .concat()
}

fn handlers32(ram: &mut [u8]) {
    for vector in 0..256_u32 {
        let rises = vector == u32::from(SUPERVISOR);
        let at = if rises { GATED + 0x200 } else { HANDLERS32 + vector * 16 };
        let skip = HANDLERS32 + 0x1000 - 0x80;
        let code: Vec<u8> = match Service::of(vector) {
            Service::Return => vec![0xcf],
            // PUSH EAX; XOR EAX, EAX; MOV DR7, EAX; POP EAX; IRET
            Service::Debug => vec![0x50, 0x31, 0xc0, 0x0f, 0x23, 0xf8, 0x58, 0xcf],
            // POP EAX; MOV CX, data; MOV DS, CX; MOV ES, CX; MOV SS, CX; MOV ESP, stack; JMP EAX
            Service::Rise => {
                let mut code = vec![0x58, 0x66, 0xb9];
                code.extend(DATA32.to_le_bytes());
                code.extend([0x8e, 0xd9, 0x8e, 0xc1, 0x8e, 0xd1, 0xbc]);
                code.extend(STACK.to_le_bytes());
                code.extend([0xff, 0xe0]);
                code
            }
            Service::Skip => {
                let pops = if WITH_CODE >> vector & 1 != 0 { &[0x83, 0xc4, 4][..] } else { &[] };
                let from = at + pops.len() as u32 + 5;
                [pops, &[0xe9], &skip.wrapping_sub(from).to_le_bytes()].concat()
            }
        };
        put(ram, at, &code);
        let dpl = if matches!(vector, 3 | 4 | 32..) { 3 } else { 0 };
        let kind = if vector % 3 == 1 { 0xf } else { 0xe };
        let mut gate = u64::from(at & 0xffff) | u64::from(CODE32) << 16;
        gate |= (0x80 | dpl << 5 | kind) << 40 | u64::from(at >> 16) << 48;
        if vector == 8 {
            gate = 0x8500 << 32 | u64::from(selector::TSS_DOUBLE) << 16;
        }
        put(ram, IDT32 + 8 * vector, &gate.to_le_bytes());
    }
    // PUSH EAX; MOV EAX, [ESP+4]; …; MOV [ESP+4], EAX; POP EAX; IRET
    let head = [0x50, 0x8b, 0x44, 0x24, 4];
    let tail = [0x89, 0x44, 0x24, 4, 0x58, 0xcf];
    let skip = [&head[..], &next_slot(4, &[]), &tail].concat();
    put(ram, HANDLERS32 + 0x1000 - 0x80, &skip);
    // RETF 4, RETFQ, SYSRETQ
    put(ram, GATED, &[0xca, 4, 0]);
    put(ram, GATED + 0x80, &[0x48, 0xcb]);
    put(ram, GATED + 0x180, &[0x48, 0x0f, 0x07]);
}

fn handlers64(ram: &mut [u8]) {
    for vector in 0..256_u32 {
        let at = HANDLERS64 + vector * 15;
        let skip = HANDLERS64 + 0x1000 - 0x80;
        let code: Vec<u8> = match Service::of(vector) {
            Service::Return => vec![0x48, 0xcf],
            Service::Debug => vec![0x50, 0x31, 0xc0, 0x0f, 0x23, 0xf8, 0x58, 0x48, 0xcf],
            // POP RAX; MOV ESP, stack; JMP RAX
            Service::Rise => [&[0x58, 0xbc][..], &STACK.to_le_bytes(), &[0xff, 0xe0]].concat(),
            Service::Skip => {
                let code = WITH_CODE >> vector & 1 != 0;
                let pops = if code { &[0x48, 0x83, 0xc4, 8][..] } else { &[] };
                let from = at + pops.len() as u32 + 5;
                [pops, &[0xe9], &skip.wrapping_sub(from).to_le_bytes()].concat()
            }
        };
        put(ram, at, &code);
        let dpl = if matches!(vector, 3 | 4 | 32..) { 3 } else { 0 };
        let kind = if vector % 3 == 1 { 0xf } else { 0xe };
        let ist = match vector {
            8 => 1,
            12 => 2,
            13 => 3,
            14 => 4,
            _ => 0,
        };
        let mut gate = u64::from(at & 0xffff) | u64::from(CODE64) << 16 | ist << 32;
        gate |= (0x80 | dpl << 5 | kind) << 40 | u64::from(at >> 16) << 48;
        put(ram, IDT64 + 16 * vector, &gate.to_le_bytes());
    }
    let head = [0x50, 0x48, 0x8b, 0x44, 0x24, 8];
    let tail = [0x48, 0x89, 0x44, 0x24, 8, 0x58, 0x48, 0xcf];
    let skip = [&head[..], &next_slot(4, &[0x48]), &tail].concat();
    put(ram, HANDLERS64 + 0x1000 - 0x80, &skip);
}

fn handlers16(ram: &mut [u8]) {
    // PUSH AX; PUSH BP; MOV BP, SP; MOV AX, [BP+4]; …; MOV [BP+4], AX; MOV [BP+6], 0; POP BP;
    // POP AX; IRET
    let head = [0x50, 0x55, 0x89, 0xe5, 0x8b, 0x46, 4];
    let tail = [0x89, 0x46, 4, 0xc7, 0x46, 6, 0, 0, 0x5d, 0x58, 0xcf];
    let skip = [&head[..], &next_slot(2, &[]), &tail].concat();
    put(ram, HANDLERS16, &skip);
    put(ram, HANDLERS16 + 0x100, &[0xcf]);
    put(
        ram,
        HANDLERS16 + 0x110,
        &[0x66, 0x50, 0x66, 0x31, 0xc0, 0x0f, 0x23, 0xf8, 0x66, 0x58, 0xcf],
    );
    for vector in 0..256_u32 {
        let offset = match Service::of(vector) {
            Service::Skip => 0,
            Service::Debug => 0x110,
            Service::Return | Service::Rise => 0x100,
        };
        let entry = (HANDLERS16 >> 4) << 16 | offset;
        put(ram, 4 * vector, &entry.to_le_bytes());
    }
}

fn tasks(ram: &mut [u8]) {
    put(ram, TSS32 + 4, &STACK0.to_le_bytes());
    put(ram, TSS32 + 8, &u32::from(DATA32).to_le_bytes());
    // Some ports are allowed to CPL 3.
    put(ram, TSS32 + 0x66, &0x68_u16.to_le_bytes());
    put(ram, TSS32 + 0x70, &[0xff; 32]);
    put(ram, TSS64 + 4, &u64::from(STACK0).to_le_bytes());
    for n in 0..7 {
        put(ram, TSS64 + 0x24 + 8 * n, &u64::from(IST + 0x800 * (n + 1)).to_le_bytes());
    }
    put(ram, TSS64 + 0x66, &0x68_u16.to_le_bytes());
    put(ram, TSS64 + 0x70, &[0xff; 32]);
    // The task of double faults: lets the first task go on at its start with a good stack.
    let handler = GATED + 0x100;
    let field = |n: u32, value: u32| (TSS_DOUBLE + n, value);
    for (at, value) in [
        field(4, STACK0),
        field(8, DATA32.into()),
        field(0x1c, PD32),
        field(0x20, handler),
        field(0x24, 2),
        field(0x38, IST),
        field(0x48, DATA32.into()),
        field(0x4c, CODE32.into()),
        field(0x50, DATA32.into()),
        field(0x54, DATA32.into()),
        field(0x58, 0),
        field(0x5c, 0),
    ] {
        put(ram, at, &value.to_le_bytes());
    }
    // MOV DWORD [TSS32.ESP], stack; MOV DWORD [TSS32.EIP], start; ADD ESP, 4; IRET; JMP start
    let store =
        |at: u32, value: u32| [&[0xc7, 5][..], &at.to_le_bytes(), &value.to_le_bytes()].concat();
    let code =
        [store(TSS32 + 0x38, STACK), store(TSS32 + 0x20, CODE), vec![0x83, 0xc4, 4, 0xcf]].concat();
    let back = (-(code.len() as i8) - 2) as u8;
    put(ram, handler, &[&code[..], &[0xeb, back]].concat());
}

/// Identity mappings: the stream and its data are the user's, tables are the supervisor's.
fn pages(ram: &mut [u8]) {
    let mut entry = |at: u32, value: u32| put(ram, at, &u64::from(value).to_le_bytes());
    entry(PML4, 0x2_1007);
    entry(0x2_1000, 0x2_2007);
    entry(0x2_2000, PT64 | 7);
    // Entries of PAE's root have no rights.
    entry(PAE_ROOT, 0x2_5001);
    entry(0x2_5000, PT_PAE | 7);
    for page in 0..(RAM_BYTES >> 12) as u32 {
        let rights = rights(page);
        entry(PT64 + 8 * page, page << 12 | rights);
        entry(PT_PAE + 8 * page, page << 12 | rights);
    }
    put(ram, PD32, &(PT32 | 7).to_le_bytes());
    for page in 0..(RAM_BYTES >> 12) as u32 {
        put(ram, PT32 + 4 * page, &(page << 12 | rights(page)).to_le_bytes());
    }
}

/// Present and writable; what is neither table nor handler nor their stack is the user's.
fn rights(page: u32) -> u32 {
    if (0xf..0x30).contains(&page) { 3 } else { 7 }
}

/// The hidden part that loading `selector` gives.
fn segment(selector: u16) -> Segment {
    let d = DESCRIPTORS[usize::from(selector >> 3)];
    let limit = (d & 0xffff | (d >> 32) & 0xf_0000) as u32;
    let granular = d >> 55 & 1 != 0;
    Segment {
        selector,
        base: 0,
        limit: if granular { limit << 12 | 0xfff } else { limit },
        // Loading sets the accessed bit.
        rights: (d >> 40 & 0xf0ff) as u32 | 1,
    }
}

/// The state in which a stream begins.
pub fn start(mode: Mode, noise: &mut Noise, model: &CpuModel) -> CpuState {
    let mut s = CpuState::reset(model, 0);
    for register in &mut s.gpr {
        *register = noise.value(RAM_BYTES);
    }
    s.gpr[4] = STACK.into();
    s.rip = CODE.into();
    s.rflags |= noise.draw() & rflags::ARITHMETIC;
    if noise.once_in(2) {
        s.rflags |= rflags::IF;
    }
    if noise.once_in(2) {
        s.rflags |= rflags::IOPL;
    }
    if noise.once_in(24) {
        s.rflags |= rflags::TF;
    }
    s.control.cr0 = cr0::ET | cr0::NE;
    s.control.cr4 = cr4::OSFXSR | cr4::OSXMMEXCPT;
    if noise.once_in(2) {
        s.control.cr4 |= cr4::OSXSAVE;
    }
    s.msrs.star = u64::from(CODE64) << 32 | u64::from(USER_CODE32) << 48;
    // SYSCALL and SYSENTER return at once, or go on at the start.
    s.msrs.lstar = u64::from(GATED) + 0x180;
    s.msrs.cstar = s.msrs.lstar;
    s.msrs.fmask = noise.draw() & 0x700;
    s.msrs.sysenter_cs = CODE32.into();
    s.msrs.sysenter_esp = STACK.into();
    s.msrs.sysenter_eip = CODE.into();
    for lane in s.simd.ymm.iter_mut().flat_map(|register| &mut register[..2]) {
        *lane = noise.value(RAM_BYTES);
    }
    s.x87.control = if noise.once_in(4) { noise.draw() as u16 & 0xf3f | 0x40 } else { 0x37f };
    if noise.once_in(4) {
        s.simd.mxcsr = noise.draw() as u32 & 0xffbf;
    }
    tables(&mut s, mode);
    segments(&mut s, mode);
    paging(&mut s, mode, noise);
    s
}

fn tables(s: &mut CpuState, mode: Mode) {
    s.segments.gdtr = Table { base: GDT.into(), limit: GDT_LIMIT };
    s.segments.ldtr =
        Segment { selector: selector::LDT, base: LDT.into(), limit: 0x1f, rights: 0x82 };
    s.segments.idtr = match mode {
        Mode::Real => Table { base: 0, limit: 0x3ff },
        _ if mode.ia32e() => Table { base: IDT64.into(), limit: 0xfff },
        _ => Table { base: IDT32.into(), limit: 0x7ff },
    };
    let (selector, base) =
        if mode.ia32e() { (selector::TSS64, TSS64) } else { (selector::TSS32, TSS32) };
    s.segments.tr = Segment { selector, base: base.into(), limit: 0x3ff, rights: 0x8b };
}

fn segments(s: &mut CpuState, mode: Mode) {
    let (code, data) = match mode {
        Mode::Real => {
            s.segments.seg[1].selector = 0;
            s.segments.seg[1].base = 0;
            return;
        }
        Mode::V86 => {
            s.rflags |= rflags::VM;
            for seg in &mut s.segments.seg {
                *seg = Segment { selector: 0, base: 0, limit: 0xffff, rights: 0xf3 };
            }
            return;
        }
        Mode::Protected16 { user: false } => (CODE16, DATA16),
        Mode::Protected16 { user: true } => (USER_CODE16, USER_DATA16),
        Mode::Protected32 { user: false } | Mode::Compatibility { user: false } => (CODE32, DATA32),
        Mode::Protected32 { user: true } | Mode::Compatibility { user: true } => {
            (USER_CODE32, USER_DATA32)
        }
        Mode::Long { user: false } => (CODE64, DATA32),
        Mode::Long { user: true } => (USER_CODE64, USER_DATA32),
    };
    s.segments.seg = [segment(data); 6];
    s.segments.seg[1] = segment(code);
}

fn paging(s: &mut CpuState, mode: Mode, noise: &mut Noise) {
    if mode == Mode::Real {
        return;
    }
    s.control.cr0 |= cr0::PE;
    if noise.once_in(2) {
        s.control.cr0 |= cr0::WP;
    }
    if noise.once_in(4) {
        s.control.cr0 |= cr0::AM;
        s.rflags |= noise.draw() & rflags::AC;
    }
    if mode.ia32e() {
        s.control.cr0 |= cr0::PG;
        s.control.cr4 |= cr4::PAE;
        s.control.cr3 = PML4.into();
        s.control.efer = efer::LME | efer::LMA | efer::SCE | efer::NXE;
    } else if noise.once_in(3) {
        s.control.cr0 |= cr0::PG;
        s.control.cr4 |= cr4::PAE;
        s.control.cr3 = PAE_ROOT.into();
        s.control.pdpte = [0x2_5001, 0, 0, 0];
    } else if noise.once_in(2) {
        s.control.cr0 |= cr0::PG;
        s.control.cr3 = PD32.into();
    }
}

/// The entry for a page in the last level of the tables that a mode uses, as far as can be told.
pub fn page_entry(mode: Mode, page: u32, noise: &mut Noise) -> u32 {
    match mode {
        _ if mode.ia32e() => PT64 + 8 * page,
        _ if noise.once_in(2) => PT_PAE + 8 * page,
        _ => PT32 + 4 * page,
    }
}
