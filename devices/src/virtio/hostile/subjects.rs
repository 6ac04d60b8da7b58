//! The devices that are tormented.

use super::{super::*, MANY_STEPS, STEPS, Torment};
use crate::{RamDisk, SerialPeer};

struct Nobody;

impl SerialPeer for Nobody {
    fn transmit(&mut self, _byte: u8) {}
}

impl Reclaim for Nobody {
    fn give_back(&mut self, at: trine_guest::Gpa, len: u64) {
        assert!(at.0 + len <= 1 << 20 && (at.0 | len) % 4096 == 0 && len > 0);
    }
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
    let fresh = || VirtioBalloon::new(Box::new(Nobody));
    Torment::new(fresh, 0xba11).run(steps, |balloon, random| {
        balloon.set_target(random.below(4) as u32);
        balloon.request_stats();
    });
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
fn very_hostile_drivers() {
    blk(MANY_STEPS);
    rng(MANY_STEPS);
    console(MANY_STEPS);
    balloon(MANY_STEPS);
}
