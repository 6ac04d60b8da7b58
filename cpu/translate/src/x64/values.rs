//! Where values are while a step is emitted, and how they get into registers.

use trine_x86::{Width, slot};

use super::{
    HIGH_SPILL, HOMES, SCRATCH, STEP_SPILLS,
    asm::{Asm, Gpr, Mem, RCX, Rm, cc},
    emit::Emitter,
    home, place, spill,
};
use crate::{
    ir::{Op, Setter, Val, width_of},
    x87::Part,
};

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
    Scratch(Gpr, bool),
    /// In a word of the core, clean.
    Spill(u8),
    /// A guest register and a constant, to be added in so many bits: 32 or 64.
    Sum(Width, u8, i32),
    /// A condition of the guest's flags that nobody has looked at yet.
    Condition(u8),
}

/// An operand of an instruction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    Imm(i32),
    Rm(Rm),
}

/// The values of a step.
#[derive(Default)]
pub(super) struct Values {
    /// One more than there are operations: the place of an opened operand, or of a jump's target.
    pub(super) locs: Vec<Loc>,
    /// The last operation that uses each value; a value's own number if none does. One more for that
    /// place.
    pub(super) last: Vec<usize>,
    /// Scratch registers that may not be taken now.
    locked: u16,
}

impl Values {
    /// Which registers are locked.
    pub(super) fn locks(&self) -> u16 {
        self.locked
    }

    /// Unlocks what was locked since.
    pub(super) fn set_locks(&mut self, locks: u16) {
        self.locked = locks;
    }

