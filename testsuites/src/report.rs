//! What came out, for people (text), scripts (JSON) and CI (JUnit).

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use serde::Serialize;

/// A case that failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Failure {
    /// Its name, unique in its group.
    pub case: String,
    /// What differs.
    pub why: String,
    /// One vector line that shows it, where there is one: `trine conform vectors FILE` runs it.
    pub reproducer: Option<String>,
    /// Is it in the list of known failures?
    pub expected: bool,
}

/// A case that was not run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Skipped {
    pub(crate) case: String,
    pub(crate) why: String,
}

/// What came out of one group on one engine.
#[derive(Clone, Debug, Serialize)]
pub struct GroupReport {
    /// The suite.
    pub suite: &'static str,
    /// The engine.
    pub engine: &'static str,
    /// The group.
    pub group: String,
    /// Host time.
    pub seconds: f64,
    /// Cases that passed.
    pub passed: u64,
    /// Cases that failed, known or not.
    pub failed: u64,
    /// The failures, or the first ones if they are many.
    pub failures: Vec<Failure>,
    /// Known failures that passed: their lines in expected.txt must go.
    pub unexpected_passes: Vec<String>,
    pub(crate) skipped: Vec<Skipped>,
    /// Why the group could not be run at all.
    pub error: Option<String>,
}

impl GroupReport {
    /// Failures that nobody expects.
    fn unknown(&self) -> u64 {
        self.failed - self.failures.iter().filter(|f| f.expected).count() as u64
    }

    /// Is it as it should be?
    #[must_use]
    pub fn good(&self) -> bool {
        self.unknown() == 0 && self.unexpected_passes.is_empty() && self.error.is_none()
    }
}

/// What came out of a run.
#[derive(Clone, Default, Debug, Serialize)]
pub struct Report {
    /// Its part of the whole, as I/N.
    pub shard: String,
    /// Every group on every engine, in order.
    pub groups: Vec<GroupReport>,
    /// What the suite's adapter has to say.
    pub remarks: Vec<String>,
}

impl Report {
    /// Did everything pass that should, and nothing that should not?
    #[must_use]
    pub fn good(&self) -> bool {
        self.groups.iter().all(GroupReport::good)
    }

    /// Adds another run's outcome.
    pub fn append(&mut self, mut other: Self) {
        self.shard = other.shard;
        self.groups.append(&mut other.groups);
        self.remarks.append(&mut other.remarks);
    }

    /// For people: what is wrong, what was skipped and why, and one line for each suite on each
    /// engine.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for group in &self.groups {
            group_text(&mut out, group);
        }
        self.skipped_text(&mut out);
        for remark in &self.remarks {
            line(&mut out, remark);
        }
        let mut sums: BTreeMap<(&str, &str), Sum> = BTreeMap::new();
        for group in &self.groups {
            sums.entry((group.suite, group.engine)).or_default().add(group);
        }
        let shard = match self.shard.as_str() {
            "" | "1/1" => String::new(),
            shard => format!(", shard {shard}"),
        };
        for ((suite, engine), sum) in sums {
            line(&mut out, &format!("{suite} on {engine}{shard}: {sum}"));
        }
        out
    }

    fn skipped_text(&self, out: &mut String) {
        let mut reasons: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        for group in &self.groups {
            for s in &group.skipped {
                let name = format!("{}/{}", group.group, s.case);
                reasons.entry((group.suite, &s.why)).or_default().push(name);
            }
        }
        for ((suite, why), cases) in reasons {
            let more = if cases.len() > SHOWN { " …" } else { "" };
            let some = cases.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(" ");
            line(out, &format!("{suite}: {} skipped, {why}: {some}{more}", cases.len()));
        }
    }

    /// For scripts.
    ///
    /// # Errors
    /// Never for what [`crate::run`] gives; serde's type says it could.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// For CI: a test suite for each suite and engine, a test case for each group.
    ///
    /// # Errors
    /// If the report cannot be written as XML.
    pub fn junit(&self) -> Result<String, String> {
        let mut suites: BTreeMap<(&str, &str), Vec<&GroupReport>> = BTreeMap::new();
        for group in &self.groups {
            suites.entry((group.suite, group.engine)).or_default().push(group);
        }
        let mut report = quick_junit::Report::new("trine conform");
        for ((suite, engine), groups) in suites {
            let mut out = TestSuite::new(format!("{suite}.{engine}"));
            for group in groups {
                let mut case = TestCase::new(group.group.clone(), status(group));
                case.set_classname(format!("{suite}.{engine}"));
                case.set_time(Duration::from_secs_f64(group.seconds));
                out.add_test_case(case);
            }
            report.add_test_suite(out);
        }
        report.to_string().map_err(|e| e.to_string())
    }
}

/// Cases, failures and groups that are shown in full.
const SHOWN: usize = 8;

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn group_text(out: &mut String, group: &GroupReport) {
    let place = format!("{} {} {}", group.suite, group.engine, group.group);
    if let Some(error) = &group.error {
        line(out, &format!("ERROR {place}: {error}"));
    }
    for case in &group.unexpected_passes {
        line(out, &format!("PASSES {place} {case}: delete its line from expected.txt"));
    }
    for f in group.failures.iter().filter(|f| !f.expected).take(SHOWN) {
        line(out, &format!("FAIL {place} {}: {}", f.case, f.why));
        match &f.reproducer {
            Some(reproducer) => line(out, &format!("     {reproducer}")),
            None => {
                let (suite, engine, group) = (group.suite, group.engine, &group.group);
                line(out, &format!("     {suite} --engine {engine} --filter {group}"));
            }
        }
    }
    let unknown = group.unknown();
    if unknown > SHOWN as u64 {
        line(out, &format!("FAIL {place}: {} more", unknown - SHOWN as u64));
    }
}

fn status(group: &GroupReport) -> TestCaseStatus {
    if group.good() {
        if group.passed == 0 && group.failed == 0 {
            let mut skipped = TestCaseStatus::skipped();
            if let Some(first) = group.skipped.first() {
                skipped.set_message(first.why.clone());
            }
            return skipped;
        }
        return TestCaseStatus::success();
    }
    let kind = if group.error.is_some() { NonSuccessKind::Error } else { NonSuccessKind::Failure };
    let mut status = TestCaseStatus::non_success(kind);
    let mut text = String::new();
    group_text(&mut text, group);
    status.set_message(text.lines().next().unwrap_or_default()).set_description(text);
    status
}

#[derive(Default)]
struct Sum {
    groups: u64,
    passed: u64,
    failed: u64,
    known: u64,
    skipped: u64,
    errors: u64,
    passes: u64,
    seconds: f64,
}

impl Sum {
    fn add(&mut self, group: &GroupReport) {
        self.groups += 1;
        self.passed += group.passed;
        self.failed += group.unknown();
        self.known += group.failed - group.unknown();
        self.skipped += group.skipped.len() as u64;
        self.errors += u64::from(group.error.is_some());
        self.passes += group.unexpected_passes.len() as u64;
        self.seconds += group.seconds;
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = format!("{} passed, {} failed", self.passed, self.failed);
        for (n, what) in [
            (self.known, "known to fail"),
            (self.passes, "expected to fail but passed"),
            (self.skipped, "skipped"),
            (self.errors, "groups could not be run"),
        ] {
            if n > 0 {
                let _ = write!(out, ", {n} {what}");
            }
        }
        write!(f, "{out} (groups: {}, {:.1} s of CPU time)", self.groups, self.seconds)
    }
}
