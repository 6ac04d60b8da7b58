//! Machines that run a ROM of a test's own from the reset vector, and nothing else.

use trine_machine::{ClockKind, Config, EngineKind, Guest, Machine, create_engine};

/// A machine with 2 MiB and this ROM. What it writes to port F4h ends it.
///
/// # Panics
/// If the host does not have the engine, or there is no such ROM.
#[must_use]
pub fn machine(rom: Vec<u8>, engine: EngineKind, clock: ClockKind) -> Machine {
    let config = Config {
        memory: 2 << 20,
        clock,
        guest: Guest::Firmware(rom.into()),
        debug_exit: Some(0xf4),
        no_reboot: true,
        ..Config::default()
    };
    Machine::new(config, |ram| create_engine(engine, ram)).expect("the host has this engine")
}

/// The engines that the host has.
#[must_use]
pub fn engines() -> Vec<EngineKind> {
    EngineKind::ALL.into_iter().filter(|kind| kind.missing().is_none()).collect()
}
