//! Legacy vector instructions on XMM registers, by the host's of the same effect.
//!
//! Guest register XMM*n* is the host's V*(16 + n)*: none of those must be kept for our caller. V0 to
//! V3 are for what an instruction needs on its way. Like an operating system that switches the FPU
//! lazily, code looks before the first vector instruction of a block whether the host's registers
//! hold the guest's ([`trine_x86::Translated::vectors`]), and loads them if not; whatever calls or
//! leaves puts them back into the core.
//!
//! What instructions are made of is in tables: for each mnemonic how the result follows from
//! operands that are in registers. What no table has is the interpreter's. Integers are exact by
//! nature; of numbers `float` says why they are, and `run` how that is found out.
//!
//! Source: Procedure Call Standard for the Arm 64-bit Architecture (AAPCS64), 6.1.2.

mod arrange;
mod float;
mod integer;
mod moves;
mod run;

use std::mem::offset_of;

use iced_x86::{EncodingKind, OpCodeOperandKind as K};
use trine_x86::{Core, Insn, Simd, Width};

use super::{
    CORE, RAM, T0, T1, add_far,
    asm::{
        Address, Asm, Barrier, LR, Label, Lane, LogicalImm, Reg, Size, SystemRegister, VReg, VSize,
        X8, X9, ZR,
    },
    emit::{Emitter, Stub},
    far_bl, load as load_word, spill, translated,
};
use float::Number;
pub(super) use float::Redo;
pub(super) use run::Run;

use crate::{
    ir::{Block, Op, Step, Val},
    simd::{self, Shape},
};

/// [`trine_x86::Translated::vectors`]: they are in the core, ...
pub(super) const IN_CORE: u32 = 0;
/// ... the host has XMM0 to XMM15, ...
const REGISTERS: u32 = 1;
/// ... or it has MXCSR as well: FPCR says how to round, and FPSR what was inexact.
const NUMBERS: u32 = 2;

/// What the host's registers can be asked to hold: see [`crate::code::Runtime::vectors`].
pub(super) const LEVELS: [u32; 2] = [REGISTERS, NUMBERS];

/// FPCR.FZ: operands and results that are denormal become zero, and FPSR says so.
const FPCR_FZ: u64 = 1 << 24;
/// Where FPCR.RMode begins.
const FPCR_RMODE: u32 = 22;
/// FPSR.IXC, which is MXCSR.PE: what makes results inexact.
const FPSR_IXC: u32 = 4;
const MXCSR_PE: u64 = 1 << 5;

/// The word of [`trine_x86::Translated::spill`] with FPSR as it was when it was last looked at.
const FPSR_SPILL: u8 = 27;

/// The host register of a guest register.
const fn xmm(n: u8) -> VReg {
    VReg::new(16 + (n & 15))
}

/// What came from memory, with zeros above.
const MEMORY: VReg = VReg::new(0);
/// For what an instruction needs on its way.
const V: [VReg; 3] = [VReg::new(1), VReg::new(2), VReg::new(3)];

/// Where [`Simd::ymm`] lies behind [`CORE`].
const YMM: u64 = (offset_of!(Core, simd) + offset_of!(Simd, ymm) - offset_of!(Core, regs)) as u64;

/// MXCSR in the core, whose [`Simd::ymm`] are at `base`.
fn mxcsr(base: Reg) -> Address {
    Address::offset(base, offset_of!(Simd, mxcsr) as i32 - offset_of!(Simd, ymm) as i32)
}

/// XMM*n* in the core, whose [`Simd::ymm`] are at `base`.
fn place(base: Reg, n: u8) -> Address {
    Address::offset(base, 32 * i32::from(n))
}

/// Code that gives the core back what the host's registers hold.
pub(super) struct Switch {
    put_back: Label,
}

impl Switch {
    /// Emits what is shared. It uses X8, which says what they hold, and X9 up.
    pub(super) fn emit(a: &mut Asm) -> Self {
        let put_back = a.bound();
        let (registers, exact) = (a.label(), a.label());
        add_far(a, X9, CORE, YMM);
        a.tbz(X8, NUMBERS.trailing_zeros(), registers);
        a.mrs(X8, SystemRegister::Fpsr);
        a.tbz(X8, FPSR_IXC, exact);
        a.ldr(Size::W, X8, mxcsr(X9));
        a.orr_imm(Size::W, X8, X8, LogicalImm::new(Size::W, MXCSR_PE).expect("one bit"));
        a.str(Size::W, X8, mxcsr(X9));
        a.bind(exact);
        // As the host's own code wants it.
        a.msr(SystemRegister::Fpcr, ZR);
        a.bind(registers);
        (0..16).for_each(|n| a.str_v(VSize::Q, xmm(n), place(X9, n)));
        a.str(Size::W, ZR, translated!(vectors));
        a.ret(LR);
        Self { put_back }
    }

