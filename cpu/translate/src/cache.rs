//! All translated code of a machine, and what is known about it.
//!
//! Regions are found by where their first byte lies in RAM, by RIP as far as they depend on it, and by
//! the state that they were made for. They are only ever added: a region whose bytes changed is no
//! longer found, and its entry refuses; when the memory is full, everything goes at once, while no vCPU
//! is inside.

use std::{
    collections::HashMap,
    hash::BuildHasherDefault,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use trine_guest::{CodeNear, PAGE_SIZE, Ram};
use trine_interp::Mix;
use trine_x86::{Class, Core, Decoder, Mode, Seg, is_canonical, rflags};

use crate::{
    code::{Backend, Exit, Kept, Place, Reason, Runtime, Site, origin},
    ir::{Beyond, Region},
    lift,
    memory::{CodeMemory, Way},
    passes,
    simd::Usable,
};

/// Everything beside the place on which a translation depends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    mode: Mode,
    class: Class,
    limit: u32,
    linear_bits: u32,
    vectors: Usable,
    backwards: bool,
}

impl State {
    /// That of a vCPU now.
    #[must_use]
    pub fn of(core: &Core) -> Self {
        let limit = core.segments.seg[Seg::Cs as usize].limit;
        Self {
            mode: core.mode,
            class: core.class,
            limit: if core.mode.is_64() { u32::MAX } else { limit },
            linear_bits: core.linear_bits(),
            vectors: Usable::of(core),
            backwards: core.system_flags & rflags::DF != 0,
        }
    }
}

/// The most states at a time; their numbers are part of jump tags.
const STATES: usize = 60;

/// Where a region is found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    /// Of its first byte in RAM.
    offset: u64,
    /// RIP outside of 64-bit mode, and near addresses that are not canonical: branches there are
    /// not legal. Else 0: a program has the same code wherever it lies.
    ip: u64,
    state: u8,
}

impl Key {
    /// Of the code for RIP, which lies at `offset` in RAM, in the state of that number.
    fn new(core: &Core, offset: u64, state: u8) -> Self {
        // The longest way of a branch, and more.
        const FAR: u64 = 1 << 32;
        let legal = |ip| is_canonical(ip, core.linear_bits());
        let free = core.mode.is_64()
            && legal(core.rip.wrapping_sub(FAR))
            && legal(core.rip.wrapping_add(FAR));
        Self { offset, ip: if free { 0 } else { core.rip }, state }
    }
}

struct Translated {
    key: Key,
    /// RIP, from its origin.
    ip: u64,
    /// Where it is entered; 0 if there is nothing to enter.
    entry: usize,
    /// Its first cell.
    cell: usize,
    /// The version of the page at which its bytes were last compared.
    version: u32,
    /// What it was made of.
    bytes: Bytes,
}

/// The bytes of which a region was made.
pub struct Bytes {
    /// The page's offset in RAM.
    page: u64,
    /// Offsets in it, and what lies there.
    pieces: Vec<(u16, Box<[u8]>)>,
}

impl Bytes {
    /// Where they are: offsets in RAM, and how many bytes there, which lie in one page.
    pub fn places(&self) -> impl Iterator<Item = (u64, u64)> {
        self.pieces.iter().map(|(start, part)| (self.page + u64::from(*start), part.len() as u64))
    }

    /// Whether they are what lies there now.
    #[must_use]
    pub fn are_in(&self, ram: &Ram) -> bool {
        let mut now = [0; PAGE_SIZE as usize];
        self.pieces.iter().all(|(start, part)| {
            let now = &mut now[..part.len()];
            ram.load_bytes(self.page + u64::from(*start), now);
            now == &**part
        })
    }
}

/// A region that was read, before code is made of it.
pub struct Lifted {
    region: Region,
    state: State,
    /// Where it will be found; the state's number is yet to come.
    key: Key,
    /// RIP, from its origin.
    ip: u64,
    /// The page's version before it was read.
    version: u32,
    /// What was read. It has to be marked as code, and compared once more, before code is kept.
    pub bytes: Bytes,
}

/// A place whose code changes.
#[derive(Default)]
struct Restless {
    /// How often it has changed after code was made of it.
    changes: u32,
    /// How often somebody wanted code since.
    asked: u32,
}

