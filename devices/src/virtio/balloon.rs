//! The traditional memory balloon (VIRTIO 1.2, section 5.5), with statistics and free page
//! reporting.

use serde::{Deserialize, Serialize};
use trine_guest::{Gpa, PAGE_SIZE, Ram};

use super::{Chain, DeviceType, Driver, Queue};

// Feature bits (section 5.5.3).
const STATS_VQ: u64 = 1 << 1;
const DEFLATE_ON_OOM: u64 = 1 << 2;
const PAGE_POISON: u64 = 1 << 4;
const PAGE_REPORTING: u64 = 1 << 5;

/// The size of all queues.
const QUEUE_SIZE: u16 = 128;
const INFLATE: usize = 0;
const DEFLATE: usize = 1;
const STATS: usize = 2;
/// The specification's number of the reporting queue.
const REPORTING: usize = 4;
/// The longest list of pages. Linux's has 256.
const PAGES_MAX: u64 = 1 << 12;
/// Bytes of a statistic: tag and value.
const STAT_LEN: u64 = 10;
/// Statistics with a tag below this are kept.
const STATS_MAX: u16 = 16;

// Where fields that the driver writes lie in device configuration space.
const ACTUAL: usize = 4;
const POISON_VAL: usize = 12;

/// The state of a [`VirtioBalloon`].
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Pages that the guest is to put into the balloon.
    target: u32,
    /// The target is another one than when the driver was last told that it has changed.
    is_changed: bool,
    /// Pages that the driver says are in it.
    actual: u32,
    /// What free pages are filled with, if the guest checks.
    poison: u32,
    /// What the guest has said of itself, by tag.
    stats: Vec<(u16, u64)>,
    /// The buffer that the driver has given for statistics, by its first descriptor.
    stats_buffer: Option<u16>,
    /// New statistics are wanted.
    wants_stats: bool,
}

/// A memory balloon: pages that are put into it, and free ones that are reported, go to the host
/// ([`Ram::discard`]) and are zeros from then on.
#[derive(Default)]
pub struct VirtioBalloon {
    state: State,
}

impl VirtioBalloon {
    /// A balloon without a target.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The guest is to put `pages` pages of 4 KiB into the balloon. The board wakes the chip
    /// afterwards.
    pub fn set_target(&mut self, pages: u32) {
        self.state.is_changed |= self.state.target != pages;
        self.state.target = pages;
    }

    /// Pages that it is to put there.
    #[must_use]
    pub fn target(&self) -> u32 {
        self.state.target
    }

    /// Pages that the guest says are in the balloon.
    #[must_use]
    pub fn actual(&self) -> u32 {
        self.state.actual
    }

    /// Asks the guest for statistics. The board wakes the chip afterwards.
    pub fn request_stats(&mut self) {
        self.state.wants_stats = true;
    }

    /// What the guest has said of itself: tags (section 5.5.6.4) and values.
    #[must_use]
    pub fn stats(&self) -> &[(u16, u64)] {
        &self.state.stats
    }

    /// Takes the pages in a list of page numbers.
    fn inflate(driver: &mut Driver<'_>, chain: &Chain) {
        if chain.readable_len() > 4 * PAGES_MAX {
            return driver.fail("a list of pages is longer than a driver would make it");
        }
        let mut list = vec![0; chain.readable_len() as usize];
        chain.read(driver.ram, 0, &mut list);
        let numbers =
            list.chunks_exact(4).map(|n| n.first_chunk().map_or(0, |n| u32::from_le_bytes(*n)));
        let mut run: Option<(u64, u64)> = None;
        for at in numbers.map(|number| u64::from(number) * PAGE_SIZE) {
            match &mut run {
                Some((start, len)) if *start + *len == at => *len += PAGE_SIZE,
                _ => {
                    let before = run.replace((at, PAGE_SIZE));
                    give_back(driver.ram, before);
                }
            }
        }
        give_back(driver.ram, run);
    }

    /// Pages are reported as buffers to be written.
    fn serve_reports(&mut self, driver: &mut Driver<'_>, queue: usize) {
        // Pages with a pattern that the guest checks are to keep it.
        let may_take = !driver.has(PAGE_POISON) || self.state.poison == 0;
        while driver.is_notified(queue)
            && let Some(chain) = driver.next(queue)
        {
            let reported: u64 = chain.writable.iter().map(|segment| u64::from(segment.len)).sum();
            if reported > driver.ram.len() {
                return driver.fail("more free pages are reported than there are");
            }
            if may_take {
                for segment in &chain.writable {
                    give_back(driver.ram, Some((segment.at.0, segment.len.into())));
                }
            }
            driver.give_back(queue, chain.head, 0);
        }
    }

