//! Getting a running vCPU's attention from another thread.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

const PINS: u32 = 1;
const STOP: u32 = 2;

/// Calls a vCPU that does not poll back from where it executes.
pub trait Wake: Send + Sync {
    /// Makes the vCPU look at its kicker soon. It may be called from any thread, and after the vCPU is
    /// gone.
    fn wake(&self);
}

/// One word that a running vCPU polls between blocks of instructions, or after it was woken.
/// Clones are the same word.
#[derive(Clone, Default)]
pub struct Kicker {
    word: Arc<AtomicU32>,
    wake: Option<Arc<dyn Wake>>,
}

impl fmt::Debug for Kicker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kicker").field(&self.word).finish()
    }
}

impl Kicker {
    /// One for a vCPU that has to be woken.
    pub fn waking(wake: Arc<dyn Wake>) -> Self {
        Self { word: Arc::default(), wake: Some(wake) }
    }

    /// A pin of the vCPU changed: `run` samples [`crate::Bus::pins`] soon and goes on.
    pub fn kick(&self) {
        self.raise(PINS);
    }

    /// `run` returns [`crate::Exit::Kicked`] soon (at once, if it is not running).
    pub fn stop(&self) {
        self.raise(STOP | PINS);
    }

    fn raise(&self, bits: u32) {
        self.word.fetch_or(bits, Ordering::SeqCst);
        if let Some(wake) = &self.wake {
            wake.wake();
        }
    }

    /// For the engine: whether there is anything to do.
    #[inline(always)]
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.word.load(Ordering::Relaxed) != 0
    }

    /// For the engine: takes what was raised. True if `run` shall return.
    #[must_use]
    pub fn take(&self) -> bool {
        self.word.swap(0, Ordering::SeqCst) & STOP != 0
    }
}
