//! A driver of virtio devices for tests: it sets a PCI function up as Linux does, makes chains of
//! descriptors, and sees which interrupts come.

use trine_guest::Gpa;

use super::{DeviceType, VirtioPci};
use crate::{Bench, PciFunction, Signal, Timed};

/// Where the rings of queue 0 lie; those of the next one are a [`QUEUE_STRIDE`] on.
pub(crate) const QUEUES: u64 = 0x1_0000;
pub(crate) const QUEUE_STRIDE: u64 = 0x1000;
/// Where a queue's rings lie from its start on.
pub(crate) const AVAILABLE: u64 = 0x400;
pub(crate) const USED: u64 = 0x800;
/// The size of all queues.
pub(crate) const SIZE: u16 = 16;

pub(crate) const INDIRECT_DESC: u64 = 1 << 28;
pub(crate) const EVENT_IDX: u64 = 1 << 29;
pub(crate) const VERSION_1: u64 = 1 << 32;

/// A descriptor's flags.
pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;

/// A part of a buffer, as a test writes it.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// The device reads `.1` bytes at `.0`.
    Out(u64, u32),
    /// The device writes.
    In(u64, u32),
}

/// The driver's side of a queue.
#[derive(Clone, Default)]
pub(crate) struct Ring {
    available: u16,
    used: u16,
    /// The next descriptor to use; a test has never all in use.
    free: u16,
}

/// A device behind PCI and its driver.
pub(crate) struct Rig<T> {
    pub(crate) bench: Bench,
    pub(crate) chip: VirtioPci<T>,
    rings: Vec<Ring>,
}

impl<T: DeviceType> Rig<T> {
    /// The device as after power-on, and a bus master.
    pub(crate) fn new(device: T) -> Self {
        let bench = Bench::new();
        let chip = Self::chip(&bench, device);
        let rings = vec![Ring::default(); chip.device().queue_sizes().len()];
        let mut rig = Self { bench, chip, rings };
        rig.config_write(0x04, &[0x06, 0x00]);
        rig
    }

    pub(crate) fn chip(bench: &Bench, device: T) -> VirtioPci<T> {
        VirtioPci::new("virtio", device, bench.backplane.line(9), bench.backplane.clone())
    }

    /// The device with a driver that accepts `features` of those offered, and interrupts by MSI-X:
    /// vector 0 is the configuration's (50h), queue n has vector n + 1 (51h + n).
    pub(crate) fn started(device: T, features: u64) -> Self {
        let mut rig = Self::new(device);
        rig.enable_msix();
        rig.start(features);
        rig
    }

    pub(crate) fn enable_msix(&mut self) {
        self.config_write(0x40, &0x8000_0011_u32.to_le_bytes());
        for vector in 0..=self.rings.len() as u64 {
            for (at, value) in [(0, 0xfee0_0000), (4, 0), (8, 0x50 + vector as u32), (12, 0)] {
                self.bar_write(1, vector * 16 + at, &u32::to_le_bytes(value));
            }
        }
    }

    /// What Linux does from probe to DRIVER_OK.
    pub(crate) fn start(&mut self, features: u64) {
        self.set_status(0);
        assert_eq!(self.status(), 0);
        self.set_status(1);
        self.set_status(3);
        for (half, value) in [features as u32, (features >> 32) as u32].into_iter().enumerate() {
            self.common_write(0x08, &(half as u32).to_le_bytes());
            self.common_write(0x0c, &value.to_le_bytes());
        }
        self.set_status(11);
        assert_eq!(self.status(), 11, "the device accepts {features:#x}");
        self.common_write(0x10, &0_u16.to_le_bytes());
        for n in 0..self.rings.len() {
            self.rings[n] = Ring::default();
            let base = Self::base(n);
            self.bench.ram.write(Gpa(base), &[0; QUEUE_STRIDE as usize]).unwrap();
            self.common_write(0x16, &(n as u16).to_le_bytes());
            self.common_write(0x18, &SIZE.to_le_bytes());
            self.common_write(0x1a, &(n as u16 + 1).to_le_bytes());
            for (at, address) in [(0x20, base), (0x28, base + AVAILABLE), (0x30, base + USED)] {
                self.common_write(at, &(address as u32).to_le_bytes());
                self.common_write(at + 4, &((address >> 32) as u32).to_le_bytes());
            }
            self.common_write(0x1c, &1_u16.to_le_bytes());
        }
        self.set_status(15);
    }

    pub(crate) fn base(queue: usize) -> u64 {
        QUEUES + queue as u64 * QUEUE_STRIDE
    }

    pub(crate) fn config_write(&mut self, offset: u8, data: &[u8]) {
        self.chip.config_mut().write(offset, data);
        let chip = &mut self.chip;
        self.bench.with(|cx| chip.config_written(cx, offset, data.len() as u8));
    }

    pub(crate) fn bar_write(&mut self, bar: u8, offset: u64, data: &[u8]) {
        let chip = &mut self.chip;
        self.bench.with(|cx| chip.bar_write(cx, bar, offset, data));
    }

    pub(crate) fn bar_read<const N: usize>(&mut self, bar: u8, offset: u64) -> [u8; N] {
        let mut data = [0xff; N];
        let chip = &mut self.chip;
        self.bench.with(|cx| chip.bar_read(cx, bar, offset, &mut data));
        data
    }

