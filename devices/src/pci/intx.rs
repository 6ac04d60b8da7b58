//! A function's interrupt pin (PCI 3.0, sections 2.2.6, 6.2.2 and 6.2.3).

use super::ConfigSpace;
use crate::Line;

/// INTA# to INTD# of a function, on its way through the command and status registers.
pub struct Intx {
    line: Line,
}

impl Intx {
    /// A pin that leads to `line`.
    #[must_use]
    pub fn new(line: Line) -> Self {
        Self { line }
    }

    /// Drives the pin: the function has (`pending`) an interrupt to signal or none. To be called
    /// whenever that or the command register may have changed.
    pub fn drive(&mut self, config: &mut ConfigSpace, pending: bool) {
        config.set_interrupt_status(pending);
        self.line.set(pending && !config.is_interrupt_disabled());
    }

    /// As [`Intx::drive`], after a load: the other end was loaded too.
    pub fn restore(&mut self, config: &mut ConfigSpace, pending: bool) {
        config.set_interrupt_status(pending);
        self.line.restore(pending && !config.is_interrupt_disabled());
    }
}
