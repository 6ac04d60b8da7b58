//! What the board looks like to software: the one input of every table in this crate.
//!
//! The terms are those of the ACPI specification, version 6.3, chapter 5, and of the chips'
//! datasheets. Everything is plain data; the machine, which alone knows addresses and interrupt
//! numbers, fills it in from its schematic.

use trine_guest::Gpa;

use crate::boot::BootError;

/// 1 MiB, where the memory of the original PC ends.
pub(crate) const MIB: u64 = 1 << 20;
/// 4 GiB, where 32-bit addresses end.
pub(crate) const GIB4: u64 = 1 << 32;

/// A board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The CPUs; the first one boots.
    pub cpus: Vec<Cpu>,
    /// Bytes of RAM from address 0 on; what lies behind 0xa0000–0xfffff counts too. At least 1 MiB,
    /// at most where the PCI hole begins.
    pub low_ram: u64,
    /// Bytes of RAM from 4 GiB on.
    pub high_ram: u64,
    /// Where each CPU sees its local APIC, usually 0xfee00000. `None`: no local APICs, so no MADT
    /// and no MP table.
    pub local_apic: Option<Gpa>,
    /// The IOAPICs, the one with GSI 0 first.
    pub ioapics: Vec<IoApic>,
    /// ISA interrupts that are not wired to the GSI of the same number, edge-triggered and
    /// active-high.
    pub interrupt_overrides: Vec<InterruptOverride>,
    /// The high precision event timer.
    pub hpet: Option<Hpet>,
    /// ACPI's fixed hardware. `None`: no ACPI tables at all.
    pub power_management: Option<PowerManagement>,
    /// The PCI host bridge.
    pub pci: Option<PciRoot>,
    /// 16550 serial ports, COM1 first.
    pub serial: Vec<SerialPort>,
    /// Are there the 8259s, the 8254 and what else was on every PC's ISA bus, besides its clock?
    pub legacy: bool,
    /// Virtio devices that are reached in memory space.
    pub virtio: Vec<VirtioWindow>,
    /// Is there an i8042 with keyboard (IRQ 1) and mouse (IRQ 12)?
    pub i8042: bool,
    /// Is there a VGA adapter?
    pub vga: bool,
    /// The text screen that a BIOS would have set up; `None` where there is no VGA.
    pub screen: Option<TextScreen>,
    /// What the board says about its maker.
    pub smbios: Smbios,
}

/// One CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Its local APIC ID; 255 is not usable, larger ones need x2APIC.
    pub apic_id: u32,
}

/// One IOAPIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its APIC ID.
    pub id: u8,
    /// Where its registers are, usually 0xfec00000.
    pub at: Gpa,
    /// The GSI of its first input.
    pub gsi_base: u32,
    /// The number of its inputs, usually 24.
    pub inputs: u32,
}

/// How an interrupt line signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A change of level.
    Edge,
    /// The level itself.
    Level,
}

/// Which level of an interrupt line means "asserted".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// High, as on the ISA bus.
    ActiveHigh,
    /// Low, as on the PCI bus.
    ActiveLow,
}

/// An ISA interrupt whose wiring differs from the rule (ACPI 6.3, section 5.2.12.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptOverride {
    /// The ISA IRQ, 0 to 15.
    pub irq: u8,
    /// The global system interrupt it arrives at.
    pub gsi: u32,
    /// Trigger and polarity, or `None` for what the ISA bus says: edge, active high.
    pub mode: Option<(Trigger, Polarity)>,
}

/// A high precision event timer block (IA-PC HPET specification 1.0a, section 3.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hpet {
    /// Where its registers are, usually 0xfed00000.
    pub at: Gpa,
    /// The low 32 bits of its General Capabilities and ID register.
    pub event_timer_block_id: u32,
    /// The smallest period, in ticks, that loses no interrupt in periodic mode.
    pub minimum_tick: u16,
}

/// ACPI's fixed hardware (ACPI 6.3, sections 4.8 and 5.2.9). All blocks are I/O ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerManagement {
    /// The IRQ of the system control interrupt.
    pub sci_irq: u8,
    /// The port that switches between legacy and ACPI mode, or 0: always in ACPI mode.
    pub smi_command: u16,
    /// What to write to `smi_command` to enter ACPI mode.
    pub acpi_enable: u8,
    /// What to write to `smi_command` to leave ACPI mode.
    pub acpi_disable: u8,
    /// PM1a event block, 4 ports.
    pub pm1a_event: u16,
    /// PM1a control block, 2 ports.
    pub pm1a_control: u16,
    /// PM timer block, 4 ports.
    pub pm_timer: u16,
    /// Does the timer count 32 bits, and not 24?
    pub pm_timer_extended: bool,
    /// General-purpose event block 0: first port and number of ports.
    pub gpe0: Option<(u16, u8)>,
    /// Is there a power button in the PM1a event block?
    pub power_button: bool,
    /// SLP_TYP for suspend to RAM, 0 to 7, if the machine can do that.
    pub s3_sleep_type: Option<u8>,
    /// SLP_TYP for the soft-off state, 0 to 7.
    pub s5_sleep_type: u8,
    /// What resets the machine.
    pub reset: Option<ResetRegister>,
}

