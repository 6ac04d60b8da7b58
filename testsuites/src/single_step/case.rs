//! A test made ready: its registers, its instruction decoded, and what is expected of a CPU.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, Register};

use super::{
    Kind,
    access::accesses,
    files::Metadata,
    hex,
    moo::{Registers, Test, WORDS},
};

/// Places of registers in the tests' own order.
pub const AX: usize = 0;
pub const BX: usize = 1;
pub const CX: usize = 2;
pub const DX: usize = 3;
pub const CS: usize = 4;
pub const SS: usize = 5;
pub const DS: usize = 6;
pub const ES: usize = 7;
pub const SP: usize = 8;
pub const BP: usize = 9;
pub const SI: usize = 10;
pub const DI: usize = 11;
pub const IP: usize = 12;
pub const FLAGS: usize = 13;

/// The arithmetic flags.
pub const CF: u16 = 1 << 0;
pub const PF: u16 = 1 << 2;
pub const AF: u16 = 1 << 4;
pub const ZF: u16 = 1 << 6;
pub const SF: u16 = 1 << 7;
pub const OF: u16 = 1 << 11;
/// FLAGS.TF and IF, which every interrupt clears in real mode.
const TF_IF: u16 = 0x300;
/// FLAGS.IOPL, NT and the reserved bit 15.
pub const HIGH_FLAGS: u16 = 0xf000;

/// A test made ready.
pub struct Case<'a> {
    /// Which CPU it was recorded on.
    pub kind: Kind,
    /// The test.
    pub test: &'a Test,
    /// Registers before, as a modern CPU starts with them.
    pub regs: [u16; WORDS],
    /// The instruction, as a modern CPU decodes it in 16-bit code.
    pub insn: Instruction,
    /// Whether a modern CPU knows it.
    pub valid: bool,
    /// The byte with which a modern CPU has to be given it: place behind the prefixes, value.
    pub alias: Option<(usize, u8)>,
    /// Prefixes.
    pub prefixes: Prefixes,
    /// The first byte of the opcode.
    pub opcode: u8,
    /// The byte behind it: `ModR/M`, if the opcode has one.
    pub modrm: u8,
    /// The flags that the set's author found defined.
    pub defined_flags: u16,
}

/// The prefixes of an instruction.
#[derive(Clone, Copy, Default)]
pub struct Prefixes {
    /// Their number.
    pub len: usize,
    /// F0h is among them.
    pub lock: bool,
    /// F2h or F3h is among them.
    pub rep: bool,
}

impl Prefixes {
    fn of(code: &[u8]) -> Self {
        let mut out = Self::default();
        for byte in code {
            match byte {
                0x26 | 0x2e | 0x36 | 0x3e => {}
                0xf0 => out.lock = true,
                0xf2 | 0xf3 => out.rep = true,
                _ => break,
            }
            out.len += 1;
        }
        out
    }
}

impl<'a> Case<'a> {
    /// Makes `test` ready.
    ///
    /// # Errors
    /// If it is none of this CPU in real mode.
    pub fn new(kind: Kind, test: &'a Test, metadata: &Metadata) -> Result<Self, String> {
        let regs = test.before.words.filter(|r| r.present == (1 << WORDS) - 1);
        let regs =
            regs.ok_or_else(|| format!("test {} does not name all registers", test.index))?;
        let mut regs = values(&regs);
        // The 8086 has them set always, the 80286 clears them in real mode.
        regs[FLAGS] &= !HIGH_FLAGS;
        let prefixes = Prefixes::of(&test.bytes);
        let byte = |n: usize| test.bytes.get(prefixes.len + n).copied();
        let opcode = byte(0).ok_or_else(|| format!("test {} has no instruction", test.index))?;
        let modrm = byte(1).unwrap_or(0);
        let at = u64::from(regs[IP]);
        let mut bytes = test.bytes.clone();
        let alias = kind.alias(opcode).map(|byte| (0, byte));
        if let Some((n, byte)) = alias
            && let Some(place) = bytes.get_mut(prefixes.len + n)
        {
            *place = byte;
        }
        let decode = |options| Decoder::with_ip(16, &bytes, at, options).decode();
        let insn = decode(DecoderOptions::NO_INVALID_CHECK);
        // C6 /7 and C7 /7 are XABORT and XBEGIN, which this model lacks.
        let transactional = matches!(insn.mnemonic(), Mnemonic::Xabort | Mnemonic::Xbegin);
        let valid = !transactional && !decode(DecoderOptions::NONE).is_invalid();
        let defined_flags = metadata.defined_flags(opcode, modrm >> 3 & 7);
        Ok(Self { kind, test, regs, insn, valid, alias, prefixes, opcode, modrm, defined_flags })
    }

    /// The name of the test in the whole set.
    pub fn hash(&self) -> Option<String> {
        self.test.hash.map(|h| hex(&h))
    }

    /// Bits 5:3 of the `ModR/M` byte.
    pub fn reg(&self) -> u8 {
        self.modrm >> 3 & 7
    }

