//! Tests of the local APICs, by the sections of the SDM.

mod destinations;
mod lend;
mod priorities;
mod pv_eoi;
mod random;
mod timers;
mod x2apic;

use super::*;
use crate::Bench;

/// No vectors.
pub(super) const NONE: [u8; 0] = [];

// Offsets in the window.
pub(super) const ID: u64 = 0x20;
pub(super) const VERSION: u64 = 0x30;
pub(super) const TPR: u64 = 0x80;
pub(super) const PPR: u64 = 0xa0;
pub(super) const EOI: u64 = 0xb0;
pub(super) const LDR: u64 = 0xd0;
pub(super) const DFR: u64 = 0xe0;
pub(super) const SVR: u64 = 0xf0;
pub(super) const ISR: u64 = 0x100;
pub(super) const TMR: u64 = 0x180;
pub(super) const IRR: u64 = 0x200;
pub(super) const ESR: u64 = 0x280;
pub(super) const ICR_LOW: u64 = 0x300;
pub(super) const ICR_HIGH: u64 = 0x310;
pub(super) const LVT_TIMER: u64 = 0x320;
pub(super) const LVT_PERFORMANCE: u64 = 0x340;
pub(super) const LVT_LINT0: u64 = 0x350;
pub(super) const LVT_LINT1: u64 = 0x360;
pub(super) const LVT_ERROR: u64 = 0x370;
pub(super) const INITIAL: u64 = 0x380;
pub(super) const CURRENT: u64 = 0x390;
pub(super) const DIVIDE: u64 = 0x3e0;

/// Local APICs on a bench; the vCPU that makes an access is the first argument.
pub(super) struct Rig {
    pub(super) bench: Bench,
    pub(super) apics: LocalApics,
}

impl Rig {
    /// `vcpus` local APICs at 1 GHz, as after power-on.
    pub(super) fn cold(vcpus: u32) -> Self {
        let bench = Bench::new();
        let apics = LocalApics::new(bench.backplane.clone(), vcpus, 1_000_000_000);
        Self { bench, apics }
    }

    /// The same, software-enabled with spurious vector FFh.
    pub(super) fn new(vcpus: u32) -> Self {
        let mut rig = Self::cold(vcpus);
        for vcpu in 0..vcpus {
            rig.write(vcpu, SVR, 0x1ff);
        }
        rig
    }

    pub(super) fn with<R>(
        &mut self,
        vcpu: u32,
        f: impl FnOnce(&mut LocalApics, &mut Cx<'_>) -> R,
    ) -> R {
        let mut cx = Cx { now: self.bench.now, ram: &self.bench.ram, vcpu };
        f(&mut self.apics, &mut cx)
    }

    pub(super) fn read(&mut self, vcpu: u32, offset: u64) -> u32 {
        let mut data = [0xff; 4];
        self.with(vcpu, |apics, cx| apics.mmio_read(cx, offset, &mut data));
        u32::from_le_bytes(data)
    }

    pub(super) fn write(&mut self, vcpu: u32, offset: u64, value: u32) {
        self.with(vcpu, |apics, cx| apics.mmio_write(cx, offset, &value.to_le_bytes()));
    }

    pub(super) fn deliver(
        &mut self,
        destination: Destination,
        delivery: DeliveryMode,
        vector: u8,
        trigger: TriggerMode,
    ) {
        let message = Message { destination, delivery, vector, trigger };
        self.with(0, |apics, cx| apics.deliver(cx, message));
    }

    /// A fixed edge-triggered message to vCPU `to`.
    pub(super) fn interrupt(&mut self, to: u32, vector: u8) {
        let to = Destination::Physical(to);
        self.deliver(to, DeliveryMode::Fixed, vector, TriggerMode::Edge);
    }

    pub(super) fn level(&mut self, to: u32, vector: u8) {
        let to = Destination::Physical(to);
        self.deliver(to, DeliveryMode::Fixed, vector, TriggerMode::Level);
    }

    pub(super) fn pin(&mut self, pin: u16, level: bool) {
        self.with(0, |apics, cx| apics.input(cx, pin, level));
    }

    pub(super) fn acknowledge(&mut self, vcpu: u32) -> Ack {
        self.with(vcpu, LocalApics::acknowledge)
    }

    pub(super) fn eoi(&mut self, vcpu: u32) {
        self.write(vcpu, EOI, 0);
    }

    /// All vectors of the 256-bit register at `offset`.
    pub(super) fn vectors(&mut self, vcpu: u32, offset: u64) -> Vec<u8> {
        let words: Vec<u32> = (0..8).map(|n| self.read(vcpu, offset + n * 16)).collect();
        (0..=255u8).filter(|v| words[usize::from(v / 32)] >> (v % 32) & 1 != 0).collect()
    }

    /// The vCPUs in whose IRR `vector` waits.
    pub(super) fn waiting(&mut self, vector: u8) -> Vec<u32> {
        let vcpus = self.apics.state.apics.len() as u32;
        (0..vcpus).filter(|n| self.apics.state.apics[*n as usize].irr.has(vector)).collect()
    }

    pub(super) fn run_ns(&mut self, ns: u64) {
        self.bench.run_ns(&mut self.apics, ns);
    }

    pub(super) fn said(&mut self) -> Vec<Signal> {
        self.bench.said()
    }
}

/// A signal to a vCPU.
pub(super) fn cpu(vcpu: u32, signal: CpuSignal) -> Signal {
    Signal::Cpu { vcpu, signal }
}
