//! The block device (VIRTIO 1.2, section 5.2).
//!
//! A request goes to the disk in pieces, one at a time, so that no guest can make the host hold more
//! than a piece of each; requests overtake each other as they like (section 5.2.6.2 asks for no
//! order). The state has those under way by their first descriptor and by how much of them is done.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use super::{DeviceType, Driver, Queue};
use crate::{Disk, DiskError, Order};

mod request;

use request::{SECTOR, Status, Work};

// Feature bits (section 5.2.3).
const SEG_MAX: u64 = 1 << 2;
const RO: u64 = 1 << 5;
const BLK_SIZE: u64 = 1 << 6;
const FLUSH: u64 = 1 << 9;
const TOPOLOGY: u64 = 1 << 10;
const CONFIG_WCE: u64 = 1 << 11;
const MQ: u64 = 1 << 12;
const DISCARD: u64 = 1 << 13;
const WRITE_ZEROES: u64 = 1 << 14;

/// The size of each queue.
const QUEUE_SIZE: u16 = 256;
/// Bytes of device configuration space.
const CONFIG_LEN: usize = 60;
/// Where the cache mode lies there.
const WRITEBACK: usize = 32;
/// Physical blocks are 2 to the power of this logical ones.
const PHYSICAL_BLOCK_EXP: u8 = 3;
/// The most that goes to the disk as one order.
const PIECE: u64 = 1 << 20;
/// No further requests are begun while pieces of as many bytes are under way.
const UNDER_WAY_MAX: u64 = 32 << 20;
/// After so many bytes others have their turn.
const SERVED_MAX: u64 = 64 << 20;

/// A request that the disk has not done yet, as it is saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct UnderWay {
    queue: u16,
    /// Its first descriptor.
    head: u16,
    /// Bytes that were moved, or ranges that were discarded.
    done: u64,
    /// All is done but the flush behind a write that is to go through the cache.
    is_flushing: bool,
}

/// The state of a [`VirtioBlk`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct State {
    /// Sectors, as the driver was told.
    capacity: u64,
    /// The cache mode that the driver can set: write back.
    writeback: bool,
    /// The queue that comes first the next time.
    turn: u16,
    under_way: Vec<UnderWay>,
}

/// A request that is under way.
struct Request {
    work: Work,
    /// The order that the disk has of it.
    ticket: u64,
    /// Bytes that this order moves.
    piece: u64,
    done: u64,
    is_flushing: bool,
}

/// A disk controller without a cache of its own: the host's is the disk's cache.
pub struct VirtioBlk {
    disk: Box<dyn Disk>,
    queues: u16,
    capacity: u64,
    writeback: bool,
    turn: u16,
    /// By queue and first descriptor.
    under_way: BTreeMap<(u16, u16), Request>,
    /// Which request an order is for.
    tickets: BTreeMap<u64, (u16, u16)>,
    next_ticket: u64,
    /// The pieces that are under way, together.
    bytes_under_way: u64,
    /// What was loaded and not yet given to the disk again.
    loaded: Vec<UnderWay>,
}

impl VirtioBlk {
    /// A controller for `disk` with `queues` request queues.
    ///
    /// # Panics
    /// If these are none or too many: the board is wired wrongly.
    #[must_use]
    pub fn new(disk: Box<dyn Disk>, queues: u16) -> Self {
        assert!((1..=super::QUEUES_MAX).contains(&usize::from(queues)), "{queues} queues");
        Self {
            capacity: disk.len() / SECTOR,
            disk,
            queues,
            writeback: true,
            turn: 0,
            under_way: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            bytes_under_way: 0,
            loaded: Vec::new(),
        }
    }

    /// The disk, for the board.
    pub fn disk_mut(&mut self) -> &mut dyn Disk {
        &mut *self.disk
    }

    fn forget_requests(&mut self) {
        self.disk.cancel();
        self.under_way.clear();
        self.tickets.clear();
        self.bytes_under_way = 0;
        self.loaded.clear();
    }

    /// Whether a write is complete only when it is on the disk (section 5.2.5.2).
    fn writes_through(&self, driver: &Driver<'_>) -> bool {
        match driver.has(CONFIG_WCE) {
            true => !self.writeback,
            false => !driver.has(FLUSH),
        }
    }

