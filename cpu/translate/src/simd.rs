//! Instructions on vector registers that a backend may leave to the host's own of the same name, or
//! of the same effect.
//!
//! What such an instruction does to vector registers is not lifted: its operation is
//! [`crate::ir::Op::Vector`], with a [`Shape`] that says what goes on besides. Two things make this
//! exact on a host of the same kind. While none of the floating-point exceptions is unmasked, the host's MXCSR can be the
//! guest's, with its rounding, its denormals and its flags; and [`Usable`], a part of the state for
//! which code is made, says whether the control registers would raise #UD or #NM.

use iced_x86::{Code, EncodingKind, Mnemonic as M, OpCodeOperandKind as K};
use trine_x86::{Core, Insn, Width, cr0, cr4, xcr0};

use crate::x87;

/// MXCSR: all exceptions masked.
const MASKED: u32 = 0x3f << 7;

/// Which vector and x87 instructions raise neither #UD nor #NM nor #XM nor #MF.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Usable {
    /// The legacy ones on XMM registers.
    pub sse: bool,
    /// Those with a VEX prefix.
    pub avx: bool,
    /// Those of the x87 ([`x87::is_usable`]).
    pub x87: bool,
}

impl Usable {
    /// On a vCPU as it is now. Source: SDM vol. 3A, sections 2.5 and 14.1.
    #[must_use]
    pub fn of(core: &Core) -> Self {
        const ENABLED: u64 = xcr0::SSE | xcr0::AVX;
        let c = &core.control;
        let masked = core.simd.mxcsr & MASKED == MASKED;
        Self {
            sse: masked && c.cr0 & (cr0::EM | cr0::TS) == 0 && c.cr4 & cr4::OSFXSR != 0,
            avx: masked
                && c.cr0 & cr0::TS == 0
                && c.cr4 & cr4::OSXSAVE != 0
                && c.xcr0 & ENABLED == ENABLED
                && core.mode.protected(),
            x87: x87::is_usable(core),
        }
    }

    /// Whether a vector instruction raises nothing on account of the control registers.
    #[must_use]
    pub fn allows(&self, insn: &Insn) -> bool {
        match insn.code.op_code().encoding() {
            EncodingKind::VEX => self.avx,
            _ => self.sse,
        }
    }
}

/// Whether it is an instruction on XMM or YMM registers, all of whose operands are explicit and of
/// kinds that [`Shape`] knows, and whose result is the same on all CPUs.
#[must_use]
pub fn is_vector(code: Code) -> bool {
    let info = code.op_code();
    if !matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX) {
        return false;
    }
    if code.mnemonic() == M::Vzeroupper {
        return true;
    }
    let kinds = info.op_kinds();
    let is_register = |kind: &K| {
        matches!(
            kind,
            K::xmm_reg
                | K::xmm_rm
                | K::xmm_vvvv
                | K::xmm_is4
                | K::xmm_or_mem
                | K::ymm_reg
                | K::ymm_rm
                | K::ymm_vvvv
                | K::ymm_is4
                | K::ymm_or_mem
        )
    };
    let is_other = |kind: &K| {
        matches!(
            kind,
            K::mem
                | K::imm8
                | K::r32_or_mem
                | K::r32_reg
                | K::r32_rm
                | K::r64_or_mem
                | K::r64_reg
                | K::r64_rm
        )
    };
    kinds.iter().any(is_register)
        && kinds.iter().all(|kind| is_register(kind) || is_other(kind))
        && !is_special(code.mnemonic())
}

