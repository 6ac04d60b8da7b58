//! Filters, buffers, tags, checksums and counters.

use super::*;

/// What a descriptor says after a frame has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Received {
    len: u16,
    checksum: u16,
    status: u8,
    errors: u8,
    special: u16,
}

const DD: u8 = 1 << 0;
const EOP: u8 = 1 << 1;
const IXSM: u8 = 1 << 2;
const VP: u8 = 1 << 3;
const TCPCS: u8 = 1 << 5;
const IPCS: u8 = 1 << 6;
const PIF: u8 = 1 << 7;
/// A frame in one descriptor of which nothing was checked.
const PLAIN: u8 = DD | EOP | IXSM;

impl Rig {
    fn received(&mut self, n: u64) -> Received {
        let bytes = self.get(RECEIVING + 16 * n + 8, 8);
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let (status, errors) = (bytes[4], bytes[5]);
        Received { len: word(0), checksum: word(2), status, errors, special: word(6) }
    }

    fn bring(&mut self, frame: &[u8]) {
        self.end.bring(frame, Offload::default());
        self.wake();
    }

    /// A frame comes; what its descriptor says if it is received.
    fn take(&mut self, frame: &[u8]) -> Option<Received> {
        let head = self.read(RDH);
        self.bring(frame);
        let after = self.read(RDH);
        if after == head {
            return None;
        }
        assert_eq!(after, (head + 1) % ENTRIES as u32, "in one descriptor");
        let received = self.received(head.into());
        self.empty(head.into());
        self.write(RDT, head);
        Some(received)
    }
}

#[test]
fn a_frame_comes_in() {
    let mut rig = Rig::new();
    let whole = frame(OWN, 100);
    rig.bring(&whole);
    let received = rig.received(0);
    assert_eq!((received.len, received.status, received.errors), (100, PLAIN, 0));
    assert_eq!(received.checksum, sum(&whole));
    assert_eq!(rig.get(BUFFERS, 100), whole);
    assert_eq!((rig.bench.said(), rig.read(ICR)), (vec![HIGH], 1 << 7));
    assert_eq!(rig.received(1).status, 0);
    assert_eq!(rig.end.cable().asked, Some(crate::Offloads::default()));
    // A short one is filled up; the check sequence counts if it is not taken off.
    assert_eq!(rig.take(&whole[..20]).map(|received| received.len), Some(60));
    rig.write(RCTL, RCTL_ON & !(1 << 26));
    assert_eq!(rig.take(&whole).map(|received| received.len), Some(104));
    // The checksum from another place on.
    rig.write(0x5000, 14);
    assert_eq!(rig.take(&whole).map(|received| received.checksum), Some(sum(&whole[14..])));
}

#[test]
fn frames_are_filtered_by_address() {
    let mut rig = Rig::new();
    let other = [2, 0, 0, 0, 0, 9];
    let group = [0x01, 0x00, 0x5e, 0x12, 0x34, 0x56];
    let exact = Some(PLAIN);
    let inexact = Some(PLAIN | PIF);
    let mut passes = |rctl: u32, to: [u8; 6]| {
        rig.write(RCTL, 1 << 1 | 1 << 26 | rctl);
        rig.take(&frame(to, 60)).map(|received| received.status)
    };
    assert_eq!(passes(0, OWN), exact);
    assert_eq!([passes(0, other), passes(0, group), passes(0, [0xff; 6])], [None; 3]);
    assert_eq!(passes(1 << 15, [0xff; 6]), exact);
    assert_eq!((passes(1 << 3, other), passes(1 << 3, group)), (inexact, None));
    assert_eq!((passes(1 << 4, group), passes(1 << 4, other)), (inexact, None));
    // By hash, of four parts of the address: 47 to 36, 46 to 35, 45 to 34, 43 to 32.
    for (offset, hash) in [(0, 0x563), (1, 0xac6), (2, 0x58d), (3, 0x634)] {
        let register = 0x5200 + 4 * (hash >> 5);
        rig.write(register, 1 << (hash & 31));
        let mut passes = |rctl: u32| {
            rig.write(RCTL, RCTL_ON | rctl);
            rig.take(&frame(group, 60)).map(|received| received.status)
        };
        assert_eq!(passes(offset << 12), inexact, "{offset}");
        assert_eq!(passes((offset ^ 1) << 12), None, "{offset}");
        rig.write(register, 0);
    }
    // Further addresses, of the destination or the source.
    rig.write(RCTL, RCTL_ON);
    rig.write(0x5478, 0x0000_0002);
    for (high, passes) in [(0x0900, None), (0x8000_0900, exact), (0x8001_0900, None)] {
        rig.write(0x547c, high);
        let status = rig.take(&frame(other, 60)).map(|received| received.status);
        assert_eq!(status, passes, "{high:x}");
    }
    rig.write(0x547c, 0x8001_0100);
    assert!(rig.take(&frame(other, 60)).is_some(), "by its source");
}

