//! The tables as a guest meets them: found by scanning, followed by pointers, checked by sums.

use std::{collections::BTreeMap, fs, process::Command};

use super::*;
use crate::{
    board::pc,
    boot::check_apart,
    description::VirtioWindow,
    memory_map,
    record::{sum, u8_at, u16_at, u32_at, u64_at},
};

const GIB: u64 = 1 << 30;

/// The bytes at an address, to the end of their segment.
fn at(tables: &Tables, at: u64) -> &[u8] {
    let holds = |segment: &&(Gpa, Vec<u8>)| {
        (segment.0.0..segment.0.0 + segment.1.len() as u64).contains(&at)
    };
    let (start, bytes) = tables.segments.iter().find(holds).expect("nothing lies there");
    &bytes[(at - start.0) as usize..]
}

/// What a scan from 0xf0000 in steps of 16 bytes finds.
fn scan<'a>(tables: &'a Tables, anchor: &[u8]) -> &'a [u8] {
    let found = |segment: &&(Gpa, Vec<u8>)| {
        segment.0.0 >= 0xf_0000 && segment.0.0.is_multiple_of(16) && segment.1.starts_with(anchor)
    };
    &tables.segments.iter().find(found).expect("no anchor").1
}

/// All ACPI tables that the XSDT leads to, by signature; checks the sums on the way.
fn acpi_tables(tables: &Tables) -> BTreeMap<String, Vec<u8>> {
    let rsdp = scan(tables, b"RSD PTR ");
    assert_eq!((sum(&rsdp[..20]), sum(&rsdp[..36])), (0, 0));
    let table = |address: u64| {
        let bytes = at(tables, address);
        let bytes = &bytes[..u32_at(bytes, 4).unwrap() as usize];
        let signature = String::from_utf8(bytes[..4].to_vec()).unwrap();
        assert!(signature == "FACS" || sum(bytes) == 0, "{signature}");
        (signature, bytes.to_vec())
    };
    let (name, rsdt) = table(u32_at(rsdp, 16).unwrap().into());
    assert_eq!(name, "RSDT");
    let (name, xsdt) = table(u64_at(rsdp, 24).unwrap());
    assert_eq!(name, "XSDT");
    let from_rsdt = rsdt[36..].chunks(4).map(|p| u64::from(u32_at(p, 0).unwrap()));
    let from_xsdt: Vec<u64> = xsdt[36..].chunks(8).map(|p| u64_at(p, 0).unwrap()).collect();
    assert!(from_rsdt.eq(from_xsdt.iter().copied()));
    let mut all: BTreeMap<_, _> = from_xsdt.into_iter().map(table).collect();
    let fadt = all["FACP"].clone();
    let facs = u32_at(&fadt, 36).unwrap();
    assert_eq!(facs % 64, 0);
    all.extend([table(facs.into()), table(u64_at(&fadt, 140).unwrap())]);
    all.extend([("RSDT".into(), rsdt), ("XSDT".into(), xsdt)]);
    all
}

/// The entries of a MADT: type and bytes.
fn madt_entries(madt: &[u8]) -> Vec<(u8, &[u8])> {
    let mut rest = &madt[44..];
    let mut entries = Vec::new();
    while let [kind, len, ..] = *rest {
        entries.push((kind, &rest[..len.into()]));
        rest = &rest[len.into()..];
    }
    entries
}

#[test]
fn every_acpi_table_is_found_and_sums_to_zero() {
    let tables = tables(&pc(3 * GIB - (1 << 28), GIB, 2)).unwrap();
    let names: Vec<_> = acpi_tables(&tables).into_keys().collect();
    assert_eq!(names, ["APIC", "DSDT", "FACP", "FACS", "HPET", "MCFG", "RSDT", "XSDT"]);
}

#[test]
fn fadt_names_the_fixed_hardware_in_both_forms() {
    let fadt = &acpi_tables(&tables(&pc(GIB, 0, 1)).unwrap())["FACP"];
    assert_eq!(fadt.len(), 244);
    for (short, long, width, port) in
        [(56, 148, 32, 0x600), (64, 172, 16, 0x604), (76, 208, 32, 0x608)]
    {
        assert_eq!(u32_at(fadt, short), Some(port));
        assert_eq!(fadt[long..long + 2], [1, width]);
        assert_eq!(u64_at(fadt, long + 4), Some(port.into()));
    }
    assert_eq!(u16_at(fadt, 46), Some(9));
    assert_eq!((u64_at(fadt, 120), u8_at(fadt, 128)), (Some(0xcf9), Some(0x0f)));
    assert_eq!(u16_at(fadt, 109), Some(0b1_0111), "legacy devices, 8042, no VGA, no ASPM");
    assert_ne!(u32_at(fadt, 112).unwrap() & 1 << 10, 0, "reset register");
}

