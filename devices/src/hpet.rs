//! The high precision event timer: a 64-bit counter and three comparators.
//!
//! Source: IA-PC HPET specification 1.0a (October 2004), section 2. The counter runs at 100 MHz:
//! the specification asks for at least 10 MHz, and a tick of 10 ns is a whole number of
//! nanoseconds of [`VmTime`], so that neither a conversion here nor one in the guest ever rounds.
//! Timer 0 can be periodic; all three are 64 bits wide; no timer sends messages (FSB).
//!
//! A comparator matches when the counter reaches it. One that is set to the counter's present
//! value or to one before it matches when the counter comes round again, as the hardware's does.
//! Matches that lie between two calls are one edge.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use crate::{Cx, Device, Line, LoadError, Mmio, Saved, Timed};

const NAME: &str = "hpet";
/// The counter's ticks per second.
const HZ: u64 = 100_000_000;
const TICK_NS: u64 = 1_000_000_000 / HZ;
const TIMERS: usize = 3;

/// Revision 1, three timers, a 64-bit counter, legacy replacement, vendor 8086h, 10^7 fs a tick.
const CAPABILITIES: u64 = 0x01
    | (TIMERS as u64 - 1) << 8
    | 1 << 13
    | 1 << 15
    | 0x8086 << 16
    | (1_000_000_000_000_000 / HZ) << 32;

// General configuration (section 2.3.5).
const ENABLE: u64 = 1 << 0;
const LEGACY: u64 = 1 << 1;

// Timer configuration and capabilities (section 2.3.8).
const LEVEL: u64 = 1 << 1;
const INTERRUPT: u64 = 1 << 2;
const PERIODIC: u64 = 1 << 3;
const PERIODIC_CAPABLE: u64 = 1 << 4;
const WIDE_CAPABLE: u64 = 1 << 5;
const SET_VALUE: u64 = 1 << 6;
const NARROW: u64 = 1 << 8;
const ROUTE: u64 = 0x1f << 9;

/// A high precision event timer, with a [`Mmio`] window of 1 KiB.
pub struct Hpet {
    routes: [Option<Line>; 32],
    legacy: [Line; 2],
    state: State,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    config: u64,
    /// The interrupts that level-triggered timers hold, one bit each.
    status: u32,
    /// The counter while it stands; while it runs, the counter less the ticks since power-on.
    offset: u64,
    /// The counter up to which matches have been served.
    seen: u64,
    timers: [Timer; TIMERS],
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Timer {
    /// The writable bits of the configuration register.
    config: u64,
    comparator: u64,
    /// What a periodic timer adds to the comparator at each match.
    period: u64,
}

impl Timer {
    fn mask(&self) -> u64 {
        if self.config & NARROW != 0 { 0xffff_ffff } else { u64::MAX }
    }

    /// How many ticks after the counter was `seen` it matches; `None`: after 2^64.
    fn distance(&self, seen: u64) -> Option<u64> {
        match self.comparator.wrapping_sub(seen) & self.mask() {
            0 => self.mask().checked_add(1),
            ticks => Some(ticks),
        }
    }

    /// The counter goes from `seen` on by `ticks`. Returns whether it met the comparator.
    fn pass(&mut self, seen: u64, ticks: u64) -> bool {
        let Some(rest) = self.distance(seen).and_then(|first| ticks.checked_sub(first)) else {
            return false;
        };
        if self.config & PERIODIC != 0 && self.period != 0 {
            let matches = (rest / self.period).wrapping_add(1);
            let sum = self.comparator.wrapping_add(self.period.wrapping_mul(matches));
            self.comparator = sum & self.mask();
        }
        true
    }

    fn set_config(&mut self, value: u64, periodic: bool, routes: u32) {
        let mut writable = LEVEL | INTERRUPT | NARROW;
        if periodic {
            writable |= PERIODIC | SET_VALUE;
        }
        // A route that does not exist is not taken; that is how software finds out.
        if routes & 1 << ((value & ROUTE) >> 9) != 0 {
            writable |= ROUTE;
        }
        self.config = self.config & !writable | value & writable;
        self.comparator &= self.mask();
        self.period &= self.mask();
    }

    /// Writes the bits `lanes` of the comparator register.
    fn set_comparator(&mut self, value: u64, lanes: u64) {
        let merge = |old: u64| (old & !lanes | value & lanes) & self.mask();
        let (comparator, period) = (merge(self.comparator), merge(self.period));
        if self.config & PERIODIC == 0 || self.config & SET_VALUE != 0 {
            self.comparator = comparator;
        }
        if self.config & PERIODIC != 0 {
            self.period = period;
        }
        self.config &= !SET_VALUE;
    }
}

impl State {
    const POWER_ON: Self = Self {
        config: 0,
        status: 0,
        offset: 0,
        seen: 0,
        timers: [Timer { config: 0, comparator: u64::MAX, period: 0 }; TIMERS],
    };