    /// The physical address of an offset in a segment.
    pub fn address(&self, segment: u16, offset: u16) -> u32 {
        self.kind.wrap((u32::from(segment) << 4) + u32::from(offset))
    }

    /// The byte that RAM holds before the test.
    pub fn byte(&self, at: u32) -> u8 {
        let ram = &self.test.before.ram;
        ram.iter().rev().find(|(a, _)| self.kind.wrap(*a) == at).map_or(0, |(_, byte)| *byte)
    }

    /// A word on the stack before the test, `depth` bytes above its top.
    pub fn stacked(&self, depth: u16) -> u16 {
        let byte = |n: u16| {
            let offset = self.regs[SP].wrapping_add(depth).wrapping_add(n);
            self.byte(self.address(self.regs[SS], offset))
        };
        u16::from_le_bytes([byte(0), byte(1)])
    }

    /// The address of the opcode's `n`th byte, prefixes not counted.
    pub fn code(&self, n: usize) -> u32 {
        let offset = (self.prefixes.len + n) as u16;
        self.address(self.regs[CS], self.regs[IP].wrapping_add(offset))
    }

    /// The value of a segment register before the test; FS and GS hold 0.
    pub fn segment(&self, register: Register) -> u16 {
        match register {
            Register::ES => self.regs[ES],
            Register::CS => self.regs[CS],
            Register::SS => self.regs[SS],
            Register::DS => self.regs[DS],
            _ => 0,
        }
    }

    /// Does it repeat a string instruction?
    pub fn repeats(&self) -> bool {
        self.prefixes.rep && matches!(self.opcode, 0x6c..=0x6f | 0xa4..=0xa7 | 0xaa..=0xaf)
    }
}

/// A register for each place; 0 where none is named.
pub fn values(r: &Registers) -> [u16; WORDS] {
    std::array::from_fn(|n| r.value[n] as u16)
}

/// How a test ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// After its instruction, or in front of the handler of the exception that it raises.
    Instruction,
    /// After the HLT behind that.
    Halt,
    /// The exception cannot be delivered: the CPU shuts down.
    Shutdown,
}

/// A byte of RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Byte {
    /// Its address.
    pub at: u32,
    /// Its value.
    pub value: u8,
    /// The bits that are compared.
    pub defined: u8,
}

/// What is expected after a test.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Registers.
    pub regs: [u16; WORDS],
    /// The bits that are compared.
    pub defined: [u16; WORDS],
    /// RAM, where it is not as before.
    pub ram: Vec<Byte>,
    /// IP goes on to 10000h, beyond the limit of CS.
    pub beyond: bool,
    /// Bytes that the test starts with in place of its own.
    pub patch: Vec<(u32, u8)>,
    /// How it ends.
    pub ending: Ending,
    /// The instruction may take several steps.
    pub repeats: bool,
}

impl Expectation {
    /// Flags as given.
    pub fn set_flags(&mut self, flags: &[(u16, bool)]) {
        for (flag, on) in flags {
            self.regs[FLAGS] = self.regs[FLAGS] & !flag | if *on { *flag } else { 0 };
        }
    }

    /// What the old CPU did, with undefined flags masked.
    pub fn recorded(case: &Case<'_>, everywhere: Option<Registers>) -> Self {
        let mut regs = values(&case.test.before.words.unwrap_or_default());
        let after = case.test.after.words.unwrap_or_default();
        for (n, reg) in regs.iter_mut().enumerate() {
            if after.present >> n & 1 != 0 {
                *reg = after.value[n] as u16;
            }
        }
        let mut defined = [0xffff; WORDS];
        for mask in everywhere.iter().chain(&case.test.after.defined) {
            for (n, bits) in defined.iter_mut().enumerate() {
                if mask.present >> n & 1 != 0 {
                    *bits &= mask.value[n] as u16;
                }
            }
        }
        defined[FLAGS] &= case.defined_flags;
        let byte = |(at, value): &(u32, u8)| Byte { at: *at, value: *value, defined: 0xff };
        let mut out = Self {
            regs,
            defined,
            ram: case.test.after.ram.iter().map(byte).collect(),
            beyond: false,
            patch: Vec::new(),
            ending: case.kind.ending(),
            repeats: case.repeats(),
        };
        if let Some((n, byte)) = case.alias {
            let at = case.code(n);
            out.patch.push((at, byte));
            // The set lists the code among the RAM after the test, too.
            let old = case.byte(at);
            out.ram.retain(|b| case.kind.wrap(b.at) != at || b.value != old);
        }
        out
    }

    /// Takes bits of a word in RAM out of the comparison.
    pub fn undefine_word(&mut self, case: &Case<'_>, at: u32, bits: u16) {
        for (n, bits) in bits.to_le_bytes().into_iter().enumerate() {
            let at = case.kind.wrap(at.wrapping_add(n as u32));
            for byte in self.ram.iter_mut().filter(|b| case.kind.wrap(b.at) == at) {
                byte.defined &= !bits;
            }
        }
    }

