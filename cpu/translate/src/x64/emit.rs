//! From a region to bytes: blocks, steps, edges, and what lies out of line.

use std::{cell::Cell, ops::Range};

use trine_guest::PAGE_SIZE;
use trine_x86::{Class, Entry, Flag, Insn, Tlb, Width, rflags::ARITHMETIC, slot};

use super::{
    TLB_ADDEND,
    access::{Access, Cursor},
    asm::{Alu, Asm, Gpr, Label, Mem, R11, RAX, RCX, RDX, Rm, Shift, cc},
    flow::Version,
    home, near, place, simd, slot, spill, tlb, tlb_fetch, translated,
    values::{Loc, Values},
    x87,
};
use crate::{
    code::{ColdCall, Emitted, JUMP_IP, JUMPS, Jump, Place, Reason, Site},
    family::{Families, Family},
    flags::{RECIPE_SPILLS, Recipe, Src},
    ir::{Block, Op, Region, Setter, Step, Work},
    passes,
    recipe::Made,
    share::Shared,
    walk,
};

/// What is emitted behind the region.
pub(super) enum Stub {
    /// A TLB miss.
    Miss { label: Label, found: Label, access: Access },
    /// An access that has left its cursor's page.
    Moved { label: Label, back: Label, behind: Option<Label>, access: Access, cursor: Cursor },
    /// It stays where it is.
    Stays { label: Label, behind: Label },
    /// A RET that goes elsewhere than was expected; RAX has the jump cache's entry.
    Elsewhere { label: Label, recipe: Recipe },
    /// The same: RAX is to be found for RCX.
    LookUp { label: Label, back: Label, site: u32 },
    /// A hunch was wrong.
    Hunch { label: Label, back: Label, hunch: usize },
    /// The host's vector registers do not hold the guest's.
    Vectors { label: Label, back: Label, wanted: u32 },
    /// The host's FPU does not hold the guest's state.
    X87 { label: Label, back: Label },
    /// The page is not what was translated.
    Stale { label: Label },
    /// Stops before an instruction.
    Once { label: Label, site: u32 },
    /// Goes to a place outside of the region.
    Out { label: Label, ip: u64, recipe: Recipe },
    /// Goes to those who look into memory how the flags follow.
    Forget { label: Label, to: Label, recipe: Recipe },
    /// Too few instructions left for a block.
    Budget { label: Label, ip: u64, steps: u32, recipe: Recipe },
    /// The jump cache does not know a direct target.
    Unknown { label: Label, exit: u32 },
}

/// What sets flags, and its width.
type Set = (Width, Setter);

/// Emits a region.
pub(super) struct Emitter<'a> {
    pub(super) asm: Asm,
    pub(super) region: &'a Region,
    pub(super) place: &'a Place,
    /// What is done by helpers.
    pub(super) without: Families,
    pub(super) values: Values,
    /// The operations of the present step.
    pub(super) ops: Range<usize>,
    /// The present operation.
    pub(super) now: usize,
    /// Inside of a conditional body.
    pub(super) body: usize,
    /// Where to go on if that body is not executed.
    skip: Option<Label>,
    /// How the flags follow.
    pub(super) recipe: Recipe,
    /// What follows when this step has ended.
    pub(super) next_recipe: Option<Recipe>,
    /// If the recipe is in memory: it says that the flags are in the core.
    pub(super) stored: bool,
    /// The guest's flags that the host's flags hold.
    pub(super) host: u64,
    /// The operation whose flags the host's are.
    pub(super) made: Option<usize>,
    /// What the host's vector registers are known to hold.
    pub(super) vectors: u32,
    /// The same of the x87.
    pub(super) x87: x87::Known,
    /// The operands of this step's recipe were put aside before it.
    pub(super) early: bool,
    /// For the recipe of INC or DEC to come: where CF stays; `None`: it was put aside.
    pub(super) carry: Option<Src>,
    /// This step looks at CF as a value.
    pub(super) reads_carry: bool,
    /// A setter of this step and its recipe, which is asked for again and again.
    pub(super) made_recipe: Cell<Option<(Set, Option<Made>)>>,
    pub(super) stubs: Vec<Stub>,
    pub(super) call: Label,
    /// The present block, its RIP, and the present step.
    pub(super) block: usize,
    pub(super) block_ip: u64,
    pub(super) step: usize,
    /// Steps of the block from this one on.
    pub(super) left: u32,
    step_site: Option<u32>,
    pub(super) versions: Vec<Version>,
    /// The registers of which addresses are known late.
    pub(super) late: u32,
    /// For each block, the registers of which addresses that walk are made.
    pub(super) steady: Vec<u32>,
    /// How many accesses that walk on their own there were.
    pub(super) cursors: usize,
    /// For each register, where to find what takes addresses near it to the host's.
    pub(super) nears: [Mem; 16],
    /// The accesses that share a look into the TLB, by their operations, in the present block.
    pub(super) shared: Vec<(usize, Shared)>,
    /// For which register RCX holds what takes addresses near it to the host's.
    pub(super) near: Option<u8>,
    /// The block to which the next RET will mostly go.
    pub(super) returns: Option<usize>,
    /// The version that comes next in any case.
    pub(super) follows: Option<usize>,
    pub(super) out: Emitted,
}

