//! The power management function of a PIIX4, which a PC with ACPI has beside its PIIX3's bridge.
//!
//! Source: Intel 82371AB (PIIX4) datasheet (order 290562), chapter 7: configuration registers
//! (7.1), power management ports (7.2), SMBus ports (7.3).
//!
//! The function places ports where firmware wants them. Among the power management ones are those
//! of the ACPI fixed hardware, which [`AcpiPm`] is here as on a board without this function; what
//! that has besides (general-purpose events, the SMI command port, the reset register) stays at
//! fixed ports, which are this chip's [`Ports`]. On the SMBus nobody answers.
//!
//! There is no system management mode: what enables SMIs is state without effect, and firmware is
//! told that SMIs have been set up already. Device monitors do not monitor.

use serde::{Deserialize, Serialize};

use crate::{
    AcpiPm, ConfigSpace, Cx, Device, Identity, Inputs, LoadError, PciFunction, PortWindow, Ports,
    Saved, Timed,
};

/// The chip's name.
const NAME: &str = "piix4-pm";

// Configuration registers.
const PMBA: u8 = 0x40;
const DEVACTB: usize = 0x58;
const PMREGMISC: u8 = 0x80;
const SMBBA: u8 = 0x90;
const SMBHSTCFG: u8 = 0xd2;
const SMBREV: usize = 0xd6;
const COMMAND: u8 = 0x04;
const COMMAND_IO: u8 = 1 << 0;
const INTERRUPT_LINE: u8 = 0x3c;
/// PMREGMISC: the power management ports are there.
const PMIOSE: u8 = 1 << 0;
/// SMBHSTCFG: the SMBus ports are; interrupts are IRQ 9.
const SMB_HST_EN: u8 = 1 << 0;
const SMB_IRQ: u8 = 4 << 1;
/// DEVACTB: a write to the SMI command port is an SMI. Firmware that finds it set takes it that
/// all is done that SMIs need.
const APMC_EN: u32 = 1 << 25;
/// The IRQ that is the system control interrupt.
const SCI: u8 = 9;

/// The two windows, by their numbers.
const POWER: u8 = Piix4Pm::POWER;
const SMBUS: u8 = ConfigSpace::WINDOWS + 1;
const POWER_PORTS: usize = 64;
const SMBUS_PORTS: usize = 16;

/// The power management ports that are state and nothing else, by row: the first, and what can be
/// written. GPEN, PCNTRL, GLBEN, GLBCTL, DEVCTL, GPOREG; the status registers read 0, as nothing
/// happens that they could show.
const STORED: [(usize, &[u8]); 6] = [
    (0x0e, &[0x01, 0x0f]),
    (0x10, &[0xff, 0xff, 0xff, 0x03]),
    (0x20, &[0xff, 0x0f]),
    (0x28, &[0xff, 0xff, 0xff, 0x07]),
    (0x2c, &[0xff; 4]),
    (0x34, &[0xff; 4]),
];
/// What GPOREG drives after a reset.
const OUTPUTS: (usize, [u8; 4]) = (0x34, [0xff, 0xbf, 0xff, 0x7f]);

// SMBus ports.
const HOST_STATUS: usize = 0x0;
const HOST_CONTROL: usize = 0x2;
/// What can be written of each: host control, command, address, data (3), slave control, shadow
/// command, slave event (2). Status and slave data are the chip's.
const SMBUS_WRITABLE: [u8; SMBUS_PORTS] =
    [0, 0, 0x1d, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0xff, 0xff, 0, 0, 0, 0];
/// Host control: a transaction starts.
const START: u8 = 1 << 6;
/// Host status: no device has answered.
const DEVICE_ERROR: u8 = 1 << 2;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    config: Vec<u8>,
    /// The fixed hardware's.
    acpi: Saved,
    ports: Stored,
}

/// Ports that keep what they hold.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Stored {
    power: Vec<u8>,
    smbus: Vec<u8>,
}

/// What can be written of power management port `port`, as far as it is state here.
fn power_writable(port: usize) -> u8 {
    let row = STORED.iter().find_map(|(first, masks)| masks.get(port.checked_sub(*first)?));
    row.copied().unwrap_or(0)
}

impl Stored {
    fn new() -> Self {
        let mut power = vec![0; POWER_PORTS];
        power[OUTPUTS.0..][..4].copy_from_slice(&OUTPUTS.1);
        Self { power, smbus: vec![0; SMBUS_PORTS] }
    }

    /// Whether only those bits differ from the ones after a reset that can be written.
    fn is_possible(&self) -> bool {
        let initial = Self::new();
        let is_kept = |n: usize| (self.power[n] ^ initial.power[n]) & !power_writable(n) == 0;
        let is_smbus = |n: usize| {
            let own = if n == HOST_STATUS { DEVICE_ERROR } else { 0 };
            self.smbus[n] & !(SMBUS_WRITABLE[n] | own) == 0
        };
        self.power.len() == POWER_PORTS
            && self.smbus.len() == SMBUS_PORTS
            && (0..POWER_PORTS).all(is_kept)
            && (0..SMBUS_PORTS).all(is_smbus)
    }

    fn write_power(&mut self, port: usize, value: u8) {
        if let Some(register) = self.power.get_mut(port) {
            let writable = power_writable(port);
            *register = *register & !writable | value & writable;
        }
    }

