//! The I/O APIC: 24 input pins, each turned into interrupt messages as its redirection entry says.
//!
//! Source: Intel 82093AA datasheet (order number 290566); the EOI register and version 20h are
//! those of the I/O APIC in the ICH ("I/O Controller Hub 2" datasheet and later, section on the
//! APIC). Version 20h is offered because an operating system then ends level-triggered interrupts
//! by the EOI register where it must (a suppressed EOI broadcast, an entry whose Remote IRR is
//! stuck), while with version 11h it has to switch the entry to edge and back for it; Linux, the
//! BSDs, Xen and Windows all take both, and the local APICs of this board can suppress the
//! broadcast, which is only usable with an EOI register.
//!
//! A pin is asserted or not, whatever the voltage: the polarity bit of an entry is kept and
//! changes nothing, because the wires of a board carry assertion.

use serde::{Deserialize, Serialize};

use crate::{
    Backplane, Cx, DeliveryMode, Destination, Device, Inputs, LoadError, Message, Mmio, Saved,
    Signal, TriggerMode,
};

/// The input pins of an I/O APIC.
pub const PINS: u16 = 24;

const NAME: &str = "ioapic";
const VERSION: u32 = 0x20;

// The window (datasheet section 3.1; EOI: ICH).
const IOREGSEL: u64 = 0x00;
const IOWIN: u64 = 0x10;
const EOI: u64 = 0x40;

// A redirection entry (datasheet section 3.2.4).
const LOGICAL: u64 = 1 << 11;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// Vector, delivery mode, destination mode, polarity, trigger mode, mask and destination.
const WRITABLE: u64 = 0xff00_0000_0001_afff;

/// An I/O APIC. Its [`Inputs`] are pins 0 to 23, its [`Mmio`] window is 4 KiB, and it says
/// [`Signal::Message`].
pub struct IoApic {
    backplane: Backplane,
    state: State,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    /// The APIC ID register: 4 bits, which nothing but software uses.
    id: u8,
    /// IOREGSEL.
    selected: u8,
    entries: [u64; PINS as usize],
    /// The levels of the pins, one bit each.
    pins: u32,
}

impl State {
    fn new(pins: u32) -> Self {
        Self { id: 0, selected: 0, entries: [MASKED; PINS as usize], pins }
    }

    fn check(&self) -> Result<(), String> {
        let stray = |entry: &&u64| **entry & !(WRITABLE | REMOTE_IRR) != 0;
        if let Some(entry) = self.entries.iter().find(stray) {
            return Err(format!("redirection entry {entry:#x} has reserved bits"));
        }
        if self.id > 15 || self.pins >> PINS != 0 {
            return Err(format!("ID {} or pins {:#x} out of range", self.id, self.pins));
        }
        Ok(())
    }
}

impl IoApic {
    /// An I/O APIC that was just powered on: every pin is masked.
    #[must_use]
    pub fn new(backplane: Backplane) -> Self {
        Self { backplane, state: State::new(0) }
    }

    /// A local APIC broadcasts the end of the level-triggered interrupt `vector`: the pins that
    /// use this vector are free again, and those that are still asserted interrupt anew.
    pub fn end_of_interrupt(&mut self, _cx: &mut Cx<'_>, vector: u8) {
        for pin in 0..self.state.entries.len() {
            let entry = &mut self.state.entries[pin];
            if *entry & LEVEL != 0 && *entry & REMOTE_IRR != 0 && *entry as u8 == vector {
                *entry &= !REMOTE_IRR;
                self.serve_level(pin);
            }
        }
    }

    /// A level-triggered pin interrupts if it is asserted, unmasked, and not in service.
    fn serve_level(&mut self, pin: usize) {
        let entry = self.state.entries[pin];
        let asserted = self.state.pins & 1 << pin != 0;
        if is_level(entry) && asserted && entry & (MASKED | REMOTE_IRR) == 0 {
            // An APIC does not accept a vector below 16, so that the entry would stay in service.
            if entry as u8 >= 16 {
                self.state.entries[pin] |= REMOTE_IRR;
            }
            self.send(entry);
        }
    }

