//! The `trine` command.
#![forbid(unsafe_code)]

use std::{
    io::Write,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use trine_engine::{Engine, EngineError};
use trine_guest::Ram;
use trine_machine::{
    ClockKind, Config, Ending, EngineKind, Limits, Machine, MachineError, Port, Probe, Remote,
    Request, Schedule,
    cli::{Cli, Command, CtlArgs, Display, EngineChoice, RunArgs, Serial, unix_seconds},
    compare::compare,
    conform::conform,
    console::{self, Line, RawTerminal},
    create_best_engine, create_engine,
    ctl::{self, CtlServer, Outcome},
    disk::image,
    lockstep::lockstep,
    seat::{Monitor, Typist},
    socket::Socket,
    terminal::{Front, Sides},
    vnc::VncServer,
};

/// A usage or host error.
const FAILED: u8 = 1;
/// A conformance suite found something.
const BAD: u8 = 2;
/// The demonstration takes this long at most.
const DEMONSTRATION: Duration = Duration::from_secs(120);
/// How long somebody who leaves waits for whoever reads what the guest has sent.
const LEAVING: Duration = Duration::from_secs(2);

/// An error as one line for the user.
type Failure = String;

fn main() -> ExitCode {
    let filters = ["TRINE_LOG", "RUST_LOG"].iter().find_map(|name| std::env::var(name).ok());
    env_logger::Builder::new().parse_filters(filters.as_deref().unwrap_or("warn")).init();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage(&e),
    };
    let result = match cli.command {
        None => {
            console::end_on_second_panic(FAILED);
            demonstrate()
        }
        Some(Command::Run(args)) => {
            console::end_on_second_panic(FAILED);
            run(&args)
        }
        Some(Command::Probe { json }) => probe(json),
        Some(Command::Compare(args)) => {
            console::end_on_second_panic(FAILED);
            compare(&args, print)
        }
        Some(Command::Lockstep(args)) => lockstep(&args, print),
        Some(Command::Conform(args)) => {
            conform(&args, print).map(|good| if good { 0 } else { BAD })
        }
        Some(Command::Image(args)) => image(&args, print),
        Some(Command::Ctl(args)) => control(&args),
    };
    let status = result.unwrap_or_else(|failure| {
        eprintln!("trine: {failure}");
        FAILED
    });
    ExitCode::from(status)
}

/// A wrong command line as one line, help and version as they are.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Nobody is left to tell if standard output is closed.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let first: Vec<&str> =
        text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let line = first.join(" ");
    eprintln!("trine: {} (see trine --help)", line.strip_prefix("error: ").unwrap_or(&line));
    ExitCode::from(FAILED)
}

fn probe(json: bool) -> Result<u8, Failure> {
    let probe = Probe::of_this_host();
    let text = if json {
        let json = serde_json::to_string_pretty(&probe);
        json.map_err(|e| format!("the answer is no JSON: {e}"))? + "\n"
    } else {
        probe.text()
    };
    print(&text)?;
    Ok(0)
}

fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|e| format!("standard output is closed: {e}"))
}

/// Bare `trine`: the demonstration guest on every engine that this host has.
fn demonstrate() -> Result<u8, Failure> {
    let (mut worst, mut lines) = (0, String::new());
    for kind in EngineKind::ALL {
        if let Some(reason) = kind.missing() {
            eprintln!("trine: skipping the {} engine: {reason}", kind.name());
            continue;
        }
        let line = Line::open(&Serial::Stdio).map_err(|e| format!("no serial output: {e}"))?;
        let config = Config {
            serial: Some(line.peer()),
            no_reboot: true,
            unix_seconds: unix_seconds(ClockKind::Host),
            ..Config::default()
        };
        let mut machine = match Machine::new(config, |ram| create_engine(kind, ram)) {
            Err(MachineError::Engine(e @ EngineError::Refused { .. })) => {
                eprintln!("trine: skipping the {} engine: {e}", kind.name());
                continue;
            }
            machine => machine.map_err(|e| e.to_string())?,
        };
        print(&format!("--- the {} engine ---\n", kind.name()))?;
        let limits = Limits { host_time: Some(DEMONSTRATION), ..Limits::default() };
        let ending = machine.run(limits).map_err(|e| e.to_string())?;
        if let Some(output) = line.output() {
            output.flush(None);
        }
        let stats = machine.stats(Some(&ending));
        if ending != Ending::PowerOff {
            eprintln!("trine: {}: {ending}", kind.name());
        }
        worst = worst.max(ending.status());
        lines += &format!(
            "{:<10} {:>14} instructions in {:.3} s, {:.1} MIPS\n",
            kind.name(),
            stats.instructions,
            stats.wall_seconds,
            stats.mips
        );
    }
    print(&format!("--- results ---\n{lines}"))?;
    Ok(worst)
}

