//! From bytes to [`Insn`]: iced-x86 decodes, we keep what execution needs.

use iced_x86::{
    Code, CpuidFeature, DecoderError, DecoderOptions, Instruction, Mnemonic, OpKind, Register,
};

use crate::{
    CpuModel, Feature,
    insn::{Insn, Mode, Seg, Width, slot},
};

/// The most instructions in a block.
pub const BLOCK_INSNS: usize = 32;
/// The most bytes in a block.
pub const BLOCK_BYTES: usize = 240;

/// What decoding gives.
#[derive(Clone, Copy, Debug)]
pub enum Decoded {
    /// An instruction.
    Insn(Insn),
    /// No instruction of this model: #UD.
    Invalid,
    /// Longer than 15 bytes: #GP(0).
    TooLong,
    /// The bytes end before the instruction does.
    Incomplete,
}

/// Decodes for one CPU model.
pub struct Decoder {
    /// For each `Code`, whether the model has it.
    offered: Box<[bool]>,
    /// What an encoding means where models differ.
    options: u32,
    /// [`CpuModel::is_early`].
    early: bool,
}

impl Decoder {
    /// A decoder of what `model` has.
    #[must_use]
    pub fn new(model: &CpuModel) -> Self {
        let offered = Code::values()
            .map(|code| match code.mnemonic() {
                // The hints of 0F 0D and 0F 18 to 0F 1F, those of later CPUs included.
                Mnemonic::Vmcall | Mnemonic::Vmmcall => model.has(Feature::Hypervisor),
                Mnemonic::Reservednop => model.has(Feature::Cmov),
                _ => code.cpuid_features().iter().all(|f| has(model, *f)),
            })
            .collect();
        // Without their feature TZCNT is BSF, LZCNT is BSR, and WBNOINVD is WBINVD.
        let without = |feature, option| if model.has(feature) { 0 } else { option };
        let options = DecoderOptions::FORCE_RESERVED_NOP
            | DecoderOptions::NO_WBNOINVD
            | without(Feature::Bmi1, DecoderOptions::NO_MPFX_0FBC)
            | without(Feature::Lzcnt, DecoderOptions::NO_MPFX_0FBD)
            | without(Feature::LahfLm, DecoderOptions::NO_LAHF_SAHF_64);
        Self { offered, options, early: model.is_early() }
    }

    /// Whether the model has this instruction.
    #[must_use]
    pub fn offers(&self, code: Code) -> bool {
        self.offered.get(code as usize).copied().unwrap_or(false)
    }

    /// Decodes the instruction that `bytes` start with, for a block that starts at `block_ip` and
    /// has `before` bytes before this instruction.
    #[must_use]
    pub fn decode(&self, bytes: &[u8], mode: Mode, block_ip: u64, before: usize) -> Decoded {
        let ip = block_ip.wrapping_add(before as u64);
        let bits = mode.code().bits();
        let window = &bytes[..bytes.len().min(15)];
        let mut decoder = iced_x86::Decoder::with_ip(bits, window, ip, self.options);
        let insn = decoder.decode();
        match decoder.last_error() {
            DecoderError::NoMoreBytes if window.len() < 15 => return Decoded::Incomplete,
            DecoderError::None => {}
            // The decoder calls everything invalid that does not end within 15 bytes.
            _ if window.len() < 15 && vex_goes_on(bits, window) => return Decoded::Incomplete,
            _ if insn.len() == 15 && self.goes_on(bits, window) => return Decoded::TooLong,
            _ => return Decoded::Invalid,
        }
        if !self.offers(insn.code()) {
            return Decoded::Invalid;
        }
        let mut out = compact(&insn, mode, block_ip, before);
        if (Code::Fadd_m32fp..=Code::Fcomip_st0_sti).contains(&insn.code()) {
            out.imm = i32::from(x87_opcode(&window[..insn.len()]));
        }
        if self.early {
            out.set_early();
        }
        Decoded::Insn(out)
    }

