//! The typist: gives the keyboard one key after the other, as fast as it takes them and not faster.
//!
//! A keyboard remembers 16 bytes and refuses what does not fit ([`trine_devices::I8042::key`]); a
//! refused key is tried again. Behind the keyboard, a BIOS remembers 15 keys and drops what does not
//! fit, unseen. Text that is typed by a program therefore comes with pauses, in guest time, as from a
//! very fast person; what a person types comes as it is.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;
use trine_devices::Key;

use super::{POLL, Seat};

/// Between two strokes of a program: 100 keys a second.
const PACE_NS: u64 = 10_000_000;
/// Strokes that wait at most.
const WAITING_MAX: usize = 1 << 16;
/// A guest that takes no key for so long on the host takes none at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why keys were not typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum TypistError {
    /// Too much waits already.
    #[error("too many keys wait to be typed")]
    Full,
    /// The keyboard takes no more.
    #[error("the guest takes no keys (or the machine stands); what is left waits for it")]
    NotTaken,
}

struct Stroke {
    key: Key,
    goes_down: bool,
    /// Guest time that passes before it.
    after_ns: u64,
}

#[derive(Default)]
struct Queue {
    strokes: VecDeque<Stroke>,
    /// How many strokes were ever given, and how many the keyboard has taken.
    given: u64,
    taken: u64,
    is_closing: bool,
}

struct Shared {
    seat: Arc<dyn Seat>,
    queue: Mutex<Queue>,
    /// Something was given or taken.
    news: Condvar,
}

/// Types for all who want to. What one gives at a time is typed together.
pub struct Typist(Arc<Shared>);

impl Typist {
    /// A typist at `seat`, who has a thread.
    ///
    /// # Errors
    /// If the host has none.
    pub fn new(seat: Arc<dyn Seat>) -> io::Result<Self> {
        let shared = Arc::new(Shared { seat, queue: Mutex::default(), news: Condvar::new() });
        let same = shared.clone();
        thread::Builder::new().name("typist".into()).spawn(move || same.work())?;
        Ok(Self(shared))
    }

    /// A person presses or releases a key. False if it is lost because too much waits; never for a
    /// key that is released, so whoever releases what was pressed leaves no key down.
    pub fn press(&self, key: Key, goes_down: bool) -> bool {
        let mut queue = self.0.lock();
        let has_room = !goes_down || queue.strokes.len() < WAITING_MAX;
        if has_room {
            queue.give(Stroke { key, goes_down, after_ns: 0 });
            self.0.news.notify_all();
        }
        has_room
    }

    /// A program types these strokes, when it is their turn. Returns how many will have been taken
    /// by then.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn give(&self, strokes: &[(Key, bool)]) -> Result<u64, TypistError> {
        let mut queue = self.0.lock();
        if queue.strokes.len() + strokes.len() > WAITING_MAX {
            return Err(TypistError::Full);
        }
        for (key, goes_down) in strokes {
            queue.give(Stroke { key: *key, goes_down: *goes_down, after_ns: PACE_NS });
        }
        self.0.news.notify_all();
        Ok(queue.given)
    }

    /// A program types these strokes, and waits until they are.
    ///
    /// # Errors
    /// If they do not fit, or the guest does not take them.
    pub fn type_strokes(&self, strokes: &[(Key, bool)]) -> Result<(), TypistError> {
        let end = self.give(strokes)?;
        let mut queue = self.0.lock();
        let (mut taken, mut since) = (queue.taken, Instant::now());
        while queue.taken < end {
            let waited = self.0.news.wait_timeout(queue, PATIENCE);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            if queue.taken != taken {
                (taken, since) = (queue.taken, Instant::now());
            } else if since.elapsed() >= PATIENCE {
                return Err(TypistError::NotTaken);
            }
        }
        Ok(())
    }

    /// A program presses the keys of a chord in order, and releases them in the opposite one.
    ///
    /// # Errors
    /// As [`Typist::type_strokes`].
    pub fn type_chord(&self, chord: &[Key]) -> Result<(), TypistError> {
        self.type_strokes(&strokes(chord))
    }
}

