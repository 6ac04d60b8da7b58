//! The translator: hot guest code becomes host code.
//!
//! # Goals
//!
//! It is exact before it is fast: whatever the interpreter does, a guest cannot tell that the
//! translator did it instead, down to the count of instructions at which an interrupt comes. It is
//! small: instructions are not written again, but lifted from the semantics in `trine-x86`. And a
//! translation has to be cheap, because a booting kernel runs most of its code a few hundred times
//! only: one pass over guest code, one over the operations, bytes written directly.
//!
//! # Glossary
//!
//! - *Step*: a guest instruction as a list of *operations* (`ir`).
//! - *Block*: steps that follow each other. *Region*: up to 20 blocks of one guest page that were
//!   reached from the same entry; what is translated together.
//! - *Origin*: what the RIPs of a region are counted from (`ir::Region`).
//! - *Site*: a step at which code may leave its block. *Exit*: a way out to a known address.
//! - *Cell*: a word that code reads and that may change, beside code, which never does.
//! - *State*: all that a translation depends on beside place and bytes (`cache::State`).
//! - *Recipe*: how the arithmetic flags follow from an operation that is over (`flags`).
//! - *Quiet*: a store that has nothing to do but store; *loud*: its page holds code or is clean.
//!
//! # The life of a region
//!
//! 1. The interpreter counts how often each of its blocks is entered. Now and then it asks its
//!    tier, which is here (`vcpu`), to translate.
//! 2. `lift` decodes from there on, along both ways of every branch that stays in the page, and
//!    runs the semantics with values that are numbers of operations. A constant that the block has
//!    put into a register is not read from there again (`known`). `passes` finds which flags
//!    anybody may look at.
//! 3. A `code::Backend` makes bytes. `cache` gives them a place; they never change again.
//! 4. A vCPU enters with its [`trine_x86::Core`] and a number of instructions. Each block takes its
//!    length from that number before it begins, so the count is exact at every block; if it does not
//!    suffice, the interpreter does the rest one by one. A vCPU comes out after some ten
//!    thousand instructions in any case: so nobody has to interrupt it.
//! 5. Code goes from region to region by cells (within a page) and by tables of jump targets that
//!    each vCPU has, one for each of its last states (between pages, indirectly). What is not known
//!    there comes out and is looked up.
//! 6. The bytes change: the entry compares the page's version with the one it was made for, and
//!    comes out. If the region's own bytes are still the same, only the number is renewed; else it is
//!    forgotten, and the next one there has to be twice as hot.
//! 7. The memory is full: everything goes at once, when all vCPUs have come out.
//!
//! # Stopping
//!
//! The semantics check, compute, then commit. So code may stop in front of any instruction that
//! would do something unusual (a TLB miss that is a fault, a device, a page that holds code, a jump
//! to who knows where), with nothing done, and let the interpreter do that one instruction, which
//! knows everything. There is no second implementation of faults, of memory-mapped devices or of
//! self-modifying code. A site says where that is: RIP, how many instructions of its block were not
//! done, and the flags' recipe.
//!
//! # What is known where
//!
//! At an edge between two blocks nothing is written down that the other side can know (`x64`'s `flow`):
//! a block is there once for each recipe with which it is entered, up to a few, and once for those who
//! left the recipe in memory. Within a block, accesses near the same register share a look into the
//! TLB (`share`); if what they span is not in one page that is at hand, the rest of the block is there
//! once more, where each looks for itself. Where an address follows from a load, code goes on with what
//! the TLB gave there last time, and compares ([`trine_x86::Hunches`]). And where a loop changes an
//! address by additions only (`walk`), the access keeps to the page in which it was
//! ([`trine_x86::Cursor`]) and looks again when it leaves that.
//!
//! # The state key
//!
//! Bytes are decoded for a mode. Accesses are compiled for a class (who is allowed what, see the
//! TLB), legal targets depend on the limit of CS and on the width of addresses, whether vector
//! instructions fault on control registers and on MXCSR's masks, and where string instructions go on
//! DF. All that is a state, which has a number; a region is known by where it lies in RAM and by that
//! number. What else an instruction may depend on it looks up when it is executed.
//!
//! RIP is a constant in a region outside of 64-bit mode only, and belongs to what it is known by. In
//! 64-bit mode every process may have the same library elsewhere, at another address each time that
//! it starts. There RIP is a distance from the region's page, whose address the core has in a slot;
//! whoever goes to another page says so ([`trine_x86::slot::ORIGIN`]). So a page of code is translated
//! once, and a process that comes new finds what others have left.
//!
//! # Vectors
//!
//! Where host and guest have the same vector instructions, the host does them, under the guest's
//! MXCSR: then results, NaNs, denormals and sticky flags are the guest's by nature (`simd`, and the
//! backend's module of that name). The host's registers are switched lazily. While an exception is
//! unmasked, and for approximations, the interpreter's functions are called as for everything cold.
//!
//! A host of another kind has instructions of the same effect, mostly. Code for AArch64 ([`a64`]) does
//! the legacy ones with what NEON has, takes from FPSR whether that might have gone otherwise than in
//! the guest (a denormal, a NaN that was made, no integer), and then has the interpreter do it again.
//!
//! # The x87
//!
//! The same goes for the host's FPU, whose stack, status and control word become the guest's while
//! all of its exceptions are masked (`x87`, and the backend's module of that name). Transcendental
//! functions are the interpreter's on every host, since CPUs differ in their last bits.
//!
//! # Across pages
//!
//! An instruction whose last bytes lie in the next page belongs to the region of its first byte. In
//! front of it code makes sure that the next page still lies where it lay and that nobody has stored
//! to it (`ir::Beyond`); else the interpreter does it.
//!
//! # Coherency
//!
//! A store that code does itself looks at the TLB only: a write tag there promises that the page is
//! dirty already and holds no code. When a page becomes one that holds code, every vCPU forgets its
//! promise before the first byte is read (`vcpu::Peers`). From then on stores to that page ask a
//! helper, which knows where in the page code is: beside it they are done right there, and else by
//! the interpreter, which raises the page's version. Between question and store somebody else may
//! want to decode from there, so he waits until this vCPU has come out.
//!
//! Guest memory is accessed with the host's plain instructions, in order: an x86 host promises what
//! an x86 guest expects, other hosts are told by barriers ([`a64`]).
//!
//! # Finding a miscompilation
//!
//! *Who is wrong?* `trine conform SUITE --engine E` runs every suite on `interp`, which is the
//! reference; on `translate`, in whole blocks (`translate`) and with a block for each instruction
//! (`translate-1`); and on `evaluate`, which interprets what was lifted in the place of host code
//! ([`evaluate`]) and is nothing that `trine run` knows.
//!
//! - `evaluate` is wrong, too: lifting, or a pass. Where a rule is broken (a change before the last
//!   thing that may stop, a value wider than its width, flags that were taken for dead) it panics
//!   with the instruction and its operations, or gives flags that are plainly false.
//! - Only `translate` is wrong: this host's backend. If `translate-1` is right, flags or registers
//!   are lost from one step to the next.
//!
//! *Which lowering?* `TRINE_TRANSLATE_WITHOUT=alu,memory` has these [families](Family) of operations
//! done by a shared helper, and vector instructions by the interpreter's functions; it is heard
//! wherever the translator is (`trine run`, `trine conform`, tests). Begin with all names (any wrong
//! one is answered with the list); if the guest is then right, take away half of those that are
//! left, and so on, until one name makes the difference.
//!
//! *Which instruction?* `trine lockstep --engines interp,translate` runs any guest on both, and names
//! the block, and mostly the instruction in it, with a vector. `trine conform streams` compares with
//! the interpreter after random counts.
//!
//! # Safety
//!
//! Code is written through one mapping and executed through another (`memory`). It is entered and
//! calls back by the C convention (`helper`); nobody else holds a reference to the vCPU's core
//! meanwhile. Every address that it computes in guest RAM comes from a TLB entry, which holds only
//! offsets in RAM, and is compared with the entry's page first.

