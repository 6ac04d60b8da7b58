//! `trine compare`: one guest under every engine of this host, as a table and as a page.
//!
//! Each engine runs the guest once, with its events counted, and then the built-in measuring guest
//! without, so that counting is in nobody's nanoseconds. What comes out is a [`Comparison`]: plain
//! data, from which the table, the page and the JSON are made.

mod costs;
mod milestones;
mod page;
mod plot;
mod table;
mod words;

use std::{path::PathBuf, time::Duration};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use trine_engine::EngineError;
use trine_x86::Feature;

use crate::{
    Config, EngineKind, Guest, Limits, Machine, MachineError, MachineStats, cli::GuestArgs,
    create_engine,
};

pub use costs::{Cost, Kind, Operation, operation};
pub use milestones::{Listener, Milestone};
pub use page::page;
pub use table::table;

/// `trine compare`.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// The engines to compare, with commas between them: interp, translate, kvm. Otherwise all that
    /// this host has.
    #[arg(long, value_name = "A,B", value_enum, value_delimiter = ',')]
    pub engines: Vec<EngineKind>,
    /// The guest and its machine.
    #[command(flatten)]
    pub guest: GuestArgs,
    /// Where the page goes.
    #[arg(long, value_name = "FILE", default_value = "trine-compare.html")]
    pub html: PathBuf,
    /// Write everything as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Note when this text first appears on the serial port. Repeatable.
    #[arg(long, value_name = "TEXT")]
    pub milestone: Vec<String>,
    /// Each engine gets so many seconds of host time for the guest.
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0)]
    pub time_limit: f64,
    /// Leave the measuring guest out.
    #[arg(long)]
    pub no_costs: bool,
    /// Show what the guests say, on standard error.
    #[arg(short, long)]
    pub verbose: bool,
}

/// One guest under several engines.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// The version of this shape; 1. Fields are only ever added.
    pub schema: u32,
    /// The version of Trine.
    pub version: &'static str,
    /// The guest, in words.
    pub guest: String,
    /// The host: operating system, architecture, CPUs.
    pub host: String,
    /// A row for each engine, the fastest kind first.
    pub engines: Vec<EngineRun>,
}

/// What one engine did.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct EngineRun {
    /// `interp`, `translate` or `kvm`.
    pub engine: &'static str,
    /// Why it did not run, if so; all that follows is then empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// What `--stats` would write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<MachineStats>,
    /// What appeared when on the serial port, in order.
    pub milestones: Vec<Milestone>,
    /// What the measuring guest said.
    pub costs: Vec<Cost>,
    /// Why there are no costs, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costs_missing: Option<String>,
}

impl EngineRun {
    fn skipped(engine: &'static str, why: String) -> Self {
        let (stats, milestones, costs) = (None, Vec::new(), Vec::new());
        Self { engine, skipped: Some(why), stats, milestones, costs, costs_missing: None }
    }
}

impl Comparison {
    /// The engines that ran, with their statistics.
    pub fn ran(&self) -> impl Iterator<Item = (&EngineRun, &MachineStats)> {
        self.engines.iter().filter_map(|run| Some((run, run.stats.as_ref()?)))
    }

    /// The worst exit status of all guests.
    #[must_use]
    pub fn status(&self) -> u8 {
        self.ran().filter_map(|(_, stats)| stats.status).max().unwrap_or(1)
    }
}

/// The measuring guest takes seconds; where each exit is slow, a minute.
const MEASURING: Duration = Duration::from_secs(180);

/// Does it all; `print` gets the table.
///
/// # Errors
/// One line, if the options make no sense, no engine runs the guest, or a file cannot be written.
pub fn compare(
    args: &CompareArgs,
    print: impl Fn(&str) -> Result<(), String>,
) -> Result<u8, String> {
    args.guest.check()?;
    if !(args.time_limit > 0.0 && args.time_limit < 1e9) {
        return Err("--time-limit takes a number of seconds above 0".into());
    }
    let comparison = run_all(args)?;
    print(&table(&comparison))?;
    write("--html", &args.html, &page(&comparison))?;
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&comparison);
        write("--json", path, &(json.map_err(|e| format!("--json: {e}"))? + "\n"))?;
    }
    print(&format!("\nThe page with plots is {}\n", args.html.display()))?;
    Ok(comparison.status())
}

fn write(option: &str, path: &std::path::Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{option} {}: {e}", path.display()))
}

