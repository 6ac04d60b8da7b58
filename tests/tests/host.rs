//! The host's CPU as oracle, with a small budget: `trine conform host --cases N` has a larger one.

use std::io::Write as _;

use trine_machine::conform::candidates;
use trine_testsuites::{Options, host::Host, run};

/// Of all forms together. Ten million take minutes.
const CASES: u64 = 60_000;

#[test]
fn host() {
    let suite = match Host::new(2026, CASES) {
        Ok(suite) => suite,
        Err(why) => {
            // Past the test harness, which swallows what a passing test prints.
            let _ = writeln!(std::io::stderr(), "skipped: {why}");
            return;
        }
    };
    if !suite.is_our_kind() {
        // Where the manual leaves something open, such as the order of faults, other CPUs do
        // otherwise than the one that ours follows.
        let why = "this host's CPU is of another kind than ours; see trine conform host";
        let _ = writeln!(std::io::stderr(), "skipped: {why}");
        return;
    }
    // Undefined flags are compared as well.
    let report = run(&suite.exact(), &candidates(), &Options::default());
    println!("{}", report.text());
    assert!(report.good(), "the list is above");
    for candidate in candidates() {
        let own = report.groups.iter().filter(|g| g.engine == candidate.name);
        let passed: u64 = own.map(|g| g.passed).sum();
        assert!(passed > CASES * 9 / 10, "nearly all cases say something of {candidate:?}");
    }
}
