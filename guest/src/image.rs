//! The contents of guest RAM at one time, kept as pages that are shared with other times.
//!
//! A machine that is saved again and again changes few pages in between. An image is a tree of
//! pages by reference: a copy of it costs a few pointers, and two images of neighbouring times have
//! all pages in common that nobody stored to. A page of zeros is no page.

use std::sync::Arc;

use crate::{PAGE_SIZE, Ram};

/// The bytes of a page.
pub type Page = [u8; PAGE_SIZE as usize];

/// Pages in a branch of the tree.
const BRANCH: usize = 64;

#[derive(Clone)]
struct Branch([Option<Arc<Page>>; BRANCH]);

/// What RAM held. Clones share everything.
#[derive(Clone)]
pub struct RamImage {
    branches: Vec<Option<Arc<Branch>>>,
    pages: usize,
}

impl RamImage {
    /// The image of `ram` when it was new: all zeros.
    #[must_use]
    pub fn new(ram: &Ram) -> Self {
        let pages = (ram.len() / PAGE_SIZE) as usize;
        Self { branches: vec![None; pages.div_ceil(BRANCH)], pages }
    }

    /// How many pages it is of, zeros included.
    #[must_use]
    pub fn page_count(&self) -> usize {
        self.pages
    }

    /// What the page at `offset` in RAM holds; `None` where it is all zeros, or lies outside.
    #[must_use]
    pub fn page(&self, offset: u64) -> Option<&Page> {
        self.shared((offset / PAGE_SIZE) as usize).map(|page| &**page)
    }

    /// All pages that are not zeros: offsets in RAM, ascending, and contents.
    pub fn pages(&self) -> impl Iterator<Item = (u64, &Page)> {
        let offsets = (0..self.pages as u64).map(|n| n * PAGE_SIZE);
        offsets.filter_map(|offset| Some((offset, self.page(offset)?)))
    }

    /// Replaces the page at `offset` in RAM, which is one of its pages.
    pub fn set_page(&mut self, offset: u64, contents: &Page) {
        let page = (*contents != ZEROS).then(|| Arc::new(*contents));
        self.set((offset / PAGE_SIZE) as usize, page);
    }

    /// Follows `ram`, of which this is the image since when its dirty marks were last taken: takes
    /// them, and copies the pages that they name. Pages that are as in `like`, the image of another
    /// RAM, become `like`'s own.
    pub fn follow(&mut self, ram: &Ram, like: Option<&Self>) {
        let mut now = ZEROS;
        for offset in ram.take_dirty() {
            let n = (offset / PAGE_SIZE) as usize;
            ram.load_bytes(offset, &mut now);
            let is_now = |page: Option<&Arc<Page>>| match page {
                Some(page) => **page == now,
                None => now == ZEROS,
            };
            if let Some(like) = like.map(|image| image.shared(n))
                && is_now(like)
            {
                let like = like.cloned();
                self.set(n, like);
            } else if !is_now(self.shared(n)) {
                self.set_page(offset, &now);
            }
        }
    }

    /// Gives `ram` the contents of `wanted`. This is the image of `ram` since when its dirty marks
    /// were last taken, and then equals `wanted`; marks are clear. Pages that need no change are not
    /// stored to.
    pub fn go_to(&mut self, wanted: &Self, ram: &Ram) {
        let mut places = self.places_that_differ(wanted);
        places.extend(ram.take_dirty());
        places.sort_unstable();
        places.dedup();
        let mut now = ZEROS;
        for offset in places {
            ram.load_bytes(offset, &mut now);
            let page = wanted.page(offset).unwrap_or(&ZEROS);
            if now != *page {
                ram.store_bytes(offset, page);
            }
        }
        ram.take_dirty();
        self.clone_from(wanted);
    }

