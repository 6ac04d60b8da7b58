//! The way of an event through the interrupt table: the vectors of real mode, the gates of
//! protected and long mode.
//!
//! Sources: SDM vol. 2, INT n; vol. 3A, sections 7.10 to 7.14 and 22.1.4; sections 22.3.1 and
//! 22.3.2 for virtual-8086 mode.

use crate::{
    Core, Raised, Seg,
    insn::Width,
    rflags::{AC, IF, NT, RF, TF, VM},
    segment::{BIG, LONG},
    system::{
        descriptor::{Descriptor, is_null, null_segment},
        event::{Cause, Event},
        far::TASK_GATE,
        stack::Stack,
        task::Switch,
    },
    vector,
};

/// An interrupt or trap gate that may be used.
struct Gate {
    selector: u16,
    offset: u64,
    width: Width,
    /// Interrupt gates clear IF.
    clears_if: bool,
    /// Which stack of the TSS, or 0.
    ist: u64,
}

impl Core {
    /// Real mode: through the vector table.
    pub(crate) fn deliver_real(&mut self, vector: u8) -> Result<(), Raised> {
        let offset = u64::from(vector) * 4;
        let idtr = self.segments.idtr;
        if offset + 3 > u64::from(idtr.limit) {
            return Err(self.gp(u32::from(vector) << 3 | 2));
        }
        let target = self.system_load(Width::W32, idtr.base.wrapping_add(offset))?;
        let cs = self.segments.seg[Seg::Cs as usize].selector;
        let mut stack = Stack::current(self, 0);
        let flags = self.rflags();
        stack.push(self, Width::W16, flags)?;
        stack.push(self, Width::W16, u64::from(cs))?;
        stack.push(self, Width::W16, self.rip)?;
        let (ip, selector) = (target & 0xffff, (target >> 16) as u16);
        self.check_real_ip(ip)?;
        stack.commit(self);
        self.system_flags &= !(IF | TF | AC | RF);
        let cs = self.real_segment(Seg::Cs, selector);
        self.enter(cs, ip);
        Ok(())
    }

    /// Protected mode, virtual-8086 mode and long mode.
    pub(crate) fn deliver_through_gate(&mut self, event: &Event) -> Result<(), Raised> {
        let long = self.long_mode();
        let size = if long { 16 } else { 8 };
        let offset = u64::from(event.vector) * size;
        let idtr = self.segments.idtr;
        let code = u32::from(event.vector) << 3 | 2 | event.ext();
        if offset + size - 1 > u64::from(idtr.limit) {
            return Err(self.gp(code));
        }
        let at = idtr.base.wrapping_add(offset);
        let high = if long { self.system_load(Width::W64, at.wrapping_add(8))? } else { 0 };
        let d = Descriptor { at, bits: self.system_load(Width::W64, at)? };
        // Bit 0 of the type: a trap gate.
        let width = match d.kind() & !1 {
            _ if !d.is_system() => return Err(self.gp(code)),
            0xe if long => Width::W64,
            0xe => Width::W32,
            6 if !long => Width::W16,
            _ if d.kind() == TASK_GATE && !long => Width::W8,
            _ => return Err(self.gp(code)),
        };
        if event.cause == Cause::Software && d.dpl() < self.cpl {
            return Err(self.gp(code));
        }
        if !d.is_present() {
            return Err(self.fault_code(vector::NP, code));
        }
        if width == Width::W8 {
            let selector = d.gate_selector();
            let tss = self.available_tss(selector, vector::GP, event.ext())?;
            return self.switch_task(Switch::Event, selector, &tss, Some(event));
        }
        let offset = match width {
            Width::W16 => d.gate_offset() & 0xffff,
            Width::W64 => d.gate_offset() | high << 32,
            _ => d.gate_offset(),
        };
        let gate = Gate {
            selector: d.gate_selector(),
            offset,
            width,
            clears_if: d.kind() & 1 == 0,
            ist: if long { d.bits >> 32 & 7 } else { 0 },
        };
        self.enter_gate(event, &gate)
    }

