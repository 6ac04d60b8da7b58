//! The two bridges of a PC of 1996: the 82441FX host bridge and the PCI-to-ISA bridge of PIIX3.
//!
//! Sources: Intel 82441FX (PMC) datasheet (order 290549), section 3.2; Intel 82371SB (PIIX3)
//! datasheet (order 290550), section 2.2.
//!
//! Memory attributes (PAM), SMRAM and the ISA bridge's decoders are state without effect: the
//! board's RAM map is fixed.

use crate::{
    Cx, Device, LoadError, Saved,
    pci::{ConfigSpace, Identity, PciFunction},
};

const INTEL: u16 = 0x8086;
/// Status: DEVSEL# at medium speed.
const STATUS_MEDIUM: u16 = 1 << 9;

/// Function 0:0.0: the host bridge.
pub struct I440fx {
    config: ConfigSpace,
}

impl I440fx {
    /// A bridge after power-on.
    #[must_use]
    pub fn new() -> Self {
        let mut config = ConfigSpace::new(Identity {
            vendor: INTEL,
            device: 0x1237,
            revision: 2,
            class: 0x06_00_00,
            ..Identity::default()
        });
        // Memory access is always on, bus mastering too.
        config.set(0x04, &[0x06, 0x00]);
        config.set_writable(0x04, &[0x40, 0x01]);
        config.set(0x06, &(STATUS_MEDIUM | 1 << 7).to_le_bytes());
        // PMC configuration, DRAM control and timing.
        config.set_writable(0x50, &[0xff, 0xff]);
        config.set(0x57, &[0x01, 0x00]);
        config.set_writable(0x57, &[0xff, 0xff]);
        // PAM0 to PAM6; the lower half of PAM0 is reserved.
        config.set_writable(0x59, &[0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33]);
        // DRAM row boundaries, row type, fixed hole control.
        config.set(0x60, &[0x01; 8]);
        config.set_writable(0x60, &[0xff; 9]);
        // SMRAM control.
        config.set(0x72, &[0x02]);
        config.set_writable(0x72, &[0x78]);
        Self { config }
    }
}

impl Default for I440fx {
    fn default() -> Self {
        Self::new()
    }
}

impl Device for I440fx {
    fn name(&self) -> &'static str {
        "i440fx"
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.config.reset();
    }

    fn save(&self) -> Saved {
        self.config.save(self.name())
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        self.config.load(self.name(), saved)
    }
}

impl PciFunction for I440fx {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }
}

/// Function 0:1.0: the PCI-to-ISA bridge, which routes PCI's interrupts to the 8259s.
pub struct Piix3Isa {
    config: ConfigSpace,
}

impl Piix3Isa {
    /// The first of four PIRQ route control registers.
    pub const PIRQ_ROUTE: u8 = 0x60;

    /// A bridge after power-on: no PIRQ is routed.
    #[must_use]
    pub fn new() -> Self {
        let mut config = ConfigSpace::new(Identity {
            vendor: INTEL,
            device: 0x7000,
            class: 0x06_01_00,
            ..Identity::default()
        });
        // I/O, memory and bus mastering are always on.
        config.set(0x04, &[0x07, 0x00]);
        config.set_writable(0x04, &[0x08, 0x01]);
        config.set(0x06, &STATUS_MEDIUM.to_le_bytes());
        // ISA I/O recovery timer, X-bus chip select.
        config.set(0x4c, &[0x4d, 0x00, 0x03, 0x00]);
        config.set_writable(0x4c, &[0xff, 0x00, 0xff, 0x01]);
        config.set(usize::from(Self::PIRQ_ROUTE), &[0x80; 4]);
        config.set_writable(usize::from(Self::PIRQ_ROUTE), &[0x8f; 4]);
        // Top of memory for ISA masters.
        config.set(0x69, &[0x02]);
        config.set_writable(0x69, &[0xfe]);
        Self { config }
    }

    /// Where PIRQ `pirq` (0 is A, modulo 4) of the bridge with this configuration leads: an IRQ of
    /// the 8259s, `None` while it is off or set to a reserved one.
    #[must_use]
    pub fn pirq_route(config: &ConfigSpace, pirq: u8) -> Option<u8> {
        match config.byte(Self::PIRQ_ROUTE + (pirq & 3)) {
            irq @ (3..=7 | 9..=12 | 14 | 15) => Some(irq),
            _ => None,
        }
    }
}

impl Default for Piix3Isa {
    fn default() -> Self {
        Self::new()
    }
}

impl Device for Piix3Isa {
    fn name(&self) -> &'static str {
        "piix3-isa"
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.config.reset();
    }

    fn save(&self) -> Saved {
        self.config.save(self.name())
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        self.config.load(self.name(), saved)
    }
}

impl PciFunction for Piix3Isa {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }
}