    /// Expects a word in RAM.
    pub fn word(&mut self, case: &Case<'_>, segment: u16, offset: u16, value: u16) {
        for (n, value) in value.to_le_bytes().into_iter().enumerate() {
            let at = case.address(segment, offset.wrapping_add(n as u16));
            self.ram.push(Byte { at, value, defined: 0xff });
        }
    }

    /// A fault: nothing has changed, and its handler is entered (SDM vol. 3A, section 21.1.4; no
    /// exception has an error code in real mode).
    pub fn fault(&mut self, case: &Case<'_>, vector: u8) {
        self.regs = case.regs;
        self.defined = [0xffff; WORDS];
        self.ram.clear();
        self.enter(case, vector);
    }

    /// Nothing but IP: the instruction has done nothing yet.
    pub fn unchanged(&mut self, case: &Case<'_>) {
        self.regs = case.regs;
        self.regs[IP] = case.regs[IP].wrapping_add(case.insn.len() as u16);
        if self.ending == Ending::Halt {
            self.regs[IP] = self.regs[IP].wrapping_add(1);
        }
        self.defined = [0xffff; WORDS];
        self.defined[FLAGS] &= case.defined_flags;
        self.ram.clear();
    }

    /// One iteration of MOVS or STOS, or of LODS; the others change only what the caller sees to.
    pub fn string_iteration(
        &mut self,
        case: &Case<'_>,
        source: Option<Register>,
        si: u16,
        di: u16,
    ) {
        let size = u16::from(case.opcode & 1) + 1;
        for n in 0..size {
            let from = source
                .map(|segment| case.address(case.segment(segment), si.wrapping_add(n)))
                .map_or(0, |at| self.byte(case, at));
            let to = case.address(case.regs[ES], di.wrapping_add(n));
            let half = u32::from(n) * 8;
            match case.opcode {
                0xa4 | 0xa5 => self.ram.push(Byte { at: to, value: from, defined: 0xff }),
                0xaa | 0xab => {
                    let value = (case.regs[AX] >> half) as u8;
                    self.ram.push(Byte { at: to, value, defined: 0xff });
                }
                0xac | 0xad => {
                    let ax = self.regs[AX] & !(0xff << half);
                    self.regs[AX] = ax | u16::from(from) << half;
                }
                // IN reads FFh from everywhere.
                0x6c | 0x6d => self.ram.push(Byte { at: to, value: 0xff, defined: 0xff }),
                _ => {}
            }
        }
    }

    /// The byte that RAM is expected to hold.
    fn byte(&self, case: &Case<'_>, at: u32) -> u8 {
        let now = self.ram.iter().rev().find(|b| case.kind.wrap(b.at) == at).map(|b| b.value);
        now.unwrap_or_else(|| case.byte(at))
    }

    /// Expects `value` in the operand that a `ModR/M` byte names.
    pub fn operand(&mut self, case: &Case<'_>, value: u16) {
        match accesses(case).first() {
            None => self.set(case.insn.op0_register(), value),
            Some(a) if a.size == 1 => {
                let at = case.address(case.segment(a.segment), a.offset);
                self.ram.push(Byte { at, value: value as u8, defined: 0xff });
            }
            Some(a) => self.word(case, case.segment(a.segment), a.offset, value),
        }
    }

    /// Takes flags out of the comparison of what an exception has pushed.
    pub fn undefine_flags_image(&mut self, case: &Case<'_>, bits: u16) {
        let at = case.address(case.regs[SS], case.regs[SP].wrapping_sub(2));
        self.undefine_word(case, at, bits);
    }

    /// Expects `value` in a general register (8 or 16 bits).
    pub fn set(&mut self, register: Register, value: u16) {
        let place = register.full_register32().number();
        let Some(place) = [AX, CX, DX, BX, SP, BP, SI, DI].get(place) else { return };
        let old = self.regs[*place];
        self.regs[*place] = match register.size() {
            1 if (Register::AH..=Register::BH).contains(&register) => old & 0xff | value << 8,
            1 => old & 0xff00 | value & 0xff,
            _ => value,
        };
    }

    /// Enters the handler of an exception from the state that is expected so far.
    pub fn enter(&mut self, case: &Case<'_>, vector: u8) {
        self.beyond = false;
        let (ss, mut sp) = (self.regs[SS], self.regs[SP]);
        let pushed = [self.regs[FLAGS], self.regs[CS], case.regs[IP]];
        if (1..=3).any(|n: u16| sp.wrapping_sub(2 * n) == 0xffff) {
            // #SS, for which there is no more room, then #DF.
            self.ending = Ending::Shutdown;
            self.ram.clear();
            return;
        }
        for value in pushed {
            sp = sp.wrapping_sub(2);
            self.word(case, ss, sp, value);
        }
        let flags = pushed[0];
        let entry = u32::from(vector) * 4;
        let [ip, cs] = [entry, entry + 2]
            .map(|at| u16::from_le_bytes([self.byte(case, at), self.byte(case, at + 1)]));
        (self.regs[IP], self.regs[CS]) = (ip, cs);
        self.regs[SP] = sp;
        self.regs[FLAGS] = flags & !TF_IF;
        self.ending = Ending::Instruction;
    }
}
