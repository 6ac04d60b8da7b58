//! Far JMP, CALL and RET: direct, through call gates, and to tasks.
//!
//! Sources: SDM vol. 2, JMP, CALL and RET; vol. 3A, sections 6.8.1 to 6.8.6.

use crate::{
    Core, Insn, Raised, Seg,
    insn::Width,
    segment::{BIG, LONG, is_canonical},
    state::Segment,
    system::{
        descriptor::{BUSY, Descriptor, TSS_16, TSS_32, error_code, is_null, null_segment, rpl},
        stack::Stack,
        task::Switch,
    },
    vector,
};

/// Types of gates (SDM vol. 3A, table 3-2).
pub(crate) const CALL_GATE_16: u32 = 4;
/// A task gate.
pub(crate) const TASK_GATE: u32 = 5;
/// A 32-bit call gate; in long mode a 64-bit one.
pub(crate) const CALL_GATE_32: u32 = 0xc;

/// JMP or CALL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transfer {
    Jump,
    Call,
}

/// What a call gate says.
struct Gate {
    selector: u16,
    offset: u64,
    width: Width,
    parameters: u64,
}

/// The target of a far JMP or CALL: selector and offset.
fn target(core: &mut Core, i: &Insn) -> Result<(u16, u64), Raised> {
    if !i.has_memory() {
        return Ok((i.imm as u16, u64::from(i.disp as u32) & i.width().mask()));
    }
    let w = far_width(i);
    let offset = core.address(i);
    let ip = core.load(w, i.seg(), offset)?;
    let behind = offset.wrapping_add(w.bytes()) & i.address_width().mask();
    let selector = core.load(Width::W16, i.seg(), behind)?;
    Ok((selector as u16, ip))
}

/// The operand size of a far transfer.
fn far_width(i: &Insn) -> Width {
    use iced_x86::Code as C;
    match i.code {
        C::Call_m1616 | C::Jmp_m1616 | C::Call_ptr1616 | C::Jmp_ptr1616 => Width::W16,
        C::Retfw | C::Retfw_imm16 => Width::W16,
        C::Call_m1664 | C::Jmp_m1664 | C::Retfq | C::Retfq_imm16 => Width::W64,
        _ => Width::W32,
    }
}

/// Far JMP.
pub(crate) fn jmp_far(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let (selector, ip) = target(core, i)?;
    if core.mode.protected() {
        return core.transfer(Transfer::Jump, selector, ip, far_width(i));
    }
    core.check_real_ip(ip)?;
    core.segments.seg[Seg::Cs as usize] = core.real_segment(Seg::Cs, selector);
    core.rip = ip;
    core.refresh();
    Ok(())
}

/// Far CALL.
pub(crate) fn call_far(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let (selector, ip) = target(core, i)?;
    let w = far_width(i);
    if core.mode.protected() {
        return core.transfer(Transfer::Call, selector, ip, w);
    }
    core.check_real_ip(ip)?;
    let cs = core.segments.seg[Seg::Cs as usize].selector;
    let mut stack = Stack::current(core, 0);
    stack.push(core, w, u64::from(cs))?;
    stack.push(core, w, core.rip)?;
    stack.commit(core);
    core.segments.seg[Seg::Cs as usize] = core.real_segment(Seg::Cs, selector);
    core.rip = ip;
    core.refresh();
    Ok(())
}

/// Far RET.
pub(crate) fn ret_far(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let w = far_width(i);
    let release = if i.has_immediate() { u64::from(i.imm as u16) } else { 0 };
    let mut stack = Stack::current(core, 0);
    // Intel's CPUs read the selector first.
    stack.peek_selector(core, w.bytes())?;
    let ip = stack.pop(core, w)?;
    let selector = stack.pop_selector(core, w)?;
    if core.mode.protected() {
        return core.return_far(stack, selector, ip, w, release);
    }
    core.check_real_ip(ip)?;
    stack.skip(release);
    stack.commit(core);
    core.segments.seg[Seg::Cs as usize] = core.real_segment(Seg::Cs, selector);
    core.rip = ip;
    core.refresh();
    Ok(())
}

impl Core {
    /// #GP(0) if `ip` lies outside of CS, which keeps its limit in real and virtual-8086 mode.
    pub(crate) fn check_real_ip(&mut self, ip: u64) -> Result<(), Raised> {
        let limit = if self.vm86() { 0xffff } else { self.segments.seg[Seg::Cs as usize].limit };
        if ip > u64::from(limit) { Err(self.gp(0)) } else { Ok(()) }
    }

