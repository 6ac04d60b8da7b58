//! The compact form of a decoded instruction: 24 bytes that everything after the decoder reads.

use iced_x86::Code;

/// A width of data, address or stack.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Width {
    /// 8 bits.
    W8 = 0,
    /// 16 bits.
    W16 = 1,
    /// 32 bits.
    W32 = 2,
    /// 64 bits.
    W64 = 3,
}

impl Width {
    /// Bytes: 1, 2, 4 or 8.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self as u8
    }

    /// Bits: 8, 16, 32 or 64.
    #[inline(always)]
    #[must_use]
    pub const fn bits(self) -> u32 {
        8 << self as u8
    }

    /// All ones in the low bits of this width.
    #[inline(always)]
    #[must_use]
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The sign bit.
    #[inline(always)]
    #[must_use]
    pub const fn sign(self) -> u64 {
        1 << (self.bits() - 1)
    }

    /// `value` with bits above the width copied from the sign bit.
    #[inline(always)]
    #[must_use]
    pub const fn sign_extend(self, value: u64) -> u64 {
        let unused = 64 - self.bits();
        ((value << unused) as i64 >> unused) as u64
    }

    #[inline]
    const fn from_bits(bits: u16) -> Self {
        match bits & 3 {
            0 => Self::W8,
            1 => Self::W16,
            2 => Self::W32,
            _ => Self::W64,
        }
    }
}

/// A segment register, by its encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the manual's own names")]
pub enum Seg {
    Es = 0,
    Cs = 1,
    Ss = 2,
    Ds = 3,
    Fs = 4,
    Gs = 5,
}

impl Seg {
    /// All of them, by encoding.
    pub const ALL: [Self; 6] = [Self::Es, Self::Cs, Self::Ss, Self::Ds, Self::Fs, Self::Gs];
}

/// What the decoder has to know of the CPU's mode: part of the key under which decoded code is
/// kept, so everything in it is a constant for an instruction's semantics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Mode(u16);

impl Mode {
    const FLAT: u16 = 1 << 4;
    const PROTECTED: u16 = 1 << 5;

    /// A mode: `code` and `stack` are widths of CS and SS (16, 32 or 64 bits); `flat` says that
    /// ES, CS, SS and DS start at 0, end nowhere and allow what a data access wants, and that
    /// alignment is not checked; `protected` that CR0.PE is set and EFLAGS.VM is not.
    #[must_use]
    pub const fn new(code: Width, stack: Width, flat: bool, protected: bool) -> Self {
        Self(
            code as u16
                | (stack as u16) << 2
                | if flat { Self::FLAT } else { 0 }
                | if protected { Self::PROTECTED } else { 0 },
        )
    }

    /// The bits, for a key.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The default operand and address size of code: W16, W32, or W64 in 64-bit mode.
    #[inline(always)]
    #[must_use]
    pub const fn code(self) -> Width {
        Width::from_bits(self.0)
    }

    /// The width of the stack pointer.
    #[inline(always)]
    #[must_use]
    pub const fn stack(self) -> Width {
        Width::from_bits(self.0 >> 2)
    }

    /// Whether accesses through ES, CS, SS and DS need no segment or alignment checks.
    #[inline(always)]
    #[must_use]
    pub const fn flat(self) -> bool {
        self.0 & Self::FLAT != 0
    }

    /// Protected mode and not virtual-8086 mode.
    #[inline(always)]
    #[must_use]
    pub const fn protected(self) -> bool {
        self.0 & Self::PROTECTED != 0
    }

    /// 64-bit mode.
    #[inline(always)]
    #[must_use]
    pub const fn is_64(self) -> bool {
        matches!(self.code(), Width::W64)
    }
}

/// Names of slots in the working register file besides RAX (0) to R15 (15).
pub mod slot {
    /// Number of slots: as many as a byte has values, so that none needs to be checked.
    pub const COUNT: usize = 256;
    /// Always zero: the base or index of an operand that has none.
    pub const ZERO: u8 = 16;
    /// The address of the block's first instruction: the base of RIP-relative operands.
    pub const BLOCK_IP: u8 = 17;
    /// Always 2^20: lets a displacement reach beyond 32 bits in the rare case that it must.
    pub const FAR: u8 = 18;
    /// What the RIPs of translated code are counted from, while it runs.
    pub const ORIGIN: u8 = 19;
    /// Set in the number of an 8-bit register that is AH, CH, DH or BH; the low bits are then
    /// those of RAX to RBX.
    pub const HIGH: u8 = 0x20;
    /// RSP.
    pub const RSP: u8 = 4;
    /// Instead of a register number: this operand is the memory operand.
    pub const MEM: u8 = 0xff;
}

/// A decoded instruction.
#[derive(Clone, Copy, Debug)]
pub struct Insn {
    /// Which instruction and encoding, as the decoder names it.
    pub code: Code,
    /// The operands: register numbers (general: see [`slot`]; segment, control, debug, x87, MMX,
    /// XMM: their encoding), or [`slot::MEM`].
    pub ops: [u8; 4],
    /// Slot of the memory operand's base.
    pub base: u8,
    /// Slot of the memory operand's index.
    pub index: u8,
    /// Scale in bits 1:0, segment in bits 4:2, address width in bits 6:5.
    address: u8,
    /// LOCK, REP, REPNE; has a memory operand, has an immediate; operand width in bits 6:5; an early
    /// CPU's.
    prefixes: u8,
    /// The mode it was decoded for.
    pub mode: Mode,
    /// Its bytes, 1 to 15.
    pub len: u8,
    /// Offset of the next instruction from the block's first byte.
    pub end: u8,
    /// Its number in its block, from 0.
    pub number: u8,
    /// ENTER's nesting level, or the second immediate of the few that have two.
    pub imm2: u8,
    /// The memory operand's displacement, sign-extended.
    pub disp: i32,
    /// The immediate, sign-extended to 32 bits; a near branch's distance from the
    /// next instruction; a far pointer's selector (its offset is `disp`); an x87 instruction's
    /// opcode as FOP keeps it.
    pub imm: i32,
}

