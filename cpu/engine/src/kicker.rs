//! Getting a running vCPU's attention from another thread.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

const PINS: u32 = 1;
const STOP: u32 = 2;

/// One word that a running vCPU polls between blocks of instructions. Clones are the same word.
#[derive(Clone, Default, Debug)]
pub struct Kicker(Arc<AtomicU32>);

impl Kicker {
    /// A pin of the vCPU changed: `run` samples [`crate::Bus::pins`] soon and goes on.
    pub fn kick(&self) {
        self.0.fetch_or(PINS, Ordering::SeqCst);
    }

    /// `run` returns [`crate::Exit::Kicked`] soon (at once, if it is not running).
    pub fn stop(&self) {
        self.0.fetch_or(STOP | PINS, Ordering::SeqCst);
    }

    /// For the engine: whether there is anything to do.
    #[inline(always)]
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// For the engine: takes what was raised. True if `run` shall return.
    #[must_use]
    pub fn take(&self) -> bool {
        self.0.swap(0, Ordering::SeqCst) & STOP != 0
    }
}
