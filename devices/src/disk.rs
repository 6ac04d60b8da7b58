//! What a disk controller asks of the disk behind it, and how it hears of the answer: the seam
//! between a chip and the host's files.

use std::{borrow::Cow, collections::VecDeque, fmt, sync::Arc};

use thiserror::Error;
use trine_guest::{Ram, VmTime};

use crate::{Cx, Segment, segment};

/// What a disk is asked to do. Places and lengths are in bytes.
#[derive(Clone, Debug)]
pub enum Order {
    /// Read `len` bytes from `at` on.
    Read {
        /// The first byte.
        at: u64,
        /// How many.
        len: usize,
    },
    /// Write `data` from `at` on.
    Write {
        /// The first byte.
        at: u64,
        /// What is to be there.
        data: Data,
    },
    /// All writes that were answered before are to survive whatever befalls the host process.
    Flush,
    /// Nobody needs what is there any more; it may read as anything.
    Discard {
        /// The first byte.
        at: u64,
        /// How many.
        len: u64,
    },
    /// Zeros from `at` on.
    WriteZeroes {
        /// The first byte.
        at: u64,
        /// How many.
        len: u64,
        /// The host may give up the space.
        may_unmap: bool,
    },
}

/// What is to be written: bytes, or where in the guest's memory they lie. Those stay as they are until
/// the order is answered, if the guest keeps to its side.
#[derive(Clone)]
pub struct Data(Place);

#[derive(Clone)]
enum Place {
    Here(Vec<u8>),
    InGuest { ram: Arc<Ram>, segments: Vec<Segment>, len: usize },
}

impl Data {
    /// What lies in `segments` of `ram`.
    #[must_use]
    pub fn in_guest(ram: &Arc<Ram>, segments: Vec<Segment>) -> Self {
        let len = segment::len_of(&segments) as usize;
        Self(Place::InGuest { ram: Arc::clone(ram), segments, len })
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Place::Here(bytes) => bytes.len(),
            Place::InGuest { len, .. } => *len,
        }
    }

    /// Whether there is nothing to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it still lies in the guest's memory.
    #[must_use]
    pub fn is_in_guest(&self) -> bool {
        matches!(self.0, Place::InGuest { .. })
    }

    /// Takes it out of the guest's memory, into `buffer`, if it lies there.
    pub fn fetch(&mut self, buffer: Vec<u8>) {
        if let Place::InGuest { ram, segments, len } = &self.0 {
            self.0 = Place::Here(gather(ram, segments, *len, buffer));
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.0 {
            Place::Here(bytes) => Cow::Borrowed(bytes),
            Place::InGuest { ram, segments, len } => {
                Cow::Owned(gather(ram, segments, *len, Vec::new()))
            }
        }
    }

    /// The bytes, or nothing if they lie in the guest's memory.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        match self.0 {
            Place::Here(bytes) => bytes,
            Place::InGuest { .. } => Vec::new(),
        }
    }
}

/// What lies in `segments`, in `buffer`.
fn gather(ram: &Ram, segments: &[Segment], len: usize, mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.resize(len, 0);
    let done = segment::read(segments.iter().copied(), ram, &mut buffer);
    buffer[done..].fill(0);
    buffer
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Place::Here(bytes))
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// Why a disk did not do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DiskError {
    /// It cannot be written.
    #[error("the disk is read-only")]
    ReadOnly,
    /// A part of it lies behind the end.
    #[error("beyond the end of the disk")]
    OutOfRange,
    /// The host has no more space. What was there is still there.
    #[error("the host has no space left")]
    NoSpace,
    /// It cannot do such a thing.
    #[error("the disk cannot do that")]
    Unsupported,
    /// The host failed to read or write.
    #[error("the host failed to do it")]
    Io,
}

/// What became of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The number that came with the order.
    pub ticket: u64,
    /// What was read (empty for all else), or why it could not be.
    pub result: Result<Vec<u8>, DiskError>,
}

/// A disk behind a controller. Nothing waits: an order is given, and its answer is there later.
///
/// Orders may be answered in any order, and those that are under way together may be done in any
/// order: a controller for which that matters gives one after the other's answer.
///
/// The answers are runtime glue and in nobody's state. A controller keeps in its own state which
/// orders it waits for, and gives them again after a load: doing one twice does no harm.
pub trait Disk: Send {
    /// Bytes of it, a multiple of 512.
    fn len(&self) -> u64;
    /// Whether there is nothing of it.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether writes are refused.
    fn is_read_only(&self) -> bool;
    /// A name that tells it from other disks, at most 20 printable ASCII characters.
    fn serial(&self) -> &str;
    /// Starts `order`. Whatever is wrong with it is said by its answer.
    fn submit(&mut self, now: VmTime, ticket: u64, order: Order);
    /// When an answer will be, or was, ready to be taken; `None` as long as that is not known.
    /// The board wakes the controller ([`crate::Timed::advance`]) when one has come.
    fn next_answer(&self) -> Option<VmTime>;
    /// An answer that is ready by `now`. What [`Disk::next_answer`] has promised is there.
    fn take(&mut self, now: VmTime) -> Option<Answer>;
    /// Forgets all orders that were not answered yet. They are done or not, but no more is taken out
    /// of the guest's memory.
    fn cancel(&mut self);
}

