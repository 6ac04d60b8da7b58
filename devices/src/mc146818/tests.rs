//! The MC146818 against its datasheet.

use trine_guest::VmTime;

use super::Mc146818;
use crate::{Bench, Device, Signal, Timed};

const IRQ: u32 = 8;
const SECOND: u64 = 1_000_000_000;

struct Rtc {
    bench: Bench,
    rtc: Mc146818,
}

impl Rtc {
    /// Shows 31 December 1999, 23:59:58, a Friday.
    fn new() -> Self {
        let bench = Bench::new();
        let rtc = Mc146818::new(bench.backplane.line(IRQ), 946_684_798);
        Self { bench, rtc }
    }

    fn write(&mut self, index: u8, value: u8) {
        self.bench.port_out(&mut self.rtc, Mc146818::INDEX, index);
        self.bench.port_out(&mut self.rtc, Mc146818::DATA, value);
    }

    fn read(&mut self, index: u8) -> u8 {
        self.bench.port_out(&mut self.rtc, Mc146818::INDEX, index);
        self.bench.port_in::<1>(&mut self.rtc, Mc146818::DATA)[0]
    }

    /// Century, year, month, date, day of week, hours, minutes, seconds.
    fn clock(&mut self) -> [u8; 8] {
        [0x32, 9, 8, 7, 6, 4, 2, 0].map(|index| self.read(index))
    }

    fn run(&mut self, ns: u64) {
        self.bench.run_ns(&mut self.rtc, ns);
    }
}

#[test]
fn it_keeps_time_through_the_turn_of_a_century() {
    let mut r = Rtc::new();
    assert_eq!(r.clock(), [0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x58]);
    r.run(2 * SECOND - 1);
    assert_eq!(r.clock(), [0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x59]);
    r.run(1);
    assert_eq!(r.clock(), [0x20, 0x00, 0x01, 0x01, 7, 0x00, 0x00, 0x00]);
    r.run(59 * 86_400 * SECOND);
    assert_eq!(r.clock(), [0x20, 0x00, 0x02, 0x29, 3, 0x00, 0x00, 0x00]);
}

#[test]
fn binary_and_12_hour_formats() {
    let mut r = Rtc::new();
    r.write(0x0b, 0x80 | 0x04);
    for (index, value) in [(4, 0x80 | 11), (2, 59), (0, 59), (7, 9), (8, 10), (9, 24), (6, 4)] {
        r.write(index, value);
    }
    r.write(0x32, 20);
    r.write(0x0b, 0x04);
    r.run(SECOND);
    assert_eq!(r.clock(), [20, 24, 10, 10, 5, 12, 0, 0], "midnight is 12 AM");
    r.run(12 * 3600 * SECOND);
    assert_eq!(r.clock(), [20, 24, 10, 10, 5, 0x80 | 12, 0, 0], "noon is 12 PM");
    r.run(3600 * SECOND);
    assert_eq!(r.read(4), 0x80 | 1);
}

#[test]
fn update_in_progress_precedes_each_update() {
    let mut r = Rtc::new();
    assert_eq!(r.read(0x0a), 0x26);
    r.run(SECOND - 2_229_000);
    assert_eq!(r.read(0x0a), 0x26);
    r.run(2_000);
    assert_eq!(r.read(0x0a), 0xa6);
    assert_eq!(r.read(0), 0x58);
    r.run(2_226_999);
    assert_eq!(r.read(0x0a), 0xa6);
    r.run(1);
    assert_eq!((r.read(0x0a), r.read(0)), (0x26, 0x59));
}

#[test]
fn update_ended_interrupts_come_each_second() {
    let mut r = Rtc::new();
    r.write(0x0b, 0x12);
    assert_eq!(r.rtc.next_event(), Some(VmTime(SECOND)));
    r.run(SECOND);
    assert_eq!(r.bench.said(), [Signal::Level { wire: IRQ, level: true }]);
    assert_eq!(r.rtc.next_event(), None, "the line is high already");
    assert_eq!(r.read(0x0c) & 0x90, 0x90);
    assert_eq!(r.read(0x0c), 0);
    assert_eq!(r.bench.said(), [Signal::Level { wire: IRQ, level: false }]);
    assert_eq!(r.rtc.next_event(), Some(VmTime(2 * SECOND)));
}