    /// Whether the instruction, of which `window` is 15 bytes, has more than these: it is one with
    /// each of its prefixes only once, and ends behind them.
    fn goes_on(&self, bits: u32, window: &[u8]) -> bool {
        let prefixes = window.iter().take_while(|b| is_prefix(**b) || is_rex(bits, **b)).count();
        let (prefixes, opcode) = window.split_at(prefixes);
        let mut rest: Vec<u8> = Vec::with_capacity(30);
        for (n, byte) in prefixes.iter().enumerate() {
            // REX counts only as the last of them.
            let later = &prefixes[n + 1..];
            if !later.contains(byte) && (is_prefix(*byte) || later.is_empty()) {
                rest.push(*byte);
            }
        }
        rest.extend(opcode);
        let len = rest.len();
        rest.extend([0; 15]);
        let insn = iced_x86::Decoder::with_ip(bits, &rest, 0, self.options).decode();
        insn.code() != Code::INVALID && insn.len() > len
    }
}

/// A prefix of any mode.
fn is_prefix(byte: u8) -> bool {
    matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
}

/// A REX prefix.
fn is_rex(bits: u32, byte: u8) -> bool {
    bits == 64 && byte & 0xf0 == 0x40
}

/// Whether `window` ends within an instruction with a VEX prefix. CPUs fetch all of such a one even
/// if it is none, while iced-x86 stops where it sees that (SDM vol. 2A, sections 2.1 and 2.3).
fn vex_goes_on(bits: u32, window: &[u8]) -> bool {
    let start = window.iter().position(|byte| !is_prefix(*byte) && !is_rex(bits, *byte));
    let Some(start) = start else { return false };
    let (map, opcode) = match window[start..] {
        [0xc4 | 0xc5] => return true,
        [_, second, ..] if bits != 64 && second & 0xc0 != 0xc0 => return false,
        [0xc4, second, ..] => (second & 0x1f, start + 3),
        [0xc5, ..] => (1, start + 2),
        _ => return false,
    };
    let Some(opcode_byte) = window.get(opcode) else { return true };
    let immediate = match (map, opcode_byte) {
        (1, 0x77) => return false,
        (1, 0x70..=0x73 | 0xc2 | 0xc4..=0xc6) | (3, _) => 1,
        (1 | 2, _) => 0,
        _ => return false,
    };
    let narrow = bits != 64 && (bits == 16) != window[..start].contains(&0x67);
    modrm_bytes(&window[opcode + 1..], narrow)
        .is_none_or(|modrm| window.len() < opcode + 1 + modrm + immediate)
}

/// Bytes of `ModR/M`, SIB and displacement, if they are all there; `narrow` is with 16-bit addresses
/// (SDM vol. 2A, tables 2-1 to 2-3).
fn modrm_bytes(bytes: &[u8], narrow: bool) -> Option<usize> {
    let modrm = bytes.first()?;
    let (form, rm) = (modrm >> 6, modrm & 7);
    if form == 3 {
        return Some(1);
    }
    if narrow {
        return Some(1 + [if rm == 6 { 2 } else { 0 }, 1, 2][usize::from(form)]);
    }
    let (sib, base) = if rm == 4 { (1, bytes.get(1)? & 7) } else { (0, rm) };
    Some(1 + sib + [if base == 5 { 4 } else { 0 }, 1, 4][usize::from(form)])
}

/// The eleven bits that the x87 keeps of an instruction that left an exception: the low three bits
/// of the opcode's first byte, and ModRM. No prefix looks like an x87 opcode.
fn x87_opcode(insn: &[u8]) -> u16 {
    let at = insn.iter().position(|byte| byte & 0xf8 == 0xd8).unwrap_or(0);
    let byte = |n: usize| u16::from(insn.get(n).copied().unwrap_or(0));
    (byte(at) & 7) << 8 | byte(at + 1)
}

