//! How interrupts reach a local APIC: from its pins and the rest of its LVT, from other local
//! APICs and from messages (SDM vol. 3A, sections 11.5.1, 11.6 and 11.8).

use super::{
    LocalApics,
    registers::{LEVEL, Lvt, MASKED, RECEIVE_ILLEGAL_VECTOR, REMOTE_IRR, SEND_ILLEGAL_VECTOR},
    state::Apic,
};
use crate::{CpuSignal, DeliveryMode, Destination, Message, TriggerMode};

impl Apic {
    /// Whether a message to `destination` is for this APIC (section 11.6.2).
    fn is_meant(&self, destination: Destination) -> bool {
        match destination {
            Destination::Physical(u32::MAX) | Destination::Logical(u32::MAX) => true,
            Destination::Physical(id) if self.in_x2apic_mode() => id == self.id,
            Destination::Physical(id) => id == 0xff || id == u32::from(self.xapic_id),
            Destination::Logical(id) if self.in_x2apic_mode() => {
                let own = self.x2apic_logical();
                id >> 16 == own >> 16 && id & own & 0xffff != 0
            }
            Destination::Logical(id) => {
                let Ok(id) = u8::try_from(id) else { return false };
                match self.format {
                    0xf => id & self.logical != 0,
                    0 => {
                        let cluster = id >> 4 == 0xf || id >> 4 == self.logical >> 4;
                        cluster && id & self.logical & 0xf != 0
                    }
                    _ => false,
                }
            }
        }
    }
}

impl LocalApics {
    /// The ICR of APIC `n` was written: sends its interrupt (section 11.6.1).
    pub(super) fn send_command(&mut self, n: usize) {
        let apic = &self.state.apics[n];
        let (icr, x2apic) = (apic.icr, apic.in_x2apic_mode());
        let low = icr as u32;
        let Some(delivery) = DeliveryMode::from_bits(low >> 8) else { return };
        let vectored = matches!(delivery, DeliveryMode::Fixed | DeliveryMode::LowestPriority);
        if vectored && low as u8 & 0xf0 == 0 {
            self.error(n, SEND_ILLEGAL_VECTOR);
            return;
        }
        // "INIT level de-assert" synchronises arbitration IDs on the APIC bus, and no processor
        // since the Pentium 4 has that; an ExtINT cannot be sent.
        let deassert = delivery == DeliveryMode::Init && low & LEVEL != 0 && low & 1 << 14 == 0;
        if deassert || delivery == DeliveryMode::ExtInt {
            return;
        }
        let logical = low & 1 << 11 != 0;
        let destination = if x2apic {
            let id = (icr >> 32) as u32;
            if logical { Destination::Logical(id) } else { Destination::Physical(id) }
        } else {
            Destination::from_byte((icr >> 56) as u8, logical)
        };
        // Those sent by the ICR are always edges.
        let message =
            Message { destination, delivery, vector: low as u8, trigger: TriggerMode::Edge };
        let everyone = Message { destination: Destination::Physical(u32::MAX), ..message };
        match low >> 18 & 3 {
            0 => self.send(message, |_| true),
            // Of the shorthands with oneself, only fixed interrupts are valid (table 11-3).
            1 if delivery == DeliveryMode::Fixed => self.send(everyone, |to| to == n),
            2 if delivery == DeliveryMode::Fixed => self.send(everyone, |_| true),
            2 if delivery == DeliveryMode::LowestPriority => self.send(everyone, |_| true),
            3 => self.send(everyone, |to| to != n),
            shorthand => log::debug!("vCPU {n} sends {delivery:?} with shorthand {shorthand}"),
        }
    }

    /// Sends `message` to those that it is meant for, of those that `among` allows.
    pub(super) fn send(&mut self, message: Message, among: impl Fn(usize) -> bool) {
        let vcpus = self.state.apics.len();
        let meant = |apic: &Apic, n: usize| {
            among(n) && apic.enabled() && apic.is_meant(message.destination)
        };
        if message.delivery == DeliveryMode::LowestPriority {
            let turn = self.state.turn as usize;
            let lowest = (0..vcpus)
                .map(|n| (turn + n) % vcpus)
                .filter(|n| {
                    meant(&self.state.apics[*n], *n) && self.state.apics[*n].software_enabled()
                })
                .min_by_key(|n| self.state.apics[*n].ppr());
            if let Some(n) = lowest {
                self.state.turn = ((n + 1) % vcpus) as u32;
                self.receive(n, message);
            }
            return;
        }
        for n in 0..vcpus {
            if meant(&self.state.apics[n], n) {
                self.receive(n, message);
            }
        }
    }

