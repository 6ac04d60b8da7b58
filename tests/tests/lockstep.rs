//! Snapshots are all that a machine is, and lock-step finds the very instruction at which an engine
//! is wrong.

use std::{
    num::NonZeroU64,
    process::Command,
    sync::{Arc, Mutex},
};

use trine_engine::{
    Access, Budget, Bus, CpuModel, CpuState, Engine, EngineError, Exit, Kicker, Stats, Vcpu,
};
use trine_firmware::{Boot, Entry};
use trine_guest::{Gpa, Ram};
use trine_interp::Interp;
use trine_machine::{
    ClockKind, Config, Ending, EngineKind, Guest, Limits, Machine, Snapshot, create_engine,
    lockstep::{Divergence, Length, Lockstep, Outcome, Stop, report},
};
use trine_tests::console::{guests, trine};
use trine_testsuites::{Candidate, vectors};

fn counted(config: Config) -> Config {
    Config { clock: ClockKind::Instructions, memory: 32 << 20, ..config }
}

fn demonstration(kind: EngineKind, cpus: u32) -> Machine {
    let config = counted(Config { cpus, ..Config::default() });
    Machine::new(config, |ram| create_engine(kind, ram)).expect("a machine")
}

/// The software engines of this host.
fn engines() -> Vec<EngineKind> {
    let there = |kind: &EngineKind| kind.missing().is_none();
    [EngineKind::Interp, EngineKind::Translate].into_iter().filter(there).collect()
}

fn run(machine: &mut Machine, instructions: u64) {
    let limits = Limits { instructions: Some(instructions), ..Limits::default() };
    assert_eq!(machine.run(limits).expect("it runs"), Ending::Instructions);
}

fn assert_same(a: &Snapshot, b: &Snapshot, ram: &Ram) {
    assert!(a.is_same(b), "{:#?}", a.differences(b, ram));
}

#[test]
fn a_snapshot_is_all_that_a_machine_is() {
    for cpus in [1, 2] {
        let mut first = demonstration(EngineKind::Interp, cpus);
        run(&mut first, 2_000_123);
        let then = first.save().expect("a snapshot");
        run(&mut first, 3_000_000);
        let later = first.save().expect("a snapshot");
        assert!(!then.is_same(&later));
        first.load(&then).expect("it fits");
        assert_same(&first.save().expect("a snapshot"), &then, first.ram());
        run(&mut first, 3_000_000);
        assert_same(&first.save().expect("a snapshot"), &later, first.ram());
        for kind in engines() {
            // A machine that has been elsewhere.
            let mut other = demonstration(kind, cpus);
            run(&mut other, 4_500_000);
            other.load(&then).expect("it fits");
            run(&mut other, 3_000_000);
            assert_same(&other.save_like(&later).expect("a snapshot"), &later, other.ram());
            // And where it has been before, in pieces.
            other.load(&then).expect("it fits");
            for piece in [1, 2, 9_997, 990_000, 1_234_567] {
                run(&mut other, piece);
            }
            let interp = |ram| create_engine(EngineKind::Interp, ram);
            other.switch_engine(interp).expect("an interpreter");
            run(&mut other, 3_000_000 - (1 + 2 + 9_997 + 990_000 + 1_234_567));
            assert_same(&other.save().expect("a snapshot"), &later, other.ram());
            assert_eq!(other.retired(), later.retired());
        }
    }
}

