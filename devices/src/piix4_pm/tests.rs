//! The function as SeaBIOS, OVMF and Linux find it.

use super::*;
use crate::{Bench, PciBus, Power, Signal, Slot, Space};

const IRQ: u32 = 9;
const SLOT: Slot = Slot::at(1, 3);

struct Rig {
    bench: Bench,
    bus: PciBus,
}

impl Rig {
    fn new() -> Self {
        let bench = Bench::new();
        let acpi = AcpiPm::new(bench.backplane.line(IRQ), bench.backplane.clone(), false);
        let mut bus = PciBus::new();
        bus.add(SLOT, Box::new(Piix4Pm::new(acpi)));
        Self { bench, bus }
    }

    fn chip(&mut self) -> &mut (dyn PciFunction + 'static) {
        self.bus.function_mut(SLOT).expect("it is there")
    }

    fn configure(&mut self, register: u8, data: &[u8]) {
        self.chip().config_mut().write(register, data);
    }

    fn config(&mut self, register: usize) -> u32 {
        self.chip().config().doubleword(register)
    }

    /// Where its ports are: number, first, how many.
    fn ports(&self) -> Vec<(u8, u64, u64)> {
        let ports = self.bus.mapped().map(|(slot, number, (space, at, len))| {
            assert_eq!((slot, space), (SLOT, Space::Io));
            (number, at, len)
        });
        ports.collect()
    }

    fn read<const N: usize>(&mut self, window: u8, port: u64) -> [u8; N] {
        let mut data = [0xff; N];
        let chip = self.bus.function_mut(SLOT).expect("it is there");
        self.bench.with(|cx| chip.bar_read(cx, window, port, &mut data));
        data
    }

    fn write(&mut self, window: u8, port: u64, data: &[u8]) {
        let chip = self.bus.function_mut(SLOT).expect("it is there");
        self.bench.with(|cx| chip.bar_write(cx, window, port, data));
    }
}

#[test]
fn seabios_places_its_ports() {
    let mut rig = Rig::new();
    assert_eq!((rig.config(0x00), rig.config(0x08)), (0x7113_8086, 0x0680_0003));
    assert_eq!((rig.config(0x40), rig.config(0x90), rig.config(0x3c)), (1, 1, 0x100));
    assert_eq!(rig.config(0x58) >> 25 & 1, 1, "it will not try to enter SMM");
    assert_eq!(rig.ports(), []);
    rig.configure(0x3c, &[9]);
    rig.configure(0x40, &0x0601_u32.to_le_bytes());
    assert_eq!(rig.ports(), []);
    rig.configure(0x80, &[0x01]);
    assert_eq!(rig.ports(), [(POWER, 0x600, 64)]);
    rig.configure(0x90, &0x0701_u32.to_le_bytes());
    rig.configure(0xd2, &[0x09]);
    assert_eq!(rig.ports(), [(POWER, 0x600, 64)]);
    rig.configure(0x04, &[0x03, 0x01]);
    assert_eq!(rig.ports(), [(POWER, 0x600, 64), (SMBUS, 0x700, 16)]);
    // OVMF wants them at B000h, others may want anything.
    rig.configure(0x40, &u32::MAX.to_le_bytes());
    assert_eq!((rig.config(0x40), rig.ports()[0].1), (0xffc1, 0xffc0));
    rig.configure(0x40, &0xb001_u32.to_le_bytes());
    rig.configure(0x80, &[0xff]);
    assert_eq!((rig.ports()[0].1, rig.config(0x80)), (0xb000, 1));
    // A reset takes them away, and a board can set them up itself.
    let chip = rig.bus.function_mut(SLOT).expect("it is there");
    rig.bench.with(|cx| chip.reset(cx));
    assert_eq!(rig.ports(), []);
    Piix4Pm::set_up(rig.chip().config_mut(), 0x600, 0x700);
    assert_eq!(rig.ports(), [(POWER, 0x600, 64), (SMBUS, 0x700, 16)]);
    assert_eq!((rig.config(0x3c), rig.config(0xd0) >> 16), (0x109, 0x09));
}

