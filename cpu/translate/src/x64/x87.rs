//! x87 instructions, which the host does as they are.
//!
//! The guest's register stack, status word and control word become the host's, and an instruction
//! is emitted with the opcode and the registers that it had. As for vector registers, code looks
//! before the first such instruction of a block whether the host has them
//! ([`trine_x86::Translated::x87`]), and loads them if not; whatever calls or leaves puts them back
//! into the core, after which the FPU is as the ABI wants it: empty, and with the control word of
//! FNINIT. The control word is right in the core all the time.
//!
//! Sources: SDM vol. 1, chapter 8; vol. 2, FNSAVE and FRSTOR; System V AMD64 ABI, section 3.2.

use std::mem::offset_of;

use iced_x86::Mnemonic;
use trine_x86::{Core, Insn, Seg, Segment, Segments, Translated, Width, X87};

use super::{
    asm::{Alu, Asm, Encoding, Gpr, Label, Mem, RAX, RCX, RDX, Rm, Shift, cc},
    emit::{Emitter, Stub},
    field, translated,
};
use crate::{
    flags::Src,
    ir::{Block, Op, Step, Val, Work},
    x87::{MASKED, Part, Shape},
};

/// [`trine_x86::Translated::x87`]: the state is in the core, ...
const IN_CORE: i32 = 0;
/// ... or the host has it.
const IN_HOST: i32 = 1;

/// The control word's bits that can be written, and the one that is always set.
const WRITABLE: i32 = 0x1f3f;
const FIXED: i32 = 0x40;

/// Where FNSAVE's image, in its 32-bit form, has the status word, the tag word and ST(0) to ST(7).
const STATUS: usize = 4;
const TAGS: usize = 8;
const STACK: usize = 28;

/// What the present block knows.
#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    /// The host has the state.
    pub(super) loaded: bool,
    /// The last instruction's code segment is the present one.
    segment: bool,
    /// The last operand's segment.
    operand: Option<Seg>,
}

/// Whether the host's CPU has an instruction.
pub(super) fn has(insn: &Insn) -> bool {
    insn.code.mnemonic() != Mnemonic::Fisttp || is_x86_feature_detected!("sse3")
}

/// A field of the core's state.
macro_rules! x87 {
    ($field:ident) => {
        field(offset_of!(Core, x87) + offset_of!(X87, $field))
    };
}

/// A part of the image for FNSAVE and FRSTOR.
fn image(at: usize) -> Mem {
    field(offset_of!(Core, translated) + offset_of!(Translated, x87_image) + at)
}

/// Code that gives the host's FPU the guest's state, and the core its own back.
pub(super) struct Switch {
    put_back: Label,
}

impl Switch {
    /// Emits what is shared: how the core gets it back. It keeps all general registers.
    pub(super) fn emit(a: &mut Asm) -> Self {
        let put_back = a.label();
        a.bind(put_back);
        let used = [RAX, RCX, RDX];
        used.iter().for_each(|reg| a.push(*reg));
        // FNSAVE, which also does what FNINIT does.
        a.x87_memory(0xdd, 6, image(0));
        a.load(Width::W16, RCX, image(STATUS));
        a.store(Width::W16, x87!(status), RCX);
        a.tags_to_valid();
        a.store(Width::W8, x87!(valid), RAX);
        a.move_registers(true);
        used.iter().rev().for_each(|reg| a.pop(*reg));
        a.store_imm(Width::W32, translated!(x87), IN_CORE);
        a.ret();
        Self { put_back }
    }

    /// Code to be called that loads it. It keeps all general registers.
    pub(super) fn load(a: &mut Asm) {
        let used = [RAX, RCX, RDX];
        used.iter().for_each(|reg| a.push(*reg));
        a.load(Width::W16, RCX, x87!(control));
        a.store(Width::W16, image(0), RCX);
        a.load(Width::W16, RCX, x87!(status));
        a.store(Width::W16, image(STATUS), RCX);
        a.valid_to_tags();
        a.store(Width::W16, image(TAGS), RAX);
        a.move_registers(false);
        used.iter().rev().for_each(|reg| a.pop(*reg));
        // FRSTOR.
        a.x87_memory(0xdd, 4, image(0));
        a.store_imm(Width::W32, translated!(x87), IN_HOST);
        a.ret();
    }

    /// Gives the core back what the host has, if it has it.
    pub(super) fn put_back(&self, a: &mut Asm) {
        let not = a.label();
        a.alu_imm(Alu::Cmp, Width::W32, translated!(x87), IN_CORE);
        a.jcc(cc::E, not);
        a.call(self.put_back);
        a.bind(not);
    }
}

