//! How a running machine is told to stop, and why it did.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use trine_devices::Power;
use trine_engine::{EngineError, TripleFault};

use crate::{
    Board,
    cards::Drive,
    ctl::{Balloon, Controls},
    seat::Seat,
    serial::SerialInput,
};

/// A port of the guest at which bytes come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// The first serial port.
    Serial,
    /// The virtio console.
    Console,
}

/// What somebody outside of the machine asks for while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Stop, for good.
    Quit,
    /// Stop, so that statistics can be read.
    Statistics,
    /// Stop, so that another engine can take over.
    SwitchEngine,
    /// Stop, and stand until somebody asks for something else.
    Pause,
    /// Go on.
    Resume,
    /// Reset the machine, and go on.
    Reset,
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
    /// Whoever runs the machine lets it stand.
    standing: AtomicBool,
    /// How often it was let run or stand.
    starts: AtomicU64,
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

    /// The machine is let run, or stand.
    pub(crate) fn start(&self, stands: bool) {
        self.standing.store(stands, Ordering::SeqCst);
        self.starts.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether the machine stands until somebody asks for something.
    pub(crate) fn is_standing(&self) -> bool {
        self.standing.load(Ordering::SeqCst)
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

/// A machine's remote control, for other threads. Clones control the same machine, and none keeps it
/// alive: once it is gone, nothing happens.
#[derive(Clone)]
pub struct Remote {
    pub(crate) board: Weak<Board>,
    pub(crate) drives: Arc<[Drive]>,
}

impl Remote {
    /// How often somebody who waits looks again.
    const POLL: Duration = Duration::from_millis(2);

    /// Asks for something; [`crate::Machine::run`] returns it as [`crate::Ending::Asked`].
    pub fn ask(&self, request: Request) {
        if let Some(board) = self.board.upgrade() {
            board.stop(Cause::Asked(request));
        }
    }

    /// Something comes in at `port`; a console has no break. False if too much waits there already;
    /// nothing is taken then and the caller tries again later.
    #[must_use]
    pub fn input(&self, port: Port, input: SerialInput<'_>) -> bool {
        match (port, input) {
            (Port::Serial, input) => self.serial_input(input),
            (Port::Console, SerialInput::Break) => true,
            (Port::Console, SerialInput::Bytes(bytes)) => {
                self.board.upgrade().is_none_or(|board| board.console_input(bytes))
            }
        }
    }

    /// Something comes in at the serial port. False if too much waits there already; nothing is
    /// taken then and the caller tries again later.
    #[must_use]
    pub fn serial_input(&self, input: SerialInput<'_>) -> bool {
        self.board.upgrade().is_none_or(|board| board.serial_input(input))
    }

    /// Somebody presses the power button.
    pub fn press_power_button(&self) {
        if let Some(board) = self.board.upgrade() {
            board.press_power_button();
        }
    }

    /// Where a person sits at the machine.
    #[must_use]
    pub fn seat(&self) -> Arc<dyn Seat> {
        Arc::new(self.board.clone())
    }
}

impl Controls for Remote {
    fn is_running(&self) -> bool {
        self.board.upgrade().is_some_and(|board| !board.control().is_standing())
    }

    fn ask(&self, request: Request, patience: Duration) -> bool {
        let starts = |board: &Board| board.control().starts.load(Ordering::SeqCst);
        let Some(before) = self.board.upgrade().map(|board| starts(&board)) else { return false };
        let end = Instant::now() + patience;
        self.ask(request);
        // Whoever runs the machine does what was asked, and then lets it run or stand again.
        while let Some(board) = self.board.upgrade() {
            if !board.control().is_stopping() && starts(&board) != before {
                return true;
            }
            drop(board);
            if Instant::now() >= end {
                break;
            }
            thread::sleep(Self::POLL);
        }
        false
    }

    fn quit(&self) {
        self.ask(Request::Quit);
    }

    fn press_power_button(&self) {
        Self::press_power_button(self);
    }

    fn balloon(&self) -> Option<Balloon> {
        self.board.upgrade()?.balloon()
    }

    fn set_balloon(&self, bytes: u64) -> Result<(), String> {
        self.board.upgrade().ok_or("the machine has ended")?.set_balloon(bytes)
    }

    fn drives(&self) -> Vec<String> {
        self.drives.iter().map(|drive| drive.name.clone()).collect()
    }

    fn change_medium(
        &self,
        drive: &str,
        image: Option<&Path>,
        is_read_only: bool,
    ) -> Result<(), String> {
        let known = self.drives.iter().find(|known| known.name == drive);
        let known = known.ok_or_else(|| {
            format!("there is no drive {drive}; there are {}", self.drives().join(", "))
        })?;
        let board = self.board.upgrade().ok_or("the machine has ended")?;
        // What is in the drive first leaves it: it may be the same image, which one alone may have.
        drop(board.change_medium(known.chip, known.bay, None));
        let Some(image) = image else { return Ok(()) };
        let medium = known.open(&board, image, is_read_only).map_err(|e| e.to_string())?;
        drop(board.change_medium(known.chip, known.bay, Some(medium)));
        Ok(())
    }
}
