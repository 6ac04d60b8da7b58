//! Port 80h, where firmware says how far it got.
//!
//! Source: IBM PC AT Technical Reference (manufacturing test port); the codes are each firmware's
//! own. Linux writes here to pass a microsecond.

use serde::{Deserialize, Serialize};

use crate::{Cx, Device, LoadError, Ports, Saved, remarks::Remarks};

/// The chip's name.
const NAME: &str = "post-code";
/// How many different codes are remembered.
const REMEMBERED: usize = 256;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    /// The last codes without repetitions, oldest first.
    codes: Vec<u8>,
}

/// The POST code port.
pub struct PostCode {
    remarks: Remarks,
    state: State,
}

impl PostCode {
    /// Register: the port.
    pub const CODE: u16 = 0;

    /// A port that nobody wrote to.
    #[must_use]
    pub fn new() -> Self {
        Self { remarks: Remarks::new(NAME, 256), state: State { codes: Vec::new() } }
    }

    /// The last codes, oldest first; a code that was repeated counts once.
    #[must_use]
    pub fn codes(&self) -> &[u8] {
        &self.state.codes
    }
}

impl Default for PostCode {
    fn default() -> Self {
        Self::new()
    }
}

impl Device for PostCode {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.state.codes.clear();
    }

    fn save(&self) -> Saved {
        Saved::pack(self.name(), &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(self.name())?;
        if state.codes.len() > REMEMBERED {
            let reason = format!("more than {REMEMBERED} codes");
            return Err(LoadError::Damaged { device: self.name(), reason });
        }
        self.state = state;
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }
}

impl Ports for PostCode {
    fn port_in(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        if let (Self::CODE, [byte, ..]) = (reg, data) {
            *byte = self.state.codes.last().copied().unwrap_or(0);
        }
    }

    fn port_out(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        let (Self::CODE, [code, ..]) = (reg, data) else { return };
        let codes = &mut self.state.codes;
        if codes.last() == Some(code) {
            return;
        }
        self.remarks.say(format_args!("{code:02x}"));
        if codes.len() == REMEMBERED {
            codes.remove(0);
        }
        codes.push(*code);
    }
}

#[cfg(test)]
mod tests {
    use super::PostCode;
    use crate::Bench;

    #[test]
    fn it_remembers_the_last_codes() {
        let mut bench = Bench::new();
        let mut port = PostCode::new();
        assert_eq!(bench.port_in::<1>(&mut port, 0), [0]);
        for code in 0..300_u32 {
            bench.port_out(&mut port, 0, code as u8);
            bench.port_out(&mut port, 0, code as u8);
        }
        let last: Vec<u8> = (44..300_u32).map(|code| code as u8).collect();
        assert_eq!(port.codes(), last);
        assert_eq!(bench.port_in::<1>(&mut port, 0), [43]);
    }
}
