//! The PCI bus against the specification and against how Linux finds it.

use super::{Bar, ConfigSpace, Identity, Intx, PciBus, PciFunction, Slot, Space, seated::Seated};
use crate::{Bench, Cx, Device, I440fx, LoadError, Piix3Isa, Ports, Saved, Signal};

/// A function with one BAR of each kind and two capabilities.
struct Card {
    config: ConfigSpace,
    written: Vec<(u8, u8)>,
}

impl Card {
    fn new() -> Self {
        let mut config = ConfigSpace::new(Identity {
            vendor: 0x1234,
            device: 0x5678,
            class: 0xff_00_00,
            ..Identity::default()
        });
        config.add_bar(0, Bar::Io { size: 32 });
        config.add_bar(1, Bar::Memory32 { size: 4096, prefetchable: false });
        config.add_bar(2, Bar::Memory64 { size: 1 << 33, prefetchable: true });
        config.set_interrupt_pin(1);
        assert_eq!(config.add_capability(0x09, &[1, 2, 3], &[]), 0x40);
        assert_eq!(config.add_capability(0x05, &[0; 8], &[0x71, 0]), 0x48);
        Self { config, written: Vec::new() }
    }
}

impl Device for Card {
    fn name(&self) -> &'static str {
        "card"
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.config.reset();
    }

    fn save(&self) -> Saved {
        self.config.save("card")
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        self.config.load("card", saved)
    }
}

impl PciFunction for Card {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_written(&mut self, _cx: &mut Cx<'_>, offset: u8, len: u8) {
        self.written.push((offset, len));
    }

    fn bar_read(&mut self, _cx: &mut Cx<'_>, bar: u8, offset: u64, data: &mut [u8]) {
        data.fill(bar << 4 | offset as u8);
    }
}

fn slot(device: u8, function: u8) -> Slot {
    Slot::new(device, function).expect("in range")
}

struct Bus {
    bench: Bench,
    pci: PciBus,
}

impl Bus {
    fn new() -> Self {
        let mut pci = PciBus::new();
        pci.add(slot(0, 0), Box::new(I440fx::new()));
        pci.add(slot(1, 0), Box::new(Piix3Isa::new()));
        pci.add(slot(4, 0), Box::new(Card::new()));
        Self { bench: Bench::new(), pci }
    }

    fn address(&mut self, device: u32, register: u32) {
        let address: u32 = 0x8000_0000 | device << 11 | register & 0xfc;
        self.bench.with(|cx| self.pci.port_out(cx, 0, &address.to_le_bytes()));
    }

    fn read<const N: usize>(&mut self, device: u32, register: u32) -> [u8; N] {
        self.address(device, register);
        self.bench.port_in(&mut self.pci, 4 + (register & 3) as u16)
    }

    fn read32(&mut self, device: u32, register: u32) -> u32 {
        u32::from_le_bytes(self.read(device, register))
    }

    fn write(&mut self, device: u32, register: u32, data: &[u8]) {
        self.address(device, register);
        self.bench.with(|cx| self.pci.port_out(cx, 4 + (register & 3) as u16, data));
    }
}

#[test]
fn linux_finds_mechanism_1_and_the_bridges() {
    let mut b = Bus::new();
    // pci_check_type1: a byte written to CFBh must not disturb the address.
    b.bench.port_out(&mut b.pci, 3, 0x01);
    b.address(0, 0);
    assert_eq!(b.bench.port_in::<4>(&mut b.pci, 0), 0x8000_0000_u32.to_le_bytes());
    assert_eq!(b.read32(0, 0), 0x1237_8086);
    assert_eq!(b.read::<2>(0, 0x0a), [0x00, 0x06]);
    assert_eq!(b.read32(1, 0), 0x7000_8086);
    assert_eq!(b.read::<2>(1, 0x0a), [0x01, 0x06]);
    assert_eq!(b.read32(2, 0), 0xffff_ffff, "an empty slot");
    assert_eq!(b.read32(1 << 5, 0), 0xffff_ffff, "another bus");
    b.bench.with(|cx| b.pci.port_out(cx, 0, &[0; 4]));
    assert_eq!(b.bench.port_in::<4>(&mut b.pci, 4), [0xff; 4], "disabled");
}

