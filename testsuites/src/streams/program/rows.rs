//! Rows of instructions of one kind: what a translator does over several of them shows only there.

use super::{AX, CX, DI, SI, Writer};

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

    /// Accesses at small distances from SI and on the stack, often in a loop, and sometimes with
    /// others between; now and then they lie in two pages.
    pub(super) fn near(&mut self) {
        let from = self.place();
        self.load(SI, from);
        let turns = self.noise.pick(&[0, 2, 5]);
        if turns != 0 {
            self.load(CX, turns);
        }
        let start = self.here();
        for _ in 0..3 + self.noise.below(6) {
            // AX, DX, BX, BP or DI.
            let register = self.noise.pick(&[AX, 2, 3, 5, DI]);
            match self.noise.below(10) {
                0 => {
                    let ip = self.here();
                    let insn = self.tables.of(self.mode).instruction(self.noise, ip);
                    self.piece.extend(insn);
                }
                1 => {
                    // ADD ESI, distance.
                    let distance = self.noise.byte();
                    self.wide();
                    self.bytes(&[0x83, 0xc0 | SI, distance]);
                }
                // PUSH and POP.
                2 => self.bytes(&[0x50 | register]),
                3 => self.bytes(&[0x58 | register]),
                _ => self.access_near(register),
            }
        }
        if turns != 0 {
            self.count_down(start);
        }
    }

    /// MOV, ADD, XCHG, CMP or NEG of `[SI + distance]`, of 8 bits to as many as there are.
    fn access_near(&mut self, register: u8) {
        match (self.mode.bits(), self.noise.below(3)) {
            (64, 0) => self.bytes(&[0x48]),
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
        let base = if self.mode.bits() == 16 { 4 } else { SI };
        let distance = self.noise.byte();
        self.bytes(&[opcode, 0x40 | register << 3 | base, distance]);
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
