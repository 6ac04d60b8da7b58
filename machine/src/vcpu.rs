//! Running the vCPUs: each on its own thread by the host's clock, or all in turn on this thread
//! by the count of instructions.
//!
//! A round lasts from when the vCPUs start until they have all stopped. Between rounds everything
//! can be looked at, saved or reset.

use std::{
    fmt,
    num::NonZeroU64,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use trine_engine::{Budget, EngineError, EventCount, Exit, Stats, Vcpu};
use trine_guest::VmTime;
use trine_x86::{Activity, rflags};

use crate::{
    Board,
    control::{Cause, Reached},
    stats::{self, ExitCounts},
};

/// A vCPU gets so many instructions at a turn, ...
const TURN: u64 = 10_000;
/// ... and the only one so many: nobody waits for it but who types.
const LONE_TURN: u64 = 250_000;
/// How often the caller's condition on serial output is looked at, by the host's clock.
const CONDITION_PERIOD: Duration = Duration::from_millis(5);
/// How long an idle machine that nothing will wake sleeps before it looks for input again.
const IDLE_PERIOD: Duration = Duration::from_millis(20);

/// Host time of a vCPU.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct CpuTime {
    /// Inside of its engine.
    pub(crate) running: Duration,
    /// Asleep.
    pub(crate) idle: Duration,
}

/// A vCPU with its exits counted.
pub(crate) struct Cpu {
    pub(crate) vcpu: Box<dyn Vcpu>,
    pub(crate) time: CpuTime,
    pub(crate) exits: ExitCounts,
    /// What it did on earlier engines.
    pub(crate) past: Stats,
    /// What was counted on them.
    pub(crate) past_events: Vec<EventCount>,
    /// It has gone idle, and its bell has not rung since.
    pub(crate) idle: bool,
    /// What it has retired more than its engine has counted (it wraps): on another one, in another
    /// machine, or when it went here before.
    pub(crate) retired_before: u64,
}

impl Cpu {
    fn run(&mut self, budget: Budget) -> Result<Exit, EngineError> {
        let start = Instant::now();
        let exit = self.vcpu.run(budget);
        self.time.running += start.elapsed();
        exit
    }

    pub(crate) fn new(vcpu: Box<dyn Vcpu>) -> Self {
        Self {
            vcpu,
            time: CpuTime::default(),
            exits: ExitCounts::default(),
            past: Stats::default(),
            past_events: Vec::new(),
            idle: false,
            retired_before: 0,
        }
    }

    /// What it did on all engines that it ran on.
    pub(crate) fn stats(&self) -> Stats {
        stats::in_sequence(self.past, self.vcpu.stats())
    }

    /// The events of all of them.
    pub(crate) fn events(&self) -> Vec<EventCount> {
        EventCount::merge(self.past_events.clone(), self.vcpu.events())
    }

    /// Instructions retired, on the present engine.
    pub(crate) fn retired(&self) -> u64 {
        self.vcpu.retired().wrapping_add(self.retired_before)
    }

    /// Whether it halted for good: with interrupts off.
    fn is_off(&mut self) -> bool {
        self.vcpu.state().is_ok_and(|state| {
            state.rflags & rflags::IF == 0 && state.events.activity != Activity::WaitForStartup
        })
    }
}

/// Whose turn it is, by [`crate::ClockKind::Instructions`]. It is a part of the machine's state: a
/// run that a caller's limit cuts in two is the same run.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Turns {
    /// The vCPU that is next, if it is not idle.
    pub(crate) next: usize,
    /// Instructions that are left of its turn, which a limit has cut; 0: its turn begins.
    pub(crate) left: u64,
}

/// Until when a round goes on, if nothing else ends it.
pub(crate) struct Until<'a> {
    pub(crate) host: Option<Instant>,
    pub(crate) guest: Option<VmTime>,
    /// All vCPUs together have retired so many (by the host's clock: each of them).
    pub(crate) retired: Option<u64>,
    /// vCPU 0 halts with interrupts off.
    pub(crate) halt: bool,
    /// The caller's condition.
    pub(crate) condition: Option<&'a mut dyn FnMut() -> bool>,
}