    /// APIC `n`, which is enabled, gets `message`. Software-disabled it answers to INIT, NMI, SMI
    /// and SIPI only (section 11.4.7.2).
    fn receive(&mut self, n: usize, message: Message) {
        match message.delivery {
            DeliveryMode::Smi => self.say(n, CpuSignal::Smi),
            DeliveryMode::Nmi => self.say(n, CpuSignal::Nmi),
            DeliveryMode::Startup => self.say(n, CpuSignal::Startup(message.vector)),
            DeliveryMode::Init => {
                self.state.apics[n].init();
                self.update(n);
                self.say(n, CpuSignal::Init);
                return;
            }
            _ if !self.state.apics[n].software_enabled() => {}
            DeliveryMode::ExtInt => self.state.apics[n].ext_int = true,
            DeliveryMode::Fixed | DeliveryMode::LowestPriority => {
                self.accept(n, message.vector, message.trigger);
            }
        }
        self.update(n);
    }

    /// APIC `n` accepts a fixed interrupt.
    pub(super) fn accept(&mut self, n: usize, vector: u8, trigger: TriggerMode) {
        if vector < 16 {
            self.error(n, RECEIVE_ILLEGAL_VECTOR);
            return;
        }
        let apic = &mut self.state.apics[n];
        apic.irr.set(vector);
        match trigger {
            TriggerMode::Edge => apic.tmr.clear(vector),
            TriggerMode::Level => apic.tmr.set(vector),
        }
    }

    /// APIC `n` detects an error. The interrupt is raised once between writes to the ESR.
    pub(super) fn error(&mut self, n: usize, error: u32) {
        let apic = &mut self.state.apics[n];
        apic.errors |= error;
        if apic.lvt[Lvt::Error as usize] & MASKED == 0 && !apic.error_raised {
            apic.error_raised = true;
            self.raise_local(n, Lvt::Error);
        }
    }

    /// A local source of APIC `n` interrupts, as an edge.
    pub(super) fn raise_local(&mut self, n: usize, source: Lvt) {
        let entry = self.state.apics[n].lvt[source as usize];
        if entry & MASKED != 0 {
            return;
        }
        match DeliveryMode::from_bits(entry >> 8) {
            Some(DeliveryMode::Fixed) => self.accept(n, entry as u8, TriggerMode::Edge),
            Some(DeliveryMode::Smi) => self.say(n, CpuSignal::Smi),
            Some(DeliveryMode::Nmi) => self.say(n, CpuSignal::Nmi),
            Some(DeliveryMode::Init) => {
                self.state.apics[n].init();
                self.say(n, CpuSignal::Init);
            }
            // ExtINT is a level, and the other encodings are reserved.
            _ => {}
        }
    }

    /// A performance counter overflowed.
    pub(super) fn performance_interrupt(&mut self, n: usize) {
        self.raise_local(n, Lvt::Performance);
        self.state.apics[n].lvt[Lvt::Performance as usize] |= MASKED;
    }

    /// LINT0 or LINT1 of APIC `n` goes to `level`. Without an APIC the pins are INTR and NMI
    /// (section 11.4.3).
    pub(super) fn local_pin(&mut self, n: usize, pin: usize, level: bool) {
        let apic = &mut self.state.apics[n];
        let rises = level && !apic.pins[pin];
        apic.pins[pin] = level;
        if !apic.enabled() {
            if pin == 1 && rises {
                self.say(n, CpuSignal::Nmi);
            }
        } else if is_level(apic.lvt[Lvt::LINT[pin]]) {
            self.serve_level_pins(n);
        } else if rises {
            self.raise_local(n, if pin == 0 { Lvt::Lint0 } else { Lvt::Lint1 });
        }
    }

    /// Level-triggered pins of APIC `n` interrupt where they are asserted and not in service.
    pub(super) fn serve_level_pins(&mut self, n: usize) {
        for (pin, index) in Lvt::LINT.into_iter().enumerate() {
            let apic = &mut self.state.apics[n];
            let entry = apic.lvt[index];
            let free = entry & (MASKED | REMOTE_IRR) == 0;
            if apic.pins[pin] && is_level(entry) && free {
                if entry as u8 >= 16 {
                    apic.lvt[index] |= REMOTE_IRR;
                }
                self.accept(n, entry as u8, TriggerMode::Level);
            }
        }
    }
}

/// Whether a LINT entry is a level-triggered fixed interrupt; the other modes have their own.
fn is_level(entry: u32) -> bool {
    entry & LEVEL != 0 && entry & 0x700 == 0
}
