//! The MC146818 real-time clock with 128 bytes of CMOS RAM.
//!
//! Sources: Motorola MC146818 datasheet (ADI1018); Intel 82371SB (PIIX3) datasheet, section 2.7,
//! for the upper bank and the NMI mask. The century byte at 32h is the PC's convention; here the
//! clock keeps it, as PCs since 1998 do.
//!
//! The board's crystal is 32.768 kHz: with any divider selection but 010 the chain stands still.
//! Nothing ticks: the chain's position follows from the time, and flags and calendar are brought
//! up to date when somebody looks. The DSE bit is state without effect (its rule, of the US before
//! 1987, is wrong everywhere).

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use crate::{Cx, Device, Line, LoadError, Ports, Saved, Timed};

mod calendar;

use calendar::{Calendar, Format};

/// Bytes of CMOS RAM, clock registers included.
const SIZE: usize = 128;
const REGISTER_A: u8 = 0x0a;
const REGISTER_B: u8 = 0x0b;
const REGISTER_C: u8 = 0x0c;
const REGISTER_D: u8 = 0x0d;

/// Register A: an update is near or under way.
const UIP: u8 = 1 << 7;
/// Register B: updates are inhibited.
const SET: u8 = 1 << 7;
/// Register B and C: periodic interrupt.
const PERIODIC: u8 = 1 << 6;
/// Register B and C: alarm interrupt.
const ALARM: u8 = 1 << 5;
/// Register B and C: update-ended interrupt.
const UPDATE_ENDED: u8 = 1 << 4;
/// Register B: square wave output (not connected on a PC).
const SQWE: u8 = 1 << 3;
/// Register C: the interrupt output.
const IRQF: u8 = 1 << 7;
/// Register D: the battery is good.
const VRT: u8 = 1 << 7;

/// Ticks of the crystal in a second.
const HZ: u64 = 32_768;
/// 64 ticks are this long, exactly.
const NS_OF_64_TICKS: u128 = 1_953_125;
/// UIP comes 244 µs before the update, which takes 1,984 µs: 73 ticks.
const UIP_TICKS: u64 = 73;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    /// The selected register, and in bit 7 the NMI mask.
    index: u8,
    /// Clock registers (raw, as the guest reads them) and RAM.
    cmos: Vec<u8>,
    /// When the divider chain was last started.
    started: VmTime,
    /// The chain's position at `started`, in ticks.
    start_tick: u64,
    /// The position up to which calendar and flags are right.
    done: u64,
}

/// The clock and CMOS RAM.
pub struct Mc146818 {
    irq: Line,
    state: State,
}

impl Mc146818 {
    /// Register: which byte [`Mc146818::DATA`] is, and the NMI mask in bit 7 (70h on a PC).
    pub const INDEX: u16 = 0;
    /// Register: the selected byte (71h on a PC).
    pub const DATA: u16 = 1;
    /// CMOS: the century, in the format of the clock.
    pub const CENTURY: u8 = 0x32;

    /// A clock that shows `unix_seconds` (UTC) at time 0, in BCD and 24 hours, and runs; all RAM
    /// is 0. Times outside the years 0 to 9999 are clamped.
    #[must_use]
    pub fn new(irq: Line, unix_seconds: i64) -> Self {
        let mut cmos = vec![0; SIZE];
        cmos[usize::from(REGISTER_A)] = 0x26;
        cmos[usize::from(REGISTER_B)] = 0x02;
        let format = Format::new(0x02);
        Calendar::from_unix(unix_seconds).store(&mut cmos, format);
        let state = State { index: 0, cmos, started: VmTime::ZERO, start_tick: 0, done: 0 };
        Self { irq, state }
    }

    /// Whether bit 7 of the index register keeps NMIs from the CPU.
    #[must_use]
    pub fn nmi_masked(&self) -> bool {
        self.state.index & 0x80 != 0
    }

    /// The byte at `index` (modulo 128) as it was last written or brought up to date.
    #[must_use]
    pub fn cmos(&self, index: u8) -> u8 {
        self.state.cmos[usize::from(index & 0x7f)]
    }

    /// Sets the byte at `index` (modulo 128) behind the guest's back: what firmware finds there.
    /// For RAM bytes: the registers 0 to 0Dh have their side effects only through the ports.
    pub fn set_cmos(&mut self, index: u8, value: u8) {
        self.state.cmos[usize::from(index & 0x7f)] = value;
    }