/// The part that changes.
struct Contents {
    memory: CodeMemory,
    used: usize,
    cells: usize,
    states: Vec<State>,
    regions: Vec<Translated>,
    found: HashMap<Key, u32, BuildHasherDefault<Mix>>,
    /// Where code was made in vain, because the guest changed its own.
    restless: HashMap<Key, Restless>,
    /// Regions whose bytes the guest has changed, since the beginning.
    stale: u64,
    sites: Vec<Site>,
    exits: Vec<Exit>,
    /// Code has their addresses.
    kept: Vec<Kept>,
}

/// The cache.
pub struct Cache {
    backend: Box<dyn Backend>,
    ram: Arc<Ram>,
    contents: Mutex<Contents>,
    /// The shared code.
    pub runtime: Runtime,
    runtime_len: usize,
    /// Nobody may be inside while code is written.
    switches: bool,
    /// vCPUs inside of translated code.
    inside: AtomicU32,
    /// Somebody wants to be alone, or is.
    emptying: AtomicBool,
    generation: AtomicU32,
    /// Bytes of code made since the beginning.
    code_bytes: AtomicU64,
    /// Regions translated since the beginning.
    translations: AtomicU64,
}

impl Cache {
    /// A cache of `len` bytes of code for guests in `ram`. `way` is the best one; another is taken
    /// where the host refuses it.
    ///
    /// # Errors
    /// If the host gives no memory for code.
    pub fn new(ram: Arc<Ram>, backend: Box<dyn Backend>, way: Way, len: usize) -> io::Result<Self> {
        let (mut memory, way) = memory(way, len)?;
        let (code, runtime) = backend.runtime(memory.base());
        memory.write(0, &code)?;
        let runtime_len = code.len().next_multiple_of(64);
        let contents = Contents {
            memory,
            used: runtime_len,
            cells: 0,
            states: Vec::new(),
            regions: Vec::new(),
            found: HashMap::default(),
            restless: HashMap::new(),
            stale: 0,
            sites: Vec::new(),
            exits: Vec::new(),
            kept: Vec::new(),
        };
        Ok(Self {
            backend,
            ram,
            contents: Mutex::new(contents),
            runtime,
            runtime_len,
            switches: way == Way::Switch,
            inside: AtomicU32::new(0),
            emptying: AtomicBool::new(false),
            generation: AtomicU32::new(0),
            code_bytes: AtomicU64::new(0),
            translations: AtomicU64::new(0),
        })
    }

    fn contents(&self) -> std::sync::MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Bytes of code made since the beginning.
    #[must_use]
    pub fn code_bytes(&self) -> u64 {
        self.code_bytes.load(Ordering::Relaxed)
    }

    /// Regions translated since the beginning, and those of them that the guest has changed.
    #[must_use]
    pub fn translations(&self) -> (u64, u64) {
        (self.translations.load(Ordering::Relaxed), self.contents().stale)
    }

    /// A vCPU goes inside. Returns the generation: whoever remembers code of an older one forgets it.
    pub fn enter(&self) -> u32 {
        loop {
            self.inside.fetch_add(1, Ordering::SeqCst);
            if !self.emptying.load(Ordering::SeqCst) {
                return self.generation.load(Ordering::Relaxed);
            }
            self.inside.fetch_sub(1, Ordering::SeqCst);
            std::thread::yield_now();
        }
    }

    /// It comes out.
    pub fn leave(&self) {
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    /// The present generation.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::SeqCst)
    }

    /// The number of a state, if anything was made for it.
    #[must_use]
    pub fn state(&self, state: State) -> Option<u8> {
        self.contents().states.iter().position(|s| *s == state).map(|n| n as u8)
    }

    /// The code for RIP, which lies at `offset` in RAM, in the state of that number.
    #[must_use]
    pub fn find(&self, core: &Core, state: u8, offset: u64) -> Option<usize> {
        let mut c = self.contents();
        let number = *c.found.get(&Key::new(core, offset, state))?;
        c.fresh(&self.ram, number)
    }

    /// Whether RIP has been looked at, and nothing could be made of it, in the page as it is.
    #[must_use]
    pub fn is_hopeless(&self, core: &Core, offset: u64) -> bool {
        let c = self.contents();
        let Some(state) = c.states.iter().position(|s| *s == State::of(core)) else { return false };
        let key = Key::new(core, offset, state as u8);
        c.found.get(&key).is_some_and(|n| {
            let region = &c.regions[*n as usize];
            region.entry == 0 && region.version == self.ram.code_version(offset)
        })
    }

