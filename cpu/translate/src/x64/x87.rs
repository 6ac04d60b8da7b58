//! x87 instructions, which the host does as they are.
//!
//! The guest's register stack, status word and control word become the host's, and an instruction
//! is emitted with the opcode and the registers that it had. As for vector registers, code looks
//! before the first such instruction of a block whether the host has them
//! ([`trine_x86::Translated::x87`]), and loads them if not; whatever calls or leaves puts them back
//! into the core, after which the FPU is as the ABI wants it: empty, and with the control word that
//! FNINIT gives it. The guest's control word is right in the core all the time.
//!
//! Sources: SDM vol. 1, chapter 8; vol. 2, FXSAVE (64-bit mode, REX.W) and FXRSTOR; System V AMD64 ABI, section 3.2.

use std::mem::offset_of;

use iced_x86::Mnemonic;
use trine_x86::{Core, Insn, Seg, Segment, Segments, Width, X87};

use super::{
    asm::{Alu, Asm, Encoding, Gpr, Label, Mem, RAX, RCX, RDX, Rm, Shift, cc},
    emit::{Emitter, Stub},
    field, simd, translated,
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

/// Where FXSAVE's image has the control word, the status word, a bit for each register that is not
/// empty, MXCSR, and ST(0) to ST(7).
const CONTROL: usize = 0;
const STATUS: usize = 2;
const VALID: usize = 4;
const MXCSR: usize = 24;
const STACK: usize = 32;

/// The control word as the host's own code wants it.
const HOST_CONTROL: u16 = 0x37f;

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

/// A part of the image for FXSAVE and FXRSTOR, which lies where RDX says.
fn image(at: usize) -> Mem {
    Mem::at(RDX, at as i32)
}

/// What the shared code uses.
const USED: [Gpr; 3] = [RAX, RCX, RDX];

/// Code that gives the host's FPU the guest's state, and the core its own back.
pub(super) struct Switch {
    put_back: Label,
}

impl Switch {
    /// Emits what is shared: how the core gets it back. It keeps all general registers.
    pub(super) fn emit(a: &mut Asm) -> Self {
        let (put_back, host_control) = (a.label(), a.label());
        a.bind(host_control);
        a.code.extend(HOST_CONTROL.to_le_bytes());
        a.bind(put_back);
        USED.iter().for_each(|reg| a.push(*reg));
        a.load(Width::W64, RDX, translated!(fpu));
        a.fxsave();
        // EMMS, FLDCW.
        a.code.extend([0x0f, 0x77]);
        a.x87_memory(0xd9, 5, Rm::Rip(host_control));
        a.load(Width::W8, RAX, image(VALID));
        a.store(Width::W8, x87!(valid), RAX);
        a.load(Width::W16, RCX, image(STATUS));
        a.store(Width::W16, x87!(status), RCX);
        a.move_registers(true);
        USED.iter().rev().for_each(|reg| a.pop(*reg));
        a.store_imm(Width::W32, translated!(x87), IN_CORE);
        a.ret();
        Self { put_back }
    }

    /// Code to be called that loads it. It keeps all general registers, and the vector registers
    /// where they hold the guest's.
    pub(super) fn load(a: &mut Asm) {
        USED.iter().for_each(|reg| a.push(*reg));
        a.load(Width::W64, RDX, translated!(fpu));
        a.store_imm(Width::W32, image(MXCSR), simd::HOST_MXCSR.cast_signed());
        let free = a.label();
        a.alu_imm(Alu::Cmp, Width::W32, translated!(vectors), simd::IN_CORE.cast_signed());
        a.jcc(cc::E, free);
        a.fxsave();
        a.bind(free);
        a.load(Width::W16, RAX, x87!(control));
        a.store(Width::W16, image(CONTROL), RAX);
        a.load(Width::W8, RAX, x87!(valid));
        a.store(Width::W8, image(VALID), RAX);
        a.load(Width::W16, RCX, x87!(status));
        a.store(Width::W16, image(STATUS), RCX);
        a.move_registers(false);
        a.fxrstor();
        USED.iter().rev().for_each(|reg| a.pop(*reg));
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

    /// The x87 instruction that it was for the guest, with its memory operand at `memory`.
    fn x87(&mut self, insn: &Insn, memory: Option<Mem>) {
        // The decoder leaves the opcode there as FOP has it.
        let (opcode, modrm) = (0xd8 | (insn.imm >> 8) as u8 & 7, insn.imm as u8);
        match memory {
            Some(at) => self.x87_memory(opcode, modrm >> 3 & 7, at),
            None => self.code.extend([opcode, modrm]),
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

    /// FXSAVE64 of the image.
    fn fxsave(&mut self) {
        self.fx(0);
    }

    /// FXRSTOR64 of the image.
    fn fxrstor(&mut self) {
        self.fx(1);
    }

    fn fx(&mut self, reg: u8) {
        let e = Encoding { prefix: None, wide: true, rex: false, opcode: &[0x0f, 0xae] };
        self.encode(e, reg, image(0).into(), 0);
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
                let stack = image(STACK + 16 * n + in_image);
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
        let place = at.map(|at| self.reach(shape.bytes.into(), at, shape.store, false));
        self.load_x87();
        if let Some(condition) = condition {
            let reg = self.clean_reg(condition);
            self.noisy().test(Width::W32, reg, reg);
            self.quiet().fcmovne(insn.ops[1]);
        } else if shape.compares {
            self.claim(RAX);
            self.noisy().x87(&insn, place);
            self.compared(n);
        } else {
            self.quiet().x87(&insn, place);
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
            match self.region.is_long() {
                true => {
                    let reg = self.temp();
                    self.load_ip(reg, ip);
                    self.quiet().store(Width::W64, x87!(ip), reg);
                    self.unlock(reg);
                }
                false => self.remember_operand(x87!(ip), Src::Imm(ip)),
            }
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
    use trine_x86::{CpuModel, Decoded, Decoder, Mode, Translated};

    use super::*;
    use crate::{
        memory::{CodeMemory, Way as Mapping},
        x64::asm::{RBP, RDI, RSI},
        x87::{Room, Way},
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
            asm.x87(&insn, insn.has_memory().then(Emitter::found));
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

    /// Code with the arguments RDI, a core, and RSI, room for what it leaves: loads the state, makes
    /// the core forget it, puts it back, and stores the environment and, at 32, what was RSI and
    /// has been in XMM5 meanwhile.
    fn there_and_back() -> Vec<u8> {
        let mut a = Asm::default();
        let load = a.label();
        let switch = Switch::emit(&mut a);
        a.bind(load);
        Switch::load(&mut a);
        let entry = a.code.len();
        a.push(RBP);
        a.store(Width::W64, RBP, RDI);
        // MOVQ XMM5, RSI.
        a.code.extend([0x66, 0x48, 0x0f, 0x6e, 0xee]);
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
        // MOVQ [RSI + 32], XMM5.
        a.code.extend([0x66, 0x0f, 0xd6, 0x6e, 0x20]);
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
        type Entry = unsafe extern "sysv64" fn(*mut u128, *mut [u32; 10]);
        // SAFETY: the code keeps that convention.
        let run = unsafe { std::mem::transmute::<usize, Entry>(memory.base()) };
        let mut seed = 1_u64;
        let mut draw = || {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            seed >> 20
        };
        for n in 0..1000 {
            let mut x = X87 {
                control: (draw() as u16 & 0x1f00) | 0x7f,
                status: draw() as u16 & 0x7f7f,
                valid: draw() as u8,
                ..X87::default()
            };
            x.reg = std::array::from_fn(|_| (draw() << 20 ^ draw(), draw() as u16));
            // All that the code looks at, at its place in a core.
            let mut core = vec![0_u128; size_of::<Core>() / size_of::<u128>()];
            let at = core.as_mut_ptr().wrapping_byte_add(offset_of!(Core, x87)).cast::<X87>();
            let translated = core.as_mut_ptr().wrapping_byte_add(offset_of!(Core, translated));
            let translated = translated.cast::<Translated>();
            let (mut left, mut room) = ([0; 10], Room::default());
            // SAFETY: the places lie in the vector, which is as large as a core, and are aligned;
            // the code accesses nothing beyond the two.
            let after = unsafe {
                at.write(x);
                (*translated).vectors = n % 2;
                (*translated).fpu = (&raw mut room).addr() as u64;
                run(core.as_mut_ptr(), &raw mut left);
                at.read()
            };
            assert_eq!(after, x);
            let [control, _, tags, ..] = left.map(|word| word & 0xffff);
            assert_eq!([control, tags], [0x37f, 0xffff]);
            let kept = u64::from(left[8]) | u64::from(left[9]) << 32;
            assert!(n % 2 == 0 || kept == (&raw const left).addr() as u64, "XMM5 is lost");
        }
    }
}
