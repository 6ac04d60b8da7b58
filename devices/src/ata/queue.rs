//! Native command queuing: up to 32 transfers of a disk at a time, in whatever order they end
//! (Serial ATA revision 3.0, sections 11.14 and 13.6; ATA8-ACS, sections 7.57 and A.9).

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use super::SECTOR;
use crate::{Disk, DiskError, Order};

/// The deepest that a queue is.
pub(crate) const DEPTH: usize = 32;
/// Sectors of one order.
const PIECE: u32 = 128;
/// Tickets of queued orders; those of others are smaller.
const TICKETS: u64 = 1 << 63;
/// Bytes of a log's page.
const LOG: usize = 512;

/// What a queued command is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    /// The number by which the host knows it, below [`DEPTH`].
    pub(crate) tag: u8,
    pub(crate) is_write: bool,
    pub(crate) first: u64,
    pub(crate) sectors: u32,
    /// What is written is to be flushed before it is done.
    pub(crate) is_through: bool,
}

/// What the host is to do for a queued command.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// Take these data; with `is_last`, it is done.
    Data { tag: u8, data: Vec<u8>, is_last: bool },
    /// Bring more.
    Wants { tag: u8 },
    /// It is done.
    Done { tag: u8 },
    /// It has failed, and all that were queued with it.
    Failed { tag: u8 },
}

/// An order that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Given {
    ticket: u64,
    since: VmTime,
}

/// A queued command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Queued {
    tag: u8,
    is_write: bool,
    is_through: bool,
    /// Everything was written; now it is flushed.
    is_flushing: bool,
    next: u64,
    left: u32,
    /// Sectors of the order that is under way, or that data are wanted for.
    piece: u32,
    given: Option<Given>,
    /// What the order writes.
    #[serde(with = "crate::saved::hex")]
    data: Vec<u8>,
}

impl Queued {
    fn order(&self) -> Option<Order> {
        let at = self.next.checked_mul(SECTOR as u64)?;
        Some(match self.is_write {
            _ if self.is_flushing => Order::Flush,
            true => Order::Write { at, data: self.data.clone().into() },
            false => Order::Read { at, len: self.piece as usize * SECTOR },
        })
    }

    fn is_valid(&self) -> bool {
        let len = if self.is_write && !self.is_flushing && self.given.is_some() {
            self.piece as usize * SECTOR
        } else {
            0
        };
        usize::from(self.tag) < DEPTH
            && self.next < 1 << 48
            && self.left <= 1 << 16
            && self.piece <= PIECE.min(self.left)
            && self.data.len() == len
            && self.given.is_none_or(|given| given.ticket >= TICKETS)
    }
}

/// The command that has failed, until the host has read of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Failure {
    tag: u8,
    sector: u64,
    error: u8,
}

/// A disk's queue.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Queue {
    entries: Vec<Queued>,
    /// Orders given so far.
    count: u64,
    failure: Option<Failure>,
}

impl Queue {
    pub(super) fn is_valid(&self) -> bool {
        let is_unique =
            |n: usize, entry: &Queued| self.entries[..n].iter().all(|other| other.tag != entry.tag);
        self.entries.len() <= DEPTH
            && self.entries.iter().enumerate().all(|(n, e)| e.is_valid() && is_unique(n, e))
            && self.failure.is_none_or(|failure| usize::from(failure.tag) < DEPTH)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets what is queued. What has failed is still to be read of.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Forgets that something has failed.
    pub(super) fn forgive(&mut self) {
        self.failure = None;
    }

    /// Whether an order is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.entries.iter().any(|entry| entry.given.is_some())
    }

    /// Takes a request; false if the tag is in use, or a failure has not been read of yet.
    pub(super) fn add(&mut self, disk: &mut dyn Disk, now: VmTime, request: Request) -> bool {
        let Request { tag, is_write, first, sectors, is_through } = request;
        let is_used = self.entries.iter().any(|entry| entry.tag == tag);
        if self.failure.is_some() || is_used || usize::from(tag) >= DEPTH {
            return false;
        }
        self.entries.push(Queued {
            tag,
            is_write,
            is_through: is_through && is_write,
            is_flushing: false,
            next: first,
            left: sectors,
            piece: sectors.min(PIECE),
            given: None,
            data: Vec::new(),
        });
        if !is_write {
            self.give(disk, now, self.entries.len() - 1);
        }
        true
    }