    /// Whether code should be made for RIP, which lies at `offset` in RAM and of which there is none:
    /// at once if that was never in vain, and for each time that it was, up to `most`, when twice as
    /// many have asked.
    #[must_use]
    pub fn is_due(&self, core: &Core, offset: u64, most: u32) -> bool {
        let mut c = self.contents();
        let Some(state) = c.states.iter().position(|s| *s == State::of(core)) else { return true };
        let key = Key::new(core, offset, state as u8);
        let Some(restless) = c.restless.get_mut(&key) else { return true };
        restless.asked += 1;
        restless.asked >> restless.changes.min(most) != 0
    }

    /// Reads a region from RIP on, which lies at `offset` in RAM, in blocks of at most so many
    /// instructions.
    #[must_use]
    pub fn lift(&self, core: &Core, decoder: &Decoder, offset: u64, steps: usize) -> Lifted {
        let page = offset & !(PAGE_SIZE - 1);
        let version = self.ram.code_version(offset);
        let mut bytes = [0; PAGE_SIZE as usize];
        self.ram.load_bytes(page, &mut bytes);
        let inside = (offset - page) as usize;
        let state = State::of(core);
        let beyond = self.beyond(core);
        let mut next = [0; 14];
        if let Some(Beyond { offset, .. }) = beyond {
            self.ram.load_bytes(offset, &mut next);
        }
        let origin = origin(core.mode, core.rip);
        let ip = core.rip.wrapping_sub(origin);
        let source = lift::Source {
            origin,
            ip,
            page: &bytes,
            offset: inside,
            beyond: if beyond.is_some() { &next } else { &[] },
            mode: core.mode,
            limit: u64::from(state.limit),
            linear_bits: state.linear_bits,
            backwards: state.backwards,
            decoder,
            is_vector: &|insn| self.backend.is_vector(insn, state.vectors),
            is_x87: &|insn| self.backend.is_x87(insn, state.vectors),
            steps,
        };
        let mut region = lift::region(&source);
        region.beyond = beyond;
        passes::optimise(&mut region);
        let page_ip = ip.wrapping_sub(inside as u64);
        let pieces = region.blocks.iter().map(|block| {
            let start = block.ip.wrapping_sub(page_ip) as usize;
            let len = block.next.wrapping_sub(block.ip) as usize;
            (start as u16, bytes[start..(start + len).min(bytes.len())].into())
        });
        let bytes = Bytes { page, pieces: pieces.collect() };
        Lifted { region, state, key: Key::new(core, offset, 0), ip, version, bytes }
    }

    /// The page behind RIP's, if an instruction may be read across: where it lies is known, stores
    /// to it are counted, and linear addresses in it do not depend on the base of CS.
    fn beyond(&self, core: &Core) -> Option<Beyond> {
        if !core.mode.flat() || !self.backend.crosses_pages() {
            return None;
        }
        let lin = (core.rip & !(PAGE_SIZE - 1)).wrapping_add(PAGE_SIZE);
        let lin = if core.mode.is_64() { lin } else { lin & 0xffff_ffff };
        let class = if core.cpl == 3 { Class::User } else { Class::Supervisor };
        let offset = core.tlb.fetches(class, lin)?;
        if self.ram.code_near(offset, 14) != CodeNear::Here {
            return None;
        }
        let version = self.ram.code_version_address(offset)? as usize;
        let lin = lin.wrapping_sub(origin(core.mode, core.rip));
        Some(Beyond { lin, offset, version, known: self.ram.code_version(offset) })
    }

