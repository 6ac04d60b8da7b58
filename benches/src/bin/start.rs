//! How soon a guest's init runs, and what the process takes beside the guest's memory: Trine's boards
//! and engines beside QEMU's, with the same kernel, in the same session.
//!
//! `cargo run --release -p trine-benches --bin start [-- --runs N --guests DIR]`. The guest is Debian's
//! cloud kernel with an init of nine instructions: it says a word and waits. Time is from the
//! start of the process to that word on the serial port, the median of several runs in which all
//! take turns. Memory is what the process has resident at that moment (`smaps` of Linux), without
//! the file that the guest's memory is.
//!
//! Nothing here is asserted about time.
#![forbid(unsafe_code)]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, String>;

/// What init says.
const WORD: &str = "@init";
/// A start that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(120);
/// The guest's memory.
const MEMORY: &str = "128M";
const APPEND: &str = "console=ttyS0 quiet panic=-1";

/// Says the word and waits, in machine code: write(1, word, 6), then pause() for ever.
const INIT: &[u8] = &[
    0xb8, 1, 0, 0, 0, // mov eax, 1
    0x89, 0xc7, // mov edi, eax
    0x48, 0x8d, 0x35, 0x10, 0, 0, 0, // lea rsi, [rip + 16]
    0xba, 6, 0, 0, 0, // mov edx, 6
    0x0f, 0x05, // syscall
    0xb8, 34, 0, 0, 0, // again: mov eax, 34
    0x0f, 0x05, // syscall
    0xeb, 0xf7, // jmp again
    b'@', b'i', b'n', b'i', b't', b'\n',
];

/// `init` as an ELF file: a header, one segment with all of the file, and the code.
fn init() -> Vec<u8> {
    const AT: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let len = HEADERS + INIT.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // An executable for x86-64, its entry, and its program header behind this one.
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for number in [AT + HEADERS, 64, 0] {
        elf.extend(number.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    // A segment to load, to be read and executed.
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for number in [0, AT, AT, len, len, 0x1000] {
        elf.extend(number.to_le_bytes());
    }
    elf.extend(INIT);
    elf
}

/// An initramfs (cpio, "newc") of `init` and the console that it writes to.
fn initramfs() -> Vec<u8> {
    let mut all = Vec::new();
    let mut add = |name: &str, mode: u32, (major, minor): (u32, u32), data: &[u8]| {
        let (len, name_len) = (data.len() as u32, name.len() as u32 + 1);
        all.extend(b"070701");
        for field in [0, mode, 0, 0, 1, 0, len, 0, 0, major, minor, name_len, 0] {
            all.extend(format!("{field:08x}").into_bytes());
        }
        for bytes in [[name.as_bytes(), &[0]].concat(), data.to_vec()] {
            all.extend(bytes);
            all.resize(all.len().next_multiple_of(4), 0);
        }
    };
    add("dev", 0o040_755, (0, 0), &[]);
    add("dev/console", 0o020_600, (5, 1), &[]);
    add("init", 0o100_755, (0, 0), &init());
    add("TRAILER!!!", 0, (0, 0), &[]);
    all
}

/// A program, its board and its engine.
struct Entrant {
    name: &'static str,
    board: &'static str,
    engine: &'static str,
    seconds: Vec<f64>,
    busy: Vec<f64>,
    memory: Vec<f64>,
    failure: Option<String>,
}

fn entrants() -> Vec<Entrant> {
    let engines = [
        ("trine", "interp"),
        ("trine", "translate"),
        ("qemu", "tcg"),
        ("trine", "kvm"),
        ("qemu", "kvm"),
    ];
    let entrant = |(name, engine): (&'static str, _), board| {
        let (seconds, busy, memory) = (Vec::new(), Vec::new(), Vec::new());
        Entrant { name, board, engine, seconds, busy, memory, failure: None }
    };
    let boards = ["pc", "microvm"];
    engines.into_iter().flat_map(|e| boards.map(|board| entrant(e, board))).collect()
}

impl Entrant {
    fn command(&self, trine: &Path, kernel: &Path, initrd: &Path) -> Command {
        if self.name == "trine" {
            let mut command = Command::new(trine);
            command.args(["run", "--machine", self.board, "--engine", self.engine]);
            command.args(["--memory", MEMORY, "--append", APPEND, "--kernel"]).arg(kernel);
            command.arg("--initrd").arg(initrd);
            return command;
        }
        let mut command = Command::new("qemu-system-x86_64");
        // Without a PIT a guest that knows no KVM clock finds no time to measure its TSC by there.
        let board = if self.board == "microvm" { "microvm,pit=on,pic=on" } else { self.board };
        let machine = format!("{board},accel={},memory-backend=ram", self.engine);
        let memory = format!("memory-backend-memfd,id=ram,size={MEMORY}");
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"]);
        command.args(["-object", &memory, "-machine", &machine, "-m", MEMORY, "-cpu", "max"]);
        command.args(["-append", APPEND, "-kernel"]).arg(kernel).arg("-initrd").arg(initrd);
        command
    }

    /// Starts it once, and notes how it went.
    fn start(&mut self, command: Command) {
        if self.failure.is_some() {
            return;
        }
        match watch(command) {
            Ok(Started { time, busy, memory }) => {
                self.seconds.push(time.as_secs_f64());
                self.busy.extend(busy);
                self.memory.extend(memory.map(|bytes| bytes as f64 / (1 << 20) as f64));
            }
            Err(why) => self.failure = Some(why),
        }
    }
}

/// Ends with what it holds.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a start went; what only Linux tells is not there elsewhere.
struct Started {
    /// How long the word took.
    time: Duration,
    /// How many seconds the process's threads had run when it came.
    busy: Option<f64>,
    /// What the process had resident, in bytes.
    memory: Option<u64>,
}

fn watch(mut command: Command) -> Result<Started> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut process = Process(command.spawn().map_err(|e| format!("it cannot be started: {e}"))?);
    let output = process.0.stdout.take().ok_or("it has no output")?;
    let errors = process.0.stderr.take().ok_or("it has no output")?;
    let (send, word) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(std::io::Result::ok) {
            if line.contains(WORD) {
                let _ = send.send(start.elapsed());
            }
        }
    });
    let last = thread::spawn(move || {
        BufReader::new(errors).lines().map_while(std::io::Result::ok).last().unwrap_or_default()
    });
    match word.recv_timeout(LIMIT) {
        Ok(time) => {
            let process = process.0.id();
            Ok(Started { time, busy: busy(process), memory: resident(process) })
        }
        Err(RecvTimeoutError::Timeout) => Err("its guest does not come to its init".into()),
        Err(RecvTimeoutError::Disconnected) => Err(last.join().unwrap_or_default()),
    }
}

