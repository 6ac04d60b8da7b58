//! Descriptors of every kind, and what comes to the link.

use super::*;
use crate::{Checksum, Offloads, Segmentation, Segments};

// Command bits.
const EOP: u32 = 1 << 24;
const IC: u32 = 1 << 26;
const TSE: u32 = 1 << 26;
const RS: u32 = 1 << 27;
const DEXT: u32 = 1 << 29;
const VLE: u32 = 1 << 30;
const IDE: u32 = 1 << 31;
const DATA_TYPE: u32 = 1 << 20;
// Of contexts.
const TCP: u32 = 1 << 24;
const IPV4: u32 = 1 << 25;
// Options.
const IXSM: u32 = 1 << 8;
const TXSM: u32 = 1 << 9;

/// Causes: the queue is empty, and it became low, which is the same at first.
const EMPTY: u32 = 1 << 15 | 1 << 1;

const ALL: Offloads = Offloads { checksum: true, tcp4: true, tcp6: true };

impl Rig {
    /// Makes transmit descriptor `n`: the address, and the two doublewords behind it.
    pub(super) fn describe(&mut self, n: u64, address: u64, words: [u32; 2]) {
        let at = SENDING + 16 * n;
        self.put(at, &address.to_le_bytes());
        self.put(at + 8, &words[0].to_le_bytes());
        self.put(at + 12, &words[1].to_le_bytes());
    }

    /// Appends descriptors and has them sent.
    fn send(&mut self, descriptors: &[(u64, [u32; 2])]) {
        let tail = u64::from(self.read(TDT));
        let count = descriptors.len() as u64;
        for (n, (address, words)) in (tail..).zip(descriptors) {
            self.describe(n % ENTRIES, *address, *words);
        }
        self.write(TDT, ((tail + count) % ENTRIES) as u32);
    }

    fn done(&mut self, n: u64) -> bool {
        self.get(SENDING + 16 * n + 12, 1)[0] & 1 != 0
    }

    /// Sends a frame by one legacy descriptor.
    fn send_plain(&mut self, frame: &[u8]) {
        self.put(DATA, frame);
        self.send(&[(DATA, [frame.len() as u32 | EOP | RS, 0])]);
    }

    /// Sends a frame behind a context, both in one piece.
    fn send_with(&mut self, context: (u64, [u32; 2]), frame: &[u8], command: u32, options: u32) {
        self.put(DATA, frame);
        let words = [frame.len() as u32 | command | EOP | DEXT | DATA_TYPE | RS, options];
        self.send(&[context, (DATA, words)]);
    }
}

/// A context for a frame of TCP or UDP, to be cut into segments of `size` bytes unless that is 0.
fn context(is_ipv4: bool, protocol: u8, size: u32, len: usize) -> (u64, [u32; 2]) {
    let start = transport(is_ipv4) as u64;
    let place = start + if protocol == 6 { 16 } else { 6 };
    let network_end = if is_ipv4 { 33 } else { 0 };
    let header_len = start + if protocol == 6 { 20 } else { 8 };
    let spans = 14 | 24 << 8 | network_end << 16 | start << 32 | place << 40;
    let kind = if protocol == 6 { TCP } else { 0 } | if is_ipv4 { IPV4 } else { 0 };
    let cut = if size == 0 { 0 } else { TSE };
    let payload = len as u32 - header_len as u32;
    (spans, [payload | kind | cut | DEXT, (header_len as u32) << 8 | size << 16])
}

/// As the driver hands a frame over: the pseudo-header's sum in the place of the checksum, without
/// the length if it is to be cut.
fn unfinished(is_ipv4: bool, protocol: u8, payload: usize, is_cut: bool) -> Vec<u8> {
    let mut frame = datagram(is_ipv4, protocol, payload);
    let start = transport(is_ipv4);
    let len = if is_cut { 0 } else { frame.len() - start };
    let pseudo = pseudo(&frame, is_ipv4, protocol, len);
    put_word(&mut frame, start + if protocol == 6 { 16 } else { 6 }, pseudo);
    if is_cut {
        put_word(&mut frame, if is_ipv4 { 16 } else { 18 }, 0);
    }
    frame
}