/// An I/O port that resets the machine when a value is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetRegister {
    /// The port, 8 bits wide; on a PC usually 0xcf9.
    pub port: u16,
    /// The value.
    pub value: u8,
}

/// A PCI host bridge and bus 0 behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciRoot {
    /// The last bus number behind the bridge, usually 255.
    pub last_bus: u8,
    /// I/O ports that the bridge forwards; the configuration ports 0xcf8–0xcff are its own and must
    /// be left out.
    pub io_windows: Vec<IoWindow>,
    /// Memory addresses that the bridge forwards, below and above 4 GiB.
    pub memory_windows: Vec<MemoryWindow>,
    /// Where the interrupt pins of the slots on bus 0 are wired to.
    pub routes: Vec<PciRoute>,
    /// Memory-mapped configuration space.
    pub ecam: Option<Ecam>,
    /// Device and function number of the bridge to the ISA bus on bus 0.
    pub isa_bridge: Option<(u8, u8)>,
}

/// A range of I/O ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoWindow {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

/// A range of memory addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryWindow {
    /// The first address.
    pub first: u64,
    /// The last address.
    pub last: u64,
    /// May reads be cached or repeated? (For frame buffers.)
    pub prefetchable: bool,
}

/// Where one interrupt pin of one slot is wired to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciRoute {
    /// The device number on bus 0, 0 to 31.
    pub slot: u8,
    /// The pin: 0 is INTA, 3 is INTD.
    pub pin: u8,
    /// The line to the ISA bridge: 0 is PIRQA, 3 is PIRQD.
    pub line: u8,
    /// The global system interrupt it arrives at.
    pub gsi: u32,
}

impl PciRoute {
    /// All pins of all 32 slots on four lines, one further for each slot so that the INTAs of
    /// neighbours do not meet: pin `p` of slot `s` is wired to `gsis[(s + p + turn) % 4]`.
    #[must_use]
    pub fn swizzled(gsis: [u32; 4], turn: u8) -> Vec<Self> {
        let line = |slot: u8, pin: u8| (slot + pin + turn % 4) % 4;
        (0..32)
            .flat_map(|slot| (0..4).map(move |pin| (slot, pin)))
            .map(|(slot, pin)| (slot, pin, line(slot, pin)))
            .map(|(slot, pin, line)| Self { slot, pin, line, gsi: gsis[usize::from(line)] })
            .collect()
    }
}

/// Memory-mapped configuration space (PCI Firmware Specification 3.0, section 4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecam {
    /// Where bus 0 would be, even if the first bus is another one.
    pub at: Gpa,
    /// The first bus number.
    pub first_bus: u8,
    /// The last bus number.
    pub last_bus: u8,
}

impl Ecam {
    /// The first address in use and the number of bytes: 1 MiB for each bus.
    pub(crate) fn range(&self) -> (u64, u64) {
        let buses = u64::from(self.last_bus).saturating_sub(u64::from(self.first_bus)) + 1;
        (self.at.0.saturating_add(u64::from(self.first_bus) * MIB), buses * MIB)
    }
}

/// A 16550 serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialPort {
    /// The first of its 8 I/O ports.
    pub port: u16,
    /// Its IRQ.
    pub irq: u8,
}

/// The registers of a virtio device (VIRTIO 1.2, section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioWindow {
    /// Where they are, below 4 GiB.
    pub at: Gpa,
    /// Bytes of them.
    pub len: u32,
    /// The global system interrupt, level-triggered and active high; devices may share it.
    pub gsi: u32,
}

/// A VGA text screen as the BIOS leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextScreen {
    /// The BIOS number of the video mode, usually 3.
    pub mode: u8,
    /// Characters in a line.
    pub columns: u8,
    /// Lines.
    pub rows: u8,
    /// Scan lines in a character.
    pub character_height: u16,
    /// The cursor: column and row.
    pub cursor: (u8, u8),
}