#![expect(
    rustdoc::private_intra_doc_links,
    reason = "the essays are for those who read the source"
)]

pub mod a64;
mod cache;
mod code;
mod evaluate;
mod family;
mod flags;
mod helper;
mod ir;
mod known;
mod lift;
mod memory;
mod passes;
mod recipe;
#[cfg(target_arch = "x86_64")]
mod share;
mod simd;
mod vcpu;
#[cfg(target_arch = "x86_64")]
mod walk;
#[cfg(target_arch = "x86_64")]
mod x64;
mod x87;

use std::sync::Arc;

pub use family::{Families, Family};

use trine_engine::{Bus, CpuModel, Engine, EngineError, Limits, Vcpu};
use trine_guest::Ram;
use trine_interp::InterpVcpu;
use trine_x86::BLOCK_INSNS;

use crate::{
    cache::Cache,
    code::Backend,
    evaluate::Evaluator,
    memory::Way,
    vcpu::{Peers, Translator, Tuning},
};

/// Bytes of code of a machine, at most and at least.
const CODE_BYTES_MAX: usize = 64 << 20;
const CODE_BYTES_MIN: usize = 4 << 20;
/// A byte of guest code may become so many; there is no more guest code than memory.
const EXPANSION: u64 = 8;

/// [`Engine::name`].
const TRANSLATE: &str = "translate";

