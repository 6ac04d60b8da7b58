//! The flow of control: versions of blocks, edges between them, and what lies out of line.
//!
//! A block is emitted once for each way in which the flags follow where it is entered
//! ([`Version`]). So a loop's second round knows what its first one left, and nothing has to be
//! written down on the way. A version also knows which call it was reached from, so that a RET has a
//! guess. If there are too many ways, recipes are written to memory, and the version that looks there
//! serves.

use trine_x86::{Width, slot};

use super::{
    LEFT,
    asm::{Alu, Gpr, Label, Mem, RAX, RCX, RDX, cc},
    emit::{Emitter, Stub},
    slot, spill,
    values::Loc,
};
use crate::{
    code::{Exit, JUMP_CODE, JUMP_IP, Reason},
    family::Family,
    flags::Recipe,
    ir::{Block, End, Op},
    share,
};

/// The most versions of a block that know how the flags follow.
const VERSIONS: usize = 4;

/// The families without which accesses do not share.
const SHARING: [Family; 3] = [Family::Share, Family::Memory, Family::Atomic];

/// Where an edge leads: RIP, and which block of the region that is.
type Target = (u64, Option<usize>);

/// A block, or the rest of one, as it is emitted for those who come with the same knowledge.
#[derive(Clone, Copy)]
pub(super) struct Version {
    /// Which block.
    block: usize,
    /// The step from which on every access looks into the TLB for itself; else this is the whole.
    rest: Option<usize>,
    /// How the flags follow when it is entered.
    recipe: Recipe,
    /// The block to which the next RET will mostly go: that behind the last call.
    returns: Option<usize>,
    label: Label,
    done: bool,
}

