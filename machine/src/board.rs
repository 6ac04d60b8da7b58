//! The board at work: carries the vCPUs' accesses to the chips and the chips' signals to where
//! their wires lead.
//!
//! One lock guards all chips. Within it an access is: the chip does its part, then what it said
//! is carried along the nets until all is quiet, then it is noted when the chips that were
//! touched next want to be woken. What a vCPU samples, its pins and the time, takes no lock.

mod apics;
mod decode;
mod firmware;
mod pci;
mod saved;
mod seat;
mod timer;
mod virtio;

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use trine_devices::{
    Ack, Backplane, Cx, DeliveryMode, Destination, Message, Power, Signal, TriggerMode, message_msi,
};
use trine_engine::{Access, Bus, HostApics, MsrFault, Pins};
use trine_firmware::Description;
use trine_guest::{Gpa, Ram, VmTime};
use trine_x86::msr;

use self::{
    decode::Place,
    pci::{CONFIG as PCI_CONFIG, MAP, PciRegion},
};
use crate::{
    Clock, ClockKind,
    chips::Chips,
    control::{Cause, Control},
    cpu_wires::CpuWires,
    pc::{self, Chip, Wire},
    random::Random,
    schematic::{Net, Sink},
    serial::SerialInput,
    snapshot::Incoming,
    stolen,
    stopwatch::DeviceTimes,
    tscs::Tscs,
};

/// Serial input that waits for room in the UART; more is not taken.
const INPUT_MAX: usize = 4096;
/// The longest access that a chip's window sees in one piece.
const MMIO_PIECE: usize = 16;
/// "Never", as a time.
const NEVER: u64 = u64::MAX;

/// What the lock guards.
struct State {
    chips: Chips,
    backplane: Backplane,
    /// The level of each wire.
    wires: [bool; Wire::ALL],
    /// To which IRQ each of PCI's lines leads.
    pirq_routes: [Option<u8>; 4],
    /// What the BARs map.
    regions: Vec<PciRegion>,
    /// What the memory map shows.
    memory_map: Option<pc::Shown>,
    /// What a firmware's tables say of the board, if it is told that.
    told: Option<Description>,
    /// The level of each net.
    nets: Vec<bool>,
    /// When each chip wants to be woken.
    due: [Option<VmTime>; Chip::COUNT],
    /// Chips (by bit) whose `due` may have changed.
    touched: u64,
    /// Chips (by bit) that were woken and do not know it yet.
    woken: u64,
    /// Accesses by vCPUs, by chip.
    accesses: [u64; Chip::COUNT],
    /// Accesses that no chip answered.
    unclaimed: u64,
    /// The time of the last call into a chip.
    last: VmTime,
    /// Who has the local APICs, while they are lent.
    host_apics: Option<Arc<dyn HostApics>>,
    /// What came in at the serial port and waits for room.
    incoming: VecDeque<Incoming>,
    /// The chip that was last accessed: who it was that reset the machine.
    origin: &'static str,
}

/// The board: the [`Bus`] of all vCPUs.
pub struct Board {
    ram: Arc<Ram>,
    clock: Clock,
    state: Mutex<State>,
    cpus: Vec<CpuWires>,
    control: Control,
    random: Arc<Random>,
    /// What the clock showed at guest time 0.
    wall_clock: Duration,
    tscs: Tscs,
    memory: pc::Memory,
    debug_exit: Option<u16>,
    post_port: Option<u16>,
    /// The next time at which a chip wants to be woken, in nanoseconds, or [`NEVER`].
    next_due: AtomicU64,
    /// The time that somebody already sees to: the timer thread sleeps until then, or the vCPU
    /// that has its turn runs no further.
    awaited: AtomicU64,
    /// The timer thread has to look again.
    poked: Mutex<bool>,
    poke: Condvar,
    device_times: DeviceTimes,
    /// How much waits for whoever hears the guest.
    backlogs: Vec<Arc<AtomicUsize>>,
}

