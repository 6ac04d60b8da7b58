//! Random instructions from the table of all of them: opcodes that the decoder knows, with random
//! operands whose memory lies where streams have data.

use iced_x86::{
    Code, Decoder, DecoderOptions, EncodingKind, FlowControl, Instruction, InstructionInfoFactory,
    MandatoryPrefix, OpAccess, OpCodeTableKind, Register,
};
use trine_x86::{CpuModel, Decoded, Mode, Width};

use super::world::{CODE, DATA, DATA_END, RAM_BYTES};
use crate::noise::Noise;

/// The instructions of one width of code.
pub struct Table {
    bits: u32,
    decoder: trine_x86::Decoder,
    mode: Mode,
    integer: Vec<Code>,
    x87: Vec<Code>,
    packed: Vec<Code>,
    /// Those that seldom do a stream good.
    rare: Vec<Code>,
}

impl Table {
    /// For 16-, 32- or 64-bit code.
    pub fn new(bits: u32, model: &CpuModel) -> Self {
        let width = match bits {
            16 => Width::W16,
            32 => Width::W32,
            _ => Width::W64,
        };
        let mut out = Self {
            bits,
            decoder: trine_x86::Decoder::new(model),
            mode: Mode::new(width, width, false, true),
            integer: Vec::new(),
            x87: Vec::new(),
            packed: Vec::new(),
            rare: Vec::new(),
        };
        for code in Code::values() {
            let op = code.op_code();
            let there = match bits {
                16 => op.mode16(),
                32 => op.mode32(),
                _ => op.mode64(),
            };
            let fits = op.is_instruction()
                && op.encoding() == EncodingKind::Legacy
                && there
                // Branches have templates of their own.
                && code.flow_control() == FlowControl::Next
                && matches!(
                    op.table(),
                    OpCodeTableKind::Normal
                        | OpCodeTableKind::T0F
                        | OpCodeTableKind::T0F38
                        | OpCodeTableKind::T0F3A
                );
            if !fits {
                continue;
            }
            let name = format!("{:?}", code.mnemonic());
            let wide = (0..op.op_count()).any(|n| {
                let kind = format!("{:?}", op.op_kind(n));
                kind.starts_with("xmm") || kind.starts_with("mm")
            });
            let class = if code.is_privileged() || name == "Popfq" {
                &mut out.rare
            } else if wide {
                &mut out.packed
            } else if name.starts_with('F') {
                &mut out.x87
            } else {
                &mut out.integer
            };
            class.push(code);
        }
        out
    }

    /// The bytes of an instruction that will lie near `ip`.
    pub fn instruction(&self, noise: &mut Noise, ip: u32) -> Vec<u8> {
        self.one_of(noise, ip, |noise| match noise.below(64) {
            0 => &self.rare,
            1..=9 => &self.x87,
            10..=25 => &self.packed,
            _ => &self.integer,
        })
    }

    /// Those of an x87 instruction.
    pub fn x87(&self, noise: &mut Noise, ip: u32) -> Vec<u8> {
        self.one_of(noise, ip, |_| &self.x87)
    }

