//! Message signalled interrupts: the capability with ID 05h (PCI 3.0, section 6.8.1).
//!
//! The form with a 64-bit address and without masks for single vectors, which is what hardware of
//! the time has (ICH9's AHCI among it). All that there is to it is in configuration space.

use super::ConfigSpace;
use crate::{Backplane, Signal, msi_message};

/// The capability's ID.
const ID: u8 = 0x05;

// Registers, from the start of the capability.
const CONTROL: usize = 0x02;
const ADDRESS: usize = 0x04;
const ADDRESS_HIGH: usize = 0x08;
const DATA: usize = 0x0c;

/// Control: messages instead of INTx#.
const ENABLE: u16 = 1 << 0;
/// Control: addresses have 64 bits.
const WIDE: u16 = 1 << 7;

/// The MSI capability of a function.
pub struct Msi {
    backplane: Backplane,
    /// Where it lies in configuration space.
    offset: usize,
}

impl Msi {
    /// Adds the capability to `config`, with 2 to the power of `vectors_log2` (0 to 5) vectors.
    ///
    /// # Panics
    /// If that is too many, or configuration space is full: the device is built wrongly.
    #[must_use]
    pub fn new(config: &mut ConfigSpace, backplane: Backplane, vectors_log2: u8) -> Self {
        assert!(vectors_log2 <= 5, "a function has 32 vectors at most");
        let control = WIDE | u16::from(vectors_log2) << 1;
        let [low, high] = control.to_le_bytes();
        let mut body = [0; 12];
        body[..2].copy_from_slice(&[low, high]);
        let writable = [0x71, 0, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let offset = usize::from(config.add_capability(ID, &body, &writable));
        Self { backplane, offset }
    }

    /// Whether the function sends messages: it then keeps INTx# as it is without interrupts.
    #[must_use]
    pub fn is_enabled(&self, config: &ConfigSpace) -> bool {
        config.word(self.offset + CONTROL) & ENABLE != 0
    }

    /// Sends vector `vector`, if the guest lets the function do so. Vectors that the guest has not
    /// allocated are folded onto those that it has (section 6.8.3.4).
    pub fn signal(&self, config: &ConfigSpace, vector: u8) {
        if !self.is_enabled(config) || !config.is_bus_master() {
            return;
        }
        let control = config.word(self.offset + CONTROL);
        // The guest may ask for more than there are.
        let allocated = (control >> 4 & 7).min(control >> 1 & 7);
        let folded = (1 << allocated) - 1;
        let address = u64::from(config.doubleword(self.offset + ADDRESS))
            | u64::from(config.doubleword(self.offset + ADDRESS_HIGH)) << 32;
        let data = u32::from(config.word(self.offset + DATA)) & !folded;
        if let Some(message) = msi_message(address, data | u32::from(vector) & folded) {
            self.backplane.say(Signal::Message(message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::Identity;

    const NONE: [u8; 0] = [];

    fn sent(backplane: &Backplane) -> Vec<u8> {
        std::iter::from_fn(|| backplane.take())
            .map(|signal| match signal {
                Signal::Message(message) => message.vector,
                other => panic!("{other:?} is no message"),
            })
            .collect()
    }

    #[test]
    fn messages_go_out_as_the_guest_has_set_them_up() {
        let backplane = Backplane::default();
        let mut config = ConfigSpace::new(Identity::default());
        let msi = Msi::new(&mut config, backplane.clone(), 2);
        assert_eq!((config.byte(0x34), config.byte(0x40)), (0x40, 0x05));
        assert_eq!(config.word(0x42), 0x84);
        config.write(0x04, &[0x04]);
        config.write(0x44, &0xfee0_1003_u32.to_le_bytes());
        config.write(0x4c, &0x0047_u16.to_le_bytes());
        msi.signal(&config, 1);
        assert_eq!(sent(&backplane), NONE, "not enabled");
        config.write(0x42, &[0xff, 0xff]);
        assert_eq!((config.word(0x42), config.doubleword(0x44)), (0xf5, 0xfee0_1000));
        // Four of the eight vectors that the guest asks for.
        (0..5).for_each(|vector| msi.signal(&config, vector));
        assert_eq!(sent(&backplane), [0x44, 0x45, 0x46, 0x47, 0x44]);
        config.write(0x42, &[0x01, 0x00]);
        msi.signal(&config, 3);
        assert_eq!(sent(&backplane), [0x47], "all on one");
        config.write(0x48, &[1]);
        msi.signal(&config, 0);
        config.write(0x48, &[0]);
        config.write(0x04, &[0x00]);
        msi.signal(&config, 0);
        assert_eq!(sent(&backplane), NONE, "beyond 4 GiB; not a bus master");
    }
}
