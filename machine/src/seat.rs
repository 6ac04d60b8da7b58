//! Where a person sits: a machine's monitor, its keyboard and its mouse.
//!
//! A [`Seat`] is what the machine has of these. A [`Monitor`] is for those who look: it has the
//! picture drawn while somebody waits for it, and never more than 30 times a second, however many
//! they are. A [`Typist`] is for those who type: a guest takes keys as slowly as it likes, and nobody
//! loses one.

mod monitor;
mod typist;

use std::{
    thread,
    time::{Duration, Instant},
};

use trine_devices::{Display, Key};
use trine_guest::VmTime;

pub(crate) use monitor::common;
pub use monitor::{Canvas, Damage, Monitor};
pub use typist::{Typist, TypistError, strokes};

/// How often a waiting thread looks at guest time.
const POLL: Duration = Duration::from_millis(2);

/// A machine's monitor, keyboard and mouse.
pub trait Seat: Send + Sync {
    /// Calls `f` with the display adapter and guest time. False if the machine has none.
    fn look(&self, f: &mut dyn FnMut(&mut dyn Display, VmTime)) -> bool;
    /// A key goes down or up. False if the keyboard cannot take it now: nothing has happened, and
    /// it is to be tried again.
    fn key(&self, key: Key, goes_down: bool) -> bool;
    /// The mouse moves to the right and down, its wheel towards the user; these buttons are held:
    /// left, right, middle, fourth and fifth in bits 0 to 4.
    fn point(&self, right: i32, down: i32, wheel: i32, buttons: u8);
    /// The lights of the keyboard: Scroll Lock, Num Lock and Caps Lock in bits 0, 1 and 2.
    fn leds(&self) -> u8;
    /// Guest time.
    fn now(&self) -> VmTime;
}

impl dyn Seat {
    /// Waits until guest time has gone on by `ns`, but not longer than `patience` on the host. False
    /// if it has not: the machine stands, or is very slow.
    pub fn wait_ns(&self, ns: u64, patience: Duration) -> bool {
        let until = self.now().after_ns(ns);
        let end = Instant::now() + patience;
        while self.now() < until {
            if Instant::now() >= end {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }
}

#[cfg(test)]
pub(crate) mod fake;
