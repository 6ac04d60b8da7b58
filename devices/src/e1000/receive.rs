//! Receiving (sections 3.2 and 13.4.22 to 13.4.32): from the link into the driver's buffers.

use std::sync::atomic::{Ordering, fence};

use serde::{Deserialize, Serialize};
use trine_guest::Gpa;

use super::{
    E1000, ETHERNET, FRAME_MIN,
    checksum::{self, Verdict},
    filter::Pass,
    interrupts::{Delay, RXDMT0, RXT0, SRPD},
    ring::{DESCRIPTOR, Ring},
    statistics::Counter,
};
use crate::{Cx, FRAME_MAX, Offload, Offloads};

// RCTL (section 13.4.22).
const ENABLE: u32 = 1 << 1;
const LONG_PACKETS: u32 = 1 << 5;
const LOOPBACK: u32 = 3 << 6;
const LOOPBACK_MAC: u32 = 1 << 6;
const THRESHOLD_SHIFT: u32 = 8;
const SIZE_SHIFT: u32 = 16;
const SIZE_EXTENSION: u32 = 1 << 25;
const STRIP_FCS: u32 = 1 << 26;
const BITS: u32 = 0x06df_b3fe;
/// RSRPD: the length up to which a frame is small.
const SMALL_BITS: u32 = 0x0fff;

// Descriptors: done, end of packet, the tag was taken out, may be for somebody else.
const STATUS_DD: u8 = 1 << 0;
const STATUS_EOP: u8 = 1 << 1;
const STATUS_VP: u8 = 1 << 3;
const STATUS_PIF: u8 = 1 << 7;

/// The longest frames, without their check sequence: as a rule (1522 bytes with it), and at all.
const LEN_MAX: usize = 1518;
const LONG_LEN_MAX: usize = 16384 - FCS.len();
/// The frame check sequence as it comes to lie in memory. Nobody has made one, and nobody looks.
const FCS: [u8; 4] = [0; 4];
/// The most descriptors for a frame: more than the longest one needs of the smallest buffers, so
/// that some may have none.
const CLAIM_MAX: u32 = 128;
/// After so many received frames others have their turn.
const RECEIVED_MAX: u32 = 512;

/// The receiver's registers.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Receiver {
    /// RCTL.
    control: u32,
    pub(super) ring: Ring,
    pub(super) delay: Delay,
    /// RSRPD.
    small: u32,
    /// RXCSUM.
    checksum: u32,
}

impl Receiver {
    pub(super) fn is_possible(&self) -> bool {
        self.control & !BITS == 0
            && self.small & !SMALL_BITS == 0
            && self.checksum & !checksum::BITS == 0
            && self.ring.is_possible()
    }

    pub(super) fn control(&self) -> u32 {
        self.control
    }

    pub(super) fn set_control(&mut self, value: u32) {
        self.control = value & BITS;
    }

    pub(super) fn small(&self) -> u32 {
        self.small
    }

    pub(super) fn set_small(&mut self, value: u32) {
        self.small = value & SMALL_BITS;
    }

    pub(super) fn checksum(&self) -> u32 {
        self.checksum
    }

    pub(super) fn set_checksum(&mut self, value: u32) {
        self.checksum = value & checksum::BITS;
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.control & ENABLE != 0
    }

    /// Whether the MAC hears itself.
    pub(super) fn is_loop(&self) -> bool {
        self.control & LOOPBACK == LOOPBACK_MAC
    }

    /// Bytes of a buffer.
    fn buffer_len(&self) -> usize {
        let size = self.control >> SIZE_SHIFT & 3;
        // The extension makes it sixteen times as much, but for 2048.
        let shift = if self.control & SIZE_EXTENSION != 0 && size != 0 { 4 } else { 0 };
        (2048 >> size) << shift
    }

    /// Whether so few descriptors are left that the driver wants to know.
    fn is_low(&self) -> bool {
        let share = self.ring.entries() >> ((self.control >> THRESHOLD_SHIFT & 3) + 1);
        self.ring.ready() <= share
    }
}

/// Where a part of a frame goes: its descriptor and its buffer.
type Place = (Gpa, Gpa);

/// What descriptors say of a frame besides its length.
struct Notes {
    pass: Pass,
    /// The tag that was taken out.
    tag: Option<u16>,
    verdict: Verdict,
}

/// What the driver has for a frame.
enum Claim {
    Buffers(Vec<Place>),
    NotYet,
    Never,
}

impl E1000 {
    /// Takes what has come from the link. A frame for which there are no buffers yet waits, and the
    /// link with it.
    pub(super) fn receive(&mut self, cx: &Cx<'_>) {
        for _ in 0..RECEIVED_MAX {
            let (frame, is_new) = match self.waiting.take() {
                Some(frame) => (frame, false),
                None => match self.link.receive(cx.now, Offloads::default()) {
                    Some(frame) => (frame, true),
                    None => return,
                },
            };
            let is_frame = (ETHERNET..=FRAME_MAX).contains(&frame.bytes.len());
            let is_heard = self.mac.receiver.is_enabled()
                && self.config.is_bus_master()
                && self.has_link()
                && !self.is_loop();
            let is_plain = frame.offload == Offload::default();
            if is_frame && is_heard && is_plain && !self.deliver(cx, &frame.bytes) {
                if is_new {
                    self.mac.statistics.count(Counter::Rnbc);
                }
                self.waiting = Some(frame);
                return;
            }
        }
    }

