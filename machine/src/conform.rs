//! `trine conform`: opens a suite, runs it on the engines of this host, reports.

use std::{
    fmt::Write as _,
    fs::File,
    io::{IsTerminal, Write as _},
    num::{NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, ValueEnum};
use trine_engine::{Engine, EngineError};
use trine_firmware::{Boot, Entry, Module};
use trine_guest::{Gpa, Ram};
use trine_testsuites::{
    Candidate, Expected, Options, Report, Shard, Suite,
    float::Float,
    host::Host,
    kvm_unit_tests::KvmUnitTests,
    pc::{self, Image, Outcome},
    sectors::Sectors,
    single_step::{Kind, SingleStep},
    streams::Streams,
    test386::Test386,
    vectors::Vectors,
};
use trine_translate::{Families, Translate};
use trine_x86::{BLOCK_INSNS, CpuModel};

use crate::{Capture, Config, Ending, EngineKind, Guest, Limits, Machine, create_engine};

/// Which suite, on what, and where the results go.
#[derive(Args, Debug)]
pub struct ConformArgs {
    /// The suite; without one, they are listed.
    pub suite: Option<SuiteKind>,
    /// The suite's data; see the list of suites.
    pub path: Option<PathBuf>,
    /// Run on this engine alone; otherwise on every one that this host has.
    #[arg(long, value_enum, default_value_t = Subject::Auto)]
    pub engine: Subject,
    /// Only part I of N; a scheduler's variables (Slurm, GitLab, `CircleCI`, Buildkite, Bazel,
    /// MPI and others) are heard too.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Only groups whose name contains this.
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// The seed of suites that draw their cases.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// How many cases such a suite draws (float: for each operation).
    #[arg(long, value_name = "N", default_value = "1000000")]
    pub cases: NonZeroU64,
    /// How many threads; otherwise one for each CPU of the host.
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// Known failures, instead of the list that is built in.
    #[arg(long, value_name = "FILE")]
    pub expected: Option<PathBuf>,
    /// Write the results to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the results to this file, as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// `--engine`: those of `trine run`, and one that is for tests only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Subject {
    /// Every engine that this host has.
    Auto,
    /// The interpreter.
    Interp,
    /// The translator.
    Translate,
    /// What the translator has lifted, without a backend that makes code of it.
    Evaluate,
    /// The host's CPU.
    Kvm,
}

/// The suites. `testsuites/fetch` brings the data of those that are not ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum SuiteKind {
    /// All of them; PATH is a folder that holds their data under the names below.
    All,
    /// Each user's instruction form on the host's CPU and on the engines, from the same states:
    /// see --seed and --cases.
    Host,
    /// The softfloat crate against the host's x87 and SSE units: see --seed and --cases.
    Float,
    /// Random streams of instructions in all modes, as a whole and step by step: see --seed; there
    /// is one for each hundred of --cases.
    Streams,
    /// One-line instruction vectors: PATH is a file, or a folder of .ins files.
    Vectors,
    /// What an 8086 did: PATH is a checkout of SingleStepTests/8086, or a folder of its .MOO files.
    #[value(name = "sst-8086")]
    Sst8086,
    /// What an 80286 did in real mode: PATH is a checkout of SingleStepTests/80286.
    #[value(name = "sst-80286")]
    Sst80286,
    /// Boot sectors that check what lenient emulators get wrong; they are built in.
    Sectors,
    /// test386.asm: PATH is a checkout in which its ROM was built.
    Test386,
    /// Guests that test a CPU from the inside: PATH is a checkout of kvm-unit-tests that you built,
    /// or a folder of several.
    KvmUnitTests,
}

impl SuiteKind {
    /// The suites, without `all`.
    const SUITES: [Self; 9] = [
        Self::Host,
        Self::Float,
        Self::Streams,
        Self::Vectors,
        Self::Sst8086,
        Self::Sst80286,
        Self::Sectors,
        Self::Test386,
        Self::KvmUnitTests,
    ];