#[test]
fn a_frame_goes_out() {
    let mut rig = Rig::new();
    let arp = frame([0xff; 6], 60);
    rig.send_plain(&arp);
    assert_eq!(rig.end.sent(), [(arp.clone(), Offload::default())]);
    assert!(rig.done(0));
    assert_eq!((rig.bench.said(), rig.read(ICR), rig.read(TDH)), (vec![HIGH], EMPTY | 1, 1));
    // In three parts, of which only the last is reported; around the end of the ring.
    rig.write(TCTL, 0);
    rig.write(TDH, 14);
    rig.write(TDT, 14);
    rig.write(TCTL, 1 << 1);
    rig.put(DATA, &arp);
    rig.send(&[(DATA, [10, 0]), (DATA + 10, [0, 0]), (DATA + 10, [50 | EOP | RS, 0])]);
    assert_eq!(rig.end.sent(), [(arp.clone(), Offload::default())]);
    assert_eq!((rig.read(TDH), rig.done(14), rig.done(0)), (1, false, true));
    // A short one is filled up if the driver wants.
    rig.send_plain(&arp[..20]);
    rig.write(TCTL, 1 << 1 | 1 << 3);
    rig.send_plain(&arp[..20]);
    let lens: Vec<_> = rig.end.sent().iter().map(|(frame, _)| frame.len()).collect();
    assert_eq!(lens, [20, 60]);
}

#[test]
fn what_cannot_be_sent_is_done_with() {
    let mut rig = Rig::new();
    rig.send_plain(&[0xff; 13]);
    rig.send(&[(DATA, [16289 | EOP | RS, 0])]);
    // 70,000 bytes and more to be cut; UDP to be cut; a type that there is not; nothing at all.
    rig.send_with(context(true, 6, 1460, 54), &[0; 16], TSE, 0);
    let parts = [0x1_0000, 0x1_0000, 100 | EOP];
    rig.send(&parts.map(|len| (DATA, [len | TSE | DEXT | DATA_TYPE, 0])));
    rig.send_with(context(true, 17, 1460, 42), &datagram(true, 17, 3000), TSE, TXSM);
    rig.send(&[(DATA, [60 | EOP | DEXT | 7 << 20 | RS, 0])]);
    rig.send_plain(&[]);
    assert_eq!((rig.end.sent(), rig.read(TDH)), (vec![], rig.read(TDT)));
    // Nor does anything stay behind.
    rig.send_plain(&frame(OWN, 100));
    assert_eq!(rig.end.sent(), [(frame(OWN, 100), Offload::default())]);
    // Without a link frames are lost.
    rig.end.cable().is_down = true;
    rig.send_plain(&frame(OWN, 100));
    assert_eq!((rig.end.sent(), rig.read(TDH)), (vec![], rig.read(TDT)));
}

#[test]
fn nothing_is_sent_before_its_time() {
    let mut rig = Rig::new();
    let sends = |rig: &mut Rig| rig.end.sent().len();
    rig.write(TCTL, 0);
    rig.send_plain(&frame(OWN, 60));
    assert_eq!(sends(&mut rig), 0);
    rig.command(0x03);
    rig.write(TCTL, 2);
    assert_eq!(sends(&mut rig), 0, "not master of the bus");
    rig.command(0x07);
    assert_eq!(sends(&mut rig), 1);
    // A tail or a head outside the ring.
    for (register, value) in [(TDT, 16), (TDT, 0xffff), (TDH, 16), (0x3808, 0)] {
        rig.write(register, value);
        assert_eq!(sends(&mut rig), 0);
        rig.write(TDH, 0);
        rig.write(TDT, 0);
    }
}

