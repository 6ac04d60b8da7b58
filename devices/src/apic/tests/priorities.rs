//! Registers, priorities, nesting, EOI, errors and the pins (SDM sections 11.4 to 11.9).

use super::*;

#[test]
fn power_on_state_is_that_of_section_11_4_7_1() {
    let mut rig = Rig::cold(2);
    assert_eq!(rig.apics.apic_base(0), 0xfee0_0900);
    assert_eq!(rig.apics.apic_base(1), 0xfee0_0800);
    assert_eq!(rig.read(1, ID), 0x0100_0000);
    assert_eq!(rig.read(0, VERSION), 0x0105_0014);
    assert_eq!(rig.read(0, SVR), 0xff);
    assert_eq!(rig.read(0, DFR), 0xffff_ffff);
    for entry in [0x320, 0x330, 0x340, 0x350, 0x360, 0x370] {
        assert_eq!(rig.read(0, entry), 0x1_0000, "LVT entry at {entry:#x}");
    }
    for zero in [TPR, PPR, LDR, ESR, ICR_LOW, ICR_HIGH, INITIAL, CURRENT, DIVIDE] {
        assert_eq!(rig.read(0, zero), 0, "register at {zero:#x}");
    }
    assert_eq!(rig.said(), []);
}

#[test]
fn a_higher_interrupt_nests_and_a_lower_one_waits() {
    let mut rig = Rig::new(1);
    rig.interrupt(0, 0x41);
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Interrupt(true))]);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Interrupt(false))]);
    assert_eq!(rig.read(0, PPR), 0x40);

    // The same class waits, a higher one nests.
    rig.interrupt(0, 0x4f);
    assert!(!rig.apics.pending(0));
    rig.interrupt(0, 0x61);
    assert!(rig.apics.pending(0));
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x61));
    assert_eq!(rig.vectors(0, ISR), [0x41, 0x61]);
    assert_eq!(rig.vectors(0, IRR), [0x4f]);

    // EOI ends the highest in service.
    rig.eoi(0);
    assert_eq!(rig.vectors(0, ISR), [0x41]);
    assert!(!rig.apics.pending(0));
    rig.eoi(0);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x4f));
    rig.eoi(0);
    assert_eq!(rig.vectors(0, ISR), NONE);
    assert_eq!(rig.acknowledge(0), Ack::None);
}

#[test]
fn task_priority_holds_back_its_class_and_those_below() {
    let mut rig = Rig::new(1);
    rig.write(0, TPR, 0x45);
    assert_eq!(rig.read(0, PPR), 0x45);
    rig.interrupt(0, 0x4f);
    assert!(!rig.apics.pending(0));
    rig.interrupt(0, 0x50);
    assert!(rig.apics.pending(0));
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x50));
    assert_eq!(rig.read(0, PPR), 0x50);
    rig.eoi(0);
    // CR8 is another way to the same register.
    assert_eq!(rig.apics.tpr(0), 0x45);
    rig.said();
    rig.with(0, |apics, cx| apics.set_tpr(cx, 0x30));
    assert_eq!(rig.read(0, TPR), 0x30);
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Interrupt(true))]);
    // Raising it again takes the request back.
    rig.with(0, |apics, cx| apics.set_tpr(cx, 0xf0));
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Interrupt(false))]);
}

#[test]
fn an_acknowledge_that_the_task_priority_overtook_is_spurious() {
    let mut rig = Rig::new(1);
    rig.write(0, SVR, 0x1ef);
    rig.interrupt(0, 0x31);
    rig.write(0, TPR, 0x40);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0xef));
    assert_eq!(rig.vectors(0, ISR), NONE, "a spurious interrupt is never in service");
    rig.write(0, TPR, 0);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x31));
}

#[test]
fn the_end_of_a_level_triggered_interrupt_is_broadcast() {
    let mut rig = Rig::new(1);
    rig.level(0, 0x51);
    assert_eq!(rig.vectors(0, TMR), [0x51]);
    rig.interrupt(0, 0x61);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x61));
    rig.said();
    rig.eoi(0);
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Interrupt(true))], "no broadcast for an edge");
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x51));
    rig.said();
    rig.eoi(0);
    assert_eq!(rig.said(), [Signal::EndOfInterrupt(0x51)]);

    // Suppressed by bit 12 of the SVR.
    rig.write(0, SVR, 0x11ff);
    rig.level(0, 0x51);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x51));
    rig.said();
    rig.eoi(0);
    assert_eq!(rig.said(), []);

    // The next edge with that vector is an edge.
    rig.write(0, SVR, 0x1ff);
    rig.interrupt(0, 0x51);
    assert_eq!(rig.vectors(0, TMR), NONE);
}

