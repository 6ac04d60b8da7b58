//! Hop: a running machine moves from one engine to another, at any instruction boundary.
//!
//! Between rounds each vCPU's whole architectural state is taken from the old engine and given to a
//! new one over the same RAM and on the same board. The chips, the clock and what waits on a vCPU's
//! pins belong to the board and do not notice; neither does the guest, except by its speed. What the
//! old engine made for itself (decoded blocks, host code, translations of addresses) is dropped.

use std::{str::FromStr, sync::Arc, time::Duration};

use trine_engine::{Engine, EngineError};
use trine_guest::Ram;

use crate::{
    ClockKind, EngineKind, Limits, Machine, MachineError, create_engine, machine::check_count,
    stopwatch,
};

/// Instructions that a vCPU runs at least before the machine looks at a count that all of them share,
/// by the host's clock.
const SHARE_MIN: u64 = 10_000;

impl Machine {
    /// The present engine's name.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        self.engine.name()
    }

    /// Goes on with the engine that `engine` makes, which is bound to the machine's RAM. Call it
    /// when [`Machine::run`] has returned, then run on.
    ///
    /// # Errors
    /// If there is no such engine, or it cannot do what this machine needs. The machine is then as
    /// before, on its old engine.
    pub fn switch_engine(
        &mut self,
        engine: impl FnOnce(Arc<Ram>) -> Result<Arc<dyn Engine>, EngineError>,
    ) -> Result<(), MachineError> {
        let engine = engine(self.ram.clone())?;
        check_count(self.board.clock().kind(), engine.as_ref())?;
        if self.lend_apics {
            engine.borrow_apics(self.board.clone())?;
        }
        let mut vcpus = Vec::with_capacity(self.cpus.len());
        for (id, cpu) in (0_u32..).zip(&mut self.cpus) {
            let mut vcpu = engine.create_vcpu(id, &self.model, self.board.clone())?;
            vcpu.set_state(&cpu.vcpu.state()?)?;
            if self.board.device_times().is_on() {
                vcpu.count_events(stopwatch::host_ns);
            }
            vcpus.push(vcpu);
        }
        self.engine.collect_dirty()?;
        // From here on nothing can fail.
        self.history.leave(self.engine.name(), self.wall, self.retired());
        for ((id, cpu), vcpu) in (0_u32..).zip(&mut self.cpus).zip(vcpus) {
            if let Some(wires) = self.board.cpu(id) {
                wires.connect(vcpu.kicker());
            }
            cpu.past = cpu.stats();
            cpu.retired_before = cpu.retired();
            cpu.past_events = cpu.events();
            cpu.vcpu = vcpu;
        }
        log::info!("the machine moves from {} to {}", self.engine.name(), engine.name());
        self.engine = engine;
        Ok(())
    }

    /// Goes on with the next engine that this host has and that can take over, in the order of
    /// [`EngineKind::ALL`]. Returns what speaks against those that were passed over.
    ///
    /// # Errors
    /// If there is no other: one line for each.
    pub fn switch_to_next_engine(&mut self) -> Result<Vec<String>, Vec<String>> {
        let now = EngineKind::ALL.iter().position(|kind| kind.name() == self.engine());
        let (before, after) = EngineKind::ALL.split_at(now.map_or(0, |n| n + 1));
        let others = after.iter().chain(before).filter(|kind| kind.name() != self.engine());
        let mut passed = Vec::new();
        for kind in others.copied().collect::<Vec<_>>() {
            match self.switch_engine(|ram| create_engine(kind, ram)) {
                Ok(()) => return Ok(passed),
                Err(why) => passed.push(why.to_string()),
            }
        }
        Err(passed)
    }
}

/// `--switch`: when a machine moves, and to which engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Switch {
    /// When.
    pub at: At,
    /// To which engine.
    pub engine: EngineKind,
}

