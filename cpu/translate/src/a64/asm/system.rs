//! Flags, barriers, system registers, hints.
//!
//! Source: Arm ARM, C6.2; C5.2 (the registers).

use super::{Asm, OrZero, Reg};

/// A register for MRS and MSR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum SystemRegister {
    /// The condition flags, N in bit 31 to V in bit 28.
    Nzcv = 0x1_b4200,
    /// Floating-point control: rounding, flushing, default NaN, traps.
    Fpcr = 0x1_b4400,
    /// Floating-point status: the sticky exception flags, QC.
    Fpsr = 0x1_b4420,
    /// Cache types; read only.
    CtrEl0 = 0x1_b0020,
    /// The virtual count of the system timer; read only.
    CntvctEl0 = 0x1_be040,
}

/// What a DMB or DSB orders, in the inner shareable domain, which is all CPUs of an operating
/// system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Barrier {
    /// Everything before against everything behind.
    Ish = 0xb,
    /// Loads before against everything behind.
    IshLd = 0x9,
    /// Stores before against stores behind.
    IshSt = 0xa,
}

/// How a place may be reached that is guarded by `FEAT_BTI`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Landing {
    /// By BLR, and by BR from X16 and X17.
    Call = 1,
    /// By BR.
    Jump = 2,
    /// By both.
    Both = 3,
}

impl Asm {
    /// MRS: `t` becomes the register.
    pub fn mrs(&mut self, t: impl Into<OrZero>, register: SystemRegister) {
        self.put(0xd520_0000 | register as u32 | t.into().code());
    }

    /// MSR (register): the register becomes `t`.
    pub fn msr(&mut self, register: SystemRegister, t: impl Into<OrZero>) {
        self.put(0xd500_0000 | register as u32 | t.into().code());
    }

    /// CFINV (`FEAT_FlagM`): C is inverted.
    pub fn cfinv(&mut self) {
        self.put(0xd500_401f);
    }

    /// AXFLAG (`FEAT_FlagM2`): after an FCMP, Z becomes what COMISD makes of ZF, and C the inverse
    /// of its CF.
    pub fn axflag(&mut self) {
        self.put(0xd500_405f);
    }

    /// RMIF (`FEAT_FlagM`): `n` rotated right by `by`; of its low bits, those in `mask` (N is bit 3)
    /// become flags.
    pub fn rmif(&mut self, n: impl Into<OrZero>, by: u32, mask: u32) {
        assert!(by < 64 && mask < 16, "a rotation below 64, and four flags");
        self.put(0xba00_0400 | by << 15 | n.into().code() << 5 | mask);
    }

    /// SETF8 (`FEAT_FlagM`): N and Z of the low 8 bits of `n`; V is whether bit 8 differs from bit
    /// 7.
    pub fn setf8(&mut self, n: impl Into<OrZero>) {
        self.put(0x3a00_080d | n.into().code() << 5);
    }

    /// SETF16 (`FEAT_FlagM`): N and Z of the low 16 bits of `n`; V is whether bit 16 differs from
    /// bit 15.
    pub fn setf16(&mut self, n: impl Into<OrZero>) {
        self.put(0x3a00_480d | n.into().code() << 5);
    }

    /// DMB.
    pub fn dmb(&mut self, what: Barrier) {
        self.put(0xd503_30bf | (what as u32) << 8);
    }

    /// DSB.
    pub fn dsb(&mut self, what: Barrier) {
        self.put(0xd503_309f | (what as u32) << 8);
    }

    /// ISB.
    pub fn isb(&mut self) {
        self.put(0xd503_3fdf);
    }

    /// DC CVAU: the data cache's line at the address in `t` is seen by instruction fetches.
    pub fn dc_cvau(&mut self, t: Reg) {
        self.put(0xd50b_7b20 | t.code());
    }

    /// IC IVAU: the instruction cache forgets the line at the address in `t`.
    pub fn ic_ivau(&mut self, t: Reg) {
        self.put(0xd50b_7520 | t.code());
    }

    /// NOP.
    pub fn nop(&mut self) {
        self.put(0xd503_201f);
    }

    /// YIELD: a hint that this is a spin loop.
    pub fn yield_(&mut self) {
        self.put(0xd503_203f);
    }

    /// BTI (`FEAT_BTI`; a NOP without).
    pub fn bti(&mut self, by: Landing) {
        self.put(0xd503_241f | (by as u32) << 6);
    }

    /// BRK: a breakpoint exception.
    pub fn brk(&mut self, imm16: u16) {
        self.put(0xd420_0000 | u32::from(imm16) << 5);
    }

    /// UDF: an undefined instruction exception.
    pub fn udf(&mut self, imm16: u16) {
        self.put(u32::from(imm16));
    }
}
