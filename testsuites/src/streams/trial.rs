//! Runs a stream and keeps what came out: the whole state, all of RAM, how many instructions were
//! retired, and everything that the bus saw.

use std::{
    cell::Cell,
    num::NonZeroU64,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
};

use trine_engine::{Access, Budget, Bus, CpuModel, CpuState, Engine, Exit, MsrFault, Pins, Vcpu};
use trine_guest::{Gpa, Ram, VmTime};
use trine_x86::{cr0, efer, rflags};

use super::world::{CODE, CODE_END, RAM_BYTES};
use crate::{
    Candidate,
    noise::{Noise, mix},
};

const PAGE: u64 = 0x1000;

/// How to run a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// As far as the next event at once.
    Whole,
    /// One instruction after the other.
    Single,
}

/// What happens from outside, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// Instructions up to an event, and the event.
    pub parts: Vec<(u64, Event)>,
}

/// Something that a device does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Nothing.
    Nothing,
    /// It asks for an interrupt with this vector.
    Interrupt(u8),
    /// It pulls NMI.
    Nmi,
}

impl Schedule {
    /// A random one.
    pub fn new(noise: &mut Noise) -> Self {
        let mut parts = Vec::new();
        for _ in 0..2 + noise.below(8) {
            let event = match noise.below(4) {
                0 | 1 => Event::Interrupt(0x20 | noise.byte()),
                2 if noise.once_in(2) => Event::Nmi,
                _ => Event::Nothing,
            };
            parts.push((noise.pick(&[1, 3, 40, 150, 400]) + noise.below(100), event));
        }
        Self { parts }
    }

    /// All its instructions.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|(n, _)| n).sum()
    }
}

/// What came out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Instructions retired.
    pub retired: u64,
    /// The state.
    pub state: CpuState,
    /// Pages that are not as they were at first.
    pub pages: Vec<(u64, Vec<u8>)>,
    /// How each part ended.
    pub exits: Vec<String>,
    /// A digest of everything that the bus was asked, with its times.
    pub bus: u64,
}

/// What streams did, to see that they do a lot: of single steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Streams.
    pub streams: u64,
    /// Instructions.
    pub instructions: u64,
    /// Exceptions.
    pub exceptions: u64,
    /// Interrupts from outside.
    pub interrupts: u64,
    /// Streams that ended in a shutdown.
    pub shutdowns: u64,
    /// Looks at the mode, one for every 16 instructions: real, V86, 16, 32, compatibility, 64.
    pub modes: [u64; 6],
    /// Looks that found CPL 3, and the stream itself (not a handler, nor what is no code).
    pub user: u64,
    /// Looks that found the stream itself (not a handler, nor what is no code).
    pub inside: u64,
}

impl Totals {
    /// Takes note of a state.
    fn look(&mut self, s: &CpuState) {
        let cs = &s.segments.seg[1];
        let mode = match (s.control.cr0 & cr0::PE != 0, s.rflags & rflags::VM != 0) {
            (false, _) => 0,
            (_, true) => 1,
            _ if s.control.efer & efer::LMA != 0 => 4 + (cs.rights >> 13 & 1),
            _ => 2 + (cs.rights >> 14 & 1),
        };
        self.modes[mode as usize] += 1;
        let user = mode != 0 && s.segments.seg[2].rights >> 5 & 3 == 3;
        self.user += u64::from(user);
        let at = cs.base.wrapping_add(s.rip);
        self.inside += u64::from((u64::from(CODE)..u64::from(CODE_END)).contains(&at));
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.instructions += other.instructions;
        self.exceptions += other.exceptions;
        self.interrupts += other.interrupts;
        self.shutdowns += other.shutdowns;
        self.user += other.user;
        self.inside += other.inside;
        for (sum, n) in self.modes.iter_mut().zip(other.modes) {
            *sum += n;
        }
    }
}

/// RAM and an engine, for one stream after the other.
pub struct Trial {
    ram: Arc<Ram>,
    engine: Arc<dyn Engine>,
    model: CpuModel,
    totals: Cell<Totals>,
}