/// A guest that sends without asking whether there is room waits when so many bytes do.
const BACKLOG_MAX: usize = 4 << 20;

impl Board {
    /// A board after power-on, before its reset.
    pub(crate) fn new(
        ram: Arc<Ram>,
        clock: Clock,
        random: Arc<Random>,
        mut parts: pc::Parts,
    ) -> Self {
        let backlogs = std::mem::take(&mut parts.backlogs);
        let backplane = Backplane::default();
        let (cpus, debug_exit, post_port) = (parts.cpus, parts.debug_exit, parts.post_port);
        let memory = parts.memory;
        let wall_clock = Duration::from_secs(parts.unix_seconds.max(0) as u64);
        let chips = Chips::new(parts, &backplane);
        let state = State {
            nets: vec![false; chips.schematic().nets.len()],
            chips,
            backplane,
            wires: [false; Wire::ALL],
            pirq_routes: [None; 4],
            regions: Vec::new(),
            memory_map: None,
            told: None,
            due: [None; Chip::COUNT],
            touched: 0,
            woken: 0,
            accesses: [0; Chip::COUNT],
            unclaimed: 0,
            last: VmTime::ZERO,
            host_apics: None,
            incoming: VecDeque::new(),
            origin: "the board",
        };
        Self {
            ram,
            clock,
            state: Mutex::new(state),
            cpus: std::iter::repeat_with(CpuWires::default).take(cpus as usize).collect(),
            control: Control::default(),
            random,
            wall_clock,
            tscs: Tscs::new(cpus),
            memory,
            debug_exit,
            post_port,
            next_due: AtomicU64::new(NEVER),
            awaited: AtomicU64::new(0),
            poked: Mutex::new(false),
            poke: Condvar::new(),
            device_times: DeviceTimes::new(cpus),
            backlogs,
        }
    }

    /// RESET for all chips but `kept`. After it, nobody accesses memory on a chip's behalf.
    pub(crate) fn reset(&self, kept: &[Chip]) {
        self.with(self.clock.now(), 0, |state, cx| {
            state.touched = u64::MAX;
            for chip in Chip::all().filter(|chip| !kept.contains(chip)) {
                if let Some(device) = state.chips.device(chip) {
                    device.reset(cx);
                }
            }
        });
    }

    /// What firmware does to chips after their reset, unless the guest is one.
    pub(crate) fn set_up(&self, memory: u64, is_firmware: bool) {
        self.with(self.clock.now(), 0, |state, cx| {
            state.touched = u64::MAX;
            if is_firmware {
                state.chips.strap(memory);
            } else {
                state.chips.firmware_setup(cx, memory);
            }
            // The gate's net starts at the level of no signal at all.
            self.drive_a20(state);
        });
        for cpu in &self.cpus {
            cpu.reset();
        }
        self.control.forget_guest();
    }

    /// Reset and set-up of a machine that wakes: some chips have kept their state.
    pub(crate) fn wake(&self, memory: u64, is_firmware: bool) {
        self.reset(&Chips::AWAKE);
        self.set_up(memory, is_firmware);
        if is_firmware && let Some(pc) = self.lock().chips.pc_mut() {
            pc.rtc.set_woken();
        }
    }

    /// What the firmware's tables say of this board.
    pub(crate) fn describe<R>(&self, f: impl FnOnce(&mut Chips) -> R) -> R {
        f(&mut self.lock().chips)
    }

    /// The pins of vCPU `vcpu`.
    pub(crate) fn cpu(&self, vcpu: u32) -> Option<&CpuWires> {
        self.cpus.get(vcpu as usize)
    }

    /// The machine's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// Stops all vCPUs, for this cause.
    pub(crate) fn stop(&self, cause: Cause) {
        self.control.push(cause);
        self.stop_cpus();
    }

    /// Makes all vCPUs and the timer thread look whether they have to stop.
    pub(crate) fn stop_cpus(&self) {
        for cpu in &self.cpus {
            cpu.stop();
        }
        self.poke_timer();
    }

