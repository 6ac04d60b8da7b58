//! Drivers that do anything: random registers, rings and chains, good and bad. Nothing panics, no
//! state is lost, time goes on, and a driver that then behaves gets its work done.

use super::{
    DeviceType,
    rig::{AVAILABLE, QUEUE_STRIDE, Rig, SIZE, VERSION_1},
};
use crate::{Device, PciFunction, Timed, stress::Random};

/// Things done to each device in every run of the tests, and when asked.
const STEPS: u32 = 100_000;
const MANY_STEPS: u32 = 1_000_000;

/// What became of it.
#[derive(Default, Debug)]
struct Tally {
    given_back: u64,
    resets: u32,
    refused: u32,
}

struct Torment<T, F> {
    rig: Rig<T>,
    random: Random,
    fresh: F,
    tally: Tally,
}

impl<T: DeviceType, F: Fn() -> T> Torment<T, F> {
    fn new(fresh: F, seed: u64) -> Self {
        let rig = Rig::started(fresh(), VERSION_1);
        Self { rig, random: Random::new(seed), fresh, tally: Tally::default() }
    }

    fn queue(&mut self) -> usize {
        let queues = self.rig.chip.device().queue_sizes().len() as u64;
        self.random.below(queues) as usize
    }

    /// A place: mostly in RAM, where data would be, sometimes in the rings or nowhere.
    fn place(&mut self) -> u64 {
        match self.random.below(40) {
            0 => self.random.next(),
            1 => u64::MAX - self.random.below(64),
            2 => (1 << 20) - self.random.below(64),
            3 => self.random.below(1 << 20),
            _ => 0x8_0000 + self.random.below(1 << 16),
        }
    }

    fn len(&mut self) -> u32 {
        match self.random.below(40) {
            0 => self.random.next() as u32,
            1 => 0,
            2..6 => self.random.below(1 << 16) as u32,
            6..20 => 512 * (1 + self.random.below(4)) as u32,
            20..30 => 16,
            _ => 1 + self.random.below(32) as u32,
        }
    }

    /// Makes a chain at a random descriptor: headers to read, room to write, or nonsense.
    fn make_chain(&mut self, table: u64, size: u16, depth: u32) -> u16 {
        let head = self.random.below(u64::from(size)) as u16;
        let count = 1 + self.random.below(5) as u16;
        let readable = self.random.below(u64::from(count) + 1) as u16;
        for n in 0..count {
            let index = (head + n) % size;
            let (at, len) = (self.place(), self.len());
            let mut next = (index + 1) % size;
            let mut flags = u16::from(n + 1 < count) | u16::from(n >= readable) << 1;
            match self.random.below(60) {
                0 => flags = self.random.next() as u16 & 7,
                1 => next = self.random.below(u64::from(size) + 4) as u16,
                _ => {}
            }
            self.rig.descriptor(table, index, (at, len, flags, next));
            if n == 0 && len >= 16 && at < 0xf_ff00 {
                self.write_header(at);
            }
        }
        if depth == 0 && self.random.below(4) == 0 {
            let inner = 0x7_0000;
            let size = 4 + self.random.below(12) as u16;
            self.make_chain(inner, size, 1);
            let parts = (inner, 16 * u32::from(size), 4, 0);
            self.rig.descriptor(table, head, parts);
        }
        head
    }

    /// What a request or a control message begins with.
    fn write_header(&mut self, at: u64) {
        let of: u64 = [0, 1, 4, 8, 11, 13, 3, 1 << 32][self.random.below(8) as usize];
        let sector = self.random.below(70);
        self.rig.put(at, &(u128::from(of + (1 << 48)) | u128::from(sector) << 64).to_le_bytes());
    }

    /// Makes a few buffers available and mostly says so.
    fn offer(&mut self) {
        let queue = self.queue();
        let table = Rig::<T>::base(queue);
        for _ in 0..=self.random.below(3) {
            let head = self.make_chain(table, SIZE, 0);
            self.rig.offer_head(queue, head);
        }
        if self.random.below(200) == 0 {
            let index = self.random.next() as u16;
            self.rig.write16(table + AVAILABLE + 2, index);
        }
        if self.random.below(8) != 0 {
            self.rig.kick(queue);
        }
        self.tally.given_back += self.rig.used(queue).len() as u64;
    }

