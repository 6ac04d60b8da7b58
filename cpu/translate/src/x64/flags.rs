//! The guest's arithmetic flags in the host's.
//!
//! The emitter knows two things: the guest's flags' recipe, and which of them the host's flags hold
//! at the moment. If a condition is wanted that they do not hold, the last operation of the recipe
//! is done again.

use trine_x86::{Flag, Width, rflags, slot};

use super::{
    HELPER_SPILLS, OVER_SPILL,
    asm::{Alu, Gpr, R11, RAX, RBP, RCX, RDX, Shift, cc},
    emit::Emitter,
    flags_carries, flags_result, home, place, spill, translated,
    values::{Loc, Operand},
};
use crate::{
    family::Family,
    flags::{CARRY_SPILL, Kind, Over, RECIPE_SPILLS, Recipe, Src},
    helper,
    ir::{Bin, Op, Setter, Val, flags_of_condition},
    recipe::{self, Made},
};

const ZSP: u64 = rflags::ZF | rflags::SF | rflags::PF;
/// All that conditions look at.
const SHOWN: u64 = ZSP | rflags::CF | rflags::OF;

/// An addition or subtraction with carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carries {
    pub(super) w: Width,
    pub(super) a: Val,
    pub(super) b: Val,
    pub(super) middle: Val,
    pub(super) carry: Val,
    pub(super) subtract: bool,
}

