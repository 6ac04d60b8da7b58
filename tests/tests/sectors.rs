//! Every boot sector of ours on every engine.

use trine_machine::conform::{RealPc, candidates};
use trine_testsuites::{Options, run, sectors::Sectors};

#[test]
fn sectors() {
    let report = run(&Sectors::new(&RealPc), &candidates(), &Options::default());
    println!("{}", report.text());
    assert!(report.good(), "the list is above");
    assert!(report.groups.iter().map(|g| g.passed).sum::<u64>() > 600, "the sectors are there");
}
