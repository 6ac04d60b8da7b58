//! A disk image behind a controller: workers do what it is asked, so that nobody who gives an order
//! waits for the host.
//!
//! Where guest time follows the host, an answer is there when the host is done, and the board is
//! woken. Where it follows instructions, everything has to happen again in the same way: orders are
//! done one after the other by a single worker, each answer has its time by the order alone, and
//! whoever takes it then waits until the host is done.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use trine_devices::{Answer, Disk, Order};
use trine_guest::VmTime;

use super::{DiskOpenError, DiskSpec, Unopened, image::Image};
use crate::ClockKind;

/// What the board is woken with when an answer is there. It must not wait for anybody who may be
/// dropping the disk: that one waits for the workers, of whom one may be waking.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Workers of a disk where guest time follows the host: one to go on while another one flushes.
/// More only share the host's cores (`what_several_workers_are_worth` measures it).
const WORKERS: usize = 2;

/// How long orders take where guest time follows instructions: as a SATA SSD of some years ago.
const LATENCY_NS: u64 = 60_000;
const FLUSH_NS: u64 = 400_000;
const NS_PER_BYTE: u64 = 2;

/// An image file as a [`Disk`].
///
/// When it is dropped it finishes what it was asked, flushes, and releases the image's locks.
pub struct ImageDisk {
    serial: String,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Where guest time follows instructions: when each order is to be answered, and its number.
    due: Option<BTreeSet<(VmTime, u64)>>,
}

/// What the workers and the disk share.
struct Shared {
    image: Image,
    state: Mutex<State>,
    /// There is an order to do, or nothing will come any more.
    given: Condvar,
    /// An order was done.
    done: Condvar,
    wake: Option<Wake>,
}

#[derive(Default)]
struct State {
    orders: VecDeque<Job>,
    /// How many orders are being done.
    under_way: usize,
    /// Of how many of these the data is being taken out of the guest's memory.
    fetching: usize,
    /// How many orders that were cancelled are still being done. Later ones wait for them: what an
    /// earlier one writes must not come over what a later one has written.
    cancelled: usize,
    /// Counts cancellations; an order of an earlier generation is not answered.
    generation: u64,
    /// How many orders were ever given.
    given: u64,
    /// What the host has answered, by the orders' numbers, and when they were given.
    answers: BTreeMap<u64, (VmTime, Answer)>,
    is_closing: bool,
}

struct Job {
    number: u64,
    generation: u64,
    ticket: u64,
    now: VmTime,
    order: Order,
}

/// Opens a disk. `wake` is called, from another thread, when there is an answer, and never where
/// guest time follows instructions: the board knows the time from [`Disk::next_answer`].
///
/// # Errors
/// [`DiskOpenError`], in a line for the user.
pub fn open(spec: &DiskSpec, clock: ClockKind, wake: Wake) -> Result<ImageDisk, DiskOpenError> {
    match clock {
        ClockKind::Host => ImageDisk::start(spec, WORKERS, Some(wake)),
        ClockKind::Instructions => ImageDisk::start(spec, 1, None),
    }
}

impl ImageDisk {
    /// With so many workers; without `wake`, answers have times by the orders.
    pub(super) fn start(
        spec: &DiskSpec,
        workers: usize,
        wake: Option<Wake>,
    ) -> Result<Self, DiskOpenError> {
        let image = Image::open(spec)?;
        let due = wake.is_none().then(BTreeSet::new);
        let shared = Arc::new(Shared {
            image,
            state: Mutex::default(),
            given: Condvar::new(),
            done: Condvar::new(),
            wake,
        });
        let mut disk = Self { serial: serial(spec), shared, workers: Vec::new(), due };
        for _ in 0..workers {
            let shared = Arc::clone(&disk.shared);
            let worker = std::thread::Builder::new().name("disk".into());
            let worker = worker
                .spawn(move || shared.work())
                .map_err(|e| DiskOpenError { file: spec.file.clone(), why: Unopened::Io(e) })?;
            disk.workers.push(worker);
        }
        Ok(disk)
    }
}

