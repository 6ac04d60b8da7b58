//! Descriptors: how they are fetched, what is in them, and what may be loaded where.
//!
//! Sources: SDM vol. 3A, sections 3.4.2 to 3.5.1, 6.7 to 6.9 and 9.2.3; vol. 2, MOV and POP.

use crate::{
    Core, Exception, Raised,
    insn::Width,
    segment::{
        ACCESSED, CODE, CONFORMING, GRANULAR, NOT_SYSTEM, PRESENT, READABLE, UNUSABLE, WRITABLE,
    },
    state::Segment,
    tlb::Class,
    vector,
};

/// Type bits of a descriptor.
pub(crate) const SYSTEM_TYPE: u32 = 0xf;
/// Types of system descriptors (SDM vol. 3A, table 3-2).
pub(crate) const TSS_16: u32 = 1;
/// A local descriptor table.
pub(crate) const LDT: u32 = 2;
/// A 32-bit TSS; in long mode the 64-bit one.
pub(crate) const TSS_32: u32 = 9;
/// What makes a TSS's type that of a busy one.
pub(crate) const BUSY: u32 = 2;
/// The external event bit of an error code.
pub(crate) const EXT: u32 = 1;

/// A selector without its RPL is the error code that names it.
pub(crate) const fn error_code(selector: u16) -> u32 {
    selector as u32 & 0xfffc
}

/// Whether a selector is null.
pub(crate) const fn is_null(selector: u16) -> bool {
    selector & 0xfffc == 0
}

/// RPL.
pub(crate) const fn rpl(selector: u16) -> u8 {
    (selector & 3) as u8
}

/// Eight bytes of a descriptor table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    /// Its linear address.
    pub at: u64,
    /// The bytes.
    pub bits: u64,
}

impl Descriptor {
    /// Access rights as [`Segment::rights`] has them.
    pub fn rights(&self) -> u32 {
        (self.bits >> 40) as u32 & 0xf0ff
    }

    pub fn dpl(&self) -> u8 {
        (self.bits >> 45 & 3) as u8
    }

    pub fn is_present(&self) -> bool {
        self.rights() & PRESENT != 0
    }

    pub fn is_system(&self) -> bool {
        self.rights() & NOT_SYSTEM == 0
    }

    /// The type of a system descriptor.
    pub fn kind(&self) -> u32 {
        self.rights() & SYSTEM_TYPE
    }

    pub fn is_code(&self) -> bool {
        self.rights() & (NOT_SYSTEM | CODE) == NOT_SYSTEM | CODE
    }

    pub fn is_conforming(&self) -> bool {
        self.rights() & CONFORMING != 0
    }

    pub fn is_writable_data(&self) -> bool {
        self.rights() & (NOT_SYSTEM | CODE | WRITABLE) == NOT_SYSTEM | WRITABLE
    }

    /// Data, or code that may be read.
    pub fn is_readable(&self) -> bool {
        let r = self.rights();
        r & NOT_SYSTEM != 0 && (r & CODE == 0 || r & READABLE != 0)
    }

    /// Base, for code and data: the low 32 bits.
    pub fn base(&self) -> u64 {
        self.bits >> 16 & 0xff_ffff | self.bits >> 32 & 0xff00_0000
    }

    /// Limit in bytes.
    pub fn limit(&self) -> u32 {
        let limit = (self.bits & 0xffff | self.bits >> 32 & 0xf_0000) as u32;
        if self.rights() & GRANULAR != 0 { limit << 12 | 0xfff } else { limit }
    }

    /// The segment register that it fills.
    pub fn segment(&self, selector: u16) -> Segment {
        Segment { selector, base: self.base(), limit: self.limit(), rights: self.rights() }
    }

    /// Target selector of a gate.
    pub fn gate_selector(&self) -> u16 {
        (self.bits >> 16) as u16
    }

    /// The low 32 bits of a gate's offset.
    pub fn gate_offset(&self) -> u64 {
        self.bits & 0xffff | self.bits >> 32 & 0xffff_0000
    }
}

/// What a null selector leaves in a segment register.
pub(crate) fn null_segment(selector: u16, dpl: u8) -> Segment {
    Segment { selector, base: 0, limit: 0, rights: UNUSABLE | u32::from(dpl) << 5 }
}

impl Core {
    /// An exception whose error code names `selector`; `ext` is [`EXT`] or 0.
    #[cold]
    pub(crate) fn selector_fault(&mut self, vector: u8, selector: u16, ext: u32) -> Raised {
        let code = Some(error_code(selector) | ext);
        self.raise(Exception { vector, code, payload: 0 })
    }

