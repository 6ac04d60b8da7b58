//! Tests of the HPET.

use serde_json::json;

use super::*;
use crate::{
    Bench, Signal,
    stress::{Random, Subject, stress},
};

const CONFIG: u64 = 0x10;
const STATUS: u64 = 0x20;
const COUNTER: u64 = 0xf0;
/// Routes 2 and 20 to 23, as wires of the same numbers; the legacy lines are wires 100 and 108.
const ROUTES: u32 = 0x00f0_0004;

fn hpet(bench: &Bench) -> Hpet {
    let line = |n: usize| (ROUTES & 1 << n != 0).then(|| bench.backplane.line(n as u32));
    Hpet::new(std::array::from_fn(line), [bench.backplane.line(100), bench.backplane.line(108)])
}

struct Rig {
    bench: Bench,
    hpet: Hpet,
}

impl Rig {
    fn new() -> Self {
        let bench = Bench::new();
        let hpet = hpet(&bench);
        Self { bench, hpet }
    }

    fn read(&mut self, offset: u64) -> u64 {
        let Self { bench, hpet } = self;
        let mut data = [0xff; 8];
        bench.with(|cx| hpet.mmio_read(cx, offset, &mut data));
        u64::from_le_bytes(data)
    }

    fn store(&mut self, offset: u64, data: &[u8]) {
        let Self { bench, hpet } = self;
        bench.with(|cx| hpet.mmio_write(cx, offset, data));
    }

    fn write(&mut self, offset: u64, value: u64) {
        self.store(offset, &value.to_le_bytes());
    }

    fn write32(&mut self, offset: u64, value: u32) {
        self.store(offset, &value.to_le_bytes());
    }

    fn ticks(&mut self, ticks: u64) {
        self.bench.run_ns(&mut self.hpet, ticks * TICK_NS);
    }

    fn next_tick(&self) -> Option<u64> {
        self.hpet.next_event().map(|at| at.ns() / TICK_NS)
    }

    /// The changes of wires.
    fn said(&mut self) -> Vec<(u32, bool)> {
        let level = |signal| match signal {
            Signal::Level { wire, level } => (wire, level),
            other => panic!("an HPET says {other:?}"),
        };
        self.bench.said().into_iter().map(level).collect()
    }
}

fn config(n: u64) -> u64 {
    0x100 + n * 0x20
}

fn comparator(n: u64) -> u64 {
    0x108 + n * 0x20
}

const NOTHING: [(u32, bool); 0] = [];
const PULSE_20: [(u32, bool); 2] = [(20, true), (20, false)];

#[test]
fn capabilities() {
    let mut rig = Rig::new();
    assert_eq!(rig.read(0), 0x0098_9680_8086_a201);
    rig.write(0, 0);
    assert_eq!(rig.read(0), 0x0098_9680_8086_a201);
    let routes = u64::from(ROUTES) << 32;
    assert_eq!(rig.read(config(0)), routes | 0x30);
    assert_eq!(rig.read(config(1)), routes | 0x20);
    for n in 0..3 {
        rig.write(config(n), !ROUTE | 20 << 9);
        let periodic = if n == 0 { 0x18 } else { 0 };
        assert_eq!(rig.read(config(n)), routes | 20 << 9 | 0x126 | periodic);
        // A route that the board has not is not taken.
        rig.write(config(n), 5 << 9);
        assert_eq!(rig.read(config(n)) & ROUTE, 20 << 9);
        assert_eq!(rig.read(config(n) + 0x10), 0, "no FSB route");
    }
    assert_eq!(rig.read(0x160), 0);
    assert_eq!(rig.read(0x3f8), 0);
    // A read of half a register.
    let mut data = [0; 4];
    let Rig { bench, hpet } = &mut rig;
    bench.with(|cx| hpet.mmio_read(cx, 4, &mut data));
    assert_eq!(u32::from_le_bytes(data), 10_000_000);
}

#[test]
fn the_counter_runs_stops_and_can_be_set() {
    let mut rig = Rig::new();
    rig.ticks(1000);
    assert_eq!(rig.read(COUNTER), 0);
    rig.write(CONFIG, ENABLE);
    rig.ticks(1000);
    assert_eq!(rig.read(COUNTER), 1000);
    rig.write(CONFIG, 0);
    rig.ticks(1000);
    assert_eq!(rig.read(COUNTER), 1000);
    rig.write(COUNTER, u64::MAX - 9);
    rig.write(CONFIG, ENABLE);
    rig.ticks(30);
    assert_eq!(rig.read(COUNTER), 20, "it wraps");
    // By halves.
    rig.write(CONFIG, 0);
    rig.write32(COUNTER, 0x1234_5678);
    rig.write32(COUNTER + 4, 0x9abc_def0);
    assert_eq!(rig.read(COUNTER), 0x9abc_def0_1234_5678);
    // Undefined accesses are ignored.
    for (offset, data) in [(COUNTER, &[0; 1][..]), (COUNTER + 2, &[0; 4]), (COUNTER + 4, &[0; 8])] {
        rig.store(offset, data);
        assert_eq!(rig.read(COUNTER), 0x9abc_def0_1234_5678);
    }
}

