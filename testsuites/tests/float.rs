//! A small part of the suite `float`, on hosts whose CPU is its oracle.
#![cfg(target_arch = "x86_64")]

use std::io::Write as _;

use trine_testsuites::{Options, float::Float, host::Host, run};

/// Of each operation; the whole takes seconds.
const CASES: u64 = 10_000;

#[test]
fn softfloat_does_what_the_host_does() {
    if !Host::new(0, 1).is_ok_and(|host| host.is_our_kind()) {
        // AMD's CPUs flag underflow of half precision, scaled results of unmasked exceptions and
        // arguments of transcendental functions otherwise than the one that ours follows. Past the
        // test harness, which swallows what a passing test prints.
        let why = "this host's CPU is of another kind than ours; see trine conform float";
        let _ = writeln!(std::io::stderr(), "skipped: {why}");
        return;
    }
    let suite = Float::new(20_261_121, CASES).expect("the host is an x86-64 CPU");
    let report = run(&suite, &[], &Options::default());
    assert!(report.good(), "{}", report.text());
    let passed: u64 = report.groups.iter().map(|group| group.passed).sum();
    assert!(passed > 90 * CASES, "{passed}");
    // Each transcendental function is judged by its mathematical value, too.
    assert_eq!(report.remarks.iter().filter(|line| line.contains("largest error")).count(), 8);
}
