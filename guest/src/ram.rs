//! Guest RAM: an arena of bytes, the map that shows pieces of it in guest physical space, and a byte
//! of marks for each page.
//!
//! Everything that runs while the guest runs goes by *offset* into the arena, which a software
//! TLB remembers; guest physical addresses are resolved once for each page. The arena stays as it
//! is as long as the RAM lives. The map ([`Ram::remap`]) may change at any time: what it does not show
//! keeps its contents, and what it shows twice is one memory. Accesses from any
//! number of threads are defined: words are read and written with single atomic (or, unaligned,
//! volatile) instructions, locked operations are compare-and-swap loops.
//!
//! Each store, whoever makes it, looks at the page's marks. So dirty pages are known without
//! write protection, and a store into 64 bytes from which code was decoded raises the page's
//! [`Ram::code_version`], which every holder of decoded code compares before it runs.

use std::{
    fs::File,
    sync::{
        Mutex, PoisonError, Weak,
        atomic::{AtomicU8, AtomicU32, Ordering, fence},
    },
};

use memmap2::{MmapOptions, MmapRaw};
use thiserror::Error;

use crate::{
    Gpa,
    granule::{CodeMap, CodeNear, Marked, granules, zeroed},
    map::{self, Map},
    word::{self, Word},
};

/// Bytes of a page, of the marks and of a region's granularity.
pub const PAGE_SIZE: u64 = 4096;

pub(crate) const DIRTY: u8 = 1;
const CODE: u8 = 2;

/// What a region does with stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionKind {
    /// Reads back what was stored.
    Ram,
    /// Ignores the guest's stores.
    Rom,
}

/// A piece of guest physical space that shows a piece of the arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// Its first address, a multiple of [`PAGE_SIZE`].
    pub start: Gpa,
    /// Its bytes, a multiple of [`PAGE_SIZE`].
    pub len: u64,
    /// RAM or ROM.
    pub kind: RegionKind,
}

/// Where a guest physical address lies in the arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spot {
    /// Offset into the arena.
    pub offset: u64,
    /// Bytes from here to the end of the region, at least 1.
    pub run: u64,
    /// Whether the guest may store there.
    pub writable: bool,
}

/// Why there is no such RAM.
#[derive(Debug, Error)]
pub enum RamError {
    /// The regions overlap, wrap or are not made of whole pages.
    #[error("memory region at {at} of {len} bytes is empty, unaligned or overlaps another")]
    Layout {
        /// The region's start.
        at: Gpa,
        /// Its bytes.
        len: u64,
    },
    /// A region shows what the arena does not have, or parts of pages.
    #[error("memory region at {at} shows what is at {offset:#x}, and there are {arena:#x} bytes")]
    Beyond {
        /// The region's start.
        at: Gpa,
        /// What it shows.
        offset: u64,
        /// Bytes of the arena.
        arena: u64,
    },
    /// A map has too many regions.
    #[error("{0} memory regions are too many")]
    Regions(usize),
    /// The host gives no such arena.
    #[error("the host cannot map {bytes} bytes of guest memory: {source}")]
    Map {
        /// Bytes wanted.
        bytes: u64,
        /// What the host said.
        source: std::io::Error,
    },
    /// An access of the machine itself (a loader, a debugger) outside of RAM.
    #[error("{len} bytes at {at} are not in the guest's memory")]
    Outside {
        /// The first address.
        at: Gpa,
        /// The bytes.
        len: u64,
    },
}

/// Somebody who has told others of the memory map, and tells them when it changes.
pub trait MapWatcher: Send + Sync {
    /// There is a new map: see [`Ram::regions`]. It is called on the thread that changed it, one
    /// change after the other, and must not change it itself.
    fn map_changed(&self);
}

