//! The backend for x86-64 hosts.
//!
//! Nine of the guest's general registers live in host registers all the time ([`home`]), the others
//! in [`Core::regs`]. RBP points to the [`Core`], R15 counts the instructions that
//! may still be executed; RAX, RCX, RDX and R11 hold values within an instruction. The host's stack
//! is aligned to 16 bytes.

mod access;
pub(crate) mod asm;
mod emit;
mod flags;
mod flow;
mod ops;
mod runtime;
mod simd;
mod values;
mod x87;

use std::mem::offset_of;

use asm::{Gpr, Mem, R8, R9, R10, R11, R12, R13, R14, R15, RAX, RBP, RBX, RCX, RDI, RDX, RSI, Rm};
use trine_x86::{
    Core, Entry, Extent, Flags, Hunches, Insn, Seg, Segment, Segments, Tlb, Translated,
};

use crate::{
    code::{Backend, Emitted, Place, Runtime},
    family::{Families, Family},
    ir::Region,
    simd::Usable,
};

/// The backend.
pub struct X64 {
    /// For each `Code`, whether the host does it as it is.
    vectors: Box<[bool]>,
    without: Families,
}

impl X64 {
    /// For this host.
    pub(crate) fn new(without: Families) -> Self {
        Self { vectors: simd::lowered(without), without }
    }
}

impl Backend for X64 {
    fn runtime(&self, base: usize) -> (Vec<u8>, Runtime) {
        runtime::emit(base)
    }

    fn crosses_pages(&self) -> bool {
        true
    }

    fn is_vector(&self, insn: &Insn, usable: Usable) -> bool {
        let memory = insn.has_memory() && self.without.has(Family::Memory);
        usable.allows(insn) && !memory && self.vectors[insn.code as usize]
    }

    fn is_x87(&self, insn: &Insn, usable: Usable) -> bool {
        let memory = insn.has_memory() && self.without.has(Family::Memory);
        usable.x87 && !memory && !self.without.has(Family::X87) && x87::has(insn)
    }

    fn emit(&self, region: &Region, place: &Place) -> Emitted {
        emit::region(region, place, self.without)
    }
}

/// Registers for values; those that are taken first come last.
const SCRATCH: [Gpr; 4] = [RCX, RAX, RDX, R11];

/// Counts down the instructions that may still be executed: [`Translated::left`] outside.
const LEFT: Gpr = R15;

/// Guest registers that live in host registers, and where.
const HOMES: [(u8, Gpr); 9] =
    [(0, RBX), (1, RSI), (2, RDI), (3, R8), (4, R12), (5, R13), (6, R9), (7, R10), (8, R14)];

/// The host register of a guest register, if it has one.
fn home(reg: u8) -> Option<Gpr> {
    HOMES.iter().find(|(guest, _)| *guest == reg & 31).map(|(_, host)| *host)
}

/// A word of the core.
fn field(offset: usize) -> Mem {
    Mem::at(RBP, offset as i32)
}

/// Where a guest register lies in the core.
fn slot(reg: u8) -> Mem {
    field(offset_of!(Core, regs) + 8 * usize::from(reg & 31))
}

/// A guest register wherever it is.
fn place(reg: u8) -> Rm {
    home(reg).map_or_else(|| slot(reg).into(), Rm::from)
}

/// A field of [`Translated`].
macro_rules! translated {
    ($field:ident) => {
        $crate::x64::field(
            std::mem::offset_of!(trine_x86::Core, translated)
                + std::mem::offset_of!(trine_x86::Translated, $field),
        )
    };
}
use translated;

/// A word for what finds no register.
fn spill(n: u8) -> Mem {
    field(offset_of!(Core, translated) + offset_of!(Translated, spill) + 8 * usize::from(n))
}

/// What takes addresses near a guest register to the host's.
fn near(reg: u8) -> Mem {
    field(offset_of!(Core, translated) + offset_of!(Translated, near) + 8 * usize::from(reg))
}

/// One of [`Translated::hunches`].
fn hunch(n: usize) -> Mem {
    let at = offset_of!(Core, translated) + offset_of!(Translated, hunches);
    field(at + 8 * (n % Hunches::COUNT))
}

/// The words of [`Translated::spill`]: values of a step up to here (then come the operands of a
/// recipe and CF), ...
const STEP_SPILLS: u8 = 16;
/// ... a register whose second byte is wanted, ...
const HIGH_SPILL: u8 = 19;
/// ... flags that were set one by one, ...
const OVER_SPILL: u8 = 21;
/// ... and what helpers are handed.
const HELPER_SPILLS: u8 = 29;

/// [`Flags::result`] and [`Flags::carries`] of the core.
fn flags_result() -> Mem {
    field(offset_of!(Core, flags) + offset_of!(Flags, result))
}

fn flags_carries() -> Mem {
    field(offset_of!(Core, flags) + offset_of!(Flags, carries))
}

/// The base of a segment register.
fn base(seg: Seg) -> Mem {
    let at = offset_of!(Core, segments) + offset_of!(Segments, seg);
    field(at + size_of::<Segment>() * seg as usize + offset_of!(Segment, base))
}

/// A part of a segment register's [`Extent`].
fn extent(seg: Seg, part: usize) -> Mem {
    field(offset_of!(Core, extents) + size_of::<Extent>() * seg as usize + part)
}

/// A field of the TLB's entry whose distance from the first one is in `index`.
fn tlb(class: trine_x86::Class, index: Gpr, part: usize) -> Mem {
    let at = offset_of!(Core, tlb) + class as usize * trine_x86::Tlb::CLASS_BYTES + part;
    Mem::indexed(RBP, index, at as i32)
}

/// The tag for instruction fetches of the TLB's entry whose number is in `index`.
fn tlb_fetch(class: trine_x86::Class, index: Gpr) -> Mem {
    let at = field(offset_of!(Core, tlb) + Tlb::fetch_offset(class));
    Mem { index: Some((index, size_of::<u64>().trailing_zeros() as u8)), ..at }
}

/// A part of a [`trine_x86::Cursor`].
fn cursor(cursors: usize, n: usize, part: usize) -> Mem {
    field(offset_of!(Core, tlb) + Tlb::cursor_offset(cursors, n) + part)
}

/// A byte of the word that says which cursors are in use.
fn cursors_used(byte: usize) -> Mem {
    field(offset_of!(Core, tlb) + Tlb::cursors_used_offset() + byte)
}

const TLB_READ: usize = offset_of!(Entry, read);
const TLB_WRITE: usize = offset_of!(Entry, write);
const TLB_HOST: usize = offset_of!(Entry, host);
/// What added to a linear address gives the offset in RAM.
const TLB_ADDEND: usize = offset_of!(Entry, addend);
