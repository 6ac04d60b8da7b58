//! The Command Block registers of a drive (ATA/ATAPI-6, section 7), and the addresses in them.

use serde::{Deserialize, Serialize};

/// The registers by their offset in the Command Block. [`DATA`] is no byte register.
pub(crate) const DATA: u16 = 0;
/// Error when read, Features when written.
pub(crate) const ERROR: u16 = 1;
pub(crate) const COUNT: u16 = 2;
pub(crate) const LOW: u16 = 3;
pub(crate) const MID: u16 = 4;
pub(crate) const HIGH: u16 = 5;
pub(crate) const DEVICE: u16 = 6;
/// Status when read, Command when written.
pub(crate) const STATUS: u16 = 7;

/// Device: device 1 rather than 0.
pub(crate) const DEVICE_1: u8 = 1 << 4;
/// Device: the address is a block's number.
const DEVICE_LBA: u8 = 1 << 6;
/// Device: bits that were always set before ATA-6, and still read so.
const DEVICE_OLD: u8 = 0xa0;

/// Error: the command was not done, or there is no such command.
pub(crate) const ABORTED: u8 = 1 << 2;
/// Error: there is no such sector.
pub(crate) const ID_NOT_FOUND: u8 = 1 << 4;
/// Error: the sector cannot be read.
pub(crate) const UNCORRECTABLE: u8 = 1 << 6;

/// A register that remembers the value before its last one, for commands with long addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Register {
    pub(crate) now: u8,
    pub(crate) before: u8,
}

impl Register {
    fn write(&mut self, value: u8) {
        *self = Self { now: value, before: self.now };
    }

    /// Both bytes.
    pub(crate) fn wide(self) -> u16 {
        u16::from_be_bytes([self.before, self.now])
    }
}

/// How a command says which sector it means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Addressing {
    /// Cylinder, head and sector.
    Chs,
    /// A number of 28 bits.
    Lba28,
    /// A number of 48 bits.
    Lba48,
}

/// Heads and sectors of a track: how cylinder, head and sector make a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Geometry {
    pub(crate) heads: u8,
    pub(crate) sectors: u8,
}

impl Geometry {
    /// Sectors of a cylinder.
    pub(crate) fn cylinder(self) -> u64 {
        u64::from(self.heads) * u64::from(self.sectors)
    }

    pub(crate) fn is_valid(self) -> bool {
        (1..=16).contains(&self.heads) && self.sectors != 0
    }
}

/// The registers, Status apart, which follows from what the drive is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Taskfile {
    pub(crate) features: Register,
    pub(crate) count: Register,
    pub(crate) low: Register,
    pub(crate) mid: Register,
    pub(crate) high: Register,
    pub(crate) device: u8,
    pub(crate) error: u8,
}

impl Taskfile {
    /// What a drive shows after a reset: it is well, and its kind.
    pub(crate) fn signed(signature: [u8; 4]) -> Self {
        let mut registers = Self { error: 0x01, ..Self::default() };
        registers.sign(signature);
        registers
    }

    /// Shows the drive's kind (section 9.12).
    pub(crate) fn sign(&mut self, [count, low, mid, high]: [u8; 4]) {
        self.device &= DEVICE_1;
        for (register, value) in
            [(&mut self.count, count), (&mut self.low, low), (&mut self.mid, mid)]
        {
            *register = Register { now: value, before: 0 };
        }
        self.high = Register { now: high, before: 0 };
    }

    /// Reads a register between [`ERROR`] and [`DEVICE`]; `previous` ones with HOB set.
    pub(crate) fn read(&self, register: u16, previous: bool) -> u8 {
        let pair = match register {
            ERROR => return self.error,
            COUNT => self.count,
            LOW => self.low,
            MID => self.mid,
            HIGH => self.high,
            _ => return self.device | DEVICE_OLD,
        };
        if previous { pair.before } else { pair.now }
    }

    /// Writes a register between [`ERROR`], which is Features then, and [`DEVICE`].
    pub(crate) fn write(&mut self, register: u16, value: u8) {
        match register {
            ERROR => self.features.write(value),
            COUNT => self.count.write(value),
            LOW => self.low.write(value),
            MID => self.mid.write(value),
            HIGH => self.high.write(value),
            _ => self.device = value,
        }
    }

    /// How a command addresses, `wide` being those of the 48-bit feature set.
    pub(crate) fn addressing(&self, wide: bool) -> Addressing {
        match self.device & DEVICE_LBA != 0 {
            _ if wide => Addressing::Lba48,
            true => Addressing::Lba28,
            false => Addressing::Chs,
        }
    }

    /// The number of the sector that the registers name; `None` if no sector can have that name.
    pub(crate) fn address(&self, addressing: Addressing, geometry: Geometry) -> Option<u64> {
        let [low, mid, high] = [self.low, self.mid, self.high].map(|r| u64::from(r.now));
        let short = high << 16 | mid << 8 | low;
        let head = self.device & 0x0f;
        match addressing {
            Addressing::Lba48 => {
                let before = [self.low, self.mid, self.high].map(|r| u64::from(r.before));
                Some(before[2] << 40 | before[1] << 32 | before[0] << 24 | short)
            }
            Addressing::Lba28 => Some(u64::from(head) << 24 | short),
            Addressing::Chs if head < geometry.heads && self.low.now <= geometry.sectors => {
                let track = (high << 8 | mid) * u64::from(geometry.heads) + u64::from(head);
                Some(track * u64::from(geometry.sectors) + low.checked_sub(1)?)
            }
            Addressing::Chs => None,
        }
    }

    /// Names sector `number` in the registers.
    pub(crate) fn set_address(&mut self, addressing: Addressing, geometry: Geometry, number: u64) {
        let mut bytes = number.to_le_bytes();
        match addressing {
            Addressing::Lba48 => {
                self.low.before = bytes[3];
                self.mid.before = bytes[4];
                self.high.before = bytes[5];
            }
            Addressing::Lba28 => self.device = self.device & 0xf0 | bytes[3] & 0x0f,
            Addressing::Chs => {
                let sectors = u64::from(geometry.sectors.max(1));
                let (track, heads) = (number / sectors, u64::from(geometry.heads.max(1)));
                let cylinder = (track / heads).to_le_bytes();
                bytes = [(number % sectors) as u8 + 1, cylinder[0], cylinder[1], 0, 0, 0, 0, 0];
                self.device = self.device & 0xf0 | (track % heads) as u8 & 0x0f;
            }
        }
        self.low.now = bytes[0];
        self.mid.now = bytes[1];
        self.high.now = bytes[2];
    }

    /// How many sectors a command is about: 0 means as many as there are numbers.
    pub(crate) fn sectors(&self, wide: bool) -> u32 {
        match (wide, self.count.wide(), self.count.now) {
            (true, 0, _) => 1 << 16,
            (true, count, _) => u32::from(count),
            (false, _, 0) => 1 << 8,
            (false, _, count) => u32::from(count),
        }
    }
}