    fn one_of<'a>(
        &'a self,
        noise: &mut Noise,
        ip: u32,
        class: impl Fn(&mut Noise) -> &'a Vec<Code>,
    ) -> Vec<u8> {
        for _ in 0..16 {
            let class = class(noise);
            let code = noise.pick(class);
            let mut bytes = self.encode(code, noise, ip);
            let mut decoder = Decoder::new(self.bits, &bytes, DecoderOptions::NONE);
            let insn = decoder.decode();
            if insn.code() != code || ruins_the_stack(&insn) && !noise.once_in(40) {
                continue;
            }
            // What the model lacks is of no use, but for #UD.
            let known = matches!(self.decoder.decode(&bytes, self.mode, 0, 0), Decoded::Insn(_));
            if !known && !noise.once_in(40) {
                continue;
            }
            bytes.truncate(insn.len());
            return bytes;
        }
        vec![0x90]
    }

    fn encode(&self, code: Code, noise: &mut Noise, ip: u32) -> Vec<u8> {
        let op = code.op_code();
        let mut out = Vec::with_capacity(24);
        if noise.once_in(12) {
            out.push(noise.pick(&[0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]));
        }
        let wide = match op.operand_size() {
            0 => noise.once_in(3) && op.mandatory_prefix() == MandatoryPrefix::None,
            16 => self.bits != 16,
            32 => self.bits == 16,
            _ => false,
        };
        let other_addresses = match op.address_size() {
            0 => noise.once_in(16),
            size => size != self.bits,
        };
        if other_addresses {
            out.push(0x67);
        }
        if wide && op.mandatory_prefix() != MandatoryPrefix::P66 {
            out.push(0x66);
        }
        if op.can_use_lock_prefix() && noise.once_in(6) {
            out.push(0xf0);
        }
        match op.mandatory_prefix() {
            MandatoryPrefix::P66 => out.push(0x66),
            MandatoryPrefix::PF3 => out.push(0xf3),
            MandatoryPrefix::PF2 => out.push(0xf2),
            _ => {}
        }
        if op.operand_size() == 64 {
            out.push(0x48 | noise.byte() & 7);
        } else if self.bits == 64 && noise.once_in(4) {
            out.push(0x40 | noise.byte() & 7);
        }
        match op.table() {
            OpCodeTableKind::T0F => out.push(0x0f),
            OpCodeTableKind::T0F38 => out.extend([0x0f, 0x38]),
            OpCodeTableKind::T0F3A => out.extend([0x0f, 0x3a]),
            _ => {}
        }
        let opcode = op.op_code();
        if op.op_code_len() == 2 {
            out.push((opcode >> 8) as u8);
        }
        let last = opcode as u8;
        let group = op.group_index();
        if op.op_code_len() == 1 {
            out.push(last);
        }
        // The second byte of an opcode of two takes the place of ModR/M.
        if op.op_code_len() == 2 {
            out.push(last);
        } else {
            let other_operands =
                if other_addresses { if self.bits == 32 { 16 } else { 32 } } else { self.bits };
            operand(&mut out, noise, group, other_operands, ip);
        }
        for _ in 0..8 {
            out.push(if noise.once_in(2) { noise.below(4) as u8 } else { noise.byte() });
        }
        out
    }
}

/// Appends a `ModR/M` byte with what follows it; `group` is its middle field if it is given.
fn operand(out: &mut Vec<u8>, noise: &mut Noise, group: i32, address_bits: u32, ip: u32) {
    let reg = u8::try_from(group).unwrap_or_else(|_| noise.byte()) & 7;
    let at = address(noise);
    match noise.below(8) {
        0..=2 => out.push(0xc0 | reg << 3 | noise.byte() & 7),
        3..=5 if address_bits == 16 => {
            out.push(reg << 3 | 6);
            out.extend((at as u16).to_le_bytes());
        }
        // Relative to RIP in 64-bit code, which the few bytes between do not matter to.
        3 | 4 => {
            out.push(reg << 3 | 5);
            let base = if address_bits == 64 { ip } else { 0 };
            out.extend(at.wrapping_sub(base).to_le_bytes());
        }
        5 => {
            out.extend([reg << 3 | 4, 0x25]);
            out.extend(at.to_le_bytes());
        }
        6 => {
            out.push(0x40 | reg << 3 | noise.byte() & 7);
            out.push(noise.byte());
        }
        _ => {
            out.push(noise.byte() & 0xc7 | reg << 3);
        }
    }
}

/// Where data lies: often at the end of a page, now and then in the stream itself.
fn address(noise: &mut Noise) -> u32 {
    match noise.below(16) {
        0..=9 => DATA + noise.below(u64::from(DATA_END - DATA)) as u32,
        10..=13 => {
            let page = DATA + 0x1000 * (1 + noise.below(4)) as u32;
            page.wrapping_sub(1 + noise.below(16) as u32)
        }
        14 => CODE + noise.below(0x1000) as u32,
        _ => noise.below(RAM_BYTES) as u32,
    }
}

/// Does it write to the stack pointer, other than by pushing and popping?
fn ruins_the_stack(insn: &Instruction) -> bool {
    let mut info = InstructionInfoFactory::new();
    !insn.is_stack_instruction()
        && info.info(insn).used_registers().iter().any(|used| {
            used.register().full_register() == Register::RSP
                && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None)
        })
}
