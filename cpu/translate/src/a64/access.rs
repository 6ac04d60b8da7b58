//! Memory accesses: the inline look into the TLB, and what is done at the place it finds.
//!
//! The host's flags stay as they are. X16 holds the offset in RAM that was found; X17 and X30 are
//! used up on the way.

use std::mem::offset_of;

use trine_x86::{Extent, Rmw, Seg, Tlb, Width};

use super::{
    RAM, T0, T1, T2, TLB, TLB_ADDEND, TLB_READ, TLB_WRITE, access,
    asm::{Address, ArithmeticImm, Asm, Barrier, LogicalImm, Order, Reg, Shift, Size},
    base,
    emit::{Emitter, Stub},
    extent, home, size,
    values::Loc,
};
use crate::{
    helper,
    ir::{Op, Val},
};

impl Emitter<'_> {
    /// [`Op::Address`].
    pub(super) fn address(&mut self, n: usize, op: Op) {
        let Op::Address { w, base, index, disp } = op else { return };
        let to = self.result(n, w.max(Width::W32));
        let view = size(w);
        let a = self.quiet();
        let sum = match (base.map(home), index.map(|(reg, by)| (home(reg), u32::from(by)))) {
            (Some(base), None) => base,
            (None, None) => {
                a.mov_imm(view, to, 0);
                to
            }
            (Some(base), Some((index, by))) => {
                a.add_shifted(view, to, base, index, Shift::Lsl(by));
                to
            }
            (None, Some((index, by))) => {
                a.lsl_imm(view, to, index, by);
                to
            }
        };
        add_constant(a, view, to, sum, disp);
        if w == Width::W16 {
            a.uxth(to, to);
        }
        self.defined(n, to, w, true);
    }

    /// [`Op::Near`].
    pub(super) fn near(&mut self, n: usize, w: Width, disp: i64) {
        let to = self.result(n, w.max(Width::W32));
        let a = self.quiet();
        a.ldr(Size::X, to, super::origin());
        add_constant(a, size(w), to, to, disp);
        super::zero_extend(a, w, to, to);
        self.defined(n, to, w, true);
    }

    /// [`Op::Linear`].
    pub(super) fn linear(
        &mut self,
        n: usize,
        w: Width,
        seg: Seg,
        at: Val,
        write: bool,
        long: bool,
    ) {
        let base = base(seg);
        let offset = self.clean_reg(at);
        let to = self.temp();
        if long {
            self.quiet().ldr(Size::X, T0, base);
            self.quiet().add(Size::X, to, offset, T0);
            return self.defined(n, to, Width::W64, true);
        }
        let part = if write { offset_of!(Extent, write_end) } else { offset_of!(Extent, read_end) };
        let bail = self.bail();
        let a = self.quiet();
        a.ldr(Size::X, T1, extent(seg, part));
        a.sub(Size::X, T1, T1, offset);
        a.sub_imm(Size::X, T1, T1, super::twelve(w.bytes()));
        a.lsr_imm(Size::X, T1, T1, 63);
        a.cbnz(Size::X, T1, bail);
        a.ldr(Size::X, T0, base);
        a.add(Size::W, to, offset, T0);
        self.defined(n, to, Width::W32, true);
    }

    /// X16 = offset in RAM of `w` at linear address `at`, or the step stops.
    fn find(&mut self, w: Width, at: Val, write: bool) {
        self.reach(w.bytes(), at, write, false);
    }

    /// X16 = offset in RAM of so many bytes at linear address `at`, which, `aligned`, must be a
    /// multiple of them; or the step stops.
    pub(super) fn reach(&mut self, bytes: u64, at: Val, write: bool, aligned: bool) {
        let lin = self.clean_reg(at);
        let site = self.site();
        let (vectors, way_back) = (self.vectors, self.way_back());
        let mask = |value: u64| LogicalImm::new(Size::X, value).expect("a run of ones");
        if aligned {
            let bail = way_back.unwrap_or_else(|| self.bail());
            self.quiet().and_imm(Size::X, T0, lin, mask(bytes - 1));
            self.quiet().cbnz(Size::X, T0, bail);
        }
        let found = self.asm.label();
        let miss = way_back.unwrap_or_else(|| self.asm.label());
        self.entry_of(lin);
        let a = self.quiet();
        let tag = if write { TLB_WRITE } else { TLB_READ };
        a.ldr(Size::X, T2, Address::offset(T1, tag));
        let mut last = lin;
        if bytes != 1 && !aligned {
            a.add_imm(Size::X, T0, lin, super::twelve(bytes - 1));
            last = T0;
        }
        a.and_imm(Size::X, T0, last, mask(!0xfff));
        a.eor(Size::X, T2, T2, T0);
        a.cbnz(Size::X, T2, miss);
        a.bind(found);
        a.ldr(Size::X, T0, Address::offset(T1, TLB_ADDEND));
        a.add(Size::X, T0, T0, lin);
        let access = bytes as u32 | if write { helper::WRITE } else { 0 };
        if way_back.is_none() {
            self.stubs.push(Stub::Miss { label: miss, found, lin, access, site, vectors });
        }
    }

    /// X17 = the TLB's entry for a linear address.
    pub(super) fn entry_of(&mut self, lin: Reg) {
        let a = self.quiet();
        a.ubfx(Size::X, T1, lin, 12, Tlb::ENTRIES.trailing_zeros());
        a.add_shifted(Size::X, T1, TLB, T1, Shift::Lsl(5));
    }

    /// [`Op::Load`].
    pub(super) fn load(&mut self, n: usize, w: Width, at: Val) {
        self.find(w, at, false);
        let to = self.target(n).unwrap_or_else(|| self.temp());
        self.load_from(w, to, T0);
        self.defined(n, to, w, true);
    }

    fn load_from(&mut self, w: Width, to: Reg, offset: Reg) {
        super::load(self.quiet(), w, to, Address::index(RAM, offset));
        self.quiet().dmb(Barrier::IshLd);
    }

    /// [`Op::Store`].
    pub(super) fn store(&mut self, w: Width, at: Val, v: Val) {
        let from = self.any_or_zero(v, w);
        self.find(w, at, true);
        self.quiet().dmb(Barrier::IshSt);
        super::store(self.quiet(), w, from, Address::index(RAM, T0));
    }

    /// [`Op::Open`]: the place stays known until the commit.
    pub(super) fn open(&mut self, n: usize, w: Width, at: Val) {
        self.find(w, at, true);
        let place = self.ops.len();
        if self.values.last[place] > n && self.values.last[place] < place {
            let kept = self.temp();
            self.quiet().mov(Size::X, kept, T0);
            self.define(place, Loc::Scratch(kept, true));
        }
        if self.values.last[n] > n {
            let to = self.temp();
            self.load_from(w, to, T0);
            self.defined(n, to, w, true);
        }
    }

    /// [`Op::Commit`].
    pub(super) fn commit(&mut self, w: Width, v: Val) {
        let at = match self.values.locs[self.ops.len()] {
            Loc::Scratch(reg, _) => {
                self.lock(reg);
                reg
            }
            Loc::Spill(spilled) => {
                let reg = self.temp();
                self.quiet().ldr(Size::X, reg, super::spill(spilled));
                reg
            }
            _ => unreachable!("it was opened"),
        };
        let from = self.any_or_zero(v, w);
        self.quiet().dmb(Barrier::IshSt);
        super::store(self.quiet(), w, from, Address::index(RAM, at));
    }

    /// X16 = host address of `w` at linear address `at`, aligned, or the step stops.
    fn find_aligned(&mut self, w: Width, at: Val) {
        self.find(w, at, true);
        if let Some(low) = LogicalImm::new(Size::X, w.bytes() - 1) {
            // Exclusive accesses of other addresses fault.
            let bail = self.bail();
            self.quiet().and_imm(Size::X, T1, T0, low);
            self.quiet().cbnz(Size::X, T1, bail);
        }
        self.quiet().add(Size::X, T0, T0, RAM);
    }

    /// [`Op::Update`].
    pub(super) fn update(&mut self, n: usize, w: Width, at: Val, op: Rmw, operand: Val) {
        // It has to be known before registers are taken.
        let carry = match op {
            Rmw::Adc | Rmw::Sbb => {
                self.ensure(trine_x86::rflags::CF);
                let to = self.temp();
                let condition = self.condition_of(2);
                self.quiet().cset(Size::W, to, condition);
                Some(to)
            }
            _ => None,
        };
        let by = self.any_reg(operand, w);
        self.find_aligned(w, at);
        let old = self.temp();
        let view = size(w);
        let a = self.quiet();
        let by = match carry {
            Some(carry) => {
                a.add(view, T1, by, carry);
                T1
            }
            None => by,
        };
        if !self.atomics || !self.update_at_once(w, op, by, old) {
            self.update_loop(w, op, by, old);
        }
        self.defined(n, old, w, true);
    }

    /// One instruction of `FEAT_LSE` that is a full barrier, too; false if there is none. X16: the
    /// place.
    fn update_at_once(&mut self, w: Width, op: Rmw, by: Reg, old: Reg) -> bool {
        let a = &mut self.asm;
        let (view, access, order) = (size(w), access(w), Order::AcquireRelease);
        match op {
            Rmw::Xchg => a.swp(access, order, by, old, T0),
            Rmw::Add | Rmw::Adc => a.ldadd(access, order, by, old, T0),
            Rmw::Sub | Rmw::Sbb => {
                a.neg(view, T1, by);
                a.ldadd(access, order, T1, old, T0);
            }
            Rmw::And => {
                a.mvn(view, T1, by);
                a.ldclr(access, order, T1, old, T0);
            }
            Rmw::Or => a.ldset(access, order, by, old, T0),
            Rmw::Xor => a.ldeor(access, order, by, old, T0),
            Rmw::Neg => return false,
        }
        true
    }

    /// The same by exclusive accesses. `by` may be X17.
    fn update_loop(&mut self, w: Width, op: Rmw, by: Reg, old: Reg) {
        let by = if by == T1 {
            let kept = self.temp();
            self.quiet().mov(Size::X, kept, T1);
            kept
        } else {
            by
        };
        let again = self.asm.bound();
        let a = &mut self.asm;
        let view = size(w);
        a.ldaxr(access(w), old, T0);
        match op {
            Rmw::Xchg => a.mov(view, T1, by),
            Rmw::Add | Rmw::Adc => a.add(view, T1, old, by),
            Rmw::Sub | Rmw::Sbb => a.sub(view, T1, old, by),
            Rmw::And => a.and(view, T1, old, by),
            Rmw::Or => a.orr(view, T1, old, by),
            Rmw::Xor => a.eor(view, T1, old, by),
            Rmw::Neg => a.neg(view, T1, old),
        }
        a.stlxr(access(w), T2, T1, T0);
        a.cbnz(Size::W, T2, again);
        a.dmb(Barrier::Ish);
    }

    /// [`Op::CompareExchange`].
    pub(super) fn compare_exchange(
        &mut self,
        n: usize,
        w: Width,
        at: Val,
        expected: Val,
        new: Val,
    ) {
        let (expected, new) = (self.clean_reg(expected), self.any_reg(new, w));
        self.find_aligned(w, at);
        let old = self.temp();
        let (again, differs) = (self.asm.label(), self.asm.label());
        let atomics = self.atomics;
        let a = self.quiet();
        if atomics {
            a.mov(Size::X, old, expected);
            a.cas(access(w), Order::AcquireRelease, old, new, T0);
        } else {
            a.bind(again);
            a.ldaxr(access(w), old, T0);
            a.eor(Size::X, T1, old, expected);
            a.cbnz(Size::X, T1, differs);
            a.stlxr(access(w), T2, new, T0);
            a.cbnz(Size::W, T2, again);
            a.bind(differs);
        }
        // Where nothing was stored, nothing was released.
        a.dmb(Barrier::Ish);
        self.defined(n, old, w, true);
    }
}

/// `to = from + distance`; T0 may be used up, and is not `from`.
pub(super) fn add_constant(a: &mut Asm, view: Size, to: Reg, from: Reg, distance: i64) {
    match (ArithmeticImm::new(distance.unsigned_abs()), distance < 0) {
        (Some(_), _) if distance == 0 && from == to => {}
        (Some(imm), false) => a.add_imm(view, to, from, imm),
        (Some(imm), true) => a.sub_imm(view, to, from, imm),
        (None, _) => {
            a.mov_imm(view, T0, distance.cast_unsigned());
            a.add(view, to, from, T0);
        }
    }
}
