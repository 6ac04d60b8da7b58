//! One counter of the 8254 as a function of time. All times are ticks since power-on.

use serde::{Deserialize, Serialize};

/// What the counting element was loaded with, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Element {
    /// Ticks from load to zero: 1 to 65,536.
    count: u32,
    /// The tick at which it is loaded; counting starts with the next one.
    loaded: u64,
    /// The gate is low: it stands still at this many ticks after the load.
    held: Option<u64>,
    /// Mode 3: the square wave starts with its low half.
    starts_low: bool,
    /// What reads until `loaded`.
    value_before: u16,
    /// The output until `loaded`.
    output_before: bool,
}

/// Which byte of a 16-bit value comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
enum Half {
    #[default]
    Low,
    High,
}

/// One counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Counter {
    /// The lower six bits of the control word: access, mode, BCD.
    control: u8,
    gate: bool,
    /// The count register, as it was written.
    register: u16,
    /// Modes 1, 2, 3 and 5: the count register was written at this tick, and the counting element
    /// has not taken it yet.
    waiting: Option<u64>,
    element: Option<Element>,
    /// What reads while there is no element: it stopped there.
    stopped_at: u16,
    write_half: Half,
    /// The low byte of a count whose high byte has not been written yet.
    write_low: u8,
    read_half: Half,
    count_latch: Option<u16>,
    status_latch: Option<u8>,
}

impl Counter {
    /// A counter at power-on: mode 0 without a count.
    pub(super) fn new(gate: bool) -> Self {
        Self {
            control: 0x30,
            gate,
            register: 0,
            waiting: None,
            element: None,
            stopped_at: 0,
            write_half: Half::Low,
            write_low: 0,
            read_half: Half::Low,
            count_latch: None,
            status_latch: None,
        }
    }

    /// Whether a loaded state holds together.
    pub(super) fn is_valid(&self) -> bool {
        self.control <= 0x3f
            && self.access() != 0
            && self.element.is_none_or(|e| (1..=65_536).contains(&e.count))
    }

    fn mode(&self) -> u8 {
        match (self.control >> 1) & 7 {
            6 => 2,
            7 => 3,
            mode => mode,
        }
    }

    fn bcd(&self) -> bool {
        self.control & 1 != 0
    }

    /// 1: low byte only, 2: high byte only, 3: both, low first.
    fn access(&self) -> u8 {
        self.control >> 4
    }

    /// The period of the output in ticks, in the modes that have one.
    pub(super) fn period(&self) -> Option<u32> {
        matches!(self.mode(), 2 | 3).then_some(self.element?.count)
    }

    /// Ticks from load to zero for the value in the count register.
    fn count(&self) -> u32 {
        let r = u32::from(self.register);
        match (r, self.bcd()) {
            (0, false) => 65_536,
            (0, true) => 10_000,
            (_, false) => r,
            (_, true) => (r >> 12) * 1000 + (r >> 8 & 15) * 100 + (r >> 4 & 15) * 10 + (r & 15),
        }
    }

    /// How the count `value`, modulo the size of the counter, reads.
    fn encode(&self, value: u64, taken: u64) -> u16 {
        if !self.bcd() {
            return value.wrapping_sub(taken) as u16;
        }
        let v = (value + 10_000 - taken % 10_000) % 10_000;
        ((v / 1000) << 12 | (v / 100 % 10) << 8 | (v / 10 % 10) << 4 | (v % 10)) as u16
    }

    /// Ticks that the element counted by `tick`; `None` before it is loaded.
    fn elapsed(e: &Element, tick: u64) -> Option<u64> {
        (tick >= e.loaded).then(|| e.held.unwrap_or(tick - e.loaded))
    }

    /// The length of the half of a square wave that `elapsed` falls into, how far it is into that
    /// half, and whether that is the low half.
    fn half_wave(e: &Element, elapsed: u64) -> (u64, u64, bool) {
        let n = u64::from(e.count);
        let (high, low) = (n.div_ceil(2), n / 2);
        let first = if e.starts_low { low } else { high };
        let at = elapsed % n;
        if at < first { (first, at, e.starts_low) } else { (n - first, at - first, !e.starts_low) }
    }

    /// The output pin at `tick`, as long as the element is the one loaded now.
    fn element_output(&self, tick: u64) -> bool {
        let Some(e) = self.element else { return self.mode() != 0 };
        let Some(elapsed) = Self::elapsed(&e, tick) else { return e.output_before };
        let n = u64::from(e.count);
        match self.mode() {
            0 | 1 => elapsed >= n,
            2 => e.held.is_some() || n < 2 || elapsed % n != n - 1,
            3 => e.held.is_some() || !Self::half_wave(&e, elapsed).2,
            _ => elapsed != n,
        }
    }

