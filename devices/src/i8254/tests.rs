//! The 8254 against the waveforms of its datasheet, tick by tick.

use super::{I8254, ticks, time_of};
use crate::{Bench, Device, Signal, Timed};

const OUT0: u32 = 7;

struct Pit {
    bench: Bench,
    pit: I8254,
}

impl Pit {
    fn new() -> Self {
        let mut bench = Bench::new();
        bench.now = time_of(1000);
        let pit = I8254::new(bench.backplane.line(OUT0));
        Self { bench, pit }
    }

    fn out(&mut self, reg: u16, value: u8) {
        self.bench.port_out(&mut self.pit, reg, value);
    }

    fn read(&mut self, reg: u16) -> u8 {
        self.bench.port_in::<1>(&mut self.pit, reg)[0]
    }

    /// Programs counter `index` with both bytes of `count`.
    fn program(&mut self, index: u16, mode: u8, count: u16) {
        self.out(I8254::CONTROL, (index as u8) << 6 | 0x30 | mode << 1);
        self.count(index, count);
    }

    fn count(&mut self, index: u16, count: u16) {
        let [low, high] = count.to_le_bytes();
        self.out(index, low);
        self.out(index, high);
    }

    fn step(&mut self, n: u64) {
        let end = time_of(ticks(self.bench.now) + n);
        self.bench.run_ns(&mut self.pit, end.since(self.bench.now));
    }

    /// The count now, through a latch command.
    fn value(&mut self, index: u16) -> u16 {
        self.out(I8254::CONTROL, (index as u8) << 6);
        u16::from_le_bytes([self.read(index), self.read(index)])
    }

    fn out2(&mut self) -> bool {
        self.read(I8254::PORT_61) & 0x20 != 0
    }

    /// Output and count of counter 2 on each of the next `n` ticks, first with the next one.
    fn trace(&mut self, n: usize) -> Vec<(bool, u16)> {
        (0..n)
            .map(|_| {
                self.step(1);
                (self.out2(), self.value(2))
            })
            .collect()
    }
}

#[test]
fn the_clock_is_a_third_of_the_colour_burst() {
    assert_eq!(ticks(time_of(1_193_181)), 1_193_181);
    assert_eq!(time_of(105).ns(), 88_000);
    assert_eq!(ticks(trine_guest::VmTime(1_000_000_000)), 1_193_181);
}

#[test]
fn mode_0_counts_to_zero_and_stays_high() {
    let mut p = Pit::new();
    p.out(I8254::PORT_61, 1);
    p.program(2, 0, 4);
    assert_eq!(
        p.trace(6),
        [(false, 4), (false, 3), (false, 2), (false, 1), (true, 0), (true, 0xffff)]
    );
    // The gate holds the count, not the output.
    p.program(2, 0, 3);
    assert_eq!(p.trace(2), [(false, 3), (false, 2)]);
    p.out(I8254::PORT_61, 0);
    assert_eq!(p.trace(2), [(false, 2), (false, 2)]);
    p.out(I8254::PORT_61, 1);
    assert_eq!(p.trace(2), [(false, 1), (true, 0)]);
    // The first byte of a new count stops the old one.
    p.program(2, 0, 100);
    p.step(5);
    p.out(I8254::COUNTER_2, 2);
    assert_eq!(p.trace(2), [(false, 96), (false, 96)]);
    p.out(I8254::COUNTER_2, 0);
    assert_eq!(p.trace(3), [(false, 2), (false, 1), (true, 0)]);
}

#[test]
fn mode_1_is_triggered_by_the_gate() {
    let mut p = Pit::new();
    p.program(2, 1, 3);
    p.step(3);
    assert!(p.out2());
    p.out(I8254::PORT_61, 1);
    assert_eq!(p.trace(4), [(false, 3), (false, 2), (false, 1), (true, 0)]);
    p.out(I8254::PORT_61, 0);
    p.out(I8254::PORT_61, 1);
    assert_eq!(p.trace(2), [(false, 3), (false, 2)]);
    // A new count waits for the next trigger, which restarts the pulse without an edge.
    p.count(2, 2);
    assert_eq!(p.trace(1), [(false, 1)]);
    p.out(I8254::PORT_61, 0);
    p.out(I8254::PORT_61, 1);
    assert_eq!(p.trace(3), [(false, 2), (false, 1), (true, 0)]);
}

