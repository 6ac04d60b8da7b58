//! What an adapter is: groups of cases, and a way to run one of them.

use std::{
    fmt::{self, Display},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use trine_engine::{Engine, EngineError};
use trine_guest::Ram;

use crate::{Failure, report::Skipped};

/// Makes an engine for the guest in some RAM.
type Make = Box<dyn Fn(Arc<Ram>) -> Result<Arc<dyn Engine>, EngineError> + Send + Sync>;

/// An engine whose conformance is in question.
pub struct Candidate {
    /// [`Engine::name`].
    pub name: &'static str,
    make: Make,
}

impl Candidate {
    /// The engine that `make` makes.
    pub fn new(
        name: &'static str,
        make: impl Fn(Arc<Ram>) -> Result<Arc<dyn Engine>, EngineError> + Send + Sync + 'static,
    ) -> Self {
        Self { name, make: Box::new(make) }
    }

    /// No engine: what [`Suite::subject`] names.
    pub(crate) fn without_engine(name: &'static str) -> Self {
        let reason = "it is no engine";
        Self::new(name, move |_| {
            Err(EngineError::Unavailable { engine: name, reason: reason.into() })
        })
    }

    /// One engine, bound to `ram`.
    ///
    /// # Errors
    /// If the host lacks what it takes.
    pub fn engine(&self, ram: Arc<Ram>) -> Result<Arc<dyn Engine>, EngineError> {
        (self.make)(ram)
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// One conformance suite, opened.
pub trait Suite: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Its groups of cases, always in the same order: a shard is every so manyth of them.
    fn groups(&self) -> Vec<String>;

    /// About how many cases a group has, for the progress bar.
    fn size(&self, group: usize) -> u64 {
        let _ = group;
        1
    }

    /// Runs the group with this number on `candidate`. The outcome of every case goes to `tally`.
    ///
    /// # Errors
    /// If the group cannot be run at all (a file is damaged, the host fails): one line.
    fn run(&self, group: usize, candidate: &Candidate, tally: &mut Tally<'_>)
    -> Result<(), String>;

    /// What it checks in place of engines, if it does: then it runs once, under this name.
    fn subject(&self) -> Option<&'static str> {
        None
    }

    /// What a reader of the report should know beside the numbers, a line each.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Where the outcomes of a group's cases go.
pub struct Tally<'a> {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) failures: Vec<Failure>,
    pub(crate) skipped: Vec<Skipped>,
    done: &'a AtomicU64,
}

/// Failures of one group that are told in full; more are counted only.
const TOLD: usize = 1000;

impl<'a> Tally<'a> {
    /// An empty one; `done` counts cases for the progress bar.
    pub(crate) fn new(done: &'a AtomicU64) -> Self {
        Self { passed: 0, failed: 0, failures: Vec::new(), skipped: Vec::new(), done }
    }

    /// So many cases more have passed.
    pub fn pass(&mut self, cases: u64) {
        self.passed += cases;
        self.done.fetch_add(cases, Ordering::Relaxed);
    }

    /// A case failed. Its name is unique in the group and the same in every run: expected.txt
    /// speaks of it. `reproducer` is one vector line, where there is one.
    pub fn fail(&mut self, case: impl Display, why: impl Display, reproducer: Option<String>) {
        self.failed += 1;
        self.done.fetch_add(1, Ordering::Relaxed);
        if self.failures.len() < TOLD {
            let (case, why) = (case.to_string(), why.to_string());
            self.failures.push(Failure { case, why, reproducer, expected: false });
        }
    }

    /// A case could not be run, or says nothing about this CPU.
    pub fn skip(&mut self, case: impl Display, why: impl Display) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.skipped.push(Skipped { case: case.to_string(), why: why.to_string() });
    }

    /// How many cases have failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }
}