/// Code for `region`.
pub(super) fn region(region: &Region, place: &Place, without: Families) -> Emitted {
    let mut asm = Asm::default();
    let call = asm.label();
    asm.bind_at(call, distance(place, place.runtime.call));
    let mut e = Emitter {
        asm,
        region,
        place,
        without,
        values: Values::default(),
        ops: 0..0,
        now: 0,
        body: 0,
        skip: None,
        recipe: Recipe::MEMORY,
        next_recipe: None,
        stored: false,
        host: 0,
        made: None,
        vectors: simd::IN_CORE,
        x87: x87::Known::default(),
        early: false,
        carry: None,
        reads_carry: false,
        made_recipe: Cell::new(None),
        stubs: Vec::new(),
        call,
        block: 0,
        block_ip: 0,
        step: 0,
        left: 0,
        step_site: None,
        versions: Vec::new(),
        late: passes::loaded(region),
        steady: match without.has(Family::Walk) {
            true => vec![0; region.blocks.len()],
            false => walk::steady(region),
        },
        nears: std::array::from_fn(|reg| near(reg as u8)),
        cursors: (place.region as usize).wrapping_mul(7),
        shared: Vec::new(),
        near: None,
        returns: None,
        follows: None,
        out: Emitted { cells: 1, ..Emitted::default() },
    };
    e.entry();
    e.versions();
    e.stubs();
    e.asm.resolve();
    e.out.code = std::mem::take(&mut e.asm.code);
    e.out
}

/// Where something is, from the start of the code.
fn distance(place: &Place, at: usize) -> i32 {
    at.wrapping_sub(place.code).cast_signed() as i32
}

