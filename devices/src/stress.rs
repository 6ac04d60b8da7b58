//! Random treatment of a device: whatever is done to it, it neither panics nor stalls, and its
//! state survives a save and a load.

use serde_json::Value;

use crate::{Bench, Cx, Device, Saved, Timed};

/// A small generator of numbers (xorshift64*), the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }
}

/// What there is to treat.
pub(crate) struct Subject<F, G> {
    /// Makes the device, with the bench's backplane or without.
    pub(crate) fresh: F,
    /// The bytes of its MMIO window.
    pub(crate) window: u64,
    /// Its input pins.
    pub(crate) pins: u16,
    /// Who accesses it.
    pub(crate) vcpus: u32,
    /// One of its other functions.
    pub(crate) other: G,
}

/// Does `steps` random things to the device.
pub(crate) fn stress<D, F, G>(subject: Subject<F, G>, seed: u64, steps: u32)
where
    D: Device,
    F: Fn(&Bench) -> D,
    G: Fn(&mut D, &mut Cx<'_>, &mut Random),
{
    let mut random = Random::new(seed);
    let mut bench = Bench::new();
    let mut device = (subject.fresh)(&bench);
    let mut levels = vec![false; usize::from(subject.pins)];
    for step in 0..steps {
        let vcpu = random.below(u64::from(subject.vcpus)) as u32;
        let mut cx = Cx { now: bench.now, ram: &bench.ram, vcpu };
        match random.below(8) {
            0 if !levels.is_empty() => {
                let pin = random.below(u64::from(subject.pins)) as u16;
                let level = &mut levels[usize::from(pin)];
                *level = !*level;
                device.as_inputs().expect("it has pins").input(&mut cx, pin, *level);
            }
            0..=3 => access(&mut device, &mut cx, &mut random, subject.window),
            4 | 5 => (subject.other)(&mut device, &mut cx, &mut random),
            _ => {
                let shift = random.below(40);
                let ns = random.next() >> 24 >> shift;
                run(&mut bench, &mut device, ns);
            }
        }
        bench.said();
        if step % 32 == 0 {
            let saved = device.save();
            let mut other = (subject.fresh)(&bench);
            other.load(&saved).expect("a device loads what it saved");
            assert_eq!(other.save(), saved);
            assert_eq!(bench.said(), [], "a load says nothing");
            device = other;
            let mut hostile = (subject.fresh)(&bench);
            treat_damaged(&mut hostile, saved, &mut random, &mut bench, subject.window);
        }
    }
}

/// A device on a bench, and a driver for it, good or bad.
pub(crate) trait Driven {
    type Chip: Device + Timed;
    /// Whether what happens next follows from the device's state alone.
    const IS_ALONE: bool = true;

    /// The device before anything was done to it.
    fn fresh(&self) -> Self::Chip;
    /// The bench, and the device on it.
    fn parts(&mut self) -> (&mut Bench, &mut Self::Chip);
    /// The driver starts from the beginning.
    fn start(&mut self);
    /// One thing that a guest might do, mostly something that makes sense.
    fn act(&mut self, random: &mut Random);

    fn bench(&mut self) -> &mut Bench {
        self.parts().0
    }
    fn chip(&mut self) -> &mut Self::Chip {
        self.parts().1
    }
}

/// Lets a driver do `steps` things. Now and then another device goes on from this one's state, and
/// one more from a damaged one.
pub(crate) fn drive<R: Driven>(r: &mut R, seed: u64, steps: u32) {
    let mut random = Random::new(seed);
    let (mut busy, mut refused) = (0, 0);
    for step in 0..steps {
        if step % 5000 == 0 {
            let (bench, chip) = r.parts();
            bench.with(|cx| chip.reset(cx));
            r.start();
        }
        r.act(&mut random);
        r.bench().said();
        busy += u32::from(r.chip().next_event().is_some());
        if step % 256 == 0 {
            let saved = r.chip().save();
            let mut twin = r.fresh();
            twin.load(&saved).expect("a chip loads what it saved");
            assert_eq!(r.bench().said(), [], "a load makes no edges");
            assert_eq!(twin.save(), saved);
            assert!(!R::IS_ALONE || twin.next_event() == r.chip().next_event());
            *r.chip() = twin;
            refused += u32::from(!survives_damage(r, saved, &mut random));
        }
    }
    assert!(busy > steps / 100, "there was work in {busy} of {steps} steps");
    assert!(refused > steps / 8000, "{refused} damaged states were refused");
}

/// Loads `saved` with damage into a device, and uses that. False if it is refused.
fn survives_damage<R: Driven>(r: &mut R, mut saved: Saved, random: &mut Random) -> bool {
    crate::fuzz::damage(&mut saved.state, random);
    let mut hostile = r.fresh();
    let before = hostile.save();
    let is_taken = hostile.load(&saved).is_ok();
    if is_taken {
        let sound = std::mem::replace(r.chip(), hostile);
        let now = r.bench().now;
        (0..10).for_each(|_| r.act(random));
        r.bench().now = now;
        *r.chip() = sound;
        let saved = r.chip().save();
        r.chip().load(&saved).expect("a chip loads what it saved");
    } else {
        assert_eq!(hostile.save(), before, "refused, but changed");
    }
    r.bench().said();
    is_taken
}

/// Loads `saved` with one of its numbers replaced: the device refuses it or works with it.
fn treat_damaged(
    device: &mut dyn Device,
    mut saved: Saved,
    random: &mut Random,
    bench: &mut Bench,
    window: u64,
) {
    damage(&mut saved.state, random);
    if device.load(&saved).is_err() {
        return;
    }
    assert_eq!(device.save(), saved);
    let now = bench.now;
    for _ in 0..4 {
        access(device, &mut Cx { now: bench.now, ram: &bench.ram, vcpu: 0 }, random, window);
        let ns = random.next() >> 24 >> random.below(40);
        run(bench, device, ns);
    }
    let saved = device.save();
    device.load(&saved).expect("a device loads what it saved");
    bench.now = now;
    bench.said();
}

/// Replaces one of the numbers in a state.
pub(crate) fn damage(state: &mut Value, random: &mut Random) {
    let chosen = random.below(numbers(state).len() as u64) as usize;
    let value = random.next() >> random.below(64);
    *numbers(state)[chosen] = Value::from(value);
}

/// All numbers in a state.
fn numbers(state: &mut Value) -> Vec<&mut Value> {
    match state {
        Value::Array(items) => items.iter_mut().flat_map(numbers).collect(),
        Value::Object(fields) => fields.values_mut().flat_map(numbers).collect(),
        Value::Number(_) => vec![state],
        _ => Vec::new(),
    }
}

fn access(device: &mut dyn Device, cx: &mut Cx<'_>, random: &mut Random, window: u64) {
    let size = 1 << [2, 2, 2, 2, 3, 4, 0, 1][random.below(8) as usize];
    let align = [16, 16, 8, 4, 1][random.below(5) as usize];
    let offset = (random.below(window) / align * align).min(window - size);
    let mmio = device.as_mmio().expect("it has a window");
    let mut data = [0xff; 16];
    let data = &mut data[..size as usize];
    if random.below(4) == 0 {
        mmio.mmio_read(cx, offset, data);
    } else {
        let shift = random.below(64);
        let value = u128::from(random.next() >> shift) << [0, 64][random.below(2) as usize];
        data.copy_from_slice(&value.to_le_bytes()[..size as usize]);
        mmio.mmio_write(cx, offset, data);
    }
}

/// Time goes on by `ns`, at first from event to event; each event must lie behind the one before.
fn run(bench: &mut Bench, device: &mut dyn Device, ns: u64) {
    let end = bench.now.after_ns(ns);
    for _ in 0..20 {
        let Some(timed) = device.as_timed() else { break };
        let Some(at) = timed.next_event().filter(|at| *at <= end) else { break };
        bench.now = bench.now.max(at);
        timed.advance(&mut Cx { now: bench.now, ram: &bench.ram, vcpu: 0 });
        assert!(timed.next_event().is_none_or(|at| at > bench.now), "stuck at {}", bench.now);
    }
    bench.now = end;
    if let Some(timed) = device.as_timed() {
        timed.advance(&mut Cx { now: end, ram: &bench.ram, vcpu: 0 });
    }
}
