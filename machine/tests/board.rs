//! The board, its wires, its clock and its threads, with scripts in place of CPUs.

mod microvm;
mod script;

use std::{
    io::Write,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use script::{Log, Scripted, Scripts, Seen, Step, Step::*};
use trine_devices::SerialPeer;
use trine_firmware::{Boot, Entry};
use trine_guest::{Gpa, VmTime};
use trine_machine::{
    ClockKind, Config, Ending, Guest, Limits, Machine, MachineError, Output, Request, SerialInput,
    console,
};

const PATIENCE: Limits =
    Limits { host_time: Some(Duration::from_secs(60)), guest_time: None, instructions: None };
const CLOCKS: [ClockKind; 2] = [ClockKind::Host, ClockKind::Instructions];

/// ACPI power-off: SLP_TYP 5 and SLP_EN into PM1 control.
const POWER_OFF: Step = Out(0x604, 5 << 10 | 1 << 13, 2);
const EOI: Step = Out(0x20, 0x20, 1);
/// The timer's interrupt, which firmware leaves on, off: the 8259 masks it.
const NO_TICKS: Step = Out(0x21, 0xff, 1);

fn config(clock: ClockKind, cpus: u32) -> Config {
    let boot = Boot {
        segments: vec![(Gpa(0x7c00), vec![0x55; 16])],
        entry: Entry::Real { cs: 0, ip: 0x7c00 },
    };
    Config {
        cpus,
        clock,
        memory: 2 << 20,
        guest: Guest::Raw(boot),
        no_reboot: true,
        debug_exit: Some(0xf4),
        ..Config::default()
    }
}

/// A machine whose vCPUs have one life each.
fn machine(clock: ClockKind, scripts: Vec<Vec<Step>>) -> (Machine, Log) {
    let cpus = scripts.len() as u32;
    lives(config(clock, cpus), scripts.into_iter().map(|s| vec![s]).collect())
}

fn lives(config: Config, scripts: Scripts) -> (Machine, Log) {
    let (engine, log) = Scripted::engine(scripts);
    (Machine::new(config, |_| Ok(engine)).expect("a machine"), log)
}

fn seen(log: &Log, vcpu: usize) -> Vec<Seen> {
    log.lock().expect("no panic")[vcpu].clone()
}

fn values(log: &Log) -> Vec<u64> {
    let value = |seen: &Seen| match seen {
        Seen::Value(value) => Some(*value),
        _ => None,
    };
    seen(log, 0).iter().filter_map(value).collect()
}

/// The 8259s as every PC operating system sets them up: vectors from 20h on, IRQ 0 alone open.
fn pic_setup() -> Vec<Step> {
    [
        (0x20, 0x11),
        (0x21, 0x20),
        (0x21, 0x04),
        (0x21, 0x01),
        (0xa0, 0x11),
        (0xa1, 0x28),
        (0xa1, 0x02),
        (0xa1, 0x01),
        (0x21, 0xfe),
        (0xa1, 0xff),
    ]
    .map(|(port, value)| Out(port, value, 1))
    .to_vec()
}

/// The PIT's counter 0 as a rate generator of 1193 ticks, about a millisecond.
fn pit_setup() -> Vec<Step> {
    vec![Out(0x43, 0x34, 1), Out(0x40, 1193 & 0xff, 1), Out(0x40, 1193 >> 8, 1)]
}

#[test]
fn accesses_go_to_their_chips_and_wide_ones_are_split() {
    let (mut machine, log) = machine(
        ClockKind::Host,
        vec![vec![
            Out(0x21, 0xa5, 1),
            In(0x21, 1),
            In(0x20, 2),
            In(0x20, 4),
            In(0x3000, 4),
            Out(0xcf8, 0x8000_0000, 4),
            In(0xcf8, 4),
            In(0xcfc, 4),
            In(0xcf9, 1),
            In(0xe9, 1),
            Store(0xfec0_0000, 1),
            Load(0xfec0_0010, 4),
            Load(0xfee0_0020, 4),
            Load(0xfed0_0004, 4),
            Load(0xfd00_0000, 8),
            POWER_OFF,
        ]],
    );
    assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff);
    assert_eq!(
        values(&log),
        [
            0xa5,
            // The timer, which firmware has set up, asks for an interrupt.
            0xa501,
            0xffff_a501,
            0xffff_ffff,
            0x8000_0000,
            0x1237_8086,
            0,
            0xe9,
            0x0017_0020,
            0,
            10_000_000,
            u64::MAX,
        ]
    );
    let stats = machine.stats(None);
    let of = |name: &str| stats.chips.iter().find(|c| c.chip == name).map(|c| c.accesses);
    assert_eq!(of("i8259"), Some(4));
    assert_eq!(of("pci"), Some(3));
    // Two bytes behind the 8259, four at port 3000h, one load.
    assert_eq!(stats.unclaimed, 7);
}