#[test]
fn accesses_of_every_width_and_offset() {
    let mut b = Bus::new();
    assert_eq!(b.read::<1>(0, 1), [0x80]);
    assert_eq!(b.read::<2>(0, 2), [0x37, 0x12]);
    assert_eq!(b.read::<4>(0, 2), [0x37, 0x12, 0xff, 0xff], "never beyond the doubleword");
    b.write(4, 0x3c, &[11]);
    b.write(4, 0x0d, &[0x40, 0x55]);
    assert_eq!((b.read::<2>(4, 0x3c), b.read32(4, 0x0c)), ([11, 1], 0x4000));
}

#[test]
fn bars_are_sized_and_decoded() {
    let mut b = Bus::new();
    for register in [0x10, 0x14, 0x18, 0x1c, 0x20] {
        b.write(4, register, &[0xff; 4]);
    }
    let sizes = [0x10, 0x14, 0x18, 0x1c, 0x20].map(|register| b.read32(4, register));
    assert_eq!(sizes, [0xffff_ffe1, 0xffff_f000, 0x0000_000c, 0xffff_fffe, 0]);
    b.write(4, 0x10, &0xc040_u32.to_le_bytes());
    b.write(4, 0x14, &0xfebf_0000_u32.to_le_bytes());
    b.write(4, 0x18, &0_u32.to_le_bytes());
    b.write(4, 0x1c, &4_u32.to_le_bytes());
    assert_eq!(b.pci.mapped().next(), None, "not enabled");
    b.write(4, 0x04, &[0x03, 0x00]);
    let mapped: Vec<_> =
        b.pci.mapped().map(|(at, bar, region)| (at.device(), bar, region)).collect();
    let (io, memory) = (Space::Io, Space::Memory);
    let ports = (4, 0, (io, 0xc040, 32));
    let windows = [(4, 1, (memory, 0xfebf_0000, 4096)), (4, 2, (memory, 4 << 32, 1 << 33))];
    assert_eq!(mapped, [ports, windows[0], windows[1]]);
}

#[test]
fn an_expansion_rom_is_sized_opened_and_decoded() {
    let mut config = ConfigSpace::new(Identity::default());
    config.write(0x30, &[0xff; 4]);
    assert_eq!(config.byte(0x31), 0, "there is none");
    config.add_rom(&[7; (32 << 10) + 1]);
    let rom = usize::from(ConfigSpace::ROM);
    config.write(0x30, &[0xff; 4]);
    assert_eq!([0x30, 0x31, 0x32, 0x33].map(|at| config.byte(at)), [0x01, 0x00, 0xff, 0xff]);
    config.write(0x30, &0xfebe_0000_u32.to_le_bytes());
    config.write(4, &[0x02]);
    assert_eq!(config.mapped(rom), None, "its own enable bit");
    config.write(0x30, &[0x01]);
    assert_eq!(config.mapped(rom), Some((Space::Memory, 0xfebe_0000, 64 << 10)));
    config.write(4, &[0x00]);
    assert_eq!(config.mapped(rom), None, "memory is not decoded");
    let mut data = [0; 2];
    config.read_rom(32 << 10, &mut data);
    assert_eq!(data, [7, 0xff], "the rest of the region");
    config.read_rom((64 << 10) - 1, &mut data);
    assert_eq!(data, [0xff, 0xff]);
    config.read_rom(u64::MAX, &mut data);
    assert_eq!(data, [0xff, 0xff], "nothing is there");
}

#[test]
fn capabilities_form_a_list() {
    let mut b = Bus::new();
    assert_eq!(b.read::<2>(4, 0x06)[0] & 0x10, 0x10);
    assert_eq!(b.read::<1>(4, 0x34), [0x40]);
    assert_eq!(b.read32(4, 0x40), 0x0201_4809);
    assert_eq!(b.read::<2>(4, 0x48), [0x05, 0x00]);
    b.write(4, 0x48, &[0xff; 4]);
    assert_eq!(b.read32(4, 0x48), 0x0071_0005);
}

#[test]
fn the_isa_bridge_routes_interrupts() {
    let mut b = Bus::new();
    assert_eq!(b.read32(1, 0x60), 0x8080_8080);
    b.write(1, 0x60, &[10, 11, 0xff, 0x80]);
    assert_eq!(b.read32(1, 0x60), 0x808f_0b0a);
    let bridge = b.pci.function(slot(1, 0)).expect("the bridge").config();
    let routes = [0, 1, 2, 3].map(|pirq| Piix3Isa::pirq_route(bridge, pirq));
    assert_eq!(routes, [Some(10), Some(11), None, None]);
    let bridge = b.pci.function_mut(slot(1, 0)).expect("the bridge");
    b.bench.with(|cx| bridge.reset(cx));
    assert_eq!(b.read32(1, 0x60), 0x8080_8080);
}

