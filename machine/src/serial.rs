//! The far ends of a serial line: where the guest's bytes go, and what comes in.

use std::{
    io::Write,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use trine_devices::SerialPeer;

use crate::{Config, disk::Wake};

/// Something that comes in at the serial port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SerialInput<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// A break condition.
    Break,
}

/// A capture keeps so many bytes; what a guest sends beyond them is lost.
const CAPTURE_MAX: usize = 64 << 20;

/// Keeps what the guest sends. Clones are the same.
#[derive(Clone, Default, Debug)]
pub struct Capture(Arc<Mutex<Vec<u8>>>);

impl Capture {
    /// What was sent so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().clone()
    }

    /// Calls `f` with what was sent so far.
    pub fn with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SerialPeer for Capture {
    fn transmit(&mut self, byte: u8) {
        let mut bytes = self.lock();
        if bytes.len() < CAPTURE_MAX {
            bytes.push(byte);
        }
    }
}

/// Nobody listens.
pub(crate) struct Nobody;

impl SerialPeer for Nobody {
    fn transmit(&mut self, _byte: u8) {}
}

/// How much waits for each of those who hear a machine's guest.
pub(crate) fn backlogs(config: &Config) -> Vec<Arc<AtomicUsize>> {
    let all = [&config.serial, &config.debug_console, &config.console];
    all.into_iter().flatten().filter_map(|peer| peer.backlog()).collect()
}

/// So many bytes may wait for a writer before a guest that asks is told to wait as well.
const ROOM: usize = 64 << 10;
/// The most that is written at once.
const PIECE: usize = 16 << 10;

/// A stream of the host's that a thread writes to, so that a guest that sends byte by byte does
/// not cost a system call each, and that nobody else waits for. Clones lead to the same stream.
#[derive(Clone)]
pub struct Output(Arc<Handle>);

/// With the last one the thread ends.
struct Handle(Arc<Stream>);

/// What the thread shares with those who send.
struct Stream {
    queue: Mutex<Queue>,
    /// There is something to be written, something was written, or it is over.
    news: Condvar,
    /// Bytes that were sent and not yet written.
    waiting: Arc<AtomicUsize>,
    /// Somebody found too little room and is to be woken.
    is_awaited: AtomicBool,
    wake: OnceLock<Wake>,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Counted without end.
    sent: u64,
    written: u64,
    is_closing: bool,
    has_failed: bool,
}

impl Output {
    /// An output to `stream`.
    ///
    /// # Errors
    /// If the host has no thread for it.
    pub fn new(stream: impl Write + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Stream {
            queue: Mutex::default(),
            news: Condvar::new(),
            waiting: Arc::default(),
            is_awaited: AtomicBool::new(false),
            wake: OnceLock::new(),
        });
        let writer = Arc::clone(&shared);
        let thread = thread::Builder::new().name("serial output".into());
        thread.spawn(move || writer.write_all(stream))?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Waits until everything sent so far is written, or the stream has failed, but not for longer
    /// than `patience`. Whether it is written.
    pub fn flush(&self, patience: Option<Duration>) -> bool {
        let Stream { news, .. } = &*self.0.0;
        let mut queue = self.0.0.lock();
        let (sent, until) = (queue.sent, patience.map(|patience| Instant::now() + patience));
        while queue.written < sent && !queue.has_failed {
            queue = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => news.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(left) => {
                    news.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        !queue.has_failed
    }
}

impl SerialPeer for Output {
    fn transmit(&mut self, byte: u8) {
        let stream = &self.0.0;
        let mut queue = stream.lock();
        // A stream that was closed loses what comes, as a cable that was pulled.
        if !queue.has_failed {
            queue.bytes.push(byte);
            queue.sent += 1;
            stream.waiting.fetch_add(1, Ordering::SeqCst);
            if queue.bytes.len() == 1 {
                stream.news.notify_all();
            }
        }
    }

    fn room(&self) -> usize {
        let Stream { waiting, is_awaited, wake, .. } = &*self.0.0;
        let room = || ROOM.saturating_sub(waiting.load(Ordering::SeqCst));
        if wake.get().is_none() {
            return usize::MAX;
        }
        if room() >= PIECE {
            return room();
        }
        // First the wish, then another look: what is written in between wakes somebody.
        is_awaited.store(true, Ordering::SeqCst);
        room()
    }

    fn on_room(&mut self, wake: Wake) {
        // There is one chip at a line.
        let _ = self.0.0.wake.set(wake);
    }

    fn backlog(&self) -> Option<Arc<AtomicUsize>> {
        Some(self.0.0.waiting.clone())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().is_closing = true;
        self.0.news.notify_all();
    }
}

impl Stream {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's life.
    fn write_all(&self, mut stream: impl Write) {
        loop {
            let mut queue = self.lock();
            while queue.bytes.is_empty() && !queue.is_closing {
                queue = self.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let bytes = std::mem::take(&mut queue.bytes);
            drop(queue);
            if bytes.is_empty() {
                return;
            }
            for piece in bytes.chunks(PIECE) {
                let done = stream.write_all(piece).and_then(|()| stream.flush());
                self.written(piece.len(), done.is_err());
                if let Err(e) = done {
                    log::warn!("serial output is lost: {e}");
                    return;
                }
            }
        }
    }

    fn written(&self, len: usize, has_failed: bool) {
        let mut queue = self.lock();
        queue.written += len as u64;
        self.waiting.fetch_sub(len, Ordering::SeqCst);
        if has_failed {
            queue.has_failed = true;
            queue.bytes.clear();
            self.waiting.store(0, Ordering::SeqCst);
        }
        drop(queue);
        self.news.notify_all();
        if self.is_awaited.swap(false, Ordering::SeqCst)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_flush_waits_for_every_byte() {
        let sink = Sink::default();
        let mut output = Output::new(sink.clone()).expect("a thread");
        let other = output.clone();
        for byte in 0..200 {
            output.transmit(byte);
        }
        assert!(other.flush(None));
        assert_eq!(*sink.0.lock().expect("no panic"), (0..200).collect::<Vec<u8>>());
    }

    #[test]
    fn a_stream_that_failed_loses_bytes_and_blocks_nobody() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut output = Output::new(Broken).expect("a thread");
        for _ in 0..2 * ROOM {
            output.transmit(b'x');
        }
        assert!(!output.flush(None));
    }

    #[test]
    fn whoever_finds_no_room_is_woken_when_there_is_some() {
        /// Writes when it is let.
        struct Slow(mpsc::Receiver<()>);
        impl Write for Slow {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.recv().map_err(std::io::Error::other)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (let_it, may) = mpsc::channel();
        let (woken, wakes) = mpsc::channel();
        let mut output = Output::new(Slow(may)).expect("a thread");
        assert_eq!(output.room(), usize::MAX, "nobody would be woken");
        output.on_room(Arc::new(move || _ = woken.send(())));
        assert_eq!(output.room(), ROOM);
        for _ in 0..ROOM + 5 {
            output.transmit(b'x');
        }
        assert_eq!(output.room(), 0);
        let backlog = output.backlog().expect("there is one");
        assert_eq!(backlog.load(Ordering::SeqCst), ROOM + 5);
        assert!(!output.flush(Some(Duration::from_millis(1))));
        let_it.send(()).expect("it waits for that");
        wakes.recv().expect("a wake");
        while output.room() == 0 {
            let_it.send(()).expect("it waits for that");
            wakes.recv().expect("a wake");
        }
        // Whoever sees this much does not ask to be woken.
        drop(let_it);
        assert!(!output.flush(None));
        assert_eq!(output.room(), ROOM, "what is lost takes no room");
    }
}