#[test]
fn a_tick_of_the_pit_reaches_the_8259_and_wakes_the_vcpu() {
    for clock in CLOCKS {
        // In this order, as the PIT's output rises when its mode is set.
        let script = [pit_setup(), pic_setup(), vec![Halt, EOI, Halt, EOI, POWER_OFF]].concat();
        let (mut machine, log) = machine(clock, vec![script]);
        assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff, "{clock:?}");
        let seen = seen(&log, 0);
        let [Seen::Interrupt(0x20, first), Seen::Interrupt(0x20, second)] = seen[..] else {
            panic!("{clock:?}: {seen:?}");
        };
        assert!(first.ns() >= 999_000 && second.since(first) > 0, "{clock:?}: {seen:?}");
        if clock == ClockKind::Instructions {
            // A period is 1193 ticks of 838.095 ns, and waking takes no time.
            let period = second.since(first);
            assert!((999_846..=999_850).contains(&period), "{period}");
        }
    }
}

/// vCPU 0 sends `value` to vCPU 1 through the ICR; vCPU 1 the other way.
fn ipi(to: u32, value: u32) -> [Step; 2] {
    [Store(0xfee0_0310, to << 24), Store(0xfee0_0300, value)]
}

#[test]
fn init_and_startup_start_the_second_vcpu() {
    for clock in CLOCKS {
        let start = [ipi(1, 0x4500), ipi(1, 0x4698)].concat();
        let (mut machine, log) =
            machine(clock, vec![start, vec![AwaitStartup, Work(100), POWER_OFF]]);
        assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff, "{clock:?}");
        assert_eq!(seen(&log, 1), [Seen::Startup(0x98)]);
    }
}

#[test]
fn no_wake_up_is_lost() {
    const ROUNDS: usize = 2000;
    let eoi = Store(0xfee0_00b0, 0);
    let enable = Store(0xfee0_00f0, 0x1ff);
    let ping = |to: u32| [ipi(to, 0x40 + to).to_vec(), vec![Halt, eoi.clone()]].concat();
    let pong = |to: u32| [vec![Halt, eoi.clone()], ipi(to, 0x40 + to).to_vec()].concat();
    for clock in CLOCKS {
        // vCPU 1 says when its APIC listens.
        let first =
            [vec![NO_TICKS, enable.clone()], ipi(1, 0x4601).to_vec(), vec![Halt, eoi.clone()]];
        let first = [first.concat(), vec![Repeat(ROUNDS, ping(1)), POWER_OFF]].concat();
        let second = [vec![AwaitStartup, enable.clone()], ipi(0, 0x40).to_vec()].concat();
        let second = [second, vec![Repeat(ROUNDS, pong(0))]].concat();
        let (mut machine, log) = machine(clock, vec![first, second]);
        assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff, "{clock:?}");
        for (vcpu, vector) in [(0, 0x40), (1, 0x41)] {
            let seen = seen(&log, vcpu);
            assert_eq!(seen.len(), ROUNDS + 1);
            let rounds = &seen[1..];
            assert!(rounds.iter().all(|s| matches!(s, Seen::Interrupt(v, _) if *v == vector)));
        }
    }
}

#[test]
fn an_idle_vcpu_sleeps() {
    let (mut machine, _) = machine(ClockKind::Host, vec![vec![Halt]]);
    let limits = Limits { host_time: Some(Duration::from_millis(300)), ..Limits::default() };
    assert_eq!(machine.run(limits).expect("runs"), Ending::HostTime);
    let halted = machine.stats(None).vcpus[0].exits.halted;
    assert!((1..=5).contains(&halted), "it went idle {halted} times");
}

