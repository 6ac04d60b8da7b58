//! A vCPU's side: finding code, entering it, and what to do when it comes back.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use trine_engine::Stats;
use trine_guest::Marked;
use trine_interp::{Above, Tier};
use trine_x86::{Core, Decoder, Seg, is_canonical, slot};

use crate::{
    cache::{Cache, State},
    code::{JUMP_CODE, JUMP_IP, JUMPS, Jump, Reason, jump_index, origin},
    flags::settle,
    x87::Room,
};

/// Instructions after which a vCPU comes out to look whether somebody calls: microseconds.
const SLICE: u64 = 65_536;

/// What may be chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// Entries of a block in the interpreter before it is translated.
    pub(crate) heat: u32,
    /// The most instructions of a block.
    pub(crate) steps: usize,
    /// How often at most that heat doubles where the guest's code keeps changing.
    pub(crate) doublings: u32,
}

/// What other vCPUs leave for one.
#[derive(Default)]
struct Mailbox {
    /// Pages that now hold code: offsets in RAM.
    pages: Mutex<Vec<u64>>,
    waiting: AtomicBool,
    /// It is inside of translated code, which trusts the TLB's write tags.
    inside: AtomicBool,
    /// It may also be about to store beside code, in granules that had none when it looked last.
    beside: AtomicBool,
}

/// All vCPUs of a machine.
#[derive(Default)]
pub(crate) struct Peers {
    boxes: Mutex<Vec<Weak<Mailbox>>>,
    count: AtomicUsize,
}

impl Peers {
    fn add(&self, mailbox: &Arc<Mailbox>) {
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(mailbox));
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Tells all others of code at `offset`, and waits for those who may be about to store there by
    /// what they have looked at before: all, if their tags do not know that the page holds code, and
    /// else those who said that they store beside code.
    fn ask(&self, own: &Arc<Mailbox>, offset: u64, new: Marked, mut meanwhile: impl FnMut()) {
        let peers = self.boxes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for peer in peers.iter().filter_map(Weak::upgrade) {
            let concerns = new == Marked::Page || peer.beside.load(Ordering::SeqCst);
            if !concerns || Arc::ptr_eq(&peer, own) {
                continue;
            }
            peer.pages.lock().unwrap_or_else(PoisonError::into_inner).push(offset);
            peer.waiting.store(true, Ordering::SeqCst);
            while peer.inside.load(Ordering::SeqCst) && peer.waiting.load(Ordering::SeqCst) {
                meanwhile();
                std::thread::yield_now();
            }
        }
    }

    /// Whether there is but one vCPU. All are made before any runs.
    fn are_alone(&self) -> bool {
        self.count.load(Ordering::Relaxed) < 2
    }
}

/// What a vCPU knows of a state.
#[derive(Default)]
struct Known {
    /// The state, and its number in the cache.
    state: Option<(State, u8)>,
    jumps: Jumps,
}

/// Known jump targets in a state.
struct Jumps {
    /// Its memory is the host's only where it is used.
    table: Box<[Jump]>,
    /// The entries in use: those of global pages, and others.
    global: List,
    local: List,
}

/// Numbers of entries, each once.
struct List {
    numbers: Vec<u16>,
    /// A bit for each entry: it is among them.
    has: Box<[u64]>,
}

impl Default for List {
    fn default() -> Self {
        Self { numbers: Vec::new(), has: vec![0; JUMPS / 64].into_boxed_slice() }
    }
}

impl List {
    fn add(&mut self, n: usize) {
        if self.has[n / 64] >> (n % 64) & 1 == 0 {
            self.has[n / 64] |= 1 << (n % 64);
            self.numbers.push(n as u16);
        }
    }

    fn take(&mut self) -> Option<usize> {
        let n = usize::from(self.numbers.pop()?);
        self.has[n / 64] &= !(1 << (n % 64));
        Some(n)
    }
}

