//! The far ends of a serial line: where the guest's bytes go, and what comes in.

use std::{
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use crossbeam::channel::{Receiver, Sender, bounded};
use trine_devices::SerialPeer;

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

/// Bytes on their way to a writer; a guest that sends faster waits.
const IN_FLIGHT: usize = 1 << 16;

/// What goes to the thread that writes.
enum Item {
    Byte(u8),
    /// Everything before is to be written; then this is dropped.
    Flush(Sender<()>),
}

/// A stream of the host's that a thread writes to, so that a guest that sends byte by byte does
/// not cost a system call each. Clones lead to the same stream.
#[derive(Clone)]
pub struct Output(Sender<Item>);

impl Output {
    /// An output to `stream`.
    ///
    /// # Errors
    /// If the host has no thread for it.
    pub fn new(stream: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (sender, receiver) = bounded(IN_FLIGHT);
        thread::Builder::new()
            .name("serial output".into())
            .spawn(move || write_all(stream, &receiver))?;
        Ok(Self(sender))
    }

    /// Waits until everything sent so far is written, or the stream has failed.
    pub fn flush(&self) {
        let (done, wait) = bounded(1);
        if self.0.send(Item::Flush(done)).is_ok() {
            // It never gets a message: the other end is dropped when the bytes are out.
            let _ = wait.recv();
        }
    }
}

impl SerialPeer for Output {
    fn transmit(&mut self, byte: u8) {
        // A stream that was closed loses what comes, as a cable that was pulled.
        let _ = self.0.send(Item::Byte(byte));
    }
}

fn write_all(mut stream: impl Write, receiver: &Receiver<Item>) {
    let (mut bytes, mut flushes) = (Vec::new(), Vec::new());
    while let Ok(first) = receiver.recv() {
        for item in std::iter::once(first).chain(receiver.try_iter().take(IN_FLIGHT)) {
            match item {
                Item::Byte(byte) => bytes.push(byte),
                Item::Flush(done) => flushes.push(done),
            }
        }
        if let Err(e) = stream.write_all(&bytes).and_then(|()| stream.flush()) {
            log::warn!("serial output is lost: {e}");
            return;
        }
        bytes.clear();
        flushes.clear();
    }
}

#[cfg(test)]
mod tests {
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
        other.flush();
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
        for _ in 0..2 * IN_FLIGHT {
            output.transmit(b'x');
        }
        output.flush();
    }
}
