//! The devices that are tormented.

use std::collections::VecDeque;

use trine_guest::VmTime;

use super::{super::*, MANY_STEPS, STEPS, Torment};
use crate::{FRAME_MAX, Frame, Link, Offload, Offloads, RamDisk, SerialPeer};

struct Nobody;

impl SerialPeer for Nobody {
    fn transmit(&mut self, _byte: u8) {}
}

fn blk(steps: u32) {
    let disk = || Box::new(RamDisk::new(vec![1; 64 * 512], 1500));
    Torment::new(|| VirtioBlk::new(disk(), 3), 0xb10c).run(steps, |_, _| {});
}

fn rng(steps: u32) {
    let fresh = || VirtioRng::new(Box::new(|bytes| bytes.fill(7)));
    Torment::new(fresh, 0xd1ce).run(steps, |_, _| {});
}

fn console(steps: u32) {
    let ports = || {
        let port = |name: &str| ConsolePort { name: name.to_owned(), peer: Box::new(Nobody) };
        VirtioConsole::new(["", "one", "two"].map(port).into())
    };
    Torment::new(ports, 0xc0de).run(steps, |console, random| {
        let port = random.below(4) as usize;
        let room = console.room(port);
        let count = random.below(9) as usize;
        assert_eq!(console.receive(port, &[b'x'; 9][..count]), count.min(room));
        console.set_size(random.below(3) as u16, 25);
    });
}

fn balloon(steps: u32) {
    Torment::new(VirtioBalloon::new, 0xba11).run(steps, |balloon, random| {
        balloon.set_target(random.below(4) as u32);
        balloon.request_stats();
    });
}

/// A network that sends back what it gets, and something of its own now and then.
#[derive(Default)]
struct Echo(VecDeque<Frame>);

impl Link for Echo {
    fn takes(&self) -> Offloads {
        Offloads { checksum: true, tcp4: true, tcp6: false }
    }
    fn send(&mut self, _now: VmTime, frame: &[u8], _offload: Offload) {
        assert!(frame.len() <= FRAME_MAX);
        if self.0.len() < 8 {
            self.0.push_back(Frame { bytes: frame.to_vec(), offload: Offload::default() });
        }
    }
    fn next_frame(&self) -> Option<VmTime> {
        (!self.0.is_empty()).then_some(VmTime::ZERO)
    }
    fn receive(&mut self, _now: VmTime, _takes: Offloads) -> Option<Frame> {
        self.0.pop_front()
    }
}

fn net(steps: u32) {
    let fresh = || VirtioNet::new([2; 6], Box::new(Echo::default()));
    Torment::new(fresh, 0x4e7).run(steps, |net, random| {
        let frame = vec![2; 14 + random.below(3000) as usize];
        net.link_mut().send(VmTime::ZERO, &frame, Offload::default());
        if random.below(10) == 0 {
            net.announce();
        }
    });
}

#[test]
fn a_hostile_driver_of_networks() {
    net(STEPS);
}

#[test]
fn a_hostile_driver_of_disks() {
    blk(STEPS);
}

#[test]
fn a_hostile_driver_of_entropy() {
    rng(STEPS);
}

#[test]
fn a_hostile_driver_of_consoles() {
    console(STEPS);
}

#[test]
fn a_hostile_driver_of_balloons() {
    balloon(STEPS);
}

#[test]
#[ignore = "takes minutes"]
fn a_million_steps_of_hostile_drivers() {
    blk(MANY_STEPS);
    rng(MANY_STEPS);
    console(MANY_STEPS);
    balloon(MANY_STEPS);
    net(MANY_STEPS);
}
