//! The console as Linux's virtio_console drives it.

use std::sync::{Arc, Mutex};

use super::{
    super::rig::{EVENT_IDX, Part, Rig, VERSION_1},
    *,
};
use crate::Device;

const ROOM: u64 = 0x2_0000;

type Sent = Arc<Mutex<Vec<u8>>>;

struct Peer(Sent);

impl SerialPeer for Peer {
    fn transmit(&mut self, byte: u8) {
        self.0.lock().unwrap().push(byte);
    }
}

fn console(names: &[&str]) -> (VirtioConsole, Vec<Sent>) {
    let sent: Vec<Sent> = names.iter().map(|_| Sent::default()).collect();
    let ports = names.iter().zip(&sent).map(|(name, sent)| ConsolePort {
        name: (*name).to_owned(),
        peer: Box::new(Peer(sent.clone())),
    });
    (VirtioConsole::new(ports.collect()), sent)
}

fn take(sent: &Sent) -> String {
    String::from_utf8(std::mem::take(&mut *sent.lock().unwrap())).unwrap()
}

impl Rig<VirtioConsole> {
    fn receive(&mut self, port: usize, bytes: &[u8]) -> usize {
        let taken = self.chip.device_mut().receive(port, bytes);
        self.wake();
        taken
    }

    fn say(&mut self, port: u32, event: u16, value: u16) {
        let message = u64::from(port) | u64::from(event) << 32 | u64::from(value) << 48;
        self.put(0x8000, &message.to_le_bytes());
        assert_eq!(self.call(CONTROL_TRANSMIT, &[Part::Out(0x8000, 8)]), 0);
    }

    /// The control messages that came into buffers of 64 bytes at [`ROOM`].
    fn heard(&mut self) -> Vec<(u8, u16, Vec<u8>)> {
        let used = self.used(CONTROL_RECEIVE);
        let message = |(head, len): (u32, u32)| {
            let bytes: [u8; 64] = self.get(ROOM + 64 * u64::from(head));
            assert_eq!(bytes[6..8], [1, 0]);
            let event = u16::from_le_bytes([bytes[4], bytes[5]]);
            (bytes[0], event, bytes[8..len as usize].to_vec())
        };
        let heard: Vec<_> = used.into_iter().map(message).collect();
        heard.iter().for_each(|_| self.offer_room());
        self.kick(CONTROL_RECEIVE);
        heard
    }

    fn offer_room(&mut self) {
        let next = self.get::<2>(Self::base(CONTROL_RECEIVE) + 0x402);
        let slot = u64::from(u16::from_le_bytes(next) % 16);
        let head = self.offer(CONTROL_RECEIVE, &[Part::In(ROOM + 64 * slot, 64)]);
        assert_eq!(u64::from(head), slot);
    }
}

#[test]
fn a_console_sends_and_receives() {
    let (device, sent) = console(&[""]);
    let mut rig = Rig::started(device, VERSION_1 | EVENT_IDX | SIZE);
    assert_eq!((rig.offered() & 7, rig.bar_read(0, 0x12)), (SIZE | EMERG_WRITE, [2, 0]));
    rig.put(0x8000, b"hello ");
    rig.put(0x9000, b"world");
    assert_eq!(rig.call(1, &[Part::Out(0x8000, 6), Part::Out(0x9000, 5)]), 0);
    assert_eq!(take(&sent[0]), "hello world");
    assert_eq!(rig.receive(0, b"abc"), 3);
    assert!(rig.used(0).is_empty(), "there is no buffer yet");
    rig.offer(0, &[Part::In(0x8000, 2)]);
    rig.offer(0, &[Part::In(0x8100, 8)]);
    rig.offer(0, &[Part::In(0x8200, 8)]);
    rig.kick(0);
    assert_eq!((rig.used(0), rig.get(0x8000)), (vec![(0, 2), (1, 1)], *b"ab"));
    assert_eq!(rig.receive(0, b"d"), 1);
    assert_eq!((rig.used(0), rig.get(0x8100), rig.get(0x8200)), (vec![(2, 1)], *b"c", *b"d"));
    assert_eq!(rig.receive(0, &[0; 5000]), 4096);
    assert_eq!((rig.receive(0, &[0]), rig.chip.device().room(0)), (0, 0));
    rig.bar_write(0, 0x2008, &[b'!', 0, 0, 0]);
    assert_eq!(take(&sent[0]), "!", "the emergency register");
}

#[test]
fn what_finds_no_room_stays_in_its_queue() {
    /// Takes so many bytes, and what comes beyond them.
    struct Narrow(Sent, usize);
    impl SerialPeer for Narrow {
        fn transmit(&mut self, byte: u8) {
            self.0.lock().unwrap().push(byte);
        }
        fn room(&self) -> usize {
            self.1.saturating_sub(self.0.lock().unwrap().len())
        }
    }
    let sent = Sent::default();
    let peer = Box::new(Narrow(sent.clone(), 4));
    let device = VirtioConsole::new(vec![ConsolePort { name: String::new(), peer }]);
    let mut rig = Rig::started(device, VERSION_1);
    rig.put(0x8000, b"abcdef");
    for at in [0x8000, 0x8003, 0x8000] {
        rig.offer(1, &[Part::Out(at, 3)]);
    }
    rig.kick(1);
    assert_eq!((rig.used(1).len(), take(&sent)), (2, "abcdef".into()));
    rig.wake();
    assert_eq!((rig.used(1).len(), take(&sent)), (1, "abc".into()), "without another notification");
}

