//! Semantics as a list of operations, as a translator's lifter has them.

use std::convert::Infallible;

use trine_x86::{Cold, Flag, Insn, Pick, Pure, Reach, Rmw, Seg, Sem, Semantics, Width};

/// A value: the number of the operation that makes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Val(pub usize);

pub type One = fn(Width, u64) -> u64;
pub type Two = fn(Width, u64, u64) -> u64;

/// What sets flags.
#[derive(Clone, Copy, Debug)]
pub enum Setter {
    Add(Val, Val, Val),
    Sub(Val, Val, Val),
    Logic(Val),
    Inc(Val),
    Dec(Val),
    Shift(Val, Val, Val),
    Rotate(Val, Val),
    One(Flag, Val),
    Masked(u64, Val),
}

#[derive(Clone, Copy, Debug)]
pub enum Op {
    Imm(u64),
    Get(Width, u8),
    Set(Width, u8, Val),
    Address(Insn),
    Load(Width, Val),
    Store(Width, Val, Val),
    Open(Width, Val),
    Commit(Width, Val, Val),
    Update(Width, Val, Rmw, Val),
    CompareExchange(Width, Val, Val, Val),
    One(One, Width, Val),
    Two(Two, Width, Val, Val),
    Select(Val, Val, Val),
    Pure(Pure, Val, Val),
    SetFlags(Width, Setter),
    Flag(Flag),
    Flags,
    Condition(u8),
    Direction,
    NextIp(Width),
    Jump(Width, Val),
    Branch(Width, i32, Option<Val>),
    Repeat,
    /// Up to the operation of that number only if the value is not 0.
    When(Val, usize),
}

impl Op {
    /// Whether it may stop the instruction.
    fn may_stop(&self) -> bool {
        matches!(
            self,
            Self::Load(..)
                | Self::Store(..)
                | Self::Open(..)
                | Self::Update(..)
                | Self::CompareExchange(..)
                | Self::Jump(..)
                | Self::Branch(..)
        )
    }

    /// Whether it changes what a second attempt would start from. (A jump takes effect with the
    /// end of the instruction.)
    fn changes(&self) -> bool {
        matches!(
            self,
            Self::Set(..)
                | Self::Store(..)
                | Self::Commit(..)
                | Self::Update(..)
                | Self::CompareExchange(..)
                | Self::SetFlags(..)
        )
    }

    fn stores(&self) -> bool {
        matches!(
            self,
            Self::Store(..) | Self::Commit(..) | Self::Update(..) | Self::CompareExchange(..)
        )
    }

    fn uses(&self) -> Vec<Val> {
        match *self {
            Self::Set(_, _, a)
            | Self::Load(_, a)
            | Self::Open(_, a)
            | Self::One(_, _, a)
            | Self::Jump(_, a)
            | Self::When(a, _) => vec![a],
            Self::Store(_, a, b)
            | Self::Commit(_, a, b)
            | Self::Update(_, a, _, b)
            | Self::Two(_, _, a, b)
            | Self::Pure(_, a, b) => vec![a, b],
            Self::CompareExchange(_, a, b, c) | Self::Select(a, b, c) => vec![a, b, c],
            Self::Branch(_, _, a) => a.into_iter().collect(),
            Self::SetFlags(_, setter) => match setter {
                Setter::Add(a, b, c) | Setter::Sub(a, b, c) | Setter::Shift(a, b, c) => {
                    vec![a, b, c]
                }
                Setter::Rotate(a, b) => vec![a, b],
                Setter::Logic(a)
                | Setter::Inc(a)
                | Setter::Dec(a)
                | Setter::One(_, a)
                | Setter::Masked(_, a) => vec![a],
            },
            _ => vec![],
        }
    }
}

/// Records.
#[derive(Default)]
struct Recorder(Vec<Op>);

impl Recorder {
    fn op(&mut self, op: Op) -> Val {
        self.0.push(op);
        Val(self.0.len() - 1)
    }
}

fn mul_high_signed(w: Width, a: u64, b: u64) -> u64 {
    let wide = |v: u64| i128::from(w.sign_extend(v).cast_signed());
    (wide(a) * wide(b) >> w.bits()) as u64 & w.mask()
}

fn sar(w: Width, a: u64, n: u64) -> u64 {
    let n = n.min(u64::from(w.bits()) - 1);
    let fill = if a & w.sign() != 0 { !(w.mask() >> n) } else { 0 };
    (a >> n | fill) & w.mask()
}

macro_rules! two {
    ($($name:ident($w:ident, $a:ident, $b:ident) $f:expr;)*) => {
        $(fn $name(&mut self, w: Width, a: Val, b: Val) -> Val {
            self.op(Op::Two(|$w, $a, $b| $f, w, a, b))
        })*
    };
}

impl Sem for Recorder {
    type Value = Val;
    type Place = Val;
    type Stop = Infallible;

