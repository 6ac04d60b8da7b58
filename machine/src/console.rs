//! The host's side of a serial port or console: the terminal, a file or a socket.
//!
//! While a guest has the terminal, it is in raw mode, and Ctrl-A is the escape key, as QEMU users
//! know it. The terminal is restored whatever happens: when the guard is dropped, on a panic, and
//! on the signals that end a process.

use std::{
    cell::Cell,
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::termios::{
    OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcsetattr, ttyname,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};
use trine_devices::SerialPeer;

use crate::{
    Output, Port, Remote, Request, SerialInput, cli::Serial, machine::PANIC_ADVICE, serial::Nobody,
    socket, terminal::Sides,
};

/// Ctrl-A.
const ESCAPE: u8 = 0x01;
/// How long input waits for room in the guest's serial port before it tries again.
const RETRY: Duration = Duration::from_millis(5);

/// What Ctrl-A h says.
pub const HELP: &str = "\
Ctrl-A x  quit
Ctrl-A s  statistics
Ctrl-A b  send a break
Ctrl-A p  press the power button
Ctrl-A e  move the running guest to the next engine
Ctrl-A c  from the serial port to the screen and back (--display terminal)
Ctrl-A h  this help
Ctrl-A Ctrl-A  send Ctrl-A
";

/// What a typed byte means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// It is for the guest.
    Byte(u8),
    /// Quit.
    Quit,
    /// Say what the keys are.
    Help,
    /// Switch the engine.
    Engine,
    /// Send a break condition.
    Break,
    /// Say the statistics.
    Statistics,
    /// Press the power button.
    PowerButton,
    /// Turn to the guest's screen, or back.
    Screen,
}

/// Finds the escapes among typed bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Escape {
    /// The last byte was the escape key.
    pending: bool,
}

impl Escape {
    /// What `byte` means; `None` if that depends on the next one, or nothing.
    pub fn feed(&mut self, byte: u8) -> Option<Key> {
        if !std::mem::take(&mut self.pending) {
            self.pending = byte == ESCAPE;
            return (!self.pending).then_some(Key::Byte(byte));
        }
        match byte {
            ESCAPE => Some(Key::Byte(ESCAPE)),
            b'x' | b'X' => Some(Key::Quit),
            b'h' | b'H' | b'?' => Some(Key::Help),
            b'e' | b'E' => Some(Key::Engine),
            b'b' | b'B' => Some(Key::Break),
            b's' | b'S' => Some(Key::Statistics),
            b'p' | b'P' => Some(Key::PowerButton),
            b'c' | b'C' => Some(Key::Screen),
            _ => None,
        }
    }
}

/// The terminal as it was before, while it is in raw mode.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

fn before() -> MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The terminal is in raw mode while this lives.
pub struct RawTerminal(());

impl RawTerminal {
    /// Puts the terminal at standard input into raw mode. `None` if it is not a terminal.
    ///
    /// # Errors
    /// If the terminal refuses.
    pub fn enter() -> io::Result<Option<Self>> {
        let stdin = rustix::stdio::stdin();
        if !isatty(stdin) {
            return Ok(None);
        }
        let terminal = tcgetattr(stdin)?;
        restore_on_panic();
        let mut raw = terminal.clone();
        raw.make_raw();
        // Log lines go to the same terminal and end in a bare line feed.
        raw.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        *before() = Some(terminal);
        tcsetattr(stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self(())))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Whether the terminal shows its alternate screen.
static SHOWS_SCREEN: AtomicBool = AtomicBool::new(false);
/// The way back from it: ordinary colors, a cursor.
pub(crate) const LEAVE_SCREEN: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

/// The terminal is in its alternate screen: whatever happens, it is brought back from there. Or it
/// is no longer.
pub(crate) fn leave_screen_at_end(does: bool) {
    SHOWS_SCREEN.store(does, Ordering::SeqCst);
}

/// The terminal at standard input, to write to.
///
/// # Errors
/// If it is none.
pub(crate) fn terminal() -> io::Result<File> {
    let stdin = rustix::stdio::stdin();
    if !isatty(stdin) {
        return Err(rustix::io::Errno::NOTTY.into());
    }
    let open = |path: &OsStr| File::options().write(true).open(path);
    match ttyname(stdin, Vec::new()) {
        Ok(name) => open(OsStr::from_bytes(name.as_bytes())),
        // In a container its name may not be known there.
        Err(_) => open(OsStr::new("/dev/tty")),
    }
}

/// Puts the terminal back to how it was.
pub fn restore() {
    if SHOWS_SCREEN.swap(false, Ordering::SeqCst)
        && let Ok(mut terminal) = terminal()
    {
        // If it is gone, so is its screen.
        let _ = terminal.write_all(LEAVE_SCREEN);
    }
    if let Some(terminal) = before().take()
        && let Err(e) = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &terminal)
    {
        log::warn!("the terminal cannot be restored (try 'stty sane'): {e}");
    }
}

fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            next(panic);
        }));
    });
}

/// From now on, a second panic of a thread ends the process with `status` and a line that says what
/// to do. Rust would abort it: either the first one cannot unwind through a caller, as translated
/// code is, or what it unwinds panics as well.
///
/// Only for a process that does not go on after the first.
pub fn end_on_second_panic(status: u8) {
    thread_local! {
        static PANICKED: Cell<bool> = const { Cell::new(false) };
    }
    let next = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if PANICKED.replace(true) {
            restore();
            say(&format!("trine: {PANIC_ADVICE}\n"));
            std::process::exit(status.into());
        }
        next(panic);
    }));
}

/// From now on, SIGINT, SIGTERM and SIGHUP clean up before they end the process as they always
/// do: the terminal is restored and sockets are removed.
///
/// # Errors
/// If the host refuses.
pub fn clean_up_on_signals(sockets: Vec<PathBuf>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            restore();
            for path in &sockets {
                // It may be gone already.
                let _ = std::fs::remove_file(path);
            }
            // Ends the process; there is nobody left to tell if it does not.
            let _ = emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

/// Where a port of the guest leads on the host.
pub struct Line {
    output: Option<Output>,
    input: Input,
    socket: Option<PathBuf>,
}

enum Input {
    None,
    Stdin { is_terminal: bool },
    Unix(UnixListener, Client),
}

/// The client of a Unix socket, if there is one.
type Client = Arc<Mutex<Option<UnixStream>>>;

impl Line {
    /// Opens what `--serial` or `--console` names. Standard input is taken only by [`Line::start`].
    ///
    /// # Errors
    /// If the file or the socket cannot be made.
    pub fn open(serial: &Serial) -> io::Result<Self> {
        Self::open_beside(serial, None)
    }

    /// The same, where the guest's screen may have the terminal: then standard input is the screen's
    /// to read.
    ///
    /// # Errors
    /// As [`Line::open`].
    pub fn open_beside(serial: &Serial, screen: Option<&Sides>) -> io::Result<Self> {
        let (output, input, socket) = match (serial, screen) {
            (Serial::Null, _) => (None, Input::None, None),
            (Serial::Stdio, Some(screen)) => {
                (Some(Output::new(screen.serial_side())?), Input::None, None)
            }
            (Serial::Stdio, None) => {
                let is_terminal = isatty(rustix::stdio::stdin());
                (Some(Output::new(io::stdout())?), Input::Stdin { is_terminal }, None)
            }
            (Serial::File(path), _) => (Some(Output::new(File::create(path)?)?), Input::None, None),
            (Serial::Unix(path), _) => {
                let listener = socket::listen(path)?;
                let client = Client::default();
                let output = Output::new(ToClient(client.clone()))?;
                (Some(output), Input::Unix(listener, client), Some(path.clone()))
            }
        };
        Ok(Self { output, input, socket })
    }

    /// What hears the guest.
    #[must_use]
    pub fn peer(&self) -> Box<dyn SerialPeer> {
        match &self.output {
            Some(output) => Box::new(output.clone()),
            None => Box::new(Nobody),
        }
    }

    /// The output, to flush it at the end.
    #[must_use]
    pub fn output(&self) -> Option<Output> {
        self.output.clone()
    }

    /// The socket, to remove it at the end.
    #[must_use]
    pub fn socket(&self) -> Option<PathBuf> {
        self.socket.clone()
    }

    /// Starts to read what comes in, for `port` of the guest.
    ///
    /// # Errors
    /// If the host has no thread for it.
    pub fn start(self, remote: Remote, port: Port) -> io::Result<()> {
        let to = End { remote, port };
        let thread = thread::Builder::new().name("serial input".into());
        match self.input {
            Input::None => {}
            Input::Stdin { is_terminal: true } => {
                thread.spawn(move || read_terminal(&to))?;
            }
            Input::Stdin { is_terminal: false } => {
                thread.spawn(move || read_stream(io::stdin(), &to))?;
            }
            Input::Unix(listener, client) => {
                thread.spawn(move || serve(&listener, &client, &to))?;
            }
        }
        Ok(())
    }
}

/// The machine's end.
struct End {
    remote: Remote,
    port: Port,
}

impl End {
    /// Waits until the machine has room for `input`.
    fn send(&self, input: SerialInput<'_>) {
        while !self.remote.input(self.port, input) {
            thread::sleep(RETRY);
        }
    }
}

/// Passes a stream on as it is; its end means nothing to the machine.
fn read_stream(mut stream: impl Read, to: &End) {
    let mut bytes = [0; 512];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(len) => to.send(SerialInput::Bytes(&bytes[..len])),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                log::debug!("serial input ends: {e}");
                return;
            }
        }
    }
}

