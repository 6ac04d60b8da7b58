//! Runs a guest, reads the marks that it prints, and asks the emulator for its figures at the end.

use std::{
    fs,
    io::{Read, Write},
    process::{Child, ChildStdout, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    emulator::{Emulator, Guest},
    image::Result,
};

/// A guest that takes longer than this has failed.
const LIMIT: Duration = Duration::from_secs(600);
/// What marks call the boot of a kernel, whichever it is.
const BOOT: &str = "kernel";
/// A guest that switches itself off does it within this time.
const GRACE: Duration = Duration::from_secs(10);

/// A program's run: from the line `@NAME begin` to `@NAME end TURNS RESULT TICKS`, or to the
/// guest's last line.
#[derive(Clone, PartialEq, Debug)]
pub struct Measurement {
    pub name: String,
    /// Time that passed on the host, for all turns.
    pub wall: Duration,
    /// Time that the emulator's threads ran, where the host tells it.
    pub cpu: Option<Duration>,
    /// How often it was done.
    pub turns: u64,
    /// What it computed, to compare.
    pub result: String,
    /// How far the guest's TSC counted; where guest time follows instructions, one tick is one.
    pub ticks: Option<u64>,
}

/// What a run told.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Run {
    pub measurements: Vec<Measurement>,
    /// Bytes of host code that a translator made, if it says so.
    pub code_bytes: Option<u64>,
    /// What `--stats` of Trine says.
    pub stats: Option<Value>,
}

/// Why there are no measurements.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The emulator does not offer this on this host, and says why.
    Absent(String),
    /// The guest or the emulator failed.
    Failed(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Absent(why) | Failure::Failed(why) => why,
        }
    }
}

/// Runs `guest` on `emulator` to its last line.
///
/// # Errors
/// [`Failure::Absent`] if Trine says at the start that an engine is not there; else
/// [`Failure::Failed`], with the last lines of guest and emulator.
pub fn run(emulator: &Emulator, guest: &Guest) -> std::result::Result<Run, Failure> {
    let failed = |e| format!("{emulator}: {e}");
    let mut command = emulator.command(guest).map_err(failed)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
    let mut lines = watch(&mut child, guest.last);
    for boot in lines.iter_mut().flatten().filter(|m| m.name == BOOT) {
        boot.name.clone_from(&guest.name);
    }
    let mut outcome = Run::default();
    if lines.is_ok() {
        figures(emulator, guest, &mut child, &mut outcome);
    }
    // It has said its last line and idles, or it failed.
    let _ = child.kill();
    let status = child.wait().ok().and_then(|status| status.code());
    let mut log = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut log);
    }
    match lines {
        Ok(measurements) => Ok(Run { measurements, ..outcome }),
        // Status 1: a usage or host error, before the guest ran.
        Err(_) if matches!(emulator, Emulator::Trine { .. }) && status == Some(1) => {
            Err(Failure::Absent(log.lines().last().unwrap_or("it does not say why").to_owned()))
        }
        Err(why) => {
            let log: Vec<_> = log.lines().rev().take(5).collect();
            let log: Vec<_> = log.into_iter().rev().collect();
            Err(Failure::Failed(format!("{emulator}: {why}\n{}", log.join("\n"))))
        }
    }
}

/// Asks for what the emulator counted; what it does not tell stays unknown.
fn figures(emulator: &Emulator, guest: &Guest, child: &mut Child, run: &mut Run) {
    match emulator {
        Emulator::Trine { .. } => {
            if let Some(mut stdin) = child.stdin.take().filter(|_| guest.waits) {
                let _ = stdin.write_all(b"\n");
            }
            let end = Instant::now() + GRACE;
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
                thread::sleep(Duration::from_millis(20));
            }
            let text = fs::read_to_string(guest.stats()).unwrap_or_default();
            run.stats = serde_json::from_str(&text).ok();
            let code = run.stats.as_ref().and_then(|stats| stats["total"]["code_bytes"].as_u64());
            run.code_bytes = code;
        }
        Emulator::Qemu { .. } if guest.waits => run.code_bytes = qemu_code(guest),
        Emulator::Qemu { .. } | Emulator::Bochs | Emulator::Native => {}
    }
}

