//! How fast Trine runs a guest, as ratios against Bochs (and QEMU's translator, for comparison) on
//! the same guest in the same run: loops of known length, and a Debian kernel up to its initramfs.
//!
//! `cargo run --release -p trine-benches` prints a table. Times are between marks that the guest
//! prints on COM1, medians of several runs that take turns. On a host that is busy with other work,
//! compare by `--time cpu`: how long the emulator's threads ran.
//!
//! Nothing here is asserted about time. That all emulators compute the same is.
#![forbid(unsafe_code)]

mod emulator;
mod image;
mod table;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use emulator::{Emulator, Guest, Measurement};
use image::Result;

const HELP: &str = "\
usage: trine-benches [--runs N] [--time wall|cpu] [--only loops|kernel] [--guests DIR]
                     [--emulators LIST]

  --runs N          how often each emulator runs each guest (3); the median counts
  --time wall|cpu   the host's clock, or the time that the emulator's threads ran (wall)
  --only WHAT       only the loops, or only the kernel
  --guests DIR      what tests/guests/fetch made (guests-cache)
  --emulators LIST  of trine, bochs, qemu (all that are installed); bochs is what ratios refer to";

/// Which time counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Time {
    Wall,
    Cpu,
}

struct Options {
    runs: usize,
    time: Time,
    only: Option<String>,
    guests: PathBuf,
    emulators: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            runs: 3,
            time: Time::Wall,
            only: None,
            guests: env::var_os("TRINE_GUESTS")
                .map_or_else(|| root().join("guests-cache"), PathBuf::from),
            emulators: ["trine", "bochs", "qemu"].map(str::to_owned).to_vec(),
        };
        while let Some(option) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{option} wants a value"));
            match option.as_str() {
                "--runs" => {
                    let runs = value()?.parse().ok().filter(|&n| n > 0);
                    options.runs = runs.ok_or("--runs wants a number above 0")?;
                }
                "--time" => {
                    options.time = match value()?.as_str() {
                        "wall" => Time::Wall,
                        "cpu" => Time::Cpu,
                        _ => return Err("--time is wall or cpu".to_owned()),
                    }
                }
                "--only" => options.only = Some(value()?),
                "--guests" => options.guests = value()?.into(),
                "--emulators" => {
                    options.emulators = value()?.split(',').map(str::to_owned).collect();
                }
                _ => return Err(HELP.to_owned()),
            }
        }
        Ok(options)
    }

    fn wants(&self, what: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == what)
    }
}

/// The emulators that are wanted and there; says of those that are not how to get them.
fn emulators(wanted: &[String]) -> Result<Vec<Emulator>> {
    let mut found = Vec::new();
    for name in wanted {
        match name.as_str() {
            "trine" => {
                let binary = build_trine()?;
                found.push(Emulator::Trine { binary, engine: "interp".to_owned() });
            }
            "bochs" if !is_installed("bochs-bin") || !Path::new(image::BOCHS_BIOS).exists() => {
                eprintln!("no bochs: apt-get install bochs bochsbios; without it, no ratios");
            }
            "bochs" => found.push(Emulator::Bochs),
            "qemu" if !is_installed("qemu-system-x86_64") => {
                eprintln!("no qemu: apt-get install qemu-system-x86");
            }
            "qemu" => found.push(Emulator::Qemu),
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

/// The guests that are wanted and there.
fn guests(options: &Options, folder: &Path) -> Result<Vec<Guest>> {
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut guests = Vec::new();
    if options.wants("loops") {
        guests.push(Guest::new("loops", folder, &image::loops(folder)?, "@all done")?);
    }
    let kernel = options.guests.join("cloud/vmlinuz");
    if options.wants("kernel") && kernel.exists() {
        let initrd = options.guests.join("initrd-amd64.gz");
        let parts = image::linux(folder, &kernel, &initrd)?;
        guests.push(Guest::new("kernel", folder, &parts, "READY ")?);
    } else if options.wants("kernel") {
        eprintln!("no kernel in {}: run tests/guests/fetch", options.guests.display());
    }
    Ok(guests)
}

/// Runs all guests on all emulators, as often as is wanted.
fn measure(
    options: &Options,
    emulators: &[Emulator],
    folder: &Path,
) -> Result<Vec<(Emulator, Measurement)>> {
    let mut runs = Vec::new();
    for guest in guests(options, folder)? {
        for run in 1..=options.runs {
            // They take turns, so that a change of the host's load meets all.
            for emulator in emulators {
                eprintln!("{}, run {run} of {}: {emulator}", guest.name, options.runs);
                let measurements = emulator.run(&guest)?;
                runs.extend(measurements.into_iter().map(|m| (emulator.clone(), m)));
            }
        }
    }
    Ok(runs)
}

fn compare(options: &Options) -> Result<()> {
    let emulators = emulators(&options.emulators)?;
    let folder = env::temp_dir().join(format!("trine-benches-{}", std::process::id()));
    let runs = measure(options, &emulators, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    let runs = runs?;
    print!("{}", table::table(&emulators, &runs, options.time));
    table::same_results(&runs)
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
