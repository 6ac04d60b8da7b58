//! What KVM does for guests that know of it: values, versions, and addresses that are none.

use std::sync::{Arc, atomic::Ordering};

use super::Bench;
use crate::{CpuModel, msr, vector};

const MODEL: &str = "max,+kvmclock,+kvm-steal-time,+kvm-pv-eoi";
const PAGE: u64 = 0x2_0000;

impl Bench {
    /// A CPU that offers everything, with all ones where its structures will be.
    fn with_kvm() -> Self {
        let mut b = Self::new(true).with_model(MODEL);
        (0..8).for_each(|n| b.put(PAGE + 8 * n, u64::MAX));
        b
    }

    fn pass(&self, ns: u64) {
        self.desk.later.fetch_add(ns, Ordering::Relaxed);
    }

    fn set_tsc(&mut self, value: u64) {
        assert!(self.writes(msr::TSC, value));
    }

    /// The time by the clock's structure as a guest computes it (msr.rst), and its flags.
    fn clock(&self) -> (u64, u8) {
        let since = self.core.tsc().wrapping_sub(self.get(PAGE + 8));
        let parameters = self.get(PAGE + 24);
        let (mul, shift) = (u128::from(parameters as u32), (parameters >> 32) as i8);
        let shifted = u128::from(if shift < 0 { since >> -shift } else { since << shift });
        assert_eq!(parameters >> 48, 0, "padding");
        (self.get(PAGE + 16) + (shifted * mul >> 32) as u64, (parameters >> 40) as u8)
    }

    fn now_ns(&self) -> u64 {
        self.core.now().ns()
    }
}

#[test]
fn cpuid_tells_of_kvm_where_something_is_offered() {
    let leaf = |model: &str, leaf| CpuModel::named(model).unwrap().cpuid(leaf, 0, 0);
    let name = |model: &str| {
        let [_, a, b, c] = leaf(model, 0x4000_0000);
        [a, b, c].map(u32::to_le_bytes).concat()
    };
    assert_eq!(name("max"), b"TrineTrine\0\0");
    assert_eq!(leaf("max", 0x4000_0000)[0], 0x4000_0000);
    for model in ["max,+kvmclock", "p6,+kvm-pv-eoi", "pentium,+kvm-steal-time"] {
        assert_eq!(name(model), b"KVMKVMKVM\0\0\0");
        assert_eq!(leaf(model, 0x4000_0000)[0], 0x4000_0001);
        assert_eq!(leaf(model, 1)[2] >> 31, 1, "{model}");
    }
    assert_eq!(leaf("max,+kvmclock", 0x4000_0001), [1 << 24 | 1 << 3 | 1, 0, 0, 0]);
    assert_eq!(leaf("max,+kvm-pv-eoi", 0x4000_0001), [1 << 6, 0, 0, 0]);
    assert_eq!(leaf("max,+kvm-steal-time", 0x4000_0001), [1 << 5, 0, 0, 0]);
}

#[test]
fn registers_are_there_where_they_are_offered() {
    let clock = [
        msr::KVM_WALL_CLOCK_OLD,
        msr::KVM_SYSTEM_TIME_OLD,
        msr::KVM_WALL_CLOCK,
        msr::KVM_SYSTEM_TIME,
    ];
    let all = [&clock[..], &[msr::KVM_STEAL_TIME, msr::KVM_PV_EOI]].concat();
    for (model, offered) in [
        ("max", &[][..]),
        ("max,+kvmclock", &clock),
        ("max,+kvm-steal-time", &[msr::KVM_STEAL_TIME]),
        ("max,+kvm-pv-eoi", &[msr::KVM_PV_EOI]),
    ] {
        let mut b = Bench::new(true).with_model(model);
        for number in &all {
            assert_eq!(b.writes(*number, 0), offered.contains(number), "{model} {number:#x}");
        }
    }
}

#[test]
fn registers_keep_their_values() {
    let mut b = Bench::with_kvm();
    // The old and the new ones are the same.
    assert!(b.writes(msr::KVM_SYSTEM_TIME_OLD, PAGE | 1));
    assert_eq!(b.reads(msr::KVM_SYSTEM_TIME), Some(PAGE | 1));
    assert_eq!(b.core.state().msrs.kvm_system_time, PAGE | 1);
    assert!(b.writes(msr::KVM_WALL_CLOCK, PAGE));
    assert_eq!(b.reads(msr::KVM_WALL_CLOCK_OLD), Some(PAGE));
    // The local APIC has this one.
    assert!(b.writes(msr::KVM_PV_EOI, PAGE | 1));
    assert_eq!(b.desk.msrs.lock().unwrap().last(), Some(&(msr::KVM_PV_EOI, PAGE | 1, None)));
    assert_eq!(b.reads(msr::KVM_PV_EOI), None, "which refuses here");
    assert_eq!(b.core.raised.take().map(|e| e.vector), Some(vector::GP));
}