impl Emitter<'_> {
    pub(super) fn far(&mut self, at: usize) -> Label {
        let label = self.asm.label();
        self.asm.bind_at(label, distance(self.place, at));
        label
    }

    pub(super) fn cell(&mut self, n: usize) -> Rm {
        let at = self.place.cell_base + 8 * (self.place.cells + n);
        Rm::Rip(self.far(at))
    }

    pub(super) fn leave(&mut self, reason: Reason) {
        let to = self.far(self.place.runtime.leave[reason as usize]);
        self.asm.jmp(to);
    }

    /// One instruction; the last of a block also goes on from there.
    pub(super) fn step(&mut self, step: &Step, block: &Block) {
        self.ops = step.ops.clone();
        self.step_site = None;
        self.next_recipe = None;
        self.made = None;
        self.made_recipe.set(None);
        self.reads_carry = ![Family::Alu, Family::Flags].into_iter().any(|f| self.without.has(f))
            && self.ops().iter().any(|op| matches!(op, Op::Flag(Flag::Cf)));
        let last = self.left == 1;
        if step.straddles {
            self.check_beyond();
        }
        if let Work::Cold { cold, ends } = step.work {
            self.cold(step, block, cold, ends);
            if last {
                self.goes_on(block);
            }
            return;
        }
        self.put_early(step);
        let mut values = std::mem::take(&mut self.values);
        values.begin(
            self.ops(),
            |n| self.shared(n).is_some(),
            |setter, w, each| self.setter_uses(setter, w, each),
        );
        self.values = values;
        self.keep_for_carry();
        self.keep_recipe(step);
        for at in 0..self.ops.len() {
            self.now = at;
            if self.body != 0 && self.body == at {
                self.leave_body();
            }
            self.op(at);
            self.end_op(at);
        }
        if self.body != 0 {
            self.leave_body();
        }
        if let Some(recipe) = self.next_recipe.take() {
            // What memory says may still be a part of it.
            self.stored &= recipe.y == Src::Memory;
            self.recipe = recipe;
        }
        if last {
            self.goes_on(block);
        }
        self.values.locs.clear();
    }

    /// Stops unless the next page lies where it lay, and nobody has stored to it.
    fn check_beyond(&mut self) {
        let Some(beyond) = self.region.beyond else { return };
        let bail = self.bail();
        let class = if self.place.class == Class::User { Class::User } else { Class::Supervisor };
        self.load_ip(RDX, beyond.lin);
        let a = self.noisy();
        a.shifted_right(RAX, RDX, PAGE_SIZE.trailing_zeros() as u8);
        a.alu_imm(Alu::And, Width::W32, RAX, Tlb::INDEX_MASK as i32);
        a.alu_from(Alu::Cmp, Width::W64, RDX, tlb_fetch(class, RAX));
        a.jcc(cc::NE, bail);
        a.shift(Shift::Shl, Width::W32, RAX, size_of::<Entry>().trailing_zeros() as u8);
        a.alu_from(Alu::Add, Width::W64, RDX, tlb(class, RAX, TLB_ADDEND));
        a.mov_imm(RAX, beyond.offset);
        a.alu(Alu::Cmp, Width::W64, RDX, RAX);
        a.jcc(cc::NE, bail);
        a.mov_imm(RDX, beyond.version as u64);
        a.alu_imm(Alu::Cmp, Width::W32, Mem::at(RDX, 0), beyond.known.cast_signed());
        a.jcc(cc::NE, bail);
    }

    /// The end of a conditional body.
    fn leave_body(&mut self) {
        if let Some(skip) = self.skip.take() {
            self.asm.bind(skip);
        }
        self.body = 0;
        (self.host, self.near) = (0, None);
    }

    /// Puts operands of the recipe to come aside before the step, so that it may overwrite them in
    /// place; if nobody wants the present recipe any more.
    fn put_early(&mut self, step: &Step) {
        self.early = false;
        let mut setter = None;
        for op in self.ops() {
            match *op {
                Op::SetFlags(w, s) if setter.is_none() => setter = self.recipe_for(w, s),
                Op::SetFlags(..) | Op::When(..) | Op::Flag(_) | Op::Flags | Op::Condition(_) => {
                    return;
                }
                _ => {}
            }
        }
        let Some((_, put)) = setter.filter(|_| !step.stops) else { return };
        let reg_of = |v: crate::ir::Val| match self.ops()[v.index()] {
            Op::Get(_, reg) if reg & trine_x86::slot::HIGH == 0 => Some(reg),
            _ => None,
        };
        let regs = put.map(|v| v.map(reg_of));
        if regs.contains(&Some(None)) || regs == [None, None] {
            return;
        }
        for (n, reg) in regs.into_iter().enumerate() {
            if let Some(Some(reg)) = reg {
                let from = home(reg).unwrap_or_else(|| {
                    self.asm.load(Width::W64, R11, place(reg));
                    R11
                });
                self.asm.store(Width::W64, spill(RECIPE_SPILLS + n as u8), from);
            }
        }
        self.early = true;
    }

    /// The operands of additions with carry are used where the sum is made, or would be: flags may
    /// still follow from them.
    fn keep_for_carry(&mut self) {
        for n in 0..self.ops.len() {
            if let Some(c) = self.carries(crate::ir::Val(n as u16)) {
                for v in [c.a, c.b, c.carry] {
                    let last = &mut self.values.last[v.index()];
                    *last = (*last).max(n);
                }
            }
        }
    }

    /// Puts operands of the recipe aside that this step overwrites, if they are still needed.
    fn keep_recipe(&mut self, step: &Step) {
        let (mut sets, mut odd, mut written) = (0, false, 0_u32);
        for op in self.ops() {
            match *op {
                Op::SetFlags(w, setter) => {
                    let plain = self.recipe_for(w, setter).is_some();
                    let counts = matches!(setter, Setter::Inc { .. } | Setter::Dec { .. });
                    odd |= !plain && !counts;
                    if counts {
                        sets |= ARITHMETIC;
                    }
                    sets |= setter.sets();
                }
                Op::When(..) => odd = true,
                Op::Set(_, reg, _) => written |= 1 << (reg & 31),
                _ => {}
            }
        }
        let counts = self
            .ops()
            .iter()
            .any(|op| matches!(op, Op::SetFlags(_, Setter::Inc { .. } | Setter::Dec { .. })));
        self.carry = None;
        let lowered = !self.without.has(Family::Flags);
        if counts && lowered && step.live & trine_x86::rflags::CF != 0 {
            self.save_carry(step.stops);
        }
        if step.live & !sets == 0 && !odd {
            return;
        }
        let Recipe { x, y, .. } = self.recipe;
        if matches!(self.recipe.kind, crate::flags::Kind::Memory) {
            return;
        }
        self.recipe.x = self.keep_operand(x, RECIPE_SPILLS, written);
        self.recipe.y = self.keep_operand(y, RECIPE_SPILLS + 1, written);
    }

    fn keep_operand(&mut self, src: Src, n: u8, written: u32) -> Src {
        let Src::Reg(reg) = src else { return src };
        if written >> (reg & 31) & 1 == 0 {
            return src;
        }
        let high = reg & trine_x86::slot::HIGH != 0;
        let from = match home(reg) {
            Some(host) => host,
            None => {
                self.asm.load(Width::W64, R11, place(reg));
                R11
            }
        };
        self.asm.store(Width::W64, spill(n), from);
        if high {
            let byte = Mem { disp: spill(n).disp + 1, ..spill(n) };
            self.asm.load(Width::W8, R11, byte);
            self.asm.store(Width::W64, spill(n), R11);
        }
        Src::Spill(n)
    }

    fn op(&mut self, n: usize) {
        let op = self.ops()[n];
        let unused = op.is_pure() && self.values.last[n] <= n;
        if unused && !matches!(op, Op::Imm(_)) {
            return;
        }
        self.settle_conditions(&op);
        if self.without.has_op(&op) {
            return self.evaluated(n);
        }
        match op {
            Op::Nop | Op::Branch(_) => {}
            Op::Imm(value) => self.define(n, Loc::Imm(value)),
            Op::Get(w, reg) => self.define(n, Loc::Guest(w, reg)),
            Op::Set(w, reg, v) => self.set(n, w, reg, v),
            Op::Near(w, disp) => {
                let base = Some(slot::ORIGIN);
                self.address(n, Op::Address { w, base, index: None, disp });
            }
            Op::Address { .. } => self.address(n, op),
            Op::Linear { w, seg, offset, write, long } => {
                self.linear(n, w, seg, offset, write, long);
            }
            Op::Load(w, at) => self.load(n, w, at),
            Op::Store(w, at, v) => self.store(w, at, v),
            Op::Open(w, at) => self.open(n, w, at),
            Op::Commit(w, _, v) => self.commit(w, v),
            Op::Update(w, at, op, v) => self.update(n, w, at, op, v),
            Op::CompareExchange(w, at, expected, new) => {
                self.compare_exchange(n, w, at, expected, new);
            }
            Op::Bin(..) if self.is_fused(n) => {}
            Op::Bin(op, w, a, b) => match self.carries(crate::ir::Val(n as u16)) {
                Some(carries) if self.fused_carry(carries.carry.index()) => {
                    self.with_carry(n, carries);
                }
                _ => self.bin(n, op, w, a, b),
            },
            Op::Un(op, w, a) => self.un(n, op, w, a),
            Op::Truncate(w, a) => self.truncate(n, w, a),
            Op::SignExtend(from, to, a) => self.sign_extend(n, from, to, a),
            Op::Select(c, a, b) => self.select(n, c, a, b),
            Op::Pure(f, a, b) => self.pure(n, f, a, b),
            Op::SetFlags(w, setter) => self.set_flags(w, setter),
            Op::Flag(flag) => match self.fused_carry(n) {
                true => self.put_carry_aside(),
                false => self.flag(n, flag),
            },
            Op::Flags => {
                self.call_image();
                self.defined(n, RAX, Width::W16, true);
            }
            Op::Condition(code) => self.define(n, Loc::Condition(code)),
            Op::Jump(v) => self.look_up(v),
            Op::When(condition, end) => self.when(condition, usize::from(end)),
            Op::Vector(shape, at, general) => self.vector(n, shape, at, general),
            Op::X87(part) => self.x87(n, part),
            Op::Stop => {
                let bail = self.bail();
                self.asm.jmp(bail);
            }
        }
    }

    /// Conditions become values before registers are taken for anything else, except where they
    /// are looked at directly.
    fn settle_conditions(&mut self, op: &Op) {
        if matches!(op, Op::Select(..) | Op::Branch(_)) && !self.without.has_op(op) {
            return;
        }
        let mut found = None;
        op.uses(|v| {
            if matches!(self.values.locs[v.index()], Loc::Condition(_)) {
                found = Some(v);
            }
        });
        if let Some(v) = found {
            let Loc::Condition(code) = self.loc(v) else { return };
            let code = self.test_condition(code);
            let to = self.temp();
            self.quiet().setcc(code, to);
            self.quiet().load(Width::W8, to, to);
            self.define(v.index(), Loc::Scratch(to, true));
            self.unlock(to);
        }
    }

    fn when(&mut self, condition: crate::ir::Val, end: usize) {
        self.settle();
        self.evict_all();
        let code = self.test_value(condition);
        let skip = self.asm.label();
        self.asm.jcc(code ^ 1, skip);
        self.evict_all();
        self.body = end;
        self.skip = Some(skip);
    }

    /// The present step's instruction.
    pub(super) fn insn(&self) -> Insn {
        self.region.steps[self.step].insn
    }

    /// The number of this step's site.
    pub(super) fn site(&mut self) -> u32 {
        if let Some(site) = self.step_site {
            return site;
        }
        let insn = &self.region.steps[self.step].insn;
        let site = Site::new(self.block_ip, insn, self.left, self.recipe);
        self.out.sites.push(site);
        let number = self.place.sites + self.out.sites.len() as u32 - 1;
        self.step_site = Some(number);
        number
    }

    /// Keeps what the code refers to; returns its address.
    pub(super) fn keep<T: Send + Sync + 'static>(&mut self, what: T) -> u64 {
        let what = Box::new(what);
        let address = std::ptr::from_ref(&*what) as u64;
        self.out.kept.push(what);
        address
    }

    /// Where to go so that the interpreter does this step.
    pub(super) fn bail(&mut self) -> Label {
        let site = self.site();
        let label = self.asm.label();
        self.stubs.push(Stub::Once { label, site });
        label
    }

    fn cold(&mut self, step: &Step, block: &Block, cold: trine_x86::Cold, ends: bool) {
        self.remember();
        self.recipe = Recipe::MEMORY;
        let site = self.site();
        let at = self.out.sites[(site - self.place.sites) as usize];
        let call = self.keep(ColdCall::new(cold, step.insn, block.ip, &at, ends));
        self.asm.mov_imm(RDX, call);
        self.asm.mov_imm(RAX, u64::from(site));
        let to = self.far(self.place.runtime.cold);
        self.asm.call(to);
        self.stored = true;
        (self.host, self.near) = (0, None);
        self.vectors = simd::IN_CORE;
        self.x87 = x87::Known::default();
    }

    /// [`Op::Jump`]: the step stops unless code is known for the target, whose place is kept.
    fn look_up(&mut self, v: crate::ir::Val) {
        if self.without.has(Family::Chain) {
            let bail = self.bail();
            return self.asm.jmp(bail);
        }
        self.claim(RAX);
        if let Some(to) = self.expected_return() {
            self.claim(RCX);
            self.claim(RDX);
            self.move_clean(RCX, v);
            let (other, back, site) = (self.asm.label(), self.asm.label(), self.site());
            let ip = self.region.blocks[to].ip;
            self.asm.mov_imm(RAX, 0);
            self.load_ip(RDX, ip);
            self.noisy().alu(Alu::Cmp, Width::W64, RCX, RDX);
            self.quiet().jcc(cc::NE, other);
            self.quiet().bind(back);
            self.stubs.push(Stub::LookUp { label: other, back, site });
        } else {
            let bail = self.bail();
            let target = self.clean_reg(v);
            self.look_up_jump(target, bail);
        }
        self.define(self.ops.len(), Loc::Scratch(RAX, true));
    }

    /// A register gets RIP of a place that lies so far from the origin.
    pub(super) fn load_ip(&mut self, to: Gpr, ip: u64) {
        if !self.region.is_long() {
            return self.asm.mov_imm(to, ip);
        }
        match i32::try_from(ip.cast_signed()) {
            Ok(distance) => {
                self.asm.load(Width::W64, to, slot(slot::ORIGIN));
                self.asm.lea(Width::W64, to, Mem::at(to, distance));
            }
            Err(_) => {
                self.asm.mov_imm(to, ip);
                self.noisy().alu_from(Alu::Add, Width::W64, to, slot(slot::ORIGIN));
            }
        }
    }

    /// RAX = the entry of the jump cache for a target, if there is one.
    pub(super) fn look_up_jump(&mut self, target: Gpr, unknown: Label) {
        const { assert!(JUMPS == 1 << 16) };
        let a = self.noisy();
        a.load(Width::W16, RAX, target);
        a.shift(Shift::Shl, Width::W32, RAX, size_of::<Jump>().trailing_zeros() as u8);
        a.alu_from(Alu::Add, Width::W64, RAX, translated!(jumps));
        let ip = Mem::at(RAX, 8 * JUMP_IP as i32);
        a.alu_from(Alu::Cmp, Width::W64, target, ip);
        a.jcc(cc::NE, unknown);
    }
}