    /// Where `all` looks for its data below PATH, and where that comes from; `None` if it needs
    /// none.
    fn data(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::All | Self::Host | Self::Float | Self::Streams | Self::Sectors => None,
            Self::Vectors => Some((
                "vectors",
                "testsuites/fetch FOLDER vectors, or tests/vectors in Trine's repository",
            )),
            Self::Sst8086 => Some(("sst-8086", "testsuites/fetch FOLDER sst-8086")),
            Self::Sst80286 => Some(("sst-80286", "testsuites/fetch FOLDER sst-80286")),
            Self::Test386 => Some(("test386", "testsuites/fetch FOLDER test386")),
            Self::KvmUnitTests => {
                Some(("kvm-unit-tests", "testsuites/fetch FOLDER kvm-unit-tests"))
            }
        }
    }

    /// Whether it can do without a count of instructions.
    fn suits_kvm(self) -> bool {
        matches!(self, Self::Vectors | Self::Sectors | Self::Test386 | Self::KvmUnitTests)
    }

    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |v| v.get_name().into())
    }

    fn help(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|v| v.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    fn open<'a>(self, path: Option<&Path>, args: &ConformArgs, pc: &'a dyn pc::Pc) -> Opened<'a> {
        if let (Some(path), None) = (path, self.data()) {
            return Err(format!("{} takes no path, yet there is {}", self.name(), path.display()));
        }
        let path = || {
            path.ok_or_else(|| {
                let (_, source) = self.data().unwrap_or_default();
                format!("{} needs a path: trine conform {0} PATH ({source})", self.name())
            })
        };
        Ok(match self {
            Self::All => return Err("the suite 'all' is several".into()),
            Self::Host => Box::new(Host::new(args.seed, args.cases.get())?),
            Self::Float => Box::new(Float::new(args.seed, args.cases.get())?),
            Self::Streams => Box::new(streams(args)?),
            Self::Vectors => Box::new(Vectors::open(path()?)?),
            Self::Sst8086 => Box::new(SingleStep::open(Kind::I8086, path()?)?),
            Self::Sst80286 => Box::new(SingleStep::open(Kind::I80286, path()?)?),
            Self::Sectors => Box::new(Sectors::new(pc)),
            Self::Test386 => Box::new(Test386::open(path()?, pc)?),
            Self::KvmUnitTests => Box::new(KvmUnitTests::open(path()?, pc)?),
        })
    }
}

/// The streams of the arguments, held against the interpreter.
fn streams(args: &ConformArgs) -> Result<Streams, String> {
    let streams = Streams::new(args.seed, args.cases.get().div_ceil(100))?;
    let interp = Candidate::new("interp", |ram| create_engine(EngineKind::Interp, ram));
    Ok(streams.against(interp))
}

type Opened<'a> = Result<Box<dyn Suite + 'a>, String>;

/// The engines of this host that count instructions, as most suites want it, as candidates; the
/// first is the interpreter.
#[must_use]
pub fn candidates() -> Vec<Candidate> {
    let counts = |kind: &EngineKind| *kind != EngineKind::Kvm && kind.missing().is_none();
    let engines = EngineKind::ALL.into_iter().filter(counts).rev();
    engines.flat_map(tried).chain([evaluator()]).collect()
}

/// Those that fit a suite: a PC has each engine once, as its users have it, unless it was asked for
/// another.
#[must_use]
pub fn of_suite<'a>(suite: &dyn Suite, candidates: &'a [Candidate]) -> &'a [Candidate] {
    let on_pc = [SuiteKind::Sectors, SuiteKind::Test386, SuiteKind::KvmUnitTests];
    let mut fit = candidates;
    while on_pc.iter().any(|kind| kind.name() == suite.name())
        && let [rest @ .., last] = fit
        && !rest.is_empty()
        && [ONE, EVALUATE].contains(&last.name)
    {
        fit = rest;
    }
    fit
}

/// The translator with a block for each instruction.
const ONE: &str = "translate-1";

/// The translator without a backend.
const EVALUATE: &str = "evaluate";

/// How an engine is tried. Cases are short: the translator translates all that it sees at once, in
/// whole blocks (`translate`) and with a block for each instruction (`translate-1`).
fn tried(kind: EngineKind) -> Vec<Candidate> {
    let eager = |name, steps| {
        Candidate::new(name, move |ram| Ok(Arc::new(Translate::new(ram)?.eager(steps))))
    };
    match kind {
        EngineKind::Translate => {
            vec![eager("translate", BLOCK_INSNS), eager(ONE, 1)]
        }
        _ => vec![Candidate::new(kind.name(), move |ram| create_engine(kind, ram))],
    }
}

