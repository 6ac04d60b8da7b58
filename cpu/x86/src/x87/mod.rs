//! The x87 FPU's instructions.
//!
//! All are cold functions over [`crate::Core`] with the same course: the FPU must be there to use
//! and no exception pending ([`exception`]); the memory operand is read, or proved writable; then
//! nothing can fault any more, and the pointers to instruction and operand, the registers and the
//! status word change. What an operation raises goes through [`exception`] too, which says whether
//! its result may be delivered.
//!
//! The pointers are the classic ones: every instruction that is not a control instruction sets
//! FIP and FCS, and FDP and FDS if it has a memory operand, whether it raises anything or not
//! (CPUID's leaf 7 does not offer FDP_EXCPTN_ONLY or the deprecation of FCS and FDS). FOP is set
//! by instructions that leave an unmasked exception, as all CPUs do since the Pentium 4.
//!
//! Source: SDM vol. 1, chapter 8; vol. 2, the instructions' pages.

pub(crate) mod arith;
pub(crate) mod compare;
pub(crate) mod control;
pub(crate) mod environment;
pub(crate) mod exception;
pub(crate) mod function;
pub(crate) mod load;
pub(crate) mod operand;
pub(crate) mod stack;
pub(crate) mod store;
