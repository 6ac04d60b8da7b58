//! The network device as Linux, SeaBIOS and iPXE drive it.

use super::{
    super::rig::{Part, Rig, VERSION_1},
    *,
};
use crate::{Device, Timed, link::end::End};

const OWN: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const AT: u64 = 0x2_0000;
const LINUX: u64 = VERSION_1 | FEATURES;

fn started(features: u64) -> (Rig<VirtioNet>, End) {
    let end = End::default();
    (Rig::started(VirtioNet::new(OWN, Box::new(end.clone())), features), end)
}

/// A frame to `to` of `len` bytes.
fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut bytes = to.to_vec();
    bytes.extend([2, 0, 0, 0, 0, 1, 0x08, 0x06]);
    bytes.extend((14..len).map(|n| n as u8));
    bytes
}

impl Rig<VirtioNet> {
    fn send(&mut self, header: [u8; 12], frame: &[u8]) {
        self.put(AT, &header);
        self.put(AT + 0x100, frame);
        let parts = [Part::Out(AT, 12), Part::Out(AT + 0x100, frame.len() as u32)];
        assert_eq!(self.call(TRANSMIT, &parts), 0);
    }

    /// A command with its result.
    fn command(&mut self, command: &[u8]) -> u8 {
        self.put(0x8000, command);
        self.put(0x9000, &[0xee]);
        let parts = [Part::Out(0x8000, command.len() as u32), Part::In(0x9000, 1)];
        assert_eq!(self.call(CONTROL, &parts), 1);
        self.get::<1>(0x9000)[0]
    }

    fn bring(&mut self, end: &End, bytes: &[u8]) -> usize {
        end.bring(bytes, Offload::default());
        self.wake();
        self.used(RECEIVE).len()
    }
}

#[test]
fn linux_reads_address_and_status() {
    let (mut rig, end) = started(LINUX);
    assert_eq!(rig.offered() & 0xff_ffff, FEATURES);
    assert_eq!(rig.device_config(0), [0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0]);
    end.cable().is_down = true;
    rig.wake();
    assert_eq!((rig.vectors(), rig.device_config(6)), (vec![0x50], [0, 0]));
    rig.send([0; 12], &frame([0xff; 6], 60));
    assert!(end.sent().is_empty());
    end.cable().is_down = false;
    rig.wake();
    assert_eq!(rig.device_config(6), [1, 0]);
}

#[test]
fn frames_go_out_as_they_are() {
    let (mut rig, end) = started(VERSION_1);
    let arp = frame([0xff; 6], 60);
    rig.send([0; 12], &arp);
    assert_eq!(end.sent(), [(arp.clone(), Offload::default())]);
    // Too short, nothing, a checksum and segments that were not agreed on.
    rig.send([0; 12], &arp[..13]);
    rig.call(TRANSMIT, &[Part::Out(AT, 11)]);
    rig.send([1, 0, 0, 0, 0, 0, 14, 0, 2, 0, 0, 0], &arp);
    rig.send([1, 1, 0, 0, 100, 0, 14, 0, 2, 0, 0, 0], &arp);
    rig.call(TRANSMIT, &[Part::Out(0, 65_600), Part::Out(AT, 12)]);
    assert!(end.sent().is_empty());
    assert!(!rig.needs_reset());
}

#[test]
fn work_is_left_to_the_link_or_done() {
    let (mut rig, end) = started(LINUX);
    let checksum = Some(Checksum { start: 34, offset: 16 });
    let mut tcp = frame(OWN, 54 + 3000);
    tcp[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
    tcp[23] = 6;
    tcp[46] = 0x50;
    let header = [1, 1 | 0x80, 54, 0, 0xdc, 5, 34, 0, 16, 0, 0, 0];
    rig.send(header, &tcp);
    let lens: Vec<_> = end.sent().into_iter().map(|(f, left)| (f.len(), left.checksum)).collect();
    assert_eq!(lens, [(1554, None), (1554, None)], "a link that takes nothing");
    end.cable().takes = Offloads { checksum: true, tcp4: true, tcp6: false };
    rig.send(header, &tcp);
    let segments = Some(Segments { kind: Segmentation::Tcp4, size: 1500 });
    assert_eq!(end.sent(), [(tcp.clone(), Offload { checksum, segments })], "as it is");
    rig.send([1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0], &tcp);
    assert_eq!(end.sent(), [(tcp.clone(), Offload { checksum, segments: None })]);
    end.cable().takes = Offloads::default();
    rig.send([1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0], &tcp);
    let sent = end.sent();
    assert_eq!((sent.len(), sent[0].1, sent[0].0 == tcp), (1, Offload::default(), false));
    // Segments without a checksum, or of a kind that there is not.
    rig.send([0, 1, 0, 0, 0xdc, 5, 34, 0, 16, 0, 0, 0], &tcp);
    rig.send([1, 3, 0, 0, 0xdc, 5, 34, 0, 16, 0, 0, 0], &tcp);
    assert!(end.sent().is_empty());
}

#[test]
fn a_frame_waits_for_a_buffer() {
    let (mut rig, end) = started(VERSION_1);
    assert_eq!(rig.bring(&end, &frame(OWN, 60)), 0);
    assert_eq!(rig.chip.next_event(), None, "it waits for the driver");
    rig.offer(RECEIVE, &[Part::In(AT, 12), Part::In(AT + 0x100, 1514)]);
    rig.kick(RECEIVE);
    assert_eq!(rig.used(RECEIVE), [(0, 72)]);
    assert_eq!(rig.get(AT), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0], "one buffer");
    assert_eq!(rig.get::<60>(AT + 0x100)[..], frame(OWN, 60));
    // One that is larger than the buffer is lost, and the buffer is there for the next.
    rig.offer(RECEIVE, &[Part::In(AT, 100)]);
    assert_eq!(rig.bring(&end, &frame(OWN, 89)), 0);
    assert_eq!(rig.bring(&end, &frame(OWN, 88)), 1);
    assert_eq!(end.cable().asked, Some(Offloads::default()));
}

