//! A `trine` process as its user meets it: a command line, a console to type at, an exit status.

use std::{
    fmt,
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

/// How long a test waits for the guest to say something. A bound against hanging for ever, not an
/// expectation: hosts are slow and busy. `TRINE_TEST_SECONDS` replaces it.
#[must_use]
pub fn patience() -> Duration {
    let seconds = std::env::var("TRINE_TEST_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1200))
}

/// The `trine` binary of the profile that this test was built with, built on first use, or the one
/// that the environment variable `TRINE` names.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn trine() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("TRINE") {
            return path.into();
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the root");
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "trine-machine", "--bin", "trine"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let status = build.current_dir(root).status().expect("cargo runs");
        assert!(status.success(), "trine cannot be built");
        // This test is target/PROFILE/deps/NAME.
        let test = std::env::current_exe().expect("a test knows its path");
        let profile = test.ancestors().nth(2).expect("it lies in target/PROFILE/deps");
        profile.join(format!("trine{}", std::env::consts::EXE_SUFFIX))
    })
}

/// A running `trine` whose standard input and output are the guest's serial console.
pub struct Console {
    child: Child,
    keyboard: Option<Box<dyn Write + Send>>,
    screen: Receiver<Vec<u8>>,
    log: Receiver<Vec<u8>>,
    /// All that the guest printed.
    printed: Vec<u8>,
    /// How much of it a wait has gone past.
    seen: usize,
}

/// How a `trine` process ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Its exit status.
    pub status: ExitStatus,
    /// All of standard output.
    pub stdout: Vec<u8>,
    /// All of standard error.
    pub stderr: String,
}

/// The guest did not do what a test waited for.
#[derive(Debug)]
pub struct Silence {
    wanted: String,
    why: &'static str,
    ending: Ending,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, why, ending } = self;
        let printed = String::from_utf8_lossy(&ending.stdout);
        let tail: Vec<_> = printed.lines().rev().take(40).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        write!(
            f,
            "waited for {wanted:?}, but {why} ({}); the console ends with:\n{}\nstderr:\n{}",
            ending.status,
            tail.join("\n"),
            ending.stderr
        )
    }
}

impl Console {
    /// Starts `trine` with `arguments`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Self {
        let mut child = Command::new(trine())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("trine starts");
        let keyboard = child.stdin.take().map(|pipe| Box::new(pipe) as _);
        let screen = follow(child.stdout.take().expect("it is piped"));
        let log = follow(child.stderr.take().expect("it is piped"));
        Self { child, keyboard, screen, log, printed: Vec::new(), seen: 0 }
    }

    /// Starts `trine` with `arguments` on a terminal: its input, its output and its log are there.
    ///
    /// # Panics
    /// If it cannot be started, or the host has no pseudo-terminals.
    #[must_use]
    pub fn start_on_terminal<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> (Self, Terminal) {
        let terminal = Terminal::new().expect("the host has pseudo-terminals");
        let mut command = Command::new(trine());
        {
            let other = terminal.other_side().expect("the terminal is there");
            let again = || other.try_clone().expect("there are descriptors");
            command.args(arguments).stdin(again()).stdout(again()).stderr(again());
        }
        let child = command.spawn().expect("trine starts");
        // It holds what it gave to the child: once that has ended, nobody writes to the terminal.
        drop(command);
        let side = || terminal.0.try_clone().expect("there are descriptors");
        let (keyboard, screen) = (Some(Box::new(side()) as _), follow(side()));
        // Nobody sends to this one.
        let log = channel().1;
        (Self { child, keyboard, screen, log, printed: Vec::new(), seen: 0 }, terminal)
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Types, as it is.
    pub fn type_text(&mut self, text: &str) {
        // Whoever types at a machine that has ended learns it from the next wait.
        if let Some(keyboard) = &mut self.keyboard {
            let _ = keyboard.write_all(text.as_bytes()).and_then(|()| keyboard.flush());
        }
    }

    /// Waits until the guest prints `text`; returns what it printed since the last wait, up to and
    /// with it.
    ///
    /// # Errors
    /// If the guest ends first, or takes longer than [`patience`]. The process has then ended.
    pub fn wait_for(&mut self, text: &str) -> Result<String, Silence> {
        let end = Instant::now() + patience();
        loop {
            let fresh = &self.printed[self.seen..];
            if let Some(at) = find(fresh, text.as_bytes()) {
                let upto = at + text.len();
                let said = String::from_utf8_lossy(&fresh[..upto]).into_owned();
                self.seen += upto;
                return Ok(said);
            }
            let why = match self.screen.recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(more) => {
                    self.printed.extend(more);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => "nothing came for too long",
                Err(RecvTimeoutError::Disconnected) => "trine ended",
            };
            return Err(Silence { wanted: text.to_owned(), why, ending: self.stop() });
        }
    }

    /// Has the guest's shell run `command`; returns what it prints, without line ends.
    ///
    /// # Errors
    /// As [`Console::wait_for`].
    pub fn ask(&mut self, command: &str) -> Result<String, Silence> {
        // The quotes tell the answer from the echo of what is typed.
        self.type_text(&format!("echo '<'BEGIN'>'; {command}; echo '<'END'>'\n"));
        self.wait_for("<BEGIN>")?;
        let answer = self.wait_for("<END>")?;
        let answer = answer.trim_end_matches("<END>").replace('\r', "");
        Ok(answer.trim_matches('\n').to_owned())
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// If it takes longer than [`patience`]. The process has then ended.
    pub fn finish(mut self) -> Result<Ending, Silence> {
        let end = Instant::now() + patience();
        loop {
            match self.screen.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(more) => self.printed.extend(more),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let why = "it did not come";
                    let wanted = "the end".to_owned();
                    return Err(Silence { wanted, why, ending: self.stop() });
                }
            }
        }
        self.keyboard = None;
        Ok(self.ending())
    }

    /// Kills the process (SIGKILL, where there are signals).
    #[must_use]
    pub fn kill(mut self) -> Ending {
        self.stop()
    }

    fn stop(&mut self) -> Ending {
        let _ = self.child.kill();
        self.ending()
    }

    fn ending(&mut self) -> Ending {
        let status = self.child.wait().expect("a child can be waited for");
        self.printed.extend(self.screen.iter().flatten());
        let stderr: Vec<u8> = self.log.iter().flatten().collect();
        let stdout = std::mem::take(&mut self.printed);
        Ending { status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
    }
}

