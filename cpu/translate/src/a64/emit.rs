//! From a region to bytes: blocks, steps, edges, and what lies out of line.

use std::ops::Range;

use trine_x86::{Width, rflags::ARITHMETIC, slot};

use super::{
    A64, JUMP_SPILL, LEFT, T0, T1, T2,
    access::add_constant,
    asm::{Address, Asm, Cond, Label, LogicalImm, Reg, Shift, Size, X0, X1},
    far_b, far_bl,
    flags::Held,
    home, simd, spill, translated,
    values::{Loc, Values},
};
use crate::{
    code::{ColdCall, Emitted, Exit, JUMP_CODE, JUMP_IP, JUMPS, Jump, Place, Reason, Site},
    family::{Families, Family},
    flags::{Kind, RECIPE_SPILLS, Recipe, Src},
    ir::{Block, End, Op, Region, Setter, Step, Val, Work},
};

/// What is emitted behind the region.
pub(super) enum Stub {
    /// A TLB miss.
    Miss { label: Label, found: Label, lin: Reg, access: u32, site: u32, vectors: u32 },
    /// The host's vector registers do not hold the guest's.
    Vectors { label: Label, back: Label, wanted: u32 },
    /// The host does an instruction otherwise than the guest.
    Redo { label: Label, back: Label, redo: simd::Redo },
    /// So does one of several.
    Run { run: simd::Run, back: Label },
    /// Stops before an instruction.
    Once { label: Label, site: u32 },
    /// Goes to a place outside of the region.
    Out { label: Label, ip: u64, recipe: Recipe },
    /// Too few instructions left for a block.
    Budget { label: Label, ip: u64, recipe: Recipe, steps: u64 },
    /// The jump cache does not know a direct target.
    Unknown { label: Label, exit: u32 },
    /// The page is not what was translated.
    Stale { label: Label },
}

/// Emits a region.
pub(super) struct Emitter<'a> {
    pub(super) asm: Asm,
    pub(super) region: &'a Region,
    pub(super) place: &'a Place,
    /// The host has `FEAT_LSE`.
    pub(super) atomics: bool,
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
    pub(super) host: Held,
    /// The operation whose flags the host's are.
    pub(super) made: Option<usize>,
    /// The operands of this step's recipe were put aside before it.
    pub(super) early: bool,
    /// For the recipe of INC or DEC to come, CF stays where memory says.
    pub(super) carry_in_memory: bool,
    pub(super) stubs: Vec<Stub>,
    /// What the host's vector registers are known to hold.
    pub(super) vectors: u32,
    /// Vector instructions of which it is not known whether they were right.
    pub(super) run: Option<simd::Run>,
    /// RIP of the present block, and the present step.
    pub(super) block_ip: u64,
    pub(super) step: usize,
    /// Steps of the block from this one on.
    left: u32,
    step_site: Option<u32>,
    blocks: Vec<Label>,
    recipes: Vec<Recipe>,
    out: Emitted,
}

/// Code for `region`.
pub(super) fn region(region: &Region, place: &Place, backend: &A64) -> Emitted {
    let mut asm = Asm::new();
    let blocks = region.blocks.iter().map(|_| asm.label()).collect();
    let mut e = Emitter {
        asm,
        region,
        place,
        atomics: backend.atomics,
        without: backend.without,
        values: Values::default(),
        ops: 0..0,
        now: 0,
        body: 0,
        skip: None,
        recipe: Recipe::MEMORY,
        next_recipe: None,
        stored: false,
        host: Held::default(),
        made: None,
        early: false,
        carry_in_memory: false,
        stubs: Vec::new(),
        vectors: simd::IN_CORE,
        run: None,
        block_ip: 0,
        step: 0,
        left: 0,
        step_site: None,
        blocks,
        recipes: vec![Recipe::MEMORY; region.blocks.len()],
        out: Emitted { cells: 1, ..Emitted::default() },
    };
    e.entry();
    for n in 0..region.blocks.len() {
        e.block(n);
    }
    e.stubs();
    e.out.code = super::finish(e.asm);
    e.out
}

