//! Loads and stores of segment registers: MOV, PUSH, POP, LDS, LES, LFS, LGS, LSS.
//!
//! Sources: SDM vol. 2, these instructions; vol. 3A, sections 3.4.2, 22.3.1 and 22.1.1.

use crate::{
    Core, Insn, Raised, Seg,
    insn::Width,
    segment::{ACCESSED, NOT_SYSTEM, PRESENT, UNUSABLE, WRITABLE},
    state::{Segment, Shadow},
    system::descriptor::{is_null, null_segment, rpl},
    vector,
};

/// Rights of every segment in virtual-8086 mode.
pub(crate) const VM86_RIGHTS: u32 = PRESENT | 3 << 5 | NOT_SYSTEM | WRITABLE | ACCESSED;

/// MOV from a segment register.
pub(crate) fn mov_from_sreg(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let selector = selector_of(core, i.ops[1])?;
    if i.is_memory(0) {
        let offset = core.address(i);
        core.store(Width::W16, i.seg(), offset, selector)
    } else {
        core.set(i.width(), i.ops[0], selector);
        Ok(())
    }
}

/// MOV to a segment register.
pub(crate) fn mov_to_sreg(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let seg = loadable(core, i.ops[0])?;
    let selector = core.source_16(i, 1)?;
    core.load_segment(seg, selector as u16)?;
    shadow_of(core, seg);
    Ok(())
}

/// PUSH of a segment register. With a 32-bit operand, recent CPUs move 16 bits and leave the rest
/// of the stack's word as it was.
pub(crate) fn push_sreg(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let selector = selector_of(core, i.ops[0])?;
    let sp = core.sp().wrapping_sub(i.width().bytes()) & i.mode.stack().mask();
    let w = if i.width() == Width::W32 { Width::W16 } else { i.width() };
    core.store(w, Seg::Ss, sp, selector)?;
    core.set_sp(sp);
    Ok(())
}

/// POP of a segment register.
pub(crate) fn pop_sreg(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let seg = loadable(core, i.ops[0])?;
    let sp = core.sp();
    let selector = core.load(Width::W16, Seg::Ss, sp)?;
    // The pointer moves in the stack that was popped from, by the width that this one has.
    let stack = i.mode.stack();
    core.load_segment(seg, selector as u16)?;
    core.set(stack, 4, sp.wrapping_add(i.width().bytes()) & stack.mask());
    shadow_of(core, seg);
    Ok(())
}

/// LDS, LES, LFS, LGS and LSS.
fn load_far_pointer(core: &mut Core, i: &Insn, seg: Seg) -> Result<(), Raised> {
    if !i.is_memory(1) {
        return Err(core.ud());
    }
    // The first operand's width: the memory operand has two more bytes.
    let w = i.width();
    let offset = core.address(i);
    let value = core.load(w, i.seg(), offset)?;
    let behind = offset.wrapping_add(w.bytes()) & i.address_width().mask();
    let selector = core.load(Width::W16, i.seg(), behind)?;
    core.load_segment(seg, selector as u16)?;
    core.set(w, i.ops[0], value);
    Ok(())
}

/// LES.
pub(crate) fn les(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    load_far_pointer(core, i, Seg::Es)
}

/// LDS.
pub(crate) fn lds(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    load_far_pointer(core, i, Seg::Ds)
}

/// LSS.
pub(crate) fn lss(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    load_far_pointer(core, i, Seg::Ss)
}

/// LFS.
pub(crate) fn lfs(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    load_far_pointer(core, i, Seg::Fs)
}

/// LGS.
pub(crate) fn lgs(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    load_far_pointer(core, i, Seg::Gs)
}

/// The selector in segment register `number`.
fn selector_of(core: &mut Core, number: u8) -> Result<u64, Raised> {
    match core.segments.seg.get(usize::from(number)) {
        Some(segment) => Ok(u64::from(segment.selector)),
        None => Err(core.ud()),
    }
}

/// The segment register `number`, if MOV and POP may load it.
fn loadable(core: &mut Core, number: u8) -> Result<Seg, Raised> {
    match Seg::ALL.get(usize::from(number)) {
        Some(seg) if *seg != Seg::Cs => Ok(*seg),
        _ => Err(core.ud()),
    }
}

fn shadow_of(core: &mut Core, seg: Seg) {
    if seg == Seg::Ss {
        core.events.shadow = Shadow::MovSs;
        core.leave_block = true;
    }
}

impl Core {
    /// The stack pointer, of the stack's width.
    pub(crate) fn sp(&self) -> u64 {
        self.regs[4] & self.mode.stack().mask()
    }

    /// Sets it, in the stack's width.
    pub(crate) fn set_sp(&mut self, value: u64) {
        let stack = self.mode.stack();
        self.set(stack, 4, value & stack.mask());
    }

    /// Loads ES, SS, DS, FS or GS with all that the mode asks for.
    ///
    /// # Errors
    /// #GP, #NP, #SS with the selector; #PF on the descriptor table.
    pub(crate) fn load_segment(&mut self, seg: Seg, selector: u16) -> Result<(), Raised> {
        let loaded = if !self.mode.protected() {
            self.real_segment(seg, selector)
        } else if seg != Seg::Ss {
            self.data_segment(selector, self.cpl, vector::GP, 0)?
        } else if is_null(selector) {
            // Only 64-bit code above CPL 3 can do without a stack segment.
            if !self.mode.is_64() || self.cpl == 3 || rpl(selector) != self.cpl {
                return Err(self.gp(0));
            }
            null_segment(selector, self.cpl)
        } else {
            self.stack_segment(selector, self.cpl, vector::GP, 0)?
        };
        self.segments.seg[seg as usize] = loaded;
        if (seg as u8) < Seg::Fs as u8 {
            self.refresh();
        } else {
            self.renew_extent(seg);
        }
        Ok(())
    }

    /// What loading `selector` makes of a segment register in real and virtual-8086 mode. In real
    /// mode limit and rights stay what they were: that is "unreal mode".
    pub(crate) fn real_segment(&self, seg: Seg, selector: u16) -> Segment {
        let base = u64::from(selector) << 4;
        if self.vm86() {
            return Segment { selector, base, limit: 0xffff, rights: VM86_RIGHTS };
        }
        let old = self.segments.seg[seg as usize];
        let rights = if old.rights & UNUSABLE != 0 {
            PRESENT | NOT_SYSTEM | WRITABLE | ACCESSED
        } else {
            old.rights
        };
        Segment { selector, base, rights, ..old }
    }
}
