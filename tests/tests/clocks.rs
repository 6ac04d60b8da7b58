//! All clocks count the same guest time, and no timer is lost, however often the guest moves.
//!
//! The guest is `tests/guests/clocks.asm`. It notes what each clock shows, with the TSC before and
//! after. Where a clock and the TSC both count guest time, what lies between them is the same in
//! every sample, to within the time that the sample took: a clock that loses or gains a few ticks in
//! hundreds of moves is found. KVM's clock follows from the TSC by numbers that may not change.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use trine_guest::{Gpa, Ram};
use trine_machine::{Config, Ending, EngineKind, Guest, Limits, Machine, create_engine};
use trine_x86::CpuModel;

/// What nasm makes of `clocks.asm`, and where in it is what a test reads and writes.
const GUEST: &[u8] = include_bytes!("../guests/clocks.elf");
const LOADED_AT: u64 = 0x10_0000;
const IS_ENOUGH: u64 = 0x100;
const FILLED: u64 = 0x108;
const LINKS: u64 = 0x110;
const IS_THROUGH: u64 = 0x124;
const KVMCLOCK: u64 = 0x140;
/// What is there from the start on: version 2, guest time 0 at TSC 0, and a nanosecond for each tick
/// of a TSC that is the same on both CPUs (Linux, `Documentation/virt/kvm/x86/msr.rst`).
const KVMCLOCK_WORDS: [u32; 8] = [2, 0, 0, 0, 0, 0, 1 << 31, 1 << 8 | 1];
/// Where the samples of each CPU begin.
const SAMPLES: [u64; 2] = [0x40_0000, 0x80_0000];
const SAMPLE: u64 = 16;

/// A clock, as the guest reads it.
struct Clock {
    name: &'static str,
    /// Its ticks in a number of nanoseconds.
    rate: (i128, i128),
    /// It begins anew after so many ticks.
    period: i128,
    /// The ticks in what is read.
    ticks: fn(u32) -> i128,
}

const HPET: Clock =
    Clock { name: "HPET", rate: (1, 10), period: 1 << 32, ticks: |value| value.into() };
const PM_TIMER: Clock = Clock {
    name: "ACPI PM timer",
    rate: (315, 88_000),
    period: 1 << 32,
    ticks: |value| value.into(),
};
/// Counter 2, which counts down.
const PIT: Clock =
    Clock { name: "8254", rate: (21, 17_600), period: 1 << 16, ticks: |value| -i128::from(value) };
const RTC: Clock = Clock {
    name: "RTC",
    rate: (1, 1_000_000_000),
    period: 60,
    ticks: |value| i128::from((value >> 4) * 10 + (value & 15)),
};
/// The timer of CPU 1, which counts from the largest value down to 1 and begins anew.
const APIC: Clock = Clock {
    name: "local APIC's timer",
    rate: (1, 1),
    period: u32::MAX as i128,
    ticks: |value| -i128::from(value),
};

/// What each CPU samples, in turn.
const ROUNDS: [&[&Clock]; 2] = [&[&HPET, &PM_TIMER, &PIT, &RTC], &[&HPET, &PM_TIMER, &APIC]];

/// A clock's value, and the TSC, which is guest time in nanoseconds, before it and after.
#[derive(Clone, Copy, Debug)]
struct Sample {
    before: u64,
    after: u64,
    value: u32,
}

/// What a clock is ahead of the TSC, in ticks over the rate's nanoseconds: from, and up to.
type Ahead = (i128, i128);

impl Clock {
    /// What one sample says of it.
    fn ahead(&self, sample: &Sample) -> Ahead {
        let (ticks, ns) = self.rate;
        let value = (self.ticks)(sample.value);
        (
            value * ns - i128::from(sample.after) * ticks,
            (value + 1) * ns - i128::from(sample.before) * ticks,
        )
    }

    /// What all `samples` together say of it.
    ///
    /// # Panics
    /// If they contradict each other.
    fn ahead_in_all<'a>(&self, samples: impl IntoIterator<Item = &'a Sample>) -> Ahead {
        let whole = self.period * self.rate.1;
        let mut known: Option<Ahead> = None;
        for sample in samples {
            let (from, upto) = self.ahead(sample);
            let Some((least, most)) = known else {
                known = Some((from, upto));
                continue;
            };
            // The nearest of what differ by whole periods.
            let turns = (from - least + whole / 2).div_euclid(whole) * whole;
            let both = (least.max(from - turns), most.min(upto - turns));
            assert!(
                both.0 <= both.1,
                "{}: {sample:?} says {:?} where it was {:?} (in 1/{} ticks)",
                self.name,
                (from - turns, upto - turns),
                (least, most),
                self.rate.1
            );
            known = Some(both);
        }
        known.expect("there are samples")
    }
}

/// The samples of a CPU.
fn samples(ram: &Ram, cpu: usize) -> Vec<Sample> {
    let end = word(ram, LOADED_AT + FILLED + 4 * cpu as u64).into();
    let read = |at| {
        let before = u64::from(word(ram, at + 4)) << 32 | u64::from(word(ram, at));
        let after = before + u64::from(word(ram, at + 8));
        Sample { before, after, value: word(ram, at + 12) }
    };
    (SAMPLES[cpu]..end).step_by(SAMPLE as usize).map(read).collect()
}

