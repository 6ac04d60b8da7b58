//! PCI configuration space and the bus that finds functions in it.
//!
//! Sources: PCI Local Bus Specification 3.0, section 3.2.2.3.2 (configuration mechanism #1) and
//! chapter 6 (configuration space); PCI Express Base Specification 3.0, section 7.2.2 (ECAM).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Cx, Device, LoadError, Mmio, Ports, Saved};

mod config_space;
mod intx;
mod msi;
mod msix;

pub use config_space::{Bar, ConfigSpace, Identity, PortWindow};
pub use intx::Intx;
pub use msi::Msi;
pub use msix::{MsiX, MsiXState};

/// CONFIG_ADDRESS: configuration cycles are on.
const ENABLE: u32 = 1 << 31;
/// CONFIG_ADDRESS: the bits that keep what is written.
const ADDRESS_WRITABLE: u32 = 0x80ff_fffc;
/// The functions that one device can have.
const FUNCTIONS: u8 = 8;
/// The devices that one bus can have.
const DEVICES: u8 = 32;

/// A PCI function, as its bus sees it. What else a chip has, it has as a [`Device`]: its state, its
/// clockwork, and ports and windows at fixed places.
pub trait PciFunction: Device {
    /// Its configuration space.
    fn config(&self) -> &ConfigSpace;
    /// Its configuration space, to write to.
    fn config_mut(&mut self) -> &mut ConfigSpace;
    /// The guest changed configuration bytes `offset` to `offset + len - 1`, within a doubleword.
    fn config_written(&mut self, _cx: &mut Cx<'_>, _offset: u8, _len: u8) {}
    /// The guest is about to read configuration bytes `offset` to `offset + len - 1`, within a
    /// doubleword: the time to bring registers up to date that are not memory.
    fn config_reading(&mut self, _cx: &mut Cx<'_>, _offset: u8, _len: u8) {}
    /// The guest reads `data` at `offset` of the region that BAR `bar` maps. `data` is 1 to 16 bytes
    /// (1, 2 or 4 of ports), comes filled with FFh and never leaves the region.
    fn bar_read(&mut self, _cx: &mut Cx<'_>, _bar: u8, _offset: u64, _data: &mut [u8]) {}
    /// The guest writes `data` at `offset` of the region that BAR `bar` maps.
    fn bar_write(&mut self, _cx: &mut Cx<'_>, _bar: u8, _offset: u64, _data: &[u8]) {}
}

/// Where a function sits on bus 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Slot {
    device: u8,
    function: u8,
}

impl Slot {
    /// Function `function` (0 to 7) of device `device` (0 to 31); `None` out of range.
    #[must_use]
    pub fn new(device: u8, function: u8) -> Option<Self> {
        (device < DEVICES && function < FUNCTIONS).then_some(Self { device, function })
    }

    /// As [`Slot::new`], for a board's own slots.
    ///
    /// # Panics
    /// Out of range.
    #[must_use]
    pub const fn at(device: u8, function: u8) -> Self {
        assert!(device < DEVICES && function < FUNCTIONS);
        Self { device, function }
    }

    /// From bits 7 to 0 of a routing ID.
    fn of_devfn(devfn: u8) -> Self {
        Self { device: devfn >> 3, function: devfn & 7 }
    }

    /// The device number.
    #[must_use]
    pub const fn device(self) -> u8 {
        self.device
    }

    /// The function number.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.function
    }
}

/// Which address space a BAR claims a part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// Ports.
    Io,
    /// Memory.
    Memory,
}

#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
struct State {
    /// CONFIG_ADDRESS.
    address: u32,
}

/// PCI bus 0 behind a host bridge with configuration mechanism #1.
///
/// The same configuration space is a window in memory ([`Mmio`], ECAM: 4 KiB for each function)
/// where a board maps it. The functions are chips of their own: the board resets, saves and wakes
/// each of them.
#[derive(Default)]
pub struct PciBus {
    functions: BTreeMap<Slot, Box<dyn PciFunction>>,
    state: State,
}

impl PciBus {
    /// Register: CONFIG_ADDRESS (CF8h on a PC), which answers 32-bit accesses only. The board
    /// keeps byte accesses to CF9h for the reset control register.
    pub const CONFIG_ADDRESS: u16 = 0;
    /// Register: CONFIG_DATA (CFCh to CFFh on a PC).
    pub const CONFIG_DATA: u16 = 4;

