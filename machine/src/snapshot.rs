//! A machine at one time: all that it is, outside of it.
//!
//! A machine is its CPUs' states, its devices' states and its RAM, and what the board itself keeps:
//! levels of wires, edges that nobody has taken, input that waits, the time, and whose turn is next.
//! Nothing of a host or an engine is in it, so it can be loaded into any machine of the same build,
//! whatever engine drives that.
//!
//! What an engine keeps beside the state is not in it either, TLBs among it. A guest that changes a
//! page table without a flush may or may not see the change, on any CPU; so that it is the same for
//! a machine that was saved and for one that was loaded, both flush.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use trine_devices::{LoadError, Saved};
use trine_guest::{PAGE_SIZE, Ram, RamImage, VmTime};
use trine_x86::CpuState;

use crate::{ClockKind, Machine, MachineError, cpu_wires::CpuWires, vcpu::Turns};

/// How a machine is built, as far as another has to be built alike.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Build {
    pub(crate) cpus: usize,
    pub(crate) model: String,
    pub(crate) clock: ClockKind,
    /// Bytes of memory, and of memory and ROM together.
    pub(crate) memory: [u64; 2],
}

impl Build {
    /// In what another differs, if it does.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        let rows = [
            (self.cpus == other.cpus, "number of vCPUs"),
            (self.model == other.model, "CPU model"),
            (self.clock == other.clock, "clock"),
            (self.memory == other.memory, "size of memory or ROM"),
        ];
        rows.into_iter().find_map(|(same, what)| (!same).then_some(what))
    }
}

/// A vCPU.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct CpuSaved {
    pub(crate) state: CpuState,
    /// It has gone idle, and its bell has not rung since.
    pub(crate) idle: bool,
    /// Its pins with the edges that it has not seen yet, and whether its bell has rung.
    pub(crate) wires: (u32, bool),
    /// Instructions that it has retired.
    pub(crate) retired: u64,
}

/// Something that came in at the serial port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Incoming {
    /// A byte.
    Byte(u8),
    /// A break.
    Break,
}

/// The chips, and what is the board's own.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct BoardSaved {
    pub(crate) now: VmTime,
    pub(crate) devices: Vec<Saved>,
    pub(crate) wires: Vec<bool>,
    pub(crate) nets: Vec<bool>,
    pub(crate) incoming: Vec<Incoming>,
    pub(crate) random: Option<u64>,
}

/// Everything but RAM.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Parts {
    pub(crate) build: Build,
    pub(crate) cpus: Vec<CpuSaved>,
    pub(crate) board: BoardSaved,
    pub(crate) turns: Turns,
}

/// A machine at one time, see [`crate::Machine::save`]. Clones share their memory.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) parts: Parts,
    pub(crate) ram: RamImage,
}

/// Why a snapshot was refused. The machine is as it was.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// It is one of a machine that is built differently.
    #[error("the snapshot is of a machine with another {0}; start this one with the same options")]
    Build(&'static str),
    /// A chip refuses its state.
    #[error(transparent)]
    Device(#[from] LoadError),
    /// The board's own part does not hold together.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
}

/// Something in which two snapshots differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// What: `vCPU 0 rbx`, `com1 lcr`, `memory at 0x1008`.
    pub what: String,
    /// What the first one has.
    pub first: String,
    /// What the second one has.
    pub second: String,
}

impl Snapshot {
    /// Instructions that all vCPUs had retired.
    #[must_use]
    pub fn retired(&self) -> u64 {
        self.retired_by_cpu().fold(0, u64::saturating_add)
    }

    /// Instructions that each vCPU had retired.
    pub fn retired_by_cpu(&self) -> impl Iterator<Item = u64> {
        self.parts.cpus.iter().map(|cpu| cpu.retired)
    }

    /// Guest time.
    #[must_use]
    pub fn now(&self) -> VmTime {
        self.parts.board.now
    }

    /// The state of vCPU `vcpu`, if there is one.
    #[must_use]
    pub fn cpu_state(&self, vcpu: u32) -> Option<&CpuState> {
        self.parts.cpus.get(vcpu as usize).map(|cpu| &cpu.state)
    }

    /// The contents of memory. Offsets in it are those of [`Ram::regions`].
    #[must_use]
    pub fn ram(&self) -> &RamImage {
        &self.ram
    }