/// The guest's memory. Shared by reference between all vCPUs and devices.
pub struct Ram {
    arena: MmapRaw,
    file: Option<File>,
    /// Bytes of the arena; the bound of every access.
    len: u64,
    map: Map,
    /// Held while the map changes.
    watchers: Mutex<Vec<Weak<dyn MapWatcher>>>,
    marks: Box<[AtomicU8]>,
    code_versions: Box<[AtomicU32]>,
    /// Where in the pages marked so the code is.
    code: CodeMap,
    dirty_epoch: AtomicU32,
    /// Held across a locked operation that no host instruction does in one piece.
    split_lock: Mutex<()>,
}

impl Ram {
    /// RAM of `len` bytes at address 0.
    ///
    /// # Errors
    /// As [`Ram::new`].
    pub fn flat(len: u64) -> Result<Self, RamError> {
        Self::new(&[Region { start: Gpa(0), len, kind: RegionKind::Ram }])
    }

    /// Memory made of `regions`, all zero, each behind the one before it in the arena. Pages that
    /// nobody touches cost the host nothing.
    ///
    /// # Errors
    /// If the regions are not whole, disjoint pages, or the host has no room for them.
    pub fn new(regions: &[Region]) -> Result<Self, RamError> {
        let mut sorted = regions.to_vec();
        sorted.sort_by_key(|r| r.start);
        let (mut placed, mut len) = (Vec::new(), 0_u64);
        for r in sorted {
            placed.push((r, len));
            len = len.checked_add(r.len).ok_or(RamError::Layout { at: r.start, len: r.len })?;
        }
        Self::with_arena(len, &placed)
    }

    /// An arena of `len` bytes, all zero, of which `regions` show pieces, each with its offset there.
    ///
    /// # Errors
    /// As [`Ram::remap`]; or the arena is empty or not made of whole pages, or the host has no room.
    pub fn with_arena(len: u64, regions: &[(Region, u64)]) -> Result<Self, RamError> {
        let regions = map::checked(regions, len)?;
        let failed = |source| RamError::Map { bytes: len, source };
        let bytes = usize::try_from(len)
            .ok()
            .filter(|b| *b > 0 && *b <= isize::MAX as usize / 2 && len.is_multiple_of(PAGE_SIZE))
            .ok_or_else(|| failed(std::io::ErrorKind::OutOfMemory.into()))?;
        let (arena, file) = reserve(bytes).map_err(failed)?;
        let pages = bytes / PAGE_SIZE as usize;
        let map = Map::default();
        map.replace(&regions);
        Ok(Self {
            arena,
            file,
            len,
            map,
            watchers: Mutex::default(),
            // SAFETY: all zeros are such integers.
            marks: unsafe { zeroed(pages) },
            // SAFETY: as above.
            code_versions: unsafe { zeroed(pages) },
            code: CodeMap::new(pages),
            dirty_epoch: AtomicU32::new(0),
            split_lock: Mutex::new(()),
        })
    }

    /// Replaces the map: from now on `regions` show pieces of the arena, each with its offset there.
    /// Says whether it is another map than before. Watchers have been told when this returns; who
    /// keeps translations of addresses looks at [`Ram::map_epoch`].
    ///
    /// # Errors
    /// If the regions are not whole pages, overlap, show what the arena does not have or are more than
    /// [`REGIONS_MAX`](crate::REGIONS_MAX). Nothing has changed then.
    pub fn remap(&self, regions: &[(Region, u64)]) -> Result<bool, RamError> {
        let regions = map::checked(regions, self.len)?;
        // A watcher that panicked has stopped its machine.
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        if regions == self.map.regions() {
            return Ok(false);
        }
        self.map.replace(&regions);
        watchers.retain(|watcher| match watcher.upgrade() {
            Some(watcher) => {
                watcher.map_changed();
                true
            }
            None => false,
        });
        Ok(true)
    }

    /// Tells `watcher` of each new map, as long as there is one.
    pub fn watch_map(&self, watcher: Weak<dyn MapWatcher>) {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(watcher);
    }

    /// Counts the maps that there have been. A thread that was told of a change sees that it counts
    /// one more, and [`Ram::spot`] the new map.
    #[inline]
    #[must_use]
    pub fn map_epoch(&self) -> u32 {
        self.map.epoch()
    }