#[test]
fn software_disabling_masks_the_lvt_and_refuses_fixed_interrupts() {
    let mut rig = Rig::new(1);
    rig.write(0, LVT_TIMER, 0x31);
    rig.interrupt(0, 0x41);
    rig.write(0, SVR, 0xff);
    assert_eq!(rig.read(0, LVT_TIMER), 0x1_0031);
    rig.write(0, LVT_ERROR, 0x32);
    assert_eq!(rig.read(0, LVT_ERROR), 0x1_0032, "the mask cannot be cleared");
    rig.interrupt(0, 0x51);
    assert_eq!(rig.vectors(0, IRR), [0x41], "what waits is held, nothing is added");
    rig.said();
    let me = Destination::Physical(0);
    rig.deliver(me, DeliveryMode::Nmi, 0, TriggerMode::Edge);
    rig.deliver(me, DeliveryMode::Smi, 0, TriggerMode::Edge);
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Nmi), cpu(0, CpuSignal::Smi)]);
    rig.write(0, SVR, 0x1ff);
    assert_eq!(rig.read(0, LVT_TIMER), 0x1_0031, "enabling unmasks nothing");
}

#[test]
fn illegal_vectors_and_registers_are_errors() {
    let mut rig = Rig::new(1);
    rig.write(0, LVT_ERROR, 0x33);
    rig.interrupt(0, 0x0f);
    assert_eq!(rig.read(0, ESR), 0, "the register shows errors after a write to it");
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x33));
    rig.eoi(0);
    // Not raised again until the register is written.
    rig.write(0, ICR_LOW, 0x0005);
    assert_eq!(rig.acknowledge(0), Ack::None);
    rig.write(0, ESR, 0);
    assert_eq!(rig.read(0, ESR), 0x60, "receive and send illegal vector");
    assert_eq!(rig.read(0, 0x40), 0, "a reserved register");
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x33));
    rig.write(0, ESR, 0);
    assert_eq!(rig.read(0, ESR), 0x80);
    rig.write(0, ESR, 0);
    assert_eq!(rig.read(0, ESR), 0);
    // An error interrupt whose own vector is illegal ends there.
    rig.write(0, LVT_ERROR, 0x01);
    rig.read(0, 0x3f0);
    rig.write(0, ESR, 0);
    assert_eq!(rig.read(0, ESR), 0xc0);
}

#[test]
fn only_aligned_32_bit_stores_write() {
    let mut rig = Rig::new(1);
    for (offset, data) in [(TPR, &[0x50][..]), (TPR, &[0x50; 8]), (TPR + 4, &[0x50; 4])] {
        rig.with(0, |apics, cx| apics.mmio_write(cx, offset, data));
        assert_eq!(rig.read(0, TPR), 0);
    }
    let mut data = [0xff; 2];
    rig.with(0, |apics, cx| apics.mmio_read(cx, VERSION + 2, &mut data));
    assert_eq!(data, [5, 1]);
    // Read-only registers stay, and that is no error.
    rig.write(0, VERSION, 0);
    rig.write(0, ISR, !0);
    rig.write(0, ESR, 0);
    assert_eq!((rig.read(0, ISR), rig.read(0, ESR)), (0, 0));
}

#[test]
fn a_globally_disabled_apic_leaves_the_pins_to_the_8259_and_nmi() {
    let mut rig = Rig::cold(1);
    rig.with(0, |apics, cx| apics.set_apic_base(cx, 0xfee0_0100)).expect("legal");
    assert_eq!(rig.read(0, VERSION), 0xffff_ffff, "nothing answers in the window");
    rig.pin(0, true);
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Interrupt(true))]);
    assert_eq!(rig.acknowledge(0), Ack::ExtInt);
    assert!(rig.apics.pending(0), "the 8259 decides when its pin falls");
    rig.pin(0, false);
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Interrupt(false))]);
    assert_eq!(rig.acknowledge(0), Ack::None);
    rig.pin(1, true);
    rig.pin(1, false);
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Nmi)]);
    rig.interrupt(0, 0x41);
    assert!(!rig.apics.pending(0), "messages do not reach it");
}