#[test]
fn mode_2_is_low_for_the_last_tick_of_each_period() {
    let mut p = Pit::new();
    p.out(I8254::PORT_61, 1);
    p.program(2, 2, 3);
    assert_eq!(
        p.trace(7),
        [(true, 3), (true, 2), (false, 1), (true, 3), (true, 2), (false, 1), (true, 3)]
    );
    // A new count is used from the next period on.
    p.count(2, 2);
    assert_eq!(p.trace(6), [(true, 2), (false, 1), (true, 2), (false, 1), (true, 2), (false, 1)]);
    p.out(I8254::PORT_61, 0);
    assert!(p.out2(), "a low gate sets the output high at once");
    p.step(2);
    p.out(I8254::PORT_61, 1);
    assert_eq!(p.trace(2), [(true, 2), (false, 1)]);
}

#[test]
fn mode_3_is_a_square_wave() {
    let mut p = Pit::new();
    p.out(I8254::PORT_61, 1);
    p.program(2, 3, 4);
    assert_eq!(p.trace(5), [(true, 4), (true, 2), (false, 4), (false, 2), (true, 4)]);
    p.program(2, 3, 5);
    assert_eq!(p.trace(6), [(true, 4), (true, 2), (true, 0), (false, 4), (false, 2), (true, 4)]);
    // A new count is used from the next half on.
    p.count(2, 2);
    assert_eq!(p.trace(5), [(true, 2), (true, 0), (false, 2), (true, 2), (false, 2)]);
}

#[test]
fn mode_4_strobes_once_for_each_count() {
    let mut p = Pit::new();
    p.out(I8254::PORT_61, 1);
    p.program(2, 4, 2);
    assert_eq!(p.trace(5), [(true, 2), (true, 1), (false, 0), (true, 0xffff), (true, 0xfffe)]);
    p.count(2, 1);
    assert_eq!(p.trace(3), [(true, 1), (false, 0), (true, 0xffff)]);
}

#[test]
fn mode_5_strobes_after_each_trigger() {
    let mut p = Pit::new();
    p.program(2, 5, 2);
    p.step(3);
    p.out(I8254::PORT_61, 1);
    assert_eq!(p.trace(4), [(true, 2), (true, 1), (false, 0), (true, 0xffff)]);
    p.out(I8254::PORT_61, 0);
    p.out(I8254::PORT_61, 1);
    assert_eq!(p.trace(3), [(true, 2), (true, 1), (false, 0)]);
}

#[test]
fn counting_in_decimal() {
    let mut p = Pit::new();
    p.out(I8254::PORT_61, 1);
    p.out(I8254::CONTROL, 0xb1);
    p.count(2, 0x1000);
    p.step(2);
    assert_eq!(p.value(2), 0x0999);
    p.step(1000);
    assert_eq!(p.value(2), 0x9999);
    p.out(I8254::CONTROL, 0xb1);
    p.count(2, 0);
    p.step(2);
    assert_eq!(p.value(2), 0x9999, "0 stands for 10,000");
}

#[test]
fn one_byte_counts_and_unlatched_reads() {
    let mut p = Pit::new();
    p.out(I8254::CONTROL, 0x50 | 2 << 1);
    p.out(I8254::COUNTER_1, 100);
    p.step(1);
    assert_eq!([p.read(I8254::COUNTER_1), p.read(I8254::COUNTER_1)], [100, 100]);
    p.out(I8254::CONTROL, 0x60 | 2 << 1);
    p.out(I8254::COUNTER_1, 2);
    p.step(2);
    assert_eq!(p.read(I8254::COUNTER_1), 1, "the high byte of 511");
    assert_eq!(p.read(I8254::CONTROL), 0xff);
}

