//! An engine that executes scripts instead of instructions, to test a board without a CPU.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use trine_engine::{
    Access, Budget, Bus, CpuModel, CpuState, Engine, EngineError, Exit, Kicker, Limits, Stats, Vcpu,
};
use trine_guest::{Gpa, VmTime};

/// What a scripted vCPU does. Each step is one instruction, if it says nothing else.
#[derive(Clone, Debug)]
pub enum Step {
    /// OUT of so many bytes.
    Out(u16, u32, usize),
    /// IN of so many bytes: noted.
    In(u16, usize),
    /// A store of 32 bits.
    Store(u64, u32),
    /// A load of so many bytes: noted.
    Load(u64, usize),
    /// WRMSR of the TSC deadline; its count is guest time in nanoseconds.
    Deadline(u64),
    /// So many instructions without any effect.
    Work(u64),
    /// HLT with interrupts on: until an interrupt, whose vector is noted.
    Halt,
    /// Waits for a start-up IPI, whose vector is noted.
    AwaitStartup,
    /// Works until the A20 gate is as given.
    AwaitA20Masked(bool),
    /// Bytes from the serial port, as they come: noted.
    ReceiveSerial(usize),
    /// A triple fault.
    TripleFault,
    /// A panic, as of an engine that has an error.
    Panic,
    /// A panic that cannot unwind, as out of a function that translated code calls.
    PanicInCall,
    /// HLT with interrupts off.
    HaltForever,
    /// A jump to itself.
    Spin,
    /// The steps so many times.
    Repeat(usize, Vec<Step>),
}

/// What a scripted vCPU saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// It read this.
    Value(u64),
    /// An interrupt with this vector, at this time.
    Interrupt(u8, VmTime),
    /// A start-up IPI with this vector.
    Startup(u8),
    /// A byte came.
    Byte(u8),
}

/// By vCPU, then by life: a reset of the machine starts the next one.
pub type Scripts = Vec<Vec<Vec<Step>>>;
/// What all vCPUs saw, by vCPU.
pub type Log = Arc<Mutex<Vec<Vec<Seen>>>>;

pub struct Scripted {
    scripts: Scripts,
    log: Log,
}

impl Scripted {
    pub fn engine(scripts: Scripts) -> (Arc<dyn Engine>, Log) {
        let log: Log = Arc::new(Mutex::new(vec![Vec::new(); scripts.len()]));
        (Arc::new(Self { scripts, log: log.clone() }), log)
    }
}

impl Engine for Scripted {
    fn name(&self) -> &'static str {
        "script"
    }

    fn limits(&self) -> Limits {
        Limits { counts_instructions: true, deterministic: true }
    }

    fn create_vcpu(
        &self,
        id: u32,
        _model: &CpuModel,
        bus: Arc<dyn Bus>,
    ) -> Result<Box<dyn Vcpu>, EngineError> {
        let lives = self.scripts.get(id as usize).cloned().unwrap_or_default();
        Ok(Box::new(Actor {
            id,
            bus,
            kicker: Kicker::default(),
            lives: lives.into(),
            steps: VecDeque::new(),
            state: CpuState::default(),
            retired: 0,
            log: self.log.clone(),
        }))
    }
}

struct Actor {
    id: u32,
    bus: Arc<dyn Bus>,
    kicker: Kicker,
    lives: VecDeque<Vec<Step>>,
    steps: VecDeque<Step>,
    state: CpuState,
    retired: u64,
    log: Log,
}

/// What a step comes to.
enum Flow {
    Next,
    Again,
    Stop(Exit),
}

impl Actor {
    fn by(&self) -> Access {
        Access { vcpu: self.id, retired: self.retired }
    }

    fn note(&self, seen: Seen) {
        self.log.lock().expect("no panic")[self.id as usize].push(seen);
    }

