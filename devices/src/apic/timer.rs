//! The timer of a local APIC (SDM vol. 3A, section 11.5.4).
//!
//! Nothing ticks: the timer keeps when it was at which count, and when it expires next. Expiries
//! are computed from the point of time at which the count was written, so that a periodic timer
//! does not drift, and those that lie between two calls are one interrupt, as in the IRR.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

/// What the LVT timer entry makes of the timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    OneShot,
    Periodic,
    TscDeadline,
    /// The encoding 11b: the timer stands.
    Reserved,
}

impl Mode {
    /// The mode in bits 18:17 of the LVT timer entry.
    pub(super) fn of_entry(entry: u32) -> Self {
        match entry >> 17 & 3 {
            0 => Self::OneShot,
            1 => Self::Periodic,
            2 => Self::TscDeadline,
            _ => Self::Reserved,
        }
    }

    fn counts(self) -> bool {
        matches!(self, Self::OneShot | Self::Periodic)
    }
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Timer {
    /// The initial count register.
    initial: u32,
    /// The divide configuration register.
    divide: u32,
    /// When the count was `first`.
    origin: VmTime,
    /// The count at `origin`; 0 when the counter stands.
    first: u32,
    /// IA32_TSC_DEADLINE.
    tsc_deadline: u64,
    /// When the timer expires next.
    next: Option<VmTime>,
}

impl Timer {
    pub(super) fn initial(&self) -> u32 {
        self.initial
    }

    pub(super) fn divide(&self) -> u32 {
        self.divide
    }

    pub(super) fn tsc_deadline(&self) -> u64 {
        self.tsc_deadline
    }

    pub(super) fn next(&self) -> Option<VmTime> {
        self.next
    }

    /// The current count register. The timer has been brought up to `now`.
    pub(super) fn count(&self, now: VmTime, hz: u64, mode: Mode) -> u32 {
        if self.first == 0 || !mode.counts() {
            return 0;
        }
        let (elapsed, first) = (self.elapsed(now, hz), u128::from(self.first));
        if elapsed < first {
            (first - elapsed) as u32
        } else if mode == Mode::Periodic {
            let initial = u128::from(self.initial);
            (initial - (elapsed - first) % initial) as u32
        } else {
            0
        }
    }

    /// Writes the initial count: the counter starts with it, or stops at 0.
    pub(super) fn set_initial(&mut self, now: VmTime, hz: u64, mode: Mode, count: u32) {
        if mode.counts() {
            self.initial = count;
            self.start(now, hz, mode, count);
        }
    }

    /// Writes the divide configuration: the count goes on from where it is.
    pub(super) fn set_divide(&mut self, now: VmTime, hz: u64, mode: Mode, divide: u32) {
        let count = self.count(now, hz, mode);
        self.divide = divide & 0b1011;
        if mode.counts() {
            self.start(now, hz, mode, count);
        }
    }

    /// The LVT entry changes the mode. To or from TSC-deadline mode disarms the timer; between
    /// one-shot and periodic the count goes on.
    pub(super) fn set_mode(&mut self, now: VmTime, hz: u64, old: Mode, new: Mode) {
        if old == new {
            return;
        }
        if old.counts() && new.counts() {
            let count = self.count(now, hz, old);
            self.start(now, hz, new, count);
        } else {
            *self = Self { divide: self.divide, ..Self::default() };
        }
    }

    /// Writes IA32_TSC_DEADLINE, which the time-stamp counter reaches `at`.
    pub(super) fn set_tsc_deadline(&mut self, mode: Mode, value: u64, at: VmTime) {
        if mode == Mode::TscDeadline {
            self.tsc_deadline = value;
            self.next = (value != 0).then_some(at);
        }
    }

    /// The timer goes on from what another one shows: `counts` are its initial and current ones.
    pub(super) fn resume(
        &mut self,
        (now, hz, mode): (VmTime, u64, Mode),
        (initial, count): (u32, u32),
        divide: u32,
    ) {
        *self = Self { divide: divide & 0b1011, ..Self::default() };
        if mode.counts() {
            self.initial = initial;
            // A periodic one that stands at 0 begins anew.
            let first = if mode == Mode::Periodic && count == 0 { initial } else { count };
            self.start(now, hz, mode, first.min(initial));
        }
    }

    /// Brings the timer up to `now`. Returns whether it expired, however often.
    pub(super) fn expire(&mut self, now: VmTime, hz: u64, mode: Mode) -> bool {
        if self.next.is_none_or(|next| next > now) {
            return false;
        }
        match mode {
            Mode::Periodic => self.schedule(now, hz, mode),
            _ => {
                self.first = 0;
                self.tsc_deadline = 0;
                self.next = None;
            }
        }
        true
    }

    fn start(&mut self, now: VmTime, hz: u64, mode: Mode, count: u32) {
        self.origin = now;
        self.first = count;
        self.schedule(now, hz, mode);
    }

    /// Sets `next` to the first expiry after `now`.
    fn schedule(&mut self, now: VmTime, hz: u64, mode: Mode) {
        self.next = None;
        if self.first == 0 {
            return;
        }
        let mut tick = u128::from(self.first);
        let elapsed = self.elapsed(now, hz);
        if elapsed >= tick {
            if mode != Mode::Periodic {
                return;
            }
            let initial = u128::from(self.initial);
            tick += ((elapsed - tick) / initial + 1) * initial;
        }
        let ns = (tick * u128::from(self.divisor()) * 1_000_000_000).div_ceil(u128::from(hz));
        // Beyond the end of time it never expires.
        self.next =
            u64::try_from(ns).ok().and_then(|ns| self.origin.ns().checked_add(ns)).map(VmTime);
    }

    /// Ticks of the counter since `origin`.
    fn elapsed(&self, now: VmTime, hz: u64) -> u128 {
        let bus = u128::from(now.since(self.origin)) * u128::from(hz) / 1_000_000_000;
        bus / u128::from(self.divisor())
    }

    fn divisor(&self) -> u32 {
        match self.divide & 3 | self.divide >> 1 & 4 {
            7 => 1,
            power => 2 << power,
        }
    }

    /// Whether the fields hold together.
    pub(super) fn check(&self, hz: u64, mode: Mode) -> Result<(), String> {
        let idle = !mode.counts() && (self.first != 0 || self.initial != 0);
        let deadline = self.tsc_deadline != 0 && mode != Mode::TscDeadline
            || mode == Mode::TscDeadline && self.next.is_some() != (self.tsc_deadline != 0)
            || mode == Mode::Reserved && self.next.is_some();
        let wide = self.divide & !0b1011 != 0 || self.first > self.initial;
        let mut copy = self.clone();
        if mode.counts() && !wide {
            // Whatever was due by the time of the snapshot has been served.
            let before = self.next.map_or(0, |next| next.ns().saturating_sub(1));
            copy.schedule(self.origin.max(VmTime(before)), hz, mode);
        }
        if copy != *self || idle || deadline || wide {
            return Err(format!("a timer cannot be {self:?} in {mode:?} mode"));
        }
        Ok(())
    }
}
