//! Seeded random values, and bytes that look like instructions: uniform bytes mostly raise #UD or
//! jump away, so opcodes, prefixes, operands and values are weighted towards what goes far.

/// A random sequence that its seed determines: `SplitMix64` (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Noise(u64);

impl Noise {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `n`.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.draw() as u8
    }

    /// A register's value: an address below `room`, something at the edge of a width, or anything.
    pub fn value(&mut self, room: u64) -> u64 {
        match self.below(8) {
            0..=3 => self.below(room),
            4 => self.below(64),
            5 => {
                let edge = 1_u64 << self.pick(&[7, 8, 15, 16, 31, 32, 47, 48, 63]);
                edge.wrapping_add(self.below(9)).wrapping_sub(4)
            }
            6 => self.below(16).wrapping_sub(8),
            _ => self.draw(),
        }
    }

    /// Appends something like an instruction, whose addresses lie below `room`.
    pub fn instruction(&mut self, code: &mut Vec<u8>, room: u64) {
        const PREFIXES: [u8; 11] =
            [0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65];
        while self.once_in(5) {
            code.push(self.pick(&PREFIXES));
        }
        if self.once_in(3) {
            code.push(0x40 | self.byte() & 15);
        }
        match self.below(20) {
            0..=7 => {
                code.push(self.pick(&WITH_MODRM));
                self.operand(code, room);
            }
            8..=11 => {
                code.extend([0x0f, self.byte()]);
                self.operand(code, room);
            }
            12 => {
                code.extend([0x0f, 0x38, self.byte()]);
                self.operand(code, room);
            }
            13 => {
                code.extend([0x0f, 0x3a, self.byte()]);
                self.operand(code, room);
                code.push(self.byte());
            }
            14 | 15 => {
                code.push(0xd8 | self.byte() & 7);
                self.operand(code, room);
            }
            // Short jumps stay near.
            16 => code.extend([0x70 | self.byte() & 15, self.byte() & 0x1f]),
            _ => {
                // HLT, most of the time, is only an end.
                let opcode = self.byte();
                code.push(if opcode == 0xf4 && !self.once_in(8) { 0x90 } else { opcode });
            }
        }
        for _ in 0..self.pick(&[0, 0, 0, 1, 1, 4]) {
            code.push(self.byte());
        }
    }

    /// Appends a `ModR/M` byte with what follows it.
    fn operand(&mut self, code: &mut Vec<u8>, room: u64) {
        let modrm = if self.once_in(2) { 0xc0 | self.byte() } else { self.byte() };
        code.push(modrm);
        let (form, base) = (modrm >> 6, modrm & 7);
        if form != 3 && base == 4 {
            code.push(self.byte());
        }
        match (form, base) {
            (1, _) => code.push(self.byte()),
            (2, _) | (0, 5) => code.extend((self.value(room) as u32).to_le_bytes()),
            _ => {}
        }
    }

    /// Instructions that fill `len` bytes.
    pub fn code(&mut self, len: usize, room: u64) -> Vec<u8> {
        let mut code = Vec::with_capacity(len + 32);
        while code.len() < len {
            self.instruction(&mut code, room);
        }
        code.truncate(len);
        code
    }
}

/// A well-spread function of a number.
#[must_use]
pub fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

/// One-byte opcodes with a `ModR/M` byte (SDM vol. 2D, table A-2).
const WITH_MODRM: [u8; 72] = [
    0x00, 0x01, 0x02, 0x03, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0x11, 0x12, 0x13, 0x18, 0x19, 0x1a, 0x1b,
    0x20, 0x21, 0x22, 0x23, 0x28, 0x29, 0x2a, 0x2b, 0x30, 0x31, 0x32, 0x33, 0x38, 0x39, 0x3a, 0x3b,
    0x62, 0x63, 0x69, 0x6b, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c,
    0x8d, 0x8e, 0x8f, 0xc0, 0xc1, 0xc4, 0xc5, 0xc6, 0xc7, 0xd0, 0xd1, 0xd2, 0xd3, 0xf6, 0xf7, 0xfe,
    0xff, 0x80, 0x81, 0x83, 0xc1, 0xd1, 0xf7, 0xff,
];
