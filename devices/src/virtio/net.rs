//! The network device (VIRTIO 1.2, section 5.1), with one pair of queues.
//!
//! Frames go to the [`Link`] as they are if it takes what is left to do to them, else finished; from
//! it they come with no more left to do than the driver has agreed to. A frame that finds no buffer
//! waits, and with it the link; it is lost if the machine moves on meanwhile, as frames are.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use super::{Chain, DeviceType, Driver, Queue};
use crate::{Checksum, FRAME_MAX, Frame, Link, Offload, Offloads, Segmentation, Segments, plain};

mod control;

pub use control::MacAddress;
use control::{Command, Filter};

// Feature bits (section 5.1.3).
const CSUM: u64 = 1 << 0;
const GUEST_CSUM: u64 = 1 << 1;
const MAC: u64 = 1 << 5;
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_TSO6: u64 = 1 << 8;
const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
const MRG_RXBUF: u64 = 1 << 15;
const STATUS: u64 = 1 << 16;
const CTRL_VQ: u64 = 1 << 17;
const CTRL_RX: u64 = 1 << 18;
const CTRL_VLAN: u64 = 1 << 19;
const GUEST_ANNOUNCE: u64 = 1 << 21;
const CTRL_MAC_ADDR: u64 = 1 << 23;
const FEATURES: u64 = CSUM
    | GUEST_CSUM
    | MAC
    | GUEST_TSO4
    | GUEST_TSO6
    | HOST_TSO4
    | HOST_TSO6
    | MRG_RXBUF
    | STATUS
    | CTRL_VQ
    | CTRL_RX
    | CTRL_VLAN
    | GUEST_ANNOUNCE
    | CTRL_MAC_ADDR;

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const CONTROL: usize = 2;
/// The size of all queues: what SeaBIOS and iPXE can have at most.
const QUEUE_SIZE: u16 = 256;

/// Bytes of `struct virtio_net_hdr` (section 5.1.6).
const HEADER: usize = 12;
/// Header flags: there is a checksum to be put in.
const NEEDS_CSUM: u8 = 1 << 0;
/// Header, type of segmentation: none, TCP over IPv4, over IPv6, and with ECN.
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_ECN: u8 = 0x80;

/// Status: the link is up, the guest is to announce itself.
const LINK_UP: u16 = 1 << 0;
const ANNOUNCE: u16 = 1 << 1;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// After so many received frames others have their turn.
const RECEIVED_MAX: u32 = 512;

/// The state of a [`VirtioNet`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct State {
    mac: MacAddress,
    /// As the driver was told.
    status: u16,
    /// The guest is to announce itself, and has not been told so.
    is_announce_due: bool,
    filter: Filter,
}

/// A network controller.
pub struct VirtioNet {
    link: Box<dyn Link>,
    /// The address that it has after a reset.
    permanent: MacAddress,
    state: State,
    /// A frame that has found no buffer.
    waiting: Option<Frame>,
    /// A frame on its way out, kept for its memory.
    sent: Vec<u8>,
}

impl VirtioNet {
    /// A controller with the address `mac` at the end of `link`.
    #[must_use]
    pub fn new(mac: [u8; 6], link: Box<dyn Link>) -> Self {
        let permanent = MacAddress(mac);
        let status = if link.is_up() { LINK_UP } else { 0 };
        let filter = Filter::default();
        let state = State { mac: permanent, status, is_announce_due: false, filter };
        Self { link, permanent, state, waiting: None, sent: Vec::new() }
    }

    /// The link, for the board.
    pub fn link_mut(&mut self) -> &mut dyn Link {
        &mut *self.link
    }

    /// Asks the guest to tell the network where it is now. The board wakes the chip afterwards.
    pub fn announce(&mut self) {
        self.state.is_announce_due = true;
    }

