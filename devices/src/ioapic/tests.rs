//! Tests of the I/O APIC.

use serde_json::json;

use super::*;
use crate::{
    Ack, Bench, LocalApics,
    stress::{Subject, stress},
};

struct Rig {
    bench: Bench,
    ioapic: IoApic,
}

impl Rig {
    fn new() -> Self {
        let bench = Bench::new();
        let ioapic = IoApic::new(bench.backplane.clone());
        Self { bench, ioapic }
    }

    fn store(&mut self, offset: u64, value: u32) {
        let Self { bench, ioapic } = self;
        bench.with(|cx| ioapic.mmio_write(cx, offset, &value.to_le_bytes()));
    }

    fn load(&mut self, offset: u64) -> u32 {
        let Self { bench, ioapic } = self;
        let mut data = [0xff; 4];
        bench.with(|cx| ioapic.mmio_read(cx, offset, &mut data));
        u32::from_le_bytes(data)
    }

    fn write(&mut self, register: u32, value: u32) {
        self.store(IOREGSEL, register);
        self.store(IOWIN, value);
    }

    fn read(&mut self, register: u32) -> u32 {
        self.store(IOREGSEL, register);
        self.load(IOWIN)
    }

    fn entry(&mut self, pin: u32, value: u64) {
        self.write(0x11 + pin * 2, (value >> 32) as u32);
        self.write(0x10 + pin * 2, value as u32);
    }

    fn pin(&mut self, pin: u16, level: bool) {
        let Self { bench, ioapic } = self;
        bench.with(|cx| ioapic.input(cx, pin, level));
    }

    fn eoi(&mut self, vector: u8) {
        let Self { bench, ioapic } = self;
        bench.with(|cx| ioapic.end_of_interrupt(cx, vector));
    }

    /// The vectors of the messages that were sent.
    fn sent(&mut self) -> Vec<u8> {
        let vector = |signal| match signal {
            Signal::Message(message) => message.vector,
            other => panic!("an I/O APIC says {other:?}"),
        };
        self.bench.said().into_iter().map(vector).collect()
    }
}

#[test]
fn registers() {
    let mut rig = Rig::new();
    assert_eq!(rig.read(1), 0x0017_0020);
    rig.write(0, 0xff00_0000);
    assert_eq!((rig.read(0), rig.read(2)), (0x0f00_0000, 0x0f00_0000));
    assert_eq!(rig.load(IOREGSEL), 2);
    rig.write(1, 0);
    assert_eq!(rig.read(1), 0x0017_0020);
    for register in (0x10..0x40).step_by(2) {
        assert_eq!(rig.read(register), 0x1_0000, "masked after a reset");
        rig.write(register, !0);
        rig.write(register + 1, !0);
        assert_eq!(rig.read(register), 0x1_afff);
        assert_eq!(rig.read(register + 1), 0xff00_0000);
    }
    for beyond in [3, 0xf, 0x40, 0xff] {
        rig.write(beyond, !0);
        assert_eq!(rig.read(beyond), 0);
    }
    assert_eq!(rig.sent(), [0; 0]);
}

#[test]
fn an_edge_is_a_message_with_everything_from_the_entry() {
    let mut rig = Rig::new();
    rig.entry(4, 0x0300_0000_0000_0941);
    rig.pin(4, true);
    let message = Message {
        destination: Destination::Logical(3),
        delivery: DeliveryMode::LowestPriority,
        vector: 0x41,
        trigger: TriggerMode::Edge,
    };
    assert_eq!(rig.bench.said(), [Signal::Message(message)]);
    rig.pin(4, false);
    rig.eoi(0x41);
    assert_eq!(rig.sent(), [0; 0]);
    rig.pin(4, true);
    assert_eq!(rig.sent(), [0x41]);
    // An edge that comes while the pin is masked is lost.
    rig.pin(4, false);
    rig.entry(4, 0x1_0041);
    rig.pin(4, true);
    rig.entry(4, 0x41);
    assert_eq!(rig.sent(), [0; 0]);
    // No edge: it is up already.
    rig.pin(4, true);
    assert_eq!(rig.sent(), [0; 0]);
    // No such pin.
    rig.pin(24, true);
    rig.pin(u16::MAX, true);
}

