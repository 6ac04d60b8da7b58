//! Rows of instructions of one kind: what a translator does over several of them shows only there.

use super::{AX, CX, DI, SI, SP, Writer};

impl Writer<'_> {
    /// Many x87 instructions in a row, on numbers that make sense at first, under any rounding and
    /// precision; often in a loop, and sometimes with others between.
    pub(super) fn x87(&mut self) {
        if !self.noise.once_in(4) {
            self.x87_start();
        }
        let turns = self.noise.pick(&[0, 0, 2, 5]);
        if turns != 0 {
            self.load(CX, turns);
        }
        let start = self.here();
        let end = self.piece.len() + self.noise.pick(&[16_usize, 40, 80]);
        while self.piece.len() < end {
            let (ip, other) = (self.here(), self.noise.once_in(6));
            let table = self.tables.of(self.mode);
            let insn =
                if other { table.instruction(self.noise, ip) } else { table.x87(self.noise, ip) };
            self.piece.extend(insn);
        }
        if turns != 0 {
            self.count_down(start);
        }
    }

    /// Accesses at small distances from a register and on the stack, often in a loop, and sometimes
    /// with others between; now and then they lie in two pages.
    pub(super) fn near(&mut self) {
        let (mut from, aligned) = (self.place(), self.noise.once_in(2));
        if aligned {
            from &= !15;
        }
        self.load(SI, from);
        let mut base = SI;
        if self.mode.bits() == 64 && self.noise.once_in(2) {
            base = 8 + self.noise.below(8) as u8;
            // MOV base, RSI.
            self.bytes(&[0x49, 0x89, 0xc0 | SI << 3 | base & 7]);
        }
        let turns = self.noise.pick(&[0, 2, 5]);
        if turns != 0 {
            self.load(CX, turns);
        }
        let start = self.here();
        for _ in 0..3 + self.noise.below(6) {
            // AX, DX, BX, BP or DI.
            let register = self.noise.pick(&[AX, 2, 3, 5, DI]);
            match self.noise.below(12) {
                0 => {
                    let ip = self.here();
                    let insn = self.tables.of(self.mode).instruction(self.noise, ip);
                    self.piece.extend(insn);
                }
                1 => {
                    // ADD base, distance.
                    let distance = self.noise.byte() & if aligned { !15 } else { !0 };
                    self.wide();
                    self.bytes(&[0x41][..usize::from(base >> 3)]);
                    self.bytes(&[0x83, 0xc0 | base & 7, distance]);
                }
                // PUSH and POP.
                2 => self.bytes(&[0x50 | register]),
                3 => self.bytes(&[0x58 | register]),
                4..=6 => self.vector_near(register, base),
                _ => self.access_near(register, base),
            }
        }
        if turns != 0 {
            self.count_down(start);
        }
    }

    /// MOV, ADD, XCHG, CMP or NEG of `[base + distance]`, of 8 bits to as many as there are.
    fn access_near(&mut self, register: u8, base: u8) {
        let mut rex = 0;
        match (self.mode.bits(), self.noise.below(3)) {
            (64, 0) => rex = 8,
            (_, 1) => self.bytes(&[0x66]),
            _ => {}
        }
        let (opcode, register) = match self.noise.below(12) {
            // NEG.
            0 => (0xf7, 3),
            _ => (
                self.noise.pick(&[0x8b, 0x8b, 0x8b, 0x89, 0x89, 0x88, 0x01, 0x03, 0x87, 0x39]),
                register,
            ),
        };
        let distance = self.noise.byte();
        self.operand_near(rex, &[opcode], register, base, distance);
    }

    /// A vector or a part of one from or to `[base + distance]`, of which most must be aligned.
    fn vector_near(&mut self, register: u8, base: u8) {
        // MOVAPS, MOVDQA, MOVUPS, PADDD, ADDPS; MOVSS, MOVSD; CVTSI2SD.
        let (prefix, opcode): (&[u8], u8) = self.noise.pick(&[
            (&[], 0x28),
            (&[], 0x29),
            (&[0x66], 0x6f),
            (&[0x66], 0x7f),
            (&[], 0x10),
            (&[], 0x11),
            (&[0x66], 0xfe),
            (&[], 0x58),
            (&[0xf3], 0x10),
            (&[0xf2], 0x11),
            (&[0xf2], 0x2a),
        ]);
        self.bytes(prefix);
        let distance = self.noise.byte() & self.noise.pick(&[!15, !15, !15, !3]);
        self.operand_near(0, &[0x0f, opcode], register, base, distance);
    }

    /// An opcode and its operand `[base + distance]`.
    fn operand_near(&mut self, rex: u8, opcode: &[u8], register: u8, base: u8, distance: u8) {
        let rex = rex | base >> 3;
        if rex != 0 {
            self.bytes(&[0x40 | rex]);
        }
        self.bytes(opcode);
        let place = if self.mode.bits() == 16 { 4 } else { base & 7 };
        self.bytes(&[0x40 | register << 3 | place]);
        // SP's number, and so R12's, says that a SIB byte follows: here that there is no index.
        if self.mode.bits() != 16 && place == SP {
            self.bytes(&[0x24]);
        }
        self.bytes(&[distance]);
    }

    /// FNINIT, FLDCW with all exceptions masked, and a few loads.
    fn x87_start(&mut self) {
        self.bytes(&[0xdb, 0xe3]);
        let at = self.place() & !1;
        if self.noise.once_in(2) {
            let control = self.noise.draw() as u16 & 0xf00 | 0x7f;
            self.bytes(&[0x66][..usize::from(self.mode.bits() != 16)]);
            self.bytes(&[0xc7]);
            self.absolute(0, at);
            self.bytes(&control.to_le_bytes());
            self.bytes(&[0xd9]);
            self.absolute(5, at);
        }
        for _ in 0..self.noise.below(6) {
            match self.noise.below(3) {
                // FLD1, FLDL2T, ... FLDZ
                0 => {
                    let number = self.noise.below(7) as u8;
                    self.bytes(&[0xd9, 0xe8 | number]);
                }
                // FLD or FILD of 32 or 64 bits
                _ => {
                    let (opcode, at) = (self.noise.pick(&[0xd9, 0xdb, 0xdd]), self.place());
                    self.bytes(&[opcode]);
                    self.absolute(0, at);
                }
            }
        }
    }
}