    /// Begins the request at `head` of `queue`, or goes on with it where it was.
    fn begin(&mut self, driver: &mut Driver<'_>, request: UnderWay, work: Result<Work, Status>) {
        let UnderWay { queue, head, done, is_flushing } = request;
        let work = match work {
            Ok(work) => work,
            Err(status) => return driver.give_back(queue.into(), head, status.written()),
        };
        let request = Request { work, ticket: 0, piece: 0, done, is_flushing };
        self.go_on(driver, (queue, head), request);
    }

    /// Gives the disk the next piece of a request, or the driver its request back.
    fn go_on(&mut self, driver: &mut Driver<'_>, key: (u16, u16), mut request: Request) {
        let mut order = None;
        if !request.is_flushing {
            order = request.work.order(driver.ram, request.done, PIECE);
            request.is_flushing =
                order.is_none() && request.work.is_write() && self.writes_through(driver);
        }
        let Some(order) = order.or_else(|| request.is_flushing.then_some(Order::Flush)) else {
            return self.end(driver, key, &request.work, Ok(()));
        };
        self.next_ticket += 1;
        request.ticket = self.next_ticket;
        request.piece = match &order {
            Order::Read { len, .. } => *len as u64,
            Order::Write { data, .. } => data.len() as u64,
            _ => 0,
        };
        self.bytes_under_way += request.piece;
        self.tickets.insert(request.ticket, key);
        self.disk.submit(driver.now, request.ticket, order);
        self.under_way.insert(key, request);
    }

    fn end(
        &mut self,
        driver: &mut Driver<'_>,
        (queue, head): (u16, u16),
        work: &Work,
        result: Result<(), DiskError>,
    ) {
        let written = work.end(driver.ram, result);
        driver.give_back(queue.into(), head, written);
    }

    /// Takes an answer of the disk; returns the bytes that it has moved, or `None` if there is none.
    fn take_answer(&mut self, driver: &mut Driver<'_>) -> Option<u64> {
        let answer = self.disk.take(driver.now)?;
        let Some(key) = self.tickets.remove(&answer.ticket) else { return Some(0) };
        let Some(mut request) = self.under_way.remove(&key) else { return Some(0) };
        let piece = request.piece;
        self.bytes_under_way -= piece;
        let moved = answer.result.and_then(|data| match request.is_flushing {
            true => Ok(()),
            false => request.work.answered(driver.ram, &mut request.done, piece, &data),
        });
        match moved {
            Err(e) => self.end(driver, key, &request.work, Err(e)),
            Ok(()) if request.is_flushing => self.end(driver, key, &request.work, Ok(())),
            Ok(()) => self.go_on(driver, key, request),
        }
        Some(piece)
    }

    /// Takes new requests from the queues; returns whether there were some.
    fn take_requests(&mut self, driver: &mut Driver<'_>) -> bool {
        let mut some = false;
        // Another queue is the first each time, lest one keeps the others out.
        let first = self.turn;
        self.turn = (self.turn + 1) % self.queues;
        for queue in (first..self.queues).chain(0..first) {
            while driver.is_notified(queue.into()) && self.bytes_under_way < UNDER_WAY_MAX {
                let Some(chain) = driver.next(queue.into()) else { break };
                let head = chain.head;
                if self.under_way.contains_key(&(queue, head)) {
                    return self.refuse(driver, "a request that is under way came again");
                }
                let Some(work) = Work::new(chain, driver.ram, self.capacity, self.disk.serial())
                else {
                    return self.refuse(driver, "a request has no header or no status");
                };
                let request = UnderWay { queue, head, done: 0, is_flushing: false };
                self.begin(driver, request, work);
                some = true;
            }
        }
        some
    }

    fn refuse(&mut self, driver: &mut Driver<'_>, reason: &str) -> bool {
        driver.fail(reason);
        false
    }

    /// Gives the disk again what it had when the state was saved; returns whether all.
    fn begin_again(&mut self, driver: &mut Driver<'_>) -> bool {
        while self.bytes_under_way < UNDER_WAY_MAX {
            let Some(request) = self.loaded.pop() else { return true };
            let Some(chain) = driver.again(request.queue.into(), request.head) else {
                return false;
            };
            match Work::new(chain, driver.ram, self.capacity, self.disk.serial()) {
                Some(work) => self.begin(driver, request, work),
                None => return self.refuse(driver, "a request under way has lost its header"),
            }
        }
        self.loaded.is_empty()
    }
}

