//! The software TLB: from linear pages to offsets in RAM, with a tag for each kind of access.
//!
//! An access hits if the page of its *last* byte equals the tag in the slot of its first byte; an
//! access that crosses a page can then never hit, so one comparison serves for both. Only pages of
//! plain RAM get tags: ROM gets no write tag, MMIO none at all, pages with data breakpoints none.
//!
//! Privilege is not checked at a hit. Instead there is a set of entries for each class of access.

use std::mem::offset_of;

/// Who accesses: each has entries of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Class {
    /// Supervisor accesses, implicit ones too; not to user pages if CR4.SMAP.
    Supervisor = 0,
    /// Explicit supervisor accesses with CR4.SMAP and EFLAGS.AC.
    SupervisorAc = 1,
    /// Accesses at CPL 3.
    User = 2,
}

/// Entries of each class.
const ENTRIES: usize = 2048;
/// Classes.
const CLASSES: usize = 3;
/// No page: its low bits are not 0.
const NONE: u64 = 1;
/// In a write tag: the page may be written, but a store has more to do than to store.
const LOUD: u64 = 1 << 11;

/// Where a page lies, and for what it may be used.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Entry {
    /// The page's linear address if it may be read, else a number that is none.
    pub read: u64,
    /// The same for writes; with bit 11 set if stores may not be quiet ([`Tlb::set_quiet`]).
    pub write: u64,
    /// What added to the linear address gives the offset in RAM.
    pub addend: u64,
    /// What added to the linear address gives the host's, for generated code.
    pub host: u64,
}

const EMPTY: Entry = Entry { read: NONE, write: NONE, addend: 0, host: 0 };

impl Entry {
    /// Whether the page of `lin` may be written, quietly or not.
    #[inline(always)]
    #[must_use]
    pub fn may_write(&self, lin: u64) -> bool {
        self.write & !LOUD == lin & !0xfff
    }

    /// The offset in RAM of linear address `lin` in this page.
    #[inline(always)]
    #[must_use]
    pub fn offset(&self, lin: u64) -> u64 {
        lin.wrapping_add(self.addend)
    }
}

/// The page on which a place in generated code works: one that the TLB gave for a kind of access.
///
/// Code that walks through memory compares with it instead of looking into the TLB each time. It may
/// outlive the entry from which it was made, as long as nothing is flushed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Cursor {
    /// The page's linear address.
    pub page: u64,
    /// How many bytes of it an access may begin at; 0: there is no page.
    pub room: u64,
    /// The page's address at the host.
    pub host: u64,
    /// What takes linear addresses to the host's.
    pub addend: u64,
    /// How many instructions were left when it moved last.
    pub left: u32,
    /// How often it may still move so soon; if it is negative, it stays where it is.
    pub patience: i32,
}

impl Cursor {
    const NONE: Self = Self { page: 0, room: 0, host: 0, addend: 0, left: 0, patience: 0 };
    /// Cursors for accesses of one class, of one kind and of as many bytes; places share them.
    pub const COUNT: usize = 32;
    /// The numbers of bytes for which there are cursors.
    pub const SIZES: [u64; 4] = [1, 8, 32, 512];

    /// The place in [`Cursor::SIZES`] of the least number that is enough.
    #[must_use]
    pub fn size(bytes: u64) -> usize {
        Self::SIZES.iter().position(|size| bytes <= *size).unwrap_or(Self::SIZES.len() - 1)
    }
}

/// The cursors of all classes, for reads and for writes.
#[repr(C)]
struct Cursors {
    /// By class, whether they are for writes, and number of bytes.
    all: [[[[Cursor; Cursor::COUNT]; Cursor::SIZES.len()]; 2]; CLASSES],
    /// A bit for each innermost array: some of it may be in use.
    used: u64,
}

impl Cursors {
    fn flush(&mut self) {
        let sizes = self.all.as_flattened_mut().as_flattened_mut();
        while self.used != 0 {
            let cursors = &mut sizes[self.used.trailing_zeros() as usize];
            cursors.iter_mut().for_each(|cursor| cursor.room = 0);
            self.used &= self.used - 1;
        }
    }
}

/// What a page may be used for, once translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rights {
    /// Reads.
    pub read: bool,
    /// Writes, with the dirty bit already set.
    pub write: bool,
    /// Stores have nothing to do but store.
    pub quiet: bool,
    /// Instruction fetches.
    pub fetch: bool,
    /// The page stays over a change of CR3.
    pub global: bool,
    /// log2 of the page's size.
    pub shift: u8,
}