/// The line "gen code size 123/456" of QEMU's `info jit`.
#[cfg(unix)]
fn qemu_code(guest: &Guest) -> Option<u64> {
    let mut monitor = std::os::unix::net::UnixStream::connect(guest.monitor()).ok()?;
    monitor.set_read_timeout(Some(GRACE)).ok()?;
    monitor.write_all(b"info jit\nquit\n").ok()?;
    let mut answer = Vec::new();
    // `quit` ends it; a connection that is reset then has still been read.
    let _ = monitor.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let size = answer.lines().find_map(|line| line.trim().strip_prefix("gen code size"))?;
    size.trim().split('/').next()?.parse().ok()
}

#[cfg(not(unix))]
fn qemu_code(_: &Guest) -> Option<u64> {
    None
}

/// A line and when it came.
struct Line {
    text: String,
    wall: Instant,
    cpu: Option<Duration>,
}

/// Reads lines up to the one that contains `last`.
fn watch(child: &mut Child, last: &str) -> Result<Vec<Measurement>> {
    let (send, receive) = channel();
    let pid = child.id();
    let stdout = child.stdout.take().ok_or("no output")?;
    thread::spawn(move || lines(stdout, pid, &send));
    let (mut measurements, mut open, mut tail) = (Vec::new(), None::<(String, Line)>, Vec::new());
    let end = Instant::now() + LIMIT;
    loop {
        let line = next_line(&receive, end, &tail)?;
        tail.push(line.text.clone());
        let is_last = line.text.contains(last);
        let mark = line.text.split('@').next_back().unwrap_or("");
        let words: Vec<_> = mark.split(' ').collect();
        if mark.contains("differs") {
            return Err(mark.to_owned());
        }
        match (&words[..], open.take()) {
            ([name, "begin"], _) => open = Some(((*name).to_owned(), line)),
            ([name, "end", numbers @ ..], Some((begun, from))) if *name == begun => {
                let measurement = measurement(begun, &from, &line, numbers);
                eprintln!("  {}: {:.2} s", measurement.name, measurement.wall.as_secs_f64());
                measurements.push(measurement);
            }
            (_, Some((begun, from))) if is_last => {
                measurements.push(measurement(begun, &from, &line, &[]));
            }
            (_, before) => open = before,
        }
        if is_last {
            return Ok(measurements);
        }
    }
}

fn next_line(receive: &Receiver<Line>, end: Instant, tail: &[String]) -> Result<Line> {
    receive.recv_timeout(end.saturating_duration_since(Instant::now())).map_err(|why| {
        let why = match why {
            RecvTimeoutError::Timeout => "takes too long",
            RecvTimeoutError::Disconnected => "ended early",
        };
        let tail = &tail[tail.len().saturating_sub(10)..];
        format!("{why}; the guest's last lines:\n{}", tail.join("\n"))
    })
}

/// What lies between two marks; `numbers` are those of the last one.
fn measurement(name: String, from: &Line, to: &Line, numbers: &[&str]) -> Measurement {
    let number = |n: usize| numbers.get(n).and_then(|text| u64::from_str_radix(text, 16).ok());
    Measurement {
        name,
        wall: to.wall - from.wall,
        cpu: to.cpu.zip(from.cpu).and_then(|(to, from)| to.checked_sub(from)),
        turns: number(0).unwrap_or(1).max(1),
        result: numbers.get(1).copied().unwrap_or_default().to_owned(),
        ticks: number(2),
    }
}

/// Sends each line of `stdout` with the time at which it was complete.
fn lines(mut stdout: ChildStdout, pid: u32, send: &Sender<Line>) {
    let (mut buffer, mut text) = ([0; 4096], Vec::new());
    while let Ok(n @ 1..) = stdout.read(&mut buffer) {
        let (wall, cpu) = (Instant::now(), cpu_time(pid));
        for &byte in &buffer[..n] {
            if byte != b'\n' {
                text.push(byte);
                continue;
            }
            let line = String::from_utf8_lossy(&text).trim_end().to_owned();
            text.clear();
            if send.send(Line { text: line, wall, cpu }).is_err() {
                return;
            }
        }
    }
}

/// How long the threads of a process have run (Linux: the first number of `schedstat` is
/// nanoseconds).
fn cpu_time(pid: u32) -> Option<Duration> {
    let mut sum = 0_u64;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        sum += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(sum))
}
