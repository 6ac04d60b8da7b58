//! The demonstration guest on real engines, through the library.

use std::time::Duration;

use trine_machine::{
    ClockKind, Config, Ending, EngineKind, Limits, Machine, Request, create_engine,
};

const PATIENCE: Limits =
    Limits { host_time: Some(Duration::from_secs(120)), guest_time: None, instructions: None };

fn machine(clock: ClockKind, cpus: u32) -> Machine {
    let config = Config { clock, cpus, no_reboot: true, ..Config::default() };
    Machine::new(config, |ram| create_engine(EngineKind::Interp, ram)).expect("a machine")
}

fn text(machine: &Machine) -> String {
    String::from_utf8(machine.serial()).expect("the guest writes text")
}

#[test]
fn it_says_goodbye_by_the_hosts_clock() {
    let mut machine = machine(ClockKind::Host, 2);
    assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff, "{}", text(&machine));
    let text = text(&machine);
    for part in ["in real mode", "in protected mode", "in long mode", "Goodbye"] {
        assert!(text.contains(part), "no '{part}' in:\n{text}");
    }
    let stats = machine.stats(None);
    assert!(stats.total.interrupts >= 20 && stats.total.halts >= 20, "{stats:?}");
    // The second vCPU waited for a start-up IPI all the time.
    assert_eq!(stats.vcpus[1].engine.instructions, 0);
}

#[test]
fn it_is_the_same_twice_by_the_count_of_instructions() {
    let run = || {
        let mut machine = machine(ClockKind::Instructions, 1);
        assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff);
        let state = machine.cpu_state(0).expect("a state");
        (text(&machine), machine.retired(), machine.now(), state)
    };
    let (one, two) = (run(), run());
    assert_eq!(one.0, two.0);
    assert!(one == two, "the ends differ: {} and {} retired", one.1, two.1);
    assert!(one.0.contains("Goodbye"));
}

#[test]
fn a_request_stops_it_and_it_goes_on_after_a_condition() {
    let mut machine = machine(ClockKind::Host, 1);
    let shows = |serial: &[u8]| serial.windows(14).any(|part| part == b"protected mode");
    let shown = machine.run_until(shows, PATIENCE);
    assert_eq!(shown.expect("runs"), Ending::Condition, "{}", text(&machine));
    machine.remote().ask(Request::Statistics);
    let asked = machine.run(PATIENCE).expect("runs");
    assert_eq!(asked, Ending::Asked(Request::Statistics));
    assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff);
    assert!(text(&machine).contains("Goodbye"));
}

#[test]
fn a_reset_runs_it_again_from_the_start() {
    let mut machine = machine(ClockKind::Instructions, 1);
    let limits = Limits { instructions: Some(3_000_000), ..PATIENCE };
    assert_eq!(machine.run(limits).expect("runs"), Ending::Instructions);
    let before = text(&machine).len();
    machine.reset().expect("resets");
    assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff);
    let again = text(&machine).split_off(before);
    assert!(again.trim_start().starts_with("Hello."), "{again}");
    assert!(again.contains("Goodbye"));
}
