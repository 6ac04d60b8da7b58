//! The registers of the local APICs, and what follows from them alone: modes and priorities.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use super::{
    Ack, Gp, pv_eoi,
    registers::{LVT_WRITABLE, Lvt, MASKED, REMOTE_IRR, SVR_ENABLE, SVR_WRITABLE},
    timer::{Mode, Timer},
    vectors::Vectors,
};

// IA32_APIC_BASE (SDM section 11.4.4, figure 11-26).
const BASE_BSP: u64 = 1 << 8;
const BASE_X2APIC: u64 = 1 << 10;
const BASE_ENABLE: u64 = 1 << 11;
const BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const BASE_POWER_ON: u64 = 0xfee0_0000 | BASE_ENABLE;

/// All local APICs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) apics: Vec<Apic>,
    /// Who is asked first for the next interrupt of lowest priority.
    pub(super) turn: u32,
}

impl State {
    /// Whether this is a possible state of `vcpus` local APICs.
    pub(super) fn check(&self, vcpus: usize, bus_hz: u64) -> Result<(), String> {
        if self.apics.len() != vcpus || self.turn as usize >= vcpus {
            return Err(format!("{} local APICs instead of {vcpus}", self.apics.len()));
        }
        for (n, apic) in self.apics.iter().enumerate() {
            if apic.id as usize != n {
                return Err(format!("local APIC {n} has ID {}", apic.id));
            }
            apic.check(bus_hz).map_err(|reason| format!("local APIC {n}: {reason}"))?;
        }
        Ok(())
    }
}

/// One local APIC.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Apic {
    pub(super) id: u32,
    /// The ID of xAPIC mode, which software may change.
    pub(super) xapic_id: u8,
    /// IA32_APIC_BASE.
    pub(super) base: u64,
    pub(super) tpr: u8,
    /// The logical APIC ID of xAPIC mode.
    pub(super) logical: u8,
    /// The model of the destination format register: Fh flat, 0 cluster.
    pub(super) format: u8,
    pub(super) svr: u32,
    pub(super) isr: Vectors,
    pub(super) tmr: Vectors,
    pub(super) irr: Vectors,
    /// The error status register as software reads it.
    pub(super) esr: u32,
    /// The errors since the last write to it.
    pub(super) errors: u32,
    /// The error interrupt was raised since then.
    pub(super) error_raised: bool,
    /// The interrupt command register; the destination is in the upper half.
    pub(super) icr: u64,
    /// By [`Lvt`].
    pub(super) lvt: [u32; 6],
    pub(super) timer: Timer,
    /// The levels of LINT0 and LINT1.
    pub(super) pins: [bool; 2],
    /// An ExtINT message waits to be acknowledged.
    pub(super) ext_int: bool,
    /// MSR_KVM_EOI_EN.
    pub(super) pv_eoi: u64,
    /// The guest was told that it may end the interrupt in service by a bit in memory.
    pub(super) has_offer: bool,
}

impl Apic {
    /// The local APIC of vCPU `id` at power-on.
    pub(super) fn new(id: u32) -> Self {
        Self {
            id,
            xapic_id: id as u8,
            base: BASE_POWER_ON | if id == 0 { BASE_BSP } else { 0 },
            tpr: 0,
            logical: 0,
            format: 0xf,
            svr: 0xff,
            isr: Vectors::default(),
            tmr: Vectors::default(),
            irr: Vectors::default(),
            esr: 0,
            errors: 0,
            error_raised: false,
            icr: 0,
            lvt: [MASKED; 6],
            timer: Timer::default(),
            pins: [false; 2],
            ext_int: false,
            pv_eoi: 0,
            has_offer: false,
        }
    }

    /// The RESET pin. The levels of the input pins are others' and stay.
    pub(super) fn reset(&mut self) {
        *self = Self { pins: self.pins, ..Self::new(self.id) };
    }

    /// INIT: everything but the APIC ID and IA32_APIC_BASE (sections 11.4.7.3 and 11.12.5.1).
    pub(super) fn init(&mut self) {
        let (pins, base, xapic_id) = (self.pins, self.base, self.xapic_id);
        *self = Self { pins, base, xapic_id, ..Self::new(self.id) };
    }

    /// Whether IA32_APIC_BASE enables it at all.
    pub(super) fn enabled(&self) -> bool {
        self.base & BASE_ENABLE != 0
    }

    pub(super) fn in_xapic_mode(&self) -> bool {
        self.base & (BASE_ENABLE | BASE_X2APIC) == BASE_ENABLE
    }

    pub(super) fn in_x2apic_mode(&self) -> bool {
        self.base & (BASE_ENABLE | BASE_X2APIC) == BASE_ENABLE | BASE_X2APIC
    }

    /// Whether it is enabled, in the spurious-interrupt vector register too.
    pub(super) fn software_enabled(&self) -> bool {
        self.enabled() && self.svr & SVR_ENABLE != 0
    }