#[test]
fn a_long_frame_is_spread_over_buffers() {
    let (mut rig, end) = started(LINUX);
    let long = frame(OWN, 5000);
    let offload = Offload {
        checksum: Some(Checksum { start: 34, offset: 16 }),
        segments: Some(Segments { kind: Segmentation::Tcp6, size: 1440 }),
    };
    for n in 0..2 {
        rig.offer(RECEIVE, &[Part::In(AT + 0x800 * n, 0x800)]);
    }
    end.bring(&long, offload);
    rig.wake();
    assert!(rig.used(RECEIVE).is_empty(), "two are not enough, and not taken");
    rig.offer(RECEIVE, &[Part::In(AT + 0x1000, 0x800)]);
    rig.kick(RECEIVE);
    assert_eq!(rig.used(RECEIVE), [(0, 2048), (1, 2048), (2, 5012 - 4096)]);
    let header_len = 34 + (long[46] >> 4) * 4;
    assert_eq!(rig.get(AT), [1, 4, header_len, 0, 0xa0, 5, 34, 0, 16, 0, 3, 0]);
    assert_eq!(rig.get::<5000>(AT + 12)[..], long);
    let all = Offloads { checksum: true, tcp4: true, tcp6: true };
    assert_eq!(end.cable().asked, Some(all));
    // More than all buffers that the ring has room for.
    for _ in 0..16 {
        rig.offer(RECEIVE, &[Part::In(AT, 100)]);
    }
    end.bring(&long, Offload::default());
    assert_eq!(rig.bring(&end, &frame(OWN, 60)), 1, "the long one is lost");
}

#[test]
fn only_what_the_guest_wants_comes_in() {
    let (mut rig, end) = started(LINUX);
    for _ in 0..12 {
        rig.offer(RECEIVE, &[Part::In(AT, 2000)]);
    }
    let [other, group, extra] = [[2, 9, 9, 9, 9, 9], [0x33, 0x33, 0, 0, 0, 1], [2, 8, 8, 8, 8, 8]];
    let mut tagged = frame(OWN, 60);
    tagged[12..16].copy_from_slice(&[0x81, 0x00, 0xe0, 0x07]);
    assert_eq!(rig.bring(&end, &frame(other, 60)), 1, "promiscuous at first");
    assert_eq!(rig.command(&[0, 0, 0]), 0);
    let comes = |rig: &mut Rig<_>| {
        [other, group, extra, OWN, [0xff; 6]].map(|to| rig.bring(&end, &frame(to, 60)))
    };
    assert_eq!(comes(&mut rig), [0, 0, 0, 1, 1]);
    let table = [&[1, 0, 1, 0, 0, 0][..], &extra, &[1, 0, 0, 0], &group].concat();
    assert_eq!(rig.command(&table), 0);
    assert_eq!(comes(&mut rig), [0, 1, 1, 1, 1]);
    assert_eq!(rig.command(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 0);
    assert_eq!(rig.command(&[0, 1, 1]), 0);
    assert_eq!(rig.bring(&end, &frame(group, 60)), 1, "all groups");
    assert_eq!(rig.bring(&end, &tagged), 0);
    assert_eq!(rig.command(&[2, 0, 7, 0]), 0);
    assert_eq!(rig.bring(&end, &tagged), 1);
    assert_eq!(rig.command(&[2, 1, 7, 0]), 0);
    assert_eq!(rig.bring(&end, &tagged), 0);
    assert_eq!(rig.command(&[[1, 1].as_slice(), &other].concat()), 0);
    assert_eq!(rig.device_config(0), other);
    assert_eq!([other, OWN].map(|to| rig.bring(&end, &frame(to, 60))), [1, 0]);
    rig.set_status(0);
    assert_eq!(rig.device_config(0), OWN, "its own address again");
}

#[test]
fn commands_that_cannot_be_have_a_result() {
    let (mut rig, _) = started(LINUX);
    let table = [1, 0, 100, 0, 0, 0];
    for command in [&[0, 0][..], &[0], &[9, 9, 9], &[2, 0, 0, 0x10], &[1, 1, 2, 3], &table] {
        assert_eq!(rig.command(command), 1, "{command:?}");
    }
    let many = [&table[..], &[2; 600], &[0; 4]].concat();
    assert_eq!(rig.command(&many), 0, "more than are kept");
    rig.offer(CONTROL, &[Part::Out(0x8000, 3)]);
    rig.kick(CONTROL);
    assert!(rig.needs_reset());
}

#[test]
fn the_guest_is_asked_to_announce_itself() {
    let (mut rig, _) = started(LINUX);
    rig.chip.device_mut().announce();
    let saved = rig.chip.save();
    rig.chip.load(&saved).expect("its own state");
    rig.wake();
    assert_eq!((rig.vectors(), rig.device_config(6)), (vec![0x50], [3, 0]));
    assert_eq!(rig.command(&[3, 0]), 0);
    assert_eq!(rig.device_config(6), [1, 0]);
    for (pointer, value) in [("/device/status", 4), ("/device/mac/0", 256)] {
        let mut bad = saved.clone();
        *bad.state.pointer_mut(pointer).unwrap() = value.into();
        rig.chip.load(&bad).expect_err(pointer);
    }
}