fn compact(insn: &Instruction, mode: Mode, block_ip: u64, before: usize) -> Insn {
    let mut out = Insn::new(insn.code(), mode, insn.len() as u8);
    out.end = (before + insn.len()) as u8;
    out.set_width(operand_width(insn, mode));
    let mut address_width = mode.code();
    let mut seg = Seg::Ds;
    for n in 0..insn.op_count().min(4) {
        match insn.op_kind(n) {
            OpKind::Register => out.ops[n as usize] = register(insn.op_register(n)),
            OpKind::Memory => {
                out.set_has_memory();
                out.ops[n as usize] = slot::MEM;
                seg = segment_of(insn, mode);
                address_width = memory_operand(insn, block_ip, &mut out, mode);
            }
            kind => {
                if let Some((width, is_source)) = string_operand(kind) {
                    out.set_has_memory();
                    out.ops[n as usize] = slot::MEM;
                    address_width = width;
                    if is_source {
                        seg = segment_of(insn, mode);
                    }
                } else {
                    immediate(insn, n, kind, &mut out);
                }
            }
        }
    }
    if matches!(insn.mnemonic(), Mnemonic::Monitor) && insn.has_segment_prefix() {
        seg = segment(insn.segment_prefix());
    }
    // Where no operand tells, the prefix does.
    if let Some(width) = implied_address_width(insn.code()) {
        address_width = width;
    }
    out.set_address(insn.memory_index_scale().trailing_zeros() as u8 & 3, seg, address_width);
    out.set_prefixes(insn.has_lock_prefix(), insn.has_rep_prefix(), insn.has_repne_prefix());
    out
}

/// Fills in base, index and displacement; returns the address width.
fn memory_operand(insn: &Instruction, block_ip: u64, out: &mut Insn, mode: Mode) -> Width {
    let (base, index) = (insn.memory_base(), insn.memory_index());
    if base == Register::RIP || base == Register::EIP {
        out.base = slot::BLOCK_IP;
        // iced gives the target; we want its distance from the block's start.
        let target = insn.memory_displacement64();
        let distance = if base == Register::RIP {
            target.wrapping_sub(block_ip) as i64
        } else {
            i64::from((target as u32).wrapping_sub(block_ip as u32) as i32)
        };
        out.disp = i32::try_from(distance).unwrap_or_else(|_| {
            // The instruction's own bytes push it past 2 GiB: borrow from a constant register.
            out.index = slot::FAR;
            (distance - (1 << 20)) as i32
        });
        return if base == Register::RIP { Width::W64 } else { Width::W32 };
    }
    if base != Register::None {
        out.base = register(base);
    }
    if index != Register::None {
        out.index = register(index);
    }
    if insn.memory_displ_size() == 8 && base == Register::None && index == Register::None {
        // MOV with a 64-bit offset: displacement and immediate hold it together.
        let offset = insn.memory_displacement64();
        if is_moffs(insn.code()) {
            out.disp = offset as i32;
            out.imm = (offset >> 32) as i32;
            return Width::W64;
        }
    }
    out.disp = insn.memory_displacement64() as i32;
    let of = if base == Register::None { index } else { base };
    match of.size() {
        2 => Width::W16,
        4 => Width::W32,
        8 => Width::W64,
        _ => match insn.memory_displ_size() {
            2 => Width::W16,
            4 => Width::W32,
            8 => Width::W64,
            _ => mode.code(),
        },
    }
}

/// MOV between the accumulator and an absolute offset.
pub(crate) fn is_moffs(code: Code) -> bool {
    matches!(
        code,
        Code::Mov_AL_moffs8
            | Code::Mov_AX_moffs16
            | Code::Mov_EAX_moffs32
            | Code::Mov_RAX_moffs64
            | Code::Mov_moffs8_AL
            | Code::Mov_moffs16_AX
            | Code::Mov_moffs32_EAX
            | Code::Mov_moffs64_RAX
    )
}

/// Address width of a string operand, and whether it is the one that obeys a segment prefix.
fn string_operand(kind: OpKind) -> Option<(Width, bool)> {
    Some(match kind {
        OpKind::MemorySegSI => (Width::W16, true),
        OpKind::MemorySegESI => (Width::W32, true),
        OpKind::MemorySegRSI => (Width::W64, true),
        OpKind::MemorySegDI => (Width::W16, true),
        OpKind::MemorySegEDI => (Width::W32, true),
        OpKind::MemorySegRDI => (Width::W64, true),
        OpKind::MemoryESDI => (Width::W16, false),
        OpKind::MemoryESEDI => (Width::W32, false),
        OpKind::MemoryESRDI => (Width::W64, false),
        _ => return None,
    })
}

