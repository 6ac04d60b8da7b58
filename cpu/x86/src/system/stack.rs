//! The stack as far transfers and event delivery use it: perhaps not the current one yet.
//!
//! Sources: SDM vol. 3A, sections 6.8.5 and 7.12; vol. 1, section 6.2.

use crate::{
    Core, Exception, Raised, Seg,
    insn::Width,
    segment::{BIG, EXPAND_DOWN, LONG, is_canonical},
    state::Segment,
    tlb::Class,
    vector,
};

/// A stack that is being pushed to or popped from. Nothing in the CPU changes until its pointer is
/// taken over.
#[derive(Clone, Copy)]
pub(crate) struct Stack {
    segment: Segment,
    /// The pointer.
    pub sp: u64,
    /// The pointer's width.
    width: Width,
    class: Class,
    /// The error code of #SS: 0 for the current stack, a new stack's selector; EXT.
    code: u32,
    /// At CPL 3 with CR0.AM and EFLAGS.AC.
    aligned: bool,
    expand_down: bool,
}

impl Stack {
    /// The CPU's own stack; `code` is that of #SS.
    pub fn current(core: &Core, code: u32) -> Self {
        let segment = core.segments.seg[Seg::Ss as usize];
        Self {
            segment,
            sp: core.sp(),
            width: core.mode.stack(),
            class: core.class,
            code,
            aligned: core.checks_alignment(),
            expand_down: segment.rights & EXPAND_DOWN != 0 && core.mode.protected(),
        }
    }

    /// A new one, for code that runs at `cpl`; `long` if that is 64-bit code.
    pub fn new(core: &Core, segment: Segment, sp: u64, cpl: u8, long: bool, code: u32) -> Self {
        let width = match () {
            () if long => Width::W64,
            () if segment.rights & BIG != 0 => Width::W32,
            () => Width::W16,
        };
        let class = if cpl == 3 { Class::User } else { core.supervisor_class() };
        let expand_down = segment.rights & EXPAND_DOWN != 0;
        Self { segment, sp: sp & width.mask(), width, class, code, aligned: false, expand_down }
    }

    /// The same stack as code in `cs`, to which a transfer goes, uses it: in long mode CS says
    /// whether the pointer is SS's or 64 bits that know no segment.
    pub fn of_code(mut self, core: &Core, cs: &Segment) -> Self {
        self.sp |= core.get(Width::W64, 4) & !self.width.mask();
        self.width = match () {
            () if core.long_mode() && cs.rights & LONG != 0 => Width::W64,
            () if self.segment.rights & BIG != 0 => Width::W32,
            () => Width::W16,
        };
        self.sp &= self.width.mask();
        self
    }

    /// The word `n` words above the top.
    ///
    /// # Errors
    /// As [`Stack::push`].
    pub fn peek(&self, core: &mut Core, w: Width, n: u64) -> Result<u64, Raised> {
        let sp = self.sp.wrapping_add(n * w.bytes()) & self.width.mask();
        let lin = self.linear(core, sp, w.bytes())?;
        core.load_linear(w, self.class, Seg::Ss, lin)
    }

    /// The pointer moved by `bytes`.
    pub fn skip(&mut self, bytes: u64) {
        self.sp = self.sp.wrapping_add(bytes) & self.width.mask();
    }

    /// Pushes a word.
    ///
    /// # Errors
    /// #SS beyond the limit or where not canonical, #PF, #AC. Nothing is then stored.
    pub fn push(&mut self, core: &mut Core, w: Width, value: u64) -> Result<(), Raised> {
        let sp = self.sp.wrapping_sub(w.bytes()) & self.width.mask();
        let lin = self.linear(core, sp, w.bytes())?;
        core.store_linear(w, self.class, Seg::Ss, lin, value & w.mask())?;
        self.sp = sp;
        Ok(())
    }

    /// Pops a selector, of whose word two bytes are read.
    ///
    /// # Errors
    /// As [`Stack::push`].
    pub fn pop_selector(&mut self, core: &mut Core, w: Width) -> Result<u16, Raised> {
        let selector = self.peek_selector(core, 0)?;
        self.skip(w.bytes());
        Ok(selector)
    }

    /// The selector `bytes` above the top.
    ///
    /// # Errors
    /// As [`Stack::push`].
    pub fn peek_selector(&self, core: &mut Core, bytes: u64) -> Result<u16, Raised> {
        let sp = self.sp.wrapping_add(bytes) & self.width.mask();
        let lin = self.linear(core, sp, 2)?;
        Ok(core.load_linear(Width::W16, self.class, Seg::Ss, lin)? as u16)
    }

    /// Pops a word.
    ///
    /// # Errors
    /// As [`Stack::push`].
    pub fn pop(&mut self, core: &mut Core, w: Width) -> Result<u64, Raised> {
        let lin = self.linear(core, self.sp, w.bytes())?;
        let value = core.load_linear(w, self.class, Seg::Ss, lin)?;
        self.skip(w.bytes());
        Ok(value)
    }

    /// Takes the pointer over into RSP, in the stack's width.
    pub fn commit(&self, core: &mut Core) {
        core.set(self.width, 4, self.sp);
    }

    /// Takes segment and pointer over.
    pub fn commit_with_segment(&self, core: &mut Core) {
        core.segments.seg[Seg::Ss as usize] = self.segment;
        self.commit(core);
    }

    fn linear(&self, core: &mut Core, offset: u64, size: u64) -> Result<u64, Raised> {
        let last = offset.wrapping_add(size - 1);
        let (allowed, lin) = if self.width == Width::W64 {
            let bits = core.linear_bits();
            (is_canonical(offset, bits) && is_canonical(last, bits), offset)
        } else {
            let s = &self.segment;
            let limit = u64::from(s.limit);
            let top = if s.rights & BIG != 0 { 0xffff_ffff } else { 0xffff };
            let inside = if self.expand_down {
                offset > limit && last <= top
            } else {
                s.limit == u32::MAX || last <= limit
            };
            (inside, u64::from((s.base as u32).wrapping_add(offset as u32)))
        };
        if !allowed {
            let code = Some(self.code);
            return Err(core.raise(Exception { vector: vector::SS, code, payload: 0 }));
        }
        if self.aligned && lin & (size - 1) != 0 {
            return Err(core.fault_code(vector::AC, 0));
        }
        Ok(lin)
    }
}