/// Those whose results are approximations of the CPU's choice, that add products in an order of its
/// choice (which shows in what becomes of NaNs: AMD's CPUs differ from Intel's), that look at MXCSR
/// itself, have operands that are not named, or touch only a part of their memory operand.
fn is_special(mnemonic: M) -> bool {
    matches!(
        mnemonic,
        M::Rcpps
            | M::Rcpss
            | M::Rsqrtps
            | M::Rsqrtss
            | M::Vrcpps
            | M::Vrcpss
            | M::Vrsqrtps
            | M::Vrsqrtss
            | M::Dpps
            | M::Dppd
            | M::Vdpps
            | M::Vdppd
            | M::Pcmpestri
            | M::Pcmpestrm
            | M::Pcmpistri
            | M::Pcmpistrm
            | M::Pcmpestri64
            | M::Pcmpestrm64
            | M::Vpcmpestri
            | M::Vpcmpestrm
            | M::Vpcmpistri
            | M::Vpcmpistrm
            | M::Vpcmpestri64
            | M::Vpcmpestrm64
            | M::Maskmovdqu
            | M::Vmaskmovdqu
            | M::Vmaskmovps
            | M::Vmaskmovpd
            | M::Vpmaskmovd
            | M::Vpmaskmovq
    )
}

/// What a vector instruction has to do with anything but vector registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Bytes of its memory operand.
    pub bytes: u8,
    /// That is stored to.
    pub store: bool,
    /// It must be aligned to its size.
    pub aligned: bool,
    /// A general register that it reads, and how much of it.
    pub reads: Option<(Width, u8)>,
    /// A general register that it writes, zero-extended.
    pub writes: Option<u8>,
    /// It compares, with ZF, PF and CF as the result; the other flags become 0.
    pub compares: bool,
}

impl Shape {
    /// That of an instruction whose vector operands are all explicit; `None` if its memory operand needs
    /// more checks than the translator's.
    #[must_use]
    pub fn of(insn: &Insn) -> Option<Self> {
        let checked = insn.has_memory() && !insn.flat() && !(insn.mode.is_64() && insn.mode.flat());
        // Outside of 64-bit mode it clears eight registers only.
        let half = insn.code.mnemonic() == M::Vzeroupper && !insn.mode.is_64();
        if checked || half {
            return None;
        }
        let info = insn.code.op_code();
        let bytes = if insn.has_memory() { info.memory_size().size() as u8 } else { 0 };
        let mut shape = Self {
            bytes,
            store: insn.is_memory(0),
            aligned: insn.has_memory() && is_aligned(insn.code, bytes),
            reads: None,
            writes: None,
            compares: compares(insn.code.mnemonic()),
        };
        for (n, kind) in info.op_kinds().iter().enumerate() {
            let w = match kind {
                K::r32_or_mem | K::r32_reg | K::r32_rm => Width::W32,
                K::r64_or_mem | K::r64_reg | K::r64_rm => Width::W64,
                _ => continue,
            };
            if n == 0 && !insn.is_memory(0) {
                shape.writes = Some(insn.ops[0]);
            } else if !insn.is_memory(n) {
                shape.reads = Some((w, insn.ops[n]));
            }
        }
        Some(shape)
    }
}

/// SDM vol. 2A, section 2.7: exception classes 1, 2 and 4 of legacy encodings, 1 of VEX ones.
fn is_aligned(code: Code, bytes: u8) -> bool {
    let mnemonic = code.mnemonic();
    if code.op_code().encoding() == EncodingKind::Legacy {
        return bytes == 16 && !matches!(mnemonic, M::Movups | M::Movupd | M::Movdqu | M::Lddqu);
    }
    matches!(
        mnemonic,
        M::Vmovaps
            | M::Vmovapd
            | M::Vmovdqa
            | M::Vmovntdqa
            | M::Vmovntps
            | M::Vmovntpd
            | M::Vmovntdq
    )
}

fn compares(mnemonic: M) -> bool {
    matches!(
        mnemonic,
        M::Comiss
            | M::Comisd
            | M::Ucomiss
            | M::Ucomisd
            | M::Ptest
            | M::Vcomiss
            | M::Vcomisd
            | M::Vucomiss
            | M::Vucomisd
            | M::Vptest
            | M::Vtestps
            | M::Vtestpd
    )
}
