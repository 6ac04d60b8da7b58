//! Vector instructions, which the host does as they are.
//!
//! Guest register XMM*n* is the host's XMM*n*, and the guest's MXCSR the host's: nothing is renamed,
//! no register is left for other uses, and an instruction is emitted with the operands that it had,
//! but for memory and general registers. Like an operating system that switches the FPU lazily, code
//! looks before the first vector instruction of a block whether the host's registers hold the
//! guest's ([`trine_x86::Translated::vectors`]), and loads them if not; whatever calls or leaves puts
//! them back into the core. Legacy instructions ask for the lower halves only, so that the upper
//! ones are not in their way where a guest does not use AVX.
//!
//! Sources: SDM vol. 2A, chapter 2 (VEX prefix); vol. 1, section 10.2.3 (MXCSR).

use std::mem::offset_of;

use iced_x86::{
    Code, CpuidFeature, EncodingKind, MandatoryPrefix, OpCodeInfo, OpCodeOperandKind as K,
    OpCodeTableKind,
};
use trine_x86::{Core, Insn, Simd, Width};

use super::{
    asm::{Alu, Asm, Encoding, Gpr, Label, Mem, RAX, Rm, cc},
    emit::{Emitter, Stub},
    field, translated,
};
use crate::{
    family::{Families, Family},
    ir::{Block, Op, Val},
    simd::{Shape, is_vector},
};

/// [`trine_x86::Translated::vectors`]: they are in the core, ...
pub(super) const IN_CORE: u32 = 0;
/// ... the host has XMM0 to XMM15 and MXCSR, while the core has the upper halves, ...
pub(super) const XMM: u32 = 1;
/// ... or the host has all.
pub(super) const YMM: u32 = 2;

/// MXCSR as the host's own code wants it.
pub(super) const HOST_MXCSR: u32 = 0x1f80;

/// Code that gives the host's registers the guest's values, and the core its own back.
pub(super) struct Switch {
    put_back: Label,
}

impl Switch {
    /// Emits what is shared: how the core gets them back. It keeps all general registers.
    pub(super) fn emit(a: &mut Asm) -> Self {
        let (put_back, host_mxcsr) = (a.label(), a.label());
        a.bind(host_mxcsr);
        a.code.extend(HOST_MXCSR.to_le_bytes());
        a.bind(put_back);
        let (halves, end) = (a.label(), a.label());
        a.alu_imm(Alu::Cmp, Width::W32, translated!(vectors), YMM.cast_signed());
        a.jcc(cc::NE, halves);
        (0..16).for_each(|n| a.move_ymm(true, n));
        // VZEROUPPER.
        a.code.extend([0xc5, 0xf8, 0x77]);
        a.jmp(end);
        a.bind(halves);
        (0..16).for_each(|n| a.move_xmm(true, n));
        a.bind(end);
        a.mxcsr(true, mxcsr());
        a.mxcsr(false, Rm::Rip(host_mxcsr));
        a.store_imm(Width::W32, translated!(vectors), IN_CORE.cast_signed());
        a.ret();
        Self { put_back }
    }

    /// Code to be called that loads them.
    pub(super) fn load(&self, a: &mut Asm, wanted: u32) {
        self.put_back(a);
        if wanted == YMM {
            (0..16).for_each(|n| a.move_ymm(false, n));
        } else {
            (0..16).for_each(|n| a.move_xmm(false, n));
        }
        a.mxcsr(false, mxcsr());
        a.store_imm(Width::W32, translated!(vectors), wanted.cast_signed());
        a.ret();
    }

    /// Gives the core back what the host's registers hold, if they do.
    pub(super) fn put_back(&self, a: &mut Asm) {
        let not = a.label();
        a.alu_imm(Alu::Cmp, Width::W32, translated!(vectors), IN_CORE.cast_signed());
        a.jcc(cc::E, not);
        a.call(self.put_back);
        a.bind(not);
    }
}

/// The guest's MXCSR in the core.
fn mxcsr() -> Rm {
    field(offset_of!(Core, simd) + offset_of!(Simd, mxcsr)).into()
}

/// YMM*n* in the core, and at its start XMM*n*.
fn ymm(n: u8) -> Mem {
    field(offset_of!(Core, simd) + offset_of!(Simd, ymm) + 32 * usize::from(n))
}

/// For each `Code`, whether the host does it.
pub(super) fn lowered(without: Families) -> Box<[bool]> {
    let is = |code: Code| {
        let kept = match code.op_code().encoding() {
            EncodingKind::VEX => without.has(Family::Avx),
            _ => without.has(Family::Sse),
        };
        !kept && is_vector(code) && code.cpuid_features().iter().all(has)
    };
    Code::values().map(is).collect()
}