    fn give(&mut self, disk: &mut dyn Disk, now: VmTime, index: usize) {
        let Some(entry) = self.entries.get_mut(index) else { return };
        let ticket = TICKETS | self.count;
        self.count = self.count.wrapping_add(1) & !TICKETS;
        if let Some(order) = entry.order() {
            entry.given = Some(Given { ticket, since: now });
            disk.submit(now, ticket, order);
        }
    }

    /// How many bytes the command with this tag wants now.
    pub(super) fn room(&self, tag: u8) -> usize {
        let entry = self.entries.iter().find(|entry| entry.tag == tag);
        let wanting = entry.filter(|entry| entry.is_write && entry.given.is_none());
        wanting.map_or(0, |entry| entry.piece as usize * SECTOR)
    }

    /// Brings those bytes.
    pub(super) fn put(&mut self, disk: &mut dyn Disk, now: VmTime, tag: u8, data: Vec<u8>) {
        let is_whole = self.room(tag) == data.len();
        if let Some(index) = self.entries.iter().position(|entry| entry.tag == tag)
            && is_whole
        {
            self.entries[index].data = data;
            self.give(disk, now, index);
        }
    }

    /// What the answer of `disk` that is next by `now` means.
    pub(super) fn take(&mut self, disk: &mut dyn Disk, now: VmTime) -> Option<Event> {
        loop {
            if !self.is_under_way() {
                return None;
            }
            let answer = disk.take(now)?;
            let is_it = |e: &Queued| e.given.is_some_and(|given| given.ticket == answer.ticket);
            let Some(index) = self.entries.iter().position(is_it) else { continue };
            return Some(self.answered(disk, now, index, answer.result));
        }
    }

    fn answered(
        &mut self,
        disk: &mut dyn Disk,
        now: VmTime,
        index: usize,
        result: Result<Vec<u8>, DiskError>,
    ) -> Event {
        let entry = &mut self.entries[index];
        entry.given = None;
        entry.data.clear();
        let (tag, is_write) = (entry.tag, entry.is_write);
        let data = match result {
            Ok(data) if is_write || data.len() == entry.piece as usize * SECTOR => data,
            _ => {
                // A write that failed was aborted; a read met data that cannot be read.
                let error = if is_write { 0x04 } else { 0x40 };
                self.failure = Some(Failure { tag, sector: entry.next, error });
                self.entries.clear();
                disk.cancel();
                return Event::Failed { tag };
            }
        };
        entry.next += u64::from(entry.piece);
        entry.left -= entry.piece;
        entry.piece = entry.left.min(PIECE);
        let is_last = entry.left == 0;
        if is_last && std::mem::take(&mut entry.is_through) {
            entry.is_flushing = true;
            self.give(disk, now, index);
            return Event::Wants { tag };
        }
        match is_write {
            true if is_last => {
                self.entries.remove(index);
                Event::Done { tag }
            }
            true => Event::Wants { tag },
            false => {
                if is_last {
                    self.entries.remove(index);
                } else {
                    self.give(disk, now, index);
                }
                Event::Data { tag, data, is_last }
            }
        }
    }

    /// What Error says of the command that has failed.
    pub(super) fn error(&self) -> u8 {
        self.failure.map_or(0, |failure| failure.error)
    }

    /// Page 10h of the log: which command has failed. To read it lets the queue go on.
    pub(super) fn read_log(&mut self) -> Vec<u8> {
        let mut log = vec![0; LOG];
        if let Some(Failure { tag, sector, error }) = self.failure.take() {
            let [a, b, c, d, e, f, ..] = sector.to_le_bytes();
            log[..11].copy_from_slice(&[tag, 0, 0x41, error, a, b, c, 0x40, d, e, f]);
        } else {
            // Nothing that was queued has failed.
            log[0] = 1 << 7;
        }
        let sum = log.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        log[LOG - 1] = sum.wrapping_neg();
        log
    }

    /// After a load: what is waited for is ordered again, in the same order. The disk has forgotten
    /// what it was asked before.
    pub(super) fn give_again(&self, disk: &mut dyn Disk) {
        let mut given: Vec<_> = self.entries.iter().filter_map(|e| Some((e.given?, e))).collect();
        given.sort_by_key(|(given, _)| (given.since, given.ticket));
        for (Given { ticket, since }, entry) in given {
            if let Some(order) = entry.order() {
                disk.submit(since, ticket, order);
            }
        }
    }
}