#[test]
fn a_one_shot_edge() {
    let mut rig = Rig::new();
    rig.write(config(1), INTERRUPT | 20 << 9);
    rig.write(comparator(1), 500);
    assert_eq!(rig.next_tick(), None, "the counter stands");
    rig.write(CONFIG, ENABLE);
    assert_eq!(rig.next_tick(), Some(500));
    rig.ticks(499);
    assert_eq!(rig.said(), NOTHING);
    rig.ticks(1);
    assert_eq!(rig.said(), PULSE_20);
    assert_eq!((rig.read(STATUS), rig.next_tick()), (0, None));
    // Set to now or to the past, it waits for the counter to come round.
    for behind in [500, 499] {
        rig.write(comparator(1), behind);
        rig.ticks(1);
        assert_eq!(rig.said(), NOTHING);
    }
    // Without its interrupt it wakes nobody.
    rig.write(config(1), 20 << 9);
    rig.write(comparator(1), 600);
    assert_eq!(rig.next_tick(), None);
    rig.ticks(200);
    assert_eq!(rig.said(), NOTHING);
}

#[test]
fn a_level_holds_until_its_status_is_cleared() {
    let mut rig = Rig::new();
    rig.write(CONFIG, ENABLE);
    rig.write(config(0), LEVEL | INTERRUPT | 20 << 9);
    rig.write(config(2), LEVEL | INTERRUPT | 20 << 9);
    rig.write(comparator(0), 100);
    rig.write(comparator(2), 200);
    rig.ticks(300);
    assert_eq!(rig.said(), [(20, true)], "the two share the line");
    assert_eq!(rig.read(STATUS), 0b101);
    rig.write(STATUS, 0b001);
    assert_eq!(rig.said(), NOTHING);
    rig.write(STATUS, 0b110);
    assert_eq!((rig.said(), rig.read(STATUS)), (vec![(20, false)], 0));

    // Halting takes the line down and keeps the status.
    rig.write(comparator(0), 400);
    rig.ticks(100);
    rig.write(CONFIG, 0);
    assert_eq!(rig.said(), [(20, true), (20, false)]);
    assert_eq!(rig.read(STATUS), 1);
    rig.write(CONFIG, ENABLE);
    assert_eq!(rig.said(), [(20, true)]);
    // So does disabling the timer's interrupt; the status shows without it too.
    rig.write(config(0), LEVEL | 20 << 9);
    assert_eq!(rig.said(), [(20, false)]);
    rig.write(comparator(2), 500);
    rig.write(config(2), LEVEL);
    rig.ticks(200);
    assert_eq!((rig.said(), rig.read(STATUS)), (vec![], 0b101));
    // An edge has no status.
    rig.write(config(0), INTERRUPT | 20 << 9);
    assert_eq!(rig.read(STATUS), 0b100);
}

#[test]
fn an_edge_on_a_line_that_another_timer_holds_is_not_seen() {
    let mut rig = Rig::new();
    rig.write(CONFIG, ENABLE);
    rig.write(config(0), LEVEL | INTERRUPT | 20 << 9);
    rig.write(config(1), INTERRUPT | 20 << 9);
    rig.write(comparator(0), 100);
    rig.write(comparator(1), 200);
    rig.ticks(300);
    assert_eq!(rig.said(), [(20, true)]);
}

#[test]
fn a_periodic_timer_keeps_its_phase_and_coalesces() {
    let mut rig = Rig::new();
    rig.write(CONFIG, ENABLE);
    rig.ticks(50);
    // The accumulator first, then the period.
    rig.write(config(0), INTERRUPT | PERIODIC | SET_VALUE | 20 << 9);
    assert_eq!(rig.read(config(0)) & SET_VALUE, 0, "reads as 0");
    rig.write(comparator(0), 150);
    rig.write(comparator(0), 100);
    assert_eq!(rig.read(comparator(0)), 150);
    for period in 1..=1000 {
        assert_eq!(rig.next_tick(), Some(50 + 100 * period));
        rig.ticks(100);
        assert_eq!(rig.said(), PULSE_20);
    }
    // Long without a call: one edge, and the phase stays.
    rig.bench.now = rig.bench.now.after_ns(12_345 * TICK_NS);
    let now = rig.read(COUNTER);
    assert_eq!(rig.said(), PULSE_20);
    assert_eq!(rig.read(comparator(0)), (now - 50).next_multiple_of(100) + 50);
}