const LOCK: u8 = 1;
const REP: u8 = 2;
const REPNE: u8 = 4;
const MEMORY: u8 = 8;
const IMMEDIATE: u8 = 16;
const EARLY: u8 = 128;

impl Insn {
    pub(crate) fn new(code: Code, mode: Mode, len: u8) -> Self {
        Self {
            code,
            ops: [0; 4],
            base: slot::ZERO,
            index: slot::ZERO,
            address: 0,
            prefixes: 0,
            mode,
            len,
            end: len,
            number: 0,
            imm2: 0,
            disp: 0,
            imm: 0,
        }
    }

    pub(crate) fn set_prefixes(&mut self, lock: bool, rep: bool, repne: bool) {
        self.prefixes |=
            if lock { LOCK } else { 0 } | if rep { REP } else { 0 } | if repne { REPNE } else { 0 };
    }

    pub(crate) fn set_has_memory(&mut self) {
        self.prefixes |= MEMORY;
    }

    pub(crate) fn set_has_immediate(&mut self) {
        self.prefixes |= IMMEDIATE;
    }

    pub(crate) fn set_early(&mut self) {
        self.prefixes |= EARLY;
    }

    /// Where CPUs differ, is it an early one's? See [`crate::CpuModel::is_early`].
    #[inline(always)]
    #[must_use]
    pub(crate) fn is_early(&self) -> bool {
        self.prefixes & EARLY != 0
    }

    pub(crate) fn set_width(&mut self, width: Width) {
        self.prefixes |= (width as u8) << 5;
    }

    pub(crate) fn set_address(&mut self, scale: u8, seg: Seg, width: Width) {
        self.address = scale | (seg as u8) << 2 | (width as u8) << 5;
    }

    /// log2 of the index's scale.
    #[inline(always)]
    #[must_use]
    pub fn scale(&self) -> u32 {
        u32::from(self.address & 3)
    }

    /// The memory operand's segment (for string instructions, the source's).
    #[inline(always)]
    #[must_use]
    pub fn seg(&self) -> Seg {
        Seg::ALL[usize::from((self.address >> 2) & 7) % 6]
    }

    /// The width of addresses (and of the count of REP, LOOP and JCXZ).
    #[inline(always)]
    #[must_use]
    pub fn address_width(&self) -> Width {
        Width::from_bits(u16::from(self.address >> 5))
    }

    /// LOCK prefix.
    #[inline(always)]
    #[must_use]
    pub fn lock(&self) -> bool {
        self.prefixes & LOCK != 0
    }

    /// REP or REPE prefix (F3).
    #[inline(always)]
    #[must_use]
    pub fn rep(&self) -> bool {
        self.prefixes & REP != 0
    }

    /// REPNE prefix (F2).
    #[inline(always)]
    #[must_use]
    pub fn repne(&self) -> bool {
        self.prefixes & REPNE != 0
    }

    /// Whether one of the operands is memory.
    #[inline(always)]
    #[must_use]
    pub fn has_memory(&self) -> bool {
        self.prefixes & MEMORY != 0
    }

    /// Whether one of the operands is an immediate.
    #[inline(always)]
    #[must_use]
    pub fn has_immediate(&self) -> bool {
        self.prefixes & IMMEDIATE != 0
    }

    /// The operand size: the width of the first operand that is a general register or memory, else
    /// what prefixes and mode say (near branches, far transfers, PUSH of anything, string
    /// instructions). Meaningless where the size is fixed by the instruction (x87, MMX, SSE).
    #[inline(always)]
    #[must_use]
    pub fn width(&self) -> Width {
        Width::from_bits(u16::from(self.prefixes >> 5))
    }

    /// Whether operand `n` is memory.
    #[inline(always)]
    #[must_use]
    pub fn is_memory(&self, n: usize) -> bool {
        self.has_memory() && self.ops.get(n) == Some(&slot::MEM)
    }

    /// Whether its memory operand needs no segment base, limit, type or alignment check.
    #[inline(always)]
    #[must_use]
    pub fn flat(&self) -> bool {
        let seg = self.seg();
        self.mode.flat()
            && (seg as u8) < Seg::Fs as u8
            && (!matches!(seg, Seg::Cs) || self.mode.is_64())
    }

    /// The immediate of MOV r64, imm64 and the address of MOV with a 64-bit offset, which take
    /// the room of displacement and immediate together.
    #[inline(always)]
    #[must_use]
    pub fn wide(&self) -> u64 {
        u64::from(self.disp as u32) | u64::from(self.imm as u32) << 32
    }

    /// Offset of its first byte from the block's first byte.
    #[inline(always)]
    #[must_use]
    pub fn start(&self) -> u8 {
        self.end.wrapping_sub(self.len)
    }
}

const _: () = assert!(size_of::<Insn>() == 24);