/// See [`Insn::width`].
fn operand_width(insn: &Instruction, mode: Mode) -> Width {
    let of_size = |bytes: usize| match bytes {
        1 => Some(Width::W8),
        2 => Some(Width::W16),
        4 => Some(Width::W32),
        8 => Some(Width::W64),
        _ => None,
    };
    let from_operands = (0..insn.op_count()).find_map(|n| match insn.op_kind(n) {
        OpKind::Register if insn.op_register(n).is_gpr() => of_size(insn.op_register(n).size()),
        OpKind::Register => None,
        OpKind::NearBranch16 => Some(Width::W16),
        OpKind::NearBranch32 => Some(Width::W32),
        OpKind::NearBranch64 => Some(Width::W64),
        OpKind::FarBranch16 => Some(Width::W16),
        OpKind::FarBranch32 => Some(Width::W32),
        kind if kind == OpKind::Memory || string_operand(kind).is_some() => {
            of_size(insn.memory_size().size())
        }
        _ => None,
    });
    let implied = match insn.code().op_code().operand_size() {
        16 => Width::W16,
        32 => Width::W32,
        64 => Width::W64,
        _ => mode.code(),
    };
    // The stack's and far transfers' width is the operand size, not the operand's.
    if insn.is_stack_instruction() || insn.op_count() == 0 {
        implied
    } else {
        from_operands.unwrap_or(implied)
    }
}

fn immediate(insn: &Instruction, n: u32, kind: OpKind, out: &mut Insn) {
    out.set_has_immediate();
    match kind {
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
            out.imm = insn.near_branch_target().wrapping_sub(insn.next_ip()) as i32;
        }
        OpKind::FarBranch16 => {
            out.disp = i32::from(insn.far_branch16());
            out.imm = i32::from(insn.far_branch_selector());
        }
        OpKind::FarBranch32 => {
            out.disp = insn.far_branch32() as i32;
            out.imm = i32::from(insn.far_branch_selector());
        }
        OpKind::Immediate64 => {
            let value = insn.immediate64();
            out.disp = value as i32;
            out.imm = (value >> 32) as i32;
        }
        OpKind::Immediate8_2nd => out.imm2 = insn.immediate8_2nd(),
        // Sign-extended from its own size; whoever wants it unsigned masks it.
        OpKind::Immediate8 => out.imm = i32::from(insn.immediate8() as i8),
        OpKind::Immediate16 => out.imm = i32::from(insn.immediate16() as i16),
        _ => out.imm = insn.immediate(n) as i32,
    }
}

/// Instructions whose address width shows in no operand.
fn implied_address_width(code: Code) -> Option<Width> {
    use Code as C;
    Some(match code {
        C::Jcxz_rel8_16 | C::Jcxz_rel8_32 => Width::W16,
        C::Jecxz_rel8_16 | C::Jecxz_rel8_32 | C::Jecxz_rel8_64 => Width::W32,
        C::Jrcxz_rel8_16 | C::Jrcxz_rel8_64 => Width::W64,
        C::Loop_rel8_16_CX | C::Loop_rel8_32_CX => Width::W16,
        C::Loop_rel8_16_ECX | C::Loop_rel8_32_ECX | C::Loop_rel8_64_ECX => Width::W32,
        C::Loop_rel8_16_RCX | C::Loop_rel8_64_RCX => Width::W64,
        C::Loope_rel8_16_CX | C::Loope_rel8_32_CX => Width::W16,
        C::Loope_rel8_16_ECX | C::Loope_rel8_32_ECX | C::Loope_rel8_64_ECX => Width::W32,
        C::Loope_rel8_16_RCX | C::Loope_rel8_64_RCX => Width::W64,
        C::Loopne_rel8_16_CX | C::Loopne_rel8_32_CX => Width::W16,
        C::Loopne_rel8_16_ECX | C::Loopne_rel8_32_ECX | C::Loopne_rel8_64_ECX => Width::W32,
        C::Loopne_rel8_16_RCX | C::Loopne_rel8_64_RCX => Width::W64,
        C::Monitorw => Width::W16,
        C::Monitord => Width::W32,
        C::Monitorq => Width::W64,
        _ => return None,
    })
}