/// The entries of all classes.
///
/// They lie in the structure itself, at its start, so that generated code reaches an entry with
/// one index register: entry `n` of class `c` at byte `(c * 2048 + n) * 32`. There are many, since a
/// slot is just the low bits of the page's number; which ones are in use is listed, so that a flush
/// takes no longer than it took to fill them.
#[repr(C)]
pub struct Tlb {
    entries: [Entry; ENTRIES * CLASSES],
    /// For each entry the page's linear address if instructions may be fetched from there.
    fetch: [u64; ENTRIES * CLASSES],
    cursors: Cursors,
    /// A bit for each entry: it is a global page's.
    global: [u64; ENTRIES * CLASSES / 64],
    /// For each class, the least aligned range (base, mask) that holds all large pages.
    large: [Option<(u64, u64)>; 3],
    /// The numbers of the entries that are not empty, each once; some of them may be.
    filled: Vec<u16>,
    /// A bit for each entry: it is in that list.
    listed: [u64; ENTRIES * CLASSES / 64],
    /// Counts the occasions at which a translation may have become void.
    epoch: u32,
    /// Counts those at which one of a global page with code may have.
    global_epoch: u32,
    /// The least aligned range (base, mask) that holds all such pages.
    global_code: Option<(u64, u64)>,
    /// The host address of RAM's first byte.
    ram: u64,
}

impl Tlb {
    /// Entries of each class.
    pub const ENTRIES: usize = ENTRIES;
    /// Bytes of the entries of a class.
    pub const CLASS_BYTES: usize = ENTRIES * size_of::<Entry>();
    /// The byte of a class at which an address has its entry: shift right by so much, ...
    pub const SLOT_SHIFT: u32 = 12 - size_of::<Entry>().trailing_zeros();
    /// ... and mask.
    pub const SLOT_MASK: u64 = ((ENTRIES - 1) * size_of::<Entry>()) as u64;

    /// ANDed to the number of a page, it gives that of its entry in the class.
    pub const INDEX_MASK: u64 = (ENTRIES - 1) as u64;

    /// Where the tag for fetches of a class's first entry lies in the structure.
    #[must_use]
    pub fn fetch_offset(class: Class) -> usize {
        offset_of!(Self, fetch) + size_of::<u64>() * Self::index(class, 0)
    }

    /// The number of the cursors for accesses of a [`Cursor::size`]: their bit in the word that says
    /// which are in use.
    #[must_use]
    pub fn cursors(class: Class, write: bool, size: usize) -> usize {
        (class as usize * 2 + usize::from(write)) * Cursor::SIZES.len() + size
    }

    /// Where one of the cursors of that number lies in the structure.
    #[must_use]
    pub fn cursor_offset(cursors: usize, n: usize) -> usize {
        offset_of!(Self, cursors) + (cursors * Cursor::COUNT + n) * size_of::<Cursor>()
    }

    /// Where the word lies that says which cursors are in use.
    #[must_use]
    pub fn cursors_used_offset() -> usize {
        offset_of!(Self, cursors) + offset_of!(Cursors, used)
    }

    /// For RAM whose first byte is at that address of the host.
    pub(crate) fn new(ram: u64) -> Self {
        Self {
            entries: [EMPTY; ENTRIES * CLASSES],
            fetch: [NONE; ENTRIES * CLASSES],
            cursors: Cursors {
                all: [[[[Cursor::NONE; Cursor::COUNT]; Cursor::SIZES.len()]; 2]; CLASSES],
                used: 0,
            },
            global: [0; ENTRIES * CLASSES / 64],
            large: [None; 3],
            filled: Vec::new(),
            listed: [0; ENTRIES * CLASSES / 64],
            epoch: 0,
            global_epoch: 0,
            global_code: None,
            ram,
        }
    }

    /// The entry in whose slot `lin` falls.
    #[inline(always)]
    #[must_use]
    pub fn entry(&self, class: Class, lin: u64) -> &Entry {
        &self.entries[Self::index(class, lin)]
    }

    /// The offset in RAM of `lin`, if the TLB lets `class` fetch instructions there.
    #[inline(always)]
    #[must_use]
    pub fn fetches(&self, class: Class, lin: u64) -> Option<u64> {
        let n = Self::index(class, lin);
        (self.fetch[n] == lin & !0xfff).then(|| self.entries[n].offset(lin))
    }

