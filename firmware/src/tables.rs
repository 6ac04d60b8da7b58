//! What a guest finds by itself in the memory of a PC: ACPI, SMBIOS and MP tables and the BIOS data
//! area, and where each of them lies.
//!
//! The ACPI tables fill the 64 KiB from 0xe0000 on. What starts a search, the RSDP, the two SMBIOS
//! entry points and the MP floating pointer, lies in the 64 KiB below 1 MiB, where a guest scans
//! for it every 16 bytes, with the structures that SMBIOS and MP point to behind it. All of it is
//! reserved in the memory map, and must be RAM that the guest can write: the FACS holds a lock.

#[cfg(test)]
mod tests;

use trine_guest::Gpa;

use crate::{
    acpi,
    boot::BootError,
    description::{Description, PowerManagement},
    e820::{EBDA_AT, TABLES_AT},
    mp, pir,
    record::{Record, u32_at},
    smbios, vectors,
};

/// Where the anchors are placed; from here to 1 MiB.
const ANCHORS_AT: u64 = 0xf_0000;
const ANCHORS_END: u64 = 0x10_0000;
/// The BIOS data area.
const BDA_AT: u64 = 0x400;

/// The tables of a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// What to place where in RAM, in ascending order.
    pub segments: Vec<(Gpa, Vec<u8>)>,
    /// Where the RSDP is; `None` where the board has no ACPI.
    pub rsdp: Option<Gpa>,
}

impl Tables {
    /// The RSDP itself.
    pub(crate) fn rsdp_bytes(&self) -> Option<&[u8]> {
        let at = self.rsdp?;
        self.segments.iter().find(|(start, _)| *start == at).map(|(_, bytes)| &**bytes)
    }
}

/// A region that is filled from its start.
struct Region {
    name: &'static str,
    next: u64,
    end: u64,
    segments: Vec<(Gpa, Vec<u8>)>,
}

impl Region {
    fn new(name: &'static str, at: u64, end: u64) -> Self {
        Self { name, next: at, end, segments: Vec::new() }
    }

    /// The address that the next bytes will get.
    fn next(&self, align: u64) -> Gpa {
        Gpa(self.next.next_multiple_of(align))
    }

    /// Goes on behind segments that were placed at its start.
    fn resume(&mut self, segments: Vec<(Gpa, Vec<u8>)>) {
        if let Some((at, bytes)) = segments.last() {
            self.next = at.0 + bytes.len() as u64;
        }
        self.segments = segments;
    }

    fn place(&mut self, align: u64, bytes: Vec<u8>) -> Result<Gpa, BootError> {
        let at = self.next(align);
        let end = at.0 + bytes.len() as u64;
        if end > self.end {
            return Err(BootError::TablesTooLarge(self.name));
        }
        self.next = end;
        self.segments.push((at, bytes));
        Ok(at)
    }
}

/// Writes the tables of a board.
///
/// # Errors
/// [`BootError::Description`] where the board makes no sense, [`BootError::TablesTooLarge`] where
/// it has too many CPUs.
pub fn tables(machine: &Description) -> Result<Tables, BootError> {
    machine.check()?;
    let mut segments = vec![(Gpa(BDA_AT), bios_data_area(machine)), (Gpa(EBDA_AT), vec![EBDA_KIB])];
    let mut anchors = Region::new("SMBIOS and MP", ANCHORS_AT, ANCHORS_END);
    let handlers = anchors.place(16, vectors::handlers())?;
    segments.insert(0, (Gpa(0), vectors::table(handlers.0 as u16)));
    let mut rsdp = None;
    if let Some(pm) = &machine.power_management {
        let placed = place_acpi((TABLES_AT, ANCHORS_AT), machine, pm)?;
        rsdp = Some(anchors.place(16, acpi::rsdp(placed.rsdt, placed.xsdt))?);
        segments.extend(placed.segments);
    }
    place_smbios(&mut anchors, machine)?;
    if let Some(local_apic) = machine.local_apic {
        let at = anchors.next(16);
        let table_at = at.offset(16);
        anchors.place(16, mp::floating_pointer(table_at))?;
        anchors.place(16, mp::configuration_table(machine, local_apic))?;
    }
    segments.extend(anchors.segments);
    Ok(Tables { segments, rsdp })
}

