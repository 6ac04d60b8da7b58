//! Ends of interrupt by a bit in memory.

use super::*;

/// Where the tests' guest has its byte; bit 0 enables.
const BYTE: u64 = 0x5000;

impl Rig {
    /// A guest that wants offers, on vCPU 0.
    fn with_offers() -> Self {
        let mut rig = Self::new(2);
        assert_eq!(rig.set_pv_eoi(BYTE | 1), Ok(()));
        rig
    }

    fn set_pv_eoi(&mut self, value: u64) -> Result<(), Gp> {
        self.with(0, |apics, cx| apics.set_pv_eoi(cx, value))
    }

    fn byte(&self) -> u8 {
        self.bench.ram.load(BYTE)
    }

    /// The guest's side: clears the bit, or writes EOI if it is clear. Returns whether it was set.
    fn end(&mut self) -> bool {
        let (old, _) = self.bench.ram.update(BYTE, |byte: u8| byte & !1);
        if old & 1 == 0 {
            self.eoi(0);
        }
        old & 1 != 0
    }
}

#[test]
fn an_edge_alone_ends_in_memory() {
    let mut rig = Rig::with_offers();
    assert_eq!(rig.apics.pv_eoi(0), BYTE | 1);
    for vector in [0x41, 0x31, 0x51] {
        rig.interrupt(0, vector);
        assert_eq!(rig.byte(), 0, "only once it is acknowledged");
        assert_eq!(rig.acknowledge(0), Ack::Vector(vector));
        assert_eq!(rig.byte(), 1);
        assert!(rig.end());
        assert_eq!(rig.byte(), 0);
    }
    // The last one ends when somebody looks.
    assert_eq!(rig.vectors(0, ISR), NONE);
    assert_eq!(rig.said().last(), Some(&cpu(0, CpuSignal::Interrupt(false))));
}

#[test]
fn what_waits_for_the_end_is_delivered_after_it() {
    let mut rig = Rig::with_offers();
    rig.interrupt(0, 0x41);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
    rig.said();
    // Of lower priority, of the same class, and the same once more: each asserts the pin.
    for vector in [0x31, 0x42, 0x41] {
        rig.interrupt(0, vector);
    }
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Interrupt(true))]);
    assert!(rig.end());
    for vector in [0x42, 0x41, 0x31] {
        assert_eq!(rig.acknowledge(0), Ack::Vector(vector));
        // The last one is alone again.
        assert_eq!(rig.end(), vector == 0x31);
    }
    assert_eq!(rig.vectors(0, ISR), NONE);
    assert!(!rig.apics.pending(0));
}

#[test]
fn an_offer_is_taken_back_when_something_waits_for_the_end() {
    let mut rig = Rig::with_offers();
    rig.interrupt(0, 0x41);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
    rig.interrupt(0, 0x31);
    // The vCPU looks, in its handler, before the guest has ended the first.
    assert!(rig.apics.pending(0));
    assert_eq!(rig.acknowledge(0), Ack::None);
    assert!(!rig.apics.pending(0));
    assert_eq!(rig.byte(), 0);
    assert_eq!(rig.vectors(0, ISR), [0x41]);
    assert!(!rig.end(), "an EOI in the register");
    assert!(rig.apics.pending(0));
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x31));
    assert!(rig.end());
}

#[test]
fn nested_interrupts_end_in_the_register() {
    let mut rig = Rig::with_offers();
    rig.interrupt(0, 0x41);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
    rig.interrupt(0, 0x61);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x61), "in the handler of the first");
    assert_eq!(rig.byte(), 0, "two are in service");
    assert!(!rig.end());
    assert_eq!(rig.vectors(0, ISR), [0x41]);
    assert!(!rig.end());
    assert_eq!(rig.vectors(0, ISR), NONE);
    // Two that come together: the second waits when the first is acknowledged.
    rig.interrupt(0, 0x41);
    rig.interrupt(0, 0x61);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x61));
    assert!(!rig.end());
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
    assert!(rig.end());
}

#[test]
fn a_level_ends_in_the_register_and_is_broadcast() {
    let mut rig = Rig::with_offers();
    rig.level(0, 0x41);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
    assert_eq!(rig.byte(), 0);
    rig.said();
    assert!(!rig.end());
    assert_eq!(rig.said(), [Signal::EndOfInterrupt(0x41)]);
}

#[test]
fn a_guest_may_write_the_register_all_the_same() {
    let mut rig = Rig::with_offers();
    rig.interrupt(0, 0x41);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
    rig.eoi(0);
    assert_eq!((rig.byte(), rig.vectors(0, ISR)), (0, vec![]));
    // The end in memory and one in the register are two.
    rig.interrupt(0, 0x41);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
    assert_eq!(rig.vectors(0, ISR), [0x41], "which takes the offer back");
    rig.interrupt(0, 0x61);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x61));
    rig.eoi(0);
    rig.eoi(0);
    assert_eq!(rig.vectors(0, ISR), NONE);
}

#[test]
fn the_task_priority_holds_back_what_only_asserted_the_pin() {
    let mut rig = Rig::with_offers();
    rig.interrupt(0, 0x41);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
    rig.with(0, |apics, cx| apics.set_tpr(cx, 0x50));
    rig.interrupt(0, 0x51);
    assert!(rig.end());
    assert_eq!(rig.acknowledge(0), Ack::None, "rather than a spurious interrupt");
    rig.with(0, |apics, cx| apics.set_tpr(cx, 0));
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x51));
}

#[test]
fn an_offer_outlives_a_save() {
    let mut rig = Rig::with_offers();
    rig.interrupt(0, 0x41);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
    let saved = rig.apics.save();
    let mut other = Rig::new(2);
    other.apics.load(&saved).expect("a good state");
    other.bench.ram.store(BYTE, 1_u8);
    assert!(other.end());
    other.interrupt(0, 0x31);
    assert_eq!(other.acknowledge(0), Ack::Vector(0x31));
    // What the byte was does not count where it was not offered.
    assert!(other.end());
    other.bench.ram.store(BYTE, 0_u8);
    assert_eq!(other.vectors(0, ISR), NONE);
}

#[test]
fn bad_addresses_are_refused_and_init_forgets() {
    let mut rig = Rig::with_offers();
    for bad in [BYTE | 2, BYTE | 3, 0xfee0_0001, !2, 1 << 20 | 1] {
        assert_eq!(rig.set_pv_eoi(bad), Err(Gp), "{bad:#x}");
        assert_eq!(rig.apics.pv_eoi(0), BYTE | 1);
    }
    // Switched off while there is an offer: it is taken back.
    rig.interrupt(0, 0x41);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
    assert_eq!(rig.set_pv_eoi(1 << 20), Ok(()));
    assert_eq!(rig.byte(), 0);
    assert_eq!(rig.vectors(0, ISR), [0x41]);
    rig.eoi(0);
    rig.interrupt(0, 0x41);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
    assert_eq!(rig.byte(), 0);

    assert_eq!(rig.set_pv_eoi(BYTE | 1), Ok(()));
    rig.with(0, |apics, cx| apics.init(cx, 0));
    assert_eq!(rig.apics.pv_eoi(0), 0);
}
