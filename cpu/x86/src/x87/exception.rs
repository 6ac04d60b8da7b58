//! Whether the FPU may be used, and what an instruction's exceptions do.
//!
//! An unmasked exception stays pending (ES and B) until the next waiting instruction, which raises
//! #MF if CR0.NE is set. With CR0.NE clear hardware drives FERR#, which PCs wire to IRQ 13, and
//! waits for IGNNE# or an interrupt. There is no FERR# line here: the CPU behaves as if IGNNE# were
//! asserted and goes on, and the log says so.
//!
//! Source: SDM vol. 1, sections 8.5 to 8.7; vol. 3A, table 2-2 and section 7.15 (#NM, #MF).

use trine_softfloat::{Env, Flags};

use super::stack::{B, C1, ES, IE, SF};
use crate::{Core, Insn, Raised, cr0, state::X87, vector};

impl Core {
    /// What an x87 instruction that does not wait begins with: #NM if the FPU is emulated or not
    /// this task's.
    ///
    /// # Errors
    /// #NM.
    #[inline(always)]
    pub(crate) fn x87_available(&mut self) -> Result<(), Raised> {
        if self.control.cr0 & (cr0::EM | cr0::TS) != 0 {
            return Err(self.fault(vector::NM));
        }
        Ok(())
    }

    /// What every other x87 instruction begins with: it also waits for exceptions.
    ///
    /// # Errors
    /// #NM or #MF.
    #[inline(always)]
    pub(crate) fn x87_ready(&mut self) -> Result<(), Raised> {
        self.x87_available()?;
        self.x87_wait()
    }

    /// #MF if an unmasked exception is pending. MMX instructions do it too.
    ///
    /// # Errors
    /// #MF.
    #[inline(always)]
    pub(crate) fn x87_wait(&mut self) -> Result<(), Raised> {
        if self.x87.is_pending() { self.x87_pending() } else { Ok(()) }
    }

    #[cold]
    fn x87_pending(&mut self) -> Result<(), Raised> {
        if self.control.cr0 & cr0::NE != 0 {
            return Err(self.fault(vector::MF));
        }
        log::debug!("an x87 exception is ignored: CR0.NE is clear and there is no FERR# line");
        Ok(())
    }

    /// Remembers the instruction for FNSTENV and an exception handler.
    #[inline(always)]
    pub(super) fn x87_instruction(&mut self, i: &Insn) {
        self.x87.ip = self.rip.wrapping_sub(u64::from(i.len)) & i.mode.code().mask();
        self.x87.cs = self.segments.seg[crate::Seg::Cs as usize].selector;
    }

    /// Remembers the instruction and its memory operand.
    #[inline(always)]
    pub(super) fn x87_operand(&mut self, i: &Insn, offset: u64) {
        self.x87_instruction(i);
        self.x87.dp = offset;
        self.x87.ds = self.segments.seg[i.seg() as usize].selector;
    }
}

/// FWAIT.
pub(crate) fn wait(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    const BOTH: u64 = cr0::MP | cr0::TS;
    if core.control.cr0 & BOTH == BOTH {
        return Err(core.fault(vector::NM));
    }
    core.x87_wait()
}

/// A stack fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StackFault {
    /// A register that is to be read is empty.
    Underflow,
    /// The register that is to be pushed is not.
    Overflow,
}

impl X87 {
    /// Puts what an operation raised and how it rounded into the status word. Whether its result
    /// may be delivered.
    #[inline(always)]
    pub(super) fn settle(&mut self, i: &Insn, env: &Env) -> bool {
        let c1 = if env.rounded_up { C1 } else { 0 };
        self.status = self.status & !C1 | c1 | u16::from(env.flags.bits());
        let unmasked = env.unmasked();
        if unmasked.is_empty() {
            return true;
        }
        self.pend(i);
        !unmasked.intersects(Flags::PRE_COMPUTATION)
    }

    /// A stack fault. Whether it is masked, so that the indefinite is delivered.
    #[cold]
    pub(super) fn stack_fault(&mut self, i: &Insn, fault: StackFault) -> bool {
        let c1 = if fault == StackFault::Overflow { C1 } else { 0 };
        self.status = self.status & !C1 | c1 | IE | SF;
        let masked = self.control & IE != 0;
        if !masked {
            self.pend(i);
        }
        masked
    }

    /// An unmasked exception is pending from now on.
    #[cold]
    fn pend(&mut self, i: &Insn) {
        self.status |= ES | B;
        // The decoder leaves it there.
        self.opcode = i.imm as u16 & 0x7ff;
    }
}
