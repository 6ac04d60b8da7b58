//! Where the beam is: a pure function of the CRT controller's registers and of time.
//!
//! Source: IBM VGA/XGA Technical Reference, section 2, "CRT controller registers"; FreeVGA,
//! "VGA display generation". The beam started at the upper left corner when the machine was powered
//! on, and has moved ever since as the registers are now.

use trine_guest::VmTime;

use super::registers::{Registers, crtc, seq};

/// The two crystals of a VGA. What else the clock select bits may choose is on no VGA.
const CLOCKS_HZ: [u64; 2] = [25_175_000, 28_322_000];
/// Input status 1: the beam is outside the picture.
const STATUS_1_BLANK: u8 = 1 << 0;
const STATUS_1_VERTICAL_RETRACE: u8 = 1 << 3;

/// The periods of the two deflections. Lines are counted from the first one shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timing {
    dots_hz: u64,
    line_dots: u64,
    frame_lines: u64,
    shown_dots: u64,
    shown_lines: u64,
    retrace_line: u64,
    retrace_lines: u64,
}

/// Where the beam is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Beam {
    /// Frames since power-on.
    pub frame: u64,
    line: u64,
    dot: u64,
}

/// A value of the vertical counter: 8 bits of their own and two in the overflow register.
fn vertical(registers: &Registers, low: usize, bit_8: u8, bit_9: u8) -> u64 {
    let overflow = registers.crtc[crtc::OVERFLOW];
    u64::from(registers.crtc[low])
        | u64::from(overflow >> bit_8 & 1) << 8
        | u64::from(overflow >> bit_9 & 1) << 9
}

/// Dots of a character.
pub(super) fn character_dots(registers: &Registers) -> u32 {
    if registers.sequencer[seq::CLOCKING] & seq::EIGHT_DOTS != 0 { 8 } else { 9 }
}

/// Lines that are shown.
pub(super) fn shown_lines(registers: &Registers) -> u32 {
    let half = registers.crtc[crtc::MODE_CONTROL] & crtc::HALF_LINES != 0;
    ((vertical(registers, crtc::VERTICAL_DISPLAY_END, 1, 6) + 1) << u8::from(half)) as u32
}

impl Timing {
    pub(super) fn of(registers: &Registers) -> Self {
        let crtc = &registers.crtc;
        let dots = u64::from(character_dots(registers));
        let clocks_hz = CLOCKS_HZ[usize::from(registers.misc >> 2 & 1)];
        let half_clock = registers.sequencer[seq::CLOCKING] & seq::HALF_CLOCK != 0;
        let half_lines = u8::from(crtc[crtc::MODE_CONTROL] & crtc::HALF_LINES != 0);
        let retrace_start = vertical(registers, crtc::RETRACE_START, 2, 7);
        // Retrace ends when four bits of the counter are these: after 1 to 16 counts.
        let end = u64::from(crtc[crtc::RETRACE_END]);
        let retrace = (end.wrapping_sub(retrace_start + 1) & 15) + 1;
        Self {
            dots_hz: clocks_hz >> u8::from(half_clock),
            line_dots: (u64::from(crtc[crtc::HORIZONTAL_TOTAL]) + 5) * dots,
            frame_lines: (vertical(registers, crtc::VERTICAL_TOTAL, 0, 5) + 2) << half_lines,
            shown_dots: (u64::from(crtc[crtc::HORIZONTAL_DISPLAY_END]) + 1) * dots,
            shown_lines: u64::from(shown_lines(registers)),
            retrace_line: retrace_start << half_lines,
            retrace_lines: retrace << half_lines,
        }
    }

    pub(super) fn beam(&self, now: VmTime) -> Beam {
        let dots = now.ticks(self.dots_hz);
        let lines = dots / self.line_dots;
        Beam {
            frame: lines / self.frame_lines,
            line: lines % self.frame_lines,
            dot: dots % self.line_dots,
        }
    }

    /// Input status 1.
    pub(super) fn status_1(&self, now: VmTime) -> u8 {
        let beam = self.beam(now);
        let is_blank = beam.line >= self.shown_lines || beam.dot >= self.shown_dots;
        let retrace = self.retrace_line..self.retrace_line + self.retrace_lines;
        let retraces = retrace.contains(&beam.line);
        u8::from(is_blank) * STATUS_1_BLANK | u8::from(retraces) * STATUS_1_VERTICAL_RETRACE
    }
}
