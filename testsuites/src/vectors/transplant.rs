//! An instruction out of a running guest, moved onto a vector's stage.
//!
//! It takes its operands along. Memory operands are moved into the vector's own memory, by changing
//! the register or the displacement that leads to them; each keeps its offset in its page, and what
//! no page is there stays a page that is not present. What the instruction does on the stage need
//! not be what it did in the guest, so it is run there, and the line says what came out.

use iced_x86::{
    ConstantOffsets, CpuidFeature, Decoder, DecoderOptions, Instruction, InstructionInfoFactory,
    Register, UsedMemory,
};
use trine_engine::{Budget, CpuModel, CpuState};
use trine_guest::Gpa;
use trine_x86::{cr0, efer, rflags, vector};

use super::{
    Stage,
    stage::{self, CODE},
    text::{Fault, GPR_NAMES, Mode, OWN, SEG_NAMES, Setting, Vector},
};
use crate::Candidate;

/// Pages of the stage to which operands are moved, each with one behind it.
const SLOTS: [u64; 4] = [0x2000, 0xa000, 0xc000, 0xe000];
/// The same for what the stack pointer leads to.
const STACK: u64 = 0x8000;
/// A page that is not present, in the modes that are paged.
const ABSENT: u64 = 0x5000;
const PAGE: u64 = 0x1000;
const RCX: usize = 1;

/// A CPU before an instruction, and what it sees of memory.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The CPU.
    pub state: &'a CpuState,
    /// The byte at a linear address; `None` where no page is.
    pub peek: &'a dyn Fn(u64) -> Option<u8>,
}

impl Scene<'_> {
    /// The instruction at RIP with its bytes, if it lies in memory and is one.
    #[must_use]
    pub fn instruction(&self) -> Option<(Instruction, Vec<u8>)> {
        self.decode().map(|(insn, bytes, _)| (insn, bytes))
    }

    fn decode(&self) -> Option<(Instruction, Vec<u8>, ConstantOffsets)> {
        let (_, bits) = self.mode();
        let at = self.state.segments.seg[1].base.wrapping_add(self.state.rip);
        let mask = if bits == 64 { u64::MAX } else { u64::from(u32::MAX) };
        let mut bytes: Vec<u8> =
            (0..15).map_while(|n| (self.peek)(at.wrapping_add(n) & mask)).collect();
        let mut decoder = Decoder::with_ip(bits, &bytes, self.state.rip, DecoderOptions::NONE);
        let insn = decoder.decode();
        let offsets = decoder.get_constant_offsets(&insn);
        bytes.truncate(insn.len());
        (!insn.is_invalid()).then_some((insn, bytes, offsets))
    }

    /// The vector's mode, and the bits of code.
    fn mode(&self) -> (Mode, u32) {
        let s = self.state;
        let (code, user) = (&s.segments.seg[1], s.segments.seg[2].rights >> 5 & 3 == 3);
        match () {
            () if s.control.cr0 & cr0::PE == 0 => (Mode::Real, 16),
            () if s.rflags & rflags::VM != 0 => (Mode::V86, 16),
            () if s.control.efer & efer::LMA != 0 && code.rights >> 13 & 1 != 0 => {
                (Mode::Long { user }, 64)
            }
            () if code.rights >> 14 & 1 != 0 => (Mode::Prot32 { user }, 32),
            () => (Mode::Prot16 { user }, 16),
        }
    }

    /// The instruction as a vector without a right side, see [`record`].
    ///
    /// # Errors
    /// If it does not fit: one line.
    pub fn transplant(&self) -> Result<Vector, String> {
        let (insn, code, offsets) =
            self.decode().ok_or("there is no instruction at RIP that could be read")?;
        let (mode, bits) = self.mode();
        let mut moved = Moved {
            scene: *self,
            paged: matches!(mode, Mode::Long { .. } | Mode::Prot32 { user: true }),
            insn,
            code,
            offsets,
            gpr: self.state.gpr,
            by: [None; 16],
            pages: Vec::new(),
            memory: Vec::new(),
        };
        let mut factory = InstructionInfoFactory::new();
        let used = factory.info(&insn);
        if insn.has_rep_prefix() || insn.has_repne_prefix() {
            moved.gpr[RCX] = moved.gpr[RCX].min(1);
        }
        for memory in used.used_memory() {
            moved.take(memory)?;
        }
        let mut registers: Vec<Register> =
            used.used_registers().iter().map(|u| u.register()).collect();
        registers.extend((0..16).filter(|n| moved.by[*n].is_some()).map(general));
        let mut before = moved.registers(&registers, bits);
        before.append(&mut moved.memory);
        Ok(Vector {
            mode,
            code: moved.code,
            text: insn.to_string(),
            before,
            after: Vec::new(),
            fault: None,
        })
    }
}

