//! Hardware task switches.
//!
//! Source: SDM vol. 3A, chapter 9.

use crate::{Core, Raised, system::descriptor::Descriptor};

/// What switches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    /// JMP.
    Jump,
    /// CALL.
    Call,
    /// An interrupt or exception through a task gate.
    Event,
    /// IRET with NT.
    Return,
}

impl Core {
    pub(crate) fn switch_task(
        &mut self,
        _how: Switch,
        _selector: u16,
        _tss: &Descriptor,
        _code: Option<u32>,
    ) -> Result<(), Raised> {
        Err(self.ud())
    }
}