/// What SMBIOS says of the board that the rest of the description does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Smbios {
    /// Who made the firmware.
    pub bios_vendor: String,
    /// The version of the firmware.
    pub bios_version: String,
    /// The firmware's date, `mm/dd/yyyy`.
    pub bios_date: String,
    /// Who made the machine.
    pub manufacturer: String,
    /// The name of the machine.
    pub product: String,
    /// The version of the machine.
    pub version: String,
    /// The serial number of the machine.
    pub serial_number: String,
    /// A number that no other machine has; all zeros for none. In the order of RFC 4122.
    pub uuid: [u8; 16],
    /// The name of the CPU model.
    pub processor: String,
    /// EAX of CPUID leaf 1.
    pub processor_signature: u32,
    /// EDX of CPUID leaf 1.
    pub processor_features: u32,
}

impl Description {
    /// Refuses a board that no table can describe.
    ///
    /// # Errors
    /// [`BootError::Description`] names what is wrong.
    pub fn check(&self) -> Result<(), BootError> {
        let wrong = |what: &'static str| Err(BootError::Description(what));
        if self.cpus.is_empty() {
            return wrong("it has no CPU");
        }
        if self.cpus.iter().any(|cpu| cpu.apic_id == 255 || cpu.apic_id == u32::MAX) {
            return wrong("APIC ID 255 is the broadcast address");
        }
        if self.low_ram < MIB {
            return wrong("it has less than 1 MiB of RAM");
        }
        if self.low_ram > GIB4 {
            return wrong("low RAM reaches beyond 4 GiB");
        }
        if self.high_ram > (1 << 52) - GIB4 {
            return wrong("high RAM reaches beyond 52 address bits");
        }
        let registers = self.ioapics.iter().map(|ioapic| ioapic.at);
        let registers = registers.chain(self.local_apic).chain(self.hpet.map(|hpet| hpet.at));
        if registers.into_iter().any(|at| at.0 >= GIB4) {
            return wrong("an APIC or the HPET lies beyond 4 GiB");
        }
        if self.virtio.iter().any(|w| w.at.0 >= GIB4 || w.at.0 + u64::from(w.len) > GIB4) {
            return wrong("a virtio device lies beyond 4 GiB");
        }
        if self.interrupt_overrides.iter().any(|o| o.irq > 15) {
            return wrong("an interrupt override is for no ISA IRQ");
        }
        if self.serial.len() > 4 || self.serial.iter().any(|s| s.irq > 15 || s.port > 0xfff8) {
            return wrong("a serial port has no place on the ISA bus");
        }
        if let Some(pm) = &self.power_management
            && (pm.s5_sleep_type > 7 || pm.s3_sleep_type > Some(7) || pm.sci_irq > 15)
        {
            return wrong("SLP_TYP has 3 bits and the SCI is an ISA IRQ");
        }
        self.pci.as_ref().map_or(Ok(()), PciRoot::check)
    }

    /// Is every byte from `at` on RAM, as far as placing something there goes? The area from
    /// 0xe0000 to 1 MiB counts, for the tables; video memory and adapter ROMs below do not.
    pub(crate) fn is_ram(&self, at: u64, len: u64) -> bool {
        let Some(end) = at.checked_add(len) else { return false };
        let high_end = GIB4.saturating_add(self.high_ram);
        [(0, 0xa_0000), (0xe_0000, self.low_ram), (GIB4, high_end)]
            .iter()
            .any(|&(first, limit)| at >= first && end <= limit)
    }
}

impl PciRoot {
    fn check(&self) -> Result<(), BootError> {
        let wrong = |what: &'static str| Err(BootError::Description(what));
        if self.io_windows.iter().any(|w| w.first > w.last)
            || self.memory_windows.iter().any(|w| w.first > w.last)
        {
            return wrong("a PCI window ends before it begins");
        }
        if self.memory_windows.iter().any(|w| w.first < GIB4 && w.last >= GIB4) {
            return wrong("a PCI memory window reaches across 4 GiB");
        }
        if self.memory_windows.iter().any(|w| w.first == 0 && w.last == u64::MAX) {
            return wrong("a PCI memory window is all there is");
        }
        if self.routes.iter().any(|r| r.slot > 31 || r.pin > 3 || r.line > 3) {
            return wrong("a PCI route is for no slot, pin or line");
        }
        if self.isa_bridge.is_some_and(|(device, function)| device > 31 || function > 7) {
            return wrong("the ISA bridge has no PCI address");
        }
        if let Some(ecam) = &self.ecam
            && (ecam.first_bus > ecam.last_bus || ecam.at.0 > (1 << 52))
        {
            return wrong("the memory-mapped PCI configuration space has no place");
        }
        Ok(())
    }
}
