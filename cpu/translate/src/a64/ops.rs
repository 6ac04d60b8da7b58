//! Arithmetic and the other operations that make values.

use trine_x86::{Width, slot};

use super::{
    T0, T1,
    asm::{ArithmeticImm, Asm, Cond, LogicalImm, Reg, Size, X0, X1, X2, ZR},
    core_pointer,
    emit::Emitter,
    flags::Carry,
    home, sign_extend, simd, size, spill,
    values::Loc,
    zero_extend,
};
use crate::{
    flags::Recipe,
    helper::{self, ARGUMENT_SPILLS, STOPPED_SPILL},
    ir::{Bin, Op, Setter, Un, Val},
};

impl Emitter<'_> {
    /// [`Op::Bin`].
    pub(super) fn bin(&mut self, n: usize, op: Bin, w: Width, a: Val, b: Val) {
        match op {
            Bin::Add | Bin::Sub => self.sum(n, op, w, a, b),
            Bin::And | Bin::Or | Bin::Xor => self.logic(n, op, w, a, b),
            Bin::Shl | Bin::Shr | Bin::Sar => self.shift(n, op, w, a, b),
            Bin::Rol => self.rotate(n, w, a, b),
            Bin::Mul => {
                let (a, b) = (self.any_reg(a, w), self.any_reg(b, w));
                let dst = self.result(n, w);
                self.quiet().mul(size(w), dst, a, b);
                self.defined(n, dst, w, w >= Width::W32);
            }
            Bin::MulHighUnsigned => self.mul_high_unsigned(n, w, a, b),
            Bin::MulHighSigned => self.mul_high_signed(n, w, a, b),
            Bin::Equal => self.compare_values(n, Cond::Eq, w, a, b),
            Bin::Below => self.compare_values(n, Cond::Cc, w, a, b),
        }
    }

    /// Whether somebody wants the host's flags of operation `n` of width `w`, and they are right.
    fn wants_flags(&self, n: usize, w: Width) -> bool {
        let wants = |op: &Op| match *op {
            Op::SetFlags(
                _,
                Setter::Add { r, .. }
                | Setter::Sub { r, .. }
                | Setter::Logic { r }
                | Setter::Inc { r }
                | Setter::Dec { r },
            ) => r.index() == n,
            _ => false,
        };
        w >= Width::W32 && self.ops().iter().any(wants)
    }

    /// The constant as an immediate of ADD or, if the flag is set, of SUB.
    fn arithmetic(&self, v: Val, w: Width) -> Option<(ArithmeticImm, bool)> {
        let value = w.sign_extend(self.constant(v)?).cast_signed();
        Some((ArithmeticImm::new(value.unsigned_abs())?, value < 0))
    }

    fn sum(&mut self, n: usize, op: Bin, w: Width, a: Val, b: Val) {
        let (a, b) = match (op, self.loc(a)) {
            // A constant is better second.
            (Bin::Add, Loc::Imm(_)) => (b, a),
            _ => (a, b),
        };
        let flags = self.wants_flags(n, w);
        let view = size(w);
        let add = op == Bin::Add;
        let left = self.any_or_zero(a, w);
        if let Some((imm, negative)) = self.arithmetic(b, w).filter(|_| left != ZR) {
            // The carry is the same whether a number is added or its negative subtracted.
            let dst = self.result(n, w);
            let a = self.any_reg(a, w);
            let to = if flags { self.noisy() } else { self.quiet() };
            match (add != negative, flags) {
                (true, true) => to.adds_imm(view, dst, a, imm),
                (true, false) => to.add_imm(view, dst, a, imm),
                (false, true) => to.subs_imm(view, dst, a, imm),
                (false, false) => to.sub_imm(view, dst, a, imm),
            }
            return self.summed(n, dst, w, flags, add);
        }
        let right = self.any_or_zero(b, w);
        let dst = self.result(n, w);
        let to = if flags { self.noisy() } else { self.quiet() };
        match (add, flags) {
            (true, true) => to.adds(view, dst, left, right),
            (true, false) => to.add(view, dst, left, right),
            (false, true) => to.subs(view, dst, left, right),
            (false, false) => to.sub(view, dst, left, right),
        }
        self.summed(n, dst, w, flags, add);
    }

    fn summed(&mut self, n: usize, dst: Reg, w: Width, flags: bool, add: bool) {
        if flags {
            self.made = Some(n);
            self.host.carry = if add { Carry::Direct } else { Carry::Inverted };
        }
        self.defined(n, dst, w, w >= Width::W32);
    }

    fn logic(&mut self, n: usize, op: Bin, w: Width, a: Val, b: Val) {
        let (a, b) = if self.constant(a).is_some() { (b, a) } else { (a, b) };
        let flags = op == Bin::And && self.wants_flags(n, w);
        let view = size(w);
        let left = self.any_reg(a, w);
        let imm = self.constant(b).and_then(|value| LogicalImm::new(view, value));
        let clean = w >= Width::W32 || op == Bin::And && self.constant(b).is_some();
        if let Some(imm) = imm {
            let dst = self.result(n, w);
            let to = if flags { self.noisy() } else { self.quiet() };
            match op {
                Bin::And if flags => to.ands_imm(view, dst, left, imm),
                Bin::And => to.and_imm(view, dst, left, imm),
                Bin::Or => to.orr_imm(view, dst, left, imm),
                _ => to.eor_imm(view, dst, left, imm),
            }
            return self.masked(n, dst, w, clean, flags);
        }
        let right = self.any_or_zero(b, w);
        let dst = self.result(n, w);
        let to = if flags { self.noisy() } else { self.quiet() };
        match op {
            Bin::And if flags => to.ands(view, dst, left, right),
            Bin::And => to.and(view, dst, left, right),
            Bin::Or => to.orr(view, dst, left, right),
            _ => to.eor(view, dst, left, right),
        }
        self.masked(n, dst, w, clean, flags);
    }

    fn masked(&mut self, n: usize, dst: Reg, w: Width, clean: bool, flags: bool) {
        if flags {
            self.made = Some(n);
            self.host.carry = Carry::Clear;
        }
        self.defined(n, dst, w, clean);
    }

    /// The most that a value can be.
    fn bound(&self, v: Val) -> u64 {
        match self.ops()[v.index()] {
            Op::Imm(value) => value,
            Op::Bin(Bin::And, _, x, y) => self.bound(x).min(self.bound(y)),
            _ => self.width(v).mask(),
        }
    }

    fn shift(&mut self, n: usize, op: Bin, w: Width, a: Val, by: Val) {
        let view = size(w);
        if let Some(by) = self.constant(by) {
            return self.shift_imm(n, op, w, a, by);
        }
        let near = self.bound(by) < u64::from(view.bits());
        if !near {
            return match op {
                Bin::Sar => self.evaluated(n),
                _ => self.far_shift(n, op, w, a, by),
            };
        }
        let by = self.any_reg(by, Width::W8);
        let from = if op == Bin::Shr { self.clean_reg(a) } else { self.any_reg(a, w) };
        let dst = self.result(n, w);
        let clean = w >= Width::W32 || op == Bin::Shr;
        match op {
            Bin::Shl => self.quiet().lsl(view, dst, from, by),
            Bin::Shr => self.quiet().lsr(view, dst, from, by),
            _ if w < Width::W32 => {
                sign_extend(self.quiet(), w, view, T0, from);
                self.quiet().asr(view, dst, T0, by);
            }
            _ => self.quiet().asr(view, dst, from, by),
        }
        self.defined(n, dst, w, clean);
    }

    fn shift_imm(&mut self, n: usize, op: Bin, w: Width, a: Val, by: u64) {
        let bits = w.bits();
        if op != Bin::Sar && by >= u64::from(bits) {
            return self.define(n, Loc::Imm(0));
        }
        let by = by.min(u64::from(bits) - 1) as u32;
        let from = self.any_reg(a, w);
        let dst = self.result(n, w);
        match op {
            Bin::Shl => self.quiet().lsl_imm(size(w), dst, from, by),
            Bin::Shr => self.quiet().ubfx(size(w), dst, from, by, bits - by),
            _ => self.quiet().sbfx(size(w), dst, from, by, bits - by),
        }
        self.defined(n, dst, w, w >= Width::W32 || op == Bin::Shr);
    }

    /// A rotate to the left by a constant.
    fn rotate(&mut self, n: usize, w: Width, a: Val, by: Val) {
        let Some(by) = self.constant(by).filter(|_| w >= Width::W32) else {
            return self.evaluated(n);
        };
        let from = self.any_reg(a, w);
        let dst = self.result(n, w);
        self.quiet().ror_imm(size(w), dst, from, w.bits() - by as u32);
        self.defined(n, dst, w, true);
    }

    /// A shift by a count that may be as large as the width or larger, which gives 0.
    fn far_shift(&mut self, n: usize, op: Bin, w: Width, a: Val, by: Val) {
        let (from, by) = (self.clean_reg(a), self.clean_reg(by));
        let dst = self.temp();
        match op {
            Bin::Shl => self.quiet().lsl(Size::X, dst, from, by),
            _ => self.quiet().lsr(Size::X, dst, from, by),
        }
        self.noisy().cmp_imm(Size::X, by, super::twelve(u64::from(w.bits())));
        self.quiet().csel(Size::X, dst, dst, ZR, Cond::Cc);
        zero_extend(self.quiet(), w, dst, dst);
        self.defined(n, dst, w, true);
    }

    fn mul_high_unsigned(&mut self, n: usize, w: Width, a: Val, b: Val) {
        let (a, b) = (self.clean_reg(a), self.clean_reg(b));
        let dst = self.result(n, w);
        if w == Width::W64 {
            self.quiet().umulh(dst, a, b);
        } else {
            self.quiet().mul(Size::X, dst, a, b);
            self.quiet().lsr_imm(Size::X, dst, dst, w.bits());
        }
        self.defined(n, dst, w, true);
    }

    fn mul_high_signed(&mut self, n: usize, w: Width, a: Val, b: Val) {
        let (a, b) = (self.any_reg(a, w), self.any_reg(b, w));
        let dst = self.result(n, w);
        if w == Width::W64 {
            self.quiet().smulh(dst, a, b);
        } else {
            let to = self.quiet();
            sign_extend(to, w, Size::X, T0, a);
            sign_extend(to, w, Size::X, T1, b);
            to.mul(Size::X, dst, T0, T1);
            to.ubfx(Size::X, dst, dst, w.bits(), w.bits());
        }
        self.defined(n, dst, w, true);
    }

    fn compare_values(&mut self, n: usize, condition: Cond, w: Width, a: Val, b: Val) {
        let view = size(w);
        let narrow = w < Width::W32;
        let a = if narrow { self.clean_reg(a) } else { self.any_reg(a, w) };
        match self.constant(b).and_then(ArithmeticImm::new) {
            Some(imm) => self.noisy().cmp_imm(view, a, imm),
            None => {
                let b = if narrow { self.clean_reg(b) } else { self.any_reg(b, w) };
                self.noisy().cmp(view, a, b);
            }
        }
        let to = self.temp();
        self.quiet().cset(Size::W, to, condition);
        self.defined(n, to, Width::W8, true);
    }

    /// [`Op::Un`].
    pub(super) fn un(&mut self, n: usize, op: Un, w: Width, a: Val) {
        let view = size(w);
        let narrow = w < Width::W32;
        match op {
            Un::Not => {
                let a = self.any_reg(a, w);
                let dst = self.result(n, w);
                self.quiet().mvn(view, dst, a);
                self.defined(n, dst, w, !narrow);
            }
            Un::ByteSwap if w >= Width::W16 => {
                let a = self.any_reg(a, w);
                let dst = self.result(n, w);
                match w {
                    Width::W16 => self.quiet().rev16(view, dst, a),
                    _ => self.quiet().rev(view, dst, a),
                }
                self.defined(n, dst, w, !narrow);
            }
            Un::LeadingZeros => {
                let a = self.clean_reg(a);
                let dst = self.result(n, w);
                self.quiet().clz(view, dst, a);
                if narrow {
                    self.quiet().sub_imm(view, dst, dst, super::twelve(u64::from(32 - w.bits())));
                }
                self.defined(n, dst, Width::W64, true);
            }
            Un::TrailingZeros => {
                let a = self.clean_reg(a);
                let dst = self.result(n, w);
                let to = self.quiet();
                to.rbit(view, dst, a);
                // No more zeros than a narrow width has bits.
                let stop = (1 << 31) >> w.bits().min(31);
                if let Some(stop) = LogicalImm::new(Size::W, stop).filter(|_| narrow) {
                    to.orr_imm(Size::W, dst, dst, stop);
                }
                to.clz(view, dst, dst);
                self.defined(n, dst, Width::W64, true);
            }
            Un::ByteSwap | Un::CountOnes => {
                self.evaluated(n);
            }
        }
    }

    /// An operation for which there is no code here, or shall be none: a helper does it.
    pub(super) fn evaluated(&mut self, n: usize) {
        let op = self.ops()[n];
        self.begin_call();
        if op.concerns_flags() {
            self.remember();
        }
        self.put_arguments(&op);
        let address = self.keep(op);
        core_pointer(self.quiet(), X0);
        self.quiet().mov_imm(Size::X, X1, address);
        self.finish_call(helper::evaluate as *const () as usize);
        if op.concerns_flags() {
            (self.recipe, self.next_recipe, self.stored) = (Recipe::MEMORY, None, true);
        }
        if op.stops() {
            let bail = self.bail();
            self.quiet().ldr(Size::X, T0, spill(STOPPED_SPILL));
            self.quiet().cbnz(Size::X, T0, bail);
        }
        if op.makes_value() {
            let w = self.width(Val(n as u16));
            self.defined(n, X0, w, true);
        }
    }

    /// The values that an operation uses, or an address's registers, to where the helper looks.
    fn put_arguments(&mut self, op: &Op) {
        if let Op::Address { base, index, .. } = *op {
            for (n, reg) in [base, index.map(|(reg, _)| reg)].into_iter().enumerate() {
                let from = reg.map_or(ZR, |reg| home(reg).into());
                self.quiet().str(Size::X, from, spill(ARGUMENT_SPILLS + n as u8));
            }
            return;
        }
        let mut used = Vec::new();
        op.uses(|v| used.push(v));
        // The place that was opened stands where the helper put it.
        let kept = usize::from(matches!(op, Op::Commit(..)));
        for (n, v) in used.into_iter().enumerate().skip(kept) {
            self.move_clean(X1, v);
            self.quiet().str(Size::X, X1, spill(ARGUMENT_SPILLS + n as u8));
        }
    }

    /// [`Op::Pure`].
    pub(super) fn pure(&mut self, n: usize, f: trine_x86::Pure, a: Val, b: Val) {
        self.begin_call();
        self.move_clean(X1, a);
        self.move_clean(X2, b);
        self.quiet().mov_imm(Size::X, X0, f as usize as u64);
        self.finish_call(helper::pure as *const () as usize);
        self.defined(n, X0, Width::W64, true);
    }

    /// Empties all scratch registers: a call destroys them. Arguments go to X0, X1 and X2.
    pub(super) fn begin_call(&mut self) {
        self.evict_all();
        [X0, X1, X2].into_iter().for_each(|reg| self.lock(reg));
    }

    /// Calls a function that takes words; its result is in X0.
    pub(super) fn finish_call(&mut self, function: usize) {
        let (base, to) = (self.place.code, self.place.runtime.call);
        let a: &mut Asm = self.noisy();
        a.mov_imm(Size::X, T0, function as u64);
        super::far_bl(a, base, to);
        self.vectors = simd::IN_CORE;
    }

    /// [`Op::Truncate`].
    pub(super) fn truncate(&mut self, n: usize, w: Width, a: Val) {
        let from = self.any_reg(a, w);
        let dst = self.result(n, w.max(Width::W32));
        zero_extend(self.quiet(), w, dst, from);
        self.defined(n, dst, w, true);
    }

    /// [`Op::SignExtend`].
    pub(super) fn sign_extend(&mut self, n: usize, from: Width, to: Width, a: Val) {
        let reg = self.any_reg(a, from);
        let dst = self.result(n, to.max(Width::W32));
        sign_extend(self.quiet(), from, size(to), dst, reg);
        self.defined(n, dst, to, to >= Width::W32);
    }

    /// [`Op::Select`].
    pub(super) fn select(&mut self, n: usize, condition: Val, yes: Val, no: Val) {
        let w = self.width(yes).max(self.width(no)).max(Width::W32);
        let condition = self.test_value(condition);
        let (yes, no) = (self.any_or_zero(yes, w), self.any_or_zero(no, w));
        let dst = self.result(n, w);
        self.quiet().csel(size(w), dst, yes, no, condition);
        self.defined(n, dst, w, true);
    }

    /// [`Op::Set`].
    pub(super) fn set(&mut self, n: usize, w: Width, reg: u8, v: Val) {
        self.release_guest(reg, n);
        let high = reg & slot::HIGH != 0;
        let there = matches!(self.loc(v), Loc::Guest(held, r) if !high && r == reg && held <= w);
        // Not if it only was there before: then it has to be extended.
        let read = matches!(self.ops()[v.index()], Op::Get(held, _) if held < w || w == Width::W32);
        if there && !read {
            return;
        }
        let host = home(reg);
        if high {
            let from = self.any_reg(v, Width::W8);
            return self.quiet().bfi(Size::X, host, from, 8, 8);
        }
        match w {
            Width::W64 => self.move_clean(host, v),
            Width::W32 => {
                // Zero-extended in any case.
                let narrow = self.width(v) < Width::W32;
                match self.loc(v) {
                    Loc::Imm(_) => self.move_to(host, v, w),
                    _ if narrow => self.move_clean(host, v),
                    _ => {
                        let from = self.any_reg(v, w);
                        self.quiet().mov(Size::W, host, from);
                    }
                }
            }
            _ => {
                let from = self.any_or_zero(v, w);
                self.quiet().bfi(Size::X, host, from, 0, w.bits());
            }
        }
    }
}