#[test]
fn nobody_listens() {
    let mut rig = Rig::new();
    let arp = frame([0xff; 6], 60);
    rig.write(RCTL, 0);
    assert_eq!(rig.take(&arp), None);
    rig.write(RCTL, RCTL_ON);
    rig.command(0x03);
    assert_eq!(rig.take(&arp), None);
    rig.command(0x07);
    rig.write(CTRL, 1);
    assert_eq!(rig.take(&arp), None);
    rig.write(CTRL, 0x41);
    // No frames at all, and one that is not finished.
    assert_eq!([rig.take(&arp[..13]), rig.take(&[])], [None; 2]);
    let checksum = Some(crate::Checksum { start: 14, offset: 2 });
    rig.end.bring(&arp, Offload { checksum, segments: None });
    rig.wake();
    assert_eq!(rig.read(RDH), 0);
    assert!(rig.end.cable().coming.is_empty(), "all of them are gone");
    assert!(rig.take(&arp).is_some());
}

#[test]
fn buffers_have_many_sizes() {
    let long = frame(OWN, 9000);
    for (size, len) in [
        (0, 2048),
        (1 << 16, 1024),
        (3 << 16, 256),
        (2 << 16, 512),
        (1 << 25 | 1 << 16, 16384),
        (1 << 25 | 2 << 16, 8192),
        (1 << 25 | 3 << 16, 4096),
    ] {
        let mut rig = Rig::new();
        rig.write(RCTL, RCTL_ON | 1 << 5 | size);
        let whole = if len == 256 { &long[..2000] } else { &long[..] };
        let need = whole.len().div_ceil(len);
        rig.bring(whole);
        if need >= ENTRIES as usize {
            assert_eq!(rig.read(RDH), 0, "there will never be so many of {len}");
            continue;
        }
        assert_eq!(rig.read(RDH), need as u32, "buffers of {len}");
        for (n, part) in (0..).zip(whole.chunks(len)) {
            let received = rig.received(n);
            let status = if n + 1 == need as u64 { PLAIN } else { DD };
            assert_eq!((usize::from(received.len), received.status), (part.len(), status));
            assert_eq!(rig.get(BUFFERS + n * BUFFER_LEN, part.len()), part);
        }
    }
}

#[test]
fn long_frames_are_for_those_who_want_them() {
    let mut rig = Rig::new();
    assert!(rig.take(&frame(OWN, 1518)).is_some());
    assert_eq!(rig.take(&frame(OWN, 1519)), None);
    rig.write(RCTL, RCTL_ON | 1 << 5 | 1 << 25 | 1 << 16);
    assert!(rig.take(&frame(OWN, 16380)).is_some());
    assert_eq!(rig.take(&frame(OWN, 16381)), None);
    assert_eq!(rig.read(0x40ac), 2, "ROC");
}

#[test]
fn a_frame_waits_for_buffers() {
    let mut rig = Rig::new();
    for n in 0..20 {
        rig.end.bring(&frame(OWN, 60 + n), Offload::default());
    }
    rig.wake();
    assert_eq!((rig.read(RDH), rig.end.cable().coming.len()), (15, 4));
    assert_eq!((rig.read(ICR), rig.chip.next_event()), (1 << 7 | 1 << 4, None));
    rig.wake();
    assert_eq!(rig.read(0x40a0), 1, "RNBC, once for each");
    // Two more descriptors.
    (0..2).for_each(|n| rig.empty(n));
    rig.write(RDT, 1);
    assert_eq!((rig.read(RDH), rig.received(15).len, rig.received(0).len), (1, 75, 76));
    // One frame in two buffers takes both or none.
    let mut rig = Rig::new();
    rig.write(RDT, 1);
    rig.write(RCTL, RCTL_ON | 3 << 16);
    rig.bring(&frame(OWN, 300));
    assert_eq!(rig.read(RDH), 0);
    rig.write(RDT, 2);
    assert_eq!((rig.read(RDH), rig.received(0).status, rig.received(1).status), (2, DD, PLAIN));
    // It does not wait for a receiver that is off.
    rig.bring(&frame(OWN, 60));
    rig.write(RCTL, 0);
    rig.write(RCTL, RCTL_ON);
    rig.write(RDT, 10);
    assert_eq!(rig.read(RDH), 2);
}