    /// Remembers that the page of `lin` lies at `offset` (of the page's first byte) in RAM.
    pub fn fill(&mut self, class: Class, lin: u64, offset: u64, rights: Rights) {
        let page = lin & !0xfff;
        let n = Self::index(class, lin);
        let tag = |allowed: bool| if allowed { page } else { NONE };
        self.entries[n] = Entry {
            read: tag(rights.read),
            write: tag(rights.write) | if rights.quiet { 0 } else { LOUD },
            addend: offset.wrapping_sub(page),
            host: offset.wrapping_sub(page).wrapping_add(self.ram),
        };
        self.fetch[n] = tag(rights.fetch);
        let (word, bit) = (&mut self.global[n / 64], n % 64);
        *word = *word & !(1 << bit) | u64::from(rights.global) << bit;
        if self.listed[n / 64] >> bit & 1 == 0 {
            self.listed[n / 64] |= 1 << bit;
            self.filled.push(n as u16);
        }
        if rights.shift > 12 {
            widen_to(&mut self.large[class as usize % 3], lin, rights.shift);
        }
        if rights.global && rights.fetch {
            widen_to(&mut self.global_code, lin, rights.shift.max(12));
        }
    }

    /// Changes whenever a translation that somebody remembers may have become void.
    #[inline(always)]
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Changes whenever a translation of a global page with code may have become void.
    #[inline(always)]
    #[must_use]
    pub fn global_epoch(&self) -> u32 {
        self.global_epoch
    }

    /// Whether the TLB lets `class` fetch instructions from the page of `lin`, and it is a global one.
    #[must_use]
    pub fn fetches_globally(&self, class: Class, lin: u64) -> bool {
        let n = Self::index(class, lin);
        self.fetch[n] == lin & !0xfff && self.global[n / 64] >> (n % 64) & 1 != 0
    }

    fn begin_flush(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.cursors.flush();
    }

    fn flush_global_code(&mut self) {
        self.global_epoch = self.global_epoch.wrapping_add(1);
        self.global_code = None;
    }

    /// Forgets everything.
    pub fn flush(&mut self) {
        self.begin_flush();
        self.flush_global_code();
        for n in self.filled.drain(..).map(usize::from) {
            (self.entries[n], self.fetch[n]) = (EMPTY, NONE);
        }
        self.listed.fill(0);
        self.large = [None; 3];
    }

    /// Forgets everything but global pages.
    pub fn flush_local(&mut self) {
        self.begin_flush();
        let Self { entries, fetch, global, listed, filled, .. } = self;
        filled.retain(|n| {
            let (word, bit) = (usize::from(n / 64), n % 64);
            let stays = global[word] >> bit & 1 != 0;
            if !stays {
                (entries[usize::from(*n)], fetch[usize::from(*n)]) = (EMPTY, NONE);
                listed[word] &= !(1 << bit);
            }
            stays
        });
    }

    /// From now on stores to the page at `offset` in RAM are not quiet, wherever it is mapped.
    pub fn set_loud(&mut self, offset: u64) {
        let page = offset & !0xfff;
        self.cursors.flush();
        for n in &self.filled {
            let entry = &mut self.entries[usize::from(*n)];
            if entry.offset(entry.write & !0xfff) == page {
                entry.write |= LOUD;
            }
        }
    }

    /// From now on no stores are quiet.
    pub fn set_all_loud(&mut self) {
        self.cursors.flush();
        for n in &self.filled {
            self.entries[usize::from(*n)].write |= LOUD;
        }
    }

    /// If the page of `lin` may be written: from now on stores to it have nothing to do but store.
    pub fn set_quiet(&mut self, class: Class, lin: u64) {
        let entry = &mut self.entries[Self::index(class, lin)];
        if entry.write == lin & !0xfff | LOUD {
            entry.write &= !LOUD;
        }
    }

    /// Forgets the page that holds `lin`, however large it was.
    pub fn flush_page(&mut self, lin: u64) {
        self.begin_flush();
        if self.global_code.is_some_and(|(base, mask)| lin & mask == base) {
            self.flush_global_code();
        }
        for class in [Class::Supervisor, Class::SupervisorAc, Class::User] {
            if self.large[class as usize].is_some_and(|(base, mask)| lin & mask == base) {
                self.entries[class as usize * ENTRIES..][..ENTRIES].fill(EMPTY);
                self.fetch[class as usize * ENTRIES..][..ENTRIES].fill(NONE);
                self.large[class as usize] = None;
            } else {
                let n = Self::index(class, lin);
                (self.entries[n], self.fetch[n]) = (EMPTY, NONE);
            }
        }
    }