impl Trial {
    /// For the streams of a group.
    ///
    /// # Errors
    /// If the host lacks the memory, or the engine cannot be made or does not count instructions.
    pub fn new(candidate: &Candidate, model: &CpuModel) -> Result<Self, String> {
        let ram = Arc::new(Ram::flat(RAM_BYTES).map_err(|e| e.to_string())?);
        let engine = candidate.engine(ram.clone()).map_err(|e| e.to_string())?;
        if !engine.limits().counts_instructions {
            return Err(format!("{} cannot stop after so many instructions", candidate.name));
        }
        Ok(Self { ram, engine, model: model.clone(), totals: Cell::default() })
    }

    /// Runs `image` from `state` for `limit` instructions at most.
    ///
    /// # Errors
    /// If the host fails.
    pub fn run(
        &self,
        image: &[u8],
        state: &CpuState,
        schedule: &Schedule,
        way: Way,
        limit: u64,
    ) -> Result<Outcome, String> {
        self.load(image)?;
        let bus = Arc::new(Recorder::default());
        let mut vcpu =
            self.engine.create_vcpu(0, &self.model, bus.clone()).map_err(|e| e.to_string())?;
        vcpu.set_state(state).map_err(|e| e.to_string())?;
        let mut totals = self.totals.get();
        let exits = execute(&mut *vcpu, &bus, schedule, (way, limit), &mut totals)?;
        if way == Way::Single && limit == u64::MAX {
            let stats = vcpu.stats();
            totals.streams += 1;
            totals.instructions += vcpu.retired();
            totals.exceptions += stats.exceptions;
            totals.interrupts += stats.interrupts;
            let last = exits.last();
            totals.shutdowns += u64::from(last.is_some_and(|e| !e.starts_with(['B', 'H'])));
            self.totals.set(totals);
        }
        let state = vcpu.state().map_err(|e| e.to_string())?;
        let mut pages = Vec::new();
        for at in self.ram.take_dirty() {
            let mut page = vec![0; PAGE as usize];
            self.ram.read(Gpa(at), &mut page).map_err(|e| e.to_string())?;
            if image.get(at as usize..(at + PAGE) as usize) != Some(&page[..]) {
                pages.push((at, page));
            }
        }
        // They are to be loaded anew.
        for (at, _) in &pages {
            self.ram.write(Gpa(*at), &[0]).map_err(|e| e.to_string())?;
        }
        Ok(Outcome { retired: vcpu.retired(), state, pages, exits, bus: bus.digest() })
    }

    /// What its streams did.
    pub fn totals(&self) -> Totals {
        self.totals.get()
    }

    /// Makes RAM equal to `image`: writes the pages that differ.
    fn load(&self, image: &[u8]) -> Result<(), String> {
        let mut page = [0; PAGE as usize];
        for (n, wanted) in image.chunks_exact(PAGE as usize).enumerate() {
            let at = Gpa(n as u64 * PAGE);
            self.ram.read(at, &mut page).map_err(|e| e.to_string())?;
            if page != wanted {
                self.ram.write(at, wanted).map_err(|e| e.to_string())?;
            }
        }
        self.ram.take_dirty();
        Ok(())
    }
}

fn execute(
    vcpu: &mut dyn Vcpu,
    bus: &Recorder,
    schedule: &Schedule,
    (way, limit): (Way, u64),
    totals: &mut Totals,
) -> Result<Vec<String>, String> {
    let (mut exits, mut end) = (Vec::new(), 0_u64);
    for (instructions, event) in &schedule.parts {
        end += instructions;
        let end = end.min(limit);
        let exit = loop {
            let left = end.saturating_sub(vcpu.retired());
            let Some(left) = NonZeroU64::new(left) else { break Exit::Budget };
            let budget = if way == Way::Single { NonZeroU64::MIN } else { left };
            let before = vcpu.retired();
            if way == Way::Single && before.is_multiple_of(16) {
                totals.look(&vcpu.state().map_err(|e| e.to_string())?);
            }
            let exit = vcpu.run(Budget::Instructions(budget)).map_err(|e| e.to_string())?;
            let done = vcpu.retired().wrapping_sub(before);
            if done > budget.get() || exit == Exit::Budget && done != budget.get() {
                exits.push(format!("{done} instructions for a budget of {budget}"));
                return Ok(exits);
            }
            if exit != Exit::Budget {
                break exit;
            }
        };
        let name = match &exit {
            Exit::TripleFault(fault) => fault.to_string(),
            exit => format!("{exit:?}"),
        };
        exits.push(format!("{name} at {}", vcpu.retired()));
        if matches!(exit, Exit::TripleFault(_)) || end == limit {
            break;
        }
        // An idle CPU that has missed instructions does not make them up.
        bus.happens(*event);
        vcpu.kicker().kick();
    }
    Ok(exits)
}