    /// Writes IA32_APIC_BASE.
    pub(super) fn set_base(&mut self, value: u64) -> Result<(), Gp> {
        if value & !(BASE_ADDRESS | BASE_ENABLE | BASE_X2APIC | BASE_BSP) != 0 {
            return Err(Gp);
        }
        let mode = |base: u64| (base & BASE_ENABLE != 0, base & BASE_X2APIC != 0);
        match (mode(self.base), mode(value)) {
            (_, (false, true)) | ((true, true), (true, false)) | ((false, _), (true, true)) => {
                return Err(Gp);
            }
            ((true, _), (false, _)) => {
                // Its registers are lost; KVM's is not one of them.
                let pv_eoi = self.pv_eoi;
                self.init();
                self.pv_eoi = pv_eoi;
                self.xapic_id = self.id as u8;
            }
            ((true, false), (true, true)) => {
                self.icr &= 0xffff_ffff;
                self.xapic_id = self.id as u8;
            }
            _ => {}
        }
        self.base = value;
        Ok(())
    }

    /// The logical APIC ID of x2APIC mode (section 11.12.10.2).
    pub(super) fn x2apic_logical(&self) -> u32 {
        self.id >> 4 << 16 | 1 << (self.id & 0xf)
    }

    pub(super) fn timer_mode(&self) -> Mode {
        Mode::of_entry(self.lvt[Lvt::Timer as usize])
    }

    /// When the timer next interrupts.
    pub(super) fn next_event(&self) -> Option<VmTime> {
        let masked = self.lvt[Lvt::Timer as usize] & MASKED != 0;
        self.timer.next().filter(|_| !masked)
    }

    /// The processor priority register (section 11.8.3.1).
    pub(super) fn ppr(&self) -> u8 {
        let in_service = self.isr.highest().unwrap_or(0) & 0xf0;
        if self.tpr & 0xf0 >= in_service { self.tpr } else { in_service }
    }

    /// The arbitration priority register (section 11.6.2.4).
    pub(super) fn apr(&self) -> u8 {
        let request = self.irr.highest().unwrap_or(0) & 0xf0;
        let in_service = self.isr.highest().unwrap_or(0) & 0xf0;
        let task = self.tpr & 0xf0;
        if task >= request && task > in_service {
            self.tpr
        } else {
            (task & in_service).max(request)
        }
    }

    /// The interrupt that would be acknowledged now.
    fn deliverable(&self) -> Option<u8> {
        self.irr.highest().filter(|vector| vector & 0xf0 > self.ppr() & 0xf0)
    }

    /// Whether the 8259 asks, by a local pin or by a message.
    fn ext_int_asserted(&self) -> bool {
        if !self.enabled() {
            return self.pins[0];
        }
        let by_pin = |n: usize| self.pins[n] && self.lvt[Lvt::LINT[n]] & (MASKED | 0x700) == 0x700;
        self.ext_int || by_pin(0) || by_pin(1)
    }

    /// The level of the vCPU's interrupt pin. What waits while there is an offer may be
    /// deliverable: the acknowledge cycle will tell.
    pub(super) fn interrupt(&self) -> bool {
        let unsettled = self.has_offer && self.irr.highest().is_some();
        unsettled || self.ext_int_asserted() || self.deliverable().is_some()
    }

    /// The same while other APICs have its registers: what they do not know of.
    pub(super) fn lent_interrupt(&self) -> bool {
        self.pins[0] || self.ext_int
    }

    /// The acknowledge cycle of such an interrupt.
    pub(super) fn acknowledge_lent(&mut self) -> Ack {
        let is_there = self.lent_interrupt();
        self.ext_int = false;
        if is_there { Ack::ExtInt } else { Ack::None }
    }

    /// The interrupt acknowledge cycle.
    pub(super) fn acknowledge(&mut self) -> Ack {
        if let Some(vector) = self.deliverable() {
            self.irr.clear(vector);
            self.isr.set(vector);
            Ack::Vector(vector)
        } else if self.ext_int_asserted() {
            self.ext_int = false;
            Ack::ExtInt
        } else if self.irr.highest().is_some() {
            Ack::Vector(self.svr as u8)
        } else {
            Ack::None
        }
    }

    fn check(&self, bus_hz: u64) -> Result<(), String> {
        let mut copy = self.clone();
        copy.base = 0;
        let steps = [self.base & !BASE_X2APIC, self.base];
        if steps.iter().any(|base| copy.set_base(*base).is_err()) {
            return Err(format!("IA32_APIC_BASE cannot be {:#x}", self.base));
        }
        for (n, entry) in self.lvt.iter().enumerate() {
            let forced = self.svr & SVR_ENABLE == 0 && entry & MASKED == 0;
            if entry & !(LVT_WRITABLE[n] | REMOTE_IRR) != 0 || forced {
                return Err(format!("LVT entry {n} cannot be {entry:#x}"));
            }
        }
        if self.svr & !SVR_WRITABLE != 0 || self.format > 0xf {
            return Err(format!("SVR {:#x}, DFR {:#x}", self.svr, self.format));
        }
        let wants_offers = self.pv_eoi & pv_eoi::ENABLED != 0;
        if self.pv_eoi & pv_eoi::RESERVED != 0 || self.has_offer && !wants_offers {
            return Err(format!("MSR_KVM_EOI_EN {:#x}", self.pv_eoi));
        }
        if [&self.isr, &self.irr, &self.tmr].iter().any(|vectors| vectors.has_illegal()) {
            return Err("a vector below 16".to_owned());
        }
        self.timer.check(bus_hz, self.timer_mode())
    }
}
