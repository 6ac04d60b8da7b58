//! Statistics: one documented shape for every engine.
//!
//! `trine run --stats FILE.json` writes a [`MachineStats`] as one JSON object, `trine compare --json`
//! one for each engine ([`crate::compare::Comparison`]). Fields are only ever added.
//!
//! | key | what it is |
//! |---|---|
//! | `engine`, `cpu`, `cpus`, `memory`, `clock` | what ran |
//! | `ending`, `status` | how it ended, in words and as exit status |
//! | `wall_seconds`, `guest_seconds` | how long, for the host and for the guest |
//! | `instructions`, `mips` | retired by all vCPUs; 0 under KVM, which does not count |
//! | `resets`, `unclaimed` | resets of the machine; accesses that no chip answered |
//! | `times` | [`Times`]: seconds of the vCPUs' host time, by what they were spent on |
//! | `total` | [`Stats`]: what the engine counts, the sum over the vCPUs |
//! | `events` | [`EventCount`]: exits and other sensitive events by reason, with the instructions (`rip`, `text`, `count`) that caused most of each |
//! | `engines` | [`EngineStats`]: each engine that the machine ran on |
//! | `vcpus` | [`VcpuStats`]: `total` and `times` for each vCPU, and why its engine returned |
//! | `chips` | [`ChipStats`]: accesses to each chip |
//!
//! `times` and `events` are only filled where a run asks for them ([`crate::Config::count_events`]):
//! an event then costs some tens of nanoseconds more, and nothing else does.

use std::time::Duration;

use serde::Serialize;
use trine_engine::{EventCount, Exit, Stats};

use crate::{ClockKind, vcpu::CpuTime};

/// What a machine did since it was built.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct MachineStats {
    /// The version of this shape; 1.
    pub schema: u32,
    /// The engine, at the end the last one: `interp`, `translate` or `kvm`.
    pub engine: &'static str,
    /// The CPU model.
    pub cpu: &'static str,
    /// How many vCPUs.
    pub cpus: u32,
    /// Bytes of guest memory.
    pub memory: u64,
    /// `host` or `instructions`.
    pub clock: ClockKind,
    /// How it ended, in words; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<String>,
    /// The exit status that follows; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u8>,
    /// Seconds of host time for which the machine ran.
    pub wall_seconds: f64,
    /// Seconds of guest time.
    pub guest_seconds: f64,
    /// Guest instructions retired by all vCPUs, on all engines that count.
    pub instructions: u64,
    /// Millions of guest instructions for each second of host time.
    pub mips: f64,
    /// Resets of the machine.
    pub resets: u64,
    /// What the vCPUs' host time was spent on, added up, and the timer thread's; all 0 unless
    /// events are counted ([`crate::Config::count_events`], `--stats`).
    pub times: Times,
    /// The sum over all vCPUs.
    pub total: Stats,
    /// Why guest code left the fast path, with the instructions that caused it most often, the most
    /// frequent reason first; empty unless events are counted.
    pub events: Vec<EventCount>,
    /// Each engine that the machine ran on, in the order of their first use.
    pub engines: Vec<EngineStats>,
    /// Each vCPU.
    pub vcpus: Vec<VcpuStats>,
    /// Accesses by vCPUs to each chip.
    pub chips: Vec<ChipStats>,
    /// Accesses that no chip answered.
    pub unclaimed: u64,
}

/// A machine's time on one engine.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct EngineStats {
    /// The engine.
    pub engine: &'static str,
    /// How often the machine came to it: once more than it was left, if it is the last one.
    pub times: u64,
    /// Seconds of host time for which the machine ran on it.
    pub wall_seconds: f64,
    /// Guest instructions retired on it by all vCPUs; 0 if it does not count.
    pub instructions: u64,
}

/// On which engines a machine was, before the present one.
#[derive(Clone, Default, Debug)]
pub(crate) struct History {
    engines: Vec<EngineStats>,
    /// For how long the machine had run when it came to the present engine, ...
    wall: Duration,
    /// ... and how many instructions were retired.
    retired: u64,
}

impl History {
    /// The machine leaves `engine`.
    pub(crate) fn leave(&mut self, engine: &'static str, wall: Duration, retired: u64) {
        *self = Self { engines: self.until_now(engine, wall, retired), wall, retired };
    }

