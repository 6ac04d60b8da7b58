//! A vCPU: into the guest, and serving what it comes out for.

use std::sync::Arc;

use kvm_bindings::{
    KVM_EXIT_HLT, KVM_EXIT_INTR, KVM_EXIT_IO, KVM_EXIT_IO_IN, KVM_EXIT_IRQ_WINDOW_OPEN,
    KVM_EXIT_MMIO, KVM_EXIT_SET_TPR, KVM_EXIT_SHUTDOWN, KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR,
    KVM_MSR_EXIT_REASON_FILTER, kvm_run, kvm_vcpu_events,
};
use kvm_ioctls::VcpuFd;
use trine_engine::{
    Access, Budget, Bus, CpuModel, CpuState, EngineError, EventCount, Exit, Kicker, Stats, Tally,
    TripleFault, Vcpu,
};
use trine_guest::{Gpa, VmTime};
use trine_interp::{InterpVcpu, Nothing};
use trine_x86::{Activity, Core, Exception, Seg, Shadow, msr, rflags, vector};

use crate::{
    cpuid, exits, ioctl,
    kick::Bell,
    msrs,
    state::{self, Outside},
    tsc::Tsc,
    vm::{Vm, failed, refused},
};

/// IA32_APIC_BASE where the board has no local APIC: at its usual place, enabled.
const APIC_BASE: u64 = 0xfee0_0800;
/// The interpreter executes so many instructions at a time while the A20 gate is closed.
const CLOSED_A20_SLICE: u64 = 10_000;

/// A vCPU.
pub(crate) struct KvmVcpu {
    fd: VcpuFd,
    vm: Arc<Vm>,
    id: u32,
    model: CpuModel,
    bus: Arc<dyn Bus>,
    bell: Arc<Bell>,
    kicker: Kicker,
    /// Does what KVM does not, and keeps what KVM does not keep.
    software: Box<InterpVcpu<Nothing>>,
    /// KVM has the registers, and the interpreter's are stale; else the other way round.
    in_kvm: bool,
    /// KVM has said since whether the guest can take an interrupt.
    knows_window: bool,
    tsc: Tsc,
    /// Somebody set the TSC.
    tsc_is_set: bool,
    /// The INTR pin when it was last sampled.
    interrupt: bool,
    /// An NMI came, of which a halted CPU has to wake.
    nmi: bool,
    a20_masked: bool,
    /// How often the interpreter executed something.
    helped: u64,
    stats: Stats,
    /// Counts exits, if anybody wants to know.
    tally: Option<Box<Tally>>,
}

/// What follows from an exit of KVM.
enum Next {
    /// On into the guest.
    Go,
    /// The interpreter does the next instruction.
    Help,
    /// The CPU has shut down.
    Shutdown,
}

/// The interpreter behind a vCPU. It is large: whoever makes it must not have room for it as well.
#[inline(never)]
fn software(vm: &Vm, id: u32, model: &CpuModel, bus: &Arc<dyn Bus>) -> Box<InterpVcpu<Nothing>> {
    Box::new(InterpVcpu::new(id, model, vm.ram.clone(), bus.clone(), |_, _| Nothing))
}

impl KvmVcpu {
    pub(crate) fn new(
        vm: Arc<Vm>,
        id: u32,
        model: &CpuModel,
        bus: Arc<dyn Bus>,
    ) -> Result<Self, EngineError> {
        let fd = vm.fd.create_vcpu(u64::from(id));
        let mut fd = fd.map_err(|e| refused("a vCPU", e))?;
        fd.set_cpuid2(&cpuid::table(model, id)?).map_err(|e| refused("a CPUID", e))?;
        let tsc = Tsc::new(&fd, model)?;
        let bell = Arc::new(Bell::new(&mut fd));
        let software = software(&vm, id, model, &bus);
        Ok(Self {
            fd,
            id,
            model: model.clone(),
            bus,
            kicker: Kicker::waking(bell.clone()),
            bell,
            software,
            in_kvm: false,
            knows_window: false,
            tsc,
            tsc_is_set: true,
            interrupt: false,
            nmi: false,
            a20_masked: false,
            helped: 0,
            stats: Stats::default(),
            tally: None,
            vm,
        })
    }

