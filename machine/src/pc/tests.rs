//! The schematic holds together.

use super::*;

#[test]
fn no_two_chips_claim_a_port_or_an_address() {
    for row in TEST_PORTS {
        let other = |p: &&PortRow| p.first <= row.last && row.first <= p.last;
        let hidden: Vec<Chip> = PORTS.iter().filter(other).map(|p| p.chip).collect();
        assert!(hidden.iter().all(|chip| *chip == Chip::DebugConsole), "{row:?}");
    }
    for (n, a) in PORTS.iter().enumerate() {
        assert!(a.first <= a.last);
        for b in &PORTS[n + 1..] {
            assert!(a.last < b.first, "{a:?} and {b:?} overlap or are out of order");
        }
    }
    for (n, a) in WINDOWS.iter().enumerate() {
        for b in &WINDOWS[n + 1..] {
            assert!(a.at.0 + a.len <= b.at.0 || b.at.0 + b.len <= a.at.0);
        }
    }
}

#[test]
fn every_wire_leads_somewhere_and_no_pin_has_two_nets() {
    for wire in 0..Wire::COUNT as u32 {
        let is = |w: &Wire| *w as u32 == wire;
        assert!(NETS.iter().any(|n| n.from.iter().any(is) || n.unless_hpet.iter().any(is)));
    }
    let sinks: Vec<&Sink> = NETS.iter().flat_map(|n| n.to).collect();
    for (n, a) in sinks.iter().enumerate() {
        assert!(!sinks[n + 1..].contains(a), "{a:?} is on two nets");
    }
}

#[test]
fn memory_lies_below_3_gib_and_above_4() {
    assert_eq!(split_memory(512 << 20), (512 << 20, 0));
    assert_eq!(split_memory(5 << 30), (3 << 30, 2 << 30));
    let all = regions(5 << 30, &[]);
    assert_eq!(all.len(), 3);
    assert_eq!(all[1].start.0 + all[1].len, 3 << 30);
    assert_eq!((all[2].start, all[2].len), (HIGH_RAM_AT, 2 << 30));
}

#[test]
fn a_rom_takes_the_place_of_ram() {
    let rom = [(Gpa(0xf_0000), 0x1_0000), (Gpa(0xffff_0000), 0x1_0000)];
    let all = regions(64 << 20, &rom);
    let kinds: Vec<(u64, RegionKind)> = all.iter().map(|r| (r.start.0, r.kind)).collect();
    let (ram, rom) = (RegionKind::Ram, RegionKind::Rom);
    let places = [(0, ram), (0xe_0000, ram), (1 << 20, ram), (0xf_0000, rom)];
    assert_eq!(kinds, [&places[..], &[(0xffff_0000, rom)]].concat());
    assert_eq!(all[2].len, 63 << 20);
}