    /// #GP(`code`) if `ip` cannot be executed in code segment `cs`.
    pub(crate) fn check_ip(&mut self, cs: &Segment, ip: u64, code: u32) -> Result<(), Raised> {
        let allowed = if self.long_mode() && cs.rights & LONG != 0 {
            is_canonical(ip, self.linear_bits())
        } else {
            ip <= u64::from(cs.limit)
        };
        if allowed { Ok(()) } else { Err(self.gp(code)) }
    }

    /// What a transfer to `cs` takes of a RIP: 64 bits only for 64-bit code.
    pub(crate) fn ip_of(&self, cs: &Segment, ip: u64) -> u64 {
        if self.long_mode() && cs.rights & LONG != 0 { ip } else { ip & 0xffff_ffff }
    }

    /// Whether L and D of a code segment contradict each other.
    pub(crate) fn is_bad_long(&self, d: &Descriptor) -> bool {
        self.long_mode() && d.rights() & (LONG | BIG) == LONG | BIG
    }

    /// Far JMP and CALL in protected mode.
    fn transfer(&mut self, how: Transfer, selector: u16, ip: u64, w: Width) -> Result<(), Raised> {
        if is_null(selector) {
            return Err(self.gp(0));
        }
        let Some(d) = self.descriptor(selector)? else {
            return Err(self.selector_fault(vector::GP, selector, 0));
        };
        if d.is_code() {
            return self.transfer_to_code(how, selector, &d, ip, w);
        }
        let long = self.long_mode();
        let visible = d.dpl() >= self.cpl.max(rpl(selector));
        if !d.is_system() || !visible {
            return Err(self.selector_fault(vector::GP, selector, 0));
        }
        match d.kind() {
            CALL_GATE_32 => self.transfer_through_gate(how, selector, &d),
            CALL_GATE_16 if !long => self.transfer_through_gate(how, selector, &d),
            TASK_GATE if !long => {
                if !d.is_present() {
                    return Err(self.selector_fault(vector::NP, selector, 0));
                }
                self.transfer_to_task(how, d.gate_selector())
            }
            TSS_16 | TSS_32 if !long => self.transfer_to_task(how, selector),
            _ => Err(self.selector_fault(vector::GP, selector, 0)),
        }
    }

    fn transfer_to_task(&mut self, how: Transfer, selector: u16) -> Result<(), Raised> {
        let d = self.available_tss(selector, vector::GP, 0)?;
        let how = if how == Transfer::Jump { Switch::Jump } else { Switch::Call };
        self.switch_task(how, selector, &d, None)
    }

    /// The descriptor of a task that may be switched to.
    pub(crate) fn available_tss(
        &mut self,
        selector: u16,
        bad: u8,
        ext: u32,
    ) -> Result<Descriptor, Raised> {
        let local = selector & 4 != 0 || is_null(selector);
        let found = if local { None } else { self.descriptor(selector)? };
        let fits = |d: &Descriptor| d.is_system() && d.kind() | (TSS_32 & !TSS_16) == TSS_32;
        let Some(d) = found.filter(fits) else {
            return Err(self.selector_fault(bad, selector, ext));
        };
        if !d.is_present() {
            return Err(self.selector_fault(vector::NP, selector, ext));
        }
        Ok(d)
    }

    fn transfer_to_code(
        &mut self,
        how: Transfer,
        selector: u16,
        d: &Descriptor,
        ip: u64,
        w: Width,
    ) -> Result<(), Raised> {
        let cpl = self.cpl;
        let allowed =
            if d.is_conforming() { d.dpl() <= cpl } else { rpl(selector) <= cpl && d.dpl() == cpl };
        if !allowed || self.is_bad_long(d) {
            return Err(self.selector_fault(vector::GP, selector, 0));
        }
        if !d.is_present() {
            return Err(self.selector_fault(vector::NP, selector, 0));
        }
        let target = d.segment(selector & !3 | u16::from(cpl));
        self.transfer_same_level(how, d, target, ip, w)
    }

    /// The last part of a transfer that stays at its privilege level.
    fn transfer_same_level(
        &mut self,
        how: Transfer,
        d: &Descriptor,
        target: Segment,
        ip: u64,
        w: Width,
    ) -> Result<(), Raised> {
        let ip = self.ip_of(&target, ip);
        if how == Transfer::Call {
            let cs = self.segments.seg[Seg::Cs as usize].selector;
            let mut stack = Stack::current(self, 0).of_code(self, &target);
            stack.push(self, w, u64::from(cs))?;
            stack.push(self, w, self.rip)?;
            self.check_ip(&target, ip, 0)?;
            let cs = self.accessed(d, target.selector)?;
            stack.commit(self);
            self.enter(cs, ip);
        } else {
            self.check_ip(&target, ip, 0)?;
            let cs = self.accessed(d, target.selector)?;
            self.enter(cs, ip);
        }
        Ok(())
    }

