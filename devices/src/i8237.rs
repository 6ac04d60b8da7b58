//! The DMA controllers of a PC: two 8237s, the first one cascaded through the second, and the page
//! registers that give their channels the upper half of an address.
//!
//! Sources: Intel 8237A datasheet (order 231466); Intel 82371SB (PIIX3) datasheet (order 290550),
//! section 2.5.1, for the page registers.
//!
//! DREQ is an input pin. Which channel gets the bus the board asks ([`I8237::granted`]) whenever
//! pins or registers have changed, and lends that channel its peer ([`I8237::transfer`]), so that
//! neither chip knows the other. A transfer takes no time, whatever its mode: it goes on while the
//! peer asks for more. Rotating priority, software requests, compressed timing and transfers from
//! memory to memory are state without effect: nothing in a PC can tell, or uses them.

use serde::{Deserialize, Serialize};
use trine_guest::Gpa;

use crate::{Cx, Device, Inputs, LoadError, Ports, Saved};

const NAME: &str = "i8237";
/// Channels of one controller.
const CHANNELS: usize = 4;
/// The channel of the second controller through which the first one gets the bus.
const CASCADE: usize = 4;

/// Command: the controller is off.
const COMMAND_DISABLE: u8 = 1 << 2;
/// Mode: what a cycle does with memory.
const MODE_TRANSFER: u8 = 3 << 2;
const MODE_TO_MEMORY: u8 = 1 << 2;
const MODE_FROM_MEMORY: u8 = 2 << 2;
/// Mode: address and count start again at the end.
const MODE_AUTOINITIALIZE: u8 = 1 << 4;
/// Mode: addresses go down.
const MODE_DOWN: u8 = 1 << 5;
/// Mode: the channel only passes the bus on.
const MODE_CASCADE: u8 = 3 << 6;

/// Which page register (from port 80h on) is whose, by channel.
const PAGES: [usize; 2 * CHANNELS] = [0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa];

/// A chip that a DMA channel serves, as the channel sees it.
pub trait DmaPeer {
    /// DREQ: it wants a transfer.
    fn dreq(&self) -> bool;
    /// DACK: one cycle. It puts its byte on the bus or takes the one that is there; `tc` says that
    /// it is the channel's last one.
    fn dack(&mut self, cx: &mut Cx<'_>, bus: &mut u8, tc: bool);
}

/// A 16-bit register as it is programmed: what it starts with, and what it has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Counter {
    base: u16,
    now: u16,
}

impl Counter {
    fn write(&mut self, value: u8, is_high: bool) {
        let merge = |old: u16| {
            let [low, high] = old.to_le_bytes();
            u16::from_le_bytes(if is_high { [low, value] } else { [value, high] })
        };
        *self = Self { base: merge(self.base), now: merge(self.now) };
    }

    fn read(self, is_high: bool) -> u8 {
        self.now.to_le_bytes()[usize::from(is_high)]
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Channel {
    address: Counter,
    count: Counter,
    /// As it was written, without the channel's number.
    mode: u8,
}

impl Channel {
    /// After a cycle. True if that was the last one.
    fn step(&mut self) -> bool {
        let step = if self.mode & MODE_DOWN != 0 { u16::MAX } else { 1 };
        self.address.now = self.address.now.wrapping_add(step);
        let is_last = self.count.now == 0;
        self.count.now = self.count.now.wrapping_sub(1);
        if is_last && self.mode & MODE_AUTOINITIALIZE != 0 {
            self.address.now = self.address.base;
            self.count.now = self.count.base;
        }
        is_last
    }
}

/// One 8237.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Controller {
    channels: [Channel; CHANNELS],
    command: u8,
    /// Channels (by bit) that are not served.
    mask: u8,
    /// Requests by software.
    requests: u8,
    /// Channels that have come to their end.
    ended: u8,
    /// The next byte of a 16-bit register is the upper one.
    flip_flop: bool,
}

impl Controller {
    const POWER_ON: Self = Self {
        channels: [Channel {
            address: Counter { base: 0, now: 0 },
            count: Counter { base: 0, now: 0 },
            mode: 0,
        }; CHANNELS],
        command: 0,
        mask: 0x0f,
        requests: 0,
        ended: 0,
        flip_flop: false,
    };

