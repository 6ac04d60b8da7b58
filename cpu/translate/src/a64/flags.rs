//! The guest's arithmetic flags in the host's.
//!
//! The emitter knows two things: the guest's flags' recipe, and which of them the host's flags hold
//! at the moment. If a condition is wanted that they do not hold, the last operation of the recipe
//! is done again. Operands of 8 and 16 bits are shifted to the top of 32 before.
//!
//! N, Z and V are SF, ZF and OF. C is CF after an addition and its inverse after a subtraction. PF
//! has no counterpart: it is computed, and then told by Z alone.

use trine_x86::{Flag, Width, rflags, slot};

use super::{
    RECIPE_SPILLS, T0, T1, T2,
    asm::{
        Address, ArithmeticImm, Cond, LogicalImm, Reg, Shift, Size, SystemRegister, X0, X1, X2, ZR,
    },
    core_pointer,
    emit::Emitter,
    flags_carries, flags_result, home, sign_extend, size, spill, translated,
};
use crate::{
    flags::{CARRY_SPILL, Kind, Recipe, Src},
    helper,
    ir::{Bin, Op, Setter, Val, flags_of_condition},
};

const ZS: u64 = rflags::ZF | rflags::SF;
const ZSO: u64 = ZS | rflags::OF;
/// All that the host's flags can hold at a time.
const SHOWN: u64 = ZSO | rflags::CF;

/// What the host's C says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Carry {
    /// It is CF.
    #[default]
    Direct,
    /// It is the inverse of CF.
    Inverted,
    /// Both are 0.
    Clear,
}

/// What the host's flags hold.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    /// The guest's flags that can be told from them. PF only alone; Z then tells it.
    pub(super) flags: u64,
    pub(super) carry: Carry,
}

/// A mask of neighbouring bits.
fn bits(mask: u64) -> LogicalImm {
    LogicalImm::new(Size::X, mask).expect("a run of ones")
}

const NZCV_C: u64 = 1 << 29;
const NZCV_V: u64 = 1 << 28;

