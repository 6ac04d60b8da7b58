//! The local APICs of all vCPUs, as one device: interrupts between processors stay inside it.
//!
//! Source: Intel SDM vol. 3A, chapter 11. It is the xAPIC of recent Intel processors (version
//! 14h, suppression of EOI broadcasts) with x2APIC mode. There is no LVT entry for corrected
//! machine checks, as IA32_MCG_CAP says. vCPU `n` has APIC ID `n`.
//!
//! - The registers are reached through [`Mmio`] (a 4 KiB window; [`Cx::vcpu`] says whose) in
//!   xAPIC mode, and through [`LocalApics::read_msr`] and [`LocalApics::write_msr`] in x2APIC mode.
//! - The input pins ([`Inputs`]) are `vcpu * 2` for LINT0 and `vcpu * 2 + 1` for LINT1. A level is
//!   "asserted or not": the polarity bit of the LVT is kept and changes nothing.
//! - All of them can be lent to APICs of the host's (`lend.rs`).
//! - The end of an interrupt may also be a bit in the guest's memory, as under KVM (`pv_eoi.rs`).
//! - It says [`Signal::Cpu`] for the pins of the vCPUs and [`Signal::EndOfInterrupt`]. Interrupts
//!   between processors are carried out at once and are never a [`Signal::Message`].
//!
//! Where the manual leaves a choice: an interrupt of lowest priority goes to the candidate with
//! the lowest processor priority, equals in turn; an unmasked interrupt of the 8259 (ExtINT) is
//! acknowledged after those of the APIC; registers written with anything but an aligned 32-bit
//! store are left alone.

mod delivery;
mod lend;
mod msr;
mod pv_eoi;
mod registers;
mod state;
#[cfg(test)]
mod tests;
mod timer;
mod vectors;

use trine_guest::VmTime;

pub use self::lend::{ApicImage, message_msi};
use self::{
    registers::{ILLEGAL_REGISTER, Lvt},
    state::{Apic, State},
};
use crate::{
    Backplane, CpuSignal, Cx, DeliveryMode, Destination, Device, Inputs, LoadError, Message, Mmio,
    Saved, Signal, Timed, TriggerMode,
};

/// The bytes of the window in which a vCPU sees its local APIC.
pub const WINDOW: u64 = 0x1000;

const NAME: &str = "apic";

/// The local APICs of a board's vCPUs.
pub struct LocalApics {
    backplane: Backplane,
    bus_hz: u64,
    state: State,
    /// The level of each vCPU's interrupt pin, as last said. Follows from the state.
    interrupt: Vec<bool>,
    /// Other APICs have their registers (`lend.rs`).
    lent: bool,
}

/// What an interrupt acknowledge cycle finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ack {
    /// The interrupt with this vector; it is in service now (the spurious vector never is).
    Vector(u8),
    /// The 8259 has the vector: run its acknowledge cycle.
    ExtInt,
    /// There is nothing to acknowledge any more.
    None,
}

/// The CPU raises #GP(0) instead of what was asked for; nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gp;

/// A source inside the processor that interrupts it through the LVT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LocalSource {
    /// An overflow of a performance counter. Masks its LVT entry, as Intel processors do.
    Performance,
    /// The thermal sensor.
    Thermal,
}

impl LocalApics {
    /// `vcpus` local APICs that were just powered on; vCPU 0 is the bootstrap processor. Their
    /// timers count at `bus_hz` ticks a second over the divide configuration (1 GHz makes a tick
    /// a nanosecond of [`VmTime`]).
    ///
    /// # Panics
    /// If there are no vCPUs or more than 32,768 (their pins could not be numbered), or if
    /// `bus_hz` is 0 or above 100 GHz.
    #[must_use]
    pub fn new(backplane: Backplane, vcpus: u32, bus_hz: u64) -> Self {
        assert!((1..=0x8000).contains(&vcpus), "{vcpus} local APICs");
        assert!((1..=100_000_000_000).contains(&bus_hz), "a local APIC at {bus_hz} Hz");
        let state = State { apics: (0..vcpus).map(Apic::new).collect(), turn: 0 };
        Self { backplane, bus_hz, state, interrupt: vec![false; vcpus as usize], lent: false }
    }

