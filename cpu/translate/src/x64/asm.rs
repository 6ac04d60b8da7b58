//! Bytes of x86-64 instructions: just those that the backend emits.
//!
//! Source: SDM vol. 2, chapter 2 (formats) and the instructions' own pages. The tests decode what
//! was emitted.

use trine_x86::Width;

/// A general register of the host, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gpr(pub(crate) u8);

pub(crate) const RAX: Gpr = Gpr(0);
pub(crate) const RCX: Gpr = Gpr(1);
pub(crate) const RDX: Gpr = Gpr(2);
pub(crate) const RBX: Gpr = Gpr(3);
pub(crate) const RSP: Gpr = Gpr(4);
pub(crate) const RBP: Gpr = Gpr(5);
pub(crate) const RSI: Gpr = Gpr(6);
pub(crate) const RDI: Gpr = Gpr(7);
pub(crate) const R8: Gpr = Gpr(8);
pub(crate) const R9: Gpr = Gpr(9);
pub(crate) const R10: Gpr = Gpr(10);
pub(crate) const R11: Gpr = Gpr(11);
pub(crate) const R12: Gpr = Gpr(12);
pub(crate) const R13: Gpr = Gpr(13);
pub(crate) const R14: Gpr = Gpr(14);
pub(crate) const R15: Gpr = Gpr(15);

/// A memory operand: `[base + index << scale + disp]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mem {
    /// `None`: no base (with an index, or an absolute address of 32 bits).
    pub(crate) base: Option<Gpr>,
    /// Any register but RSP, and the shift.
    pub(crate) index: Option<(Gpr, u8)>,
    pub(crate) disp: i32,
}

impl Mem {
    /// `[base + disp]`.
    pub(crate) fn at(base: Gpr, disp: i32) -> Self {
        Self { base: Some(base), index: None, disp }
    }

    /// `[base + index + disp]`.
    pub(crate) fn indexed(base: Gpr, index: Gpr, disp: i32) -> Self {
        Self { base: Some(base), index: Some((index, 0)), disp }
    }
}

/// A register or memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rm {
    R(Gpr),
    M(Mem),
    /// At a distance from the end of the instruction that is filled in later.
    Rip(Label),
}

impl From<Gpr> for Rm {
    fn from(reg: Gpr) -> Self {
        Self::R(reg)
    }
}

impl From<Mem> for Rm {
    fn from(mem: Mem) -> Self {
        Self::M(mem)
    }
}

/// A place in the code, bound once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Label(u32);

/// The two-operand group, by its number in the opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Alu {
    Add = 0,
    Or = 1,
    Adc = 2,
    Sbb = 3,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// The shift group, by its number in ModRM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// The one-operand group F6/F7, by its number in ModRM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unary {
    Not = 2,
    Neg = 3,
    Mul = 4,
    Imul = 5,
}

/// Conditions, by their number in the opcode.
pub(crate) mod cc {
    pub(crate) const O: u8 = 0;
    pub(crate) const B: u8 = 2;
    pub(crate) const AE: u8 = 3;
    pub(crate) const E: u8 = 4;
    pub(crate) const NE: u8 = 5;
    pub(crate) const A: u8 = 7;
    pub(crate) const S: u8 = 8;
    pub(crate) const NS: u8 = 9;
    pub(crate) const P: u8 = 10;
    pub(crate) const L: u8 = 12;
    pub(crate) const GE: u8 = 13;
}

/// Emits code.
#[derive(Default)]
pub(crate) struct Asm {
    /// The bytes so far.
    pub(crate) code: Vec<u8>,
    /// Where each label is; `u32::MAX` until it is bound.
    labels: Vec<u32>,
    /// Places of 32-bit distances, each from its own end plus the second number of bytes.
    fixups: Vec<(u32, u32, Label)>,
}