impl Asm {
    /// An x87 instruction with memory.
    fn x87_memory(&mut self, opcode: u8, reg: u8, at: impl Into<Rm>) {
        let e = Encoding { prefix: None, wide: false, rex: false, opcode: &[opcode] };
        self.encode(e, reg, at.into(), 0);
    }

    /// The x87 instruction that it was for the guest, with its memory operand where
    /// [`Emitter::find_bytes`] found it.
    fn x87(&mut self, insn: &Insn) {
        // The decoder leaves the opcode there as FOP has it.
        let (opcode, modrm) = (0xd8 | (insn.imm >> 8) as u8 & 7, insn.imm as u8);
        if insn.has_memory() {
            self.x87_memory(opcode, modrm >> 3 & 7, Emitter::found());
        } else {
            self.code.extend([opcode, modrm]);
        }
    }

    /// FCMOVNE ST(0), ST(n).
    fn fcmovne(&mut self, n: u8) {
        self.code.extend([0xdb, 0xc8 | n & 7]);
    }

    /// FNSTSW AX.
    fn fnstsw(&mut self) {
        self.code.extend([0xdf, 0xe0]);
    }

    /// AL = a bit for each register, set where the image's tag word does not say 11b, empty.
    fn tags_to_valid(&mut self) {
        self.load(Width::W16, RAX, image(TAGS));
        self.store(Width::W32, RDX, RAX);
        self.shift(Shift::Shr, Width::W32, RDX, 1);
        self.alu(Alu::And, Width::W32, RAX, RDX);
        self.alu_imm(Alu::And, Width::W32, RAX, 0x5555);
        for (by, mask) in [(1, 0x3333), (2, 0x0f0f), (4, 0x00ff)] {
            self.store(Width::W32, RDX, RAX);
            self.shift(Shift::Shr, Width::W32, RDX, by);
            self.alu(Alu::Or, Width::W32, RAX, RDX);
            self.alu_imm(Alu::And, Width::W32, RAX, mask);
        }
        self.alu_imm(Alu::Xor, Width::W32, RAX, 0xff);
    }

    /// AX = a tag word with 11b where the core says that a register is empty, else 00b; the CPU finds
    /// the other tags by itself.
    fn valid_to_tags(&mut self) {
        self.load(Width::W8, RAX, x87!(valid));
        for (by, mask) in [(4, 0x0f0f), (2, 0x3333), (1, 0x5555)] {
            self.store(Width::W32, RDX, RAX);
            self.shift(Shift::Shl, Width::W32, RDX, by);
            self.alu(Alu::Or, Width::W32, RAX, RDX);
            self.alu_imm(Alu::And, Width::W32, RAX, mask);
        }
        self.lea(Width::W32, RAX, Mem { base: Some(RAX), index: Some((RAX, 1)), disp: 0 });
        self.alu_imm(Alu::Xor, Width::W32, RAX, 0xffff);
    }

    /// Moves ST(0) to ST(7) from the image to the core, whose registers do not turn with TOP, or
    /// back. ECX is the status word, and used up.
    fn move_registers(&mut self, save: bool) {
        const SIZE: i32 = size_of::<(u64, u16)>() as i32;
        const { assert!(SIZE == 16, "TOP is taken times that") };
        let parts = [
            (Width::W64, 0, offset_of!((u64, u16), 0)),
            (Width::W16, 8, offset_of!((u64, u16), 1)),
        ];
        // TOP is in bits 13:11.
        self.shift(Shift::Shr, Width::W32, RCX, 7);
        for n in 0..8 {
            self.alu_imm(Alu::And, Width::W32, RCX, 7 * SIZE);
            for (w, in_image, in_core) in parts {
                let stack = image(STACK + 10 * n + in_image);
                let register = Mem { index: Some((RCX, 0)), ..register(in_core) };
                let (to, from) = if save { (register, stack) } else { (stack, register) };
                self.load(w, RAX, from);
                self.store(w, to, RAX);
            }
            self.alu_imm(Alu::Add, Width::W32, RCX, SIZE);
        }
    }
}

/// A part of register R0 in the core.
fn register(part: usize) -> Mem {
    let Mem { base, index, disp } = x87!(reg);
    Mem { base, index, disp: disp + part as i32 }
}