    /// What a firmware leaves to an operating system that knows no APIC ("virtual wire mode", MP
    /// specification 1.4, section 3.6.2.2): the APIC of `vcpu` is software-enabled, LINT0 takes
    /// the interrupts of the 8259 and LINT1 is NMI. A board without a firmware calls this for the
    /// bootstrap processor after a reset; without it LINT0 and LINT1 are masked.
    pub fn virtual_wire(&mut self, cx: &mut Cx<'_>, vcpu: u32) {
        let Some(n) = self.index(vcpu) else { return };
        for (register, value) in [(0xf, 0x10f), (0x35, 0x700), (0x36, 0x400)] {
            self.write_register(n, cx.now, register, value);
        }
        self.update(n);
    }

    /// Whether the INTR pin of `vcpu` is asserted: the level of the last
    /// [`CpuSignal::Interrupt`] of that vCPU.
    #[must_use]
    pub fn pending(&self, vcpu: u32) -> bool {
        self.index(vcpu).is_some_and(|n| self.interrupt[n])
    }

    /// The interrupt acknowledge cycle of `cx.vcpu`, which takes an interrupt now.
    ///
    /// An interrupt that waits, but may not interrupt any more because the task priority was
    /// raised after the vCPU had seen its pin, gives the spurious vector (SDM section 11.9).
    pub fn acknowledge(&mut self, cx: &mut Cx<'_>) -> Ack {
        let Some(n) = self.index(cx.vcpu) else { return Ack::None };
        let had_offer = self.settle(cx);
        let lent = self.lent;
        let apic = &mut self.state.apics[n];
        if had_offer && !apic.interrupt() {
            // That was all for which the pin was asserted.
            return Ack::None;
        }
        let ack = if lent { apic.acknowledge_lent() } else { apic.acknowledge() };
        if let Ack::Vector(vector) = ack {
            self.offer(cx, n, vector);
        }
        self.update(n);
        ack
    }

    /// The task priority register of `vcpu`: CR8 is its upper four bits.
    #[must_use]
    pub fn tpr(&self, vcpu: u32) -> u8 {
        self.index(vcpu).map_or(0, |n| self.state.apics[n].tpr)
    }

    /// Writes the task priority register of `cx.vcpu`; MOV to CR8 writes `CR8 << 4`.
    pub fn set_tpr(&mut self, cx: &mut Cx<'_>, tpr: u8) {
        let Some(n) = self.index(cx.vcpu) else { return };
        self.catch_up(n, cx.now);
        self.state.apics[n].tpr = tpr;
        self.update(n);
    }

    /// IA32_APIC_BASE (MSR 1Bh) of `vcpu`. Where the window lies is only kept here: the board
    /// decides whether it moves the window.
    #[must_use]
    pub fn apic_base(&self, vcpu: u32) -> u64 {
        self.index(vcpu).map_or(0, |n| self.state.apics[n].base)
    }

    /// Writes IA32_APIC_BASE of `cx.vcpu` (SDM sections 11.4.3 and 11.12.5). Disabling an APIC
    /// loses its registers. The CPU itself refuses address bits that its model does not have, and
    /// bit 10 if its model has no x2APIC.
    ///
    /// # Errors
    /// For reserved bits and for the transitions that the SDM forbids: to x2APIC without xAPIC,
    /// from x2APIC back to xAPIC, and from disabled directly to x2APIC.
    pub fn set_apic_base(&mut self, cx: &mut Cx<'_>, value: u64) -> Result<(), Gp> {
        let n = self.index(cx.vcpu).ok_or(Gp)?;
        self.settle(cx);
        self.catch_up(n, cx.now);
        self.state.apics[n].set_base(value)?;
        self.update(n);
        Ok(())
    }

    /// RDMSR of one of the x2APIC registers, `msr` being 800h to 8FFh.
    ///
    /// # Errors
    /// Outside of x2APIC mode, for reserved registers and for those that can only be written.
    pub fn read_msr(&mut self, cx: &mut Cx<'_>, msr: u32) -> Result<u64, Gp> {
        let n = self.x2apic(cx.vcpu).ok_or(Gp)?;
        self.settle(cx);
        self.catch_up(n, cx.now);
        self.msr(n, cx.now, msr)
    }

