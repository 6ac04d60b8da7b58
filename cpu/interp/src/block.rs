//! Decoded blocks, and the cache that keeps them.
//!
//! A block is known by where its first byte lies in RAM and by the mode it was decoded for. What
//! may have changed since is checked at each entry: the page's [`Ram::code_version`]. If that has
//! moved, the bytes decide; a change of other code in the page costs a comparison, not a new block.

use std::{collections::HashMap, sync::Arc};

use trine_guest::{PAGE_SIZE, Ram};
use trine_x86::{BLOCK_BYTES, Core, FlagEffect, Insn, Mode, Pick, Semantics, pick, rflags};

use crate::exec::{Exec, Path};

/// How a chain of records ended. RIP and the count of retired instructions are then right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Flow {
    /// Behind a block: after its last record or a hot branch.
    Branched,
    /// Behind an instruction after which everything is to be looked at.
    Ended,
    /// In a fault, before the instruction.
    Faulted,
}

/// Executes a chain: a non-empty part of a block, up to where it is left.
pub(crate) type Step = fn(&mut Exec, &[Record]) -> Flow;

/// An instruction and what executes it.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    pub(crate) insn: Insn,
    pub(crate) run: Step,
}

const _: () = assert!(size_of::<Record>() == 32);

impl Record {
    /// The same, with all flags.
    pub(crate) fn with_flags(&self) -> Self {
        match FlagEffect::of(&self.insn).writes {
            0 => *self,
            _ => Self { insn: self.insn, run: Picked::of(&self.insn).run },
        }
    }
}

struct PickStep;

/// What executes an instruction.
pub(crate) struct Picked {
    pub(crate) run: Step,
    /// The same without the flags, if it [is plain](Semantics::PLAIN).
    mute: Option<Step>,
    /// A block ends behind it.
    pub(crate) ends: bool,
}

impl Picked {
    pub(crate) fn of(insn: &Insn) -> Self {
        pick(insn, PickStep)
    }
}

impl Pick for PickStep {
    type Out = Picked;
    fn pick<T: Semantics>(self) -> Picked {
        Picked {
            run: if T::COLD { step_full::<T> } else { step::<T, true> },
            mute: if T::PLAIN { Some(step::<T, false>) } else { None },
            ends: T::ENDS,
        }
    }
}

/// Mutes the instructions of a block whose flags nobody sees: others follow that set them anew, and
/// up to there nothing can fault or leave the block. A block with mute instructions must not be left
/// but where its chain ends by itself. `picked` is what was picked for each.
pub(crate) fn mute(records: &mut [Record], picked: &[Picked]) {
    let mut seen = rflags::ARITHMETIC;
    for (record, picked) in records.iter_mut().zip(picked).rev() {
        let Some(mute) = picked.mute else {
            seen = rflags::ARITHMETIC;
            continue;
        };
        let effect = FlagEffect::of(&record.insn);
        if effect.writes & seen == 0 {
            record.run = mute;
        }
        seen = seen & !effect.kills | effect.reads;
    }
}

/// One instruction, then the rest of the chain.
fn step<T: Semantics, const FLAGS: bool>(x: &mut Exec, chain: &[Record]) -> Flow {
    let [this, rest @ ..] = chain else { return Flow::Ended };
    let mut path = Path::<false, FLAGS>::new(x);
    if T::exec(&mut path, &this.insn).is_err() {
        return step_full::<T>(x, chain);
    }
    if T::ENDS || T::CONDITIONAL && path.taken {
        x.retire(&this.insn);
        return Flow::Branched;
    }
    go_on(x, this, rest)
}

/// One instruction on the full path, then the rest of the chain.
#[inline(never)]
fn step_full<T: Semantics>(x: &mut Exec, chain: &[Record]) -> Flow {
    let [this, rest @ ..] = chain else { return Flow::Ended };
    let mut path = Path::<true>::new(x);
    if T::exec(&mut path, &this.insn).is_err() {
        return x.fault(&this.insn);
    }
    if T::ENDS || T::CONDITIONAL && path.taken {
        x.retire(&this.insn);
        return if T::COLD || x.core.leave_block { Flow::Ended } else { Flow::Branched };
    }
    if x.core.leave_block {
        x.fall_out(&this.insn);
        return Flow::Ended;
    }
    go_on(x, this, rest)
}

/// The rest of a chain.
#[inline(always)]
fn go_on(x: &mut Exec, this: &Record, rest: &[Record]) -> Flow {
    match rest.first() {
        Some(next) => (next.run)(x, rest),
        None => x.fall_out(&this.insn),
    }
}