impl Asm {
    /// A new label.
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(u32::MAX);
        Label(self.labels.len() as u32 - 1)
    }

    /// Binds it here.
    pub(crate) fn bind(&mut self, label: Label) {
        self.labels[label.0 as usize] = self.code.len() as u32;
    }

    /// Binds it at a place outside of this code: bytes from its start, which may be negative.
    pub(crate) fn bind_at(&mut self, label: Label, at: i32) {
        self.labels[label.0 as usize] = at.cast_unsigned();
    }

    /// Fills in all distances. Every label that was used must be bound.
    pub(crate) fn resolve(&mut self) {
        for (at, behind, label) in std::mem::take(&mut self.fixups) {
            let target = self.labels[label.0 as usize];
            debug_assert_ne!(target, u32::MAX, "a label was never bound");
            let distance = target.wrapping_sub(at + 4 + behind);
            self.code[at as usize..at as usize + 4].copy_from_slice(&distance.to_le_bytes());
        }
    }

    fn byte(&mut self, byte: u8) {
        self.code.push(byte);
    }

    fn dword(&mut self, value: i32) {
        self.code.extend_from_slice(&value.to_le_bytes());
    }

    fn distance(&mut self, label: Label, behind: u32) {
        self.fixups.push((self.code.len() as u32, behind, label));
        self.dword(0);
    }

    /// Prefixes, opcode and ModRM; `behind`: bytes of immediate that follow.
    pub(crate) fn encode(&mut self, e: Encoding, reg: u8, rm: Rm, behind: u32) {
        let (b, x) = match rm {
            Rm::R(r) => (r.0 >> 3, 0),
            Rm::M(m) => (m.base.map_or(0, |r| r.0 >> 3), m.index.map_or(0, |(r, _)| r.0 >> 3)),
            Rm::Rip(_) => (0, 0),
        };
        if let Some(prefix) = e.prefix {
            self.byte(prefix);
        }
        let rex = u8::from(e.wide) << 3 | (reg >> 3) << 2 | x << 1 | b;
        if rex != 0 || e.rex {
            self.byte(0x40 | rex);
        }
        self.code.extend_from_slice(e.opcode);
        self.modrm(reg, rm, behind);
    }

    /// ModRM and what belongs to it, with the low three bits of registers' numbers.
    pub(crate) fn modrm(&mut self, reg: u8, rm: Rm, behind: u32) {
        let reg = (reg & 7) << 3;
        match rm {
            Rm::R(r) => self.byte(0xc0 | reg | r.0 & 7),
            Rm::M(m) => self.memory(reg, m),
            Rm::Rip(label) => {
                self.byte(reg | 5);
                self.distance(label, behind);
            }
        }
    }

    fn memory(&mut self, reg: u8, m: Mem) {
        let Some(base) = m.base else {
            let (index, scale) = m.index.map_or((4, 0), |(r, scale)| (r.0 & 7, scale));
            self.byte(reg | 4);
            self.byte(scale << 6 | index << 3 | 5);
            return self.dword(m.disp);
        };
        let (mode, short) = match m.disp {
            0 if base.0 & 7 != 5 => (0, true),
            -128..=127 => (0x40, true),
            _ => (0x80, false),
        };
        if m.index.is_some() || base.0 & 7 == 4 {
            let (index, scale) = m.index.map_or((4, 0), |(r, scale)| (r.0 & 7, scale));
            self.byte(mode | reg | 4);
            self.byte(scale << 6 | index << 3 | base.0 & 7);
        } else {
            self.byte(mode | reg | base.0 & 7);
        }
        match (mode, short) {
            (0, _) => {}
            (_, true) => self.byte(m.disp as u8),
            (_, false) => self.dword(m.disp),
        }
    }

    /// An instruction of the old style: an opcode for bytes, the next one for the other widths.
    /// `group`: `reg` is not a register.
    fn sized(&mut self, w: Width, opcode: u8, reg: u8, rm: Rm, behind: u32, group: bool) {
        let opcode = [opcode | u8::from(w != Width::W8)];
        let rex = w == Width::W8 && (is_high(rm) || !group && reg >= 4);
        self.encode(Encoding { rex, ..Encoding::new(w, &opcode) }, reg, rm, behind);
    }

    /// `rm = rm op reg` (CMP writes nothing).
    pub(crate) fn alu(&mut self, op: Alu, w: Width, rm: impl Into<Rm>, reg: Gpr) {
        self.sized(w, (op as u8) << 3, reg.0, rm.into(), 0, false);
    }

    /// `reg = reg op rm`.
    pub(crate) fn alu_from(&mut self, op: Alu, w: Width, reg: Gpr, rm: impl Into<Rm>) {
        self.sized(w, (op as u8) << 3 | 2, reg.0, rm.into(), 0, false);
    }

    /// `rm = rm op imm`, the immediate sign-extended from 32 bits (or as wide as the operand).
    pub(crate) fn alu_imm(&mut self, op: Alu, w: Width, rm: impl Into<Rm>, imm: i32) {
        let rm = rm.into();
        if w == Width::W8 {
            self.sized(w, 0x80, op as u8, rm, 1, true);
            self.byte(imm as u8);
        } else if i8::try_from(imm).is_ok() {
            self.encode(Encoding::new(w, &[0x83]), op as u8, rm, 1);
            self.byte(imm as u8);
        } else {
            let size = if w == Width::W16 { 2 } else { 4 };
            self.encode(Encoding::new(w, &[0x81]), op as u8, rm, size as u32);
            self.code.extend_from_slice(&imm.to_le_bytes()[..size]);
        }
    }

    /// TEST.
    pub(crate) fn test(&mut self, w: Width, rm: impl Into<Rm>, reg: Gpr) {
        self.sized(w, 0x84, reg.0, rm.into(), 0, false);
    }

    /// TEST of a byte register with an immediate.
    pub(crate) fn test_byte(&mut self, reg: Gpr, imm: u8) {
        self.sized(Width::W8, 0xf6, 0, reg.into(), 1, true);
        self.byte(imm);
    }

    /// Stores the low `w` of a register.
    pub(crate) fn store(&mut self, w: Width, rm: impl Into<Rm>, reg: Gpr) {
        self.sized(w, 0x88, reg.0, rm.into(), 0, false);
    }

    /// Stores an immediate, sign-extended from 32 bits.
    pub(crate) fn store_imm(&mut self, w: Width, rm: impl Into<Rm>, imm: i32) {
        let size = w.bytes().min(4) as usize;
        self.sized(w, 0xc6, 0, rm.into(), size as u32, true);
        self.code.extend_from_slice(&imm.to_le_bytes()[..size]);
    }

    /// MOV of the low `w` bits only; narrower than 32 bits it leaves the rest alone.
    pub(crate) fn mov_low(&mut self, w: Width, reg: Gpr, rm: impl Into<Rm>) {
        self.sized(w, 0x8a, reg.0, rm.into(), 0, false);
    }

    /// Loads `w` bits, zero-extended to 64.
    pub(crate) fn load(&mut self, w: Width, reg: Gpr, rm: impl Into<Rm>) {
        match w {
            Width::W8 | Width::W16 => {
                let opcode = [0x0f, 0xb6 | u8::from(w == Width::W16)];
                let e = Encoding::new(Width::W32, &opcode);
                let rm = rm.into();
                let rex = w == Width::W8 && is_high(rm);
                self.encode(Encoding { rex, ..e }, reg.0, rm, 0);
            }
            _ => self.encode(Encoding::new(w, &[0x8b]), reg.0, rm.into(), 0),
        }
    }

    /// Loads `from` bits, sign-extended to `to` (32 or 64) and zero-extended from there.
    pub(crate) fn load_signed(&mut self, from: Width, to: Width, reg: Gpr, rm: impl Into<Rm>) {
        let rm = rm.into();
        match from {
            Width::W8 | Width::W16 => {
                let opcode = [0x0f, 0xbe | u8::from(from == Width::W16)];
                let rex = from == Width::W8 && is_high(rm);
                let e = Encoding { rex, ..Encoding::new(to, &opcode) };
                self.encode(e, reg.0, rm, 0);
            }
            Width::W32 if to == Width::W64 => {
                self.encode(Encoding::new(to, &[0x63]), reg.0, rm, 0);
            }
            _ => self.encode(Encoding::new(to, &[0x8b]), reg.0, rm, 0),
        }
    }

    /// A constant, in the shortest form that leaves the flags alone.
    pub(crate) fn mov_imm(&mut self, reg: Gpr, value: u64) {
        if let Ok(low) = u32::try_from(value) {
            if reg.0 >= 8 {
                self.byte(0x41);
            }
            self.byte(0xb8 | reg.0 & 7);
            self.dword(low.cast_signed());
        } else if i32::try_from(value.cast_signed()).is_ok() {
            self.encode(Encoding::new(Width::W64, &[0xc7]), 0, reg.into(), 4);
            self.dword(value as i32);
        } else {
            self.byte(0x48 | reg.0 >> 3);
            self.byte(0xb8 | reg.0 & 7);
            self.code.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// LEA of 32 or 64 bits.
    pub(crate) fn lea(&mut self, w: Width, reg: Gpr, mem: Mem) {
        self.encode(Encoding::new(w, &[0x8d]), reg.0, mem.into(), 0);
    }

    /// A shift by an immediate.
    pub(crate) fn shift(&mut self, op: Shift, w: Width, rm: impl Into<Rm>, by: u8) {
        self.sized(w, 0xc0, op as u8, rm.into(), 1, true);
        self.byte(by);
    }

    /// A shift by CL.
    pub(crate) fn shift_cl(&mut self, op: Shift, w: Width, rm: impl Into<Rm>) {
        self.sized(w, 0xd2, op as u8, rm.into(), 0, true);
    }

    /// NOT, NEG; MUL and IMUL of the accumulator.
    pub(crate) fn unary(&mut self, op: Unary, w: Width, rm: impl Into<Rm>) {
        self.sized(w, 0xf6, op as u8, rm.into(), 0, true);
    }

    /// INC (`down` false) or DEC.
    pub(crate) fn step(&mut self, down: bool, w: Width, rm: impl Into<Rm>) {
        self.sized(w, 0xfe, u8::from(down), rm.into(), 0, true);
    }

    /// IMUL of two operands, 16 to 64 bits.
    pub(crate) fn imul(&mut self, w: Width, reg: Gpr, rm: impl Into<Rm>) {
        self.encode(Encoding::new(w, &[0x0f, 0xaf]), reg.0, rm.into(), 0);
    }

    /// `reg = rm * imm`, of 32 or 64 bits.
    pub(crate) fn imul_imm(&mut self, w: Width, reg: Gpr, rm: impl Into<Rm>, imm: i32) {
        self.encode(Encoding::new(w, &[0x69]), reg.0, rm.into(), 4);
        self.dword(imm);
    }

    /// BSWAP of 32 or 64 bits.
    pub(crate) fn bswap(&mut self, w: Width, reg: Gpr) {
        let rex = u8::from(w == Width::W64) << 3 | reg.0 >> 3;
        if rex != 0 {
            self.byte(0x40 | rex);
        }
        self.byte(0x0f);
        self.byte(0xc8 | reg.0 & 7);
    }

    /// BT with an immediate.
    pub(crate) fn bt_imm(&mut self, w: Width, rm: impl Into<Rm>, bit: u8) {
        self.encode(Encoding::new(w, &[0x0f, 0xba]), 4, rm.into(), 1);
        self.byte(bit);
    }

    /// `F3 0F opcode`: POPCNT (B8), TZCNT (BC), LZCNT (BD).
    pub(crate) fn count(&mut self, opcode: u8, w: Width, reg: Gpr, rm: impl Into<Rm>) {
        let e = Encoding { prefix: Some(0xf3), ..Encoding::new(w, &[]) };
        let opcode = [0x0f, opcode];
        self.encode(Encoding { opcode: &opcode, ..e }, reg.0, rm.into(), 0);
    }

    /// SETcc.
    pub(crate) fn setcc(&mut self, cc: u8, rm: impl Into<Rm>) {
        let rm = rm.into();
        let opcode = [0x0f, 0x90 | cc];
        let e = Encoding { rex: is_high(rm), ..Encoding::new(Width::W32, &opcode) };
        self.encode(e, 0, rm, 0);
    }

    /// CMOVcc of 32 or 64 bits.
    pub(crate) fn cmov(&mut self, cc: u8, w: Width, reg: Gpr, rm: impl Into<Rm>) {
        let opcode = [0x0f, 0x40 | cc];
        self.encode(Encoding::new(w, &opcode), reg.0, rm.into(), 0);
    }

    /// XCHG with memory.
    pub(crate) fn xchg(&mut self, w: Width, rm: impl Into<Rm>, reg: Gpr) {
        self.sized(w, 0x86, reg.0, rm.into(), 0, false);
    }

    /// LOCK XADD.
    pub(crate) fn lock_xadd(&mut self, w: Width, mem: Mem, reg: Gpr) {
        self.byte(0xf0);
        self.two_byte(w, 0xc0, reg, mem);
    }

    /// LOCK CMPXCHG: RAX is compared, and gets what was there.
    pub(crate) fn lock_cmpxchg(&mut self, w: Width, mem: Mem, reg: Gpr) {
        self.byte(0xf0);
        self.two_byte(w, 0xb0, reg, mem);
    }

    fn two_byte(&mut self, w: Width, opcode: u8, reg: Gpr, mem: Mem) {
        let opcode = [0x0f, opcode | u8::from(w != Width::W8)];
        let e = Encoding { rex: w == Width::W8 && reg.0 >= 4, ..Encoding::new(w, &opcode) };
        self.encode(e, reg.0, mem.into(), 0);
    }

    /// PUSH.
    pub(crate) fn push(&mut self, reg: Gpr) {
        if reg.0 >= 8 {
            self.byte(0x41);
        }
        self.byte(0x50 | reg.0 & 7);
    }

    /// POP.
    pub(crate) fn pop(&mut self, reg: Gpr) {
        if reg.0 >= 8 {
            self.byte(0x41);
        }
        self.byte(0x58 | reg.0 & 7);
    }

    /// POPF.
    pub(crate) fn popf(&mut self) {
        self.byte(0x9d);
    }

    /// RET.
    pub(crate) fn ret(&mut self) {
        self.byte(0xc3);
    }

    /// JMP to a label.
    pub(crate) fn jmp(&mut self, label: Label) {
        self.byte(0xe9);
        self.distance(label, 0);
    }

    /// Jcc to a label.
    pub(crate) fn jcc(&mut self, cc: u8, label: Label) {
        self.byte(0x0f);
        self.byte(0x80 | cc);
        self.distance(label, 0);
    }

    /// CALL of a label.
    pub(crate) fn call(&mut self, label: Label) {
        self.byte(0xe8);
        self.distance(label, 0);
    }

    /// JMP to where a register or memory says.
    pub(crate) fn jmp_to(&mut self, rm: impl Into<Rm>) {
        self.encode(Encoding::new(Width::W32, &[0xff]), 4, rm.into(), 0);
    }

    /// `to` = the low bits of `from` shifted right, with garbage in the highest bits; both are of the
    /// first eight registers.
    pub(crate) fn shifted_right(&mut self, to: Gpr, from: Gpr, by: u8) {
        if std::is_x86_feature_detected!("bmi2") {
            // RORX.
            self.code.extend([0xc4, 0xe3, 0x7b, 0xf0, 0xc0 | to.0 << 3 | from.0, by]);
        } else {
            self.store(Width::W32, to, from);
            self.shift(Shift::Shr, Width::W32, to, by);
        }
    }

    /// CALL of where a register says.
    pub(crate) fn call_to(&mut self, rm: impl Into<Rm>) {
        self.encode(Encoding::new(Width::W32, &[0xff]), 2, rm.into(), 0);
    }

    /// UD2: what must never be reached.
    pub(crate) fn ud2(&mut self) {
        self.code.extend_from_slice(&[0x0f, 0x0b]);
    }
}

/// Whether it is a byte register that takes a REX prefix.
fn is_high(rm: Rm) -> bool {
    matches!(rm, Rm::R(r) if r.0 >= 4)
}

/// What stands before ModRM.
#[derive(Clone, Copy)]
pub(crate) struct Encoding<'a> {
    pub(crate) prefix: Option<u8>,
    /// REX.W.
    pub(crate) wide: bool,
    /// A REX prefix whatever it says: byte registers 4 to 7 are SPL to DIL with one.
    pub(crate) rex: bool,
    pub(crate) opcode: &'a [u8],
}

