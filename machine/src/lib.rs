//! Boards, buses, time and the trine command.
//!
//! This is the only crate that sees both CPUs and devices, the only one that knows addresses and
//! interrupt numbers ([`schematic`]), and the only one that touches the host's clock, terminal and
//! threads.
//!
//! A [`Machine`] is built from a [`Config`] and an engine, and [`Machine::run`] until it ends:
//!
//! - [`pc`] and [`microvm`] are boards as schematics, [`Board`] carries accesses and signals along it;
//! - [`Clock`] is guest time, from the host's clock or from executed instructions;
//! - `vcpu` runs the vCPUs, each on its thread or all in turn;
//! - `hop` moves a running machine to another engine;
//! - a [`Snapshot`] is a machine at one time, [`lockstep`] two machines that are compared;
//! - a [`seat`] is where a person looks and types: by way of [`vnc`], a [`terminal`] or
//!   [`ctl`];
//! - [`console`] and [`cli`] are the `trine` command's terminal and command line.
#![forbid(unsafe_code)]

mod board;
mod cards;
mod check;
mod chips;
pub mod cli;
mod clock;
pub mod compare;
pub mod conform;
pub mod console;
mod control;
mod cpu_wires;
pub mod ctl;
pub mod disk;
mod engines;
pub mod firmware;
mod flash;
mod frame_buffer;
mod guest;
mod hop;
pub mod lockstep;
mod machine;
pub mod microvm;
pub mod net;
mod options;
pub mod pc;
mod pci_setup;
mod probe;
mod random;
pub mod schematic;
pub mod seat;
mod serial;
mod snapshot;
pub mod socket;
mod start;
mod stats;
mod stolen;
mod stopwatch;
pub mod terminal;
mod tscs;
mod vcpu;
pub mod vnc;

pub use board::Board;
pub use clock::{Clock, ClockKind};
pub use control::{Port, Remote, Request};
pub use engines::{EngineKind, create as create_engine, create_best as create_best_engine};
pub use guest::Guest;
pub use hop::{At, Schedule, Switch};
pub use machine::{Config, Ending, Limits, Machine, MachineError};
pub use probe::Probe;
pub use schematic::BoardKind;
pub use serial::{Capture, Output, SerialInput};
pub use snapshot::{Difference, Snapshot, SnapshotError};
pub use stats::{ChipStats, EngineStats, ExitCounts, MachineStats, Times, VcpuStats};
