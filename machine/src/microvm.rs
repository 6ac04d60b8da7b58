//! The `microvm` board as a schematic: as little as a kernel needs that knows it is a guest's.
//!
//! Local APICs and an I/O APIC, a serial port, a clock, ACPI's fixed hardware and a register that
//! resets, where the PC has them; and windows for virtio devices, each of which says in ACPI's tables
//! where it is. There are no 8259s, no 8254, no HPET, no PCI and no firmware: a kernel starts by PVH
//! or by the Linux boot protocol. CPUID tells it the frequency of the TSC and of the APIC's timer, so
//! that it needs no PIT to measure them by.
//!
//! Sources: those of [`pc`](crate::pc); VIRTIO 1.2, section 4.2. The place of the windows is that of
//! QEMU's board of this name.

use trine_devices::{
    AcpiPm, Backplane, Cx, DebugConsole, DebugExit, Device, IOAPIC_PINS, IoApic, LocalApics,
    Mc146818, ResetControl, Uart16550,
};
use trine_firmware as firmware;
use trine_guest::{Gpa, Region, RegionKind};
use trine_x86::CpuModel;

use crate::{
    pc::{
        APIC_BUS_HZ, COM1, COM1_IRQ, Card, Chip, HIGH_RAM_AT, IOAPIC_AT, LOCAL_APIC_AT,
        PM_TIMER_WIDE, Parts, RESET_CONTROL, SCI_IRQ, Wire, smbios, split_memory,
    },
    schematic::{Net, PortRow, Schematic, Sink, Window, row},
};

/// The board.
pub const SCHEMATIC: Schematic =
    Schematic { ports: PORTS, windows: &WINDOWS, nets: NETS, slots: SLOTS };

/// How many virtio devices there can be.
const SLOTS: u8 = 24;
/// The window of the first one; the others follow.
const VIRTIO_AT: Gpa = Gpa(0xfeb0_0000);
/// Bytes of a window: registers and device configuration space.
const VIRTIO_LEN: u64 = 0x1000;
/// The pins of the I/O APIC that they share: one after the other.
const VIRTIO_PINS: std::ops::Range<u8> = 16..IOAPIC_PINS as u8;

/// Memory space besides RAM and the local APICs.
pub const WINDOWS: [Window; 1 + SLOTS as usize] = {
    let ioapic = Window { at: IOAPIC_AT, len: 0x1000, chip: Chip::IoApic };
    let mut windows = [ioapic; 1 + SLOTS as usize];
    let mut n = 0;
    while n < SLOTS {
        let at = Gpa(VIRTIO_AT.0 + n as u64 * VIRTIO_LEN);
        windows[1 + n as usize] = Window { at, len: VIRTIO_LEN, chip: Chip::Card(n) };
        n += 1;
    }
    windows
};

/// ACPI's fixed hardware.
const PM1_EVENT: u16 = 0x600;
const PM1_CONTROL: u16 = 0x604;
const PM_TIMER: u16 = 0x608;

/// Port space.
pub const PORTS: &[PortRow] = &[
    row(0x070, 0x071, Chip::Rtc, Mc146818::INDEX),
    row(0x0e9, 0x0e9, Chip::DebugConsole, DebugConsole::DATA),
    row(COM1, COM1 + 7, Chip::Com1, Uart16550::RBR_THR),
    row(PM1_EVENT, PM1_EVENT + 3, Chip::Pm, AcpiPm::PM1_EVENT),
    row(PM1_CONTROL, PM1_CONTROL + 1, Chip::Pm, AcpiPm::PM1_CONTROL),
    row(PM_TIMER, PM_TIMER + 3, Chip::Pm, AcpiPm::PM_TIMER),
    row(RESET_CONTROL, RESET_CONTROL, Chip::ResetControl, ResetControl::CONTROL),
];

/// A pin of the I/O APIC: a chip's, or one that cards share.
macro_rules! pin {
    ($n:literal, $from:ident) => {
        net(&[Wire::$from], None, &[Sink::Pin(Chip::IoApic, $n)])
    };
    ($n:literal) => {
        net(&[], Some($n), &[Sink::Pin(Chip::IoApic, $n)])
    };
}

const fn net(from: &'static [Wire], irq: Option<u8>, to: &'static [Sink]) -> Net {
    Net { from, unless_hpet: &[], irq, to }
}

/// The wiring.
pub const NETS: &[Net] = &[
    pin!(4, Com1Irq),
    pin!(8, RtcIrq),
    pin!(9, Sci),
    net(&[Wire::RtcIrq], None, &[Sink::Pin(Chip::Pm, AcpiPm::PIN_RTC)]),
    pin!(16),
    pin!(17),
    pin!(18),
    pin!(19),
    pin!(20),
    pin!(21),
    pin!(22),
    pin!(23),
];

/// The pin at which a card's interrupt wire ends; wires are counted from the first of all cards',
/// four for each.
#[must_use]
pub fn irq_of_card(wire: usize) -> u8 {
    VIRTIO_PINS.start + (wire / 4 % VIRTIO_PINS.len()) as u8
}

/// The memory map, which never changes: all of memory, with the offset of each part.
#[must_use]
pub fn memory_map(memory: u64) -> Vec<(Region, u64)> {
    let (low, high) = split_memory(memory);
    let ram = |start, len| Region { start, len, kind: RegionKind::Ram };
    let mut map = vec![(ram(Gpa(0), low), 0), (ram(HIGH_RAM_AT, high), low)];
    map.retain(|(region, _)| region.len > 0);
    map
}

