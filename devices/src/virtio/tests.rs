//! Both transports, by a device that gives random bytes.

use trine_guest::Gpa;

use super::{
    VirtioMmio, VirtioPci, VirtioRng,
    rig::{AVAILABLE, Part, QUEUES, Rig, SIZE, USED, VERSION_1, WRITE},
};
use crate::{Bench, Device, Mmio, PciFunction, Signal};

fn sevens() -> VirtioRng {
    VirtioRng::new(Box::new(|bytes| bytes.fill(7)))
}

fn rig() -> Rig<VirtioRng> {
    Rig::started(sevens(), VERSION_1)
}

#[test]
fn linux_finds_the_structures_by_their_capabilities() {
    let rig = Rig::new(sevens());
    let config = rig.chip.config();
    assert_eq!((config.doubleword(0), config.byte(8)), (0x1044_1af4, 1));
    let mut at = config.byte(0x34);
    let mut found = Vec::new();
    while at != 0 {
        if config.byte(at) == 0x09 {
            let [of, bar] = [3, 4].map(|n| config.byte(at + n));
            let [offset, len] = [8, 12].map(|n| config.doubleword(usize::from(at) + n));
            found.push((of, bar, offset, len));
            let bytes = if matches!(of, 2 | 5) { 20 } else { 16 };
            assert_eq!(config.byte(at + 2), bytes, "length of the capability of type {of}");
        }
        at = config.byte(at + 1);
    }
    let device = (4, 0, 0x2000, 0x1000);
    let want = [(1, 0, 0, 0x3c), (3, 0, 0x1000, 1), device, (2, 0, 0x3000, 4), (5, 0, 0, 0)];
    assert_eq!(found, want);
}

#[test]
fn features_are_agreed_on_or_not() {
    let mut rig = Rig::new(sevens());
    let offered = rig.offered();
    assert_eq!(offered, 1 << 32 | 1 << 28 | 1 << 29);
    let mut agree = |features: u64| {
        rig.set_status(0);
        rig.set_status(3);
        for (half, value) in [features as u32, (features >> 32) as u32].into_iter().enumerate() {
            rig.common_write(0x08, &(half as u32).to_le_bytes());
            rig.common_write(0x0c, &value.to_le_bytes());
            assert_eq!(u32::from_le_bytes(rig.bar_read(0, 0x0c)), value);
        }
        rig.set_status(11);
        let agreed = rig.status();
        rig.set_status(15);
        (agreed, rig.status())
    };
    assert_eq!(agree(0), (3, 3), "a legacy driver");
    assert_eq!(agree(1 << 28), (3, 3));
    assert_eq!(agree(offered | 1), (3, 3), "never offered");
    assert_eq!(agree(VERSION_1), (11, 15));
    assert_eq!(agree(offered), (11, 15));
    rig.common_write(0x0c, &[0; 4]);
    assert_eq!(u32::from_le_bytes(rig.bar_read(0, 0x0c)), 1, "settled");
}

#[test]
fn queues_are_set_up_once_and_right() {
    let mut rig = Rig::new(sevens());
    rig.set_status(11);
    let read = |rig: &mut Rig<_>, at| u16::from_le_bytes(rig.bar_read(0, at));
    assert_eq!((read(&mut rig, 0x12), read(&mut rig, 0x18)), (1, 64));
    for (size, driver, is_possible) in
        [(48, 0, false), (128, 0, false), (0, 0, false), (32, 1, false), (32, 0x1002, true)]
    {
        rig.common_write(0x18, &u16::to_le_bytes(size));
        rig.common_write(0x28, &u64::to_le_bytes(driver));
        rig.common_write(0x1c, &[1, 0]);
        assert_eq!(read(&mut rig, 0x1c), u16::from(is_possible), "{size} {driver:x}");
    }
    rig.common_write(0x18, &[64, 0]);
    rig.common_write(0x28, &[0xff; 4]);
    rig.common_write(0x2c, &[0xff; 4]);
    assert_eq!((read(&mut rig, 0x18), rig.bar_read(0, 0x28)), (32, 0x1002_u64.to_le_bytes()));
    rig.common_write(0x16, &[1, 0]);
    rig.common_write(0x1c, &[1, 0]);
    assert_eq!([0x18, 0x1a, 0x1c, 0x1e].map(|at| read(&mut rig, at)), [0; 4], "no such queue");
    rig.common_write(0x10, &[2, 0]);
    assert_eq!(read(&mut rig, 0x10), 0xffff, "no such vector");
    rig.set_status(0);
    rig.common_write(0x16, &[0, 0]);
    assert_eq!((read(&mut rig, 0x18), read(&mut rig, 0x1c)), (64, 0), "after a reset");
}