#[test]
fn ecam_is_another_view_of_the_same_registers() {
    let mut b = Bus::new();
    let mut data = [0xff; 8];
    b.bench.with(|cx| b.pci.ecam_read(cx, 1 << 15, &mut data));
    assert_eq!(data, [0x86, 0x80, 0x00, 0x70, 0x07, 0x00, 0x00, 0x02]);
    b.bench.with(|cx| b.pci.ecam_write(cx, 4 << 15 | 0x3c, &[9]));
    assert_eq!(b.read::<1>(4, 0x3c), [9]);
    for nowhere in [1 << 15 | 0x100, 2 << 15, 1 << 20, u64::MAX - 3] {
        let mut data = [0xff; 4];
        b.bench.with(|cx| b.pci.ecam_read(cx, nowhere, &mut data));
        assert_eq!(data, [0xff; 4], "{nowhere:x}");
    }
}

#[test]
fn a_second_function_marks_the_first() {
    let mut b = Bus::new();
    assert_eq!(b.read::<1>(1, 0x0e), [0x00]);
    b.pci.add(slot(1, 3), Box::new(Card::new()));
    assert_eq!(b.read::<1>(1, 0x0e), [0x80]);
    let first = b.pci.function_mut(slot(1, 0)).expect("the bridge");
    b.bench.with(|cx| first.reset(cx));
    assert_eq!(b.read::<1>(1, 0x0e), [0x80]);
}

#[test]
fn a_load_is_all_or_nothing() {
    let mut b = Bench::new();
    let bridges = || -> Vec<Box<dyn PciFunction>> {
        vec![Box::new(I440fx::new()), Box::new(Piix3Isa::new()), Box::new(Card::new())]
    };
    let mut all = Seated::new(bridges());
    b.with(|cx| all.bus().ecam_write(cx, 1 << 15 | 0x60, &[5]));
    b.with(|cx| all.bus().ecam_write(cx, 2 << 15 | 0x3c, &[7]));
    let saved = all.save();
    let mut other = Seated::new(bridges());
    other.load(&saved).expect("the same board");
    assert_eq!(other.save(), saved);
    let mut damaged = saved.clone();
    damaged.state[1]["state"][0x59] = 0x33.into();
    damaged.state[3]["state"][0] = 0xff.into();
    other.load(&damaged).expect_err("the vendor cannot change");
    assert_eq!(other.save(), saved);
    other.bus().load(&Card::new().save()).expect_err("no bus");
    let reserved = Saved::pack("pci", &serde_json::json!({ "address": 1 }));
    other.bus().load(&reserved).expect_err("a bit that cannot be set");
}

#[test]
fn a_seated_function_shows_its_regions() {
    let mut b = Bench::new();
    let mut all = Seated::new(vec![Box::new(I440fx::new()), Box::new(Card::new())]);
    let mut read = |offset| {
        let mut data = [0xff];
        b.with(|cx| all.as_mmio().expect("a window").mmio_read(cx, offset, &mut data));
        data[0]
    };
    assert_eq!(read(Seated::region(1, 1) + 5), 0x15);
    assert_eq!(read(Seated::region(1, 5)), 0xff, "no such register");
    assert_eq!(read(Seated::region(0, 0)), 0xff);
}

#[test]
fn an_interrupt_pin_follows_the_command_register() {
    let b = Bench::new();
    let mut card = Card::new();
    let mut intx = Intx::new(b.backplane.line(7));
    let mut drive = |card: &mut Card, pending: bool| {
        intx.drive(&mut card.config, pending);
        let said = std::iter::from_fn(|| b.backplane.take()).collect::<Vec<_>>();
        (card.config.byte(6) & 8 != 0, said)
    };
    let level = |level| vec![Signal::Level { wire: 7, level }];
    assert_eq!(drive(&mut card, true), (true, level(true)));
    card.config.write(5, &[0x04]);
    assert_eq!(drive(&mut card, true), (true, level(false)), "disabled");
    card.config.write(5, &[0x00]);
    assert_eq!(drive(&mut card, true), (true, level(true)));
    assert_eq!(drive(&mut card, false), (false, level(false)));
}