    fn imm(&mut self, value: u64) -> Val {
        self.op(Op::Imm(value))
    }
    fn get(&mut self, w: Width, reg: u8) -> Val {
        self.op(Op::Get(w, reg))
    }
    fn set(&mut self, w: Width, reg: u8, value: Val) {
        self.op(Op::Set(w, reg, value));
    }
    fn address<R: Reach>(&mut self, i: &Insn) -> Val {
        self.op(Op::Address(*i))
    }
    fn load<R: Reach>(&mut self, w: Width, _: &Insn, _: Seg, at: Val) -> Result<Val, Infallible> {
        Ok(self.op(Op::Load(w, at)))
    }
    fn store<R: Reach>(
        &mut self,
        w: Width,
        _: &Insn,
        _: Seg,
        at: Val,
        value: Val,
    ) -> Result<(), Infallible> {
        self.op(Op::Store(w, at, value));
        Ok(())
    }
    fn load_for_write<R: Reach>(
        &mut self,
        w: Width,
        _: &Insn,
        _: Seg,
        at: Val,
    ) -> Result<(Val, Val), Infallible> {
        let value = self.op(Op::Open(w, at));
        Ok((at, value))
    }
    fn commit(&mut self, w: Width, place: Val, value: Val) {
        self.op(Op::Commit(w, place, value));
    }
    fn update<R: Reach>(
        &mut self,
        w: Width,
        _: &Insn,
        _: Seg,
        at: Val,
        op: Rmw,
        operand: Val,
    ) -> Result<Val, Infallible> {
        Ok(self.op(Op::Update(w, at, op, operand)))
    }
    fn compare_exchange<R: Reach>(
        &mut self,
        w: Width,
        _: &Insn,
        _: Seg,
        at: Val,
        expected: Val,
        new: Val,
    ) -> Result<Val, Infallible> {
        Ok(self.op(Op::CompareExchange(w, at, expected, new)))
    }
    two! {
        add(w, a, b) a.wrapping_add(b) & w.mask();
        sub(w, a, b) a.wrapping_sub(b) & w.mask();
        shl(w, a, n) if n < u64::from(w.bits()) { a << n & w.mask() } else { 0 };
        shr(w, a, n) if n < u64::from(w.bits()) { a >> n } else { 0 };
        sar(w, a, n) sar(w, a, n);
        mul(w, a, b) a.wrapping_mul(b) & w.mask();
        mul_high_unsigned(w, a, b) (u128::from(a) * u128::from(b) >> w.bits()) as u64;
        mul_high_signed(w, a, b) mul_high_signed(w, a, b);
    }
    fn and(&mut self, a: Val, b: Val) -> Val {
        self.op(Op::Two(|_, a, b| a & b, Width::W64, a, b))
    }
    fn or(&mut self, a: Val, b: Val) -> Val {
        self.op(Op::Two(|_, a, b| a | b, Width::W64, a, b))
    }
    fn xor(&mut self, a: Val, b: Val) -> Val {
        self.op(Op::Two(|_, a, b| a ^ b, Width::W64, a, b))
    }
    fn equal(&mut self, a: Val, b: Val) -> Val {
        self.op(Op::Two(|_, a, b| u64::from(a == b), Width::W64, a, b))
    }
    fn below(&mut self, a: Val, b: Val) -> Val {
        self.op(Op::Two(|_, a, b| u64::from(a < b), Width::W64, a, b))
    }
    fn not(&mut self, w: Width, a: Val) -> Val {
        self.op(Op::One(|w, a| a ^ w.mask(), w, a))
    }
    fn truncate(&mut self, w: Width, a: Val) -> Val {
        self.op(Op::One(|w, a| a & w.mask(), w, a))
    }
    fn sign_extend(&mut self, from: Width, to: Width, a: Val) -> Val {
        let wide = self.op(Op::One(|w, a| w.sign_extend(a), from, a));
        self.truncate(to, wide)
    }
    fn byte_swap(&mut self, w: Width, a: Val) -> Val {
        self.op(Op::One(|w, a| (0..w.bytes()).fold(0, |r, n| r << 8 | a >> (8 * n) & 0xff), w, a))
    }
    fn count_ones(&mut self, a: Val) -> Val {
        self.op(Op::One(|_, a| u64::from(a.count_ones()), Width::W64, a))
    }
    fn leading_zeros(&mut self, w: Width, a: Val) -> Val {
        self.op(Op::One(
            |w, a| (0..u64::from(w.bits())).take_while(|n| a << n & w.sign() == 0).count() as u64,
            w,
            a,
        ))
    }
    fn trailing_zeros(&mut self, w: Width, a: Val) -> Val {
        self.op(Op::One(
            |w, a| (0..u64::from(w.bits())).take_while(|n| a >> n & 1 == 0).count() as u64,
            w,
            a,
        ))
    }
    fn select(&mut self, condition: Val, yes: Val, no: Val) -> Val {
        self.op(Op::Select(condition, yes, no))
    }
    fn pure(&mut self, f: Pure, a: Val, b: Val) -> Val {
        self.op(Op::Pure(f, a, b))
    }
    fn flags_add(&mut self, w: Width, a: Val, b: Val, result: Val) {
        self.op(Op::SetFlags(w, Setter::Add(a, b, result)));
    }
    fn flags_sub(&mut self, w: Width, a: Val, b: Val, result: Val) {
        self.op(Op::SetFlags(w, Setter::Sub(a, b, result)));
    }
    fn flags_logic(&mut self, w: Width, result: Val) {
        self.op(Op::SetFlags(w, Setter::Logic(result)));
    }
    fn flags_inc(&mut self, w: Width, result: Val) {
        self.op(Op::SetFlags(w, Setter::Inc(result)));
    }
    fn flags_dec(&mut self, w: Width, result: Val) {
        self.op(Op::SetFlags(w, Setter::Dec(result)));
    }
    fn flags_shift(&mut self, w: Width, result: Val, cf: Val, of: Val) {
        self.op(Op::SetFlags(w, Setter::Shift(result, cf, of)));
    }
    fn flags_rotate(&mut self, cf: Val, of: Val) {
        self.op(Op::SetFlags(Width::W64, Setter::Rotate(cf, of)));
    }
    fn flag(&mut self, flag: Flag) -> Val {
        self.op(Op::Flag(flag))
    }
    fn set_flag(&mut self, flag: Flag, value: Val) {
        self.op(Op::SetFlags(Width::W64, Setter::One(flag, value)));
    }
    fn flags(&mut self) -> Val {
        self.op(Op::Flags)
    }
    fn set_flags(&mut self, mask: u64, bits: Val) {
        self.op(Op::SetFlags(Width::W64, Setter::Masked(mask, bits)));
    }
    fn condition(&mut self, cc: u8) -> Val {
        self.op(Op::Condition(cc))
    }
    fn direction(&mut self) -> Val {
        self.op(Op::Direction)
    }
    fn next_ip(&mut self, w: Width, _: &Insn) -> Val {
        self.op(Op::NextIp(w))
    }
    fn jump(&mut self, w: Width, _: &Insn, target: Val) -> Result<(), Infallible> {
        self.op(Op::Jump(w, target));
        Ok(())
    }
    fn branch(&mut self, w: Width, i: &Insn, condition: Option<Val>) -> Result<(), Infallible> {
        self.op(Op::Branch(w, i.imm, condition));
        Ok(())
    }
    fn repeat(&mut self, _: &Insn) {
        self.op(Op::Repeat);
    }
    fn when(
        &mut self,
        condition: Val,
        body: impl FnOnce(&mut Self) -> Result<(), Infallible>,
    ) -> Result<(), Infallible> {
        let at = self.op(Op::When(condition, 0));
        body(self)?;
        self.0[at.0] = Op::When(condition, self.0.len());
        Ok(())
    }
    fn cold(&mut self, cold: Cold, i: &Insn) -> Result<(), Infallible> {
        panic!("{:?} is cold: {}", i.code, cold.name);
    }
}