fn general(n: usize) -> Register {
    Register::RAX + n as u32
}

/// A general register's number, or that of the whole of which it is a part.
fn number(register: Register) -> Option<usize> {
    register.is_gpr().then(|| register.full_register() as usize - Register::RAX as usize)
}

/// An instruction that is being moved.
struct Moved<'a> {
    scene: Scene<'a>,
    paged: bool,
    insn: Instruction,
    code: Vec<u8>,
    offsets: ConstantOffsets,
    gpr: [u64; 16],
    /// By how much registers were changed.
    by: [Option<u64>; 16],
    /// Linear pages, and the pages of the stage to which they went.
    pages: Vec<(u64, u64)>,
    memory: Vec<Setting>,
}

impl Moved<'_> {
    /// Moves an operand.
    fn take(&mut self, memory: &UsedMemory) -> Result<(), String> {
        let state = self.scene.state;
        let value = |register: Register, _: usize, _: usize| match number(register) {
            Some(n) => {
                let bits = 8 * register.size() as u32;
                Some(state.gpr[n] & u64::MAX >> (64 - bits))
            }
            None => register.is_segment_register().then_some(0),
        };
        let offset = memory
            .virtual_address(0, value)
            .ok_or("its operand's address does not come from general registers")?;
        let segment = SEG_REGISTERS.iter().position(|s| *s == memory.segment());
        let base = segment.map_or(0, |n| state.segments.seg[n].base);
        let linear = base.wrapping_add(offset);
        let size = memory.memory_size().size().max(1) as u64;
        let target = self.target(linear, size, memory.base())?;
        self.lead(memory, target.wrapping_sub(offset), target)?;
        let bytes: Vec<u8> =
            (0..size).map_while(|n| (self.scene.peek)(linear.wrapping_add(n))).collect();
        if bytes.iter().any(|byte| *byte != 0) {
            self.memory.push(Setting::Memory(target, bytes));
        }
        Ok(())
    }

    /// Where on the stage a linear address goes.
    fn target(&mut self, linear: u64, size: u64, base: Register) -> Result<u64, String> {
        let within = linear % PAGE;
        if (self.scene.peek)(linear).is_none() {
            let absent = ABSENT + within;
            return self.paged.then_some(absent).ok_or_else(|| "its operand is no memory".into());
        }
        let known = self.pages.iter().find(|(page, _)| linear.wrapping_sub(*page) < 2 * PAGE);
        let target = match known {
            Some((page, slot)) => slot + linear.wrapping_sub(*page),
            None => {
                let slot = match number(base) {
                    Some(4) => STACK,
                    _ => *SLOTS.get(self.pages.len()).ok_or("it has too many operands")?,
                };
                self.pages.push((linear - within, slot));
                slot + within
            }
        };
        let end = target / (2 * PAGE) * (2 * PAGE) + 2 * PAGE;
        if target + size > end {
            return Err("its operand is too long".into());
        }
        Ok(target)
    }

    /// Changes what leads to an operand by `by`, so that it is found at `target`.
    fn lead(&mut self, memory: &UsedMemory, by: u64, target: u64) -> Result<(), String> {
        let plain = |register: Register, scale: u32| number(register).filter(|_| scale == 1);
        let leader = plain(memory.base(), 1).or_else(|| plain(memory.index(), memory.scale()));
        if let Some(n) = leader {
            if self.by[n].is_some_and(|before| before != by) {
                return Err("one register leads to operands that go to different places".into());
            }
            self.by[n] = Some(by);
            self.gpr[n] = self.scene.state.gpr[n].wrapping_add(by);
            return Ok(());
        }
        let end = CODE + self.code.len() as u64;
        let place = match self.insn.is_ip_rel_memory_operand() {
            true => target.wrapping_sub(end),
            false => {
                let now = self.insn.memory_displacement64();
                now.wrapping_add(by)
            }
        };
        let (at, size) = (self.offsets.displacement_offset(), self.offsets.displacement_size());
        let bytes = place.to_le_bytes();
        match self.code.get_mut(at..at + size).filter(|_| size >= 2) {
            Some(displacement) => displacement.copy_from_slice(&bytes[..size]),
            None => return Err("nothing that could be changed leads to its operand".into()),
        }
        Ok(())
    }

    /// What the instruction uses, where it is not what a stage begins with.
    fn registers(&self, used: &[Register], bits: u32) -> Vec<Setting> {
        let state = self.scene.state;
        let mut out = Vec::new();
        let mut put = |name: &str, value: u128, initial: u128| {
            if value != initial {
                out.push(Setting::Register(name.to_owned(), value));
            }
        };
        for (n, name) in GPR_NAMES.iter().enumerate() {
            if used.iter().any(|register| number(*register) == Some(n)) {
                let value = if bits == 64 { self.gpr[n] } else { self.gpr[n] & 0xffff_ffff };
                put(name, value.into(), if n == 4 { 0x8000 } else { 0 });
            }
        }
        let kept = rflags::ARITHMETIC | rflags::DF | rflags::FIXED;
        let flags = state.rflags & kept;
        match flags & rflags::DF {
            0 => put("flags", u128::from(flags & rflags::ARITHMETIC), 0),
            _ => put("rflags", flags.into(), 0),
        }
        let features = self.insn.cpuid_features();
        let x87 =
            [CpuidFeature::FPU, CpuidFeature::FPU287, CpuidFeature::FPU387, CpuidFeature::MMX];
        if x87.iter().any(|feature| features.contains(feature)) {
            put("fcw", state.x87.control.into(), 0x37f);
            put("fsw", state.x87.status.into(), 0);
            let top = usize::from(state.x87.status >> 11 & 7);
            for n in 0..8 {
                let (significand, rest) = state.x87.reg[(n + top) % 8];
                put(&format!("st{n}"), u128::from(rest) << 64 | u128::from(significand), 0);
            }
            put("ftw", state.x87.valid.into(), 0x100);
        }
        let vectors: Vec<usize> = used.iter().filter_map(|r| vector_number(*r)).collect();
        if !vectors.is_empty() {
            put("mxcsr", state.simd.mxcsr.into(), 0x1f80);
        }
        for (n, value) in state.simd.ymm.iter().enumerate() {
            if vectors.contains(&n) && *value != [0; 4] {
                out.push(Setting::Ymm(n, *value));
            }
        }
        out
    }
}

