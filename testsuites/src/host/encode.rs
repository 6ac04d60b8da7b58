//! From an instruction form to the bytes of one of its encodings.
//!
//! Everything that the form leaves open is drawn: prefixes, registers, addressing, displacements,
//! immediates. iced-x86 has the last word: what it does not decode to the form is drawn again.
//!
//! Sources: SDM vol. 2A, chapter 2; iced-x86's `OpCodeInfo`.

use iced_x86::{
    Code, Decoder, DecoderOptions, EncodingKind, Instruction, MandatoryPrefix, OpCodeInfo,
    OpCodeOperandKind as K, OpCodeTableKind,
};

use super::{forms::Form, values};
use crate::noise::Noise;

/// The longest instruction.
const LONGEST: usize = 15;
/// Draws until an encoding must have been found.
const TRIES: usize = 60;

/// Where the instruction lies and what it should refer to, as offsets into their segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    pub(crate) rip: u64,
    /// The memory operand's linear address.
    pub(crate) memory: u64,
    /// Bases of the six segments.
    pub(crate) bases: [u64; 6],
    /// Where branches go.
    pub(crate) branch: u64,
    /// The selector of far branches.
    pub(crate) selector: u16,
}

/// An encoded instruction.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) insn: Instruction,
    /// What makes the bytes no instruction, though `insn` is one: a LOCK prefix where none may be,
    /// or a VEX prefix that is none.
    pub(crate) flaw: Option<&'static str>,
}

/// One encoding of `form`.
pub(crate) fn encode(form: Form, aim: &Aim, n: &mut Noise) -> Option<Encoded> {
    for _ in 0..TRIES {
        let mut draft = Draft::new(form, aim, n);
        draft.write(n);
        let Some(mut bytes) = draft.finish(aim) else { continue };
        let Some(insn) = decode(form, &bytes, aim.rip) else { continue };
        let lockable = form.code.op_code().can_use_lock_prefix();
        let flaw = if !insn.has_lock_prefix()
            && bytes.len() < LONGEST
            && !(lockable && insn.op0_kind() == iced_x86::OpKind::Memory)
            && n.once_in(300)
        {
            bytes.insert(0, 0xf0);
            Some("lock")
        } else if form.code.op_code().encoding() == EncodingKind::VEX && n.once_in(60) {
            spoil_vex(form, &mut bytes, n)
        } else {
            None
        };
        return Some(Encoded { bytes, insn, flaw });
    }
    None
}

/// Puts a prefix before VEX that may not be there, or changes one of VEX's fields, and says what,
/// if this leaves no instruction at all (SDM vol. 2A, sections 2.3.2 to 2.3.6 and 2.4).
fn spoil_vex(form: Form, bytes: &mut Vec<u8>, n: &mut Noise) -> Option<&'static str> {
    let start = bytes.iter().position(|byte| matches!(byte, 0xc4 | 0xc5))?;
    let last = start + if bytes[start] == 0xc4 { 2 } else { 1 };
    let mut spoilt = bytes.clone();
    let flaw = match n.below(5) {
        0 | 1 if bytes.len() == LONGEST => return None,
        0 => {
            spoilt.insert(start, n.pick(&[0x66, 0xf2, 0xf3]));
            "a prefix and"
        }
        1 if form.bits == 64 => {
            spoilt.insert(start, 0x40 | n.byte() & 15);
            "REX and"
        }
        1 | 2 => {
            spoilt[last] ^= 8 << n.below(4);
            "another vvvv:"
        }
        3 => {
            spoilt[last] ^= 4;
            "another L:"
        }
        _ if bytes[start] == 0xc5 => return None,
        _ => {
            spoilt[last] ^= 0x80;
            "another W:"
        }
    };
    let decoded = Decoder::new(form.bits, &spoilt, DecoderOptions::NONE).decode();
    if decoded.code() != Code::INVALID {
        return None;
    }
    *bytes = spoilt;
    Some(flaw)
}