    /// A transaction is over as soon as it starts.
    fn write_smbus(&mut self, port: usize, value: u8) {
        let Some(register) = self.smbus.get_mut(port) else { return };
        match port {
            HOST_STATUS => *register &= !value,
            _ => {
                let writable = SMBUS_WRITABLE[port];
                *register = *register & !writable | value & writable;
                if port == HOST_CONTROL && value & START != 0 {
                    self.smbus[HOST_STATUS] |= DEVICE_ERROR;
                }
            }
        }
    }
}

/// The function. Its input pins are those of [`AcpiPm`], and so are its fixed ports.
pub struct Piix4Pm {
    config: ConfigSpace,
    acpi: AcpiPm,
    ports: Stored,
}

impl Piix4Pm {
    /// The number of the window with the ports of power management.
    pub const POWER: u8 = ConfigSpace::WINDOWS;

    /// The function after power-on: its ports are nowhere. `acpi` has the SCI's wire.
    #[must_use]
    pub fn new(acpi: AcpiPm) -> Self {
        let mut config = ConfigSpace::new(Identity {
            vendor: 0x8086,
            device: 0x7113,
            revision: 3,
            class: 0x06_80_00,
            ..Identity::default()
        });
        config.set_interrupt_pin(1);
        config.set_writable(COMMAND.into(), &[COMMAND_IO, 0]);
        // DEVSEL# at medium speed, back-to-back transactions.
        config.set(0x06, &0x0280_u16.to_le_bytes());
        let switches: &[_] = &[(PMREGMISC, PMIOSE)];
        config.add_window(PortWindow { register: PMBA, size: POWER_PORTS as u16, switches });
        let switches: &[_] = &[(COMMAND, COMMAND_IO), (SMBHSTCFG, SMB_HST_EN)];
        config.add_window(PortWindow { register: SMBBA, size: SMBUS_PORTS as u16, switches });
        // Counts, general-purpose inputs, device activity and resources: CNTA to DEVRESJ.
        config.set_writable(0x44, &[0xff; 0x3c]);
        config.set(DEVACTB, &APMC_EN.to_le_bytes());
        config.set_writable(PMREGMISC.into(), &[PMIOSE]);
        // SMBus: host configuration, slave command and its two shadows.
        config.set_writable(SMBHSTCFG.into(), &[0x0f, 0xff, 0xff, 0xff]);
        config.set(SMBREV, &[0]);
        Self { config, acpi, ports: Stored::new() }
    }

    /// The ACPI fixed hardware.
    pub fn acpi_mut(&mut self) -> &mut AcpiPm {
        &mut self.acpi
    }

    /// What firmware does, for boards without one: the ports of power management and of the SMBus
    /// are at `power` (a multiple of 64) and `smbus` (of 16), and the interrupt is IRQ 9.
    pub fn set_up(config: &mut ConfigSpace, power: u16, smbus: u16) {
        config.write(PMBA, &power.to_le_bytes());
        config.write(PMREGMISC, &[PMIOSE]);
        config.write(SMBBA, &smbus.to_le_bytes());
        config.write(SMBHSTCFG, &[SMB_HST_EN | SMB_IRQ]);
        let command = config.byte(COMMAND);
        config.write(COMMAND, &[command | COMMAND_IO]);
        config.write(INTERRUPT_LINE, &[SCI]);
    }
}

/// Whether power management port `port` is the fixed hardware's: PMSTS, PMEN, PMCNTRL; PMTMR.
fn is_acpi(port: u64) -> bool {
    matches!(port, 0..6 | 8..12)
}

impl PciFunction for Piix4Pm {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn bar_read(&mut self, cx: &mut Cx<'_>, bar: u8, offset: u64, data: &mut [u8]) {
        if bar == POWER && is_acpi(offset) {
            return self.acpi.port_in(cx, offset as u16, data);
        }
        let registers = match bar {
            POWER => &self.ports.power,
            SMBUS => &self.ports.smbus,
            _ => return,
        };
        for (byte, register) in data.iter_mut().zip(registers.iter().skip(offset as usize)) {
            *byte = *register;
        }
    }

    fn bar_write(&mut self, cx: &mut Cx<'_>, bar: u8, offset: u64, data: &[u8]) {
        if bar == POWER && is_acpi(offset) {
            return self.acpi.port_out(cx, offset as u16, data);
        }
        for (port, value) in (offset as usize..).zip(data) {
            match bar {
                POWER => self.ports.write_power(port, *value),
                SMBUS => self.ports.write_smbus(port, *value),
                _ => {}
            }
        }
    }
}

impl Device for Piix4Pm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reset(&mut self, cx: &mut Cx<'_>) {
        self.config.reset();
        self.ports = Stored::new();
        self.acpi.reset(cx);
    }

    fn save(&self) -> Saved {
        let config = self.config.registers();
        let state = State { config, acpi: self.acpi.save(), ports: self.ports.clone() };
        Saved::pack(NAME, &state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let State { config, acpi, ports } = saved.unpack(NAME)?;
        let mut loaded = self.config.clone();
        if !loaded.load_registers(&config) || !ports.is_possible() {
            let reason = "its registers cannot be like that".to_owned();
            return Err(LoadError::Damaged { device: NAME, reason });
        }
        self.acpi.load(&acpi)?;
        (self.config, self.ports) = (loaded, ports);
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        self.acpi.as_ports()
    }

    fn as_inputs(&mut self) -> Option<&mut dyn Inputs> {
        self.acpi.as_inputs()
    }

    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        self.acpi.as_timed()
    }
}

#[cfg(test)]
mod tests;
