//! Local APICs: the board's, and those that an engine's host may have of its own.
//!
//! The local APICs are devices of the board. Where the host has some that serve its vCPUs faster, an
//! engine borrows the board's while any of its vCPUs runs, and gives them back when none does: what
//! can be seen of a machine that stands is always on the board.

use std::sync::Arc;

use trine_guest::VmTime;

use crate::{Access, EngineError};

/// A local APIC that is lent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApicState {
    /// IA32_APIC_BASE.
    pub base: u64,
    /// The registers, by offset in the window over 16, as software reads them (in x2APIC mode all 32
    /// bits of the ID). The initial count of a one-shot timer that has expired is 0.
    pub registers: [u32; 64],
    /// IA32_TSC_DEADLINE; 0 if it is not armed.
    pub tsc_deadline: u64,
    /// When the vCPU's time-stamp counter reaches it. Only who gives an APIC back has to know.
    pub deadline_at: VmTime,
    /// MSR_KVM_EOI_EN.
    pub pv_eoi: u64,
}

/// What [`BoardApics::lend`] calls with the APICs, by vCPU.
pub type Give<'a> = dyn FnMut(&[ApicState]) -> Result<(), EngineError> + 'a;
/// What [`BoardApics::take_back`] calls with the time that it is.
pub type Take<'a> = dyn FnMut(VmTime) -> Result<Vec<ApicState>, EngineError> + 'a;

/// The board's local APICs. While they are lent, a vCPU's INTR pin is that of the 8259 alone, from
/// which the host's APIC has to shield it as the LVT entry of LINT0 says, and its NMI pin is LINT1.
pub trait BoardApics: Send + Sync {
    /// Lends them, while no vCPU executes: `give` gets them, and messages go to `host` from then on.
    ///
    /// # Errors
    /// If `give` fails; they stay on the board.
    fn lend(&self, host: Arc<dyn HostApics>, give: &mut Give<'_>) -> Result<(), EngineError>;
    /// Takes them back from `take`, while no vCPU executes. No message comes meanwhile.
    ///
    /// # Errors
    /// If `take` fails.
    fn take_back(&self, take: &mut Take<'_>) -> Result<(), EngineError>;
    /// An APIC that is lent broadcasts the end of a level-triggered interrupt.
    fn end_of_interrupt(&self, by: Access, vector: u8);
}

/// The host's local APICs.
pub trait HostApics: Send + Sync {
    /// An interrupt message, as the store of a device: 32 bits of data to an address from
    /// FEE0_0000h (SDM vol. 3A, section 11.11). Bits 31:8 of the destination are in bits 63:40.
    fn message(&self, address: u64, data: u32);
}
