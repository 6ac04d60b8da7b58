//! Guest time.

use std::{fmt, ops::Add, time::Duration};

use serde::{Deserialize, Serialize};

/// A point of guest time, in nanoseconds since the machine was powered on.
///
/// It moves only while the machine runs. It follows the host clock or the count of executed
/// instructions; whoever reads it cannot tell which.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
pub struct VmTime(pub u64);

impl VmTime {
    /// Power-on.
    pub const ZERO: Self = Self(0);

    /// Nanoseconds since power-on.
    #[must_use]
    pub const fn ns(self) -> u64 {
        self.0
    }

    /// The time `ns` nanoseconds later; stays at the end of time (584 years) on overflow.
    #[must_use]
    pub const fn after_ns(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// Nanoseconds from `earlier` to here; 0 if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// How many whole periods of a clock of `hz` ticks per second have passed since power-on.
    #[must_use]
    pub const fn ticks(self, hz: u64) -> u64 {
        (self.0 as u128 * hz as u128 / 1_000_000_000) as u64
    }

    /// The earliest time at which [`VmTime::ticks`] of the same clock is `ticks`.
    #[must_use]
    pub const fn of_tick(ticks: u64, hz: u64) -> Self {
        Self((ticks as u128 * 1_000_000_000).div_ceil(hz as u128) as u64)
    }
}

impl Add<Duration> for VmTime {
    type Output = Self;
    fn add(self, later: Duration) -> Self {
        self.after_ns(later.as_nanos() as u64)
    }
}

impl fmt::Display for VmTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09} s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::VmTime;

    #[test]
    fn ticks_round_trip_at_the_pit_frequency() {
        for tick in [0, 1, 2, 3, 1_193_182, u64::from(u32::MAX)] {
            let at = VmTime::of_tick(tick, 1_193_182);
            assert_eq!(at.ticks(1_193_182), tick);
            if tick > 0 {
                assert_eq!(VmTime(at.0 - 1).ticks(1_193_182), tick - 1);
            }
        }
    }
}