impl<'a> Encoding<'a> {
    fn new(w: Width, opcode: &'a [u8]) -> Self {
        Self {
            prefix: (w == Width::W16).then_some(0x66),
            wide: w == Width::W64,
            rex: false,
            opcode,
        }
    }
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};

    use super::*;

    fn text(emit: impl FnOnce(&mut Asm)) -> String {
        let mut asm = Asm::default();
        emit(&mut asm);
        asm.resolve();
        let mut decoder = Decoder::with_ip(64, &asm.code, 0, DecoderOptions::NONE);
        let (mut lines, mut formatter) = (Vec::new(), IntelFormatter::new());
        while decoder.can_decode() {
            let mut line = String::new();
            formatter.format(&decoder.decode(), &mut line);
            lines.push(line);
        }
        lines.join("; ")
    }

    #[test]
    fn registers_of_all_widths() {
        use Width::{W8, W16, W32, W64};
        assert_eq!(text(|a| a.alu(Alu::Add, W64, RBX, R14)), "add rbx,r14");
        assert_eq!(text(|a| a.alu(Alu::Sub, W8, RSI, RDI)), "sub sil,dil");
        assert_eq!(text(|a| a.alu(Alu::Xor, W16, R9, RAX)), "xor r9w,ax");
        assert_eq!(text(|a| a.alu_imm(Alu::Cmp, W8, RDI, -1)), "cmp dil,0FFh");
        assert_eq!(text(|a| a.alu_imm(Alu::And, W32, R8, 0x7fe0)), "and r8d,7FE0h");
        assert_eq!(text(|a| a.alu_imm(Alu::Add, W16, RSI, 0x1234)), "add si,1234h");
        assert_eq!(text(|a| a.shift(Shift::Sar, W8, RSI, 3)), "sar sil,3");
        assert_eq!(text(|a| a.shift_cl(Shift::Shl, W64, R12)), "shl r12,cl");
        assert_eq!(text(|a| a.unary(Unary::Neg, W8, RDI)), "neg dil");
        assert_eq!(text(|a| a.unary(Unary::Mul, W8, RBX)), "mul bl");
        assert_eq!(text(|a| a.step(true, W32, R10)), "dec r10d");
        assert_eq!(text(|a| a.setcc(cc::NE, RSI)), "setne sil");
        assert_eq!(text(|a| a.cmov(cc::B, W64, RBX, R11)), "cmovb rbx,r11");
        assert_eq!(text(|a| a.load(W8, RAX, RSI)), "movzx eax,sil");
        assert_eq!(text(|a| a.load_signed(W16, W64, R9, RBX)), "movsx r9,bx");
        assert_eq!(text(|a| a.load_signed(W32, W64, R9, RBX)), "movsxd r9,ebx");
        assert_eq!(text(|a| a.bswap(W64, R13)), "bswap r13");
        assert_eq!(text(|a| a.count(0xb8, W64, RAX, R9)), "popcnt rax,r9");
        assert_eq!(text(|a| a.imul(W32, RBX, R9)), "imul ebx,r9d");
        assert_eq!(text(|a| a.imul_imm(W64, RBX, R9, -3)), "imul rbx,r9,0FFFFFFFFFFFFFFFDh");
        assert_eq!(text(|a| a.mov_low(W8, RSI, R9)), "mov sil,r9b");
    }

    #[test]
    fn memory_of_all_shapes() {
        use Width::{W8, W16, W32, W64};
        assert_eq!(text(|a| a.load(W64, RAX, Mem::at(RBP, 0))), "mov rax,[rbp]");
        assert_eq!(text(|a| a.load(W64, RAX, Mem::at(R13, 0))), "mov rax,[r13]");
        assert_eq!(text(|a| a.load(W32, RAX, Mem::at(RSP, 8))), "mov eax,[rsp+8]");
        assert_eq!(text(|a| a.load(W16, R9, Mem::at(R12, 400))), "movzx r9d,word ptr [r12+190h]");
        assert_eq!(text(|a| a.store(W8, Mem::indexed(R15, RCX, 0), RSI)), "mov [r15+rcx],sil");
        assert_eq!(
            text(|a| a.alu_imm(Alu::Sub, W32, Mem::at(RBP, 8), 3)),
            "sub dword ptr [rbp+8],3"
        );
        let absolute = Mem { base: None, index: Some((RBX, 3)), disp: 0x10 };
        assert_eq!(text(|a| a.lea(W64, RAX, absolute)), "lea rax,[rbx*8+10h]");
        assert_eq!(text(|a| a.store_imm(W16, Mem::at(RBP, 0x80), 7)), "mov word ptr [rbp+80h],7");
        assert_eq!(text(|a| a.lock_cmpxchg(W8, Mem::at(RCX, 0), RDI)), "lock cmpxchg [rcx],dil");
        assert_eq!(text(|a| a.xchg(W64, Mem::at(RCX, 0), R9)), "xchg [rcx],r9");
        assert_eq!(text(|a| a.bt_imm(W64, Mem::at(RBP, 8), 63)), "bt qword ptr [rbp+8],3Fh");
    }

    #[test]
    fn constants_and_labels() {
        assert_eq!(text(|a| a.mov_imm(R9, 5)), "mov r9d,5");
        assert_eq!(text(|a| a.mov_imm(RAX, u64::MAX)), "mov rax,0FFFFFFFFFFFFFFFFh");
        assert_eq!(text(|a| a.mov_imm(RDX, 1 << 40)), "mov rdx,10000000000h");
        let jumps = text(|a| {
            let (up, down) = (a.label(), a.label());
            a.bind(up);
            a.jcc(cc::E, down);
            a.jmp(up);
            a.bind(down);
            a.alu_imm(Alu::Cmp, Width::W32, Rm::Rip(up), 0x100);
        });
        assert_eq!(jumps, "je 000000000000000Bh; jmp 0; cmp dword ptr [0],100h");
    }
}