/// The translator for one machine.
pub struct Translate {
    name: &'static str,
    ram: Arc<Ram>,
    cache: Arc<Cache>,
    peers: Arc<Peers>,
    tuning: Tuning,
}

impl Translate {
    /// A translator of guests in `ram`.
    ///
    /// # Errors
    /// If there is no backend for this host, the host gives no memory for code, or
    /// `TRINE_TRANSLATE_WITHOUT` names a family that there is not.
    pub fn new(ram: Arc<Ram>) -> Result<Self, EngineError> {
        let without = Families::from_environment()
            .map_err(|reason| EngineError::Unavailable { engine: TRANSLATE, reason })?;
        Self::without(ram, without)
    }

    /// The same, whatever the environment says: without code of its own for what these families
    /// do.
    ///
    /// # Errors
    /// If there is no backend for this host, or the host gives no memory for code.
    pub fn without(ram: Arc<Ram>, families: Families) -> Result<Self, EngineError> {
        let Some(backend) = backend(families) else {
            let reason = "no code for this host".to_owned();
            return Err(EngineError::Unavailable { engine: TRANSLATE, reason });
        };
        Self::with(TRANSLATE, ram, backend, Way::of_host())
    }

    /// The same without host code: what was lifted is evaluated. For tests, on any host.
    ///
    /// # Errors
    /// If the host gives no memory.
    pub fn evaluated(ram: Arc<Ram>) -> Result<Self, EngineError> {
        Self::with("evaluate", ram, Box::new(Evaluator), Way::Data)
    }

    fn with(
        name: &'static str,
        ram: Arc<Ram>,
        backend: Box<dyn Backend>,
        way: Way,
    ) -> Result<Self, EngineError> {
        let tuning = Tuning { heat: 16, steps: BLOCK_INSNS, doublings: 6 };
        let len = usize::try_from(ram.len() * EXPANSION).unwrap_or(CODE_BYTES_MAX);
        let len = len.clamp(CODE_BYTES_MIN, CODE_BYTES_MAX);
        let cache = Cache::new(ram.clone(), backend, way, len).map_err(|error| {
            EngineError::Refused { engine: name, what: "memory for code", error }
        })?;
        Ok(Self { name, ram, cache: Arc::new(cache), peers: Arc::default(), tuning })
    }

    /// The same, but everything is translated when it is first executed, in blocks of at most so
    /// many instructions: for tests.
    #[must_use]
    pub fn eager(self, steps: usize) -> Self {
        Self { tuning: Tuning { heat: 1, steps, doublings: 0 }, ..self }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(clippy::unnecessary_wraps, reason = "other hosts have none")]
fn backend(without: Families) -> Option<Box<dyn Backend>> {
    Some(Box::new(x64::X64::new(without)))
}

#[cfg(target_arch = "aarch64")]
#[expect(clippy::unnecessary_wraps, reason = "other hosts have none")]
fn backend(without: Families) -> Option<Box<dyn Backend>> {
    Some(Box::new(a64::A64::of_host(without)))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn backend(_: Families) -> Option<Box<dyn Backend>> {
    None
}

impl Engine for Translate {
    fn name(&self) -> &'static str {
        self.name
    }

    fn limits(&self) -> Limits {
        Limits { counts_instructions: true, deterministic: true }
    }

    fn create_vcpu(
        &self,
        id: u32,
        model: &CpuModel,
        bus: Arc<dyn Bus>,
    ) -> Result<Box<dyn Vcpu>, EngineError> {
        let (cache, peers) = (self.cache.clone(), self.peers.clone());
        Ok(Box::new(InterpVcpu::new(id, model, self.ram.clone(), bus, |core, _| {
            Translator::new(cache, peers, core, self.tuning)
        })))
    }
}