    /// WRMSR of one of the x2APIC registers, `msr` being 800h to 8FFh.
    ///
    /// # Errors
    /// Outside of x2APIC mode, for reserved registers, for those that can only be read, and for
    /// reserved bits that are not 0.
    pub fn write_msr(&mut self, cx: &mut Cx<'_>, msr: u32, value: u64) -> Result<(), Gp> {
        let n = self.x2apic(cx.vcpu).ok_or(Gp)?;
        self.settle(cx);
        self.catch_up(n, cx.now);
        self.set_msr(n, cx.now, msr, value)?;
        self.update(n);
        Ok(())
    }

    /// IA32_TSC_DEADLINE (MSR 6E0h) of `vcpu` as of `cx.now`: what was last written, 0 when the
    /// timer is not armed or the LVT timer is not in TSC-deadline mode.
    #[must_use]
    pub fn read_tsc_deadline(&mut self, cx: &mut Cx<'_>) -> u64 {
        let Some(n) = self.index(cx.vcpu) else { return 0 };
        self.catch_up(n, cx.now);
        self.state.apics[n].timer.tsc_deadline()
    }

    /// Writes IA32_TSC_DEADLINE of `cx.vcpu`: `value` is what the guest wrote, and `at` the time
    /// at which the vCPU's time-stamp counter reaches it (only the CPU knows its offset), now or
    /// earlier if it has passed. 0 disarms; outside of TSC-deadline mode the write is ignored.
    ///
    /// When the guest writes the time-stamp counter itself, the CPU calls this again with
    /// [`LocalApics::read_tsc_deadline`] and the new time.
    pub fn write_tsc_deadline(&mut self, cx: &mut Cx<'_>, value: u64, at: VmTime) {
        let Some(n) = self.index(cx.vcpu) else { return };
        self.catch_up(n, cx.now);
        let apic = &mut self.state.apics[n];
        if apic.enabled() {
            apic.timer.set_tsc_deadline(apic.timer_mode(), value, at);
        }
        self.catch_up(n, cx.now);
    }

    /// Delivers an interrupt message, of an I/O APIC or an MSI, to the APICs that it is for.
    ///
    /// An INIT resets the registers of the APIC and says [`CpuSignal::Init`].
    pub fn deliver(&mut self, cx: &mut Cx<'_>, message: Message) {
        for n in 0..self.state.apics.len() {
            self.catch_up(n, cx.now);
        }
        self.send(message, |_| true);
    }

    /// The INIT# pin of `vcpu`: its registers go to their values after an INIT (SDM section
    /// 11.4.7.3), IA32_APIC_BASE stays. No signal is said for it. An INIT that comes as a message
    /// has done this already.
    pub fn init(&mut self, cx: &mut Cx<'_>, vcpu: u32) {
        let Some(n) = self.index(vcpu) else { return };
        self.catch_up(n, cx.now);
        self.state.apics[n].init();
        self.update(n);
    }

    /// Something inside `vcpu` interrupts it through its LVT entry.
    pub fn local_interrupt(&mut self, cx: &mut Cx<'_>, vcpu: u32, source: LocalSource) {
        let Some(n) = self.index(vcpu) else { return };
        self.catch_up(n, cx.now);
        match source {
            LocalSource::Performance => self.performance_interrupt(n),
            LocalSource::Thermal => self.raise_local(n, Lvt::Thermal),
        }
        self.update(n);
    }

    fn index(&self, vcpu: u32) -> Option<usize> {
        ((vcpu as usize) < self.state.apics.len()).then_some(vcpu as usize)
    }

    fn xapic(&self, vcpu: u32) -> Option<usize> {
        self.index(vcpu).filter(|n| self.state.apics[*n].in_xapic_mode())
    }

    fn x2apic(&self, vcpu: u32) -> Option<usize> {
        self.index(vcpu).filter(|n| self.state.apics[*n].in_x2apic_mode())
    }

    /// The timer of APIC `n` does what is due by `now`.
    fn catch_up(&mut self, n: usize, now: VmTime) {
        if self.lent {
            return;
        }
        let apic = &mut self.state.apics[n];
        let mode = apic.timer_mode();
        if apic.timer.expire(now, self.bus_hz, mode) {
            self.raise_local(n, Lvt::Timer);
            self.update(n);
        }
    }

