//! IA32_APIC_BASE and x2APIC mode (SDM sections 11.4.3 and 11.12).

use super::*;

const DISABLED: u64 = 0xfee0_0100;
const XAPIC: u64 = 0xfee0_0900;
const INVALID: u64 = 0xfee0_0500;
const X2APIC: u64 = 0xfee0_0d00;

fn set_base(rig: &mut Rig, vcpu: u32, value: u64) -> Result<(), Gp> {
    rig.with(vcpu, |apics, cx| apics.set_apic_base(cx, value))
}

fn wrmsr(rig: &mut Rig, vcpu: u32, msr: u32, value: u64) -> Result<(), Gp> {
    rig.with(vcpu, |apics, cx| apics.write_msr(cx, msr, value))
}

fn rdmsr(rig: &mut Rig, vcpu: u32, msr: u32) -> Result<u64, Gp> {
    rig.with(vcpu, |apics, cx| apics.read_msr(cx, msr))
}

/// `vcpus` local APICs in x2APIC mode, software-enabled.
fn x2apics(vcpus: u32) -> Rig {
    let mut rig = Rig::cold(vcpus);
    for vcpu in 0..vcpus {
        let base = rig.apics.apic_base(vcpu) | 1 << 10;
        set_base(&mut rig, vcpu, base).expect("xAPIC to x2APIC");
        wrmsr(&mut rig, vcpu, 0x80f, 0x1ff).expect("SVR");
    }
    rig
}

#[test]
fn mode_transitions() {
    let path = |steps: &[u64]| {
        let mut rig = Rig::cold(1);
        let (last, first) = steps.split_last().expect("a path");
        for step in first {
            set_base(&mut rig, 0, *step).expect("legal so far");
        }
        set_base(&mut rig, 0, *last)
    };
    for (steps, expected) in [
        (&[XAPIC][..], Ok(())),
        (&[DISABLED], Ok(())),
        (&[X2APIC], Ok(())),
        (&[INVALID], Err(Gp)),
        (&[X2APIC, X2APIC], Ok(())),
        (&[X2APIC, XAPIC], Err(Gp)),
        (&[X2APIC, INVALID], Err(Gp)),
        (&[X2APIC, DISABLED], Ok(())),
        (&[DISABLED, DISABLED], Ok(())),
        (&[DISABLED, XAPIC], Ok(())),
        (&[DISABLED, X2APIC], Err(Gp)),
        (&[DISABLED, INVALID], Err(Gp)),
        (&[XAPIC | 1], Err(Gp)),
        (&[XAPIC | 1 << 9], Err(Gp)),
        (&[XAPIC | 1 << 52], Err(Gp)),
        (&[0x7_1234_5900], Ok(())),
    ] {
        assert_eq!(path(steps), expected, "{steps:x?}");
    }
}

#[test]
fn disabling_loses_the_registers() {
    let mut rig = Rig::new(1);
    rig.interrupt(0, 0x41);
    set_base(&mut rig, 0, DISABLED).expect("legal");
    assert!(!rig.apics.pending(0));
    set_base(&mut rig, 0, XAPIC).expect("legal");
    assert_eq!((rig.read(0, SVR), rig.vectors(0, IRR)), (0xff, vec![]));
}

#[test]
fn each_mode_has_its_own_interface() {
    let mut rig = Rig::new(1);
    assert_eq!(rdmsr(&mut rig, 0, 0x803), Err(Gp));
    assert_eq!(wrmsr(&mut rig, 0, 0x80b, 0), Err(Gp));
    rig.interrupt(0, 0x41);
    set_base(&mut rig, 0, X2APIC).expect("legal");
    assert_eq!(rig.read(0, VERSION), 0xffff_ffff);
    rig.write(0, TPR, 0x50);
    assert_eq!(rdmsr(&mut rig, 0, 0x808), Ok(0));
    assert_eq!(rdmsr(&mut rig, 0, 0x803), Ok(0x0105_0014));
    assert_eq!(rdmsr(&mut rig, 0, 0x822), Ok(2), "interrupts that wait are kept");
    assert_eq!(rdmsr(&mut rig, 0, 0x80f), Ok(0x1ff));
    assert_eq!(rig.acknowledge(0), Ack::Vector(0x41));
    assert_eq!(rdmsr(&mut rig, 0, 0x80a), Ok(0x40));
    assert_eq!(wrmsr(&mut rig, 0, 0x80b, 1), Err(Gp));
    assert_eq!(wrmsr(&mut rig, 0, 0x80b, 0), Ok(()));
    assert_eq!(rdmsr(&mut rig, 0, 0x80a), Ok(0));
}

