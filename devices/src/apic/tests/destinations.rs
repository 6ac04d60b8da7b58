//! Who gets an interrupt: destinations, shorthands, arbitration, MSIs (SDM 11.6 and 11.11).

use super::*;

fn send(rig: &mut Rig, from: u32, to: u8, low: u32) {
    rig.write(from, ICR_HIGH, u32::from(to) << 24);
    rig.write(from, ICR_LOW, low);
}

#[test]
fn physical_destinations_and_broadcast() {
    let mut rig = Rig::new(4);
    send(&mut rig, 0, 2, 0x4041);
    assert_eq!(rig.waiting(0x41), [2]);
    assert_eq!((rig.read(0, ICR_LOW), rig.read(0, ICR_HIGH)), (0x4041, 0x0200_0000));
    send(&mut rig, 1, 0xff, 0x4042);
    assert_eq!(rig.waiting(0x42), [0, 1, 2, 3]);
    send(&mut rig, 1, 9, 0x4043);
    assert_eq!(rig.waiting(0x43).len(), 0);
    // A level-triggered IPI is an edge all the same.
    send(&mut rig, 1, 3, 0xc044);
    assert_eq!((rig.vectors(3, IRR), rig.vectors(3, TMR)), (vec![0x42, 0x44], vec![]));
}

#[test]
fn shorthands() {
    let mut rig = Rig::new(3);
    rig.write(1, ICR_LOW, 0x4_4041);
    assert_eq!(rig.waiting(0x41), [1]);
    rig.write(1, ICR_LOW, 0x8_4042);
    assert_eq!(rig.waiting(0x42), [0, 1, 2]);
    rig.write(1, ICR_LOW, 0xc_4043);
    assert_eq!(rig.waiting(0x43), [0, 2]);
    rig.said();
    rig.write(1, ICR_LOW, 0xc_4400);
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Nmi), cpu(2, CpuSignal::Nmi)]);
    // Invalid: an NMI to oneself by shorthand.
    rig.write(1, ICR_LOW, 0x4_4400);
    assert_eq!(rig.said(), []);
}

#[test]
fn start_up_sequence_of_an_application_processor() {
    let mut rig = Rig::new(2);
    rig.interrupt(1, 0x41);
    rig.said();
    send(&mut rig, 0, 1, 0xc500);
    let reset = [cpu(1, CpuSignal::Interrupt(false)), cpu(1, CpuSignal::Init)];
    assert_eq!(rig.said(), reset);
    assert_eq!(rig.read(1, SVR), 0xff);
    send(&mut rig, 0, 1, 0x8500);
    assert_eq!(rig.said(), [], "INIT level de-assert does nothing");
    send(&mut rig, 0, 1, 0x4699);
    assert_eq!(rig.said(), [cpu(1, CpuSignal::Startup(0x99))]);
    // An edge INIT without the level bit is an INIT.
    send(&mut rig, 0, 1, 0x0500);
    assert_eq!(rig.said(), [cpu(1, CpuSignal::Init)]);
}

#[test]
fn flat_logical_destinations() {
    let mut rig = Rig::new(4);
    for vcpu in 0..3 {
        rig.write(vcpu, LDR, 0x0100_0000 << vcpu);
    }
    send(&mut rig, 0, 0b101, 0x4841);
    assert_eq!(rig.waiting(0x41), [0, 2]);
    // vCPU 3 has no logical ID, so that not even all bits match.
    send(&mut rig, 0, 0xff, 0x4842);
    assert_eq!(rig.waiting(0x42), [0, 1, 2]);
}

#[test]
fn cluster_logical_destinations() {
    let mut rig = Rig::new(4);
    for (vcpu, logical) in [0x11, 0x12, 0x21, 0x24].into_iter().enumerate() {
        rig.write(vcpu as u32, DFR, 0x0fff_ffff);
        rig.write(vcpu as u32, LDR, logical << 24);
    }
    assert_eq!(rig.read(0, DFR), 0x0fff_ffff);
    for (to, vector, expected) in [
        (0x13, 0x41, &[0, 1][..]),
        (0x12, 0x42, &[1]),
        (0x25, 0x43, &[2, 3]),
        (0x2a, 0x44, &[]),
        (0x3f, 0x45, &[]),
        (0xf1, 0x46, &[0, 2]),
        (0xff, 0x47, &[0, 1, 2, 3]),
    ] {
        send(&mut rig, 0, to, 0x4800 | vector);
        assert_eq!(rig.waiting(vector as u8), expected, "destination {to:#x}");
    }
}

