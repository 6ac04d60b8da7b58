//! Random streams of instructions, in every mode, as a whole and step by step.
//!
//! `TRINE_STREAMS=N` runs so many, `TRINE_STREAMS_SEED=S` others.

use std::{num::NonZeroU64, sync::Arc};

use trine_engine::{
    Budget, Bus, CpuModel, CpuState, Engine, EngineError, Exit, Kicker, Limits, Stats, Vcpu,
};
use trine_guest::{Gpa, Ram};
use trine_interp::Interp;
use trine_machine::conform::candidates;
use trine_tests::hopper::Hopper;
use trine_testsuites::{Candidate, Expected, Failure, Options, Streams, run, vectors};
use trine_translate::Translate;
use trine_x86::BLOCK_INSNS;

fn interp() -> Candidate {
    Candidate::new("interp", |ram| Ok(Arc::new(Interp::new(ram))))
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn streams() {
    let cases = from_environment("TRINE_STREAMS", 1000);
    let suite = Streams::new(from_environment("TRINE_STREAMS_SEED", 1), cases).unwrap();
    let suite = suite.against(interp());
    let report = run(&suite, &candidates(), &Options::default());
    println!("{}", report.text());
    assert!(report.good(), "see above");
    let engines = candidates().len() as u64;
    assert_eq!(report.groups.iter().map(|g| g.passed).sum::<u64>(), cases * engines);
}

/// A guest that moves between the interpreter and the translator every few instructions.
#[test]
fn streams_that_move() {
    let hopper = Candidate::new("hopper", |ram| {
        let interp = Box::new(Interp::new(ram.clone()));
        let translate = Box::new(Translate::new(ram)?.eager(BLOCK_INSNS));
        Ok(Arc::new(Hopper::new(vec![interp, translate])))
    });
    let cases = from_environment("TRINE_STREAMS", 200);
    let suite = Streams::new(from_environment("TRINE_STREAMS_SEED", 7), cases).unwrap();
    let report = run(&suite.against(interp()), &[hopper], &Options::default());
    println!("{}", report.text());
    assert!(report.good(), "see above");
}

/// How an engine is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// When it runs several instructions at once, the 200th changes RBX.
    Together,
    /// STC clears CF.
    Stc,
}

/// The interpreter, made wrong.
struct Broken {
    interp: Interp,
    ram: Arc<Ram>,
    wrong: Wrong,
}

struct BrokenVcpu {
    vcpu: Box<dyn Vcpu>,
    ram: Arc<Ram>,
    wrong: Wrong,
}

fn broken(wrong: Wrong) -> Candidate {
    Candidate::new("broken", move |ram| {
        Ok(Arc::new(Broken { interp: Interp::new(ram.clone()), ram, wrong }))
    })
}

impl Engine for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }
    fn limits(&self) -> Limits {
        self.interp.limits()
    }
    fn create_vcpu(
        &self,
        id: u32,
        model: &CpuModel,
        bus: Arc<dyn Bus>,
    ) -> Result<Box<dyn Vcpu>, EngineError> {
        let vcpu = self.interp.create_vcpu(id, model, bus)?;
        Ok(Box::new(BrokenVcpu { vcpu, ram: self.ram.clone(), wrong: self.wrong }))
    }
}

impl BrokenVcpu {
    fn change(&mut self, f: impl FnOnce(&mut CpuState)) -> Result<(), EngineError> {
        let mut state = self.vcpu.state()?;
        f(&mut state);
        self.vcpu.set_state(&state)
    }
}

impl Vcpu for BrokenVcpu {
    fn run(&mut self, budget: Budget) -> Result<Exit, EngineError> {
        let Budget::Instructions(count) = budget else { return self.vcpu.run(budget) };
        if self.wrong == Wrong::Together {
            let before = self.vcpu.retired();
            let exit = self.vcpu.run(budget)?;
            if count.get() > 1 && before < 200 && self.vcpu.retired() >= 200 {
                self.change(|state| state.gpr[3] ^= 1)?;
            }
            return Ok(exit);
        }
        for _ in 0..count.get() {
            let state = self.vcpu.state()?;
            let at = state.segments.seg[1].base.wrapping_add(state.rip);
            let mut byte = [0];
            let stc = self.ram.read(Gpa(at), &mut byte).is_ok() && byte == [0xf9];
            let exit = self.vcpu.run(Budget::Instructions(NonZeroU64::MIN))?;
            let done = self.vcpu.state()?.rip == state.rip.wrapping_add(1);
            if stc && done {
                self.change(|state| state.rflags &= !1)?;
            }
            if exit != Exit::Budget {
                return Ok(exit);
            }
        }
        Ok(Exit::Budget)
    }
    fn state(&mut self) -> Result<CpuState, EngineError> {
        self.vcpu.state()
    }
    fn set_state(&mut self, state: &CpuState) -> Result<(), EngineError> {
        self.vcpu.set_state(state)
    }
    fn kicker(&self) -> Kicker {
        self.vcpu.kicker()
    }
    fn ram_changed(&mut self, at: Gpa, len: u64) {
        self.vcpu.ram_changed(at, len);
    }
    fn retired(&self) -> u64 {
        self.vcpu.retired()
    }
    fn stats(&self) -> Stats {
        self.vcpu.stats()
    }
}

/// What the streams find in a broken engine.
fn failures(streams: Streams, wrong: Wrong) -> Vec<Failure> {
    let expected = Expected::parse("").expect("a list");
    let report = run(&streams, &[broken(wrong)], &Options { expected, ..Options::default() });
    assert!(report.groups.iter().all(|g| g.error.is_none()), "{}", report.text());
    report.groups.into_iter().flat_map(|g| g.failures).collect()
}

#[test]
fn the_count_of_the_wrong_instruction_is_found() {
    let failures = failures(Streams::new(1, 10).unwrap(), Wrong::Together);
    assert!(failures.len() >= 5, "{failures:?}");
    for failure in &failures {
        let after = failure.why.split("after ").nth(1).unwrap();
        let after: u64 = after.split(' ').next().unwrap().parse().unwrap();
        assert!((200..=210).contains(&after), "{}", failure.why);
        assert!(failure.why.contains("rbx: want "), "{}", failure.why);
    }
}

#[test]
fn a_wrong_instruction_becomes_a_vector() {
    let streams = Streams::new(1, 60).unwrap().against(interp());
    let failures = failures(streams, Wrong::Stc);
    assert!(!failures.is_empty(), "no stream has an STC");
    let lines: Vec<_> = failures.iter().filter_map(|f| f.reproducer.as_ref()).collect();
    assert!(!lines.is_empty(), "{}", failures[0].why);
    let model = CpuModel::named("max").unwrap();
    for line in lines {
        assert!(line.contains(" f9 \"stc\""), "{line}");
        let vector = line.parse().unwrap();
        assert_eq!(vectors::run(&vector, &model, &interp()), Ok(()), "{line}");
        assert!(vectors::run(&vector, &model, &broken(Wrong::Stc)).is_err(), "{line}");
    }
}
