//! The video memory: the seam between the chip and the RAM that engines map into the guest.
//!
//! A plane's byte at plane address *n* is byte *4n + plane* here. So the four planes of one address
//! are one 32-bit word, and planar accesses, chain-4, the banks of the Bochs extensions and the
//! linear frame buffer are views of the same bytes.

use std::ops::Range;

/// Bytes of a page, by which stores are tracked.
pub const PAGE: usize = 4096;

/// Video memory. Other views of it may change it at any time: a guest's vCPUs store to the linear
/// frame buffer without the chip's knowledge.
///
/// Its length is a multiple of 64 KiB and at least 256 KiB. What lies beyond reads as FFh and
/// swallows what is stored.
pub trait VideoMemory: Send {
    /// Bytes of it.
    fn len(&self) -> usize;
    /// Whether there is nothing of it.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Copies bytes out, from `at` on.
    fn load(&self, at: usize, data: &mut [u8]);
    /// Copies bytes in, from `at` on.
    fn store(&mut self, at: usize, data: &[u8]);
    /// The word (the four planes) at `at`, a multiple of 4; plane 0 is the lowest byte.
    fn load_word(&self, at: usize) -> u32 {
        let mut word = [0xff; 4];
        self.load(at, &mut word);
        u32::from_le_bytes(word)
    }
    /// Replaces the word at `at`, a multiple of 4.
    fn store_word(&mut self, at: usize, word: u32) {
        self.store(at, &word.to_le_bytes());
    }
    /// Makes `len` bytes from `at` on zero.
    fn clear(&mut self, at: usize, len: usize);
    /// The pages of `part`, counted from 0 and in order, that anyone stored to since they were last
    /// asked about. At first that is all of them. Some more do no harm.
    fn take_dirty(&mut self, part: Range<usize>) -> Vec<usize>;
}

/// Video memory in a vector, which nobody else can see: for tests, and for boards whose engines map
/// nothing.
#[derive(Clone, Debug)]
pub struct PlainMemory {
    bytes: Vec<u8>,
    dirty: Vec<bool>,
}

impl PlainMemory {
    /// `len` zeros.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self { bytes: vec![0; len], dirty: vec![true; len.div_ceil(PAGE)] }
    }

    /// The part of `at` to `at + len` that there is.
    fn part(&self, at: usize, len: usize) -> Range<usize> {
        let end = at.saturating_add(len).min(self.bytes.len());
        at.min(end)..end
    }

    fn mark(&mut self, part: &Range<usize>) {
        if !part.is_empty() {
            self.dirty[part.start / PAGE..part.end.div_ceil(PAGE)].fill(true);
        }
    }
}

impl VideoMemory for PlainMemory {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn load(&self, at: usize, data: &mut [u8]) {
        let part = self.part(at, data.len());
        let (there, beyond) = data.split_at_mut(part.len());
        there.copy_from_slice(&self.bytes[part]);
        beyond.fill(0xff);
    }

    fn store(&mut self, at: usize, data: &[u8]) {
        let part = self.part(at, data.len());
        self.mark(&part);
        self.bytes[part.clone()].copy_from_slice(&data[..part.len()]);
    }

    fn clear(&mut self, at: usize, len: usize) {
        let part = self.part(at, len);
        self.mark(&part);
        self.bytes[part].fill(0);
    }

    fn take_dirty(&mut self, part: Range<usize>) -> Vec<usize> {
        let last = part.end.div_ceil(PAGE);
        let pages = self.dirty.iter_mut().enumerate().take(last).skip(part.start / PAGE);
        pages.filter_map(|(page, dirty)| std::mem::take(dirty).then_some(page)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_mark_pages_and_stay_inside() {
        let mut memory = PlainMemory::new(3 * PAGE);
        let all = 0..3 * PAGE;
        assert_eq!(memory.take_dirty(0..PAGE + 1), [0, 1]);
        assert_eq!(memory.take_dirty(all.clone()), [2]);
        memory.store(PAGE - 1, &[1, 2]);
        assert_eq!(memory.take_dirty(2 * PAGE..3 * PAGE), [0; 0]);
        assert_eq!(memory.take_dirty(all.clone()), [0, 1]);
        assert_eq!(memory.take_dirty(all.clone()), [0; 0]);
        memory.store(3 * PAGE - 1, &[7, 8]);
        memory.store(usize::MAX, &[9]);
        memory.clear(3 * PAGE, usize::MAX);
        assert_eq!(memory.take_dirty(all), [2]);
        let mut data = [0; 3];
        memory.load(3 * PAGE - 1, &mut data);
        assert_eq!((data, memory.load_word(usize::MAX)), ([7, 0xff, 0xff], u32::MAX));
        memory.store_word(PAGE, 0x0403_0201);
        assert_eq!(memory.load_word(PAGE), 0x0403_0201);
    }
}