/// The instruction, if `bytes` are one encoding of the form.
fn decode(form: Form, bytes: &[u8], rip: u64) -> Option<Instruction> {
    // Hints of later CPUs are reserved no-operations to those before.
    [DecoderOptions::FORCE_RESERVED_NOP | DecoderOptions::NO_WBNOINVD, DecoderOptions::NONE]
        .into_iter()
        .find_map(|options| {
            let insn = Decoder::with_ip(form.bits, bytes, rip, options).decode();
            (insn.code() == form.code && insn.len() == bytes.len()).then_some(insn)
        })
}

/// Parts of an encoding under way.
struct Draft<'a> {
    form: Form,
    op: &'static OpCodeInfo,
    aim: &'a Aim,
    prefixes: Vec<u8>,
    /// REX bits, or VEX's in the same order.
    rex: u8,
    has_rex: bool,
    vvvv: u8,
    /// VEX.L.
    length: u8,
    opcode: Vec<u8>,
    modrm: Option<u8>,
    /// SIB and displacement.
    address: Vec<u8>,
    /// The displacement is relative to the next instruction.
    relative: bool,
    immediate: Vec<u8>,
    /// Bytes of the immediate that are relative to the next instruction, from its start.
    branch: usize,
    address_bits: u32,
    segment: usize,
}

/// Whether the operand is in `ModR/M`'s reg field, its r/m field as a register, or as memory.
fn in_reg(kind: K) -> bool {
    matches!(
        kind,
        K::r8_reg
            | K::r16_reg
            | K::r16_reg_mem
            | K::r32_reg
            | K::r32_reg_mem
            | K::r64_reg
            | K::r64_reg_mem
            | K::seg_reg
            | K::mm_reg
            | K::xmm_reg
            | K::ymm_reg
            | K::cr_reg
            | K::dr_reg
            | K::tr_reg
            | K::bnd_reg
            | K::k_reg
    )
}

fn in_rm(kind: K) -> bool {
    matches!(kind, K::r16_rm | K::r32_rm | K::r64_rm | K::mm_rm | K::xmm_rm | K::ymm_rm | K::k_rm)
}

fn in_memory(kind: K) -> bool {
    is_vsib(kind) || matches!(kind, K::mem | K::mem_mib | K::mem_mpx | K::sibmem)
}

/// Memory whose index is a vector.
pub(crate) fn is_vsib(kind: K) -> bool {
    matches!(kind, K::mem_vsib32x | K::mem_vsib32y | K::mem_vsib64x | K::mem_vsib64y)
}

fn in_either(kind: K) -> bool {
    matches!(
        kind,
        K::r8_or_mem
            | K::r16_or_mem
            | K::r32_or_mem
            | K::r64_or_mem
            | K::mm_or_mem
            | K::xmm_or_mem
            | K::ymm_or_mem
            | K::r32_or_mem_mpx
            | K::r64_or_mem_mpx
            | K::bnd_or_mem_mpx
            | K::k_or_mem
    )
}

fn in_vvvv(kind: K) -> bool {
    matches!(kind, K::r32_vvvv | K::r64_vvvv | K::xmm_vvvv | K::ymm_vvvv | K::k_vvvv)
}

const SEGMENT_PREFIXES: [u8; 6] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

