//! How each emulator is started, and the marks that its guest prints.

use std::{
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use crate::image::{self, MEMORY_MIB, Part, Result};

/// A guest that takes longer than this has failed.
const LIMIT: Duration = Duration::from_secs(900);

/// What is measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Emulator {
    /// Ours, with one of its engines.
    Trine { binary: PathBuf, engine: String },
    /// Debian's build, which has the debugger in it.
    Bochs,
    /// QEMU's translator, for comparison.
    Qemu,
}

impl fmt::Display for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trine { engine, .. } => write!(f, "trine {engine}"),
            Self::Bochs => f.write_str("bochs"),
            Self::Qemu => f.write_str("qemu tcg"),
        }
    }
}

/// A guest's files.
pub struct Guest {
    pub name: &'static str,
    folder: PathBuf,
    elf: PathBuf,
    disk: PathBuf,
    cylinders: usize,
    /// What the last line that it prints contains.
    last: &'static str,
}

impl Guest {
    /// Writes the files for `parts` to a folder of that name in `folder`.
    pub fn new(
        name: &'static str,
        folder: &Path,
        parts: &[Part],
        last: &'static str,
    ) -> Result<Self> {
        let folder = &folder.join(name);
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, bytes).map_err(|e| format!("{}: {e}", path.display())).map(|()| path)
        };
        let disk = image::disk(folder, parts)?;
        Ok(Self {
            name,
            elf: write("guest.elf", &image::elf(parts))?,
            disk: write("guest.img", &disk)?,
            cylinders: image::cylinders(&disk),
            folder: folder.to_owned(),
            last,
        })
    }
}

/// A loop's run: from the line `@NAME begin` to the line `@NAME end COUNT RESULT`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Measurement {
    pub name: String,
    /// Time that passed on the host.
    pub wall: Duration,
    /// Time that the emulator's threads ran, where the host tells it.
    pub cpu: Option<Duration>,
    /// Instructions that the loop retires, where that is known.
    pub instructions: Option<u64>,
    /// What it computed, to compare.
    pub result: String,
}

impl Emulator {
    /// Runs `guest` to its last line.
    pub fn run(&self, guest: &Guest) -> Result<Vec<Measurement>> {
        let mut command = match self {
            Self::Trine { binary, engine } => trine(binary, engine, guest),
            Self::Bochs => bochs(guest)?,
            Self::Qemu => qemu(guest),
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{self}: {e}"))?;
        let result = watch(&mut child, guest.last);
        // The guest has said its last line and idles, or it failed.
        let _ = child.kill();
        let _ = child.wait();
        let mut log = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            let _ = stderr.read_to_string(&mut log);
        }
        result.map_err(|why| {
            let log: Vec<_> = log.lines().rev().take(5).collect();
            let log: Vec<_> = log.into_iter().rev().collect();
            format!("{self}: {why}\n{}", log.join("\n"))
        })
    }
}

fn trine(binary: &Path, engine: &str, guest: &Guest) -> Command {
    let mut command = Command::new(binary);
    command.args(["run", "--engine", engine, "--memory", &format!("{MEMORY_MIB}M"), "--kernel"]);
    command.arg(&guest.elf);
    command
}

fn qemu(guest: &Guest) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "tcg", "-cpu", "Nehalem", "-m", &MEMORY_MIB.to_string()]);
    command.args(["-display", "none", "-serial", "stdio", "-monitor", "none", "-nic", "none"]);
    command.arg("-drive").arg(format!("file={},format=raw,if=ide", guest.disk.display()));
    command
}

/// Bochs without a screen (its VNC one, for which it does not wait), COM1 on standard output, and
/// a clock that counts instructions at about the speed it has, so that waiting costs what it
/// would cost on a real machine.
fn bochs(guest: &Guest) -> Result<Command> {
    let Guest { folder, disk, cylinders, .. } = guest;
    let settings = [
        "config_interface: textconfig".to_owned(),
        "display_library: rfb, options=\"timeout=0\"".to_owned(),
        format!("memory: guest={MEMORY_MIB}, host={MEMORY_MIB}"),
        "romimage: file=/usr/share/bochs/BIOS-bochs-latest".to_owned(),
        "vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest".to_owned(),
        "cpu: model=corei5_lynnfield_750, ips=50000000, reset_on_triple_fault=0".to_owned(),
        "clock: sync=none".to_owned(),
        "boot: disk".to_owned(),
        format!(
            "ata0-master: type=disk, path={}, mode=flat, cylinders={cylinders}, heads=16, spt=63",
            disk.display()
        ),
        "com1: enabled=1, mode=file, dev=/dev/stdout".to_owned(),
        format!("log: {}", folder.join("bochs.log").display()),
        "panic: action=fatal".to_owned(),
        // The speaker of Debian's build crashes on a host without a sound card.
        "plugin_ctrl: speaker=0".to_owned(),
    ];
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display())).map(|()| path)
    };
    let rc = write("bochsrc", settings.join("\n") + "\n")?;
    let debugger = write("debugger", "continue\n".to_owned())?;
    let mut command = Command::new("bochs-bin");
    // A killed run leaves its lock on the disk behind.
    let _ = fs::remove_file(format!("{}.lock", disk.display()));
    command.args(["-q", "-f"]).arg(rc).arg("-rc").arg(debugger).current_dir(folder);
    Ok(command)
}

/// A line and when it came.
struct Line {
    text: String,
    wall: Instant,
    cpu: Option<Duration>,
}

fn watch(child: &mut Child, last: &str) -> Result<Vec<Measurement>> {
    let (send, receive) = channel();
    let pid = child.id();
    let stdout = child.stdout.take().ok_or("no output")?;
    thread::spawn(move || lines(stdout, pid, &send));
    let (mut measurements, mut open, mut tail) = (Vec::new(), None::<(String, Line)>, Vec::new());
    let end = Instant::now() + LIMIT;
    loop {
        let line = match receive.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(why) => {
                let why = match why {
                    RecvTimeoutError::Timeout => "takes too long",
                    RecvTimeoutError::Disconnected => "ended early",
                };
                let tail: Vec<String> = tail.into_iter().rev().take(10).rev().collect();
                return Err(format!("{why}; the guest's last lines:\n{}", tail.join("\n")));
            }
        };
        tail.push(line.text.clone());
        let is_last = line.text.contains(last);
        let words: Vec<_> = line.text.split('@').next_back().unwrap_or("").split(' ').collect();
        match (&words[..], open.take()) {
            ([name, "begin"], _) => open = Some(((*name).to_owned(), line)),
            ([name, "end", count, result], Some((begun, from))) if *name == begun => {
                let instructions = u64::from_str_radix(count, 16).ok();
                measurements.push(measurement(begun, &from, &line, instructions, result));
            }
            (_, Some((begun, from))) if is_last => {
                measurements.push(measurement(begun, &from, &line, None, ""));
            }
            (_, before) => open = before,
        }
        if is_last {
            return Ok(measurements);
        }
    }
}

fn measurement(
    name: String,
    from: &Line,
    to: &Line,
    instructions: Option<u64>,
    result: &str,
) -> Measurement {
    Measurement {
        name,
        wall: to.wall - from.wall,
        cpu: to.cpu.zip(from.cpu).and_then(|(to, from)| to.checked_sub(from)),
        instructions,
        result: result.to_owned(),
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