#[test]
fn lowest_priority_takes_the_least_busy_and_equals_in_turn() {
    let mut rig = Rig::new(3);
    let all = Destination::Physical(u32::MAX);
    for (vector, expected) in [(0x41, 0), (0x42, 1), (0x43, 2), (0x44, 0)] {
        rig.deliver(all, DeliveryMode::LowestPriority, vector, TriggerMode::Edge);
        assert_eq!(rig.waiting(vector), [expected]);
    }
    rig.write(0, TPR, 0x20);
    rig.write(1, TPR, 0x10);
    assert_eq!(rig.acknowledge(2), Ack::Vector(0x43));
    for vector in [0x51, 0x52] {
        rig.deliver(all, DeliveryMode::LowestPriority, vector, TriggerMode::Edge);
        assert_eq!(rig.waiting(vector), [1], "vCPU 2 has an interrupt in service");
    }
    // The software-disabled are no candidates.
    rig.write(1, SVR, 0xff);
    rig.deliver(all, DeliveryMode::LowestPriority, 0x53, TriggerMode::Edge);
    assert_eq!(rig.waiting(0x53), [0]);
}

#[test]
fn msi_addresses_and_data() {
    let message = |destination, delivery, vector, trigger| {
        Some(Message { destination, delivery, vector, trigger })
    };
    use DeliveryMode::{ExtInt, Fixed, LowestPriority, Nmi};
    use Destination::{Logical, Physical};
    use TriggerMode::{Edge, Level};
    for (address, data, expected) in [
        (0xfee0_0000, 0x41, message(Physical(0), Fixed, 0x41, Edge)),
        (0xfee0_3000, 0x41, message(Physical(3), Fixed, 0x41, Edge)),
        (0xfeef_f000, 0x41, message(Physical(u32::MAX), Fixed, 0x41, Edge)),
        (0xfee0_3004, 0x41, message(Logical(3), Fixed, 0x41, Edge)),
        (0xfeef_f004, 0x41, message(Logical(0xff), Fixed, 0x41, Edge)),
        (0xfee0_300c, 0x41, message(Logical(3), LowestPriority, 0x41, Edge)),
        (0xfee0_3000, 0x141, message(Physical(3), LowestPriority, 0x41, Edge)),
        (0xfee0_3000, 0x400, message(Physical(3), Nmi, 0, Edge)),
        (0xfee0_3000, 0x700, message(Physical(3), ExtInt, 0, Edge)),
        (0xfee0_3000, 0xc041, message(Physical(3), Fixed, 0x41, Level)),
        (0xfee0_3000, 0x8041, None),
        (0xfee0_3000, 0x341, None),
        (0xfee0_3000, 0x641, None),
        (0xfed0_0000, 0x41, None),
        (0xfef0_0000, 0x41, None),
        (0x1_fee0_0000, 0x41, None),
    ] {
        assert_eq!(msi_message(address, data), expected, "{address:#x} {data:#x}");
    }
}

#[test]
fn software_may_change_the_id_of_xapic_mode() {
    let mut rig = Rig::new(3);
    rig.write(0, ID, 0x0700_0000);
    rig.write(2, ID, 0x0700_0000);
    assert_eq!(rig.read(2, ID), 0x0700_0000);
    send(&mut rig, 1, 7, 0x4041);
    assert_eq!(rig.waiting(0x41), [0, 2]);
    send(&mut rig, 1, 2, 0x4042);
    assert_eq!(rig.waiting(0x42).len(), 0);
    // x2APIC mode has the ID that the CPU was born with, and forgets the other.
    let base = 0xfee0_0000 | 0xc00;
    rig.with(2, |apics, cx| apics.set_apic_base(cx, base)).unwrap();
    assert_eq!(rig.with(2, |apics, cx| apics.read_msr(cx, 0x802)).unwrap(), 2);
    send(&mut rig, 1, 2, 0x4043);
    assert_eq!(rig.waiting(0x43), [2]);
}
