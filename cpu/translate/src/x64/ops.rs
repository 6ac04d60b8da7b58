//! Arithmetic and the other operations that make values.

use trine_x86::{Width, rflags};

use super::{
    asm::{Alu, Gpr, Mem, R11, RAX, RBP, RCX, RDX, Rm, Shift, Unary, cc},
    emit::Emitter,
    spill,
    values::{Loc, Operand},
};
use crate::{
    flags::Recipe,
    helper::{self, ARGUMENT_SPILLS, STOPPED_SPILL},
    ir::{Bin, Op, Setter, Un, Val},
};

/// Whether the host counts bits in an instruction.
fn counts(op: Un, w: Width) -> bool {
    w >= Width::W32
        && match op {
            Un::CountOnes => std::is_x86_feature_detected!("popcnt"),
            Un::TrailingZeros => std::is_x86_feature_detected!("bmi1"),
            _ => std::is_x86_feature_detected!("lzcnt"),
        }
}

impl Emitter<'_> {
    /// [`Op::Bin`].
    pub(super) fn bin(&mut self, n: usize, op: Bin, w: Width, a: Val, b: Val) {
        match op {
            Bin::Add => self.alu_op(n, Alu::Add, w, a, b),
            Bin::Sub => self.alu_op(n, Alu::Sub, w, a, b),
            Bin::And => self.alu_op(n, Alu::And, w, a, b),
            Bin::Or => self.alu_op(n, Alu::Or, w, a, b),
            Bin::Xor => self.alu_op(n, Alu::Xor, w, a, b),
            Bin::Shl => self.shift(n, Shift::Shl, w, a, b),
            Bin::Shr => self.shift(n, Shift::Shr, w, a, b),
            Bin::Sar => self.shift(n, Shift::Sar, w, a, b),
            Bin::Rol => self.rotate(n, w, a, b),
            Bin::Mul if w >= Width::W16 => self.mul(n, w, a, b),
            Bin::MulHighUnsigned | Bin::MulHighSigned if w >= Width::W32 => {
                let signed = op == Bin::MulHighSigned;
                self.mul_high(n, w, if signed { Unary::Imul } else { Unary::Mul }, a, b);
            }
            Bin::Equal => self.compare_values(n, cc::E, w, a, b),
            Bin::Below => self.compare_values(n, cc::B, w, a, b),
            _ => self.evaluated(n),
        }
    }

    /// Whether somebody wants the host's flags of operation `n`, and it must be done at its width.
    fn wants_flags(&self, n: usize) -> bool {
        self.ops().iter().any(|op| match *op {
            Op::SetFlags(
                _,
                Setter::Add { r, .. }
                | Setter::Sub { r, .. }
                | Setter::Logic { r }
                | Setter::Inc { r }
                | Setter::Dec { r },
            ) => r.index() == n,
            _ => false,
        })
    }

    /// What the operation `n` of width `w` is done in: the guest register that is both its first
    /// operand and its target, or a register that it is moved to.
    fn two_operand(&mut self, n: usize, w: Width, a: Val) -> Gpr {
        if let Some(host) = self.target(n, true) {
            let same = matches!(self.loc(a), Loc::Guest(held, reg)
                if held >= w && reg & trine_x86::slot::HIGH == 0 && super::home(reg) == Some(host));
            if same || w >= Width::W32 && self.set_width(n) >= Width::W32 {
                return host;
            }
        }
        if let Loc::Scratch(reg, clean) = self.loc(a)
            && self.values.last[a.index()] <= n
            && (clean || self.width(a) >= w)
        {
            self.lock(reg);
            return reg;
        }
        self.temp()
    }

    fn set_width(&self, n: usize) -> Width {
        let set = self.ops().iter().find_map(|op| match *op {
            Op::Set(w, _, v) if v.index() == n => Some(w),
            _ => None,
        });
        set.unwrap_or(Width::W8)
    }

    fn alu_op(&mut self, n: usize, op: Alu, w: Width, a: Val, b: Val) {
        if op == Alu::Sub && self.constant(a) == Some(0) {
            return self.negate(n, w, b);
        }
        let (a, b) = match (op, self.loc(a)) {
            (Alu::Sub, _) => (a, b),
            // A constant is better second; so is what is not where the result goes.
            (_, Loc::Imm(_)) => (b, a),
            _ if self.is_target(n, b) && !self.is_target(n, a) => (b, a),
            _ => (a, b),
        };
        let is_plain = w >= Width::W32 && !self.wants_flags(n);
        if is_plain && let Some(sum) = self.sum(op, w, a, b) {
            return self.define(n, sum);
        }
        if op == Alu::Add && is_plain && self.lea_add(n, w, a, b) {
            return;
        }
        let mut dst = self.two_operand(n, w, a);
        // The second operand must not be overwritten by the first.
        if self.is_in(b, dst) && !self.is_in(a, dst) {
            self.unlock_unless_used(dst, b);
            dst = self.temp();
        }
        if !self.stands_in(a, dst, w) {
            self.move_to(dst, a, w);
        }
        match self.operand(b, w) {
            Operand::Imm(imm) => self.noisy().alu_imm(op, w, dst, imm),
            Operand::Rm(rm) => self.noisy().alu_from(op, w, dst, rm),
        }
        self.made = Some(n);
        self.defined(n, dst, w, w >= Width::W32);
    }

    /// A guest register and a constant are only added where they are wanted.
    fn sum(&self, op: Alu, w: Width, a: Val, b: Val) -> Option<Loc> {
        let by = w.sign_extend(self.constant(b)?).cast_signed();
        let by = match op {
            Alu::Add => by,
            Alu::Sub => by.checked_neg()?,
            _ => return None,
        };
        match self.loc(a) {
            Loc::Guest(held, reg) if held >= w && reg & trine_x86::slot::HIGH == 0 => {
                Some(Loc::Sum(w, reg, i32::try_from(by).ok()?))
            }
            _ => None,
        }
    }

    /// 0 - a; the host's flags are those of the subtraction.
    fn negate(&mut self, n: usize, w: Width, a: Val) {
        let dst = self.two_operand(n, w, a);
        if !self.stands_in(a, dst, w) {
            self.move_to(dst, a, w);
        }
        self.noisy().unary(Unary::Neg, w, dst);
        self.made = Some(n);
        self.defined(n, dst, w, w >= Width::W32);
    }

    /// Whether CF, operation `n`, is used for one addition or subtraction with carry alone.
    pub(super) fn fused_carry(&self, n: usize) -> bool {
        let user = (n + 1..self.ops().len()).find_map(|r| {
            self.carries(Val(r as u16)).filter(|c| c.carry.index() == n).map(|c| (r, c))
        });
        let Some((r, c)) = user else { return false };
        let mut others = false;
        for (m, op) in self.ops().iter().enumerate() {
            match *op {
                Op::SetFlags(..) => {}
                Op::Commit(_, _, v) => others |= v == c.carry || v == c.middle,
                ref op => op.uses(|v| {
                    others |= m != r && (v == c.carry || v == c.middle);
                }),
            }
        }
        !others
    }

    /// Whether operation `n` is a part of one with carry.
    pub(super) fn is_fused(&self, n: usize) -> bool {
        (n + 1..self.ops().len()).any(|r| {
            self.carries(Val(r as u16))
                .is_some_and(|c| c.middle.index() == n && self.fused_carry(c.carry.index()))
        })
    }

    /// ADC and SBB. CF is where it was put aside.
    pub(super) fn with_carry(&mut self, n: usize, c: super::flags::Carries) {
        let (w, a, b) = (c.w, c.a, c.b);
        let mut dst = self.two_operand(n, w, a);
        if self.is_in(b, dst) && !self.is_in(a, dst) {
            self.unlock_unless_used(dst, b);
            dst = self.temp();
        }
        if !self.stands_in(a, dst, w) {
            self.move_to(dst, a, w);
        }
        let operand = self.operand(b, w);
        if self.host & rflags::CF == 0 {
            self.noisy().bt_imm(Width::W32, super::spill(crate::flags::CARRY_SPILL), 0);
        }
        let op = if c.subtract { Alu::Sbb } else { Alu::Adc };
        match operand {
            Operand::Imm(imm) => self.noisy().alu_imm(op, w, dst, imm),
            Operand::Rm(rm) => self.noisy().alu_from(op, w, dst, rm),
        }
        self.made = Some(n);
        self.defined(n, dst, w, w >= Width::W32);
    }

    fn unlock_unless_used(&mut self, reg: Gpr, v: Val) {
        if !matches!(self.loc(v), Loc::Scratch(r, _) if r == reg) {
            self.unlock(reg);
        }
    }

    /// Whether a value stands in a register, whatever is above it.
    fn is_in(&self, v: Val, reg: Gpr) -> bool {
        match self.loc(v) {
            Loc::Guest(_, guest) => {
                guest & trine_x86::slot::HIGH == 0 && super::home(guest) == Some(reg)
            }
            Loc::Scratch(r, _) => r == reg,
            _ => false,
        }
    }

    /// Whether a register's low `w` bits are the value.
    fn stands_in(&self, v: Val, reg: Gpr, w: Width) -> bool {
        let wide_enough = match self.loc(v) {
            Loc::Guest(held, _) => held >= w,
            Loc::Scratch(_, clean) => clean || self.width(v) >= w,
            _ => false,
        };
        wide_enough && self.is_in(v, reg)
    }

    fn is_target(&self, n: usize, v: Val) -> bool {
        self.target(n, true).is_some_and(|host| self.is_in(v, host))
    }

    /// An addition without flags, where it saves a move.
    fn lea_add(&mut self, n: usize, w: Width, a: Val, b: Val) -> bool {
        let host = |e: &Self, v: Val| match e.loc(v) {
            Loc::Guest(held, reg) if held >= w && reg & trine_x86::slot::HIGH == 0 => {
                super::home(reg)
            }
            Loc::Scratch(reg, clean) if clean || e.width(v) >= w => Some(reg),
            _ => None,
        };
        let Some(base) = host(self, a) else { return false };
        let mem =
            match self.constant(b).map(|value| i32::try_from(w.sign_extend(value).cast_signed())) {
                Some(Ok(disp)) => Mem::at(base, disp),
                Some(Err(_)) => return false,
                None => match host(self, b) {
                    Some(index) => Mem::indexed(base, index, 0),
                    None => return false,
                },
            };
        let dst = self.result(n, w);
        self.quiet().lea(w, dst, mem);
        self.defined(n, dst, w, true);
        true
    }

    /// The most that a value can be.
    fn bound(&self, v: Val) -> u64 {
        match self.ops()[v.index()] {
            Op::Imm(value) => value,
            Op::Bin(Bin::And, _, x, y) => self.bound(x).min(self.bound(y)),
            _ => self.width(v).mask(),
        }
    }

    fn shift(&mut self, n: usize, op: Shift, w: Width, a: Val, by: Val) {
        // Narrow operands are shifted in 32 bits, from which nothing comes in.
        let wide = w.max(Width::W32);
        let limit = u64::from(wide.bits()) - 1;
        let count = self.constant(by);
        if self.bound(by) > limit && (count.is_none() || op == Shift::Sar) && op != Shift::Sar {
            return self.far_shift(n, op, w, a, by);
        }
        if self.bound(by) > limit && count.is_none() {
            return self.evaluated(n);
        }
        if count.is_none() {
            self.claim(RCX);
            self.move_to(RCX, by, Width::W8);
        }
        let dst = match self.target(n, false).filter(|_| w >= Width::W32) {
            Some(host) if !self.is_in(by, host) || count.is_some() => host,
            _ => self.temp(),
        };
        self.widened(dst, op, w, a);
        match count {
            Some(count) => {
                self.noisy().shift(op, wide, dst, count.min(limit) as u8);
                self.made = (w == wide && count != 0 && count <= limit).then_some(n);
            }
            None => self.noisy().shift_cl(op, wide, dst),
        }
        if w < Width::W32 && op != Shift::Shr {
            self.quiet().load(w, dst, dst);
        }
        self.defined(n, dst, w, true);
    }

    /// A rotate by a constant.
    fn rotate(&mut self, n: usize, w: Width, a: Val, by: Val) {
        let Some(by) = self.constant(by) else { return self.evaluated(n) };
        let dst = self.result(n, w);
        self.move_to(dst, a, w);
        self.noisy().shift(Shift::Rol, w, dst, by as u8);
        self.defined(n, dst, w, w >= Width::W32);
    }

    /// `dst = a`, with what a shift may bring down from above the width.
    fn widened(&mut self, dst: Gpr, op: Shift, w: Width, a: Val) {
        if w >= Width::W32 || op == Shift::Shl {
            return self.move_to(dst, a, w);
        }
        if op == Shift::Shr {
            return self.move_clean(dst, a);
        }
        self.move_to(dst, a, w);
        self.quiet().load_signed(w, Width::W32, dst, dst);
    }

    /// A shift by a count that may be as large as the width or larger, which gives 0.
    fn far_shift(&mut self, n: usize, op: Shift, w: Width, a: Val, by: Val) {
        self.claim(RCX);
        self.move_clean(RCX, by);
        let (dst, zero) = (self.temp(), self.temp());
        self.move_clean(dst, a);
        self.noisy().shift_cl(op, Width::W64, dst);
        self.quiet().mov_imm(zero, 0);
        self.noisy().alu_imm(Alu::Cmp, Width::W64, RCX, w.bits() as i32);
        self.quiet().cmov(cc::AE, Width::W64, dst, zero);
        if w < Width::W64 && op == Shift::Shl {
            self.quiet().load(w, dst, dst);
        }
        self.defined(n, dst, w, true);
    }

    fn mul(&mut self, n: usize, w: Width, a: Val, b: Val) {
        let (a, b) = if self.constant(a).is_some() { (b, a) } else { (a, b) };
        let imm = self.constant(b).map(|b| i32::try_from(w.sign_extend(b).cast_signed()));
        if let Some(Ok(imm)) = imm
            && w >= Width::W32
        {
            let Operand::Rm(from) = self.operand(a, w) else { return self.evaluated(n) };
            let dst = self.result(n, w);
            self.noisy().imul_imm(w, dst, from, imm);
            return self.defined(n, dst, w, true);
        }
        let dst = match self.target(n, false).filter(|_| w >= Width::W32) {
            Some(host) if !self.is_in(b, host) || self.is_in(a, host) => host,
            _ => self.temp(),
        };
        if !self.stands_in(a, dst, w) {
            self.move_to(dst, a, w);
        }
        let rm = match self.operand(b, w) {
            Operand::Rm(rm) => rm,
            Operand::Imm(imm) => {
                let reg = self.temp();
                self.quiet().mov_imm(reg, i64::from(imm).cast_unsigned());
                reg.into()
            }
        };
        self.noisy().imul(w, dst, rm);
        self.defined(n, dst, w, w >= Width::W32);
    }

    fn mul_high(&mut self, n: usize, w: Width, op: Unary, a: Val, b: Val) {
        self.claim(RAX);
        self.claim(RDX);
        self.move_to(RAX, a, w);
        let rm = match self.operand(b, w) {
            Operand::Rm(rm) if rm != Rm::R(RDX) => rm,
            Operand::Rm(_) => unreachable!("it was claimed"),
            Operand::Imm(imm) => {
                self.quiet().mov_imm(RDX, i64::from(imm).cast_unsigned());
                RDX.into()
            }
        };
        self.noisy().unary(op, w, rm);
        self.defined(n, RDX, w, true);
    }

    fn compare_values(&mut self, n: usize, code: u8, w: Width, a: Val, b: Val) {
        let a = self.any_reg(a, w);
        match self.operand(b, w) {
            Operand::Imm(imm) => self.noisy().alu_imm(Alu::Cmp, w, a, imm),
            Operand::Rm(rm) => self.noisy().alu_from(Alu::Cmp, w, a, rm),
        }
        let to = self.temp();
        self.quiet().setcc(code, to);
        self.quiet().load(Width::W8, to, to);
        self.defined(n, to, Width::W8, true);
    }

    /// [`Op::Un`].
    pub(super) fn un(&mut self, n: usize, op: Un, w: Width, a: Val) {
        match op {
            Un::Not => {
                let dst = self.two_operand(n, w, a);
                if !self.stands_in(a, dst, w) {
                    self.move_to(dst, a, w);
                }
                self.quiet_not(w, dst);
                self.defined(n, dst, w, w >= Width::W32);
            }
            Un::ByteSwap if w >= Width::W32 => {
                let dst = self.result(n, w);
                self.move_to(dst, a, w);
                self.quiet().bswap(w, dst);
                self.defined(n, dst, w, true);
            }
            Un::CountOnes | Un::LeadingZeros | Un::TrailingZeros if counts(op, w) => {
                let opcode = match op {
                    Un::CountOnes => 0xb8,
                    Un::TrailingZeros => 0xbc,
                    _ => 0xbd,
                };
                let dst = self.result(n, w);
                let from = self.clean_reg(a);
                self.noisy().count(opcode, w, dst, from);
                self.defined(n, dst, w, true);
            }
            _ => {
                self.evaluated(n);
            }
        }
    }

    /// NOT leaves the flags alone.
    fn quiet_not(&mut self, w: Width, dst: Gpr) {
        self.quiet().unary(Unary::Not, w, dst);
    }

    /// An operation for which there is no code here, or shall be none: a helper does it.
    pub(super) fn evaluated(&mut self, n: usize) {
        let op = self.ops()[n];
        self.evict_all();
        if op.concerns_flags() {
            self.remember();
        }
        self.begin_call();
        self.put_arguments(&op);
        let address = self.keep(op);
        self.quiet().store(Width::W64, RCX, RBP);
        self.quiet().mov_imm(RDX, address);
        self.finish_call(helper::evaluate as *const () as usize);
        if op.concerns_flags() {
            (self.recipe, self.next_recipe, self.stored) = (Recipe::MEMORY, None, true);
        }
        if op.stops() {
            let bail = self.bail();
            self.noisy().alu_imm(Alu::Cmp, Width::W32, spill(STOPPED_SPILL), 0);
            self.quiet().jcc(cc::NE, bail);
        }
        if op.makes_value() {
            let w = self.width(Val(n as u16));
            self.defined(n, RAX, w, true);
        }
    }

    /// The values that an operation uses, or an address's registers, to where the helper looks.
    fn put_arguments(&mut self, op: &Op) {
        if let Op::Address { base, index, .. } = *op {
            for (n, reg) in [base, index.map(|(reg, _)| reg)].into_iter().enumerate() {
                match reg {
                    Some(reg) => self.quiet().load(Width::W64, RDX, super::place(reg)),
                    None => self.quiet().mov_imm(RDX, 0),
                }
                self.quiet().store(Width::W64, spill(ARGUMENT_SPILLS + n as u8), RDX);
            }
            return;
        }
        let mut used = Vec::new();
        op.uses(|v| used.push(v));
        // The place that was opened stands where the helper put it.
        let kept = usize::from(matches!(op, Op::Commit(..)));
        for (n, v) in used.into_iter().enumerate().skip(kept) {
            self.move_clean(RDX, v);
            self.quiet().store(Width::W64, spill(ARGUMENT_SPILLS + n as u8), RDX);
        }
    }

    /// [`Op::Pure`].
    pub(super) fn pure(&mut self, n: usize, f: trine_x86::Pure, a: Val, b: Val) {
        self.begin_call_with(a, Some(b));
        self.quiet().mov_imm(RCX, f as usize as u64);
        self.finish_call(helper::pure as *const () as usize);
        self.defined(n, RAX, Width::W64, true);
    }

    /// Makes room for a call, and puts its second and third argument into place.
    fn begin_call_with(&mut self, a: Val, b: Option<Val>) {
        self.begin_call();
        self.move_clean(RDX, a);
        if let Some(b) = b {
            self.move_clean(R11, b);
        }
    }

    /// Empties all scratch registers: a call destroys them. Arguments go to RCX, RDX and R11.
    pub(super) fn begin_call(&mut self) {
        self.evict_all();
        [RAX, RCX, RDX, R11].into_iter().for_each(|reg| self.lock(reg));
    }

    /// Calls a function that takes words; its result is in RAX.
    pub(super) fn finish_call(&mut self, function: usize) {
        let call = self.call;
        self.quiet().mov_imm(RAX, function as u64);
        self.noisy().call(call);
        self.vectors = super::simd::IN_CORE;
        self.x87.loaded = false;
        [RCX, RDX, R11].into_iter().for_each(|reg| self.unlock(reg));
    }

    /// [`Op::Truncate`].
    pub(super) fn truncate(&mut self, n: usize, w: Width, a: Val) {
        let dst = self.result(n, w.max(Width::W32));
        self.move_to(dst, a, w);
        if w < Width::W32 {
            self.quiet().load(w, dst, dst);
        } else if self.is_in(a, dst) {
            // The move was none.
            self.quiet().load(w, dst, dst);
        }
        self.defined(n, dst, w, true);
    }

    /// [`Op::SignExtend`].
    pub(super) fn sign_extend(&mut self, n: usize, from: Width, to: Width, a: Val) {
        let dst = self.result(n, to.max(Width::W32));
        match self.operand(a, from) {
            Operand::Rm(rm) => self.quiet().load_signed(from, to.max(Width::W32), dst, rm),
            Operand::Imm(imm) => self.quiet().mov_imm(dst, i64::from(imm).cast_unsigned()),
        }
        let narrow = to < Width::W32;
        self.defined(n, dst, to, !narrow);
    }

    /// [`Op::Select`].
    pub(super) fn select(&mut self, n: usize, condition: Val, yes: Val, no: Val) {
        let w = self.width(yes).max(self.width(no)).max(Width::W32);
        let code = self.test_value(condition);
        let dst = match self.target(n, false) {
            Some(host) if !self.is_in(yes, host) => host,
            _ => self.temp(),
        };
        let narrow = self.width(yes).max(self.width(no)) < w;
        let yes = if narrow { self.clean_reg(yes) } else { self.any_reg(yes, w) };
        if !self.is_in(no, dst) || narrow {
            self.move_clean(dst, no);
        }
        self.quiet().cmov(code, w, dst, yes);
        self.defined(n, dst, w, true);
    }

    /// [`Op::Set`].
    pub(super) fn set(&mut self, n: usize, w: Width, reg: u8, v: Val) {
        self.release_guest(reg, n);
        let high = reg & trine_x86::slot::HIGH != 0;
        if !high
            && matches!(self.loc(v), Loc::Guest(held, r) if r == reg && held <= w && self.is_written(v, w))
        {
            return;
        }
        let to = super::place(reg);
        match (high, to) {
            (true, _) => self.set_high(reg, v),
            (_, Rm::R(host)) if w >= Width::W32 => self.set_wide(host, w, v),
            (_, Rm::R(host)) => match self.operand(v, w) {
                Operand::Imm(imm) => self.quiet().store_imm(w, host, imm),
                Operand::Rm(rm) => self.quiet().mov_low(w, host, rm),
            },
            (_, mem) if w >= Width::W32 => {
                let reg = self.clean_reg(v);
                self.quiet().store(Width::W64, mem, reg);
            }
            (_, mem) => {
                // As a whole: a longer load would have to wait for a short store.
                let from = self.any_reg(v, w);
                let whole = self.temp();
                self.quiet().load(Width::W64, whole, mem);
                self.quiet().mov_low(w, whole, from);
                self.quiet().store(Width::W64, mem, whole);
            }
        }
    }

    /// Whether a value that stands in its guest register was put there by its operation.
    fn is_written(&self, v: Val, w: Width) -> bool {
        !matches!(self.ops()[v.index()], Op::Get(held, _) if held < w || w == Width::W32)
    }

    fn set_wide(&mut self, host: Gpr, w: Width, v: Val) {
        // Zero-extended to 64 bits in any case.
        match self.loc(v) {
            Loc::Guest(Width::W32, reg) if super::home(reg) == Some(host) => {
                self.quiet().load(Width::W32, host, host);
            }
            _ if w == Width::W32 && self.width(v) == Width::W32 => self.move_to(host, v, w),
            _ => self.move_clean(host, v),
        }
    }

    /// AH to BH.
    fn set_high(&mut self, reg: u8, v: Val) {
        let mut from = self.any_reg(v, Width::W8);
        if super::home(reg) == Some(from) {
            // It is about to be rotated.
            from = self.temp();
            self.move_to(from, v, Width::W8);
        }
        match super::home(reg) {
            Some(host) => {
                let a = self.noisy();
                a.shift(Shift::Ror, Width::W64, host, 8);
                a.mov_low(Width::W8, host, from);
                a.shift(Shift::Rol, Width::W64, host, 8);
            }
            None => {
                let Mem { disp, .. } = super::slot(reg);
                self.quiet().store(Width::W8, Mem::at(RBP, disp + 1), from);
            }
        }
    }
}
