//! The basic facilities of a virtio device (VIRTIO 1.2, section 2): device status, features and
//! queues, the same behind every transport.

use log::debug;
use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use super::{
    DeviceType, Driver, EVENT_IDX, INDIRECT_DESC, OFFERED, QUEUES_MAX, Queue, RingFeatures,
    VERSION_1,
};
use crate::Cx;

/// Device status (section 2.1): the driver runs.
pub(super) const DRIVER_OK: u8 = 1 << 2;
/// Device status: driver and device agree on features.
pub(super) const FEATURES_OK: u8 = 1 << 3;
/// Device status: the driver has broken the device.
pub(super) const NEEDS_RESET: u8 = 1 << 6;
/// Device status: the driver has given up.
const FAILED: u8 = 1 << 7;
/// Device status: the bits that a driver sets.
const DRIVERS: u8 = 0x0f | FAILED;

/// For what the driver wants interrupts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Causes {
    /// The configuration (or the device's need of a reset) has changed.
    pub(super) config: bool,
    /// Buffers were given back: a bit for each queue.
    pub(super) queues: u64,
}

impl Causes {
    /// Whether there is nothing to interrupt for.
    pub(super) fn is_empty(self) -> bool {
        !self.config && self.queues == 0
    }
}

/// Status, features and queues, with the registers by which transports choose among them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Facilities {
    pub(super) status: u8,
    pub(super) device_features_select: u32,
    pub(super) driver_features_select: u32,
    pub(super) driver_features: u64,
    pub(super) queue_select: u32,
    /// Counts the versions of device configuration space.
    pub(super) generation: u8,
    pub(super) queues: Vec<Queue>,
    /// Queues of which the driver has notified the device, and that were not empty since: a bit
    /// for each.
    pub(super) notified: u64,
    /// A queue was left as it is, so that others have their turn.
    pub(super) is_unfinished: bool,
}

impl Facilities {
    fn new(sizes: &[u16]) -> Self {
        assert!((1..=QUEUES_MAX).contains(&sizes.len()), "{} queues", sizes.len());
        Self {
            status: 0,
            device_features_select: 0,
            driver_features_select: 0,
            driver_features: 0,
            queue_select: 0,
            generation: 0,
            queues: sizes.iter().copied().map(Queue::new).collect(),
            notified: 0,
            is_unfinished: false,
        }
    }

    /// Whether the driver lets the device work.
    pub(super) fn is_live(&self) -> bool {
        self.status & (DRIVER_OK | NEEDS_RESET | FAILED) == DRIVER_OK
    }

    /// The features that change how queues work.
    pub(super) fn ring_features(&self) -> RingFeatures {
        RingFeatures {
            indirect: self.driver_features & INDIRECT_DESC != 0,
            event_index: self.driver_features & EVENT_IDX != 0,
        }
    }

    /// The queue that the driver has chosen.
    pub(super) fn queue(&self) -> Option<&Queue> {
        self.queues.get(self.queue_select as usize)
    }

    /// Changes the queue that the driver has chosen, which must not be in use yet.
    pub(super) fn set_up_queue(&mut self, f: impl FnOnce(&mut Queue)) {
        if let Some(queue) = self.queues.get_mut(self.queue_select as usize)
            && !queue.ready
        {
            f(queue);
        }
    }

    /// Takes the chosen queue into use, if the driver has set it up as a queue can be.
    pub(super) fn enable_queue(&mut self) {
        self.set_up_queue(|queue| queue.ready = queue.is_possible());
    }

    /// Takes the chosen queue out of use. A device that works does not let go of it.
    pub(super) fn disable_queue(&mut self) {
        let is_working = self.status & DRIVER_OK != 0;
        if let Some(queue) = self.queues.get_mut(self.queue_select as usize)
            && !is_working
        {
            queue.ready = false;
        }
    }

    /// Sets a half of the features that the driver accepts.
    pub(super) fn accept_features(&mut self, value: u32) {
        if self.status & FEATURES_OK == 0 {
            self.driver_features = match self.driver_features_select {
                0 => self.driver_features & !0xffff_ffff | u64::from(value),
                1 => self.driver_features & 0xffff_ffff | u64::from(value) << 32,
                _ => self.driver_features,
            };
        }
    }

    /// A half of the features that the driver accepts.
    pub(super) fn accepted_features(&self) -> u32 {
        half(self.driver_features, self.driver_features_select)
    }

    /// Whether a driver that accepts these features can work with what is offered.
    fn are_acceptable(features: u64, offered: u64) -> bool {
        features & !offered == 0 && features & VERSION_1 != 0
    }