/// Seconds that a process's threads have run.
fn busy(process: u32) -> Option<f64> {
    /// What Linux counts them in, on every host of today.
    const TICKS_HZ: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may have spaces in it; user and system time are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n)?.parse::<u64>().ok();
    Some((ticks(11)? + ticks(12)?) as f64 / TICKS_HZ)
}

/// Bytes that a process has resident, without the file that the guest's memory is.
fn resident(process: u32) -> Option<u64> {
    let maps = fs::read_to_string(format!("/proc/{process}/smaps")).ok()?;
    let (mut is_guest, mut kib) = (false, 0);
    for line in maps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["Rss:", count, "kB"] if !is_guest => kib += count.parse::<u64>().ok()?,
            [range, ..] if range.contains('-') => is_guest = line.contains("/memfd:"),
            _ => {}
        }
    }
    Some(kib << 10)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn compare() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let (mut runs, mut guests) = (5, root.join("guests-cache"));
    let mut words = env::args().skip(1);
    while let Some(option) = words.next() {
        let value = words.next().ok_or_else(|| format!("{option} wants a value"))?;
        match option.as_str() {
            "--runs" => runs = value.parse().map_err(|e| format!("--runs {value}: {e}"))?,
            "--guests" => guests = PathBuf::from(value),
            _ => return Err("usage: start [--runs N] [--guests DIR]".into()),
        }
    }
    let trine = env::var_os("TRINE")
        .map_or_else(|| root.join("target").join("release").join("trine"), PathBuf::from);
    let kernel = guests.join("cloud/vmlinuz");
    for (file, how) in [(&trine, "cargo build --release"), (&kernel, "tests/guests/fetch")] {
        if !file.exists() {
            return Err(format!("no {}: {how} makes it", file.display()));
        }
    }
    let initrd = env::temp_dir().join(format!("trine-start-{}", std::process::id()));
    fs::write(&initrd, initramfs()).map_err(|e| format!("{}: {e}", initrd.display()))?;
    let mut entrants = entrants();
    for number in 1..=runs {
        for entrant in &mut entrants {
            let Entrant { name, board, engine, .. } = entrant;
            eprintln!("run {number} of {runs}: {name} {board} {engine}");
            entrant.start(entrant.command(&trine, &kernel, &initrd));
        }
    }
    let _ = fs::remove_file(&initrd);
    println!("| | board | engine | s to init | s of CPU time | MiB beside the guest's memory |");
    println!("|---|---|---|---|---|---|");
    for Entrant { name, board, engine, seconds, busy, memory, failure } in entrants {
        let told = |values, digits: usize| {
            median(values).map_or("?".into(), |value| format!("{value:.digits$}"))
        };
        match failure {
            Some(why) => println!("| {name} | {board} | {engine} | - | - | {why} |"),
            None => {
                let (seconds, busy, memory) = (told(seconds, 2), told(busy, 2), told(memory, 0));
                println!("| {name} | {board} | {engine} | {seconds} | {busy} | {memory} |");
            }
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