    /// Whether the two are the same machine at the same point.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.parts == other.parts && self.ram.differences(&other.ram).is_empty()
    }

    /// In what `other` differs, by name; of memory, the first words of each page. Addresses are those
    /// of a machine whose memory is `ram`.
    #[must_use]
    pub fn differences(&self, other: &Self, ram: &Ram) -> Vec<Difference> {
        let mut out = Vec::new();
        let value = |parts: &Parts| serde_json::to_value(parts).unwrap_or(Value::Null);
        if self.parts != other.parts {
            compare(
                &mut Vec::new(),
                &value(&self.parts),
                &value(&other.parts),
                &mut |path, a, b| {
                    let what = name(path, &self.parts);
                    out.push(Difference { what, first: text(a), second: text(b) });
                },
            );
        }
        for page in self.ram.differences(&other.ram) {
            memory_differences(page, &self.ram, &other.ram, ram, &mut out);
        }
        out
    }
}

impl Machine {
    /// All that the machine is, to be loaded again or into another machine. It costs little where few
    /// pages were stored to since the last time. TLBs are flushed, see [`Snapshot`].
    ///
    /// # Errors
    /// If the engine fails.
    pub fn save(&mut self) -> Result<Snapshot, MachineError> {
        self.save_beside(None)
    }

    /// The same; where memory is as in `other`, the two share it.
    ///
    /// # Errors
    /// As [`Machine::save`].
    pub fn save_like(&mut self, other: &Snapshot) -> Result<Snapshot, MachineError> {
        self.save_beside(Some(other))
    }

    fn save_beside(&mut self, other: Option<&Snapshot>) -> Result<Snapshot, MachineError> {
        let mut cpus = Vec::new();
        for (id, cpu) in (0_u32..).zip(&mut self.cpus) {
            let state = cpu.vcpu.state()?;
            cpu.vcpu.set_state(&state)?;
            let wires = self.board.cpu(id).map(CpuWires::save).unwrap_or_default();
            let retired = cpu.retired();
            cpus.push(CpuSaved { state, idle: cpu.idle, wires, retired });
        }
        self.engine.collect_dirty()?;
        self.image.follow(&self.ram, other.map(Snapshot::ram));
        let parts =
            Parts { build: self.build(), cpus, board: self.board.save(), turns: self.turns };
        Ok(Snapshot { parts, ram: self.image.clone() })
    }

    /// Goes to what `snapshot` holds, of this machine or of another that is built alike. What hears
    /// the serial port, and statistics, stay as they are.
    ///
    /// # Errors
    /// If it does not fit this machine, which is then as it was; or the engine fails.
    pub fn load(&mut self, snapshot: &Snapshot) -> Result<(), MachineError> {
        let parts = &snapshot.parts;
        if let Some(other) = self.build().difference(&parts.build) {
            return Err(SnapshotError::Build(other).into());
        }
        let is_cpu = |saved: &CpuSaved| CpuWires::are_pins(saved.wires.0);
        let fits = parts.cpus.len() == self.cpus.len() && parts.turns.next < self.cpus.len();
        if !fits || !parts.cpus.iter().all(is_cpu) {
            return Err(SnapshotError::Damaged("its vCPUs do not hold together").into());
        }
        self.engine.collect_dirty()?;
        self.board.load(&parts.board)?;
        self.image.go_to(&snapshot.ram, &self.ram);
        if let Some(Err(e)) = self.flash.as_ref().map(|flash| flash.follow()) {
            return Err(MachineError::Host(format!("the firmware's variables: {e}")));
        }
        for ((id, cpu), saved) in (0_u32..).zip(&mut self.cpus).zip(&parts.cpus) {
            // Who holds decoded code sees by its page's version what has changed, as after a DMA.
            cpu.vcpu.set_state(&saved.state)?;
            cpu.idle = saved.idle;
            cpu.retired_before = saved.retired.wrapping_sub(cpu.vcpu.retired());
            if let Some(wires) = self.board.cpu(id) {
                wires.load(saved.wires);
            }
        }
        self.turns = parts.turns;
        Ok(())
    }

    fn build(&self) -> Build {
        Build {
            cpus: self.cpus.len(),
            model: format!("{:?}", self.model),
            clock: self.board.clock().kind(),
            memory: [self.memory, self.ram.len()],
        }
    }
}

/// The most words of a page that are shown.
const WORDS_SHOWN: usize = 8;

fn memory_differences(
    page: u64,
    first: &RamImage,
    second: &RamImage,
    ram: &Ram,
    out: &mut Vec<Difference>,
) {
    let byte = |image: &RamImage, n: usize| image.page(page).map_or(0, |page| page[n]);
    let word = |image: &RamImage, n: usize| {
        u64::from_le_bytes(std::array::from_fn(|byte_of| byte(image, n + byte_of)))
    };
    let differ = (0..PAGE_SIZE as usize).step_by(8).filter(|n| word(first, *n) != word(second, *n));
    for (count, n) in differ.enumerate() {
        if count == WORDS_SHOWN {
            let what = format!(
                "and more of that page ({} words in all)",
                count_words(page, first, second)
            );
            out.push(Difference { what, first: String::new(), second: String::new() });
            return;
        }
        let what = match ram.gpa_of(page + n as u64) {
            Some(at) => format!("memory at {at}"),
            None => format!("hidden memory at offset {:#x}", page + n as u64),
        };
        let text = |image| format!("{:016x}", word(image, n));
        out.push(Difference { what, first: text(first), second: text(second) });
    }
}