    /// What the counting element holds at `tick`.
    fn value(&self, tick: u64) -> u16 {
        let counter = self.settled(tick);
        let Some(e) = counter.element else { return counter.stopped_at };
        let Some(elapsed) = Self::elapsed(&e, tick) else { return e.value_before };
        let n = u64::from(e.count);
        match counter.mode() {
            2 => counter.encode(n, elapsed % n),
            3 => counter.encode(n & !1, 2 * Self::half_wave(&e, elapsed).1),
            _ => counter.encode(n, elapsed),
        }
    }

    /// The next tick after `tick` at which the element may change the output or be reloaded.
    fn next_point(&self, tick: u64) -> Option<u64> {
        let e = self.element?;
        let Some(elapsed) = Self::elapsed(&e, tick) else { return Some(e.loaded) };
        if e.held.is_some() {
            return None;
        }
        let n = u64::from(e.count);
        let ahead = match self.mode() {
            0 | 1 => n.checked_sub(elapsed).filter(|ahead| *ahead > 0)?,
            2 if n < 2 => self.waiting.map(|_| 1)?,
            2 if elapsed % n < n - 1 => n - 1 - elapsed % n,
            2 => 1,
            3 if n < 2 => self.waiting.map(|_| 1)?,
            3 => {
                let (length, at, _) = Self::half_wave(&e, elapsed);
                length - at
            }
            _ if elapsed < n => n - elapsed,
            _ => (elapsed == n).then_some(1)?,
        };
        tick.checked_add(ahead)
    }

    /// Modes 2 and 3: the first reload after `tick`, and whether a low half starts there.
    fn next_reload(&self, tick: u64) -> Option<(u64, bool)> {
        let e = self.element?;
        if e.held.is_some() || !matches!(self.mode(), 2 | 3) {
            return None;
        }
        let n = u64::from(e.count);
        match Self::elapsed(&e, tick) {
            None => Some((e.loaded, e.starts_low)),
            Some(elapsed) if self.mode() == 2 || n < 2 => {
                Some((tick.checked_add(n - elapsed % n)?, false))
            }
            Some(elapsed) => {
                let (length, at, low) = Self::half_wave(&e, elapsed);
                Some((tick.checked_add(length - at)?, !low))
            }
        }
    }

    /// The counter as it is at `tick`: with the count that was waiting, if its turn has come.
    pub(super) fn settled(&self, tick: u64) -> Self {
        let mut counter = *self;
        let Some(written) = self.waiting else { return counter };
        let Some((reload, low)) = self.next_reload(written) else { return counter };
        if reload <= tick {
            counter.waiting = None;
            counter.element = self.element.map(|e| Element {
                count: self.count(),
                loaded: reload,
                starts_low: low && self.mode() == 3,
                ..e
            });
        }
        counter
    }

    /// The output pin at `tick`.
    pub(super) fn output(&self, tick: u64) -> bool {
        self.settled(tick).element_output(tick)
    }

    /// The first tick after `tick` at which the output has another level.
    pub(super) fn next_edge(&self, tick: u64) -> Option<u64> {
        let level = self.output(tick);
        let mut at = tick;
        // Load, reload and two halves of a wave are the points at which nothing need happen.
        for _ in 0..4 {
            at = self.settled(at).next_point(at)?;
            if self.output(at) != level {
                return Some(at);
            }
        }
        None
    }

    /// A control word: the mode starts anew and waits for a count.
    pub(super) fn set_mode(&mut self, tick: u64, control: u8) {
        let stopped_at = self.value(tick);
        *self = Self { control, stopped_at, ..Self::new(self.gate) };
        if self.access() == 2 {
            self.read_half = Half::High;
            self.write_half = Half::High;
        }
    }

    /// A write to the count register. The counter is settled.
    pub(super) fn write(&mut self, tick: u64, value: u8) {
        match (self.access(), self.write_half) {
            (3, Half::Low) => {
                self.write_low = value;
                self.write_half = Half::High;
                if self.mode() == 0 {
                    // "Writing the first byte disables counting, OUT is set low immediately."
                    self.stopped_at = self.value(tick);
                    self.element = None;
                }
                return;
            }
            (3, Half::High) => {
                self.write_half = Half::Low;
                self.register = u16::from_le_bytes([self.write_low, value]);
            }
            (2, _) => self.register = u16::from(value) << 8,
            _ => self.register = u16::from(value),
        }
        match self.mode() {
            0 | 4 => self.load(tick, (!self.gate).then_some(0)),
            2 | 3 if self.element.is_none() => self.load(tick, (!self.gate).then_some(0)),
            _ => self.waiting = Some(tick),
        }
    }