/// Real mode: asks for KVM's clock and for stolen time at 2000h, then writes over both for ever and
/// adds up what it finds there.
fn spoiler() -> Config {
    let code = [
        &[0x66, 0xb9, 0x01, 0x4d, 0x56, 0x4b][..], // mov ecx, MSR_KVM_SYSTEM_TIME
        &[0x66, 0xb8, 0x01, 0x20, 0x00, 0x00],     // mov eax, 2001h
        &[0x66, 0x31, 0xd2, 0x0f, 0x30],           // xor edx, edx; wrmsr
        &[0xb1, 0x03, 0xb0, 0x41, 0x0f, 0x30],     // MSR_KVM_STEAL_TIME: 2041h
        &[0x66, 0x43],                             // inc ebx, to which all returns
        &[0x66, 0x89, 0x1e, 0x0c, 0x20],           // mov [200ch], ebx: the clock's TSC
        &[0x66, 0x89, 0x1e, 0x50, 0x20],           // mov [2050h], ebx: preempted
        &[0x66, 0x03, 0x36, 0x00, 0x20],           // add esi, [2000h]: the clock's version
        &[0x66, 0x03, 0x36, 0x48, 0x20],           // add esi, [2048h]: that of stolen time
        &[0xeb, 0xe8],                             // jmp to the inc
    ];
    let entry = Entry::Real { cs: 0, ip: 0x7c00 };
    let boot = Boot { segments: vec![(Gpa(0x7c00), code.concat())], entry };
    let cpu = CpuModel::named("max,+kvmclock,+kvm-steal-time").expect("there is such a model");
    counted(Config { cpu, guest: Guest::Raw(boot), ..Config::default() })
}

#[test]
fn what_kvm_does_for_a_guest_does_not_depend_on_how_a_run_is_cut() {
    const LENGTH: u64 = 700_000;
    let machine =
        |kind| Machine::new(spoiler(), |ram| create_engine(kind, ram)).expect("a machine");
    let mut whole = machine(EngineKind::Interp);
    run(&mut whole, LENGTH);
    let expected = whole.save().expect("a snapshot");
    assert!(whole.cpu_state(0).expect("a state").gpr[3] > 100_000, "it is in the loop");
    for kind in engines() {
        let mut cut = machine(kind);
        let mut left = LENGTH;
        for piece in [1, 2, 3, 5, 7, 1_000, 77_777, 99_999, 123_456].into_iter().cycle() {
            run(&mut cut, piece.min(left));
            left -= piece.min(left);
            if left == 0 {
                break;
            }
            if left % 2 == 1 {
                cut.switch_engine(|ram| create_engine(kind, ram)).expect("the same anew");
            } else {
                let here = cut.save().expect("a snapshot");
                cut.load(&here).expect("it fits");
            }
        }
        assert_same(&cut.save_like(&expected).expect("a snapshot"), &expected, whole.ram());
    }
}

#[test]
fn what_a_guest_does_after_a_reset_is_not_in_an_earlier_snapshot() {
    let mut machine = demonstration(EngineKind::Interp, 1);
    let fresh = machine.save().expect("a snapshot");
    run(&mut machine, 1_000_000);
    let then = machine.save().expect("a snapshot");
    machine.reset().expect("it resets");
    assert!(machine.save().expect("a snapshot").ram().differences(fresh.ram()).is_empty());
    machine.load(&then).expect("it fits");
    assert_same(&machine.save().expect("a snapshot"), &then, machine.ram());
}

#[test]
fn a_snapshot_of_another_build_is_refused() {
    let mut one = demonstration(EngineKind::Interp, 1);
    let snapshot = one.save().expect("a snapshot");
    let mut two = demonstration(EngineKind::Interp, 2);
    let before = two.save().expect("a snapshot");
    let refused = two.load(&snapshot).expect_err("another number of vCPUs");
    assert!(refused.to_string().contains("number of vCPUs"), "{refused}");
    assert_same(&two.save().expect("a snapshot"), &before, two.ram());
    let config = Config { clock: ClockKind::Host, memory: 32 << 20, ..Config::default() };
    let mut host = Machine::new(config, |ram| Ok(Arc::new(Interp::new(ram)))).expect("a machine");
    assert!(host.load(&snapshot).is_err_and(|e| e.to_string().contains("clock")));
}

/// What a wrong engine does once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    /// Changes a register behind the instruction that ends at this time.
    Register(u64),
    /// Changes memory there.
    Memory(u64),
    /// Writes to a chip there.
    Chip(u64),
    /// Changes a register there, if the two instructions up to it are executed in one run.
    Pair(u64),
    /// Adds wrongly: what ADD [disp16], AX of 1234h stores has a wrong bit.
    Add,
}

/// An interpreter that is wrong once.
struct Wrong {
    ram: Arc<Ram>,
    harm: Harm,
}

