//! Virtio over PCI (VIRTIO 1.2, section 4.1): a modern function.
//!
//! BAR 0 has the four structures that capabilities point to, a page for each; BAR 1 has the table
//! of MSI-X. Both lie below 4 GiB, where a BIOS in 32-bit mode reaches them. The fifth capability is a
//! window into the BARs for who does not reach them at all.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use super::{
    DeviceType, Virtio,
    facilities::{Causes, Facilities},
};
use crate::{
    Backplane, Bar, ConfigSpace, Cx, Device, Identity, Intx, Line, LoadError, MsiX, MsiXState,
    PciFunction, Saved, Timed,
};

/// The vendor of all virtio devices.
const VENDOR: u16 = 0x1af4;
/// Device IDs are this and the virtio device's (section 4.1.2).
const DEVICE: u16 = 0x1040;
/// The ID of a vendor's own capability.
const VENDOR_CAPABILITY: u8 = 0x09;

/// The BAR with the structures, and its bytes.
const STRUCTURES: u8 = 0;
const STRUCTURES_SIZE: u32 = 0x4000;
/// The BAR with the table of MSI-X.
const MSIX: u8 = 1;

// Where the structures lie in their BAR.
const COMMON: u64 = 0x0000;
const ISR: u64 = 0x1000;
const CONFIG: u64 = 0x2000;
const NOTIFY: u64 = 0x3000;
/// Bytes from one queue's notification address to the next.
const NOTIFY_MULTIPLIER: u32 = 4;
/// Bytes of the common structure.
const COMMON_LEN: usize = 0x3c;

// cfg_type of a capability (section 4.1.4).
const COMMON_CFG: u8 = 1;
const NOTIFY_CFG: u8 = 2;
const ISR_CFG: u8 = 3;
const DEVICE_CFG: u8 = 4;
const PCI_CFG: u8 = 5;

/// Queue select and what follows it in the common structure.
const QUEUE_SELECT: u64 = 0x16;

/// ISR status: buffers were given back.
const ISR_QUEUE: u8 = 1 << 0;
/// ISR status: the configuration has changed.
const ISR_CONFIG: u8 = 1 << 1;
/// A cause of interrupts that has no vector.
const NO_VECTOR: u16 = 0xffff;

/// The registers of the transport.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Registers {
    isr: u8,
    config_vector: u16,
    queue_vectors: Vec<u16>,
}