fn count_words(page: u64, first: &RamImage, second: &RamImage) -> usize {
    let zeros = [0; PAGE_SIZE as usize];
    let (a, b) = (first.page(page).unwrap_or(&zeros), second.page(page).unwrap_or(&zeros));
    a.chunks_exact(8).zip(b.chunks_exact(8)).filter(|(a, b)| a != b).count()
}

/// A step from a value to a part of it.
enum Step<'a> {
    Field(&'a str),
    Item(usize),
}

/// Calls `tell` with the place and the values of each difference.
fn compare<'a>(
    path: &mut Vec<Step<'a>>,
    a: &'a Value,
    b: &'a Value,
    tell: &mut impl FnMut(&[Step<'a>], &Value, &Value),
) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            for ((field, a), b) in a.iter().zip(b.values()) {
                path.push(Step::Field(field));
                compare(path, a, b, tell);
                path.pop();
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (n, (a, b)) in a.iter().zip(b).enumerate() {
                path.push(Step::Item(n));
                compare(path, a, b, tell);
                path.pop();
            }
        }
        (a, b) if a != b => tell(path, a, b),
        _ => {}
    }
}

const GPR: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
const SEGMENTS: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];

/// The name of a place, as a person says it.
fn name(path: &[Step<'_>], parts: &Parts) -> String {
    use Step::{Field, Item};
    let (mut out, rest) = match path {
        [Field("cpus"), Item(n), Field("state"), rest @ ..] => {
            let (name, rest) = register(rest);
            (format!("vCPU {n} {name}"), rest)
        }
        [Field("cpus"), Item(n), rest @ ..] => (format!("vCPU {n}"), rest),
        [Field("board"), Field("devices"), Item(n), Field("state"), rest @ ..] => {
            let device = parts.board.devices.get(*n).map_or("a chip", |saved| &saved.device);
            (device.to_owned(), rest)
        }
        [Field("board"), rest @ ..] => ("the board's".to_owned(), rest),
        [Field("turns"), rest @ ..] => ("the turns'".to_owned(), rest),
        path => (String::new(), path),
    };
    let mut is_first = true;
    for step in rest {
        // Writing to a string cannot fail.
        let _ = match step {
            Field(field) if is_first => write!(out, " {field}"),
            Field(field) => write!(out, ".{field}"),
            Item(n) => write!(out, "[{n}]"),
        };
        is_first = false;
    }
    out
}

/// A register's name, and what is left of the path to a part of it.
fn register<'p, 'a>(path: &'p [Step<'a>]) -> (String, &'p [Step<'a>]) {
    use Step::{Field, Item};
    let known = |names: &[&str], n: usize| names.get(n).copied().unwrap_or("?").to_owned();
    match path {
        [Field("gpr"), Item(n), rest @ ..] => (known(&GPR, *n), rest),
        [Field("segments"), Field("seg"), Item(n), rest @ ..] => (known(&SEGMENTS, *n), rest),
        [Field("simd"), Field("ymm"), Item(n), rest @ ..] => (format!("ymm{n}"), rest),
        [Field("x87"), Field("reg"), Item(n), rest @ ..] => (format!("x87 R{n}"), rest),
        [Field("segments" | "control" | "simd" | "msrs"), Field(field), rest @ ..] => {
            ((*field).to_owned(), rest)
        }
        [Field(field), rest @ ..] => ((*field).to_owned(), rest),
        path => (String::new(), path),
    }
}

/// A value as it is printed: numbers in hexadecimal.
fn text(value: &Value) -> String {
    match value.as_u64() {
        Some(number) => format!("{number:x}"),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_difference_is_found_once() {
        let a = json!({"x": [1, 2, {"y": 3}], "z": "s", "w": null});
        let b = json!({"x": [1, 5, {"y": 4}], "z": [1], "w": null});
        let mut found = Vec::new();
        compare(&mut Vec::new(), &a, &b, &mut |path, a, b| {
            found.push((path.len(), text(a), text(b)));
        });
        let expected = [(2, "2", "5"), (3, "3", "4"), (1, "\"s\"", "[1]")];
        let expected = expected.map(|(n, a, b)| (n, a.to_owned(), b.to_owned()));
        assert_eq!(found, expected);
    }
}