impl DeviceType for VirtioBlk {
    type State = State;
    const ID: u16 = 2;
    /// Mass storage, other.
    const CLASS: u32 = 0x01_80_00;

    fn features(&self) -> u64 {
        let always = SEG_MAX | BLK_SIZE | FLUSH | TOPOLOGY | CONFIG_WCE;
        let many = if self.queues > 1 { MQ } else { 0 };
        always | many | if self.disk.is_read_only() { RO } else { DISCARD | WRITE_ZEROES }
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; self.queues.into()]
    }

    /// `struct virtio_blk_config` (section 5.2.4).
    fn config(&self) -> Vec<u8> {
        let mut all = [0; CONFIG_LEN];
        let mut put = |at: usize, bytes: &[u8]| all[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.capacity.to_le_bytes());
        // A header and a status besides.
        put(12, &u32::from(QUEUE_SIZE - 2).to_le_bytes());
        put(20, &(SECTOR as u32).to_le_bytes());
        put(24, &[PHYSICAL_BLOCK_EXP, 0]);
        put(26, &(1_u16 << PHYSICAL_BLOCK_EXP).to_le_bytes());
        put(WRITEBACK, &[u8::from(self.writeback), 0]);
        put(34, &self.queues.to_le_bytes());
        let alignment: u32 = 1 << PHYSICAL_BLOCK_EXP;
        put(36, &request::RANGE_SECTORS_MAX.to_le_bytes());
        put(40, &request::RANGES_MAX.to_le_bytes());
        put(44, &alignment.to_le_bytes());
        put(48, &request::RANGE_SECTORS_MAX.to_le_bytes());
        put(52, &request::RANGES_MAX.to_le_bytes());
        put(56, &[1]);
        all.to_vec()
    }

    fn write_config(&mut self, offset: usize, data: &[u8]) {
        if offset == WRITEBACK && data.len() == 1 {
            self.writeback = data[0] & 1 != 0;
        }
    }

    /// The host has made the disk larger or smaller.
    fn take_config_change(&mut self) -> bool {
        let capacity = self.disk.len() / SECTOR;
        std::mem::replace(&mut self.capacity, capacity) != capacity
    }

    fn reset(&mut self) {
        self.forget_requests();
        (self.writeback, self.turn) = (true, 0);
    }

    fn serve(&mut self, driver: &mut Driver<'_>) {
        let mut served = 0;
        while served < SERVED_MAX && !driver.is_broken() {
            let some = self.begin_again(driver) && self.take_requests(driver);
            match self.take_answer(driver) {
                Some(bytes) => served += bytes,
                None if some => {}
                None => break,
            }
        }
        if driver.is_broken() {
            self.forget_requests();
        }
    }

    fn next_event(&self) -> Option<VmTime> {
        if !self.loaded.is_empty() && self.bytes_under_way < UNDER_WAY_MAX {
            return Some(VmTime::ZERO);
        }
        self.disk.next_answer().filter(|_| !self.under_way.is_empty())
    }

    fn save(&self) -> State {
        let under_way = self.under_way.iter().map(|(&(queue, head), request)| {
            let Request { done, is_flushing, .. } = *request;
            UnderWay { queue, head, done, is_flushing }
        });
        let mut under_way: Vec<_> = under_way.chain(self.loaded.iter().copied()).collect();
        under_way.sort_by_key(|request| (request.queue, request.head));
        let &Self { capacity, writeback, turn, .. } = self;
        State { capacity, writeback, turn, under_way }
    }

    fn load(&mut self, state: State, queues: &[Queue]) -> Result<(), String> {
        let key = |request: &UnderWay| (request.queue, request.head);
        let is_ascending = state.under_way.is_sorted_by(|a, b| key(a) < key(b));
        let is_possible = |request: &UnderWay| {
            let queue = queues.get(usize::from(request.queue)).filter(|queue| queue.is_ready());
            queue.is_some_and(|queue| request.head < queue.size())
        };
        if !is_ascending || !state.under_way.iter().all(is_possible) {
            return Err("a request cannot be under way".to_owned());
        }
        if state.capacity > u64::MAX / SECTOR || state.turn >= self.queues {
            return Err("a number is out of range".to_owned());
        }
        self.forget_requests();
        let State { capacity, writeback, turn, under_way } = state;
        (self.capacity, self.writeback, self.turn) = (capacity, writeback, turn);
        self.loaded = under_way;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