    /// Base and limit of the table that `selector` points into.
    fn table(&self, selector: u16) -> Option<(u64, u64)> {
        if selector & 4 == 0 {
            let gdtr = self.segments.gdtr;
            return Some((gdtr.base, u64::from(gdtr.limit)));
        }
        let ldtr = &self.segments.ldtr;
        let usable = ldtr.rights & (UNUSABLE | PRESENT) == PRESENT;
        usable.then_some((ldtr.base, u64::from(ldtr.limit)))
    }

    /// The descriptor that `selector` names; `None` if the table ends before it.
    ///
    /// # Errors
    /// #PF on the table.
    pub(crate) fn descriptor(&mut self, selector: u16) -> Result<Option<Descriptor>, Raised> {
        let offset = u64::from(selector & 0xfff8);
        match self.table(selector) {
            Some((base, limit)) if offset + 7 <= limit => {
                let at = base.wrapping_add(offset);
                let bits = self.system_load(Width::W64, at)?;
                Ok(Some(Descriptor { at, bits }))
            }
            _ => Ok(None),
        }
    }

    /// The upper half of a 16-byte system descriptor of long mode; `None` if it is not all in the
    /// table or its type field is not 0.
    ///
    /// # Errors
    /// #PF on the table.
    pub(crate) fn descriptor_high(
        &mut self,
        selector: u16,
        low: &Descriptor,
    ) -> Result<Option<u64>, Raised> {
        let offset = u64::from(selector & 0xfff8);
        match self.table(selector) {
            Some((_, limit)) if offset + 15 <= limit => {
                let high = self.system_load(Width::W64, low.at.wrapping_add(8))?;
                Ok((high >> 40 & 0x1f == 0).then_some(high))
            }
            _ => Ok(None),
        }
    }

    /// Sets bits in the type of a descriptor in memory, in one atomic step.
    ///
    /// # Errors
    /// #PF if the table cannot be written.
    pub(crate) fn set_descriptor_type(&mut self, at: u64, bits: u32) -> Result<(), Raised> {
        self.update_descriptor_type(at, |byte| byte | u64::from(bits))
    }

    /// Changes the byte of a descriptor that holds its type, in one atomic step.
    ///
    /// # Errors
    /// #PF if the table cannot be written.
    pub(crate) fn update_descriptor_type(
        &mut self,
        at: u64,
        f: impl Fn(u64) -> u64,
    ) -> Result<(), Raised> {
        let at = at.wrapping_add(5);
        let at = if self.long_mode() { at } else { at & 0xffff_ffff };
        let place = self.place(Class::Supervisor, crate::Seg::Ds, at, 1)?;
        self.update_place(Width::W8, place, f);
        Ok(())
    }

    /// The segment register of `descriptor`, which is marked as accessed in memory.
    ///
    /// # Errors
    /// #PF if it has to be marked and the table cannot be written.
    pub(crate) fn accessed(
        &mut self,
        descriptor: &Descriptor,
        selector: u16,
    ) -> Result<Segment, Raised> {
        let mut segment = descriptor.segment(selector);
        if segment.rights & ACCESSED == 0 {
            self.set_descriptor_type(descriptor.at, ACCESSED)?;
            segment.rights |= ACCESSED;
        }
        Ok(segment)
    }

    /// A stack segment for use at `cpl`. What does not fit raises `bad` (#GP or #TS), except that a
    /// segment that is not present raises #SS.
    ///
    /// # Errors
    /// `bad`, #SS, #PF.
    pub(crate) fn stack_segment(
        &mut self,
        selector: u16,
        cpl: u8,
        bad: u8,
        ext: u32,
    ) -> Result<Segment, Raised> {
        let found = if is_null(selector) { None } else { self.descriptor(selector)? };
        let fits = |d: &Descriptor| rpl(selector) == cpl && d.is_writable_data() && d.dpl() == cpl;
        let Some(d) = found.filter(fits) else {
            return Err(self.selector_fault(bad, selector, ext));
        };
        if !d.is_present() {
            return Err(self.selector_fault(vector::SS, selector, ext));
        }
        self.accessed(&d, selector)
    }

    /// A segment for DS, ES, FS or GS at `cpl`, null allowed.
    ///
    /// # Errors
    /// `bad` (#GP or #TS), #NP, #PF.
    pub(crate) fn data_segment(
        &mut self,
        selector: u16,
        cpl: u8,
        bad: u8,
        ext: u32,
    ) -> Result<Segment, Raised> {
        if is_null(selector) {
            return Ok(null_segment(selector, 0));
        }
        let found = self.descriptor(selector)?;
        let fits = |d: &Descriptor| {
            let free = d.is_code() && d.is_conforming();
            d.is_readable() && (free || d.dpl() >= cpl.max(rpl(selector)))
        };
        let Some(d) = found.filter(fits) else {
            return Err(self.selector_fault(bad, selector, ext));
        };
        if !d.is_present() {
            return Err(self.selector_fault(vector::NP, selector, ext));
        }
        self.accessed(&d, selector)
    }
}