    /// Gives the core back what the host's registers hold, if they do. It uses X8, X9 and X30 up.
    pub(super) fn put_back(&self, a: &mut Asm) {
        let not = a.label();
        a.ldr(Size::W, X8, translated!(vectors));
        a.cbz(Size::W, X8, not);
        a.bl(self.put_back);
        a.bind(not);
    }
}

/// Code to be called that loads them. It uses X16 and X17 up, and keeps the flags.
pub(super) fn load(a: &mut Asm, wanted: u32) {
    let loaded = a.label();
    add_far(a, T0, CORE, YMM);
    a.ldr(Size::W, T1, translated!(vectors));
    a.cbnz(Size::W, T1, loaded);
    (0..16).for_each(|n| a.ldr_v(VSize::Q, xmm(n), place(T0, n)));
    a.bind(loaded);
    if wanted == NUMBERS {
        // RC is RMode with its two bits exchanged.
        a.ldr(Size::W, T1, mxcsr(T0));
        a.rbit(Size::W, T1, T1);
        a.ubfx(Size::W, T1, T1, 31 - 14, 2);
        a.lsl_imm(Size::W, T1, T1, FPCR_RMODE);
        a.orr_imm(Size::W, T1, T1, LogicalImm::new(Size::W, FPCR_FZ).expect("one bit"));
        a.msr(SystemRegister::Fpcr, T1);
        a.msr(SystemRegister::Fpsr, ZR);
        a.str(Size::W, ZR, spill(FPSR_SPILL));
    }
    a.mov_imm(Size::W, T0, u64::from(wanted));
    a.str(Size::W, T0, translated!(vectors));
    a.ret(LR);
}

/// The operands of an instruction.
#[derive(Clone, Copy)]
struct Operands {
    /// The destination, which mostly is the first source, too.
    d: VReg,
    /// The other source.
    s: VReg,
    /// The immediate, or 0.
    imm: u8,
    /// How much of a general register there is, if there is one.
    size: Size,
}

/// How an instruction is done.
#[derive(Clone, Copy)]
enum Way {
    /// Memory to all of a register, with zeros above.
    Load,
    /// The low part of a register to memory.
    Store,
    /// The high half of a register to memory.
    StoreHigh,
    /// From and to vector registers.
    Vector(fn(&mut Asm, Operands)),
    /// A word that is in a general register, or in memory, to a vector register.
    From(fn(&mut Asm, Operands, Reg)),
    /// A vector register to a general one, zero-extended. It may use X17 up.
    To(fn(&mut Asm, Reg, Operands)),
    /// A word of a vector register to memory, by a general register.
    ToMemory(fn(&mut Asm, Reg, Operands)),
    /// Two vector registers to what LAHF would load.
    Test(fn(&mut Asm, Reg, Operands)),
    /// On numbers, with a look at FPSR.
    Number(Number),
}

impl Way {
    /// How `insn` is done, and what the host's registers have to hold for it; `None` if it is the
    /// interpreter's.
    fn of(insn: &Insn) -> Option<(Self, u32)> {
        let code = insn.code.op_code();
        if code.encoding() != EncodingKind::Legacy || !simd::is_vector(insn.code) {
            return None;
        }
        let way = moves::way(insn).or_else(|| arrange::way(insn)).or_else(|| integer::way(insn));
        match way {
            Some(way) => Some((way, REGISTERS)),
            None => Some((float::way(insn)?, NUMBERS)),
        }
    }
}

/// Whether the host does an instruction.
pub(super) fn is_lowered(insn: &Insn) -> bool {
    Way::of(insn).is_some()
}

/// The operands of an instruction, of which memory has been loaded.
fn operands(insn: &Insn) -> Operands {
    let mut found = Operands { d: MEMORY, s: MEMORY, imm: 0, size: Size::W };
    for (n, kind) in insn.code.op_code().op_kinds().iter().enumerate() {
        let is_vector = matches!(kind, K::xmm_reg | K::xmm_rm | K::xmm_or_mem);
        match n {
            0 if is_vector && !insn.is_memory(0) => found.d = xmm(insn.ops[0]),
            1 if is_vector && !insn.is_memory(1) => found.s = xmm(insn.ops[1]),
            _ if *kind == K::imm8 => found.imm = insn.imm as u8,
            _ if matches!(kind, K::r64_reg | K::r64_or_mem) => found.size = Size::X,
            _ => {}
        }
    }
    found
}

/// The part of a register with so many bytes.
fn part(bytes: u8) -> VSize {
    [VSize::B, VSize::H, VSize::S, VSize::D, VSize::Q][bytes.trailing_zeros() as usize % 5]
}