#[test]
fn the_size_is_in_the_configuration() {
    let (device, _) = console(&[""]);
    let mut rig = Rig::started(device, VERSION_1 | SIZE);
    assert_eq!(rig.device_config(0), [80, 0, 25, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    rig.chip.device_mut().set_size(132, 43);
    rig.wake();
    assert_eq!((rig.vectors(), rig.device_config(0)), (vec![0x50], [132, 0, 43, 0]));
    rig.chip.device_mut().set_size(132, 43);
    rig.wake();
    assert!(rig.vectors().is_empty());
}

#[test]
fn ports_are_introduced_one_by_one() {
    let (device, sent) = console(&["", "org.qemu.guest_agent.0"]);
    let mut rig = Rig::started(device, VERSION_1 | SIZE | MULTIPORT);
    assert_eq!((rig.offered() & 7, rig.bar_read(0, 0x12)), (7, [6, 0]));
    (0..8).for_each(|_| rig.offer_room());
    rig.kick(CONTROL_RECEIVE);
    rig.say(0, DEVICE_READY, 1);
    assert_eq!(rig.heard(), [(0, PORT_ADD, vec![]), (1, PORT_ADD, vec![])]);
    rig.say(0, PORT_READY, 1);
    let size = vec![80, 0, 25, 0];
    assert_eq!(rig.heard(), [(0, 4, vec![]), (0, PORT_OPEN, vec![]), (0, RESIZE, size)]);
    rig.say(1, PORT_READY, 1);
    let name = b"org.qemu.guest_agent.0".to_vec();
    assert_eq!(rig.heard(), [(1, PORT_NAME, name), (1, PORT_OPEN, vec![])]);
    assert!(!rig.chip.device().is_open(1));
    rig.say(1, PORT_OPEN, 1);
    assert!(rig.chip.device().is_open(1));
    rig.put(0x9000, b"pong");
    rig.call(5, &[Part::Out(0x9000, 4)]);
    assert_eq!((take(&sent[0]), take(&sent[1])), (String::new(), "pong".to_owned()));
    assert_eq!(rig.receive(1, b"ping"), 4);
    rig.offer(4, &[Part::In(0x9000, 16)]);
    rig.kick(4);
    assert_eq!((rig.used(4), rig.get(0x9000)), (vec![(0, 4)], *b"ping"));
    rig.chip.device_mut().set_size(100, 30);
    rig.wake();
    assert_eq!(rig.heard(), [(0, RESIZE, vec![100, 0, 30, 0])]);
    // Nonsense is not heard.
    for (port, event, value) in [(2, PORT_READY, 1), (9, 9, 9), (0, PORT_READY, 0)] {
        rig.say(port, event, value);
        assert!(rig.heard().is_empty());
    }
    rig.say(1, PORT_OPEN, 0);
    assert!(!rig.chip.device().is_open(1));
}

#[test]
fn what_is_to_be_said_is_bounded_and_saved() {
    let (device, _) = console(&["", "a"]);
    let mut rig = Rig::started(device, VERSION_1 | MULTIPORT);
    for _ in 0..100 {
        rig.say(0, DEVICE_READY, 1);
        rig.say(1, PORT_READY, 1);
    }
    rig.receive(1, b"xyz");
    let saved = rig.chip.save();
    rig.chip = Rig::chip(&rig.bench, console(&["", "a"]).0);
    rig.chip.load(&saved).expect("the same device");
    assert_eq!(rig.chip.save(), saved);
    (0..6).for_each(|_| rig.offer_room());
    rig.kick(CONTROL_RECEIVE);
    let events: Vec<_> = rig.heard().into_iter().map(|(port, event, _)| (port, event)).collect();
    assert_eq!(events, [(0, PORT_ADD), (1, PORT_ADD), (1, PORT_NAME), (1, PORT_OPEN)]);
    let (mut one, _) = console(&[""]);
    one.load(rig.chip.device().save(), &[]).expect_err("another device");
    let mut bad = saved.clone();
    bad.state["device"]["ports"][0]["to_say"] = 1.into();
    rig.chip.load(&bad).expect_err("an event that there is not");
}

#[test]
fn what_no_driver_would_do_needs_a_reset() {
    let (device, _) = console(&["", "a"]);
    let mut rig = Rig::started(device, VERSION_1 | MULTIPORT);
    rig.offer(CONTROL_RECEIVE, &[Part::In(ROOM, 4)]);
    rig.say(0, DEVICE_READY, 1);
    assert!(rig.needs_reset());
    rig.start(VERSION_1 | MULTIPORT);
    rig.offer(1, &[Part::Out(0, 1 << 20), Part::Out(0, 1)]);
    rig.kick(1);
    assert!(rig.needs_reset());
}