/// The engine that was asked for, or the best one.
fn engine(choice: EngineChoice, ram: Arc<Ram>) -> Result<Arc<dyn Engine>, EngineError> {
    if let Some(kind) = choice.named() {
        return create_engine(kind, ram);
    }
    let (engine, passed) = create_best_engine(&ram)?;
    let why = if passed.is_empty() { "it is the fastest".into() } else { passed.join("; ") };
    eprintln!("trine: using the {} engine ({why})", engine.name());
    Ok(engine)
}

/// `trine ctl`.
fn control(args: &CtlArgs) -> Result<u8, Failure> {
    match ctl::send(&args.socket, &args.command.order()?)? {
        Outcome::Done(text) => print(&text).map(|()| 0),
        Outcome::TimedOut(why) => {
            eprintln!("trine: {why}");
            Ok(BAD)
        }
    }
}

/// `trine run`.
fn run(args: &RunArgs) -> Result<u8, Failure> {
    args.check()?;
    let config = args.guest.config()?;
    let has_screen = args.display == Display::Terminal;
    let sides = has_screen.then(Sides::open).transpose();
    let sides =
        sides.map_err(|e| format!("--display terminal: there is none at standard input: {e}"))?;
    let line = Line::open_beside(&args.serial, sides.as_ref())
        .map_err(|e| format!("--serial cannot be opened: {e}"))?;
    let console = args.console.as_ref().map(Line::open).transpose();
    let console = console.map_err(|e| format!("--console cannot be opened: {e}"))?;
    let debug = Line::open(&args.debug_console)
        .map_err(|e| format!("--debug-console cannot be opened: {e}"))?;
    let lines = [Some(&line), console.as_ref(), Some(&debug)];
    let outputs: Vec<_> = lines.iter().flatten().filter_map(|line| line.output()).collect();
    let mut sockets: Vec<Socket> =
        lines.iter().flatten().filter_map(|line| line.socket()).map(Socket).collect();
    let config = Config {
        serial: Some(line.peer()),
        console: console.as_ref().map(Line::peer),
        debug_console: Some(debug.peer()),
        no_reboot: args.no_reboot,
        count_events: args.stats.is_some(),
        ..config
    };
    let mut machine =
        Machine::new(config, |ram| engine(args.engine, ram)).map_err(|e| e.to_string())?;
    let no_console = |e: std::io::Error| format!("the console cannot be used: {e}");
    let looks = Looks::start(args, &machine.remote(), &mut sockets)?;
    console::clean_up_on_signals(sockets.iter().map(|s| s.0.clone()).collect())
        .map_err(no_console)?;
    let has_terminal =
        has_screen || [Some(&args.serial), args.console.as_ref()].contains(&Some(&Serial::Stdio));
    let terminal = if has_terminal { RawTerminal::enter().map_err(no_console)? } else { None };
    let front = looks.zip(sides).map(|(looks, sides)| looks.show(&sides, args, machine.remote()));
    let front = front.transpose().map_err(no_console)?;
    line.start(machine.remote(), Port::Serial).map_err(no_console)?;
    if let Some(console) = console {
        console.start(machine.remote(), Port::Console).map_err(no_console)?;
    }
    let ending = run_to_end(&mut machine, args);
    // Whoever wants to leave does not wait for a reader who may have stopped to read.
    let is_asked = matches!(ending, Ok(Ending::Asked(_)));
    for output in &outputs {
        if !output.flush(is_asked.then_some(LEAVING)) && is_asked {
            log::warn!("the end of the guest's output is lost: nobody has read it");
        }
    }
    drop((front, terminal));
    let ending = ending?;
    if ending.status() != 0 {
        eprintln!("trine: {ending}");
    }
    let written = args.stats.as_ref().map_or(Ok(()), |path| write_stats(path, &machine, &ending));
    machine.close();
    written.map(|()| ending.status())
}

