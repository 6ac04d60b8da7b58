//! The generator: a stream is slots, each of which holds instructions from the table or one of the
//! templates for what random instructions would never do: loops, code that changes code, page
//! tables, segments, gates and modes.

use super::{
    table::Table,
    world::{
        CODE, CODE_END, DATA, DATA_END, GDT_POINTER, IDT32_POINTER, IDT64_POINTER, IVT_POINTER,
        Mode, PAE_ROOT, PD32, PML4, RAM_BYTES, RETURN, SLOT, STACK, SUPERVISOR, page_entry,
        selector,
    },
};
use trine_engine::CpuModel;

use crate::noise::Noise;

mod rows;

/// The most slots of a stream.
const SLOTS: u64 = 96;

/// What the last pieces may take.
const ROOM: u32 = 0x400;

/// A stream, laid out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Pieces by address; each begins a slot.
    pub pieces: Vec<(u32, Vec<u8>)>,
}

/// The tables of all widths of code.
pub struct Tables {
    tables: [Table; 3],
}

impl Tables {
    /// The instructions that `model` has.
    pub fn new(model: &CpuModel) -> Self {
        Self { tables: [16, 32, 64].map(|bits| Table::new(bits, model)) }
    }

    fn of(&self, mode: Mode) -> &Table {
        match mode.bits() {
            16 => &self.tables[0],
            32 => &self.tables[1],
            _ => &self.tables[2],
        }
    }
}

/// Registers by their encoding.
const AX: u8 = 0;
const CX: u8 = 1;
const SP: u8 = 4;
const SI: u8 = 6;
const DI: u8 = 7;

/// Bits of CR0 that code turns on.
const PE: u32 = 1;
const PG: u32 = 1 << 31;
const WP: u32 = 1 << 16;
/// Of CR4.
const PAE: u32 = 1 << 5;
/// IA32_EFER, and its bit LME.
const EFER: u32 = 0xc000_0080;
const LME: u32 = 1 << 8;

/// What is being written.
struct Writer<'a> {
    noise: &'a mut Noise,
    tables: &'a Tables,
    mode: Mode,
    /// The address of the piece.
    at: u32,
    piece: Vec<u8>,
    /// Slots that loops may go back to.
    targets: Vec<u32>,
}

impl Program {
    /// The stream of a seed.
    pub fn new(mode: Mode, noise: &mut Noise, tables: &Tables) -> Self {
        let slots = 16 + noise.below(SLOTS);
        let mut writer =
            Writer { noise, tables, mode, at: CODE, piece: Vec::new(), targets: vec![] };
        let mut pieces = Vec::new();
        for _ in 0..slots {
            if writer.at > CODE_END - ROOM {
                break;
            }
            writer.write();
            let piece = std::mem::take(&mut writer.piece);
            let next = (writer.at + piece.len() as u32).next_multiple_of(SLOT);
            writer.targets.push(writer.at);
            pieces.push((writer.at, piece));
            writer.at = next;
            writer.cross_page(&mut pieces);
        }
        // From the end back to the start, in whatever mode.
        writer.jump(CODE);
        pieces.push((writer.at, writer.piece));
        Self { pieces }
    }

    /// Puts it into RAM; gaps are NOPs.
    pub fn load(&self, ram: &mut [u8]) {
        ram[CODE as usize..CODE_END as usize].fill(0x90);
        for (at, piece) in &self.pieces {
            let at = *at as usize;
            ram[at..at + piece.len()].copy_from_slice(piece);
        }
    }
}