impl Emitter<'_> {
    /// An operand of a recipe in some register, which is `into` if it has none.
    fn recipe_reg(&mut self, src: Src, into: Reg) -> Reg {
        match src {
            Src::Imm(value) => self.quiet().mov_imm(Size::X, into, value),
            Src::Spill(n) => self.quiet().ldr(Size::X, into, spill(n)),
            Src::Memory => unreachable!("it is put aside"),
            Src::Reg(reg) if reg & slot::HIGH == 0 => return home(reg),
            Src::Reg(reg) => self.quiet().ubfx(Size::W, into, home(reg), 8, 8),
        }
        into
    }

    /// Makes the host's flags hold these of the guest's.
    pub(super) fn ensure(&mut self, wanted: u64) {
        if self.host.flags & wanted == wanted {
            return;
        }
        let recipe = self.recipe;
        if recipe.kind == Kind::Memory {
            return self.ensure_from_memory(wanted);
        }
        if wanted == rflags::PF {
            return self.ensure_parity(recipe);
        }
        let only_zs = wanted & !ZS == 0;
        self.noisy();
        let carry = match recipe.kind {
            Kind::Logic => {
                self.compare_with_zero(recipe.w, recipe.x);
                Carry::Clear
            }
            Kind::Sum | Kind::Difference | Kind::Inc | Kind::Dec if only_zs => {
                self.compare_with_zero(recipe.w, recipe.x);
                return self.host.flags = ZS;
            }
            Kind::Remainder if only_zs => {
                self.compare_with_zero(recipe.w, recipe.y);
                return self.host.flags = ZS;
            }
            Kind::Inc | Kind::Dec => return self.count_again(recipe, wanted),
            _ => self.sum_again(recipe),
        };
        self.host.flags = SHOWN;
        self.host.carry = carry;
    }

    /// N and Z of a value, C and V clear.
    fn compare_with_zero(&mut self, w: Width, x: Src) {
        let x = self.recipe_reg(x, T0);
        match w {
            Width::W32 | Width::W64 => self.quiet().tst(size(w), x, x),
            _ => self.quiet().adds_shifted(Size::W, ZR, ZR, x, Shift::Lsl(32 - w.bits())),
        }
    }

    /// An addition or subtraction again, or what it was from what remains of it.
    fn sum_again(&mut self, Recipe { kind, w, x, y, .. }: Recipe) -> Carry {
        if kind == Kind::Sub && self.compare_imm(w, x, y) {
            return Carry::Inverted;
        }
        let view = size(w);
        let mut x = self.recipe_reg(x, T0);
        let y = self.recipe_reg(y, T1);
        // Narrow operands at the top of 32 bits.
        let up = Shift::Lsl(if w < Width::W32 { 32 - w.bits() } else { 0 });
        let a = self.quiet();
        if let Shift::Lsl(by @ 1..) = up {
            a.lsl_imm(Size::W, T0, x, by);
            x = T0;
        }
        match kind {
            Kind::Add => a.adds_shifted(view, ZR, x, y, up),
            Kind::Sum => {
                a.sub_shifted(view, T0, x, y, up);
                a.adds_shifted(view, ZR, T0, y, up);
            }
            Kind::Difference => {
                a.add_shifted(view, T0, x, y, up);
                a.subs_shifted(view, ZR, T0, y, up);
            }
            Kind::Remainder => {
                a.sub_shifted(view, T1, x, y, up);
                a.subs(view, ZR, x, T1);
            }
            _ => a.subs_shifted(view, ZR, x, y, up),
        }
        if matches!(kind, Kind::Add | Kind::Sum) { Carry::Direct } else { Carry::Inverted }
    }

    /// CMP of a register with an immediate, if it is one.
    fn compare_imm(&mut self, w: Width, x: Src, y: Src) -> bool {
        let Src::Imm(value) = y else { return false };
        let value = w.sign_extend(value).cast_signed();
        let Some(imm) = ArithmeticImm::new(value.unsigned_abs()) else { return false };
        if w < Width::W32 {
            return false;
        }
        let x = self.recipe_reg(x, T0);
        match value < 0 {
            true => self.quiet().cmn_imm(size(w), x, imm),
            false => self.quiet().cmp_imm(size(w), x, imm),
        }
        true
    }

    /// INC or DEC again; CF is where it was put aside.
    fn count_again(&mut self, Recipe { kind, w, x, y, .. }: Recipe, wanted: u64) {
        if wanted == rflags::CF {
            let carry = self.recipe_reg(y, T0);
            let a = self.quiet();
            a.and_imm(Size::X, T0, carry, bits(1));
            a.cmp_imm(Size::X, T0, super::twelve(1));
            self.host = Held { flags: rflags::CF, carry: Carry::Direct };
            return;
        }
        let view = size(w);
        let x = self.recipe_reg(x, T0);
        let up = if w < Width::W32 { 32 - w.bits() } else { 0 };
        let a = self.quiet();
        a.lsl_imm(view, T0, x, up);
        a.mov_imm(view, T1, 1 << up);
        if kind == Kind::Inc {
            a.sub(view, T0, T0, T1);
            a.adds(view, ZR, T0, T1);
        } else {
            a.add(view, T0, T0, T1);
            a.subs(view, ZR, T0, T1);
        }
        self.host.flags = ZSO;
        if wanted & rflags::CF != 0 {
            let carry = self.recipe_reg(y, T1);
            let a = self.quiet();
            a.mrs(T0, SystemRegister::Nzcv);
            a.bfi(Size::X, T0, carry, NZCV_C.trailing_zeros(), 1);
            a.eor_imm(Size::X, T0, T0, bits(NZCV_C));
            a.msr(SystemRegister::Nzcv, T0);
            self.host = Held { flags: SHOWN, carry: Carry::Inverted };
        }
    }

    /// Z = PF.
    fn ensure_parity(&mut self, Recipe { kind, x, y, .. }: Recipe) {
        let result = match kind {
            Kind::Add | Kind::Sub => {
                let (x, y) = (self.recipe_reg(x, T0), self.recipe_reg(y, T1));
                match kind {
                    Kind::Add => self.quiet().add(Size::W, T0, x, y),
                    _ => self.quiet().sub(Size::W, T0, x, y),
                }
                T0
            }
            Kind::Remainder => self.recipe_reg(y, T0),
            _ => self.recipe_reg(x, T0),
        };
        self.parity_of(result);
    }

    fn parity_of(&mut self, result: Reg) {
        let a = self.noisy();
        a.eor_shifted(Size::W, T0, result, result, Shift::Lsr(4));
        a.eor_shifted(Size::W, T0, T0, T0, Shift::Lsr(2));
        a.eor_shifted(Size::W, T0, T0, T0, Shift::Lsr(1));
        a.tst_imm(Size::X, T0, bits(1));
        self.host.flags = rflags::PF;
    }

    /// Flags that are in the core, or as memory says.
    fn ensure_from_memory(&mut self, wanted: u64) {
        self.settle();
        let a = self.noisy();
        a.ldr(Size::X, T1, flags_carries());
        if wanted & !(rflags::CF | rflags::OF) == 0 {
            // The carry out is bit 63, the overflow whether bit 62 differs.
            a.cmn(Size::X, T1, T1);
            self.host = Held { flags: rflags::CF | rflags::OF, carry: Carry::Direct };
            return;
        }
        a.ldr(Size::X, T0, flags_result());
        if wanted == rflags::ZF {
            a.cmp_imm(Size::X, T0, super::twelve(0));
            return self.host.flags = rflags::ZF;
        }
        if wanted == rflags::PF {
            a.ubfx(Size::X, T1, T1, 1, 1);
            a.eor(Size::X, T0, T0, T1);
            return self.parity_of(T0);
        }
        a.cmn(Size::X, T1, T1);
        a.mrs(T2, SystemRegister::Nzcv);
        a.and_imm(Size::X, T2, T2, bits(NZCV_C | NZCV_V));
        a.eor_imm(Size::X, T2, T2, bits(NZCV_C));
        a.eor_shifted(Size::X, T1, T0, T1, Shift::Lsl(63));
        a.lsr_imm(Size::X, T1, T1, 63);
        a.orr_shifted(Size::X, T2, T2, T1, Shift::Lsl(31));
        a.cmp_imm(Size::X, T0, super::twelve(0));
        a.cset(Size::X, T0, Cond::Eq);
        a.orr_shifted(Size::X, T2, T2, T0, Shift::Lsl(30));
        a.msr(SystemRegister::Nzcv, T2);
        self.host = Held { flags: SHOWN, carry: Carry::Inverted };
    }

    /// X0 = the flags as in RFLAGS; from now on they are in the core.
    pub(super) fn call_image(&mut self) {
        self.begin_call();
        self.remember();
        core_pointer(self.quiet(), X0);
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
    pub(super) fn test_condition(&mut self, code: u8) -> Cond {
        self.ensure(flags_of_condition(code));
        if code >> 1 == 3 && self.host.carry == Carry::Direct {
            // CF or ZF is only told by an inverted C.
            let a = self.quiet();
            a.mrs(T0, SystemRegister::Nzcv);
            a.eor_imm(Size::X, T0, T0, bits(NZCV_C));
            a.msr(SystemRegister::Nzcv, T0);
            self.host.carry = Carry::Inverted;
        }
        self.condition_of(code)
    }

    /// The host's condition for the guest's, of flags that the host's hold.
    pub(super) fn condition_of(&self, code: u8) -> Cond {
        let condition = match code >> 1 {
            0 => Cond::Vs,
            1 if self.host.carry == Carry::Inverted => Cond::Cc,
            1 => Cond::Cs,
            3 if self.host.carry == Carry::Inverted => Cond::Ls,
            2 | 3 | 5 => Cond::Eq,
            4 => Cond::Mi,
            6 => Cond::Lt,
            _ => Cond::Le,
        };
        if code & 1 != 0 { condition.inverse() } else { condition }
    }

    /// One flag as a value, 0 or 1.
    pub(super) fn flag(&mut self, n: usize, flag: Flag) {
        let code = match flag {
            Flag::Of => 0,
            Flag::Cf => 2,
            Flag::Zf => 4,
            Flag::Sf => 8,
            Flag::Pf => 10,
            Flag::Af => {
                self.settle();
                let to = self.temp();
                self.quiet().ldr(Size::X, to, flags_carries());
                self.quiet().ubfx(Size::X, to, to, 3, 1);
                return self.defined(n, to, Width::W8, true);
            }
        };
        if flag == Flag::Cf && self.is_stored() {
            let to = self.temp();
            self.quiet().ldr(Size::X, to, flags_carries());
            self.quiet().lsr_imm(Size::X, to, to, 63);
            return self.defined(n, to, Width::W8, true);
        }
        self.ensure(flag.bit());
        let to = self.temp();
        let condition = self.condition_of(code);
        self.quiet().cset(Size::W, to, condition);
        self.defined(n, to, Width::W8, true);
    }

    /// Writes the recipe to memory, if it is not there.
    pub(super) fn remember(&mut self) {
        let Recipe { kind, x, y, .. } = self.recipe;
        if kind == Kind::Memory {
            return;
        }
        self.remember_operand(translated!(flags_x), x);
        if kind != Kind::Logic {
            self.remember_operand(translated!(flags_y), y);
        }
        let number = u64::from(self.recipe.number());
        self.quiet().mov_imm(Size::W, T0, number);
        self.quiet().str(Size::W, T0, translated!(flags_kind));
    }

    fn remember_operand(&mut self, to: Address, src: Src) {
        match src {
            Src::Imm(0) => self.quiet().str(Size::X, ZR, to),
            _ => {
                let from = self.recipe_reg(src, T0);
                self.quiet().str(Size::X, from, to);
            }
        }
    }

    /// Where a value will be when the step has ended, without being put aside.
    fn lasting(&self, v: Val, w: Width) -> Option<Src> {
        let ops = self.ops();
        let last_set = |reg: u8| {
            ops.iter().rev().find_map(|op| match *op {
                Op::Set(ws, r, value) if r & 31 == reg & 31 => Some((ws, r, value)),
                _ => None,
            })
        };
        match ops[v.index()] {
            Op::Imm(value) => return Some(Src::Imm(value & w.mask())),
            Op::Get(held, reg) if held >= w && last_set(reg).is_none() => {
                return Some(Src::Reg(reg));
            }
            _ => {}
        }
        ops.iter().find_map(|op| match *op {
            Op::Set(ws, reg, value)
                if value == v && ws >= w && last_set(reg) == Some((ws, reg, v)) =>
            {
                Some(Src::Reg(reg))
            }
            _ => None,
        })
    }

    /// Whether `r` is just a + b or a - b.
    fn is_plain(&self, op: Bin, w: Width, [a, b, r]: [Val; 3]) -> bool {
        match self.ops()[r.index()] {
            Op::Bin(o, _, x, y) => o == op && x == a && y == b,
            // Folded: a + 0, or two constants.
            Op::Imm(r) => match (self.ops()[a.index()], self.ops()[b.index()]) {
                (Op::Imm(x), Op::Imm(y)) => r == op.eval(w, x, y),
                _ => false,
            },
            _ => r == a && matches!(self.ops()[b.index()], Op::Imm(0)),
        }
    }

    /// The recipe for a setter's flags, with the values that have to be put aside for it; `None` if
    /// there is none.
    pub(super) fn recipe_for(
        &self,
        w: Width,
        setter: Setter,
    ) -> Option<(Recipe, [Option<Val>; 2])> {
        let recipe = |kind, x: Option<Src>, y: Option<Src>, vals: [Val; 2]| {
            let put = [x.is_none().then_some(vals[0]), y.is_none().then_some(vals[1])];
            let x = x.unwrap_or(Src::Spill(RECIPE_SPILLS));
            let y = y.unwrap_or(Src::Spill(RECIPE_SPILLS + 1));
            Some((Recipe { kind, w, x, y, over: None }, put))
        };
        match setter {
            Setter::Add { a, b, r } if self.is_plain(Bin::Add, w, [a, b, r]) => {
                let [at_a, at_b, at_r] = [a, b, r].map(|v| self.lasting(v, w));
                match (at_a, at_b, at_r) {
                    (Some(_), Some(_), _) => recipe(Kind::Add, at_a, at_b, [a, b]),
                    (_, Some(_), Some(_)) => recipe(Kind::Sum, at_r, at_b, [r, b]),
                    (Some(_), _, Some(_)) => recipe(Kind::Sum, at_r, at_a, [r, a]),
                    _ => recipe(Kind::Add, at_a, at_b, [a, b]),
                }
            }
            Setter::Sub { a, b, r } if self.is_plain(Bin::Sub, w, [a, b, r]) => {
                let [at_a, at_b, at_r] = [a, b, r].map(|v| self.lasting(v, w));
                match (at_a, at_b, at_r) {
                    (Some(_), Some(_), _) => recipe(Kind::Sub, at_a, at_b, [a, b]),
                    (_, Some(_), Some(_)) => recipe(Kind::Difference, at_r, at_b, [r, b]),
                    (Some(_), _, Some(_)) => recipe(Kind::Remainder, at_a, at_r, [a, r]),
                    _ => recipe(Kind::Sub, at_a, at_b, [a, b]),
                }
            }
            Setter::Logic { r } => {
                recipe(Kind::Logic, self.lasting(r, w), Some(Src::Imm(0)), [r, r])
            }
            _ => None,
        }
    }

    /// The operands of a setter that are used when it is reached.
    pub(super) fn setter_uses(&self, setter: Setter, w: Width, each: &mut dyn FnMut(Val)) {
        match self.recipe_for(w, setter) {
            Some((_, put)) => put.into_iter().flatten().for_each(each),
            None => setter.uses(each),
        }
    }

    /// [`Op::SetFlags`], whose flags somebody may look at.
    pub(super) fn set_flags(&mut self, w: Width, setter: Setter) {
        if let Some((recipe, put)) = self.recipe_for(w, setter).filter(|_| self.body == 0) {
            let held = self.held_after(setter);
            for (n, v) in put.into_iter().enumerate() {
                if let Some(v) = v {
                    self.put_aside(v, w, RECIPE_SPILLS + n as u8);
                }
            }
            self.next_recipe = Some(recipe);
            self.host.flags = held;
            return;
        }
        match setter {
            Setter::Add { a, b, r } => self.carry_flags(w, [a, b, r], false),
            Setter::Sub { a, b, r } => self.carry_flags(w, [a, b, r], true),
            Setter::Inc { r } | Setter::Dec { r } if self.body == 0 => {
                let held = self.held_after(setter);
                self.count_flags(w, r, matches!(setter, Setter::Inc { .. }));
                self.host.flags = held;
                return;
            }
            Setter::Shift { r, cf, of } => self.shift_flags(w, r, cf, of),
            Setter::Rotate { cf, of } => self.rotate_flags(cf, of),
            Setter::One { flag: Flag::Cf, value } => self.set_carry(value),
            Setter::One { flag, value } => {
                self.masked_flags(flag.bit(), value, flag.bit().trailing_zeros());
            }
            Setter::Masked { mask, bits } => self.masked_flags(mask, bits, 0),
            Setter::Logic { r } => {
                self.store_result(w, r);
                self.quiet().str(Size::X, ZR, flags_carries());
                self.flags_are_stored();
            }
            Setter::Inc { .. } | Setter::Dec { .. } => {
                unreachable!("conditional bodies have no such setters")
            }
        }
        self.host.flags = 0;
    }

    /// Which flags the host's hold for a setter whose result was just made.
    fn held_after(&self, setter: Setter) -> u64 {
        match setter {
            Setter::Add { r, .. } | Setter::Sub { r, .. } | Setter::Logic { r }
                if self.made == Some(r.index()) =>
            {
                SHOWN
            }
            Setter::Inc { r } | Setter::Dec { r } if self.made == Some(r.index()) => ZSO,
            _ => 0,
        }
    }

    /// Stores the low `w` bits of a value, and whatever above.
    fn put_aside(&mut self, v: Val, w: Width, n: u8) {
        let from = self.any_or_zero(v, w);
        self.quiet().str(Size::X, from, spill(n));
    }

    fn store_result(&mut self, w: Width, r: Val) {
        let r = self.any_reg(r, w);
        let a = self.quiet();
        let from = if w == Width::W64 { r } else { T0 };
        if w != Width::W64 {
            sign_extend(a, w, Size::X, T0, r);
        }
        a.str(Size::X, from, flags_result());
    }

    /// [`trine_x86::Flags::add`] and [`trine_x86::Flags::sub`], inline: with carry in.
    fn carry_flags(&mut self, w: Width, values: [Val; 3], subtract: bool) {
        let [a, b, r] = values.map(|v| self.any_reg(v, w));
        self.store_result(w, values[2]);
        let to = self.quiet();
        if subtract {
            to.orn(Size::X, T0, b, a);
            to.and(Size::X, T0, T0, r);
            to.bic(Size::X, T1, b, a);
        } else {
            to.orr(Size::X, T0, a, b);
            to.bic(Size::X, T0, T0, r);
            to.and(Size::X, T1, a, b);
        }
        to.orr(Size::X, T0, T0, T1);
        to.lsl_imm(Size::X, T1, T0, 64 - w.bits());
        to.and_imm(Size::X, T1, T1, bits(3 << 62));
        to.and_imm(Size::X, T0, T0, bits(1 << 3));
        to.orr(Size::X, T0, T0, T1);
        to.str(Size::X, T0, flags_carries());
        self.flags_are_stored();
    }

    /// INC and DEC: CF stays.
    fn count_flags(&mut self, w: Width, r: Val, up: bool) {
        // In place, the result may already stand where the old recipe looks: CF was put aside first.
        let kind = if up { Kind::Inc } else { Kind::Dec };
        let x = self.lasting(r, w);
        if x.is_none() {
            self.put_aside(r, w, RECIPE_SPILLS);
        }
        let x = x.unwrap_or(Src::Spill(RECIPE_SPILLS));
        self.next_recipe = Some(Recipe { kind, w, x, y: Src::Spill(CARRY_SPILL), over: None });
    }

    /// Before the first operation of a step with INC or DEC: puts CF aside, if it is looked at.
    pub(super) fn save_carry(&mut self) {
        let counted = matches!(self.recipe.kind, Kind::Inc | Kind::Dec);
        if counted && self.recipe.y == Src::Spill(CARRY_SPILL) {
            return;
        }
        self.ensure(rflags::CF);
        let condition = self.condition_of(2);
        self.quiet().cset(Size::X, T0, condition);
        self.quiet().str(Size::X, T0, spill(CARRY_SPILL));
    }

    /// X16 = CF and OF as [`trine_x86::Flags::carries`] has them.
    fn carries_of(&mut self, cf: Val, of: Val) {
        let (cf, of) = (self.clean_reg(cf), self.clean_reg(of));
        let a = self.quiet();
        a.eor(Size::X, T0, of, cf);
        a.orr_shifted(Size::X, T0, T0, cf, Shift::Lsl(1));
        a.lsl_imm(Size::X, T0, T0, 62);
    }

    /// [`trine_x86::Flags::shift`], inline.
    fn shift_flags(&mut self, w: Width, r: Val, cf: Val, of: Val) {
        self.store_result(w, r);
        self.carries_of(cf, of);
        self.quiet().str(Size::X, T0, flags_carries());
        self.flags_are_stored();
    }

    /// [`trine_x86::Flags::rotate`], inline.
    fn rotate_flags(&mut self, cf: Val, of: Val) {
        self.settle();
        self.carries_of(cf, of);
        let a = self.quiet();
        a.ldr(Size::X, T1, flags_carries());
        a.bfi(Size::X, T0, T1, 0, 62);
        a.str(Size::X, T0, flags_carries());
        self.flags_are_stored();
    }

    /// CF alone, inline: if it changes, the bit below it changes, too, so that OF stays.
    fn set_carry(&mut self, value: Val) {
        self.settle();
        let value = self.clean_reg(value);
        let a = self.quiet();
        a.ldr(Size::X, T1, flags_carries());
        a.eor_shifted(Size::X, T0, value, T1, Shift::Lsr(63));
        a.orr_shifted(Size::X, T0, T0, T0, Shift::Lsl(1));
        a.eor_shifted(Size::X, T1, T1, T0, Shift::Lsl(62));
        a.str(Size::X, T1, flags_carries());
        self.flags_are_stored();
    }

    fn is_stored(&self) -> bool {
        self.stored && self.recipe.kind == Kind::Memory
    }

    /// The flags in `mask` become the bits of a value that is shifted left by so many.
    fn masked_flags(&mut self, mask: u64, bits: Val, left: u32) {
        self.begin_call();
        self.remember();
        self.move_clean(X2, bits);
        let a = self.quiet();
        a.lsl_imm(Size::X, X2, X2, left);
        a.mov_imm(Size::X, X1, mask);
        core_pointer(a, X0);
        self.finish_call(helper::masked_flags as *const () as usize);
        self.flags_are_stored();
    }

    fn flags_are_stored(&mut self) {
        self.quiet().str(Size::W, ZR, translated!(flags_kind));
        self.recipe = Recipe::MEMORY;
        self.next_recipe = None;
        self.stored = true;
        self.host.flags = 0;
    }
}
