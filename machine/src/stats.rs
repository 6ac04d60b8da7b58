//! Statistics: one documented shape for every engine.
//!
//! `--stats FILE.json` writes a [`MachineStats`] as one JSON object. Fields are only ever added.

use serde::Serialize;
use trine_engine::{Exit, Stats};

use crate::ClockKind;

/// What a machine did since it was built.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct MachineStats {
    /// The version of this shape; 1.
    pub schema: u32,
    /// The engine: `interp`, `translate` or `kvm`.
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
    /// Guest instructions retired by all vCPUs; 0 if the engine does not count.
    pub instructions: u64,
    /// Millions of guest instructions for each second of host time.
    pub mips: f64,
    /// Resets of the machine.
    pub resets: u64,
    /// The sum over all vCPUs.
    pub total: Stats,
    /// Each vCPU.
    pub vcpus: Vec<VcpuStats>,
    /// Accesses by vCPUs to each chip.
    pub chips: Vec<ChipStats>,
    /// Accesses that no chip answered.
    pub unclaimed: u64,
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
             {} blocks made, {} stale, {} TLB misses",
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
        )
    }
}
