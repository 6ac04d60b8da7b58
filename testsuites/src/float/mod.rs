//! Floating point: Berkeley TestFloat's operations and the x87's own, the softfloat crate against
//! the host's x87 and SSE units.
//!
//! A group is an operation of a format. Every case draws operands, rounding, precision control,
//! exception masks, DAZ and FTZ; results, exception flags and condition codes are compared bit for
//! bit, and where an unmasked exception keeps an instruction from delivering a result, that it
//! left its destination alone. Transcendental functions are judged by their mathematical value.
//!
//! Sources: SDM vol. 1, chapters 4, 8 and 11; John Hauser, Berkeley TestFloat release 3, for the
//! operations and the kinds of operands.

mod operands;
mod operations;
mod transcendental;

use std::fmt::Write as _;

use trine_native::float::{Case, Kernel};
use trine_softfloat::{Env, Flags};

use self::{
    operations::{C1, Checks, OPERATIONS, Operation, Outcome},
    transcendental::{FUNCTIONS, Function, Worst},
};
use crate::{Candidate, Suite, Tally, noise::Noise};

/// OF, SF, ZF, AF, PF and CF.
const EFLAGS: u128 = 0x8d5;
/// Cases that the host executes at a time.
const BATCH: usize = 256;

/// The suite.
pub struct Float {
    seed: u64,
    cases: u64,
    worst: Worst,
}

impl Float {
    /// `cases` cases for each operation, drawn from `seed`.
    ///
    /// # Errors
    /// If the host's CPU is no oracle.
    pub fn new(seed: u64, cases: u64) -> Result<Self, String> {
        match OPERATIONS[0].kernel.missing() {
            Some(why) => Err(format!("float compares with an x86-64 CPU: {why}")),
            None => Ok(Self { seed, cases, worst: Worst::default() }),
        }
    }
}

/// What a group is.
enum Group {
    Operation(&'static Operation),
    Function(&'static Function),
}

fn group(n: usize) -> Option<Group> {
    match OPERATIONS.get(n) {
        Some(operation) => Some(Group::Operation(operation)),
        None => FUNCTIONS.get(n - OPERATIONS.len()).map(Group::Function),
    }
}

impl Suite for Float {
    fn name(&self) -> &'static str {
        "float"
    }

    fn subject(&self) -> Option<&'static str> {
        Some("softfloat")
    }

    fn groups(&self) -> Vec<String> {
        let operations = OPERATIONS.iter().map(|o| o.group);
        operations.chain(FUNCTIONS.iter().map(|f| f.group)).map(String::from).collect()
    }

    fn size(&self, _: usize) -> u64 {
        self.cases
    }

    fn run(&self, n: usize, _: &Candidate, tally: &mut Tally<'_>) -> Result<(), String> {
        // Each group draws its own, whatever runs beside it.
        let noise = Noise::new(Noise::new(self.seed.wrapping_add((n as u64) << 32)).draw());
        match group(n) {
            Some(Group::Operation(operation)) => self.run_operation(operation, noise, tally),
            Some(Group::Function(function)) => {
                transcendental::run(function, noise, self.cases, &self.worst, tally);
            }
            None => return Err(format!("there is no group {n}")),
        }
        Ok(())
    }

    fn remarks(&self) -> Vec<String> {
        self.worst.remarks()
    }
}

impl Float {
    fn run_operation(&self, operation: &Operation, mut noise: Noise, tally: &mut Tally<'_>) {
        let kernel = operation.kernel;
        if let Some(why) = kernel.missing() {
            tally.skip("all", why);
            return;
        }
        let mut done = 0;
        while done < self.cases {
            let len = (self.cases - done).min(BATCH as u64) as usize;
            let mut before = [Case::default(); BATCH];
            for case in &mut before[..len] {
                case.control = control(&mut noise, kernel);
                if kernel.x87 {
                    // What is below the operands must not matter.
                    case.memory = u128::from(noise.draw()) << 64 | u128::from(noise.draw());
                }
                (operation.draw)(&mut noise, case);
            }
            let mut after = before;
            kernel.run(&mut after[..len]);
            let mut passed = 0;
            for (n, (before, after)) in before[..len].iter().zip(&after[..len]).enumerate() {
                match differences(operation, before, after) {
                    None => passed += 1,
                    Some(why) => {
                        let line = line(kernel, before, after);
                        tally.fail(done + n as u64, why, Some(line));
                    }
                }
            }
            tally.pass(passed);
            done += len as u64;
        }
    }
}

/// An x87 control word, or an MXCSR.
fn control(noise: &mut Noise, kernel: &Kernel) -> u32 {
    let rounding = noise.below(4) as u32;
    if kernel.x87 {
        let masks = if noise.once_in(4) { noise.below(64) as u32 } else { 63 };
        // Precision 1 is reserved, and taken for 3.
        let precision = noise.pick(&[0, 2, 3, 3, 1]);
        return rounding << 10 | precision << 8 | 0x40 | masks;
    }
    // An unmasked exception costs a signal.
    let masks =
        if kernel.takes_unmasked() && noise.once_in(32) { noise.below(64) as u32 } else { 63 };
    let (daz, ftz) = (u32::from(noise.once_in(4)), u32::from(noise.once_in(4)));
    let flags = if noise.once_in(4) { Flags::PE.bits().into() } else { 0 };
    ftz << 15 | rounding << 13 | masks << 7 | daz << 6 | flags
}

