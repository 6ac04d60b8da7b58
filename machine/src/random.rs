//! Random bits for RDRAND, RDSEED and the entropy device.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::ClockKind;

/// Where random bits come from.
pub(crate) enum Random {
    /// The host's operating system.
    Host,
    /// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), so that a run can be repeated.
    Seeded(AtomicU64),
}

impl Random {
    /// Unpredictable bits, except where the run must be reproducible.
    pub(crate) fn new(clock: ClockKind, seed: u64) -> Self {
        match clock {
            ClockKind::Host => Self::Host,
            ClockKind::Instructions => Self::Seeded(AtomicU64::new(seed)),
        }
    }

    /// Where the sequence stands; nothing for bits that cannot be repeated.
    pub(crate) fn save(&self) -> Option<u64> {
        match self {
            Self::Host => None,
            Self::Seeded(state) => Some(state.load(Ordering::Relaxed)),
        }
    }

    /// Goes on from where a sequence stood, if this is one.
    pub(crate) fn load(&self, saved: Option<u64>) {
        if let (Self::Seeded(state), Some(saved)) = (self, saved) {
            state.store(saved, Ordering::Relaxed);
        }
    }

    /// Fills `bytes`.
    pub(crate) fn fill(&self, bytes: &mut [u8]) {
        if matches!(self, Self::Host) && getrandom::fill(bytes).is_ok() {
            return;
        }
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
    }

    /// 64 bits.
    pub(crate) fn next(&self) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        match self {
            Self::Host => getrandom::u64().unwrap_or_else(|e| {
                // The hash keys of the standard library come from the host's entropy too.
                log::debug!("the host has no random bits: {e}");
                RandomState::new().hash_one(GOLDEN)
            }),
            Self::Seeded(state) => {
                let z = state.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
                let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ z >> 31
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_bits_repeat_and_follow_the_reference() {
        let one = Random::new(ClockKind::Instructions, 0);
        let two = Random::new(ClockKind::Instructions, 0);
        // The first output of SplitMix64 from state 0.
        assert_eq!(one.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(two.next(), 0xe220_a839_7b1d_cdaf);
        let mut bytes = [0; 11];
        two.fill(&mut bytes);
        assert_eq!(bytes[..8], one.next().to_le_bytes()[..8], "the second output");
        assert_eq!(bytes[8..], one.next().to_le_bytes()[..3], "and the third");
        let host = Random::new(ClockKind::Host, 0);
        assert_ne!(host.next(), host.next());
    }
}
