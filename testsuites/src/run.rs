//! Runs the groups of a shard, on several threads.

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use crate::{Candidate, Expected, GroupReport, Report, Shard, Suite, Tally, progress::Progress};

/// How to run a suite.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which part.
    pub shard: Shard,
    /// Only groups whose name contains this.
    pub filter: Option<String>,
    /// How many threads.
    pub jobs: NonZeroUsize,
    /// What is known to fail.
    pub expected: Expected,
}

impl Default for Options {
    /// Everything, on as many threads as the host has CPUs; what this version knows to fail.
    fn default() -> Self {
        Self {
            shard: Shard::ALL,
            filter: None,
            jobs: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            expected: Expected::ours(),
        }
    }
}

/// Runs `suite` on each of `candidates`.
#[must_use]
pub fn run(suite: &dyn Suite, candidates: &[Candidate], options: &Options) -> Report {
    let wanted = |name: &String| options.filter.as_ref().is_none_or(|f| name.contains(f.as_str()));
    let groups: Vec<(usize, String)> = suite
        .groups()
        .into_iter()
        .enumerate()
        .filter(|(_, name)| wanted(name))
        .enumerate()
        .filter(|(place, _)| options.shard.holds(*place))
        .map(|(_, group)| group)
        .collect();
    let work: Vec<(usize, &str, &Candidate)> = candidates
        .iter()
        .flat_map(|c| groups.iter().map(move |(n, name)| (*n, name.as_str(), c)))
        .collect();
    let cases = work.iter().map(|(n, ..)| suite.size(*n)).sum();
    let progress = Progress::new(suite.name(), cases);
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| progress.watch());
        let workers: Vec<_> = (0..options.jobs.get().min(work.len()))
            .map(|_| {
                scope.spawn(|| {
                    while let Some((n, name, candidate)) =
                        work.get(next.fetch_add(1, Ordering::Relaxed)).copied()
                    {
                        let report = run_group(suite, n, name, candidate, options, &progress);
                        if let Ok(mut reports) = reports.lock() {
                            reports.push((candidate.name, n, report));
                        }
                    }
                })
            })
            .collect();
        let died = workers.into_iter().filter_map(|worker| worker.join().err()).next();
        progress.finish();
        if let Some(panic) = died.or(watch.join().err()) {
            std::panic::resume_unwind(panic);
        }
    });
    let mut reports = reports.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    reports.sort_by_key(|(engine, n, _)| (*engine, *n));
    Report {
        shard: options.shard.to_string(),
        groups: reports.into_iter().map(|(_, _, report)| report).collect(),
        remarks: suite.remarks(),
    }
}

fn run_group(
    suite: &dyn Suite,
    group: usize,
    name: &str,
    candidate: &Candidate,
    options: &Options,
    progress: &Progress,
) -> GroupReport {
    let start = Instant::now();
    let mut tally = Tally::new(&progress.done);
    let error = suite.run(group, candidate, &mut tally).err();
    let mut known: BTreeSet<&str> =
        options.expected.of(suite.name(), candidate.name, name).collect();
    for failure in &mut tally.failures {
        failure.expected = known.remove(failure.case.as_str());
    }
    for skipped in &tally.skipped {
        known.remove(skipped.case.as_str());
    }
    progress.failed.fetch_add(tally.failed, Ordering::Relaxed);
    GroupReport {
        suite: suite.name(),
        engine: candidate.name,
        group: name.into(),
        seconds: start.elapsed().as_secs_f64(),
        passed: tally.passed,
        failed: tally.failed,
        failures: tally.failures,
        unexpected_passes: known.into_iter().map(str::to_string).collect(),
        skipped: tally.skipped,
        error,
    }
}