impl<'a> Draft<'a> {
    fn new(form: Form, aim: &'a Aim, n: &mut Noise) -> Self {
        let op = form.code.op_code();
        let vex = op.encoding() == EncodingKind::VEX;
        let mut rex = if form.bits == 64 { n.byte() & 7 } else { 0 };
        if n.once_in(2) {
            rex = 0;
        }
        let wide = if vex {
            if op.is_wig() || op.is_wig32() && form.bits != 64 { n.once_in(2) } else { op.w() != 0 }
        } else {
            let by_default = op.default_op_size64() || op.force_op_size64();
            match op.operand_size() {
                64 => !by_default || n.once_in(8),
                0 => n.once_in(12),
                _ => false,
            }
        };
        if wide && (form.bits == 64 || vex) {
            rex |= 8;
        }
        Self {
            form,
            op,
            aim,
            prefixes: Vec::new(),
            rex,
            has_rex: rex != 0 || form.bits == 64 && n.once_in(8),
            vvvv: 0,
            length: if op.is_lig() { n.byte() & 1 } else { op.l() as u8 & 1 },
            opcode: Vec::new(),
            modrm: None,
            address: Vec::new(),
            relative: false,
            immediate: Vec::new(),
            branch: 0,
            address_bits: form.bits,
            segment: 3,
        }
    }

    fn write(&mut self, n: &mut Noise) {
        self.write_prefixes(n);
        self.write_opcode(n);
        let kinds = self.op.op_kinds();
        if kinds.iter().any(|k| in_vvvv(*k)) {
            self.vvvv = n.byte() & if self.form.bits == 64 { 15 } else { 7 };
        }
        if self.has_modrm() {
            self.write_modrm(n);
        }
        for kind in kinds {
            self.write_immediate(*kind, n);
        }
    }

    fn has_modrm(&self) -> bool {
        let kinds = self.op.op_kinds();
        // Groups by opcode alone, such as D9E8, have two opcode bytes instead.
        self.op.op_code_len() == 1
            && (self.op.is_group()
                || self.op.is_rm_group()
                || kinds.iter().any(|k| in_reg(*k) || in_rm(*k) || in_memory(*k) || in_either(*k)))
    }

    fn refers_to_memory(&self) -> bool {
        self.op.op_kinds().iter().any(|k| {
            in_memory(*k)
                || in_either(*k)
                || matches!(k, K::mem_offs | K::seg_rSI | K::es_rDI | K::seg_rDI | K::seg_rBX_al)
        })
    }

    fn write_prefixes(&mut self, n: &mut Noise) {
        let (op, bits) = (self.op, self.form.bits);
        let vex = op.encoding() == EncodingKind::VEX;
        let narrow = match (bits, op.operand_size()) {
            (16, 32) | (32 | 64, 16) => true,
            _ => op.mandatory_prefix() == MandatoryPrefix::P66 || n.once_in(40),
        };
        if narrow && !vex {
            self.prefixes.push(0x66);
        }
        let other = match (bits, op.address_size()) {
            (_, 0) => n.once_in(if self.refers_to_memory() { 8 } else { 60 }),
            (_, size) => size != bits,
        };
        if other {
            self.prefixes.push(0x67);
            self.address_bits = if bits == 32 { 16 } else { 32 };
        }
        match op.mandatory_prefix() {
            MandatoryPrefix::PF3 if !vex => self.prefixes.push(0xf3),
            MandatoryPrefix::PF2 if !vex => self.prefixes.push(0xf2),
            _ if (op.can_use_rep_prefix() || op.can_use_repne_prefix()) && n.once_in(2) => {
                self.prefixes.push(n.pick(&[0xf3, 0xf3, 0xf2]));
            }
            MandatoryPrefix::None if n.once_in(50) => self.prefixes.push(n.pick(&[0xf2, 0xf3])),
            _ => {}
        }
        if op.can_use_lock_prefix() && n.once_in(6) {
            self.prefixes.push(0xf0);
        }
        if n.once_in(if self.refers_to_memory() { 6 } else { 60 }) {
            self.segment = n.below(6) as usize;
            self.prefixes.push(SEGMENT_PREFIXES[self.segment]);
        }
        // Their order does not matter, and each may be there again.
        if self.prefixes.len() > 1 && n.once_in(2) {
            let last = self.prefixes.len() as u64;
            self.prefixes.swap(0, n.below(last) as usize);
        }
        if let Some(first) = self.prefixes.first().copied()
            && n.once_in(40)
        {
            self.prefixes.push(first);
        }
    }

