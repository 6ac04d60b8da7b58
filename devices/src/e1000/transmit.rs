//! Transmitting (sections 3.3 to 3.6 and 13.4.33 to 13.4.44): from the driver's buffers to the link.
//!
//! A frame that is to be cut into segments goes to the link whole if that takes it, with headers as
//! if it were one segment. Only TCP is cut; a frame of UDP goes nowhere.

use serde::{Deserialize, Serialize};
use trine_guest::{Gpa, VmTime};

use super::{
    E1000, ETHERNET, FRAME_MIN,
    interrupts::{Delay, TXD_LOW, TXDW, TXQE},
    ring::{DESCRIPTOR, Ring},
    statistics::Counter,
};
use crate::{
    Checksum, Cx, FRAME_MAX, Offload, Segmentation, Segments,
    link::{fold, sum},
    plain,
    saved::hex,
};

// TCTL (section 13.4.33).
const ENABLE: u32 = 1 << 1;
const PAD: u32 = 1 << 3;
const BITS: u32 = 0x03ff_fffa;
/// TXDCTL: of so many times eight descriptors left the driver wants to know.
const LOW_SHIFT: u32 = 25;
const DESCRIPTOR_BITS: u32 = 0xff3f_3f3f;

// Commands of descriptors: end of packet, insert the checksum (legacy) or cut into segments, report
// status, extended, insert a VLAN tag, delay the interrupt.
const EOP: u8 = 1 << 0;
const IC: u8 = 1 << 2;
const TSE: u8 = 1 << 2;
const RS: u8 = 1 << 3;
const DEXT: u8 = 1 << 5;
const VLE: u8 = 1 << 6;
const IDE: u8 = 1 << 7;
// Of context descriptors: the transport is TCP, the network IPv4.
const TCP: u8 = 1 << 0;
const IPV4: u8 = 1 << 1;
/// Types of extended descriptors.
const TYPE_CONTEXT: u8 = 0;
const TYPE_DATA: u8 = 1;
/// Options of the first data descriptor: insert IP's, the transport's checksum.
const IXSM: u8 = 1 << 0;
const TXSM: u8 = 1 << 1;
/// Status: done.
const DD: u8 = 1 << 0;
/// Where the status is.
const STATUS_AT: usize = 12;
/// How much of a descriptor's third doubleword is the buffer's length.
const DATA_LEN: u32 = 0x000f_ffff;
const LEGACY_LEN: u32 = 0xffff;

/// The longest frame that is not cut.
const LEN_MAX: usize = 16288;
/// What is sent at one go, and when it goes on.
const BATCH_DESCRIPTORS: u32 = 1024;
const BATCH_BYTES: usize = 1 << 20;
const PAUSE_NS: u64 = 1000;

/// A checksum: of which bytes, and where it is put, counted from the start of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
struct Span {
    start: u8,
    place: u8,
    /// The last byte; 0 is the frame's.
    end: u16,
}

impl Span {
    fn of(bytes: [u8; 4]) -> Self {
        let [start, place, low, high] = bytes;
        Self { start, place, end: u16::from_le_bytes([low, high]) }
    }

    /// Puts the checksum in; not if it or its place is not in the frame.
    fn put(self, frame: &mut [u8]) {
        let behind = match usize::from(self.end) {
            0 => frame.len(),
            end => frame.len().min(end + 1),
        };
        let Some(covered) = frame.get(self.start.into()..behind) else { return };
        let sum = fold(sum(covered));
        // As in UDP, which knows no 0.
        let value = if sum == 0xffff { sum } else { !sum };
        put_word(frame, self.place.into(), value);
    }

    /// The same, left to whoever is next, if it can be said so.
    fn leave(self, frame: &mut [u8]) -> Option<Checksum> {
        let is_inside = usize::from(self.place) + 2 <= frame.len();
        match self.place.checked_sub(self.start) {
            Some(offset) if self.end == 0 && is_inside => {
                Some(Checksum { start: self.start.into(), offset: offset.into() })
            }
            _ => {
                self.put(frame);
                None
            }
        }
    }
}