    /// Serial input arrives. False if there is no room for it.
    pub(crate) fn serial_input(&self, input: SerialInput<'_>) -> bool {
        let mut state = self.lock();
        let room = INPUT_MAX - state.incoming.len().min(INPUT_MAX);
        match input {
            SerialInput::Bytes(bytes) if bytes.len() <= room => {
                state.incoming.extend(bytes.iter().map(|b| Incoming::Byte(*b)));
            }
            SerialInput::Break if room > 0 => state.incoming.push_back(Incoming::Break),
            _ => return false,
        }
        drop(state);
        if self.clock.kind() == ClockKind::Host {
            self.poll_serial();
        }
        true
    }

    /// Something has happened behind `chip` that it has to see to: the host's disk has answered, a
    /// frame has arrived. While the machine stands, it waits.
    pub(crate) fn wake_chip(&self, chip: Chip) {
        self.wake_chips(1 << chip.index());
    }

    /// These chips (by bit) were woken, and those before them. If the machine runs they see to it.
    fn wake_chips(&self, more: u64) {
        self.with(self.clock.now(), 0, |state, cx| {
            state.woken |= more;
            let woken = if self.clock.is_running() { std::mem::take(&mut state.woken) } else { 0 };
            for chip in Chip::all().filter(|chip| woken >> chip.index() & 1 != 0) {
                state.touch(chip);
                if let Some(timed) = state.chips.device(chip).and_then(|d| d.as_timed()) {
                    timed.advance(cx);
                }
                self.settle(state, cx);
            }
        });
    }

    /// The machine runs, and its clock with it.
    pub(crate) fn resume(&self) {
        self.clock.resume();
        self.wake_chips(0);
    }

    /// The machine stands. What a chip was still doing has been done.
    pub(crate) fn pause(&self) {
        self.clock.pause();
        drop(self.lock());
    }

    /// Lets serial input that waits into the UART, as far as it has room.
    pub(crate) fn poll_serial(&self) {
        self.with(self.clock.now(), 0, State::refill_com1);
    }

    /// The vCPUs' time in the chips.
    pub(crate) fn device_times(&self) -> &DeviceTimes {
        &self.device_times
    }

    /// Everything that is due by now happens. Returns when something is due next.
    pub(crate) fn advance(&self) -> Option<VmTime> {
        let _running = self.device_times.run_timer();
        let mut guard = self.lock();
        let state = &mut *guard;
        state.last = state.last.max(self.clock.now());
        let mut cx = Cx { now: state.last, ram: &self.ram, vcpu: 0 };
        for chip in Chip::all() {
            if state.due[chip.index()].is_some_and(|due| due <= cx.now) {
                state.touch(chip);
                if let Some(timed) = state.chips.device(chip).and_then(|d| d.as_timed()) {
                    timed.advance(&mut cx);
                }
                self.settle(state, &mut cx);
            }
        }
        self.note_due(state);
        let next = self.next_due.load(Ordering::SeqCst);
        if self.clock.kind() == ClockKind::Host {
            // Under the lock, so that no chip's new wish is missed.
            self.awaited.store(next, Ordering::SeqCst);
        }
        (next != NEVER).then_some(VmTime(next))
    }