/// A bus that answers everything in a way that depends on the question and the time alone, and
/// digests both.
#[derive(Default)]
struct Recorder {
    /// The vector of the interrupt that is asked for, and bit 8.
    interrupt: AtomicU16,
    nmi: AtomicBool,
    digest: Mutex<u64>,
}

impl Recorder {
    fn happens(&self, event: Event) {
        match event {
            Event::Nothing => {}
            Event::Interrupt(vector) => {
                self.interrupt.store(0x100 | u16::from(vector), Ordering::SeqCst);
            }
            Event::Nmi => self.nmi.store(true, Ordering::SeqCst),
        }
    }

    fn digest(&self) -> u64 {
        *self.digest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a question, and gives the noise for its answer.
    fn asked(&self, by: Access, what: u64, at: u64, data: &[u8]) -> Noise {
        let question = mix(what ^ mix(at ^ mix(by.retired)));
        let mut digest = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        *digest = mix(*digest ^ question);
        for byte in data {
            *digest = mix(*digest ^ u64::from(*byte));
        }
        Noise::new(question)
    }
}

impl Bus for Recorder {
    fn mmio_read(&self, by: Access, at: Gpa, data: &mut [u8]) {
        let mut noise = self.asked(by, 1, at.0, &[]);
        data.fill_with(|| noise.byte());
    }
    fn mmio_write(&self, by: Access, at: Gpa, data: &[u8]) {
        self.asked(by, 2, at.0, data);
    }
    fn port_in(&self, by: Access, port: u16, data: &mut [u8]) {
        let mut noise = self.asked(by, 3, port.into(), &[]);
        data.fill_with(|| noise.byte());
    }
    fn port_out(&self, by: Access, port: u16, data: &[u8]) {
        self.asked(by, 4, port.into(), data);
    }
    fn read_msr(&self, by: Access, msr: u32) -> Result<u64, MsrFault> {
        let mut noise = self.asked(by, 5, msr.into(), &[]);
        if noise.once_in(2) { Err(MsrFault) } else { Ok(noise.draw()) }
    }
    fn write_msr(&self, by: Access, msr: u32, v: u64, _: Option<VmTime>) -> Result<(), MsrFault> {
        let mut noise = self.asked(by, 6, msr.into(), &v.to_le_bytes());
        if noise.once_in(2) { Err(MsrFault) } else { Ok(()) }
    }
    fn task_priority(&self, by: Access) -> u8 {
        self.asked(by, 7, 0, &[]).byte() & 15
    }
    fn set_task_priority(&self, by: Access, priority: u8) {
        self.asked(by, 8, 0, &[priority]);
    }
    fn pins(&self, _: Access) -> Pins {
        Pins {
            interrupt: self.interrupt.load(Ordering::SeqCst) != 0,
            nmi: self.nmi.swap(false, Ordering::SeqCst),
            ..Pins::default()
        }
    }
    fn acknowledge_interrupt(&self, by: Access) -> Option<u8> {
        let pending = self.interrupt.swap(0, Ordering::SeqCst);
        self.asked(by, 9, pending.into(), &[]);
        (pending != 0).then_some(pending as u8)
    }
    fn random(&self, by: Access) -> u64 {
        self.asked(by, 10, 0, &[]).draw()
    }
    fn now(&self, by: Access) -> VmTime {
        VmTime(by.retired)
    }
}
