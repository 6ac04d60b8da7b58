//! Hardware task switches.
//!
//! Everything up to the commit point leaves no trace and belongs to the old task. What goes wrong
//! behind it belongs to the new one: its registers are in place, and the exception is raised there.
//!
//! Source: SDM vol. 3A, chapter 9; figures 9-2 and 9-10 for the layouts.

use crate::{
    Core, Raised, Seg, cr0, cr4, dr6,
    insn::Width,
    rflags::{self, NT, VM},
    state::Segment,
    system::{
        descriptor::{BUSY, Descriptor, TSS_32, is_null, null_segment, rpl},
        event::Event,
        iret::FLAGS,
        load::VM86_RIGHTS,
        stack::Stack,
    },
    tlb::Class,
    vector,
};

/// What switches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    /// JMP.
    Jump,
    /// CALL.
    Call,
    /// An interrupt or exception through a task gate.
    Event,
    /// IRET with NT.
    Return,
}

impl Switch {
    /// Whether the old task waits for the new one to return.
    fn nests(self) -> bool {
        matches!(self, Self::Call | Self::Event)
    }
}

/// The segment registers in the order of the TSS.
const SEGMENTS: [Seg; 6] = [Seg::Es, Seg::Cs, Seg::Ss, Seg::Ds, Seg::Fs, Seg::Gs];

/// Where the fields lie.
struct Layout {
    width: Width,
    /// The least limit.
    limit: u64,
    eip: u64,
    eflags: u64,
    /// EAX, then the other seven.
    gpr: u64,
    /// ES, then the others.
    segments: u64,
    count: usize,
    ldt: u64,
}

const LAYOUT_16: Layout = Layout {
    width: Width::W16,
    limit: 0x2b,
    eip: 0x0e,
    eflags: 0x10,
    gpr: 0x12,
    segments: 0x22,
    count: 4,
    ldt: 0x2a,
};

const LAYOUT_32: Layout = Layout {
    width: Width::W32,
    limit: 0x67,
    eip: 0x20,
    eflags: 0x24,
    gpr: 0x28,
    segments: 0x48,
    count: 6,
    ldt: 0x60,
};

const CR3: u64 = 0x1c;
/// The debug trap flag.
const TRAP: u64 = 0x64;

/// Which layout a TSS of that type has.
fn layout(kind: u32) -> &'static Layout {
    if kind | BUSY == TSS_32 | BUSY { &LAYOUT_32 } else { &LAYOUT_16 }
}

/// A task as its TSS holds it.
#[derive(Clone, Copy, Default)]
struct Image {
    cr3: Option<u64>,
    eip: u64,
    eflags: u64,
    gpr: [u64; 8],
    segments: [u16; 6],
    ldt: u16,
    trap: bool,
}