#[test]
fn idle_time_passes_at_once_by_the_count_of_instructions() {
    let start = Instant::now();
    let hour = 3_600_000_000_000;
    let (mut machine, log) = machine(
        ClockKind::Instructions,
        vec![vec![
            Store(0xfee0_00f0, 0x1ff),
            NO_TICKS,
            // LVT timer: TSC deadline, vector 50h.
            Store(0xfee0_0320, 0x4_0050),
            Deadline(hour),
            Halt,
            POWER_OFF,
        ]],
    );
    assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff);
    assert_eq!(seen(&log, 0), [Seen::Interrupt(0x50, VmTime(hour))]);
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn an_event_that_is_armed_during_a_turn_cuts_it() {
    let (mut machine, log) = machine(
        ClockKind::Instructions,
        vec![vec![
            Store(0xfee0_00f0, 0x1ff),
            NO_TICKS,
            Store(0xfee0_0320, 0x4_0050),
            Deadline(500),
            Work(490),
            Halt,
            POWER_OFF,
        ]],
    );
    assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff);
    assert_eq!(seen(&log, 0), [Seen::Interrupt(0x50, VmTime(500))]);
}

#[test]
fn runs_by_the_count_of_instructions_are_the_same() {
    let run = || {
        let work = vec![Work(12_345), Halt, EOI, In(0x40, 1), Load(0xfed0_00f0, 8)];
        let first = [pic_setup(), pit_setup(), ipi(1, 0x4601).to_vec(), vec![Repeat(50, work)]];
        let first = [first.concat(), vec![POWER_OFF]].concat();
        let second = vec![AwaitStartup, Repeat(400, vec![Work(777), In(0x40, 1)])];
        let (mut machine, log) = machine(ClockKind::Instructions, vec![first, second]);
        assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff);
        (seen(&log, 0), seen(&log, 1), machine.retired(), machine.now())
    };
    let (one, two) = (run(), run());
    assert_eq!(one.0.len(), 150);
    assert!(one == two);
}

#[test]
fn endings_have_the_promised_status() {
    for clock in CLOCKS {
        let end = |script: Vec<Step>| {
            let (mut machine, _) = machine(clock, vec![script]);
            machine.run(Limits { instructions: Some(100_000), ..PATIENCE }).expect("runs")
        };
        let all = [
            (vec![POWER_OFF], Ending::PowerOff, 0),
            (vec![Out(0xf4, 0x10, 1)], Ending::DebugExit(0x21), 0x21),
            (vec![Out(0xcf9, 6, 1)], Ending::Reset("reset-control"), 2),
            (vec![Out(0x64, 0xfe, 1)], Ending::Reset("i8042"), 2),
            (vec![Out(0x92, 1, 1)], Ending::Reset("port92"), 2),
            (vec![TripleFault], Ending::TripleFault(0, Box::default()), 2),
            (vec![Spin], Ending::Instructions, 2),
        ];
        for (script, ending, status) in all {
            assert_eq!(end(script.clone()), ending, "{clock:?} {script:?}");
            assert_eq!(ending.status(), status);
        }
    }
}

#[test]
fn a_vcpu_that_panics_ends_the_run_with_an_error() {
    for clock in CLOCKS {
        // One of the others would never end by itself, one sleeps.
        let (mut machine, _) = machine(clock, vec![vec![Spin], vec![Work(9), Panic], vec![Halt]]);
        let error = machine.run(PATIENCE).expect_err("it panicked").to_string();
        assert!(error.contains("see above") && error.contains("--engine"), "{error}");
        assert!(!error.contains('\n'), "{error}");
        // What is left can still be looked at.
        assert_eq!(machine.stats(None).vcpus.len(), 3);
    }
}

