//! Segment registers: their rights, and the check of an access against them.
//!
//! Source: SDM vol. 3A, sections 3.4.5 and 6.3 to 6.5.

use crate::{Core, Raised, Seg, Width, cr0, rflags, state::Segment, vector};

/// Descriptor type bit 0: it was accessed.
pub const ACCESSED: u32 = 1 << 0;
/// Type bit 1: data may be written, code read.
pub const WRITABLE: u32 = 1 << 1;
/// Type bit 1 of a code segment.
pub const READABLE: u32 = 1 << 1;
/// Type bit 2 of a data segment: it grows down.
pub const EXPAND_DOWN: u32 = 1 << 2;
/// Type bit 2 of a code segment: it runs at its caller's privilege.
pub const CONFORMING: u32 = 1 << 2;
/// Type bit 3: code.
pub const CODE: u32 = 1 << 3;
/// S: code or data, not a system segment.
pub const NOT_SYSTEM: u32 = 1 << 4;
/// P.
pub const PRESENT: u32 = 1 << 7;
/// L: 64-bit code.
pub const LONG: u32 = 1 << 13;
/// D/B: 32 bits.
pub const BIG: u32 = 1 << 14;
/// G: the limit counts pages.
pub const GRANULAR: u32 = 1 << 15;
/// A null selector was loaded.
pub const UNUSABLE: u32 = 1 << 16;

impl Segment {
    /// DPL.
    #[must_use]
    pub fn dpl(&self) -> u8 {
        (self.rights >> 5 & 3) as u8
    }

    /// Whether it holds the offsets above its limit.
    #[inline(always)]
    #[must_use]
    pub fn is_expand_down(&self) -> bool {
        self.rights & (CODE | EXPAND_DOWN) == EXPAND_DOWN
    }

    /// Whether any offset may be read and written through it and is its own linear address.
    #[must_use]
    pub fn is_flat_data(&self) -> bool {
        const WANTED: u32 = PRESENT | NOT_SYSTEM | WRITABLE;
        self.base == 0
            && self.limit == u32::MAX
            && self.rights & (WANTED | CODE | EXPAND_DOWN | UNUSABLE) == WANTED
    }

    /// Whether any offset may be read (and fetched) through it and is its own linear address.
    ///
    /// Stores through CS fault in protected mode whatever it is; the decoder treats a CS override
    /// of a store as not flat.
    #[must_use]
    pub fn is_flat_code(&self) -> bool {
        const WANTED: u32 = PRESENT | NOT_SYSTEM | CODE | READABLE;
        self.base == 0 && self.limit == u32::MAX && self.rights & (WANTED | UNUSABLE) == WANTED
    }
}

/// Whether `address` is canonical with `bits` (48 or 57) of linear address.
#[inline(always)]
#[must_use]
pub const fn is_canonical(address: u64, bits: u32) -> bool {
    let unused = 64 - bits;
    ((address << unused) as i64 >> unused) as u64 == address
}

impl Core {
    /// Bits of a linear address: 57 with CR4.LA57, else 48.
    #[inline(always)]
    #[must_use]
    pub fn linear_bits(&self) -> u32 {
        if self.control.cr4 & crate::cr4::LA57 != 0 { 57 } else { 48 }
    }

    /// The linear address of `seg:offset`, unchecked.
    pub(crate) fn based(&self, seg: Seg, offset: u64) -> u64 {
        let base = self.segments.seg[seg as usize].base;
        match () {
            () if !self.mode.is_64() => u64::from((base as u32).wrapping_add(offset as u32)),
            () if seg as u8 >= Seg::Fs as u8 => base.wrapping_add(offset),
            () => offset,
        }
    }

    /// Bits of a linear address that the CPU supports in any paging mode: registers that hold an
    /// address are checked against this (SDM vol. 3A, section 5.5.4; vol. 1, section 3.3.7.1).
    #[must_use]
    pub fn widest_linear_bits(&self) -> u32 {
        if self.model.has(crate::Feature::La57) { 57 } else { 48 }
    }