/// What a context descriptor says (section 3.3.6).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
struct Context {
    network: Span,
    transport: Span,
    command: u8,
    header_len: u8,
    segment: u16,
}

/// The transmitter's registers, and the frame that it is at.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Transmitter {
    /// TCTL.
    control: u32,
    /// TXDCTL.
    descriptor_control: u32,
    pub(super) ring: Ring,
    pub(super) delay: Delay,
    /// When it goes on, if it has more to do than it may at one go.
    resume_at: Option<VmTime>,
    /// For frames of which only checksums are made, and for those to be cut.
    checksums: Context,
    segmentation: Context,
    /// The parts of a frame that have been fetched, at most [`FRAME_MAX`] and one byte.
    #[serde(with = "hex")]
    frame: Vec<u8>,
    /// What its first descriptor says: the options of an extended one, and where a legacy one wants
    /// a checksum.
    options: u8,
    insertion: Span,
}

impl Transmitter {
    pub(super) fn is_possible(&self) -> bool {
        self.control & !BITS == 0
            && self.descriptor_control & !DESCRIPTOR_BITS == 0
            && self.ring.is_possible()
            && self.frame.len() <= FRAME_MAX + 1
    }

    pub(super) fn control(&self) -> u32 {
        self.control
    }

    pub(super) fn set_control(&mut self, value: u32) {
        self.control = value & BITS;
    }

    pub(super) fn descriptor_control(&self) -> u32 {
        self.descriptor_control
    }

    pub(super) fn set_descriptor_control(&mut self, value: u32) {
        self.descriptor_control = value & DESCRIPTOR_BITS;
    }

    pub(super) fn next_event(&self) -> Option<VmTime> {
        self.resume_at
    }

    /// Whether the descriptors left became few, when there were `before`.
    fn became_low(&self, before: u32) -> bool {
        let low = (self.descriptor_control >> LOW_SHIFT) * 8;
        before > low && self.ring.ready() <= low
    }
}

/// A descriptor in memory.
struct Descriptor {
    at: Gpa,
    bytes: [u8; DESCRIPTOR],
}

impl Descriptor {
    fn command(&self) -> u8 {
        self.bytes[11]
    }

    fn has(&self, bit: u8) -> bool {
        self.command() & bit != 0
    }

    /// Its type if it is extended.
    fn extended(&self) -> Option<u8> {
        self.has(DEXT).then_some(self.bytes[10] >> 4)
    }

    fn doubleword(&self, n: usize) -> [u8; 4] {
        [0, 1, 2, 3].map(|byte| self.bytes[4 * n + byte])
    }

    /// The buffer: where and how long.
    fn buffer(&self) -> (Gpa, usize) {
        let [low, high, lengths] = [0, 1, 2].map(|n| u32::from_le_bytes(self.doubleword(n)));
        let len = lengths & if self.has(DEXT) { DATA_LEN } else { LEGACY_LEN };
        (Gpa(u64::from(high) << 32 | u64::from(low)), len as usize)
    }

    fn options(&self) -> u8 {
        self.bytes[13]
    }

    /// The checksum that a legacy descriptor speaks of: CSS and CSO.
    fn insertion(&self) -> Span {
        Span { start: self.bytes[13], place: self.bytes[10], end: 0 }
    }

    /// The tag to be inserted.
    fn special(&self) -> [u8; 2] {
        [self.bytes[15], self.bytes[14]]
    }

    /// A context.
    fn context(&self) -> Context {
        let [_, header_len, low, high] = self.doubleword(3);
        Context {
            network: Span::of(self.doubleword(0)),
            transport: Span::of(self.doubleword(1)),
            command: self.command(),
            header_len,
            segment: u16::from_le_bytes([low, high]),
        }
    }
}

