//! From guest code to IR: the semantics of `trine-x86`, with values that are numbers of operations.
//!
//! Constants are folded on the way. What is known of the place (RIP, the mode) is a constant, too,
//! and so is what the block has put into a register before ([`Known`]).

use std::convert::Infallible;

use trine_x86::{
    BLOCK_BYTES, BLOCK_INSNS, Checked, Cold, Decoded, Decoder, Flag, Insn, Mode, Pick, Pure, Reach,
    Rmw, Seg, Sem, Semantics, Width, is_canonical, pick, slot,
};

use crate::{
    ir::{Bin, Block, End, Op, Region, Setter, Step, Un, Val, Work, width_of},
    known::Known,
    simd::Shape,
    x87::{self, Part},
};

/// The most blocks and instructions of a region.
const BLOCKS: usize = 20;
const STEPS: usize = 160;

/// Where code is to be lifted from.
pub struct Source<'a> {
    /// What the region's RIPs are counted from.
    pub origin: u64,
    /// RIP of the entry, from the origin.
    pub ip: u64,
    /// The bytes of the entry's page.
    pub page: &'a [u8],
    /// The entry's offset in it.
    pub offset: usize,
    /// The first bytes of the next page, if they may be used.
    pub beyond: &'a [u8],
    /// The mode to decode for.
    pub mode: Mode,
    /// The highest legal RIP outside of 64-bit mode.
    pub limit: u64,
    /// Bits of a linear address.
    pub linear_bits: u32,
    /// String instructions go down.
    pub backwards: bool,
    /// Decodes for the vCPU's model.
    pub decoder: &'a Decoder,
    /// Whether the backend does an instruction as [`Op::Vector`].
    pub is_vector: &'a dyn Fn(&Insn) -> bool,
    /// Whether it does an instruction as [`Op::X87`].
    pub is_x87: &'a dyn Fn(&Insn) -> bool,
    /// The most instructions of a block, [`BLOCK_INSNS`] at most.
    pub steps: usize,
}

impl Source<'_> {
    /// Offset in the page of code at `ip`, if it lies there.
    fn offset_of(&self, ip: u64) -> Option<usize> {
        let start = self.ip.wrapping_sub(self.offset as u64);
        let offset = ip.wrapping_sub(start);
        (offset < self.page.len() as u64 && self.is_legal(ip)).then_some(offset as usize)
    }

    fn is_legal(&self, ip: u64) -> bool {
        match self.mode.is_64() {
            true => is_canonical(self.origin.wrapping_add(ip), self.linear_bits),
            false => ip <= self.limit,
        }
    }
}

/// Lifts the region at `source`; without blocks if its first instruction is not for the translator.
#[must_use]
pub fn region(source: &Source) -> Region {
    let mut region = Region::default();
    let mut todo = vec![source.ip];
    let mut seen = vec![source.ip];
    // What stands behind calls is only reached if something returns.
    let (mut later, mut returns) = (Vec::new(), false);
    while let Some(ip) = todo.pop().or_else(|| later.pop().filter(|_| returns)) {
        if region.blocks.iter().any(|b| b.ip == ip) {
            continue;
        }
        if region.blocks.len() >= BLOCKS || region.steps.len() >= STEPS {
            break;
        }
        let Some(block) = block(source, ip, &mut region) else { continue };
        for target in targets(&block).into_iter().rev().flatten() {
            if source.offset_of(target).is_some() && !seen.contains(&target) {
                seen.push(target);
                todo.push(target);
            }
        }
        if block.calls {
            later.push(block.next);
        }
        returns |= block.end == End::Jump && pops(&region, &block);
        region.blocks.push(block);
    }
    connect(&mut region);
    region
}

/// Whether a block's last instruction changes the stack pointer.
fn pops(region: &Region, block: &Block) -> bool {
    let last = &region.steps[block.steps.end - 1];
    region.ops[last.ops.clone()].iter().any(|op| matches!(op, Op::Set(_, slot::RSP, _)))
}

/// Where a block may go: behind it first.
fn targets(block: &Block) -> [Option<u64>; 2] {
    match block.end {
        End::Next => [Some(block.next), None],
        End::Branch if block.next == block.taken => [Some(block.next), None],
        End::Branch => [Some(block.next), Some(block.taken)],
        End::Goto => [Some(block.taken), None],
        End::Jump | End::Cold | End::Stop => [None, None],
    }
}

