//! A 256-bit register with a bit for each vector: ISR, TMR or IRR (SDM vol. 3A, section 11.8.4).

use serde::{Deserialize, Serialize};

/// A set of vectors.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Vectors([u32; 8]);

impl Vectors {
    /// The register with these words; vectors that no APIC accepts are left out.
    pub(super) fn from_words(mut words: [u32; 8]) -> Self {
        words[0] &= !0xffff;
        Self(words)
    }

    pub(super) fn set(&mut self, vector: u8) {
        self.0[usize::from(vector >> 5)] |= 1 << (vector & 31);
    }

    pub(super) fn clear(&mut self, vector: u8) {
        self.0[usize::from(vector >> 5)] &= !(1 << (vector & 31));
    }

    pub(super) fn has(&self, vector: u8) -> bool {
        self.0[usize::from(vector >> 5)] & 1 << (vector & 31) != 0
    }

    /// The highest vector of the set.
    pub(super) fn highest(&self) -> Option<u8> {
        let word = self.0.iter().rposition(|word| *word != 0)?;
        Some((word * 32) as u8 + self.0[word].ilog2() as u8)
    }

    /// Whether it holds this vector and no other.
    pub(super) fn is_only(&self, vector: u8) -> bool {
        self.has(vector) && self.0.iter().map(|word| word.count_ones()).sum::<u32>() == 1
    }

    /// The register's word `n`, 0 to 7: vectors `32 * n` and up.
    pub(super) fn word(&self, n: u32) -> u32 {
        self.0[n as usize & 7]
    }

    /// Whether it holds vectors that no APIC accepts.
    pub(super) fn has_illegal(&self) -> bool {
        self.0[0] & 0xffff != 0
    }
}
