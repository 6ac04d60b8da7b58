//! Disks for the tests of controllers.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use trine_guest::VmTime;

use crate::{Answer, Disk, DiskError, Order, RamDisk};

/// How long these disks take for everything.
pub(crate) const LATENCY_NS: u64 = 1000;

/// A disk of `sectors` sectors of 512 bytes, each of which starts with its number.
pub(crate) fn numbered(sectors: u32) -> RamDisk {
    let sector = |n: u32| [&n.to_le_bytes()[..], &[n as u8; 508]].concat();
    RamDisk::new((0..sectors).flat_map(sector).collect(), LATENCY_NS)
}

/// The numbers with which the sectors in `data` start.
pub(crate) fn numbers(data: &[u8]) -> Vec<u32> {
    data.chunks(512).map(|s| u32::from_le_bytes([s[0], s[1], s[2], s[3]])).collect()
}

/// A numbered disk that cannot read from sector 100 on, and counts how often it is flushed.
pub(crate) struct Scratched {
    disk: RamDisk,
    flushes: Arc<AtomicU32>,
}

impl Scratched {
    pub(crate) fn new(sectors: u32) -> Self {
        Self { disk: numbered(sectors), flushes: Arc::default() }
    }

    /// Takes the count of flushes from wherever the disk is.
    pub(crate) fn flushes(&self) -> impl Fn() -> u32 + use<> {
        let flushes = self.flushes.clone();
        move || flushes.swap(0, Ordering::Relaxed)
    }
}

impl Disk for Scratched {
    fn len(&self) -> u64 {
        self.disk.len()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn serial(&self) -> &str {
        "scratched"
    }

    fn submit(&mut self, now: VmTime, ticket: u64, order: Order) {
        self.flushes.fetch_add(u32::from(matches!(order, Order::Flush)), Ordering::Relaxed);
        self.disk.submit(now, ticket, order);
    }

    fn next_answer(&self) -> Option<VmTime> {
        self.disk.next_answer()
    }

    fn take(&mut self, now: VmTime) -> Option<Answer> {
        let mut answer = self.disk.take(now)?;
        if answer.result.as_ref().is_ok_and(|data| data.starts_with(&[100, 0, 0, 0])) {
            answer.result = Err(DiskError::Io);
        }
        Some(answer)
    }

    fn cancel(&mut self) {
        self.disk.cancel();
    }
}