    /// Makes code of what was lifted; `shared`: other vCPUs may change the guest's code. True if there
    /// is something to run.
    pub fn keep(&self, lifted: Lifted, shared: bool) -> bool {
        let Lifted { region, state, key, ip, version, bytes } = lifted;
        let alone = self.switches.then(|| self.alone());
        let mut c = self.contents();
        let state_number = match c.states.iter().position(|s| *s == state) {
            Some(n) => n,
            None if c.states.len() < STATES => {
                c.states.push(state);
                c.states.len() - 1
            }
            None => {
                drop((c, alone));
                self.empty();
                return false;
            }
        };
        let key = Key { state: state_number as u8, ..key };
        let offset = key.offset;
        let number = c.regions.len() as u32;
        let mut made = Translated { key, ip, entry: 0, cell: c.cells, version, bytes };
        if !region.blocks.is_empty() {
            let Some(version_word) = self.ram.code_version_address(offset) else { return false };
            let place = Place {
                code: c.memory.base() + c.used,
                sites: c.sites.len() as u32,
                exits: c.exits.len() as u32,
                cells: c.cells,
                cell_base: c.memory.cell_base(),
                page_ip: ip.wrapping_sub(offset & (PAGE_SIZE - 1)),
                region: number,
                version: version_word as usize,
                shared,
                class: state.class,
                runtime: self.runtime,
            };
            let emitted = self.backend.emit(&region, &place);
            let full = emitted.code.len() > c.memory.code_len() - c.used
                || emitted.cells > c.memory.cells() - c.cells;
            let at = c.used;
            if full || c.memory.write(at, &emitted.code).is_err() {
                drop((c, alone));
                self.empty();
                return false;
            }
            made.entry = place.code;
            c.memory.set_cell(c.cells, u64::from(version));
            for n in 1..emitted.cells {
                let unknown = self.runtime.leave[Reason::Exit as usize] as u64;
                c.memory.set_cell(c.cells + n, unknown);
            }
            c.used = (c.used + emitted.code.len()).next_multiple_of(16);
            c.cells += emitted.cells;
            c.sites.extend(emitted.sites);
            c.exits.extend(emitted.exits);
            c.kept.extend(emitted.kept);
            self.code_bytes.fetch_add(emitted.code.len() as u64, Ordering::Relaxed);
            self.translations.fetch_add(1, Ordering::Relaxed);
        }
        let is_code = made.entry != 0;
        c.regions.push(made);
        c.found.insert(key, number);
        is_code
    }

    /// What a site's number means.
    #[must_use]
    pub fn site(&self, number: u32) -> Option<Site> {
        self.contents().sites.get(number as usize).copied()
    }

    /// What an exit's number means.
    #[must_use]
    pub fn exit(&self, number: u32) -> Option<Exit> {
        self.contents().exits.get(number as usize).copied()
    }

    /// From now on an exit leads to this code.
    pub fn link(&self, cell: usize, entry: usize) {
        self.contents().memory.set_cell(cell, entry as u64);
    }

    /// RIP of a region, from its origin, whose entry found its page changed. It is compared; if it is
    /// not what it was, it is not found again.
    #[must_use]
    pub fn stale(&self, number: u32) -> Option<u64> {
        let mut c = self.contents();
        let ip = c.regions.get(number as usize)?.ip;
        let _ = c.fresh(&self.ram, number);
        Some(ip)
    }

    /// Waits until no vCPU is inside, and keeps them out. The caller is not.
    fn alone(&self) -> Alone<'_> {
        while self.emptying.swap(true, Ordering::SeqCst) {
            std::thread::yield_now();
        }
        while self.inside.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
        Alone(&self.emptying)
    }

    /// Throws everything away, when no vCPU is inside. The caller is not.
    fn empty(&self) {
        let _alone = self.alone();
        let mut c = self.contents();
        (c.used, c.cells) = (self.runtime_len, 0);
        c.states.clear();
        c.regions.clear();
        c.found.clear();
        c.restless.clear();
        c.sites.clear();
        c.exits.clear();
        c.kept.clear();
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

/// Memory for `len` bytes of code, and the way it is kept. Two mappings need twice the address space
/// and a file; where the host has not got them, one has to do.
fn memory(way: Way, len: usize) -> io::Result<(CodeMemory, Way)> {
    let cells = len / 64;
    match CodeMemory::new(way, len, cells) {
        Err(e) if way == Way::Twice => {
            log::debug!("code is not mapped twice ({e}): its pages change their protection");
            Ok((CodeMemory::new(Way::Switch, len, cells)?, Way::Switch))
        }
        memory => Ok((memory?, way)),
    }
}

/// Nobody is inside as long as this lives.
struct Alone<'a>(&'a AtomicBool);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Contents {
    /// The entry of a region whose bytes are still what they were; else it is forgotten.
    fn fresh(&mut self, ram: &Ram, number: u32) -> Option<usize> {
        let region = self.regions.get_mut(number as usize)?;
        let version = ram.code_version(region.key.offset);
        if region.entry == 0 {
            return None;
        }
        if version == region.version {
            return Some(region.entry);
        }
        if !region.bytes.are_in(ram) {
            if self.found.get(&region.key) == Some(&number) {
                self.found.remove(&region.key);
                self.stale += 1;
                let restless = self.restless.entry(region.key).or_default();
                *restless = Restless { changes: restless.changes + 1, asked: 0 };
            }
            return None;
        }
        region.version = version;
        self.memory.set_cell(region.cell, u64::from(version));
        Some(region.entry)
    }
}
