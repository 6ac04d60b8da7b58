//! How fast Trine runs guests, as ratios against QEMU's translator, Bochs and the host's own CPU on
//! the same work in the same session: programs of our own (`guest/`), Debian kernels up to their
//! initramfs, and Linux at its network and disk.
//!
//! `cargo run --release -p trine-benches` prints tables. Times are between marks that the guest
//! prints on COM1, medians of several runs in which emulators take turns. On a host that is busy
//! with other work, compare by `--time cpu`: how long the emulator's threads ran.
//!
//! How often each emulator does a program is found by trying, so that each measurement takes about
//! as long; what is compared is the time of one turn. Natively run the same bytes of machine
//! code, as a process of the host, if they need no privilege.
//!
//! Nothing here is asserted about time. That all compute the same is.
#![forbid(unsafe_code)]

mod emulator;
mod image;
mod programs;
mod results;
mod table;
mod traffic;
mod watch;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use emulator::{Emulator, Guest};
use image::Result;
use programs::{Program, Work};
use results::Results;
use traffic::{Peer, Traffic};
use watch::Failure;

const HELP: &str = "\
usage: trine-benches [--only LIST] [--emulators LIST] [--runs N] [--seconds S] [--time wall|cpu]
                     [--guests DIR] [--json FILE]

  --only LIST       programs, or groups of them: integer, float, system, boot, traffic
                    (all)
  --emulators LIST  of trine:interp, trine:translate, bochs, qemu, native and, counting
                    instructions, trine:interp:icount, trine:translate:icount, qemu:icount (all
                    that are there)
  --runs N          how often each runs everything (3); the median counts
  --seconds S       how long each program shall run each time, at least (0.4)
  --time wall|cpu   the host's clock, or the time that the emulator's threads ran (wall)
  --guests DIR      what tests/guests/fetch made (guests-cache)
  --json FILE       writes all results there";

/// What is compared if nothing else is said.
const ALL: &str = "trine:interp,trine:translate,bochs,qemu,native,trine:interp:icount,\
                   trine:translate:icount,qemu:icount";

/// Less than this says little about how long a program takes: both its marks may come at once.
const SURE_SECONDS: f64 = 0.01;
/// How often a plan is made, each time with turns of a more fitting number.
const MOST_TRIES: usize = 3;

/// Which time counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Time {
    Wall,
    Cpu,
}

struct Options {
    runs: usize,
    seconds: f64,
    time: Time,
    programs: Vec<&'static Program>,
    guests: PathBuf,
    emulators: String,
    json: Option<PathBuf>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            runs: 3,
            seconds: 0.4,
            time: Time::Wall,
            programs: programs::choose(None)?,
            guests: env::var_os("TRINE_GUESTS")
                .map_or_else(|| root().join("guests-cache"), PathBuf::from),
            emulators: ALL.to_owned(),
            json: None,
        };
        while let Some(option) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{option} wants a value"));
            match option.as_str() {
                "--runs" => {
                    let runs = value()?.parse().ok().filter(|&n| n > 0);
                    options.runs = runs.ok_or("--runs wants a number above 0")?;
                }
                "--seconds" => {
                    let seconds = value()?.parse().ok().filter(|s| (0.0..=60.0).contains(s));
                    options.seconds = seconds.ok_or("--seconds wants a number up to 60")?;
                }
                "--time" => {
                    options.time = match value()?.as_str() {
                        "wall" => Time::Wall,
                        "cpu" => Time::Cpu,
                        _ => return Err("--time is wall or cpu".to_owned()),
                    }
                }
                "--only" => options.programs = programs::choose(Some(&value()?))?,
                "--guests" => options.guests = value()?.into(),
                "--emulators" => options.emulators = value()?,
                "--json" => options.json = Some(value()?.into()),
                _ => return Err(HELP.to_owned()),
            }
        }
        Ok(options)
    }
}