    /// The regions, by address, each with its offset in the arena.
    #[must_use]
    pub fn regions(&self) -> Vec<(Region, u64)> {
        self.map.regions()
    }

    /// Bytes of the arena.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no memory (there always is some).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory's file, where the host has one: to share it, map it again or send it.
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// The arena's first byte in host memory, for engines that map it elsewhere.
    #[must_use]
    pub fn host_address(&self) -> *mut u8 {
        self.arena.as_mut_ptr()
    }

    /// Where `at` lies in the arena; `None` in a hole.
    #[must_use]
    pub fn spot(&self, at: Gpa) -> Option<Spot> {
        self.map.spot(at)
    }

    /// Where the guest sees the byte at `offset`, the inverse of [`Ram::spot`]: at any of its
    /// addresses, but at one where it may store if there is such; `None` if the map does not show it.
    #[must_use]
    pub fn gpa_of(&self, offset: u64) -> Option<Gpa> {
        self.map.gpa_of(offset)
    }

    /// The word at `offset`, which may be unaligned.
    ///
    /// # Panics
    /// If it does not lie in the arena.
    #[inline(always)]
    #[must_use]
    pub fn load<T: Word>(&self, offset: u64) -> T {
        self.check(offset, size_of::<T>() as u64);
        // SAFETY: `check` has bounded the access; `Word::load` allows any alignment and races.
        unsafe { T::load(self.arena.as_ptr().add(offset as usize)) }
    }

    /// Stores a word at `offset`, which may be unaligned. True if a granule that it touched holds
    /// decoded code: the vCPU that stored has to look whether it is its own.
    ///
    /// # Panics
    /// If it does not lie in the arena.
    #[inline(always)]
    pub fn store<T: Word>(&self, offset: u64, value: T) -> bool {
        self.check(offset, size_of::<T>() as u64);
        // SAFETY: `check` has bounded the access; `Word::store` allows any alignment and races.
        unsafe { T::store(self.arena.as_mut_ptr().add(offset as usize), value) };
        self.touch(offset, size_of::<T>() as u64)
    }

    /// Whether a store of `size` bytes (1 to 8) at `offset` would change no marks: its pages are
    /// dirty already and hold no decoded code. False outside of the arena.
    #[inline(always)]
    #[must_use]
    pub fn is_quiet(&self, offset: u64, size: u64) -> bool {
        size <= self.len && offset <= self.len - size && self.marks_are_quiet(offset, size)
    }

    /// Replaces the word at `offset` by `f` of it in one atomic step, and returns the old word and
    /// what [`Ram::store`] returns. `f` may be called more than once.
    ///
    /// # Panics
    /// If it does not lie in the arena.
    pub fn update<T: Word>(&self, offset: u64, f: impl FnMut(T) -> T) -> (T, bool) {
        self.check(offset, size_of::<T>() as u64);
        // SAFETY: `check` has bounded the access; `Word::update` allows any alignment and races.
        let old =
            unsafe { T::update(self.arena.as_mut_ptr().add(offset as usize), &self.split_lock, f) };
        (old, self.touch(offset, size_of::<T>() as u64))
    }

    /// Fills `data` from the arena. Not atomic as a whole.
    ///
    /// # Panics
    /// If it does not lie in the arena.
    pub fn load_bytes(&self, offset: u64, data: &mut [u8]) {
        self.check(offset, data.len() as u64);
        // SAFETY: `check` has bounded the whole.
        unsafe { word::load_all(self.arena.as_ptr().add(offset as usize), data) }
    }

    /// Stores `data` into the arena; returns what [`Ram::store`] returns. Not atomic as a whole.
    ///
    /// # Panics
    /// If it does not lie in the arena.
    pub fn store_bytes(&self, offset: u64, data: &[u8]) -> bool {
        self.check(offset, data.len() as u64);
        if data.is_empty() {
            return false;
        }
        // SAFETY: `check` has bounded the whole.
        unsafe { word::store_all(self.arena.as_mut_ptr().add(offset as usize), data) }
        self.touch_pages(offset, data.len() as u64)
    }

