//! What KVM does for guests that know of it, in their memory: a clock, the wall clock at which it
//! began, and the time that the host took from a vCPU.
//!
//! Guests that were moved here from KVM, or will be moved there, find the same as there. The clock
//! is guest time, which the TSC follows exactly, so its page stays right once it is written: until
//! the guest moves its TSC, or the vCPU comes from an engine whose TSC has another frequency. Who
//! runs the vCPU next looks ([`Core::renew_paravirtual`]). A page that is right is left alone, so
//! that nothing tells the guest through which engines it went.
//!
//! As under KVM, an address where there is no RAM is no error: nothing is written. The fourth
//! interface, ends of interrupt by a bit in memory, is the local APIC's.
//!
//! Source: Linux, `Documentation/virt/kvm/x86/msr.rst`.

use std::sync::atomic::{Ordering, fence};

use trine_guest::{Gpa, PAGE_SIZE};

use crate::{Core, Feature, core::TSC_TICKS_PER_NS};

/// Bit 0 of an MSR that gives an address: the guest wants the structure there kept up to date.
const ENABLED: u64 = 1;
/// MSR_KVM_STEAL_TIME: the structure is aligned to its 64 bytes.
pub(crate) const STEAL_TIME_RESERVED: u64 = 0x3e;

/// `pvclock_vcpu_time_info`: bytes, and the offsets of its fields.
const CLOCK_SIZE: u64 = 32;
const CLOCK_TSC: u64 = 8;
const CLOCK_TIME: u64 = 16;
const CLOCK_MUL: u64 = 24;
/// The shift (8 bits), the flags (8 bits), and padding.
const CLOCK_SHIFT_AND_FLAGS: u64 = 28;
/// Flag: the clocks of all CPUs are one.
const CLOCK_STABLE: u32 = 1 << 8;

/// Ticks become nanoseconds by a shift to the left by 1 and a multiplication by this over 2³².
const TICKS_TO_NS: u32 = (1 << 31) / TSC_TICKS_PER_NS as u32;
const TICKS_SHIFT: u32 = 1;
const _: () = assert!(TSC_TICKS_PER_NS.is_power_of_two(), "a page would not stay exact");

/// `kvm_steal_time`: bytes, and the offsets of its fields. All of them begin with, or have, a
/// version, which is odd while the rest changes.
const STEAL_SIZE: u64 = 64;
const STEAL_VERSION: u64 = 8;
const STEAL_PREEMPTED: u64 = 16;

impl Core {
    /// Brings what the guest asked for up to date. An engine calls it when it begins to run the
    /// vCPU.
    #[inline]
    pub fn renew_paravirtual(&mut self) {
        if (self.msrs.kvm_system_time | self.msrs.kvm_steal_time) & ENABLED != 0 {
            self.renew_clock();
            self.count_stolen();
        }
    }

    /// What [`crate::Pins::tscs_differ`] says.
    #[inline]
    pub fn set_tscs_differ(&mut self, differ: bool) {
        if self.tscs_differ != differ {
            self.tscs_differ = differ;
            self.renew_clock();
        }
    }

    /// Tells the other vCPUs' clocks, through the bus, what this one's TSC is.
    pub(crate) fn tell_tsc_offset(&self) {
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
        if let Some(page) = self.paravirtual(value, CLOCK_SIZE) {
            self.write_clock(page);
        }
    }

    /// Writes the clock's structure if it is not right.
    pub(crate) fn renew_clock(&mut self) {
        let Some(page) = self.paravirtual(self.msrs.kvm_system_time, CLOCK_SIZE) else { return };
        let (tsc, time) = self.clock_pair();
        let since = tsc.wrapping_sub(self.ram.load::<u64>(page + CLOCK_TSC));
        let ns = (u128::from(since) << TICKS_SHIFT) * u128::from(TICKS_TO_NS) >> 32;
        let says = self.ram.load::<u64>(page + CLOCK_TIME).wrapping_add(ns as u64);
        let is_right = says == time
            && self.ram.load::<u32>(page + CLOCK_MUL) == TICKS_TO_NS
            && self.ram.load::<u32>(page + CLOCK_SHIFT_AND_FLAGS) == self.clock_shift_and_flags();
        if !is_right {
            self.write_clock(page);
        }
    }

    /// Writes `pvclock_vcpu_time_info`.
    fn write_clock(&mut self, page: u64) {
        let (tsc, time) = self.clock_pair();
        let shift_and_flags = self.clock_shift_and_flags();
        self.update_versioned(page, |core| {
            core.ram.store(page + CLOCK_TSC, tsc);
            core.ram.store(page + CLOCK_TIME, time);
            core.ram.store(page + CLOCK_MUL, TICKS_TO_NS);
            core.ram.store(page + CLOCK_SHIFT_AND_FLAGS, shift_and_flags);
        });
    }

    fn clock_shift_and_flags(&self) -> u32 {
        TICKS_SHIFT | if self.tscs_differ { 0 } else { CLOCK_STABLE }
    }

    /// The TSC and guest time in nanoseconds, of one moment.
    fn clock_pair(&self) -> (u64, u64) {
        let time = self.now().ns();
        let tsc = time.wrapping_mul(TSC_TICKS_PER_NS).wrapping_add(self.msrs.tsc_offset);
        (tsc, time)
    }

    /// WRMSR of MSR_KVM_STEAL_TIME, whose reserved bits are 0.
    pub(crate) fn set_steal_time(&mut self, value: u64) {
        self.msrs.kvm_steal_time = value;
        let Some(page) = self.paravirtual(value, STEAL_SIZE) else { return };
        // What was taken before was not taken from a guest that counts.
        self.bus.take_stolen_ns(self.access());
        self.write_stolen(page, 0);
    }

    /// Adds what the host has taken from the vCPU to what the guest knows of.
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

    /// Where in RAM the structure of `size` bytes is that such an MSR asks for: nowhere unless it is
    /// enabled, and lies in one page that can be written.
    fn paravirtual(&self, value: u64, size: u64) -> Option<u64> {
        let at = value & !ENABLED;
        let fits = at % PAGE_SIZE + size <= PAGE_SIZE;
        let spot = self.ram.spot(Gpa(at)).filter(|spot| spot.writable && fits)?;
        (value & ENABLED != 0).then_some(spot.offset)
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