#[test]
fn interrupts_come_by_message_or_by_pin() {
    let mut rig = rig();
    let buffer = [Part::In(0x8000, 4)];
    rig.call(0, &buffer);
    assert_eq!(rig.vectors(), [0x51]);
    assert_eq!(rig.bar_read(0, 0x1000), [0], "ISR status is for the pin");
    rig.common_write(0x1a, &[0xff, 0xff]);
    rig.call(0, &buffer);
    assert!(rig.vectors().is_empty(), "no vector");
    // Without MSI-X.
    rig.config_write(0x43, &[0x00]);
    rig.call(0, &buffer);
    rig.call(0, &buffer);
    assert_eq!(rig.bench.said(), [Signal::Level { wire: 9, level: true }]);
    assert_eq!(rig.chip.config().byte(0x06) & 8, 8);
    assert_eq!(rig.bar_read(0, 0x1000), [1]);
    assert_eq!(rig.bench.said(), [Signal::Level { wire: 9, level: false }]);
    assert_eq!(rig.bar_read(0, 0x1000), [0]);
    rig.write16(QUEUES + AVAILABLE, 1);
    rig.call(0, &buffer);
    assert_eq!(rig.bench.said(), [], "the driver wants none");
}

#[test]
fn a_device_that_is_no_bus_master_touches_nothing() {
    let mut rig = rig();
    rig.config_write(0x04, &[0x02]);
    rig.offer(0, &[Part::In(0x8000, 4)]);
    rig.kick(0);
    rig.wake();
    assert_eq!((rig.get(0x8000), rig.used(0)), ([0; 4], vec![]));
    rig.config_write(0x04, &[0x06]);
    assert_eq!((rig.get(0x8000), rig.used(0)), ([7; 4], vec![(0, 4)]));
    assert_eq!(rig.vectors(), [0x51]);
}

#[test]
fn a_broken_queue_needs_a_reset() {
    let mut rig = rig();
    rig.offer_head(0, SIZE);
    rig.kick(0);
    assert!(rig.needs_reset());
    assert_eq!(rig.vectors(), [0x50], "a change of the configuration");
    rig.offer(0, &[Part::In(0x8000, 4)]);
    rig.kick(0);
    rig.set_status(15);
    assert_eq!((rig.needs_reset(), rig.used(0)), (true, vec![]));
    rig.start(VERSION_1);
    assert_eq!(rig.call(0, &[Part::In(0x8000, 4)]), 4);
}

#[test]
fn the_window_capability_reaches_everything() {
    let mut rig = Rig::new(sevens());
    let config = rig.chip.config();
    let is_window = |at: &u8| config.byte(*at) == 9 && config.byte(at + 3) == 5;
    let window = (0x40..=0xf0_u8).step_by(4).find(is_window).expect("the capability");
    let choose = |rig: &mut Rig<_>, bar: u8, offset: u32, len: u32| {
        rig.config_write(window + 4, &[bar]);
        rig.config_write(window + 8, &offset.to_le_bytes());
        rig.config_write(window + 12, &len.to_le_bytes());
    };
    let read = |rig: &mut Rig<VirtioRng>| {
        let chip = &mut rig.chip;
        rig.bench.with(|cx| chip.config_reading(cx, window + 16, 4));
        chip.config().doubleword(usize::from(window) + 16)
    };
    choose(&mut rig, 0, 0x14, 1);
    rig.config_write(window + 16, &[3]);
    assert_eq!(rig.status(), 3);
    assert_eq!(read(&mut rig) & 0xff, 3);
    choose(&mut rig, 0, 0x00, 4);
    rig.config_write(window + 16, &[1, 0, 0, 0]);
    choose(&mut rig, 0, 0x04, 4);
    assert_eq!(read(&mut rig), 1);
    choose(&mut rig, 1, 0x0c, 4);
    assert_eq!(read(&mut rig), 1, "vector 0 is masked");
    // A window that is not aligned, too wide, behind the end or in no BAR is none.
    for (bar, offset, len) in [(0, 2, 4), (0, 0, 8), (0, 0x4000, 4), (2, 0, 4), (255, 0, 1)] {
        choose(&mut rig, bar, offset, len);
        rig.config_write(window + 16, &[0x55; 4]);
        assert_eq!(read(&mut rig), 0x5555_5555, "memory");
        choose(&mut rig, 0, 0x14, 1);
        assert_eq!(read(&mut rig) & 0xff, 3);
    }
    let saved = rig.chip.save();
    rig.chip.load(&saved).expect("it loads what it saved");
}