/// Whether the host's CPU has what iced-x86 calls `feature`.
fn has(feature: &CpuidFeature) -> bool {
    use CpuidFeature as F;
    match feature {
        F::SSE | F::SSE2 => true,
        F::SSE3 => is_x86_feature_detected!("sse3"),
        F::SSSE3 => is_x86_feature_detected!("ssse3"),
        F::SSE4_1 => is_x86_feature_detected!("sse4.1"),
        F::SSE4_2 => is_x86_feature_detected!("sse4.2"),
        F::AES => is_x86_feature_detected!("aes"),
        F::PCLMULQDQ => is_x86_feature_detected!("pclmulqdq"),
        F::SHA => is_x86_feature_detected!("sha"),
        F::AVX => is_x86_feature_detected!("avx"),
        F::AVX2 => is_x86_feature_detected!("avx2"),
        F::FMA => is_x86_feature_detected!("fma"),
        F::F16C => is_x86_feature_detected!("f16c"),
        F::VAES => is_x86_feature_detected!("vaes"),
        F::VPCLMULQDQ => is_x86_feature_detected!("vpclmulqdq"),
        F::GFNI => is_x86_feature_detected!("gfni"),
        F::AVX_VNNI => is_x86_feature_detected!("avxvnni"),
        _ => false,
    }
}

/// Stores with a hint not to cache as those without: they are ordered with others also where the
/// guest's SFENCE leaves no trace in the code.
fn cached(code: Code) -> Code {
    use Code as C;
    match code {
        C::Movntps_m128_xmm => C::Movaps_xmmm128_xmm,
        C::Movntpd_m128_xmm => C::Movapd_xmmm128_xmm,
        C::Movntdq_m128_xmm => C::Movdqa_xmmm128_xmm,
        C::VEX_Vmovntps_m128_xmm => C::VEX_Vmovaps_xmmm128_xmm,
        C::VEX_Vmovntpd_m128_xmm => C::VEX_Vmovapd_xmmm128_xmm,
        C::VEX_Vmovntdq_m128_xmm => C::VEX_Vmovdqa_xmmm128_xmm,
        C::VEX_Vmovntps_m256_ymm => C::VEX_Vmovaps_ymmm256_ymm,
        C::VEX_Vmovntpd_m256_ymm => C::VEX_Vmovapd_ymmm256_ymm,
        C::VEX_Vmovntdq_m256_ymm => C::VEX_Vmovdqa_ymmm256_ymm,
        code => code,
    }
}

/// What the host's registers have to hold for an instruction.
fn wanted(insn: &Insn) -> u32 {
    if insn.code.op_code().encoding() == EncodingKind::VEX { YMM } else { XMM }
}

impl Emitter<'_> {
    /// At the start of a block, where no flags are in the way: all that its instructions will want.
    pub(super) fn load_vectors_of(&mut self, block: &Block) {
        self.vectors = IN_CORE;
        let region = self.region;
        let steps = &region.steps[block.steps.clone()];
        let are = |step: &&crate::ir::Step| {
            region.ops[step.ops.clone()].iter().any(|op| matches!(op, Op::Vector(..)))
        };
        let wanted = steps.iter().filter(are).map(|step| wanted(&step.insn)).max();
        self.load_vectors(wanted.unwrap_or(IN_CORE));
    }

    fn load_vectors(&mut self, wanted: u32) {
        if self.vectors >= wanted {
            return;
        }
        let (label, back) = (self.asm.label(), self.asm.label());
        let a = self.noisy();
        a.alu_imm(Alu::Cmp, Width::W32, translated!(vectors), wanted.cast_signed());
        a.jcc(cc::B, label);
        a.bind(back);
        self.stubs.push(Stub::Vectors { label, back, wanted });
        self.near = None;
        self.vectors = wanted;
    }

    /// In a stub: loads them.
    pub(super) fn call_vectors(&mut self, wanted: u32) {
        if wanted != IN_CORE {
            let to = self.far(self.place.runtime.vectors[wanted as usize - 1]);
            self.asm.call(to);
        }
    }

    /// [`Op::Vector`].
    pub(super) fn vector(&mut self, n: usize, shape: Shape, at: Option<Val>, general: Option<Val>) {
        let insn = self.insn();
        let bytes = u32::from(shape.bytes);
        let place = at.map(|at| self.reach(bytes, at, shape.store, shape.aligned));
        let place = place.map_or(Rm::R(RAX), Rm::from);
        self.load_vectors(wanted(&insn));
        let source = general.map(|v| {
            let w = shape.reads.map_or(Width::W64, |(w, _)| w);
            self.any_reg(v, w)
        });
        if shape.compares {
            self.claim(RAX);
            self.noisy().vector(&insn, RAX, place);
            return self.compared(n);
        }
        let result = shape.writes.map(|_| self.result(n, Width::W64));
        let reg = result.or(source).unwrap_or(RAX);
        self.quiet().vector(&insn, reg, place);
        if let Some(reg) = result {
            self.defined(n, reg, Width::W64, true);
        }
    }

    /// The host's flags are the result of operation `n`. RAX is free.
    pub(super) fn compared(&mut self, n: usize) {
        self.made = Some(n);
        if self.values.last[n] > n {
            self.quiet().load_flags();
            self.defined(n, RAX, Width::W8, true);
        }
    }
}

