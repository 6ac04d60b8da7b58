//! The registers in x2APIC mode: MSRs 800h to 8FFh (SDM vol. 3A, section 11.12.1).

use trine_guest::VmTime;

use super::{
    Gp, LocalApics,
    registers::{LVT_WRITABLE, Lvt, REMOTE_IRR, SEND_ILLEGAL_VECTOR, SVR_WRITABLE},
};
use crate::TriggerMode;

/// The bits of the ICR that are not reserved: no delivery status here.
const ICR: u64 = 0xffff_ffff_000c_cfff;
/// The delivery status of an LVT entry, which can only be read.
const DELIVERY_STATUS: u32 = 1 << 12;

impl LocalApics {
    /// RDMSR.
    pub(super) fn msr(&self, n: usize, now: VmTime, msr: u32) -> Result<u64, Gp> {
        let apic = &self.state.apics[n];
        let register = msr.checked_sub(0x800).ok_or(Gp)?;
        let value = match register {
            0x02 => apic.id,
            0x0d => apic.x2apic_logical(),
            0x30 => return Ok(apic.icr),
            // APR, remote read, DFR and the upper half of the ICR do not exist here; EOI and SELF
            // IPI can only be written.
            0x09 | 0x0b | 0x0c | 0x0e | 0x31 | 0x3f => return Err(Gp),
            _ => apic.register(register, now, self.bus_hz).ok_or(Gp)?,
        };
        Ok(u64::from(value))
    }

    /// WRMSR. The caller updates the interrupt pin.
    pub(super) fn set_msr(
        &mut self,
        n: usize,
        now: VmTime,
        msr: u32,
        value: u64,
    ) -> Result<(), Gp> {
        let register = msr.checked_sub(0x800).ok_or(Gp)?;
        let allowed = writable(register).ok_or(Gp)?;
        if value & !allowed != 0 {
            return Err(Gp);
        }
        match register {
            0x30 => {
                self.state.apics[n].icr = value;
                self.send_command(n);
            }
            0x3f if value < 16 => self.error(n, SEND_ILLEGAL_VECTOR),
            0x3f if self.state.apics[n].software_enabled() => {
                self.accept(n, value as u8, TriggerMode::Edge);
            }
            0x3f => {}
            _ => self.write_register(n, now, register, value as u32),
        }
        Ok(())
    }
}

/// The bits of a register that a write may set; `None` if it cannot be written.
fn writable(register: u32) -> Option<u64> {
    Some(match register {
        0x08 | 0x3f => 0xff,
        // EOI and ESR take 0 only.
        0x0b | 0x28 => 0,
        0x0f => u64::from(SVR_WRITABLE),
        0x30 => ICR,
        0x38 => 0xffff_ffff,
        0x3e => 0b1011,
        _ => {
            let entry = Lvt::index(register)?;
            let pin = if Lvt::LINT.contains(&entry) { REMOTE_IRR } else { 0 };
            u64::from(LVT_WRITABLE[entry] | DELIVERY_STATUS | pin)
        }
    })
}