/// A terminal at which a test sits, by its master side.
pub struct Terminal(File);

impl Terminal {
    fn new() -> rustix::io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        Ok(Self(master.into()))
    }

    /// The side that is a program's terminal.
    fn other_side(&self) -> rustix::io::Result<File> {
        let name = ptsname(&self.0, Vec::new())?;
        Ok(open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?.into())
    }

    /// Gives it a size.
    ///
    /// # Panics
    /// If the host refuses to.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.0, size).expect("a terminal has a size");
    }

    /// Its settings.
    ///
    /// # Panics
    /// If the host refuses to tell.
    #[must_use]
    pub fn settings(&self) -> Termios {
        tcgetattr(&self.0).expect("a terminal has settings")
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Harmless if it has ended; a failed test leaves no guest behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Has the shell on `console` run `command`; what it prints.
///
/// # Panics
/// As [`Console::ask`] fails.
pub fn ask(console: &mut Console, command: &str) -> String {
    console.ask(command).unwrap_or_else(|silence| panic!("{silence}"))
}

/// Has the shell switch the machine off.
///
/// # Panics
/// As [`end_by`] does.
pub fn power_off(console: Console) -> Ending {
    end_by(console, "poweroff -f\n")
}

/// Types `text`, by which the machine ends well.
///
/// # Panics
/// If it does not.
pub fn end_by(mut console: Console, text: &str) -> Ending {
    console.type_text(text);
    let ending = console.finish().unwrap_or_else(|silence| panic!("{silence}"));
    assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
    ending
}

/// Runs `trine` with no input to its end.
///
/// # Panics
/// If it does not end within [`patience`].
#[must_use]
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Ending {
    let mut console = Console::start(arguments);
    console.keyboard = None;
    console.finish().unwrap_or_else(|silence| panic!("{silence}"))
}

/// What a pipe brings, as it comes, until its end.
fn follow(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = pipe.read(&mut buffer) {
            if send.send(buffer[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    receive
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|window| window == pattern)
}

/// Says that a test does without what it lacks. Who asks for long tests (`--ignored`) wants them done.
fn skip(why: &str) {
    let asked = std::env::args().any(|arg| arg == "--ignored" || arg == "--include-ignored");
    assert!(!asked, "{why}");
    println!("skipped: {why}");
}

/// The folder of guests that `tests/guests/fetch` makes, or the one that the environment variable
/// `TRINE_GUESTS` names; `None`, after saying so, where they are not.
///
/// # Panics
/// If `TRINE_GUESTS` is set but has no guests in it, or if the test was asked for as a long one.
#[must_use]
pub fn guests() -> Option<Arc<Path>> {
    let named = std::env::var_os("TRINE_GUESTS").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the root");
    let folder = named.clone().unwrap_or_else(|| root.join("guests-cache"));
    if folder.join("initrd-i386.gz").is_file() {
        return Some(folder.into());
    }
    assert!(named.is_none(), "TRINE_GUESTS={}: there are no guests", folder.display());
    skip(&format!("no guests in {}: run tests/guests/fetch", folder.display()));
    None
}

/// A file of the guests; `None`, after saying so, where it was not fetched.
///
/// # Panics
/// In that case, if the test was asked for as a long one.
#[must_use]
pub fn guest_file(name: &str) -> Option<String> {
    let path = guests()?.join(name);
    if !path.exists() {
        skip(&format!("there is no {}: run tests/guests/fetch --all", path.display()));
        return None;
    }
    Some(path.display().to_string())
}