#[test]
fn the_clock_shows_guest_time() {
    let mut b = Bench::with_kvm();
    b.put(PAGE, 6);
    assert!(b.writes(msr::KVM_SYSTEM_TIME, PAGE | 1));
    assert_eq!(b.get32(PAGE), 8, "even, and another one");
    for ns in [0, 1, 12_345, 1 << 40] {
        b.pass(ns);
        assert_eq!(b.clock(), (b.now_ns(), 1));
    }
    // It never has to be written again.
    b.core.renew_paravirtual();
    b.core.set_state(&b.core.state());
    b.core.renew_paravirtual();
    assert_eq!(b.get32(PAGE), 8);
    assert_eq!(b.get(PAGE + 32), u64::MAX, "nothing behind it is written");
}

#[test]
fn the_clock_knows_the_frequency_of_the_tsc() {
    let mut b = Bench::with_kvm();
    b.core.model = Arc::new(CpuModel::named(&format!("{MODEL},tsc-hz=2500000000")).unwrap());
    assert!(b.writes(msr::KVM_SYSTEM_TIME, PAGE | 1));
    b.pass(3_600_000_000_000);
    let (time, _) = b.clock();
    assert!(b.now_ns() - time < 2000, "{time}");
}

#[test]
fn the_clock_goes_on_when_the_tsc_is_moved() {
    let mut b = Bench::with_kvm();
    b.put(PAGE, 5);
    assert!(b.writes(msr::KVM_SYSTEM_TIME, PAGE | 1));
    assert_eq!(b.get32(PAGE), 8, "an odd version is one that was never finished");
    b.pass(1000);
    b.set_tsc(77);
    assert_eq!(b.get32(PAGE), 10);
    assert_eq!(b.clock(), (b.now_ns(), 1));
    b.pass(1000);
    assert!(b.writes(msr::TSC_ADJUST, 1 << 50));
    assert_eq!(b.get32(PAGE), 12);
    assert_eq!(b.clock(), (b.now_ns(), 1));
    assert_eq!(b.desk.tsc_offsets.lock().unwrap().last(), Some(&(1 << 50)));
    // Another vCPU's TSC is no longer the same, and then it is.
    b.core.hear_of_tscs(true, true);
    assert_eq!(b.clock(), (b.now_ns(), 0));
    b.core.hear_of_tscs(false, true);
    assert_eq!((b.clock(), b.get32(PAGE)), ((b.now_ns(), 1), 16));
    b.core.hear_of_tscs(false, true);
    assert_eq!(b.get32(PAGE), 16);
    // Who runs the vCPU from here on has not seen the change, which has been told.
    b.core.hear_of_tscs(true, false);
    assert_eq!(b.get32(PAGE), 16);
    b.set_tsc(5);
    assert_eq!(b.clock(), (b.now_ns(), 0));
}

#[test]
fn a_clock_that_another_engine_wrote_is_set_right() {
    let mut b = Bench::with_kvm();
    assert!(b.writes(msr::KVM_SYSTEM_TIME, PAGE | 1));
    let good = b.get(PAGE + 24);
    // As if by a CPU with 3 GHz.
    b.put(PAGE + 24, 1 << 40 | 0xff << 32 | 0xaaaa_aaaa);
    b.core.set_state(&b.core.state());
    assert_ne!(b.get(PAGE + 24), good, "RAM may not be there yet");
    b.core.renew_paravirtual();
    assert_eq!((b.get(PAGE + 24), b.clock()), (good, (b.now_ns(), 1)));
    // And by one whose TSC is another.
    for far in [1 << 60, 1_000_001, 1_000_001_u64.wrapping_neg()] {
        b.put(PAGE + 8, far);
        b.core.renew_paravirtual();
        assert_eq!(b.clock(), (b.now_ns(), 1), "{far:#x}");
    }
    // But it does not jump where the two know their TSCs to within a little, ...
    b.put(PAGE + 8, 300);
    let version = b.get32(PAGE);
    b.core.renew_paravirtual();
    assert_eq!((b.clock(), b.get32(PAGE)), ((b.now_ns() - 300, 1), version));
    // ... not even when more is written.
    b.core.hear_of_tscs(true, true);
    assert_eq!(b.clock(), (b.now_ns() - 300, 0));
}

