//! Guest time: from the host's monotonic clock, or from the count of executed instructions.
//!
//! With the host's clock, time runs while the machine does and stands still while it is paused.
//! With instructions, each retired instruction is a nanosecond, whichever vCPU retires it (they
//! run in turn on one thread), and when all vCPUs are idle time jumps to the next event.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use serde::{Deserialize, Serialize};
use trine_engine::Access;
use trine_guest::VmTime;

/// Where guest time comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ClockKind {
    /// The host's monotonic clock.
    #[default]
    Host,
    /// The count of executed instructions: reproducible.
    Instructions,
}

/// The machine's clock.
pub enum Clock {
    /// See [`ClockKind::Host`].
    Host {
        /// When the clock was made; the host's time counts from here.
        origin: Instant,
        /// Host nanoseconds at which guest time was 0, while the clock runs (it wraps).
        zero: AtomicU64,
        /// Guest time while the clock stands; the largest number while it runs.
        stands_at: AtomicU64,
    },
    /// See [`ClockKind::Instructions`].
    Instructions {
        /// Guest time at which the running vCPU had retired 0 instructions (it wraps).
        base: AtomicU64,
        /// Guest time between the vCPUs' turns.
        at: AtomicU64,
    },
}

/// Marks a host clock that runs.
const RUNS: u64 = u64::MAX;

impl Clock {
    /// A clock at [`VmTime::ZERO`], standing.
    #[must_use]
    pub fn new(kind: ClockKind) -> Self {
        match kind {
            ClockKind::Host => Self::Host {
                origin: Instant::now(),
                zero: AtomicU64::new(0),
                stands_at: AtomicU64::new(0),
            },
            ClockKind::Instructions => {
                Self::Instructions { base: AtomicU64::new(0), at: AtomicU64::new(0) }
            }
        }
    }

    /// Which one it is.
    #[must_use]
    pub fn kind(&self) -> ClockKind {
        match self {
            Self::Host { .. } => ClockKind::Host,
            Self::Instructions { .. } => ClockKind::Instructions,
        }
    }

    /// Guest time, between the vCPUs' turns or from outside.
    #[must_use]
    pub fn now(&self) -> VmTime {
        match self {
            Self::Host { origin, zero, stands_at } => {
                let stands_at = stands_at.load(Ordering::Acquire);
                if stands_at != RUNS {
                    return VmTime(stands_at);
                }
                VmTime(host_ns(*origin).wrapping_sub(zero.load(Ordering::Acquire)))
            }
            Self::Instructions { at, .. } => VmTime(at.load(Ordering::Acquire)),
        }
    }

    /// Guest time of an access by a running vCPU.
    #[inline]
    #[must_use]
    pub fn now_of(&self, by: Access) -> VmTime {
        match self {
            Self::Host { .. } => self.now(),
            Self::Instructions { base, .. } => {
                VmTime(base.load(Ordering::Relaxed).wrapping_add(by.retired))
            }
        }
    }

    /// The machine runs from now on.
    pub fn resume(&self) {
        if let Self::Host { origin, zero, stands_at } = self {
            let at = stands_at.load(Ordering::Acquire);
            if at != RUNS {
                zero.store(host_ns(*origin).wrapping_sub(at), Ordering::Release);
                stands_at.store(RUNS, Ordering::Release);
            }
        }
    }

    /// Whether the machine runs; by the count of instructions, always.
    #[must_use]
    pub fn is_running(&self) -> bool {
        match self {
            Self::Host { stands_at, .. } => stands_at.load(Ordering::Acquire) == RUNS,
            Self::Instructions { .. } => true,
        }
    }

    /// The machine stands still from now on.
    pub fn pause(&self) {
        let now = self.now();
        if let Self::Host { stands_at, .. } = self {
            stands_at.store(now.ns(), Ordering::Release);
        }
    }

    /// A vCPU that has retired `retired` instructions gets its turn at the present time.
    pub fn begin_turn(&self, retired: u64) {
        if let Self::Instructions { base, at } = self {
            base.store(at.load(Ordering::Acquire).wrapping_sub(retired), Ordering::Release);
        }
    }

    /// Its turn is over.
    pub fn end_turn(&self, retired: u64) {
        if let Self::Instructions { base, at } = self {
            at.store(base.load(Ordering::Acquire).wrapping_add(retired), Ordering::Release);
        }
    }

    /// A machine that stands gets this time, be it earlier or later.
    pub fn set(&self, now: VmTime) {
        match self {
            Self::Host { stands_at, .. } => stands_at.store(now.ns(), Ordering::Release),
            Self::Instructions { at, .. } => at.store(now.ns(), Ordering::Release),
        }
    }

    /// Nobody has anything to do before `later`: there time goes on, but never back.
    pub fn jump(&self, later: VmTime) {
        if let Self::Instructions { at, .. } = self {
            at.fetch_max(later.ns(), Ordering::AcqRel);
        }
    }
}

fn host_ns(origin: Instant) -> u64 {
    u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{thread::sleep, time::Duration};

    use super::*;

    #[test]
    fn host_time_stands_while_paused() {
        let clock = Clock::new(ClockKind::Host);
        sleep(Duration::from_millis(2));
        assert_eq!(clock.now(), VmTime::ZERO);
        clock.resume();
        sleep(Duration::from_millis(2));
        clock.pause();
        let at = clock.now();
        assert!(at.ns() >= 2_000_000);
        sleep(Duration::from_millis(2));
        assert_eq!(clock.now(), at);
        clock.resume();
        assert!(clock.now() >= at);
    }

    #[test]
    fn instruction_time_is_the_sum_of_all_turns() {
        let clock = Clock::new(ClockKind::Instructions);
        clock.begin_turn(1000);
        assert_eq!(clock.now_of(Access { vcpu: 0, retired: 1007 }), VmTime(7));
        clock.end_turn(1010);
        clock.begin_turn(3);
        assert_eq!(clock.now_of(Access { vcpu: 1, retired: 5 }), VmTime(12));
        clock.end_turn(8);
        assert_eq!(clock.now(), VmTime(15));
        clock.jump(VmTime(100));
        clock.jump(VmTime(50));
        assert_eq!(clock.now(), VmTime(100));
    }
}
