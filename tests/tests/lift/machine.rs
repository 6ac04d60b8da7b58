//! Evaluates lists: flags, registers and memory, written down a second time.
//!
//! Source: SDM vol. 1, section 3.4.3.1, for the flags.

use std::cell::Cell;

use trine_engine::CpuState;
use trine_guest::{Gpa, Ram};
use trine_x86::{Flag, Insn, Rmw, Width, rflags, slot};

use crate::record::{Op, Setter, Val};

/// What lists are evaluated on.
pub struct Machine<'a> {
    pub regs: [u64; slot::COUNT],
    pub flags: u64,
    direction: u64,
    /// Behind the instruction, then where it goes.
    pub rip: u64,
    next: u64,
    start: u64,
    ram: &'a Ram,
    pub stores: Vec<(u64, Vec<u8>)>,
    /// An operand was not in RAM.
    pub outside: Cell<bool>,
}

impl<'a> Machine<'a> {
    /// Before instruction `i` at `start`.
    pub fn new(before: &CpuState, start: u64, i: &Insn, ram: &'a Ram) -> Self {
        let mut regs = [0; slot::COUNT];
        regs[..16].copy_from_slice(&before.gpr);
        regs[usize::from(slot::BLOCK_IP)] = start;
        regs[usize::from(slot::FAR)] = 1 << 20;
        let next = start + u64::from(i.len);
        Self {
            regs,
            flags: before.rflags & rflags::ARITHMETIC,
            direction: 1,
            rip: next,
            next,
            start,
            ram,
            stores: Vec::new(),
            outside: Cell::new(false),
        }
    }

    fn load(&self, w: Width, at: u64) -> u64 {
        let mut bytes = [0; 8];
        for n in 0..w.bytes() {
            let at = at.wrapping_add(n);
            let mut byte = [0];
            self.outside.set(self.outside.get() | self.ram.read(Gpa(at), &mut byte).is_err());
            for (start, data) in &self.stores {
                if let Some(stored) = data.get(at.wrapping_sub(*start) as usize) {
                    byte[0] = *stored;
                }
            }
            bytes[n as usize] = byte[0];
        }
        u64::from_le_bytes(bytes)
    }

    fn store(&mut self, w: Width, at: u64, value: u64) {
        self.load(w, at);
        self.stores.push((at, value.to_le_bytes()[..w.bytes() as usize].to_vec()));
    }

    fn get(&self, w: Width, reg: u8) -> u64 {
        let high = w == Width::W8 && reg & slot::HIGH != 0;
        let value = self.regs[usize::from(reg & 31)];
        if high { value >> 8 & 0xff } else { value & w.mask() }
    }

    fn set(&mut self, w: Width, reg: u8, value: u64) {
        assert_eq!(value & !w.mask(), 0, "a value has zeros above its width");
        let place = &mut self.regs[usize::from(reg & 31)];
        *place = match w {
            Width::W8 if reg & slot::HIGH != 0 => *place & !0xff00 | value << 8,
            Width::W8 | Width::W16 => *place & !w.mask() | value,
            Width::W32 | Width::W64 => value,
        };
    }

    fn bit(&self, flag: Flag) -> bool {
        self.flags & flag.bit() != 0
    }

    fn condition(&self, cc: u8) -> bool {
        let (c, z, s) = (self.bit(Flag::Cf), self.bit(Flag::Zf), self.bit(Flag::Sf));
        let (o, p) = (self.bit(Flag::Of), self.bit(Flag::Pf));
        [
            o,
            !o,
            c,
            !c,
            z,
            !z,
            c | z,
            !(c | z),
            s,
            !s,
            p,
            !p,
            s != o,
            s == o,
            z | (s != o),
            !z & (s == o),
        ][usize::from(cc)]
    }