    /// Drives the interrupt pin of vCPU `n` to where the state says it is.
    fn update(&mut self, n: usize) {
        let apic = &self.state.apics[n];
        let level = if self.lent { apic.lent_interrupt() } else { apic.interrupt() };
        if self.interrupt[n] != level {
            self.interrupt[n] = level;
            self.say(n, CpuSignal::Interrupt(level));
        }
    }

    fn say(&self, n: usize, signal: CpuSignal) {
        self.backplane.say(Signal::Cpu { vcpu: n as u32, signal });
    }
}

/// The message that a 32-bit store of `data` at `address` is, if it is one: an MSI of a device
/// (SDM vol. 3A, section 11.11). Stores outside of FEE0_0000h to FEEF_FFFFh, reserved delivery
/// modes and the de-assertion of a level are none.
#[must_use]
pub fn msi_message(address: u64, data: u32) -> Option<Message> {
    if address >> 20 != 0xfee {
        return None;
    }
    let trigger = TriggerMode::from_bit(data & 1 << 15 != 0);
    if trigger == TriggerMode::Level && data & 1 << 14 == 0 {
        return None;
    }
    let (logical, redirect) = (address & 4 != 0, address & 8 != 0);
    let delivery = match DeliveryMode::from_bits(data >> 8)? {
        DeliveryMode::Startup => return None,
        DeliveryMode::Fixed if logical && redirect => DeliveryMode::LowestPriority,
        delivery => delivery,
    };
    let destination = Destination::from_byte((address >> 12) as u8, logical);
    Some(Message { destination, delivery, vector: data as u8, trigger })
}

impl Device for LocalApics {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        for n in 0..self.state.apics.len() {
            self.state.apics[n].reset();
            self.update(n);
        }
        self.state.turn = 0;
    }

    fn save(&self) -> Saved {
        Saved::pack(NAME, &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(NAME)?;
        state
            .check(self.state.apics.len(), self.bus_hz)
            .map_err(|reason| LoadError::Damaged { device: NAME, reason })?;
        self.interrupt = state.apics.iter().map(Apic::interrupt).collect();
        self.state = state;
        Ok(())
    }

    fn as_mmio(&mut self) -> Option<&mut dyn Mmio> {
        Some(self)
    }

    fn as_inputs(&mut self) -> Option<&mut dyn Inputs> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        Some(self)
    }
}

impl Mmio for LocalApics {
    fn mmio_read(&mut self, cx: &mut Cx<'_>, offset: u64, data: &mut [u8]) {
        let Some(n) = self.xapic(cx.vcpu) else { return };
        self.settle(cx);
        self.catch_up(n, cx.now);
        let value = self.state.apics[n].register((offset >> 4) as u32, cx.now, self.bus_hz);
        if value.is_none() {
            self.error(n, ILLEGAL_REGISTER);
            self.update(n);
        }
        // A register is the first 4 of 16 bytes; nothing answers in the other 12.
        let bytes = value.unwrap_or(0).to_le_bytes();
        let first = (offset & 0xf) as usize;
        for (at, byte) in data.iter_mut().enumerate() {
            *byte = bytes.get(first + at).copied().unwrap_or(0);
        }
    }

    fn mmio_write(&mut self, cx: &mut Cx<'_>, offset: u64, data: &[u8]) {
        let Some(n) = self.xapic(cx.vcpu) else { return };
        self.settle(cx);
        self.catch_up(n, cx.now);
        let Ok(bytes) = <[u8; 4]>::try_from(data) else { return };
        if offset & 0xf == 0 {
            self.write_register(n, cx.now, (offset >> 4) as u32, u32::from_le_bytes(bytes));
            self.update(n);
        }
    }
}

impl Inputs for LocalApics {
    fn input(&mut self, cx: &mut Cx<'_>, pin: u16, level: bool) {
        let Some(n) = self.index(u32::from(pin / 2)) else { return };
        self.catch_up(n, cx.now);
        match self.lent {
            true => self.lent_pin(n, usize::from(pin % 2), level),
            false => self.local_pin(n, usize::from(pin % 2), level),
        }
        self.update(n);
    }
}

impl Timed for LocalApics {
    fn next_event(&self) -> Option<VmTime> {
        if self.lent {
            return None;
        }
        self.state.apics.iter().filter_map(Apic::next_event).min()
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        for n in 0..self.state.apics.len() {
            self.catch_up(n, cx.now);
        }
    }
}