#[test]
fn memory_that_is_not_there_reads_as_ones() {
    let mut rig = Rig::new();
    rig.send(&[(u64::MAX - 7, [60 | EOP | RS, 0])]);
    assert_eq!(rig.end.sent(), [(vec![0xff; 60], Offload::default())]);
    assert_eq!(rig.chip.config.word(6) >> 13 & 1, 1, "received master abort");
    // A ring that is not there has descriptors of an unknown type.
    rig.write(0x3804, 0xffff_ffff);
    rig.write(TDT, 0);
    assert_eq!((rig.end.sent(), rig.read(TDH)), (vec![], 0));
}

#[test]
fn a_long_ring_is_sent_in_batches() {
    let mut rig = Rig::new();
    // All descriptors are the same 64 KiB, over and over: the ring lies in zeros.
    rig.write(0x3800, 0x4_0000);
    rig.write(0x3808, 0x1_0000);
    for n in 0..0xfff {
        rig.put(0x4_0000 + 16 * n + 8, &(0xffff | RS).to_le_bytes());
    }
    rig.write(TDT, 0xfff);
    let (mut batches, mut last) = (1, 0);
    while let Some(at) = rig.chip.next_event() {
        let head = rig.read(TDH);
        assert!(at > rig.bench.now && head > last && head - last <= 1024, "{head} at {at}");
        (batches, last) = (batches + 1, head);
        rig.bench.now = at;
        rig.wake();
    }
    assert_eq!(rig.read(TDH), 0xfff);
    assert!(batches >= 4, "{batches}");
}

#[test]
fn checksums_are_left_to_the_link_or_made() {
    for (is_ipv4, protocol) in [(true, 6), (true, 17), (false, 6), (false, 17)] {
        let mut rig = Rig::new();
        let whole = unfinished(is_ipv4, protocol, 333, false);
        let options = TXSM | if is_ipv4 { IXSM } else { 0 };
        let context = context(is_ipv4, protocol, 0, whole.len());
        rig.send_with(context, &whole, 0, options);
        let good = finished(is_ipv4, protocol, 333);
        assert_eq!(rig.end.sent(), [(good.clone(), Offload::default())], "{is_ipv4} {protocol}");
        rig.end.cable().takes = ALL;
        rig.send_with(context, &whole, 0, options);
        let (start, place) = (transport(is_ipv4), if protocol == 6 { 16 } else { 6 });
        let mut left = good.clone();
        left[start + place..][..2].copy_from_slice(&whole[start + place..][..2]);
        let checksum = Some(Checksum { start: start as u16, offset: place as u16 });
        assert_eq!(rig.end.sent(), [(left, Offload { checksum, segments: None })]);
        // The context stays; the options are the first part's.
        rig.put(DATA, &whole);
        let data = DEXT | DATA_TYPE;
        let rest = whole.len() as u32 - 40;
        rig.send(&[(DATA, [40 | data, options]), (DATA + 40, [rest | data | EOP | RS, 0])]);
        assert_eq!(rig.end.sent()[0].1.checksum, checksum);
        rig.send(&[(DATA, [40 | data, 0]), (DATA + 40, [rest | data | EOP | RS, options])]);
        assert_eq!(rig.end.sent(), [(whole, Offload::default())]);
    }
}

