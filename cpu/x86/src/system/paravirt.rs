//! What KVM does for guests that know of it, in their memory: a clock, the wall clock at which it
//! began, and the time that the host took from a vCPU.
//!
//! Guests that were moved here from KVM, or will be moved there, find the same as there. The clock
//! is guest time, which the TSC follows. So what is written for it is a function of the TSC's
//! offset and frequency alone, the time at which the TSC was 0, and stays right until the guest
//! moves its TSC; and equal TSCs have equal clocks, whenever these were written. It is written when
//! the guest asks for it, moves a TSC, or hears that the vCPUs' TSCs differ, and at no other time:
//! what a guest finds, even one that writes there itself, does not depend on how its run is cut or
//! through which engines it went. Only an engine that lends the host's TSC, which is never quite
//! guest time, has to look ([`Core::renew_paravirtual`]).
//!
//! As under KVM, an address where there is no RAM is no error: nothing is written. The fourth
//! interface, ends of interrupt by a bit in memory, is the local APIC's.
//!
//! Source: Linux, `Documentation/virt/kvm/x86/msr.rst`.

use std::sync::atomic::{Ordering, fence};

use trine_guest::{Gpa, PAGE_SIZE};

use crate::{Core, Feature, MsrFault};

/// Bit 0 of an MSR that gives an address: the guest wants the structure there kept up to date.
const ENABLED: u64 = 1;
/// MSR_KVM_STEAL_TIME: the structure is aligned to its 64 bytes.
const STEAL_TIME_RESERVED: u64 = 0x3e;

/// `pvclock_vcpu_time_info`: bytes, and where three words follow its version: a TSC, the time then,
/// and how ticks become nanoseconds.
const CLOCK_SIZE: u64 = 32;
const CLOCK_WORDS: [u64; 3] = [8, 16, 24];
/// In the third: the clocks of all CPUs are one.
const CLOCK_STABLE: u64 = 1 << 40;
/// An engine that lends the guest the host's TSC knows only to within less what it is ahead of
/// guest time. The guest's clock then follows the TSC rather than jump.
const NEAR_NS: u64 = 1_000_000;

/// `kvm_steal_time`: bytes, and the offsets of its fields. All of them begin with, or have, a
/// version, which is odd while the rest changes.
const STEAL_SIZE: u64 = 64;
const STEAL_VERSION: u64 = 8;
const STEAL_PREEMPTED: u64 = 16;

impl Core {
    /// Brings what the guest asked for up to date. An engine that lends the host's TSC calls it when
    /// it begins to run the vCPU, and at the end.
    pub fn renew_paravirtual(&mut self) {
        self.renew_clock();
        self.count_stolen();
    }

    /// What [`crate::Pins::tscs_differ`] and [`crate::Pins::tscs_changed`] say.
    #[inline]
    pub fn hear_of_tscs(&mut self, differ: bool, changed: bool) {
        self.tscs_differ = differ;
        if changed {
            self.renew_clock();
        }
    }

    /// Tells the other vCPUs' clocks, through the bus, what this one's TSC is.
    pub fn tell_tsc_offset(&self) {
        if self.model.has(Feature::Kvmclock) {
            self.bus.set_tsc_offset(self.access(), self.msrs.tsc_offset);
        }
    }

    /// INIT: as on KVM, what belongs to one vCPU ends.
    pub(crate) fn end_paravirtual(&mut self) {
        self.msrs.kvm_system_time = 0;
        self.msrs.kvm_steal_time = 0;
    }

    /// WRMSR of MSR_KVM_WALL_CLOCK: writes `pvclock_wall_clock`, the wall clock at guest time 0.
    pub(crate) fn set_wall_clock(&mut self, value: u64) {
        self.msrs.kvm_wall_clock = value;
        let at = Gpa(value);
        let mut version = [0; 4];
        if value == 0 || self.ram.read(at, &mut version).is_err() {
            return;
        }
        let odd = u32::from_le_bytes(version).wrapping_add(1) | 1;
        let start = self.bus.wall_clock();
        // The structure has 32 bits for the seconds.
        let (seconds, ns) = (start.as_secs() as u32, start.subsec_nanos());
        for (offset, word) in [(0, odd), (4, seconds), (8, ns), (0, odd.wrapping_add(1))] {
            // What lies outside of RAM is lost.
            let _ = self.ram.write(at.offset(offset), &word.to_le_bytes());
            fence(Ordering::Release);
        }
        self.leave_block = true;
    }

    /// WRMSR of MSR_KVM_SYSTEM_TIME.
    pub(crate) fn set_system_time(&mut self, value: u64) {
        self.msrs.kvm_system_time = value;
        self.set_clock();
    }

    /// Writes the clock's structure: the guest asks for it, or has moved its TSC.
    pub(crate) fn set_clock(&mut self) {
        if let Some(page) = self.paravirtual(self.msrs.kvm_system_time, CLOCK_SIZE) {
            self.write_clock(page, self.clock());
        }
    }

