//! `--display terminal`: the guest's screen on the terminal, and its keyboard there.
//!
//! The screen is drawn on the terminal at standard input, in its alternate screen: text modes as they
//! are, graphics with two dots in each cell. Standard output stays the serial port's. Where that is
//! the same terminal (`--serial stdio`), the two are its two sides: one is in front, and what is typed
//! is for the one in front; Ctrl-A c turns them. While the screen is in front, the serial port's output
//! is kept, the last 256 KiB of it, and it is printed when its side comes to the front or the run ends.
//! What is said to the user is said on that side as well, so it comes to the front for that.

mod glyphs;
mod keys;
mod paint;

use std::{
    fs::File,
    io::{self, Read, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use self::{
    glyphs::Page,
    keys::Typed,
    paint::{Colors, Painter},
};
use crate::{
    Remote, SerialInput,
    console::{self, Escape},
    seat::{Monitor, Typist, strokes},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{isatty, tcgetwinsize},
};

/// How often the screen is looked at.
const PERIOD: Duration = Duration::from_millis(40);
/// A terminal sends the rest of a key's sequence before this is over.
const SEQUENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// How much of the serial port's output is kept.
const KEPT_MAX: usize = 256 << 10;
/// The alternate screen, and the way back.
const ENTER: &[u8] = b"\x1b[?1049h";

/// The terminal's two sides. Clones are the same.
#[derive(Clone)]
pub struct Sides(Arc<Mutex<Shared>>);

struct Shared {
    terminal: File,
    shows_screen: bool,
    /// The screen came to the front, or the other side said something: all of it is to be drawn.
    is_stale: bool,
    /// Serial output that was not printed yet.
    kept: Vec<u8>,
}

impl Sides {
    /// The terminal at standard input, with the serial port in front.
    ///
    /// # Errors
    /// If there is none.
    pub fn open() -> io::Result<Self> {
        let terminal = console::terminal()?;
        let shared = Shared { terminal, shows_screen: false, is_stale: true, kept: Vec::new() };
        Ok(Self(Arc::new(Mutex::new(shared))))
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where serial output goes: to standard output, unless the screen is in front of it.
    pub(crate) fn serial_side(&self) -> impl Write + Send + 'static {
        SerialSide { sides: self.clone(), is_behind: isatty(rustix::stdio::stdout()) }
    }

    /// Brings the screen to the front, or the serial port.
    fn turn(&self, to_screen: bool) {
        let mut shared = self.lock();
        if shared.shows_screen == to_screen {
            return;
        }
        (shared.shows_screen, shared.is_stale) = (to_screen, true);
        if to_screen {
            console::leave_screen_at_end(true);
            shared.draw(ENTER);
        } else {
            console::leave_screen_at_end(false);
            shared.draw(console::LEAVE_SCREEN);
            let kept = std::mem::take(&mut shared.kept);
            let mut out = io::stdout();
            // It may be closed: then nobody misses it.
            let _ = out.write_all(&kept).and_then(|()| out.flush());
        }
    }

    fn shows_screen(&self) -> bool {
        self.lock().shows_screen
    }

    /// Shows the guest's screen on the terminal and passes on what is typed there. `has_serial` is
    /// whether the serial port is the terminal's other side.
    ///
    /// # Errors
    /// If the host has no threads for it.
    pub fn start(
        &self,
        monitor: Arc<Monitor>,
        typist: Arc<Typist>,
        remote: Remote,
        has_serial: bool,
    ) -> io::Result<Front> {
        let (drawn, typed) = (self.clone(), self.clone());
        thread::Builder::new().name("screen".into()).spawn(move || drawn.draw_all(&monitor))?;
        let person = Person { sides: typed, typist, remote, has_serial };
        thread::Builder::new().name("terminal".into()).spawn(move || person.type_all())?;
        self.turn(true);
        Ok(Front(self.clone()))
    }

    fn draw_all(&self, monitor: &Monitor) {
        let has_all = std::env::var("COLORTERM").is_ok_and(|v| v == "truecolor" || v == "24bit");
        let mut painter = Painter::new(if has_all { Colors::True } else { Colors::Indexed });
        loop {
            if self.shows_screen() {
                self.draw_once(monitor, &mut painter);
            }
            thread::sleep(PERIOD);
        }
    }

    fn draw_once(&self, monitor: &Monitor, painter: &mut Painter) {
        let size = tcgetwinsize(&self.lock().terminal);
        let Ok(size) = size.map(|size| (size.ws_col.into(), size.ws_row.into())) else { return };
        let mut page = None;
        monitor.seat().look(&mut |display, _| {
            page = display.text().map(|text| Page::of_text(&text, size));
        });
        let page = page.unwrap_or_else(|| monitor.see(|canvas| Page::of_picture(canvas, size)));
        let mut shared = self.lock();
        if std::mem::take(&mut shared.is_stale) {
            painter.forget();
        }
        if shared.shows_screen {
            shared.draw(painter.paint(page).as_bytes());
        } else {
            shared.is_stale = true;
        }
    }
}

impl Shared {
    fn draw(&mut self, bytes: &[u8]) {
        if let Err(e) = self.terminal.write_all(bytes) {
            log::debug!("the terminal takes no more: {e}");
        }
    }
}

/// The guest's screen is on the terminal while this lives.
pub struct Front(Sides);

impl Drop for Front {
    fn drop(&mut self) {
        self.0.turn(false);
    }
}

/// Serial output.
struct SerialSide {
    sides: Sides,
    /// The screen hides it when it is in front.
    is_behind: bool,
}

impl Write for SerialSide {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut shared = self.sides.lock();
        if !(self.is_behind && shared.shows_screen) {
            drop(shared);
            return io::stdout().write(bytes);
        }
        shared.kept.extend_from_slice(bytes);
        let excess = shared.kept.len().saturating_sub(2 * KEPT_MAX);
        if excess > 0 {
            let first = shared.kept.len() - KEPT_MAX;
            shared.kept.drain(..first);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// Whoever sits at the terminal.
struct Person {
    sides: Sides,
    typist: Arc<Typist>,
    remote: Remote,
    has_serial: bool,
}

impl Person {
    /// Passes on what is typed.
    fn type_all(&self) {
        let mut escape = Escape::default();
        let (mut bytes, mut pending) = ([0; 512], Vec::new());
        loop {
            if !pending.is_empty() && !more_comes() {
                self.type_keys(&mut pending, true);
            }
            let len = match io::stdin().read(&mut bytes) {
                Ok(0) => return,
                Ok(len) => len,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return log::debug!("the terminal is gone: {e}"),
            };
            for key in bytes[..len].iter().filter_map(|byte| escape.feed(*byte)) {
                self.press(key, &mut pending);
            }
            self.type_keys(&mut pending, false);
        }
    }

    fn press(&self, key: console::Key, pending: &mut Vec<u8>) {
        match key {
            console::Key::Byte(byte) if self.sides.shows_screen() => pending.push(byte),
            console::Key::Byte(_) if !self.has_serial => {}
            console::Key::Byte(byte) => {
                // Rather lose a key than no longer hear Ctrl-A.
                let _ = self.remote.serial_input(SerialInput::Bytes(&[byte]));
            }
            console::Key::Break => _ = self.remote.serial_input(SerialInput::Break),
            console::Key::Screen => self.sides.turn(!self.sides.shows_screen()),
            console::Key::Help | console::Key::Statistics | console::Key::Engine => {
                self.sides.turn(false);
                console::press(&self.remote, key);
            }
            key => console::press(&self.remote, key),
        }
    }

    /// Types the keys that `pending` begins with, and takes them out.
    fn type_keys(&self, pending: &mut Vec<u8>, is_all: bool) {
        while let Typed::Chord(len, chord) = keys::first(pending, is_all) {
            pending.drain(..len);
            if let Err(e) = self.typist.give(&strokes(&chord)) {
                log::debug!("keys are lost: {e}");
            }
        }
    }
}

/// Whether the terminal sends more at once.
fn more_comes() -> bool {
    let stdin = rustix::stdio::stdin();
    poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&SEQUENCE)).is_ok_and(|ready| ready > 0)
}
