//! The one order that a controller has with its disk: which it is, and since when.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use crate::{Disk, DiskError, Order};

/// The order that a chip waits for, as far as it is state. What was ordered follows from the rest
/// of the chip's state; so it can be ordered again after a load, as of the same time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Errand {
    /// The number of the last order.
    ticket: u64,
    /// When it was given; `None` if its answer has been taken.
    since: Option<VmTime>,
}

impl Errand {
    /// Gives `order` to `disk`. An answer to an earlier one is not taken any more.
    pub(crate) fn give(&mut self, disk: &mut dyn Disk, now: VmTime, order: Order) {
        self.ticket = self.ticket.wrapping_add(1);
        self.since = Some(now);
        disk.submit(now, self.ticket, order);
    }

    /// After a load: the disk forgets what it was asked, and is asked for `order` if that is
    /// waited for.
    pub(crate) fn give_again(&self, disk: &mut dyn Disk, order: Option<Order>) {
        disk.cancel();
        if let Some((since, order)) = self.since.zip(order) {
            disk.submit(since, self.ticket, order);
        }
    }

    /// Gives the order up: it is done or not.
    pub(crate) fn cancel(&mut self, disk: &mut dyn Disk) {
        disk.cancel();
        self.since = None;
    }

    /// The disk is gone, and the order with it.
    pub(crate) fn forget(&mut self) {
        self.since = None;
    }

    /// Whether an answer is waited for.
    pub(crate) fn is_under_way(&self) -> bool {
        self.since.is_some()
    }

    /// When there is an answer to take.
    pub(crate) fn next_event(&self, disk: &dyn Disk) -> Option<VmTime> {
        self.since.and_then(|_| disk.next_answer())
    }

    /// What became of the order, if that is known by `now`.
    pub(crate) fn take(
        &mut self,
        disk: &mut dyn Disk,
        now: VmTime,
    ) -> Option<Result<Vec<u8>, DiskError>> {
        while self.since.is_some() {
            let answer = disk.take(now)?;
            if answer.ticket == self.ticket {
                self.since = None;
                return Some(answer.result);
            }
        }
        None
    }
}
