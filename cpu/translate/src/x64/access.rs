//! Memory accesses: the inline look into the TLB, and what is done at the place it finds.
//!
//! RCX holds the linear address, then the offset in RAM; RAX and RDX are used up on the way.

use std::mem::offset_of;

use trine_x86::{Class, Extent, Rmw, Seg, Tlb, Width};

use super::{
    LEFT, TLB_HOST, TLB_READ, TLB_WRITE,
    asm::{Alu, Gpr, Label, Mem, R11, RAX, RCX, RDX, Rm, Unary, cc},
    base,
    emit::{Emitter, Stub},
    extent, near, slot, tlb,
    values::{Loc, Operand},
};
use crate::{
    code::Runtime,
    family::Family,
    helper,
    ir::{Op, Val},
    share::{Shared, Span},
    walk,
};

/// An access as those see it who have to look for its page.
#[derive(Clone, Copy)]
pub(super) struct Access {
    bytes: u32,
    write: bool,
    /// It only reads now: see [`helper::WRITE_LATER`].
    later: bool,
    /// It stands for several: if they do not all hit, each is on its own.
    alone: Option<Label>,
    /// Where it stops.
    site: u32,
    /// What the host's vector registers, ...
    vectors: u32,
    /// ... and its FPU hold.
    x87: bool,
}

/// A [`trine_x86::Cursor`].
#[derive(Clone, Copy)]
pub(super) struct Cursor {
    /// Its array, ...
    cursors: usize,
    /// ... and its place there.
    n: usize,
}

impl Access {
    /// As helpers want it.
    fn number(self) -> u32 {
        let kind = match (self.write, self.later) {
            (true, true) => helper::WRITE_LATER,
            (true, false) => helper::WRITE,
            _ => 0,
        };
        self.bytes | kind
    }
}

impl Cursor {
    fn part(self, part: usize) -> Mem {
        super::cursor(self.cursors, self.n, part)
    }

    fn page(self) -> Mem {
        self.part(offset_of!(trine_x86::Cursor, page))
    }

    fn room(self) -> Mem {
        self.part(offset_of!(trine_x86::Cursor, room))
    }

    fn host(self) -> Mem {
        self.part(offset_of!(trine_x86::Cursor, host))
    }

    fn addend(self) -> Mem {
        self.part(offset_of!(trine_x86::Cursor, addend))
    }

    fn left(self) -> Mem {
        self.part(offset_of!(trine_x86::Cursor, left))
    }

    fn patience(self) -> Mem {
        self.part(offset_of!(trine_x86::Cursor, patience))
    }
}

