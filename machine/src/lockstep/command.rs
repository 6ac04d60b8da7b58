//! `trine lockstep`: the command.

use std::{
    fmt::Write as _,
    io::IsTerminal,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use trine_devices::SerialPeer;
use trine_x86::CpuModel;

use super::{Divergence, Length, Lockstep, Outcome, Reproducer, Stop};
use crate::{
    ClockKind, Config, EngineKind, Guest, Machine, MachineError,
    cli::{Display, EngineChoice, RunArgs, Serial},
    conform,
    console::Line,
    create_engine,
    serial::Nobody,
};

/// The two differ.
const DIFFERENT: u8 = 2;

/// What to run on which engines.
#[derive(Args, Debug)]
pub struct LockstepArgs {
    /// The two engines, as interp,translate. The first one's guest is heard at --serial.
    #[arg(long, value_name = "A,B", value_parser = engines)]
    pub engines: [EngineKind; 2],
    /// Compare every so many instructions.
    #[arg(long, value_name = "N", default_value = "4000000")]
    pub every: NonZeroU64,
    /// End after so many instructions.
    #[arg(long, value_name = "N")]
    pub instructions: Option<u64>,
    /// The guest. Its time follows the count of instructions, and nothing is typed to it.
    #[command(flatten)]
    pub guest: RunArgs,
}

/// Two engines' names.
fn engines(text: &str) -> Result<[EngineKind; 2], String> {
    let named = |name: &str| EngineKind::ALL.into_iter().find(|kind| kind.name() == name);
    match text.split_once(',').map(|(a, b)| (named(a), named(b))) {
        Some((Some(a), Some(b))) => Ok([a, b]),
        _ => Err("write two engines, as interp,translate".into()),
    }
}

impl LockstepArgs {
    /// What makes no sense, or is not there.
    ///
    /// # Errors
    /// One line that says what.
    pub fn check(&self) -> Result<[EngineKind; 2], String> {
        self.guest.check()?;
        for kind in self.engines {
            if kind == EngineKind::Kvm {
                return Err("kvm cannot run in lock-step: it does not count instructions; use \
                            --engines interp,translate"
                    .into());
            }
            if let Some(why) = kind.missing() {
                return Err(format!("there is no {} engine here: {why}", kind.name()));
            }
        }
        if self.guest.engine != EngineChoice::Auto {
            return Err("lockstep takes --engines A,B in place of --engine".into());
        }
        if matches!(self.guest.serial, Serial::Unix(_)) {
            return Err(
                "--serial can be stdio, null or file:PATH in lock-step: nothing is typed".into()
            );
        }
        if self.guest.display != Display::None || self.guest.ctl.is_some() {
            return Err(
                "--display and --ctl are for one machine; leave them out in lock-step".into()
            );
        }
        if !self.guest.switch.is_empty() {
            return Err("--switch is for one machine; leave it out in lock-step".into());
        }
        if self.guest.stats.is_some() {
            return Err("--stats is for one machine; leave it out in lock-step".into());
        }
        Ok(self.engines)
    }
}

/// Runs `trine lockstep`; what it finds goes to `print`. Returns the exit status.
///
/// # Errors
/// One line, if it cannot be run.
pub fn lockstep(
    args: &LockstepArgs,
    print: impl Fn(&str) -> Result<(), String>,
) -> Result<u8, String> {
    let kinds = args.check()?;
    let run = &args.guest;
    let line = Line::open(&run.serial).map_err(|e| format!("--serial cannot be opened: {e}"))?;
    let debug = Line::open(&run.debug_console)
        .map_err(|e| format!("--debug-console cannot be opened: {e}"))?;
    let heard = Arc::new(AtomicBool::new(true));
    let hear = |peer| Box::new(Heard { peer, heard: heard.clone() }) as Box<dyn SerialPeer>;
    let guest = run.guest.guest()?.of_many();
    let nobody = || Box::new(Nobody) as Box<dyn SerialPeer>;
    let mut first = config(run, guest.clone(), [line.peer(), debug.peer()].map(hear))?;
    let mut second = config(run, guest, [nobody(), nobody()])?;
    (first.nets, second.nets) = (run.guest.nets_of("first"), run.guest.nets_of("second"));
    let failed = |e: MachineError| e.to_string();
    let machine =
        |config, kind| Machine::new(config, |ram| create_engine(kind, ram)).map_err(failed);
    let [a, b] = [machine(first, kinds[0])?, machine(second, kinds[1])?];
    let mut both = Lockstep::new(a, b, args.every).map_err(failed)?;
    let length = Length {
        instructions: args.instructions,
        host_time: run.time_limit.map(Duration::from_secs_f64),
    };
    let progress = Progress::new(args);
    let outcome = both.run(length, |count| match count {
        Some(count) => progress.at(count),
        None => {
            heard.store(false, Ordering::Relaxed);
            progress.searches();
        }
    });
    progress.finish();
    for output in [line.output(), debug.output()].into_iter().flatten() {
        output.flush(None);
    }
    match outcome.map_err(failed)? {
        Outcome::Same(stop) => {
            let machine = both.first();
            print(&same(kinds, machine.retired(), machine.now().ns(), &stop))?;
            Ok(0)
        }
        Outcome::Different(divergence) => {
            let candidates = kinds.map(conform::alone);
            let explained =
                both.reproduce(&divergence, [&candidates[0], &candidates[1]]).map_err(failed)?;
            print(&report(kinds.map(EngineKind::name), &divergence, &explained))?;
            Ok(DIFFERENT)
        }
    }
}

/// A machine for `args`, by the count of instructions.
fn config(
    args: &RunArgs,
    guest: Guest,
    [serial, debug_console]: [Box<dyn SerialPeer>; 2],
) -> Result<Config, String> {
    Ok(Config {
        board: args.guest.machine,
        cpu: CpuModel::named(&args.guest.cpu).map_err(|e| e.to_string())?,
        cpus: args.guest.cpus,
        memory: args.guest.memory.0,
        clock: ClockKind::Instructions,
        guest,
        disks: args.guest.disks_of_many(),
        serial: Some(serial),
        debug_console: Some(debug_console),
        debug_exit: args.guest.debug_exit,
        test_device: args.guest.test_device,
        rng: args.guest.rng,
        balloon: args.guest.balloon,
        no_reboot: args.no_reboot,
        ..Config::default()
    })
}

/// A peer that hears nothing once the guest says again what it has said.
struct Heard {
    peer: Box<dyn SerialPeer>,
    heard: Arc<AtomicBool>,
}

impl SerialPeer for Heard {
    fn transmit(&mut self, byte: u8) {
        if self.heard.load(Ordering::Relaxed) {
            self.peer.transmit(byte);
        }
    }

    fn backlog(&self) -> Option<Arc<AtomicUsize>> {
        self.peer.backlog()
    }
}

/// Shows how far the two are, on standard error, if that is a terminal on which nothing else is
/// written.
struct Progress(ProgressBar);

impl Progress {
    fn new(args: &LockstepArgs) -> Self {
        let is_guests = args.guest.serial == Serial::Stdio && std::io::stdout().is_terminal();
        let (bar, template) = match args.instructions {
            _ if is_guests => (ProgressBar::hidden(), ""),
            Some(n) => (
                ProgressBar::new(n),
                "[{bar:30}] {human_pos}/{human_len} instructions, {per_sec}, {eta} left {msg}",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{spinner} equal after {human_pos} instructions, {per_sec} {msg}",
            ),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    fn at(&self, count: u64) {
        self.0.set_position(count);
    }

    fn searches(&self) {
        self.0.set_message("- they differ: searching for the first instruction");
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// What is said of two that are equal to the end.
fn same(engines: [EngineKind; 2], count: u64, ns: u64, stop: &Stop) -> String {
    let [a, b] = engines.map(EngineKind::name);
    let end = match stop {
        Stop::Done => "the limit is reached".to_owned(),
        Stop::Ended(ending) => ending.to_string(),
        Stop::Asleep => "the guest sleeps, and nothing will wake it".to_owned(),
    };
    let seconds = ns as f64 / 1e9;
    format!("{a} and {b} are equal after {count} instructions, {seconds:.6} s: {end}\n")
}

/// A difference between two engines, for a person to read.
#[must_use]
pub fn report(engines: [&str; 2], divergence: &Divergence, explained: &Reproducer) -> String {
    let ([a, b], mut out) = (engines, String::new());
    let Divergence { before, piece, .. } = divergence;
    let (count, seconds) = (before.retired(), before.now().ns() as f64 / 1e9);
    let vcpu = divergence.vcpu.map_or_else(String::new, |id| format!(", on vCPU {id}"));
    // Writing to a string cannot fail.
    let _ = match (divergence.is_repeatable, piece) {
        (true, 1) => writeln!(
            out,
            "{a} and {b} differ in the instruction after {count} ({seconds:.9} s){vcpu}:"
        ),
        (true, _) => writeln!(
            out,
            "{a} and {b} differ in the {piece} instructions after {count} ({seconds:.9} s){vcpu}, \
             if they are executed in one piece:"
        ),
        (false, _) => writeln!(
            out,
            "{a} and {b} differ somewhere in the {piece} instructions after {count} \
             ({seconds:.9} s), but not if these are executed again; try another --every. They begin:"
        ),
    };
    if explained.interrupts {
        out += "  (an interrupt comes first)\n";
    }
    for (n, line) in explained.code.iter().enumerate() {
        let mark = if *piece > 1 && explained.wrong == Some(n) { '>' } else { ' ' };
        let _ = writeln!(out, "{mark} {line}");
    }
    if explained.code.len() as u64 != *piece {
        let _ = writeln!(out, "  … {} more", piece - explained.code.len() as u64);
    }
    let mut rows: Vec<[&str; 3]> = vec![["", a, b]];
    rows.extend(divergence.differences.iter().map(|d| [&*d.what, &*d.first, &*d.second]));
    let stops = divergence.stops.each_ref().map(ToString::to_string);
    if stops[0] != stops[1] {
        rows.push(["the machine", &stops[0], &stops[1]]);
    }
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let (first, second) = (widest(0).unwrap_or(0), widest(1).unwrap_or(0));
    for [what, a, b] in &rows {
        let line = format!("  {what:<first$}  {a:<second$}  {b}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    match &explained.vectors {
        Ok([one, other]) => {
            let _ = write!(out, "As a vector, on {a}:\n{one}\nand on {b}:\n{other}\n");
        }
        Err(why) => {
            let _ = writeln!(out, "There is no vector of it: {why}.");
        }
    }
    out
}
