//! The contract between a machine and whatever executes its guest.
//!
//! A machine is its [`CpuState`]s, its devices' states and its RAM. An [`Engine`] is only a way to
//! advance it. Nothing about a host, an engine or a file descriptor is inside a state, so a guest
//! can be moved from any engine to any other at every [`Exit`].
//!
//! Input and output happen inside [`Vcpu::run`], by calls to the [`Bus`]. Therefore every exit is
//! an instruction boundary: all earlier instructions are complete, none of the later ones has had
//! an effect.
#![forbid(unsafe_code)]

mod apics;
mod kicker;
mod stats;

use std::{num::NonZeroU64, sync::Arc};

use thiserror::Error;
use trine_guest::{Gpa, VmTime};
pub use trine_x86::{
    Access, Bus, Cause, CpuModel, CpuState, EventCount, MsrFault, NoBus, Pins, Tally, TripleFault,
    disassemble,
};

pub use apics::{ApicState, BoardApics, Give, HostApics, Take};
pub use kicker::{Kicker, Wake};
pub use stats::Stats;

/// A way to execute guests, bound to one machine's RAM.
pub trait Engine: Send + Sync {
    /// `interp`, `translate` or `kvm`.
    fn name(&self) -> &'static str;
    /// What it can and cannot do: data, so that nobody asks which engine it is.
    fn limits(&self) -> Limits;
    /// The model cut down to what this engine can offer on this host; it says in the log what was
    /// cut. All of a machine's vCPUs are made with the same model, on whatever engine.
    fn fit(&self, model: CpuModel) -> CpuModel {
        model
    }
    /// Offers it the board's local APICs, before there is a vCPU. An engine whose host has none of
    /// its own, or none as good, leaves them on the board; it says whether it borrows them.
    ///
    /// # Errors
    /// If the host fails.
    fn borrow_apics(&self, board: Arc<dyn BoardApics>) -> Result<bool, EngineError> {
        let _ = board;
        Ok(false)
    }
    /// Brings RAM's marks of dirty pages up to date, between runs: for engines whose guests' stores
    /// are not seen one by one.
    ///
    /// # Errors
    /// If the host fails.
    fn collect_dirty(&self) -> Result<(), EngineError> {
        Ok(())
    }
    /// A vCPU in the reset state (SDM vol. 3A, table 10-1); vCPUs other than 0 wait for a start-up
    /// IPI.
    ///
    /// # Errors
    /// If the host lacks what it takes, or the model asks for more than [`Limits`] says.
    fn create_vcpu(
        &self,
        id: u32,
        model: &CpuModel,
        bus: Arc<dyn Bus>,
    ) -> Result<Box<dyn Vcpu>, EngineError>;
}

/// What an engine can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// [`Budget::Instructions`] is exact, and [`Access::retired`] counts.
    pub counts_instructions: bool,
    /// Two runs from one state with the same inputs at the same counts are the same.
    pub deterministic: bool,
}

/// One virtual CPU.
pub trait Vcpu: Send {
    /// Executes guest instructions until the budget is used up or something else ends it.
    ///
    /// # Errors
    /// Only if the host fails. Whatever the guest does is an [`Exit`] or happens to the guest.
    fn run(&mut self, budget: Budget) -> Result<Exit, EngineError>;
    /// The whole architectural state: the same struct for all engines.
    ///
    /// # Errors
    /// If the host fails.
    fn state(&mut self) -> Result<CpuState, EngineError>;
    /// Replaces the whole architectural state.
    ///
    /// # Errors
    /// If the host fails.
    fn set_state(&mut self, state: &CpuState) -> Result<(), EngineError>;
    /// A handle that makes `run` look at its pins, or return, soon, from any thread.
    fn kicker(&self) -> Kicker;
    /// Somebody other than a vCPU changed RAM or the memory map at `at`.
    fn ram_changed(&mut self, at: Gpa, len: u64);
    /// Instructions retired so far; 0 for an engine that does not count.
    fn retired(&self) -> u64;
    /// Counters since the vCPU was made.
    fn stats(&self) -> Stats;
    /// From now on counts events by the instructions that cause them, and the time that code costs
    /// to make ([`Stats::making_ns`]); `clock` is the host's, in nanoseconds from any start. It costs
    /// some time at each event, and nothing where there is none.
    fn count_events(&mut self, clock: fn() -> u64) {
        let _ = clock;
    }
    /// Why guest code has left the fast path, and where, since [`Vcpu::count_events`]: in the
    /// software engines the reasons are those of [`trine_x86::event`], in KVM its exits. Empty for
    /// an engine that does not know.
    fn events(&self) -> Vec<EventCount> {
        Vec::new()
    }
}

/// How far to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Budget {
    /// Exactly so many instructions more (an engine that does not count treats it as unlimited).
    Instructions(NonZeroU64),
    /// Until guest time reaches this point (checked now and then; exact only through
    /// [`Budget::Instructions`]).
    Until(VmTime),
    /// Until something happens.
    Unlimited,
}

/// Why `run` returned. Always at an instruction boundary.
#[must_use]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exit {
    /// The budget is used up.
    Budget,
    /// [`Kicker::stop`] was called.
    Kicked,
    /// The vCPU is idle (HLT, MWAIT, waiting for a start-up IPI) and no pin calls. Run it again
    /// after a kick.
    Halted,
    /// A debugger's breakpoint at this RIP.
    Breakpoint(u64),
    /// A fault during the delivery of a double fault: the CPU has shut down. The board decides
    /// what follows (a PC resets).
    TripleFault(Box<TripleFault>),
}

/// The host failed. A guest cannot cause this.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The engine is missing something of the host's.
    #[error("the {engine} engine is not available: {reason}")]
    Unavailable {
        /// [`Engine::name`].
        engine: &'static str,
        /// What is missing, and what to do.
        reason: String,
    },
    /// The host has what the engine takes, and refuses it now. Another engine may take less.
    #[error("the host refuses the {engine} engine {what} ({error}); use another --engine")]
    Refused {
        /// [`Engine::name`].
        engine: &'static str,
        /// What was asked for.
        what: &'static str,
        /// What the host says.
        error: std::io::Error,
    },
    /// The host fails in what it was able to do before.
    #[error("the {engine} engine fails: {what}: {error}")]
    Failed {
        /// [`Engine::name`].
        engine: &'static str,
        /// What it did.
        what: &'static str,
        /// What the host says.
        error: std::io::Error,
    },
    /// A state that no CPU can have.
    #[error("bad CPU state: {0}")]
    BadState(String),
}
