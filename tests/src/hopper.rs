//! An engine that is several: its guest moves from one to the next every few instructions.
//!
//! Whatever a test says of an engine must be true of it as well. Where it is not, a `CpuState` does
//! not hold all that a CPU is, or `set_state` leaves something of what was there before.

use std::{
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use trine_engine::{
    Access, Budget, Bus, CpuModel, CpuState, Engine, EngineError, Exit, Kicker, Limits, MsrFault,
    Pins, Stats, Vcpu,
};
use trine_guest::{Gpa, VmTime};

/// After how many instructions the guest moves, in turn.
const STEPS: [u64; 4] = [1, 2, 3, 7];

/// Engines over the same RAM that share a guest. For one vCPU: engines that run at the same time
/// know nothing of each other's code.
pub struct Hopper(Vec<Box<dyn Engine>>);

impl Hopper {
    /// The guest begins on the first of `engines`.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn new(engines: Vec<Box<dyn Engine>>) -> Self {
        assert!(!engines.is_empty(), "somebody has to run it");
        Self(engines)
    }
}

impl Engine for Hopper {
    fn name(&self) -> &'static str {
        "hopper"
    }

    fn limits(&self) -> Limits {
        Limits { counts_instructions: true, deterministic: true }
    }

    fn create_vcpu(
        &self,
        id: u32,
        model: &CpuModel,
        bus: Arc<dyn Bus>,
    ) -> Result<Box<dyn Vcpu>, EngineError> {
        let bus = Arc::new(Counted { bus, before: AtomicU64::new(0) });
        let create = |engine: &dyn Engine| engine.create_vcpu(id, model, bus.clone());
        let vcpus = self.0.iter().map(|e| create(e.as_ref())).collect::<Result<_, _>>()?;
        Ok(Box::new(HoppingVcpu { vcpus, bus, present: 0, hops: 0, kicker: Kicker::default() }))
    }
}

struct HoppingVcpu {
    vcpus: Vec<Box<dyn Vcpu>>,
    bus: Arc<Counted>,
    /// Which of them has the guest.
    present: usize,
    hops: usize,
    kicker: Kicker,
}

impl HoppingVcpu {
    fn vcpu(&self) -> &dyn Vcpu {
        self.vcpus[self.present].as_ref()
    }

    /// Moves the guest to the next engine.
    fn hop(&mut self) -> Result<(), EngineError> {
        let retired = self.retired();
        let state = self.vcpus[self.present].state()?;
        self.present = (self.present + 1) % self.vcpus.len();
        self.hops += 1;
        self.vcpus[self.present].set_state(&state)?;
        let before = retired.wrapping_sub(self.vcpu().retired());
        self.bus.before.store(before, Ordering::Relaxed);
        Ok(())
    }

    fn is_over(&self, budget: Budget, start: u64) -> bool {
        match budget {
            Budget::Instructions(n) => self.retired() - start >= n.get(),
            Budget::Until(time) => {
                let by = Access { vcpu: 0, retired: self.vcpu().retired() };
                self.bus.now(by) >= time
            }
            Budget::Unlimited => false,
        }
    }
}

impl Vcpu for HoppingVcpu {
    fn run(&mut self, budget: Budget) -> Result<Exit, EngineError> {
        let start = self.retired();
        loop {
            let mut step = STEPS[self.hops % STEPS.len()];
            if let Budget::Instructions(n) = budget {
                step = step.min(n.get() - (self.retired() - start));
            }
            if self.kicker.is_raised() {
                if self.kicker.take() {
                    return Ok(Exit::Kicked);
                }
                self.vcpu().kicker().kick();
            }
            let step = NonZeroU64::new(step).unwrap_or(NonZeroU64::MIN);
            let exit = self.vcpus[self.present].run(Budget::Instructions(step))?;
            self.hop()?;
            if exit != Exit::Budget || self.is_over(budget, start) {
                return Ok(exit);
            }
        }
    }

    fn state(&mut self) -> Result<CpuState, EngineError> {
        self.vcpus[self.present].state()
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), EngineError> {
        self.vcpus[self.present].set_state(state)
    }

    fn kicker(&self) -> Kicker {
        self.kicker.clone()
    }

    fn ram_changed(&mut self, at: Gpa, len: u64) {
        self.vcpus.iter_mut().for_each(|vcpu| vcpu.ram_changed(at, len));
    }

    fn retired(&self) -> u64 {
        self.bus.before.load(Ordering::Relaxed).wrapping_add(self.vcpu().retired())
    }

    fn stats(&self) -> Stats {
        self.vcpus.iter().map(|vcpu| vcpu.stats()).fold(Stats::default(), Stats::plus)
    }
}

/// The bus of all of them: hears counts that go on.
struct Counted {
    bus: Arc<dyn Bus>,
    /// What the present engine's count lacks.
    before: AtomicU64,
}

impl Counted {
    fn of(&self, by: Access) -> Access {
        let before = self.before.load(Ordering::Relaxed);
        Access { retired: before.wrapping_add(by.retired), ..by }
    }
}

impl Bus for Counted {
    fn mmio_read(&self, by: Access, at: Gpa, data: &mut [u8]) {
        self.bus.mmio_read(self.of(by), at, data);
    }
    fn mmio_write(&self, by: Access, at: Gpa, data: &[u8]) {
        self.bus.mmio_write(self.of(by), at, data);
    }
    fn port_in(&self, by: Access, port: u16, data: &mut [u8]) {
        self.bus.port_in(self.of(by), port, data);
    }
    fn port_out(&self, by: Access, port: u16, data: &[u8]) {
        self.bus.port_out(self.of(by), port, data);
    }
    fn read_msr(&self, by: Access, msr: u32) -> Result<u64, MsrFault> {
        self.bus.read_msr(self.of(by), msr)
    }
    fn write_msr(
        &self,
        by: Access,
        msr: u32,
        value: u64,
        deadline: Option<VmTime>,
    ) -> Result<(), MsrFault> {
        self.bus.write_msr(self.of(by), msr, value, deadline)
    }
    fn task_priority(&self, by: Access) -> u8 {
        self.bus.task_priority(self.of(by))
    }
    fn set_task_priority(&self, by: Access, priority: u8) {
        self.bus.set_task_priority(self.of(by), priority);
    }
    fn pins(&self, by: Access) -> Pins {
        self.bus.pins(self.of(by))
    }
    fn acknowledge_interrupt(&self, by: Access) -> Option<u8> {
        self.bus.acknowledge_interrupt(self.of(by))
    }
    fn random(&self, by: Access) -> u64 {
        self.bus.random(self.of(by))
    }
    fn send_interrupt(&self, by: Access, apic_id: u32, icr: u32) -> bool {
        self.bus.send_interrupt(self.of(by), apic_id, icr)
    }
    fn now(&self, by: Access) -> VmTime {
        self.bus.now(self.of(by))
    }
}
