//! The x86 instruction set: state, decoding and the meaning of every instruction.
//!
//! There is no engine in this crate. [`CpuState`] is a CPU's state as everybody exchanges it;
//! [`Core`] is its working form, which the software engines share, with the memory access path and
//! every cold instruction as methods and functions over it. Hot instructions are generic functions
//! over [`Sem`]; [`pick`] names the one for a decoded [`Insn`].
#![forbid(unsafe_code)]

mod bits;
mod bus;
mod core;
mod decode;
mod effect;
mod fault;
mod flags;
mod fxsave;
mod insn;
mod int;
mod memory;
mod model;
mod operand;
mod paging;
mod segment;
mod select;
mod sem;
mod simd;
mod state;
mod system;
mod tally;
mod tlb;
mod x87;
mod xsave;

pub use bits::{cr0, cr4, debugctl, dr6, dr7, efer, msr, rflags, xcr0};
pub use bus::{Access, Bus, MsrFault, NoBus, Pins};
pub use core::{Core, Counters, Extent, Hunches, Translated};
pub use decode::{BLOCK_BYTES, BLOCK_INSNS, Decoded, Decoder};
pub use effect::FlagEffect;
pub use fault::{Exception, Raised, TripleFault, vector};
pub use flags::Flags;
pub use insn::{Insn, Mode, Seg, Width, slot};
pub use memory::Place;
pub use model::{CpuModel, Feature, ModelError, Vendor};
pub use paging::Intent;
pub use segment::is_canonical;
pub use select::pick;
pub use sem::{
    Checked, Cold, Flag, Flat32, Flat64, Indexed64, Pick, Pure, Reach, Rmw, Sem, Semantics, Size,
    size,
};
pub use state::{
    Activity, Control, CpuState, Debug, Events, Msrs, Segment, Segments, Shadow, Simd, Table, X87,
};
pub use tally::{Cause, EventCount, Tally, disassemble, event};
pub use tlb::{Class, Cursor, Entry, Tlb};
