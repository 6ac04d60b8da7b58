//! What a display shows: the seam between an adapter and those who look at it.

use std::fmt;

use trine_guest::VmTime;

use crate::Text;

/// An adapter with a monitor.
pub trait Display {
    /// Draws what has changed since it was drawn last, and says where, from the top.
    fn draw(&mut self, now: VmTime) -> Vec<Rect>;
    /// The picture as it was drawn last; at first it has no dots.
    fn picture(&self) -> &Picture;
    /// The text on the screen now, in a text mode.
    fn text(&self) -> Option<Text>;
}

/// What the monitor shows.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u32>,
}

impl Picture {
    /// A black one of `width` by `height` dots.
    #[must_use]
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![0; width * height] }
    }

    /// Dots of a line.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Lines.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// All dots, line by line from the top: red in bits 23 to 16, green in 15 to 8, blue in 7 to 0.
    #[must_use]
    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }

    /// The dots of line `y`.
    ///
    /// # Panics
    /// If there is no such line.
    #[must_use]
    pub fn line(&self, y: usize) -> &[u32] {
        &self.pixels[y * self.width..][..self.width]
    }

    /// Draws line `y` anew; says from which dot to which it was another.
    pub(crate) fn set_line(&mut self, y: usize, line: &[u32]) -> Option<std::ops::Range<usize>> {
        let old = &mut self.pixels[y * self.width..][..self.width];
        let differs = |(old, new): (&u32, &u32)| old != new;
        let first = old.iter().zip(line).position(differs)?;
        let last = old.iter().zip(line).rposition(differs)?;
        old[first..=last].copy_from_slice(&line[first..=last]);
        Some(first..last + 1)
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a picture of {} by {} dots", self.width, self.height)
    }
}

/// A part of a picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rect {
    /// The leftmost dot.
    pub x: usize,
    /// The uppermost line.
    pub y: usize,
    /// Dots.
    pub width: usize,
    /// Lines.
    pub height: usize,
}
