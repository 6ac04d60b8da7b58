//! The two bridges of a PC of 1996: the 82441FX host bridge and the PCI-to-ISA bridge of PIIX3.
//!
//! Sources: Intel 82441FX (PMC) datasheet (order 290549), section 3.2; Intel 82371SB (PIIX3)
//! datasheet (order 290550), section 2.2.
//!
//! Where accesses below 1 MiB go, DRAM or PCI, [`I440fx::low_memory`] says: the board makes its
//! memory map of that. The ISA bridge's decoders (XBCS) are state without effect: the ROM always answers
//! in the last 128 KiB below 1 MiB, as every BIOS of that size expects.

use trine_guest::Gpa;

use crate::{
    Cx, Device, LoadError, Saved,
    pci::{ConfigSpace, Identity, PciFunction},
};

const INTEL: u16 = 0x8086;
/// Status: DEVSEL# at medium speed.
const STATUS_MEDIUM: u16 = 1 << 9;

/// SMRAM: DRAM answers at A0000h for everybody (D_OPEN), unless D_LCK has ended that.
const SMRAM_OPEN: u8 = 1 << 6;
/// SMRAM: D_OPEN stays off until a reset (D_LCK).
const SMRAM_LOCK: u8 = 1 << 4;
/// A nibble of PAM: reads go to DRAM (RE).
const READ_DRAM: u8 = 1 << 0;
/// A nibble of PAM: writes go to DRAM (WE).
const WRITE_DRAM: u8 = 1 << 1;

/// To where the host bridge takes an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// To memory.
    Dram,
    /// To PCI, and from there to ISA and the ROM.
    Pci,
}

/// A segment of memory space that has memory attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LowSegment {
    /// Its first address.
    pub start: Gpa,
    /// Its bytes.
    pub len: u64,
    /// Where reads go.
    pub reads: Side,
    /// Where writes go.
    pub writes: Side,
}

/// What the host bridge does with accesses between A0000h and 1 MiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LowMemory {
    /// From A0000h to BFFFFh there is DRAM, not what PCI has there.
    pub smram_is_open: bool,
    /// What follows: twelve segments of 16 KiB and one of 64 KiB.
    pub segments: [LowSegment; 13],
}

impl LowMemory {
    /// The segment that `at` lies in.
    #[must_use]
    pub fn segment(&self, at: Gpa) -> Option<&LowSegment> {
        self.segments.iter().find(|s| at.0.wrapping_sub(s.start.0) < s.len)
    }
}

/// Function 0:0.0: the host bridge.
pub struct I440fx {
    config: ConfigSpace,
    /// Derived: D_LCK, which only a reset clears.
    smram_is_locked: bool,
}

impl I440fx {
    /// The first of seven programmable attribute map registers (PAM0 to PAM6).
    pub const PAM: u8 = 0x59;
    /// System management RAM control.
    pub const SMRAM: u8 = 0x72;
    /// In both halves of a PAM register: all accesses go to DRAM.
    pub const PAM_DRAM: u8 = 0x33;

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
        let pam = usize::from(Self::PAM);
        config.set_writable(pam, &[Self::PAM_DRAM; 7]);
        config.set_writable(pam, &[Self::PAM_DRAM & 0xf0]);
        // DRAM row boundaries, row type, fixed hole control.
        config.set(0x60, &[0x01; 8]);
        config.set_writable(0x60, &[0xff; 9]);
        // SMRAM control.
        config.set(usize::from(Self::SMRAM), &[0x02]);
        config.set_writable(usize::from(Self::SMRAM), &[0x78]);
        Self { config, smram_is_locked: false }
    }

    /// What the bridge with this configuration does with accesses between A0000h and 1 MiB.
    #[must_use]
    pub fn low_memory(config: &ConfigSpace) -> LowMemory {
        const SMALL: u64 = 16 << 10;
        // The upper half of PAM0 is the last segment's; from PAM1 on each half is one segment's.
        let attributes = |half: u8| config.byte(Self::PAM + half / 2) >> (half % 2 * 4);
        let segment = |start: u64, len: u64, half: u8| {
            let side = |dram: u8| if attributes(half) & dram != 0 { Side::Dram } else { Side::Pci };
            let (reads, writes) = (side(READ_DRAM), side(WRITE_DRAM));
            LowSegment { start: Gpa(start), len, reads, writes }
        };
        let smram = config.byte(Self::SMRAM);
        LowMemory {
            smram_is_open: smram & (SMRAM_OPEN | SMRAM_LOCK) == SMRAM_OPEN,
            segments: std::array::from_fn(|n| match n {
                12 => segment(0xf_0000, 4 * SMALL, 1),
                _ => segment(0xc_0000 + n as u64 * SMALL, SMALL, 2 + n as u8),
            }),
        }
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
        self.smram_is_locked = false;
    }

    fn save(&self) -> Saved {
        self.config.save(self.name())
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        self.config.load(self.name(), saved)?;
        self.smram_is_locked = self.config.byte(Self::SMRAM) & SMRAM_LOCK != 0;
        Ok(())
    }
}

