//! The evaluator: a backend whose code is the IR itself, for tests.
//!
//! It takes the place of host code and nothing else: regions, the order in which budgets are
//! charged, sites, exits, links between regions, cold calls and whatever stops an instruction are
//! what they are for the other backends. So what it does wrong is wrong in lifting or in a pass,
//! and what only another backend does wrong is wrong there. It needs nothing of a host, and does
//! all that a backend can be asked for, vector instructions included.
//!
//! It is stricter than host code. Every region has to keep the [`rules`] when it is made, every
//! value its width when it is computed, and flags that nobody may look at any more, as the passes
//! say, are inverted: who looks all the same is found out.

mod op;
mod rules;

pub(crate) use op::evaluate;

use std::{
    ptr::with_exposed_provenance,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use trine_x86::{Class, Core, Insn, Width, rflags::ARITHMETIC, slot};

use crate::{
    code::{
        Backend, ColdCall, Emitted, Exit, JUMP_CODE, JUMP_IP, JUMPS, Jump, Place, Reason, Runtime,
        Site, jump_index, origin,
    },
    flags::Recipe,
    helper::{call_cold, host_functions},
    ir::{Block, End, Op, Region, Step, Val, Work, width_of},
    simd::{Shape, Usable, is_vector},
};

/// The backend.
pub(crate) struct Evaluator;

impl Backend for Evaluator {
    fn runtime(&self, _: usize) -> (Vec<u8>, Runtime) {
        let enter = enter as *const () as usize;
        (Vec::new(), Runtime { enter, ..Runtime::default() })
    }

    fn is_vector(&self, insn: &Insn, usable: Usable) -> bool {
        usable.allows(insn) && is_vector(insn.code)
    }

    fn crosses_pages(&self) -> bool {
        true
    }

    /// The bytes are the address of a [`Program`].
    fn emit(&self, region: &Region, place: &Place) -> Emitted {
        rules::check(region);
        let program = Box::new(Program::new(region.clone(), *place));
        Emitted {
            code: std::ptr::from_ref(&*program).expose_provenance().to_ne_bytes().to_vec(),
            sites: program.sites.clone(),
            exits: program.exits.clone(),
            cells: 1 + program.exits.iter().filter(|exit| exit.cell.is_some()).count(),
            kept: vec![program],
        }
    }
}

host_functions! {
    /// Evaluates regions from the one whose code is at `code` on. Returns the reason to leave, and
    /// its number in the lower half.
    ///
    /// # Safety
    /// As [`crate::vcpu`] enters host code: `code` is the place of a region made by [`Evaluator`]
    /// that is still in the cache, and nobody else has a reference to the core.
    fn enter(core: *mut Core, code: usize) -> u64 {
        // SAFETY: by contract.
        let core = unsafe { &mut *core };
        let mut code = code;
        loop {
            // SAFETY: `code` is a place in the cache where the evaluator's bytes are, because all
            // links lead to such places. They are the address of a program that the cache keeps as
            // long as vCPUs are inside.
            let program: &Program = unsafe {
                let address = *with_exposed_provenance::<usize>(code);
                &*with_exposed_provenance(address)
            };
            match (Run { program, core, values: Vec::new() }).region() {
                Way::Code(next) => code = next,
                Way::Out(reason, number) => return (reason as u64) << 32 | u64::from(number),
            }
        }
    }
}

/// A region, and what is around it.
struct Program {
    region: Region,
    place: Place,
    /// One for each step.
    sites: Vec<Site>,
    /// One for each address to which the region's blocks lead, or at which they begin.
    exits: Vec<Exit>,
    /// The cold call of each step that is one.
    colds: Vec<Option<ColdCall>>,
}

impl Program {
    fn new(region: Region, place: Place) -> Self {
        let (mut sites, mut exits, mut colds) = (Vec::new(), Vec::<Exit>::new(), Vec::new());
        let mut cells = place.cells + 1;
        for block in &region.blocks {
            for ip in [block.ip, block.next, block.taken] {
                if exits.iter().all(|exit| exit.ip != ip) {
                    let inside = ip.wrapping_sub(place.page_ip) < 0x1000;
                    let cell = inside.then_some(cells);
                    cells += usize::from(inside);
                    exits.push(Exit { ip, cell });
                }
            }
        }
        // Steps lie in the order of their blocks.
        for block in &region.blocks {
            for s in block.steps.clone() {
                let (step, back) = (&region.steps[s], (block.steps.end - s) as u32);
                let site = Site::new(block.ip, &step.insn, back, Recipe::MEMORY);
                sites.push(site);
                colds.push(match step.work {
                    Work::Cold { cold, ends } => {
                        Some(ColdCall::new(cold, step.insn, block.ip, &site, ends))
                    }
                    _ => None,
                });
            }
        }
        Self { region, place, sites, exits, colds }
    }

    /// A cell of the region.
    fn cell(&self, n: usize) -> u64 {
        let at = self.place.cell_base + 8 * n;
        // SAFETY: one of the cells that the cache has reserved for this region. The cache, too,
        // accesses them as atomics.
        let cell = unsafe { &*with_exposed_provenance::<AtomicU64>(at) };
        cell.load(Ordering::Acquire)
    }

    /// Whether the page is what it was when it was last compared.
    fn is_fresh(&self) -> bool {
        u64::from(version(self.place.version)) == self.cell(self.place.cells)
    }
}

/// The version of a guest's page.
fn version(address: usize) -> u32 {
    // SAFETY: such addresses come from `Ram::code_version_address` of the guest's RAM, which lives
    // as long as its engine.
    let word = unsafe { &*with_exposed_provenance::<AtomicU32>(address) };
    word.load(Ordering::Acquire)
}

/// A way out of a region.
#[derive(Clone, Copy)]
enum Way {
    /// To that code.
    Code(usize),
    /// Out of translated code.
    Out(Reason, u32),
}

/// Where a step leads.
#[derive(Clone, Copy)]
enum Onward {
    /// To the next one.
    Next,
    /// To [`Block::taken`].
    Taken,
    /// To that RIP, for which there is that code.
    Code(u64, usize),
}

/// A vCPU inside of a region.
struct Run<'a> {
    program: &'a Program,
    core: &'a mut Core,
    /// What the operations of the present step have made.
    values: Vec<u64>,
}

