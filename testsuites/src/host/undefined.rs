//! What the manuals leave undefined, form by form, with their sections.

use iced_x86::Instruction;

use trine_native::Outcome;

/// What of an outcome is not compared.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Freedom {
    /// Bits of RFLAGS.
    pub(crate) flags: u64,
    /// Bits of the x87 status word.
    pub(crate) status: u64,
    /// Bits of the x87's last opcode and addresses.
    pub(crate) last: u64,
    /// Bits of the x87's last data address.
    pub(crate) last_data: u64,
    /// Last places by which an x87 result may differ.
    pub(crate) ulps: u64,
    /// The general register whose bits are undefined, and which.
    pub(crate) register: Option<(usize, u64)>,
    /// Memory.
    pub(crate) memory: bool,
}

impl Freedom {
    pub(crate) fn gpr(&self, n: usize) -> u64 {
        self.register.filter(|(r, _)| *r == n).map_or(0, |(_, bits)| bits)
    }
}

/// What is free after `insn`.
pub(crate) fn freedom(insn: &Instruction, host: &Outcome) -> Freedom {
    let _ = (insn, host);
    Freedom::default()
}

/// Whether two x87 registers differ by one unit in the last place at most.
pub(crate) fn near(_host: &[u8], _ours: &[u8]) -> bool {
    false
}
