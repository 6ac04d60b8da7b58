//! Where values are while a step is emitted, and how they get into registers.

use trine_x86::{Width, slot};

use super::{
    HOMES, SCRATCH, STEP_SPILLS,
    asm::{Asm, Cond, Label, OrZero, Reg, Size, ZR},
    emit::Emitter,
    flags::Held,
    home, size, spill, zero_extend,
};
use crate::ir::{Op, Setter, Val, width_of};

/// Where a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Loc {
    /// Not made, or not needed any more.
    None,
    /// A constant.
    Imm(u64),
    /// What a guest register's low bits hold.
    Guest(Width, u8),
    /// In a scratch register; if not clean, with garbage above the value's width.
    Scratch(Reg, bool),
    /// In a word of the core, clean.
    Spill(u8),
    /// A condition of the guest's flags that nobody has looked at yet.
    Condition(u8),
}

/// The values of a step.
#[derive(Default)]
pub(super) struct Values {
    /// One more than there are operations: the place of an opened operand.
    pub(super) locs: Vec<Loc>,
    /// The last operation that uses each value; a value's own number if none does. One more for the
    /// place of an opened operand.
    pub(super) last: Vec<usize>,
    /// Scratch registers that may not be taken now.
    locked: u32,
}

impl Values {
    /// For the operations of a step; `setter_uses` says which operands of a setter count.
    pub(super) fn begin(
        &mut self,
        ops: &[Op],
        setter_uses: impl Fn(Setter, Width, &mut dyn FnMut(Val)),
    ) {
        self.locs.clear();
        self.locs.resize(ops.len() + 1, Loc::None);
        self.last.clear();
        self.last.extend(0..=ops.len());
        self.locked = 0;
        for (n, op) in ops.iter().enumerate() {
            let mut used = |v: Val| self.last[v.index()] = self.last[v.index()].max(n);
            match *op {
                Op::SetFlags(w, setter) => setter_uses(setter, w, &mut used),
                // The jump itself comes with the end of the step.
                Op::Branch(Some(v)) => self.last[v.index()] = ops.len(),
                Op::Commit(_, _, v) => {
                    used(v);
                    self.last[ops.len()] = n;
                }
                ref op => op.uses(used),
            }
        }
    }

    /// A word that holds no value.
    fn free_spill(&self) -> u8 {
        let taken = self.locs.iter().fold(0_u32, |taken, loc| match loc {
            Loc::Spill(n) => taken | 1 << n,
            _ => taken,
        });
        let n = taken.trailing_ones() as u8;
        assert!(n < STEP_SPILLS, "too many values in one instruction");
        n
    }
}

