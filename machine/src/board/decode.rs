//! Which chip answers at a port or an address, and how it is reached.

use trine_devices::{Cx, DebugExit, PciBus, PostCode, Slot, Space};
use trine_guest::Gpa;

use super::{Board, State};
use crate::{
    pc::{self, Chip},
    schematic::PortRow,
};

/// Where an access goes.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) chip: Chip,
    /// The function and the BAR in whose region it is; else it is one of the chip's own registers or
    /// its window.
    region: Option<(Slot, u8)>,
    /// The register, or the bytes from the start of the window or region.
    offset: u64,
}

impl Place {
    fn register(chip: Chip, register: u16) -> Self {
        Self { chip, region: None, offset: u64::from(register) }
    }
}

impl State {
    /// What answers at `port` to an access of `len` bytes, and how many of the bytes it sees.
    pub(super) fn port(&self, board: &Board, port: u16, len: usize) -> Option<(Place, usize)> {
        if port == pc::PCI_CONFIG_ADDRESS && len == 4 && self.chips.pc().is_some() {
            return Some((Place::register(Chip::Pci, PciBus::CONFIG_ADDRESS), 4));
        }
        if board.debug_exit == Some(port) {
            return Some((Place::register(Chip::DebugExit, DebugExit::STATUS), len));
        }
        if board.post_port == Some(port) {
            return Some((Place::register(Chip::PostCode, PostCode::CODE), 1));
        }
        let (place, left) = match self.port_row(port) {
            Some(row) => {
                let register = row.register + (port - row.first);
                (Place::register(row.chip, register), usize::from(row.last - port) + 1)
            }
            None => self.region(Space::Io, u64::from(port)).map(|(p, left)| (p, left as usize))?,
        };
        // A chip sees 1, 2 or 4 bytes.
        let seen = len.min(left);
        Some((place, if seen == 3 { 2 } else { seen }))
    }

    fn port_row(&self, port: u16) -> Option<&'static PortRow> {
        let find = |rows: &'static [PortRow]| {
            let next = rows.partition_point(|row| row.first <= port);
            rows.get(next.checked_sub(1)?).filter(|row| port <= row.last)
        };
        let test = self.has_test_device().then(|| find(pc::TEST_PORTS)).flatten();
        test.or_else(|| find(self.chips.schematic().ports))
    }

    fn has_test_device(&self) -> bool {
        self.chips.pc().is_some_and(|pc| pc.test_device.is_some())
    }

    /// What answers vCPU `vcpu` at `at`, and the bytes from there to its end.
    pub(super) fn window(&self, board: &Board, vcpu: u32, at: Gpa) -> Option<(Place, u64)> {
        let inside = |chip: Chip, start: u64, len: u64| {
            let offset = at.0.wrapping_sub(start);
            (offset < len).then(|| (Place { chip, region: None, offset }, len - offset))
        };
        for window in self.chips.schematic().windows {
            if window.chip == Chip::TestDevice && !self.has_test_device() {
                continue;
            }
            if let found @ Some(_) = inside(window.chip, window.at.0, window.len) {
                return found;
            }
        }
        let flash = board.memory.flash().and_then(|(start, len)| inside(Chip::Flash, start.0, len));
        let base = self.chips.apics().apic_base(vcpu) & !0xfff;
        let apic = inside(Chip::LocalApics, base, trine_devices::APIC_WINDOW);
        flash.or(apic).or_else(|| self.region(Space::Memory, at.0))
    }

    /// The region of a BAR that `address` is in, and the bytes from there to its end.
    fn region(&self, space: Space, address: u64) -> Option<(Place, u64)> {
        self.regions.iter().find_map(|region| {
            let offset = address.wrapping_sub(region.at);
            let place =
                Place { chip: region.chip, region: Some((region.slot, region.bar)), offset };
            (region.space == space && offset < region.len).then(|| (place, region.len - offset))
        })
    }

    /// PCI's bus, where there are regions.
    fn pci(&mut self) -> Option<&mut PciBus> {
        self.chips.pc_mut().map(|pc| &mut pc.pci)
    }

    pub(super) fn port_in(&mut self, cx: &mut Cx<'_>, place: Place, data: &mut [u8]) {
        if let Some((region, pci)) = place.region.zip(self.pci()) {
            pci.region_read(cx, region, place.offset, data);
        } else if let Some(ports) = self.chips.device(place.chip).and_then(|d| d.as_ports()) {
            ports.port_in(cx, place.offset as u16, data);
        }
    }

    pub(super) fn port_out(&mut self, cx: &mut Cx<'_>, place: Place, data: &[u8]) {
        if let Some((region, pci)) = place.region.zip(self.pci()) {
            pci.region_write(cx, region, place.offset, data);
        } else if let Some(ports) = self.chips.device(place.chip).and_then(|d| d.as_ports()) {
            ports.port_out(cx, place.offset as u16, data);
        }
    }

    pub(super) fn mmio_read(&mut self, cx: &mut Cx<'_>, place: Place, data: &mut [u8]) {
        if let Some((region, pci)) = place.region.zip(self.pci()) {
            pci.region_read(cx, region, place.offset, data);
        } else if let Some(mmio) = self.chips.device(place.chip).and_then(|d| d.as_mmio()) {
            mmio.mmio_read(cx, place.offset, data);
        }
    }

    pub(super) fn mmio_write(&mut self, cx: &mut Cx<'_>, place: Place, data: &[u8]) {
        if let Some((region, pci)) = place.region.zip(self.pci()) {
            pci.region_write(cx, region, place.offset, data);
        } else if let Some(mmio) = self.chips.device(place.chip).and_then(|d| d.as_mmio()) {
            mmio.mmio_write(cx, place.offset, data);
        }
    }
}
