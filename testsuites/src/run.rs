//! Runs the groups of a shard, on several threads.

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
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

/// Runs `suite` on each of `candidates`, or on its own subject.
#[must_use]
pub fn run(suite: &dyn Suite, candidates: &[Candidate], options: &Options) -> Report {
    let subject = suite.subject().map(|name| [Candidate::without_engine(name)]);
    let candidates = subject.as_ref().map_or(candidates, |own| &own[..]);
    let all = suite.groups();
    let mut remarks = Vec::new();
    for group in options.expected.groups(suite.name()) {
        if !all.iter().any(|g| g == group) {
            let suite = suite.name();
            remarks.push(format!("expected.txt knows a group that {suite} has not: {group}"));
        }
    }
    let wanted = |name: &String| options.filter.as_ref().is_none_or(|f| name.contains(f.as_str()));
    let groups: Vec<(usize, String)> = all
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
    remarks.extend(suite.remarks());
    Report {
        shard: options.shard.to_string(),
        groups: reports.into_iter().map(|(_, _, report)| report).collect(),
        remarks,
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
    // A panic is a bug of ours, or of an engine's; what other groups found is worth having.
    let ran = catch_unwind(AssertUnwindSafe(|| suite.run(group, candidate, &mut tally)));
    let error = ran.unwrap_or_else(|_| Err("it panicked (the message is above)".into())).err();
    let mut known: BTreeSet<&str> =
        options.expected.of(suite.name(), candidate.name, name).collect();
    if error.is_some() {
        // What it did not come to may still fail.
        known.retain(|case| tally.failures.iter().any(|f| f.case == *case));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Four groups: the first passes, of the second one case fails, the third is damaged, the last
    /// panics.
    struct Four;

    impl Suite for Four {
        fn name(&self) -> &'static str {
            "four"
        }
        fn groups(&self) -> Vec<String> {
            ["good", "bad", "damaged", "mad"].map(String::from).into()
        }
        fn run(&self, group: usize, _: &Candidate, tally: &mut Tally<'_>) -> Result<(), String> {
            match group {
                0 => tally.pass(10),
                1 => {
                    tally.pass(1);
                    tally.fail("case", "1 is not 2", Some("64 90 \"nop\" =>".into()));
                    tally.skip("other", "no such thing");
                }
                2 => return Err("damaged".into()),
                _ => panic!("the suite is wrong"),
            }
            Ok(())
        }
    }

    fn report(expected: &str, shard: &str) -> Report {
        let none = |_| Err(trine_engine::EngineError::BadState("none".into()));
        let options = Options {
            shard: shard.parse().unwrap(),
            expected: Expected::parse(expected).unwrap(),
            ..Options::default()
        };
        run(&Four, &[Candidate::new("none", none)], &options)
    }

    #[test]
    fn a_run_is_good_if_it_is_as_expected() {
        assert!(report("", "1/4").good(), "the first group alone");
        assert!(!report("", "2/4").good(), "an unknown failure");
        assert!(report("four * bad case known", "2/4").good(), "a known failure");
        assert!(report("four * bad other known", "2/4").groups[0].unexpected_passes.is_empty());
        assert!(!report("four * good x known", "1/4").good(), "a known failure that passes");
        assert!(!report("four other bad case known", "2/4").good(), "known on another engine");
        assert!(!report("", "3/4").good(), "a group that cannot be run");
        let damaged = report("four * damaged x known", "3/4");
        assert!(damaged.groups[0].unexpected_passes.is_empty(), "who knows");
        assert!(!report("", "4/4").good(), "a group that panics");
    }

    #[test]
    fn a_report_tells_everything() {
        let report = report("four * gone x known", "1/1");
        let text = report.text();
        for line in [
            "FAIL four none bad case: 1 is not 2",
            "     64 90 \"nop\" =>",
            "ERROR four none damaged: damaged",
            "four: 1 skipped, no such thing: bad/other",
            "expected.txt knows a group that four has not: gone",
            "four on none: 11 passed, 1 failed, 1 skipped, 2 groups could not be run (groups: 4,",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json["groups"][1]["failures"][0]["case"], "case");
        let xml = report.junit().unwrap();
        assert!(
            xml.contains(
                r#"<testsuite name="four.none" tests="4" disabled="0" errors="2" failures="1">"#
            ),
            "{xml}"
        );
    }
}
