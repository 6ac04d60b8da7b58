//! The `microvm` board, with scripts in place of CPUs.

use trine_firmware::{Boot, Entry};
use trine_machine::{BoardKind, Config, Ending, Guest, Machine};

use super::{
    PATIENCE, POWER_OFF,
    script::{Log, Scripted, Seen, Step, Step::*},
};

fn machine(board: BoardKind, steps: Vec<Step>) -> (Machine, Log) {
    let boot = Boot { segments: Vec::new(), entry: Entry::Real { cs: 0, ip: 0x7c00 } };
    let config = Config {
        board,
        memory: 2 << 20,
        guest: Guest::Raw(boot),
        no_reboot: true,
        rng: true,
        balloon: true,
        ..Config::default()
    };
    let (engine, log) = Scripted::engine(vec![vec![steps]]);
    (Machine::new(config, |_| Ok(engine)).expect("a machine"), log)
}

#[test]
fn chips_are_where_the_schematic_has_them_and_others_are_not_there() {
    const VIRT: u64 = 0x7472_6976;
    let steps = vec![
        // Virtio: what it is, and an empty place.
        (Load(0xfeb0_0000, 4), VIRT),
        (Load(0xfeb0_0008, 4), 4),
        (Load(0xfeb0_1008, 4), 5),
        (Load(0xfeb0_2000, 4), 0xffff_ffff),
        // The line status of a serial port that is idle, the I/O APIC's version, SCI_EN.
        (In(0x3fd, 1), 0x60),
        (Store(0xfec0_0000, 1), 0),
        (Load(0xfec0_0010, 4), 0x17_0020),
        (In(0x604, 2), 1),
        // A PC's 8259, 8254, keyboard controller, PCI and HPET.
        (In(0x21, 1), 0xff),
        (In(0x40, 1), 0xff),
        (In(0x64, 1), 0xff),
        (In(0xcf8, 4), 0xffff_00ff),
        (Load(0xfed0_0000, 4), 0xffff_ffff),
    ];
    let (mut script, mut values): (Vec<Step>, Vec<u64>) = steps.into_iter().unzip();
    // A store is not noted.
    values.remove(5);
    script.push(POWER_OFF);
    let (mut machine, log) = machine(BoardKind::Microvm, script);
    assert_eq!(machine.run(PATIENCE).expect("it runs"), Ending::PowerOff);
    let seen = log.lock().expect("no panic")[0].clone();
    assert_eq!(seen, values.into_iter().map(Seen::Value).collect::<Vec<_>>());
}

#[test]
fn the_reset_register_resets() {
    let (mut machine, _) = machine(BoardKind::Microvm, vec![Out(0xcf9, 0x0f, 1), Spin]);
    let ending = machine.run(PATIENCE).expect("it runs");
    assert_eq!(ending, Ending::Reset("reset-control"));
}

#[test]
fn a_snapshot_is_its_boards_own() {
    let [mut pc, mut microvm] =
        [BoardKind::Pc, BoardKind::Microvm].map(|board| machine(board, vec![Spin]).0);
    let snapshots = [pc.save().expect("a snapshot"), microvm.save().expect("a snapshot")];
    pc.load(&snapshots[0]).expect("its own");
    microvm.load(&snapshots[1]).expect("its own");
    pc.load(&snapshots[1]).expect_err("another board's");
    microvm.load(&snapshots[0]).expect_err("another board's");
}
