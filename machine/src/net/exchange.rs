//! Where a network card and the thread behind it leave frames for each other.
//!
//! Neither waits for the other. What the card sends wakes the thread, and what comes for the card
//! wakes the board. Both ways have room for so much; the card's frames beyond that are lost, as on
//! any Ethernet, and the thread asks for room before it fetches more.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use mio::{Poll, Token, Waker};
use trine_devices::{Frame, Link, Offload, Offloads, plain};
use trine_guest::VmTime;

use crate::disk::Wake;

/// Bytes that may wait for the thread: more than all that guests' windows allow.
const SENT_MAX: usize = 8 << 20;
/// Bytes that the thread may leave for the card.
const RECEIVED_MAX: usize = 2 << 20;
/// What a frame of any length costs.
const FRAME_COST: usize = 128;

/// Both ways.
pub(super) struct Exchange {
    state: Mutex<State>,
    waker: Waker,
    wake: Wake,
}

#[derive(Default)]
struct State {
    sent: Vec<(Vec<u8>, Offload)>,
    sent_cost: usize,
    received: VecDeque<Frame>,
    received_cost: usize,
    /// The thread has found no room and waits for it.
    is_short: bool,
    is_closing: bool,
}

fn cost(bytes: &[u8]) -> usize {
    bytes.len() + FRAME_COST
}

impl Exchange {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_thread(&self) {
        // It fails only where the thread is woken already.
        let _ = self.waker.wake();
    }

    /// What the card has sent since the last time; `None` if the card is gone.
    pub(super) fn take_sent(&self) -> Option<Vec<(Vec<u8>, Offload)>> {
        let mut state = self.state();
        state.sent_cost = 0;
        (!state.is_closing).then(|| std::mem::take(&mut state.sent))
    }

    /// So many bytes can be left for the card now. If none, the thread is woken when it is worth
    /// it to ask again.
    pub(super) fn room(&self) -> usize {
        let mut state = self.state();
        let room = RECEIVED_MAX.saturating_sub(state.received_cost);
        state.is_short = room == 0;
        room
    }

    /// Leaves frames for the card.
    pub(super) fn put(&self, frames: Vec<Frame>) {
        if frames.is_empty() {
            return;
        }
        let mut state = self.state();
        // Where some are left, the card knows.
        let is_news = state.received.is_empty() && !state.is_closing;
        state.received_cost += frames.iter().map(|frame| cost(&frame.bytes)).sum::<usize>();
        state.received.extend(frames);
        drop(state);
        if is_news {
            (self.wake)();
        }
    }

    fn send(&self, frame: &[u8], offload: Offload) {
        let frame = frame.to_vec();
        let mut state = self.state();
        let cost = cost(&frame);
        if state.sent_cost + cost > SENT_MAX {
            return;
        }
        let is_news = state.sent.is_empty();
        state.sent_cost += cost;
        state.sent.push((frame, offload));
        drop(state);
        if is_news {
            self.wake_thread();
        }
    }

    fn receive(&self, takes: Offloads) -> Option<Frame> {
        let mut state = self.state();
        let frame = loop {
            let frame = state.received.pop_front()?;
            state.received_cost = state.received_cost.saturating_sub(cost(&frame.bytes));
            if takes.include(&frame.offload) {
                break frame;
            }
            let mut finished = VecDeque::new();
            plain(&frame.bytes, frame.offload, |bytes| {
                finished.push_back(Frame { bytes: bytes.to_vec(), offload: Offload::default() });
            });
            let costs = finished.iter().map(|frame| cost(&frame.bytes));
            state.received_cost += costs.sum::<usize>();
            finished.append(&mut state.received);
            state.received = finished;
        };
        let is_room = state.received_cost < RECEIVED_MAX / 2;
        let is_awaited = is_room && std::mem::take(&mut state.is_short);
        drop(state);
        if is_awaited {
            self.wake_thread();
        }
        Some(frame)
    }
}

/// The card's end of a cable with a thread at the other. When it is dropped, the thread ends.
pub(super) struct Cable {
    exchange: Arc<Exchange>,
    thread: Option<JoinHandle<()>>,
    takes: Offloads,
}

impl Cable {
    /// Starts a thread that does `work`. It is woken by `token` of `poll`; frames are sent to it with
    /// no more left to do than what is in `takes`.
    ///
    /// # Errors
    /// If the host has no more threads.
    pub(super) fn start(
        takes: Offloads,
        wake: Wake,
        (poll, token): (Poll, Token),
        work: impl FnOnce(Poll, &Exchange) + Send + 'static,
    ) -> io::Result<Self> {
        let waker = Waker::new(poll.registry(), token)?;
        let exchange = Arc::new(Exchange { state: Mutex::default(), waker, wake });
        let theirs = Arc::clone(&exchange);
        let thread = std::thread::Builder::new().name("network".into());
        let thread = thread.spawn(move || work(poll, &theirs))?;
        Ok(Self { exchange, thread: Some(thread), takes })
    }
}

impl Link for Cable {
    fn takes(&self) -> Offloads {
        self.takes
    }

    fn send(&mut self, _now: VmTime, frame: &[u8], offload: Offload) {
        self.exchange.send(frame, offload);
    }

    fn next_frame(&self) -> Option<VmTime> {
        // It was ready when it came, whenever that was.
        (!self.exchange.state().received.is_empty()).then_some(VmTime::ZERO)
    }

    fn receive(&mut self, _now: VmTime, takes: Offloads) -> Option<Frame> {
        self.exchange.receive(takes)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.exchange.state().is_closing = true;
        self.exchange.wake_thread();
        let here = std::thread::current().id();
        // A thread that wakes the board may be the last who has it: that one ends by itself.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != here) {
            // A thread that panicked has said so on stderr.
            let _ = thread.join();
        }
    }
}