#[test]
fn destinations_and_delivery_modes() {
    let mut rig = Rig::new();
    let mut of = |entry| {
        rig.entry(0, entry);
        rig.pin(0, true);
        rig.pin(0, false);
        rig.bench.said().pop().map(|signal| match signal {
            Signal::Message(message) => (message.destination, message.delivery, message.trigger),
            other => panic!("{other:?}"),
        })
    };
    use Destination::{Logical, Physical};
    let everyone = Physical(u32::MAX);
    let edge = |to, mode| Some((to, mode, TriggerMode::Edge));
    assert_eq!(of(0xff00_0000_0000_0041), edge(everyone, DeliveryMode::Fixed));
    assert_eq!(of(0xff00_0000_0000_0841), edge(Logical(0xff), DeliveryMode::Fixed));
    assert_eq!(of(0x0200_0000_0000_0400), edge(Physical(2), DeliveryMode::Nmi));
    assert_eq!(of(0x0200_0000_0000_0700), edge(Physical(2), DeliveryMode::ExtInt));
    // Only fixed and lowest priority can be levels.
    assert_eq!(of(0x0200_0000_0000_8200), edge(Physical(2), DeliveryMode::Smi));
    assert_eq!(of(0x0200_0000_0000_8500), edge(Physical(2), DeliveryMode::Init));
    // Reserved.
    assert_eq!(of(0x0341), None);
    assert_eq!(of(0x0641), None);
}

#[test]
fn a_level_is_sent_again_after_eoi_while_it_is_asserted() {
    let mut rig = Rig::new();
    rig.entry(10, 0xa051);
    rig.pin(10, true);
    assert_eq!(rig.sent(), [0x51]);
    assert_eq!(rig.read(0x24), 0xe051, "Remote IRR");
    // Falling and rising again while it is in service changes nothing.
    rig.pin(10, false);
    rig.pin(10, true);
    rig.eoi(0x52);
    assert_eq!(rig.sent(), [0; 0]);
    rig.eoi(0x51);
    assert_eq!(rig.sent(), [0x51]);
    rig.pin(10, false);
    rig.eoi(0x51);
    assert_eq!(rig.sent(), [0; 0]);
    assert_eq!(rig.read(0x24), 0xa051);
}

#[test]
fn a_level_goes_round_through_a_local_apic() {
    let mut rig = Rig::new();
    let Rig { bench, ioapic } = &mut rig;
    let mut apics = LocalApics::new(bench.backplane.clone(), 2, 1_000_000_000);
    let carry = |bench: &mut Bench, ioapic: &mut IoApic, apics: &mut LocalApics| {
        while let Some(signal) = bench.backplane.take() {
            match signal {
                Signal::Message(message) => bench.with(|cx| apics.deliver(cx, message)),
                Signal::EndOfInterrupt(vector) => {
                    bench.with(|cx| ioapic.end_of_interrupt(cx, vector));
                }
                _ => {}
            }
        }
    };
    let store = |bench: &mut Bench, apics: &mut LocalApics, offset, value: u32| {
        bench.with(|cx| apics.mmio_write(cx, offset, &value.to_le_bytes()));
    };
    store(bench, &mut apics, 0xf0, 0x1ff);
    ioapic.state.entries[10] = 0x8051;
    bench.with(|cx| ioapic.input(cx, 10, true));
    for round in 0..3 {
        carry(bench, ioapic, &mut apics);
        assert_eq!(bench.with(|cx| apics.acknowledge(cx)), Ack::Vector(0x51), "round {round}");
        assert!(!apics.pending(0), "not again while it is in service");
        if round == 2 {
            bench.with(|cx| ioapic.input(cx, 10, false));
        }
        store(bench, &mut apics, 0xb0, 0);
    }
    carry(bench, ioapic, &mut apics);
    assert_eq!(
        (bench.with(|cx| apics.acknowledge(cx)), ioapic.state.entries[10]),
        (Ack::None, 0x8051)
    );

    // With the broadcast suppressed, the EOI register of the I/O APIC ends it.
    store(bench, &mut apics, 0xf0, 0x11ff);
    bench.with(|cx| ioapic.input(cx, 10, true));
    carry(bench, ioapic, &mut apics);
    assert_eq!(bench.with(|cx| apics.acknowledge(cx)), Ack::Vector(0x51));
    store(bench, &mut apics, 0xb0, 0);
    carry(bench, ioapic, &mut apics);
    assert_eq!(bench.with(|cx| apics.acknowledge(cx)), Ack::None);
    bench.with(|cx| ioapic.mmio_write(cx, EOI, &[0x51, 0, 0, 0]));
    carry(bench, ioapic, &mut apics);
    assert_eq!(bench.with(|cx| apics.acknowledge(cx)), Ack::Vector(0x51));
}

