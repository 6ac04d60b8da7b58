//! The machine's end of the control socket.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use trine_devices::{Key, Text, type_text};

use super::{Answer, Button, Controls, Order, Press, Screen, Status};
use crate::{
    Request,
    seat::{Monitor, Typist, TypistError},
    socket,
};

/// Clients at a time.
const CLIENTS_MAX: usize = 32;
/// Bytes of a line.
const LINE_MAX: u64 = 1 << 20;
/// How often the screen is looked at for a text that is waited for.
const POLL: Duration = Duration::from_millis(30);
/// How long somebody waits who waits for ever.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a click lasts, in guest time: a mouse that reports 10 times a second sees it.
const CLICK_NS: u64 = 120_000_000;
/// How long the machine may take to do what it is asked.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why an order is refused.
type Refusal = String;

/// The server.
pub struct CtlServer {
    monitor: Arc<Monitor>,
    typist: Arc<Typist>,
    controls: Arc<dyn Controls>,
    /// The mouse's buttons that are held.
    buttons: Mutex<u8>,
    clients: AtomicUsize,
}

impl CtlServer {
    /// A server for the machine that these belong to.
    #[must_use]
    pub fn new(monitor: Arc<Monitor>, typist: Arc<Typist>, controls: Arc<dyn Controls>) -> Self {
        let (buttons, clients) = (Mutex::new(0), AtomicUsize::new(0));
        Self { monitor, typist, controls, buttons, clients }
    }

    /// Listens at `path` and serves whoever comes, for as long as the process lives.
    ///
    /// # Errors
    /// If there is no such socket, or no thread.
    pub fn start(self, path: &Path) -> io::Result<()> {
        let listener = socket::listen(path)?;
        let server = Arc::new(self);
        thread::Builder::new().name("ctl".into()).spawn(move || {
            for client in listener.incoming() {
                let served = client.and_then(|client| {
                    let server = server.clone();
                    let thread = thread::Builder::new().name("ctl client".into());
                    thread.spawn(move || server.serve(&client))
                });
                if let Err(e) = served {
                    log::debug!("a client of the control socket could not be served: {e}");
                    thread::sleep(POLL);
                }
            }
        })?;
        Ok(())
    }

    /// Serves a client until it goes.
    pub fn serve(&self, client: &UnixStream) {
        if self.clients.fetch_add(1, Ordering::Relaxed) < CLIENTS_MAX {
            if let Err(e) = self.talk(client) {
                log::debug!("a client of the control socket has gone: {e}");
            }
        } else {
            log::warn!("a client of the control socket is sent away: there are too many");
        }
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }

    fn talk(&self, mut client: &UnixStream) -> io::Result<()> {
        let mut from = BufReader::new(client);
        let mut line = Vec::new();
        while from.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? > 0 {
            if line.len() as u64 == LINE_MAX {
                return Err(io::Error::other("it sent a line that is too long"));
            }
            let answer = match serde_json::from_slice(&line) {
                Ok(order) => self.obey(&order, &|| has_hung_up(client)),
                Err(e) => Answer::Refused { why: format!("this is no order: {e}") },
            };
            line = serde_json::to_vec(&answer)?;
            line.push(b'\n');
            client.write_all(&line)?;
            line.clear();
        }
        Ok(())
    }

    /// Does what is wanted. Nobody waits for a text any more once `is_gone`.
    pub(super) fn obey(&self, order: &Order, is_gone: &dyn Fn() -> bool) -> Answer {
        let done = match order {
            Order::ScreenText => {
                return match self.text() {
                    Ok(text) => Answer::Text { lines: text.lines() },
                    Err(why) => Answer::Refused { why },
                };
            }
            Order::WaitText { text, seconds } => return self.wait_text(text, *seconds, is_gone),
            Order::Status => return Answer::Status(self.status()),
            Order::Key { chords } => self.key(chords),
            Order::Type { text } => self.type_text(text),
            Order::Mouse { right, down, wheel } => {
                self.monitor.seat().point(*right, *down, *wheel, self.held(0, 0));
                Ok(())
            }
            Order::Button { button, press } => self.press(*button, *press),
            Order::Screenshot { file } => self.screenshot(file),
            Order::Eject { drive } => self.controls.change_medium(drive, None, false),
            Order::Insert { drive, file, is_read_only } => {
                self.controls.change_medium(drive, Some(file), *is_read_only)
            }
            Order::Balloon { bytes } => self.controls.set_balloon(*bytes),
            Order::Pause => self.ask(Request::Pause),
            Order::Resume => self.ask(Request::Resume),
            Order::Reset => self.ask(Request::Reset),
            Order::Power => {
                self.controls.press_power_button();
                Ok(())
            }
            Order::Quit => {
                self.controls.quit();
                Ok(())
            }
        };
        done.map_or_else(|why| Answer::Refused { why }, |()| Answer::Done)
    }

