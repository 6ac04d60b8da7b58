//! Lending the local APICs to APICs of another kind, the host's, and taking them back.
//!
//! An APIC goes as its registers, since it is nothing else between two accesses. What is no register
//! stays here: the levels of the input pins, errors that the ESR does not show yet, an ExtINT
//! message that waits, and whose turn it is for an interrupt of lowest priority.
//!
//! While they are lent nothing happens here: no timer runs, and messages are for the others.
//! Of the pins, LINT0 is the vCPU's INTR, from which the other APIC has to shield it as its LVT
//! says, and LINT1 is NMI.

use trine_guest::VmTime;

use super::{
    LocalApics,
    registers::{LVT_WRITABLE, Lvt, MASKED, REMOTE_IRR, SVR_ENABLE, SVR_WRITABLE},
    state::Apic,
    timer::Mode,
    vectors::Vectors,
};
use crate::{CpuSignal, Cx, DeliveryMode, Destination, Message, TriggerMode};

// Registers by number (SDM vol. 3A, table 11-1).
const ID: usize = 0x02;
const ISR: usize = 0x10;
const TMR: usize = 0x18;
const IRR: usize = 0x20;
const LVT: usize = 0x32;
const TIMER_INITIAL: usize = 0x38;
const TIMER_COUNT: usize = 0x39;
const TIMER_DIVIDE: usize = 0x3e;

/// A local APIC as it is lent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApicImage {
    /// IA32_APIC_BASE.
    pub base: u64,
    /// The registers, by offset in the window over 16. The ID is as it reads: in bits 31:24 in xAPIC
    /// mode, and the whole register in x2APIC mode. The current count is what is left of it; the
    /// initial count of a one-shot timer that has expired is 0.
    pub registers: [u32; 64],
    /// IA32_TSC_DEADLINE: 0 if it is not armed.
    pub tsc_deadline: u64,
    /// When the vCPU's time-stamp counter reaches it. Only who gives an APIC back has to know.
    pub deadline_at: VmTime,
    /// MSR_KVM_EOI_EN. There is no offer.
    pub pv_eoi: u64,
}

impl Apic {
    fn image(&self, now: VmTime, bus_hz: u64) -> ApicImage {
        let mut registers = [0; 64];
        for (n, register) in (0..).zip(&mut registers) {
            *register = self.register(n, now, bus_hz).unwrap_or(0);
        }
        if self.in_x2apic_mode() {
            registers[ID] = self.id;
            registers[0x0d] = self.x2apic_logical();
        }
        if registers[TIMER_COUNT] == 0 && self.timer_mode() == Mode::OneShot {
            registers[TIMER_INITIAL] = 0;
        }
        ApicImage {
            base: self.base,
            registers,
            tsc_deadline: self.timer.tsc_deadline(),
            deadline_at: match self.timer.tsc_deadline() {
                0 => VmTime::ZERO,
                _ => self.timer.next().unwrap_or(now),
            },
            pv_eoi: self.pv_eoi,
        }
    }

    /// The registers are as `image` says. Returns whether the timer has to interrupt at once: it
    /// has expired, and nobody can tell whether it has interrupted.
    fn set_image(&mut self, image: &ApicImage, now: VmTime, bus_hz: u64) -> bool {
        let r = &image.registers;
        let vectors = |first: usize| Vectors::from_words(std::array::from_fn(|n| r[first + n]));
        (self.base, self.pv_eoi, self.has_offer) = (image.base, image.pv_eoi, false);
        if !self.in_x2apic_mode() {
            (self.xapic_id, self.logical) = ((r[ID] >> 24) as u8, (r[0x0d] >> 24) as u8);
            self.format = (r[0x0e] >> 28) as u8;
        }
        self.tpr = r[0x08] as u8;
        self.svr = r[0x0f] & SVR_WRITABLE;
        (self.isr, self.tmr, self.irr) = (vectors(ISR), vectors(TMR), vectors(IRR));
        self.esr = r[0x28];
        self.icr = u64::from(r[0x31]) << 32 | u64::from(r[0x30]);
        for (n, entry) in self.lvt.iter_mut().enumerate() {
            let forced = if self.svr & SVR_ENABLE == 0 { MASKED } else { 0 };
            *entry = r[LVT + n] & (LVT_WRITABLE[n] | REMOTE_IRR) | forced;
        }
        let mode = self.timer_mode();
        self.timer.resume((now, bus_hz, mode), (r[TIMER_INITIAL], r[TIMER_COUNT]), r[TIMER_DIVIDE]);
        self.timer.set_tsc_deadline(mode, image.tsc_deadline, image.deadline_at);
        let vector = self.lvt[Lvt::Timer as usize] as u8;
        let expired = mode == Mode::OneShot && r[TIMER_INITIAL] != 0 && r[TIMER_COUNT] == 0;
        expired && !self.irr.has(vector) && !self.isr.has(vector)
    }
}

impl LocalApics {
    /// Lends them all, by vCPU, while no vCPU executes.
    pub fn lend(&mut self, cx: &mut Cx<'_>) -> Vec<ApicImage> {
        for n in 0..self.state.apics.len() {
            let mut cx = Cx { vcpu: n as u32, now: cx.now, ram: cx.ram };
            self.settle(&mut cx);
            self.catch_up(n, cx.now);
        }
        self.lent = true;
        (0..self.state.apics.len()).for_each(|n| self.update(n));
        self.state.apics.iter().map(|apic| apic.image(cx.now, self.bus_hz)).collect()
    }

    /// Whether they are lent.
    #[must_use]
    pub fn are_lent(&self) -> bool {
        self.lent
    }

    /// Takes them back, while no vCPU executes. Of `images` there is one for each vCPU.
    pub fn take_back(&mut self, cx: &mut Cx<'_>, images: &[ApicImage]) {
        self.lent = false;
        for (n, image) in images.iter().enumerate().take(self.state.apics.len()) {
            if self.state.apics[n].set_image(image, cx.now, self.bus_hz) {
                self.raise_local(n, Lvt::Timer);
            }
            // A pin that others have moved meanwhile.
            self.serve_level_pins(n);
            self.catch_up(n, cx.now);
            self.update(n);
        }
    }

    /// LINT0 or LINT1 of APIC `n`, which is lent, goes to `level`.
    pub(super) fn lent_pin(&mut self, n: usize, pin: usize, level: bool) {
        let was = std::mem::replace(&mut self.state.apics[n].pins[pin], level);
        if pin == 1 && level && !was {
            self.say(n, CpuSignal::Nmi);
        }
    }
}

/// A message as the store that a device makes for it (SDM vol. 3A, section 11.11): address and
/// data. Bits 31:8 of a destination are in bits 63:40 of the address, where KVM has them.
#[must_use]
pub fn message_msi(message: Message) -> (u64, u32) {
    let (id, logical) = match message.destination {
        Destination::Physical(u32::MAX) => (0xff, false),
        Destination::Physical(id) => (id, false),
        Destination::Logical(id) => (id, true),
    };
    let id = u64::from(id);
    let redirect = u64::from(message.delivery == DeliveryMode::LowestPriority);
    let address = 0xfee0_0000 | (id & 0xff) << 12 | redirect << 3 | u64::from(logical) << 2;
    let level = if message.trigger == TriggerMode::Level { 3 << 14 } else { 0 };
    (address | id >> 8 << 40, u32::from(message.vector) | (message.delivery as u32) << 8 | level)
}