struct WrongVcpu {
    inner: Box<dyn Vcpu>,
    bus: Arc<dyn Bus>,
    ram: Arc<Ram>,
    harm: Harm,
}

impl Engine for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }
    fn limits(&self) -> trine_engine::Limits {
        trine_engine::Limits { counts_instructions: true, deterministic: true }
    }
    fn create_vcpu(
        &self,
        id: u32,
        model: &CpuModel,
        bus: Arc<dyn Bus>,
    ) -> Result<Box<dyn Vcpu>, EngineError> {
        let inner = Interp::new(self.ram.clone()).create_vcpu(id, model, bus.clone())?;
        Ok(Box::new(WrongVcpu { inner, bus, ram: self.ram.clone(), harm: self.harm }))
    }
}

const ADD: [u8; 4] = [0x01, 0x06, 0x00, 0x25];

impl WrongVcpu {
    fn by(&self) -> Access {
        Access { vcpu: 0, retired: self.inner.retired() }
    }

    fn now(&self) -> u64 {
        self.bus.now(self.by()).ns()
    }

    /// Runs `n` instructions and does harm when the time is `at`.
    fn run_past(&mut self, n: u64, at: u64) -> Result<Exit, EngineError> {
        let now = self.now();
        let first = if now < at && at - now < n { at - now } else { n };
        let exit = self.run_inner(first)?;
        if now < at && self.now() == at {
            self.do_harm()?;
        }
        if exit == Exit::Budget && first < n { self.run_inner(n - first) } else { Ok(exit) }
    }

    fn run_inner(&mut self, n: u64) -> Result<Exit, EngineError> {
        self.inner.run(Budget::Instructions(NonZeroU64::new(n).expect("some")))
    }

    fn do_harm(&mut self) -> Result<(), EngineError> {
        let mut state = self.inner.state()?;
        match self.harm {
            Harm::Register(_) | Harm::Pair(_) => state.gpr[15] ^= 4,
            Harm::Memory(_) => {
                self.ram.store(0x9_f008, 1_u8);
            }
            Harm::Chip(_) => self.bus.port_out(self.by(), 0x3ff, &[0x5a]),
            Harm::Add => {
                self.ram.update(0x2500, |word: u16| word ^ 0x4000);
            }
        }
        self.inner.set_state(&state)
    }
}

