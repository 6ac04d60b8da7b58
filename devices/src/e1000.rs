//! The Intel 82540EM: a gigabit Ethernet controller on PCI, which Linux and FreeBSD know as e1000
//! and em, and for which most other systems have a driver, too.
//!
//! Source: Intel PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual
//! (317453), to which section numbers here refer.
//!
//! The chip is a MAC, a transceiver and an EEPROM. The wire behind it has no speed of its own: what
//! the driver has for it is sent at once, in batches, and what comes goes at once into the driver's
//! buffers or waits for some. Memory that is not there reads as ones, as it does on a PCI bus.
//!
//! Not there: a flash memory, flow control, manageability, waking the machine, cutting UDP into
//! segments, and the places where some registers of the 82542 were.

use serde::{Deserialize, Serialize};
use trine_guest::{Gpa, VmTime};

use crate::{
    Backplane, Bar, ConfigSpace, Cx, Device, Frame, Identity, Intx, Line, Link, LoadError, Msi,
    PciFunction, Saved, Timed, pci::doublewords, remarks::Remarks,
};
use eeprom::Eeprom;
use filter::Filter;
use interrupts::{Interrupts, LSC, RXT0, TXDW};
use phy::{Mode, Phy};
use receive::Receiver;
use statistics::Statistics;
use storage::Storage;
use transmit::Transmitter;

mod checksum;
mod eeprom;
mod filter;
mod interrupts;
mod phy;
mod receive;
mod registers;
mod ring;
mod statistics;
mod storage;
mod transmit;

/// The BARs of the registers in memory and of the two ports that lead there (section 4.1).
const BAR_REGISTERS: u8 = 0;
const BAR_PORTS: u8 = 2;
const REGISTERS_LEN: u32 = 0x2_0000;
const PORTS_LEN: u32 = 64;
/// Ports: which register, and what is in it (section 13.2.2).
const IOADDR: u64 = 0;
const IODATA: u64 = 4;
const IOADDR_BITS: u32 = 0x000f_ffff;

/// Where the capabilities lie (section 4.1).
const POWER_AT: usize = 0xdc;
const MSI_AT: usize = 0xf0;
/// PCI Power Management: the capability's ID; version 2, device specific initialization, PME# from
/// D0 and both kinds of D3.
const POWER_ID: u8 = 0x01;
const POWER_CAPABILITIES: u16 = 0xc822;
/// What of its control and status is kept: the state, PME# enable and the choice of data.
const POWER_WRITABLE: [u8; 4] = [0, 0, 0x03, 0x1f];
/// PCI status: a transaction as master found nobody.
const RECEIVED_MASTER_ABORT: u16 = 1 << 13;

/// Bytes of an Ethernet header, and of the shortest frame without its check sequence.
const ETHERNET: usize = 14;
const FRAME_MIN: usize = 60;

// CTRL (section 13.4.1).
const CTRL_FULL_DUPLEX: u32 = 1 << 0;
const CTRL_SET_LINK_UP: u32 = 1 << 6;
const CTRL_SPEED_SHIFT: u32 = 8;
const CTRL_FORCE_SPEED: u32 = 1 << 11;
const CTRL_FORCE_DUPLEX: u32 = 1 << 12;
const CTRL_RESET: u32 = 1 << 26;
const CTRL_VLAN_MODE: u32 = 1 << 30;
const CTRL_PHY_RESET: u32 = 1 << 31;
/// After a reset: the highest speed, full duplex, and the link may come up. A driver for real
/// hardware sets that itself; many who have only met emulators do not.
const CTRL_INITIAL: u32 = CTRL_FULL_DUPLEX | CTRL_SET_LINK_UP | 2 << CTRL_SPEED_SHIFT;

// STATUS (section 13.4.2).
const STATUS_FULL_DUPLEX: u32 = 1 << 0;
const STATUS_LINK_UP: u32 = 1 << 1;
const STATUS_SPEED_SHIFT: u32 = 6;
const STATUS_DETECTED_SHIFT: u32 = 8;

