//! Every vector on every engine.

use std::path::Path;

use trine_machine::conform::candidates;
use trine_testsuites::{Options, run, vectors::Vectors};

#[test]
fn vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let suite = Vectors::open(&folder).unwrap_or_else(|e| panic!("{e}"));
    let report = run(&suite, &candidates(), &Options::default());
    println!("{}", report.text());
    assert!(report.good(), "the list is above");
    assert!(report.groups.iter().map(|g| g.passed).sum::<u64>() > 5000, "the vectors are there");
}