/// How an engine is tried with one instruction.
pub(crate) fn alone(kind: EngineKind) -> Candidate {
    let mut ways = tried(kind);
    ways.swap_remove(ways.len() - 1)
}

/// Tells apart who is wrong, where the translator is.
fn evaluator() -> Candidate {
    Candidate::new(EVALUATE, |ram| Ok(Arc::new(Translate::evaluated(ram)?.eager(BLOCK_INSNS))))
}

/// The candidates that were asked for.
fn asked_for(subject: Subject) -> Result<Vec<Candidate>, String> {
    let kind = match subject {
        Subject::Auto => return Ok(candidates()),
        Subject::Evaluate => return Ok(vec![evaluator()]),
        Subject::Interp => EngineKind::Interp,
        Subject::Translate => EngineKind::Translate,
        Subject::Kvm => EngineKind::Kvm,
    };
    match kind.missing() {
        None => Ok(tried(kind)),
        Some(why) => Err(format!("the {} engine is not available: {why}", kind.name())),
    }
}

/// The engine of a candidate's name as a PC has it.
fn on_pc(name: &str, ram: Arc<Ram>) -> Result<Arc<dyn Engine>, EngineError> {
    let name = if name == ONE { EngineKind::Translate.name() } else { name };
    match EngineKind::ALL.into_iter().find(|kind| kind.name() == name) {
        Some(kind) => create_engine(kind, ram),
        None => Ok(Arc::new(Translate::evaluated(ram)?)),
    }
}

/// Runs what was asked for. Its report goes to standard output; true if all is as it should be.
///
/// # Errors
/// If the suite cannot be opened or a file not be written: one line.
pub fn conform(
    args: &ConformArgs,
    print: impl Fn(&str) -> Result<(), String>,
) -> Result<bool, String> {
    let Some(kind) = args.suite else {
        print(&list())?;
        return Ok(true);
    };
    let candidates = asked_for(args.engine)?;
    if args.engine == Subject::Kvm && !kind.suits_kvm() {
        let suits = SuiteKind::SUITES.into_iter().filter(|kind| kind.suits_kvm());
        return Err(format!(
            "{} takes an engine that counts instructions; with --engine kvm there are {}",
            kind.name(),
            suits.map(SuiteKind::name).collect::<Vec<_>>().join(", ")
        ));
    }
    // Else every group would say so.
    Families::from_environment()?;
    let options = options(args)?;
    // A suite or a file that cannot be opened is told before hours have passed.
    let mut report = Report::default();
    let suites = match kind {
        SuiteKind::All => all(args, &mut report)?,
        one => vec![one.open(args.path.as_deref(), args, &RealPc)?],
    };
    let json = args.json.as_deref().map(create).transpose()?;
    let junit = args.junit.as_deref().map(create).transpose()?;
    for suite in suites {
        if kind == SuiteKind::All && std::io::stderr().is_terminal() {
            eprintln!("trine: {}", suite.name());
        }
        report.append(trine_testsuites::run(&*suite, of_suite(&*suite, &candidates), &options));
    }
    if report.groups.is_empty() && options.shard == Shard::ALL {
        let filter = args.filter.as_deref().unwrap_or_default();
        return Err(format!("no group's name contains '{filter}' (--json lists them all)"));
    }
    print(&report.text())?;
    if let Some(file) = json {
        write(file, &report.json().map_err(|e| e.to_string())?)?;
    }
    if let Some(file) = junit {
        write(file, &report.junit()?)?;
    }
    Ok(report.good())
}

/// Every suite that has its data below PATH; the report says what is missing.
fn all<'a>(args: &ConformArgs, report: &mut Report) -> Result<Vec<Box<dyn Suite + 'a>>, String> {
    let Some(folder) = &args.path else {
        return Err("all needs a path: trine conform all FOLDER (see trine conform)".into());
    };
    if !folder.is_dir() {
        return Err(format!("{} is no folder", folder.display()));
    }
    let mut suites = Vec::new();
    for kind in SuiteKind::SUITES {
        let path = kind.data().map(|(name, source)| (folder.join(name), source));
        if let Some((path, source)) = &path
            && !path.exists()
        {
            let name = kind.name();
            let remark = format!("{name}: skipped, there is no {} ({source})", path.display());
            report.remarks.push(remark);
            continue;
        }
        match kind.open(path.as_ref().map(|(path, _)| path.as_path()), args, &RealPc) {
            Ok(suite) => suites.push(suite),
            // A suite without data is for hosts that have what it takes.
            Err(why) if path.is_none() => {
                report.remarks.push(format!("{}: skipped, {why}", kind.name()));
            }
            Err(why) => return Err(format!("{}: {why}", kind.name())),
        }
    }
    Ok(suites)
}