    fn running(&self) -> bool {
        self.config & ENABLE != 0
    }

    fn counter(&self, now: VmTime) -> u64 {
        if self.running() { self.offset.wrapping_add(now.ticks(HZ)) } else { self.offset }
    }

    fn set_counter(&mut self, now: VmTime, value: u64) {
        let ticks = if self.running() { now.ticks(HZ) } else { 0 };
        self.offset = value.wrapping_sub(ticks);
        self.seen = value;
    }

    /// Whether the timers 0 and 1 take the places of the PIT and the RTC.
    fn legacy(&self) -> bool {
        self.config & (ENABLE | LEGACY) == ENABLE | LEGACY
    }

    /// When timer `n` next does something that shows outside.
    fn next_event(&self, n: usize) -> Option<VmTime> {
        let timer = &self.timers[n];
        let held = timer.config & LEVEL != 0 && self.status & 1 << n != 0;
        if !self.running() || timer.config & INTERRUPT == 0 || held {
            return None;
        }
        let ticks = self.seen.wrapping_sub(self.offset);
        ticks.checked_add(timer.distance(self.seen)?)?.checked_mul(TICK_NS).map(VmTime)
    }

    fn check(&self, routes: u32) -> Result<(), String> {
        if self.config & !(ENABLE | LEGACY) != 0 || self.status >> TIMERS != 0 {
            return Err(format!("configuration {:#x}, status {:#x}", self.config, self.status));
        }
        for (n, timer) in self.timers.iter().enumerate() {
            let mut copy = Timer::default();
            copy.set_config(timer.config, n == 0, routes);
            let wide = (timer.comparator | timer.period) & !timer.mask() != 0;
            if copy.config != timer.config || wide {
                return Err(format!("timer {n} cannot be {timer:x?}"));
            }
        }
        Ok(())
    }
}

impl Hpet {
    /// The low half of General Capabilities and ID, as ACPI's HPET table repeats it.
    pub const BLOCK_ID: u32 = CAPABILITIES as u32;

    /// An HPET that was just powered on. `routes` are its lines to the I/O APIC, by the number
    /// that a timer's route field has for them; it offers those that are `Some` to every timer.
    /// `legacy` are the lines to IRQ 0 and IRQ 8 in legacy replacement mode.
    ///
    /// A line that is shared by several timers is asserted when one of them asserts it.
    #[must_use]
    pub fn new(routes: [Option<Line>; 32], legacy: [Line; 2]) -> Self {
        Self { routes, legacy, state: State::POWER_ON }
    }

    /// Whether legacy replacement is on: the board then keeps the interrupts of the PIT and the
    /// RTC from IRQ 0 and IRQ 8. Changes only in a write to the registers or a reset.
    #[must_use]
    pub fn legacy_routing(&self) -> bool {
        self.state.legacy()
    }

    fn route_mask(&self) -> u32 {
        (0..32).filter(|n| self.routes[*n].is_some()).fold(0, |mask, n| mask | 1 << n)
    }

    /// The line that timer `n` drives.
    fn line(&mut self, n: usize) -> Option<&mut Line> {
        if self.state.legacy() && n < 2 {
            return Some(&mut self.legacy[n]);
        }
        let route = (self.state.timers[n].config & ROUTE) >> 9;
        self.routes[route as usize].as_mut()
    }

    /// Serves all matches up to now.
    fn catch_up(&mut self, now: VmTime) {
        let counter = self.state.counter(now);
        let seen = std::mem::replace(&mut self.state.seen, counter);
        let ticks = counter.wrapping_sub(seen);
        for n in 0..TIMERS {
            let timer = &mut self.state.timers[n];
            if !timer.pass(seen, ticks) {
                continue;
            }
            if timer.config & LEVEL != 0 {
                self.state.status |= 1 << n;
            } else if timer.config & INTERRUPT != 0
                && let Some(line) = self.line(n)
                && !line.level()
            {
                line.pulse();
            }
        }
        self.drive(Line::set);
    }

