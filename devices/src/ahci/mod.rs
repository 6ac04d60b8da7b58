//! An AHCI host bus adapter: the SATA controller of an ICH9, with up to six ports.
//!
//! Sources: Serial ATA Advanced Host Controller Interface 1.3.1; Serial ATA revision 3.0, section
//! 10 (frames); Intel ICH9 datasheet (order 316972), section 15 (configuration space).
//!
//! Each port has one [`AtaDrive`] or none. What a drive wants from its cable, the port gets from a
//! command table in memory or puts where the table says. Nothing that is moved takes time; a drive
//! takes the time of the disk behind it.
//!
//! Interrupts are INTx#. Message-signalled ones, port multipliers, enclosure management, staggered
//! spin-up, command completion coalescing and partial or slumber states are not offered.

mod command;
mod frame;
mod port;

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use crate::{
    AtaDrive, Bar, Bays, ConfigSpace, Cx, Device, Disk, Identity, Intx, Line, LoadError,
    PciFunction, Saved, Timed, pci::doublewords,
};
use port::Port;

/// The chip's name.
const NAME: &str = "ahci";
/// The BAR of the registers.
const BAR_REGISTERS: usize = 5;
const REGISTERS_LEN: u32 = 0x1000;

// Generic host control (section 3.1).
const CAP: u64 = 0x00;
const GHC: u64 = 0x04;
const IS: u64 = 0x08;
const PI: u64 = 0x0c;
const VS: u64 = 0x10;
/// Where the ports' registers start, and how far they lie apart.
const PORTS: u64 = 0x100;
const PORT_LEN: u64 = 0x80;

/// 64-bit addresses, native command queuing, command list override, 3 Gbit/s, AHCI only, 32 slots.
const CAPABILITIES: u32 = 1 << 31 | 1 << 30 | 1 << 24 | 2 << 20 | 1 << 18 | 31 << 8;
const VERSION: u32 = 0x0001_0301;

const GHC_RESET: u32 = 1 << 0;
const GHC_INTERRUPTS: u32 = 1 << 1;
/// AHCI is on: for good, as there is nothing else.
const GHC_AHCI: u32 = 1 << 31;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    config: Vec<u8>,
    is_interrupting: bool,
    pending: u32,
    ports: Vec<port::State>,
}

/// The controller: one PCI function. Its [`Bays`] are its ports.
pub struct Ahci {
    config: ConfigSpace,
    intx: Intx,
    /// GHC.IE.
    is_interrupting: bool,
    /// IS: ports that have had something to signal.
    pending: u32,
    ports: Vec<Port>,
}

impl Ahci {
    /// The most ports.
    pub const PORTS_MAX: usize = 6;

    /// A controller after power-on that interrupts on `irq`, with these drives on its ports.
    ///
    /// # Panics
    /// With more than six ports, or none: the board is built wrongly.
    #[must_use]
    pub fn new(irq: Line, drives: Vec<Option<AtaDrive>>) -> Self {
        assert!((1..=Self::PORTS_MAX).contains(&drives.len()), "an AHCI has one to six ports");
        let mut config = ConfigSpace::new(Identity {
            vendor: 0x8086,
            device: 0x2922,
            revision: 2,
            class: 0x01_06_01,
            ..Identity::default()
        });
        config.set_interrupt_pin(1);
        let registers = Bar::Memory32 { size: REGISTERS_LEN, prefetchable: false };
        config.add_bar(BAR_REGISTERS, registers);
        // Address map: AHCI, all ports on.
        config.set(0x90, &[0x60]);
        // The chip's MSI capability is left out: drivers take the pin then.
        let ports = drives.into_iter().map(Port::new).collect();
        Self { config, intx: Intx::new(irq), is_interrupting: false, pending: 0, ports }
    }

    /// The ports signal what they have to, and the pin follows.
    fn drive(&mut self) {
        for (n, port) in self.ports.iter().enumerate() {
            self.pending |= u32::from(port.interrupts()) << n;
        }
        self.intx.drive(&mut self.config, self.is_interrupting && self.pending != 0);
    }

    /// Everything that is due by now happens.
    fn serve(&mut self, cx: &Cx<'_>) {
        if self.config.is_bus_master() {
            self.ports.iter_mut().for_each(|port| port.serve(cx));
        }
        self.drive();
    }

    fn restart(&mut self) {
        (self.is_interrupting, self.pending) = (false, 0);
        self.ports.iter_mut().for_each(Port::reset);
        self.drive();
    }

