//! Which chip answers at a port or an address.

use trine_guest::Gpa;

use super::{Board, State};
use crate::pc::{self, Chip};

impl State {
    /// The chip at `port` that sees an access of `len` bytes: its register there, and how many of
    /// the bytes it sees.
    pub(super) fn port(&self, board: &Board, port: u16, len: usize) -> Option<(Chip, u16, usize)> {
        if port == pc::PCI_CONFIG_ADDRESS && len == 4 {
            return Some((Chip::Pci, trine_devices::PciBus::CONFIG_ADDRESS, 4));
        }
        if board.debug_exit == Some(port) {
            return Some((Chip::DebugExit, trine_devices::DebugExit::STATUS, len));
        }
        if board.post_port == Some(port) {
            return Some((Chip::PostCode, trine_devices::PostCode::CODE, 1));
        }
        let row = self.port_row(port)?;
        let seen = len.min(usize::from(row.last - port) + 1);
        // A chip sees 1, 2 or 4 bytes.
        let seen = if seen == 3 { 2 } else { seen };
        Some((row.chip, row.register + (port - row.first), seen))
    }

    fn port_row(&self, port: u16) -> Option<&'static pc::PortRow> {
        let find = |rows: &'static [pc::PortRow]| {
            let next = rows.partition_point(|row| row.first <= port);
            rows.get(next.checked_sub(1)?).filter(|row| port <= row.last)
        };
        let test = self.chips.test_device.is_some().then(|| find(pc::TEST_PORTS)).flatten();
        test.or_else(|| find(pc::PORTS))
    }

    /// The chip that answers vCPU `vcpu` at `at`: where in its window, and the bytes left in it.
    pub(super) fn window(&self, vcpu: u32, at: Gpa) -> Option<(Chip, u64, u64)> {
        let inside = |start: u64, len: u64| {
            let offset = at.0.wrapping_sub(start);
            (offset < len).then(|| (offset, len - offset))
        };
        for window in pc::WINDOWS {
            if window.chip == Chip::TestDevice && self.chips.test_device.is_none() {
                continue;
            }
            if let Some((offset, left)) = inside(window.at.0, window.len) {
                return Some((window.chip, offset, left));
            }
        }
        let base = self.chips.apics.apic_base(vcpu) & !0xfff;
        let (offset, left) = inside(base, trine_devices::APIC_WINDOW)?;
        Some((Chip::LocalApics, offset, left))
    }
}