impl Exec {
    /// A block was left behind `last`.
    #[inline(always)]
    fn retire(&mut self, last: &Insn) {
        self.core.retired += u64::from(last.number) + 1;
    }

    /// A block was left behind `last`, which is no branch.
    #[inline(never)]
    fn fall_out(&mut self, last: &Insn) -> Flow {
        self.core.rip = self.behind(last);
        self.retire(last);
        Flow::Branched
    }

    /// A block was left before `insn`.
    #[cold]
    #[inline(never)]
    fn fault(&mut self, insn: &Insn) -> Flow {
        self.core.rip = self.start(insn);
        self.core.retired += u64::from(insn.number);
        Flow::Faulted
    }
}

/// Where a block's bytes lie, and what its pages' versions were when they were last compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    /// Offset in RAM of the first byte.
    pub(crate) offset: u64,
    /// For an instruction across two pages: the second page's offset.
    pub(crate) rest: Option<u64>,
}

impl Span {
    /// How many of `len` bytes lie in the first page.
    pub(crate) fn first(self, len: usize) -> usize {
        len.min((PAGE_SIZE - self.offset % PAGE_SIZE) as usize)
    }
}

/// What tells whether a block's bytes may have changed.
#[derive(Clone, Copy)]
pub(crate) struct Freshness {
    pub(crate) span: Span,
    /// The versions of its pages when the bytes were last compared.
    versions: (u32, u32),
}

/// Decoded instructions that follow each other.
pub(crate) struct Block {
    pub(crate) records: Arc<[Record]>,
    pub(crate) freshness: Freshness,
    /// How often it was entered, for who translates what is hot.
    pub(crate) heat: u32,
    bytes: Box<[u8]>,
}

impl Block {
    /// A block of `records`, decoded from `bytes` at `span` while the pages had `versions`.
    pub(crate) fn new(
        records: Vec<Record>,
        span: Span,
        versions: (u32, u32),
        bytes: &[u8],
    ) -> Self {
        Self {
            records: records.into(),
            freshness: Freshness { span, versions },
            heat: 0,
            bytes: bytes.into(),
        }
    }

    /// Bytes of code.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether its bytes are still what was decoded.
    #[cold]
    pub(crate) fn is_fresh(&mut self, ram: &Ram) -> bool {
        let versions = versions(ram, self.freshness.span);
        if versions == self.freshness.versions {
            return true;
        }
        if !holds(ram, self.freshness.span, &self.bytes) {
            return false;
        }
        self.freshness.versions = versions;
        true
    }
}

/// The versions of a span's pages. Read them before the bytes.
pub(crate) fn versions(ram: &Ram, span: Span) -> (u32, u32) {
    (ram.code_version(span.offset), span.rest.map_or(0, |rest| ram.code_version(rest)))
}

/// Whether a span's bytes are these.
pub(crate) fn holds(ram: &Ram, span: Span, bytes: &[u8]) -> bool {
    let mut now = [0; BLOCK_BYTES + 16];
    let now = &mut now[..bytes.len().min(BLOCK_BYTES + 16)];
    read(ram, span, now);
    now == bytes
}

/// Reads a span's bytes.
pub(crate) fn read(ram: &Ram, span: Span, bytes: &mut [u8]) {
    let (head, tail) = bytes.split_at_mut(span.first(bytes.len()));
    ram.load_bytes(span.offset, head);
    if let Some(rest) = span.rest {
        ram.load_bytes(rest, tail);
    }
}

/// Blocks kept at once; when it is full, all go.
const CAPACITY: usize = 1 << 16;
/// Entries of the table from addresses to blocks.
const RECENT: usize = 1 << 12;

/// A block that was entered lately, and where.
#[derive(Clone)]
pub(crate) struct Recent {
    /// RIP.
    ip: u64,
    /// [`Core::context`].
    context: u64,
    /// [`Core::code_base`].
    base: u32,
    /// The number of the block's page; none if it has two.
    page: u32,
    /// What [`Ram::code_version`] must be.
    version: u32,
    id: u32,
    pub(crate) records: Arc<[Record]>,
}

const NO_PAGE: u32 = u32::MAX;

impl Recent {
    /// What is entered nowhere.
    fn none() -> Self {
        let records = Arc::new([]);
        Self { ip: 0, context: 0, base: 0, page: NO_PAGE, version: 0, id: u32::MAX, records }
    }

    /// Whether it is what is entered now, if its bytes have not changed.
    #[inline(always)]
    fn is_at(&self, core: &Core) -> bool {
        self.ip == core.rip && self.context == core.context && self.base == core.code_base as u32
    }