    /// All engines, `engine` being the present one.
    pub(crate) fn until_now(
        &self,
        engine: &'static str,
        wall: Duration,
        retired: u64,
    ) -> Vec<EngineStats> {
        let seconds = wall.saturating_sub(self.wall).as_secs_f64();
        let retired = retired.saturating_sub(self.retired);
        let mut engines = self.engines.clone();
        match engines.iter_mut().find(|e| e.engine == engine) {
            Some(known) => {
                known.times += 1;
                known.wall_seconds += seconds;
                known.instructions += retired;
            }
            None => engines.push(EngineStats {
                engine,
                times: 1,
                wall_seconds: seconds,
                instructions: retired,
            }),
        }
        engines
    }
}

/// One vCPU's counters on one engine after those on earlier ones.
pub(crate) fn in_sequence(earlier: Stats, later: Stats) -> Stats {
    // Each engine makes its own code.
    Stats {
        code_bytes: earlier.code_bytes + later.code_bytes,
        translations: earlier.translations + later.translations,
        translations_stale: earlier.translations_stale + later.translations_stale,
        translation_flushes: earlier.translation_flushes + later.translation_flushes,
        ..earlier.plus(later)
    }
}

/// What one vCPU did.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VcpuStats {
    /// Its number, from 0.
    pub vcpu: u32,
    /// The engine's counters.
    pub engine: Stats,
    /// Why the engine returned.
    pub exits: ExitCounts,
    /// What its host time was spent on.
    pub times: Times,
}

/// What host time was spent on, in seconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Times {
    /// Executing guest code, with all that an engine does to that end.
    pub executing: f64,
    /// Reading, decoding and translating guest code.
    pub translating: f64,
    /// In the chips, the way there and waiting for each other included.
    pub devices: f64,
    /// Asleep, because the guest had nothing to do.
    pub idle: f64,
}

impl Times {
    pub(crate) fn of_vcpu(time: CpuTime, stats: Stats, devices: Duration) -> Self {
        let making = Duration::from_nanos(stats.making_ns);
        let asleep = Duration::from_nanos(stats.asleep_ns);
        let other = making + devices + asleep;
        Self {
            executing: time.running.saturating_sub(other).as_secs_f64(),
            translating: making.as_secs_f64(),
            devices: devices.as_secs_f64(),
            idle: (time.idle + asleep).as_secs_f64(),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            executing: self.executing + other.executing,
            translating: self.translating + other.translating,
            devices: self.devices + other.devices,
            idle: self.idle + other.idle,
        }
    }
}

/// How often each chip was accessed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ChipStats {
    /// The chip.
    pub chip: &'static str,
    /// Accesses to its registers, in port or memory space or by MSR.
    pub accesses: u64,
}

/// Why an engine's `run` returned, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ExitCounts {
    /// The budget was used up.
    pub budget: u64,
    /// It was told to stop.
    pub kicked: u64,
    /// The vCPU went idle.
    pub halted: u64,
    /// A debugger's breakpoint.
    pub breakpoint: u64,
    /// A triple fault.
    pub triple_fault: u64,
}

impl ExitCounts {
    pub(crate) fn count(&mut self, exit: &Exit) {
        let place = match exit {
            Exit::Budget => &mut self.budget,
            Exit::Kicked => &mut self.kicked,
            Exit::Halted => &mut self.halted,
            Exit::Breakpoint(_) => &mut self.breakpoint,
            Exit::TripleFault(_) => &mut self.triple_fault,
        };
        *place += 1;
    }
}

impl MachineStats {
    /// A few lines for a person.
    #[must_use]
    pub fn summary(&self) -> String {
        let t = &self.total;
        format!(
            "{} on {} vCPU(s) of model {}, {} MiB\n\
             host time {:.3} s, guest time {:.3} s, {} resets\n\
             {} instructions, {:.1} MIPS\n\
             {} exceptions, {} interrupts, {} halts, {} port accesses, {} memory-mapped\n\
             {} blocks made, {} stale, {} TLB misses{}",
            self.engine,
            self.cpus,
            self.cpu,
            self.memory >> 20,
            self.wall_seconds,
            self.guest_seconds,
            self.resets,
            self.instructions,
            self.mips,
            t.exceptions,
            t.interrupts,
            t.halts,
            t.port_io,
            t.mmio,
            t.blocks_made,
            t.blocks_stale,
            t.tlb_misses,
            self.on_each_engine(),
        )
    }

    /// A line for each engine, if there was more than one.
    fn on_each_engine(&self) -> String {
        let engines = if self.engines.len() > 1 { &self.engines[..] } else { &[] };
        let line = |e: &EngineStats| {
            format!(
                "\non {}: {:.3} s, {} instructions, {} times",
                e.engine, e.wall_seconds, e.instructions, e.times
            )
        };
        engines.iter().map(line).collect()
    }
}