#[test]
fn periodic_interrupts_keep_their_rate() {
    let mut r = Rtc::new();
    r.write(0x0b, 0x42);
    let mut count = 0;
    while let Some(at) = r.rtc.next_event().filter(|at| at.ns() <= SECOND) {
        r.bench.now = at;
        r.bench.with(|cx| r.rtc.advance(cx));
        assert_eq!(r.read(0x0c) & 0xc0, 0xc0);
        count += 1;
    }
    assert_eq!(count, 1024);
    for (rate, hz) in [(1, 256), (2, 128), (3, 8192), (15, 2)] {
        r.write(0x0a, 0x20 | rate);
        r.read(0x0c);
        let first = r.rtc.next_event().expect("periodic");
        r.bench.now = first;
        r.bench.with(|cx| r.rtc.advance(cx));
        r.read(0x0c);
        let period = r.rtc.next_event().expect("periodic").since(first);
        assert!(period.abs_diff(SECOND / hz) <= 1, "{hz} Hz: {period}");
    }
}

#[test]
fn alarms_match_the_time_of_day() {
    let mut r = Rtc::new();
    for (index, value) in [(1, 0x30), (3, 0x00), (5, 0x06)] {
        r.write(index, value);
    }
    r.write(0x0b, 0x22);
    assert_eq!(r.rtc.next_event(), Some(VmTime((2 + 6 * 3600 + 30) * SECOND)));
    r.run((6 * 3600 + 32) * SECOND);
    assert_eq!(r.bench.said(), [Signal::Level { wire: IRQ, level: true }]);
    assert_eq!(r.read(0x0c) & 0xa0, 0xa0);
    // Each hour at 15:45, by don't-care hours; then never.
    for (index, value) in [(1, 0x45), (3, 0x15), (5, 0xff)] {
        r.write(index, value);
    }
    assert_eq!(r.rtc.next_event(), Some(VmTime((2 + 6 * 3600 + 945) * SECOND)));
    r.write(1, 0x61);
    assert_eq!(r.rtc.next_event(), None);
}

#[test]
fn set_and_divider_reset_stop_the_clock() {
    let mut r = Rtc::new();
    r.run(SECOND / 4);
    r.write(0x0b, 0x92);
    assert_eq!(r.read(0x0b), 0x82, "SET clears UIE");
    r.run(10 * SECOND);
    assert_eq!(r.read(0), 0x58);
    r.write(0x0b, 0x02);
    r.run(SECOND);
    assert_eq!(r.read(0), 0x59);
    r.write(0x0a, 0x76);
    r.run(SECOND * 3 / 2);
    assert_eq!(r.read(0), 0x59);
    r.write(0x0a, 0x26);
    r.run(SECOND / 2 - 1);
    assert_eq!(r.read(0), 0x59);
    r.run(1);
    assert_eq!(r.read(0), 0x00, "half a second after the divider starts");
}

#[test]
fn flags_are_set_without_being_enabled() {
    let mut r = Rtc::new();
    r.run(SECOND);
    assert_eq!(r.read(0x0c), 0x50);
    assert_eq!(r.bench.said(), []);
    assert_eq!(r.read(0x0d), 0x80);
}

#[test]
fn reset_keeps_time_and_ram() {
    let mut r = Rtc::new();
    r.write(0x0f, 0x0a);
    r.write(0x0b, 0x7a);
    r.run(SECOND);
    r.bench.with(|cx| r.rtc.reset(cx));
    assert!(!r.rtc.irq.level());
    assert_eq!((r.read(0x0b), r.read(0x0c), r.read(0x0f), r.read(0)), (0x02, 0, 0x0a, 0x59));
}

#[test]
fn the_board_fills_in_memory_sizes() {
    let mut r = Rtc::new();
    r.rtc.set_memory_sizes(512 << 20, 5 << 30);
    assert_eq!([0x15, 0x16].map(|i| r.read(i)), [0x80, 0x02]);
    assert_eq!([0x17, 0x18, 0x30, 0x31].map(|i| r.read(i)), [0xff; 4]);
    assert_eq!([0x34, 0x35].map(|i| r.read(i)), [0x00, 0x1f]);
    assert_eq!([0x5b, 0x5c, 0x5d].map(|i| r.read(i)), [0x00, 0x40, 0x01]);
    r.rtc.set_memory_sizes(3 << 20, 0);
    assert_eq!([0x17, 0x18, 0x34].map(|i| r.read(i)), [0x00, 0x08, 0x00]);
}

#[test]
fn the_index_masks_nmis() {
    let mut r = Rtc::new();
    r.write(0x8f, 5);
    assert!(r.rtc.nmi_masked());
    assert_eq!(r.read(0x0f), 5);
    assert!(!r.rtc.nmi_masked());
    assert_eq!(r.bench.port_in::<1>(&mut r.rtc, Mc146818::INDEX), [0xff]);
}