impl E1000 {
    /// Sends what the driver has, or a good part of it.
    pub(super) fn transmit(&mut self, cx: &Cx<'_>) {
        let transmitter = &mut self.mac.transmitter;
        let is_paused = transmitter.resume_at.is_some_and(|at| at > cx.now);
        if transmitter.control & ENABLE == 0 || !self.config.is_bus_master() || is_paused {
            return;
        }
        transmitter.resume_at = None;
        let before = transmitter.ring.ready();
        let mut fetched = 0;
        for n in 0..before {
            if n == BATCH_DESCRIPTORS || fetched >= BATCH_BYTES {
                self.mac.transmitter.resume_at = Some(cx.now.after_ns(PAUSE_NS));
                break;
            }
            fetched += self.transmit_one(cx);
        }
        let mac = &mut self.mac;
        if mac.transmitter.became_low(before) {
            mac.interrupts.raise(TXD_LOW);
        }
        if before > 0 && mac.transmitter.ring.ready() == 0 {
            mac.interrupts.raise(TXQE);
        }
    }

    /// Does what the next descriptor says. Returns how many bytes were fetched.
    fn transmit_one(&mut self, cx: &Cx<'_>) -> usize {
        let at = self.mac.transmitter.ring.at(0);
        let mut descriptor = Descriptor { at, bytes: [0; DESCRIPTOR] };
        self.fetch(cx, at, &mut descriptor.bytes);
        let fetched = match descriptor.extended() {
            Some(TYPE_CONTEXT) => {
                let transmitter = &mut self.mac.transmitter;
                let context = descriptor.context();
                if descriptor.has(TSE) {
                    transmitter.segmentation = context;
                } else {
                    transmitter.checksums = context;
                }
                0
            }
            None | Some(TYPE_DATA) => {
                let fetched = self.gather(cx, &descriptor);
                if descriptor.has(EOP) {
                    self.launch(cx, &descriptor);
                }
                fetched
            }
            Some(other) => {
                self.remarks.say(format_args!("a transmit descriptor of type {other}"));
                0
            }
        };
        self.mac.transmitter.ring.advance(1);
        if descriptor.has(RS) {
            self.report(cx, &descriptor);
        }
        fetched
    }

    /// Fetches a part of a frame. Of one that is too long just so much is fetched that this shows.
    fn gather(&mut self, cx: &Cx<'_>, descriptor: &Descriptor) -> usize {
        let transmitter = &mut self.mac.transmitter;
        if transmitter.frame.is_empty() {
            transmitter.options = descriptor.options();
            transmitter.insertion = descriptor.insertion();
        }
        let (buffer, len) = descriptor.buffer();
        let mut frame = std::mem::take(&mut transmitter.frame);
        let start = frame.len();
        frame.resize((start + len).min(FRAME_MAX + 1), 0);
        self.fetch(cx, buffer, &mut frame[start..]);
        let fetched = frame.len() - start;
        self.mac.transmitter.frame = frame;
        fetched
    }

    /// The descriptor is done, which the driver wants to know.
    fn report(&mut self, cx: &Cx<'_>, descriptor: &Descriptor) {
        let status = descriptor.bytes[STATUS_AT] & 0xf0 | DD;
        self.store(cx, descriptor.at.offset(STATUS_AT as u64), &[status]);
        let mac = &mut self.mac;
        if descriptor.has(IDE) {
            if mac.transmitter.delay.start(cx.now) {
                mac.interrupts.raise(TXDW);
            }
        } else {
            mac.transmitter.delay.stop();
            mac.interrupts.raise(TXDW);
        }
    }

    /// A frame is complete: it is sent, unless it is none.
    fn launch(&mut self, cx: &Cx<'_>, last: &Descriptor) {
        let mut frame = std::mem::take(&mut self.mac.transmitter.frame);
        let is_cut = last.has(DEXT) && last.has(TSE);
        let most = if is_cut { FRAME_MAX } else { LEN_MAX };
        let offload = if (ETHERNET..=most).contains(&frame.len()) {
            self.mac.transmitter.finish(&mut frame, last)
        } else {
            None
        };
        if let Some(mut offload) = offload {
            if last.has(VLE) && self.mac.keeps_tags_apart() {
                let [high, low] = self.mac.vlan_type.to_be_bytes();
                let [tag_high, tag_low] = last.special();
                frame.splice(12..12, [high, low, tag_high, tag_low]);
                if let Some(checksum) = &mut offload.checksum {
                    checksum.start += 4;
                }
            }
            if self.mac.transmitter.control & PAD != 0 {
                frame.resize(frame.len().max(FRAME_MIN), 0);
            }
            if frame.len() <= FRAME_MAX {
                self.count_sent(&frame, offload);
                self.send(cx, &frame, offload);
            }
        } else {
            let len = frame.len();
            self.remarks.say(format_args!("a frame of {len} bytes cannot be sent like that"));
        }
        frame.clear();
        self.mac.transmitter.frame = frame;
    }

