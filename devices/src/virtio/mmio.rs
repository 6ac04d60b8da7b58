//! Virtio over MMIO (VIRTIO 1.2, section 4.2), version 2: a page of registers and one interrupt.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use super::{DeviceType, Virtio, facilities::Facilities};
use crate::{Cx, Device, Line, LoadError, Mmio, Saved, Timed};

/// MagicValue: "virt".
const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
/// VendorID: any.
const VENDOR: u32 = u32::from_le_bytes(*b"TRIN");
/// Where device configuration space begins.
const CONFIG: u64 = 0x100;

/// InterruptStatus: buffers were given back.
const STATUS_QUEUE: u32 = 1 << 0;
/// InterruptStatus: the configuration has changed.
const STATUS_CONFIG: u32 = 1 << 1;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State<S> {
    interrupt_status: u32,
    facilities: Facilities,
    device: S,
}

/// A virtio device with a [`Mmio`] window of [`VirtioMmio::WINDOW`] bytes.
pub struct VirtioMmio<T> {
    name: &'static str,
    irq: Line,
    interrupt_status: u32,
    virtio: Virtio<T>,
}

impl<T: DeviceType> VirtioMmio<T> {
    /// Bytes of the window.
    pub const WINDOW: u64 = 0x1000;

    /// A device called `name` (unique on the board) with `device` behind it, that interrupts on
    /// `irq` by level.
    #[must_use]
    pub fn new(name: &'static str, device: T, irq: Line) -> Self {
        Self { name, irq, interrupt_status: 0, virtio: Virtio::new(device) }
    }

    /// The device type, to call it. The board then wakes the chip ([`Timed::advance`]).
    pub fn device_mut(&mut self) -> &mut T {
        &mut self.virtio.device
    }

    /// The device type.
    pub fn device(&self) -> &T {
        &self.virtio.device
    }

    /// Does all that can be done, and interrupts.
    fn serve(&mut self, cx: &Cx<'_>) {
        let causes = self.virtio.serve(self.name, cx, true);
        self.interrupt_status |= if causes.queues != 0 { STATUS_QUEUE } else { 0 };
        self.interrupt_status |= if causes.config { STATUS_CONFIG } else { 0 };
        self.irq.set(self.interrupt_status != 0);
    }

    fn register(&self, offset: u64) -> u32 {
        let facilities = &self.virtio.facilities;
        let queue = facilities.queue();
        match offset {
            0x000 => MAGIC,
            0x004 => VERSION,
            0x008 => u32::from(T::ID),
            0x00c => VENDOR,
            0x010 => self.virtio.offered_features(),
            0x034 => queue.map_or(0, |queue| u32::from(queue.size_max())),
            0x044 => queue.map_or(0, |queue| u32::from(queue.ready)),
            0x060 => self.interrupt_status,
            0x070 => u32::from(facilities.status),
            // SHMLen and SHMBase: there is no shared memory.
            0x0b0..0x0c0 => u32::MAX,
            0x0fc => u32::from(facilities.generation),
            _ => 0,
        }
    }

    fn set_register(&mut self, offset: u64, value: u32) {
        let facilities = &mut self.virtio.facilities;
        let low = |address: &mut u64| *address = *address & !0xffff_ffff | u64::from(value);
        let high = |address: &mut u64| *address = *address & 0xffff_ffff | u64::from(value) << 32;
        match offset {
            0x014 => facilities.device_features_select = value,
            0x020 => facilities.accept_features(value),
            0x024 => facilities.driver_features_select = value,
            0x030 => facilities.queue_select = value,
            0x038 => {
                // A size of more than 16 bits is none.
                facilities.set_up_queue(|queue| queue.size = u16::try_from(value).unwrap_or(0));
            }
            0x044 if value & 1 != 0 => facilities.enable_queue(),
            0x044 => facilities.disable_queue(),
            0x050 => self.virtio.notify(value as usize),
            0x064 => self.interrupt_status &= !value,
            0x070 => {
                self.virtio.set_status(value as u8);
                if value == 0 {
                    self.interrupt_status = 0;
                }
            }
            0x080 => facilities.set_up_queue(|queue| low(&mut queue.descriptors)),
            0x084 => facilities.set_up_queue(|queue| high(&mut queue.descriptors)),
            0x090 => facilities.set_up_queue(|queue| low(&mut queue.driver)),
            0x094 => facilities.set_up_queue(|queue| high(&mut queue.driver)),
            0x0a0 => facilities.set_up_queue(|queue| low(&mut queue.device)),
            0x0a4 => facilities.set_up_queue(|queue| high(&mut queue.device)),
            _ => {}
        }
    }

    /// Takes over a state after checking all of it.
    fn restore(&mut self, state: State<T::State>) -> Result<(), String> {
        if state.interrupt_status & !(STATUS_QUEUE | STATUS_CONFIG) != 0 {
            return Err(format!("interrupt status {:#x}", state.interrupt_status));
        }
        self.virtio.load(state.facilities, state.device)?;
        self.interrupt_status = state.interrupt_status;
        self.irq.restore(self.interrupt_status != 0);
        Ok(())
    }
}

impl<T: DeviceType> Device for VirtioMmio<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.virtio.reset();
        self.interrupt_status = 0;
        self.irq.set(false);
    }

    fn save(&self) -> Saved {
        let state = State {
            interrupt_status: self.interrupt_status,
            facilities: self.virtio.facilities.clone(),
            device: self.virtio.device.save(),
        };
        Saved::pack(self.name, &state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state = saved.unpack(self.name)?;
        self.restore(state).map_err(|reason| LoadError::Damaged { device: self.name, reason })
    }

    fn as_mmio(&mut self) -> Option<&mut dyn Mmio> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        Some(self)
    }
}

impl<T: DeviceType> Mmio for VirtioMmio<T> {
    /// Registers are read and written as aligned doublewords only (section 4.2.2.2).
    fn mmio_read(&mut self, _cx: &mut Cx<'_>, offset: u64, data: &mut [u8]) {
        if let Some(at) = offset.checked_sub(CONFIG) {
            self.virtio.read_config(at, data);
        } else if data.len() == 4 && offset.is_multiple_of(4) {
            data.copy_from_slice(&self.register(offset).to_le_bytes());
        }
    }

    fn mmio_write(&mut self, cx: &mut Cx<'_>, offset: u64, data: &[u8]) {
        if let Some(at) = offset.checked_sub(CONFIG) {
            self.virtio.write_config(at, data);
        } else if let Ok(bytes) = data.try_into()
            && offset.is_multiple_of(4)
        {
            self.set_register(offset, u32::from_le_bytes(bytes));
        }
        self.serve(cx);
    }
}

impl<T: DeviceType> Timed for VirtioMmio<T> {
    fn next_event(&self) -> Option<VmTime> {
        self.virtio.next_event(true)
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        self.serve(cx);
    }
}
