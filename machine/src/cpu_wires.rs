//! The pins of one vCPU: a word that it samples without a lock, and a bell that wakes its thread.
//!
//! Who changes a pin writes the word first, then kicks the engine, then rings the bell. A vCPU
//! that went idle sleeps only if the bell has not rung since before it last sampled its pins, so
//! no kick is lost between the sample and the sleep.

use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use trine_devices::CpuSignal;
use trine_engine::{Kicker, Pins};

const INTERRUPT: u32 = 1 << 0;
const NMI: u32 = 1 << 1;
const INIT: u32 = 1 << 2;
const STARTUP: u32 = 1 << 3;
const A20_MASKED: u32 = 1 << 4;
/// A second NMI came before the first was taken. On a CPU, which looks after every instruction,
/// it would have found the first one being served, and would wait for its end.
const NMI_AGAIN: u32 = 1 << 5;
const TSCS_DIFFER: u32 = 1 << 6;
const TSCS_CHANGED: u32 = 1 << 7;
const EDGES: u32 = NMI | INIT | STARTUP | TSCS_CHANGED;
const VECTOR_SHIFT: u32 = 8;
const VECTOR: u32 = 0xff << VECTOR_SHIFT;

/// The pins of one vCPU.
#[derive(Default)]
pub struct CpuWires {
    word: AtomicU32,
    /// At first one that nobody listens to.
    kicker: Mutex<Kicker>,
    rung: Mutex<bool>,
    bell: Condvar,
}

impl CpuWires {
    /// Connects the engine's side, in the place of the one before. Who kicks meanwhile has changed
    /// the word first, and the new side is told to look at it: no kick is lost.
    pub fn connect(&self, kicker: Kicker) {
        let mut place = self.kicker();
        *place = kicker;
        place.kick();
    }

    /// Samples the pins and takes the edges.
    #[inline]
    pub fn sample(&self) -> Pins {
        let mut word = self.word.load(Ordering::SeqCst);
        if word & EDGES != 0 {
            word = self.change(|w| {
                let again = if w & NMI_AGAIN != 0 { NMI } else { 0 };
                w & !(EDGES | NMI_AGAIN | VECTOR) | again
            });
            if word & NMI_AGAIN != 0 {
                self.kicker().kick();
            }
        }
        Pins {
            interrupt: word & INTERRUPT != 0,
            nmi: word & NMI != 0,
            init: word & INIT != 0,
            startup: (word & STARTUP != 0).then_some((word >> VECTOR_SHIFT) as u8),
            a20_masked: word & A20_MASKED != 0,
            tscs_differ: word & TSCS_DIFFER != 0,
            tscs_changed: word & TSCS_CHANGED != 0,
        }
    }

    /// A local APIC drives a pin.
    pub fn drive(&self, signal: CpuSignal) {
        let _ = match signal {
            CpuSignal::Interrupt(false) => {
                // Nobody has to hurry: an acknowledge cycle finds that it went away.
                self.word.fetch_and(!INTERRUPT, Ordering::SeqCst);
                return;
            }
            CpuSignal::Interrupt(true) => self.change(|w| w | INTERRUPT),
            CpuSignal::Nmi => self.change(|w| w | if w & NMI != 0 { NMI_AGAIN } else { NMI }),
            // A start-up IPI before this INIT has lost its effect.
            CpuSignal::Init => self.change(|w| (w | INIT) & !(STARTUP | VECTOR)),
            CpuSignal::Startup(vector) => {
                self.change(|w| w & !VECTOR | STARTUP | u32::from(vector) << VECTOR_SHIFT)
            }
            CpuSignal::Smi => {
                log::debug!("an SMI was ignored: there is no system management mode");
                return;
            }
        };
        self.call();
    }

    /// The A20 gate.
    pub fn mask_a20(&self, masked: bool) {
        let bit = if masked { A20_MASKED } else { 0 };
        self.change(|w| w & !A20_MASKED | bit);
        self.call();
    }

    /// There is another memory map: its vCPU sees that when it looks at its pins, which an idle one does
    /// before anything else.
    pub fn tell_of_map(&self) {
        self.kicker().kick();
    }

    /// Whether the vCPUs' time-stamp counters differ.
    pub fn tell_tscs_differ(&self, differ: bool) {
        let bit = if differ { TSCS_DIFFER } else { 0 };
        let changed = |w: u32| if w & TSCS_DIFFER != bit { TSCS_CHANGED } else { 0 };
        if changed(self.change(|w| w & !TSCS_DIFFER | bit | changed(w))) != 0 {
            self.call();
        }
    }

    /// After a reset of the machine: no edge waits.
    pub fn reset(&self) {
        self.change(|w| w & !(EDGES | NMI_AGAIN | VECTOR));
    }

    /// Its vCPU gets its turn, and looks at its pins: what was to end an earlier turn is void.
    pub fn begin_turn(&self) {
        let _ = self.kicker().take();
    }

    /// The pins with the edges that nobody has taken, and whether the bell has rung.
    pub fn save(&self) -> (u32, bool) {
        (self.word.load(Ordering::SeqCst), *self.lock())
    }