/// Writes the tables of a board that starts from a BIOS of ours: between two addresses what a guest
/// finds by pointers, and between two others what it scans for.
///
/// # Errors
/// As [`tables`].
pub(crate) fn tables_of_bios(
    machine: &Description,
    pointed_to: (u64, u64),
    scanned_for: (u64, u64),
) -> Result<Vec<(Gpa, Vec<u8>)>, BootError> {
    machine.check()?;
    let mut tables = Region::new("ACPI, SMBIOS and MP", pointed_to.0, pointed_to.1);
    let mut anchors = Region::new("anchors of", scanned_for.0, scanned_for.1);
    if let Some(pm) = &machine.power_management {
        let placed = place_acpi(pointed_to, machine, pm)?;
        anchors.place(16, acpi::rsdp(placed.rsdt, placed.xsdt))?;
        tables.resume(placed.segments);
    }
    let structures = smbios::structures(machine);
    let at = tables.next(16);
    anchors.place(32, smbios::entry_point_3(at, &structures))?;
    anchors.place(32, smbios::entry_point(at, &structures))?;
    tables.place(16, structures.bytes)?;
    if let Some(local_apic) = machine.local_apic {
        let at = tables.place(16, mp::configuration_table(machine, local_apic))?;
        anchors.place(16, mp::floating_pointer(at))?;
    }
    if let Some(table) = pir::table(machine) {
        anchors.place(16, table)?;
    }
    Ok([tables.segments, anchors.segments].concat())
}

/// All ACPI tables but the RSDP, in their places.
pub(crate) struct AcpiTables {
    /// In ascending order.
    segments: Vec<(Gpa, Vec<u8>)>,
    pub(crate) fadt: Gpa,
    /// How many the RSDT and the XSDT list.
    pub(crate) listed: usize,
    pub(crate) rsdt: Gpa,
    pub(crate) xsdt: Gpa,
}

impl AcpiTables {
    /// The bytes from address 0 on.
    pub(crate) fn image(&self) -> Vec<u8> {
        let mut image = Vec::new();
        for (at, bytes) in &self.segments {
            image.resize(at.0 as usize, 0);
            image.extend(bytes);
        }
        image
    }

    /// Bytes of the table at `at`, of which its header has the number at `field`.
    pub(crate) fn len_of(&self, at: Gpa, field: usize) -> u64 {
        let table = self.segments.iter().find(|(start, _)| *start == at);
        table.and_then(|(_, bytes)| u32_at(bytes, field)).unwrap_or(0).into()
    }
}

/// Places all ACPI tables but the RSDP between two addresses.
pub(crate) fn place_acpi(
    (start, end): (u64, u64),
    machine: &Description,
    pm: &PowerManagement,
) -> Result<AcpiTables, BootError> {
    let mut region = Region::new("ACPI", start, end);
    let facs = region.place(64, acpi::facs())?;
    let dsdt = region.place(16, acpi::dsdt(machine, pm))?;
    let fadt = region.place(16, acpi::fadt(machine, pm, facs, dsdt))?;
    let mut listed = vec![fadt];
    if let Some(local_apic) = machine.local_apic {
        listed.push(region.place(16, acpi::madt(machine, local_apic))?);
    }
    if let Some(hpet) = &machine.hpet {
        listed.push(region.place(16, acpi::hpet(hpet))?);
    }
    if let Some(ecam) = machine.pci.as_ref().and_then(|pci| pci.ecam.as_ref()) {
        listed.push(region.place(16, acpi::mcfg(ecam))?);
    }
    let rsdt = region.place(16, acpi::rsdt(&listed))?;
    let xsdt = region.place(16, acpi::xsdt(&listed))?;
    let segments = region.segments;
    Ok(AcpiTables { segments, fadt, listed: listed.len(), rsdt, xsdt })
}

/// Places both entry points, which point to the same structures behind them.
fn place_smbios(anchors: &mut Region, machine: &Description) -> Result<(), BootError> {
    let structures = smbios::structures(machine);
    let entries = anchors.next(32);
    let table_at = entries.offset(64);
    anchors.place(32, smbios::entry_point_3(table_at, &structures))?;
    anchors.place(32, smbios::entry_point(table_at, &structures))?;
    anchors.place(16, structures.bytes)?;
    Ok(())
}

/// The size of the extended BIOS data area in KiB, which is its first byte.
const EBDA_KIB: u8 = 1;

/// The BIOS data area (IBM PC/AT technical reference, section 5), as far as somebody without a BIOS
/// may read it: where the serial ports and the extended BIOS data area are, and how much RAM there
/// is below it.
fn bios_data_area(machine: &Description) -> Vec<u8> {
    const FPU: u16 = 1 << 1;
    const PS2_MOUSE: u16 = 1 << 2;
    let mut area = Record::zeroed(0x100);
    for (index, serial) in machine.serial.iter().take(4).enumerate() {
        area.set_u16(2 * index, serial.port);
    }
    let serials = machine.serial.len().min(4) as u16;
    let mouse = if machine.i8042 { PS2_MOUSE } else { 0 };
    area.set_u16(0x0e, (EBDA_AT >> 4) as u16)
        .set_u16(0x10, FPU | mouse | serials << 9)
        .set_u16(0x13, (EBDA_AT >> 10) as u16);
    area.into_bytes()
}