    /// Writes the clock's structure if it is not right.
    fn renew_clock(&mut self) {
        let Some(page) = self.paravirtual(self.msrs.kvm_system_time, CLOCK_SIZE) else { return };
        let now = CLOCK_WORDS.map(|at| self.ram.load::<u64>(page + at));
        let mut right = self.clock();
        let apart = right[0].wrapping_sub(now[0]) as i64;
        let same_rate = now[1] == right[1] && (now[2] ^ right[2]) & !CLOCK_STABLE == 0;
        if same_rate && apart.unsigned_abs() <= self.model.tsc_ticks(NEAR_NS) {
            right[0] = now[0];
        }
        if now != right {
            self.write_clock(page, right);
        }
    }

    /// Writes `pvclock_vcpu_time_info`.
    fn write_clock(&mut self, page: u64, words: [u64; 3]) {
        self.update_versioned(page, |core| {
            for (at, word) in CLOCK_WORDS.into_iter().zip(words) {
                core.ram.store(page + at, word);
            }
        });
    }

    /// What the clock's three words have to be: the TSC at guest time 0, that time, and how ticks
    /// become nanoseconds, with the flags.
    fn clock(&self) -> [u64; 3] {
        let (mul, shift) = nanoseconds_from_ticks(self.model.tsc_hz());
        let flags = if self.tscs_differ { 0 } else { CLOCK_STABLE };
        [self.msrs.tsc_offset, 0, u64::from(mul) | u64::from(shift as u8) << 32 | flags]
    }

    /// WRMSR of MSR_KVM_STEAL_TIME.
    pub(crate) fn set_steal_time(&mut self, value: u64) -> Result<(), MsrFault> {
        if value & STEAL_TIME_RESERVED != 0 {
            return Err(MsrFault);
        }
        self.msrs.kvm_steal_time = value;
        if let Some(page) = self.paravirtual(value, STEAL_SIZE) {
            // What was taken before was not taken from a guest that counts.
            self.bus.take_stolen_ns(self.access());
            self.write_stolen(page, 0);
        }
        Ok(())
    }

    /// Adds what the host has taken from the vCPU to what the guest knows of. An engine calls it when
    /// it begins to run the vCPU, and now and then.
    pub fn count_stolen(&mut self) {
        let Some(page) = self.paravirtual(self.msrs.kvm_steal_time, STEAL_SIZE) else { return };
        let ns = self.bus.take_stolen_ns(self.access());
        if ns != 0 {
            self.write_stolen(page, ns);
        }
    }

    /// Writes `kvm_steal_time`: `ns` more were stolen, and the vCPU runs.
    fn write_stolen(&mut self, page: u64, ns: u64) {
        self.update_versioned(page + STEAL_VERSION, |core| {
            let steal = core.ram.load::<u64>(page);
            core.ram.store(page, steal.wrapping_add(ns));
            core.ram.store(page + STEAL_PREEMPTED, 0_u8);
        });
    }

    /// Where in RAM the structure of `size` bytes is that such an MSR asks for: nowhere unless it
    /// is enabled, and lies in one page that can be written.
    #[inline]
    fn paravirtual(&self, value: u64, size: u64) -> Option<u64> {
        if value & ENABLED == 0 {
            return None;
        }
        let at = value & !ENABLED;
        let fits = at % PAGE_SIZE + size <= PAGE_SIZE;
        self.ram.spot(Gpa(at)).filter(|spot| spot.writable && fits).map(|spot| spot.offset)
    }

    /// Changes a structure whose version is at `version`: another vCPU that reads it meanwhile sees
    /// that it has to read again.
    fn update_versioned(&mut self, version: u64, change: impl FnOnce(&mut Self)) {
        let odd = self.ram.load::<u32>(version).wrapping_add(1) | 1;
        self.ram.store(version, odd);
        fence(Ordering::Release);
        change(self);
        fence(Ordering::Release);
        self.ram.store(version, odd.wrapping_add(1));
        // The guest may keep code beside it.
        self.leave_block = true;
    }
}

/// The multiplier and the shift that make nanoseconds of the ticks of a TSC: ticks are shifted to
/// the left (a negative shift: to the right), multiplied, and divided by 2³². Exact for 10⁹ Hz,
/// else less by 5·10⁻¹⁰ of the time at most.
fn nanoseconds_from_ticks(hz: u64) -> (u32, i8) {
    // From the least shift on, for some 10 GHz: the first multiplier that fits has all its 32 bits.
    let mul = |shift: i8| (1_000_000_000_u128 << (32 - shift)) / u128::from(hz.max(1));
    let fits = |shift: i8| Some((u32::try_from(mul(shift)).ok()?, shift));
    (-4..=31).find_map(fits).unwrap_or((0, 0))
}

#[cfg(test)]
mod tests {
    use super::nanoseconds_from_ticks;

    #[test]
    fn a_second_of_ticks_is_a_second() {
        assert_eq!(nanoseconds_from_ticks(1_000_000_000), (1 << 31, 1));
        assert_eq!(nanoseconds_from_ticks(3_000_000_000), (0xaaaa_aaaa, -1));
        for hz in [1_000_000, 999_999_999, 1_000_000_001, 2_500_000_000, 10_000_000_000_u64] {
            let (mul, shift) = nanoseconds_from_ticks(hz);
            let hours = u128::from(hz) * 36_000;
            let shifted = if shift < 0 { hours >> -shift } else { hours << shift };
            let ns = shifted * u128::from(mul) >> 32;
            assert!((36_000_000_000_000 - 18_000..=36_000_000_000_000).contains(&ns), "{hz}: {ns}");
        }
    }
}
