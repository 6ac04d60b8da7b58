//! Ports E9h and 402h: a console for guests that have nothing else yet.
//!
//! Sources: the "E9 hack" of Bochs, which other emulators adopted: what is written appears, and a
//! read gives E9h, so that a guest can tell whether the port is there. SeaBIOS looks for the same at
//! 402h, where QEMU has it.

use crate::{Cx, Device, LoadError, Ports, Saved, SerialPeer};

/// What the port reads.
const PRESENT: u8 = 0xe9;

/// The debug console.
pub struct DebugConsole {
    peer: Box<dyn SerialPeer>,
}

impl DebugConsole {
    /// Register: the port.
    pub const DATA: u16 = 0;

    /// A console that shows on `peer`.
    #[must_use]
    pub fn new(peer: Box<dyn SerialPeer>) -> Self {
        Self { peer }
    }
}

impl Device for DebugConsole {
    fn name(&self) -> &'static str {
        "debug-console"
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

impl Ports for DebugConsole {
    fn port_in(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        if let (Self::DATA, [byte, ..]) = (reg, data) {
            *byte = PRESENT;
        }
    }

    fn port_out(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        if let (Self::DATA, [byte, ..]) = (reg, data) {
            self.peer.transmit(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::DebugConsole;
    use crate::{Bench, SerialPeer};

    struct Channel(mpsc::Sender<u8>);

    impl SerialPeer for Channel {
        fn transmit(&mut self, byte: u8) {
            self.0.send(byte).expect("the test listens");
        }
    }

    #[test]
    fn it_is_there_and_shows_bytes() {
        let (sender, receiver) = mpsc::channel();
        let mut bench = Bench::new();
        let mut port = DebugConsole::new(Box::new(Channel(sender)));
        assert_eq!(bench.port_in::<1>(&mut port, 0), [0xe9]);
        for byte in *b"ok" {
            bench.port_out(&mut port, 0, byte);
        }
        assert_eq!(receiver.try_iter().collect::<Vec<u8>>(), b"ok");
    }
}