impl Default for Jumps {
    fn default() -> Self {
        let table = vec![[0; 2]; JUMPS].into_boxed_slice();
        let mut jumps = Self { table, global: List::default(), local: List::default() };
        jumps.table[0][JUMP_IP] = nowhere(0);
        jumps
    }
}

impl Jumps {
    fn find(&self, ip: u64) -> Option<usize> {
        let known = self.table[jump_index(ip)];
        (known[JUMP_IP] == ip).then_some(known[JUMP_CODE] as usize)
    }

    /// `is_global`: what lies in global pages is known until those may be others.
    fn insert(&mut self, ip: u64, code: usize, is_global: bool) {
        let n = jump_index(ip);
        if is_global { &mut self.global } else { &mut self.local }.add(n);
        self.table[n] = [ip, code as u64];
    }

    /// There is something else at RIP, or nothing.
    fn forget(&mut self, ip: u64) {
        let n = jump_index(ip);
        if self.table[n][JUMP_IP] == ip {
            // It stays in the list.
            self.table[n][JUMP_IP] = nowhere(n);
        }
    }

    fn clear(&mut self) {
        self.clear_local();
        while let Some(n) = self.global.take() {
            self.table[n] = [nowhere(n), 0];
        }
    }

    fn clear_local(&mut self) {
        while let Some(n) = self.local.take() {
            self.table[n] = [nowhere(n), 0];
        }
    }
}

/// A RIP whose entry is not entry `n`.
fn nowhere(n: usize) -> u64 {
    u64::from(n == 0)
}

/// The tier above one vCPU's interpreter.
pub(crate) struct Translator {
    cache: Arc<Cache>,
    peers: Arc<Peers>,
    mailbox: Arc<Mailbox>,
    /// For the host's FPU.
    fpu: Box<Room>,
    tuning: Tuning,
    /// For what the jumps are right: the TLB's epoch for global pages, the cache's generation, the base
    /// of CS; and for those that are not of global pages the TLB's epoch.
    known: (u32, u32, u64),
    known_local: u32,
    /// The states that were looked for last; the first is the present one.
    states: [Known; 4],
    dirty_epoch: u32,
    entered: u64,
    /// Instructions retired inside.
    retired: u64,
}

