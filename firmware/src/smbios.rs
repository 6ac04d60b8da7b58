//! SMBIOS: what the machine says it is (DMTF DSP0134, version 3.0; the structures are of 2.8).

use trine_guest::Gpa;

use crate::{
    description::{Description, GIB4},
    record::{Record, sum},
};

/// The structure table.
pub(crate) struct Structures {
    pub(crate) bytes: Vec<u8>,
    count: u16,
    largest: u16,
}

/// A structure: its formatted part, then its strings, which are referred to by number, from 1.
struct Structure {
    formatted: Record,
    strings: Vec<u8>,
    string_count: u8,
}

/// Number for "no string".
const NONE: u8 = 0;
/// "Unknown" in most enumerations.
const UNKNOWN: u8 = 2;
/// "None" or "not specified": a handle that does not refer to anything.
const NO_HANDLE: u16 = 0xfffe;
const CHASSIS: u16 = 0x0300;
const MEMORY_ARRAY: u16 = 0x1000;
/// The longest string, in bytes: section 6.1.3 of version 2.3 has it so.
const STRING_MAX: usize = 64;

impl Structure {
    fn new(kind: u8, handle: u16, len: u8) -> Self {
        let mut formatted = Record::zeroed(len.into());
        formatted.set_u8(0, kind).set_u8(1, len).set_u16(2, handle);
        Self { formatted, strings: Vec::new(), string_count: 0 }
    }

    /// Adds a string and sets the byte at `at` to its number.
    fn string(&mut self, at: usize, text: &str) -> &mut Self {
        let text: Vec<u8> =
            text.bytes().filter(|c| c.is_ascii_graphic() || *c == b' ').take(STRING_MAX).collect();
        let number = if text.is_empty() {
            NONE
        } else {
            self.strings.extend(text);
            self.strings.push(0);
            self.string_count += 1;
            self.string_count
        };
        self.formatted.set_u8(at, number);
        self
    }

    /// The bytes: two zeros end the strings, even where there are none.
    fn into_bytes(mut self) -> Vec<u8> {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        self.formatted.push(&self.strings).push_u8(0);
        self.formatted.into_bytes()
    }
}

/// All structures of a board.
pub(crate) fn structures(machine: &Description) -> Structures {
    let ranges = ram_ranges(machine);
    let mut all = vec![bios(machine), system(machine), chassis(machine), processor(machine)];
    let devices = memory_devices(machine);
    all.push(memory_array(machine, devices.len() as u16));
    all.extend(devices);
    all.extend(ranges.iter().zip(0u16..).map(|(range, n)| mapped_address(n, *range)));
    all.push(boot_status());
    all.push(Structure::new(127, 0x7f00, 4));

    let count = all.len() as u16;
    let all: Vec<Vec<u8>> = all.into_iter().map(Structure::into_bytes).collect();
    let largest = all.iter().map(Vec::len).max().unwrap_or(0) as u16;
    Structures { bytes: all.concat(), count, largest }
}

/// The entry point of version 2.1 and later, `_SM_` (section 5.2.1).
pub(crate) fn entry_point(table: Gpa, structures: &Structures) -> Vec<u8> {
    let mut entry = Record::zeroed(31);
    entry
        .set(0, b"_SM_")
        .set_u8(5, 31)
        .set_u8(6, 2)
        .set_u8(7, 8)
        .set_u16(8, structures.largest)
        .set(16, b"_DMI_")
        .set_u16(22, structures.bytes.len() as u16)
        .set_u32(24, table.0 as u32)
        .set_u16(28, structures.count)
        .set_u8(30, 0x28);
    // The inner checksum covers what begins with `_DMI_`.
    let inner = sum(&entry.bytes()[16..]).wrapping_neg();
    entry.set_u8(21, inner).set_checksum(4);
    entry.into_bytes()
}

/// The entry point of version 3.0, `_SM3_` (section 5.2.2).
pub(crate) fn entry_point_3(table: Gpa, structures: &Structures) -> Vec<u8> {
    let mut entry = Record::zeroed(24);
    entry
        .set(0, b"_SM3_")
        .set_u8(6, 24)
        .set_u8(7, 3)
        .set_u8(10, 1)
        .set_u32(12, structures.bytes.len() as u32)
        .set_u64(16, table.0)
        .set_checksum(5);
    entry.into_bytes()
}

/// Type 0, BIOS information.
fn bios(machine: &Description) -> Structure {
    // Characteristics: the old ones are not told; the first extension byte is only about ACPI.
    const NOT_SUPPORTED: u64 = 1 << 3;
    const VIRTUAL_MACHINE: u8 = 1 << 4;
    let text = &machine.smbios;
    let mut bios = Structure::new(0, 0, 24);
    bios.string(4, &text.bios_vendor).string(5, &text.bios_version).string(8, &text.bios_date);
    let acpi = u8::from(machine.power_management.is_some());
    bios.formatted
        .set_u16(6, 0xe000) // segment; together with the size of 128 KiB
        .set_u8(9, 1)
        .set_u64(10, NOT_SUPPORTED)
        .set_u8(18, acpi)
        .set_u8(19, VIRTUAL_MACHINE)
        .set(20, &[0xff, 0xff, 0xff, 0xff]); // no release numbers
    bios
}

/// Type 1, system information.
fn system(machine: &Description) -> Structure {
    const POWER_SWITCH: u8 = 6;
    let text = &machine.smbios;
    let mut system = Structure::new(1, 0x0100, 27);
    system
        .string(4, &text.manufacturer)
        .string(5, &text.product)
        .string(6, &text.version)
        .string(7, &text.serial_number);
    // The first three fields of the UUID are little-endian here (section 7.2.1).
    let mut uuid = text.uuid;
    uuid[0..4].reverse();
    uuid[4..6].reverse();
    uuid[6..8].reverse();
    system.formatted.set(8, &uuid).set_u8(24, POWER_SWITCH);
    system
}