/// What people and programs look at the machine with, and type by.
struct Looks {
    monitor: Arc<Monitor>,
    typist: Arc<Typist>,
}

impl Looks {
    /// Listens for viewers and for `trine ctl`, where `args` say; adds to `sockets`. `None` if nobody
    /// is to look.
    fn start(
        args: &RunArgs,
        remote: &Remote,
        sockets: &mut Vec<Socket>,
    ) -> Result<Option<Self>, Failure> {
        if args.display == Display::None && args.ctl.is_none() {
            return Ok(None);
        }
        let monitor = Arc::new(Monitor::new(remote.seat()));
        let typist = Typist::new(remote.seat());
        let typist = Arc::new(typist.map_err(|e| format!("the host has no thread: {e}"))?);
        if let Display::Vnc(options) = &args.display {
            let socket = VncServer::start(options, monitor.clone(), typist.clone())?;
            sockets.extend(socket.map(Socket));
            eprintln!("trine: VNC viewers find the guest at {}", options.address);
        }
        if let Some(path) = &args.ctl {
            let controls = Arc::new(remote.clone());
            let server = CtlServer::new(monitor.clone(), typist.clone(), controls);
            server.start(path).map_err(|e| format!("--ctl {}: {e}", path.display()))?;
            sockets.push(Socket(path.clone()));
        }
        Ok(Some(Self { monitor, typist }))
    }

    /// Brings the screen to the terminal.
    fn show(self, sides: &Sides, args: &RunArgs, remote: Remote) -> std::io::Result<Front> {
        let has_serial = args.serial == Serial::Stdio;
        sides.start(self.monitor, self.typist, remote, has_serial)
    }
}

fn run_to_end(machine: &mut Machine, args: &RunArgs) -> Result<Ending, Failure> {
    let limit = args.time_limit.map(Duration::from_secs_f64);
    let start = Instant::now();
    let mut schedule = Schedule::new(&args.switch);
    let mut is_paused = false;
    loop {
        if let Some(kind) = schedule.take_due(machine) {
            let old = machine.engine();
            match machine.switch_engine(|ram| create_engine(kind, ram)) {
                Ok(()) => log::info!("--switch: from {old} to {}", machine.engine()),
                Err(e) => eprintln!("trine: --switch: the guest stays on the {old} engine: {e}"),
            }
        }
        let left = limit.map(|limit| limit.saturating_sub(start.elapsed()));
        let limits = Limits { host_time: left, ..Limits::default() };
        let ended = match is_paused {
            true => machine.stand(left),
            false => machine.run(schedule.limit(machine, limits)),
        };
        match ended.map_err(|e| e.to_string())? {
            Ending::Asked(Request::Statistics) => {
                eprintln!("\n{}", machine.stats(None).summary());
            }
            Ending::Asked(Request::SwitchEngine) => switch_to_next(machine),
            Ending::Asked(Request::Pause) => is_paused = true,
            Ending::Asked(Request::Resume) => is_paused = false,
            Ending::Asked(Request::Reset) => machine.reset().map_err(|e| e.to_string())?,
            // The next move is due, or nearer.
            Ending::Instructions | Ending::GuestTime => {}
            ending => return Ok(ending),
        }
    }
}

/// Ctrl-A e.
fn switch_to_next(machine: &mut Machine) {
    let old = machine.engine();
    match machine.switch_to_next_engine() {
        Ok(passed) => {
            let why: String = passed.iter().map(|why| format!(" ({why})")).collect();
            eprintln!("\ntrine: from the {old} engine to the {} engine{why}", machine.engine());
        }
        Err(passed) => eprintln!("\ntrine: still on the {old} engine: {}", passed.join("; ")),
    }
}

fn write_stats(path: &Path, machine: &Machine, ending: &Ending) -> Result<(), Failure> {
    let failed = |e: String| format!("--stats {}: {e}", path.display());
    let json = serde_json::to_string_pretty(&machine.stats(Some(ending)))
        .map_err(|e| failed(e.to_string()))?;
    std::fs::write(path, json + "\n").map_err(|e| failed(e.to_string()))
}