impl Translator {
    pub(crate) fn new(
        cache: Arc<Cache>,
        peers: Arc<Peers>,
        core: &mut Core,
        tuning: Tuning,
    ) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        peers.add(&mailbox);
        core.quiet_writes = true;
        core.translated.ram = core.ram.host_address() as u64;
        core.translated.beside = std::ptr::from_ref(&mailbox.beside).expose_provenance() as u64;
        Self {
            cache,
            peers,
            mailbox,
            fpu: Box::default(),
            tuning,
            known: (0, 0, 0),
            known_local: 0,
            states: Default::default(),
            dirty_epoch: 0,
            entered: 0,
            retired: 0,
        }
    }

    fn read_mail(&self, core: &mut Core) {
        if self.mailbox.waiting.load(Ordering::SeqCst) {
            let mut pages = self.mailbox.pages.lock().unwrap_or_else(PoisonError::into_inner);
            for page in pages.drain(..) {
                core.tlb.set_loud(page);
            }
            self.mailbox.waiting.store(false, Ordering::SeqCst);
        }
    }

    /// Forgets jumps that may no longer be right.
    fn check_jumps(&mut self, core: &Core) {
        let base = if core.mode.is_64() { 0 } else { core.segments.seg[Seg::Cs as usize].base };
        let now = (core.tlb.global_epoch(), self.cache.generation(), base);
        let local = std::mem::replace(&mut self.known_local, core.tlb.epoch());
        if self.known == now {
            if local != self.known_local {
                self.states.iter_mut().for_each(|known| known.jumps.clear_local());
            }
        } else {
            for known in &mut self.states {
                known.jumps.clear();
                if self.known.1 != now.1 {
                    known.state = None;
                }
            }
            self.known = now;
        }
    }

    /// The code for RIP: what was there when it was last looked for, or the cache's.
    fn find(&mut self, core: &Core) -> Option<usize> {
        let state = State::of(core);
        let key = match self.states[0].state {
            Some((present, key)) if present == state => key,
            _ => self.change_state(state)?,
        };
        self.states[0].jumps.find(core.rip).or_else(|| self.look_up(core, key))
    }

    #[cold]
    fn look_up(&mut self, core: &Core, key: u8) -> Option<usize> {
        let lin = match core.mode.is_64() {
            true => core.rip,
            false => self.known.2.wrapping_add(core.rip) & 0xffff_ffff,
        };
        // Instructions are fetched as what the CPU is, whatever EFLAGS.AC allows data.
        let class =
            if core.cpl == 3 { trine_x86::Class::User } else { trine_x86::Class::Supervisor };
        let offset = core.tlb.fetches(class, lin).filter(|_| is_legal(core))?;
        let code = self.cache.find(core, key, offset)?;
        let is_global = core.tlb.fetches_globally(class, lin);
        self.states[0].jumps.insert(core.rip, code, is_global);
        Some(code)
    }

    /// Makes another state the present one: it is often one of the last few (user, kernel). Returns
    /// its number, if anything was made for it.
    fn change_state(&mut self, state: State) -> Option<u8> {
        let of = |known: &Known| known.state.filter(|(s, _)| *s == state).map(|(_, key)| key);
        if let Some((n, key)) =
            self.states.iter().enumerate().find_map(|(n, known)| Some((n, of(known)?)))
        {
            self.states.swap(0, n);
            return Some(key);
        }
        let key = self.cache.state(state)?;
        self.states.rotate_right(1);
        self.states[0].state = Some((state, key));
        self.states[0].jumps.clear();
        Some(key)
    }

    /// Makes code for RIP, which lies at `offset` in RAM, if it is there to stay.
    fn make(&mut self, core: &mut Core, decoder: &Decoder, offset: u64) {
        let lifted = self.cache.lift(core, decoder, offset, self.tuning.steps);
        let mut is_new = false;
        for (at, size) in lifted.bytes.places() {
            let marked = core.mark_code(at, size);
            self.code_is_marked(core, at, marked);
            is_new |= marked != Marked::Already;
        }
        // What was stored before a mark has not been counted.
        if !is_new || lifted.bytes.are_in(&core.ram) {
            self.cache.keep(lifted, !self.peers.are_alone());
        }
    }

    /// Enters code, and says why it came back, with a number.
    fn enter(&mut self, core: &mut Core, code: usize, end: u64) -> (Reason, u32) {
        let grant = (end - core.retired).min(SLICE);
        core.translated.end = core.retired + grant;
        core.translated.left = grant as i32;
        core.translated.jumps = self.states[0].jumps.table.as_ptr() as u64;
        core.regs[usize::from(slot::ORIGIN)] = origin(core.mode, core.rip);
        core.translated.fpu = std::ptr::from_mut(&mut *self.fpu) as u64;
        self.entered += 1;
        // SAFETY: the address is that of the runtime's entry, which keeps the C calling convention.
        let enter = unsafe { std::mem::transmute::<usize, Enter>(self.cache.runtime.enter) };
        // SAFETY: the code was made for this machine's RAM and for the state that the core is in, and
        // stays as long as this vCPU is inside. Nobody else has a reference to the core.
        let why = unsafe { enter(std::ptr::from_mut(core), code) };
        let reason = Reason::ALL[(why >> 32) as usize % Reason::COUNT];
        (reason, why as u32)
    }

    /// Runs what there is for RIP.
    fn run_inside(&mut self, core: &mut Core, end: u64) -> Above {
        let Some(code) = self.find(core) else {
            return Above::Cold;
        };
        let before = core.retired;
        let (reason, number) = self.enter(core, code, end);
        let above = self.after(core, reason, number);
        self.retired += core.retired - before;
        match above {
            // Fewer instructions are left than the first block has.
            Above::Ran if reason == Reason::Budget && core.retired == before => Above::Once,
            above => above,
        }
    }

    /// Brings the core in order after code came back.
    fn after(&mut self, core: &mut Core, reason: Reason, number: u32) -> Above {
        let (left, end) = (i64::from(core.translated.left), core.translated.end);
        let retired = |back: i64| end.wrapping_add_signed(-(left + back));
        let from_origin = core.regs[usize::from(slot::ORIGIN)];
        let at = |ip| from_origin.wrapping_add(ip);
        match reason {
            Reason::Exit | Reason::Budget => {
                let Some(exit) = self.cache.exit(number) else { return Above::Cold };
                core.retired = retired(0);
                core.rip = at(exit.ip);
                settle(core);
                // A cell joins code in one page of RAM for good. Under a map that this vCPU has yet to
                // hear of, the TLB may know the page as another one than when the code began.
                if let Some(cell) = exit.cell
                    && reason == Reason::Exit
                    && let Some(code) = self.find(core)
                    && core.knows_map()
                {
                    self.cache.link(cell, code);
                }
                Above::Ran
            }
            Reason::Stale => {
                let Some(ip) = self.cache.stale(number) else { return Above::Cold };
                core.retired = retired(0);
                core.rip = at(ip);
                settle(core);
                // Whoever jumped here looks again.
                self.states[0].jumps.forget(core.rip);
                Above::Ran
            }
            Reason::Once => {
                let Some(site) = self.cache.site(number) else { return Above::Cold };
                core.retired = retired(i64::from(site.back));
                core.rip = at(site.ip);
                site.recipe.remember(core);
                settle(core);
                Above::Once
            }
            Reason::Faulted => Above::Faulted,
            Reason::Ended => Above::Ended,
        }
    }
}

