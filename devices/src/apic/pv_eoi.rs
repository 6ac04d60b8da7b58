//! The end of an interrupt by a bit in memory, as KVM has it ("PV EOI").
//!
//! Source: Linux, `Documentation/virt/kvm/x86/msr.rst`, MSR_KVM_EOI_EN.
//!
//! The guest names a byte of its memory. When a vCPU acknowledges an interrupt whose end has no
//! consequences (it is an edge, no other is in service, no other waits) bit 0 of that byte is set:
//! an *offer*. A guest that finds it set clears it, in one instruction, instead of writing EOI.
//!
//! The bit is looked at and changed only while the vCPU itself makes an access, between two of its
//! instructions: the guest needs no locked instruction. Its next access [settles](
//! LocalApics::settle) the offer. If the bit is clear, the interrupt has ended; if not, the offer
//! is taken back, and the guest will write EOI.
//!
//! Meanwhile the interrupt is still in service here, and what arrives may wait for its end without
//! anybody who says that it came. So whatever arrives while there is an offer asserts the vCPU's
//! pin, and the acknowledge cycle finds out what is to be done: nothing, perhaps. Offers are a part
//! of the state, since the guest can see them: a vCPU that stops or goes to another engine keeps
//! its offer.

use trine_guest::Gpa;

use super::{Gp, LocalApics, state::Apic};
use crate::Cx;

/// The register: the guest wants offers. The other bits are the address, a multiple of 4.
pub(super) const ENABLED: u64 = 1;
pub(super) const RESERVED: u64 = 2;
/// The byte: there is an offer.
const OFFER: u8 = 1;

impl Apic {
    fn pv_eoi_byte(&self) -> Gpa {
        Gpa(self.pv_eoi & !ENABLED)
    }
}

impl LocalApics {
    /// MSR_KVM_EOI_EN of `vcpu`.
    #[must_use]
    pub fn pv_eoi(&self, vcpu: u32) -> u64 {
        self.index(vcpu).map_or(0, |n| self.state.apics[n].pv_eoi)
    }

    /// Writes MSR_KVM_EOI_EN of `cx.vcpu`.
    ///
    /// # Errors
    /// If the address is not a multiple of 4, or offers are wanted where there is no RAM.
    pub fn set_pv_eoi(&mut self, cx: &mut Cx<'_>, value: u64) -> Result<(), Gp> {
        let n = self.index(cx.vcpu).ok_or(Gp)?;
        let writable = || cx.ram.spot(Gpa(value & !ENABLED)).is_some_and(|spot| spot.writable);
        if value & RESERVED != 0 || value & ENABLED != 0 && !writable() {
            return Err(Gp);
        }
        self.settle(cx);
        self.state.apics[n].pv_eoi = value;
        Ok(())
    }

    /// Ends the interrupt in service of `cx.vcpu` if the guest has said so in memory, or takes the
    /// offer back. Returns whether there was one. Only while that vCPU executes no instruction.
    ///
    /// Every access of the vCPU begins with it. Who hands its interrupts over to an APIC of another
    /// kind, which knows no offers of ours, calls it before.
    pub fn settle(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(n) = self.index(cx.vcpu) else { return false };
        let apic = &mut self.state.apics[n];
        if !std::mem::take(&mut apic.has_offer) {
            return false;
        }
        let at = apic.pv_eoi_byte();
        let mut byte = [OFFER];
        // Where RAM has gone (a state that was made up), there was no end either.
        let stands = cx.ram.read(at, &mut byte).is_err() || byte[0] & OFFER != 0;
        if stands {
            let _ = cx.ram.write(at, &[byte[0] & !OFFER]);
        } else {
            self.end_of_interrupt(n);
        }
        self.update(n);
        true
    }

    /// APIC `n`, of `cx.vcpu`, has acknowledged `vector`: makes an offer if its end has no
    /// consequences.
    pub(super) fn offer(&mut self, cx: &mut Cx<'_>, n: usize, vector: u8) {
        let apic = &mut self.state.apics[n];
        let is_alone = apic.isr.is_only(vector) && apic.irr.highest().is_none();
        if apic.pv_eoi & ENABLED == 0 || !is_alone || apic.tmr.has(vector) {
            return;
        }
        let at = apic.pv_eoi_byte();
        let writable = cx.ram.spot(at).is_some_and(|spot| spot.writable);
        apic.has_offer = writable && cx.ram.write(at, &[OFFER]).is_ok();
    }
}
