//! Two machines in step, to find the instruction at which their engines differ.
//!
//! Both begin with the same state and count instructions. Every so many of them they are compared:
//! their CPUs, their chips, and the pages of memory that either has stored to since the last time
//! (byte by byte; a page is copied once, so a digest of it would cost as much and prove less). Where
//! they differ, both go back to where they were last equal, and the first difference is found by
//! halving.
//!
//! An engine can be wrong in what it does with several instructions at once, and right with each of
//! them alone. Then the piece that is named has more than one.

mod command;
mod reproduce;

use std::{
    fmt,
    num::NonZeroU64,
    time::{Duration, Instant},
};

use crate::{Difference, Ending, Limits, Machine, MachineError, Snapshot};

pub use command::{LockstepArgs, lockstep, report};
pub use reproduce::{Line, Reproducer};

/// How long a machine runs before it is asked whether anything can still happen in it.
const PATIENCE: Duration = Duration::from_millis(500);

/// How a machine came to the end of a piece.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It has retired the instructions of the piece.
    Done,
    /// It has ended before that.
    Ended(Ending),
    /// All its vCPUs sleep, and nothing will wake them.
    Asleep,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => write!(f, "goes on"),
            Self::Ended(ending) => write!(f, "{ending}"),
            Self::Asleep => write!(f, "sleeps, and nothing will wake it"),
        }
    }
}

/// How a run in step ended.
#[derive(Debug)]
pub enum Outcome {
    /// The two were equal at every point; the guest came to this end, or [`Stop::Done`] if the
    /// caller's limit did.
    Same(Stop),
    /// They were not.
    Different(Box<Divergence>),
}

/// Where two machines part.
pub struct Divergence {
    /// The last point at which they are equal, as near as can be.
    pub before: Snapshot,
    /// Instructions from there to the difference, in one piece. 1: that instruction.
    pub piece: u64,
    /// False if the two do not part again when they are brought back to the last point of
    /// comparison: then the piece is all that lies between.
    pub is_repeatable: bool,
    /// The vCPU that executed the piece, if it was one alone.
    pub vcpu: Option<u32>,
    /// How each of them came out of the piece.
    pub stops: [Stop; 2],
    /// In what they differ then; of the stops nothing is said here.
    pub differences: Vec<Difference>,
}

impl fmt::Debug for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Divergence")
            .field("after", &self.before.retired())
            .field("piece", &self.piece)
            .field("is_repeatable", &self.is_repeatable)
            .field("vcpu", &self.vcpu)
            .field("stops", &self.stops)
            .field("differences", &self.differences)
            .finish_non_exhaustive()
    }
}

/// How far two machines run in step, from when they are started.
#[derive(Clone, Copy, Default, Debug)]
pub struct Length {
    /// Instructions.
    pub instructions: Option<u64>,
    /// Host time, looked at where the two are compared.
    pub host_time: Option<Duration>,
}

/// Two machines in step.
pub struct Lockstep {
    machines: [Machine; 2],
    every: NonZeroU64,
    /// Where they were equal.
    equal: Snapshot,
}

/// Both after a piece.
struct After {
    stops: [Stop; 2],
    snapshots: [Snapshot; 2],
}

impl After {
    fn is_same(&self) -> bool {
        self.stops[0] == self.stops[1] && self.snapshots[0].is_same(&self.snapshots[1])
    }
}

impl Lockstep {
    /// Two machines that are built alike and count instructions; the second one takes the first one's
    /// state. They are compared every `every` instructions.
    ///
    /// # Errors
    /// If they are not built alike, or an engine fails.
    pub fn new(
        mut first: Machine,
        mut second: Machine,
        every: NonZeroU64,
    ) -> Result<Self, MachineError> {
        let equal = first.save()?;
        second.load(&equal)?;
        Ok(Self { machines: [first, second], every, equal })
    }

    /// The two.
    #[must_use]
    pub fn machines(&self) -> &[Machine; 2] {
        &self.machines
    }

    /// The first one, which may be anywhere near.
    pub fn first(&mut self) -> &mut Machine {
        &mut self.machines[0]
    }

    /// Runs both until the guest ends, they differ, or `length` is over. `parts` is called where they
    /// are compared, with the count of instructions; and once before the search for a difference
    /// begins, with [`None`]: what the guest says from there on, it says again.
    ///
    /// # Errors
    /// If an engine or the host fails.
    pub fn run(
        &mut self,
        length: Length,
        mut parts: impl FnMut(Option<u64>),
    ) -> Result<Outcome, MachineError> {
        let begin = Instant::now();
        let end = length.instructions.map(|n| self.equal.retired().saturating_add(n));
        loop {
            let left = end.map_or(u64::MAX, |end| end.saturating_sub(self.equal.retired()));
            if left == 0 || length.host_time.is_some_and(|most| begin.elapsed() >= most) {
                return Ok(Outcome::Same(Stop::Done));
            }
            let piece = self.every.get().min(left);
            let after = self.run_piece(piece)?;
            if !after.is_same() {
                parts(None);
                return self.search(piece, after).map(|d| Outcome::Different(Box::new(d)));
            }
            let ([stop, _], [snapshot, _]) = (after.stops, after.snapshots);
            self.equal = snapshot;
            parts(Some(self.equal.retired()));
            if stop != Stop::Done {
                return Ok(Outcome::Same(stop));
            }
        }
    }