    /// A bus without functions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a function into a slot. A function number above 0 makes the device's function 0 a
    /// multi-function device.
    ///
    /// # Panics
    /// If the slot is taken: the board is wired wrongly.
    pub fn add(&mut self, slot: Slot, function: Box<dyn PciFunction>) {
        let old = self.functions.insert(slot, function);
        assert!(old.is_none(), "PCI slot {slot:?} is taken");
        let has_more = self.functions.keys().any(|s| s.device == slot.device && s.function > 0);
        let first = Slot { function: 0, ..slot };
        if has_more && let Some(first) = self.functions.get_mut(&first) {
            first.config_mut().set_multi_function();
        }
    }

    /// The function in a slot.
    #[must_use]
    pub fn function(&self, slot: Slot) -> Option<&dyn PciFunction> {
        self.functions.get(&slot).map(|f| &**f)
    }

    /// The function in a slot, to call it.
    pub fn function_mut(&mut self, slot: Slot) -> Option<&mut (dyn PciFunction + 'static)> {
        self.functions.get_mut(&slot).map(|f| &mut **f)
    }

    /// All functions with their slots, to call them.
    pub fn functions_mut(
        &mut self,
    ) -> impl Iterator<Item = (Slot, &mut (dyn PciFunction + 'static))> {
        self.functions.iter_mut().map(|(slot, f)| (*slot, &mut **f))
    }

    /// The regions that BARs, expansion ROMs and port windows map now: slot, BAR number, and address
    /// space, start and bytes.
    pub fn mapped(&self) -> impl Iterator<Item = (Slot, u8, (Space, u64, u64))> {
        self.functions.iter().flat_map(|(slot, f)| {
            let bars = 0..ConfigSpace::WINDOWS + ConfigSpace::WINDOWS_MAX;
            bars.filter_map(move |bar| Some((*slot, bar, f.config().mapped(bar.into())?)))
        })
    }

    /// The guest reads `data` at `offset` of the region that BAR `bar` of the function in `slot`
    /// maps; see [`PciFunction::bar_read`]. Expansion ROMs answer here.
    pub fn region_read(
        &mut self,
        cx: &mut Cx<'_>,
        (slot, bar): (Slot, u8),
        offset: u64,
        data: &mut [u8],
    ) {
        match self.functions.get_mut(&slot) {
            Some(function) if bar == ConfigSpace::ROM => function.config().read_rom(offset, data),
            Some(function) => function.bar_read(cx, bar, offset, data),
            None => {}
        }
    }

    /// The guest writes `data` at `offset` of the region that BAR `bar` of the function in `slot`
    /// maps. An expansion ROM takes no notice.
    pub fn region_write(
        &mut self,
        cx: &mut Cx<'_>,
        (slot, bar): (Slot, u8),
        offset: u64,
        data: &[u8],
    ) {
        if bar != ConfigSpace::ROM
            && let Some(function) = self.functions.get_mut(&slot)
        {
            function.bar_write(cx, bar, offset, data);
        }
    }

    /// Reads configuration bytes of `slot`, within a doubleword.
    fn config_read(&mut self, cx: &mut Cx<'_>, slot: Slot, offset: u8, data: &mut [u8]) {
        if let Some(function) = self.functions.get_mut(&slot) {
            function.config_reading(cx, offset, data.len() as u8);
            function.config().read(offset, data);
        }
    }

    /// Writes configuration bytes of `slot`, within a doubleword.
    fn config_write(&mut self, cx: &mut Cx<'_>, slot: Slot, offset: u8, data: &[u8]) {
        if let Some(function) = self.functions.get_mut(&slot) {
            function.config_mut().write(offset, data);
            function.config_written(cx, offset, data.len() as u8);
        }
    }

    /// The slot and the byte that an access to CONFIG_DATA at `reg` means; `None` if the cycle
    /// does not go to bus 0's configuration space.
    fn target(&self, reg: u16) -> Option<(Slot, u8)> {
        let [register, devfn, bus, _] = self.state.address.to_le_bytes();
        let is_data = (Self::CONFIG_DATA..Self::CONFIG_DATA + 4).contains(&reg);
        (is_data && self.state.address & ENABLE != 0 && bus == 0)
            .then(|| (Slot::of_devfn(devfn), register | (reg & 3) as u8))
    }

    /// A load from the ECAM window at `offset` from its start. Beyond the 256 bytes of a
    /// conventional function, and where no function is, it reads FFh.
    pub fn ecam_read(&mut self, cx: &mut Cx<'_>, offset: u64, data: &mut [u8]) {
        for (at, part) in doublewords(offset, data.len()) {
            if let Some((slot, register)) = ecam_target(at) {
                self.config_read(cx, slot, register, &mut data[part]);
            }
        }
    }

    /// A store to the ECAM window at `offset` from its start.
    pub fn ecam_write(&mut self, cx: &mut Cx<'_>, offset: u64, data: &[u8]) {
        for (at, part) in doublewords(offset, data.len()) {
            if let Some((slot, register)) = ecam_target(at) {
                self.config_write(cx, slot, register, &data[part]);
            }
        }
    }
}

/// Bus 0's slot and register at `offset` of the ECAM window.
fn ecam_target(offset: u64) -> Option<(Slot, u8)> {
    let register = u8::try_from(offset & 0xfff).ok()?;
    let devfn = u8::try_from(offset >> 12).ok()?;
    Some((Slot::of_devfn(devfn), register))
}

/// Cuts an access of `len` bytes at `offset` where doublewords meet: offset and range of data.
pub(crate) fn doublewords(
    offset: u64,
    len: usize,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let at = offset.wrapping_add(start as u64);
        let end = (start + 4 - (at & 3) as usize).min(len);
        let part = (start < len).then_some((at, start..end));
        start = end;
        part
    })
}

