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
