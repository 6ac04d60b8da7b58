//! The IDE interface of the PIIX3: PCI function 1 of the south bridge, with two channels in
//! compatibility mode, each with a bus master.
//!
//! Source: Intel 82371SB (PIIX3) datasheet (order 290550), sections 2.3 (configuration space), 2.7
//! (bus master registers) and 3.2 (operation).
//!
//! The channels' ports are fixed and their interrupts are IRQ 14 and 15; the function itself has
//! neither BARs for them nor an interrupt pin. It answers while the guest lets it decode ports (PCI
//! command register) and the channel is on (IDETIM). Timing registers are state without effect.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use super::{
    AtaDrive,
    bus_master::BusMaster,
    channel::{self, Channel},
    taskfile,
};
use crate::{
    Bar, Bays, ConfigSpace, Cx, Device, Disk, Identity, Line, LoadError, PciFunction, Ports, Saved,
    Timed,
};

/// The chip's name.
const NAME: &str = "piix3-ide";
/// Configuration: timing of the primary channel; the secondary's is behind it.
const IDETIM: u8 = 0x40;
/// IDETIM: the channel is on. In its upper byte.
const IDETIM_DECODE: u8 = 1 << 7;
/// Command: ports are decoded.
const COMMAND_IO: u8 = 1 << 0;
/// The BAR of the bus masters.
const BAR_MASTERS: usize = 4;
/// Ports of one bus master.
const MASTER_PORTS: u64 = 8;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    config: Vec<u8>,
    masters: [BusMaster; 2],
    channels: [channel::State; 2],
}

/// The controller.
///
/// Its [`Ports`] are those of the primary channel from [`Piix3Ide::PRIMARY`] on and of the secondary
/// from [`Piix3Ide::SECONDARY`] on: eight for the Command Block, and behind them one for Alternate
/// Status and Device Control. Its [`Bays`] are the drives: primary 0 and 1, secondary 0 and 1.
pub struct Piix3Ide {
    config: ConfigSpace,
    channels: [Channel; 2],
    masters: [BusMaster; 2],
    irqs: [Line; 2],
}

impl Piix3Ide {
    /// Register: the primary channel's Command Block (1F0h to 1F7h on a PC).
    pub const PRIMARY: u16 = 0x00;
    /// Register: the primary channel's Alternate Status and Device Control (3F6h on a PC).
    pub const PRIMARY_CONTROL: u16 = 0x08;
    /// Register: the secondary channel's Command Block (170h to 177h on a PC).
    pub const SECONDARY: u16 = 0x10;
    /// Register: the secondary channel's Alternate Status and Device Control (376h on a PC).
    pub const SECONDARY_CONTROL: u16 = 0x18;

    /// A controller after power-on, with these drives on the primary and the secondary channel,
    /// which interrupt on `irqs`.
    #[must_use]
    pub fn new(irqs: [Line; 2], drives: [[Option<AtaDrive>; 2]; 2]) -> Self {
        let mut config = ConfigSpace::new(Identity {
            vendor: 0x8086,
            device: 0x7010,
            // Bus masters; both channels in compatibility mode, for good.
            class: 0x01_01_80,
            ..Identity::default()
        });
        config.set_writable(0x04, &[0x05, 0x00]);
        // DEVSEL# at medium speed; takes fast back-to-back cycles.
        config.set(0x06, &[0x80, 0x02]);
        config.add_bar(BAR_MASTERS, Bar::Io { size: 2 * MASTER_PORTS as u32 });
        // IDETIM of both channels, and SIDETIM.
        config.set_writable(usize::from(IDETIM), &[0xff, 0xf3, 0xff, 0xf3, 0xff]);
        Self { config, channels: drives.map(Channel::new), masters: Default::default(), irqs }
    }

    /// Turns both channels on, but not the function.
    pub fn turn_on(config: &mut ConfigSpace) {
        for channel in [0, 2] {
            config.write(IDETIM + channel + 1, &[IDETIM_DECODE]);
        }
    }

    /// Turns both channels on and lets them decode ports and master the bus, as a firmware does with
    /// this configuration space of one.
    pub fn enable(config: &mut ConfigSpace) {
        Self::turn_on(config);
        config.write(0x04, &[COMMAND_IO | 1 << 2]);
    }

    fn is_on(&self, channel: usize) -> bool {
        self.config.byte(0x04) & COMMAND_IO != 0
            && self.config.byte(IDETIM + 2 * channel as u8 + 1) & IDETIM_DECODE != 0
    }

    /// Everything that is due by `now` happens on a channel, and its wire follows.
    fn serve(&mut self, cx: &Cx<'_>, index: usize) {
        let (channel, master) = (&mut self.channels[index], &mut self.masters[index]);
        loop {
            if self.config.is_bus_master()
                && let Some(drive) = channel.requester()
            {
                master.pump(cx, drive);
            }
            let mut is_news = false;
            for drive in channel.drives() {
                is_news |= drive.advance(cx.now);
            }
            if !is_news {
                break;
            }
        }
        self.drive(index);
    }