#[test]
fn one_write_sets_both_accumulator_and_period() {
    let mut rig = Rig::new();
    rig.write(config(0), INTERRUPT | PERIODIC | SET_VALUE | 20 << 9);
    rig.write(comparator(0), 70);
    rig.write(CONFIG, ENABLE);
    rig.ticks(140);
    assert_eq!(rig.said().len(), 4);
    assert_eq!(rig.next_tick(), Some(210));
    // Without VAL_SET only the period changes.
    rig.write(comparator(0), 1000);
    assert_eq!(rig.next_tick(), Some(210));
    rig.ticks(70);
    assert_eq!(rig.next_tick(), Some(1210));
    // A period of 0 does not repeat.
    rig.write(comparator(0), 0);
    rig.ticks(1000);
    assert_eq!(rig.said().len(), 4);
    assert_eq!(rig.next_tick(), None);
}

#[test]
fn a_32_bit_timer_compares_the_lower_half() {
    let mut rig = Rig::new();
    rig.write(config(2), INTERRUPT | NARROW | 21 << 9);
    assert_eq!(rig.read(comparator(2)), 0xffff_ffff);
    rig.write(comparator(2), 0x5_0000_0010);
    assert_eq!(rig.read(comparator(2)), 0x10);
    rig.write(COUNTER, 0x7_ffff_fff0);
    rig.write(CONFIG, ENABLE);
    assert_eq!(rig.next_tick(), Some(0x20));
    rig.ticks(0x20);
    assert_eq!(rig.said(), [(21, true), (21, false)]);
    assert_eq!(rig.next_tick(), Some(0x1_0000_0020), "and once more each time round");
    // A periodic one wraps too.
    rig.write(config(0), INTERRUPT | NARROW | PERIODIC | SET_VALUE | 20 << 9);
    rig.write32(comparator(0), 0x20);
    rig.write32(comparator(0), 0xffff_fff0);
    rig.ticks(0x10);
    assert_eq!(rig.said(), PULSE_20);
    assert_eq!(rig.read(comparator(0)), 0x10);
}

#[test]
fn legacy_replacement() {
    let mut rig = Rig::new();
    for n in 0..3 {
        rig.write(config(n), INTERRUPT | 20 << 9);
        rig.write(comparator(n), 100 * (n + 1));
    }
    rig.write(CONFIG, LEGACY);
    assert!(!rig.hpet.legacy_routing(), "not while it is halted");
    rig.write(CONFIG, LEGACY | ENABLE);
    assert!(rig.hpet.legacy_routing());
    rig.ticks(400);
    let expected = [(100, true), (100, false), (108, true), (108, false), (20, true), (20, false)];
    assert_eq!(rig.said(), expected);
    // A level moves with the mode.
    rig.write(config(1), LEVEL | INTERRUPT | 20 << 9);
    rig.write(comparator(1), 500);
    rig.ticks(100);
    rig.write(CONFIG, ENABLE);
    assert_eq!(rig.said(), [(108, true), (20, true), (108, false)]);
}

#[test]
fn reset_and_load() {
    let mut rig = Rig::new();
    rig.write(CONFIG, ENABLE);
    rig.write(config(0), LEVEL | INTERRUPT | 20 << 9);
    rig.write(comparator(0), 10);
    rig.ticks(10);
    assert_eq!(rig.said(), [(20, true)]);
    let saved = rig.hpet.save();
    let Rig { bench, hpet } = &mut rig;
    bench.with(|cx| hpet.reset(cx));
    assert_eq!(rig.said(), [(20, false)]);
    assert_eq!((rig.read(CONFIG), rig.read(COUNTER)), (0, 0));
    assert!(rig.hpet.load(&saved).is_ok());
    assert_eq!(rig.said(), NOTHING, "no edges");
    rig.write(STATUS, 1);
    assert_eq!(rig.said(), [(20, false)], "but the level was there");

    for (field, value) in [
        ("/config", json!(4)),
        ("/status", json!(8)),
        ("/timers/0/config", json!(1)),
        ("/timers/0/config", json!(5 << 9)),
        ("/timers/1/config", json!(8)),
        ("/timers/2", json!({"config": 0x100, "comparator": 1u64 << 32, "period": 0})),
        ("/timers", json!([])),
    ] {
        let mut bad = saved.clone();
        *bad.state.pointer_mut(field).expect("a field") = value;
        assert!(rig.hpet.load(&bad).is_err(), "{field}");
    }
}

#[test]
fn random_treatment() {
    for seed in 1..5 {
        treat(seed, 20_000);
    }
}

#[test]
#[ignore = "takes a minute"]
fn a_million_random_accesses() {
    treat(0x4e7, 1_000_000);
}

fn treat(seed: u64, steps: u32) {
    let other = |hpet: &mut Hpet, cx: &mut Cx<'_>, random: &mut Random| {
        let n = random.below(3);
        let value = match random.below(3) {
            0 => random.next() & 0x1ff | [2, 20, 21, 24][random.below(4) as usize] << 9,
            _ => random.next() >> random.below(64),
        };
        let offset = [CONFIG, config(n), comparator(n)][random.below(3) as usize];
        hpet.mmio_write(cx, offset, &value.to_le_bytes());
    };
    stress(Subject { fresh: hpet, window: 0x400, pins: 0, vcpus: 1, other }, seed, steps);
}