    fn send(&mut self, cx: &Cx<'_>, frame: &[u8], offload: Offload) {
        if self.is_loop() {
            if self.mac.receiver.is_enabled() {
                // What finds no buffer is lost.
                plain(frame, offload, |frame| {
                    self.deliver(cx, frame);
                });
            }
        } else if self.has_link() {
            let link = &mut self.link;
            if link.takes().include(&offload) {
                link.send(cx.now, frame, offload);
            } else {
                plain(frame, offload, |frame| link.send(cx.now, frame, Offload::default()));
            }
        }
    }

    fn count_sent(&mut self, frame: &[u8], offload: Offload) {
        let statistics = &mut self.mac.statistics;
        let Some(segments) = offload.segments else {
            return statistics.sent(frame, frame.len(), 1);
        };
        let header_len = usize::from(self.mac.transmitter.segmentation.header_len);
        let payload = frame.len().saturating_sub(header_len);
        let size = usize::from(segments.size).max(1);
        statistics.count(Counter::Tsctc);
        statistics.sent(frame, header_len + size, (payload / size) as u32);
        let rest = payload % size;
        statistics.sent(frame, header_len + rest, u32::from(rest != 0 || payload == 0));
    }
}

impl Transmitter {
    /// Makes checksums and lengths of a frame, as far as they are not left to others; `None` if
    /// that cannot be done.
    fn finish(&self, frame: &mut [u8], last: &Descriptor) -> Option<Offload> {
        if !last.has(DEXT) {
            let checksum = last.has(IC).then(|| self.insertion.leave(frame)).flatten();
            return Some(Offload { checksum, segments: None });
        }
        let [network, transport] = [IXSM, TXSM].map(|option| self.options & option != 0);
        if last.has(TSE) {
            return self.segmentation.finish(frame, network);
        }
        if network {
            self.checksums.network.put(frame);
        }
        let leave = || self.checksums.transport.leave(frame);
        let checksum = transport.then(leave).flatten();
        Some(Offload { checksum, segments: None })
    }
}

impl Context {
    /// Makes the headers of a frame those of one long segment: lengths, IP's checksum if
    /// `network_sum`, and in the place of TCP's what a segment's pseudo-header adds up to. The
    /// driver has that without the length (section 3.5.7).
    fn finish(&self, frame: &mut [u8], network_sum: bool) -> Option<Offload> {
        let is_ipv4 = self.command & IPV4 != 0;
        let network = usize::from(self.network.start);
        let transport = self.transport.start;
        let place = usize::from(self.transport.place);
        let segment_len = u16::try_from(frame.len().checked_sub(transport.into())?).ok()?;
        let network_len = frame.len().checked_sub(network)?;
        if is_ipv4 {
            put_word(frame, network + 2, u16::try_from(network_len).ok()?);
        } else {
            put_word(frame, network + 4, u16::try_from(network_len.checked_sub(40)?).ok()?);
        }
        if network_sum {
            self.network.put(frame);
        }
        let pseudo = u16::from_be_bytes(*frame.get(place..)?.first_chunk()?);
        put_word(frame, place, fold(u64::from(pseudo) + u64::from(segment_len)));
        let offset = self.transport.place.checked_sub(transport)?;
        let checksum = Checksum { start: transport.into(), offset: offset.into() };
        let kind = if is_ipv4 { Segmentation::Tcp4 } else { Segmentation::Tcp6 };
        let segments = Segments { kind, size: self.segment };
        let is_tcp = self.command & TCP != 0 && self.segment != 0;
        is_tcp.then_some(Offload { checksum: Some(checksum), segments: Some(segments) })
    }
}

/// Puts a word into a frame, if its place is in there.
fn put_word(frame: &mut [u8], at: usize, value: u16) {
    if let Some(place) = frame.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}
