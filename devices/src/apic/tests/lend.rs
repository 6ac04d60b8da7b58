//! APICs that are lent to others and come back.

use super::{
    random::{VCPUS, other},
    *,
};
use crate::stress::Random;

/// Lends the APICs and takes them back as they were.
fn there_and_back(rig: &mut Rig) -> Vec<ApicImage> {
    let images = rig.with(0, LocalApics::lend);
    rig.with(0, |apics, cx| apics.take_back(cx, &images));
    images
}

#[test]
fn what_comes_back_as_it_went_is_as_it_was() {
    let mut rig = Rig::new(VCPUS);
    let mut random = Random::new(7);
    for _ in 0..20_000 {
        rig.bench.now = rig.bench.now.after_ns(random.below(1000));
        let vcpu = random.below(u64::from(VCPUS)) as u32;
        rig.with(vcpu, |apics, cx| other(apics, cx, &mut random));
        let pending: Vec<bool> = (0..VCPUS).map(|vcpu| rig.apics.pending(vcpu)).collect();
        let offers = rig.apics.state.apics.iter().any(|apic| apic.has_offer);
        let images = there_and_back(&mut rig);
        assert_eq!(rig.with(0, LocalApics::lend), images);
        rig.with(0, |apics, cx| apics.take_back(cx, &images));
        let after: Vec<bool> = (0..VCPUS).map(|vcpu| rig.apics.pending(vcpu)).collect();
        // Who has settled an offer may see an interrupt that waited for it, or none any more.
        assert!(offers || pending == after);
        let saved = rig.apics.save();
        rig.apics.load(&saved).expect("a possible state");
    }
}

#[test]
fn a_timer_goes_on_where_it_is() {
    for periodic in [0, 1 << 17] {
        let mut rig = Rig::new(1);
        rig.write(0, LVT_TIMER, periodic | 0x40);
        rig.write(0, INITIAL, 1000);
        rig.bench.now = rig.bench.now.after_ns(600);
        let images = there_and_back(&mut rig);
        assert_eq!(images[0].registers[0x39], 700);
        let due = rig.with(0, |apics, _| apics.next_event());
        assert_eq!(due, Some(rig.bench.now.after_ns(1400)));
        rig.bench.now = rig.bench.now.after_ns(1400);
        rig.with(0, |apics, cx| apics.advance(cx));
        assert_eq!(rig.acknowledge(0), Ack::Vector(0x40));
        let due = rig.with(0, |apics, _| apics.next_event());
        let next = (periodic != 0).then(|| rig.bench.now.after_ns(2000));
        assert_eq!(due, next);
    }
}

#[test]
fn a_timer_that_expired_elsewhere_interrupts_once() {
    let mut rig = Rig::new(1);
    rig.write(0, LVT_TIMER, 0x40);
    rig.write(0, INITIAL, 1000);
    let mut images = rig.with(0, LocalApics::lend);
    assert_eq!(rig.with(0, |apics, _| apics.next_event()), None);
    images[0].registers[0x39] = 0;
    rig.with(0, |apics, cx| apics.take_back(cx, &images));
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x40));
    rig.write(0, EOI, 0);
    // It has expired here: that it does not again elsewhere, its initial count tells.
    let images = there_and_back(&mut rig);
    assert_eq!(images[0].registers[0x38], 0);
    assert_eq!(rig.acknowledge(0), Ack::None);
}

#[test]
fn a_deadline_that_has_passed_interrupts_at_once() {
    let mut rig = Rig::new(1);
    rig.write(0, LVT_TIMER, 2 << 17 | 0x40);
    let at = rig.bench.now.after_ns(500);
    rig.with(0, |apics, cx| apics.write_tsc_deadline(cx, 12345, at));
    let mut images = rig.with(0, LocalApics::lend);
    assert_eq!((images[0].tsc_deadline, images[0].deadline_at), (12345, at));
    images[0].deadline_at = rig.bench.now;
    rig.with(0, |apics, cx| apics.take_back(cx, &images));
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x40));
    assert_eq!(rig.with(0, |apics, cx| apics.read_tsc_deadline(cx)), 0);
}

#[test]
fn while_lent_lint0_is_intr_and_lint1_nmi() {
    let mut rig = Rig::new(2);
    rig.interrupt(0, 0x41);
    assert!(rig.apics.pending(0));
    let images = rig.with(0, LocalApics::lend);
    assert!(!rig.apics.pending(0), "the interrupt has gone with the APIC");
    rig.said();
    let pin = |rig: &mut Rig, pin, level| rig.with(0, |apics, cx| apics.input(cx, pin, level));
    pin(&mut rig, 2, true);
    pin(&mut rig, 3, true);
    assert_eq!(
        rig.said(),
        [cpu(1, CpuSignal::Interrupt(true)), cpu(1, CpuSignal::Nmi)],
        "whatever the LVT says"
    );
    assert_eq!(rig.acknowledge(1), Ack::ExtInt);
    pin(&mut rig, 2, false);
    assert_eq!(rig.acknowledge(1), Ack::None);
    rig.with(0, |apics, cx| apics.take_back(cx, &images));
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
}

#[test]
fn a_message_is_the_store_that_is_that_message() {
    let mut random = Random::new(3);
    for _ in 0..10_000 {
        let address = 0xfee0_0000 | random.below(1 << 20) & 0xf_f00c;
        let data = random.next() as u32 & 0xc7ff;
        let Some(message) = msi_message(address, data) else { continue };
        let (address, data) = message_msi(message);
        assert_eq!(msi_message(address, data), Some(message));
    }
    let far = Message {
        destination: Destination::Physical(0x1_2345),
        delivery: DeliveryMode::Fixed,
        vector: 0x31,
        trigger: TriggerMode::Edge,
    };
    assert_eq!(message_msi(far), (0x0001_2300_fee4_5000, 0x31));
}