/// The keys of a chord go down in order, and up in the opposite one.
pub fn strokes(chord: &[Key]) -> Vec<(Key, bool)> {
    let downs = chord.iter().map(|key| (*key, true));
    downs.chain(chord.iter().rev().map(|key| (*key, false))).collect()
}

impl Drop for Typist {
    fn drop(&mut self) {
        self.0.lock().is_closing = true;
        self.0.news.notify_all();
    }
}

impl Queue {
    fn give(&mut self, stroke: Stroke) {
        self.strokes.push_back(stroke);
        self.given += 1;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut last = self.seat.now();
        while let Some(Stroke { key, goes_down, after_ns }) = self.next() {
            // A snapshot may have brought the machine back to an earlier time.
            let due = last.min(self.seat.now()).after_ns(after_ns);
            while self.seat.now() < due || !self.seat.key(key, goes_down) {
                if self.lock().is_closing {
                    return;
                }
                thread::sleep(POLL);
            }
            last = self.seat.now();
            self.lock().taken += 1;
            self.news.notify_all();
        }
    }

    /// Waits for the next stroke; `None` if there will be none.
    fn next(&self) -> Option<Stroke> {
        let mut queue = self.lock();
        loop {
            if queue.is_closing {
                return None;
            }
            if let Some(stroke) = queue.strokes.pop_front() {
                return Some(stroke);
            }
            queue = self.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seat::fake::FakeSeat;

    #[test]
    fn nothing_is_lost_at_a_keyboard_without_room() {
        let seat = FakeSeat::new(8, 8);
        let typist = Typist::new(seat.clone()).expect("a thread");
        // It refuses two of three keys.
        seat.refuse_keys(2);
        let text = "The quick brown fox: 12+3\n";
        let strokes = trine_devices::type_text(text).expect("a US keyboard has these");
        typist.type_strokes(&strokes).expect("they are taken");
        assert_eq!(seat.strokes(), strokes);
    }

    #[test]
    fn programs_pause_in_guest_time_and_people_do_not() {
        let seat = FakeSeat::new(8, 8);
        let typist = Typist::new(seat.clone()).expect("a thread");
        typist.type_chord(&[Key::ControlLeft, Key::AltLeft, Key::Delete]).expect("taken");
        let at: Vec<u64> = seat.stroke_times().iter().map(|time| time.ns()).collect();
        assert_eq!(at.len(), 6);
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= PACE_NS), "{at:?}");
        let [control, alt, delete] = [Key::ControlLeft, Key::AltLeft, Key::Delete];
        let want = [(control, true), (alt, true), (delete, true)];
        assert_eq!(seat.strokes()[..3], want);
        assert_eq!(seat.strokes()[3..], [(delete, false), (alt, false), (control, false)]);
        // With the guest's time at a stop, a person's key still gets through.
        seat.stop_time();
        assert!(typist.press(Key::A, true));
        seat.wait_for_strokes(7);
        assert_eq!(seat.strokes()[6], (Key::A, true));
    }

    #[test]
    fn what_is_too_much_is_refused_and_releases_never_are() {
        let seat = FakeSeat::new(8, 8);
        seat.refuse_keys(usize::MAX);
        let typist = Typist::new(seat).expect("a thread");
        let too_many = vec![(Key::A, true); WAITING_MAX + 1];
        assert_eq!(typist.type_strokes(&too_many), Err(TypistError::Full));
        let pressed = (0..2 * WAITING_MAX).filter(|_| typist.press(Key::A, true)).count();
        assert!((WAITING_MAX..=WAITING_MAX + 1).contains(&pressed), "{pressed}");
        assert!(typist.press(Key::A, false));
    }
}
