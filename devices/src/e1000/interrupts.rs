//! Interrupt causes and their mask (sections 13.4.17 to 13.4.21), throttling (13.4.18) and the
//! timers that wait for more of the same (3.2.7 and 13.4.30, 13.4.31, 13.4.41, 13.4.44).

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

// Causes.
pub(super) const TXDW: u32 = 1 << 0;
pub(super) const TXQE: u32 = 1 << 1;
pub(super) const LSC: u32 = 1 << 2;
pub(super) const RXDMT0: u32 = 1 << 4;
pub(super) const RXT0: u32 = 1 << 7;
pub(super) const MDAC: u32 = 1 << 9;
pub(super) const TXD_LOW: u32 = 1 << 15;
pub(super) const SRPD: u32 = 1 << 16;
/// Whatever can be set by software.
const CAUSES: u32 = 0x0001_ffff;

/// The throttle's unit.
const THROTTLE_NS: u64 = 256;
/// The delays' unit.
const DELAY_NS: u64 = 1024;

/// Causes, and what becomes of them.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Interrupts {
    /// ICR.
    cause: u32,
    /// IMS and IMC.
    mask: u32,
    /// ITR: the least time between two interrupts, in units of 256 ns.
    pub(super) throttle: u16,
    /// The end of that time.
    quiet_until: VmTime,
    /// The function signals an interrupt.
    is_asserted: bool,
}

impl Interrupts {
    pub(super) fn is_possible(&self) -> bool {
        (self.cause | self.mask) & !CAUSES == 0 && (!self.is_asserted || self.is_pending())
    }

    pub(super) fn is_asserted(&self) -> bool {
        self.is_asserted
    }

    fn is_pending(&self) -> bool {
        self.cause & self.mask != 0
    }

    pub(super) fn cause(&self) -> u32 {
        self.cause
    }

    pub(super) fn mask(&self) -> u32 {
        self.mask
    }

    pub(super) fn raise(&mut self, causes: u32) {
        self.cause |= causes & CAUSES;
    }

    pub(super) fn clear(&mut self, causes: u32) {
        self.cause &= !causes;
    }

    pub(super) fn enable(&mut self, causes: u32) {
        self.mask |= causes & CAUSES;
    }

    pub(super) fn disable(&mut self, causes: u32) {
        self.mask &= !causes;
    }

    /// The function starts or stops to signal an interrupt. True if it starts.
    pub(super) fn update(&mut self, now: VmTime) -> bool {
        let was_asserted = self.is_asserted;
        self.is_asserted = self.is_pending() && (was_asserted || now >= self.quiet_until);
        let starts = self.is_asserted && !was_asserted;
        if starts {
            self.quiet_until = now.after_ns(u64::from(self.throttle) * THROTTLE_NS);
        }
        starts
    }

    /// When it starts, if that waits for the throttle only.
    pub(super) fn next_event(&self) -> Option<VmTime> {
        (self.is_pending() && !self.is_asserted).then_some(self.quiet_until)
    }
}

/// A pair of timers behind a cause: one that starts anew with each event, and one that does not.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Delay {
    /// RDTR or TIDV, in units of 1.024 us.
    pub(super) since_last: u16,
    /// RADV or TADV, the same; 0 is none.
    pub(super) since_first: u16,
    due_since_last: Option<VmTime>,
    due_since_first: Option<VmTime>,
}

impl Delay {
    /// An event. True if it is a cause without delay.
    #[must_use]
    pub(super) fn start(&mut self, now: VmTime) -> bool {
        if self.since_last == 0 {
            self.stop();
            return true;
        }
        let after = |units: u16| now.after_ns(u64::from(units) * DELAY_NS);
        self.due_since_last = Some(after(self.since_last));
        if self.since_first != 0 {
            self.due_since_first.get_or_insert(after(self.since_first));
        }
        false
    }

    pub(super) fn stop(&mut self) {
        (self.due_since_last, self.due_since_first) = (None, None);
    }

    pub(super) fn next_event(&self) -> Option<VmTime> {
        [self.due_since_last, self.due_since_first].into_iter().flatten().min()
    }

    /// True if a timer has expired by now. Both stop then.
    #[must_use]
    pub(super) fn expire(&mut self, now: VmTime) -> bool {
        let has_expired = self.next_event().is_some_and(|at| at <= now);
        if has_expired {
            self.stop();
        }
        has_expired
    }
}