impl Core {
    /// Switches to the task of `tss`; `event` is what does it, if it is one.
    ///
    /// # Errors
    /// What goes wrong before the commit point; and behind it for an exception or an interrupt,
    /// whose delivery it then is that failed. For instructions, that is left in [`Core::raised`]
    /// for the boundary.
    pub(crate) fn switch_task(
        &mut self,
        how: Switch,
        selector: u16,
        tss: &Descriptor,
        event: Option<&Event>,
    ) -> Result<(), Raised> {
        let ext = event.map_or(0, Event::ext);
        let code = event.and_then(|event| event.code);
        let new = layout(tss.kind());
        if u64::from(tss.limit()) < new.limit {
            return Err(self.selector_fault(vector::TS, selector, ext));
        }
        let old_tr = self.segments.tr;
        let old = layout(old_tr.rights & 0xf);
        self.prove_writable(old_tr.base, old.limit)?;
        self.prove_writable(tss.base(), new.limit)?;
        let image = self.read_task(tss.base(), new)?;
        self.save_task(how, event, old_tr.base, old)?;
        if matches!(how, Switch::Jump | Switch::Return) {
            self.clear_busy(old_tr.selector)?;
        }
        if how.nests() {
            let link = u64::from(old_tr.selector);
            self.system_store(Width::W16, tss.base(), link)?;
        }
        if how != Switch::Return {
            self.set_descriptor_type(tss.at, BUSY)?;
        }
        // The commit point.
        let mut tr = tss.segment(selector);
        tr.rights |= BUSY;
        self.segments.tr = tr;
        self.control.cr0 |= cr0::TS;
        self.debug.dr7 &= !0x155;
        self.leave_block = true;
        match self.enter_task(how, &image, new, code, ext) {
            Err(raised) if event.is_some_and(|e| !e.is_instruction()) => Err(raised),
            // The engine finds it at the boundary, with RIP in the new task.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Proves that bytes 0 to `limit` of a TSS can be read and written.
    fn prove_writable(&mut self, base: u64, limit: u64) -> Result<(), Raised> {
        for at in [base, base.wrapping_add(limit)] {
            self.place(Class::Supervisor, Seg::Ds, at & 0xffff_ffff, 1)?;
        }
        Ok(())
    }

    fn read_task(&mut self, base: u64, t: &Layout) -> Result<Image, Raised> {
        let mut image = Image::default();
        let wide = t.width == Width::W32;
        let at = |offset: u64| base.wrapping_add(offset);
        if wide && self.control.cr0 & cr0::PG != 0 {
            image.cr3 = Some(self.system_load(Width::W32, at(CR3))?);
        }
        image.eip = self.system_load(t.width, at(t.eip))?;
        image.eflags = self.system_load(t.width, at(t.eflags))?;
        for (n, value) in image.gpr.iter_mut().enumerate() {
            *value = self.system_load(t.width, at(t.gpr + n as u64 * t.width.bytes()))?;
        }
        for (n, selector) in image.segments.iter_mut().enumerate().take(t.count) {
            let offset = t.segments + n as u64 * t.width.bytes();
            *selector = self.system_load(Width::W16, at(offset))? as u16;
        }
        image.ldt = self.system_load(Width::W16, at(t.ldt))? as u16;
        image.trap = wide && self.system_load(Width::W16, at(TRAP))? & 1 != 0;
        Ok(image)
    }

    /// Saves the old task in its TSS.
    fn save_task(
        &mut self,
        how: Switch,
        event: Option<&Event>,
        base: u64,
        t: &Layout,
    ) -> Result<(), Raised> {
        let mut flags = event.map_or(self.rflags(), |event| self.pushed_flags(event));
        if how == Switch::Return {
            flags &= !NT;
        }
        let at = |offset: u64| base.wrapping_add(offset);
        self.system_store(t.width, at(t.eip), self.rip & t.width.mask())?;
        self.system_store(t.width, at(t.eflags), flags & t.width.mask())?;
        for n in 0..8 {
            let value = self.regs[n as usize] & t.width.mask();
            self.system_store(t.width, at(t.gpr + n * t.width.bytes()), value)?;
        }
        for (n, seg) in SEGMENTS.iter().enumerate().take(t.count) {
            let selector = u64::from(self.segments.seg[*seg as usize].selector);
            let offset = t.segments + n as u64 * t.width.bytes();
            self.system_store(Width::W16, at(offset), selector)?;
        }
        Ok(())
    }

    /// Marks the task of `selector` as available.
    fn clear_busy(&mut self, selector: u16) -> Result<(), Raised> {
        match self.descriptor(selector & !4)? {
            Some(d) => self.update_descriptor_type(d.at, |kind| kind & !u64::from(BUSY)),
            None => Ok(()),
        }
    }

    /// Loads the new task. RIP, the flags and the general registers come first, so that an
    /// exception finds them.
    fn enter_task(
        &mut self,
        how: Switch,
        image: &Image,
        t: &Layout,
        code: Option<u32>,
        ext: u32,
    ) -> Result<(), Raised> {
        let mut flags = image.eflags & FLAGS | rflags::FIXED;
        if t.width == Width::W16 {
            flags &= 0xffff;
        }
        if how.nests() {
            flags |= NT;
        }
        for (reg, value) in self.regs.iter_mut().zip(image.gpr) {
            *reg = if t.width == Width::W16 { value | 0xffff_0000 } else { value };
        }
        self.rip = image.eip;
        self.set_rflags(flags);
        // Selectors first, all without a descriptor: what is not loaded yet cannot be used.
        for (seg, selector) in SEGMENTS.iter().zip(image.segments) {
            let dpl = if *seg == Seg::Ss { rpl(image.segments[1]) } else { 0 };
            self.segments.seg[*seg as usize] = null_segment(selector, dpl);
        }
        self.segments.ldtr = null_segment(image.ldt, 0);
        self.refresh();
        if let Some(cr3) = image.cr3 {
            self.load_task_cr3(cr3)?;
        }
        self.segments.ldtr = self.task_ldt(image.ldt, ext)?;
        if flags & VM != 0 {
            self.enter_vm86_task(image);
        } else {
            self.load_task_segments(image, ext)?;
        }
        let cs = self.segments.seg[Seg::Cs as usize];
        if let Some(code) = code {
            let mut stack = Stack::current(self, ext);
            stack.push(self, t.width, u64::from(code))?;
            stack.commit(self);
        }
        if self.rip > u64::from(cs.limit) {
            return Err(self.gp(ext));
        }
        if image.trap {
            self.events.pending_debug |= dr6::BT;
        }
        Ok(())
    }

    fn load_task_cr3(&mut self, cr3: u64) -> Result<(), Raised> {
        if self.control.cr4 & cr4::PAE != 0 {
            self.load_pdptes(cr3)?;
        }
        self.control.cr3 = cr3;
        self.flush_tlb_local();
        Ok(())
    }

    fn task_ldt(&mut self, selector: u16, ext: u32) -> Result<Segment, Raised> {
        self.ldt_segment(selector, vector::TS, ext)
    }

    fn enter_vm86_task(&mut self, image: &Image) {
        for (seg, selector) in SEGMENTS.iter().zip(image.segments) {
            let base = u64::from(selector) << 4;
            self.segments.seg[*seg as usize] =
                Segment { selector, base, limit: 0xffff, rights: VM86_RIGHTS };
        }
        self.refresh();
    }

    /// CS, SS, then the data segments, with #TS, #NP and #SS for what does not fit.
    fn load_task_segments(&mut self, image: &Image, ext: u32) -> Result<(), Raised> {
        let [es, cs, ss, ds, fs, gs] = image.segments;
        let found = if is_null(cs) { None } else { self.descriptor(cs)? };
        let level = rpl(cs);
        let fits = |d: &Descriptor| {
            let dpl = if d.is_conforming() { d.dpl() <= level } else { d.dpl() == level };
            d.is_code() && dpl
        };
        let Some(d) = found.filter(fits) else {
            return Err(self.selector_fault(vector::TS, cs, ext));
        };
        if !d.is_present() {
            return Err(self.selector_fault(vector::NP, cs, ext));
        }
        let code = self.accessed(&d, cs)?;
        self.segments.seg[Seg::Cs as usize] = code;
        self.refresh();
        let stack = self.stack_segment(ss, level, vector::TS, ext)?;
        self.segments.seg[Seg::Ss as usize] = stack;
        self.refresh();
        for (seg, selector) in [(Seg::Ds, ds), (Seg::Es, es), (Seg::Fs, fs), (Seg::Gs, gs)] {
            let segment = self.data_segment(selector, level, vector::TS, ext)?;
            self.segments.seg[seg as usize] = segment;
        }
        self.refresh();
        Ok(())
    }
}