    /// Offsets of the pages whose contents differ from `other`'s, ascending.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<u64> {
        let mut places = self.places_that_differ(other);
        places.retain(|offset| self.page(*offset) != other.page(*offset));
        places
    }

    /// Offsets of the pages that the two do not share.
    fn places_that_differ(&self, other: &Self) -> Vec<u64> {
        let mut places = Vec::new();
        for (n, (a, b)) in self.branches.iter().zip(&other.branches).enumerate() {
            if same(a.as_ref(), b.as_ref()) {
                continue;
            }
            let of = |branch: &Option<Arc<Branch>>, n: usize| {
                branch.as_ref().and_then(|branch| branch.0[n].as_ref().map(Arc::as_ptr))
            };
            places.extend(
                (0..BRANCH)
                    .filter(|page| of(a, *page) != of(b, *page))
                    .map(|page| (n * BRANCH + page) as u64 * PAGE_SIZE),
            );
        }
        places
    }

    fn shared(&self, page: usize) -> Option<&Arc<Page>> {
        self.branches.get(page / BRANCH)?.as_ref()?.0[page % BRANCH].as_ref()
    }

    fn set(&mut self, page: usize, contents: Option<Arc<Page>>) {
        let Some(branch) = self.branches.get_mut(page / BRANCH) else { return };
        let branch = branch.get_or_insert_with(|| Arc::new(Branch([const { None }; BRANCH])));
        Arc::make_mut(branch).0[page % BRANCH] = contents;
    }
}

const ZEROS: Page = [0; PAGE_SIZE as usize];

fn same(a: Option<&Arc<Branch>>, b: Option<&Arc<Branch>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: u64 = 200;

    fn ram() -> (Ram, RamImage) {
        let ram = Ram::flat(PAGES * PAGE_SIZE).expect("200 pages");
        let image = RamImage::new(&ram);
        (ram, image)
    }

    fn words(ram: &Ram) -> Vec<u64> {
        (0..PAGES).map(|n| ram.load(n * PAGE_SIZE + 8)).collect()
    }

    #[test]
    fn an_image_follows_its_ram_and_brings_it_back() {
        let (ram, mut image) = ram();
        ram.store(0x8, 1_u64);
        ram.store(0x6_4008, 2_u64);
        image.follow(&ram, None);
        let (first, words_then) = (image.clone(), words(&ram));
        assert_eq!(first.pages().map(|(at, _)| at).collect::<Vec<_>>(), [0, 0x6_4000]);
        // A page changes, one comes, one becomes zeros; then two changes that no image has.
        ram.store(0x8, 3_u64);
        ram.store(0xc_7008, 4_u64);
        ram.store(0x6_4008, 0_u64);
        image.follow(&ram, None);
        assert_eq!(image.differences(&first), [0, 0x6_4000, 0xc_7000]);
        assert!(image.page(0x6_4000).is_none());
        ram.store(0x8, 5_u64);
        ram.store(0x1008, 6_u64);
        let second = image.clone();
        image.go_to(&first, &ram);
        assert_eq!(words(&ram), words_then);
        assert!(ram.take_dirty().is_empty() && image.differences(&first).is_empty());
        image.go_to(&second, &ram);
        assert_eq!((ram.load::<u64>(8), ram.load::<u64>(0x1008)), (3, 0));
        assert_eq!((ram.load::<u64>(0xc_7008), ram.load::<u64>(0x6_4008)), (4, 0));
    }

    #[test]
    fn pages_are_shared_where_they_are_equal() {
        let ((one, mut a), (two, mut b)) = (ram(), ram());
        for ram in [&one, &two] {
            ram.store(0x1008, 7_u64);
            ram.store(0x2008, 8_u64);
        }
        two.store(0x2010, 9_u64);
        a.follow(&one, None);
        b.follow(&two, Some(&a));
        assert_eq!(b.places_that_differ(&a), [0x2000]);
        // What was stored and is the same as before stays shared.
        two.store(0x1008, 7_u64);
        two.store(0x2010, 0_u64);
        b.follow(&two, None);
        assert_eq!(b.places_that_differ(&a), [0x2000]);
        assert!(b.differences(&a).is_empty());
    }

    #[test]
    fn going_back_is_a_store_for_those_who_decoded() {
        let (ram, mut image) = ram();
        ram.store(0x1008, 1_u8);
        image.follow(&ram, None);
        let then = image.clone();
        ram.mark_code(0x1000, 64);
        let version = ram.code_version(0x1000);
        image.go_to(&then, &ram);
        assert_eq!(ram.code_version(0x1000), version, "nothing has changed");
        ram.store(0x1800, 1_u8);
        image.go_to(&then, &ram);
        assert_ne!(ram.code_version(0x1000), version);
    }
}