    fn ask(&self, request: Request) -> Result<(), Refusal> {
        let is_done = self.controls.ask(request, PATIENCE);
        is_done.then_some(()).ok_or_else(|| "the machine does not do it".into())
    }

    fn key(&self, chords: &[String]) -> Result<(), Refusal> {
        let known = |names: &String| {
            Key::chord(names).ok_or_else(|| format!("'{names}' is no key, and no chord of keys"))
        };
        let chords = chords.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        let typed = chords.iter().try_for_each(|chord| self.typist.type_chord(chord));
        typed.map_err(|e: TypistError| e.to_string())
    }

    fn type_text(&self, text: &str) -> Result<(), Refusal> {
        let strokes = type_text(text)
            .map_err(|character| format!("no key of a US keyboard types {character:?}"))?;
        self.typist.type_strokes(&strokes).map_err(|e| e.to_string())
    }

    /// Changes which buttons are held; returns those that are now.
    fn held(&self, released: u8, pressed: u8) -> u8 {
        let mut buttons = self.buttons.lock().unwrap_or_else(PoisonError::into_inner);
        *buttons = *buttons & !released | pressed;
        *buttons
    }

    fn press(&self, button: Button, press: Press) -> Result<(), Refusal> {
        let seat = self.monitor.seat();
        let bit = match button {
            Button::Left => 1 << 0,
            Button::Right => 1 << 1,
            Button::Middle => 1 << 2,
            Button::Fourth => 1 << 3,
            Button::Fifth => 1 << 4,
        };
        if press != Press::Up {
            seat.point(0, 0, 0, self.held(0, bit));
        }
        let is_seen = press != Press::Click || seat.wait_ns(CLICK_NS, PATIENCE);
        if press != Press::Down {
            seat.point(0, 0, 0, self.held(bit, 0));
        }
        is_seen.then_some(()).ok_or_else(|| "the machine stands".into())
    }

    fn screenshot(&self, file: &PathBuf) -> Result<(), Refusal> {
        let ((width, height), pixels) =
            self.monitor.see(|canvas| (canvas.size(), canvas.pixels().to_vec()));
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let colors: Vec<u8> =
            pixels.iter().flat_map(|dot| dot.to_be_bytes()[1..].to_vec()).collect();
        let written = encoder.write_header().and_then(|mut png| png.write_image_data(&colors));
        written.map_err(|e| format!("the picture is none: {e}"))?;
        std::fs::write(file, bytes).map_err(|e| format!("{}: {e}", file.display()))
    }

    /// What the screen shows, and its text.
    fn look(&self) -> (Screen, Option<Text>) {
        let mut text = None;
        self.monitor.seat().look(&mut |display, _| text = display.text());
        let screen = match &text {
            Some(text) => Screen::Text { columns: text.columns(), rows: text.rows().len() },
            None => {
                let (width, height) = self.monitor.see(|canvas| canvas.size());
                Screen::Graphics { width, height }
            }
        };
        (screen, text)
    }

    fn text(&self) -> Result<Text, Refusal> {
        let (screen, text) = self.look();
        text.ok_or_else(|| {
            format!("the screen shows {screen}; only a text mode's text can be read")
        })
    }

    fn wait_text(&self, wanted: &str, seconds: f64, is_gone: &dyn Fn() -> bool) -> Answer {
        let patience = Duration::try_from_secs_f64(seconds).map_or(LONGEST, |t| t.min(LONGEST));
        let end = Instant::now() + patience;
        loop {
            let shown = self.text();
            let has = |text: &Text| text.lines().iter().any(|line| line.contains(wanted));
            if shown.as_ref().is_ok_and(has) {
                return Answer::Done;
            }
            if Instant::now() >= end || is_gone() {
                let there = shown.map_or_else(
                    |why| why,
                    |text| {
                        let lines = text.lines();
                        let last = lines.iter().rfind(|line| !line.is_empty());
                        format!("the screen ends with {:?}", last.map_or("", |line| line))
                    },
                );
                return Answer::TimedOut {
                    why: format!("{wanted:?} did not appear within {seconds} s: {there}"),
                };
            }
            thread::sleep(POLL);
        }
    }

    fn status(&self) -> Status {
        Status {
            is_running: self.controls.is_running(),
            guest_seconds: self.monitor.seat().now().ns() as f64 / 1e9,
            screen: self.look().0,
            drives: self.controls.drives(),
            balloon: self.controls.balloon(),
        }
    }
}

/// Whether nobody hears an answer any more.
fn has_hung_up(client: &UnixStream) -> bool {
    let mut fds = [PollFd::new(client, PollFlags::empty())];
    let polled = poll(&mut fds, Some(&Timespec::default()));
    polled.is_err() || fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}