#[test]
fn madt_lists_cpus_overrides_and_nmi() {
    let tables = tables(&pc(GIB, 0, 300)).unwrap();
    let madt = &acpi_tables(&tables)["APIC"];
    let entries = madt_entries(madt);
    let count = |kind| entries.iter().filter(|(k, _)| *k == kind).count();
    assert_eq!((count(0), count(9)), (255, 45), "APIC IDs above 254 are x2APICs");
    assert_eq!((count(1), count(2), count(4), count(10)), (1, 5, 1, 1));
    let x2apic = entries.iter().find(|(kind, _)| *kind == 9).unwrap().1;
    assert_eq!((u32_at(x2apic, 4), u32_at(x2apic, 12)), (Some(256), Some(255)));
    let timer = entries.iter().find(|(kind, _)| *kind == 2).unwrap().1;
    assert_eq!(timer, [2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
    let sci = entries.iter().find(|(kind, e)| *kind == 2 && e[3] == 9).unwrap().1;
    assert_eq!(u16_at(sci, 8), Some(0xd), "level, active high");
}

/// A board of virtio devices, without what was on the ISA bus.
fn bare() -> Description {
    let at = |n: u64| VirtioWindow {
        at: Gpa(0xfeb0_0000 + n * 0x1000),
        len: 0x1000,
        gsi: 16 + n as u32,
    };
    Description {
        pci: None,
        hpet: None,
        legacy: false,
        i8042: false,
        virtio: [0, 1].map(at).into(),
        ..pc(GIB, 0, 1)
    }
}

#[test]
fn virtio_devices_are_described_and_what_is_missing_is_not() {
    let all = acpi_tables(&tables(&bare()).unwrap());
    assert_eq!(u32_at(&all["APIC"], 40), Some(0), "there are no 8259s");
    let has = |bytes: &[u8]| all["DSDT"].windows(bytes.len()).any(|part| part == bytes);
    // Memory32Fixed and Interrupt: level, active high, shared.
    assert!(has(&[
        0x86, 9, 0, 1, 0, 0x10, 0xb0, 0xfe, 0, 0x10, 0, 0, 0x89, 6, 0, 9, 1, 17, 0, 0, 0
    ]));
    assert!(has(b"LNRO0005") && has(b"V001") && has(b"RTC_") && has(b"COM1"));
    assert!(!has(b"TIMR") && !has(b"PIC_") && !has(b"KBD_"));
    let outside = VirtioWindow { at: Gpa(u64::from(u32::MAX)), len: 0x1000, gsi: 16 };
    assert!(tables(&Description { virtio: vec![outside], ..bare() }).is_err());
}

#[test]
fn tables_lie_in_reserved_memory_and_apart() {
    for cpus in [1, 2, 255, 300] {
        let machine = pc(GIB, 0, cpus);
        let tables = tables(&machine).unwrap();
        let ranges: Vec<_> =
            tables.segments.iter().map(|(at, bytes)| (at.0, bytes.len() as u64)).collect();
        assert_eq!(check_apart(&ranges, &machine), Ok(()));
        let map = memory_map(&machine).unwrap();
        for (start, len) in ranges.into_iter().filter(|range| range.0 > BDA_AT) {
            let reserved = |r: &crate::MemoryRange| {
                r.kind == crate::MemoryKind::Reserved
                    && start >= r.at.0
                    && start + len <= r.at.0 + r.len
            };
            assert!(map.iter().any(reserved), "{start:#x}");
        }
    }
    assert_eq!(tables(&pc(GIB, 0, 5000)), Err(BootError::TablesTooLarge("ACPI")));
}

#[test]
fn mp_table_is_found_and_complete() {
    let tables = tables(&pc(GIB, 0, 2)).unwrap();
    let pointer = scan(&tables, b"_MP_");
    assert_eq!((pointer.len(), sum(pointer), pointer[9]), (16, 0, 4));
    let table = at(&tables, u32_at(pointer, 4).unwrap().into());
    let table = &table[..u16_at(table, 4).unwrap().into()];
    assert_eq!((&table[..4], sum(table)), (&b"PCMP"[..], 0));
    assert_eq!(u32_at(table, 36), Some(0xfee0_0000));
    let mut rest = &table[44..];
    let mut counts = [0; 5];
    while let Some(kind) = rest.first() {
        counts[usize::from(*kind)] += 1;
        rest = &rest[if *kind == 0 { 20 } else { 8 }..];
    }
    // IRQ 2 is the cascade; 15 others on ISA, 4 pins of 32 slots on PCI.
    assert_eq!(counts, [2, 2, 1, 15 + 128, 2]);
    assert_eq!(u16_at(table, 34), Some(counts.iter().sum()));
    let boots: Vec<_> = table[44..84].chunks(20).map(|cpu| cpu[3]).collect();
    assert_eq!(boots, [3, 1]);
    let timer = table.windows(8).find(|e| e[..6] == [3, 0, 0, 0, 1, 0]).unwrap();
    assert_eq!(timer[6..], [0, 2]);
}

#[test]
fn smbios_is_found_by_both_anchors_and_ends_with_its_end() {
    let machine = pc(3 * GIB, 61 * GIB, 2);
    let tables = tables(&machine).unwrap();
    let (old, new) = (scan(&tables, b"_SM_"), scan(&tables, b"_SM3_"));
    assert_eq!((old.len(), sum(old), sum(&old[16..])), (31, 0, 0));
    assert_eq!((new.len(), sum(new)), (24, 0));
    let start = u64_at(new, 16).unwrap();
    assert_eq!(u64::from(u32_at(old, 24).unwrap()), start);
    let mut rest = at(&tables, start);
    assert_eq!(u16_at(old, 22).unwrap() as usize, rest.len());
    let mut kinds = Vec::new();
    let mut largest = 0;
    while let [kind, len, ..] = *rest {
        let strings = &rest[len.into()..];
        let end = strings.windows(2).position(|pair| pair == [0, 0]).unwrap() + 2;
        kinds.push(kind);
        largest = largest.max(usize::from(len) + end);
        rest = &strings[end..];
    }
    assert_eq!(kinds, [0, 1, 3, 4, 16, 17, 17, 17, 17, 19, 19, 32, 127]);
    assert_eq!(u16_at(old, 28), Some(kinds.len() as u16));
    assert_eq!(u16_at(old, 8), Some(largest as u16));
}

#[test]
fn bios_data_area_tells_of_ports_and_base_memory() {
    let tables = tables(&pc(GIB, 0, 1)).unwrap();
    let area = at(&tables, 0x400);
    assert_eq!(
        (u16_at(area, 0), u16_at(area, 2), u16_at(area, 4)),
        (Some(0x3f8), Some(0x2f8), Some(0))
    );
    assert_eq!((u16_at(area, 0x0e), u16_at(area, 0x13)), (Some(0x9fc0), Some(639)));
    assert_eq!(at(&tables, 0x9_fc00)[0], 1);
}

#[test]
fn a_board_without_acpi_has_no_rsdp() {
    let mut machine = pc(GIB, 0, 1);
    machine.power_management = None;
    machine.local_apic = None;
    let tables = tables(&machine).unwrap();
    assert_eq!(tables.rsdp, None);
    assert!(tables.segments.iter().all(|(at, _)| !(0xe_0000..0xf_0000).contains(&at.0)));
}

#[test]
fn senseless_boards_are_refused() {
    let board = |change: fn(&mut Description)| {
        let mut machine = pc(GIB, GIB, 1);
        change(&mut machine);
        tables(&machine)
    };
    let refused = |change| matches!(board(change), Err(BootError::Description(_)));
    assert!(refused(|m| m.cpus.clear()));
    assert!(refused(|m| m.low_ram = 0));
    assert!(refused(|m| m.low_ram = u64::MAX));
    assert!(refused(|m| m.high_ram = u64::MAX));
    assert!(refused(|m| m.cpus[0].apic_id = 255));
    assert!(refused(|m| m.pci.as_mut().unwrap().memory_windows[0].last = 0));
    assert!(refused(|m| m.ioapics[0].at = Gpa(GIB * 4)));
}

/// The reference compiler takes every table apart, and the DSDT's source back to the same code.
#[test]
fn iasl_reads_every_table() {
    if Command::new("iasl").arg("-v").output().is_err() {
        eprintln!("skipped: iasl is not installed");
        return;
    }
    let with_high_bridge = pc(2 * GIB, GIB, 300);
    let mut plain = pc(GIB, 0, 1);
    plain.pci = None;
    plain.hpet = None;
    for (name, machine) in [("full", with_high_bridge), ("plain", plain), ("bare", bare())] {
        let folder = format!("trine-firmware-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).unwrap();
        for (signature, bytes) in acpi_tables(&tables(&machine).unwrap()) {
            let iasl = |arguments: &[&str]| {
                let output =
                    Command::new("iasl").args(arguments).current_dir(&folder).output().unwrap();
                let text = [output.stdout, output.stderr].concat();
                let text = String::from_utf8_lossy(&text).into_owned();
                let bad = !output.status.success()
                    || text.lines().any(|l| l.starts_with("Error") || l.contains("Invalid"));
                assert!(!bad, "{signature}: {text}");
                text
            };
            fs::write(folder.join(format!("{signature}.aml")), &bytes).unwrap();
            iasl(&["-d", &format!("{signature}.aml")]);
            let source = fs::read_to_string(folder.join(format!("{signature}.dsl"))).unwrap();
            assert!(!source.contains("Invalid") && !source.contains("ncorrect"), "{signature}");
            if signature == "DSDT" {
                let text = iasl(&["-p", "again", "DSDT.dsl"]);
                assert!(text.contains("0 Errors, 0 Warnings, 0 Remarks"), "{text}");
                let again = fs::read(folder.join("again.aml")).unwrap();
                let same = again[36..] == bytes[36..];
                assert!(same, "the DSDT is not what iasl makes of its source: see {folder:?}");
            }
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