    #[inline(always)]
    fn index(class: Class, lin: u64) -> usize {
        class as usize * ENTRIES + Self::slot(lin)
    }

    /// The number of the entry for `lin` in each class.
    #[inline(always)]
    #[must_use]
    pub fn slot(lin: u64) -> usize {
        (lin >> 12) as usize % ENTRIES
    }
}

/// The least aligned range that holds `base` and the range (`old`, `mask`).
fn widen(old: u64, mask: u64, base: u64) -> (u64, u64) {
    let mut mask = mask;
    while (old ^ base) & mask != 0 {
        mask <<= 1;
    }
    (old & mask, mask)
}

/// Widens a range so that it holds the page of `lin`, whose size is 2 to the power of `shift`.
fn widen_to(range: &mut Option<(u64, u64)>, lin: u64, shift: u8) {
    let (base, mask) = (lin >> shift << shift, u64::MAX << shift);
    *range = Some(range.map_or((base, mask), |(old, wide)| widen(old, wide & mask, base)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const RW: Rights =
        Rights { read: true, write: true, quiet: true, fetch: false, global: false, shift: 12 };

    #[test]
    fn a_crossing_access_never_hits() {
        let mut tlb = Tlb::new(0);
        tlb.fill(Class::User, 0x5000, 0x1000, RW);
        tlb.fill(Class::User, 0x6000, 0x8000, RW);
        let hit = |lin: u64, size: u64| {
            (lin.wrapping_add(size - 1)) & !0xfff == tlb.entry(Class::User, lin).read
        };
        assert!(hit(0x5000, 8) && hit(0x5ff8, 8) && hit(0x5fff, 1));
        assert!(!hit(0x5ff9, 8) && !hit(0x4fff, 2));
        assert_eq!(tlb.entry(Class::User, 0x6123).offset(0x6123), 0x8123);
        assert_ne!(tlb.entry(Class::Supervisor, 0x6123).read, 0x6000);
    }

    #[test]
    fn global_pages_stay_and_large_ones_go_whole() {
        let mut tlb = Tlb::new(0);
        let big = Rights { shift: 21, global: true, ..RW };
        tlb.fill(Class::Supervisor, 0xffff_8000_0020_3000, 0x3000, big);
        tlb.fill(Class::Supervisor, 0x7000, 0x3000, RW);
        tlb.flush_local();
        assert_eq!(tlb.entry(Class::Supervisor, 0x7000).read, NONE);
        assert_eq!(tlb.entry(Class::Supervisor, 0xffff_8000_0020_3000).read, 0xffff_8000_0020_3000);
        tlb.flush_page(0xffff_8000_0020_9123);
        assert_eq!(tlb.entry(Class::Supervisor, 0xffff_8000_0020_3000).read, NONE);
    }

    #[test]
    fn flushes_of_other_pages_leave_global_code_as_it_is() {
        let mut tlb = Tlb::new(0);
        let code = Rights { fetch: true, ..RW };
        let kernel = 0xffff_ffff_8100_0000;
        tlb.fill(Class::Supervisor, kernel, 0x3000, Rights { global: true, shift: 21, ..code });
        tlb.fill(Class::User, 0x40_0000, 0x4000, code);
        assert!(tlb.fetches_globally(Class::Supervisor, kernel + 5));
        assert!(!tlb.fetches_globally(Class::User, 0x40_0000));
        let before = tlb.global_epoch();
        tlb.flush_local();
        tlb.flush_page(0x40_0000);
        assert_eq!(tlb.global_epoch(), before);
        tlb.flush_page(kernel + 0x1f_f000);
        assert_ne!(tlb.global_epoch(), before);
        tlb.fill(Class::Supervisor, kernel, 0x3000, Rights { global: true, shift: 0, ..code });
        let before = tlb.global_epoch();
        tlb.flush_page(kernel + 0x1000);
        assert_eq!(tlb.global_epoch(), before);
        tlb.flush();
        assert_ne!(tlb.global_epoch(), before);
    }

    #[test]
    fn ranges_widen() {
        let (base, mask) = widen(0x20_0000, u64::MAX << 21, 0x60_0000);
        assert_eq!((base, mask), (0, u64::MAX << 23));
    }
}