const TYPE_VLAN: u16 = 0x8100;

/// What a reset by CTRL resets.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Mac {
    /// CTRL, CTRL_EXT, MDIC, EERD, IOADDR.
    control: u32,
    control_extended: u32,
    mdic: u32,
    eeprom_read: u32,
    port_address: u32,
    /// VET.
    vlan_type: u16,
    /// The link was up when last looked at.
    is_up: bool,
    interrupts: Interrupts,
    filter: Filter,
    receiver: Receiver,
    transmitter: Transmitter,
    statistics: Statistics,
    storage: Storage,
}

impl Mac {
    fn new(eeprom: &Eeprom) -> Self {
        Self {
            control: CTRL_INITIAL,
            control_extended: 0,
            mdic: 0,
            eeprom_read: 0,
            port_address: 0,
            vlan_type: TYPE_VLAN,
            is_up: false,
            interrupts: Interrupts::default(),
            filter: Filter::new(eeprom.mac()),
            receiver: Receiver::default(),
            transmitter: Transmitter::default(),
            statistics: Statistics::default(),
            storage: Storage::default(),
        }
    }

    fn is_possible(&self) -> bool {
        self.control & (CTRL_RESET | CTRL_PHY_RESET) == 0
            && self.port_address & !IOADDR_BITS == 0
            && self.interrupts.is_possible()
            && self.filter.is_possible()
            && self.receiver.is_possible()
            && self.transmitter.is_possible()
            && self.statistics.is_possible()
            && self.storage.is_possible()
    }

    /// The VLAN tag of a frame that has one.
    fn tag(&self, frame: &[u8]) -> Option<u16> {
        let [type_high, type_low, high, low] = *frame.get(12..)?.first_chunk()?;
        let is_tagged = u16::from_be_bytes([type_high, type_low]) == self.vlan_type;
        is_tagged.then_some(u16::from_be_bytes([high, low]))
    }

    /// Whether tags are in descriptors, not in the frames in memory.
    fn keeps_tags_apart(&self) -> bool {
        self.control & CTRL_VLAN_MODE != 0
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    config: Vec<u8>,
    mac: Mac,
    phy: Phy,
    eeprom: Eeprom,
}

/// The controller: one PCI function at the end of a [`Link`].
pub struct E1000 {
    name: &'static str,
    link: Box<dyn Link>,
    config: ConfigSpace,
    intx: Intx,
    msi: Msi,
    remarks: Remarks,
    /// A frame for which there are no buffers.
    waiting: Option<Frame>,
    /// A received frame as it will lie in memory, kept for its memory.
    scratch: Vec<u8>,
    mac: Mac,
    phy: Phy,
    eeprom: Eeprom,
}

impl E1000 {
    /// A controller called `name` (unique on the board) after power-on, with the address `mac` at the
    /// end of `link`. It interrupts on `irq` or with messages.
    #[must_use]
    pub fn new(
        name: &'static str,
        mac: [u8; 6],
        link: Box<dyn Link>,
        irq: Line,
        backplane: Backplane,
    ) -> Self {
        let mut config = ConfigSpace::new(Identity {
            vendor: 0x8086,
            device: 0x100e,
            revision: 3,
            class: 0x02_00_00,
            subsystem_vendor: 0x8086,
            subsystem: 0x001e,
        });
        config.set_interrupt_pin(1);
        let registers = Bar::Memory32 { size: REGISTERS_LEN, prefetchable: false };
        config.add_bar(BAR_REGISTERS.into(), registers);
        config.add_bar(BAR_PORTS.into(), Bar::Io { size: PORTS_LEN });
        // The bus is wanted for 64 us at a time (minimum grant).
        config.set(0x3e, &[0xff]);
        config.leave_gap(POWER_AT);
        let [low, high] = POWER_CAPABILITIES.to_le_bytes();
        config.add_capability(POWER_ID, &[low, high, 0, 0, 0, 0], &POWER_WRITABLE);
        config.leave_gap(MSI_AT);
        let msi = Msi::new(&mut config, backplane, 0);
        let eeprom = Eeprom::new(mac);
        Self {
            name,
            phy: Phy::new(link.is_up()),
            link,
            config,
            intx: Intx::new(irq),
            msi,
            remarks: Remarks::new(name, 16),
            waiting: None,
            scratch: Vec::new(),
            mac: Mac::new(&eeprom),
            eeprom,
        }
    }