impl Emitter<'_> {
    pub(super) fn ops(&self) -> &[Op] {
        &self.region.ops[self.ops.clone()]
    }

    pub(super) fn width(&self, v: Val) -> Width {
        width_of(self.ops(), v)
    }

    pub(super) fn loc(&self, v: Val) -> Loc {
        self.values.locs[v.index()]
    }

    pub(super) fn constant(&self, v: Val) -> Option<u64> {
        match self.loc(v) {
            Loc::Imm(value) => Some(value),
            _ => None,
        }
    }

    /// Forgets values that operation `n` used last, and the locks.
    pub(super) fn end_op(&mut self, n: usize) {
        self.values.locked = 0;
        for v in 0..self.values.locs.len() {
            if self.values.last[v] <= n && (v <= n || v == self.values.locs.len() - 1) {
                self.values.locs[v] = Loc::None;
            }
        }
    }

    /// The value in a scratch register.
    fn owner(&self, reg: Reg) -> Option<usize> {
        self.values.locs.iter().position(|loc| matches!(loc, Loc::Scratch(r, _) if *r == reg))
    }

    fn is_locked(&self, reg: Reg) -> bool {
        self.values.locked >> reg.number() & 1 != 0
    }

    /// Keeps a register until the end of the operation.
    pub(super) fn lock(&mut self, reg: Reg) {
        self.values.locked |= 1 << reg.number();
    }

    /// A scratch register that holds nothing; locked.
    pub(super) fn temp(&mut self) -> Reg {
        let free = SCRATCH.into_iter().find(|r| !self.is_locked(*r) && self.owner(*r).is_none());
        let reg = free.unwrap_or_else(|| {
            let evict = SCRATCH
                .into_iter()
                .filter(|r| !self.is_locked(*r))
                .max_by_key(|r| self.owner(*r).map(|v| self.values.last[v]));
            let reg = evict.expect("no operation locks all scratch registers");
            self.evict(reg);
            reg
        });
        self.lock(reg);
        reg
    }

    /// Puts the value of a scratch register into memory.
    fn evict(&mut self, reg: Reg) {
        let Some(v) = self.owner(reg) else { return };
        if let Loc::Scratch(_, false) = self.values.locs[v] {
            let w = self.width(Val(v as u16));
            zero_extend(&mut self.asm, w, reg, reg);
        }
        let n = self.values.free_spill();
        self.asm.str(Size::X, reg, spill(n));
        self.values.locs[v] = Loc::Spill(n);
    }

    /// Puts all values of scratch registers into memory: what follows destroys them, or may not be
    /// executed.
    pub(super) fn evict_all(&mut self) {
        for reg in SCRATCH {
            self.evict(reg);
        }
    }

    /// Says where the result of operation `n` is.
    pub(super) fn define(&mut self, n: usize, loc: Loc) {
        self.values.locs[n] = loc;
    }

    /// `dst = v`, with garbage above width `w` allowed.
    pub(super) fn move_to(&mut self, dst: Reg, v: Val, w: Width) {
        let from = match self.loc(v) {
            Loc::Imm(value) => return self.asm.mov_imm(size(w), dst, value & w.mask()),
            Loc::Guest(held, reg) if held >= w && reg & slot::HIGH == 0 => home(reg),
            Loc::Guest(held, reg) => return self.load_guest(dst, held, reg),
            Loc::Scratch(reg, clean) if clean || self.width(v) >= w => reg,
            Loc::Scratch(reg, _) => {
                let held = self.width(v);
                return zero_extend(&mut self.asm, held, dst, reg);
            }
            Loc::Spill(n) => return self.asm.ldr(Size::X, dst, spill(n)),
            Loc::Condition(code) => return self.set_condition(dst, code),
            Loc::None => unreachable!("a value is used before it is made"),
        };
        if from != dst {
            self.asm.mov(size(w), dst, from);
        }
    }

    /// `dst = v`, zero-extended.
    pub(super) fn move_clean(&mut self, dst: Reg, v: Val) {
        match self.loc(v) {
            Loc::Guest(w, reg) => self.load_guest(dst, w, reg),
            Loc::Scratch(reg, false) => {
                let w = self.width(v);
                zero_extend(&mut self.asm, w, dst, reg);
            }
            _ => self.move_to(dst, v, Width::W64),
        }
    }

    /// `dst` = the low bits of a guest register, zero-extended.
    pub(super) fn load_guest(&mut self, dst: Reg, w: Width, reg: u8) {
        if reg & slot::HIGH == 0 {
            zero_extend(&mut self.asm, w, dst, home(reg));
        } else {
            self.asm.ubfx(Size::W, dst, home(reg), 8, 8);
        }
    }

    fn set_condition(&mut self, dst: Reg, code: u8) {
        let condition = self.test_condition(code);
        self.asm.cset(Size::W, dst, condition);
    }

    /// Remembers that a register now holds a value that has to last.
    fn cache(&mut self, v: Val, reg: Reg) {
        let keep = matches!(self.loc(v), Loc::Condition(_) | Loc::Scratch(_, false));
        if keep && self.body == 0 {
            self.values.locs[v.index()] = Loc::Scratch(reg, true);
        }
    }

    /// The value in some register, with garbage above `w` allowed; locked if it is scratch.
    pub(super) fn any_reg(&mut self, v: Val, w: Width) -> Reg {
        match self.loc(v) {
            Loc::Guest(held, reg) if held >= w && reg & slot::HIGH == 0 => return home(reg),
            Loc::Scratch(reg, clean) if clean || self.width(v) >= w => {
                self.lock(reg);
                return reg;
            }
            _ => {}
        }
        let reg = self.temp();
        self.move_to(reg, v, w);
        reg
    }

    /// The same, where zero needs no register.
    pub(super) fn any_or_zero(&mut self, v: Val, w: Width) -> OrZero {
        match self.constant(v) {
            Some(value) if value & w.mask() == 0 => ZR,
            _ => self.any_reg(v, w).into(),
        }
    }

    /// The value in some register, zero-extended.
    pub(super) fn clean_reg(&mut self, v: Val) -> Reg {
        match self.loc(v) {
            Loc::Guest(Width::W64, reg) => return home(reg),
            Loc::Scratch(reg, true) => {
                self.lock(reg);
                return reg;
            }
            _ => {}
        }
        let reg = self.temp();
        self.move_clean(reg, v);
        self.cache(v, reg);
        reg
    }

    /// Before a guest register changes: values that are still to be used leave it.
    pub(super) fn release_guest(&mut self, reg: u8, n: usize) {
        for v in 0..self.ops.len() {
            let held = matches!(self.values.locs[v], Loc::Guest(_, r) if r & 31 == reg & 31);
            if held && self.values.last[v] > n {
                let to = self.temp();
                self.move_clean(to, Val(v as u16));
                self.values.locs[v] = Loc::Scratch(to, true);
            }
        }
    }

    /// The home of the guest register into which operation `n` may put its result at once, because
    /// that is where it goes, and nobody looks at the old value or may stop before.
    pub(super) fn target(&self, n: usize) -> Option<Reg> {
        let ops = self.ops();
        let (at, w, reg) = ops.iter().enumerate().skip(n + 1).find_map(|(m, op)| match *op {
            Op::Set(w, reg, v) if v.index() == n => Some((m, w, reg)),
            _ => None,
        })?;
        if self.body != 0 || reg & slot::HIGH != 0 || w < Width::W32 {
            return None;
        }
        let is_there = |v: Val| matches!(self.loc(v), Loc::Guest(_, r) if r & 31 == reg & 31);
        let looks = |m: usize, op: &Op| {
            let mut found = false;
            let mut look = |v: Val| found |= is_there(v);
            match *op {
                Op::SetFlags(w, setter) => self.setter_uses(setter, w, &mut look),
                Op::Get(_, r) => found |= r & 31 == reg & 31,
                Op::Set(_, r, v) if m != at => {
                    look(v);
                    found |= r & 31 == reg & 31;
                }
                Op::Address { base, index, .. } => {
                    found |= base == Some(reg) || index.is_some_and(|(r, _)| r == reg);
                }
                // A branch's condition is looked at when all is done.
                ref op => op.uses(look),
            }
            let flags = matches!(op, Op::When(..) | Op::Flag(_) | Op::Flags | Op::Condition(_));
            found || op.stops() || flags
        };
        let busy = ops.iter().enumerate().skip(n + 1).any(|(m, op)| looks(m, op));
        let condition = ops.iter().any(|op| matches!(*op, Op::Branch(Some(v)) if is_there(v)));
        (!busy && !condition).then(|| home(reg))
    }

    /// Where operation `n` of width `w` puts its result: a guest register's home or scratch.
    pub(super) fn result(&mut self, n: usize, w: Width) -> Reg {
        match self.target(n).filter(|_| w >= Width::W32) {
            Some(host) => host,
            None => self.temp(),
        }
    }

    /// Says that operation `n` has put its result there.
    pub(super) fn defined(&mut self, n: usize, reg: Reg, w: Width, clean: bool) {
        let loc = match HOMES.iter().position(|host| *host == reg) {
            Some(guest) => Loc::Guest(w, guest as u8),
            None => Loc::Scratch(reg, clean),
        };
        self.define(n, loc);
    }

    /// `Asm`, for those who emit nothing that changes flags.
    pub(super) fn quiet(&mut self) -> &mut Asm {
        &mut self.asm
    }

    /// `Asm`, for those who change the host's flags.
    pub(super) fn noisy(&mut self) -> &mut Asm {
        self.host = Held::default();
        self.made = None;
        &mut self.asm
    }

    /// Makes the host's flags tell whether a value is not 0; the condition that says so.
    pub(super) fn test_value(&mut self, v: Val) -> Cond {
        if let Loc::Condition(code) = self.loc(v) {
            return self.test_condition(code);
        }
        let reg = self.clean_reg(v);
        self.noisy().tst(Size::X, reg, reg);
        Cond::Ne
    }

    /// Goes to `label` if a value is 0 or, `wanted`, if it is not.
    pub(super) fn branch_if(&mut self, v: Val, wanted: bool, label: Label) {
        if let Loc::Condition(code) = self.loc(v) {
            let condition = self.test_condition(code);
            let condition = if wanted { condition } else { condition.inverse() };
            return self.asm.b_cond(condition, label);
        }
        let reg = self.clean_reg(v);
        match wanted {
            true => self.asm.cbnz(Size::X, reg, label),
            false => self.asm.cbz(Size::X, reg, label),
        }
    }
}