/// The chips on their sockets.
#[expect(missing_docs, reason = "named after the chips")]
pub struct Chips {
    pub apics: LocalApics,
    pub ioapic: IoApic,
    pub com1: Uart16550,
    pub rtc: Mc146818,
    pub pm: AcpiPm,
    pub reset_control: ResetControl,
    pub debug_console: DebugConsole,
    pub debug_exit: Option<DebugExit>,
    /// The virtio devices.
    pub cards: Vec<Box<dyn Device>>,
}

impl Chips {
    /// The chips after power-on, wired to `backplane`. Of `parts`, those of a PC alone are ignored.
    #[must_use]
    pub fn new(parts: Parts, backplane: &Backplane) -> Self {
        let line = |wire: Wire| backplane.line(wire as u32);
        let plugged = |(n, card)| match card {
            Card::Virtio(card) => Some(card(backplane.line(Wire::intx(n, 0)))),
            Card::Pci(_) => None,
        };
        Self {
            apics: LocalApics::new(backplane.clone(), parts.cpus, APIC_BUS_HZ),
            ioapic: IoApic::new(backplane.clone()),
            com1: Uart16550::new("com1", line(Wire::Com1Irq), parts.com1),
            rtc: Mc146818::new(line(Wire::RtcIrq), parts.unix_seconds),
            pm: AcpiPm::new(line(Wire::Sci), backplane.clone(), PM_TIMER_WIDE),
            reset_control: ResetControl::new(backplane.clone()),
            debug_console: DebugConsole::new(parts.debug_console),
            debug_exit: parts.debug_exit.map(|_| DebugExit::new(backplane.clone())),
            cards: (0..SLOTS).zip(parts.cards).filter_map(plugged).collect(),
        }
    }

    /// What a firmware would do: the board is in ACPI mode from the start.
    pub fn firmware_setup(&mut self, cx: &mut Cx<'_>) {
        const SCI_EN: [u8; 2] = [1, 0];
        if let Some(ports) = self.pm.as_ports() {
            ports.port_out(cx, AcpiPm::PM1_CONTROL, &SCI_EN);
        }
    }

    /// The chip called `chip`; `None` where this board has none.
    pub fn device(&mut self, chip: Chip) -> Option<&mut dyn Device> {
        Some(match chip {
            Chip::LocalApics => &mut self.apics,
            Chip::IoApic => &mut self.ioapic,
            Chip::Com1 => &mut self.com1,
            Chip::Rtc => &mut self.rtc,
            Chip::Pm => &mut self.pm,
            Chip::ResetControl => &mut self.reset_control,
            Chip::DebugConsole => &mut self.debug_console,
            Chip::DebugExit => self.debug_exit.as_mut()?,
            Chip::Card(n) => &mut **self.cards.get_mut(usize::from(n))?,
            _ => return None,
        })
    }
}

/// What the tables say of a board with these chips, so much memory and so many vCPUs.
#[must_use]
pub fn description(
    chips: &Chips,
    memory: u64,
    cpus: u32,
    model: &CpuModel,
) -> firmware::Description {
    let (low_ram, high_ram) = split_memory(memory);
    let virtio = |n: u8| firmware::VirtioWindow {
        at: VIRTIO_AT.offset(u64::from(n) * VIRTIO_LEN),
        len: VIRTIO_LEN as u32,
        gsi: irq_of_card(usize::from(n) * 4).into(),
    };
    firmware::Description {
        cpus: (0..cpus).map(|apic_id| firmware::Cpu { apic_id }).collect(),
        low_ram,
        high_ram,
        local_apic: Some(LOCAL_APIC_AT),
        ioapics: vec![firmware::IoApic {
            id: 0,
            at: IOAPIC_AT,
            gsi_base: 0,
            inputs: u32::from(IOAPIC_PINS),
        }],
        interrupt_overrides: vec![firmware::InterruptOverride {
            irq: SCI_IRQ,
            gsi: SCI_IRQ.into(),
            mode: Some((firmware::Trigger::Level, firmware::Polarity::ActiveHigh)),
        }],
        hpet: None,
        power_management: Some(power_management()),
        pci: None,
        serial: vec![firmware::SerialPort { port: COM1, irq: COM1_IRQ }],
        legacy: false,
        virtio: (0..chips.cards.len() as u8).map(virtio).collect(),
        i8042: false,
        vga: false,
        screen: None,
        smbios: smbios("microvm", model),
    }
}

/// ACPI's fixed hardware: always in ACPI mode, since no firmware is there that could leave it.
fn power_management() -> firmware::PowerManagement {
    firmware::PowerManagement {
        sci_irq: SCI_IRQ,
        smi_command: 0,
        acpi_enable: 0,
        acpi_disable: 0,
        pm1a_event: PM1_EVENT,
        pm1a_control: PM1_CONTROL,
        pm_timer: PM_TIMER,
        pm_timer_extended: PM_TIMER_WIDE,
        gpe0: None,
        power_button: true,
        s3_sleep_type: None,
        s5_sleep_type: AcpiPm::SLEEP_TYPE_S5,
        reset: Some(firmware::ResetRegister { port: RESET_CONTROL, value: 0x0f }),
    }
}

#[cfg(test)]
mod tests;