fn connect(region: &mut Region) {
    let at = |ip: u64| region.blocks.iter().position(|b| b.ip == ip);
    let inside: Vec<_> = region
        .blocks
        .iter()
        .map(|b| match b.end {
            End::Next => [at(b.next), None],
            End::Branch => [at(b.next), at(b.taken)],
            End::Goto => [at(b.next).filter(|_| b.calls), at(b.taken)],
            End::Jump | End::Cold | End::Stop => [None, None],
        })
        .collect();
    for (n, inside) in inside.into_iter().enumerate() {
        region.blocks[n].inside = inside;
        region.blocks[n].ways += u32::from(n == 0);
        for to in inside.into_iter().flatten() {
            region.blocks[to].ways += 1;
        }
    }
}

/// Lifts the block at `ip`; `None` if there is nothing to lift.
fn block(source: &Source, ip: u64, region: &mut Region) -> Option<Block> {
    let start = source.offset_of(ip)?;
    let room = (source.limit.wrapping_sub(ip)).saturating_add(1);
    let room = if source.mode.is_64() { u64::MAX } else { room };
    let bytes = &source.page[start..];
    let bytes =
        &bytes[..bytes.len().min(BLOCK_BYTES).min(usize::try_from(room).unwrap_or(BLOCK_BYTES))];
    let first = region.steps.len();
    let (mut len, mut end, mut taken) = (0, End::Next, 0);
    let mut known = Known::default();
    while region.steps.len() - first < source.steps.min(BLOCK_INSNS) && len < bytes.len() {
        let decoded = match source.decoder.decode(&bytes[len..], source.mode, ip, len) {
            Decoded::Incomplete if start + bytes.len() == source.page.len() => {
                let across = [&bytes[len..], source.beyond].concat();
                source.decoder.decode(&across, source.mode, ip, len)
            }
            decoded => decoded,
        };
        let Decoded::Insn(mut insn) = decoded else {
            end = End::Stop;
            break;
        };
        insn.number = (region.steps.len() - first) as u8;
        let lift = Lift { insn: &insn, source, ip, known: &known, ops: &mut region.ops };
        let lifted = pick(&insn, lift);
        known = match lifted.step.work {
            Work::Cold { .. } => Known::default(),
            Work::Hot | Work::Vector(_) => known.behind(&region.ops[lifted.step.ops.clone()]),
        };
        len += usize::from(insn.len);
        let straddles = len > bytes.len();
        let stops = lifted.step.stops || straddles;
        region.steps.push(Step { straddles, stops, ..lifted.step });
        if let Some(way) = lifted.end {
            (end, taken) = (way, lifted.taken);
            break;
        }
    }
    let steps = first..region.steps.len();
    if steps.is_empty() {
        return None;
    }
    let mask = if source.mode.is_64() { u64::MAX } else { 0xffff_ffff };
    let next = ip.wrapping_add(len as u64) & mask;
    // A jump that stores is a call.
    let last = &region.steps[steps.end - 1];
    let stores = region.ops[last.ops.clone()].iter().any(|op| matches!(op, Op::Store(..)));
    let calls = end == End::Goto && stores && source.offset_of(taken).is_some();
    Some(Block { ip, steps, end, next, taken, calls, inside: [None; 2], ways: 0, live_in: 0 })
}

/// A step, and how it ends its block.
struct Lifted {
    step: Step,
    end: Option<End>,
    taken: u64,
}

struct Lift<'a> {
    insn: &'a Insn,
    source: &'a Source<'a>,
    ip: u64,
    known: &'a Known,
    ops: &'a mut Vec<Op>,
}

impl Pick for Lift<'_> {
    type Out = Lifted;

    fn pick<T: Semantics>(self) -> Lifted {
        let start = self.ops.len();
        let mut lifter = Lifter {
            ops: self.ops,
            start,
            ip: self.ip,
            known: self.known,
            source: self.source,
            end: None,
            taken: 0,
            work: Work::Hot,
        };
        let Ok(()) = T::exec(&mut lifter, self.insn);
        let Lifter { ops, end, taken, work, .. } = lifter;
        let stops = ops[start..].iter().any(Op::stops);
        let (work, stops, end) = match work {
            Work::Cold { cold, .. } => {
                let end = T::ENDS.then_some(End::Cold);
                (Work::Cold { cold, ends: T::ENDS }, true, end)
            }
            work => (work, stops, end),
        };
        let step = Step {
            insn: *self.insn,
            work,
            ops: start..ops.len(),
            straddles: false,
            stops,
            live: 0,
        };
        Lifted { step, end, taken }
    }
}