fn options(args: &ConformArgs) -> Result<Options, String> {
    let mut options = Options { filter: args.filter.clone(), ..Options::default() };
    options.shard = match args.shard {
        Some(shard) => shard,
        None => {
            Shard::from_scheduler(|name| std::env::var(name).ok()).map_err(|e| e.to_string())?
        }
    };
    if let Some(jobs) = args.jobs {
        options.jobs = jobs;
    }
    if let Some(path) = &args.expected {
        let failed = |e: String| format!("--expected {}: {e}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
        options.expected = Expected::parse(&text).map_err(|e| failed(e.to_string()))?;
        for (suite, engine) in options.expected.subjects() {
            if !SuiteKind::SUITES.iter().any(|kind| kind.name() == suite) {
                return Err(failed(format!("there is no suite {suite}")));
            }
            let engines = || EngineKind::ALL.iter().map(|kind| kind.name());
            if !engines().chain([EVALUATE, "*", "softfloat"]).any(|name| name == engine) {
                return Err(failed(format!("there is no engine {engine}")));
            }
        }
    }
    Ok(options)
}

fn list() -> String {
    let mut out = String::from("usage: trine conform SUITE [PATH] (see trine conform --help)\n\n");
    for kind in SuiteKind::value_variants() {
        let _ = writeln!(out, "{:<16} {}", kind.name(), kind.help());
        if let Some((name, source)) = kind.data() {
            let _ = writeln!(out, "{:<16}   in 'all': FOLDER/{name}; {source}", "");
        }
    }
    out
}

fn create(path: &Path) -> Result<(&Path, File), String> {
    let file = File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok((path, file))
}

fn write((path, mut file): (&Path, File), text: &str) -> Result<(), String> {
    file.write_all(text.as_bytes()).map_err(|e| format!("{}: {e}", path.display()))
}

/// Our PC, as suites see it.
pub struct RealPc;

impl pc::Pc for RealPc {
    fn boot(&self, engine: &str, guest: &pc::Guest) -> Result<Outcome, String> {
        let debug_console = Capture::default();
        let config = Config {
            cpu: CpuModel::named(&guest.cpu).map_err(|e| e.to_string())?,
            cpus: guest.cpus,
            memory: guest.memory,
            guest: match &guest.image {
                Image::Kernel { kernel, append, initrd } => Guest::Linux {
                    kernel: kernel.clone(),
                    modules: initrd.iter().cloned().map(Module::from).collect(),
                    append: append.clone(),
                },
                Image::Firmware(image) => Guest::Firmware(image.clone().into()),
                Image::Sector(sector) => Guest::Raw(Boot {
                    segments: vec![(Gpa(0x7c00), sector.clone())],
                    entry: Entry::Real { cs: 0, ip: 0x7c00 },
                }),
            },
            debug_console: Some(Box::new(debug_console.clone())),
            debug_exit: guest.debug_exit,
            post_port: guest.post_port,
            end_on_halt: guest.end_on_halt,
            test_device: guest.test_device,
            no_reboot: true,
            ..Config::default()
        };
        let mut machine =
            Machine::new(config, |ram| on_pc(engine, ram)).map_err(|e| e.to_string())?;
        let limits = Limits { host_time: Some(guest.time_limit), ..Limits::default() };
        let ending = machine.run(limits).map_err(|e| e.to_string())?;
        Ok(Outcome {
            serial: machine.serial(),
            debug_console: debug_console.bytes(),
            post_codes: machine.board().describe(|chips| {
                chips.pc().map(|pc| pc.post_code.codes().to_vec()).unwrap_or_default()
            }),
            ending: match ending {
                Ending::PowerOff => pc::Ending::PowerOff,
                Ending::DebugExit(status) => pc::Ending::DebugExit(status),
                Ending::Halted => pc::Ending::Halted,
                Ending::HostTime => pc::Ending::TimeLimit,
                other => pc::Ending::Reset(other.to_string()),
            },
        })
    }
}