/// The emulators that are wanted and there; says of those that are not how to get them.
fn emulators(wanted: &str) -> Result<Vec<Emulator>> {
    let mut found = Vec::new();
    for name in wanted.split(',') {
        let (base, counts) = match name.strip_suffix(":icount") {
            Some(base) => (base, true),
            None => (name, false),
        };
        match base {
            "trine:interp" | "trine:translate" => {
                let (binary, engine) = (build_trine()?, base.replace("trine:", ""));
                found.push(Emulator::Trine { binary, engine, counts });
            }
            "qemu" if !is_installed("qemu-system-x86_64") => {
                eprintln!("no {name}: apt-get install qemu-system-x86");
            }
            "qemu" => found.push(Emulator::Qemu { counts }),
            "bochs" if counts => return Err("bochs has no :icount".to_owned()),
            "bochs" if !is_installed("bochs-bin") || !Path::new(image::BOCHS_BIOS).exists() => {
                eprintln!("no bochs: apt-get install bochs bochsbios");
            }
            "bochs" => found.push(Emulator::Bochs),
            "native" if cfg!(all(target_os = "linux", target_arch = "x86_64")) && !counts => {
                found.push(Emulator::Native);
            }
            "native" => eprintln!("no {name}: the host is not Linux on x86-64"),
            _ => return Err(format!("there is no emulator '{name}'\n{HELP}")),
        }
    }
    Ok(found)
}

fn is_installed(program: &str) -> bool {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

fn build_trine() -> Result<PathBuf> {
    if let Some(binary) = env::var_os("TRINE") {
        return Ok(binary.into());
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "trine-machine", "--bin", "trine"])
        .current_dir(root())
        .stdin(Stdio::null())
        .status()
        .map_err(|e| format!("cargo: {e}"))?;
    if !status.success() {
        return Err("trine cannot be built".to_owned());
    }
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    Ok(target.unwrap_or_else(|| root().join("target")).join("release").join("trine"))
}

/// An emulator and what it is given to do.
struct Entrant {
    emulator: Emulator,
    /// The plan of the guest that runs programs; empty if it runs none.
    plan: String,
}

/// The programs that `emulator` can run.
fn fitting(programs: &[&Program], emulator: &Emulator) -> Vec<&'static str> {
    let is_native = *emulator == Emulator::Native;
    let fits =
        |p: &&&Program| p.work == Work::Unprivileged || p.work == Work::Privileged && !is_native;
    programs.iter().filter(fits).map(|p| p.name).collect()
}

/// A plan in the guest's words.
fn plan(turns: &[(&str, u64)]) -> String {
    turns.iter().map(|(name, turns)| format!("{name}*{turns}")).collect::<Vec<_>>().join(" ")
}

/// Finds out whether an emulator is there and how often it can do each program in the time that is
/// wanted; `None` if it is not there, which is said.
fn enter(options: &Options, emulator: Emulator, folder: &Path) -> Result<Option<Entrant>> {
    let names = fitting(&options.programs, &emulator);
    let mut turns: Vec<_> = names.iter().map(|&name| (name, 1)).collect();
    for _ in 0..MOST_TRIES {
        eprintln!("{emulator}: how often?");
        let once = if turns.is_empty() { "mix".to_owned() } else { plan(&turns) };
        let run = match watch::run(&emulator, &Guest::programs(&once, folder)?) {
            Err(Failure::Absent(why)) => {
                eprintln!("no {emulator}: {why}");
                return Ok(None);
            }
            Err(Failure::Failed(why)) => return Err(why),
            Ok(run) => run,
        };
        let mut is_sure = true;
        for (name, turns) in &mut turns {
            let Some(m) = run.measurements.iter().find(|m| m.name == *name) else {
                return Err(format!("{emulator}: its guest has no program {name}"));
            };
            is_sure &= m.wall.as_secs_f64() > SURE_SECONDS;
            let more = options.seconds / m.wall.as_secs_f64().max(SURE_SECONDS);
            *turns = ((*turns as f64 * more).ceil() as u64).max(1);
        }
        if is_sure {
            break;
        }
    }
    Ok(Some(Entrant { emulator, plan: plan(&turns) }))
}