#[test]
fn a_panic_that_cannot_unwind_ends_the_process_with_an_error() {
    const CHILD: &str = "TRINE_TEST_CHILD";
    let name = "a_panic_that_cannot_unwind_ends_the_process_with_an_error";
    if std::env::var_os(CHILD).is_some() {
        console::end_on_second_panic(1);
        let (mut machine, _) = machine(ClockKind::Host, vec![vec![Spin], vec![PanicInCall]]);
        unreachable!("{:?}", machine.run(PATIENCE));
    }
    let child = Command::new(std::env::current_exe().expect("this is a program"))
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("it can be started again");
    let error = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.code(), Some(1), "{error}");
    assert!(error.contains("part of a test"), "{error}");
    let last = error.lines().last().unwrap_or_default();
    assert!(last.starts_with("trine: ") && last.contains("--engine"), "{error}");
}

#[test]
fn a_reset_starts_everything_again() {
    for clock in CLOCKS {
        let first = pic_setup().into_iter().chain([Out(0x92, 2, 1), Out(0xcf9, 6, 1), Spin]);
        let second = vec![In(0x92, 1), In(0x21, 1), TripleFault];
        let third = vec![Work(10), POWER_OFF];
        let config = Config { no_reboot: false, ..config(clock, 1) };
        let (mut machine, log) = lives(config, vec![vec![first.collect(), second, third]]);
        machine.write_ram(Gpa(0x7c00), &[0xaa; 32]).expect("RAM");
        machine.write_ram(Gpa(0x10_0000), &[0xbb; 32]).expect("RAM");
        assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff);
        assert_eq!(machine.stats(None).resets, 2);
        // Firmware lets the timer and the second 8259 through.
        assert_eq!(values(&log), [0, 0xfa]);
        let mut bytes = [0xff; 32];
        machine.ram().read(Gpa(0x7c00), &mut bytes).expect("RAM");
        assert_eq!(bytes[..16], [0x55; 16]);
        assert_eq!(bytes[16..], [0; 16]);
        machine.ram().read(Gpa(0x10_0000), &mut bytes).expect("RAM");
        assert_eq!(bytes, [0; 32]);
    }
}

/// The clock's alarm each second, enabled to wake; then sleep: `SLP_TYP` 1 and `SLP_EN`.
fn sleep() -> Vec<Step> {
    let alarm = [(0x70, 1), (0x71, 0xc0), (0x70, 3), (0x71, 0xc0), (0x70, 5), (0x71, 0xc0)];
    let enabled = [(0x70, 0x0b), (0x71, 0x22)];
    let clock = alarm.into_iter().chain(enabled).map(|(port, value)| Out(port, value, 1));
    let pm = [Out(0x602, 1 << 10, 2), Out(0x21, 0x55, 1), Out(0x604, 1 << 10 | 1 << 13, 2), Spin];
    clock.chain(pm).collect()
}

/// What firmware leaves in RAM, with this waking vector.
fn tables(vector: u32) -> Vec<(Gpa, Vec<u8>)> {
    let mut rsdp = b"RSD PTR \0TRINE \0\0\0\x0e\0".to_vec();
    rsdp[8] = rsdp.iter().fold(0, |sum: u8, byte| sum.wrapping_sub(*byte));
    let mut rsdt = vec![0; 40];
    rsdt[..8].copy_from_slice(b"RSDT\x28\0\0\0");
    rsdt[36..].copy_from_slice(&0xe_0100_u32.to_le_bytes());
    let mut fadt = b"FACP".to_vec();
    fadt.resize(36, 0);
    fadt.extend(0xe_0200_u32.to_le_bytes());
    let mut facs = b"FACS\x40\0\0\0\0\0\0\0".to_vec();
    facs.extend(vector.to_le_bytes());
    let at = [Gpa(0xe_0000), Gpa(0xe_0100), Gpa(0xe_0200), Gpa(0xf_0000)];
    at.into_iter().zip([rsdt, fadt, facs, rsdp]).collect()
}