impl Vcpu for WrongVcpu {
    fn run(&mut self, budget: Budget) -> Result<Exit, EngineError> {
        let Budget::Instructions(n) = budget else { return self.inner.run(budget) };
        match self.harm {
            Harm::Register(at) | Harm::Memory(at) | Harm::Chip(at) => self.run_past(n.get(), at),
            Harm::Pair(at) if self.now() + 2 <= at => self.run_past(n.get(), at),
            Harm::Pair(_) => self.run_inner(n.get()),
            Harm::Add => {
                for _ in 0..n.get() {
                    let state = self.inner.state()?;
                    let at = state.segments.seg[1].base + state.rip;
                    let is_add = at < 0x1_0000 && self.ram.load::<u32>(at).to_le_bytes() == ADD;
                    let exit = self.run_inner(1)?;
                    if is_add && state.gpr[0] == 0x1234 {
                        self.do_harm()?;
                    }
                    if exit != Exit::Budget {
                        return Ok(exit);
                    }
                }
                Ok(Exit::Budget)
            }
        }
    }
    fn state(&mut self) -> Result<CpuState, EngineError> {
        self.inner.state()
    }
    fn set_state(&mut self, state: &CpuState) -> Result<(), EngineError> {
        self.inner.set_state(state)
    }
    fn kicker(&self) -> Kicker {
        self.inner.kicker()
    }
    fn ram_changed(&mut self, at: Gpa, len: u64) {
        self.inner.ram_changed(at, len);
    }
    fn retired(&self) -> u64 {
        self.inner.retired()
    }
    fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

/// A guest on the interpreter and on an engine that is wrong.
fn against(config: impl Fn() -> Config, harm: Harm) -> (Lockstep, Box<Divergence>) {
    let right = Machine::new(config(), |ram| Ok(Arc::new(Interp::new(ram)))).expect("a machine");
    let wrong = Machine::new(config(), |ram| Ok(Arc::new(Wrong { ram, harm }))).expect("a machine");
    let every = NonZeroU64::new(300_000).expect("some");
    let mut both = Lockstep::new(right, wrong, every).expect("they are alike");
    match both.run(Length::default(), |_| {}).expect("they run") {
        Outcome::Different(divergence) => (both, divergence),
        Outcome::Same(stop) => panic!("{harm:?} was not found: {stop}"),
    }
}

#[test]
fn a_wrong_instruction_is_found_whatever_it_does() {
    const AT: u64 = 1_234_567;
    let config = || counted(Config::default());
    for (harm, piece, what) in [
        (Harm::Register(AT), 1, "vCPU 0 r15"),
        (Harm::Memory(AT), 1, "memory at 0x9f008"),
        (Harm::Chip(AT), 1, "com1 scratch"),
        (Harm::Pair(AT), 2, "vCPU 0 r15"),
    ] {
        let (_, found) = against(config, harm);
        assert_eq!((found.before.now().ns(), found.piece), (AT - piece, piece), "{harm:?}");
        let names: Vec<&str> = found.differences.iter().map(|d| &*d.what).collect();
        // A chip that is accessed also catches up with the time.
        let chip = what.split_once(' ').expect("two words").0;
        assert!(names.contains(&what) && names.iter().all(|n| n.starts_with(chip)), "{names:?}");
        assert!(found.is_repeatable && found.vcpu == Some(0), "{harm:?}: {found:?}");
        assert_eq!(found.stops, [Stop::Done, Stop::Done]);
    }
}

/// Real mode: AX counts up and is added to a word, until it is 2000h; then the machine stands.
fn adder() -> Config {
    let mut code = vec![0x31, 0xc0, 0x40];
    code.extend(ADD);
    // CMP AX, 2000h; JNE to the INC; HLT.
    code.extend([0x3d, 0x00, 0x20, 0x75, 0xf6, 0xf4]);
    let entry = Entry::Real { cs: 0, ip: 0x7c00 };
    let boot = Boot { segments: vec![(Gpa(0x7c00), code)], entry };
    counted(Config { guest: Guest::Raw(boot), end_on_halt: true, ..Config::default() })
}

#[test]
fn a_wrong_instruction_becomes_a_vector_that_shows_it() {
    let (mut both, found) = against(adder, Harm::Add);
    assert_eq!(found.piece, 1);
    let right = Candidate::new("interp", |ram| Ok(Arc::new(Interp::new(ram))));
    let wrong = Candidate::new("wrong", |ram| Ok(Arc::new(Wrong { ram, harm: Harm::Add })));
    let explained = both.reproduce(&found, [&right, &wrong]).expect("it can be explained");
    let [line] = &explained.code[..] else { panic!("{explained:?}") };
    assert_eq!((line.rip, &*line.bytes, &*line.text), (0x7c03, &ADD[..], "add [2500h],ax"));
    let text = report(["interp", "wrong"], &found, &explained);
    println!("{text}");
    for part in ["the instruction after", "on vCPU 0", "add [2500h],ax", "memory at 0x2500"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let lines = explained.vectors.expect("it fits a vector");
    assert!(lines.iter().all(|line| text.lines().any(|l| l == line)), "{text}");
    let model = CpuModel::named("max").expect("there is a model 'max'");
    for (line, holds) in lines.iter().zip([[true, false], [false, true]]) {
        let vector: vectors::Vector = line.parse().unwrap_or_else(|e| panic!("{e}: {line}"));
        let results = [&right, &wrong].map(|c| vectors::run(&vector, &model, c).is_ok());
        assert_eq!(results, holds, "{line}");
    }
}

/// Whatever the demonstration executes becomes lines that say what the interpreter does.
#[test]
fn instructions_of_a_guest_become_vectors() {
    let mut machine = demonstration(EngineKind::Interp, 1);
    let model = CpuModel::named("max").expect("there is a model 'max'");
    let interp = Candidate::new("interp", |ram| Ok(Arc::new(Interp::new(ram))));
    let (mut written, mut refused) = (0, Vec::new());
    for _ in 0..300 {
        run(&mut machine, 9_973);
        let state = machine.cpu_state(0).expect("a state");
        let ram = machine.ram().clone();
        let mut core = trine_x86::Core::new(0, &model, ram, Arc::new(trine_x86::NoBus::default()));
        core.set_state(&state);
        let core = Mutex::new(core);
        let peek = |linear| {
            let core = core.lock().expect("nobody panicked");
            let spot = core.ram.spot(core.peek(linear)?)?;
            Some(core.ram.load(spot.offset))
        };
        let scene = vectors::Scene { state: &state, peek: &peek };
        let recorded = scene.transplant().and_then(|mut vector| {
            vectors::record(&mut vector, &model, &interp).map(|()| vector.to_string())
        });
        match recorded {
            Ok(line) => {
                let vector: vectors::Vector =
                    line.parse().unwrap_or_else(|e| panic!("{e}: {line}"));
                vectors::run(&vector, &model, &interp).unwrap_or_else(|e| panic!("{e}: {line}"));
                written += 1;
            }
            Err(why) => refused.push(why),
        }
    }
    assert!(written > 200, "{written} lines; refused: {refused:#?}");
}

#[test]
fn the_demonstration_is_in_step_to_its_end() {
    for (cpus, every) in [(1, 1_000_003), (2, 70_001)] {
        let Some(&other) = engines().get(1) else { return };
        let machines = [EngineKind::Interp, other].map(|kind| demonstration(kind, cpus));
        let [first, second] = machines;
        let every = NonZeroU64::new(every).expect("some");
        let mut both = Lockstep::new(first, second, every).expect("they are alike");
        let length = Length { instructions: Some(12_000_000), ..Length::default() };
        let outcome = both.run(length, |_| {}).expect("they run");
        let Outcome::Same(stop) = outcome else { panic!("{outcome:?}") };
        assert!(matches!(stop, Stop::Done | Stop::Ended(Ending::PowerOff)), "{stop}");
    }
}

#[test]
fn linux_begins_in_step() {
    let (Some(folder), Some(&other)) = (guests(), engines().get(1)) else { return };
    let read = |name: &str| std::fs::read(folder.join(name)).expect("it can be read");
    let guest = Guest::Linux {
        kernel: read("cloud/vmlinuz"),
        modules: vec![read("initrd-amd64.gz").into()],
        append: "console=ttyS0".into(),
    };
    let [first, second] = [EngineKind::Interp, other].map(|kind| {
        let config = Config { guest: guest.clone(), ..counted(Config::default()) };
        let config = Config { memory: 512 << 20, cpus: 2, ..config };
        Machine::new(config, |ram| create_engine(kind, ram)).expect("a machine")
    });
    let every = NonZeroU64::new(2_500_000).expect("some");
    let mut both = Lockstep::new(first, second, every).expect("they are alike");
    let length = Length { instructions: Some(100_000_000), ..Length::default() };
    let outcome = both.run(length, |_| {}).expect("they run");
    assert!(matches!(outcome, Outcome::Same(Stop::Done)), "{outcome:?}");
}

#[test]
fn the_command_says_what_it_found() {
    let lockstep = |arguments: &[&str]| {
        let output = Command::new(trine()).arg("lockstep").args(arguments).output();
        let output = output.expect("trine runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let engines = "--engines=interp,interp";
    let (status, said, _) =
        lockstep(&[engines, "--memory", "32M", "--serial", "null", "--instructions", "2000000"]);
    assert_eq!(status, Some(0));
    let expected = "interp and interp are equal after 2000000 instructions";
    assert!(said.starts_with(expected), "{said}");
    for (arguments, why) in [
        (&["--engines", "interp,kvm"][..], "does not count instructions"),
        (&["--engines", "interp"], "two engines"),
        (&[engines, "--engine", "interp"], "in place of --engine"),
        (&[engines, "--serial", "unix:/nowhere"], "nothing is typed"),
    ] {
        let (status, _, said) = lockstep(arguments);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(why) && said.trim_end().lines().count() == 1, "{said}");
    }
}