/// What the table says of a hot instruction, and what it records.
pub struct Lifted {
    pub ops: Vec<Op>,
    ends: bool,
    stores: bool,
    conditional: bool,
}

pub struct Lift<'a>(pub &'a Insn);

impl Pick for Lift<'_> {
    type Out = Option<Lifted>;
    fn pick<T: Semantics>(self) -> Option<Lifted> {
        if T::COLD {
            return None;
        }
        let mut recorder = Recorder::default();
        let Ok(()) = T::exec(&mut recorder, self.0);
        let (ends, stores, conditional) = (T::ENDS, T::STORES, T::CONDITIONAL);
        Some(Lifted { ops: recorder.0, ends, stores, conditional })
    }
}

impl Lifted {
    /// The rules of `Sem`, and what the table says.
    pub fn check(&self, what: &str) {
        let (mut stored, mut changed) = (None, None);
        // Values of a body are not there behind it.
        let mut hidden: Vec<(usize, usize)> = Vec::new();
        for (n, op) in self.ops.iter().enumerate() {
            for Val(used) in op.uses() {
                assert!(used < n, "{what}: {op:?} uses what comes later");
                let inside = hidden.iter().any(|&(from, to)| from < used && used < to && to <= n);
                assert!(!inside, "{what}: {op:?} uses a value of a conditional body");
            }
            if op.may_stop() {
                assert_eq!(changed, None, "{what}: {op:?} may stop after a change");
            }
            // What a CALL pushed stays where its target then faults: below RSP, as in hardware.
            if op.may_stop() && !matches!(op, Op::Jump(..) | Op::Branch(..)) {
                assert_eq!(stored, None, "{what}: {op:?} may stop after a store");
            }
            match op {
                Op::Store(..) => stored = Some(n),
                op if op.changes() => changed = Some(n),
                _ => {}
            }
            if let Op::When(_, end) = *op {
                hidden.push((n, end));
            }
        }
        let has = |f: &dyn Fn(&Op) -> bool| self.ops.iter().any(f);
        if has(&Op::stores) {
            assert!(self.stores, "{what} stores, which the table does not say");
        }
        let leaves = has(&|op| matches!(op, Op::Jump(..) | Op::Branch(_, _, None) | Op::Repeat));
        let may_leave = has(&|op| matches!(op, Op::Branch(_, _, Some(_))));
        assert!(!leaves || self.ends, "{what} leaves its block, which the table does not say");
        assert!(!may_leave || self.ends || self.conditional, "{what} may leave its block");
    }
}
