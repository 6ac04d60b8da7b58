//! The split virtqueue, from the device's side (VIRTIO 1.2, section 2.7).
//!
//! The driver runs on other threads meanwhile. What the device reads of a ring was complete before
//! the index that says so: words of [`Ram`] are loaded with acquire and stored with release
//! semantics. Where both sides store and then look at what the other one stored (an index here, the
//! wish to be notified there), each needs a full fence in between, or neither might see the other;
//! those are the two fences below.

use std::sync::atomic::{Ordering, fence};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use trine_guest::{Gpa, Ram, Word};

mod chain;

pub use chain::Chain;

/// The most entries of a queue (section 2.7).
const QUEUE_SIZE_MAX: u16 = 1 << 15;

/// avail->flags: the driver polls.
const NO_INTERRUPT: u16 = 1 << 0;

// Offsets in both rings, the driver's and the device's.
const FLAGS: u64 = 0;
const INDEX: u64 = 2;
const RING: u64 = 4;

/// What a driver did wrong with a queue: the device needs a reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum QueueError {
    /// A ring, a table or a buffer lies where there is no RAM.
    #[error("{0} is not in RAM")]
    NotRam(Gpa),
    /// More buffers are available than the queue has entries.
    #[error("{waiting} buffers are available in a queue of {size}")]
    Overrun {
        /// As many.
        waiting: u16,
        /// The queue's size.
        size: u16,
    },
    /// A descriptor that is not in its table.
    #[error("there is no descriptor {0}")]
    NoDescriptor(u16),
    /// The chain has more descriptors than its table: it is a loop.
    #[error("a chain of descriptors has no end")]
    Endless,
    /// An indirect table where none may be, of no possible length, or with one inside.
    #[error("an indirect table is not possible here")]
    Indirect,
    /// A buffer for the device to read follows one for it to write.
    #[error("a buffer to read follows one to write")]
    Order,
}

/// Of the features that were negotiated, those that change how queues work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RingFeatures {
    /// VIRTIO_F_INDIRECT_DESC.
    pub indirect: bool,
    /// VIRTIO_F_EVENT_IDX.
    pub event_index: bool,
}

/// A queue: what the driver has set, and how far the device has come.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Queue {
    /// The largest size, which is also the size after a reset.
    size_max: u16,
    pub(super) size: u16,
    pub(super) ready: bool,
    /// The descriptor table.
    pub(super) descriptors: u64,
    /// The driver area: the available ring.
    pub(super) driver: u64,
    /// The device area: the used ring.
    pub(super) device: u64,
    /// The entry of the available ring that is looked at next, counted without end.
    next_available: u16,
    /// The entry of the used ring that is filled next.
    next_used: u16,
    /// `next_used` when it was last decided whether to interrupt.
    decided: u16,
}

impl Queue {
    /// A queue of at most `size_max` entries, not set up.
    ///
    /// # Panics
    /// If that is no power of two or more than 32,768: the device is built wrongly.
    #[must_use]
    pub fn new(size_max: u16) -> Self {
        assert!(size_max.is_power_of_two() && size_max <= QUEUE_SIZE_MAX);
        Self {
            size_max,
            size: size_max,
            ready: false,
            descriptors: 0,
            driver: 0,
            device: 0,
            next_available: 0,
            next_used: 0,
            decided: 0,
        }
    }

    /// The largest size.
    #[must_use]
    pub fn size_max(&self) -> u16 {
        self.size_max
    }