    /// Both run `piece` instructions from where they are, at the same time.
    fn run_piece(&mut self, piece: u64) -> Result<After, MachineError> {
        let [first, second] = &mut self.machines;
        let stops = std::thread::scope(|scope| {
            let other = scope.spawn(|| run(second, piece));
            let one = run(first, piece);
            let other = other
                .join()
                .unwrap_or_else(|_| Err(MachineError::Panic("the second machine".to_owned())));
            Ok::<_, MachineError>([one?, other?])
        })?;
        let one = first.save()?;
        let other = second.save_like(&one)?;
        Ok(After { stops, snapshots: [one, other] })
    }

    /// The same from `from`.
    fn run_from(&mut self, from: &Snapshot, piece: u64) -> Result<After, MachineError> {
        for machine in &mut self.machines {
            machine.load(from)?;
        }
        self.run_piece(piece)
    }

    /// The first difference in the `piece` instructions after the last point of comparison, at whose
    /// end they were `after`.
    fn search(&mut self, piece: u64, after: After) -> Result<Divergence, MachineError> {
        let equal = self.equal.clone();
        if self.run_from(&equal, piece)?.is_same() {
            return Ok(self.divergence(equal, piece, false, after));
        }
        // After `low` instructions in one piece the two are equal, after `high` they are not.
        let (mut low, mut high) = (0, piece);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.run_from(&equal, middle)?.is_same() {
                true => low = middle,
                false => high = middle,
            }
        }
        // How many of the last ones it takes.
        let (mut short, mut back) = (0, 1);
        loop {
            let (from, after) = self.run_back(&equal, high, back)?;
            if after.is_same() && back < high {
                (short, back) = (back, (2 * back).min(high));
                continue;
            }
            if after.is_same() {
                return Ok(self.divergence(equal, piece, false, after));
            }
            if back - short <= 1 {
                return Ok(self.divergence(from, back, true, after));
            }
            break;
        }
        while back - short > 1 {
            let middle = short + (back - short) / 2;
            match self.run_back(&equal, high, middle)?.1.is_same() {
                true => short = middle,
                false => back = middle,
            }
        }
        let (from, after) = self.run_back(&equal, high, back)?;
        Ok(self.divergence(from, back, true, after))
    }

    /// Both run `high - back` instructions from `equal` as the first machine does it, and then `back`
    /// in one piece. Where that one began, and where it led.
    fn run_back(
        &mut self,
        equal: &Snapshot,
        high: u64,
        back: u64,
    ) -> Result<(Snapshot, After), MachineError> {
        let first = &mut self.machines[0];
        first.load(equal)?;
        if high > back {
            run(first, high - back)?;
        }
        let from = first.save()?;
        let after = self.run_from(&from, back)?;
        Ok((from, after))
    }

    fn divergence(
        &self,
        before: Snapshot,
        piece: u64,
        is_repeatable: bool,
        after: After,
    ) -> Divergence {
        let [one, other] = after.snapshots;
        let ran = (0..).zip(one.retired_by_cpu()).zip(before.retired_by_cpu());
        let ran: Vec<u32> = ran.filter(|((_, a), b)| a != b).map(|((id, _), _)| id).collect();
        Divergence {
            differences: one.differences(&other, self.machines[0].ram()),
            piece,
            is_repeatable,
            vcpu: if let [one] = ran[..] { Some(one) } else { None },
            stops: after.stops,
            before,
        }
    }
}

/// Runs `machine` for `piece` instructions.
fn run(machine: &mut Machine, piece: u64) -> Result<Stop, MachineError> {
    let end = machine.retired().saturating_add(piece);
    let mut last = None;
    loop {
        let left = end.saturating_sub(machine.retired());
        if left == 0 {
            return Ok(Stop::Done);
        }
        let limits =
            Limits { instructions: Some(left), host_time: Some(PATIENCE), ..Limits::default() };
        match machine.run(limits)? {
            Ending::Instructions => return Ok(Stop::Done),
            Ending::HostTime => {
                let now = Some((machine.retired(), machine.now()));
                if last == now {
                    return Ok(Stop::Asleep);
                }
                last = now;
            }
            ending => return Ok(Stop::Ended(ending)),
        }
    }
}