    /// Loads CS and RIP.
    pub(crate) fn enter(&mut self, cs: Segment, ip: u64) {
        // Intel's CPUs leave RSP's upper half behind when they leave 64-bit code, and no other
        // register's (SDM vol. 1, section 3.4.1.1, lets them do so with all).
        if self.mode.is_64() && cs.rights & LONG == 0 {
            self.set(Width::W32, 4, self.get(Width::W32, 4));
        }
        self.segments.seg[Seg::Cs as usize] = cs;
        self.rip = ip;
        self.refresh();
    }

    /// What a call gate says, once it may be used.
    fn gate(&mut self, selector: u16, d: &Descriptor) -> Result<Gate, Raised> {
        let mut offset = d.gate_offset();
        let mut width = if d.kind() == CALL_GATE_32 { Width::W32 } else { Width::W16 };
        if self.long_mode() {
            let Some(high) = self.descriptor_high(selector, d)? else {
                return Err(self.selector_fault(vector::GP, selector, 0));
            };
            offset |= high << 32;
            width = Width::W64;
        }
        if !d.is_present() {
            return Err(self.selector_fault(vector::NP, selector, 0));
        }
        if width == Width::W16 {
            offset &= 0xffff;
        }
        let parameters = if width == Width::W64 { 0 } else { d.bits >> 32 & 0x1f };
        Ok(Gate { selector: d.gate_selector(), offset, width, parameters })
    }

    fn transfer_through_gate(
        &mut self,
        how: Transfer,
        selector: u16,
        d: &Descriptor,
    ) -> Result<(), Raised> {
        let gate = self.gate(selector, d)?;
        if is_null(gate.selector) {
            return Err(self.gp(0));
        }
        let found = self.descriptor(gate.selector)?;
        let cpl = self.cpl;
        let long = self.long_mode();
        let fits = |d: &Descriptor| {
            let level = if how == Transfer::Call || d.is_conforming() {
                d.dpl() <= cpl
            } else {
                d.dpl() == cpl
            };
            d.is_code() && level && (!long || d.rights() & (LONG | BIG) == LONG)
        };
        let Some(code) = found.filter(fits) else {
            return Err(self.selector_fault(vector::GP, gate.selector, 0));
        };
        if !code.is_present() {
            return Err(self.selector_fault(vector::NP, gate.selector, 0));
        }
        if how == Transfer::Call && !code.is_conforming() && code.dpl() < cpl {
            return self.call_inner(&gate, &code);
        }
        let target = code.segment(gate.selector & !3 | u16::from(cpl));
        self.transfer_same_level(how, &code, target, gate.offset, gate.width)
    }

    /// CALL through a gate to a more privileged level: a new stack, the parameters copied to it.
    fn call_inner(&mut self, gate: &Gate, code: &Descriptor) -> Result<(), Raised> {
        let level = code.dpl();
        let w = gate.width;
        let mut stack = self.inner_stack(level, 0)?;
        let target = code.segment(gate.selector & !3 | u16::from(level));
        let mut old = Stack::current(self, 0);
        let (old_ss, old_sp) = (self.segments.seg[Seg::Ss as usize].selector, old.sp);
        let cs = self.segments.seg[Seg::Cs as usize].selector;
        let mut parameters = [0; 31];
        let parameters = &mut parameters[..(gate.parameters as usize).min(31)];
        for parameter in parameters.iter_mut() {
            *parameter = old.pop(self, w)?;
        }
        stack.push(self, w, u64::from(old_ss))?;
        stack.push(self, w, old_sp)?;
        for parameter in parameters.iter().rev() {
            stack.push(self, w, *parameter)?;
        }
        stack.push(self, w, u64::from(cs))?;
        stack.push(self, w, self.rip)?;
        self.check_ip(&target, gate.offset, 0)?;
        let cs = self.accessed(code, target.selector)?;
        stack.commit_with_segment(self);
        self.enter(cs, gate.offset);
        Ok(())
    }

