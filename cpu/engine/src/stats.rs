//! Counters of a vCPU, with one schema for all engines.

use serde::{Deserialize, Serialize};

/// What happened on a vCPU since it was made. An engine leaves at 0 what it cannot count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Guest instructions retired.
    pub instructions: u64,
    /// Blocks of decoded or translated instructions that were entered.
    pub blocks_entered: u64,
    /// Blocks decoded or translated.
    pub blocks_made: u64,
    /// Blocks dropped because their bytes changed.
    pub blocks_stale: u64,
    /// Software TLB misses.
    pub tlb_misses: u64,
    /// Software TLB flushes.
    pub tlb_flushes: u64,
    /// Exceptions delivered.
    pub exceptions: u64,
    /// Maskable interrupts delivered.
    pub interrupts: u64,
    /// Accesses to memory that is not RAM.
    pub mmio: u64,
    /// IN and OUT instructions (each repetition counts).
    pub port_io: u64,
    /// Times the vCPU went idle.
    pub halts: u64,
    /// Bytes of host code made, by all vCPUs of the machine together.
    pub code_bytes: u64,
    /// Guest instructions retired as host code, of [`Stats::instructions`].
    pub instructions_translated: u64,
    /// Regions of guest code translated to host code, by all vCPUs of the machine together.
    pub translations: u64,
    /// Of these, those dropped because the guest changed its code; the same.
    pub translations_stale: u64,
    /// Times that all translations were dropped to make room; the same.
    pub translation_flushes: u64,
    /// Host time spent on reading, decoding and translating guest code, in nanoseconds; 0 unless
    /// [`crate::Vcpu::count_events`] was called.
    pub making_ns: u64,
    /// Host time for which the vCPU was idle inside of [`crate::Vcpu::run`], in nanoseconds, where the
    /// host waits for its interrupts.
    pub asleep_ns: u64,
}

impl Stats {
    /// The sum of two vCPUs' counters.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            instructions: self.instructions + other.instructions,
            blocks_entered: self.blocks_entered + other.blocks_entered,
            blocks_made: self.blocks_made + other.blocks_made,
            blocks_stale: self.blocks_stale + other.blocks_stale,
            tlb_misses: self.tlb_misses + other.tlb_misses,
            tlb_flushes: self.tlb_flushes + other.tlb_flushes,
            exceptions: self.exceptions + other.exceptions,
            interrupts: self.interrupts + other.interrupts,
            mmio: self.mmio + other.mmio,
            port_io: self.port_io + other.port_io,
            halts: self.halts + other.halts,
            code_bytes: self.code_bytes.max(other.code_bytes),
            instructions_translated: self.instructions_translated + other.instructions_translated,
            translations: self.translations.max(other.translations),
            translations_stale: self.translations_stale.max(other.translations_stale),
            translation_flushes: self.translation_flushes.max(other.translation_flushes),
            making_ns: self.making_ns + other.making_ns,
            asleep_ns: self.asleep_ns + other.asleep_ns,
        }
    }
}
