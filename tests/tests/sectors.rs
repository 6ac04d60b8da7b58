//! Every boot sector of ours on every engine.

use trine_machine::conform::{RealPc, candidates, of_suite};
use trine_testsuites::{Options, run, sectors::Sectors};

#[test]
fn sectors() {
    let (suite, candidates) = (Sectors::new(&RealPc), candidates());
    let candidates = of_suite(&suite, &candidates);
    let report = run(&suite, candidates, &Options::default());
    println!("{}", report.text());
    assert!(report.good(), "the list is above");
    for candidate in candidates {
        let own = report.groups.iter().filter(|g| g.engine == candidate.name);
        assert!(own.map(|g| g.passed).sum::<u64>() > 600, "the sectors are there: {candidate:?}");
    }
}