    /// The size that the driver has set.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.size
    }

    /// Whether the driver has set it up.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// The driver has set size and places: whether a queue can be like this (section 2.7).
    pub(super) fn is_possible(&self) -> bool {
        self.size.is_power_of_two()
            && self.size <= self.size_max
            && self.descriptors.is_multiple_of(16)
            && self.driver.is_multiple_of(2)
            && self.device.is_multiple_of(4)
    }

    /// The next buffer that the driver has made available. If there is none, the driver will
    /// notify the device of the next one.
    ///
    /// # Errors
    /// If the driver has broken the queue.
    pub fn take(&mut self, ram: &Ram, has: RingFeatures) -> Result<Option<Chain>, QueueError> {
        let chain = self.pop(ram, has)?;
        if chain.is_none() && self.arm(ram, has)? {
            return self.pop(ram, has);
        }
        Ok(chain)
    }

    fn pop(&mut self, ram: &Ram, has: RingFeatures) -> Result<Option<Chain>, QueueError> {
        let waiting = self.waiting(ram)?;
        if waiting == 0 {
            return Ok(None);
        }
        let slot = u64::from(self.next_available & (self.size - 1));
        let head = load::<u16>(ram, self.driver, RING + 2 * slot)?;
        let chain = self.chain(ram, has, head)?;
        self.next_available = self.next_available.wrapping_add(1);
        Ok(Some(chain))
    }

    /// How many buffers are available.
    fn waiting(&self, ram: &Ram) -> Result<u16, QueueError> {
        let index: u16 = load(ram, self.driver, INDEX)?;
        let waiting = index.wrapping_sub(self.next_available);
        if waiting > self.size {
            return Err(QueueError::Overrun { waiting, size: self.size });
        }
        Ok(waiting)
    }

    /// The buffer whose first descriptor is `head`.
    ///
    /// # Errors
    /// If the driver has broken it.
    pub fn chain(&self, ram: &Ram, has: RingFeatures, head: u16) -> Result<Chain, QueueError> {
        Chain::walk(ram, Gpa(self.descriptors), self.size, head, has.indirect)
    }

    /// Asks to be notified of the next buffer, since there is none now. Returns whether one came
    /// meanwhile, of which the driver may have thought that nobody wants to know.
    fn arm(&self, ram: &Ram, has: RingFeatures) -> Result<bool, QueueError> {
        if !has.event_index {
            // used->flags never says otherwise.
            return Ok(false);
        }
        let event = RING + 8 * u64::from(self.size);
        store(ram, self.device, event, self.next_available)?;
        // The driver stores its index and looks at our wish; we do the reverse.
        fence(Ordering::SeqCst);
        Ok(self.waiting(ram)? != 0)
    }

    /// The last `count` buffers that were taken were not needed: they come again.
    pub fn put_back(&mut self, count: u16) {
        self.next_available = self.next_available.wrapping_sub(count);
    }

    /// Gives the buffer with the first descriptor `head` back; `written` bytes of it, from the
    /// start of its writable part, are new.
    ///
    /// # Errors
    /// If the used ring is not in RAM.
    pub fn push(&mut self, ram: &Ram, head: u16, written: u32) -> Result<(), QueueError> {
        let slot = RING + 8 * u64::from(self.next_used & (self.size - 1));
        store(ram, self.device, slot, u32::from(head))?;
        store(ram, self.device, slot + 4, written)?;
        self.next_used = self.next_used.wrapping_add(1);
        store(ram, self.device, INDEX, self.next_used)
    }

    /// Whether the driver wants an interrupt for what was given back since the last call.
    ///
    /// # Errors
    /// If the rings are not in RAM.
    pub fn wants_interrupt(&mut self, ram: &Ram, has: RingFeatures) -> Result<bool, QueueError> {
        let old = std::mem::replace(&mut self.decided, self.next_used);
        if old == self.next_used {
            return Ok(false);
        }
        // The driver stores its wish and looks at our index; we have done the reverse.
        fence(Ordering::SeqCst);
        if !has.event_index {
            return Ok(load::<u16>(ram, self.driver, FLAGS)? & NO_INTERRUPT == 0);
        }
        let event: u16 = load(ram, self.driver, RING + 2 * u64::from(self.size))?;
        // The entry after which it wants one lies among the new ones (section 2.7.7.2).
        Ok(self.next_used.wrapping_sub(event).wrapping_sub(1) < self.next_used.wrapping_sub(old))
    }
}

/// Loads a word of a ring. The rings are aligned, so a word never leaves a region of RAM.
fn load<T: Word>(ram: &Ram, ring: u64, offset: u64) -> Result<T, QueueError> {
    let at = Gpa(ring).offset(offset);
    match ram.spot(at) {
        Some(spot) if spot.run >= size_of::<T>() as u64 => Ok(ram.load(spot.offset)),
        _ => Err(QueueError::NotRam(at)),
    }
}

/// Stores a word of a ring.
fn store<T: Word>(ram: &Ram, ring: u64, offset: u64, value: T) -> Result<(), QueueError> {
    let at = Gpa(ring).offset(offset);
    match ram.spot(at) {
        Some(spot) if spot.writable && spot.run >= size_of::<T>() as u64 => {
            ram.store(spot.offset, value);
            Ok(())
        }
        _ => Err(QueueError::NotRam(at)),
    }
}

#[cfg(test)]
mod tests;