impl Registers {
    fn new(queues: usize) -> Self {
        Self { isr: 0, config_vector: NO_VECTOR, queue_vectors: vec![NO_VECTOR; queues] }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State<S> {
    config: Vec<u8>,
    msix: MsiXState,
    registers: Registers,
    facilities: Facilities,
    device: S,
}

/// A virtio device as a PCI function.
pub struct VirtioPci<T> {
    name: &'static str,
    config: ConfigSpace,
    intx: Intx,
    msix: MsiX,
    /// Where the window capability lies in configuration space.
    window: u8,
    registers: Registers,
    virtio: Virtio<T>,
}

impl<T: DeviceType> VirtioPci<T> {
    /// A function called `name` (unique on the board) with `device` behind it, that interrupts on
    /// `intx` (INTA#) or by messages: one vector for each queue and one for the configuration.
    #[must_use]
    pub fn new(name: &'static str, device: T, intx: Line, backplane: Backplane) -> Self {
        let virtio = Virtio::new(device);
        let queues = virtio.facilities.queues.len();
        let mut config = ConfigSpace::new(Identity {
            vendor: VENDOR,
            device: DEVICE + T::ID,
            revision: 1,
            class: T::CLASS,
            subsystem_vendor: VENDOR,
            subsystem: DEVICE + T::ID,
        });
        config.set_interrupt_pin(1);
        let bar = Bar::Memory32 { size: STRUCTURES_SIZE, prefetchable: false };
        config.add_bar(usize::from(STRUCTURES), bar);
        let msix = MsiX::new(&mut config, backplane, MSIX, queues as u16 + 1);
        let mut point = |kind, at: u64, len: u32, more: &[u8], writable: &[u8]| {
            let mut body = vec![16 + more.len() as u8, kind, STRUCTURES, 0, 0, 0];
            body.extend((at as u32).to_le_bytes());
            body.extend(len.to_le_bytes());
            body.extend(more);
            config.add_capability(VENDOR_CAPABILITY, &body, writable)
        };
        let notify_len = queues as u32 * NOTIFY_MULTIPLIER;
        point(COMMON_CFG, COMMON, COMMON_LEN as u32, &[], &[]);
        point(ISR_CFG, ISR, 1, &[], &[]);
        // SeaBIOS asks for one even of devices that have nothing there.
        point(DEVICE_CFG, CONFIG, (NOTIFY - CONFIG) as u32, &[], &[]);
        point(NOTIFY_CFG, NOTIFY, notify_len, &NOTIFY_MULTIPLIER.to_le_bytes(), &[]);
        // BAR, offset, length and data are the driver's.
        let mut writable = [0xff; 18];
        writable[..2].fill(0);
        writable[3..6].fill(0);
        let window = point(PCI_CFG, 0, 0, &[0; 4], &writable);
        let registers = Registers::new(queues);
        Self { name, config, intx: Intx::new(intx), msix, window, registers, virtio }
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
        let causes = self.virtio.serve(self.name, cx, self.config.is_bus_master());
        if !causes.is_empty() {
            self.interrupt(causes);
        }
        self.drive();
    }

    fn interrupt(&mut self, causes: Causes) {
        if causes.config {
            self.registers.isr |= ISR_CONFIG;
            self.msix.signal(&self.config, self.registers.config_vector);
        }
        if !self.msix.is_enabled(&self.config) {
            self.registers.isr |= if causes.queues != 0 { ISR_QUEUE } else { 0 };
            return;
        }
        for (n, vector) in self.registers.queue_vectors.iter().enumerate() {
            if causes.queues >> n & 1 != 0 {
                self.msix.signal(&self.config, *vector);
            }
        }
    }

    fn is_pending(&self) -> bool {
        self.registers.isr != 0 && !self.msix.is_enabled(&self.config)
    }

    fn drive(&mut self) {
        let pending = self.is_pending();
        self.intx.drive(&mut self.config, pending);
    }

    /// A device reset by the driver: configuration space and the table of MSI-X are not concerned.
    fn reset_device(&mut self) {
        self.virtio.reset();
        self.registers = Registers::new(self.registers.queue_vectors.len());
    }

    /// The common structure, as it reads (section 4.1.4.3).
    fn common(&self) -> [u8; COMMON_LEN] {
        let facilities = &self.virtio.facilities;
        let mut all = [0; COMMON_LEN];
        let mut put = |at: usize, bytes: &[u8]| all[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x00, &facilities.device_features_select.to_le_bytes());
        put(0x04, &self.virtio.offered_features().to_le_bytes());
        put(0x08, &facilities.driver_features_select.to_le_bytes());
        put(0x0c, &facilities.accepted_features().to_le_bytes());
        put(0x10, &self.registers.config_vector.to_le_bytes());
        put(0x12, &(facilities.queues.len() as u16).to_le_bytes());
        put(0x14, &[facilities.status, facilities.generation]);
        put(QUEUE_SELECT as usize, &(facilities.queue_select as u16).to_le_bytes());
        if let Some(queue) = facilities.queue() {
            let select = facilities.queue_select as u16;
            let vector = self.registers.queue_vectors[usize::from(select)];
            put(0x18, &queue.size.to_le_bytes());
            put(0x1a, &vector.to_le_bytes());
            put(0x1c, &u16::from(queue.ready).to_le_bytes());
            put(0x1e, &select.to_le_bytes());
            put(0x20, &queue.descriptors.to_le_bytes());
            put(0x28, &queue.driver.to_le_bytes());
            put(0x30, &queue.device.to_le_bytes());
            put(0x38, &select.to_le_bytes());
        }
        all
    }

    /// Writes a register of the common structure, of its own width; quadwords also in halves.
    fn write_common(&mut self, cx: &Cx<'_>, offset: u64, data: &[u8]) {
        let mut bytes = [0; 8];
        let Some(low) = bytes.get_mut(..data.len()) else { return };
        low.copy_from_slice(data);
        let value = u64::from_le_bytes(bytes);
        let vector = self.vector(value as u16);
        let facilities = &mut self.virtio.facilities;
        match (offset, data.len()) {
            (0x00, 4) => facilities.device_features_select = value as u32,
            (0x08, 4) => facilities.driver_features_select = value as u32,
            (0x0c, 4) => facilities.accept_features(value as u32),
            (0x10, 2) => self.registers.config_vector = vector,
            (0x14, 1) if value == 0 => self.reset_device(),
            (0x14, 1) => self.virtio.set_status(value as u8),
            (QUEUE_SELECT, 2) => facilities.queue_select = value as u32,
            (0x18, 2) => facilities.set_up_queue(|queue| queue.size = value as u16),
            (0x1a, 2) => {
                let select = facilities.queue_select as usize;
                if let Some(of_queue) = self.registers.queue_vectors.get_mut(select) {
                    *of_queue = vector;
                }
            }
            (0x1c, 2) if value == 1 => facilities.enable_queue(),
            (0x20..0x38, len @ (4 | 8)) => facilities.set_up_queue(|queue| {
                let address = match offset & !7 {
                    0x20 => &mut queue.descriptors,
                    0x28 => &mut queue.driver,
                    _ => &mut queue.device,
                };
                match (offset & 7, len) {
                    (0, 8) => *address = value,
                    (0, 4) => *address = *address & !0xffff_ffff | value,
                    (4, 4) => *address = *address & 0xffff_ffff | value << 32,
                    _ => {}
                }
            }),
            _ => {}
        }
        self.serve(cx);
    }

    /// What a vector register has after `vector` was written: one that does not exist is none
    /// (section 4.1.5.1.2.2).
    fn vector(&self, vector: u16) -> u16 {
        if vector < self.msix.vectors() { vector } else { NO_VECTOR }
    }

    /// What the window capability shows: BAR, offset, and 1, 2 or 4 bytes of it (section 4.1.4.9).
    fn window(&self) -> Option<(u8, u64, usize)> {
        let at = usize::from(self.window);
        let bar = self.config.byte(self.window + 4);
        let offset = self.config.doubleword(at + 8);
        let len = self.config.doubleword(at + 12);
        let is_aligned = matches!(len, 1 | 2 | 4) && offset.is_multiple_of(len);
        let is_bar = bar < ConfigSpace::ROM;
        let is_inside = match self.config.bar(usize::from(bar)).filter(|_| is_bar)? {
            Bar::Memory32 { size, .. } => offset < size,
            _ => false,
        };
        (is_aligned && is_inside).then_some((bar, u64::from(offset), len as usize))
    }

    /// Whether configuration bytes `offset` to `offset + len - 1` are (some of) the window's data.
    fn is_window(&self, offset: u8, len: u8) -> bool {
        let data = u16::from(self.window) + 16;
        (data..data + 4)
            .any(|at| (u16::from(offset)..u16::from(offset) + u16::from(len)).contains(&at))
    }

    /// Takes over a state after checking all of it.
    fn restore(&mut self, state: State<T::State>) -> Result<(), String> {
        let mut config = self.config.clone();
        let vectors = self.msix.vectors();
        let is_vector = |v: &u16| *v < vectors || *v == NO_VECTOR;
        let registers = &state.registers;
        if !config.load_registers(&state.config) {
            return Err("these are not the registers of its configuration space".to_owned());
        }
        if !self.msix.is_possible(&state.msix)
            || registers.isr & !(ISR_QUEUE | ISR_CONFIG) != 0
            || registers.queue_vectors.len() != self.registers.queue_vectors.len()
            || !registers.queue_vectors.iter().chain([&registers.config_vector]).all(is_vector)
            || state.facilities.queue_select > 0xffff
        {
            return Err("a register is out of range".to_owned());
        }
        self.virtio.load(state.facilities, state.device)?;
        self.config = config;
        self.msix.load(state.msix);
        self.registers = state.registers;
        let pending = self.is_pending();
        self.intx.restore(&mut self.config, pending);
        Ok(())
    }
}

impl<T: DeviceType> Device for VirtioPci<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.reset_device();
        self.config.reset();
        self.msix.reset();
        self.drive();
    }

