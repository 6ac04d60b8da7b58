//! A vCPU: into the guest, and serving what it comes out for.

use std::sync::Arc;

use kvm_bindings::{
    KVM_EXIT_DIRTY_RING_FULL, KVM_EXIT_HLT, KVM_EXIT_INTR, KVM_EXIT_IO, KVM_EXIT_IO_IN,
    KVM_EXIT_IOAPIC_EOI, KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_MMIO, KVM_EXIT_SET_TPR,
    KVM_EXIT_SHUTDOWN, KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR, KVM_MP_STATE_HALTED,
    KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_RUNNABLE, KVM_MSR_EXIT_REASON_FILTER, kvm_mp_state,
    kvm_run, kvm_vcpu_events,
};
use kvm_ioctls::VcpuFd;
use trine_engine::{
    Access, Budget, Bus, CpuModel, CpuState, EngineError, EventCount, Exit, Kicker, Stats, Tally,
    TripleFault, Vcpu,
};
use trine_guest::{Gpa, VmTime};
use trine_interp::{InterpVcpu, Nothing};
use trine_x86::{Activity, Core, Exception, Feature, Seg, Shadow, msr, rflags, vector};

use crate::{
    apics::Apics,
    counters::Counters,
    cpuid, dirty, exits, ioctl,
    kick::Bell,
    msrs,
    state::{self, Outside},
    tsc::Tsc,
    vm::{Vm, failed, failed_io, refused},
};