#[test]
fn a_clock_is_left_alone_once_it_is_disabled() {
    for end in [true, false] {
        let mut b = Bench::with_kvm();
        assert!(b.writes(msr::KVM_SYSTEM_TIME, PAGE | 1));
        assert!(b.writes(msr::KVM_STEAL_TIME, (PAGE + 64) | 1));
        assert!(b.writes(msr::KVM_WALL_CLOCK, PAGE + 128));
        if end {
            assert!(b.writes(msr::KVM_SYSTEM_TIME, PAGE));
            assert!(b.writes(msr::KVM_STEAL_TIME, PAGE + 64));
        } else {
            b.core.init();
            assert_eq!(b.core.msrs.kvm_system_time | b.core.msrs.kvm_steal_time, 0);
            assert_eq!(b.core.msrs.kvm_wall_clock, PAGE + 128, "that is the machine's");
        }
        b.put(PAGE + 24, 0);
        b.put(PAGE + 64, 0);
        b.desk.stolen.store(5, Ordering::Relaxed);
        b.core.renew_paravirtual();
        assert_eq!((b.get(PAGE + 24), b.get(PAGE + 64)), (0, 0));
    }
}

#[test]
fn the_wall_clock_is_that_of_the_beginning() {
    let mut b = Bench::with_kvm();
    b.pass(1 << 35);
    for (value, version) in [(PAGE, 2), (PAGE, 4), (PAGE + 1, 2), (PAGE + 0xffa, 2)] {
        if version == 2 {
            b.put(value, 0);
            b.put(value + 8, u64::MAX);
        }
        assert!(b.writes(msr::KVM_WALL_CLOCK, value));
        let (seconds, ns) = (b.get32(value + 4), b.get32(value + 8));
        assert_eq!((b.get32(value), seconds, ns), (version, 1_234_567_890, 500), "{value:#x}");
        assert_eq!(b.get32(value + 12), u32::MAX);
    }
}

#[test]
fn stolen_time_is_added_up() {
    let mut b = Bench::with_kvm();
    (0..9).for_each(|n| b.put(PAGE + 8 * n, 0));
    b.put(PAGE, 100);
    b.put32(PAGE + 16, 1);
    b.desk.stolen.store(7, Ordering::Relaxed);
    assert!(b.writes(msr::KVM_STEAL_TIME, PAGE | 1));
    assert_eq!((b.get(PAGE), b.get(PAGE + 8)), (100, 2), "what came before does not count");
    assert_eq!(b.get32(PAGE + 16), 0, "it runs");
    b.core.count_stolen();
    assert_eq!((b.get(PAGE), b.get(PAGE + 8)), (100, 2));
    b.desk.stolen.store(7, Ordering::Relaxed);
    b.core.renew_paravirtual();
    assert_eq!((b.get(PAGE), b.get(PAGE + 8)), (107, 4));
    for reserved in [2, 4, 8, 16, 32] {
        assert!(!b.writes(msr::KVM_STEAL_TIME, PAGE | 1 | reserved));
        assert_eq!(b.core.raised.take().map(|e| e.vector), Some(vector::GP));
    }
    assert_eq!(b.reads(msr::KVM_STEAL_TIME), Some(PAGE | 1));
}

#[test]
fn addresses_without_ram_are_kept_and_nothing_is_written() {
    let mut b = Bench::with_kvm();
    b.desk.stolen.store(7, Ordering::Relaxed);
    for address in [0x4_0000, 0x3_fff0, PAGE + 0xff0, 0xfee0_0000, 1 << 51, u64::MAX - 63] {
        for (number, low) in [(msr::KVM_SYSTEM_TIME, 1), (msr::KVM_STEAL_TIME, 1)] {
            let value =
                if number == msr::KVM_STEAL_TIME { address & !63 | low } else { address | low };
            assert!(b.writes(number, value));
            assert_eq!(b.reads(number), Some(value));
        }
        assert!(b.writes(msr::KVM_WALL_CLOCK, address | 3));
        b.core.renew_paravirtual();
        b.set_tsc(address);
    }
    assert!(b.writes(msr::KVM_SYSTEM_TIME, PAGE + 0x102 | 1), "unaligned is no error");
    assert_eq!(b.get(PAGE + 0x102 + 16), 0);
}