/// The width of so many bytes, up to 8.
fn width(bytes: u8) -> Width {
    [Width::W8, Width::W16, Width::W32, Width::W64][bytes.trailing_zeros() as usize % 4]
}

impl Emitter<'_> {
    /// At the start of a block: all that its instructions will want.
    pub(super) fn load_vectors_of(&mut self, block: &Block) {
        self.vectors = IN_CORE;
        let region = self.region;
        let steps = &region.steps[block.steps.clone()];
        let are = |step: &&Step| {
            region.ops[step.ops.clone()].iter().any(|op| matches!(op, Op::Vector(..)))
        };
        let wanted = steps.iter().filter(are).filter_map(|step| Way::of(&step.insn));
        self.load_vectors(wanted.map(|(_, wanted)| wanted).max().unwrap_or(IN_CORE));
    }

    fn load_vectors(&mut self, wanted: u32) {
        if self.vectors >= wanted {
            return;
        }
        let (label, back) = (self.asm.label(), self.asm.label());
        let a = self.quiet();
        a.ldr(Size::W, T0, translated!(vectors));
        match wanted {
            NUMBERS => a.tbz(T0, NUMBERS.trailing_zeros(), label),
            _ => a.cbz(Size::W, T0, label),
        }
        a.bind(back);
        self.stubs.push(Stub::Vectors { label, back, wanted });
        self.vectors = wanted;
    }

    /// In a stub: loads them.
    pub(super) fn call_vectors(&mut self, wanted: u32) {
        if wanted != IN_CORE {
            let to = self.place.runtime.vectors[wanted as usize - 1];
            far_bl(&mut self.asm, self.place.code, to);
        }
    }

    /// [`Op::Vector`].
    pub(super) fn vector(&mut self, n: usize, shape: Shape, at: Option<Val>, general: Option<Val>) {
        let insn = self.region.steps[self.step].insn;
        let Some((way, wanted)) = Way::of(&insn) else {
            unreachable!("it was lifted because there is one")
        };
        self.load_vectors(wanted);
        let operands = operands(&insn);
        if let Some(at) = at {
            self.reach(u64::from(shape.bytes), at, shape.store, shape.aligned);
        }
        let memory = Address::index(RAM, T0);
        match way {
            Way::Load => {
                self.run_on(&insn, way, wanted);
                self.load_vector(shape, operands.d);
            }
            Way::Store => {
                self.quiet().dmb(Barrier::IshSt);
                self.quiet().str_v(part(shape.bytes), operands.s, memory);
            }
            Way::StoreHigh => {
                self.quiet().dup_lane(true, V[0], operands.s, Lane::D(1));
                self.quiet().dmb(Barrier::IshSt);
                self.quiet().str_v(VSize::D, V[0], memory);
            }
            Way::Vector(put) => {
                if at.is_some() {
                    self.load_vector(shape, operands.s);
                }
                self.run_on(&insn, way, wanted);
                put(self.quiet(), operands);
            }
            Way::From(put) => {
                let from = self.word(shape, general);
                self.run_on(&insn, way, wanted);
                put(self.quiet(), operands, from);
            }
            Way::To(put) => {
                let to = self.result(n, Width::W64);
                put(self.quiet(), to, operands);
                self.defined(n, to, Width::W64, true);
            }
            Way::ToMemory(put) => {
                let word = self.temp();
                put(self.quiet(), word, operands);
                self.quiet().dmb(Barrier::IshSt);
                super::store(self.quiet(), width(shape.bytes), word, memory);
            }
            Way::Test(put) => {
                if at.is_some() {
                    self.load_vector(shape, operands.s);
                }
                let to = self.temp();
                put(self.noisy(), to, operands);
                self.defined(n, to, Width::W8, true);
            }
            Way::Number(number) => {
                if at.is_some() {
                    self.load_vector(shape, operands.s);
                }
                if number.is_vector() {
                    self.run_on(&insn, way, wanted);
                }
                self.number(n, number, operands);
            }
        }
    }

    /// The word that an instruction reads: of a general register, or what [`Self::reach`] found.
    fn word(&mut self, shape: Shape, general: Option<Val>) -> Reg {
        if let (Some(v), Some((w, _))) = (general, shape.reads) {
            return self.any_reg(v, w);
        }
        load_word(self.quiet(), width(shape.bytes), T0, Address::index(RAM, T0));
        self.quiet().dmb(Barrier::IshLd);
        T0
    }

    /// What [`Self::reach`] found.
    fn load_vector(&mut self, shape: Shape, to: VReg) {
        self.quiet().ldr_v(part(shape.bytes), to, Address::index(RAM, T0));
        self.quiet().dmb(Barrier::IshLd);
    }
}