/// A point in a machine's life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum At {
    /// So many instructions are retired by all vCPUs together: exactly, if time follows them.
    Instructions(u64),
    /// Guest time.
    Time(Duration),
}

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (at, engine) = text.split_once('=').ok_or_else(|| {
            format!("'{text}' is not AT=ENGINE; write for example 5M=interp or 2.5s=translate")
        })?;
        let engine =
            EngineKind::ALL.into_iter().find(|kind| kind.name() == engine).ok_or_else(|| {
                format!(
                    "'{engine}' is no engine; there are {}",
                    EngineKind::ALL.map(EngineKind::name).join(", ")
                )
            })?;
        Ok(Self { at: at.parse()?, engine })
    }
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let wrong = || {
            format!(
                "'{text}' is neither a count of instructions, as 5000000, 300K or 2G, nor a time, as \
                 2.5s or 300ms"
            )
        };
        let count = |scale: u64| {
            let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            let count = number.parse::<u64>().ok().filter(|_| plain)?;
            count.checked_mul(scale).map(Self::Instructions)
        };
        let time = |scale: f64| {
            let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let time = number.parse::<f64>().ok().filter(|_| plain)?;
            Duration::try_from_secs_f64(time * scale).ok().map(Self::Time)
        };
        let at = match &text[number.len()..] {
            "" => count(1),
            "k" | "K" => count(1_000),
            "m" | "M" => count(1_000_000),
            "g" | "G" => count(1_000_000_000),
            "s" => time(1.0),
            "ms" => time(1e-3),
            "us" => time(1e-6),
            _ => None,
        };
        at.ok_or_else(wrong)
    }
}

/// The moves that are still to come.
#[derive(Clone, Default, Debug)]
pub struct Schedule(Vec<Switch>);

impl Schedule {
    /// All of these, in any order.
    #[must_use]
    pub fn new(switches: &[Switch]) -> Self {
        let mut switches = switches.to_vec();
        switches.sort_by_key(|switch| switch.at);
        Self(switches)
    }

    /// Takes those that are due, and says where the last of them leads.
    pub fn take_due(&mut self, machine: &Machine) -> Option<EngineKind> {
        let (retired, now) = (machine.retired(), Duration::from_nanos(machine.now().ns()));
        let is_due = |switch: &Switch| match switch.at {
            At::Instructions(count) => count <= retired,
            At::Time(time) => time <= now,
        };
        let last = self.0.iter().rfind(|switch| is_due(switch)).map(|switch| switch.engine);
        self.0.retain(|switch| !is_due(switch));
        last
    }

    /// `limits` with an end at the next move, or before.
    #[must_use]
    pub fn limit(&self, machine: &Machine, limits: Limits) -> Limits {
        let (retired, now) = (machine.retired(), Duration::from_nanos(machine.now().ns()));
        let mut tight = limits;
        for switch in &self.0 {
            let (count, time) = match switch.at {
                At::Instructions(count) => (Some(share(machine, count - retired.min(count))), None),
                At::Time(time) => (None, Some(time.saturating_sub(now))),
            };
            tight.instructions = [tight.instructions, count].into_iter().flatten().min();
            tight.guest_time = [tight.guest_time, time].into_iter().flatten().min();
        }
        tight
    }
}

/// What [`Limits::instructions`] has to be if the vCPUs together are to retire so many.
fn share(machine: &Machine, instructions: u64) -> u64 {
    match machine.board.clock().kind() {
        ClockKind::Instructions => instructions,
        // Any one of them ends the run: nearer and nearer, in steps that are worth it.
        ClockKind::Host => {
            let each = instructions / machine.cpus.len().max(1) as u64;
            each.max(SHARE_MIN).min(instructions)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_at_a_count_or_a_time() {
        let parse = |text: &str| text.parse::<Switch>();
        let is = |at, engine| Ok(Switch { at, engine });
        let count = At::Instructions;
        assert_eq!(parse("5000000=interp"), is(count(5_000_000), EngineKind::Interp));
        assert_eq!(parse("300k=translate"), is(count(300_000), EngineKind::Translate));
        assert_eq!(parse("2G=kvm"), is(count(2_000_000_000), EngineKind::Kvm));
        assert_eq!(parse("0=interp"), is(count(0), EngineKind::Interp));
        let time = |ms| At::Time(Duration::from_millis(ms));
        assert_eq!(parse("2.5s=kvm"), is(time(2500), EngineKind::Kvm));
        assert_eq!(parse("300ms=interp"), is(time(300), EngineKind::Interp));
        assert_eq!(parse("1000us=interp"), is(time(1), EngineKind::Interp));
        for wrong in [
            "",
            "=",
            "5",
            "5=",
            "=interp",
            "5=qemu",
            "5=auto",
            "-5=interp",
            "1.5M=interp",
            "1e3=interp",
            "infs=interp",
            "1..2s=interp",
            "s=interp",
            "5h=interp",
            "5 s=interp",
            "99999999999999999999=interp",
            "99999999999999G=interp",
            "5=interp=kvm",
            "9999999999999999999999999s=interp",
            ".s=interp",
            "5\u{e9}=interp",
        ] {
            let message = parse(wrong).expect_err(wrong);
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