    /// The code segment behind a gate.
    fn gate_segment(&mut self, selector: u16, ext: u32) -> Result<Descriptor, Raised> {
        if is_null(selector) {
            return Err(self.gp(ext));
        }
        let found = self.descriptor(selector)?;
        let (cpl, long) = (self.cpl, self.long_mode());
        let fits = |d: &Descriptor| {
            d.is_code() && d.dpl() <= cpl && (!long || d.rights() & (LONG | BIG) == LONG)
        };
        let Some(d) = found.filter(fits) else {
            return Err(self.selector_fault(vector::GP, selector, ext));
        };
        if !d.is_present() {
            return Err(self.selector_fault(vector::NP, selector, ext));
        }
        Ok(d)
    }

    fn enter_gate(&mut self, event: &Event, gate: &Gate) -> Result<(), Raised> {
        let ext = event.ext();
        let d = self.gate_segment(gate.selector, ext)?;
        let vm86 = self.vm86();
        let inner = !d.is_conforming() && d.dpl() < self.cpl;
        let level = if inner { d.dpl() } else { self.cpl };
        // From virtual-8086 mode there is no way but to level 0.
        if vm86 && level != 0 {
            return Err(self.selector_fault(vector::GP, gate.selector, ext));
        }
        let mut stack = self.gate_stack(gate, inner, level, ext)?;
        self.push_frame(&mut stack, event, gate.width, inner || self.long_mode())?;
        let target = d.segment(gate.selector & !3 | u16::from(level));
        self.check_ip(&target, gate.offset, ext)?;
        let cs = self.accessed(&d, target.selector)?;
        if inner {
            stack.commit_with_segment(self);
        } else {
            stack.commit(self);
        }
        if vm86 {
            for seg in [Seg::Es, Seg::Ds, Seg::Fs, Seg::Gs] {
                self.segments.seg[seg as usize] = null_segment(0, 0);
            }
        }
        self.system_flags &= !(TF | NT | RF | VM);
        if gate.clears_if {
            self.system_flags &= !IF;
        }
        self.enter(cs, gate.offset);
        Ok(())
    }

    /// The stack that the handler gets.
    fn gate_stack(
        &mut self,
        gate: &Gate,
        inner: bool,
        level: u8,
        ext: u32,
    ) -> Result<Stack, Raised> {
        if !self.long_mode() {
            return if inner {
                self.inner_stack(level, ext)
            } else {
                Ok(Stack::current(self, ext))
            };
        }
        let segment = if inner {
            null_segment(u16::from(level), level)
        } else {
            self.segments.seg[Seg::Ss as usize]
        };
        let sp = if gate.ist != 0 {
            let tr = self.segments.tr;
            let at = 0x1c + 8 * gate.ist;
            if at + 7 > u64::from(tr.limit) {
                return Err(self.selector_fault(vector::TS, tr.selector, ext));
            }
            self.system_load(Width::W64, tr.base.wrapping_add(at))?
        } else if inner {
            self.inner_stack(level, ext)?.sp
        } else {
            self.regs[4]
        };
        Ok(Stack::new(self, segment, sp & !15, level, true, ext))
    }

    /// Pushes what IRET will pop, and the error code.
    fn push_frame(
        &mut self,
        stack: &mut Stack,
        event: &Event,
        w: Width,
        with_stack: bool,
    ) -> Result<(), Raised> {
        let flags = self.pushed_flags(event);
        let selector = |core: &Self, seg: Seg| u64::from(core.segments.seg[seg as usize].selector);
        if self.vm86() {
            for seg in [Seg::Gs, Seg::Fs, Seg::Ds, Seg::Es] {
                stack.push(self, w, selector(self, seg))?;
            }
        }
        if with_stack {
            stack.push(self, w, selector(self, Seg::Ss))?;
            stack.push(self, w, self.regs[4])?;
        }
        stack.push(self, w, flags)?;
        stack.push(self, w, selector(self, Seg::Cs))?;
        stack.push(self, w, self.rip)?;
        if let Some(code) = event.code {
            stack.push(self, w, u64::from(code))?;
        }
        Ok(())
    }
}