    /// Stores `pattern` from its lowest byte on, over and over, into `len` bytes; returns what
    /// [`Ram::store`] returns. Not atomic as a whole.
    ///
    /// # Panics
    /// If they do not lie in the arena.
    pub fn fill(&self, offset: u64, len: u64, pattern: u64) -> bool {
        self.check(offset, len);
        // SAFETY: `check` has bounded the whole.
        unsafe {
            word::fill(self.arena.as_mut_ptr().add(offset as usize), len as usize, pattern);
        }
        self.touch_pages(offset, len)
    }

    /// Copies `len` bytes within the arena as if byte by byte, upwards, so that what lies a little
    /// below `to` is repeated; returns what [`Ram::store`] returns. Not atomic as a whole.
    ///
    /// # Panics
    /// If they do not lie in the arena.
    pub fn copy(&self, from: u64, to: u64, len: u64) -> bool {
        self.check(from, len);
        self.check(to, len);
        let arena = self.arena.as_mut_ptr();
        // SAFETY: `check` has bounded both.
        unsafe { word::copy(arena.add(from as usize), arena.add(to as usize), len as usize) }
        self.touch_pages(to, len)
    }

    /// The marks after a store of so many bytes; returns what [`Ram::store`] returns.
    fn touch_pages(&self, mut at: u64, mut len: u64) -> bool {
        let mut code = false;
        while len != 0 {
            let part = (PAGE_SIZE - at % PAGE_SIZE).min(len);
            code |= self.touch(at, part);
            (at, len) = (at + part, len - part);
        }
        code
    }

    /// Gives the host what pages of the arena take of its memory, as far as it takes it back; they are
    /// all zeros then, on every host. To all who look at marks this is a store.
    ///
    /// # Panics
    /// If they are not whole pages in the arena.
    pub fn discard(&self, offset: u64, len: u64) {
        self.check(offset, len);
        assert!((offset | len).is_multiple_of(PAGE_SIZE), "parts of pages cannot be given back");
        let pages = (offset..offset + len).step_by(PAGE_SIZE as usize);
        if len == 0 || self.is_released(offset, len) {
            pages.for_each(|page| _ = self.touch(page, PAGE_SIZE));
        } else {
            pages.for_each(|page| _ = self.fill(page, PAGE_SIZE, 0));
        }
    }

    /// Whether the host has taken these pages back and has zeros in their place, for all who map them.
    #[cfg(target_os = "linux")]
    fn is_released(&self, offset: u64, len: u64) -> bool {
        use rustix::fs::{FallocateFlags, fallocate};
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        self.file.as_ref().is_some_and(|file| fallocate(file, hole, offset, len).is_ok())
    }

    #[cfg(not(target_os = "linux"))]
    fn is_released(&self, _offset: u64, _len: u64) -> bool {
        false
    }

    /// Reads guest physical memory for the machine or a device.
    ///
    /// # Errors
    /// If a part of it is not memory; `data` is then partly filled.
    pub fn read(&self, at: Gpa, data: &mut [u8]) -> Result<(), RamError> {
        let outside = RamError::Outside { at, len: data.len() as u64 };
        let (mut at, mut rest) = (at, data);
        while !rest.is_empty() {
            let Some(spot) = self.spot(at) else { return Err(outside) };
            let (now, later) = rest.split_at_mut(spot.run.min(rest.len() as u64) as usize);
            self.load_bytes(spot.offset, now);
            at = at.offset(now.len() as u64);
            rest = later;
        }
        Ok(())
    }

    /// Writes guest physical memory for the machine or a device; ROM keeps its contents.
    ///
    /// # Errors
    /// If a part of it is not memory; what lies before that part is written.
    pub fn write(&self, at: Gpa, data: &[u8]) -> Result<(), RamError> {
        self.copy_in(at, data, false)
    }

