//! A vCPU's share of guest RAM: the RAM, and what each of its accesses needs, side by side.
//!
//! A data access asks for RAM's base, its length and, if it stores, its marks. Behind an `Arc` each
//! of them is a load that depends on another; here they lie in whoever holds the share.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
};

use crate::{
    ram::{DIRTY, PAGE_SIZE, Ram},
    word::Word,
};

/// Shared RAM with its addresses at hand. All of [`Ram`] is there; what stands here, too, is the
/// same but quicker.
#[derive(Clone)]
pub struct RamShare {
    ram: Arc<Ram>,
    base: *mut u8,
    marks: *const AtomicU8,
    code_versions: *const AtomicU32,
    /// Pages of the arena.
    pages: u64,
    /// The last offset at which a word of 8 bytes fits.
    last: u64,
}

// SAFETY: the pointers point into `ram`, which is both and lives as long as they do; what they point
// to is only accessed as `Ram` itself does it.
unsafe impl Send for RamShare {}
// SAFETY: as above.
unsafe impl Sync for RamShare {}

impl Deref for RamShare {
    type Target = Ram;
    fn deref(&self) -> &Ram {
        &self.ram
    }
}

impl From<Arc<Ram>> for RamShare {
    fn from(ram: Arc<Ram>) -> Self {
        let (marks, code_versions) = ram.page_tables();
        Self {
            base: ram.host_address(),
            marks: marks.as_ptr(),
            code_versions: code_versions.as_ptr(),
            pages: ram.len() / PAGE_SIZE,
            last: ram.len() - 8,
            ram,
        }
    }
}

impl RamShare {
    /// The word of up to 8 bytes at `offset`, which may be unaligned; `None` where one of 8 bytes
    /// would not lie in the arena.
    #[inline(always)]
    #[must_use]
    pub fn load_quick<T: Word>(&self, offset: u64) -> Option<T> {
        // SAFETY: that bounds the access; `Word::load` allows any alignment and races.
        self.has_room::<T>(offset).then(|| unsafe { T::load(self.base.add(offset as usize)) })
    }

    /// Whether a store within the page of `offset` would change no marks: the page is dirty already
    /// and holds no decoded code. False where a word of 8 bytes would not lie in the arena.
    #[inline(always)]
    #[must_use]
    pub fn page_is_quiet(&self, offset: u64) -> bool {
        let page = offset / PAGE_SIZE;
        // SAFETY: there are marks for every page of the arena.
        self.has_room::<u64>(offset)
            && unsafe { &*self.marks.add(page as usize) }.load(Ordering::Relaxed) == DIRTY
    }

    /// Stores a word of up to 8 bytes within a page for which [`RamShare::page_is_quiet`] was just
    /// true: leaves the marks alone. Stores nothing where that cannot have been.
    #[inline(always)]
    pub fn store_quiet<T: Word>(&self, offset: u64, value: T) {
        if self.has_room::<T>(offset) {
            // SAFETY: that bounds the access; `Word::store` allows any alignment and races.
            unsafe { T::store(self.base.add(offset as usize), value) };
        }
    }

    /// As [`Ram::code_version`], for the page of this number; `None` outside of the arena.
    #[inline(always)]
    #[must_use]
    pub fn code_version_of_page(&self, page: u32) -> Option<u32> {
        // SAFETY: there is a version for every page of the arena.
        (u64::from(page) < self.pages)
            .then(|| unsafe { &*self.code_versions.add(page as usize) }.load(Ordering::Acquire))
    }

    /// One comparison that bounds words of any size.
    #[inline(always)]
    fn has_room<T: Word>(&self, offset: u64) -> bool {
        const { assert!(size_of::<T>() <= 8) };
        offset <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share() -> RamShare {
        Arc::new(Ram::flat(0x2000).expect("two pages")).into()
    }

    #[test]
    fn words_up_to_the_end() {
        let share = share();
        for at in 0x1ff0..=0x1ff8 {
            share.store_quiet(at, 0x1122_3344_5566_7788_u64);
            assert_eq!(share.load_quick(at), Some(0x1122_3344_5566_7788_u64));
            share.store_quiet(at, 0x99_u8);
            assert_eq!(
                (share.load_quick(at), share.load_quick(at)),
                (Some(0x99_u8), Some(0x7799_u16))
            );
        }
        assert_eq!(share.ram.load::<u32>(0x1ff8), 0x5566_7799);
    }

    #[test]
    fn nothing_beyond_the_end() {
        let share = share();
        for offset in [0x1ff9, 0x1fff, 0x2000, u64::MAX - 7, u64::MAX] {
            share.store_quiet(offset, u64::MAX);
            assert_eq!(share.load_quick::<u64>(offset), None);
            assert_eq!(share.load_quick::<u8>(offset), None);
            assert!(!share.page_is_quiet(offset));
        }
        assert_eq!(share.ram.load::<u64>(0x1ff8), 0);
    }

    #[test]
    fn a_page_is_quiet_once_it_is_dirty_and_holds_no_code() {
        let share = share();
        assert!(!share.page_is_quiet(0x1ff8));
        share.ram.store(0x1000, 1_u8);
        assert!(share.page_is_quiet(0x1ff8) && !share.page_is_quiet(0));
        share.ram.mark_code(0x1000, 1);
        assert!(!share.page_is_quiet(0x1ff8));
        assert_eq!((share.code_version_of_page(1), share.code_version_of_page(2)), (Some(0), None));
        share.ram.store(0x1000, 1_u8);
        assert_eq!(share.code_version_of_page(1), Some(1));
    }
}