impl Until<'_> {
    fn met(&mut self) -> bool {
        self.condition.as_mut().is_some_and(|met| met())
    }
}

/// Does the work of one part of the machine. If that panics, the others stop as well, and the
/// machine says so; it does not run again.
fn contained(board: &Board, part: impl fmt::Display, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        board.stop(Cause::Panic(part.to_string()));
    }
}

/// A round on threads.
pub(crate) fn round_on_threads(board: &Board, cpus: &mut [Cpu], until: &mut Until<'_>) {
    let (retired, halt) = (until.retired, until.halt);
    board.resume();
    thread::scope(|scope| {
        let mut failed = None;
        for (id, cpu) in (0_u32..).zip(cpus.iter_mut()) {
            let spawned =
                thread::Builder::new().name(format!("vcpu {id}")).spawn_scoped(scope, move || {
                    contained(board, format_args!("vCPU {id}"), || {
                        run_thread(board, id, cpu, retired, halt && id == 0);
                    });
                });
            failed = spawned.err().or(failed);
        }
        let timer = thread::Builder::new().name("timer".into()).spawn_scoped(scope, || {
            contained(board, "the timer", || {
                while !board.control().is_stopping() {
                    let due = board.advance();
                    board.sleep_until(due);
                }
            });
        });
        if let Some(e) = timer.err().or(failed) {
            board.stop(Cause::Host(format!("the host has no thread for the machine: {e}")));
        }
        wait(board, until);
        board.stop_cpus();
    });
    board.pause();
}

/// Waits until there is a cause to stop, or makes one.
fn wait(board: &Board, until: &mut Until<'_>) {
    loop {
        let now = Instant::now();
        let left = until.guest.map(|at| Duration::from_nanos(at.since(board.clock().now())));
        let polls = until.condition.is_some().then(|| now + CONDITION_PERIOD);
        let wakes = [until.host, left.and_then(|left| now.checked_add(left)), polls];
        if board.control().wait(wakes.into_iter().flatten().min()) {
            return;
        }
        let reached = if until.met() {
            Reached::Serial
        } else if until.host.is_some_and(|at| at <= Instant::now()) {
            Reached::HostTime
        } else if until.guest.is_some_and(|at| at <= board.clock().now()) {
            Reached::GuestTime
        } else {
            continue;
        };
        board.stop(Cause::Condition(reached));
    }
}

/// The life of a vCPU's thread for one round.
fn run_thread(board: &Board, id: u32, cpu: &mut Cpu, retired: Option<u64>, halt: bool) {
    let Some(wires) = board.cpu(id) else { return };
    loop {
        // What rings from here on is either seen below or keeps us from going to sleep.
        wires.take_rung();
        if board.control().is_stopping() {
            return;
        }
        let budget = match retired.map(|end| end.saturating_sub(cpu.vcpu.retired())) {
            None => Budget::Unlimited,
            Some(left) => match NonZeroU64::new(left) {
                Some(left) => Budget::Instructions(left),
                None => return board.stop(Cause::Condition(Reached::Instructions)),
            },
        };
        match cpu.run(budget) {
            Ok(exit) => {
                cpu.exits.count(&exit);
                match exit {
                    Exit::Budget | Exit::Kicked => {}
                    Exit::Halted if halt && cpu.is_off() => {
                        board.stop(Cause::Condition(Reached::Halt));
                    }
                    Exit::Halted => {
                        let start = Instant::now();
                        wires.sleep();
                        cpu.time.idle += start.elapsed();
                    }
                    other => stop_for(board, id, other),
                }
            }
            Err(e) => board.stop(Cause::Engine(e)),
        }
    }
}

fn stop_for(board: &Board, id: u32, exit: Exit) {
    match exit {
        Exit::TripleFault(fault) => board.stop(Cause::TripleFault(id, fault)),
        Exit::Breakpoint(rip) => board.stop(Cause::Breakpoint(id, rip)),
        Exit::Budget | Exit::Kicked | Exit::Halted => {}
    }
}

