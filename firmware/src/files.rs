//! The files that a firmware (SeaBIOS, OVMF) reads from fw_cfg: ACPI and SMBIOS tables for it to place,
//! and a script that says how.
//!
//! Source: QEMU, hw/acpi/bios-linker-loader.c (the comments on its commands); file names from
//! SeaBIOS, docs/Runtime_config.md. In the tables, a pointer holds an offset within the file that it
//! points into; the script has the firmware add the address that the file got, and then sum up.

use trine_guest::Gpa;

use crate::{
    acpi,
    boot::BootError,
    description::Description,
    record::Record,
    smbios,
    tables::{AcpiTables, place_acpi},
};

const TABLES: &str = "etc/acpi/tables";
const RSDP: &str = "etc/acpi/rsdp";
/// The most that the tables may take.
const TABLES_MAX: u64 = 1 << 20;

/// The script: commands of 128 bytes each.
struct Script(Vec<u8>);

/// Where a file may be placed.
#[derive(Clone, Copy)]
enum Zone {
    /// Below 4 GiB.
    High = 1,
    /// Where the RSDP is looked for.
    FSegment = 2,
}

impl Script {
    const COMMAND_LEN: usize = 128;

    fn command(&mut self, number: u32, arguments: &[&[u8]]) {
        let mut command = Record::new();
        command.push_u32(number);
        arguments.iter().for_each(|argument| {
            command.push(argument);
        });
        let mut command = command.into_bytes();
        command.resize(Self::COMMAND_LEN, 0);
        self.0.extend(command);
    }

    /// A file's name in a command.
    fn name(file: &str) -> [u8; 56] {
        let mut name = [0; 56];
        name[..file.len()].copy_from_slice(file.as_bytes());
        name
    }

    fn allocate(&mut self, file: &str, align: u32, zone: Zone) {
        self.command(1, &[&Self::name(file), &align.to_le_bytes(), &[zone as u8]]);
    }

    /// The `size` bytes at `at` in `file` point into `into`.
    fn add_pointer(&mut self, file: &str, into: &str, at: u64, size: u8) {
        let at = (at as u32).to_le_bytes();
        self.command(2, &[&Self::name(file), &Self::name(into), &at, &[size]]);
    }

    /// The byte at `start` + `at` makes the sum of `len` bytes from `start` on zero.
    fn add_checksum(&mut self, file: &str, start: u64, at: u64, len: u64) {
        let numbers = [start + at, start, len].map(|n| (n as u32).to_le_bytes());
        self.command(3, &[&Self::name(file), &numbers.concat()]);
    }
}

/// The names and contents of the files.
///
/// # Errors
/// As [`tables`](crate::tables()).
pub fn firmware_files(machine: &Description) -> Result<Vec<(&'static str, Vec<u8>)>, BootError> {
    machine.check()?;
    let mut files = Vec::new();
    if let Some(pm) = &machine.power_management {
        let placed = place_acpi((0, TABLES_MAX), machine, pm)?;
        let mut rsdp = acpi::rsdp(placed.rsdt, placed.xsdt);
        let mut tables = placed.image();
        let script = script(&placed, &mut tables, &mut rsdp);
        files.push((TABLES, tables));
        files.push((RSDP, rsdp));
        files.push(("etc/table-loader", script));
    }
    let structures = smbios::structures(machine);
    files.push(("etc/smbios/smbios-anchor", smbios::entry_point(Gpa(0), &structures)));
    files.push(("etc/smbios/smbios-tables", structures.bytes));
    Ok(files)
}

/// The header of a table: its length, and its checksum.
const LENGTH: usize = 4;
const CHECKSUM: u64 = 9;
const HEADER_LEN: u64 = 36;