impl Run<'_> {
    fn region(&mut self) -> Way {
        if !self.program.is_fresh() {
            return Way::Out(Reason::Stale, self.program.place.region);
        }
        let mut block = self.charge(0);
        loop {
            match block {
                Ok(n) => block = self.block(n),
                Err(way) => return way,
            }
        }
    }

    /// Takes the instructions of a block from what is left, or goes out before it.
    fn charge(&mut self, to: usize) -> Result<usize, Way> {
        let block = &self.program.region.blocks[to];
        if self.program.place.shared && !self.program.is_fresh() {
            return Err(self.go_out(block.ip));
        }
        let (left, steps) = (self.core.translated.left, block.steps.len() as i32);
        if left < steps {
            return Err(Way::Out(Reason::Budget, self.exit(block.ip).0));
        }
        self.core.translated.left = left - steps;
        self.forget(!block.live_in);
        Ok(to)
    }

    /// Flags that nobody looks at become wrong.
    fn forget(&mut self, dead: u64) {
        let dead = dead & ARITHMETIC;
        if dead != 0 {
            let bits = self.core.flags.bits();
            self.core.flags.set_masked(dead, !bits);
        }
    }

    /// The next block inside of the region.
    fn block(&mut self, n: usize) -> Result<usize, Way> {
        let program = self.program;
        let block = &program.region.blocks[n];
        let mut onward = Onward::Next;
        for s in block.steps.clone() {
            onward = self.step(block, s)?;
            self.forget(!program.region.steps[s].live);
        }
        let (ip, inside) = match (block.end, onward) {
            (_, Onward::Code(ip, code)) => {
                self.set_origin(ip);
                return Err(Way::Code(code));
            }
            (End::Branch | End::Goto, Onward::Taken) => (block.taken, block.inside[1]),
            _ => (block.next, block.inside[0]),
        };
        match inside {
            Some(to) => self.charge(to),
            None => Err(self.go_out(ip)),
        }
    }

    /// The exit that leads to an address.
    fn exit(&self, ip: u64) -> (u32, Exit) {
        let exits = &self.program.exits;
        let n = exits.iter().position(|exit| exit.ip == ip).expect("all were made");
        (self.program.place.exits + n as u32, exits[n])
    }

    /// Leaves the region for a known address.
    fn go_out(&mut self, ip: u64) -> Way {
        let (number, exit) = self.exit(ip);
        let to = self.origin().wrapping_add(ip);
        let code = match exit.cell {
            // A cell that leads nowhere has the address of no code.
            Some(cell) => Some(self.program.cell(cell) as usize).filter(|code| *code != 0),
            None => self.known(to),
        };
        let Some(code) = code else { return Way::Out(Reason::Exit, number) };
        self.set_origin(to);
        Way::Code(code)
    }

    /// What the region's RIPs are counted from.
    fn origin(&self) -> u64 {
        self.core.regs[usize::from(slot::ORIGIN)]
    }

    /// For the region at `ip`, which comes next.
    fn set_origin(&mut self, ip: u64) {
        self.core.regs[usize::from(slot::ORIGIN)] = origin(self.core.mode, ip);
    }

    /// What the vCPU's table says of a jump target.
    fn known(&self, ip: u64) -> Option<usize> {
        let table = self.core.translated.jumps as usize;
        // SAFETY: the address of the vCPU's own table, to which nobody writes meanwhile.
        let jumps = unsafe { &*with_exposed_provenance::<[Jump; JUMPS]>(table) };
        let jump = jumps[jump_index(ip)];
        (jump[JUMP_IP] == ip).then_some(jump[JUMP_CODE] as usize)
    }

    /// One instruction.
    fn step(&mut self, block: &Block, s: usize) -> Result<Onward, Way> {
        let program = self.program;
        let step = &program.region.steps[s];
        let number = program.place.sites + s as u32;
        let once = Way::Out(Reason::Once, number);
        if step.straddles && !self.beyond_holds() {
            return Err(once);
        }
        if let Some(call) = &program.colds[s] {
            return match call_cold(self.core, call) {
                Some(reason) => Err(Way::Out(reason, number)),
                None => Ok(Onward::Next),
            };
        }
        self.operations(block, step, &program.sites[s]).ok_or(once)
    }

    /// Whether the next page still lies where it lay, and nobody has stored to it.
    fn beyond_holds(&self) -> bool {
        let Some(beyond) = self.program.region.beyond else { return true };
        let user = self.program.place.class == Class::User;
        let class = if user { Class::User } else { Class::Supervisor };
        let lin = self.origin().wrapping_add(beyond.lin);
        self.core.tlb.fetches(class, lin) == Some(beyond.offset)
            && version(beyond.version) == beyond.known
    }

    /// The operations of a step; `None` if one stops.
    fn operations(&mut self, block: &Block, step: &Step, site: &Site) -> Option<Onward> {
        let ops = &self.program.region.ops[step.ops.clone()];
        let mut onward = Onward::Next;
        self.values.clear();
        while let Some(op) = ops.get(self.values.len()) {
            let [a, b, c] = self.arguments(op);
            let n = self.values.len();
            let made = match *op {
                Op::Nop => 0,
                Op::Imm(value) => value,
                Op::Get(w, reg) => self.core.get(w, reg),
                Op::Set(w, reg, _) => {
                    rules::check_width(w, a, &step.insn);
                    self.core.set(w, reg, a);
                    0
                }
                Op::Jump(_) => {
                    onward = Onward::Code(a, self.known(a)?);
                    0
                }
                Op::Branch(condition) => {
                    onward = if condition.is_none() || a != 0 { Onward::Taken } else { onward };
                    0
                }
                Op::When(_, end) => {
                    if a == 0 {
                        self.values.resize(usize::from(end), 0);
                        continue;
                    }
                    0
                }
                Op::Vector(shape, at, _) => self.vector(block, step, site, shape, at.map(|_| a))?,
                Op::Stop => return None,
                ref op => {
                    rules::check_arguments(op, [a, b, c], &step.insn);
                    op::evaluate(self.core, op, [a, b, c])?
                }
            };
            rules::check_width(width_of(ops, Val(n as u16)), made, &step.insn);
            self.values.push(made);
        }
        Some(onward)
    }

    /// The values that an operation uses, in the order of [`Op::uses`]; those of an address are
    /// registers.
    fn arguments(&self, op: &Op) -> [u64; 3] {
        let mut arguments = [0; 3];
        if let Op::Address { base, index, .. } = *op {
            let get = |reg| self.core.get(Width::W64, reg);
            return [base.map_or(0, get), index.map_or(0, |(reg, _)| get(reg)), 0];
        }
        let mut places = arguments.iter_mut();
        op.uses(|v| {
            if let Some(place) = places.next() {
                *place = self.values[v.index()];
            }
        });
        arguments
    }

    /// [`Op::Vector`]: what [`Shape`] promises, then the instruction's function. The value is what
    /// that function has left for the operations that follow.
    fn vector(
        &mut self,
        block: &Block,
        step: &Step,
        site: &Site,
        shape: Shape,
        at: Option<u64>,
    ) -> Option<u64> {
        let Work::Vector(cold) = step.work else { unreachable!("it has a function") };
        if let Some(lin) = at {
            if shape.aligned && lin & (u64::from(shape.bytes) - 1) != 0 {
                return None;
            }
            op::find(self.core, u64::from(shape.bytes), lin, shape.store)?;
        }
        let at = |ip| self.origin().wrapping_add(ip);
        let (block_ip, next) = (at(block.ip), at(site.next));
        let core = &mut *self.core;
        core.regs[usize::from(slot::BLOCK_IP)] = block_ip;
        core.rip = next;
        let done = (cold.run)(core, &step.insn);
        assert!(done.is_ok(), "{:?} was said to raise nothing: {:?}", step.insn.code, core.raised);
        Some(match shape.writes {
            Some(reg) => core.get(Width::W64, reg),
            None if shape.compares => core.flags.bits(),
            None => 0,
        })
    }
}
