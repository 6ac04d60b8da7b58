//! The driver, as a device type sees it while it is served: its queues and the buffers in them.

use std::sync::Arc;

use trine_guest::{Ram, VmTime};

use super::{Chain, QUEUES_MAX, Queue, facilities::Facilities};

/// What a device type is lent while it is served.
///
/// The first thing that is wrong with a queue or a buffer ends it: there are no further buffers
/// then, and what is given back goes nowhere.
pub struct Driver<'a> {
    /// Guest time.
    pub now: VmTime,
    /// Guest RAM.
    pub ram: &'a Arc<Ram>,
    facilities: &'a mut Facilities,
    /// Buffers taken from each queue. A driver on another thread may fill a queue as quickly as it
    /// is emptied, so there is an end to it.
    taken: [u32; QUEUES_MAX],
    broken: Option<String>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(now: VmTime, ram: &'a Arc<Ram>, facilities: &'a mut Facilities) -> Self {
        facilities.is_unfinished = false;
        Self { now, ram, facilities, taken: [0; QUEUES_MAX], broken: None }
    }

    /// Whether this feature was negotiated.
    #[must_use]
    pub fn has(&self, feature: u64) -> bool {
        self.facilities.driver_features & feature != 0
    }

    /// Whether the driver has notified the device of buffers in `queue` that were not all taken
    /// since.
    #[must_use]
    pub fn is_notified(&self, queue: usize) -> bool {
        self.facilities.notified >> queue & 1 != 0
    }

    /// The next buffer of `queue`, if the driver has made one available. A queue without buffers is
    /// not notified any more, and the driver will notify the device of the next one.
    pub fn next(&mut self, queue: usize) -> Option<Chain> {
        let has = self.facilities.ring_features();
        let ring = self.facilities.queues.get_mut(queue).filter(|ring| ring.ready)?;
        if self.broken.is_some() {
            return None;
        }
        if self.taken[queue] >= 2 * u32::from(ring.size()) {
            self.facilities.is_unfinished = true;
            return None;
        }
        self.taken[queue] += 1;
        match ring.take(self.ram, has) {
            Ok(None) => self.facilities.notified &= !(1 << queue),
            Ok(chain) => return chain,
            Err(e) => self.fail(format_args!("queue {queue}: {e}")),
        }
        None
    }

    /// The last `count` buffers of `queue` were not needed: they come again.
    pub fn put_back(&mut self, queue: usize, count: u16) {
        if let Some(ring) = self.facilities.queues.get_mut(queue) {
            ring.put_back(count);
        }
    }

    /// The size that the driver has given `queue`.
    #[must_use]
    pub fn size(&self, queue: usize) -> u16 {
        self.facilities.queues.get(queue).map_or(0, Queue::size)
    }

    /// The buffer of `queue` with the first descriptor `head`, which was taken before the state was
    /// saved.
    pub fn again(&mut self, queue: usize, head: u16) -> Option<Chain> {
        let has = self.facilities.ring_features();
        let ring = self.facilities.queues.get(queue).filter(|ring| ring.ready)?;
        match ring.chain(self.ram, has, head) {
            Ok(chain) => Some(chain),
            Err(e) => {
                self.fail(format_args!("queue {queue}: {e}"));
                None
            }
        }
    }

    /// Gives the buffer with the first descriptor `head` back; the first `written` bytes of its
    /// writable part are new.
    pub fn give_back(&mut self, queue: usize, head: u16, written: u32) {
        let Some(ring) = self.facilities.queues.get_mut(queue) else { return };
        if !ring.ready || self.broken.is_some() {
            return;
        }
        if let Err(e) = ring.push(self.ram, head, written) {
            self.fail(format_args!("queue {queue}: {e}"));
        }
    }

    /// The driver has done what it must not: the device needs a reset.
    pub fn fail(&mut self, reason: impl std::fmt::Display) {
        self.broken.get_or_insert_with(|| reason.to_string());
    }

    /// Whether the driver has broken the device.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// The queues for which the driver wants an interrupt, a bit for each.
    ///
    /// # Errors
    /// If the driver has broken the device, and how.
    pub(super) fn finish(mut self) -> Result<u64, String> {
        let has = self.facilities.ring_features();
        let mut wanted = 0;
        for (n, queue) in self.facilities.queues.iter_mut().enumerate() {
            if !queue.ready {
                continue;
            }
            match queue.wants_interrupt(self.ram, has) {
                Ok(wants) => wanted |= u64::from(wants) << n,
                Err(e) => {
                    self.broken.get_or_insert_with(|| format!("queue {n}: {e}"));
                }
            }
        }
        self.broken.map_or(Ok(wanted), Err)
    }
}
