//! Descriptor-table registers, and the instructions that look at descriptors: LGDT, LIDT, SGDT,
//! SIDT, LLDT, LTR, SLDT, STR, LAR, LSL, VERR, VERW, ARPL.
//!
//! Sources: SDM vol. 2, these instructions; vol. 3A, sections 3.5.1 and 6.10.

use crate::{
    Core, Insn, Raised,
    insn::Width,
    segment::is_canonical,
    sem::Flag,
    state::{Segment, Table},
    system::descriptor::{BUSY, Descriptor, LDT, TSS_16, TSS_32, is_null, null_segment, rpl},
    vector,
};

/// SGDT.
pub(crate) fn sgdt(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let table = core.segments.gdtr;
    store_table(core, i, table)
}

/// SIDT.
pub(crate) fn sidt(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let table = core.segments.idtr;
    store_table(core, i, table)
}

/// All 32 bits of the base whatever the operand size, as every CPU since the 386 does.
fn store_table(core: &mut Core, i: &Insn, table: Table) -> Result<(), Raised> {
    core.require_no_umip()?;
    let offset = core.address(i);
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&table.limit.to_le_bytes());
    bytes[2..].copy_from_slice(&table.base.to_le_bytes());
    if i.mode.is_64() {
        core.store_array(i.seg(), offset, bytes)
    } else {
        let [a, b, c, d, e, f, ..] = bytes;
        core.store_array(i.seg(), offset, [a, b, c, d, e, f])
    }
}

/// LGDT.
pub(crate) fn lgdt(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.segments.gdtr = load_table(core, i)?;
    Ok(())
}

/// LIDT.
pub(crate) fn lidt(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.segments.idtr = load_table(core, i)?;
    Ok(())
}

fn load_table(core: &mut Core, i: &Insn) -> Result<Table, Raised> {
    use iced_x86::Code as C;
    core.require_cpl0()?;
    let offset = core.address(i);
    let mut bytes = [0; 10];
    if i.mode.is_64() {
        bytes = core.load_array(i.seg(), offset)?;
    } else {
        let short: [u8; 6] = core.load_array(i.seg(), offset)?;
        bytes[..6].copy_from_slice(&short);
    }
    let [l0, l1, base @ ..] = bytes;
    let mut base = u64::from_le_bytes(base);
    if matches!(i.code, C::Lgdt_m1632_16 | C::Lidt_m1632_16) {
        base &= 0xff_ffff;
    }
    if !is_canonical(base, core.widest_linear_bits()) {
        return Err(core.gp(0));
    }
    Ok(Table { base, limit: u16::from_le_bytes([l0, l1]) })
}

/// Stores a selector: 16 bits to memory, all of a register.
fn store_selector(core: &mut Core, i: &Insn, selector: u16) -> Result<(), Raised> {
    require_protected(core)?;
    core.require_no_umip()?;
    if i.is_memory(0) {
        let offset = core.address(i);
        core.store(Width::W16, i.seg(), offset, u64::from(selector))
    } else {
        core.set(i.width(), i.ops[0], u64::from(selector));
        Ok(())
    }
}

/// SLDT.
pub(crate) fn sldt(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let selector = core.segments.ldtr.selector;
    store_selector(core, i, selector)
}

/// STR.
pub(crate) fn str(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let selector = core.segments.tr.selector;
    store_selector(core, i, selector)
}

/// #UD in real and virtual-8086 mode.
fn require_protected(core: &mut Core) -> Result<(), Raised> {
    if core.mode.protected() { Ok(()) } else { Err(core.ud()) }
}

/// LLDT.
pub(crate) fn lldt(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    require_protected(core)?;
    core.require_cpl0()?;
    let selector = core.source_16(i, 0)? as u16;
    core.segments.ldtr = core.ldt_segment(selector, vector::GP, 0)?;
    Ok(())
}

/// LTR.
pub(crate) fn ltr(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    require_protected(core)?;
    core.require_cpl0()?;
    let selector = core.source_16(i, 0)? as u16;
    if is_null(selector) {
        return Err(core.gp(0));
    }
    let found = if selector & 4 == 0 { core.descriptor(selector)? } else { None };
    let long = core.long_mode();
    let fits =
        |d: &Descriptor| d.is_system() && (d.kind() == TSS_32 || d.kind() == TSS_16 && !long);
    let Some(d) = found.filter(fits) else {
        return Err(core.selector_fault(vector::GP, selector, 0));
    };
    if !d.is_present() {
        return Err(core.selector_fault(vector::NP, selector, 0));
    }
    let mut tr = core.system_segment(&d, selector, vector::GP, 0)?;
    core.set_descriptor_type(d.at, BUSY)?;
    tr.rights |= BUSY;
    core.segments.tr = tr;
    Ok(())
}