    /// Writes guest physical memory, ROM included: how firmware gets there.
    ///
    /// # Errors
    /// As [`Ram::write`].
    pub fn program(&self, at: Gpa, data: &[u8]) -> Result<(), RamError> {
        self.copy_in(at, data, true)
    }

    fn copy_in(&self, at: Gpa, data: &[u8], rom: bool) -> Result<(), RamError> {
        let outside = RamError::Outside { at, len: data.len() as u64 };
        let (mut at, mut rest) = (at, data);
        while !rest.is_empty() {
            let Some(spot) = self.spot(at) else { return Err(outside) };
            let (now, later) = rest.split_at(spot.run.min(rest.len() as u64) as usize);
            if spot.writable || rom {
                self.store_bytes(spot.offset, now);
            }
            at = at.offset(now.len() as u64);
            rest = later;
        }
        Ok(())
    }

    /// Marks the granules of `size` bytes at `offset`, which lie in one page and are at least one, as
    /// those from which code was decoded, and says what is new. Call it before the bytes are read.
    ///
    /// The first mark of a page races with stores that are under way on other threads: one whose
    /// thread has looked at the marks before, and whose bytes arrive after they were read here, is
    /// not counted. Later stores always are, in the page's other granules, too.
    pub fn mark_code(&self, offset: u64, size: u64) -> Marked {
        let page = (offset / PAGE_SIZE) as usize;
        let Some(marks) = self.marks.get(page) else { return Marked::Already };
        let is_new = self.code.set(page, granules(offset, size));
        let is_first = marks.load(Ordering::SeqCst) & CODE == 0
            && marks.fetch_or(CODE, Ordering::SeqCst) & CODE == 0;
        fence(Ordering::SeqCst);
        match (is_first, is_new) {
            (true, _) => Marked::Page,
            (false, true) => Marked::Granule,
            (false, false) => Marked::Already,
        }
    }

    /// Where code was decoded from, as seen from `size` bytes at `offset`, which lie in one page and
    /// are at least one.
    #[must_use]
    pub fn code_near(&self, offset: u64, size: u64) -> CodeNear {
        let page = (offset / PAGE_SIZE) as usize;
        let Some(marks) = self.marks.get(page) else { return CodeNear::Nowhere };
        self.seen_near(marks.load(Ordering::SeqCst), offset, size)
    }

    /// Marks the page that holds `offset` as dirty, for who will store `size` bytes there without
    /// looking at its marks, and returns what [`Ram::code_near`] does. Such stores are allowed
    /// anywhere in a page without code, and to these bytes if there is code beside them; until
    /// somebody marks some, who has to know of such stores and wait for them.
    pub fn mark_dirty(&self, offset: u64, size: u64) -> CodeNear {
        let Some(marks) = self.marks.get((offset / PAGE_SIZE) as usize) else {
            return CodeNear::Nowhere;
        };
        self.seen_near(set_dirty(marks), offset, size)
    }

    fn seen_near(&self, marks: u8, offset: u64, size: u64) -> CodeNear {
        match marks & CODE != 0 {
            false => CodeNear::Nowhere,
            true if self.code.any((offset / PAGE_SIZE) as usize, granules(offset, size)) => {
                CodeNear::Here
            }
            true => CodeNear::Beside,
        }
    }

    /// Counts the calls of [`Ram::take_dirty`]: whoever stores without looking at marks has to mark
    /// pages dirty again when it has moved.
    #[inline]
    #[must_use]
    pub fn dirty_epoch(&self) -> u32 {
        self.dirty_epoch.load(Ordering::Acquire)
    }

    /// The address of the word that [`Ram::code_version`] reads, for generated code. It stays where
    /// it is as long as this RAM lives.
    #[must_use]
    pub fn code_version_address(&self, offset: u64) -> Option<*const AtomicU32> {
        self.code_versions.get((offset / PAGE_SIZE) as usize).map(std::ptr::from_ref)
    }

    /// How often granules with code, in the page that holds `offset`, were stored to.
    #[inline(always)]
    #[must_use]
    pub fn code_version(&self, offset: u64) -> u32 {
        match self.code_versions.get((offset / PAGE_SIZE) as usize) {
            Some(version) => version.load(Ordering::Acquire),
            None => 0,
        }
    }