    /// How often the interpreter had to execute something.
    pub(crate) fn helped(&self) -> u64 {
        self.helped
    }

    fn access(&self) -> Access {
        Access { vcpu: self.id, retired: 0 }
    }

    fn core(&mut self) -> &mut Core {
        self.software.core_mut()
    }

    fn kvm_run(&mut self) -> &mut kvm_run {
        self.fd.get_kvm_run()
    }

    fn run_loop(&mut self, until: Option<VmTime>) -> Result<Exit, EngineError> {
        let wanted = self.core().tsc();
        let exact = std::mem::take(&mut self.tsc_is_set);
        self.tsc.align(&self.fd, &self.model, wanted, exact)?;
        self.note_tsc()?;
        self.core().renew_paravirtual();
        loop {
            // From here on a kick is seen below, or keeps us from entering the guest.
            self.bell.set_immediate(false);
            if self.kicker.take() {
                return Ok(Exit::Kicked);
            }
            if until.is_some_and(|time| self.bus.now(self.access()) >= time) {
                return Ok(Exit::Budget);
            }
            self.sample_pins()?;
            if self.sleeps()? {
                self.stats.halts += 1;
                return Ok(Exit::Halted);
            }
            let left = match self.software_instructions() {
                0 => {
                    if let Some(fault) = self.pass_through()? {
                        return Ok(fault);
                    }
                    continue;
                }
                n => n,
            };
            if let Some(fault) = self.help(left)? {
                return Ok(fault);
            }
        }
    }

    /// Looks at the pins, and does at once what the edges on them ask for.
    fn sample_pins(&mut self) -> Result<(), EngineError> {
        let pins = self.bus.pins(self.access());
        self.interrupt = pins.interrupt;
        self.a20_masked = pins.a20_masked;
        self.core().set_tscs_differ(pins.tscs_differ);
        if pins.init || pins.startup.is_some() {
            self.take_from_kvm()?;
            let core = self.core();
            if pins.init {
                core.init();
            }
            if let Some(vector) = pins.startup {
                core.startup(vector);
            }
        }
        if pins.nmi {
            self.nmi = true;
            if self.in_kvm {
                self.fd.nmi().map_err(|e| failed("KVM_NMI", e.errno()))?;
            } else {
                self.core().events.nmi_pending = true;
            }
        }
        Ok(())
    }

    /// Whether the CPU is idle, and nothing wakes it.
    fn sleeps(&mut self) -> Result<bool, EngineError> {
        match self.core().events.activity {
            Activity::Running => return Ok(false),
            Activity::WaitForStartup | Activity::Shutdown => return Ok(true),
            Activity::Halted => {}
        }
        let nmi = std::mem::take(&mut self.nmi) && !self.nmi_is_blocked()?;
        if nmi || self.interrupt && self.take_interrupt()? {
            self.core().events.activity = Activity::Running;
            return Ok(false);
        }
        Ok(true)
    }

    fn nmi_is_blocked(&mut self) -> Result<bool, EngineError> {
        if !self.in_kvm {
            return Ok(self.core().events.nmi_blocked);
        }
        let events = self.fd.get_vcpu_events();
        Ok(events.map_err(|e| failed("KVM_GET_VCPU_EVENTS", e.errno()))?.nmi.masked != 0)
    }

    /// A halted CPU takes the interrupt that waits, if it is enabled and still there.
    fn take_interrupt(&mut self) -> Result<bool, EngineError> {
        let enabled = match self.in_kvm {
            true => self.kvm_run().if_flag != 0,
            false => self.core().system_flags & rflags::IF != 0,
        };
        if !enabled {
            return Ok(false);
        }
        let Some(vector) = self.bus.acknowledge_interrupt(self.access()) else { return Ok(false) };
        if self.in_kvm {
            self.queue_interrupt(vector)?;
        } else if let Err(fault) = self.core().deliver_interrupt(vector) {
            log::debug!("vCPU {}: {fault}", self.id);
        }
        Ok(true)
    }