/// Type 3, chassis.
fn chassis(machine: &Description) -> Structure {
    const OTHER: u8 = 1;
    const SAFE: u8 = 3;
    let mut chassis = Structure::new(3, CHASSIS, 22);
    chassis.string(4, &machine.smbios.manufacturer);
    chassis.formatted.set_u8(5, OTHER).set(9, &[SAFE, SAFE, SAFE, UNKNOWN]);
    chassis
}

/// Type 4: all CPUs in one socket.
fn processor(machine: &Description) -> Structure {
    const CENTRAL: u8 = 3;
    const OTHER_FAMILY: u8 = 1;
    const POPULATED_AND_ENABLED: u8 = 0x41;
    const OTHER_UPGRADE: u8 = 1;
    // 64-bit capable is for CPUID to say; multi-core is known here.
    const MULTI_CORE: u16 = 1 << 3;
    let text = &machine.smbios;
    let cores = machine.cpus.len();
    let few = u8::try_from(cores).unwrap_or(0xff);
    let many = u16::try_from(cores).unwrap_or(0xfffe);
    let mut processor = Structure::new(4, 0x0400, 48);
    processor.string(4, "CPU 0").string(7, &text.manufacturer).string(16, &text.processor);
    processor
        .formatted
        .set(5, &[CENTRAL, OTHER_FAMILY])
        .set_u32(8, text.processor_signature)
        .set_u32(12, text.processor_features)
        .set(24, &[POPULATED_AND_ENABLED, OTHER_UPGRADE])
        .set(26, &[0xff; 6]) // no cache structures
        .set(35, &[few, few, few])
        .set_u16(38, if cores > 1 { MULTI_CORE } else { 0 })
        .set_u16(40, OTHER_FAMILY.into())
        .set_u16(42, many)
        .set_u16(44, many)
        .set_u16(46, many);
    processor
}

/// Bytes of RAM in all.
fn ram(machine: &Description) -> u64 {
    machine.low_ram.saturating_add(machine.high_ram)
}

/// Type 16, physical memory array.
fn memory_array(machine: &Description, devices: u16) -> Structure {
    const ON_BOARD: u8 = 3;
    const SYSTEM_MEMORY: u8 = 3;
    const NO_ECC: u8 = 3;
    let mut array = Structure::new(16, MEMORY_ARRAY, 23);
    array
        .formatted
        .set(4, &[ON_BOARD, SYSTEM_MEMORY, NO_ECC])
        .set_u16(11, NO_HANDLE)
        .set_u16(13, devices);
    let kib = ram(machine) / 1024;
    // From 2 TiB on the size is in the extended field.
    match u32::try_from(kib) {
        Ok(kib) if kib < 0x8000_0000 => array.formatted.set_u32(7, kib),
        _ => array.formatted.set_u32(7, 0x8000_0000).set_u64(15, ram(machine)),
    };
    array
}

/// Type 17, memory devices: modules of 16 GiB as far as RAM goes, of more where that would be too
/// many of them.
fn memory_devices(machine: &Description) -> Vec<Structure> {
    const MOST: u64 = 32;
    let ram = ram(machine);
    let module = (16 << 30).max(ram.div_ceil(MOST).next_multiple_of(1 << 20));
    let count = ram.div_ceil(module).max(1);
    let device = |n: u64| memory_device(n as u16, module.min(ram.saturating_sub(n * module)));
    (0..count).map(device).collect()
}

fn memory_device(n: u16, bytes: u64) -> Structure {
    const DIMM: u8 = 9;
    const RAM: u8 = 7;
    const OTHER_DETAIL: u16 = 2;
    let mut device = Structure::new(17, 0x1100 + n, 40);
    device.string(16, &format!("DIMM {n}"));
    device
        .formatted
        .set_u16(4, MEMORY_ARRAY)
        .set_u16(6, NO_HANDLE)
        .set(8, &[0xff; 4]) // widths are unknown
        .set(14, &[DIMM, 0])
        .set(18, &[RAM])
        .set_u16(19, OTHER_DETAIL);
    // In MiB; from 32 GiB - 1 MiB on it is in the extended field.
    let mib = bytes >> 20;
    match u16::try_from(mib) {
        Ok(mib) if mib < 0x7fff => device.formatted.set_u16(12, mib),
        _ => device.formatted.set_u16(12, 0x7fff).set_u32(28, mib.min(0x7fff_ffff) as u32),
    };
    device
}

/// Where RAM is: address and length.
fn ram_ranges(machine: &Description) -> Vec<(u64, u64)> {
    let mut ranges = vec![(0, machine.low_ram), (GIB4, machine.high_ram)];
    ranges.retain(|(_, len)| *len > 0);
    ranges
}

/// Type 19, memory array mapped address.
fn mapped_address(n: u16, (at, len): (u64, u64)) -> Structure {
    let mut mapped = Structure::new(19, 0x1300 + n, 31);
    let last = at.saturating_add(len) - 1;
    mapped.formatted.set_u16(12, MEMORY_ARRAY).set_u8(14, 1);
    // In KiB; from 4 TiB on in bytes in the extended fields.
    match u32::try_from(last >> 10) {
        Ok(end) if end < u32::MAX => mapped.formatted.set_u32(4, (at >> 10) as u32).set_u32(8, end),
        _ => mapped
            .formatted
            .set_u32(4, u32::MAX)
            .set_u32(8, u32::MAX)
            .set_u64(15, at)
            .set_u64(23, last),
    };
    mapped
}

/// Type 32, system boot information: no errors detected.
fn boot_status() -> Structure {
    Structure::new(32, 0x2000, 11)
}