#[test]
fn the_clocks_alarm_ends_sleep_at_the_waking_vector() {
    for clock in CLOCKS {
        // The states: PM1 status, and what the 8259 and the clock still know.
        let woken = vec![In(0x600, 2), In(0x21, 1), Out(0x70, 0x0b, 1), In(0x71, 1), POWER_OFF];
        let second = vec![vec![AwaitStartup], vec![], vec![]];
        let (mut machine, log) =
            lives(config(clock, 2), vec![vec![sleep(), vec![], woken], second]);
        for (at, bytes) in tables(0x9_a123) {
            machine.write_ram(at, &bytes).expect("RAM");
        }
        let start = machine.now();
        assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff);
        let slept_ns = machine.now().since(start);
        assert!((1..=2_000_000_000).contains(&slept_ns), "{slept_ns}");
        assert_eq!(values(&log), [1 << 15 | 1 << 10, 0xfa, 0x22], "WAK_STS and RTC_STS");
        let state = machine.cpu_state(0).expect("a vCPU");
        assert_eq!((state.segments.seg[1].base, state.rip), (0x9_a120, 3));
        assert_eq!(machine.stats(None).resets, 0);
    }
}

#[test]
fn who_wakes_without_a_vector_resets() {
    let (mut machine, _) = lives(config(ClockKind::Instructions, 1), vec![vec![sleep()]]);
    assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::Reset("piix4-pm"));
}

#[test]
fn limits_end_a_run_and_it_goes_on_after_them() {
    for clock in CLOCKS {
        let (mut machine, _) = machine(clock, vec![vec![Spin]]);
        let guest = Limits { guest_time: Some(Duration::from_millis(5)), ..PATIENCE };
        assert_eq!(machine.run(guest).expect("runs"), Ending::GuestTime);
        let at = machine.now();
        assert!(at.ns() >= 5_000_000);
        if clock == ClockKind::Instructions {
            assert_eq!((at, machine.retired()), (VmTime(5_000_000), 5_000_000));
        }
        let host = Limits { host_time: Some(Duration::from_millis(20)), ..Limits::default() };
        assert_eq!(machine.run(host).expect("runs"), Ending::HostTime);
        assert!(machine.now() > at);
        let retired = machine.retired();
        let count = Limits { instructions: Some(12_345), ..PATIENCE };
        assert_eq!(machine.run(count).expect("runs"), Ending::Instructions);
        assert_eq!(machine.retired(), retired + 12_345);
    }
}

#[test]
fn serial_output_is_awaited_and_input_waits_for_room() {
    for clock in CLOCKS {
        let say = |text: &str| text.bytes().map(|b| Out(0x3f8, b.into(), 1)).collect::<Vec<_>>();
        let fifo = vec![Out(0x3fa, 0x07, 1)];
        let script =
            [fifo, say("login: "), vec![ReceiveSerial(300)], say("bye"), vec![POWER_OFF]].concat();
        let (mut machine, log) = machine(clock, vec![script]);
        let prompt = machine.run_until(|serial| serial.ends_with(b"login: "), PATIENCE);
        assert_eq!(prompt.expect("runs"), Ending::Condition);
        let input: Vec<u8> = (0..300_u32).map(|n| n as u8).collect();
        let remote = machine.remote();
        assert!(remote.serial_input(SerialInput::Bytes(&input)));
        assert!(!remote.serial_input(SerialInput::Bytes(&[0; 4000])));
        assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff);
        assert_eq!(machine.serial(), b"login: bye");
        let bytes: Vec<Seen> = input.into_iter().map(Seen::Byte).collect();
        assert_eq!(seen(&log, 0), bytes);
    }
}

/// A stream that nobody reads until the other end of the channel is dropped.
struct Unread {
    until: mpsc::Receiver<()>,
    read: Arc<AtomicUsize>,
}

