//! Whether a machine can be built as it is configured.

use crate::{
    Config, Guest, MachineError, disk::Interface, net::NetModel, pc, schematic::BoardKind,
};

/// Whether there can be such a machine. What was left to the board is decided.
///
/// # Errors
/// If it cannot, with the option that is wrong.
pub(crate) fn check(config: &mut Config) -> Result<(), MachineError> {
    if config.board == BoardKind::Microvm {
        check_microvm(config)?;
    }
    let memory = config.memory;
    let is_whole = memory.is_multiple_of(trine_guest::PAGE_SIZE);
    if !is_whole || !(pc::MEMORY_MIN..=pc::MEMORY_MAX).contains(&memory) {
        return Err(MachineError::Memory(memory));
    }
    if !(1..=pc::CPUS_MAX).contains(&config.cpus) {
        return Err(MachineError::Cpus(config.cpus));
    }
    let test = if config.test_device { pc::TEST_PORTS } else { &[] };
    let ports = config.board.schematic().ports;
    let is_taken =
        |port: &u16| ports.iter().chain(test).any(|row| (row.first..=row.last).contains(port));
    if let Some(port) = config.debug_exit.filter(is_taken) {
        return Err(MachineError::DebugExit(port));
    }
    if let Some(port) = config.post_port.filter(|p| is_taken(p) || config.debug_exit == Some(*p)) {
        return Err(MachineError::PostPort(port));
    }
    Ok(())
}

/// What only a PC has, the other board is not to have.
fn check_microvm(config: &mut Config) -> Result<(), MachineError> {
    let lacks = |what| Err(MachineError::Microvm(what));
    match config.guest {
        Guest::Linux { .. } | Guest::Raw(_) => {}
        Guest::Bios | Guest::Firmware(_) => return lacks("starts a kernel alone: use --kernel"),
        Guest::Demonstration | Guest::Measurement => return lacks("needs a --kernel"),
    }
    for disk in &mut config.disks {
        if *disk.interface.get_or_insert(Interface::Virtio) != Interface::Virtio {
            return lacks("has no disks but --disk FILE,if=virtio");
        }
    }
    if config.nets.iter().any(|net| net.model != NetModel::Virtio) {
        return lacks("has no network cards but model=virtio");
    }
    if config.nets.iter().any(|net| net.rom.is_some()) {
        return lacks("starts a kernel alone: its network cards have no rom=");
    }
    if config.test_device {
        return lacks("has no --test-device");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use trine_firmware::{Boot, Entry};

    use super::*;

    fn microvm() -> Config {
        let guest = Guest::Raw(Boot { segments: Vec::new(), entry: Entry::Reset });
        Config { board: BoardKind::Microvm, guest, ..Config::default() }
    }

    #[test]
    fn what_only_a_pc_has_is_refused() {
        let why = |mut config: Config| check(&mut config).expect_err("not there").to_string();
        let disk = |text: &str| text.parse().expect("a disk");
        let net = |text: &str| text.parse().expect("a network");
        for (config, part) in [
            (Config { guest: Guest::Bios, ..microvm() }, "--kernel"),
            (Config { guest: Guest::Demonstration, ..microvm() }, "--kernel"),
            (Config { disks: vec![disk("a,if=ide")], ..microvm() }, "if=virtio"),
            (Config { disks: vec![disk("a"), disk("b,if=floppy")], ..microvm() }, "if=virtio"),
            (Config { nets: vec![net("user,model=e1000")], ..microvm() }, "model=virtio"),
            (Config { nets: vec![net("user,rom=a")], ..microvm() }, "rom="),
            (Config { test_device: true, ..microvm() }, "--test-device"),
            (Config { debug_exit: Some(0x3f9), ..microvm() }, "another chip"),
        ] {
            assert!(why(config).contains(part), "{part}");
        }
    }

    #[test]
    fn disks_are_virtios_unless_they_say_otherwise() {
        let disks = vec!["a".parse().expect("a disk")];
        let mut config = Config { disks, nets: vec!["user".parse().expect("a net")], ..microvm() };
        check(&mut config).expect("it has both");
        assert_eq!(config.disks[0].interface, Some(Interface::Virtio));
        // Where a PC has its PIT.
        check(&mut Config { debug_exit: Some(0x40), ..microvm() }).expect("the port is free");
        check(&mut Config { debug_exit: Some(0x40), ..Config::default() }).expect_err("a PIT");
    }
}