/// What differs between the host's outcome and ours; `None` if nothing does.
fn differences(operation: &Operation, before: &Case, after: &Case) -> Option<String> {
    let (checks, x87) = (operation.checks, operation.kernel.x87);
    let mut env = if x87 {
        Env::from_control_word(before.control as u16)
    } else {
        Env::from_mxcsr(before.control)
    };
    let ours = (operation.model)(&mut env, before);
    if !x87 && after.faulted() == env.unmasked().is_empty() {
        let who = if after.faulted() { "the host" } else { "softfloat" };
        return Some(format!("only {who} raises #XM"));
    }
    let delivered = delivers(&env, checks, x87);
    let host = Outcome {
        result: after.result,
        second: after.second,
        memory: after.memory,
        codes: after.status,
    };
    let (want, got) = if delivered {
        (masked(host, checks), masked(with_rounding(ours, &env, checks), checks))
    } else {
        // The destination keeps what it had. What comparisons say of the operands stays.
        let kept = Outcome {
            result: before.a,
            second: before.b,
            memory: before.memory,
            codes: ours.codes,
        };
        let codes = if checks.result == 0 { checks.codes } else { 0 };
        // EFLAGS are no destination that the oracle sets.
        let memory = if checks.memory == EFLAGS { 0 } else { checks.memory };
        let checks = Checks { codes, memory, rounds: false, ..checks };
        (masked(host, checks), masked(kept, checks))
    };
    let (want_flags, got_flags) =
        (after.status & if x87 { 0xbf } else { 0x3f }, status(&env, before, x87));
    if want == got && want_flags == got_flags {
        return None;
    }
    let mut why = String::new();
    for (name, want, got) in [
        ("result", want.result, got.result),
        ("ST(1)", want.second, got.second),
        ("memory or register", want.memory, got.memory),
        ("condition codes", want.codes.into(), got.codes.into()),
        ("flags", want_flags.into(), got_flags.into()),
    ] {
        if want != got {
            let _ = write!(why, "{name}: the host has {want:x}, softfloat {got:x}; ");
        }
    }
    Some(why.trim_end_matches("; ").into())
}

/// Whether the instruction delivers a result.
fn delivers(env: &Env, checks: Checks, x87: bool) -> bool {
    let unmasked = env.unmasked();
    let hindering = match (x87, checks) {
        (false, _) => Flags::ALL,
        (true, Checks { stores: true, .. }) => Flags::PRE_COMPUTATION | Flags::OE | Flags::UE,
        (true, Checks { loads: true, .. }) => Flags::IE,
        (true, _) => Flags::PRE_COMPUTATION,
    };
    !unmasked.intersects(hindering)
}

fn with_rounding(ours: Outcome, env: &Env, checks: Checks) -> Outcome {
    let up = if checks.rounds && env.rounded_up { C1 } else { 0 };
    Outcome { codes: ours.codes | up, ..ours }
}

fn masked(outcome: Outcome, checks: Checks) -> Outcome {
    Outcome {
        result: outcome.result & checks.result,
        second: outcome.second & checks.second,
        memory: outcome.memory & checks.memory,
        codes: outcome.codes & (checks.codes | if checks.rounds { C1 } else { 0 }),
    }
}

/// The exception flags afterwards, and the x87's summary of them.
fn status(env: &Env, before: &Case, x87: bool) -> u32 {
    if x87 {
        let summary = if env.unmasked().is_empty() { 0 } else { 0x80 };
        u32::from(env.flags.bits()) | summary
    } else {
        before.control & 0x3f | u32::from(env.reported().bits())
    }
}

/// A vector that shows what the host does.
fn line(kernel: &Kernel, before: &Case, after: &Case) -> String {
    let text = kernel.text.replace("{m}", "rbx");
    let state =
        if kernel.x87 { x87_state(before, after) } else { sse_state(kernel, before, after) };
    format!("64u {} \"{text}\"{state}", kernel.code)
}

fn x87_state(before: &Case, after: &Case) -> String {
    let memory = |case: &Case| {
        case.memory.to_le_bytes()[..10]
            .iter()
            .fold(String::new(), |text, b| format!("{text}{b:02x}"))
    };
    // Two registers are in use: TOP is 6.
    let (fcw, st0, st1) = (before.control, before.a, before.b);
    let (was, is, fsw) = (memory(before), memory(after), after.status & 0xffff);
    let top = fsw >> 11 & 7;
    let second = if top == 7 { String::new() } else { format!(" st1={:x}", after.second) };
    format!(
        " fcw={fcw:x} fsw=3000 st0={st0:x} st1={st1:x} rbx=2000 mem[2000]={was} => fsw={fsw:x} \
         st0={:x}{second} ftw={:x} mem[2000]={is}",
        after.result,
        0xff_u32 << top & 0xff
    )
}

fn sse_state(kernel: &Kernel, before: &Case, after: &Case) -> String {
    let mxcsr = before.control & !0x3f | after.status & 0x3f;
    let mut state = format!(
        " mxcsr={:x} rax={:x} xmm0={:x} xmm1={:x} xmm2={:x} =>",
        before.control, before.memory, before.a, before.b, before.c
    );
    let _ = if after.faulted() {
        write!(state, " #XM mxcsr={mxcsr:x}")
    } else if kernel.text.contains("comis") {
        write!(state, " mxcsr={mxcsr:x} flags={:x}", after.memory & EFLAGS)
    } else {
        write!(state, " mxcsr={mxcsr:x} rax={:x} xmm0={:x}", after.memory, after.result)
    };
    state
}
