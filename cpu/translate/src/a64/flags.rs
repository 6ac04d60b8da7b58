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
    OVER_SPILL, T0, T1, T2,
    asm::{
        Address, ArithmeticImm, Cond, LogicalImm, Reg, Shift, Size, SystemRegister, X0, X1, X2, ZR,
    },
    core_pointer,
    emit::Emitter,
    flags_carries, flags_result, home, sign_extend, size, spill, translated,
};
use crate::{
    family::Family,
    flags::{CARRY_SPILL, Kind, Over, RECIPE_SPILLS, Recipe, Src},
    helper,
    ir::{Setter, Val, flags_of_condition},
    recipe::{self, Made},
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
    /// All flags are FCMP's: CF is LT, CF or ZF is LE, PF is VS. ZF alone cannot be told.
    Float,
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
        let untold = self.host.carry == Carry::Float && wanted == rflags::ZF;
        if self.host.flags & wanted == wanted && !untold {
            return;
        }
        let recipe = self.recipe;
        let over = recipe.over.map_or(0, |over| u64::from(over.mask));
        if wanted == rflags::CF && over & wanted != 0 {
            return self.carry_from(Src::Spill(OVER_SPILL));
        }
        if wanted & over != 0 || recipe.kind == Kind::Memory {
            return self.ensure_from_memory(wanted);
        }
        self.noisy();
        match wanted {
            rflags::PF => self.ensure_parity(recipe),
            _ if wanted & !ZS == 0 => self.ensure_sign(recipe),
            _ => self.ensure_all(recipe, wanted),
        }
        self.host.flags &= !over;
    }

    /// ZF and SF.
    fn ensure_sign(&mut self, recipe: Recipe) {
        let Recipe { kind, w, x, y, .. } = recipe;
        let Some(result) = recipe.result() else {
            if !matches!(kind, Kind::Shl | Kind::Shr | Kind::Sar) {
                return self.ensure_all(recipe, ZS);
            }
            self.shift_again(kind, w, x, y);
            self.compare_with_zero(w, T0);
            return self.host.flags = ZS;
        };
        let result = self.recipe_reg(result, T0);
        self.compare_with_zero(w, result);
        self.host.flags = ZS;
    }

    /// The operation again, for flags of any kind.
    fn ensure_all(&mut self, recipe: Recipe, wanted: u64) {
        self.host.carry = match recipe.kind {
            Kind::Logic => {
                let result = self.recipe_reg(recipe.x, T0);
                self.compare_with_zero(recipe.w, result);
                Carry::Clear
            }
            Kind::Compared => self.compared_again(recipe.x),
            Kind::Inc | Kind::Dec => return self.count_again(recipe, wanted),
            Kind::Add | Kind::Sum | Kind::Sub | Kind::Difference | Kind::Remainder => {
                self.sum_again(recipe)
            }
            _ => return self.ensure_from_memory(wanted),
        };
        self.host.flags = SHOWN;
    }

    /// NZCV of what LAHF would load after a comparison: ZF and CF.
    fn compared_again(&mut self, x: Src) -> Carry {
        let x = self.recipe_reg(x, T0);
        let a = self.quiet();
        a.ubfx(Size::X, T1, x, rflags::ZF.trailing_zeros(), 1);
        a.and_imm(Size::X, T0, x, bits(rflags::CF));
        a.orr_shifted(Size::X, T0, T0, T1, Shift::Lsl(1));
        a.lsl_imm(Size::X, T0, T0, NZCV_C.trailing_zeros());
        a.msr(SystemRegister::Nzcv, T0);
        Carry::Direct
    }

    /// C = CF, which is bit 0 of an operand.
    fn carry_from(&mut self, src: Src) {
        let carry = self.recipe_reg(src, T0);
        let a = self.noisy();
        a.and_imm(Size::X, T0, carry, bits(1));
        a.cmp_imm(Size::X, T0, super::twelve(1));
        self.host = Held { flags: rflags::CF, carry: Carry::Direct };
    }

    /// X16 = what was shifted by a constant, with garbage above the width.
    fn shift_again(&mut self, kind: Kind, w: Width, x: Src, y: Src) {
        let Src::Imm(by) = y else { unreachable!("only constant counts have such recipes") };
        let (by, width) = (by as u32, w.bits());
        let x = self.recipe_reg(x, T0);
        match kind {
            Kind::Shl => self.quiet().lsl_imm(size(w), T0, x, by),
            Kind::Shr => self.quiet().ubfx(size(w), T0, x, by, width - by),
            _ => self.quiet().sbfx(size(w), T0, x, by, width - by),
        }
    }

    /// N and Z of a value, C and V clear.
    fn compare_with_zero(&mut self, w: Width, x: Reg) {
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
        let wants_carry = wanted & rflags::CF != 0;
        let y = match y {
            Src::Memory if wants_carry => self.fetch_carry(),
            y => y,
        };
        if wanted == rflags::CF {
            return self.carry_from(y);
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
        if wants_carry {
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
    fn ensure_parity(&mut self, recipe: Recipe) {
        let Recipe { kind, w, x, y, .. } = recipe;
        let result = match (kind, recipe.result()) {
            (_, Some(result)) => self.recipe_reg(result, T0),
            (Kind::Add | Kind::Sub, _) => {
                let (x, y) = (self.recipe_reg(x, T0), self.recipe_reg(y, T1));
                match kind {
                    Kind::Add => self.quiet().add(Size::W, T0, x, y),
                    _ => self.quiet().sub(Size::W, T0, x, y),
                }
                T0
            }
            (Kind::Shl | Kind::Shr | Kind::Sar, _) => {
                self.shift_again(kind, w, x, y);
                T0
            }
            (Kind::Compared, _) => {
                let x = self.recipe_reg(x, T0);
                let a = self.quiet();
                a.eor_imm(Size::X, T0, x, bits(rflags::PF));
                a.tst_imm(Size::X, T0, bits(rflags::PF));
                return self.host.flags = rflags::PF;
            }
            _ => return self.ensure_from_memory(rflags::PF),
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
        if self.is_stored() {
            return;
        }
        if !self.recipe.is_memory() {
            return self.call_image();
        }
        // They may be there: memory says.
        self.evict_all();
        let there = self.asm.label();
        let a = self.noisy();
        a.ldr(Size::W, T0, translated!(flags_kind));
        a.cbz(Size::W, T0, there);
        self.call_image();
        self.asm.bind(there);
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
        let float = self.host.carry == Carry::Float;
        let condition = match code >> 1 {
            1 if float => Cond::Lt,
            3 if float => Cond::Le,
            5 if float => Cond::Vs,
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
        let Recipe { kind, x, y, over, .. } = self.recipe;
        if self.recipe.is_memory() {
            return;
        }
        if let (Kind::Memory, Some(over)) = (kind, over) {
            return self.remember_over(over);
        }
        let y = if y == Src::Memory { self.fetch_carry() } else { y };
        self.remember_operand(translated!(flags_x), x);
        if kind != Kind::Logic {
            self.remember_operand(translated!(flags_y), y);
        }
        if over.is_some() {
            self.remember_operand(translated!(flags_over), Src::Spill(OVER_SPILL));
        }
        let number = u64::from(self.recipe.number());
        self.quiet().mov_imm(Size::W, T0, number);
        self.quiet().str(Size::W, T0, translated!(flags_kind));
    }

    /// Adds what was set since to what memory says.
    fn remember_over(&mut self, over: Over) {
        let mask = u64::from(over.mask);
        let a = self.quiet();
        a.ldr(Size::X, T0, translated!(flags_over));
        a.ldr(Size::X, T1, spill(over.spill));
        a.mov_imm(Size::X, T2, mask);
        a.bic(Size::X, T0, T0, T2);
        a.and(Size::X, T1, T1, T2);
        a.orr(Size::X, T0, T0, T1);
        a.str(Size::X, T0, translated!(flags_over));
        a.ldr(Size::W, T0, translated!(flags_kind));
        a.orr_shifted(Size::W, T0, T0, T2, Shift::Lsl(16));
        a.str(Size::W, T0, translated!(flags_kind));
    }

    /// CF of what memory says goes to its word, for the recipe that left it in memory.
    fn fetch_carry(&mut self) -> Src {
        let recipe = self.recipe;
        self.recipe = Recipe::MEMORY;
        self.carry_from_memory();
        self.quiet().str(Size::X, T0, spill(CARRY_SPILL));
        let y = Src::Spill(CARRY_SPILL);
        self.recipe = Recipe { y, ..recipe };
        y
    }

    /// X16 = CF as memory says.
    fn carry_from_memory(&mut self) {
        let stored = self.stored;
        let known = self.asm.label();
        if !stored {
            // Loops that count leave it as the second operand.
            self.evict_all();
            let others = self.asm.label();
            let a = self.noisy();
            a.ldr(Size::W, T0, translated!(flags_kind));
            a.and_imm(Size::W, T0, T0, LogicalImm::new(Size::W, !0x300).expect("a run of ones"));
            a.sub_imm(Size::W, T0, T0, super::twelve(Kind::Inc as u64));
            a.cmp_imm(Size::W, T0, super::twelve(1));
            a.b_cond(Cond::Hi, others);
            a.ldr(Size::X, T0, translated!(flags_y));
            a.and_imm(Size::X, T0, T0, bits(1));
            a.b(known);
            a.bind(others);
            self.settle();
        }
        let a = self.quiet();
        a.ldr(Size::X, T0, flags_carries());
        a.lsr_imm(Size::X, T0, T0, 63);
        a.bind(known);
        self.stored = stored;
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

    /// The recipe for a setter's flags, if there is one.
    pub(super) fn recipe_for(&self, w: Width, setter: Setter) -> Option<Made> {
        if self.without.has(Family::Flags) {
            return None;
        }
        recipe::recipe_for(self.ops(), w, setter, |_| false)
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
            let held = self.held_after(setter);
            for (n, v) in put.into_iter().enumerate() {
                if let Some(v) = v.filter(|_| !self.early) {
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
            Setter::Rotate { cf, of } => return self.rotate_flags(cf, of),
            Setter::One { flag: Flag::Cf, value } => return self.set_carry(value),
            Setter::One { flag, value } => {
                self.masked_flags(flag.bit(), value, flag.bit().trailing_zeros());
            }
            Setter::Masked { mask, bits } => self.masked_flags(mask, bits, 0),
            Setter::Logic { r } => {
                self.store_result(w, r);
                self.quiet().str(Size::X, ZR, flags_carries());
                self.flags_are_stored();
            }
            Setter::Inc { .. } | Setter::Dec { .. } | Setter::Compare { .. } => {
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
            Setter::Compare { bits } if self.made == Some(bits.index()) => {
                rflags::CF | rflags::ZF | rflags::PF
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
        // The result may already stand where the old recipe looks: CF was put aside first.
        let kind = if up { Kind::Inc } else { Kind::Dec };
        let x = recipe::lasting(self.ops(), r, w);
        if x.is_none() {
            self.put_aside(r, w, RECIPE_SPILLS);
        }
        let x = x.unwrap_or(Src::Spill(RECIPE_SPILLS));
        let y = if self.carry_in_memory { Src::Memory } else { Src::Spill(CARRY_SPILL) };
        self.next_recipe = Some(Recipe { kind, w, x, y, over: None });
    }

    /// Before the first operation of a step with INC or DEC: puts CF aside, if it is looked at, or
    /// leaves it in memory.
    pub(super) fn save_carry(&mut self, stops: bool) {
        let Recipe { kind, y, over, .. } = self.recipe;
        let counts = matches!(kind, Kind::Inc | Kind::Dec);
        let counted = counts && over.is_none();
        let unknown = self.recipe.is_memory() && self.host.flags & rflags::CF == 0;
        self.carry_in_memory = unknown || counted && y == Src::Memory;
        if counted || unknown {
            return;
        }
        // If the step stops, the old recipe still wants the old carry.
        if counts && stops {
            self.settle();
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
        if !self.is_stored() {
            let (cf, of) = (self.clean_reg(cf), self.clean_reg(of));
            let up = Shift::Lsl(rflags::OF.trailing_zeros());
            self.quiet().orr_shifted(Size::X, T0, cf, of, up);
            return self.set_over(rflags::CF | rflags::OF);
        }
        self.carries_of(cf, of);
        let a = self.noisy();
        a.ldr(Size::X, T1, flags_carries());
        a.bfi(Size::X, T0, T1, 0, 62);
        a.str(Size::X, T0, flags_carries());
    }

    /// CF alone, inline: if it changes, the bit below it changes, too, so that OF stays.
    fn set_carry(&mut self, value: Val) {
        let value = self.clean_reg(value);
        if !self.is_stored() {
            self.quiet().mov(Size::X, T0, value);
            return self.set_over(rflags::CF);
        }
        let a = self.noisy();
        a.ldr(Size::X, T1, flags_carries());
        a.eor_shifted(Size::X, T0, value, T1, Shift::Lsr(63));
        a.orr_shifted(Size::X, T0, T0, T0, Shift::Lsl(1));
        a.eor_shifted(Size::X, T1, T1, T0, Shift::Lsl(62));
        a.str(Size::X, T1, flags_carries());
    }

    /// The flags of a mask are those of X16, whatever the others follow from.
    fn set_over(&mut self, mask: u64) {
        let old = self.recipe.over.map_or(0, |over| u64::from(over.mask));
        let kept = old & !mask;
        let a = self.noisy();
        if kept != 0 {
            a.ldr(Size::X, T1, spill(OVER_SPILL));
            a.mov_imm(Size::X, T2, kept);
            a.and(Size::X, T1, T1, T2);
            a.bic(Size::X, T0, T0, T2);
            a.orr(Size::X, T0, T0, T1);
        }
        a.str(Size::X, T0, spill(OVER_SPILL));
        self.recipe.over = Some(Over { mask: (old | mask) as u16, spill: OVER_SPILL });
    }

    fn is_stored(&self) -> bool {
        self.stored && self.recipe.is_memory()
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