    /// Sends what the driver has.
    fn transmit(&mut self, driver: &mut Driver<'_>) {
        while driver.is_notified(TRANSMIT)
            && let Some(chain) = driver.next(TRANSMIT)
        {
            self.send(driver, &chain);
            driver.give_back(TRANSMIT, chain.head, 0);
        }
    }

    /// Sends a frame, unless it is none or its header says what was not agreed on.
    fn send(&mut self, driver: &Driver<'_>, chain: &Chain) {
        let len = chain.readable_len().saturating_sub(HEADER as u64);
        if !(ETHERNET as u64..=FRAME_MAX as u64).contains(&len) || !self.link.is_up() {
            return;
        }
        let mut header = [0; HEADER];
        chain.read(driver.ram, 0, &mut header);
        let Some(offload) = read_header(header, driver) else { return };
        self.sent.resize(len as usize, 0);
        chain.read(driver.ram, HEADER as u64, &mut self.sent);
        if self.link.takes().include(&offload) {
            self.link.send(driver.now, &self.sent, offload);
        } else {
            let link = &mut self.link;
            plain(&self.sent, offload, |frame| link.send(driver.now, frame, Offload::default()));
        }
    }

    /// Gives the driver what came in.
    fn receive(&mut self, driver: &mut Driver<'_>) {
        let takes = Offloads {
            checksum: driver.has(GUEST_CSUM),
            tcp4: driver.has(GUEST_TSO4) && driver.has(GUEST_CSUM),
            tcp6: driver.has(GUEST_TSO6) && driver.has(GUEST_CSUM),
        };
        for _ in 0..RECEIVED_MAX {
            let Some(frame) = self.waiting.take().or_else(|| self.link.receive(driver.now, takes))
            else {
                return;
            };
            let has_vlans = driver.has(CTRL_VLAN);
            let is_for_it = takes.include(&frame.offload)
                && (ETHERNET..=FRAME_MAX).contains(&frame.bytes.len())
                && self.state.filter.accepts(self.state.mac, has_vlans, &frame.bytes);
            if is_for_it && self.state.status & LINK_UP != 0 && !deliver(driver, &frame) {
                self.waiting = Some(frame);
                return;
            }
        }
    }

    /// Does what the driver asks for (section 5.1.6.5).
    fn control(&mut self, driver: &mut Driver<'_>) {
        while driver.is_notified(CONTROL)
            && let Some(chain) = driver.next(CONTROL)
        {
            if chain.writable_len() == 0 {
                return driver.fail("a command without a place for its result");
            }
            let result = Command::read(&chain, driver.ram).map(|command| match command {
                Command::Filter(change) => self.state.filter.change(change),
                Command::Address(mac) => self.state.mac = mac,
                Command::AnnounceDone => self.state.status &= !ANNOUNCE,
            });
            let ack = u8::from(result.is_none());
            let written = chain.write(driver.ram, 0, &[ack]);
            driver.give_back(CONTROL, chain.head, written as u32);
        }
    }
}

/// What the header of a sent frame leaves to do; `None` if that was not agreed on.
fn read_header(header: [u8; HEADER], driver: &Driver<'_>) -> Option<Offload> {
    let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let needs_checksum = header[0] & NEEDS_CSUM != 0;
    let checksum = needs_checksum.then(|| Checksum { start: word(6), offset: word(8) });
    let segments = |kind| Some(Segments { kind, size: word(4) });
    let segments = match header[1] & !GSO_ECN {
        GSO_NONE => None,
        GSO_TCPV4 if driver.has(HOST_TSO4) && needs_checksum => segments(Segmentation::Tcp4),
        GSO_TCPV6 if driver.has(HOST_TSO6) && needs_checksum => segments(Segmentation::Tcp6),
        _ => return None,
    };
    let is_agreed = checksum.is_none() || driver.has(CSUM);
    is_agreed.then_some(Offload { checksum, segments })
}