    fn send(&self, entry: u64) {
        // The encodings 011b and 110b are reserved here.
        let delivery = match DeliveryMode::from_bits((entry >> 8) as u32) {
            None | Some(DeliveryMode::Startup) => return,
            Some(delivery) => delivery,
        };
        self.backplane.say(Signal::Message(Message {
            destination: Destination::from_byte((entry >> 56) as u8, entry & LOGICAL != 0),
            delivery,
            vector: entry as u8,
            trigger: TriggerMode::from_bit(is_level(entry)),
        }));
    }

    fn register(&self) -> u32 {
        let state = &self.state;
        match state.selected {
            // The arbitration ID follows the ID and has had no use since the APIC bus.
            0 | 2 => u32::from(state.id) << 24,
            1 => VERSION | u32::from(PINS - 1) << 16,
            index => match self.entry_half(index) {
                Some((pin, shift)) => (state.entries[pin] >> shift) as u32,
                None => 0,
            },
        }
    }

    fn set_register(&mut self, value: u32) {
        if self.state.selected == 0 {
            self.state.id = (value >> 24) as u8 & 0xf;
        }
        let Some((pin, shift)) = self.entry_half(self.state.selected) else { return };
        let entry = &mut self.state.entries[pin];
        let half = WRITABLE & 0xffff_ffff << shift;
        *entry = *entry & !half | u64::from(value) << shift & half;
        // Remote IRR means nothing for an edge; software clears it this way where it is stuck.
        if *entry & LEVEL == 0 {
            *entry &= !REMOTE_IRR;
        }
        self.serve_level(pin);
    }

    /// The pin of the redirection register at `index`, and the shift of that half.
    fn entry_half(&self, index: u8) -> Option<(usize, u32)> {
        let half = usize::from(index.checked_sub(0x10)?);
        (half / 2 < self.state.entries.len()).then_some((half / 2, half as u32 % 2 * 32))
    }
}

/// Whether an entry is level-triggered. SMI, NMI, INIT and ExtINT are edges, whatever it says.
fn is_level(entry: u64) -> bool {
    entry & LEVEL != 0 && entry >> 8 & 7 <= 1
}

impl Device for IoApic {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        // The levels of the pins are others' and stay.
        self.state = State::new(self.state.pins);
    }

    fn save(&self) -> Saved {
        Saved::pack(NAME, &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(NAME)?;
        state.check().map_err(|reason| LoadError::Damaged { device: NAME, reason })?;
        self.state = state;
        Ok(())
    }

    fn as_mmio(&mut self) -> Option<&mut dyn Mmio> {
        Some(self)
    }

    fn as_inputs(&mut self) -> Option<&mut dyn Inputs> {
        Some(self)
    }
}

impl Mmio for IoApic {
    fn mmio_read(&mut self, _cx: &mut Cx<'_>, offset: u64, data: &mut [u8]) {
        let value = match offset & !3 {
            IOREGSEL => u32::from(self.state.selected),
            IOWIN => self.register(),
            _ => 0,
        };
        let bytes = value.to_le_bytes();
        let first = (offset & 3) as usize;
        for (at, byte) in data.iter_mut().enumerate() {
            *byte = bytes.get(first + at).copied().unwrap_or(0);
        }
    }

    fn mmio_write(&mut self, cx: &mut Cx<'_>, offset: u64, data: &[u8]) {
        let Some(&first) = data.first() else { return };
        match offset {
            IOREGSEL => self.state.selected = first,
            EOI => self.end_of_interrupt(cx, first),
            IOWIN => {
                // The datasheet knows 32-bit accesses only.
                if let Some(bytes) = data.first_chunk() {
                    self.set_register(u32::from_le_bytes(*bytes));
                }
            }
            _ => {}
        }
    }
}

impl Inputs for IoApic {
    fn input(&mut self, _cx: &mut Cx<'_>, pin: u16, level: bool) {
        if pin >= PINS {
            return;
        }
        let bit = 1 << pin;
        let rises = level && self.state.pins & bit == 0;
        self.state.pins = if level { self.state.pins | bit } else { self.state.pins & !bit };
        let entry = self.state.entries[usize::from(pin)];
        if is_level(entry) {
            self.serve_level(usize::from(pin));
        } else if rises && entry & MASKED == 0 {
            self.send(entry);
        }
    }
}

#[cfg(test)]
mod tests;
