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
            Self::Kvm => kvm_missing(),
        }
    }

    /// The fastest that this host has.
    #[must_use]
    pub fn best() -> Self {
        Self::ALL.into_iter().find(|kind| kind.missing().is_none()).unwrap_or(Self::Interp)
    }
}

/// Why this host's KVM cannot run a PC. It is asked once.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn kvm_missing() -> Option<&'static str> {
    static MISSING: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    MISSING.get_or_init(trine_kvm::missing).as_deref()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn kvm_missing() -> Option<&'static str> {
    Some("it takes Linux on an x86-64 host")
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn kvm(ram: Arc<Ram>) -> Result<Arc<dyn Engine>, EngineError> {
    Ok(Arc::new(trine_kvm::Kvm::new(ram)?))
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn kvm(_: Arc<Ram>) -> Result<Arc<dyn Engine>, EngineError> {
    unreachable!("it is missing on such a host")
}

/// An engine for the guest in `ram`.
///
/// # Errors
/// If this host does not have it.
pub fn create(kind: EngineKind, ram: Arc<Ram>) -> Result<Arc<dyn Engine>, EngineError> {
    match kind.missing() {
        None => match kind {
            EngineKind::Interp => Ok(Arc::new(Interp::new(ram))),
            EngineKind::Translate => Ok(Arc::new(Translate::new(ram)?)),
            EngineKind::Kvm => kvm(ram),
        },
        Some(reason) => {
            let reason = format!("{reason}; use --engine {}", EngineKind::best().name());
            Err(EngineError::Unavailable { engine: kind.name(), reason })
        }
    }
}

/// An engine for the guest in `ram`: the fastest that this host has and does not refuse, and what
/// speaks against each faster one.
///
/// # Errors
/// If the fastest one is not set up as it should be.
pub fn create_best(ram: &Arc<Ram>) -> Result<(Arc<dyn Engine>, Vec<String>), EngineError> {
    let mut passed = Vec::new();
    for kind in EngineKind::ALL {
        if let Some(reason) = kind.missing() {
            passed.push(format!("{}: {reason}", kind.name()));
            continue;
        }
        match create(kind, ram.clone()) {
            Err(EngineError::Refused { engine, what, error }) => {
                log::warn!("the host refuses the {engine} engine {what} ({error})");
                passed.push(format!("{engine}: no {what}"));
            }
            engine => return Ok((engine?, passed)),
        }
    }
    Ok((Arc::new(Interp::new(ram.clone())), passed))
}