    pub(crate) fn common_write(&mut self, offset: u64, data: &[u8]) {
        self.bar_write(0, offset, data);
    }

    pub(crate) fn set_status(&mut self, status: u8) {
        self.common_write(0x14, &[status]);
    }

    pub(crate) fn status(&mut self) -> u8 {
        self.bar_read::<1>(0, 0x14)[0]
    }

    pub(crate) fn needs_reset(&mut self) -> bool {
        self.status() & 0x40 != 0
    }

    /// The features that the device offers.
    pub(crate) fn offered(&mut self) -> u64 {
        let [low, high] = [0_u32, 1].map(|half| {
            self.common_write(0x00, &half.to_le_bytes());
            u64::from(u32::from_le_bytes(self.bar_read(0, 0x04)))
        });
        low | high << 32
    }

    /// Device configuration space.
    pub(crate) fn device_config<const N: usize>(&mut self, offset: u64) -> [u8; N] {
        self.bar_read(0, 0x2000 + offset)
    }

    pub(crate) fn write16(&mut self, at: u64, value: u16) {
        self.bench.ram.write(Gpa(at), &value.to_le_bytes()).unwrap();
    }

    pub(crate) fn read16(&self, at: u64) -> u16 {
        let mut data = [0; 2];
        self.bench.ram.read(Gpa(at), &mut data).unwrap();
        u16::from_le_bytes(data)
    }

    pub(crate) fn put(&mut self, at: u64, bytes: &[u8]) {
        self.bench.ram.write(Gpa(at), bytes).unwrap();
    }

    pub(crate) fn get<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut data = [0; N];
        self.bench.ram.read(Gpa(at), &mut data).unwrap();
        data
    }

    /// Writes descriptor `index` of the table at `table`.
    pub(crate) fn descriptor(&mut self, table: u64, index: u16, part: (u64, u32, u16, u16)) {
        let (at, len, flags, next) = part;
        let all = u128::from(at)
            | u128::from(len) << 64
            | u128::from(flags) << 96
            | u128::from(next) << 112;
        self.put(table + 16 * u64::from(index), &all.to_le_bytes());
    }

    /// Makes a buffer of these parts available, without a word to the device. Returns its first
    /// descriptor.
    pub(crate) fn offer(&mut self, queue: usize, parts: &[Part]) -> u16 {
        let head = self.rings[queue].free;
        for (n, part) in parts.iter().enumerate() {
            let (at, len, write) = match *part {
                Part::Out(at, len) => (at, len, 0),
                Part::In(at, len) => (at, len, WRITE),
            };
            let index = self.rings[queue].free;
            let next = (index + 1) % SIZE;
            let flags = if n + 1 < parts.len() { write | NEXT } else { write };
            self.descriptor(Self::base(queue), index, (at, len, flags, next));
            self.rings[queue].free = next;
        }
        self.offer_head(queue, head);
        head
    }

    /// Makes the chain that begins at `head` available.
    pub(crate) fn offer_head(&mut self, queue: usize, head: u16) {
        let available = self.rings[queue].available;
        let ring = Self::base(queue) + AVAILABLE;
        self.write16(ring + 4 + 2 * u64::from(available % SIZE), head);
        self.rings[queue].available = available.wrapping_add(1);
        self.write16(ring + 2, available.wrapping_add(1));
    }

    /// Notifies the device.
    pub(crate) fn kick(&mut self, queue: usize) {
        self.bar_write(0, 0x3000 + 4 * queue as u64, &(queue as u16).to_le_bytes());
    }

    /// Offers a buffer, kicks, and returns how many bytes the device says it wrote.
    pub(crate) fn call(&mut self, queue: usize, parts: &[Part]) -> u32 {
        let head = self.offer(queue, parts);
        self.kick(queue);
        match self.used(queue)[..] {
            [(of, written)] if of == u32::from(head) => written,
            ref other => panic!("{other:?} instead of buffer {head}"),
        }
    }

    /// What has been given back since the last call: first descriptor and length.
    pub(crate) fn used(&mut self, queue: usize) -> Vec<(u32, u32)> {
        let ring = Self::base(queue) + USED;
        let end = self.read16(ring + 2);
        let mut all = Vec::new();
        while self.rings[queue].used != end {
            let slot = self.rings[queue].used % SIZE;
            let entry: [u8; 8] = self.get(ring + 4 + 8 * u64::from(slot));
            let entry = u64::from_le_bytes(entry);
            all.push((entry as u32, (entry >> 32) as u32));
            self.rings[queue].used = self.rings[queue].used.wrapping_add(1);
        }
        all
    }

    /// Time goes on.
    pub(crate) fn run_ns(&mut self, ns: u64) {
        self.bench.run_ns(&mut self.chip, ns);
    }

    /// The chip is woken, since something has changed outside.
    pub(crate) fn wake(&mut self) {
        let chip = &mut self.chip;
        self.bench.with(|cx| chip.advance(cx));
    }

    /// The vectors that were sent since the last call.
    pub(crate) fn vectors(&mut self) -> Vec<u8> {
        let messages = self.bench.said().into_iter().filter_map(|signal| match signal {
            Signal::Message(message) => Some(message.vector),
            _ => None,
        });
        messages.collect()
    }
}
