//! Random streams of instructions, executed in several ways that must come to the same end.
//!
//! A stream has loops, code that changes code, page tables and segments that change, gates, modes
//! that change into each other, exceptions, interrupts, string, x87 and SSE instructions. It runs
//! as a whole, up to each interrupt from outside, and one instruction after the other; and where
//! there is a reference, its single steps are what both are held against. State, RAM, the count of
//! retired instructions and everything that the bus saw have to be equal.
//!
//! `--seed S` and the number of a case determine it: case K of seed S is case 0 of seed S + K.
//!
//! Sources: SDM vol. 3A, chapters 3 to 9; the rule that how an engine groups instructions cannot
//! be seen (`trine_engine::Budget`).

mod program;
mod shrink;
mod table;
mod trial;
mod world;

use std::sync::{Mutex, PoisonError};

use trine_engine::{CpuModel, CpuState};

use crate::{Candidate, Suite, Tally, noise::Noise};
use program::{Program, Tables};
use trial::{Outcome, Schedule, Totals, Trial, Way};
use world::Mode;

/// Random streams.
pub struct Streams {
    seed: u64,
    cases: u64,
    model: CpuModel,
    tables: Tables,
    reference: Option<Candidate>,
    totals: Mutex<Totals>,
}

/// One stream with all that belongs to it.
#[derive(Clone)]
struct Stream {
    program: Program,
    state: CpuState,
    schedule: Schedule,
    mode: Mode,
}

impl Stream {
    fn new(seed: u64, mode: Mode, tables: &Tables, model: &CpuModel) -> Self {
        let mut noise = Noise::new(seed);
        let state = world::start(mode, &mut noise, model);
        let schedule = Schedule::new(&mut noise);
        let program = Program::new(mode, &mut noise, tables);
        Self { program, state, schedule, mode }
    }

    fn image(&self, world: &[u8]) -> Vec<u8> {
        let mut image = world.to_vec();
        self.program.load(&mut image);
        image
    }
}

/// Two ways of one stream that have to come to the same end: of the trial and of the reference.
struct Pair<'a> {
    world: &'a [u8],
    one: (&'a Trial, Way),
    other: (&'a Trial, Way),
}

impl Pair<'_> {
    /// Both outcomes after `limit` instructions at most.
    fn run(&self, stream: &Stream, limit: u64) -> Result<(Outcome, Outcome), String> {
        let image = stream.image(self.world);
        let run = |(trial, way): (&Trial, Way)| {
            trial.run(&image, &stream.state, &stream.schedule, way, limit)
        };
        Ok((run(self.one)?, run(self.other)?))
    }

    fn differs(&self, stream: &Stream, limit: u64) -> Result<bool, String> {
        self.run(stream, limit).map(|(one, other)| one != other)
    }
}

/// Streams of a group.
const BLOCK: usize = 250;

impl Streams {
    /// So many streams from a seed.
    ///
    /// # Errors
    /// If there is no CPU model 'max'.
    pub fn new(seed: u64, cases: u64) -> Result<Self, String> {
        let model = CpuModel::named("max").map_err(|e| e.to_string())?;
        Ok(Self {
            tables: Tables::new(&model),
            model,
            seed,
            cases,
            reference: None,
            totals: Mutex::default(),
        })
    }

    /// Holds every candidate of another name against this one, too.
    #[must_use]
    pub fn against(self, reference: Candidate) -> Self {
        Self { reference: Some(reference), ..self }
    }

    /// How many groups each mode has.
    fn blocks(&self) -> usize {
        self.cases.div_ceil(Mode::ALL.len() as u64 * BLOCK as u64) as usize
    }

    /// The cases of a group, which are of one mode: each `Mode::ALL.len()`th.
    fn cases_of(&self, group: usize) -> impl Iterator<Item = u64> + use<> {
        let (mode, block) = (group % Mode::ALL.len(), group / Mode::ALL.len());
        let modes = Mode::ALL.len() as u64;
        let first = (mode as u64 + modes - self.seed % modes) % modes;
        (first..self.cases).step_by(Mode::ALL.len()).skip(block * BLOCK).take(BLOCK)
    }
}

impl Suite for Streams {
    fn name(&self) -> &'static str {
        "streams"
    }

    fn groups(&self) -> Vec<String> {
        let modes = |block| Mode::ALL.iter().map(move |(_, name)| format!("{name}.{block}"));
        (0..self.blocks()).flat_map(modes).collect()
    }

    fn size(&self, group: usize) -> u64 {
        self.cases_of(group).count() as u64
    }

    fn run(
        &self,
        group: usize,
        candidate: &Candidate,
        tally: &mut Tally<'_>,
    ) -> Result<(), String> {
        let (mode, _) = Mode::ALL[group % Mode::ALL.len()];
        let model = &self.model;
        let world = world::image();
        let trial = Trial::new(candidate, model)?;
        let reference = match &self.reference {
            Some(other) if other.name != candidate.name => Some(Trial::new(other, model)?),
            _ => None,
        };
        let mut pairs =
            vec![Pair { world: &world, one: (&trial, Way::Whole), other: (&trial, Way::Single) }];
        if let Some(reference) = &reference {
            let other = (reference, Way::Single);
            pairs.push(Pair { world: &world, one: (&trial, Way::Single), other });
        }
        for case in self.cases_of(group) {
            let seed = self.seed.wrapping_add(case);
            let stream = Stream::new(seed, mode, &self.tables, model);
            let mut why = None;
            for pair in &pairs {
                if pair.differs(&stream, u64::MAX)? {
                    why = Some(shrink::report(pair, &stream)?);
                    break;
                }
            }
            match why {
                None => tally.pass(1),
                Some((why, line)) => {
                    tally.fail(case, format!("(--seed {seed} --cases 1) {why}"), line);
                }
            }
        }
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).add(&trial.totals());
        Ok(())
    }

    fn remarks(&self) -> Vec<String> {
        let t = *self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = t.modes.iter().sum::<u64>().max(1);
        let percent = |n: u64| n * 100 / looks;
        let [real, v86, p16, p32, compatibility, long] = t.modes.map(percent);
        vec![
            format!(
                "streams: {} instructions, {} exceptions, {} interrupts, {} of {} shut down",
                t.instructions, t.exceptions, t.interrupts, t.shutdowns, t.streams
            ),
            format!(
                "streams: {real} % in real mode, {v86} % V86, {p16} % 16-bit, {p32} % 32-bit, \
                 {compatibility} % compatibility, {long} % 64-bit; {} % at CPL 3, {} % in streams",
                percent(t.user),
                percent(t.inside)
            ),
        ]
    }
}
