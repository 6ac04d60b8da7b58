//! The timer (SDM section 11.5.4).

use super::*;

/// Divides by 1.
const BY_1: u32 = 0b1011;

fn timer(mode: u32, divide: u32, count: u32) -> Rig {
    let mut rig = Rig::new(1);
    rig.write(0, LVT_TIMER, mode << 17 | 0x40);
    rig.write(0, DIVIDE, divide);
    rig.write(0, INITIAL, count);
    rig
}

#[test]
fn divide_configurations() {
    for (divide, by) in [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)] {
        let mut rig = timer(0, divide, 1000);
        rig.bench.now = rig.bench.now.after_ns(10 * by);
        assert_eq!(rig.read(0, CURRENT), 990, "divide configuration {divide}");
        assert_eq!(rig.apics.next_event(), Some(VmTime(1000 * by)));
    }
}

#[test]
fn one_shot_expires_once() {
    let mut rig = timer(0, BY_1, 1000);
    rig.run_ns(999);
    assert!(!rig.apics.pending(0));
    assert_eq!(rig.read(0, CURRENT), 1);
    rig.run_ns(1);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x40));
    assert_eq!(rig.read(0, CURRENT), 0);
    assert_eq!(rig.read(0, INITIAL), 1000);
    rig.eoi(0);
    assert_eq!(rig.apics.next_event(), None);
    rig.run_ns(10_000);
    assert!(!rig.apics.pending(0));
    // A count of 0 stops it.
    rig.write(0, INITIAL, 1000);
    rig.write(0, INITIAL, 0);
    assert_eq!(rig.apics.next_event(), None);
}

#[test]
fn periodic_does_not_drift_at_an_odd_frequency() {
    let bench = Bench::new();
    let apics = LocalApics::new(bench.backplane.clone(), 1, 999_999_937);
    let mut rig = Rig { bench, apics };
    rig.write(0, SVR, 0x1ff);
    rig.write(0, LVT_TIMER, 1 << 17 | 0x40);
    rig.write(0, DIVIDE, BY_1);
    rig.write(0, INITIAL, 7);
    for period in 1..=10_000u64 {
        let at = rig.apics.next_event().expect("a periodic timer");
        assert_eq!(at, VmTime::of_tick(7 * period, 999_999_937));
        rig.bench.now = at;
        rig.with(0, |apics, cx| apics.advance(cx));
        assert_eq!(rig.read(0, CURRENT), 7);
        assert_eq!(rig.acknowledge(0), Ack::Vector(0x40));
        rig.eoi(0);
    }
}

#[test]
fn missed_periods_are_one_interrupt() {
    let mut rig = timer(1, BY_1, 1000);
    rig.said();
    rig.bench.now = VmTime(1_000_500);
    rig.with(0, |apics, cx| apics.advance(cx));
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Interrupt(true))]);
    assert_eq!(rig.apics.next_event(), Some(VmTime(1_001_000)), "in phase");
    assert_eq!(rig.read(0, CURRENT), 500);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x40));
    rig.eoi(0);
    assert!(!rig.apics.pending(0));
    // One in service, and one more waits in the IRR.
    rig.run_ns(500);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x40));
    rig.run_ns(10_000);
    rig.eoi(0);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x40));
    rig.eoi(0);
    assert_eq!(rig.acknowledge(0), Ack::None);
}

#[test]
fn a_masked_timer_counts_and_wakes_nobody() {
    let mut rig = timer(1, BY_1, 1000);
    rig.write(0, LVT_TIMER, 0x3_0040);
    assert_eq!(rig.apics.next_event(), None);
    rig.bench.now = VmTime(2_300);
    assert_eq!(rig.read(0, CURRENT), 700);
    rig.bench.now = VmTime(5_500);
    rig.write(0, LVT_TIMER, 0x2_0040);
    assert!(!rig.apics.pending(0), "what was masked is lost");
    assert_eq!(rig.apics.next_event(), Some(VmTime(6_000)));
}

#[test]
fn the_count_survives_a_change_of_divisor_and_of_mode() {
    let mut rig = timer(0, BY_1, 1000);
    rig.bench.now = VmTime(400);
    rig.write(0, DIVIDE, 0);
    assert_eq!(rig.read(0, CURRENT), 600);
    assert_eq!(rig.apics.next_event(), Some(VmTime(400 + 1200)));
    rig.bench.now = VmTime(600);
    rig.write(0, LVT_TIMER, 1 << 17 | 0x40);
    assert_eq!(rig.read(0, CURRENT), 500);
    assert_eq!(rig.apics.next_event(), Some(VmTime(1600)));
    rig.run_ns(1000);
    assert!(rig.apics.pending(0));
    assert_eq!(rig.apics.next_event(), Some(VmTime(1600 + 2000)));
}

#[test]
fn tsc_deadline() {
    let mut rig = timer(2, BY_1, 1000);
    assert_eq!((rig.read(0, INITIAL), rig.read(0, CURRENT)), (0, 0), "the counter is off");
    let arm = |rig: &mut Rig, value, at| {
        rig.with(0, |apics, cx| apics.write_tsc_deadline(cx, value, VmTime(at)));
    };
    let armed = |rig: &mut Rig| rig.with(0, |apics, cx| apics.read_tsc_deadline(cx));
    arm(&mut rig, 12_345, 500);
    assert_eq!(armed(&mut rig), 12_345);
    rig.run_ns(499);
    assert!(!rig.apics.pending(0));
    rig.run_ns(1);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x40));
    rig.eoi(0);
    assert_eq!(armed(&mut rig), 0);
    // In the past: at once. 0: never.
    arm(&mut rig, 1, 10);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x40));
    rig.eoi(0);
    arm(&mut rig, 20_000, 1000);
    arm(&mut rig, 0, 0);
    assert_eq!((rig.apics.next_event(), rig.apics.pending(0)), (None, false));
    // Another mode disarms, and ignores the register.
    arm(&mut rig, 20_000, 1000);
    rig.write(0, LVT_TIMER, 0x40);
    assert_eq!((rig.apics.next_event(), armed(&mut rig)), (None, 0));
    arm(&mut rig, 20_000, 1000);
    assert_eq!((rig.apics.next_event(), armed(&mut rig)), (None, 0));
    // The reserved mode stands still.
    rig.write(0, LVT_TIMER, 3 << 17 | 0x40);
    rig.write(0, INITIAL, 5);
    assert_eq!((rig.apics.next_event(), rig.read(0, INITIAL)), (None, 0));
}

#[test]
fn each_vcpu_has_its_own_timer() {
    let mut rig = Rig::new(2);
    for (vcpu, count) in [(0, 3000), (1, 2000)] {
        rig.write(vcpu, LVT_TIMER, 0x40 + vcpu);
        rig.write(vcpu, DIVIDE, BY_1);
        rig.write(vcpu, INITIAL, count);
    }
    assert_eq!(rig.apics.next_event(), Some(VmTime(2000)));
    rig.run_ns(2500);
    assert_eq!(rig.waiting(0x41), [1]);
    rig.run_ns(500);
    assert_eq!(rig.waiting(0x40), [0]);
    rig.with(0, |apics, cx| apics.init(cx, 0));
    assert_eq!(rig.read(0, INITIAL), 0);
}