/// The header of a received frame in `buffers` buffers.
fn header(frame: &Frame, buffers: u16) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let mut put = |at: usize, value: u16| header[at..at + 2].copy_from_slice(&value.to_le_bytes());
    put(10, buffers);
    if let Some(Checksum { start, offset }) = frame.offload.checksum {
        put(0, u16::from(NEEDS_CSUM));
        put(6, start);
        put(8, offset);
        if let Some(Segments { kind, size }) = frame.offload.segments {
            // The length of all headers, TCP's among them.
            let data_offset = frame.bytes.get(usize::from(start) + 12).map_or(5, |byte| byte >> 4);
            put(2, start.saturating_add(u16::from(data_offset) * 4));
            put(4, size);
            header[1] = match kind {
                Segmentation::Tcp4 => GSO_TCPV4,
                Segmentation::Tcp6 => GSO_TCPV6,
            };
        }
    }
    header
}

/// Puts a frame into buffers of the driver; `false` if there are not enough. A frame for which there
/// will never be enough is lost.
fn deliver(driver: &mut Driver<'_>, frame: &Frame) -> bool {
    let need = (HEADER + frame.bytes.len()) as u64;
    let most = if driver.has(MRG_RXBUF) { driver.size(RECEIVE) } else { 1 };
    let (mut chains, mut room) = (Vec::new(), 0);
    while room < need {
        if chains.len() == usize::from(most) {
            driver.put_back(RECEIVE, most);
            return true;
        }
        let Some(chain) = driver.next(RECEIVE) else {
            driver.put_back(RECEIVE, chains.len() as u16);
            return driver.is_broken();
        };
        room += chain.writable_len();
        chains.push(chain);
    }
    let mut bytes = header(frame, chains.len() as u16).to_vec();
    bytes.extend(&frame.bytes);
    let mut rest = &bytes[..];
    for chain in chains {
        let written = chain.write(driver.ram, 0, rest);
        rest = &rest[written..];
        driver.give_back(RECEIVE, chain.head, written as u32);
    }
    true
}

impl DeviceType for VirtioNet {
    type State = State;
    const ID: u16 = 1;
    /// Network controller, Ethernet.
    const CLASS: u32 = 0x02_00_00;

    fn features(&self) -> u64 {
        FEATURES
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 3]
    }

    /// `struct virtio_net_config` (section 5.1.4), as far as its fields depend on features that
    /// there are.
    fn config(&self) -> Vec<u8> {
        let mut all = self.state.mac.0.to_vec();
        all.extend(self.state.status.to_le_bytes());
        all
    }

    /// The cable was plugged in or out, or the guest is to announce itself.
    fn take_config_change(&mut self) -> bool {
        let announce = if std::mem::take(&mut self.state.is_announce_due) { ANNOUNCE } else { 0 };
        let link = if self.link.is_up() { LINK_UP } else { 0 };
        let status = self.state.status & !LINK_UP | link | announce;
        std::mem::replace(&mut self.state.status, status) != status
    }

    fn reset(&mut self) {
        self.waiting = None;
        self.state.mac = self.permanent;
        self.state.status &= LINK_UP;
        self.state.filter = Filter::default();
    }

    fn serve(&mut self, driver: &mut Driver<'_>) {
        if driver.has(CTRL_VQ) {
            self.control(driver);
        }
        self.transmit(driver);
        self.receive(driver);
    }

    fn next_event(&self) -> Option<VmTime> {
        // A frame that waits for buffers is worth no waking: the driver notifies of them.
        self.link.next_frame().filter(|_| self.waiting.is_none())
    }

    fn save(&self) -> State {
        self.state.clone()
    }

    fn load(&mut self, state: State, _queues: &[Queue]) -> Result<(), String> {
        if state.status & !(LINK_UP | ANNOUNCE) != 0 || !state.filter.is_possible() {
            return Err("its status or filter cannot be like this".to_owned());
        }
        self.state = state;
        self.waiting = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
