//! The translator: hot guest code becomes host code.
//!
//! (The essay follows.)

pub mod a64;
mod cache;
mod code;
mod flags;
mod helper;
mod ir;
mod lift;
mod memory;
mod passes;
mod vcpu;
#[cfg(target_arch = "x86_64")]
mod x64;

use std::sync::Arc;

use trine_engine::{Bus, CpuModel, Engine, EngineError, Limits, Vcpu};
use trine_guest::Ram;
use trine_interp::InterpVcpu;
use trine_x86::BLOCK_INSNS;

use crate::{
    cache::Cache,
    memory::Way,
    vcpu::{Peers, Translator, Tuning},
};

/// Bytes of code of a machine, at most.
const CODE_BYTES: usize = 64 << 20;

/// The translator for one machine.
pub struct Translate {
    ram: Arc<Ram>,
    cache: Arc<Cache>,
    peers: Arc<Peers>,
    tuning: Tuning,
}

impl Translate {
    /// A translator of guests in `ram`.
    ///
    /// # Errors
    /// If there is no backend for this host, or the host gives no memory for code.
    pub fn new(ram: Arc<Ram>) -> Result<Self, EngineError> {
        let unavailable = |reason: String| EngineError::Unavailable { engine: "translate", reason };
        let backend = backend().ok_or_else(|| unavailable("no code for this host".to_owned()))?;
        let tuning = Tuning { heat: 16, steps: BLOCK_INSNS };
        let cache = Cache::new(ram.clone(), backend, Way::of_host(), CODE_BYTES)
            .map_err(|e| unavailable(format!("no memory for code: {e}")))?;
        Ok(Self { ram, cache: Arc::new(cache), peers: Arc::default(), tuning })
    }

    /// The same, but everything is translated when it is first executed, in blocks of at most so
    /// many instructions: for tests.
    #[must_use]
    pub fn eager(self, steps: usize) -> Self {
        Self { tuning: Tuning { heat: 1, steps }, ..self }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(clippy::unnecessary_wraps, reason = "other hosts have none")]
fn backend() -> Option<Box<dyn code::Backend>> {
    Some(Box::new(x64::X64))
}

#[cfg(target_arch = "aarch64")]
#[expect(clippy::unnecessary_wraps, reason = "other hosts have none")]
fn backend() -> Option<Box<dyn code::Backend>> {
    Some(Box::new(a64::A64::of_host()))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn backend() -> Option<Box<dyn code::Backend>> {
    None
}

impl Engine for Translate {
    fn name(&self) -> &'static str {
        "translate"
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
        let (cache, peers) = (self.cache.clone(), self.peers.clone());
        Ok(Box::new(InterpVcpu::new(id, model, self.ram.clone(), bus, |core, _| {
            Translator::new(cache, peers, core, self.tuning)
        })))
    }
}