impl Emitter<'_> {
    /// Emits the first block, and all that it leads to.
    pub(super) fn versions(&mut self) {
        self.follows = Some(self.version(0, Recipe::MEMORY));
        while let Some(n) = self.follows.take().or_else(|| self.pending()) {
            self.emit_version(n);
        }
    }

    /// A version that is still to be emitted; whole blocks first.
    fn pending(&self) -> Option<usize> {
        let pending = self.versions.iter().enumerate().filter(|(_, v)| !v.done);
        pending.min_by_key(|(_, v)| v.rest.is_some()).map(|(n, _)| n)
    }

    /// Where the present block goes on from the present step if its accesses cannot share.
    pub(super) fn alone(&mut self) -> Label {
        let label = self.asm.label();
        let (block, recipe, returns) = (self.block, self.recipe, self.returns);
        let rest = Some(self.step);
        self.versions.push(Version { block, rest, recipe, returns, label, done: false });
        label
    }

    /// The version of a block for those who come with this recipe. If it is another version, they
    /// have to write the recipe to memory.
    fn version(&mut self, block: usize, recipe: Recipe) -> usize {
        let known = self.versions.iter().filter(|v| v.block == block && v.rest.is_none()).count();
        let all = [(recipe, self.returns), (Recipe::MEMORY, self.returns), (Recipe::MEMORY, None)];
        // The more there are, the less each may know.
        let least = known.saturating_sub(VERSIONS - 1).min(all.len() - 1);
        for (n, (recipe, returns)) in all.into_iter().enumerate() {
            if let Some((version, _)) = self.find_version(block, recipe, returns) {
                return version;
            }
            if n == least {
                let label = self.asm.label();
                let version = Version { block, rest: None, recipe, returns, label, done: false };
                self.versions.push(version);
                break;
            }
        }
        self.versions.len() - 1
    }

    fn find_version(
        &self,
        block: usize,
        recipe: Recipe,
        returns: Option<usize>,
    ) -> Option<(usize, &Version)> {
        let mut versions = self.versions.iter().enumerate();
        versions.find(|(_, v)| {
            v.block == block && v.rest.is_none() && v.recipe == recipe && v.returns == returns
        })
    }

    fn emit_version(&mut self, n: usize) {
        let region = self.region;
        let Version { block: number, rest, recipe, returns, label, .. } = self.versions[n];
        self.versions[n].done = true;
        let block = &region.blocks[number];
        (self.block, self.block_ip) = (number, block.ip);
        self.asm.bind(label);
        (self.recipe, self.stored, self.host) = (recipe, false, 0);
        self.returns = returns;
        self.shared.clear();
        if rest.is_none() {
            self.charge(block);
            if !SHARING.into_iter().any(|family| self.without.has(family)) {
                self.shared = share::accesses(region, block.steps.clone());
            }
        }
        self.load_vectors_of(block);
        self.load_x87_of(block);
        self.near = None;
        for s in rest.unwrap_or(block.steps.start)..block.steps.end {
            self.step = s;
            self.left = (block.steps.end - s) as u32;
            if rest.is_some() {
                self.join_others(block);
            }
            self.step(&region.steps[s], block);
        }
    }

    /// In the rest of a block: others whose rest begins here come in.
    fn join_others(&mut self, block: &Block) {
        let (number, step, recipe) = (self.block, Some(self.step), self.recipe);
        let returns = self.returns;
        let joins = |v: &&mut Version| {
            !v.done
                && (v.block, v.rest) == (number, step)
                && (v.recipe, v.returns) == (recipe, returns)
        };
        let mut labels = Vec::new();
        for version in self.versions.iter_mut().filter(joins) {
            version.done = true;
            labels.push(version.label);
        }
        if !labels.is_empty() {
            labels.into_iter().for_each(|label| self.asm.bind(label));
            (self.stored, self.host, self.near) = (false, 0, None);
            self.load_vectors_of(block);
            self.load_x87_of(block);
        }
    }

    /// The entry: is the page still what was translated?
    pub(super) fn entry(&mut self) {
        self.compare_versions();
        let label = self.asm.label();
        self.asm.jcc(cc::NE, label);
        self.stubs.push(Stub::Stale { label });
    }

    /// Compares the page's version with the one that was translated.
    fn compare_versions(&mut self) {
        let version = self.cell(0);
        self.asm.mov_imm(RCX, self.place.version as u64);
        self.asm.load(Width::W32, RDX, version);
        self.asm.alu_from(Alu::Cmp, Width::W32, RDX, Mem::at(RCX, 0));
        self.host = 0;
    }

    /// Takes the instructions of a block from what is left, or goes out before it.
    fn charge(&mut self, block: &Block) {
        let (ip, steps) = (block.ip, block.steps.len() as u32);
        if self.place.shared {
            self.compare_versions();
            let label = self.asm.label();
            self.asm.jcc(cc::NE, label);
            self.stubs.push(Stub::Out { label, ip, recipe: self.recipe });
        }
        let label = self.asm.label();
        // These two are one for the host.
        self.asm.alu_imm(Alu::Sub, Width::W32, LEFT, steps.cast_signed());
        self.asm.jcc(cc::L, label);
        self.stubs.push(Stub::Budget { label, ip, steps, recipe: self.recipe });
        self.host = 0;
    }

    /// What comes behind a block, and its branch's target.
    fn targets(&self, block: &Block) -> [Target; 2] {
        let inside = match self.without.has(Family::Chain) {
            true => [None, None],
            false => block.inside,
        };
        [(block.next, inside[0]), (block.taken, inside[1])]
    }

    /// Behind the last step of a block.
    pub(super) fn goes_on(&mut self, block: &Block) {
        let [next, taken] = self.targets(block);
        match block.end {
            End::Next => self.edge(next),
            End::Branch => self.branch(next, taken),
            End::Goto => {
                if block.calls {
                    self.returns = block.inside[0];
                }
                self.edge(taken);
            }
            // All jumps are the interpreter's.
            End::Jump if self.without.has(Family::Chain) => self.asm.ud2(),
            End::Jump => {
                if let Some(to) = self.expected_return() {
                    return self.go_back(to);
                }
                self.load_entry();
                self.remember_but(RAX);
                self.follow_entry();
            }
            End::Cold => self.asm.ud2(),
            End::Stop => self.edge(next),
        }
    }

    /// The condition of the block's branch.
    fn branch(&mut self, next: Target, taken: Target) {
        let condition = self.ops().iter().find_map(|op| match *op {
            Op::Branch(condition) => condition,
            _ => None,
        });
        let Some(condition) = condition else { unreachable!("a block ends so by a condition") };
        if let Some(value) = self.constant(condition) {
            return match value {
                0 => self.edge(next),
                _ => self.edge(taken),
            };
        }
        let code = self.test_value(condition);
        // What is not there yet follows.
        if self.is_there(next) && !self.is_there(taken) {
            self.edge_if(code ^ 1, next);
            return self.edge(taken);
        }
        self.edge_if(code, taken);
        self.edge(next);
    }

    /// Whether code that goes there does not have to be emitted any more.
    fn is_there(&self, (_, inside): Target) -> bool {
        let there = |to| self.find_version(to, self.recipe, self.returns).is_some_and(|v| v.1.done);
        inside.is_none_or(there)
    }

    /// Goes to a place under a condition of the host's flags.
    fn edge_if(&mut self, code: u8, (ip, inside): Target) {
        let label = match inside {
            Some(to) => {
                let n = self.version(to, self.recipe);
                let Version { label, recipe, .. } = self.versions[n];
                if recipe == self.recipe {
                    return self.asm.jcc(code, label);
                }
                let stub = self.asm.label();
                self.stubs.push(Stub::Forget { label: stub, to: label, recipe: self.recipe });
                stub
            }
            None => {
                let label = self.asm.label();
                self.stubs.push(Stub::Out { label, ip, recipe: self.recipe });
                label
            }
        };
        self.asm.jcc(code, label);
    }

    /// Goes to a place.
    fn edge(&mut self, (ip, inside): Target) {
        // No value is wanted any more.
        self.values.begin(&[], |_| false, |_, _, _| {});
        let Some(to) = inside else { return self.go_out(ip) };
        let n = self.version(to, self.recipe);
        let Version { label, recipe, done, .. } = self.versions[n];
        if recipe != self.recipe {
            self.remember();
        }
        match done {
            true => self.asm.jmp(label),
            false => self.follows = Some(n),
        }
    }

    /// If the present step is a RET, and there is a guess where it goes: to which block.
    pub(super) fn expected_return(&self) -> Option<usize> {
        let pops = self.ops().iter().any(|op| matches!(op, Op::Set(_, slot::RSP, _)));
        self.returns.filter(|_| pops)
    }

    /// RAX = the entry of the jump cache that was looked up.
    fn load_entry(&mut self) {
        match self.values.locs[self.ops.len()] {
            Loc::Scratch(RAX, _) => {}
            Loc::Scratch(reg, _) => self.asm.load(Width::W64, RAX, reg),
            Loc::Spill(n) => self.asm.load(Width::W64, RAX, spill(n)),
            _ => unreachable!("it was looked up"),
        }
    }

    /// Goes where the jump cache's entry at RAX says.
    fn follow_entry(&mut self) {
        if self.region.is_long() {
            self.asm.load(Width::W64, RCX, Mem::at(RAX, 8 * JUMP_IP as i32));
        }
        self.follow();
    }

    /// The same, if RCX is the target already.
    fn follow(&mut self) {
        if self.region.is_long() {
            self.asm.alu_imm(Alu::And, Width::W64, RCX, -0x1000);
            self.asm.store(Width::W64, slot(slot::ORIGIN), RCX);
        }
        self.asm.jmp_to(Mem::at(RAX, 8 * JUMP_CODE as i32));
    }

    /// Behind a RET that has 0 in the place of its target's entry if it was the expected one.
    fn go_back(&mut self, to: usize) {
        let other = self.asm.label();
        self.load_entry();
        self.asm.test(Width::W64, RAX, RAX);
        self.asm.jcc(cc::NE, other);
        self.stubs.push(Stub::Elsewhere { label: other, recipe: self.recipe });
        (self.host, self.returns) = (0, None);
        self.edge((self.region.blocks[to].ip, Some(to)));
    }

    /// Leaves the region for a known place.
    fn go_out(&mut self, ip: u64) {
        self.remember();
        let exit = self.place.exits + self.out.exits.len() as u32;
        if self.without.has(Family::Chain) {
            self.out.exits.push(Exit { ip, cell: None });
            self.asm.mov_imm(RAX, u64::from(exit));
            return self.leave(Reason::Exit);
        }
        if ip.wrapping_sub(self.place.page_ip) < 0x1000 {
            let cell = self.out.cells;
            self.out.cells += 1;
            self.out.exits.push(Exit { ip, cell: Some(self.place.cells + cell) });
            self.asm.mov_imm(RAX, u64::from(exit));
            let cell = self.cell(cell);
            self.asm.jmp_to(cell);
            return;
        }
        self.out.exits.push(Exit { ip, cell: None });
        let unknown = self.asm.label();
        self.load_ip(RCX, ip);
        self.look_up_jump(RCX, unknown);
        self.follow();
        self.stubs.push(Stub::Unknown { label: unknown, exit });
    }

    pub(super) fn stubs(&mut self) {
        while let Some(stub) = self.stubs.pop() {
            self.stub(&stub);
        }
    }

    /// Writes the recipe to memory while a register holds something.
    fn remember_but(&mut self, reg: Gpr) {
        self.lock(reg);
        self.remember();
        self.unlock(reg);
    }

    fn go_elsewhere(&mut self, label: Label, recipe: Recipe) {
        self.asm.bind(label);
        self.recipe = recipe;
        self.remember_but(RAX);
        self.follow_entry();
    }

    fn look_up_after_all(&mut self, label: Label, back: Label, site: u32) {
        self.asm.bind(label);
        let once = self.asm.label();
        self.look_up_jump(RCX, once);
        self.asm.jmp(back);
        self.asm.bind(once);
        self.asm.mov_imm(RAX, u64::from(site));
        self.leave(Reason::Once);
    }

    fn stub(&mut self, stub: &Stub) {
        // Only the recipe came along.
        (self.stored, self.host) = (false, 0);
        match *stub {
            Stub::Miss { label, found, access } => {
                self.asm.bind(label);
                self.miss(access);
                self.asm.jmp(found);
            }
            Stub::Moved { label, back, behind, access, cursor } => {
                self.move_on((label, back, behind), access, cursor);
            }
            Stub::Stays { label, behind } => self.stay(label, behind),
            Stub::Elsewhere { label, recipe } => self.go_elsewhere(label, recipe),
            Stub::LookUp { label, back, site } => self.look_up_after_all(label, back, site),
            Stub::Hunch { label, back, hunch } => self.renew_hunch(label, back, hunch),
            Stub::Vectors { label, back, wanted } => {
                self.asm.bind(label);
                self.call_vectors(wanted);
                self.asm.jmp(back);
            }
            Stub::X87 { label, back } => {
                self.asm.bind(label);
                self.call_x87();
                self.asm.jmp(back);
            }
            Stub::Stale { label } => {
                self.asm.bind(label);
                self.asm.mov_imm(RAX, u64::from(self.place.region));
                self.leave(Reason::Stale);
            }
            Stub::Once { label, site } => {
                self.asm.bind(label);
                self.asm.mov_imm(RAX, u64::from(site));
                self.leave(Reason::Once);
            }
            Stub::Out { label, ip, recipe } => {
                self.asm.bind(label);
                self.recipe = recipe;
                self.go_out(ip);
            }
            Stub::Forget { label, to, recipe } => {
                self.asm.bind(label);
                self.recipe = recipe;
                self.remember();
                self.asm.jmp(to);
            }
            Stub::Budget { label, ip, steps, recipe } => {
                self.asm.bind(label);
                self.asm.alu_imm(Alu::Add, Width::W32, LEFT, steps.cast_signed());
                self.recipe = recipe;
                self.remember();
                let exit = self.place.exits + self.out.exits.len() as u32;
                self.out.exits.push(Exit { ip, cell: None });
                self.asm.mov_imm(RAX, u64::from(exit));
                self.leave(Reason::Budget);
            }
            Stub::Unknown { label, exit } => {
                self.asm.bind(label);
                self.asm.mov_imm(RAX, u64::from(exit));
                self.leave(Reason::Exit);
            }
        }
    }
}