    /// Whether pins can be like that.
    pub fn are_pins(word: u32) -> bool {
        word & !(INTERRUPT | EDGES | A20_MASKED | NMI_AGAIN | TSCS_DIFFER | VECTOR) == 0
    }

    /// Replaces what [`CpuWires::save`] gave.
    pub fn load(&self, (word, rung): (u32, bool)) {
        self.word.store(word, Ordering::SeqCst);
        self.begin_turn();
        *self.lock() = rung;
    }

    /// Makes `run` return, and wakes the thread.
    pub fn stop(&self) {
        self.end_turn();
        self.ring();
    }

    /// Makes `run` return soon.
    pub fn end_turn(&self) {
        self.kicker().stop();
    }

    /// Whether the bell has rung since the last call.
    pub fn take_rung(&self) -> bool {
        std::mem::take(&mut *self.lock())
    }

    /// Sleeps until the bell rings, or not at all if it has rung since [`CpuWires::take_rung`].
    pub fn sleep(&self) {
        let mut rung = self.lock();
        while !*rung {
            rung = self.bell.wait(rung).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Changes the word; what it was before.
    fn change(&self, f: impl Fn(u32) -> u32) -> u32 {
        let mut old = self.word.load(Ordering::SeqCst);
        while let Err(now) =
            self.word.compare_exchange_weak(old, f(old), Ordering::SeqCst, Ordering::SeqCst)
        {
            old = now;
        }
        old
    }

    fn call(&self) {
        self.kicker().kick();
        self.ring();
    }

    fn ring(&self) {
        *self.lock() = true;
        self.bell.notify_one();
    }

    fn kicker(&self) -> MutexGuard<'_, Kicker> {
        // It is replaced as a whole.
        self.kicker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        // A bool is consistent wherever a holder could panic.
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_reported_once_and_levels_until_they_fall() {
        let wires = CpuWires::default();
        let kicker = Kicker::default();
        wires.connect(kicker.clone());
        wires.drive(CpuSignal::Interrupt(true));
        wires.drive(CpuSignal::Nmi);
        assert!(kicker.is_raised());
        let pins = wires.sample();
        assert!(pins.interrupt && pins.nmi && !pins.init);
        let pins = wires.sample();
        assert!(pins.interrupt && !pins.nmi);
        wires.drive(CpuSignal::Interrupt(false));
        assert_eq!(wires.sample(), Pins::default());
    }

    #[test]
    fn a_second_nmi_is_reported_after_the_first_and_a_third_is_lost() {
        let wires = CpuWires::default();
        let kicker = Kicker::default();
        wires.connect(kicker.clone());
        for _ in 0..3 {
            wires.drive(CpuSignal::Nmi);
        }
        assert!(!kicker.take());
        assert!(wires.sample().nmi && kicker.is_raised());
        assert!(!kicker.take());
        assert!(wires.sample().nmi && !kicker.is_raised());
        assert!(!wires.sample().nmi);
    }

    #[test]
    fn who_is_connected_last_hears_what_came_before_and_the_one_before_no_more() {
        let wires = CpuWires::default();
        wires.drive(CpuSignal::Nmi);
        let (first, second) = (Kicker::default(), Kicker::default());
        wires.connect(first.clone());
        assert!(first.is_raised() && !first.take());
        wires.drive(CpuSignal::Interrupt(true));
        wires.connect(second.clone());
        assert!(second.is_raised() && !second.take());
        let pins = wires.sample();
        assert!(pins.nmi && pins.interrupt);
        assert!(!first.take());
        wires.end_turn();
        assert!(second.take() && !first.is_raised());
    }

    #[test]
    fn a_change_of_the_tscs_is_told_once_and_waits_for_who_is_connected() {
        let wires = CpuWires::default();
        wires.tell_tscs_differ(false);
        assert_eq!(wires.sample(), Pins::default());
        wires.tell_tscs_differ(true);
        wires.tell_tscs_differ(true);
        let saved = wires.save();
        assert!(CpuWires::are_pins(saved.0));
        let other = CpuWires::default();
        other.load(saved);
        for wires in [wires, other] {
            let pins = wires.sample();
            assert!(pins.tscs_differ && pins.tscs_changed);
            let pins = wires.sample();
            assert!(pins.tscs_differ && !pins.tscs_changed);
        }
    }

    #[test]
    fn an_init_cancels_an_earlier_startup_only() {
        let wires = CpuWires::default();
        wires.drive(CpuSignal::Startup(0x12));
        wires.drive(CpuSignal::Init);
        let pins = wires.sample();
        assert!(pins.init && pins.startup.is_none());
        wires.drive(CpuSignal::Init);
        wires.drive(CpuSignal::Startup(0x98));
        let pins = wires.sample();
        assert!(pins.init);
        assert_eq!(pins.startup, Some(0x98));
        assert_eq!(wires.sample().startup, None);
    }

    #[test]
    fn a_bell_that_rang_before_the_sleep_is_heard() {
        let wires = CpuWires::default();
        assert!(!wires.take_rung());
        wires.drive(CpuSignal::Nmi);
        wires.sleep();
        assert!(wires.take_rung());
        assert!(!wires.take_rung());
    }
}
