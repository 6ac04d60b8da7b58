//! The schematic holds together.

use super::*;

#[test]
fn no_two_chips_claim_a_port_or_an_address() {
    for pair in PORTS.windows(2) {
        assert!(pair[0].first <= pair[0].last && pair[0].last < pair[1].first, "{pair:?}");
    }
    for (n, a) in WINDOWS.iter().enumerate() {
        for b in &WINDOWS[n + 1..] {
            assert!(a.at.0 + a.len <= b.at.0 || b.at.0 + b.len <= a.at.0, "{a:?}, {b:?}");
        }
    }
}

#[test]
fn every_card_has_a_window_and_a_pin() {
    for n in 0..SLOTS {
        assert!(WINDOWS.iter().any(|window| window.chip == Chip::Card(n)));
        let pin = irq_of_card((Wire::intx(n, 0) - Wire::intx(0, 0)) as usize);
        let net = NETS.iter().find(|net| net.irq == Some(pin)).expect("cards share it");
        assert_eq!(net.to, [Sink::Pin(Chip::IoApic, pin.into())]);
    }
}

#[test]
fn memory_goes_around_the_windows() {
    assert_eq!(memory_map(64 << 20).len(), 1);
    let [(low, 0), (high, offset)] = memory_map(8 << 30)[..] else { panic!("two parts") };
    assert!(low.start.0 + low.len <= VIRTIO_AT.0 && offset == low.len);
    assert_eq!((high.start, low.len + high.len), (HIGH_RAM_AT, 8 << 30));
}
