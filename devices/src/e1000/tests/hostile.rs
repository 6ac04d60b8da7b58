//! Drivers that do anything, and states that cannot be.

use super::*;
use crate::{
    Offloads,
    stress::{Driven, Random, drive},
};

impl Driven for Rig {
    type Chip = E1000;
    /// Frames come from outside.
    const IS_ALONE: bool = false;

    fn fresh(&self) -> E1000 {
        chip(&self.bench, &self.end)
    }

    fn parts(&mut self) -> (&mut Bench, &mut E1000) {
        (&mut self.bench, &mut self.chip)
    }

    fn start(&mut self) {
        Self::start(self);
    }

    fn act(&mut self, random: &mut Random) {
        let value = random.next() as u32 >> random.below(32);
        match random.below(40) {
            // What breaks most is rare, so that something works in between.
            0 if value & 3 != 0 => self.restart(),
            0 => {
                let register = 4 * random.below(0x8000) as u32;
                self.write(register, value);
                self.read(register);
            }
            1 if random.below(4) != 0 => self.restart(),
            1 => {
                let register = REGISTERS[random.below(REGISTERS.len() as u64) as usize];
                self.write(register, value);
            }
            2 => {
                let (bar, at) = ([0, 2][random.below(2) as usize], random.below(64));
                let data = &random.next().to_le_bytes()[..1 + random.below(8) as usize];
                self.bench.with(|cx| self.chip.bar_write(cx, bar, at, data));
                self.bench.with(|cx| self.chip.bar_read(cx, bar, at, &mut [0; 7]));
            }
            3 if random.below(10) == 0 => self.command(value as u8),
            3 => self.restart(),
            4 => {
                let at = [SENDING, RECEIVING][random.below(2) as usize] + random.below(512);
                self.put(at, &random.next().to_le_bytes());
            }
            5 if random.below(4) != 0 => self.restart(),
            5 => drop(self.phy_anyhow(random)),
            6 => self.eecd_anyhow(random),
            7 => {
                let mut cable = self.end.cable();
                cable.is_down = random.below(8) == 0;
                cable.takes =
                    Offloads { checksum: value & 1 != 0, tcp4: value & 2 != 0, tcp6: false };
            }
            8..20 => self.receive_anyhow(random),
            20..34 => self.send_anyhow(random),
            _ => {
                let ns = random.next() >> (30 + random.below(30));
                self.wait_ns(ns);
            }
        }
        // GPRC, which is cleared by it.
        self.received += self.read(0x4074);
        for (sent, offload) in self.end.sent() {
            self.sent += 1;
            assert!(sent.len() <= crate::FRAME_MAX);
            assert!(self.end.cable().takes.include(&offload) || offload == Offload::default());
        }
    }
}

/// Those that do most.
const REGISTERS: [u32; 20] = [
    CTRL, 0x10, 0x14, 0x18, MDIC, ICR, ITR, ICS, IMS, IMC, RCTL, TCTL, RDT, RDTR, 0x282c, 0x2c00,
    TDT, 0x3820, 0x382c, 0x5000,
];

impl Rig {
    /// The driver starts from the beginning, whatever the state.
    fn restart(&mut self) {
        self.end.cable().is_down = false;
        self.command(0x07);
        self.write(CTRL, 1 << 26);
        self.write(MDIC, 1 << 26 | 1 << 21 | 0x9140);
        Self::start(self);
        self.write(RCTL, RCTL_ON | 1 << 3 | 1 << 5);
    }

    fn phy_anyhow(&mut self, random: &mut Random) -> u32 {
        let value = random.next() as u32;
        let register = random.below(32) as u32;
        self.write(MDIC, 1 << 26 << (value >> 31) | 1 << 21 | register << 16 | value & 0xffff);
        self.read(MDIC)
    }

    fn eecd_anyhow(&mut self, random: &mut Random) {
        for _ in 0..random.below(60) {
            let select = if random.below(30) == 0 { 0 } else { 2 };
            self.write(0x10, select | random.below(8) as u32);
        }
    }