    fn drive(&mut self, index: usize) {
        let level = self.channels[index].interrupt();
        if level && !self.irqs[index].level() {
            self.masters[index].interrupted();
        }
        self.irqs[index].set(level);
    }

    /// The channel that `register` is of, and its register there.
    fn target(&self, register: u16) -> Option<(usize, u16)> {
        let index = usize::from(register / Self::SECONDARY);
        (index < 2 && self.is_on(index)).then_some((index, register % Self::SECONDARY))
    }
}

impl Ports for Piix3Ide {
    fn port_in(&mut self, cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        let Some((index, register)) = self.target(reg) else { return };
        self.serve(cx, index);
        let channel = &mut self.channels[index];
        if register == taskfile::DATA {
            channel.read_data(cx.now, data);
        } else {
            for (register, byte) in (register..=Self::PRIMARY_CONTROL).zip(data) {
                *byte = match register {
                    Self::PRIMARY_CONTROL => channel.alternate_status(),
                    _ => channel.read(register),
                };
            }
        }
        self.serve(cx, index);
    }

    fn port_out(&mut self, cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        let Some((index, register)) = self.target(reg) else { return };
        self.serve(cx, index);
        let channel = &mut self.channels[index];
        if register == taskfile::DATA {
            channel.write_data(cx.now, data);
        } else {
            for (register, byte) in (register..=Self::PRIMARY_CONTROL).zip(data) {
                match register {
                    Self::PRIMARY_CONTROL => channel.write_control(*byte),
                    _ => channel.write(cx.now, register, *byte),
                }
            }
        }
        self.serve(cx, index);
    }
}

impl PciFunction for Piix3Ide {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_written(&mut self, cx: &mut Cx<'_>, _offset: u8, _len: u8) {
        // It may be master of the bus now.
        (0..2).for_each(|index| self.serve(cx, index));
    }

    fn bar_read(&mut self, cx: &mut Cx<'_>, _bar: u8, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..2 * MASTER_PORTS).zip(data) {
            let index = (at / MASTER_PORTS) as usize;
            self.serve(cx, index);
            *byte = self.masters[index].read(at % MASTER_PORTS);
        }
    }

    fn bar_write(&mut self, cx: &mut Cx<'_>, _bar: u8, offset: u64, data: &[u8]) {
        for (at, byte) in (offset..2 * MASTER_PORTS).zip(data) {
            let index = (at / MASTER_PORTS) as usize;
            self.serve(cx, index);
            self.masters[index].write(at % MASTER_PORTS, *byte);
            self.serve(cx, index);
        }
    }
}

impl Device for Piix3Ide {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.config.reset();
        self.masters = Default::default();
        self.channels.iter_mut().for_each(Channel::reset);
        (0..2).for_each(|index| self.drive(index));
    }

    fn save(&self) -> Saved {
        let config = self.config.registers();
        let channels = self.channels.each_ref().map(Channel::save);
        Saved::pack(NAME, &State { config, masters: self.masters.clone(), channels })
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(NAME)?;
        let damaged = |reason: &str| LoadError::Damaged { device: NAME, reason: reason.to_owned() };
        if !state.masters.iter().all(BusMaster::is_valid) {
            return Err(damaged("a bus master cannot be like that"));
        }
        if !self.channels.iter().zip(&state.channels).all(|(channel, state)| channel.fits(state)) {
            return Err(damaged("the drives are others, or cannot be like that"));
        }
        if !self.config.load_registers(&state.config) {
            return Err(damaged("these are not the registers of its configuration space"));
        }
        self.masters = state.masters;
        for (channel, state) in self.channels.iter_mut().zip(state.channels) {
            channel.load(state);
        }
        for (irq, channel) in self.irqs.iter_mut().zip(&self.channels) {
            irq.restore(channel.interrupt());
        }
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }

    fn as_bays(&mut self) -> Option<&mut dyn Bays> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        Some(self)
    }
}

impl Timed for Piix3Ide {
    fn next_event(&self) -> Option<VmTime> {
        self.channels.iter().filter_map(Channel::next_event).min()
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        (0..2).for_each(|index| self.serve(cx, index));
    }
}

impl Bays for Piix3Ide {
    fn change_medium(
        &mut self,
        cx: &mut Cx<'_>,
        bay: usize,
        medium: Option<Box<dyn Disk>>,
    ) -> Option<Box<dyn Disk>> {
        let index = bay / 2;
        let Some(drive) = self.channels.get_mut(index).and_then(|c| c.drive(bay % 2)) else {
            return medium;
        };
        let outside = drive.change_medium(medium);
        self.serve(cx, index);
        outside
    }
}

#[cfg(test)]
mod tests;