    /// Writes registers, of the transport or of the device.
    fn poke(&mut self) {
        let value = self.random.next() >> self.random.below(64);
        let len = 1 << self.random.below(4);
        let bar = self.random.below(2) as u8;
        let offset = match self.random.below(4) {
            0 => self.random.below(0x40),
            1 => 0x1000,
            2 => 0x2000 + self.random.below(0x40),
            _ => self.random.below(0x3fe0),
        };
        let offset = offset.min([0x3ff0, 0xff0][usize::from(bar)]);
        self.rig.bar_write(bar, offset, &value.to_le_bytes()[..len]);
        self.rig.bar_read::<8>(bar, offset);
        let register = 0x40 + 4 * self.random.below(48) as u8;
        if self.random.below(4) == 0 {
            self.rig.config_write(register, &value.to_le_bytes()[..4]);
            let chip = &mut self.rig.chip;
            self.rig.bench.with(|cx| chip.config_reading(cx, register, 4));
        }
        if self.random.below(8) == 0 {
            let at = Rig::<T>::base(0) + self.random.below(QUEUE_STRIDE * 4);
            self.rig.put(at, &value.to_le_bytes()[..len]);
        }
    }

    /// Time goes on, but not so far that it ends.
    fn wait(&mut self) {
        let end = self.rig.bench.now.after_ns(self.random.below(5000));
        for _ in 0..100 {
            let Some(at) = self.rig.chip.next_event().filter(|at| *at <= end) else { break };
            self.rig.bench.now = self.rig.bench.now.max(at);
            self.rig.wake();
        }
        let next = self.rig.chip.next_event();
        assert!(next.is_none_or(|at| at > end), "it is stuck at {}", self.rig.bench.now);
        self.rig.bench.now = end;
    }

    /// A driver starts from the beginning.
    fn restart(&mut self) {
        self.tally.resets += 1;
        self.rig.config_write(0x04, &[0x06, 0x00]);
        self.rig.enable_msix();
        let offered = self.rig.offered();
        let features = offered & self.random.next() | VERSION_1;
        self.rig.start(features);
    }

    /// Another device goes on from the state of this one, and one more from a damaged state.
    fn move_on(&mut self) {
        let saved = self.rig.chip.save();
        let mut other = Rig::chip(&self.rig.bench, (self.fresh)());
        self.rig.bench.said();
        other.load(&saved).expect("a device loads what it saved");
        assert_eq!(other.save(), saved);
        assert_eq!(self.rig.bench.said(), [], "a load says nothing");
        self.rig.chip = other;
        let mut damaged = saved.clone();
        crate::stress::damage(&mut damaged.state, &mut self.random);
        let good =
            std::mem::replace(&mut self.rig.chip, Rig::chip(&self.rig.bench, (self.fresh)()));
        if self.rig.chip.load(&damaged).is_err() {
            self.tally.refused += 1;
        } else {
            (0..8).for_each(|_| self.offer());
            self.wait();
            self.poke();
            let saved = self.rig.chip.save();
            self.rig.chip.load(&saved).expect("a device loads what it saved");
        }
        self.rig.chip = good;
    }

    fn run(mut self, steps: u32, outside: impl Fn(&mut T, &mut Random)) {
        for step in 0..steps {
            match self.random.below(100) {
                0..3 => self.poke(),
                3..15 => self.wait(),
                15..18 => {
                    outside(self.rig.chip.device_mut(), &mut self.random);
                    self.rig.wake();
                }
                18 => self.restart(),
                _ => self.offer(),
            }
            self.rig.bench.said();
            if self.rig.status() & 0x4f != 15 && self.random.below(4) == 0 {
                self.restart();
            }
            if step % 128 == 0 {
                self.move_on();
            }
        }
        let Tally { given_back, resets, refused } = self.tally;
        assert!(given_back > u64::from(steps) / 20, "{given_back} buffers of {steps} came back");
        assert!(
            resets > steps / 200 && refused > steps / 2000,
            "{resets} resets, {refused} refused"
        );
    }
}

mod subjects;