    fn save(&self) -> Saved {
        let state = State {
            config: self.config.registers(),
            msix: self.msix.save(),
            registers: self.registers.clone(),
            facilities: self.virtio.facilities.clone(),
            device: self.virtio.device.save(),
        };
        Saved::pack(self.name, &state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state = saved.unpack(self.name)?;
        self.restore(state).map_err(|reason| LoadError::Damaged { device: self.name, reason })
    }

    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        Some(self)
    }
}

impl<T: DeviceType> PciFunction for VirtioPci<T> {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_written(&mut self, cx: &mut Cx<'_>, offset: u8, len: u8) {
        self.msix.config_written(&self.config);
        if self.is_window(offset, len) {
            if let Some((bar, at, len)) = self.window() {
                let data = self.config.doubleword(usize::from(self.window) + 16).to_le_bytes();
                self.bar_write(cx, bar, at, &data[..len]);
            }
        } else {
            // The function may have become a bus master.
            self.serve(cx);
        }
    }

    fn config_reading(&mut self, cx: &mut Cx<'_>, offset: u8, len: u8) {
        if self.is_window(offset, len)
            && let Some((bar, at, len)) = self.window()
        {
            let mut data = [0xff; 4];
            self.bar_read(cx, bar, at, &mut data[..len]);
            self.config.put(self.window + 16, &data[..len]);
        }
    }

