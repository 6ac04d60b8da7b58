//! The backend for AArch64 hosts.
//!
//! All of the guest's general registers live in host registers ([`HOMES`]). [`CORE`] points to
//! [`Core::regs`], [`TLB`] to the TLB's entries of the class of data accesses, [`RAM`] to the first
//! byte of RAM; [`LEFT`] counts. X0 to X6 hold values within an instruction, X16, X17 and X30 within
//! an operation. X18 belongs to the platform. Where the guest's vector registers are, `simd` tells.
//!
//! x86 promises that loads are not reordered with loads, nor stores with stores, nor a load with a
//! later store. Plain loads followed by DMB ISHLD and plain stores that follow a DMB ISHST keep
//! that at any alignment, which LDAPR and STLR would not (`FEAT_LSE2`).
//!
//! Source: Procedure Call Standard for the Arm 64-bit Architecture (AAPCS64), 6.1.1.

mod access;
pub mod asm;
mod emit;
mod flags;
mod ops;
mod runtime;
mod simd;
#[cfg(test)]
mod tests;
mod values;

use std::mem::offset_of;

use asm::{
    Access, Address, ArithmeticImm, Asm, Reg, Size, X0, X1, X2, X3, X4, X5, X6, X7, X8, X9, X10,
    X11, X12, X13, X14, X15, X16, X17, X19, X20, X21, X22, X23, X24, X25, X26, X27, X28, X29, X30,
};
use trine_x86::{Core, Entry, Extent, Flags, Insn, Seg, Segment, Segments, Translated, Width};

use crate::{
    code::{Backend, Emitted, Place, Runtime},
    family::{Families, Family},
    ir::Region,
    simd::Usable,
};

/// The backend.
pub struct A64 {
    /// The host has `FEAT_LSE`.
    atomics: bool,
    without: Families,
}

impl A64 {
    /// For the host's CPU.
    #[cfg(target_arch = "aarch64")]
    #[must_use]
    pub(crate) fn of_host(without: Families) -> Self {
        Self { atomics: std::arch::is_aarch64_feature_detected!("lse"), without }
    }
}

impl Backend for A64 {
    fn runtime(&self, base: usize) -> (Vec<u8>, Runtime) {
        runtime::emit(base)
    }

    fn is_vector(&self, insn: &Insn, usable: Usable) -> bool {
        let memory = insn.has_memory() && self.without.has(Family::Memory);
        usable.sse && !memory && !self.without.has(Family::Sse) && simd::is_lowered(insn)
    }

    fn emit(&self, region: &Region, place: &Place) -> Emitted {
        emit::region(region, place, self)
    }
}

/// Registers for values.
const SCRATCH: [Reg; 7] = [X0, X1, X2, X3, X4, X5, X6];

/// Instructions that may still be executed; [`Translated::left`] while a cold one is.
const LEFT: Reg = X7;

/// Where RAX to R15 live: half of them where calls leave them alone.
const HOMES: [Reg; 16] =
    [X19, X20, X21, X22, X23, X24, X25, X26, X8, X9, X10, X11, X12, X13, X14, X15];

/// The address of RAM's first byte.
const RAM: Reg = X27;
/// The address of [`Core::regs`].
const CORE: Reg = X28;
/// The address of the TLB's first entry of the class.
const TLB: Reg = X29;

/// Registers for what an operation needs on its way.
const T0: Reg = X16;
const T1: Reg = X17;
const T2: Reg = X30;

/// The host register of a guest register.
fn home(reg: u8) -> Reg {
    HOMES[usize::from(reg & 15)]
}

/// Which view of a register holds a width.
fn size(w: Width) -> Size {
    if w == Width::W64 { Size::X } else { Size::W }
}

fn access(w: Width) -> Access {
    [Access::B, Access::H, Access::W, Access::X][w as usize]
}

/// A word of the core, by its offset there.
fn field(offset: usize) -> Address {
    Address::offset(CORE, offset as i32 - offset_of!(Core, regs) as i32)
}

/// Where a guest register lies in the core.
fn slot(reg: u8) -> Address {
    field(offset_of!(Core, regs) + 8 * usize::from(reg & 15))
}

/// What RIPs are counted from.
fn origin() -> Address {
    field(offset_of!(Core, regs) + 8 * usize::from(trine_x86::slot::ORIGIN))
}

/// A field of [`Translated`].
macro_rules! translated {
    ($field:ident) => {
        $crate::a64::field(
            std::mem::offset_of!(trine_x86::Core, translated)
                + std::mem::offset_of!(trine_x86::Translated, $field),
        )
    };
}
use translated;