    /// Puts a frame, which is as long as a header at least, into the driver's buffers if it is for
    /// this station. False if there are not enough of them yet.
    pub(super) fn deliver(&mut self, cx: &Cx<'_>, bytes: &[u8]) -> bool {
        let mac = &mut self.mac;
        let control = mac.receiver.control;
        let len = bytes.len().max(FRAME_MIN);
        let most = if control & LONG_PACKETS != 0 { LONG_LEN_MAX } else { LEN_MAX };
        let tag = mac.tag(bytes);
        let pass = mac.filter.pass(control, bytes, tag);
        let Some(pass) = pass.filter(|_| len <= most) else {
            mac.statistics.came(len);
            if len > most {
                mac.statistics.count(Counter::Roc);
            }
            return true;
        };
        // What lies in memory: without the tag, if that goes to the descriptor.
        let tag = tag.filter(|_| mac.keeps_tags_apart());
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        frame.extend(&bytes[..12]);
        frame.extend(&bytes[if tag.is_some() { 16 } else { 12 }..]);
        frame.resize(frame.len().max(FRAME_MIN), 0);
        let notes = Notes { pass, tag, verdict: checksum::check(&frame, mac.receiver.checksum) };
        if control & STRIP_FCS == 0 {
            frame.extend(FCS);
        }
        let claim = self.claim(cx, frame.len());
        match &claim {
            Claim::Buffers(places) => {
                self.fill(cx, &frame, places, &notes);
                self.note_received(cx, bytes, len);
            }
            Claim::Never => {
                self.mac.statistics.came(len);
                self.mac.statistics.count(Counter::Mpc);
            }
            Claim::NotYet => {}
        }
        self.scratch = frame;
        !matches!(claim, Claim::NotYet)
    }

    /// Looks for buffers for `len` bytes. A descriptor without a buffer is passed by.
    fn claim(&mut self, cx: &Cx<'_>, len: usize) -> Claim {
        let size = self.mac.receiver.buffer_len();
        let ring = self.mac.receiver.ring.clone();
        let need = len.div_ceil(size);
        if need >= ring.entries() as usize {
            return Claim::Never;
        }
        let (mut places, mut found) = (Vec::new(), 0);
        while found < need {
            let n = places.len() as u32;
            if n == CLAIM_MAX {
                return Claim::Never;
            } else if n == ring.ready() {
                return Claim::NotYet;
            }
            let mut address = [0; 8];
            self.fetch(cx, ring.at(n), &mut address);
            let buffer = Gpa(u64::from_le_bytes(address));
            found += usize::from(buffer != Gpa(0));
            places.push((ring.at(n), buffer));
        }
        Claim::Buffers(places)
    }

    /// Writes a frame and its descriptors.
    fn fill(&mut self, cx: &Cx<'_>, frame: &[u8], places: &[Place], notes: &Notes) {
        let Notes { pass, tag, verdict } = notes;
        let mut parts = frame.chunks(self.mac.receiver.buffer_len());
        for (n, (descriptor, buffer)) in places.iter().enumerate() {
            let part = if *buffer == Gpa(0) { &[][..] } else { parts.next().unwrap_or_default() };
            self.store(cx, *buffer, part);
            let mut status = STATUS_DD;
            let mut errors = 0;
            if *pass == Pass::Inexact {
                status |= STATUS_PIF;
            }
            if tag.is_some() {
                status |= STATUS_VP;
            }
            if n + 1 == places.len() {
                status |= STATUS_EOP | verdict.status;
                errors = verdict.errors;
            }
            let [low, high] = (part.len() as u16).to_le_bytes();
            let [sum_low, sum_high] = verdict.packet.to_le_bytes();
            let [tag_low, tag_high] = tag.unwrap_or(0).to_le_bytes();
            let written = [low, high, sum_low, sum_high, status, errors, tag_low, tag_high];
            // Who sees that it is done sees the data.
            fence(Ordering::Release);
            self.store(cx, descriptor.offset(DESCRIPTOR as u64 / 2), &written);
        }
        self.mac.receiver.ring.advance(places.len() as u32);
    }

    /// A frame of `len` bytes was received: it is counted and interrupted for.
    fn note_received(&mut self, cx: &Cx<'_>, bytes: &[u8], len: usize) {
        let mac = &mut self.mac;
        mac.statistics.came(len);
        mac.statistics.received(bytes, len);
        if mac.receiver.delay.start(cx.now) {
            mac.interrupts.raise(RXT0);
        }
        if len <= mac.receiver.small as usize {
            mac.receiver.delay.stop();
            mac.interrupts.raise(SRPD);
        }
        if mac.receiver.is_low() {
            mac.interrupts.raise(RXDMT0);
        }
    }
}