    /// Accesses by chip, and those that no chip answered.
    pub(crate) fn access_counts(&self) -> (Vec<(&'static str, u64)>, u64) {
        let mut state = self.lock();
        let mut counts = Vec::new();
        for chip in Chip::all() {
            let accesses = state.accesses[chip.index()];
            if let Some(device) = state.chips.device(chip) {
                counts.push((device.name(), accesses));
            }
        }
        (counts, state.unclaimed)
    }

    // Under the lock

    fn lock(&self) -> MutexGuard<'_, State> {
        // A chip that panicked has left the machine stopped; its state can still be looked at.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls into the chips at time `now`.
    fn with<R>(&self, now: VmTime, vcpu: u32, f: impl FnOnce(&mut State, &mut Cx<'_>) -> R) -> R {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.last = state.last.max(now);
        let mut cx = Cx { now: state.last, ram: &self.ram, vcpu };
        let result = f(state, &mut cx);
        self.settle(state, &mut cx);
        self.note_due(state);
        self.call_for_due(vcpu);
        result
    }

    /// Divides an access (`what`, for the log) to `len` ports from `port` on among the chips there.
    /// `each` gets the place, and which of the bytes go there.
    fn each_port(
        &self,
        what: &'static str,
        by: Access,
        port: u16,
        len: usize,
        mut each: impl FnMut(&mut State, &mut Cx<'_>, Place, Range<usize>),
    ) {
        self.access(by, |state, cx| {
            let mut done = 0;
            while done < len {
                let at = port.wrapping_add(done as u16);
                let claimed = state.port(self, at, len - done);
                let part = done..done + claimed.map_or(1, |(_, len)| len);
                done = part.end;
                match claimed {
                    None => state.note_unclaimed(what, u64::from(at), part.len()),
                    Some((place, _)) => {
                        state.accessed(place.chip);
                        each(state, cx, place, part);
                        if place.chip == Chip::Com1 && !state.incoming.is_empty() {
                            state.refill_com1(cx);
                        }
                    }
                }
                self.settle(state, cx);
            }
        });
    }

    /// As [`Board::with`], for an access by a vCPU.
    fn access<R>(&self, by: Access, f: impl FnOnce(&mut State, &mut Cx<'_>) -> R) -> R {
        let _running = self.device_times.run(by.vcpu);
        let mut guard = self.lock();
        let state = &mut *guard;
        // The time is read under the lock, so that it never runs backwards for a chip.
        state.last = state.last.max(self.clock.now_of(by));
        let mut cx = Cx { now: state.last, ram: &self.ram, vcpu: by.vcpu };
        let result = f(state, &mut cx);
        self.settle(state, &mut cx);
        self.note_due(state);
        self.call_for_due(by.vcpu);
        drop(guard);
        if self.is_ahead() {
            self.wait_for_readers();
        }
        result
    }

    /// Whether the guest has sent more than those who hear it have taken for a long time.
    fn is_ahead(&self) -> bool {
        self.backlogs.iter().any(|waiting| waiting.load(Ordering::Relaxed) > BACKLOG_MAX)
    }

    /// A vCPU waits, outside the lock, until the guest is no more ahead or the machine is to stop.
    #[cold]
    fn wait_for_readers(&self) {
        const AGAIN: Duration = Duration::from_millis(2);
        while self.is_ahead() && !self.control.is_stopping() {
            std::thread::sleep(AGAIN);
        }
    }

    /// Carries what the chips say until they say no more, and DMA meanwhile.
    fn settle(&self, state: &mut State, cx: &mut Cx<'_>) {
        self.carry_signals(state, cx);
        // A channel without end leaves the bus for a while.
        const DMA: u64 = 1 << Chip::Dma.index() | 1 << Chip::Floppy.index();
        if state.touched & DMA != 0
            && let Some(pc) = state.chips.pc_mut()
            && pc.dma.granted() == Some(pc::FLOPPY_CHANNEL)
        {
            pc.dma.transfer(cx, pc::FLOPPY_CHANNEL, &mut pc.floppy);
            state.touched |= DMA;
            self.carry_signals(state, cx);
        }
    }

    fn carry_signals(&self, state: &mut State, cx: &mut Cx<'_>) {
        if state.touched & 1 << Chip::Hpet.index() != 0 {
            self.update_nets(state, cx, |net| !net.unless_hpet.is_empty());
        }
        if state.touched & PCI_CONFIG != 0 && state.follow_pci() {
            self.update_nets(state, cx, |net| net.irq.is_some());
        }
        if state.touched & MAP != 0 {
            self.follow_memory_map(state);
        }
        while let Some(signal) = state.backplane.take() {
            match signal {
                Signal::Level { wire, level } => self.carry(state, cx, wire, level),
                Signal::Message(message) => state.deliver(cx, message),
                Signal::EndOfInterrupt(vector) => {
                    state.touch(Chip::IoApic);
                    state.chips.ioapic_mut().end_of_interrupt(cx, vector);
                }
                Signal::Cpu { vcpu, signal } => {
                    if let Some(cpu) = self.cpu(vcpu) {
                        cpu.drive(signal);
                    }
                }
                Signal::Power(power) => {
                    if power == Power::Off {
                        log::debug!("the guest switched the machine off");
                    }
                    self.stop(Cause::Power(power, state.origin));
                }
            }
        }
    }

    fn carry(&self, state: &mut State, cx: &mut Cx<'_>, wire: u32, level: bool) {
        let Some(place) = state.wires.get_mut(wire as usize) else { return };
        *place = level;
        if wire as usize >= Wire::COUNT {
            return self.update_nets(state, cx, |net| net.irq.is_some());
        }
        let is = |w: &Wire| *w as u32 == wire;
        self.update_nets(state, cx, |n| n.from.iter().any(is) || n.unless_hpet.iter().any(is));
    }

    /// Brings the nets that `which` names to the level of their wires.
    fn update_nets(&self, state: &mut State, cx: &mut Cx<'_>, which: impl Fn(&Net) -> bool) {
        let legacy = state.chips.pc().is_some_and(|pc| pc.hpet.legacy_routing());
        let cards = state.card_irqs();
        for (n, net) in
            state.chips.schematic().nets.iter().enumerate().filter(|(_, net)| which(net))
        {
            let high = |wire: &Wire| state.wires[*wire as usize];
            let level = net.from.iter().any(high)
                || (!legacy && net.unless_hpet.iter().any(high))
                || net.irq.is_some_and(|irq| cards >> irq & 1 != 0);
            if state.nets[n] == level {
                continue;
            }
            state.nets[n] = level;
            for sink in net.to {
                match *sink {
                    Sink::Pin(chip, pin) => state.input(cx, chip, pin, level),
                    Sink::Lint0 => {
                        for vcpu in 0..self.cpus.len() as u16 {
                            state.input(cx, Chip::LocalApics, vcpu * 2, level);
                        }
                    }
                    Sink::A20 => self.drive_a20(state),
                }
            }
        }
    }

    fn drive_a20(&self, state: &State) {
        let nets = state.chips.schematic().nets.iter().zip(&state.nets);
        let closed = { nets }.any(|(net, level)| !level && net.to.contains(&Sink::A20));
        for cpu in &self.cpus {
            cpu.mask_a20(closed);
        }
    }

    /// Notes when the chips that were touched want to be woken.
    fn note_due(&self, state: &mut State) {
        if state.touched == 0 {
            return;
        }
        for chip in Chip::all() {
            if state.touched & 1 << chip.index() != 0 {
                let timed = state.chips.device(chip).and_then(|d| d.as_timed());
                state.due[chip.index()] = timed.and_then(|t| t.next_event());
            }
        }
        state.touched = 0;
        let next = state.due.iter().flatten().min().map_or(NEVER, |due| due.ns());
        self.next_due.store(next, Ordering::SeqCst);
    }

    /// Sees to it that somebody calls [`Board::advance`] in time. Under the lock.
    fn call_for_due(&self, vcpu: u32) {
        let next = self.next_due.load(Ordering::SeqCst);
        if next >= self.awaited.load(Ordering::SeqCst) {
            return;
        }
        self.awaited.store(next, Ordering::SeqCst);
        match self.clock.kind() {
            ClockKind::Host => self.poke_timer(),
            // The vCPU that has its turn must not run past it.
            ClockKind::Instructions => {
                if let Some(cpu) = self.cpu(vcpu) {
                    cpu.end_turn();
                }
            }
        }
    }
}

impl State {
    /// An interrupt message goes to where the local APICs are.
    fn deliver(&mut self, cx: &mut Cx<'_>, message: Message) {
        match &self.host_apics {
            // Only the board's takes one whose vector the 8259 has.
            Some(host) if message.delivery != DeliveryMode::ExtInt => {
                let (address, data) = message_msi(message);
                host.message(address, data);
            }
            _ => {
                self.touch(Chip::LocalApics);
                self.chips.apics_mut().deliver(cx, message);
            }
        }
    }

    fn touch(&mut self, chip: Chip) {
        self.touched |= 1 << chip.index();
    }

    /// A vCPU accesses `chip`.
    fn accessed(&mut self, chip: Chip) {
        self.touch(chip);
        self.accesses[chip.index()] += 1;
        if let Some(device) = self.chips.device(chip) {
            self.origin = device.name();
        }
    }

    fn input(&mut self, cx: &mut Cx<'_>, chip: Chip, pin: u16, level: bool) {
        self.touch(chip);
        if let Some(inputs) = self.chips.device(chip).and_then(|d| d.as_inputs()) {
            inputs.input(cx, pin, level);
        }
    }

    fn refill_com1(&mut self, cx: &mut Cx<'_>) {
        let com1 = self.chips.com1_mut();
        let mut taken = 0;
        for incoming in &self.incoming {
            let is_taken = match *incoming {
                Incoming::Byte(byte) => com1.receive(cx, &[byte]) == 1,
                Incoming::Break => com1.receive_break(cx),
            };
            if !is_taken {
                break;
            }
            taken += 1;
        }
        if taken > 0 {
            self.incoming.drain(..taken);
            self.touch(Chip::Com1);
        }
    }

    /// Nobody answers an access: worth a line now and then.
    fn note_unclaimed(&mut self, what: &str, at: u64, len: usize) {
        self.unclaimed += 1;
        if self.unclaimed <= 16 || self.unclaimed.is_power_of_two() {
            log::debug!(
                "nothing answers {what} {at:#x} ({len} bytes; {} such accesses so far)",
                self.unclaimed
            );
        }
    }
}

impl Bus for Board {
    fn mmio_read(&self, by: Access, at: Gpa, data: &mut [u8]) {
        data.fill(0xff);
        self.access(by, |state, cx| {
            let (mut at, mut rest) = (at, data);
            while !rest.is_empty() {
                let Some((place, left)) = state.window(self, by.vcpu, at) else {
                    state.note_unclaimed("a read at", at.0, rest.len());
                    return;
                };
                let len = rest.len().min(MMIO_PIECE).min(left as usize);
                let (now, later) = rest.split_at_mut(len);
                state.accessed(place.chip);
                state.mmio_read(cx, place, now);
                at = at.offset(len as u64);
                rest = later;
            }
        });
    }

    fn mmio_write(&self, by: Access, at: Gpa, data: &[u8]) {
        self.access(by, |state, cx| {
            let (mut at, mut rest) = (at, data);
            while !rest.is_empty() {
                if let Some(shadow) = state.shadow(at) {
                    let (now, later) = rest.split_at(rest.len().min(shadow.run as usize));
                    self.ram.store_bytes(shadow.offset, now);
                    at = at.offset(now.len() as u64);
                    rest = later;
                    continue;
                }
                let Some((place, left)) = state.window(self, by.vcpu, at) else {
                    state.note_unclaimed("a write at", at.0, rest.len());
                    return;
                };
                let len = rest.len().min(MMIO_PIECE).min(left as usize);
                let (now, later) = rest.split_at(len);
                state.accessed(place.chip);
                state.mmio_write(cx, place, now);
                self.settle(state, cx);
                at = at.offset(len as u64);
                rest = later;
            }
        });
    }

    fn port_in(&self, by: Access, port: u16, data: &mut [u8]) {
        data.fill(0xff);
        self.each_port("IN from port", by, port, data.len(), |state, cx, place, part| {
            state.port_in(cx, place, &mut data[part]);
        });
    }

    fn port_out(&self, by: Access, port: u16, data: &[u8]) {
        self.each_port("OUT to port", by, port, data.len(), |state, cx, place, part| {
            state.port_out(cx, place, &data[part]);
        });
    }

    fn read_msr(&self, by: Access, number: u32) -> Result<u64, MsrFault> {
        self.access(by, |state, cx| {
            state.accessed(Chip::LocalApics);
            let apics = state.chips.apics_mut();
            match number {
                msr::APIC_BASE => Ok(apics.apic_base(by.vcpu)),
                msr::TSC_DEADLINE => Ok(apics.read_tsc_deadline(cx)),
                msr::KVM_PV_EOI => Ok(apics.pv_eoi(by.vcpu)),
                _ => apics.read_msr(cx, number).map_err(|_| MsrFault),
            }
        })
    }

    fn write_msr(
        &self,
        by: Access,
        number: u32,
        value: u64,
        deadline: Option<VmTime>,
    ) -> Result<(), MsrFault> {
        self.access(by, |state, cx| {
            state.accessed(Chip::LocalApics);
            let apics = state.chips.apics_mut();
            match number {
                msr::APIC_BASE => apics.set_apic_base(cx, value).map_err(|_| MsrFault),
                msr::TSC_DEADLINE => {
                    apics.write_tsc_deadline(cx, value, deadline.unwrap_or(cx.now));
                    Ok(())
                }
                msr::KVM_PV_EOI => apics.set_pv_eoi(cx, value).map_err(|_| MsrFault),
                _ => apics.write_msr(cx, number, value).map_err(|_| MsrFault),
            }
        })
    }

    fn task_priority(&self, by: Access) -> u8 {
        self.lock().chips.apics().tpr(by.vcpu) >> 4
    }

    fn set_task_priority(&self, by: Access, priority: u8) {
        self.access(by, |state, cx| {
            state.accessed(Chip::LocalApics);
            state.chips.apics_mut().set_tpr(cx, priority << 4);
        });
    }

    fn pins(&self, by: Access) -> Pins {
        self.cpu(by.vcpu).map_or_else(Pins::default, CpuWires::sample)
    }

    fn acknowledge_interrupt(&self, by: Access) -> Option<u8> {
        self.access(by, |state, cx| {
            state.touch(Chip::LocalApics);
            match state.chips.apics_mut().acknowledge(cx) {
                Ack::Vector(vector) => Some(vector),
                Ack::ExtInt => {
                    state.touch(Chip::Pic);
                    state.chips.pc_mut().map(|pc| pc.pic.acknowledge())
                }
                Ack::None => None,
            }
        })
    }

    fn random(&self, _by: Access) -> u64 {
        self.random.next()
    }

    fn send_interrupt(&self, by: Access, apic_id: u32, icr: u32) -> bool {
        let Some(delivery) = DeliveryMode::from_bits(icr >> 8) else { return false };
        if apic_id as usize >= self.cpus.len() {
            return false;
        }
        let message = Message {
            destination: Destination::Physical(apic_id),
            delivery,
            vector: icr as u8,
            trigger: TriggerMode::Edge,
        };
        self.access(by, |state, cx| {
            state.accessed(Chip::LocalApics);
            state.deliver(cx, message);
        });
        true
    }

    fn now(&self, by: Access) -> VmTime {
        self.clock.now_of(by)
    }

    fn wall_clock(&self) -> Duration {
        self.wall_clock
    }

    fn take_stolen_ns(&self, _by: Access) -> u64 {
        match self.clock.kind() {
            ClockKind::Host => stolen::take_ns(),
            ClockKind::Instructions => 0,
        }
    }

    fn set_tsc_offset(&self, by: Access, offset: u64) {
        self.tscs.set(by.vcpu, offset, &self.cpus);
    }
}