/// The name that was asked for, or the file's.
fn serial(spec: &DiskSpec) -> String {
    let name = || {
        let name = spec.file.file_name().unwrap_or_default().to_string_lossy();
        name.chars().filter(char::is_ascii_graphic).take(20).collect()
    };
    spec.serial.clone().unwrap_or_else(name)
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker's life.
    fn work(&self) {
        let mut state = self.state();
        let mut buffer = Vec::new();
        loop {
            let may_start = state.cancelled == 0;
            let Some(mut job) = may_start.then(|| state.orders.pop_front()).flatten() else {
                if state.is_closing && state.orders.is_empty() {
                    return;
                }
                state = self.given.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.under_way += 1;
            if let Order::Write { data, .. } = &mut job.order
                && data.is_in_guest()
            {
                state.fetching += 1;
                drop(state);
                data.fetch(std::mem::take(&mut buffer));
                state = self.state();
                state.fetching -= 1;
                self.done.notify_all();
            }
            drop(state);
            let result = self.image.obey(&job.order);
            if let Order::Write { data, .. } = job.order {
                buffer = data.into_buffer();
            }
            state = self.state();
            state.under_way -= 1;
            if job.generation == state.generation {
                let answer = Answer { ticket: job.ticket, result };
                state.answers.insert(job.number, (job.now, answer));
                let is_closing = state.is_closing;
                drop(state);
                self.done.notify_all();
                self.wake.iter().filter(|_| !is_closing).for_each(|wake| wake());
                state = self.state();
            } else {
                state.cancelled = state.cancelled.saturating_sub(1);
                self.given.notify_all();
            }
        }
    }
}

/// How long `order` takes, as far as a guest whose time follows instructions can tell.
fn latency_ns(order: &Order) -> u64 {
    let moved = match order {
        Order::Flush => return FLUSH_NS,
        Order::Read { len, .. } => *len,
        Order::Write { data, .. } => data.len(),
        Order::Discard { .. } | Order::WriteZeroes { .. } => 0,
    };
    LATENCY_NS.saturating_add(NS_PER_BYTE.saturating_mul(moved as u64))
}

impl Disk for ImageDisk {
    fn len(&self) -> u64 {
        self.shared.image.len()
    }

    fn is_read_only(&self) -> bool {
        self.shared.image.is_read_only()
    }

    fn serial(&self) -> &str {
        &self.serial
    }

    fn submit(&mut self, now: VmTime, ticket: u64, mut order: Order) {
        // The guest might change it meanwhile, in spite of its duty.
        if self.due.is_some()
            && let Order::Write { data, .. } = &mut order
        {
            data.fetch(Vec::new());
        }
        let mut state = self.shared.state();
        let (number, generation) = (state.given, state.generation);
        state.given += 1;
        if let Some(due) = &mut self.due {
            due.insert((now.after_ns(latency_ns(&order)), number));
        }
        state.orders.push_back(Job { number, generation, ticket, now, order });
        drop(state);
        self.shared.given.notify_one();
    }

    fn next_answer(&self) -> Option<VmTime> {
        match &self.due {
            Some(due) => due.first().map(|(at, _)| *at),
            None => self.shared.state().answers.first_key_value().map(|(_, (given, _))| *given),
        }
    }

    fn take(&mut self, now: VmTime) -> Option<Answer> {
        let is_ready = self.next_answer().is_some_and(|at| at <= now);
        let mut state = self.shared.state();
        let answer = match &mut self.due {
            _ if !is_ready => None,
            None => state.answers.pop_first().map(|(_, answer)| answer),
            Some(due) => {
                let (_, number) = due.pop_first()?;
                loop {
                    if let Some(answer) = state.answers.remove(&number) {
                        break Some(answer);
                    }
                    state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        answer.map(|(_, answer)| answer)
    }

    fn cancel(&mut self) {
        let mut state = self.shared.state();
        state.generation += 1;
        state.answers.clear();
        match &mut self.due {
            // What is done must not depend on how fast the host is: all of it, in its order.
            Some(due) => due.clear(),
            None => {
                state.orders.clear();
                state.cancelled = state.under_way;
                while state.fetching > 0 {
                    state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Drop for ImageDisk {
    fn drop(&mut self) {
        self.shared.state().is_closing = true;
        self.shared.given.notify_all();
        let here = std::thread::current().id();
        // A worker that wakes the board may be the last who has it: that one ends by itself.
        for worker in self.workers.drain(..).filter(|worker| worker.thread().id() != here) {
            // A worker that panicked has said so on stderr.
            let _ = worker.join();
        }
    }
}