#[test]
fn latches_hold_until_they_are_read() {
    let mut p = Pit::new();
    p.program(0, 2, 0x1234);
    p.out(I8254::CONTROL, 0xe2);
    assert_eq!(p.read(I8254::COUNTER_0), 0xf4, "output high, null count, both bytes, mode 2");
    p.step(1);
    p.out(I8254::CONTROL, 0xc2);
    p.step(3);
    p.out(I8254::CONTROL, 0xc2);
    let reads: Vec<u8> = (0..3).map(|_| p.read(I8254::COUNTER_0)).collect();
    assert_eq!(reads, [0xb4, 0x34, 0x12], "status, then the count of the first command");
    assert_eq!(p.value(0), 0x1231);
}

#[test]
fn the_output_of_counter_0_is_exact() {
    let mut p = Pit::new();
    p.program(0, 2, 1000);
    p.bench.said();
    let loaded = ticks(p.bench.now) + 1;
    for (tick, level) in [(999, false), (1000, true), (1999, false), (2000, true)] {
        let at = p.pit.next_event().expect("the wave goes on");
        assert_eq!(at, time_of(loaded + tick));
        p.bench.now = at;
        p.bench.with(|cx| p.pit.advance(cx));
        assert_eq!(p.bench.said(), [Signal::Level { wire: OUT0, level }]);
    }
    p.program(0, 0, 10);
    p.bench.said();
    p.step(20);
    assert_eq!(p.bench.said(), [Signal::Level { wire: OUT0, level: true }]);
    assert_eq!(p.pit.next_event(), None);
}

#[test]
fn a_late_wake_up_still_shows_an_edge() {
    let mut p = Pit::new();
    p.program(0, 2, 1000);
    p.bench.said();
    p.bench.now = p.bench.now.after_ns(3_600_000_000_000);
    p.bench.with(|cx| p.pit.advance(cx));
    let said = p.bench.said();
    assert!(said.len() <= 3 && said.contains(&Signal::Level { wire: OUT0, level: true }));
    assert!(p.pit.next_event().expect("goes on") > p.bench.now);
}

#[test]
fn a_period_of_one_tick_is_no_storm() {
    let mut p = Pit::new();
    for mode in [2, 3] {
        p.program(0, mode, 1);
        p.step(10);
        assert_eq!(p.pit.next_event(), None);
    }
    p.count(0, 3);
    assert!(p.pit.next_event().is_some());
}

#[test]
fn port_61_shows_refresh_and_the_speaker() {
    let mut p = Pit::new();
    p.out(I8254::PORT_61, 0xff);
    assert_eq!(p.read(I8254::PORT_61) & 0x0f, 0x0f);
    let before = p.read(I8254::PORT_61) & 0x10;
    p.step(18);
    assert_ne!(p.read(I8254::PORT_61) & 0x10, before);
    assert_eq!(p.pit.speaker_hz(), None);
    p.program(2, 3, 1193);
    assert_eq!(p.pit.speaker_hz(), Some(1000));
    p.out(I8254::PORT_61, 1);
    assert_eq!(p.pit.speaker_hz(), None);
}

#[test]
fn a_saved_timer_goes_on_elsewhere() {
    let mut p = Pit::new();
    p.program(0, 3, 1001);
    p.step(700);
    let saved = p.pit.save();
    let mut q = Pit::new();
    q.bench.now = p.bench.now;
    q.pit.load(&saved).expect("its own state");
    assert_eq!(q.bench.said(), [], "a load makes no edges");
    assert_eq!(q.pit.next_event(), p.pit.next_event());
    p.step(400);
    q.step(400);
    assert_eq!(q.value(0), p.value(0));
    assert_eq!(q.pit.save(), p.pit.save());
}