/// The spurious-interrupt vector register: ends of interrupts are not broadcast.
const SUPPRESS_EOI_BROADCAST: u32 = 1 << 12;
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
    /// The guest came out in the middle of an instruction, which the next entry completes.
    incomplete: bool,
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
    /// What KVM counts, where it has the local APIC.
    counters: Option<Counters>,
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
        dirty::join(&vm, &fd)?;
        let tsc = Tsc::new(&fd, model)?;
        let bell = Arc::new(Bell::new(&mut fd));
        let mut counters = None;
        if let Some(apics) = vm.apics.get() {
            apics.sit(id, &fd, &bell, model)?;
            let file = ioctl::counters(&fd).and_then(Counters::new);
            counters = file.inspect_err(|e| log::debug!("KVM does not count: {e}")).ok();
        }
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
            incomplete: false,
            knows_window: false,
            tsc,
            tsc_is_set: true,
            interrupt: false,
            nmi: false,
            a20_masked: false,
            helped: 0,
            stats: Stats::default(),
            counters,
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
        self.renew_deadline()?;
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
        self.core().hear_of_tscs(pins.tscs_differ, pins.tscs_changed);
        if pins.init || pins.startup.is_some() {
            self.complete()?;
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
        let has_apic = self.has_apic();
        match self.core().events.activity {
            Activity::Running => return Ok(false),
            Activity::Shutdown => return Ok(true),
            // KVM puts it to sleep.
            _ if has_apic => return Ok(false),
            Activity::WaitForStartup => return Ok(true),
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
        self.knows_window = false;
        if self.has_apic() {
            // KVM would not show an interrupt that waits beside its local APIC.
            let f = |e: kvm_ioctls::Error| failed("an interrupt of the 8259", e.errno());
            let mut events = self.fd.get_vcpu_events().map_err(f)?;
            (events.interrupt.injected, events.interrupt.nr, events.flags) = (1, vector, 0);
            self.fd.set_vcpu_events(&events).map_err(f)?;
            return self.set_mp_state(KVM_MP_STATE_RUNNABLE);
        }
        self.stats.interrupts += 1;
        ioctl::interrupt(&self.fd, vector).map_err(failed_io("KVM_INTERRUPT"))
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
        let entered = match self.vm.clone().apics.get() {
            Some(apics) => {
                let _running = apics.begin(&self.vm)?;
                self.inject()?;
                self.enter()?
            }
            None => {
                self.inject()?;
                if !self.in_kvm {
                    return Ok(None);
                }
                self.enter_with_priority()?
            }
        };
        if let Some(tally) = &mut self.tally {
            exits::note(tally, &mut self.fd, &self.vm.ram, entered);
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

    /// As [`KvmVcpu::enter`], where the board has the task priority.
    fn enter_with_priority(&mut self) -> Result<bool, EngineError> {
        let priority = self.bus.task_priority(self.access());
        self.kvm_run().cr8 = u64::from(priority);
        let entered = self.enter()?;
        let after = self.kvm_run().cr8 as u8;
        if after != priority {
            self.bus.set_task_priority(self.access(), after);
        }
        Ok(entered)
    }

    /// KVM_RUN. False if it was interrupted.
    fn enter(&mut self) -> Result<bool, EngineError> {
        let entered = match self.fd.run() {
            Ok(_) => true,
            Err(e) if matches!(e.errno(), libc::EINTR | libc::EAGAIN) => false,
            Err(e) => return Err(failed("KVM_RUN", e.errno())),
        };
        (self.incomplete, self.knows_window) = (false, true);
        Ok(entered)
    }

    /// KVM has this vCPU's local APIC, or gets it at the next entry.
    fn has_apic(&self) -> bool {
        self.vm.apics.get().is_some()
    }

    fn set_mp_state(&mut self, mp_state: u32) -> Result<(), EngineError> {
        self.fd
            .set_mp_state(kvm_mp_state { mp_state })
            .map_err(|e| failed("KVM_SET_MP_STATE", e.errno()))
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
            // With an APIC in the kernel this is the 8259 alone: it will come again.
            if !self.has_apic() {
                self.sample_pins()?;
            }
        }
        let waits = u8::from(self.interrupt);
        self.kvm_run().request_interrupt_window = waits;
        Ok(())
    }

    /// Does what the guest came out for.
    fn serve(&mut self) -> Result<Next, EngineError> {
        let by = self.access();
        let reason = self.kvm_run().exit_reason;
        self.incomplete =
            matches!(reason, KVM_EXIT_IO | KVM_EXIT_MMIO | KVM_EXIT_X86_RDMSR | KVM_EXIT_X86_WRMSR);
        match reason {
            KVM_EXIT_IO => self.serve_port(by),
            KVM_EXIT_MMIO => self.serve_memory(by),
            KVM_EXIT_X86_RDMSR => self.serve_rdmsr(),
            KVM_EXIT_X86_WRMSR => return self.serve_wrmsr().map(|()| Next::Go),
            KVM_EXIT_HLT => self.core().events.activity = Activity::Halted,
            KVM_EXIT_INTR | KVM_EXIT_IRQ_WINDOW_OPEN | KVM_EXIT_SET_TPR => {}
            KVM_EXIT_DIRTY_RING_FULL => dirty::make_room(&self.vm)?,
            KVM_EXIT_IOAPIC_EOI => self.serve_end_of_interrupt(by)?,
            KVM_EXIT_SHUTDOWN => return Ok(Next::Shutdown),
            _ => {
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
        let (bus, vm) = (self.bus.clone(), self.vm.clone());
        self.stats.mmio += 1;
        let run = self.kvm_run();
        // SAFETY: KVM has filled in this member, as the exit reason says.
        let mmio = unsafe { &mut run.__bindgen_anon_1.mmio };
        let len = (mmio.len as usize).min(mmio.data.len());
        let (at, data) = (Gpa(mmio.phys_addr), &mut mmio.data[..len]);
        // There may be memory by now, where another vCPU has put it in the meantime.
        let memory = vm.ram.spot(at).filter(|spot| spot.run >= data.len() as u64);
        match (memory, mmio.is_write != 0) {
            (Some(spot), false) => vm.ram.load_bytes(spot.offset, data),
            (Some(spot), true) if spot.writable => {
                vm.ram.store_bytes(spot.offset, data);
            }
            (_, true) => bus.mmio_write(by, at, data),
            (None, false) => bus.mmio_read(by, at, data),
        }
    }

    fn serve_rdmsr(&mut self) {
        // SAFETY: KVM has filled in this member, as the exit reason says.
        let msr = unsafe { self.kvm_run().__bindgen_anon_1.msr };
        let with_apics = self.has_apic();
        let value = match msr.reason & KVM_MSR_EXIT_REASON_FILTER {
            0 if msrs::is_kept(msr.index, false, with_apics) => None,
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
        let keeps = msrs::is_kept(msr.index, true, self.has_apic());
        let is_time = matches!(msr.index, msr::TSC | msr::TSC_ADJUST | msr::TSC_DEADLINE);
        if is_time {
            self.note_tsc()?;
        }
        let good = !keeps && self.core().write_msr(msr.index, msr.data).is_ok();
        if good && is_time {
            let wanted = self.core().tsc();
            let exact = msr.index != msr::TSC_DEADLINE;
            self.tsc.align(&self.fd, &self.model, wanted, exact)?;
            self.renew_deadline()?;
        }
        if !good {
            log::debug!("vCPU {}: WRMSR {:#x} = {:#x} refused", self.id, msr.index, msr.data);
        }
        self.kvm_run().__bindgen_anon_1.msr.error = u8::from(!good);
        Ok(())
    }

    /// KVM's local APIC ends a level-triggered interrupt.
    fn serve_end_of_interrupt(&mut self, by: Access) -> Result<(), EngineError> {
        // SAFETY: KVM has filled in this member, as the exit reason says.
        let vector = unsafe { self.kvm_run().__bindgen_anon_1.eoi.vector };
        let Some(apics) = self.vm.apics.get() else { return Ok(()) };
        // KVM asks whatever the guest has said about broadcasts.
        if apics.svr(self.id)? & SUPPRESS_EOI_BROADCAST == 0 {
            apics.end_of_interrupt(by, vector);
        }
        Ok(())
    }

    /// The interpreter executes `n` instructions.
    fn help(&mut self, n: u64) -> Result<Option<Exit>, EngineError> {
        self.complete()?;
        let vm = self.vm.clone();
        // It looks for its local APIC on the board.
        let _still = vm.apics.get().map(Apics::still).transpose()?;
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

    /// KVM's local APIC waits for a time that the TSC shows, which has been set.
    fn renew_deadline(&mut self) -> Result<(), EngineError> {
        if self.model.has(Feature::TscDeadline)
            && self.vm.apics.get().is_some_and(Apics::in_kernel)
            && let deadline = msrs::load_one(&self.fd, msr::TSC_DEADLINE)?
            && deadline != 0
        {
            msrs::store_one(&self.fd, msr::TSC_DEADLINE, deadline)?;
        }
        Ok(())
    }

    /// Hands the registers to KVM.
    fn give_to_kvm(&mut self) -> Result<(), EngineError> {
        if self.in_kvm {
            return Ok(());
        }
        let by = self.access();
        // What the local APIC in the kernel has is right.
        let outside = match self.vm.apics.get().is_some_and(Apics::in_kernel) {
            true => None,
            false => Some(Outside {
                apic_base: self.bus.read_msr(by, msr::APIC_BASE).unwrap_or(APIC_BASE),
                priority: self.bus.task_priority(by),
            }),
        };
        let state = self.software.state()?;
        state::store(&self.fd, &self.vm, &self.model, &state, outside)?;
        if self.has_apic() {
            self.set_mp_state(match state.events.activity {
                Activity::WaitForStartup => KVM_MP_STATE_INIT_RECEIVED,
                Activity::Halted => KVM_MP_STATE_HALTED,
                Activity::Running | Activity::Shutdown => KVM_MP_STATE_RUNNABLE,
            })?;
        }
        (self.in_kvm, self.knows_window) = (true, false);
        Ok(())
    }

    /// Takes the registers from KVM. The guest's last instruction is complete.
    fn take_from_kvm(&mut self) -> Result<(), EngineError> {
        if !self.in_kvm {
            return Ok(());
        }
        // First of all: it makes KVM do what INIT and start-up IPIs that wait ask for.
        let activity = if self.has_apic() { Some(self.activity_in_kvm()?) } else { None };
        let mut state = self.software.state()?;
        let events = state::load(&self.fd, &self.vm, &self.model, &mut state)?;
        state.events.activity = activity.unwrap_or(state.events.activity);
        // KVM shows the delivery of an event that it has begun; the interpreter ends it.
        self.software.set_state(&state)?;
        // What the guest did meanwhile to code that was decoded, nobody has counted.
        self.software.ram_changed(Gpa(0), u64::MAX);
        self.in_kvm = false;
        self.deliver(&events);
        Ok(())
    }

    /// What the CPU does, where KVM takes INIT, start-up IPIs and what wakes it.
    fn activity_in_kvm(&mut self) -> Result<Activity, EngineError> {
        let state = self.fd.get_mp_state().map_err(|e| failed("KVM_GET_MP_STATE", e.errno()))?;
        Ok(match state.mp_state {
            KVM_MP_STATE_RUNNABLE => Activity::Running,
            KVM_MP_STATE_HALTED => Activity::Halted,
            _ => Activity::WaitForStartup,
        })
    }

    /// Another vCPU's INIT or start-up IPI waits in KVM, while the interpreter has the registers.
    fn is_called(&mut self) -> Result<bool, EngineError> {
        if self.in_kvm || !self.has_apic() {
            return Ok(false);
        }
        // Whether a start-up IPI waits, KVM does not say.
        let waits = self.core().events.activity == Activity::WaitForStartup;
        let events = self.fd.get_vcpu_events();
        let events = events.map_err(|e| failed("KVM_GET_VCPU_EVENTS", e.errno()))?;
        Ok(waits || events.smi.latched_init != 0)
    }

    /// KVM completes the instruction in whose middle the guest came out.
    fn complete(&mut self) -> Result<(), EngineError> {
        let vm = self.vm.clone();
        while self.incomplete {
            let running = vm.apics.get().map(|apics| apics.begin(&vm)).transpose()?;
            self.bell.set_immediate(true);
            let entered = self.enter()?;
            drop(running);
            if entered {
                // What is no access will come again.
                self.serve()?;
            }
        }
        Ok(())
    }

    fn deliver(&mut self, events: &kvm_vcpu_events) {
        let core = self.software.core_mut();
        // KVM has counted it, or nobody does.
        let counted = core.counters;
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
        core.counters = counted;
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
        let vm = self.vm.clone();
        if let Some(apics) = vm.apics.get() {
            apics.enter();
        }
        let exit = self.run_loop(until);
        let completed = self.complete();
        let left = vm.apics.get().map_or(Ok(()), Apics::leave);
        self.bell.leave();
        completed.and(left)?;
        // Guest time may stand still from here on; the TSC does not.
        let tsc = self.note_tsc()?;
        self.tsc.stop(tsc);
        self.core().renew_paravirtual();
        exit
    }

    fn state(&mut self) -> Result<CpuState, EngineError> {
        if self.is_called()? {
            self.give_to_kvm()?;
        }
        self.take_from_kvm()?;
        self.software.state()
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), EngineError> {
        if self.has_apic() {
            // INIT and start-up IPIs that wait in KVM are of another past.
            self.activity_in_kvm()?;
        }
        (self.in_kvm, self.incomplete, self.tsc_is_set) = (false, false, true);
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
        let counted = self.counters.as_ref().map_or_else(Stats::default, Counters::stats);
        Stats { instructions: 0, ..self.stats.plus(software).plus(counted) }
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
        if let Some(apics) = self.vm.apics.get() {
            apics.stand_up(self.id);
        }
        self.bell.detach();
    }
}