/// A word for what finds no register.
fn spill(n: u8) -> Address {
    field(offset_of!(Core, translated) + offset_of!(Translated, spill) + 8 * usize::from(n))
}

/// The words of [`Translated::spill`]: values of a step up to here (then come the operands of a
/// recipe and CF), ...
const STEP_SPILLS: u8 = 16;
/// ... where the jump cache has the target of a jump, ...
const JUMP_SPILL: u8 = 20;
/// ... and flags that were set one by one.
const OVER_SPILL: u8 = 21;

/// [`Flags::result`] and [`Flags::carries`] of the core.
fn flags_result() -> Address {
    field(offset_of!(Core, flags) + offset_of!(Flags, result))
}

fn flags_carries() -> Address {
    field(offset_of!(Core, flags) + offset_of!(Flags, carries))
}

/// The base of a segment register.
fn base(seg: Seg) -> Address {
    let at = offset_of!(Core, segments) + offset_of!(Segments, seg);
    field(at + size_of::<Segment>() * seg as usize + offset_of!(Segment, base))
}

/// A part of a segment register's [`Extent`].
fn extent(seg: Seg, part: usize) -> Address {
    field(offset_of!(Core, extents) + size_of::<Extent>() * seg as usize + part)
}

const TLB_READ: i32 = offset_of!(Entry, read) as i32;
const TLB_WRITE: i32 = offset_of!(Entry, write) as i32;
const TLB_ADDEND: i32 = offset_of!(Entry, addend) as i32;

/// Loads `w` bits, zero-extended.
fn load(a: &mut Asm, w: Width, to: Reg, at: Address) {
    match w {
        Width::W8 => a.ldrb(to, at),
        Width::W16 => a.ldrh(to, at),
        _ => a.ldr(size(w), to, at),
    }
}

/// Stores the low `w` bits.
fn store(a: &mut Asm, w: Width, from: impl Into<asm::OrZero>, at: Address) {
    match w {
        Width::W8 => a.strb(from, at),
        Width::W16 => a.strh(from, at),
        _ => a.str(size(w), from, at),
    }
}

/// `to` = the low `w` bits of `from`.
fn zero_extend(a: &mut Asm, w: Width, to: Reg, from: Reg) {
    match w {
        Width::W8 => a.uxtb(to, from),
        Width::W16 => a.uxth(to, from),
        Width::W32 => a.mov(Size::W, to, from),
        Width::W64 if to == from => {}
        Width::W64 => a.mov(Size::X, to, from),
    }
}

/// `to` = the low `w` bits of `from` with their sign, in a register of that view.
fn sign_extend(a: &mut Asm, w: Width, view: Size, to: Reg, from: Reg) {
    match w {
        Width::W8 => a.sxtb(view, to, from),
        Width::W16 => a.sxth(view, to, from),
        Width::W32 if view == Size::X => a.sxtw(to, from),
        _ => a.mov(view, to, from),
    }
}

/// `to` = the address of the core.
fn core_pointer(a: &mut Asm, to: Reg) {
    let distance = offset_of!(Core, regs) as u64;
    sub_far(a, to, CORE, distance);
}

/// `to = from - distance`, which is below 2^24.
fn sub_far(a: &mut Asm, to: Reg, from: Reg, distance: u64) {
    a.sub_imm(Size::X, to, from, twelve(distance & 0xff_f000));
    a.sub_imm(Size::X, to, to, twelve(distance & 0xfff));
}

/// `to = from + distance`, which is below 2^24.
fn add_far(a: &mut Asm, to: Reg, from: Reg, distance: u64) {
    a.add_imm(Size::X, to, from, twelve(distance & 0xff_f000));
    a.add_imm(Size::X, to, to, twelve(distance & 0xfff));
}

/// An immediate of ADD and SUB that is known to be one.
fn twelve(value: u64) -> ArithmeticImm {
    ArithmeticImm::new(value).expect("12 bits, or 12 bits shifted by 12")
}

/// Appends a B to an address; the code lies at `base`.
fn far_b(a: &mut Asm, base: usize, to: usize) {
    let distance = to.wrapping_sub(base + 4 * a.here()).cast_signed() as i64;
    a.word(asm::branch_word(distance).expect("all code is within 128 MB"));
}

/// Appends a BL to an address.
fn far_bl(a: &mut Asm, base: usize, to: usize) {
    const LINK: u32 = 1 << 31;
    let distance = to.wrapping_sub(base + 4 * a.here()).cast_signed() as i64;
    a.word(LINK | asm::branch_word(distance).expect("all code is within 128 MB"));
}

/// The words of code as bytes.
fn finish(mut a: Asm) -> Vec<u8> {
    let words = a.finish().expect("a region is smaller than a branch reaches");
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
