//! The register map (SDM vol. 3A, table 11-1) and what writes to the registers do. A register's
//! number is its offset in the window, or its MSR less 800h, in units of 16 bytes or 1.

use trine_guest::VmTime;

use super::{LocalApics, state::Apic, timer::Mode};

// The error status register (section 11.5.3).
pub(super) const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
pub(super) const RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;
pub(super) const ILLEGAL_REGISTER: u32 = 1 << 7;

// The spurious-interrupt vector register (section 11.9).
pub(super) const SVR_ENABLE: u32 = 1 << 8;
pub(super) const SVR_SUPPRESS_EOI_BROADCAST: u32 = 1 << 12;
/// Bit 9, focus processor checking, is kept for the sake of systems that set it for a P6.
pub(super) const SVR_WRITABLE: u32 = 0x13ff;

// An LVT entry (section 11.5.1).
pub(super) const REMOTE_IRR: u32 = 1 << 14;
pub(super) const LEVEL: u32 = 1 << 15;
pub(super) const MASKED: u32 = 1 << 16;
/// The bits of each entry that software can write.
pub(super) const LVT_WRITABLE: [u32; 6] =
    [0x0007_00ff, 0x0001_07ff, 0x0001_07ff, 0x0001_a7ff, 0x0001_a7ff, 0x0001_00ff];

/// Version 14h (an integrated xAPIC), six LVT entries, EOI broadcasts can be suppressed.
const VERSION: u32 = 0x14 | 5 << 16 | 1 << 24;
/// The bits of the lower half of the ICR that software can write.
const ICR_WRITABLE: u32 = 0x000c_cfff;

/// An entry of the local vector table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lvt {
    Timer,
    Thermal,
    Performance,
    Lint0,
    Lint1,
    Error,
}

impl Lvt {
    /// The entries of the pins, as indices.
    pub(super) const LINT: [usize; 2] = [Self::Lint0 as usize, Self::Lint1 as usize];

    /// The entry that is register `register`, as an index.
    pub(super) fn index(register: u32) -> Option<usize> {
        match register {
            0x32..=0x37 => Some((register - 0x32) as usize),
            _ => None,
        }
    }
}

impl Apic {
    /// Register `register` in xAPIC mode; `None` where there is none.
    pub(super) fn register(&self, register: u32, now: VmTime, bus_hz: u64) -> Option<u32> {
        Some(match register {
            0x02 => u32::from(self.xapic_id) << 24,
            0x03 => VERSION,
            0x08 => u32::from(self.tpr),
            0x09 => u32::from(self.apr()),
            0x0a => u32::from(self.ppr()),
            // EOI can only be written; no APIC since the Pentium 4 answers a remote read.
            0x0b | 0x0c => 0,
            0x0d => u32::from(self.logical) << 24,
            0x0e => u32::from(self.format) << 28 | 0x0fff_ffff,
            0x0f => self.svr,
            0x10..=0x17 => self.isr.word(register),
            0x18..=0x1f => self.tmr.word(register),
            0x20..=0x27 => self.irr.word(register),
            0x28 => self.esr,
            0x30 => self.icr as u32,
            0x31 => (self.icr >> 32) as u32,
            0x38 => self.timer.initial(),
            0x39 => self.timer.count(now, bus_hz, self.timer_mode()),
            0x3e => self.timer.divide(),
            _ => return Lvt::index(register).map(|entry| self.lvt[entry]),
        })
    }
}

impl LocalApics {
    /// A write to register `register` of APIC `n`. In x2APIC mode the reserved bits have been
    /// checked. The caller updates the interrupt pin.
    pub(super) fn write_register(&mut self, n: usize, now: VmTime, register: u32, value: u32) {
        let apic = &mut self.state.apics[n];
        let (hz, mode) = (self.bus_hz, apic.timer_mode());
        match register {
            0x02 if apic.in_xapic_mode() => apic.xapic_id = (value >> 24) as u8,
            0x08 => apic.tpr = value as u8,
            0x0b => self.end_of_interrupt(n),
            0x0d => apic.logical = (value >> 24) as u8,
            0x0e => apic.format = (value >> 28) as u8,
            0x0f => self.set_svr(n, value),
            0x28 => {
                apic.esr = std::mem::take(&mut apic.errors);
                apic.error_raised = false;
            }
            0x30 => {
                let destination = apic.icr & !0xffff_ffff;
                apic.icr = destination | u64::from(value & ICR_WRITABLE);
                self.send_command(n);
            }
            0x31 => apic.icr = apic.icr & 0xffff_ffff | u64::from(value & 0xff00_0000) << 32,
            0x38 => apic.timer.set_initial(now, hz, mode, value),
            0x3e => apic.timer.set_divide(now, hz, mode, value),
            // Those that can only be read.
            0x02 | 0x03 | 0x09 | 0x0a | 0x0c | 0x10..=0x27 | 0x39 => {}
            _ => match Lvt::index(register) {
                Some(entry) => self.set_lvt(n, now, entry, value),
                None => self.error(n, ILLEGAL_REGISTER),
            },
        }
    }

    /// Writes the spurious-interrupt vector register. Software-disabling masks the whole LVT
    /// (section 11.4.7.2); enabling does not unmask it.
    fn set_svr(&mut self, n: usize, value: u32) {
        let apic = &mut self.state.apics[n];
        apic.svr = value & SVR_WRITABLE;
        if apic.svr & SVR_ENABLE == 0 {
            for entry in &mut apic.lvt {
                *entry |= MASKED;
            }
        }
    }

    fn set_lvt(&mut self, n: usize, now: VmTime, entry: usize, value: u32) {
        let apic = &mut self.state.apics[n];
        let old = apic.lvt[entry];
        let mut new = value & LVT_WRITABLE[entry];
        if apic.svr & SVR_ENABLE == 0 {
            new |= MASKED;
        }
        // Remote IRR can only be read, and means nothing for an edge.
        if new & LEVEL != 0 {
            new |= old & REMOTE_IRR;
        }
        apic.lvt[entry] = new;
        if entry == Lvt::Timer as usize {
            let (old, new) = (Mode::of_entry(old), Mode::of_entry(new));
            apic.timer.set_mode(now, self.bus_hz, old, new);
        }
        self.serve_level_pins(n);
    }

    /// Writes EOI: the interrupt in service with the highest priority ends (section 11.8.5).
    pub(super) fn end_of_interrupt(&mut self, n: usize) {
        let apic = &mut self.state.apics[n];
        let Some(vector) = apic.isr.highest() else { return };
        apic.isr.clear(vector);
        if !apic.tmr.has(vector) {
            return;
        }
        for entry in Lvt::LINT {
            if apic.lvt[entry] as u8 == vector {
                apic.lvt[entry] &= !REMOTE_IRR;
            }
        }
        if apic.svr & SVR_SUPPRESS_EOI_BROADCAST == 0 {
            self.backplane.say(crate::Signal::EndOfInterrupt(vector));
        }
        self.serve_level_pins(n);
    }
}
