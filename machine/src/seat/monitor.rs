//! The monitor: a copy of the picture for all who look, and where it changed when.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use trine_devices::{Display, Rect};

use super::Seat;

/// The picture is drawn at most so often.
const PERIOD: Duration = Duration::from_millis(33);
/// Dots and lines of a tile: changes are known to this precision.
const TILE: usize = 16;
/// What is shown before there was a picture.
const BLANK: (usize, usize) = (640, 480);

/// The picture as it was drawn last. It is cut into tiles, each with the number of the drawing that
/// changed it.
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u32>,
    tiles: Vec<u64>,
    /// How many drawings have changed something.
    version: u64,
    /// The drawing that last changed the size.
    resized: u64,
    drawn: Option<Instant>,
}

impl Canvas {
    fn new((width, height): (usize, usize), version: u64) -> Self {
        let tiles = vec![version; width.div_ceil(TILE) * height.div_ceil(TILE)];
        let pixels = vec![0; width * height];
        Self { width, height, pixels, tiles, version, resized: version, drawn: None }
    }

    /// Dots of a line, and lines. There is at least one of each.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// All dots, line by line from the top, as 0RGB.
    #[must_use]
    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }

    /// The dots of `rect`, line by line; black where it is outside.
    #[must_use]
    pub fn dots(&self, rect: Rect) -> Vec<u32> {
        let mut dots = Vec::with_capacity(rect.width * rect.height);
        for y in rect.y..rect.y + rect.height {
            let line = self.pixels.get(y * self.width..).filter(|_| y < self.height);
            let line = line.map_or(&[][..], |line| &line[..self.width]);
            let part = line.get(rect.x..).unwrap_or_default();
            let part = &part[..part.len().min(rect.width)];
            dots.extend_from_slice(part);
            dots.resize(dots.len() + rect.width - part.len(), 0);
        }
        dots
    }

    /// Takes over what `display` draws.
    fn draw(&mut self, changed: &[Rect], display: &dyn Display) {
        let picture = display.picture();
        let (width, height) = (picture.width(), picture.height());
        if width == 0 || height == 0 {
            return;
        }
        if (width, height) != (self.width, self.height) {
            // Another look may have drawn it before: all of it is taken.
            *self = Self { drawn: self.drawn, ..Self::new((width, height), self.version + 1) };
            self.pixels.copy_from_slice(picture.pixels());
            return;
        }
        if changed.is_empty() {
            return;
        }
        self.version += 1;
        for rect in changed {
            for y in rect.y..(rect.y + rect.height).min(height) {
                let part = rect.x..(rect.x + rect.width).min(width);
                self.pixels[y * width..][part.clone()].copy_from_slice(&picture.line(y)[part]);
            }
            self.mark(*rect);
        }
    }

    fn mark(&mut self, rect: Rect) {
        let columns = self.width.div_ceil(TILE);
        for row in rect.y / TILE..(rect.y + rect.height).div_ceil(TILE) {
            for column in rect.x / TILE..(rect.x + rect.width).div_ceil(TILE) {
                self.tiles[row * columns + column] = self.version;
            }
        }
    }
}

/// Lends those who look the picture. Nobody draws but in [`Monitor::wait`] and [`Monitor::see`]: while
/// nobody looks, it costs nothing.
pub struct Monitor {
    seat: Arc<dyn Seat>,
    canvas: Mutex<Canvas>,
    rung: Condvar,
}

impl Monitor {
    /// The monitor of `seat`.
    #[must_use]
    pub fn new(seat: Arc<dyn Seat>) -> Self {
        Self { seat, canvas: Mutex::new(Canvas::new(BLANK, 1)), rung: Condvar::new() }
    }

    /// Where it stands.
    #[must_use]
    pub fn seat(&self) -> &Arc<dyn Seat> {
        &self.seat
    }

