//! The interpreter: exact, and runs on any host.
//!
//! Guest code is decoded once into blocks of 32-byte records. A record is an instruction and
//! the function that executes it, compiled for its operand kinds and widths and for the engine.
//! Such a function ends in a call of the next record's, which optimised builds turn into a jump;
//! a chain ends with its block, so that builds that do not can never run out of stack.
//!
//! Between blocks, and only there, the run loop looks at the budget, at pins and at everything
//! else that an instruction cannot see (`run.rs`).
#![forbid(unsafe_code)]

mod block;
mod exec;
mod run;
mod tier;

use std::sync::Arc;

use trine_engine::{Bus, CpuModel, Engine, EngineError, Limits, Vcpu};
use trine_guest::Ram;

pub use block::Mix;
pub use run::InterpVcpu;
pub use tier::{Above, Nothing, Tier};

/// The interpreter for one machine.
pub struct Interp {
    ram: Arc<Ram>,
}

impl Interp {
    /// An interpreter of guests in `ram`.
    #[must_use]
    pub fn new(ram: Arc<Ram>) -> Self {
        Self { ram }
    }
}

impl Engine for Interp {
    fn name(&self) -> &'static str {
        "interp"
    }

    fn limits(&self) -> Limits {
        Limits { counts_instructions: true, deterministic: true }
    }

    fn create_vcpu(
        &self,
        id: u32,
        model: &CpuModel,
        bus: Arc<dyn Bus>,
    ) -> Result<Box<dyn Vcpu>, EngineError> {
        Ok(Box::new(InterpVcpu::new(id, model, self.ram.clone(), bus, |_, _| Nothing)))
    }
}