    /// The offsets of the pages that were stored to since the last call, in order. A store that is
    /// under way on another thread may be missed: who needs every page stops the vCPUs first.
    pub fn take_dirty(&self) -> Vec<u64> {
        self.dirty_epoch.fetch_add(1, Ordering::SeqCst);
        let mut dirty = Vec::new();
        for (page, marks) in self.marks.iter().enumerate() {
            if marks.load(Ordering::Relaxed) & DIRTY != 0 {
                marks.fetch_and(!DIRTY, Ordering::SeqCst);
                dirty.push(page as u64 * PAGE_SIZE);
            }
        }
        dirty
    }

    /// The marks and the code versions of all pages: boxes that stay as long as this RAM lives.
    pub(crate) fn page_tables(&self) -> (&[AtomicU8], &[AtomicU32]) {
        (&self.marks, &self.code_versions)
    }

    #[inline(always)]
    fn check(&self, offset: u64, size: u64) {
        assert!(size <= self.len && offset <= self.len - size, "access outside of guest RAM");
    }

    /// After a store that `check` has bounded: keeps the marks.
    #[inline(always)]
    fn touch(&self, offset: u64, size: u64) -> bool {
        !self.marks_are_quiet(offset, size) && self.touch_marked(offset, size)
    }

    /// The caller has bounded the access.
    #[inline(always)]
    fn marks_are_quiet(&self, offset: u64, size: u64) -> bool {
        let (first, last) = (offset / PAGE_SIZE, (offset + size.saturating_sub(1)) / PAGE_SIZE);
        // SAFETY: there are marks for every page of the arena, and both ends lie in it.
        unsafe {
            self.marks.get_unchecked(first as usize).load(Ordering::Relaxed) == DIRTY
                && (size == 1
                    || self.marks.get_unchecked(last as usize).load(Ordering::Relaxed) == DIRTY)
        }
    }

    #[cold]
    fn touch_marked(&self, offset: u64, size: u64) -> bool {
        let (mut at, end, mut code) = (offset, offset + size.max(1), false);
        while at < end {
            let next = (at / PAGE_SIZE * PAGE_SIZE + PAGE_SIZE).min(end);
            code |= self.touch_part(at, next - at);
            at = next;
        }
        code
    }

    /// The same within a page.
    fn touch_part(&self, offset: u64, size: u64) -> bool {
        let page = (offset / PAGE_SIZE) as usize;
        let (Some(marks), Some(version)) = (self.marks.get(page), self.code_versions.get(page))
        else {
            return false;
        };
        let code = set_dirty(marks) & CODE != 0
            && self.code.any_after_stores(page, granules(offset, size));
        if code {
            version.fetch_add(1, Ordering::SeqCst);
        }
        code
    }
}

/// Marks a page as dirty; returns its other marks.
fn set_dirty(marks: &AtomicU8) -> u8 {
    match marks.load(Ordering::SeqCst) {
        seen if seen & DIRTY != 0 => seen,
        _ => marks.fetch_or(DIRTY, Ordering::SeqCst),
    }
}

#[cfg(target_os = "linux")]
fn reserve(bytes: usize) -> std::io::Result<(MmapRaw, Option<File>)> {
    use rustix::fs::{MemfdFlags, memfd_create};
    let file = File::from(memfd_create("guest-ram", MemfdFlags::CLOEXEC)?);
    file.set_len(bytes as u64)?;
    let arena = MmapOptions::new().len(bytes).no_reserve_swap().map_raw(&file)?;
    Ok((arena, Some(file)))
}

#[cfg(not(target_os = "linux"))]
fn reserve(bytes: usize) -> std::io::Result<(MmapRaw, Option<File>)> {
    let arena = MmapOptions::new().len(bytes).no_reserve_swap().map_anon()?;
    Ok((MmapRaw::from(arena), None))
}

#[cfg(test)]
mod tests;