fn read_terminal(to: &End) {
    let mut escape = Escape::default();
    let mut bytes = [0; 512];
    loop {
        let len = match io::stdin().read(&mut bytes) {
            Ok(0) => return,
            Ok(len) => len,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                log::debug!("the terminal is gone: {e}");
                return;
            }
        };
        for key in bytes[..len].iter().filter_map(|byte| escape.feed(*byte)) {
            match key {
                Key::Byte(byte) => to.send(SerialInput::Bytes(&[byte])),
                Key::Break => to.send(SerialInput::Break),
                key => press(&to.remote, key),
            }
        }
    }
}

/// Does what a typed key means that is not for the guest.
pub(crate) fn press(remote: &Remote, key: Key) {
    match key {
        Key::Byte(_) | Key::Break => {}
        Key::Quit => remote.ask(Request::Quit),
        Key::Statistics => remote.ask(Request::Statistics),
        Key::PowerButton => remote.press_power_button(),
        Key::Help => say(&format!("\n{HELP}")),
        Key::Engine => remote.ask(Request::SwitchEngine),
        Key::Screen => say("\ntrine: the screen is not here; start with --display terminal\n"),
    }
}

/// Says something to the user, who may not be there any more.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Serves one client after the other.
fn serve(listener: &UnixListener, client: &Client, to: &End) {
    let set = |to: Option<UnixStream>| {
        *client.lock().unwrap_or_else(PoisonError::into_inner) = to;
    };
    for stream in listener.incoming() {
        let both = stream.and_then(|stream| Ok((stream.try_clone()?, stream)));
        match both {
            Ok((writer, reader)) => {
                set(Some(writer));
                read_stream(reader, to);
                set(None);
            }
            Err(e) => {
                log::debug!("a client of a serial port or console failed: {e}");
                thread::sleep(RETRY);
            }
        }
    }
}

/// Writes to whoever is the client; while there is none, bytes are lost, as on a cable with
/// nobody at its end.
struct ToClient(Client);

impl Write for ToClient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Not under the lock: the client may be slow to read.
        let client = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = client.as_ref().and_then(|stream| stream.try_clone().ok());
        drop(client);
        if let Some(mut stream) = stream
            && let Err(e) = stream.write_all(bytes)
        {
            log::debug!("the client of a serial port or console is gone: {e}");
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut escape = Escape::default();
        bytes.iter().filter_map(|byte| escape.feed(*byte)).collect()
    }

    #[test]
    fn escapes_are_taken_out_and_the_rest_passes() {
        assert_eq!(keys(b"ls\r"), [Key::Byte(b'l'), Key::Byte(b's'), Key::Byte(b'\r')]);
        assert_eq!(keys(b"\x01x"), [Key::Quit]);
        assert_eq!(keys(b"\x01hx"), [Key::Help, Key::Byte(b'x')]);
        assert_eq!(keys(b"\x01\x01x"), [Key::Byte(1), Key::Byte(b'x')]);
        assert_eq!(keys(b"\x01\x01\x01b"), [Key::Byte(1), Key::Break]);
        assert_eq!(keys(b"\x01es"), [Key::Engine, Key::Byte(b's')]);
        assert_eq!(keys(b"\x01s\x01p\x01?"), [Key::Statistics, Key::PowerButton, Key::Help]);
    }

    #[test]
    fn an_unknown_escape_is_swallowed_and_a_lone_one_waits() {
        assert_eq!(keys(b"\x01zq"), [Key::Byte(b'q')]);
        assert_eq!(keys(b"\x01"), []);
        let mut escape = Escape::default();
        assert_eq!(escape.feed(1), None);
        assert_eq!(escape.feed(b'x'), Some(Key::Quit));
    }
}