    /// The link, for the board.
    pub fn link_mut(&mut self) -> &mut dyn Link {
        &mut *self.link
    }

    /// Whether frames go to the cable and come from there.
    fn has_link(&self) -> bool {
        self.mac.control & CTRL_SET_LINK_UP != 0 && self.phy.has_link()
    }

    /// Whether frames come back instead.
    fn is_loop(&self) -> bool {
        self.mac.receiver.is_loop() || self.phy.is_loop()
    }

    /// STATUS. The MAC has the transceiver's speed and duplex unless it is told others.
    fn status(&self) -> u32 {
        let control = self.mac.control;
        let Mode { speed, is_full } = self.phy.mode().unwrap_or(Mode { speed: 2, is_full: true });
        let has = |bit: u32| control & bit != 0;
        let detected = u32::from(speed);
        let speed = if has(CTRL_FORCE_SPEED) { control >> CTRL_SPEED_SHIFT & 3 } else { detected };
        let is_full = if has(CTRL_FORCE_DUPLEX) { has(CTRL_FULL_DUPLEX) } else { is_full };
        let duplex = if is_full { STATUS_FULL_DUPLEX } else { 0 };
        let link = if self.has_link() { STATUS_LINK_UP } else { 0 };
        detected << STATUS_DETECTED_SHIFT | speed << STATUS_SPEED_SHIFT | link | duplex
    }

    /// CTRL is written.
    fn write_control(&mut self, now: VmTime, value: u32) {
        if value & CTRL_RESET != 0 {
            let port_address = self.mac.port_address;
            self.mac = Mac { port_address, ..Mac::new(&self.eeprom) };
        } else {
            self.mac.control = value & !CTRL_PHY_RESET;
        }
        if value & CTRL_PHY_RESET != 0 {
            self.phy.reset(now);
        }
    }

    /// Reads memory as master of the bus.
    fn fetch(&mut self, cx: &Cx<'_>, at: Gpa, data: &mut [u8]) {
        if cx.ram.read(at, data).is_err() {
            data.fill(0xff);
            self.config.set_status(RECEIVED_MASTER_ABORT);
        }
    }

    /// Writes memory as master of the bus.
    fn store(&mut self, cx: &Cx<'_>, at: Gpa, data: &[u8]) {
        if cx.ram.write(at, data).is_err() {
            self.config.set_status(RECEIVED_MASTER_ABORT);
        }
    }

    /// What was due by now happens.
    fn catch_up(&mut self, now: VmTime) {
        self.phy.plug(now, self.link.is_up());
        self.phy.advance(now);
        if self.mac.receiver.delay.expire(now) {
            self.mac.interrupts.raise(RXT0);
        }
        if self.mac.transmitter.delay.expire(now) {
            self.mac.interrupts.raise(TXDW);
        }
    }

    /// Does all that can be done now.
    fn serve(&mut self, cx: &Cx<'_>) {
        self.catch_up(cx.now);
        self.transmit(cx);
        self.receive(cx);
        self.drive(cx.now);
    }

    /// The function signals what it has to.
    fn drive(&mut self, now: VmTime) {
        let is_up = self.has_link();
        if std::mem::replace(&mut self.mac.is_up, is_up) != is_up {
            self.mac.interrupts.raise(LSC);
        }
        if self.mac.interrupts.update(now) {
            self.msi.signal(&self.config, 0);
        }
        let by_pin = self.interrupts_by_pin();
        self.intx.drive(&mut self.config, by_pin);
    }

    fn interrupts_by_pin(&self) -> bool {
        self.mac.interrupts.is_asserted() && !self.msi.is_enabled(&self.config)
    }