#[test]
fn the_driver_hears_when_buffers_run_low() {
    for (share, left) in [(0, 8), (1, 4), (2, 2)] {
        let mut rig = Rig::new();
        rig.write(RCTL, RCTL_ON | share << 8);
        for free in (left..15).rev() {
            rig.bring(&frame(OWN, 60));
            let low = if free <= left { 1 << 4 } else { 0 };
            assert_eq!(rig.read(ICR), 1 << 7 | low, "{free} left");
        }
    }
}

#[test]
fn descriptors_without_buffers_are_passed_by() {
    let mut rig = Rig::new();
    rig.put(RECEIVING, &[0; 8]);
    rig.bring(&frame(OWN, 60));
    assert_eq!((rig.read(RDH), rig.received(0).status, rig.received(0).len), (2, DD, 0));
    assert_eq!((rig.received(1).status, rig.received(1).len), (PLAIN, 60));
    // A buffer, and a ring, where no memory is.
    rig.put(RECEIVING + 32, &u64::MAX.to_le_bytes());
    rig.bring(&frame(OWN, 60));
    assert_eq!((rig.read(RDH), rig.chip.config.word(6) >> 13 & 1), (3, 1));
    rig.write(0x2804, 0x8000_0000);
    rig.bring(&frame(OWN, 60));
    assert_eq!(rig.read(RDH), 4);
    // A ring without any buffer at all.
    rig.write(0x2804, 0);
    rig.write(0x2800, 0x4_0000);
    rig.write(0x2808, 0x1_0000);
    rig.write(RDT, 0xfff);
    rig.bring(&frame(OWN, 60));
    assert_eq!((rig.read(RDH), rig.read(0x4010)), (4, 1), "MPC");
}

#[test]
fn tags_are_taken_out_and_filtered() {
    let mut rig = Rig::new();
    let bare = frame(OWN, 100);
    let tagged = |tag: u16| [&bare[..12], &[0x81, 0x00], &tag.to_be_bytes(), &bare[12..]].concat();
    let plain = rig.take(&tagged(0x2005)).map(|received| (received.len, received.status));
    assert_eq!(plain, Some((104, PLAIN)));
    rig.write(CTRL, 0x41 | CTRL_VME);
    rig.bring(&tagged(0x2005));
    let head = u64::from(rig.read(RDH)) - 1;
    let received = rig.received(head);
    assert_eq!((received.len, received.status, received.special), (100, PLAIN | VP, 0x2005));
    assert_eq!(rig.get(BUFFERS + head * BUFFER_LEN, 100), bare);
    assert_eq!(rig.take(&bare).map(|received| (received.len, received.status)), Some((100, PLAIN)));
    // A filter, by number and by the CFI bit.
    rig.write(0x5600 + 4 * 2, 1 << 5);
    for (rctl, tag, passes) in [
        (1 << 18, 0x045, true),
        (1 << 18, 0xf045, true),
        (1 << 18, 0x044, false),
        (1 << 18, 0x005, false),
        (3 << 18, 0xf045, false),
        (7 << 18, 0xf045, true),
        (7 << 18, 0x045, false),
    ] {
        rig.write(RCTL, RCTL_ON | rctl);
        assert_eq!(rig.take(&tagged(tag)).is_some(), passes, "{rctl:x} {tag:x}");
    }
    assert!(rig.take(&bare).is_some(), "no tag, no filter");
}

