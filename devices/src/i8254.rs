//! The 8254 interval timer, and port 61h, which gates and observes its counter 2.
//!
//! Sources: Intel 8254 datasheet (order 231164); Intel 82371SB (PIIX3) datasheet, section 2.6.2,
//! for port 61h (NMI status and control).
//!
//! Nothing ticks: a counter remembers at which tick it was loaded with what, and its output and
//! its count at any tick follow. A value written between two ticks takes effect at the later one.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use crate::{Cx, Device, Line, LoadError, Ports, Saved, Timed};

mod counter;

use counter::Counter;

/// The clock is 105/88 MHz (a third of the colour burst), so 21 ticks are 17,600 ns exactly.
const TICKS: u128 = 21;
const TICKS_NS: u128 = 17_600;

/// Port 61h: gate of counter 2.
const GATE2: u8 = 1 << 0;
/// Port 61h: counter 2 drives the speaker.
const SPEAKER: u8 = 1 << 1;
/// Port 61h: the bits that keep what is written (with the two NMI enables, which enable nothing).
const PORT61_WRITABLE: u8 = 0x0f;
/// Port 61h: toggles with each refresh of the RAM.
const REFRESH: u8 = 1 << 4;
/// Port 61h: the output of counter 2.
const OUT2: u8 = 1 << 5;
/// RAM is refreshed every 18 ticks, whatever counter 1 does (it has driven no RAM for decades).
const REFRESH_TICKS: u64 = 18;

/// Whole ticks since power-on.
fn ticks(now: VmTime) -> u64 {
    (u128::from(now.ns()) * TICKS / TICKS_NS) as u64
}

/// The first time at which [`ticks`] is `tick`.
fn time_of(tick: u64) -> VmTime {
    VmTime(u64::try_from((u128::from(tick) * TICKS_NS).div_ceil(TICKS)).unwrap_or(u64::MAX))
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    counters: [Counter; 3],
    /// The writable bits of port 61h.
    port61: u8,
    /// The tick up to which the output pin was driven.
    driven: u64,
}

impl State {
    fn new(tick: u64) -> Self {
        let counters = [Counter::new(true), Counter::new(true), Counter::new(false)];
        Self { counters, port61: 0, driven: tick }
    }
}

/// The three counters; counter 0 drives a line, counter 2 the speaker.
pub struct I8254 {
    out0: Line,
    state: State,
}

impl I8254 {
    /// Register: the count of counter 0 (40h on a PC).
    pub const COUNTER_0: u16 = 0;
    /// Register: the count of counter 1 (41h on a PC).
    pub const COUNTER_1: u16 = 1;
    /// Register: the count of counter 2 (42h on a PC).
    pub const COUNTER_2: u16 = 2;
    /// Register: the control word (43h on a PC); reads as a floating bus.
    pub const CONTROL: u16 = 3;
    /// Register: port 61h. Bit 0 gate 2, bit 1 speaker, bit 4 refresh, bit 5 output 2.
    pub const PORT_61: u16 = 4;

    /// Counters without a mode, their outputs low; `out0` is the output of counter 0.
    #[must_use]
    pub fn new(out0: Line) -> Self {
        Self { out0, state: State::new(0) }
    }

    /// The tone of the speaker in hertz, if it sounds.
    #[must_use]
    pub fn speaker_hz(&self) -> Option<u32> {
        let on = self.state.port61 & (GATE2 | SPEAKER) == GATE2 | SPEAKER;
        let period = self.state.counters[2].period().filter(|_| on)?;
        Some((1_193_182 + period / 2) / period)
    }

    /// Drives the output pin through what happened up to `tick`: the first two edges one by one,
    /// all others (there are some only if nobody woke the chip for long) as one step.
    fn drive(&mut self, tick: u64) {
        let counter = &self.state.counters[0];
        let mut at = self.state.driven;
        for _ in 0..2 {
            match counter.next_edge(at) {
                Some(edge) if edge <= tick => at = edge,
                _ => break,
            }
            self.out0.set(counter.output(at));
        }
        self.out0.set(counter.output(tick));
        self.state.driven = self.state.driven.max(tick);
    }