impl Asm {
    /// A vector instruction with the operands that it had for the guest; its general register is
    /// `general`, and its memory operand at `memory`.
    fn vector(&mut self, insn: &Insn, general: Gpr, memory: Rm) {
        let info = cached(insn.code).op_code();
        let mut place = Operands { reg: 0, second: 0, rm: Rm::R(RAX), imm: None };
        if info.is_group() {
            place.reg = info.group_index() as u8;
        }
        for (n, kind) in info.op_kinds().iter().enumerate() {
            let number = insn.ops[n & 3];
            let or_memory = |reg: Gpr| if insn.is_memory(n) { memory } else { Rm::R(reg) };
            match kind {
                K::xmm_reg | K::ymm_reg => place.reg = number,
                K::xmm_vvvv | K::ymm_vvvv => place.second = number,
                K::xmm_is4 | K::ymm_is4 => place.imm = Some(number << 4),
                K::imm8 => place.imm = Some(insn.imm as u8),
                K::r32_reg | K::r64_reg => place.reg = general.0,
                K::r32_rm | K::r64_rm | K::r32_or_mem | K::r64_or_mem => {
                    place.rm = or_memory(general);
                }
                _ => place.rm = or_memory(Gpr(number)),
            }
        }
        match info.encoding() {
            EncodingKind::VEX => self.vex(info, &place),
            _ => self.legacy(info, &place),
        }
    }

    fn legacy(&mut self, info: &OpCodeInfo, place: &Operands) {
        let prefix = match info.mandatory_prefix() {
            MandatoryPrefix::P66 => Some(0x66),
            MandatoryPrefix::PF3 => Some(0xf3),
            MandatoryPrefix::PF2 => Some(0xf2),
            MandatoryPrefix::None | MandatoryPrefix::PNP => None,
        };
        let byte = info.op_code() as u8;
        let opcode: &[u8] = match info.table() {
            OpCodeTableKind::T0F38 => &[0x0f, 0x38, byte],
            OpCodeTableKind::T0F3A => &[0x0f, 0x3a, byte],
            _ => &[0x0f, byte],
        };
        let wide = info.operand_size() == 64;
        let e = Encoding { prefix, wide, rex: false, opcode };
        self.encode(e, place.reg, place.rm, u32::from(place.imm.is_some()));
        self.code.extend(place.imm);
    }

    fn vex(&mut self, info: &OpCodeInfo, place: &Operands) {
        let (b, x) = match place.rm {
            Rm::R(r) => (r.0 >> 3, 0),
            Rm::M(m) => (m.base.map_or(0, |r| r.0 >> 3), m.index.map_or(0, |(r, _)| r.0 >> 3)),
            Rm::Rip(_) => (0, 0),
        };
        let inverted = (place.reg >> 3) << 7 | x << 6 | b << 5;
        let prefix = match info.mandatory_prefix() {
            MandatoryPrefix::P66 => 1,
            MandatoryPrefix::PF3 => 2,
            MandatoryPrefix::PF2 => 3,
            MandatoryPrefix::None | MandatoryPrefix::PNP => 0,
        };
        let third =
            (info.w() as u8) << 7 | (!place.second & 15) << 3 | (info.l() as u8) << 2 | prefix;
        self.code.extend([0xc4, (inverted ^ 0xe0) | map(info), third, info.op_code() as u8]);
        if info.op_count() != 0 {
            self.modrm(place.reg, place.rm, u32::from(place.imm.is_some()));
            self.code.extend(place.imm);
        }
    }

    /// MOVUPS between an XMM register and its place in the core.
    fn move_xmm(&mut self, store: bool, n: u8) {
        let e = Encoding {
            prefix: None,
            wide: false,
            rex: false,
            opcode: &[0x0f, 0x10 | u8::from(store)],
        };
        self.encode(e, n, ymm(n).into(), 0);
    }

    /// VMOVUPS between a YMM register and its place in the core.
    fn move_ymm(&mut self, store: bool, n: u8) {
        self.code.extend([0xc5, 0xfc ^ (n >> 3) << 7, 0x10 | u8::from(store)]);
        self.modrm(n, ymm(n).into(), 0);
    }

    /// STMXCSR or LDMXCSR.
    fn mxcsr(&mut self, store: bool, at: Rm) {
        let e = Encoding { prefix: None, wide: false, rex: false, opcode: &[0x0f, 0xae] };
        self.encode(e, if store { 3 } else { 2 }, at, 0);
    }

