//! INT n, INT3, INTO and INT1, and their way within virtual-8086 mode.
//!
//! Sources: SDM vol. 2, INT n; vol. 3A, section 22.3.3 (the redirection bit map).

use crate::{
    Core, Insn, Raised, Seg, cr4,
    insn::Width,
    rflags::{IF, NT, RF, TF, VIF},
    segment::PRESENT,
    system::{
        descriptor::{BUSY, SYSTEM_TYPE, TSS_32},
        event::{Cause, Event},
        flag::virtual_flags,
        stack::Stack,
    },
    vector,
};

/// Where the TSS holds the offset of the I/O map, below which lies the redirection map.
const MAP_BASE: u64 = 0x66;
const REDIRECTION_SIZE: u64 = 32;

/// INT n.
pub(crate) fn int_n(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let vector = i.imm as u8;
    if core.vm86() {
        if core.control.cr4 & cr4::VME != 0 && core.is_redirected(vector)? {
            return core.deliver_vm86(vector);
        }
        if core.iopl() < 3 {
            return Err(core.gp(0));
        }
    }
    core.deliver_software(vector, Cause::Software)
}

/// INT3.
pub(crate) fn int3(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    core.deliver_software(vector::BP, Cause::Software)
}

/// INTO.
pub(crate) fn into(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    if !core.flags.of() {
        return Ok(());
    }
    core.deliver_software(vector::OF, Cause::Software)
}

/// INT1, also called ICEBP.
pub(crate) fn int1(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    core.deliver_software(vector::DB, Cause::Icebp)?;
    // What a breakpoint on data has left pending (after MOV SS) is told with it.
    let pending = std::mem::take(&mut core.events.pending_debug);
    if pending != 0 {
        core.note_debug(pending);
    }
    Ok(())
}

impl Core {
    /// Enters the handler of an interrupt instruction.
    fn deliver_software(&mut self, vector: u8, cause: Cause) -> Result<(), Raised> {
        self.deliver(&Event { vector, code: None, cause })?;
        self.counters.exceptions += 1;
        self.entered_handler = true;
        Ok(())
    }

    /// Whether the TSS leaves INT `vector` to the virtual-8086 program itself.
    fn is_redirected(&mut self, vector: u8) -> Result<bool, Raised> {
        let tr = self.segments.tr;
        let limit = u64::from(tr.limit);
        let wide = tr.rights & SYSTEM_TYPE | BUSY == TSS_32 | BUSY;
        if tr.rights & PRESENT == 0 || !wide || limit < MAP_BASE + 1 {
            return Err(self.gp(0));
        }
        let map = self.system_load(Width::W16, tr.base.wrapping_add(MAP_BASE))?;
        let at = map.wrapping_sub(REDIRECTION_SIZE).wrapping_add(u64::from(vector >> 3));
        if map < REDIRECTION_SIZE || at > limit {
            return Err(self.gp(0));
        }
        let bits = self.system_load(Width::W8, tr.base.wrapping_add(at))?;
        Ok(bits >> (vector & 7) & 1 == 0)
    }

    /// INT n through the program's own vector table at linear address 0.
    fn deliver_vm86(&mut self, vector: u8) -> Result<(), Raised> {
        let target = self.load_linear(Width::W32, self.class, Seg::Ds, u64::from(vector) * 4)?;
        let iopl_3 = self.iopl() == 3;
        let flags = self.rflags();
        let image = if iopl_3 { flags } else { virtual_flags(flags) };
        let cs = self.segments.seg[Seg::Cs as usize].selector;
        let mut stack = Stack::current(self, 0);
        stack.push(self, Width::W16, image)?;
        stack.push(self, Width::W16, u64::from(cs))?;
        stack.push(self, Width::W16, self.rip)?;
        stack.commit(self);
        self.system_flags &= !(TF | RF | NT | if iopl_3 { IF } else { VIF });
        let cs = self.real_segment(Seg::Cs, (target >> 16) as u16);
        self.enter(cs, target & 0xffff);
        self.entered_handler = true;
        Ok(())
    }
}