    fn receive_anyhow(&mut self, random: &mut Random) {
        let to = [OWN, [0xff; 6], [3; 6], [2; 6]][random.below(4) as usize];
        let len = [0, 60, 1514, 9000][random.below(4) as usize] + random.below(100) as usize;
        let mut bytes = match random.below(4) {
            0 => finished(random.below(2) == 0, [6, 17][random.below(2) as usize], len),
            _ => frame(to, len),
        };
        if random.below(4) == 0 && !bytes.is_empty() {
            let at = random.below(bytes.len().min(80) as u64) as usize;
            bytes[at] = random.next() as u8;
        }
        if self.end.cable().coming.len() < 8 {
            self.end.bring(&bytes, Offload::default());
        }
        // Fresh buffers, mostly.
        let tail = random.below(ENTRIES);
        if random.below(4) != 0 {
            self.empty(tail);
            self.write(RDT, tail as u32);
        }
        self.wake();
    }

    fn send_anyhow(&mut self, random: &mut Random) {
        let is_ipv4 = random.below(2) == 0;
        let payload = [0, 100, 3000, 66_000][random.below(4) as usize] + random.below(100) as usize;
        self.put(DATA, &datagram(is_ipv4, [6, 17][random.below(2) as usize], payload));
        let tail = u64::from(self.read(TDT)) % ENTRIES;
        let count = 1 + random.below(4);
        for n in tail..tail + count {
            let address = match random.below(20) {
                0 => random.next(),
                1 => (1 << 20) - random.below(1000),
                _ => DATA + [0, random.below(1000)][random.below(2) as usize],
            };
            let sizes = [payload as u64 + 54, random.below(200), random.below(1 << 20)];
            let len = sizes[random.below(3) as usize] as u32;
            let kind = [0, 1 << 29, 1 << 29 | 1 << 20, 1 << 29 | 1 << 20];
            let kind = kind[random.below(4) as usize];
            let command = random.next() as u32 & 0xdf00_0000 | kind;
            let address = if kind == 1 << 29 {
                14 | 24 << 8 | 33 << 16 | 34 << 32 | (50 ^ random.below(3) << random.below(9)) << 40
            } else {
                address
            };
            let upper = random.next() as u32 >> random.below(16);
            self.describe(n % ENTRIES, address, [len & 0xf_ffff | command, upper]);
        }
        self.write(TDT, ((tail + count) % ENTRIES) as u32);
    }
}

fn random_drivers(seed: u64, steps: u32) {
    let mut rig = Rig::cold();
    drive(&mut rig, seed, steps);
    let Rig { sent, received, .. } = rig;
    assert!(sent > steps / 50 && received > steps / 50, "{sent} sent, {received} received");
}

#[test]
fn random_drivers_do_no_harm() {
    random_drivers(0xe1000, 100_000);
}

#[test]
#[ignore = "takes ten seconds"]
fn a_million_random_accesses() {
    random_drivers(0x8254_0000, 1_000_000);
}

#[test]
fn an_impossible_state_is_refused() {
    let mut rig = Rig::new();
    let before = rig.chip.save();
    for (path, value) in [
        ("/mac/control", 1_u64 << 31),
        ("/mac/port_address", 1 << 20),
        ("/mac/interrupts/cause", 1 << 17),
        ("/mac/filter/addresses/0", 1 << 62),
        ("/mac/receiver/control", 1),
        ("/mac/receiver/ring/base", 1),
        ("/mac/receiver/small", 1 << 12),
        ("/mac/receiver/checksum", 1 << 11),
        ("/mac/transmitter/control", 1),
        ("/mac/transmitter/descriptor_control", 1 << 22),
        ("/mac/transmitter/ring/len", 64),
        ("/phy/registers/2", 0x0142),
        ("/eeprom/pins", 1 << 3),
        ("/eeprom/shift", 1 << 25),
        ("/eeprom/reading", 1024),
        ("/config/0", 0),
    ] {
        let mut saved = before.clone();
        *saved.state.pointer_mut(path).expect(path) = value.into();
        assert!(rig.chip.load(&saved).is_err(), "{path}");
        assert_eq!(rig.chip.save(), before, "{path}");
    }
    for (path, value) in [
        ("/mac/interrupts/is_asserted", serde_json::Value::from(true)),
        ("/mac/storage", serde_json::json!({ "64": 1 })),
        ("/mac/statistics", serde_json::json!([1, 2])),
        ("/mac/filter/vlans", serde_json::json!([])),
        ("/eeprom/words", serde_json::json!([])),
        ("/mac/transmitter/frame", "00".repeat(crate::FRAME_MAX + 2).into()),
    ] {
        let mut saved = before.clone();
        *saved.state.pointer_mut(path).expect(path) = value;
        assert!(rig.chip.load(&saved).is_err(), "{path}");
        assert_eq!(rig.chip.save(), before, "{path}");
    }
}
