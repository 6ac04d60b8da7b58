//! System control port A (92h): the fast A20 gate and the fast reset.
//!
//! Source: IBM PS/2 Hardware Interface Technical Reference; Intel 82371SB (PIIX3) datasheet,
//! section 2.6.3.

use serde::{Deserialize, Serialize};

use crate::{Backplane, Cx, Device, Line, LoadError, Ports, Power, Saved, Signal};

/// A change from 0 to 1 resets the CPU.
const FAST_INIT: u8 = 1 << 0;
/// Drives the A20 gate.
const FAST_A20: u8 = 1 << 1;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    value: u8,
}

/// Port 92h. Its A20 output is low until the guest sets bit 1; the board combines it with the
/// keyboard controller's.
pub struct Port92 {
    a20: Line,
    backplane: Backplane,
    state: State,
}

impl Port92 {
    /// Register: the port.
    pub const CONTROL: u16 = 0;

    /// The port with its A20 output; resets are said on `backplane`.
    #[must_use]
    pub fn new(a20: Line, backplane: Backplane) -> Self {
        Self { a20, backplane, state: State { value: 0 } }
    }
}

impl Device for Port92 {
    fn name(&self) -> &'static str {
        "port92"
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.state.value = 0;
        self.a20.set(false);
    }

    fn save(&self) -> Saved {
        Saved::pack(self.name(), &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        self.state = saved.unpack(self.name())?;
        self.a20.restore(self.state.value & FAST_A20 != 0);
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }
}

impl Ports for Port92 {
    fn port_in(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        if let (Self::CONTROL, [byte, ..]) = (reg, data) {
            *byte = self.state.value;
        }
    }

    fn port_out(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        let (Self::CONTROL, [value, ..]) = (reg, data) else { return };
        let rose = value & !self.state.value;
        self.state.value = *value;
        self.a20.set(value & FAST_A20 != 0);
        if rose & FAST_INIT != 0 {
            self.backplane.say(Signal::Power(Power::Reset));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Port92;
    use crate::{Bench, Device, Power, Signal};

    #[test]
    fn it_gates_a20_and_resets_on_a_rising_bit() {
        let mut bench = Bench::new();
        let mut port = Port92::new(bench.backplane.line(20), bench.backplane.clone());
        bench.port_out(&mut port, 0, 0x02);
        assert_eq!(bench.said(), [Signal::Level { wire: 20, level: true }]);
        assert_eq!(bench.port_in::<1>(&mut port, 0), [0x02]);
        bench.port_out(&mut port, 0, 0x03);
        bench.port_out(&mut port, 0, 0x03);
        assert_eq!(bench.said(), [Signal::Power(Power::Reset)]);
        bench.with(|cx| port.reset(cx));
        assert_eq!(bench.said(), [Signal::Level { wire: 20, level: false }]);
    }
}