    /// Tells a firmware that starts now that the machine slept (the shutdown status byte, 0Fh).
    pub fn set_woken(&mut self) {
        self.state.cmos[0x0f] = 0xfe;
    }

    /// Fills in the bytes in which PC firmware expects the sizes of RAM: `below_4g` and `above_4g`
    /// in bytes (15h-18h, 30h, 31h, 34h, 35h, 5Bh-5Dh; all saturate).
    pub fn set_memory_sizes(&mut self, below_4g: u64, above_4g: u64) {
        let units = |bytes: u64, shift: u32, max: u64| (bytes >> shift).min(max);
        let extended = units(below_4g.saturating_sub(1 << 20), 10, 0xffff);
        let above_16m = units(below_4g.saturating_sub(16 << 20), 16, 0xffff);
        let high = units(above_4g, 16, 0xff_ffff);
        let base = units(below_4g, 10, 640);
        for (index, value, bytes) in [
            (0x15, base, 2),
            (0x17, extended, 2),
            (0x30, extended, 2),
            (0x34, above_16m, 2),
            (0x5b, high, 3),
        ] {
            for i in 0..bytes {
                self.set_cmos(index + i, (value >> (8 * i)) as u8);
            }
        }
    }

    /// Fills in the types of floppy drives A and B (10h: 1 is 360 KiB, 2 1.2 MiB, 4 1.44 MiB, 5
    /// 2.88 MiB, 0 none), and in the equipment byte (14h) how many there are, besides a VGA, a
    /// mouse and a floating-point unit.
    pub fn set_floppy_types(&mut self, [a, b]: [u8; 2]) {
        const VGA_MOUSE_AND_FPU: u8 = 0b110;
        let drives = u8::from(a != 0) + u8::from(b != 0);
        let floppies = if drives > 0 { 1 | (drives - 1) << 6 } else { 0 };
        self.set_cmos(0x10, a << 4 | b & 15);
        self.set_cmos(0x14, VGA_MOUSE_AND_FPU | floppies);
    }

    fn register(&self, index: u8) -> u8 {
        self.state.cmos[usize::from(index)]
    }

    fn running(&self) -> bool {
        self.register(REGISTER_A) & 0x70 == 0x20
    }

    /// The chain's position at `now`.
    fn tick(&self, now: VmTime) -> u64 {
        if !self.running() {
            return self.state.done;
        }
        let ns = u128::from(now.since(self.state.started));
        self.state.start_tick.saturating_add((ns * 64 / NS_OF_64_TICKS) as u64)
    }