    /// What port register `reg` reads.
    fn port_read(&mut self, reg: u64) -> u32 {
        match reg {
            IOADDR => self.mac.port_address,
            IODATA => self.read(self.mac.port_address),
            _ => 0,
        }
    }
}

impl PciFunction for E1000 {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_written(&mut self, cx: &mut Cx<'_>, _offset: u8, _len: u8) {
        // It may be master of the bus now, or lose its pin.
        self.serve(cx);
    }

    fn bar_read(&mut self, cx: &mut Cx<'_>, bar: u8, offset: u64, data: &mut [u8]) {
        self.serve(cx);
        for (at, part) in doublewords(offset, data.len()) {
            let aligned = at & !3;
            let value = match bar {
                BAR_REGISTERS => self.read(aligned as u32),
                _ => self.port_read(aligned),
            };
            let bytes = value.to_le_bytes();
            for (byte, value) in data[part].iter_mut().zip(&bytes[(at & 3) as usize..]) {
                *byte = *value;
            }
        }
        self.drive(cx.now);
    }

    /// Only whole registers can be written.
    fn bar_write(&mut self, cx: &mut Cx<'_>, bar: u8, offset: u64, data: &[u8]) {
        self.serve(cx);
        for (at, part) in doublewords(offset, data.len()) {
            let Ok(bytes) = data[part].try_into() else {
                self.remarks.say(format_args!("a part of the register at {at:05x} is written"));
                continue;
            };
            let value = u32::from_le_bytes(bytes);
            match (bar, at) {
                (BAR_REGISTERS, _) => self.write(cx.now, at as u32, value),
                (_, IOADDR) => self.mac.port_address = value & IOADDR_BITS,
                (_, IODATA) => self.write(cx.now, self.mac.port_address, value),
                _ => {}
            }
        }
        self.serve(cx);
    }
}

impl Device for E1000 {
    fn name(&self) -> &'static str {
        self.name
    }

    fn reset(&mut self, cx: &mut Cx<'_>) {
        self.config.reset();
        self.eeprom.deselect();
        self.mac = Mac::new(&self.eeprom);
        self.phy.reset(cx.now);
        self.waiting = None;
        self.drive(cx.now);
    }

    fn save(&self) -> Saved {
        let state = State {
            config: self.config.registers(),
            mac: self.mac.clone(),
            phy: self.phy.clone(),
            eeprom: self.eeprom.clone(),
        };
        Saved::pack(self.name, &state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(self.name)?;
        let damaged =
            |reason: &str| LoadError::Damaged { device: self.name, reason: reason.to_owned() };
        let is_possible =
            state.mac.is_possible() && state.phy.is_possible() && state.eeprom.is_possible();
        if !is_possible {
            return Err(damaged("its registers cannot be like that"));
        }
        if !self.config.load_registers(&state.config) {
            return Err(damaged("these are not the registers of its configuration space"));
        }
        (self.mac, self.phy, self.eeprom) = (state.mac, state.phy, state.eeprom);
        self.waiting = None;
        let by_pin = self.interrupts_by_pin();
        self.intx.restore(&mut self.config, by_pin);
        Ok(())
    }

    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        Some(self)
    }
}

impl Timed for E1000 {
    fn next_event(&self) -> Option<VmTime> {
        let Mac { interrupts, receiver, transmitter, .. } = &self.mac;
        // Without the bus, nothing is fetched. A frame that waits for buffers is worth no waking:
        // the driver writes the ring's tail.
        let sending = transmitter.next_event().filter(|_| self.config.is_bus_master());
        let coming = self.link.next_frame().filter(|_| self.waiting.is_none());
        let delays = [receiver.delay.next_event(), transmitter.delay.next_event()];
        let own = [self.phy.next_event(), interrupts.next_event(), sending, coming];
        delays.into_iter().chain(own).flatten().min()
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        self.serve(cx);
    }
}

#[cfg(test)]
mod tests;
