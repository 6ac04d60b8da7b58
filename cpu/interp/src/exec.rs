//! The primitives of semantics over plain words: `impl Sem` with `Value = u64`.

use trine_x86::{
    Cold, Core, Flag, Insn, Place, Pure, Raised, Reach, Rmw, Seg, Sem, Width, is_canonical, rflags,
    slot,
};

/// What the records of a block execute on.
pub(crate) struct Exec {
    pub(crate) core: Core,
}

impl Exec {
    #[inline(always)]
    fn block_ip(&self) -> u64 {
        self.core.regs[usize::from(slot::BLOCK_IP)]
    }

    /// The address behind `i`.
    #[inline(always)]
    pub(crate) fn behind(&self, i: &Insn) -> u64 {
        self.block_ip().wrapping_add(u64::from(i.end)) & ip_mask(i)
    }

    /// The address of `i`.
    #[inline(always)]
    pub(crate) fn start(&self, i: &Insn) -> u64 {
        self.block_ip().wrapping_add(u64::from(i.start())) & ip_mask(i)
    }
}

fn ip_mask(i: &Insn) -> u64 {
    if i.mode.is_64() { u64::MAX } else { 0xffff_ffff }
}

/// A primitive stopped the instruction: it raised an exception, or (on the fast path) it is not
/// for the fast path.
pub(crate) struct Stopped;

impl From<Raised> for Stopped {
    fn from(Raised { .. }: Raised) -> Self {
        Self
    }
}

/// A way through an instruction.
///
/// The fast path (`FULL` false) makes no calls, so that its functions need no stack frame: what is
/// not a hit in the TLB, a plain store or a legal jump stops it, before anything has changed. The
/// instruction is then executed anew on the full path, which can do everything.
///
/// With `FLAGS` false, flags stay as they are: for where nobody will see what they would be.
pub(crate) struct Path<'a, const FULL: bool, const FLAGS: bool = true> {
    x: &'a mut Exec,
    /// Whether the instruction was a branch that was taken.
    pub(crate) taken: bool,
}

impl<'a, const FULL: bool, const FLAGS: bool> Path<'a, FULL, FLAGS> {
    #[inline(always)]
    pub(crate) fn new(x: &'a mut Exec) -> Self {
        Self { x, taken: false }
    }

    /// The linear address of an operand that is reached by `R`.
    #[inline(always)]
    fn linear<R: Reach>(
        &mut self,
        w: Width,
        i: &Insn,
        seg: Seg,
        offset: u64,
        write: bool,
    ) -> Result<u64, Stopped> {
        let core = &mut self.x.core;
        if R::FLAT {
            Ok(offset)
        } else if FULL {
            core.number = i.number;
            Ok(core.linear(seg, offset, w.bytes(), write)?)
        } else {
            core.linear_if_plain(seg, offset, w.bytes(), write).ok_or(Stopped)
        }
    }

    #[inline(always)]
    fn illegal_jump(&mut self) -> Stopped {
        if FULL { self.x.core.gp(0).into() } else { Stopped }
    }

    /// Where in RAM a store of `w` to `lin` goes, if it has nothing to do but store.
    #[inline(always)]
    fn quiet(&self, w: Width, lin: u64) -> Option<u64> {
        let core = &self.x.core;
        let at = core.writable(core.class, lin, w.bytes())?;
        if core.is_quiet(at) { Some(at) } else { None }
    }

    /// Proves an operand writable for a locked operation.
    #[inline(always)]
    fn locked_place<R: Reach>(
        &mut self,
        w: Width,
        i: &Insn,
        seg: Seg,
        offset: u64,
    ) -> Result<Place, Stopped> {
        if !FULL {
            return Err(Stopped);
        }
        let lin = self.linear::<R>(w, i, seg, offset, true)?;
        let core = &mut self.x.core;
        core.number = i.number;
        Ok(core.place_for_update(w, core.class, seg, lin)?)
    }
}