#[test]
fn the_fixed_hardware_is_in_its_ports() {
    let mut rig = Rig::new();
    rig.bench.now = rig.bench.now.after_ns(1_000_000_000);
    assert_eq!(u32::from_le_bytes(rig.read(POWER, 0x08)), 3_579_545);
    // ACPI mode by the SMI command port, which stays where it is.
    let chip = rig.bus.function_mut(SLOT).expect("it is there");
    let ports = chip.as_ports().expect("the fixed ports");
    rig.bench.with(|cx| ports.port_out(cx, AcpiPm::SMI_COMMAND, &[AcpiPm::ACPI_ENABLE]));
    assert_eq!(rig.read(POWER, 0x04), [1, 0]);
    rig.write(POWER, 0x02, &[0x00, 0x01]);
    let chip = rig.bus.function_mut(SLOT).expect("it is there");
    let chip = (chip as &mut dyn std::any::Any).downcast_mut::<Piix4Pm>().expect("it is one");
    rig.bench.with(|cx| chip.acpi_mut().press_power_button(cx));
    assert_eq!(rig.bench.said(), [Signal::Level { wire: IRQ, level: true }]);
    assert_eq!(rig.read(POWER, 0x00), [0x00, 0x01, 0x00, 0x01]);
    rig.write(POWER, 0x00, &[0x00, 0x01]);
    assert_eq!(rig.bench.said(), [Signal::Level { wire: IRQ, level: false }]);
    // Firmware switches off with sleep type 0.
    rig.write(POWER, 0x04, &[0x00, 0x20]);
    assert_eq!(rig.bench.said(), [Signal::Power(Power::Off)]);
}

#[test]
fn other_ports_are_state() {
    let mut rig = Rig::new();
    assert_eq!(rig.read(POWER, 0x34), [0xff, 0xbf, 0xff, 0x7f]);
    // GLBCTL (SMI_EN and others), GLBEN, and status registers.
    for (port, kept) in [(0x28, 0x07ff_ffff), (0x20, 0x0fff), (0x0c, 0x0f01_0000), (0x18, 0)] {
        rig.write(POWER, port, &[0xff; 4]);
        assert_eq!(u32::from_le_bytes(rig.read(POWER, port)), kept, "{port:x}");
    }
    assert_eq!(rig.read(POWER, 0x14), [0, 0], "nobody sleeps by that");
    assert_eq!(rig.bench.said(), []);
    let saved = rig.chip().save();
    let mut other = Rig::new();
    other.chip().load(&saved).expect("a chip loads what it saved");
    assert_eq!(other.chip().save(), saved);
    for (path, value) in
        [("/ports/power/12", 1), ("/ports/smbus/0", 1), ("/acpi/state/enable", 2), ("/config/2", 0)]
    {
        let mut damaged = saved.clone();
        *damaged.state.pointer_mut(path).expect(path) = value.into();
        assert!(other.chip().load(&damaged).is_err(), "{path}");
        assert_eq!(other.chip().save(), saved, "{path}");
    }
}

/// As Linux's i2c-piix4 does a transaction.
#[test]
fn nobody_answers_on_the_smbus() {
    let mut rig = Rig::new();
    assert_eq!(rig.read(SMBUS, 0), [0]);
    for (port, value) in [(4, 0xa1), (3, 0x00), (2, 0x08)] {
        rig.write(SMBUS, port, &[value]);
    }
    let [control] = rig.read(SMBUS, 2);
    rig.write(SMBUS, 2, &[control | 0x40]);
    assert_eq!((rig.read(SMBUS, 0), rig.read(SMBUS, 2)), ([0x04], [0x08]));
    rig.write(SMBUS, 0, &[0x04]);
    assert_eq!((rig.read(SMBUS, 0), rig.read(SMBUS, 4)), ([0x00], [0xa1]));
    // Whoever reads or writes behind the end.
    rig.write(SMBUS, 14, &[1, 2, 3, 4]);
    assert_eq!(rig.read(SMBUS, 14), [0, 0, 0xff, 0xff]);
}