impl Emitter<'_> {
    /// At the start of a block, where no flags are in the way: loads what its instructions want.
    pub(super) fn load_x87_of(&mut self, block: &Block) {
        self.x87 = Known::default();
        let region = self.region;
        let wants = |step: &Step| {
            let wants = |op: &Op| matches!(op, Op::X87(Part::Host(..) | Part::Status));
            region.ops[step.ops.clone()].iter().any(wants)
        };
        if region.steps[block.steps.clone()].iter().any(wants) {
            self.load_x87();
        }
    }

    fn load_x87(&mut self) {
        if self.x87.loaded {
            return;
        }
        let (label, back) = (self.asm.label(), self.asm.label());
        let a = self.noisy();
        a.alu_imm(Alu::Cmp, Width::W32, translated!(x87), IN_CORE);
        a.jcc(cc::E, label);
        a.bind(back);
        self.stubs.push(Stub::X87 { label, back });
        self.x87.loaded = true;
    }

    /// In a stub: loads it.
    pub(super) fn call_x87(&mut self) {
        let to = self.far(self.place.runtime.x87);
        self.asm.call(to);
    }

    /// [`Op::X87`].
    pub(super) fn x87(&mut self, n: usize, part: Part) {
        match part {
            Part::Host(shape, at, condition) => self.x87_host(n, shape, at, condition),
            Part::Status => {
                self.load_x87();
                self.claim(RAX);
                self.quiet().fnstsw();
                self.defined(n, RAX, Width::W16, false);
            }
            Part::Control => {
                let to = self.temp();
                self.quiet().load(Width::W16, to, x87!(control));
                self.defined(n, to, Width::W16, true);
            }
            Part::SetControl(v) => self.set_x87_control(v),
            Part::Last(offset) => self.x87_last(offset),
        }
    }

    fn x87_host(&mut self, n: usize, shape: Shape, at: Option<Val>, condition: Option<Val>) {
        let insn = self.insn();
        if let Some(at) = at {
            self.find_bytes(u32::from(shape.bytes), at, shape.store, false);
        }
        self.load_x87();
        if let Some(condition) = condition {
            let reg = self.clean_reg(condition);
            self.noisy().test(Width::W32, reg, reg);
            self.quiet().fcmovne(insn.ops[1]);
        } else if shape.compares {
            self.claim(RAX);
            self.noisy().x87(&insn);
            self.compared(n);
        } else {
            self.quiet().x87(&insn);
        }
    }

    /// [`Part::SetControl`].
    fn set_x87_control(&mut self, v: Val) {
        let bail = self.bail();
        let (control, masks) = (self.temp(), self.temp());
        self.move_clean(control, v);
        let a = self.noisy();
        a.store(Width::W32, masks, control);
        a.alu_imm(Alu::And, Width::W32, masks, MASKED.into());
        a.alu_imm(Alu::Cmp, Width::W32, masks, MASKED.into());
        a.jcc(cc::NE, bail);
        a.alu_imm(Alu::And, Width::W32, control, WRITABLE);
        a.alu_imm(Alu::Or, Width::W32, control, FIXED);
        a.store(Width::W16, x87!(control), control);
        self.load_x87();
        // FLDCW.
        self.quiet().x87_memory(0xd9, 5, x87!(control));
    }

    /// [`Part::Last`].
    fn x87_last(&mut self, offset: Option<Val>) {
        let insn = self.insn();
        if !self.is_last_soon() {
            let ip = self.block_ip.wrapping_add(insn.start().into()) & insn.mode.code().mask();
            self.remember_operand(x87!(ip), Src::Imm(ip));
        }
        if !self.x87.segment {
            self.x87.segment = true;
            self.copy_selector(x87!(cs), Seg::Cs);
        }
        let Some(offset) = offset else { return };
        match self.constant(offset) {
            Some(offset) => self.remember_operand(x87!(dp), Src::Imm(offset)),
            None => {
                let offset = self.clean_reg(offset);
                self.quiet().store(Width::W64, x87!(dp), offset);
            }
        }
        if self.x87.operand != Some(insn.seg()) {
            self.x87.operand = Some(insn.seg());
            self.copy_selector(x87!(ds), insn.seg());
        }
    }

    /// Whether the next instruction will be the last one before anybody can ask which it is.
    fn is_last_soon(&self) -> bool {
        let next = self.region.steps.get(self.step + 1).filter(|_| self.left > 1);
        next.is_some_and(|next| {
            let ops = &self.region.ops[next.ops.clone()];
            let is_last = ops.iter().any(|op| matches!(op, Op::X87(Part::Last(_))));
            is_last && !next.stops && matches!(next.work, Work::Hot)
        })
    }

    fn copy_selector(&mut self, to: Mem, seg: Seg) {
        let at = offset_of!(Core, segments) + offset_of!(Segments, seg);
        let from = at + size_of::<Segment>() * seg as usize + offset_of!(Segment, selector);
        let reg: Gpr = self.temp();
        self.quiet().load(Width::W16, reg, field(from));
        self.quiet().store(Width::W16, to, reg);
        self.unlock(reg);
    }
}

#[cfg(test)]
mod tests {
    use iced_x86::{DecoderOptions, Instruction, OpKind};
    use trine_x86::{CpuModel, Decoded, Decoder, Mode};