impl Emitter<'_> {
    /// Loads data cell `n` of this region.
    fn load_cell(&mut self, size: Size, to: Reg, n: usize) {
        let cell = self.place.cell_base + 8 * (self.place.cells + n);
        let here = self.place.code + 4 * self.asm.here();
        let pages = (cell >> 12).wrapping_sub(here >> 12).cast_signed();
        self.asm.adrp(to, pages as i32);
        self.asm.ldr(size, to, Address::offset(to, (cell & 0xfff) as i32));
    }

    /// Leaves translated code; the number is in W0.
    fn leave(&mut self, reason: Reason) {
        let to = self.place.runtime.leave[reason as usize];
        far_b(&mut self.asm, self.place.code, to);
    }

    fn put_number(&mut self, to: Reg, number: u32) {
        self.asm.mov_imm(Size::W, to, u64::from(number));
    }

    /// The entry: is the page still what was translated?
    fn entry(&mut self) {
        self.compare_versions();
        let label = self.asm.label();
        self.asm.cbnz(Size::W, T0, label);
        self.stubs.push(Stub::Stale { label });
        self.charge(0);
    }

    /// T0 = 0 if the page's version is the one that was translated. The flags stay.
    fn compare_versions(&mut self) {
        self.load_cell(Size::W, T1, 0);
        self.asm.mov_imm(Size::X, T0, self.place.version as u64);
        self.asm.ldr(Size::W, T0, T0);
        self.asm.sub(Size::W, T0, T0, T1);
    }

    /// Takes the instructions of a block from what is left, or goes out before it.
    fn charge(&mut self, to: usize) {
        let block = &self.region.blocks[to];
        let (ip, steps) = (block.ip, block.steps.len() as u64);
        if self.place.shared {
            self.compare_versions();
            let label = self.asm.label();
            self.asm.cbnz(Size::W, T0, label);
            self.stubs.push(Stub::Out { label, ip, recipe: self.recipe });
        }
        let label = self.asm.label();
        self.noisy().subs_imm(Size::W, LEFT, LEFT, super::twelve(steps));
        self.asm.b_cond(Cond::Mi, label);
        self.stubs.push(Stub::Budget { label, ip, recipe: self.recipe, steps });
    }

    /// Whether several ways lead to a block, so that nothing is known of how the flags follow.
    fn is_junction(&self, to: usize) -> bool {
        to == 0 || self.region.blocks[to].ways != 1
    }

    fn block(&mut self, n: usize) {
        let region = self.region;
        let block = &region.blocks[n];
        self.block_ip = block.ip;
        let label = self.blocks[n];
        self.asm.bind(label);
        self.host.flags = 0;
        (self.recipe, self.stored) = (Recipe::MEMORY, false);
        let steps = block.steps.len() as u32;
        if !self.is_junction(n) {
            self.recipe = self.recipes[n];
            self.charge(n);
        }
        self.load_vectors_of(block);
        for (k, s) in block.steps.clone().enumerate() {
            self.step = s;
            self.left = steps - k as u32;
            self.step(&region.steps[s], block, n);
        }
    }

    /// One instruction; the last of a block also goes on from there.
    fn step(&mut self, step: &Step, block: &Block, n: usize) {
        self.ops = step.ops.clone();
        self.step_site = None;
        self.next_recipe = None;
        self.made = None;
        self.settle_run(step);
        let last = self.left == 1;
        if let Work::Cold { cold, ends } = step.work {
            self.cold(step, block, cold, ends);
            if last {
                self.goes_on(block, n);
            }
            return;
        }
        self.put_early(step);
        let mut values = std::mem::take(&mut self.values);
        values.begin(self.ops(), |setter, w, each| self.setter_uses(setter, w, each));
        self.values = values;
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
            self.close_run();
            self.goes_on(block, n);
        }
        self.values.locs.clear();
    }

    /// The end of a conditional body.
    fn leave_body(&mut self) {
        if let Some(skip) = self.skip.take() {
            self.asm.bind(skip);
        }
        self.body = 0;
        self.host.flags = 0;
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
        let reg_of = |v: Val| match self.ops()[v.index()] {
            Op::Get(_, reg) if reg & slot::HIGH == 0 => Some(reg),
            _ => None,
        };
        let regs = put.map(|v| v.map(reg_of));
        if regs.contains(&Some(None)) || regs == [None, None] {
            return;
        }
        for (n, reg) in regs.into_iter().enumerate() {
            if let Some(Some(reg)) = reg {
                self.asm.str(Size::X, home(reg), spill(RECIPE_SPILLS + n as u8));
            }
        }
        self.early = true;
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
        self.carry_in_memory = false;
        let lowered = !self.without.has(Family::Flags);
        if counts && lowered && step.live & trine_x86::rflags::CF != 0 {
            self.save_carry(step.stops);
        }
        if step.live & !sets == 0 && !odd || self.recipe.kind == Kind::Memory {
            return;
        }
        let Recipe { x, y, .. } = self.recipe;
        self.recipe.x = self.keep_operand(x, RECIPE_SPILLS, written);
        self.recipe.y = self.keep_operand(y, RECIPE_SPILLS + 1, written);
    }

    fn keep_operand(&mut self, src: Src, n: u8, written: u32) -> Src {
        let Src::Reg(reg) = src else { return src };
        if written >> (reg & 31) & 1 == 0 {
            return src;
        }
        let mut from = home(reg);
        if reg & slot::HIGH != 0 {
            self.asm.ubfx(Size::W, T0, from, 8, 8);
            from = T0;
        }
        self.asm.str(Size::X, from, spill(n));
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
            Op::Vector(shape, at, general) => self.vector(n, shape, at, general),
            Op::X87(_) => unreachable!("this backend has no x87 operations"),
            Op::Imm(value) => self.define(n, Loc::Imm(value)),
            Op::Get(w, reg) => self.define(n, Loc::Guest(w, reg)),
            Op::Set(w, reg, v) => self.set(n, w, reg, v),
            Op::Near(w, disp) => self.near(n, w, disp),
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
            Op::Bin(op, w, a, b) => self.bin(n, op, w, a, b),
            Op::Un(op, w, a) => self.un(n, op, w, a),
            Op::Truncate(w, a) => self.truncate(n, w, a),
            Op::SignExtend(from, to, a) => self.sign_extend(n, from, to, a),
            Op::Select(c, a, b) => self.select(n, c, a, b),
            Op::Pure(f, a, b) => self.pure(n, f, a, b),
            Op::SetFlags(w, setter) => self.set_flags(w, setter),
            Op::Flag(flag) => self.flag(n, flag),
            Op::Flags => {
                self.call_image();
                self.defined(n, X0, Width::W16, true);
            }
            Op::Condition(code) => self.define(n, Loc::Condition(code)),
            Op::Jump(v) => self.look_up(v),
            Op::When(condition, end) => self.when(condition, usize::from(end)),
            Op::Stop => {
                let bail = self.bail();
                self.asm.b(bail);
            }
        }
    }

    /// Conditions become values before registers are taken for anything else, except where they
    /// are looked at directly.
    fn settle_conditions(&mut self, op: &Op) {
        if matches!(op, Op::Select(..)) && !self.without.has_op(op) {
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
            let condition = self.test_condition(code);
            let to = self.temp();
            self.quiet().cset(Size::W, to, condition);
            self.define(v.index(), Loc::Scratch(to, true));
        }
    }

    fn when(&mut self, condition: Val, end: usize) {
        self.settle();
        self.evict_all();
        let skip = self.asm.label();
        self.branch_if(condition, false, skip);
        self.body = end;
        self.skip = Some(skip);
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
        let at = self.site_at(site);
        let call = self.keep(ColdCall::new(cold, step.insn, block.ip, &at, ends));
        self.call_cold(call, site);
        self.stored = true;
        self.host.flags = 0;
        self.vectors = simd::IN_CORE;
    }

    /// A site of this region.
    pub(super) fn site_at(&self, number: u32) -> Site {
        self.out.sites[(number - self.place.sites) as usize]
    }

    /// Calls a [`ColdCall`] by its address.
    pub(super) fn call_cold(&mut self, call: u64, site: u32) {
        self.asm.mov_imm(Size::X, T0, call);
        self.put_number(T1, site);
        far_bl(&mut self.asm, self.place.code, self.place.runtime.cold);
    }

    /// [`Op::Jump`]: the step stops unless code is known for the target, and notes where it is.
    fn look_up(&mut self, v: Val) {
        if self.without.has(Family::Chain) {
            let bail = self.bail();
            return self.asm.b(bail);
        }
        let target = self.clean_reg(v);
        let bail = self.bail();
        let a = self.quiet();
        look_up_jump(a, target, bail);
        a.str(Size::X, T0, spill(JUMP_SPILL));
    }

    /// Goes to the code that T2 has the place of, for the target in T1.
    fn follow(&mut self) {
        if self.region.is_long() {
            self.asm.and_imm(Size::X, T1, T1, LogicalImm::new(Size::X, !0xfff).expect("a mask"));
            self.asm.str(Size::X, T1, super::origin());
        }
        self.asm.br(T2);
    }

    /// Behind the last step of a block.
    fn goes_on(&mut self, block: &Block, n: usize) {
        match block.end {
            End::Next => self.edge(block.next, block.inside[0], Some(n + 1)),
            End::Branch => self.branch(block, n),
            End::Goto => self.edge(block.taken, block.inside[1], Some(n + 1)),
            End::Jump => {
                self.remember();
                self.asm.ldr(Size::X, T0, spill(JUMP_SPILL));
                load_jump(&mut self.asm, T0);
                self.follow();
            }
            End::Cold => self.asm.udf(0),
            End::Stop => self.edge(block.next, None, None),
        }
    }

    /// The condition of the block's branch.
    fn branch(&mut self, block: &Block, n: usize) {
        let condition = self.ops().iter().find_map(|op| match *op {
            Op::Branch(condition) => condition,
            _ => None,
        });
        let Some(condition) = condition else { unreachable!("a block ends so by a condition") };
        if let Some(value) = self.constant(condition) {
            let (ip, inside) = match value != 0 {
                true => (block.taken, block.inside[1]),
                false => (block.next, block.inside[0]),
            };
            return self.edge(ip, inside, Some(n + 1));
        }
        match block.inside[1].filter(|_| !self.without.has(Family::Chain)) {
            // Those who come to a junction pay before they go.
            Some(to) if self.is_junction(to) => {
                let other = self.asm.label();
                self.branch_if(condition, false, other);
                // What is emitted for one way is not done on the other.
                let known = (self.recipe, self.stored, self.host);
                self.edge(block.taken, Some(to), None);
                self.asm.bind(other);
                (self.recipe, self.stored, self.host) = known;
            }
            Some(to) => {
                let label = self.blocks[to];
                self.branch_if(condition, true, label);
                self.recipes[to] = self.recipe;
            }
            None => {
                let label = self.asm.label();
                self.branch_if(condition, true, label);
                self.stubs.push(Stub::Out { label, ip: block.taken, recipe: self.recipe });
            }
        }
        self.edge(block.next, block.inside[0], Some(n + 1));
    }

    /// Goes to a place, which may be a block of the region; `next` is the one that is emitted next.
    fn edge(&mut self, ip: u64, inside: Option<usize>, next: Option<usize>) {
        // No value is wanted any more.
        self.values.begin(&[], |_, _, _| {});
        let chained = inside.filter(|_| !self.without.has(Family::Chain));
        let Some(to) = chained else { return self.go_out(ip) };
        if self.is_junction(to) {
            self.charge(to);
            if self.region.blocks[to].live_in != 0 {
                self.remember();
            }
        } else {
            self.recipes[to] = self.recipe;
        }
        if next != Some(to) {
            let label = self.blocks[to];
            self.asm.b(label);
        }
    }

    /// Leaves the region for a known place.
    fn go_out(&mut self, ip: u64) {
        self.remember();
        let exit = self.place.exits + self.out.exits.len() as u32;
        if self.without.has(Family::Chain) {
            self.out.exits.push(Exit { ip, cell: None });
            self.put_number(X0, exit);
            return self.leave(Reason::Exit);
        }
        if ip.wrapping_sub(self.place.page_ip) < 0x1000 {
            let cell = self.out.cells;
            self.out.cells += 1;
            self.out.exits.push(Exit { ip, cell: Some(self.place.cells + cell) });
            self.put_number(X0, exit);
            self.load_cell(Size::X, T0, cell);
            self.asm.br(T0);
            return;
        }
        self.out.exits.push(Exit { ip, cell: None });
        let (unknown, long) = (self.asm.label(), self.region.is_long());
        let a = &mut self.asm;
        match long {
            true => {
                a.ldr(Size::X, X1, super::origin());
                add_constant(a, Size::X, X1, X1, ip.cast_signed());
            }
            false => a.mov_imm(Size::X, X1, ip),
        }
        look_up_jump(a, X1, unknown);
        a.mov(Size::X, T1, X1);
        self.follow();
        self.stubs.push(Stub::Unknown { label: unknown, exit });
    }

    fn stubs(&mut self) {
        while let Some(stub) = self.stubs.pop() {
            self.stub(&stub);
        }
    }

    fn stub(&mut self, stub: &Stub) {
        (self.stored, self.host) = (false, Held::default());
        match *stub {
            Stub::Miss { label, found, lin, access, site, vectors } => {
                self.asm.bind(label);
                self.asm.mov(Size::X, T0, lin);
                self.put_number(T1, access);
                far_bl(&mut self.asm, self.place.code, self.place.runtime.miss);
                let fails = self.asm.label();
                self.asm.cbz(Size::W, T1, fails);
                self.call_vectors(vectors);
                self.entry_of(lin);
                self.asm.b(found);
                self.asm.bind(fails);
                self.put_number(X0, site);
                self.leave(Reason::Once);
            }
            Stub::Vectors { label, back, wanted } => {
                self.asm.bind(label);
                self.call_vectors(wanted);
                self.asm.b(back);
            }
            Stub::Redo { label, back, ref redo } => {
                self.asm.bind(label);
                self.redo(redo);
                self.asm.b(back);
            }
            Stub::Run { ref run, back } => {
                self.give_up(run);
                self.asm.b(back);
            }
            Stub::Once { label, site } => {
                self.asm.bind(label);
                self.put_number(X0, site);
                self.leave(Reason::Once);
            }
            Stub::Out { label, ip, recipe } => {
                self.asm.bind(label);
                self.recipe = recipe;
                self.go_out(ip);
            }
            Stub::Budget { label, ip, recipe, steps } => {
                self.asm.bind(label);
                self.asm.add_imm(Size::W, LEFT, LEFT, super::twelve(steps));
                self.recipe = recipe;
                self.remember();
                let exit = self.place.exits + self.out.exits.len() as u32;
                self.out.exits.push(Exit { ip, cell: None });
                self.put_number(X0, exit);
                self.leave(Reason::Budget);
            }
            Stub::Unknown { label, exit } => {
                self.asm.bind(label);
                self.put_number(X0, exit);
                self.leave(Reason::Exit);
            }
            Stub::Stale { label } => {
                self.asm.bind(label);
                self.put_number(X0, self.place.region);
                self.leave(Reason::Stale);
            }
        }
    }
}

/// X16 = the [`Jump`] for a target, X30 = its code, or it goes to `unknown`. X17 is used up.
fn look_up_jump(a: &mut Asm, target: Reg, unknown: Label) {
    const { assert!(JUMPS == 1 << 16) };
    a.uxth(T0, target);
    a.ldr(Size::X, T1, translated!(jumps));
    a.add_shifted(Size::X, T0, T1, T0, Shift::Lsl(size_of::<Jump>().trailing_zeros()));
    load_jump(a, T0);
    a.eor(Size::X, T1, T1, target);
    a.cbnz(Size::X, T1, unknown);
}

/// X17 and X30 = tag and code of the [`Jump`] at `at`.
fn load_jump(a: &mut Asm, at: Reg) {
    const { assert!(JUMP_IP == 0 && JUMP_CODE == 1) };
    a.ldp(Size::X, T1, T2, Address::from(at));
}
