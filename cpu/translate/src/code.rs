//! What a backend makes of a region.

use std::any::Any;

use trine_guest::PAGE_SIZE;
use trine_x86::{Class, Cold, Core, Insn, Mode, Raised};

use crate::{flags::Recipe, ir::Region, simd::Usable};

/// A place where translated code may leave the middle of a block. Its RIPs are counted from the
/// region's origin.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// RIP of the instruction.
    pub ip: u64,
    /// RIP behind it.
    pub next: u64,
    /// Instructions of the block that were charged for and not done, this one included.
    pub back: u32,
    /// The flags before it.
    pub recipe: Recipe,
}

impl Site {
    /// That of `insn` in the block that starts at `block_ip`.
    #[must_use]
    pub fn new(block_ip: u64, insn: &Insn, back: u32, recipe: Recipe) -> Self {
        let mask = if insn.mode.is_64() { u64::MAX } else { 0xffff_ffff };
        let at = |distance: u8| block_ip.wrapping_add(u64::from(distance)) & mask;
        Self { ip: at(insn.start()), next: at(insn.end), back, recipe }
    }
}

/// A way out of a region to a known place.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// RIP of the target, from the region's origin.
    pub ip: u64,
    /// Data cell that says where to jump, for targets in the same page.
    pub cell: Option<usize>,
}

/// A call of a cold instruction. Its RIPs are counted from the region's origin.
pub struct ColdCall {
    /// The function.
    pub run: fn(&mut Core, &Insn) -> Result<(), Raised>,
    /// The instruction.
    pub insn: Insn,
    /// Its block's first RIP.
    pub block_ip: u64,
    /// RIP of it, ...
    pub ip: u64,
    /// ... and behind it.
    pub next: u64,
    /// Instructions charged for and not done, this one included.
    pub back: u32,
    /// It ends its block.
    pub ends: bool,
}

impl ColdCall {
    /// A call of `cold`.
    #[must_use]
    pub fn new(cold: Cold, insn: Insn, block_ip: u64, at: &Site, ends: bool) -> Self {
        Self { run: cold.run, insn, block_ip, ip: at.ip, next: at.next, back: at.back, ends }
    }
}

/// Something that code refers to by its address.
pub type Kept = Box<dyn Any + Send + Sync>;

/// Code for a region, before it has a place.
#[derive(Default)]
pub struct Emitted {
    /// The bytes, complete but for [`Emitted::cells`].
    pub code: Vec<u8>,
    /// Its sites; code knows them by number from [`Place::sites`] on.
    pub sites: Vec<Site>,
    /// Its exits, from [`Place::exits`] on.
    pub exits: Vec<Exit>,
    /// What the code has addresses of: it stays where it is as long as the code does.
    pub kept: Vec<Kept>,
    /// How many data cells it uses, from [`Place::cells`] on.
    pub cells: usize,
}

/// Where code will lie, and what is around it.
#[derive(Clone, Copy)]
pub struct Place {
    /// Address at which it will be executed.
    pub code: usize,
    /// The number of its first site.
    pub sites: u32,
    /// The number of its first exit.
    pub exits: u32,
    /// The number of its first data cell (8 bytes each). Cell 0 of a region holds the version of
    /// the guest's page for which it was made.
    pub cells: usize,
    /// Address of cell 0 of the cache as code sees it.
    pub cell_base: usize,
    /// RIP of the first byte of the guest's page, from the region's origin.
    pub page_ip: u64,
    /// Number of this region.
    pub region: u32,
    /// Address of the word with the present version of the guest's page.
    pub version: usize,
    /// Other vCPUs may change the code while it runs: every block looks at that word.
    pub shared: bool,
    /// The class of data accesses.
    pub class: Class,
    /// Addresses of the shared code ([`Backend::runtime`]).
    pub runtime: Runtime,
}

/// Code that all regions share.
#[derive(Clone, Copy, Default, Debug)]
pub struct Runtime {
    /// Enters translated code.
    pub enter: usize,
    /// Leaves it, by [`Reason`].
    pub leave: [usize; Reason::COUNT],
    /// Fills the TLB for an access, or leaves for [`Reason::Once`].
    pub miss: usize,
    /// Fills the TLB for several accesses; the host's flags say "equal" if it cannot.
    #[cfg(target_arch = "x86_64")]
    pub try_miss: usize,
    /// Calls a cold instruction.
    pub cold: usize,
    /// Calls a function of up to three words, keeping the guest's registers.
    pub call: usize,
    /// Gives the host's vector registers the guest's values, as far as the backend's two levels
    /// say.
    pub vectors: [usize; 2],
    /// Gives the host's FPU the guest's state.
    #[cfg(target_arch = "x86_64")]
    pub x87: usize,
}

/// Why translated code came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Reason {
    /// To an exit's target, which was not known to have code. The number is the exit's.
    Exit = 0,
    /// Too few instructions left for the block at that exit's target.
    Budget,
    /// Before an instruction that the interpreter shall do. The number is the site's.
    Once,
    /// A cold instruction raised an exception.
    Faulted,
    /// Behind a cold instruction after which the block has to be left.
    Ended,
    /// At the entry of a region whose page has changed. The number is the region's.
    Stale,
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// All of them, by number.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Exit, Self::Budget, Self::Once, Self::Faulted, Self::Ended, Self::Stale];
}

/// Makes host code.
pub trait Backend: Send + Sync {
    /// The shared code, and where its parts will be, for a cache that starts at `base`.
    fn runtime(&self, base: usize) -> (Vec<u8>, Runtime);
    /// Whether it does an instruction as [`crate::ir::Op::Vector`].
    fn is_vector(&self, _: &Insn, _: Usable) -> bool {
        false
    }
    /// Whether it does an instruction as [`crate::ir::Op::X87`].
    fn is_x87(&self, _: &Insn, _: Usable) -> bool {
        false
    }
    /// Whether it looks, before an instruction across two pages, at the second one
    /// ([`crate::ir::Step::straddles`]). Else regions have no such instructions.
    fn crosses_pages(&self) -> bool {
        false
    }
    /// Code for a region.
    fn emit(&self, region: &Region, place: &Place) -> Emitted;
}

/// Entries of a vCPU's table of jump targets: one for each value of 16 bits.
pub const JUMPS: usize = 1 << 16;

/// A known jump target: RIP, and where its code is. If there is none, a RIP whose entry is another.
pub type Jump = [u64; 2];

/// The words of a [`Jump`].
pub const JUMP_IP: usize = 0;
/// The second one.
pub const JUMP_CODE: usize = 1;

/// What the RIPs of a region that is entered at `ip` are counted from.
#[must_use]
pub fn origin(mode: Mode, ip: u64) -> u64 {
    if mode.is_64() { ip & !(PAGE_SIZE - 1) } else { 0 }
}

/// The entry for a target.
#[must_use]
pub fn jump_index(ip: u64) -> usize {
    ip as usize % JUMPS
}