/// The semantics' world.
struct Lifter<'a> {
    ops: &'a mut Vec<Op>,
    start: usize,
    /// The block's first instruction.
    ip: u64,
    /// What the instructions before it left.
    known: &'a Known,
    source: &'a Source<'a>,
    end: Option<End>,
    taken: u64,
    work: Work,
}

impl Lifter<'_> {
    fn op(&mut self, op: Op) -> Val {
        self.ops.push(op);
        Val((self.ops.len() - 1 - self.start) as u16)
    }

    fn constant(&self, v: Val) -> Option<u64> {
        self.known.constant(&self.ops[self.start..], v)
    }

    fn bin(&mut self, op: Bin, w: Width, a: Val, b: Val) -> Val {
        match (self.constant(a), self.constant(b)) {
            (Some(x), Some(y)) => self.op(Op::Imm(op.eval(w, x, y))),
            (None, Some(0)) if matches!(op, Bin::Add | Bin::Sub | Bin::Or | Bin::Xor) => a,
            (None, Some(0)) if matches!(op, Bin::Shl | Bin::Shr | Bin::Sar) => a,
            (None, None) if matches!(op, Bin::And | Bin::Or) && self.is_same(a, b) => a,
            (None, Some(n)) if matches!(op, Bin::Shl | Bin::Shr) && n >= u64::from(w.bits()) => {
                self.op(Op::Imm(0))
            }
            (None, Some(n)) if matches!(op, Bin::Shl | Bin::Shr | Bin::Sar) => {
                let n = self.op(Op::Imm(n));
                self.op(Op::Bin(op, w, a, n))
            }
            _ => self.op(Op::Bin(op, w, a, b)),
        }
    }

    /// Whether two values are known to be one.
    fn is_same(&self, a: Val, b: Val) -> bool {
        let ops = &self.ops[self.start..];
        let sets = || ops[a.index().min(b.index())..].iter().any(|op| matches!(op, Op::Set(..)));
        a == b
            || match (ops[a.index()], ops[b.index()]) {
                (Op::Get(w, reg), Op::Get(v, of)) => (w, reg) == (v, of) && !sets(),
                _ => false,
            }
    }

    fn un(&mut self, op: Un, w: Width, a: Val) -> Val {
        match self.constant(a) {
            Some(x) => self.op(Op::Imm(op.eval(w, x))),
            None => self.op(Op::Un(op, w, a)),
        }
    }

    /// A flag that decides something, as the condition which looks at that flag alone.
    fn decide(&mut self, v: Val) {
        let op = &mut self.ops[self.start + v.index()];
        if let Op::Flag(flag) = *op {
            *op = match flag {
                Flag::Of => Op::Condition(0),
                Flag::Cf => Op::Condition(2),
                Flag::Zf => Op::Condition(4),
                Flag::Sf => Op::Condition(8),
                Flag::Pf => Op::Condition(10),
                Flag::Af => Op::Flag(flag),
            }
        }
    }

    fn width_of(&self, v: Val) -> Width {
        width_of(&self.ops[self.start..], v)
    }

    /// Whether a | b is a value rotated to the left, by a constant: which, and by how much.
    fn rotated(&self, a: Val, b: Val) -> Option<Op> {
        let op = |v: Val| self.ops[self.start + v.index()];
        let (Op::Bin(Bin::Shl, w, x, n), Op::Bin(Bin::Shr, ws, y, m)) = (op(a), op(b)) else {
            return None;
        };
        let whole = self.constant(n)? + self.constant(m)? == u64::from(w.bits());
        (whole && (w, x) == (ws, y)).then_some(Op::Bin(Bin::Rol, w, x, n))
    }

    fn bitwise(&mut self, op: Bin, a: Val, b: Val) -> Val {
        if op == Bin::Or
            && let Some(rotated) = self.rotated(a, b).or_else(|| self.rotated(b, a))
        {
            return self.op(rotated);
        }
        let w = self.width_of(a).max(self.width_of(b));
        self.bin(op, w, a, b)
    }

    fn linear<R: Reach>(&mut self, w: Width, seg: Seg, offset: Val, write: bool) -> Val {
        if R::FLAT {
            return offset;
        }
        let mode = self.source.mode;
        if mode.is_64() && !mode.flat() {
            // Alignment is checked.
            self.op(Op::Stop);
        }
        if mode.is_64() && (seg as u8) < Seg::Fs as u8 {
            return offset;
        }
        self.op(Op::Linear { w, seg, offset, write, long: mode.is_64() })
    }
}