    fn bar_read(&mut self, _cx: &mut Cx<'_>, bar: u8, offset: u64, data: &mut [u8]) {
        if bar == self.msix.bar() {
            self.msix.read(offset, data);
            return;
        }
        match offset {
            COMMON..ISR => {
                let common = self.common();
                for (at, byte) in (offset as usize..).zip(data) {
                    *byte = common.get(at).copied().unwrap_or(0);
                }
            }
            ISR => {
                data.fill(0);
                if let Some(byte) = data.first_mut() {
                    *byte = std::mem::take(&mut self.registers.isr);
                }
                self.drive();
            }
            CONFIG..NOTIFY => self.virtio.read_config(offset - CONFIG, data),
            _ => data.fill(0),
        }
    }

    fn bar_write(&mut self, cx: &mut Cx<'_>, bar: u8, offset: u64, data: &[u8]) {
        if bar == self.msix.bar() {
            self.msix.write(&self.config, offset, data);
            return;
        }
        match offset {
            COMMON..ISR => self.write_common(cx, offset, data),
            CONFIG..NOTIFY => {
                self.virtio.write_config(offset - CONFIG, data);
                self.serve(cx);
            }
            NOTIFY.. => {
                let queue = (offset - NOTIFY) / u64::from(NOTIFY_MULTIPLIER);
                self.virtio.notify(queue as usize);
                self.serve(cx);
            }
            _ => {}
        }
    }
}

impl<T: DeviceType> Timed for VirtioPci<T> {
    fn next_event(&self) -> Option<VmTime> {
        self.virtio.next_event(self.config.is_bus_master())
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        self.serve(cx);
    }
}