/// The engines that a moving guest goes through.
fn engines() -> Vec<EngineKind> {
    let software = [EngineKind::Translate, EngineKind::Interp];
    software.into_iter().filter(|kind| kind.missing().is_none()).collect()
}

/// Runs the guest to its end, and has it move each time that it has had so much time; tells it after
/// so many moves that it is enough.
fn run(moves: u32, every: Duration) -> Machine {
    let kernel = GUEST.to_vec();
    let config = Config {
        cpu: CpuModel::named("max,+kvmclock").expect("there is such a model"),
        cpus: 2,
        memory: 32 << 20,
        guest: Guest::Linux { kernel, modules: Vec::new(), append: String::new() },
        end_on_halt: true,
        ..Config::default()
    };
    let engines = engines();
    let machine = Machine::new(config, |ram| create_engine(engines[0], ram));
    let (mut machine, begun) = (machine.expect("a machine"), Instant::now());
    let limits = Limits { guest_time: Some(every), ..Limits::default() };
    for moved in 1.. {
        match machine.run(limits).expect("the host does not fail") {
            Ending::GuestTime => {}
            Ending::Halted => return machine,
            other => panic!("{other}"),
        }
        if moved == moves {
            machine.write_ram(Gpa(LOADED_AT + IS_ENOUGH), &[1]).expect("it lies in RAM");
        }
        let links = links(machine.ram());
        assert!(begun.elapsed() < trine_tests::console::patience(), "a timer is lost: {links:?}");
        let kind = engines[moved as usize % engines.len()];
        machine.switch_engine(|ram| create_engine(kind, ram)).expect("the host has this engine");
    }
    unreachable!("there is a last move")
}

/// How often the 8254, a local APIC, the HPET, the RTC and the other CPU called.
fn links(ram: &Ram) -> [u32; 5] {
    std::array::from_fn(|n| word(ram, LOADED_AT + LINKS + 4 * n as u64))
}

fn word(ram: &Ram, at: u64) -> u32 {
    let mut bytes = [0; 4];
    ram.read(Gpa(at), &mut bytes).expect("it lies in RAM");
    u32::from_le_bytes(bytes)
}

/// Has the guest run and move, and compares what it saw.
fn clocks_agree(moves: u32, every: Duration) {
    let machine = run(moves, every);
    assert_eq!(word(machine.ram(), LOADED_AT + IS_THROUGH), 1, "it halted too early");
    let calls = links(machine.ram());
    assert!(calls.iter().all(|calls| *calls > 1), "{calls:?}");
    let mut hpet_ahead = Vec::new();
    for (cpu, round) in ROUNDS.iter().enumerate() {
        let samples = samples(machine.ram(), cpu);
        assert!(samples.windows(2).all(|s| s[0].after < s[1].before), "the TSC goes back");
        for clock in *round {
            let of_it = samples.iter().zip(round.iter().cycle());
            let of_it: Vec<&Sample> =
                of_it.filter(|(_, c)| c.name == clock.name).map(|(sample, _)| sample).collect();
            let ahead = clock.ahead_in_all(of_it.iter().copied());
            let best = of_it.iter().map(|s| s.after - s.before).min();
            println!(
                "CPU {cpu}, {}: {} samples (the closest takes {best:?} ns) agree to {:.3} ticks",
                clock.name,
                of_it.len(),
                (ahead.1 - ahead.0) as f64 / clock.rate.1 as f64
            );
            if clock.name == HPET.name {
                hpet_ahead.push(ahead);
            }
        }
    }
    for cpu in 0..2 {
        let at = |n| LOADED_AT + KVMCLOCK + 32 * cpu + 4 * n;
        let words: [u32; 8] = std::array::from_fn(|n| word(machine.ram(), at(n as u64)));
        assert_eq!(words, KVMCLOCK_WORDS, "of CPU {cpu}");
    }
    // Each CPU has compared it with its own TSC.
    let least = hpet_ahead.iter().map(|ahead| ahead.0).max();
    let most = hpet_ahead.iter().map(|ahead| ahead.1).min();
    assert!(least <= most, "the CPUs' TSCs differ: {hpet_ahead:?}");
    println!(
        "{moves} moves; calls of the 8254, the APIC, the HPET, the RTC, the other CPU: {calls:?}"
    );
}

#[test]
fn all_clocks_count_the_same_time_while_the_guest_moves() {
    clocks_agree(300, Duration::from_millis(3));
}

#[test]
#[ignore = "takes a minute"]
fn long_all_clocks_count_the_same_time_over_thousands_of_moves() {
    clocks_agree(5000, Duration::from_millis(3));
}

#[test]
fn clocks_elf_is_what_the_source_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    let out = std::env::temp_dir().join(format!("trine-clocks-{}.elf", std::process::id()));
    let nasm = Command::new("nasm")
        .args(["-f", "bin", "-o"])
        .arg(&out)
        .arg(folder.join("clocks.asm"))
        .status();
    let Ok(status) = nasm else {
        println!("skipped: nasm is not installed");
        return;
    };
    assert!(status.success(), "nasm assembles clocks.asm");
    let assembled = fs::read(&out).expect("nasm writes it");
    fs::remove_file(&out).expect("the file can be removed");
    assert!(assembled == GUEST, "clocks.elf is not what nasm makes of clocks.asm");
}