#[test]
fn a_legacy_descriptor_has_its_own_checksum() {
    let mut rig = Rig::new();
    let whole = unfinished(true, 17, 100, false);
    rig.put(DATA, &whole);
    let len = whole.len() as u32;
    let send = |rig: &mut Rig, start: u32, place: u32| {
        rig.send(&[(DATA, [len | place << 16 | EOP | IC, start << 8])]);
        rig.end.sent().remove(0).0
    };
    let mut good = finished(true, 17, 100);
    put_word(&mut good, 24, 0);
    assert_eq!(send(&mut rig, 34, 40), good);
    // The first part says where.
    rig.send(&[(DATA, [40 | 40 << 16, 34 << 8]), (DATA + 40, [(len - 40) | EOP | IC, 0])]);
    assert_eq!(rig.end.sent().remove(0).0, good);
    // Outside the frame, or its place before its start.
    assert_eq!(send(&mut rig, 34, 200), whole);
    assert_eq!(send(&mut rig, 200, 40), whole);
    let before = send(&mut rig, 34, 24);
    assert_eq!((&before[..24], &before[24..26]), (&whole[..24], &good[40..42]));
    // A checksum that ends early.
    let spans = 14 | 24 << 8 | 33 << 16 | 34 << 32 | 40 << 40 | 41 << 48;
    rig.send_with((spans, [DEXT, 0]), &whole, 0, TXSM);
    let sent = rig.end.sent().remove(0).0;
    assert_eq!(sent[40..42], (!sum(&whole[34..42])).to_be_bytes());
}

#[test]
fn tcp_is_cut() {
    for is_ipv4 in [true, false] {
        let mut rig = Rig::new();
        let whole = unfinished(is_ipv4, 6, 4000, true);
        let options = TXSM | if is_ipv4 { IXSM } else { 0 };
        let context = context(is_ipv4, 6, 1460, whole.len());
        rig.send_with(context, &whole, TSE, options);
        let start = transport(is_ipv4);
        let payload = start + 20;
        let sent = rig.end.sent();
        let all: Vec<u8> = sent.iter().flat_map(|(f, _)| f[payload..].to_vec()).collect();
        assert_eq!(all, whole[payload..]);
        for (n, (segment, offload)) in (0..).zip(&sent) {
            assert_eq!(
                (segment.len(), *offload),
                ([1460, 1460, 1080][n] + payload, Offload::default())
            );
            if is_ipv4 {
                assert_eq!(sum(&segment[14..34]), 0xffff);
                assert_eq!(segment[18..20], (0x1234 + n as u16).to_be_bytes());
            }
            let pseudo = pseudo(segment, is_ipv4, 6, segment.len() - start);
            assert_eq!(sum(&[&pseudo.to_be_bytes()[..], &segment[start..]].concat()), 0xffff);
        }
        // Frames and bytes with their check sequences, by length: TPT, GOTCL, PTC1522, TSCTC.
        let counts = [0x40d4, 0x4090, 0x40ec, 0x40f8].map(|register| rig.read(register));
        assert_eq!(counts, [3, (4000 + 3 * (payload + 4)) as u32, 3, 1]);
        // Whole, as one long segment.
        rig.end.cable().takes = ALL;
        rig.send_with(context, &whole, TSE, options);
        let (sent, offload) = rig.end.sent().remove(0);
        let mut good = finished(is_ipv4, 6, 4000);
        let kept = pseudo(&good, is_ipv4, 6, good.len() - start);
        put_word(&mut good, start + 16, kept);
        assert_eq!(sent, good);
        let kind = if is_ipv4 { Segmentation::Tcp4 } else { Segmentation::Tcp6 };
        let checksum = Some(Checksum { start: start as u16, offset: 16 });
        let segments = Some(Segments { kind, size: 1460 });
        assert_eq!(offload, Offload { checksum, segments });
    }
}