/// The number under which execution knows a register.
fn register(r: Register) -> u8 {
    if r.is_gpr8() {
        // AL CL DL BL AH CH DH BH SPL BPL SIL DIL R8L…
        return match r as u8 - Register::AL as u8 {
            n @ 0..=3 => n,
            n @ 4..=7 => (n - 4) | slot::HIGH,
            n => n - 4,
        };
    }
    r.number() as u8
}

/// The memory operand's segment. 64-bit mode ignores overrides other than FS and GS, even for which
/// exception a bad address raises.
fn segment_of(insn: &Instruction, mode: Mode) -> Seg {
    let seg = segment(insn.memory_segment());
    if !mode.is_64() || matches!(seg, Seg::Fs | Seg::Gs) {
        return seg;
    }
    match insn.memory_base() {
        Register::RSP | Register::RBP | Register::ESP | Register::EBP => Seg::Ss,
        _ => Seg::Ds,
    }
}

fn segment(r: Register) -> Seg {
    match r {
        Register::ES => Seg::Es,
        Register::CS => Seg::Cs,
        Register::SS => Seg::Ss,
        Register::FS => Seg::Fs,
        Register::GS => Seg::Gs,
        _ => Seg::Ds,
    }
}

/// Whether `model` has what iced-x86 calls `feature`.
fn has(model: &CpuModel, feature: CpuidFeature) -> bool {
    use CpuidFeature as C;
    use Feature as F;
    let feature = match feature {
        C::INTEL8086 | C::INTEL186 | C::INTEL286 | C::INTEL386 | C::INTEL486 | C::INTEL286_ONLY => {
            return true;
        }
        C::FPU | C::FPU287 | C::FPU387 => F::Fpu,
        C::X64 => F::Lm,
        C::ADX => F::Adx,
        C::AES => F::Aes,
        C::AVX => F::Avx,
        C::AVX2 => F::Avx2,
        C::AVX_VNNI => F::AvxVnni,
        C::BMI1 => F::Bmi1,
        C::BMI2 => F::Bmi2,
        C::CLFLUSHOPT => F::Clflushopt,
        C::CLFSH => F::Clfsh,
        C::CLWB => F::Clwb,
        C::CMOV => F::Cmov,
        C::CMPXCHG16B => F::Cx16,
        C::CPUID => return true,
        C::CX8 => F::Cx8,
        C::F16C => F::F16c,
        C::FMA => F::Fma,
        C::FSGSBASE => F::Fsgsbase,
        C::FXSR => F::Fxsr,
        C::GFNI => F::Gfni,
        C::INVPCID => F::Invpcid,
        C::LZCNT => F::Lzcnt,
        C::MMX => F::Mmx,
        C::MONITOR => F::Monitor,
        C::MOVBE => F::Movbe,
        C::MSR => F::Msr,
        C::MULTIBYTENOP | C::PAUSE => return true,
        C::PCLMULQDQ => F::Pclmulqdq,
        C::PKU => F::Pku,
        C::POPCNT => F::Popcnt,
        C::PREFETCHW => F::Prefetchw,
        C::RDPID => F::Rdpid,
        C::RDPMC => F::Mmx,
        C::RDRAND => F::Rdrand,
        C::RDSEED => F::Rdseed,
        C::RDTSCP => F::Rdtscp,
        C::SEP => F::Sep,
        C::SHA => F::Sha,
        C::SMAP => F::Smap,
        C::SSE => F::Sse,
        C::SSE2 => F::Sse2,
        C::SSE3 => F::Sse3,
        C::SSE4_1 => F::Sse41,
        C::SSE4_2 => F::Sse42,
        C::SSSE3 => F::Ssse3,
        C::SYSCALL => F::Syscall,
        C::TSC => F::Tsc,
        C::VAES => F::Vaes,
        C::VPCLMULQDQ => F::Vpclmulqdq,
        C::XSAVE => F::Xsave,
        C::XSAVEC => F::Xsavec,
        C::XSAVEOPT => F::Xsaveopt,
        C::XSAVES => F::Xsaves,
        _ => return false,
    };
    model.has(feature)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mnemonic(model: &str, bytes: &[u8]) -> Option<Mnemonic> {
        let model = CpuModel::named(model).unwrap();
        let mode = Mode::new(Width::W32, Width::W32, true, true);
        match Decoder::new(&model).decode(bytes, mode, 0x1000, 0) {
            Decoded::Insn(insn) => Some(insn.code.mnemonic()),
            _ => None,
        }
    }

    #[test]
    fn what_a_model_lacks_is_what_it_was_before() {
        // POPCNT has no older meaning; TZCNT and LZCNT have.
        let popcnt = [0xf3, 0x0f, 0xb8, 0xc1];
        assert_eq!(mnemonic("max", &popcnt), Some(Mnemonic::Popcnt));
        assert_eq!(mnemonic("x86-64-v1", &popcnt), None);
        assert_eq!(mnemonic("max", &[0xf3, 0x0f, 0xbc, 0xc1]), Some(Mnemonic::Tzcnt));
        assert_eq!(mnemonic("x86-64-v2", &[0xf3, 0x0f, 0xbc, 0xc1]), Some(Mnemonic::Bsf));
        assert_eq!(mnemonic("x86-64-v2", &[0xf3, 0x0f, 0xbd, 0xc1]), Some(Mnemonic::Bsr));
        // CPUID, and conditional moves of both kinds.
        assert_eq!(mnemonic("pentium", &[0x0f, 0xa2]), Some(Mnemonic::Cpuid));
        assert_eq!(mnemonic("pentium", &[0x0f, 0x44, 0xc1]), None);
        assert_eq!(mnemonic("pentium", &[0xda, 0xc1]), None);
        assert_eq!(mnemonic("p6", &[0xda, 0xc1]), Some(Mnemonic::Fcmovb));
        assert_eq!(mnemonic("p6,-fpu,-fxsr,-mmx", &[0xda, 0xc1]), None);
    }

    #[test]
    fn what_is_too_long_is_not_invalid() {
        let decoder = Decoder::new(&CpuModel::named("max").unwrap());
        let decode = |prefixes: &[u8], rest: &[u8]| {
            let mut bytes = prefixes.to_vec();
            bytes.extend(rest);
            let bits_32 = Mode::new(Width::W32, Width::W32, true, true);
            decoder.decode(&bytes, bits_32, 0x1000, 0)
        };
        assert!(matches!(decode(&[0x2e; 14], &[0x90]), Decoded::Insn(_)));
        assert!(matches!(decode(&[0x2e; 15], &[0x90]), Decoded::TooLong));
        assert!(matches!(decode(&[0x66; 15], &[0x90]), Decoded::TooLong));
        assert!(matches!(decode(&[0x2e; 12], &[0x80, 0x7c, 0x00, 0x00, 0x00]), Decoded::TooLong));
        assert!(matches!(decode(&[0x2e; 14], &[0x0f, 0x0b]), Decoded::TooLong));
        // An invalid instruction of 15 bytes, and of fewer.
        assert!(matches!(decode(&[0x2e; 13], &[0x0f, 0x04]), Decoded::Invalid));
        assert!(matches!(decode(&[0x2e; 12], &[0x0f, 0x04, 0x00]), Decoded::Invalid));
    }

    #[test]
    fn hints_of_later_cpus_do_nothing() {
        let hints: [&[u8]; 6] = [
            &[0xf3, 0x0f, 0x1e, 0xfb],
            &[0xf3, 0x0f, 0x1e, 0xc8],
            &[0x0f, 0x1f, 0x00],
            &[0x0f, 0x0d, 0x10],
            &[0x0f, 0x1c, 0x00],
            &[0x66, 0x0f, 0x1a, 0xc1],
        ];
        for hint in hints {
            assert_eq!(mnemonic("x86-64-v1", hint), Some(Mnemonic::Reservednop), "{hint:x?}");
            assert_eq!(mnemonic("pentium", hint), None);
        }
        // What is not implemented is not there: VMX, AVX-512; and what the model has not.
        assert_eq!(mnemonic("max", &[0x0f, 0x01, 0xc2]), None);
        assert_eq!(mnemonic("max", &[0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc1]), None);
        assert_eq!(mnemonic("max", &[0xc5, 0xf8, 0x58, 0xc1]), Some(Mnemonic::Vaddps));
        assert_eq!(mnemonic("x86-64-v2", &[0xc5, 0xf8, 0x58, 0xc1]), None);
    }
}