/// The script for these tables. What is summed up later has no checksum before: SeaBIOS corrects it,
/// but OVMF takes the sum as if it were 0.
fn script(placed: &AcpiTables, tables: &mut [u8], rsdp: &mut [u8]) -> Vec<u8> {
    let mut script = Script(Vec::new());
    script.allocate(TABLES, 64, Zone::High);
    script.allocate(RSDP, 16, Zone::FSegment);
    // FADT: FIRMWARE_CTRL, DSDT and X_DSDT (section 5.2.9).
    let mut pointers = vec![(placed.fadt, vec![(36, 4), (40, 4), (140, 8)])];
    for (table, size) in [(placed.rsdt, 4_u8), (placed.xsdt, 8)] {
        let entries = (0..placed.listed as u64).map(|n| (HEADER_LEN + n * u64::from(size), size));
        pointers.push((table, entries.collect()));
    }
    for (table, fields) in pointers {
        for (at, size) in fields {
            script.add_pointer(TABLES, TABLES, table.0 + at, size);
        }
        let len = placed.len_of(table, LENGTH);
        tables[(table.0 + CHECKSUM) as usize] = 0;
        script.add_checksum(TABLES, table.0, CHECKSUM, len);
    }
    // RSDP (section 5.2.5.3): both addresses, the sum of the first 20 bytes and that of all.
    script.add_pointer(RSDP, TABLES, 16, 4);
    script.add_pointer(RSDP, TABLES, 24, 8);
    (rsdp[8], rsdp[32]) = (0, 0);
    script.add_checksum(RSDP, 0, 8, 20);
    script.add_checksum(RSDP, 0, 32, rsdp.len() as u64);
    script.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        board::pc,
        record::{sum, u32_at, u64_at},
    };

    /// Runs the script as a firmware does, and returns the files in their places.
    fn load(files: &[(&str, Vec<u8>)]) -> BTreeMap<String, (u64, Vec<u8>)> {
        let file = |name: &str| files.iter().find(|(n, _)| *n == name).expect("a file").1.clone();
        let mut placed = BTreeMap::new();
        let mut free = 0x7ff0_0000;
        for command in file("etc/table-loader").chunks_exact(Script::COMMAND_LEN) {
            let name = |at: usize| {
                let name = command[at..at + 56].split(|b| *b == 0).next().expect("a name");
                String::from_utf8(name.to_vec()).expect("ASCII")
            };
            let number = |at| u32_at(command, at).expect("a number") as usize;
            match command[0] {
                1 => {
                    let at = if command[64] == 2 { 0xf_6000 } else { free };
                    free += 0x10_0000;
                    placed.insert(name(4), (at, file(&name(4))));
                }
                2 => {
                    let add = placed[&name(60)].0;
                    let bytes = &mut placed.get_mut(&name(4)).expect("allocated").1;
                    let (at, size) = (number(116), usize::from(command[120]));
                    let mut value = [0; 8];
                    value[..size].copy_from_slice(&bytes[at..at + size]);
                    let value = u64::from_le_bytes(value) + add;
                    bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
                }
                3 => {
                    let bytes = &mut placed.get_mut(&name(4)).expect("allocated").1;
                    let (at, start, len) = (number(60), number(64), number(68));
                    assert_eq!(bytes[at], 0, "as OVMF expects it");
                    bytes[at] = 0_u8.wrapping_sub(sum(&bytes[start..start + len]));
                }
                other => panic!("command {other}"),
            }
        }
        placed
    }

    #[test]
    fn a_firmware_finds_every_table_from_the_rsdp_on() {
        let files = firmware_files(&pc(1 << 30, 0, 2)).expect("a board");
        let placed = load(&files);
        let (rsdp_at, rsdp) = &placed[RSDP];
        assert_eq!((*rsdp_at, &rsdp[..8]), (0xf_6000, &b"RSD PTR "[..]));
        assert_eq!((sum(&rsdp[..20]), sum(rsdp)), (0, 0));
        let (base, tables) = &placed[TABLES];
        let table = |at: u64| {
            let bytes = &tables[(at - base) as usize..];
            let bytes = &bytes[..u32_at(bytes, 4).expect("a length") as usize];
            assert!(bytes.starts_with(b"FACS") || sum(bytes) == 0, "{:?}", &bytes[..4]);
            bytes
        };
        let rsdt = table(u32_at(rsdp, 16).expect("an address").into());
        let xsdt = table(u64_at(rsdp, 24).expect("an address"));
        let count = (rsdt.len() - 36) / 4;
        let mut names = Vec::new();
        for n in 0..count {
            let at = u64_at(xsdt, 36 + 8 * n).expect("an address");
            assert_eq!(u32_at(rsdt, 36 + 4 * n).map(u64::from), Some(at));
            names.push(table(at)[..4].to_vec());
            if n == 0 {
                let fadt = table(at);
                let dsdt = u64_at(fadt, 140).expect("an address");
                assert_eq!(u32_at(fadt, 40).map(u64::from), Some(dsdt));
                assert_eq!(table(dsdt)[..4], *b"DSDT");
                let facs: u64 = u32_at(fadt, 36).expect("an address").into();
                assert_eq!((&table(facs)[..4], facs % 64), (&b"FACS"[..], 0));
            }
        }
        assert_eq!(names, [b"FACP", b"APIC", b"HPET", b"MCFG"]);
    }

    #[test]
    fn smbios_comes_in_two_files() {
        let files = firmware_files(&pc(1 << 30, 0, 2)).expect("a board");
        let file = |name: &str| &files.iter().find(|(n, _)| *n == name).expect("a file").1;
        let anchor = file("etc/smbios/smbios-anchor");
        assert_eq!((&anchor[..4], anchor.len()), (&b"_SM_"[..], 0x1f));
        let len = u16::from_le_bytes([anchor[0x16], anchor[0x17]]);
        assert_eq!(usize::from(len), file("etc/smbios/smbios-tables").len());
    }
}