const SEG_REGISTERS: [Register; 6] =
    [Register::ES, Register::CS, Register::SS, Register::DS, Register::FS, Register::GS];

fn vector_number(register: Register) -> Option<usize> {
    let is_vector = register.is_xmm() || register.is_ymm();
    is_vector.then(|| register.number()).filter(|n| *n < 16)
}

/// Runs `vector` on an engine, and makes what comes out its right side.
///
/// # Errors
/// If the engine fails, or what came out is more than a line can say.
pub fn record(vector: &mut Vector, model: &CpuModel, candidate: &Candidate) -> Result<(), String> {
    let stage = Stage::new(vector);
    let engine = candidate.engine(stage.ram.clone()).map_err(|e| e.to_string())?;
    let bus = std::sync::Arc::new(trine_engine::NoBus::default());
    let mut vcpu = engine.create_vcpu(0, model, bus).map_err(|e| e.to_string())?;
    let before = stage.state(vector, model);
    vcpu.set_state(&before).map_err(|e| e.to_string())?;
    let exit =
        vcpu.run(Budget::Instructions(std::num::NonZeroU64::MIN)).map_err(|e| e.to_string())?;
    if let trine_engine::Exit::TripleFault(fault) = exit {
        return Err(fault.to_string());
    }
    let after = vcpu.state().map_err(|e| e.to_string())?;
    vector.after.clear();
    vector.fault = stage.fault(vector, &after);
    if vector.fault.is_none() {
        vector.after = changes(&before, &after, CODE + vector.code.len() as u64);
        vector.after.extend(stores(&stage));
    }
    // Once more, as whoever reads the line will do it.
    super::run(vector, model, candidate)
}