impl Lifter<'_> {
    /// The linear address of a memory operand that needs no checks.
    fn unchecked(&mut self, i: &Insn, offset: Val, write: bool) -> Val {
        if i.flat() || (i.seg() as u8) < Seg::Fs as u8 {
            return offset;
        }
        // Only in 64-bit mode, where the width does not count.
        self.op(Op::Linear { w: Width::W64, seg: i.seg(), offset, write, long: true })
    }

    /// An x87 instruction that the backend does.
    fn x87(&mut self, way: x87::Way, i: &Insn) {
        match way {
            x87::Way::Nothing => {}
            x87::Way::Store(part) => {
                let at = i.has_memory().then(|| self.address::<Checked>(i));
                let at = at.map(|offset| self.unchecked(i, offset, true));
                let word = self.op(Op::X87(part));
                match at {
                    Some(at) => self.op(Op::Store(Width::W16, at, word)),
                    None => self.op(Op::Set(Width::W16, 0, word)),
                };
            }
            x87::Way::LoadControl => {
                let offset = self.address::<Checked>(i);
                let at = self.unchecked(i, offset, false);
                let word = self.op(Op::Load(Width::W16, at));
                self.op(Op::X87(Part::SetControl(word)));
            }
            x87::Way::Host(shape) => self.x87_host(shape, i),
        }
    }

    fn x87_host(&mut self, shape: x87::Shape, i: &Insn) {
        let offset = i.has_memory().then(|| self.address::<Checked>(i));
        let at = offset.map(|offset| self.unchecked(i, offset, shape.store));
        let condition = shape.condition.map(|cc| self.condition(cc));
        let made = self.op(Op::X87(Part::Host(shape, at, condition)));
        if !shape.control {
            self.op(Op::X87(Part::Last(offset)));
        }
        if shape.compares {
            self.op(Op::SetFlags(Width::W8, Setter::Compare { bits: made }));
        }
    }

    /// A vector instruction that the backend does.
    fn vector(&mut self, shape: Shape, i: &Insn) {
        let at = i.has_memory().then(|| {
            let offset = self.address::<Checked>(i);
            self.unchecked(i, offset, shape.store)
        });
        let general = shape.reads.map(|(w, reg)| self.get(w, reg));
        let made = self.op(Op::Vector(shape, at, general));
        if let Some(reg) = shape.writes {
            self.set(Width::W64, reg, made);
        }
        if shape.compares {
            self.op(Op::SetFlags(Width::W8, Setter::Compare { bits: made }));
        }
    }
}

/// A `Result` that is always `Ok`.
type Sure<T> = Result<T, Infallible>;