/// One kernel's guest, if it is there; says if it is not.
fn boot(options: &Options, program: &Program, folder: &Path) -> Result<Option<Guest>> {
    let Work::Boot(kernel) = program.work else { return Ok(None) };
    let kernel = options.guests.join(kernel);
    if !kernel.exists() {
        eprintln!("no {}: run tests/guests/fetch", kernel.display());
        return Ok(None);
    }
    Guest::linux(program.name, &kernel, &options.guests.join("initrd-amd64.gz"), folder).map(Some)
}

/// The guest that does the chosen traffic through `card`, if any is chosen and it is there.
fn carrier(options: &Options, card: &str, peer: &Peer, folder: &Path) -> Result<Option<Guest>> {
    let does = |p: &&&Program| matches!(p.work, Work::Traffic(its) if its == card);
    let names: Vec<_> = options.programs.iter().filter(does).map(|p| p.name).collect();
    if names.is_empty() {
        return Ok(None);
    }
    if !options.guests.join("initrd-amd64.gz").exists() {
        eprintln!("no guests in {}: run tests/guests/fetch", options.guests.display());
        return Ok(None);
    }
    let traffic = Traffic::new(&options.guests, card, &names, peer, folder)?;
    Guest::traffic(card, traffic, folder).map(Some)
}

/// Runs everything on all that are there, as often as is wanted. They take turns, so that a change
/// of the host's load meets all. A run that fails is told and left out.
fn measure(options: &Options, folder: &Path) -> Result<Results> {
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut failures = Vec::new();
    let mut entrants = Vec::new();
    for emulator in emulators(&options.emulators)? {
        match enter(options, emulator, folder) {
            Ok(entrant) => entrants.extend(entrant),
            Err(why) => failures.push(told(why)),
        }
    }
    let mut runs = Vec::new();
    let mut run = |number: usize, emulator: &Emulator, guest: &Guest| {
        eprintln!("{}, run {number} of {}: {emulator}", guest.name, options.runs);
        match watch::run(emulator, guest) {
            Ok(run) => runs.push((emulator.clone(), run)),
            Err(why) => failures.push(told(why.into())),
        }
    };
    for number in 1..=options.runs {
        for entrant in entrants.iter().filter(|entrant| !entrant.plan.is_empty()) {
            run(number, &entrant.emulator, &Guest::programs(&entrant.plan, folder)?);
        }
    }
    for program in &options.programs {
        let Some(guest) = boot(options, program, folder)? else { continue };
        for number in 1..=options.runs {
            for entrant in entrants.iter().filter(|e| e.emulator != Emulator::Native) {
                run(number, &entrant.emulator, &guest);
            }
        }
    }
    let peer = Peer::new()?;
    for card in ["virtio", "e1000"] {
        let Some(guest) = carrier(options, card, &peer, folder)? else { continue };
        for number in 1..=options.runs {
            for entrant in entrants.iter().filter(|e| e.emulator.has_cards()) {
                run(number, &entrant.emulator, &guest);
            }
        }
    }
    let emulators = entrants.into_iter().map(|entrant| entrant.emulator).collect();
    let programs = options.programs.clone();
    Ok(Results { time: options.time, emulators, programs, runs, failures })
}

/// Says a failure as soon as it happens.
fn told(why: String) -> String {
    eprintln!("failed: {why}");
    why
}

fn compare(options: &Options) -> Result<()> {
    let folder = env::temp_dir().join(format!("trine-benches-{}", std::process::id()));
    let results = measure(options, &folder);
    let _ = fs::remove_dir_all(&folder);
    let results = results?;
    print!("{}", table::tables(&results));
    if let Some(path) = &options.json {
        fs::write(path, format!("{:#}\n", table::json(&results)))
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    results.agree()?;
    match results.failures.len() {
        0 => Ok(()),
        n => Err(format!("{n} runs failed")),
    }
}

fn main() -> ExitCode {
    let outcome = Options::parse(env::args().skip(1)).and_then(|options| compare(&options));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
