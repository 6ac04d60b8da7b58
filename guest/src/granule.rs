//! Where decoded code lies, finer than pages: a bit for each 64 bytes of RAM.
//!
//! Programs keep data beside their code: constants, jump tables, a word that a system call's stub
//! counts in. A store there changes no code, and should cost about what a store costs.

use std::{
    alloc::{Layout, alloc_zeroed, handle_alloc_error},
    sync::atomic::{AtomicU64, Ordering, fence},
};

use crate::PAGE_SIZE;

/// Bytes for which one bit says whether code was decoded from them.
pub const GRANULE_SIZE: u64 = 64;

const _: () = assert!(PAGE_SIZE / GRANULE_SIZE == u64::BITS as u64, "a word for each page");

/// What [`Ram::mark_code`](crate::Ram::mark_code) has changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Marked {
    /// Nothing: all of it was marked.
    Already,
    /// A granule was not marked, in a page that holds other code.
    Granule,
    /// It is the first code of its page.
    Page,
}

/// Where there is decoded code, as seen from some bytes of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeNear {
    /// Not in their page.
    Nowhere,
    /// In their page, but in no granule that they touch.
    Beside,
    /// In a granule that they touch.
    Here,
}

/// The granules of a page that `size` bytes at `offset` touch, which lie in one page and are at
/// least one: a bit for each, the page's first granule lowest.
#[inline(always)]
pub(crate) fn granules(offset: u64, size: u64) -> u64 {
    let first = offset % PAGE_SIZE / GRANULE_SIZE;
    let last = (offset % PAGE_SIZE + size - 1) / GRANULE_SIZE;
    let count = (last - first).min(63) + 1;
    u64::MAX >> (64 - count) << first
}

/// The bits of all pages. Who stores looks at them after the store, who decodes sets them before the
/// bytes are read; between the two of them one sees what the other did.
pub(crate) struct CodeMap(Box<[AtomicU64]>);

impl CodeMap {
    /// A map of so many pages, without code.
    pub(crate) fn new(pages: usize) -> Self {
        // SAFETY: all zeros are an `AtomicU64`.
        Self(unsafe { zeroed(pages) })
    }

    /// Sets bits of a page; returns whether one was clear.
    pub(crate) fn set(&self, page: usize, bits: u64) -> bool {
        let Some(word) = self.0.get(page) else { return false };
        bits & !word.load(Ordering::SeqCst) != 0
            && bits & !word.fetch_or(bits, Ordering::SeqCst) != 0
    }

    /// Whether any of these bits of a page is set.
    pub(crate) fn any(&self, page: usize, bits: u64) -> bool {
        self.0.get(page).is_some_and(|word| word.load(Ordering::SeqCst) & bits != 0)
    }

    /// The same after stores that were just made, which all others see before the bits are read.
    pub(crate) fn any_after_stores(&self, page: usize, bits: u64) -> bool {
        fence(Ordering::SeqCst);
        self.any(page, bits)
    }
}

/// `len` values that are all zeros, for which the host gives no memory until they are touched.
///
/// # Safety
/// All zeros are a `T`.
pub(crate) unsafe fn zeroed<T>(len: usize) -> Box<[T]> {
    let layout = Layout::array::<T>(len).expect("less than the RAM that it is for");
    if layout.size() == 0 {
        return Box::default();
    }
    // SAFETY: the layout has a size, and is that of the box which from here on owns the memory; all
    // zeros are values.
    unsafe {
        let first = alloc_zeroed(layout);
        if first.is_null() {
            handle_alloc_error(layout);
        }
        Box::from_raw(std::ptr::slice_from_raw_parts_mut(first.cast(), len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granules_that_bytes_touch() {
        assert_eq!(granules(0x5000, 1), 1);
        assert_eq!(granules(0x503f, 1), 1);
        assert_eq!(granules(0x503f, 2), 3);
        assert_eq!(granules(0x5040, 64), 2);
        assert_eq!(granules(0x5041, 64), 6);
        assert_eq!(granules(0x5ff8, 8), 1 << 63);
        assert_eq!(granules(0x5000, PAGE_SIZE), u64::MAX);
    }

    #[test]
    fn bits_are_new_once() {
        let map = CodeMap::new(2);
        assert!(map.set(1, 6) && !map.set(1, 2) && map.set(1, 0xc));
        assert!(map.any(1, 8) && !map.any(1, 1) && !map.any(0, u64::MAX));
        assert!(!map.set(2, 1) && !map.any(2, 1));
    }
}
