//! A machine that moves by snapshots between KVM and software.

use std::{sync::Arc, time::Duration};

use trine_engine::{Engine, EngineError};
use trine_guest::{PAGE_SIZE, Ram};
use trine_kvm::{DirtyLog, Kvm};
use trine_machine::{Config, Ending, EngineKind, Limits, Machine, Snapshot, create_engine};

use super::there;

type Make = fn(Arc<Ram>) -> Result<Arc<dyn Engine>, EngineError>;

/// With the log that is best here, and with the one that there always is.
const LOGS: [Make; 2] = [
    |ram| Ok(Arc::new(Kvm::new(ram)?)),
    |ram| Ok(Arc::new(Kvm::limited(ram, |host| host.dirty_log = DirtyLog::Bitmap)?)),
];

/// Longer takes no guest here.
const LONGEST: Limits =
    Limits { host_time: Some(Duration::from_secs(120)), guest_time: None, instructions: None };
/// From one snapshot to the next.
const PIECE: Limits = Limits { guest_time: Some(Duration::from_millis(50)), ..LONGEST };

/// A machine that is about to boot the demonstration guest.
fn machine(make: Make) -> Machine {
    let config = Config { memory: 8 << 20, ..Config::default() };
    Machine::new(config, make).expect("a machine")
}

/// The same on the interpreter, but with the CPU that KVM offers, so that snapshots fit both.
fn in_software() -> Machine {
    let mut machine = machine(LOGS[0]);
    machine.switch_engine(|ram| create_engine(EngineKind::Interp, ram)).expect("it runs anywhere");
    machine
}

/// The image in a snapshot, which follows the pages that were logged, is what RAM holds.
fn compare_memory(machine: &Machine, snapshot: &Snapshot) {
    let (mut now, zeros) = ([0; PAGE_SIZE as usize], [0; PAGE_SIZE as usize]);
    for offset in (0..machine.ram().len()).step_by(now.len()) {
        machine.ram().load_bytes(offset, &mut now);
        let then = snapshot.ram().page(offset).unwrap_or(&zeros);
        assert!(now == *then, "the page at {offset:#x} was stored to and not logged");
    }
}

/// A snapshot of `machine`: memory is as it is, and to save changes nothing.
fn save(machine: &mut Machine) -> Snapshot {
    let snapshot = machine.save().expect("no failure");
    compare_memory(machine, &snapshot);
    let again = machine.save().expect("no failure");
    assert!(again.is_same(&snapshot), "{:?}", snapshot.differences(&again, machine.ram()));
    snapshot
}

/// Loads `snapshot` into `machine`, which is then the same.
fn load(machine: &mut Machine, snapshot: &Snapshot) {
    machine.load(snapshot).expect("it is a snapshot of such a machine");
    let again = save(machine);
    assert!(again.is_same(snapshot), "{:?}", snapshot.differences(&again, machine.ram()));
}

/// A machine at one time, and what it has printed until then.
struct Point {
    snapshot: Snapshot,
    printed: Vec<u8>,
}

impl Point {
    /// The point that `machine` comes to from here by `run`.
    fn next(&self, machine: &mut Machine, run: impl FnOnce(&mut Machine)) -> Self {
        load(machine, &self.snapshot);
        let length = machine.serial().len();
        run(machine);
        let printed = [&self.printed, &machine.serial()[length..]].concat();
        Self { snapshot: save(machine), printed }
    }

    /// Some pieces further, with a snapshot after each.
    fn pieces(&self, machine: &mut Machine) -> Self {
        self.next(machine, |machine| {
            for _ in 0..4 {
                assert_eq!(machine.run(PIECE).expect("no failure"), Ending::GuestTime);
                save(machine);
            }
        })
    }

    /// Where the guest prints `text` the next time.
    fn until(&self, machine: &mut Machine, text: &str) -> Self {
        self.next(machine, |machine| {
            let length = machine.serial().len();
            let says = |serial: &[u8]| String::from_utf8_lossy(&serial[length..]).contains(text);
            assert_eq!(machine.run_until(says, LONGEST).expect("no failure"), Ending::Condition);
        })
    }

    fn end(&self, machine: &mut Machine) -> Self {
        self.next(machine, |machine| {
            assert_eq!(machine.run(LONGEST).expect("no failure"), Ending::PowerOff);
        })
    }

    /// What the demonstration prints but for what it measures.
    fn words(&self) -> String {
        let measured = |c: &char| c.is_ascii_digit() || matches!(c, ' ' | '.');
        String::from_utf8_lossy(&self.printed).chars().filter(|c| !measured(c)).collect()
    }
}

#[test]
fn a_machine_moves_by_snapshots() {
    if !there() {
        return;
    }
    let mut software = in_software();
    let start = Point { snapshot: save(&mut software), printed: Vec::new() };
    let whole = start.end(&mut software).words();
    assert!(whole.contains("Goodbye"), "{whole}");
    let [mut one, mut other] = LOGS.map(machine);
    let mut point = start;
    for (n, text) in ["CPUID", "in protected mode", "in long mode"].into_iter().enumerate() {
        point = point.until(&mut software, text);
        // On, back to where that began, and on again; then elsewhere.
        point.pieces(&mut one);
        point = point.pieces(&mut one);
        point = point.pieces(&mut other);
        point = point.pieces(&mut machine(LOGS[n % 2]));
    }
    let near = point.until(&mut software, "page fault, mended");
    for machine in [&mut software, &mut one, &mut other, &mut machine(LOGS[0])] {
        assert_eq!(near.end(machine).words(), whole, "on {}", machine.engine());
    }
}