    /// Brings all lines to the level that the state implies. A halted HPET asserts none, but keeps
    /// its status (section 2.3.5).
    fn drive(&mut self, set: fn(&mut Line, bool)) {
        let (mut routes, mut legacy) = (0u32, [false; 2]);
        for (n, timer) in self.state.timers.iter().enumerate() {
            let asked = timer.config & (LEVEL | INTERRUPT) == LEVEL | INTERRUPT;
            if !asked || !self.state.running() || self.state.status & 1 << n == 0 {
                continue;
            }
            if self.state.legacy() && n < 2 {
                legacy[n] = true;
            } else {
                routes |= 1 << ((timer.config & ROUTE) >> 9);
            }
        }
        for (n, line) in self.routes.iter_mut().enumerate() {
            if let Some(line) = line {
                set(line, routes & 1 << n != 0);
            }
        }
        for (line, level) in self.legacy.iter_mut().zip(legacy) {
            set(line, level);
        }
    }

    /// The 64-bit register at `offset`.
    fn register(&self, now: VmTime, offset: u64) -> u64 {
        match offset {
            0x000 => CAPABILITIES,
            0x010 => self.state.config,
            0x020 => u64::from(self.state.status),
            0x0f0 => self.state.counter(now),
            _ => match timer_register(offset) {
                Some((n, 0x00)) => {
                    let periodic = if n == 0 { PERIODIC_CAPABLE } else { 0 };
                    self.state.timers[n].config & !SET_VALUE
                        | WIDE_CAPABLE
                        | periodic
                        | u64::from(self.route_mask()) << 32
                }
                Some((n, 0x08)) => self.state.timers[n].comparator,
                _ => 0,
            },
        }
    }

    /// Writes the bits `lanes` of the 64-bit register at `offset`.
    fn set_register(&mut self, now: VmTime, offset: u64, value: u64, lanes: u64) {
        let routes = self.route_mask();
        let state = &mut self.state;
        match offset {
            0x010 => {
                let counter = state.counter(now);
                let writable = (ENABLE | LEGACY) & lanes;
                state.config = state.config & !writable | value & writable;
                // The counter stops or starts where it is.
                state.set_counter(now, counter);
            }
            0x020 => state.status &= !((value & lanes) as u32),
            0x0f0 => {
                let old = state.counter(now);
                state.set_counter(now, old & !lanes | value & lanes);
            }
            _ => match timer_register(offset) {
                Some((n, 0x00)) => {
                    let timer = &mut state.timers[n];
                    timer.set_config(timer.config & !lanes | value & lanes, n == 0, routes);
                    // The status of an edge-triggered timer is always 0.
                    if timer.config & LEVEL == 0 {
                        state.status &= !(1 << n);
                    }
                }
                Some((n, 0x08)) => state.timers[n].set_comparator(value, lanes),
                _ => {}
            },
        }
    }
}

/// The timer that has a register at `offset`, and the register's offset within the timer's.
fn timer_register(offset: u64) -> Option<(usize, u64)> {
    let within = offset.checked_sub(0x100)?;
    let n = usize::try_from(within / 0x20).ok()?;
    (n < TIMERS).then_some((n, within % 0x20))
}

impl Device for Hpet {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.state = State::POWER_ON;
        self.drive(Line::set);
    }

    fn save(&self) -> Saved {
        Saved::pack(NAME, &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(NAME)?;
        state
            .check(self.route_mask())
            .map_err(|reason| LoadError::Damaged { device: NAME, reason })?;
        self.state = state;
        self.drive(Line::restore);
        Ok(())
    }

    fn as_mmio(&mut self) -> Option<&mut dyn Mmio> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        Some(self)
    }
}

impl Mmio for Hpet {
    fn mmio_read(&mut self, cx: &mut Cx<'_>, offset: u64, data: &mut [u8]) {
        self.catch_up(cx.now);
        for (at, byte) in (offset..).zip(data) {
            *byte = self.register(cx.now, at & !7).to_le_bytes()[(at & 7) as usize];
        }
    }

    /// Only 32-bit and 64-bit stores at their natural alignment are defined (section 2.3.2).
    fn mmio_write(&mut self, cx: &mut Cx<'_>, offset: u64, data: &[u8]) {
        self.catch_up(cx.now);
        let (value, lanes) = if let Ok(bytes) = <[u8; 8]>::try_from(data) {
            (u64::from_le_bytes(bytes), u64::MAX)
        } else if let Ok(bytes) = <[u8; 4]>::try_from(data) {
            let shift = (offset & 4) * 8;
            (u64::from(u32::from_le_bytes(bytes)) << shift, 0xffff_ffff << shift)
        } else {
            return;
        };
        if offset.is_multiple_of(data.len() as u64) {
            self.set_register(cx.now, offset & !7, value, lanes);
            self.drive(Line::set);
        }
    }
}

impl Timed for Hpet {
    fn next_event(&self) -> Option<VmTime> {
        (0..TIMERS).filter_map(|n| self.state.next_event(n)).min()
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        self.catch_up(cx.now);
    }
}

#[cfg(test)]
mod tests;