/// A round in turns, on this thread.
pub(crate) fn round_in_turns(
    board: &Board,
    cpus: &mut [Cpu],
    turns: &mut Turns,
    until: &mut Until<'_>,
) {
    while !board.control().is_stopping() {
        let reached = if until.met() {
            Reached::Serial
        } else if until.host.is_some_and(|at| at <= Instant::now()) {
            Reached::HostTime
        } else if until.guest.is_some_and(|at| at <= board.clock().now()) {
            Reached::GuestTime
        } else if until.retired.is_some_and(|end| retired(cpus) >= end) {
            Reached::Instructions
        } else {
            contained(board, "a vCPU or a device", || turn(board, cpus, turns, until));
            continue;
        };
        board.control().push(Cause::Condition(reached));
    }
}

/// Instructions retired by all vCPUs, on all engines that count.
pub(crate) fn retired(cpus: &[Cpu]) -> u64 {
    cpus.iter().map(Cpu::retired).fold(0, u64::saturating_add)
}

/// One vCPU's turn, or what is left of it, or a step of time if all are idle.
fn turn(board: &Board, cpus: &mut [Cpu], turns: &mut Turns, until: &Until<'_>) {
    if turns.left == 0 {
        board.poll_serial();
    }
    let due = board.advance();
    let now = board.clock().now();
    for (id, cpu) in (0_u32..).zip(cpus.iter_mut()) {
        if board.cpu(id).is_some_and(|wires| wires.take_rung()) {
            cpu.idle = false;
        }
    }
    let count = cpus.len();
    let Some(id) = (0..count).map(|n| (turns.next + n) % count).find(|n| !cpus[*n].idle) else {
        let start = Instant::now();
        idle(board, due, until);
        let slept = start.elapsed();
        cpus.iter_mut().for_each(|cpu| cpu.time.idle += slept);
        return;
    };
    let mut whole = if count == 1 { LONE_TURN } else { TURN };
    if turns.left != 0 && id == turns.next {
        whole = turns.left;
    }
    let whole = due.map_or(whole, |due| whole.min(due.since(now))).max(1);
    let end = now.after_ns(whole);
    let guest = until.guest.map(|at| at.since(now));
    let retired = until.retired.map(|end| end.saturating_sub(retired(cpus)));
    let left = [guest, retired].into_iter().flatten().fold(whole, u64::min);
    let left = NonZeroU64::new(left).unwrap_or(NonZeroU64::MIN);
    let cpu = &mut cpus[id];
    if let Some(wires) = board.cpu(id as u32) {
        wires.begin_turn();
    }
    if board.control().is_stopping() {
        return;
    }
    let before = cpu.vcpu.retired();
    board.clock().begin_turn(before);
    board.await_until(end);
    let exit = cpu.run(Budget::Instructions(left));
    // A limit, or somebody outside, may cut it; a chip that calls ends it.
    let rest = whole.saturating_sub(cpu.vcpu.retired() - before);
    let is_cut = matches!(exit, Ok(Exit::Budget | Exit::Kicked)) && board.awaits(end);
    *turns = match rest {
        rest if is_cut && rest > 0 => Turns { next: id, left: rest },
        _ => Turns { next: (id + 1) % count, left: 0 },
    };
    // Between turns nobody has to be stopped.
    board.await_until(VmTime::ZERO);
    board.clock().end_turn(cpu.vcpu.retired());
    match exit {
        Ok(exit) => {
            cpu.exits.count(&exit);
            match exit {
                Exit::Budget | Exit::Kicked => {}
                Exit::Halted => {
                    cpu.idle = true;
                    if until.halt && id == 0 && cpu.is_off() {
                        board.stop(Cause::Condition(Reached::Halt));
                    }
                }
                other => stop_for(board, id as u32, other),
            }
        }
        Err(e) => board.stop(Cause::Engine(e)),
    }
}

/// All vCPUs are idle: time goes on to when something happens.
fn idle(board: &Board, due: Option<VmTime>, until: &Until<'_>) {
    let now = board.clock().now();
    match [due, until.guest].into_iter().flatten().min() {
        Some(at) => board.clock().jump(at.max(now.after_ns(1))),
        None => {
            let wake = Instant::now() + IDLE_PERIOD;
            board.control().wait(Some(until.host.map_or(wake, |host| host.min(wake))));
        }
    }
}
