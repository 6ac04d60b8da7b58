//! Virtio devices: a device type behind a transport.
//!
//! Source: Virtual I/O Device (VIRTIO) Version 1.2, OASIS, 2022; sections are named where they
//! matter. Devices are modern only: the drivers of Linux, Windows, SeaBIOS, OVMF and iPXE all look
//! for version 1 first, and what legacy would cost is a second transport, guest-endian rings and
//! headers of other lengths.
//!
//! ```text
//!   VirtioBlk, VirtioRng, VirtioConsole, …      a device type (section 5): [`DeviceType`]
//!                     │
//!                Virtio<T>                      status, features, queues (section 2)
//!                     │
//!          VirtioPci<T>, VirtioMmio<T>          how a driver reaches them (section 4)
//! ```
//!
//! A device type is called when something may have changed ([`DeviceType::serve`]) and then does
//! all that it can: it takes buffers from the queues of which the driver has notified it, gives
//! back those that are done, and says nothing of interrupts; whether the driver wants some is found
//! out afterwards. Nothing is remembered of a buffer but its first descriptor, and its chain is
//! walked again after a load.
//!
//! What is outside (a disk, a network, a console) never calls the chip: it has its answers ready and
//! the board wakes the chip to take them ([`crate::Timed::advance`]).
//!
//! A driver that breaks a rule of queues or buffers gets a device that needs a reset (section
//! 2.1.2), which does nothing more until then. While the PCI function is no bus master it touches
//! no memory; what was notified or answered meanwhile waits.

use std::any::Any;

use serde::{Serialize, de::DeserializeOwned};
use trine_guest::VmTime;

use crate::Device;

mod balloon;
mod blk;
mod console;
mod driver;
mod facilities;
mod mmio;
mod net;
mod pci;
mod queue;
mod rng;

pub use balloon::VirtioBalloon;
pub use blk::VirtioBlk;
pub use console::{ConsolePort, VirtioConsole};
pub use driver::Driver;
pub use mmio::VirtioMmio;
pub use net::{MacAddress, VirtioNet};
pub use pci::VirtioPci;
pub use queue::{Chain, Queue, QueueError, RingFeatures};
pub use rng::{Entropy, VirtioRng};

use facilities::Virtio;

/// The most queues of a device: as many as one word has bits.
pub const QUEUES_MAX: usize = 64;

/// VIRTIO_F_INDIRECT_DESC (section 6).
const INDIRECT_DESC: u64 = 1 << 28;
/// VIRTIO_F_EVENT_IDX.
const EVENT_IDX: u64 = 1 << 29;
/// VIRTIO_F_VERSION_1.
const VERSION_1: u64 = 1 << 32;
/// What every device here offers.
const OFFERED: u64 = INDIRECT_DESC | EVENT_IDX | VERSION_1;

/// What is behind a transport (section 5).
pub trait DeviceType: Send + 'static {
    /// All of it that the guest can tell, apart from status, features and queues.
    type State: Clone + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned;
    /// The device ID (section 5).
    const ID: u16;
    /// Class, subclass and programming interface as a PCI function.
    const CLASS: u32;

    /// The feature bits that it offers beyond those of all devices.
    fn features(&self) -> u64;
    /// The largest size of each queue: 1 to [`QUEUES_MAX`] of them. Never changes.
    fn queue_sizes(&self) -> Vec<u16>;
    /// Device configuration space. Its length never changes.
    fn config(&self) -> Vec<u8>;
    /// The driver writes `data` at `offset` of device configuration space, not beyond its end.
    fn write_config(&mut self, _offset: usize, _data: &[u8]) {}
    /// Whether [`DeviceType::config`] has changed, by no doing of the driver, since this was asked
    /// the last time. Time to see whether what is outside has changed.
    fn take_config_change(&mut self) -> bool {
        false
    }
    /// As after power-on; what is under way is forgotten.
    fn reset(&mut self);
    /// The driver is there, and something may have changed: does all that can be done.
    fn serve(&mut self, driver: &mut Driver<'_>);
    /// When it next wants to be served if the driver does nothing; pure.
    fn next_event(&self) -> Option<VmTime> {
        None
    }
    /// A copy of the state.
    fn save(&self) -> Self::State;
    /// Replaces the state. `queues` are loaded already.
    ///
    /// # Errors
    /// If its fields do not hold together, and why; nothing is changed then.
    fn load(&mut self, state: Self::State, queues: &[Queue]) -> Result<(), String>;
}

/// The device type behind `device`, if it is a virtio device of type `T`, however a driver reaches it.
/// Whoever calls it has the chip woken afterwards.
pub fn device_type<T: DeviceType>(device: &mut dyn Device) -> Option<&mut T> {
    let device: &mut dyn Any = device;
    if device.is::<VirtioMmio<T>>() {
        return device.downcast_mut::<VirtioMmio<T>>().map(VirtioMmio::device_mut);
    }
    device.downcast_mut::<VirtioPci<T>>().map(VirtioPci::device_mut)
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod tests;
