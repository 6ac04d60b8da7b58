//! What a test runs on: RAM, a CPU in real mode, and a bus on which nothing answers. All three are
//! kept for a whole group; after a test, RAM is zero again.

use std::{num::NonZeroU64, sync::Arc};

use trine_engine::{Budget, CpuModel, CpuState, Exit, NoBus, Vcpu};
use trine_guest::{Gpa, Ram};
use trine_x86::{cr0, rflags};

use super::{
    case::{BP, BX, CS, CX, DI, DS, DX, ES, FLAGS, IP, SI, SP, SS},
    case::{Ending, Expectation},
};
use crate::Candidate;

const PAGE: usize = 0x1000;
/// Steps that one repeated string instruction may take: its count is at most 127 in these sets.
const STEPS: usize = 1000;
/// The place of each of a test's registers among CPUState's: AX, BX, CX, DX, …, SP, BP, SI, DI.
const GPR: [(usize, usize); 8] =
    [(0, 0), (BX, 3), (CX, 1), (DX, 2), (SP, 4), (BP, 5), (SI, 6), (DI, 7)];
const SEG: [(usize, usize); 4] = [(ES, 0), (CS, 1), (SS, 2), (DS, 3)];
/// Names in the order of the tests' own bit mask.
const NAMES: [&str; 14] =
    ["ax", "bx", "cx", "dx", "cs", "ss", "ds", "es", "sp", "bp", "si", "di", "ip", "flags"];

/// What a test runs on.
pub struct Stage {
    ram: Arc<Ram>,
    vcpu: Box<dyn Vcpu>,
    model: CpuModel,
}

impl Stage {
    /// With so much RAM; `a20_masked` makes addresses wrap at 1 MiB.
    ///
    /// # Errors
    /// If the host lacks the memory, or the engine cannot be made or does not count instructions.
    pub fn new(candidate: &Candidate, ram_bytes: u64, a20_masked: bool) -> Result<Self, String> {
        let ram = Arc::new(Ram::flat(ram_bytes).map_err(|e| e.to_string())?);
        let model = CpuModel::named("pentium").map_err(|e| e.to_string())?;
        let engine = candidate.engine(ram.clone()).map_err(|e| e.to_string())?;
        if !engine.limits().counts_instructions {
            return Err(format!("{} cannot stop after one instruction", candidate.name));
        }
        let bus = Arc::new(NoBus { a20_masked });
        let vcpu = engine.create_vcpu(0, &model, bus).map_err(|e| e.to_string())?;
        Ok(Self { ram, vcpu, model })
    }