impl Emitter<'_> {
    /// The operand of a recipe as an instruction's, of width `w`; high bytes come by a temporary.
    fn recipe_operand(&mut self, src: Src, w: Width) -> Operand {
        match src {
            Src::Imm(value) => match i32::try_from(w.sign_extend(value).cast_signed()) {
                Ok(imm) => Operand::Imm(imm),
                Err(_) => Operand::Rm(self.recipe_reg(src, w).into()),
            },
            Src::Spill(n) => Operand::Rm(spill(n).into()),
            Src::Memory => unreachable!("it was fetched"),
            Src::Reg(reg) if reg & slot::HIGH == 0 => Operand::Rm(place(reg)),
            Src::Reg(_) => Operand::Rm(self.recipe_reg(src, w).into()),
        }
    }

    /// The same in a temporary of its own.
    fn recipe_reg(&mut self, src: Src, w: Width) -> Gpr {
        let to = self.temp();
        match src {
            Src::Imm(value) => self.quiet().mov_imm(to, value),
            Src::Spill(n) => self.quiet().load(Width::W64, to, spill(n)),
            Src::Memory => unreachable!("it was fetched"),
            Src::Reg(reg) => self.load_guest(to, w, reg),
        }
        to
    }

    fn alu_operand(&mut self, op: Alu, w: Width, reg: Gpr, operand: Operand) {
        match operand {
            Operand::Imm(imm) => self.noisy().alu_imm(op, w, reg, imm),
            Operand::Rm(rm) => self.noisy().alu_from(op, w, reg, rm),
        }
    }

    /// Makes the host's flags hold these of the guest's.
    pub(super) fn ensure(&mut self, wanted: u64) {
        if self.host & wanted != wanted {
            let locks = self.values.locks();
            self.make(wanted);
            self.values.set_locks(locks);
        }
    }

    fn make(&mut self, wanted: u64) {
        let Recipe { kind, w, x, y, over } = self.recipe;
        let over = over.map_or(0, |over| u64::from(over.mask));
        if wanted & over != 0 {
            if wanted == rflags::CF {
                self.noisy().bt_imm(Width::W32, spill(OVER_SPILL), 0);
                self.host = rflags::CF;
            } else if wanted & !over == 0 && wanted & rflags::OF == 0 {
                // As after SAHF.
                self.load_compared(Src::Spill(OVER_SPILL));
                self.host = over & SHOWN & !rflags::OF;
            } else {
                self.ensure_from_image();
            }
            return;
        }
        if wanted & !ZSP == 0
            && let Some(result) = self.recipe.result()
        {
            self.compare_with_zero(w, result);
            self.host = ZSP & !over;
            return;
        }
        let held = match kind {
            Kind::Memory => return self.ensure_from_memory(wanted),
            Kind::Compared => {
                self.load_compared(x);
                SHOWN
            }
            Kind::Shl | Kind::Shr | Kind::Sar if wanted & rflags::OF == 0 => {
                self.shift_again(kind, w, x, y);
                ZSP | rflags::CF
            }
            Kind::MulSigned if wanted & ZSP == 0 && w > Width::W8 => {
                let a = self.recipe_reg(x, w);
                let b = match self.recipe_operand(y, w) {
                    Operand::Rm(rm) => rm,
                    Operand::Imm(_) => self.recipe_reg(y, w).into(),
                };
                self.noisy().imul(w, a, b);
                rflags::CF | rflags::OF
            }
            Kind::Result
            | Kind::Shl
            | Kind::Shr
            | Kind::Sar
            | Kind::MulUnsigned
            | Kind::MulSigned => return self.ensure_from_image(),
            _ => {
                self.compute_again();
                SHOWN
            }
        };
        self.host = held & !over;
    }

    /// Does the recipe's addition or subtraction again.
    fn compute_again(&mut self) {
        if self.recipe.y == Src::Memory {
            self.fetch_carry();
        }
        let Recipe { kind, w, x, y, .. } = self.recipe;
        match kind {
            Kind::Logic => self.compare_with_zero(w, x),
            Kind::Sub => self.compare(w, x, y),
            Kind::Remainder => {
                // b = a - r, then a compared with it.
                let (b, a) = (self.recipe_reg(x, w), self.recipe_reg(x, w));
                let r = self.recipe_operand(y, w);
                self.alu_operand(Alu::Sub, w, b, r);
                self.noisy().alu(Alu::Cmp, w, a, b);
            }
            Kind::Inc | Kind::Dec => {
                let down = kind == Kind::Dec;
                let r = self.recipe_reg(x, w);
                self.noisy().step(!down, w, r);
                let carry = self.recipe_reg(y, Width::W64);
                self.noisy().bt_imm(Width::W32, carry, 0);
                self.noisy().step(down, w, r);
            }
            _ => {
                let (a, b) = (self.recipe_reg(x, w), self.recipe_operand(y, w));
                match kind {
                    Kind::Sum => {
                        self.alu_operand(Alu::Sub, w, a, b);
                        self.alu_operand(Alu::Add, w, a, b);
                    }
                    Kind::Difference => {
                        self.alu_operand(Alu::Add, w, a, b);
                        self.alu_operand(Alu::Cmp, w, a, b);
                    }
                    Kind::SumCarry | Kind::DifferenceCarry => {
                        let sum = kind == Kind::SumCarry;
                        self.alu_with_carry(sum, w, a, b);
                        self.alu_with_carry(!sum, w, a, b);
                    }
                    Kind::AddCarry => self.alu_with_carry(false, w, a, b),
                    Kind::SubCarry => self.alu_with_carry(true, w, a, b),
                    _ => self.alu_operand(Alu::Add, w, a, b),
                }
            }
        }
    }

    /// ADC or SBB with the carry that was put aside.
    fn alu_with_carry(&mut self, subtract: bool, w: Width, a: Gpr, b: Operand) {
        self.noisy().bt_imm(Width::W32, spill(CARRY_SPILL), 0);
        self.alu_operand(if subtract { Alu::Sbb } else { Alu::Adc }, w, a, b);
    }

    fn shift_again(&mut self, kind: Kind, w: Width, x: Src, y: Src) {
        let op = match kind {
            Kind::Shl => Shift::Shl,
            Kind::Shr => Shift::Shr,
            _ => Shift::Sar,
        };
        let Src::Imm(by) = y else { unreachable!("only constant counts have such recipes") };
        let a = self.recipe_reg(x, w);
        self.noisy().shift(op, w, a, by as u8);
    }

    /// The flags of a vector comparison.
    fn load_compared(&mut self, x: Src) {
        self.claim(RAX);
        let image = self.recipe_operand(x, Width::W8);
        match image {
            Operand::Rm(rm) => self.quiet().load(Width::W8, RAX, rm),
            Operand::Imm(imm) => self.quiet().mov_imm(RAX, u64::from(imm as u8)),
        }
        self.noisy().set_flags();
        self.unlock(RAX);
    }

    fn compare_with_zero(&mut self, w: Width, x: Src) {
        match self.recipe_operand(x, w) {
            Operand::Rm(super::Rm::R(reg)) => self.noisy().test(w, reg, reg),
            Operand::Rm(rm) => self.noisy().alu_imm(Alu::Cmp, w, rm, 0),
            Operand::Imm(_) => {
                let reg = self.recipe_reg(x, w);
                self.noisy().test(w, reg, reg);
            }
        }
    }

    fn compare(&mut self, w: Width, x: Src, y: Src) {
        let (a, b) = (self.recipe_operand(x, w), self.recipe_operand(y, w));
        match (a, b) {
            (Operand::Rm(a), Operand::Imm(b)) => self.noisy().alu_imm(Alu::Cmp, w, a, b),
            (Operand::Rm(a), Operand::Rm(super::Rm::R(b))) => self.noisy().alu(Alu::Cmp, w, a, b),
            (Operand::Rm(super::Rm::R(a)), b) => self.alu_operand(Alu::Cmp, w, a, b),
            _ => {
                let a = self.recipe_reg(x, w);
                self.alu_operand(Alu::Cmp, w, a, b);
            }
        }
    }

    /// Flags that are in the core, or as memory says.
    fn ensure_from_memory(&mut self, wanted: u64) {
        if self.is_stored() && wanted == rflags::ZF {
            self.noisy().alu_imm(Alu::Cmp, Width::W64, flags_result(), 0);
            self.host = rflags::ZF;
        } else if self.is_stored() && wanted == rflags::CF {
            self.noisy().bt_imm(Width::W64, flags_carries(), 63);
            self.host = rflags::CF;
        } else {
            self.ensure_from_image();
        }
    }

    fn ensure_from_image(&mut self) {
        self.call_image();
        self.noisy().push(RAX);
        self.quiet().popf();
        self.host = SHOWN;
    }

    /// RAX = the flags as in RFLAGS; from now on they are in the core.
    pub(super) fn call_image(&mut self) {
        self.evict_all();
        self.remember();
        self.begin_call();
        self.quiet().store(Width::W64, RCX, RBP);
        self.finish_call(helper::image as *const () as usize);
        self.recipe = Recipe::MEMORY;
        self.stored = true;
    }

    /// The flags go to the core.
    pub(super) fn settle(&mut self) {
        if !self.is_stored() {
            self.call_image();
        }
    }

    /// Makes the host's flags show condition `code`; returns the host's condition.
    pub(super) fn test_condition(&mut self, code: u8) -> u8 {
        self.ensure(flags_of_condition(code));
        code
    }

    /// One flag as a value, 0 or 1.
    pub(super) fn flag(&mut self, n: usize, flag: Flag) {
        let code = match flag {
            Flag::Cf => cc::B,
            Flag::Zf => cc::E,
            Flag::Sf => cc::S,
            Flag::Of => cc::O,
            Flag::Pf => cc::P,
            Flag::Af => {
                self.settle();
                let to = self.temp();
                self.quiet().load(Width::W64, to, flags_carries());
                self.noisy().shift(Shift::Shr, Width::W32, to, 3);
                self.noisy().alu_imm(Alu::And, Width::W32, to, 1);
                return self.defined(n, to, Width::W8, true);
            }
        };
        self.ensure(flag.bit());
        let to = self.temp();
        self.quiet().setcc(code, to);
        self.quiet().load(Width::W8, to, to);
        self.defined(n, to, Width::W8, true);
    }

    /// Writes the recipe to memory, if it is not there.
    pub(super) fn remember(&mut self) {
        let Recipe { kind, x, y, over, .. } = self.recipe;
        if self.recipe.is_memory() {
            return;
        }
        if let (Kind::Memory, Some(over)) = (kind, over) {
            return self.remember_over(over);
        }
        if y == Src::Memory {
            self.remember_count();
            return if let Some(over) = over {
                self.remember_over(over)
            };
        }
        self.remember_operand(translated!(flags_x), x);
        if !matches!(kind, Kind::Logic | Kind::Compared) {
            self.remember_operand(translated!(flags_y), self.recipe.y);
        }
        if over.is_some() {
            self.copy(translated!(flags_over), Width::W64, spill(OVER_SPILL).into());
        }
        let number = self.recipe.number().cast_signed();
        // With it goes what was counted.
        self.quiet().store_imm(Width::W64, translated!(flags_kind), number);
    }

    /// INC or DEC since what memory says, where CF stays.
    fn remember_count(&mut self) {
        self.remember_operand(translated!(flags_counted), self.recipe.x);
        let number = Recipe { over: None, ..self.recipe }.number().cast_signed();
        self.quiet().store_imm(Width::W32, translated!(flags_count), number);
        // What was set one by one before holds no more, but for CF.
        let carry = (rflags::CF as i32) << 16 | 0xffff;
        self.noisy().alu_imm(Alu::And, Width::W32, translated!(flags_kind), carry);
    }

    /// Adds what was set since to what memory says.
    fn remember_over(&mut self, over: Over) {
        let (mask, reg) = (i32::from(over.mask), self.temp());
        let new = self.temp();
        self.quiet().load(Width::W32, reg, translated!(flags_over));
        self.noisy().alu_imm(Alu::And, Width::W32, reg, !mask);
        self.quiet().load(Width::W32, new, spill(over.spill));
        self.noisy().alu_imm(Alu::And, Width::W32, new, mask);
        self.noisy().alu(Alu::Or, Width::W32, reg, new);
        self.quiet().store(Width::W64, translated!(flags_over), reg);
        self.noisy().alu_imm(Alu::Or, Width::W32, translated!(flags_kind), mask << 16);
        self.unlock(reg);
        self.unlock(new);
    }

    /// CF of what memory says, for the recipe that left it there.
    fn fetch_carry(&mut self) {
        let recipe = self.recipe;
        self.recipe = Recipe::MEMORY;
        self.put_carry_aside();
        self.recipe = Recipe { y: Src::Spill(CARRY_SPILL), ..recipe };
        self.host = 0;
    }

    pub(super) fn remember_operand(&mut self, to: super::Mem, src: Src) {
        match src {
            Src::Imm(value) => match i32::try_from(value.cast_signed()) {
                Ok(imm) => self.quiet().store_imm(Width::W64, to, imm),
                Err(_) => {
                    self.quiet().store_imm(Width::W32, to, value as u32 as i32);
                    let high = super::Mem { disp: to.disp + 4, ..to };
                    self.quiet().store_imm(Width::W32, high, (value >> 32) as u32 as i32);
                }
            },
            Src::Reg(reg) if reg & slot::HIGH == 0 => match home(reg) {
                Some(host) => self.quiet().store(Width::W64, to, host),
                None => self.copy(to, Width::W64, place(reg)),
            },
            Src::Memory => unreachable!("it was fetched"),
            Src::Reg(high) => {
                let reg = self.temp();
                self.load_guest(reg, Width::W8, high);
                self.quiet().store(Width::W64, to, reg);
                self.unlock(reg);
            }
            // It was stored as a byte, which a longer load would have to wait for.
            Src::Spill(CARRY_SPILL) => self.copy(to, Width::W8, spill(CARRY_SPILL).into()),
            Src::Spill(n) => self.copy(to, Width::W64, spill(n).into()),
        }
    }

    /// Copies `w` bits, zero-extended, to a word of the core.
    fn copy(&mut self, to: super::Mem, w: Width, from: super::Rm) {
        let reg = self.temp();
        self.quiet().load(w, reg, from);
        self.quiet().store(Width::W64, to, reg);
        self.unlock(reg);
    }

    /// If a value is the sum or difference of two and CF: which two, whether it is a difference, and
    /// the operations in between.
    pub(super) fn carries(&self, r: Val) -> Option<Carries> {
        if !self.reads_carry {
            return None;
        }
        let Op::Bin(op @ (Bin::Add | Bin::Sub), w, middle, carry) = self.ops()[r.index()] else {
            return None;
        };
        if !matches!(self.ops()[carry.index()], Op::Flag(Flag::Cf)) || self.body != 0 {
            return None;
        }
        let (inner, a, b) = match self.ops()[middle.index()] {
            Op::Bin(inner, _, a, b) if inner == op => (inner, a, b),
            // Nothing was added but the carry, and the addition of nothing folded.
            _ => {
                let nothing = self.ops().iter().find_map(|op| match *op {
                    Op::SetFlags(_, Setter::Add { a, b, r: of } | Setter::Sub { a, b, r: of })
                        if of == r && a == middle =>
                    {
                        Some(b)
                    }
                    _ => None,
                });
                (op, middle, nothing?)
            }
        };
        (inner == op).then_some(Carries { w, a, b, middle, carry, subtract: op == Bin::Sub })
    }

    /// The recipe for a setter's flags, if there is one.
    pub(super) fn recipe_for(&self, w: Width, setter: Setter) -> Option<Made> {
        if let Some((of, made)) = self.made_recipe.get()
            && of == (w, setter)
        {
            return made;
        }
        if self.without.has(Family::Flags) {
            return None;
        }
        let made = recipe::recipe_for(self.ops(), w, setter, |r| {
            self.carries(r).is_some_and(|c| self.fused_carry(c.carry.index()))
        });
        self.made_recipe.set(Some(((w, setter), made)));
        made
    }

    /// The operands of a setter that are used when it is reached.
    pub(super) fn setter_uses(&self, setter: Setter, w: Width, each: &mut dyn FnMut(Val)) {
        match self.recipe_for(w, setter) {
            Some(_) if self.early => {}
            Some((_, put)) => put.into_iter().flatten().for_each(each),
            None => setter.uses(each),
        }
    }

    /// [`Op::SetFlags`], whose flags somebody may look at.
    pub(super) fn set_flags(&mut self, w: Width, setter: Setter) {
        if let Some((recipe, put)) = self.recipe_for(w, setter).filter(|_| self.body == 0) {
            let mut held = self.held_after(setter);
            if !self.early {
                held |= self.compare_now(setter, (recipe, put));
                for (n, v) in put.into_iter().enumerate() {
                    if let Some(v) = v {
                        self.put_aside(v, RECIPE_SPILLS + n as u8);
                    }
                }
            }
            self.next_recipe = Some(recipe);
            self.host = held;
            return;
        }
        match setter {
            Setter::Add { a, b, r } => self.carry_flags(w, [a, b, r], false),
            Setter::Sub { a, b, r } => self.carry_flags(w, [a, b, r], true),
            Setter::Inc { r } | Setter::Dec { r } if self.body == 0 => {
                let held = self.held_after(setter);
                self.count_flags(w, r, matches!(setter, Setter::Inc { .. }));
                self.host = held;
                return;
            }
            Setter::Shift { r, cf, of } => self.shift_flags(w, r, cf, of),
            Setter::Rotate { cf, of } => {
                let (to, high) = (self.temp(), self.temp());
                self.move_clean(to, cf);
                self.move_clean(high, of);
                self.noisy().shift(Shift::Shl, Width::W32, high, Flag::Of as u8);
                self.noisy().alu(Alu::Or, Width::W32, to, high);
                self.some_flags(rflags::CF | rflags::OF, to);
            }
            Setter::One { flag, value } => {
                let to = self.temp();
                self.move_clean(to, value);
                if flag != Flag::Cf {
                    self.noisy().shift(Shift::Shl, Width::W32, to, flag as u8);
                }
                self.some_flags(flag.bit(), to);
            }
            Setter::Masked { mask, bits } => {
                let to = self.temp();
                self.move_clean(to, bits);
                self.some_flags(mask & rflags::ARITHMETIC, to);
            }
            Setter::Inc { .. }
            | Setter::Dec { .. }
            | Setter::Logic { .. }
            | Setter::Compare { .. } => {
                unreachable!("conditional bodies have no such setters")
            }
        }
        self.host = 0;
    }

    /// A comparison with what will be put aside is better made while that is in a register, if a
    /// condition comes next. Returns which flags the host's hold then.
    fn compare_now(&mut self, setter: Setter, (recipe, put): Made) -> u64 {
        let w = recipe.w;
        let Setter::Sub { r, .. } = setter else { return 0 };
        let next = self.region.steps.get(self.step + 1);
        let decides = next.is_some_and(|step| {
            let ops = &self.region.ops[step.ops.clone()];
            ops.iter().any(|op| matches!(op, Op::Condition(_)))
        });
        let compares = recipe.kind == Kind::Sub && self.values.last[r.index()] <= self.now;
        let sets = self.ops().iter().any(|op| matches!(op, Op::Set(..)));
        if put == [None, None] || !compares || !decides || sets {
            return 0;
        }
        let a = match put[0] {
            Some(v) => self.any_reg(v, w),
            None => match self.recipe_operand(recipe.x, w) {
                Operand::Rm(super::Rm::R(reg)) => reg,
                _ => self.recipe_reg(recipe.x, w),
            },
        };
        let b = match put[1] {
            Some(v) => self.operand(v, w),
            None => self.recipe_operand(recipe.y, w),
        };
        self.alu_operand(Alu::Cmp, w, a, b);
        SHOWN
    }

    /// Which flags the host's hold for a setter whose result was just made.
    fn held_after(&self, setter: Setter) -> u64 {
        match setter {
            Setter::Add { r, .. }
            | Setter::Sub { r, .. }
            | Setter::Logic { r }
            | Setter::Compare { bits: r }
                if self.made == Some(r.index()) =>
            {
                SHOWN
            }
            Setter::Inc { r } | Setter::Dec { r } if self.made == Some(r.index()) => {
                ZSP | rflags::OF
            }
            Setter::Shift { r, .. } if self.made == Some(r.index()) => ZSP | rflags::CF,
            _ => 0,
        }
    }

    fn put_aside(&mut self, v: Val, n: u8) {
        match self.loc(v) {
            Loc::Imm(value) if i32::try_from(value.cast_signed()).is_ok() => {
                self.quiet().store_imm(Width::W64, spill(n), value as i32);
            }
            _ => {
                let w = self.width(v);
                let reg = self.any_reg(v, w);
                self.quiet().store(Width::W64, spill(n), reg);
            }
        }
    }

    /// Additions and subtractions with carry in: a helper computes.
    fn carry_flags(&mut self, w: Width, values: [Val; 3], subtract: bool) {
        for (n, v) in values.into_iter().enumerate() {
            self.put_aside(v, HELPER_SPILLS + n as u8);
        }
        self.begin_call();
        self.quiet().store(Width::W64, RCX, RBP);
        self.quiet().mov_imm(RDX, w as u64);
        self.quiet().mov_imm(R11, u64::from(subtract));
        self.finish_call(helper::carry_flags as *const () as usize);
        self.flags_are_stored();
    }

    /// INC and DEC: CF stays.
    fn count_flags(&mut self, w: Width, r: Val, up: bool) {
        // In place, the result may already stand where the old recipe looks: CF was put aside first.
        let kind = if up { Kind::Inc } else { Kind::Dec };
        let x = recipe::lasting(self.ops(), r, w);
        if x.is_none() {
            self.put_aside(r, RECIPE_SPILLS);
        }
        let x = x.unwrap_or(Src::Spill(RECIPE_SPILLS));
        let y = self.carry.unwrap_or(Src::Spill(CARRY_SPILL));
        self.next_recipe = Some(Recipe { kind, w, x, y, over: None });
    }

    /// Before the first operation of a step with INC or DEC: puts CF aside, if it is looked at.
    pub(super) fn save_carry(&mut self, stops: bool) {
        let Recipe { kind, y, over, .. } = self.recipe;
        let unknown = self.recipe.is_memory() && self.host & rflags::CF == 0;
        self.carry = match kind {
            _ if unknown => Some(Src::Memory),
            Kind::Inc | Kind::Dec if over.is_none() => Some(y),
            Kind::Logic if over.is_none() => Some(Src::Imm(0)),
            _ => None,
        };
        if self.carry.is_some() {
            return;
        }
        // If the step stops, the old recipe still wants the old carry.
        let wants_old = matches!(
            kind,
            Kind::AddCarry
                | Kind::SumCarry
                | Kind::SubCarry
                | Kind::DifferenceCarry
                | Kind::Inc
                | Kind::Dec
        );
        if wants_old && stops {
            self.settle();
        }
        self.put_carry_aside();
    }

    /// CF to its word.
    pub(super) fn put_carry_aside(&mut self) {
        self.ensure(rflags::CF);
        self.quiet().setcc(cc::B, spill(CARRY_SPILL));
    }

    /// [`trine_x86::Flags::shift`], inline.
    fn shift_flags(&mut self, w: Width, r: Val, cf: Val, of: Val) {
        let to = self.temp();
        self.move_to(to, r, w);
        if w < Width::W64 {
            self.quiet().load_signed(w, Width::W64, to, to);
        }
        self.quiet().store(Width::W64, flags_result(), to);
        let high = self.temp();
        self.move_clean(to, cf);
        self.move_clean(high, of);
        self.noisy().alu(Alu::Xor, Width::W32, high, to);
        self.noisy().alu(Alu::Add, Width::W32, to, to);
        self.noisy().alu(Alu::Or, Width::W32, to, high);
        self.noisy().shift(Shift::Shl, Width::W64, to, 62);
        self.quiet().store(Width::W64, flags_carries(), to);
        self.quiet().store_imm(Width::W64, translated!(flags_kind), 0);
        self.flags_are_stored();
    }

    /// Sets the flags of a mask from their places in a register.
    fn some_flags(&mut self, mask: u64, bits: Gpr) {
        if self.body != 0 {
            return self.masked_flags(mask, bits);
        }
        let old = self.recipe.over.map_or(0, |over| u64::from(over.mask));
        let kept = old & !mask;
        if kept != 0 {
            let low = self.temp();
            self.quiet().load(Width::W64, low, spill(OVER_SPILL));
            self.noisy().alu_imm(Alu::And, Width::W32, low, kept as i32);
            self.noisy().alu_imm(Alu::And, Width::W32, bits, mask as i32);
            self.noisy().alu(Alu::Or, Width::W32, bits, low);
        }
        self.quiet().store(Width::W64, spill(OVER_SPILL), bits);
        self.recipe.over = Some(Over { mask: (old | mask) as u16, spill: OVER_SPILL });
    }

    fn is_stored(&self) -> bool {
        self.stored && self.recipe.is_memory()
    }

    fn masked_flags(&mut self, mask: u64, bits: Gpr) {
        self.quiet().store(Width::W64, spill(HELPER_SPILLS), bits);
        self.evict_all();
        self.remember();
        self.begin_call();
        self.quiet().store(Width::W64, RCX, RBP);
        self.quiet().mov_imm(RDX, mask);
        self.quiet().load(Width::W64, R11, spill(HELPER_SPILLS));
        self.finish_call(helper::masked_flags as *const () as usize);
        self.flags_are_stored();
    }

    fn flags_are_stored(&mut self) {
        self.recipe = Recipe::MEMORY;
        self.next_recipe = None;
        self.stored = true;
        self.host = 0;
    }
}