fn run_all(args: &CompareArgs) -> Result<Comparison, String> {
    let wanted = |kind: &EngineKind| args.engines.is_empty() || args.engines.contains(kind);
    let mut engines = Vec::new();
    for kind in EngineKind::ALL.into_iter().filter(wanted) {
        engines.push(match kind.missing() {
            Some(why) => EngineRun::skipped(kind.name(), why.into()),
            None => run(kind, args)?,
        });
    }
    let none = engines.iter().all(|run| run.skipped.is_some());
    if let Some(why) = engines.iter().find_map(|run| run.skipped.as_ref()).filter(|_| none) {
        return Err(format!("no engine can run this guest: {why} (see trine probe)"));
    }
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(Comparison {
        schema: 1,
        version: env!("CARGO_PKG_VERSION"),
        guest: words_of(&args.guest),
        host: format!("{} on {}, {cpus} CPUs", std::env::consts::OS, std::env::consts::ARCH),
        engines,
    })
}

/// The guest in words.
fn words_of(guest: &GuestArgs) -> String {
    let name = |path: &PathBuf| {
        path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    };
    match (&guest.kernel, &guest.firmware) {
        (Some(kernel), _) => match &guest.append {
            Some(append) => format!("{} with \u{201c}{append}\u{201d}", name(kernel)),
            None => name(kernel),
        },
        (_, Some(firmware)) => format!("the firmware {}", name(&firmware.file)),
        _ => "the built-in demonstration guest".into(),
    }
}

/// One engine's turn.
fn run(kind: EngineKind, args: &CompareArgs) -> Result<EngineRun, String> {
    let engine = kind.name();
    let listener = Listener::new(&args.milestone);
    let config = args.guest.config()?;
    let config = Config {
        guest: config.guest.of_many(),
        serial: Some(Box::new(listener.clone())),
        no_reboot: true,
        count_events: true,
        disks: args.guest.disks_of_many(),
        nets: args.guest.nets_of(engine),
        ..config
    };
    let mut machine = match Machine::new(config, |ram| create_engine(kind, ram)) {
        Err(MachineError::Engine(
            e @ (EngineError::Refused { .. } | EngineError::Unavailable { .. }),
        )) => return Ok(EngineRun::skipped(engine, e.to_string())),
        Err(e @ MachineError::NoCount(_)) => {
            return Ok(EngineRun::skipped(engine, e.to_string()));
        }
        machine => machine.map_err(|e| e.to_string())?,
    };
    let progress = progress(format!("{engine}: runs the guest"));
    let limit = Duration::from_secs_f64(args.time_limit);
    listener.start();
    let ending = machine.run(Limits { host_time: Some(limit), ..Limits::default() });
    let milestones = listener.end();
    progress.finish_and_clear();
    let stats = machine.stats(Some(&ending.map_err(|e| e.to_string())?));
    if args.verbose {
        eprintln!("--- {engine} ---\n{}", listener.text());
    }
    let costs = if args.no_costs { Ok(Vec::new()) } else { measure(kind, args) };
    let (costs, costs_missing) = match costs {
        Ok(costs) => (costs, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    Ok(EngineRun { engine, skipped: None, stats: Some(stats), milestones, costs, costs_missing })
}

/// What the measuring guest says.
fn measure(kind: EngineKind, args: &CompareArgs) -> Result<Vec<Cost>, String> {
    let guest = &args.guest;
    let config = Config {
        cpu: trine_x86::CpuModel::named(&guest.cpu).map_err(|e| e.to_string())?,
        clock: guest.clock,
        guest: Guest::Measurement,
        no_reboot: true,
        ..Config::default()
    };
    if !config.cpu.has(Feature::Lm) || !config.cpu.has(Feature::Apic) {
        return Err(format!(
            "the measuring guest needs long mode, which --cpu {} lacks",
            guest.cpu
        ));
    }
    let progress = progress(format!("{}: measures what instructions cost", kind.name()));
    let machine = Machine::new(config, |ram| create_engine(kind, ram));
    let mut machine = machine.map_err(|e| e.to_string())?;
    let ending = machine.run(Limits { host_time: Some(MEASURING), ..Limits::default() });
    progress.finish_and_clear();
    let ending = ending.map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&machine.serial()).into_owned();
    if args.verbose {
        eprintln!("--- {}: the measuring guest ---\n{text}", kind.name());
    }
    costs::parse(&text)
        .ok_or_else(|| format!("the measuring guest did not get to its end: {ending}"))
}

/// Says what goes on, where a terminal watches.
fn progress(what: String) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