    /// A load of `len` bytes, as a number.
    fn value(data: &[u8]) -> u64 {
        data.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    fn perform(&mut self, step: &Step, left: u64) -> Flow {
        let by = self.by();
        match step {
            Step::Out(port, value, len) => {
                self.bus.port_out(by, *port, &value.to_le_bytes()[..*len]);
            }
            Step::In(port, len) => {
                let mut data = [0; 4];
                self.bus.port_in(by, *port, &mut data[..*len]);
                self.note(Seen::Value(Self::value(&data[..*len])));
            }
            Step::Store(at, value) => self.bus.mmio_write(by, Gpa(*at), &value.to_le_bytes()),
            Step::Load(at, len) => {
                let mut data = [0; 8];
                self.bus.mmio_read(by, Gpa(*at), &mut data[..*len]);
                self.note(Seen::Value(Self::value(&data[..*len])));
            }
            Step::Deadline(at) => {
                let wrote = self.bus.write_msr(by, 0x6e0, *at, Some(VmTime(*at)));
                wrote.expect("there is a deadline timer");
            }
            Step::Work(count) => {
                let now = (*count).min(left);
                self.retired += now - 1;
                if *count > now {
                    self.steps.push_front(Step::Work(count - now));
                }
            }
            Step::Repeat(count, steps) => {
                if *count > 1 {
                    self.steps.push_front(Step::Repeat(count - 1, steps.clone()));
                }
                for step in steps.iter().rev() {
                    self.steps.push_front(step.clone());
                }
            }
            Step::Spin => return Flow::Again,
            Step::HaltForever => return Flow::Stop(Exit::Halted),
            Step::Panic => panic!("this panic is part of a test"),
            Step::PanicInCall => called(),
            Step::TripleFault => {
                return Flow::Stop(Exit::TripleFault(Box::default()));
            }
            Step::ReceiveSerial(count) => {
                let mut data = [0];
                self.bus.port_in(by, 0x3fd, &mut data);
                if data[0] & 1 == 0 {
                    return Flow::Again;
                }
                self.bus.port_in(by, 0x3f8, &mut data);
                self.note(Seen::Byte(data[0]));
                if *count > 1 {
                    self.steps.push_front(Step::ReceiveSerial(count - 1));
                }
            }
            Step::Halt | Step::AwaitStartup | Step::AwaitA20Masked(_) => {
                return self.await_pin(step);
            }
        }
        Flow::Next
    }

    fn await_pin(&mut self, step: &Step) -> Flow {
        let pins = self.bus.pins(self.by());
        match step {
            Step::AwaitA20Masked(masked) if pins.a20_masked == *masked => Flow::Next,
            Step::AwaitA20Masked(_) => Flow::Again,
            Step::AwaitStartup => match pins.startup {
                Some(vector) => {
                    self.note(Seen::Startup(vector));
                    Flow::Next
                }
                None => Flow::Stop(Exit::Halted),
            },
            _ if pins.interrupt => match self.bus.acknowledge_interrupt(self.by()) {
                Some(vector) => {
                    let now = self.bus.now(self.by());
                    self.note(Seen::Interrupt(vector, now));
                    Flow::Next
                }
                None => Flow::Stop(Exit::Halted),
            },
            _ => Flow::Stop(Exit::Halted),
        }
    }
}

extern "C" fn called() {
    panic!("this panic is part of a test");
}

impl Vcpu for Actor {
    fn run(&mut self, budget: Budget) -> Result<Exit, EngineError> {
        let end = match budget {
            Budget::Instructions(n) => self.retired.saturating_add(n.get()),
            Budget::Until(_) | Budget::Unlimited => u64::MAX,
        };
        loop {
            if self.kicker.is_raised() && self.kicker.take() {
                return Ok(Exit::Kicked);
            }
            if self.retired >= end {
                return Ok(Exit::Budget);
            }
            let step = self.steps.pop_front().unwrap_or(Step::HaltForever);
            match self.perform(&step, end - self.retired) {
                Flow::Next => self.retired += 1,
                Flow::Again => {
                    self.retired += 1;
                    self.steps.push_front(step);
                }
                Flow::Stop(exit) => {
                    if exit == Exit::Halted {
                        self.steps.push_front(step);
                    }
                    return Ok(exit);
                }
            }
        }
    }

    fn state(&mut self) -> Result<CpuState, EngineError> {
        Ok(self.state.clone())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), EngineError> {
        self.state = state.clone();
        self.steps = self.lives.pop_front().unwrap_or_default().into();
        Ok(())
    }

    fn kicker(&self) -> Kicker {
        self.kicker.clone()
    }

    fn ram_changed(&mut self, _at: Gpa, _len: u64) {}

    fn retired(&self) -> u64 {
        self.retired
    }

    fn stats(&self) -> Stats {
        Stats { instructions: self.retired, ..Stats::default() }
    }
}