    /// Checks `size` bytes at `seg:offset` against the segment and for alignment, and gives their
    /// linear address. The page tables are not looked at.
    ///
    /// # Errors
    /// #SS(0) or #GP(0) by segment; #AC(0).
    #[inline]
    pub fn linear(&mut self, seg: Seg, offset: u64, size: u64, write: bool) -> Result<u64, Raised> {
        let lin = if self.mode.is_64() {
            let base =
                if seg as u8 >= Seg::Fs as u8 { self.segments.seg[seg as usize].base } else { 0 };
            let lin = base.wrapping_add(offset);
            if !is_canonical(lin, self.linear_bits()) {
                return Err(self.segment_fault(seg));
            }
            lin
        } else {
            if !self.segment_allows(seg, offset, size, write) {
                return Err(self.segment_fault(seg));
            }
            u64::from((self.segments.seg[seg as usize].base as u32).wrapping_add(offset as u32))
        };
        // Larger operands are checked by their instructions, if at all (SDM vol. 2A, section 2.4).
        let checked = size <= 8 && size.is_power_of_two();
        if checked && self.checks_alignment() && lin & (size - 1) != 0 {
            return Err(self.fault_code(vector::AC, 0));
        }
        let last = lin.wrapping_add(size.wrapping_sub(1));
        if self.mode.is_64() && !is_canonical(last, self.linear_bits()) {
            return Err(self.segment_fault(seg));
        }
        Ok(lin)
    }

    /// [`Core::linear`] without its exceptions: `None` where there might be one. In 64-bit mode the
    /// address may still be non-canonical; the TLB holds no such page.
    #[inline(always)]
    #[must_use]
    pub fn linear_if_plain(&self, seg: Seg, offset: u64, size: u64, write: bool) -> Option<u64> {
        if self.checks_alignment() {
            None
        } else if self.mode.is_64() {
            let based = seg as u8 >= Seg::Fs as u8;
            let base = if based { self.segments.seg[seg as usize].base } else { 0 };
            Some(base.wrapping_add(offset))
        } else {
            self.segment_allows(seg, offset, size, write).then(|| {
                let base = self.segments.seg[seg as usize].base as u32;
                u64::from(base.wrapping_add(offset as u32))
            })
        }
    }

    /// Whether data accesses are checked for alignment now.
    #[inline(always)]
    #[must_use]
    pub fn checks_alignment(&self) -> bool {
        self.cpl == 3 && self.control.cr0 & cr0::AM != 0 && self.system_flags & rflags::AC != 0
    }

    /// #SS(0) for the stack segment, #GP(0) for the others.
    #[cold]
    pub fn segment_fault(&mut self, seg: Seg) -> Raised {
        self.fault_code(if seg == Seg::Ss { vector::SS } else { vector::GP }, 0)
    }

    /// Outside of 64-bit mode: type and null.
    #[inline(always)]
    pub(crate) fn allows(&self, seg: Seg, write: bool) -> bool {
        if !self.mode.protected() {
            return true;
        }
        let rights = self.segments.seg[seg as usize].rights;
        let code = rights & CODE != 0;
        let bit1 = rights & WRITABLE != 0;
        // Data can be read and code cannot be written, whatever bit 1 says.
        let allowed = if write { !code && bit1 } else { !code || bit1 };
        rights & (UNUSABLE | PRESENT) == PRESENT && allowed
    }

    /// Outside of 64-bit mode: type, null and limit.
    #[inline]
    fn segment_allows(&self, seg: Seg, offset: u64, size: u64, write: bool) -> bool {
        if !self.allows(seg, write) {
            return false;
        }
        let s = &self.segments.seg[seg as usize];
        let last = offset.wrapping_add(size.wrapping_sub(1));
        if s.is_expand_down() {
            let top = if s.rights & BIG != 0 { 0xffff_ffff } else { 0xffff };
            offset > u64::from(s.limit) && last <= top && last >= offset
        } else {
            // In a segment of 4 GiB nothing lies beyond the limit: an access wraps (on Intel's CPUs;
            // SDM vol. 3A, section 6.3, leaves it open).
            s.limit == u32::MAX || last <= u64::from(s.limit) && last >= offset
        }
    }

    /// The width of the code segment's instruction pointer as a mask.
    #[inline(always)]
    #[must_use]
    pub fn ip_mask(&self) -> u64 {
        if self.mode.code() == Width::W64 { u64::MAX } else { 0xffff_ffff }
    }
}