    /// KVM delivers an interrupt at the next entry.
    fn queue_interrupt(&mut self, vector: u8) -> Result<(), EngineError> {
        self.stats.interrupts += 1;
        self.knows_window = false;
        ioctl::interrupt(&self.fd, vector)
            .map_err(|e| failed("KVM_INTERRUPT", e.raw_os_error().unwrap_or(0)))
    }

    /// How many instructions the interpreter has to execute before KVM can go on.
    fn software_instructions(&mut self) -> u64 {
        if self.a20_masked {
            CLOSED_A20_SLICE
        } else {
            // A debug trap, or an interrupt, waits for the end of the next instruction.
            let events = self.core().events;
            let waits = events.pending_debug != 0 || events.shadow != Shadow::None;
            u64::from(!self.in_kvm && waits)
        }
    }

    /// Enters the guest and serves what it comes out for. Says how it ended if it did.
    fn pass_through(&mut self) -> Result<Option<Exit>, EngineError> {
        self.give_to_kvm()?;
        self.inject()?;
        if !self.in_kvm {
            return Ok(None);
        }
        let priority = self.bus.task_priority(self.access());
        self.kvm_run().cr8 = u64::from(priority);
        let entered = self.enter()?;
        if let Some(tally) = &mut self.tally {
            exits::note(tally, &mut self.fd, &self.vm.ram, entered);
        }
        self.knows_window = true;
        let after = self.kvm_run().cr8 as u8;
        if after != priority {
            self.bus.set_task_priority(self.access(), after);
        }
        if !entered {
            return Ok(None);
        }
        match self.serve()? {
            Next::Go => Ok(None),
            Next::Help => self.help(1),
            Next::Shutdown => self.shut_down().map(Some),
        }
    }

    /// KVM_RUN. False if it was interrupted.
    fn enter(&mut self) -> Result<bool, EngineError> {
        match self.fd.run() {
            Ok(_) => Ok(true),
            Err(e) if matches!(e.errno(), libc::EINTR | libc::EAGAIN) => Ok(false),
            Err(e) => Err(failed("KVM_RUN", e.errno())),
        }
    }

    /// Gives the guest an interrupt, if one waits and it can take it, or asks to be told when.
    fn inject(&mut self) -> Result<(), EngineError> {
        let knows = self.knows_window;
        let run = self.kvm_run();
        let open = knows && run.ready_for_interrupt_injection != 0 && run.if_flag != 0;
        if self.interrupt && open {
            if let Some(vector) = self.bus.acknowledge_interrupt(self.access()) {
                self.queue_interrupt(vector)?;
                self.core().count_stolen();
            }
            self.sample_pins()?;
        }
        let waits = u8::from(self.interrupt);
        self.kvm_run().request_interrupt_window = waits;
        Ok(())
    }

    /// Does what the guest came out for.
    fn serve(&mut self) -> Result<Next, EngineError> {
        let by = self.access();
        match self.kvm_run().exit_reason {
            KVM_EXIT_IO => self.serve_port(by),
            KVM_EXIT_MMIO => self.serve_memory(by),
            KVM_EXIT_X86_RDMSR => self.serve_rdmsr(),
            KVM_EXIT_X86_WRMSR => return self.serve_wrmsr().map(|()| Next::Go),
            KVM_EXIT_HLT => self.core().events.activity = Activity::Halted,
            KVM_EXIT_INTR | KVM_EXIT_IRQ_WINDOW_OPEN | KVM_EXIT_SET_TPR => {}
            KVM_EXIT_SHUTDOWN => return Ok(Next::Shutdown),
            reason => {
                log::debug!("vCPU {}: KVM gives up (exit reason {reason})", self.id);
                return Ok(Next::Help);
            }
        }
        Ok(Next::Go)
    }

    fn serve_port(&mut self, by: Access) {
        let bus = self.bus.clone();
        let run = self.kvm_run();
        // SAFETY: KVM has filled in this member, as the exit reason says.
        let io = unsafe { run.__bindgen_anon_1.io };
        let (size, count) = (usize::from(io.size), io.count as usize);
        // SAFETY: KVM says that the data lies there, in the mapping of which `run` is the beginning.
        let data = unsafe {
            let start = std::ptr::from_mut(run).cast::<u8>().add(io.data_offset as usize);
            std::slice::from_raw_parts_mut(start, size * count)
        };
        for piece in data.chunks_exact_mut(size.max(1)) {
            if u32::from(io.direction) == KVM_EXIT_IO_IN {
                bus.port_in(by, io.port, piece);
            } else {
                bus.port_out(by, io.port, piece);
            }
        }
        self.stats.port_io += count as u64;
    }

