//! Conformance: know that the CPU is right, and prove it.
//!
//! Each outside suite has one adapter, a [`Suite`]: it names groups of cases (an instruction form, a
//! file, a test image) and runs a group on one engine. Everything else is the same for all of them
//! and lives here once: [`run`] takes the groups of a [`Shard`], spreads them over threads, holds
//! the failures against the [`Expected`] ones and gives a [`Report`], as text, JSON or JUnit.
//!
//! The crate knows no machine. Who uses it brings what cases run on: [`Candidate`]s, engines for
//! cases of a CPU and RAM alone, and a [`Pc`] for those that boot.
#![forbid(unsafe_code)]

mod expected;
pub mod float;
pub mod host;
pub mod kvm_unit_tests;
pub mod noise;
pub mod pc;
mod progress;
mod report;
mod run;
pub mod sectors;
mod shard;
pub mod single_step;
pub mod streams;
mod suite;
pub mod test386;
pub mod vectors;

pub use expected::{Expected, ExpectedError};
pub use pc::Pc;
pub use report::{Failure, GroupReport, Report};
pub use run::{Options, run};
pub use shard::{Shard, ShardError};
pub use single_step::SingleStep;
pub use streams::Streams;
pub use suite::{Candidate, Suite, Tally};
