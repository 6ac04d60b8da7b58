//! The reset control register (CF9h).
//!
//! Source: Intel 82371SB (PIIX3) datasheet, section 2.6.4.

use serde::{Deserialize, Serialize};

use crate::{Backplane, Cx, Device, LoadError, Ports, Power, Saved, Signal};

/// A change from 0 to 1 starts the reset that the other bits chose.
const RESET_CPU: u8 = 1 << 2;
/// The bits that keep what is written: reset CPU, hard reset, full reset (a power cycle).
const WRITABLE: u8 = 0x0e;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    value: u8,
}

/// The reset control register. Every reset is one of the whole machine.
///
/// Port CF9h lies inside the doubleword of PCI's CONFIG_ADDRESS: only byte accesses come here.
pub struct ResetControl {
    backplane: Backplane,
    state: State,
}

impl ResetControl {
    /// Register: the port.
    pub const CONTROL: u16 = 0;

    /// A register that says [`Power::Reset`] on `backplane`.
    #[must_use]
    pub fn new(backplane: Backplane) -> Self {
        Self { backplane, state: State { value: 0 } }
    }
}

impl Device for ResetControl {
    fn name(&self) -> &'static str {
        "reset-control"
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.state.value = 0;
    }

    fn save(&self) -> Saved {
        Saved::pack(self.name(), &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        self.state = saved.unpack(self.name())?;
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }
}

impl Ports for ResetControl {
    fn port_in(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        if let (Self::CONTROL, [byte, ..]) = (reg, data) {
            *byte = self.state.value;
        }
    }

    fn port_out(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        let (Self::CONTROL, [value, ..]) = (reg, data) else { return };
        let rose = value & !self.state.value;
        self.state.value = value & WRITABLE;
        if rose & RESET_CPU != 0 {
            self.backplane.say(Signal::Power(Power::Reset));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ResetControl;
    use crate::{Bench, Power, Signal};

    #[test]
    fn it_resets_when_the_cpu_bit_rises() {
        let mut bench = Bench::new();
        let mut port = ResetControl::new(bench.backplane.clone());
        bench.port_out(&mut port, 0, 0x02);
        assert_eq!(bench.said(), []);
        bench.port_out(&mut port, 0, 0x06);
        assert_eq!(bench.said(), [Signal::Power(Power::Reset)]);
        bench.port_out(&mut port, 0, 0xff);
        assert_eq!((bench.said(), bench.port_in::<1>(&mut port, 0)), (vec![], [0x0e]));
    }
}
