//! Which addresses are what: the memory map, in the terms of the BIOS call INT 15h, AX=E820h
//! (ACPI 6.3, chapter 15).

use trine_guest::Gpa;

use crate::{
    boot::BootError,
    description::{Description, GIB4, MIB},
};

/// Where the extended BIOS data area begins: the last KiB below 640 KiB.
pub(crate) const EBDA_AT: u64 = 0x9_fc00;
/// Where video memory begins.
const VIDEO_AT: u64 = 0xa_0000;
/// Where the area of the tables begins; it ends at 1 MiB.
pub(crate) const TABLES_AT: u64 = 0xe_0000;

/// What a range of addresses is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryKind {
    /// RAM that the guest may use.
    Ram = 1,
    /// Not for the guest to use.
    Reserved = 2,
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// The first address.
    pub at: Gpa,
    /// Bytes.
    pub len: u64,
    /// What for.
    pub kind: MemoryKind,
}

/// The memory map of a board, in ascending order. Addresses that are not in it are free for
/// devices.
///
/// # Errors
/// [`BootError::Description`] where the board makes no sense.
pub fn memory_map(machine: &Description) -> Result<Vec<MemoryRange>, BootError> {
    machine.check()?;
    let range = |at, end: u64, kind| MemoryRange { at: Gpa(at), len: end.saturating_sub(at), kind };
    let mut map = vec![
        range(0, EBDA_AT, MemoryKind::Ram),
        range(EBDA_AT, VIDEO_AT, MemoryKind::Reserved),
        range(TABLES_AT, MIB, MemoryKind::Reserved),
        range(MIB, machine.low_ram, MemoryKind::Ram),
    ];
    // Linux uses the memory-mapped configuration space only where the memory map reserves it.
    if let Some(ecam) = machine.pci.as_ref().and_then(|pci| pci.ecam.as_ref()) {
        let (at, len) = ecam.range();
        let high_ram = GIB4..GIB4.saturating_add(machine.high_ram);
        if at < machine.low_ram || (at < high_ram.end && at.saturating_add(len) > high_ram.start) {
            return Err(BootError::Description("PCI configuration space lies in RAM"));
        }
        map.push(range(at, at.saturating_add(len), MemoryKind::Reserved));
    }
    map.push(range(GIB4, GIB4.saturating_add(machine.high_ram), MemoryKind::Ram));
    map.retain(|range| range.len > 0);
    map.sort_by_key(|range| range.at);
    Ok(map)
}