#[test]
fn a_level_that_rose_while_masked_is_sent_when_unmasked() {
    let mut rig = Rig::new();
    rig.entry(11, 0x1_8051);
    rig.pin(11, true);
    assert_eq!(rig.sent(), [0; 0]);
    rig.entry(11, 0x8051);
    assert_eq!(rig.sent(), [0x51]);
    // The acknowledgement may come while it is masked.
    rig.entry(11, 0x1_8051);
    rig.eoi(0x51);
    assert_eq!(rig.sent(), [0; 0]);
    rig.entry(11, 0x8051);
    assert_eq!(rig.sent(), [0x51]);
}

#[test]
fn pins_that_share_a_vector_end_together() {
    let mut rig = Rig::new();
    rig.entry(10, 0x8051);
    rig.entry(11, 0x8051);
    rig.pin(10, true);
    rig.pin(11, true);
    assert_eq!(rig.sent(), [0x51, 0x51]);
    rig.pin(10, false);
    rig.eoi(0x51);
    assert_eq!(rig.sent(), [0x51]);
    assert_eq!((rig.read(0x24), rig.read(0x26)), (0x8051, 0xc051));
}

#[test]
fn the_eoi_register_and_the_switch_to_edge_clear_remote_irr() {
    let mut rig = Rig::new();
    rig.entry(10, 0x8051);
    rig.pin(10, true);
    rig.pin(10, false);
    rig.store(EOI, 0x51);
    assert_eq!(rig.read(0x24), 0x8051);
    rig.pin(10, true);
    assert_eq!(rig.read(0x24), 0xc051);
    // As an operating system does it without an EOI register.
    rig.write(0x24, 0x1_0051);
    rig.write(0x24, 0x1_8051);
    assert_eq!(rig.read(0x24), 0x1_8051);
    assert_eq!(rig.sent(), [0x51, 0x51]);
    // Software cannot set it.
    rig.write(0x24, 0x1_c051);
    assert_eq!(rig.read(0x24), 0x1_8051);
}

#[test]
fn an_illegal_vector_does_not_block_its_pin() {
    let mut rig = Rig::new();
    rig.entry(10, 0x8005);
    rig.pin(10, true);
    assert_eq!(rig.sent(), [5]);
    assert_eq!(rig.read(0x24), 0x8005);
}

#[test]
fn reset_masks_and_keeps_the_pins() {
    let mut rig = Rig::new();
    rig.write(0, 0x0500_0000);
    rig.entry(3, 0x8041);
    rig.pin(3, true);
    let Rig { bench, ioapic } = &mut rig;
    bench.with(|cx| ioapic.reset(cx));
    assert_eq!((rig.read(0), rig.read(0x16)), (0, 0x1_0000));
    rig.sent();
    rig.entry(3, 0x8042);
    assert_eq!(rig.sent(), [0x42], "the pin is still asserted");
}

#[test]
fn impossible_states_are_refused() {
    let mut rig = Rig::new();
    let good = rig.ioapic.save();
    for (field, value) in [
        ("/id", json!(16)),
        ("/pins", json!(1 << 24)),
        ("/entries/3", json!(0x1000)),
        ("/entries/3", json!(0x100_0000_0000u64)),
        ("/entries", json!([1])),
    ] {
        let mut bad = good.clone();
        *bad.state.pointer_mut(field).expect("a field") = value;
        assert!(rig.ioapic.load(&bad).is_err(), "{field}");
    }
    assert_eq!(rig.ioapic.save(), good);
}

#[test]
fn random_treatment() {
    for seed in 1..5 {
        treat(seed, 20_000);
    }
}

#[test]
#[ignore = "takes a minute"]
fn a_million_random_accesses() {
    treat(0x10a, 1_000_000);
}

fn treat(seed: u64, steps: u32) {
    let fresh = |bench: &Bench| IoApic::new(bench.backplane.clone());
    let other = |ioapic: &mut IoApic, cx: &mut Cx<'_>, random: &mut crate::stress::Random| {
        ioapic.end_of_interrupt(cx, random.next() as u8);
        let register = random.below(0x42) as u32;
        ioapic.mmio_write(cx, IOREGSEL, &register.to_le_bytes());
        ioapic.mmio_write(cx, IOWIN, &(random.next() as u32).to_le_bytes());
    };
    stress(Subject { fresh, window: 0x1000, pins: PINS, vcpus: 1, other }, seed, steps);
}