/// The registers that have changed, but RIP if it is `behind`.
fn changes(before: &CpuState, after: &CpuState, behind: u64) -> Vec<Setting> {
    let mut out = Vec::new();
    let mut put = |name: &str, before: u64, after: u64| {
        if before != after {
            out.push(Setting::Register(name.to_owned(), after.into()));
        }
    };
    put("rip", behind, after.rip);
    for (n, name) in GPR_NAMES.iter().enumerate() {
        put(name, before.gpr[n], after.gpr[n]);
    }
    let others = !rflags::ARITHMETIC;
    match before.rflags & others == after.rflags & others {
        true => put("flags", before.rflags & !others, after.rflags & !others),
        false => put("rflags", before.rflags, after.rflags),
    }
    for (n, name) in SEG_NAMES.iter().enumerate() {
        let selector = |state: &CpuState| u64::from(state.segments.seg[n].selector);
        put(name, selector(before), selector(after));
    }
    let control = |s: &CpuState| [s.control.cr0, s.control.cr2, s.control.cr3, s.control.cr4];
    for (n, name) in ["cr0", "cr2", "cr3", "cr4"].into_iter().enumerate() {
        put(name, control(before)[n], control(after)[n]);
    }
    put("mxcsr", before.simd.mxcsr.into(), after.simd.mxcsr.into());
    put("fcw", before.x87.control.into(), after.x87.control.into());
    put("fsw", before.x87.status.into(), after.x87.status.into());
    let top = usize::from(after.x87.status >> 11 & 7);
    for n in 0..8 {
        let (was, now) = (before.x87.reg[(n + top) % 8], after.x87.reg[(n + top) % 8]);
        if was != now {
            let value = u128::from(now.1) << 64 | u128::from(now.0);
            out.push(Setting::Register(format!("st{n}"), value));
        }
    }
    // A register that is named counts as valid.
    if before.x87.reg != after.x87.reg || before.x87.valid != after.x87.valid {
        out.push(Setting::Register("ftw".to_owned(), after.x87.valid.into()));
    }
    for n in (0..16).filter(|n| before.simd.ymm[*n] != after.simd.ymm[*n]) {
        out.push(Setting::Ymm(n, after.simd.ymm[n]));
    }
    out
}

/// What was stored, as runs of bytes.
fn stores(stage: &Stage) -> Vec<Setting> {
    let mut now = vec![0; OWN];
    let mut out: Vec<Setting> = Vec::new();
    if stage.ram.read(Gpa(0), &mut now).is_err() {
        return out;
    }
    for (at, (was, now)) in stage.own().iter().zip(&now).enumerate().filter(|(_, (w, n))| w != n) {
        debug_assert_ne!(was, now);
        match out.last_mut() {
            Some(Setting::Memory(start, bytes)) if *start + bytes.len() as u64 == at as u64 => {
                bytes.push(*now);
            }
            _ => out.push(Setting::Memory(at as u64, vec![*now])),
        }
    }
    out
}

impl Stage {
    /// The exception in whose handler a CPU is.
    fn fault(&self, v: &Vector, after: &CpuState) -> Option<Fault> {
        let vector = stage::raised(v, after)?;
        let code = self.error_code(v, vector, after);
        let address = (vector == vector::PF).then_some(after.control.cr2);
        Some(Fault { vector, code, address })
    }
}