    fn check(&self, sizes: &[u16], offered: u64) -> Result<(), String> {
        let maxima = self.queues.iter().map(Queue::size_max);
        if !maxima.eq(sizes.iter().copied()) {
            return Err("these are another device's queues".to_owned());
        }
        if self.queues.iter().any(|queue| queue.ready && !queue.is_possible()) {
            return Err("a queue cannot be like this".to_owned());
        }
        let has_agreed = self.status & FEATURES_OK != 0;
        let can_agree = Self::are_acceptable(self.driver_features, offered);
        if has_agreed && !can_agree || !has_agreed && self.status & DRIVER_OK != 0 {
            let Self { status, driver_features, .. } = self;
            return Err(format!("status {status:#x} with features {driver_features:#x}"));
        }
        let is_queue = |bits: u64| u128::from(bits) >> sizes.len() == 0;
        if self.status & !(DRIVERS | NEEDS_RESET) != 0 || !is_queue(self.notified) {
            return Err("a bit is set that has no meaning".to_owned());
        }
        Ok(())
    }
}

/// The half of `features` that a select register chooses.
fn half(features: u64, select: u32) -> u32 {
    match select {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}

/// A virtio device without its transport.
pub(super) struct Virtio<T> {
    pub(super) device: T,
    pub(super) facilities: Facilities,
}

impl<T: DeviceType> Virtio<T> {
    pub(super) fn new(device: T) -> Self {
        let facilities = Facilities::new(&device.queue_sizes());
        Self { device, facilities }
    }

    fn offered(&self) -> u64 {
        self.device.features() | OFFERED
    }

    /// A half of the features that the device offers.
    pub(super) fn offered_features(&self) -> u32 {
        half(self.offered(), self.facilities.device_features_select)
    }

    /// The driver writes the device status; 0 is a reset. Bits are set and never cleared (section
    /// 2.1.1); FEATURES_OK stays clear if there is no agreement, and without it the driver
    /// does not get to run.
    pub(super) fn set_status(&mut self, value: u8) {
        if value == 0 {
            self.reset();
            return;
        }
        let offered = self.offered();
        let facilities = &mut self.facilities;
        let is_agreed = facilities.status & FEATURES_OK != 0
            || Facilities::are_acceptable(facilities.driver_features, offered);
        let mut status = facilities.status | value & DRIVERS;
        if !is_agreed {
            status &= !FEATURES_OK;
        }
        if status & FEATURES_OK == 0 {
            status &= !DRIVER_OK;
        }
        facilities.status = status;
    }

    /// The driver resets the device, or somebody resets all.
    pub(super) fn reset(&mut self) {
        let generation = self.facilities.generation;
        self.device.reset();
        self.facilities = Facilities::new(&self.device.queue_sizes());
        // Whoever reads the configuration across a reset is to notice it.
        self.facilities.generation = generation;
    }

    /// The driver notifies the device of buffers in queue `queue`.
    pub(super) fn notify(&mut self, queue: usize) {
        if self.facilities.queues.get(queue).is_some_and(|queue| queue.ready) {
            self.facilities.notified |= 1 << queue;
        }
    }

    /// Does all that can be done now; `may_master` if the device may touch memory. Returns for what
    /// the driver wants interrupts.
    pub(super) fn serve(&mut self, name: &str, cx: &Cx<'_>, may_master: bool) -> Causes {
        let mut causes = Causes::default();
        if self.facilities.is_live() && may_master {
            let mut driver = Driver::new(cx.now, cx.ram, &mut self.facilities);
            self.device.serve(&mut driver);
            match driver.finish() {
                Ok(queues) => causes.queues = queues,
                Err(reason) => {
                    debug!("{name}: needs a reset: {reason}");
                    self.facilities.status |= NEEDS_RESET;
                    causes.config = true;
                }
            }
        }
        if self.device.take_config_change() {
            self.facilities.generation = self.facilities.generation.wrapping_add(1);
            causes.config |= self.facilities.is_live();
        }
        causes
    }

    /// When there is something to do if the driver does nothing.
    pub(super) fn next_event(&self, may_master: bool) -> Option<VmTime> {
        if !self.facilities.is_live() || !may_master {
            return None;
        }
        let unfinished = self.facilities.is_unfinished.then_some(VmTime::ZERO);
        [unfinished, self.device.next_event()].into_iter().flatten().min()
    }

    /// Device configuration space from `offset` on; zeros beyond its end.
    pub(super) fn read_config(&self, offset: u64, data: &mut [u8]) {
        let config = self.device.config();
        let there = usize::try_from(offset).ok().and_then(|at| config.get(at..));
        let there = there.unwrap_or_default();
        for (n, byte) in data.iter_mut().enumerate() {
            *byte = there.get(n).copied().unwrap_or(0);
        }
    }

    /// The driver writes device configuration space.
    pub(super) fn write_config(&mut self, offset: u64, data: &[u8]) {
        let len = self.device.config().len();
        if let Ok(offset) = usize::try_from(offset)
            && offset.checked_add(data.len()).is_some_and(|end| end <= len)
        {
            self.device.write_config(offset, data);
        }
    }

    /// Replaces all state.
    ///
    /// # Errors
    /// If it cannot be this device's; nothing is changed then.
    pub(super) fn load(&mut self, facilities: Facilities, state: T::State) -> Result<(), String> {
        facilities.check(&self.device.queue_sizes(), self.offered())?;
        self.device.load(state, &facilities.queues)?;
        self.facilities = facilities;
        Ok(())
    }
}
