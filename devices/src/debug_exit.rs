//! A port through which a test guest ends the emulator with a status.
//!
//! Source: QEMU's `isa-debug-exit`: a write of `v` ends it with status `(v << 1) | 1`, which is
//! never 0, modulo 256.

use crate::{Backplane, Cx, Device, LoadError, Ports, Power, Saved, Signal};

/// The debug exit port.
pub struct DebugExit {
    backplane: Backplane,
}

impl DebugExit {
    /// Register: the port (F4h or 501h, as the board has it); 1, 2 or 4 bytes wide.
    pub const STATUS: u16 = 0;

    /// A port that says [`Power::Exit`] on `backplane`.
    #[must_use]
    pub fn new(backplane: Backplane) -> Self {
        Self { backplane }
    }
}

impl Device for DebugExit {
    fn name(&self) -> &'static str {
        "debug-exit"
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {}

    fn save(&self) -> Saved {
        Saved::pack(self.name(), &())
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        saved.unpack(self.name())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }
}

impl Ports for DebugExit {
    fn port_in(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        if reg == Self::STATUS {
            data.fill(0);
        }
    }

    fn port_out(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        if let (Self::STATUS, [value, ..]) = (reg, data) {
            // The bits above the lowest byte do not reach the status.
            self.backplane.say(Signal::Power(Power::Exit(value << 1 | 1)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DebugExit;
    use crate::{Bench, Ports, Power, Signal};

    #[test]
    fn the_status_is_odd() {
        let mut bench = Bench::new();
        let mut port = DebugExit::new(bench.backplane.clone());
        bench.port_out(&mut port, 0, 0);
        bench.port_out(&mut port, 0, 0x90);
        bench.with(|cx| port.port_out(cx, 0, &0x1234_5610_u32.to_le_bytes()));
        let statuses = [1, 0x21, 0x21].map(|status| Signal::Power(Power::Exit(status)));
        assert_eq!(bench.said(), statuses);
    }
}
