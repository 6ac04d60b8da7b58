//! A VNC server: viewers see the machine's monitor and use its keyboard and mouse.
//!
//! Sources: RFC 6143, "The Remote Framebuffer Protocol"; for what is newer, the RFB community's
//! specification (rfbproto).
//!
//! Each viewer has two threads. One reads what it wants (`messages`) and passes on what its person
//! does (`hands`), the other one sends pictures (`updates`). The picture is drawn once for all of them
//! ([`Monitor`]) while one at least has asked for it, and each is sent what it has not seen: whoever
//! is slow sees fewer pictures, and nobody waits for him. A viewer takes the memory of a picture and
//! of what is sent of it at a time, and two streams' windows.
//!
//! Guests have a PS/2 mouse, which cannot be told where a pointer is. Viewers that know QEMU's pointer
//! motion change grab the pointer; with others, guest's and viewer's pointer may part.

#[cfg(test)]
mod decode;
mod encode;
mod hands;
mod handshake;
mod keysym;
mod messages;
mod options;
mod password;
mod pixels;
mod updates;

use std::{
    io::{self, BufReader},
    net::{Shutdown, TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use self::{
    hands::{Hands, Sign},
    messages::Message,
    pixels::PixelFormat,
    updates::Updates,
};
pub use options::{Share, VncAddress, VncOptions};
pub use password::Password;

use crate::{
    seat::{Monitor, Typist},
    socket,
};

/// Viewers at a time, those among them that are still to say who they are.
const VIEWERS_MAX: usize = 16;
/// A viewer that does not say its next word while it greets is sent away, and so is one that takes
/// nothing of what it asked for.
const GREETING: Duration = Duration::from_secs(20);
const SENDING: Duration = Duration::from_secs(60);
/// The name that viewers show.
const NAME: &str = "Trine";

/// The server.
pub struct VncServer {
    monitor: Arc<Monitor>,
    typist: Arc<Typist>,
    password: Option<Password>,
    share: Share,
    viewers: Mutex<Viewers>,
}

#[derive(Default)]
struct Viewers {
    next: u64,
    present: Vec<Present>,
}

/// A viewer that is connected.
struct Present {
    number: u64,
    stream: UnixStream,
    /// It has said who it is, and was let in.
    is_in: bool,
}

impl VncServer {
    /// A server for who looks at `monitor` and types by `typist`.
    #[must_use]
    pub fn new(
        monitor: Arc<Monitor>,
        typist: Arc<Typist>,
        password: Option<Password>,
        share: Share,
    ) -> Self {
        Self { monitor, typist, password, share, viewers: Mutex::default() }
    }

    /// Listens where `options` say and serves whoever comes, for as long as the process lives.
    /// Returns the Unix socket that has to be removed, if there is one.
    ///
    /// # Errors
    /// One line that says what is wrong: the password's file, or the address.
    pub fn start(
        options: &VncOptions,
        monitor: Arc<Monitor>,
        typist: Arc<Typist>,
    ) -> Result<Option<PathBuf>, String> {
        let address = &options.address;
        let password = options.password.as_deref().map(read_password).transpose()?;
        if password.is_none() && !address.is_local() {
            log::warn!(
                "anyone who reaches {address} sees this guest and types into it: no password"
            );
        }
        let server = Arc::new(Self::new(monitor, typist, password, options.share));
        let failed = |e: io::Error| format!("--display vnc:{address}: {e}");
        let thread = thread::Builder::new().name("vnc".into());
        match address {
            VncAddress::Tcp(address) => {
                let listener = TcpListener::bind(address).map_err(failed)?;
                thread.spawn(move || {
                    server.accept(|| {
                        let (viewer, _) = listener.accept()?;
                        viewer.set_nodelay(true)?;
                        Ok(any_socket(viewer))
                    });
                })
            }
            VncAddress::Unix(path) => {
                let listener: UnixListener = socket::listen(path).map_err(failed)?;
                thread.spawn(move || server.accept(|| Ok(listener.accept()?.0)))
            }
        }
        .map_err(failed)?;
        Ok(match address {
            VncAddress::Tcp(_) => None,
            VncAddress::Unix(path) => Some(path.clone()),
        })
    }

    /// Serves whoever `next` brings.
    fn accept(self: &Arc<Self>, next: impl Fn() -> io::Result<UnixStream>) {
        loop {
            let served = next().and_then(|viewer| {
                let server = self.clone();
                thread::Builder::new().name("viewer".into()).spawn(move || server.serve(viewer))
            });
            if let Err(e) = served {
                log::debug!("a viewer could not be served: {e}");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }

    fn viewers(&self) -> MutexGuard<'_, Viewers> {
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a viewer until it goes.
    pub fn serve(&self, viewer: UnixStream) {
        let Ok(stream) = viewer.try_clone() else { return };
        let number = {
            let mut viewers = self.viewers();
            if viewers.present.len() >= VIEWERS_MAX {
                return log::warn!("a viewer is sent away: there are {VIEWERS_MAX} already");
            }
            viewers.next += 1;
            let number = viewers.next;
            viewers.present.push(Present { number, stream, is_in: false });
            number
        };
        if let Err(e) = self.admit(number, &viewer).and_then(|size| self.talk(&viewer, size)) {
            log::info!("a viewer has gone: {e}");
        }
        self.viewers().present.retain(|present| present.number != number);
    }

    /// Has a viewer greet and introduces the machine to it. Returns the size that it was told.
    fn admit(&self, number: u64, mut viewer: &UnixStream) -> io::Result<(usize, usize)> {
        viewer.set_read_timeout(Some(GREETING))?;
        viewer.set_write_timeout(Some(SENDING))?;
        let is_shared = handshake::admit(&mut viewer, self.password.as_ref())?;
        if !self.make_room(number, is_shared || self.share == Share::Ignore) {
            return Err(io::Error::other("it wants to be alone"));
        }
        viewer.set_read_timeout(None)?;
        let size = self.monitor.see(|canvas| canvas.size());
        handshake::introduce(&mut viewer, size, NAME)?;
        Ok(size)
    }

    /// A viewer was let in. If it does not share, the others have to go, or it has.
    fn make_room(&self, number: u64, is_shared: bool) -> bool {
        let mut viewers = self.viewers();
        let (new, others): (Vec<_>, Vec<_>) =
            viewers.present.iter_mut().partition(|present| present.number == number);
        let mut others = others.into_iter().filter(|other| other.is_in);
        if !is_shared && self.share == Share::ForceShared && others.next().is_some() {
            return false;
        }
        if !is_shared {
            others.for_each(|other| hang_up(&other.stream));
        }
        new.into_iter().for_each(|present| present.is_in = true);
        true
    }

    /// Does what a viewer wants until it goes.
    fn talk(&self, viewer: &UnixStream, size: (usize, usize)) -> io::Result<()> {
        let updates = Updates::new(self.monitor.clone());
        thread::scope(|scope| {
            let sender = thread::Builder::new().name("viewer's pictures".into());
            let sender = sender.spawn_scoped(scope, || {
                let sent = updates.send(viewer, size);
                // Whoever reads from it learns it so.
                hang_up(viewer);
                sent
            })?;
            let heard = self.listen(viewer, &updates);
            updates.wishes().is_gone = true;
            updates.ring();
            hang_up(viewer);
            match sender.join() {
                Ok(Err(e)) => Err(e),
                _ => heard,
            }
        })
    }

    /// Hears what a viewer wants, and what its person does.
    fn listen(&self, viewer: &UnixStream, updates: &Updates) -> io::Result<()> {
        let mut from = BufReader::new(viewer);
        let mut hands = Hands::new(self.monitor.seat().clone(), self.typist.clone());
        loop {
            match Message::read(&mut from)? {
                Message::PixelFormat(wire) => {
                    let format = PixelFormat::parse(&wire).ok_or_else(|| {
                        let why = format!("it wants pixels that do not exist: {wire:?}");
                        io::Error::new(io::ErrorKind::InvalidData, why)
                    })?;
                    updates.wishes().set_format(format);
                }
                Message::Encodings(encodings) => updates.wishes().set_encodings(&encodings),
                Message::Update { is_incremental, area } => {
                    updates.wishes().ask(is_incremental, area);
                    updates.ring();
                }
                Message::DesktopSize => {
                    updates.wishes().refuse_size();
                    updates.ring();
                }
                Message::Key { keysym, goes_down } => hands.key(Sign::Keysym(keysym), goes_down),
                Message::Keycode { keycode, goes_down } => {
                    hands.key(Sign::Keycode(keycode), goes_down);
                }
                Message::Pointer { buttons, x, y } => {
                    let is_movement = updates.wishes().says_movements;
                    hands.point((x, y), buttons, is_movement);
                }
                Message::CutText => {}
            }
        }
    }
}

/// The password in a file.
fn read_password(file: &Path) -> Result<Password, String> {
    let failed = |why: String| format!("--display vnc: password file {}: {why}", file.display());
    let text = std::fs::read(file).map_err(|e| failed(e.to_string()))?;
    Password::new(&text).ok_or_else(|| failed("its first line is empty".into()))
}

/// A TCP socket as one of no certain kind: reading, writing, hanging up and time limits are the same
/// for all of them.
fn any_socket(stream: TcpStream) -> UnixStream {
    OwnedFd::from(stream).into()
}

fn hang_up(viewer: &UnixStream) {
    // It may have done so itself.
    let _ = viewer.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests;
