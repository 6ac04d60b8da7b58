//! A small part of the suite `float`, on hosts whose CPU is its oracle.
#![cfg(target_arch = "x86_64")]

use trine_testsuites::{Options, float::Float, run};

/// Of each operation; the whole takes seconds.
const CASES: u64 = 10_000;

#[test]
fn softfloat_does_what_the_host_does() {
    let suite = Float::new(20_261_121, CASES).expect("the host is an x86-64 CPU");
    let report = run(&suite, &[], &Options::default());
    assert!(report.good(), "{}", report.text());
    let passed: u64 = report.groups.iter().map(|group| group.passed).sum();
    assert!(passed > 90 * CASES, "{passed}");
    // Each transcendental function is judged by its mathematical value, too.
    assert_eq!(report.remarks.iter().filter(|line| line.contains("largest error")).count(), 8);
}