impl Sem for Lifter<'_> {
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
        let w = R::address_width(i);
        let mut disp = i64::from(i.disp);
        let near = i.base == slot::BLOCK_IP;
        let mut register = |reg: u8, scale: u32| match reg {
            slot::ZERO => None,
            slot::BLOCK_IP => {
                disp = disp.wrapping_add(self.ip.cast_signed());
                None
            }
            slot::FAR => {
                disp = disp.wrapping_add((1 << 20) << scale);
                None
            }
            reg => Some(reg),
        };
        let base = register(i.base, 0);
        let index = register(i.index, i.scale()).map(|reg| (reg, i.scale() as u8));
        match (base, index) {
            (None, None) if near => self.op(Op::Near(w, disp)),
            (None, None) => self.op(Op::Imm(disp.cast_unsigned() & w.mask())),
            (Some(reg), None) if disp == 0 => self.op(Op::Get(w, reg)),
            _ => self.op(Op::Address { w, base, index, disp }),
        }
    }

    fn load<R: Reach>(&mut self, w: Width, _: &Insn, seg: Seg, offset: Val) -> Sure<Val> {
        let at = self.linear::<R>(w, seg, offset, false);
        Ok(self.op(Op::Load(w, at)))
    }

    fn store<R: Reach>(&mut self, w: Width, _: &Insn, seg: Seg, offset: Val, v: Val) -> Sure<()> {
        let at = self.linear::<R>(w, seg, offset, true);
        self.op(Op::Store(w, at, v));
        Ok(())
    }

    fn load_for_write<R: Reach>(
        &mut self,
        w: Width,
        _: &Insn,
        seg: Seg,
        offset: Val,
    ) -> Sure<(Val, Val)> {
        let at = self.linear::<R>(w, seg, offset, true);
        let opened = self.op(Op::Open(w, at));
        Ok((opened, opened))
    }

    fn commit(&mut self, w: Width, place: Val, value: Val) {
        self.op(Op::Commit(w, place, value));
    }

    fn update<R: Reach>(
        &mut self,
        w: Width,
        _: &Insn,
        seg: Seg,
        offset: Val,
        op: Rmw,
        operand: Val,
    ) -> Sure<Val> {
        let at = self.linear::<R>(w, seg, offset, true);
        Ok(self.op(Op::Update(w, at, op, operand)))
    }

    fn compare_exchange<R: Reach>(
        &mut self,
        w: Width,
        _: &Insn,
        seg: Seg,
        offset: Val,
        expected: Val,
        new: Val,
    ) -> Sure<Val> {
        let at = self.linear::<R>(w, seg, offset, true);
        Ok(self.op(Op::CompareExchange(w, at, expected, new)))
    }

    fn add(&mut self, w: Width, a: Val, b: Val) -> Val {
        self.bin(Bin::Add, w, a, b)
    }

    fn sub(&mut self, w: Width, a: Val, b: Val) -> Val {
        self.bin(Bin::Sub, w, a, b)
    }

    fn and(&mut self, a: Val, b: Val) -> Val {
        self.bitwise(Bin::And, a, b)
    }

    fn or(&mut self, a: Val, b: Val) -> Val {
        self.bitwise(Bin::Or, a, b)
    }

    fn xor(&mut self, a: Val, b: Val) -> Val {
        self.bitwise(Bin::Xor, a, b)
    }

    fn not(&mut self, w: Width, a: Val) -> Val {
        self.un(Un::Not, w, a)
    }

    fn shl(&mut self, w: Width, a: Val, n: Val) -> Val {
        self.bin(Bin::Shl, w, a, n)
    }

    fn shr(&mut self, w: Width, a: Val, n: Val) -> Val {
        self.bin(Bin::Shr, w, a, n)
    }

    fn sar(&mut self, w: Width, a: Val, n: Val) -> Val {
        self.bin(Bin::Sar, w, a, n)
    }

    fn mul(&mut self, w: Width, a: Val, b: Val) -> Val {
        self.bin(Bin::Mul, w, a, b)
    }

    fn mul_high_unsigned(&mut self, w: Width, a: Val, b: Val) -> Val {
        self.bin(Bin::MulHighUnsigned, w, a, b)
    }

    fn mul_high_signed(&mut self, w: Width, a: Val, b: Val) -> Val {
        self.bin(Bin::MulHighSigned, w, a, b)
    }

    fn truncate(&mut self, w: Width, a: Val) -> Val {
        match self.constant(a) {
            Some(value) => self.op(Op::Imm(value & w.mask())),
            None if self.width_of(a) <= w => a,
            None => self.op(Op::Truncate(w, a)),
        }
    }

    fn sign_extend(&mut self, from: Width, to: Width, a: Val) -> Val {
        match self.constant(a) {
            Some(value) => self.op(Op::Imm(from.sign_extend(value) & to.mask())),
            None => self.op(Op::SignExtend(from, to, a)),
        }
    }

    fn byte_swap(&mut self, w: Width, a: Val) -> Val {
        self.un(Un::ByteSwap, w, a)
    }

    fn count_ones(&mut self, a: Val) -> Val {
        self.un(Un::CountOnes, Width::W64, a)
    }

    fn leading_zeros(&mut self, w: Width, a: Val) -> Val {
        self.un(Un::LeadingZeros, w, a)
    }

    fn trailing_zeros(&mut self, w: Width, a: Val) -> Val {
        self.un(Un::TrailingZeros, w, a)
    }

    fn equal(&mut self, a: Val, b: Val) -> Val {
        self.bitwise(Bin::Equal, a, b)
    }

    fn below(&mut self, a: Val, b: Val) -> Val {
        self.bitwise(Bin::Below, a, b)
    }

    fn select(&mut self, condition: Val, yes: Val, no: Val) -> Val {
        match self.constant(condition) {
            Some(0) => no,
            Some(_) => yes,
            None => {
                self.decide(condition);
                self.op(Op::Select(condition, yes, no))
            }
        }
    }

    fn pure(&mut self, f: Pure, a: Val, b: Val) -> Val {
        match (self.constant(a), self.constant(b)) {
            (Some(x), Some(y)) => self.op(Op::Imm(f(x, y))),
            _ => self.op(Op::Pure(f, a, b)),
        }
    }

    fn flags_add(&mut self, w: Width, a: Val, b: Val, r: Val) {
        self.op(Op::SetFlags(w, Setter::Add { a, b, r }));
    }

    fn flags_sub(&mut self, w: Width, a: Val, b: Val, r: Val) {
        self.op(Op::SetFlags(w, Setter::Sub { a, b, r }));
    }

    fn flags_logic(&mut self, w: Width, r: Val) {
        self.op(Op::SetFlags(w, Setter::Logic { r }));
    }

    fn flags_inc(&mut self, w: Width, r: Val) {
        self.op(Op::SetFlags(w, Setter::Inc { r }));
    }

    fn flags_dec(&mut self, w: Width, r: Val) {
        self.op(Op::SetFlags(w, Setter::Dec { r }));
    }

    fn flags_shift(&mut self, w: Width, r: Val, cf: Val, of: Val) {
        self.op(Op::SetFlags(w, Setter::Shift { r, cf, of }));
    }

    fn flags_rotate(&mut self, cf: Val, of: Val) {
        self.op(Op::SetFlags(Width::W64, Setter::Rotate { cf, of }));
    }

    fn flag(&mut self, flag: Flag) -> Val {
        self.op(Op::Flag(flag))
    }

    fn set_flag(&mut self, flag: Flag, value: Val) {
        // A rotate after which OF is as before.
        if let (Flag::Of, Op::Flag(Flag::Of)) = (flag, self.ops[self.start + value.index()])
            && let Some(Op::SetFlags(_, setter)) = self.ops.last_mut()
            && let Setter::Rotate { cf, .. } = *setter
        {
            *setter = Setter::One { flag: Flag::Cf, value: cf };
            return;
        }
        self.op(Op::SetFlags(Width::W64, Setter::One { flag, value }));
    }

    fn flags(&mut self) -> Val {
        self.op(Op::Flags)
    }

    fn set_flags(&mut self, mask: u64, bits: Val) {
        self.op(Op::SetFlags(Width::W64, Setter::Masked { mask, bits }));
    }

    fn condition(&mut self, cc: u8) -> Val {
        self.op(Op::Condition(cc))
    }

    fn direction(&mut self) -> Val {
        let step = if self.source.backwards { u64::MAX } else { 1 };
        self.op(Op::Imm(step))
    }

    fn next_ip(&mut self, w: Width, i: &Insn) -> Val {
        let next = self.ip.wrapping_add(u64::from(i.end));
        self.op(match i.mode.is_64() {
            true => Op::Near(w, next.cast_signed()),
            false => Op::Imm(next & w.mask()),
        })
    }

    fn jump(&mut self, w: Width, _: &Insn, target: Val) -> Sure<()> {
        let target = self.truncate(w, target);
        self.op(Op::Jump(target));
        self.end = Some(End::Jump);
        Ok(())
    }

    fn branch(&mut self, w: Width, i: &Insn, condition: Option<Val>) -> Sure<()> {
        let mask = if i.mode.is_64() { u64::MAX } else { 0xffff_ffff };
        let next = self.ip.wrapping_add(u64::from(i.end)) & mask;
        self.taken = next.wrapping_add_signed(i64::from(i.imm)) & w.mask();
        // What is cut depends on the origin in another way than by a sum.
        let cut = i.mode.is_64() && w != Width::W64;
        if cut || !self.source.is_legal(self.taken) {
            self.op(Op::Stop);
        }
        condition.into_iter().for_each(|v| self.decide(v));
        self.op(Op::Branch(condition));
        self.end = Some(if condition.is_some() { End::Branch } else { End::Goto });
        Ok(())
    }

    fn when(&mut self, condition: Val, body: impl FnOnce(&mut Self) -> Sure<()>) -> Sure<()> {
        match self.constant(condition) {
            Some(0) => return Ok(()),
            Some(_) => return body(self),
            None => {}
        }
        let at = self.ops.len();
        self.op(Op::When(condition, 0));
        body(self)?;
        let end = (self.ops.len() - self.start) as u16;
        self.ops[at] = Op::When(condition, end);
        Ok(())
    }

    fn cold(&mut self, cold: Cold, i: &Insn) -> Sure<()> {
        if let Some(way) = x87::Way::of(i).filter(|_| (self.source.is_x87)(i)) {
            self.x87(way, i);
        } else if let Some(shape) = Shape::of(i).filter(|_| (self.source.is_vector)(i)) {
            self.vector(shape, i);
            self.work = Work::Vector(cold);
        } else {
            self.work = Work::Cold { cold, ends: false };
        }
        Ok(())
    }
}