impl Writer<'_> {
    /// Now and then goes on at the end of a page, so that instructions lie across the boundary.
    fn cross_page(&mut self, pieces: &mut Vec<(u32, Vec<u8>)>) {
        let end = (self.at + 2 * SLOT).next_multiple_of(0x1000);
        if end + 0x600 > CODE_END || !self.noise.once_in(24) {
            return;
        }
        let to = end - SLOT;
        self.jump(to);
        pieces.push((self.at, std::mem::take(&mut self.piece)));
        self.at = to;
        let room = 24 + self.noise.below(7) as usize;
        self.fill(room);
        self.fill(60);
        pieces.push((self.at, std::mem::take(&mut self.piece)));
        self.at = end + SLOT;
    }

    fn write(&mut self) {
        match self.noise.below(32) {
            0..=9 => self.some_instructions(),
            10 | 11 => self.near(),
            12 | 13 => self.x87(),
            14..=16 => self.branch(),
            17 | 18 => self.repeated_loop(),
            19 | 20 => self.strings(),
            21 | 22 => self.self_modification(),
            23 | 24 => self.paging(),
            25 | 26 => self.segments(),
            27 => self.interrupts(),
            28 => self.control_bits(),
            29 => self.flags(),
            _ => self.mode_switch(),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.piece.extend(bytes);
    }

    /// 66h where operands of 32 bits need it.
    fn wide(&mut self) {
        if self.mode.bits() == 16 {
            self.bytes(&[0x66]);
        }
    }

    /// MOV of 32 bits into a register.
    fn load(&mut self, register: u8, value: u32) {
        self.wide();
        self.bytes(&[0xb8 | register]);
        self.bytes(&value.to_le_bytes());
    }

    /// The operand `[at]`, below 64 KiB, behind an opcode; `reg` is the middle field of `ModR/M`.
    fn absolute(&mut self, reg: u8, at: u32) {
        match self.mode.bits() {
            16 => {
                self.bytes(&[reg << 3 | 6]);
                self.bytes(&(at as u16).to_le_bytes());
            }
            32 => {
                self.bytes(&[reg << 3 | 5]);
                self.bytes(&at.to_le_bytes());
            }
            _ => {
                self.bytes(&[reg << 3 | 4, 0x25]);
                self.bytes(&at.to_le_bytes());
            }
        }
    }

    /// The address behind what is written so far.
    fn here(&self) -> u32 {
        self.at + self.piece.len() as u32
    }

    fn jump(&mut self, to: u32) {
        let wide = self.mode.bits() != 16;
        let len = if wide { 5 } else { 3 };
        let distance = to.wrapping_sub(self.here() + len);
        self.bytes(&[0xe9]);
        if wide {
            self.bytes(&distance.to_le_bytes());
        } else {
            self.bytes(&(distance as u16).to_le_bytes());
        }
    }

    /// A slot in front: the next one, or one of those behind it.
    fn ahead(&mut self) -> u32 {
        let slot = self.at & !(SLOT - 1);
        slot + SLOT * (1 + self.noise.below(4) as u32)
    }

    fn some_instructions(&mut self) {
        // As many as fit, so that blocks are long, or a few.
        let room = self.noise.pick(&[10_usize, 18, 20, 60, 120]);
        self.fill(room);
    }

    /// Instructions up to so many bytes of the piece.
    fn fill(&mut self, room: usize) {
        while self.piece.len() < room {
            let ip = self.here();
            let insn = self.tables.of(self.mode).instruction(self.noise, ip);
            self.piece.extend(insn);
        }
    }

    /// DEC ECX; JNZ.
    fn count_down(&mut self, start: u32) {
        self.wide();
        self.bytes(&[0xff, 0xc9]);
        let distance = start.wrapping_sub(self.here() + 2);
        self.bytes(&[0x75, distance as u8]);
    }

    fn branch(&mut self) {
        let ahead = self.ahead();
        match self.noise.below(8) {
            0..=3 => {
                // Jcc, sometimes back.
                let back = self.targets.last().copied().filter(|_| self.noise.once_in(6));
                let target = back.unwrap_or(ahead);
                let condition = self.noise.byte() & 15;
                let distance = target.wrapping_sub(self.here() + 2);
                self.bytes(&[0x70 | condition, distance as u8]);
                self.some_instructions();
            }
            4 => self.jump(ahead),
            5 => {
                self.load(AX, ahead);
                self.bytes(&[0xff, 0xe0]);
            }
            6 => {
                // PUSH and RET.
                self.load(AX, ahead);
                self.bytes(&[0x50, 0xc3]);
            }
            _ => {
                // CALL, and what was pushed is popped there or lost.
                let wide = self.mode.bits() != 16;
                let len = if wide { 5 } else { 3 };
                let distance = ahead.wrapping_sub(self.here() + len);
                self.bytes(&[0xe8]);
                let bytes = distance.to_le_bytes();
                self.bytes(if wide { &bytes } else { &bytes[..2] });
            }
        }
    }

    fn repeated_loop(&mut self) {
        let times = 2 + self.noise.below(12) as u32;
        self.load(CX, times);
        let start = self.here();
        for _ in 0..1 + self.noise.below(4) {
            let ip = self.here();
            let insn = self.tables.of(self.mode).instruction(self.noise, ip);
            self.piece.extend(insn);
        }
        match self.noise.below(3) {
            0 => {
                let distance = start.wrapping_sub(self.here() + 2);
                // LOOPNE, LOOPE or LOOP.
                let opcode = self.noise.pick(&[0xe0, 0xe1, 0xe2, 0xe2]);
                self.bytes(&[opcode, distance as u8]);
            }
            _ => {
                self.count_down(start);
            }
        }
    }

    fn place(&mut self) -> u32 {
        let end = DATA + 0x1000 * (1 + self.noise.below(4) as u32);
        match self.noise.below(4) {
            0 => end - self.noise.below(40) as u32,
            1 => self.at + 2 * SLOT,
            _ => DATA + self.noise.below(u64::from(DATA_END - DATA)) as u32,
        }
    }

    fn strings(&mut self) {
        let (from, to) = (self.place(), self.place());
        let count = self.noise.pick(&[0, 1, 3, 17, 60, 300]);
        self.load(SI, from);
        self.load(DI, to);
        self.load(CX, count);
        if self.noise.once_in(5) {
            self.bytes(&[0xfd]);
        }
        let prefix = self.noise.pick(&[0xf3, 0xf3, 0xf2]);
        self.bytes(&[prefix]);
        if self.noise.once_in(4) {
            self.wide();
        }
        let opcode = self
            .noise
            .pick(&[0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0x6c, 0x6e]);
        self.bytes(&[opcode]);
        if self.noise.once_in(2) {
            self.bytes(&[0xfc]);
        }
    }

    fn self_modification(&mut self) {
        let value = self.noise.byte();
        match self.noise.below(5) {
            // Changes the immediate of the instruction behind itself.
            0 | 1 => {
                let store = match self.mode.bits() {
                    16 => 5,
                    32 => 7,
                    _ => 8,
                };
                let patched = self.here() + store + 1;
                self.bytes(&[0xc6]);
                self.absolute(0, patched);
                self.bytes(&[value, 0xb0, 0]);
                self.some_instructions();
            }
            // Changes a slot in front: a NOP, or the first byte of something else.
            2 => {
                let ahead = self.ahead();
                self.bytes(&[0xc6]);
                self.absolute(0, ahead);
                let opcode = self.noise.pick(&[0x90, 0x40, 0x48, 0xf8, 0xf9, 0xcc, value]);
                self.bytes(&[opcode]);
            }
            // Counts in the immediate of a loop's own MOV.
            3 => {
                self.load(CX, 3);
                let start = self.here();
                let imm = start + 1;
                self.bytes(&[0xb0, value]);
                self.bytes(&[0xfe]);
                self.absolute(0, imm);
                self.wide();
                self.bytes(&[0xff, 0xc9]);
                let distance = start.wrapping_sub(self.here() + 2);
                self.bytes(&[0x75, distance as u8]);
            }
            // Fills the next slot by a string instruction.
            _ => {
                self.load(DI, self.at + 2 * SLOT);
                self.load(CX, 1 + u32::from(value & 31));
                let byte = self.noise.pick(&[0x90, 0x40, 0xf5]);
                self.bytes(&[0xb0, byte, 0xf3, 0xaa]);
            }
        }
    }

    fn paging(&mut self) {
        // A page of data loses or gets P, R/W, U/S, A, D, or two of them; a page of code R/W, A, D.
        let (page, bits) = if self.noise.once_in(5) {
            ((CODE >> 12) + self.noise.below(2) as u32, self.noise.pick(&[2_u8, 0x20, 0x60]))
        } else {
            let bits = self.noise.pick(&[1_u8, 2, 4, 0x20, 0x40, 0x60, 3, 6]);
            ((DATA >> 12) + self.noise.below(4) as u32, bits)
        };
        let is_data = page >= DATA >> 12;
        let entry = page_entry(self.mode, page, self.noise);
        if self.mode.old() || self.mode.bits() == 16 {
            return self.some_instructions();
        }
        self.bytes(&[0x80]);
        self.absolute(6, entry);
        self.bytes(&[bits]);
        match self.noise.below(4) {
            // A page that is mapped elsewhere, until it is mapped back.
            0 if is_data => {
                self.bytes(&[0x80]);
                self.absolute(6, entry + 1);
                // By 70h, the first one shows the stream, others the vectors and stacks.
                let other = self.noise.pick(&[0x10, 0x30, 0x70]);
                self.bytes(&[other]);
            }
            // No execution, in the entries of 8 bytes.
            1 if self.mode.ia32e() && is_data => {
                self.bytes(&[0x80]);
                self.absolute(6, entry + 7);
                self.bytes(&[0x80]);
            }
            _ => {}
        }
        if self.noise.once_in(3) {
            // MOV EAX, CR3; MOV CR3, EAX
            self.bytes(&[0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8]);
        } else {
            self.bytes(&[0x0f, 0x01]);
            self.absolute(7, page << 12);
        }
        let at = (page << 12) + self.noise.below(0x1000) as u32;
        let opcode = self.noise.pick(&[0x8a, 0x8b, 0x88, 0x01, 0x87]);
        self.bytes(&[opcode]);
        self.absolute(AX, at);
    }

    fn segments(&mut self) {
        if self.mode.old() {
            // Segments near 0, so that what is reached stays the stream's own.
            let value = self.noise.pick(&[0, 0, 1, 0x60, 0x100, 0xffff]);
            self.load(AX, value);
            let seg = self.noise.pick(&[0, 3, 4, 5]);
            return self.bytes(&[0x8e, 0xc0 | seg << 3]);
        }
        match self.noise.below(4) {
            0 | 1 => {
                let selector = self.noise.pick(&selector::DATA);
                let seg = self.noise.pick(&[0, 3, 4, 5, 2]);
                self.load(AX, selector.into());
                self.bytes(&[0x8e, 0xc0 | seg << 3]);
                let at = self.place();
                let opcode = self.noise.pick(&[0x8a, 0x8b, 0x01]);
                let prefix = self.noise.pick(&[0x26, 0x3e, 0x64, 0x65, 0x36]);
                self.bytes(&[prefix, opcode]);
                self.absolute(AX, at);
            }
            2 => {
                // LAR, LSL, VERR, VERW.
                let selector = self.noise.below(0x130) as u32;
                self.load(AX, selector);
                let insn = self.noise.pick(&[
                    [0x0f, 0x02, 0xc8],
                    [0x0f, 0x03, 0xc8],
                    [0x0f, 0x00, 0xe0],
                    [0x0f, 0x00, 0xe8],
                ]);
                self.bytes(&insn);
            }
            _ => self.far_call(),
        }
    }

    /// Through a call gate and back, or to a conforming segment.
    fn far_call(&mut self) {
        if self.mode.bits() == 64 {
            // PUSH gate; PUSH 0; CALL FAR [RSP]
            let gate = u32::from(selector::CALL_GATE64);
            self.bytes(&[0x68]);
            self.bytes(&gate.to_le_bytes());
            return self.bytes(&[0x6a, 0, 0x48, 0xff, 0x1c, 0x24]);
        }
        let conforming = self.noise.once_in(3);
        let selector = if conforming { selector::CONFORMING } else { selector::CALL_GATE };
        self.bytes(&[0x6a, 1]);
        let target = self.ahead();
        self.wide();
        self.bytes(&[0x9a]);
        self.bytes(&target.to_le_bytes());
        self.bytes(&selector.to_le_bytes());
    }

    fn interrupts(&mut self) {
        let value = self.noise.byte();
        match self.noise.below(8) {
            0 => self.bytes(&[0xcd, RETURN]),
            1 => self.bytes(&[0xcd, value]),
            2 => self.bytes(&[0xcc]),
            3 => self.bytes(&[0xf1]),
            4 if self.mode.bits() != 64 => self.bytes(&[0xce]),
            5 => self.bytes(&[0x0f, 0x05]),
            6 if self.noise.once_in(4) => self.bytes(&[0xf4]),
            _ => self.bytes(&[0x0f, 0x0b]),
        }
        self.some_instructions();
    }

    fn control_bits(&mut self) {
        // CR0.WP, TS, AM; CR4.TSD, DE, PGE, OSFXSR, UMIP, SMAP, FSGSBASE.
        let (register, bit) = self.noise.pick(&[
            (0, 16),
            (0, 16),
            (0, 3),
            (0, 18),
            (4, 2),
            (4, 3),
            (4, 7),
            (4, 9),
            (4, 11),
            (4, 16),
            (4, 21),
        ]);
        self.bytes(&[0x0f, 0x20, 0xc0 | register << 3]);
        self.wide();
        self.bytes(&[0x35]);
        self.bytes(&(1_u32 << bit).to_le_bytes());
        self.bytes(&[0x0f, 0x22, 0xc0 | register << 3]);
        if register == 0 && bit == 3 && self.noise.once_in(2) {
            self.bytes(&[0x0f, 0x06]);
        }
        // A breakpoint on data or on the stream.
        if self.noise.once_in(6) {
            let at = self.place();
            self.load(AX, at);
            self.bytes(&[0x0f, 0x23, 0xc0]);
            let kind = self.noise.pick(&[0x0001_0403, 0x000d_0403, 0x000f_0401, 0x0000_0401]);
            self.load(AX, kind);
            self.bytes(&[0x0f, 0x23, 0xf8]);
        }
    }

    fn flags(&mut self) {
        let flags = self.noise.draw() as u32 & 0x4_0cd7;
        let with = self.noise.pick(&[0, 0x200, 0x3000, 0x100, 0x4000, 0]);
        match self.noise.below(4) {
            0 => self.bytes(&[0xfb]),
            1 => self.bytes(&[0xfa]),
            _ => {
                self.wide();
                self.bytes(&[0x68]);
                self.bytes(&(flags | with).to_le_bytes());
                self.wide();
                self.bytes(&[0x9d]);
            }
        }
        // A stack that has drifted away comes back.
        if self.noise.once_in(2) {
            self.load(SP, STACK);
        }
        self.some_instructions();
    }

    /// PUSH of 32 bits (64 in 64-bit mode).
    fn push(&mut self, value: u32) {
        self.wide();
        self.bytes(&[0x68]);
        self.bytes(&value.to_le_bytes());
    }

    /// Reads CR0, clears and sets bits, writes it.
    fn change_cr0(&mut self, clear: u32, set: u32) {
        self.bytes(&[0x0f, 0x20, 0xc0]);
        self.wide();
        self.bytes(&[0x25]);
        self.bytes(&(!clear).to_le_bytes());
        self.wide();
        self.bytes(&[0x0d]);
        self.bytes(&set.to_le_bytes());
        self.bytes(&[0x0f, 0x22, 0xc0]);
    }

    fn change_efer(&mut self, clear: u32, set: u32) {
        self.load(CX, EFER);
        self.bytes(&[0x0f, 0x32]);
        self.bytes(&[0x25]);
        self.bytes(&(!clear).to_le_bytes());
        self.bytes(&[0x0d]);
        self.bytes(&set.to_le_bytes());
        self.bytes(&[0x0f, 0x30]);
    }

    /// JMP FAR of 32 bits to what follows, in the mode that the selector's segment has.
    fn far_jump(&mut self, selector: u16, mode: Mode) {
        self.wide();
        self.bytes(&[0xea]);
        let behind = self.here() + 6;
        self.bytes(&behind.to_le_bytes());
        self.bytes(&selector.to_le_bytes());
        self.mode = mode;
    }

    /// Loads data segments and the stack.
    fn data(&mut self, selector: u16) {
        self.load(AX, selector.into());
        self.bytes(&[0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0]);
        self.load(SP, STACK);
    }

    /// LIDT.
    fn idt(&mut self, pointer: u32) {
        self.bytes(&[0x0f, 0x01]);
        self.absolute(3, pointer);
    }

    fn mode_switch(&mut self) {
        let choice = self.noise.below(4);
        match self.mode {
            Mode::Real => {
                self.bytes(&[0xfa, 0x66, 0x0f, 0x01]);
                self.absolute(2, GDT_POINTER);
                self.idt(IDT32_POINTER);
                self.change_cr0(0, PE);
                self.far_jump(selector::CODE32, Mode::Protected32 { user: false });
                self.data(selector::DATA32);
            }
            Mode::V86 => {
                self.bytes(&[0xcd, SUPERVISOR]);
                self.mode = Mode::Protected32 { user: false };
            }
            Mode::Protected16 { user: false } => {
                self.far_jump(selector::CODE32, Mode::Protected32 { user: false });
                self.data(selector::DATA32);
            }
            Mode::Protected32 { user: false } => match choice {
                0 => self.enter_real(),
                1 => self.enter_long(),
                2 => self.enter_v86(),
                _ if self.noise.once_in(2) => self.paging_on(),
                _ => self.enter_user(selector::USER_CODE32, Mode::Protected32 { user: true }),
            },
            Mode::Compatibility { user: false } => {
                self.far_jump(selector::CODE64, Mode::Long { user: false });
            }
            Mode::Long { user: false } => match choice {
                0 => {
                    // PUSH code; PUSH target; RETFQ, and out of IA-32e mode.
                    self.long_far(selector::CODE32, Mode::Compatibility { user: false });
                    self.change_cr0(PG, 0);
                    self.change_efer(LME, 0);
                    self.mode = Mode::Protected32 { user: false };
                    self.idt(IDT32_POINTER);
                    self.data(selector::DATA32);
                }
                1 => self.long_far(selector::CODE32, Mode::Compatibility { user: false }),
                2 => self.enter_user(selector::USER_CODE64, Mode::Long { user: true }),
                _ => self.enter_user(selector::USER_CODE32, Mode::Compatibility { user: true }),
            },
            Mode::Protected16 { user: true } | Mode::Protected32 { user: true } => {
                self.bytes(&[0xcd, SUPERVISOR]);
                self.mode = Mode::Protected32 { user: false };
            }
            Mode::Compatibility { user: true } | Mode::Long { user: true } => {
                self.bytes(&[0xcd, SUPERVISOR]);
                self.mode = Mode::Long { user: false };
            }
        }
    }

    fn enter_real(&mut self) {
        self.bytes(&[0xfa]);
        self.change_cr0(PG, 0);
        self.far_jump(selector::CODE16, Mode::Protected16 { user: false });
        self.data(selector::DATA16);
        self.change_cr0(PG | PE, 0);
        self.mode = Mode::Real;
        self.far_jump(0, Mode::Real);
        self.data(0);
        self.idt(IVT_POINTER);
    }

    fn enter_long(&mut self) {
        self.bytes(&[0xfa]);
        self.change_cr0(PG, 0);
        // MOV EAX, CR4; OR AL, PAE; MOV CR4, EAX; CR3
        self.bytes(&[0x0f, 0x20, 0xe0, 0x0c, PAE as u8, 0x0f, 0x22, 0xe0]);
        self.load(AX, PML4);
        self.bytes(&[0x0f, 0x22, 0xd8]);
        self.change_efer(0, LME);
        self.change_cr0(0, PG | WP);
        self.far_jump(selector::CODE64, Mode::Long { user: false });
        self.idt(IDT64_POINTER);
        self.load(AX, selector::TSS64.into());
        self.bytes(&[0x0f, 0x00, 0xd8]);
    }

    fn enter_v86(&mut self) {
        // GS, FS, DS, ES, SS, ESP, EFLAGS (VM and some IOPL), CS, EIP.
        for value in [0, 0, 0, 0, 0, STACK] {
            self.push(value);
        }
        let flags = self.noise.pick(&[0x2_3202, 0x2_0202, 0x2_3002]);
        self.push(flags);
        self.push(0);
        let behind = self.here() + 6;
        self.push(behind);
        self.bytes(&[0xcf]);
        self.mode = Mode::V86;
    }

    fn enter_user(&mut self, code: u16, mode: Mode) {
        let long = self.mode.bits() == 64;
        let data = u32::from(selector::USER_DATA32);
        self.push(data);
        self.push(STACK - 0x800);
        let flags = self.noise.pick(&[0x202, 0x3202, 0x2, 0x4_0202]);
        self.push(flags);
        self.push(code.into());
        let behind = self.here() + if long { 7 } else { 6 };
        self.push(behind);
        self.bytes(if long { &[0x48, 0xcf] } else { &[0xcf] });
        self.mode = mode;
        if !long && self.noise.once_in(2) {
            // Data segments that the new level may use.
            self.load(AX, data);
            self.bytes(&[0x8e, 0xd8, 0x8e, 0xc0]);
        }
    }

    fn long_far(&mut self, code: u16, mode: Mode) {
        self.push(code.into());
        let behind = self.here() + 7;
        self.push(behind);
        self.bytes(&[0x48, 0xcb]);
        self.mode = mode;
        self.data(selector::DATA32);
    }

    /// Turns on 32-bit paging or PAE's, or changes from one to the other.
    fn paging_on(&mut self) {
        let pae = self.noise.once_in(2);
        self.change_cr0(PG, 0);
        let set = if pae { [0x0c, PAE as u8] } else { [0x24, !PAE as u8] };
        self.bytes(&[0x0f, 0x20, 0xe0]);
        self.bytes(&set);
        self.bytes(&[0x0f, 0x22, 0xe0]);
        self.load(AX, if pae { PAE_ROOT } else { PD32 });
        self.bytes(&[0x0f, 0x22, 0xd8]);
        self.change_cr0(0, PG);
    }
}

/// A program's pieces lie in RAM.
const _: () = assert!(CODE_END as u64 <= RAM_BYTES);
