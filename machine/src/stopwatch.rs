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
struct Stopwatch {
    is_on: AtomicBool,
    total_ns: AtomicU64,
}

impl Stopwatch {
    fn switch_on(&self) {
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// The time until what this returns is dropped counts.
    fn run(&self) -> Running<'_> {
        let start = self.is_on.load(Ordering::Relaxed).then(host_ns);
        Running { watch: self, start }
    }

    fn total(&self) -> Duration {
        Duration::from_nanos(self.total_ns.load(Ordering::Relaxed))
    }
}

/// The time that vCPUs spend in the chips, and what the chips do by themselves.
pub(crate) struct DeviceTimes {
    vcpus: Vec<Stopwatch>,
    timer: Stopwatch,
}

impl DeviceTimes {
    /// For so many vCPUs; it is not measured yet.
    pub(crate) fn new(cpus: u32) -> Self {
        let vcpus = std::iter::repeat_with(Stopwatch::default).take(cpus as usize).collect();
        Self { vcpus, timer: Stopwatch::default() }
    }

    /// From now on it is measured.
    pub(crate) fn switch_on(&self) {
        self.vcpus.iter().chain([&self.timer]).for_each(Stopwatch::switch_on);
    }

    /// Whether it is: then events are counted too.
    pub(crate) fn is_on(&self) -> bool {
        self.timer.is_on.load(Ordering::Relaxed)
    }

    /// vCPU `vcpu` is in the chips until what this returns is dropped.
    pub(crate) fn run(&self, vcpu: u32) -> Option<Running<'_>> {
        self.vcpus.get(vcpu as usize).map(Stopwatch::run)
    }

    /// The chips do something by themselves.
    pub(crate) fn run_timer(&self) -> Running<'_> {
        self.timer.run()
    }

    /// The time of vCPU `vcpu`.
    pub(crate) fn of(&self, vcpu: u32) -> Duration {
        self.vcpus.get(vcpu as usize).map_or(Duration::ZERO, Stopwatch::total)
    }

    /// The time of what chips do by themselves.
    pub(crate) fn of_timer(&self) -> Duration {
        self.timer.total()
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
