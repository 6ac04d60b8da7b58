//! A vCPU's side: finding code, entering it, and what to do when it comes back.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use trine_engine::Stats;
use trine_interp::{Above, Tier};
use trine_x86::{Core, Decoder, Seg, is_canonical};

use crate::{
    cache::{Cache, State},
    code::{JUMP_CODE, JUMP_IP, JUMPS, Jump, Reason, jump_index},
    flags::settle,
    x87::Room,
};

/// Instructions after which a vCPU comes out to look whether somebody calls: microseconds.
const SLICE: u64 = 16_384;

/// What may be chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// Entries of a block in the interpreter before it is translated.
    pub(crate) heat: u32,
    /// The most instructions of a block.
    pub(crate) steps: usize,
}

/// What other vCPUs leave for one.
#[derive(Default)]
struct Mailbox {
    /// Pages that now hold code: offsets in RAM.
    pages: Mutex<Vec<u64>>,
    waiting: AtomicBool,
    /// It is inside of translated code, which trusts the TLB's write tags.
    inside: AtomicBool,
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
    /// The entries in use.
    filled: Vec<u16>,
}

impl Default for Jumps {
    fn default() -> Self {
        let table = vec![[0; 2]; JUMPS].into_boxed_slice();
        let mut jumps = Self { table, filled: Vec::new() };
        jumps.table[0][JUMP_IP] = nowhere(0);
        jumps
    }
}

impl Jumps {
    fn find(&self, ip: u64) -> Option<usize> {
        let known = self.table[jump_index(ip)];
        (known[JUMP_IP] == ip).then_some(known[JUMP_CODE] as usize)
    }

    fn insert(&mut self, ip: u64, code: usize) {
        let n = jump_index(ip);
        if self.table[n][JUMP_CODE] == 0 {
            self.filled.push(n as u16);
        }
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
        while let Some(n) = self.filled.pop() {
            let n = usize::from(n);
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
    /// For what the jumps are right: the TLB's epoch, the cache's generation, the base of CS.
    known: (u32, u32, u64),
    /// The states that were looked for last; the first is the present one.
    states: [Known; 4],
    dirty_epoch: u32,
    entered: u64,
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
        Self {
            cache,
            peers,
            mailbox,
            fpu: Box::default(),
            tuning,
            known: (0, 0, 0),
            states: Default::default(),
            dirty_epoch: 0,
            entered: 0,
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
        let now = (core.tlb.epoch(), self.cache.generation(), base);
        if self.known != now {
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
        let code = self.cache.find(core.rip, key, offset)?;
        self.states[0].jumps.insert(core.rip, code);
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

    /// Enters code, and says why it came back, with a number.
    fn enter(&mut self, core: &mut Core, code: usize, end: u64) -> (Reason, u32) {
        let grant = (end - core.retired).min(SLICE);
        core.translated.end = core.retired + grant;
        core.translated.left = grant as i32;
        core.translated.jumps = self.states[0].jumps.table.as_ptr() as u64;
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
        match self.after(core, reason, number) {
            // Fewer instructions are left than the first block has.
            Above::Ran if reason == Reason::Budget && core.retired == before => Above::Once,
            above => above,
        }
    }

    /// Brings the core in order after code came back.
    fn after(&mut self, core: &mut Core, reason: Reason, number: u32) -> Above {
        let (left, end) = (i64::from(core.translated.left), core.translated.end);
        let retired = |back: i64| end.wrapping_add_signed(-(left + back));
        match reason {
            Reason::Exit | Reason::Budget => {
                let Some(exit) = self.cache.exit(number) else { return Above::Cold };
                core.retired = retired(0);
                core.rip = exit.ip;
                settle(core);
                if let Some(cell) = exit.cell
                    && reason == Reason::Exit
                    && let Some(code) = self.find(core)
                {
                    self.cache.link(cell, code);
                }
                Above::Ran
            }
            Reason::Stale => {
                let Some(ip) = self.cache.stale(number) else { return Above::Cold };
                core.retired = retired(0);
                core.rip = ip;
                settle(core);
                // Whoever jumped here looks again.
                self.states[0].jumps.forget(ip);
                Above::Ran
            }
            Reason::Once => {
                let Some(site) = self.cache.site(number) else { return Above::Cold };
                core.retired = retired(i64::from(site.back));
                core.rip = site.ip;
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
        let above = match generation == self.known.1 {
            true => self.run_inside(core, end),
            false => Above::Cold,
        };
        self.cache.leave();
        self.mailbox.inside.store(false, Ordering::SeqCst);
        above
    }

    fn translate(&mut self, core: &mut Core, decoder: &Decoder, offset: u64) -> bool {
        if self.cache.is_hopeless(core, offset) {
            return false;
        }
        let state = State::of(core);
        let known = |cache: &Cache| cache.find(core.rip, cache.state(state)?, offset);
        if known(&self.cache).is_none() {
            let shared = !self.peers.are_alone();
            self.cache.translate(core, decoder, offset, self.tuning.steps, shared);
        }
        // Before it is found: if somebody empties the cache from here on, it counts as older.
        self.check_jumps(core);
        let Some(code) = known(&self.cache) else { return false };
        let present = self.states[0].state.is_some_and(|(present, _)| present == state);
        if !present && self.change_state(state).is_none() {
            return false;
        }
        self.states[0].jumps.insert(core.rip, code);
        true
    }

    fn page_holds_code(&mut self, core: &mut Core, offset: u64) {
        let peers = self.peers.boxes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for peer in peers.iter().filter_map(Weak::upgrade) {
            if Arc::ptr_eq(&peer, &self.mailbox) {
                continue;
            }
            peer.pages.lock().unwrap_or_else(PoisonError::into_inner).push(offset);
            peer.waiting.store(true, Ordering::SeqCst);
            // Its stores by tags that it has not yet forgotten must be over before bytes are read.
            while peer.inside.load(Ordering::SeqCst) && peer.waiting.load(Ordering::SeqCst) {
                self.read_mail(core);
                std::thread::yield_now();
            }
        }
    }

    fn clear(&mut self, _: &mut Core) {
        self.states.iter_mut().for_each(|known| known.jumps.clear());
    }

    fn stats(&self, stats: Stats) -> Stats {
        Stats {
            blocks_entered: stats.blocks_entered + self.entered,
            code_bytes: self.cache.code_bytes(),
            ..stats
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_was_forgotten_is_cleared_as_well() {
        let mut jumps = Jumps::default();
        // Nothing is known there, as after a flush.
        jumps.forget(0x1000);
        jumps.insert(0x1000, 1);
        assert_eq!(jumps.find(0x1000), Some(1));
        jumps.forget(0x1000);
        assert_eq!(jumps.find(0x1000), None);
        jumps.insert(0x1000, 2);
        assert_eq!((jumps.find(0x1000), jumps.filled.len()), (Some(2), 1));
        jumps.clear();
        assert_eq!(jumps.find(0x1000), None);
    }
}