impl Write for Unread {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        assert!(self.until.recv().is_err(), "nothing is sent");
        self.read.fetch_add(bytes.len(), Ordering::SeqCst);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_guest_that_nobody_reads_waits_and_can_be_stopped() {
    const SENT: usize = 5_000_000;
    for clock in CLOCKS {
        let (let_read, until) = mpsc::channel();
        let read = Arc::<AtomicUsize>::default();
        let output = Output::new(Unread { until, read: read.clone() }).expect("a thread");
        let backlog = output.backlog().expect("there is one");
        let script = vec![NO_TICKS, Repeat(SENT, vec![Out(0x3f8, 0x55, 1)]), POWER_OFF];
        let config = Config { serial: Some(Box::new(output.clone())), ..config(clock, 1) };
        let (mut m, _) = lives(config, vec![vec![script]]);
        let remote = m.remote();
        let stop = || {
            while backlog.load(Ordering::SeqCst) <= 4 << 20 {
                std::thread::sleep(Duration::from_millis(1));
            }
            // Time for too much.
            std::thread::sleep(Duration::from_millis(50));
            remote.ask(Request::Quit);
        };
        let ending = std::thread::scope(|scope| {
            scope.spawn(stop);
            m.run(PATIENCE).expect("no error")
        });
        assert_eq!(ending, Ending::Asked(Request::Quit), "{clock:?}");
        assert!(backlog.load(Ordering::SeqCst) < (4 << 20) + 10_000, "{clock:?}: it goes on");
        drop(let_read);
        assert_eq!(m.run(PATIENCE).expect("no error"), Ending::PowerOff, "{clock:?}");
        assert!(output.flush(None));
        assert_eq!(read.load(Ordering::SeqCst), SENT, "{clock:?}");
    }
}

#[test]
fn the_a20_gate_is_the_keyboard_controllers_or_port_92s() {
    let (mut machine, _) = machine(
        ClockKind::Host,
        vec![vec![
            // The keyboard controller's output is high from the start.
            AwaitA20Masked(false),
            Out(0x64, 0xd1, 1),
            Out(0x60, 0xdd, 1),
            AwaitA20Masked(true),
            Out(0x92, 2, 1),
            AwaitA20Masked(false),
            Out(0x92, 0, 1),
            AwaitA20Masked(true),
            Out(0x64, 0xd1, 1),
            Out(0x60, 0xdf, 1),
            AwaitA20Masked(false),
            POWER_OFF,
        ]],
    );
    assert_eq!(machine.run(PATIENCE).expect("runs"), Ending::PowerOff);
}

#[test]
fn impossible_machines_are_refused() {
    let build = |change: &dyn Fn(&mut Config)| {
        let mut config = config(ClockKind::Host, 1);
        change(&mut config);
        let (engine, _) = Scripted::engine(vec![vec![vec![]]]);
        Machine::new(config, |_| Ok(engine)).err()
    };
    assert!(build(&|_| {}).is_none());
    for memory in [0, 1, 4096, (1 << 20) + 1, u64::MAX, 1 << 50] {
        let error = build(&|c| c.memory = memory);
        assert!(matches!(error, Some(MachineError::Memory(m)) if m == memory));
    }
    for cpus in [0, 256, u32::MAX] {
        assert!(matches!(build(&|c| c.cpus = cpus), Some(MachineError::Cpus(_))));
    }
    let taken = build(&|c| c.debug_exit = Some(0x21));
    assert!(matches!(taken, Some(MachineError::DebugExit(0x21))));
    let kernel = |kernel: &[u8]| Guest::Linux {
        kernel: kernel.to_vec(),
        modules: Vec::new(),
        append: String::new(),
    };
    assert!(matches!(build(&|c| c.guest = kernel(b"")), Some(MachineError::Boot(_))));
    assert!(matches!(build(&|c| c.guest = kernel(&[0; 4096])), Some(MachineError::Boot(_))));
}

#[test]
fn every_port_and_every_window_can_be_poked() {
    let mut script: Vec<Step> = Vec::new();
    for port in 0..=u16::MAX {
        // Not what ends the machine: power, resets, debug exit.
        if [0x604, 0x605, 0x603, 0x64, 0x92, 0xf4, 0xcf9].contains(&port) {
            continue;
        }
        script.extend([Out(port, 0xff, 1), In(port, 2), In(port, 4)]);
    }
    for at in [0xfec0_0000_u64, 0xfed0_0000, 0xfee0_0000] {
        for offset in (0..0x1000).step_by(4) {
            script.extend([Store(at + offset, u32::MAX), Load(at + offset + 1, 8)]);
        }
    }
    script.push(POWER_OFF);
    let (mut machine, log) = machine(ClockKind::Instructions, vec![script]);
    let ending = machine.run(PATIENCE).expect("runs");
    assert_eq!(ending, Ending::PowerOff);
    assert!(values(&log).len() > 130_000);
}