    /// The count register goes to the counting element with the next tick.
    fn load(&mut self, tick: u64, held: Option<u64>) {
        let output_before = self.mode() != 0 && self.element_output(tick);
        self.element = Some(Element {
            count: self.count(),
            loaded: tick.saturating_add(1),
            held,
            starts_low: false,
            value_before: self.value(tick),
            output_before,
        });
        self.waiting = None;
    }

    /// The gate pin. The counter is settled.
    pub(super) fn set_gate(&mut self, tick: u64, gate: bool) {
        if std::mem::replace(&mut self.gate, gate) == gate {
            return;
        }
        match (self.mode(), gate) {
            (1 | 5, true) if self.waiting.is_some() || self.element.is_some() => {
                self.load(tick, None);
            }
            (2 | 3, true) if self.element.is_some() => self.load(tick, None),
            (0 | 4, true) => {
                if let Some(e) = &mut self.element {
                    let held = e.held.take().unwrap_or(0);
                    e.loaded = e.loaded.max(tick.saturating_sub(held));
                }
            }
            (0 | 2 | 3 | 4, false) => {
                let mode = self.mode();
                if let Some(e) = &mut self.element {
                    let elapsed = Self::elapsed(e, tick).unwrap_or(0);
                    // A strobe that has begun ends all the same.
                    let strobe = mode == 4 && elapsed == u64::from(e.count);
                    e.held = Some(elapsed + u64::from(strobe));
                }
            }
            _ => {}
        }
    }

    /// The count is kept for the next reads, unless an earlier one still is.
    pub(super) fn latch_count(&mut self, tick: u64) {
        if self.count_latch.is_none() {
            self.count_latch = Some(self.value(tick));
        }
    }

    /// The status is kept for the next read, unless an earlier one still is.
    pub(super) fn latch_status(&mut self, tick: u64) {
        let counter = self.settled(tick);
        let null = counter.waiting.is_some() || counter.element.is_none_or(|e| tick < e.loaded);
        let output = counter.element_output(tick);
        let status = u8::from(output) << 7 | u8::from(null) << 6 | self.control;
        self.status_latch.get_or_insert(status);
    }

    /// A read of the counter's port.
    pub(super) fn read(&mut self, tick: u64) -> u8 {
        if let Some(status) = self.status_latch.take() {
            return status;
        }
        let [low, high] = self.count_latch.unwrap_or_else(|| self.value(tick)).to_le_bytes();
        let byte = if self.read_half == Half::Low { low } else { high };
        if self.access() == 3 {
            let was_high = self.read_half == Half::High;
            self.read_half = if was_high { Half::Low } else { Half::High };
            if was_high {
                self.count_latch = None;
            }
        } else {
            self.count_latch = None;
        }
        byte
    }
}

#[cfg(test)]
mod tests {
    use super::Counter;

    /// The next edge agrees with looking at the output on every tick, whatever was programmed.
    #[test]
    fn edges_are_where_the_output_changes() {
        let mut seed: u32 = 1;
        let mut random = |n: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % n
        };
        let mut edges = 0;
        for _ in 0..3000 {
            let mut counter = Counter::new(random(2) == 0);
            let mut tick = 1000;
            counter.set_mode(tick, 0x10);
            for _ in 0..12 {
                counter = counter.settled(tick);
                match random(4) {
                    0 => counter.set_mode(tick, 0x10 | (random(8) << 1) as u8),
                    1 => counter.set_gate(tick, random(2) == 0),
                    _ => counter.write(tick, 1 + random(7) as u8),
                }
                let end = tick + u64::from(random(20));
                while tick < end {
                    let level = counter.output(tick);
                    let found = (tick + 1..tick + 600).find(|at| counter.output(*at) != level);
                    assert_eq!(counter.next_edge(tick), found, "{counter:?} at {tick}");
                    edges += u32::from(found.is_some());
                    tick += 1;
                    // Settling earlier or later makes no difference.
                    let settled = counter.settled(tick);
                    assert_eq!(settled.output(tick + 5), counter.output(tick + 5));
                    assert_eq!(settled.value(tick + 5), counter.value(tick + 5));
                    if random(3) == 0 {
                        counter = settled;
                    }
                }
            }
        }
        assert!(edges > 10_000, "{edges} edges looked at");
    }
}