#[cfg(target_arch = "x86_64")]
type Enter = unsafe extern "sysv64" fn(*mut Core, usize) -> u64;
#[cfg(not(target_arch = "x86_64"))]
type Enter = unsafe extern "C" fn(*mut Core, usize) -> u64;

/// Whether RIP may be fetched from.
fn is_legal(core: &Core) -> bool {
    match core.mode.is_64() {
        true => is_canonical(core.rip, core.linear_bits()),
        false => core.rip <= u64::from(core.segments.seg[Seg::Cs as usize].limit),
    }
}

impl Tier for Translator {
    fn heat(&self) -> u32 {
        self.tuning.heat
    }

    fn begin(&mut self, core: &mut Core) {
        let epoch = core.ram.dirty_epoch();
        if self.dirty_epoch != epoch {
            self.dirty_epoch = epoch;
            core.tlb.set_all_loud();
        }
    }

    fn run(&mut self, core: &mut Core, end: u64) -> Above {
        self.check_jumps(core);
        // Nobody waits for the only vCPU of a machine.
        if self.peers.are_alone() {
            return self.run_inside(core, end);
        }
        self.mailbox.inside.store(true, Ordering::SeqCst);
        if self.mailbox.waiting.load(Ordering::SeqCst) {
            self.mailbox.inside.store(false, Ordering::SeqCst);
            self.read_mail(core);
            return Above::Ran;
        }
        let generation = self.cache.enter();
        // Whatever happens, nobody must wait for this vCPU for ever.
        let above = catch_unwind(AssertUnwindSafe(|| match generation == self.known.1 {
            true => self.run_inside(core, end),
            false => Above::Cold,
        }));
        self.cache.leave();
        self.mailbox.inside.store(false, Ordering::SeqCst);
        if self.mailbox.beside.load(Ordering::Relaxed) {
            self.mailbox.beside.store(false, Ordering::SeqCst);
        }
        above.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn translate(&mut self, core: &mut Core, decoder: &Decoder, offset: u64) -> bool {
        if self.cache.is_hopeless(core, offset) {
            return false;
        }
        let state = State::of(core);
        let known = |cache: &Cache, core: &Core| cache.find(core, cache.state(state)?, offset);
        if known(&self.cache, core).is_none() {
            if !self.cache.is_due(core, offset, self.tuning.doublings) {
                return false;
            }
            self.make(core, decoder, offset);
        }
        // Before it is found: if somebody empties the cache from here on, it counts as older.
        self.check_jumps(core);
        let Some(code) = known(&self.cache, core) else { return false };
        let present = self.states[0].state.is_some_and(|(present, _)| present == state);
        if !present && self.change_state(state).is_none() {
            return false;
        }
        self.states[0].jumps.insert(core.rip, code, false);
        true
    }

    fn code_is_marked(&mut self, core: &mut Core, offset: u64, new: Marked) {
        if new == Marked::Already || self.peers.are_alone() {
            return;
        }
        self.peers.ask(&self.mailbox, offset, new, || self.read_mail(core));
    }

    fn clear(&mut self, _: &mut Core) {
        self.states.iter_mut().for_each(|known| known.jumps.clear());
    }

    fn stats(&self, stats: Stats) -> Stats {
        let (translations, translations_stale) = self.cache.translations();
        Stats {
            blocks_entered: stats.blocks_entered + self.entered,
            code_bytes: self.cache.code_bytes(),
            instructions_translated: self.retired,
            translations,
            translations_stale,
            translation_flushes: u64::from(self.cache.generation()),
            ..stats
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether who marks code waits for a peer that is inside and maybe stores beside code.
    fn waits(new: Marked, beside: bool) -> bool {
        let (peers, own, peer) = (Peers::default(), Arc::default(), Arc::<Mailbox>::default());
        peers.add(&own);
        peers.add(&peer);
        peer.inside.store(true, Ordering::SeqCst);
        peer.beside.store(beside, Ordering::SeqCst);
        let mut waited = false;
        peers.ask(&own, 0x1000, new, || {
            waited = true;
            peer.inside.store(false, Ordering::SeqCst);
        });
        assert_eq!(peer.waiting.load(Ordering::SeqCst), waited, "it has mail");
        waited
    }

    #[test]
    fn who_marks_code_waits_for_those_who_store_by_an_older_look() {
        assert!(waits(Marked::Page, false) && waits(Marked::Page, true));
        assert!(waits(Marked::Granule, true) && !waits(Marked::Granule, false));
    }

    #[test]
    fn a_target_that_was_forgotten_is_cleared_as_well() {
        let mut jumps = Jumps::default();
        // Nothing is known there, as after a flush.
        jumps.forget(0x1000);
        jumps.insert(0x1000, 1, false);
        assert_eq!(jumps.find(0x1000), Some(1));
        jumps.forget(0x1000);
        assert_eq!(jumps.find(0x1000), None);
        jumps.insert(0x1000, 2, false);
        assert_eq!((jumps.find(0x1000), jumps.local.numbers.len()), (Some(2), 1));
        jumps.clear();
        assert_eq!(jumps.find(0x1000), None);
    }

    #[test]
    fn targets_in_global_pages_outlive_others() {
        let mut jumps = Jumps::default();
        jumps.insert(0x1000, 1, true);
        jumps.insert(0x2000, 2, false);
        // In the places of others.
        jumps.insert(0x1000 + JUMPS as u64, 3, false);
        jumps.insert(0x3000, 4, false);
        jumps.insert(0x3000 + JUMPS as u64, 5, true);
        jumps.insert(0x4000, 6, true);
        jumps.clear_local();
        let found = [0x1000, 0x2000, 0x1000 + JUMPS as u64, 0x4000].map(|ip| jumps.find(ip));
        assert_eq!(found, [None, None, None, Some(6)]);
        jumps.insert(0x3000 + JUMPS as u64, 5, true);
        jumps.clear_local();
        assert_eq!(jumps.find(0x3000 + JUMPS as u64), Some(5));
        jumps.clear();
        assert_eq!((jumps.find(0x4000), jumps.find(0x3000 + JUMPS as u64)), (None, None));
    }
}
