//! IRET, IRETD and IRETQ.
//!
//! Sources: SDM vol. 2, IRET; vol. 3A, sections 7.12.1, 7.14.3, 9.4 and 22.3.

use iced_x86::Code as C;

use crate::{
    Core, Insn, Raised, Seg,
    insn::Width,
    rflags::{self, IOPL, NT, RF, VIF, VIP, VM},
    state::Segment,
    system::{
        descriptor::{Descriptor, rpl},
        flag::vm86_virtual,
        load::VM86_RIGHTS,
        stack::Stack,
        task::Switch,
    },
    vector,
};

/// The flags that there are.
pub(crate) const FLAGS: u64 = rflags::ARITHMETIC
    | rflags::TF
    | rflags::IF
    | rflags::DF
    | IOPL
    | NT
    | RF
    | VM
    | rflags::AC
    | VIF
    | VIP
    | rflags::ID;

/// IRET, IRETD and IRETQ.
pub(crate) fn iret(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let w = match i.code {
        C::Iretw => Width::W16,
        C::Iretd => Width::W32,
        _ => Width::W64,
    };
    // Even if it faults.
    core.events.nmi_blocked = false;
    core.leave_block = true;
    if !core.mode.protected() {
        return core.return_real(w);
    }
    if core.system_flags & NT != 0 {
        return core.return_to_task();
    }
    let mut stack = Stack::current(core, 0);
    // Intel's CPUs read the flags first, then the selector.
    stack.peek(core, w, 2)?;
    stack.peek_selector(core, w.bytes())?;
    let ip = stack.pop(core, w)?;
    let selector = stack.pop_selector(core, w)?;
    let flags = stack.pop(core, w)?;
    if flags & VM != 0 && core.cpl == 0 && w == Width::W32 && !core.long_mode() {
        return core.return_to_vm86(stack, ip, selector, flags);
    }
    let d = core.return_segment(selector)?;
    let target = d.segment(selector);
    let outer = rpl(selector) > core.cpl;
    let new_stack = if outer || i.mode.is_64() {
        // Intel's CPUs read the selector first here too.
        stack.peek_selector(core, w.bytes())?;
        let sp = stack.pop(core, w)?;
        let ss = stack.pop_selector(core, w)?;
        Some(core.outer_stack(ss, sp, &target)?)
    } else {
        None
    };
    let ip = core.ip_of(&target, ip);
    core.check_ip(&target, ip, 0)?;
    let cs = core.accessed(&d, selector)?;
    let mask = core.flags_writable(w) & !VM;
    let flags = flags & mask | core.rflags() & !mask;
    match new_stack {
        Some(stack) => stack.commit_with_segment(core),
        None => stack.commit(core),
    }
    core.set_rflags(flags);
    core.enter(cs, ip);
    if outer {
        core.drop_inner_segments();
    }
    Ok(())
}

impl Core {
    /// Real mode, and virtual-8086 mode to itself.
    fn return_real(&mut self, w: Width) -> Result<(), Raised> {
        let with_vif = vm86_virtual(self, w)?;
        let mut stack = Stack::current(self, 0);
        let ip = stack.pop(self, w)?;
        let selector = stack.pop(self, w)? as u16;
        let flags = stack.pop(self, w)?;
        self.check_real_ip(ip)?;
        if with_vif {
            self.pop_virtual_flags(flags)?;
        } else {
            let mask = self.flags_writable(w) & !(VM | VIF | VIP);
            let mask = if self.vm86() { mask & !IOPL } else { mask };
            self.set_rflags(flags & mask | self.rflags() & !mask);
        }
        stack.commit(self);
        let cs = self.real_segment(Seg::Cs, selector);
        self.enter(cs, ip);
        Ok(())
    }

    /// From level 0 to virtual-8086 mode.
    fn return_to_vm86(
        &mut self,
        mut stack: Stack,
        ip: u64,
        cs: u16,
        flags: u64,
    ) -> Result<(), Raised> {
        let sp = stack.pop(self, Width::W32)?;
        let mut selectors = [(Seg::Cs, cs); 6];
        for (n, seg) in [Seg::Ss, Seg::Es, Seg::Ds, Seg::Fs, Seg::Gs].into_iter().enumerate() {
            selectors[n + 1] = (seg, stack.pop(self, Width::W32)? as u16);
        }
        if ip > 0xffff {
            return Err(self.gp(0));
        }
        for (seg, selector) in selectors {
            let base = u64::from(selector) << 4;
            self.segments.seg[seg as usize] =
                Segment { selector, base, limit: 0xffff, rights: VM86_RIGHTS };
        }
        self.set(Width::W32, 4, sp);
        self.set_rflags(flags & FLAGS | rflags::FIXED);
        self.rip = ip;
        self.refresh();
        Ok(())
    }

    /// With NT: back to the task that the TSS links to.
    fn return_to_task(&mut self) -> Result<(), Raised> {
        if self.long_mode() {
            return Err(self.gp(0));
        }
        let link = self.system_load(Width::W16, self.segments.tr.base)? as u16;
        let found = if link & 4 == 0 { self.descriptor(link)? } else { None };
        let fits = |d: &Descriptor| d.is_system() && Self::is_busy_tss(d.kind());
        let Some(d) = found.filter(fits) else {
            return Err(self.selector_fault(vector::TS, link, 0));
        };
        if !d.is_present() {
            return Err(self.selector_fault(vector::NP, link, 0));
        }
        self.switch_task(Switch::Return, link, &d, None)
    }
}