    /// For the operations of a step; `shares` says which accesses do not need their address, and
    /// `setter_uses` which operands of a setter count.
    pub(super) fn begin(
        &mut self,
        ops: &[Op],
        shares: impl Fn(usize) -> bool,
        setter_uses: impl Fn(Setter, Width, &mut dyn FnMut(Val)),
    ) {
        self.locs.clear();
        self.locs.resize(ops.len() + 1, Loc::None);
        self.last.clear();
        self.last.extend(0..=ops.len());
        self.locked = 0;
        for (n, op) in ops.iter().enumerate().rev() {
            if op.is_pure() && self.last[n] <= n {
                // Nobody uses it, so it uses nothing.
                continue;
            }
            let mut used = |v: Val| self.last[v.index()] = self.last[v.index()].max(n);
            match *op {
                Op::SetFlags(w, setter) => setter_uses(setter, w, &mut used),
                Op::Load(..) | Op::Open(..) if shares(n) => {}
                Op::Store(_, _, v) if shares(n) => used(v),
                Op::Update(_, _, _, v) if shares(n) => used(v),
                Op::CompareExchange(_, _, a, b) if shares(n) => [a, b].into_iter().for_each(used),
                Op::X87(Part::Host(_, _, condition)) if shares(n) => {
                    condition.into_iter().for_each(used);
                }
                Op::Vector(_, _, general) if shares(n) => general.into_iter().for_each(used),
                // The jump itself comes with the end of the step.
                Op::Branch(Some(v)) => self.last[v.index()] = ops.len(),
                Op::Jump(v) => {
                    used(v);
                    self.last[ops.len()] = ops.len();
                }
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
    fn owner(&self, reg: Gpr) -> Option<usize> {
        self.values.locs.iter().position(|loc| matches!(loc, Loc::Scratch(r, _) if *r == reg))
    }

    fn is_locked(&self, reg: Gpr) -> bool {
        self.values.locked >> reg.0 & 1 != 0
    }

    /// Keeps a register until the end of the operation.
    pub(super) fn lock(&mut self, reg: Gpr) {
        self.takes(reg);
        self.values.locked |= 1 << reg.0;
    }

    /// A register gets another value: RCX is no more what takes addresses to the host's.
    fn takes(&mut self, reg: Gpr) {
        if reg == RCX {
            self.near = None;
        }
    }

    pub(super) fn unlock(&mut self, reg: Gpr) {
        self.values.locked &= !(1 << reg.0);
    }

    /// A scratch register that holds nothing; locked.
    pub(super) fn temp(&mut self) -> Gpr {
        let free =
            SCRATCH.into_iter().rev().find(|r| !self.is_locked(*r) && self.owner(*r).is_none());
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

    /// A given scratch register, emptied; locked.
    pub(super) fn claim(&mut self, reg: Gpr) {
        if let Some(v) = self.owner(reg) {
            let other = SCRATCH
                .into_iter()
                .find(|r| *r != reg && !self.is_locked(*r) && self.owner(*r).is_none());
            match (other, self.values.locs[v]) {
                (Some(other), Loc::Scratch(_, clean)) => {
                    self.takes(other);
                    self.asm.store(Width::W64, other, reg);
                    self.values.locs[v] = Loc::Scratch(other, clean);
                }
                _ => self.evict(reg),
            }
        }
        self.lock(reg);
    }

    /// Puts the value of a scratch register into memory.
    fn evict(&mut self, reg: Gpr) {
        let Some(v) = self.owner(reg) else { return };
        self.clean(v, reg);
        let n = self.values.free_spill();
        self.asm.store(Width::W64, spill(n), reg);
        self.values.locs[v] = Loc::Spill(n);
    }

    /// Puts all values of scratch registers into memory: what follows destroys them, or may not be
    /// executed.
    pub(super) fn evict_all(&mut self) {
        for reg in SCRATCH {
            self.evict(reg);
        }
    }

    fn clean(&mut self, v: usize, reg: Gpr) {
        if let Loc::Scratch(_, false) = self.values.locs[v] {
            let w = if v < self.ops.len() { self.width(Val(v as u16)) } else { Width::W64 };
            self.asm.load(w, reg, reg);
            self.values.locs[v] = Loc::Scratch(reg, true);
        }
    }

    /// Says where the result of operation `n` is.
    pub(super) fn define(&mut self, n: usize, loc: Loc) {
        self.values.locs[n] = loc;
    }

    /// `dst = v`, with garbage above width `w` allowed.
    pub(super) fn move_to(&mut self, dst: Gpr, v: Val, w: Width) {
        let wide = w.max(Width::W32);
        match self.loc(v) {
            Loc::Imm(value) => self.asm.mov_imm(dst, value & wide.mask()),
            Loc::Guest(held, reg) if held >= w && reg & slot::HIGH == 0 => {
                if home(reg) != Some(dst) {
                    self.asm.load(wide, dst, place(reg));
                }
            }
            Loc::Guest(held, reg) => self.load_guest(dst, held, reg),
            Loc::Scratch(reg, clean) if clean || self.width(v) >= w => {
                if reg != dst {
                    self.asm.store(wide, dst, reg);
                }
            }
            Loc::Scratch(reg, _) => self.asm.load(self.width(v), dst, reg),
            Loc::Spill(n) => self.asm.load(wide, dst, spill(n)),
            Loc::Sum(ws, reg, disp) => self.load_sum(dst, ws.min(wide), reg, disp),
            Loc::Condition(code) => self.set_condition(dst, code),
            Loc::None => unreachable!("a value is used before it is made"),
        }
    }

    /// `dst = v`, zero-extended.
    pub(super) fn move_clean(&mut self, dst: Gpr, v: Val) {
        match self.loc(v) {
            Loc::Guest(w, reg) => self.load_guest(dst, w, reg),
            Loc::Scratch(reg, false) => self.asm.load(self.width(v), dst, reg),
            _ => self.move_to(dst, v, Width::W64),
        }
    }

    /// `dst` = the low bits of a guest register, zero-extended.
    pub(super) fn load_guest(&mut self, dst: Gpr, w: Width, reg: u8) {
        if reg & slot::HIGH == 0 {
            self.asm.load(w, dst, place(reg));
            return;
        }
        match home(reg) {
            Some(host) => {
                // By memory, so that the flags stay.
                let aside = spill(HIGH_SPILL);
                self.asm.store(Width::W64, aside, host);
                self.asm.load(Width::W8, dst, Mem { disp: aside.disp + 1, ..aside });
            }
            None => {
                let Mem { disp, .. } = super::slot(reg);
                self.asm.load(Width::W8, dst, super::field((disp + 1) as usize));
            }
        }
    }

    fn load_sum(&mut self, dst: Gpr, w: Width, reg: u8, disp: i32) {
        let from = home(reg).unwrap_or_else(|| {
            self.asm.load(Width::W64, dst, place(reg));
            dst
        });
        self.asm.lea(w, dst, Mem::at(from, disp));
    }

    fn set_condition(&mut self, dst: Gpr, code: u8) {
        let code = self.test_condition(code);
        self.asm.setcc(code, dst);
        self.asm.load(Width::W8, dst, dst);
    }

    /// An operand of an instruction of width `w` that looks at no more than that.
    pub(super) fn operand(&mut self, v: Val, w: Width) -> Operand {
        match self.loc(v) {
            Loc::Imm(value) => {
                let signed = w.sign_extend(value).cast_signed();
                if let Ok(imm) = i32::try_from(signed) {
                    return Operand::Imm(imm);
                }
            }
            Loc::Guest(held, reg) if held >= w && reg & slot::HIGH == 0 => {
                return Operand::Rm(place(reg));
            }
            Loc::Scratch(reg, clean) if clean || self.width(v) >= w => {
                self.lock(reg);
                return Operand::Rm(reg.into());
            }
            Loc::Spill(n) => return Operand::Rm(spill(n).into()),
            _ => {}
        }
        let reg = self.temp();
        self.move_clean(reg, v);
        self.cache(v, reg);
        Operand::Rm(reg.into())
    }

    /// Remembers that a register now holds a value that has to last.
    fn cache(&mut self, v: Val, reg: Gpr) {
        let keep = matches!(self.loc(v), Loc::Condition(_) | Loc::Sum(..) | Loc::Scratch(_, false));
        if keep && self.body == 0 {
            self.values.locs[v.index()] = Loc::Scratch(reg, true);
        }
    }

    /// The value in some register, with garbage above `w` allowed; locked if it is scratch.
    pub(super) fn any_reg(&mut self, v: Val, w: Width) -> Gpr {
        match self.loc(v) {
            Loc::Guest(held, reg) if held >= w && reg & slot::HIGH == 0 => {
                if let Some(host) = home(reg) {
                    return host;
                }
            }
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

    /// The value in some register, zero-extended.
    pub(super) fn clean_reg(&mut self, v: Val) -> Gpr {
        match self.loc(v) {
            Loc::Guest(Width::W64, reg) => {
                if let Some(host) = home(reg) {
                    return host;
                }
            }
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

    /// Whether a value is found by looking at a guest register.
    fn stands_on(&self, v: usize, reg: u8) -> bool {
        matches!(self.values.locs[v], Loc::Guest(_, r) | Loc::Sum(_, r, _) if r & 31 == reg & 31)
    }

    /// Before a guest register changes: values that are still to be used leave it.
    pub(super) fn release_guest(&mut self, reg: u8, n: usize) {
        for v in 0..self.ops.len() {
            if self.stands_on(v, reg) && self.values.last[v] > n {
                let to = self.temp();
                self.move_clean(to, Val(v as u16));
                self.values.locs[v] = Loc::Scratch(to, true);
            }
        }
    }

    /// The home of the guest register into which operation `n` may put its result at once, because
    /// that is where it goes, and nobody looks at the old value or may stop before.
    pub(super) fn target(&self, n: usize, partial: bool) -> Option<Gpr> {
        let ops = self.ops();
        let (at, w, reg) = ops.iter().enumerate().skip(n + 1).find_map(|(m, op)| match *op {
            Op::Set(w, reg, v) if v.index() == n => Some((m, w, reg)),
            _ => None,
        })?;
        if self.body != 0 || reg & slot::HIGH != 0 || (w < Width::W32 && !partial) {
            return None;
        }
        let host = home(reg)?;
        let looks = |m: usize, op: &Op| {
            if op.is_pure() && self.values.last[m] <= m {
                // Nobody will do it.
                return false;
            }
            let mut found = false;
            let mut look = |v: Val| found |= self.stands_on(v.index(), reg);
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
                ref op => op.uses(look),
            }
            found
                || op.stops()
                || matches!(op, Op::When(..) | Op::Flag(_) | Op::Flags | Op::Condition(_))
        };
        let behind = ops.iter().enumerate().skip(n + 1);
        let busy = behind.clone().any(|(m, op)| looks(m, op));
        // A branch's condition is looked at when all is done.
        let condition = ops.iter().any(|op| match *op {
            Op::Branch(Some(v)) => self.stands_on(v.index(), reg),
            _ => false,
        });
        (!busy && !condition).then_some(host)
    }

    /// The guest register that a host register is the home of.
    pub(super) fn guest_of(&self, host: Gpr) -> Option<u8> {
        HOMES.iter().find(|(_, h)| *h == host).map(|(guest, _)| *guest)
    }

    /// Where operation `n` of width `w` puts its result: a guest register's home or scratch.
    pub(super) fn result(&mut self, n: usize, w: Width) -> Gpr {
        match self.target(n, false).filter(|_| w >= Width::W32) {
            Some(host) => host,
            None => self.temp(),
        }
    }

    /// Says that operation `n` has put its result there.
    pub(super) fn defined(&mut self, n: usize, reg: Gpr, w: Width, clean: bool) {
        let loc = match self.guest_of(reg) {
            Some(guest) => Loc::Guest(w, guest),
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
        self.host = 0;
        self.made = None;
        &mut self.asm
    }

    /// TEST of a value against 0; the condition under which it is not.
    pub(super) fn test_value(&mut self, v: Val) -> u8 {
        if let Loc::Condition(code) = self.loc(v) {
            return self.test_condition(code);
        }
        let reg = self.clean_reg(v);
        self.noisy().test(Width::W64, reg, reg);
        cc::NE
    }
}