    /// The first time at which the running chain is at `tick`.
    fn time_of(&self, tick: u64) -> VmTime {
        let ticks = u128::from(tick.saturating_sub(self.state.start_tick));
        let ns = (ticks * NS_OF_64_TICKS).div_ceil(64);
        self.state.started.after_ns(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// Ticks between two periodic interrupts.
    fn period(&self) -> Option<u64> {
        match self.register(REGISTER_A) & 0x0f {
            0 => None,
            rate @ (1 | 2) => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    fn format(&self) -> Format {
        Format::new(self.register(REGISTER_B))
    }

    /// Brings calendar, flags and the interrupt line up to `now`.
    fn catch_up(&mut self, now: VmTime) {
        let tick = self.tick(now);
        let done = std::mem::replace(&mut self.state.done, tick);
        let mut flags = 0;
        if self.period().is_some_and(|p| tick / p > done / p) {
            flags |= PERIODIC;
        }
        let seconds = (tick / HZ).saturating_sub(done / HZ);
        if seconds > 0 && self.register(REGISTER_B) & SET == 0 {
            flags |= UPDATE_ENDED;
            let format = self.format();
            let mut calendar = Calendar::load(&self.state.cmos, format);
            let alarm = calendar.seconds_to_alarm(&self.state.cmos, format);
            if alarm.is_some_and(|ahead| ahead <= seconds) {
                flags |= ALARM;
            }
            calendar.add_seconds(seconds);
            calendar.store(&mut self.state.cmos, format);
        }
        self.state.cmos[usize::from(REGISTER_C)] |= flags;
        self.drive();
    }

    /// Whether an enabled flag is set.
    fn requests(&self) -> bool {
        let enabled = PERIODIC | ALARM | UPDATE_ENDED;
        self.register(REGISTER_B) & self.register(REGISTER_C) & enabled != 0
    }

    fn drive(&mut self) {
        let requests = self.requests();
        let c = &mut self.state.cmos[usize::from(REGISTER_C)];
        *c = (*c & !IRQF) | if requests { IRQF } else { 0 };
        self.irq.set(requests);
    }

    fn read(&mut self) -> u8 {
        let index = self.state.index & 0x7f;
        match index {
            REGISTER_A => {
                let inhibited = !self.running() || self.register(REGISTER_B) & SET != 0;
                let near = self.state.done % HZ >= HZ - UIP_TICKS;
                self.register(REGISTER_A) | if near && !inhibited { UIP } else { 0 }
            }
            REGISTER_C => {
                let flags = std::mem::take(&mut self.state.cmos[usize::from(REGISTER_C)]);
                self.drive();
                flags
            }
            REGISTER_D => VRT,
            _ => self.register(index),
        }
    }

    fn write(&mut self, now: VmTime, value: u8) {
        let index = self.state.index & 0x7f;
        match index {
            REGISTER_A => {
                let was_running = self.running();
                self.state.cmos[usize::from(REGISTER_A)] = value & !UIP;
                if self.running() && !was_running {
                    // "The first update cycle begins one-half second later."
                    self.state.started = now;
                    self.state.start_tick = HZ / 2;
                    self.state.done = HZ / 2;
                }
            }
            REGISTER_B => {
                // "UIE is cleared when the SET bit goes high."
                let uie = if value & SET != 0 { UPDATE_ENDED } else { 0 };
                self.state.cmos[usize::from(REGISTER_B)] = value & !uie;
            }
            REGISTER_C | REGISTER_D => {}
            _ => self.state.cmos[usize::from(index)] = value,
        }
        self.drive();
    }
}

impl Device for Mc146818 {
    fn name(&self) -> &'static str {
        "mc146818"
    }

    /// The RESET pin leaves the time, the divider and the RAM as they are.
    fn reset(&mut self, cx: &mut Cx<'_>) {
        self.catch_up(cx.now);
        self.state.index = 0;
        self.state.cmos[usize::from(REGISTER_B)] &= !(PERIODIC | ALARM | UPDATE_ENDED | SQWE);
        self.state.cmos[usize::from(REGISTER_C)] = 0;
        self.drive();
    }

    fn save(&self) -> Saved {
        Saved::pack(self.name(), &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(self.name())?;
        if state.cmos.len() != SIZE {
            let reason = format!("{} bytes of CMOS RAM, not {SIZE}", state.cmos.len());
            return Err(LoadError::Damaged { device: self.name(), reason });
        }
        self.state = state;
        self.irq.restore(self.requests());
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        Some(self)
    }
}

impl Ports for Mc146818 {
    fn port_in(&mut self, cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        self.catch_up(cx.now);
        for (reg, byte) in (reg..=Self::DATA).zip(data) {
            // The index register is write-only: it reads as a floating bus.
            if reg == Self::DATA {
                *byte = self.read();
            }
        }
    }

    fn port_out(&mut self, cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        self.catch_up(cx.now);
        for (reg, byte) in (reg..=Self::DATA).zip(data) {
            match reg {
                Self::INDEX => self.state.index = *byte,
                _ => self.write(cx.now, *byte),
            }
        }
    }
}

impl Timed for Mc146818 {
    fn next_event(&self) -> Option<VmTime> {
        if self.requests() || !self.running() {
            // The line is high until register C is read: nothing more can be seen.
            return None;
        }
        let enabled = self.register(REGISTER_B);
        let done = self.state.done;
        let next = |unit: u64, units: u64| (done / unit).checked_add(units)?.checked_mul(unit);
        let periodic = self.period().filter(|_| enabled & PERIODIC != 0);
        let updates = enabled & SET == 0;
        let ended = updates && enabled & UPDATE_ENDED != 0;
        let alarm = if updates && enabled & ALARM != 0 {
            let format = self.format();
            Calendar::load(&self.state.cmos, format).seconds_to_alarm(&self.state.cmos, format)
        } else {
            None
        };
        let ticks = [
            periodic.and_then(|p| next(p, 1)),
            if ended { next(HZ, 1) } else { None },
            alarm.and_then(|seconds| next(HZ, seconds)),
        ];
        ticks.into_iter().flatten().min().map(|tick| self.time_of(tick))
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        self.catch_up(cx.now);
    }
}

#[cfg(test)]
mod tests;