    /// Whether nobody has stored to its page since. False is only a reason to look closer.
    #[inline(always)]
    fn is_quiet(&self, core: &Core) -> bool {
        core.ram.code_version_of_page(self.page) == Some(self.version)
    }
}

/// All blocks of one vCPU.
pub(crate) struct Cache {
    pub(crate) blocks: Vec<Block>,
    by_span: HashMap<(u64, u16), u32, std::hash::BuildHasherDefault<Mix>>,
    recent: Box<[Recent; RECENT]>,
}

impl Cache {
    pub(crate) fn new() -> Self {
        let recent = vec![Recent::none(); RECENT].into_boxed_slice().try_into();
        Self {
            blocks: Vec::new(),
            by_span: HashMap::default(),
            recent: recent.unwrap_or_else(|_| unreachable!("of that length")),
        }
    }

    /// The number of the block at RIP, if it was entered lately and nothing has changed since.
    #[inline(always)]
    pub(crate) fn recent_id(&self, core: &Core) -> Option<u32> {
        let r = &self.recent[Self::slot(core)];
        (r.is_at(core) && r.is_quiet(core)).then_some(r.id)
    }

    /// What is known of that block. Most often it is `last`, since loops are short; nothing but RIP
    /// may have changed since that was entered.
    #[inline(always)]
    pub(crate) fn next<'a>(&'a self, core: &Core, last: Option<&'a Recent>) -> Option<&'a Recent> {
        match last {
            Some(r) if r.ip == core.rip && r.is_quiet(core) => last,
            _ => Some(&self.recent[Self::slot(core)]).filter(|r| r.is_at(core) && r.is_quiet(core)),
        }
    }

    /// The number of the block at RIP, if it was entered lately, after a look at its bytes.
    pub(crate) fn recent_if_fresh(&mut self, core: &Core) -> Option<u32> {
        let r = &self.recent[Self::slot(core)];
        let id = Some(r.id).filter(|_| r.is_at(core))?;
        if !self.blocks.get_mut(id as usize)?.is_fresh(&core.ram) {
            return None;
        }
        self.remember(core, id);
        Some(id)
    }

    /// Remembers that block `id` is what is entered here.
    pub(crate) fn remember(&mut self, core: &Core, id: u32) {
        let Some(Block { freshness, records, .. }) = self.blocks.get(id as usize) else { return };
        let page = match freshness.span {
            Span { offset, rest: None } => u32::try_from(offset / PAGE_SIZE).unwrap_or(NO_PAGE),
            _ => NO_PAGE,
        };
        self.recent[Self::slot(core)] = Recent {
            ip: core.rip,
            context: core.context,
            base: core.code_base as u32,
            page,
            version: freshness.versions.0,
            id,
            records: records.clone(),
        };
    }

    /// The block decoded from `offset` for `mode`.
    pub(crate) fn find(&self, offset: u64, mode: Mode) -> Option<u32> {
        self.by_span.get(&(offset, mode.bits())).copied()
    }

    /// Keeps a block, in place of an older one from there. Numbers of other blocks may change.
    ///
    /// One that goes on in another page than the older one is a block of its own: at some other
    /// address, where the next page is another, the older one may be what was entered lately.
    pub(crate) fn keep(&mut self, block: Block, mode: Mode) -> u32 {
        let key = (block.freshness.span.offset, mode.bits());
        if let Some(&id) = self.by_span.get(&key) {
            let older = &mut self.blocks[id as usize];
            let either_whole =
                older.freshness.span.rest.is_none() && block.freshness.span.rest.is_none();
            if either_whole || older.freshness.span == block.freshness.span {
                *older = block;
                return id;
            }
        }
        if self.blocks.len() == CAPACITY {
            self.clear();
        }
        let id = self.blocks.len() as u32;
        self.blocks.push(block);
        self.by_span.insert(key, id);
        id
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
        self.by_span.clear();
        self.recent.fill(Recent::none());
    }

    #[inline(always)]
    fn slot(core: &Core) -> usize {
        let at = core.rip.wrapping_add(core.code_base);
        (at ^ (at >> 12)) as usize % RECENT
    }
}

/// The linear address of the instruction at RIP.
pub(crate) fn code_address(core: &Core) -> u64 {
    let lin = core.rip.wrapping_add(core.code_base);
    if core.mode.is_64() { lin } else { lin & 0xffff_ffff }
}

/// A quick hash for keys that are numbers already.
#[derive(Default)]
pub struct Mix(u64);

impl std::hash::Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn write_u16(&mut self, n: u16) {
        self.write_u64(u64::from(n));
    }
}
