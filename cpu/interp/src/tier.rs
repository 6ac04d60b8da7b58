//! What may stand above the interpreter: something that runs hot code faster.
//!
//! The interpreter asks its tier at every block. A tier that has code for the place runs it, and
//! gives back at an instruction boundary, with the core in order. It need not be able to do
//! everything: it may stop before any instruction and let the interpreter do that one.

use trine_engine::Stats;
use trine_guest::Marked;
use trine_x86::{Core, Decoder};

/// What a tier did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Above {
    /// Nothing: the interpreter goes on at RIP.
    Cold,
    /// It ran; RIP and the count of retired instructions are right.
    Ran,
    /// It ran, and ended behind an instruction after which everything is to be looked at.
    Ended,
    /// An instruction raised an exception; RIP is its start.
    Faulted,
    /// It stopped before an instruction that the interpreter shall do.
    Once,
}

/// A faster way to run hot code.
pub trait Tier: Send {
    /// After so many entries of a block the tier is asked to translate it, and then again; 0: never.
    fn heat(&self) -> u32;
    /// [`trine_engine::Vcpu::run`] begins.
    fn begin(&mut self, _: &mut Core) {}
    /// Runs what it has for RIP until `end` instructions are retired at most.
    fn run(&mut self, core: &mut Core, end: u64) -> Above;
    /// Makes code for RIP, which lies at `offset` in RAM. True if [`Tier::run`] would now run it.
    fn translate(&mut self, core: &mut Core, decoder: &Decoder, offset: u64) -> bool;
    /// Bytes of the page at `offset` were marked as code, and are not yet read; if they are the first
    /// of the page, `core` has no quiet write tags for it any more.
    fn code_is_marked(&mut self, _: &mut Core, _offset: u64, _new: Marked) {}
    /// Forgets all it knows: the memory map changed.
    fn clear(&mut self, _: &mut Core) {}
    /// Adds its own counters.
    fn stats(&self, stats: Stats) -> Stats {
        stats
    }
}

/// No tier: only the interpreter.
pub struct Nothing;

impl Tier for Nothing {
    #[inline(always)]
    fn heat(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn run(&mut self, _: &mut Core, _: u64) -> Above {
        Above::Cold
    }

    fn translate(&mut self, _: &mut Core, _: &Decoder, _: u64) -> bool {
        false
    }
}
