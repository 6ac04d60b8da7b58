//! When the board has to look at its chips again: the timer thread, and vCPUs that have their turn.

use std::{
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use trine_guest::VmTime;

use super::Board;

impl Board {
    /// For the timer thread: sleeps until something is due or somebody pokes. `due` is what
    /// [`Board::advance`] returned.
    pub(crate) fn sleep_until(&self, due: Option<VmTime>) {
        /// The thread wakes at most so often, whatever a guest does to its timers.
        const SHORTEST: Duration = Duration::from_micros(10);
        const LONGEST: Duration = Duration::from_secs(3600);
        let left = match due {
            Some(due) => Duration::from_nanos(due.since(self.clock.now())),
            None => LONGEST,
        };
        let poked = self.poked.lock().unwrap_or_else(PoisonError::into_inner);
        if *poked {
            drop(poked);
            self.take_poke();
            return;
        }
        let left = left.clamp(SHORTEST, LONGEST);
        drop(self.poke.wait_timeout(poked, left).unwrap_or_else(PoisonError::into_inner));
        self.take_poke();
    }

    fn take_poke(&self) {
        *self.poked.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Makes the timer thread look again.
    pub(super) fn poke_timer(&self) {
        *self.poked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.poke.notify_all();
    }

    /// Somebody sees to it that [`Board::advance`] is called at `until`.
    pub(crate) fn await_until(&self, until: VmTime) {
        self.awaited.store(until.ns(), Ordering::SeqCst);
    }

    /// Whether that is still so, and no chip has asked for an earlier call since.
    pub(crate) fn awaits(&self, until: VmTime) -> bool {
        self.awaited.load(Ordering::SeqCst) == until.ns()
    }
}
