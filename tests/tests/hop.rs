//! A running machine moves between engines, and its guest notices nothing.
//!
//! With counted time a run with moves has to be the same, to the bit, as one without. With the
//! host's time a Linux guest under load moves every few milliseconds: what it computes stays right,
//! its timers fire, and no byte is lost on the console. The guests come from `tests/guests/fetch`;
//! without them those tests say that they skip. A minute of it:
//! `cargo test --release -p trine-tests --test hop -- --include-ignored --test-threads 1`. Through
//! KVM it moves where the host has one, and in `tests/kvm/run`.

use std::{
    fs,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use trine_devices::SerialPeer;
use trine_engine::{
    Budget, Bus, CpuModel, CpuState, Engine, EngineError, EventCount, Exit, Kicker, Stats, Vcpu,
};
use trine_guest::{Gpa, Ram};
use trine_interp::Interp;
use trine_machine::{
    ClockKind, Config, Ending, EngineKind, Guest, Limits, Machine, MachineError, MachineStats,
    Remote, Request, SerialInput, create_engine,
};
use trine_tests::console::{self, guests, patience};

const MEMORY: u64 = 512 << 20;

/// The software engines of this host.
fn engines() -> Vec<EngineKind> {
    let software = [EngineKind::Translate, EngineKind::Interp];
    software.into_iter().filter(|kind| kind.missing().is_none()).collect()
}

/// Debian's cloud kernel with more of a command line; `None` if it is not there.
fn linux(command: &str) -> Option<Guest> {
    let folder = guests()?;
    let read = |name: &str| fs::read(folder.join(name)).expect("the guests are complete");
    Some(Guest::Linux {
        kernel: read("cloud/vmlinuz"),
        modules: vec![read("initrd-amd64.gz").into()],
        append: format!("console=ttyS0 quiet {command}"),
    })
}

/// Moves `machine` to `kind`. Of what it has counted, nothing is lost, and nothing is new but that
/// the new engine begins with empty TLBs.
fn hop(machine: &mut Machine, kind: EngineKind) {
    let before = machine.stats(None);
    machine.switch_engine(|ram| create_engine(kind, ram)).expect("the host has this engine");
    assert_eq!(machine.engine(), kind.name());
    let after = machine.stats(None);
    let mut expected = MachineStats { engine: after.engine, ..before };
    let flushes = |stats: &MachineStats| stats.total.tlb_flushes;
    assert!((0..=4 * u64::from(after.cpus)).contains(&(flushes(&after) - flushes(&expected))));
    expected.total.tlb_flushes = flushes(&after);
    for (cpu, now) in expected.vcpus.iter_mut().zip(&after.vcpus) {
        cpu.engine.tlb_flushes = now.engine.tlb_flushes;
    }
    match expected.engines.iter_mut().find(|e| e.engine == kind.name()) {
        Some(known) => known.times += 1,
        None => expected.engines.extend(after.engines.last().cloned()),
    }
    assert_eq!(after, expected);
}

/// Runs a counted machine to its end, with a move after each of these counts of instructions, again
/// and again; returns how many there were.
fn run_counted(machine: &mut Machine, counts: &[u64]) -> (Ending, usize) {
    let (engines, mut hops) = (engines(), 0);
    loop {
        let limits = match counts {
            [] => Limits::host_seconds(600),
            _ => Limits { instructions: Some(counts[hops % counts.len()]), ..Limits::default() },
        };
        let before = machine.retired();
        let ending = machine.run(limits).expect("the host does not fail");
        if ending != Ending::Instructions {
            return (ending, hops);
        }
        assert_eq!(machine.retired() - before, counts[hops % counts.len()]);
        hops += 1;
        hop(machine, engines[hops % engines.len()]);
    }
}

/// What counts of a counted run: nothing of it may depend on engines.
fn compare(one: &mut Machine, other: &mut Machine, cpus: u32) {
    assert_eq!(String::from_utf8_lossy(&one.serial()), String::from_utf8_lossy(&other.serial()));
    assert_eq!(one.retired(), other.retired());
    assert_eq!(one.now(), other.now());
    for id in 0..cpus {
        let states = [&mut *one, other].map(|m| m.cpu_state(id).expect("there is one"));
        assert_eq!(states[0], states[1], "vCPU {id}");
    }
    let count = |stats: &MachineStats| -> Vec<[u64; 5]> {
        let of = |s: &Stats| [s.instructions, s.exceptions, s.interrupts, s.mmio, s.port_io];
        stats.vcpus.iter().map(|v| of(&v.engine)).chain([of(&stats.total)]).collect()
    };
    let (a, b) = (one.stats(None), other.stats(None));
    assert_eq!(count(&a), count(&b), "instructions, exceptions, interrupts, accesses");
    assert_eq!((&a.chips, a.unclaimed), (&b.chips, b.unclaimed));
    let reasons = |stats: &MachineStats| -> Vec<(String, u64)> {
        stats.events.iter().map(|e| (e.reason.clone(), e.count)).collect()
    };
    assert_eq!(reasons(&a), reasons(&b), "events by reason");
    for (of_one, of_other) in a.events.iter().zip(&b.events) {
        compare_causes(of_one, of_other);
    }
    let (mut page, mut other_page) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    for offset in (0..one.ram().len()).step_by(page.len()) {
        one.ram().load_bytes(offset, &mut page);
        other.ram().load_bytes(offset, &mut other_page);
        if let Some(at) = page.iter().zip(&other_page).position(|(a, b)| a != b) {
            panic!("RAM differs at {:#x}", offset + at as u64);
        }
    }
}

/// Each engine names the instructions that caused most, so that the sum over several of them may
/// lack some, and so may each; but none is counted twice in all, and where few instructions caused all, nothing is missing.
fn compare_causes(still: &EventCount, moving: &EventCount) {
    let sum = |e: &EventCount| e.instructions.iter().map(|cause| cause.count).sum::<u64>();
    if sum(still) == still.count {
        assert_eq!(still, moving);
    }
    assert!(sum(moving) <= moving.count, "{moving:?}");
    for cause in &moving.instructions {
        let same = still.instructions.iter().find(|c| c.rip == cause.rip);
        assert!(same.is_none_or(|c| c.text == cause.text), "{same:?} {cause:?}");
    }
}

/// The same guest without moves and with them.
fn counted(cpus: u32, memory: u64, counts: &[u64], guest: impl Fn() -> Guest) -> Machine {
    let machine = || {
        let clock = ClockKind::Instructions;
        let guest = guest();
        let config = Config { cpus, memory, clock, guest, count_events: true, ..Config::default() };
        let first = engines()[0];
        Machine::new(config, |ram| create_engine(first, ram)).expect("a machine")
    };
    let (mut still, mut moving) = (machine(), machine());
    assert_eq!(run_counted(&mut still, &[]), (Ending::PowerOff, 0));
    let (ending, hops) = run_counted(&mut moving, counts);
    assert_eq!(ending, Ending::PowerOff);
    assert!(hops > 20, "{hops} hops");
    compare(&mut still, &mut moving, cpus);
    let stats = moving.stats(None);
    assert_eq!(stats.engines.iter().map(|e| e.times).sum::<u64>(), hops as u64 + 1);
    assert_eq!(stats.engines.iter().map(|e| e.instructions).sum::<u64>(), stats.instructions);
    let seconds: f64 = stats.engines.iter().map(|e| e.wall_seconds).sum();
    assert!((seconds - stats.wall_seconds).abs() < 1e-6, "{seconds} s");
    let times = [stats.times.executing, stats.times.translating, stats.times.devices];
    assert!(times.iter().all(|t| *t > 0.0), "{times:?}");
    // vCPUs that have their turns on one thread.
    assert!(times.iter().sum::<f64>() + stats.times.idle <= stats.wall_seconds * f64::from(cpus));
    moving
}

#[test]
fn a_counted_demonstration_is_the_same_with_moves() {
    counted(1, 128 << 20, &[1, 199_999, 2, 300_000, 3, 7, 100_001], || Guest::Demonstration);
}

/// What the guests of counted runs do: pipes, checksums, timers.
const WORK: &str = "run=(seq,1,20000|gzip|gunzip|sha256sum)&(seq,1,9000|md5sum)&sleep,0.05;wait;\
    sleep,0.02;cat,/proc/interrupts,/proc/uptime;sleep,1";

/// What must be among what they print: the checksums, as computed elsewhere.
const CHECKSUMS: [&str; 2] = [
    "f6351f5ead9a700e34275480b3856ea738122a7c57bdeb744a631251c069587a",
    "6a109939dbbdca409a57b9948c5ee22c",
];

fn counted_linux(cpus: u32, counts: &[u64]) {
    if linux("").is_none() {
        return;
    }
    let moving = counted(cpus, MEMORY, counts, || linux(WORK).expect("it was there"));
    let said = String::from_utf8_lossy(&moving.serial()).into_owned();
    for sum in CHECKSUMS {
        assert!(said.contains(sum), "{sum} is not in:\n{said}");
    }
}

#[test]
fn a_counted_linux_on_two_cpus_is_the_same_with_moves() {
    counted_linux(2, &[40_000_000, 7, 1_000_003, 1, 12_345]);
}

#[test]
#[ignore = "takes a minute"]
fn long_counted_linux_is_the_same_with_more_moves() {
    for cpus in [1, 2, 4] {
        counted_linux(cpus, &[5_000_000, 7, 2_000_003, 1, 12_345]);
    }
}

/// What the guest printed so far, for who waits for it.
#[derive(Clone, Default)]
struct Screen(Arc<(Mutex<Vec<u8>>, Condvar)>);

impl SerialPeer for Screen {
    fn transmit(&mut self, byte: u8) {
        self.0.0.lock().expect("nobody panics with it").push(byte);
        self.0.1.notify_all();
    }
}

/// Somebody at the console of a machine that another thread runs.
struct Typist {
    remote: Remote,
    screen: Screen,
    /// How much of what was printed a wait has gone past.
    seen: usize,
}

impl Typist {
    fn type_text(&self, text: &str) {
        for part in text.as_bytes().chunks(64) {
            while !self.remote.serial_input(SerialInput::Bytes(part)) {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Waits until the guest prints `text`; returns what it printed since the last wait, up to it.
    fn wait_for(&mut self, text: &str) -> String {
        let (printed, news) = &*self.screen.0;
        let mut printed = printed.lock().expect("nobody panics with it");
        let end = Instant::now() + patience();
        loop {
            let fresh = String::from_utf8_lossy(&printed[self.seen..]).into_owned();
            if let Some((before, _)) = fresh.split_once(text) {
                self.seen += before.len() + text.len();
                return before.to_owned();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited for {text:?}; there was:\n{fresh}");
            printed = news.wait_timeout(printed, left).expect("nobody panics with it").0;
        }
    }

    /// Has the guest's shell run `command`; returns what it prints.
    fn ask(&mut self, command: &str) -> String {
        // The quotes tell the answer from the echo of what is typed.
        self.type_text(&format!("echo '<'BEGIN'>'; {command}; echo '<'END'>'\n"));
        self.wait_for("<BEGIN>");
        self.wait_for("<END>").replace('\r', "").trim_matches('\n').to_owned()
    }
}

impl Drop for Typist {
    /// The machine ends, whatever became of the test.
    fn drop(&mut self) {
        self.remote.ask(Request::Quit);
    }
}

/// Runs a machine to its end. While `moves` is set, it moves each time that the guest has had so
/// much time; returns how often.
fn run_moving(machine: &mut Machine, stays: &[Stay], moves: &AtomicBool) -> (Ending, usize) {
    let mut hops = 0;
    loop {
        let limits = Limits { guest_time: Some(stays[hops % stays.len()].1), ..Limits::default() };
        let ending = machine.run(limits).expect("the host does not fail");
        if ending != Ending::GuestTime {
            return (ending, hops);
        }
        if moves.load(Ordering::Relaxed) {
            hops += 1;
            hop(machine, stays[hops % stays.len()].0);
        }
    }
}

/// An engine, and how long the machine stays there.
type Stay = (EngineKind, Duration);

/// The software engines in turn, for so many milliseconds each.
fn turns(ms: u64) -> Vec<Stay> {
    engines().into_iter().map(|kind| (kind, Duration::from_millis(ms))).collect()
}

/// Boots Linux on the first engine, and has it work for so long while it moves from one to the next.
fn under_load(cpu: &str, stays: &[Stay], cpus: u32, time: Duration) {
    let Some(guest) = linux("") else { return };
    let screen = Screen::default();
    let serial: Option<Box<dyn SerialPeer>> = Some(Box::new(screen.clone()));
    let cpu = CpuModel::named(cpu).expect("there is such a model");
    let config = Config { cpu, cpus, memory: MEMORY, guest, serial, ..Config::default() };
    let machine = Machine::new(config, |ram| create_engine(stays[0].0, ram));
    let mut machine = machine.expect("a machine");
    // It is dropped in the scope, so that the machine ends if the test fails.
    let typist = Typist { remote: machine.remote(), screen, seen: 0 };
    let moves = AtomicBool::new(false);
    thread::scope(|scope| {
        let runs = scope.spawn(|| run_moving(&mut machine, stays, &moves));
        let typist = &mut { typist };
        typist.wait_for("/ #");
        moves.store(true, Ordering::Relaxed);
        work(typist, cpus, time);
        typist.type_text("poweroff -f\n");
        let (ending, hops) = runs.join().expect("no panic");
        assert_eq!(ending, Ending::PowerOff);
        assert!(hops > 50, "{hops} moves");
        println!("{hops} moves, {} vCPUs", cpus);
    });
    let stats = machine.stats(None);
    let instructions = stats.engines.iter().map(|e| e.instructions).sum::<u64>();
    assert_eq!(instructions, stats.instructions);
}

/// The guest computes on each CPU, sleeps, and is typed at.
fn work(typist: &mut Typist, cpus: u32, time: Duration) {
    for cpu in 0..cpus {
        let sum = format!("while :; do seq 1 2000 | sha256sum >> /sums{cpu}; done");
        typist.ask(&format!("(taskset -c {cpu} sh -c '{sum}' &)"));
    }
    let (start, mut rounds) = (Instant::now(), 0_u32);
    while start.elapsed() < time || rounds == 0 {
        rounds += 1;
        typed_text_comes_back(typist, rounds);
        // Ten timers of the guest's, one after the other: hundredths of a second that they take.
        let now = "$(cut -d ' ' -f 1 /proc/uptime | tr -d .)";
        let took = typist.ask(&format!(
            "a={now}; for i in 0 1 2 3 4 5 6 7 8 9; do usleep 20000; done; echo $(({now} - a))"
        ));
        assert!(took.parse::<u32>().is_ok_and(|t| (20..6000).contains(&t)), "{took}");
    }
    // The system's clock, which follows the TSC and was set at boot, between two looks at the RTC.
    let rtc = "cat /sys/class/rtc/rtc0/since_epoch";
    let clocks = typist.ask(&format!("{rtc}; date +%s; {rtc}"));
    let clocks: Vec<i64> = clocks.lines().filter_map(|line| line.parse().ok()).collect();
    let [before, now, after] = clocks[..] else { panic!("{clocks:?}") };
    assert!((before - 2..=after + 2).contains(&now), "{clocks:?}");
    for cpu in 0..cpus {
        let sums = format!("until [ -s /sums{cpu} ]; do sleep 0.1; done; sort -u /sums{cpu}");
        assert_eq!(typist.ask(&sums), SMALL_SUM, "on CPU {cpu}");
    }
    let complaints = "dmesg | grep -E 'stall|lockup|unstable|lost|stuck|BUG|segfault'";
    assert_eq!(typist.ask(complaints), "");
}

/// What `seq 1 2000 | sha256sum` prints, as computed elsewhere.
const SMALL_SUM: &str = "6251e5743b6fd6a7d606130bdf7c15077ce85ebd3a0fdee284d15a46df199e38  -";

/// What is typed reaches a program in the guest, and what that prints comes back, byte for byte.
fn typed_text_comes_back(typist: &mut Typist, round: u32) {
    const LINES: u32 = 60;
    let line =
        |n: u32| format!("{round} {n} {:x}\n", u64::from(n + round).wrapping_mul(0x9e37_79b9));
    let text: String = (0..LINES).map(line).collect();
    typist.type_text(&format!("stty -echo; echo 'G''O'; head -n {LINES} > /typed; echo 'G''OT'\n"));
    typist.wait_for("GO\r\n");
    typist.type_text(&text);
    typist.wait_for("GOT\r\n");
    assert_eq!(typist.ask("stty echo; cat /typed"), text.trim_end());
}

#[test]
fn a_linux_under_load_moves_every_few_milliseconds() {
    under_load("max", &turns(8), 2, Duration::from_secs(4));
}

#[test]
fn a_linux_under_load_moves_through_kvm() {
    if let Some(why) = EngineKind::Kvm.missing() {
        println!("skipped: {why}");
        return;
    }
    // Where KVM is emulated, so are the software engines, which are then very slow.
    let stay = |kind, ms| (kind, Duration::from_millis(ms));
    let kvm = stay(EngineKind::Kvm, 100);
    let stays = [kvm, stay(EngineKind::Interp, 10), kvm, stay(EngineKind::Translate, 10)];
    // What KVM does for its guests spares them exits: where it is emulated on a busy host, two vCPUs
    // do nothing but take timer interrupts otherwise.
    under_load("max,+kvmclock,+kvm-pv-eoi", &stays, 2, Duration::from_secs(5));
}

#[test]
#[ignore = "takes minutes"]
fn long_linux_under_load_moves_for_a_minute() {
    for (cpus, every_ms, seconds) in [(1, 5, 20), (2, 5, 60), (4, 10, 20)] {
        under_load("max", &turns(every_ms), cpus, Duration::from_secs(seconds));
    }
}

/// An engine as one that only lends a CPU: it counts nothing.
struct Uncounted(Interp);

impl Engine for Uncounted {
    fn name(&self) -> &'static str {
        "uncounted"
    }
    fn limits(&self) -> trine_engine::Limits {
        trine_engine::Limits { counts_instructions: false, deterministic: false }
    }
    fn create_vcpu(
        &self,
        id: u32,
        model: &CpuModel,
        bus: Arc<dyn Bus>,
    ) -> Result<Box<dyn Vcpu>, EngineError> {
        Ok(Box::new(UncountedVcpu(self.0.create_vcpu(id, model, bus)?)))
    }
}

struct UncountedVcpu(Box<dyn Vcpu>);

impl Vcpu for UncountedVcpu {
    fn run(&mut self, _: Budget) -> Result<Exit, EngineError> {
        self.0.run(Budget::Unlimited)
    }
    fn state(&mut self) -> Result<CpuState, EngineError> {
        self.0.state()
    }
    fn set_state(&mut self, state: &CpuState) -> Result<(), EngineError> {
        self.0.set_state(state)
    }
    fn kicker(&self) -> Kicker {
        self.0.kicker()
    }
    fn ram_changed(&mut self, at: Gpa, len: u64) {
        self.0.ram_changed(at, len);
    }
    fn retired(&self) -> u64 {
        0
    }
    fn stats(&self) -> Stats {
        Stats { instructions: 0, ..self.0.stats() }
    }
}

fn uncounted(ram: Arc<Ram>) -> Result<Arc<dyn Engine>, EngineError> {
    Ok(Arc::new(Uncounted(Interp::new(ram))))
}

fn demonstration(clock: ClockKind) -> Machine {
    let config = Config { clock, ..Config::default() };
    Machine::new(config, |ram| create_engine(EngineKind::Interp, ram)).expect("a machine")
}

#[test]
fn a_move_that_cannot_be_made_changes_nothing() {
    let mut machine = demonstration(ClockKind::Instructions);
    let some = Limits { instructions: Some(1_000_000), ..Limits::default() };
    assert_eq!(machine.run(some).expect("no failure"), Ending::Instructions);
    let state = machine.cpu_state(0).expect("there is one");
    let refused = machine.switch_engine(|_| {
        let reason = "it is not there".to_owned();
        Err(EngineError::Unavailable { engine: "none", reason })
    });
    assert!(matches!(refused, Err(MachineError::Engine(_))), "{refused:?}");
    let refused = machine.switch_engine(uncounted);
    assert!(matches!(refused, Err(MachineError::NoCount("uncounted"))), "{refused:?}");
    assert_eq!((machine.engine(), machine.retired()), ("interp", 1_000_000));
    assert_eq!(machine.cpu_state(0).expect("there is one"), state);
    assert_eq!(machine.run(Limits::host_seconds(600)).expect("no failure"), Ending::PowerOff);
    assert_eq!(machine.stats(None).engines.len(), 1);
}

#[test]
fn an_engine_that_does_not_count_runs_on_between_two_that_do() {
    let mut machine = demonstration(ClockKind::Host);
    let some = Limits { instructions: Some(2_000_000), ..Limits::default() };
    assert_eq!(machine.run(some).expect("no failure"), Ending::Instructions);
    machine.switch_engine(uncounted).expect("the host's clock needs no count");
    let a_while = Limits { guest_time: Some(Duration::from_millis(10)), ..Limits::default() };
    assert_eq!(machine.run(a_while).expect("no failure"), Ending::GuestTime);
    assert_eq!(machine.retired(), 2_000_000);
    hop(&mut machine, EngineKind::Interp);
    assert_eq!(machine.run(Limits::host_seconds(600)).expect("no failure"), Ending::PowerOff);
    let stats = machine.stats(None);
    let on: Vec<_> = stats.engines.iter().map(|e| (e.engine, e.times)).collect();
    assert_eq!(on, [("interp", 2), ("uncounted", 1)]);
    assert_eq!(stats.engines[0].instructions, stats.instructions);
    assert!(stats.engines[1].wall_seconds >= 0.01 && stats.engines[1].instructions == 0);
    assert_eq!(stats.vcpus[0].engine.instructions, stats.instructions);
    assert!(String::from_utf8_lossy(&machine.serial()).contains("Goodbye"));
}

#[test]
fn a_move_can_be_asked_for_from_outside() {
    let mut machine = demonstration(ClockKind::Host);
    let remote = machine.remote();
    let asks = thread::spawn(move || {
        thread::sleep(Duration::from_millis(5));
        remote.ask(Request::SwitchEngine);
    });
    let ending = machine.run(Limits::host_seconds(600)).expect("no failure");
    assert_eq!(ending, Ending::Asked(Request::SwitchEngine));
    asks.join().expect("it only asks");
    match engines().len() {
        1 => assert!(machine.switch_to_next_engine().is_err()),
        _ => {
            machine.switch_to_next_engine().expect("there is another engine");
            assert_ne!(machine.engine(), "interp");
        }
    }
    assert_eq!(machine.run(Limits::host_seconds(600)).expect("no failure"), Ending::PowerOff);
}

#[test]
fn the_command_line_says_when_and_where_to() {
    let name = format!("trine-hop-{}.json", std::process::id());
    let file = std::env::temp_dir().join(name);
    let stats = file.display().to_string();
    let best = engines()[0].name();
    let switches = ["3M=interp".to_owned(), format!("4ms={best}"), format!("1000001={best}")];
    let mut options = vec!["run", "--engine", "interp", "--clock", "instructions"];
    options.extend(["--stats", &stats]);
    options.extend(switches.iter().flat_map(|switch| ["--switch", switch]));
    let ending = console::run(&options);
    assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
    let text = fs::read_to_string(&file).expect("there are statistics");
    fs::remove_file(&file).expect("the file can be removed");
    let stats: serde_json::Value = serde_json::from_str(&text).expect("they are JSON");
    let on = |n: usize, what: &str| stats["engines"][n][what].as_u64();
    if engines().len() > 1 {
        // It takes a nanosecond for each instruction, and more where it is idle.
        assert_eq!((on(0, "times"), on(1, "times")), (Some(2), Some(2)));
        let first = on(0, "instructions").expect("it counts");
        assert!((1_000_002..=2_000_001).contains(&first), "{first}");
    }
    for wrong in ["5M", "5M=qemu", "-1=interp", "1.5M=interp", "soon=interp"] {
        let ending = console::run(&["run", &format!("--switch={wrong}")]);
        assert_eq!(ending.status.code(), Some(1), "{wrong}");
        assert_eq!(ending.stderr.lines().count(), 1, "{}", ending.stderr);
        assert!(ending.stderr.contains("--switch"), "{}", ending.stderr);
    }
}