    fn serve_memory(&mut self, by: Access) {
        let bus = self.bus.clone();
        self.stats.mmio += 1;
        let run = self.kvm_run();
        // SAFETY: KVM has filled in this member, as the exit reason says.
        let mmio = unsafe { &mut run.__bindgen_anon_1.mmio };
        let len = (mmio.len as usize).min(mmio.data.len());
        let at = Gpa(mmio.phys_addr);
        if mmio.is_write != 0 {
            bus.mmio_write(by, at, &mmio.data[..len]);
        } else {
            bus.mmio_read(by, at, &mut mmio.data[..len]);
        }
    }

    fn serve_rdmsr(&mut self) {
        // SAFETY: KVM has filled in this member, as the exit reason says.
        let msr = unsafe { self.kvm_run().__bindgen_anon_1.msr };
        let value = match msr.reason & KVM_MSR_EXIT_REASON_FILTER {
            0 if msrs::is_kept(msr.index, false) => None,
            _ => self.core().read_msr(msr.index).ok(),
        };
        if value.is_none() {
            log::debug!("vCPU {}: RDMSR {:#x} refused", self.id, msr.index);
        }
        // SAFETY: as above.
        let answer = unsafe { &mut self.kvm_run().__bindgen_anon_1.msr };
        (answer.data, answer.error) = (value.unwrap_or(0), u8::from(value.is_none()));
    }

    fn serve_wrmsr(&mut self) -> Result<(), EngineError> {
        // SAFETY: KVM has filled in this member, as the exit reason says.
        let msr = unsafe { self.kvm_run().__bindgen_anon_1.msr };
        let keeps = msrs::is_kept(msr.index, true);
        let is_time = matches!(msr.index, msr::TSC | msr::TSC_ADJUST | msr::TSC_DEADLINE);
        if is_time {
            self.note_tsc()?;
        }
        let good = !keeps && self.core().write_msr(msr.index, msr.data).is_ok();
        if good && is_time {
            let wanted = self.core().tsc();
            let exact = msr.index != msr::TSC_DEADLINE;
            self.tsc.align(&self.fd, &self.model, wanted, exact)?;
        }
        if !good {
            log::debug!("vCPU {}: WRMSR {:#x} = {:#x} refused", self.id, msr.index, msr.data);
        }
        self.kvm_run().__bindgen_anon_1.msr.error = u8::from(!good);
        Ok(())
    }

    /// The interpreter executes `n` instructions.
    fn help(&mut self, n: u64) -> Result<Option<Exit>, EngineError> {
        self.take_from_kvm()?;
        self.helped += 1;
        let n = std::num::NonZeroU64::new(n).unwrap_or(std::num::NonZeroU64::MIN);
        match self.software.run(Budget::Instructions(n))? {
            fault @ Exit::TripleFault(_) => Ok(Some(fault)),
            _ => Ok(None),
        }
    }

    /// The guest's CPU has shut down, and KVM does not say why.
    fn shut_down(&mut self) -> Result<Exit, EngineError> {
        self.take_from_kvm()?;
        let core = self.core();
        core.events.activity = Activity::Shutdown;
        let fault = TripleFault {
            chain: Vec::new(),
            cs: core.segments.seg[Seg::Cs as usize].selector,
            rip: core.rip,
            rsp: core.regs[usize::from(trine_x86::slot::RSP)],
            cr2: core.control.cr2,
        };
        Ok(Exit::TripleFault(Box::new(fault)))
    }

    /// The guest's TSC is what it is: what follows for its offset from guest time. Returns it.
    fn note_tsc(&mut self) -> Result<u64, EngineError> {
        let tsc = msrs::load_one(&self.fd, msr::TSC)?;
        let core = self.core();
        let by = tsc.wrapping_sub(core.tsc());
        core.msrs.tsc_offset = core.msrs.tsc_offset.wrapping_add(by);
        core.tell_tsc_offset();
        Ok(tsc)
    }