impl PciFunction for I440fx {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_written(&mut self, _cx: &mut Cx<'_>, offset: u8, len: u8) {
        let has_smram = Self::SMRAM.wrapping_sub(offset) < len;
        let smram = self.config.byte(Self::SMRAM);
        self.smram_is_locked |= has_smram && smram & SMRAM_LOCK != 0;
        if self.smram_is_locked {
            self.config.write(Self::SMRAM, &[smram & !SMRAM_OPEN | SMRAM_LOCK]);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bench;

    /// What a guest does: it writes, and the function is told.
    fn write(bridge: &mut I440fx, offset: u8, value: u8) {
        bridge.config_mut().write(offset, &[value]);
        Bench::new().with(|cx| bridge.config_written(cx, offset, 1));
    }

    fn low(bridge: &I440fx) -> LowMemory {
        I440fx::low_memory(bridge.config())
    }

    #[test]
    fn segments_follow_each_other_up_to_1_mib() {
        let low = low(&I440fx::new());
        let mut next = 0xc_0000;
        for segment in &low.segments {
            assert_eq!(segment.start.0, next);
            assert_eq!((segment.reads, segment.writes), (Side::Pci, Side::Pci));
            assert_eq!(low.segment(Gpa(next + segment.len - 1)), Some(segment));
            next += segment.len;
        }
        assert_eq!((next, low.smram_is_open), (1 << 20, false));
        assert_eq!((low.segment(Gpa(0xb_ffff)), low.segment(Gpa(1 << 20))), (None, None));
    }

    #[test]
    fn each_half_of_a_register_has_its_segment() {
        let starts = (0..12).map(|n| 0xc_0000 + n * 0x4000).chain([0xf_0000]);
        // PAM1 to PAM6, the lower half first; then the upper one of PAM0.
        let halves = (2..14_u8).chain([1]);
        for (start, half) in starts.zip(halves) {
            for (bits, sides) in [
                (1, (Side::Dram, Side::Pci)),
                (2, (Side::Pci, Side::Dram)),
                (3, (Side::Dram, Side::Dram)),
            ] {
                let mut bridge = I440fx::new();
                // The reserved bits beside them are 0 whatever is written.
                write(&mut bridge, I440fx::PAM + half / 2, (bits | 0xc) << (half % 2 * 4));
                let low = low(&bridge);
                for segment in &low.segments {
                    let is = if segment.start.0 == start { sides } else { (Side::Pci, Side::Pci) };
                    assert_eq!((segment.reads, segment.writes), is, "{start:x} {segment:x?}");
                }
            }
        }
        let mut bridge = I440fx::new();
        write(&mut bridge, I440fx::PAM, 0xff);
        assert_eq!(bridge.config().byte(I440fx::PAM), 0x30, "its lower half is reserved");
    }

    #[test]
    fn smram_is_open_until_it_is_locked() {
        let mut bridge = I440fx::new();
        write(&mut bridge, I440fx::SMRAM, 0x4a);
        assert!(low(&bridge).smram_is_open);
        write(&mut bridge, I440fx::SMRAM, 0x5a);
        assert_eq!(bridge.config().byte(I440fx::SMRAM), 0x1a, "D_LCK closes it");
        write(&mut bridge, I440fx::SMRAM, 0x4a);
        assert_eq!(bridge.config().byte(I440fx::SMRAM), 0x1a, "and keeps it closed");
        assert!(!low(&bridge).smram_is_open);
        // In another bridge, too, that takes over its state.
        let saved = bridge.save();
        let mut other = I440fx::new();
        other.load(&saved).expect("it was a bridge's");
        write(&mut other, I440fx::SMRAM, 0x4a);
        assert_eq!(other.save(), saved);
        Bench::new().with(|cx| other.reset(cx));
        write(&mut other, I440fx::SMRAM, 0x42);
        assert!(low(&other).smram_is_open);
    }
}