    fn lock(&self) -> MutexGuard<'_, Canvas> {
        self.canvas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, canvas: &mut Canvas) {
        self.seat.look(&mut |display, now| {
            let changed = display.draw(now);
            canvas.draw(&changed, display);
        });
        canvas.drawn = Some(Instant::now());
    }

    /// Calls `f` with the picture of this moment.
    pub fn see<R>(&self, f: impl FnOnce(&Canvas) -> R) -> R {
        let mut canvas = self.lock();
        self.draw(&mut canvas);
        f(&canvas)
    }

    /// Calls `f` with every new picture and at every [`Monitor::ring`], until it has an answer.
    pub fn wait<R>(&self, mut f: impl FnMut(&Canvas) -> Option<R>) -> R {
        let mut canvas = self.lock();
        loop {
            if canvas.drawn.is_none_or(|at| at.elapsed() >= PERIOD) {
                self.draw(&mut canvas);
            }
            if let Some(answer) = f(&canvas) {
                return answer;
            }
            let elapsed = canvas.drawn.map_or(PERIOD, |at| at.elapsed());
            // Not a busy loop, even if drawing takes as long as the period.
            let left = PERIOD.saturating_sub(elapsed).max(Duration::from_millis(1));
            let waited = self.rung.wait_timeout(canvas, left);
            canvas = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// As [`Monitor::wait`], without drawing anything: until a ring brings an answer.
    pub fn sleep<R>(&self, mut f: impl FnMut() -> Option<R>) -> R {
        let mut canvas = self.lock();
        loop {
            if let Some(answer) = f() {
                return answer;
            }
            canvas = self.rung.wait(canvas).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Those who wait look again at what they wait for.
    pub fn ring(&self) {
        // Under the lock: nobody is between looking and waiting.
        let _canvas = self.lock();
        self.rung.notify_all();
    }
}

/// Which tiles of the picture somebody has not seen yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Damage {
    size: (usize, usize),
    dirty: Vec<bool>,
    seen: u64,
}

impl Damage {
    /// Notes what has changed since the last time. After a change of the size, that is everything.
    pub fn note(&mut self, canvas: &Canvas) {
        if canvas.resized > self.seen {
            self.size = canvas.size();
            self.dirty = vec![true; canvas.tiles.len()];
        } else if canvas.version > self.seen {
            for (dirty, version) in self.dirty.iter_mut().zip(&canvas.tiles) {
                *dirty |= *version > self.seen;
            }
        }
        self.seen = canvas.version;
    }

    fn columns(&self) -> usize {
        self.size.0.div_ceil(TILE).max(1)
    }

    /// The tile in `column` and `row`: at the right and at the bottom they may be smaller.
    fn tile(&self, column: usize, row: usize) -> Rect {
        let (x, y) = (column * TILE, row * TILE);
        Rect { x, y, width: TILE.min(self.size.0 - x), height: TILE.min(self.size.1 - y) }
    }

    /// Takes what was not seen of `area`: the tiles as rectangles, cut to the area. A tile that lies
    /// partly outside stays unseen.
    pub fn take(&mut self, area: Rect) -> Vec<Rect> {
        let columns = self.columns();
        let mut rects: Vec<Rect> = Vec::new();
        for row in 0..self.dirty.len() / columns {
            let mut run: Option<Rect> = None;
            for column in 0..columns {
                let tile = self.tile(column, row);
                let dirty = &mut self.dirty[row * columns + column];
                let part = common(tile, area).filter(|_| *dirty);
                *dirty &= part != Some(tile);
                match (&mut run, part) {
                    (Some(run), Some(part)) => run.width += part.width,
                    (None, Some(_)) => run = part,
                    (_, None) => rects.extend(run.take()),
                }
            }
            rects.extend(run);
        }
        join(rects)
    }
}

/// What two rectangles have in common.
pub(crate) fn common(a: Rect, b: Rect) -> Option<Rect> {
    let (x, y) = (a.x.max(b.x), a.y.max(b.y));
    let right = (a.x + a.width).min(b.x + b.width);
    let bottom = (a.y + a.height).min(b.y + b.height);
    (x < right && y < bottom).then(|| Rect { x, y, width: right - x, height: bottom - y })
}

/// How many rectangles back [`join`] looks.
const JOINS: usize = 512;

/// Joins rectangles with those right below them.
fn join(rects: Vec<Rect>) -> Vec<Rect> {
    let mut joined: Vec<Rect> = Vec::new();
    for rect in rects {
        let is_right_above = |above: &&mut Rect| {
            (above.x, above.width) == (rect.x, rect.width) && above.y + above.height == rect.y
        };
        match joined.iter_mut().rev().take(JOINS).find(is_right_above) {
            Some(above) => above.height += rect.height,
            None => joined.push(rect),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seat::fake::FakeSeat;

    const fn rect(x: usize, y: usize, width: usize, height: usize) -> Rect {
        Rect { x, y, width, height }
    }

    #[test]
    fn only_what_has_changed_is_damaged() {
        let seat = FakeSeat::new(100, 50);
        let monitor = Monitor::new(seat.clone());
        let mut damage = Damage::default();
        let all = rect(0, 0, 100, 50);
        let mut look = |area| {
            monitor.see(|canvas| {
                damage.note(canvas);
                damage.take(area)
            })
        };
        assert_eq!(look(all), [all]);
        assert_eq!(look(all), []);
        seat.paint(rect(17, 20, 40, 3), 0xff);
        assert_eq!(look(all), [rect(16, 16, 48, 16)]);
        // In two tiles below each other, and at the edge.
        seat.paint(rect(1, 30, 2, 3), 0x11);
        seat.paint(rect(99, 49, 1, 1), 0x22);
        assert_eq!(look(all), [rect(0, 16, 16, 32), rect(96, 48, 4, 2)]);
        // A part of a tile leaves the rest.
        seat.paint(rect(0, 0, 16, 16), 0x33);
        assert_eq!(look(rect(0, 0, 16, 10)), [rect(0, 0, 16, 10)]);
        assert_eq!(look(rect(0, 0, 100, 16)), [rect(0, 0, 16, 16)]);
        assert_eq!(look(all), []);
        seat.resize(64, 32);
        assert_eq!(look(rect(0, 0, 64, 32)), [rect(0, 0, 64, 32)]);
    }

    #[test]
    fn several_who_look_each_see_every_change() {
        let seat = FakeSeat::new(64, 64);
        let monitor = Monitor::new(seat.clone());
        let all = rect(0, 0, 64, 64);
        let mut eyes = [Damage::default(), Damage::default()];
        for n in 0..10 {
            seat.paint(rect(n, 2 * n, 30, 3), n as u32 + 1);
            let eye = &mut eyes[n % 2];
            monitor.see(|canvas| {
                eye.note(canvas);
                assert!(!eye.take(all).is_empty());
            });
        }
        monitor.see(|canvas| assert_eq!(canvas.pixels(), seat.pixels()));
    }

    #[test]
    fn dots_outside_are_black() {
        let seat = FakeSeat::new(4, 2);
        seat.paint(rect(0, 0, 4, 2), 5);
        Monitor::new(seat).see(|canvas| {
            assert_eq!(canvas.dots(rect(3, 1, 3, 2)), [5, 0, 0, 0, 0, 0]);
        });
    }
}
