//! Random treatment, and states that no local APIC can have.

use serde_json::json;

use super::*;
use crate::stress::{Random, Subject, stress};

pub(super) const VCPUS: u32 = 3;

pub(super) fn other(apics: &mut LocalApics, cx: &mut Cx<'_>, random: &mut Random) {
    let vcpu = random.below(u64::from(VCPUS)) as u32;
    let (word, shift) = (random.next(), random.below(64));
    match random.below(14) {
        0..=3 => {
            let promised = apics.pending(cx.vcpu) && !apics.state.apics[cx.vcpu as usize].has_offer;
            let ack = apics.acknowledge(cx);
            assert!(!promised || ack != Ack::None);
        }
        4 => {
            // Mostly enabled, and mostly legal.
            let base = apics.apic_base(cx.vcpu);
            let _ = apics.set_apic_base(cx, base ^ 0x400 << random.below(2) | 0x100);
        }
        5 => {
            let _ = apics.write_msr(cx, 0x800 + random.below(0x40) as u32, word >> shift);
        }
        6 => {
            let _ = apics.read_msr(cx, 0x7f0 + random.below(0x120) as u32);
        }
        7 => apics.write_tsc_deadline(cx, word >> shift, VmTime(word >> 20)),
        8 => apics.set_tpr(cx, (word >> 8) as u8 & 0x3f),
        9 => apics.local_interrupt(cx, vcpu, LocalSource::Thermal),
        // Mostly enabled, seldom at a good address.
        10 => {
            let at = if word & 1 == 0 { u64::from(vcpu) << 12 } else { word >> shift };
            let _ = apics.set_pv_eoi(cx, at | 1);
        }
        // The guest ends an interrupt in memory, or plays with the byte.
        11 => {
            cx.ram.store(u64::from(vcpu) << 12, (word >> shift) as u8 & 1);
        }
        12 => {
            let address = 0xfee0_0000 | word & 0xf_f00c;
            if let Some(message) = msi_message(address, (word >> 32) as u32 & 0xc7ff) {
                apics.deliver(cx, message);
            }
        }
        _ => {
            let svr = 0x100 | (word >> 8) as u32 & 0x10ff;
            apics.mmio_write(cx, SVR, &svr.to_le_bytes());
        }
    }
    assert_eq!(apics.pending(vcpu), apics.state.apics[vcpu as usize].interrupt());
}

#[test]
fn random_treatment() {
    for (seed, hz) in [(1, 1_000_000_000), (2, 999_999_937), (3, 100_000_000), (4, 3)] {
        treat(seed, hz, 20_000);
    }
}

#[test]
#[ignore = "takes minutes"]
fn a_million_random_accesses() {
    treat(0xa1c, 1_000_000_000, 1_000_000);
}

fn treat(seed: u64, hz: u64, steps: u32) {
    let fresh = |bench: &Bench| LocalApics::new(bench.backplane.clone(), VCPUS, hz);
    let pins = VCPUS as u16 * 2;
    stress(Subject { fresh, window: WINDOW, pins, vcpus: VCPUS, other }, seed, steps);
}

#[test]
fn signals_follow_the_pin_level() {
    let mut rig = Rig::new(VCPUS);
    let mut random = Random::new(5);
    let mut levels = [false; VCPUS as usize];
    for _ in 0..20_000 {
        rig.bench.now = rig.bench.now.after_ns(random.below(1000));
        let vcpu = random.below(u64::from(VCPUS)) as u32;
        rig.with(vcpu, |apics, cx| other(apics, cx, &mut random));
        for signal in rig.said() {
            if let Signal::Cpu { vcpu, signal: CpuSignal::Interrupt(level) } = signal {
                let old = std::mem::replace(&mut levels[vcpu as usize], level);
                assert_ne!(old, level, "only changes are said");
            }
        }
        assert!((0..VCPUS).all(|vcpu| levels[vcpu as usize] == rig.apics.pending(vcpu)));
    }
}

#[test]
fn impossible_states_are_refused() {
    let mut rig = Rig::new(2);
    rig.write(0, LVT_TIMER, 1 << 17 | 0x40);
    rig.write(0, INITIAL, 100);
    let good = rig.apics.save();
    for (field, value) in [
        ("/turn", json!(2)),
        ("/apics/0/id", json!(1)),
        ("/apics/0/base", json!(0x400)),
        ("/apics/0/base", json!(1)),
        ("/apics/0/format", json!(16)),
        ("/apics/0/svr", json!(0x8000)),
        ("/apics/0/svr", json!(0xff)),
        ("/apics/0/lvt/0", json!(0x80_0000)),
        ("/apics/0/irr/0", json!(1)),
        ("/apics/0/timer/initial", json!(0)),
        ("/apics/0/timer/divide", json!(4)),
        ("/apics/0/timer/next", json!(1)),
        ("/apics/0/timer/next", json!(null)),
        ("/apics/0/timer/tsc_deadline", json!(7)),
        ("/apics/0/lvt/0", json!(2 << 17)),
        ("/apics/0/pv_eoi", json!(2)),
        ("/apics/0/has_offer", json!(true)),
        ("/apics/1", json!({})),
        ("/apics", json!([])),
    ] {
        let mut bad = good.clone();
        *bad.state.pointer_mut(field).expect("a field") = value;
        assert!(rig.apics.load(&bad).is_err(), "{field}");
        assert_eq!(rig.apics.save(), good, "refused and unchanged");
    }
    assert!(rig.apics.load(&good).is_ok());
}