    fn is_valid(&self) -> bool {
        (self.mask | self.requests | self.ended) & 0xf0 == 0
            && self.channels.iter().all(|channel| channel.mode & 3 == 0)
    }

    /// Master clear: what RESET does.
    fn clear(&mut self) {
        *self = Self { channels: self.channels, ..Self::POWER_ON };
    }

    fn next_is_high(&mut self) -> bool {
        self.flip_flop = !self.flip_flop;
        !self.flip_flop
    }

    fn read(&mut self, register: usize, requests: u8) -> u8 {
        match register {
            0..8 => {
                let is_high = self.next_is_high();
                let channel = &self.channels[register / 2];
                if register.is_multiple_of(2) { channel.address } else { channel.count }
                    .read(is_high)
            }
            8 => std::mem::take(&mut self.ended) | (self.requests | requests) << 4,
            0xf => self.mask | 0xf0,
            // The temporary register, and those that are written only.
            _ => 0,
        }
    }

    fn write(&mut self, register: usize, value: u8) {
        let bit = 1 << (value & 3);
        match register {
            0..8 => {
                let is_high = self.next_is_high();
                let channel = &mut self.channels[register / 2];
                if register.is_multiple_of(2) {
                    channel.address.write(value, is_high);
                } else {
                    channel.count.write(value, is_high);
                }
            }
            8 => self.command = value,
            9 if value & 4 != 0 => self.requests |= bit,
            9 => self.requests &= !bit,
            0xa if value & 4 != 0 => self.mask |= bit,
            0xa => self.mask &= !bit,
            0xb => self.channels[usize::from(value & 3)].mode = value & !3,
            0xc => self.flip_flop = false,
            0xd => self.clear(),
            0xe => self.mask = 0,
            _ => self.mask = value & 0x0f,
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    controllers: [Controller; 2],
    pages: [u8; 16],
    /// The levels of the DREQ pins.
    dreqs: u8,
}

impl State {
    const POWER_ON: Self =
        Self { controllers: [Controller::POWER_ON; 2], pages: [0; 16], dreqs: 0 };
}

/// The two controllers and their page registers. Input pins are DREQ 0 to 7; 4 is the cascade.
pub struct I8237 {
    state: State,
}

impl I8237 {
    /// Register: the first controller (00h to 0Fh on a PC), for 8-bit channels 0 to 3.
    pub const FIRST: u16 = 0x00;
    /// Register: the page registers (80h to 8Fh on a PC, where 80h takes POST codes).
    pub const PAGE: u16 = 0x10;
    /// Register: the second controller (C0h to DFh on a PC, every other port), for 16-bit channels.
    pub const SECOND: u16 = 0x20;

    /// Controllers after power-on: all channels are masked.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::POWER_ON }
    }

    /// Whether a channel would be served if it asked.
    fn is_open(&self, channel: usize) -> bool {
        let controller = &self.state.controllers[channel / CHANNELS];
        let mode = controller.channels[channel % CHANNELS].mode;
        controller.command & COMMAND_DISABLE == 0
            && controller.mask & 1 << (channel % CHANNELS) == 0
            && (mode & MODE_CASCADE == MODE_CASCADE) == (channel == CASCADE)
    }

    /// The channel that has the bus now: the first one that asks and is not masked.
    #[must_use]
    pub fn granted(&self) -> Option<u8> {
        let asks = |channel: &usize| {
            self.state.dreqs & 1 << channel != 0
                && self.is_open(*channel)
                && (*channel >= CHANNELS || self.is_open(CASCADE))
        };
        (0..2 * CHANNELS).filter(|channel| *channel != CASCADE).find(asks).map(|n| n as u8)
    }

    /// Serves `channel`, on which `peer` sits, until the peer asks no more or the channel ends.
    /// Memory that is not there reads as FFh and keeps nothing.
    pub fn transfer(&mut self, cx: &mut Cx<'_>, channel: u8, peer: &mut dyn DmaPeer) {
        let index = usize::from(channel & 7);
        // At most what the counter can count, for autoinitialized channels have no end.
        for _ in 0..=u16::MAX {
            let is_served = index != CASCADE && self.is_open(index) && peer.dreq();
            if !is_served {
                return;
            }
            let controller = &mut self.state.controllers[index / CHANNELS];
            let this = &mut controller.channels[index % CHANNELS];
            let (mode, address, tc) = (this.mode, this.address.now, this.count.now == 0);
            let page = u64::from(self.state.pages[PAGES[index]]);
            if index < CHANNELS {
                cycle(cx, peer, mode, page << 16 | u64::from(address), tc);
            } else {
                let at = (page & !1) << 16 | u64::from(address) << 1;
                cycle(cx, peer, mode, at, false);
                cycle(cx, peer, mode, at + 1, tc);
            }
            if this.step() {
                let bit = 1 << (index % CHANNELS);
                controller.ended |= bit;
                controller.requests &= !bit;
                if mode & MODE_AUTOINITIALIZE == 0 {
                    controller.mask |= bit;
                }
            }
        }
    }

    /// The controller and its register, or the page register, that `reg` is.
    fn target(reg: u16) -> Option<Result<(usize, usize), usize>> {
        let reg = usize::from(reg);
        match reg {
            0x00..0x10 => Some(Ok((0, reg))),
            0x10..0x20 => Some(Err(reg - 0x10)),
            0x20..0x40 => Some(Ok((1, (reg - 0x20) / 2))),
            _ => None,
        }
    }
}

/// One cycle between `peer` and the byte of memory at `at`.
fn cycle(cx: &mut Cx<'_>, peer: &mut dyn DmaPeer, mode: u8, at: u64, tc: bool) {
    let mut bus = [0xff];
    if mode & MODE_TRANSFER == MODE_FROM_MEMORY {
        // A read that fails leaves the bus floating.
        let _ = cx.ram.read(Gpa(at), &mut bus);
    }
    peer.dack(cx, &mut bus[0], tc);
    if mode & MODE_TRANSFER == MODE_TO_MEMORY {
        let _ = cx.ram.write(Gpa(at), &bus);
    }
}

impl Default for I8237 {
    fn default() -> Self {
        Self::new()
    }
}

impl Ports for I8237 {
    fn port_in(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        for (n, byte) in (0..).zip(data) {
            match Self::target(reg.wrapping_add(n)) {
                Some(Ok((index, register))) => {
                    let requests = self.state.dreqs >> (4 * index) & 0x0f;
                    *byte = self.state.controllers[index].read(register, requests);
                }
                Some(Err(page)) => *byte = self.state.pages[page],
                None => {}
            }
        }
    }

    fn port_out(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        for (n, byte) in (0..).zip(data) {
            match Self::target(reg.wrapping_add(n)) {
                Some(Ok((index, register))) => {
                    self.state.controllers[index].write(register, *byte);
                }
                Some(Err(page)) => self.state.pages[page] = *byte,
                None => {}
            }
        }
    }
}

impl Inputs for I8237 {
    fn input(&mut self, _cx: &mut Cx<'_>, pin: u16, level: bool) {
        if pin < 8 {
            let bit = 1 << pin;
            self.state.dreqs = self.state.dreqs & !bit | if level { bit } else { 0 };
        }
    }
}

impl Device for I8237 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.state = State { dreqs: self.state.dreqs, ..State::POWER_ON };
    }

    fn save(&self) -> Saved {
        Saved::pack(NAME, &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(NAME)?;
        if !state.controllers.iter().all(Controller::is_valid) {
            let reason = "a register is out of range".to_owned();
            return Err(LoadError::Damaged { device: NAME, reason });
        }
        self.state = state;
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }

    fn as_inputs(&mut self) -> Option<&mut dyn Inputs> {
        Some(self)
    }
}

#[cfg(test)]
mod tests;