    fn write_opcode(&mut self, n: &mut Noise) {
        let op = self.op;
        if op.encoding() == EncodingKind::Legacy {
            self.opcode.extend_from_slice(match op.table() {
                OpCodeTableKind::T0F => &[0x0f],
                OpCodeTableKind::T0F38 => &[0x0f, 0x38],
                OpCodeTableKind::T0F3A => &[0x0f, 0x3a],
                _ => &[],
            });
        }
        if op.op_code_len() == 2 {
            self.opcode.push((op.op_code() >> 8) as u8);
        }
        let mut last = op.op_code() as u8;
        let by_opcode = |k: &K| {
            use K::{r8_opcode, r16_opcode, r32_opcode, r64_opcode, sti_opcode};
            matches!(k, r8_opcode | r16_opcode | r32_opcode | r64_opcode | sti_opcode)
        };
        if op.op_kinds().iter().any(by_opcode) {
            last = last.wrapping_add(n.byte() & 7);
        }
        self.opcode.push(last);
    }

    fn write_modrm(&mut self, n: &mut Noise) {
        let op = self.op;
        let mut reg = n.byte() & 7;
        if op.op_kinds().contains(&K::seg_reg) {
            reg = n.below(6) as u8;
            self.rex &= !4;
        }
        if op.is_group() {
            reg = op.group_index() as u8;
        }
        let memory = op.op_kinds().iter().any(|k| in_memory(*k))
            || op.op_kinds().iter().any(|k| in_either(*k)) && n.once_in(2);
        if !memory {
            let rm = if op.is_rm_group() { op.rm_group_index() as u8 } else { n.byte() & 7 };
            self.modrm = Some(0xc0 | reg << 3 | rm);
            return;
        }
        let vsib = op.op_kinds().iter().any(|k| is_vsib(*k));
        let (form, rm) = (n.below(3) as u8, if vsib { 4 } else { n.byte() & 7 });
        self.modrm = Some(form << 6 | reg << 3 | rm);
        let target = self.aim.memory.wrapping_sub(self.base_of_segment());
        if self.address_bits == 16 {
            match (form, rm) {
                (1, _) => self.address.push(n.byte()),
                (2, _) => self.address.extend((values::displacement(n) as u16).to_le_bytes()),
                (0, 6) => self.address.extend((target as u16).to_le_bytes()),
                _ => {}
            }
            return;
        }
        let mut absolute = form == 0 && rm == 5;
        if absolute && self.form.bits == 64 {
            self.relative = true;
        }
        if rm == 4 {
            let sib = n.byte();
            self.address.push(sib);
            absolute = form == 0 && sib & 7 == 5;
            if absolute && !vsib && (sib >> 3 & 7 != 4 || self.rex & 2 != 0) {
                // An index and a displacement: the index makes up for it.
                absolute = false;
                self.address.extend((values::displacement(n) as u32).to_le_bytes());
            }
        }
        match form {
            _ if absolute => self.address.extend((target as u32).to_le_bytes()),
            1 => self.address.push(n.byte()),
            2 => self.address.extend((values::displacement(n) as u32).to_le_bytes()),
            _ => {}
        }
    }

    fn base_of_segment(&self) -> u64 {
        if self.form.bits == 64 && self.segment < 4 { 0 } else { self.aim.bases[self.segment] }
    }

