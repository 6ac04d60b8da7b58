//! A test bench: time, wires and RAM for one device, and no CPU.

use std::sync::Arc;

use trine_guest::{Ram, VmTime};

use crate::{Backplane, Cx, Device, Signal};

/// What a device is tested on.
pub struct Bench {
    /// The bench's clock.
    pub now: VmTime,
    /// The bench's RAM: 1 MiB at 0.
    pub ram: Arc<Ram>,
    /// What the device says.
    pub backplane: Backplane,
}

impl Bench {
    /// A bench at time 0.
    ///
    /// # Panics
    /// If the host has not a MiB of memory.
    #[must_use]
    pub fn new() -> Self {
        let ram = Ram::flat(1 << 20).expect("the host has a MiB of memory");
        Self { now: VmTime::ZERO, ram: Arc::new(ram), backplane: Backplane::default() }
    }

    /// Calls `f` with what a device is lent now, as vCPU 0.
    pub fn with<R>(&mut self, f: impl FnOnce(&mut Cx<'_>) -> R) -> R {
        f(&mut Cx { now: self.now, ram: &self.ram, vcpu: 0 })
    }

    /// IN from register `reg`, of `N` bytes.
    ///
    /// # Panics
    /// If the device has no ports.
    pub fn port_in<const N: usize>(&mut self, device: &mut dyn Device, reg: u16) -> [u8; N] {
        let mut data = [0xff; N];
        let ports = device.as_ports().expect("the device has ports");
        self.with(|cx| ports.port_in(cx, reg, &mut data));
        data
    }

    /// OUT of one byte to register `reg`.
    ///
    /// # Panics
    /// If the device has no ports.
    pub fn port_out(&mut self, device: &mut dyn Device, reg: u16, value: u8) {
        let ports = device.as_ports().expect("the device has ports");
        self.with(|cx| ports.port_out(cx, reg, &[value]));
    }

    /// Moves time `ns` on, stopping at each event of the device.
    ///
    /// # Panics
    /// If the device has no clockwork, or asks to be woken without end at one point of time.
    pub fn run_ns(&mut self, device: &mut dyn Device, ns: u64) {
        let end = self.now.after_ns(ns);
        let mut stalls = 0;
        loop {
            let timed = device.as_timed().expect("the device has clockwork");
            let Some(at) = timed.next_event().filter(|at| *at <= end) else { break };
            stalls = if at <= self.now { stalls + 1 } else { 0 };
            assert!(stalls < 1000, "{} is stuck at {}", device.name(), self.now);
            self.now = self.now.max(at);
            let timed = device.as_timed().expect("the device has clockwork");
            timed.advance(&mut Cx { now: self.now, ram: &self.ram, vcpu: 0 });
        }
        self.now = end;
    }

    /// Everything said since the last call.
    pub fn said(&mut self) -> Vec<Signal> {
        std::iter::from_fn(|| self.backplane.take()).collect()
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}
