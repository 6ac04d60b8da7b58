//! A seat for tests: a picture that the test paints, a text that it writes, and a keyboard and a mouse
//! that remember what came.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use trine_devices::{Cell, Display, Key, Picture, Rect, Text};
use trine_guest::VmTime;

use super::Seat;

/// What came from the mouse: right, down, wheel, buttons.
pub(crate) type Motion = (i32, i32, i32, u8);

#[derive(Default)]
struct Adapter {
    size: (usize, usize),
    pixels: Vec<u32>,
    picture: Picture,
    text: Option<Text>,
    draws: usize,
}

/// The seat.
pub(crate) struct FakeSeat {
    start: Instant,
    adapter: Mutex<Adapter>,
    keys: Mutex<Keys>,
    motions: Mutex<Vec<Motion>>,
    leds: Mutex<u8>,
}

#[derive(Default)]
struct Keys {
    strokes: Vec<(VmTime, (Key, bool))>,
    /// How many keys are refused before one is taken, and how many still are.
    refuses: usize,
    refused: usize,
    stopped: Option<VmTime>,
}

impl FakeSeat {
    pub(crate) fn new(width: usize, height: usize) -> Arc<Self> {
        let seat = Self {
            start: Instant::now(),
            adapter: Mutex::default(),
            keys: Mutex::default(),
            motions: Mutex::default(),
            leds: Mutex::default(),
        };
        seat.resize(width, height);
        Arc::new(seat)
    }

    fn adapter(&self) -> MutexGuard<'_, Adapter> {
        self.adapter.lock().expect("no panic")
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().expect("no panic")
    }

    pub(crate) fn resize(&self, width: usize, height: usize) {
        let mut adapter = self.adapter();
        adapter.size = (width, height);
        adapter.pixels = vec![0; width * height];
    }

    pub(crate) fn paint(&self, rect: Rect, color: u32) {
        self.paint_with(rect, |_, _| color);
    }

    pub(crate) fn paint_with(&self, rect: Rect, color: impl Fn(usize, usize) -> u32) {
        let mut adapter = self.adapter();
        let width = adapter.size.0;
        for y in rect.y..rect.y + rect.height {
            for x in rect.x..rect.x + rect.width {
                adapter.pixels[y * width + x] = color(x, y);
            }
        }
    }

    pub(crate) fn pixels(&self) -> Vec<u32> {
        self.adapter().pixels.clone()
    }

    /// How often the picture was drawn.
    pub(crate) fn draws(&self) -> usize {
        self.adapter().draws
    }

    pub(crate) fn write(&self, text: Option<Text>) {
        self.adapter().text = text;
    }

    /// From now on only one key of `n + 1` is taken.
    pub(crate) fn refuse_keys(&self, n: usize) {
        let mut keys = self.keys();
        (keys.refuses, keys.refused) = (n, n);
    }

    pub(crate) fn stop_time(&self) {
        let now = self.now();
        self.keys().stopped = Some(now);
    }

    pub(crate) fn strokes(&self) -> Vec<(Key, bool)> {
        self.keys().strokes.iter().map(|(_, stroke)| *stroke).collect()
    }

    pub(crate) fn stroke_times(&self) -> Vec<VmTime> {
        self.keys().strokes.iter().map(|(at, _)| *at).collect()
    }

    pub(crate) fn wait_for_strokes(&self, n: usize) {
        while self.keys().strokes.len() < n {
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn motions(&self) -> Vec<Motion> {
        self.motions.lock().expect("no panic").clone()
    }

    pub(crate) fn light(&self, leds: u8) {
        *self.leds.lock().expect("no panic") = leds;
    }
}

impl Display for Adapter {
    fn draw(&mut self, _now: VmTime) -> Vec<Rect> {
        self.draws += 1;
        let (width, height) = self.size;
        if (self.picture.width(), self.picture.height()) != self.size {
            self.picture = Picture::new(width, height);
        }
        let mut changed = Vec::new();
        for (y, line) in self.pixels.chunks(width).enumerate() {
            if let Some(part) = self.picture.set_line(y, line) {
                changed.push(Rect { x: part.start, y, width: part.len(), height: 1 });
            }
        }
        changed
    }

    fn picture(&self) -> &Picture {
        &self.picture
    }

    fn text(&self) -> Option<Text> {
        self.text.clone()
    }
}

impl Seat for FakeSeat {
    fn look(&self, f: &mut dyn FnMut(&mut dyn Display, VmTime)) -> bool {
        let now = self.now();
        f(&mut *self.adapter(), now);
        true
    }

    fn key(&self, key: Key, goes_down: bool) -> bool {
        let now = self.now();
        let mut keys = self.keys();
        if keys.refused > 0 {
            keys.refused -= 1;
            return false;
        }
        keys.refused = keys.refuses;
        keys.strokes.push((now, (key, goes_down)));
        true
    }

    fn point(&self, right: i32, down: i32, wheel: i32, buttons: u8) {
        self.motions.lock().expect("no panic").push((right, down, wheel, buttons));
    }

    fn leds(&self) -> u8 {
        *self.leds.lock().expect("no panic")
    }

    fn now(&self) -> VmTime {
        let stopped = self.keys().stopped;
        stopped.unwrap_or_else(|| VmTime(self.start.elapsed().as_nanos() as u64))
    }
}

/// A screen of these lines, gray on black, with the cursor at its start.
pub(crate) fn text(lines: &[&str]) -> Text {
    let columns = lines.iter().map(|line| line.trim_end().chars().count()).max().unwrap_or(0);
    let cell = |character| Cell {
        character,
        code: character as u8,
        attribute: 7,
        foreground: 0x00aa_aaaa,
        background: 0,
        blinks: false,
    };
    let row = |line: &&str| {
        let padded = line.trim_end().chars().chain(std::iter::repeat(' '));
        padded.take(columns).map(cell).collect::<Vec<_>>()
    };
    Text::new(columns, lines.iter().flat_map(row).collect(), Some((0, 0)))
}
