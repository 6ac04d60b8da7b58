//! Host time, measured only where somebody wants to know.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The host's clock, in nanoseconds since it was first asked.
pub(crate) fn host_ns() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let origin = *ORIGIN.get_or_init(Instant::now);
    u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Adds up times; while it is off, it does not look at the clock.
#[derive(Default)]
pub(crate) struct Stopwatch {
    is_on: AtomicBool,
    total_ns: AtomicU64,
}

impl Stopwatch {
    pub(crate) fn switch_on(&self) {
        self.is_on.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// The time until what this returns is dropped counts.
    pub(crate) fn run(&self) -> Running<'_> {
        let start = self.is_on.load(Ordering::Relaxed).then(host_ns);
        Running { watch: self, start }
    }

    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.total_ns.load(Ordering::Relaxed))
    }
}

/// See [`Stopwatch::run`].
pub(crate) struct Running<'a> {
    watch: &'a Stopwatch,
    start: Option<u64>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(start) = self.start {
            self.watch.total_ns.fetch_add(host_ns().saturating_sub(start), Ordering::Relaxed);
        }
    }
}