    /// The port that `offset` is of, and its register there.
    fn target(&mut self, offset: u64) -> Option<(&mut Port, u64)> {
        let offset = offset.checked_sub(PORTS)?;
        let port = self.ports.get_mut(usize::try_from(offset / PORT_LEN).ok()?)?;
        Some((port, offset % PORT_LEN))
    }

    fn read(&mut self, offset: u64) -> u32 {
        match offset {
            CAP => CAPABILITIES | (self.ports.len() as u32 - 1),
            GHC => GHC_AHCI | if self.is_interrupting { GHC_INTERRUPTS } else { 0 },
            IS => self.pending,
            PI => (1 << self.ports.len()) - 1,
            VS => VERSION,
            _ => self.target(offset).map_or(0, |(port, register)| port.read(register)),
        }
    }

    /// Writes the bits `lanes` of a register.
    fn write(&mut self, cx: &Cx<'_>, offset: u64, value: u32, lanes: u32) {
        match offset {
            GHC if value & lanes & GHC_RESET != 0 => self.restart(),
            GHC if lanes & GHC_INTERRUPTS != 0 => {
                self.is_interrupting = value & GHC_INTERRUPTS != 0
            }
            IS => self.pending &= !(value & lanes),
            _ => {
                if let Some((port, register)) = self.target(offset) {
                    port.write(register, value, lanes);
                }
            }
        }
        self.serve(cx);
    }
}

impl PciFunction for Ahci {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_written(&mut self, cx: &mut Cx<'_>, _offset: u8, _len: u8) {
        // It may be master of the bus now, or lose its pin.
        self.serve(cx);
    }

    fn bar_read(&mut self, cx: &mut Cx<'_>, _bar: u8, offset: u64, data: &mut [u8]) {
        self.serve(cx);
        for (at, part) in doublewords(offset, data.len()) {
            let bytes = self.read(at & !3).to_le_bytes();
            for (byte, value) in data[part].iter_mut().zip(&bytes[(at & 3) as usize..]) {
                *byte = *value;
            }
        }
    }

    fn bar_write(&mut self, cx: &mut Cx<'_>, _bar: u8, offset: u64, data: &[u8]) {
        self.serve(cx);
        for (at, part) in doublewords(offset, data.len()) {
            let (mut value, mut lanes) = ([0; 4], [0; 4]);
            for (n, byte) in ((at & 3) as usize..).zip(&data[part]) {
                (value[n], lanes[n]) = (*byte, 0xff);
            }
            self.write(cx, at & !3, u32::from_le_bytes(value), u32::from_le_bytes(lanes));
        }
    }
}

impl Device for Ahci {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.config.reset();
        self.restart();
    }

    fn save(&self) -> Saved {
        Saved::pack(
            NAME,
            &State {
                config: self.config.registers(),
                is_interrupting: self.is_interrupting,
                pending: self.pending,
                ports: self.ports.iter().map(Port::save).collect(),
            },
        )
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(NAME)?;
        let damaged = |reason: &str| LoadError::Damaged { device: NAME, reason: reason.to_owned() };
        let is_same = state.ports.len() == self.ports.len()
            && self.ports.iter().zip(&state.ports).all(|(port, state)| port.fits(state));
        if !is_same || state.pending >> self.ports.len() != 0 {
            return Err(damaged("the drives are others, or cannot be like that"));
        }
        if !self.config.load_registers(&state.config) {
            return Err(damaged("these are not the registers of its configuration space"));
        }
        (self.is_interrupting, self.pending) = (state.is_interrupting, state.pending);
        for (port, state) in self.ports.iter_mut().zip(state.ports) {
            port.load(state);
        }
        let is_pending = self.is_interrupting && self.pending != 0;
        self.intx.restore(&mut self.config, is_pending);
        Ok(())
    }

    fn as_bays(&mut self) -> Option<&mut dyn Bays> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        Some(self)
    }
}

impl Timed for Ahci {
    fn next_event(&self) -> Option<VmTime> {
        // Without the bus, nothing can be told of what disks have answered.
        let ports = self.config.is_bus_master().then_some(&self.ports);
        ports.into_iter().flatten().filter_map(Port::next_event).min()
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        self.serve(cx);
    }
}

impl Bays for Ahci {
    fn change_medium(
        &mut self,
        cx: &mut Cx<'_>,
        bay: usize,
        medium: Option<Box<dyn Disk>>,
    ) -> Option<Box<dyn Disk>> {
        let Some(port) = self.ports.get_mut(bay) else { return medium };
        let outside = port.change_medium(medium);
        self.serve(cx);
        outside
    }
}

#[cfg(test)]
mod tests;