    /// AL = SF, ZF, AF, PF and CF at their places.
    fn load_flags(&mut self) {
        // LAHF; MOVZX EAX, AH.
        self.code.extend([0x9f, 0x0f, 0xb6, 0xc4]);
    }

    /// SF, ZF, AF, PF and CF from AL, and OF = 0.
    pub(super) fn set_flags(&mut self) {
        // MOV AH, AL; TEST AL, AL (for OF); SAHF.
        self.code.extend([0x88, 0xc4, 0x84, 0xc0, 0x9e]);
    }
}

/// The opcode map's number.
fn map(info: &OpCodeInfo) -> u8 {
    match info.table() {
        OpCodeTableKind::T0F38 => 2,
        OpCodeTableKind::T0F3A => 3,
        _ => 1,
    }
}

/// What the fields of an encoding say.
struct Operands {
    /// `ModRM.reg`.
    reg: u8,
    /// `VEX.vvvv`.
    second: u8,
    rm: Rm,
    imm: Option<u8>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use iced_x86::{DecoderOptions, Instruction, OpKind};
    use trine_x86::{CpuModel, Decoded, Decoder, Mode};

    use super::*;

    /// Every legacy encoding with an opcode of two or three bytes, with low and high registers and
    /// with memory.
    fn legacy(mut each: impl FnMut(&[u8])) {
        for prefix in [None, Some(0x66), Some(0xf3), Some(0xf2)] {
            for rex in [0x40, 0x45, 0x48, 0x4d] {
                for map in [&[0x0f][..], &[0x0f, 0x38], &[0x0f, 0x3a]] {
                    for (opcode, reg) in (0..=255).flat_map(|b| (0..8).map(move |r| (b, r << 3))) {
                        for modrm in [0xc2 | reg, 0x06 | reg] {
                            let mut bytes: Vec<u8> = prefix.into_iter().collect();
                            bytes.push(rex);
                            bytes.extend(map);
                            bytes.extend([opcode, modrm, 0x25, 0, 0, 0, 0, 0, 0]);
                            each(&bytes);
                        }
                    }
                }
            }
        }
    }

    /// The same with a VEX prefix.
    fn vex(mut each: impl FnMut(&[u8])) {
        for second in [0xe1, 0xc2, 0xc3, 0x41, 0xe2, 0xe3] {
            for third in
                (0..32).map(|n| (n & 7) | (n >> 3 & 1) << 7 | if n & 16 != 0 { 0x78 } else { 0x28 })
            {
                for (opcode, reg) in (0..=255).flat_map(|b| (0..8).map(move |r| (b, r << 3))) {
                    for modrm in [0xc2 | reg, 0x06 | reg] {
                        each(&[0xc4, second, third, opcode, modrm, 0x25, 0, 0, 0, 0, 0, 0]);
                    }
                }
            }
        }
    }

    /// The operands, with any memory as the same one and any general register as another.
    fn operands(insn: &Instruction) -> Vec<String> {
        let shown = |n| match insn.op_kind(n) {
            OpKind::Memory => "memory".to_owned(),
            OpKind::Register if insn.op_register(n).is_gpr() => "general".to_owned(),
            OpKind::Register => format!("{:?}", insn.op_register(n)),
            _ => format!("{:#x}", insn.immediate(n)),
        };
        (0..insn.op_count()).map(shown).collect()
    }

    fn decode(bytes: &[u8]) -> Instruction {
        iced_x86::Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).decode()
    }

    #[test]
    fn instructions_stay_what_they_are() {
        let decoder = Decoder::new(&CpuModel::named("max").expect("it is one"));
        let mode = Mode::new(Width::W64, Width::W64, true, true);
        let mut seen = HashSet::new();
        let mut check = |bytes: &[u8]| {
            let Decoded::Insn(insn) = decoder.decode(bytes, mode, 0, 0) else { return };
            if !is_vector(insn.code) {
                return;
            }
            let mut asm = Asm::default();
            asm.vector(&insn, RAX, Emitter::found().into());
            let (before, after) = (decode(bytes), decode(&asm.code));
            assert_eq!(after.len(), asm.code.len(), "{bytes:x?}: {:x?}", asm.code);
            assert_eq!(after.code(), cached(insn.code), "{bytes:x?}: {:x?}", asm.code);
            assert_eq!(operands(&after), operands(&before), "{bytes:x?}: {:x?}", asm.code);
            seen.insert(insn.code);
        };
        legacy(&mut check);
        vex(&mut check);
        let missing: Vec<_> = Code::values()
            .filter(|code| is_vector(*code) && decoder.offers(*code) && !seen.contains(code))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(seen.len() > 700, "only {} encodings", seen.len());
    }
}
