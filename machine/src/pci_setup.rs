//! What a firmware does to PCI functions before it starts a guest: addresses for what their BARs map,
//! decoders on, and the number of their interrupt.
//!
//! Source: PCI Firmware Specification 3.0, section 3.5; PCI 3.0, section 6.2.5.1.

use trine_devices::{Bar, Cx, PciBus, PciFunction, Slot};

const BAR_0: u8 = 0x10;
const COMMAND: u8 = 0x04;
const INTERRUPT_LINE: u8 = 0x3c;
const INTERRUPT_PIN: u8 = 0x3d;
/// Ports and memory are decoded. Bus mastering is the driver's to switch on.
const DECODERS: u8 = 0b11;

/// A window of an address space, of which parts are given away from its start.
pub(crate) struct Window {
    /// The first address that is free.
    pub(crate) next: u64,
    /// The first address behind it.
    pub(crate) end: u64,
}

impl Window {
    /// `size` addresses, a power of two, on a multiple of it.
    fn take(&mut self, size: u64) -> Option<u64> {
        let at = self.next.checked_next_multiple_of(size)?;
        let next = at.checked_add(size).filter(|next| *next <= self.end)?;
        self.next = next;
        Some(at)
    }
}

/// Sets up all functions of `pci`. `irq` says to which IRQ interrupt pin (0 is INTA#) of a device
/// leads.
pub(crate) fn set_up(
    pci: &mut PciBus,
    cx: &mut Cx<'_>,
    ports: &mut Window,
    memory: &mut Window,
    irq: impl Fn(Slot, u8) -> Option<u8>,
) {
    for (slot, function) in pci.functions_mut() {
        for index in 0..6 {
            let Some(bar) = function.config().bar(index) else { continue };
            let place = match bar {
                Bar::Io { size } => ports.take(u64::from(size)),
                Bar::Memory32 { size, .. } => memory.take(u64::from(size)),
                Bar::Memory64 { size, .. } => memory.take(size),
            };
            let Some(at) = place else {
                log::warn!("PCI device {} finds no room for its BAR {index}", slot.device());
                continue;
            };
            let register = BAR_0 + 4 * index as u8;
            write(function, cx, register, &(at as u32).to_le_bytes());
            if matches!(bar, Bar::Memory64 { .. }) {
                write(function, cx, register + 4, &((at >> 32) as u32).to_le_bytes());
            }
            let command = function.config().byte(COMMAND);
            write(function, cx, COMMAND, &[command | DECODERS]);
        }
        let pin = function.config().byte(INTERRUPT_PIN).checked_sub(1);
        if let Some(irq) = pin.and_then(|pin| irq(slot, pin)) {
            write(function, cx, INTERRUPT_LINE, &[irq]);
        }
    }
}

fn write(function: &mut dyn PciFunction, cx: &mut Cx<'_>, register: u8, bytes: &[u8]) {
    function.config_mut().write(register, bytes);
    function.config_written(cx, register, bytes.len() as u8);
}
