//! Which engines there are.

use std::sync::Arc;

use serde::Serialize;
use trine_engine::{Engine, EngineError};
use trine_guest::Ram;
use trine_interp::Interp;
use trine_translate::Translate;

/// An engine, by the name on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Exact, and runs on any host.
    Interp,
    /// Turns hot guest code into host code.
    Translate,
    /// Lends the guest the host's CPU.
    Kvm,
}

impl EngineKind {
    /// All of them, the fastest first.
    pub const ALL: [Self; 3] = [Self::Kvm, Self::Translate, Self::Interp];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interp => "interp",
            Self::Translate => "translate",
            Self::Kvm => "kvm",
        }
    }

    /// Why this host does not have it, if it does not.
    #[must_use]
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Self::Interp => None,
            Self::Translate if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) => None,
            Self::Translate => Some("it makes no code for this host yet"),
            Self::Kvm => Some("it is not built yet"),
        }
    }

    /// The fastest that this host has, and what speaks against each faster one.
    #[must_use]
    pub fn best() -> (Self, Vec<(Self, &'static str)>) {
        let mut passed = Vec::new();
        for kind in Self::ALL {
            match kind.missing() {
                None => return (kind, passed),
                Some(reason) => passed.push((kind, reason)),
            }
        }
        (Self::Interp, passed)
    }
}

/// An engine for the guest in `ram`.
///
/// # Errors
/// If this host does not have it.
pub fn create(kind: EngineKind, ram: Arc<Ram>) -> Result<Arc<dyn Engine>, EngineError> {
    match kind.missing() {
        None if kind == EngineKind::Translate => Ok(Arc::new(Translate::new(ram)?)),
        None => Ok(Arc::new(Interp::new(ram))),
        Some(reason) => {
            let reason = format!("{reason}; use --engine interp");
            Err(EngineError::Unavailable { engine: kind.name(), reason })
        }
    }
}
