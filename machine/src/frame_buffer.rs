//! The display adapter's memory: a piece of the arena, which the memory map shows behind the adapter's
//! BAR.

use std::{ops::Range, sync::Arc};

use trine_devices::{VIDEO_PAGE, VideoMemory};
use trine_guest::Ram;

/// Video memory in the arena. Nobody marks what a guest stores there (KVM would have to take a fault
/// for each page, as often as the screen is looked at), so it compares.
pub(crate) struct FrameBuffer {
    ram: Arc<Ram>,
    /// Its first byte in the arena.
    at: u64,
    len: usize,
    /// The pages as they were when they were last asked about.
    seen: Vec<Option<Box<[u8; VIDEO_PAGE]>>>,
}

impl FrameBuffer {
    /// This part of the arena, whole pages.
    ///
    /// # Panics
    /// If the arena does not have them.
    pub(crate) fn new(ram: Arc<Ram>, part: Range<u64>) -> Self {
        assert!(part.end <= ram.len(), "the video memory lies in the arena");
        let (at, len) = (part.start, (part.end - part.start) as usize);
        Self { ram, at, len, seen: vec![None; len / VIDEO_PAGE] }
    }

    /// How many of `len` bytes from `at` on there are.
    fn bytes(&self, at: usize, len: usize) -> usize {
        len.min(self.len.saturating_sub(at))
    }
}

impl VideoMemory for FrameBuffer {
    fn len(&self) -> usize {
        self.len
    }

    fn load(&self, at: usize, data: &mut [u8]) {
        let (there, beyond) = data.split_at_mut(self.bytes(at, data.len()));
        if !there.is_empty() {
            self.ram.load_bytes(self.at + at as u64, there);
        }
        beyond.fill(0xff);
    }

    fn store(&mut self, at: usize, data: &[u8]) {
        let there = &data[..self.bytes(at, data.len())];
        if !there.is_empty() {
            self.ram.store_bytes(self.at + at as u64, there);
        }
    }

    fn clear(&mut self, at: usize, len: usize) {
        let end = at.saturating_add(self.bytes(at, len));
        let mut page = [0; VIDEO_PAGE];
        for start in (at..end).step_by(VIDEO_PAGE) {
            let part = &mut page[..VIDEO_PAGE.min(end - start)];
            // What is zero already need not become the host's memory.
            self.load(start, part);
            if part.iter().any(|byte| *byte != 0) {
                part.fill(0);
                self.store(start, part);
            }
        }
    }

    fn take_dirty(&mut self, part: Range<usize>) -> Vec<usize> {
        let pages = part.start / VIDEO_PAGE..part.end.div_ceil(VIDEO_PAGE).min(self.seen.len());
        let mut now = [0; VIDEO_PAGE];
        let mut dirty = Vec::new();
        for page in pages {
            self.load(page * VIDEO_PAGE, &mut now);
            match &mut self.seen[page] {
                Some(seen) if **seen == now => continue,
                Some(seen) => **seen = now,
                seen @ None => *seen = Some(Box::new(now)),
            }
            dirty.push(page);
        }
        dirty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_piece_of_the_arena() {
        let ram = Arc::new(Ram::flat(8 << 12).expect("8 pages"));
        let mut memory = FrameBuffer::new(ram.clone(), 2 << 12..6 << 12);
        assert_eq!(memory.take_dirty(0..memory.len()), [0, 1, 2, 3]);
        assert_eq!(memory.take_dirty(0..memory.len()), [0; 0]);
        // A guest stores through the memory map, the adapter through its window.
        ram.store(3 << 12, 0x1234_u16);
        memory.store(0x2fff, &[1, 2]);
        assert_eq!(memory.take_dirty(0x2fff..0x3000), [2]);
        assert_eq!(memory.take_dirty(0..memory.len()), [1, 3]);
        assert_eq!((ram.load::<u16>(0x4fff), memory.load_word(0x1000)), (0x0201, 0x1234));
        // Beyond its end there is nothing, though the arena goes on.
        memory.store(0x3fff, &[7, 8]);
        memory.store(usize::MAX, &[9]);
        let mut data = [0; 3];
        memory.load(0x3fff, &mut data);
        assert_eq!((data, ram.load::<u8>(6 << 12)), ([7, 0xff, 0xff], 0));
        ram.store(6 << 12, 5_u8);
        memory.clear(0x1001, usize::MAX);
        assert_eq!((memory.load_word(0x1000), ram.load::<u8>(0x5fff)), (0x34, 0));
        assert_eq!(ram.load::<u8>(6 << 12), 5);
    }
}
