//! The register map (section 13.4).

use trine_guest::VmTime;

use super::{
    E1000, Mac,
    interrupts::{MDAC, RXT0},
    phy::MDIC_INTERRUPT,
    statistics,
};

const CTRL: u32 = 0x0000;
/// CTRL again.
const CTRL_SHADOW: u32 = 0x0004;
const STATUS: u32 = 0x0008;
const EECD: u32 = 0x0010;
const EERD: u32 = 0x0014;
const CTRL_EXT: u32 = 0x0018;
const MDIC: u32 = 0x0020;
const VET: u32 = 0x0038;
const ICR: u32 = 0x00c0;
const ITR: u32 = 0x00c4;
const ICS: u32 = 0x00c8;
const IMS: u32 = 0x00d0;
const IMC: u32 = 0x00d8;
const RCTL: u32 = 0x0100;
const TCTL: u32 = 0x0400;
/// The receiver's and the transmitter's blocks, alike up to RXDCTL and TXDCTL.
const RECEIVE_RING: u32 = 0x2800;
const RDTR: u32 = 0x2820;
const RADV: u32 = 0x282c;
const RSRPD: u32 = 0x2c00;
const TRANSMIT_RING: u32 = 0x3800;
const TIDV: u32 = 0x3820;
const TXDCTL: u32 = 0x3828;
const TADV: u32 = 0x382c;
const RXCSUM: u32 = 0x5000;
const STATISTICS_END: u32 = statistics::START + 0xff;
const MTA: u32 = 0x5200;
const MTA_END: u32 = 0x53ff;
const RAL: u32 = 0x5400;
const RAH_END: u32 = 0x547f;
const VFTA: u32 = 0x5600;
const VFTA_END: u32 = 0x57ff;

/// CTRL_EXT: the EEPROM is read again, as after a reset.
const EXTENDED_EEPROM_RESET: u32 = 1 << 13;
/// RDTR: the delay ends now.
const FLUSH: u32 = 1 << 31;

impl E1000 {
    /// Reads a register. What has no effect when read and none elsewhere is in `storage`.
    pub(super) fn read(&mut self, offset: u32) -> u32 {
        let Self { mac, eeprom, .. } = self;
        match offset {
            CTRL | CTRL_SHADOW => mac.control,
            STATUS => self.status(),
            EECD => eeprom.read(),
            EERD => mac.eeprom_read,
            CTRL_EXT => mac.control_extended,
            MDIC => mac.mdic,
            VET => mac.vlan_type.into(),
            ICR => {
                let cause = mac.interrupts.cause();
                mac.interrupts.clear(cause);
                cause
            }
            ITR => mac.interrupts.throttle.into(),
            // To be written only; the chip shows ICR there, without clearing it.
            ICS => mac.interrupts.cause(),
            IMS => mac.interrupts.mask(),
            RCTL => mac.receiver.control(),
            TCTL => mac.transmitter.control(),
            RECEIVE_RING..RDTR => mac.receiver.ring.read(offset - RECEIVE_RING),
            RDTR => mac.receiver.delay.since_last.into(),
            RADV => mac.receiver.delay.since_first.into(),
            RSRPD => mac.receiver.small(),
            TRANSMIT_RING..TIDV => mac.transmitter.ring.read(offset - TRANSMIT_RING),
            TIDV => mac.transmitter.delay.since_last.into(),
            TXDCTL => mac.transmitter.descriptor_control(),
            TADV => mac.transmitter.delay.since_first.into(),
            statistics::START..=STATISTICS_END => mac.statistics.read(offset - statistics::START),
            RXCSUM => mac.receiver.checksum(),
            MTA..=MTA_END => *mac.filter.multicast_mut(index(offset, MTA)),
            RAL..=RAH_END => mac.filter.address(index(offset, RAL)),
            VFTA..=VFTA_END => *mac.filter.vlan_mut(index(offset, VFTA)),
            _ => mac.storage.read(offset),
        }
    }

    /// Writes a register. What the driver asks for by it is not done yet.
    pub(super) fn write(&mut self, now: VmTime, offset: u32, value: u32) {
        let Self { mac, phy, eeprom, .. } = self;
        match offset {
            CTRL | CTRL_SHADOW => self.write_control(now, value),
            EECD => eeprom.write(value),
            EERD => mac.eeprom_read = eeprom.read_word(value),
            CTRL_EXT => {
                mac.control_extended = value & !EXTENDED_EEPROM_RESET;
                if value & EXTENDED_EEPROM_RESET != 0 {
                    mac.filter.set_station(eeprom.mac());
                }
            }
            MDIC => {
                mac.mdic = phy.operate(now, value);
                if value & MDIC_INTERRUPT != 0 {
                    mac.interrupts.raise(MDAC);
                }
            }
            VET => mac.vlan_type = value as u16,
            ICR => mac.interrupts.clear(value),
            ITR => mac.interrupts.throttle = value as u16,
            ICS => mac.interrupts.raise(value),
            IMS => mac.interrupts.enable(value),
            IMC => mac.interrupts.disable(value),
            RCTL => mac.receiver.set_control(value),
            TCTL => mac.transmitter.set_control(value),
            _ => mac.write_unit(offset, value),
        }
    }
}

impl Mac {
    /// Writes a register of the receiver, the transmitter or the filter.
    fn write_unit(&mut self, offset: u32, value: u32) {
        match offset {
            RECEIVE_RING..RDTR => self.receiver.ring.write(offset - RECEIVE_RING, value),
            RDTR => {
                self.receiver.delay.since_last = value as u16;
                if value & FLUSH != 0 {
                    self.receiver.delay.stop();
                    self.interrupts.raise(RXT0);
                }
            }
            RADV => self.receiver.delay.since_first = value as u16,
            RSRPD => self.receiver.set_small(value),
            TRANSMIT_RING..TIDV => self.transmitter.ring.write(offset - TRANSMIT_RING, value),
            TIDV => self.transmitter.delay.since_last = value as u16,
            TXDCTL => self.transmitter.set_descriptor_control(value),
            TADV => self.transmitter.delay.since_first = value as u16,
            RXCSUM => self.receiver.set_checksum(value),
            MTA..=MTA_END => *self.filter.multicast_mut(index(offset, MTA)) = value,
            RAL..=RAH_END => self.filter.set_address(index(offset, RAL), value),
            VFTA..=VFTA_END => *self.filter.vlan_mut(index(offset, VFTA)) = value,
            _ => self.storage.write(offset, value),
        }
    }
}

/// Which register of a table that starts at `start` lies at `offset`.
fn index(offset: u32, start: u32) -> usize {
    (offset - start) as usize / 4
}