/// Drives whose media people change while the machine runs: CD and floppy drives. They are counted
/// by the chip.
///
/// A medium is runtime glue. Who loads a chip's state puts the same media in first.
pub trait Bays {
    /// Drive `bay` gets `medium` in the place of what is in it, by force if the guest has locked
    /// that in. Returns what is outside then: the old medium, or `medium` where there is no such
    /// drive. The guest finds out as it would of any other disk.
    fn change_medium(
        &mut self,
        cx: &mut Cx<'_>,
        bay: usize,
        medium: Option<Box<dyn Disk>>,
    ) -> Option<Box<dyn Disk>>;
}

/// A disk in the host's memory, which takes the same time for everything.
#[derive(Clone, Debug)]
pub struct RamDisk {
    contents: Vec<u8>,
    is_read_only: bool,
    latency_ns: u64,
    answers: VecDeque<(VmTime, Answer)>,
}

impl RamDisk {
    /// A disk with these contents (the last sector is filled with zeros), every order to which takes
    /// `latency_ns`.
    #[must_use]
    pub fn new(mut contents: Vec<u8>, latency_ns: u64) -> Self {
        contents.resize(contents.len().next_multiple_of(512), 0);
        Self { contents, is_read_only: false, latency_ns, answers: VecDeque::new() }
    }

    /// The same, not to be written.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { is_read_only: true, ..self }
    }

    /// What is on it.
    #[must_use]
    pub fn contents(&self) -> &[u8] {
        &self.contents
    }

    fn part(&mut self, at: u64, len: u64) -> Result<&mut [u8], DiskError> {
        let range = usize::try_from(at).ok().zip(usize::try_from(len).ok());
        let range = range.and_then(|(at, len)| Some(at..at.checked_add(len)?));
        range.and_then(|range| self.contents.get_mut(range)).ok_or(DiskError::OutOfRange)
    }

    fn obey(&mut self, order: Order) -> Result<Vec<u8>, DiskError> {
        if self.is_read_only && !matches!(order, Order::Read { .. } | Order::Flush) {
            return Err(DiskError::ReadOnly);
        }
        match order {
            Order::Read { at, len } => return Ok(self.part(at, len as u64)?.to_vec()),
            Order::Write { at, data } => {
                self.part(at, data.len() as u64)?.copy_from_slice(&data.bytes());
            }
            Order::Flush => {}
            Order::Discard { at, len } | Order::WriteZeroes { at, len, .. } => {
                self.part(at, len)?.fill(0);
            }
        }
        Ok(Vec::new())
    }
}

impl Disk for RamDisk {
    fn len(&self) -> u64 {
        self.contents.len() as u64
    }

    fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    fn serial(&self) -> &str {
        "ram"
    }

    fn submit(&mut self, now: VmTime, ticket: u64, order: Order) {
        let result = self.obey(order);
        self.answers.push_back((now.after_ns(self.latency_ns), Answer { ticket, result }));
    }

    fn next_answer(&self) -> Option<VmTime> {
        self.answers.front().map(|(at, _)| *at)
    }

    fn take(&mut self, now: VmTime) -> Option<Answer> {
        let is_ready = self.next_answer().is_some_and(|at| at <= now);
        is_ready.then(|| self.answers.pop_front().map(|(_, answer)| answer))?
    }

    fn cancel(&mut self) {
        self.answers.clear();
    }
}

#[cfg(test)]
pub(crate) mod samples;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_after_its_time() {
        let mut disk = RamDisk::new(vec![7; 1000], 10);
        assert_eq!(disk.len(), 1024);
        disk.submit(VmTime(5), 1, Order::Write { at: 1022, data: vec![1, 2].into() });
        disk.submit(VmTime(6), 2, Order::Read { at: 998, len: 26 });
        assert_eq!((disk.next_answer(), disk.take(VmTime(14))), (Some(VmTime(15)), None));
        assert_eq!(disk.take(VmTime(15)), Some(Answer { ticket: 1, result: Ok(vec![]) }));
        let mut want = vec![0; 26];
        want[..2].fill(7);
        want[24..].copy_from_slice(&[1, 2]);
        assert_eq!(disk.take(VmTime(99)), Some(Answer { ticket: 2, result: Ok(want) }));
        assert_eq!(disk.next_answer(), None);
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let ask = |mut disk: RamDisk, order| {
            disk.submit(VmTime(0), 0, order);
            disk.take(VmTime(0)).expect("an answer").result
        };
        let disk = RamDisk::new(vec![0; 512], 0);
        for (at, len) in [(512, 1), (0, 513), (u64::MAX, 1), (1, u64::MAX)] {
            let refused = ask(disk.clone(), Order::Discard { at, len });
            assert_eq!(refused, Err(DiskError::OutOfRange), "{at} {len}");
        }
        let write = Order::Write { at: 0, data: vec![1].into() };
        assert_eq!(ask(disk.clone().read_only(), write), Err(DiskError::ReadOnly));
        assert_eq!(ask(disk.read_only(), Order::Flush), Ok(vec![]));
    }
}