impl Emitter<'_> {
    /// [`Op::Address`] as an operand of LEA; loads what has no register into temporaries.
    pub(super) fn address(&mut self, n: usize, op: Op) {
        let Op::Address { w, base, index, disp } = op else { return };
        if let (Some(reg), None, Ok(disp)) = (base, index, i32::try_from(disp))
            && w >= Width::W32
        {
            return self.define(n, Loc::Sum(w, reg, disp));
        }
        let to = self.result(n, w.max(Width::W32));
        let base = base.map(|reg| self.address_part(reg));
        let index = index.map(|(reg, scale)| (self.address_part(reg), scale));
        let (low, rest) = match i32::try_from(disp) {
            Ok(low) => (low, None),
            Err(_) => (0, Some(disp)),
        };
        let wide = w.max(Width::W32);
        let mem = Mem { base, index, disp: low };
        self.quiet().lea(if rest.is_some() { Width::W64 } else { wide }, to, mem);
        if let Some(rest) = rest {
            let more = self.temp();
            self.quiet().mov_imm(more, rest.cast_unsigned());
            self.quiet().lea(wide, to, Mem::indexed(to, more, 0));
        }
        if w == Width::W16 {
            self.quiet().load(Width::W16, to, to);
        }
        self.defined(n, to, w, true);
    }

    fn address_part(&mut self, reg: u8) -> Gpr {
        super::home(reg).unwrap_or_else(|| {
            let to = self.temp();
            self.address_part_in(to, reg)
        })
    }

    /// The same where all registers may be in use: `to` is free for it.
    fn address_part_in(&mut self, to: Gpr, reg: u8) -> Gpr {
        super::home(reg).unwrap_or_else(|| {
            self.quiet().load(Width::W64, to, slot(reg));
            to
        })
    }

    /// [`Op::Linear`].
    pub(super) fn linear(
        &mut self,
        n: usize,
        w: Width,
        seg: Seg,
        offset: Val,
        write: bool,
        long: bool,
    ) {
        let base = base(seg);
        let to = self.temp();
        if long {
            self.move_clean(to, offset);
            self.noisy().alu_from(Alu::Add, Width::W64, to, base);
            return self.defined(n, to, Width::W64, true);
        }
        self.move_clean(to, offset);
        let end = self.temp();
        self.quiet().lea(Width::W64, end, Mem::at(to, w.bytes() as i32));
        let part = if write { offset_of!(Extent, write_end) } else { offset_of!(Extent, read_end) };
        self.noisy().alu_from(Alu::Cmp, Width::W64, end, extent(seg, part));
        let bail = self.bail();
        self.quiet().jcc(cc::A, bail);
        self.noisy().alu_from(Alu::Add, Width::W32, to, base);
        self.defined(n, to, Width::W32, true);
    }

    /// RCX = the host's address of `w` at linear address `at`, or the step stops.
    fn find(&mut self, w: Width, at: Val, write: bool) {
        let place = self.reach(w.bytes() as u32, at, write, false);
        if place != Self::found() {
            self.quiet().lea(Width::W64, RCX, place);
            self.unlock(RDX);
            self.near = None;
        }
    }

    /// If the operation's access shares a look into the TLB: which.
    pub(super) fn shared(&self, op: usize) -> Option<Shared> {
        let at = self.shared.binary_search_by_key(&(self.ops.start + op), |(op, _)| *op);
        at.ok().map(|n| self.shared[n].1)
    }

    /// The place of any number of bytes that is a power of two, until RCX changes; if asked for, the
    /// step stops unless they are aligned.
    pub(super) fn reach(&mut self, bytes: u32, at: Val, write: bool, aligned: bool) -> Mem {
        if let Some(shared) = self.shared(self.now) {
            if aligned {
                // Before anything is looked up, which would set bits in page tables.
                self.claim(RDX);
                let from = self.address_part_in(RDX, shared.base);
                self.quiet().lea(Width::W32, RDX, Mem::at(from, shared.disp));
                self.stop_unless_aligned(RDX, bytes);
                self.unlock(RDX);
            }
            return self.reach_near(shared);
        }
        if self.loc(at) != Loc::Scratch(RCX, true) || self.values.last[at.index()] > self.now {
            self.claim(RCX);
            self.move_clean(RCX, at);
        } else {
            self.lock(RCX);
        }
        self.claim(RAX);
        self.claim(RDX);
        let site = self.site();
        let (access, class) = (self.access(bytes, write, site), self.place.class);
        if aligned {
            self.stop_unless_aligned(RCX, bytes);
        }
        if !self.without.has(Family::Walk) && walk::walks(self.ops(), at, self.steady[self.block]) {
            // The others are for registers.
            self.cursors += 1;
            let cursor = Self::cursor(access, class, 16 + self.cursors % 16);
            let behind = self.asm.label();
            self.walk(access, cursor, Some(behind));
            self.noisy().alu_from(Alu::Add, Width::W64, RCX, cursor.host());
            self.asm.bind(behind);
        } else {
            self.look(access);
            if self.is_late(at) {
                self.have_hunch(site);
                self.unlock(RAX);
                return Mem::indexed(RDX, RCX, 0);
            }
            self.noisy().alu_from(Alu::Add, Width::W64, RCX, tlb(class, RAX, TLB_HOST));
        }
        self.unlock(RAX);
        self.unlock(RDX);
        Self::found()
    }

    /// An access that stops at `site`, here and now.
    fn access(&self, bytes: u32, write: bool, site: u32) -> Access {
        let (vectors, x87) = (self.vectors, self.x87.loaded);
        Access { bytes, write, later: false, alone: None, site, vectors, x87 }
    }

    /// Whether an address follows from what was loaded just before.
    fn is_late(&self, at: Val) -> bool {
        let is = |reg: u8| self.late >> (reg & 31) & 1 != 0;
        match self.ops()[at.index()] {
            Op::Get(_, reg) => is(reg),
            Op::Address { base, index, .. } => {
                base.is_some_and(is) || index.is_some_and(|(reg, _)| is(reg))
            }
            _ => false,
        }
    }

    /// RDX = what the TLB has to be added to RCX, but does not wait for that: pointers that are followed,
    /// and tables that are looked up by what was loaded, would wait for two loads each time. RAX is
    /// where the entry is.
    fn have_hunch(&mut self, site: u32) {
        let (wrong, back) = (self.asm.label(), self.asm.label());
        let (class, hunch) = (self.place.class, site as usize);
        let a = self.noisy();
        a.load(Width::W64, RDX, super::hunch(hunch));
        a.alu_from(Alu::Cmp, Width::W64, RDX, tlb(class, RAX, TLB_HOST));
        a.jcc(cc::NE, wrong);
        a.bind(back);
        self.stubs.push(Stub::Hunch { label: wrong, back, hunch });
    }

    /// RAX = where the entry for RCX is, which has the right tag, or else allows this access once;
    /// RDX = the page.
    fn look(&mut self, access: Access) {
        let (found, miss) = (self.asm.label(), self.asm.label());
        let class = self.place.class;
        let a = self.noisy();
        a.shifted_right(RAX, RCX, Tlb::SLOT_SHIFT as u8);
        a.alu_imm(Alu::And, Width::W32, RAX, Tlb::SLOT_MASK as i32);
        if access.bytes > 1 {
            a.lea(Width::W64, RDX, Mem::at(RCX, access.bytes as i32 - 1));
        } else {
            a.store(Width::W64, RDX, RCX);
        }
        a.alu_imm(Alu::And, Width::W64, RDX, -0x1000);
        let tag = if access.write { TLB_WRITE } else { TLB_READ };
        a.alu_from(Alu::Cmp, Width::W64, RDX, tlb(class, RAX, tag));
        a.jcc(cc::NE, miss);
        a.bind(found);
        self.stubs.push(Stub::Miss { label: miss, found, access });
    }

    /// RCX = the distance of what RCX points to from the page of a cursor. Or it goes on behind
    /// what makes the host's address of that.
    fn walk(&mut self, access: Access, cursor: Cursor, behind: Option<Label>) {
        let (moved, back) = (self.asm.label(), self.asm.label());
        let a = self.noisy();
        a.alu_from(Alu::Sub, Width::W64, RCX, cursor.page());
        a.alu_from(Alu::Cmp, Width::W64, RCX, cursor.room());
        a.jcc(cc::AE, moved);
        a.bind(back);
        self.stubs.push(Stub::Moved { label: moved, back, behind, access, cursor });
    }

    /// A cursor for an access.
    fn cursor(access: Access, class: Class, n: usize) -> Cursor {
        let size = trine_x86::Cursor::size(access.bytes.into());
        const { assert!(trine_x86::Cursor::COUNT == 32) };
        Cursor { cursors: Tlb::cursors(class, access.write, size), n }
    }

    /// Out of line: RCX, the distance from the cursor's page, is no place in it. Takes it to another
    /// page, with room for others there if stores need not ask; but if it moves all the time, that
    /// costs more than it saves.
    pub(super) fn move_on(
        &mut self,
        (label, back, behind): (Label, Label, Option<Label>),
        access: Access,
        cursor: Cursor,
    ) {
        self.asm.bind(label);
        self.asm.alu_from(Alu::Add, Width::W64, RCX, cursor.page());
        if behind.is_some() {
            self.lose_patience(cursor);
        }
        self.look(access);
        if let Some(behind) = behind {
            let stays = self.asm.label();
            self.asm.alu_imm(Alu::Cmp, Width::W32, cursor.patience(), 0);
            self.asm.jcc(cc::L, stays);
            self.stubs.push(Stub::Stays { label: stays, behind });
        }
        let class = self.place.class;
        let size = trine_x86::Cursor::size(access.bytes.into());
        let room = 0x1001 - trine_x86::Cursor::SIZES[size] as i32;
        self.asm.store_imm(Width::W64, cursor.room(), room);
        if access.write {
            let quiet = self.asm.label();
            self.asm.alu_from(Alu::Cmp, Width::W64, RDX, tlb(class, RAX, TLB_WRITE));
            self.asm.jcc(cc::E, quiet);
            self.asm.store_imm(Width::W64, cursor.room(), 0);
            self.asm.bind(quiet);
        }
        self.asm.load(Width::W64, RAX, tlb(class, RAX, TLB_HOST));
        self.asm.store(Width::W64, cursor.addend(), RAX);
        self.asm.alu(Alu::Add, Width::W64, RAX, RDX);
        self.asm.store(Width::W64, cursor.host(), RAX);
        self.asm.store(Width::W64, cursor.page(), RDX);
        let used = super::cursors_used(cursor.cursors / 8);
        self.asm.alu_imm(Alu::Or, Width::W8, used, 1 << (cursor.cursors % 8));
        self.asm.alu(Alu::Sub, Width::W64, RCX, RDX);
        self.asm.jmp(back);
    }

    /// A cursor that moves soon after it moved has less patience, until it has none; then it stays
    /// for a while.
    fn lose_patience(&mut self, cursor: Cursor) {
        const SOON: i32 = 256;
        const PATIENCE: i32 = 16;
        const WHILE: i32 = 4096;
        let (calm, decided) = (self.asm.label(), self.asm.label());
        let a = &mut self.asm;
        a.load(Width::W32, RAX, cursor.left());
        a.store(Width::W32, cursor.left(), LEFT);
        a.alu(Alu::Sub, Width::W32, RAX, LEFT);
        a.alu_imm(Alu::Cmp, Width::W32, RAX, SOON);
        a.jcc(cc::AE, calm);
        a.alu_imm(Alu::Sub, Width::W32, cursor.patience(), 1);
        a.alu_imm(Alu::Cmp, Width::W32, cursor.patience(), -WHILE);
        a.jcc(cc::GE, decided);
        a.bind(calm);
        a.store_imm(Width::W32, cursor.patience(), PATIENCE);
        a.bind(decided);
    }

    /// Out of line: RCX is where the host has what it points to, by the entry at RAX.
    pub(super) fn stay(&mut self, label: Label, behind: Label) {
        self.asm.bind(label);
        self.asm.alu_from(Alu::Add, Width::W64, RCX, tlb(self.place.class, RAX, TLB_HOST));
        self.asm.jmp(behind);
    }

    /// Out of line: asks for an entry for RCX, or stops. RDX is the page of the last byte.
    pub(super) fn miss(&mut self, access: Access) {
        let Runtime { miss, try_miss, .. } = self.place.runtime;
        if let Some(alone) = access.alone {
            // If that is another page, there is no entry for both.
            self.asm.alu(Alu::Xor, Width::W64, RDX, RCX);
            self.asm.alu_imm(Alu::And, Width::W64, RDX, -0x1000);
            self.asm.jcc(cc::NE, alone);
            self.call_miss(access, try_miss);
            self.asm.jcc(cc::E, alone);
        } else {
            self.asm.mov_imm(RAX, u64::from(access.site));
            self.call_miss(access, miss);
        }
        self.load_again(access);
    }

    fn call_miss(&mut self, access: Access, miss: usize) {
        self.asm.mov_imm(RDX, u64::from(access.number()));
        let miss = self.far(miss);
        self.asm.call(miss);
    }

    /// Behind a call: loads what the host held before.
    fn load_again(&mut self, access: Access) {
        self.call_vectors(access.vectors);
        if access.x87 {
            self.call_x87();
        }
    }

    /// Out of line: what the TLB gives, after all.
    pub(super) fn renew_hunch(&mut self, label: Label, back: Label, hunch: usize) {
        self.asm.bind(label);
        self.asm.load(Width::W64, RDX, tlb(self.place.class, RAX, TLB_HOST));
        self.asm.store(Width::W64, super::hunch(hunch), RDX);
        self.asm.jmp(back);
    }

    fn stop_unless_aligned(&mut self, address: Gpr, bytes: u32) {
        let bail = self.bail();
        self.noisy().test_byte(address, bytes as u8 - 1);
        self.quiet().jcc(cc::NE, bail);
    }

    /// The place of an access that shares a look; the first one looks.
    fn reach_near(&mut self, shared: Shared) -> Mem {
        let Shared { base, disp, look } = shared;
        let long = self.insn().mode.is_64();
        let is_there = self.near == Some(base);
        self.claim(RCX);
        if let Some(span) = look {
            self.look_near(base, span, long);
        } else if !is_there {
            let addend = self.nears[usize::from(base)];
            self.quiet().load(Width::W64, RCX, addend);
        }
        match super::home(base) {
            Some(home) if long => {
                self.near = Some(base);
                Mem::indexed(RCX, home, disp)
            }
            Some(home) => {
                self.claim(RDX);
                self.quiet().lea(Width::W32, RDX, Mem::at(home, disp));
                Mem::indexed(RCX, RDX, 0)
            }
            None => {
                self.noisy().alu_from(Alu::Add, Width::W64, RCX, slot(base));
                Mem::at(RCX, disp)
            }
        }
    }

    /// RCX = what takes addresses near a register to the host's.
    fn look_near(&mut self, base: u8, span: Span, long: bool) {
        self.claim(RAX);
        self.claim(RDX);
        let from = self.address_part_in(RCX, base);
        let w = if long { Width::W64 } else { Width::W32 };
        self.quiet().lea(w, RCX, Mem::at(from, span.start));
        let alone = Some(self.alone());
        let access = Access { later: span.later, alone, ..self.access(span.bytes, span.write, 0) };
        let class = self.place.class;
        let kept = if self.steady[self.block] >> base & 1 != 0 {
            let cursor = Self::cursor(access, class, base.into());
            self.walk(access, cursor, None);
            self.quiet().load(Width::W64, RCX, cursor.addend());
            cursor.addend()
        } else {
            self.look(access);
            self.quiet().load(Width::W64, RCX, tlb(class, RAX, TLB_HOST));
            self.quiet().store(Width::W64, near(base), RCX);
            near(base)
        };
        self.nears[usize::from(base)] = kept;
        self.unlock(RAX);
        self.unlock(RDX);
    }

    /// The place that [`Emitter::find`] found.
    pub(super) fn found() -> Mem {
        Mem::at(RCX, 0)
    }

    /// [`Op::Load`].
    pub(super) fn load(&mut self, n: usize, w: Width, at: Val) {
        let place = self.reach(w.bytes() as u32, at, false, false);
        let to = self.target(n, false).unwrap_or_else(|| self.temp());
        self.quiet().load(w, to, place);
        self.defined(n, to, w, true);
    }

    /// [`Op::Store`].
    pub(super) fn store(&mut self, w: Width, at: Val, v: Val) {
        let place = self.reach(w.bytes() as u32, at, true, false);
        self.store_to(w, place, v);
    }

    fn store_to(&mut self, w: Width, mem: Mem, v: Val) {
        match self.operand(v, w) {
            Operand::Imm(imm) => self.quiet().store_imm(w, mem, imm),
            Operand::Rm(Rm::R(reg)) => self.quiet().store(w, mem, reg),
            Operand::Rm(rm) => {
                let reg = self.temp();
                self.quiet().load(Width::W64, reg, rm);
                self.quiet().store(w, mem, reg);
            }
        }
    }

    /// [`Op::Open`]: the place stays known until the commit.
    pub(super) fn open(&mut self, n: usize, w: Width, at: Val) {
        self.find(w, at, true);
        let place = self.ops.len();
        if self.values.last[place] > n && self.values.last[place] < place {
            // It stays in RCX, from now on as a value.
            if let Some(v) = self.values.locs.iter().position(|l| matches!(l, Loc::Scratch(RCX, _)))
            {
                self.values.locs[v] = Loc::None;
            }
            self.define(place, Loc::Scratch(RCX, true));
        }
        self.load_found_opened(n, w);
    }

    fn load_found_opened(&mut self, n: usize, w: Width) {
        if self.values.last[n] <= n {
            return;
        }
        let to = self.temp();
        self.quiet().load(w, to, Self::found());
        self.defined(n, to, w, true);
    }

    /// [`Op::Commit`].
    pub(super) fn commit(&mut self, w: Width, v: Val) {
        let place = self.ops.len();
        let at = match self.values.locs[place] {
            Loc::Scratch(reg, _) => {
                self.lock(reg);
                reg
            }
            Loc::Spill(spilled) => {
                let reg = self.temp();
                self.quiet().load(Width::W64, reg, super::spill(spilled));
                reg
            }
            _ => unreachable!("it was opened"),
        };
        self.store_to(w, Mem::at(at, 0), v);
    }

    /// [`Op::Update`].
    pub(super) fn update(&mut self, n: usize, w: Width, at: Val, op: Rmw, operand: Val) {
        let carry = matches!(op, Rmw::Adc | Rmw::Sbb);
        if carry {
            // It has to be known before registers are taken.
            self.ensure(trine_x86::rflags::CF);
            let to = self.temp();
            self.quiet().setcc(cc::B, to);
            self.quiet().store(Width::W8, super::spill(super::HELPER_SPILLS), to);
            self.unlock(to);
        }
        self.find(w, at, true);
        self.claim(RAX);
        self.claim(R11);
        let old = match op {
            Rmw::Xchg => {
                self.move_to(R11, operand, w);
                self.quiet().xchg(w, Self::found(), R11);
                R11
            }
            Rmw::Add | Rmw::Sub => {
                self.move_to(R11, operand, w);
                if op == Rmw::Sub {
                    self.noisy().unary(Unary::Neg, Width::W64, R11);
                }
                self.noisy().lock_xadd(w, Self::found(), R11);
                R11
            }
            _ => {
                self.update_loop(w, op, operand);
                RAX
            }
        };
        self.defined(n, old, w, false);
    }

    /// RAX = what was there, replaced by compare-and-swap.
    fn update_loop(&mut self, w: Width, op: Rmw, operand: Val) {
        let wide = w.max(Width::W32);
        self.claim(RDX);
        self.move_to(RDX, operand, w);
        self.quiet().load(w, RAX, Self::found());
        let again = self.asm.label();
        let carry = super::spill(super::HELPER_SPILLS);
        let a = self.noisy();
        a.bind(again);
        a.store(wide, R11, RAX);
        match op {
            Rmw::And => a.alu(Alu::And, wide, R11, RDX),
            Rmw::Or => a.alu(Alu::Or, wide, R11, RDX),
            Rmw::Xor => a.alu(Alu::Xor, wide, R11, RDX),
            Rmw::Neg => a.unary(Unary::Neg, wide, R11),
            Rmw::Adc | Rmw::Sbb => {
                a.bt_imm(Width::W32, carry, 0);
                a.alu(if op == Rmw::Adc { Alu::Adc } else { Alu::Sbb }, wide, R11, RDX);
            }
            Rmw::Xchg | Rmw::Add | Rmw::Sub => unreachable!("these need no loop"),
        }
        a.lock_cmpxchg(w, Mem::at(RCX, 0), R11);
        a.jcc(cc::NE, again);
    }

    /// [`Op::CompareExchange`].
    pub(super) fn compare_exchange(
        &mut self,
        n: usize,
        w: Width,
        at: Val,
        expected: Val,
        new: Val,
    ) {
        self.find(w, at, true);
        self.claim(RAX);
        self.claim(R11);
        self.move_to(R11, new, w);
        self.move_to(RAX, expected, w);
        self.noisy().lock_cmpxchg(w, Self::found(), R11);
        self.defined(n, RAX, w, false);
    }
}