    /// The driver gives a buffer with statistics and gets it back when new ones are wanted.
    fn serve_stats(&mut self, driver: &mut Driver<'_>) {
        while driver.is_notified(STATS)
            && let Some(chain) = driver.next(STATS)
        {
            let all = (0..chain.readable_len() / STAT_LEN).take(usize::from(STATS_MAX));
            let stats = all.map(|n| {
                let mut bytes = [0; 16];
                chain.read(driver.ram, n * STAT_LEN, &mut bytes[..STAT_LEN as usize]);
                let all = u128::from_le_bytes(bytes);
                (all as u16, (all >> 16) as u64)
            });
            self.state.stats = stats.filter(|(tag, _)| *tag < STATS_MAX).collect();
            if let Some(before) = self.state.stats_buffer.replace(chain.head) {
                driver.give_back(STATS, before, 0);
            }
        }
        if self.state.wants_stats
            && let Some(head) = self.state.stats_buffer.take()
        {
            self.state.wants_stats = false;
            driver.give_back(STATS, head, 0);
        }
    }
}

/// Gives the whole pages of `run` (start and length) to the host, as far as they are RAM.
fn give_back(ram: &Ram, run: Option<(u64, u64)>) {
    let Some((start, len)) = run else { return };
    let Some(end) = start.checked_add(len) else { return };
    let end = end / PAGE_SIZE * PAGE_SIZE;
    let Some(mut at) = start.checked_next_multiple_of(PAGE_SIZE) else { return };
    while at < end {
        let spot = ram.spot(Gpa(at));
        let len = spot.map_or(PAGE_SIZE, |spot| spot.run).min(end - at);
        if let Some(spot) = spot.filter(|spot| spot.writable) {
            ram.discard(spot.offset, len);
        }
        at += len;
    }
}

impl DeviceType for VirtioBalloon {
    type State = State;
    const ID: u16 = 5;
    /// A device that fits no class.
    const CLASS: u32 = 0xff_00_00;

    fn features(&self) -> u64 {
        STATS_VQ | DEFLATE_ON_OOM | PAGE_POISON | PAGE_REPORTING
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; REPORTING + 1]
    }

    /// `struct virtio_balloon_config` (section 5.5.4).
    fn config(&self) -> Vec<u8> {
        let State { target, actual, poison, .. } = self.state;
        [target, actual, 0, poison].into_iter().flat_map(u32::to_le_bytes).collect()
    }

    fn write_config(&mut self, offset: usize, data: &[u8]) {
        let Ok(value) = data.try_into().map(u32::from_le_bytes) else { return };
        match offset {
            ACTUAL => self.state.actual = value,
            POISON_VAL => self.state.poison = value,
            _ => {}
        }
    }

    fn take_config_change(&mut self) -> bool {
        std::mem::take(&mut self.state.is_changed)
    }

    fn reset(&mut self) {
        let State { target, is_changed, .. } = self.state;
        self.state = State { target, is_changed, ..State::default() };
    }

    /// The reporting queue is number 4. Linux counts only queues that it uses, so it has the number
    /// 3 there, which is that of free page hints (not offered), or 2 without statistics.
    fn serve(&mut self, driver: &mut Driver<'_>) {
        while driver.is_notified(INFLATE)
            && let Some(chain) = driver.next(INFLATE)
        {
            Self::inflate(driver, &chain);
            driver.give_back(INFLATE, chain.head, 0);
        }
        while driver.is_notified(DEFLATE)
            && let Some(chain) = driver.next(DEFLATE)
        {
            // The pages come back when they are touched.
            driver.give_back(DEFLATE, chain.head, 0);
        }
        let mut first_report = STATS;
        if driver.has(STATS_VQ) {
            self.serve_stats(driver);
            first_report += 1;
        }
        if driver.has(PAGE_REPORTING) {
            (first_report..=REPORTING).for_each(|queue| self.serve_reports(driver, queue));
        }
    }

    fn save(&self) -> State {
        self.state.clone()
    }

    fn load(&mut self, state: State, queues: &[Queue]) -> Result<(), String> {
        let is_buffer = |head: u16| {
            queues.get(STATS).is_some_and(|queue| queue.is_ready() && head < queue.size())
        };
        let are_stats = state.stats.len() <= usize::from(STATS_MAX)
            && state.stats.iter().all(|(tag, _)| *tag < STATS_MAX);
        if !are_stats || !state.stats_buffer.is_none_or(is_buffer) {
            return Err("its statistics cannot be like this".to_owned());
        }
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
