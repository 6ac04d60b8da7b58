//! What is to be said of a difference: the instructions, and a vector that shows it again.

use std::{fmt, sync::Arc};

use trine_guest::Ram;
use trine_testsuites::{
    Candidate,
    vectors::{Scene, record},
};
use trine_x86::{Core, CpuModel, CpuState, NoBus};

use super::{Divergence, Lockstep, run};
use crate::MachineError;

/// The most instructions of a piece that are listed.
const LISTED: u64 = 40;

/// An instruction that was executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The vCPU that is about to execute it.
    pub vcpu: u32,
    /// RIP.
    pub rip: u64,
    /// Its bytes; none where there is no instruction that could be read.
    pub bytes: Vec<u8>,
    /// Its disassembly.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: String = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        write!(f, "{:016x}  {bytes:<24}  {}", self.rip, self.text)
    }
}

/// A piece of a run, explained.
#[derive(Debug)]
pub struct Reproducer {
    /// Its instructions, as the first machine executes them; of a long piece the first ones.
    pub code: Vec<Line>,
    /// An interrupt comes first, so the instruction that is executed is its handler's.
    pub interrupts: bool,
    /// The first of them that the two engines do differently on a vector's stage, by its number here.
    pub wrong: Option<usize>,
    /// A vector of it with the first engine's result, and one with the second's; or why there are
    /// none.
    pub vectors: Result<[String; 2], String>,
}

impl Lockstep {
    /// Explains a difference that [`Lockstep::run`] found. `candidates` make engines as those of the
    /// two machines; one that translates does so at once, and each instruction alone.
    ///
    /// # Errors
    /// If an engine or the host fails.
    pub fn reproduce(
        &mut self,
        divergence: &Divergence,
        candidates: [&Candidate; 2],
    ) -> Result<Reproducer, MachineError> {
        let machine = &mut self.machines[0];
        machine.load(&divergence.before)?;
        let model = machine.model.clone();
        let vcpu = |turn: usize| divergence.vcpu.unwrap_or(turn as u32);
        let interrupts = |machine: &crate::Machine| {
            machine.cpus.iter().map(|cpu| cpu.vcpu.stats().interrupts).sum::<u64>()
        };
        let before = interrupts(machine);
        let (mut code, mut interrupted) = (Vec::new(), false);
        let (mut vectors, mut wrong) = (Err(String::new()), None);
        for n in 0..divergence.piece.min(LISTED) {
            let id = vcpu(machine.turns.next);
            let state = machine.cpu_state(id)?;
            let peek = peek(&model, machine.ram(), &state);
            let scene = Scene { state: &state, peek: &peek };
            let (bytes, text) = match scene.instruction() {
                Some((insn, bytes)) => (bytes, insn.to_string()),
                None => (Vec::new(), "(no instruction that could be read)".to_owned()),
            };
            code.push(Line { vcpu: id, rip: state.rip, bytes, text });
            // One of a block may be wrong by itself, and was not translated alone.
            let line = lines(&scene, &model, candidates);
            run(machine, 1)?;
            interrupted |= n == 0 && interrupts(machine) != before;
            if vectors.is_err() {
                vectors = line;
                wrong = vectors.is_ok().then_some(code.len() - 1);
            }
        }
        if interrupted && divergence.piece == 1 {
            wrong = None;
            vectors = Err("an interrupt comes first".to_owned());
        } else if divergence.piece > 1 && vectors.is_err() {
            vectors = Err("each instruction alone is right on a vector's stage".to_owned());
        }
        Ok(Reproducer { code, interrupts: interrupted, wrong, vectors })
    }
}

/// A byte of a CPU's linear memory, without a trace.
fn peek(model: &CpuModel, ram: &Arc<Ram>, state: &CpuState) -> impl Fn(u64) -> Option<u8> + use<> {
    let mut core = Core::new(0, model, ram.clone(), Arc::new(NoBus::default()));
    core.set_state(state);
    move |linear| {
        let spot = core.ram.spot(core.peek(linear)?)?;
        Some(core.ram.load(spot.offset))
    }
}

/// The instruction as a vector, with the result of each engine.
fn lines(
    scene: &Scene<'_>,
    model: &CpuModel,
    candidates: [&Candidate; 2],
) -> Result<[String; 2], String> {
    let vector = scene.transplant()?;
    let mut both = [vector.clone(), vector];
    for (vector, candidate) in both.iter_mut().zip(candidates) {
        record(vector, model, candidate)
            .map_err(|why| format!("{} on a vector's stage: {why}", candidate.name))?;
    }
    if both[0] == both[1] {
        return Err(format!("on a vector's stage both do the same: {}", both[0]));
    }
    Ok(both.map(|vector| vector.to_string()))
}
