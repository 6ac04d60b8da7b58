//! Runs instructions on the host's CPU: the oracle of `trine conform host` and `float`.
//!
//! It is a crate of its own because it is `unsafe` by nature and nothing else in the suites is.
//!
//! An [`Oracle`] owns a child process. A [`Case`] is a complete user-mode state and some memory;
//! the child loads all of it by returning from a signal that never was, the CPU executes until the
//! next exception, and the exception's signal brings the complete state back: an [`Outcome`].
//! Whatever the instruction does to the child, the parent only notices that a case had no outcome.
//!
//! The exception is that of an INT3 behind the instruction, unless the instruction raises one
//! itself: a single step would do as well, but costs ten times as much in a virtual machine, where
//! #DB goes through the hypervisor.
//!
//! Sources: `sigreturn(2)`, `modify_ldt(2)`; Linux, `arch/x86/include/uapi/asm/sigcontext.h`; SDM
//! vol. 1, section 13.4 (the XSAVE area).

mod case;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod child;
pub mod float;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod oracle;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[path = "elsewhere.rs"]
mod oracle;

pub use case::{
    CHANGED, Case, Change, FX_BYTES, LDT, Outcome, PATCH_BYTES, PATCHES, Page, Patch, State,
    TooMuch, WINDOW, WINDOW_BYTES, YMM_BYTES, page,
};
pub use oracle::{Cpuid, Oracle, cpuid};

use thiserror::Error;

/// Why there is no oracle.
#[derive(Debug, Error)]
pub enum OracleError {
    /// The host is of another kind.
    #[error("the host CPU is no oracle here: it takes Linux on x86-64")]
    Host,
    /// The host's CPU or kernel lacks something.
    #[error("the host CPU is no oracle here: {0}")]
    Lacks(&'static str),
    /// A system call failed.
    #[error("the host CPU is no oracle here: {call} failed: {source}")]
    Call {
        /// Which.
        call: &'static str,
        /// How.
        source: std::io::Error,
    },
    /// The child did not even start.
    #[error("the host CPU is no oracle here: its process died at the start ({0})")]
    Died(String),
}
