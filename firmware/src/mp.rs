//! The MP table: CPUs, buses and interrupts for a guest without ACPI (Intel MultiProcessor
//! Specification, version 1.4, chapter 4).

use trine_guest::Gpa;

use crate::{
    acpi::interrupt_flags,
    description::{Description, IoApic, Polarity, Trigger},
    record::Record,
};

/// Bus numbers in the table.
const PCI_BUS: u8 = 0;
const ISA_BUS: u8 = 1;
/// Interrupt types (table 4-11).
const INT: u8 = 0;
const NMI: u8 = 1;
const EXT_INT: u8 = 3;
/// The versions of discrete APICs are 0x0X, of integrated ones 0x1X.
const LOCAL_APIC_VERSION: u8 = 0x14;
const IOAPIC_VERSION: u8 = 0x11;
/// All local APICs.
const ALL: u8 = 0xff;

/// The MP floating pointer structure (section 4.1).
pub(crate) fn floating_pointer(table: Gpa) -> Vec<u8> {
    let mut pointer = Record::zeroed(16);
    pointer.set(0, b"_MP_").set_u32(4, table.0 as u32).set_u8(8, 1).set_u8(9, 4);
    pointer.set_checksum(10);
    pointer.into_bytes()
}

/// The MP configuration table (sections 4.2 and 4.3). A CPU whose APIC ID takes more than 8 bits
/// has no place in it.
pub(crate) fn configuration_table(machine: &Description, local_apic: Gpa) -> Vec<u8> {
    let mut entries = Record::new();
    let mut count = 0u16;
    let mut entry = |bytes: &[u8]| {
        entries.push(bytes);
        count += 1;
    };
    for (index, cpu) in machine.cpus.iter().enumerate() {
        if let Ok(id) = u8::try_from(cpu.apic_id) {
            entry(&processor(machine, id, index == 0));
        }
    }
    if machine.pci.is_some() {
        entry(&bus(PCI_BUS, b"PCI   "));
    }
    entry(&bus(ISA_BUS, b"ISA   "));
    for ioapic in &machine.ioapics {
        const ENABLED: u8 = 1;
        let mut bytes = [2, ioapic.id, IOAPIC_VERSION, ENABLED, 0, 0, 0, 0];
        bytes[4..].copy_from_slice(&(ioapic.at.0 as u32).to_le_bytes());
        entry(&bytes);
    }
    for interrupt in pci_interrupts(machine).chain(isa_interrupts(machine)) {
        entry(&interrupt);
    }
    for (kind, input) in [(EXT_INT, 0), (NMI, 1)] {
        entry(&[4, kind, 0, 0, ISA_BUS, 0, ALL, input]);
    }

    let mut table = Record::zeroed(44);
    table
        .set(0, b"PCMP")
        .set_u16(4, (44 + entries.len()) as u16)
        .set_u8(6, 4) // version 1.4
        .set(8, b"TRINE   ")
        .set(16, b"TRINE PC    ")
        .set_u16(34, count)
        .set_u32(36, local_apic.0 as u32)
        .push(entries.bytes())
        .set_checksum(7);
    table.into_bytes()
}

fn processor(machine: &Description, apic_id: u8, boots: bool) -> [u8; 20] {
    const ENABLED: u8 = 1;
    const BOOTSTRAP: u8 = 2;
    let flags = if boots { ENABLED | BOOTSTRAP } else { ENABLED };
    let mut bytes = [0; 20];
    bytes[1..4].copy_from_slice(&[apic_id, LOCAL_APIC_VERSION, flags]);
    bytes[4..8].copy_from_slice(&machine.smbios.processor_signature.to_le_bytes());
    bytes[8..12].copy_from_slice(&machine.smbios.processor_features.to_le_bytes());
    bytes
}

fn bus(id: u8, kind: &[u8; 6]) -> [u8; 8] {
    let mut bytes = [1, id, 0, 0, 0, 0, 0, 0];
    bytes[2..].copy_from_slice(kind);
    bytes
}

/// The IOAPIC and its input that a GSI arrives at.
fn destination(machine: &Description, gsi: u32) -> Option<(u8, u8)> {
    let serves = |ioapic: &&IoApic| {
        gsi.checked_sub(ioapic.gsi_base).is_some_and(|input| input < ioapic.inputs.min(256))
    };
    let ioapic = machine.ioapics.iter().find(serves)?;
    Some((ioapic.id, (gsi - ioapic.gsi_base) as u8))
}

/// An I/O interrupt assignment entry (section 4.3.4).
fn interrupt(flags: u16, bus: u8, source: u8, (ioapic, input): (u8, u8)) -> [u8; 8] {
    let [low, high] = flags.to_le_bytes();
    [3, INT, low, high, bus, source, ioapic, input]
}

/// The pins of the PCI slots. They are level-triggered and active-low, unless the board says
/// otherwise of the GSI.
fn pci_interrupts(machine: &Description) -> impl Iterator<Item = [u8; 8]> + '_ {
    let routes = machine.pci.iter().flat_map(|pci| &pci.routes);
    routes.filter_map(|route| {
        let other = machine.interrupt_overrides.iter().find(|o| o.gsi == route.gsi);
        let mode = other.and_then(|o| o.mode).unwrap_or((Trigger::Level, Polarity::ActiveLow));
        let source = route.slot << 2 | route.pin;
        let to = destination(machine, route.gsi)?;
        Some(interrupt(interrupt_flags(Some(mode)), PCI_BUS, source, to))
    })
}

/// The ISA interrupts, each at the GSI of its number or where its override says; IRQ 2 is the
/// cascade of the 8259s, and an IRQ whose GSI an override took is not there.
fn isa_interrupts(machine: &Description) -> impl Iterator<Item = [u8; 8]> + '_ {
    (0..16u8).filter_map(|irq| {
        let overrides = &machine.interrupt_overrides;
        let (gsi, mode) = match overrides.iter().find(|o| o.irq == irq) {
            Some(other) => (other.gsi, other.mode),
            None if irq == 2 || overrides.iter().any(|o| o.gsi == u32::from(irq)) => return None,
            None => (u32::from(irq), None),
        };
        Some(interrupt(interrupt_flags(mode), ISA_BUS, irq, destination(machine, gsi)?))
    })
}