impl Core {
    /// What LDTR becomes. What does not fit raises `bad` (#GP or #TS).
    ///
    /// # Errors
    /// `bad`, #NP (with #TS: `bad` too), #PF.
    pub(crate) fn ldt_segment(
        &mut self,
        selector: u16,
        bad: u8,
        ext: u32,
    ) -> Result<Segment, Raised> {
        if is_null(selector) {
            return Ok(null_segment(selector, 0));
        }
        let found = if selector & 4 == 0 { self.descriptor(selector)? } else { None };
        let Some(d) = found.filter(|d| d.is_system() && d.kind() == LDT) else {
            return Err(self.selector_fault(bad, selector, ext));
        };
        if !d.is_present() {
            let vector = if bad == vector::TS { bad } else { vector::NP };
            return Err(self.selector_fault(vector, selector, ext));
        }
        self.system_segment(&d, selector, bad, ext)
    }

    /// The register of a TSS or LDT, whose descriptor has 16 bytes in long mode.
    ///
    /// # Errors
    /// `bad` if the upper half is wrong, #PF.
    pub(crate) fn system_segment(
        &mut self,
        d: &Descriptor,
        selector: u16,
        bad: u8,
        ext: u32,
    ) -> Result<Segment, Raised> {
        let mut segment = d.segment(selector);
        if self.long_mode() {
            let high = self.descriptor_high(selector, d)?;
            let base = high.map(|high| segment.base | high << 32);
            let bits = self.widest_linear_bits();
            match base.filter(|base| is_canonical(*base, bits)) {
                Some(base) => segment.base = base,
                None => return Err(self.selector_fault(bad, selector, ext)),
            }
        }
        Ok(segment)
    }

    /// The descriptor of LAR's, LSL's, VERR's or VERW's operand, if it can be seen at this
    /// privilege.
    fn visible(&mut self, selector: u16) -> Result<Option<Descriptor>, Raised> {
        if is_null(selector) {
            return Ok(None);
        }
        let least = self.cpl.max(rpl(selector));
        let found = self.descriptor(selector)?;
        Ok(found.filter(|d| d.is_code() && d.is_conforming() || d.dpl() >= least))
    }

    fn set_zf(&mut self, set: bool) {
        self.flags.set_masked(Flag::Zf.bit(), if set { Flag::Zf.bit() } else { 0 });
    }
}

/// Whether one of the `kinds` of system descriptors, as a set of bits, or code or data.
fn is_one_of(core: &Core, d: &Descriptor, legacy: u16, long: u16) -> bool {
    let kinds = if core.long_mode() { long } else { legacy };
    !d.is_system() || kinds >> d.kind() & 1 != 0
}

/// LAR.
pub(crate) fn lar(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    require_protected(core)?;
    let selector = core.source_16(i, 1)? as u16;
    let found = core.visible(selector)?;
    // All but the reserved types and interrupt and trap gates; in long mode LDT, TSS, call gate.
    match found.filter(|d| is_one_of(core, d, 0b0001_1010_0011_1110, 0b0001_1010_0000_0100)) {
        Some(d) => {
            let rights = d.bits >> 32 & 0x00ff_ff00;
            core.set(i.width(), i.ops[0], rights & i.width().mask());
            core.set_zf(true);
        }
        None => core.set_zf(false),
    }
    Ok(())
}

/// LSL.
pub(crate) fn lsl(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    require_protected(core)?;
    let selector = core.source_16(i, 1)? as u16;
    let found = core.visible(selector)?;
    // What has a limit: code, data, LDT and TSS.
    match found.filter(|d| is_one_of(core, d, 0b0000_1010_0000_1110, 0b0000_1010_0000_0100)) {
        Some(d) => {
            core.set(i.width(), i.ops[0], u64::from(d.limit()) & i.width().mask());
            core.set_zf(true);
        }
        None => core.set_zf(false),
    }
    Ok(())
}

/// VERR.
pub(crate) fn verr(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    require_protected(core)?;
    let selector = core.source_16(i, 0)? as u16;
    let found = core.visible(selector)?;
    core.set_zf(found.is_some_and(|d| d.is_readable()));
    Ok(())
}

/// VERW.
pub(crate) fn verw(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    require_protected(core)?;
    let selector = core.source_16(i, 0)? as u16;
    let found = core.visible(selector)?;
    core.set_zf(found.is_some_and(|d| d.is_writable_data()));
    Ok(())
}

/// ARPL (SDM vol. 2A).
pub(crate) fn arpl(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    require_protected(core)?;
    let least = core.get(Width::W16, i.ops[1]) & 3;
    if i.is_memory(0) {
        // Processors store, and need a writable place, only if the RPL changes.
        let offset = core.address(i);
        let old = core.load(Width::W16, i.seg(), offset)?;
        if old & 3 < least {
            core.store(Width::W16, i.seg(), offset, old & !3 | least)?;
        }
        core.set_zf(old & 3 < least);
    } else {
        let old = core.get(Width::W16, i.ops[0]);
        if old & 3 < least {
            core.set(Width::W16, i.ops[0], old & !3 | least);
        }
        core.set_zf(old & 3 < least);
    }
    Ok(())
}