    fn set_flags(&mut self, w: Width, setter: Setter, v: &[u64]) {
        let get = |Val(n): Val| v[n];
        let put = |flag: Flag, on: bool| if on { flag.bit() } else { 0 };
        let of_result = |r: u64| {
            put(Flag::Zf, r == 0)
                | put(Flag::Sf, r & w.sign() != 0)
                | put(Flag::Pf, (r & 0xff).count_ones().is_multiple_of(2))
        };
        let three = |r: u64, cf: bool, of: bool, af: bool| {
            of_result(r) | put(Flag::Cf, cf) | put(Flag::Of, of) | put(Flag::Af, af)
        };
        let cf = self.bit(Flag::Cf);
        self.flags = match setter {
            Setter::Add(a, b, r) => {
                let (a, b, r) = (get(a), get(b), get(r));
                let carry = r.wrapping_sub(a).wrapping_sub(b) & w.mask();
                let sum = u128::from(a) + u128::from(b) + u128::from(carry);
                three(
                    r,
                    sum > u128::from(w.mask()),
                    (a ^ r) & (b ^ r) & w.sign() != 0,
                    (a ^ b ^ r) & 16 != 0,
                )
            }
            Setter::Sub(a, b, r) => {
                let (a, b, r) = (get(a), get(b), get(r));
                let borrow = a.wrapping_sub(b).wrapping_sub(r) & w.mask();
                let less = u128::from(a) < u128::from(b) + u128::from(borrow);
                three(r, less, (a ^ b) & (a ^ r) & w.sign() != 0, (a ^ b ^ r) & 16 != 0)
            }
            Setter::Logic(r) => of_result(get(r)),
            Setter::Inc(r) => three(get(r), cf, get(r) == w.sign(), get(r) & 15 == 0),
            Setter::Dec(r) => three(get(r), cf, get(r) == w.sign() - 1, get(r) & 15 == 15),
            Setter::Shift(r, c, o) => three(get(r), get(c) != 0, get(o) != 0, false),
            Setter::Rotate(c, o) => {
                self.flags & !(Flag::Cf.bit() | Flag::Of.bit())
                    | put(Flag::Cf, get(c) != 0)
                    | put(Flag::Of, get(o) != 0)
            }
            Setter::One(flag, a) => {
                assert!(get(a) < 2, "a flag is 0 or 1");
                self.flags & !flag.bit() | put(flag, get(a) != 0)
            }
            Setter::Masked(mask, a) => {
                let mask = mask & rflags::ARITHMETIC;
                self.flags & !mask | get(a) & mask
            }
        };
    }

    fn update(&mut self, w: Width, at: u64, op: Rmw, b: u64) -> u64 {
        let old = self.load(w, at);
        let carry = u64::from(self.bit(Flag::Cf));
        let new = match op {
            Rmw::Xchg => b,
            Rmw::Add => old.wrapping_add(b),
            Rmw::Sub => old.wrapping_sub(b),
            Rmw::And => old & b,
            Rmw::Or => old | b,
            Rmw::Xor => old ^ b,
            Rmw::Adc => old.wrapping_add(b).wrapping_add(carry),
            Rmw::Sbb => old.wrapping_sub(b).wrapping_sub(carry),
            Rmw::Neg => old.wrapping_neg(),
        };
        self.store(w, at, new & w.mask());
        old
    }

    fn address(&self, i: &Insn) -> u64 {
        let base = self.regs[usize::from(i.base)];
        let index = self.regs[usize::from(i.index)];
        let scaled = index.wrapping_mul(1 << i.scale());
        base.wrapping_add(scaled).wrapping_add_signed(i.disp.into()) & i.address_width().mask()
    }

    pub fn run(&mut self, ops: &[Op]) {
        let mut v = Vec::with_capacity(ops.len());
        let mut n = 0;
        while let Some(op) = ops.get(n) {
            let get = |Val(n): Val| v[n];
            let mut made = 0;
            match *op {
                Op::Imm(value) => made = value,
                Op::Get(w, reg) => made = self.get(w, reg),
                Op::Set(w, reg, a) => self.set(w, reg, get(a)),
                Op::Address(i) => made = self.address(&i),
                Op::Load(w, at) | Op::Open(w, at) => made = self.load(w, get(at)),
                Op::Store(w, at, a) | Op::Commit(w, at, a) => self.store(w, get(at), get(a)),
                Op::Update(w, at, op, b) => made = self.update(w, get(at), op, get(b)),
                Op::CompareExchange(w, at, expected, new) => {
                    made = self.load(w, get(at));
                    let value = if made == get(expected) { get(new) } else { made };
                    self.store(w, get(at), value);
                }
                Op::One(f, w, a) => made = f(w, get(a)),
                Op::Two(f, w, a, b) => made = f(w, get(a), get(b)),
                Op::Select(c, a, b) => made = if get(c) != 0 { get(a) } else { get(b) },
                Op::Pure(f, a, b) => made = f(get(a), get(b)),
                Op::SetFlags(w, setter) => self.set_flags(w, setter, &v),
                Op::Flag(flag) => made = u64::from(self.bit(flag)),
                Op::Flags => made = self.flags,
                Op::Condition(cc) => made = u64::from(self.condition(cc)),
                Op::Direction => made = self.direction,
                Op::NextIp(w) => made = self.next & w.mask(),
                Op::Jump(w, a) => self.rip = get(a) & w.mask(),
                Op::Branch(w, by, condition) => {
                    if condition.is_none_or(|c| get(c) != 0) {
                        self.rip = self.next.wrapping_add_signed(by.into()) & w.mask();
                    }
                }
                Op::Repeat => self.rip = self.start,
                Op::When(c, end) if get(c) == 0 => {
                    v.resize(end, 0);
                    n = end;
                    continue;
                }
                Op::When(..) => {}
            }
            v.push(made);
            n += 1;
        }
    }
}