    /// Programs counter `index` at `tick`.
    fn program(&mut self, index: usize, tick: u64, f: impl FnOnce(&mut Counter)) {
        self.drive(tick);
        let counter = &mut self.state.counters[index];
        *counter = counter.settled(tick);
        f(counter);
        self.out0.set(self.state.counters[0].output(tick));
    }

    fn read(&mut self, reg: u16, tick: u64) -> u8 {
        match reg {
            Self::COUNTER_0 | Self::COUNTER_1 | Self::COUNTER_2 => {
                self.state.counters[usize::from(reg)].read(tick)
            }
            Self::PORT_61 => {
                let refresh = !(tick / REFRESH_TICKS).is_multiple_of(2);
                let out2 = self.state.counters[2].output(tick);
                self.state.port61 | if refresh { REFRESH } else { 0 } | if out2 { OUT2 } else { 0 }
            }
            _ => 0xff,
        }
    }

    fn write(&mut self, reg: u16, tick: u64, value: u8) {
        match reg {
            Self::COUNTER_0 | Self::COUNTER_1 | Self::COUNTER_2 => {
                self.program(usize::from(reg), tick, |c| c.write(tick, value));
            }
            Self::CONTROL => self.control(tick, value),
            Self::PORT_61 => {
                self.state.port61 = value & PORT61_WRITABLE;
                self.program(2, tick, |c| c.set_gate(tick, value & GATE2 != 0));
            }
            _ => {}
        }
    }

    fn control(&mut self, tick: u64, value: u8) {
        let index = usize::from(value >> 6);
        if index < 3 {
            if value & 0x30 == 0 {
                self.state.counters[index].latch_count(tick);
            } else {
                self.program(index, tick, |c| c.set_mode(tick, value & 0x3f));
            }
            return;
        }
        // Read-back: the bits for count and status are active low.
        for (index, counter) in self.state.counters.iter_mut().enumerate() {
            if value & (2 << index) != 0 {
                if value & 0x20 == 0 {
                    counter.latch_count(tick);
                }
                if value & 0x10 == 0 {
                    counter.latch_status(tick);
                }
            }
        }
    }
}

/// The last register next to `reg`: a wide access does not leave its block.
fn last_of_block(reg: u16) -> u16 {
    if reg <= I8254::CONTROL { I8254::CONTROL } else { reg }
}

impl Device for I8254 {
    fn name(&self) -> &'static str {
        "i8254"
    }

    fn reset(&mut self, cx: &mut Cx<'_>) {
        self.state = State::new(ticks(cx.now));
        self.out0.set(false);
    }

    fn save(&self) -> Saved {
        Saved::pack(self.name(), &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(self.name())?;
        if state.port61 & !PORT61_WRITABLE != 0 || !state.counters.iter().all(Counter::is_valid) {
            let reason = "a counter is out of range".to_owned();
            return Err(LoadError::Damaged { device: self.name(), reason });
        }
        self.out0.restore(state.counters[0].output(state.driven));
        self.state = state;
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        Some(self)
    }
}

impl Ports for I8254 {
    fn port_in(&mut self, cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        for (reg, byte) in (reg..=last_of_block(reg)).zip(data) {
            *byte = self.read(reg, ticks(cx.now));
        }
    }

    fn port_out(&mut self, cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        for (reg, byte) in (reg..=last_of_block(reg)).zip(data) {
            self.write(reg, ticks(cx.now), *byte);
        }
    }
}

impl Timed for I8254 {
    fn next_event(&self) -> Option<VmTime> {
        self.state.counters[0].next_edge(self.state.driven).map(time_of)
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        self.drive(ticks(cx.now));
    }
}

#[cfg(test)]
mod tests;