#[test]
fn a_state_is_one_that_could_have_come_about() {
    let mut rig = rig();
    rig.call(0, &[Part::In(0x8000, 4)]);
    let saved = rig.chip.save();
    let mut other: VirtioPci<VirtioRng> = Rig::chip(&rig.bench, sevens());
    other.load(&saved).expect("the same device");
    assert_eq!(other.save(), saved);
    let damage: [(&[&str], u64); 9] = [
        (&["registers", "isr"], 4),
        (&["registers", "config_vector"], 2),
        (&["facilities", "status"], 0x1f),
        (&["facilities", "driver_features"], 1),
        (&["facilities", "driver_features"], 1 << 32 | 1),
        (&["facilities", "queue_select"], 1 << 16),
        (&["facilities", "notified"], 2),
        (&["facilities", "queues", "0", "size"], 24),
        (&["facilities", "queues", "0", "size_max"], 32),
    ];
    for (path, value) in damage {
        let mut bad = saved.clone();
        let pointer = format!("/{}", path.join("/"));
        *bad.state.pointer_mut(&pointer).expect("a field") = value.into();
        other.load(&bad).expect_err(&pointer);
        assert_eq!(other.save(), saved);
    }
}

struct OverMmio {
    bench: Bench,
    chip: VirtioMmio<VirtioRng>,
}

impl OverMmio {
    fn read(&mut self, offset: u64) -> u32 {
        let mut data = [0xff; 4];
        self.bench.with(|cx| self.chip.mmio_read(cx, offset, &mut data));
        u32::from_le_bytes(data)
    }

    fn write(&mut self, offset: u64, value: u32) {
        self.bench.with(|cx| self.chip.mmio_write(cx, offset, &value.to_le_bytes()));
    }

    /// What Linux's virtio_mmio does until DRIVER_OK, with a queue of four.
    fn start(&mut self) {
        assert_eq!([0, 4, 8].map(|at| self.read(at)), [0x7472_6976, 2, 4]);
        self.write(0x70, 0);
        self.write(0x70, 3);
        self.write(0x14, 1);
        assert_eq!(self.read(0x10), 1);
        for (half, value) in [(1, 1), (0, 0)] {
            self.write(0x24, half);
            self.write(0x20, value);
        }
        self.write(0x70, 11);
        assert_eq!(self.read(0x70), 11);
        self.write(0x30, 0);
        assert_eq!((self.read(0x44), self.read(0x34)), (0, 64));
        self.write(0x38, 4);
        for (at, value) in [(0x80, QUEUES), (0x90, QUEUES + AVAILABLE), (0xa0, QUEUES + USED)] {
            self.write(at, value as u32);
            self.write(at + 4, (value >> 32) as u32);
        }
        self.write(0x44, 1);
        assert_eq!(self.read(0x44), 1);
        self.write(0x70, 15);
    }
}

#[test]
fn linux_drives_a_device_over_mmio() {
    let bench = Bench::new();
    let chip = VirtioMmio::new("virtio-mmio", sevens(), bench.backplane.line(3));
    let mut over = OverMmio { bench, chip };
    over.start();
    // One buffer, then a loop.
    let descriptor = u128::from(0x8000_u64) | 4 << 64 | u128::from(WRITE) << 96;
    over.bench.ram.write(Gpa(QUEUES), &descriptor.to_le_bytes()).unwrap();
    over.bench.ram.write(Gpa(QUEUES + AVAILABLE), &[0, 0, 1, 0, 0, 0, 9, 0]).unwrap();
    over.write(0x50, 0);
    let mut data = [0; 5];
    over.bench.ram.read(Gpa(0x8000), &mut data).unwrap();
    assert_eq!(data, [7, 7, 7, 7, 0]);
    assert_eq!(over.bench.said(), [Signal::Level { wire: 3, level: true }]);
    let saved = over.chip.save();
    assert_eq!(over.read(0x60), 1);
    over.write(0x64, 1);
    assert_eq!(over.bench.said(), [Signal::Level { wire: 3, level: false }]);
    over.bench.ram.write(Gpa(QUEUES + AVAILABLE + 2), &[2, 0]).unwrap();
    over.write(0x50, 0);
    assert_eq!((over.read(0x70), over.read(0x60)), (0x4f, 2), "it needs a reset");
    over.write(0x44, 0);
    assert_eq!(over.read(0x44), 1, "a device that works keeps its queues");
    over.bench.said();
    over.chip.load(&saved).expect("its own state");
    assert_eq!((over.bench.said(), over.chip.save()), (vec![], saved));
    over.write(0x70, 0);
    assert_eq!(over.bench.said(), [Signal::Level { wire: 3, level: false }]);
    over.start();
}

#[test]
fn mmio_registers_are_doublewords() {
    let bench = Bench::new();
    let chip = VirtioMmio::new("virtio-mmio", sevens(), bench.backplane.line(3));
    let mut over = OverMmio { bench, chip };
    let mut data = [0xff; 8];
    over.bench.with(|cx| over.chip.mmio_read(cx, 0, &mut data));
    over.bench.with(|cx| over.chip.mmio_read(cx, 2, &mut data[..4]));
    assert_eq!(data, [0xff; 8]);
    over.bench.with(|cx| over.chip.mmio_write(cx, 0x70, &[3]));
    assert_eq!(over.read(0x70), 0);
    assert_eq!([0xb0, 0xb8, 0x100, 0xffc].map(|at| over.read(at)), [u32::MAX, u32::MAX, 0, 0]);
}