#[test]
fn checksums_are_checked() {
    let mut rig = Rig::new();
    let mut says = |rxcsum: u32, frame: &[u8]| {
        rig.write(0x5000, rxcsum);
        let received = rig.take(frame).expect("it is for this station");
        (received.status & !(DD | EOP), received.errors)
    };
    let (ip, transport, ipv6) = (1 << 8, 1 << 9, 1 << 10);
    let all = ip | transport | ipv6;
    for protocol in [6, 17] {
        let good = finished(true, protocol, 101);
        assert_eq!(says(0, &good), (IXSM, 0));
        assert_eq!(says(ip, &good), (IPCS, 0));
        assert_eq!(says(transport, &good), (TCPCS, 0));
        assert_eq!(says(all, &good), (IPCS | TCPCS, 0));
        let mut wrong = good.clone();
        wrong[100] ^= 1;
        assert_eq!(says(all, &wrong), (IPCS | TCPCS, 1 << 5));
        wrong[22] ^= 1;
        assert_eq!(says(all, &wrong), (IPCS | TCPCS, 1 << 6 | 1 << 5));
        let sixth = finished(false, protocol, 101);
        assert_eq!((says(all, &sixth), says(ip | transport, &sixth)), ((TCPCS, 0), (IXSM, 0)));
        // A padded one, one with a tag, and one behind SNAP.
        let mut padded = finished(true, protocol, 1);
        padded.resize(60, 0xee);
        assert_eq!(says(all, &padded), (IPCS | TCPCS, 0));
        let tagged = [&good[..12], &[0x81, 0x00, 0, 5], &good[12..]].concat();
        assert_eq!(says(all, &tagged), (IPCS | TCPCS, 0));
        let snap = [0, 200, 0xaa, 0xaa, 3, 0, 0, 0];
        assert_eq!(says(all, &[&good[..12], &snap, &good[12..]].concat()), (IPCS | TCPCS, 0));
        // A fragment.
        let mut part = good.clone();
        part[20] = 0x20;
        let header = !sum(&[&part[14..24], &part[26..34]].concat());
        put_word(&mut part, 24, header);
        assert_eq!(says(all, &part), (IPCS, 0));
    }
    // UDP without a checksum; another protocol; no IP; less than it says.
    let mut none = finished(true, 17, 50);
    put_word(&mut none, 40, 0);
    assert_eq!(says(all, &none), (IPCS, 0));
    let mut other = finished(true, 6, 50);
    other[23] = 1;
    assert_eq!(says(all, &other), (IPCS, 1 << 6));
    assert_eq!(says(all, &frame(OWN, 100)), (IXSM, 0));
    assert_eq!(says(all, &finished(true, 6, 100)[..120]), (IXSM, 0));
}

#[test]
fn frames_are_counted() {
    let mut rig = Rig::new();
    let (all, group) = ([0xff; 6], [0x33, 0x33, 0, 0, 0, 1]);
    rig.write(RCTL, RCTL_ON | 1 << 4);
    for (to, len) in
        [(OWN, 60), (OWN, 61), (all, 123), (all, 124), (group, 300), (OWN, 1000), (OWN, 1514)]
    {
        assert!(rig.take(&frame(to, len)).is_some());
    }
    rig.take(&frame([2; 6], 60));
    let mut read = |register: u32| rig.read(register);
    // By length, then all, broadcast, multicast; each is cleared by reading.
    let lengths = [0x405c, 0x4060, 0x4064, 0x4068, 0x406c, 0x4070].map(&mut read);
    assert_eq!(lengths, [1, 2, 1, 1, 1, 1]);
    assert_eq!([0x4074, 0x4078, 0x407c, 0x40d0].map(&mut read), [7, 2, 1, 8]);
    assert_eq!([0x405c, 0x4074, 0x4078, 0x40d0].map(&mut read), [0; 4]);
    // Bytes: the upper half clears both.
    let octets = 60 + 61 + 123 + 124 + 300 + 1000 + 1514 + 7 * 4;
    assert_eq!([0x4088, 0x4088, 0x408c, 0x4088].map(&mut read), [octets, octets, 0, 0]);
    assert_eq!([0x40c0, 0x40c4, 0x40c0].map(&mut read), [octets + 64, 0, 0]);
    assert_eq!([0x4010, 0x40ac, 0x40fc].map(read), [0; 3]);
}

#[test]
fn counters_stop_at_their_end() {
    let mut statistics = Statistics::default();
    statistics.sent(&[0xff; 60], usize::MAX >> 33, u32::MAX);
    statistics.sent(&[0xff; 60], usize::MAX >> 33, u32::MAX);
    assert_eq!([0xd4, 0xf4, 0xec].map(|offset| statistics.read(offset)), [u32::MAX; 3]);
    for _ in 0..8 {
        statistics.sent(&[0; 60], usize::MAX >> 33, u32::MAX);
    }
    assert_eq!([0xc8, 0xcc, 0xc8].map(|n| statistics.read(n)), [u32::MAX, u32::MAX, 0]);
}
