//! How a running machine is told to stop, and why it did.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use trine_devices::Power;
use trine_engine::{EngineError, TripleFault};

use crate::{Board, serial::SerialInput};

/// What somebody outside of the machine asks for while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Stop, for good.
    Quit,
    /// Stop, so that statistics can be read.
    Statistics,
    /// Stop, so that another engine can take over.
    SwitchEngine,
}

/// Why the vCPUs stop.
#[derive(Debug)]
pub(crate) enum Cause {
    /// The guest did something to the power supply or the reset wire, through this chip.
    Power(Power, &'static str),
    /// A vCPU shut down.
    TripleFault(u32, Box<TripleFault>),
    /// A vCPU reached a debugger's breakpoint.
    Breakpoint(u32, u64),
    /// The engine failed.
    Engine(EngineError),
    /// This part of the machine panicked.
    Panic(String),
    /// The host refused something.
    Host(String),
    /// Somebody outside asked.
    Asked(Request),
    /// A limit or a condition of the caller's is reached.
    Condition(Reached),
}

/// What a caller of [`crate::Machine::run`] waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reached {
    Serial,
    HostTime,
    GuestTime,
    Instructions,
    Halt,
}

/// Causes that wait are few; a guest that keeps asking for a reset is not heard twice.
const MAX_CAUSES: usize = 16;

/// The causes that have come up and were not dealt with. While there is one, the machine stops.
#[derive(Default)]
pub(crate) struct Control {
    stopping: AtomicBool,
    causes: Mutex<VecDeque<Cause>>,
    news: Condvar,
}

impl Control {
    /// Adds a cause. The board then stops the vCPUs.
    pub(crate) fn push(&self, cause: Cause) {
        let mut causes = self.lock();
        if causes.len() < MAX_CAUSES {
            causes.push_back(cause);
        }
        self.stopping.store(true, Ordering::SeqCst);
        self.news.notify_all();
    }

    /// Whether the vCPUs have to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Waits for a cause until `until`. True if there is one.
    pub(crate) fn wait(&self, until: Option<Instant>) -> bool {
        let mut causes = self.lock();
        while causes.is_empty() {
            let Some(until) = until else {
                causes = self.news.wait(causes).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return false;
            }
            causes = self.news.wait_timeout(causes, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Takes the oldest cause.
    pub(crate) fn take(&self) -> Option<Cause> {
        let mut causes = self.lock();
        let cause = causes.pop_front();
        self.stopping.store(!causes.is_empty(), Ordering::SeqCst);
        cause
    }

    /// Somebody runs the machine anew: what an earlier caller waited for is void.
    pub(crate) fn forget_limits(&self) {
        let mut causes = self.lock();
        causes.retain(|c| !matches!(c, Cause::Condition(r) if *r != Reached::Halt));
        self.stopping.store(!causes.is_empty(), Ordering::SeqCst);
    }

    /// After a reset of the machine: what the guest caused before it is void.
    pub(crate) fn forget_guest(&self) {
        let mut causes = self.lock();
        causes.retain(|c| {
            !matches!(c, Cause::Power(..) | Cause::TripleFault(..) | Cause::Breakpoint(..))
        });
        self.stopping.store(!causes.is_empty(), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Cause>> {
        self.causes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A machine's remote control, for other threads. Clones control the same machine.
#[derive(Clone)]
pub struct Remote {
    pub(crate) board: Arc<Board>,
}

impl Remote {
    /// Asks for something; [`crate::Machine::run`] returns it as [`crate::Ending::Asked`].
    pub fn ask(&self, request: Request) {
        self.board.stop(Cause::Asked(request));
    }

    /// Something comes in at the serial port. False if too much waits there already; nothing is
    /// taken then and the caller tries again later.
    #[must_use]
    pub fn serial_input(&self, input: SerialInput<'_>) -> bool {
        self.board.serial_input(input)
    }

    /// Somebody presses the power button.
    pub fn press_power_button(&self) {
        self.board.press_power_button();
    }
}
