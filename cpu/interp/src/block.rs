//! Decoded blocks, and the cache that keeps them.
//!
//! A block is known by where its first byte lies in RAM and by the mode it was decoded for. What
//! may have changed since is checked at each entry: the page's [`Ram::code_version`]. If that has
//! moved, the bytes decide; data beside code costs a comparison, not a new block.

use std::collections::HashMap;

use trine_guest::Ram;
use trine_x86::{Core, Insn, Mode, Pick, Semantics, pick};

use crate::exec::{Exec, Path};

/// How a chain of records ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Flow {
    /// After its last record; RIP is stale.
    Fell,
    /// In a hot branch; RIP is set.
    Branched,
    /// In a cold instruction that ends blocks; RIP is set, anything may have changed.
    Ended,
    /// After a record behind which the core asked to leave; RIP is stale.
    Left,
    /// In a fault, before a record; RIP is stale.
    Faulted,
}

/// Executes a non-empty chain of records.
pub(crate) type Step = fn(&mut Exec, &[Record]) -> Flow;

/// An instruction and what executes it.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    pub(crate) insn: Insn,
    pub(crate) run: Step,
}

const _: () = assert!(size_of::<Record>() == 32);

impl Record {
    pub(crate) fn new(insn: Insn) -> Self {
        Self { insn, run: pick(&insn, PickStep).0 }
    }
}

struct PickStep;

/// A handler, and whether a block ends behind it.
pub(crate) struct Picked(pub(crate) Step, pub(crate) bool);

impl Pick for PickStep {
    type Out = Picked;
    fn pick<T: Semantics>(self) -> Picked {
        Picked(if T::COLD { step_full::<T> } else { step::<T> }, T::ENDS)
    }
}

/// Whether a block ends behind `insn`.
pub(crate) fn ends(insn: &Insn) -> bool {
    pick(insn, PickStep).1
}

/// One instruction, then the rest of the chain.
fn step<T: Semantics>(x: &mut Exec, chain: &[Record]) -> Flow {
    let [record, rest @ ..] = chain else { return Flow::Fell };
    if T::exec(&mut Path::<false>(x), &record.insn).is_err() {
        return step_full::<T>(x, chain);
    }
    if T::ENDS || T::CONDITIONAL && x.taken {
        x.left = rest.len();
        return Flow::Branched;
    }
    go_on(x, rest)
}

/// One instruction on the full path, then the rest of the chain.
#[inline(never)]
fn step_full<T: Semantics>(x: &mut Exec, chain: &[Record]) -> Flow {
    let [record, rest @ ..] = chain else { return Flow::Fell };
    if T::exec(&mut Path::<true>(x), &record.insn).is_err() {
        x.left = chain.len();
        return Flow::Faulted;
    }
    if T::ENDS || T::CONDITIONAL && x.taken {
        x.left = rest.len();
        return if T::COLD { Flow::Ended } else { Flow::Branched };
    }
    if x.core.leave_block {
        x.left = rest.len();
        return Flow::Left;
    }
    go_on(x, rest)
}

/// The rest of a chain.
#[inline(always)]
fn go_on(x: &mut Exec, rest: &[Record]) -> Flow {
    match rest.first() {
        Some(next) => (next.run)(x, rest),
        None => {
            x.left = 0;
            Flow::Fell
        }
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

/// What tells whether a block's bytes may have changed.
#[derive(Clone, Copy)]
pub(crate) struct Freshness {
    pub(crate) span: Span,
    /// The versions of its pages when the bytes were last compared.
    versions: (u32, u32),
}

impl Freshness {
    /// Whether nobody has stored to its pages since. False is only a reason to look closer.
    #[inline(always)]
    pub(crate) fn is_quiet(&self, ram: &Ram) -> bool {
        self.span.rest.is_none() && ram.code_version(self.span.offset) == self.versions.0
    }
}

/// Decoded instructions that follow each other.
pub(crate) struct Block {
    pub(crate) records: Box<[Record]>,
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
        let mut now = [0; 256];
        let now = &mut now[..self.bytes.len().min(256)];
        read(ram, self.freshness.span, now);
        if *now != *self.bytes {
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

/// Reads a span's bytes.
pub(crate) fn read(ram: &Ram, span: Span, bytes: &mut [u8]) {
    let first = (0x1000 - (span.offset & 0xfff) as usize).min(bytes.len());
    let (head, tail) = bytes.split_at_mut(first);
    ram.load_bytes(span.offset, head);
    if let Some(rest) = span.rest {
        ram.load_bytes(rest, tail);
    }
}

/// Blocks kept at once; when it is full, all go.
const CAPACITY: usize = 1 << 16;
/// Entries of the table from addresses to blocks.
const RECENT: usize = 1 << 12;

/// A block that was entered at an address lately, and in which [`Core::context`].
#[derive(Clone, Copy)]
struct Recent {
    lin: u64,
    ip: u64,
    context: u64,
    block: u32,
}

/// All blocks of one vCPU.
pub(crate) struct Cache {
    pub(crate) blocks: Vec<Block>,
    by_span: HashMap<(u64, u16), u32, std::hash::BuildHasherDefault<Mix>>,
    recent: Box<[Recent]>,
}

impl Cache {
    pub(crate) fn new() -> Self {
        let none = Recent { lin: 0, ip: 0, context: 0, block: u32::MAX };
        Self { blocks: Vec::new(), by_span: HashMap::default(), recent: vec![none; RECENT].into() }
    }

    /// The block that was entered here lately, if nothing has changed since.
    #[inline(always)]
    pub(crate) fn recent(&self, core: &Core, lin: u64) -> Option<u32> {
        let r = &self.recent[Self::slot(lin)];
        (r.lin == lin && r.ip == core.rip && r.context == core.context).then_some(r.block)
    }

    /// Remembers that `block` is what is entered here.
    pub(crate) fn remember(&mut self, core: &Core, lin: u64, block: u32) {
        self.recent[Self::slot(lin)] = Recent { lin, ip: core.rip, context: core.context, block };
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
        for r in &mut self.recent {
            r.block = u32::MAX;
        }
    }

    #[inline(always)]
    fn slot(lin: u64) -> usize {
        (lin ^ (lin >> 12)) as usize % RECENT
    }
}

/// A quick hash for keys that are numbers already.
#[derive(Default)]
pub(crate) struct Mix(u64);

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