    /// Runs a test, holds the outcome against `want`, and leaves RAM zero.
    ///
    /// # Errors
    /// With what differs; the outer error if the host fails.
    pub fn run(
        &mut self,
        regs: &[u16; 14],
        ram: &[(u32, u8)],
        want: &Expectation,
    ) -> Result<Result<(), String>, String> {
        for (at, byte) in ram.iter().chain(&want.patch) {
            let at = Gpa(u64::from(*at) % self.ram.len());
            self.ram.write(at, &[*byte]).map_err(|e| e.to_string())?;
        }
        let before = self.state(regs);
        self.vcpu.set_state(&before).map_err(|e| e.to_string())?;
        let outcome = self.execute(&before, want)?;
        let after = self.vcpu.state().map_err(|e| e.to_string())?;
        let mut differences: Vec<String> = outcome.err().into_iter().collect();
        if want.ending != Ending::Shutdown {
            registers(&before, &after, want, &mut differences);
        }
        for page in self.ram.take_dirty() {
            self.memory(page, ram, want, &mut differences)?;
        }
        differences.truncate(24);
        // What the clearing has marked.
        self.ram.take_dirty();
        Ok(if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) })
    }

    fn state(&self, regs: &[u16; 14]) -> CpuState {
        let mut s = CpuState::reset(&self.model, 0);
        // Neither set has a coprocessor.
        s.control.cr0 = cr0::ET | cr0::EM;
        s.gpr = [0; 16];
        for (from, to) in GPR {
            s.gpr[to] = regs[from].into();
        }
        for (from, to) in SEG {
            s.segments.seg[to].selector = regs[from];
            s.segments.seg[to].base = u64::from(regs[from]) << 4;
        }
        s.rip = regs[IP].into();
        s.rflags = u64::from(regs[FLAGS]) | rflags::FIXED;
        s
    }

    /// Lets the instruction end, and the HLT behind it if one is expected.
    fn execute(
        &mut self,
        before: &CpuState,
        want: &Expectation,
    ) -> Result<Result<(), String>, String> {
        let mut exit = self.step()?;
        if want.repeats {
            for _ in 0..STEPS {
                let now = self.vcpu.state().map_err(|e| e.to_string())?;
                if exit != Exit::Budget || !stays(before, &now) {
                    break;
                }
                exit = self.step()?;
            }
        }
        if want.ending == Ending::Halt && exit == Exit::Budget {
            exit = self.step()?;
        }
        Ok(match (want.ending, exit) {
            (Ending::Instruction, Exit::Budget)
            | (Ending::Halt, Exit::Halted)
            | (Ending::Shutdown, Exit::TripleFault(_)) => Ok(()),
            (_, Exit::TripleFault(fault)) => Err(fault.to_string()),
            (want, got) => Err(format!("want {want:?}, got {got:?}")),
        })
    }

    fn step(&mut self) -> Result<Exit, String> {
        self.vcpu.run(Budget::Instructions(NonZeroU64::MIN)).map_err(|e| e.to_string())
    }

    /// Compares all bytes of a page that somebody wrote to, and clears it.
    fn memory(
        &self,
        page: u64,
        ram: &[(u32, u8)],
        want: &Expectation,
        out: &mut Vec<String>,
    ) -> Result<(), String> {
        let len = self.ram.len();
        let place = |at: u32| {
            let at = u64::from(at) % len;
            (at & !0xfff == page).then_some((at & 0xfff) as usize)
        };
        let (mut got, mut expected) = ([0; PAGE], [0; PAGE]);
        self.ram.read(Gpa(page), &mut got).map_err(|e| e.to_string())?;
        for (n, word) in got.chunks_exact(8).enumerate() {
            if word != [0; 8] {
                let at = Gpa(page + 8 * n as u64);
                self.ram.write(at, &[0; 8]).map_err(|e| e.to_string())?;
            }
        }
        for (at, byte) in ram.iter().chain(&want.patch) {
            if let Some(n) = place(*at) {
                expected[n] = *byte;
            }
        }
        for byte in &want.ram {
            if let Some(n) = place(byte.at) {
                expected[n] = byte.value & byte.defined | got[n] & !byte.defined;
            }
        }
        if expected != got {
            let differ = (0..PAGE).filter(|n| expected[*n] != got[*n]);
            out.extend(differ.map(|n| {
                let at = page + n as u64;
                format!("mem[{at:x}]: want {:02x}, got {:02x}", expected[n], got[n])
            }));
        }
        Ok(())
    }
}

/// Is the CPU still at the instruction with which it started?
fn stays(before: &CpuState, now: &CpuState) -> bool {
    now.rip == before.rip && now.segments.seg[1].selector == before.segments.seg[1].selector
}

fn registers(before: &CpuState, after: &CpuState, want: &Expectation, out: &mut Vec<String>) {
    let mut pair = |n: usize, got: u64| {
        let (value, defined) = (u64::from(want.regs[n]), u64::from(want.defined[n]));
        // What lies above the 16 bits stays 0.
        if (value ^ got) & (defined | !0xffff) != 0 {
            let mask = if defined == 0xffff { String::new() } else { format!(" (of {defined:x})") };
            out.push(format!("{}: want {value:x}, got {got:x}{mask}", NAMES[n]));
        }
    };
    for (n, from) in GPR {
        pair(n, after.gpr[from]);
    }
    for (n, from) in SEG {
        let seg = &after.segments.seg[from];
        pair(n, seg.selector.into());
        if seg.base != u64::from(seg.selector) << 4 {
            pair(n, seg.base);
        }
    }
    pair(IP, after.rip.wrapping_sub(u64::from(want.beyond) << 16));
    pair(FLAGS, after.rflags);
    // None of these instructions changes anything else, but for FS and GS, which the old CPUs lack.
    let mut rest = after.clone();
    rest.gpr = before.gpr;
    rest.rip = before.rip;
    rest.rflags = before.rflags;
    rest.segments = before.segments;
    rest.events = before.events;
    if rest != *before {
        out.push("a register that the old CPU lacks has changed".into());
    }
}