    use super::*;
    use crate::{
        memory::{CodeMemory, Way as Mapping},
        x64::asm::{RBP, RDI, RSI},
        x87::Way,
    };

    fn decode(bytes: &[u8]) -> Instruction {
        iced_x86::Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).decode()
    }

    #[test]
    fn instructions_stay_what_they_are() {
        let decoder = Decoder::new(&CpuModel::named("max").expect("it is one"));
        let mode = Mode::new(Width::W64, Width::W64, true, true);
        let mut seen = 0;
        for (opcode, modrm) in (0xd8..=0xdf).flat_map(|o| (0..=0xff).map(move |m| (o, m))) {
            let bytes = [opcode, modrm, 0x25, 0, 0, 0, 0, 0, 0];
            let Decoded::Insn(insn) = decoder.decode(&bytes, mode, 0, 0) else { continue };
            let Some(Way::Host(shape)) = Way::of(&insn) else { continue };
            let mut asm = Asm::default();
            asm.x87(&insn);
            let (before, after) = (decode(&bytes), decode(&asm.code));
            assert_eq!(after.len(), asm.code.len(), "{bytes:x?}: {:x?}", asm.code);
            assert_eq!(after.code(), before.code(), "{bytes:x?}: {:x?}", asm.code);
            assert_eq!(usize::from(shape.bytes), after.memory_size().size(), "{bytes:x?}");
            for n in 0..before.op_count() {
                assert_eq!(after.op_kind(n), before.op_kind(n), "{bytes:x?}: {:x?}", asm.code);
                if before.op_kind(n) == OpKind::Register {
                    assert_eq!(after.op_register(n), before.op_register(n), "{bytes:x?}");
                }
            }
            seen += 1;
        }
        assert!(seen > 1000, "only {seen} encodings");
    }

    /// Code with the arguments RDI, a core, and RSI, room for an environment: loads the state, makes
    /// the core forget it, puts it back, and stores the environment that is left.
    fn there_and_back() -> Vec<u8> {
        let mut a = Asm::default();
        let load = a.label();
        let switch = Switch::emit(&mut a);
        a.bind(load);
        Switch::load(&mut a);
        let entry = a.code.len();
        a.push(RBP);
        a.store(Width::W64, RBP, RDI);
        a.call(load);
        a.store_imm(Width::W16, x87!(status), 0);
        a.store_imm(Width::W8, x87!(valid), 0);
        for n in 0..8 {
            for part in [0, 8] {
                let Mem { disp, .. } = register(part);
                a.store_imm(Width::W64, Mem::at(RBP, disp + 16 * n), 0);
            }
        }
        switch.put_back(&mut a);
        // FNSTENV.
        a.x87_memory(0xd9, 6, Mem::at(RSI, 0));
        a.pop(RBP);
        a.ret();
        // The entry comes first.
        let mut whole = Asm::default();
        let behind = whole.label();
        whole.jmp(behind);
        let start = whole.code.len();
        whole.bind_at(behind, (start + entry) as i32);
        whole.resolve();
        a.resolve();
        [whole.code, a.code].concat()
    }

    #[test]
    fn the_state_goes_to_the_host_and_comes_back() {
        let code = there_and_back();
        let mut memory = CodeMemory::new(Mapping::of_host(), 0x1000, 1).expect("there is memory");
        memory.write(0, &code).expect("it can be written");
        type Entry = unsafe extern "sysv64" fn(*mut u64, *mut [u32; 7]);
        // SAFETY: the code keeps that convention.
        let run = unsafe { std::mem::transmute::<usize, Entry>(memory.base()) };
        let mut seed = 1_u64;
        let mut draw = || {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            seed >> 20
        };
        for _ in 0..1000 {
            let mut x = X87 {
                control: (draw() as u16 & 0x1f00) | 0x7f,
                status: draw() as u16 & 0x7f7f,
                valid: draw() as u8,
                ..X87::default()
            };
            x.reg = std::array::from_fn(|_| (draw() << 20 ^ draw(), draw() as u16));
            // All that the code looks at, at its place in a core.
            let mut core = vec![0_u64; size_of::<Core>() / 8];
            let at = core.as_mut_ptr().wrapping_byte_add(offset_of!(Core, x87)).cast::<X87>();
            let mut left = [0; 7];
            // SAFETY: the place lies in the vector, which is as large as a core, and is aligned;
            // the code accesses nothing beyond the two.
            let after = unsafe {
                at.write(x);
                run(core.as_mut_ptr(), &raw mut left);
                at.read()
            };
            assert_eq!(after, x);
            let [control, status, tags, ..] = left.map(|word| word & 0xffff);
            assert_eq!([control, status, tags], [0x37f, 0, 0xffff]);
        }
    }
}
