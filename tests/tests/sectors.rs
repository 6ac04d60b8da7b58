//! Every boot sector of ours on every engine.

use trine_machine::conform::{RealPc, candidates, of_suite};
use trine_testsuites::{Options, run, sectors::Sectors};

#[test]
fn sectors() {
    let (suite, candidates) = (Sectors::new(&RealPc), candidates());
    // Engines as users have them, and the translator without host code.
    let evaluator = &candidates[candidates.len() - 1..];
    for candidates in [of_suite(&suite, &candidates), evaluator] {
        let report = run(&suite, candidates, &Options::default());
        println!("{}", report.text());
        assert!(report.good(), "the list is above");
        for candidate in candidates {
            let own = report.groups.iter().filter(|g| g.engine == candidate.name);
            let passed: u64 = own.map(|g| g.passed).sum();
            assert!(passed > 600, "the sectors are there: {candidate:?}");
        }
    }
}