#[test]
fn virtual_wire_mode_passes_the_8259_through() {
    let mut rig = Rig::cold(2);
    rig.pin(0, true);
    assert!(!rig.apics.pending(0), "LINT0 is masked after a reset");
    rig.with(0, |apics, cx| apics.virtual_wire(cx, 0));
    assert!(rig.apics.pending(0), "the pin is a level");
    // Priorities have no say in it.
    rig.write(0, TPR, 0xff);
    assert_eq!(rig.acknowledge(0), Ack::ExtInt);
    rig.pin(0, false);
    assert!(!rig.apics.pending(0));
    rig.said();
    rig.pin(1, true);
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Nmi)]);
    rig.pin(2, true);
    assert!(!rig.apics.pending(1));
}

#[test]
fn an_apic_interrupt_comes_before_the_8259() {
    let mut rig = Rig::cold(1);
    rig.with(0, |apics, cx| apics.virtual_wire(cx, 0));
    rig.pin(0, true);
    rig.interrupt(0, 0x41);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
    assert_eq!(rig.acknowledge(0), Ack::ExtInt);
    // As a message it waits for one acknowledge cycle.
    rig.pin(0, false);
    let me = Destination::Physical(0);
    rig.deliver(me, DeliveryMode::ExtInt, 0, TriggerMode::Edge);
    assert_eq!(rig.acknowledge(0), Ack::ExtInt);
    assert_eq!(rig.acknowledge(0), Ack::None);
}

#[test]
fn local_pins_do_edges_and_levels() {
    let mut rig = Rig::new(1);
    rig.write(0, LVT_LINT1, 0x42);
    rig.pin(1, true);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x42));
    rig.eoi(0);
    assert!(!rig.apics.pending(0), "an edge is over");

    rig.write(0, LVT_LINT0, 0x8052);
    rig.pin(0, true);
    assert_eq!(rig.read(0, LVT_LINT0), 0xc052, "Remote IRR");
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x52));
    rig.eoi(0);
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x52), "still asserted");
    rig.pin(0, false);
    rig.eoi(0);
    assert_eq!(rig.read(0, LVT_LINT0), 0x8052);
    assert!(!rig.apics.pending(0));
    // Masked while it rises, served when unmasked.
    rig.write(0, LVT_LINT0, 0x1_8052);
    rig.pin(0, true);
    assert!(!rig.apics.pending(0));
    rig.write(0, LVT_LINT0, 0x8052);
    assert!(rig.apics.pending(0));
}

#[test]
fn performance_interrupts_mask_themselves() {
    let mut rig = Rig::new(1);
    rig.write(0, LVT_PERFORMANCE, 0x400);
    rig.said();
    for _ in 0..2 {
        rig.with(0, |apics, cx| apics.local_interrupt(cx, 0, LocalSource::Performance));
    }
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Nmi)]);
    assert_eq!(rig.read(0, LVT_PERFORMANCE), 0x1_0400);
}

#[test]
fn init_resets_all_but_the_id_and_the_base() {
    let mut rig = Rig::new(2);
    rig.write(1, LDR, 0x0200_0000);
    rig.write(1, TPR, 0x20);
    rig.interrupt(1, 0x41);
    rig.with(1, |apics, cx| apics.set_apic_base(cx, 0xfee1_0800)).expect("legal");
    rig.said();
    rig.with(0, |apics, cx| apics.init(cx, 1));
    assert_eq!(rig.said(), [cpu(1, CpuSignal::Interrupt(false))]);
    assert_eq!((rig.read(1, SVR), rig.read(1, TPR), rig.read(1, LDR)), (0xff, 0, 0));
    assert_eq!(rig.vectors(1, IRR), NONE);
    assert_eq!(rig.apics.apic_base(1), 0xfee1_0800);
    assert_eq!(rig.read(1, ID), 0x0100_0000);
}

#[test]
fn reset_lowers_the_outputs_and_keeps_the_pins() {
    let mut rig = Rig::new(1);
    rig.pin(0, true);
    rig.interrupt(0, 0x41);
    rig.said();
    rig.with(0, |apics, cx| apics.reset(cx));
    assert_eq!(rig.said(), [cpu(0, CpuSignal::Interrupt(false))]);
    rig.with(0, |apics, cx| apics.virtual_wire(cx, 0));
    assert!(rig.apics.pending(0), "the 8259 still asserts LINT0");
}