#[test]
fn tags_are_inserted() {
    let mut rig = Rig::new();
    let bare = frame(OWN, 60);
    let tagged = [&bare[..12], &[0x81, 0x00, 0xa1, 0x23], &bare[12..]].concat();
    let send = |rig: &mut Rig| {
        rig.put(DATA, &bare);
        rig.send(&[(DATA, [60 | EOP | VLE, 0xa123 << 16])]);
        rig.end.sent().remove(0).0
    };
    assert_eq!(send(&mut rig), bare, "not in this mode");
    rig.write(CTRL, 0x41 | CTRL_VME);
    assert_eq!(send(&mut rig), tagged);
    rig.write(0x38, 0x88a8);
    assert_eq!(send(&mut rig)[12..16], [0x88, 0xa8, 0xa1, 0x23]);
    rig.write(0x38, 0x8100);
    // Into each segment, and what is left to do lies behind it.
    let whole = unfinished(true, 6, 3000, true);
    let context = context(true, 6, 1460, whole.len());
    rig.send_with(context, &whole, TSE | VLE, IXSM | TXSM | 0xa123 << 16);
    let sent = rig.end.sent();
    let starts: Vec<_> = sent.iter().map(|(frame, _)| frame[12..18].to_vec()).collect();
    assert_eq!(starts, vec![vec![0x81, 0x00, 0xa1, 0x23, 0x08, 0x00]; 3]);
    rig.end.cable().takes = ALL;
    rig.send_with(context, &whole, TSE | VLE, IXSM | TXSM | 0xa123 << 16);
    let (_, offload) = rig.end.sent().remove(0);
    assert_eq!(offload.checksum, Some(Checksum { start: 38, offset: 16 }));
}

#[test]
fn sending_is_interrupted_for_later() {
    let mut rig = Rig::new();
    rig.write(0x3820, 10);
    rig.write(0x382c, 20);
    let send = |rig: &mut Rig, command: u32| {
        rig.put(DATA, &frame(OWN, 60));
        rig.send(&[(DATA, [60 | EOP | command, 0])]);
        rig.read(ICR)
    };
    assert_eq!(send(&mut rig, IDE), EMPTY, "no report, no interrupt but for the empty queue");
    assert_eq!(rig.chip.next_event(), None);
    assert_eq!(send(&mut rig, RS | IDE), EMPTY);
    rig.wait_ns(10_239);
    assert_eq!(send(&mut rig, RS | IDE), EMPTY, "and anew");
    rig.wait_ns(10_240);
    assert_eq!((rig.read(ICR), rig.chip.next_event()), (1, None), "it is 20 us since the first");
    send(&mut rig, RS | IDE);
    assert_eq!((send(&mut rig, RS), rig.chip.next_event()), (EMPTY | 1, None), "one without delay");
    // Few descriptors left: from 9 or more to 8 or fewer.
    rig.write(0x3828, 1 << 25);
    rig.write(TCTL, 0);
    rig.send(&[(DATA, [60 | EOP, 0]); 9]);
    rig.read(ICR);
    rig.write(TCTL, 2);
    assert_eq!(rig.read(ICR), EMPTY);
    assert_eq!(send(&mut rig, 0), 2);
}

#[test]
fn frames_come_back_in_a_loop() {
    let mut rig = Rig::new();
    let own = frame(OWN, 100);
    // As Linux tests it: the transceiver's loop, at a speed that it is told.
    rig.phy(1, 0, 0x4140);
    rig.write(RCTL, RCTL_ON | 3 << 6);
    rig.end.bring(&frame(OWN, 60), Offload::default());
    rig.send_plain(&own);
    assert_eq!((rig.end.sent(), rig.read(RDH)), (vec![], 1));
    assert_eq!(rig.get(BUFFERS, 100), own);
    // The MAC's own.
    rig.phy(1, 0, 0x1140);
    rig.write(RCTL, RCTL_ON | 1 << 6);
    rig.send_plain(&own);
    assert_eq!((rig.end.sent(), rig.read(RDH)), (vec![], 2));
}

#[test]
fn a_frame_that_is_half_fetched_goes_on_after_a_load() {
    let mut rig = Rig::new();
    let whole = frame(OWN, 300);
    rig.put(DATA, &whole);
    rig.send(&[(DATA, [100, 0])]);
    let saved = rig.chip.save();
    let mut other = chip(&rig.bench, &rig.end);
    other.load(&saved).expect("a chip loads what it saved");
    assert_eq!((other.save(), other.next_event()), (saved, rig.chip.next_event()));
    rig.chip = other;
    rig.send(&[(DATA + 100, [200 | EOP | RS, 0])]);
    assert_eq!(rig.end.sent(), [(whole, Offload::default())]);
}