    /// The stack that the TSS holds for privilege `level`, checked.
    ///
    /// # Errors
    /// #TS, #SS, #PF.
    pub(crate) fn inner_stack(&mut self, level: u8, ext: u32) -> Result<Stack, Raised> {
        let tr = self.segments.tr;
        let n = u64::from(level & 3);
        let long = self.long_mode();
        let wide = tr.rights & (TSS_32 & !TSS_16) != 0;
        let (at, size) = match () {
            () if long => (4 + 8 * n, 8),
            () if wide => (4 + 8 * n, 6),
            () => (2 + 4 * n, 4),
        };
        if at + size - 1 > u64::from(tr.limit) {
            return Err(self.selector_fault(vector::TS, tr.selector, ext));
        }
        let at = tr.base.wrapping_add(at);
        if long {
            let sp = self.system_load(Width::W64, at)?;
            let segment = null_segment(u16::from(level), level);
            return Ok(Stack::new(self, segment, sp, level, true, ext));
        }
        let w = if wide { Width::W32 } else { Width::W16 };
        let sp = self.system_load(w, at)?;
        let selector = self.system_load(Width::W16, at.wrapping_add(w.bytes()))? as u16;
        let segment = self.stack_segment(selector, level, vector::TS, ext)?;
        Ok(Stack::new(self, segment, sp, level, false, error_code(selector) | ext))
    }

    /// The code segment that RET and IRET go to, checked but not loaded.
    pub(crate) fn return_segment(&mut self, selector: u16) -> Result<Descriptor, Raised> {
        if is_null(selector) {
            return Err(self.gp(0));
        }
        let level = rpl(selector);
        let found = self.descriptor(selector)?;
        let cpl = self.cpl;
        let fits = |d: &Descriptor| {
            let dpl = if d.is_conforming() { d.dpl() <= level } else { d.dpl() == level };
            d.is_code() && level >= cpl && dpl
        };
        let Some(d) = found.filter(fits).filter(|d| !self.is_bad_long(d)) else {
            return Err(self.selector_fault(vector::GP, selector, 0));
        };
        if !d.is_present() {
            return Err(self.selector_fault(vector::NP, selector, 0));
        }
        Ok(d)
    }

    /// Far RET in protected mode, after CS and IP have been popped from `stack`.
    fn return_far(
        &mut self,
        mut stack: Stack,
        selector: u16,
        ip: u64,
        w: Width,
        release: u64,
    ) -> Result<(), Raised> {
        let d = self.return_segment(selector)?;
        let target = d.segment(selector);
        let ip = self.ip_of(&target, ip);
        if rpl(selector) == self.cpl {
            self.check_ip(&target, ip, 0)?;
            let cs = self.accessed(&d, selector)?;
            // Intel's CPUs sum up what is released in the width of the old stack, and add it in that
            // of the new one.
            let released = (2 * w.bytes()).wrapping_add(release) & self.mode.stack().mask();
            let mut stack = Stack::current(self, 0).of_code(self, &target);
            stack.skip(released);
            stack.commit(self);
            self.enter(cs, ip);
            return Ok(());
        }
        stack.skip(release);
        let sp = stack.pop(self, w)?;
        let ss = stack.pop(self, w)? as u16;
        let mut outer = self.outer_stack(ss, sp, &target)?;
        self.check_ip(&target, ip, 0)?;
        let cs = self.accessed(&d, selector)?;
        outer.skip(release);
        outer.commit_with_segment(self);
        self.enter(cs, ip);
        self.drop_inner_segments();
        Ok(())
    }

    /// The stack of the less privileged code in `cs` that RET and IRET return to.
    pub(crate) fn outer_stack(
        &mut self,
        selector: u16,
        sp: u64,
        cs: &Segment,
    ) -> Result<Stack, Raised> {
        let level = rpl(cs.selector);
        let long = self.long_mode() && cs.rights & LONG != 0;
        let segment = if is_null(selector) {
            // Only 64-bit code above CPL 3 can do without a stack segment.
            if !long || level == 3 || rpl(selector) != level {
                return Err(self.gp(0));
            }
            null_segment(selector, level)
        } else {
            self.stack_segment(selector, level, vector::GP, 0)?
        };
        Ok(Stack::new(self, segment, sp, level, long, 0))
    }

    /// After a return to an outer level: DS, ES, FS and GS that it may not see become null.
    pub(crate) fn drop_inner_segments(&mut self) {
        use crate::segment::{CODE, CONFORMING, UNUSABLE};
        let cpl = self.cpl;
        for seg in [Seg::Es, Seg::Ds, Seg::Fs, Seg::Gs] {
            let s = &mut self.segments.seg[seg as usize];
            let conforming = s.rights & (CODE | CONFORMING) == CODE | CONFORMING;
            if s.rights & UNUSABLE == 0 && !conforming && s.dpl() < cpl {
                // Its base stays: 64-bit code goes on using that of FS and GS.
                s.selector = 0;
                s.rights |= UNUSABLE;
            }
        }
        self.refresh();
    }

    /// Whether `kind` is that of a busy TSS.
    pub(crate) fn is_busy_tss(kind: u32) -> bool {
        kind == TSS_16 | BUSY || kind == TSS_32 | BUSY
    }
}