/// How many of `len` bytes at register `reg` lie in its doubleword.
fn in_doubleword(reg: u16, len: usize) -> usize {
    len.min(4 - usize::from(reg & 3))
}

impl Device for PciBus {
    fn name(&self) -> &'static str {
        "pci"
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.state = State::default();
    }

    fn save(&self) -> Saved {
        Saved::pack(self.name(), &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(self.name())?;
        if state.address & !ADDRESS_WRITABLE != 0 {
            let reason = "CONFIG_ADDRESS has reserved bits".to_owned();
            return Err(LoadError::Damaged { device: self.name(), reason });
        }
        self.state = state;
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }

    fn as_mmio(&mut self) -> Option<&mut dyn Mmio> {
        Some(self)
    }
}

impl Ports for PciBus {
    fn port_in(&mut self, cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        if reg == Self::CONFIG_ADDRESS && data.len() == 4 {
            data.copy_from_slice(&self.state.address.to_le_bytes());
        } else if let Some((slot, register)) = self.target(reg) {
            let len = in_doubleword(reg, data.len());
            self.config_read(cx, slot, register, &mut data[..len]);
        }
    }

    fn port_out(&mut self, cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        if reg == Self::CONFIG_ADDRESS {
            // Narrow accesses are no business of the bridge: they go on to the bus as they are.
            if let Ok(address) = data.try_into() {
                self.state.address = u32::from_le_bytes(address) & ADDRESS_WRITABLE;
            }
        } else if let Some((slot, register)) = self.target(reg) {
            let len = in_doubleword(reg, data.len());
            self.config_write(cx, slot, register, &data[..len]);
        }
    }
}

impl Mmio for PciBus {
    fn mmio_read(&mut self, cx: &mut Cx<'_>, offset: u64, data: &mut [u8]) {
        self.ecam_read(cx, offset, data);
    }

    fn mmio_write(&mut self, cx: &mut Cx<'_>, offset: u64, data: &[u8]) {
        self.ecam_write(cx, offset, data);
    }
}

#[cfg(test)]
pub(crate) mod seated;
#[cfg(test)]
mod tests;