    fn write_immediate(&mut self, kind: K, n: &mut Noise) {
        let aim = self.aim;
        let out = &mut self.immediate;
        match kind {
            K::imm8 | K::imm8sex16 | K::imm8sex32 | K::imm8sex64 => {
                out.push(values::immediate8(self.form.code, n));
            }
            K::imm16 => out.extend((values::integer(n) as u16).to_le_bytes()),
            K::imm32 | K::imm32sex64 => out.extend((values::integer(n) as u32).to_le_bytes()),
            K::imm64 => out.extend(values::integer(n).to_le_bytes()),
            K::xmm_is4 | K::ymm_is4 => out.push(n.byte() & 0xf0),
            K::farbr2_2 => {
                out.extend((aim.branch as u16).to_le_bytes());
                out.extend(aim.selector.to_le_bytes());
            }
            K::farbr4_2 => {
                out.extend((aim.branch as u32).to_le_bytes());
                out.extend(aim.selector.to_le_bytes());
            }
            K::mem_offs => {
                let target = aim.memory.wrapping_sub(self.base_of_segment());
                let bytes = self.address_bits as usize / 8;
                self.immediate.extend(&target.to_le_bytes()[..bytes]);
            }
            K::br16_1 | K::br32_1 | K::br64_1 => (self.branch, self.immediate) = (1, vec![0]),
            K::br16_2 => (self.branch, self.immediate) = (2, vec![0; 2]),
            K::br32_4 | K::br64_4 => (self.branch, self.immediate) = (4, vec![0; 4]),
            _ => {}
        }
    }

    /// All of it in order; what is relative to the end is known only now.
    fn finish(mut self, aim: &Aim) -> Option<Vec<u8>> {
        let mut out = std::mem::take(&mut self.prefixes);
        if self.op.encoding() == EncodingKind::VEX {
            self.write_vex(&mut out);
        } else if self.has_rex {
            out.push(0x40 | self.rex);
        }
        out.append(&mut self.opcode);
        out.extend(self.modrm);
        let end = (out.len() + self.address.len() + self.immediate.len()) as u64;
        if self.relative {
            let target = aim.memory.wrapping_sub(self.base_of_segment());
            let displacement = target.wrapping_sub(aim.rip.wrapping_add(end)) as u32;
            self.address.clear();
            self.address.extend(displacement.to_le_bytes());
        }
        if self.branch > 0 {
            let distance = aim.branch.wrapping_sub(aim.rip.wrapping_add(end));
            self.immediate = distance.to_le_bytes()[..self.branch].to_vec();
        }
        out.append(&mut self.address);
        out.append(&mut self.immediate);
        (out.len() <= LONGEST).then_some(out)
    }

    fn write_vex(&self, out: &mut Vec<u8>) {
        let op = self.op;
        let map: u8 = match op.table() {
            OpCodeTableKind::T0F38 => 2,
            OpCodeTableKind::T0F3A => 3,
            _ => 1,
        };
        let prefix: u8 = match op.mandatory_prefix() {
            MandatoryPrefix::P66 => 1,
            MandatoryPrefix::PF3 => 2,
            MandatoryPrefix::PF2 => 3,
            _ => 0,
        };
        let last = (!self.vvvv & 15) << 3 | self.length << 2 | prefix;
        let (w, r, xb) = (self.rex >> 3 & 1, self.rex >> 2 & 1, self.rex & 3);
        if map == 1 && w == 0 && xb == 0 && self.has_rex {
            out.extend([0xc5, (1 - r) << 7 | last]);
        } else {
            out.extend([0xc4, (!self.rex & 7) << 5 | map, w << 7 | last]);
        }
    }
}

/// Whether some encoding of the form is decoded without options for other CPUs.
pub(crate) fn exists(form: Form) -> bool {
    let aim =
        Aim { rip: 0x1_0100, memory: 0x1_3000, bases: [0; 6], branch: 0x1_0140, selector: 0x23 };
    (0..20).any(|seed| encode(form, &aim, &mut Noise::new(seed)).is_some())
}

/// Whether the instruction may go somewhere else than on.
pub(crate) fn is_branch(code: Code) -> bool {
    use iced_x86::FlowControl as F;
    !matches!(code.flow_control(), F::Next | F::Exception | F::XbeginXabortXend)
}