    /// Hands the registers to KVM.
    fn give_to_kvm(&mut self) -> Result<(), EngineError> {
        if self.in_kvm {
            return Ok(());
        }
        let by = self.access();
        let outside = Outside {
            apic_base: self.bus.read_msr(by, msr::APIC_BASE).unwrap_or(APIC_BASE),
            priority: self.bus.task_priority(by),
        };
        let state = self.software.state()?;
        state::store(&self.fd, &self.model, &state, outside)?;
        (self.in_kvm, self.knows_window) = (true, false);
        Ok(())
    }

    /// Takes the registers from KVM, at an instruction boundary.
    fn take_from_kvm(&mut self) -> Result<(), EngineError> {
        if !self.in_kvm {
            return Ok(());
        }
        self.settle()?;
        let mut state = self.software.state()?;
        let events = state::load(&self.fd, &self.model, &self.vm.ram, &mut state)?;
        // KVM shows the delivery of an event that it has begun; the interpreter ends it.
        self.software.set_state(&state)?;
        // What the guest did meanwhile to code that was decoded, nobody has counted.
        self.software.ram_changed(Gpa(0), u64::MAX);
        self.in_kvm = false;
        self.deliver(&events);
        Ok(())
    }

    /// KVM completes an access that was served.
    fn settle(&mut self) -> Result<(), EngineError> {
        loop {
            self.bell.set_immediate(true);
            if !self.enter()? {
                return Ok(());
            }
            match self.serve()? {
                Next::Go => {}
                // It will come again.
                Next::Help | Next::Shutdown => return Ok(()),
            }
        }
    }

    fn deliver(&mut self, events: &kvm_vcpu_events) {
        let core = self.software.core_mut();
        let delivered = if events.exception.injected != 0 || events.exception.pending != 0 {
            let nr = events.exception.nr;
            if matches!(nr, vector::BP | vector::OF) {
                // The instruction that raises it is executed again.
                return;
            }
            let code =
                (events.exception.has_error_code != 0).then_some(events.exception.error_code);
            let payload = if nr == vector::PF { core.control.cr2 } else { 0 };
            core.raise(Exception { vector: nr, code, payload });
            core.deliver_raised()
        } else if events.nmi.injected != 0 {
            core.deliver_nmi()
        } else if events.interrupt.injected != 0 && events.interrupt.soft == 0 {
            core.deliver_interrupt(events.interrupt.nr)
        } else {
            return;
        };
        if let Err(fault) = delivered {
            log::debug!("vCPU {}: {fault}", core.id);
        }
    }
}

impl Vcpu for KvmVcpu {
    fn run(&mut self, budget: Budget) -> Result<Exit, EngineError> {
        let until = match budget {
            Budget::Until(time) => Some(time),
            Budget::Instructions(_) | Budget::Unlimited => None,
        };
        self.bell.enter();
        let exit = self.run_loop(until);
        self.bell.leave();
        // Guest time may stand still from here on; the TSC does not.
        let tsc = self.note_tsc()?;
        self.tsc.stop(tsc);
        exit
    }

    fn state(&mut self) -> Result<CpuState, EngineError> {
        self.take_from_kvm()?;
        self.software.state()
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), EngineError> {
        self.in_kvm = false;
        self.tsc_is_set = true;
        self.software.set_state(state)
    }

    fn kicker(&self) -> Kicker {
        self.kicker.clone()
    }

    fn ram_changed(&mut self, at: Gpa, len: u64) {
        self.software.ram_changed(at, len);
    }

    fn retired(&self) -> u64 {
        0
    }

    fn stats(&self) -> Stats {
        let software = self.software.stats();
        Stats { instructions: 0, ..self.stats.plus(software) }
    }

    fn count_events(&mut self, clock: fn() -> u64) {
        self.software.count_events(clock);
        self.tally = Some(Box::new(Tally::new(clock)));
    }

    fn events(&self) -> Vec<EventCount> {
        // What the interpreter does in between are exits already.
        self.tally.as_ref().map_or_else(Vec::new, |tally| tally.counts())
    }
}

impl Drop for KvmVcpu {
    fn drop(&mut self) {
        self.bell.detach();
    }
}
