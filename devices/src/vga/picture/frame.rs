//! What a frame shows, taken from the registers: two equal frames over equal memory look alike.

use std::ops::Range;

use trine_guest::VmTime;

use super::{
    linear,
    scan::{PLANES, Scan, ScanLine},
};
use crate::vga::{
    State,
    registers::{Registers, atc, crtc},
    timing::Timing,
    vbe::Mode,
};

/// The size of the picture while the CRT controller does not run.
const IDLE: (usize, usize) = (720, 400);

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Frame {
    pub width: usize,
    pub height: usize,
    pub content: Content,
    /// What a color looks like.
    pub colors: Vec<u32>,
}

/// Where the dots come from.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Content {
    /// Nowhere: it is dark.
    Off,
    /// From the planes, by the CRT controller.
    Scanned(Scan),
    /// From a frame buffer.
    Linear(Mode),
}

impl Frame {
    pub(super) fn of(state: &State, now: VmTime) -> Self {
        let State { registers, dispi } = state;
        let is_on = registers.shows_memory();
        let dac_bits = dispi.dac_bits();
        if let Some(mode) = dispi.mode() {
            let (width, height) = (usize::from(mode.width), usize::from(mode.height));
            let colors = match mode.bits {
                8 => all_colors(registers, dac_bits),
                _ => sixteen_colors(registers, dac_bits, false),
            };
            let content = if is_on { Content::Linear(mode) } else { Content::Off };
            return Self { width, height, content, colors };
        }
        if registers.crtc[crtc::MODE_CONTROL] & crtc::RUNNING == 0 {
            let (width, height) = IDLE;
            return Self { width, height, content: Content::Off, colors: Vec::new() };
        }
        let beam = Timing::of(registers).beam(now);
        let scan = Scan::of(registers, beam.frame);
        let (width, height) = scan.size();
        // Attributes blink every 32 frames; in graphics modes, bit 3 of all colors does.
        let blinks = !scan.is_text() && registers.blinks() && beam.frame & 16 != 0;
        let colors = match scan.has_256_colors() {
            true => all_colors(registers, dac_bits),
            false => sixteen_colors(registers, dac_bits, blinks),
        };
        let content = if is_on { Content::Scanned(scan) } else { Content::Off };
        Self { width, height, content, colors }
    }

    /// The bytes of video memory that it is drawn from.
    pub(super) fn source(&self) -> Range<usize> {
        match &self.content {
            Content::Off => 0..0,
            Content::Scanned(_) => 0..PLANES,
            Content::Linear(mode) => {
                let last = self.height.saturating_sub(1);
                linear::source(mode, 0).start..linear::source(mode, last).end
            }
        }
    }
}

impl Content {
    /// The bytes of video memory that line `y` is drawn from.
    pub(super) fn source(&self, y: usize) -> Range<usize> {
        match self {
            Self::Off => 0..0,
            Self::Scanned(scan) => scan.source(y),
            Self::Linear(mode) => linear::source(mode, y),
        }
    }

    /// What the CRT controller makes of line `y`, if it does.
    pub(super) fn scan(&self, y: usize) -> Option<ScanLine> {
        match self {
            Self::Scanned(scan) => Some(scan.line(y)),
            _ => None,
        }
    }
}

/// What the DAC's colors look like.
fn all_colors(registers: &Registers, dac_bits: u8) -> Vec<u32> {
    (0..=255).map(|color| registers.dac.color(color, dac_bits)).collect()
}

/// What 16 colors look like that go through the attribute controller, with bit 3 turned round or not.
pub(super) fn sixteen_colors(registers: &Registers, dac_bits: u8, blinks: bool) -> Vec<u32> {
    let attribute = &registers.attribute;
    let select = attribute[atc::COLOR_SELECT];
    let selects_54 = attribute[atc::MODE_CONTROL] & atc::P54_SELECT != 0;
    let look = |color: u8| {
        let color = color & attribute[atc::PLANE_ENABLE] ^ u8::from(blinks) << 3;
        let palette = attribute[usize::from(color)];
        let low = if selects_54 { palette & 0x0f | (select & 3) << 4 } else { palette };
        registers.dac.color(low | (select & 0x0c) << 4, dac_bits)
    };
    (0..16).map(look).collect()
}