impl<const FULL: bool, const FLAGS: bool> Sem for Path<'_, FULL, FLAGS> {
    type Value = u64;
    type Place = Place;
    type Stop = Stopped;

    #[inline(always)]
    fn imm(&mut self, value: u64) -> u64 {
        value
    }

    #[inline(always)]
    fn get(&mut self, w: Width, reg: u8) -> u64 {
        self.x.core.get(w, reg)
    }

    #[inline(always)]
    fn set(&mut self, w: Width, reg: u8, value: u64) {
        self.x.core.set(w, reg, value);
    }

    #[inline(always)]
    fn address<R: Reach>(&mut self, i: &Insn) -> u64 {
        self.x.core.address_by::<R>(i)
    }

    #[inline(always)]
    fn load<R: Reach>(
        &mut self,
        w: Width,
        i: &Insn,
        seg: Seg,
        offset: u64,
    ) -> Result<u64, Stopped> {
        let lin = self.linear::<R>(w, i, seg, offset, false)?;
        let core = &mut self.x.core;
        if FULL {
            core.number = i.number;
            return Ok(core.load_linear(w, core.class, seg, lin)?);
        }
        let at = core.readable(core.class, lin, w.bytes()).ok_or(Stopped)?;
        core.load_quick(w, at).ok_or(Stopped)
    }

    #[inline(always)]
    fn store<R: Reach>(
        &mut self,
        w: Width,
        i: &Insn,
        seg: Seg,
        offset: u64,
        value: u64,
    ) -> Result<(), Stopped> {
        let lin = self.linear::<R>(w, i, seg, offset, true)?;
        if FULL {
            let core = &mut self.x.core;
            core.number = i.number;
            return Ok(core.store_linear(w, core.class, seg, lin, value)?);
        }
        let at = self.quiet(w, lin).ok_or(Stopped)?;
        self.x.core.store_quiet(w, at, value);
        Ok(())
    }

    #[inline(always)]
    fn load_for_write<R: Reach>(
        &mut self,
        w: Width,
        i: &Insn,
        seg: Seg,
        offset: u64,
    ) -> Result<(Place, u64), Stopped> {
        let lin = self.linear::<R>(w, i, seg, offset, true)?;
        if FULL {
            let core = &mut self.x.core;
            core.number = i.number;
            return Ok(core.load_linear_for_write(w, core.class, seg, lin)?);
        }
        let at = self.quiet(w, lin).ok_or(Stopped)?;
        let value = self.x.core.load_quick(w, at).ok_or(Stopped)?;
        Ok((Place::Ram(at), value))
    }

    #[inline(always)]
    fn commit(&mut self, w: Width, place: Place, value: u64) {
        match place {
            Place::Ram(at) if !FULL => self.x.core.store_quiet(w, at, value),
            _ if !FULL => unreachable!("the fast path opens no other places"),
            _ => self.x.core.commit(w, place, value),
        }
    }

    #[inline(always)]
    fn update<R: Reach>(
        &mut self,
        w: Width,
        i: &Insn,
        seg: Seg,
        offset: u64,
        op: Rmw,
        operand: u64,
    ) -> Result<u64, Stopped> {
        let place = self.locked_place::<R>(w, i, seg, offset)?;
        let carry = u64::from(self.x.core.flags.cf());
        Ok(self.x.core.update_place(w, place, |old| op.eval(old, operand, carry)))
    }

    #[inline(always)]
    fn compare_exchange<R: Reach>(
        &mut self,
        w: Width,
        i: &Insn,
        seg: Seg,
        offset: u64,
        expected: u64,
        new: u64,
    ) -> Result<u64, Stopped> {
        let place = self.locked_place::<R>(w, i, seg, offset)?;
        Ok(self.x.core.update_place(w, place, |old| if old == expected { new } else { old }))
    }

    #[inline(always)]
    fn add(&mut self, w: Width, a: u64, b: u64) -> u64 {
        a.wrapping_add(b) & w.mask()
    }

    #[inline(always)]
    fn sub(&mut self, w: Width, a: u64, b: u64) -> u64 {
        a.wrapping_sub(b) & w.mask()
    }

    #[inline(always)]
    fn and(&mut self, a: u64, b: u64) -> u64 {
        a & b
    }

    #[inline(always)]
    fn or(&mut self, a: u64, b: u64) -> u64 {
        a | b
    }

    #[inline(always)]
    fn xor(&mut self, a: u64, b: u64) -> u64 {
        a ^ b
    }

    #[inline(always)]
    fn not(&mut self, w: Width, a: u64) -> u64 {
        !a & w.mask()
    }

    #[inline(always)]
    fn shl(&mut self, w: Width, a: u64, n: u64) -> u64 {
        if n < u64::from(w.bits()) { (a << n) & w.mask() } else { 0 }
    }

    #[inline(always)]
    fn shr(&mut self, w: Width, a: u64, n: u64) -> u64 {
        if n < u64::from(w.bits()) { a >> n } else { 0 }
    }

    #[inline(always)]
    fn sar(&mut self, w: Width, a: u64, n: u64) -> u64 {
        (w.sign_extend(a) as i64 >> n.min(63)) as u64 & w.mask()
    }

    #[inline(always)]
    fn mul(&mut self, w: Width, a: u64, b: u64) -> u64 {
        a.wrapping_mul(b) & w.mask()
    }

    #[inline(always)]
    fn mul_high_unsigned(&mut self, w: Width, a: u64, b: u64) -> u64 {
        ((u128::from(a) * u128::from(b)) >> w.bits()) as u64 & w.mask()
    }

    #[inline(always)]
    fn mul_high_signed(&mut self, w: Width, a: u64, b: u64) -> u64 {
        let wide = |v: u64| i128::from(w.sign_extend(v) as i64);
        ((wide(a) * wide(b)) >> w.bits()) as u64 & w.mask()
    }

    #[inline(always)]
    fn truncate(&mut self, w: Width, a: u64) -> u64 {
        a & w.mask()
    }

    #[inline(always)]
    fn sign_extend(&mut self, from: Width, to: Width, a: u64) -> u64 {
        from.sign_extend(a) & to.mask()
    }

    #[inline(always)]
    fn byte_swap(&mut self, w: Width, a: u64) -> u64 {
        a.swap_bytes() >> (64 - w.bits())
    }

    #[inline(always)]
    fn count_ones(&mut self, a: u64) -> u64 {
        u64::from(a.count_ones())
    }

    #[inline(always)]
    fn leading_zeros(&mut self, w: Width, a: u64) -> u64 {
        u64::from(a.leading_zeros() - (64 - w.bits()))
    }

    #[inline(always)]
    fn trailing_zeros(&mut self, w: Width, a: u64) -> u64 {
        u64::from(a.trailing_zeros().min(w.bits()))
    }

    #[inline(always)]
    fn equal(&mut self, a: u64, b: u64) -> u64 {
        u64::from(a == b)
    }

    #[inline(always)]
    fn below(&mut self, a: u64, b: u64) -> u64 {
        u64::from(a < b)
    }

    #[inline(always)]
    fn select(&mut self, condition: u64, yes: u64, no: u64) -> u64 {
        if condition != 0 { yes } else { no }
    }

    #[inline(always)]
    fn pure(&mut self, f: Pure, a: u64, b: u64) -> u64 {
        f(a, b)
    }

    #[inline(always)]
    fn flags_add(&mut self, w: Width, a: u64, b: u64, result: u64) {
        if FLAGS {
            self.x.core.flags.add(w, a, b, result);
        }
    }

    #[inline(always)]
    fn flags_sub(&mut self, w: Width, a: u64, b: u64, result: u64) {
        if FLAGS {
            self.x.core.flags.sub(w, a, b, result);
        }
    }

    #[inline(always)]
    fn flags_logic(&mut self, w: Width, result: u64) {
        if FLAGS {
            self.x.core.flags.logic(w, result);
        }
    }

    #[inline(always)]
    fn flags_inc(&mut self, w: Width, result: u64) {
        if FLAGS {
            self.x.core.flags.inc(w, result);
        }
    }

    #[inline(always)]
    fn flags_dec(&mut self, w: Width, result: u64) {
        if FLAGS {
            self.x.core.flags.dec(w, result);
        }
    }

    #[inline(always)]
    fn flags_shift(&mut self, w: Width, result: u64, cf: u64, of: u64) {
        if FLAGS {
            self.x.core.flags.shift(w, result, cf != 0, of != 0);
        }
    }

    #[inline(always)]
    fn flags_rotate(&mut self, cf: u64, of: u64) {
        if FLAGS {
            self.x.core.flags.rotate(cf != 0, of != 0);
        }
    }

    #[inline(always)]
    fn flag(&mut self, flag: Flag) -> u64 {
        let flags = &self.x.core.flags;
        u64::from(match flag {
            Flag::Cf => flags.cf(),
            Flag::Pf => flags.pf(),
            Flag::Af => flags.af(),
            Flag::Zf => flags.zf(),
            Flag::Sf => flags.sf(),
            Flag::Of => flags.of(),
        })
    }

    #[inline(always)]
    fn set_flag(&mut self, flag: Flag, value: u64) {
        let flags = &mut self.x.core.flags;
        match flag {
            _ if !FLAGS => {}
            Flag::Cf => flags.set_cf(value != 0),
            Flag::Of => flags.set_of(value != 0),
            _ => flags.set_masked(flag.bit(), value << flag as u8),
        }
    }

    #[inline(always)]
    fn flags(&mut self) -> u64 {
        self.x.core.flags.bits()
    }

    #[inline(always)]
    fn set_flags(&mut self, mask: u64, bits: u64) {
        if FLAGS {
            self.x.core.flags.set_masked(mask, bits);
        }
    }

    #[inline(always)]
    fn condition(&mut self, cc: u8) -> u64 {
        u64::from(self.x.core.flags.condition(cc))
    }

    #[inline(always)]
    fn direction(&mut self) -> u64 {
        if self.x.core.system_flags & rflags::DF == 0 { 1 } else { u64::MAX }
    }

    #[inline(always)]
    fn next_ip(&mut self, w: Width, i: &Insn) -> u64 {
        self.x.block_ip().wrapping_add(u64::from(i.end)) & w.mask()
    }

    #[inline(always)]
    fn jump(&mut self, w: Width, i: &Insn, target: u64) -> Result<(), Stopped> {
        let target = target & w.mask();
        if w == Width::W64 || i.mode.is_64() {
            // Where the bits from 47 on are those of an address that is canonical, so is this one.
            let near = (target ^ self.x.block_ip()) >> 47 == 0;
            if !near && (!FULL || !is_canonical(target, self.x.core.linear_bits())) {
                return Err(self.illegal_jump());
            }
        } else if target > u64::from(self.x.core.segments.seg[Seg::Cs as usize].limit) {
            return Err(self.illegal_jump());
        }
        self.x.core.rip = target;
        Ok(())
    }

    #[inline(always)]
    fn branch(&mut self, w: Width, i: &Insn, condition: Option<u64>) -> Result<(), Stopped> {
        self.taken = condition != Some(0);
        if !self.taken {
            return Ok(());
        }
        let next = self.x.block_ip().wrapping_add(u64::from(i.end));
        self.jump(w, i, next.wrapping_add(i64::from(i.imm) as u64))
    }

    #[inline(always)]
    fn when(
        &mut self,
        condition: u64,
        body: impl FnOnce(&mut Self) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        if condition != 0 { body(self) } else { Ok(()) }
    }

    #[inline(always)]
    fn cold(&mut self, cold: Cold, i: &Insn) -> Result<(), Stopped> {
        self.x.core.rip = self.x.behind(i);
        self.x.core.number = i.number;
        Ok((cold.run)(&mut self.x.core, i)?)
    }
}