#[test]
fn every_msr_reads_and_writes_as_table_11_6_says() {
    let mut rig = x2apics(1);
    let lvt = [0x832, 0x833, 0x834, 0x835, 0x836, 0x837];
    for msr in 0x800..=0x8ff {
        let (read, write) = match msr {
            0x802 | 0x803 | 0x80a | 0x80d | 0x810..=0x827 | 0x839 => (true, false),
            0x808 | 0x80f | 0x828 | 0x830 | 0x838 | 0x83e => (true, true),
            0x80b | 0x83f => (false, true),
            _ => (lvt.contains(&msr), lvt.contains(&msr)),
        };
        assert_eq!(rdmsr(&mut rig, 0, msr).is_ok(), read, "RDMSR {msr:#x}");
        assert_eq!(wrmsr(&mut rig, 0, msr, 0).is_ok(), write, "WRMSR {msr:#x}");
        if msr != 0x830 {
            assert_eq!(wrmsr(&mut rig, 0, msr, 1 << 32), Err(Gp), "bit 32 of {msr:#x}");
        }
    }
    for (msr, value) in [
        (0x808, 0x100),
        (0x80f, 0x2000),
        (0x828, 1),
        (0x830, 1 << 12),
        (0x830, 1 << 13),
        (0x830, 1 << 20),
        (0x832, 1 << 19),
        (0x832, 0x100),
        (0x834, 1 << 15),
        (0x837, 0x400),
        (0x83e, 4),
        (0x83f, 0x100),
    ] {
        assert_eq!(wrmsr(&mut rig, 0, msr, value), Err(Gp), "{value:#x} to {msr:#x}");
    }
}

#[test]
fn logical_ids_follow_from_the_ids() {
    let mut rig = x2apics(20);
    assert_eq!(rdmsr(&mut rig, 19, 0x802), Ok(19));
    assert_eq!(rdmsr(&mut rig, 19, 0x80d), Ok(0x1_0008));
    assert_eq!(rdmsr(&mut rig, 5, 0x80d), Ok(0x20));
    wrmsr(&mut rig, 0, 0x830, 0x1_000a_0000_4841).expect("ICR");
    assert_eq!(rig.waiting(0x41), [17, 19]);
    assert_eq!(rdmsr(&mut rig, 0, 0x830), Ok(0x1_000a_0000_4841));
    wrmsr(&mut rig, 0, 0x830, 0x12_0000_4042).expect("ICR");
    assert_eq!(rig.waiting(0x42), [18]);
    wrmsr(&mut rig, 0, 0x830, 0xffff_ffff_0000_4843).expect("ICR");
    assert_eq!(rig.waiting(0x43).len(), 20);
    // FFh is an ID like others here.
    wrmsr(&mut rig, 0, 0x830, 0xff_0000_4044).expect("ICR");
    assert_eq!(rig.waiting(0x44).len(), 0);
    // An I/O APIC's logical 8 bits are those of cluster 0.
    let low = Destination::from_byte(0b11, true);
    rig.deliver(low, DeliveryMode::Fixed, 0x45, TriggerMode::Edge);
    assert_eq!(rig.waiting(0x45), [0, 1]);
    let all = Destination::from_byte(0xff, false);
    rig.deliver(all, DeliveryMode::Fixed, 0x46, TriggerMode::Edge);
    assert_eq!(rig.waiting(0x46).len(), 20);
}

#[test]
fn self_ipi() {
    let mut rig = x2apics(2);
    wrmsr(&mut rig, 1, 0x83f, 0x41).expect("SELF IPI");
    assert_eq!(rig.waiting(0x41), [1]);
    wrmsr(&mut rig, 1, 0x83f, 0x0f).expect("SELF IPI");
    wrmsr(&mut rig, 1, 0x828, 0).expect("ESR");
    assert_eq!(rdmsr(&mut rig, 1, 0x828), Ok(0x20));
}

#[test]
fn x2apic_mode_survives_an_init() {
    let mut rig = x2apics(2);
    wrmsr(&mut rig, 0, 0x830, 0x1_0000_4500).expect("INIT");
    assert!(rig.said().contains(&cpu(1, CpuSignal::Init)));
    assert_eq!(rdmsr(&mut rig, 1, 0x80f), Ok(0xff));
    // A processor in xAPIC mode is reached from x2APIC mode.
    let mut mixed = Rig::cold(2);
    set_base(&mut mixed, 0, X2APIC).expect("legal");
    wrmsr(&mut mixed, 0, 0x830, 0x1_0000_4607).expect("SIPI");
    assert_eq!(mixed.said(), [cpu(1, CpuSignal::Startup(7))]);
}
